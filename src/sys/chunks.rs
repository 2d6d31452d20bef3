//! poll(2) with more descriptors than the process may open. The kernel refuses it with EINVAL when
//! `RLIMIT_NOFILE` was lowered after the descriptors were registered.

use std::io;
use std::time::{Duration, Instant};

use libc::pollfd;

use super::error::unless_number;
use super::platform::poll;

/// The pauses between two rounds without readiness, which double each time.
const SHORTEST_PAUSE_MILLIS: u64 = 1;
const LONGEST_PAUSE_MILLIS: u64 = 64;

/// poll(2) with any number of entries. If the kernel accepts them at once, this adds nothing.
#[inline]
pub(super) fn poll(entries: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let ready = match poll::poll(entries, timeout) {
        Err(error) => poll_in_chunks(entries, timeout, error, descriptor_limit, poll::poll),
        ready => ready,
    };
    #[cfg(all(test, not(mio_loom)))]
    let ready = ready.map(|ready| super::poll_bits::consumed::add_to(entries, ready));
    ready
}

/// Probes each chunk but the first, and then waits for the first chunk alone. The wait is as long as
/// events of the other chunks may be late. `error` is the kernel's for all entries at once, `limit` the
/// most that it accepts now, and `poll` its call.
#[cold]
fn poll_in_chunks(
    entries: &mut [pollfd],
    timeout: Option<Duration>,
    error: io::Error,
    limit: impl Fn() -> usize,
    mut poll: impl FnMut(&mut [pollfd], Option<Duration>) -> io::Result<usize>,
) -> io::Result<usize> {
    unless_number(libc::EINVAL, error)?;
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut pause = SHORTEST_PAUSE_MILLIS;
    loop {
        let most = match limit() {
            most if (1..entries.len()).contains(&most) => most,
            // The error has another reason, or the process may open no descriptor.
            _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        let (first, others) = entries.split_at_mut(most);
        let mut ready = 0;
        for chunk in others.chunks_mut(most) {
            ready += poll(chunk, Some(Duration::ZERO))?;
        }
        let mut wait = Duration::from_millis(pause);
        if let Some(end) = end {
            wait = wait.min(end.saturating_duration_since(Instant::now()));
        }
        let is_last = wait.is_zero();
        if ready > 0 {
            wait = Duration::ZERO;
        }
        ready += poll(first, Some(wait))?;
        if ready > 0 || is_last {
            return Ok(ready);
        }
        pause = LONGEST_PAUSE_MILLIS.min(pause * 2);
    }
}

/// The number of descriptors that the process may open now.
#[allow(clippy::useless_conversion)] // some systems have a `usize`
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

    fn os_error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    /// A kernel that accepts `limit` entries, and finds the entry of each descriptor in `ready` readable.
    /// Returns what comes of it, and the calls: the first descriptor, the number of entries and the
    /// timeout in milliseconds.
    fn polled(
        count: i32,
        limit: usize,
        timeout: Option<Duration>,
        mut ready: impl FnMut() -> Vec<i32>,
    ) -> (io::Result<usize>, Vec<(i32, usize, u128)>) {
        let mut calls = Vec::new();
        let entry = |fd| pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut entries: Vec<pollfd> = (0..count).map(entry).collect();
        let poll = |entries: &mut [pollfd], timeout: Option<Duration>| {
            let timeout = timeout.expect("no call waits for ever");
            calls.push((entries[0].fd, entries.len(), timeout.as_millis()));
            assert!(calls.len() < 100, "it ends");
            let ready = ready();
            let found = entries.iter().filter(|entry| ready.contains(&entry.fd));
            let found = found.count();
            if found == 0 {
                thread::sleep(timeout);
            }
            Ok(found)
        };
        let error = os_error(libc::EINVAL);
        let outcome = poll_in_chunks(&mut entries, timeout, error, || limit, poll);
        (outcome, calls)
    }

    #[test]
    fn every_entry_is_polled_and_the_first_chunk_is_not_waited_for_if_another_is_ready() {
        let all: [(&[i32], usize, u128); 4] = [
            (&[0], 1, 1),
            (&[2], 1, 0),
            (&[4], 1, 0),
            (&[1, 2, 3, 4], 4, 0),
        ];
        for (ready, count, millis) in all {
            let (outcome, calls) = polled(5, 2, None, || ready.to_vec());
            assert_eq!(outcome.unwrap(), count);
            assert_eq!(calls, [(2, 2, 0), (4, 1, 0), (0, 2, millis)]);
        }
    }

    #[test]
    fn the_pauses_between_rounds_without_readiness_double() {
        let mut calls_before = 2 * 9;
        let (outcome, calls) = polled(4, 2, None, || {
            if calls_before == 0 {
                return vec![3];
            }
            calls_before -= 1;
            Vec::new()
        });
        assert_eq!(outcome.unwrap(), 1);
        let waits = calls.iter().filter(|call| call.0 == 0);
        let millis: Vec<u128> = waits.map(|call| call.2).collect();
        assert_eq!(millis, [1, 2, 4, 8, 16, 32, 64, 64, 64, 0]);
    }

    #[test]
    fn a_timeout_without_readiness_ends() {
        let (outcome, calls) = polled(4, 2, Some(Duration::ZERO), Vec::new);
        assert_eq!(outcome.unwrap(), 0);
        assert_eq!(calls, [(2, 2, 0), (0, 2, 0)]);
        let (start, timeout) = (Instant::now(), Duration::from_millis(20));
        let (outcome, calls) = polled(4, 2, Some(timeout), Vec::new);
        assert_eq!(outcome.unwrap(), 0);
        assert!(start.elapsed() >= timeout);
        assert!(calls.iter().all(|call| call.2 <= 20));
    }

    #[test]
    fn an_error_that_is_not_the_limits_is_returned() {
        for limit in [0, 4, 5] {
            let (outcome, calls) = polled(4, limit, None, || vec![0]);
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EINVAL));
            assert!(calls.is_empty());
        }
        let poll = |_: &mut [pollfd], _| panic!("the queue is closed");
        let error = os_error(libc::EBADF);
        let outcome = poll_in_chunks(&mut [], None, error, || 1, poll);
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_limit_is_the_number_of_descriptors_that_the_process_may_open() {
        let (soft, _) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!(descriptor_limit() as u64, soft);
    }
}
