//! The registrations of a backend that re-arms ([`Rearmed`](super::rearmed::Rearmed)), under their
//! lock.
//!
//! A registration has a slot. A source has a [`Key`] to it, and the slot is free when the registration
//! has ended and the key was given back. A raw descriptor is found by its number.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_short, pollfd};

use super::chunks::poll;
use super::error::Mistake;
use super::poll_bits::{from_poll, probe, to_poll};
use super::process::Process;
use super::rearm::{Drained, Edges, Tick, Waiting};
use super::selector::{EventBuffer, Key, Owner};
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(super) struct Registrations<A> {
    state: Mutex<State<A>>,
    /// How many threads wait for the lock.
    waiters: AtomicUsize,
    /// How often they were let in.
    #[cfg(test)]
    pub(super) times_let_in: AtomicUsize,
    /// The process that opened it.
    process: Process,
}

#[derive(Debug)]
pub(super) struct State<A> {
    pub(super) table: Table,
    /// Whether a thread is about to wait, or does.
    pub(super) waiting: Waiting,
    /// The armed set, where the kernel does not keep it.
    pub(super) armed: A,
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
    /// Slots that are probed, each once.
    probed: Vec<u32>,
    /// Those of them that are due, and what the kernel is asked about each.
    due: Vec<u32>,
    probes: Vec<pollfd>,
    /// Where in `due` to begin.
    pub(super) next_probed: usize,
    /// Probes filled the last buffer, before the kernel was asked about the armed set.
    pub(super) probes_filled_buffer: bool,
    /// A descriptor of the queue's own turned out to be closed, or somebody else's.
    pub(super) lost_own_descriptor: bool,
    /// Counts the calls of `select`.
    pub(super) select: u32,
    /// Slots that the kernel has said are ready after this `select` reported them: to be armed when the
    /// wait is over.
    pub(super) repeated: Vec<u32>,
    /// What ticks are counted from.
    start: Instant,
    /// Slots that changed while a thread waited, each once.
    changed: Vec<u32>,
    /// Slots of dead registrations that were not reported, each once.
    died: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// -1 where there is no registration: the slot is free, or a source still has its key.
    pub(super) fd: RawFd,
    pub(super) token: Token,
    pub(super) owner: Owner,
    pub(super) edges: Edges,
    /// The call of `select` that reported it last.
    pub(super) reported_by: u32,
    /// It cannot be watched any more: its descriptor turned out to be closed.
    pub(super) is_dead: bool,
    /// It is in `Table::probed`.
    is_listed: bool,
    /// It is in `Table::changed`.
    is_changed: bool,
    /// While a thread waited, one registration took the place of another one.
    is_replaced: bool,
    next_free: u32,
}

// A poll may have very many of them.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(std::mem::size_of::<Entry>() <= 96);

/// The owner of an event that a thread retrieved while it waited.
#[allow(dead_code)] // where no kernel takes changes while a thread waits
pub(super) enum EventOwner {
    Slot(usize),
    /// It may be of a registration that this slot's has replaced.
    Stale(usize),
    /// It was of a registration that has ended.
    Ended,
    /// Of one that was not made here.
    Foreign,
}

/// No slot: the end of the list, or of a descriptor that is not registered.
const NONE: u32 = REMOVED - 1;

/// A bit beside a slot, which the descriptor has now: it was deregistered while a
/// thread waited, to which the kernel may have told something of it before.
const REMOVED: u32 = 1 << 31;

/// Where others want the lock all the time, it is not theirs alone.
const MOST_YIELDS: usize = 1000;

/// Descriptors from here on are searched for instead of looked up: systems do not
/// hand out such numbers unless told to.
const MAX_LOOKED_UP: usize = 1 << 20;

impl<A> Registrations<A> {
    pub(super) fn new(armed: A) -> Registrations<A> {
        Registrations {
            process: Process::this(),
            waiters: AtomicUsize::new(0),
            #[cfg(test)]
            times_let_in: AtomicUsize::new(0),
            state: Mutex::new(State {
                table: Table {
                    entries: Vec::new(),
                    by_descriptor: Vec::new(),
                    removed: Vec::new(),
                    free: NONE,
                    probed: Vec::new(),
                    due: Vec::new(),
                    probes: Vec::new(),
                    next_probed: 0,
                    probes_filled_buffer: false,
                    lost_own_descriptor: false,
                    select: 0,
                    repeated: Vec::new(),
                    start: Instant::now(),
                    changed: Vec::new(),
                    died: Vec::new(),
                },
                waiting: Waiting::default(),
                armed,
            }),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State<A>> {
        // No code of a program's runs under the lock, and ours does not panic
        // half-way through a change.
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait_for_lock(),
        }
    }

    #[cold]
    fn wait_for_lock(&self) -> MutexGuard<'_, State<A>> {
        // Relaxed, here and below: it orders nothing, and who reads it looks again.
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// In the middle of something long: threads that wait for the lock have it first. Given up and
    /// taken at once, a lock goes to nobody else, since who waits for it has to wake up.
    #[allow(dead_code)] // where no kernel is called for each event
    pub(super) fn let_others_in<'a>(
        &'a self,
        state: MutexGuard<'a, State<A>>,
    ) -> MutexGuard<'a, State<A>> {
        drop(state);
        #[cfg(test)]
        self.times_let_in.fetch_add(1, Ordering::Relaxed);
        for _ in 0..MOST_YIELDS {
            if self.waiters.load(Ordering::Relaxed) == 0 {
                break;
            }
            thread::yield_now();
        }
        self.lock()
    }

    /// Whether this is a forked child, which has only a copy of the table, with its
    /// lock in whatever state another thread of the parent had it.
    pub(super) fn is_inherited(&self) -> bool {
        !self.process.is_this()
    }
}

impl Entry {
    #[inline]
    fn begin(&mut self, token: Token, interest: Interest, select: u32) {
        self.token = token;
        self.edges.begin(interest, self.owner.drained());
        self.is_dead = false;
        // By none yet: this call of `select` may be one that waits.
        self.reported_by = select.wrapping_sub(1);
    }

    /// The descriptor, its token, and what to ask of it, if anything.
    #[inline]
    pub(super) fn wanted(&self) -> Option<(RawFd, Token, c_short)> {
        let wanted = self.edges.wanted().filter(|_| self.is_watched())?;
        Some((self.fd, self.token, to_poll(wanted)))
    }

    /// It cannot be watched any more: reported once, and then it is left alone until it is registered
    /// again.
    pub(super) fn die(&mut self) -> Readiness {
        self.is_dead = true;
        Readiness::IN.or(Readiness::OUT).or(Readiness::ERR)
    }

    #[inline]
    fn is_watched(&self) -> bool {
        self.fd >= 0 && !self.is_dead
    }

    /// An error or a hang-up is reported together with all that is ready, as by a kernel that reports
    /// edges. What the kernel has said counts even if it is not there any more, for asking may take it
    /// away; but where it may have been said long ago (`may_be_old`), an error or a hang-up has to
    /// last, for a false one does harm.
    ///
    /// Returns what is ready, and what of it is still there.
    #[inline]
    pub(super) fn all_of(&self, revents: c_short, may_be_old: bool) -> (Readiness, Readiness) {
        let ready = from_poll(revents);
        let unmasked = Readiness::ERR.or(Readiness::HUP);
        // So does a false end of what the peer sends.
        let harmful = match may_be_old {
            true => unmasked.or(Readiness::RDHUP),
            false => unmasked,
        };
        if !ready.intersects(harmful) {
            return (ready, ready);
        }
        let Ok(whole) = probe(self.fd, self.edges.interest()) else {
            return (ready, ready);
        };
        match may_be_old {
            true => (ready.without(harmful).or(whole), whole),
            false => (ready.or(whole), whole),
        }
    }

    /// A probe that follows an operation of the program's.
    pub(super) fn probe_after_io(&mut self, unknown_direction: bool, now: Tick) {
        let Ok(ready) = probe(self.fd, self.edges.interest()) else {
            // The next poll probes it.
            self.edges.may_have_drained();
            return;
        };
        self.edges.probed_after_io(ready, unknown_direction, now);
        self.keep_what_asking_took_away(ready);
    }

    /// What the kernel has said, and is not reported now, is there to be reported later; unless asking
    /// has taken it away, which is found out by asking again.
    pub(super) fn keep_what_asking_took_away(&mut self, ready: Readiness) {
        let taken = ready.without(Readiness::OUT);
        if taken != Readiness::NONE {
            // If it cannot be asked, an event too many does less harm than one too few.
            let again = probe(self.fd, self.edges.interest()).unwrap_or(Readiness::NONE);
            self.edges.keep_for_next_poll(taken.without(again));
        }
    }
}

impl Owner {
    #[inline]
    fn drained(self) -> Drained {
        match self {
            Owner::Source | Owner::Waker => Drained::Reported,
            Owner::Nobody => Drained::Unreported,
        }
    }
}

impl Table {
    #[inline]
    pub(super) fn entry(&self, slot: usize) -> &Entry {
        &self.entries[slot]
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, slot: usize) -> &mut Entry {
        &mut self.entries[slot]
    }

    /// A registration begins.
    #[inline]
    pub(super) fn begin(
        &mut self,
        slot: usize,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> Key {
        let select = self.select;
        let entry = &mut self.entries[slot];
        entry.owner = owner;
        entry.begin(token, interest, select);
        match owner {
            Owner::Nobody => Key::NONE,
            Owner::Source | Owner::Waker => Key::of_slot(slot as u32),
        }
    }

    /// It goes on with another token and another interest.
    #[inline]
    pub(super) fn begin_again(&mut self, slot: usize, token: Token, interest: Interest) {
        let select = self.select;
        let entry = &mut self.entries[slot];
        let pending = entry.edges.take_pending();
        entry.begin(token, interest, select);
        // It is the same source, of which this is still to be reported.
        entry.edges.keep_for_next_poll(pending);
    }

    /// What was registered by a raw descriptor belongs to a source from now on. What is another
    /// source's stays so.
    pub(super) fn adopt(&mut self, slot: usize) -> Key {
        let owner = &mut self.entries[slot].owner;
        match std::mem::replace(owner, Owner::Source) {
            Owner::Nobody => Key::of_slot(slot as u32),
            other => {
                *owner = other;
                Key::NONE
            }
        }
    }

    /// A `select` begins.
    #[inline]
    pub(super) fn begin_select(&mut self) {
        self.select = self.select.wrapping_add(1);
    }

    /// An event of this `select` is of this slot.
    #[inline]
    pub(super) fn mark_reported(&mut self, slot: usize) {
        self.entries[slot].reported_by = self.select;
    }

    pub(super) fn tick(&self) -> Tick {
        Tick::since(self.start, Instant::now())
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
    pub(super) fn slot(&self, fd: RawFd, key: Key) -> io::Result<usize> {
        let slot = match key.slot() {
            Some(slot) => Some(slot as usize).filter(|&slot| self.entries[slot].fd >= 0),
            None => self.find(fd),
        };
        slot.ok_or_else(|| Mistake::NotRegistered.into())
    }

    /// A slot for registering a descriptor.
    pub(super) fn slot_for(&mut self, fd: RawFd) -> io::Result<usize> {
        match self.find(fd) {
            // It may have been closed, and its number handed out again.
            Some(slot) if self.entries[slot].owner == Owner::Nobody => Ok(slot),
            Some(slot) if self.entries[slot].is_dead => {
                // A source has its key.
                self.entries[slot].fd = -1;
                self.new_slot(fd)
            }
            Some(_) => Err(Mistake::AlreadyRegistered.into()),
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
                edges: Edges::new(),
                reported_by: self.select.wrapping_sub(1),
                is_dead: false,
                is_listed: false,
                is_changed: false,
                is_replaced: false,
                next_free: NONE,
            });
            let all = self.entries.len();
            let lists = [
                &mut self.probed,
                &mut self.due,
                &mut self.changed,
                &mut self.died,
                &mut self.repeated,
            ];
            for list in lists {
                list.reserve(all.saturating_sub(list.len()));
            }
            self.probes.reserve(all - self.probes.len());
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

    /// A registration ends, by its key or by its descriptor. `is_awaited`: a thread waits, and may have
    /// retrieved an event of it.
    pub(super) fn remove(&mut self, slot: usize, key: Key, is_awaited: bool) -> RawFd {
        let entry = &mut self.entries[slot];
        if let Some(known) = self.by_descriptor.get_mut(entry.fd as usize) {
            if is_awaited && *known & REMOVED == 0 {
                *known |= REMOVED;
                self.removed.push(entry.fd);
            }
            *known |= NONE;
        }
        let fd = std::mem::replace(&mut entry.fd, -1);
        if key != Key::NONE || entry.owner == Owner::Nobody {
            self.free(slot);
        }
        fd
    }

    /// A source gives back the key of a registration that has ended already.
    #[cold]
    pub(super) fn give_back(&mut self, key: Key) {
        if let Some(slot) = key.slot() {
            self.free(slot as usize);
        }
    }

    fn free(&mut self, slot: usize) {
        self.entries[slot].next_free = self.free;
        self.free = slot as u32;
    }

    /// The owner of an event of this descriptor that a thread retrieved while it waited.
    #[allow(dead_code)] // where no kernel takes changes meanwhile
    pub(super) fn owner_of_event(&self, fd: RawFd) -> EventOwner {
        if let Some(slot) = self.find(fd) {
            return match self.entries[slot].is_replaced {
                true => EventOwner::Stale(slot),
                false => EventOwner::Slot(slot),
            };
        }
        let was_removed = match self.by_descriptor.get(fd as usize) {
            Some(slot) => slot & REMOVED != 0,
            // Of what is not looked up that is not known.
            None => fd as usize >= MAX_LOOKED_UP,
        };
        match was_removed {
            true => EventOwner::Ended,
            false => EventOwner::Foreign,
        }
    }

    /// A slot changes while a thread waits. What the thread retrieves of it may be stale where its
    /// registration was replaced.
    pub(super) fn mark_changed(&mut self, slot: usize, is_replaced: bool) {
        let entry = &mut self.entries[slot];
        entry.is_replaced |= is_replaced;
        if !std::mem::replace(&mut entry.is_changed, true) {
            self.changed.push(slot as u32);
        }
    }

    #[inline]
    pub(super) fn is_replaced(&self, slot: usize) -> bool {
        self.entries[slot].is_replaced
    }

    /// One of the slots that changed while a thread waited, which it does no more.
    pub(super) fn take_changed(&mut self) -> Option<usize> {
        let slot = self.changed.pop()? as usize;
        let entry = &mut self.entries[slot];
        (entry.is_changed, entry.is_replaced) = (false, false);
        Some(slot)
    }

    /// All that a thread retrieved while it waited has been dealt with.
    pub(super) fn end_wait(&mut self) {
        for fd in self.removed.drain(..) {
            self.by_descriptor[fd as usize] &= !REMOVED;
        }
    }

    #[inline]
    pub(super) fn list_if_probed(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if entry.edges.is_probed() && !std::mem::replace(&mut entry.is_listed, true) {
            self.probed.push(slot as u32);
        }
    }

    #[inline]
    pub(super) fn has_probed(&self) -> bool {
        !self.probed.is_empty()
    }

    /// Asks the kernel about those of which a probe is due; returns how many slots these are.
    pub(super) fn poll_what_is_due(&mut self, now: Tick) -> io::Result<usize> {
        let (entries, due) = (&mut self.entries, &mut self.due);
        due.clear();
        self.probed.retain(|&slot| {
            let entry = &mut entries[slot as usize];
            let next = entry.edges.next_probe(now).filter(|_| entry.is_watched());
            entry.is_listed = next.is_some();
            if next == Some(now) {
                due.push(slot);
            }
            entry.is_listed
        });
        self.probes.clear();
        self.probes.extend(due.iter().map(|&slot| {
            let entry = &entries[slot as usize];
            pollfd {
                fd: entry.fd,
                events: to_poll(entry.edges.interest().or(Readiness::RDHUP)),
                revents: 0,
            }
        }));
        if !self.probes.is_empty() {
            poll(&mut self.probes, Some(Duration::ZERO))?;
        }
        Ok(self.probes.len())
    }

    /// A slot that was probed, and what the kernel said of it.
    #[inline]
    pub(super) fn probe_result(&self, index: usize) -> (usize, c_short) {
        (self.due[index] as usize, self.probes[index].revents)
    }

    /// How long it is until a probe is due.
    pub(super) fn next_probe(&self, now: Tick) -> Option<Duration> {
        let listed = self.probed.iter().map(|&slot| &self.entries[slot as usize]);
        let ticks = listed.filter_map(|entry| entry.edges.next_probe(now));
        let first = ticks.reduce(|one, other| one.earlier(other, now))?;
        Some(first.after(now))
    }

    /// That a registration died is found out where there is no room to report it. It
    /// may have died before, and been registered anew since.
    pub(super) fn report_later(&mut self, slot: usize) {
        let slot = slot as u32;
        if !self.died.contains(&slot) {
            self.died.push(slot);
        }
    }

    /// Reports those of which it was found out in between.
    #[inline]
    pub(super) fn report_dead(&mut self, events: &mut EventBuffer) {
        while !events.is_full() {
            let Some(slot) = self.died.pop() else {
                return;
            };
            let entry = &mut self.entries[slot as usize];
            // It may have been registered anew, or something else in its slot.
            if entry.is_dead && entry.fd >= 0 {
                events.push(Event::new(entry.token, entry.die()));
            }
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    /// Who gives a lock up and takes it again is faster than who has to wake up for it.
    #[test]
    fn who_waits_for_the_lock_is_let_in() {
        let registrations = Registrations::new(Vec::new());
        let mut were_let_in = 0;
        for round in 0..100 {
            let state = registrations.lock();
            thread::scope(|scope| {
                scope.spawn(|| registrations.lock().armed.push(round));
                while registrations.waiters.load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
                let state = registrations.let_others_in(state);
                were_let_in += usize::from(state.armed.contains(&round));
            });
        }
        // Not all of them, where the machine has other things to do.
        assert!(were_let_in >= 90, "{were_let_in}");
    }

    fn begin(table: &mut Table, fd: RawFd, token: usize, owner: Owner) -> (usize, Key) {
        let slot = table.slot_for(fd).unwrap();
        let key = table.begin(slot, Token(token), Interest::READABLE, owner);
        (slot, key)
    }

    #[test]
    fn a_slot_is_free_when_its_key_was_given_back() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut number = 1000;
        let mut next_slot = |table: &mut Table| {
            number += 1;
            begin(table, number, 0, Owner::Nobody).0
        };
        let (slot, key) = begin(table, 10, 1, Owner::Source);
        assert!(table.slot_for(10).is_err(), "it is alive");
        table.remove(slot, Key::NONE, false);
        assert!(table.slot(10, key).is_err(), "it was deregistered");
        assert_ne!(next_slot(table), slot, "the source may still use its key");
        table.give_back(key);
        assert_eq!(next_slot(table), slot);

        let (slot, key) = begin(table, 11, 2, Owner::Waker);
        table.entries[slot].is_dead = true;
        let (next, _) = begin(table, 11, 3, Owner::Source);
        assert_ne!(next, slot, "a descriptor that was closed and opened again");
        assert_eq!(table.find(11), Some(next));
        assert!(table.slot(11, key).is_err());
        table.give_back(key);
        assert_eq!(next_slot(table), slot);

        let (slot, key) = begin(table, 12, 4, Owner::Source);
        table.remove(slot, key, false);
        assert_eq!(next_slot(table), slot, "deregistered by its key");
        let (slot, key) = begin(table, 13, 5, Owner::Nobody);
        assert_eq!(key, Key::NONE);
        assert_eq!(begin(table, 13, 6, Owner::Nobody).0, slot, "it is replaced");
        table.remove(slot, Key::NONE, false);
        assert_eq!(next_slot(table), slot);
    }

    /// It died, was registered anew, and died again before a poll could say so.
    #[test]
    fn what_died_twice_is_reported_once() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut events = EventBuffer::with_capacity(8);
        for token in [1, 2] {
            let (slot, _) = begin(table, 1000, token, Owner::Nobody);
            table.entries[slot].is_dead = true;
            table.report_later(slot);
        }
        table.report_dead(&mut events);
        let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        assert_eq!(tokens, [Token(2)]);
    }
}
