//! [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html),
//! and for fractions of a millisecond
//! [ppoll(2)](https://man7.org/linux/man-pages/man2/ppoll.2.html), which costs more.

use std::io;
use std::time::Duration;

use libc::pollfd;

use crate::sys::error::cvt;
use crate::sys::timeout::{timespec, whole_millis, with_timeout};

/// Waits until a descriptor is ready or `timeout` ends. Returns how many entries have readiness.
#[inline(never)] // it has many callers
pub(crate) fn poll(entries: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let (first, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    let millis = match timeout {
        None => Some(-1),
        Some(timeout) => whole_millis(timeout),
    };
    let ready = if let Some(millis) = millis {
        // SAFETY: the kernel reads and writes `count` elements, which is the length of
        // `entries`.
        with_timeout(millis, |millis| unsafe { libc::poll(first, count, millis) })
    } else {
        let converted = timespec(timeout.unwrap_or(Duration::MAX));
        // SAFETY: the kernel reads and writes `count` elements, which is the length of
        // `entries`, and reads `converted`. The mask is null.
        unsafe { libc::ppoll(first, count, &converted, std::ptr::null()) }
    };
    Ok(cvt(ready)? as usize)
}
