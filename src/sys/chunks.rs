//! poll(2) of more descriptors than the process may open: `RLIMIT_NOFILE` was lowered after they were
//! registered, and the kernel refuses so many with EINVAL.

use std::io;
use std::time::{Duration, Instant};

use libc::pollfd;

use super::platform::poll;

/// Between two rounds that found nothing; doubled from one to the next.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// poll(2), of any number. Where the kernel takes so many at once, this adds nothing to it.
#[inline]
pub(super) fn poll(entries: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    match poll::poll(entries, timeout) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            poll_in_chunks(entries, timeout, error)
        }
        outcome => outcome,
    }
}

/// Asks about one chunk after the other without waiting, and then waits for the first one alone, for as
/// long as the others may be late. `refusal`: of all of them at once.
#[cold]
fn poll_in_chunks(
    entries: &mut [pollfd],
    timeout: Option<Duration>,
    refusal: io::Error,
) -> io::Result<usize> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut pause = SHORTEST_PAUSE;
    loop {
        let most = match descriptor_limit() {
            most if (1..entries.len()).contains(&most) => most,
            // It has another reason, or not one is allowed.
            _ => return Err(refusal),
        };
        let (first, others) = entries.split_at_mut(most);
        let mut ready = 0;
        for chunk in others.chunks_mut(most) {
            ready += poll::poll(chunk, Some(Duration::ZERO))?;
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let wait = match ready {
            0 => left.map_or(pause, |left| left.min(pause)),
            _ => Duration::ZERO,
        };
        ready += poll::poll(first, Some(wait))?;
        if ready > 0 || left == Some(Duration::ZERO) {
            return Ok(ready);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How many descriptors the process may open now.
fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes the limit.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}
