//! Unix listeners, streams and datagrams, and their addresses.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", unix))]

mod util;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::Path;

use mio::net::{UnixDatagram, UnixListener, UnixStream};
use mio::{Backend, Interest, Token};
use tempfile::TempDir;
use util::Loop;

on_each_backend![
    a_listener_accepts,
    a_pair_of_streams,
    datagrams_to_a_path,
    a_pair_of_datagram_sockets,
    a_full_datagram_queue_would_block,
    streams_do_partial_writes,
];

const T: Token = Token(1);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn a_listener_accepts(backend: Backend) {
    let mut looper = Loop::new(backend);
    let folder = folder();
    let path = folder.path().join("socket");
    let mut listener = UnixListener::bind(&path).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().as_pathname(),
        Some(path.as_path())
    );
    looper
        .registry()
        .register(&mut listener, T, Interest::READABLE)
        .unwrap();
    for _ in 0..3 {
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let mut client = UnixStream::connect(&path).unwrap();
        looper.until_readable(T);
        let (mut server, address) = listener.accept().unwrap();
        assert!(address.is_unnamed());
        client.write_all(b"to").unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 2);
        server.write_all(b"back").unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 4);
        assert_eq!(
            client.peer_addr().unwrap().as_pathname(),
            Some(path.as_path())
        );
        assert!(client.local_addr().unwrap().is_unnamed());
        assert!(client.take_error().unwrap().is_none());
    }
    assert!(listener.take_error().unwrap().is_none());
}

/// A stream that is bound to an address before it connects, which std does not support.
fn connect_from(own: &socket2::SockAddr, to: &Path) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(own).unwrap();
    socket
        .connect(&socket2::SockAddr::unix(to).unwrap())
        .unwrap();
    socket
}

#[test]
fn accept_returns_the_peers_path() {
    let folder = folder();
    let path = folder.path().join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    let own = folder.path().join("client");
    let _client = connect_from(&socket2::SockAddr::unix(&own).unwrap(), &path);
    let (stream, address) = listener.accept().unwrap();
    assert_eq!(address.as_pathname(), Some(own.as_path()));
    assert_eq!(
        stream.peer_addr().unwrap().as_pathname(),
        Some(own.as_path())
    );
}

/// The longest path that the kernel accepts leaves no space for a final NUL. The standard library
/// cannot represent this address, and shows it as well as it can.
#[cfg(target_os = "linux")]
#[test]
fn accept_survives_a_peer_with_the_longest_path() {
    let folder = folder();
    let path = folder.path().join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    let capacity = std::mem::size_of::<libc::sockaddr_un>() - std::mem::size_of::<u16>();
    let prefix = folder.path().to_str().unwrap().to_string() + "/";
    let own = prefix.clone() + &"x".repeat(capacity - prefix.len());
    // SAFETY: the closure writes an address of this family, with the length that it returns.
    let (_, own) = unsafe {
        socket2::SockAddr::try_init(|storage, length| {
            let address = &mut *storage.cast::<libc::sockaddr_un>();
            address.sun_family = libc::AF_UNIX as u16;
            for (to, from) in address.sun_path.iter_mut().zip(own.as_bytes()) {
                *to = *from as libc::c_char;
            }
            *length = std::mem::size_of::<libc::sockaddr_un>() as u32;
            Ok(())
        })
    }
    .unwrap();
    let _client = connect_from(&own, &path);
    let (stream, address) = listener.accept().unwrap();
    let from_std = stream.peer_addr().unwrap();
    assert_eq!(address.as_pathname(), from_std.as_pathname());
    assert!(!address.is_unnamed());
}

#[cfg(all(target_os = "linux", not(mio_model = "kqueue")))]
#[test]
fn abstract_names() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let name = format!("mio-test-{}\0with a NUL", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let local = listener.local_addr().unwrap();
    assert_eq!(local.as_abstract_name(), Some(name.as_bytes()));

    let _unnamed = UnixStream::connect_addr(&address).unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert!(peer.is_unnamed());

    // A peer with an abstract name of its own.
    let own = format!("mio-test-{}-peer", std::process::id());
    let datagram = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&own).unwrap()).unwrap();
    let local = datagram.local_addr().unwrap();
    assert_eq!(local.as_abstract_name(), Some(own.as_bytes()));
    let raw = socket2::SockAddr::unix(format!("\0{own}")).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&raw).unwrap();
    let to = socket2::SockAddr::unix(format!("\0{name}")).unwrap();
    socket.connect(&to).unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer.as_abstract_name(), Some(own.as_bytes()));
}

/// On Linux, binding to an unnamed address assigns an abstract name.
#[cfg(all(target_os = "linux", not(mio_model = "kqueue")))]
#[test]
fn an_unnamed_address_binds_as_in_std() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let unnamed = UnixDatagram::unbound().unwrap().local_addr().unwrap();
    assert!(unnamed.is_unnamed());
    let bound = UnixDatagram::bind_addr(&unnamed).unwrap();
    let as_std = std::os::unix::net::UnixDatagram::bind_addr(&unnamed).unwrap();
    let length = |address: SocketAddr| address.as_abstract_name().map(<[u8]>::len);
    assert_eq!(
        length(bound.local_addr().unwrap()),
        length(as_std.local_addr().unwrap())
    );
}

#[test]
fn impossible_paths_are_refused() {
    let folder = folder();
    let long = folder.path().join("x".repeat(200));
    for path in [
        long.as_path(),
        Path::new("with\0nul"),
        Path::new("\0abstract"),
    ] {
        let errors = [
            UnixListener::bind(path).unwrap_err(),
            UnixStream::connect(path).unwrap_err(),
            UnixDatagram::bind(path).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}: {error}");
        }
    }
    let missing = folder.path().join("missing");
    let error = UnixStream::connect(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let taken = folder.path().join("taken");
    drop(UnixListener::bind(&taken).unwrap());
    let error = UnixListener::bind(&taken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let error = UnixStream::connect(&taken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Linux does not wait for capacity in the listener's queue, and reports the failure at once.
#[cfg(target_os = "linux")]
#[test]
fn connecting_to_a_full_queue_would_block() {
    let folder = folder();
    let path = folder.path().join("socket");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100);
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Once one connection is accepted, there is capacity.
    socket.accept().unwrap();
    UnixStream::connect(&path).unwrap();
}

fn a_pair_of_streams(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = UnixStream::pair().unwrap();
    assert!(one.local_addr().unwrap().is_unnamed());
    assert!(one.peer_addr().unwrap().is_unnamed());
    looper
        .registry()
        .register(&mut other, T, Interest::READABLE)
        .unwrap();
    let parts = [IoSlice::new(b"vec"), IoSlice::new(b"tored")];
    assert_eq!(one.write_vectored(&parts).unwrap(), 8);
    one.flush().unwrap();
    looper.until_readable(T);
    let (mut a, mut b) = ([0; 4], [0; 16]);
    let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!(other.read_vectored(&mut parts).unwrap(), 8);
    assert_eq!((&a, &b[..4]), (b"vect", &b"ored"[..]));
    let error = (&other).read(&mut a).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    (&one).write_all(b"more").unwrap();
    looper.until_readable(T);
    one.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    (&other).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"more");
    let error = one.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn streams_do_partial_writes(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, mut other) = UnixStream::pair().unwrap();
    looper
        .registry()
        .register(&mut one, T, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(T);
    let mut sent = 0;
    let error = loop {
        match one.write(&[7; 65_536]) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    looper.assert_quiet();
    let mut received = Vec::new();
    let error = other.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(received.len(), sent);
    looper.until_writable(T);
    one.write_all(b"x").unwrap();
}

fn datagrams_to_a_path(backend: Backend) {
    let mut looper = Loop::new(backend);
    let folder = folder();
    let (a_path, b_path) = (folder.path().join("a"), folder.path().join("b"));
    let mut a = UnixDatagram::bind(&a_path).unwrap();
    let b = UnixDatagram::bind(&b_path).unwrap();
    looper
        .registry()
        .register(&mut a, T, Interest::READABLE)
        .unwrap();
    assert_eq!(b.send_to(b"by path", &a_path).unwrap(), 7);
    looper.until_readable(T);
    let mut buffer = [0; 16];
    let (length, from) = a.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"by path");
    assert_eq!(from.as_pathname(), Some(b_path.as_path()));
    let error = a.recv_from(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    b.connect(&a_path).unwrap();
    assert_eq!(b.peer_addr().unwrap().as_pathname(), Some(a_path.as_path()));
    assert_eq!(b.send(b"connected").unwrap(), 9);
    looper.until_readable(T);
    assert_eq!(a.recv(&mut buffer).unwrap(), 9);
    let error = a.recv(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    let unbound = UnixDatagram::unbound().unwrap();
    unbound.send_to(b"from an unnamed socket", &a_path).unwrap();
    looper.until_readable(T);
    assert!(a.recv_from(&mut buffer).unwrap().1.is_unnamed());
    assert!(a.take_error().unwrap().is_none());
}

fn a_pair_of_datagram_sockets(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = UnixDatagram::pair().unwrap();
    looper
        .registry()
        .register(&mut other, T, Interest::READABLE)
        .unwrap();
    one.send(b"first").unwrap();
    one.send(b"second").unwrap();
    looper.until_readable(T);
    let mut buffer = [0; 16];
    assert_eq!(other.recv(&mut buffer).unwrap(), 5);
    assert_eq!(other.recv(&mut buffer).unwrap(), 6);
    let received = other.try_io(|| other.recv(&mut buffer));
    assert_eq!(received.unwrap_err().kind(), ErrorKind::WouldBlock);
    one.shutdown(Shutdown::Write).unwrap();
    let error = one.send(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_full_datagram_queue_would_block(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, other) = UnixDatagram::pair().unwrap();
    looper
        .registry()
        .register(&mut one, T, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(T);
    let mut sent = 0;
    let error = loop {
        match one.send(&[0; 1000]) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(util::full_datagram_peer()));
    for _ in 0..sent {
        other.recv(&mut [0; 1000]).unwrap();
    }
    if error.kind() == ErrorKind::WouldBlock {
        looper.until_writable(T);
    }
    one.send(b"x").unwrap();
}

#[test]
fn other_types_go_in_and_come_out() {
    let folder = folder();
    let path = folder.path().join("socket");
    let std_listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let listener = UnixListener::from_std(std_listener);
    let fd = listener.as_raw_fd();
    assert_eq!(listener.as_fd().as_raw_fd(), fd);
    let listener = UnixListener::from(OwnedFd::from(listener));
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let listener = unsafe { UnixListener::from_raw_fd(listener.into_raw_fd()) };
    assert!(format!("{listener:?}").contains("socket"));
    let std_listener = std::os::unix::net::UnixListener::from(listener);
    assert_eq!(std_listener.as_raw_fd(), fd);

    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    let one = UnixStream::from_std(one);
    let fd = one.as_raw_fd();
    let one = UnixStream::from(OwnedFd::from(one));
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let one = unsafe { UnixStream::from_raw_fd(one.into_raw_fd()) };
    assert_eq!(one.as_fd().as_raw_fd(), fd);
    let mut one = std::os::unix::net::UnixStream::from(one);
    (&other).write_all(b"x").unwrap();
    assert_eq!(one.read(&mut [0; 8]).unwrap(), 1);

    let datagram = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let datagram = UnixDatagram::from_std(datagram);
    let fd = datagram.as_raw_fd();
    let datagram = UnixDatagram::from(OwnedFd::from(datagram));
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let datagram = unsafe { UnixDatagram::from_raw_fd(datagram.into_raw_fd()) };
    assert_eq!(datagram.as_fd().as_raw_fd(), fd);
    let datagram = std::os::unix::net::UnixDatagram::from(datagram);
    assert_eq!(datagram.as_raw_fd(), fd);
}

/// A `UnixListener` that was made from a socket of another family.
#[test]
fn a_tcp_listener_in_disguise_is_an_error() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let listener = UnixListener::from(OwnedFd::from(tcp));
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn take_error_takes_the_error_of_a_stream_whose_peer_closed_without_reading() {
    let (mut one, other) = UnixStream::pair().unwrap();
    one.write_all(b"unread").unwrap();
    drop(other);
    if util::LOST_DATA_IS_AN_ERROR {
        let error = one.take_error().unwrap().expect("an error is pending");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(one.take_error().unwrap().is_none());
}

#[test]
fn take_error_takes_the_error_of_a_datagram_socket_whose_peer_left_without_reading() {
    let folder = folder();
    let [one, other, third] = ["one", "other", "third"].map(|name| {
        let path = folder.path().join(name);
        (UnixDatagram::bind(&path).unwrap(), path)
    });
    one.0.connect(&other.1).unwrap();
    other.0.connect(&one.1).unwrap();
    one.0.send(b"unread").unwrap();
    other.0.connect(&third.1).unwrap();
    if util::LOST_DATA_IS_AN_ERROR {
        let error = one.0.take_error().unwrap().expect("an error is pending");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(one.0.take_error().unwrap().is_none());
}
