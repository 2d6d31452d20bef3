//! [pipe2(2)](https://man7.org/linux/man-pages/man2/pipe.2.html)

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::sys::error::cvt;

/// Opens a pipe by one call: its receiving and its sending end, both non-blocking and closed
/// on exec.
#[inline(never)]
pub(crate) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends: [libc::c_int; 2] = [0; 2];
    // SAFETY: the kernel writes two descriptors, and `ends` has two elements.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    let [receiver, sender] = ends;
    // SAFETY: the call has just opened both descriptors, and nothing else owns them.
    unsafe { Ok([OwnedFd::from_raw_fd(receiver), OwnedFd::from_raw_fd(sender)]) }
}
