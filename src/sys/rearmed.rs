//! A backend whose kernel does not report edges: [`Rearmed`] makes them, over the few calls that a
//! [`Kernel`] has to have. The registrations stand in a [table](super::table); `rearm.rs` has the
//! states of one.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use libc::c_short;

use super::poll_bits::from_poll;
use super::selector::{EventBuffer, Key, Outcome, Owner, Selector, UserEvent};
use super::table::{Registrations, State};
use super::wake_fd::UnreadSignals;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

/// What is armed is the kernel's part; everything is called under the lock of the registrations,
/// unless said otherwise.
pub(super) trait Kernel: Sized {
    /// The armed set, where the kernel does not keep it.
    type Armed;

    /// Whether the armed set can be changed while a thread waits. What the kernel then says of a slot
    /// may be of a registration that has ended.
    const TAKES_CHANGES: bool;

    fn open(unread: &Arc<UnreadSignals>) -> io::Result<(Self, Self::Armed)>;

    /// Arms what the registration in this slot wants, or nothing where there is none.
    fn arm(&self, state: &mut State<Self::Armed>, slot: usize) -> io::Result<()>;

    /// A descriptor is not registered any more. An error is the queue's.
    fn disarm(&self, _fd: RawFd) -> io::Result<()> {
        Ok(())
    }

    /// Waits once, without the lock, and passes what the kernel says to [`Rearmed::ready`]. Returns
    /// whether it said anything.
    fn wait<'a>(
        backend: &'a Rearmed<Self>,
        state: MutexGuard<'a, State<Self::Armed>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<Self::Armed>>, io::Result<bool>);

    /// Ends the wait of another thread, or makes the next one a short one. It need not keep the lock.
    fn interrupt(
        backend: &Rearmed<Self>,
        state: MutexGuard<'_, State<Self::Armed>>,
    ) -> io::Result<()>;

    fn as_fd(&self) -> BorrowedFd<'_>;

    /// As a `Selector`'s, like the next two. Called without the lock.
    fn open_user_event(_: &Rearmed<Self>, _token: Token) -> io::Result<Option<UserEvent>> {
        Ok(None)
    }

    fn trigger(_: &Rearmed<Self>, _event: UserEvent) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn close_user_event(_: &Rearmed<Self>, _event: UserEvent) {}
}

#[derive(Debug)]
pub(crate) struct Rearmed<K: Kernel> {
    pub(super) kernel: K,
    pub(super) registrations: Registrations<K::Armed>,
    /// Of wakers that have a descriptor each, and of what the kernel part has.
    pub(super) unread: Arc<UnreadSignals>,
}

/// When a `select` is over. Time spent on interruptions counts.
struct Deadline {
    /// `None`: never, or at once.
    at: Option<Instant>,
    is_at_once: bool,
}

impl Deadline {
    fn of(timeout: Option<Duration>) -> Deadline {
        Deadline {
            // A deadline that lies beyond the clock is none.
            at: timeout
                .filter(|timeout| !timeout.is_zero())
                .and_then(|timeout| Instant::now().checked_add(timeout)),
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

    /// Whether one that is waited for has passed. A kernel whose wall clock is set may say so too early.
    fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }
}

impl<K: Kernel> Selector for Rearmed<K> {
    fn open() -> io::Result<Rearmed<K>> {
        let unread = Arc::new(UnreadSignals::default());
        let (kernel, armed) = K::open(&unread)?;
        Ok(Rearmed {
            kernel,
            registrations: Registrations::new(armed),
            unread,
        })
    }

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
            // Where probes alone filled the last buffer, the kernel's own come first.
            let probes = !std::mem::take(&mut state.table.probes_filled_buffer);
            let next_probe = match probes {
                true if state.table.has_probed() => self.probe_what_is_due(&mut state, events),
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
                true => left.into_iter().chain(next_probe).min(),
                // Collected already: others that are ready come along, and nothing is waited for.
                false => Some(Duration::ZERO),
            };
            let waited;
            (state, waited) = K::wait(self, state, wait, events);
            state.table.end_wait();
            if std::mem::take(&mut state.table.lost_own_descriptor) {
                let error = io::Error::from_raw_os_error(libc::EBADF);
                return with_events_first(error, events);
            }
            let said_something = match waited {
                Ok(said_something) => said_something,
                Err(error) => return with_events_first(error, events),
            };
            if !probes && !events.events().is_empty() && !events.is_full() {
                // What only a probe sees is for this poll, too.
                if let Err(error) = self.probe_what_is_due(&mut state, events) {
                    return with_events_first(error, events);
                }
            }
            // A wait that began at the deadline is the last one, whatever the kernel says.
            let was_last = left == Some(Duration::ZERO);
            let is_over = probes && (was_last || (deadline.has_passed() && !said_something));
            if is_over || !events.events().is_empty() {
                return Ok(());
            }
            // It was interrupted, or it is time for a probe.
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
        let mut state = self.registrations.lock();
        let slot = state.table.slot_for(fd)?;
        let key = state.table.begin(slot, token, interest, owner);
        self.change(state, slot, Change::Begun)?;
        Ok(key)
    }

    fn reregister(&self, fd: RawFd, key: Key, token: Token, interest: Interest) -> io::Result<Key> {
        let mut state = self.registrations.lock();
        let slot = state.table.slot(fd, key)?;
        let key = match key {
            Key::NONE => state.table.adopt(slot),
            key => key,
        };
        state.table.begin_again(slot, token, interest);
        self.change(state, slot, Change::BegunAgain)?;
        Ok(key)
    }

    fn reregister_raw(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let mut state = self.registrations.lock();
        let slot = state.table.slot(fd, Key::NONE)?;
        state.table.begin_again(slot, token, interest);
        self.change(state, slot, Change::BegunAgain)
    }

    fn deregister(&self, fd: RawFd, key: Key) -> io::Result<()> {
        let mut state = self.registrations.lock();
        let slot = match state.table.slot(fd, key) {
            Ok(slot) => slot,
            Err(error) => {
                state.table.give_back(key);
                return Err(error);
            }
        };
        let waits = K::TAKES_CHANGES && state.waiting.is_waiting();
        let fd = state.table.remove(slot, key, waits);
        let disarmed = self.kernel.disarm(fd);
        self.change(state, slot, Change::Ended)?;
        disarmed
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        let mut state = self.registrations.lock();
        let Ok(slot) = state.table.slot(-1, key) else {
            return; // deregistered by its descriptor
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

    fn forget(&self, key: Key) {
        if !self.registrations.is_inherited() {
            // It may have been deregistered by its descriptor.
            let _ = self.deregister(-1, key);
        }
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

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

/// Collected events are returned before an error.
fn with_events_first(error: io::Error, events: &EventBuffer) -> io::Result<()> {
    match events.events().is_empty() {
        true => Err(error),
        false => Ok(()),
    }
}

/// What has changed in a slot.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Change {
    /// The registration is a new one, which ends again if there is an error. It is returned.
    Begun,
    /// There is none any more.
    Ended,
    /// The registration has another token and another interest, of the same source. An error is
    /// returned.
    BegunAgain,
    /// Its state, by the program's I/O; probes are needed, or needed earlier, where it `begins`. An
    /// error is reported by the next `select`.
    ByIo { begins: bool },
}

impl<K: Kernel> Rearmed<K> {
    /// All but an operation that would have blocked in a known direction, while nothing is latched.
    #[inline(never)]
    fn after_other_io(
        &self,
        mut state: MutexGuard<'_, State<K::Armed>>,
        slot: usize,
        outcome: Outcome,
    ) {
        let edges = &mut state.table.entry_mut(slot).edges;
        let (wanted, was_probed) = (edges.wanted(), edges.is_probed());
        let mut needs_probe = edges.is_latched();
        match outcome {
            Outcome::WouldBlock(Some(direction)) => {
                edges.would_block(direction);
            }
            Outcome::WouldBlock(None) => needs_probe = !edges.is_armed_for_all(),
            Outcome::Failed(_) | Outcome::ShortPeek => edges.may_have_drained(),
            Outcome::ErrorTaken => edges.may_have_taken_error(),
        }
        if needs_probe {
            let now = state.table.tick();
            let is_unknown = outcome == Outcome::WouldBlock(None);
            state.table.entry_mut(slot).probe_after_io(is_unknown, now);
        }
        let edges = &state.table.entry(slot).edges;
        let begins = edges.is_probed() && (!was_probed || edges.is_due_at_once());
        if edges.wanted() != wanted || begins {
            let _ = self.change(state, slot, Change::ByIo { begins });
        }
    }

    /// Puts into effect what has changed in a slot.
    #[inline]
    fn change(
        &self,
        mut state: MutexGuard<'_, State<K::Armed>>,
        slot: usize,
        change: Change,
    ) -> io::Result<()> {
        let is_waiting = state.waiting.is_waiting();
        let mut armed = Ok(());
        if K::TAKES_CHANGES || !is_waiting {
            armed = self.update(&mut state, slot);
            if armed.is_err() {
                match change {
                    Change::ByIo { .. } => state.table.report_later(slot),
                    Change::Begun => {
                        let key = Key::of_slot(slot as u32);
                        let fd = state.table.remove(slot, key, is_waiting);
                        let _ = self.kernel.disarm(fd);
                    }
                    // A later `select` leaves it alone.
                    Change::BegunAgain | Change::Ended => {}
                }
            }
        }
        if is_waiting {
            let is_replaced = matches!(change, Change::Begun | Change::Ended);
            state.table.mark_changed(slot, is_replaced);
            // The polling thread has to learn what the kernel does not know, and when to probe.
            let begins = change == Change::ByIo { begins: true };
            let concerns_it = !K::TAKES_CHANGES || begins || armed.is_err();
            if concerns_it && state.waiting.interrupt() {
                let fd = state.table.entry(slot).fd;
                if let Err(error) = K::interrupt(self, state) {
                    let change = match armed {
                        // A registration that has begun has ended again.
                        Err(_) => Change::Ended,
                        Ok(()) => change,
                    };
                    let heard = self.not_interrupted(slot, fd, change, error);
                    return armed.and(heard);
                }
            }
        }
        armed
    }

    /// The polling thread does not learn what has changed: the next one to change something tries
    /// again. A registration that has just begun ends with the error. One that has ended is not
    /// reported any more, so that this is no error.
    #[cold]
    fn not_interrupted(
        &self,
        slot: usize,
        fd: RawFd,
        change: Change,
        error: io::Error,
    ) -> io::Result<()> {
        let mut state = self.registrations.lock();
        state.waiting.not_interrupted();
        match change {
            Change::Ended => return Ok(()),
            Change::BegunAgain | Change::ByIo { .. } => {}
            Change::Begun => {
                let key = Key::of_slot(slot as u32);
                let entry = state.table.entry(slot);
                if entry.fd == fd {
                    let is_awaited = K::TAKES_CHANGES && state.waiting.is_waiting();
                    let fd = state.table.remove(slot, key, is_awaited);
                    let _ = self.kernel.disarm(fd);
                    let _ = self.change(state, slot, Change::Ended);
                } else if entry.fd < 0 && entry.owner != Owner::Nobody {
                    // Another thread has deregistered it by its descriptor.
                    state.table.give_back(key);
                }
            }
        }
        Err(error)
    }

    /// Arms what the registration in a slot wants.
    #[inline]
    fn update(&self, state: &mut State<K::Armed>, slot: usize) -> io::Result<()> {
        state.table.list_if_probed(slot);
        let armed = self.kernel.arm(state, slot);
        if armed.is_err() {
            state.table.entry_mut(slot).is_dead = true;
        }
        armed
    }

    /// As `update`, but a failure is reported by the next `select`.
    #[inline]
    pub(super) fn rearm(&self, state: &mut State<K::Armed>, slot: usize) {
        if self.update(state, slot).is_err() {
            state.table.report_later(slot);
        }
    }

    /// Probes what is due. Returns how long it is until something else is.
    #[inline(never)]
    fn probe_what_is_due(
        &self,
        state: &mut State<K::Armed>,
        events: &mut EventBuffer,
    ) -> io::Result<Option<Duration>> {
        let now = state.table.tick();
        let count = state.table.poll_what_is_due(now)?;
        let start = state.table.next_probed.min(count);
        for index in (start..count).chain(0..start) {
            let table = &mut state.table;
            let (slot, revents) = table.probe_result(index);
            if events.is_full() || table.entry(slot).reported_by == table.select {
                self.keep_for_next_poll(state, slot, revents);
                continue;
            }
            if revents & libc::POLLNVAL != 0 {
                let entry = table.entry_mut(slot);
                events.push(Event::new(entry.token, entry.die()));
                self.rearm(state, slot);
                continue;
            }
            let entry = table.entry_mut(slot);
            let (wanted, ready) = (entry.edges.wanted(), from_poll(revents));
            let error_may_be_new =
                entry.edges.has_latched_error() && ready.intersects(Readiness::ERR);
            if error_may_be_new {
                // One that asking takes away is another one than the one before.
                entry.keep_what_asking_took_away(ready);
            }
            if let Some(report) = entry.edges.probed(ready, now) {
                events.push(Event::new(entry.token, report));
                table.next_probed = index + 1;
                // One registration has one event from one poll.
                table.mark_reported(slot);
            } else if !error_may_be_new {
                entry.keep_what_asking_took_away(ready);
            }
            if table.entry(slot).edges.wanted() != wanted {
                self.rearm(state, slot);
            }
        }
        // Arming may have failed.
        state.table.report_dead(events);
        Ok(state.table.next_probe(now))
    }

    /// The kernel says that a slot is ready, which is not reported now: it stays armed, or due, so that
    /// nothing is to be done unless asking has taken something away.
    #[cold]
    pub(super) fn keep_for_next_poll(
        &self,
        state: &mut State<K::Armed>,
        slot: usize,
        revents: c_short,
    ) {
        let entry = state.table.entry_mut(slot);
        entry.keep_what_asking_took_away(from_poll(revents));
        state.table.list_if_probed(slot);
    }

    /// The kernel says that a slot is ready: makes an event of it, and arms what is wanted now.
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
            // Before the pending wake-ups are cleared, which is when a wake would
            // signal again.
            let is_own = revents & libc::POLLNVAL == 0 && self.unread.read(entry.fd);
            state.table.lost_own_descriptor |= !is_own;
            match is_own {
                true => Readiness::IN,
                false => Readiness::NONE,
            }
        } else if revents & libc::POLLNVAL != 0 {
            entry.die()
        } else {
            let (ready, lasting) = entry.all_of(revents, K::TAKES_CHANGES);
            let pending = entry.edges.take_pending();
            entry.edges.fired_of_which(ready.or(pending), lasting)
        };
        let entry = state.table.entry_mut(slot);
        let event = (report != Readiness::NONE).then(|| Event::new(entry.token, report));
        if event.is_some() {
            entry.reported_by = select;
        }
        self.rearm(state, slot);
        event
    }

    /// The kernel says that a slot is ready which this `select` has reported: that is for the next one,
    /// and it stays armed.
    #[cold]
    fn ready_again(&self, state: &mut State<K::Armed>, slot: usize, revents: c_short) {
        match K::TAKES_CHANGES {
            // Armed now, it would be said again by the same wait.
            true => state.table.repeated.push(slot as u32),
            false => {
                self.keep_for_next_poll(state, slot, revents);
                self.rearm(state, slot);
            }
        }
    }
}
