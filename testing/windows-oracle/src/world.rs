//! Runs a program: the sources, their peers, and a poll.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::os::windows::io::{AsRawSocket, RawSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Source as _;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::windows::NamedPipe;
use mio::{Events, Poll, Registry, Token, Waker};
use socket2::SockRef;

use crate::judge::{
    after, due_of, judge, suspect, Connection, Due, Failure, Seen, State, Watch, MOST_IN_A_SECOND,
    READING, WRITING,
};
use crate::peer::{any_port, pair, receive_one, until, Peer, Ready};
use crate::program::{Act, Interest, Kind, Op, Program, Step, WAKERS};

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

/// The number of judged events, by kind of source.
pub type Judged = BTreeMap<Kind, usize>;

enum Object {
    Stream(TcpStream),
    Listener(TcpListener),
    Udp(UdpSocket),
    Pipe(NamedPipe),
}

struct Source {
    kind: Kind,
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
    pending: usize,
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
    /// The tokens of registrations that ended while another thread polled.
    just_ended: Vec<Token>,
    pub judged: Judged,
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
        Err(failure) => (Err(failure), Judged::new()),
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
            judged: Judged::new(),
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
                if let Some(watch) = self.sources[source].watch.take() {
                    self.just_ended.push(watch.token);
                }
                self.sources[source] = Source::open(kind).map_err(broken("opening"))?;
                Ok(())
            }
            &Step::Do(source, op) => self.sources[source].operate(op).map(drop),
            &Step::Peer(source, act) => self.sources[source].act(act),
            &Step::Wake(waker) => {
                let wakes = &mut self.wakers[waker];
                wakes.pending += 1;
                wakes.waker.wake().map_err(broken("wake"))
            }
            &Step::NewWaker(waker) => {
                let wakes = self.new_waker()?;
                self.just_ended.push(self.wakers[waker].token);
                self.wakers[waker] = wakes;
                Ok(())
            }
            Step::Poll => self.poll_until_none_is_due(),
            Step::Wait => self.wait(),
            Step::Behind(steps) if !is_concurrent => self.behind(steps),
            Step::Rate(answers) => self.rate(answers),
            Step::Behind(_) => Ok(()),
        }
    }

    fn register(&mut self, source: usize, interest: Interest) -> Result<()> {
        let token = self.fresh_token();
        let its = &mut self.sources[source];
        let outcome = match &mut its.object {
            Object::Stream(stream) => self.registry.register(stream, token, asked(interest)),
            Object::Listener(listener) => self.registry.register(listener, token, asked(interest)),
            Object::Udp(socket) => self.registry.register(socket, token, asked(interest)),
            Object::Pipe(pipe) => pipe.register(&self.registry, token, asked(interest)),
        };
        its.expect(&outcome, its.watch.is_some(), ErrorKind::AlreadyExists)?;
        if outcome.is_ok() {
            its.begin(token, interest);
        }
        Ok(())
    }

    fn reregister(&mut self, source: usize, interest: Interest) -> Result<()> {
        let token = self.fresh_token();
        let its = &mut self.sources[source];
        let outcome = match &mut its.object {
            Object::Stream(stream) => self.registry.reregister(stream, token, asked(interest)),
            Object::Listener(listener) => {
                self.registry.reregister(listener, token, asked(interest))
            }
            Object::Udp(socket) => self.registry.reregister(socket, token, asked(interest)),
            Object::Pipe(pipe) => pipe.reregister(&self.registry, token, asked(interest)),
        };
        its.expect(&outcome, its.watch.is_none(), ErrorKind::NotFound)?;
        if outcome.is_ok() {
            self.just_ended.extend(its.watch.map(|watch| watch.token));
            its.begin(token, interest);
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
        };
        its.expect(&outcome, its.watch.is_none(), ErrorKind::NotFound)?;
        self.just_ended
            .extend(its.watch.take().map(|watch| watch.token));
        Ok(())
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
                continue;
            }
            let of_token = |its: &&mut Source| its.watch.is_some_and(|w| w.token == seen.token);
            let Some(source) = self.sources.iter_mut().find(of_token) else {
                if is_concurrent && self.just_ended.contains(&seen.token) {
                    continue;
                }
                let text = format!("no registration has this token: {seen:?}");
                return Err(Failure::new("stale event", text));
            };
            let is_second = events[..index].iter().any(|its| its.token == seen.token);
            if source.kind.is_pipe() && is_second {
                let text = format!("{:?}: {events:?}", source.kind);
                return Err(Failure::new("two events", text));
            }
            if let Some(watch) = &mut source.watch {
                judge(
                    source.kind,
                    watch,
                    &mut source.connection,
                    *seen,
                    is_concurrent,
                )?;
            }
        }
        Ok(())
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

    fn has_wakes(&self) -> bool {
        self.wakers.iter().any(|wakes| wakes.pending > 0)
    }

    fn is_paid(&self) -> bool {
        !self.has_wakes() && self.due_events().is_empty()
    }

    fn count_judged(&mut self, due_events: &[(usize, Due)]) {
        for &(source, _) in due_events {
            *self.judged.entry(self.sources[source].kind).or_default() += 1;
        }
    }

    /// The failure that names the events that are still due.
    fn missing(&self) -> Failure {
        let due_events = self.due_events().into_iter().map(|(index, due)| {
            let source = &self.sources[index];
            format!(
                "{due:?} of {index}, {:?}, {:?}, {:?}",
                source.kind, source.watch, source.connection
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
            let seen = self.poll_once(timeout)?;
            self.take(&seen, false)?;
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
        let seen = self.poll_once(A_WHILE)?;
        self.take(&seen, false)
    }

    /// Runs these steps while another thread waits. That thread must get the events that are due then.
    fn behind(&mut self, steps: &[Step]) -> Result<()> {
        // No event is due, so the thread waits.
        self.poll_until_none_is_due()?;
        let Some((mut poll, mut events)) = self.poll.take() else {
            return Ok(());
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
        }
        self.just_ended.clear();
        for source in &mut self.sources {
            if let Some(watch) = &mut source.watch {
                watch.is_touched = true;
            }
        }
        Ok(())
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
        let mut woken: Vec<bool> = self.wakers.iter().map(|wakes| wakes.pending == 0).collect();
        let deadline = Instant::now() + self.patience;
        loop {
            // Several wakes need one event only.
            if self.due_events().is_empty() && woken.iter().all(|&woken| woken) {
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
            for (woken, wakes) in woken.iter_mut().zip(&self.wakers) {
                *woken |= seen.iter().any(|seen| seen.token == wakes.token);
            }
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
            let seen = self.poll_once(left)?;
            self.take(&seen, false)?;
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
            if count > MOST_IN_A_SECOND + progress {
                let source = &self.sources[index];
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
    match interest {
        Interest::Read => mio::Interest::READABLE,
        Interest::Write => mio::Interest::WRITABLE,
        Interest::Both => mio::Interest::READABLE | mio::Interest::WRITABLE,
    }
}

fn unused_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only the number itself matters, and each is taken once.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\mio-oracle-{}-{number}", std::process::id())
}

impl Source {
    fn open(kind: Kind) -> io::Result<Source> {
        let mut connection = Connection::default();
        let mut pipe = PipeState::default();
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
        };
        Ok(Source {
            kind,
            object,
            peer,
            watch: None,
            connection,
            pipe,
            outstanding: 0,
        })
    }

    /// A registration that is a mistake must fail with this kind of error, and any other must succeed.
    fn expect(&self, outcome: &io::Result<()>, is_mistake: bool, kind: ErrorKind) -> Result<()> {
        match outcome {
            Ok(()) if !is_mistake => Ok(()),
            Err(error) if is_mistake && error.kind() == kind => Ok(()),
            other => {
                let text = format!("{:?}, registered: {:?}: {other:?}", self.kind, self.watch);
                Err(Failure::new("registration", text))
            }
        }
    }

    fn begin(&mut self, token: Token, interest: Interest) {
        self.watch = Some(Watch::new(token, interest));
        if self.kind.is_pipe() && !self.pipe.is_at_home {
            self.pipe.is_at_home = true;
            self.pipe.is_known = self.pipe.has_client;
        }
    }

    fn socket(&self) -> Option<RawSocket> {
        match &self.object {
            Object::Stream(stream) => Some(stream.as_raw_socket()),
            Object::Listener(listener) => Some(listener.as_raw_socket()),
            Object::Udp(socket) => Some(socket.as_raw_socket()),
            Object::Pipe(_) => None,
        }
    }

    /// The readiness of the source, as far as it is certain.
    fn ready(&self) -> Ready {
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
                    if let Some(watch) = &mut self.watch {
                        watch.is_touched = true;
                    }
                }
                Ok(0)
            }
            Op::Connect => self.connect().map(|()| 0),
            Op::Disconnect => self.disconnect().map(|()| 0),
        }
    }

    fn read(&mut self, length: usize) -> Result<io::Result<usize>> {
        let mut buffer = vec![0; length];
        let outcome = match &mut self.object {
            Object::Stream(stream) => stream.read(&mut buffer),
            Object::Listener(listener) => listener.accept().map(|_| 1),
            Object::Udp(socket) => socket.recv_from(&mut buffer).map(|(length, _)| length),
            Object::Pipe(pipe) => pipe.read(&mut buffer),
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
            Object::Listener(_) => return Ok(Err(ErrorKind::Unsupported.into())),
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
            Object::Listener(_) | Object::Pipe(_) => return,
        };
        let Some(watch) = &mut self.watch else { return };
        match outcome {
            // A peek consumes nothing. A full buffer says nothing, and after the end there is nothing.
            Ok(read) if read == length || read == 0 || !self.kind.is_stream() => {
                watch.is_touched = true;
            }
            Ok(_) => suspect(self.kind, watch),
            failed => after(self.kind, watch, READING, &failed, None),
        }
    }

    fn try_read(&mut self) -> usize {
        let outcome = match &self.object {
            Object::Stream(stream) => stream.try_io(|| receive_one(stream.as_raw_socket())),
            Object::Udp(socket) => socket.try_io(|| receive_one(socket.as_raw_socket())),
            Object::Listener(_) | Object::Pipe(_) => return 0,
        };
        if let Some(watch) = &mut self.watch {
            match &outcome {
                Ok(_) => watch.is_touched = true,
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
        let pipe = &mut self.pipe;
        if let Some(watch) = &mut self.watch {
            watch.is_touched = true;
        }
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
        if let Some(watch) = &mut self.watch {
            watch.is_touched = true;
        }
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
        if let Some(watch) = &mut self.watch {
            watch.is_touched = true;
        }
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
