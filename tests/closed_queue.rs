//! The errors of registering, waking and polling after the program has closed the poll's own
//! descriptor, like a daemon that closes all open descriptors. (`own_descriptors.rs` tests that
//! nothing is read.)
//!
//! For backends whose descriptor is the queue. poll(2)'s descriptor only interrupts a wait, and the
//! kernel does not store its registrations.
#![cfg(all(unix, feature = "os-poll", feature = "net"))]

mod util;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Backend, Interest, Token, Waker};
use util::{any_port, in_child, Differences, Loop};

on_each_backend![
    a_closed_queue_is_ebadf,
    a_queue_whose_descriptor_was_reused_is_ebadf,
    a_queue_is_ebadf_when_all_descriptors_were_closed,
    io_on_a_source_of_a_closed_queue_works,
];

const T: Token = Token(1);

fn has_a_queue(backend: Backend) -> bool {
    backend != Backend::Poll
}

/// Whether a waker has no descriptor of its own. (On kqueue this requires user events, and so does
/// registering a pipe without receivers.)
fn wakes_by_the_queue(backend: Backend) -> bool {
    !backend.wakes_by_descriptor() && backend.takes_a_pipe_without_receivers()
}

/// A poll with a waker and two sockets, one of which is registered. The descriptor of one of them
/// is closed behind its owner, so none of them may be dropped.
struct Queue {
    looper: Loop,
    waker: Waker,
    registered: UdpSocket,
    other: UdpSocket,
}

impl Queue {
    fn new(backend: Backend) -> &'static mut Queue {
        let looper = Loop::new(backend);
        let waker = Waker::new(looper.registry(), Token(9)).unwrap();
        let [mut registered, other] = [(); 2].map(|()| UdpSocket::bind(any_port()).unwrap());
        looper
            .registry()
            .register(&mut registered, T, Interest::READABLE)
            .unwrap();
        util::kept(Queue {
            looper,
            waker,
            registered,
            other,
        })
    }

    fn raw_fd(&self) -> RawFd {
        self.looper.poll.as_raw_fd()
    }

    /// Checks that polls neither wait nor spin.
    fn assert_polls_fail(&mut self) {
        for timeout in [
            None,
            Some(Duration::ZERO),
            Some(Duration::from_micros(1)),
            None,
        ] {
            let start = Instant::now();
            let Loop { poll, events, .. } = &mut self.looper;
            let error = poll.poll(events, timeout).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
            assert!(events.is_empty());
            assert!(start.elapsed() < util::patience());
        }
    }

    fn assert_registering_fails(&mut self) {
        let registry = self.looper.registry().try_clone().unwrap();
        for _ in 0..2 {
            assert_ebadf(registry.register(&mut self.other, Token(2), Interest::READABLE));
            assert_ebadf(registry.reregister(&mut self.registered, T, Interest::WRITABLE));
        }
        assert_ebadf(registry.deregister(&mut self.registered));
    }
}

#[track_caller]
fn assert_ebadf(outcome: io::Result<()>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
}

fn close(fd: RawFd) {
    // SAFETY: `close` has no memory-safety preconditions. The queue that owned the descriptor is not
    // dropped, and the test only uses it to see which errors it returns.
    unsafe { libc::close(fd) };
}

fn a_closed_queue_is_ebadf(backend: Backend) {
    if !has_a_queue(backend) || !in_child(backend, "a_closed_queue_is_ebadf") {
        return;
    }
    let queue = Queue::new(backend);
    close(queue.raw_fd());
    queue.assert_polls_fail();
    queue.assert_registering_fails();
    if wakes_by_the_queue(backend) {
        for _ in 0..3 {
            assert_ebadf(queue.waker.wake());
        }
    }
    queue.assert_polls_fail();
}

fn a_queue_whose_descriptor_was_reused_is_ebadf(backend: Backend) {
    let test = "a_queue_whose_descriptor_was_reused_is_ebadf";
    if !has_a_queue(backend) || !in_child(backend, test) {
        return;
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    let socket = UdpSocket::bind(any_port()).unwrap();
    for object in [file.as_raw_fd(), socket.as_raw_fd()] {
        let queue = Queue::new(backend);
        // SAFETY: as above, for `dup2`.
        let fd = unsafe { libc::dup2(object, queue.raw_fd()) };
        assert_eq!(fd, queue.raw_fd());
        queue.assert_polls_fail();
        match backend {
            // Here the kernel has its own error.
            Backend::Epoll => {
                let registry = queue.looper.registry().try_clone().unwrap();
                let outcome = registry.register(&mut queue.other, Token(2), Interest::READABLE);
                assert!(outcome.is_err());
            }
            _ => queue.assert_registering_fails(),
        }
        if wakes_by_the_queue(backend) {
            assert_ebadf(queue.waker.wake());
        }
        queue.assert_polls_fail();
    }
}

fn a_queue_is_ebadf_when_all_descriptors_were_closed(backend: Backend) {
    let test = "a_queue_is_ebadf_when_all_descriptors_were_closed";
    if !has_a_queue(backend) || !in_child(backend, test) {
        return;
    }
    let queue = Queue::new(backend);
    (3..256).for_each(close);
    queue.assert_polls_fail();
    for _ in 0..3 {
        assert_ebadf(queue.waker.wake());
    }
    queue.assert_registering_fails();
    queue.assert_polls_fail();
}

/// It would have blocked, and the queue cannot report when it would not block any more.
fn io_on_a_source_of_a_closed_queue_works(backend: Backend) {
    let test = "io_on_a_source_of_a_closed_queue_works";
    if !has_a_queue(backend) || !in_child(backend, test) {
        return;
    }
    let queue = Queue::new(backend);
    let address = queue.registered.local_addr().unwrap();
    queue.other.send_to(b"x", address).unwrap();
    queue.looper.until_readable(T);
    close(queue.raw_fd());
    queue.registered.recv(&mut [0; 9]).unwrap();
    for _ in 0..3 {
        let error = queue.registered.recv(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        queue.assert_polls_fail();
    }
}
