//! [`Rearmed`] implements a [`Selector`] whose kernel does not report edges, over the few calls of a
//! [`Kernel`]. A [table](super::table) stores the registrations, and `rearm.rs` has the states of one.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use libc::c_short;

use super::poll_bits::from_poll;
use super::selector::{EventBuffer, Key, Outcome, Owner, Selector, UserEvent};
use super::table::{Before, Registrations, State};
use super::wake_fd::UnreadSignals;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::stats::RearmCounters;
use crate::{Interest, Token};

/// The kernel's part of a re-arming backend: the armed set, and waiting. Every method is called under the
/// lock of the registrations, unless it documents otherwise.
pub(crate) trait Kernel: Sized {
    /// The armed set, if the kernel does not store it.
    type Armed;

    /// Whether the armed set can change during a wait. If it can, the kernel's readiness of a slot may be
    /// that of a registration that has ended.
    const TAKES_CHANGES: bool;

    fn open(unread: &Arc<UnreadSignals>) -> io::Result<(Self, Self::Armed)>;

    /// Arms the directions of the slot's registration, or nothing if there is no registration.
    fn arm(&self, state: &mut State<Self::Armed>, slot: usize) -> io::Result<()>;

    /// Removes a deregistered descriptor from the armed set. An error concerns the queue.
    fn disarm(&self, _fd: RawFd) -> io::Result<()> {
        Ok(())
    }

    /// Waits once, without the lock, and passes readiness to [`Rearmed::ready`]. Returns whether the
    /// kernel reported anything.
    fn wait<'a>(
        backend: &'a Rearmed<Self>,
        state: MutexGuard<'a, State<Self::Armed>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<Self::Armed>>, io::Result<bool>);

    /// Ends another thread's wait, or makes the next one return at once. It may release the lock.
    fn interrupt(
        backend: &Rearmed<Self>,
        state: MutexGuard<'_, State<Self::Armed>>,
    ) -> io::Result<()>;

    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Like the method of `Selector`, as are the next two. Called without the lock.
    fn open_user_event(_: &Rearmed<Self>, _token: Token) -> io::Result<Option<UserEvent>> {
        Ok(None)
    }

    fn trigger(_: &Rearmed<Self>, _event: UserEvent) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn close_user_event(_: &Rearmed<Self>, _event: UserEvent) {}
}

pub(crate) struct Rearmed<K: Kernel> {
    pub(super) kernel: K,
    pub(super) registrations: Registrations<K::Armed>,
    /// The unread signals of wakers with a descriptor, and of the kernel part's interrupt.
    pub(super) unread: Arc<UnreadSignals>,
    counters: RearmCounters,
}

/// The end of a `select`. Time spent on interruptions counts.
struct Deadline {
    /// `None` if there is no deadline, or if it is at once.
    at: Option<Instant>,
    is_at_once: bool,
}

impl Deadline {
    fn of(timeout: Option<Duration>) -> Deadline {
        Deadline {
            // A deadline beyond the clock's range counts as none.
            at: match timeout {
                Some(timeout) if !timeout.is_zero() => Instant::now().checked_add(timeout),
                _ => None,
            },
            is_at_once: timeout == Some(Duration::ZERO),
        }
    }

    fn left(&self) -> Option<Duration> {
        match self.is_at_once {
            true => Some(Duration::ZERO),
            false => {
                let at = self.at?;
                Some(at.saturating_duration_since(Instant::now()))
            }
        }
    }

    /// Whether the deadline has passed. A kernel may end a wait too early when its wall clock is set.
    fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }
}

// The methods of a program's path are never inlined: programs then call the crate's own instances of this
// generic code, and do not compile it again.
impl<K: Kernel> Selector for Rearmed<K> {
    fn open() -> io::Result<Rearmed<K>> {
        let unread = Arc::new(UnreadSignals::default());
        let (kernel, armed) = K::open(&unread)?;
        Ok(Rearmed {
            kernel,
            registrations: Registrations::new(armed),
            unread,
            counters: RearmCounters::default(),
        })
    }

    #[inline(never)]
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        if events.capacity() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let deadline = Deadline::of(timeout);
        let mut state = self.registrations.lock();
        state.table.begin_select();
        loop {
            state.table.report_dead(events);
            // If probes alone filled the last buffer, the armed set comes first.
            let probes = !std::mem::take(&mut state.table.probes_filled_buffer);
            let next_probe = match probes {
                true if state.table.has_probed() => self.probe_due(&mut state, events),
                true => Ok(None),
                false => Ok(Some(Duration::ZERO)),
            };
            let next_probe = match next_probe {
                Ok(next_probe) => next_probe,
                Err(error) => return with_events_first(error, events),
            };
            if events.is_full() {
                state.table.probes_filled_buffer = true;
                return Ok(());
            }
            let left = deadline.left();
            let wait = match events.events().is_empty() {
                true => match (left, next_probe) {
                    (Some(left), Some(next_probe)) => Some(left.min(next_probe)),
                    _ => left.or(next_probe),
                },
                // There are events already: collect other ready ones without waiting.
                false => Some(Duration::ZERO),
            };
            let waited;
            (state, waited) = K::wait(self, state, wait, events);
            state.table.end_wait();
            if std::mem::take(&mut state.table.lost_own_descriptor) {
                let error = io::Error::from_raw_os_error(libc::EBADF);
                return with_events_first(error, events);
            }
            let any_ready = match waited {
                Ok(any_ready) => any_ready,
                Err(error) => return with_events_first(error, events),
            };
            if !probes && !events.events().is_empty() && !events.is_full() {
                // This poll also reports readiness that only a probe sees.
                if let Err(error) = self.probe_due(&mut state, events) {
                    return with_events_first(error, events);
                }
            }
            // A wait that began at the deadline is the last one.
            let was_last = left == Some(Duration::ZERO);
            let is_over = probes && (was_last || (deadline.has_passed() && !any_ready));
            if is_over || !events.events().is_empty() {
                return Ok(());
            }
            // The wait was interrupted, or a probe is due.
        }
    }

    #[inline(never)]
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
        let mut state = self.registrations.lock();
        if interest.has_mode() {
            state.table.prepare_mode(interest)?;
        }
        let slot = state.table.slot_for(fd)?;
        let key = state.table.begin(slot, token, interest, owner);
        self.change(state, slot, Change::Begun)?;
        Ok(key)
    }

    #[inline]
    fn reregister(&self, fd: RawFd, key: Key, token: Token, interest: Interest) -> io::Result<Key> {
        self.begin_again(fd, key, token, interest, true)
    }

    #[cfg(feature = "os-ext")]
    #[inline]
    fn reregister_raw(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.begin_again(fd, Key::NONE, token, interest, false)?;
        Ok(())
    }

    #[inline(never)]
    fn deregister(&self, fd: RawFd, key: Key) -> io::Result<()> {
        let mut state = self.registrations.lock();
        let slot = match state.table.slot(fd, key) {
            Ok(slot) => slot,
            Err(error) => {
                state.table.release_key(key);
                return Err(error);
            }
        };
        let waits = K::TAKES_CHANGES && state.waiting.is_waiting();
        let fd = state.table.remove(slot, key, waits);
        let disarmed = self.kernel.disarm(fd);
        if disarmed.is_err() {
            state.table.ignore_events(fd);
        }
        self.change(state, slot, Change::Ended)?;
        disarmed
    }

    #[inline(never)]
    fn after_io(&self, key: Key, outcome: Outcome) {
        let mut state = self.registrations.lock();
        let Some(slot) = state.table.slot_of_key(key) else {
            return; // the raw descriptor was deregistered
        };
        let edges = &mut state.table.entry_mut(slot).edges;
        match outcome {
            Outcome::WouldBlock(Some(direction)) if !edges.is_latched() => {
                if edges.would_block(direction) {
                    let _ = self.change(state, slot, Change::ByIo { begins: false });
                }
            }
            _ => self.after_other_io(state, slot, outcome),
        }
    }

    #[inline(never)]
    fn release(&self, key: Key) {
        if !self.registrations.is_inherited() {
            // Fails if the program has deregistered the raw descriptor.
            let _ = self.deregister(-1, key);
        }
    }

    #[inline(never)]
    fn registered(&self, key: Key) -> Option<(Token, Interest)> {
        if self.registrations.is_inherited() {
            return None;
        }
        let state = self.registrations.lock();
        let slot = state.table.slot_of_key(key)?;
        let entry = state.table.entry(slot);
        Some((entry.token, entry.edges.interests()?))
    }

    fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        K::open_user_event(self, token)
    }

    fn trigger(&self, event: UserEvent) -> io::Result<()> {
        K::trigger(self, event)
    }

    fn close_user_event(&self, event: UserEvent) {
        if !self.registrations.is_inherited() {
            K::close_user_event(self, event);
        }
    }

    fn unread_signals(&self) -> Option<&Arc<UnreadSignals>> {
        Some(&self.unread)
    }

    #[cfg(feature = "stats")]
    fn rearm_counters(&self) -> Option<&RearmCounters> {
        Some(&self.counters)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

/// The kernel could not arm a slot: its descriptor is closed, or probes take the kernel's place.
#[cold]
fn not_armed<A>(state: &mut State<A>, slot: usize, error: &io::Error) {
    let now = state.table.tick();
    let entry = state.table.entry_mut(slot);
    if is_closed(error) {
        entry.is_dead = true;
    } else {
        entry.edges.not_armed(now);
        state.table.list_if_probed(slot);
    }
}

fn is_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// Collected events are returned before an error.
fn with_events_first(error: io::Error, events: &EventBuffer) -> io::Result<()> {
    match events.events().is_empty() {
        true => Err(error),
        false => Ok(()),
    }
}

/// A change of a slot.
#[derive(Copy, Clone)]
enum Change<'a> {
    /// A new registration. If it cannot be armed it ends, and the error is returned.
    Begun,
    /// The registration has ended.
    Ended,
    /// The same source has a new token and interest. If it cannot be armed it is what it was before, and
    /// the error is returned.
    BegunAgain(Option<&'a Before>),
    /// The program's I/O has changed the state. `begins` if probes are needed from now on, or needed
    /// earlier. The next `select` reports an error.
    ByIo { begins: bool },
}

impl<K: Kernel> Rearmed<K> {
    /// What a registration is before it begins again, if arming it can fail.
    #[inline]
    fn before(state: &State<K::Armed>, slot: usize) -> Option<Before> {
        // An armed set of our own takes everything.
        K::TAKES_CHANGES.then(|| state.table.before(slot))
    }

    /// Reregisters a source, or a raw descriptor. A source (`adopts`) without a key becomes the owner of a
    /// raw descriptor's registration. Returns its key.
    #[inline(never)]
    fn begin_again(
        &self,
        fd: RawFd,
        key: Key,
        token: Token,
        interest: Interest,
        adopts: bool,
    ) -> io::Result<Key> {
        let mut state = self.registrations.lock();
        if interest.has_mode() {
            state.table.prepare_mode(interest)?;
        }
        let slot = state.table.slot(fd, key)?;
        let adopted = match key {
            Key::NONE if adopts => state.table.adopt(slot),
            _ => Key::NONE,
        };
        let before = Self::before(&state, slot);
        state.table.begin_again(slot, token, interest);
        if let Err(error) = self.change(state, slot, Change::BegunAgain(before.as_ref())) {
            // The source does not learn of a key.
            self.registrations.lock().table.disown(adopted);
            return Err(error);
        }
        Ok(match key {
            Key::NONE => adopted,
            key => key,
        })
    }

    /// Handles every outcome except for `WouldBlock` in a known direction while nothing is latched.
    #[inline(never)]
    fn after_other_io(
        &self,
        mut state: MutexGuard<'_, State<K::Armed>>,
        slot: usize,
        outcome: Outcome,
    ) {
        let edges = &mut state.table.entry_mut(slot).edges;
        let (armed_before, was_probed) = (edges.armed_set(), edges.is_probed());
        let mut needs_probe = edges.is_latched();
        match outcome {
            Outcome::WouldBlock(Some(direction)) => {
                edges.would_block(direction);
            }
            Outcome::WouldBlock(None) => needs_probe = !edges.is_armed_for_all(),
            Outcome::Failed(_) | Outcome::NothingDrained => edges.may_have_drained(),
            Outcome::ErrorTaken { found } => {
                edges.may_have_taken_error();
                // The error alone may have made it ready.
                needs_probe |= found && !edges.is_armed_for_all();
            }
        }
        if needs_probe {
            self.counters.probes.add(1);
            let now = state.table.tick();
            let is_unknown = matches!(outcome, Outcome::WouldBlock(None));
            state.table.entry_mut(slot).probe_after_io(is_unknown, now);
        }
        let edges = &state.table.entry(slot).edges;
        let begins = edges.is_probed() && (!was_probed || edges.is_due_at_once());
        if edges.armed_set() != armed_before || begins {
            let _ = self.change(state, slot, Change::ByIo { begins });
        }
    }

    /// Applies a change of a slot: arms it, or notes it for the polling thread.
    #[inline]
    fn change(
        &self,
        mut state: MutexGuard<'_, State<K::Armed>>,
        slot: usize,
        change: Change<'_>,
    ) -> io::Result<()> {
        let is_waiting = state.waiting.is_waiting();
        let mut armed = Ok(());
        if K::TAKES_CHANGES || !is_waiting {
            armed = self.update(&mut state, slot);
            if let Err(error) = &armed {
                self.not_changed(&mut state, slot, change, error);
            }
        }
        if is_waiting {
            let is_replaced = matches!(change, Change::Begun | Change::Ended);
            state.table.mark_changed(slot, is_replaced);
            // Interrupt the polling thread if the kernel does not know the change, or if a probe is due.
            let begins = matches!(change, Change::ByIo { begins: true });
            let must_interrupt = !K::TAKES_CHANGES || begins || armed.is_err();
            if must_interrupt && state.waiting.interrupt() {
                return self.interrupt(state, slot, change, armed);
            }
        }
        armed
    }

    /// Interrupts the polling thread after a change of a slot. Out of the path of a change while no thread
    /// waits.
    #[inline(never)]
    fn interrupt(
        &self,
        state: MutexGuard<'_, State<K::Armed>>,
        slot: usize,
        change: Change<'_>,
        armed: io::Result<()>,
    ) -> io::Result<()> {
        let entry = state.table.entry(slot);
        let (owner, begun) = (entry.owner, entry.begun);
        // Before the interrupt, so that the poll which it ends finds it counted.
        self.counters.interrupts.add(1);
        let Err(error) = K::interrupt(self, state) else {
            return armed;
        };
        self.counters.interrupts.subtract_one();
        let change = match armed {
            // A registration that has begun has ended again.
            Err(_) => Change::Ended,
            Ok(()) => change,
        };
        armed.and(self.not_interrupted(slot, owner, begun, change, error))
    }

    /// The kernel could not arm a slot that has changed.
    #[cold]
    fn not_changed(
        &self,
        state: &mut State<K::Armed>,
        slot: usize,
        change: Change<'_>,
        error: &io::Error,
    ) {
        match change {
            Change::ByIo { .. } => state.table.report_later(slot),
            Change::Begun => {
                let key = Key::of_slot(slot as u32);
                let is_awaited = state.waiting.is_waiting();
                let fd = state.table.remove(slot, key, is_awaited);
                let _ = self.kernel.disarm(fd);
            }
            // A later `select` ignores a closed descriptor.
            Change::BegunAgain(_) if is_closed(error) => {}
            Change::BegunAgain(Some(before)) => {
                state.table.restore(slot, *before);
                self.rearm(state, slot);
            }
            Change::BegunAgain(None) | Change::Ended => {}
        }
    }

    /// The polling thread does not learn what has changed: the next one to change something tries
    /// again. A registration that has just begun ends with the error, unless another thread has ended it
    /// or begun it again since: the lock was free. One that has ended is not reported any more, so this
    /// is no error.
    #[cold]
    fn not_interrupted(
        &self,
        slot: usize,
        owner: Owner,
        begun: u16,
        change: Change<'_>,
        error: io::Error,
    ) -> io::Result<()> {
        let mut state = self.registrations.lock();
        state.waiting.not_interrupted();
        match change {
            Change::Ended => return Ok(()),
            Change::BegunAgain(_) | Change::ByIo { .. } => {}
            Change::Begun => {
                if owner != Owner::RawFd {
                    // The source does not learn of its key. Until now the slot was reserved for it.
                    state.table.disown(Key::of_slot(slot as u32));
                }
                if state.table.is_current(slot, begun) {
                    // The kernel has not learned of it: one that takes changes was not to be interrupted.
                    state.table.remove(slot, Key::NONE, false);
                    let _ = self.change(state, slot, Change::Ended);
                }
            }
        }
        Err(error)
    }

    /// Arms the slot's registration, and lists it for probing if it is probed. Never inlined: it has many
    /// callers.
    #[inline(never)]
    fn update(&self, state: &mut State<K::Armed>, slot: usize) -> io::Result<()> {
        state.table.list_if_probed(slot);
        let armed = self.kernel.arm(state, slot);
        if let Err(error) = &armed {
            not_armed(state, slot, error);
        }
        armed
    }

    /// Like `update`, but the next `select` reports a closed descriptor.
    #[inline]
    pub(super) fn rearm(&self, state: &mut State<K::Armed>, slot: usize) {
        if self.update(state, slot).is_err() {
            state.table.report_later(slot);
        }
    }

    /// Probes the registrations that are due. Returns the time until the next probe is due.
    #[inline(never)]
    fn probe_due(
        &self,
        state: &mut State<K::Armed>,
        events: &mut EventBuffer,
    ) -> io::Result<Option<Duration>> {
        let now = state.table.tick();
        let count = state.table.poll_due(now)?;
        self.counters.probes.add(count);
        let start = state.table.next_probed.min(count);
        for index in start..start + count {
            // After the last one follows the first.
            let index = if index < count { index } else { index - count };
            let table = &mut state.table;
            let (slot, revents) = table.probe_result(index);
            if events.is_full() || table.entry(slot).reported_by == table.select {
                self.keep_for_next_poll(state, slot, revents);
                continue;
            }
            if revents & libc::POLLNVAL != 0 {
                let entry = table.entry_mut(slot);
                events.push(Event::new(entry.token, entry.mark_dead()));
                self.rearm(state, slot);
                continue;
            }
            let entry = table.entry_mut(slot);
            let (armed_before, ready) = (entry.edges.armed_set(), from_poll(revents));
            let error_may_be_new =
                entry.edges.has_latched_error() && ready.intersects(Readiness::ERR);
            if error_may_be_new {
                // An error that the probe consumes is not the latched one.
                entry.keep_consumed(ready);
            }
            if let Some(report) = entry.edges.probed(ready, now) {
                events.push(Event::new(entry.token, report));
                table.next_probed = index + 1;
                // A registration has at most one event in a poll.
                table.mark_reported(slot);
            } else if !error_may_be_new {
                entry.keep_consumed(ready);
            }
            if table.entry(slot).edges.armed_set() != armed_before {
                self.rearm(state, slot);
            }
        }
        // Arming may have failed.
        state.table.report_dead(events);
        Ok(state.table.next_probe(now))
    }

    /// The kernel reports a slot as ready, and this poll cannot report it. The slot stays armed or due, so
    /// nothing is done unless the query has consumed the readiness.
    #[cold]
    pub(super) fn keep_for_next_poll(
        &self,
        state: &mut State<K::Armed>,
        slot: usize,
        revents: c_short,
    ) {
        let entry = state.table.entry_mut(slot);
        entry.keep_consumed(from_poll(revents));
        state.table.list_if_probed(slot);
    }

    /// The kernel reports a slot as ready: makes an event of it, and arms the slot again.
    #[inline]
    pub(super) fn ready(
        &self,
        state: &mut State<K::Armed>,
        slot: usize,
        revents: c_short,
    ) -> Option<Event> {
        let select = state.table.select;
        let entry = state.table.entry_mut(slot);
        if entry.reported_by == select {
            self.ready_again(state, slot, revents);
            return None;
        }
        let report = if entry.owner == Owner::Waker {
            // The signal is read before the pending wake-ups are cleared. A wake after that
            // signals again.
            let is_own = revents & libc::POLLNVAL == 0 && self.unread.read(entry.fd);
            state.table.lost_own_descriptor |= !is_own;
            match is_own {
                true => Readiness::IN,
                false => Readiness::NONE,
            }
        } else if revents & libc::POLLNVAL != 0 {
            entry.mark_dead()
        } else {
            let (ready, lasting) = entry.with_probed(revents, K::TAKES_CHANGES);
            let pending = entry.edges.take_pending();
            entry.edges.fired_and_lasting(ready.or(pending), lasting)
        };
        let entry = state.table.entry_mut(slot);
        let event = (report != Readiness::NONE).then(|| Event::new(entry.token, report));
        if event.is_some() {
            entry.reported_by = select;
        }
        if K::TAKES_CHANGES && entry.edges.is_level() {
            state.table.level.push(slot as u32);
        } else {
            self.rearm(state, slot);
        }
        event
    }

    /// The kernel reports a slot as ready that this `select` has already reported. The next `select`
    /// reports it, and the slot stays armed.
    #[cold]
    fn ready_again(&self, state: &mut State<K::Armed>, slot: usize, revents: c_short) {
        match K::TAKES_CHANGES {
            // Armed at once, the same wait would report it again.
            true => state.table.repeated.push(slot as u32),
            false => {
                self.keep_for_next_poll(state, slot, revents);
                self.rearm(state, slot);
            }
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
    use std::sync::Mutex;
    use std::thread;

    use super::super::poll::Poll;
    use super::super::poll_bits::consumed;
    use super::super::table::EventOwner;
    use super::*;

    /// Longer than any test waits, and shorter than a test that waits for ever.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    /// A double of a kernel, which reports nothing. Its waits last as long as their timeout.
    struct Double<const TAKES_CHANGES: bool> {
        /// The first interrupt fails. The lock is free meanwhile, and another thread makes these calls.
        meanwhile: Mutex<Option<Meanwhile<TAKES_CHANGES>>>,
        interrupts: AtomicUsize,
        /// The timeouts of the waits.
        waits: Mutex<Vec<Option<Duration>>>,
        /// How many waits are interrupted at once.
        interrupted_waits: AtomicUsize,
        /// How many waits say that they had something to report.
        ready_waits: AtomicUsize,
        /// The error with which arming fails, or 0.
        arm_error: AtomicI32,
        fd: OwnedFd,
    }

    type Meanwhile<const TAKES_CHANGES: bool> =
        Box<dyn FnOnce(&Rearmed<Double<TAKES_CHANGES>>) + Send>;

    /// Counts down. Whether it was above zero.
    fn take_one(count: &AtomicUsize) -> bool {
        let next = |count: usize| count.checked_sub(1);
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.is_ok()
    }

    impl<const TAKES_CHANGES: bool> Kernel for Double<TAKES_CHANGES> {
        type Armed = ();

        const TAKES_CHANGES: bool = TAKES_CHANGES;

        fn open(_: &Arc<UnreadSignals>) -> io::Result<(Double<TAKES_CHANGES>, ())> {
            let kernel = Double {
                meanwhile: Mutex::new(None),
                interrupts: AtomicUsize::new(0),
                waits: Mutex::new(Vec::new()),
                interrupted_waits: AtomicUsize::new(0),
                ready_waits: AtomicUsize::new(0),
                arm_error: AtomicI32::new(0),
                fd: File::open("/dev/null")?.into(),
            };
            Ok((kernel, ()))
        }

        fn arm(&self, _: &mut State<()>, _: usize) -> io::Result<()> {
            match self.arm_error.load(Ordering::Relaxed) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }

        fn wait<'a>(
            backend: &'a Rearmed<Double<TAKES_CHANGES>>,
            state: MutexGuard<'a, State<()>>,
            timeout: Option<Duration>,
            _: &mut EventBuffer,
        ) -> (MutexGuard<'a, State<()>>, io::Result<bool>) {
            let kernel = &backend.kernel;
            kernel.waits.lock().unwrap().push(timeout);
            if !take_one(&kernel.interrupted_waits) {
                thread::sleep(timeout.unwrap_or_default());
            }
            (state, Ok(take_one(&kernel.ready_waits)))
        }

        fn interrupt(
            backend: &Rearmed<Double<TAKES_CHANGES>>,
            state: MutexGuard<'_, State<()>>,
        ) -> io::Result<()> {
            drop(state);
            backend.kernel.interrupts.fetch_add(1, Ordering::Relaxed);
            let Some(meanwhile) = backend.kernel.meanwhile.lock().unwrap().take() else {
                return Ok(());
            };
            thread::scope(|scope| scope.spawn(|| meanwhile(backend)).join().unwrap());
            Err(io::Error::from_raw_os_error(libc::EBADF))
        }

        fn as_fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }
    }

    type Failed = Rearmed<Double<false>>;

    const FD: RawFd = 1000;

    fn register<K: Kernel>(
        queue: &Rearmed<K>,
        fd: RawFd,
        token: usize,
        owner: Owner,
    ) -> io::Result<Key> {
        Selector::register(queue, fd, Token(token), Interest::READABLE, owner)
    }

    /// A registration of this owner, with token 1, has failed, and meanwhile another thread has made
    /// these calls.
    fn failed(owner: Owner, meanwhile: impl FnOnce(&Failed) + Send + 'static) -> Failed {
        let queue: Failed = Selector::open().unwrap();
        queue.registrations.lock().waiting.begin();
        *queue.kernel.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
        let error = register(&queue, FD, 1, owner).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        queue
    }

    /// The token with which the descriptor is registered.
    fn token<K: Kernel>(queue: &Rearmed<K>, fd: RawFd) -> Option<usize> {
        let table = &queue.registrations.lock().table;
        Some(table.entry(table.find(fd)?).token.0)
    }

    /// The slots that further registrations get. No two get the same, nor one that is taken.
    fn next_slots(queue: &Failed) -> [usize; 3] {
        let slots = [1, 2, 3].map(|n| {
            register(queue, FD + n, 0, Owner::RawFd).unwrap();
            let table = &queue.registrations.lock().table;
            table.find(FD + n).unwrap()
        });
        assert!(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2]);
        let table = &queue.registrations.lock().table;
        assert!(table.find(FD).map_or(true, |slot| !slots.contains(&slot)));
        slots
    }

    #[test]
    fn a_registration_that_fails_for_lack_of_an_interrupt_leaves_nothing_behind() {
        for owner in [Owner::RawFd, Owner::Source, Owner::Waker] {
            let queue = failed(owner, |_| {});
            assert_eq!(token(&queue, FD), None);
            assert_eq!(next_slots(&queue), [0, 1, 2]);
            // Deregistered by its descriptor.
            let queue = failed(owner, |queue| {
                Selector::deregister(queue, FD, Key::NONE).unwrap();
            });
            assert_eq!(token(&queue, FD), None);
            assert_eq!(next_slots(&queue), [0, 1, 2]);
        }
    }

    #[test]
    fn a_failed_registration_ends_no_raw_one_that_another_thread_has_begun_since() {
        let queue = failed(Owner::RawFd, |queue| {
            Selector::deregister(queue, FD, Key::NONE).unwrap();
            register(queue, FD, 2, Owner::RawFd).unwrap();
        });
        assert_eq!(token(&queue, FD), Some(2));
        next_slots(&queue);
        let queue = failed(Owner::RawFd, |queue| {
            register(queue, FD, 2, Owner::RawFd).unwrap();
        });
        assert_eq!(token(&queue, FD), Some(2), "it replaced the failing one");
        next_slots(&queue);
    }

    #[cfg(feature = "os-ext")]
    #[test]
    fn a_failed_registration_that_was_reregistered_since_is_a_raw_one() {
        for owner in [Owner::RawFd, Owner::Source] {
            let queue = failed(owner, |queue| {
                queue
                    .reregister_raw(FD, Token(2), Interest::READABLE)
                    .unwrap();
            });
            assert_eq!(token(&queue, FD), Some(2));
            next_slots(&queue);
            Selector::deregister(&queue, FD, Key::NONE).unwrap();
            register(&queue, FD + 10, 3, Owner::RawFd).unwrap();
            let slot = queue.registrations.lock().table.find(FD + 10);
            assert_eq!(slot, Some(0), "no source has its key");
        }
    }

    #[test]
    fn a_failed_registration_takes_no_key_of_a_source_that_has_its_slot_since() {
        let (tell, told) = std::sync::mpsc::channel();
        let deregister_by_descriptor = [false, true];
        for is_ended in deregister_by_descriptor {
            let tell = tell.clone();
            let queue = failed(Owner::RawFd, move |queue| {
                Selector::deregister(queue, FD, Key::NONE).unwrap();
                tell.send(register(queue, FD, 2, Owner::Source).unwrap())
                    .unwrap();
                if is_ended {
                    Selector::deregister(queue, FD, Key::NONE).unwrap();
                }
            });
            let key = told.recv().unwrap();
            assert_eq!(token(&queue, FD), (!is_ended).then_some(2));
            assert_eq!(next_slots(&queue), [1, 2, 3], "the source has slot 0");
            queue.release(key);
            register(&queue, FD + 10, 3, Owner::RawFd).unwrap();
            assert_eq!(queue.registrations.lock().table.find(FD + 10), Some(0));
        }
        // Or that has taken it over.
        let queue = failed(Owner::RawFd, move |queue| {
            let key = queue.reregister(FD, Key::NONE, Token(2), Interest::READABLE);
            tell.send(key.unwrap()).unwrap();
        });
        let key = told.recv().unwrap();
        assert_eq!(token(&queue, FD), Some(2));
        assert_eq!(next_slots(&queue), [1, 2, 3]);
        queue.release(key);
        assert_eq!(token(&queue, FD), None);
    }

    #[test]
    fn a_descriptor_is_not_negative() {
        let queue: Failed = Selector::open().unwrap();
        let error = register(&queue, -1, 1, Owner::Source).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        register(&queue, 0, 1, Owner::Source).unwrap();
        assert_eq!(token(&queue, 0), Some(1));
    }

    #[test]
    fn a_key_names_its_own_registration_and_no_key_names_none() {
        let queue: Failed = Selector::open().unwrap();
        for fd in [0, 1, 2] {
            register(&queue, fd, fd as usize, Owner::RawFd).unwrap();
        }
        let interest = Interest::WRITABLE.level();
        let key = Selector::register(&queue, FD, Token(7), interest, Owner::Source).unwrap();
        assert_eq!(queue.registered(key), Some((Token(7), interest)));
        assert_eq!(queue.registered(Key::NONE), None);
        queue.release(Key::NONE);
        for fd in [0, 1, 2] {
            assert_eq!(token(&queue, fd), Some(fd as usize));
        }
        queue.release(key);
        assert_eq!(queue.registered(key), None);
        assert_eq!(token(&queue, FD), None);
    }

    fn select<K: Kernel>(queue: &Rearmed<K>, timeout: Duration) -> usize {
        let mut events = EventBuffer::with_capacity(8);
        queue.select(&mut events, Some(timeout)).unwrap();
        events.events().len()
    }

    /// Each wait is a system call.
    #[test]
    fn a_poll_waits_for_its_timeout_once_unless_the_wait_ends_early() {
        const TIMEOUT: Duration = Duration::from_millis(20);
        let waits = |queue: &Failed| std::mem::take(&mut *queue.kernel.waits.lock().unwrap());

        let queue: Failed = Selector::open().unwrap();
        select(&queue, TIMEOUT);
        let all = waits(&queue);
        assert_eq!(all.len(), 1);
        assert!(all[0].unwrap() <= TIMEOUT);
        select(&queue, Duration::ZERO);
        assert_eq!(waits(&queue), [Some(Duration::ZERO)]);

        // Another thread interrupts it. A slow machine may take the whole timeout from one wait to the next.
        let mut timeout = TIMEOUT;
        loop {
            queue.kernel.interrupted_waits.store(1, Ordering::Relaxed);
            let start = Instant::now();
            select(&queue, timeout);
            assert!(start.elapsed() >= timeout);
            match waits(&queue).len() {
                2 => break,
                count => assert!(count == 1 && timeout < TIMEOUT * 500, "{count} waits"),
            }
            timeout *= 2;
        }

        // The kernel has reported a registration that ended: there may be more.
        queue.kernel.ready_waits.store(1, Ordering::Relaxed);
        select(&queue, TIMEOUT);
        let all = waits(&queue);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1], Some(Duration::ZERO));
    }

    /// A kernel that takes changes is interrupted for nothing but probes.
    #[test]
    fn a_wait_is_interrupted_once_and_only_if_it_does_not_know_the_change() {
        fn interrupts<const TAKES_CHANGES: bool>() -> [usize; 5] {
            let queue: Rearmed<Double<TAKES_CHANGES>> = Selector::open().unwrap();
            let both = Interest::READABLE | Interest::WRITABLE;
            let key = Selector::register(&queue, FD, Token(1), both, Owner::Source).unwrap();
            let fire = |ready| {
                let mut state = queue.registrations.lock();
                let edges = &mut state.table.entry_mut(0).edges;
                edges.fired_and_lasting(ready, ready);
            };
            // Writing backs off, and its pause runs.
            let back_off = || {
                fire(Readiness::OUT);
                let mut state = queue.registrations.lock();
                let now = state.table.tick();
                let edges = &mut state.table.entry_mut(0).edges;
                edges.may_have_drained();
                assert!(edges.probed(Readiness::OUT, now).is_some());
                assert!(edges.probed(Readiness::OUT, now).is_none());
            };
            let would_block = Outcome::WouldBlock(Some(Interest::READABLE));
            let changes: [&dyn Fn(); 5] = [
                &|| drop(register(&queue, FD + 1, 2, Owner::RawFd)),
                &|| queue.after_io(key, would_block),
                // Nothing changes.
                &|| queue.after_io(key, Outcome::ErrorTaken { found: false }),
                // It is probed from now on, and once more changes nothing.
                &|| {
                    queue.after_io(key, Outcome::NothingDrained);
                    queue.after_io(key, Outcome::NothingDrained);
                },
                // It is probed earlier.
                &|| queue.after_io(key, Outcome::NothingDrained),
            ];
            let mut counts = [0; 5];
            for (index, change) in changes.into_iter().enumerate() {
                queue.reregister(FD, key, Token(1), both).unwrap();
                if index == 4 {
                    back_off();
                }
                fire(Readiness::IN);
                queue.registrations.lock().waiting.begin();
                change();
                queue.registrations.lock().waiting.end();
                counts[index] = queue.kernel.interrupts.swap(0, Ordering::Relaxed);
            }
            counts
        }
        assert_eq!(interrupts::<true>(), [0, 0, 0, 1, 1]);
        assert_eq!(interrupts::<false>(), [1, 1, 0, 1, 1]);
    }

    #[test]
    fn a_reregistering_that_fails_changes_nothing_unless_the_descriptor_is_closed() {
        let reregister = |error| {
            let queue: Rearmed<Double<true>> = Selector::open().unwrap();
            let key = register(&queue, FD, 1, Owner::Source).unwrap();
            queue.kernel.arm_error.store(error, Ordering::Relaxed);
            let failed = queue.reregister(FD, key, Token(2), Interest::WRITABLE);
            assert_eq!(failed.unwrap_err().raw_os_error(), Some(error));
            (queue, key)
        };
        let (queue, key) = reregister(libc::ENOMEM);
        let before = Some((Token(1), Interest::READABLE));
        assert_eq!(queue.registered(key), before);
        // The caller knows that it is closed: no poll reports it.
        let (queue, _) = reregister(libc::EBADF);
        assert_eq!(select(&queue, Duration::ZERO), 0);
        assert_eq!(select(&queue, Duration::ZERO), 0);
    }

    #[test]
    fn a_registration_that_cannot_be_armed_after_io_is_probed_or_reported_as_closed() {
        let unarmed = |error| {
            let queue: Rearmed<Double<true>> = Selector::open().unwrap();
            let key = register(&queue, FD, 1, Owner::Source).unwrap();
            let mut state = queue.registrations.lock();
            let edges = &mut state.table.entry_mut(0).edges;
            edges.fired_and_lasting(Readiness::IN, Readiness::IN);
            drop(state);
            queue.kernel.arm_error.store(error, Ordering::Relaxed);
            (queue, key)
        };
        let would_block = Outcome::WouldBlock(Some(Interest::READABLE));
        let (queue, key) = unarmed(libc::ENOMEM);
        queue.after_io(key, would_block);
        assert!(queue.registrations.lock().table.has_probed());
        let (queue, key) = unarmed(libc::EBADF);
        queue.after_io(key, would_block);
        assert!(!queue.registrations.lock().table.has_probed());
        assert_eq!(select(&queue, Duration::ZERO), 1);
        assert_eq!(select(&queue, Duration::ZERO), 0);
    }

    /// A probe has reported it, and then the wait finds another direction ready. Where the kernel takes
    /// changes it is armed when the wait is over, and elsewhere it stays armed.
    #[test]
    fn a_registration_that_was_reported_is_kept_for_the_next_poll() {
        fn ready_twice<const TAKES_CHANGES: bool>() -> (Vec<u32>, bool) {
            let queue: Rearmed<Double<TAKES_CHANGES>> = Selector::open().unwrap();
            register(&queue, FD, 1, Owner::Source).unwrap();
            let state = &mut *queue.registrations.lock();
            assert!(queue.ready(state, 0, libc::POLLIN).is_some());
            assert!(queue.ready(state, 0, libc::POLLIN).is_none());
            (state.table.repeated.clone(), state.table.has_probed())
        }
        assert_eq!(ready_twice::<true>(), (vec![0], false));
        // The descriptor of the double is not readable: the query has consumed it.
        assert_eq!(ready_twice::<false>(), (vec![], true));
    }

    #[test]
    fn an_event_of_a_deregistered_descriptor_is_ignored_only_if_a_thread_waits() {
        let queue: Rearmed<Double<true>> = Selector::open().unwrap();
        for is_waiting in [false, true] {
            let key = register(&queue, FD, 1, Owner::Source).unwrap();
            if is_waiting {
                queue.registrations.lock().waiting.begin();
            }
            Selector::deregister(&queue, FD, key).unwrap();
            // Otherwise the program has added the descriptor to the kernel's queue itself.
            let owner = queue.registrations.lock().table.owner_of_event(FD);
            assert_eq!(matches!(owner, EventOwner::Ended), is_waiting);
            assert_eq!(matches!(owner, EventOwner::Foreign), !is_waiting);
        }
    }

    /// A queue of poll(2) with streams that are registered for reading, each with its peer. The token is
    /// the index.
    struct Streams {
        queue: Poll,
        events: EventBuffer,
        pairs: Vec<(UnixStream, UnixStream)>,
        keys: Vec<Key>,
    }

    impl Streams {
        fn new(count: usize, owner: Owner, capacity: usize) -> Streams {
            let queue: Poll = Selector::open().unwrap();
            let pairs: Vec<_> = (0..count).map(|_| UnixStream::pair().unwrap()).collect();
            let register = |(n, pair): (usize, &(UnixStream, UnixStream))| {
                let (fd, readable) = (pair.0.as_raw_fd(), Interest::READABLE);
                Selector::register(&queue, fd, Token(n), readable, owner).unwrap()
            };
            let keys = pairs.iter().enumerate().map(register).collect();
            Streams {
                queue,
                events: EventBuffer::with_capacity(capacity),
                pairs,
                keys,
            }
        }

        /// The next query finds the stream readable, and consumes it.
        fn readable_once(&self, stream: usize) {
            consumed::by_next_query(self.pairs[stream].0.as_raw_fd(), libc::POLLIN);
        }

        /// The tokens of the streams that this many polls report.
        fn reported(&mut self, polls: usize) -> Vec<usize> {
            let mut tokens = Vec::new();
            for _ in 0..polls {
                let at_once = Some(Duration::ZERO);
                self.queue.select(&mut self.events, at_once).unwrap();
                for event in self.events.events() {
                    assert!(event.is_readable() && !event.is_error());
                    tokens.push(event.token().0);
                }
            }
            tokens
        }

        fn drain(&mut self, stream: usize) {
            self.pairs[stream].0.read_exact(&mut [0]).unwrap();
        }
    }

    #[test]
    fn readiness_that_the_wait_consumed_is_reported_once() {
        let mut one = Streams::new(1, Owner::Source, 8);
        one.readable_once(0);
        assert_eq!(one.reported(2), [0]);

        // It does not fit into the buffer.
        let mut two = Streams::new(2, Owner::Source, 1);
        two.pairs[0].1.write_all(b"x").unwrap();
        two.readable_once(1);
        assert_eq!(two.reported(1), [0]);
        assert_eq!(two.reported(2), [1]);
    }

    #[test]
    fn readiness_that_a_probe_consumed_is_reported_once() {
        // While the longest pause delays the report.
        let mut one = Streams::new(1, Owner::RawFd, 8);
        one.pairs[0].1.write_all(b"x").unwrap();
        for _ in 0..8 {
            one.queue.select(&mut one.events, PATIENCE).unwrap();
            assert_eq!(one.events.events().len(), 1);
        }
        one.drain(0);
        one.readable_once(0);
        assert_eq!(one.reported(3), [0]);

        // It does not fit into the buffer.
        let mut two = Streams::new(2, Owner::RawFd, 8);
        for pair in &mut two.pairs {
            pair.1.write_all(b"x").unwrap();
        }
        assert_eq!(two.reported(1), [0, 1]);
        two.drain(1);
        two.readable_once(1);
        two.events = EventBuffer::with_capacity(1);
        let mut reported = two.reported(5);
        reported.retain(|&stream| stream == 1);
        assert_eq!(reported, [1]);
    }

    #[test]
    fn a_poll_ends_when_a_probe_is_due_and_finds_readiness() {
        let mut one = Streams::new(1, Owner::RawFd, 8);
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(2), [0, 0]);
        // A pause is over before the next poll if it is short and the machine slow. They double.
        let deadline = Instant::now() + PATIENCE.unwrap();
        while !one.reported(1).is_empty() {
            assert!(Instant::now() < deadline, "no pause has begun");
        }
        let timeout = Some(Duration::from_secs(2));
        one.queue.select(&mut one.events, timeout).unwrap();
        assert_eq!(one.events.events().len(), 1);
    }

    #[test]
    fn a_raw_descriptor_that_a_probe_finds_drained_is_armed_again() {
        let mut one = Streams::new(1, Owner::RawFd, 8);
        for _ in 0..3 {
            one.pairs[0].1.write_all(b"x").unwrap();
            assert_eq!(one.reported(1), [0]);
            one.drain(0);
            assert_eq!(one.reported(1), []);
        }
    }

    #[test]
    fn readiness_that_a_probe_after_io_consumed_is_reported_once() {
        let mut one = Streams::new(1, Owner::Source, 8);
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(1), [0]);
        one.drain(0);
        one.readable_once(0);
        one.queue.after_io(one.keys[0], Outcome::WouldBlock(None));
        assert_eq!(one.reported(3), [0]);
    }

    #[cfg(feature = "stats")]
    #[test]
    fn a_poll_probes_a_registration_once() {
        let mut two = Streams::new(2, Owner::RawFd, 8);
        let counters = |two: &Streams| two.queue.rearm_counters().map(|all| all.probes.get());
        let probes = |two: &Streams| counters(two).unwrap();
        two.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(two.reported(1), [0]);
        assert_eq!(probes(&two), 0);
        two.pairs[1].1.write_all(b"x").unwrap();
        assert_eq!(two.reported(1), [0, 1]);
        assert_eq!(probes(&two), 1);
    }

    /// Then the armed set comes first, and the probes come after it.
    #[test]
    fn a_poll_after_one_whose_probes_filled_the_buffer_probes_as_well() {
        let mut three = Streams::new(3, Owner::RawFd, 2);
        for pair in &mut three.pairs[..2] {
            pair.1.write_all(b"x").unwrap();
        }
        assert_eq!(three.reported(1), [0, 1]);
        assert_eq!(three.reported(1), [0, 1], "by probes");
        three.drain(0);
        three.pairs[2].1.write_all(b"x").unwrap();
        thread::sleep(Duration::from_millis(20)); // longer than the pause
        assert_eq!(three.reported(1), [2, 1]);
    }

    #[test]
    fn each_probed_registration_has_its_turn_in_a_small_buffer() {
        let mut three = Streams::new(3, Owner::RawFd, 8);
        for pair in &mut three.pairs {
            pair.1.write_all(b"x").unwrap();
        }
        assert_eq!(three.reported(1), [0, 1, 2]);
        three.events = EventBuffer::with_capacity(1);
        let mut reported = Vec::new();
        for _ in 0..6 {
            three.queue.select(&mut three.events, PATIENCE).unwrap();
            let tokens = three.events.events().iter().map(|event| event.token().0);
            reported.extend(tokens);
            assert_eq!(three.events.events().len(), 1);
            thread::sleep(Duration::from_millis(70)); // longer than any pause
        }
        assert_eq!(reported, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn each_level_has_its_turn_in_a_small_buffer() {
        let mut two = Streams::new(2, Owner::Source, 1);
        for (n, pair) in two.pairs.iter_mut().enumerate() {
            let (fd, level) = (pair.0.as_raw_fd(), Interest::READABLE.level());
            let key = two.keys[n];
            two.queue.reregister(fd, key, Token(n), level).unwrap();
            pair.1.write_all(b"x").unwrap();
        }
        assert_eq!(two.reported(4), [0, 1, 0, 1]);
    }

    /// A level-triggered registration stays armed.
    #[test]
    fn many_polls_of_a_level_need_no_more_memory() {
        let mut one = Streams::new(1, Owner::Source, 8);
        let (fd, level) = (one.pairs[0].0.as_raw_fd(), Interest::READABLE.level());
        one.queue
            .reregister(fd, one.keys[0], Token(0), level)
            .unwrap();
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(100), [0; 100]);
        let table = &one.queue.registrations.lock().table;
        assert!(table.level.is_empty() && table.repeated.is_empty());
    }

    /// The condition may have gone.
    #[cfg(feature = "stats")]
    #[test]
    fn an_operation_that_would_block_is_probed_only_while_something_is_latched() {
        let would_block = Outcome::WouldBlock(Some(Interest::READABLE));
        let mut one = Streams::new(1, Owner::Source, 8);
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(1), [0]);
        one.drain(0);
        one.queue.after_io(one.keys[0], would_block);
        assert_eq!(one.queue.counters.probes.get(), 0);
        let mut state = one.queue.registrations.lock();
        let edges = &mut state.table.entry_mut(0).edges;
        edges.fired_and_lasting(Readiness::HUP, Readiness::HUP);
        drop(state);
        one.queue.after_io(one.keys[0], would_block);
        assert_eq!(one.queue.counters.probes.get(), 1);
    }

    /// The error alone may have made it ready, so that nothing else would report it again.
    #[cfg(feature = "stats")]
    #[test]
    fn an_error_that_was_found_is_probed_if_a_direction_has_fired() {
        let mut one = Streams::new(1, Owner::Source, 8);
        let probes = |one: &Streams| one.queue.counters.probes.get();
        let (none, found) = (
            Outcome::ErrorTaken { found: false },
            Outcome::ErrorTaken { found: true },
        );
        one.queue.after_io(one.keys[0], found);
        assert_eq!(probes(&one), 0, "it is armed");
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(1), [0]);
        one.drain(0);
        one.queue.after_io(one.keys[0], none);
        assert_eq!(probes(&one), 0, "there was no error");
        one.queue.after_io(one.keys[0], found);
        assert_eq!(probes(&one), 1);
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(1), [0]);
    }

    /// The polling thread has to learn when to probe.
    #[cfg(feature = "stats")]
    #[test]
    fn a_wait_is_interrupted_when_a_pause_begins() {
        let mut one = Streams::new(1, Owner::Source, 8);
        one.pairs[0].1.write_all(b"x").unwrap();
        assert_eq!(one.reported(1), [0]);
        // Its direction is not known, and it is still ready.
        let would_block = Outcome::WouldBlock(None);
        for _ in 0..3 {
            one.queue.registrations.lock().waiting.begin();
            one.queue.after_io(one.keys[0], would_block);
            one.queue.registrations.lock().waiting.end();
            assert_eq!(one.queue.counters.interrupts.get(), 1);
        }
    }
}
