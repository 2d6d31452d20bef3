//! Readiness in the bits of poll(2), which event ports use as well, and a probe of one descriptor.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_short, pollfd};

use super::error::ok;
use super::platform::poll::poll;
use super::platform::POLLRDHUP;
use crate::event::readiness::Readiness;

/// On most systems they equal epoll's, and the translation compiles to nothing. A kernel that does not
/// report a peer's end has no bit for it.
const BITS: [(Readiness, c_short); 6] = [
    (Readiness::IN, libc::POLLIN),
    (Readiness::PRI, libc::POLLPRI),
    (Readiness::OUT, libc::POLLOUT),
    (Readiness::ERR, libc::POLLERR),
    (Readiness::HUP, libc::POLLHUP),
    (Readiness::RDHUP, POLLRDHUP),
];

#[inline]
pub(super) fn to_poll(bits: Readiness) -> c_short {
    let mut kernel = 0;
    for &(ours, theirs) in &BITS {
        if bits.intersects(ours) {
            kernel |= theirs;
        }
    }
    kernel
}

#[inline]
pub(super) fn from_poll(bits: c_short) -> Readiness {
    let mut ready = Readiness::NONE;
    for &(ours, theirs) in &BITS {
        if bits & theirs != 0 {
            ready = ready.or(ours);
        }
    }
    ready
}

/// Probes one descriptor. `None` if poll(2) failed.
#[inline(never)]
pub(super) fn probe(fd: RawFd, interest: Readiness) -> Option<Readiness> {
    let mut one = [pollfd {
        fd,
        // The peer's end shows whether anything can still change.
        events: to_poll(interest.or(Readiness::RDHUP)),
        revents: 0,
    }];
    ok(poll(&mut one, Some(Duration::ZERO)))?;
    #[cfg(all(test, not(mio_loom)))]
    consumed::add_to(&mut one, 0);
    Some(from_poll(one[0].revents))
}

/// A double of descriptors whose readiness a query consumes by seeing it, like that of
/// `/proc/self/mountinfo`. Few programs may cause readiness of a real one.
// Two conditions, so that cargo-mutants sees that it is not the library's.
#[cfg(test)]
#[cfg(not(mio_loom))]
pub(super) mod consumed {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    type Next = Vec<(RawFd, c_short)>;

    fn next() -> MutexGuard<'static, Next> {
        static NEXT: Mutex<Next> = Mutex::new(Vec::new());
        NEXT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next query of the descriptor, which is open, finds these bits as well.
    pub(in crate::sys) fn by_next_query(fd: RawFd, bits: c_short) {
        next().push((fd, bits));
    }

    /// Called after each query, which has found `ready` entries. Returns how many are ready now.
    pub(in crate::sys) fn add_to(entries: &mut [pollfd], ready: usize) -> usize {
        let mut count = ready;
        next().retain(|&(fd, bits)| {
            let Some(entry) = entries.iter_mut().find(|entry| entry.fd == fd) else {
                return true;
            };
            count += usize::from(entry.revents == 0);
            entry.revents |= bits;
            false
        });
        count
    }
}
