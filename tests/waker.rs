//! Waking: no wake-up is lost, several coalesce, each waker has its token, and nothing leaks.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::io::Write;
#[cfg(unix)]
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Interest, Token, Waker};
#[cfg(unix)]
use util::Differences;
use util::{patience, pipe, Loop};

on_each_backend![
    a_wake_ends_a_wait,
    a_wake_before_the_first_poll_is_kept,
    a_wake_between_polls_is_kept,
    the_event_is_readable_and_nothing_else,
    wakes_coalesce,
    every_wake_after_a_poll_is_reported,
    a_wake_after_one_that_ended_a_wait_is_kept,
    a_wake_before_a_register_is_kept,
    no_wake_is_lost_between_threads,
    what_was_written_before_a_coalesced_wake_is_seen_after_the_event,
    many_wakers_each_with_its_token,
    more_wakers_than_bits,
    wakes_coalesce_beyond_the_bits,
    more_wakes_than_capacity,
    constant_wakes_hide_no_source,
    constant_events_hide_no_wake,
    a_waker_from_a_cloned_registry_shares_the_poll,
    a_dropped_waker_wakes_no_poll,
    a_dropped_wakers_wake_is_not_inherited,
    a_dropped_wakers_wake_hides_no_source,
    a_dropped_wakers_wake_takes_no_place_in_the_buffer,
    wakers_come_and_go,
    wake_after_the_poll_is_gone_is_ok,
    wake_works_together_with_other_events,
    a_poll_that_times_out_loses_no_wake,
    #[cfg(unix)]
    a_poll_by_another_loop_sees_each_wake,
];

const WAKE: Token = Token(10);

fn a_wake_ends_a_wait(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    let (about_to_poll, told) = mpsc::channel();
    let waking = thread::spawn(move || {
        told.recv().unwrap();
        waker.wake().unwrap();
        waker
    });
    about_to_poll.send(()).unwrap();
    looper.until_readable(WAKE);
    waking.join().unwrap();
}

fn a_wake_before_the_first_poll_is_kept(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    waker.wake().unwrap();
    looper.until_readable(WAKE);
    looper.assert_quiet();
}

fn a_wake_between_polls_is_kept(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    looper.assert_nothing_ready();
    waker.wake().unwrap();
    looper.until_readable(WAKE);
}

fn the_event_is_readable_and_nothing_else(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    waker.wake().unwrap();
    let readable = util::Seen::named("readable");
    let seen = looper.until_reported(WAKE, readable);
    assert_eq!(seen, readable);
}

fn wakes_coalesce(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    for _ in 0..1000 {
        waker.wake().unwrap();
    }
    looper.until_readable(WAKE);
    assert_eq!(looper.events.iter().count(), 1);
    looper.assert_quiet();
}

fn every_wake_after_a_poll_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    for _ in 0..100 {
        waker.wake().unwrap();
        looper.until_readable(WAKE);
        looper.assert_nothing_ready();
    }
}

/// A wake-up that has ended a wait is over, even if it came after the wait had begun.
fn a_wake_after_one_that_ended_a_wait_is_kept(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Arc::new(Waker::new(looper.registry(), WAKE).unwrap());
    for _ in 0..5 {
        let waking = thread::spawn({
            let waker = Arc::clone(&waker);
            move || {
                // Usually long enough for the poll to wait. The test does not depend on it.
                thread::sleep(util::A_WHILE);
                waker.wake().unwrap();
            }
        });
        looper.until_readable(WAKE);
        waking.join().unwrap();
        waker.wake().unwrap();
        looper.until_readable(WAKE);
    }
}

fn a_wake_before_a_register_is_kept(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    let (_sender, mut receiver) = pipe::new().unwrap();
    waker.wake().unwrap();
    looper
        .registry()
        .register(&mut receiver, Token(1), Interest::READABLE)
        .unwrap();
    looper.until_readable(WAKE);
}

/// Several threads send messages and wake. The consumer reads its messages only after a wake-up. A
/// lost wake-up leaves it waiting for ever.
fn no_wake_is_lost_between_threads(backend: Backend) {
    const THREADS: usize = 4;
    let messages = if util::slowness() > 1 { 200 } else { 20_000 };

    for shared in [true, false] {
        let mut looper = Loop::new(backend);
        let sent = Arc::new(AtomicUsize::new(0));
        let first = Arc::new(Waker::new(looper.registry(), Token(0)).unwrap());
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let waker = if shared {
                    Arc::clone(&first)
                } else {
                    Arc::new(Waker::new(looper.registry(), Token(n)).unwrap())
                };
                let sent = Arc::clone(&sent);
                thread::spawn(move || {
                    for _ in 0..messages {
                        // Relaxed on both sides: waking has to order them.
                        sent.fetch_add(1, Ordering::Relaxed);
                        waker.wake().unwrap();
                    }
                    waker
                })
            })
            .collect();

        while sent.load(Ordering::Relaxed) < THREADS * messages {
            looper.until("a wake-up", |event| {
                assert!(event.is_readable(), "a waker's event is always readable");
                event.token().0 < THREADS
            });
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

/// Memory that threads share without an atomic or a lock.
struct Plain(UnsafeCell<usize>);

// SAFETY: the test that uses it has one thread write before it wakes, and the other one read after the
// wake-up's event and before it lets the first one go on.
unsafe impl Sync for Plain {}

/// Of two wakes the second one relies on the first one's signal. That it orders the two threads' accesses
/// all the same shows under the thread sanitizer and under Miri, which know nothing else that would.
fn what_was_written_before_a_coalesced_wake_is_seen_after_the_event(backend: Backend) {
    const ROUNDS: usize = 50;

    let mut looper = Loop::new(backend);
    let waker = Arc::new(Waker::new(looper.registry(), WAKE).unwrap());
    let shared = Arc::new(Plain(UnsafeCell::new(0)));
    let woken = Arc::new(AtomicUsize::new(0));
    let (go_on, told) = mpsc::channel();
    let waking = thread::spawn({
        let (waker, shared, woken) = (waker.clone(), shared.clone(), woken.clone());
        move || {
            for n in told {
                // SAFETY: see `Plain`.
                unsafe { *shared.0.get() = n };
                waker.wake().unwrap();
                // Relaxed, here and there: waking has to order them.
                woken.store(n, Ordering::Relaxed);
            }
        }
    });
    for n in 1..=ROUNDS {
        waker.wake().unwrap();
        go_on.send(n).unwrap();
        while woken.load(Ordering::Relaxed) < n {
            thread::yield_now();
        }
        looper.until_readable(WAKE);
        // SAFETY: see `Plain`.
        assert_eq!(unsafe { *shared.0.get() }, n);
    }
    drop(go_on);
    waking.join().unwrap();
}

fn many_wakers_each_with_its_token(backend: Backend) {
    let mut looper = Loop::new(backend);
    let wakers: Vec<_> = (0..10)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    for (n, waker) in wakers.iter().enumerate() {
        waker.wake().unwrap();
        looper.until("its own token", |event| {
            assert_eq!(event.token(), Token(n));
            true
        });
    }
    for waker in wakers.iter().step_by(3) {
        waker.wake().unwrap();
    }
    let mut seen = HashMap::new();
    looper.until("those that woke", |event| {
        *seen.entry(event.token().0).or_insert(0) += 1;
        seen.len() == 4
    });
    let mut tokens: Vec<_> = seen.into_iter().collect();
    tokens.sort();
    assert_eq!(tokens, [(0, 1), (3, 1), (6, 1), (9, 1)]);
}

/// Wakers beyond the bits of the word do not coalesce, but work.
fn more_wakers_than_bits(backend: Backend) {
    let count = usize::BITS as usize + 6;
    let mut looper = Loop::with_capacity(backend, 2 * count);
    let wakers: Vec<_> = (0..count)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    for _ in 0..3 {
        for waker in &wakers {
            waker.wake().unwrap();
            waker.wake().unwrap();
        }
        let mut seen = vec![false; count];
        looper.until("all of them", |event| {
            seen[event.token().0] = true;
            seen.iter().all(|&seen| seen)
        });
        looper.assert_nothing_ready();
    }
    // One beyond the word is dropped, which does not affect the others.
    let mut wakers = wakers;
    drop(wakers.pop());
    wakers[0].wake().unwrap();
    looper.until_readable(Token(0));
}

/// A waker without a bit in the word signals each time, and is reported once.
fn wakes_coalesce_beyond_the_bits(backend: Backend) {
    let mut looper = Loop::new(backend);
    let wakers: Vec<_> = (0..=usize::BITS as usize)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    let last = wakers.last().unwrap();
    for _ in 0..10 {
        for _ in 0..10 {
            last.wake().unwrap();
        }
        looper.until_readable(Token(wakers.len() - 1));
        assert_eq!(looper.events.iter().count(), 1);
        looper.assert_nothing_ready();
    }
}

fn more_wakes_than_capacity(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 2);
    let wakers: Vec<_> = (0..7)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    for waker in &wakers {
        waker.wake().unwrap();
    }
    let mut seen = [false; 7];
    looper.until("all seven", |event| {
        seen[event.token().0] = true;
        seen.iter().all(|&seen| seen)
    });
}

fn constant_wakes_hide_no_source(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let wakers = [0, 1].map(|n| Waker::new(looper.registry(), Token(n)).unwrap());
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, Token(2), Interest::READABLE)
        .unwrap();
    for waker in &wakers {
        waker.wake().unwrap();
    }
    sender.write_all(b"x").unwrap();
    let mut seen = [false; 3];
    looper.until("all three", |event| {
        for waker in &wakers {
            waker.wake().unwrap();
        }
        seen[event.token().0] = true;
        seen == [true; 3]
    });
}

fn constant_events_hide_no_wake(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let waker = Waker::new(looper.registry(), Token(2)).unwrap();
    // Each is ready at each poll.
    let mut pipes: Vec<_> = (0..2).map(|_| pipe::new().unwrap()).collect();
    for (n, (sender, receiver)) in pipes.iter_mut().enumerate() {
        let interests = Interest::READABLE.level();
        looper.register(receiver, Token(n), interests);
        sender.write_all(b"x").unwrap();
    }
    for _ in 0..3 {
        waker.wake().unwrap();
        let mut polls = 0;
        looper.until("the wake", |event| {
            polls += 1;
            assert!(polls < 10, "only the sources are reported");
            event.token() == Token(2)
        });
    }
}

fn a_waker_from_a_cloned_registry_shares_the_poll(backend: Backend) {
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let waker = Waker::new(&registry, WAKE).unwrap();
    drop(registry);
    for _ in 0..3 {
        waker.wake().unwrap();
        waker.wake().unwrap();
        looper.until_readable(WAKE);
        looper.assert_nothing_ready();
    }
}

fn a_dropped_waker_wakes_no_poll(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    waker.wake().unwrap();
    drop(waker);
    looper.assert_quiet();
}

fn a_dropped_wakers_wake_is_not_inherited(backend: Backend) {
    let mut looper = Loop::new(backend);
    let first = Waker::new(looper.registry(), Token(1)).unwrap();
    first.wake().unwrap();
    drop(first);
    // It takes the same bit, which must be clear: its wake must call the kernel.
    let second = Waker::new(looper.registry(), Token(2)).unwrap();
    looper.assert_quiet();
    second.wake().unwrap();
    looper.until("the second alone", |event| {
        assert_eq!(event.token(), Token(2));
        event.is_readable()
    });

    let third = Waker::new(looper.registry(), Token(3)).unwrap();
    third.wake().unwrap();
    drop(third);
    let fourth = Waker::new(looper.registry(), Token(4)).unwrap();
    fourth.wake().unwrap();
    looper.until("the fourth", |event| {
        assert_eq!(event.token(), Token(4));
        event.is_readable()
    });
}

/// Its remaining event takes the only slot of the buffer, and no thread waits.
fn a_dropped_wakers_wake_hides_no_source(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    for n in 0..3 {
        let dropped = Waker::new(looper.registry(), Token(n)).unwrap();
        dropped.wake().unwrap();
        drop(dropped);
    }
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    waker.wake().unwrap();
    looper
        .poll
        .poll(&mut looper.events, Some(Duration::ZERO))
        .unwrap();
    assert!(looper.events.iter().any(|event| event.token() == WAKE));
}

/// Its remaining event is in front of two that fit into the buffer.
fn a_dropped_wakers_wake_takes_no_place_in_the_buffer(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 2);
    let dropped = Waker::new(looper.registry(), Token(0)).unwrap();
    dropped.wake().unwrap();
    drop(dropped);
    let wakers = [1, 2].map(|n| Waker::new(looper.registry(), Token(n)).unwrap());
    for waker in &wakers {
        waker.wake().unwrap();
    }
    looper
        .poll
        .poll(&mut looper.events, Some(Duration::ZERO))
        .unwrap();
    let mut tokens: Vec<_> = looper.events.iter().map(|event| event.token().0).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2]);
}

/// More wakers in a row than there are bits, or descriptors.
fn wakers_come_and_go(backend: Backend) {
    let mut looper = Loop::new(backend);
    let keeper = Waker::new(looper.registry(), Token(0)).unwrap();
    for n in 1..2000 {
        let waker = Waker::new(looper.registry(), Token(n)).unwrap();
        if n % 100 == 0 {
            waker.wake().unwrap();
            looper.until_readable(Token(n));
            keeper.wake().unwrap();
            looper.until_readable(Token(0));
        }
    }
}

fn wake_after_the_poll_is_gone_is_ok(backend: Backend) {
    let looper = Loop::new(backend);
    let waker = Arc::new(Waker::new(looper.registry(), WAKE).unwrap());
    let waking = thread::spawn({
        let waker = Arc::clone(&waker);
        move || {
            for _ in 0..1000 {
                waker.wake().unwrap();
            }
        }
    });
    drop(looper);
    for _ in 0..10 {
        waker.wake().unwrap();
    }
    waking.join().unwrap();
}

fn wake_works_together_with_other_events(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, Token(1), Interest::READABLE)
        .unwrap();
    sender.write_all(b"x").unwrap();
    waker.wake().unwrap();
    let mut seen = (false, false);
    looper.until("both", |event| {
        seen.0 |= event.token() == WAKE;
        seen.1 |= event.token() == Token(1);
        seen.0 && seen.1
    });
}

/// A thread wakes while the poll keeps timing out at once. A wake between the end of the wait and
/// the return of the poll must be reported later.
fn a_poll_that_times_out_loses_no_wake(backend: Backend) {
    let rounds = if util::slowness() > 1 { 100 } else { 20_000 };
    let mut looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), WAKE).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let waking = thread::spawn({
        let asked = Arc::clone(&asked);
        move || {
            let mut answered = 0;
            while answered < rounds {
                if asked.load(Ordering::Acquire) > answered {
                    answered += 1;
                    waker.wake().unwrap();
                } else {
                    thread::yield_now();
                }
            }
            waker
        }
    });
    for round in 1..=rounds {
        asked.store(round, Ordering::Release);
        let deadline = Instant::now() + patience();
        loop {
            looper
                .poll
                .poll(&mut looper.events, Some(Duration::ZERO))
                .unwrap();
            if !looper.events.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "round {round}: the wake is lost");
            thread::yield_now();
        }
    }
    waking.join().unwrap();
}

/// The poll is nested in another loop, which must see every wake although the poll itself never
/// waits.
#[cfg(unix)]
fn a_poll_by_another_loop_sees_each_wake(backend: Backend) {
    if !backend.can_be_nested() {
        return;
    }
    // If nothing reports that the inner poll was emptied, a round can take 64 ms.
    let is_slow = util::slowness() > 1 || backend.keeps_a_table();
    let rounds = if is_slow { 50 } else { 2000 };
    let mut inner = Loop::new(backend);
    let mut outer = Loop::new(backend);
    let waker = Waker::new(inner.registry(), WAKE).unwrap();
    let descriptor = inner.poll.as_raw_fd();
    outer
        .registry()
        .register(&mut SourceFd(&descriptor), Token(1), Interest::READABLE)
        .unwrap();
    let (ask, asked) = mpsc::channel();
    let waking = thread::spawn(move || {
        for () in asked {
            waker.wake().unwrap();
        }
        waker
    });
    for _ in 0..rounds {
        ask.send(()).unwrap();
        // The inner poll's event, which may arrive after the outer one's.
        loop {
            outer.until_readable(Token(1));
            inner
                .poll
                .poll(&mut inner.events, Some(Duration::ZERO))
                .unwrap();
            if inner.events.iter().any(|event| event.token() == WAKE) {
                break;
            }
        }
    }
    drop(ask);
    waking.join().unwrap();
}
