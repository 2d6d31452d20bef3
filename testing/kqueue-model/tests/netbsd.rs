//! What a NetBSD kernel answered to mio's own tests, and other kernels do not (`netbsd-suite.txt`):
//! `KQUEUE_MODEL_NETBSD`.

#![cfg(not(kqueue_library))]

mod util;

use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use kqueue_model::abi::*;

use util::{fill, pipe, write, Kq, ADD};

/// The model reads the variable once, when std calls poll(2) before `main`.
#[used]
#[link_section = ".init_array"]
static SET: extern "C" fn() = {
    extern "C" fn set() {
        // SAFETY: both strings end with a NUL, and no other thread has started yet.
        unsafe { libc::setenv(c"KQUEUE_MODEL_NETBSD".as_ptr(), c"1".as_ptr(), 1) };
    }
    set
};

#[test]
fn timeouts_are_ticks_and_one_more() {
    let kq = Kq::new();
    for (micros, millis) in [(1, 20), (10_000, 20), (11_000, 30), (20_000, 30)] {
        let start = Instant::now();
        assert!(kq.poll(Duration::from_micros(micros)).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(millis), "{micros}");
    }
}

#[test]
fn a_full_pipe_whose_last_reader_closes_is_reported_when_it_is_added_again() {
    let kq = Kq::new();
    let (reader, mut writer) = pipe();
    fill(&mut writer);
    kq.apply(&[write(&writer, ADD, 1)]);
    kq.nothing();
    drop(reader);
    kq.nothing();
    kq.apply(&[write(&writer, ADD, 2)]);
    let event = kq.event();
    assert_eq!((event.filter, event.flags & EV_EOF), (EVFILT_WRITE, EV_EOF));
}

#[test]
fn a_pipe_with_room_whose_last_reader_closes_is_reported() {
    let kq = Kq::new();
    let (reader, writer) = pipe();
    kq.apply(&[write(&writer, ADD, 1)]);
    assert_eq!(kq.event().flags & EV_EOF, 0);
    drop(reader);
    assert_eq!(kq.event().flags & EV_EOF, EV_EOF);
}

#[test]
fn a_fifo_with_a_name_is_always_at_its_end() {
    let kq = Kq::new();
    let folder = std::env::temp_dir().join(format!("kqueue-model-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("fifo");
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let both = |options: &mut std::fs::OpenOptions| -> File {
        options.custom_flags(libc::O_NONBLOCK).open(&path).unwrap()
    };
    let reader = both(File::options().read(true));
    let writer = both(File::options().write(true));
    kq.apply(&[write(&writer, ADD, 1)]);
    let event = kq.event();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(event.flags & EV_EOF, EV_EOF);
    // For poll(2) it never is.
    assert_eq!(asked(&writer, BOTH, 0), OUT);
    drop(reader);
    assert_eq!(asked(&writer, BOTH, 0), BOTH);
}

#[test]
fn a_full_unix_datagram_peer_has_no_buffers_and_no_event_later() {
    let kq = Kq::new();
    let (one, other) = UnixDatagram::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    kq.apply(&[write(&one, ADD, 1)]);
    assert_eq!(kq.event().filter, EVFILT_WRITE);
    let error = loop {
        if let Err(error) = one.send(b"x") {
            break error;
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
    while other.recv(&mut [0; 8]).is_ok() {}
    kq.nothing();
    one.send(b"x").unwrap();
}

#[test]
fn a_full_pipe_would_block() {
    let _kq = Kq::new();
    let (_reader, mut writer) = pipe();
    fill(&mut writer);
    let error = writer.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// What poll(2) answers at once, or within the time.
fn asked(object: &impl AsRawFd, events: i16, millis: i32) -> i16 {
    let mut entry = libc::pollfd {
        fd: object.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the pointer refers to one entry.
    let ready = unsafe { libc::poll(&mut entry, 1, millis) };
    assert_eq!(ready, i32::from(entry.revents != 0));
    entry.revents
}

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;
const HUP: i16 = libc::POLLHUP;
const BOTH: i16 = IN | OUT;

#[test]
fn poll_reports_neither_errors_nor_hang_ups_of_sockets() {
    let (reset, peer) = UnixStream::pair().unwrap();
    (&reset).write_all(b"unread").unwrap();
    drop(peer);
    let (shut, _peer) = UnixStream::pair().unwrap();
    shut.shutdown(std::net::Shutdown::Both).unwrap();
    for socket in [reset, shut] {
        assert_eq!(asked(&socket, BOTH, 0), BOTH);
        assert_eq!(asked(&socket, IN, -1), IN);
        assert_eq!(asked(&socket, 0, 0), 0);
    }
    let refused = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.45.0.1:0").unwrap();
    refused.connect(closed.local_addr().unwrap()).unwrap();
    drop(closed);
    refused.send(b"x").unwrap();
    assert_eq!(asked(&refused, IN, 10_000), IN);
    assert!(refused.take_error().unwrap().is_some(), "it is still there");
}

#[test]
fn poll_waits_for_a_socket_that_is_not_connected() {
    // SAFETY: the call opens a descriptor, which nothing else owns.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        TcpStream::from_raw_fd(fd)
    };
    assert_eq!(asked(&socket, BOTH, 0), 0);
    let start = Instant::now();
    assert_eq!(asked(&socket, BOTH, 20), 0);
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn poll_reports_pipes_as_both() {
    let (reader, writer) = pipe();
    drop(writer);
    assert_eq!(asked(&reader, IN, 0), IN | HUP);
    assert_eq!(asked(&reader, BOTH, 0), BOTH | HUP);
    let (reader, mut writer) = pipe();
    fill(&mut writer);
    assert_eq!(asked(&writer, OUT, 0), 0);
    drop(reader);
    assert_eq!(asked(&writer, OUT, -1), OUT | HUP);
}

#[test]
fn poll_reports_a_full_unix_datagram_peer_writable() {
    let (one, _other) = UnixDatagram::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    while one.send(b"x").is_ok() {}
    assert_eq!(asked(&one, OUT, -1), OUT);
    assert_eq!(asked(&one, IN, 0), 0);
}
