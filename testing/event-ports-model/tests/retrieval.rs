//! Retrieving events, and events that the program sends, by the rows of `semantics.md`.

mod support;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use event_ports_model as model;
use support::*;

const IN: i16 = libc::POLLIN;
const SHORT: Duration = Duration::from_millis(30);

#[test]
fn a_sent_event_carries_its_word_and_bits() {
    let port = Port::new();
    port.send(-5, usize::MAX).unwrap();
    let event = port.get(ZERO).unwrap();
    assert_eq!(event.portev_source, PORT_SOURCE_USER);
    assert_eq!(event.portev_events, -5);
    assert_eq!(user(&event), usize::MAX);
    assert_eq!(port.users(), []);
}

#[test]
fn sent_events_are_not_merged() {
    let port = Port::new();
    for _ in 0..3 {
        port.send(1, 2).unwrap();
    }
    assert_eq!(port.users(), [2, 2, 2]);
}

#[test]
fn events_of_all_sources_come_in_their_order() {
    let (port, (mut a, b), (mut c, d)) = (Port::new(), pair(), pair());
    port.associate(&b, IN, 3).unwrap();
    port.associate(&d, IN, 2).unwrap();
    port.send(0, 1).unwrap();
    c.write_all(b"x").unwrap();
    port.send(0, 4).unwrap();
    a.write_all(b"x").unwrap();
    port.send(0, 5).unwrap();
    assert_eq!(port.users(), [1, 2, 4, 3, 5]);
}

#[test]
fn the_order_may_be_the_reverse() {
    let variables = [("EVENT_PORTS_MODEL_ORDER", "lifo")];
    alone("the_order_may_be_the_reverse", &variables, || {
        let port = Port::new();
        (0..9).for_each(|user| port.send(0, user).unwrap());
        assert_eq!(port.users(), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    });
}

#[test]
fn the_order_may_be_any() {
    let variables = [("EVENT_PORTS_MODEL_ORDER", "random")];
    alone("the_order_may_be_any", &variables, || {
        let port = Port::new();
        (0..99).for_each(|user| port.send(0, user).unwrap());
        let mut users = port.users();
        assert!(!users.is_sorted() && !users.iter().rev().is_sorted());
        users.sort();
        assert!(users.into_iter().eq(0..99));
    });
}

#[test]
fn getn_takes_more_than_it_waits_for_and_leaves_the_rest() {
    let port = Port::new();
    (0..5).for_each(|user| port.send(0, user).unwrap());
    let answer = port.getn(3, 1, None);
    assert_eq!(answer.result, Ok(()));
    assert!(answer.events().iter().map(user).eq(0..3));
    assert_eq!(port.users(), [3, 4]);
}

#[test]
fn getn_takes_all_that_there_is_room_for() {
    let (port, pairs) = (Port::new(), (0..150).map(|_| pair()).collect::<Vec<_>>());
    for (user, (_, b)) in pairs.iter().enumerate() {
        port.associate(b, IN, user).unwrap();
    }
    for (a, _) in &pairs {
        (&*a).write_all(b"x").unwrap();
    }
    assert!(port.users().into_iter().eq(0..150));
}

#[test]
fn getn_waits_for_as_many_as_were_asked_for() {
    let port = Port::new();
    port.send(0, 0).unwrap();
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let port = &port;
        let waiting = scope.spawn(move || {
            sender.send(thread_id()).unwrap();
            port.getn(9, 3, LONG)
        });
        let thread = receiver.recv().unwrap();
        until_waiting(thread);
        port.send(0, 1).unwrap();
        until_waiting(thread);
        assert!(!waiting.is_finished());
        let start = Instant::now();
        port.send(0, 2).unwrap();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.result, Ok(()));
        // Not when its timeout had passed.
        assert!(start.elapsed() < LONG.unwrap() / 2);
        assert!(answer.events().iter().map(user).eq(0..3));
    });
}

#[test]
fn getn_in_time_leaves_too_few_events_with_etime() {
    let port = Port::new();
    port.send(0, 7).unwrap();
    let answer = port.getn(9, 3, Some(SHORT));
    assert_eq!(answer.result, Err(libc::ETIME));
    assert_eq!(answer.nget, 1);
    assert_eq!(user(&answer.list[0]), 7);
    assert_eq!(port.users(), []);

    let answer = port.getn(9, 1, Some(SHORT));
    assert_eq!((answer.result, answer.nget), (Err(libc::ETIME), 0));
    assert_eq!(port.get(Some(SHORT)), Err(libc::ETIME));
}

#[test]
fn looking_without_waiting_succeeds_with_what_there_is() {
    let port = Port::new();
    let answer = port.getn(9, 1, ZERO);
    assert_eq!((answer.result, answer.nget), (Ok(()), 0));
    // The memory for a single event does not change.
    assert_eq!(port.get(ZERO), Ok(NO_EVENT));
    port.send(0, 7).unwrap();
    let answer = port.getn(9, 3, ZERO);
    assert_eq!((answer.result, answer.nget), (Ok(()), 1));
}

#[test]
fn looking_without_waiting_may_be_etime() {
    let variables = [("EVENT_PORTS_MODEL_ZERO_TIMEOUT", "etime")];
    alone("looking_without_waiting_may_be_etime", &variables, || {
        let port = Port::new();
        assert_eq!(port.get(ZERO), Err(libc::ETIME));
        port.send(0, 7).unwrap();
        let answer = port.getn(9, 3, ZERO);
        assert_eq!((answer.result, answer.nget), (Err(libc::ETIME), 1));
        port.send(0, 8).unwrap();
        let answer = port.getn(9, 1, ZERO);
        assert_eq!((answer.result, answer.nget), (Ok(()), 1));
    });
}

#[test]
fn nget_may_stay_as_it_was_where_no_event_came_in_time() {
    let variables = [
        ("EVENT_PORTS_MODEL_LATE_NGET", "kept"),
        ("EVENT_PORTS_MODEL_ZERO_TIMEOUT", "etime"),
    ];
    let name = "nget_may_stay_as_it_was_where_no_event_came_in_time";
    alone(name, &variables, || {
        let port = Port::new();
        for timeout in [ZERO, Some(SHORT)] {
            let answer = port.getn(9, 3, timeout);
            assert_eq!((answer.result, answer.nget), (Err(libc::ETIME), 3));
            // The program can recognise it by that.
            assert_eq!(answer.list[0], NO_EVENT);
            port.send(0, 7).unwrap();
            let answer = port.getn(9, 3, timeout);
            assert_eq!((answer.result, answer.nget), (Err(libc::ETIME), 1));
        }
    });
}

#[test]
fn a_timeout_is_early_when_the_time_is_set() {
    let variables = [("EVENT_PORTS_MODEL_TIME", "set")];
    alone(
        "a_timeout_is_early_when_the_time_is_set",
        &variables,
        || {
            let (port, timeout) = (Port::new(), Duration::from_secs(2));
            let start = Instant::now();
            assert_eq!(port.get(Some(timeout)), Err(libc::ETIME));
            assert!(start.elapsed() < timeout);
        },
    );
}

#[test]
fn a_timeout_is_never_early() {
    let port = Port::new();
    for timeout in [1, 999_999, 1_000_001, 10_000_001, 35_999_999] {
        let timeout = Duration::from_nanos(timeout);
        for wanted in [1, 2] {
            let start = Instant::now();
            let answer = port.getn(9, wanted, Some(timeout));
            assert!(start.elapsed() >= timeout);
            assert_eq!(answer.result, Err(libc::ETIME));
        }
        // One event is there, which is too few.
        port.send(0, 0).unwrap();
        let start = Instant::now();
        let answer = port.getn(9, 2, Some(timeout));
        assert!(start.elapsed() >= timeout);
        assert_eq!((answer.result, answer.nget), (Err(libc::ETIME), 1));
    }
}

#[test]
fn a_timeout_is_invalid_only_where_it_is_needed() {
    let port = Port::new();
    let invalid = [(-1, 0), (0, -1), (0, 1_000_000_000)];
    let timeouts = invalid.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    for timeout in timeouts {
        let answer = port.getn_raw(1, 1, Some(timeout));
        assert_eq!(answer.result, Err(libc::EINVAL));
        port.send(0, 7).unwrap();
        assert_eq!(port.getn_raw(1, 1, Some(timeout)).result, Ok(()));
    }
}

#[test]
fn a_timeout_beyond_all_time_is_for_ever() {
    let port = Port::new();
    let timeout = libc::timespec {
        tv_sec: i64::MAX,
        tv_nsec: 999_999_999,
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| port.getn_raw(1, 1, Some(timeout)));
        port.send(0, 7).unwrap();
        assert_eq!(waiting.join().unwrap().result, Ok(()));
    });
}

#[test]
fn a_max_of_zero_counts_the_events() {
    let port = Port::new();
    assert_eq!(port.getn(0, 5, None).nget, 0);
    let (_a, b) = pair();
    port.associate(&b, libc::POLLOUT, 0).unwrap();
    port.send(0, 0).unwrap();
    let answer = port.getn(0, 5, None);
    assert_eq!((answer.result, answer.nget), (Ok(()), 2));
    assert_eq!(port.now().len(), 2);
}

#[test]
fn an_nget_of_zero_takes_nothing_and_does_not_wait() {
    let port = Port::new();
    port.send(0, 0).unwrap();
    let answer = port.getn(9, 0, None);
    assert_eq!((answer.result, answer.nget), (Ok(()), 0));
    assert_eq!(port.now().len(), 1);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let port = Port::new();
    let answer = port.getn(3, 4, ZERO);
    assert_eq!((answer.result, answer.nget), (Err(libc::EINVAL), 4));
    let (mut list, mut nget) = (NO_EVENT, 1);
    // SAFETY: the model accepts null.
    unsafe {
        assert_eq!(
            model::port_getn(port.0, &mut list, 1, null_mut(), null()),
            -1
        );
        assert_eq!(errno(), libc::EINVAL);
        assert_eq!(
            model::port_getn(port.0, null_mut(), 1, &mut nget, null()),
            -1
        );
        assert_eq!(errno(), libc::EFAULT);
        assert_eq!(model::port_get(port.0, null_mut(), null()), -1);
        assert_eq!(errno(), libc::EFAULT);
    }
}

#[test]
fn sendn_says_which_ports_have_got_it() {
    let (one, other, (a, _b)) = (Port::new(), Port::new(), pair());
    let send = |ports: [i32; 3]| {
        let mut errors = [-1; 3];
        // SAFETY: both arrays have three elements.
        let sent = unsafe { model::port_sendn(ports.as_ptr(), errors.as_mut_ptr(), 3, 5, 7 as _) };
        (sent, errors)
    };
    let answer = send([one.0, a.as_raw_fd(), other.0]);
    assert_eq!(answer, (2, [0, libc::EBADFD, 0]));
    assert_eq!(send([one.0, -1, one.0]), (2, [0, libc::EBADF, 0]));
    assert_eq!(one.users(), [7, 7, 7]);
    assert_eq!(other.now()[0].portev_events, 5);
    // SAFETY: with a length of 0 nothing is read.
    let none = unsafe { model::port_sendn(null(), null_mut(), 0, 0, null_mut()) };
    assert_eq!(none, -1);
    assert_eq!(errno(), libc::EINVAL);
}

static TO_SEND_TO: AtomicI32 = AtomicI32::new(-1);
static SIGNALLED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: i32) {
    SIGNALLED.store(true, Ordering::SeqCst);
    let port = TO_SEND_TO.load(Ordering::SeqCst);
    if port >= 0 {
        model::port_send(port, 0, 7 as _);
    }
}

fn handle(signal: i32) {
    // SAFETY: the handler makes only calls that are safe in one, and the action is initialised.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        // This has no effect: the call is never restarted.
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &action, null_mut()), 0);
    }
}

#[test]
fn a_signal_ends_the_wait_and_leaves_nget_and_the_events() {
    handle(libc::SIGUSR1);
    for wanted in [1, 2] {
        let port = Port::new();
        if wanted == 2 {
            port.send(0, 7).unwrap();
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let port = &port;
            let waiting = scope.spawn(move || {
                // SAFETY: `pthread_self` has no arguments and no memory-safety preconditions.
                let handle = unsafe { libc::pthread_self() };
                sender.send((thread_id(), handle)).unwrap();
                port.getn(9, wanted, LONG)
            });
            let (thread, handle) = receiver.recv().unwrap();
            until_waiting(thread);
            // With one event there, it does not wait all the time: one signal may arrive in
            // between.
            until(|| {
                // SAFETY: the thread was not joined yet.
                unsafe { libc::pthread_kill(handle, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_millis(1));
                waiting.is_finished()
            });
            let answer = waiting.join().unwrap();
            assert_eq!((answer.result, answer.nget), (Err(libc::EINTR), wanted));
        });
        assert_eq!(port.users().len(), wanted as usize - 1);
    }
    assert!(SIGNALLED.load(Ordering::SeqCst));
}

#[test]
fn a_signal_handler_may_send_and_interrupt_any_call() {
    let name = "a_signal_handler_may_send_and_interrupt_any_call";
    alone(name, &[], || {
        handle(libc::SIGUSR2);
        let (port, (_a, b)) = (Port::new(), pair());
        TO_SEND_TO.store(port.0, Ordering::SeqCst);
        // SAFETY: `pthread_self` has no arguments and no memory-safety preconditions.
        let interrupted = unsafe { libc::pthread_self() };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    // SAFETY: the thread lives until this one has ended.
                    unsafe { libc::pthread_kill(interrupted, libc::SIGUSR2) };
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
            let mut sent = 0;
            until(|| {
                port.associate(&b, libc::POLLOUT, 1).unwrap();
                port.dissociate(&b).unwrap();
                drop(b.try_clone().unwrap());
                sent += port.users().len();
                sent > 200
            });
            done.store(true, Ordering::SeqCst);
        });
    });
}

#[test]
fn a_port_is_readable_while_an_event_is_to_be_had() {
    let (port, (mut a, b)) = (Port::new(), pair());
    assert!(!port.is_readable());
    port.associate(&b, IN, 7).unwrap();
    assert!(!port.is_readable());
    // No thread is in the port's functions now.
    a.write_all(b"x").unwrap();
    assert!(port.is_readable() && port.is_readable());
    assert_eq!(port.users(), [7]);
    assert!(!port.is_readable());

    port.send(0, 1).unwrap();
    port.send(0, 2).unwrap();
    assert!(port.is_readable());
    port.get(ZERO).unwrap();
    assert!(port.is_readable());
    port.get(ZERO).unwrap();
    assert!(!port.is_readable());
}

#[test]
fn a_port_can_be_associated_with_another_one() {
    let (outer, inner, (mut a, b)) = (Port::new(), Port::new(), pair());
    inner.associate(&b, IN, 1).unwrap();
    outer.associate(&inner, IN, 2).unwrap();
    assert_eq!(outer.users(), []);
    a.write_all(b"x").unwrap();
    assert_eq!(outer.users(), [2]);
    assert_eq!(inner.users(), [1]);
    outer.associate(&inner, IN, 3).unwrap();
    inner.send(0, 4).unwrap();
    assert_eq!(outer.users(), [3]);
}
