//! The operations. Each runs several times. Preparing it and dropping its result are not recorded; a peer is an
//! object of the standard library.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle, RawSocket,
};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::windows::{NamedPipe, WaitHandle};
use mio::{Events, Interest, Poll, Token, Waker};
use windows_sys::Win32::Networking::WinSock::{WSAPoll, POLLRDNORM, SOCKET, WSAPOLLFD};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

use crate::imports::Imports;
use crate::table::Operation;

/// The number of runs: enough to show calls that are made the first time only.
const TIMES: usize = 4;

const PATIENCE: Duration = Duration::from_secs(20);

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

pub fn run(imports: &Imports) -> Vec<Operation> {
    // A first run makes the calls that a process makes once: loading a library, looking up a function.
    let _ = watch_all(imports);
    watch_all(imports)
}

fn watch_all(imports: &Imports) -> Vec<Operation> {
    let mut all = Watcher {
        imports,
        seen: Vec::new(),
    };
    polls(&mut all);
    wakers(&mut all);
    tcp(&mut all);
    listeners(&mut all);
    udp(&mut all);
    pipes(&mut all);
    handles(&mut all);
    all.seen
}

struct Watcher<'a> {
    imports: &'a Imports,
    seen: Vec<Operation>,
}

impl Watcher<'_> {
    /// Records an operation on a prepared state.
    fn operation<S, R>(
        &mut self,
        name: &str,
        prepare: impl Fn() -> S,
        operate: impl Fn(&mut S) -> io::Result<R>,
    ) {
        let runs = (0..TIMES).map(|_| {
            let mut prepared = prepare();
            let (result, calls) = self.imports.of(|| operate(&mut prepared));
            if let Err(error) = result {
                panic!("{name}: {error}");
            }
            calls
        });
        let runs = runs.collect();
        let name = name.to_owned();
        self.seen.push(Operation { name, runs });
    }

    /// Records the drop of the first of two values.
    fn dropping<S, R>(&mut self, name: &str, prepare: impl Fn() -> (S, R)) {
        let split = || {
            let (dropped, rest) = prepare();
            (Some(dropped), rest)
        };
        self.operation(name, split, |(dropped, _)| {
            drop(dropped.take());
            Ok(())
        });
    }

    /// Records the registration of a source, and the operations on a registered source.
    fn registrations<S: Source, R>(&mut self, kind: &str, new: impl Fn() -> (S, R)) {
        let fresh = || Polled::new(new());
        let registered = || {
            let mut polled = fresh();
            polled.register();
            polled
        };
        let watched = || {
            let mut polled = registered();
            polled.poll(Some(Duration::ZERO)).unwrap();
            polled
        };
        self.operation(&format!("{kind}: register"), fresh, |s| {
            let registry = s.poll.registry();
            registry.register(&mut s.source.0, Token(1), Interest::READABLE)
        });
        self.operation(
            &format!("{kind}: register, and a poll that finds nothing"),
            fresh,
            |s| {
                s.register();
                s.poll(Some(Duration::ZERO))
            },
        );
        self.operation(
            &format!("{kind}: reregister, before a poll"),
            registered,
            |s| s.reregister(BOTH),
        );
        self.operation(
            &format!(
                "{kind}: reregister for no more than is watched, and a poll that finds nothing"
            ),
            watched,
            |s| {
                s.reregister(Interest::READABLE)?;
                s.poll(Some(Duration::ZERO))
            },
        );
        self.operation(
            &format!("{kind}: deregister, before a poll"),
            registered,
            |s| s.deregister(),
        );
        self.operation(&format!("{kind}: deregister, after a poll"), watched, |s| {
            s.deregister()
        });
        self.dropping(&format!("{kind}: drop, never registered"), &new);
        self.dropping(&format!("{kind}: drop, after a poll"), || {
            let Polled {
                poll,
                events,
                source: (source, rest),
            } = watched();
            (source, (poll, events, rest))
        });
    }
}

/// A poll and a source, with the source's peer.
struct Polled<S> {
    poll: Poll,
    events: Events,
    source: S,
}

impl<S> Polled<S> {
    fn new(source: S) -> Polled<S> {
        Polled {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(8),
            source,
        }
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)
    }

    /// Polls until there is an event.
    fn until_event(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.events.is_empty() {
            assert!(Instant::now() < deadline, "no event");
            self.poll(Some(Duration::from_millis(100))).unwrap();
        }
    }
}

impl<S: Source, R> Polled<(S, R)> {
    fn register(&mut self) {
        let registry = self.poll.registry();
        let registered = registry.register(&mut self.source.0, Token(1), Interest::READABLE);
        registered.unwrap();
    }

    fn reregister(&mut self, interest: Interest) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.reregister(&mut self.source.0, Token(2), interest)
    }

    fn deregister(&mut self) -> io::Result<()> {
        self.poll.registry().deregister(&mut self.source.0)
    }

    /// A source that is registered, and that the driver polls.
    fn watched(source: (S, R)) -> Polled<(S, R)> {
        let mut polled = Polled::new(source);
        polled.register();
        polled.poll(Some(Duration::ZERO)).unwrap();
        assert!(polled.events.is_empty());
        polled
    }
}

fn polls(all: &mut Watcher<'_>) {
    all.operation("Poll::new", || (), |()| Poll::new());
    all.dropping("Poll: drop", || (Poll::new().unwrap(), ()));
    let idle = || Polled::new(());
    all.operation(
        "Poll::poll: nothing is registered, timeout zero",
        idle,
        |s| s.poll(Some(Duration::ZERO)),
    );
    all.operation(
        "Registry::try_clone",
        || Poll::new().unwrap(),
        |poll| poll.registry().try_clone(),
    );
}

fn wakers(all: &mut Watcher<'_>) {
    let new = || {
        let mut polled = Polled::new(None);
        polled.source = Some(Waker::new(polled.poll.registry(), Token(0)).unwrap());
        polled
    };
    let wake = |s: &Polled<Option<Waker>>| s.source.as_ref().unwrap().wake();
    let woken = || {
        let polled = new();
        wake(&polled).unwrap();
        polled
    };
    all.operation(
        "Waker::new",
        || Poll::new().unwrap(),
        |poll| Waker::new(poll.registry(), Token(0)),
    );
    all.operation("Waker::wake: first", new, |s| wake(s));
    all.operation("Waker::wake: one is pending", woken, |s| wake(s));
    all.operation("Poll::poll: a waker woke", woken, |s| s.poll(None));
    all.operation(
        "Waker, a turn: a wake, and the poll that reports it",
        new,
        |s| {
            wake(s)?;
            s.poll(None)
        },
    );
    all.dropping("Waker: drop", || {
        let mut polled = new();
        (polled.source.take(), polled)
    });
}

fn tcp(all: &mut Watcher<'_>) {
    all.registrations("TcpStream", tcp_pair);

    let peer = || {
        let listener = net::TcpListener::bind(any_port()).unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    all.operation("TcpStream::connect", peer, |(address, _)| {
        TcpStream::connect(*address)
    });
    all.operation(
        "TcpStream::connect, register, and the poll that reports the connection",
        || Polled::new(peer()),
        |s| {
            let mut stream = TcpStream::connect(s.source.0)?;
            let registry = s.poll.registry();
            registry.register(&mut stream, Token(1), Interest::WRITABLE)?;
            s.poll(None)?;
            assert_eq!(s.events.iter().count(), 1);
            Ok(stream)
        },
    );

    let sent = || {
        let mut polled = Polled::watched(tcp_pair());
        polled.source.1.write_all(b"hello").unwrap();
        until_readable(polled.source.0.as_raw_socket());
        polled
    };
    let reported = || {
        let mut polled = sent();
        polled.until_event();
        polled
    };
    all.operation("TcpStream: read", reported, |s| {
        s.source.0.read(&mut [0; 5])
    });
    all.operation("TcpStream: read, would block", tcp_pair, |(stream, _)| {
        would_block(stream.read(&mut [0; 8]))
    });
    all.operation("TcpStream: write", tcp_pair, |(stream, _)| {
        stream.write(b"hello")
    });
    all.operation("TcpStream: peek", reported, |s| {
        s.source.0.peek(&mut [0; 5])
    });
    all.operation(
        "TcpStream, a turn: a poll that reports it, a read until it would block, and a poll that finds nothing",
        sent,
        |s| {
            s.poll(None)?;
            assert_eq!(s.source.0.read(&mut [0; 8])?, 5);
            would_block(s.source.0.read(&mut [0; 8]))?;
            s.poll(Some(Duration::ZERO))
        },
    );
}

fn listeners(all: &mut Watcher<'_>) {
    let new = || (TcpListener::bind(any_port()).unwrap(), ());
    all.operation(
        "TcpListener::bind",
        || (),
        |()| TcpListener::bind(any_port()),
    );
    all.registrations("TcpListener", new);
    let called = || {
        let polled = Polled::watched(new());
        let address = polled.source.0.local_addr().unwrap();
        let client = net::TcpStream::connect(address).unwrap();
        until_readable(polled.source.0.as_raw_socket());
        (polled, client)
    };
    all.operation("TcpListener: accept", called, |(s, _)| s.source.0.accept());
    all.operation("TcpListener: accept, would block", new, |(listener, ())| {
        would_block(listener.accept())
    });
    all.operation(
        "TcpListener, a turn: a poll that reports it, accepting until it would block, and a poll that finds nothing",
        called,
        |(s, _)| {
            s.poll(None)?;
            let accepted = s.source.0.accept()?;
            would_block(s.source.0.accept())?;
            s.poll(Some(Duration::ZERO))?;
            Ok(accepted)
        },
    );
}

fn udp(all: &mut Watcher<'_>) {
    let pair = || {
        let socket = UdpSocket::bind(any_port()).unwrap();
        let peer = net::UdpSocket::bind(any_port()).unwrap();
        (socket, peer)
    };
    let unsent = || {
        let (socket, peer) = pair();
        (socket, peer.local_addr().unwrap(), peer)
    };
    all.operation("UdpSocket::bind", || (), |()| UdpSocket::bind(any_port()));
    all.registrations("UdpSocket", pair);
    all.operation("UdpSocket: send_to", unsent, |(socket, address, _)| {
        socket.send_to(b"hello", *address)
    });
    let sent = || {
        let polled = Polled::watched(pair());
        let (socket, peer) = &polled.source;
        peer.send_to(b"hello", socket.local_addr().unwrap())
            .unwrap();
        until_readable(socket.as_raw_socket());
        polled
    };
    all.operation("UdpSocket: recv_from", sent, |s| {
        s.source.0.recv_from(&mut [0; 8])
    });
    all.operation("UdpSocket: recv_from, would block", pair, |(socket, _)| {
        would_block(socket.recv_from(&mut [0; 8]))
    });
    all.operation(
        "UdpSocket, a turn: a poll that reports it, receiving until it would block, and a poll that finds nothing",
        sent,
        |s| {
            s.poll(None)?;
            assert_eq!(s.source.0.recv_from(&mut [0; 8])?.0, 5);
            would_block(s.source.0.recv_from(&mut [0; 8]))?;
            s.poll(Some(Duration::ZERO))
        },
    );
}

fn pipes(all: &mut Watcher<'_>) {
    /// A server's end and its client.
    fn pair() -> (NamedPipe, File) {
        let name = unused_name();
        let server = NamedPipe::new(&name).unwrap();
        let client = File::options().read(true).write(true).open(&name).unwrap();
        (server, client)
    }

    let watched = || Polled::watched(pair());
    let alone = || {
        let name = unused_name();
        (NamedPipe::new(&name).unwrap(), name)
    };
    all.operation("NamedPipe::new", unused_name, |name| NamedPipe::new(name));
    all.registrations("NamedPipe", pair);
    all.operation(
        "NamedPipe: connect",
        || Polled::watched(alone()),
        |s| would_block(s.source.0.connect()),
    );
    let connected = || {
        let polled = Polled::watched(alone());
        would_block(polled.source.0.connect()).unwrap();
        let mut options = File::options();
        let client = options.read(true).write(true).open(&polled.source.1);
        (polled, client.unwrap())
    };
    all.operation(
        "NamedPipe, a poll that reports a client",
        connected,
        |(s, _)| s.poll(None),
    );
    let reported = || {
        let (mut polled, client) = connected();
        polled.until_event();
        (polled, client)
    };
    all.operation("NamedPipe: disconnect", reported, |(s, _)| {
        s.source.0.disconnect()
    });
    let sent = || {
        let mut polled = watched();
        polled.source.1.write_all(b"hello").unwrap();
        polled
    };
    all.operation(
        "NamedPipe, a turn: a poll that reports it, a read until it would block, and a poll that finds nothing",
        sent,
        |s| {
            s.poll(None)?;
            assert_eq!(s.source.0.read(&mut [0; 8])?, 5);
            would_block(s.source.0.read(&mut [0; 8]))?;
            s.poll(Some(Duration::ZERO))
        },
    );
    let writable = || {
        let mut polled = Polled::new(pair());
        let registry = polled.poll.registry();
        registry
            .register(&mut polled.source.0, Token(1), Interest::WRITABLE)
            .unwrap();
        polled.until_event();
        polled
    };
    all.operation("NamedPipe: write", writable, |s| s.source.0.write(b"hello"));
    all.operation(
        "NamedPipe: write, would block",
        || {
            let mut polled = writable();
            assert_eq!(polled.source.0.write(b"hello").unwrap(), 5);
            polled
        },
        |s| would_block(s.source.0.write(b"hello")),
    );
    all.operation(
        "NamedPipe, a turn: a write, and the poll that reports that it has gone out",
        writable,
        |s| {
            assert_eq!(s.source.0.write(b"hello")?, 5);
            s.poll(None)
        },
    );
    all.dropping("NamedPipe: drop, while a write is in flight", || {
        let mut polled = writable();
        // More than the system accepts at once.
        assert!(polled.source.0.write(&[0; 64 * 1024]).unwrap() > 0);
        until_filled(&polled.source.1);
        let Polled {
            poll,
            events,
            source: (server, client),
        } = polled;
        (server, (poll, events, client))
    });
}

fn handles(all: &mut Watcher<'_>) {
    /// An event that lasts until it is reset, as a source and for setting it.
    fn event() -> (WaitHandle, OwnedHandle) {
        // SAFETY: attributes and name are null, which stands for none; nothing else owns the new handle.
        let event = unsafe {
            let event = CreateEventW(ptr::null(), 1, 0, ptr::null());
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

    let signalled = || {
        let (source, event) = event();
        set(&event);
        (source, event)
    };
    let registered_with = |source: (WaitHandle, OwnedHandle), interest| {
        let mut polled = Polled::new(source);
        let registry = polled.poll.registry();
        let registered = registry.register(&mut polled.source.0, Token(1), interest);
        registered.unwrap();
        polled
    };
    let reported = |interest| {
        let mut polled = registered_with(signalled(), interest);
        polled.poll(Some(Duration::ZERO)).unwrap();
        assert!(!polled.events.is_empty());
        polled
    };
    let level = Interest::READABLE.level();
    all.operation(
        "WaitHandle::new",
        || Some(event().0.into_inner()),
        |handle| Ok(handle.take().map(WaitHandle::new)),
    );
    all.registrations("WaitHandle", event);
    all.operation(
        "WaitHandle: register, signalled, and the poll that reports it",
        || Polled::new(signalled()),
        |s| {
            s.register();
            s.poll(None)
        },
    );
    all.operation(
        "WaitHandle, a turn: a signal, the poll that reports it, and a reregister that finds it signalled",
        || Polled::watched(event()),
        |s| {
            set(&s.source.1);
            s.poll(None)?;
            s.reregister(Interest::READABLE)
        },
    );
    all.operation(
        "WaitHandle: reregister, after its event, not signalled any more",
        || {
            let polled = reported(Interest::READABLE);
            // SAFETY: the handle is open.
            assert_ne!(unsafe { ResetEvent(polled.source.1.as_raw_handle()) }, 0);
            polled
        },
        |s| s.reregister(Interest::READABLE),
    );
    all.operation(
        "WaitHandle: deregister, after its event",
        || reported(Interest::READABLE),
        |s| s.deregister(),
    );
    all.operation(
        "WaitHandle, level: a poll while it is signalled",
        || reported(level),
        |s| s.poll(None),
    );
    all.operation(
        "WaitHandle, level: a poll when it is signalled no more",
        || {
            let polled = reported(level);
            // SAFETY: the handle is open.
            assert_ne!(unsafe { ResetEvent(polled.source.1.as_raw_handle()) }, 0);
            polled
        },
        |s| s.poll(Some(Duration::ZERO)),
    );
}

fn would_block<T>(result: io::Result<T>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("it did not block")),
    }
}

fn any_port() -> SocketAddr {
    (net::Ipv4Addr::LOCALHOST, 0).into()
}

fn tcp_pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream), peer)
}

fn unused_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only the number itself matters, and each is taken once.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\mio-calls-{}-{number}", std::process::id())
}

/// Waits until a socket on the loopback interface is readable.
fn until_readable(socket: RawSocket) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut poll = WSAPOLLFD {
            fd: socket as SOCKET,
            events: POLLRDNORM,
            revents: 0,
        };
        // SAFETY: `poll` is one valid structure, the count is 1, and the call does not use it after it returns.
        let ready = unsafe { WSAPoll(&mut poll, 1, 100) };
        if ready == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "nothing to read");
    }
}

/// Waits until this end of a pipe has data.
fn until_filled(pipe: &File) {
    let deadline = Instant::now() + PATIENCE;
    let mut available = 0;
    while available == 0 {
        // SAFETY: the handle is open. The call writes one number to `available`; the other pointers are null.
        let peeked = unsafe {
            PeekNamedPipe(
                pipe.as_raw_handle(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                &mut available,
                ptr::null_mut(),
            )
        };
        assert_ne!(peeked, 0, "{}", io::Error::last_os_error());
        assert!(Instant::now() < deadline, "nothing to read");
        std::thread::yield_now();
    }
}
