//! Runs mio's operations one by one between marks that strace prints, so that `cargo xtask calls`
//! can count the system calls of each. The table of them is expected.txt, beside this folder.
//!
//! Built for a model of another system's kernel, it runs the operations of a queue alone, and prints the
//! calls of that kernel's interface.
//!
//! Each operation is prepared outside of the marks, with the standard library for its peer, and
//! runs several times. Its result is dropped outside of the marks as well.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{net, os};

use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{pipe, SourceFd};
use mio::{Backend, Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

mod watched;

/// Often enough to show calls that only the first run makes.
const TIMES: usize = 4;

/// The backend that has a table: Linux's best one, or that of the model.
const BACKEND: Backend = match () {
    _ if cfg!(mio_model = "kqueue") => Backend::Kqueue,
    _ if cfg!(mio_model = "event-ports") => Backend::EventPorts,
    _ => Backend::Epoll,
};

fn main() -> io::Result<()> {
    keep_the_heap();
    watched::watch();
    polls();
    registrations();
    wakers();
    rearming();
    if BACKEND != Backend::Epoll {
        return Ok(());
    }
    on_poll();
    let dir = tempfile::tempdir()?;
    tcp();
    udp();
    let paths = Paths::new(&dir);
    unix_streams(&paths);
    unix_datagrams(&paths);
    pipes();
    Ok(())
}

fn new_poll() -> io::Result<Poll> {
    match BACKEND {
        Backend::Epoll => Poll::new(),
        of_model => Poll::with_backend(of_model),
    }
}

fn polls() {
    operation("Poll::new", || (), |()| new_poll());
    dropping("Poll: drop", || (new_poll().unwrap(), ()));

    for (name, timeout) in [
        ("no timeout", None),
        ("timeout zero", Some(Duration::ZERO)),
        ("timeout 10 ms", Some(Duration::from_millis(10))),
        ("timeout 1.5 ms", Some(Duration::from_micros(1500))),
    ] {
        operation(
            &format!("Poll::poll: an event is ready, {name}"),
            readable,
            |s| s.poll(timeout),
        );
        if let Some(timeout) = timeout {
            let name = format!("Poll::poll: nothing is ready, {name}");
            operation(&name, idle, |s| s.poll(Some(timeout)));
        }
    }
    operation(
        "Poll::poll_until: an event is ready, no deadline",
        readable,
        |s| s.poll_until(None),
    );
    for (name, distance) in [
        ("in 10 s", Duration::from_secs(10)),
        ("now", Duration::ZERO),
    ] {
        let name = format!("Poll::poll_until: an event is ready, deadline {name}");
        operation(&name, readable, |s| {
            s.poll_until(Some(Instant::now() + distance))
        });
    }

    operation("Registry::try_clone", idle, |s| {
        s.poll.registry().try_clone()
    });
    dropping("Registry: drop of a clone", || {
        let poll = new_poll().unwrap();
        let clone: Registry = poll.registry().try_clone().unwrap();
        (clone, poll)
    });
}

/// The backend poll(2): a change of its table makes no call while no thread waits.
fn on_poll() {
    let poll = || Poll::with_backend(Backend::Poll).unwrap();
    operation(
        "poll(2): Poll::with_backend",
        || (),
        |()| Poll::with_backend(Backend::Poll),
    );
    let one = (Token(1), Interest::READABLE);
    let fresh = || {
        let pair = UnixStream::pair().unwrap();
        (poll(), pair, Events::with_capacity(8))
    };
    let registered = || {
        let (poll, mut pair, events) = fresh();
        poll.registry().register(&mut pair.0, one.0, one.1).unwrap();
        (poll, pair, events)
    };
    operation("poll(2): Registry::register", fresh, |(poll, pair, _)| {
        poll.registry().register(&mut pair.0, one.0, one.1)
    });
    operation(
        "poll(2): Registry::reregister",
        registered,
        |(poll, pair, _)| poll.registry().reregister(&mut pair.0, one.0, one.1),
    );
    operation(
        "poll(2): Registry::deregister",
        registered,
        |(poll, pair, _)| poll.registry().deregister(&mut pair.0),
    );
    let reported = || {
        let (mut poll, mut pair, mut events) = registered();
        pair.1.write_all(b"x").unwrap();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(pair.0.read(&mut [0]).unwrap(), 1);
        (poll, pair, events)
    };
    operation("poll(2): a read that re-arms", reported, |(_, pair, _)| {
        would_block(pair.0.read(&mut [0]))
    });
    let readable = || {
        let (poll, mut pair, events) = registered();
        pair.1.write_all(b"x").unwrap();
        (poll, pair, events)
    };
    for (name, timeout) in [
        ("no timeout", None),
        ("timeout zero", Some(Duration::ZERO)),
        ("timeout 1.5 ms", Some(Duration::from_micros(1500))),
    ] {
        operation(
            &format!("poll(2): Poll::poll: an event is ready, {name}"),
            readable,
            |(poll, _, events)| poll.poll(events, timeout),
        );
    }
    let waker = || {
        let poll = poll();
        let waker = Waker::new(poll.registry(), Token(1)).unwrap();
        (poll, waker, Events::with_capacity(8))
    };
    operation("poll(2): Waker::new", poll, |poll| {
        Waker::new(poll.registry(), Token(1))
    });
    operation(
        "poll(2): Waker::wake and the poll",
        waker,
        |(poll, waker, events)| {
            waker.wake()?;
            waker.wake()?;
            poll.poll(events, None)
        },
    );
}

fn registrations() {
    let one = (Token(1), Interest::READABLE);
    let other = (Token(2), Interest::READABLE | Interest::WRITABLE);
    let fresh = || (new_poll().unwrap(), tcp_pair());
    let registered = || {
        let (poll, mut pair) = fresh();
        poll.registry().register(&mut pair.0, one.0, one.1).unwrap();
        (poll, pair)
    };
    operation("Registry::register: TcpStream", fresh, |(poll, pair)| {
        poll.registry().register(&mut pair.0, one.0, one.1)
    });
    operation(
        "Registry::reregister: TcpStream",
        registered,
        |(poll, pair)| poll.registry().reregister(&mut pair.0, other.0, other.1),
    );
    operation(
        "Registry::deregister: TcpStream",
        registered,
        |(poll, pair)| poll.registry().deregister(&mut pair.0),
    );

    let fresh = || {
        (
            new_poll().unwrap(),
            os::unix::net::UnixStream::pair().unwrap(),
        )
    };
    let registered = || {
        let (poll, pair) = fresh();
        poll.registry()
            .register(&mut SourceFd(&pair.0.as_raw_fd()), one.0, one.1)
            .unwrap();
        (poll, pair)
    };
    operation("Registry::register: SourceFd", fresh, |(poll, pair)| {
        poll.registry()
            .register(&mut SourceFd(&pair.0.as_raw_fd()), one.0, one.1)
    });
    operation(
        "Registry::reregister: SourceFd",
        registered,
        |(poll, pair)| {
            poll.registry()
                .reregister(&mut SourceFd(&pair.0.as_raw_fd()), other.0, other.1)
        },
    );
    operation(
        "Registry::deregister: SourceFd",
        registered,
        |(poll, pair)| {
            poll.registry()
                .deregister(&mut SourceFd(&pair.0.as_raw_fd()))
        },
    );
}

/// What follows an event: where the kernel makes no edges, the source has to be armed again.
fn rearming() {
    let reported = |interest| {
        let mut polled = readable();
        let registry = polled.poll.registry();
        registry
            .reregister(&mut polled.sources.0, Token(1), interest)
            .unwrap();
        while !polled.events.iter().any(|event| event.is_readable()) {
            polled.poll(None).unwrap();
        }
        polled
    };
    let drained = |interest| {
        let mut polled = reported(interest);
        assert_eq!(polled.sources.0.read(&mut [0; 5]).unwrap(), 5);
        polled
    };
    let both = Interest::READABLE | Interest::WRITABLE;
    for (name, interest) in [("READABLE", Interest::READABLE), ("both", both)] {
        operation(
            &format!("after an event, {name}: a read that takes part of the data"),
            || reported(interest),
            |s| s.sources.0.read(&mut [0; 2]),
        );
        operation(
            &format!("after an event, {name}: a short read"),
            || reported(interest),
            |s| s.sources.0.read(&mut [0; 8]),
        );
        operation(
            &format!("after an event, {name}: a read that would block, and a poll"),
            || drained(interest),
            |s| {
                would_block(s.sources.0.read(&mut [0; 8]))?;
                s.poll(Some(Duration::ZERO))
            },
        );
    }
}

fn wakers() {
    let new = || {
        let poll = new_poll().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        Polled {
            poll,
            events: Events::with_capacity(8),
            sources: waker,
        }
    };
    let woken = || {
        let polled = new();
        polled.sources.wake().unwrap();
        polled
    };
    let polled_once = || {
        let mut polled = woken();
        polled.poll(None).unwrap();
        assert_eq!(polled.events.iter().count(), 1);
        polled
    };
    operation(
        "Waker::new",
        || new_poll().unwrap(),
        |poll| Waker::new(poll.registry(), Token(0)),
    );
    operation("Waker::wake: first", new, |s| s.sources.wake());
    operation("Waker::wake: one is pending", woken, |s| s.sources.wake());
    operation("Waker::wake: after a poll", polled_once, |s| {
        s.sources.wake()
    });
    operation("Poll::poll: a waker woke", woken, |s| s.poll(None));
    operation("Poll::poll: a waker woke again", polled_once, |s| {
        s.sources.wake()?;
        s.poll(None)?;
        s.sources.wake()?;
        s.poll(None)
    });
    dropping("Waker: drop", || {
        let poll = new_poll().unwrap();
        (Waker::new(poll.registry(), Token(0)).unwrap(), poll)
    });
}

fn tcp() {
    operation(
        "TcpListener::bind",
        || (),
        |()| TcpListener::bind(any_port()),
    );
    let listener = || {
        let listener = TcpListener::bind(any_port()).unwrap();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        wait_readable(listener.as_raw_fd());
        (listener, client)
    };
    operation("TcpListener::accept", listener, |(listener, _)| {
        listener.accept()
    });
    let idle = || TcpListener::bind(any_port()).unwrap();
    operation("TcpListener::accept: would block", idle, |listener| {
        would_block(listener.accept())
    });
    dropping("TcpListener: drop", || (idle(), ()));

    let peer = || {
        let listener = net::TcpListener::bind(any_port()).unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    operation("TcpStream::connect", peer, |(address, _)| {
        TcpStream::connect(*address)
    });
    operation("TcpStream::set_nodelay", tcp_pair, |(stream, _)| {
        stream.set_nodelay(true)
    });
    stream_operations("TcpStream", tcp_pair);
    operation(
        "TcpStream::peek",
        || sent(tcp_pair()),
        |(stream, _)| stream.peek(&mut [0; 8]),
    );
    dropping("TcpStream: drop", tcp_pair);
}

fn udp() {
    let pair = || {
        let socket = UdpSocket::bind(any_port()).unwrap();
        let peer = net::UdpSocket::bind(any_port()).unwrap();
        socket.connect(peer.local_addr().unwrap()).unwrap();
        peer.connect(socket.local_addr().unwrap()).unwrap();
        (socket, peer)
    };
    let unconnected = || {
        let peer = net::UdpSocket::bind(any_port()).unwrap();
        (
            UdpSocket::bind(any_port()).unwrap(),
            peer.local_addr().unwrap(),
            peer,
        )
    };
    let received = || {
        let (socket, peer) = pair();
        peer.send(b"hello").unwrap();
        wait_readable(socket.as_raw_fd());
        (socket, peer)
    };
    operation("UdpSocket::bind", || (), |()| UdpSocket::bind(any_port()));
    operation("UdpSocket::connect", unconnected, |(socket, address, _)| {
        socket.connect(*address)
    });
    operation("UdpSocket::send", pair, |(socket, _)| socket.send(b"hello"));
    operation("UdpSocket::send_to", unconnected, |(socket, address, _)| {
        socket.send_to(b"hello", *address)
    });
    operation("UdpSocket::recv", received, |(socket, _)| {
        socket.recv(&mut [0; 8])
    });
    operation("UdpSocket::recv_from", received, |(socket, _)| {
        socket.recv_from(&mut [0; 8])
    });
    operation("UdpSocket::recv: would block", pair, |(socket, _)| {
        would_block(socket.recv(&mut [0; 8]))
    });
    dropping("UdpSocket: drop", pair);
}

fn unix_streams(paths: &Paths) {
    operation(
        "UnixListener::bind",
        || paths.fresh(),
        |path| UnixListener::bind(path),
    );
    let listener = |client: fn(&PathBuf, PathBuf) -> socket2::Socket| {
        move || {
            let path = paths.fresh();
            let listener = UnixListener::bind(&path).unwrap();
            let client = client(&path, paths.fresh());
            wait_readable(listener.as_raw_fd());
            (listener, client)
        }
    };
    let unnamed = |to: &PathBuf, _| connect_unix(to, None);
    let named = |to: &PathBuf, from| connect_unix(to, Some(from));
    operation(
        "UnixListener::accept: unnamed client",
        listener(unnamed),
        |(listener, _)| listener.accept(),
    );
    operation(
        "UnixListener::accept: client with a path",
        listener(named),
        |(listener, _)| listener.accept(),
    );
    dropping("UnixListener: drop", || {
        (UnixListener::bind(paths.fresh()).unwrap(), ())
    });

    let peer = || {
        let path = paths.fresh();
        let listener = os::unix::net::UnixListener::bind(&path).unwrap();
        (path, listener)
    };
    operation("UnixStream::connect", peer, |(path, _)| {
        UnixStream::connect(path)
    });
    operation("UnixStream::pair", || (), |()| UnixStream::pair());
    let pair = || {
        let (stream, peer) = os::unix::net::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        (UnixStream::from_std(stream), peer)
    };
    stream_operations("UnixStream", pair);
    dropping("UnixStream: drop", pair);
}

fn unix_datagrams(paths: &Paths) {
    operation("UnixDatagram::unbound", || (), |()| UnixDatagram::unbound());
    operation(
        "UnixDatagram::bind",
        || paths.fresh(),
        |path| UnixDatagram::bind(path),
    );
    operation("UnixDatagram::pair", || (), |()| UnixDatagram::pair());
    let pair = || UnixDatagram::pair().unwrap();
    let received = || {
        let (socket, peer) = pair();
        peer.send(b"hello").unwrap();
        wait_readable(socket.as_raw_fd());
        (socket, peer)
    };
    let peer = || {
        let path = paths.fresh();
        let peer = os::unix::net::UnixDatagram::bind(&path).unwrap();
        (UnixDatagram::unbound().unwrap(), path, peer)
    };
    operation("UnixDatagram::connect", peer, |(socket, path, _)| {
        socket.connect(path)
    });
    operation("UnixDatagram::send", pair, |(socket, _)| {
        socket.send(b"hello")
    });
    operation("UnixDatagram::send_to", peer, |(socket, path, _)| {
        socket.send_to(b"hello", path)
    });
    operation("UnixDatagram::recv", received, |(socket, _)| {
        socket.recv(&mut [0; 8])
    });
    operation("UnixDatagram::recv_from", received, |(socket, _)| {
        socket.recv_from(&mut [0; 8])
    });
    dropping("UnixDatagram: drop", || {
        (UnixDatagram::unbound().unwrap(), ())
    });
}

fn pipes() {
    let pair = || pipe::new().unwrap();
    let written = || {
        let (mut sender, receiver) = pair();
        sender.write_all(b"hello").unwrap();
        (sender, receiver)
    };
    operation("pipe::new", || (), |()| pipe::new());
    operation("pipe::Sender::write", pair, |(sender, _)| {
        sender.write(b"hello")
    });
    operation("pipe::Receiver::read", written, |(_, receiver)| {
        receiver.read(&mut [0; 8])
    });
    operation(
        "pipe::Receiver::read: would block",
        pair,
        |(_, receiver)| would_block(receiver.read(&mut [0; 8])),
    );
    dropping("pipe::Sender: drop", pair);
    dropping("pipe::Receiver: drop", || {
        let (sender, receiver) = pair();
        (receiver, sender)
    });
}

/// The operations of a stream, whatever its family.
fn stream_operations<S, P>(name: &str, pair: impl Fn() -> (S, P) + Copy)
where
    S: Read + Write + AsRawFd,
    P: Write,
{
    let received = || sent(pair());
    operation(&format!("{name}::read"), received, |(stream, _)| {
        stream.read(&mut [0; 8])
    });
    operation(
        &format!("{name}::read: would block"),
        pair,
        |(stream, _)| would_block(stream.read(&mut [0; 8])),
    );
    operation(
        &format!("{name}::read_vectored"),
        received,
        |(stream, _)| {
            let (mut a, mut b) = ([0; 2], [0; 2]);
            stream.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)])
        },
    );
    operation(&format!("{name}::write"), pair, |(stream, _)| {
        stream.write(b"hello")
    });
    operation(&format!("{name}::write_vectored"), pair, |(stream, _)| {
        stream.write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")])
    });
    operation(&format!("{name}::flush"), pair, |(stream, _)| {
        stream.flush()
    });
}

/// Prepares and runs an operation several times, each time between marks.
fn operation<S, T>(name: &str, prepare: impl Fn() -> S, run: impl Fn(&mut S) -> io::Result<T>) {
    for _ in 0..TIMES {
        let mut state = prepare();
        watched::begin(name);
        let outcome = run(&mut state);
        watched::end(name);
        if let Err(error) = outcome {
            panic!("{name}: {error}");
        }
    }
}

/// Measures the drop of the first value that `prepare` returns. The second value outlives it.
fn dropping<D, R>(name: &str, prepare: impl Fn() -> (D, R)) {
    let prepare = || {
        let (first, rest) = prepare();
        (Some(first), rest)
    };
    operation(name, prepare, |(first, _rest)| {
        drop(first.take());
        Ok(())
    });
}

/// Makes the allocator ask the kernel for memory now, and not during an operation.
fn keep_the_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: this only sets numbers in the allocator, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
    }
    drop(vec![0u8; 8 << 20]);
}

/// A poll, and the sources that are registered with it.
struct Polled<S> {
    poll: Poll,
    events: Events,
    sources: S,
}

impl<S> Polled<S> {
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)
    }

    fn poll_until(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.poll.poll_until(&mut self.events, deadline)
    }
}

/// A poll with an idle stream.
fn idle() -> Polled<(TcpStream, net::TcpStream)> {
    let poll = new_poll().unwrap();
    let mut sources = tcp_pair();
    poll.registry()
        .register(&mut sources.0, Token(1), Interest::READABLE)
        .unwrap();
    Polled {
        poll,
        events: Events::with_capacity(8),
        sources,
    }
}

/// A poll with a stream that has data.
fn readable() -> Polled<(TcpStream, net::TcpStream)> {
    let mut polled = idle();
    polled.sources.1.write_all(b"hello").unwrap();
    wait_readable(polled.sources.0.as_raw_fd());
    polled
}

/// A connected stream, and its peer.
fn tcp_pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream), peer)
}

/// The pair, after the peer has sent data, which can be read now.
fn sent<S: AsRawFd, P: Write>((stream, mut peer): (S, P)) -> (S, P) {
    peer.write_all(b"hello").unwrap();
    wait_readable(stream.as_raw_fd());
    (stream, peer)
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A client of a listener on a path. The client may be bound to a path as well, which std's streams
/// can't be.
fn connect_unix(to: &PathBuf, from: Option<PathBuf>) -> Socket {
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    if let Some(from) = from {
        client.bind(&SockAddr::unix(from).unwrap()).unwrap();
    }
    client.connect(&SockAddr::unix(to).unwrap()).unwrap();
    client
}

/// Waits until there is data or a connection, so that the operation finds it.
fn wait_readable(fd: RawFd) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` is one valid `pollfd`, and the count is 1.
    let ready = unsafe { libc::poll(&mut poll, 1, 10_000) };
    assert_eq!(ready, 1, "nothing came");
}

/// The only error that is allowed.
fn would_block<T>(result: io::Result<T>) -> io::Result<()> {
    match result {
        Ok(_) => Err(io::Error::other("did not block")),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Paths for sockets, each of which is used once.
struct Paths<'a> {
    dir: &'a TempDir,
    given: AtomicUsize,
}

impl<'a> Paths<'a> {
    fn new(dir: &'a TempDir) -> Self {
        Paths {
            dir,
            given: AtomicUsize::new(0),
        }
    }

    fn fresh(&self) -> PathBuf {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        self.dir.path().join(number.to_string())
    }
}
