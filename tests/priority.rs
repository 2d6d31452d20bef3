//! Priority (out-of-band) data: it is reported where the backend can, and refused elsewhere.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Backend, Interest, Token};
use socket2::SockRef;
use util::{Differences, Loop};

on_each_backend![
    priority_data_is_reported,
    priority_data_is_reported_again_after_it_was_received,
    priority_data_that_waits_is_reported_when_the_source_is_registered,
    priority_data_is_reported_beside_ordinary_data,
    ordinary_data_is_not_priority,
    without_the_interest_priority_data_is_not_reported,
    priority_data_that_is_left_spins_no_loop,
    inline_priority_data_is_readable,
    a_backend_without_priority_data_refuses_the_interest,
    a_pipe_accepts_the_interest_and_never_reports_priority_data,
];

const TOKEN: Token = Token(1);
const PRIORITY: Interest = Interest::PRIORITY;

fn reports(backend: Backend) -> bool {
    backend != Backend::Kqueue
}

/// A registered client, and its peer.
fn connected(looper: &Loop, interests: Interest) -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(util::any_port()).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    looper.register(&mut client, TOKEN, interests);
    (client, server)
}

fn send_urgently(server: &std::net::TcpStream) {
    let sent = SockRef::from(server).send_out_of_band(b"!").unwrap();
    assert_eq!(sent, 1);
}

fn receive_urgent(client: &TcpStream) {
    let mut byte = [MaybeUninit::uninit()];
    let received = client.try_io_with(PRIORITY, || {
        SockRef::from(client).recv_out_of_band(&mut byte)
    });
    assert_eq!(received.unwrap(), 1);
}

#[track_caller]
fn until_priority(looper: &mut Loop) {
    looper.until("priority data", |event| {
        assert_eq!(event.token(), TOKEN);
        if event.is_priority() {
            assert!(event.is_readable() && !event.is_read_closed());
        }
        event.is_priority()
    });
}

/// Polls until priority data that was received is reported no more: it may have been probed just before.
#[track_caller]
fn until_quiet(looper: &mut Loop) {
    let deadline = Instant::now() + util::patience();
    loop {
        let end = Instant::now() + util::A_WHILE;
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        if looper.events.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{:?}", looper.events);
    }
}

fn priority_data_is_reported(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (client, server) = connected(&looper, PRIORITY);
    looper.assert_quiet();
    send_urgently(&server);
    looper.until("priority data", |event| {
        assert!(event.is_readable() && !event.is_writable());
        event.is_priority()
    });
    receive_urgent(&client);
}

fn priority_data_is_reported_again_after_it_was_received(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (client, server) = connected(&looper, PRIORITY);
    for _ in 0..5 {
        send_urgently(&server);
        until_priority(&mut looper);
        receive_urgent(&client);
        until_quiet(&mut looper);
    }
}

fn priority_data_that_waits_is_reported_when_the_source_is_registered(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (mut client, server) = connected(&looper, PRIORITY);
    send_urgently(&server);
    until_priority(&mut looper);
    // Still there.
    looper.reregister(&mut client, TOKEN, PRIORITY | Interest::WRITABLE);
    until_priority(&mut looper);
    looper.registry().deregister(&mut client).unwrap();
    looper.register(&mut client, TOKEN, PRIORITY);
    until_priority(&mut looper);
}

fn priority_data_is_reported_beside_ordinary_data(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (mut client, mut server) = connected(&looper, Interest::READABLE | PRIORITY);
    server.write_all(b"ordinary").unwrap();
    looper.until_readable(TOKEN);
    // It is not read, and priority data is new all the same.
    send_urgently(&server);
    until_priority(&mut looper);
    receive_urgent(&client);
    let mut buffer = [0; 64];
    assert_eq!(client.read(&mut buffer).unwrap(), b"ordinary".len());
    assert_eq!(
        client.read(&mut buffer).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    server.write_all(b"more").unwrap();
    looper.until("ordinary data", |event| event.is_readable());
    let deadline = Instant::now() + util::patience();
    loop {
        match client.read(&mut buffer) {
            Ok(length) => break assert_eq!(&buffer[..length], b"more"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < deadline);
        let pause = Some(util::A_WHILE);
        looper.poll.poll(&mut looper.events, pause).unwrap();
    }
}

fn ordinary_data_is_not_priority(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (_client, mut server) = connected(&looper, Interest::READABLE | PRIORITY);
    server.write_all(b"ordinary").unwrap();
    looper.until("data", |event| {
        assert!(!event.is_priority());
        event.is_readable()
    });
}

fn without_the_interest_priority_data_is_not_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (_client, server) = connected(&looper, Interest::READABLE | Interest::WRITABLE);
    looper.until_writable(TOKEN);
    send_urgently(&server);
    let end = Instant::now() + util::A_WHILE;
    while Instant::now() < end {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        assert!(looper.events.iter().all(|event| !event.is_priority()));
    }
}

fn priority_data_that_is_left_spins_no_loop(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (_client, server) = connected(&looper, PRIORITY);
    send_urgently(&server);
    until_priority(&mut looper);
    let end = Instant::now() + Duration::from_millis(200);
    let mut events = 0;
    while Instant::now() < end {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        events += looper.events.iter().count();
    }
    assert!(events <= 30, "{events} events of an idle source");
}

/// As the byte is part of the stream, Windows does not report it as priority data.
fn inline_priority_data_is_readable(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (mut client, server) = connected(&looper, Interest::READABLE | PRIORITY);
    SockRef::from(&client).set_out_of_band_inline(true).unwrap();
    send_urgently(&server);
    let is_ordinary = backend == Backend::Afd;
    let (mut is_readable, mut is_priority) = (false, false);
    looper.until("the byte", |event| {
        is_readable |= event.is_readable();
        is_priority |= event.is_priority();
        is_readable && (is_priority || is_ordinary)
    });
    assert_eq!(is_priority, !is_ordinary);
    let mut buffer = [0; 8];
    assert_eq!(client.read(&mut buffer).unwrap(), 1);
    assert_eq!(&buffer[..1], b"!");
}

fn a_backend_without_priority_data_refuses_the_interest(backend: Backend) {
    let looper = Loop::new(backend);
    let readable = Interest::READABLE;
    let (mut client, _server) = connected(&looper, readable);
    let reregistered = looper
        .registry()
        .reregister(&mut client, TOKEN, readable | PRIORITY);
    assert_eq!(reregistered.is_ok(), reports(backend));
    let (mut another, _server) = {
        let listener = std::net::TcpListener::bind(util::any_port()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap())
    };
    for interests in [PRIORITY, readable | PRIORITY] {
        let registered = looper
            .registry()
            .register(&mut another, Token(2), interests);
        match reports(backend) {
            true => registered.unwrap(),
            false => {
                assert_eq!(registered.unwrap_err().kind(), ErrorKind::Unsupported);
                looper.registry().deregister(&mut another).unwrap_err();
                continue;
            }
        }
        looper.registry().deregister(&mut another).unwrap();
    }
    assert!(backend.has_events_for_each_direction() || reports(backend));
}

/// Two ends of a pipe: the source, and its peer.
#[cfg(unix)]
fn pipe() -> (mio::unix::pipe::Receiver, impl Write) {
    let (sender, receiver) = mio::unix::pipe::new().unwrap();
    (receiver, sender)
}

#[cfg(windows)]
fn pipe() -> (mio::windows::NamedPipe, impl Write) {
    let name = format!(r"\\.\pipe\mio-test-priority-{}", std::process::id());
    let server = mio::windows::NamedPipe::new(&name).unwrap();
    let client = std::fs::File::options().write(true).open(name).unwrap();
    (server, client)
}

fn a_pipe_accepts_the_interest_and_never_reports_priority_data(backend: Backend) {
    if !reports(backend) {
        return;
    }
    let mut looper = Loop::new(backend);
    let (mut receiver, mut sender) = pipe();
    looper.register(&mut receiver, TOKEN, Interest::READABLE | PRIORITY);
    sender.write_all(b"data").unwrap();
    looper.until("data", |event| {
        assert!(!event.is_priority());
        event.is_readable()
    });
    // The data is still there, and more comes.
    looper.reregister(&mut receiver, TOKEN, PRIORITY);
    looper.assert_quiet();
    sender.write_all(b"more").unwrap();
    looper.assert_quiet();
    looper.reregister(&mut receiver, TOKEN, Interest::READABLE);
    looper.until_readable(TOKEN);
    looper.registry().deregister(&mut receiver).unwrap();
}

#[test]
fn priority_is_an_interest_and_prints() {
    assert!(Interest::PRIORITY.is_priority());
    assert_eq!(format!("{:?}", Interest::PRIORITY), "PRIORITY");
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    assert_eq!(format!("{all:?}"), "READABLE | WRITABLE | PRIORITY");
}
