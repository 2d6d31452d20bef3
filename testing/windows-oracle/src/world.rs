//! Runs a program: the sources, their peers, and a poll.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::os::windows::io::{AsHandle, AsRawSocket, RawSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Source as _;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::windows::{NamedPipe, WaitHandle};
use mio::{Events, Poll, Registry, Token, Waker};
use socket2::SockRef;

use crate::handle::{Signals, Watched};
use crate::judge::{
    after, due_again, due_of, judge, judge_handle, suspect, Connection, Due, Failure, Seen, State,
    Watch, MOST_IN_A_SECOND, READING, WRITING,
};
use crate::peer::{any_port, pair, receive_one, until, Peer, Ready};
use crate::program::{Act, Directions, Interest, Kind, Mode, Op, Program, Step, WAKERS};

/// The time for which `Step::Rate` answers and counts events.
const A_SECOND: Duration = Duration::from_millis(1000);

/// The timeout of a poll when no event is due.
const A_WHILE: Duration = Duration::from_millis(16);

/// A timeout that is not reached.
const NEVER: Duration = Duration::from_secs(10);

/// The maximum number of clients that wait for an accept.
const MOST_CLIENTS: usize = 16;
/// The maximum number of unread bytes in a pipe. More may not fit.
const MOST_UNREAD: usize = 20_000;

/// The token of the waker that ends a waiting poll.
const STOP: Token = Token(usize::MAX);

/// The maximum number of polls with a full buffer, one after the other, that may pass over a source, for each
/// source.
const MOST_TURNS: usize = 8;

/// The number of judged events.
#[derive(Debug, Default)]
pub struct Judged {
    pub by_kind: BTreeMap<Kind, usize>,
    pub by_mode: BTreeMap<Mode, usize>,
}

impl Judged {
    pub fn add(&mut self, other: Judged) {
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        for (mode, count) in other.by_mode {
            *self.by_mode.entry(mode).or_default() += count;
        }
    }
}

enum Object {
    Stream(TcpStream),
    Listener(TcpListener),
    Udp(UdpSocket),
    Pipe(NamedPipe),
    Handle(WaitHandle),
}

struct Source {
    kind: Kind,
    /// No other object has this number.
    number: usize,
    /// No other source has this one, also not the one that is made of an unwrapped handle.
    wrapper: usize,
    /// Of a handle.
    signals: Option<Signals>,
    object: Object,
    peer: Peer,
    watch: Option<Watch>,
    connection: Connection,
    pipe: PipeState,
    /// The number of bytes that were written and that the peer has not read.
    outstanding: usize,
}

/// The state of a pipe, from the log of the program and the peer.
#[derive(Default)]
struct PipeState {
    name: String,
    /// It was registered once.
    is_at_home: bool,
    /// A client is connected.
    has_client: bool,
    /// The client has closed its end, and the server has not disconnected it.
    has_left: bool,
    /// The server knows of the client.
    is_known: bool,
    is_connecting: bool,
    /// The number of bytes that the current client has sent and the server has not read.
    unread: usize,
    client: u8,
}

struct Wakes {
    waker: Waker,
    token: Token,
    /// The maximum number of events that may come.
    pending: usize,
    /// No event has come since it woke last.
    is_due: bool,
}

pub struct World {
    poll: Option<(Poll, Events)>,
    registry: Registry,
    sources: Vec<Source>,
    wakers: Vec<Wakes>,
    stop: Waker,
    next_token: usize,
    /// The time within which a due event must come.
    patience: Duration,
    /// The registrations that ended while another thread polled.
    just_ended: Vec<Ended>,
    pub judged: Judged,
}

struct Ended {
    token: Token,
    /// The number of the source's wrapper. `None` for a waker.
    wrapper: Option<usize>,
}

type Result<T> = std::result::Result<T, Failure>;

fn broken(what: &str) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| Failure::new("failed call", format!("{what}: {error}"))
}

/// Runs a program to its end, or to the first failure. A due event must come within `patience`.
pub fn run(program: &Program, patience: Duration) -> (Result<()>, Judged) {
    match World::new(program, patience) {
        Ok(mut world) => {
            let outcome = program
                .steps
                .iter()
                .try_for_each(|step| world.step(step, false));
            let outcome = outcome.and_then(|()| world.poll_until_none_is_due());
            (outcome, world.judged)
        }
        Err(failure) => (Err(failure), Judged::default()),
    }
}

impl World {
    fn new(program: &Program, patience: Duration) -> Result<World> {
        let poll = Poll::new().map_err(broken("Poll::new"))?;
        let registry = poll.registry().try_clone().map_err(broken("try_clone"))?;
        let stop = Waker::new(&registry, STOP).map_err(broken("Waker::new"))?;
        let sources = program.sources.iter().map(|&kind| Source::open(kind));
        let mut world = World {
            sources: sources
                .collect::<io::Result<_>>()
                .map_err(broken("opening"))?,
            poll: Some((poll, Events::with_capacity(program.capacity))),
            registry,
            wakers: Vec::new(),
            stop,
            next_token: 0,
            patience,
            just_ended: Vec::new(),
            judged: Judged::default(),
        };
        for _ in 0..WAKERS {
            let wakes = world.new_waker()?;
            world.wakers.push(wakes);
        }
        Ok(world)
    }

    fn fresh_token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn new_waker(&mut self) -> Result<Wakes> {
        let token = self.fresh_token();
        let waker = Waker::new(&self.registry, token).map_err(broken("Waker::new"))?;
        Ok(Wakes {
            waker,
            token,
            pending: 0,
            is_due: false,
        })
    }

    /// `is_concurrent`: another thread polls.
    fn step(&mut self, step: &Step, is_concurrent: bool) -> Result<()> {
        match step {
            &Step::Register(source, interest) => self.register(source, interest),
            &Step::Reregister(source, interest) => self.reregister(source, interest),
            &Step::Deregister(source) => self.deregister(source),
            &Step::Open(source) => {
                let kind = self.sources[source].kind;
                self.end(source);
                self.sources[source] = Source::open(kind).map_err(broken("opening"))?;
                Ok(())
            }
            &Step::Do(source, Op::Unwrap) => self.unwrap(source),
            &Step::Do(source, op) => self.sources[source].operate(op).map(drop),
            &Step::Peer(source, act) => self.sources[source].act(act),
            &Step::Wake(waker) => {
                let wakes = &mut self.wakers[waker];
                wakes.pending += 1;
                wakes.is_due = true;
                wakes.waker.wake().map_err(broken("wake"))
            }
            &Step::NewWaker(waker) => {
                let wakes = self.new_waker()?;
                self.just_ended.push(Ended {
                    token: self.wakers[waker].token,
                    wrapper: None,
                });
                self.wakers[waker] = wakes;
                Ok(())
            }
            Step::Poll => self.poll_until_none_is_due(),
            Step::Wait => self.wait(),
            Step::Behind(steps) if !is_concurrent => self.behind(steps),
            Step::Rate(answers) => self.rate(answers),
            Step::Signalling(source, times, steps) if !is_concurrent => {
                self.signalling(*source, *times, steps)
            }
            Step::Behind(_) | Step::Signalling(..) => Ok(()),
        }
    }

    /// The registration of a source ends.
    fn end(&mut self, source: usize) {
        let its = &mut self.sources[source];
        if let Some(watch) = its.watch.take() {
            self.just_ended.push(Ended {
                token: watch.token,
                wrapper: Some(its.wrapper),
            });
        }
    }

    fn register(&mut self, source: usize, interest: Interest) -> Result<()> {
        let token = self.fresh_token();
        let its = &mut self.sources[source];
        let mistake = its.mistake(interest, its.watch.is_some(), ErrorKind::AlreadyExists);
        let ready = its.before_registering(mistake)?;
        let outcome = match &mut its.object {
            Object::Stream(stream) => self.registry.register(stream, token, asked(interest)),
            Object::Listener(listener) => self.registry.register(listener, token, asked(interest)),
            Object::Udp(socket) => self.registry.register(socket, token, asked(interest)),
            Object::Pipe(pipe) => pipe.register(&self.registry, token, asked(interest)),
            Object::Handle(handle) => self.registry.register(handle, token, asked(interest)),
        };
        its.expect(&outcome, mistake)?;
        if outcome.is_ok() {
            its.begin(token, interest, ready);
        }
        Ok(())
    }

    fn reregister(&mut self, source: usize, interest: Interest) -> Result<()> {
        let token = self.fresh_token();
        let its = &mut self.sources[source];
        let mistake = its.mistake(interest, its.watch.is_none(), ErrorKind::NotFound);
        let ready = its.before_registering(mistake)?;
        let outcome = match &mut its.object {
            Object::Stream(stream) => self.registry.reregister(stream, token, asked(interest)),
            Object::Listener(listener) => {
                self.registry.reregister(listener, token, asked(interest))
            }
            Object::Udp(socket) => self.registry.reregister(socket, token, asked(interest)),
            Object::Pipe(pipe) => pipe.reregister(&self.registry, token, asked(interest)),
            Object::Handle(handle) => self.registry.reregister(handle, token, asked(interest)),
        };
        its.expect(&outcome, mistake)?;
        if outcome.is_ok() {
            self.end(source);
            self.sources[source].begin(token, interest, ready);
        }
        Ok(())
    }

    fn deregister(&mut self, source: usize) -> Result<()> {
        let its = &mut self.sources[source];
        let outcome = match &mut its.object {
            Object::Stream(stream) => self.registry.deregister(stream),
            Object::Listener(listener) => self.registry.deregister(listener),
            Object::Udp(socket) => self.registry.deregister(socket),
            Object::Pipe(pipe) => pipe.deregister(&self.registry),
            Object::Handle(handle) => self.registry.deregister(handle),
        };
        let mistake = its.watch.is_none().then_some(ErrorKind::NotFound);
        its.expect(&outcome, mistake)?;
        self.end(source);
        Ok(())
    }

    /// Unwraps a handle, and wraps it again.
    fn unwrap(&mut self, source: usize) -> Result<()> {
        self.end(source);
        self.sources[source].unwrap().map_err(broken("unwrapping"))
    }

    /// Runs these steps while another thread signals a handle.
    fn signalling(&mut self, source: usize, times: usize, steps: &[Step]) -> Result<()> {
        let its = &mut self.sources[source];
        let number = its.number;
        let Some(signals) = &mut its.signals else {
            return Ok(());
        };
        let thread = signals
            .begin_signalling(times)
            .map_err(broken("duplicating"))?;
        let outcome = steps.iter().try_for_each(|step| match step {
            Step::Peer(_, Act::Signal(_)) => Ok(()),
            step => self.step(step, false),
        });
        if thread.join().is_err() {
            return Err(Failure::new("panic", "in a signalling thread"));
        }
        let its = &mut self.sources[source];
        if let (Some(signals), true) = (&mut its.signals, its.number == number) {
            let is_unwrap = |step: &Step| matches!(step, Step::Do(_, Op::Unwrap));
            signals.end_signalling(times, steps.iter().any(is_unwrap));
            its.touch();
        }
        outcome
    }

    /// Takes events over. `is_concurrent`: the program did something while they were collected.
    fn take(&mut self, events: &[Seen], is_concurrent: bool) -> Result<()> {
        for (index, seen) in events.iter().enumerate() {
            if seen.token == STOP {
                continue;
            }
            if let Some(wakes) = self.wakers.iter_mut().find(|its| its.token == seen.token) {
                if wakes.pending == 0 || !seen.readable || seen.writable {
                    return Err(Failure::new("false wake", format!("{seen:?}")));
                }
                wakes.pending = match is_concurrent {
                    true => wakes.pending - 1,
                    false => 0,
                };
                // Of several wakes this may be the event of all.
                wakes.is_due = false;
                continue;
            }
            let of_token = |its: &&mut Source| its.watch.is_some_and(|w| w.token == seen.token);
            let Some(source) = self.sources.iter_mut().find(of_token) else {
                self.take_late(*seen, is_concurrent)?;
                continue;
            };
            let is_second = events[..index].iter().any(|its| its.token == seen.token);
            if is_second {
                let text = format!("{:?}: {events:?}", source.kind);
                return Err(Failure::new("two events", text));
            }
            let may_be = source.may_be_ready();
            let Some(watch) = &mut source.watch else {
                continue;
            };
            match &mut source.signals {
                Some(signals) => judge_handle(watch, signals, *seen, is_concurrent)?,
                None => judge(
                    source.kind,
                    watch,
                    &mut source.connection,
                    *seen,
                    may_be,
                    is_concurrent,
                )?,
            }
        }
        Ok(())
    }

    /// Takes over an event whose token is not registered.
    fn take_late(&mut self, seen: Seen, is_concurrent: bool) -> Result<()> {
        let ended = self.just_ended.iter().find(|its| its.token == seen.token);
        let (Some(ended), true) = (ended, is_concurrent) else {
            let text = format!("no registration has this token: {seen:?}");
            return Err(Failure::new("stale event", text));
        };
        let is_its = |its: &&mut Source| ended.wrapper == Some(its.wrapper);
        let signals = self.sources.iter_mut().find(is_its);
        match signals.and_then(|source| source.signals.as_mut()) {
            Some(signals) => signals.reported(true),
            None => Ok(()),
        }
    }

    /// The events that are due, with the indices of their sources.
    fn due_events(&self) -> Vec<(usize, Due)> {
        let mut all = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            if let Some(watch) = &source.watch {
                let due = due_of(watch, &source.connection, source.ready());
                all.extend(due.into_iter().map(|due| (index, due)));
            }
        }
        all
    }

    /// The events that the next poll must have.
    fn due_at_once(&self) -> Vec<(usize, Due)> {
        let mut all = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let Some(watch) = &source.watch else {
                continue;
            };
            let ready = source.ready();
            let mut due = due_again(watch, &source.connection, ready);
            if let Some(signals) = &source.signals {
                due.retain(|_| signals.is_signalled());
                if watch.at_first.is_some_and(|at| at.read) && ready.read {
                    due.push(Due::Reading);
                }
            }
            all.extend(due.into_iter().map(|due| (index, due)));
        }
        all
    }

    /// Polls, and takes the events over.
    fn poll_and_take(&mut self, timeout: Duration) -> Result<Vec<Seen>> {
        let before = self.due_at_once();
        let seen = self.poll_once(timeout)?;
        let after = self.due_at_once();
        let is_full = self
            .poll
            .as_ref()
            .is_some_and(|(_, events)| events.capacity() == seen.len());
        for &(index, due) in before.iter().filter(|due| after.contains(due)) {
            let most = MOST_TURNS * (self.sources.len() + self.wakers.len());
            let source = &mut self.sources[index];
            let Some(watch) = &mut source.watch else {
                continue;
            };
            *self
                .judged
                .by_mode
                .entry(watch.interest.mode())
                .or_default() += 1;
            let event = seen.iter().find(|seen| seen.token == watch.token);
            if event.is_some_and(|seen| due.is_in(seen)) {
                watch.passed_over = 0;
                continue;
            }
            watch.passed_over += 1;
            if !is_full || event.is_some() || watch.passed_over > most {
                let text = format!(
                    "{due:?} of {index}, {:?}, {watch:?}, {:?}, not among {seen:?}",
                    source.kind, source.connection
                );
                let class = if is_full {
                    "passed over"
                } else {
                    "not at once"
                };
                return Err(Failure::new(class, text));
            }
        }
        self.take(&seen, false)?;
        Ok(seen)
    }

    fn has_wakes(&self) -> bool {
        self.wakers.iter().any(|wakes| wakes.is_due)
    }

    fn is_paid(&self) -> bool {
        !self.has_wakes() && self.due_events().is_empty()
    }

    fn count_judged(&mut self, due_events: &[(usize, Due)]) {
        for &(source, _) in due_events {
            let source = &self.sources[source];
            *self.judged.by_kind.entry(source.kind).or_default() += 1;
            if let Some(watch) = &source.watch {
                *self
                    .judged
                    .by_mode
                    .entry(watch.interest.mode())
                    .or_default() += 1;
            }
        }
    }

    /// The failure that names the events that are still due.
    fn missing(&self) -> Failure {
        let due_events = self.due_events().into_iter().map(|(index, due)| {
            let source = &self.sources[index];
            let signals = source.signals.as_ref().map(Signals::to_string);
            format!(
                "{due:?} of {index}, {:?}, {:?}, {:?} {}",
                source.kind,
                source.watch,
                source.connection,
                signals.unwrap_or_default()
            )
        });
        let mut all: Vec<String> = due_events.collect();
        if self.has_wakes() {
            all.push("a wake".to_owned());
        }
        Failure::new("lost event", all.join("; "))
    }

    fn poll_once(&mut self, timeout: Duration) -> Result<Vec<Seen>> {
        let Some((poll, events)) = &mut self.poll else {
            return Ok(Vec::new());
        };
        let start = Instant::now();
        poll.poll(events, Some(timeout)).map_err(broken("poll"))?;
        let took = start.elapsed();
        let seen: Vec<Seen> = events.iter().map(Seen::of).collect();
        if seen.is_empty() && took < timeout {
            let text = format!("{took:?} instead of {timeout:?}");
            return Err(Failure::new("early end", text));
        }
        if seen.len() > events.capacity() {
            return Err(Failure::new("too many", format!("{seen:?}")));
        }
        Ok(seen)
    }

    /// Polls until no event is due, and at least once.
    fn poll_until_none_is_due(&mut self) -> Result<()> {
        self.just_ended.clear();
        let due_events = self.due_events();
        self.count_judged(&due_events);
        let deadline = Instant::now() + self.patience;
        let mut timeout = Duration::ZERO;
        loop {
            self.poll_and_take(timeout)?;
            if self.is_paid() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.missing());
            }
            timeout = Duration::from_millis(5);
        }
    }

    /// Polls with a timeout when no event is due: the timeout passes, unless an event comes that may come.
    fn wait(&mut self) -> Result<()> {
        self.poll_until_none_is_due()?;
        self.poll_and_take(A_WHILE).map(drop)
    }

    /// Runs these steps while another thread waits. That thread must get the events that are due then.
    fn behind(&mut self, steps: &[Step]) -> Result<()> {
        // No event is due, so the thread waits.
        self.poll_until_none_is_due()?;
        let Some((mut poll, mut events)) = self.poll.take() else {
            return Ok(());
        };
        // So many events would be only more of the same.
        let pause = match self.may_have_levels(steps) {
            true => Duration::from_millis(1),
            false => Duration::ZERO,
        };
        let ended = AtomicBool::new(false);
        let (sender, received) = mpsc::channel::<io::Result<Vec<Seen>>>();
        let (outcome, poll) = thread::scope(|scope| {
            let ended = &ended;
            let polling = scope.spawn(move || {
                let mut has_stopped = false;
                // Reports that the thread has begun.
                let _ = sender.send(Ok(Vec::new()));
                while !has_stopped {
                    // Acquire: see below. A wake that was lost must not hang this program.
                    let is_late = ended.load(Ordering::Acquire);
                    let polled = poll.poll(&mut events, Some(NEVER));
                    let seen = polled.map(|()| events.iter().map(Seen::of).collect());
                    let seen: io::Result<Vec<Seen>> = seen;
                    has_stopped = match &seen {
                        Ok(seen) => seen.iter().any(|seen| seen.token == STOP),
                        Err(_) => true,
                    };
                    let has_gone_by = is_late && !has_stopped && events.is_empty();
                    if sender.send(seen).is_err() || has_gone_by {
                        break;
                    }
                    thread::sleep(pause);
                }
                (poll, events, has_stopped)
            });
            // The thread probably waits by then. If it does not, this run shows less.
            let _ = received.recv();
            thread::sleep(Duration::from_millis(3));
            let outcome = self.behind_a_thread(steps, &received);
            // Release: it publishes no other memory, and the thread sees it at some time.
            ended.store(true, Ordering::Release);
            let stopped = self.stop.wake().map_err(broken("wake"));
            (outcome.and(stopped), polling.join())
        });
        match poll {
            Ok((poll, events, has_stopped)) => {
                self.poll = Some((poll, events));
                if !has_stopped {
                    return Err(Failure::new("lost event", "the wake that ends a poll"));
                }
            }
            Err(_) => return Err(Failure::new("panic", "in a polling thread")),
        }
        outcome?;
        while let Ok(seen) = received.try_recv() {
            self.take(&seen.map_err(broken("poll"))?, true)?;
        }
        // Two wakes may have been reported as one.
        for wakes in &mut self.wakers {
            wakes.pending = 0;
            wakes.is_due = false;
        }
        self.just_ended.clear();
        for source in &mut self.sources {
            source.touch();
        }
        Ok(())
    }

    /// Whether a registration is level-triggered, or is to be by these steps.
    fn may_have_levels(&self, steps: &[Step]) -> bool {
        let is_level = |step: &Step| match step {
            Step::Register(_, interest) | Step::Reregister(_, interest) => {
                interest.mode() == Mode::Level
            }
            _ => false,
        };
        let has_level = |its: &Source| its.watch.is_some_and(|watch| watch.is_level());
        steps.iter().any(is_level) || self.sources.iter().any(has_level)
    }

    fn behind_a_thread(
        &mut self,
        steps: &[Step],
        received: &mpsc::Receiver<io::Result<Vec<Seen>>>,
    ) -> Result<()> {
        for step in steps {
            while let Ok(seen) = received.try_recv() {
                self.take(&seen.map_err(broken("poll"))?, true)?;
            }
            if !matches!(step, Step::Poll | Step::Wait | Step::Rate(_)) {
                self.step(step, true)?;
            }
        }
        let due_events = self.due_events();
        self.count_judged(&due_events);
        let deadline = Instant::now() + self.patience;
        loop {
            if self.is_paid() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let mut failure = self.missing();
                failure.text = format!("to a thread that waits: {}", failure.text);
                return Err(failure);
            }
            // In short waits, because a due event may become unnecessary by itself.
            let Ok(seen) = received.recv_timeout(left.min(Duration::from_millis(20))) else {
                continue;
            };
            let seen = seen.map_err(broken("poll"))?;
            self.take(&seen, true)?;
        }
    }

    /// Answers and counts each event for a second.
    fn rate(&mut self, answers: &[Option<Op>]) -> Result<()> {
        self.poll_until_none_is_due()?;
        let start = Instant::now();
        let mut counts = vec![0; self.sources.len()];
        let mut progress = vec![0; self.sources.len()];
        // Begins with an operation, as if there had been an event before.
        for (index, answer) in answers.iter().enumerate().take(self.sources.len()) {
            if let Some(op) = *answer {
                progress[index] += self.sources[index].operate(op)?;
            }
        }
        while let Some(left) = A_SECOND.checked_sub(start.elapsed()) {
            let seen = self.poll_and_take(left)?;
            for seen in seen {
                let of_token = |its: &Source| its.watch.is_some_and(|w| w.token == seen.token);
                let Some(index) = self.sources.iter().position(of_token) else {
                    continue;
                };
                counts[index] += 1;
                if let Some(op) = answers.get(index).copied().flatten() {
                    progress[index] += self.sources[index].operate(op)?;
                }
            }
        }
        for (index, (count, progress)) in counts.into_iter().zip(progress).enumerate() {
            let source = &self.sources[index];
            let is_level = source.watch.is_some_and(|watch| watch.is_level());
            if count > MOST_IN_A_SECOND + progress && !is_level {
                let text = format!(
                    "{count} of {index}, {:?}, with {progress} successful operations: {:?}",
                    source.kind, source.watch
                );
                return Err(Failure::new("too many events", text));
            }
        }
        Ok(())
    }
}

fn asked(interest: Interest) -> mio::Interest {
    let directions = match interest.directions() {
        Directions::Read => mio::Interest::READABLE,
        Directions::Write => mio::Interest::WRITABLE,
        Directions::Both => mio::Interest::READABLE | mio::Interest::WRITABLE,
    };
    match interest {
        Interest::Level(_) => directions.level(),
        Interest::OneShot(_) => directions.oneshot(),
        Interest::LevelOneShot(_) => directions.level().oneshot(),
        _ => directions,
    }
}

/// A number that was never returned before.
fn unused_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only the number itself matters, and each is taken once.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn unused_name() -> String {
    format!(
        r"\\.\pipe\mio-oracle-{}-{}",
        std::process::id(),
        unused_number()
    )
}

impl Source {
    fn open(kind: Kind) -> io::Result<Source> {
        let mut connection = Connection::default();
        let mut pipe = PipeState::default();
        let mut signals = None;
        let (object, peer) = match kind {
            Kind::Tcp => {
                let (stream, peer) = pair()?;
                stream.set_nonblocking(true)?;
                (
                    Object::Stream(TcpStream::from_std(stream)),
                    Peer::Stream(peer),
                )
            }
            Kind::Connecting => {
                let listener = net::TcpListener::bind(any_port())?;
                let stream = TcpStream::connect(listener.local_addr()?)?;
                (Object::Stream(stream), Peer::Listening(listener))
            }
            Kind::Refused => {
                connection.is_broken = true;
                let nobody = unused_address()?;
                (Object::Stream(TcpStream::connect(nobody)?), Peer::Gone)
            }
            Kind::Listener => {
                let listener = TcpListener::bind(any_port())?;
                let address = listener.local_addr()?;
                (
                    Object::Listener(listener),
                    Peer::Clients(address, Vec::new()),
                )
            }
            Kind::Udp => {
                let socket = UdpSocket::bind(any_port())?;
                let address = socket.local_addr()?;
                let peer = net::UdpSocket::bind(any_port())?;
                peer.set_nonblocking(true)?;
                (Object::Udp(socket), Peer::Udp(peer, address))
            }
            Kind::Pipe | Kind::Server => {
                pipe.name = unused_name();
                let server = NamedPipe::new(&pipe.name)?;
                let peer = match kind {
                    Kind::Pipe => {
                        pipe.has_client = true;
                        pipe.client = 1;
                        Peer::Pipe(client(&pipe.name)?)
                    }
                    _ => Peer::Gone,
                };
                (Object::Pipe(server), peer)
            }
            Kind::Auto | Kind::Manual | Kind::Semaphore => {
                let (its, handle) = Signals::new(kind)?;
                signals = Some(its);
                (Object::Handle(WaitHandle::new(handle)), Peer::Gone)
            }
        };
        Ok(Source {
            kind,
            number: unused_number(),
            wrapper: unused_number(),
            signals,
            object,
            peer,
            watch: None,
            connection,
            pipe,
            outstanding: 0,
        })
    }

    /// Why registering it with this interest must fail, if it must. `has_other`: it fails with this other kind.
    fn mistake(&self, interest: Interest, has_other: bool, other: ErrorKind) -> Option<ErrorKind> {
        let cannot_write = self.kind.is_handle() && interest.directions() == Directions::Write;
        match cannot_write {
            true => Some(ErrorKind::InvalidInput),
            false => has_other.then_some(other),
        }
    }

    /// Returns the readiness that its registration will find.
    fn before_registering(&mut self, mistake: Option<ErrorKind>) -> Result<Ready> {
        let watched = self.watched();
        let ready = self.ready();
        match &mut self.signals {
            Some(signals) if mistake.is_none() => {
                // A registration that waits is waited for by another thread.
                let read = signals.is_signalled() && watched != Watched::Waits;
                signals.begin()?;
                Ok(Ready { read, ..ready })
            }
            _ => Ok(ready),
        }
    }

    /// A registration that is a mistake must fail with this kind of error, and any other must succeed.
    fn expect(&self, outcome: &io::Result<()>, mistake: Option<ErrorKind>) -> Result<()> {
        let kind = outcome.as_ref().err().map(io::Error::kind);
        if kind == mistake {
            return Ok(());
        }
        let text = format!(
            "{:?}, registered: {:?}: {outcome:?} instead of {mistake:?}",
            self.kind, self.watch
        );
        Err(Failure::new("registration", text))
    }

    /// What its object is to the registration of a handle.
    fn watched(&self) -> Watched {
        self.watch.map_or(Watched::No, |watch| watch.waits())
    }

    fn touch(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.touch();
        }
    }

    fn unwrap(&mut self) -> io::Result<()> {
        let (Object::Handle(handle), Some(signals)) = (&mut self.object, &mut self.signals) else {
            return Ok(());
        };
        let other = WaitHandle::new(handle.as_handle().try_clone_to_owned()?);
        let object = std::mem::replace(handle, other).into_inner();
        *handle = WaitHandle::new(object);
        signals.unwrapped();
        self.wrapper = unused_number();
        Ok(())
    }

    fn begin(&mut self, token: Token, interest: Interest, ready: Ready) {
        if self.kind.is_pipe() && !self.pipe.is_at_home {
            self.pipe.is_at_home = true;
            self.pipe.is_known = self.pipe.has_client;
        }
        let ready = match self.kind.is_pipe() {
            // It may be known only now.
            true => self.ready(),
            false => ready,
        };
        self.watch = Some(Watch::new(token, interest, ready));
    }

    fn socket(&self) -> Option<RawSocket> {
        match &self.object {
            Object::Stream(stream) => Some(stream.as_raw_socket()),
            Object::Listener(listener) => Some(listener.as_raw_socket()),
            Object::Udp(socket) => Some(socket.as_raw_socket()),
            Object::Pipe(_) | Object::Handle(_) => None,
        }
    }

    /// The readiness of the source, as far as it is certain.
    fn ready(&self) -> Ready {
        if let Some(signals) = &self.signals {
            return Ready {
                read: signals.is_due(),
                ..Ready::default()
            };
        }
        let Some(socket) = self.socket() else {
            let pipe = &self.pipe;
            let is_read = pipe.unread > 0 || pipe.has_left;
            return Ready {
                read: pipe.is_known && is_read,
                write: pipe.is_known && pipe.has_client && self.outstanding == 0,
                has_failed: false,
            };
        };
        let mut ready = Ready::of(socket);
        if self.kind == Kind::Listener {
            ready.write = false;
        }
        // Systems differ in whether a socket that was shut down for writing is writable.
        ready.write &= !self.connection.is_shut_down;
        if self.connection.is_broken && self.kind != Kind::Refused {
            ready.write = false;
        }
        ready
    }

    /// The readiness that the source may have. What else an event names is false.
    fn may_be_ready(&self) -> Ready {
        let Some(socket) = self.socket() else {
            let pipe = &self.pipe;
            return Ready {
                read: pipe.unread > 0 || pipe.has_left,
                write: pipe.has_client || pipe.has_left,
                has_failed: false,
            };
        };
        let mut ready = Ready::of(socket);
        ready.write |= ready.has_failed || self.connection.is_shut_down;
        ready
    }

    /// Makes an operation, and changes the states. Returns how often it succeeded.
    fn operate(&mut self, op: Op) -> Result<usize> {
        match op {
            Op::Read(length) => self.read(length).map(|outcome| moved(&outcome)),
            Op::Drain => {
                let mut count = 0;
                for _ in 0..1000 {
                    match self.read(4096)? {
                        Ok(length) if length > 0 => count += 1,
                        _ => break,
                    }
                }
                Ok(count)
            }
            Op::Write(length) => self.write(length).map(|outcome| moved(&outcome)),
            Op::Fill => {
                let mut count = 0;
                for _ in 0..1000 {
                    match self.write(8192)? {
                        Ok(length) if length > 0 => count += 1,
                        _ => break,
                    }
                    // Sending datagrams never blocks here.
                    if matches!(self.object, Object::Udp(_)) && count == 3 {
                        break;
                    }
                }
                Ok(count)
            }
            Op::Peek(length) => {
                self.peek(length);
                Ok(0)
            }
            Op::TryRead => Ok(self.try_read()),
            Op::Shutdown => {
                if let Object::Stream(stream) = &self.object {
                    let outcome = stream.shutdown(net::Shutdown::Write);
                    self.connection.is_shut_down |= outcome.is_ok();
                    self.touch();
                }
                Ok(0)
            }
            Op::Connect => self.connect().map(|()| 0),
            Op::Disconnect => self.disconnect().map(|()| 0),
            Op::Take => {
                self.touch();
                let taken = self.signals.as_mut().map(Signals::take);
                taken.unwrap_or(Ok(false)).map(usize::from)
            }
            // See `World::unwrap`.
            Op::Unwrap => Ok(0),
        }
    }

    fn read(&mut self, length: usize) -> Result<io::Result<usize>> {
        let mut buffer = vec![0; length];
        let outcome = match &mut self.object {
            Object::Stream(stream) => stream.read(&mut buffer),
            Object::Listener(listener) => listener.accept().map(|_| 1),
            Object::Udp(socket) => socket.recv_from(&mut buffer).map(|(length, _)| length),
            Object::Pipe(pipe) => pipe.read(&mut buffer),
            Object::Handle(_) => return Ok(Err(ErrorKind::Unsupported.into())),
        };
        if self.kind.is_pipe() {
            self.check_pipe_read(&outcome, &buffer)?;
        } else {
            self.check_stream_read(&outcome)?;
        }
        if let Some(watch) = &mut self.watch {
            after(self.kind, watch, READING, &outcome, Some(length));
        }
        Ok(outcome)
    }

    fn check_stream_read(&mut self, outcome: &io::Result<usize>) -> Result<()> {
        let (&Ok(length), true) = (outcome, self.kind.is_stream()) else {
            return Ok(());
        };
        let unread = &mut self.connection.unread;
        let is_end = length == 0 && *unread > 0 && !self.connection.is_broken;
        if length > *unread || is_end {
            let text = format!("{length} bytes were read, of {unread} that were sent");
            return Err(Failure::new("stream", text));
        }
        *unread -= length;
        Ok(())
    }

    fn check_pipe_read(&mut self, outcome: &io::Result<usize>, buffer: &[u8]) -> Result<()> {
        let pipe = &mut self.pipe;
        let fail = |text: String| Err(Failure::new("pipe", text));
        match outcome {
            Ok(0) if !pipe.has_left => {
                fail("an end of file, and its client is connected".to_owned())
            }
            Ok(0) if pipe.unread > 0 => {
                fail(format!("an end of file before {} bytes", pipe.unread))
            }
            Ok(length) => {
                let is_its = |&byte: &u8| byte == pipe.client;
                if *length > pipe.unread || !buffer[..*length].iter().all(is_its) {
                    return fail(format!(
                        "{length} bytes, and its client has sent {}",
                        pipe.unread
                    ));
                }
                pipe.unread -= length;
                pipe.is_known |= *length > 0;
                Ok(())
            }
            Err(error) if !pipe.is_at_home && error.kind() != ErrorKind::NotFound => {
                fail(format!("it was never registered, and fails with {error}"))
            }
            Err(_) => Ok(()),
        }
    }

    fn write(&mut self, length: usize) -> Result<io::Result<usize>> {
        let bytes = vec![b'w'; length];
        let outcome = match &mut self.object {
            Object::Stream(stream) => stream.write(&bytes),
            Object::Listener(_) | Object::Handle(_) => {
                return Ok(Err(ErrorKind::Unsupported.into()))
            }
            Object::Udp(socket) => match &self.peer {
                Peer::Udp(peer, _) => match peer.local_addr() {
                    Ok(address) => socket.send_to(&bytes, address),
                    Err(error) => Err(error),
                },
                _ => return Ok(Err(ErrorKind::Unsupported.into())),
            },
            Object::Pipe(pipe) => pipe.write(&bytes),
        };
        if let Ok(written) = outcome {
            self.outstanding += written;
        }
        if let Some(watch) = &mut self.watch {
            after(self.kind, watch, WRITING, &outcome, Some(length));
        }
        Ok(outcome)
    }

    fn peek(&mut self, length: usize) {
        let mut buffer = vec![0; length];
        let outcome = match &self.object {
            Object::Stream(stream) => stream.peek(&mut buffer),
            Object::Udp(socket) => socket.peek(&mut buffer),
            Object::Listener(_) | Object::Pipe(_) | Object::Handle(_) => return,
        };
        let Some(watch) = &mut self.watch else { return };
        match outcome {
            // A peek consumes nothing. A full buffer says nothing, and after the end there is nothing.
            Ok(read) if read == length || read == 0 || !self.kind.is_stream() => {
                watch.touch();
            }
            Ok(_) => suspect(self.kind, watch),
            failed => after(self.kind, watch, READING, &failed, None),
        }
    }

    fn try_read(&mut self) -> usize {
        let outcome = match &self.object {
            Object::Stream(stream) => stream.try_io(|| receive_one(stream.as_raw_socket())),
            Object::Udp(socket) => socket.try_io(|| receive_one(socket.as_raw_socket())),
            Object::Listener(_) | Object::Pipe(_) | Object::Handle(_) => return 0,
        };
        if let Some(watch) = &mut self.watch {
            match &outcome {
                Ok(_) => watch.touch(),
                Err(_) => suspect(self.kind, watch),
            }
        }
        self.connection.unread -= moved(&outcome).min(self.connection.unread);
        moved(&outcome)
    }

    fn connect(&mut self) -> Result<()> {
        let Object::Pipe(server) = &self.object else {
            return Ok(());
        };
        let outcome = server.connect();
        self.touch();
        let pipe = &mut self.pipe;
        match outcome {
            Ok(()) => pipe.is_known |= pipe.has_client || pipe.has_left,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !pipe.is_at_home {
                    return Err(Failure::new(
                        "pipe",
                        "a connect succeeded before it was registered",
                    ));
                }
                pipe.is_connecting = true;
                // The client may have connected in the meantime, which is not reported.
                pipe.is_known |= pipe.has_client;
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn disconnect(&mut self) -> Result<()> {
        let Object::Pipe(server) = &self.object else {
            return Ok(());
        };
        let outcome = server.disconnect();
        self.touch();
        if outcome.is_ok() {
            self.peer = Peer::Gone;
            self.outstanding = 0;
            self.connection.has_new_client = false;
            self.pipe = PipeState {
                name: std::mem::take(&mut self.pipe.name),
                is_at_home: self.pipe.is_at_home,
                client: self.pipe.client,
                ..PipeState::default()
            };
            if let Some(watch) = &mut self.watch {
                // For the next client every direction is new.
                watch.states = [State::Armed; 2];
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> Result<()> {
        self.touch();
        match act {
            Act::Send(length) => self.send(length),
            Act::Drain => {
                let expected = match self.connection.is_broken {
                    true => 0,
                    false => self.outstanding,
                };
                match self.peer.drain(expected) {
                    Ok(taken) if taken >= expected => {
                        self.outstanding = 0;
                    }
                    Ok(taken) => self.outstanding -= taken,
                    // The client was disconnected.
                    Err(_) => {}
                }
                Ok(())
            }
            Act::End => {
                if let Peer::Stream(stream) = &self.peer {
                    if stream.shutdown(net::Shutdown::Write).is_ok() {
                        self.connection.has_peer_ended = true;
                    }
                }
                Ok(())
            }
            Act::Leave | Act::Reset => self.leave(act == Act::Reset),
            Act::Return => self.come_back(),
            Act::Signal(times) => {
                let watched = self.watched();
                if let Some(signals) = &mut self.signals {
                    signals.signal(times, watched);
                }
                Ok(())
            }
            Act::Unsignal => {
                let watched = self.watched();
                if let Some(signals) = &mut self.signals {
                    signals.unsignal(watched);
                }
                Ok(())
            }
        }
    }

    fn send(&mut self, length: usize) -> Result<()> {
        let pipe = &self.pipe;
        let is_full = match &self.peer {
            Peer::Clients(_, clients) => clients.len() >= MOST_CLIENTS,
            Peer::Pipe(_) => pipe.unread + length > MOST_UNREAD,
            Peer::Stream(_) => self.connection.has_peer_ended,
            _ => false,
        };
        if is_full {
            return Ok(());
        }
        // Sending fails if the peer was disconnected or reset.
        let Ok(sent) = self.peer.send(length, self.pipe.client) else {
            return Ok(());
        };
        if self.kind.is_pipe() {
            self.pipe.unread += sent;
        } else if sent > 0 {
            self.connection.unread += sent;
            // It does not arrive at once.
            let socket = self.socket().unwrap_or_default();
            until(|| Ready::of(socket).read);
        }
        Ok(())
    }

    fn leave(&mut self, resets: bool) -> Result<()> {
        match std::mem::replace(&mut self.peer, Peer::Gone) {
            Peer::Stream(stream) => {
                if resets {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                drop(stream);
                self.connection.is_broken = true;
                let socket = self.socket().unwrap_or_default();
                until(|| Ready::of(socket).read);
            }
            Peer::Pipe(pipe) => {
                drop(pipe);
                self.pipe.has_client = false;
                self.pipe.has_left = true;
            }
            Peer::Clients(address, mut clients) => {
                clients.clear();
                self.peer = Peer::Clients(address, clients);
            }
            other => self.peer = other,
        }
        Ok(())
    }

    /// Connects another client to a pipe, if the pipe accepts one.
    fn come_back(&mut self) -> Result<()> {
        let pipe = &mut self.pipe;
        if !self.kind.is_pipe() || pipe.has_client || pipe.has_left {
            return Ok(());
        }
        // If the server does not listen, there is no client.
        let Ok(client) = client(&pipe.name) else {
            return Ok(());
        };
        self.peer = Peer::Pipe(client);
        pipe.has_client = true;
        pipe.client = pipe.client.wrapping_add(1);
        pipe.unread = 0;
        self.outstanding = 0;
        if pipe.is_connecting {
            pipe.is_connecting = false;
            pipe.is_known = true;
            self.connection.has_new_client = true;
        }
        Ok(())
    }
}

fn moved(outcome: &io::Result<usize>) -> usize {
    usize::from(matches!(outcome, Ok(length) if *length > 0))
}

fn client(name: &str) -> io::Result<File> {
    File::options().read(true).write(true).open(name)
}

fn unused_address() -> io::Result<SocketAddr> {
    net::TcpListener::bind(any_port())?.local_addr()
}
