//! What the threads share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Backend, Interest, Poll, Registry, Token, Waker};

use socket2::SockRef;

use crate::clock::Clock;

pub const LISTENER: Token = Token(0);
pub const WAKER: Token = Token(1);
const FIRST: usize = 2;

/// What a socket has room for, about: a slow reader's peer fills it, and all of them together leave the
/// kernel memory enough. (Without, Linux refuses to write, and reports no room later.)
pub const BUFFER: usize = 8 << 10;

/// What the polls, the listener and the threads need beside connections.
const OTHER_DESCRIPTORS: u64 = 40;

/// A wake-up is lost that was not seen after so long, and so many polls that have ended.
const WAKES: Duration = Duration::from_secs(5);
const POLLS: u64 = 50;

/// How many connections may wait to be accepted: more do not fit into the listener's queue, and the
/// kernel ends what does not.
const WAITING: u64 = 500;

/// How many registrations that have ended are remembered.
const ENDED: usize = 100_000;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// As many connections as there are descriptors for.
    Full,
    /// More than that.
    TooMany,
    Draining,
    Over,
}

const PHASES: [Phase; 4] = [Phase::Full, Phase::TooMany, Phase::Draining, Phase::Over];

/// How often what happened.
#[derive(Copy, Clone)]
pub enum Count {
    Connects,
    Accepts,
    Bytes,
    Resets,
    Wakes,
    Reregistered,
    Moved,
    Dropped,
    FailedAccepts,
    BlockedWrites,
    Polls,
}

const COUNTS: [&str; 11] = [
    "connects",
    "accepts",
    "bytes",
    "resets",
    "wakes",
    "reregistered",
    "moved",
    "dropped",
    "failed accepts",
    "blocked writes",
    "polls",
];

/// One of the polls, as the other threads see it.
pub struct Queue {
    pub registry: Registry,
    pub waker: Waker,
    /// How often it was woken, and how many of these the polling thread has seen.
    asked: AtomicU64,
    seen: AtomicU64,
    polls: AtomicU64,
}

/// A wake-up that was not seen yet: the number of it, when it was found, after how many polls.
type Unseen = (u64, Instant, u64);

/// The server's end of a connection.
pub struct Connection {
    pub token: Token,
    pub peer: SocketAddr,
    pub state: Mutex<State>,
}

pub struct State {
    /// None when it is closed.
    pub stream: Option<TcpStream>,
    /// Which poll it is registered with, and since when.
    pub queue: usize,
    pub since: u64,
    pub interest: Interest,
    /// What was read and not sent back yet.
    pub pending: Vec<u8>,
    /// The peer sends no more.
    pub has_ended: bool,
    /// How often it was served or registered.
    pub turns: u64,
}

pub struct World {
    pub connections_wanted: usize,
    pub address: SocketAddr,
    pub listener: TcpListener,
    pub queues: [Queue; 2],
    pub clock: Arc<Clock>,
    /// Counts what is ordered: polls that begin, and registrations that end.
    sequence: AtomicU64,
    next_token: AtomicUsize,
    connections: Mutex<Connections>,
    /// When the registrations that ended did so, the newest last.
    ended: Mutex<(HashMap<Token, u64>, VecDeque<Token>)>,
    /// The clients whose server's end was dropped on purpose.
    dropped: Mutex<HashSet<SocketAddr>>,
    /// The clients' ends that are open.
    clients: AtomicUsize,
    phase: AtomicU8,
    counts: [AtomicU64; COUNTS.len()],
    wakes: Mutex<[Option<Unseen>; 2]>,
    problems: Mutex<Vec<String>>,
    is_broken: AtomicBool,
}

/// The server's ends. No two connections of a run have the same peer.
#[derive(Default)]
struct Connections {
    by_token: HashMap<Token, Arc<Connection>>,
    by_peer: HashMap<SocketAddr, Arc<Connection>>,
}

impl State {
    /// Whether the kernel says that it can go on: the turns that it has had, if so.
    fn ready(&self) -> Option<u64> {
        let mut entry = libc::pollfd {
            fd: self.stream.as_ref()?.as_raw_fd(),
            events: match self.pending.is_empty() {
                true => libc::POLLIN,
                false => libc::POLLOUT,
            },
            revents: 0,
        };
        // SAFETY: it is one entry, and lives for the call.
        let ready = unsafe { libc::poll(&mut entry, 1, 0) };
        (ready == 1).then_some(self.turns)
    }
}

impl World {
    pub fn new(backend: Backend, limit: u64, clock: Arc<Clock>) -> (World, [Poll; 2]) {
        let polls = [0, 1].map(|_| Poll::with_backend(backend).expect("opens a poll"));
        let queues = [&polls[0], &polls[1]].map(|poll| Queue {
            registry: poll.registry().try_clone().expect("clones"),
            waker: Waker::new(poll.registry(), WAKER).expect("a waker"),
            asked: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            polls: AtomicU64::new(0),
        });
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).expect("listens");
        // What it accepts has the same.
        let sized = SockRef::from(&listener).set_recv_buffer_size(BUFFER);
        sized.expect("sets a size");
        queues[0]
            .registry
            .register(&mut listener, LISTENER, Interest::READABLE)
            .expect("registers");
        let world = World {
            connections_wanted: ((limit - OTHER_DESCRIPTORS) / 2) as usize,
            address: listener.local_addr().expect("has an address"),
            listener,
            queues,
            clock,
            sequence: AtomicU64::new(0),
            next_token: AtomicUsize::new(FIRST),
            connections: Mutex::default(),
            // Twice the space, so that neither grows in a later wave.
            ended: Mutex::new((
                HashMap::with_capacity(ENDED * 2),
                VecDeque::with_capacity(ENDED + 1),
            )),
            dropped: Mutex::default(),
            clients: AtomicUsize::new(0),
            phase: AtomicU8::new(Phase::Draining as u8),
            counts: Default::default(),
            wakes: Mutex::default(),
            problems: Mutex::default(),
            is_broken: AtomicBool::new(false),
        };
        (world, polls)
    }

    /// What is ordered before or after what. (All orderings of this program are `SeqCst`: it is no
    /// place to be clever.)
    pub fn now(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::SeqCst)
    }

    // ---------------------------------------------------------------- connections

    /// Adds the server's end of a connection, and registers it.
    pub fn add(&self, stream: TcpStream, peer: SocketAddr) {
        self.count(Count::Accepts, 1);
        let number = self.next_token.fetch_add(1, Ordering::SeqCst);
        let queue = number % 2;
        let connection = Arc::new(Connection {
            token: Token(number),
            peer,
            state: Mutex::new(State {
                stream: Some(stream),
                queue,
                since: 0,
                interest: Interest::READABLE,
                pending: Vec::new(),
                has_ended: false,
                turns: 0,
            }),
        });
        // Its first event must find it.
        let mut state = connection.state.lock().unwrap();
        let mut connections = self.connections.lock().unwrap();
        let by_token = Arc::clone(&connection);
        connections.by_token.insert(connection.token, by_token);
        connections.by_peer.insert(peer, Arc::clone(&connection));
        drop(connections);
        self.register(connection.token, &mut state, queue);
    }

    pub fn find(&self, token: Token) -> Option<Arc<Connection>> {
        let connections = self.connections.lock().unwrap();
        connections.by_token.get(&token).cloned()
    }

    /// A connection that is open, maybe.
    pub fn some(&self, random: usize) -> Option<Arc<Connection>> {
        let next = self.next_token.load(Ordering::SeqCst);
        let span = (self.connections_wanted * 2).min(next - FIRST);
        let token = next.checked_sub(1 + random.checked_rem(span)?)?;
        self.find(Token(token))
    }

    pub fn register(&self, token: Token, state: &mut State, queue: usize) {
        let Some(stream) = &mut state.stream else {
            return;
        };
        state.queue = queue;
        state.turns += 1;
        state.since = self.now();
        let registry = &self.queues[queue].registry;
        if let Err(error) = registry.register(stream, token, state.interest) {
            self.problem(format!("registering fails: {error}"));
        }
    }

    pub fn reregister(&self, token: Token, state: &mut State, interest: Interest) {
        let Some(stream) = &mut state.stream else {
            return;
        };
        state.interest = interest;
        state.turns += 1;
        let registry = &self.queues[state.queue].registry;
        if let Err(error) = registry.reregister(stream, token, interest) {
            self.problem(format!("reregistering fails: {error}"));
        }
    }

    pub fn deregister(&self, state: &mut State) {
        if let Some(stream) = &mut state.stream {
            let registry = &self.queues[state.queue].registry;
            if let Err(error) = registry.deregister(stream) {
                self.problem(format!("deregistering fails: {error}"));
            }
        }
    }

    /// Closes the server's end; what was registered goes with it, or before.
    pub fn close(&self, connection: &Connection, state: &mut State, deregisters: bool) {
        if deregisters {
            self.deregister(state);
        }
        state.stream = None;
        state.pending = Vec::new();
        let mut ended = self.ended.lock().unwrap();
        let (when, order) = &mut *ended;
        when.insert(connection.token, self.now());
        order.push_back(connection.token);
        if order.len() > ENDED {
            let oldest = order.pop_front();
            oldest.map(|oldest| when.remove(&oldest));
        }
        drop(ended);
        let mut connections = self.connections.lock().unwrap();
        connections.by_token.remove(&connection.token);
        connections.by_peer.remove(&connection.peer);
    }

    /// An event of a registration that has ended: the poll must have begun before.
    pub fn judge_stale(&self, token: Token, began: u64) {
        let ended = self.ended.lock().unwrap().0.get(&token).copied();
        match ended {
            Some(ended) if ended > began => {}
            Some(_) => self.problem(format!("{token:?} was reported after its registration")),
            None => self.problem(format!("{token:?} is nobody's")),
        }
    }

    /// Notes that the end of this client's peer is no loss.
    pub fn drops(&self, client: SocketAddr) {
        self.dropped.lock().unwrap().insert(client);
    }

    pub fn was_dropped(&self, client: SocketAddr) -> bool {
        self.dropped.lock().unwrap().contains(&client)
    }

    pub fn client_opened(&self) {
        self.clients.fetch_add(1, Ordering::SeqCst);
        self.count(Count::Connects, 1);
    }

    /// Whether there is room for more that wait to be accepted.
    pub fn takes_more(&self) -> bool {
        self.get(Count::Connects) < self.get(Count::Accepts) + WAITING
    }

    pub fn client_closed(&self) {
        self.clients.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn is_empty(&self) -> bool {
        self.ends_left() == 0
    }

    /// Of both kinds.
    pub fn ends_left(&self) -> usize {
        let clients = self.clients.load(Ordering::SeqCst);
        clients + self.connections.lock().unwrap().by_token.len()
    }

    pub fn left(&self) -> String {
        let clients = self.clients.load(Ordering::SeqCst);
        let connections = self.connections.lock().unwrap().by_token.len();
        format!("{clients} clients and {connections} ends of the server")
    }

    /// Whether the server's end of a connection is ready for what it waits for: the turns that it has
    /// had, if so. (Where it is not ready, it is the kernel that waits.)
    pub fn ready(&self, client: SocketAddr) -> Option<u64> {
        let found = {
            let connections = self.connections.lock().unwrap();
            connections.by_peer.get(&client).cloned()
        };
        match found {
            Some(connection) => connection.state.lock().unwrap().ready(),
            // Nobody has accepted it, or it has been dropped just now.
            None if self.was_dropped(client) => None,
            None => Some(0),
        }
    }

    // ---------------------------------------------------------------------- wakes

    pub fn wake(&self, queue: usize) {
        let queue = &self.queues[queue];
        queue.asked.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = queue.waker.wake() {
            self.problem(format!("waking fails: {error}"));
        }
        self.count(Count::Wakes, 1);
    }

    pub fn woken(&self, queue: usize) {
        let queue = &self.queues[queue];
        let asked = queue.asked.load(Ordering::SeqCst);
        queue.seen.fetch_max(asked, Ordering::SeqCst);
    }

    /// Whether a wake-up is lost. To be called again and again, by one thread.
    pub fn check_wakes(&self) {
        let mut wakes = self.wakes.lock().unwrap();
        for (queue, waiting) in self.queues.iter().zip(&mut *wakes) {
            let seen = queue.seen.load(Ordering::SeqCst);
            let polls = queue.polls.load(Ordering::SeqCst);
            match *waiting {
                Some((asked, since, before)) if seen < asked => {
                    if since.elapsed() > WAKES && polls > before + POLLS {
                        self.problem(format!("a wake-up is lost: {seen} of {asked} were seen"));
                    }
                }
                _ => {
                    let asked = queue.asked.load(Ordering::SeqCst);
                    *waiting = Some((asked, Instant::now(), polls));
                }
            }
        }
    }

    pub fn polled(&self, queue: usize) {
        self.queues[queue].polls.fetch_add(1, Ordering::SeqCst);
        self.count(Count::Polls, 1);
    }

    // ------------------------------------------------------------------- the run

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::SeqCst))]
    }

    pub fn count(&self, what: Count, times: u64) {
        self.counts[what as usize].fetch_add(times, Ordering::SeqCst);
    }

    pub fn get(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::SeqCst)
    }

    pub fn tally(&self) -> String {
        let mut told = String::new();
        for (name, count) in COUNTS.iter().zip(&self.counts) {
            let comma = if told.is_empty() { "" } else { ", " };
            let count = count.load(Ordering::SeqCst);
            write!(told, "{comma}{count} {name}").expect("a string takes it");
        }
        told
    }

    /// What should have happened and did not.
    pub fn idle(&self) -> Vec<&'static str> {
        let counts = COUNTS.iter().zip(&self.counts);
        let idle = counts.filter(|(_, count)| count.load(Ordering::SeqCst) == 0);
        idle.map(|(name, _)| *name).collect()
    }

    pub fn problem(&self, problem: String) {
        self.problems().push(problem);
        self.is_broken.store(true, Ordering::SeqCst);
    }

    pub fn has_problems(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    pub fn problems(&self) -> MutexGuard<'_, Vec<String>> {
        self.problems.lock().unwrap()
    }
}

/// The bytes of a client's stream, told by its port.
pub fn byte(port: u16, position: u64) -> u8 {
    let mixed = (position ^ (u64::from(port) << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// Numbers that look random, the same in every run: xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: usize) -> Random {
        Random(0x2545_f491_4f6c_dd1d ^ (seed as u64 + 1))
    }

    pub fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.next() % end
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
