//! Registrations: register, reregister, deregister, wrong arguments, shared descriptors, and polls
//! that are gone.
//!
//! No test here starts a process: a child holds copies of the descriptors of all concurrent tests,
//! and so keeps registrations alive that those tests expect to end.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

#[cfg(unix)]
use std::cell::Cell;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Interest, IoSource, Registry, Token, Waker};
#[cfg(unix)]
use util::Stream;
use util::{any_port, pipe, stream_pair, Differences, Loop};

on_each_backend![
    a_source_ready_when_registered_is_reported,
    only_the_interest_is_reported,
    an_edge_is_reported_once,
    draining_brings_the_next_edge,
    reregister_reports_readiness_again,
    reregister_replaces_token_and_interest,
    deregister_stops_events_already_queued,
    register_deregister_register_works_without_a_poll,
    a_source_takes_the_token_of_a_deregistered_one,
    registering_twice_already_exists,
    registering_twice_replaces,
    #[cfg(unix)]
    a_direction_the_source_lacks_is_never_ready,
    #[cfg(unix)]
    a_source_turned_into_its_std_type_stays_registered,
    reregistering_an_unregistered_source_is_not_found,
    deregistering_an_unregistered_source_is_not_found,
    a_source_can_move_to_another_poll,
    using_another_polls_source_is_an_error,
    #[cfg(unix)]
    files_and_closed_descriptors_are_refused,
    #[cfg(unix)]
    a_cycle_of_polls_is_refused,
    #[cfg(unix)]
    a_failed_register_registers_nothing,
    a_failed_reregister_changes_nothing,
    #[cfg(unix)]
    one_descriptor_can_be_in_two_polls,
    #[cfg(unix)]
    a_duplicate_keeps_the_registration_alive,
    #[cfg(unix)]
    a_duplicate_is_a_source_of_its_own,
    a_dropped_source_is_no_longer_reported,
    #[cfg(unix)]
    mixing_with_source_fd_leaves_no_state_behind,
    #[cfg(unix)]
    a_source_that_takes_over_a_raw_registration_ends_it_when_dropped,
    #[cfg(unix)]
    a_source_of_a_dropped_poll_takes_over_a_raw_registration,
    #[cfg(unix)]
    a_source_that_registers_another_descriptor_leaves_the_former_one,
    a_boxed_source_is_a_source,
    a_program_can_implement_source,
    a_poll_dropped_first_leaves_the_others_sound,
    an_io_source_that_borrows_must_be_deregistered,
];

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn a_source_ready_when_registered_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"before").unwrap();
    looper
        .registry()
        .register(&mut receiver, Token(1), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(1));
}

fn only_the_interest_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut one, Token(1), Interest::READABLE)
        .unwrap();
    // It is writable, but not registered for writing.
    looper.assert_quiet();
    other.write_all(b"x").unwrap();
    looper.until_readable(Token(1));
    looper
        .registry()
        .reregister(&mut one, Token(1), Interest::WRITABLE)
        .unwrap();
    looper.until("writable alone", |event| {
        assert!(!event.is_readable());
        event.is_writable()
    });
}

fn an_edge_is_reported_once(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut other, Token(1), BOTH)
        .unwrap();
    looper.until_writable(Token(1));
    one.write_all(b"x").unwrap();
    looper.until_readable(Token(1));
    // Nothing was read, so readiness does not begin again.
    looper.assert_quiet();
}

fn draining_brings_the_next_edge(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut other, Token(1), Interest::READABLE)
        .unwrap();
    for _ in 0..5 {
        one.write_all(b"some").unwrap();
        looper.until_readable(Token(1));
        let mut all = Vec::new();
        let error = other.read_to_end(&mut all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(all, b"some");
    }
}

fn reregister_reports_readiness_again(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    one.write_all(b"x").unwrap();
    looper
        .registry()
        .register(&mut other, Token(1), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(1));
    looper.assert_quiet();
    looper
        .registry()
        .reregister(&mut other, Token(1), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(1));
}

fn reregister_replaces_token_and_interest(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut other, Token(1), BOTH)
        .unwrap();
    one.write_all(b"x").unwrap();
    looper
        .registry()
        .reregister(&mut other, Token(2), Interest::READABLE)
        .unwrap();
    looper.until("the new token", |event| {
        assert_eq!(event.token(), Token(2), "the old token is gone");
        assert!(!event.is_writable(), "the old interest is gone");
        event.is_readable()
    });
}

fn deregister_stops_events_already_queued(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut other, Token(1), BOTH)
        .unwrap();
    one.write_all(b"x").unwrap();
    looper.registry().deregister(&mut other).unwrap();
    looper.assert_quiet();
    drop(one);
    looper.assert_quiet();
}

fn register_deregister_register_works_without_a_poll(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    one.write_all(b"x").unwrap();
    for token in 0..10 {
        looper
            .registry()
            .register(&mut other, Token(token), Interest::READABLE)
            .unwrap();
        looper.registry().deregister(&mut other).unwrap();
    }
    looper
        .registry()
        .register(&mut other, Token(10), Interest::READABLE)
        .unwrap();
    looper.until("the last token", |event| {
        assert_eq!(event.token(), Token(10));
        event.is_readable()
    });
}

/// The first one stays open, and the kernel may still watch it.
fn a_source_takes_the_token_of_a_deregistered_one(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut kept = Vec::new();
    for token in 0..5 {
        let (mut first, first_peer) = stream_pair();
        looper
            .registry()
            .register(&mut first, Token(100), Interest::READABLE)
            .unwrap();
        looper.assert_nothing_ready();
        looper.registry().deregister(&mut first).unwrap();
        let (mut second, mut peer) = stream_pair();
        looper
            .registry()
            .register(&mut second, Token(token), Interest::READABLE)
            .unwrap();
        looper.assert_nothing_ready();
        peer.write_all(b"x").unwrap();
        looper.until_readable(Token(token));
        kept.push((first, first_peer, second, peer));
    }
}

const ALREADY_REGISTERED: (ErrorKind, &str) = (
    ErrorKind::AlreadyExists,
    "I/O source already registered with a `Registry`",
);
const NOT_REGISTERED: (ErrorKind, &str) = (
    ErrorKind::NotFound,
    "I/O source not registered with this `Registry`",
);

/// The error has the right kind, and names the mistake. In release builds it may be the kernel's
/// own error instead.
fn assert_names(error: &std::io::Error, (kind, text): (ErrorKind, &str)) {
    assert_eq!(error.kind(), kind);
    if cfg!(debug_assertions) || error.raw_os_error().is_none() {
        assert_eq!(error.to_string(), text);
    }
}

/// If the kernel stores the registrations.
#[cfg(unix)]
fn assert_is_the_kernels(backend: Backend, error: &std::io::Error, code: i32) {
    if matches!(backend, Backend::Epoll | Backend::Kqueue) {
        assert_eq!(error.raw_os_error(), Some(code));
    }
}

fn registering_twice_already_exists(backend: Backend) {
    if backend.register_replaces() {
        return; // see `registering_twice_replaces`
    }
    let mut looper = Loop::new(backend);
    let (mut socket, _peer) = stream_pair();
    let registry = looper.registry();
    registry
        .register(&mut socket, Token(1), Interest::WRITABLE)
        .unwrap();
    let error = registry
        .register(&mut socket, Token(2), Interest::READABLE)
        .unwrap_err();
    assert_names(&error, ALREADY_REGISTERED);
    // The first registration is unchanged.
    looper.until_writable(Token(1));
    looper.registry().deregister(&mut socket).unwrap();
}

fn registering_twice_replaces(backend: Backend) {
    if !backend.register_replaces() {
        return; // see `registering_twice_already_exists`
    }
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    other.write_all(b"x").unwrap();
    let registry = looper.registry();
    registry.register(&mut one, Token(1), BOTH).unwrap();
    registry
        .register(&mut one, Token(2), Interest::READABLE)
        .unwrap();
    let seen = looper.until_reported(Token(2), util::Seen::named("readable"));
    assert!(!seen.writable);
    looper.assert_quiet();
    // Reregistering registers a source that is not registered.
    looper.registry().deregister(&mut one).unwrap();
    looper
        .registry()
        .reregister(&mut one, Token(3), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(3));
    looper.registry().deregister(&mut one).unwrap();
}

fn reregistering_an_unregistered_source_is_not_found(backend: Backend) {
    if backend.register_replaces() {
        return; // see `registering_twice_replaces`
    }
    let mut looper = Loop::new(backend);
    let (mut socket, _peer) = stream_pair();
    let error = looper
        .registry()
        .reregister(&mut socket, Token(1), BOTH)
        .unwrap_err();
    assert_names(&error, NOT_REGISTERED);
    #[cfg(unix)]
    {
        let fd = socket.as_raw_fd();
        let error = looper
            .registry()
            .reregister(&mut SourceFd(&fd), Token(1), BOTH)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_is_the_kernels(backend, &error, libc::ENOENT);
    }
    looper.assert_quiet();
}

fn deregistering_an_unregistered_source_is_not_found(backend: Backend) {
    let looper = Loop::new(backend);
    let registry = looper.registry();
    let (mut socket, _peer) = stream_pair();
    let error = registry.deregister(&mut socket).unwrap_err();
    assert_names(&error, NOT_REGISTERED);
    #[cfg(unix)]
    {
        let fd = socket.as_raw_fd();
        let error = registry.deregister(&mut SourceFd(&fd)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_is_the_kernels(backend, &error, libc::ENOENT);
    }
    // The same after it was registered.
    registry.register(&mut socket, Token(1), BOTH).unwrap();
    registry.deregister(&mut socket).unwrap();
    let error = registry.deregister(&mut socket).unwrap_err();
    assert_names(&error, NOT_REGISTERED);
}

fn a_source_can_move_to_another_poll(backend: Backend) {
    let (mut first, mut second) = (Loop::new(backend), Loop::new(backend));
    let (mut socket, _peer) = stream_pair();
    first
        .registry()
        .register(&mut socket, Token(1), Interest::WRITABLE)
        .unwrap();
    first.registry().deregister(&mut socket).unwrap();
    second
        .registry()
        .register(&mut socket, Token(2), Interest::WRITABLE)
        .unwrap();
    second.until_writable(Token(2));
    first.assert_quiet();

    // The same when its poll is gone.
    drop(second);
    first
        .registry()
        .register(&mut socket, Token(3), Interest::WRITABLE)
        .unwrap();
    first.until_writable(Token(3));
}

/// Whether reregistering a source with another poll is noticed. It is not if the kernel registers
/// the source then, except in debug builds.
fn notices_reregistering_elsewhere(backend: Backend) -> bool {
    cfg!(debug_assertions) || !backend.register_replaces()
}

/// Debug builds notice it. In release builds epoll's kernel accepts the registering, and reports
/// the other mistakes itself.
fn using_another_polls_source_is_an_error(backend: Backend) {
    let (mut mine, other) = (Loop::new(backend), Loop::new(backend));
    let (mut socket, _peer) = stream_pair();
    mine.registry()
        .register(&mut socket, Token(1), Interest::WRITABLE)
        .unwrap();
    if cfg!(debug_assertions) {
        let error = other
            .registry()
            .register(&mut socket, Token(2), Interest::WRITABLE)
            .unwrap_err();
        assert_names(&error, ALREADY_REGISTERED);
    }
    if notices_reregistering_elsewhere(backend) {
        let error = other
            .registry()
            .reregister(&mut socket, Token(2), Interest::WRITABLE)
            .unwrap_err();
        assert_names(&error, NOT_REGISTERED);
    }
    let error = other.registry().deregister(&mut socket).unwrap_err();
    assert_names(&error, NOT_REGISTERED);
    // None of this has changed the registration.
    mine.until_writable(Token(1));
    mine.registry().deregister(&mut socket).unwrap();
}

/// A descriptor that is not open.
#[cfg(unix)]
const DEAD: i32 = 1_000_000_000;

#[cfg(unix)]
fn files_and_closed_descriptors_are_refused(backend: Backend) {
    if backend.takes_everything() {
        return; // see `a_closed_raw_descriptor_is_reported_once` in `rearming.rs`
    }
    let mut looper = Loop::new(backend);
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("file")).unwrap();
    let directory = File::open(folder.path()).unwrap();
    let refused = |fd: i32, interest| {
        looper
            .registry()
            .register(&mut SourceFd(&fd), Token(1), interest)
            .unwrap_err()
    };
    for interest in [BOTH, Interest::READABLE, Interest::WRITABLE] {
        for dead in [DEAD, -1] {
            let error = refused(dead, interest);
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{interest:?}");
        }
    }
    if backend.refuses_files() {
        for fd in [file.as_raw_fd(), directory.as_raw_fd()] {
            let error = refused(fd, BOTH);
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
    }
    let error = looper
        .registry()
        .deregister(&mut SourceFd(&DEAD))
        .unwrap_err();
    match backend.keeps_a_table() {
        true => assert_eq!(error.kind(), ErrorKind::NotFound),
        false => assert_eq!(error.raw_os_error(), Some(libc::EBADF)),
    }
    looper.assert_nothing_ready();
}

#[cfg(unix)]
fn a_cycle_of_polls_is_refused(backend: Backend) {
    if !backend.refuses_circles() {
        return;
    }
    let (one, other) = (Loop::new(backend), Loop::new(backend));
    let (inner, outer) = (one.poll.as_raw_fd(), other.poll.as_raw_fd());
    let watch = |looper: &Loop, fd| {
        looper
            .registry()
            .register(&mut SourceFd(&fd), Token(1), Interest::READABLE)
    };
    let error = watch(&one, inner).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "a poll in itself");
    watch(&other, inner).unwrap();
    let error = watch(&one, outer).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

/// A source that can only be read from may be registered for both directions.
#[cfg(unix)]
fn a_direction_the_source_lacks_is_never_ready(backend: Backend) {
    if !backend.can_be_nested() {
        return;
    }
    let mut looper = Loop::new(backend);
    // A queue can become readable, and never writable.
    let inner = Loop::new(backend);
    let waker = Waker::new(inner.registry(), Token(0)).unwrap();
    let fd = inner.poll.as_raw_fd();
    let registry = looper.registry();
    registry
        .register(&mut SourceFd(&fd), Token(1), BOTH)
        .unwrap();
    looper.assert_quiet();
    waker.wake().unwrap();
    looper.until("the wake-up", |event| {
        assert!(!event.is_writable());
        event.is_readable()
    });
    looper.registry().deregister(&mut SourceFd(&fd)).unwrap();

    if backend.has_events_for_each_direction() {
        let error = looper
            .registry()
            .register(&mut SourceFd(&fd), Token(1), Interest::WRITABLE)
            .unwrap_err();
        assert_ne!(error.raw_os_error(), Some(libc::EBADF));
        let error = looper
            .registry()
            .deregister(&mut SourceFd(&fd))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[cfg(unix)]
fn a_failed_register_registers_nothing(backend: Backend) {
    if !backend.refuses_files() {
        return;
    }
    let looper = Loop::new(backend);
    let mut file = IoSource::new(tempfile::tempfile().unwrap());
    for _ in 0..2 {
        let error = looper
            .registry()
            .register(&mut file, Token(1), BOTH)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    let other = Loop::new(backend);
    let error = other
        .registry()
        .register(&mut file, Token(1), BOTH)
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::PermissionDenied,
        "not held by the first"
    );
}

fn a_failed_reregister_changes_nothing(backend: Backend) {
    if !notices_reregistering_elsewhere(backend) {
        return;
    }
    let (mut mine, other) = (Loop::new(backend), Loop::new(backend));
    let (mut socket, _peer) = stream_pair();
    mine.registry()
        .register(&mut socket, Token(1), Interest::WRITABLE)
        .unwrap();
    let wrong = other
        .registry()
        .reregister(&mut socket, Token(2), Interest::READABLE);
    assert!(wrong.is_err());
    mine.until_writable(Token(1));
    mine.registry()
        .reregister(&mut socket, Token(3), Interest::WRITABLE)
        .unwrap();
    mine.until_writable(Token(3));
}

#[cfg(unix)]
fn one_descriptor_can_be_in_two_polls(backend: Backend) {
    let (mut first, mut second) = (Loop::new(backend), Loop::new(backend));
    let (mut sender, receiver) = pipe::new().unwrap();
    let fd = receiver.as_raw_fd();
    for (looper, token) in [(&first, 1), (&second, 2)] {
        looper
            .registry()
            .register(&mut SourceFd(&fd), Token(token), Interest::READABLE)
            .unwrap();
    }
    sender.write_all(b"x").unwrap();
    first.until_readable(Token(1));
    second.until_readable(Token(2));
    first.registry().deregister(&mut SourceFd(&fd)).unwrap();
    sender.write_all(b"x").unwrap();
    second.until_readable(Token(2));
    first.assert_nothing_ready();
}

/// As documented, a registration lasts as long as any copy of the descriptor.
#[cfg(unix)]
fn a_duplicate_keeps_the_registration_alive(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, receiver) = pipe::new().unwrap();
    let receiver = File::from(OwnedFd::from(receiver));
    let mut duplicate = receiver.try_clone().unwrap();
    let mut source = IoSource::new(receiver);
    looper
        .registry()
        .register(&mut source, Token(1), Interest::READABLE)
        .unwrap();
    // It was deregistered before the drop, so it is gone although the copy is open.
    looper.registry().deregister(&mut source).unwrap();
    sender.write_all(b"x").unwrap();
    looper.assert_quiet();

    looper
        .registry()
        .register(&mut source, Token(2), Interest::READABLE)
        .unwrap();
    drop(source);
    let mut buffer = [0; 8];
    assert_eq!(duplicate.read(&mut buffer).unwrap(), 1);
    sender.write_all(b"y").unwrap();
    if backend.goes_by_number() {
        looper.assert_quiet();
    } else {
        looper.until_readable(Token(2));
    }
    drop(duplicate);
    drop(sender);
    looper.assert_quiet();
}

#[cfg(unix)]
fn a_duplicate_is_a_source_of_its_own(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, receiver) = pipe::new().unwrap();
    let first = File::from(OwnedFd::from(receiver));
    let mut second = IoSource::new(first.try_clone().unwrap());
    let mut first = IoSource::new(first);
    let registry = looper.registry();
    registry
        .register(&mut first, Token(1), Interest::READABLE)
        .unwrap();
    registry
        .register(&mut second, Token(2), Interest::READABLE)
        .unwrap();
    sender.write_all(b"x").unwrap();
    let mut seen = [false; 3];
    looper.until("both", |event| {
        seen[event.token().0] = true;
        seen[1] && seen[2]
    });
}

fn a_dropped_source_is_no_longer_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut other, Token(1), BOTH)
        .unwrap();
    one.write_all(b"x").unwrap();
    drop(other);
    looper.assert_quiet();
}

#[cfg(unix)]
fn mixing_with_source_fd_leaves_no_state_behind(backend: Backend) {
    let (mut first, mut second) = (Loop::new(backend), Loop::new(backend));
    let (mut socket, _peer) = stream_pair();
    let fd = socket.as_raw_fd();

    // Registered as a source, and deregistered by its descriptor.
    first
        .registry()
        .register(&mut socket, Token(1), Interest::WRITABLE)
        .unwrap();
    first.registry().deregister(&mut SourceFd(&fd)).unwrap();
    // The kernel does not know it any more, but the attempt clears what the source has stored.
    let error = first.registry().deregister(&mut socket).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    second
        .registry()
        .register(&mut socket, Token(2), Interest::WRITABLE)
        .unwrap();
    second.until_writable(Token(2));
    second.registry().deregister(&mut socket).unwrap();

    // Registered by its descriptor, and changed and deregistered as a source.
    first
        .registry()
        .register(&mut SourceFd(&fd), Token(3), Interest::WRITABLE)
        .unwrap();
    first
        .registry()
        .reregister(&mut socket, Token(4), Interest::WRITABLE)
        .unwrap();
    first.until_writable(Token(4));
    first.registry().deregister(&mut socket).unwrap();
    first.assert_quiet();
}

#[cfg(unix)]
fn a_source_that_takes_over_a_raw_registration_ends_it_when_dropped(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut socket, _peer) = stream_pair();
    let fd = socket.as_raw_fd();
    let registry = looper.registry();
    registry
        .register(&mut SourceFd(&fd), Token(1), Interest::READABLE)
        .unwrap();
    registry
        .reregister(&mut socket, Token(2), Interest::WRITABLE)
        .unwrap();
    looper.until_writable(Token(2));
    drop(socket);
    looper.assert_quiet();
    // Its number is free for another one.
    let (mut next, _peer_of_next) = stream_pair();
    looper
        .registry()
        .register(&mut next, Token(3), Interest::WRITABLE)
        .unwrap();
    looper.until_writable(Token(3));
}

/// It is re-armed by its I/O from then on.
#[cfg(unix)]
fn a_source_of_a_dropped_poll_takes_over_a_raw_registration(backend: Backend) {
    let former = Loop::new(backend);
    let (mut socket, mut peer) = stream_pair();
    former.register(&mut socket, Token(0), Interest::READABLE);
    drop(former);
    let mut looper = Loop::new(backend);
    let fd = socket.as_raw_fd();
    looper.register(&mut SourceFd(&fd), Token(1), Interest::WRITABLE);
    looper.reregister(&mut socket, Token(2), Interest::READABLE);
    for _ in 0..3 {
        peer.write_all(b"x").unwrap();
        looper.until_readable(Token(2));
        assert_eq!(socket.read(&mut [0; 1]).unwrap(), 1);
        let drained = socket.read(&mut [0; 1]).unwrap_err();
        assert_eq!(drained.kind(), ErrorKind::WouldBlock);
    }
    looper.registry().deregister(&mut socket).unwrap();
}

/// Where the kernel stores registrations, only closing the former one ends its registration.
#[cfg(unix)]
fn a_source_that_registers_another_descriptor_leaves_the_former_one(backend: Backend) {
    let mut looper = Loop::new(backend);
    let ((one, mut peer_of_one), (two, mut peer_of_two)) = (stream_pair(), stream_pair());
    let mut source = IoSource::new(util::Exchanged(Cell::new(one.as_fd())));
    looper.register(&mut source, Token(1), Interest::READABLE);
    source.0.set(two.as_fd());
    looper.register(&mut source, Token(2), Interest::READABLE);
    peer_of_two.write_all(b"x").unwrap();
    looper.until_readable(Token(2));
    if backend.keeps_a_table() {
        peer_of_one.write_all(b"x").unwrap();
        looper.assert_quiet();
    }
}

fn a_boxed_source_is_a_source(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (stream, _peer) = stream_pair();
    let mut source: Box<dyn Source> = Box::new(stream);
    looper
        .registry()
        .register(&mut source, Token(1), Interest::WRITABLE)
        .unwrap();
    looper.until_writable(Token(1));
    looper
        .registry()
        .reregister(&mut source, Token(2), Interest::WRITABLE)
        .unwrap();
    looper.until_writable(Token(2));
    looper.registry().deregister(&mut *source).unwrap();
}

/// A source around another one, which counts the calls.
struct Counting {
    inner: util::Stream,
    calls: Vec<&'static str>,
}

impl Source for Counting {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.calls.push("register");
        self.inner.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.calls.push("reregister");
        self.inner.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.calls.push("deregister");
        self.inner.deregister(registry)
    }
}

fn a_program_can_implement_source(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (inner, _peer) = stream_pair();
    let mut source = Counting {
        inner,
        calls: Vec::new(),
    };
    let registry = looper.registry();
    registry.register(&mut source, Token(1), BOTH).unwrap();
    registry
        .reregister(&mut source, Token(2), Interest::WRITABLE)
        .unwrap();
    looper.until_writable(Token(2));
    looper.registry().deregister(&mut source).unwrap();
    assert_eq!(source.calls, ["register", "reregister", "deregister"]);
}

fn a_poll_dropped_first_leaves_the_others_sound(backend: Backend) {
    let looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    registry.register(&mut listener, Token(1), BOTH).unwrap();
    registry.register(&mut stream, Token(2), BOTH).unwrap();
    drop(looper);

    for _ in 0..3 {
        waker.wake().unwrap();
    }
    // The queue lives as long as a registry.
    registry.reregister(&mut stream, Token(3), BOTH).unwrap();
    registry.deregister(&mut stream).unwrap();
    let mut next = Loop::new(backend);
    next.registry()
        .register(&mut stream, Token(4), Interest::WRITABLE)
        .unwrap();
    next.until_writable(Token(4));

    drop(registry);
    waker.wake().unwrap();
    // Its queue is gone, so the listener can be registered again.
    next.registry()
        .register(&mut listener, Token(5), Interest::READABLE)
        .unwrap();
    next.registry().deregister(&mut listener).unwrap();
    waker.wake().unwrap();
}

/// The documentation of `IoSource` describes this.
fn an_io_source_that_borrows_must_be_deregistered(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, receiver) = pipe::new().unwrap();
    let mut borrowing = IoSource::new(&receiver);
    looper
        .registry()
        .register(&mut borrowing, Token(1), Interest::READABLE)
        .unwrap();
    looper.registry().deregister(&mut borrowing).unwrap();
    drop(borrowing);
    sender.write_all(b"x").unwrap();
    looper.assert_quiet();
}

/// A registered source may be turned into its std type, and stays registered.
#[cfg(unix)]
fn a_source_turned_into_its_std_type_stays_registered(backend: Backend) {
    if backend.keeps_a_table() {
        return; // from which it is removed
    }
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = stream_pair();
    looper
        .registry()
        .register(&mut other, Token(1), Interest::READABLE)
        .unwrap();
    let other = util::StdStream::from(other);
    one.write_all(b"x").unwrap();
    looper.until_readable(Token(1));

    // And back, by its descriptor: the kernel still has the registration.
    let number = std::os::fd::IntoRawFd::into_raw_fd(other);
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let mut other = unsafe { Stream::from_raw_fd(number) };
    looper.registry().deregister(&mut other).unwrap();
}
