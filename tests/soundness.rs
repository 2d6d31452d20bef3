//! Safe programs that do what no program should: drop in any order, panic and call back in the
//! middle of an operation, exchange the object of a registered source, drop a poll that other
//! threads use. No memory is at risk, and everything else still works. (The address sanitizer and
//! valgrind run these tests as well.)
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Barrier};
use std::thread;
use std::time::Duration;

use mio::event::Source;
use mio::{Backend, Events, Interest, IoSource, Poll, Registry, Token, Waker};
use util::{std_stream_pair, stream_pair, Loop, Polling, StdStream, Stream};

on_each_backend![
    a_poll_its_registry_sources_and_wakers_are_dropped_in_any_order,
    a_panic_in_an_operation_leaves_the_source_and_its_poll_usable,
    a_panic_while_registering_leaves_the_poll_usable,
    an_operation_may_register_poll_and_operate_itself,
    an_operation_may_drop_its_poll,
    what_is_formatted_may_be_written_to_a_source_of_the_same_poll,
    sources_that_are_swapped_keep_their_registrations,
    a_source_may_exchange_its_object,
    events_of_one_poll_hold_those_of_another,
    a_poll_is_dropped_while_other_threads_use_it,
    sources_and_wakers_come_and_go_on_threads_while_two_polls_wait,
];

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn would_block<R: std::fmt::Debug>(result: io::Result<R>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn readable(looper: &Loop, source: &mut impl Source, token: usize) {
    let registry = looper.registry();
    registry
        .register(source, Token(token), Interest::READABLE)
        .unwrap();
}

/// Drains it, and checks that the next data is reported.
#[track_caller]
fn assert_works(looper: &mut Loop, mut one: &Stream, mut other: &Stream, token: usize) {
    let mut buffer = [0; 16];
    while one.read(&mut buffer).is_ok() {}
    other.write_all(b"x").unwrap();
    looper.until_readable(Token(token));
    assert_eq!(one.read(&mut buffer).unwrap(), 1);
    would_block(one.read(&mut buffer));
    other.write_all(b"y").unwrap();
    looper.until_readable(Token(token));
}

fn a_poll_its_registry_sources_and_wakers_are_dropped_in_any_order(backend: Backend) {
    const PARTS: usize = 4;

    // Each number, in the base of `PARTS`, is an order. If it names a part twice, the part is
    // dropped once.
    for order in 0..PARTS.pow(PARTS as u32) {
        let mut looper = Loop::new(backend);
        let registry = looper.registry().try_clone().unwrap();
        let (mut one, mut other) = stream_pair();
        registry.register(&mut one, Token(1), BOTH).unwrap();
        let waker = Waker::new(&registry, Token(2)).unwrap();
        waker.wake().unwrap();
        other.write_all(b"x").unwrap();
        if order % 2 == 0 {
            looper.assert_some_ready();
        }
        let mut parts = (Some(looper), Some(registry), Some(one), Some(waker));
        for step in 0..PARTS as u32 {
            match order / PARTS.pow(step) % PARTS {
                0 => drop(parts.0.take()),
                1 => drop(parts.1.take()),
                2 => drop(parts.2.take()),
                _ => drop(parts.3.take()),
            }
            // The remaining parts still work.
            if let Some(one) = &mut parts.2 {
                let _ = one.read(&mut [0; 8]);
                if let Some(registry) = &parts.1 {
                    registry.reregister(one, Token(3), BOTH).unwrap();
                }
            }
            if let Some(waker) = &parts.3 {
                waker.wake().unwrap();
            }
            if let Some(looper) = &mut parts.0 {
                let Loop { poll, events, .. } = looper;
                poll.poll(events, Some(Duration::ZERO)).unwrap();
            }
        }
    }
}

fn a_panic_in_an_operation_leaves_the_source_and_its_poll_usable(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, other) = stream_pair();
    readable(&looper, &mut one, 1);
    let panics = |operation: &dyn Fn() -> io::Result<()>| {
        let outcome = catch_unwind(AssertUnwindSafe(operation));
        assert_eq!(
            *outcome.unwrap_err().downcast::<&str>().unwrap(),
            "as it should"
        );
    };
    for _ in 0..3 {
        panics(&|| one.try_io(|| std::panic::panic_any("as it should")));
        panics(&|| one.try_io_with(Interest::READABLE, || std::panic::panic_any("as it should")));
        panics(&|| {
            one.try_io(|| {
                would_block((&one).read(&mut [0; 8]));
                std::panic::panic_any("as it should")
            })
        });
    }
    assert_works(&mut looper, &one, &other, 1);
}

/// Registers its stream, and panics.
struct Panics(Stream);

impl Source for Panics {
    fn register(&mut self, registry: &Registry, token: Token, what: Interest) -> io::Result<()> {
        self.0.register(registry, token, what)?;
        std::panic::panic_any("as it should")
    }

    fn reregister(&mut self, registry: &Registry, token: Token, what: Interest) -> io::Result<()> {
        self.0.reregister(registry, token, what)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.deregister(registry)?;
        std::panic::panic_any("as it should")
    }
}

fn a_panic_while_registering_leaves_the_poll_usable(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, other) = stream_pair();
    let mut one = Panics(one);
    let registry = looper.registry();
    for _ in 0..3 {
        let registering = AssertUnwindSafe(|| registry.register(&mut one, Token(1), BOTH));
        assert!(catch_unwind(registering).is_err());
        let ending = AssertUnwindSafe(|| registry.deregister(&mut one));
        assert!(catch_unwind(ending).is_err());
    }
    looper.assert_nothing_ready();
    let Panics(mut one) = one;
    readable(&looper, &mut one, 2);
    assert_works(&mut looper, &one, &other, 2);
}

fn an_operation_may_register_poll_and_operate_itself(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, other) = stream_pair();
    let (mut second, mut its_peer) = stream_pair();
    let (third, _) = stream_pair();
    readable(&looper, &mut one, 1);
    let (mut third, waker) = (
        Some(third),
        Waker::new(looper.registry(), Token(9)).unwrap(),
    );
    readable(&looper, third.as_mut().unwrap(), 3);
    for _ in 0..3 {
        let outcome: io::Result<()> = one.try_io(|| {
            let _ = looper
                .registry()
                .register(&mut second, Token(2), Interest::READABLE);
            drop(third.take());
            its_peer.write_all(b"x").unwrap();
            waker.wake().unwrap();
            looper.until_readable(Token(2));
            would_block(one.try_io_with(Interest::READABLE, || (&one).read(&mut [0; 8])));
            looper
                .registry()
                .reregister(&mut second, Token(2), BOTH)
                .unwrap();
            looper.registry().deregister(&mut second).unwrap();
            Err(ErrorKind::WouldBlock.into())
        });
        would_block(outcome);
    }
    assert_works(&mut looper, &one, &other, 1);
}

fn an_operation_may_drop_its_poll(backend: Backend) {
    for ends in [ErrorKind::WouldBlock, ErrorKind::ConnectionReset] {
        let mut looper = Some(Loop::new(backend));
        let (mut one, mut other) = stream_pair();
        readable(looper.as_ref().unwrap(), &mut one, 1);
        other.write_all(b"x").unwrap();
        looper.as_mut().unwrap().until_readable(Token(1));
        let outcome: io::Result<()> = one.try_io(|| {
            drop(looper.take());
            Err(ends.into())
        });
        assert_eq!(outcome.unwrap_err().kind(), ends);
        // A poll that is gone does not count.
        let mut looper = Loop::new(backend);
        readable(&looper, &mut one, 2);
        assert_works(&mut looper, &one, &other, 2);
    }
}

/// Each piece is sent to the peer, and a read finds that no data has arrived.
struct Tells<'a> {
    source: &'a Stream,
    length: usize,
}

impl fmt::Write for Tells<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let mut source = self.source;
        source.write_all(piece.as_bytes()).unwrap();
        would_block(source.read(&mut [0; 8]));
        self.length += piece.len();
        Ok(())
    }
}

/// If a lock were held meanwhile, it would never be released.
fn what_is_formatted_may_be_written_to_a_source_of_the_same_poll(backend: Backend) {
    let (tell, told) = mpsc::channel();
    let formatting = thread::spawn(move || {
        let looper = Loop::new(backend);
        let (mut one, _other) = stream_pair();
        readable(&looper, &mut one, 1);
        let waker = Waker::new(looper.registry(), Token(2)).unwrap();
        let formatted: [&dyn fmt::Debug; 4] = [&looper.poll, looper.registry(), &waker, &one];
        for value in formatted {
            let mut tells = Tells {
                source: &one,
                length: 0,
            };
            write!(tells, "{value:?}").unwrap();
            assert!(tells.length > 0);
        }
        tell.send(()).unwrap();
    });
    told.recv_timeout(util::patience())
        .expect("it has a deadlock");
    formatting.join().unwrap();
}

fn sources_that_are_swapped_keep_their_registrations(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, peer_of_one) = stream_pair();
    let (mut two, peer_of_two) = stream_pair();
    readable(&looper, &mut one, 1);
    readable(&looper, &mut two, 2);
    std::mem::swap(&mut one, &mut two);
    let (one, two) = (Box::new(two), vec![one]);
    assert_works(&mut looper, &one, &peer_of_one, 1);
    let two = two.into_iter().next().unwrap();
    assert_works(&mut looper, &two, &peer_of_two, 2);
    drop(one);
    assert_works(&mut looper, &two, &peer_of_two, 2);
}

/// Either of two objects, as `which` selects.
struct Either {
    objects: [StdStream; 2],
    which: Cell<usize>,
}

#[cfg(unix)]
impl AsFd for Either {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.objects[self.which.get()].as_fd()
    }
}

#[cfg(windows)]
impl AsSocket for Either {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.objects[self.which.get()].as_socket()
    }
}

/// The results of the calls differ, and the other registrations are not affected.
fn a_source_may_exchange_its_object(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, other) = stream_pair();
    readable(&looper, &mut one, 1);
    for calls in 0..64 {
        let (first, _first) = std_stream_pair();
        let (second, _second) = std_stream_pair();
        let mut either = IoSource::new(Either {
            objects: [first, second],
            which: Cell::new(0),
        });
        for step in 0..3 {
            either.which.set(calls >> (step + 3) & 1);
            let registry = looper.registry();
            let _ = match (calls >> step) & 1 {
                0 => registry.register(&mut either, Token(2), Interest::READABLE),
                _ => registry.reregister(&mut either, Token(3), Interest::READABLE),
            };
            let _: io::Result<()> = either.try_io(|_| Err(ErrorKind::WouldBlock.into()));
            let Loop { poll, events, .. } = &mut looper;
            poll.poll(events, Some(Duration::ZERO)).unwrap();
        }
        if calls % 3 == 0 {
            let _ = looper.registry().deregister(&mut either);
        }
    }
    assert_works(&mut looper, &one, &other, 1);
}

fn events_of_one_poll_hold_those_of_another(backend: Backend) {
    let mut polls: Vec<Poll> = Backend::available()
        .iter()
        .chain([&backend])
        .map(|&backend| Poll::with_backend(backend).unwrap())
        .collect();
    let wakers: Vec<Waker> = (polls.iter().enumerate())
        .map(|(n, poll)| Waker::new(poll.registry(), Token(n)).unwrap())
        .collect();
    let mut events = Events::with_capacity(2);
    for _ in 0..3 {
        for (n, poll) in polls.iter_mut().enumerate() {
            wakers[n].wake().unwrap();
            poll.poll(&mut events, Some(util::patience())).unwrap();
            let tokens: Vec<Token> = events.iter().map(|event| event.token()).collect();
            assert_eq!(tokens, [Token(n)]);
        }
    }
}

fn a_poll_is_dropped_while_other_threads_use_it(backend: Backend) {
    for _ in 0..20 {
        let looper = Loop::new(backend);
        let waker = Arc::new(Waker::new(looper.registry(), Token(9)).unwrap());
        let registry = looper.registry().try_clone().unwrap();
        let (mut one, mut other) = stream_pair();
        readable(&looper, &mut one, 1);
        let begin = Barrier::new(3);
        thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                for _ in 0..10 {
                    waker.wake().unwrap();
                    // Fails when the other end is closed.
                    let _ = other.write(b"x");
                }
            });
            scope.spawn(|| {
                begin.wait();
                for _ in 0..10 {
                    let _ = one.read(&mut [0; 2]);
                    registry.reregister(&mut one, Token(1), BOTH).unwrap();
                }
                drop(registry);
                drop(one);
            });
            begin.wait();
            drop(looper);
        });
        waker.wake().unwrap();
    }
}

fn sources_and_wakers_come_and_go_on_threads_while_two_polls_wait(backend: Backend) {
    let polling = [(); 2].map(|()| Polling::begin(Loop::new(backend)));
    let registries = [polling[0].registry(), polling[1].registry()];
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (registries, failed) = (&registries, &failed);
            scope.spawn(move || {
                let (mut one, mut other) = stream_pair();
                let mut is_registered = false;
                for round in 0..60 {
                    let registry = &registries[(round / 4 + number) % 2];
                    let waker = Waker::new(registry, Token(round)).unwrap();
                    waker.wake().unwrap();
                    if is_registered {
                        is_registered = registry.reregister(&mut one, Token(round), BOTH).is_ok();
                    }
                    if !is_registered {
                        // It may be registered with either poll.
                        for registry in registries {
                            let _ = registry.deregister(&mut one);
                        }
                        is_registered = registry.register(&mut one, Token(round), BOTH).is_ok();
                        failed.fetch_or(!is_registered, Ordering::Relaxed);
                    }
                    other.write_all(b"x").unwrap();
                    let _ = one.read(&mut [0; 8]);
                    if round % 7 == 6 {
                        (one, other) = stream_pair();
                        is_registered = false;
                    }
                    if round % 2 == 0 {
                        drop(waker);
                        let _ = one.read(&mut [0; 8]);
                    }
                }
            });
        }
    });
    assert!(!failed.into_inner());
    for (n, polling) in polling.into_iter().enumerate() {
        let mut looper = polling.end();
        let (mut one, other) = stream_pair();
        readable(&looper, &mut one, 100 + n);
        assert_works(&mut looper, &one, &other, 100 + n);
    }
}
