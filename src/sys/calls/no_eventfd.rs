//! The fallback for a system without eventfd(2).

use std::io;
use std::os::fd::OwnedFd;

/// Fails with ENOSYS, like a kernel without the call.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
