//! What a source can be ready for, as poll(2) says it, and what an event says of it.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use mio::event::Event;

use crate::program::Kind;

bitflags::bitflags! {
    /// Each bit is one direction of a registration: it is owed, reported and latched for itself.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
    pub struct Bits: u8 {
        const READ = 1;
        const WRITE = 2;
        const PRIORITY = 4;
        const ERROR = 8;
        /// Both halves of a connection are closed, or the other end of a pipe or terminal is.
        const HUP = 16;
        /// The peer sends nothing more.
        const END = 32;
        /// kqueue's end of writing, which has no hang-ups: nobody takes what is written any more.
        const WRITE_END = 64;
    }
}

/// What the kernel reports whether or not it was asked for.
pub const UNMASKED: Bits = Bits::ERROR.union(Bits::HUP);

const POLL: [(Bits, libc::c_short); 6] = [
    (Bits::READ, libc::POLLIN),
    (Bits::WRITE, libc::POLLOUT),
    (Bits::PRIORITY, libc::POLLPRI),
    (Bits::ERROR, libc::POLLERR),
    (Bits::HUP, libc::POLLHUP),
    (Bits::END, libc::POLLRDHUP),
];

/// Asks the kernel about a descriptor, by a poll(2) with timeout zero.
pub fn observe(fd: RawFd) -> Bits {
    let mut one = [pollfd(fd)];
    poll(&mut one);
    from_poll(one[0].revents)
}

/// Asks about several at once.
pub fn observe_all(fds: &[RawFd]) -> Vec<Bits> {
    let mut all: Vec<_> = fds.iter().map(|&fd| pollfd(fd)).collect();
    poll(&mut all);
    all.iter().map(|one| from_poll(one.revents)).collect()
}

/// Waits until a descriptor has one of the bits. A network has its own time, even the loopback.
pub fn settle(fd: RawFd, wanted: Bits) -> bool {
    let deadline = Instant::now() + Duration::from_millis(100);
    while !observe(fd).intersects(wanted) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    true
}

fn pollfd(fd: RawFd) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: POLL.iter().fold(0, |all, (_, bit)| all | bit),
        revents: 0,
    }
}

/// By the system call itself: a model may answer poll(2) as its kernel does.
fn poll(fds: &mut [libc::pollfd]) {
    // SAFETY: all of a `timespec` may be zero.
    let mut timeout: libc::timespec = unsafe { std::mem::zeroed() };
    let no_mask: *const libc::sigset_t = std::ptr::null();
    let (first, count) = (fds.as_mut_ptr(), fds.len());
    // SAFETY: the kernel reads and writes as many elements as the slice has, and the time. There is no
    // mask of signals.
    let done =
        unsafe { libc::syscall(libc::SYS_ppoll, first, count, &raw mut timeout, no_mask, 8) };
    assert!(done >= 0, "poll: {}", io::Error::last_os_error());
}

fn from_poll(revents: libc::c_short) -> Bits {
    let set = POLL.iter().filter(|(_, bit)| revents & bit != 0);
    set.fold(Bits::empty(), |bits, (ours, _)| bits | *ours)
}

/// The directions that an event names. `Event` shows HUP and RDHUP only through the methods of
/// closing; where these leave room, the direction counts as named.
pub fn named(event: &Event) -> Bits {
    let mut bits = Bits::empty();
    bits.set(Bits::READ, event.is_readable());
    bits.set(Bits::WRITE, event.is_writable());
    bits.set(Bits::PRIORITY, event.is_priority());
    bits.set(Bits::ERROR, event.is_error());
    bits.set(Bits::END, event.is_read_closed());
    bits.set(Bits::HUP, event.is_read_closed() && event.is_write_closed());
    bits.set(Bits::WRITE_END, event.is_write_closed());
    bits
}

/// What kqueue has to say where poll(2) says `bits`: its filters know no hang-ups and no errors, but
/// an end of reading and one of writing.
pub fn as_kqueue(bits: Bits, kind: Kind) -> Bits {
    let never_connected = bits.contains(Bits::HUP | Bits::WRITE) && !bits.contains(Bits::END);
    if never_connected && !bits.contains(Bits::ERROR) {
        // A stream that is not connected: neither ready nor at its end there. One with an error, as
        // Linux gives a stream that is disconnected, has failed.
        return Bits::empty();
    }
    let mut there = bits - UNMASKED - Bits::PRIORITY;
    there.set(Bits::END, bits.intersects(Bits::END | Bits::HUP));
    // That a connection was refused or reset is an error of both filters.
    let is_tcp = matches!(kind, Kind::Tcp | Kind::TcpUnconnected);
    let failed = is_tcp && bits.contains(Bits::ERROR | Bits::HUP);
    there.set(Bits::ERROR, failed);
    // A pipe without a reader has an error, and no hang-up.
    let write_ends = match kind {
        Kind::Receiver | Kind::Fifo => false,
        Kind::Sender | Kind::FifoWriter => bits.contains(Bits::ERROR),
        _ => bits.contains(Bits::HUP),
    };
    there.set(Bits::WRITE_END, write_ends);
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_kqueue_a_stream_without_a_connection_is_nothing_unless_it_has_failed() {
        let unconnected = Bits::WRITE | Bits::HUP;
        assert_eq!(as_kqueue(unconnected, Kind::Tcp), Bits::empty());
        let disconnected = unconnected | Bits::READ | Bits::ERROR;
        let ends = Bits::END | Bits::WRITE_END | Bits::ERROR;
        let failed = Bits::READ | Bits::WRITE | ends;
        assert_eq!(as_kqueue(disconnected, Kind::Tcp), failed);
        // So that it is shut down as well is nothing new.
        assert_eq!(as_kqueue(disconnected | Bits::END, Kind::Tcp), failed);
    }
}
