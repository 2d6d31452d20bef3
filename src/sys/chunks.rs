//! poll(2) with more descriptors than the process may open. The kernel refuses it with EINVAL when
//! `RLIMIT_NOFILE` was lowered after the descriptors were registered.

use std::io;
use std::time::{Duration, Instant};

use libc::pollfd;

use super::platform::poll;

/// The pauses between two rounds without readiness, which double each time.
const SHORTEST_PAUSE_MILLIS: u64 = 1;
const LONGEST_PAUSE_MILLIS: u64 = 64;

/// poll(2) with any number of entries. If the kernel accepts them at once, this adds nothing.
#[inline]
pub(super) fn poll(entries: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    match poll::poll(entries, timeout) {
        Err(error) => poll_in_chunks(entries, timeout, error),
        ready => ready,
    }
}

/// Probes each chunk but the first, and then waits for the first chunk alone. The wait is as long as
/// events of the other chunks may be late. `error` is the kernel's for all entries at once.
#[cold]
fn poll_in_chunks(
    entries: &mut [pollfd],
    timeout: Option<Duration>,
    error: io::Error,
) -> io::Result<usize> {
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut pause = SHORTEST_PAUSE_MILLIS;
    loop {
        let most = match descriptor_limit() {
            most if (1..entries.len()).contains(&most) => most,
            // The error has another reason, or the process may open no descriptor.
            _ => return Err(error),
        };
        let (first, others) = entries.split_at_mut(most);
        let mut ready = 0;
        for chunk in others.chunks_mut(most) {
            ready += poll::poll(chunk, Some(Duration::ZERO))?;
        }
        let mut wait = Duration::from_millis(pause);
        if let Some(end) = end {
            wait = wait.min(end.saturating_duration_since(Instant::now()));
        }
        let is_last = wait.is_zero();
        if ready > 0 {
            wait = Duration::ZERO;
        }
        ready += poll::poll(first, Some(wait))?;
        if ready > 0 || is_last {
            return Ok(ready);
        }
        pause = LONGEST_PAUSE_MILLIS.min(pause * 2);
    }
}

/// The number of descriptors that the process may open now.
fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit` to `limit`.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::thread;

    #[test]
    fn a_wait_without_a_timeout_ends_with_readiness_alone() {
        let (receiver, mut sender) = crate::sys::pipe::pipe().unwrap();
        let mut entries = [pollfd {
            fd: receiver.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }];
        let writing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            sender.write_all(b"x").unwrap();
            sender
        });
        assert_eq!(poll(&mut entries, None).unwrap(), 1);
        assert_ne!(entries[0].revents & libc::POLLIN, 0);
        writing.join().unwrap();
    }
}
