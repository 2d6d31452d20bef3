//! Timeouts: never early, never for ever, exact if the system can, and continued after a signal.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

#[cfg(unix)]
use std::io::ErrorKind;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Interest, Token, Waker};
#[cfg(unix)]
use util::Signals;
use util::{patience, pipe, Differences, Loop};

on_each_backend![
    a_timeout_is_never_cut_short,
    a_timeout_below_a_millisecond_is_not_zero,
    fractions_of_a_millisecond_are_exact,
    a_long_timeout_does_not_overflow,
    an_event_ends_any_wait,
    a_poll_without_a_timeout_waits_for_an_event,
    poll_until_waits_for_the_deadline,
    poll_until_returns_at_an_event_before_its_deadline,
    poll_until_a_past_deadline_returns_ready_events,
    poll_until_without_deadline_waits_for_an_event,
    #[cfg(unix)]
    a_signal_interrupts_poll,
    #[cfg(unix)]
    signals_never_interrupt_a_poll_with_timeout_zero,
    #[cfg(unix)]
    poll_until_continues_after_signals,
];

fn waited(looper: &mut Loop, timeout: Duration) -> Duration {
    let start = Instant::now();
    looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
    let waited = start.elapsed();
    assert!(looper.events.is_empty());
    waited
}

fn a_timeout_is_never_cut_short(backend: Backend) {
    let mut looper = Loop::new(backend);
    for micros in [
        1, 10, 50, 99, 200, 500, 999, 1000, 1001, 1500, 2300, 5000, 12_345,
    ] {
        let timeout = Duration::from_micros(micros);
        for _ in 0..5 {
            let waited = waited(&mut looper, timeout);
            assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
            assert!(waited < timeout + patience());
        }
    }
    let timeout = Duration::from_nanos(1_000_001);
    assert!(waited(&mut looper, timeout) >= timeout);
}

/// Otherwise a loop that waits for a timer spins until it is due.
fn a_timeout_below_a_millisecond_is_not_zero(backend: Backend) {
    let mut looper = Loop::new(backend);
    let end = Instant::now() + Duration::from_millis(5);
    let mut turns = 0;
    while Instant::now() < end {
        waited(&mut looper, Duration::from_micros(500));
        turns += 1;
    }
    assert!(turns <= 10, "{turns} turns in 5 ms");
}

/// Most of many waits for 100 µs take less than a millisecond. If the timeout were rounded up to
/// milliseconds, each would take one. If the system cannot do better (under instrumentation), this
/// tests nothing.
fn fractions_of_a_millisecond_are_exact(backend: Backend) {
    if !util::exact_timeouts() || !backend.waits_for_fractions() {
        return;
    }
    let mut looper = Loop::new(backend);
    let timeout = Duration::from_micros(100);
    let best = (0..50).map(|_| waited(&mut looper, timeout)).min().unwrap();
    assert!(best < Duration::from_micros(900), "at best {best:?}");
}

fn a_long_timeout_does_not_overflow(backend: Backend) {
    let long = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(i64::MAX as u64),
        Duration::new(i64::MAX as u64 + 1, 1),
        Duration::from_millis(i32::MAX as u64),
        Duration::from_millis(i32::MAX as u64 + 1),
        Duration::from_millis(u32::MAX as u64 + 1),
        Duration::from_nanos(u64::MAX),
        Duration::from_secs(1 << 32),
        Duration::new(i32::MAX as u64 / 1000, 999_999_999),
    ];
    for timeout in long {
        let mut looper = Loop::new(backend);
        let waker = Waker::new(looper.registry(), Token(1)).unwrap();
        let returned = Arc::new(AtomicBool::new(false));
        let waking = thread::spawn({
            let returned = Arc::clone(&returned);
            move || {
                // Long enough for a poll that does not wait to return.
                thread::sleep(util::A_WHILE);
                assert!(!returned.load(Ordering::SeqCst), "{timeout:?} did not wait");
                waker.wake().unwrap();
                waker
            }
        });
        looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
        let events = looper.events.iter().count();
        returned.store(true, Ordering::SeqCst);
        waking.join().unwrap();
        assert_eq!(events, 1);
    }
}

/// `poll_until` waits on in any case.
fn a_poll_without_a_timeout_waits_for_an_event(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    let waking = thread::spawn(move || {
        // Long enough for a poll that does not wait to return.
        thread::sleep(util::A_WHILE);
        waker.wake().unwrap();
        waker
    });
    looper.poll.poll(&mut looper.events, None).unwrap();
    assert_eq!(looper.events.iter().count(), 1);
    waking.join().unwrap();
}

fn an_event_ends_any_wait(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let timeouts = [
        None,
        Some(Duration::MAX),
        Some(Duration::from_secs(3600)),
        Some(Duration::from_secs(3600) + Duration::from_nanos(1)),
        Some(Duration::ZERO),
        Some(Duration::from_nanos(1)),
    ];
    looper
        .registry()
        .register(&mut receiver, Token(0), Interest::READABLE)
        .unwrap();
    for timeout in timeouts {
        looper
            .registry()
            .reregister(&mut receiver, Token(0), Interest::READABLE)
            .unwrap();
        looper.poll.poll(&mut looper.events, timeout).unwrap();
        assert_eq!(looper.events.iter().count(), 1, "{timeout:?}");
    }
}

fn poll_until_waits_for_the_deadline(backend: Backend) {
    let mut looper = Loop::new(backend);
    for micros in [1, 250, 1000, 3300] {
        let deadline = Instant::now() + Duration::from_micros(micros);
        looper
            .poll
            .poll_until(&mut looper.events, Some(deadline))
            .unwrap();
        let now = Instant::now();
        assert!(now >= deadline, "{:?} early", deadline - now);
        assert!(now < deadline + patience());
        assert!(looper.events.is_empty());
    }
}

fn poll_until_returns_at_an_event_before_its_deadline(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    waker.wake().unwrap();
    let deadline = Instant::now() + patience();
    looper
        .poll
        .poll_until(&mut looper.events, Some(deadline))
        .unwrap();
    assert!(Instant::now() < deadline, "it waited for the deadline");
    assert_eq!(looper.events.iter().count(), 1);
}

fn poll_until_a_past_deadline_returns_ready_events(backend: Backend) {
    let mut looper = Loop::new(backend);
    let past = Instant::now();
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    looper
        .poll
        .poll_until(&mut looper.events, Some(past))
        .unwrap();
    assert!(looper.events.is_empty());
    waker.wake().unwrap();
    looper
        .poll
        .poll_until(&mut looper.events, Some(past))
        .unwrap();
    assert_eq!(looper.events.iter().count(), 1);
}

fn poll_until_without_deadline_waits_for_an_event(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    let waking = thread::spawn(move || {
        waker.wake().unwrap();
        waker
    });
    looper.poll.poll_until(&mut looper.events, None).unwrap();
    assert_eq!(looper.events.iter().next().unwrap().token(), Token(1));
    waking.join().unwrap();
}

#[cfg(unix)]
fn a_signal_interrupts_poll(backend: Backend) {
    thread::spawn(move || {
        let mut looper = Loop::new(backend);
        let _signals = Signals::to_this_thread();
        // With each kind of wait.
        for timeout in [
            None,
            Some(patience()),
            Some(patience() + Duration::from_nanos(1)),
        ] {
            let error = looper.poll.poll(&mut looper.events, timeout).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            assert!(looper.events.is_empty());
        }
    })
    .join()
    .unwrap();
}

/// This also holds if the poll probes: a raw descriptor that is always ready makes it probe.
#[cfg(unix)]
fn signals_never_interrupt_a_poll_with_timeout_zero(backend: Backend) {
    // Inherited by the child, whose other threads must not handle them.
    alarms::mask(libc::SIG_BLOCK);
    if !util::in_child(backend, "signals_never_interrupt_a_poll_with_timeout_zero") {
        return;
    }
    let mut looper = Loop::new(backend);
    let (sender, mut receiver) = pipe::new().unwrap();
    let registry = looper.registry();
    registry
        .register(&mut receiver, Token(1), Interest::READABLE)
        .unwrap();
    let fd = util::raw(&sender);
    registry
        .register(&mut SourceFd(&fd), Token(2), Interest::WRITABLE)
        .unwrap();
    alarms::begin(Duration::from_micros(100));
    let deadline = Instant::now() + patience();
    while alarms::handled() < 500 {
        looper
            .poll
            .poll(&mut looper.events, Some(Duration::ZERO))
            .unwrap();
        assert!(looper.events.iter().all(|event| event.token() == Token(2)));
        assert!(Instant::now() < deadline, "{} signals", alarms::handled());
    }
}

/// Signals to this process, from a timer of the kernel. They arrive wherever the thread is, even in
/// the middle of a system call that does not wait.
#[cfg(unix)]
mod alarms {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use crate::util::{setitimer, ITIMER_REAL};

    static HANDLED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }

    /// Blocks or unblocks the signals for this thread.
    pub fn mask(how: libc::c_int) {
        // SAFETY: a zeroed set is valid memory for one, and `sigemptyset` initialises it before it
        // is used.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            assert_eq!(libc::sigemptyset(&mut set), 0);
            assert_eq!(libc::sigaddset(&mut set, libc::SIGALRM), 0);
            assert_eq!(libc::pthread_sigmask(how, &set, std::ptr::null_mut()), 0);
        }
    }

    /// Lets this thread handle the signals, which all other threads block.
    pub fn begin(every: Duration) {
        let handler: extern "C" fn(libc::c_int) = count;
        let interval = libc::timeval {
            tv_sec: 0,
            tv_usec: every.subsec_micros() as _,
        };
        let timer = libc::itimerval {
            it_interval: interval,
            it_value: interval,
        };
        // SAFETY: the handler adds to an atomic number; a zeroed `sigaction` has no flags,
        // so that calls are not restarted, and an empty mask.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            let set = libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
            assert_eq!(set, 0);
            let set = setitimer(ITIMER_REAL.into(), &timer, std::ptr::null_mut());
            assert_eq!(set, 0);
        }
        mask(libc::SIG_UNBLOCK);
    }

    pub fn handled() -> usize {
        HANDLED.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
fn poll_until_continues_after_signals(backend: Backend) {
    thread::spawn(move || {
        let mut looper = Loop::new(backend);
        let waker = Waker::new(looper.registry(), Token(1)).unwrap();
        for millis in [5, 20, 200] {
            let _signals = Signals::to_this_thread();
            let start = Instant::now();
            let deadline = start + Duration::from_millis(millis) + Duration::from_nanos(10);
            looper
                .poll
                .poll_until(&mut looper.events, Some(deadline))
                .unwrap();
            assert!(Instant::now() >= deadline);
            assert!(
                start.elapsed() < Duration::from_secs(1) * util::slowness(),
                "the wait began anew each time"
            );
            assert!(looper.events.is_empty());
        }
        let signals = Signals::to_this_thread();
        let waking = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            waker.wake().unwrap();
            waker
        });
        looper.poll.poll_until(&mut looper.events, None).unwrap();
        assert_eq!(looper.events.iter().next().unwrap().token(), Token(1));
        drop(signals);
        waking.join().unwrap();
    })
    .join()
    .unwrap();
}
