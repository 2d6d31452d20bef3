//! A poll whose own descriptors were closed by other code, like a daemon that closes all open
//! descriptors.
#![cfg(all(unix, feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::{ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Backend, Interest, IoSource, Token, Waker};
use util::{borrow, in_child, this_thread, until_asleep, Loop};

on_each_backend![
    polling_with_closed_descriptors_is_ebadf,
    sockets_that_reuse_the_polls_descriptors_are_not_read,
    registering_fails_if_the_polling_thread_cannot_be_interrupted,
];

/// Long, so that a poll that waits for it is noticed.
const LONG: Option<Duration> = Some(Duration::from_secs(10));

fn open_descriptors() -> Vec<RawFd> {
    // SAFETY: `fcntl` with F_GETFD has no memory-safety preconditions.
    let is_open = |&fd: &RawFd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
    (0..1024).filter(is_open).collect()
}

/// A poll and its waker, whose descriptors are closed. They must not be dropped.
fn without_descriptors(backend: Backend) -> (&'static mut Loop, &'static mut Waker, Vec<RawFd>) {
    let before = open_descriptors();
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(9)).unwrap();
    waker.wake().unwrap();
    looper.until_readable(Token(9));
    let mut own = open_descriptors();
    own.retain(|fd| !before.contains(fd));
    assert!(!own.is_empty());
    for &fd in &own {
        // A model's queue has several descriptors, which it may close together.
        // SAFETY: `close` has no memory-safety preconditions. The owner of the descriptor is never used or
        // dropped again as if it were open.
        unsafe { libc::close(fd) };
    }
    assert_eq!(open_descriptors(), before);
    (util::kept(looper), util::kept(waker), own)
}

/// It does not wait, and the next poll returns the same error.
fn assert_closed(looper: &mut Loop) {
    for timeout in [LONG, Some(Duration::ZERO), LONG] {
        let start = Instant::now();
        let error = looper.poll.poll(&mut looper.events, timeout).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(looper.events.is_empty());
    }
}

fn polling_with_closed_descriptors_is_ebadf(backend: Backend) {
    if !in_child(backend, "polling_with_closed_descriptors_is_ebadf") {
        return;
    }
    let (looper, _waker, _) = without_descriptors(backend);
    assert_closed(looper);
}

/// A socket has reused the descriptor. The poll knows nothing of that socket.
fn sockets_that_reuse_the_polls_descriptors_are_not_read(backend: Backend) {
    if !in_child(
        backend,
        "sockets_that_reuse_the_polls_descriptors_are_not_read",
    ) {
        return;
    }
    let (looper, _waker, own) = without_descriptors(backend);
    let mut pairs: Vec<(UnixStream, UnixStream)> = Vec::new();
    while !own.iter().all(|fd| open_descriptors().contains(fd)) {
        pairs.push(UnixStream::pair().unwrap());
    }
    for (one, other) in &mut pairs {
        one.write_all(b"to the other").unwrap();
        other.write_all(b"to the one").unwrap();
    }
    assert!(pairs.iter().any(|(one, _)| own.contains(&one.as_raw_fd())));
    let Loop { poll, events, .. } = looper;
    let error = poll.poll(events, LONG).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
    for (one, other) in &mut pairs {
        let expect = |stream: &mut UnixStream, what: &[u8]| {
            stream.set_nonblocking(true).unwrap();
            let mut all = vec![0; what.len()];
            stream.read_exact(&mut all).unwrap();
            assert_eq!(all, what);
            let more = stream.read(&mut [0]).unwrap_err();
            assert_eq!(more.kind(), ErrorKind::WouldBlock);
        };
        expect(one, b"to the one");
        expect(other, b"to the other");
    }
}

/// It fails as if no thread waited and the kernel were called. Otherwise an event would be lost.
fn registering_fails_if_the_polling_thread_cannot_be_interrupted(backend: Backend) {
    let name = "registering_fails_if_the_polling_thread_cannot_be_interrupted";
    if !in_child(backend, name) {
        return;
    }
    let before = open_descriptors();
    let mut looper = ManuallyDrop::new(Loop::new(backend));
    let mut own = open_descriptors();
    own.retain(|fd| !before.contains(fd));
    let registry = ManuallyDrop::new(looper.registry().try_clone().unwrap());
    let (raw, source) = UnixStream::pair().unwrap();
    let mut source = IoSource::new(source);
    let (tell, told) = mpsc::channel();
    // It waits until this process ends.
    thread::spawn(move || {
        tell.send(this_thread()).unwrap();
        let Loop { poll, events, .. } = &mut *looper;
        let _ = poll.poll(events, None);
    });
    until_asleep(told.recv().unwrap());
    // Kept open as other descriptors: otherwise the end of a pipe would wake the polling thread.
    // SAFETY: the descriptors are open.
    let duplicate = |&fd: &RawFd| unsafe { borrow(fd) }.try_clone_to_owned().unwrap();
    let _duplicates: Vec<OwnedFd> = own.iter().map(duplicate).collect();
    for fd in own {
        // SAFETY: `close` has no memory-safety preconditions. The owner of the descriptor is never
        // used or dropped again as if it were open.
        unsafe { libc::close(fd) };
    }
    for _ in 0..2 {
        let fd = raw.as_raw_fd();
        let by_number = registry.register(&mut SourceFd(&fd), Token(1), Interest::READABLE);
        let by_source = registry.register(&mut source, Token(2), Interest::READABLE);
        for registered in [by_number, by_source] {
            let error = registered.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        }
    }
}
