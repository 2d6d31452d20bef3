//! `EVFILT_PROC` with `NOTE_EXIT`. `netbsd.txt` has no answers to this: by the manual pages.

#![cfg(not(kqueue_library))]

mod util;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use kqueue_model::abi::*;
use util::{token, Kq, ADD, DELETE};

fn waiting() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line"]).stdin(Stdio::piped());
    command.spawn().unwrap()
}

fn exit(pid: u32, flags: u16, fflags: u32, udata: usize) -> Kevent {
    Kevent {
        ident: pid as usize,
        filter: EVFILT_PROC,
        flags,
        fflags,
        data: 0,
        udata: token(udata),
    }
}

#[test]
fn an_exit_is_reported_once_and_ends_the_filter() {
    let kq = Kq::new();
    let mut child = waiting();
    kq.apply(&[exit(child.id(), ADD, NOTE_EXIT, 1)]);
    kq.apply(&[exit(child.id(), ADD, NOTE_EXIT, 2)]);
    kq.nothing();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let event = kq.event();
    assert_eq!(event.ident, child.id() as usize);
    assert_eq!((event.filter, event.fflags), (EVFILT_PROC, NOTE_EXIT));
    assert_eq!(event.udata, token(2));
    assert_eq!(event.flags & (EV_EOF | EV_ONESHOT), EV_EOF | EV_ONESHOT);
    kq.nothing();
    let receipts = kq.change(&[exit(child.id(), DELETE, 0, 0)]).unwrap();
    assert_eq!(receipts[0].data, libc::ENOENT as isize);

    // It was not waited for yet.
    let receipts = kq.change(&[exit(child.id(), ADD, NOTE_EXIT, 3)]).unwrap();
    let answer = match std::env::var("KQUEUE_MODEL_ZOMBIES").as_deref() {
        Ok("1") => 0,
        _ => libc::ESRCH as isize,
    };
    assert_eq!(receipts[0].data, answer);
    if answer == 0 {
        assert_eq!(kq.event().udata, token(3));
    }
    kq.nothing();
    child.wait().unwrap();
}

#[test]
fn a_deleted_filter_reports_nothing() {
    let kq = Kq::new();
    let mut child = waiting();
    kq.apply(&[exit(child.id(), ADD, NOTE_EXIT, 1)]);
    kq.apply(&[exit(child.id(), DELETE, 0, 0)]);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    kq.nothing();
}

#[test]
fn a_filter_that_was_added_without_the_note_reports_nothing() {
    let kq = Kq::new();
    let mut child = waiting();
    kq.apply(&[exit(child.id(), ADD, 0, 1)]);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    kq.nothing();
}

#[test]
fn what_is_no_process_or_no_exit_is_refused() {
    let kq = Kq::new();
    let mut child = waiting();
    let pid = child.id();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    let receipts = kq.change(&[exit(pid, ADD, NOTE_EXIT, 1)]).unwrap();
    assert_eq!(receipts[0].data, libc::ESRCH as isize);
    const NOTE_FORK: u32 = 0x4000_0000;
    let other = [exit(std::process::id(), ADD, NOTE_EXIT | NOTE_FORK, 1)];
    assert_eq!(kq.change(&other).unwrap()[0].data, libc::EINVAL as isize);
}
