//! Edges made out of levels, for the kernels that know levels only: poll(2), and
//! whatever reports one readiness at a time.
//!
//! [`Edges`] is the state of one registration. It says what the kernel is to be
//! asked, and makes reports of the kernel's answers. Each direction (reading,
//! writing, priority data) is in one of these states:
//!
//! ```text
//! Off     not asked for
//! Armed   asked of the kernel; its readiness is reported
//! Fired   reported, and not asked for until the program saw an operation block
//! Again   reported, and looked at now and then, since nobody tells of draining
//!
//!            ready                          would_block, reregister
//! Armed ────────────► Fired                 Fired ────────────► Armed
//! Armed ────────────► Again, due at once    (a direction that nobody tells of)
//! Again ── looked at, not ready ──► Armed
//! Again ── looked at, ready, due ─► Again, reported, due after 1, 2, 4 … 64 ms
//! ```
//!
//! **Errors and hang-ups** are reported by the kernel unasked, and for as long as
//! they last. Once reported they are *held*: the descriptor is asked nothing, or
//! it would be answered at once for ever. It is looked at now and then instead,
//! until the error is gone, or something armed is ready, or something fired is
//! not: a named pipe can get a new writer after its last one hung up, and its end
//! is read as an end, not as an operation that blocks. Only where the peer of a
//! connection has ended (RDHUP) there is nothing left to look for. An operation
//! that failed has picked the error up: one that is there after it is another one.
//!
//! **The end of what a peer sends** (RDHUP) is new behind data that was reported and
//! not read yet. It is asked for alone, until it was reported.
//!
//! Nothing is lost: an armed direction is asked of the kernel, or looked at. A
//! fired one is ready as far as the program knows, and it tells when not.

// AFD is not looked at: nobody registers what does not tell, and an error stays.
#![cfg_attr(windows, allow(dead_code))]

use std::time::{Duration, Instant};

use crate::event::readiness::Readiness;
use crate::Interest;

/// How long until something that is still ready is looked at again: 1 ms the
/// first time, then twice as long each time, up to 64 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MOST_DOUBLINGS: u32 = 6;

const HUP: Readiness = Readiness::HUP;

/// What the kernel reports unasked.
const UNASKED: Readiness = Readiness::ERR.or(Readiness::HUP);

/// The directions, and the bits that each asks for and is reported by. The end of
/// what a peer sends belongs to reading.
const DIRECTIONS: [Readiness; 3] = [
    Readiness::IN.or(Readiness::RDHUP),
    Readiness::OUT,
    Readiness::PRI,
];
const READING: usize = 0;
const WRITING: usize = 1;
const PRIORITY: usize = 2;

/// Who knows when a direction has been drained.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Whoever does the I/O tells, by `would_block`.
    IsTold,
    /// Nobody tells.
    IsNotTold,
}

/// One registration's part in the making of edges.
///
/// The directions in each state are a set of bits, so that arming is one operation
/// on them.
#[derive(Debug)]
pub(super) struct Edges {
    /// Those that are not `Off`.
    interest: Readiness,
    armed: Readiness,
    again: Readiness,
    /// An error or a hang-up that was reported, and lasts.
    held: Option<Held>,
    /// The end of what the peer sends was reported.
    end_is_told: bool,
    drained: Drained,
    /// Of the directions in `again`, and of what is held.
    pauses: [Pause; 4],
}

/// Whose pause is the last one: that of what is held.
const HELD: usize = 3;

#[derive(Copy, Clone, Debug)]
struct Held {
    bits: Readiness,
    /// It will not change any more.
    is_final: bool,
}

#[derive(Copy, Clone, Debug)]
struct Pause {
    /// `None`: at once.
    due: Option<Instant>,
    doublings: u32,
}

impl Pause {
    const OVER: Pause = Pause {
        due: None,
        doublings: 0,
    };

    /// The pause after this one, if this one is over.
    fn pass(&mut self, now: Instant) -> bool {
        let over = self.due.map_or(true, |due| due <= now);
        if over {
            self.due = Some(now + FIRST_PAUSE * (1 << self.doublings));
            self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        }
        over
    }
}

impl Edges {
    /// Asks for nothing.
    pub(super) fn new() -> Edges {
        Edges {
            interest: Readiness::NONE,
            armed: Readiness::NONE,
            again: Readiness::NONE,
            held: None,
            end_is_told: false,
            drained: Drained::IsTold,
            pauses: [Pause::OVER; 4],
        }
    }

    /// A registration begins, or begins anew: all that the interest asks for is
    /// armed. No pause runs, so that those stay as they are.
    #[inline]
    pub(super) fn begin(&mut self, interest: Interest, drained: Drained) {
        self.interest = bits_of(interest);
        self.armed = self.interest;
        self.again = Readiness::NONE;
        self.held = None;
        self.end_is_told = false;
        self.drained = drained;
    }

    /// What to ask of the kernel while waiting; `None` for nothing at all, not
    /// even errors.
    #[inline]
    pub(super) fn wanted(&self) -> Option<Readiness> {
        if self.held.is_some() {
            None
        } else if self.waits_for_end() {
            Some(self.armed.or(Readiness::RDHUP))
        } else {
            Some(self.armed)
        }
    }

    #[inline]
    fn waits_for_end(&self) -> bool {
        !self.end_is_told && self.fired_ones().intersects(Readiness::IN)
    }

    /// The directions in the state `Fired`; priority data never is.
    #[inline]
    fn fired_ones(&self) -> Readiness {
        self.interest.without(self.armed).without(self.again)
    }

    /// What to ask of the kernel when it is looked at, and when an error or a
    /// hang-up has come, which is reported together with all that is ready.
    #[inline]
    pub(super) fn interest(&self) -> Readiness {
        self.interest
    }

    /// The kernel has answered while waiting: what to report.
    #[inline]
    pub(super) fn fired(&mut self, ready: Readiness) -> Readiness {
        let ready = match ready.intersects(Readiness::RDHUP) && self.waits_for_end() {
            // Asked for alone, but what has ended is readable.
            true => ready.or(Readiness::IN),
            false => ready,
        };
        self.end_is_told |= ready.intersects(Readiness::RDHUP);
        for (index, bits) in DIRECTIONS.into_iter().enumerate() {
            if self.armed.intersects(bits) && ready.intersects(bits) {
                self.fire(index);
            }
        }
        if ready.intersects(UNASKED) {
            self.held = Some(Held {
                bits: ready.and(UNASKED),
                is_final: ready.contains(Readiness::HUP.or(Readiness::RDHUP)),
            });
            self.pauses[HELD] = Pause::OVER;
        }
        ready.and(self.interest.or(UNASKED))
    }

    /// An armed direction is ready, which is reported.
    #[inline]
    fn fire(&mut self, index: usize) {
        self.armed = self.armed.without(DIRECTIONS[index]);
        // Priority data stays ready while ordinary data is read, so that a read
        // that would block says nothing of it.
        if self.drained == Drained::IsNotTold || index == PRIORITY {
            self.again = self.again.or(DIRECTIONS[index]);
            self.pauses[index] = Pause::OVER;
        }
    }

    /// Whether it is to be looked at now and then.
    #[inline]
    pub(super) fn is_looked_at(&self) -> bool {
        self.again != Readiness::NONE || self.held.is_some_and(|held| !held.is_final)
    }

    /// When to look at it next, at the latest.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let is_paused = |index: usize| match DIRECTIONS.get(index) {
            Some(&bits) => self.again.intersects(bits),
            None => self.held.is_some_and(|held| !held.is_final),
        };
        (0..self.pauses.len())
            .filter(|&index| is_paused(index))
            .map(|index| self.pauses[index].due.unwrap_or(now))
            .min()
    }

    /// The kernel was looked at, without waiting: what to report, if anything.
    pub(super) fn looked(&mut self, ready: Readiness, now: Instant) -> Option<Readiness> {
        let mut report = Readiness::NONE;
        let is_held = self.held.is_some();
        // What was never connected is, or a terminal has somebody on it again.
        let hang_up_ended = self
            .held
            .is_some_and(|held| held.bits.intersects(HUP) && !ready.intersects(HUP));
        for (index, bits) in DIRECTIONS.into_iter().enumerate() {
            if !self.interest.intersects(bits) {
                continue;
            }
            let is_ready = ready.intersects(bits);
            let is_due = if self.armed.intersects(bits) {
                let is_new = is_held && is_ready;
                if is_new {
                    self.fire(index);
                }
                is_new
            } else if !is_ready {
                // Drained: from now on it is waited for.
                self.armed = self.armed.or(bits);
                self.again = self.again.without(bits);
                false
            } else if self.again.intersects(bits) {
                self.pauses[index].pass(now)
            } else {
                hang_up_ended
            };
            if is_due {
                report = report.or(ready.and(bits));
            }
        }
        let lasting = ready.and(UNASKED);
        if lasting == Readiness::NONE {
            self.held = None;
        } else if let Some(held) = &mut self.held {
            if !held.bits.contains(lasting) {
                report = report.or(lasting);
            }
            held.bits = lasting;
            let pause = &mut self.pauses[HELD];
            if report != Readiness::NONE {
                *pause = Pause::OVER;
            }
            pause.pass(now);
        }
        (report != Readiness::NONE).then(|| report.or(ready.and(UNASKED)))
    }

    /// An operation would have blocked, in a direction that is not known where
    /// `None`: arms that one, and no other.
    #[inline]
    pub(super) fn would_block(&mut self, direction: Option<Interest>) {
        let concerned = direction.map_or(self.interest, bits_of);
        self.armed = self.armed.or(self.fired_ones().and(concerned));
        if let Some(held) = &mut self.held {
            // What blocks has not come to its end.
            held.is_final = false;
        }
    }

    /// What was held is over: it can be asked for again.
    #[allow(dead_code)] // where what is held is looked at
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    /// An operation failed, and so has picked an error up: if there is one still,
    /// it is new. (A hang-up is not picked up.)
    #[inline]
    pub(super) fn failed(&mut self) {
        if let Some(held) = &mut self.held {
            held.bits = held.bits.and(HUP);
        }
    }
}

/// The bits of all directions that an interest asks for.
#[inline]
fn bits_of(interest: Interest) -> Readiness {
    let bits_if = |is_asked: bool, direction: usize| match is_asked {
        true => DIRECTIONS[direction],
        false => Readiness::NONE,
    };
    bits_if(interest.is_readable(), READING)
        .or(bits_if(interest.is_writable(), WRITING))
        .or(bits_if(interest.is_priority(), PRIORITY))
}

/// Where a thread that waits meets those that change what it waits for, under a
/// lock that is theirs to hold.
///
/// What the kernel is asked cannot be changed while it is asked. So a change made
/// meanwhile is put down for later, and the one who waits is interrupted, once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    is_waiting: bool,
    is_interrupted: bool,
}

impl Waiting {
    /// The lock is about to be given up for a wait.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.is_waiting = true;
        self.is_interrupted = false;
    }

    /// The lock has been taken again after the wait; what was put down is now made.
    #[inline]
    pub(super) fn end(&mut self) {
        self.is_waiting = false;
    }

    /// What changes now is not heard of by somebody who waits, unless he is told.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Whether to signal who waits: once, whoever it was that changed something. The
    /// signal may be sent after the lock was given up: one that comes too late
    /// makes the next wait a short one.
    #[inline]
    pub(super) fn interrupt(&mut self) -> bool {
        !std::mem::replace(&mut self.is_interrupted, true)
    }

    /// The signal could not be sent: the next one to interrupt sends it.
    #[allow(dead_code)] // where a signal that fails is the caller's error
    pub(super) fn not_interrupted(&mut self) {
        self.is_interrupted = false;
    }
}

/// One thread waits, others change what it waits for, with a model of the kernel's
/// part. A change that it does not hear of shows as a deadlock.
#[cfg(all(test, mio_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    #[derive(Default)]
    struct Table {
        waiting: Waiting,
        /// How many sources there are, and how many of them the kernel is asked
        /// about. All are ready.
        sources: usize,
        asked: usize,
    }

    struct Model {
        table: Mutex<Table>,
        /// The interrupt's descriptor: readable or not.
        interrupt: Mutex<bool>,
        signalled: Condvar,
    }

    impl Model {
        fn add_source(&self) {
            let mut table = self.table.lock().unwrap();
            table.sources += 1;
            if !table.waiting.is_waiting() {
                table.asked = table.sources;
            } else if table.waiting.interrupt() {
                drop(table);
                *self.interrupt.lock().unwrap() = true;
                self.signalled.notify_one();
            }
        }

        /// Waits once; how many sources were ready.
        fn wait(&self) -> usize {
            let mut table = self.table.lock().unwrap();
            let asked = table.asked;
            table.waiting.begin();
            drop(table);

            let mut interrupt = self.interrupt.lock().unwrap();
            while asked == 0 && !*interrupt {
                interrupt = self.signalled.wait(interrupt).unwrap();
            }
            drop(interrupt);

            let mut table = self.table.lock().unwrap();
            table.waiting.end();
            *self.interrupt.lock().unwrap() = false;
            table.asked = table.sources;
            asked
        }
    }

    #[test]
    fn loom_a_waiting_thread_hears_of_every_change() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model {
                table: Mutex::default(),
                interrupt: Mutex::new(false),
                signalled: Condvar::new(),
            });
            let changing: Vec<_> = (0..2)
                .map(|_| {
                    let model = model.clone();
                    thread::spawn(move || model.add_source())
                })
                .collect();
            // The ready ones that it saw are taken out again.
            let mut seen = 0;
            while seen < 2 {
                let ready = model.wait();
                let mut table = model.table.lock().unwrap();
                seen += ready;
                table.sources -= ready;
                table.asked = table.sources;
            }
            for thread in changing {
                thread.join().unwrap();
            }
        });
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    const IN: Readiness = Readiness::IN;
    const OUT: Readiness = Readiness::OUT;
    const PRI: Readiness = Readiness::PRI;
    const ERR: Readiness = Readiness::ERR;
    const READING: Readiness = Readiness::IN.or(Readiness::RDHUP);
    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

    struct Clock(Instant);

    impl Clock {
        fn after(&mut self, millis: u64) -> Instant {
            self.0 += Duration::from_millis(millis);
            self.0
        }
    }

    fn edges(interest: Interest, drained: Drained) -> (Edges, Clock) {
        let mut edges = Edges::new();
        edges.begin(interest, drained);
        (edges, Clock(Instant::now()))
    }

    /// As by an interest that not every system has.
    fn ask_for_priority(edges: &mut Edges) {
        edges.interest = edges.interest.or(PRI);
        edges.armed = edges.armed.or(PRI);
    }

    #[test]
    fn a_direction_fires_once_until_it_blocks() {
        let (mut edges, _) = edges(BOTH, Drained::IsTold);
        assert!(edges.wanted() == Some(READING.or(OUT)));
        assert!(edges.fired(OUT) == OUT);
        assert!(edges.wanted() == Some(READING));
        assert!(edges.fired(IN) == IN);
        assert!(edges.wanted() == Some(Readiness::RDHUP), "and errors");
        assert!(!edges.is_looked_at());

        edges.would_block(Some(Interest::READABLE));
        assert!(edges.wanted() == Some(READING), "and not writing");
        edges.would_block(Some(Interest::WRITABLE));
        assert!(edges.wanted() == Some(READING.or(OUT)));
    }

    #[test]
    fn an_unknown_direction_arms_all_that_fired() {
        let (mut edges, _) = edges(BOTH, Drained::IsTold);
        edges.fired(IN.or(OUT));
        edges.would_block(None);
        assert!(edges.wanted() == Some(READING.or(OUT)));
    }

    #[test]
    fn a_direction_that_was_not_asked_for_is_never_armed() {
        let (mut edges, _) = edges(Interest::READABLE, Drained::IsTold);
        edges.would_block(None);
        edges.would_block(Some(Interest::WRITABLE));
        assert!(edges.wanted() == Some(READING));
        assert!(edges.fired(IN.or(OUT)) == IN, "nor reported");
    }

    #[test]
    fn what_nobody_tells_of_is_reported_again_at_growing_pauses() {
        let (mut edges, mut clock) = edges(Interest::WRITABLE, Drained::IsNotTold);
        edges.fired(OUT);
        assert!(edges.wanted() == Some(Readiness::NONE));
        assert!(edges.looked(OUT, clock.0) == Some(OUT), "at the next poll");
        for pause in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            assert_eq!(
                edges.next_look(clock.0),
                Some(clock.0 + Duration::from_millis(pause))
            );
            assert!(edges.looked(OUT, clock.after(pause - 1)).is_none());
            assert!(edges.looked(OUT, clock.after(1)) == Some(OUT));
        }
    }

    #[test]
    fn what_was_drained_is_armed_at_once_and_its_pause_starts_over() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsNotTold);
        edges.fired(IN);
        for _ in 0..9 {
            edges.looked(IN, clock.after(64));
        }
        assert!(edges.looked(Readiness::NONE, clock.0).is_none());
        assert!(edges.wanted() == Some(READING));
        assert!(!edges.is_looked_at());
        edges.fired(IN);
        assert!(edges.looked(IN, clock.0) == Some(IN));
        assert_eq!(edges.next_look(clock.0), Some(clock.0 + FIRST_PAUSE));
    }

    #[test]
    fn a_slow_direction_does_not_slow_the_other() {
        let (mut edges, mut clock) = edges(BOTH, Drained::IsNotTold);
        edges.fired(OUT);
        for _ in 0..9 {
            edges.looked(OUT, clock.after(64));
        }
        assert!(edges.wanted() == Some(READING), "is waited for");
        edges.fired(IN);
        assert!(edges.looked(IN.or(OUT), clock.0) == Some(IN));
    }

    #[test]
    fn a_hang_up_is_reported_once_and_asks_no_more() {
        let (mut edges, _) = edges(BOTH, Drained::IsTold);
        let all = IN.or(OUT).or(HUP).or(Readiness::RDHUP);
        assert!(edges.fired(all) == all);
        assert!(edges.wanted().is_none(), "or it would be answered for ever");
        assert!(!edges.is_looked_at(), "nothing is waited for");
    }

    #[test]
    fn a_hang_up_that_ends_is_seen() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsTold);
        assert!(edges.fired(HUP) == HUP);
        assert!(edges.wanted().is_none());
        assert!(edges.looked(HUP, clock.after(1)).is_none(), "is known");
        assert!(edges.next_look(clock.0) > Some(clock.0));
        assert!(edges.looked(Readiness::NONE, clock.after(1)).is_none());
        assert!(edges.wanted() == Some(READING));
        assert!(!edges.is_looked_at());
    }

    #[test]
    fn readiness_beside_a_lasting_error_is_reported() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsTold);
        assert!(edges.fired(ERR) == ERR);
        assert!(edges.looked(ERR.or(IN), clock.after(5)) == Some(ERR.or(IN)));
        assert!(edges.looked(ERR.or(IN), clock.after(99)).is_none(), "once");
        assert!(edges.wanted().is_none() && edges.is_looked_at());
        // Read, by calls of which none has blocked, and filled again.
        assert!(edges.looked(ERR, clock.after(1)).is_none());
        assert!(edges.looked(ERR.or(IN), clock.after(1)) == Some(ERR.or(IN)));
    }

    #[test]
    fn an_end_behind_data_that_was_not_read_is_reported_once() {
        let (mut edges, _) = edges(BOTH, Drained::IsTold);
        edges.fired(IN.or(OUT));
        assert!(edges.wanted() == Some(Readiness::RDHUP));
        let report = edges.fired(Readiness::RDHUP);
        assert!(report == READING, "what has ended is readable");
        assert!(edges.wanted() == Some(Readiness::NONE));
    }

    #[test]
    fn a_second_error_is_reported_when_the_first_was_picked_up() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsTold);
        edges.fired(ERR);
        assert!(edges.looked(ERR, clock.after(1)).is_none());
        edges.failed();
        assert!(edges.looked(ERR, clock.0) == Some(ERR));
        assert!(edges.looked(ERR, clock.after(99)).is_none());
    }

    #[test]
    fn what_fired_before_a_hang_up_ended_is_reported_anew() {
        let (mut edges, mut clock) = edges(BOTH, Drained::IsTold);
        edges.fired(OUT.or(HUP));
        assert!(edges.looked(OUT.or(HUP), clock.after(1)).is_none());
        assert!(edges.looked(OUT, clock.after(1)) == Some(OUT));
        assert!(edges.wanted() == Some(READING));
    }

    #[test]
    fn priority_data_beside_a_lasting_error_is_looked_at_when_the_error_has_gone() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsTold);
        ask_for_priority(&mut edges);
        edges.fired(ERR);
        assert!(edges.looked(ERR.or(PRI), clock.after(1)) == Some(ERR.or(PRI)));
        edges.looked(PRI, clock.after(1));
        assert!(edges.is_looked_at(), "no read tells when it has been taken");
        edges.looked(Readiness::NONE, clock.after(1));
        assert!(edges.wanted() == Some(READING.or(PRI)));
    }

    #[test]
    fn what_blocks_after_a_hang_up_is_looked_at() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsTold);
        let all = READING.or(HUP);
        edges.fired(all);
        assert!(!edges.is_looked_at());
        edges.would_block(Some(Interest::READABLE));
        assert!(edges.is_looked_at());
        assert!(edges.looked(all, clock.after(1)) == Some(all));
    }

    #[test]
    fn a_hang_up_after_an_error_is_reported() {
        let (mut edges, mut clock) = edges(Interest::READABLE, Drained::IsTold);
        edges.fired(ERR);
        assert!(edges.looked(ERR.or(HUP), clock.after(1)) == Some(ERR.or(HUP)));
        assert!(edges.looked(ERR.or(HUP), clock.after(9)).is_none());
    }

    #[test]
    fn priority_data_does_not_depend_on_reading() {
        let (mut edges, mut clock) = edges(BOTH, Drained::IsTold);
        ask_for_priority(&mut edges);
        assert!(edges.fired(PRI.or(IN)) == PRI.or(IN));
        edges.would_block(Some(Interest::READABLE));
        assert!(
            edges.wanted() == Some(READING.or(OUT)),
            "not armed by a read"
        );
        assert!(edges.looked(PRI, clock.after(1)) == Some(PRI), "looked at");
        edges.looked(Readiness::NONE, clock.after(1));
        assert!(edges.wanted() == Some(READING.or(OUT).or(PRI)));
    }
}
