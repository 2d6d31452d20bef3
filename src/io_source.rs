//! Any operating system object as a source.

use std::io;
use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};

use crate::event::Source;
use crate::sys::{Owner, Registration};
use crate::{Interest, Registry, Token};

/// Makes any object with a descriptor an event [`Source`]: a socket of a kind that
/// [`net`](crate::net) does not have, a timer, a device. On Windows, any object with a socket
/// (`AsSocket`).
///
/// Do the I/O through [`do_io`](IoSource::do_io): a backend that cannot see by itself that a source
/// was drained learns it there. For settings and the like, reach the object itself (`Deref`).
///
/// The object must be in non-blocking mode. An `IoSource` is 12 bytes larger than its object. They
/// hold its registration, if the kernel does not store that.
///
/// # Delays on poll(2) and event ports
///
/// An operation in a known direction ([`do_io`](IoSource::do_io)) that returns `WouldBlock` arms
/// that direction, and its next readiness is reported without delay. After any other failure, and
/// after a `WouldBlock` of [`try_io`](IoSource::try_io), which does not know its direction, the
/// backend probes the source with back-off: what is still ready is reported again, up to 64 ms
/// late. While an error or a hang-up lasts, other events may be 64 ms late as well, or one second
/// late if both halves of a connection have hung up. Once the error or hang-up has gone, the next
/// operation that does not succeed ends that delay at once. On epoll and kqueue there are no such
/// delays.
///
/// # Dropping
///
/// On poll(2), event ports and AFD, dropping the `IoSource` ends its registration. On kqueue the
/// registration ends when the descriptor is closed, and on epoll when its last copy is closed. If
/// `T` owns the only copy, that happens when the `IoSource` is dropped. If `T` **shares or
/// borrows** the descriptor (a reference, an `Arc`, an object whose descriptor was duplicated
/// elsewhere), dropping the `IoSource` closes nothing, and its events continue: [`deregister`] it
/// first.
///
/// # Examples
///
/// Linux's timers as a source:
///
/// ```
/// # #[cfg(target_os = "linux")]
/// # fn main() -> std::io::Result<()> {
/// use std::fs::File;
/// use std::io::{self, Read};
/// use std::os::fd::{FromRawFd, OwnedFd};
///
/// use mio::{Events, Interest, IoSource, Poll, Token};
///
/// // SAFETY: `timerfd_create` has no memory-safety preconditions.
/// let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) };
/// assert!(fd != -1);
/// // SAFETY: the call has just opened this descriptor, and nothing else owns it.
/// let mut timer = IoSource::new(File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
/// // SAFETY: all zeros are a valid `itimerspec`, and the kernel only reads it.
/// unsafe {
///     let mut in_a_millisecond: libc::itimerspec = std::mem::zeroed();
///     in_a_millisecond.it_value.tv_nsec = 1_000_000;
///     libc::timerfd_settime(fd, 0, &in_a_millisecond, std::ptr::null_mut());
/// }
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// poll.registry().register(&mut timer, Token(0), Interest::READABLE)?;
/// let mut expirations = [0; 8];
/// loop {
///     poll.poll(&mut events, None)?;
///     match timer.do_io(Interest::READABLE, |mut file| file.read(&mut expirations)) {
///         Ok(_) => break,
///         Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
///         Err(error) => return Err(error),
///     }
/// }
/// assert_eq!(u64::from_ne_bytes(expirations), 1);
/// # Ok(())
/// # }
/// # #[cfg(not(target_os = "linux"))]
/// # fn main() {}
/// ```
///
/// [`deregister`]: Registry::deregister
#[derive(Debug)]
pub struct IoSource<T> {
    registration: Registration,
    inner: T,
}

impl<T> IoSource<T> {
    /// Takes an object, which must be in non-blocking mode. This makes no system call.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let source = mio::IoSource::new(socket);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(inner: T) -> IoSource<T> {
        IoSource {
            registration: Registration::none(),
            inner,
        }
    }

    /// Calls `io`, one non-blocking operation on the object, and returns its result.
    ///
    /// `direction` is the readiness that the operation waits for if it would block:
    /// [`READABLE`](Interest::READABLE) if it reads or accepts, [`WRITABLE`](Interest::WRITABLE) if
    /// it writes or connects. If it returns [`WouldBlock`](io::ErrorKind::WouldBlock), the next
    /// readiness in that direction will be reported. `io` must return the kernel's own error: if it
    /// turns the error into `Ok(None)`, the next event may never come on poll(2), event ports and
    /// AFD.
    ///
    /// On epoll and kqueue this adds nothing to `io`.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::net::UdpSocket;
    ///
    /// use mio::{Interest, IoSource};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let socket = IoSource::new(socket);
    ///
    /// let mut buffer = [0; 1500];
    /// let received = socket.do_io(Interest::READABLE, |socket| socket.recv_from(&mut buffer));
    /// assert_eq!(received.unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn do_io<F, R>(&self, direction: Interest, io: F) -> io::Result<R>
    where
        F: FnOnce(&T) -> io::Result<R>,
    {
        let outcome = io(&self.inner);
        if self.registration.takes_outcomes() {
            return self.registration.after_io(Some(direction), outcome);
        }
        outcome
    }

    /// [`do_io`](IoSource::do_io) for an operation whose direction is not known: afterwards every
    /// direction that had an event may have another, spurious one.
    ///
    /// ```
    /// use std::net::UdpSocket;
    ///
    /// use mio::IoSource;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let socket = IoSource::new(socket);
    ///
    /// let mut buffer = [0; 1500];
    /// let received = socket.try_io(|socket| socket.recv(&mut buffer));
    /// assert_eq!(received.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn try_io<F, R>(&self, io: F) -> io::Result<R>
    where
        F: FnOnce(&T) -> io::Result<R>,
    {
        let outcome = io(&self.inner);
        if self.registration.takes_outcomes() {
            return self.registration.after_io(None, outcome);
        }
        outcome
    }

    /// [`do_io`](IoSource::do_io) for a stream. If a read or write is shorter than the `wanted`
    /// bytes, the next one would block. A read that returns 0 may be followed by another one with
    /// data, unless `end_is_last`.
    #[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
    #[inline]
    pub(crate) fn do_stream_io(
        &self,
        direction: Interest,
        wanted: usize,
        end_is_last: bool,
        io: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let outcome = io(&self.inner);
        if self.registration.takes_outcomes() {
            return self
                .registration
                .after_stream_io(direction, wanted, end_is_last, outcome);
        }
        outcome
    }

    /// Like `do_io`, for a peek of up to `wanted` bytes at a stream.
    #[cfg(feature = "net")]
    pub(crate) fn do_stream_peek(
        &self,
        wanted: usize,
        peek: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let outcome = peek(&self.inner);
        if self.registration.takes_outcomes() {
            return self.registration.after_stream_peek(wanted, outcome);
        }
        outcome
    }

    /// Takes the pending error of a socket, which clears it.
    #[cfg(feature = "net")]
    pub(crate) fn do_take_error(
        &self,
        take_error: impl FnOnce(&T) -> io::Result<Option<io::Error>>,
    ) -> io::Result<Option<io::Error>> {
        let outcome = take_error(&self.inner);
        if self.registration.takes_outcomes() {
            return self.registration.after_taking_error(outcome);
        }
        outcome
    }

    /// Formats a source of the type `name`: like its object, as long as it is not known to be registered.
    #[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
    #[inline]
    pub(crate) fn fmt_as(&self, name: &str, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result
    where
        T: std::fmt::Debug,
    {
        fmt_source(name, &self.inner, &self.registration, f)
    }

    /// Returns the object. On epoll and kqueue it stays registered while it is open.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let source = mio::IoSource::new(socket);
    /// let socket: std::net::UdpSocket = source.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> T {
        self.inner
    }
}

/// The part of `fmt_as` that is the same for all objects.
#[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
fn fmt_source(
    name: &str,
    inner: &dyn std::fmt::Debug,
    registration: &Registration,
    f: &mut std::fmt::Formatter<'_>,
) -> std::fmt::Result {
    if !registration.is_live() {
        return inner.fmt(f);
    }
    f.debug_struct(name)
        .field("inner", inner)
        .field("registration", registration)
        .finish()
}

/// The object, for everything except I/O. Do the I/O through [`IoSource::do_io`].
impl<T> Deref for IoSource<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

/// `Source` for objects with a descriptor or, on Windows, with a socket.
macro_rules! impl_source_for {
    ($AsSource:ident, $raw:expr) => {
        impl<T: $AsSource> Source for IoSource<T> {
            #[inline]
            fn register(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                let (queue, source) = (registry.queue(), $raw(&self.inner));
                self.registration
                    .register(queue, source, token, interests, Owner::Source)
            }

            #[inline]
            fn reregister(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                let (queue, source) = (registry.queue(), $raw(&self.inner));
                self.registration
                    .reregister(queue, source, token, interests)
            }

            #[inline]
            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                let (queue, source) = (registry.queue(), $raw(&self.inner));
                self.registration.deregister(queue, source)
            }
        }
    };
}

#[cfg(unix)]
impl_source_for!(AsFd, |inner: &T| inner.as_fd().as_raw_fd());
#[cfg(windows)]
impl_source_for!(AsSocket, |inner: &T| inner.as_socket().as_raw_socket());

#[cfg(unix)]
impl<T: AsFd> AsFd for IoSource<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[cfg(unix)]
impl<T: AsRawFd> AsRawFd for IoSource<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

#[cfg(windows)]
impl<T: AsSocket> AsSocket for IoSource<T> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.inner.as_socket()
    }
}

#[cfg(windows)]
impl<T: AsRawSocket> AsRawSocket for IoSource<T> {
    fn as_raw_socket(&self) -> RawSocket {
        self.inner.as_raw_socket()
    }
}

// A descriptor and its registration fit into two words, so that tables of
// connections stay small.
#[cfg(all(unix, target_pointer_width = "64"))]
const _: () = assert!(std::mem::size_of::<IoSource<std::os::fd::OwnedFd>>() <= 16);
