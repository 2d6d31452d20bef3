//! The switches in the environment. Opening a kqueue reads each of them.

#![cfg(not(kqueue_library))]

mod util;

use std::env;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;

use kqueue_model::abi::*;

use util::{drain, pair, pipe, read, reset, tcp, user, write, Kq, ADD, LONG};

/// All threads share the environment.
static ENVIRONMENT: Mutex<()> = Mutex::new(());

fn kqueue_with(switch: &str, value: &str) -> Kq {
    let _one_at_a_time = ENVIRONMENT.lock().unwrap();
    env::set_var(switch, value);
    let kq = Kq::new();
    env::remove_var(switch);
    kq
}

fn plain_kqueue() -> Kq {
    let _one_at_a_time = ENVIRONMENT.lock().unwrap();
    Kq::new()
}

/// The filters of the events of one call.
fn filters(kq: &Kq) -> Vec<i16> {
    let mut filters: Vec<_> = kq.poll(LONG).iter().map(|event| event.filter).collect();
    filters.sort();
    filters
}

#[test]
fn noise_is_an_event_for_writing_whenever_the_peer_does_something() {
    let kq = kqueue_with("KQUEUE_MODEL_NOISY", "1");
    let (mut a, mut b) = tcp();
    kq.apply(&[write(&a, ADD, 1), read(&a, ADD, 1)]);
    assert_eq!(filters(&kq), [EVFILT_WRITE]);
    kq.nothing();
    b.write_all(b"x").unwrap();
    assert_eq!(filters(&kq), [EVFILT_WRITE, EVFILT_READ]);
    kq.nothing();
    a.write_all(b"x").unwrap();
    b.read_exact(&mut [0]).unwrap();
    assert_eq!(filters(&kq), [EVFILT_WRITE]);
    kq.nothing();
    b.shutdown(Shutdown::Write).unwrap();
    assert_eq!(filters(&kq), [EVFILT_WRITE, EVFILT_READ]);
    kq.nothing();
}

// Q40
#[test]
fn noise_is_an_event_for_writing_when_a_pipe_is_written_and_read() {
    let kq = kqueue_with("KQUEUE_MODEL_NOISY", "1");
    let (reader, mut writer) = pipe();
    kq.apply(&[write(&writer, ADD, 1)]);
    assert_eq!(filters(&kq), [EVFILT_WRITE]);
    kq.nothing();
    writer.write_all(b"x").unwrap();
    assert_eq!(filters(&kq), [EVFILT_WRITE]);
    kq.nothing();
    drain(&reader);
    assert_eq!(filters(&kq), [EVFILT_WRITE]);
    kq.nothing();
}

// Q43
#[test]
fn a_pipe_that_nobody_reads_cannot_be_registered() {
    for (value, errno) in [
        ("EBADF", libc::EBADF),
        ("EPIPE", libc::EPIPE),
        ("", libc::EPIPE),
    ] {
        let kq = kqueue_with("KQUEUE_MODEL_NOBODY_READS", value);
        let (reader, writer) = pipe();
        drop(reader);
        let receipts = kq.change(&[write(&writer, ADD, 1)]).unwrap();
        assert_eq!(receipts[0].data, errno as isize);
        kq.nothing();
        let receipts = kq.change(&[write(&writer, EV_DELETE, 1)]).unwrap();
        assert_eq!(receipts[0].data, libc::ENOENT as isize);
    }
}

#[test]
fn writing_to_a_receiver_without_senders_may_be_refused() {
    let kq = kqueue_with("KQUEUE_MODEL_WRITING_TO_RECEIVERS", "refused");
    let (reader, writer) = pipe();
    kq.apply(&[write(&reader, ADD, 1)]);
    drop(writer);
    kq.nothing();
    let (reader, writer) = pipe();
    drop(writer);
    let receipts = kq.change(&[write(&reader, ADD, 1)]).unwrap();
    assert_eq!(receipts[0].data, libc::EPIPE as isize);
    kq.nothing();
}

#[test]
fn writing_to_a_receiver_may_tell_that_there_is_no_sender() {
    let kq = kqueue_with("KQUEUE_MODEL_WRITING_TO_RECEIVERS", "reported");
    for registered_before in [true, false] {
        let (reader, mut writer) = pipe();
        if registered_before {
            kq.apply(&[write(&reader, ADD, 1)]);
            writer.write_all(b"x").unwrap();
            kq.nothing();
        }
        drop(writer);
        if !registered_before {
            kq.apply(&[write(&reader, ADD, 1)]);
        }
        let event = kq.event();
        assert_eq!((event.filter, event.flags & EV_EOF), (EVFILT_WRITE, EV_EOF));
        assert_eq!((event.data, event.fflags), (0, 0));
        kq.nothing();
    }
}

#[test]
fn there_may_be_a_limit_of_evfilt_user() {
    let kq = kqueue_with("KQUEUE_MODEL_MAX_USER", "2");
    kq.apply(&[user(0, ADD, 0, 1), user(1, ADD, 0, 1)]);
    let receipts = kq.change(&[user(2, ADD, 0, 1)]).unwrap();
    assert_eq!(receipts[0].data, libc::ENOMEM as isize);
    kq.apply(&[user(1, ADD, 0, 2), user(0, EV_DELETE, 0, 0)]);
    kq.apply(&[user(2, ADD, 0, 1)]);
}

#[test]
fn there_may_be_no_evfilt_user() {
    let kq = kqueue_with("KQUEUE_MODEL_WITHOUT_USER", "1");
    let receipts = kq.change(&[user(0, ADD, 0, 1)]).unwrap();
    assert_eq!(receipts[0].data, libc::EINVAL as isize);
    plain_kqueue().apply(&[user(0, ADD, 0, 1)]);
}

#[test]
fn the_error_in_fflags_can_be_chosen() {
    for (value, fflags) in [("61", 61), ("0", 0), ("", libc::ECONNRESET as u32)] {
        let kq = kqueue_with("KQUEUE_MODEL_FFLAGS", value);
        let (a, b) = tcp();
        kq.apply(&[read(&a, ADD, 1)]);
        reset(b);
        let event = kq.event();
        assert_eq!((event.flags & EV_EOF, event.fflags), (EV_EOF, fflags));
    }
}

#[test]
fn without_noise_there_is_none() {
    let kq = plain_kqueue();
    let (a, mut b) = pair();
    kq.apply(&[write(&a, ADD, 1), read(&a, ADD, 1)]);
    assert_eq!(filters(&kq), [EVFILT_WRITE]);
    b.write_all(b"x").unwrap();
    assert_eq!(filters(&kq), [EVFILT_READ]);
}
