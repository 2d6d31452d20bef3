//! [epoll_wait(3C)](https://illumos.org/man/3C/epoll_wait), by the C library's
//! function: a system may end a process that calls the kernel without the C library.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::event::Event;
use crate::sys::error::cvt;
use crate::sys::timeout::{millis_rounded_up, with_timeout};

/// Waits for events or until `timeout`, rounded up to milliseconds, ends. Returns how many
/// events the kernel has written to the start of `buffer`.
#[inline(never)]
pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let millis = timeout.map_or(-1, millis_rounded_up);
    // Fits into an `int`: `Events::with_capacity` clamps it.
    let most = buffer.len() as libc::c_int;
    let (epoll, events) = (epoll.as_raw_fd(), buffer.as_mut_ptr().cast());
    let ready = with_timeout(millis, |millis| {
        // SAFETY: the kernel writes at most `most` events, which is the length of `buffer`, and
        // `Event` has their layout.
        unsafe { libc::epoll_wait(epoll, events, most, millis) }
    });
    Ok(cvt(ready)? as usize)
}
