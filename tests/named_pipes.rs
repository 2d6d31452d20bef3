//! Named pipes of Windows.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", windows))]

mod util;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::windows::{NamedPipe, NamedPipeOptions};
use mio::{Backend, Interest, Token, Waker};
use util::{patience, Loop, Seen};
use windows_sys::Win32::Devices::Communication::{SetCommTimeouts, COMMTIMEOUTS};
use windows_sys::Win32::Foundation::{ERROR_OPERATION_ABORTED, GENERIC_READ, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    ReadFile, WriteFile, FILE_FLAG_OVERLAPPED, FILE_WRITE_ATTRIBUTES, PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_OUTBOUND,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, SetNamedPipeHandleState, PIPE_NOWAIT, PIPE_READMODE_MESSAGE,
    PIPE_TYPE_MESSAGE,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};

const SERVER: Token = Token(1);
const CLIENT: Token = Token(2);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A name that no other test uses.
fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\mio-test-{}-{number}", std::process::id())
}

/// A client's end, which is not registered.
fn client(name: &str) -> NamedPipe {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        .open(name)
        .unwrap();
    // SAFETY: the handle was just given up, so nothing else owns it.
    unsafe { NamedPipe::from_raw_handle(file.into_raw_handle()) }
}

/// A client's end that blocks.
fn blocking_client(name: &str) -> File {
    File::options().read(true).write(true).open(name).unwrap()
}

/// A registered server's end that waits for a client of this name.
#[track_caller]
fn listening(looper: &Loop) -> (NamedPipe, String) {
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    would_block(server.connect());
    (server, name)
}

/// Both ends, registered and connected.
fn pair() -> (Loop, NamedPipe, NamedPipe) {
    let mut looper = Loop::new(Backend::Afd);
    let (server, client) = pair_of(&mut looper);
    (looper, server, client)
}

fn pair_of(looper: &mut Loop) -> (NamedPipe, NamedPipe) {
    let (server, name) = listening(looper);
    let mut client = client(&name);
    looper
        .registry()
        .register(&mut client, CLIENT, BOTH)
        .unwrap();
    let mut writable = [false; 3];
    looper.until("both to be writable", |event| {
        writable[event.token().0] |= event.is_writable();
        writable[1] && writable[2]
    });
    server.connect().unwrap();
    (server, client)
}

#[track_caller]
fn would_block<R: std::fmt::Debug>(result: std::io::Result<R>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Reads this many bytes, with events.
#[track_caller]
fn read_all(looper: &mut Loop, mut pipe: &NamedPipe, token: Token, length: usize) -> Vec<u8> {
    let mut all = vec![0; length];
    let mut read = 0;
    while read < length {
        match pipe.read(&mut all[read..]) {
            Ok(0) => panic!("the end, after {read} of {length}"),
            Ok(length) => read += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                looper.until_readable(token);
            }
        }
    }
    all
}

#[test]
fn a_server_and_a_client_talk() {
    let (mut looper, mut server, mut client) = pair();
    would_block(server.read(&mut [0; 8]));
    would_block(client.read(&mut [0; 8]));
    for round in 0..20u8 {
        let question = [round; 100];
        assert_eq!(client.write(&question).unwrap(), 100);
        assert_eq!(read_all(&mut looper, &server, SERVER, 100), question);
        assert_eq!(server.write(b"answer").unwrap(), 6);
        assert_eq!(read_all(&mut looper, &client, CLIENT, 6), b"answer");
        looper.assert_quiet_but_writable();
    }
    would_block(server.read(&mut [0; 8]));
    assert!(server.take_error().unwrap().is_none());
}

/// Such a program would wait for an event that never comes.
#[test]
fn nothing_is_done_before_it_is_registered() {
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    let not_found = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::NotFound);
    not_found(server.connect().unwrap_err());
    not_found(server.read(&mut [0; 8]).unwrap_err());
    not_found(server.write(b"x").unwrap_err());
    assert!(server.take_error().unwrap().is_none());
}

#[test]
fn a_client_that_was_faster_is_connected_at_once() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    let mut client = blocking_client(&name);
    client.write_all(b"early").unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    server.connect().unwrap();
    assert_eq!(read_all(&mut looper, &server, SERVER, 5), b"early");
}

#[test]
fn connecting_is_reported_as_writable_and_not_before() {
    let mut looper = Loop::new(Backend::Afd);
    let (mut server, name) = listening(&looper);
    would_block(server.connect());
    would_block(server.write(b"nobody there"));
    would_block(server.read(&mut [0; 8]));
    looper.assert_quiet();
    let _client = client(&name);
    looper.until_writable(SERVER);
    server.connect().unwrap();
}

/// A server can wait for a client without an interest in writing.
#[test]
fn connecting_is_reported_as_writable_whatever_the_interest() {
    for is_registered_again in [false, true] {
        let mut looper = Loop::new(Backend::Afd);
        let name = name();
        let mut server = NamedPipe::new(&name).unwrap();
        let registry = looper.registry().try_clone().unwrap();
        registry
            .register(&mut server, SERVER, Interest::READABLE)
            .unwrap();
        would_block(server.connect());
        if is_registered_again {
            registry.deregister(&mut server).unwrap();
        }
        let mut client = blocking_client(&name);
        if is_registered_again {
            looper.assert_quiet();
            registry
                .register(&mut server, SERVER, Interest::READABLE)
                .unwrap();
        }
        looper.until_writable(SERVER);
        server.connect().unwrap();
        looper.assert_quiet();
        // Waiting for a client is no interest in writing.
        client.write_all(b"x").unwrap();
        looper.until("data alone", |event| {
            assert!(!event.is_writable());
            event.is_readable()
        });
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(server.write(b"x").unwrap(), 1);
        looper.assert_quiet();
    }
}

/// Programs and runtimes use the first event of their token.
#[test]
fn a_poll_has_one_event_of_a_pipe() {
    let (mut looper, mut server, mut client) = pair();
    let now = Some(Duration::ZERO);
    for round in 0..50 {
        assert_eq!(client.write(b"question").unwrap(), 8, "round {round}");
        if round % 2 == 0 {
            // It is ready without any packet, and a packet says that it is ready for something else.
            looper.until_readable(SERVER);
            assert_eq!(server.write(b"answer").unwrap(), 6);
            for (pipe, token) in [(&mut server, SERVER), (&mut client, CLIENT)] {
                looper.registry().reregister(pipe, token, BOTH).unwrap();
            }
        } else {
            assert_eq!(server.write(b"answer").unwrap(), 6);
        }
        let deadline = Instant::now() + patience();
        let mut seen = [(false, false); 3];
        while seen[1] != (true, true) || seen[2] != (true, true) {
            assert!(Instant::now() < deadline, "round {round}: {seen:?}");
            looper.poll.poll(&mut looper.events, now).unwrap();
            let mut tokens: Vec<_> = looper.events.iter().map(|event| event.token()).collect();
            tokens.sort();
            tokens.dedup();
            assert_eq!(tokens.len(), looper.events.iter().count(), "round {round}");
            for event in &looper.events {
                let (reads, writes) = &mut seen[event.token().0];
                *reads |= event.is_readable();
                *writes |= event.is_writable();
            }
            thread::yield_now();
        }
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 8);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 6);
    }
    // One that is level-triggered has another event to come as soon as it was reported.
    looper.reregister(&mut server, SERVER, BOTH.level());
    looper.until_writable(SERVER);
    for _ in 0..5 {
        looper.poll.poll(&mut looper.events, now).unwrap();
        let is_its = |event: &&Event| event.token() == SERVER;
        assert_eq!(looper.events.iter().filter(is_its).count(), 1);
    }
}

/// A packet says that the data is there, and none says that the pipe is writable.
#[test]
fn an_event_of_a_pipe_names_the_data_that_was_there_before() {
    for mode in [BOTH, BOTH.level(), BOTH.oneshot()] {
        let mut looper = Loop::new(Backend::Afd);
        let name = name();
        let mut server = NamedPipe::new(&name).unwrap();
        let mut client = blocking_client(&name);
        client.write_all(b"hello").unwrap();
        looper.register(&mut server, SERVER, mode);
        looper.assert_some_ready();
        let seen: Vec<_> = looper.events.iter().map(Seen::of).collect();
        assert_eq!(seen, [Seen::named("readable writable")], "{mode:?}");
    }
}

/// The packets of the pipe's write and of its read do not fit into the buffer together.
#[test]
fn a_small_buffer_cuts_no_event_of_a_pipe() {
    let mut looper = Loop::with_capacity(Backend::Afd, 1);
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    let mut client = blocking_client(&name);
    looper.register(&mut server, SERVER, Interest::WRITABLE);
    looper.until_writable(SERVER);
    assert_eq!(server.write(b"answer").unwrap(), 6);
    client.write_all(b"question").unwrap();
    looper.reregister(&mut server, SERVER, BOTH.oneshot());
    looper.assert_some_ready();
    let seen: Vec<_> = looper.events.iter().map(Seen::of).collect();
    assert_eq!(seen, [Seen::named("readable writable")]);
}

/// A program that connects at each event would get events without end.
#[test]
fn connecting_a_pipe_that_is_connected_reports_nothing() {
    let (mut looper, server, _client) = pair();
    server.connect().unwrap();
    looper.assert_quiet();
}

/// A read finds the end before a poll has taken the packet that says that there was a client.
#[test]
fn the_end_of_a_client_that_came_and_left_is_reported_although_it_was_read() {
    let mut looper = Loop::new(Backend::Afd);
    let (mut server, name) = listening(&looper);
    drop(client(&name));
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    looper.until_readable(SERVER);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
}

/// Another program may have created it so that this program's clients connect to it.
#[test]
fn a_pipe_that_exists_is_not_joined_unless_that_is_asked_for() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let mut first = NamedPipe::new(&name).unwrap();
    let mut options = NamedPipeOptions::default();
    for second in [NamedPipe::new(&name), options.create(&name)] {
        match second {
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
            // Wine ignores the flag. The library's unit tests check that it is passed on.
            Ok(_) => assert!(util::under_wine()),
        }
    }
    options.first_instance(false).reject_remote_clients(true);
    let mut second = options.create(&name).unwrap();
    // Each has a client of its own.
    for (pipe, token) in [(&mut first, Token(3)), (&mut second, Token(4))] {
        looper.registry().register(pipe, token, BOTH).unwrap();
        would_block(pipe.connect());
    }
    let _clients = [blocking_client(&name), blocking_client(&name)];
    let mut seen = [false; 5];
    looper.until("both", |event| {
        seen[event.token().0] |= event.is_writable();
        seen[3] && seen[4]
    });
}

#[test]
fn a_large_amount_goes_through_in_both_directions() {
    let (mut looper, server, client) = pair();
    let large: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut sent = [0, 0];
    let mut received = [Vec::new(), Vec::new()];
    let mut buffer = vec![0; 10_000];
    let deadline = Instant::now() + patience();
    while received.iter().any(|data| data.len() < large.len()) {
        assert!(Instant::now() < deadline);
        let mut progress = false;
        for (n, mut pipe) in [&server, &client].into_iter().enumerate() {
            if sent[n] < large.len() {
                match pipe.write(&large[sent[n]..]) {
                    Ok(length) => {
                        sent[n] += length;
                        progress = true;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            match pipe.read(&mut buffer) {
                Ok(length) => {
                    received[n].extend_from_slice(&buffer[..length]);
                    progress = true;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        if !progress {
            looper.assert_some_ready();
        }
    }
    assert!(received[0] == large && received[1] == large);
}

#[test]
fn vectored_io_uses_every_buffer() {
    let (mut looper, mut server, mut client) = pair();
    let parts = [
        IoSlice::new(b"one"),
        IoSlice::new(b""),
        IoSlice::new(b"two"),
    ];
    assert_eq!(client.write_vectored(&parts).unwrap(), 6);
    looper.until_readable(SERVER);
    let (mut a, mut b) = ([0; 2], [0; 8]);
    let parts = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!(server.read_vectored(parts).unwrap(), 6);
    assert_eq!((&a, &b[..4]), (b"on", &b"etwo"[..]));
}

/// It is reported as readable, and not as closed: runtimes take that as final, but another client
/// may connect.
#[test]
fn the_peers_end_is_reported_once_and_read_as_an_end() {
    let (mut looper, mut server, mut client) = pair();
    client.write_all(b"last").unwrap();
    drop(client);
    assert_eq!(read_all(&mut looper, &server, SERVER, 4), b"last");
    looper.until("the end", |event| {
        let seen = Seen::of(event);
        assert!(!seen.read_closed && !seen.write_closed && !seen.error);
        event.token() == SERVER && event.is_readable()
    });
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    looper.assert_quiet();
    let error = server.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

/// Another implementation waited for ever here.
#[test]
fn writing_to_a_pipe_that_was_disconnected_is_an_error() {
    let (_looper, mut server, _client) = pair();
    server.disconnect().unwrap();
    let error = server.write(b"x").unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
}

/// The data went out in the background, so the next call has to report the error.
#[test]
fn a_write_that_fails_in_the_background_fails_the_next_one() {
    let (mut looper, mut server, client) = pair();
    while server.write(&[1; 60_000]).is_ok() {}
    // The data goes out while there is capacity.
    loop {
        looper
            .poll
            .poll(&mut looper.events, Some(Duration::from_millis(100)))
            .unwrap();
        if looper.events.iter().all(|event| event.token() != SERVER) {
            break;
        }
        while server.write(&[1; 60_000]).is_ok() {}
    }
    would_block(server.write(b"x"));
    drop(client);
    looper.until("an error", |event| {
        assert!(!event.is_error() && !event.is_write_closed());
        event.token() == SERVER && event.is_writable()
    });
    let error = server.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

/// It is not known how much of it has gone out, so it is not sent again. Data to be read is read.
#[test]
fn a_write_that_others_cancel_is_an_error_and_is_not_sent_again() {
    let mut looper = Loop::new(Backend::Afd);
    let (mut server, name) = listening(&looper);
    let mut client = blocking_client(&name);
    looper.until_writable(SERVER);
    let pattern: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut sent = 0;
    let soon = Some(Duration::from_millis(100));
    // The last write is in flight until the peer reads.
    loop {
        match server.write(&pattern[sent..sent + 60_000]) {
            Ok(length) => sent += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                looper.poll.poll(&mut looper.events, soon).unwrap();
                if looper.events.is_empty() {
                    break;
                }
            }
        }
    }
    // SAFETY: the handle is open. The null pointer selects all operations in flight on it.
    let cancelled = unsafe { CancelIoEx(server.as_raw_handle(), std::ptr::null()) };
    assert_ne!(cancelled, 0);
    looper.until_writable(SERVER);
    let error = server.write(b"never sent").unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(ERROR_OPERATION_ABORTED as i32),
        "{error}"
    );
    client.write_all(b"still read").unwrap();
    assert_eq!(read_all(&mut looper, &server, SERVER, 10), b"still read");

    drop(server);
    let reading = thread::spawn(move || {
        let mut received = Vec::new();
        let _ = client.read_to_end(&mut received);
        received
    });
    let received = reading.join().unwrap();
    assert!(received.len() <= sent, "{} of {sent}", received.len());
    assert!(received[..] == pattern[..received.len()]);
}

/// `cargo xtask wine` has a port: after each byte that it receives, the device sends 15,000 bytes
/// without a gap, for more than a second.
#[test]
fn a_serial_port_delivers_while_its_device_goes_on_sending() {
    const WHOLE: usize = 15_000;

    let Ok(port) = std::env::var("MIO_TEST_SERIAL") else {
        println!("MIO_TEST_SERIAL names no port: not run");
        return;
    };
    let mut looper = Loop::new(Backend::Afd);
    let mut serial = client(&format!(r"\\.\{port}"));
    // A read ends when its buffer is full, or after a pause.
    let timeouts = COMMTIMEOUTS {
        ReadIntervalTimeout: 500,
        ..COMMTIMEOUTS::default()
    };
    // SAFETY: the handle is open, and the call reads the structure.
    let set = unsafe { SetCommTimeouts(serial.as_raw_handle(), &timeouts) };
    assert_ne!(set, 0, "{}", std::io::Error::last_os_error());
    looper
        .registry()
        .register(&mut serial, CLIENT, BOTH)
        .unwrap();
    looper.until_writable(CLIENT);
    assert_eq!(serial.write(b"!").unwrap(), 1);
    let mut buffer = [0; 64 * 1024];
    let mut reads = Vec::new();
    while reads.iter().sum::<usize>() < WHOLE {
        looper.until_readable(CLIENT);
        while let Ok(length) = serial.read(&mut buffer) {
            assert!(buffer[..length].iter().all(|&byte| byte == b'x'));
            reads.push(length);
        }
    }
    assert_eq!(reads.iter().sum::<usize>(), WHOLE);
    assert!(reads[0] <= WHOLE / 2, "only at the end: {reads:?}");
}

/// Otherwise it would continue to write nothing, with a packet each time.
#[test]
fn a_full_pipe_that_does_not_wait_fails_and_does_not_hold_up_a_poll() {
    let mut looper = Loop::new(Backend::Afd);
    let (mut server, name) = listening(&looper);
    let _client = blocking_client(&name);
    looper.until_writable(SERVER);
    let mode = PIPE_NOWAIT;
    // SAFETY: the call reads one number.
    let set = unsafe {
        SetNamedPipeHandleState(
            server.as_raw_handle(),
            &mode,
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    assert_ne!(set, 0);
    let deadline = Instant::now() + patience();
    let error = loop {
        assert!(Instant::now() < deadline);
        match server.write(&[1; 60_000]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let soon = Some(Duration::from_millis(10));
                looper.poll.poll(&mut looper.events, soon).unwrap();
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

/// Data that has arrived before the registration needs no operation that ends.
#[test]
fn registering_while_another_thread_polls_takes_effect() {
    let (mut looper, mut server, mut client) = pair();
    client.write_all(b"x").unwrap();
    looper.until_readable(SERVER);
    looper.registry().deregister(&mut server).unwrap();
    let registry = looper.registry().try_clone().unwrap();
    let (about_to_wait, waits) = std::sync::mpsc::channel();
    let polling = thread::spawn(move || {
        looper
            .poll
            .poll(&mut looper.events, Some(Duration::ZERO))
            .unwrap();
        about_to_wait.send(util::this_thread()).unwrap();
        looper.until_readable(Token(7));
    });
    util::until_asleep(waits.recv().unwrap());
    let start = Instant::now();
    registry
        .register(&mut server, Token(7), Interest::READABLE)
        .unwrap();
    polling.join().unwrap();
    assert!(start.elapsed() < patience() / 2, "when its wait was over");
}

/// The client connects before the server waits for one, and the server finds it by writing to it.
#[test]
fn a_server_that_never_connects_is_writable_when_a_write_is_out() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    let mut client = blocking_client(&name);
    looper.assert_quiet();
    for _ in 0..3 {
        assert_eq!(server.write(b"hello").unwrap(), 5);
        let mut greeting = [0; 5];
        client.read_exact(&mut greeting).unwrap();
        looper.until_writable(SERVER);
    }
    // From then on it reads ahead.
    client.write_all(b"answer").unwrap();
    looper.until_readable(SERVER);
    assert_eq!(read_all(&mut looper, &server, SERVER, 6), b"answer");
}

/// The same by reading the data that it has sent.
#[test]
fn a_server_that_never_connects_is_writable_when_it_has_read() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    let mut client = blocking_client(&name);
    would_block(server.read(&mut [0; 8]));
    client.write_all(b"hello").unwrap();
    let both = Seen::named("readable writable");
    looper.until_reported(SERVER, both);
    assert_eq!(read_all(&mut looper, &server, SERVER, 5), b"hello");
}

/// A pipe that is ready whenever it is registered again, a waker that is woken each time, and two
/// others with one event each.
#[test]
fn a_small_buffer_is_shared_by_those_with_and_without_packets() {
    let mut looper = Loop::with_capacity(Backend::Afd, 1);
    let (mut server, mut client) = pair_of(&mut looper);
    let now = Some(Duration::ZERO);
    while {
        looper.poll.poll(&mut looper.events, now).unwrap();
        !looper.events.is_empty()
    } {}
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let (mut stream, _peer) = util::stream_pair();
    let registry = looper.registry().try_clone().unwrap();
    registry.register(&mut stream, Token(3), BOTH).unwrap();
    registry.reregister(&mut client, CLIENT, BOTH).unwrap();
    registry.reregister(&mut server, SERVER, BOTH).unwrap();
    waker.wake().unwrap();
    let mut seen = [0; 4];
    let mut polls = 0;
    looper.until("all of them", |event| {
        polls += 1;
        assert!(polls < 100, "not all have had a turn: {seen:?}");
        seen[event.token().0] += 1;
        match event.token() {
            Token(0) => waker.wake().unwrap(),
            SERVER => registry.reregister(&mut server, SERVER, BOTH).unwrap(),
            _ => {}
        }
        seen[0] > 10 && seen[1] > 10 && seen[2] > 0 && seen[3] > 0
    });
}

/// Operations that other code starts on the same file end on the poll's port as well.
#[test]
fn operations_of_others_on_the_same_pipe_are_passed_over() {
    /// Followed by data that looks like an address.
    #[repr(C)]
    struct Theirs {
        overlapped: OVERLAPPED,
        words: [usize; 8],
    }

    // Dereferencing this address would crash.
    if !util::in_child_test("operations_of_others_on_the_same_pipe_are_passed_over") {
        return;
    }
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, Interest::WRITABLE)
        .unwrap();
    would_block(server.connect());
    let mut client = blocking_client(&name);
    looper.until_writable(SERVER);
    let duplicate = server.as_handle().try_clone_to_owned().unwrap();
    let handle = duplicate.as_raw_handle();
    let mut theirs = Theirs {
        overlapped: OVERLAPPED::default(),
        words: [8; 8],
    };
    let theirs: *mut Theirs = &mut theirs;
    let overlapped: *mut OVERLAPPED = theirs.cast();
    let mut buffer = [0; 8];
    let mut length = 0;
    for round in 0..10u8 {
        // SAFETY: the buffer and the structure are valid, and not accessed, until the operation has
        // ended.
        unsafe {
            *theirs = Theirs {
                overlapped: OVERLAPPED::default(),
                words: [8; 8],
            };
            ReadFile(handle, buffer.as_mut_ptr(), 8, &mut length, overlapped);
        }
        client.write_all(&[round; 3]).unwrap();
        // SAFETY: as above; the call waits for the operation.
        let ended = unsafe { GetOverlappedResult(handle, overlapped, &mut length, 1) };
        assert_ne!(ended, 0);
        assert_eq!(buffer[..length as usize], [round; 3]);
        looper.assert_quiet();

        // SAFETY: as above.
        unsafe {
            WriteFile(handle, buffer.as_ptr(), 3, &mut length, overlapped);
        }
        let mut received = [0; 3];
        client.read_exact(&mut received).unwrap();
        assert_eq!(received, [round; 3]);
        looper.assert_quiet();

        // The pipe's own packets are told apart from them.
        assert_eq!(server.write(b"ours").unwrap(), 4);
        let mut received = [0; 4];
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"ours");
        looper.until_writable(SERVER);
    }
}

/// The next client does not get data of the previous one, whether or not it was read ahead.
#[test]
fn a_disconnected_pipe_starts_clean() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let mut server = NamedPipe::new(&name).unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    for round in 0..30u8 {
        match server.connect() {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let mut client = blocking_client(&name);
        looper.until_writable(SERVER);
        server.connect().unwrap();
        client.write_all(&[round; 10]).unwrap();
        match round % 3 {
            // Read ahead, in part or in whole, or not yet.
            0 => {
                looper.until_readable(SERVER);
                assert_eq!(server.read(&mut [0; 4]).unwrap(), 4);
            }
            1 => looper.until_readable(SERVER),
            _ => {}
        }
        if round % 2 == 0 {
            server.write_all(b"not read").unwrap();
        }
        server.disconnect().unwrap();
        would_block_or_fail(server.read(&mut [0; 16]));
        drop(client);

        would_block(server.connect());
        let mut next = blocking_client(&name);
        next.write_all(b"next").unwrap();
        assert_eq!(read_all(&mut looper, &server, SERVER, 4), b"next");
        server.connect().unwrap();
        let deadline = Instant::now() + patience();
        while let Err(error) = server.write(b"hello") {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(Instant::now() < deadline);
            looper
                .poll
                .poll(&mut looper.events, Some(Duration::from_millis(100)))
                .unwrap();
        }
        let mut answer = [0; 5];
        next.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        server.disconnect().unwrap();
    }
}

#[track_caller]
fn would_block_or_fail(result: std::io::Result<usize>) {
    assert!(result.is_err(), "{result:?}");
}

#[test]
fn a_message_is_a_read_and_a_long_one_is_several() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    // SAFETY: the name ends with a zero, and there are no attributes.
    let handle = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE,
            1,
            1 << 20,
            1 << 20,
            0,
            std::ptr::null(),
        )
    };
    assert_ne!(handle, INVALID_HANDLE_VALUE);
    // SAFETY: the handle is new, so nothing else owns it.
    let mut server = NamedPipe::from(unsafe { OwnedHandle::from_raw_handle(handle) });
    let mut client = client(&name);
    let mode = PIPE_READMODE_MESSAGE;
    // SAFETY: the call reads one number.
    let set = unsafe {
        SetNamedPipeHandleState(
            client.as_raw_handle(),
            &mode,
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    assert_ne!(set, 0);
    for (pipe, token) in [(&mut server, SERVER), (&mut client, CLIENT)] {
        looper.registry().register(pipe, token, BOTH).unwrap();
    }
    server.connect().unwrap();

    let mut send = |looper: &mut Loop, message: &[u8]| {
        let deadline = Instant::now() + patience();
        loop {
            match client.write(message) {
                Ok(length) => return assert_eq!(length, message.len()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline);
            looper.assert_some_ready();
        }
    };
    send(&mut looper, b"one");
    send(&mut looper, b"three");
    let mut buffer = [0; 100];
    for message in [&b"one"[..], b"three"] {
        let length = loop {
            match server.read(&mut buffer) {
                Ok(length) => break length,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            looper.until_readable(SERVER);
        };
        assert_eq!(&buffer[..length], message);
    }
    // Longer than the buffer of a read, and longer than the data that is read ahead.
    for length in [1000, 200_000] {
        let long: Vec<u8> = (0..length).map(|n| (n % 253) as u8).collect();
        send(&mut looper, &long);
        assert_eq!(read_all(&mut looper, &server, SERVER, length), long);
        send(&mut looper, b"end");
        assert_eq!(read_all(&mut looper, &server, SERVER, 3), b"end");
    }
}

/// The end may query neither the type of its pipe nor whether a client has connected.
#[test]
fn a_server_that_only_writes_sends_whole_messages_to_clients_that_are_there() {
    let mut looper = Loop::new(Backend::Afd);
    let name = name();
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    // SAFETY: the name ends with a zero, and there are no attributes.
    let handle = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            PIPE_ACCESS_OUTBOUND | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_MESSAGE,
            1,
            1 << 20,
            1 << 20,
            0,
            std::ptr::null(),
        )
    };
    assert_ne!(handle, INVALID_HANDLE_VALUE);
    // SAFETY: the handle is new, so nothing else owns it.
    let mut server = NamedPipe::from(unsafe { OwnedHandle::from_raw_handle(handle) });
    looper
        .registry()
        .register(&mut server, SERVER, Interest::WRITABLE)
        .unwrap();
    looper.assert_quiet();
    would_block(server.connect());
    looper.assert_quiet();

    let mut client = OpenOptions::new()
        .access_mode(GENERIC_READ | FILE_WRITE_ATTRIBUTES)
        .open(name)
        .unwrap();
    let mode = PIPE_READMODE_MESSAGE;
    // SAFETY: the call reads one number.
    let set = unsafe {
        SetNamedPipeHandleState(
            client.as_raw_handle(),
            &mode,
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    assert_ne!(set, 0);
    let mut buffer = vec![0; 1 << 20];
    looper.until_writable(SERVER);
    for length in [3, 200_000, 0, 5] {
        assert_eq!(server.write(&vec![7; length]).unwrap(), length);
        // The data has gone out.
        looper.until_writable(SERVER);
        assert_eq!(client.read(&mut buffer).unwrap(), length);
    }
}

/// A client that only writes has a server, whether or not it may query the pipe.
#[test]
fn a_client_that_only_writes_is_writable() {
    let mut looper = Loop::new(Backend::Afd);
    let (mut server, name) = listening(&looper);
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        .open(name)
        .unwrap();
    let mut client = NamedPipe::from(OwnedHandle::from(file));
    looper
        .registry()
        .register(&mut client, CLIENT, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(CLIENT);
    server.connect().unwrap();
    assert_eq!(client.write(b"hello").unwrap(), 5);
    assert_eq!(read_all(&mut looper, &server, SERVER, 5), b"hello");
    looper.registry().deregister(&mut server).unwrap();
    // It may not read, which is an error, and is reported.
    looper
        .registry()
        .reregister(&mut client, CLIENT, Interest::READABLE)
        .unwrap();
    looper.until("an error", |event| {
        event.token() == CLIENT && event.is_readable()
    });
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn nothing_comes_of_a_pipe_that_was_deregistered() {
    let (mut looper, mut server, mut client) = pair();
    // A read is in flight, and its packet arrives after that.
    looper.registry().deregister(&mut server).unwrap();
    client.write_all(b"unseen").unwrap();
    let soon = Instant::now() + util::A_WHILE;
    looper
        .poll
        .poll_until(&mut looper.events, Some(soon))
        .unwrap();
    assert!(looper.events.iter().all(|event| event.token() == CLIENT));
    let error = looper.registry().deregister(&mut server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = looper
        .registry()
        .reregister(&mut server, SERVER, BOTH)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Data that has arrived meanwhile is reported to the next registration.
    looper
        .registry()
        .register(&mut server, Token(3), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(3));
    assert_eq!(read_all(&mut looper, &server, Token(3), 6), b"unseen");
}

#[test]
fn reregistering_reports_anew_and_only_what_is_asked_for() {
    let (mut looper, mut server, mut client) = pair();
    client.write_all(b"x").unwrap();
    looper.until_readable(SERVER);
    for _ in 0..3 {
        looper
            .registry()
            .reregister(&mut server, Token(5), Interest::READABLE)
            .unwrap();
        looper.until("readable alone", |event| {
            let is_it = event.token() == Token(5);
            assert!(!is_it || !event.is_writable());
            is_it && event.is_readable()
        });
        looper
            .registry()
            .reregister(&mut server, SERVER, Interest::WRITABLE)
            .unwrap();
        looper.until("writable alone", |event| {
            let is_it = event.token() == SERVER;
            assert!(!is_it || !event.is_readable());
            is_it && event.is_writable()
        });
    }
}

#[test]
fn a_pipe_stays_with_its_poll() {
    let (mut looper, mut server, _client) = pair();
    let error = looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let other = Loop::new(Backend::Afd);
    let error = other
        .registry()
        .reregister(&mut server, SERVER, BOTH)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = other.registry().deregister(&mut server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    looper.registry().deregister(&mut server).unwrap();
    let error = other
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    looper.until_writable(SERVER);
}

#[test]
fn a_handle_that_is_not_overlapped_is_refused() {
    let looper = Loop::new(Backend::Afd);
    let name = name();
    let _server = NamedPipe::new(&name).unwrap();
    let file = blocking_client(&name);
    let mut pipe = NamedPipe::from(OwnedHandle::from(file));
    assert!(looper.registry().register(&mut pipe, CLIENT, BOTH).is_err());
}

/// More than the kernel takes while the peer does not read, so that it is in flight when the pipe
/// is dropped.
#[test]
fn dropping_a_pipe_loses_nothing_that_was_written() {
    let mut looper = Loop::new(Backend::Afd);
    let (mut server, name) = listening(&looper);
    let mut client = blocking_client(&name);
    looper.until_writable(SERVER);
    let mut written = 0;
    // The last write is in flight for ever.
    loop {
        match server.write(&vec![7; 60_000]) {
            Ok(length) => written += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                let soon = Some(Duration::from_millis(100));
                looper.poll.poll(&mut looper.events, soon).unwrap();
                if looper.events.is_empty() {
                    break;
                }
            }
        }
    }
    drop(server);
    let waker = Arc::new(Waker::new(looper.registry(), Token(0)).unwrap());
    let reading = thread::spawn({
        let waker = Arc::clone(&waker);
        move || {
            let mut all = Vec::new();
            let _ = client.read_to_end(&mut all);
            waker.wake().unwrap();
            all
        }
    });
    // A poll has to take its packet.
    looper.until_readable(Token(0));
    let all = reading.join().unwrap();
    assert_eq!(all.len(), written);
    assert!(all.iter().all(|&byte| byte == 7));
}

/// The written data goes out, and then the client reads the end, in whatever order the poll and the
/// pipe are dropped.
#[test]
fn a_pipe_is_closed_although_its_poll_was_dropped_before() {
    for (length, is_written_first, is_poll_first) in [
        (5, false, true),
        (5, true, true),
        (300_000, false, true),
        (300_000, true, false),
        (300_000, true, true),
    ] {
        let mut looper = Loop::new(Backend::Afd);
        let name = name();
        let mut server = NamedPipe::new(&name).unwrap();
        looper
            .registry()
            .register(&mut server, SERVER, Interest::WRITABLE)
            .unwrap();
        would_block(server.connect());
        let mut client = blocking_client(&name);
        looper.until_writable(SERVER);
        let mut written = 0;
        // The last write may be in flight until the peer reads.
        let mut write = |server: &mut NamedPipe, looper: Option<&mut Loop>| {
            let mut looper = looper;
            let mut tries = 0;
            while written < length && tries < 10 {
                match server.write(&[7; 60_000][..(length - written).min(60_000)]) {
                    Ok(length) => {
                        written += length;
                        tries = 0;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                tries += 1;
                match &mut looper {
                    Some(looper) => {
                        let soon = Some(Duration::from_millis(5));
                        looper.poll.poll(&mut looper.events, soon).unwrap();
                    }
                    None => thread::yield_now(),
                }
            }
        };
        let mut looper = Some(looper);
        if is_written_first {
            write(&mut server, looper.as_mut());
        }
        if is_poll_first {
            drop(looper.take());
        }
        if !is_written_first {
            write(&mut server, None);
        }
        drop(server);
        drop(looper);
        let (ended, end) = std::sync::mpsc::channel();
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            let _ = client.read_to_end(&mut all);
            ended.send(all.len()).unwrap();
        });
        assert_eq!(end.recv_timeout(patience()), Ok(written));
        reading.join().unwrap();
    }
}

#[test]
fn a_pipe_goes_on_when_its_poll_is_gone() {
    let (looper, mut server, mut client) = pair();
    drop(looper);
    client.write_all(b"still there").unwrap();
    let deadline = Instant::now() + patience();
    let mut all = Vec::new();
    while all.len() < 11 {
        assert!(Instant::now() < deadline);
        let mut buffer = [0; 4];
        match server.read(&mut buffer) {
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(all, b"still there");
    drop(client);
    loop {
        match server.read(&mut [0; 4]) {
            Ok(length) => break assert_eq!(length, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < deadline);
    }
    let mut next = Loop::new(Backend::Afd);
    let error = next
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    next.assert_quiet();
}

/// Threads use and drop pipes, with operations in flight, while another thread takes their packets.
#[test]
fn pipes_are_dropped_while_another_thread_polls() {
    let polling = util::Polling::begin(Loop::new(Backend::Afd));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let registry = polling.registry();
            thread::spawn(move || {
                for round in 0..1000 {
                    let name = name();
                    let mut server = NamedPipe::new(&name).unwrap();
                    registry.register(&mut server, SERVER, BOTH).unwrap();
                    let _ = server.connect();
                    let mut client = client(&name);
                    registry.register(&mut client, CLIENT, BOTH).unwrap();
                    let _ = client.write(&[1; 3000]);
                    let _ = server.read(&mut [0; 100]);
                    let _ = server.write(b"answer");
                    match round % 4 {
                        0 => drop(client),
                        1 => {
                            let _ = server.disconnect();
                            let _ = server.connect();
                        }
                        2 => registry.deregister(&mut server).unwrap(),
                        _ => drop(server),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    polling.end().assert_quiet();
}

#[test]
fn no_handle_is_left_whatever_is_dropped_first() {
    util::without_leaking("no_handle_is_left_whatever_is_dropped_first", || {
        for order in 0..4 {
            let mut looper = Loop::new(Backend::Afd);
            let (mut server, mut client) = pair_of(&mut looper);
            let _ = server.write(b"x");
            let _ = client.write(b"y");
            match order {
                0 => {
                    drop(looper);
                    drop((server, client));
                }
                1 => {
                    drop((server, client));
                    drop(looper);
                }
                2 => {
                    drop(server);
                    drop(looper);
                    drop(client);
                }
                _ => {
                    // The poll does not know what follows data that was not read.
                    assert_eq!(read_all(&mut looper, &server, SERVER, 1), b"y");
                    drop(client);
                    looper.until_readable(SERVER);
                    drop((looper, server));
                }
            }
        }
    });
}

#[test]
fn handles_go_in_and_come_out() {
    let name = name();
    let server = NamedPipe::new(&name).unwrap();
    assert_eq!(server.as_handle().as_raw_handle(), server.as_raw_handle());
    assert!(format!("{server:?}").contains("NamedPipe"));
    let error = NamedPipe::new("no pipe's name").unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
}
