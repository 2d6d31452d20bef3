//! A TCP connection.

use std::io;
use std::net::{self, Shutdown, SocketAddr};

use crate::{sys, IoSource};

/// A TCP connection.
///
/// `TcpStream` and `&TcpStream` implement [`Read`](io::Read) and [`Write`](io::Write). A read that
/// returns 0 means that the peer sends no more data.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// use mio::net::{TcpListener, TcpStream};
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// poll.registry().register(&mut stream, Token(0), Interest::WRITABLE)?;
///
/// // Writable when the connect attempt has succeeded or failed.
/// poll.poll(&mut events, None)?;
/// if let Some(error) = stream.take_error()? {
///     return Err(error);
/// }
/// stream.write_all(b"GET")?;
///
/// let mut request = [0; 3];
/// listener.accept()?.0.read_exact(&mut request)?;
/// assert_eq!(&request, b"GET");
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    inner: IoSource<net::TcpStream>,
}

impl TcpStream {
    /// Starts a connect attempt, and does not wait for its result.
    ///
    /// To wait, register the stream for [`WRITABLE`](crate::Interest::WRITABLE). After a writable
    /// event, call:
    ///
    /// 1. [`take_error`](TcpStream::take_error): an error means that the attempt failed.
    /// 2. [`peer_addr`](TcpStream::peer_addr): success means that the stream is connected.
    ///    [`NotConnected`](io::ErrorKind::NotConnected) means that the event was spurious and that
    ///    the attempt continues.
    ///
    /// # Errors
    ///
    /// Those of the system's [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) and
    /// [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html), if the attempt fails at
    /// once, for example because the network is unreachable. A refused attempt is usually reported
    /// by an event.
    ///
    /// # Cost
    ///
    /// Two system calls on Linux.
    ///
    /// ```
    /// use mio::net::TcpStream;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// poll.registry().register(&mut stream, Token(0), Interest::WRITABLE)?;
    /// while stream.peer_addr().is_err() {
    ///     poll.poll_until(&mut events, None)?;
    ///     if let Some(error) = stream.take_error()? {
    ///         return Err(error);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        sys::socket::tcp_connect(addr).map(TcpStream::from_std)
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) before the stream is connected, and after the
    /// connection failed or ended.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// The local address.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// assert_eq!(stream.local_addr()?, listener.accept()?.1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Shuts down reading, writing or both.
    ///
    /// Shutting down writing tells the peer that no more data will come. The peer may still send.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the stream is not connected, and on macOS
    /// also if the peer has already closed the connection. Otherwise those of
    /// [shutdown(2)](https://man7.org/linux/man-pages/man2/shutdown.2.html).
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::Shutdown;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut peer = listener.accept()?.0;
    /// // A blocking stream, so that the example needs no events.
    /// let mut stream = mio::net::TcpStream::from_std(stream);
    /// stream.shutdown(Shutdown::Write)?;
    /// assert_eq!(peer.read(&mut [0; 8])?, 0);
    ///
    /// // The other direction still works.
    /// peer.write_all(b"answer")?;
    /// stream.read_exact(&mut [0; 6])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    /// Sets whether small writes are sent at once (`true`) or collected (Nagle's algorithm):
    /// `TCP_NODELAY` of [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html).
    ///
    /// # Errors
    ///
    /// Some systems return an error before the connection is established. Linux does not.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// The value of `TCP_NODELAY`; see [`set_nodelay`](TcpStream::set_nodelay).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// println!("small pieces are sent at once: {}", stream.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.inner.nodelay()
    }

    /// Sets the maximum number of hops of a packet: `IP_TTL` of
    /// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html), for IPv4.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// stream.set_ttl(63)?;
    /// assert_eq!(stream.ttl()?, 63);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// The value of `IP_TTL`; see [`set_ttl`](TcpStream::set_ttl).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// println!("{} hops", stream.ttl()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any: why connecting failed,
    /// or that the peer reset the connection. This clears the error. On Windows, the reason of a
    /// failed connect is not cleared, and a reset is not returned here but by the next read or
    /// write.
    ///
    /// # Errors
    ///
    /// None, as long as the socket is open.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// # let stream = mio::net::TcpStream::from_std(stream);
    /// assert!(stream.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }

    /// Reads data and leaves it in the queue: the next read returns the same data.
    ///
    /// # Errors
    ///
    /// Those of reading: [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no data.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// listener.accept()?.0.write_all(b"once")?;
    ///
    /// // A blocking stream, so that the example needs no events.
    /// let mut stream = mio::net::TcpStream::from_std(stream);
    /// let mut buffer = [0; 4];
    /// stream.peek(&mut buffer[..1])?;
    /// stream.read_exact(&mut buffer)?;
    /// assert_eq!(&buffer, b"once");
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len();
        self.inner.do_stream_peek(wanted, |inner| inner.peek(buf))
    }

    try_io_methods!();
}

impl_source!(TcpStream);
impl_read!(end_is_last: true, TcpStream, &TcpStream);
impl_write!(TcpStream, &TcpStream);
impl_std!(
    TcpStream,
    net::TcpStream,
    r#"# fn main() -> std::io::Result<()> {
# let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
# let address = listener.local_addr()?;
let stream = std::net::TcpStream::connect(address)?; // waits
stream.set_nonblocking(true)?;
let stream = mio::net::TcpStream::from_std(stream);
# Ok(())
# }"#
);
#[cfg(unix)]
impl_descriptor!(TcpStream, net::TcpStream);
#[cfg(windows)]
impl_socket!(TcpStream, net::TcpStream);
