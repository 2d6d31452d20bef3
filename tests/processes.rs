//! Child processes, and tests that need a process of their own.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", unix))]

mod util;

use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::process;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::unix::pipe;
use mio::{Backend, Interest, Token, Waker};
use util::{any_port, Loop};

on_each_backend![
    a_reused_descriptor_is_a_source_of_its_own,
    dropping_in_a_forked_child_does_not_harm_the_parent,
    dropping_in_a_forked_child_closes_no_descriptor_of_the_child,
    a_child_with_its_parents_process_id_closes_no_descriptor_of_its_own,
    poll_until_continues_after_the_process_was_stopped_and_continued,
    poll_is_interrupted_or_continues_when_the_process_was_stopped_and_continued,
];

fn a_reused_descriptor_is_a_source_of_its_own(backend: Backend) {
    // In a process of its own, where no other test reuses the descriptor.
    if !util::in_child(backend, "a_reused_descriptor_is_a_source_of_its_own") {
        return;
    }
    let mut looper = Loop::new(backend);
    let mut last = None;
    for round in 0..5 {
        let mut socket = UdpSocket::bind(any_port()).unwrap();
        let fd = socket.as_raw_fd();
        assert!(last.is_none() || last == Some(fd));
        last = Some(fd);
        looper
            .registry()
            .register(&mut socket, Token(round), Interest::WRITABLE)
            .unwrap();
        looper.until("this round's", |event| {
            assert_eq!(event.token(), Token(round));
            event.is_writable()
        });
        // Closed while it is registered, and not deregistered.
    }
}

/// A child that drops its inherited values, and does nothing else.
fn dropping_in_a_forked_child_does_not_harm_the_parent(backend: Backend) {
    for waker_first in [false, true] {
        let mut looper = Loop::new(backend);
        let registry = looper.registry().try_clone().unwrap();
        let waker = Waker::new(looper.registry(), Token(1)).unwrap();
        let (mut sender, mut receiver) = pipe::new().unwrap();
        registry
            .register(&mut receiver, Token(2), Interest::READABLE)
            .unwrap();

        // SAFETY: the child only drops, which closes descriptors and frees memory, and leaves by
        // `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child != -1);
        if child == 0 {
            match waker_first {
                true => drop((waker, receiver, looper, registry)),
                false => drop((looper, registry, waker, receiver)),
            }
            // SAFETY: `_exit` ends the process, and runs no code of it.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);

        sender.write_all(b"x").unwrap();
        looper.until_readable(Token(2));
        waker.wake().unwrap();
        looper.until_readable(Token(1));
        registry.deregister(&mut receiver).unwrap();
    }
}

/// The child opens files of its own. If it does not inherit the queue's descriptor, one of them may
/// get that descriptor.
fn dropping_in_a_forked_child_closes_no_descriptor_of_the_child(backend: Backend) {
    let looper = Loop::new(backend);
    let waker = Waker::new(looper.registry(), Token(1)).unwrap();
    let (_sender, receiver) = pipe::new().unwrap();

    // SAFETY: the child duplicates descriptors and drops, which closes some and frees
    // memory, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child != -1);
    if child == 0 {
        let mut own = [-1; 8];
        for fd in &mut own {
            // SAFETY: `dup` and `fcntl` have no memory-safety preconditions.
            *fd = unsafe { libc::dup(receiver.as_raw_fd()) };
        }
        drop((looper, waker));
        // SAFETY: `fcntl` with F_GETFD has no memory-safety preconditions.
        let is_open = |&fd: &i32| unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 };
        let are_open = own.iter().all(is_open);
        // SAFETY: `_exit` ends the process, and runs no code of it.
        unsafe { libc::_exit(i32::from(!are_open)) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child died: {status}");
    assert_eq!(
        libc::WEXITSTATUS(status),
        0,
        "a file of the child's was closed"
    );
}

/// Like the first process of a container that creates another container.
fn a_child_with_its_parents_process_id_closes_no_descriptor_of_its_own(backend: Backend) {
    let test = "a_child_with_its_parents_process_id_closes_no_descriptor_of_its_own";
    if !util::HAS_PROCESS_NAMESPACES || !util::in_child(backend, test) {
        return;
    }
    let is_well = util::as_first_process(|| {
        let looper = Loop::new(backend);
        let waker = Waker::new(looper.registry(), Token(1)).unwrap();
        let (mut sender, mut receiver) = pipe::new().unwrap();
        looper
            .registry()
            .register(&mut receiver, Token(2), Interest::READABLE)
            .unwrap();
        let mut inherited = Some((looper, waker, receiver));
        let is_child_well = util::as_first_process(|| {
            let own = [(); 8].map(|()| {
                // SAFETY: `dup` and `fcntl` have no memory-safety preconditions.
                unsafe { libc::dup(0) }
            });
            drop(inherited.take());
            // SAFETY: `fcntl` with F_GETFD has no memory-safety preconditions.
            let is_open = |&fd: &i32| unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 };
            own.iter().all(is_open)
        });
        let (looper, waker, _receiver) = inherited.as_mut().unwrap();
        sender.write_all(b"x").unwrap();
        looper.until_readable(Token(2));
        waker.wake().unwrap();
        looper.until_readable(Token(1));
        is_child_well
    });
    assert!(is_well);
}

/// Stops this process when the calling thread sleeps the next time, and then continues it.
fn stop_and_continue() -> Option<process::Child> {
    const SCRIPT: &str = r#"
        read -r begin
        state() { read -r line < "/proc/$1/task/$2/stat"; line=${line##*) }; state=${line%% *}; }
        until state "$@" && [ "$state" = S ]; do [ -d "/proc/$1" ] || exit; done
        kill -STOP "$1"
        until state "$@" && [ "$state" = T ]; do [ -d "/proc/$1" ] || exit; done
        kill -CONT "$1"
    "#;

    if !util::KNOWS_WHO_SLEEPS {
        return None;
    }
    let (process, thread) = (process::id(), util::this_thread());
    let mut shell = process::Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .args([process.to_string(), format!("{thread:?}")])
        .stdin(process::Stdio::piped())
        .spawn()
        .unwrap();
    // Only once it is running: starting a thread may sleep as well.
    let mut begin = shell.stdin.take().unwrap();
    begin.write_all(b"\n").unwrap();
    Some(shell)
}

fn poll_until_continues_after_the_process_was_stopped_and_continued(backend: Backend) {
    let test = "poll_until_continues_after_the_process_was_stopped_and_continued";
    if !util::in_child(backend, test) {
        return;
    }
    let mut looper = Loop::new(backend);
    let Some(mut shell) = stop_and_continue() else {
        return;
    };
    let deadline = Instant::now() + Duration::from_millis(300);
    let ended = looper.poll.poll_until(&mut looper.events, Some(deadline));
    ended.unwrap();
    assert!(Instant::now() >= deadline && looper.events.is_empty());
    shell.wait().unwrap();
}

/// The documentation describes this for Linux: no signal was handled, but epoll is interrupted.
fn poll_is_interrupted_or_continues_when_the_process_was_stopped_and_continued(backend: Backend) {
    let test = "poll_is_interrupted_or_continues_when_the_process_was_stopped_and_continued";
    if !util::in_child(backend, test) {
        return;
    }
    let mut looper = Loop::new(backend);
    let Some(mut shell) = stop_and_continue() else {
        return;
    };
    let timeout = match backend {
        Backend::Epoll => util::patience(),
        _ => Duration::from_millis(300),
    };
    let start = Instant::now();
    let polled = looper.poll.poll(&mut looper.events, Some(timeout));
    assert!(looper.events.is_empty());
    match polled {
        Ok(()) => {
            assert_ne!(backend, Backend::Epoll);
            assert!(start.elapsed() >= timeout);
        }
        Err(error) => {
            assert_ne!(backend, Backend::Poll);
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
    }
    shell.wait().unwrap();
}
