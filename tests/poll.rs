//! Waiting: capacity, fairness, the state after a poll, nesting, threads.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Events, Interest, Poll, Token, Waker};
use util::{any_port, patience, pipe, Loop};
#[cfg(unix)]
use util::{stream_pair, Differences, Stream};

on_each_backend![
    a_zero_timeout_returns_at_once,
    polling_with_capacity_zero_is_invalid_input,
    no_more_events_than_capacity,
    a_buffer_that_has_grown_takes_more_events,
    more_ready_sources_than_capacity_are_all_reported,
    a_small_buffer_starves_no_source,
    #[cfg(unix)]
    a_source_that_blocks_again_and_again_gets_its_turn,
    each_poll_replaces_the_events,
    #[cfg(unix)]
    an_error_leaves_no_events,
    clear_empties_the_buffer,
    tokens_come_back_bit_for_bit,
    registering_while_another_thread_polls_takes_effect,
    deregistering_while_another_thread_polls_takes_effect,
    a_poll_can_be_sent_to_another_thread,
    #[cfg(unix)]
    a_nested_poll_is_readable_while_events_wait,
    #[cfg(unix)]
    a_nested_poll_is_readable_until_all_wakes_are_taken,
    #[cfg(unix)]
    a_descriptor_added_to_the_epoll_directly_is_reported_with_its_user_data,
    every_type_implements_debug,
];

fn a_zero_timeout_returns_at_once(backend: Backend) {
    let mut looper = Loop::new(backend);
    let start = Instant::now();
    looper.assert_nothing_ready();
    assert!(start.elapsed() < patience());
}

fn polling_with_capacity_zero_is_invalid_input(backend: Backend) {
    let mut poll = Poll::with_backend(backend).unwrap();
    let mut events = Events::with_capacity(0);
    assert_eq!(events.capacity(), 0);
    let start = Instant::now();
    for timeout in [None, Some(Duration::MAX), Some(Duration::from_nanos(1))] {
        let error = poll.poll(&mut events, timeout).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let error = poll.poll_until(&mut events, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(start.elapsed() < patience(), "must not wait");
}

#[test]
fn capacity_is_kept_and_clamped() {
    for capacity in [0, 1, 7, 1024, 1 << 20] {
        assert_eq!(Events::with_capacity(capacity).capacity(), capacity);
    }
    assert_eq!(Events::with_capacity((1 << 20) + 1).capacity(), 1 << 20);
    assert_eq!(Events::with_capacity(usize::MAX).capacity(), 1 << 20);
}

/// Pipes with unread data, registered with the tokens 0, 1, 2 …
fn ready_pipes(looper: &Loop, count: usize) -> Vec<(pipe::Sender, pipe::Receiver)> {
    (0..count)
        .map(|n| {
            let (mut sender, mut receiver) = pipe::new().unwrap();
            sender.write_all(b"x").unwrap();
            looper
                .registry()
                .register(&mut receiver, Token(n), Interest::READABLE)
                .unwrap();
            (sender, receiver)
        })
        .collect()
}

fn no_more_events_than_capacity(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 3);
    let _pipes = ready_pipes(&looper, 10);
    looper
        .poll
        .poll(&mut looper.events, Some(patience()))
        .unwrap();
    let count = looper.events.iter().count();
    assert!((1..=3).contains(&count), "{count} events");
    assert_eq!(looper.events.iter().size_hint(), (count, Some(count)));
    assert_eq!(looper.events.iter().len(), count);
}

fn a_buffer_that_has_grown_takes_more_events(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 3);
    let mut pipes = ready_pipes(&looper, 10);
    for (n, (_, receiver)) in pipes.iter_mut().enumerate() {
        let interests = Interest::READABLE.level();
        looper
            .registry()
            .reregister(receiver, Token(n), interests)
            .unwrap();
    }
    looper.assert_some_ready();
    let before: Vec<Token> = looper.events.iter().map(|event| event.token()).collect();
    looper.events.reserve(13);
    assert_eq!(looper.events.capacity(), 16);
    let after: Vec<Token> = looper.events.iter().map(|event| event.token()).collect();
    assert_eq!(before, after);
    // All are ready, and what is ready may arrive one after the other.
    let deadline = Instant::now() + patience();
    while looper.events.iter().len() < pipes.len() {
        assert!(Instant::now() < deadline, "{:?}", looper.events);
        looper.assert_some_ready();
    }
    let mut tokens: Vec<usize> = looper.events.iter().map(|event| event.token().0).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..pipes.len()).collect::<Vec<_>>());

    looper.events.reserve(0);
    assert_eq!(looper.events.capacity(), 16);
    looper.events.reserve(usize::MAX);
    assert_eq!(looper.events.capacity(), 1 << 20);
}

fn more_ready_sources_than_capacity_are_all_reported(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 3);
    let pipes = ready_pipes(&looper, 10);
    let mut seen = HashSet::new();
    looper.until("all ten", |event| {
        seen.insert(event.token());
        seen.len() == pipes.len()
    });
}

/// Two sources keep becoming ready again. The third must still get its turn.
fn a_small_buffer_starves_no_source(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let mut pipes = ready_pipes(&looper, 3);
    let mut turns = [0; 3];
    while turns.iter().any(|&turns| turns < 5) {
        assert!(
            turns.iter().sum::<i32>() < 100,
            "a source starves: {turns:?}"
        );
        looper
            .poll
            .poll(&mut looper.events, Some(patience()))
            .unwrap();
        let token = looper.events.iter().next().expect("all are ready").token();
        turns[token.0] += 1;
        // Drained and filled: ready again, with a new edge.
        let (sender, receiver) = &mut pipes[token.0];
        let mut buffer = [0; 8];
        assert_eq!(receiver.read(&mut buffer).unwrap(), 1);
        assert!(receiver.read(&mut buffer).is_err());
        sender.write_all(b"x").unwrap();
    }
}

/// It has data to read and cannot be written to, and each write says so; another source is always ready.
#[cfg(unix)]
fn a_source_that_blocks_again_and_again_gets_its_turn(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let (blocks, both) = (Token(10), Interest::READABLE | Interest::WRITABLE);
    let (mut one, mut other) = stream_pair();
    let write = |stream: &mut Stream| while stream.write(&[0; 4096]).is_ok() {};
    write(&mut one);
    looper.registry().register(&mut one, blocks, both).unwrap();
    looper.assert_nothing_ready();
    write(&mut one);
    other.write_all(b"x").unwrap();

    let (sender, receiver) = &mut ready_pipes(&looper, 1)[0];
    for _ in 0..20 {
        write(&mut one);
        looper
            .poll
            .poll(&mut looper.events, Some(patience()))
            .unwrap();
        let event = looper.events.iter().next().expect("both are ready");
        if event.token() == blocks {
            assert!(event.is_readable());
            return;
        }
        assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 1);
        assert!(receiver.read(&mut [0; 8]).is_err());
        sender.write_all(b"x").unwrap();
    }
    panic!("it starves");
}

fn each_poll_replaces_the_events(backend: Backend) {
    let mut looper = Loop::new(backend);
    let _pipes = ready_pipes(&looper, 2);
    looper.until("both", |event| event.token() == Token(1));
    looper.assert_nothing_ready();
}

#[cfg(unix)]
fn an_error_leaves_no_events(backend: Backend) {
    // On a thread of its own, to which the signal is sent.
    let ran = thread::spawn(move || {
        let mut looper = Loop::new(backend);
        let _pipes = ready_pipes(&looper, 1);
        looper.until_readable(Token(0));
        assert!(!looper.events.is_empty());
        let _signals = util::Signals::to_this_thread();
        let interrupted = looper
            .poll
            .poll(&mut looper.events, Some(patience()))
            .unwrap_err();
        assert_eq!(interrupted.kind(), ErrorKind::Interrupted);
        assert!(looper.events.is_empty());
    });
    ran.join().unwrap();
}

fn clear_empties_the_buffer(backend: Backend) {
    let mut looper = Loop::new(backend);
    let _pipes = ready_pipes(&looper, 1);
    looper.until_readable(Token(0));
    assert!(!looper.events.is_empty());
    looper.events.clear();
    assert!(looper.events.is_empty());
    assert_eq!(looper.events.iter().count(), 0);
    assert_eq!(looper.events.capacity(), 64);
}

fn tokens_come_back_bit_for_bit(backend: Backend) {
    let words = [
        0,
        1,
        usize::MAX,
        usize::MAX - 1,
        usize::MAX / 2 + 1,
        1 << 31,
    ];
    for word in words {
        let mut looper = Loop::new(backend);
        let mut socket = UdpSocket::bind(any_port()).unwrap();
        looper
            .registry()
            .register(&mut socket, Token(word), Interest::WRITABLE)
            .unwrap();
        looper.until_writable(Token(word));
        let waker = Waker::new(looper.registry(), Token(!word)).unwrap();
        waker.wake().unwrap();
        looper.until_readable(Token(!word));
    }
}

fn registering_while_another_thread_polls_takes_effect(backend: Backend) {
    let looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let mut looper = while_it_waits(looper, Token(9), || {
        registry
            .register(&mut receiver, Token(9), Interest::READABLE)
            .unwrap()
    });

    // Reregistering, with another token, does the same.
    looper.assert_nothing_ready();
    while_it_waits(looper, Token(10), || {
        registry
            .reregister(&mut receiver, Token(10), Interest::READABLE)
            .unwrap()
    });
}
/// Makes a change while another thread waits in a poll, which then reports the token as readable.
fn while_it_waits(mut looper: Loop, token: Token, change: impl FnOnce()) -> Loop {
    let (about_to_wait, waits) = mpsc::channel();
    let poller = thread::spawn(move || {
        about_to_wait.send(util::this_thread()).unwrap();
        looper.until_readable(token);
        looper
    });
    util::until_asleep(waits.recv().unwrap());
    change();
    poller.join().unwrap()
}

/// Compares tokens with the set of those that are registered, as if they were addresses of things
/// that are freed after deregistering.
fn deregistering_while_another_thread_polls_takes_effect(backend: Backend) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    let rounds = if util::slowness() > 1 { 50 } else { 2000 };
    // The round of the registration. A poll that begins after `deregister` has returned must not
    // report an older one.
    let freed = Arc::new(AtomicUsize::new(0));
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let done = Token(usize::MAX);

    let poller = thread::spawn({
        let freed = Arc::clone(&freed);
        move || loop {
            let freed_before = freed.load(Ordering::SeqCst);
            let deadline = Instant::now() + patience();
            looper
                .poll
                .poll_until(&mut looper.events, Some(deadline))
                .unwrap();
            assert!(!looper.events.is_empty());
            for event in &looper.events {
                if event.token() == done {
                    return;
                }
                let round = event.token().0;
                assert!(
                    round == 0 || round > freed_before,
                    "{round} was deregistered, {freed_before} known before the poll"
                );
            }
        }
    });

    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    for round in 1..=rounds {
        registry
            .register(&mut receiver, Token(round), Interest::READABLE)
            .unwrap();
        waker.wake().unwrap();
        registry.deregister(&mut receiver).unwrap();
        freed.store(round, Ordering::SeqCst);
    }
    registry
        .register(&mut receiver, done, Interest::READABLE)
        .unwrap();
    poller.join().unwrap();
}

fn a_poll_can_be_sent_to_another_thread(backend: Backend) {
    let looper = Loop::new(backend);
    let _pipes = ready_pipes(&looper, 1);
    thread::spawn(move || {
        let mut looper = looper;
        looper.until_readable(Token(0));
    })
    .join()
    .unwrap();
}

#[cfg(unix)]
fn a_nested_poll_is_readable_while_events_wait(backend: Backend) {
    if !backend.can_be_nested() {
        return;
    }
    let mut inner = Loop::new(backend);
    let waker = Waker::new(inner.registry(), Token(1)).unwrap();

    let mut outer = Loop::new(backend);
    let descriptor = inner.poll.as_raw_fd();
    assert_eq!(inner.registry().as_raw_fd(), descriptor);
    assert_eq!(inner.registry().as_fd().as_raw_fd(), descriptor);
    assert_eq!(inner.poll.as_fd().as_raw_fd(), descriptor);
    outer
        .registry()
        .register(&mut SourceFd(&descriptor), Token(2), Interest::READABLE)
        .unwrap();

    for _ in 0..3 {
        outer.assert_quiet();
        waker.wake().unwrap();
        outer.until_readable(Token(2));
        inner.until_readable(Token(1));
    }

    // A level-triggered loop reports it until the events are taken.
    waker.wake().unwrap();
    assert!(poll_readable(descriptor));
    assert!(poll_readable(descriptor));
    inner.until_readable(Token(1));
    assert!(!poll_readable(descriptor));
}

#[cfg(unix)]
fn a_nested_poll_is_readable_until_all_wakes_are_taken(backend: Backend) {
    if !backend.can_be_nested() {
        return;
    }
    let mut inner = Loop::with_capacity(backend, 1);
    let wakers: Vec<_> = (0..4)
        .map(|n| Waker::new(inner.registry(), Token(n)).unwrap())
        .collect();
    let descriptor = inner.poll.as_raw_fd();
    for waker in &wakers {
        waker.wake().unwrap();
    }
    let mut seen = [false; 4];
    while seen != [true; 4] {
        assert!(poll_readable(descriptor), "{seen:?}");
        inner
            .poll
            .poll(&mut inner.events, Some(Duration::ZERO))
            .unwrap();
        for event in &inner.events {
            seen[event.token().0] = true;
        }
    }
}

/// A descriptor's readiness by poll(2), without waiting.
#[cfg(unix)]
fn poll_readable(fd: i32) -> bool {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the kernel reads and writes one entry, `entry`.
    let ready = unsafe { libc::poll(&mut entry, 1, 0) };
    assert!(ready >= 0);
    entry.revents & libc::POLLIN != 0
}

/// Programs may add descriptors to the queue by calls of their own.
#[cfg(unix)]
fn a_descriptor_added_to_the_epoll_directly_is_reported_with_its_user_data(backend: Backend) {
    if backend != Backend::Epoll {
        return; // The call below is epoll's.
    }
    let mut looper = Loop::new(backend);
    let (mut one, other) = stream_pair();
    util::add_to_epoll(looper.poll.as_raw_fd(), other.as_raw_fd(), 0xfeed);
    one.write_all(b"x").unwrap();
    looper.until_readable(Token(0xfeed));
    // It is level-triggered, as it was added.
    looper.until_readable(Token(0xfeed));
}

fn every_type_implements_debug(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(77)).unwrap();
    assert_eq!(format!("{:?}", looper.events), "[]");
    waker.wake().unwrap();
    looper.until_readable(Token(77));
    let printed = format!("{:?}", looper.events);
    assert!(printed.contains("Token(77)"), "{printed}");
    assert!(printed.contains("readable: true"), "{printed}");
    let iterator = format!("{:?}", looper.events.iter());
    assert!(iterator.contains("Token(77)"), "{iterator}");
    assert!(format!("{:?}", looper.poll).contains("Poll"));
    assert!(format!("{:?}", looper.registry()).contains("Registry"));
    assert!(format!("{waker:?}").contains("Waker"));
    #[cfg(unix)]
    assert_eq!(format!("{:?}", SourceFd(&5)), "SourceFd(5)");

    let event = looper.events.iter().next().unwrap().clone();
    assert_eq!(event.token(), Token(77));
    assert_eq!(looper.events.iter().clone().count(), 1);
}
