//! System calls that the C library has no function for, or only one that is a
//! cancellation point: two atomic operations in a process with threads, which buy
//! nothing, since Rust's cannot be cancelled.

use std::io;

use libc::c_long;

use crate::sys::error::cvt;

/// Waits on epoll, with a timeout in milliseconds: without a signal mask, since not
/// every architecture has `epoll_wait`.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;

/// # Safety
///
/// What the call does with these arguments must be sound. Arguments that it does not
/// have are passed over.
#[inline]
pub(crate) unsafe fn syscall(number: c_long, arguments: [c_long; 6]) -> io::Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: as the caller promises; every argument has the width of a register.
    let result = cvt(unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) })?;
    Ok(result as usize)
}
