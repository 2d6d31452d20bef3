//! Makes edges of levels, for kernels that report levels (poll(2)) or one-shot readiness that has to be
//! armed again (event ports, AFD).
//!
//! [`Edges`] is the state of one registration. It has four directions: reading, writing, priority
//! data, and errors with hang-ups, which no kernel can mask. Each direction is in one state:
//!
//! ```text
//! Armed       the kernel watches it
//! Fired       it was reported; its IoSource will report WouldBlock
//! Backed off  it was reported, and may have been drained since; a probe, which is a poll(2) with
//!             timeout zero, finds out
//!
//! from         on                                                    to
//! Armed        ready, of an IoSource                                 Fired, reported
//! Armed        ready, of a raw descriptor; priority data             Backed off, reported
//! Fired        WouldBlock in this direction, or a short transfer     Armed
//! Fired        a failure, or a short peek                            Backed off, probed by the next poll
//! Fired        WouldBlock in an unknown direction, still ready       Backed off, its pause begins
//! Backed off   a probe finds it ready, no pause runs                 Backed off, reported, its pause begins
//! Backed off   a probe finds it ready, a pause runs                  Backed off
//! Backed off   a probe finds it not ready; WouldBlock in it          Armed, its pause is reset
//! any          the kernel cannot arm it                              Backed off, its longest pause begins
//! ```
//!
//! Pauses are 0, then 1, 2, 4 … 64 ms. They delay repeated reports, and nothing else. **A failure never
//! ends a pause**. So whatever a program does at each event, it gets at most 30 events in a second from an
//! idle source. Directions that one event names together continue with the shortest of their pauses.
//!
//! **Errors and hang-ups** are *latched* after they were reported, for as long as they last. The kernel
//! would report them for ever, so the descriptor leaves the armed set and is probed, with pauses of up to
//! 64 ms, or of up to one second if both halves of a connection have hung up. A probe reports what is
//! new: an error, an end, a direction. A latched hang-up is not reported again. A latched error is
//! reported again, with back-off, after an operation that may have picked it up, and on raw descriptors.
//! While anything is latched, a probe follows at once each operation that does not succeed, and unlatches
//! the conditions that have gone. When a hang-up ends, the descriptor has a new connection, and all
//! directions are armed.
//!
//! **The end of a peer's data** (RDHUP) is new behind data that was reported and not read. Until the end
//! was reported, the kernel watches for it alone.
//!
//! An event of a probe, an error or a hang-up names everything that is ready, including fired directions.
//!
//! No event is lost: the kernel watches an armed direction, or probes cover it; probes cover a backed-off
//! direction; and a fired direction is ready as far as the program knows, and its I/O passes through the
//! source.

// On AFD, raw descriptors do not exist, what is latched is not probed, and no probe consumes readiness.
#![cfg_attr(windows, allow(dead_code))]

use std::time::{Duration, Instant};

use crate::event::readiness::Readiness;
use crate::Interest;

const ERR: Readiness = Readiness::ERR;
const HUP: Readiness = Readiness::HUP;
const RDHUP: Readiness = Readiness::RDHUP;

/// The bits that the kernel reports whether or not they are armed.
const UNMASKED: Readiness = ERR.or(HUP);

/// The directions of I/O: the bits by which each is armed and reported. The end of a peer's data belongs
/// to reading.
const DIRECTIONS: [Readiness; 3] = [Readiness::IN.or(RDHUP), Readiness::OUT, Readiness::PRI];
const READING: usize = 0;
const WRITING: usize = 1;
const PRIORITY: usize = 2;
/// The fourth direction: errors and hang-ups.
const LATCHED: usize = 3;

/// The number of directions.
const ALL: usize = 4;

/// The step of the longest pause: 64 ms, or about a second if both halves of a connection have hung up.
const LONGEST_STEP: u8 = 7;
const LONGEST_STEP_HUNG_UP: u8 = 11;

/// Milliseconds since the queue was opened. They wrap around, so only distances are meaningful.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    /// A longer distance means that the tick is in the past.
    const MAX_DISTANCE: u32 = 1 << 11;

    #[inline]
    pub(super) fn since(start: Instant, now: Instant) -> Tick {
        Tick(now.saturating_duration_since(start).as_millis() as u32)
    }

    /// The time from `now` until this tick, or zero if it has passed.
    #[inline]
    pub(super) fn after(self, now: Tick) -> Duration {
        Duration::from_millis(self.distance(now).into())
    }

    #[inline]
    fn distance(self, now: Tick) -> u32 {
        match self.0.wrapping_sub(now.0) {
            distance @ 0..=Tick::MAX_DISTANCE => distance,
            _ => 0,
        }
    }

    /// This tick, or another one if it is earlier as seen from `now`.
    #[inline]
    pub(super) fn earlier(self, other: Option<Tick>, now: Tick) -> Tick {
        match other {
            Some(other) if other.distance(now) <= self.distance(now) => other,
            _ => self,
        }
    }
}

/// The pauses of all directions.
#[derive(Copy, Clone, Debug)]
struct Pauses {
    until: [Tick; ALL],
    /// The step of the next pause: 0 for none, and step n for 2^(n-1) milliseconds.
    next: [u8; ALL],
}

impl Pauses {
    const RESET: Pauses = Pauses {
        until: [Tick(0); ALL],
        next: [0; ALL],
    };

    #[inline]
    fn reset(&mut self, direction: usize) {
        self.next[direction] = 0;
    }

    #[inline]
    fn is_over(&self, direction: usize, now: Tick) -> bool {
        self.next[direction] == 0 || self.until[direction].distance(now) == 0
    }

    /// Begins the pause of `step`, from 1 on, after which the next one is longer. Never inlined: loops over
    /// the directions are unrolled.
    #[inline(never)]
    fn begin(&mut self, direction: usize, step: u8, longest: u8, now: Tick) {
        let step = step.min(longest);
        // One more: `now` may be at the end of its millisecond.
        let length = (1 << (step - 1)) + 1;
        self.until[direction] = Tick(now.0.wrapping_add(length));
        self.next[direction] = step + 1;
    }
}

/// Whether a registration's owner reports that it has drained a direction.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// The owner is an `IoSource`, which reports `WouldBlock`.
    Reported,
    /// The owner is a raw descriptor: nothing reports its I/O.
    Unreported,
}

/// How a registration is reported.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Mode {
    Edge,
    /// Nothing ever fires: the kernel watches every direction of the interest at each wait.
    Level,
    OneShot,
    /// One-shot, and reported: nothing is watched, nothing backs off and nothing is latched.
    Spent,
}

impl Mode {
    #[inline]
    fn of(interest: Interest) -> Mode {
        // By the bits of the modes: without a branch.
        const MODES: [Mode; 8] = {
            let mut modes = [Mode::Edge; 8];
            let mut mode = 0;
            while mode < modes.len() {
                let interest = Interest::READABLE.with_mode(mode as u8);
                modes[mode] = match (interest.is_oneshot(), interest.is_level()) {
                    (false, false) => Mode::Edge,
                    (false, true) => Mode::Level,
                    (true, _) => Mode::OneShot,
                };
                mode += 1;
            }
            modes
        };
        MODES[usize::from(interest.mode())]
    }
}

/// The state of one registration, described at the top of this file.
#[derive(Copy, Clone, Debug)]
pub(super) struct Edges {
    /// The directions of the interest.
    interest: Readiness,
    armed: Readiness,
    backed_off: Readiness,
    /// The error or hang-up that was reported and lasts, and the peer's end if it came with it.
    latched: Readiness,
    /// Readiness that a probe consumed by seeing it. The next poll reports it.
    pending: Readiness,
    pauses: Pauses,
    drained: Drained,
    mode: Mode,
    /// The latched error is to be reported again.
    error_backed_off: bool,
    /// The end of the peer's data was reported.
    end_reported: bool,
    /// The next poll probes, even during a pause.
    probe_at_once: bool,
}

impl Edges {
    /// A state without an interest.
    pub(super) fn new() -> Edges {
        Edges {
            interest: Readiness::NONE,
            armed: Readiness::NONE,
            backed_off: Readiness::NONE,
            latched: Readiness::NONE,
            pending: Readiness::NONE,
            pauses: Pauses::RESET,
            drained: Drained::Reported,
            mode: Mode::Edge,
            error_backed_off: false,
            end_reported: false,
            probe_at_once: false,
        }
    }

    /// Begins or replaces a registration: every direction of the interest is armed.
    #[inline]
    pub(super) fn begin(&mut self, interest: Interest, drained: Drained) {
        self.interest = bits_of(interest);
        self.armed = self.interest;
        self.backed_off = Readiness::NONE;
        self.latched = Readiness::NONE;
        self.pending = Readiness::NONE;
        self.drained = drained;
        self.mode = Mode::of(interest);
        self.error_backed_off = false;
        self.end_reported = false;
        self.probe_at_once = false;
    }

    /// Its part of the armed set: the bits that the kernel watches during a wait. `None` takes the
    /// descriptor out of the set, so that the kernel does not even report errors.
    #[inline]
    pub(super) fn armed_set(&self) -> Option<Readiness> {
        if self.latched != Readiness::NONE || self.mode == Mode::Spent {
            None
        } else if self.waits_for_end() {
            Some(self.armed.or(RDHUP))
        } else {
            Some(self.armed)
        }
    }

    #[inline]
    fn waits_for_end(&self) -> bool {
        let reads = self.interest.without(self.armed).intersects(Readiness::IN);
        reads && !self.end_reported
    }

    /// The bits that a probe polls for, and that are reported with an error or a hang-up.
    #[inline]
    pub(super) fn interest(&self) -> Readiness {
        self.interest
    }

    /// The interest of the program, for `Debug`: a one-shot registration that was reported has its mode
    /// only.
    pub(super) fn interests(&self) -> Option<Interest> {
        let is_for = |direction: usize| self.interest.intersects(DIRECTIONS[direction]);
        Interest::with(
            [is_for(READING), is_for(WRITING), is_for(PRIORITY)],
            self.mode == Mode::Level,
            matches!(self.mode, Mode::OneShot | Mode::Spent),
        )
    }

    /// The kernel has reported an armed direction, an error or a hang-up. Returns what to report to the
    /// program.
    #[cfg(any(windows, all(test, not(mio_loom))))]
    pub(super) fn fired(&mut self, ready: Readiness) -> Readiness {
        self.fired_and_lasting(ready, ready)
    }

    /// The kernel has reported an armed direction, an error or a hang-up, of which `lasting` still lasts.
    /// Returns what to report to the program.
    #[inline]
    pub(super) fn fired_and_lasting(&mut self, ready: Readiness, lasting: Readiness) -> Readiness {
        // The end may have been armed alone, but it makes the source readable.
        let ready = match ready.intersects(RDHUP) {
            true => ready.or(Readiness::IN),
            false => ready,
        };
        let report = ready.and(self.interest.or(UNMASKED));
        match self.mode {
            Mode::Edge if lasting.intersects(UNMASKED) => self.latch(lasting),
            _ => {}
        }
        self.reported(report);
        report
    }

    /// Whether the kernel has to watch the same directions again at the next wait, although they may be
    /// ready.
    #[inline]
    pub(super) fn is_level(&self) -> bool {
        self.mode == Mode::Level
    }

    /// Whether its event has to name everything that is ready, because there is no other one.
    #[inline]
    pub(super) fn is_oneshot(&self) -> bool {
        self.mode == Mode::OneShot
    }

    /// The one event was reported.
    #[cold]
    fn spend(&mut self) {
        self.interest = Readiness::NONE;
        self.armed = Readiness::NONE;
        self.backed_off = Readiness::NONE;
        self.latched = Readiness::NONE;
        self.pending = Readiness::NONE;
        self.error_backed_off = false;
        self.probe_at_once = false;
        self.mode = Mode::Spent;
    }

    #[inline]
    fn latch(&mut self, ready: Readiness) {
        self.latched = ready.and(UNMASKED.or(RDHUP));
        self.pauses.reset(LATCHED);
        self.error_backed_off = self.drained == Drained::Unreported;
        self.probe_at_once = true;
    }

    /// An event names these bits: their armed directions fire, or back off.
    #[inline]
    fn reported(&mut self, report: Readiness) {
        match self.mode {
            Mode::Edge => {}
            Mode::OneShot if report != Readiness::NONE => return self.spend(),
            _ => return,
        }
        self.end_reported |= report.intersects(RDHUP);
        let fired = self.armed.and(whole(report));
        self.armed = self.armed.without(fired);
        let backs_off = match self.drained {
            Drained::Reported => fired.and(DIRECTIONS[PRIORITY]),
            Drained::Unreported => fired,
        };
        if backs_off != Readiness::NONE {
            self.back_off(backs_off);
        }
    }

    /// Backs off directions that were armed or had fired.
    #[inline(never)]
    fn back_off(&mut self, directions: Readiness) {
        for (index, &bits) in DIRECTIONS.iter().enumerate() {
            if directions.intersects(bits) {
                self.pauses.reset(index);
            }
        }
        self.backed_off = self.backed_off.or(directions);
        self.probe_at_once = true;
    }

    /// The directions that fired and did not back off.
    #[inline]
    fn fired_directions(&self) -> Readiness {
        self.interest.without(self.armed).without(self.backed_off)
    }

    /// The time of the next probe, if the registration is probed.
    pub(super) fn next_probe(&self, now: Tick) -> Option<Tick> {
        if !self.is_probed() {
            return None;
        }
        if self.probe_at_once || self.pending != Readiness::NONE {
            return Some(now);
        }
        let mut first = None;
        for index in 0..ALL {
            let is_backed_off = match DIRECTIONS.get(index) {
                Some(&bits) => self.backed_off.intersects(bits),
                None => self.latched != Readiness::NONE,
            };
            if is_backed_off {
                let end = match self.pauses.is_over(index, now) {
                    true => now,
                    false => self.pauses.until[index],
                };
                first = Some(end.earlier(first, now));
            }
        }
        first
    }

    /// Whether the registration is probed.
    #[inline]
    pub(super) fn is_probed(&self) -> bool {
        self.backed_off.or(self.latched).or(self.pending) != Readiness::NONE
    }

    /// A poll's probe has found it ready for these bits. Returns what to report, if anything.
    pub(super) fn probed(&mut self, ready: Readiness, now: Tick) -> Option<Readiness> {
        self.probe_at_once = false;
        let pending = self.take_pending();
        let seen = ready.or(pending);
        let hang_up_ended = self.unlatch_gone(ready);
        // The bits that make an event due. The event then names everything that is ready.
        let mut due = pending.or(ready.and(UNMASKED).without(self.latched));
        if ready.intersects(RDHUP) && !self.end_reported {
            due = due.or(RDHUP.and(self.interest));
        }
        let seen_directions = whole(seen).and(self.interest);
        self.arm(self.interest.without(seen_directions));
        for (index, &bits) in DIRECTIONS.iter().enumerate() {
            if self.backed_off.intersects(bits) && self.pauses.is_over(index, now) {
                due = due.or(bits);
            }
        }
        due = due.or(match hang_up_ended {
            true => seen_directions.without(self.backed_off),
            false => seen_directions.and(self.armed),
        });
        if self.error_backed_off && ready.intersects(ERR) && self.pauses.is_over(LATCHED, now) {
            due = due.or(ERR);
        }

        if due == Readiness::NONE {
            if self.latched != Readiness::NONE && self.pauses.is_over(LATCHED, now) {
                self.pause_latched(now);
            }
            return None;
        }
        let report = seen.and(self.interest.or(UNMASKED));
        if self.mode == Mode::Edge && ready.and(UNMASKED).without(self.latched) != Readiness::NONE {
            self.latch(ready);
        }
        self.pause(report, now);
        self.reported(report);
        // If the program drains it before the next poll, that poll arms it, even during a pause.
        self.probe_at_once = self.is_probed();
        Some(report)
    }

    /// Begins the next pause of each direction in a report: all continue with the shortest.
    #[inline(never)]
    fn pause(&mut self, report: Readiness, now: Tick) {
        let mut is_named = [false; ALL];
        let mut step = LONGEST_STEP;
        for (index, is_named) in is_named.iter_mut().enumerate() {
            *is_named = match DIRECTIONS.get(index) {
                // It is ready, or the probe would have armed it. So the report names it.
                Some(&bits) => self.backed_off.intersects(bits),
                None => self.error_backed_off && report.intersects(ERR),
            };
            if *is_named {
                // The first probe has reported it: later pauses are not zero.
                step = step.min(self.pauses.next[index].max(1));
            }
        }
        for (index, &is_named) in is_named.iter().enumerate() {
            if is_named {
                self.pauses.begin(index, step, LONGEST_STEP, now);
            }
        }
        if !is_named[LATCHED] {
            self.pause_latched(now);
        }
    }

    /// Begins the next pause of a latched condition, which is probed and not reported.
    #[inline(never)]
    fn pause_latched(&mut self, now: Tick) {
        if self.latched != Readiness::NONE {
            let longest = match self.latched.contains(HUP.or(RDHUP)) && !self.error_backed_off {
                true => LONGEST_STEP_HUNG_UP,
                false => LONGEST_STEP,
            };
            let step = self.pauses.next[LATCHED].max(1);
            self.pauses.begin(LATCHED, step, longest, now);
        }
    }

    #[inline]
    fn arm(&mut self, directions: Readiness) {
        let directions = directions.and(self.interest);
        self.armed = self.armed.or(directions);
        // The next back-off begins without a pause.
        self.backed_off = self.backed_off.without(directions);
        self.end_reported &= !directions.intersects(Readiness::IN);
    }

    /// Unlatches the conditions that have gone. Returns whether a hang-up has ended.
    #[inline(never)]
    fn unlatch_gone(&mut self, ready: Readiness) -> bool {
        let lasting = self.latched.and(ready);
        let hang_up_ended = self.latched.intersects(HUP) && !lasting.intersects(HUP);
        if !lasting.intersects(ERR) {
            self.error_backed_off = false;
        }
        self.latched = match lasting.intersects(UNMASKED) {
            true => lasting,
            false => {
                self.pauses.reset(LATCHED);
                Readiness::NONE
            }
        };
        if !ready.intersects(RDHUP) {
            self.end_reported = false;
        }
        hang_up_ended
    }

    /// An operation would have blocked in these directions, or a transfer came up short. Returns
    /// whether that has armed a direction.
    #[inline]
    pub(super) fn would_block(&mut self, direction: Interest) -> bool {
        let armed = self.armed;
        self.arm(bits_of(direction));
        self.armed != armed
    }

    /// The kernel could not arm it, for example for lack of memory. Probes take the kernel's place, with
    /// pauses, until one finds a direction that is not ready, which arms it again.
    #[cold]
    pub(super) fn not_armed(&mut self, now: Tick) {
        self.armed = Readiness::NONE;
        self.backed_off = self.interest;
        for direction in 0..DIRECTIONS.len() {
            self.pauses
                .begin(direction, LONGEST_STEP, LONGEST_STEP, now);
        }
    }

    /// An operation failed, or may for another reason have drained a direction that is not known.
    #[inline]
    pub(super) fn may_have_drained(&mut self) {
        let fired = self.fired_directions();
        if fired != Readiness::NONE {
            self.back_off(fired);
        }
        self.may_have_taken_error();
    }

    /// An operation may have taken the pending error.
    pub(super) fn may_have_taken_error(&mut self) {
        self.error_backed_off |= self.latched.intersects(ERR);
    }

    /// Whether the next poll has to probe it.
    #[inline]
    pub(super) fn is_due_at_once(&self) -> bool {
        self.probe_at_once || self.pending != Readiness::NONE
    }

    /// Whether a probe has to follow an operation that does not succeed.
    #[inline]
    pub(super) fn is_latched(&self) -> bool {
        self.latched != Readiness::NONE
    }

    #[inline]
    pub(super) fn has_latched_error(&self) -> bool {
        self.latched.intersects(ERR)
    }

    /// Whether every direction is armed, so that a probe could arm nothing.
    #[inline]
    pub(super) fn is_armed_for_all(&self) -> bool {
        self.armed == self.interest && self.latched == Readiness::NONE
    }

    /// A probe that follows an operation has found it ready for these bits. It reports nothing: it arms
    /// the directions that are not ready, and unlatches the conditions that have gone. With
    /// `unknown_direction`, the operation would have blocked in an unknown direction: a fired direction
    /// that is ready begins a pause.
    #[inline(never)]
    pub(super) fn probed_after_io(&mut self, ready: Readiness, unknown_direction: bool, now: Tick) {
        let hang_up_ended = self.unlatch_gone(ready);
        self.arm(match hang_up_ended {
            true => self.interest,
            false => self.interest.without(whole(ready)),
        });
        if unknown_direction {
            self.back_off_fired(now);
            self.error_backed_off |= self.latched.intersects(ERR);
        }
    }

    /// Backs off the fired directions, and begins their pauses.
    fn back_off_fired(&mut self, now: Tick) {
        let fired = self.fired_directions();
        for (index, &bits) in DIRECTIONS.iter().enumerate() {
            if fired.intersects(bits) {
                self.pauses.begin(index, 1, LONGEST_STEP, now);
            }
        }
        self.backed_off = self.backed_off.or(fired);
    }

    #[inline]
    pub(super) fn take_pending(&mut self) -> Readiness {
        std::mem::replace(&mut self.pending, Readiness::NONE)
    }

    /// Keeps readiness that the probe consumed by seeing it. The next poll reports it.
    #[inline]
    pub(super) fn keep_for_next_poll(&mut self, taken: Readiness) {
        if self.mode != Mode::Spent {
            let bits = self.interest.or(UNMASKED);
            self.pending = self.pending.or(taken.and(bits));
        }
    }

    /// For a backend that cannot probe while an operation of the program returns. The direction that would
    /// have blocked is not known, so the next poll probes all that may have been drained. A direction that
    /// is still ready begins a pause, and keeps one that runs.
    #[allow(dead_code)] // on a backend whose probe follows the operation
    pub(super) fn would_block_in_unknown_direction(&mut self, now: Tick) {
        self.back_off_fired(now);
        self.probe_at_once |= self.backed_off != Readiness::NONE;
    }

    /// For a backend that does not probe what is latched: unlatches everything, so that it is armed again.
    #[allow(dead_code)] // on a backend that probes it
    pub(super) fn unlatch(&mut self) {
        self.latched = Readiness::NONE;
        self.error_backed_off = false;
    }
}

/// All bits of the directions that have any bit in `bits`.
#[inline]
fn whole(bits: Readiness) -> Readiness {
    let others = bits.and(DIRECTIONS[WRITING].or(DIRECTIONS[PRIORITY]));
    match bits.intersects(DIRECTIONS[READING]) {
        true => others.or(DIRECTIONS[READING]),
        false => others,
    }
}

/// The bits of the directions of an interest.
#[inline]
fn bits_of(interest: Interest) -> Readiness {
    let bits_if = |is_named: bool, direction: usize| match is_named {
        true => DIRECTIONS[direction],
        false => Readiness::NONE,
    };
    bits_if(interest.is_readable(), READING)
        .or(bits_if(interest.is_writable(), WRITING))
        .or(bits_if(interest.is_priority(), PRIORITY))
}

/// Coordinates the polling thread with threads that change the armed set. All use it under
/// the lock of the registrations.
///
/// The armed set of a wait cannot change during the wait. So a change made meanwhile is
/// noted for later, and the polling thread is interrupted, once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    is_waiting: bool,
    is_interrupted: bool,
}

impl Waiting {
    /// To be called before the lock is released for a wait.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.is_waiting = true;
        self.is_interrupted = false;
    }

    /// To be called when the lock was taken again after the wait, to apply the noted changes.
    #[inline]
    pub(super) fn end(&mut self) {
        self.is_waiting = false;
    }

    /// Whether a thread waits, which sees no change unless it is interrupted.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Whether to signal the polling thread: true once in a wait. The signal may be sent after
    /// the lock was released: one that comes too late makes the next wait return at once.
    #[inline]
    pub(super) fn interrupt(&mut self) -> bool {
        !std::mem::replace(&mut self.is_interrupted, true)
    }

    /// The signal could not be sent: the next interruption sends it. A thread that relied on this one
    /// meanwhile does not learn of it.
    #[allow(dead_code)] // on a backend that returns a failed signal as the caller's error
    pub(super) fn not_interrupted(&mut self) {
        self.is_interrupted = false;
    }
}

/// One thread waits, and others change the armed set. The kernel's part is modelled. A missed change shows
/// as a deadlock.
#[cfg(all(test, mio_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    #[derive(Default)]
    struct Table {
        waiting: Waiting,
        /// Every source is ready.
        sources: usize,
        /// How many of the sources are in the armed set.
        armed_sources: usize,
    }

    struct Model {
        table: Mutex<Table>,
        /// Whether the interrupt's descriptor is readable.
        interrupt: Mutex<bool>,
        signalled: Condvar,
    }

    impl Model {
        fn add_source(&self) {
            let mut table = self.table.lock().unwrap();
            table.sources += 1;
            if !table.waiting.is_waiting() {
                table.armed_sources = table.sources;
            } else if table.waiting.interrupt() {
                drop(table);
                *self.interrupt.lock().unwrap() = true;
                self.signalled.notify_one();
            }
        }

        /// As `add_source`, but the signal fails.
        fn add_source_unheard(&self) {
            let mut table = self.table.lock().unwrap();
            table.sources += 1;
            if !table.waiting.is_waiting() {
                table.armed_sources = table.sources;
            } else if table.waiting.interrupt() {
                drop(table);
                self.table.lock().unwrap().waiting.not_interrupted();
            }
        }

        /// Waits once. Returns how many sources were ready.
        fn wait(&self) -> usize {
            let mut table = self.table.lock().unwrap();
            let armed_sources = table.armed_sources;
            table.waiting.begin();
            drop(table);

            let mut interrupt = self.interrupt.lock().unwrap();
            while armed_sources == 0 && !*interrupt {
                interrupt = self.signalled.wait(interrupt).unwrap();
            }
            drop(interrupt);

            let mut table = self.table.lock().unwrap();
            table.waiting.end();
            *self.interrupt.lock().unwrap() = false;
            table.armed_sources = table.sources;
            armed_sources
        }
    }

    /// Polls until two sources were ready, while other threads make changes.
    fn polls_until_both_are_seen(change: [fn(&Model); 2], threads: usize) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let model = Arc::new(Model {
                table: Mutex::default(),
                interrupt: Mutex::new(false),
                signalled: Condvar::new(),
            });
            let changing: Vec<_> = change
                .chunks(2 / threads)
                .map(|changes| {
                    let (model, changes) = (model.clone(), changes.to_vec());
                    thread::spawn(move || changes.iter().for_each(|change| change(&model)))
                })
                .collect();
            // The ready ones that it saw are taken out again.
            let mut seen = 0;
            while seen < 2 {
                let ready = model.wait();
                let mut table = model.table.lock().unwrap();
                seen += ready;
                table.sources -= ready;
                table.armed_sources = table.sources;
            }
            for thread in changing {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn loom_a_waiting_thread_is_interrupted_for_every_change() {
        polls_until_both_are_seen([Model::add_source; 2], 2);
    }

    #[test]
    fn loom_the_change_after_a_failed_interrupt_interrupts() {
        polls_until_both_are_seen([Model::add_source_unheard, Model::add_source], 1);
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    const IN: Readiness = Readiness::IN;
    const OUT: Readiness = Readiness::OUT;
    const PRI: Readiness = Readiness::PRI;
    const READ: Readiness = Readiness::IN.or(RDHUP);
    const READABLE: Interest = Interest::READABLE;
    const WRITABLE: Interest = Interest::WRITABLE;
    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

    fn typed(interest: Interest) -> Edges {
        edges(interest, Drained::Reported)
    }

    fn raw(interest: Interest) -> Edges {
        edges(interest, Drained::Unreported)
    }

    fn edges(interest: Interest, drained: Drained) -> Edges {
        let mut edges = Edges::new();
        edges.begin(interest, drained);
        edges
    }

    /// As by an interest that not every system has.
    fn with_priority(mut edges: Edges) -> Edges {
        edges.interest = edges.interest.or(PRI);
        edges.armed = edges.armed.or(PRI);
        edges
    }

    /// Probes as polls do in this many milliseconds, and counts the reports.
    fn reports(edges: &mut Edges, ready: Readiness, from: u32, millis: u32) -> usize {
        (from..from + millis)
            .filter(|&now| {
                let now = Tick(now);
                let is_due = edges.next_probe(now) == Some(now);
                is_due && edges.probed(ready, now).is_some()
            })
            .count()
    }

    #[test]
    fn a_direction_fires_once_until_it_would_block() {
        let mut edges = typed(BOTH);
        assert_eq!(edges.armed_set(), Some(READ.or(OUT)));
        assert_eq!(edges.fired(OUT), OUT);
        assert_eq!(edges.armed_set(), Some(READ));
        assert_eq!(edges.fired(IN), IN);
        assert_eq!(edges.armed_set(), Some(RDHUP), "and errors");
        assert!(!edges.is_probed());

        edges.would_block(READABLE);
        assert_eq!(edges.armed_set(), Some(READ), "and not writing");
        edges.would_block(WRITABLE);
        assert_eq!(edges.armed_set(), Some(READ.or(OUT)));
    }

    #[test]
    fn a_direction_outside_the_interest_is_never_armed_or_reported() {
        let mut edges = typed(READABLE);
        edges.would_block(WRITABLE);
        assert_eq!(edges.armed_set(), Some(READ));
        assert_eq!(edges.fired(IN.or(OUT)), IN);
    }

    #[test]
    fn an_unknown_direction_arms_what_is_not_ready_and_pauses_what_is() {
        let mut edges = typed(BOTH);
        edges.fired(IN.or(OUT));
        edges.probed_after_io(OUT, true, Tick(5));
        assert_eq!(edges.armed_set(), Some(READ));
        assert_eq!(edges.next_probe(Tick(5)), Some(Tick(7)));
        assert_eq!(edges.probed(OUT, Tick(6)), None, "a pause runs");
        assert_eq!(edges.probed(OUT, Tick(7)), Some(OUT));
    }

    #[test]
    fn without_a_probe_after_io_an_unknown_direction_is_probed_by_the_next_poll() {
        let mut edges = typed(BOTH);
        edges.fired(IN.or(OUT));
        edges.would_block_in_unknown_direction(Tick(0));
        assert_eq!(edges.next_probe(Tick(0)), Some(Tick(0)));
        assert_eq!(edges.probed(OUT, Tick(0)), None, "a pause runs");
        assert!(
            edges.armed_set().unwrap().intersects(IN),
            "drained, so armed"
        );
        let end = edges.next_probe(Tick(0)).unwrap();
        assert_eq!(end, Tick(2));
        edges.would_block_in_unknown_direction(Tick(1));
        assert_eq!(edges.probed(OUT, Tick(1)), None);
        assert_eq!(edges.next_probe(Tick(1)), Some(end), "it runs on");
        assert_eq!(edges.probed(OUT, end), Some(OUT));
    }

    #[test]
    fn would_block_in_an_unknown_direction_at_each_event_does_not_spin() {
        let mut edges = typed(BOTH);
        edges.fired(OUT);
        let mut count = 0;
        for now in (0..1000).map(Tick) {
            if edges.next_probe(now) == Some(now) && edges.probed(OUT, now).is_some() {
                count += 1;
            }
            edges.probed_after_io(OUT, true, now);
        }
        assert!((10..=30).contains(&count), "{count}");
    }

    #[test]
    fn a_raw_descriptor_is_reported_again_at_growing_pauses() {
        let mut edges = raw(WRITABLE);
        edges.fired(OUT);
        assert_eq!(edges.armed_set(), Some(Readiness::NONE));
        let mut now = 1;
        assert_eq!(edges.probed(OUT, Tick(now)), Some(OUT), "by the next poll");
        for pause in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            assert_eq!(
                edges.next_probe(Tick(now)),
                Some(Tick(now)),
                "by the next poll"
            );
            assert_eq!(edges.probed(OUT, Tick(now)), None, "but not reported");
            assert_eq!(edges.next_probe(Tick(now)), Some(Tick(now + pause + 1)));
            now += pause + 1;
            assert_eq!(edges.probed(OUT, Tick(now)), Some(OUT));
        }
    }

    #[test]
    fn a_lasting_condition_has_few_events_whatever_fails() {
        let mut edges = typed(WRITABLE);
        edges.fired(OUT.or(ERR));
        let mut count = 0;
        let mut in_first = 0;
        for now in 0..2000 {
            let now = Tick(now);
            edges.may_have_drained();
            edges.probed_after_io(OUT.or(ERR), false, now);
            if edges.next_probe(now) == Some(now) && edges.probed(OUT.or(ERR), now).is_some() {
                count += 1;
            }
            if now == Tick(999) {
                in_first = count;
            }
        }
        assert!((10..=30).contains(&in_first), "{in_first}");
        assert!((10..=17).contains(&(count - in_first)), "{count}");
    }

    #[test]
    fn a_probe_that_finds_a_drained_direction_arms_it_and_resets_its_pause() {
        let mut edges = raw(READABLE);
        edges.fired(IN);
        assert!(reports(&mut edges, IN, 0, 500) > 5);
        assert_eq!(edges.probed(Readiness::NONE, Tick(501)), None);
        assert_eq!(edges.armed_set(), Some(READ));
        assert!(!edges.is_probed());
        edges.fired(IN);
        assert_eq!(edges.probed(IN, Tick(502)), Some(IN), "at once");
        assert_eq!(
            edges.probed(IN, Tick(504)),
            Some(IN),
            "after the first pause"
        );
    }

    #[test]
    fn a_pause_delays_no_other_direction() {
        let mut edges = raw(BOTH);
        edges.fired(OUT);
        reports(&mut edges, OUT, 0, 500);
        assert_eq!(edges.armed_set(), Some(READ), "is armed");
        // A poll that probes it all the same sees what has come meanwhile.
        assert_eq!(edges.probed(IN.or(OUT), Tick(501)), Some(IN.or(OUT)));
    }

    /// The kernel lacks memory for it, say.
    #[test]
    fn what_the_kernel_cannot_arm_is_probed_with_pauses() {
        let mut edges = typed(BOTH);
        edges.fired(OUT);
        edges.not_armed(Tick(0));
        assert_eq!(edges.armed_set(), Some(READ.without(Readiness::IN)));
        let first = edges.next_probe(Tick(0)).unwrap();
        assert_eq!(first, Tick(65), "it does not spin");
        assert_eq!(edges.probed(IN, first), Some(IN));
        assert_eq!(edges.armed_set(), Some(OUT.or(RDHUP)), "it is tried again");
        edges.not_armed(first);
        assert!(edges.would_block(READABLE), "so is what would block");
        assert_eq!(reports(&mut edges, ERR, 65, 65), 1, "errors are reported");
    }

    #[test]
    fn a_failure_backs_off_what_fired_and_ends_no_pause() {
        let mut edges = typed(READABLE);
        edges.fired(IN);
        assert!(!edges.is_probed());
        edges.may_have_drained();
        assert_eq!(edges.probed(IN, Tick(0)), Some(IN), "by the next poll");
        reports(&mut edges, IN, 1, 500);
        let next = edges.next_probe(Tick(501));
        edges.may_have_drained();
        assert_eq!(edges.next_probe(Tick(501)), next);
        edges.would_block(READABLE);
        assert_eq!(edges.armed_set(), Some(READ));
    }

    #[test]
    fn directions_reported_together_continue_with_the_shortest_pause() {
        let mut edges = raw(BOTH);
        edges.fired(OUT);
        reports(&mut edges, OUT, 0, 500);
        edges.fired(IN);
        let both = IN.or(OUT);
        assert_eq!(edges.probed(both, Tick(501)), Some(both));
        assert_eq!(edges.probed(both, Tick(502)), None);
        assert_eq!(edges.next_probe(Tick(502)), Some(Tick(503)));
    }

    #[test]
    fn a_hang_up_is_reported_once_and_leaves_the_armed_set() {
        let mut edges = typed(BOTH);
        let all = READ.or(OUT).or(HUP);
        assert_eq!(edges.fired(all), all);
        assert_eq!(
            edges.armed_set(),
            None,
            "the kernel would report it for ever"
        );
        assert_eq!(reports(&mut edges, all, 0, 5000), 0);
    }

    #[test]
    fn a_registration_hung_up_in_both_directions_is_probed_once_a_second() {
        let probes = |ready: Readiness| {
            let mut edges = typed(BOTH);
            edges.fired(ready);
            let due = |&now: &u32| {
                let is_due = edges.next_probe(Tick(now)) == Some(Tick(now));
                is_due && edges.probed(ready, Tick(now)).is_none()
            };
            (0..10_000).filter(due).count()
        };
        assert!(
            (10..30).contains(&probes(READ.or(HUP))),
            "{}",
            probes(READ.or(HUP))
        );
        assert!((100..170).contains(&probes(HUP)), "{}", probes(HUP));
    }

    #[test]
    fn a_hang_up_that_ends_arms_every_direction() {
        let mut edges = typed(BOTH);
        edges.fired(OUT.or(HUP));
        assert_eq!(edges.probed(OUT.or(HUP), Tick(1)), None);
        assert_eq!(edges.probed(OUT, Tick(2)), Some(OUT), "a new connection");
        assert_eq!(edges.armed_set(), Some(READ));
        assert!(!edges.is_probed());

        edges.fired(HUP);
        edges.probed_after_io(Readiness::NONE, false, Tick(3));
        assert_eq!(
            edges.armed_set(),
            Some(READ.or(OUT)),
            "an operation sees it, too"
        );
    }

    #[test]
    fn readiness_beside_a_latched_error_is_reported_once() {
        let mut edges = typed(READABLE);
        assert_eq!(edges.fired(ERR), ERR);
        assert_eq!(edges.probed(ERR.or(IN), Tick(5)), Some(ERR.or(IN)));
        assert_eq!(edges.probed(ERR.or(IN), Tick(99)), None);
        // Read, by calls of which none would have blocked, and filled again.
        assert_eq!(edges.probed(ERR, Tick(100)), None);
        assert_eq!(edges.probed(ERR.or(IN), Tick(101)), Some(ERR.or(IN)));
    }

    #[test]
    fn an_end_behind_unread_data_is_reported_once() {
        let mut edges = typed(BOTH);
        edges.fired(IN.or(OUT));
        assert_eq!(edges.armed_set(), Some(RDHUP));
        assert_eq!(edges.fired(RDHUP), READ, "what has ended is readable");
        assert_eq!(edges.armed_set(), Some(Readiness::NONE));
    }

    #[test]
    fn an_error_seen_after_one_was_picked_up_is_new() {
        let mut edges = typed(READABLE);
        edges.fired(ERR);
        edges.may_have_drained();
        edges.probed_after_io(Readiness::NONE, false, Tick(1));
        assert_eq!(edges.armed_set(), Some(READ), "unlatched at once");
        assert_eq!(edges.fired(ERR), ERR);
    }

    #[test]
    fn an_error_that_may_have_been_picked_up_is_reported_again_with_back_off() {
        let mut edges = typed(READABLE);
        edges.fired(ERR);
        assert_eq!(reports(&mut edges, ERR, 0, 1000), 0);
        edges.may_have_taken_error();
        edges.probed_after_io(ERR, false, Tick(1000));
        assert!((5..=30).contains(&reports(&mut edges, ERR, 1001, 1000)));
    }

    #[test]
    fn a_raw_descriptors_error_is_reported_again_with_back_off() {
        let mut edges = raw(READABLE);
        edges.fired(ERR);
        assert!((10..=30).contains(&reports(&mut edges, ERR, 0, 1000)));
        assert!((10..=17).contains(&reports(&mut edges, ERR, 1000, 1000)));
    }

    /// The operation may have been one that picks up errors.
    #[test]
    fn an_error_that_outlasts_a_would_block_of_unknown_direction_is_reported_again_with_back_off() {
        let mut edges = typed(READABLE);
        assert_eq!(edges.fired(ERR), ERR);
        assert_eq!(reports(&mut edges, ERR, 0, 100), 0, "nothing has happened");
        edges.probed_after_io(ERR, true, Tick(100));
        assert!((1..=30).contains(&reports(&mut edges, ERR, 100, 1000)));
    }

    #[test]
    fn a_raw_descriptors_error_is_reported_as_often_as_its_data() {
        let reports_of = |ready| {
            let mut edges = raw(READABLE);
            edges.fired(ready);
            reports(&mut edges, ready, 0, 1000)
        };
        assert_eq!(reports_of(ERR), reports_of(IN));
    }

    #[test]
    fn an_event_of_a_direction_does_not_shorten_the_pauses_of_a_hang_up() {
        let mut edges = typed(BOTH);
        let hung_up = READ.or(HUP).or(ERR);
        edges.fired(hung_up);
        assert_eq!(reports(&mut edges, hung_up, 0, 1500), 0);
        let all = hung_up.or(OUT);
        assert_eq!(edges.probed(all, Tick(1500)), Some(all));
        assert_eq!(edges.probed(all, Tick(1500)), None);
        let next = edges.next_probe(Tick(1500)).unwrap();
        assert!(next.after(Tick(1500)) > Duration::from_millis(500));
    }

    #[test]
    fn a_probe_during_the_pause_of_a_hang_up_does_not_extend_it() {
        let mut edges = typed(READABLE);
        let hung_up = IN.or(HUP);
        edges.fired(hung_up);
        assert_eq!(edges.probed(hung_up, Tick(0)), None);
        let end = edges.next_probe(Tick(0));
        assert_eq!(edges.probed(hung_up, Tick(1)), None);
        assert_eq!(edges.next_probe(Tick(1)), end);
    }

    #[test]
    fn would_block_in_an_unknown_direction_extends_no_pause() {
        let mut edges = typed(READABLE);
        edges.fired(IN);
        edges.probed_after_io(IN, true, Tick(0));
        let end = edges.next_probe(Tick(0));
        edges.probed_after_io(IN, true, Tick(1));
        assert_eq!(edges.next_probe(Tick(1)), end);
    }

    #[test]
    fn an_operation_in_one_direction_does_not_back_off_the_other_one() {
        let mut edges = typed(BOTH);
        edges.fired(IN.or(OUT).or(HUP));
        edges.probed_after_io(OUT.or(HUP), false, Tick(0));
        assert_eq!(reports(&mut edges, OUT.or(HUP), 0, 100), 0);
    }

    #[test]
    fn would_block_in_a_known_direction_reports_no_error_again() {
        let mut edges = typed(READABLE);
        edges.fired(ERR);
        assert_eq!(edges.probed(ERR, Tick(0)), None);
        edges.probed_after_io(ERR, false, Tick(1000));
        assert_eq!(reports(&mut edges, ERR, 1000, 1000), 0);
    }

    #[test]
    fn a_one_shot_is_spent_by_its_event_alone() {
        let mut edges = typed(WRITABLE.oneshot());
        assert_eq!(edges.fired(IN), Readiness::NONE);
        assert_eq!(edges.armed_set(), Some(OUT));
        assert_eq!(edges.fired(OUT), OUT);
        assert_eq!(edges.armed_set(), None);
    }

    #[test]
    fn the_mode_is_that_of_the_interest() {
        for (interest, is_level, is_oneshot) in [
            (READABLE, false, false),
            (READABLE.level(), true, false),
            (READABLE.oneshot(), false, true),
            (READABLE.level().oneshot(), false, true),
        ] {
            let edges = typed(interest);
            assert_eq!(edges.is_level(), is_level, "{interest:?}");
            assert_eq!(edges.is_oneshot(), is_oneshot, "{interest:?}");
        }
    }

    #[test]
    fn an_operation_is_followed_by_a_probe_unless_all_is_armed_and_nothing_latched() {
        let state = |ready| {
            let mut edges = typed(READABLE);
            edges.fired(ready);
            (
                edges.is_armed_for_all(),
                edges.is_latched(),
                edges.has_latched_error(),
            )
        };
        assert_eq!(state(Readiness::NONE), (true, false, false));
        assert_eq!(state(IN), (false, false, false));
        assert_eq!(state(HUP), (false, true, false));
        assert_eq!(state(ERR), (false, true, true));
    }

    #[test]
    fn a_probe_is_due_at_once_when_a_direction_backs_off_or_readiness_is_kept() {
        let mut edges = typed(READABLE);
        edges.fired(IN);
        assert!(!edges.is_due_at_once());
        edges.may_have_drained();
        assert!(edges.is_due_at_once());
        assert_eq!(edges.probed(IN, Tick(0)), Some(IN));
        assert_eq!(edges.probed(IN, Tick(0)), None, "a pause runs");
        assert!(!edges.is_due_at_once());
        edges.keep_for_next_poll(IN);
        assert!(edges.is_due_at_once());
    }

    #[test]
    fn what_was_unlatched_is_armed_again() {
        let mut edges = raw(READABLE);
        edges.fired(ERR);
        edges.unlatch();
        assert_eq!(edges.armed_set(), Some(READ));
        assert!(!edges.is_probed());
        assert!(!edges.error_backed_off);
    }

    #[test]
    fn a_waiting_thread_is_interrupted_once() {
        let mut waiting = Waiting::default();
        for _ in 0..2 {
            waiting.begin();
            assert!(waiting.is_waiting());
            assert!(waiting.interrupt());
            assert!(!waiting.interrupt());
            waiting.not_interrupted();
            assert!(waiting.interrupt());
            waiting.end();
            assert!(!waiting.is_waiting());
        }
    }

    #[test]
    fn a_hang_up_after_an_error_is_reported() {
        let mut edges = typed(READABLE);
        edges.fired(ERR);
        assert_eq!(edges.probed(ERR.or(HUP), Tick(1)), Some(ERR.or(HUP)));
        assert_eq!(edges.probed(ERR.or(HUP), Tick(9)), None);
    }

    #[test]
    fn readiness_a_probe_consumed_is_reported_by_the_next_poll() {
        let mut edges = typed(READABLE);
        edges.fired(IN);
        edges.keep_for_next_poll(ERR);
        assert_eq!(edges.next_probe(Tick(1)), Some(Tick(1)));
        assert_eq!(edges.probed(IN, Tick(1)), Some(IN.or(ERR)));
        assert!(!edges.is_probed(), "once");
    }

    #[test]
    fn priority_data_does_not_depend_on_reading() {
        let mut edges = with_priority(typed(BOTH));
        assert_eq!(edges.fired(PRI.or(IN)), PRI.or(IN));
        edges.would_block(READABLE);
        assert_eq!(edges.armed_set(), Some(READ.or(OUT)), "not armed by a read");
        assert_eq!(edges.probed(PRI, Tick(1)), Some(PRI), "but probed");
        edges.probed(Readiness::NONE, Tick(2));
        assert_eq!(edges.armed_set(), Some(READ.or(OUT).or(PRI)));
    }

    #[test]
    fn registering_again_clears_what_was_latched_and_backed_off() {
        let mut edges = raw(BOTH);
        edges.fired(OUT.or(HUP));
        edges.begin(BOTH, Drained::Unreported);
        assert_eq!(edges.armed_set(), Some(READ.or(OUT)));
        assert!(!edges.is_probed());
        assert_eq!(edges.fired(OUT.or(HUP)), OUT.or(HUP));
    }

    #[test]
    fn the_next_probe_is_due_after_the_shortest_pause() {
        let mut edges = raw(BOTH);
        edges.fired(IN);
        reports(&mut edges, IN, 0, 500);
        let of_reading = edges.next_probe(Tick(501)).unwrap();
        edges.fired(OUT);
        assert_eq!(edges.next_probe(Tick(501)), Some(Tick(501)));
        // Not named together with reading, whose readiness has gone and come back unseen.
        edges.pauses.begin(WRITING, 1, LONGEST_STEP, Tick(501));
        edges.probe_at_once = false;
        assert_eq!(edges.next_probe(Tick(501)), Some(Tick(503)));
        assert!(of_reading.after(Tick(501)) > Duration::from_millis(2));
    }

    #[test]
    fn a_second_end_behind_unread_data_is_armed_again() {
        let mut edges = typed(BOTH);
        edges.fired(READ);
        assert_eq!(edges.armed_set(), Some(OUT), "the end was reported");
        edges.would_block(READABLE);
        edges.fired(IN);
        assert_eq!(edges.armed_set(), Some(OUT.or(RDHUP)));
    }

    #[test]
    fn ticks_wrap_around() {
        let (before, after) = (Tick(u32::MAX - 1), Tick(3));
        assert_eq!(after.after(before), Duration::from_millis(5));
        assert_eq!(before.after(after), Duration::ZERO, "over");
        assert_eq!(after.earlier(Some(before), before), before);
        let mut edges = raw(WRITABLE);
        edges.fired(OUT);
        assert!((10..=31).contains(&reports(&mut edges, OUT, u32::MAX - 400, 400)));
    }
}
