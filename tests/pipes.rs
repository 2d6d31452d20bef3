//! Unix pipes, and those of child processes.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", unix))]

mod util;

use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};

use mio::unix::pipe::{self, Receiver, Sender};
use mio::{Backend, Interest, Token};
use util::{Differences, Loop};

on_each_backend![
    bytes_go_through,
    a_full_pipe_is_writable_again_when_drained,
    pipes_of_a_child_process,
    a_sender_without_receivers_stays_registered_when_it_is_registered_again,
];

const SENDER: Token = Token(1);
const RECEIVER: Token = Token(2);

fn bytes_go_through(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, RECEIVER, Interest::READABLE)
        .unwrap();
    let mut buffer = [0; 16];
    for _ in 0..3 {
        let error = receiver.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        sender.write_all(b"plain").unwrap();
        sender.flush().unwrap();
        looper.until_readable(RECEIVER);
        assert_eq!(receiver.read(&mut buffer).unwrap(), 5);
    }

    let parts = [IoSlice::new(b"vec"), IoSlice::new(b"tored")];
    assert_eq!(sender.write_vectored(&parts).unwrap(), 8);
    let (mut a, mut b) = ([0; 4], [0; 16]);
    let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!(receiver.read_vectored(&mut parts).unwrap(), 8);
    assert_eq!((&a, &b[..4]), (b"vect", &b"ored"[..]));

    (&sender).write_all(b"shared").unwrap();
    assert_eq!((&receiver).read(&mut buffer).unwrap(), 6);
    let read = receiver.try_io(|| (&receiver).read(&mut buffer));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    let wrote = sender.try_io_with(Interest::WRITABLE, || (&sender).write(b"x"));
    assert_eq!(wrote.unwrap(), 1);
}

fn a_full_pipe_is_writable_again_when_drained(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut sender, SENDER, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(SENDER);
    let mut sent = 0;
    let error = loop {
        match sender.write(&[1; 10_000]) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    looper.assert_quiet();
    let mut received = Vec::new();
    let error = receiver.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(received.len(), sent);
    looper.until_writable(SENDER);
}

/// On a queue that takes the second one in place of the first.
fn a_sender_without_receivers_stays_registered_when_it_is_registered_again(backend: Backend) {
    if !backend.register_replaces() || !backend.takes_a_pipe_without_receivers() {
        return;
    }
    let mut looper = Loop::new(backend);
    let (mut sender, receiver) = pipe::new().unwrap();
    drop(receiver);
    looper.register(&mut sender, RECEIVER, Interest::WRITABLE);
    looper.register(&mut sender, SENDER, Interest::WRITABLE);
    looper.until("its end", |event| {
        event.token() == SENDER && event.is_write_closed()
    });
}

fn pipes_of_a_child_process(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut child = Command::new("sh")
        .args(["-c", "cat; echo done >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = Sender::from(child.stdin.take().unwrap());
    let mut stdout = Receiver::from(child.stdout.take().unwrap());
    let mut stderr = Receiver::from(child.stderr.take().unwrap());
    stdin.set_nonblocking(true).unwrap();
    stdout.set_nonblocking(true).unwrap();
    stderr.set_nonblocking(true).unwrap();
    let registry = looper.registry();
    registry
        .register(&mut stdin, Token(0), Interest::WRITABLE)
        .unwrap();
    registry
        .register(&mut stdout, Token(1), Interest::READABLE)
        .unwrap();
    registry
        .register(&mut stderr, Token(2), Interest::READABLE)
        .unwrap();

    looper.until_writable(Token(0));
    stdin.write_all(b"through a cat").unwrap();
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut open = 2;
    while open > 0 {
        let mut ended = 0;
        looper.until("output", |event| {
            let end = match event.token() {
                Token(1) => stdout.read_to_end(&mut out),
                Token(2) => stderr.read_to_end(&mut err),
                _ => return false,
            };
            match end {
                Ok(_) if event.is_read_closed() => ended += 1,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            true
        });
        open -= ended;
    }
    assert_eq!(out, b"through a cat");
    assert_eq!(err, b"done\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_end_can_be_made_blocking() {
    let (mut sender, mut receiver) = pipe::new().unwrap();
    receiver.set_nonblocking(false).unwrap();
    let reading = std::thread::spawn(move || {
        let mut buffer = [0; 8];
        let length = receiver.read(&mut buffer).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let error = receiver.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        length
    });
    sender.write_all(b"x").unwrap();
    assert_eq!(reading.join().unwrap(), 1);
    sender.set_nonblocking(false).unwrap();
    sender.set_nonblocking(true).unwrap();
}

#[test]
fn set_nonblocking_sets_and_clears_the_mode_of_its_end_alone() {
    let mode = |end: RawFd| {
        // SAFETY: F_GETFL has no memory-safety preconditions.
        let flags = unsafe { libc::fcntl(end, libc::F_GETFL) };
        assert_ne!(flags, -1, "{}", Error::last_os_error());
        flags & libc::O_NONBLOCK != 0
    };
    let (sender, receiver) = pipe::new().unwrap();
    for nonblocking in [true, false, false, true] {
        sender.set_nonblocking(nonblocking).unwrap();
        assert_eq!(mode(sender.as_raw_fd()), nonblocking);
        assert!(mode(receiver.as_raw_fd()));
    }
    receiver.set_nonblocking(false).unwrap();
    assert!(!mode(receiver.as_raw_fd()));
    assert!(mode(sender.as_raw_fd()));
}

#[test]
fn descriptors_go_in_and_come_out() {
    let (sender, receiver) = pipe::new().unwrap();
    let number = sender.as_raw_fd();
    assert_eq!(sender.as_fd().as_raw_fd(), number);
    let sender = Sender::from(OwnedFd::from(sender));
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let mut sender = unsafe { Sender::from_raw_fd(sender.into_raw_fd()) };
    assert_eq!(sender.as_raw_fd(), number);
    let number = receiver.as_raw_fd();
    let receiver = Receiver::from(OwnedFd::from(receiver));
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let mut receiver = unsafe { Receiver::from_raw_fd(receiver.into_raw_fd()) };
    assert_eq!(receiver.as_fd().as_raw_fd(), number);
    sender.write_all(b"still the same").unwrap();
    assert_eq!(receiver.read(&mut [0; 32]).unwrap(), 14);
    let printed = format!("{sender:?} {receiver:?}");
    assert!(printed.contains(&number.to_string()), "{printed}");
}
