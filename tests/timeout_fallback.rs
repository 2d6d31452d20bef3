//! A kernel, or a sandbox, without `epoll_pwait2`: timeouts are rounded up to
//! milliseconds, and the call is not tried again.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    target_os = "linux",
    not(any(mio_model = "kqueue", mio_model = "event-ports"))
))]

mod util;

use std::time::{Duration, Instant};

use mio::{Backend, Token, Waker};
use util::{refuse, Loop};

on_each_backend![
    refused_as_old_kernels_do,
    refused_as_sandboxes_do,
    refused_as_other_sandboxes_do,
    killed_at_the_second_try,
];

fn check_timeouts(looper: &mut Loop) {
    for micros in [1, 100, 999, 1500, 2001] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
        let waited = start.elapsed();
        assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
        assert!(looper.events.is_empty());
    }
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    for timeout in [Duration::MAX, Duration::from_micros(3_600_000_001)] {
        waker.wake().unwrap();
        looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
        assert_eq!(looper.events.iter().count(), 1);
    }
}

fn refused_with(backend: Backend, error: i32, test: &str) {
    if util::in_child(backend, test) {
        refuse(libc::SYS_epoll_pwait2, Some(error));
        check_timeouts(&mut Loop::new(backend));
    }
}

fn refused_as_old_kernels_do(backend: Backend) {
    refused_with(backend, libc::ENOSYS, "refused_as_old_kernels_do");
}

fn refused_as_sandboxes_do(backend: Backend) {
    refused_with(backend, libc::EPERM, "refused_as_sandboxes_do");
}

fn refused_as_other_sandboxes_do(backend: Backend) {
    refused_with(backend, libc::EACCES, "refused_as_other_sandboxes_do");
}

/// A second attempt to call it kills the process, so the test shows that the refusal is remembered.
/// (Filters stack, and the harshest verdict counts.)
fn killed_at_the_second_try(backend: Backend) {
    if util::in_child(backend, "killed_at_the_second_try") {
        refuse(libc::SYS_epoll_pwait2, Some(libc::ENOSYS));
        let mut looper = Loop::new(backend);
        check_timeouts(&mut looper);
        refuse(libc::SYS_epoll_pwait2, None);
        check_timeouts(&mut looper);
        check_timeouts(&mut Loop::new(backend));
    }
}
