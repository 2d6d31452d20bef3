//! A system without abstract Unix addresses: every address is a path.

use std::io;
use std::os::unix::net::SocketAddr;

pub(crate) fn as_name(_: &SocketAddr) -> Option<&[u8]> {
    None
}

/// An address that begins with NUL is unnamed: some systems write zeros for an unnamed socket.
pub(crate) fn from_name(_: &[u8]) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}
