//! A connection between Unix sockets.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::{sys, IoSource};

/// A connection between Unix sockets.
///
/// Read and written through [`Read`](io::Read) and [`Write`](io::Write), which `&UnixStream` has as
/// well. A read that returns 0 is the end of what the peer sends.
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
    /// [`NotFound`](io::ErrorKind::NotFound) where nothing is at the path,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) where nobody
    /// listens, [`InvalidInput`](io::ErrorKind::InvalidInput) for a path that is
    /// too long or has a NUL byte.
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) on Linux, when the listener's
    /// queue is full: no attempt goes on then, no event will tell, and the
    /// program has to try again later. A system that can wait without
    /// blocking gives a stream that becomes writable in the end.
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

    /// [`connect`](UnixStream::connect) to an address, which on Linux and Android may be
    /// abstract: see [`UnixListener::bind_addr`](crate::net::UnixListener::bind_addr).
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

    /// Two streams, unnamed and connected to each other. One system call on
    /// Linux.
    ///
    /// # Errors
    ///
    /// Those of [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html),
    /// when no descriptor is left.
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

    /// The address of this end.
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

    /// The peer's address, which most often is unnamed: a client need not bind.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) without a connection.
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

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. The next
    /// call finds none.
    ///
    /// # Errors
    ///
    /// None of a socket that is open.
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

    /// Ends reading, writing or both; see
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
