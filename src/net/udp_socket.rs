//! A UDP socket.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{sys, Interest, IoSource};

/// A UDP socket.
///
/// Each call sends or receives one datagram. A datagram that is longer than the
/// buffer loses its rest (on Windows with an error).
///
/// # Examples
///
/// ```
/// use mio::net::UdpSocket;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let any = "127.0.0.1:0".parse().unwrap();
/// let (sender, mut receiver) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
///
/// sender.send_to(b"datagram", receiver.local_addr()?)?;
/// poll.poll(&mut events, None)?;
/// let mut buffer = [0; 1500];
/// let (length, from) = receiver.recv_from(&mut buffer)?;
/// assert_eq!(&buffer[..length], b"datagram");
/// assert_eq!(from, sender.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    inner: IoSource<net::UdpSocket>,
}

impl UdpSocket {
    /// A socket bound to an address; port 0 lets the system choose a port.
    ///
    /// # Errors
    ///
    /// Those of the system's `socket(2)` and `bind(2)`
    /// ([`AddrInUse`](io::ErrorKind::AddrInUse), …).
    ///
    /// # Cost
    ///
    /// Two system calls on Linux.
    pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
        sys::socket::udp_bind(addr).map(UdpSocket::from_std)
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) where it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Sends a datagram to an address; returns its length.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room. Those
    /// of [sendto(2)](https://man7.org/linux/man-pages/man2/sendto.2.html)
    /// otherwise.
    pub fn send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.inner
            .do_io(Interest::WRITABLE, |inner| inner.send_to(buf, target))
    }

    /// Receives a datagram; returns its length and who sent it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.recv_from(buf))
    }

    /// [`recv_from`](UdpSocket::recv_from) that leaves the datagram in the
    /// queue.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.peek_from(buf))
    }

    /// Sends a datagram to the address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room. An
    /// earlier datagram's failure may be reported here:
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody
    /// listens at the peer's port.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::WRITABLE, |inner| inner.send(buf))
    }

    /// Receives a datagram from the address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; otherwise
    /// as for [`send`](UdpSocket::send).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.recv(buf))
    }

    /// [`recv`](UdpSocket::recv) that leaves the datagram in the queue.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.peek(buf))
    }

    /// Sets the address that [`send`](UdpSocket::send) sends to, and the only
    /// one from which datagrams are received.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let any = "127.0.0.1:0".parse().unwrap();
    /// let (one, other) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    /// one.connect(other.local_addr()?)?;
    /// assert_eq!(one.peer_addr()?, other.local_addr()?);
    /// one.send(b"to the other")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.inner.connect(addr)
    }

    /// Sets whether datagrams may be sent to broadcast addresses
    /// (`SO_BROADCAST`).
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.inner.set_broadcast(on)
    }

    /// The value of `SO_BROADCAST`; see
    /// [`set_broadcast`](UdpSocket::set_broadcast).
    pub fn broadcast(&self) -> io::Result<bool> {
        self.inner.broadcast()
    }

    /// Sets whether multicast datagrams of this socket come back to this host
    /// (`IP_MULTICAST_LOOP`). IPv4 only.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.inner.set_multicast_loop_v4(on)
    }

    /// The value of `IP_MULTICAST_LOOP`; see
    /// [`set_multicast_loop_v4`](UdpSocket::set_multicast_loop_v4).
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.inner.multicast_loop_v4()
    }

    /// Sets how many hops (`IP_MULTICAST_TTL`) multicast datagrams may take; 1,
    /// which keeps them in the local network, unless set. IPv4 only.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_multicast_ttl_v4(ttl)
    }

    /// The value of `IP_MULTICAST_TTL`; see
    /// [`set_multicast_ttl_v4`](UdpSocket::set_multicast_ttl_v4).
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.inner.multicast_ttl_v4()
    }

    /// Sets whether multicast datagrams of this socket come back to this host
    /// (`IPV6_MULTICAST_LOOP`). IPv6 only.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.inner.set_multicast_loop_v6(on)
    }

    /// The value of `IPV6_MULTICAST_LOOP`; see
    /// [`set_multicast_loop_v6`](UdpSocket::set_multicast_loop_v6).
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.inner.multicast_loop_v6()
    }

    /// Sets how many hops (`IP_TTL`) datagrams may take.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// The value of `IP_TTL`; see [`set_ttl`](UdpSocket::set_ttl).
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Joins a multicast group (`IP_ADD_MEMBERSHIP`) on the interface with the
    /// given address; with the unspecified one the system chooses.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.join_multicast_v4(multiaddr, interface)
    }

    /// Joins a multicast group (`IPV6_ADD_MEMBERSHIP`) on the interface with the
    /// given index; with 0 the system chooses.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a multicast group (`IP_DROP_MEMBERSHIP`); see
    /// [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a multicast group (`IPV6_DROP_MEMBERSHIP`); see
    /// [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.leave_multicast_v6(multiaddr, interface)
    }

    /// Whether the socket takes IPv6 only (`IPV6_V6ONLY`), and not IPv4 by
    /// mapped addresses as well. IPv6 only.
    pub fn only_v6(&self) -> io::Result<bool> {
        socket2::SockRef::from(&*self.inner).only_v6()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }

    try_io_methods!();
}

impl_source!(UdpSocket);
impl_std!(UdpSocket, net::UdpSocket);
#[cfg(unix)]
impl_descriptor!(UdpSocket, net::UdpSocket);
#[cfg(windows)]
impl_socket!(UdpSocket, net::UdpSocket);
