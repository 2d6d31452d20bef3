//! The effects of a kernel's limits.
#![cfg(all(feature = "os-poll", feature = "net", mio_model = "event-ports"))]

mod util;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Once};
use std::thread;

use mio::net::UnixStream;
use mio::{Backend, Interest, Token, Waker};
use util::Loop;

/// A port with capacity for two events, and how many events a poll reports. (The model reads the
/// variable when it opens a port, and all ports of this process are alike.)
fn small_port(capacity: usize) -> Loop {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::env::set_var("EVENT_PORTS_MODEL_MAX_EVENTS", "2"));
    Loop::with_capacity(Backend::EventPorts, capacity)
}

/// Otherwise a program would wait for readiness for ever.
#[test]
fn exceeding_the_ports_capacity_is_not_would_block() {
    let mut looper = small_port(64);
    let (mut first, mut second) = UnixStream::pair().unwrap();
    let (mut third, _peer) = UnixStream::pair().unwrap();
    let register = |looper: &Loop, stream: &mut UnixStream, token| {
        let interest = Interest::WRITABLE;
        looper.registry().register(stream, Token(token), interest)
    };
    register(&looper, &mut first, 1).unwrap();
    register(&looper, &mut second, 2).unwrap();
    let error = register(&looper, &mut third, 3).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));

    // The failure has changed nothing, and there is capacity after another source was deregistered.
    looper.until_writable(Token(1));
    looper.registry().deregister(&mut first).unwrap();
    register(&looper, &mut third, 4).unwrap();
    looper.until_writable(Token(4));
}

/// A port without any capacity left: two idle sources take all of it.
struct FullPort {
    looper: Loop,
    one: UnixStream,
    peers: [UnixStream; 2],
    other: UnixStream,
}

const ONE: Token = Token(100);

impl FullPort {
    fn new(capacity: usize) -> FullPort {
        let looper = small_port(capacity);
        let (mut one, peer_of_one) = UnixStream::pair().unwrap();
        let (mut other, peer_of_other) = UnixStream::pair().unwrap();
        let register = |stream: &mut UnixStream, token| {
            let interest = Interest::READABLE;
            looper.registry().register(stream, token, interest)
        };
        register(&mut one, ONE).unwrap();
        register(&mut other, Token(101)).unwrap();
        let port = looper.poll.as_raw_fd();
        let sent = event_ports_model::port_send(port, 1, std::ptr::null_mut());
        let error = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((sent, error), (-1, Some(libc::EAGAIN)), "it is full");
        FullPort {
            looper,
            one,
            peers: [peer_of_one, peer_of_other],
            other,
        }
    }

    fn waker(&self, token: Token) -> Waker {
        Waker::new(self.looper.registry(), token).unwrap()
    }
}

#[test]
fn a_wake_ends_a_wait_on_a_full_queue() {
    let mut port = FullPort::new(64);
    let waker = port.waker(Token(1));
    for _ in 0..3 {
        let (about_to_wait, waits) = mpsc::channel();
        let polling = thread::spawn(move || {
            about_to_wait.send(util::this_thread()).unwrap();
            port.looper.until_readable(Token(1));
            port
        });
        util::until_asleep(waits.recv().unwrap());
        waker.wake().unwrap();
        port = polling.join().unwrap();
        port.looper.assert_quiet();
    }
}

/// Otherwise the other thread is not interrupted, and never arms the source.
#[test]
fn a_wait_on_a_full_queue_is_interrupted() {
    let mut port = FullPort::new(64);
    for _ in 0..3 {
        port.peers[0].write_all(b"x").unwrap();
        port.looper.until_readable(ONE);
        let FullPort {
            looper, one, peers, ..
        } = &mut port;
        thread::scope(|scope| {
            let (about_to_wait, waits) = mpsc::channel();
            scope.spawn(move || {
                about_to_wait.send(util::this_thread()).unwrap();
                looper.until_readable(ONE);
            });
            util::until_asleep(waits.recv().unwrap());
            let failed = one.try_io(|| {
                (&*one).read_exact(&mut [0; 1])?;
                Err::<(), _>(ErrorKind::Other.into())
            });
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Other);
            peers[0].write_all(b"y").unwrap();
        });
        while port.one.read(&mut [0; 9]).is_ok() {}
        port.looper.assert_nothing_ready();
    }
}

/// A port in alert mode returns nothing else.
#[test]
fn a_wake_of_a_full_queue_hides_no_event() {
    let mut port = FullPort::new(64);
    let waker = port.waker(Token(1));
    for _ in 0..3 {
        port.peers[0].write_all(b"x").unwrap();
        port.peers[1].write_all(b"x").unwrap();
        waker.wake().unwrap();
        port.looper.assert_some_ready();
        let mut tokens: Vec<_> = port
            .looper
            .events
            .iter()
            .map(|event| event.token())
            .collect();
        tokens.sort();
        assert_eq!(tokens, [Token(1), ONE, Token(101)], "by one poll");
        while port.one.read(&mut [0; 9]).is_ok() {}
        while port.other.read(&mut [0; 9]).is_ok() {}
        port.looper.assert_nothing_ready();
    }
}

/// Its remaining event in the port takes the only slot of the buffer.
#[test]
fn a_dropped_wakers_wake_hides_no_source() {
    let mut looper = small_port(1);
    let (mut one, mut other) = UnixStream::pair().unwrap();
    looper
        .registry()
        .register(&mut one, ONE, Interest::READABLE)
        .unwrap();
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    waker.wake().unwrap();
    drop(waker);
    other.write_all(b"x").unwrap();
    let now = Some(std::time::Duration::ZERO);
    looper.poll.poll(&mut looper.events, now).unwrap();
    assert!(looper.events.iter().any(|event| event.token() == ONE));
}

#[test]
fn each_wake_of_a_full_queue_is_reported_once() {
    let mut port = FullPort::new(2);
    let mut wakers: Vec<_> = (0..5).map(|n| port.waker(Token(n))).collect();
    for _ in 0..3 {
        for waker in &wakers {
            waker.wake().unwrap();
        }
        let mut woken = [0; 5];
        port.looper.until("all of them", |event| {
            assert!(event.is_readable());
            woken[event.token().0] += 1;
            woken.iter().all(|&times| times > 0)
        });
        assert_eq!(woken, [1; 5]);
        port.looper.assert_nothing_ready();
    }
    // A waker that was dropped wakes no poll.
    for waker in &wakers {
        waker.wake().unwrap();
    }
    let last = wakers.pop();
    drop(wakers);
    port.looper.until("the last one", |event| {
        assert_eq!(event.token(), Token(4));
        true
    });
    drop(last);
    port.looper.assert_quiet();
}

/// Several threads wake, others make changes that interrupt the polling thread, and the port has no
/// capacity.
#[test]
fn no_wake_of_a_full_queue_is_lost_between_threads() {
    const THREADS: usize = 3;
    let rounds = if util::slowness() > 1 { 200 } else { 5000 };

    let mut port = FullPort::new(4);
    // It is reported, and never read: a failure backs it off.
    port.peers[0].write_all(b"x").unwrap();
    let wakers: Vec<_> = (0..THREADS).map(|n| port.waker(Token(n))).collect();
    let woken: Vec<_> = (0..THREADS).map(|_| AtomicUsize::new(0)).collect();
    let is_over = AtomicBool::new(false);
    let (one, looper) = (&port.one, &mut port.looper);
    thread::scope(|scope| {
        for (waker, woken) in wakers.iter().zip(&woken) {
            scope.spawn(move || {
                for _ in 0..rounds {
                    // Relaxed: waking has to order them.
                    woken.fetch_add(1, Ordering::Relaxed);
                    waker.wake().unwrap();
                }
            });
        }
        scope.spawn(|| {
            // Relaxed: nothing else depends on it.
            while !is_over.load(Ordering::Relaxed) {
                let _ = one.try_io(|| Err::<(), _>(ErrorKind::Other.into()));
                thread::yield_now();
            }
        });
        // A program that reads its messages only when it is woken.
        let mut seen = [0; THREADS];
        while seen != [rounds; THREADS] {
            looper.until("a wake-up", |event| {
                let token = event.token().0;
                if let Some(seen) = seen.get_mut(token) {
                    *seen = woken[token].load(Ordering::Relaxed);
                }
                token < THREADS
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
