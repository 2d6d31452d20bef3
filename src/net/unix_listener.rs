//! A Unix socket that accepts connections.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use crate::net::UnixStream;
use crate::{sys, Interest, IoSource};

/// A Unix socket that accepts connections.
///
/// It is readable when a connection waits. Accept until `accept` returns
/// [`WouldBlock`](io::ErrorKind::WouldBlock), as with a [`TcpListener`](crate::net::TcpListener).
///
/// # Examples
///
/// ```
/// use mio::net::{UnixListener, UnixStream};
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("socket");
/// let mut listener = UnixListener::bind(&path)?;
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
///
/// let _client = UnixStream::connect(&path)?;
/// poll.poll(&mut events, None)?;
/// let (_stream, address) = listener.accept()?;
/// assert!(address.is_unnamed());
/// # Ok(())
/// # }
/// ```
pub struct UnixListener {
    inner: IoSource<net::UnixListener>,
}

impl UnixListener {
    /// Listens on a path. This creates a socket file, which only the program removes.
    ///
    /// # Stale socket files
    ///
    /// If a server ends without removing its file, the next server cannot bind the path. Connecting
    /// shows whether a process still listens:
    ///
    /// ```
    /// use std::fs;
    /// use std::io::{self, ErrorKind};
    /// use std::os::unix::fs::FileTypeExt;
    /// use std::path::Path;
    ///
    /// use mio::net::{UnixListener, UnixStream};
    ///
    /// fn bind(path: &Path) -> io::Result<UnixListener> {
    ///     match UnixListener::bind(path) {
    ///         Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path)? => {
    ///             fs::remove_file(path)?;
    ///             UnixListener::bind(path)
    ///         }
    ///         outcome => outcome,
    ///     }
    /// }
    ///
    /// fn is_stale(path: &Path) -> io::Result<bool> {
    ///     // Linux also refuses to connect to a file that is no socket.
    ///     if !fs::symlink_metadata(path)?.file_type().is_socket() {
    ///         return Ok(false);
    ///     }
    ///     let connected = UnixStream::connect(path);
    ///     Ok(connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    /// }
    /// #
    /// # fn main() -> io::Result<()> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("socket");
    /// # let first = bind(&path)?;
    /// # assert_eq!(bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    /// # drop(first);
    /// # drop(bind(&path)?);
    /// # let file = folder.path().join("file");
    /// # fs::write(&file, "precious")?;
    /// # assert_eq!(bind(&file).unwrap_err().kind(), ErrorKind::AddrInUse);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// This is a race: between the attempt to connect and the removal another server may bind the
    /// path, and then its file is removed. If several servers may start at the same time, each
    /// should hold a lock meanwhile (flock(2) on a file beside the socket). And on some systems
    /// (the BSDs) a server whose queue is full refuses as well.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if the path exists,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is too long or contains a NUL byte, and
    /// those of the system's [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html),
    /// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html) and
    /// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html).
    ///
    /// # Cost
    ///
    /// Three system calls on Linux.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Like [`bind`](UnixListener::bind), but takes an address, which on Linux and Android may be
    /// abstract: a name in no file system, which disappears with the socket.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// use mio::net::{UnixListener, UnixStream};
    ///
    /// let name = format!("mio-example-{}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let client = UnixStream::connect_addr(&address)?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(target_os = "linux"))]
    /// # fn main() {}
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        sys::socket::unix_listen(address).map(UnixListener::from_std)
    }

    /// Accepts a connection. Returns a non-blocking stream, and the peer's address, which usually
    /// is unnamed.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if no connection waits; otherwise those of
    /// [`TcpListener::accept`](crate::net::TcpListener::accept).
    ///
    /// # Cost
    ///
    /// That of [`TcpListener::accept`](crate::net::TcpListener::accept).
    ///
    /// ```
    /// use mio::net::{UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let listener = UnixListener::bind(&path)?;
    /// let _client = UnixStream::connect(&path)?;
    /// let (_stream, address) = listener.accept()?;
    /// assert!(address.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.inner
            .do_io(Interest::READABLE, sys::socket::unix_accept)
            .map(|(stream, address)| (UnixStream::from_std(stream), address))
    }

    /// The address that the socket is bound to.
    ///
    /// ```
    /// use mio::net::UnixListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let listener = UnixListener::bind(&path)?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if any. This clears the error.
    ///
    /// # Errors
    ///
    /// None, as long as the socket is open.
    ///
    /// ```
    /// use mio::net::UnixListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("socket");
    /// let listener = UnixListener::bind(&path)?;
    /// assert!(listener.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.do_take_error(|inner| inner.take_error())
    }
}

impl_source!(UnixListener);
impl_std!(
    UnixListener,
    net::UnixListener,
    r#"# fn main() -> std::io::Result<()> {
# let folder = tempfile::tempdir()?;
# let path = folder.path().join("socket");
let listener = std::os::unix::net::UnixListener::bind(path)?;
listener.set_nonblocking(true)?;
let listener = mio::net::UnixListener::from_std(listener);
# Ok(())
# }"#
);
impl_descriptor!(UnixListener, net::UnixListener);
