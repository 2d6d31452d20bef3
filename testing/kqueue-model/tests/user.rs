//! User events, and completions of asynchronous operations.
//!
//! `netbsd.txt` has no answers for these: that kernel has no `EVFILT_USER` yet.

#![cfg(not(kqueue_library))]

mod util;

use std::io::Write;
use std::os::fd::AsRawFd;

use kqueue_model::abi::*;
use kqueue_model::kqueue_model_complete;

use util::{pair, read, token, user, Kq, ADD};

const TRIGGER: u16 = EV_ADD | EV_RECEIPT;

// Q70
#[test]
fn a_trigger_is_reported_once() {
    let kq = Kq::new();
    kq.apply(&[user(0, ADD, 0, 1)]);
    kq.nothing();
    kq.apply(&[user(0, TRIGGER, NOTE_TRIGGER, 1)]);
    assert_eq!(kq.event().udata, token(1));
    kq.nothing();
}

// Q70
#[test]
fn triggers_coalesce_and_the_newest_udata_counts() {
    let kq = Kq::new();
    kq.apply(&[user(0, ADD, 0, 1)]);
    kq.apply(&[user(0, TRIGGER, NOTE_TRIGGER, 1)]);
    kq.apply(&[user(0, TRIGGER, NOTE_TRIGGER, 2)]);
    assert_eq!(kq.event().udata, token(2));
    kq.nothing();
    kq.apply(&[user(0, EV_RECEIPT, NOTE_TRIGGER, 3)]);
    assert_eq!(kq.event().udata, token(3));
}

// Q70
#[test]
fn a_trigger_without_ev_clear_stays() {
    let kq = Kq::new();
    kq.apply(&[user(0, TRIGGER, 0, 4)]);
    kq.apply(&[user(0, TRIGGER, NOTE_TRIGGER, 4)]);
    kq.event();
    kq.event();
    kq.apply(&[user(0, EV_DELETE | EV_RECEIPT, 0, 0)]);
    kq.nothing();
}

// Q70
#[test]
fn a_trigger_of_what_is_not_there_fails() {
    let kq = Kq::new();
    let receipts = kq.change(&[user(5, EV_RECEIPT, NOTE_TRIGGER, 4)]).unwrap();
    assert_eq!(receipts[0].data, libc::ENOENT as isize);
    kq.nothing();
}

// Q71
#[test]
fn an_ident_of_the_programs_is_no_descriptor() {
    let kq = Kq::new();
    let (a, mut b) = pair();
    let ident = a.as_raw_fd() as usize;
    kq.apply(&[user(ident, ADD, 0, 1), read(&a, ADD, 2)]);
    b.write_all(b"x").unwrap();
    assert_eq!(kq.event().udata, token(2));
    // Closing the descriptor with that number does not affect it.
    drop(a);
    kq.apply(&[user(ident, TRIGGER, NOTE_TRIGGER, 1)]);
    assert_eq!(kq.event().udata, token(1));
    kq.apply(&[user(usize::MAX, ADD, 0, 3)]);
    kq.apply(&[user(usize::MAX, TRIGGER, NOTE_TRIGGER, 3)]);
    assert_eq!(kq.event().ident, usize::MAX);
}

// From FreeBSD's source.
#[test]
fn what_adds_does_not_trigger() {
    let kq = Kq::new();
    kq.apply(&[user(0, TRIGGER, NOTE_TRIGGER, 1)]);
    kq.nothing();
    kq.apply(&[user(0, TRIGGER, NOTE_TRIGGER, 2)]);
    assert_eq!(kq.event().udata, token(2));
}

// From FreeBSD's source.
#[test]
fn ev_clear_takes_the_trigger_of_the_same_change_back() {
    let kq = Kq::new();
    kq.apply(&[user(0, ADD, 0, 1)]);
    kq.apply(&[user(0, ADD, NOTE_TRIGGER, 1)]);
    kq.nothing();
}

#[test]
fn flags_are_kept_as_the_change_says() {
    let kq = Kq::new();
    kq.apply(&[user(0, ADD, 0b0001, 1)]);
    for (change, flags) in [
        (NOTE_FFNOP | 0b1000, 0b0001),
        (NOTE_FFOR | 0b0110, 0b0111),
        (NOTE_FFAND | 0b0011, 0b0011),
        (NOTE_FFCOPY | 0b1000, 0b1000),
    ] {
        kq.apply(&[user(0, EV_RECEIPT, NOTE_TRIGGER | change, 1)]);
        assert_eq!(kq.event().fflags, flags);
    }
}

#[test]
fn an_operation_that_is_complete_is_reported_once() {
    let kq = Kq::new();
    for filter in [EVFILT_AIO, EVFILT_LIO] {
        // SAFETY: the call has no memory-safety preconditions.
        let result = unsafe { kqueue_model_complete(kq.fd(), 7, filter, EV_EOF, 5, token(9)) };
        assert_eq!(result, 0);
        let event = kq.event();
        assert_eq!((event.ident, event.filter, event.data), (7, filter, 5));
        assert_eq!((event.flags & EV_EOF, event.udata), (EV_EOF, token(9)));
        kq.nothing();
    }
}

#[test]
fn an_operation_is_not_for_the_program_to_add() {
    let kq = Kq::new();
    let receipts = kq
        .change(&[Kevent {
            filter: EVFILT_AIO,
            ..user(7, ADD, 0, 1)
        }])
        .unwrap();
    assert_eq!(receipts[0].data, libc::EPERM as isize);
    // SAFETY: the call has no memory-safety preconditions.
    let result = unsafe { kqueue_model_complete(kq.fd(), 7, EVFILT_READ, 0, 0, token(0)) };
    assert_eq!(result, -1);
}
