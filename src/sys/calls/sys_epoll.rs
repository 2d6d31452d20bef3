//! [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create.2.html) and
//! [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html), past the
//! C library: see `syscall_x86_64.rs`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_long, epoll_event};

use super::syscall::syscall;

/// An epoll that is closed on exec.
pub(crate) fn create() -> io::Result<OwnedFd> {
    let arguments = [c_long::from(libc::EPOLL_CLOEXEC), 0, 0, 0, 0, 0];
    // SAFETY: takes a number.
    let epoll = unsafe { syscall(libc::SYS_epoll_create1, arguments) }?;
    // SAFETY: the descriptor is new, open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(epoll as RawFd) })
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
    let arguments = [
        c_long::from(epoll.as_raw_fd()),
        c_long::from(operation),
        c_long::from(fd),
        event as c_long,
        0,
        0,
    ];
    // SAFETY: the kernel reads the event, which may be null for an operation that has
    // no use for it.
    unsafe { syscall(libc::SYS_epoll_ctl, arguments) }?;
    Ok(())
}
