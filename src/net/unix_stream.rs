//! A connection between Unix sockets.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::{sys, IoSource};

/// A connection between Unix sockets.
///
/// `UnixStream` and `&UnixStream` implement [`Read`](io::Read) and [`Write`](io::Write). A read
/// that returns 0 means that the peer sends no more data.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// use mio::net::UnixStream;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
///
/// let (mut one, mut other) = UnixStream::pair()?;
/// poll.registry().register(&mut other, Token(0), Interest::READABLE)?;
///
/// one.write_all(b"hello")?;
/// poll.poll(&mut events, None)?;
/// let mut greeting = [0; 5];
/// other.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct UnixStream {
    inner: IoSource<net::UnixStream>,
}

impl UnixStream {
    /// Connects to the socket at a path.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the path does not exist,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if no process listens,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the path is too long or contains a NUL
    /// byte. On Linux, [`WouldBlock`](io::ErrorKind::WouldBlock) if the listener's queue is full:
    /// then no attempt continues and no event follows, so try again later. Where the system
    /// continues the attempt without blocking, this returns a stream that becomes writable when the
    /// attempt has finished.
    ///
    /// # Cost
    ///
    /// Two system calls on Linux.
    ///
    /// ```
    /// use mio::net::{UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect(&path)?;
    /// assert_eq!(stream.peer_addr()?.as_pathname(), Some(&*path));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Like [`connect`](UnixStream::connect), but takes an address, which on Linux and Android may
    /// be abstract: see [`UnixListener::bind_addr`](crate::net::UnixListener::bind_addr).
    ///
    /// ```
    /// use mio::net::{UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect_addr(&listener.local_addr()?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        sys::socket::unix_connect(address).map(UnixStream::from_std)
    }

    /// Opens two streams without addresses, connected to each other. One system call on Linux.
    ///
    /// # Errors
    ///
    /// Those of [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html), if no
    /// descriptor is left.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use mio::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, mut other) = UnixStream::pair()?;
    /// one.write_all(b"through")?;
    /// other.read_exact(&mut [0; 7])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = sys::socket::unix_stream_pair()?;
        Ok((UnixStream::from_std(one), UnixStream::from_std(other)))
    }

    /// The local address.
    ///
    /// ```
    /// use mio::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = UnixStream::pair()?;
    /// assert!(one.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The peer's address. It is usually unnamed, because a client need not bind its socket.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the stream is not connected.
    ///
    /// ```
    /// use mio::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = UnixStream::pair()?;
    /// assert!(one.peer_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. This clears the error.
    ///
    /// # Errors
    ///
    /// None, as long as the socket is open.
    ///
    /// ```
    /// use mio::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = UnixStream::pair()?;
    /// assert!(one.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }

    /// Shuts down reading, writing or both; see
    /// [`TcpStream::shutdown`](crate::net::TcpStream::shutdown).
    ///
    /// ```
    /// use std::io::Read;
    /// use std::net::Shutdown;
    ///
    /// use mio::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, mut other) = UnixStream::pair()?;
    /// one.shutdown(Shutdown::Write)?;
    /// assert_eq!(other.read(&mut [0; 8])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    try_io_methods!();
}

impl_source!(UnixStream);
impl_read!(end_is_last: true, UnixStream, &UnixStream);
impl_write!(UnixStream, &UnixStream);
impl_std!(
    UnixStream,
    net::UnixStream,
    r#"# fn main() -> std::io::Result<()> {
let (one, _other) = std::os::unix::net::UnixStream::pair()?;
one.set_nonblocking(true)?;
let one = mio::net::UnixStream::from_std(one);
# Ok(())
# }"#
);
impl_descriptor!(UnixStream, net::UnixStream);
