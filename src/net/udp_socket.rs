//! A UDP socket.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{sys, Interest, IoSource};

/// A UDP socket.
///
/// Each call sends or receives one datagram. If a datagram is longer than the buffer, the rest of
/// it is lost (on Windows the call returns an error as well).
///
/// # Errors of earlier datagrams, on Windows
///
/// Receiving fails with [`ConnectionReset`](io::ErrorKind::ConnectionReset) if a datagram that this
/// socket has sent, to any address, was refused, and with WSAENETRESET if its hop limit ran out. A
/// server continues after these errors, or turns them off:
///
/// ```
/// # #[cfg(windows)]
/// # fn main() -> std::io::Result<()> {
/// use std::io;
/// use std::os::windows::io::AsRawSocket;
///
/// use mio::net::UdpSocket;
/// use windows_sys::Win32::Networking::WinSock::{WSAIoctl, SIO_UDP_CONNRESET, SOCKET};
///
/// // `_WSAIOW(IOC_VENDOR, 15)`, in Windows since 8.
/// const SIO_UDP_NETRESET: u32 = 0x9800_000F;
///
/// fn turn_off(socket: &UdpSocket, setting: u32) -> io::Result<()> {
///     let no: i32 = 0;
///     let mut written = 0;
///     // SAFETY: the socket is open; four bytes are read from `no`, and a number is written to
///     // `written`, before the call returns.
///     let result = unsafe {
///         WSAIoctl(
///             socket.as_raw_socket() as SOCKET,
///             setting,
///             (&no as *const i32).cast(),
///             4,
///             std::ptr::null_mut(),
///             0,
///             &mut written,
///             std::ptr::null_mut(),
///             None,
///         )
///     };
///     match result {
///         0 => Ok(()),
///         _ => Err(io::Error::last_os_error()),
///     }
/// }
///
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// turn_off(&socket, SIO_UDP_CONNRESET)?;
/// let _ = turn_off(&socket, SIO_UDP_NETRESET);
/// # Ok(())
/// # }
/// # #[cfg(not(windows))]
/// # fn main() {}
/// ```
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
    /// Opens a socket and binds it to an address; port 0 lets the system choose a port.
    ///
    /// # Errors
    ///
    /// Those of the system's
    /// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) and
    /// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
    /// ([`AddrInUse`](io::ErrorKind::AddrInUse), …).
    ///
    /// # Cost
    ///
    /// Two system calls on Linux.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// println!("receiving at {}", socket.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
        sys::socket::udp_bind(addr).map(UdpSocket::from_std)
    }

    /// The address that the socket is bound to.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the socket is not connected.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let any = "127.0.0.1:0".parse().unwrap();
    /// let (one, other) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    /// one.connect(other.local_addr()?)?;
    /// assert_eq!(one.peer_addr()?, other.local_addr()?);
    /// assert!(other.peer_addr().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Sends a datagram to an address. Returns its length.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the send buffer is full; otherwise those of
    /// [sendto(2)](https://man7.org/linux/man-pages/man2/sendto.2.html).
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let any = "127.0.0.1:0".parse().unwrap();
    /// let (one, other) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    /// assert_eq!(one.send_to(b"ping", other.local_addr()?)?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.inner
            .do_io(Interest::WRITABLE, |inner| inner.send_to(buf, target))
    }

    /// Receives a datagram. Returns its length and the sender's address.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no datagram; otherwise those of
    /// [recvfrom(2)](https://man7.org/linux/man-pages/man2/recvfrom.2.html). On Windows also
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset), if a datagram that this socket has sent
    /// was refused.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// // A blocking socket, so that the example needs no events.
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?);
    /// socket.send_to(b"ping", socket.local_addr()?)?;
    ///
    /// let mut buffer = [0; 16];
    /// let (length, from) = socket.recv_from(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"ping");
    /// assert_eq!(from, socket.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.recv_from(buf))
    }

    /// Like [`recv_from`](UdpSocket::recv_from), with the same errors, but leaves the datagram in
    /// the queue.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// // A blocking socket, so that the example needs no events.
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?);
    /// socket.send_to(b"twice", socket.local_addr()?)?;
    ///
    /// let mut buffer = [0; 16];
    /// let seen = socket.peek_from(&mut buffer)?;
    /// assert_eq!(socket.recv_from(&mut buffer)?, seen);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.peek_from(buf))
    }

    /// Sends a datagram to the address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the send buffer is full. The error may be an
    /// earlier datagram's: [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if no socket is
    /// bound to the peer's port.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// // A blocking socket, so that the example needs no events.
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?);
    /// socket.connect(socket.local_addr()?)?;
    /// assert_eq!(socket.send(b"ping")?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::WRITABLE, |inner| inner.send(buf))
    }

    /// Receives a datagram from the address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no datagram; otherwise those of
    /// [`send`](UdpSocket::send).
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// // A blocking socket, so that the example needs no events.
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?);
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"ping")?;
    /// assert_eq!(socket.recv(&mut [0; 16])?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.recv(buf))
    }

    /// Like [`recv`](UdpSocket::recv), with the same errors, but leaves the datagram in the queue.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// // A blocking socket, so that the example needs no events.
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?);
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"twice")?;
    /// assert_eq!(socket.peek(&mut [0; 16])?, 5);
    /// assert_eq!(socket.recv(&mut [0; 16])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.peek(buf))
    }

    /// Sets the address that [`send`](UdpSocket::send) sends to. From then on only datagrams of
    /// that address are received. This sends nothing, and a further call sets another address.
    ///
    /// # Errors
    ///
    /// Those of [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html).
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

    /// Sets whether datagrams may be sent to broadcast addresses: `SO_BROADCAST` of
    /// [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert!(!socket.broadcast()?);
    /// socket.set_broadcast(true)?;
    /// assert!(socket.broadcast()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.inner.set_broadcast(on)
    }

    /// The value of `SO_BROADCAST`; see
    /// [`set_broadcast`](UdpSocket::set_broadcast).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert!(!socket.broadcast()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast(&self) -> io::Result<bool> {
        self.inner.broadcast()
    }

    /// Sets whether this host receives the multicast datagrams that this socket sends:
    /// `IP_MULTICAST_LOOP` of [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html). IPv4 only.
    /// On Windows the receiving socket has this option.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// socket.set_multicast_loop_v4(false)?;
    /// assert!(!socket.multicast_loop_v4()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.inner.set_multicast_loop_v4(on)
    }

    /// The value of `IP_MULTICAST_LOOP`; see
    /// [`set_multicast_loop_v4`](UdpSocket::set_multicast_loop_v4).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// println!("received here as well: {}", socket.multicast_loop_v4()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.inner.multicast_loop_v4()
    }

    /// Sets the maximum number of hops of multicast datagrams: `IP_MULTICAST_TTL` of
    /// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html). The default is 1, which keeps them
    /// in the local network. IPv4 only.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// socket.set_multicast_ttl_v4(2)?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_multicast_ttl_v4(ttl)
    }

    /// The value of `IP_MULTICAST_TTL`; see
    /// [`set_multicast_ttl_v4`](UdpSocket::set_multicast_ttl_v4).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// println!("{} hops", socket.multicast_ttl_v4()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.inner.multicast_ttl_v4()
    }

    /// Sets whether this host receives the multicast datagrams that this socket sends:
    /// `IPV6_MULTICAST_LOOP` of [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html). IPv6
    /// only. On Windows the receiving socket has this option.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("[::]:0".parse().unwrap())?;
    /// socket.set_multicast_loop_v6(false)?;
    /// assert!(!socket.multicast_loop_v6()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.inner.set_multicast_loop_v6(on)
    }

    /// The value of `IPV6_MULTICAST_LOOP`; see
    /// [`set_multicast_loop_v6`](UdpSocket::set_multicast_loop_v6).
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("[::]:0".parse().unwrap())?;
    /// println!("received here as well: {}", socket.multicast_loop_v6()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.inner.multicast_loop_v6()
    }

    /// Sets the maximum number of hops of a datagram: `IP_TTL` of
    /// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html), for IPv4.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// socket.set_ttl(63)?;
    /// assert_eq!(socket.ttl()?, 63);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// The value of `IP_TTL`; see [`set_ttl`](UdpSocket::set_ttl).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// println!("{} hops", socket.ttl()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Joins a multicast group on the interface with the given address: `IP_ADD_MEMBERSHIP` of
    /// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html). With the unspecified address, the
    /// system chooses the interface.
    ///
    /// # Errors
    ///
    /// The address is not that of a group, the interface does not exist, the group was joined
    /// already, or the system has no memory or no route for it.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("0.0.0.0:0".parse().unwrap())?;
    /// let group = Ipv4Addr::new(224, 0, 0, 251);
    /// socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    /// socket.set_multicast_loop_v4(true)?; // this host receives them as well
    /// socket.set_multicast_ttl_v4(1)?; // they stay in this network
    /// socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.join_multicast_v4(multiaddr, interface)
    }

    /// Joins a multicast group on the interface with the given index: `IPV6_ADD_MEMBERSHIP` of
    /// [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html). With index 0, the system
    /// chooses the interface.
    ///
    /// # Errors
    ///
    /// Those of [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// ```no_run
    /// use std::net::Ipv6Addr;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("[::]:0".parse().unwrap())?;
    /// let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    /// socket.join_multicast_v6(&group, 0)?;
    /// socket.leave_multicast_v6(&group, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a multicast group (`IP_DROP_MEMBERSHIP`); see
    /// [`join_multicast_v4`](UdpSocket::join_multicast_v4). It is an error if the group was not
    /// joined.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("0.0.0.0:0".parse().unwrap())?;
    /// let group = Ipv4Addr::new(224, 0, 0, 251);
    /// socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    /// socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a multicast group (`IPV6_DROP_MEMBERSHIP`); see
    /// [`join_multicast_v6`](UdpSocket::join_multicast_v6). It is an error if the group was not
    /// joined.
    ///
    /// ```no_run
    /// use std::net::Ipv6Addr;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("[::]:0".parse().unwrap())?;
    /// let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    /// socket.join_multicast_v6(&group, 0)?;
    /// socket.leave_multicast_v6(&group, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.leave_multicast_v6(multiaddr, interface)
    }

    /// Whether the socket receives only IPv6, or also IPv4 through mapped addresses: `IPV6_V6ONLY`
    /// of [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html). An IPv4 socket returns an
    /// error. The option has to be set before the socket is bound: use the crate `socket2`.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("[::]:0".parse().unwrap())?;
    /// println!("IPv6 only: {}", socket.only_v6()?);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn only_v6(&self) -> io::Result<bool> {
        socket2::SockRef::from(&*self.inner).only_v6()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. Most often a datagram of
    /// a connected socket was refused. This clears the error. (On Windows the next `recv` returns
    /// it instead.)
    ///
    /// # Errors
    ///
    /// None, as long as the socket is open.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert!(socket.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }

    try_io_methods!();
}

impl_source!(UdpSocket);
impl_std!(
    UdpSocket,
    net::UdpSocket,
    r#"# fn main() -> std::io::Result<()> {
let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
socket.set_nonblocking(true)?;
let socket = mio::net::UdpSocket::from_std(socket);
# Ok(())
# }"#
);
#[cfg(unix)]
impl_descriptor!(UdpSocket, net::UdpSocket);
#[cfg(windows)]
impl_socket!(UdpSocket, net::UdpSocket);
