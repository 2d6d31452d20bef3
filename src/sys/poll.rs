//! poll(2), which every Unix has:
//! [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html).
//!
//! How it keeps the contract:
//!
//! - **Edges**: [`Edges`](super::rearm::Edges) makes edges of levels, one direction at a time. A
//!   source reports when its I/O would block. Raw descriptors, and directions that may have been
//!   drained without a report, are probed with back-off.
//! - **Registrations**: a [table](super::table) stores them, without a system call. Files are
//!   always ready. A closed descriptor is reported once, as failed, readable and writable, by
//!   the next `select`, and then ignored until it is registered again.
//! - **Deregistering** removes the entry under the lock under which events are
//!   collected. The kernel's readiness of an entry that was replaced during the call is
//!   stale: it is dropped, and the new registration is armed.
//! - **Threads**: no thread holds the lock while `poll` may wait. A thread that changes the
//!   table during a wait signals the interrupt, once. The wait then ends, which releases
//!   descriptors that are about to be closed, and the next one includes new descriptors.
//! - **Fairness**: each `select` continues the scan where the last one stopped.
//! - **Memory**: flat arrays, which grow with the registrations. A registration has no
//!   allocation of its own.
//! - **Cost**: a `select` takes time in proportion to the registrations.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use libc::pollfd;

use super::chunks::poll;
use super::error::uninterrupted;
use super::rearmed::{Kernel, Rearmed};
use super::selector::EventBuffer;
use super::table::State;
use super::wake_fd::{UnreadSignals, WakeFd};

pub(crate) type Poll = Rearmed<PollCall>;

/// poll(2), whose kernel stores no registrations.
pub(crate) struct PollCall {
    /// Ends a wait when another thread has changed the armed set.
    interrupt: WakeFd,
}

/// The armed set, as poll(2) takes it.
pub(crate) struct Armed {
    /// The interrupt, and then an element for each slot, with descriptor -1 for a
    /// slot that is not armed. Empty while a thread waits, which holds the array.
    all: Vec<pollfd>,
    /// The slot to scan from.
    next: usize,
}

const UNUSED: pollfd = pollfd {
    fd: -1,
    events: 0,
    revents: 0,
};

impl Kernel for PollCall {
    type Armed = Armed;

    const TAKES_CHANGES: bool = false;

    #[inline]
    fn open(unread: &Arc<UnreadSignals>) -> io::Result<(PollCall, Armed)> {
        let interrupt = WakeFd::new(Some(unread))?;
        let first = pollfd {
            fd: interrupt.raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let armed = Armed {
            all: vec![first],
            next: 0,
        };
        Ok((PollCall { interrupt }, armed))
    }

    #[inline]
    fn arm(&self, state: &mut State<Armed>, slot: usize) -> io::Result<()> {
        let all = &mut state.armed.all;
        if all.len() <= slot + 1 {
            all.resize(slot + 2, UNUSED);
        }
        all[slot + 1] = match state.table.entry(slot).to_arm() {
            Some((fd, _, events)) => pollfd {
                fd,
                events,
                revents: 0,
            },
            None => UNUSED,
        };
        Ok(())
    }

    #[inline]
    fn wait<'a>(
        backend: &'a Poll,
        mut state: MutexGuard<'a, State<Armed>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<Armed>>, io::Result<bool>) {
        state.armed.trim();
        let mut all = std::mem::take(&mut state.armed.all);
        state.waiting.begin();
        drop(state);

        let ready = poll(&mut all, timeout);

        let mut state = backend.registrations.lock();
        state.waiting.end();
        state.armed.all = all;
        let interrupt = state.armed.all[0];
        if matches!(ready, Ok(1..)) && interrupt.revents != 0 {
            let is_own =
                interrupt.revents & libc::POLLNVAL == 0 && backend.unread.read(interrupt.fd);
            state.table.lost_own_descriptor |= !is_own;
        }
        let any_ready = ready.map(|ready| {
            collect(backend, &mut state, ready, events);
            ready > 0
        });
        // The next call includes what has changed during the wait.
        while let Some(slot) = state.table.take_changed() {
            backend.rearm(&mut state, slot);
        }
        (state, any_ready)
    }

    #[inline]
    fn interrupt(backend: &Poll, state: MutexGuard<'_, State<Armed>>) -> io::Result<()> {
        // Without the lock, so that the polling thread finds it free.
        drop(state);
        uninterrupted(|| backend.kernel.interrupt.signal())
    }

    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.interrupt.as_fd()
    }
}

/// Makes events of the readiness of `ready` elements.
#[inline]
fn collect(backend: &Poll, state: &mut State<Armed>, ready: usize, events: &mut EventBuffer) {
    let mut left = ready - usize::from(state.armed.all[0].revents != 0);
    let slots = state.armed.all.len() - 1;
    let start = state.armed.next.min(slots);
    for slot in start..start + slots {
        if left == 0 {
            break;
        }
        // After the last one follows the first.
        let slot = if slot < slots { slot } else { slot - slots };
        let revents = state.armed.all[slot + 1].revents;
        if revents == 0 {
            continue;
        }
        left -= 1;
        // It may be the readiness of a registration that has ended.
        if state.table.is_replaced(slot) {
            continue;
        }
        if events.is_full() {
            backend.keep_for_next_poll(state, slot, revents);
        } else if let Some(event) = backend.ready(state, slot, revents) {
            events.push(event);
            state.armed.next = slot + 1;
        }
    }
}

impl Armed {
    /// Removes unused elements from the end: the kernel accepts no more elements than the process may
    /// have descriptors.
    #[inline]
    fn trim(&mut self) {
        while let [_, .., last] = &self.all[..] {
            if last.fd >= 0 {
                break;
            }
            self.all.pop();
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::super::selector::{Owner, Selector};
    use super::*;
    use crate::event::Event;
    use crate::{Interest, Token};

    /// Longer than any test waits, and shorter than a test that waits for ever.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    /// Like a thread that waits in the kernel, with the armed set of that time, while another
    /// thread makes changes.
    #[test]
    fn stale_readiness_of_a_changed_slot_is_dropped() {
        let backend: Poll = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let register = |stream: &UnixStream, token| {
            let interest = Interest::READABLE;
            Selector::register(&backend, stream.as_raw_fd(), token, interest, Owner::Source)
                .unwrap()
        };
        let (old, peer) = UnixStream::pair().unwrap();
        let key = register(&old, Token(1));
        drop(peer);

        backend.registrations.lock().waiting.begin();
        Selector::deregister(&backend, old.as_raw_fd(), key).unwrap();
        let (next, mut peer) = UnixStream::pair().unwrap();
        assert_eq!(register(&next, Token(2)), key, "its slot");
        let (state, waited) = PollCall::wait(
            &backend,
            backend.registrations.lock(),
            PATIENCE,
            &mut events,
        );
        assert!(waited.unwrap(), "that the old one has hung up");
        assert!(events.events().is_empty());
        let at_once = Some(Duration::ZERO);
        let (state, waited) = PollCall::wait(&backend, state, at_once, &mut events);
        assert!(!waited.unwrap(), "nothing is ready");
        drop(state);

        peer.write_all(b"x").unwrap();
        backend.select(&mut events, PATIENCE).unwrap();
        let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        assert_eq!(tokens, [Token(2)]);
    }

    #[test]
    fn free_slots_at_the_end_are_not_polled() {
        let backend: Poll = Selector::open().unwrap();
        let streams: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap().0).collect();
        let keys = streams.iter().map(|stream| {
            let (fd, interest) = (stream.as_raw_fd(), Interest::READABLE);
            Selector::register(&backend, fd, Token(0), interest, Owner::Source).unwrap()
        });
        let keys: Vec<_> = keys.collect();
        for free in [1, 3, 4] {
            Selector::deregister(&backend, -1, keys[free]).unwrap();
        }
        let mut events = EventBuffer::with_capacity(8);
        backend.select(&mut events, Some(Duration::ZERO)).unwrap();
        let state = backend.registrations.lock();
        assert_eq!(
            state.armed.all.len(),
            1 + 3,
            "the interrupt, and up to the third"
        );
    }

    /// Another object has the descriptor of a waker, or of the queue's own interrupt. It is not read.
    #[test]
    fn a_wake_descriptor_that_nobody_signalled_is_lost() {
        let (mut other, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        for of_waker in [true, false] {
            let backend: Poll = Selector::open().unwrap();
            let mut events = EventBuffer::with_capacity(8);
            if of_waker {
                let (fd, interest) = (other.as_raw_fd(), Interest::READABLE);
                Selector::register(&backend, fd, Token(1), interest, Owner::Waker).unwrap();
            } else {
                backend.registrations.lock().armed.all[0].fd = other.as_raw_fd();
            }
            for _ in 0..2 {
                let error = backend.select(&mut events, PATIENCE).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
            }
        }
        other.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn each_signal_of_a_waker_is_reported_once() {
        let backend: Poll = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let wake = WakeFd::new(Selector::unread_signals(&backend)).unwrap();
        let (fd, interest) = (wake.raw_fd(), Interest::READABLE);
        Selector::register(&backend, fd, Token(1), interest, Owner::Waker).unwrap();
        for _ in 0..3 {
            wake.signal().unwrap();
            for count in [1, 0] {
                let at_once = Some(Duration::ZERO);
                backend.select(&mut events, at_once).unwrap();
                let readable = events.events().iter().filter(|event| event.is_readable());
                assert_eq!(readable.count(), count);
            }
        }
    }

    #[test]
    fn a_change_during_a_wait_makes_the_interrupt_readable() {
        let backend: Poll = Selector::open().unwrap();
        backend.registrations.lock().waiting.begin();
        let mut interrupt = [pollfd {
            events: libc::POLLIN,
            ..backend.registrations.lock().armed.all[0]
        }];
        let at_once = Some(Duration::ZERO);
        assert_eq!(poll(&mut interrupt, at_once).unwrap(), 0);
        let (idle, _peer) = UnixStream::pair().unwrap();
        let (fd, interest) = (idle.as_raw_fd(), Interest::READABLE);
        Selector::register(&backend, fd, Token(1), interest, Owner::Source).unwrap();
        assert_eq!(poll(&mut interrupt, at_once).unwrap(), 1);
    }

    /// The polling thread has retrieved an error, and does not hold the lock yet, when another thread
    /// picks the error up. A latched error would hide the next one.
    #[test]
    fn an_error_that_was_picked_up_before_it_was_collected_is_not_latched() {
        use std::net::UdpSocket;

        let backend: Poll = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let unused = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = unused.local_addr().unwrap();
        drop(unused);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        let (fd, interest) = (socket.as_raw_fd(), Interest::READABLE);
        Selector::register(&backend, fd, Token(1), interest, Owner::Source).unwrap();
        socket.send(b"anybody?").unwrap();

        let mut state = backend.registrations.lock();
        let mut all = std::mem::take(&mut state.armed.all);
        drop(state);
        let ready = super::super::platform::poll::poll(&mut all, None).unwrap();
        if all[1].revents & libc::POLLERR == 0 {
            return; // NetBSD's poll(2) has no errors of sockets
        }
        assert!(socket.take_error().unwrap().is_some());
        let mut state = backend.registrations.lock();
        state.armed.all = all;
        collect(&backend, &mut state, ready, &mut events);
        let armed = state.table.entry(0).edges.armed_set();
        assert!(armed.is_some(), "it is still armed");
        drop(state);

        socket.send(b"anybody?").unwrap();
        backend.select(&mut events, PATIENCE).unwrap();
        assert!(events.events().iter().any(Event::is_error));
    }
}
