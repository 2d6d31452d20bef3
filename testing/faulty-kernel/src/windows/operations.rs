//! The operations, in the order of the public interface.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UdpSocket};
use mio::windows::{NamedPipe, WaitHandle};
use mio::{Backend, Events, Interest, Poll};
use windows_sys::Win32::Foundation::{ERROR_NOT_FOUND, ERROR_NO_DATA, WAIT_TIMEOUT};
use windows_sys::Win32::Networking::WinSock::WSAEWOULDBLOCK;
use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

use super::calls::Call;
use super::pair;
use crate::operation::{operation, Expected, Operation};
use crate::record::{patience, Failure};
use crate::steps::{self, any_port, assert_reported, drop_it, register};
use crate::world::{World, RENAMED, SOURCE};

pub fn all(_: Backend) -> Vec<Operation> {
    let mut all = Vec::new();
    polls(&mut all);
    registrations(&mut all);
    during_a_wait(&mut all);
    wakers(&mut all);
    tcp(&mut all);
    udp(&mut all);
    pipes(&mut all);
    handles(&mut all);
    all
}

fn polls(all: &mut Vec<Operation>) {
    let opened = steps::open_poll();
    all.push(opened.build());
    let dropped = steps::drop_poll();
    all.push(dropped.answers(nobody_to_tell).build());
    for (name, timeout) in [
        ("no timeout", None),
        ("timeout zero", Some(Duration::ZERO)),
        ("timeout 10 ms", Some(Duration::from_millis(10))),
        ("timeout 100 ms", Some(Duration::from_millis(100))),
    ] {
        let is_at_once = timeout == Some(Duration::ZERO);
        let ready = steps::poll_ready(name, timeout);
        let ready = ready.answers(move |failure| match failure.error as u32 {
            WAIT_TIMEOUT if is_at_once => Some(Expected::LeftOut("there is an event")),
            WAIT_TIMEOUT => Some(Expected::Success),
            _ => None,
        });
        all.push(ready.calls_vary().build());
        if let Some(timeout) = timeout {
            let idle = steps::poll_idle(name, timeout);
            all.push(idle.calls_vary().answers(waiting_on).build());
        }
    }
    let first = operation(
        "Poll::poll: the first one of a poll, timeout 10 ms",
        |world| {
            let poll = Poll::with_backend(world.backend).unwrap();
            (poll, Events::with_capacity(4))
        },
        |_, (poll, events)| {
            let (start, timeout) = (Instant::now(), Duration::from_millis(10));
            poll.poll(events, Some(timeout))?;
            assert!(start.elapsed() >= timeout, "it ended early");
            Ok(())
        },
        |_, _, ()| {},
    );
    all.push(first.calls_vary().answers(waiting_on).build());
    let woken = steps::poll_woken();
    all.push(woken.answers(waiting_on).build());
    let asked = steps::poll(
        "Poll::poll: a source was registered",
        |world| {
            let (mut source, mut peer) = pair();
            register(world, &mut source);
            peer.write_all(b"x").unwrap();
            (source, peer)
        },
        None,
        |world, (source, peer), _| {
            world.until(SOURCE);
            assert_reported(world, SOURCE, source, peer);
        },
    );
    all.push(asked.quiet().answers(waiting_on).build());
    let hung_up = steps::poll_hung_up();
    all.push(hung_up.answers(waiting_on).build());
}

/// A port that stops waiting too early is asked again. Collected events come before an error.
fn waiting_on(failure: Failure) -> Option<Expected> {
    match failure.call {
        Call::GetQueuedCompletionStatusEx if failure.error as u32 == WAIT_TIMEOUT => {
            Some(Expected::Success)
        }
        Call::GetQueuedCompletionStatusEx if failure.number > 1 => {
            Some(Expected::Any(failure.error))
        }
        _ => None,
    }
}

/// A drop, a deregistration or an interruption of another thread cannot return these errors.
fn nobody_to_tell(failure: Failure) -> Option<Expected> {
    let is_of_port = matches!(
        failure.call,
        Call::GetQueuedCompletionStatusEx | Call::PostQueuedCompletionStatus
    );
    is_of_port.then_some(Expected::Success)
}

fn registrations(all: &mut Vec<Operation>) {
    let registered = operation(
        "Registry::register",
        |_| pair(),
        |world, (source, _)| {
            let registry = world.poll.registry();
            registry.register(source, SOURCE, Interest::READABLE)
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
        polled_pair,
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
    all.push(reregistered.build());
    let deregistered = operation(
        "Registry::deregister",
        polled_pair,
        |world, (source, _)| world.poll.registry().deregister(source),
        |world, (source, peer), ()| {
            peer.write_all(b"x").unwrap();
            world.take(SOURCE);
            world.assert_no(SOURCE);
            while source.read(&mut [0; 8]).is_err() {}
            world.assert_reads(source, || peer.write_all(b"x").unwrap());
        },
    );
    all.push(deregistered.answers(cancelling).build());
}

/// A poll of the driver that cannot be cancelled goes on. Its packet is stale.
fn cancelling(failure: Failure) -> Option<Expected> {
    let is_cancelled = failure.call == Call::NtCancelIoFileEx;
    let is_not_there = failure.error == windows_sys::Win32::Foundation::STATUS_NOT_FOUND;
    match is_cancelled && !is_not_there {
        true => Some(Expected::Success),
        false => nobody_to_tell(failure),
    }
}

/// Operations while another thread polls: it has to be interrupted.
fn during_a_wait(all: &mut Vec<Operation>) {
    let registered = steps::register_while_another_thread_waits();
    all.push(registered.build());
    let deregistered = steps::deregister_while_another_thread_waits();
    all.push(deregistered.answers(cancelling).build());
    let woke = steps::wake_while_another_thread_waits();
    all.push(woke.build());
}

fn wakers(all: &mut Vec<Operation>) {
    let made = steps::new_waker();
    all.push(made.build());
    let woke = steps::wake();
    all.push(woke.build());
    let dropped = steps::drop_waker();
    all.push(dropped.build());
}

fn tcp(all: &mut Vec<Operation>) {
    let bound = steps::bind_listener();
    all.push(bound.build());
    let accepted = steps::accept();
    all.push(accepted.after_failure(assert_reported_again).build());
    let dropped = steps::drop_listener();
    all.push(dropped.build());
    let connected = steps::connect();
    let connected = connected.answers(|failure| {
        let is_on_its_way = (failure.call, failure.error) == (Call::connect, WSAEWOULDBLOCK);
        is_on_its_way.then_some(Expected::Success)
    });
    all.push(connected.build());
    let readable = |world: &mut World| {
        let (mut stream, mut peer) = pair();
        register(world, &mut stream);
        peer.write_all(b"x").unwrap();
        world.until(SOURCE);
        (stream, peer)
    };
    let read = operation(
        "TcpStream: read",
        readable,
        |_, (stream, _)| stream.read(&mut [0; 8]),
        |world, (stream, peer), length| {
            assert_eq!(length, 1);
            assert_reported(world, SOURCE, stream, peer);
        },
    );
    all.push(read.after_failure(assert_reported_again).build());
    let peeked = operation(
        "TcpStream::peek",
        readable,
        |_, (stream, _)| stream.peek(&mut [0; 8]),
        |_, _, length| assert_eq!(length, 1),
    );
    all.push(peeked.after_failure(assert_reported_again).build());
    let written = operation(
        "TcpStream: write",
        |world| {
            let (mut stream, peer) = pair();
            let registry = world.poll.registry();
            registry
                .register(&mut stream, SOURCE, Interest::WRITABLE)
                .unwrap();
            world.until(SOURCE);
            (stream, peer)
        },
        |_, (stream, _)| stream.write(b"y"),
        |_, (_, peer), length| {
            assert_eq!(length, 1);
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"y");
        },
    );
    all.push(written.after_failure(assert_reported_again).build());
    let dropped = operation(
        "TcpStream: drop",
        |world| {
            let (stream, peer) = polled_pair(world);
            (Some(stream), peer)
        },
        |_, (stream, _)| drop_it(stream),
        |world, _, ()| world.assert_no(SOURCE),
    );
    all.push(dropped.answers(cancelling).build());
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
}

fn pipes(all: &mut Vec<Operation>) {
    fn pair() -> (NamedPipe, File) {
        let name = unused_name();
        let server = NamedPipe::new(&name).unwrap();
        let client = File::options().read(true).write(true).open(&name).unwrap();
        (server, client)
    }

    let registered = |world: &mut World| {
        let (mut server, client) = pair();
        register(world, &mut server);
        world.poll(Some(Duration::ZERO)).unwrap();
        (server, client)
    };
    let made = operation(
        "NamedPipe::new",
        |_| (),
        |_, ()| {
            let name = unused_name();
            Ok((NamedPipe::new(&name)?, name))
        },
        |world, (), (mut server, name)| {
            let mut client = File::options().read(true).write(true).open(name).unwrap();
            world.assert_reads(&mut server, || client.write_all(b"x").unwrap());
        },
    );
    all.push(made.build());
    let register_it = operation(
        "NamedPipe: register",
        |_| pair(),
        |world, (server, _)| {
            let registry = world.poll.registry();
            registry.register(server, SOURCE, Interest::READABLE)
        },
        |world, (server, client), ()| assert_reported(world, SOURCE, server, client),
    );
    all.push(register_it.build());
    let read = operation(
        "NamedPipe: read",
        move |world| {
            let (server, mut client) = registered(world);
            client.write_all(b"x").unwrap();
            world.until(SOURCE);
            (server, client)
        },
        |_, (server, _)| server.read(&mut [0; 8]),
        |world, (server, client), length| {
            assert_eq!(length, 1);
            assert_reported(world, SOURCE, server, client);
        },
    );
    all.push(read.build());
    let written = operation(
        "NamedPipe: write",
        registered,
        |_, (server, _)| server.write(b"y"),
        |_, (_, client), length| {
            assert_eq!(length, 1);
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"y");
        },
    );
    all.push(written.build());
    let connected = operation(
        "NamedPipe: connect",
        |world| {
            let name = unused_name();
            let mut server = NamedPipe::new(&name).unwrap();
            register(world, &mut server);
            world.poll(Some(Duration::ZERO)).unwrap();
            (server, name)
        },
        |_, (server, _)| match server.connect() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            outcome => outcome,
        },
        |world, (server, name), ()| {
            let mut client = File::options().read(true).write(true).open(name).unwrap();
            client.write_all(b"x").unwrap();
            let start = Instant::now();
            while server.read(&mut [0; 8]).is_err() {
                assert!(start.elapsed() < patience(), "it connects");
                world.poll(Some(Duration::from_millis(10))).unwrap();
            }
        },
    );
    let connected = connected.answers(|failure| {
        // A client has connected and closed its end.
        let has_come = failure.error as u32 == ERROR_NO_DATA;
        (failure.call == Call::ConnectNamedPipe && has_come).then_some(Expected::Success)
    });
    all.push(connected.build());
    let disconnected = operation(
        "NamedPipe: disconnect",
        registered,
        |_, (server, _)| server.disconnect(),
        |_, _, ()| {},
    );
    all.push(disconnected.build());
    let dropped = operation(
        "NamedPipe: drop",
        move |world| {
            let (server, client) = registered(world);
            (Some(server), client)
        },
        |_, (server, _)| drop_it(server),
        |world, _, ()| {
            world.take(SOURCE);
            world.assert_no(SOURCE);
        },
    );
    let dropped = dropped.answers(|failure| match failure.call {
        Call::CancelIoEx if failure.error as u32 == ERROR_NOT_FOUND => Some(Expected::LeftOut(
            "that says that a read has ended which goes on",
        )),
        Call::CancelIoEx => Some(Expected::Success),
        _ => nobody_to_tell(failure),
    });
    all.push(dropped.build());
    let reported = steps::poll(
        "Poll::poll: a pipe is readable",
        move |world| {
            let (server, mut client) = registered(world);
            client.write_all(b"x").unwrap();
            (server, client)
        },
        None,
        |world, (server, client), _| {
            world.until(SOURCE);
            assert_reported(world, SOURCE, server, client);
        },
    );
    all.push(reported.quiet().answers(waiting_on).build());
}

fn handles(all: &mut Vec<Operation>) {
    /// An event that lasts until it is reset, as a source and for setting it.
    fn event(is_signalled: bool) -> (WaitHandle, OwnedHandle) {
        // SAFETY: attributes and name are null, which stands for none; nothing else owns the new handle.
        let event = unsafe {
            let event = CreateEventW(ptr::null(), 1, is_signalled.into(), ptr::null());
            assert!(!event.is_null(), "no event");
            OwnedHandle::from_raw_handle(event)
        };
        let its = event.as_handle().try_clone_to_owned().unwrap();
        (WaitHandle::new(its), event)
    }

    fn set(event: &OwnedHandle) {
        // SAFETY: the handle is open.
        assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
    }

    fn reset(event: &OwnedHandle) {
        // SAFETY: the handle is open.
        assert_ne!(unsafe { ResetEvent(event.as_raw_handle()) }, 0);
    }

    let in_any_state =
        |_: &mut World, (_, event): &mut (WaitHandle, OwnedHandle), _: i32| set(event);
    for is_signalled in [false, true] {
        let registered = operation(
            match is_signalled {
                true => "WaitHandle: register, signalled",
                false => "WaitHandle: register",
            },
            move |_| event(is_signalled),
            |world, (source, _)| {
                let registry = world.poll.registry();
                registry.register(source, SOURCE, Interest::READABLE)
            },
            |world, (source, event), ()| {
                set(event);
                world.until(SOURCE);
                world.assert_no(SOURCE);
                reset(event);
                let registry = world.poll.registry();
                registry
                    .reregister(source, SOURCE, Interest::READABLE)
                    .unwrap();
                set(event);
                world.until(SOURCE);
            },
        );
        let registered = registered.after_failure(move |world, state, error| {
            in_any_state(world, state, error);
            world.assert_no(SOURCE);
            let not_registered = world.poll.registry().deregister(&mut state.0);
            assert_eq!(not_registered.unwrap_err().kind(), ErrorKind::NotFound);
        });
        all.push(registered.build());
    }
    let reported = |world: &mut World| {
        let (mut source, event) = event(true);
        register(world, &mut source);
        world.until(SOURCE);
        reset(&event);
        (source, event)
    };
    let reregistered = operation(
        "WaitHandle: reregister",
        reported,
        |world, (source, _)| {
            let registry = world.poll.registry();
            registry.reregister(source, RENAMED, Interest::READABLE)
        },
        |world, (_, event), ()| {
            world.take(RENAMED);
            set(event);
            world.until(RENAMED);
        },
    );
    let reregistered = reregistered.after_failure(move |world, state, error| {
        in_any_state(world, state, error);
        world.assert_no(SOURCE);
        world.assert_no(RENAMED);
    });
    all.push(reregistered.build());
    let dropped = operation(
        "WaitHandle: drop",
        |world| {
            let (mut source, event) = event(false);
            register(world, &mut source);
            (Some(source), event)
        },
        |_, (source, _)| drop_it(source),
        |world, (_, event), ()| {
            set(event);
            world.assert_no(SOURCE);
        },
    );
    all.push(dropped.build());
    for is_signalled in [true, false] {
        let polled = steps::poll(
            match is_signalled {
                true => "Poll::poll: a level-triggered handle",
                false => "Poll::poll: a level-triggered handle that is signalled no more",
            },
            move |world| {
                let (mut source, event) = event(true);
                let registry = world.poll.registry();
                let level = Interest::READABLE.level();
                registry.register(&mut source, SOURCE, level).unwrap();
                world.until(SOURCE);
                if !is_signalled {
                    reset(&event);
                }
                (source, event)
            },
            Some(Duration::ZERO),
            |world, (source, event), _| {
                set(event);
                world.until(SOURCE);
                world.until(SOURCE);
                reset(event);
                world.poll.registry().deregister(source).unwrap();
                world.take(SOURCE);
                world.assert_no(SOURCE);
            },
        );
        let polled = polled.quiet().answers(|failure| match failure.call {
            // That it can be waited for is known.
            Call::WaitForSingleObject => Some(Expected::Success),
            // It is ready all the same.
            Call::GetQueuedCompletionStatusEx => Some(Expected::Any(failure.error)),
            _ => waiting_on(failure),
        });
        all.push(polled.build());
    }
}

/// A source that the driver polls.
fn polled_pair(world: &mut World) -> (TcpStream, net::TcpStream) {
    let (mut source, peer) = pair();
    register(world, &mut source);
    world.poll(Some(Duration::ZERO)).unwrap();
    (source, peer)
}

/// After an operation failed, the source is as ready as before, and is reported again.
fn assert_reported_again<S>(world: &mut World, _: &mut S, _: i32) {
    world.take(SOURCE);
    world.until(SOURCE);
}

fn unused_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\mio-faulty-{}-{number}", std::process::id())
}
