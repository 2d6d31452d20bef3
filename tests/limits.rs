//! What comes of a kernel's limits.
#![cfg(all(feature = "os-poll", feature = "net", mio_model = "event-ports"))]

mod util;

use std::io::ErrorKind;
use std::sync::Once;

use mio::net::UnixStream;
use mio::{Backend, Interest, Token, Waker};
use util::Loop;

/// A port that has room for two events, and how many a poll reports. (The model reads
/// the variable when it makes one, and all of this process's are alike.)
fn small_port(capacity: usize) -> Loop {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::env::set_var("EVENT_PORTS_MODEL_MAX_EVENTS", "2"));
    Loop::with_capacity(Backend::EventPorts, capacity)
}

/// A program would wait for readiness then, for ever.
#[test]
fn too_many_registrations_are_no_operation_that_would_block() {
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

    // Nothing has come of it, and there is room when another one has left.
    looper.until_writable(Token(1));
    looper.registry().deregister(&mut first).unwrap();
    register(&looper, &mut third, 4).unwrap();
    looper.until_writable(Token(4));
}

/// Runtimes panic when a wake fails.
#[test]
fn a_wake_of_a_full_queue_is_not_lost() {
    let mut looper = small_port(64);
    let wakers: Vec<_> = (0..5)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    for _ in 0..3 {
        for waker in &wakers {
            waker.wake().unwrap();
        }
        let mut woken = [0; 5];
        looper.until("all of them", |event| {
            assert!(event.is_readable());
            woken[event.token().0] += 1;
            woken.iter().all(|&times| times == 1)
        });
        looper.assert_nothing_ready();
    }
    // One that is gone wakes nobody.
    for waker in &wakers {
        waker.wake().unwrap();
    }
    drop(wakers);
    looper.assert_quiet();
}

/// One of which every wake calls the kernel, since all bits are taken.
#[test]
fn what_a_full_queue_did_not_take_is_reported_once() {
    let mut looper = small_port(1);
    let wakers: Vec<_> = (0..usize::BITS as usize + 1)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    let last = wakers.last().unwrap();
    wakers[0].wake().unwrap();
    wakers[1].wake().unwrap();
    last.wake().unwrap();
    // Now there is room in the port, and there was none beside what is reported.
    looper.until_readable(Token(0));
    last.wake().unwrap();
    let mut times = 0;
    for _ in 0..4 {
        looper
            .poll
            .poll(&mut looper.events, Some(std::time::Duration::ZERO))
            .unwrap();
        let of_last = |event: &&mio::event::Event| event.token() == Token(usize::BITS as usize);
        times += looper.events.iter().filter(of_last).count();
    }
    assert_eq!(times, 1);
}
