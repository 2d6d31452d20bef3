//! Each way of closing reports at least what the table in the documentation lists, and not more: a
//! false "closed" makes programs spin.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::{TcpStream, UdpSocket};
#[cfg(unix)]
use mio::net::{UnixDatagram, UnixStream};
#[cfg(unix)]
use mio::unix::pipe;
use mio::{Backend, Interest, Token};
use util::{any_port, Differences, Loop, Seen};

on_each_backend![
    an_established_connection_is_not_closed,
    a_refused_connect_is_reported_closed,
    tcp_peer_shuts_down_writing,
    tcp_peer_closes,
    tcp_peer_resets,
    tcp_shutting_down_our_writing_is_not_the_peers_shutdown,
    tcp_both_halves_shut_down,
    tcp_closed_with_data_unread,
    tcp_never_connected,
    #[cfg_attr(windows, ignore = "Wine reports a refused datagram as an end as well")]
    udp_refused,
    #[cfg(unix)]
    unix_peer_closes,
    #[cfg(unix)]
    unix_peer_closes_with_data_unread,
    #[cfg(unix)]
    unix_peer_shuts_down_writing,
    #[cfg(unix)]
    unix_datagram_peer_closes,
    #[cfg(unix)]
    a_pipes_last_sender_closes,
    #[cfg(unix)]
    a_pipes_last_sender_closes_with_data_unread,
    #[cfg(unix)]
    a_pipes_last_receiver_closes,
    #[cfg(unix)]
    a_pipe_closed_before_it_is_registered_is_reported_closed,
    #[cfg(unix)]
    a_receiver_is_never_writable,
    #[cfg(unix)]
    a_receiver_without_senders_can_be_registered_for_writing,
    #[cfg(unix)]
    a_sender_without_receivers_can_be_deregistered,
    #[cfg(unix)]
    a_sender_without_receivers_is_dropped,
    #[cfg(unix)]
    a_sender_without_receivers_that_is_refused_leaves_nothing_registered,
    closing_is_reported_to_the_other_interest,
];

const T: Token = Token(1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A connection. One end is registered and was reported writable.
fn connected(backend: Backend, interest: Interest) -> (Loop, TcpStream, std::net::TcpStream) {
    let mut looper = Loop::new(backend);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    looper
        .registry()
        .register(&mut stream, T, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(T);
    looper
        .registry()
        .reregister(&mut stream, T, interest)
        .unwrap();
    if interest.is_writable() {
        looper.until_writable(T);
    }
    (looper, stream, peer)
}

/// Polls until everything expected of a socket was reported. Then checks that nothing else was, neither in
/// the same events nor soon after.
#[track_caller]
fn expect(looper: &mut Loop, expected: &str) {
    let mut expected = Seen::named(expected);
    if !looper.poll.backend().reports_ends_of_sockets() {
        expected.read_closed = false;
        expected.write_closed = false;
        expected.error = false;
    }
    expect_seen(looper, expected);
}

/// The same of one end of a pipe.
#[cfg(unix)]
#[track_caller]
fn expect_of_pipe(looper: &mut Loop, expected: &str) {
    expect_seen(looper, Seen::named(expected));
}

#[track_caller]
fn expect_seen(looper: &mut Loop, mut expected: Seen) {
    if !looper.poll.backend().reports_half_close() && !expected.write_closed {
        expected.read_closed = false;
    }
    let mut certain = expected;
    if !looper.poll.backend().reports_all_readiness() && !expected.write_closed {
        // It was reported before, and no write has reported since that it ended.
        certain.writable = false;
    }
    let seen = looper.until_reported(T, certain);
    assert_eq!(seen.and(expected), expected, "no more than that");
    let late = std::time::Instant::now() + util::A_WHILE;
    looper
        .poll
        .poll_until(&mut looper.events, Some(late))
        .unwrap();
    for event in &looper.events {
        let more = Seen::of(event);
        assert_eq!(more.and(expected), expected, "more came: {more:?}");
    }
}

fn an_established_connection_is_not_closed(backend: Backend) {
    let (mut looper, mut stream, mut peer) = connected(backend, BOTH);
    looper.registry().reregister(&mut stream, T, BOTH).unwrap();
    expect(&mut looper, "writable");
    peer.write_all(b"x").unwrap();
    expect(&mut looper, "readable writable");
}

fn a_refused_connect_is_reported_closed(backend: Backend) {
    for (interest, expected) in [
        (BOTH, "readable writable read_closed write_closed error"),
        (
            Interest::WRITABLE,
            match backend.has_events_for_each_direction() {
                true => "writable write_closed error",
                false => "writable read_closed write_closed error",
            },
        ),
    ] {
        let mut looper = Loop::new(backend);
        let (address, _holder) = refusing_address();
        let mut stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            // The connection is allowed to succeed at once. Then there is nothing to test.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                continue;
            }
        };
        looper
            .registry()
            .register(&mut stream, T, interest)
            .unwrap();
        if !backend.reports_ends_of_sockets() {
            looper.until_writable(T);
        } else {
            expect(&mut looper, expected);
        }
        let error = stream.take_error().unwrap().expect("an error is pending");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let again = stream.take_error().unwrap();
        // Windows does not clear it.
        assert!(again.is_none() || cfg!(windows), "taken once");
        let error = stream.peer_addr().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
}

/// An address that refuses connections for as long as the second value lives. Nobody else gets it: the port
/// is that of a connection's own end. (NetBSD drops in silence what goes to a port that is bound and does not
/// listen.)
fn refusing_address() -> (std::net::SocketAddr, impl Sized) {
    let listener = std::net::TcpListener::bind(any_port()).unwrap();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (connected.local_addr().unwrap(), (listener, connected))
}

fn tcp_peer_shuts_down_writing(backend: Backend) {
    let (mut looper, mut stream, peer) = connected(backend, Interest::READABLE);
    peer.shutdown(Shutdown::Write).unwrap();
    expect(&mut looper, "readable read_closed");
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    // The other direction is open.
    stream.write_all(b"x").unwrap();
}

fn tcp_peer_closes(backend: Backend) {
    let (mut looper, mut stream, peer) = connected(backend, Interest::READABLE);
    drop(peer);
    expect(&mut looper, "readable read_closed");
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

/// Closes a socket so that the peer gets a reset instead of an end.
fn reset(peer: std::net::TcpStream) {
    let socket = socket2::SockRef::from(&peer);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
}

fn tcp_peer_resets(backend: Backend) {
    let (mut looper, mut stream, peer) = connected(backend, BOTH);
    reset(peer);
    expect(
        &mut looper,
        "readable writable read_closed write_closed error",
    );
    match stream.read(&mut [0; 8]) {
        // The driver of Wine 8 has taken the error in order to report it.
        Ok(length) => assert!(length == 0 && util::under_wine()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

fn tcp_shutting_down_our_writing_is_not_the_peers_shutdown(backend: Backend) {
    let (mut looper, stream, _peer) = connected(backend, BOTH);
    stream.shutdown(Shutdown::Write).unwrap();
    // An event is allowed, but not one that is closed.
    let soon = std::time::Instant::now() + util::A_WHILE;
    looper
        .poll
        .poll_until(&mut looper.events, Some(soon))
        .unwrap();
    for event in &looper.events {
        let seen = Seen::of(event);
        assert!(!seen.read_closed && !seen.error);
        // A filter does not report which side has ended its direction.
        assert!(!seen.write_closed || backend.has_events_for_each_direction());
    }
}

fn tcp_both_halves_shut_down(backend: Backend) {
    let (mut looper, stream, peer) = connected(backend, BOTH);
    peer.shutdown(Shutdown::Write).unwrap();
    expect(&mut looper, "readable writable read_closed");
    stream.shutdown(Shutdown::Write).unwrap();
    if backend.reports_both_halves() {
        expect(&mut looper, "readable writable read_closed write_closed");
    } else {
        looper.assert_quiet();
    }
}

fn tcp_closed_with_data_unread(backend: Backend) {
    let (mut looper, mut stream, mut peer) = connected(backend, Interest::READABLE);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    match util::under_wine() {
        false => expect(&mut looper, "readable read_closed"),
        // Wine's driver reports the end only after all data was read.
        true => expect(&mut looper, "readable"),
    }
    let mut words = Vec::new();
    stream.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"last words");
}

#[cfg(unix)]
fn unix_pair(backend: Backend, interest: Interest) -> (Loop, UnixStream, UnixStream) {
    let mut looper = Loop::new(backend);
    let (mut stream, peer) = UnixStream::pair().unwrap();
    looper
        .registry()
        .register(&mut stream, T, interest)
        .unwrap();
    if interest.is_writable() {
        looper.until_writable(T);
    }
    (looper, stream, peer)
}

#[cfg(unix)]
fn unix_peer_closes(backend: Backend) {
    let (mut looper, mut stream, peer) = unix_pair(backend, BOTH);
    drop(peer);
    expect(&mut looper, "readable writable read_closed write_closed");
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    let error = stream.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[cfg(unix)]
fn unix_peer_closes_with_data_unread(backend: Backend) {
    let (mut looper, mut stream, peer) = unix_pair(backend, BOTH);
    stream.write_all(b"unread").unwrap();
    drop(peer);
    let seen = looper.until_reported(
        T,
        Seen::named(match backend.resets_unix_peers() {
            // It was writable before.
            _ if !backend.reports_ends_of_sockets() => "readable",
            true => "readable writable read_closed write_closed error",
            false => "readable writable read_closed write_closed",
        }),
    );
    match stream.read(&mut [0; 8]) {
        // On every backend that reports an error, an event has reported it.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(seen.error || !backend.reports_ends_of_sockets());
        }
        // On this backend it is only an end.
        Ok(length) => assert!(length == 0 && !backend.resets_unix_peers()),
    }
}

fn tcp_never_connected(backend: Backend) {
    let mut looper = Loop::new(backend);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let mut stream = TcpStream::from_std(socket.unwrap().into());
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    match backend.reports_unconnected() {
        true => expect(&mut looper, "writable read_closed write_closed"),
        false => looper.assert_quiet(),
    }
}

/// It is reported as closed although it is not; see the documentation of `is_write_closed`.
fn udp_refused(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    socket.connect(util::unused_address()).unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    socket.send(b"anybody?").unwrap();
    match backend.reports_refused_datagrams() {
        true => expect(&mut looper, "write_closed error"),
        false => expect(&mut looper, "readable"),
    }
    // Taken by `take_error`, or by receiving.
    let error = match cfg!(unix) {
        true => socket.take_error().unwrap().expect("an error is pending"),
        false => socket.recv(&mut [0; 8]).unwrap_err(),
    };
    assert_eq!(error.kind(), util::REFUSED_DATAGRAM);
    let error = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[cfg(unix)]
fn unix_peer_shuts_down_writing(backend: Backend) {
    let (mut looper, mut stream, peer) = unix_pair(backend, Interest::READABLE);
    peer.shutdown(Shutdown::Write).unwrap();
    expect(&mut looper, "readable read_closed");
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    stream.write_all(b"x").unwrap();
}

#[cfg(unix)]
fn unix_datagram_peer_closes(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut socket, peer) = UnixDatagram::pair().unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    peer.send(b"x").unwrap();
    looper.until_readable(T);
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
    drop(peer);
    // A datagram socket can be connected to another peer later. The end of its peer is not its own
    // end, and on Linux no hang-up. Sending finds out.
    let error = socket.send(b"x").unwrap_err();
    // NetBSD says the latter.
    let closed = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset];
    assert!(closed.contains(&error.kind()), "{error}");
}

/// A pipe that is empty and has no sender any more.
#[cfg(unix)]
fn no_sender(backend: Backend) -> &'static str {
    match backend.has_events_for_each_direction() {
        true => "readable read_closed",
        false if backend.ends_pipes_in_both_directions() => "readable read_closed write_closed",
        false => "read_closed write_closed",
    }
}

/// A pipe that has capacity and no receiver any more.
#[cfg(unix)]
fn no_receiver(backend: Backend) -> &'static str {
    match backend.has_events_for_each_direction() {
        true => "writable write_closed",
        false if backend.ends_pipes_in_both_directions() => "writable read_closed write_closed",
        false => "writable write_closed error",
    }
}

#[cfg(unix)]
fn a_pipes_last_sender_closes(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    looper.assert_quiet();
    drop(sender);
    expect_of_pipe(&mut looper, no_sender(backend));
    assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 0);
}

#[cfg(unix)]
fn a_pipes_last_sender_closes_with_data_unread(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    sender.write_all(b"last").unwrap();
    drop(sender);
    match backend.has_events_for_each_direction() {
        true => expect_of_pipe(&mut looper, "readable read_closed"),
        false => expect_of_pipe(&mut looper, "readable read_closed write_closed"),
    }
    let mut words = Vec::new();
    receiver.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"last");
}

/// The sender is full, so the event is only an error. It must wake a writer anyway.
#[cfg(unix)]
fn a_pipes_last_receiver_closes(backend: Backend) {
    for full in [true, false] {
        let mut looper = Loop::new(backend);
        let (mut sender, receiver) = pipe::new().unwrap();
        if full {
            while sender.write(&[0; 4096]).is_ok() {}
        }
        looper
            .registry()
            .register(&mut sender, T, Interest::WRITABLE)
            .unwrap();
        if full {
            looper.assert_quiet();
        } else {
            looper.until_writable(T);
        }
        drop(receiver);
        if full {
            // Kernels differ in whether a full pipe without a reader counts as writable.
            let mut certain = Seen::named(no_receiver(backend));
            certain.writable = false;
            if !backend.reports_the_end_of_a_full_pipe() {
                looper.assert_quiet();
                let registry = looper.registry();
                registry
                    .reregister(&mut sender, T, Interest::WRITABLE)
                    .unwrap();
            }
            let seen = looper.until_reported(T, certain);
            assert!(!seen.readable);
            assert!(!seen.read_closed || backend.ends_pipes_in_both_directions());
        } else {
            expect_of_pipe(&mut looper, no_receiver(backend));
        }
        let error = sender.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[cfg(unix)]
fn a_pipe_closed_before_it_is_registered_is_reported_closed(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (sender, mut receiver) = pipe::new().unwrap();
    drop(sender);
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    expect_of_pipe(&mut looper, no_sender(backend));

    let mut looper = Loop::new(backend);
    let (mut sender, receiver) = pipe::new().unwrap();
    drop(receiver);
    let registered = looper
        .registry()
        .register(&mut sender, T, Interest::WRITABLE);
    if !backend.takes_a_pipe_without_receivers() {
        assert_eq!(registered.unwrap_err().kind(), ErrorKind::BrokenPipe);
        return;
    }
    registered.unwrap();
    expect_of_pipe(&mut looper, no_receiver(backend));
}

/// If the last sender is gone, some kernels refuse to watch a receiver for writing. Others report
/// it as closed, like a sender. (NetBSD's poll(2) calls it writable then.)
#[cfg(unix)]
fn a_receiver_is_never_writable(backend: Backend) {
    use std::time::Instant;

    for registered_before in [true, false] {
        let mut looper = Loop::new(backend);
        let (sender, mut receiver) = pipe::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        let register = |looper: &Loop, receiver: &mut pipe::Receiver| {
            looper.registry().register(receiver, T, both).unwrap();
        };
        if registered_before {
            register(&looper, &mut receiver);
            looper.assert_quiet();
        }
        drop(sender);
        if !registered_before {
            register(&looper, &mut receiver);
        }
        // In parts, perhaps.
        let deadline = Instant::now() + util::A_WHILE;
        let mut is_closed = false;
        while !is_closed || Instant::now() < deadline {
            let limit = if is_closed {
                deadline
            } else {
                Instant::now() + util::patience()
            };
            looper
                .poll
                .poll_until(&mut looper.events, Some(limit))
                .unwrap();
            assert!(
                is_closed || !looper.events.is_empty(),
                "waited in vain for the end"
            );
            for event in &looper.events {
                let is_ready_for_both = backend.ends_pipes_in_both_directions();
                assert!(!event.is_writable() || is_ready_for_both, "{event:?}");
                // If both directions share one event, it reports the end of both.
                let is_of_both = !backend.has_events_for_each_direction();
                assert!(is_of_both || !event.is_write_closed(), "{event:?}");
                is_closed |= event.is_read_closed();
            }
        }
    }
}

/// Registered for writing only, for which it is never ready.
#[cfg(unix)]
fn a_receiver_without_senders_can_be_registered_for_writing(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (sender, mut receiver) = pipe::new().unwrap();
    drop(sender);
    let registry = looper.registry().try_clone().unwrap();
    registry
        .register(&mut receiver, T, Interest::WRITABLE)
        .unwrap();
    let limit = Some(util::A_WHILE);
    looper.poll.poll(&mut looper.events, limit).unwrap();
    let is_ready_for_both = backend.ends_pipes_in_both_directions();
    assert!(looper
        .events
        .iter()
        .all(|event| !event.is_writable() || is_ready_for_both));
    registry.deregister(&mut receiver).unwrap();
    looper.assert_quiet();
}

/// It counts as registered, even if the kernel refuses to watch it.
#[cfg(unix)]
fn a_sender_without_receivers_can_be_deregistered(backend: Backend) {
    if !backend.takes_a_pipe_without_receivers() {
        return;
    }
    for is_reported in [false, true] {
        let mut looper = Loop::new(backend);
        let (mut sender, receiver) = pipe::new().unwrap();
        drop(receiver);
        looper
            .registry()
            .register(&mut sender, T, Interest::WRITABLE)
            .unwrap();
        if is_reported {
            looper.until("the end", |event| event.is_write_closed());
            looper.assert_quiet();
        }
        looper.registry().deregister(&mut sender).unwrap();
        looper.assert_quiet();
        let error = looper.registry().deregister(&mut sender).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

/// If the kernel accepts no filter for it, a user event registers it.
#[cfg(unix)]
fn a_sender_without_receivers_is_dropped(backend: Backend) {
    if !backend.takes_a_pipe_without_receivers() {
        return;
    }
    let mut looper = Loop::new(backend);
    let registry = looper.registry();
    let (mut sender, receiver) = pipe::new().unwrap();
    drop(receiver);
    registry
        .register(&mut sender, T, Interest::WRITABLE)
        .unwrap();
    drop(sender);
    let (mut sender, receiver) = pipe::new().unwrap();
    registry
        .register(&mut sender, T, Interest::READABLE)
        .unwrap();
    drop(receiver);
    registry
        .reregister(&mut sender, T, Interest::WRITABLE)
        .unwrap();
    drop(sender);
    looper.assert_quiet();
}

#[cfg(unix)]
fn a_sender_without_receivers_that_is_refused_leaves_nothing_registered(backend: Backend) {
    if backend.takes_a_pipe_without_receivers() {
        return;
    }
    let looper = Loop::new(backend);
    let registry = looper.registry();
    let (mut sender, receiver) = pipe::new().unwrap();
    drop(receiver);
    let both = Interest::READABLE | Interest::WRITABLE;
    let error = registry.register(&mut sender, T, both).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let error = registry.deregister(&mut sender).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Other sources are not affected either.
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    registry.register(&mut socket, T, both).unwrap();
    registry.deregister(&mut socket).unwrap();
}

/// Errors and hang-ups are reported whatever the interests are, except where directions are
/// reported separately, and for sockets where these have neither.
fn closing_is_reported_to_the_other_interest(backend: Backend) {
    if backend.has_events_for_each_direction() {
        let (mut looper, _stream, peer) = connected(backend, Interest::WRITABLE);
        reset(peer);
        expect(&mut looper, "writable write_closed error");
        return;
    }
    #[cfg(unix)]
    {
        let mut looper = Loop::new(backend);
        let (mut sender, receiver) = pipe::new().unwrap();
        // A sender is never readable.
        looper
            .registry()
            .register(&mut sender, T, Interest::READABLE)
            .unwrap();
        looper.assert_quiet();
        drop(receiver);
        expect_of_pipe(
            &mut looper,
            match backend.ends_pipes_in_both_directions() {
                true => "readable read_closed write_closed",
                false => "write_closed error",
            },
        );
    }

    let (mut looper, mut stream, peer) = connected(backend, Interest::WRITABLE);
    looper
        .registry()
        .reregister(&mut stream, T, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(T);
    reset(peer);
    if !backend.reports_ends_of_sockets() {
        // It was writable before.
        looper.assert_quiet();
        return;
    }
    expect(&mut looper, "writable read_closed write_closed error");
}
