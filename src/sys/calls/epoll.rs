//! [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create.2.html) and
//! [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html), as the C
//! library has them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, epoll_event};

use crate::sys::error::cvt;

/// An epoll that is closed on exec.
pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: takes a number; returns a descriptor or -1.
    let epoll = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the descriptor is new, open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(epoll) })
}

/// A wrong descriptor gives an error.
#[inline]
pub(crate) fn control(
    epoll: BorrowedFd<'_>,
    operation: c_int,
    fd: RawFd,
    event: Option<&epoll_event>,
) -> io::Result<()> {
    let event: *const epoll_event = event.map_or(ptr::null(), |event| event);
    let epoll = epoll.as_raw_fd();
    // SAFETY: the event, which is only read, may be null for an operation that has no
    // use for it.
    cvt(unsafe { libc::epoll_ctl(epoll, operation, fd, event.cast_mut()) })?;
    Ok(())
}
