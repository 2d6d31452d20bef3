//! [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html)
//! alone, which counts milliseconds.

use std::io;
use std::time::Duration;

use libc::pollfd;

use crate::sys::error::cvt;
use crate::sys::timeout::millis_rounded_up;

/// How many descriptors have an answer, after as long as `timeout` says, rounded up.
pub(crate) fn poll(asked: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let millis = timeout.map_or(-1, millis_rounded_up);
    // SAFETY: the kernel reads and writes as many elements as there are.
    let answers = unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, millis) };
    Ok(cvt(answers)? as usize)
}
