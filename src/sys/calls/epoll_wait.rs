//! [epoll_wait(3C)](https://illumos.org/man/3C/epoll_wait), as the C library has
//! it: a process that calls the kernel past it may be ended for that.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::event::Event;
use crate::sys::error::cvt;
use crate::sys::timeout::{millis_rounded_up, with_timeout};

/// How many events the kernel has written into `buffer`, after as long as `timeout`
/// says, rounded up to milliseconds.
pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let millis = timeout.map_or(-1, millis_rounded_up);
    // `Events::with_capacity` keeps it far below where it would not fit.
    let most = buffer.len() as libc::c_int;
    let (epoll, events) = (epoll.as_raw_fd(), buffer.as_mut_ptr().cast());
    let ready = with_timeout(millis, |millis| {
        // SAFETY: the kernel writes at most `most` events, as many as there is room
        // for, and `Event` has their layout.
        unsafe { libc::epoll_wait(epoll, events, most, millis) }
    });
    Ok(cvt(ready)? as usize)
}
