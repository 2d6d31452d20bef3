//! Abstract Unix addresses, names in a separate namespace:
//! [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).

use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

pub(crate) fn as_name(address: &SocketAddr) -> Option<&[u8]> {
    address.as_abstract_name()
}

pub(crate) fn from_name(name: &[u8]) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}
