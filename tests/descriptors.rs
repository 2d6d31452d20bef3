//! Every descriptor is non-blocking and closed on exec from the start. If no descriptor is left,
//! constructors fail and leak none.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    target_os = "linux"
))]

mod util;

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::SocketAddr;

use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::pipe;
use mio::{Backend, Interest, Poll, Token, Waker};
use util::{any_port, Differences, Loop};

/// Whether wakers are on pipes.
const PIPES: bool = cfg!(any(mio_unsupported_force_waker_pipe, mio_model = "kqueue"));

on_each_backend![
    every_descriptor_is_closed_on_exec_and_non_blocking,
    no_descriptor_is_leaked_at_the_descriptor_limit,
    no_descriptor_is_leaked_when_a_later_step_fails,
    no_descriptor_is_leaked_when_the_system_refuses_a_step,
    dropping_everything_closes_everything,
];

/// This process' open descriptors.
fn open() -> BTreeSet<RawFd> {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let all: Vec<RawFd> = folder
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // One of them was the folder itself.
    all.into_iter()
        // SAFETY: `fcntl` with F_GETFD has no memory-safety preconditions.
        .filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1)
        .collect()
}

fn every_descriptor_is_closed_on_exec_and_non_blocking(backend: Backend) {
    // In a process of its own, where no other test opens descriptors.
    if !util::in_child(
        backend,
        "every_descriptor_is_closed_on_exec_and_non_blocking",
    ) {
        return;
    }
    let before = open();

    let poll = Poll::with_backend(backend).unwrap();
    let of_queue: Vec<RawFd> = open().difference(&before).copied().collect();
    let waker = Waker::new(poll.registry(), Token(0)).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let tcp_listener = TcpListener::bind(any_port()).unwrap();
    let mut tcp = TcpStream::connect(tcp_listener.local_addr().unwrap()).unwrap();
    let mut looper = Loop::new(backend);
    looper
        .registry()
        .register(&mut tcp, Token(1), Interest::WRITABLE)
        .unwrap();
    looper.until_writable(Token(1));
    let tcp_accepted = tcp_listener.accept().unwrap();
    drop(looper);
    let udp = UdpSocket::bind(any_port()).unwrap();
    let unix_listener = UnixListener::bind(folder.path().join("listener")).unwrap();
    let unix = UnixStream::connect(folder.path().join("listener")).unwrap();
    let unix_accepted = unix_listener.accept().unwrap();
    let unix_pair = UnixStream::pair().unwrap();
    let datagram = UnixDatagram::bind(folder.path().join("datagram")).unwrap();
    let unbound = UnixDatagram::unbound().unwrap();
    let datagram_pair = UnixDatagram::pair().unwrap();
    let pipe = pipe::new().unwrap();

    let new: Vec<RawFd> = open().difference(&before).copied().collect();
    // A waker's pipe has two ends.
    let wakes = match (PIPES, backend) {
        (false, _) => usize::from(backend.wakes_by_descriptor()),
        (true, Backend::Poll) => 3, // one of the poll itself
        (true, _) => 2,
    };
    // A model has descriptors of its own.
    if !util::ON_A_MODEL {
        assert_eq!(new.len(), 16 + wakes, "{new:?}");
    }
    for fd in new {
        // SAFETY: `fcntl` with F_GETFD and F_GETFL has no memory-safety preconditions.
        let (flags, status) = unsafe {
            (
                libc::fcntl(fd, libc::F_GETFD),
                libc::fcntl(fd, libc::F_GETFL),
            )
        };
        assert_ne!(flags & libc::FD_CLOEXEC, 0, "{fd} is inherited");
        if !of_queue.contains(&fd) {
            assert_ne!(status & libc::O_NONBLOCK, 0, "{fd} blocks");
        }
    }

    drop((
        poll,
        waker,
        tcp_listener,
        tcp,
        tcp_accepted,
        udp,
        unix_listener,
        unix,
    ));
    drop((
        unix_accepted,
        unix_pair,
        datagram,
        unbound,
        datagram_pair,
        pipe,
    ));
    assert_eq!(open(), before);
}

/// Calls a constructor with 0, 1, 2, … descriptors left until it succeeds.
fn with_ever_more_descriptors<T>(what: &str, make: impl Fn() -> std::io::Result<T>) {
    let before = open();
    let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
    let mut failures = 0;
    for left in 0..8 {
        // The limit is on the number of a descriptor, so fill the gaps below it.
        let highest = before.iter().max().unwrap() + 1;
        let filled: Vec<_> = std::iter::repeat_with(|| std::fs::File::open("/dev/null"))
            .map(Result::unwrap)
            .take_while(|file| file.as_raw_fd() < highest)
            .collect();
        rlimit::Resource::NOFILE
            .set(highest as u64 + left, hard)
            .unwrap();
        let made = make();
        rlimit::Resource::NOFILE.set(soft, hard).unwrap();
        drop(filled);
        match made {
            Ok(made) => {
                drop(made);
                assert_eq!(open(), before, "{what} leaks when it is dropped");
                assert!(failures > 0, "{what} needed no descriptor?");
                return;
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{what}: {error}");
                failures += 1;
            }
        }
        assert_eq!(open(), before, "{what} leaked with {left} left");
    }
    panic!("{what} never succeeded");
}

fn no_descriptor_is_leaked_at_the_descriptor_limit(backend: Backend) {
    // In a process of its own, because the limit holds for the whole process.
    if !util::in_child(backend, "no_descriptor_is_leaked_at_the_descriptor_limit") {
        return;
    }
    let poll = Poll::with_backend(backend).unwrap();
    let tcp_listener = TcpListener::bind(any_port()).unwrap();
    let tcp_address = tcp_listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unix_address = SocketAddr::from_pathname(folder.path().join("listener")).unwrap();
    let other_path = folder.path().join("other");
    let other_address = SocketAddr::from_pathname(&other_path).unwrap();
    let unix_listener = UnixListener::bind_addr(&unix_address).unwrap();

    with_ever_more_descriptors("Poll", || Poll::with_backend(backend));
    with_ever_more_descriptors("Poll and Waker", || {
        let poll = Poll::with_backend(backend)?;
        let waker = Waker::new(poll.registry(), Token(0))?;
        Ok((poll, waker))
    });
    if backend.wakes_by_descriptor() {
        with_ever_more_descriptors("Waker", || Waker::new(poll.registry(), Token(0)));
    }
    with_ever_more_descriptors("TcpListener", || TcpListener::bind(any_port()));
    with_ever_more_descriptors("TcpStream", || TcpStream::connect(tcp_address));
    with_ever_more_descriptors("UdpSocket", || UdpSocket::bind(any_port()));
    with_ever_more_descriptors("UnixListener", || UnixListener::bind_addr(&other_address));
    std::fs::remove_file(other_path).unwrap();
    with_ever_more_descriptors("UnixStream", || UnixStream::connect_addr(&unix_address));
    with_ever_more_descriptors("UnixStream::pair", UnixStream::pair);
    with_ever_more_descriptors("UnixDatagram", || UnixDatagram::bind_addr(&other_address));
    with_ever_more_descriptors("UnixDatagram::unbound", UnixDatagram::unbound);
    with_ever_more_descriptors("UnixDatagram::pair", UnixDatagram::pair);
    with_ever_more_descriptors("pipe", pipe::new);
    if backend.watches_children() && backend != Backend::Kqueue {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        with_ever_more_descriptors("ChildExit", || mio::unix::ChildExit::new(&child));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    // Many connections wait by now: each `accept` that succeeds takes a descriptor.
    with_ever_more_descriptors("TcpListener::accept", || tcp_listener.accept());
    with_ever_more_descriptors("UnixListener::accept", || unix_listener.accept());
}

fn no_descriptor_is_leaked_when_a_later_step_fails(backend: Backend) {
    if !util::in_child(backend, "no_descriptor_is_leaked_when_a_later_step_fails") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(any_port()).unwrap();
    let taken_address = taken.local_addr().unwrap();
    let udp = UdpSocket::bind(any_port()).unwrap();
    let udp_address = udp.local_addr().unwrap();
    let path = folder.path().join("taken");
    let _unix = UnixListener::bind(&path).unwrap();
    let missing = folder.path().join("missing");
    let long = folder.path().join("x".repeat(200));

    let before = open();
    assert!(TcpListener::bind(taken_address).is_err());
    assert!(UdpSocket::bind(udp_address).is_err());
    assert!(UnixListener::bind(&path).is_err());
    assert!(UnixListener::bind(&long).is_err());
    assert!(UnixListener::bind("with\0nul").is_err());
    assert!(UnixDatagram::bind(&path).is_err());
    assert!(UnixStream::connect(&missing).is_err());
    // A broadcast address, which TCP refuses at once.
    assert!(TcpStream::connect("255.255.255.255:9".parse().unwrap()).is_err());
    assert!(taken.accept().is_err());
    assert!(Poll::with_backend(Backend::Afd).is_err());
    assert_eq!(open(), before);
}

#[cfg(mio_model = "kqueue")]
const ACCEPT: libc::c_long = libc::SYS_accept;
#[cfg(not(mio_model = "kqueue"))]
const ACCEPT: libc::c_long = libc::SYS_accept4;

/// Each system call of each constructor is refused in turn, as a sandbox can refuse it.
fn no_descriptor_is_leaked_when_the_system_refuses_a_step(backend: Backend) {
    if !util::in_child(
        backend,
        "no_descriptor_is_leaked_when_the_system_refuses_a_step",
    ) {
        return;
    }
    let poll = Poll::with_backend(backend).unwrap();
    let listener = TcpListener::bind(any_port()).unwrap();
    let _waiting = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = SocketAddr::from_pathname(folder.path().join("refused")).unwrap();

    let constructors: &[(libc::c_long, &dyn Fn() -> std::io::Result<()>)] = &[
        (libc::SYS_epoll_create1, &|| {
            Poll::with_backend(backend).map(drop)
        }),
        (libc::SYS_eventfd2, &|| {
            Waker::new(poll.registry(), Token(0)).map(drop)
        }),
        (libc::SYS_epoll_ctl, &|| {
            Waker::new(poll.registry(), Token(0)).map(drop)
        }),
        (libc::SYS_pipe2, &|| pipe::new().map(drop)),
        (ACCEPT, &|| listener.accept().map(drop)),
        (libc::SYS_listen, &|| {
            TcpListener::bind(any_port()).map(drop)
        }),
        (libc::SYS_listen, &|| {
            UnixListener::bind_addr(&address).map(drop)
        }),
        (libc::SYS_setsockopt, &|| {
            TcpListener::bind(any_port()).map(drop)
        }),
        (libc::SYS_connect, &|| {
            TcpStream::connect(any_port()).map(drop)
        }),
        (libc::SYS_connect, &|| {
            UnixStream::connect_addr(&address).map(drop)
        }),
        (libc::SYS_bind, &|| UdpSocket::bind(any_port()).map(drop)),
        (libc::SYS_bind, &|| {
            UnixDatagram::bind_addr(&address).map(drop)
        }),
        (libc::SYS_socketpair, &|| UnixStream::pair().map(drop)),
        (libc::SYS_socketpair, &|| UnixDatagram::pair().map(drop)),
        (libc::SYS_socket, &|| UnixDatagram::unbound().map(drop)),
    ];
    let before = open();
    let of_epoll = [libc::SYS_epoll_create1, libc::SYS_epoll_ctl];
    for (call, construct) in constructors {
        if of_epoll.contains(call) && backend != Backend::Epoll {
            continue;
        }
        let has_eventfd = backend.wakes_by_descriptor() && !PIPES;
        if *call == libc::SYS_eventfd2 && !has_eventfd {
            continue;
        }
        util::refuse(*call, Some(libc::ENOSPC));
        let error = construct().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "call {call}");
        assert_eq!(open(), before, "leaked after call {call} was refused");
    }
}

fn dropping_everything_closes_everything(backend: Backend) {
    if !util::in_child(backend, "dropping_everything_closes_everything") {
        return;
    }
    let before = open();
    for order in 0..3 {
        let poll = Poll::with_backend(backend).unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let waker = Waker::new(&registry, Token(0)).unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        registry
            .register(&mut one, Token(1), Interest::READABLE)
            .unwrap();
        waker.wake().unwrap();
        match order {
            0 => drop((poll, registry, waker, one, other)),
            1 => drop((other, one, waker, registry, poll)),
            _ => drop((registry, one, poll, waker, other)),
        }
        assert_eq!(open(), before);
    }
    // A clone of a registry has no descriptor.
    let poll = Poll::with_backend(backend).unwrap();
    let with_poll = open();
    let clones: Vec<_> = (0..10).map(|_| poll.registry().try_clone()).collect();
    assert_eq!(open(), with_poll);
    drop(poll);
    assert_eq!(open(), with_poll, "the clones keep the queue");
    drop(clones);
    assert_eq!(open(), before);
}
