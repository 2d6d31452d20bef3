//! The operations, in the order of the public interface.

use std::io::{self, Read, Write};
use std::net;
use std::os::fd::AsRawFd;
use std::os::unix::net as uds;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libc::c_int;
use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{pipe, SourceFd};
use mio::{Backend, Events, Interest, Poll, Registry, Token, Waker};

use crate::errors;
use crate::operation::{operation, Expected, Operation, Steps};
use crate::patience;
use crate::supervisor::{self, Failure};
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
    let opened = operation(
        "Poll::with_backend",
        |world| world.backend,
        |_, backend| Poll::with_backend(*backend),
        |_, _, mut poll| assert_it_polls(&mut poll),
    );
    all.push(opened.build());
    let dropped = operation(
        "Poll: drop",
        |world| Some(Poll::with_backend(world.backend).unwrap()),
        |_, poll| drop_it(poll),
        |_, _, ()| {},
    );
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
        let answer = match is_at_once {
            true => trying_again,
            false => |_| None,
        };
        let ready = polling(
            format!("Poll::poll: an event is ready, {name}"),
            |_| (),
            timeout,
            |_, _, count| assert_eq!(count, 1, "events"),
        );
        all.push(ready.answers(answer).build());
        if timeout.is_some() {
            let idle = polling(
                format!("Poll::poll: nothing is ready, {name}"),
                |_| Instant::now(),
                timeout,
                move |_, start, count| {
                    assert_eq!(count, 0, "events");
                    assert!(Some(start.elapsed()) >= timeout, "it ended early");
                },
            );
            all.push(idle.quiet().answers(answer).build());
        }
    }
    let woken = polling(
        "Poll::poll: a waker woke",
        |world| world.waker.wake().unwrap(),
        None,
        |world, _, _| world.until(crate::world::WAKER),
    );
    all.push(woken.quiet().answers(reading_own_descriptor).build());
    let hung_up = polling(
        "Poll::poll: a peer has hung up",
        |world| {
            let (mut source, peer) = UnixStream::pair().unwrap();
            register(world, &mut source);
            drop(peer);
            source
        },
        None,
        |world, _, _| world.until(SOURCE),
    );
    all.push(hung_up.quiet().answers(probing).build());
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
                supervisor::first_call_has_begun();
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
    all.push(registered.quiet().answers(reading_own_descriptor).build());
}

/// Polls once. This call must report what is ready; if it fails, the next one must.
fn polling<S: 'static>(
    name: impl Into<String>,
    prepare: impl Fn(&mut World) -> S + Send + Sync + 'static,
    timeout: Option<Duration>,
    check: impl Fn(&mut World, &mut S, usize) + Send + Sync + 'static,
) -> Steps<S, usize> {
    operation(name, prepare, move |world, _| world.poll(timeout), check)
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
    (is_probe && failure.number > 1).then_some(Expected::Success)
}

/// An interrupted probe is made again, an interrupted wait is not. Collected events come first.
fn probing_with_pauses(failure: Failure) -> Option<Expected> {
    let may_succeed = failure.error == libc::EINTR || failure.number > 1;
    may_succeed.then_some(Expected::Any(failure.error))
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

/// The same, where no caller can handle it.
fn interrupting_if_possible(failure: Failure) -> Option<Expected> {
    let is_interrupt = failure.call == libc::SYS_write;
    waking_a_poll(failure).or(is_interrupt.then_some(Expected::Success))
}

fn registrations(all: &mut Vec<Operation>) {
    let registered = operation(
        "Registry::register",
        |_| pair(),
        |world, (source, _)| {
            world
                .poll
                .registry()
                .register(source, SOURCE, Interest::READABLE)
        },
        |world, (source, peer), ()| assert_reported(world, SOURCE, source, peer),
    );
    all.push(
        registered
            .after_failure(|world, (_, peer), _| {
                peer.write_all(b"x").unwrap();
                world.assert_no(SOURCE);
            })
            .build(),
    );
    let reregistered = operation(
        "Registry::reregister",
        registered_pair,
        |world, (source, _)| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            world.poll.registry().reregister(source, RENAMED, interest)
        },
        |world, (source, peer), ()| {
            world.until(RENAMED);
            assert_reported(world, RENAMED, source, peer);
            world.assert_no(SOURCE);
        },
    );
    all.push(
        reregistered
            .after_failure(|world, (source, peer), _| {
                assert_reported(world, SOURCE, source, peer);
            })
            .build(),
    );
    let deregistered = operation(
        "Registry::deregister",
        registered_pair,
        |world, (source, _)| world.poll.registry().deregister(source),
        |world, (_, peer), ()| {
            peer.write_all(b"x").unwrap();
            world.take(SOURCE);
            world.assert_no(SOURCE);
        },
    );
    all.push(deregistered.build());

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
    all.push(raw_registered.build());
    let raw_deregistered = operation(
        "Registry::deregister: SourceFd",
        |world| {
            let (source, peer) = pair();
            let mut raw = SourceFd(&source.as_raw_fd());
            let registry = world.poll.registry();
            registry
                .register(&mut raw, SOURCE, Interest::READABLE)
                .unwrap();
            (source, peer)
        },
        |world, (source, _)| {
            let mut raw = SourceFd(&source.as_raw_fd());
            world.poll.registry().deregister(&mut raw)
        },
        |world, (_, peer), ()| {
            peer.write_all(b"x").unwrap();
            world.assert_no(SOURCE);
        },
    );
    all.push(raw_deregistered.build());
}

/// Operations while another thread polls: poll(2) has to be interrupted.
fn during_a_wait(all: &mut Vec<Operation>) {
    let registered = operation(
        "Registry::register: while another thread waits",
        |world| {
            let poll = Poll::with_backend(world.backend).unwrap();
            let (registry, waiting) = wait_for(poll, &[SOURCE]);
            let (source, mut peer) = pair();
            peer.write_all(b"x").unwrap();
            (registry, source, peer, Some(waiting))
        },
        |_, (registry, source, ..)| registry.register(source, SOURCE, Interest::READABLE),
        |_, (.., waiting), ()| waiting.take().unwrap().join().unwrap(),
    );
    all.push(registered.answers(interrupting).build());
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
    all.push(reregistered.answers(interrupting).build());
    let deregistered = operation(
        "Registry::deregister: while another thread waits",
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
        |_, (registry, source, ..)| registry.deregister(source),
        |_, (registry, source, peer, waiting), ()| {
            // A deregistered source has no event, and a registered one has an event.
            peer.write_all(b"x").unwrap();
            let registered = registry.register(source, RENAMED, Interest::READABLE);
            registered.unwrap();
            waiting.take().unwrap().join().unwrap();
        },
    );
    all.push(deregistered.answers(interrupting_if_possible).build());
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

/// A thread that polls until these were reported, and a registry of its poll.
fn wait_for(mut poll: Poll, tokens: &'static [Token]) -> (Registry, JoinHandle<()>) {
    let registry = poll.registry().try_clone().unwrap();
    let waiting = thread::spawn(move || {
        let start = Instant::now();
        let mut events = Events::with_capacity(4);
        let mut missing = tokens.to_vec();
        while !missing.is_empty() {
            poll.poll(&mut events, Some(patience() * 2)).unwrap();
            for event in &events {
                let is_awaited = tokens.contains(&event.token());
                assert!(is_awaited, "an event of {:?}", event.token());
                missing.retain(|token| *token != event.token());
            }
            let in_time = start.elapsed() < patience();
            assert!(in_time, "the waiting thread is interrupted: {missing:?}");
        }
    });
    supervisor::another_thread_waits();
    (registry, waiting)
}

fn wakers(all: &mut Vec<Operation>, backend: Backend) {
    const OTHER: Token = Token(9);

    let made = operation(
        "Waker::new",
        |_| (),
        |world, ()| Waker::new(world.poll.registry(), OTHER),
        |world, (), waker| {
            for _ in 0..2 {
                waker.wake().unwrap();
                world.until(OTHER);
            }
        },
    );
    all.push(made.build());
    let woke = operation(
        "Waker::wake",
        |world| Waker::new(world.poll.registry(), OTHER).unwrap(),
        |_, waker| waker.wake(),
        |world, waker, ()| {
            world.until(OTHER);
            waker.wake().unwrap();
            world.until(OTHER);
        },
    );
    let answer = match backend {
        Backend::Epoll => waking_an_epoll,
        _ => waking_a_poll,
    };
    all.push(woke.answers(answer).build());
    let dropped = operation(
        "Waker: drop",
        |world| Some(Waker::new(world.poll.registry(), OTHER).unwrap()),
        |_, waker| drop_it(waker),
        |_, _, ()| {},
    );
    all.push(dropped.build());
}

fn tcp(all: &mut Vec<Operation>) {
    let bound = operation(
        "TcpListener::bind",
        |_| (),
        |_, ()| TcpListener::bind(any_port()),
        |world, (), mut listener| {
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            world.assert_reads(&mut listener, || {
                clients.push(net::TcpStream::connect(address).unwrap());
            });
            listener.accept().unwrap();
        },
    );
    all.push(bound.build());
    let accepted = operation(
        "TcpListener::accept",
        |world| {
            let mut listener = TcpListener::bind(any_port()).unwrap();
            let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            register(world, &mut listener);
            world.until(SOURCE);
            (listener, client)
        },
        |_, (listener, _)| listener.accept(),
        |world, (listener, client), (mut stream, address)| {
            assert_eq!(address, client.local_addr().unwrap());
            world.assert_reads(&mut stream, || client.write_all(b"x").unwrap());
            // The next one is reported.
            world.take(SOURCE);
            listener.accept().unwrap_err();
            let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            world.until(SOURCE);
        },
    );
    all.push(accepted.after_failure(assert_reported_again).build());
    let dropped = operation(
        "TcpListener: drop",
        |_| Some(TcpListener::bind(any_port()).unwrap()),
        |_, listener| drop_it(listener),
        |_, _, ()| {},
    );
    all.push(dropped.build());

    let connected = operation(
        "TcpStream::connect",
        |_| {
            let listener = net::TcpListener::bind(any_port()).unwrap();
            let address = listener.local_addr().unwrap();
            (listener, address)
        },
        |_, (_, address)| TcpStream::connect(*address),
        |world, (listener, _), mut stream| {
            let registry = world.poll.registry();
            registry
                .register(&mut stream, SOURCE, Interest::WRITABLE)
                .unwrap();
            world.until(SOURCE);
            assert!(stream.take_error().unwrap().is_none());
            let address = stream.local_addr().unwrap();
            world.poll.registry().deregister(&mut stream).unwrap();
            // Connections whose `accept` failed come first.
            let (mut peer, _) = loop {
                let accepted = listener.accept().unwrap();
                if accepted.1 == address {
                    break accepted;
                }
            };
            world.assert_reads(&mut stream, || peer.write_all(b"x").unwrap());
        },
    );
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
            let client = uds::UnixStream::connect(directory.last_path()).unwrap();
            register(world, &mut listener);
            world.until(SOURCE);
            (listener, client, directory)
        },
        |_, (listener, ..)| listener.accept(),
        |world, (_, client, _), (mut stream, address)| {
            assert!(address.is_unnamed());
            world.assert_reads(&mut stream, || client.write_all(b"x").unwrap());
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

fn any_port() -> net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn pair() -> (UnixStream, uds::UnixStream) {
    let (one, other) = uds::UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    (UnixStream::from_std(one), other)
}

fn register(world: &mut World, source: &mut impl mio::event::Source) {
    let registry = world.poll.registry();
    registry
        .register(source, SOURCE, Interest::READABLE)
        .unwrap();
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

/// Checks that a drained stream is reported when it has data again.
#[track_caller]
fn assert_reported(world: &mut World, token: Token, stream: &mut impl Read, peer: &mut impl Write) {
    while stream.read(&mut [0; 8]).is_ok() {}
    world.take(token);
    peer.write_all(b"z").unwrap();
    world.until(token);
    stream.read_exact(&mut [0]).unwrap();
}

/// Does nothing when it is run again.
fn drop_it<T>(what: &mut Option<T>) -> io::Result<()> {
    drop(what.take());
    Ok(())
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

/// Checks that a new poll works.
fn assert_it_polls(poll: &mut Poll) {
    let (mut source, mut peer) = pair();
    let registry = poll.registry();
    registry
        .register(&mut source, SOURCE, Interest::READABLE)
        .unwrap();
    peer.write_all(b"x").unwrap();
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, Some(patience())).unwrap();
    assert_eq!(events.iter().count(), 1, "events of the new poll");
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
