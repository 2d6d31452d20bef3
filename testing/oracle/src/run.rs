//! Runs a program: in one thread, where polling is a step like any other, or with a thread that
//! polls all the time.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Backend, Events, Poll, Waker};

use crate::bits::{named, Bits};
use crate::exemptions::two_events;
use crate::handle::{raw, Outcome};
use crate::judge::{
    most_events, most_turns, Answered, Check, Failure, Outstanding, Polled, Tally, Token, BACK_OFF,
};
use crate::program::{Act, Answer, By, Door, Far, Interest, Mode, Op, Polling, Program, Step};
use crate::world::{shown, Behind, Entry, World, STOP};

/// What came of a program.
pub struct Ran {
    pub failures: Vec<Failure>,
    pub tally: Tally,
    pub log: Vec<Entry>,
    /// How long after it was due each thing was reported that was due at once, by a thread that
    /// waited.
    pub delays: Vec<Duration>,
}

/// A thread that waits must have reported what is due at once by then, on a machine with other work.
pub const AT_ONCE: Duration = Duration::from_millis(20);
/// After this it is lost.
const LOST: Duration = Duration::from_millis(1500);
/// A source that has no event for so long is in no busy loop.
const GAP: Duration = Duration::from_millis(10);
/// A program whose answers change something each time goes on for ever by itself.
const MOST_ANSWERS: usize = 1000;
/// Of a thread that polls; and the one that interruptions come within.
const TIMEOUT: Duration = Duration::from_secs(1);
const SHORT_TIMEOUT: Duration = Duration::from_millis(50);
/// Of the waker that makes the thread take up another timeout.
const NUDGE: Token = STOP + 1;
/// Of streams that take each other's place.
const HANGS_UP: Token = STOP + 2;
const STANDS: Token = STOP + 3;
/// A poll that waits needs less of the processor, and less than an eighth of the time: a thread that
/// spins gets more, on a machine with other work.
const SPINS: Duration = Duration::from_millis(25);
/// Polls that report a level follow each other at this distance.
const BETWEEN_LEVELS: Duration = Duration::from_millis(1);
/// A program whose thread has more events spins, and would go on and on.
const MOST_EVENTS: usize = 20_000;
/// How long a poll may take beyond its timeout.
const SLACK: Duration = Duration::from_millis(300);

/// A poll of a program in one thread that has not returned after this never does.
const HANGS: Duration = Duration::from_secs(20);
/// Nor is a program with a thread over then.
const NEVER_OVER: Duration = Duration::from_secs(60);

/// Until when something has to be over. There is one program at a time.
static DEADLINE: Mutex<Option<(Instant, &str)>> = Mutex::new(None);

/// Ends the process with a finding if what has to be over is not: nothing else can end it.
pub fn watch() {
    thread::spawn(|| loop {
        thread::sleep(Duration::from_millis(200));
        let deadline = *DEADLINE.lock().unwrap();
        if let Some((_, what)) = deadline.filter(|(deadline, _)| Instant::now() > *deadline) {
            println!("FOUND Hangs: {what}");
            std::process::exit(1);
        }
    });
}

/// What has to be over within a time, if `watch` was called.
fn over_within<T>(time: Duration, what: &'static str, run: impl FnOnce() -> T) -> T {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            *DEADLINE.lock().unwrap() = None;
        }
    }
    *DEADLINE.lock().unwrap() = Some((Instant::now() + time, what));
    let _also_if_it_panics = Done;
    run()
}

pub fn run(program: &Program, backend: Backend) -> Ran {
    let is_threaded = program.polling == Polling::InAThread;
    let (world, poll) = World::new(backend, &program.sources, is_threaded).expect("opens a poll");
    let delays = match program.polling {
        Polling::InTurn => {
            InTurn {
                world: &world,
                poll,
                events: Events::with_capacity(program.capacity),
                capacity: program.capacity,
            }
            .run(program);
            Vec::new()
        }
        Polling::InAThread => over_within(NEVER_OVER, "a program with a thread", || {
            in_a_thread(&world, poll, program)
        }),
    };
    let log = world.take_log();
    let judge = &mut *world.judge();
    Ran {
        failures: std::mem::take(&mut judge.failures),
        tally: std::mem::take(&mut judge.tally),
        log,
        delays,
    }
}

struct InTurn<'a> {
    world: &'a World,
    poll: Poll,
    events: Events,
    /// As it was asked for.
    capacity: usize,
}

impl InTurn<'_> {
    fn run(&mut self, program: &Program) {
        for step in &program.steps {
            match step {
                Step::Poll(ms) => {
                    self.poll(Duration::from_millis((*ms).into()));
                }
                Step::PollMicros(micros) => {
                    self.poll(Duration::from_micros((*micros).into()));
                }
                Step::WakeDuring { waker, far } => self.wake_during(*waker, *far),
                Step::Settle => self.settle(),
                Step::Idle(ms) => thread::sleep(Duration::from_millis((*ms).into())),
                Step::Rest(ms) => self.rest(Duration::from_millis((*ms).into())),
                Step::Turns(pause) => self.turns(Duration::from_millis((*pause).into())),
                Step::Dead { source, deregister } => {
                    self.dead(source % program.sources.len(), *deregister);
                }
                Step::Interrupt(_) | Step::Replace(_) => {}
                Step::Rate {
                    ms,
                    interest,
                    answers,
                } => {
                    self.rate(Duration::from_millis((*ms).into()), *interest, answers);
                }
                other => self.world.perform(other),
            }
            if !self.world.judge().failures.is_empty() {
                return;
            }
        }
        self.settle();
    }

    /// Polls once, and has it judged.
    fn poll(&mut self, timeout: Duration) -> (Vec<(Token, Bits)>, Vec<Outstanding>) {
        self.poll_by(timeout, |poll, events| poll.poll(events, Some(timeout)))
    }

    fn poll_by(
        &mut self,
        timeout: Duration,
        poll: impl FnOnce(&mut Poll, &mut Events) -> io::Result<()>,
    ) -> (Vec<(Token, Bits)>, Vec<Outstanding>) {
        let before = self.world.observe();
        let number = self.world.polls.fetch_add(1, Ordering::SeqCst) + 1;
        let start = Instant::now();
        let result = over_within(HANGS, "a poll", || poll(&mut self.poll, &mut self.events));
        let took = start.elapsed();
        let after = self.world.observe();
        let events: Vec<(Token, Bits)> = self
            .events
            .iter()
            .map(|event| (event.token().0, named(event)))
            .collect();

        let mut judge = self.world.judge();
        judge_result(&mut judge, &result, timeout, took, events.is_empty());
        let polled = Polled {
            number,
            before: &before,
            after: &after,
            events: &events,
            capacity: self.capacity,
        };
        let outstanding = judge.polled(&polled);
        drop(judge);
        for &(token, named) in &events {
            self.world.reported(token, named);
        }
        self.world
            .log(Entry::Events(format!("poll: {}", told(&events))));
        (events, outstanding)
    }

    /// Polls until nothing is owed, or it is clear that it does not come.
    fn settle(&mut self) {
        let start = Instant::now();
        let mut timeout = Duration::ZERO;
        loop {
            let (_, outstanding) = self.poll(timeout);
            if outstanding.is_empty() || !self.world.judge().failures.is_empty() {
                return;
            }
            let waited = start.elapsed();
            for late in outstanding.iter().filter(|late| waited > late.bound) {
                self.world.judge().never_came(late, waited);
            }
            timeout = Duration::from_millis(10);
        }
    }

    /// Counts the events of sources to which nothing happens.
    fn rest(&mut self, window: Duration) {
        let mut counts: HashMap<Token, usize> = HashMap::new();
        let end = Instant::now() + window;
        while Instant::now() < end && self.world.judge().failures.is_empty() {
            let (events, _) = self.poll(GAP);
            if events.is_empty() {
                break;
            }
            for (token, _) in events {
                *counts.entry(token).or_default() += 1;
            }
            if counts.values().any(|count| *count > most_events(window)) {
                break;
            }
        }
        let answered = Answered {
            text: "nothing",
            last: None,
            sends: false,
        };
        for (token, count) in counts {
            self.world.judge().rate(token, count, window, &answered);
        }
        self.world.log(Entry::Operation("rest".to_owned()));
    }

    /// Polls until all have had their turn; the judge finds the one that has none.
    fn turns(&mut self, pause: Duration) {
        let turns = most_turns(self.world.judge().registrations()) + 2;
        for _ in 0..turns {
            thread::sleep(pause);
            let (events, _) = self.poll(Duration::ZERO);
            if !self.world.judge().failures.is_empty() {
                return;
            }
            for (token, _) in events {
                if let Some(source) = self.world.source_of(token) {
                    self.world.operate(source, Op::Drain, Door::Method);
                    let act = Act::Send(1);
                    self.world.perform(&Step::Peer { source, act });
                }
            }
        }
    }

    /// A wake ends a poll that waits; the one after it belongs to the next poll.
    fn wake_during(&mut self, waker: usize, far: Far) {
        let timeout = match far {
            Far::Months => Duration::from_millis((1 << 32) + 1),
            Far::Forever => Duration::MAX,
            Far::Deadline => Duration::from_secs(3600),
        };
        let wake = Step::Wake(waker);
        let world = self.world;
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(2));
                // Something else may have ended it.
                if !is_over.load(Ordering::SeqCst) {
                    world.perform(&wake);
                }
            });
            match far {
                Far::Deadline => {
                    let deadline = Some(Instant::now() + timeout);
                    self.poll_by(timeout, |poll, events| poll.poll_until(events, deadline));
                }
                _ => {
                    self.poll(timeout);
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        self.world.perform(&wake);
        self.poll(Duration::ZERO);
    }

    /// A descriptor that was closed behind its source is reported once, as failed.
    fn dead(&mut self, source: usize, deregister: bool) {
        let (by, interest) = (By::Source, Interest::Read);
        self.world.perform(&Step::Reregister {
            source,
            by,
            interest,
            mode: Mode::Edge,
        });
        let act = Act::Send(1);
        self.world.perform(&Step::Peer { source, act });
        self.settle();
        let Some((token, behind)) = self.world.close_behind(source) else {
            return;
        };
        if deregister {
            self.world.deregister(source, By::Source);
        }
        let mut named = Vec::new();
        let mut poll = |this: &mut Self, timeout| {
            let (events, _) = this.poll(timeout);
            let mine = events.iter().filter(|(of, _)| *of == token);
            named.extend(mine.map(|(_, named)| *named));
            !named.is_empty()
        };
        // A raw descriptor may be in a pause.
        let end = Instant::now() + BACK_OFF;
        let pause = Duration::from_millis(5);
        while !poll(self, pause) && !deregister && Instant::now() < end {}
        for _ in 0..2 {
            poll(self, Duration::ZERO);
        }
        let is_reused = !deregister && self.world.is_registered_by_source(source);
        if is_reused {
            self.another_has_the_number(source, &behind);
        }
        drop(behind);
        if deregister {
            return;
        }
        if !is_reused {
            self.world.deregister(source, By::Source);
        }
        let is_once = matches!(named[..], [named] if named.contains(Bits::ERROR));
        if !is_once {
            let text = format!("closed behind its source, it was reported as {named:?}");
            self.world
                .judge()
                .fail(Check::Lost, None, Bits::ERROR, text);
        }
    }

    /// Another stream has the number of a descriptor that was closed behind its source, and stays
    /// registered when the source is deregistered.
    fn another_has_the_number(&mut self, source: usize, behind: &Behind) {
        // So that the pair gets other numbers.
        behind.give_back();
        let (one, mut other) = UnixStream::pair().expect("a pair");
        behind.give_to(&one);
        let Some(token) = self.world.register_another(source, behind.fd()) else {
            return;
        };
        self.world.deregister(source, By::Source);
        other.write_all(b"x").expect("there is room");
        let end = Instant::now() + BACK_OFF;
        let is_reported = loop {
            let (events, _) = self.poll(Duration::from_millis(1));
            if events.iter().any(|(of, _)| *of == token) {
                break true;
            }
            if Instant::now() > end {
                break false;
            }
        };
        if !is_reported {
            let text = "who has the number of a descriptor that was closed behind its source, which was deregistered";
            let mut judge = self.world.judge();
            judge.fail(Check::Lost, Some(token), Bits::READ, text.to_owned());
        }
        self.world.deregister_another(token, behind.fd());
    }

    /// Counts the events of sources to which nothing happens but that the program answers each.
    fn rate(&mut self, window: Duration, interest: Interest, answers: &[Answer]) {
        let answer = |source: usize| answers.get(source % answers.len().max(1));
        self.world.reregister_all(interest.into());
        // By source: what an answer changes is changed for its duplicates, too.
        let mut counts: HashMap<usize, (Token, usize, Option<Outcome>)> = HashMap::new();
        let end = Instant::now() + window;
        let mut answered_in_all = 0;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let is_spinning = counts
                .values()
                .any(|(_, count, _)| *count > 3 * most_events(window));
            if left.is_zero()
                || is_spinning
                || answered_in_all > MOST_ANSWERS
                || !self.world.judge().failures.is_empty()
            {
                break;
            }
            // A storm has no gaps; the long windows are for what is slower.
            let is_short = window < Duration::from_secs(1);
            let timeout = if is_short { left.min(GAP) } else { left };
            // In whole milliseconds, which every backend keeps to.
            let (events, _) = self.poll(Duration::from_millis(timeout.as_millis() as u64 + 1));
            if is_short && events.is_empty() {
                break;
            }
            for (token, _) in events {
                let Some(source) = self.world.source_of(token) else {
                    continue;
                };
                answered_in_all += 1;
                let answered = match answer(source) {
                    Some(&Answer::Do(op, door)) => {
                        let outcome = self.world.operate(source, op, door);
                        outcome.map(|(last, any)| (last, any || op.changes_the_source()))
                    }
                    _ => None,
                };
                let entry = counts.entry(source).or_insert((token, 0, None));
                *entry = (token, entry.1 + 1, answered.map(|(last, _)| last));
                // Something happened to it, by the program itself.
                if answered.is_some_and(|(_, happened)| happened) {
                    for (other, (_, count, _)) in &mut counts {
                        if *other == source || self.world.are_duplicates(*other, source) {
                            *count = 0;
                        }
                    }
                }
            }
        }
        // One that is answered otherwise may share its object with one that sends.
        let sends = answers.iter().any(|answer| {
            matches!(
                answer,
                Answer::Do(Op::Write(_) | Op::WriteVectored(_) | Op::Fill, _)
            )
        });
        for (source, (token, count, last)) in counts {
            let answer = format!("{:?}", answer(source).unwrap_or(&Answer::Nothing));
            let answered = Answered {
                text: &answer,
                last,
                sends,
            };
            self.world.judge().rate(token, count, window, &answered);
        }
        self.world.log(Entry::Operation("rate".to_owned()));
    }
}

fn judge_result(
    judge: &mut crate::judge::Judge,
    result: &io::Result<()>,
    timeout: Duration,
    took: Duration,
    is_empty: bool,
) {
    let mut fail = |check, text| judge.fail(check, None, Bits::empty(), text);
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted && !timeout.is_zero() => {}
        Err(error) => fail(Check::PollFailed, error.to_string()),
        Ok(()) if is_empty && took < timeout => {
            fail(
                Check::Early,
                format!("{took:?} where {timeout:?} were asked for"),
            );
        }
        Ok(()) if took > timeout.saturating_mul(5).saturating_add(SLACK) => {
            fail(
                Check::Overslept,
                format!("{took:?} where {timeout:?} were asked for"),
            );
        }
        Ok(()) => {}
    }
}

fn told(events: &[(Token, Bits)]) -> String {
    let mut events: Vec<String> = events
        .iter()
        .map(|(token, bits)| {
            let names: Vec<&str> = bits.iter_names().map(|(name, _)| name).collect();
            format!("{} {}", shown(*token), names.join("|"))
        })
        .collect();
    events.sort();
    events.join("; ")
}

/// When a polling thread has reported what.
#[derive(Default)]
struct Reports {
    list: Mutex<Vec<(Token, Bits, Instant)>>,
    changed: Condvar,
}

/// Ends a polling thread when its poll is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A thread polls, this one does the steps; returns the delays.
fn in_a_thread(world: &World, mut poll: Poll, program: &Program) -> Vec<Duration> {
    let reports = Arc::new(Reports::default());
    let stop = Waker::new(world.registry(), mio::Token(STOP)).expect("a waker");
    let nudge = Waker::new(world.registry(), mio::Token(NUDGE)).expect("a waker");
    let capacity = program.capacity;
    let is_over = AtomicBool::new(false);
    let timeout_ms = AtomicU64::new(TIMEOUT.as_millis() as u64);
    let mut delays = Vec::new();
    thread::scope(|scope| {
        let polling = {
            let (reports, is_over) = (Arc::clone(&reports), &is_over);
            let timeout_ms = &timeout_ms;
            scope.spawn(move || {
                let mut events = Events::with_capacity(capacity);
                let mut events_in_all = 0;
                loop {
                    let number = world.polls.fetch_add(1, Ordering::SeqCst) + 1;
                    let timeout = Duration::from_millis(timeout_ms.load(Ordering::SeqCst));
                    let (start, cpu_start) = (Instant::now(), cpu_time());
                    let result = poll.poll(&mut events, Some(timeout));
                    let (now, cpu) = (Instant::now(), cpu_time() - cpu_start);
                    let mut judge = world.judge();
                    if cpu > SPINS * slowness() && cpu > (now - start) / 8 {
                        let text = format!("{cpu:?} of the processor in {:?}", now - start);
                        judge.fail(Check::Spins, None, Bits::empty(), text);
                    }
                    if now - start > timeout * 5 + SLACK {
                        let text = format!("{:?} instead of {timeout:?}", now - start);
                        judge.fail(Check::Overslept, None, Bits::empty(), text);
                    }
                    if let Err(error) = result {
                        if error.kind() != io::ErrorKind::Interrupted {
                            judge.fail(Check::PollFailed, None, Bits::empty(), error.to_string());
                            return;
                        }
                    }
                    judge.tally.polls += 1;
                    if events.is_empty() && now - start < timeout {
                        let text = format!("{:?} instead of {timeout:?}", now - start);
                        judge.fail(Check::Early, None, Bits::empty(), text);
                    }
                    let mut list = reports.list.lock().unwrap();
                    let mut has_stopped = false;
                    let (mut seen, mut by_level) = (HashSet::new(), 0);
                    for event in &events {
                        let (token, bits) = (event.token().0, named(event));
                        if token == NUDGE {
                            continue;
                        }
                        if (HANGS_UP..=STANDS).contains(&token) {
                            let ends = bits & (Bits::END | Bits::HUP);
                            if token == STANDS && !ends.is_empty() {
                                let text = format!("a stream that stands has {bits:?}");
                                judge.fail(Check::False, None, ends, text);
                            }
                            continue;
                        }
                        if !seen.insert(token) && two_events(world.backend).is_none() {
                            judge.fail(Check::TwoEvents, Some(token), bits, "from one poll".into());
                        }
                        if token == STOP {
                            has_stopped = true;
                            continue;
                        }
                        by_level += usize::from(judge.mode(token).is_level());
                        judge.tally.events += 1;
                        judge.event(token, bits, number);
                        list.push((token, bits, now));
                    }
                    events_in_all += seen.len().saturating_sub(by_level);
                    if events_in_all > MOST_EVENTS {
                        let text = format!("{events_in_all} events of one program");
                        judge.fail(Check::Rate, None, Bits::empty(), text);
                        has_stopped = true;
                    }
                    drop((list, judge));
                    reports.changed.notify_all();
                    // The wake-up that ends it may be the one that is lost.
                    if has_stopped || is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    if by_level > 0 {
                        // It would have no other thread do anything.
                        thread::sleep(BETWEEN_LEVELS);
                    }
                }
            })
        };
        // Also if a step panics: the thread is waited for.
        let over = Over(&is_over);
        for step in program.steps.iter().chain([&Step::Settle]) {
            match step {
                Step::Poll(_) | Step::Settle => wait_for_what_is_due(world, &reports, &mut delays),
                Step::Idle(ms) => idle(world, &reports, Duration::from_millis((*ms).into())),
                Step::Interrupt(ms) => {
                    timeout_ms.store(SHORT_TIMEOUT.as_millis() as u64, Ordering::SeqCst);
                    nudge.wake().expect("wakes");
                    interrupt(world.registry(), Duration::from_millis((*ms).into()));
                    timeout_ms.store(TIMEOUT.as_millis() as u64, Ordering::SeqCst);
                }
                Step::Replace(ms) => replace(world, Duration::from_millis((*ms).into())),
                Step::PollMicros(_)
                | Step::WakeDuring { .. }
                | Step::Rest(_)
                | Step::Turns(_)
                | Step::Dead { .. }
                | Step::Rate { .. } => {}
                other => world.perform(other),
            }
            if !world.judge().failures.is_empty() {
                break;
            }
        }
        drop(over);
        stop.wake().expect("wakes");
        polling.join().expect("the polling thread ends");
    });
    delays
}

/// Nothing happens, and so little comes.
fn idle(world: &World, reports: &Reports, window: Duration) {
    let reported = || reports.list.lock().unwrap().len();
    let before = reported();
    thread::sleep(window);
    let mut counts: HashMap<Token, usize> = HashMap::new();
    for (token, ..) in &reports.list.lock().unwrap()[before..] {
        *counts.entry(*token).or_default() += 1;
    }
    let answered = Answered {
        text: "nothing",
        last: None,
        sends: false,
    };
    for (token, count) in counts {
        world.judge().rate(token, count, window, &answered);
    }
}

/// Changes something for a thread that polls, again and again, and nothing that it has to report.
fn interrupt(registry: &mio::Registry, window: Duration) {
    let (mut idle, _peer) = mio::net::UnixStream::pair().expect("a pair");
    let end = Instant::now() + window;
    while Instant::now() < end {
        registry
            .register(&mut idle, mio::Token(NUDGE), mio::Interest::READABLE)
            .expect("registers");
        thread::sleep(Duration::from_millis(1));
        registry.deregister(&mut idle).expect("deregisters");
    }
}

/// What a thread retrieves of a stream that hangs up may be in its hands when another stream has the
/// number and the slot.
fn replace(world: &World, window: Duration) {
    use mio::net::UnixStream;
    let registry = world.registry();
    let (stands, _peer) = UnixStream::pair().expect("a pair");
    let end = Instant::now() + window;
    let mut round = 0;
    while Instant::now() < end && world.judge().failures.is_empty() {
        let (mut stream, peer) = UnixStream::pair().expect("a pair");
        let register = |stream: &mut UnixStream, token| {
            let token = mio::Token(token);
            let registered = registry.register(stream, token, mio::Interest::READABLE);
            registered.expect("registers");
        };
        register(&mut stream, HANGS_UP);
        drop(peer);
        // Sometimes the thread is a little ahead.
        round += 1;
        for _ in 0..round % 16 * 100 {
            std::hint::spin_loop();
        }
        registry.deregister(&mut stream).expect("deregisters");
        let (old, new) = (stream.as_raw_fd(), stands.as_raw_fd());
        // SAFETY: it takes integers only, and the stream goes on with the new descriptor.
        let done = unsafe { libc::dup3(new, old, libc::O_CLOEXEC) };
        assert_eq!(done, old, "{}", io::Error::last_os_error());
        register(&mut stream, STANDS);
        thread::sleep(Duration::from_micros(50));
        registry.deregister(&mut stream).expect("deregisters");
    }
}

/// How many times slower this machine is than usual, as `MIO_TEST_SLOW` tells the tests, too.
fn slowness() -> u32 {
    let slow = std::env::var("MIO_TEST_SLOW");
    slow.map_or(1, |slow| slow.parse().expect("a whole number"))
}

/// What this thread has used of its processor.
fn cpu_time() -> Duration {
    // SAFETY: all of a `timespec` may be zero.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to a place of its type.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn wait_for_what_is_due(world: &World, reports: &Reports, delays: &mut Vec<Duration>) {
    let start = Instant::now();
    let before = world.observe();
    let due: Vec<(Token, Bits, Bits)> = {
        // The judge hears of events and the list of reports under the same lock.
        let mut judge = world.judge();
        for (token, named, _) in reports.list.lock().unwrap().drain(..) {
            if let Some(&now) = before.get(&token) {
                judge.named_by_a_thread(token, named, now);
            }
        }
        let due = before.iter().map(|(&token, &ready)| {
            let (now, later) = judge.due(token, ready);
            (token, now, later)
        });
        due.filter(|(_, now, later)| !(*now | *later).is_empty())
            .collect()
    };
    let mut came = HashMap::new();
    for &(token, now, later) in &due {
        let is_one_shot = world.judge().mode(token).is_one_shot();
        let bound = match now.is_empty() {
            true => world.judge().bound(token),
            false => LOST,
        };
        let mut list = reports.list.lock().unwrap();
        loop {
            let named = |list: &[(Token, Bits, Instant)]| {
                let mine = list.iter().filter(|(of, ..)| *of == token);
                mine.fold((Bits::empty(), start), |(all, last), (_, bits, at)| {
                    let new = (*bits & now) - all;
                    (all | *bits, if new.is_empty() { last } else { *at })
                })
            };
            let (bits, at) = named(&list);
            // Its one event may have been under way before all of this was ready.
            let is_spent = is_one_shot && !bits.is_empty();
            let is_over = bits.contains(now | later) || is_spent;
            if is_over || start.elapsed() > bound {
                let delay = at.saturating_duration_since(start);
                came.insert(token, (bits, is_over, delay));
                break;
            }
            let left = bound.saturating_sub(start.elapsed()) + Duration::from_millis(1);
            list = reports.changed.wait_timeout(list, left).unwrap().0;
        }
    }
    wait_for_wakes(world, reports);
    let after = world.observe();
    let mut judge = world.judge();
    // A thread that reports levels pauses between polls: it says nothing of delays.
    let has_pauses = due.iter().any(|(token, ..)| judge.mode(*token).is_level());
    for (token, now, later) in due {
        let came = came.remove(&token);
        let (Some((bits, is_over, delay)), Some(&after)) = (came, after.get(&token)) else {
            continue;
        };
        if judge.registration(token).is_none() {
            continue;
        }
        // What went away meanwhile says nothing.
        let (now, later) = (now & after, later & after);
        judge.judged(token, (now | later) & bits);
        let missing = (now | later) - bits;
        if !is_over && !missing.is_empty() {
            judge.was_late(token, missing, start.elapsed(), false);
        } else if !now.is_empty() && !has_pauses {
            delays.push(delay);
            if delay > AT_ONCE {
                judge.was_late(token, now, delay, true);
            }
        }
    }
}

fn wait_for_wakes(world: &World, reports: &Reports) {
    let start = Instant::now();
    let mut list = reports.list.lock().unwrap();
    loop {
        // In the order of the polling thread: the judge, then the list.
        drop(list);
        let mut judge = world.judge();
        if !judge.owes_a_wake() {
            return;
        }
        if start.elapsed() > LOST {
            judge.wakes_were_lost("a thread that waits did not report a wake");
            return;
        }
        list = reports.list.lock().unwrap();
        drop(judge);
        list = reports
            .changed
            .wait_timeout(list, Duration::from_millis(5))
            .unwrap()
            .0;
    }
}

/// How long a thread that waits in an epoll of its own, with nothing in between, takes to hear of
/// an eventfd: what delays are compared with, on every backend.
pub fn delay_of_the_kernel() -> Duration {
    // SAFETY: these take integers only.
    let fds = unsafe {
        [
            libc::epoll_create1(libc::EPOLL_CLOEXEC),
            libc::eventfd(0, libc::EFD_CLOEXEC),
        ]
    };
    assert!(
        fds.iter().all(|&fd| fd >= 0),
        "{}",
        io::Error::last_os_error()
    );
    // SAFETY: the descriptors are new, and nobody else's.
    let [epoll, event] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let mut interest = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 0,
    };
    // SAFETY: the kernel reads the event.
    let added = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            event.as_raw_fd(),
            &mut interest,
        )
    };
    assert_eq!(added, 0, "{}", io::Error::last_os_error());
    let waiting = thread::spawn(move || {
        let mut ready = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the kernel writes one event, for which there is space.
        while unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut ready, 1, -1) } != 1 {}
        Instant::now()
    });
    // It waits by then, or nearly always.
    thread::sleep(Duration::from_millis(1));
    let start = Instant::now();
    raw::write_u64(event.as_raw_fd(), 1).expect("counts up");
    waiting
        .join()
        .expect("it does not panic")
        .saturating_duration_since(start)
}
