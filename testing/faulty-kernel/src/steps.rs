//! Operations that every system has, without the answers to their failures, and parts of others.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::operation::{operation, Steps};
use crate::record::{self, patience};
use crate::system::{self, Peer, Stream};
use crate::world::{World, RENAMED, SOURCE};

const OTHER_WAKER: Token = Token(9);

/// A registry and a source of a poll on which another thread waits.
type Watched<S> = (Registry, S, Option<JoinHandle<()>>);

pub fn open_poll() -> Steps<(), Poll> {
    operation(
        "Poll::with_backend",
        |_| (),
        |world, ()| Poll::with_backend(world.backend),
        |_, _, mut poll| assert_it_polls(&mut poll),
    )
}

pub fn drop_poll() -> Steps<Option<Poll>, ()> {
    operation(
        "Poll: drop",
        |world| Some(Poll::with_backend(world.backend).unwrap()),
        |_, poll| drop_it(poll),
        |_, _, ()| {},
    )
}

/// Polls once. This call must report what is ready; if it fails, the next one must.
pub fn poll<S: 'static>(
    name: impl Into<String>,
    prepare: impl Fn(&mut World) -> S + Send + Sync + 'static,
    timeout: Option<Duration>,
    check: impl Fn(&mut World, &mut S, usize) + Send + Sync + 'static,
) -> Steps<S, usize> {
    operation(name, prepare, move |world, _| world.poll(timeout), check)
}

/// A poll for which an event is ready.
pub fn poll_ready(name: &str, timeout: Option<Duration>) -> Steps<(), usize> {
    poll(
        format!("Poll::poll: an event is ready, {name}"),
        |_| (),
        timeout,
        |_, _, count| assert_eq!(count, 1, "events"),
    )
}

/// A poll that times out.
pub fn poll_idle(name: &str, timeout: Duration) -> Steps<Instant, usize> {
    let idle = poll(
        format!("Poll::poll: nothing is ready, {name}"),
        |_| Instant::now(),
        Some(timeout),
        move |_, start, count| {
            assert_eq!(count, 0, "events");
            assert!(start.elapsed() >= timeout, "it ended early");
        },
    );
    idle.quiet()
}

pub fn poll_woken() -> Steps<(), usize> {
    let woken = poll(
        "Poll::poll: a waker woke",
        |world| world.waker.wake().unwrap(),
        None,
        |world, _, _| world.until(crate::world::WAKER),
    );
    woken.quiet()
}

pub fn poll_hung_up() -> Steps<Stream, usize> {
    let hung_up = poll(
        "Poll::poll: a peer has hung up",
        |world| {
            let (mut source, peer) = system::pair();
            register(world, &mut source);
            drop(peer);
            source
        },
        None,
        |world, _, _| world.until(SOURCE),
    );
    hung_up.quiet()
}

pub fn register_while_another_thread_waits() -> Steps<Watched<(Stream, Peer)>, ()> {
    operation(
        "Registry::register: while another thread waits",
        |world| {
            let poll = Poll::with_backend(world.backend).unwrap();
            let (registry, waiting) = wait_for(poll, &[SOURCE]);
            let (source, mut peer) = system::pair();
            peer.write_all(b"x").unwrap();
            (registry, (source, peer), Some(waiting))
        },
        |_, (registry, (source, _), _)| registry.register(source, SOURCE, Interest::READABLE),
        |_, (.., waiting), ()| waiting.take().unwrap().join().unwrap(),
    )
}

pub fn deregister_while_another_thread_waits() -> Steps<Watched<(Stream, Peer)>, ()> {
    operation(
        "Registry::deregister: while another thread waits",
        |world| {
            let poll = Poll::with_backend(world.backend).unwrap();
            let (mut source, peer) = system::pair();
            let registry = poll.registry();
            registry
                .register(&mut source, SOURCE, Interest::READABLE)
                .unwrap();
            let (registry, waiting) = wait_for(poll, &[RENAMED]);
            (registry, (source, peer), Some(waiting))
        },
        |_, (registry, (source, _), _)| registry.deregister(source),
        |_, (registry, (source, peer), waiting), ()| {
            // A deregistered source has no event, and a registered one has an event.
            peer.write_all(b"x").unwrap();
            let registered = registry.register(source, RENAMED, Interest::READABLE);
            registered.unwrap();
            waiting.take().unwrap().join().unwrap();
        },
    )
}

pub fn wake_while_another_thread_waits() -> Steps<Watched<Waker>, ()> {
    operation(
        "Waker::wake: while another thread waits",
        |world| {
            let poll = Poll::with_backend(world.backend).unwrap();
            let waker = Waker::new(poll.registry(), SOURCE).unwrap();
            // With the registry the queue outlives the wake.
            let (registry, waiting) = wait_for(poll, &[SOURCE]);
            (registry, waker, Some(waiting))
        },
        |_, (_, waker, _)| waker.wake(),
        |_, (.., waiting), ()| waiting.take().unwrap().join().unwrap(),
    )
}

/// A thread that polls until these tokens were reported, and a registry of its poll.
pub fn wait_for(mut poll: Poll, tokens: &'static [Token]) -> (Registry, JoinHandle<()>) {
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
    record::another_thread_waits();
    (registry, waiting)
}

pub fn new_waker() -> Steps<(), Waker> {
    operation(
        "Waker::new",
        |_| (),
        |world, ()| Waker::new(world.poll.registry(), OTHER_WAKER),
        |world, (), waker| {
            for _ in 0..2 {
                waker.wake().unwrap();
                world.until(OTHER_WAKER);
            }
        },
    )
}

pub fn wake() -> Steps<Waker, ()> {
    operation(
        "Waker::wake",
        |world| Waker::new(world.poll.registry(), OTHER_WAKER).unwrap(),
        |_, waker| waker.wake(),
        |world, waker, ()| {
            world.until(OTHER_WAKER);
            waker.wake().unwrap();
            world.until(OTHER_WAKER);
        },
    )
}

pub fn drop_waker() -> Steps<Option<Waker>, ()> {
    operation(
        "Waker: drop",
        |world| Some(Waker::new(world.poll.registry(), OTHER_WAKER).unwrap()),
        |_, waker| drop_it(waker),
        |_, _, ()| {},
    )
}

pub fn bind_listener() -> Steps<(), TcpListener> {
    operation(
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
    )
}

pub fn drop_listener() -> Steps<Option<TcpListener>, ()> {
    operation(
        "TcpListener: drop",
        |_| Some(TcpListener::bind(any_port()).unwrap()),
        |_, listener| drop_it(listener),
        |_, _, ()| {},
    )
}

pub fn accept() -> Steps<(TcpListener, [net::TcpStream; 2]), (TcpStream, net::SocketAddr)> {
    operation(
        "TcpListener::accept",
        |world| {
            let mut listener = TcpListener::bind(any_port()).unwrap();
            // If a call after the accept itself fails, one client is lost.
            let address = listener.local_addr().unwrap();
            let clients = [(); 2].map(|()| net::TcpStream::connect(address).unwrap());
            register(world, &mut listener);
            world.until(SOURCE);
            (listener, clients)
        },
        |_, (listener, _)| listener.accept(),
        |world, (listener, clients), (mut stream, address)| {
            let mut clients = clients.iter_mut();
            let client = clients.find(|client| address == client.local_addr().unwrap());
            let client = client.expect("it is one of the clients");
            world.assert_reads(&mut stream, || client.write_all(b"x").unwrap());
            // The next client is reported.
            while listener.accept().is_ok() {}
            world.take(SOURCE);
            let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            world.until(SOURCE);
        },
    )
}

pub fn connect() -> Steps<(net::TcpListener, net::SocketAddr), TcpStream> {
    operation(
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
            // Connections of attempts that failed come first.
            let (mut peer, _) = loop {
                let accepted = listener.accept().unwrap();
                if accepted.1 == address {
                    break accepted;
                }
            };
            world.assert_reads(&mut stream, || peer.write_all(b"x").unwrap());
        },
    )
}

pub fn any_port() -> net::SocketAddr {
    (net::Ipv4Addr::LOCALHOST, 0).into()
}

pub fn register(world: &mut World, source: &mut impl Source) {
    let registry = world.poll.registry();
    registry
        .register(source, SOURCE, Interest::READABLE)
        .unwrap();
}

/// Checks that a drained stream is reported when it has data again. Twice, because a source that was given
/// up is reported once.
#[track_caller]
pub fn assert_reported(
    world: &mut World,
    token: Token,
    stream: &mut impl Read,
    peer: &mut impl Write,
) {
    for _ in 0..2 {
        drain(stream);
        world.take(token);
        peer.write_all(b"z").unwrap();
        world.until(token);
        let start = Instant::now();
        while stream.read(&mut [0]).is_err() {
            assert!(start.elapsed() < patience(), "a byte can be read");
            world.poll(Some(Duration::from_millis(10))).unwrap();
        }
    }
}

/// Reads until it would block. If a named pipe could not begin a read, the next read returns that error.
fn drain(stream: &mut impl Read) {
    let start = Instant::now();
    loop {
        match stream.read(&mut [0; 8]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => assert!(start.elapsed() < patience(), "it can be drained"),
        }
    }
}

/// Does nothing when it is run again.
pub fn drop_it<T>(what: &mut Option<T>) -> io::Result<()> {
    drop(what.take());
    Ok(())
}

/// Checks that a new poll works.
fn assert_it_polls(poll: &mut Poll) {
    let (mut source, mut peer) = system::pair();
    let registry = poll.registry();
    registry
        .register(&mut source, SOURCE, Interest::READABLE)
        .unwrap();
    peer.write_all(b"x").unwrap();
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, Some(patience())).unwrap();
    assert_eq!(events.iter().count(), 1, "events of the new poll");
}
