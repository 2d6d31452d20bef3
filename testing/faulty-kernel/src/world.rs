//! The environment of every operation: a poll with a source and a waker. Whatever fails, no event
//! of theirs may be lost.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Backend, Events, Interest, Poll, Token, Waker};

use crate::record::patience;
use crate::system::{self, Peer, Stream};

pub const WITNESS: Token = Token(1);
pub const WAKER: Token = Token(2);
/// The token of the source that the operation uses.
pub const SOURCE: Token = Token(3);
/// The token of the same source after `reregister`.
pub const RENAMED: Token = Token(4);
const SECOND_THREAD: Token = Token(5);
const NEW: Token = Token(6);

/// How long a test waits for an event that must not come.
const A_WHILE: Duration = Duration::from_millis(20);

/// The standard library allocates memory for a thread that waits for a channel for the first time, and keeps it. In a
/// run it depends on the time whether the thread waits.
pub fn wait_for_a_channel() {
    let (_sender, receiver) = mpsc::channel::<()>();
    receiver
        .recv_timeout(Duration::from_millis(1))
        .expect_err("nothing is sent");
}

pub struct World {
    pub backend: Backend,
    pub poll: Poll,
    pub events: Events,
    pub waker: Waker,
    witness: Stream,
    /// The peer, which writes to it.
    peer: Peer,
    has_written: bool,
    /// The tokens of reported events, until a test waits for them.
    seen: Vec<Token>,
}

impl World {
    pub fn new(backend: Backend) -> World {
        let poll = Poll::with_backend(backend).unwrap();
        let (mut witness, peer) = system::pair();
        let registry = poll.registry();
        registry
            .register(&mut witness, WITNESS, Interest::READABLE)
            .unwrap();
        let waker = Waker::new(registry, WAKER).unwrap();
        let mut world = World {
            backend,
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

    /// How much is registered with the kernel, where a model can tell.
    pub fn registrations(&self) -> Option<usize> {
        system::registrations(self.backend, &self.poll)
    }

    /// Discards the events reported so far. With `with_a_byte`, the witness is readable from now
    /// on.
    pub fn begin(&mut self, with_a_byte: bool) {
        self.seen.clear();
        if with_a_byte {
            self.peer.write_all(b"1").unwrap();
            self.has_written = true;
            // Wait until it has arrived.
            let start = Instant::now();
            while !system::has_data(&self.witness) {
                assert!(start.elapsed() < patience(), "a byte arrives");
            }
        }
    }

    /// Polls once, and stores the reported tokens.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let outcome = self.poll.poll(&mut self.events, timeout);
        let count = self.events.iter().count();
        assert!(outcome.is_ok() || count == 0, "events beside an error");
        self.seen
            .extend(self.events.iter().map(|event| event.token()));
        outcome.map(|()| count)
    }

    /// Polls until this token was reported, if it was not reported yet.
    #[track_caller]
    pub fn until(&mut self, token: Token) {
        let start = Instant::now();
        while !self.take(token) {
            // Longer than the accepted delay, so that a wait that never ends is not mistaken for a
            // late one.
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

    /// Whether this source can be registered, and is reported as readable after `write`.
    #[track_caller]
    pub fn assert_reads(&mut self, source: &mut impl Source, write: impl FnOnce()) {
        let register = self
            .poll
            .registry()
            .register(source, NEW, Interest::READABLE);
        register.expect("what was made can be registered");
        write();
        self.until(NEW);
        self.poll
            .registry()
            .deregister(source)
            .expect("what was made can be deregistered");
    }

    /// Whether everything works as if nothing had failed.
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

    /// Another thread registers a source while this thread polls.
    fn assert_second_thread_is_heard(&mut self) {
        let registry = self.poll.registry().try_clone().unwrap();
        let (done, is_done) = mpsc::channel();
        let second = thread::spawn(move || {
            let (mut source, mut peer) = system::pair();
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
