//! Readiness in the bits of poll(2), which event ports have as well, and one descriptor's.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_short, pollfd};

use super::platform::poll::poll;
use super::platform::POLLRDHUP;
use crate::event::readiness::Readiness;

// They are epoll's on most systems, and then nothing is left of translating them. A kernel that does
// not tell of the end has none for it.

#[inline]
pub(super) fn to_poll(bits: Readiness) -> c_short {
    let kernel = |ours, theirs| if bits.intersects(ours) { theirs } else { 0 };
    kernel(Readiness::IN, libc::POLLIN)
        | kernel(Readiness::PRI, libc::POLLPRI)
        | kernel(Readiness::OUT, libc::POLLOUT)
        | kernel(Readiness::ERR, libc::POLLERR)
        | kernel(Readiness::HUP, libc::POLLHUP)
        | kernel(Readiness::RDHUP, POLLRDHUP)
}

#[inline]
pub(super) fn from_poll(bits: c_short) -> Readiness {
    let ours = |theirs, ours: Readiness| if bits & theirs != 0 { ours.0 } else { 0 };
    Readiness(
        ours(libc::POLLIN, Readiness::IN)
            | ours(libc::POLLPRI, Readiness::PRI)
            | ours(libc::POLLOUT, Readiness::OUT)
            | ours(libc::POLLERR, Readiness::ERR)
            | ours(libc::POLLHUP, Readiness::HUP)
            | ours(POLLRDHUP, Readiness::RDHUP),
    )
}

/// Asks the kernel about one descriptor, without waiting.
#[inline(never)]
pub(super) fn probe(fd: RawFd, interest: Readiness) -> io::Result<Readiness> {
    let mut one = [pollfd {
        fd,
        // The peer's end tells whether anything can change any more.
        events: to_poll(interest.or(Readiness::RDHUP)),
        revents: 0,
    }];
    poll(&mut one, Some(Duration::ZERO))?;
    Ok(from_poll(one[0].revents))
}
