//! All Unix addresses are paths.

use std::io;
use std::os::unix::net::SocketAddr;

pub(crate) fn as_name(_: &SocketAddr) -> Option<&[u8]> {
    None
}

/// What begins with NUL is no path: some systems write zeros for no address.
pub(crate) fn from_name(_: &[u8]) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}
