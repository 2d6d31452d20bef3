//! The tests' common parts: kqueues, changes, and the sockets and pipes to watch.

#![allow(
    dead_code,
    reason = "every test file has this module, and none uses all of it"
)]

pub mod evidence;

use std::ffi::{c_int, c_void};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use std::{fs, mem, ptr};

use kqueue_model::abi::*;

/// Long enough for everything that must happen, even on a slow machine.
pub const LONG: Duration = Duration::from_secs(10);
/// How long to wait before a test concludes that nothing happens.
pub const SHORT: Duration = Duration::from_millis(20);

pub const ADD: u16 = EV_ADD | EV_CLEAR | EV_RECEIPT;
pub const DELETE: u16 = EV_DELETE | EV_RECEIPT;

/// A kqueue, closed by the standard library.
pub struct Kq(pub OwnedFd);

impl Kq {
    pub fn new() -> Kq {
        // SAFETY: the call has no memory-safety preconditions.
        let fd = unsafe { kqueue_model::kqueue() };
        assert!(fd >= 0, "kqueue: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is new, so nothing else owns it.
        Kq(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Another descriptor of the same kqueue.
    pub fn duplicate(&self) -> Kq {
        Kq(self.0.try_clone().unwrap())
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// The results of the changes, with as many entries for them.
    pub fn change(&self, changes: &[Kevent]) -> io::Result<Vec<Kevent>> {
        kevent(self.fd(), changes, changes.len(), Some(Duration::ZERO))
    }

    /// Makes changes that succeed.
    pub fn apply(&self, changes: &[Kevent]) {
        for entry in self.change(changes).unwrap() {
            assert_eq!((entry.flags, entry.data), (EV_ERROR, 0), "{entry:?}");
        }
    }

    /// The events, after waiting for one until the timeout has passed.
    pub fn poll(&self, timeout: Duration) -> Vec<Kevent> {
        kevent(self.fd(), &[], 16, Some(timeout)).unwrap()
    }

    /// The only event that arrives soon.
    pub fn event(&self) -> Kevent {
        let events = self.poll(LONG);
        assert_eq!(events.len(), 1, "{events:?}");
        events[0]
    }

    pub fn nothing(&self) {
        let events = self.poll(SHORT);
        assert!(events.is_empty(), "{events:?}");
    }
}

pub fn kevent(
    kq: RawFd,
    changes: &[Kevent],
    room: usize,
    timeout: Option<Duration>,
) -> io::Result<Vec<Kevent>> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap(),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    kevent_raw(kq, changes, room, timeout)
}

/// With a timeout that may be invalid.
pub fn kevent_raw(
    kq: RawFd,
    changes: &[Kevent],
    room: usize,
    timeout: Option<libc::timespec>,
) -> io::Result<Vec<Kevent>> {
    let mut events = vec![Kevent::EMPTY; room];
    // SAFETY: the pointers and lengths are those of slices that outlive the call, and so does the
    // timeout.
    let count = unsafe {
        kqueue_model::kevent(
            kq,
            changes.as_ptr(),
            changes.len() as c_int,
            events.as_mut_ptr(),
            room as c_int,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    events.truncate(count as usize);
    Ok(events)
}

pub fn entry(fd: &impl AsRawFd, filter: i16, flags: u16, udata: usize) -> Kevent {
    Kevent {
        ident: fd.as_raw_fd() as usize,
        filter,
        flags,
        udata: token(udata),
        ..Kevent::EMPTY
    }
}

pub fn read(fd: &impl AsRawFd, flags: u16, udata: usize) -> Kevent {
    entry(fd, EVFILT_READ, flags, udata)
}

pub fn write(fd: &impl AsRawFd, flags: u16, udata: usize) -> Kevent {
    entry(fd, EVFILT_WRITE, flags, udata)
}

pub fn user(ident: usize, flags: u16, fflags: u32, udata: usize) -> Kevent {
    Kevent {
        ident,
        filter: EVFILT_USER,
        flags,
        fflags,
        data: 0,
        udata: token(udata),
    }
}

pub fn token(udata: usize) -> *mut c_void {
    ptr::without_provenance_mut(udata)
}

pub fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

/// A reader and a writer.
pub fn pipe() -> (fs::File, fs::File) {
    let mut fds = [0; 2];
    // SAFETY: the array has two elements, for both descriptors.
    let result = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    assert_eq!(result, 0);
    // SAFETY: the descriptors are new, so nothing else owns them.
    fds.map(|fd| unsafe { fs::File::from_raw_fd(fd) }).into()
}

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener, address)
}

/// Both ends of a connection.
pub fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

/// A new TCP socket.
pub fn fresh_tcp() -> TcpStream {
    let flags = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call has no memory-safety preconditions.
    let fd = unsafe { libc::socket(libc::AF_INET, flags, 0) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new, so nothing else owns it.
    unsafe { TcpStream::from_raw_fd(fd) }
}

pub fn connect(socket: &TcpStream, address: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(address) = address else {
        unreachable!("tests are on IPv4");
    };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: the address and the length belong together, and outlive the call.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            ptr::from_ref(&address).cast(),
            mem::size_of_val(&address) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends a connection by a reset.
pub fn reset(socket: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the value and the length belong together, and outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            ptr::from_ref(&linger).cast(),
            mem::size_of_val(&linger) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

/// Writes until it would block.
pub fn fill(mut writer: impl Write) {
    loop {
        match writer.write(&[b'x'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until it would block.
pub fn drain(mut reader: impl Read) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}
