//! A descriptor that counts what is written to it:
//! [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::sys::error::cvt;

/// Opens an eventfd that is non-blocking and closed on exec.
#[inline(never)]
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: `eventfd` has no memory-safety preconditions.
    let counter = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(counter) })
}
