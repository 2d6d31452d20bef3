//! poll(2), which every Unix has:
//! [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html).
//!
//! How it keeps the contract:
//!
//! - **Edges** are made of levels by [`Edges`], one direction at a time: a source
//!   tells by its I/O when it would block, and a descriptor of which nobody tells
//!   is looked at now and then.
//! - **Who is registered** stands in a table here, and nothing is asked of the
//!   kernel: files are always ready, and a dead descriptor is reported once, as
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
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libc::{c_short, pollfd};

use super::calls::poll::poll;
use super::rearm::{Change, Drained, Edges, Waiting};
use super::wake::{self, WakeFd};
use super::{EventBuffer, Key, Outcome, Owner, Selector, POLLRDHUP};
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(crate) struct Poll {
    table: Mutex<Table>,
    /// Ends a wait when the table has changed.
    interrupt: WakeFd,
    /// The process that opened it.
    process: u32,
}

/// All registrations. A registration has a slot, the same in `entries` and, one
/// further on, in `asked`.
#[derive(Debug)]
struct Table {
    entries: Vec<Entry>,
    /// What the kernel is asked: the interrupt, and then an element for each slot,
    /// with descriptor -1 where there is nothing to ask. Empty while it is in the
    /// hands of a thread that waits.
    asked: Vec<pollfd>,
    /// The slot of each descriptor, or `NONE`.
    by_descriptor: Vec<u32>,
    /// The head of the list of free slots, linked by `Entry::next_free`.
    free: u32,
    /// Slots that are looked at now and then, each once.
    looked_at: Vec<u32>,
    /// Room for looking at them.
    looks: Vec<pollfd>,
    /// Where in `looked_at` to begin.
    next_looked: usize,
    /// The last buffer was filled by looking, before anybody else was asked.
    looks_filled_buffer: bool,
    /// Whether a thread has `asked`, and may be waiting.
    waiting: Waiting,
    /// Slots that changed while `asked` was away, each once.
    changed: Vec<u32>,
    /// The slot to scan from.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    /// -1 for a free slot.
    fd: RawFd,
    token: Token,
    owner: Owner,
    /// Tells registrations apart that had the same slot one after the other.
    generation: u32,
    edges: Edges,
    /// The descriptor turned out to be closed.
    is_dead: bool,
    /// It is in `Table::looked_at`.
    is_looked_at: bool,
    /// It is in `Table::changed`.
    is_changed: bool,
    next_free: u32,
}

const NONE: u32 = u32::MAX;

/// Descriptors from here on are searched for instead of looked up: systems do not
/// hand out such numbers unless told to.
const MAX_LOOKED_UP: usize = 1 << 20;

impl Selector for Poll {
    fn open() -> io::Result<Poll> {
        let interrupt = WakeFd::new()?;
        let first = pollfd {
            fd: interrupt.raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        Ok(Poll {
            interrupt,
            process: std::process::id(),
            table: Mutex::new(Table {
                entries: Vec::new(),
                asked: vec![first],
                by_descriptor: Vec::new(),
                free: NONE,
                looked_at: Vec::new(),
                looks: Vec::new(),
                next_looked: 0,
                looks_filled_buffer: false,
                waiting: Waiting::default(),
                changed: Vec::new(),
                next: 0,
            }),
        })
    }

    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        if events.capacity() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Once: what is spent on interruptions counts. One that lies beyond the
        // clock is none.
        let deadline = match timeout {
            None | Some(Duration::ZERO) => None,
            Some(timeout) => Instant::now().checked_add(timeout),
        };
        let mut left = timeout.filter(|timeout| deadline.is_some() || timeout.is_zero());
        let mut table = self.lock();
        loop {
            // Where only looking filled the last buffer, the others come first.
            let looks = !std::mem::take(&mut table.looks_filled_buffer);
            let next_look = match looks {
                true => table.look(events)?,
                false => Some(Instant::now()),
            };
            if events.is_full() {
                table.looks_filled_buffer = true;
                return Ok(());
            }
            if !events.events().is_empty() {
                // In hand already: a glance at whether there are others.
                left = Some(Duration::ZERO);
            }
            let look = next_look.map(|due| due.saturating_duration_since(Instant::now()));
            let wait = left.into_iter().chain(look).min();

            let answered;
            (table, answered) = self.wait(table, wait);
            let is_over = match answered {
                Ok(answers) => {
                    table.collect(answers, events);
                    // Where nobody has answered, all that time has passed.
                    let passed = answers == 0 && wait == left;
                    looks && (passed || left == Some(Duration::ZERO))
                }
                Err(error) if events.events().is_empty() => return Err(error),
                // The events in hand come first.
                Err(_) => true,
            };
            if is_over || !events.events().is_empty() {
                return Ok(());
            }
            // It was interrupted, or it is time for a look.
            if let Some(deadline) = deadline {
                left = Some(deadline.saturating_duration_since(Instant::now()));
            }
        }
    }

    fn register(
        &self,
        fd: RawFd,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key> {
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let mut table = self.lock();
        let slot = match table.find(fd) {
            // Its number may have been closed and handed out again.
            Some(slot) if table.entries[slot].may_be_replaced() => slot,
            Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => table.new_slot(fd)?,
        };
        let entry = &mut table.entries[slot];
        entry.token = token;
        entry.owner = owner;
        entry.edges.begin(interest, owner.drained());
        entry.is_dead = false;
        entry.generation = (entry.generation + 1) % Key::GENERATIONS;
        let key = Key::new(slot as u32, entry.generation);
        self.changed(table, slot);
        Ok(key)
    }

    fn reregister(&self, fd: RawFd, key: Key, token: Token, interest: Interest) -> io::Result<()> {
        let mut table = self.lock();
        let slot = table.slot(fd, key)?;
        let entry = &mut table.entries[slot];
        entry.token = token;
        entry.edges.begin(interest, entry.owner.drained());
        entry.is_dead = false;
        self.changed(table, slot);
        Ok(())
    }

    fn deregister(&self, fd: RawFd, key: Key) -> io::Result<()> {
        let mut table = self.lock();
        let slot = table.slot(fd, key)?;
        table.remove(slot);
        self.changed(table, slot);
        Ok(())
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        let mut table = self.lock();
        let Ok(slot) = table.slot(-1, key) else {
            return; // deregistered by its number
        };
        let entry = &mut table.entries[slot];
        let before = entry.edges.wanted();
        match outcome {
            Outcome::WouldBlock(direction) => entry.edges.would_block(direction),
            Outcome::Failed => entry.edges.failed(),
        }
        let begins_looking = entry.edges.is_looked_at() && !entry.is_looked_at;
        if entry.edges.wanted() != before || begins_looking {
            self.changed(table, slot);
        }
    }

    fn forget(&self, key: Key) {
        // A child has only a copy of the table, with its lock in whatever state
        // another thread of the parent had it.
        if std::process::id() == self.process {
            // It may have been deregistered by its number.
            let _ = self.deregister(-1, key);
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.interrupt.as_fd()
    }
}

impl Entry {
    /// Whether its descriptor may be another one by now: nobody tells when one is
    /// closed that no source owns.
    fn may_be_replaced(&self) -> bool {
        self.owner == Owner::Nobody || self.is_dead
    }
}

impl Owner {
    fn drained(self) -> Drained {
        match self {
            Owner::Source | Owner::Waker => Drained::IsTold,
            Owner::Nobody => Drained::IsNotTold,
        }
    }
}

impl Poll {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code of a program's runs under the lock, and ours does not panic
        // half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts into effect what has changed in a slot.
    fn changed(&self, mut table: MutexGuard<'_, Table>, slot: usize) {
        let Change::Later { signal } = table.waiting.change() else {
            table.update(slot);
            return;
        };
        let is_first = !std::mem::replace(&mut table.entries[slot].is_changed, true);
        if is_first {
            table.changed.push(slot as u32);
        }
        if signal {
            // Later, so that who is woken finds the lock free. If it fails
            // nothing more can be done.
            drop(table);
            let _ = self.interrupt.signal();
        }
    }

    /// Asks the kernel, without the lock; returns how many descriptors have an
    /// answer.
    fn wait<'a>(
        &'a self,
        mut table: MutexGuard<'a, Table>,
        timeout: Option<Duration>,
    ) -> (MutexGuard<'a, Table>, io::Result<usize>) {
        table.trim();
        let mut asked = std::mem::take(&mut table.asked);
        table.waiting.begin();
        drop(table);

        let answered = poll(&mut asked, timeout);

        let mut table = self.lock();
        table.waiting.end();
        table.asked = asked;
        if table.asked[0].revents != 0 {
            // It can only fail where it is no longer ours to read.
            let _ = self.interrupt.drain();
        }
        // What was said of a slot that has changed since may be of another
        // descriptor.
        while let Some(slot) = table.changed.pop() {
            table.entries[slot as usize].is_changed = false;
            table.update(slot as usize);
        }
        (table, answered)
    }
}

impl Table {
    /// The slot of a descriptor, if it is registered.
    fn find(&self, fd: RawFd) -> Option<usize> {
        let index = usize::try_from(fd).ok()?;
        if index < MAX_LOOKED_UP {
            let slot = *self.by_descriptor.get(index)?;
            (slot != NONE).then_some(slot as usize)
        } else {
            self.entries.iter().position(|entry| entry.fd == fd)
        }
    }

    /// The slot of a registration: by its key, where a source has it, and else by
    /// the descriptor.
    fn slot(&self, fd: RawFd, key: Key) -> io::Result<usize> {
        let slot = match key.parts() {
            Some((slot, generation)) => Some(slot as usize).filter(|&slot| {
                let entry = &self.entries[slot];
                entry.fd >= 0 && entry.generation == generation
            }),
            None => self.find(fd),
        };
        slot.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A slot for a descriptor that has none. All that grows with the number of
    /// registrations grows here.
    fn new_slot(&mut self, fd: RawFd) -> io::Result<usize> {
        let slot = if self.free != NONE {
            let slot = self.free as usize;
            self.free = self.entries[slot].next_free;
            self.entries[slot].fd = fd;
            slot
        } else {
            if self.entries.len() >= Key::SLOTS {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.entries.push(Entry {
                fd,
                token: Token(0),
                owner: Owner::Nobody,
                generation: 0,
                edges: Edges::new(),
                is_dead: false,
                is_looked_at: false,
                is_changed: false,
                next_free: NONE,
            });
            let all = self.entries.len();
            for list in [&mut self.looked_at, &mut self.changed] {
                list.reserve(all - list.len());
            }
            self.looks.reserve(all - self.looks.len());
            all - 1
        };
        let index = fd as usize; // not negative: see `register`
        if index < MAX_LOOKED_UP {
            if self.by_descriptor.len() <= index {
                self.by_descriptor.resize(index + 1, NONE);
            }
            self.by_descriptor[index] = slot as u32;
        }
        Ok(slot)
    }

    fn remove(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if let Some(known) = self.by_descriptor.get_mut(entry.fd as usize) {
            *known = NONE;
        }
        entry.fd = -1;
        entry.next_free = self.free;
        self.free = slot as u32;
    }

    /// Cuts off the free slots at the end: the kernel takes no more elements than
    /// the process may have descriptors.
    fn trim(&mut self) {
        while let [_, .., last] = &self.asked[..] {
            if last.fd >= 0 || self.entries[self.asked.len() - 2].fd >= 0 {
                break;
            }
            self.asked.pop();
        }
    }

    /// Makes what the kernel is asked of a slot what its entry wants.
    fn update(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        let wanted = entry.edges.wanted();
        let is_asked = entry.fd >= 0 && !entry.is_dead && wanted.is_some();
        let element = pollfd {
            fd: if is_asked { entry.fd } else { -1 },
            events: to_kernel(wanted.unwrap_or(Readiness::NONE)),
            revents: 0,
        };
        if entry.edges.is_looked_at() && !entry.is_looked_at {
            entry.is_looked_at = true;
            self.looked_at.push(slot as u32);
        }
        let nothing = pollfd {
            fd: -1,
            events: 0,
            revents: 0,
        };
        if self.asked.len() <= slot + 1 {
            self.asked.resize(slot + 2, nothing);
        }
        self.asked[slot + 1] = element;
    }

    /// Looks, without waiting, at what is only looked at. Returns when to look
    /// again at the latest.
    fn look(&mut self, events: &mut EventBuffer) -> io::Result<Option<Instant>> {
        if self.looked_at.is_empty() {
            return Ok(None);
        }
        let entries = &mut self.entries;
        self.looked_at.retain(|&slot| {
            let entry = &mut entries[slot as usize];
            entry.is_looked_at = entry.fd >= 0 && !entry.is_dead && entry.edges.is_looked_at();
            entry.is_looked_at
        });
        self.looks.clear();
        self.looks.extend(self.looked_at.iter().map(|&slot| {
            let entry = &entries[slot as usize];
            pollfd {
                fd: entry.fd,
                events: to_kernel(entry.edges.interest()),
                revents: 0,
            }
        }));
        if self.looks.is_empty() {
            return Ok(None);
        }
        poll(&mut self.looks, Some(Duration::ZERO))?;

        let now = Instant::now();
        let count = self.looks.len();
        let start = self.next_looked.min(count);
        let mut next_look = None;
        for index in (start..count).chain(0..start) {
            if events.is_full() {
                break;
            }
            let slot = self.looked_at[index] as usize;
            let answer = self.looks[index].revents;
            if answer & libc::POLLNVAL != 0 {
                events.push(self.died(slot));
                continue;
            }
            let entry = &mut self.entries[slot];
            let before = entry.edges.wanted();
            if let Some(report) = entry.edges.looked(from_kernel(answer), now) {
                events.push(Event::new(entry.token, report));
                self.next_looked = index + 1;
            }
            next_look = next_look
                .into_iter()
                .chain(entry.edges.next_look(now))
                .min();
            if entry.edges.wanted() != before {
                self.update(slot);
            }
        }
        Ok(next_look)
    }

    /// Makes events of the kernel's answers, of which there are so many.
    fn collect(&mut self, answers: usize, events: &mut EventBuffer) {
        let mut left = answers - usize::from(self.asked[0].revents != 0);
        let slots = self.asked.len() - 1;
        let start = self.next.min(slots);
        for slot in (start..slots).chain(0..start) {
            if left == 0 || events.is_full() {
                break;
            }
            let answer = self.asked[slot + 1].revents;
            if answer != 0 {
                left -= 1;
                if let Some(event) = self.answered(slot, answer) {
                    events.push(event);
                    self.next = slot + 1;
                }
            }
        }
    }

    fn answered(&mut self, slot: usize, answer: c_short) -> Option<Event> {
        if answer & libc::POLLNVAL != 0 {
            return Some(self.died(slot));
        }
        let entry = &mut self.entries[slot];
        if entry.owner == Owner::Waker {
            // Before the pending wake-ups are cleared, which is when a wake would
            // signal again. It can only fail where it is no longer ours to read.
            let _ = wake::drain(entry.fd);
            return Some(Event::new(entry.token, Readiness::IN));
        }
        let mut ready = from_kernel(answer);
        if ready.intersects(Readiness::ERR.or(Readiness::HUP)) {
            // An error is reported together with all that is ready, as by a kernel
            // that knows edges.
            let mut whole = [pollfd {
                fd: entry.fd,
                // The end tells whether anything can change any more.
                events: to_kernel(entry.edges.interest().or(Readiness::RDHUP)),
                revents: 0,
            }];
            if poll(&mut whole, Some(Duration::ZERO)).is_ok() {
                ready = ready.or(from_kernel(whole[0].revents));
            }
        }
        let report = entry.edges.fired(ready);
        let event = Event::new(entry.token, report);
        self.update(slot);
        (report != Readiness::NONE).then_some(event)
    }

    /// A descriptor turned out to be closed: said once, and never asked again.
    fn died(&mut self, slot: usize) -> Event {
        let entry = &mut self.entries[slot];
        entry.is_dead = true;
        let report = Readiness::IN.or(Readiness::OUT).or(Readiness::ERR);
        let event = Event::new(entry.token, report);
        self.update(slot);
        event
    }
}

/// The bits of poll(2) are epoll's on most systems, and then nothing is left of
/// translating them. A kernel that does not tell of the end has none for it.
const BITS: [(Readiness, c_short); 6] = [
    (Readiness::IN, libc::POLLIN),
    (Readiness::PRI, libc::POLLPRI),
    (Readiness::OUT, libc::POLLOUT),
    (Readiness::ERR, libc::POLLERR),
    (Readiness::HUP, libc::POLLHUP),
    (Readiness::RDHUP, POLLRDHUP),
];

#[inline]
pub(super) fn to_kernel(bits: Readiness) -> c_short {
    BITS.iter()
        .fold(0, |kernel, &(ours, theirs)| match bits.intersects(ours) {
            true => kernel | theirs,
            false => kernel,
        })
}

#[inline]
pub(super) fn from_kernel(bits: c_short) -> Readiness {
    BITS.iter().fold(Readiness::NONE, |ready, &(ours, theirs)| {
        match bits & theirs {
            0 => ready,
            _ => ready.or(ours),
        }
    })
}
