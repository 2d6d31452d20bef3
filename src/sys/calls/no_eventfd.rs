//! In the place of eventfd(2), where there is none.

use std::io;
use std::os::fd::OwnedFd;

/// Refuses, as a kernel without the call.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
