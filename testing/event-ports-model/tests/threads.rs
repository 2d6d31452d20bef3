//! Threads that share ports, by the rows of `semantics.md`. There are enough of them to find a lost
//! or repeated event.

mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use event_ports_model as model;
use support::*;

const IN: i16 = libc::POLLIN;

/// Starts a thread that waits for one event, calls a function while it waits, and returns the
/// thread's answer.
fn while_waiting(port: &Port, f: impl FnOnce()) -> Result<port_event> {
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let waiting = scope.spawn(move || {
            sender.send(thread_id()).unwrap();
            port.get(LONG)
        });
        until_waiting(receiver.recv().unwrap());
        f();
        waiting.join().unwrap()
    })
}

#[test]
fn a_change_by_another_thread_takes_effect_at_once() {
    let (port, (mut a, b)) = (Port::new(), pair());
    let sent = while_waiting(&port, || port.send(0, 1).unwrap());
    assert_eq!(user(&sent.unwrap()), 1);
    let out = libc::POLLOUT;
    let ready = while_waiting(&port, || port.associate(&b, out, 2).unwrap());
    assert_eq!(user(&ready.unwrap()), 2);
    let later = while_waiting(&port, || {
        port.associate(&b, IN, 3).unwrap();
        a.write_all(b"x").unwrap();
    });
    assert_eq!(user(&later.unwrap()), 3);
    // The word is that of the last association.
    port.associate(&b, libc::POLLPRI, 4).unwrap();
    let changed = while_waiting(&port, || port.associate(&b, IN, 5).unwrap());
    assert_eq!(user(&changed.unwrap()), 5);
    // The event of a dissociated descriptor does not end the wait.
    b.set_nonblocking(true).unwrap();
    (&b).read_exact(&mut [0]).unwrap();
    port.associate(&b, IN, 6).unwrap();
    let other = while_waiting(&port, || {
        port.dissociate(&b).unwrap();
        a.write_all(b"x").unwrap();
        port.send(0, 7).unwrap();
    });
    assert_eq!(user(&other.unwrap()), 7);
}

#[test]
fn closing_a_port_ends_the_waits_on_it() {
    let port = std::mem::ManuallyDrop::new(Port::new());
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let waiting = [1, 1, 2].map(|wanted| {
            let (sender, port) = (sender.clone(), &port);
            scope.spawn(move || {
                sender.send(thread_id()).unwrap();
                port.getn(9, wanted, LONG).result
            })
        });
        for _ in &waiting {
            until_waiting(receiver.recv().unwrap());
        }
        let start = Instant::now();
        assert_eq!(model::close(port.0), 0);
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Err(libc::EBADF));
        }
        // Not when their timeout had passed.
        assert!(start.elapsed() < LONG.unwrap() / 2);
    });
}

#[test]
fn an_event_goes_to_one_thread() {
    const EVENTS: usize = 2000;

    let port = Port::new();
    let seen: Vec<_> = (0..EVENTS).map(|_| AtomicUsize::new(0)).collect();
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for max in [1, 1, 7, 64] {
            let (port, seen, total) = (&port, &seen, &total);
            scope.spawn(move || {
                while total.load(Ordering::SeqCst) < EVENTS {
                    let answer = port.getn(max, 1, Some(Duration::from_millis(20)));
                    assert!(matches!(answer.result, Ok(()) | Err(libc::ETIME)));
                    for event in answer.events() {
                        seen[user(event)].fetch_add(1, Ordering::SeqCst);
                        total.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for user in 0..EVENTS {
            port.send(0, user).unwrap();
        }
    });
    assert!(seen.iter().all(|times| times.load(Ordering::SeqCst) == 1));
}

/// Threads pass bytes around over many sockets. The thread that takes a socket's event associates
/// it again: a lost event stops the ring, and a repeated one finds nothing to read. Meanwhile other
/// threads associate, dissociate and close on the same port.
#[test]
fn no_event_is_lost_or_doubled_under_stress() {
    const SOCKETS: usize = 16;
    const HOPS: usize = 30_000;

    let port = Port::new();
    let pairs: Vec<_> = (0..SOCKETS).map(|_| pair()).collect();
    let hops = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    for (user, (_, reader)) in pairs.iter().enumerate() {
        port.associate(reader, IN, user).unwrap();
    }
    for (writer, _) in &pairs[..4] {
        (&*writer).write_all(b"x").unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let event = match port.get(LONG) {
                        Ok(event) if event.portev_source == PORT_SOURCE_FD => event,
                        // The end.
                        other => return assert!(other.is_ok(), "an event was lost"),
                    };
                    let user = user(&event);
                    if user >= SOCKETS {
                        continue;
                    }
                    // No other thread has this socket now.
                    let mut bytes = [0; 9];
                    let count = (&pairs[user].1).read(&mut bytes).unwrap();
                    port.associate(&pairs[user].1, IN, user).unwrap();
                    for _ in 0..count {
                        let hop = hops.fetch_add(1, Ordering::SeqCst);
                        let next = (user + 1 + hop % 3) % SOCKETS;
                        (&pairs[next].0).write_all(b"x").unwrap();
                        if hop == HOPS {
                            done.store(true, Ordering::SeqCst);
                            (0..3).for_each(|_| port.send(0, 0).unwrap());
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let (a, b) = pair();
                port.associate(&a, IN | libc::POLLOUT, SOCKETS).unwrap();
                port.associate(&b, IN, SOCKETS).unwrap();
                let _ = port.dissociate(&a);
            }
        });
    });
}
