//! What backends that make edges themselves have in common: the registrations,
//! which they keep, and waiting. [`Rearming`] is the part that each has of its own;
//! with it, it is a `Selector`.
//!
//! A registration has a slot, and a source knows it by a [`Key`]: the slot and a
//! generation, which tells apart the registrations that had the slot one after the
//! other. A bare descriptor is found by its number.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libc::{c_short, pollfd};

use super::calls::poll::poll;
use super::rearm::{Drained, Edges, Waiting};
use super::{wake_fd, EventBuffer, Key, Outcome, Owner, Selector, UserEvent, POLLRDHUP};
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

/// A backend that makes edges itself.
pub(super) trait Rearming: Sized {
    /// What it holds under the lock beside the registrations.
    type Asked;

    /// Whether the kernel can be asked something else while a thread waits. What it
    /// then says of a slot that has changed may be of before.
    const TAKES_CHANGES: bool;

    fn open() -> io::Result<Self>;

    fn registrations(&self) -> &Registrations<Self::Asked>;

    /// Asks the kernel what the registration in this slot wants, or nothing where
    /// there is none.
    fn ask(&self, state: &mut State<Self::Asked>, slot: usize) -> io::Result<()>;

    /// A descriptor is registered no more.
    fn let_go(&self, _fd: RawFd) {}

    /// Waits once, without the lock, and makes events of what the kernel says.
    /// Returns whether it said anything.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State<Self::Asked>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<Self::Asked>>, io::Result<bool>);

    /// Ends the wait of another thread, or makes the next one a short one.
    fn interrupt(&self);

    fn as_fd(&self) -> BorrowedFd<'_>;

    /// As a `Selector`'s.
    fn open_user_event(&self, _token: Token) -> io::Result<Option<UserEvent>> {
        Ok(None)
    }

    /// As a `Selector`'s.
    fn trigger(&self, _event: UserEvent) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As a `Selector`'s.
    fn close_user_event(&self, _event: UserEvent) {}
}

#[derive(Debug)]
pub(super) struct Registrations<A> {
    state: Mutex<State<A>>,
    /// The process that opened it.
    process: u32,
}

#[derive(Debug)]
pub(super) struct State<A> {
    pub(super) table: Table,
    /// Whether a thread is about to wait, or does.
    pub(super) waiting: Waiting,
    pub(super) asked: A,
}

#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// The slot of each descriptor, or `NONE`; and `REMOVED`.
    by_descriptor: Vec<u32>,
    /// Descriptors that are `REMOVED`, each once.
    removed: Vec<RawFd>,
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
    /// Slots that changed while a thread waited, each once.
    changed: Vec<u32>,
    /// Slots of dead registrations that were not reported, each once.
    died: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// -1 for a free slot.
    fd: RawFd,
    token: Token,
    owner: Owner,
    /// Tells registrations apart that had the same slot one after the other.
    generation: u32,
    edges: Edges,
    /// It cannot be watched any more: its descriptor turned out to be closed.
    is_dead: bool,
    /// It is in `Table::looked_at`.
    is_looked_at: bool,
    /// It is in `Table::changed`.
    is_changed: bool,
    next_free: u32,
}

/// Whose an event is.
#[allow(dead_code)] // where no kernel takes changes while a thread waits
pub(super) enum Whose {
    Slot(usize),
    /// It may be of a registration that this slot's has replaced.
    MayBeOfBefore(usize),
    /// It was of a registration that has ended.
    Nobodys,
    /// Of one that was not made here.
    SomebodyElses,
}

/// No slot: the end of the list, or of a descriptor that is not registered.
const NONE: u32 = REMOVED - 1;

/// A bit beside a slot, which the descriptor has now: it was deregistered while a
/// thread waited, to which the kernel may have told something of it before.
const REMOVED: u32 = 1 << 31;

/// Descriptors from here on are searched for instead of looked up: systems do not
/// hand out such numbers unless told to.
const MAX_LOOKED_UP: usize = 1 << 20;

impl<B: Rearming> Selector for B {
    fn open() -> io::Result<B> {
        Rearming::open()
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
        let mut state = self.registrations().lock();
        loop {
            state.table.report_dead(events);
            // Where only looking filled the last buffer, the others come first.
            let looks = !std::mem::take(&mut state.table.looks_filled_buffer);
            let next_look = match looks {
                true => match look(self, &mut state, events) {
                    Ok(next_look) => next_look,
                    Err(error) if events.events().is_empty() => return Err(error),
                    // The events in hand come first.
                    Err(_) => return Ok(()),
                },
                false => Some(Instant::now()),
            };
            if events.is_full() {
                state.table.looks_filled_buffer = true;
                return Ok(());
            }
            if !events.events().is_empty() {
                // In hand already: a glance at whether there are others.
                left = Some(Duration::ZERO);
            }
            let look = next_look.map(|due| due.saturating_duration_since(Instant::now()));
            let wait = left.into_iter().chain(look).min();

            let answered;
            (state, answered) = self.wait(state, wait, events);
            state.table.forget_removed();
            let is_over = match answered {
                Ok(answered) => {
                    // A kernel whose wall clock is set may say too early that it has.
                    let passed = !answered
                        && wait == left
                        && deadline.is_some_and(|deadline| deadline <= Instant::now());
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
        let mut state = self.registrations().lock();
        let slot = state.table.slot_for(fd)?;
        let key = state.table.entries[slot].begin(slot, token, interest, owner);
        change(self, state, slot, Failure::IsReturned).map_err(|error| {
            // By its key, for it may have been replaced already.
            let _ = self.deregister(fd, key);
            error
        })?;
        Ok(key)
    }

    fn reregister(&self, fd: RawFd, key: Key, token: Token, interest: Interest) -> io::Result<Key> {
        let mut state = self.registrations().lock();
        let slot = state.table.slot(fd, key)?;
        let entry = &mut state.table.entries[slot];
        entry.token = token;
        entry.edges.begin(interest, entry.owner.drained());
        entry.is_dead = false;
        change(self, state, slot, Failure::IsReturned)?;
        Ok(key)
    }

    fn deregister(&self, fd: RawFd, key: Key) -> io::Result<()> {
        let mut state = self.registrations().lock();
        let slot = state.table.slot(fd, key)?;
        let waits = B::TAKES_CHANGES && state.waiting.is_waiting();
        let fd = state.table.remove(slot, waits);
        Rearming::let_go(self, fd);
        change(self, state, slot, Failure::IsReturned)
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        let mut state = self.registrations().lock();
        let Ok(slot) = state.table.slot(-1, key) else {
            return; // deregistered by its number
        };
        let entry = &mut state.table.entries[slot];
        let before = entry.edges.wanted();
        match outcome {
            Outcome::WouldBlock(direction) => entry.edges.would_block(direction),
            Outcome::Failed(_) | Outcome::ErrorTaken => entry.edges.failed(),
        }
        if entry.edges.wanted() != before || entry.begins_to_be_looked_at() {
            let _ = change(self, state, slot, Failure::IsReported);
        }
    }

    fn forget(&self, key: Key) {
        if !self.registrations().is_inherited() {
            // It may have been deregistered by its number.
            let _ = self.deregister(-1, key);
        }
    }

    fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        Rearming::open_user_event(self, token)
    }

    fn trigger(&self, event: UserEvent) -> io::Result<()> {
        Rearming::trigger(self, event)
    }

    fn close_user_event(&self, event: UserEvent) {
        if !self.registrations().is_inherited() {
            Rearming::close_user_event(self, event);
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        Rearming::as_fd(self)
    }
}

/// What becomes of an error in asking the kernel.
#[derive(PartialEq, Eq)]
enum Failure {
    IsReturned,
    /// By the next `select`, and returned.
    IsReported,
}

/// Puts into effect what has changed in a slot.
#[inline]
fn change<B: Rearming>(
    backend: &B,
    mut state: MutexGuard<'_, State<B::Asked>>,
    slot: usize,
    failure: Failure,
) -> io::Result<()> {
    let is_waiting = state.waiting.is_waiting();
    let begins = state.table.entries[slot].begins_to_be_looked_at();
    let mut asked = Ok(());
    if B::TAKES_CHANGES || !is_waiting {
        asked = update(backend, &mut state, slot);
        if asked.is_err() && failure == Failure::IsReported {
            state.table.report_later(slot);
        }
    }
    if is_waiting {
        state.table.mark_changed(slot);
        // Who waits has to know what the kernel was not told, and when to look.
        let concerns_him = !B::TAKES_CHANGES || begins || asked.is_err();
        if concerns_him && state.waiting.interrupt() {
            // Without the lock, so that who is woken finds it free.
            drop(state);
            backend.interrupt();
        }
    }
    asked
}

/// Asks the kernel what the registration in a slot wants.
#[inline]
fn update<B: Rearming>(backend: &B, state: &mut State<B::Asked>, slot: usize) -> io::Result<()> {
    state.table.begin_to_look(slot);
    let asked = backend.ask(state, slot);
    if asked.is_err() {
        state.table.entries[slot].is_dead = true;
    }
    asked
}

/// As `update`, but a failure is reported by the next `select`.
pub(super) fn ask_anew<B: Rearming>(backend: &B, state: &mut State<B::Asked>, slot: usize) {
    if update(backend, state, slot).is_err() {
        state.table.report_later(slot);
    }
}

/// Looks, without waiting, at what is only looked at. Returns when to look again at
/// the latest.
fn look<B: Rearming>(
    backend: &B,
    state: &mut State<B::Asked>,
    events: &mut EventBuffer,
) -> io::Result<Option<Instant>> {
    let count = state.table.ask_looks()?;
    if count == 0 {
        return Ok(None);
    }
    let now = Instant::now();
    let start = state.table.next_looked.min(count);
    let mut next_look = None;
    for index in (start..count).chain(0..start) {
        if events.is_full() {
            break;
        }
        let table = &mut state.table;
        let slot = table.looked_at[index] as usize;
        let answer = table.looks[index].revents;
        if answer & libc::POLLNVAL != 0 {
            events.push(table.died(slot));
            ask_anew(backend, state, slot);
            continue;
        }
        let entry = &mut table.entries[slot];
        let before = entry.edges.wanted();
        if let Some(report) = entry.edges.looked(from_poll(answer), now) {
            events.push(Event::new(entry.token, report));
            table.next_looked = index + 1;
            // What the kernel says of it in this `select` is passed over: that it has hung
            // up, say, which this has told.
            table.mark_changed(slot);
        }
        let entry = &state.table.entries[slot];
        next_look = next_look
            .into_iter()
            .chain(entry.edges.next_look(now))
            .min();
        if entry.edges.wanted() != before {
            ask_anew(backend, state, slot);
        }
    }
    Ok(next_look)
}

/// The kernel has said something of a slot: makes an event of it, and asks for what
/// is wanted now.
#[inline]
pub(super) fn answered<B: Rearming>(
    backend: &B,
    state: &mut State<B::Asked>,
    slot: usize,
    answer: c_short,
) -> Option<Event> {
    let table = &mut state.table;
    let entry = &mut table.entries[slot];
    let event = if answer & libc::POLLNVAL != 0 {
        Some(table.died(slot))
    } else if entry.owner == Owner::Waker {
        // Before the pending wake-ups are cleared, which is when a wake would
        // signal again. It can only fail where it is no longer ours to read.
        let _ = wake_fd::drain(entry.fd);
        Some(Event::new(entry.token, Readiness::IN))
    } else {
        let report = entry.edges.fired(entry.all_of(answer));
        (report != Readiness::NONE).then(|| Event::new(entry.token, report))
    };
    ask_anew(backend, state, slot);
    event
}

impl<A> Registrations<A> {
    pub(super) fn new(asked: A) -> Registrations<A> {
        Registrations {
            process: std::process::id(),
            state: Mutex::new(State {
                table: Table {
                    entries: Vec::new(),
                    by_descriptor: Vec::new(),
                    removed: Vec::new(),
                    free: NONE,
                    looked_at: Vec::new(),
                    looks: Vec::new(),
                    next_looked: 0,
                    looks_filled_buffer: false,
                    changed: Vec::new(),
                    died: Vec::new(),
                },
                waiting: Waiting::default(),
                asked,
            }),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State<A>> {
        // No code of a program's runs under the lock, and ours does not panic
        // half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is a forked child, which has only a copy of the table, with its
    /// lock in whatever state another thread of the parent had it.
    fn is_inherited(&self) -> bool {
        std::process::id() != self.process
    }
}

impl Entry {
    /// A registration begins.
    #[inline]
    fn begin(&mut self, slot: usize, token: Token, interest: Interest, owner: Owner) -> Key {
        self.token = token;
        self.owner = owner;
        self.edges.begin(interest, owner.drained());
        self.is_dead = false;
        self.generation = (self.generation + 1) % Key::GENERATIONS;
        Key::new(slot as u32, self.generation)
    }

    /// Whether its descriptor may be another one by now: nobody tells when one is
    /// closed that no source owns.
    #[inline]
    fn may_be_replaced(&self) -> bool {
        self.owner == Owner::Nobody || self.is_dead
    }

    /// The descriptor, its token, and what to ask of it, if anything.
    #[inline]
    pub(super) fn wanted(&self) -> Option<(RawFd, Token, c_short)> {
        let wanted = self.edges.wanted().filter(|_| self.is_watched())?;
        Some((self.fd, self.token, to_poll(wanted)))
    }

    #[inline]
    fn is_watched(&self) -> bool {
        self.fd >= 0 && !self.is_dead
    }

    #[inline]
    fn begins_to_be_looked_at(&self) -> bool {
        self.edges.is_looked_at() && !self.is_looked_at
    }

    /// An error is reported together with all that is ready, as by a kernel that
    /// knows edges; and only if it lasts, for some kernels tell everybody of it who
    /// waits for anything of the kind.
    #[inline]
    fn all_of(&self, answer: c_short) -> Readiness {
        let ready = from_poll(answer);
        let unasked = Readiness::ERR.or(Readiness::HUP);
        if !ready.intersects(unasked) {
            return ready;
        }
        let mut whole = [pollfd {
            fd: self.fd,
            // The end tells whether anything can change any more.
            events: to_poll(self.edges.interest().or(Readiness::RDHUP)),
            revents: 0,
        }];
        match poll(&mut whole, Some(Duration::ZERO)) {
            Ok(_) => ready.without(unasked).or(from_poll(whole[0].revents)),
            Err(_) => ready,
        }
    }
}

impl Owner {
    #[inline]
    fn drained(self) -> Drained {
        match self {
            Owner::Source | Owner::Waker => Drained::IsTold,
            Owner::Nobody => Drained::IsNotTold,
        }
    }
}

impl Table {
    #[inline]
    pub(super) fn entry(&self, slot: usize) -> &Entry {
        &self.entries[slot]
    }

    /// The slot of a descriptor, if it is registered.
    #[inline]
    pub(super) fn find(&self, fd: RawFd) -> Option<usize> {
        let index = usize::try_from(fd).ok()?;
        if index < MAX_LOOKED_UP {
            let slot = *self.by_descriptor.get(index)? & !REMOVED;
            (slot != NONE).then_some(slot as usize)
        } else {
            self.entries.iter().position(|entry| entry.fd == fd)
        }
    }

    /// The slot of a registration: by its key, where a source has it, and else by
    /// the descriptor.
    #[inline]
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

    /// A slot for registering a descriptor.
    fn slot_for(&mut self, fd: RawFd) -> io::Result<usize> {
        match self.find(fd) {
            // Its number may have been closed and handed out again.
            Some(slot) if self.entries[slot].may_be_replaced() => Ok(slot),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => self.new_slot(fd),
        }
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
            for list in [&mut self.looked_at, &mut self.changed, &mut self.died] {
                list.reserve(all - list.len());
            }
            self.looks.reserve(all - self.looks.len());
            all - 1
        };
        let index = fd as usize; // not negative: see `register`
        if index < MAX_LOOKED_UP {
            if self.by_descriptor.len() <= index {
                self.by_descriptor.resize(index + 1, NONE);
                let all = self.by_descriptor.len();
                self.removed.reserve(all - self.removed.len());
            }
            self.by_descriptor[index] = slot as u32 | (self.by_descriptor[index] & REMOVED);
        }
        Ok(slot)
    }

    /// `is_awaited`: a thread waits, and may have been told something of it.
    fn remove(&mut self, slot: usize, is_awaited: bool) -> RawFd {
        let entry = &mut self.entries[slot];
        if let Some(known) = self.by_descriptor.get_mut(entry.fd as usize) {
            if is_awaited && *known & REMOVED == 0 {
                *known |= REMOVED;
                self.removed.push(entry.fd);
            }
            *known |= NONE;
        }
        let fd = std::mem::replace(&mut entry.fd, -1);
        entry.next_free = self.free;
        self.free = slot as u32;
        fd
    }

    /// Whose an event is that a thread was told while it waited.
    #[allow(dead_code)] // where no kernel takes changes meanwhile
    pub(super) fn whose(&self, fd: RawFd) -> Whose {
        if let Some(slot) = self.find(fd) {
            return match self.entries[slot].is_changed {
                true => Whose::MayBeOfBefore(slot),
                false => Whose::Slot(slot),
            };
        }
        let was_removed = match self.by_descriptor.get(fd as usize) {
            Some(slot) => slot & REMOVED != 0,
            // Of what is not looked up that is not known.
            None => fd as usize >= MAX_LOOKED_UP,
        };
        match was_removed {
            true => Whose::Nobodys,
            false => Whose::SomebodyElses,
        }
    }

    /// A thread waits, and what it is told of this slot may be of before.
    fn mark_changed(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if !std::mem::replace(&mut entry.is_changed, true) {
            self.changed.push(slot as u32);
        }
    }

    /// One of the slots that changed while a thread waited, which it does no more.
    pub(super) fn take_changed(&mut self) -> Option<usize> {
        let slot = self.changed.pop()? as usize;
        self.entries[slot].is_changed = false;
        Some(slot)
    }

    /// What the thread that waited was told is done with.
    fn forget_removed(&mut self) {
        for fd in self.removed.drain(..) {
            self.by_descriptor[fd as usize] &= !REMOVED;
        }
    }

    #[inline]
    fn begin_to_look(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if entry.begins_to_be_looked_at() {
            entry.is_looked_at = true;
            self.looked_at.push(slot as u32);
        }
    }

    /// Asks the kernel about what is looked at; returns how many slots that are.
    fn ask_looks(&mut self) -> io::Result<usize> {
        if self.looked_at.is_empty() {
            return Ok(0);
        }
        let entries = &mut self.entries;
        self.looked_at.retain(|&slot| {
            let entry = &mut entries[slot as usize];
            entry.is_looked_at = entry.is_watched() && entry.edges.is_looked_at();
            entry.is_looked_at
        });
        self.looks.clear();
        self.looks.extend(self.looked_at.iter().map(|&slot| {
            let entry = &entries[slot as usize];
            pollfd {
                fd: entry.fd,
                events: to_poll(entry.edges.interest()),
                revents: 0,
            }
        }));
        if !self.looks.is_empty() {
            poll(&mut self.looks, Some(Duration::ZERO))?;
        }
        Ok(self.looks.len())
    }

    /// A registration that cannot be watched any more: said once, and then it is
    /// left alone until it is registered anew.
    fn died(&mut self, slot: usize) -> Event {
        let entry = &mut self.entries[slot];
        entry.is_dead = true;
        let report = Readiness::IN.or(Readiness::OUT).or(Readiness::ERR);
        Event::new(entry.token, report)
    }

    /// That a registration died is found out where there is no room to report it. It
    /// may have died before, and been registered anew since.
    fn report_later(&mut self, slot: usize) {
        let slot = slot as u32;
        if !self.died.contains(&slot) {
            self.died.push(slot);
        }
    }

    /// Reports those of which it was found out in between.
    fn report_dead(&mut self, events: &mut EventBuffer) {
        while !events.is_full() {
            let Some(slot) = self.died.pop() else {
                return;
            };
            let entry = &self.entries[slot as usize];
            // It may have been registered anew, or something else in its slot.
            if entry.is_dead && entry.fd >= 0 {
                events.push(self.died(slot as usize));
            }
        }
    }
}

/// The bits of poll(2), which event ports have as well. They are epoll's on most
/// systems, and then nothing is left of translating them. A kernel that does not
/// tell of the end has none for it.
const BITS: [(Readiness, c_short); 6] = [
    (Readiness::IN, libc::POLLIN),
    (Readiness::PRI, libc::POLLPRI),
    (Readiness::OUT, libc::POLLOUT),
    (Readiness::ERR, libc::POLLERR),
    (Readiness::HUP, libc::POLLHUP),
    (Readiness::RDHUP, POLLRDHUP),
];

#[inline]
fn to_poll(bits: Readiness) -> c_short {
    BITS.iter()
        .fold(0, |kernel, &(ours, theirs)| match bits.intersects(ours) {
            true => kernel | theirs,
            false => kernel,
        })
}

#[inline]
pub(super) fn from_poll(bits: c_short) -> Readiness {
    BITS.iter().fold(Readiness::NONE, |ready, &(ours, theirs)| {
        match bits & theirs {
            0 => ready,
            _ => ready.or(ours),
        }
    })
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    /// It died, was registered anew, and died again before a poll could say so.
    #[test]
    fn what_died_twice_is_reported_once() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut events = EventBuffer::with_capacity(8);
        let slot = table.slot_for(1000).unwrap();
        for token in [Token(1), Token(2)] {
            table.entries[slot].begin(slot, token, Interest::READABLE, Owner::Source);
            table.entries[slot].is_dead = true;
            table.report_later(slot);
        }
        table.report_dead(&mut events);
        let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        assert_eq!(tokens, [Token(2)]);
    }
}
