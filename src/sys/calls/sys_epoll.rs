//! [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create.2.html) and
//! [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html), called
//! without the C library: see `syscall_x86_64.rs`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_long, epoll_event};

use super::syscall::syscall;

/// Opens an epoll that is closed on exec.
pub(crate) fn create() -> io::Result<OwnedFd> {
    let arguments = [c_long::from(libc::EPOLL_CLOEXEC), 0, 0, 0, 0, 0];
    // SAFETY: `epoll_create1` has no memory-safety preconditions.
    let epoll = unsafe { syscall(libc::SYS_epoll_create1, arguments) }?;
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(epoll as RawFd) })
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
    let arguments = [
        c_long::from(epoll.as_raw_fd()),
        c_long::from(operation),
        c_long::from(fd),
        event as c_long,
        0,
        0,
    ];
    // SAFETY: `event` is null or points to an event that outlives the call, and the kernel only
    // reads it. For a null pointer it returns an error, unless the operation ignores it.
    unsafe { syscall(libc::SYS_epoll_ctl, arguments) }?;
    Ok(())
}
