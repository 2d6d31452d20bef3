//! poll(2), which every Unix has:
//! [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html).
//!
//! How it keeps the contract:
//!
//! - **Edges** are made of levels by [`Edges`](super::rearm::Edges), one direction at
//!   a time: a source tells by its I/O when it would block, and a descriptor of which
//!   nobody tells is looked at now and then.
//! - **Who is registered** stands in a [table](super::table), and nothing is asked of
//!   the kernel: files are always ready, and a dead descriptor is reported once, as
//!   failed, readable and writable, by the next `select`, and then left alone
//!   until it is registered anew.
//! - **Deregistering** removes the entry under the lock under which events are
//!   collected. What the kernel says of an entry that was changed while it was
//!   asked is passed over; it is asked again.
//! - **Threads**: nobody holds the lock while `poll` may wait. Whoever changes the
//!   table then signals the interrupt, once, so that the kernel lets go of
//!   descriptors that are about to be closed and hears of new ones.
//! - **Fairness**: each `select` scans on from where the last one stopped.
//! - **Memory**: flat arrays, which grow with the registrations, each of which
//!   costs no allocation of its own.
//! - **Cost**: a `select` costs time in proportion to the registrations.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::MutexGuard;
use std::time::Duration;

use libc::pollfd;

use super::calls::poll::poll;
use super::table::{answered, ask_anew, Rearming, Registrations, State};
use super::wake_fd::WakeFd;
use super::EventBuffer;

#[derive(Debug)]
pub(crate) struct Poll {
    registrations: Registrations<Asked>,
    /// Ends a wait when something has changed.
    interrupt: WakeFd,
}

/// What the kernel is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The interrupt, and then an element for each slot, with descriptor -1 where
    /// there is nothing to ask. Empty while it is in the hands of a thread that
    /// waits.
    all: Vec<pollfd>,
    /// The slot to scan from.
    next: usize,
}

const NOTHING: pollfd = pollfd {
    fd: -1,
    events: 0,
    revents: 0,
};

impl Rearming for Poll {
    type Asked = Asked;

    const TAKES_CHANGES: bool = false;

    fn open() -> io::Result<Poll> {
        let interrupt = WakeFd::new()?;
        let first = pollfd {
            fd: interrupt.raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        Ok(Poll {
            registrations: Registrations::new(Asked {
                all: vec![first],
                next: 0,
            }),
            interrupt,
        })
    }

    fn registrations(&self) -> &Registrations<Asked> {
        &self.registrations
    }

    #[inline]
    fn ask(&self, state: &mut State<Asked>, slot: usize) -> io::Result<()> {
        let all = &mut state.asked.all;
        if all.len() <= slot + 1 {
            all.resize(slot + 2, NOTHING);
        }
        all[slot + 1] = match state.table.entry(slot).wanted() {
            Some((fd, _, events)) => pollfd {
                fd,
                events,
                revents: 0,
            },
            None => NOTHING,
        };
        Ok(())
    }

    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<Asked>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<Asked>>, io::Result<bool>) {
        state.asked.trim();
        let mut all = std::mem::take(&mut state.asked.all);
        state.waiting.begin();
        drop(state);

        let answers = poll(&mut all, timeout);

        let mut state = self.registrations.lock();
        state.waiting.end();
        state.asked.all = all;
        if state.asked.all[0].revents != 0 {
            // It can only fail where it is no longer ours to read.
            let _ = self.interrupt.drain();
        }
        // What was said of a slot that has changed since may be of another
        // descriptor: it is passed over, and asked again.
        while let Some(slot) = state.table.take_changed() {
            ask_anew(self, &mut state, slot);
        }
        let answered = answers.map(|answers| {
            self.collect(&mut state, answers, events);
            answers > 0
        });
        (state, answered)
    }

    fn interrupt(&self) {
        // If it fails nothing more can be done.
        let _ = self.interrupt.signal();
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.interrupt.as_fd()
    }
}

impl Poll {
    /// Makes events of the kernel's answers, of which there are so many.
    fn collect(&self, state: &mut State<Asked>, answers: usize, events: &mut EventBuffer) {
        let mut left = answers - usize::from(state.asked.all[0].revents != 0);
        let slots = state.asked.all.len() - 1;
        let start = state.asked.next.min(slots);
        for slot in (start..slots).chain(0..start) {
            if left == 0 || events.is_full() {
                break;
            }
            let answer = state.asked.all[slot + 1].revents;
            if answer != 0 {
                left -= 1;
                if let Some(event) = answered(self, state, slot, answer) {
                    events.push(event);
                    state.asked.next = slot + 1;
                }
            }
        }
    }
}

impl Asked {
    /// Cuts off what is asked nothing at the end: the kernel takes no more elements
    /// than the process may have descriptors.
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
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::super::{Owner, Selector};
    use super::*;
    use crate::event::Event;
    use crate::{Interest, Token};

    /// As when a thread is in the kernel, with what was asked then, while another one
    /// makes changes.
    #[test]
    fn what_is_said_of_a_slot_that_has_changed_is_not_believed() {
        let poll: Poll = Rearming::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let register = |stream: &UnixStream, token| {
            let interest = Interest::READABLE;
            Selector::register(&poll, stream.as_raw_fd(), token, interest, Owner::Source).unwrap()
        };
        let (old, peer) = UnixStream::pair().unwrap();
        let key = register(&old, Token(1));
        drop(peer);

        poll.registrations.lock().waiting.begin();
        Selector::deregister(&poll, old.as_raw_fd(), key).unwrap();
        let (next, mut peer) = UnixStream::pair().unwrap();
        assert_eq!(register(&next, Token(2)).parts().unwrap().0, 0, "its slot");
        let (state, waited) = poll.wait(poll.registrations.lock(), None, &mut events);
        assert!(waited.unwrap(), "that the old one has hung up");
        assert!(events.events().is_empty());
        drop(state);

        peer.write_all(b"x").unwrap();
        poll.select(&mut events, None).unwrap();
        let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        assert_eq!(tokens, [Token(2)]);
    }
}
