//! If eventfd is refused, as by sandboxes, wakers are on pipes.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    target_os = "linux",
    not(any(mio_model = "kqueue", mio_model = "event-ports"))
))]

mod util;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

use mio::{Backend, Poll, Token, Waker};
use util::{refuse, Loop};

on_each_backend![
    wakers_work_where_eventfd_is_unknown,
    wakers_work_where_eventfd_is_refused,
    wakers_work_where_eventfd_is_forbidden,
    another_error_is_not_a_refusal,
];

fn refused_with(backend: Backend, error: i32, test: &str) {
    if util::in_child(backend, test) {
        refuse(libc::SYS_eventfd2, Some(error));
        check_wakers(backend);
    }
}

fn wakers_work_where_eventfd_is_unknown(backend: Backend) {
    let test = "wakers_work_where_eventfd_is_unknown";
    refused_with(backend, libc::ENOSYS, test);
}

fn wakers_work_where_eventfd_is_refused(backend: Backend) {
    let test = "wakers_work_where_eventfd_is_refused";
    refused_with(backend, libc::EPERM, test);
}

fn wakers_work_where_eventfd_is_forbidden(backend: Backend) {
    let test = "wakers_work_where_eventfd_is_forbidden";
    refused_with(backend, libc::EACCES, test);
}

fn another_error_is_not_a_refusal(backend: Backend) {
    if cfg!(mio_unsupported_force_waker_pipe) {
        return; // no call asks for an eventfd
    }
    if util::in_child(backend, "another_error_is_not_a_refusal") {
        let poll = Poll::with_backend(backend).unwrap();
        refuse(libc::SYS_eventfd2, Some(libc::EMFILE));
        let error = Waker::new(poll.registry(), Token(0)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}

fn check_wakers(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Arc::new(Waker::new(looper.registry(), Token(1)).unwrap());
    let other = Waker::new(looper.registry(), Token(2)).unwrap();

    // More than a pipe's capacity, with and without a poll in between.
    for _ in 0..20_000 {
        waker.wake().unwrap();
        looper.until_readable(Token(1));
    }
    looper.assert_nothing_ready();
    other.wake().unwrap();
    other.wake().unwrap();
    looper.until_readable(Token(2));
    looper.assert_quiet();

    // Beyond the wakers that coalesce, each wake writes.
    let many: Vec<_> = (0..usize::BITS)
        .map(|_| Waker::new(looper.registry(), Token(3)).unwrap())
        .collect();
    let last = many.last().unwrap();
    for _ in 0..100_000 {
        last.wake().unwrap();
    }
    looper.until_readable(Token(3));
    drop(many);

    let sent = Arc::new(AtomicUsize::new(0));
    let messages = 20_000;
    let sender = thread::spawn({
        let (sent, waker) = (Arc::clone(&sent), Arc::clone(&waker));
        move || {
            for _ in 0..messages {
                sent.fetch_add(1, Ordering::Relaxed);
                waker.wake().unwrap();
            }
        }
    });
    while sent.load(Ordering::Relaxed) < messages {
        looper.until_readable(Token(1));
    }
    sender.join().unwrap();
    drop((waker, other));
    looper.assert_quiet();
}
