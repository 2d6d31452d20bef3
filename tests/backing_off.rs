//! A backend that makes edges itself probes with back-off: descriptors that may have been drained,
//! and errors that may have been picked up. No event is lost, and none is repeated too often. Every
//! other backend shows a program the same behaviour.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", unix))]

mod util;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpStream, UdpSocket, UnixStream};
use mio::unix::{pipe, SourceFd};
use mio::{Backend, Interest, Token};
use util::{any_port, Differences, Loop, Seen};

on_each_backend![
    a_second_error_of_a_raw_descriptor_is_reported,
    a_second_error_is_reported_after_try_io_picked_up_the_first,
    writing_to_a_pipe_without_a_reader_at_each_event_does_not_spin,
    try_io_at_each_event_of_an_idle_stream_does_not_spin,
    writing_at_each_event_of_a_closed_stream_does_not_spin,
    reading_at_each_event_of_a_named_pipe_without_senders_does_not_spin,
    a_raw_descriptor_that_is_reported_again_hides_no_other_source,
    after_a_short_peek_more_data_is_reported,
    a_stream_that_is_refused_after_it_was_registered_is_reported_writable,
    a_hang_up_is_reported_once_by_a_small_buffer,
    readiness_only_a_probe_sees_is_reported_after_probes_filled_the_buffer,
];

const T: Token = Token(1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn would_block<R: std::fmt::Debug>(result: std::io::Result<R>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Each error is picked up, and the next one follows, before a poll has seen anything in between.
fn a_second_error_of_a_raw_descriptor_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let socket = std::net::UdpSocket::bind(any_port()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(util::unused_address()).unwrap();
    looper
        .registry()
        .register(&mut SourceFd(&socket.as_raw_fd()), T, Interest::READABLE)
        .unwrap();
    for _ in 0..4 {
        socket.send(b"anybody?").unwrap();
        looper.until("the error", |event| util::is_refusal(backend, event));
        let error = socket.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), util::REFUSED_DATAGRAM);
        would_block(socket.recv(&mut [0; 8]));
    }
}

fn a_second_error_is_reported_after_try_io_picked_up_the_first(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    socket.connect(util::unused_address()).unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    let recv = |socket: &UdpSocket| {
        // By another crate, which does not know about polls.
        socket.try_io(|| (&*socket2::SockRef::from(socket)).read(&mut [0; 8]))
    };
    for _ in 0..4 {
        socket.send(b"anybody?").unwrap();
        looper.until("the error", |event| util::is_refusal(backend, event));
        let error = recv(&socket).unwrap_err();
        assert_eq!(error.kind(), util::REFUSED_DATAGRAM);
        would_block(recv(&socket));
    }
}

/// There are events, and not many, if the program responds to each.
#[track_caller]
fn assert_few(looper: &mut Loop, answer: impl FnMut(&Event)) {
    assert!(few(looper, answer) > 0, "there is something to answer");
}

/// The number of events in a time, if the program responds to each.
#[track_caller]
fn few(looper: &mut Loop, mut answer: impl FnMut(&Event)) -> usize {
    let end = Instant::now() + Duration::from_millis(300);
    let mut count = 0;
    while Instant::now() < end {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        for event in &looper.events {
            count += 1;
            answer(event);
        }
        assert!(count <= 30, "{count} events");
    }
    count
}

fn writing_to_a_pipe_without_a_reader_at_each_event_does_not_spin(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut sender, T, Interest::WRITABLE)
        .unwrap();
    drop(receiver);
    assert_few(&mut looper, |_| {
        let error = sender.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

/// The backend does not know the direction of the call: it may have been a write.
fn try_io_at_each_event_of_an_idle_stream_does_not_spin(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut stream, _peer) = UnixStream::pair().unwrap();
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    assert_few(&mut looper, |_| {
        would_block(stream.try_io(|| (&*socket2::SockRef::from(&stream)).read(&mut [0; 8])));
    });
}

fn writing_at_each_event_of_a_closed_stream_does_not_spin(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut stream, peer) = UnixStream::pair().unwrap();
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    drop(peer);
    assert_few(&mut looper, |_| {
        let error = stream.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

/// Each read returns 0, whether or not the kernel reports a hang-up.
fn reading_at_each_event_of_a_named_pipe_without_senders_does_not_spin(backend: Backend) {
    let (mut receiver, path, _folder) = util::named_pipe();
    let mut looper = Loop::new(backend);
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    let sender = || File::options().write(true).open(&path).unwrap();
    sender().write_all(b"x").unwrap();
    looper.until_readable(T);
    assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 1);
    // There may be no event of the end.
    few(&mut looper, |_| {
        assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 0);
    });
    sender().write_all(b"y").unwrap();
    looper.until("the new sender's data", |_| {
        receiver.read(&mut [0; 8]).unwrap() == 1
    });
}

/// The poll that reports it writable again also reports everything else that is ready, on this
/// source and others.
fn a_raw_descriptor_that_is_reported_again_hides_no_other_source(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (raw, mut raw_peer) = UnixStream::pair().unwrap();
    let (mut other, mut other_peer) = UnixStream::pair().unwrap();
    let registry = looper.registry();
    let fd = raw.as_raw_fd();
    registry.register(&mut SourceFd(&fd), T, BOTH).unwrap();
    let (token, interest) = (Token(2), Interest::READABLE);
    registry.register(&mut other, token, interest).unwrap();
    looper.until_writable(T);

    raw_peer.write_all(b"x").unwrap();
    other_peer.write_all(b"x").unwrap();
    let mut readable = Vec::new();
    // If the kernel reports one direction at a time, the next poll reports the other.
    let polls = if backend.reports_in_parts() { 3 } else { 1 };
    for _ in 0..polls {
        looper
            .poll
            .poll(&mut looper.events, Some(Duration::ZERO))
            .unwrap();
        let new = looper.events.iter().filter(|event| event.is_readable());
        readable.extend(new.map(Event::token));
    }
    assert!(readable.contains(&T), "{readable:?}");
    assert!(readable.contains(&token), "{readable:?}");
}

/// A peek drains nothing, but the program has seen all the data.
fn after_a_short_peek_more_data_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let listener = TcpListener::bind(any_port()).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut peer = listener.accept().unwrap().0;
    peer.set_nodelay(true).unwrap();
    looper
        .registry()
        .register(&mut stream, T, Interest::READABLE)
        .unwrap();
    for length in 1..4 {
        peer.write_all(b"x").unwrap();
        looper.until("all that was sent", |event| {
            assert_eq!(event.token(), T);
            stream.peek(&mut [0; 16]).unwrap() == length
        });
    }
}

/// On some backends it was reported as hung up before it connected.
fn a_stream_that_is_refused_after_it_was_registered_is_reported_writable(backend: Backend) {
    let mut looper = Loop::new(backend);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(socket.into());
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    looper
        .poll
        .poll(&mut looper.events, Some(Duration::ZERO))
        .unwrap();

    // Bound, and not listening.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    closed.bind(&any_port().into()).unwrap();
    let connected = socket2::SockRef::from(&stream).connect(&closed.local_addr().unwrap());
    assert!(connected.is_err(), "it is in progress, or refused already");
    let seen = looper.until_reported(
        T,
        Seen::named(match backend.reports_ends_of_sockets() {
            true => "writable error",
            false => "writable",
        }),
    );
    assert!(seen.writable);
}

/// A probe reports it (where there is no hang-up, as writable). The event of it that the kernel has queued meanwhile is not reported as
/// well. Writing is backed off, so another event may follow after a pause, which is at least one
/// millisecond.
fn a_hang_up_is_reported_once_by_a_small_buffer(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let (mut stream, peer) = UnixStream::pair().unwrap();
    looper
        .registry()
        .register(&mut stream, T, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(T);
    // Any failure makes writing back off.
    let failed = stream.try_io(|| Err::<(), _>(ErrorKind::InvalidInput.into()));
    assert!(failed.is_err());
    drop(peer);
    // From before one report until after the next, so the pause is contained in it.
    let mut last: Option<Instant> = None;
    for _ in 0..3 {
        let before = Instant::now();
        looper
            .poll
            .poll(&mut looper.events, Some(Duration::ZERO))
            .unwrap();
        let is_reported = backend.reports_ends_of_sockets();
        if looper.events.iter().any(|event| match is_reported {
            true => event.is_write_closed(),
            false => event.is_writable(),
        }) {
            let early = |last: Instant| last.elapsed() < Duration::from_millis(1);
            assert!(!last.is_some_and(early));
            last = Some(before);
        }
    }
    assert!(last.is_some());
}

/// Raw descriptors that are always ready fill the buffer, and disappear before the next poll. That
/// poll has capacity for both the events that the kernel reports and those that a probe of a
/// latched source finds.
fn readiness_only_a_probe_sees_is_reported_after_probes_filled_the_buffer(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 2);
    let (latched, plain) = (Token(9), Token(3));
    let address = util::unused_address();
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    socket.connect(address).unwrap();
    looper
        .registry()
        .register(&mut socket, latched, Interest::READABLE)
        .unwrap();
    socket.send(b"anybody?").unwrap();
    looper.until("the error", |event| util::is_refusal(backend, event));
    let raw = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
    let (mut stream, mut stream_peer) = UnixStream::pair().unwrap();
    let registry = looper.registry();
    registry
        .register(&mut stream, plain, Interest::READABLE)
        .unwrap();
    for (token, (one, _)) in raw.iter().enumerate() {
        let fd = one.as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), Token(token), Interest::WRITABLE)
            .unwrap();
    }
    for _ in 0..2 {
        let timeout = Some(Duration::ZERO);
        looper.poll.poll(&mut looper.events, timeout).unwrap();
    }
    for (one, _) in &raw {
        let fd = one.as_raw_fd();
        looper.registry().deregister(&mut SourceFd(&fd)).unwrap();
    }
    let peer = UdpSocket::bind(address).unwrap();
    peer.send_to(b"I am", socket.local_addr().unwrap()).unwrap();
    stream_peer.write_all(b"x").unwrap();
    // Longer than the longest pause.
    std::thread::sleep(Duration::from_millis(100));
    looper
        .poll
        .poll(&mut looper.events, Some(Duration::ZERO))
        .unwrap();
    let tokens: Vec<Token> = looper.events.iter().map(Event::token).collect();
    // Where the error made it readable, it still is.
    let is_new = backend.reports_refused_datagrams() || !backend.keeps_a_table();
    assert!(tokens.contains(&latched) || !is_new, "{tokens:?}");
    assert!(tokens.contains(&plain), "{tokens:?}");
}
