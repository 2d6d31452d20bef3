//! signal-hook-mio on this crate: signals are events of a `Poll`.

#![cfg(unix)]

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use interop::{bounded, A_WHILE, MIO_MAKES_EDGES, PATIENCE};
use libc::{SIGHUP, SIGUSR1, SIGUSR2};
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;

const SIGNALS: Token = Token(7);

#[test]
fn a_signal_arrives_as_an_event_each_time() {
    bounded(|| {
        let (mut poll, mut signals) = polled(&[SIGUSR1]);
        for _ in 0..100 {
            send(SIGUSR1);
            assert_eq!(next(&mut poll, &mut signals), [SIGUSR1]);
        }
        assert!(!wait(&mut poll, A_WHILE), "an event without a signal");
    });
}

#[test]
fn a_signal_ends_a_wait_of_another_thread() {
    bounded(|| {
        let (mut poll, mut signals) = polled(&[SIGUSR2]);
        let (sender, came) = mpsc::channel();
        let waiting = thread::spawn(move || {
            for _ in 0..100 {
                sender.send(next(&mut poll, &mut signals)).unwrap();
            }
        });
        for _ in 0..100 {
            send(SIGUSR2);
            assert_eq!(came.recv_timeout(PATIENCE).unwrap(), [SIGUSR2]);
        }
        waiting.join().unwrap();
    });
}

#[test]
fn a_signal_from_before_the_registration_is_reported_after_it() {
    bounded(|| {
        let mut signals = Signals::new([SIGHUP]).unwrap();
        send(SIGHUP);
        let mut poll = Poll::new().unwrap();
        let registry = poll.registry();
        registry
            .register(&mut signals, SIGNALS, Interest::READABLE)
            .unwrap();
        assert_eq!(next(&mut poll, &mut signals), [SIGHUP]);
        // A signal that is not registered any more has no event.
        poll.registry().deregister(&mut signals).unwrap();
        send(SIGHUP);
        assert!(!wait(&mut poll, A_WHILE));
        assert_eq!(signals.pending().collect::<Vec<_>>(), [SIGHUP]);
    });
}

fn polled(which: &[i32]) -> (Poll, Signals) {
    let poll = Poll::new().unwrap();
    let mut signals = Signals::new(which).unwrap();
    poll.registry()
        .register(&mut signals, SIGNALS, Interest::READABLE)
        .unwrap();
    (poll, signals)
}

/// The signals of the next event. An event may have none: its signal arrived while the previous
/// ones were taken.
fn next(poll: &mut Poll, signals: &mut Signals) -> Vec<i32> {
    loop {
        assert!(wait(poll, PATIENCE), "no event in {PATIENCE:?}");
        let came: Vec<i32> = signals.pending().collect();
        if MIO_MAKES_EDGES {
            // signal-hook has read its socket itself.
            poll.registry()
                .reregister(signals, SIGNALS, Interest::READABLE)
                .unwrap();
        }
        if !came.is_empty() {
            return came;
        }
    }
}

/// Whether the signals have an event in that time. A wait that a signal interrupts is started
/// again.
fn wait(poll: &mut Poll, limit: Duration) -> bool {
    let mut events = Events::with_capacity(8);
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match poll.poll(&mut events, Some(left)) {
            Ok(()) if !events.is_empty() => break,
            Ok(()) if left.is_zero() => return false,
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
        }
    }
    assert!(events
        .iter()
        .all(|event| event.token() == SIGNALS && event.is_readable()));
    true
}

/// Sends it to the whole process: any of its threads gets it.
fn send(signal: i32) {
    // SAFETY: signal-hook has set a handler for the signal.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}
