//! The effect of a limit of kqueue's: the number of user events that a program may have.
#![cfg(all(feature = "os-poll", mio_model = "kqueue"))]

mod util;

use std::sync::Once;

use mio::{Backend, Token, Waker};
use util::Loop;

/// A kqueue with capacity for two user events. (The model reads the variable when it opens a
/// kqueue, and all kqueues of this process are alike.)
fn small_queue() -> Loop {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::env::set_var("KQUEUE_MODEL_MAX_USER", "2"));
    Loop::new(Backend::Kqueue)
}

#[test]
fn there_are_more_wakers_than_user_events() {
    let mut looper = small_queue();
    let wakers: Vec<_> = (0..5)
        .map(|n| Waker::new(looper.registry(), Token(n)).unwrap())
        .collect();
    for _ in 0..3 {
        for waker in &wakers {
            waker.wake().unwrap();
            waker.wake().unwrap();
        }
        let mut woken = [0; 5];
        looper.until("all of them", |event| {
            assert!(event.is_readable());
            woken[event.token().0] += 1;
            woken.iter().all(|&times| times > 0)
        });
        assert_eq!(woken, [1; 5]);
        looper.assert_quiet();
    }
    for waker in wakers {
        waker.wake().unwrap();
    }
    looper.assert_quiet();
}

/// The capacity that a dropped waker frees is used again.
#[test]
fn wakers_come_and_go_at_the_limit() {
    let mut looper = small_queue();
    let keeper = Waker::new(looper.registry(), Token(0)).unwrap();
    for n in 1..100 {
        let wakers = [0, 1].map(|_| Waker::new(looper.registry(), Token(n)).unwrap());
        wakers[n % 2].wake().unwrap();
        looper.until_readable(Token(n));
        keeper.wake().unwrap();
        looper.until_readable(Token(0));
    }
}
