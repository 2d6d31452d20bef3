//! A kernel, or a sandbox, without `epoll_pwait2`: timeouts are rounded up to
//! milliseconds, and the call is not tried again.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    target_os = "linux"
))]

mod util;

use std::time::{Duration, Instant};

use mio::{Backend, Token, Waker};
use util::Loop;

on_each_backend![
    refused_as_sandboxes_do,
    refused_as_old_kernels_do,
    killed_at_the_second_try,
];

/// From now on, `call` fails with an error in this thread and those it starts,
/// or, with none, kills the process.
fn refuse(call: libc::c_long, error: Option<i32>) {
    let action = match error {
        Some(error) => libc::SECCOMP_RET_ERRNO | error as u32,
        None => libc::SECCOMP_RET_KILL_PROCESS,
    };
    // Offset 0 of what a filter sees is the number of the call.
    let instructions = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            call as u32,
        ),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, action),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_ptr() as *mut libc::sock_filter,
    };
    // SAFETY: the kernel reads the program, which is valid during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &program as *const libc::sock_fprog,
        );
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

fn filter(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

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

fn refused_as_sandboxes_do(backend: Backend) {
    if util::in_child(backend, "refused_as_sandboxes_do") {
        refuse(libc::SYS_epoll_pwait2, Some(libc::EPERM));
        check_timeouts(&mut Loop::new(backend));
    }
}

fn refused_as_old_kernels_do(backend: Backend) {
    if util::in_child(backend, "refused_as_old_kernels_do") {
        refuse(libc::SYS_epoll_pwait2, Some(libc::ENOSYS));
        check_timeouts(&mut Loop::new(backend));
    }
}

/// That a refusal is remembered shows where a second try is deadly. Filters
/// stack, and the harshest verdict counts.
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
