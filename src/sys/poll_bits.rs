//! Readiness in the bits of poll(2), which event ports use as well, and a probe of one descriptor.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_short, pollfd};

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
pub(super) fn probe(fd: RawFd, interest: Readiness) -> Option<Readiness> {
    let mut one = [pollfd {
        fd,
        // The peer's end shows whether anything can still change.
        events: to_poll(interest.or(Readiness::RDHUP)),
        revents: 0,
    }];
    poll(&mut one, Some(Duration::ZERO)).ok()?;
    Some(from_poll(one[0].revents))
}
