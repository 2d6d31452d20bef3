//! `Poll::stats`: each number counts what its documentation says, on every backend.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

#[cfg(unix)]
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
#[cfg(unix)]
use mio::unix::SourceFd;
#[cfg(unix)]
use mio::IoSource;
use mio::{Backend, Events, Interest, Stats, Token, Waker};
use util::{any_port, patience, stream_pair, Differences, Loop, Polling, Stream};

on_each_backend![
    a_new_poll_has_counted_nothing,
    each_poll_and_each_event_is_counted,
    #[cfg(unix)]
    an_interrupted_poll_is_counted,
    a_wake_is_counted_as_sent_or_as_coalesced,
    a_wake_after_a_poll_that_failed_is_sent,
    wakes_of_several_threads_are_all_counted,
    registering_and_deregistering_are_counted,
    a_failing_register_or_deregister_is_not_counted,
    #[cfg(unix)]
    a_deregister_that_fails_ends_a_counted_registration,
    the_drop_of_a_registered_source_is_counted,
    a_source_that_was_deregistered_is_not_counted_again_when_it_is_dropped,
    a_source_that_becomes_another_type_is_not_counted,
    a_waker_is_counted_until_it_is_dropped,
    #[cfg(unix)]
    a_raw_descriptor_is_counted_until_it_is_deregistered,
    #[cfg(unix)]
    a_watched_child_is_counted_until_it_is_dropped,
    a_source_with_a_mode_is_counted_once,
    a_probe_is_counted,
    io_without_failures_is_not_probed,
    a_change_that_ends_a_wait_is_counted_as_an_interrupt,
    a_registry_returns_the_same_numbers_during_a_poll,
    a_bug_report_has_the_backend_the_version_and_the_numbers,
];

fn new_listener() -> TcpListener {
    TcpListener::bind(any_port()).unwrap()
}

fn registrations(looper: &Loop) -> u64 {
    looper.poll.stats().registrations
}

/// Whether the backend probes registrations and interrupts waits.
fn rearms(backend: Backend) -> bool {
    backend.keeps_a_table()
}

fn a_new_poll_has_counted_nothing(backend: Backend) {
    let stats = Loop::new(backend).poll.stats();
    assert_eq!(stats.backend, backend);
    assert_eq!(
        (stats.polls, stats.interrupted_polls, stats.events),
        (0, 0, 0)
    );
    assert_eq!((stats.wakes_sent, stats.wakes_coalesced), (0, 0));
    assert_eq!(stats.registrations, 0);
    let nothing = rearms(backend).then_some(0);
    assert_eq!((stats.probes, stats.interrupts), (nothing, nothing));
}

fn each_poll_and_each_event_is_counted(backend: Backend) {
    let mut looper = Loop::new(backend);
    for _ in 0..3 {
        looper.assert_nothing_ready();
    }
    let stats = looper.poll.stats();
    assert_eq!((stats.polls, stats.events), (3, 0));
    let wakers: Vec<_> = (0..5)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    for waker in &wakers {
        waker.wake().unwrap();
    }
    let (mut polls, mut events) = (3, 0);
    while events < 5 {
        looper.assert_some_ready();
        polls += 1;
        events += looper.events.iter().len() as u64;
        let stats = looper.poll.stats();
        assert_eq!((stats.polls, stats.events), (polls, events));
    }
    assert_eq!(looper.poll.stats().interrupted_polls, 0);
}

#[cfg(unix)]
fn an_interrupted_poll_is_counted(backend: Backend) {
    // On a thread of its own, to which the signal is sent.
    let ran = thread::spawn(move || {
        let mut looper = Loop::new(backend);
        let signals = util::Signals::to_this_thread();
        for count in 1..=2 {
            let waited = looper.poll.poll(&mut looper.events, Some(patience()));
            assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::Interrupted);
            let stats = looper.poll.stats();
            assert_eq!((stats.polls, stats.interrupted_polls), (count, count));
        }
        drop(signals);
        looper.assert_nothing_ready();
        let stats = looper.poll.stats();
        assert_eq!((stats.polls, stats.interrupted_polls), (3, 2));
    });
    ran.join().unwrap();
}

fn a_wake_is_counted_as_sent_or_as_coalesced(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, other) = (Token(1), Token(2));
    let waker = Waker::new(looper.registry(), one).unwrap();
    let another = Waker::new(looper.registry(), other).unwrap();
    let wakes = |looper: &Loop| {
        let stats = looper.poll.stats();
        (stats.wakes_sent, stats.wakes_coalesced)
    };
    assert_eq!(wakes(&looper), (0, 0));
    for (wakes_before, counted) in [(1, (1, 0)), (1, (1, 1)), (2, (1, 3))] {
        for _ in 0..wakes_before {
            waker.wake().unwrap();
        }
        assert_eq!(wakes(&looper), counted);
    }
    another.wake().unwrap();
    assert_eq!(
        wakes(&looper),
        (2, 3),
        "a waker relies on its own wakes only"
    );
    looper.until_readable(one);
    waker.wake().unwrap();
    assert_eq!(wakes(&looper), (3, 3), "the poll has taken the first one");
}

/// Whatever the failed call has retrieved, the wake is not taken for one that is under way.
fn a_wake_after_a_poll_that_failed_is_sent(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    waker.wake().unwrap();
    let mut no_room = Events::with_capacity(0);
    let failed = looper.poll.poll(&mut no_room, Some(Duration::ZERO));
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    waker.wake().unwrap();
    let stats = looper.poll.stats();
    assert_eq!((stats.wakes_sent, stats.wakes_coalesced), (2, 0));
    looper.until_readable(Token(1));
}

fn wakes_of_several_threads_are_all_counted(backend: Backend) {
    const WAKES: u64 = 1000;

    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..WAKES {
                    waker.wake().unwrap();
                }
            });
        }
        looper.until_readable(Token(1));
        // The signal that has ended the poll is counted already.
        assert!(looper.poll.stats().wakes_sent > 0);
    });
    let stats = looper.poll.stats();
    assert_eq!(stats.wakes_sent + stats.wakes_coalesced, 3 * WAKES);
}

fn registering_and_deregistering_are_counted(backend: Backend) {
    let looper = Loop::new(backend);
    let mut listeners = [new_listener(), new_listener(), new_listener()];
    for (n, listener) in listeners.iter_mut().enumerate() {
        let token = Token(n);
        let readable = Interest::READABLE;
        looper
            .registry()
            .register(listener, token, readable)
            .unwrap();
        assert_eq!(registrations(&looper), n as u64 + 1);
        let writable = Interest::WRITABLE;
        looper
            .registry()
            .reregister(listener, token, writable)
            .unwrap();
        assert_eq!(registrations(&looper), n as u64 + 1, "it is the same one");
    }
    for (n, listener) in listeners.iter_mut().enumerate() {
        looper.registry().deregister(listener).unwrap();
        assert_eq!(registrations(&looper), 2 - n as u64);
    }
    // It can go on.
    let readable = Interest::READABLE;
    looper.register(&mut listeners[0], Token(0), readable);
    assert_eq!(registrations(&looper), 1);
}

fn a_failing_register_or_deregister_is_not_counted(backend: Backend) {
    let looper = Loop::new(backend);
    let mut listener = new_listener();
    let readable = Interest::READABLE;
    looper.registry().deregister(&mut listener).unwrap_err();
    assert_eq!(registrations(&looper), 0);
    looper.register(&mut listener, Token(1), readable);
    for token in [Token(1), Token(2)] {
        let again = looper.registry().register(&mut listener, token, readable);
        assert_eq!(again.is_ok(), backend.register_replaces());
        assert_eq!(registrations(&looper), 1);
    }
    let mut another = new_listener();
    looper.registry().deregister(&mut another).unwrap_err();
    assert_eq!(registrations(&looper), 1);
    looper.registry().deregister(&mut listener).unwrap();
    looper.registry().deregister(&mut listener).unwrap_err();
    assert_eq!(registrations(&looper), 0);
}

/// The source is registered no more, although the kernel does not know its descriptor.
#[cfg(unix)]
fn a_deregister_that_fails_ends_a_counted_registration(backend: Backend) {
    use std::os::fd::AsFd;

    let looper = Loop::new(backend);
    let (one, two) = (new_listener(), new_listener());
    let mut source = IoSource::new(util::Exchanged(Cell::new(one.as_fd())));
    looper.register(&mut source, Token(1), Interest::READABLE);
    source.0.set(two.as_fd());
    let deregistered = looper.registry().deregister(&mut source);
    assert_eq!(deregistered.is_ok(), backend.keeps_a_table());
    assert_eq!(registrations(&looper), 0);
}

fn the_drop_of_a_registered_source_is_counted(backend: Backend) {
    let looper = Loop::new(backend);
    let both = Interest::READABLE | Interest::WRITABLE;
    let mut listener = new_listener();
    let (mut one, mut other) = stream_pair();
    looper.register(&mut listener, Token(0), both);
    looper.register(&mut one, Token(1), both);
    looper.register(&mut other, Token(2), both);
    assert_eq!(registrations(&looper), 3);
    drop(one);
    assert_eq!(registrations(&looper), 2);
    drop(other);
    drop(listener);
    assert_eq!(registrations(&looper), 0);
    // One whose poll is gone.
    let mut listener = new_listener();
    looper.register(&mut listener, Token(0), both);
    drop(looper);
    let looper = Loop::new(backend);
    looper.register(&mut listener, Token(0), both);
    assert_eq!(registrations(&looper), 1);
    drop(listener);
    assert_eq!(registrations(&looper), 0);
}

fn a_source_that_was_deregistered_is_not_counted_again_when_it_is_dropped(backend: Backend) {
    let looper = Loop::new(backend);
    let (mut listener, mut kept) = (new_listener(), new_listener());
    for source in [&mut listener, &mut kept] {
        let readable = Interest::READABLE;
        looper
            .registry()
            .register(source, Token(1), readable)
            .unwrap();
    }
    looper.registry().deregister(&mut listener).unwrap();
    drop(listener);
    assert_eq!(registrations(&looper), 1);
}

fn a_source_that_becomes_another_type_is_not_counted(backend: Backend) {
    let looper = Loop::new(backend);
    let (mut one, _other) = stream_pair();
    let readable = Interest::READABLE;
    looper.register(&mut one, Token(1), readable);
    let one = util::into_std(one);
    assert_eq!(registrations(&looper), 0);
    drop(one);
    assert_eq!(registrations(&looper), 0);
}

fn a_waker_is_counted_until_it_is_dropped(backend: Backend) {
    let looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    let another = Waker::new(looper.registry(), Token(2)).unwrap();
    assert_eq!(registrations(&looper), 2);
    drop(waker);
    assert_eq!(registrations(&looper), 1);
    drop(another);
    assert_eq!(registrations(&looper), 0);
}

#[cfg(unix)]
fn a_raw_descriptor_is_counted_until_it_is_deregistered(backend: Backend) {
    let looper = Loop::new(backend);
    let (one, _other) = stream_pair();
    let fd = util::raw(&one);
    let mut source = SourceFd(&fd);
    looper.registry().deregister(&mut source).unwrap_err();
    let readable = Interest::READABLE;
    looper.register(&mut source, Token(1), readable);
    assert_eq!(registrations(&looper), 1);
    looper.reregister(&mut source, Token(2), readable);
    assert_eq!(registrations(&looper), 1);
    looper.registry().deregister(&mut source).unwrap();
    assert_eq!(registrations(&looper), 0);
}

#[cfg(unix)]
fn a_watched_child_is_counted_until_it_is_dropped(backend: Backend) {
    use std::process::{Command, Stdio};

    use mio::unix::ChildExit;

    if !backend.watches_children() {
        return;
    }
    let mut looper = Loop::new(backend);
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let mut exit = ChildExit::new(&child).unwrap();
    let readable = Interest::READABLE;
    for _ in 0..2 {
        looper.register(&mut exit, Token(1), readable);
        looper.reregister(&mut exit, Token(2), readable);
        assert_eq!(registrations(&looper), 1);
        looper.registry().deregister(&mut exit).unwrap();
        assert_eq!(registrations(&looper), 0);
    }
    looper.register(&mut exit, Token(1), readable);
    drop(child.stdin.take());
    looper.until_readable(Token(1));
    assert_eq!(registrations(&looper), 1);
    // Something else stands in for a process that has exited.
    looper.reregister(&mut exit, Token(1), readable);
    assert_eq!(registrations(&looper), 1);
    drop(exit);
    assert_eq!(registrations(&looper), 0);
    child.wait().unwrap();
}

fn a_source_with_a_mode_is_counted_once(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut stream, _peer) = stream_pair();
    let both = Interest::READABLE | Interest::WRITABLE;
    looper.register(&mut stream, Token(1), both.oneshot());
    looper.until_writable(Token(1));
    assert_eq!(registrations(&looper), 1, "a one-shot registration stays");
    looper.reregister(&mut stream, Token(1), both.level());
    looper.until_writable(Token(1));
    looper.until_writable(Token(1));
    assert_eq!(registrations(&looper), 1);
    looper.registry().deregister(&mut stream).unwrap();
    assert_eq!(registrations(&looper), 0);
}

/// An operation of the program that fails without a reason which the backend knows.
fn fail(stream: &Stream) {
    let failed: io::Result<()> = stream.try_io(|| Err(io::ErrorKind::Other.into()));
    failed.unwrap_err();
}

fn a_probe_is_counted(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut stream, _peer) = stream_pair();
    let writable = Interest::WRITABLE;
    looper.register(&mut stream, Token(1), writable);
    looper.until_writable(Token(1));
    let none = rearms(backend).then_some(0);
    assert_eq!(looper.poll.stats().probes, none);
    fail(&stream);
    looper
        .poll
        .poll(&mut looper.events, Some(Duration::ZERO))
        .unwrap();
    assert_eq!(looper.poll.stats().probes, none.map(|_| 1));
    // The next one is due after a pause.
    let deadline = Instant::now() + patience();
    while looper.poll.stats().probes == Some(1) {
        assert!(Instant::now() < deadline);
        fail(&stream);
        let pause = Some(Duration::from_millis(10));
        looper.poll.poll(&mut looper.events, pause).unwrap();
    }
}

fn io_without_failures_is_not_probed(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    let readable = Interest::READABLE;
    looper.register(&mut other, Token(1), readable);
    for _ in 0..5 {
        one.write_all(b"x").unwrap();
        looper.until_readable(Token(1));
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 1);
        let drained = other.read(&mut [0; 8]).unwrap_err();
        assert_eq!(drained.kind(), io::ErrorKind::WouldBlock);
        looper.assert_nothing_ready();
    }
    let stats = looper.poll.stats();
    let none = rearms(backend).then_some(0);
    assert_eq!((stats.probes, stats.interrupts), (none, none));
}

fn a_change_that_ends_a_wait_is_counted_as_an_interrupt(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut stream, _peer) = stream_pair();
    let writable = Interest::WRITABLE;
    looper.register(&mut stream, Token(1), writable);
    looper.until_writable(Token(1));
    if !rearms(backend) {
        assert_eq!(looper.poll.stats().interrupts, None);
        return;
    }
    // No thread waits, so that none is interrupted.
    fail(&stream);
    looper.reregister(&mut stream, Token(1), writable);
    looper.until_writable(Token(1));
    assert_eq!(looper.poll.stats().interrupts, Some(0));
    let polling = Polling::begin(looper);
    let registry = polling.registry();
    let deadline = Instant::now() + patience();
    while registry.stats().interrupts == Some(0) {
        assert!(Instant::now() < deadline, "no interrupt was counted");
        let before = registry.stats().events;
        registry
            .reregister(&mut stream, Token(1), writable)
            .unwrap();
        while registry.stats().events == before && Instant::now() < deadline {
            thread::yield_now();
        }
        // Now it was reported. If the polling thread waits again, it has to learn of the failure.
        thread::yield_now();
        fail(&stream);
    }
    polling.end();
}

fn a_registry_returns_the_same_numbers_during_a_poll(backend: Backend) {
    let looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    // With a waker of its own.
    let polling = Polling::begin(looper);
    assert_eq!(registry.stats().registrations, 2);
    waker.wake().unwrap();
    let deadline = Instant::now() + patience();
    while registry.stats().events == 0 {
        assert!(Instant::now() < deadline, "no event was counted");
        thread::yield_now();
    }
    let looper = polling.end();
    let (one, other) = (registry.stats(), looper.poll.stats());
    assert_eq!((one.polls, one.events), (other.polls, other.events));
    assert_eq!((one.wakes_sent, one.wakes_coalesced), (2, 0));
    assert_eq!(one.registrations, 1);
}

fn a_bug_report_has_the_backend_the_version_and_the_numbers(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    for _ in 0..3 {
        waker.wake().unwrap();
    }
    looper.until_readable(Token(1));
    let stats: Stats = looper.poll.stats();
    let printed = stats.to_string();
    let (version, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS);
    let processor = std::env::consts::ARCH;
    let (polls, events) = (stats.polls, stats.events);
    let mut expected = vec![
        format!("mio {version}, {backend}, {system} {processor}"),
        format!("polls: {polls}, interrupted: 0, events: {events}"),
        "wakes: 1 sent, 2 coalesced".to_owned(),
        "registrations: 1".to_owned(),
    ];
    if rearms(backend) {
        expected.push("probes: 0, interrupts: 0".to_owned());
    }
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    assert!(format!("{stats:?}").starts_with("Stats {"));
}

/// A named pipe has a registration of its own kind.
#[cfg(windows)]
#[test]
fn a_named_pipe_is_counted_until_it_is_dropped() {
    use mio::windows::NamedPipe;

    let looper = Loop::new(Backend::Afd);
    let name = format!(r"\\.\pipe\mio-stats-{}", std::process::id());
    let mut pipe = NamedPipe::new(name).unwrap();
    let readable = Interest::READABLE;
    for _ in 0..2 {
        looper.register(&mut pipe, Token(1), readable);
        looper.reregister(&mut pipe, Token(2), readable);
        looper
            .registry()
            .register(&mut pipe, Token(3), readable)
            .unwrap_err();
        assert_eq!(registrations(&looper), 1);
        looper.registry().deregister(&mut pipe).unwrap();
        looper.registry().deregister(&mut pipe).unwrap_err();
        assert_eq!(registrations(&looper), 0);
    }
    looper.register(&mut pipe, Token(1), readable);
    drop(pipe);
    assert_eq!(registrations(&looper), 0);
}

/// And so has a handle that can be waited for.
#[cfg(windows)]
#[test]
fn a_wait_handle_is_counted_until_it_is_dropped() {
    use std::os::windows::io::OwnedHandle;

    use mio::windows::WaitHandle;

    let looper = Loop::new(Backend::Afd);
    let mut handle = WaitHandle::new(OwnedHandle::from(thread::spawn(|| {})));
    let readable = Interest::READABLE;
    for _ in 0..2 {
        looper.register(&mut handle, Token(1), readable);
        looper.reregister(&mut handle, Token(2), readable);
        assert_eq!(registrations(&looper), 1);
        looper.registry().deregister(&mut handle).unwrap();
        looper.registry().deregister(&mut handle).unwrap_err();
        assert_eq!(registrations(&looper), 0);
    }
    looper.register(&mut handle, Token(1), readable);
    drop(handle);
    assert_eq!(registrations(&looper), 0);
}
