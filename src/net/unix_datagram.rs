//! A Unix datagram socket.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::{sys, Interest, IoSource};

/// A Unix datagram socket: it transfers whole messages, in order, and loses none.
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
    /// Opens a socket and binds it to a path. This creates a socket file, which only the program
    /// removes. Two system calls on Linux.
    ///
    /// # Errors
    ///
    /// Those of [`UnixListener::bind`](crate::net::UnixListener::bind).
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

    /// Like [`bind`](UnixDatagram::bind), but takes an address, which on Linux and Android may be
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

    /// Opens a socket without an address. It can send, and it receives only if it is connected. One
    /// system call on Linux.
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

    /// Opens two sockets without addresses, connected to each other. One system call on Linux.
    ///
    /// # Errors
    ///
    /// Those of [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html), if no
    /// descriptor is left.
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

    /// Sets the socket that [`send`](UnixDatagram::send) sends to. From then on only datagrams of
    /// that socket are received.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the path does not exist,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if no process has the socket open
    /// any more, [`InvalidInput`](io::ErrorKind::InvalidInput) if the path is too long or contains
    /// a NUL byte.
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
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the socket is not connected.
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

    /// Receives a datagram. Returns its length and the sender's address. If the datagram is longer
    /// than the buffer, the rest of it is lost.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no datagram.
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

    /// Receives a datagram. Returns its length. If the datagram is longer than the buffer, the rest
    /// of it is lost.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no datagram.
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

    /// Sends a datagram to the socket at a path. Returns its length.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no capacity for the datagram. No event
    /// of this socket reports that *another* socket has capacity again, so try again after a while.
    /// Otherwise those of [`connect`](UnixDatagram::connect).
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
    /// On Linux, an attempt to send to a peer whose queue is full, or which is gone, makes the
    /// kernel report this socket writable again, on every backend. A program that tries again at
    /// each writable event is a busy loop: try again after a while instead.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no capacity for the datagram,
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the socket is not connected, and on Linux
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the peer is closed.
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

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. This clears the error.
    ///
    /// # Errors
    ///
    /// None, as long as the socket is open.
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

    /// Shuts down receiving, sending or both, like
    /// [`TcpStream::shutdown`](crate::net::TcpStream::shutdown). But the peer reads no end of data.
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
