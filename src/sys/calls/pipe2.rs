//! [pipe2(2)](https://man7.org/linux/man-pages/man2/pipe.2.html)

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::sys::error::cvt;

/// The receiving and the sending end of a new pipe, both non-blocking and closed
/// on exec, by one call.
pub(crate) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends: [libc::c_int; 2] = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: both are new, open and nobody else's.
    Ok(ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }))
}
