//! What every operation is run in: a poll with a source and a waker, of which nothing may be lost
//! whatever fails.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::{any_port, patience};

pub const WITNESS: Token = Token(1);
pub const WAKER: Token = Token(2);
/// Of the source that the operation is about.
pub const SOURCE: Token = Token(3);
/// Of the same after `reregister`.
pub const RENAMED: Token = Token(4);
const SECOND_THREAD: Token = Token(5);
const NEW: Token = Token(6);

/// What nothing comes in.
const A_WHILE: Duration = Duration::from_millis(20);

pub struct World {
    pub poll: Poll,
    pub events: Events,
    pub waker: Waker,
    witness: TcpStream,
    /// Writes to it.
    peer: net::TcpStream,
    has_written: bool,
    /// The tokens of events, until they are awaited.
    seen: Vec<Token>,
}

pub fn tcp_pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream), peer)
}

impl World {
    pub fn new() -> World {
        let poll = Poll::new().unwrap();
        let (mut witness, peer) = tcp_pair();
        let registry = poll.registry();
        registry
            .register(&mut witness, WITNESS, Interest::READABLE)
            .unwrap();
        let waker = Waker::new(registry, WAKER).unwrap();
        let mut world = World {
            poll,
            events: Events::with_capacity(8),
            waker,
            witness,
            peer,
            has_written: false,
            seen: Vec::with_capacity(64),
        };
        world.poll(Some(Duration::ZERO)).unwrap();
        world
    }

    /// What was reported so far does not count. `with_a_byte`: the witness is readable from now on.
    pub fn begin(&mut self, with_a_byte: bool) {
        self.seen.clear();
        if with_a_byte {
            self.peer.write_all(b"1").unwrap();
            self.has_written = true;
            // It has arrived.
            let start = Instant::now();
            while self.witness.peek(&mut [0]).is_err() {
                assert!(start.elapsed() < patience(), "a byte arrives");
            }
        }
    }

    /// Polls once, and remembers what is reported.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let outcome = self.poll.poll(&mut self.events, timeout);
        let count = self.events.iter().count();
        assert!(outcome.is_ok() || count == 0, "events beside an error");
        self.seen
            .extend(self.events.iter().map(|event| event.token()));
        outcome.map(|()| count)
    }

    /// Polls until this is reported, if it was not yet.
    #[track_caller]
    pub fn until(&mut self, token: Token) {
        let start = Instant::now();
        while !self.take(token) {
            // Longer than what is accepted: a wait that nobody ends is not taken for a late end.
            self.poll(Some(patience() * 2)).expect("poll works");
            let name = format!("{token:?} is reported (3 is the operation's source)");
            assert!(start.elapsed() < patience(), "{name}");
        }
    }

    #[track_caller]
    pub fn assert_no(&mut self, token: Token) {
        let start = Instant::now();
        while start.elapsed() < A_WHILE {
            self.poll(Some(A_WHILE)).expect("poll works");
            assert!(!self.take(token), "{token:?} is not reported");
        }
    }

    pub fn take(&mut self, token: Token) -> bool {
        let before = self.seen.len();
        self.seen.retain(|seen| *seen != token);
        self.seen.len() < before
    }

    /// Whether this source can be registered and is reported readable after `write`.
    #[track_caller]
    pub fn assert_reads(&mut self, source: &mut impl Source, write: impl FnOnce()) {
        let registry = self.poll.registry();
        let registered = registry.register(source, NEW, Interest::READABLE);
        registered.expect("what was made can be registered");
        write();
        self.until(NEW);
        let registry = self.poll.registry();
        let deregistered = registry.deregister(source);
        deregistered.expect("what was made can be deregistered");
    }

    /// Whether all is as if nothing had failed.
    pub fn assert_sound(&mut self) {
        if self.has_written {
            self.until(WITNESS);
        }
        let mut bytes = [0; 8];
        for _ in 0..2 {
            while self.witness.read(&mut bytes).is_ok() {}
            let drained = self.witness.read(&mut bytes).unwrap_err();
            assert_eq!(drained.kind(), ErrorKind::WouldBlock);
            self.take(WITNESS);
            self.peer.write_all(b"2").unwrap();
            self.until(WITNESS);
        }
        for _ in 0..2 {
            self.take(WAKER);
            self.waker.wake().expect("wake works");
            self.until(WAKER);
        }
        self.assert_second_thread_is_heard();
    }

    /// Another thread registers a source, while this one polls.
    fn assert_second_thread_is_heard(&mut self) {
        let registry = self.poll.registry().try_clone().unwrap();
        let (done, is_done) = mpsc::channel();
        let second = thread::spawn(move || {
            let (mut source, mut peer) = tcp_pair();
            peer.write_all(b"x").unwrap();
            registry
                .register(&mut source, SECOND_THREAD, Interest::READABLE)
                .expect("a second thread can register");
            done.send((source, peer)).unwrap();
            registry
        });
        self.until(SECOND_THREAD);
        let (mut source, _peer) = is_done
            .recv_timeout(patience())
            .expect("a second thread can register in time");
        let registry = second.join().expect("the second thread");
        registry
            .deregister(&mut source)
            .expect("it can be deregistered");
    }
}
