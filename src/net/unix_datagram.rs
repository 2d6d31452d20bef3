//! A Unix socket for datagrams.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::{sys, Interest, IoSource};

/// A Unix socket for datagrams: whole messages, in order, none lost.
///
/// # Examples
///
/// ```
/// use mio::net::UnixDatagram;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("log");
/// let mut receiver = UnixDatagram::bind(&path)?;
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
///
/// UnixDatagram::unbound()?.send_to(b"a line", &path)?;
/// poll.poll(&mut events, None)?;
/// let mut buffer = [0; 512];
/// let (length, from) = receiver.recv_from(&mut buffer)?;
/// assert_eq!(&buffer[..length], b"a line");
/// assert!(from.is_unnamed());
/// # Ok(())
/// # }
/// ```
pub struct UnixDatagram {
    inner: IoSource<net::UnixDatagram>,
}

impl UnixDatagram {
    /// A socket bound to a path, where a socket file is made; nobody removes it
    /// but the program. Two system calls on Linux.
    ///
    /// # Errors
    ///
    /// As for [`UnixListener::bind`](crate::net::UnixListener::bind).
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let receiver = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"message", &path)?;
    /// assert_eq!(receiver.recv(&mut [0; 16])?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// [`bind`](UnixDatagram::bind) to an address, which on Linux and Android may be
    /// abstract: see [`UnixListener::bind_addr`](crate::net::UnixListener::bind_addr).
    ///
    /// ```
    /// use std::os::unix::net::SocketAddr;
    ///
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let address = SocketAddr::from_pathname(folder.path().join("socket"))?;
    /// let receiver = UnixDatagram::bind_addr(&address)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        sys::socket::unix_datagram_bind(address).map(UnixDatagram::from_std)
    }

    /// A socket without an address: it can send, and receives nothing unless
    /// connected. One system call on Linux.
    ///
    /// # Errors
    ///
    /// Those of [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html).
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        sys::socket::unix_datagram_unbound().map(UnixDatagram::from_std)
    }

    /// Two sockets, unnamed and connected to each other. One system call on
    /// Linux.
    ///
    /// # Errors
    ///
    /// Those of [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html),
    /// when no descriptor is left.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send(b"message")?;
    /// assert_eq!(other.recv(&mut [0; 16])?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = sys::socket::unix_datagram_pair()?;
        Ok((UnixDatagram::from_std(one), UnixDatagram::from_std(other)))
    }

    /// Sets the socket that [`send`](UnixDatagram::send) sends to, and the only
    /// one from which datagrams are received.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) where nothing is at the path,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) where nobody has the
    /// socket open any more, [`InvalidInput`](io::ErrorKind::InvalidInput) for a path that
    /// is too long or has a NUL byte.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let receiver = UnixDatagram::bind(&path)?;
    /// let sender = UnixDatagram::unbound()?;
    /// sender.connect(&path)?;
    /// sender.send(b"message")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.inner.connect(path)
    }

    /// The address that the socket is bound to.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let receiver = UnixDatagram::bind(&path)?;
    /// assert_eq!(receiver.local_addr()?.as_pathname(), Some(&*path));
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
    /// [`NotConnected`](io::ErrorKind::NotConnected) where it is not.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let receiver = UnixDatagram::bind(&path)?;
    /// let sender = UnixDatagram::unbound()?;
    /// assert!(sender.peer_addr().is_err());
    /// sender.connect(&path)?;
    /// assert_eq!(sender.peer_addr()?.as_pathname(), Some(&*path));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Receives a datagram; returns its length and who sent it. What is longer than the
    /// buffer loses its rest.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send(b"message")?;
    /// let mut buffer = [0; 16];
    /// let (length, from) = other.recv_from(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"message");
    /// assert!(from.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.recv_from(buf))
    }

    /// Receives a datagram; returns its length. What is longer than the buffer loses its
    /// rest.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, other) = UnixDatagram::pair()?;
    /// one.send(b"message")?;
    /// assert_eq!(other.recv(&mut [0; 16])?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::READABLE, |inner| inner.recv(buf))
    }

    /// Sends a datagram to the socket at a path; returns its length.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; that
    /// there is room at *another* socket again is no event of this one, so that the
    /// program tries again after a while. Otherwise as for
    /// [`connect`](UnixDatagram::connect).
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let receiver = UnixDatagram::bind(&path)?;
    /// assert_eq!(UnixDatagram::unbound()?.send_to(b"message", &path)?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.inner
            .do_io(Interest::WRITABLE, |inner| inner.send_to(buf, path))
    }

    /// Sends a datagram to the socket that this one is connected to.
    ///
    /// On Linux an attempt to send to a peer whose queue is full, or which is gone, makes the kernel
    /// report this socket writable again, on every backend. A program that retries at each writable
    /// event is in a busy loop: retry after a while.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room;
    /// [`NotConnected`](io::ErrorKind::NotConnected) where it is connected to none;
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when that one is closed,
    /// on Linux.
    ///
    /// ```
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, other) = UnixDatagram::pair()?;
    /// assert_eq!(one.send(b"message")?, 7);
    /// other.recv(&mut [0; 16])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.inner
            .do_io(Interest::WRITABLE, |inner| inner.send(buf))
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. The next
    /// call finds none.
    ///
    /// # Errors
    ///
    /// None of a socket that is open.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = mio::net::UnixDatagram::unbound()?;
    /// assert!(socket.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }

    /// Ends receiving, sending or both; as
    /// [`TcpStream::shutdown`](crate::net::TcpStream::shutdown), but that the peer reads
    /// no end by that.
    ///
    /// ```
    /// use std::net::Shutdown;
    ///
    /// use mio::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = UnixDatagram::pair()?;
    /// one.shutdown(Shutdown::Write)?;
    /// assert!(one.send(b"too late").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    try_io_methods!();
}

impl_source!(UnixDatagram);
impl_std!(
    UnixDatagram,
    net::UnixDatagram,
    r#"# fn main() -> std::io::Result<()> {
let socket = std::os::unix::net::UnixDatagram::unbound()?;
socket.set_nonblocking(true)?;
let socket = mio::net::UnixDatagram::from_std(socket);
# Ok(())
# }"#
);
impl_descriptor!(UnixDatagram, net::UnixDatagram);
