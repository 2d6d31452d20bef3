//! The exit of a child process as a source.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", unix))]

mod util;

use std::io::{ErrorKind, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mio::event::Source;
use mio::unix::ChildExit;
use mio::{Backend, Interest, Token, Waker};
use util::{Differences, Loop};

on_each_backend![
    an_exit_is_reported,
    an_exit_before_registering_is_reported,
    an_exit_is_reported_anew_after_reregister,
    an_exit_with_a_mode_is_reported_as_documented,
    a_deregistered_exit_is_not_reported,
    a_dropped_exit_is_not_reported,
    a_child_that_was_waited_for_is_not_found,
    registering_follows_the_rules,
    exits_that_race_with_registering_are_all_reported,
    a_system_or_backend_without_it_says_so,
    a_reused_number_is_another_child,
    a_sandbox_that_refuses_leaves_the_child_alone,
];

const CHILD: Token = Token(1);
const OTHER: Token = Token(2);

/// A child that runs until it is told to exit.
fn waiting() -> Child {
    Command::new("sh")
        .args(["-c", "read line; exit 7"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn tell_to_exit(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

/// Waits until it has exited, and does not reap it.
fn until_zombie(child: &Child) {
    assert!(is_zombie(child, 0));
}

/// Whether it has exited, and was not reaped.
fn is_zombie(child: &Child, options: libc::c_int) -> bool {
    // SAFETY: all zeros are a valid `siginfo_t`; the call writes one, and `info` outlives it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOWAIT | options;
        let waited = libc::waitid(libc::P_PID, child.id() as libc::id_t, &mut info, options);
        assert_eq!(waited, 0);
        info.si_signo != 0
    }
}

/// The child's status, which has to be there: an event says so, and nobody else has taken it.
fn reap(child: &mut Child) -> Option<i32> {
    let status = child.try_wait().expect("nobody else has reaped it");
    status.expect("it has exited").code()
}

/// A child that waits, and the source of its exit, which is not registered. `None` if the backend has no
/// such source.
fn watched(backend: Backend) -> Option<(Loop, Child, ChildExit)> {
    if !backend.watches_children() {
        return None;
    }
    let child = waiting();
    let exit = ChildExit::new(&child).unwrap();
    Some((Loop::new(backend), child, exit))
}

fn an_exit_is_reported(backend: Backend) {
    let Some((mut looper, mut child, mut exit)) = watched(backend) else {
        return;
    };
    looper.register(&mut exit, CHILD, Interest::READABLE);
    looper.assert_quiet();
    assert_eq!(child.try_wait().unwrap(), None);
    tell_to_exit(&mut child);
    looper.until_readable(CHILD);
    assert_eq!(reap(&mut child), Some(7));
    looper.registry().deregister(&mut exit).unwrap();
    looper.assert_quiet();
}

fn an_exit_before_registering_is_reported(backend: Backend) {
    if !backend.watches_children() {
        return;
    }
    let mut looper = Loop::new(backend);
    let [mut one, mut two] = [waiting(), waiting()];
    let mut exit_of_one = ChildExit::new(&one).unwrap();
    tell_to_exit(&mut one);
    tell_to_exit(&mut two);
    until_zombie(&one);
    until_zombie(&two);
    let mut exit_of_two = ChildExit::new(&two).unwrap();
    looper.register(&mut exit_of_one, CHILD, Interest::READABLE);
    looper.register(&mut exit_of_two, OTHER, Interest::READABLE);
    let mut missing = vec![CHILD, OTHER];
    looper.until("both exits", |event| {
        assert!(event.is_readable() && !event.is_writable());
        missing.retain(|token| *token != event.token());
        missing.is_empty()
    });
    assert_eq!(reap(&mut one), Some(7));
    assert_eq!(reap(&mut two), Some(7));
    for exit in [&mut exit_of_one, &mut exit_of_two] {
        looper.registry().deregister(exit).unwrap();
    }
}

fn an_exit_is_reported_anew_after_reregister(backend: Backend) {
    let Some((mut looper, mut child, mut exit)) = watched(backend) else {
        return;
    };
    looper.register(&mut exit, OTHER, Interest::READABLE);
    looper.reregister(&mut exit, CHILD, Interest::READABLE);
    tell_to_exit(&mut child);
    looper.until_readable(CHILD);
    for token in [OTHER, CHILD] {
        looper.reregister(&mut exit, token, Interest::READABLE);
        looper.until("the exit", |event| {
            assert_eq!(event.token(), token);
            event.is_readable()
        });
    }
    assert_eq!(reap(&mut child), Some(7));
    looper.registry().deregister(&mut exit).unwrap();
}

/// A kqueue reports an exit once for each registration, whatever the mode, and whether or not the child had
/// exited before.
fn an_exit_with_a_mode_is_reported_as_documented(backend: Backend) {
    if !backend.watches_children() {
        return;
    }
    for is_before in [true, false] {
        for (mode, events) in [
            (Interest::READABLE.level(), 5),
            (Interest::READABLE.oneshot(), 1),
        ] {
            let events = match backend {
                Backend::Kqueue => 1,
                _ => events,
            };
            let mut looper = Loop::new(backend);
            let mut child = waiting();
            let mut exit = ChildExit::new(&child).unwrap();
            if is_before {
                tell_to_exit(&mut child);
                until_zombie(&child);
            }
            looper.registry().register(&mut exit, OTHER, mode).unwrap();
            if !is_before {
                tell_to_exit(&mut child);
                until_zombie(&child);
            }
            for token in [OTHER, CHILD] {
                if token == CHILD {
                    looper
                        .registry()
                        .reregister(&mut exit, token, mode)
                        .unwrap();
                }
                looper.until_readable(token);
                for _ in 1..events {
                    looper.until_readable(token);
                }
                if events == 1 {
                    looper.assert_quiet();
                }
            }
            assert_eq!(reap(&mut child), Some(7));
        }
    }
}

fn a_deregistered_exit_is_not_reported(backend: Backend) {
    let Some((mut looper, mut child, mut exit)) = watched(backend) else {
        return;
    };
    looper.register(&mut exit, CHILD, Interest::READABLE);
    looper.registry().deregister(&mut exit).unwrap();
    tell_to_exit(&mut child);
    until_zombie(&child);
    looper.assert_quiet();
    // Not even if it was about to be reported.
    looper.register(&mut exit, CHILD, Interest::READABLE);
    looper.registry().deregister(&mut exit).unwrap();
    looper.assert_quiet();
    assert_eq!(reap(&mut child), Some(7));
}

fn a_dropped_exit_is_not_reported(backend: Backend) {
    let Some((mut looper, mut child, mut exit)) = watched(backend) else {
        return;
    };
    looper.register(&mut exit, CHILD, Interest::READABLE);
    drop(exit);
    tell_to_exit(&mut child);
    until_zombie(&child);
    looper.assert_quiet();
    assert_eq!(reap(&mut child), Some(7));
}

fn a_child_that_was_waited_for_is_not_found(backend: Backend) {
    if !backend.watches_children() {
        return;
    }
    let mut child = waiting();
    tell_to_exit(&mut child);
    child.wait().unwrap();
    let error = ChildExit::new(&child).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn registering_follows_the_rules(backend: Backend) {
    let Some((mut looper, mut child, mut exit)) = watched(backend) else {
        return;
    };
    let another = Loop::new(backend);
    let registry = looper.registry();

    let refused = registry.register(&mut exit, CHILD, Interest::WRITABLE);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    let absent = registry.deregister(&mut exit).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    let absent = registry.reregister(&mut exit, CHILD, Interest::READABLE);
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);

    let both = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut exit, CHILD, both).unwrap();
    let again = registry.register(&mut exit, CHILD, both).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let refused = registry.reregister(&mut exit, CHILD, Interest::WRITABLE);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    if backend != Backend::Epoll || cfg!(debug_assertions) {
        let elsewhere = another.registry().deregister(&mut exit).unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::NotFound);
    }
    registry.deregister(&mut exit).unwrap();

    // A poll that is gone counts for nothing.
    another.register(&mut exit, CHILD, Interest::READABLE);
    drop(another);
    looper.register(&mut exit, CHILD, Interest::READABLE);
    tell_to_exit(&mut child);
    looper.until_readable(CHILD);
    assert_eq!(reap(&mut child), Some(7));
}

/// Two thousand children that exit at once, while one thread makes and registers sources, and another
/// polls.
fn exits_that_race_with_registering_are_all_reported(backend: Backend) {
    if !backend.watches_children() {
        return;
    }
    const DONE: Token = Token(usize::MAX);
    let rounds = 20 / util::slowness().min(10);
    for _ in 0..rounds {
        let mut looper = Loop::new(backend);
        let registry = looper.registry().try_clone().unwrap();
        let waker = Waker::new(&registry, DONE).unwrap();
        let (sender, exits) = mpsc::channel();
        let polling = thread::spawn(move || loop {
            looper.assert_some_ready();
            for event in &looper.events {
                if event.token() == DONE {
                    return;
                }
                assert!(event.is_readable());
                sender.send(event.token().0).unwrap();
            }
        });
        let mut children = Vec::new();
        for n in 0..100 {
            let child = Command::new("true").spawn().unwrap();
            if n % 3 == 0 {
                // More of them have exited by now.
                thread::sleep(Duration::from_micros(300));
            }
            let mut exit = ChildExit::new(&child).unwrap();
            registry
                .register(&mut exit, Token(n), Interest::READABLE)
                .unwrap();
            children.push((child, exit, false));
        }
        while children.iter().any(|(_, _, is_reported)| !is_reported) {
            let Ok(n) = exits.recv_timeout(util::patience() / 5) else {
                // A child that an emulator starts may hang before it runs.
                for (child, _, _) in children
                    .iter_mut()
                    .filter(|(_, _, is_reported)| !is_reported)
                {
                    assert!(
                        !is_zombie(child, libc::WNOHANG),
                        "its exit was not reported"
                    );
                    child.kill().unwrap();
                }
                continue;
            };
            let (child, _, is_reported) = &mut children[n];
            if !*is_reported {
                let code = reap(child);
                assert!(code == Some(0) || code.is_none(), "{code:?}");
                *is_reported = true;
            }
        }
        for (_, exit, _) in &mut children {
            registry.deregister(exit).unwrap();
        }
        waker.wake().unwrap();
        polling.join().unwrap();
    }
}

fn a_system_or_backend_without_it_says_so(backend: Backend) {
    if backend.watches_children() {
        return;
    }
    let looper = Loop::new(backend);
    let mut child = waiting();
    let watched = ChildExit::new(&child);
    let mut backends = Backend::available().iter();
    if !backends.any(|backend| backend.watches_children()) {
        let error = watched.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "before registering");
    }
    let registered = watched.and_then(|mut exit| {
        looper
            .registry()
            .register(&mut exit, CHILD, Interest::READABLE)
    });
    assert_eq!(registered.unwrap_err().kind(), ErrorKind::Unsupported);
    tell_to_exit(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

/// A source whose child was reaped does not disturb the source of a later child with the same number.
fn a_reused_number_is_another_child(backend: Backend) {
    use std::fs;

    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if !backend.watches_children() {
        return;
    }
    let mut looper = Loop::new(backend);
    let mut former = waiting();
    let mut exit_of_former = ChildExit::new(&former).unwrap();
    looper.register(&mut exit_of_former, CHILD, Interest::READABLE);
    tell_to_exit(&mut former);
    looper.until_readable(CHILD);
    assert_eq!(reap(&mut former), Some(7));

    // Others start processes as well.
    let mut later = (0..1000).find_map(|_| {
        if let Err(error) = fs::write(LAST, (former.id() - 1).to_string()) {
            eprintln!("numbers of processes cannot be chosen here: {error}");
            return None;
        }
        let mut child = waiting();
        if child.id() == former.id() {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        None
    });
    let Some(later) = &mut later else {
        assert!(fs::write(LAST, "1").is_err(), "no number was used again");
        return;
    };
    let mut exit_of_later = ChildExit::new(later).unwrap();
    looper.register(&mut exit_of_later, OTHER, Interest::READABLE);
    drop(exit_of_former);
    tell_to_exit(later);
    looper.until("the later child", |event| event.token() == OTHER);
    assert_eq!(reap(later), Some(7));
}

fn a_sandbox_that_refuses_leaves_the_child_alone(backend: Backend) {
    if !util::in_child(backend, "a_sandbox_that_refuses_leaves_the_child_alone") {
        return;
    }
    let mut child = waiting();
    while util::refuse_next_call_on_processes() {
        let error = ChildExit::new(&child).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    tell_to_exit(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

/// A source of any type can be put behind the trait.
#[test]
fn it_is_a_source_that_can_be_sent() {
    fn check<T: Source + Send + Sync + std::fmt::Debug + 'static>() {}
    check::<ChildExit>();
}
