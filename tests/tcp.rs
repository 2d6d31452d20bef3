//! TCP listeners and streams.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use mio::net::{TcpListener, TcpStream};
use mio::{Backend, Interest, Token};
use util::{any_port, Differences, Loop};

on_each_backend![
    accept_returns_each_connection_and_then_would_block,
    connected_streams_write_and_read,
    a_finished_connect_is_reported_writable,
    #[cfg(unix)]
    an_operation_before_the_connection_stands_takes_its_error,
    a_full_stream_is_writable_again_when_drained,
    vectored_io_uses_every_buffer,
    peek_leaves_the_data,
    try_io_returns_what_the_closure_does,
    shutdown_ends_a_direction,
    references_read_and_write,
    ipv6_works,
];

const LISTENER: Token = Token(0);
const CLIENT: Token = Token(1);
const SERVER: Token = Token(2);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A loop with both ends of a connection registered for both directions.
fn connection(backend: Backend, address: SocketAddr) -> (Loop, TcpStream, TcpStream) {
    let mut looper = Loop::new(backend);
    let mut listener = TcpListener::bind(address).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    looper
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .unwrap();
    looper.until_readable(LISTENER);
    let (mut server, address) = listener.accept().unwrap();
    assert_eq!(address, client.local_addr().unwrap());
    looper
        .registry()
        .register(&mut client, CLIENT, BOTH)
        .unwrap();
    looper
        .registry()
        .register(&mut server, SERVER, BOTH)
        .unwrap();
    let mut writable = [false; 3];
    looper.until("both ends to stand", |event| {
        writable[event.token().0] |= event.is_writable();
        writable[CLIENT.0] && writable[SERVER.0]
    });
    (looper, client, server)
}

fn accept_returns_each_connection_and_then_would_block(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut listener = TcpListener::bind(any_port()).unwrap();
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    looper
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..3 {
        let clients: Vec<_> = (0..5)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        let mut accepted = Vec::new();
        while accepted.len() < clients.len() {
            looper.until_readable(LISTENER);
            loop {
                match listener.accept() {
                    Ok((stream, peer)) => {
                        assert_eq!(stream.peer_addr().unwrap(), peer);
                        accepted.push(peer);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
        }
        let mut expected: Vec<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        expected.sort();
        accepted.sort();
        assert_eq!(accepted, expected);
    }
    assert!(listener.take_error().unwrap().is_none());
}

fn connected_streams_write_and_read(backend: Backend) {
    let (mut looper, mut client, mut server) = connection(backend, any_port());
    for (n, message) in ["one", "two", "three"].iter().enumerate() {
        client.write_all(message.as_bytes()).unwrap();
        looper.until_readable(SERVER);
        let mut buffer = [0; 16];
        let length = server.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], message.as_bytes());
        let error = server.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "round {n}");
    }
}

fn a_finished_connect_is_reported_writable(backend: Backend) {
    let mut looper = Loop::new(backend);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    looper
        .registry()
        .register(&mut client, CLIENT, Interest::WRITABLE)
        .unwrap();
    looper.until_writable(CLIENT);
    assert!(client.take_error().unwrap().is_none());
    assert_eq!(client.peer_addr().unwrap(), listener.local_addr().unwrap());
}

/// The reason why the guide tells programs not to write earlier.
#[cfg(unix)]
fn an_operation_before_the_connection_stands_takes_its_error(backend: Backend) {
    for is_write in [false, true] {
        let mut looper = Loop::new(backend);
        // Bound, so that no other program takes it, and not listening.
        let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let nobody = nobody.unwrap();
        nobody.bind(&any_port().into()).unwrap();
        let address = nobody.local_addr().unwrap().as_socket().unwrap();
        let mut client = match TcpStream::connect(address) {
            Ok(client) => client,
            // The connection is allowed to succeed at once. Then there is nothing to take.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                continue;
            }
        };
        looper
            .registry()
            .register(&mut client, CLIENT, BOTH)
            .unwrap();
        looper.until_writable(CLIENT);
        let outcome = match is_write {
            true => client.write(b"too early"),
            false => client.read(&mut [0; 8]),
        };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(client.take_error().unwrap().is_none());
    }
}

fn a_full_stream_is_writable_again_when_drained(backend: Backend) {
    let (mut looper, mut client, mut server) = connection(backend, any_port());
    // Written until there is no capacity.
    let data: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut written = 0;
    let mut received = Vec::new();
    let mut blocked = 0;
    while received.len() < data.len() {
        while written < data.len() {
            // Windows takes all data, or none.
            let piece = &data[written..data.len().min(written + (1 << 20))];
            match client.write(piece) {
                Ok(length) => written += length,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    blocked += 1;
                    break;
                }
            }
        }
        match server.read_to_end(&mut received) {
            Ok(_) => panic!("the peer has not closed"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        // Both would block, and an event reports the first that can continue.
        if received.len() < data.len() {
            looper.until("data, or capacity for more", |event| {
                event.is_readable() || event.is_writable()
            });
        }
    }
    assert!(received == data, "the bytes differ");
    assert!(blocked > 0, "the data was meant not to fit");
}

fn vectored_io_uses_every_buffer(backend: Backend) {
    let (mut looper, mut client, mut server) = connection(backend, any_port());
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(client.write_vectored(&parts).unwrap(), 5);
    looper.until_readable(SERVER);
    let (mut one, mut other) = ([0; 3], [0; 8]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
    assert_eq!(server.read_vectored(&mut parts).unwrap(), 5);
    assert_eq!((&one, &other[..2]), (b"abc", &b"de"[..]));
}

fn peek_leaves_the_data(backend: Backend) {
    let (mut looper, mut client, mut server) = connection(backend, any_port());
    let error = server.peek(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client.write_all(b"look").unwrap();
    looper.until_readable(SERVER);
    let mut buffer = [0; 8];
    assert_eq!(server.peek(&mut buffer).unwrap(), 4);
    assert_eq!(server.read(&mut buffer).unwrap(), 4);
    assert_eq!(&buffer[..4], b"look");
    // A peek that would block brings the next event.
    let error = server.peek(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client.write_all(b"more").unwrap();
    looper.until_readable(SERVER);
}

fn try_io_returns_what_the_closure_does(backend: Backend) {
    let (mut looper, mut client, server) = connection(backend, any_port());
    client.write_all(b"x").unwrap();
    looper.until_readable(SERVER);
    let read = |server: &TcpStream| {
        let mut byte = [0];
        let length = (&*socket2::SockRef::from(server)).read(&mut byte)?;
        Ok((length, byte[0]))
    };
    assert_eq!(server.try_io(|| read(&server)).unwrap(), (1, b'x'));
    let error = server.try_io(|| read(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client.write_all(b"y").unwrap();
    looper.until_readable(SERVER);
    let outcome = server.try_io_with(Interest::READABLE, || read(&server));
    assert_eq!(outcome.unwrap(), (1, b'y'));
    let error = server
        .try_io_with(Interest::READABLE, || read(&server))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client.write_all(b"z").unwrap();
    looper.until_readable(SERVER);
    let other: io::Result<()> = server.try_io(|| Err(ErrorKind::Other.into()));
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Other);
}

fn shutdown_ends_a_direction(backend: Backend) {
    let (mut looper, mut client, mut server) = connection(backend, any_port());
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let error = client.write(b"x").unwrap_err();
    // WSAESHUTDOWN has no kind of its own.
    assert!(error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(10058));
    looper.until("the end", |event| {
        // Wine's driver reports it only after all data was read.
        let is_told = backend.reports_half_close() && !util::under_wine();
        let is_end = event.is_read_closed() || !is_told;
        event.token() == SERVER && event.is_readable() && is_end
    });
    let mut all = Vec::new();
    server.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last");
    server.write_all(b"answer").unwrap();
    looper.until_readable(CLIENT);
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}

fn references_read_and_write(backend: Backend) {
    let (mut looper, client, server) = connection(backend, any_port());
    let (mut writer, mut reader) = (&client, &server);
    writer.write_all(b"shared").unwrap();
    let more = [IoSlice::new(b" more")];
    assert_eq!(writer.write_vectored(&more).unwrap(), 5);
    writer.flush().unwrap();
    looper.until_readable(SERVER);
    let mut buffer = [0; 16];
    assert_eq!(reader.read(&mut buffer[..4]).unwrap(), 4);
    let mut parts = [IoSliceMut::new(&mut buffer[4..])];
    assert_eq!(reader.read_vectored(&mut parts).unwrap(), 7);
    assert_eq!(&buffer[..11], b"shared more");
}

fn ipv6_works(backend: Backend) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: not tested");
        return;
    }
    let (mut looper, mut client, mut server) = connection(backend, "[::1]:0".parse().unwrap());
    assert!(client.peer_addr().unwrap().is_ipv6());
    client.write_all(b"six").unwrap();
    looper.until_readable(SERVER);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 3);
}

#[test]
fn settings_are_kept() {
    let listener = TcpListener::bind(any_port()).unwrap();
    listener.set_ttl(61).unwrap();
    assert_eq!(listener.ttl().unwrap(), 61);

    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for nodelay in [true, false] {
        stream.set_nodelay(nodelay).unwrap();
        assert_eq!(stream.nodelay().unwrap(), nodelay);
    }
    stream.set_ttl(62).unwrap();
    assert_eq!(stream.ttl().unwrap(), 62);
}

/// A server can be restarted while its old connections linger, and as many clients may wait as the
/// system allows.
#[cfg(target_os = "linux")]
#[test]
fn a_listener_reuses_its_address_and_has_a_long_queue() {
    let listener = TcpListener::bind(any_port()).unwrap();
    let socket = socket2::SockRef::from(&listener);
    assert!(socket.reuse_address().unwrap());
    let address = listener.local_addr().unwrap();
    // More than the traditional 128, if the system allows it.
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let most: usize = most.trim().parse().unwrap();
    let waiting: Vec<_> = (0..most.min(200))
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    let mut accepted = 0;
    while accepted < waiting.len() {
        match listener.accept() {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn std_types_go_in_and_come_out() {
    let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = std_listener.local_addr().unwrap();
    let listener = TcpListener::from_std(std_listener);
    assert_eq!(listener.local_addr().unwrap(), address);
    let stream = TcpStream::from_std(std::net::TcpStream::connect(address).unwrap());
    assert_eq!(stream.peer_addr().unwrap(), address);

    // These are taken over unchanged, so they block.
    let (mut accepted, _) = std::net::TcpListener::from(listener).accept().unwrap();
    accepted.write_all(b"x").unwrap();
    let mut stream = std::net::TcpStream::from(stream);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
}

#[cfg(unix)]
#[test]
fn descriptors_go_in_and_come_out() {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let expected = listener.as_raw_fd();
    assert_eq!(listener.as_fd().as_raw_fd(), expected);
    let owned = OwnedFd::from(listener);
    assert_eq!(owned.as_raw_fd(), expected);
    let listener = TcpListener::from(owned);
    let raw = listener.into_raw_fd();
    assert_eq!(raw, expected);
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let listener = unsafe { TcpListener::from_raw_fd(raw) };
    assert_eq!(listener.local_addr().unwrap(), address);

    let stream = TcpStream::connect(address).unwrap();
    let expected = stream.as_raw_fd();
    let stream = TcpStream::from(OwnedFd::from(stream));
    assert_eq!(stream.as_fd().as_raw_fd(), expected);
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    let stream = unsafe { TcpStream::from_raw_fd(stream.into_raw_fd()) };
    assert_eq!(stream.peer_addr().unwrap(), address);
    let printed = format!("{stream:?} {listener:?}");
    assert!(printed.contains(&address.port().to_string()), "{printed}");
}

#[cfg(windows)]
#[test]
fn sockets_go_in_and_come_out() {
    use std::os::windows::io::{AsRawSocket, AsSocket, FromRawSocket, IntoRawSocket, OwnedSocket};

    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let expected = listener.as_raw_socket();
    assert_eq!(listener.as_socket().as_raw_socket(), expected);
    let owned = OwnedSocket::from(listener);
    assert_eq!(owned.as_raw_socket(), expected);
    let listener = TcpListener::from(owned);
    let raw = listener.into_raw_socket();
    assert_eq!(raw, expected);
    // SAFETY: the socket was just given up, so nothing else owns it.
    let listener = unsafe { TcpListener::from_raw_socket(raw) };
    assert_eq!(listener.local_addr().unwrap(), address);

    let stream = TcpStream::from_std(std::net::TcpStream::connect(address).unwrap());
    let expected = stream.as_raw_socket();
    let stream = TcpStream::from(OwnedSocket::from(stream));
    assert_eq!(stream.as_socket().as_raw_socket(), expected);
    // SAFETY: the socket was just given up, so nothing else owns it.
    let stream = unsafe { TcpStream::from_raw_socket(stream.into_raw_socket()) };
    assert_eq!(stream.peer_addr().unwrap(), address);
    let printed = format!("{stream:?} {listener:?}");
    assert!(printed.contains(&address.port().to_string()), "{printed}");
}

/// A `TcpListener` that was made from a socket of another family.
#[cfg(unix)]
#[test]
fn a_unix_listener_in_disguise_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let listener = TcpListener::from(OwnedFd::from(unix));
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
