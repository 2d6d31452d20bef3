//! Sockets on Windows. Child processes inherit none of them.

use std::io;
use std::net;
use std::os::windows::io::AsSocket;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// The maximum number of connections that wait to be accepted: as many as the system allows.
const BACKLOG: i32 = i32::MAX;

fn new_socket(domain: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(crate) fn tcp_connect(address: net::SocketAddr) -> io::Result<net::TcpStream> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    match socket.connect(&address.into()) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Does not set `SO_REUSEADDR`: on Windows it lets other programs take the address over, and
/// a server that restarts need not wait for its old connections anyway.
pub(crate) fn tcp_listen(address: net::SocketAddr) -> io::Result<net::TcpListener> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn tcp_accept(
    listener: &net::TcpListener,
) -> io::Result<(net::TcpStream, net::SocketAddr)> {
    let (stream, address) = SockRef::from(&listener.as_socket()).accept()?;
    stream.set_nonblocking(true)?;
    match SockAddr::as_socket(&address) {
        Some(address) => Ok((stream.into(), address)),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the listener's addresses are neither IPv4 nor IPv6",
        )),
    }
}

pub(crate) fn udp_bind(address: net::SocketAddr) -> io::Result<net::UdpSocket> {
    let socket = new_socket(Domain::for_address(address), Type::DGRAM)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_that_fails_at_once_is_an_error() {
        let broadcast = (net::Ipv4Addr::BROADCAST, 1);
        let error = tcp_connect(broadcast.into()).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
