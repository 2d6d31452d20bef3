//! UDP sockets.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, FromRawSocket, IntoRawSocket, OwnedSocket};

use mio::net::UdpSocket;
use mio::{Backend, Interest, Token};
use util::{any_port, Loop};

on_each_backend![
    datagrams_between_unconnected_sockets,
    datagrams_between_connected_sockets,
    every_receiving_call_that_would_block_brings_the_next_event,
    an_empty_datagram_is_one,
    #[cfg_attr(windows, ignore = "Wine reports a refused datagram as an end as well")]
    a_refused_datagram_is_reported_as_an_error,
    ipv6_works,
];

const A: Token = Token(1);
const B: Token = Token(2);

fn pair(backend: Backend) -> (Loop, UdpSocket, UdpSocket) {
    let looper = Loop::new(backend);
    let mut a = UdpSocket::bind(any_port()).unwrap();
    let mut b = UdpSocket::bind(any_port()).unwrap();
    looper
        .registry()
        .register(&mut a, A, Interest::READABLE)
        .unwrap();
    looper
        .registry()
        .register(&mut b, B, Interest::READABLE)
        .unwrap();
    (looper, a, b)
}

fn datagrams_between_unconnected_sockets(backend: Backend) {
    let (mut looper, a, b) = pair(backend);
    let (from, to) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    let error = a.peer_addr().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert_eq!(a.send_to(b"datagram", to).unwrap(), 8);
    looper.until_readable(B);
    let mut buffer = [0; 16];
    assert_eq!(b.peek_from(&mut buffer).unwrap(), (8, from));
    // A short buffer truncates it, and the rest is lost.
    let cut_off = b.recv_from(&mut buffer[..4]);
    match cfg!(windows) {
        false => assert_eq!(cut_off.unwrap(), (4, from)),
        // WSAEMSGSIZE
        true => assert_eq!(cut_off.unwrap_err().raw_os_error(), Some(10040)),
    }
    assert_eq!(&buffer[..4], b"data");
    let error = b.recv_from(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

fn datagrams_between_connected_sockets(backend: Backend) {
    let (mut looper, a, b) = pair(backend);
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
    assert_eq!(a.send(b"hello").unwrap(), 5);
    looper.until_readable(B);
    let mut buffer = [0; 16];
    assert_eq!(b.peek(&mut buffer).unwrap(), 5);
    assert_eq!(b.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    assert_eq!(b.send(b"back").unwrap(), 4);
    looper.until_readable(A);
    assert_eq!(a.recv(&mut buffer).unwrap(), 4);
}

fn every_receiving_call_that_would_block_brings_the_next_event(backend: Backend) {
    type Receive = fn(&UdpSocket, &mut [u8]) -> std::io::Result<usize>;
    let calls: [Receive; 4] = [
        |socket, buffer| socket.recv(buffer),
        |socket, buffer| socket.recv_from(buffer).map(|(length, _)| length),
        |socket, buffer| socket.peek(buffer),
        |socket, buffer| socket.peek_from(buffer).map(|(length, _)| length),
    ];
    let (mut looper, a, b) = pair(backend);
    let to = b.local_addr().unwrap();
    let mut buffer = [0; 16];
    for call in calls {
        a.send_to(b"x", to).unwrap();
        looper.until_readable(B);
        assert_eq!(call(&b, &mut buffer).unwrap(), 1);
        while b.recv(&mut buffer).is_ok() {}
        let error = call(&b, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

fn an_empty_datagram_is_one(backend: Backend) {
    let (mut looper, a, b) = pair(backend);
    assert_eq!(a.send_to(b"", b.local_addr().unwrap()).unwrap(), 0);
    looper.until_readable(B);
    let received = b.recv_from(&mut [0; 8]).unwrap();
    assert_eq!(received, (0, a.local_addr().unwrap()));
}

fn a_refused_datagram_is_reported_as_an_error(backend: Backend) {
    let (mut looper, a, _b) = pair(backend);
    a.connect(util::unused_address()).unwrap();
    a.send(b"anybody?").unwrap();
    looper.until("an error", |event| {
        event.token() == A && util::is_refusal(backend, event)
    });
    let error = a.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), util::REFUSED_DATAGRAM);
    // The socket still works.
    let c = UdpSocket::bind(any_port()).unwrap();
    a.connect(c.local_addr().unwrap()).unwrap();
    c.send_to(b"I am", a.local_addr().unwrap()).unwrap();
    looper.until_readable(A);
    assert_eq!(a.recv(&mut [0; 8]).unwrap(), 4);
}

fn ipv6_works(backend: Backend) {
    let Ok(mut a) = UdpSocket::bind("[::1]:0".parse().unwrap()) else {
        eprintln!("this machine has no IPv6: not tested");
        return;
    };
    let mut looper = Loop::new(backend);
    looper
        .registry()
        .register(&mut a, A, Interest::READABLE)
        .unwrap();
    a.send_to(b"six", a.local_addr().unwrap()).unwrap();
    looper.until_readable(A);
    assert_eq!(a.recv(&mut [0; 8]).unwrap(), 3);

    for on in [false, true] {
        a.set_multicast_loop_v6(on).unwrap();
        assert_eq!(a.multicast_loop_v6().unwrap(), on);
    }
    a.only_v6().unwrap();
    let group: Ipv6Addr = "ff02::1:2".parse().unwrap();
    // Whether there is a route for it depends on the machine. Leaving a group that was not joined
    // is always an error.
    if a.join_multicast_v6(&group, 0).is_ok() {
        a.leave_multicast_v6(&group, 0).unwrap();
    }
    assert!(a.leave_multicast_v6(&group, 0).is_err());
}

#[test]
fn settings_are_kept() {
    let socket = UdpSocket::bind(any_port()).unwrap();
    for on in [true, false] {
        socket.set_broadcast(on).unwrap();
        assert_eq!(socket.broadcast().unwrap(), on);
        socket.set_multicast_loop_v4(on).unwrap();
        assert_eq!(socket.multicast_loop_v4().unwrap(), on);
    }
    socket.set_ttl(63).unwrap();
    assert_eq!(socket.ttl().unwrap(), 63);
    socket.set_multicast_ttl_v4(3).unwrap();
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 3);
    assert!(socket.take_error().unwrap().is_none());
    assert!(socket.only_v6().is_err(), "it is an IPv4 socket");

    let group = Ipv4Addr::new(224, 0, 0, 251);
    let interface = Ipv4Addr::LOCALHOST;
    socket.join_multicast_v4(&group, &interface).unwrap();
    socket.leave_multicast_v4(&group, &interface).unwrap();
    assert!(socket.leave_multicast_v4(&group, &interface).is_err());
}

#[test]
fn other_types_go_in_and_come_out() {
    let std_socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = std_socket.local_addr().unwrap();
    let socket = UdpSocket::from_std(std_socket);
    let expected = util::raw(&socket);
    #[cfg(unix)]
    let socket = {
        assert_eq!(socket.as_fd().as_raw_fd(), expected);
        let socket = UdpSocket::from(OwnedFd::from(socket));
        // SAFETY: the descriptor was just given up, so nothing else owns it.
        unsafe { UdpSocket::from_raw_fd(socket.into_raw_fd()) }
    };
    #[cfg(windows)]
    let socket = {
        assert_eq!(socket.as_socket().as_raw_socket(), expected);
        let socket = UdpSocket::from(OwnedSocket::from(socket));
        // SAFETY: the socket was just given up, so nothing else owns it.
        unsafe { UdpSocket::from_raw_socket(socket.into_raw_socket()) }
    };
    assert!(format!("{socket:?}").contains(&address.port().to_string()));
    let std_socket = std::net::UdpSocket::from(socket);
    assert_eq!(std_socket.local_addr().unwrap(), address);
    assert_eq!(util::raw(&std_socket), expected);
}

#[test]
fn try_io_returns_what_the_closure_does() {
    let socket = UdpSocket::bind(any_port()).unwrap();
    assert_eq!(socket.try_io(|| Ok(7)).unwrap(), 7);
    let received = socket.try_io_with(Interest::READABLE, || socket.recv(&mut [0; 8]));
    assert_eq!(received.unwrap_err().kind(), ErrorKind::WouldBlock);
}
