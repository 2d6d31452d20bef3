//! Waiting on epoll to the nanosecond:
//! [epoll_wait(2)](https://man7.org/linux/man-pages/man2/epoll_wait.2.html).
//!
//! Past the C library, which need not have `epoll_pwait2`, and whose functions cost
//! more: see `syscall_x86_64.rs`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::{c_int, c_long};

use super::syscall::{syscall, EPOLL_WAIT};
use crate::event::Event;
use crate::sys::refused::is_refused;
use crate::sys::timeout::{millis_rounded_up, whole_millis};

/// How many events the kernel has written into `buffer`, after as long as `timeout`
/// says.
///
/// Whole milliseconds are left to the older call, which costs less than
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
        // `Events::with_capacity` keeps it far below where it would not fit.
        buffer.len() as c_long,
        c_long::from(millis),
        // `epoll_pwait` has these: no signal mask.
        0,
        0,
    ];
    // SAFETY: the kernel writes at most as many events as there is room for, and reads
    // no mask, since it is null.
    unsafe { syscall(EPOLL_WAIT, arguments) }
}

/// `epoll_pwait2`, where the kernel has it and lets this process call it; otherwise
/// the older call with the timeout rounded up.
#[cold]
fn wait_nanos(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Duration,
) -> io::Result<usize> {
    /// Set once the call was refused, and then never tried again: by the
    /// whole process, even where only one thread's filter refused it.
    static REFUSED: AtomicBool = AtomicBool::new(false);

    // Relaxed, as the store: a thread that sees it late finds out itself.
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
        // SAFETY: the kernel writes at most as many events as there is room for, reads
        // a timespec in its own layout and no mask, since it is null.
        match unsafe { syscall(libc::SYS_epoll_pwait2, arguments) } {
            Ok(ready) => return Ok(ready),
            // Before Linux 5.11 it does not exist, and sandboxes refuse what they do not
            // know.
            Err(error) if is_refused(&error) => {
                REFUSED.store(true, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
    }
    wait_millis(epoll, buffer, millis_rounded_up(timeout))
}

/// What the kernel takes for a timespec, on 32-bit machines too, where
/// `libc::timespec` can be half the size.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl KernelTimespec {
    fn at_most(timeout: Duration) -> KernelTimespec {
        KernelTimespec {
            // The kernel takes what lies beyond its clock for no limit at all.
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
