//! [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create.2.html) and
//! [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html), as the C
//! library has them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, epoll_event};

use crate::sys::error::cvt;

/// Opens an epoll that is closed on exec.
#[inline(never)]
pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: `epoll_create1` has no memory-safety preconditions.
    let epoll = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(epoll) })
}

/// Adds, modifies or deletes a registration. Fails if a descriptor is not open.
#[inline]
pub(crate) fn control(
    epoll: BorrowedFd<'_>,
    operation: c_int,
    fd: RawFd,
    event: Option<&epoll_event>,
) -> io::Result<()> {
    let event: *const epoll_event = event.map_or(ptr::null(), |event| event);
    let epoll = epoll.as_raw_fd();
    // SAFETY: `event` is null or points to an event that outlives the call, and the kernel only
    // reads it. For a null pointer it returns an error, unless the operation ignores it.
    cvt(unsafe { libc::epoll_ctl(epoll, operation, fd, event.cast_mut()) })?;
    Ok(())
}
