//! System calls for which the C library has no function, or one that is a
//! cancellation point. In a process with threads a cancellation point costs two atomic
//! operations, which are useless because Rust's threads cannot be cancelled.

use std::io;

use libc::c_long;

use crate::sys::error::cvt;

/// Waits on epoll, with a timeout in milliseconds. It is `epoll_pwait`, called without a
/// signal mask, because not every architecture has `epoll_wait`.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;

/// # Safety
///
/// The call must be sound with these arguments: every pointer among them must be valid for what
/// the kernel reads and writes. The kernel ignores arguments beyond the call's own.
#[inline]
pub(crate) unsafe fn syscall(number: c_long, arguments: [c_long; 6]) -> io::Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the caller guarantees that the call is sound. Every argument has the width of a
    // register, as `libc::syscall` requires.
    let result = cvt(unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) })?;
    Ok(result as usize)
}
