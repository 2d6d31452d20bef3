//! A TCP socket that accepts connections.

use std::io;
use std::net::{self, SocketAddr};

use crate::net::TcpStream;
use crate::{sys, Interest, IoSource};

/// A TCP socket that accepts connections.
///
/// It is readable when a connection waits. Several connections may wait behind one event, so accept
/// until `accept` returns [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use mio::net::{TcpListener, TcpStream};
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
///
/// let _clients = [
///     TcpStream::connect(listener.local_addr()?)?,
///     TcpStream::connect(listener.local_addr()?)?,
/// ];
/// let mut streams = Vec::new();
/// while streams.len() < 2 {
///     poll.poll(&mut events, None)?;
///     loop {
///         match listener.accept() {
///             Ok((stream, address)) => streams.push((stream, address)),
///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
///             Err(error) => return Err(error),
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    inner: IoSource<net::TcpListener>,
}

impl TcpListener {
    /// Listens on an address; port 0 lets the system choose a port.
    ///
    /// It creates a socket, sets `SO_REUSEADDR`, binds the socket, and listens with the longest
    /// queue that the system allows. With `SO_REUSEADDR` a restarted server need not wait for its
    /// old connections to end. (It is not set on Windows: no server has to wait there, and the
    /// option would let others take over the address.) For other options, create a socket with the
    /// `socket2` crate and use [`from_std`](TcpListener::from_std).
    ///
    /// # Errors
    ///
    /// Those of the system's [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html),
    /// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
    /// ([`AddrInUse`](io::ErrorKind::AddrInUse), …) and
    /// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html). After an error no
    /// descriptor is left open.
    ///
    /// # Cost
    ///
    /// Four system calls on Linux.
    ///
    /// ```
    /// use mio::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// println!("listening on {}", listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        sys::socket::tcp_listen(addr).map(TcpListener::from_std)
    }

    /// Accepts a connection. Returns a non-blocking stream, and the peer's address.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no connection waits; otherwise those of
    /// [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html). A server should survive
    /// all of them. Most concern one connection:
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), and the errors of its network,
    /// which accept(2) passes on. Others are temporary: EMFILE, ENFILE, ENOBUFS and ENOMEM, if no
    /// descriptor or no memory is left. The connections then keep waiting, *without another event*.
    /// So report an error that you do not know, and try again when you have closed some
    /// connections, and in any case after a while: the [guide](crate::guide#accepting) shows how.
    ///
    /// # Cost
    ///
    /// One system call, and no allocation. On Apple's systems and Windows a few more, because the
    /// call itself does not make the stream non-blocking.
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use mio::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, sys::socket::tcp_accept)
            .map(|(stream, address)| (TcpStream::from_std(stream), address))
    }

    /// The address that the socket is bound to.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Sets how many hops the packets of accepted connections may take: `IP_TTL` of
    /// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html), for IPv4.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// listener.set_ttl(63)?;
    /// assert_eq!(listener.ttl()?, 63);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// The value of `IP_TTL`; see [`set_ttl`](TcpListener::set_ttl).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// println!("{} hops", listener.ttl()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. This clears the error,
    /// except on Windows.
    ///
    /// # Errors
    ///
    /// None, as long as the socket is open.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// assert!(listener.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }
}

impl_source!(TcpListener);
impl_std!(
    TcpListener,
    net::TcpListener,
    r#"# fn main() -> std::io::Result<()> {
let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
listener.set_nonblocking(true)?;
let listener = mio::net::TcpListener::from_std(listener);
# Ok(())
# }"#
);
#[cfg(unix)]
impl_descriptor!(TcpListener, net::TcpListener);
#[cfg(windows)]
impl_socket!(TcpListener, net::TcpListener);
