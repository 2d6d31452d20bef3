//! The contract, executable: what a backend must report, may report and must not report.
//!
//! # What is owed
//!
//! For each direction of each registration the judge keeps whether an event is owed once the
//! direction is ready. It knows that from the log of what the program did, and from nothing else: the
//! kernel cannot say that an error was picked up and is there again.
//!
//! | after | is owed |
//! |---|---|
//! | `register`, `reregister` | every direction, now |
//! | an event | nothing of what it named |
//! | `WouldBlock`, in a known direction | that direction, now, unless the kernel says that it is ready all the same |
//! | `WouldBlock`, in an unknown direction | the direction that blocked, now; on re-arming backends the others within the back-off |
//! | a short transfer by a stream's method | likewise |
//! | a short `peek`, any failure | on re-arming backends every direction, within the back-off |
//! | an operation after which an error or a hang-up is gone | that error or hang-up, if it comes again, now |
//! | priority data that was read, by whatever operation | priority data, if it comes again, within the back-off |
//! | a poll around which a hang-up is gone that was reported | every direction, within the back-off |
//! | the poll after the event of a raw descriptor, around which it is not ready | what it is not ready for, now |
//!
//! On re-arming backends *now* becomes *within the back-off* where the program does the I/O on a raw
//! descriptor, or an error or a hang-up is latched.
//!
//! # Modes
//!
//! A mode changes what is owed, and with that all that follows:
//!
//! | mode | is owed |
//! |---|---|
//! | level | every direction, always now: what was reported, and what the program does, changes nothing |
//! | one-shot | every direction, now; after an event nothing, and another event must not be |
//! | exclusive | as without, but no end of the peer's data, and no event may name one |
//!
//! With levels there is no rate, and an event names only what is ready. Of a `ChildExit` it is the exit
//! that is owed, and on kqueue whatever the mode is one event.
//!
//! # What must be reported
//!
//! A direction that is owed, asked for, and ready both before and after a poll, must be named by an
//! event of that poll, or of one soon after where the back-off applies. If the two observations
//! differ, nothing is judged.
//!
//! # What must not be
//!
//! Events of registrations that have ended; two events of one registration from one poll; more
//! events than there is capacity; an error or an end that is not there; an error or a hang-up that
//! does not name all else that is ready; an empty return before the timeout, or long after it; errors
//! of `poll`; a call that waits for the poll of another thread; a poll that uses the processor while it
//! waits; and more events than the back-off allows for a source to which nothing happens.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use mio::Backend;

use crate::bits::{as_kqueue, Bits, UNMASKED};
use crate::exemptions::{self, Exemption, Exemptions};
use crate::handle::Outcome;
use crate::program::{is_exit, Door, Kind, Mode, Owner, Wanted};
use crate::world::shown;

/// How late the back-off may be: 64 ms, and one second where both halves have hung up; five times
/// that on a shared machine.
pub const BACK_OFF: Duration = Duration::from_millis(5 * 64);
const LONG_BACK_OFF: Duration = Duration::from_secs(5);

/// How many events a registration to which nothing happens may have: 30 in the first second, or in
/// less, and 17 in each later one.
pub fn most_events(window: Duration) -> usize {
    30 + 17 * window.as_secs() as usize
}

/// How many polls that are full may leave one out, of so many registrations.
pub fn most_turns(registrations: usize) -> usize {
    4 * registrations + 4
}

pub type Token = usize;

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owed {
    No,
    WithinBackOff,
    Now,
}

/// What is known of a waker.
#[derive(Clone, Debug, Default)]
struct WakerState {
    is_owed: bool,
    /// How many polls had begun when it woke: one that was under way may have ended before.
    polls: u64,
    /// Events since it was woken, beyond the one that was owed.
    needless: usize,
}

/// What is known of a registration.
#[derive(Clone, Debug)]
pub struct Registration {
    pub kind: Kind,
    pub owner: Owner,
    mode: Mode,
    /// Of a one-shot registration: its event has come.
    has_fired: bool,
    interest: Bits,
    /// By edges: see `owed_at_least`.
    owed: BTreeMap<u8, Owed>,
    /// What the last event named.
    last: Bits,
    /// Errors, hang-ups and priority data that were reported and have not gone since.
    reported: Bits,
    /// What was done to it since its last event, to be shown.
    history: Vec<String>,
    /// Polls that had to report it and were full, one after the other, and since when; and those of
    /// them that had to report it at once.
    starved: usize,
    starved_since: Instant,
    starved_now: usize,
    /// Polls that had to report it and did not.
    missed: usize,
    /// What the kernel said when it was registered.
    at_first: Option<Bits>,
    /// Reported by the last poll: where the back-off applies, the next poll probes it.
    fresh: Bits,
    /// A hang-up was reported, and has not ended since.
    hung_up: bool,
    /// What is owed because a hang-up has ended.
    anew: Bits,
    /// The program is in the middle of an operation; what was reported meanwhile.
    window: Option<Bits>,
    /// The descriptor was closed behind the poll: nothing more is promised.
    closed: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Ready, owed, and not reported.
    Lost,
    /// Reported later than there is a reason for.
    Late,
    /// Ready for ever, and never among those that fit into the buffer.
    Starved,
    /// The wake-up did not come.
    WakeLost,
    /// An event of a registration that has ended, or never was.
    Ended,
    TwoEvents,
    /// An event of a one-shot registration after its event.
    Again,
    OverCapacity,
    /// An error or an end that is not there.
    False,
    /// An error or a hang-up came without what was ready beside it.
    Incomplete,
    /// Too many events for a source to which nothing happens.
    Rate,
    PollFailed,
    /// A call waited until the poll of another thread was over.
    Blocked,
    /// A poll used the processor while it waited.
    Spins,
    Early,
    Overslept,
    /// Registering, reregistering or deregistering answered what it must not.
    Registry,
    /// The program itself failed: something that always succeeds did not.
    Panicked,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub check: Check,
    pub source: Option<(Kind, Owner)>,
    pub bits: Bits,
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.check)?;
        if let Some((kind, owner)) = self.source {
            write!(f, " {kind:?}/{owner:?}")?;
        }
        if !self.bits.is_empty() {
            write!(
                f,
                " {:?}",
                self.bits
                    .iter_names()
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>()
            )?;
        }
        write!(f, ": {}", self.text)
    }
}

/// What was checked.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Directions that had to be reported, by the kind of source. Not those of levels, of which each
    /// poll has some.
    pub judged: BTreeMap<Kind, u64>,
    /// The same, by mode.
    pub by_mode: BTreeMap<Mode, u64>,
    /// Those of which the two observations differ.
    pub discarded: BTreeMap<Kind, u64>,
    pub wakes: u64,
    pub polls: u64,
    pub events: u64,
    pub rates: u64,
    pub exempted: Exemptions,
}

impl Tally {
    fn judged(&mut self, kind: Kind, mode: Mode, bits: Bits) {
        let count = bits.iter().count() as u64;
        let name = match mode {
            mode if mode.is_level() => Mode::Level,
            mode if mode.is_one_shot() => Mode::OneShot,
            other => other,
        };
        *self.by_mode.entry(name).or_default() += count;
        if name != Mode::Level {
            *self.judged.entry(kind).or_default() += count;
        }
    }

    pub fn add(&mut self, other: &Tally) {
        for (mine, others) in [
            (&mut self.judged, &other.judged),
            (&mut self.discarded, &other.discarded),
        ] {
            for (kind, count) in others {
                *mine.entry(*kind).or_default() += count;
            }
        }
        for (mode, count) in &other.by_mode {
            *self.by_mode.entry(*mode).or_default() += count;
        }
        self.wakes += other.wakes;
        self.polls += other.polls;
        self.events += other.events;
        self.rates += other.rates;
        self.exempted.add(&other.exempted);
    }
}

/// A poll, and what the kernel said around it.
pub struct Polled<'a> {
    /// How many polls had begun when this one did, itself included.
    pub number: u64,
    pub before: &'a HashMap<Token, Bits>,
    pub after: &'a HashMap<Token, Bits>,
    pub events: &'a [(Token, Bits)],
    pub capacity: usize,
}

/// How the events of a source were answered.
pub struct Answered<'a> {
    pub text: &'a str,
    pub last: Option<Outcome>,
    /// Any source of the program was written to.
    pub sends: bool,
}

/// What was owed within the back-off and has not come yet.
#[derive(Clone, Debug)]
pub struct Outstanding {
    pub token: Token,
    pub bits: Bits,
    pub bound: Duration,
}

pub struct Judge {
    backend: Backend,
    registrations: BTreeMap<Token, Registration>,
    /// Registrations that have ended, with the number of polls that had begun by then.
    ended: HashMap<Token, u64>,
    wakers: BTreeMap<Token, WakerState>,
    pub tally: Tally,
    pub failures: Vec<Failure>,
}

impl Judge {
    pub fn new(backend: Backend) -> Judge {
        Judge {
            backend,
            registrations: BTreeMap::new(),
            ended: HashMap::new(),
            wakers: BTreeMap::new(),
            tally: Tally::default(),
            failures: Vec::new(),
        }
    }

    /// Whether the backend makes edges of levels, and is judged by the rules for those.
    fn rearms(&self) -> bool {
        !matches!(self.backend, Backend::Epoll | Backend::Kqueue)
    }

    pub fn registrations(&self) -> usize {
        self.registrations.len()
    }

    /// Whether the last event of a registration was of data, without an error or a hang-up.
    pub fn was_readable(&self, token: Token) -> bool {
        self.registrations.get(&token).is_some_and(|r| {
            !r.closed && r.last.contains(Bits::READ) && !r.last.intersects(UNMASKED | Bits::END)
        })
    }

    pub fn registration(&self, token: Token) -> Option<&Registration> {
        self.registrations.get(&token)
    }

    /// A registration begins. It must be said before the call that makes it, for its events may come
    /// before the call returns.
    pub fn registered(&mut self, token: Token, kind: Kind, owner: Owner, wanted: Wanted) {
        let mode = match wanted.mode {
            _ if is_exit(kind) && self.backend == Backend::Kqueue => Mode::OneShot,
            mode => mode,
        };
        let interest = match wanted.interest.bits() {
            // Reaping it is a hang-up on some kernels.
            bits if is_exit(kind) => bits & Bits::READ,
            bits if mode.is_exclusive() => bits - Bits::END,
            bits => bits,
        };
        self.registrations.insert(
            token,
            Registration {
                kind,
                owner,
                mode,
                has_fired: false,
                interest,
                owed: interest.iter().map(|bit| (bit.bits(), Owed::Now)).collect(),
                last: Bits::empty(),
                reported: Bits::empty(),
                history: vec!["registered".to_owned()],
                starved: 0,
                starved_since: Instant::now(),
                starved_now: 0,
                missed: 0,
                at_first: None,
                fresh: Bits::empty(),
                hung_up: false,
                anew: Bits::empty(),
                window: None,
                closed: false,
            },
        );
    }

    /// Of a registration.
    pub fn mode(&self, token: Token) -> Mode {
        let r = self.registrations.get(&token);
        r.map_or(Mode::default(), |r| r.mode)
    }

    /// It did not come to be.
    pub fn not_registered(&mut self, token: Token) {
        self.registrations.remove(&token);
        self.ended.insert(token, 0);
    }

    /// It has ended, after so many polls had begun.
    pub fn ended(&mut self, token: Token, polls: u64) {
        self.registrations.remove(&token);
        self.ended.insert(token, polls);
    }

    /// Its descriptor was closed and it was not deregistered.
    pub fn closed(&mut self, token: Token) {
        if let Some(registration) = self.registrations.get_mut(&token) {
            registration.closed = true;
        }
    }

    /// Whether the descriptor of any was, and is registered all the same.
    pub fn has_closed(&self) -> bool {
        self.registrations.values().any(|r| r.closed)
    }

    pub fn waker_made(&mut self, token: Token) {
        self.wakers.insert(token, WakerState::default());
    }

    /// It was dropped, after so many polls had begun.
    pub fn waker_dropped(&mut self, token: Token, polls: u64) {
        self.wakers.remove(&token);
        self.ended.insert(token, polls);
    }

    /// To be said before it wakes, after so many polls had begun: the event may come before the call returns.
    pub fn wake(&mut self, token: Token, polls: u64) {
        if let Some(waker) = self.wakers.get_mut(&token) {
            // What was owed before is owed still.
            if !waker.is_owed {
                waker.polls = polls;
            }
            waker.is_owed = true;
            waker.needless = 0;
        }
    }

    pub fn owes_a_wake(&self) -> bool {
        self.wakers.values().any(|waker| waker.is_owed)
    }

    /// What was owed of wakers did not come.
    pub fn wakes_were_lost(&mut self, how: &str) {
        for waker in self.wakers.values_mut() {
            if std::mem::take(&mut waker.is_owed) {
                self.failures.push(Failure {
                    check: Check::WakeLost,
                    source: None,
                    bits: Bits::empty(),
                    text: how.to_owned(),
                });
            }
        }
    }

    /// An operation on the source begins. Events that come until its outcome is known may be of
    /// before and of after.
    pub fn begin(&mut self, token: Token) {
        if let Some(registration) = self.registrations.get_mut(&token) {
            registration.window = Some(Bits::empty());
        }
    }

    /// An operation on the source had this outcome, after which the kernel says `now`.
    pub fn outcome(
        &mut self,
        token: Token,
        direction: Bits,
        door: Door,
        outcome: Outcome,
        now: Option<Bits>,
        text: &str,
    ) {
        let (backend, rearms) = (self.backend, self.rearms());
        let Some(r) = self.registrations.get_mut(&token) else {
            return;
        };
        let meanwhile = r.window.take().unwrap_or_default();
        r.history.push(format!("{text} {outcome:?}"));
        let now_or_late = match rearms && r.owner == Owner::Raw {
            true => Owed::WithinBackOff,
            false => Owed::Now,
        };
        let in_progress = outcome == Outcome::Failed(libc::EINPROGRESS);
        // It blocks, or stops short, although the kernel says that it is ready: behind the last data
        // there is the end, or there is not enough space for this message.
        let blocked = direction - now.unwrap_or_default() - meanwhile;
        match outcome {
            Outcome::WouldBlock => {
                r.owe(blocked, now_or_late);
                if rearms && door == Door::Unknown {
                    r.owe(r.directions() - meanwhile, Owed::WithinBackOff);
                }
            }
            Outcome::Short => r.owe(blocked, now_or_late),
            Outcome::Failed(_) if in_progress && !rearms => r.owe(direction - meanwhile, Owed::Now),
            Outcome::Failed(_) | Outcome::ShortPeek if rearms => {
                r.owe(r.directions() - meanwhile, Owed::WithinBackOff);
            }
            _ => {}
        }
        let failed = matches!(outcome, Outcome::Failed(_));
        let Some(now) = now.map(|now| r.seen_by(backend, now)) else {
            return;
        };
        let gone = r.reported - now - meanwhile;
        let took_error = matches!(outcome, Outcome::TookError(_));
        let unsuccessful = failed || took_error || outcome == Outcome::WouldBlock;
        if unsuccessful && !r.kind_is_consumed() {
            let gone = gone - Bits::PRIORITY;
            r.reported -= gone;
            // A raw descriptor's hang-up that ends between two probes is not seen.
            let is_seen = !rearms || r.owner != Owner::Raw;
            r.owe(if is_seen { gone } else { gone & Bits::ERROR }, now_or_late);
            if r.owner != Owner::Raw {
                // Unlatched by a probe at once.
                r.last -= gone;
            }
            if rearms && (failed || took_error) {
                r.owe(
                    (r.reported & Bits::ERROR & now) - meanwhile,
                    Owed::WithinBackOff,
                );
            }
        }
    }

    /// The kernel says `now` of it, whoever changed that.
    pub fn observed(&mut self, token: Token, now: Bits) {
        let (backend, rearms) = (self.backend, self.rearms());
        let Some(r) = self.registrations.get_mut(&token) else {
            return;
        };
        r.at_first.get_or_insert(now);
        let gone = r.reported - r.seen_by(backend, now);
        if !rearms {
            r.reported -= gone;
            r.owe(gone, Owed::Now);
        } else {
            // Priority data is probed, whoever owns the source.
            let probed = match r.owner {
                Owner::Raw => gone & (Bits::ERROR | Bits::PRIORITY),
                _ => gone & Bits::PRIORITY,
            };
            r.reported -= probed;
            r.owe(probed, Owed::WithinBackOff);
        }
    }

    /// Something came about that a poll(2) would take away if it was asked.
    pub fn happened_unobserved(&mut self, token: Token) {
        let rearms = self.rearms();
        if let Some(r) = self.registrations.get_mut(&token) {
            r.owe(
                Bits::ERROR,
                if rearms && r.owner == Owner::Raw {
                    Owed::WithinBackOff
                } else {
                    Owed::Now
                },
            );
        }
    }

    /// Judges a poll; returns what is still to come within the back-off.
    pub fn polled(&mut self, polled: &Polled) -> Vec<Outstanding> {
        self.tally.polls += 1;
        self.tally.events += polled.events.len() as u64;
        if polled.events.len() > polled.capacity {
            let text = format!(
                "{} events for a capacity of {}",
                polled.events.len(),
                polled.capacity
            );
            self.fail(Check::OverCapacity, None, Bits::empty(), text);
        }
        let is_full = self.places(polled.events) >= polled.capacity;
        let mut outstanding = Vec::new();
        let tokens: Vec<Token> = self.registrations.keys().copied().collect();
        for token in tokens {
            let events = polled.events.iter().filter(|(of, _)| *of == token);
            let named = events.fold(Bits::empty(), |all, (_, bits)| all | *bits);
            outstanding.extend(self.judge_one(polled, token, named, is_full));
        }
        let mut seen: Vec<Token> = Vec::new();
        for &(token, named) in polled.events {
            self.event(token, named, polled.number);
            if seen.contains(&token) {
                match exemptions::two_events(self.backend) {
                    Some(exemption) => self.tally.exempted.count(exemption),
                    None => self.fail(Check::TwoEvents, Some(token), named, "from one poll".into()),
                }
            }
            seen.push(token);
        }
        let before = |waker: &WakerState| waker.is_owed && waker.polls < polled.number;
        if !is_full && self.wakers.values().any(before) {
            self.wakes_were_lost("the poll after a wake did not report it");
        }
        outstanding
    }

    /// How many places of the buffer a poll may have needed. On a kqueue each filter needs one: where
    /// they are one-shot, both may be one event, and the other one none if it fires after the event.
    fn places(&self, events: &[(Token, Bits)]) -> usize {
        if self.backend != Backend::Kqueue {
            return events.len();
        }
        let both = Bits::READ | Bits::WRITE;
        // Of a receiver, which is never writable, both filters may say that the last sender has closed.
        let is_merged = |&&(token, named): &&(Token, Bits)| {
            self.registrations.get(&token).is_some_and(|r| {
                let is_end = r.interest.contains(both) && named.contains(Bits::END);
                r.mode.is_one_shot() && (named.contains(both) || is_end)
            })
        };
        let merged = events.iter().filter(is_merged).count();
        let is_left =
            |r: &&Registration| r.has_fired && r.interest.contains(both) && !r.last.contains(both);
        let left = self.registrations.values().filter(is_left).count();
        events.len() + merged + left
    }

    fn judge_one(
        &mut self,
        polled: &Polled,
        token: Token,
        named: Bits,
        is_full: bool,
    ) -> Option<Outstanding> {
        let (Some(&before), Some(&after)) = (polled.before.get(&token), polled.after.get(&token))
        else {
            return None;
        };
        let rearms = self.rearms();
        let backend = self.backend;
        let r = self.registrations.get_mut(&token).filter(|r| !r.closed)?;
        let anything = r.nameable(backend, before | after);
        let (before, after) = (r.seen_by(backend, before), r.seen_by(backend, after));
        let (kind, both, either) = (r.kind, before & after, before | after);
        if rearms {
            r.hang_up_may_have_ended(either);
            // An event has no bit for it alone: an end beside an error looks the same.
            r.hung_up |= (named & both).contains(Bits::HUP);
        }
        let owed = r.owed_at_least(Owed::WithinBackOff) & r.interest;
        let due = owed & both;
        let reported = named;
        self.tally.judged(kind, r.mode, due & reported);
        let differing = (owed & (either - both)).iter().count() as u64;
        *self.tally.discarded.entry(kind).or_default() += differing;

        let mut missing = due - reported;
        if let Some(exemption) = exemptions::direction(backend, kind, missing, both) {
            self.tally.exempted.count_direction(exemption, kind);
            r.owe_nothing(missing);
            missing = Bits::empty();
        }
        let now = match r.is_latched(rearms) {
            true => Bits::empty(),
            false => missing & r.owed_at_least(Owed::Now),
        };
        let later = missing - now;
        if missing.is_empty() || r.starved == 0 {
            r.starved_since = Instant::now();
        }
        if missing.is_empty() {
            (r.starved, r.starved_now, r.missed) = (0, 0, 0);
        } else if is_full {
            r.starved += 1;
            r.starved_now += usize::from(!now.is_empty());
        } else if !now.is_empty() {
            r.missed += 1;
        }
        if rearms && is_full {
            // It may have been probed, and may not.
            r.fresh = Bits::empty();
        } else if rearms {
            r.probed_by_this_poll(either);
        }
        let (missed, bound, mode) = (r.missed, r.bound(), r.mode);
        let most_missed = match mode {
            Mode::Edge => exemptions::polls_allowed(backend, named),
            _ => 0,
        };
        let at_first = r.at_first.unwrap_or(Bits::all());
        // In a pause it has no turn: polls count whose turn it was, or all where no pause is so long.
        let starved = match r.starved_since.elapsed() > bound {
            true => r.starved,
            false => r.starved_now,
        };
        let most = most_turns(self.registrations.len());
        if starved > most {
            self.fail(
                Check::Starved,
                Some(token),
                missing,
                format!("for {starved} polls that were full"),
            );
        } else if !now.is_empty() && !is_full && missed > most_missed {
            let text = format!("ready before and after the poll, which returned {named:?} of it");
            self.fail(Check::Lost, Some(token), now, text);
        }

        if matches!(kind, Kind::Receiver | Kind::Fifo) && named.contains(Bits::WRITE) {
            let text = format!("nobody writes to it, and the event says {named:?}");
            self.fail(Check::False, Some(token), Bits::WRITE, text);
        }
        let is_observed = kind != Kind::Mounts;
        let directions = Bits::READ | Bits::WRITE | Bits::PRIORITY;
        let mut not_ready = (named & directions) - anything;
        let is_unix_stream = matches!(kind, Kind::UnixStream | Kind::Seqpacket);
        if backend == Backend::Kqueue && is_unix_stream && named.contains(Bits::WRITE_END) {
            // Of a half that the program has shut down, poll(2) says only whether there is space.
            not_ready -= Bits::WRITE;
        }
        if mode.is_level() && is_observed && !not_ready.is_empty() {
            let text = format!("the event says {named:?}, the kernel {anything:?}");
            self.fail(Check::False, Some(token), not_ready, text);
        }
        if backend == Backend::Kqueue {
            // The end of a pipe that nobody reads is one of reading there, too.
            let ends = Bits::END | UNMASKED;
            let mut false_end = named.contains(Bits::END) && !anything.intersects(ends);
            if is_end_of_a_pipe(kind) {
                // One that had no reader when it was registered may be reported a little later.
                let anything = anything | at_first;
                false_end = named.intersects(Bits::END | Bits::WRITE_END);
                false_end &= !anything.intersects(ends);
            }
            if false_end {
                let text = format!("the event says {named:?}, the kernel {anything:?}");
                self.fail(Check::False, Some(token), Bits::END, text);
            }
        } else if is_observed {
            let not_there = (named & Bits::ERROR) - anything;
            let ends = match mode.is_exclusive() {
                true => Bits::HUP,
                false => Bits::END | Bits::HUP,
            };
            let ended = named.intersects(ends | Bits::END) && !anything.intersects(ends);
            if !not_there.is_empty() || ended {
                let text = format!("the event says {named:?}, the kernel {anything:?}");
                self.fail(Check::False, Some(token), named - anything, text);
            }
            let r = &self.registrations[&token];
            let absent = (both & r.interest & directions) - named;
            if named.intersects(UNMASKED) && either.intersects(UNMASKED) && !absent.is_empty() {
                let text = format!("the event names {named:?}, and all this is ready: {both:?}");
                self.fail(Check::Incomplete, Some(token), absent, text);
            }
        }
        (!later.is_empty()).then_some(Outstanding {
            token,
            bits: later,
            bound,
        })
    }

    /// An event came, of a poll before which so many had begun.
    pub fn event(&mut self, token: Token, named: Bits, poll: u64) {
        if let Some(waker) = self.wakers.get_mut(&token) {
            match std::mem::take(&mut waker.is_owed) {
                true => self.tally.wakes += 1,
                false => waker.needless += 1,
            }
            if waker.needless > most_events(Duration::ZERO) {
                let text = format!("{} events of a waker that nobody woke", waker.needless);
                waker.needless = 0;
                self.fail(Check::Rate, None, named, text);
            }
            if named != Bits::READ {
                let text = format!("a waker's event says {named:?}");
                self.fail(Check::False, None, named, text);
            }
            return;
        }
        if let Some(r) = self.registrations.get_mut(&token) {
            if r.closed && self.backend == Backend::Kqueue {
                self.tally.exempted.count(Exemption::ClosedPipeOnKqueue);
            }
            let is_again = r.has_fired && !r.closed;
            r.reported_by(named);
            if let Some(window) = &mut r.window {
                *window |= named;
            }
            if is_again {
                let text = "one-shot, and reported before".to_owned();
                self.fail(Check::Again, Some(token), named, text);
            }
            return;
        }
        match self.ended.get(&token) {
            Some(&ended) if poll <= ended => {}
            Some(_) => self.fail(
                Check::Ended,
                None,
                named,
                format!("token {} was deregistered", shown(token)),
            ),
            None => self.fail(
                Check::Ended,
                None,
                named,
                format!("token {} is nobody's", shown(token)),
            ),
        }
    }

    /// An event of a thread that polls has named these, and now the kernel says `now`. An end and a
    /// hang-up of most sources are for good, so that a false one can be told from one that has gone.
    pub fn named_by_a_thread(&mut self, token: Token, named: Bits, now: Bits) {
        let ends = Bits::END | Bits::HUP;
        let is_for_good = self.registrations.get(&token).is_some_and(|r| {
            matches!(
                r.kind,
                Kind::Tcp | Kind::UnixStream | Kind::Seqpacket | Kind::Receiver | Kind::Sender
            )
        });
        if is_for_good && named.intersects(ends) && !now.intersects(ends | Bits::ERROR) {
            let text = format!("the event says {named:?}, the kernel {now:?}");
            self.fail(Check::False, Some(token), named & ends, text);
        }
    }

    /// What a registration produced in a time in which nothing happened to it.
    pub fn rate(&mut self, token: Token, events: usize, window: Duration, answered: &Answered) {
        self.tally.rates += 1;
        if events <= most_events(window) {
            return;
        }
        let by_level = |r: &&Registration| r.mode.is_level();
        let Some(r) = self.registrations.get(&token).filter(|r| !by_level(r)) else {
            return;
        };
        if let Some(exemption) = exemptions::rate(self.backend, r.kind, r.last, answered) {
            self.tally.exempted.count(exemption);
            return;
        }
        let text = format!(
            "{events} events in {} ms, each answered by {}",
            window.as_millis(),
            answered.text,
        );
        self.fail(Check::Rate, Some(token), r.last, text);
    }

    /// What was owed within the back-off did not come in time.
    pub fn never_came(&mut self, outstanding: &Outstanding, waited: Duration) {
        let text = format!("not reported within {} ms of polling", waited.as_millis());
        self.fail(Check::Lost, Some(outstanding.token), outstanding.bits, text);
    }

    /// A thread that polled all the time did not report it within `waited`, or only then.
    pub fn was_late(&mut self, token: Token, bits: Bits, waited: Duration, came: bool) {
        let r = self.registrations.get_mut(&token).filter(|_| !came);
        if let Some(r) = r {
            if let Some(exemption) = exemptions::direction(self.backend, r.kind, bits, r.last) {
                self.tally.exempted.count_direction(exemption, r.kind);
                r.owe_nothing(bits);
                return;
            }
        }
        let (check, how) = match came {
            true => (Check::Late, "reported after"),
            false => (Check::Lost, "not reported by a waiting thread within"),
        };
        self.fail(
            check,
            Some(token),
            bits,
            format!("{how} {:.1} ms", waited.as_secs_f64() * 1e3),
        );
    }

    /// What a thread that polls all the time has to report of a registration now, and whether at
    /// once.
    pub fn due(&self, token: Token, ready: Bits) -> (Bits, Bits) {
        let Some(r) = self.registrations.get(&token).filter(|r| !r.closed) else {
            return Default::default();
        };
        let judged = r.seen_by(self.backend, ready) & r.interest;
        let now = r.owed_at_least(Owed::Now) & judged;
        let all = r.owed_at_least(Owed::WithinBackOff) & judged;
        match r.is_latched(self.rearms()) {
            true => (Bits::empty(), all),
            false => (now, all - now),
        }
    }

    pub fn bound(&self, token: Token) -> Duration {
        self.registrations
            .get(&token)
            .map_or(BACK_OFF, Registration::bound)
    }

    /// A direction that was due was reported by a thread that polls.
    pub fn judged(&mut self, token: Token, bits: Bits) {
        if let Some(r) = self.registrations.get(&token) {
            self.tally.judged(r.kind, r.mode, bits);
        }
    }

    pub fn fail(&mut self, check: Check, token: Option<Token>, bits: Bits, text: String) {
        let r = token.and_then(|token| self.registrations.get(&token));
        let history = r.map(|r| {
            format!(
                "; since its last event ({:?}): {}",
                r.last,
                r.history.join(", ")
            )
        });
        self.failures.push(Failure {
            check,
            source: r.map(|r| (r.kind, r.owner)),
            bits,
            text: text + &history.unwrap_or_default(),
        });
    }
}

impl Registration {
    fn kind_is_consumed(&self) -> bool {
        self.kind == Kind::Mounts
    }

    /// What a backend has to say where poll(2) says `bits` of it.
    fn seen_by(&self, backend: Backend, bits: Bits) -> Bits {
        match backend {
            Backend::Kqueue => as_kqueue(bits, self.kind),
            Backend::EventPorts if !has_rdhup() => bits - Bits::END,
            _ => bits,
        }
    }

    pub fn writes_only(&self) -> bool {
        !self.interest.intersects(Bits::READ | Bits::PRIORITY)
    }

    /// What an event may name where poll(2) says `bits`. To a kqueue all directions are ready at an end,
    /// and the exit of a child is one.
    fn nameable(&self, backend: Backend, mut bits: Bits) -> Bits {
        bits |= exemptions::always_named(backend, self.kind);
        if is_exit(self.kind) && bits.contains(Bits::READ) {
            bits |= Bits::END;
        }
        if bits.contains(Bits::PRIORITY) {
            bits |= Bits::READ;
        }
        if backend == Backend::Kqueue && bits.intersects(Bits::END | UNMASKED) {
            bits |= Bits::READ | Bits::WRITE;
        }
        bits
    }

    /// The directions that operations block in.
    fn directions(&self) -> Bits {
        self.interest & (Bits::READ | Bits::WRITE | Bits::PRIORITY)
    }

    fn owe(&mut self, bits: Bits, owed: Owed) {
        for bit in (bits & self.interest).iter() {
            let entry = self.owed.entry(bit.bits()).or_insert(Owed::No);
            *entry = owed.max(*entry);
        }
    }

    fn owe_nothing(&mut self, bits: Bits) {
        for bit in bits.iter() {
            self.owed.insert(bit.bits(), Owed::No);
        }
    }

    /// What is owed, by the mode.
    fn owed_at_least(&self, least: Owed) -> Bits {
        if self.has_fired {
            return Bits::empty();
        }
        if self.mode.is_level() {
            return self.interest;
        }
        let owed = self.owed.iter().filter(|(_, owed)| **owed >= least);
        owed.fold(Bits::empty(), |bits, (bit, _)| {
            bits | Bits::from_bits_retain(*bit)
        })
    }

    /// Whether what is owed now may come within the back-off, behind an error or a hang-up.
    fn is_latched(&self, rearms: bool) -> bool {
        rearms && !self.mode.is_level() && self.last.intersects(UNMASKED)
    }

    fn reported_by(&mut self, named: Bits) {
        self.has_fired |= self.mode.is_one_shot();
        self.owe_nothing(named);
        self.last = named;
        self.reported |= named & (UNMASKED | Bits::PRIORITY | Bits::END | Bits::WRITE_END);
        (self.fresh, self.anew) = (named, Bits::empty());
        self.history.clear();
        (self.starved, self.starved_now, self.missed) = (0, 0, 0);
    }

    /// Around a poll it was ready for these, if for anything. A hang-up that has ended makes another
    /// connection of it, which is new in every direction; if it hangs up again before that was
    /// reported, nobody need have seen it.
    fn hang_up_may_have_ended(&mut self, either: Bits) {
        if either.contains(Bits::HUP) {
            let anew = std::mem::take(&mut self.anew);
            self.owe_nothing(anew);
        } else if std::mem::take(&mut self.hung_up) {
            self.anew = self.directions() - self.owed_at_least(Owed::WithinBackOff);
            self.owe(self.anew, Owed::WithinBackOff);
        }
    }

    /// The poll after an event probes a raw descriptor, whatever pause runs: what is not ready then is
    /// armed, and is reported at once when it is ready.
    fn probed_by_this_poll(&mut self, either: Bits) {
        let fresh = std::mem::take(&mut self.fresh);
        if self.owner == Owner::Raw && !self.last.intersects(UNMASKED) {
            self.owe((fresh & self.directions()) - either, Owed::Now);
        }
    }

    fn bound(&self) -> Duration {
        match self.last.contains(Bits::HUP | Bits::END) {
            true => LONG_BACK_OFF,
            false => BACK_OFF,
        }
    }
}

/// Whether it is written to.
fn is_end_of_a_pipe(kind: Kind) -> bool {
    matches!(kind, Kind::Sender | Kind::FifoWriter)
}

/// Whether the model of event ports plays a kernel with POLLRDHUP.
fn has_rdhup() -> bool {
    std::env::var_os("EVENT_PORTS_MODEL_RDHUP").is_none_or(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Interest;

    const WAKER: Token = 99;

    /// A judge with one registration of a stream, whose first event has come.
    fn judge(backend: Backend, owner: Owner) -> Judge {
        let mut judge = Judge::new(backend);
        judge.waker_made(WAKER);
        judge.registered(1, Kind::UnixStream, owner, Interest::Both.into());
        poll(
            &mut judge,
            Bits::READ | Bits::WRITE,
            &[(1, Bits::READ | Bits::WRITE)],
        );
        assert!(judge.failures.is_empty(), "{:?}", judge.failures);
        judge
    }

    /// A poll around which the registration is ready for `ready`.
    fn poll(judge: &mut Judge, ready: Bits, events: &[(Token, Bits)]) -> Vec<Outstanding> {
        poll_around(judge, ready, ready, events)
    }

    fn poll_around(
        judge: &mut Judge,
        before: Bits,
        after: Bits,
        events: &[(Token, Bits)],
    ) -> Vec<Outstanding> {
        judge.polled(&Polled {
            number: 1,
            before: &HashMap::from([(1, before)]),
            after: &HashMap::from([(1, after)]),
            events,
            capacity: 4,
        })
    }

    fn done(judge: &mut Judge, door: Door, outcome: Outcome, now: Bits) {
        judge.begin(1);
        judge.outcome(1, Bits::READ, door, outcome, Some(now), "an operation");
    }

    fn checks(judge: &Judge) -> Vec<Check> {
        judge.failures.iter().map(|failure| failure.check).collect()
    }

    #[test]
    fn what_would_have_blocked_and_is_ready_again_is_owed() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::WRITE);
        assert!(poll(&mut judge, Bits::READ | Bits::WRITE, &[]).is_empty());
        assert_eq!(checks(&judge), [Check::Lost]);
        assert_eq!(judge.failures[0].bits, Bits::READ);
    }

    #[test]
    fn what_is_still_ready_is_not_owed_again() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        done(
            &mut judge,
            Door::Method,
            Outcome::Succeeded,
            Bits::READ | Bits::WRITE,
        );
        poll(&mut judge, Bits::READ | Bits::WRITE, &[]);
        assert_eq!(checks(&judge), []);
    }

    /// An event port may announce a second thing after the first one, and nothing instead of both.
    #[test]
    fn a_poll_of_event_ports_that_leaves_out_what_is_ready_reports_something_else_of_it() {
        for (named, failures) in [(None, 1), (Some((1, Bits::WRITE)), 0)] {
            let mut judge = judge(Backend::EventPorts, Owner::Typed);
            done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::WRITE);
            poll(&mut judge, Bits::READ | Bits::WRITE, named.as_slice());
            assert_eq!(checks(&judge).len(), failures, "{named:?}");
        }
    }

    #[test]
    fn nothing_is_judged_where_the_two_observations_differ() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::WRITE);
        poll_around(&mut judge, Bits::empty(), Bits::READ, &[]);
        assert_eq!(checks(&judge), []);
        assert_eq!(judge.tally.discarded[&Kind::UnixStream], 1);
    }

    #[test]
    fn a_failure_owes_a_report_on_backends_that_re_arm_only() {
        for (backend, owed) in [(Backend::Epoll, 0), (Backend::Poll, 1)] {
            let mut judge = judge(backend, Owner::Typed);
            let failed = Outcome::Failed(libc::EMFILE);
            done(&mut judge, Door::Method, failed, Bits::READ);
            assert_eq!(poll(&mut judge, Bits::READ, &[]).len(), owed, "{backend}");
            assert_eq!(checks(&judge), [], "within the back-off");
        }
    }

    #[test]
    fn a_raw_descriptor_has_the_time_of_the_back_off() {
        let mut judge = judge(Backend::Poll, Owner::Raw);
        done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::WRITE);
        let outstanding = poll(&mut judge, Bits::READ, &[]);
        assert_eq!(
            (outstanding[0].bits, outstanding[0].bound),
            (Bits::READ, BACK_OFF)
        );
        judge.never_came(&outstanding[0], BACK_OFF);
        assert_eq!(checks(&judge), [Check::Lost]);
    }

    #[test]
    fn a_raw_descriptor_that_the_next_poll_finds_drained_is_owed_at_once() {
        for (at_the_next_poll, failures) in [(Bits::WRITE, 1), (Bits::READ | Bits::WRITE, 0)] {
            let mut judge = judge(Backend::Poll, Owner::Raw);
            poll(&mut judge, at_the_next_poll, &[]);
            done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::WRITE);
            poll(&mut judge, Bits::READ | Bits::WRITE, &[]);
            assert_eq!(checks(&judge).len(), failures, "{at_the_next_poll:?}");
        }
    }

    #[test]
    fn a_hang_up_that_has_ended_owes_every_direction_unless_it_is_back() {
        let up = Bits::READ | Bits::WRITE;
        for (again, owed) in [(up, 1), (up | Bits::HUP, 0)] {
            let mut judge = judge(Backend::Poll, Owner::Typed);
            poll(&mut judge, up | Bits::HUP, &[(1, up | Bits::HUP)]);
            poll(&mut judge, Bits::empty(), &[]);
            assert_eq!(poll(&mut judge, again, &[]).len(), owed, "{again:?}");
        }
    }

    #[test]
    fn priority_data_that_was_read_and_is_there_again_is_owed() {
        for backend in [Backend::Epoll, Backend::Poll] {
            let mut judge = Judge::new(backend);
            judge.registered(1, Kind::Tcp, Owner::Typed, Interest::ReadPriority.into());
            poll(&mut judge, Bits::PRIORITY, &[(1, Bits::PRIORITY)]);
            assert!(poll(&mut judge, Bits::PRIORITY, &[]).is_empty());
            judge.observed(1, Bits::empty());
            let outstanding = poll(&mut judge, Bits::PRIORITY, &[]).len();
            assert_eq!(outstanding + judge.failures.len(), 1, "{backend}");
        }
    }

    #[test]
    fn an_error_that_was_picked_up_and_is_there_again_is_owed() {
        let mut judge = judge(Backend::Poll, Owner::Typed);
        poll(&mut judge, Bits::ERROR, &[(1, Bits::ERROR)]);
        done(
            &mut judge,
            Door::Unknown,
            Outcome::Failed(libc::ECONNREFUSED),
            Bits::empty(),
        );
        poll(&mut judge, Bits::ERROR, &[]);
        assert_eq!(checks(&judge), [Check::Lost]);
        assert_eq!(judge.failures[0].bits, Bits::ERROR);
    }

    #[test]
    fn an_event_between_the_start_and_the_end_of_an_operation_leaves_nothing_owed() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        judge.begin(1);
        judge.event(1, Bits::READ, 1);
        judge.outcome(
            1,
            Bits::READ,
            Door::Method,
            Outcome::WouldBlock,
            Some(Bits::empty()),
            "",
        );
        poll(&mut judge, Bits::READ, &[]);
        assert_eq!(checks(&judge), []);
    }

    #[test]
    fn an_event_of_a_registration_that_has_ended_is_a_failure_unless_the_poll_had_begun() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        judge.ended(1, 5);
        judge.event(1, Bits::READ, 5);
        assert_eq!(checks(&judge), []);
        judge.event(1, Bits::READ, 6);
        judge.event(2, Bits::READ, 6);
        assert_eq!(checks(&judge), [Check::Ended, Check::Ended]);
    }

    #[test]
    fn an_error_that_is_not_there_and_an_end_that_is_not_there_are_false() {
        for named in [Bits::ERROR, Bits::READ | Bits::END] {
            let mut judge = judge(Backend::Poll, Owner::Typed);
            poll(&mut judge, Bits::READ, &[(1, named)]);
            assert_eq!(checks(&judge), [Check::False]);
        }
    }

    #[test]
    fn a_hang_up_names_all_that_is_ready() {
        let mut judge = judge(Backend::EventPorts, Owner::Typed);
        let hung_up = Bits::HUP | Bits::END;
        poll(
            &mut judge,
            Bits::READ | Bits::WRITE | hung_up,
            &[(1, Bits::READ | hung_up)],
        );
        assert_eq!(checks(&judge), [Check::Incomplete]);
    }

    #[test]
    fn two_events_and_a_lost_wake_up_are_failures() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        poll(&mut judge, Bits::READ, &[(1, Bits::READ), (1, Bits::WRITE)]);
        judge.wake(WAKER, 0);
        poll(&mut judge, Bits::empty(), &[]);
        assert_eq!(checks(&judge), [Check::TwoEvents, Check::WakeLost]);
    }

    #[test]
    fn a_buffer_that_is_always_full_of_others_starves() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::WRITE);
        for other in 2..6 {
            judge.registered(other, Kind::Udp, Owner::Typed, Interest::Read.into());
        }
        let others: Vec<_> = (2..6).map(|other| (other, Bits::READ)).collect();
        for _ in 0..30 {
            poll(&mut judge, Bits::READ, &others);
        }
        assert_eq!(checks(&judge).first(), Some(&Check::Starved));
    }

    /// Of those that were full while it was in a pause, a poll says nothing.
    #[test]
    fn only_polls_whose_turn_it_was_starve() {
        let mut judge = judge(Backend::EventPorts, Owner::Typed);
        let others: Vec<_> = (2..6).map(|other| (other, Bits::READ)).collect();
        for &(other, _) in &others {
            judge.registered(other, Kind::Udp, Owner::Typed, Interest::Read.into());
        }
        let failed = Outcome::Failed(libc::ENOTCONN);
        done(&mut judge, Door::Method, failed, Bits::READ);
        for _ in 0..30 {
            poll(&mut judge, Bits::READ, &others);
        }
        done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::empty());
        poll(&mut judge, Bits::READ, &others);
        assert_eq!(checks(&judge), []);
        for _ in 0..30 {
            poll(&mut judge, Bits::READ, &others);
        }
        assert_eq!(checks(&judge).first(), Some(&Check::Starved));
    }

    /// A judge with one registration of a stream in a mode, ready for both directions, whose first event
    /// has named them.
    fn judge_of_mode(backend: Backend, mode: Mode) -> Judge {
        let mut judge = Judge::new(backend);
        let interest = Interest::Both;
        judge.registered(1, Kind::UnixStream, Owner::Raw, Wanted { interest, mode });
        let both = Bits::READ | Bits::WRITE;
        poll(&mut judge, both, &[(1, both)]);
        assert_eq!(checks(&judge), []);
        judge
    }

    const ALL: [Backend; 4] = [
        Backend::Epoll,
        Backend::Poll,
        Backend::Kqueue,
        Backend::EventPorts,
    ];

    #[test]
    fn a_level_is_owed_in_each_poll_and_names_only_what_is_ready() {
        let both = Bits::READ | Bits::WRITE;
        for backend in ALL {
            let mut judge = judge_of_mode(backend, Mode::Level);
            for _ in 0..100 {
                poll(&mut judge, both, &[(1, both)]);
                poll(&mut judge, Bits::empty(), &[]);
            }
            let answered = Answered {
                text: "nothing",
                last: None,
                sends: false,
            };
            judge.rate(1, 100, Duration::from_millis(1), &answered);
            assert_eq!(checks(&judge), []);
            poll(&mut judge, both, &[(1, Bits::WRITE)]);
            assert_eq!(checks(&judge), [Check::Lost]);
            poll(&mut judge, Bits::WRITE, &[(1, both)]);
            assert_eq!(checks(&judge), [Check::Lost, Check::False]);
        }
    }

    #[test]
    fn one_shot_is_one_event_that_names_all() {
        let both = Bits::READ | Bits::WRITE;
        for backend in ALL {
            let mut judge = judge_of_mode(backend, Mode::LevelOneShot);
            done(&mut judge, Door::Method, Outcome::WouldBlock, Bits::empty());
            poll(&mut judge, both | Bits::END | Bits::HUP, &[]);
            assert_eq!(checks(&judge), []);
            poll(&mut judge, both, &[(1, both)]);
            assert_eq!(checks(&judge), [Check::Again]);
            let mut judge = Judge::new(backend);
            let (interest, mode) = (Interest::Both, Mode::OneShot);
            judge.registered(1, Kind::UnixStream, Owner::Raw, Wanted { interest, mode });
            poll(&mut judge, both, &[(1, Bits::READ)]);
            assert_eq!(checks(&judge), [Check::Lost]);
        }
    }

    #[test]
    fn an_exclusive_registration_has_no_end() {
        let both = Bits::READ | Bits::WRITE;
        let mut judge = judge_of_mode(Backend::Epoll, Mode::Exclusive);
        poll(&mut judge, both | Bits::END, &[]);
        assert_eq!(checks(&judge), []);
        poll(&mut judge, both | Bits::END, &[(1, both | Bits::END)]);
        assert_eq!(checks(&judge), [Check::False]);
    }

    #[test]
    fn an_exit_is_owed_and_on_kqueue_comes_once() {
        for backend in [Backend::Epoll, Backend::Poll, Backend::Kqueue] {
            let mut judge = Judge::new(backend);
            let (interest, mode) = (Interest::Both, Mode::Level);
            judge.registered(1, Kind::ChildExit, Owner::Typed, Wanted { interest, mode });
            poll(&mut judge, Bits::empty(), &[]);
            let exited = [(1, Bits::READ | Bits::END)];
            poll(&mut judge, Bits::READ, &exited);
            assert_eq!(checks(&judge), []);
            // Reaped.
            poll(&mut judge, Bits::READ | Bits::HUP, &exited);
            let again: &[Check] = match backend {
                Backend::Kqueue => &[Check::Again],
                _ => &[],
            };
            assert_eq!(checks(&judge), again);
        }
    }

    #[test]
    fn more_events_than_the_capacity_are_a_failure() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        for other in 2..6 {
            judge.registered(other, Kind::Udp, Owner::Typed, Interest::Read.into());
        }
        let all: Vec<_> = (1..6).map(|token| (token, Bits::READ)).collect();
        poll(&mut judge, Bits::READ, &all);
        assert_eq!(checks(&judge), [Check::OverCapacity]);
    }

    #[test]
    fn a_waker_is_readable_and_comes_as_often_as_it_is_woken() {
        let mut judge = judge(Backend::Epoll, Owner::Typed);
        judge.wake(WAKER, 0);
        poll(&mut judge, Bits::empty(), &[(WAKER, Bits::WRITE)]);
        assert_eq!(checks(&judge), [Check::False]);
        for _ in 0..40 {
            poll(&mut judge, Bits::empty(), &[(WAKER, Bits::READ)]);
        }
        assert_eq!(checks(&judge), [Check::False, Check::Rate]);
    }

    #[test]
    fn as_many_events_as_the_back_off_allows_and_no_more() {
        let mut judge = judge(Backend::Poll, Owner::Raw);
        for (events, window, failures) in [(30, 200, 0), (47, 1500, 0), (31, 200, 1), (48, 1500, 2)]
        {
            let answered = Answered {
                text: "nothing",
                last: None,
                sends: false,
            };
            judge.rate(1, events, Duration::from_millis(window), &answered);
            assert_eq!(
                judge.failures.len(),
                failures,
                "{events} events in {window} ms"
            );
        }
    }
}
