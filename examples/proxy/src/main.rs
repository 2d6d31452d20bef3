//! A TCP proxy: it passes a client's bytes on to a server, and the server's bytes back.
//!
//! `cargo run -p proxy -- 127.0.0.1:9001 127.0.0.1:9000 60` passes the clients of port 9001
//! on to port 9000, and closes what is idle for 60 seconds. Ctrl-C lets open links end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

const LISTENER: Token = Token(0);
const SIGNALS: Token = Token(1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// A flow with so much to write reads no more.
const LIMIT: usize = 64 * 1024;
/// How often a flow reads before the others have their turn.
const READS_PER_TURN: usize = 4;
/// When to accept again after an error.
const RETRY: Duration = Duration::from_millis(200);
/// How long the links may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

/// A client and its server. The tokens of link `n` are `2 * n` and `2 * n + 1`.
struct Link {
    /// The client's stream and the server's, each registered once for both directions.
    streams: [TcpStream; 2],
    is_connected: bool,
    /// The flow from the client, and the flow from the server.
    flows: [Flow; 2],
    /// When it is closed, once it has had an event.
    idle_at: Instant,
}

#[derive(Default)]
struct Flow {
    waiting: VecDeque<u8>,
    read_ended: bool,
    /// The end was passed on, or writing has failed.
    write_ended: bool,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, from, to, idle] = &arguments[..] else {
        panic!("usage: proxy LISTEN-ADDRESS SERVER-ADDRESS IDLE-SECONDS");
    };
    let mut listener = TcpListener::bind(from.parse().expect("an address"))?;
    let server = to.parse().expect("an address");
    let idle = Duration::from_secs(idle.parse().expect("a number"));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let registry = poll.registry().try_clone()?;
    registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut listener = Some(listener); // until Ctrl-C
    let mut links: HashMap<usize, Link> = HashMap::new();
    let mut next = 1; // No number is used twice.
    let mut deadlines = BinaryHeap::new(); // for each link: when to check its `idle_at`
    let (mut retry_at, mut stop_at) = (None, None);
    loop {
        let idle_at = deadlines.peek().map(|&Reverse((at, _))| at);
        let nearest = [idle_at, retry_at, stop_at].into_iter().flatten().min();
        poll.poll_until(&mut events, nearest)?;
        let now = Instant::now();
        let mut accept = retry_at.is_some_and(|at| at <= now);
        for event in &events {
            match event.token() {
                LISTENER => accept = true,
                SIGNALS => {
                    if signals.pending().count() > 0 && stop_at.is_none() {
                        stop_at = Some(now + GRACE);
                        accept = true; // for the clients that wait already
                    }
                }
                Token(n) => {
                    if let Some(link) = links.get_mut(&(n / 2)) {
                        link.idle_at = now + idle;
                        if !link.advance(&registry, n / 2).unwrap_or(false) {
                            links.remove(&(n / 2));
                        }
                    } // else it was closed earlier in this turn
                }
            }
        }
        if let (true, Some(listener)) = (accept, &listener) {
            retry_at = None;
            loop {
                match listener.accept() {
                    Ok((client, peer)) => {
                        let server = TcpStream::connect(server);
                        match server.and_then(|to| Link::new(&registry, next, [client, to])) {
                            Ok(link) => drop(links.insert(next, link)),
                            Err(error) => eprintln!("cannot serve {peer}: {error}"),
                        }
                        deadlines.push(Reverse((now + idle, next)));
                        next += 1;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        eprintln!("cannot accept: {error}");
                        retry_at = Some(now + RETRY);
                        break;
                    }
                }
            }
        }
        let has_passed = |next: &&Reverse<(Instant, usize)>| next.0 .0 <= now;
        while let Some(&Reverse((_, n))) = deadlines.peek().filter(has_passed) {
            deadlines.pop();
            match links.get(&n) {
                Some(link) if link.idle_at > now => deadlines.push(Reverse((link.idle_at, n))),
                _ => drop(links.remove(&n)),
            }
        }
        if let Some(at) = stop_at {
            (listener, retry_at) = (None, None);
            if at <= now || links.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Link {
    fn new(registry: &Registry, n: usize, mut streams: [TcpStream; 2]) -> io::Result<Link> {
        registry.register(&mut streams[0], Token(2 * n), BOTH)?;
        registry.register(&mut streams[1], Token(2 * n + 1), BOTH)?;
        let (is_connected, flows, idle_at) = (false, Default::default(), Instant::now());
        Ok(Link {
            streams,
            is_connected,
            flows,
            idle_at,
        })
    }

    /// Continues after an event of either stream. Returns whether the link stays open.
    fn advance(&mut self, registry: &Registry, n: usize) -> io::Result<bool> {
        if !self.is_connected {
            if let Some(error) = self.streams[1].take_error()? {
                return Err(error);
            }
            if self.streams[1].peer_addr().is_err() {
                return Ok(true); // not yet
            }
            self.is_connected = true;
        }
        for i in 0..2 {
            if self.flows[i].advance(&self.streams[i], &self.streams[1 - i])? {
                // The next poll reports it again, behind the others that are ready.
                registry.reregister(&mut self.streams[i], Token(2 * n + i), BOTH)?;
            }
        }
        Ok(self.flows.iter().any(|flow| !flow.write_ended))
    }
}

impl Flow {
    /// Returns whether there may be more, for which no event comes by itself. If not, the
    /// operation that the flow needs has returned `WouldBlock`, or the flow has ended.
    fn advance(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..READS_PER_TURN {
            while !self.write_ended && !self.waiting.is_empty() {
                match to.write(self.waiting.as_slices().0) {
                    Ok(length) => drop(self.waiting.drain(..length)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // The other flow may continue.
                    Err(_) => self.write_ended = true,
                }
            }
            if self.read_ended && self.waiting.is_empty() && !self.write_ended {
                let _ = to.shutdown(Shutdown::Write); // it may have closed by now
                self.write_ended = true;
            }
            if self.read_ended || self.write_ended || self.waiting.len() >= LIMIT {
                return Ok(false);
            }
            match from.read(&mut buffer) {
                Ok(0) => self.read_ended = true,
                Ok(length) => self.waiting.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
