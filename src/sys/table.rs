//! The registrations of a backend that re-arms ([`Rearmed`](super::rearmed::Rearmed)), under their
//! lock.
//!
//! A registration has a slot. A source holds a [`Key`] to its slot, and the slot is free when the
//! registration has ended and the source has released the key. The registration of a raw descriptor is
//! looked up by the descriptor.

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
use super::selector::{refuse_exclusive, EventBuffer, Key, Owner};
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

pub(super) struct Registrations<A> {
    state: Mutex<State<A>>,
    /// The number of threads that wait for the lock.
    waiters: AtomicUsize,
    /// How often the lock was yielded to them.
    #[cfg(test)]
    pub(super) times_yielded: AtomicUsize,
    /// The process that opened the queue.
    process: Process,
}

pub(crate) struct State<A> {
    pub(super) table: Table,
    /// Whether a thread waits or is about to.
    pub(super) waiting: Waiting,
    /// The armed set, if the kernel does not store it.
    pub(super) armed: A,
}

pub(super) struct Table {
    entries: Vec<Entry>,
    /// The slot of each descriptor, or `NO_SLOT`; and `REMOVED`.
    by_descriptor: Vec<u32>,
    /// Indices of `by_descriptor` that are `REMOVED` until the wait ends, each once.
    removed: Vec<u32>,
    /// The head of the list of free slots, linked by `Entry::next_free`.
    free: u32,
    /// Slots that are probed, each once.
    probed: Vec<u32>,
    /// The probed slots that are due, and the entry of poll(2) for each.
    due: Vec<u32>,
    probes: Vec<pollfd>,
    /// The index in `due` to start from.
    pub(super) next_probed: usize,
    /// Probes filled the last buffer, so that the armed set was not polled.
    pub(super) probes_filled_buffer: bool,
    /// One of the queue's own descriptors is closed, or another object has it.
    pub(super) lost_own_descriptor: bool,
    /// Counts the calls of `select`.
    pub(super) select: u32,
    /// Slots that the kernel reported as ready after this `select` had reported them. They are armed
    /// when the wait is over.
    pub(super) repeated: Vec<u32>,
    /// Level-triggered slots that were reported. They are armed before the next wait.
    pub(super) level: Vec<u32>,
    /// The origin of ticks.
    start: Instant,
    /// Slots that changed during a wait, each once.
    changed: Vec<u32>,
    /// Slots whose descriptor turned out to be closed and that were not reported yet, each once.
    died: Vec<u32>,
}

pub(super) struct Entry {
    /// -1 if there is no registration: the slot is free, or a source still holds its key.
    pub(super) fd: RawFd,
    pub(super) token: Token,
    pub(super) owner: Owner,
    pub(super) edges: Edges,
    /// The call of `select` that reported it last.
    pub(super) reported_by: u32,
    /// Counts the registrations and reregistrations that the slot has had, so that a thread which gave up
    /// the lock for one failing call sees whether the slot still has its own. It wraps; as many in that time
    /// are not expected.
    pub(super) begun: u16,
    /// Its descriptor turned out to be closed, so it is no longer watched.
    pub(super) is_dead: bool,
    /// It is in `Table::probed`.
    is_listed: bool,
    /// It is in `Table::changed`.
    is_changed: bool,
    /// During a wait, another registration has taken the slot.
    is_replaced: bool,
    next_free: u32,
}

/// A registration before it was replaced.
#[derive(Copy, Clone)]
pub(super) struct Before {
    token: Token,
    edges: Edges,
    is_dead: bool,
}

// A poll may have very many entries.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(std::mem::size_of::<Entry>() <= 96);

/// The owner of an event that a thread has retrieved.
#[allow(dead_code)] // if no kernel's armed set can change during a wait
pub(super) enum EventOwner {
    Slot(usize),
    /// It may belong to a registration that has been replaced in this slot.
    Stale(usize),
    /// It belongs to a registration that has ended.
    Ended,
    /// The program has added the descriptor to the kernel queue itself.
    Foreign,
}

/// No slot: the end of the free list, or an unregistered descriptor.
const NO_SLOT: u32 = REMOVED - 1;

/// A flag beside a descriptor's current slot: the descriptor was deregistered during a wait, and the
/// waiting thread may have retrieved an event of it before; or the kernel has refused to forget it.
const REMOVED: u32 = 1 << 31;

/// The maximum of yields to threads that wait for the lock: constant contention must not starve this
/// thread.
const MAX_YIELDS: usize = 1000;

/// Descriptors from here on are found by a linear search instead of an index. Systems do not use such
/// numbers by default. Miri needs minutes to fill such an index.
const MAX_INDEXED: usize = if cfg!(miri) { 4096 } else { 1 << 20 };

impl<A> Registrations<A> {
    pub(super) fn new(armed: A) -> Registrations<A> {
        Registrations {
            process: Process::this(),
            waiters: AtomicUsize::new(0),
            #[cfg(test)]
            times_yielded: AtomicUsize::new(0),
            state: Mutex::new(State {
                table: Table {
                    entries: Vec::new(),
                    by_descriptor: Vec::new(),
                    removed: Vec::new(),
                    free: NO_SLOT,
                    probed: Vec::new(),
                    due: Vec::new(),
                    probes: Vec::new(),
                    next_probed: 0,
                    probes_filled_buffer: false,
                    lost_own_descriptor: false,
                    select: 0,
                    repeated: Vec::new(),
                    level: Vec::new(),
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
        // No code of the program runs under the lock, and the crate's code does not panic
        // in the middle of a change. So a poisoned lock's state is consistent.
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait_for_lock(),
        }
    }

    #[cold]
    fn wait_for_lock(&self) -> MutexGuard<'_, State<A>> {
        // Relaxed, here and below: it orders nothing, and its reader loads it again.
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Yields the lock to threads that wait for it, during a long operation. A lock that is released and
    /// taken again at once goes to no other thread, because a waiting thread first has to wake up.
    #[allow(dead_code)] // if no backend makes a system call for each event
    pub(super) fn yield_lock<'a>(
        &'a self,
        state: MutexGuard<'a, State<A>>,
    ) -> MutexGuard<'a, State<A>> {
        drop(state);
        #[cfg(test)]
        self.times_yielded.fetch_add(1, Ordering::Relaxed);
        for _ in 0..MAX_YIELDS {
            if self.waiters.load(Ordering::Relaxed) == 0 {
                break;
            }
            thread::yield_now();
        }
        self.lock()
    }

    /// Whether this is a forked child. It has a copy of the table, whose lock another thread of the
    /// parent may have held at the fork.
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
        self.begun = self.begun.wrapping_add(1);
        // No `select` has reported it: the current one may be waiting.
        self.reported_by = select.wrapping_sub(1);
    }

    /// The descriptor, its token, and the bits to arm, if it is to be armed.
    #[inline]
    pub(super) fn to_arm(&self) -> Option<(RawFd, Token, c_short)> {
        let bits = self.edges.armed_set().filter(|_| self.is_watched())?;
        Some((self.fd, self.token, to_poll(bits)))
    }

    /// Stops watching a closed descriptor until it is registered again. Returns what to report, once.
    pub(super) fn mark_dead(&mut self) -> Readiness {
        self.is_dead = true;
        Readiness::IN.or(Readiness::OUT).or(Readiness::ERR)
    }

    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.fd >= 0 && !self.is_dead
    }

    /// Adds everything that is ready to an error or a hang-up, as a kernel that reports edges does. The
    /// reported readiness counts even if it is gone, because the query may have consumed it. But if it
    /// may be old (`may_be_old`), a probe has to confirm an error or a hang-up, because a false one does
    /// harm.
    ///
    /// Returns what is ready, and the part of it that still lasts.
    #[inline]
    pub(super) fn with_probed(&self, revents: c_short, may_be_old: bool) -> (Readiness, Readiness) {
        let ready = from_poll(revents);
        let unmasked = Readiness::ERR.or(Readiness::HUP);
        let is_level = may_be_old && self.edges.is_level();
        // Such a kernel may report one direction after another. A one-shot registration has one event, and
        // a level is what is ready now.
        let is_partial = is_level || may_be_old && self.edges.is_oneshot();
        // A false end of the peer's data does harm as well.
        let harmful = match may_be_old {
            true => unmasked.or(Readiness::RDHUP),
            false => unmasked,
        };
        if !ready.intersects(harmful) && !is_partial {
            return (ready, ready);
        }
        let Some(whole) = probe(self.fd, self.edges.interest()) else {
            return (ready, ready);
        };
        match may_be_old {
            true if is_level => (whole, whole),
            true => (ready.without(harmful).or(whole), whole),
            false => (ready.or(whole), whole),
        }
    }

    /// Probes after an operation of the program.
    #[inline(never)]
    pub(super) fn probe_after_io(&mut self, unknown_direction: bool, now: Tick) {
        let Some(ready) = probe(self.fd, self.edges.interest()) else {
            // The next poll probes it.
            self.edges.may_have_drained();
            return;
        };
        self.edges.probed_after_io(ready, unknown_direction, now);
        self.keep_consumed(ready);
    }

    /// Keeps readiness that the query has consumed, for readiness that is not reported now. A second
    /// probe finds out whether the query has consumed it.
    pub(super) fn keep_consumed(&mut self, ready: Readiness) {
        let taken = ready.without(Readiness::OUT);
        if taken != Readiness::NONE {
            // If the probe fails, an additional event does less harm than a missing one.
            let again = probe(self.fd, self.edges.interest()).unwrap_or(Readiness::NONE);
            self.edges.keep_for_next_poll(taken.without(again));
        }
    }
}

/// Makes the capacity of a list at least `all`. Never inlined: its callers are not frequent.
#[inline(never)]
fn reserve<T>(list: &mut Vec<T>, all: usize) {
    list.reserve(all.saturating_sub(list.len()));
}

impl Owner {
    #[inline]
    fn drained(self) -> Drained {
        match self {
            Owner::Source | Owner::Waker => Drained::Reported,
            Owner::RawFd => Drained::Unreported,
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

    /// Begins a registration.
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
            Owner::RawFd => Key::NONE,
            Owner::Source | Owner::Waker => Key::of_slot(slot as u32),
        }
    }

    /// To be called before a registration with a mode begins: prepares what modes need, or fails if the
    /// kernel does not have the mode.
    #[cold]
    pub(super) fn prepare_mode(&mut self, interest: Interest) -> io::Result<()> {
        refuse_exclusive(interest)?;
        reserve(&mut self.level, self.entries.len() + 1);
        Ok(())
    }

    /// What a registration is now, to be restored.
    #[inline]
    pub(super) fn before(&self, slot: usize) -> Before {
        let entry = &self.entries[slot];
        Before {
            token: entry.token,
            edges: entry.edges,
            is_dead: entry.is_dead,
        }
    }

    /// Replaces token and interest of a registration.
    #[inline]
    pub(super) fn begin_again(&mut self, slot: usize, token: Token, interest: Interest) {
        let select = self.select;
        let entry = &mut self.entries[slot];
        let pending = entry.edges.take_pending();
        entry.begin(token, interest, select);
        // The source is the same, and this is still to be reported.
        entry.edges.keep_for_next_poll(pending);
    }

    /// Reverses `begin_again`.
    #[cold]
    pub(super) fn restore(&mut self, slot: usize, before: Before) {
        let entry = &mut self.entries[slot];
        entry.token = before.token;
        entry.edges = before.edges;
        entry.is_dead = before.is_dead;
    }

    /// Makes a source the owner of a raw descriptor's registration, and returns its key. Another source's
    /// registration does not change.
    pub(super) fn adopt(&mut self, slot: usize) -> Key {
        let owner = &mut self.entries[slot].owner;
        match std::mem::replace(owner, Owner::Source) {
            Owner::RawFd => Key::of_slot(slot as u32),
            other => {
                *owner = other;
                Key::NONE
            }
        }
    }

    /// Reverses `adopt`, after which the registration may have ended.
    #[cold]
    pub(super) fn disown(&mut self, adopted: Key) {
        let Some(slot) = adopted.slot() else {
            return;
        };
        let entry = &mut self.entries[slot as usize];
        entry.owner = Owner::RawFd;
        if entry.fd < 0 {
            self.free(slot as usize);
        }
    }

    /// Begins a `select`.
    #[inline]
    pub(super) fn begin_select(&mut self) {
        self.select = self.select.wrapping_add(1);
    }

    /// Notes that this `select` has reported the slot.
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
        if index < MAX_INDEXED {
            let slot = *self.by_descriptor.get(index)? & !REMOVED;
            (slot != NO_SLOT).then_some(slot as usize)
        } else {
            self.search(fd)
        }
    }

    /// The slot of a descriptor that has no index.
    #[cold]
    fn search(&self, fd: RawFd) -> Option<usize> {
        self.entries.iter().position(|entry| entry.fd == fd)
    }

    /// The slot of a registration, found by its key, or by the descriptor if there is no
    /// key.
    #[inline]
    pub(super) fn slot(&self, fd: RawFd, key: Key) -> io::Result<usize> {
        let slot = match key {
            Key::NONE => self.find(fd),
            key => self.slot_of_key(key),
        };
        slot.ok_or_else(|| Mistake::NotRegistered.into())
    }

    /// The slot of the registration that has this key, unless it has ended.
    #[inline]
    pub(super) fn slot_of_key(&self, key: Key) -> Option<usize> {
        let slot = key.slot()? as usize;
        (self.entries[slot].fd >= 0).then_some(slot)
    }

    /// A slot for registering a descriptor.
    pub(super) fn slot_for(&mut self, fd: RawFd) -> io::Result<usize> {
        match self.find(fd) {
            // The descriptor may have been closed and reused.
            Some(slot) if self.entries[slot].owner == Owner::RawFd => Ok(slot),
            Some(slot) if self.entries[slot].is_dead => {
                // A source still holds its key.
                self.entries[slot].fd = -1;
                self.new_slot(fd)
            }
            Some(_) => Err(Mistake::AlreadyRegistered.into()),
            None => self.new_slot(fd),
        }
    }

    /// A new slot for a descriptor without a slot. Everything that grows with the number of
    /// registrations grows here.
    fn new_slot(&mut self, fd: RawFd) -> io::Result<usize> {
        let slot = if self.free != NO_SLOT {
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
                owner: Owner::RawFd,
                edges: Edges::new(),
                reported_by: self.select.wrapping_sub(1),
                begun: 0,
                is_dead: false,
                is_listed: false,
                is_changed: false,
                is_replaced: false,
                next_free: NO_SLOT,
            });
            let all = self.entries.len();
            reserve(&mut self.probed, all);
            reserve(&mut self.due, all);
            reserve(&mut self.changed, all);
            reserve(&mut self.died, all);
            reserve(&mut self.repeated, all);
            reserve(&mut self.probes, all);
            all - 1
        };
        let index = fd as usize; // not negative: see `register`
        if index < MAX_INDEXED {
            if self.by_descriptor.len() <= index {
                while self.by_descriptor.len() <= index {
                    self.by_descriptor.push(NO_SLOT);
                }
                reserve(&mut self.removed, self.by_descriptor.len());
            }
            self.by_descriptor[index] = slot as u32 | (self.by_descriptor[index] & REMOVED);
        }
        Ok(slot)
    }

    /// Whether the slot has the registration that was the `begun`th there, and it has not begun again.
    #[cold]
    pub(super) fn is_current(&self, slot: usize, begun: u16) -> bool {
        let entry = &self.entries[slot];
        entry.fd >= 0 && entry.begun == begun
    }

    /// Ends a registration, selected by its key or its descriptor. With `is_awaited`, a thread waits and
    /// may have retrieved an event of it.
    pub(super) fn remove(&mut self, slot: usize, key: Key, is_awaited: bool) -> RawFd {
        let entry = &mut self.entries[slot];
        if let Some(known) = self.by_descriptor.get_mut(entry.fd as usize) {
            if is_awaited && *known & REMOVED == 0 {
                *known |= REMOVED;
                self.removed.push(entry.fd as u32);
            }
            *known |= NO_SLOT;
        }
        let fd = std::mem::replace(&mut entry.fd, -1);
        if key != Key::NONE || entry.owner == Owner::RawFd {
            self.free(slot);
        }
        fd
    }

    /// The kernel may still report a descriptor that was deregistered: ignores its event.
    #[cold]
    pub(super) fn ignore_events(&mut self, fd: RawFd) {
        if let Some(known) = self.by_descriptor.get_mut(fd as usize) {
            *known |= REMOVED;
        }
        // The end of a wait changes nothing about it.
        let removed = self.removed.iter();
        if let Some(index) = removed.copied().position(|removed| removed == fd as u32) {
            self.removed.swap_remove(index);
        }
    }

    /// Releases the key of a registration that has already ended.
    #[cold]
    pub(super) fn release_key(&mut self, key: Key) {
        if let Some(slot) = key.slot() {
            self.free(slot as usize);
        }
    }

    fn free(&mut self, slot: usize) {
        self.entries[slot].next_free = self.free;
        self.free = slot as u32;
    }

    /// The owner of an event of this descriptor that a thread has retrieved.
    #[allow(dead_code)] // if no kernel's armed set can change during a wait
    pub(super) fn owner_of_event(&self, fd: RawFd) -> EventOwner {
        if let Some(slot) = self.find(fd) {
            return match self.entries[slot].is_replaced {
                true => EventOwner::Stale(slot),
                false => EventOwner::Slot(slot),
            };
        }
        let was_removed = match self.by_descriptor.get(fd as usize) {
            Some(slot) => slot & REMOVED != 0,
            // Not known for descriptors without an index.
            None => fd as usize >= MAX_INDEXED,
        };
        match was_removed {
            true => EventOwner::Ended,
            false => EventOwner::Foreign,
        }
    }

    /// Notes that a slot has changed during a wait. If its registration was replaced, an event that the
    /// thread has retrieved of it may be stale.
    #[inline(never)]
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

    /// Takes one of the slots that changed during the wait, which is over.
    pub(super) fn take_changed(&mut self) -> Option<usize> {
        let slot = self.changed.pop()? as usize;
        let entry = &mut self.entries[slot];
        (entry.is_changed, entry.is_replaced) = (false, false);
        Some(slot)
    }

    /// All events that a thread retrieved in its wait have been processed.
    pub(super) fn end_wait(&mut self) {
        for &index in &self.removed {
            self.by_descriptor[index as usize] &= !REMOVED;
        }
        self.removed.clear();
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

    /// Makes the system call for all probes that are due. Returns how many there are.
    pub(super) fn poll_due(&mut self, now: Tick) -> io::Result<usize> {
        self.due.clear();
        self.probes.clear();
        let mut listed = 0;
        for index in 0..self.probed.len() {
            let slot = self.probed[index];
            let entry = &mut self.entries[slot as usize];
            let next = entry.edges.next_probe(now);
            entry.is_listed = next.is_some() && entry.is_watched();
            if !entry.is_listed {
                continue;
            }
            self.probed[listed] = slot;
            listed += 1;
            if next == Some(now) {
                self.due.push(slot);
                self.probes.push(pollfd {
                    fd: entry.fd,
                    events: to_poll(entry.edges.interest().or(Readiness::RDHUP)),
                    revents: 0,
                });
            }
        }
        self.probed.truncate(listed);
        if !self.probes.is_empty() {
            poll(&mut self.probes, Some(Duration::ZERO))?;
        }
        Ok(self.probes.len())
    }

    /// A probed slot, and its readiness.
    #[inline]
    pub(super) fn probe_result(&self, index: usize) -> (usize, c_short) {
        (self.due[index] as usize, self.probes[index].revents)
    }

    /// The time until the next probe is due.
    #[inline(never)]
    pub(super) fn next_probe(&self, now: Tick) -> Option<Duration> {
        let mut first = None;
        for &slot in &self.probed {
            if let Some(next) = self.entries[slot as usize].edges.next_probe(now) {
                first = Some(next.earlier(first, now));
            }
        }
        Some(first?.after(now))
    }

    /// Notes a closed descriptor, which cannot be reported now. The slot may already be noted, and
    /// have been registered again since.
    #[inline(never)]
    pub(super) fn report_later(&mut self, slot: usize) {
        for &died in &self.died {
            if died as usize == slot {
                return;
            }
        }
        self.died.push(slot as u32);
    }

    /// Reports the noted descriptors, except for those that this `select` has reported already.
    #[inline]
    pub(super) fn report_dead(&mut self, events: &mut EventBuffer) {
        if !self.died.is_empty() {
            self.report_died(events);
        }
    }

    #[cold]
    #[inline(never)]
    fn report_died(&mut self, events: &mut EventBuffer) {
        let mut next = 0;
        while next < self.died.len() && !events.is_full() {
            let entry = &mut self.entries[self.died[next] as usize];
            // It may have been registered again, or its slot may have another registration.
            if !entry.is_dead || entry.fd < 0 {
                self.died.swap_remove(next);
            } else if entry.reported_by == self.select {
                next += 1;
            } else {
                entry.reported_by = self.select;
                events.push(Event::new(entry.token, entry.mark_dead()));
                self.died.swap_remove(next);
            }
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A thread that releases a lock and takes it again is faster than one that has to wake up.
    #[test]
    fn a_thread_that_waits_for_the_lock_gets_it() {
        let registrations = Registrations::new(Vec::new());
        let mut got_it = 0;
        for round in 0..100 {
            let state = registrations.lock();
            thread::scope(|scope| {
                scope.spawn(|| registrations.lock().armed.push(round));
                while registrations.waiters.load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
                let state = registrations.yield_lock(state);
                got_it += usize::from(state.armed.contains(&round));
            });
        }
        // Not every one on a loaded machine.
        assert!(got_it >= 90, "{got_it}");
    }

    fn begin(table: &mut Table, fd: RawFd, token: usize, owner: Owner) -> (usize, Key) {
        let slot = table.slot_for(fd).unwrap();
        let key = table.begin(slot, Token(token), Interest::READABLE, owner);
        (slot, key)
    }

    #[test]
    fn a_slot_is_free_when_its_key_was_released() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut fd = 1000;
        let mut next_slot = |table: &mut Table| {
            fd += 1;
            begin(table, fd, 0, Owner::RawFd).0
        };
        let (slot, key) = begin(table, 10, 1, Owner::Source);
        assert!(table.slot_for(10).is_err(), "it is alive");
        table.remove(slot, Key::NONE, false);
        assert!(table.slot(10, key).is_err(), "it was deregistered");
        assert_ne!(next_slot(table), slot, "the source may still use its key");
        table.release_key(key);
        assert_eq!(next_slot(table), slot);

        let (slot, key) = begin(table, 11, 2, Owner::Waker);
        table.entries[slot].is_dead = true;
        let (next, _) = begin(table, 11, 3, Owner::Source);
        assert_ne!(next, slot, "a descriptor that was closed and opened again");
        assert_eq!(table.find(11), Some(next));
        assert!(table.slot(11, key).is_err());
        table.release_key(key);
        assert_eq!(next_slot(table), slot);

        let (slot, key) = begin(table, 12, 4, Owner::Source);
        table.remove(slot, key, false);
        assert_eq!(next_slot(table), slot, "deregistered by its key");
        // Adopted from a raw descriptor by a source that does not learn of the key.
        for (fd, ended) in [(0, false), (0, true), (14, false), (14, true)] {
            let (slot, _) = begin(table, fd, 7, Owner::RawFd);
            let adopted = table.adopt(slot);
            assert_eq!(table.adopt(slot), Key::NONE, "it has an owner");
            if ended {
                table.remove(slot, Key::NONE, false);
            }
            table.disown(adopted);
            if !ended {
                assert_ne!(next_slot(table), slot, "it is registered");
                table.remove(slot, Key::NONE, false);
            }
            assert_eq!(next_slot(table), slot);
        }

        let (slot, key) = begin(table, 13, 5, Owner::RawFd);
        assert_eq!(key, Key::NONE);
        assert_eq!(begin(table, 13, 6, Owner::RawFd).0, slot, "it is replaced");
        table.remove(slot, Key::NONE, false);
        assert_eq!(next_slot(table), slot);
    }

    /// It was found closed, registered again, and found closed again before a poll could report it.
    #[test]
    fn a_descriptor_found_closed_twice_is_reported_once() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut events = EventBuffer::with_capacity(8);
        for fd in [0, 1000] {
            for token in [1, 2] {
                let (slot, _) = begin(table, fd, token, Owner::RawFd);
                table.entries[slot].is_dead = true;
                table.report_later(slot);
            }
            table.report_dead(&mut events);
            let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
            assert_eq!(tokens, [Token(2)]);
            events.clear();
        }
    }

    #[test]
    fn a_descriptor_found_closed_is_not_reported_after_it_was_deregistered_or_registered_again() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut events = EventBuffer::with_capacity(8);
        for registered_again in [false, true] {
            let (slot, key) = begin(table, 10, 1, Owner::Source);
            table.entries[slot].mark_dead();
            table.report_later(slot);
            if registered_again {
                table.begin_again(slot, Token(2), Interest::READABLE);
            } else {
                table.remove(slot, key, false);
            }
            table.report_dead(&mut events);
            assert!(events.events().is_empty());
            assert!(table.died.is_empty());
        }
    }

    /// Another thread closes a descriptor after the poll has reported it and before it is armed again.
    #[test]
    fn a_descriptor_found_closed_after_it_was_reported_is_reported_by_the_next_poll() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let mut events = EventBuffer::with_capacity(8);
        let (slot, _) = begin(table, 1000, 1, Owner::RawFd);
        table.begin_select();
        table.mark_reported(slot);
        table.entries[slot].is_dead = true;
        table.report_later(slot);
        for count in [0, 1, 1] {
            table.report_dead(&mut events);
            assert_eq!(events.events().len(), count);
            table.begin_select();
        }
    }

    #[test]
    fn a_queue_of_the_parent_is_inherited() {
        let mut registrations = Registrations::new(());
        assert!(!registrations.is_inherited());
        registrations.process = Process::another();
        assert!(registrations.is_inherited());
    }

    #[test]
    fn a_descriptor_is_found_with_and_without_an_index() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let end = MAX_INDEXED as RawFd;
        let all = [0, end - 1, end, end + 1, RawFd::MAX];
        for (slot, fd) in all.into_iter().enumerate() {
            assert_eq!(table.find(fd), None);
            assert_eq!(begin(table, fd, 1, Owner::RawFd).0, slot);
        }
        for (slot, fd) in all.into_iter().enumerate() {
            assert_eq!(table.find(fd), Some(slot));
            assert!(matches!(table.owner_of_event(fd), EventOwner::Slot(found) if found == slot));
        }
        assert_eq!(
            table.by_descriptor.len(),
            MAX_INDEXED,
            "its memory is bounded"
        );
        for (slot, fd) in all.into_iter().enumerate() {
            assert_eq!(table.remove(slot, Key::NONE, false), fd);
            assert_eq!(table.find(fd), None);
        }
        assert!(table.slot(end, Key::NONE).is_err());
    }

    /// A thread waits, and may have retrieved an event of the descriptor.
    #[test]
    fn an_event_of_a_descriptor_is_its_registrations_until_that_ends() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let is_foreign =
            |table: &Table, fd| matches!(table.owner_of_event(fd), EventOwner::Foreign);
        let is_ended = |table: &Table, fd| matches!(table.owner_of_event(fd), EventOwner::Ended);
        let is_of = |table: &Table, fd, slot| match table.owner_of_event(fd) {
            EventOwner::Slot(owner) => owner == slot,
            _ => false,
        };
        let (slot, _) = begin(table, 10, 1, Owner::RawFd);
        begin(table, 20, 2, Owner::RawFd);
        assert!(is_of(table, 10, slot));
        assert!(
            is_foreign(table, 15) && is_foreign(table, 30),
            "never registered"
        );

        // While nobody waits.
        table.remove(slot, Key::NONE, false);
        assert!(is_foreign(table, 10));

        // During a wait, twice, and registered again.
        for _ in 0..2 {
            let (slot, _) = begin(table, 10, 1, Owner::RawFd);
            assert!(is_of(table, 10, slot));
            table.remove(slot, Key::NONE, true);
            assert!(is_ended(table, 10));
            assert_eq!(table.find(10), None);
        }
        let (slot, _) = begin(table, 10, 1, Owner::RawFd);
        assert_eq!(table.removed, [10], "it is noted once");
        table.end_wait();
        assert!(is_of(table, 10, slot) && table.removed.is_empty());
        table.remove(slot, Key::NONE, true);
        assert!(is_ended(table, 10));
        table.end_wait();
        assert!(is_foreign(table, 10));
        assert_eq!(table.find(10), None);

        // The kernel has refused to forget it.
        for is_awaited in [false, true] {
            let (slot, _) = begin(table, 10, 1, Owner::RawFd);
            assert!(is_of(table, 10, slot));
            table.remove(slot, Key::NONE, is_awaited);
            table.ignore_events(10);
            table.end_wait();
            assert!(is_ended(table, 10), "after the wait as well");
        }
        let other = table.find(20).unwrap();
        table.remove(other, Key::NONE, true);
        table.ignore_events(10);
        table.end_wait();
        assert!(is_foreign(table, 20), "the kernel has forgotten it");
    }

    #[test]
    fn an_event_of_a_slot_that_was_replaced_is_stale_until_the_wait_ends() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let (slot, _) = begin(table, 10, 1, Owner::RawFd);
        let is_stale = |table: &Table| matches!(table.owner_of_event(10), EventOwner::Stale(owner) if owner == slot);
        table.mark_changed(slot, false);
        assert!(!is_stale(table) && !table.is_replaced(slot));
        table.mark_changed(slot, true);
        table.mark_changed(slot, false);
        assert!(is_stale(table) && table.is_replaced(slot));
        assert_eq!(table.take_changed(), Some(slot));
        assert_eq!(table.take_changed(), None, "it was noted once");
        assert!(!is_stale(table) && !table.is_replaced(slot));
    }

    /// What is ready, and the part of it that lasts. The stream is writable, and has no data.
    #[test]
    fn a_probe_confirms_old_readiness_that_would_do_harm_and_completes_a_part() {
        const IN: Readiness = Readiness::IN;
        const OUT: Readiness = Readiness::OUT;

        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (slot, _) = begin(table, stream.as_raw_fd(), 1, Owner::RawFd);
        let both = Interest::READABLE | Interest::WRITABLE;
        let (edge, level, one_shot) = (both, both.level(), both.oneshot());
        let mut probed = |interest, revents, may_be_old| {
            table.begin_again(slot, Token(1), interest);
            table.entries[slot].with_probed(revents, may_be_old)
        };
        let harmful = IN.or(Readiness::ERR);
        let hang_up = libc::POLLIN | libc::POLLERR;
        for interest in [edge, level, one_shot] {
            assert_eq!(probed(interest, libc::POLLIN, false), (IN, IN));
            assert_eq!(probed(interest, hang_up, false), (harmful.or(OUT), OUT));
        }
        assert_eq!(
            probed(edge, libc::POLLIN, true),
            (IN, IN),
            "it may be consumed"
        );
        assert_eq!(
            probed(level, libc::POLLIN, true),
            (OUT, OUT),
            "what is ready now"
        );
        assert_eq!(
            probed(one_shot, libc::POLLIN, true),
            (IN.or(OUT), OUT),
            "all at once"
        );
        assert_eq!(
            probed(edge, hang_up, true),
            (IN.or(OUT), OUT),
            "it is not confirmed"
        );
        assert_eq!(probed(level, hang_up, true), (OUT, OUT));
        assert_eq!(probed(one_shot, hang_up, true), (IN.or(OUT), OUT));
        if crate::sys::platform::POLLRDHUP != 0 {
            let end = libc::POLLIN | crate::sys::platform::POLLRDHUP;
            let ended = IN.or(Readiness::RDHUP);
            assert_eq!(probed(edge, end, false), (ended, ended));
            assert_eq!(probed(edge, end, true), (IN.or(OUT), OUT), "nor is the end");
        }
    }

    /// Polling allocates nothing, even if everything happens to all registrations at once.
    #[test]
    fn every_list_has_the_capacity_for_all_registrations() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        for count in 1..=100 {
            table.prepare_mode(Interest::READABLE.level()).unwrap();
            begin(table, count, 1, Owner::RawFd);
            let lists = [
                &table.probed,
                &table.due,
                &table.repeated,
                &table.level,
                &table.changed,
                &table.died,
            ];
            assert!(lists.iter().all(|list| list.capacity() >= count as usize));
            assert!(table.probes.capacity() >= count as usize);
            assert!(table.removed.capacity() >= table.by_descriptor.len());
        }
    }

    #[test]
    fn a_slot_is_probed_once_while_its_probe_is_due() {
        let registrations = Registrations::new(());
        let table = &mut registrations.lock().table;
        let (idle, _peer) = UnixStream::pair().unwrap();
        let (slot, _) = begin(table, idle.as_raw_fd(), 1, Owner::RawFd);
        let after = |millis| {
            let start = Instant::now();
            Tick::since(start, start + Duration::from_millis(millis))
        };
        let report = |table: &mut Table| {
            table.entries[slot]
                .edges
                .fired_and_lasting(Readiness::IN, Readiness::IN);
        };
        table.list_if_probed(slot);
        assert!(!table.has_probed(), "it is armed");
        assert_eq!(table.next_probe(after(0)), None);
        report(table);
        table.list_if_probed(slot);
        table.list_if_probed(slot);
        assert_eq!(table.probed, [slot as u32]);
        assert_eq!(table.poll_due(after(0)).unwrap(), 1);
        assert_eq!(table.probe_result(0), (slot, 0));

        // It is still ready: a pause begins.
        let edges = &mut table.entries[slot].edges;
        assert!(edges.probed(Readiness::IN, after(0)).is_some());
        assert!(edges.probed(Readiness::IN, after(0)).is_none());
        assert_eq!(table.poll_due(after(0)).unwrap(), 0);
        assert!(table.has_probed());
        let pause = table.next_probe(after(0)).unwrap();
        assert!(pause > Duration::ZERO);
        assert_eq!(table.poll_due(after(10)).unwrap(), 1);
        assert_eq!(table.next_probe(after(10)), Some(Duration::ZERO));

        // It is not ready any more, so that it is armed.
        table.entries[slot].edges.probed(Readiness::NONE, after(10));
        assert!(table.entries[slot].to_arm().is_some());
        assert_eq!(table.poll_due(after(10)).unwrap(), 0);
        assert!(!table.has_probed());

        // It is closed.
        report(table);
        table.list_if_probed(slot);
        table.entries[slot].mark_dead();
        assert!(table.entries[slot].to_arm().is_none());
        assert_eq!(table.poll_due(after(10)).unwrap(), 0);
        assert!(!table.has_probed());
    }
}
