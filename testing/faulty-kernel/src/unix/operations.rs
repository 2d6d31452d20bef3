//! The operations, in the order of the public interface.

use std::io::{self, Read, Write};
use std::net;
use std::os::fd::AsRawFd;
use std::os::unix::net as uds;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libc::c_int;
use mio::net::{TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{pipe, SourceFd};
use mio::{Backend, Events, Interest, Poll};

use super::model::{self, number};
use super::{errors, pair, IS_OPEN};
use crate::operation::{operation, Expected, Operation, Steps};
use crate::record::{self, patience, Failure};
use crate::steps::{self, any_port, assert_reported, drop_it, register, wait_for};
use crate::world::{World, RENAMED, SOURCE};

pub fn all(backend: Backend) -> Vec<Operation> {
    let mut all = Vec::new();
    polls(&mut all, backend);
    registrations(&mut all);
    during_a_wait(&mut all);
    wakers(&mut all, backend);
    tcp(&mut all);
    udp(&mut all);
    unix_sockets(&mut all);
    pipes(&mut all);
    all
}

fn polls(all: &mut Vec<Operation>, backend: Backend) {
    let opened = steps::open_poll();
    all.push(opened.build());
    let dropped = steps::drop_poll();
    all.push(dropped.build());

    let timeouts = [
        ("no timeout", None),
        ("timeout zero", Some(Duration::ZERO)),
        ("timeout 10 ms", Some(Duration::from_millis(10))),
        ("timeout 1.5 ms", Some(Duration::from_micros(1500))),
    ];
    for (name, timeout) in timeouts {
        // No thread waits, so nothing is interrupted. (The kernel never returns this for an epoll.)
        let is_at_once = timeout == Some(Duration::ZERO) && backend == Backend::Poll;
        let answer = move |failure: Failure| match (failure.call, failure.error) {
            (_, libc::EINTR) if is_at_once => Some(Expected::Success),
            _ => None,
        };
        let ready_answer = move |failure: Failure| match (failure.call, failure.error) {
            (number::PORT_GETN, libc::ETIME) if timeout == Some(Duration::ZERO) => Some(A_LIE),
            _ => answer(failure),
        };
        let ready = steps::poll_ready(name, timeout).calls_vary();
        all.push(ready.answers(ready_answer).build());
        if let Some(timeout) = timeout {
            let idle = steps::poll_idle(name, timeout).calls_vary();
            all.push(idle.answers(answer).build());
        }
    }
    let woken = steps::poll_woken().calls_vary();
    let woken = woken.answers(move |failure| match (failure.call, failure.error) {
        (number::PORT_GETN, libc::EBADF | libc::EBADFD) => {
            Some(Expected::LeftOut("a port that is closed stays closed"))
        }
        // The wake is there already. Alert mode that could not be ended is met again.
        (number::PORT_GETN | number::PORT_ALERT, _) => Some(Expected::Success),
        _ => reading_own_descriptor(failure),
    });
    all.push(woken.build());
    let hung_up = steps::poll_hung_up().calls_vary();
    all.push(hung_up.answers(probing).build());
    let failed = polling(
        "Poll::poll: a source has an error",
        refused_datagram,
        None,
        |world, _, _| world.until(SOURCE),
    );
    all.push(failed.quiet().answers(probing).build());
    let probed = polling(
        "Poll::poll: a raw descriptor is probed",
        |world| {
            let (source, mut peer) = pair();
            let mut raw = SourceFd(&source.as_raw_fd());
            let registry = world.poll.registry();
            registry
                .register(&mut raw, SOURCE, Interest::READABLE)
                .unwrap();
            peer.write_all(b"x").unwrap();
            world.until(SOURCE);
            (source, peer)
        },
        Some(Duration::from_millis(100)),
        move |world, _, _| {
            if backend == Backend::Poll {
                world.until(SOURCE);
            }
        },
    );
    all.push(probed.quiet().answers(probing_with_pauses).build());
    let registered = polling(
        "Poll::poll: another thread registers a source",
        |world| {
            let registry = world.poll.registry().try_clone().unwrap();
            let other = thread::spawn(move || {
                record::first_call_has_begun();
                let (mut source, mut peer) = UnixStream::pair().unwrap();
                peer.write_all(b"x").unwrap();
                registry
                    .register(&mut source, SOURCE, Interest::READABLE)
                    .unwrap();
                (source, peer)
            });
            Some(other)
        },
        None,
        |world, other: &mut Option<JoinHandle<_>>, _| {
            world.until(SOURCE);
            other.take().unwrap().join().unwrap();
        },
    );
    let registered = registered.answers(move |failure| match failure.call {
        // A source that the port could not arm is probed, and may be reported before that.
        libc::SYS_poll | number::PORT_GETN
            if backend == Backend::EventPorts && failure.number > 1 =>
        {
            probing_with_pauses(failure)
        }
        _ => reading_own_descriptor(failure),
    });
    all.push(registered.quiet().build());
}

/// Polls once. This call must report what is ready; if it fails, the next one must.
fn polling<S: 'static>(
    name: impl Into<String>,
    prepare: impl Fn(&mut World) -> S + Send + Sync + 'static,
    timeout: Option<Duration>,
    check: impl Fn(&mut World, &mut S, usize) + Send + Sync + 'static,
) -> Steps<S, usize> {
    operation(name, prepare, move |world, _| world.poll(timeout), check).calls_vary()
}

/// If the program has closed a descriptor, or another object has it, the error is EBADF. If another
/// thread has read the data, the read does not fail.
fn reading_own_descriptor(failure: Failure) -> Option<Expected> {
    match (failure.call, failure.error) {
        (libc::SYS_read, libc::EAGAIN | libc::EINTR) => Some(Expected::Success),
        (libc::SYS_read, _) if failure.number == 2 => Some(Expected::Error(libc::EBADF)),
        // Events that were collected before it come first.
        (libc::SYS_read, _) => Some(Expected::Any(libc::EBADF)),
        _ => None,
    }
}

/// A probe after the first call only adds to the event.
fn probing(failure: Failure) -> Option<Expected> {
    // If poll(2) refuses it with EINVAL, the crate reads the limit of descriptors.
    let is_probe = errors::waits(failure.call) || failure.call == libc::SYS_prlimit64;
    let is_probe = is_probe && failure.call != number::PORT_GETN;
    (is_probe && failure.number > 1).then_some(Expected::Success)
}

/// An interrupted probe is made again, an interrupted wait is not. Collected events come first.
fn probing_with_pauses(failure: Failure) -> Option<Expected> {
    let may_succeed = failure.error == libc::EINTR || failure.number > 1;
    let error = match failure.error {
        libc::EBADFD => libc::EBADF,
        error => error,
    };
    match failure.call {
        number::PORT_ASSOCIATE | number::PORT_DISSOCIATE | number::PORT_GETN_COUNT => None,
        _ => may_succeed.then_some(Expected::Any(error)),
    }
}

/// The crate or the standard library makes an interrupted call again.
fn trying_again(failure: Failure) -> Option<Expected> {
    (failure.error == libc::EINTR).then_some(Expected::Success)
}

/// A connect attempt that continues is what a program asks for.
fn connecting(failure: Failure) -> Option<Expected> {
    let is_on_its_way = (failure.call, failure.error) == (libc::SYS_connect, libc::EINPROGRESS);
    is_on_its_way.then_some(Expected::Success)
}

/// The waker's counter is full: it is emptied and written again. If another thread has emptied it,
/// that is as good.
fn waking_an_epoll(failure: Failure) -> Option<Expected> {
    let is_answered = match failure.call {
        libc::SYS_write => failure.error == libc::EAGAIN,
        libc::SYS_read => [libc::EAGAIN, libc::EINTR].contains(&failure.error),
        _ => false,
    };
    is_answered.then_some(Expected::Success)
}

/// The polling thread reads the counter.
fn waking_a_poll(failure: Failure) -> Option<Expected> {
    let is_full = (failure.call, failure.error) == (libc::SYS_write, libc::EAGAIN);
    is_full.then_some(Expected::LeftOut(
        "that says that there are signals which the polling thread will read, and there are none",
    ))
}

/// Another thread is interrupted. The interruption is sent again if a signal was faster.
fn interrupting(failure: Failure) -> Option<Expected> {
    trying_again(failure).or_else(|| waking_a_poll(failure))
}

fn changing_and_interrupting(failure: Failure) -> Option<Expected> {
    changing_filters(failure).or_else(|| interrupting(failure))
}

/// The same, where no caller can handle it.
fn interrupting_if_possible(failure: Failure) -> Option<Expected> {
    let is_interrupt = [libc::SYS_write, number::PORT_ALERT].contains(&failure.call);
    waking_a_poll(failure).or(is_interrupt.then_some(Expected::Success))
}

fn registrations(all: &mut Vec<Operation>) {
    let one = Interest::READABLE;
    let both = Interest::READABLE | Interest::WRITABLE;

    let filters = changing_filters as fn(Failure) -> _;
    for (name, interest, answer) in [
        ("Registry::register", one, filters),
        (
            "Registry::register: both directions",
            both,
            registering_both,
        ),
    ] {
        let registered = operation(
            name,
            |_| pair(),
            move |world, (source, _)| {
                let registry = world.poll.registry();
                registry.register(source, SOURCE, interest)
            },
            |world, (source, peer), ()| assert_reported(world, SOURCE, source, peer),
        );
        let registered = registered.after_failure(|world, (_, peer), _| {
            peer.write_all(b"x").unwrap();
            world.assert_no(SOURCE);
        });
        all.push(registered.answers(answer).registers().build());
    }
    let filters = changing_both as fn(Failure) -> _;
    for (name, before, after, answer) in [
        ("Registry::reregister", one, both, filters),
        (
            "Registry::reregister: fewer directions",
            both,
            one,
            changing_to_one,
        ),
    ] {
        let reregistered = operation(
            name,
            move |world| {
                let (mut source, peer) = pair();
                let registry = world.poll.registry();
                registry.register(&mut source, SOURCE, before).unwrap();
                (source, peer)
            },
            move |world, (source, _)| {
                let registry = world.poll.registry();
                registry.reregister(source, RENAMED, after)
            },
            |world, (source, peer), ()| {
                // An event of the registration before may be there.
                world.take(SOURCE);
                assert_reported(world, RENAMED, source, peer);
                world.assert_no(SOURCE);
            },
        );
        let reregistered = reregistered.after_failure(|world, (source, peer), _| {
            match world.backend {
                // Its registration is gone.
                Backend::Kqueue => {
                    peer.write_all(b"x").unwrap();
                    world.assert_no(SOURCE);
                }
                _ => assert_reported(world, SOURCE, source, peer),
            }
            assert!(!world.take(RENAMED), "an event with the new token");
        });
        let reregistered = reregistered.answers(answer).registers();
        all.push(reregistered.gone_on(KQUEUE).build());
    }
    let deregistered = operation(
        "Registry::deregister",
        registered_pair,
        |world, (source, _)| world.poll.registry().deregister(source),
        |world, (_, peer), ()| assert_deregistered(world, peer),
    );
    let deregistered = deregistered
        .registers()
        .gone_on(BOTH_MODELS)
        .answers(deleting_a_filter);
    all.push(deregistered.build());
    let deregistered = operation(
        "Registry::deregister: both directions",
        move |world| {
            let (mut source, peer) = pair();
            let registry = world.poll.registry();
            registry.register(&mut source, SOURCE, both).unwrap();
            (source, peer)
        },
        |world, (source, _)| world.poll.registry().deregister(source),
        |world, (_, peer), ()| assert_deregistered(world, peer),
    );
    let deregistered = deregistered.registers().gone_on(BOTH_MODELS);
    all.push(deregistered.answers(deleting_filters).build());

    let raw_registered = operation(
        "Registry::register: SourceFd",
        |_| pair(),
        |world, (source, _)| {
            let mut raw = SourceFd(&source.as_raw_fd());
            world
                .poll
                .registry()
                .register(&mut raw, SOURCE, Interest::READABLE)
        },
        |world, (_, peer), ()| {
            peer.write_all(b"x").unwrap();
            world.until(SOURCE);
        },
    );
    all.push(raw_registered.answers(changing_filters).registers().build());
    let raw_pair = |world: &mut World| {
        let (source, peer) = pair();
        let mut raw = SourceFd(&source.as_raw_fd());
        let registry = world.poll.registry();
        registry
            .register(&mut raw, SOURCE, Interest::READABLE)
            .unwrap();
        (source, peer)
    };
    let raw_reregistered = operation(
        "Registry::reregister: SourceFd",
        raw_pair,
        |world, (source, _)| {
            let mut raw = SourceFd(&source.as_raw_fd());
            let registry = world.poll.registry();
            registry.reregister(&mut raw, RENAMED, Interest::READABLE)
        },
        |world, (_, peer), ()| {
            peer.write_all(b"x").unwrap();
            world.until(RENAMED);
            assert!(!world.take(SOURCE), "an event with the old token");
        },
    );
    let raw_reregistered =
        raw_reregistered
            .answers(changing_both)
            .after_failure(|world, (source, peer), _| {
                if world.backend != Backend::Kqueue {
                    peer.write_all(b"x").unwrap();
                    world.until(SOURCE);
                    source.read_exact(&mut [0]).unwrap();
                    world.take(SOURCE);
                }
            });
    all.push(raw_reregistered.registers().gone_on(KQUEUE).build());
    let raw_deregistered = operation(
        "Registry::deregister: SourceFd",
        raw_pair,
        |world, (source, _)| {
            let mut raw = SourceFd(&source.as_raw_fd());
            world.poll.registry().deregister(&mut raw)
        },
        |world, (_, peer), ()| assert_deregistered(world, peer),
    );
    let raw_deregistered = raw_deregistered.registers().gone_on(BOTH_MODELS);
    all.push(raw_deregistered.answers(deleting_a_filter).build());

    if model::has_user_events() {
        without_receiver(all);
    }
}

/// A pipe of which kqueue refuses the filter.
fn without_receiver(all: &mut Vec<Operation>) {
    let registered = operation(
        "Registry::register: a pipe without a receiver",
        |_| pipe::new().unwrap().0,
        |world, sender| {
            let registry = world.poll.registry();
            registry.register(sender, SOURCE, Interest::WRITABLE)
        },
        |world, _, ()| world.until(SOURCE),
    );
    all.push(registered.registers().answers(changing_filters).build());
    let dropped = operation(
        "pipe::Sender: drop, without a receiver",
        |world| {
            let (mut sender, _) = pipe::new().unwrap();
            let registry = world.poll.registry();
            registry
                .register(&mut sender, SOURCE, Interest::WRITABLE)
                .unwrap();
            Some(sender)
        },
        |_, sender| drop_it(sender),
        |world, _, ()| world.assert_no(SOURCE),
    );
    all.push(dropped.answers(deleting_an_event).build());
}

#[track_caller]
fn assert_deregistered(world: &mut World, peer: &mut impl Write) {
    peer.write_all(b"x").unwrap();
    world.take(SOURCE);
    world.assert_no(SOURCE);
}

/// What an error says of a source that lacks a direction. It is never ready in it.
const LACKS_IT: [c_int; 4] = [libc::EINVAL, libc::EPERM, libc::ENODEV, libc::EOPNOTSUPP];

const KQUEUE: &[Backend] = &[Backend::Kqueue];
const BOTH_MODELS: &[Backend] = &[Backend::Kqueue, Backend::EventPorts];

const A_LIE: Expected =
    Expected::LeftOut("that says that something is not there which is there, and stays");

/// What kqueue does about filters that it cannot add or delete.
fn changing_filters(failure: Failure) -> Option<Expected> {
    let lacks_it = LACKS_IT.contains(&failure.error);
    match (failure.call, failure.error) {
        (number::DELETE_READ | number::DELETE_WRITE, _) if lacks_it => Some(Expected::Success),
        // As of a pipe without a receiver, which is reported as closed by an event of its own.
        (number::ADD_WRITE, libc::EBADF | libc::EPIPE) => Some(match model::has_user_events() {
            true => Expected::Success,
            false => Expected::Error(libc::EPIPE),
        }),
        // That cannot be reported.
        (number::ADD_USER | number::TRIGGER_USER, _) => Some(Expected::Error(libc::EPIPE)),
        (libc::SYS_fcntl, _) => Some(Expected::LeftOut(
            "the flags of an open descriptor can be read",
        )),
        _ => None,
    }
}

/// The same, of what is registered for both directions.
fn registering_both(failure: Failure) -> Option<Expected> {
    match failure.call {
        number::PORT_ASSOCIATE => None,
        _ => changing_both(failure),
    }
}

/// The same, of what is or was registered for both directions.
fn changing_both(failure: Failure) -> Option<Expected> {
    let lacks_it = LACKS_IT.contains(&failure.error);
    match failure.call {
        // Registering it returns the error; a registration that was there ends.
        number::PORT_ASSOCIATE if [libc::EBADF, libc::EBADFD].contains(&failure.error) => {
            Some(IS_OPEN)
        }
        number::ADD_READ if lacks_it => Some(A_LIE),
        number::ADD_WRITE if lacks_it => Some(Expected::Success),
        _ => changing_filters(failure),
    }
}

fn changing_to_one(failure: Failure) -> Option<Expected> {
    let is_not_there = failure.error == libc::ENOENT || LACKS_IT.contains(&failure.error);
    match failure.call {
        number::DELETE_WRITE if is_not_there => Some(A_LIE),
        _ => changing_both(failure),
    }
}

/// Deregistering what is registered for reading.
fn deleting_a_filter(failure: Failure) -> Option<Expected> {
    match (failure.call, failure.error) {
        (number::DELETE_READ, libc::ENOENT) => Some(Expected::Any(libc::ENOENT)),
        _ => dissociating(failure),
    }
}

/// Deregistering what is associated with a port.
fn dissociating(failure: Failure) -> Option<Expected> {
    match (failure.call, failure.error) {
        (number::PORT_DISSOCIATE, libc::ENOENT) => Some(A_LIE),
        (number::PORT_DISSOCIATE, libc::EBADF | libc::EBADFD) => Some(IS_OPEN),
        _ => None,
    }
}

/// Deregistering what is registered for both directions.
fn deleting_filters(failure: Failure) -> Option<Expected> {
    let is_its = matches!(failure.call, number::DELETE_READ | number::DELETE_WRITE);
    match is_its && failure.error == libc::ENOENT {
        true => Some(A_LIE),
        false => dissociating(failure),
    }
}

/// Dropping what has an event of its own, and can tell nobody that it stays.
fn deleting_an_event(failure: Failure) -> Option<Expected> {
    match (failure.call, failure.error) {
        (number::KEVENT_CHANGES, libc::EINTR) => None,
        (number::KEVENT_CHANGES | number::DELETE_USER, _) => Some(Expected::LeftOut(
            "what the kernel does not delete stays until the queue is closed",
        )),
        _ => None,
    }
}

/// Operations while another thread polls: poll(2) has to be interrupted.
fn during_a_wait(all: &mut Vec<Operation>) {
    let registered = steps::register_while_another_thread_waits();
    all.push(
        registered
            .registers()
            .answers(changing_and_interrupting)
            .build(),
    );
    let reregistered = operation(
        "Registry::reregister: while another thread waits",
        |world| {
            let poll = Poll::with_backend(world.backend).unwrap();
            let (mut source, peer) = pair();
            let registry = poll.registry();
            registry
                .register(&mut source, SOURCE, Interest::READABLE)
                .unwrap();
            let (registry, waiting) = wait_for(poll, &[RENAMED]);
            (registry, source, peer, Some(waiting))
        },
        |_, (registry, source, ..)| registry.reregister(source, RENAMED, Interest::WRITABLE),
        |_, (.., waiting), ()| waiting.take().unwrap().join().unwrap(),
    );
    let reregistered = reregistered.registers().gone_on(KQUEUE);
    all.push(reregistered.answers(changing_and_interrupting).build());
    let deregistered = steps::deregister_while_another_thread_waits();
    let deregistered = deregistered.registers().gone_on(BOTH_MODELS);
    all.push(
        deregistered
            .answers(|failure| match failure.call {
                // Registered again, it is associated again.
                number::PORT_DISSOCIATE => None,
                _ => deleting_a_filter(failure).or_else(|| interrupting_if_possible(failure)),
            })
            .build(),
    );
    let read = operation(
        "UnixStream: read: while another thread waits",
        |world| {
            let mut poll = Poll::with_backend(world.backend).unwrap();
            let (mut source, mut peer) = pair();
            let registry = poll.registry();
            registry
                .register(&mut source, SOURCE, Interest::READABLE)
                .unwrap();
            peer.write_all(b"x").unwrap();
            let mut events = Events::with_capacity(4);
            poll.poll(&mut events, Some(patience())).unwrap();
            assert_eq!(events.iter().count(), 1, "events");
            source.read_exact(&mut [0]).unwrap();
            let (registry, waiting) = wait_for(poll, &[SOURCE, RENAMED]);
            (registry, source, peer, Some(waiting))
        },
        |_, (_, source, ..)| match source.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            outcome => outcome.map(|_| ()),
        },
        |_, (registry, source, peer, waiting), ()| {
            let drained = source.read(&mut [0]).unwrap_err();
            assert_eq!(drained.kind(), io::ErrorKind::WouldBlock);
            peer.write_all(b"x").unwrap();
            // From now on, a thread that changes something interrupts the waiting thread.
            let (mut other, mut other_peer) = pair();
            other_peer.write_all(b"x").unwrap();
            let registered = registry.register(&mut other, RENAMED, Interest::READABLE);
            registered.unwrap();
            waiting.take().unwrap().join().unwrap();
        },
    );
    all.push(
        read.answers(|failure| match failure.call {
            libc::SYS_recvfrom if failure.error == libc::EAGAIN => Some(Expected::Success),
            _ => interrupting_if_possible(failure),
        })
        .build(),
    );
}

fn wakers(all: &mut Vec<Operation>, backend: Backend) {
    let made = steps::new_waker();
    let made = made.answers(|failure| match failure.call {
        // Second after a call that was interrupted.
        number::ADD_USER if failure.number > 2 => Some(Expected::LeftOut(
            "that says that what is there already cannot be added",
        )),
        number::ADD_USER => None,
        _ => changing_filters(failure),
    });
    all.push(made.build());
    let woke = steps::wake();
    let answer = match backend {
        Backend::Epoll | Backend::Kqueue => waking_an_epoll,
        _ => waking_a_poll,
    };
    all.push(woke.answers(answer).build());
    let woke = steps::wake_while_another_thread_waits();
    all.push(woke.answers(answer).build());
    let dropped = steps::drop_waker();
    all.push(dropped.answers(deleting_an_event).build());
}

fn tcp(all: &mut Vec<Operation>) {
    let bound = steps::bind_listener();
    all.push(bound.build());
    let accepted = steps::accept();
    all.push(accepted.after_failure(assert_reported_again).build());
    let dropped = steps::drop_listener();
    all.push(dropped.build());

    let connected = steps::connect();
    all.push(connected.answers(connecting).build());
    let connect = |_: &mut World| {
        let listener = net::TcpListener::bind(any_port()).unwrap();
        let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (TcpStream::from_std(stream), peer)
    };
    streams(all, "TcpStream", connect, |stream, io| stream.try_io(io));
    let peeked = operation(
        "TcpStream::peek",
        move |world| {
            let (mut stream, mut peer) = connect(world);
            register(world, &mut stream);
            peer.write_all(b"x").unwrap();
            world.until(SOURCE);
            (stream, peer)
        },
        |_, (stream, _)| stream.peek(&mut [0; 8]),
        |_, _, length| assert_eq!(length, 1),
    );
    all.push(peeked.after_failure(assert_reported_again).build());
}

/// Reading from and writing to a stream, and dropping it.
fn streams<S, P>(
    all: &mut Vec<Operation>,
    name: &str,
    connect: impl Fn(&mut World) -> (S, P) + Copy + Send + Sync + 'static,
    try_io: fn(&S, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
) where
    S: Read + Write + AsRawFd + mio::event::Source + 'static,
    P: Read + Write + 'static,
{
    let readable = move |world: &mut World| {
        let (mut stream, mut peer) = connect(world);
        register(world, &mut stream);
        peer.write_all(b"x").unwrap();
        world.until(SOURCE);
        (stream, peer)
    };
    let read = operation(
        format!("{name}: read"),
        readable,
        |_, (stream, _)| stream.read(&mut [0; 8]),
        |world, (stream, peer), length| {
            assert_eq!(length, 1);
            assert_reported(world, SOURCE, stream, peer);
        },
    );
    all.push(read.after_failure(assert_reported_again).build());
    let writable = move |world: &mut World| {
        let (mut stream, peer) = connect(world);
        let registry = world.poll.registry();
        registry
            .register(&mut stream, SOURCE, Interest::WRITABLE)
            .unwrap();
        world.until(SOURCE);
        (stream, peer)
    };
    let written = operation(
        format!("{name}: write"),
        writable,
        |_, (stream, _)| stream.write(b"y"),
        |_, (_, peer), length| {
            assert_eq!(length, 1);
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"y");
        },
    );
    all.push(written.after_failure(assert_reported_again).build());
    let tried = operation(
        format!("{name}: try_io, which would block"),
        readable,
        move |_, (stream, _)| {
            let fd = stream.as_raw_fd();
            let mut byte = 0u8;
            let mut drain = || loop {
                // SAFETY: the buffer has one byte to write to.
                let got = unsafe { libc::recv(fd, (&mut byte as *mut u8).cast(), 1, 0) };
                if got != 1 {
                    return Err(io::Error::last_os_error());
                }
            };
            match try_io(stream, &mut drain) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                outcome => outcome,
            }
        },
        |world, (_, peer), ()| {
            world.take(SOURCE);
            peer.write_all(b"x").unwrap();
            world.until(SOURCE);
        },
    );
    all.push(
        tried
            .answers(|failure| match failure.error {
                libc::EAGAIN => Some(Expected::Success),
                _ => probing(failure),
            })
            .build(),
    );
    let dropped = operation(
        format!("{name}: drop"),
        move |world| {
            let (mut stream, peer) = connect(world);
            register(world, &mut stream);
            (Some(stream), peer)
        },
        |_, (stream, _)| drop_it(stream),
        |world, _, ()| world.assert_no(SOURCE),
    );
    all.push(dropped.build());
}

fn udp(all: &mut Vec<Operation>) {
    let bound = operation(
        "UdpSocket::bind",
        |_| (),
        |_, ()| UdpSocket::bind(any_port()),
        |world, (), mut socket| {
            let address = socket.local_addr().unwrap();
            let peer = net::UdpSocket::bind(any_port()).unwrap();
            world.assert_reads(&mut socket, || {
                peer.send_to(b"x", address).unwrap();
            });
        },
    );
    all.push(bound.build());
    let two = |world: &mut World| {
        let mut socket = UdpSocket::bind(any_port()).unwrap();
        let peer = net::UdpSocket::bind(any_port()).unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = world.poll.registry();
        registry.register(&mut socket, SOURCE, interest).unwrap();
        peer.connect(socket.local_addr().unwrap()).unwrap();
        peer.send(b"x").unwrap();
        world.until(SOURCE);
        let address = peer.local_addr().unwrap();
        (socket, peer, address)
    };
    let connected = operation(
        "UdpSocket::connect",
        two,
        |_, (socket, _, address)| socket.connect(*address),
        |_, (socket, ..), ()| {
            socket.send(b"x").unwrap();
        },
    );
    // The standard library calls it again.
    all.push(connected.answers(trying_again).build());
    let sent = operation(
        "UdpSocket::send_to",
        two,
        |_, (socket, _, address)| socket.send_to(b"yy", *address),
        |_, (_, peer, _), length| {
            assert_eq!(length, 2);
            assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 2);
        },
    );
    all.push(sent.after_failure(assert_reported_again).build());
    let received = operation(
        "UdpSocket::recv_from",
        two,
        |_, (socket, ..)| socket.recv_from(&mut [0; 8]),
        |world, (socket, peer, address), (length, from)| {
            assert_eq!((length, from), (1, *address));
            socket.recv(&mut [0; 8]).unwrap_err();
            world.take(SOURCE);
            peer.send(b"x").unwrap();
            world.until(SOURCE);
        },
    );
    all.push(received.after_failure(assert_reported_again).build());
    let asked = operation(
        "UdpSocket::take_error",
        |world| {
            let socket = refused_datagram(world);
            world.until(SOURCE);
            socket
        },
        |_, socket| socket.take_error(),
        |world, socket, error| {
            let error = error.expect("the error is still there");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            world.take(SOURCE);
            socket.send(b"x").unwrap();
            world.until(SOURCE);
        },
    );
    all.push(asked.answers(probing).build());
    let dropped = operation(
        "UdpSocket: drop",
        move |world| Some(two(world)),
        |_, sockets| drop_it(sockets),
        |world, _, ()| {
            world.take(SOURCE);
            world.assert_no(SOURCE);
        },
    );
    all.push(dropped.build());
}

fn unix_sockets(all: &mut Vec<Operation>) {
    let bound = operation(
        "UnixListener::bind",
        |_| Directory::new(),
        |_, directory| UnixListener::bind(directory.new_path()),
        |world, directory, mut listener| {
            let mut clients = Vec::new();
            world.assert_reads(&mut listener, || {
                clients.push(uds::UnixStream::connect(directory.last_path()).unwrap());
            });
        },
    );
    all.push(bound.build());
    let accepted = operation(
        "UnixListener::accept",
        |world| {
            let mut directory = Directory::new();
            let mut listener = UnixListener::bind(directory.new_path()).unwrap();
            // One is lost where what follows accept(2) fails.
            let path = directory.last_path();
            let clients = [(); 2].map(|()| uds::UnixStream::connect(path).unwrap());
            register(world, &mut listener);
            world.until(SOURCE);
            (listener, clients, directory)
        },
        |_, (listener, ..)| listener.accept(),
        |world, (_, clients, _), (mut stream, address)| {
            assert!(address.is_unnamed());
            world.assert_reads(&mut stream, || {
                for client in clients {
                    // Its connection may be the one that is lost.
                    let _ = client.write_all(b"x");
                }
            });
        },
    );
    all.push(accepted.after_failure(assert_reported_again).build());
    let connected = operation(
        "UnixStream::connect",
        |_| {
            let mut directory = Directory::new();
            let listener = uds::UnixListener::bind(directory.new_path()).unwrap();
            (listener, directory)
        },
        |_, (_, directory)| UnixStream::connect(directory.last_path()),
        |world, (listener, _), mut stream| {
            // A connection whose `accept` failed may come first.
            listener.set_nonblocking(true).unwrap();
            let mut peers = Vec::new();
            while let Ok((peer, _)) = listener.accept() {
                peers.push(peer);
            }
            let mut peer = peers.pop().unwrap();
            drop(peers);
            world.assert_reads(&mut stream, || peer.write_all(b"x").unwrap());
        },
    );
    all.push(connected.answers(connecting).build());
    let paired = operation(
        "UnixStream::pair",
        |_| (),
        |_, ()| UnixStream::pair(),
        |world, (), (mut one, mut other)| {
            world.assert_reads(&mut one, || other.write_all(b"x").unwrap());
        },
    );
    all.push(paired.build());
    streams(
        all,
        "UnixStream",
        |_| pair(),
        |stream, io| stream.try_io(io),
    );

    let bound = operation(
        "UnixDatagram::bind",
        |_| Directory::new(),
        |_, directory| UnixDatagram::bind(directory.new_path()),
        |world, directory, mut socket| {
            let peer = uds::UnixDatagram::unbound().unwrap();
            let path = directory.last_path();
            world.assert_reads(&mut socket, || {
                peer.send_to(b"x", path).unwrap();
            });
        },
    );
    all.push(bound.build());
    let unbound = operation(
        "UnixDatagram::unbound",
        |_| (),
        |_, ()| UnixDatagram::unbound(),
        |_, (), socket| {
            let mut directory = Directory::new();
            let _peer = uds::UnixDatagram::bind(directory.new_path()).unwrap();
            socket.send_to(b"x", directory.last_path()).unwrap();
        },
    );
    all.push(unbound.build());
    let paired = operation(
        "UnixDatagram::pair",
        |_| (),
        |_, ()| UnixDatagram::pair(),
        |world, (), (mut one, other)| {
            world.assert_reads(&mut one, || {
                other.send(b"x").unwrap();
            });
        },
    );
    all.push(paired.build());
}

fn pipes(all: &mut Vec<Operation>) {
    let made = operation(
        "pipe::new",
        |_| (),
        |_, ()| pipe::new(),
        |world, (), (mut sender, mut receiver)| {
            world.assert_reads(&mut receiver, || sender.write_all(b"x").unwrap());
        },
    );
    all.push(made.build());
    let blocking = operation(
        "pipe::Receiver::set_nonblocking",
        |_| pipe::new().unwrap(),
        |_, (_, receiver)| receiver.set_nonblocking(true),
        |_, (_, receiver), ()| {
            let error = receiver.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        },
    );
    all.push(blocking.build());
    let read = operation(
        "pipe::Receiver: read",
        |world| {
            let (mut sender, mut receiver) = pipe::new().unwrap();
            register(world, &mut receiver);
            sender.write_all(b"x").unwrap();
            world.until(SOURCE);
            (receiver, sender)
        },
        |_, (receiver, _)| receiver.read(&mut [0; 8]),
        |world, (receiver, sender), length| {
            assert_eq!(length, 1);
            assert_reported(world, SOURCE, receiver, sender);
        },
    );
    all.push(read.after_failure(assert_reported_again).build());
    let written = operation(
        "pipe::Sender: write",
        |_| pipe::new().unwrap(),
        |_, (sender, _)| sender.write(b"x"),
        |_, (_, receiver), _| assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 1),
    );
    all.push(written.build());
}

fn registered_pair(world: &mut World) -> (UnixStream, uds::UnixStream) {
    let (mut source, peer) = pair();
    register(world, &mut source);
    (source, peer)
}

/// A socket with a pending error: its datagram was refused.
fn refused_datagram(world: &mut World) -> UdpSocket {
    let nobody = net::UdpSocket::bind(any_port()).unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    socket.connect(address).unwrap();
    register(world, &mut socket);
    socket.send(b"x").unwrap();
    socket
}

/// After an operation failed, the source is as ready as before. poll(2) reports it again; epoll
/// reports only new readiness.
fn assert_reported_again<S>(world: &mut World, _: &mut S, error: c_int) {
    // After EINTR the program tries again at once, and `do_io` ignores the error.
    if world.backend == Backend::Poll && error != libc::EINTR {
        world.take(SOURCE);
        world.until(SOURCE);
    }
}

/// A folder for named sockets. A socket's file exists even if a call after `bind` failed.
struct Directory {
    folder: tempfile::TempDir,
    last: PathBuf,
}

impl Directory {
    fn new() -> Directory {
        Directory {
            folder: tempfile::tempdir().unwrap(),
            last: PathBuf::new(),
        }
    }

    fn new_path(&mut self) -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        self.last = self.folder.path().join(format!("{number}"));
        self.last.clone()
    }

    fn last_path(&self) -> &PathBuf {
        &self.last
    }
}
