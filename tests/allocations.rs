//! After set-up nothing allocates: neither polling, registering, waking and I/O, nor an operation
//! that would block. And dropping gives all memory back.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
#[cfg(unix)]
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use mio::net::{UnixDatagram, UnixListener, UnixStream};
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Events, Interest, IoSource, Poll, Token, Waker};
use util::{any_port, pipe, stream_pair};

on_each_backend![
    polling_allocates_nothing,
    registering_allocates_nothing,
    registering_in_modes_allocates_nothing,
    waking_allocates_nothing,
    stream_io_allocates_nothing,
    datagram_io_allocates_nothing,
    making_connections_allocates_nothing,
    dropping_gives_all_memory_back,
    #[cfg(windows)]
    named_pipe_io_allocates_nothing,
    #[cfg(windows)]
    waiting_for_handles_allocates_nothing,
    #[cfg(unix)]
    making_unix_connections_allocates_nothing,
    #[cfg(unix)]
    registering_exits_allocates_nothing,
];

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    // It is const. clippy does not see it where a library call creates the thread-local.
    #[allow(clippy::missing_const_for_thread_local)]
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// How many are not given back.
    #[allow(clippy::missing_const_for_thread_local)]
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and no test runs on it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

fn count_live(change: isize) {
    // As above.
    let _ = LIVE.try_with(|live| live.set(live.get() + change));
}

// SAFETY: every method passes its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        count_live(1);
        // SAFETY: the caller guarantees the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_live(-1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Only one test runs at a time. So an operation that is repeated gets the same descriptors, and a
/// table that is indexed by descriptor does not grow in between.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn without_allocating(what: &str, mut work: impl FnMut()) {
    // The first run may grow tables.
    work();
    for _ in 0..3 {
        let before = ALLOCATIONS.with(Cell::get);
        work();
        let allocated = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(allocated, 0, "{what} allocated");
    }
}

#[track_caller]
fn would_block<R: std::fmt::Debug>(result: std::io::Result<R>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
const NOW: Option<Duration> = Some(Duration::ZERO);

#[test]
fn the_counting_allocator_counts() {
    let before = ALLOCATIONS.with(Cell::get);
    let boxed = std::hint::black_box(Box::new(1));
    drop(boxed);
    assert_eq!(ALLOCATIONS.with(Cell::get), before + 1);
}

#[test]
fn reserving_what_there_is_allocates_nothing() {
    let mut events = Events::with_capacity(8);
    without_allocating("reserve", || events.reserve(0));
    assert_eq!(events.capacity(), 8);
}

fn polling_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let mut poll = Poll::with_backend(backend).unwrap();
    let mut events = Events::with_capacity(8);
    let (mut socket, mut other) = stream_pair();
    poll.registry()
        .register(&mut socket, Token(1), BOTH)
        .unwrap();
    without_allocating("a poll", || {
        other.write_all(b"x").unwrap();
        poll.poll(&mut events, None).unwrap();
        while !events.iter().any(|event| event.is_readable()) {
            poll.poll(&mut events, None).unwrap();
        }
        let mut buffer = [0; 8];
        assert_eq!(socket.read(&mut buffer).unwrap(), 1);
        would_block(socket.read(&mut buffer));
        poll.poll(&mut events, NOW).unwrap();
        poll.poll(&mut events, Some(Duration::from_micros(10)))
            .unwrap();
        poll.poll(&mut events, Some(Duration::from_millis(1)))
            .unwrap();
        poll.poll_until(&mut events, Some(Instant::now())).unwrap();
    });
}

fn dropping_gives_all_memory_back(backend: Backend) {
    let _alone = alone();
    let mut events = Events::with_capacity(8);
    let mut work = || {
        let mut poll = Poll::with_backend(backend).unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let mut sockets = [(); 3].map(|()| UdpSocket::bind(any_port()).unwrap());
        for socket in &mut sockets {
            let registry = poll.registry();
            registry.register(socket, Token(1), BOTH).unwrap();
        }
        waker.wake().unwrap();
        poll.poll(&mut events, None).unwrap();
        // One is deregistered, one is dropped first, and one last.
        let [mut one, other, last] = sockets;
        poll.registry().deregister(&mut one).unwrap();
        poll.poll(&mut events, NOW).unwrap();
        drop(other);
        drop(poll);
        drop(last);
    };
    // The first runs make what the process keeps.
    work();
    work();
    let before = LIVE.with(Cell::get);
    for _ in 0..10 {
        work();
    }
    assert_eq!(LIVE.with(Cell::get) - before, 0, "it was not given back");
}

fn registering_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let (_sender, receiver) = pipe::new().unwrap();
    let mut borrowing = IoSource::new(&receiver);
    without_allocating("registering", || {
        let registry = poll.registry().try_clone().unwrap();
        registry.register(&mut socket, Token(1), BOTH).unwrap();
        registry
            .reregister(&mut socket, Token(2), Interest::READABLE)
            .unwrap();
        registry.deregister(&mut socket).unwrap();
        #[cfg(unix)]
        {
            let fd = receiver.as_raw_fd();
            registry
                .register(&mut SourceFd(&fd), Token(3), Interest::READABLE)
                .unwrap();
            registry.deregister(&mut SourceFd(&fd)).unwrap();
        }
        registry
            .register(&mut borrowing, Token(4), Interest::READABLE)
            .unwrap();
        registry.deregister(&mut borrowing).unwrap();
    });
    // An error that names the program's mistake may allocate.
    assert!(poll.registry().deregister(&mut socket).is_err());
}

/// So many that a tree of them would have several nodes.
fn registering_in_modes_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let mut sockets: Vec<_> = (0..40)
        .map(|_| UdpSocket::bind(any_port()).unwrap())
        .collect();
    without_allocating("registering in modes", || {
        let registry = poll.registry();
        for interests in [BOTH.oneshot(), BOTH.level()] {
            for socket in &mut sockets {
                registry.register(socket, Token(1), interests).unwrap();
            }
            for socket in &mut sockets {
                registry.reregister(socket, Token(2), interests).unwrap();
            }
            for socket in &mut sockets {
                registry.deregister(socket).unwrap();
            }
        }
    });
}

fn waking_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let mut poll = Poll::with_backend(backend).unwrap();
    let mut events = Events::with_capacity(8);
    let waker = Waker::new(poll.registry(), Token(1)).unwrap();
    without_allocating("waking", || {
        waker.wake().unwrap();
        waker.wake().unwrap();
        poll.poll(&mut events, None).unwrap();
    });
}

fn stream_io_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let listener = TcpListener::bind(any_port()).unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // The peers only have to exist.
    let (tcp_peer, _) = std::iter::repeat_with(|| listener.accept())
        .find_map(Result::ok)
        .unwrap();
    let (stream, stream_peer) = stream_pair();
    let (sender, receiver) = pipe::new().unwrap();

    fn echo(mut from: impl Write, mut to: impl Read) {
        let mut buffer = [0; 64];
        without_allocating("a stream's I/O", || {
            assert_eq!(from.write(b"hello").unwrap(), 5);
            let parts = [IoSlice::new(b"wor"), IoSlice::new(b"ld")];
            assert_eq!(from.write_vectored(&parts).unwrap(), 5);
            from.flush().unwrap();
            let mut received = 0;
            while received < 10 {
                let (one, other) = buffer.split_at_mut(4);
                let parts = &mut [IoSliceMut::new(one), IoSliceMut::new(other)];
                match to.read_vectored(parts) {
                    Ok(length) => received += length,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            would_block(to.read(&mut buffer));
            would_block(to.read_vectored(&mut [IoSliceMut::new(&mut buffer)]));
        });
    }

    let (mut tcp, mut stream, mut receiver) = (tcp, stream, receiver);
    poll.registry().register(&mut tcp, Token(1), BOTH).unwrap();
    poll.registry()
        .register(&mut stream, Token(2), BOTH)
        .unwrap();
    poll.registry()
        .register(&mut receiver, Token(3), Interest::READABLE)
        .unwrap();
    echo(&tcp_peer, &tcp);
    echo(&tcp, &tcp_peer);
    echo(&stream_peer, &stream);
    echo(&sender, &receiver);
    without_allocating("peeking and trying", || {
        would_block(tcp.peek(&mut [0; 8]));
        would_block(tcp.try_io(|| (&tcp).read(&mut [0; 8])));
        would_block(tcp.try_io_with(Interest::READABLE, || (&tcp).read(&mut [0; 8])));
        assert!(tcp.take_error().unwrap().is_none());
    });
    without_allocating("writing until it would block", || loop {
        if let Err(error) = (&sender).write(&[0; 4096]) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            break;
        }
    });
}

fn datagram_io_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let mut one = UdpSocket::bind(any_port()).unwrap();
    let other = UdpSocket::bind(any_port()).unwrap();
    let (one_address, other_address) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    one.connect(other_address).unwrap();
    poll.registry().register(&mut one, Token(1), BOTH).unwrap();
    #[cfg(unix)]
    let (mut unix, unix_peer) = UnixDatagram::pair().unwrap();
    #[cfg(unix)]
    poll.registry().register(&mut unix, Token(2), BOTH).unwrap();
    let mut buffer = [0; 64];
    without_allocating("datagrams", || {
        other.send_to(b"to", one_address).unwrap();
        while one.peek_from(&mut buffer).is_err() {}
        assert_eq!(one.peek(&mut buffer).unwrap(), 2);
        assert_eq!(one.recv_from(&mut buffer).unwrap(), (2, other_address));
        would_block(one.recv(&mut buffer));
        one.send(b"back").unwrap();
        while other.recv(&mut buffer).is_err() {}
        would_block(other.recv_from(&mut buffer));
        would_block(other.peek_from(&mut buffer));
        #[cfg(unix)]
        {
            unix_peer.send(b"to").unwrap();
            assert_eq!(unix.recv_from(&mut buffer).unwrap().0, 2);
            would_block(unix.recv(&mut buffer));
            unix.send(b"back").unwrap();
            assert_eq!(unix_peer.recv(&mut buffer).unwrap(), 4);
        }
    });
}

fn making_connections_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let mut listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    poll.registry()
        .register(&mut listener, Token(1), Interest::READABLE)
        .unwrap();
    without_allocating("connecting and accepting", || {
        let mut stream = TcpStream::connect(address).unwrap();
        poll.registry()
            .register(&mut stream, Token(3), BOTH)
            .unwrap();
        while listener.accept().is_err() {}
        would_block(listener.accept());
    });
}

#[cfg(windows)]
fn named_pipe_io_allocates_nothing(backend: Backend) {
    let _alone = alone();
    use mio::windows::NamedPipe;
    use std::os::windows::fs::OpenOptionsExt;
    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OVERLAPPED;

    let mut poll = Poll::with_backend(backend).unwrap();
    let mut events = Events::with_capacity(8);
    let name = format!(r"\\.\pipe\mio-allocations-{}", std::process::id());
    let mut server = NamedPipe::new(&name).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let options = options.read(true).write(true);
    let client = options.custom_flags(FILE_FLAG_OVERLAPPED).open(&name);
    let mut client = NamedPipe::from(std::os::windows::io::OwnedHandle::from(client.unwrap()));
    for (n, pipe) in [&mut server, &mut client].into_iter().enumerate() {
        poll.registry().register(pipe, Token(n), BOTH).unwrap();
    }
    server.connect().unwrap();
    let mut buffer = [0; 64];
    without_allocating("a pipe's I/O", || {
        for n in 0..3 {
            while client.write(b"some").is_err() {
                poll.poll(&mut events, None).unwrap();
            }
            let mut received = 0;
            while received < 4 {
                match server.read(&mut buffer) {
                    Ok(length) => received += length,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        poll.poll(&mut events, None).unwrap();
                    }
                }
            }
            would_block(server.read(&mut buffer));
            poll.registry()
                .reregister(&mut server, Token(n), BOTH)
                .unwrap();
        }
    });
}

#[cfg(unix)]
fn making_unix_connections_allocates_nothing(backend: Backend) {
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut unix = UnixListener::bind(&path).unwrap();
    poll.registry()
        .register(&mut unix, Token(2), Interest::READABLE)
        .unwrap();
    without_allocating("connecting and accepting", || {
        let mut stream = UnixStream::connect(&path).unwrap();
        poll.registry()
            .register(&mut stream, Token(3), BOTH)
            .unwrap();
        unix.accept().unwrap();
        would_block(unix.accept());
    });
}

#[cfg(unix)]
fn registering_exits_allocates_nothing(backend: Backend) {
    use mio::unix::ChildExit;
    use std::process::{Command, Stdio};
    use util::Differences;

    if !backend.watches_children() {
        return;
    }
    let _alone = alone();
    let poll = Poll::with_backend(backend).unwrap();
    let registry = poll.registry();
    // They wait for the end of their input.
    let mut children: Vec<_> = (0..20)
        .map(|_| {
            let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let exit = ChildExit::new(&child).unwrap();
            (child, exit)
        })
        .collect();
    without_allocating("registering exits", || {
        for (_, exit) in &mut children {
            registry
                .register(exit, Token(1), Interest::READABLE)
                .unwrap();
        }
        for (_, exit) in &mut children {
            registry
                .reregister(exit, Token(2), Interest::READABLE)
                .unwrap();
        }
        for (_, exit) in &mut children {
            registry.deregister(exit).unwrap();
        }
    });
    for (child, _) in &mut children {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[cfg(windows)]
fn waiting_for_handles_allocates_nothing(backend: Backend) {
    let _alone = alone();
    use mio::windows::WaitHandle;
    use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
    use windows_sys::Win32::System::Threading::{CreateEventW, SetEvent};

    let mut poll = Poll::with_backend(backend).unwrap();
    let mut events = Events::with_capacity(8);
    // SAFETY: attributes and name are null, which stands for none; nothing else owns the new handle.
    let event = unsafe {
        let event = CreateEventW(std::ptr::null(), 0, 0, std::ptr::null());
        assert!(!event.is_null());
        OwnedHandle::from_raw_handle(event)
    };
    let mut handle = WaitHandle::new(event.as_handle().try_clone_to_owned().unwrap());
    without_allocating("waiting for a handle", || {
        let registry = poll.registry().try_clone().unwrap();
        for mode in [Interest::READABLE, Interest::READABLE.level()] {
            registry.register(&mut handle, Token(1), mode).unwrap();
            for _ in 0..3 {
                // SAFETY: the handle is open.
                assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
                poll.poll(&mut events, None).unwrap();
                registry.reregister(&mut handle, Token(1), mode).unwrap();
            }
            registry.deregister(&mut handle).unwrap();
        }
    });
}
