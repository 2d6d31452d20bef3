//! [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html)
//! alone, whose timeout is in milliseconds.

use std::io;
use std::time::Duration;

use libc::pollfd;

use crate::sys::error::cvt;
use crate::sys::timeout::{millis_rounded_up, with_timeout};

/// Waits until a descriptor is ready or `timeout`, rounded up, ends. Returns how many entries have
/// readiness.
#[inline(never)] // it has many callers
pub(crate) fn poll(entries: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let millis = timeout.map_or(-1, millis_rounded_up);
    let (first, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    // SAFETY: the kernel reads and writes `count` elements, which is the length of `entries`.
    let ready = with_timeout(millis, |millis| unsafe { libc::poll(first, count, millis) });
    Ok(cvt(ready)? as usize)
}
