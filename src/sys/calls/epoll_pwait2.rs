//! Waiting on epoll to the nanosecond:
//! [epoll_wait(2)](https://man7.org/linux/man-pages/man2/epoll_wait.2.html).
//!
//! Called without the C library, which may lack `epoll_pwait2`, and whose functions cost
//! more: see `syscall_x86_64.rs`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::{c_int, c_long};

use super::syscall::{syscall, EPOLL_WAIT};
use crate::event::Event;
use crate::sys::refused::unless_refused;
use crate::sys::timeout::{millis_rounded_up, whole_millis};

/// Waits for events or until `timeout` ends, and returns how many events the kernel has
/// written to the start of `buffer`.
///
/// A timeout in whole milliseconds uses the older call, which costs less than
/// `epoll_pwait2`.
#[inline]
pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let Some(timeout) = timeout else {
        return wait_millis(epoll, buffer, -1);
    };
    match whole_millis(timeout) {
        Some(millis) => wait_millis(epoll, buffer, millis),
        None => wait_nanos(epoll, buffer, timeout),
    }
}

/// -1 waits for ever.
#[inline]
fn wait_millis(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    millis: c_int,
) -> io::Result<usize> {
    let arguments = [
        c_long::from(epoll.as_raw_fd()),
        buffer.as_mut_ptr() as c_long,
        // Fits into an `int`: `Events::with_capacity` clamps it.
        buffer.len() as c_long,
        c_long::from(millis),
        // For `epoll_pwait`: no signal mask.
        0,
        0,
    ];
    // SAFETY: the kernel writes at most `buffer.len()` events into `buffer`. The mask is null.
    unsafe { syscall(EPOLL_WAIT, arguments) }
}

/// Waits by `epoll_pwait2`, if the kernel has it and lets this process call it, and
/// otherwise by the older call with the timeout rounded up.
#[cold]
#[inline(never)]
fn wait_nanos(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Duration,
) -> io::Result<usize> {
    /// Set when the call was refused. The process then never makes it again, even if only
    /// one thread's filter refused it.
    static REFUSED: AtomicBool = AtomicBool::new(false);

    // Relaxed, like the store: a thread that sees it late is refused itself.
    if !REFUSED.load(Ordering::Relaxed) {
        let timespec = KernelTimespec::at_most(timeout);
        let arguments = [
            c_long::from(epoll.as_raw_fd()),
            buffer.as_mut_ptr() as c_long,
            buffer.len() as c_long,
            &timespec as *const KernelTimespec as c_long,
            // No signal mask.
            0,
            0,
        ];
        // SAFETY: the kernel writes at most `buffer.len()` events into `buffer`, and reads
        // `timespec`, which has the kernel's layout and outlives the call. The mask is null.
        match unsafe { syscall(libc::SYS_epoll_pwait2, arguments) } {
            Err(error) => unless_refused(error)?,
            Ok(ready) => return Ok(ready),
        }
        // Linux before 5.11 lacks it, and sandboxes refuse calls that they do not know.
        REFUSED.store(true, Ordering::Relaxed);
    }
    wait_millis(epoll, buffer, millis_rounded_up(timeout))
}

/// The kernel's timespec. On 32-bit machines `libc::timespec` can be half the size.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl KernelTimespec {
    fn at_most(timeout: Duration) -> KernelTimespec {
        KernelTimespec {
            // The kernel waits for ever if the timeout exceeds its clock's range.
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_beyond_the_kernels_range_are_clamped() {
        let timespec = KernelTimespec::at_most(Duration::MAX);
        assert_eq!(
            (timespec.seconds, timespec.nanoseconds),
            (i64::MAX, 999_999_999)
        );
    }
}
