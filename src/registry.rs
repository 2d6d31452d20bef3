//! Registering, changing and ending registrations.

use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use crate::event::Source;
use crate::sys::Queue;
use crate::{Interest, Token};

/// Tells a [`Poll`](crate::Poll) which sources to watch.
///
/// It can be used while the poll waits on another thread, from a reference
/// ([`Poll::registry`](crate::Poll::registry)) or as a value of its own
/// ([`try_clone`](Registry::try_clone)); what it changes takes effect at once.
///
/// The event queue lives as long as its poll or one of its registries.
/// In a forked child none may be used, only dropped: the child shares the
/// queue with its parent.
///
/// ```
/// use mio::net::UdpSocket;
/// use mio::{Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let poll = Poll::new()?;
/// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let registry = poll.registry();
/// registry.register(&mut socket, Token(0), Interest::READABLE)?;
/// registry.reregister(&mut socket, Token(0), Interest::READABLE | Interest::WRITABLE)?;
/// registry.deregister(&mut socket)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Registry {
    queue: Arc<Queue>,
}

impl Registry {
    #[cfg(feature = "os-poll")]
    pub(crate) fn new(queue: Queue) -> Registry {
        Registry {
            queue: Arc::new(queue),
        }
    }

    #[inline]
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Begins to watch a source: from now on polls report its `interests`,
    /// and errors and hang-ups always, with this token.
    ///
    /// `S` may be `dyn Source`, for sources of several kinds in one collection: the
    /// [guide](crate::guide::sources#two-kinds-of-stream-in-one-collection) has an example.
    ///
    /// # Edges
    ///
    /// An event is reported when readiness begins. A source that is ready when
    /// it is registered is reported by the next poll; after that there may be
    /// no further event until an operation has failed with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). So after an event the program
    /// goes on reading, or writing, until that.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): the source is
    ///   registered here already; on kqueue that is no error, and the new token and
    ///   interests replace the old ones. Also where the source is registered with
    ///   another poll that still exists: on poll(2), event ports and AFD always, on epoll
    ///   and kqueue, which allow that, in debug builds. The text of the error names the
    ///   mistake, except in release builds on epoll and kqueue, where it is the
    ///   kernel's own error (EEXIST).
    /// - On epoll, EBADF where the descriptor is not open, EPERM
    ///   ([`PermissionDenied`](io::ErrorKind::PermissionDenied)) for what
    ///   cannot be waited for, such as files and directories, EINVAL for the
    ///   poll itself, ELOOP where polls would watch each other in a circle, and
    ///   ENOSPC or ENOMEM where a limit is reached.
    /// - But for poll(2), EBADF where the program has closed the poll's own descriptor.
    /// - On kqueue, EBADF where the descriptor is not open, and whatever else the
    ///   kernel says of what it cannot watch in any direction that is asked for.
    ///   Files are taken, and readable while there is more to read. A pipe without
    ///   receivers is taken for writing, and reported closed; where the kernel has
    ///   no user events (NetBSD before 10), or no more of them, that is
    ///   [`BrokenPipe`](io::ErrorKind::BrokenPipe).
    /// - On event ports, EBADF where the descriptor is not open, ENOSPC where the
    ///   port has as many as `process.max-port-events` allows, 65,536 by default.
    ///   Files are taken, and always ready.
    /// - poll(2) asks nothing of the kernel: files are taken, and always ready; a
    ///   descriptor that is not open is reported once, with an error, by the next
    ///   poll (EBADF for a negative one).
    /// - On AFD, WSAENOTSOCK where the socket is not open, or none, and whatever a
    ///   layered provider says that hides its socket.
    ///
    /// Where it fails nothing is registered.
    ///
    /// # Cost
    ///
    /// On epoll and kqueue one system call, and no allocation. On event ports one,
    /// and an entry in a table, which grows with their number; on poll(2) the entry,
    /// and a system call if somebody is waiting. On AFD an entry, and with each that is
    /// new an allocation, a question to Winsock, and a system call, made by the next
    /// poll if nobody is waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::net::UdpSocket;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    ///
    /// let both = Interest::READABLE | Interest::WRITABLE;
    /// poll.registry().register(&mut socket, Token(7), both)?;
    ///
    /// // There is room to send, but nothing to receive.
    /// poll.poll(&mut events, None)?;
    /// let event = events.iter().next().unwrap();
    /// assert_eq!(event.token(), Token(7));
    /// assert!(event.is_writable() && !event.is_readable());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn register<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        trace("register", Some((token, interests)));
        source.register(self, token, interests)
    }

    /// Replaces the token and the interests of a registration.
    ///
    /// **The interests are replaced, not added to.** A source that waits for `WRITABLE` and
    /// is reregistered for `READABLE` is never reported writable again: name all interests
    /// each time.
    ///
    /// Readiness is looked at anew: the next poll reports again what the source is
    /// ready for, and whether it is closed or has an error that nobody has taken. (If
    /// there are more events than the poll has room for, a later one does.)
    ///
    /// That event comes behind those that wait already, so that a program which
    /// reregisters a busy source gives the others their turn. (poll(2) has no queue: it
    /// goes round all registrations, which is as fair. A source whose event waits already,
    /// and has not been taken, may keep its place.)
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) where the source is not registered
    /// here (on kqueue it then is), and as for [`register`](Registry::register).
    /// Where it fails the registration stays as it was; where the descriptor is
    /// closed, and on kqueue, there may be none any more.
    ///
    /// # Cost
    ///
    /// As for [`register`](Registry::register).
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::net::UdpSocket;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    ///
    /// poll.registry().register(&mut socket, Token(1), Interest::READABLE)?;
    /// poll.registry().reregister(&mut socket, Token(2), Interest::WRITABLE)?;
    ///
    /// poll.poll(&mut events, None)?;
    /// assert_eq!(events.iter().next().unwrap().token(), Token(2));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn reregister<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        trace("reregister", Some((token, interests)));
        source.reregister(self, token, interests)
    }

    /// Ends a registration: no poll that begins after this has returned reports
    /// it, so that whatever its token stands for may be freed.
    ///
    /// (A poll that waits on another thread *while* this is called may still
    /// return an event that it had taken before.)
    ///
    /// Dropping a source ends its registration too: on poll(2), event ports and AFD at
    /// once, on kqueue by closing the descriptor; on epoll likewise, but only when
    /// *no copy* of it is open any more. A duplicate is a copy;
    /// and while the program starts a child process, on whatever thread, the
    /// child holds copies of all descriptors until it calls exec. So a program
    /// whose tokens are addresses of things that it frees always deregisters.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) where the source is not registered
    /// here; on epoll and kqueue EBADF where the descriptor is not open. EBADF, but for
    /// poll(2), also where the program has closed the poll's own.
    ///
    /// # Cost
    ///
    /// On epoll, kqueue and event ports one system call, and no allocation; on AFD one,
    /// by the next poll if nobody is waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// use mio::net::UdpSocket;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    ///
    /// poll.registry().register(&mut socket, Token(0), Interest::WRITABLE)?;
    /// poll.registry().deregister(&mut socket)?;
    ///
    /// poll.poll(&mut events, Some(Duration::ZERO))?;
    /// assert!(events.is_empty());
    ///
    /// let again = poll.registry().deregister(&mut socket);
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    // Always: what each backend has to do makes it look long.
    #[inline(always)]
    pub fn deregister<S>(&self, source: &mut S) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        trace("deregister", None);
        source.deregister(self)
    }

    /// Another registry of the same poll.
    ///
    /// It returns a `Result` for compatibility, and does not fail. It counts one up:
    /// there is no system call, no descriptor and no allocation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// use mio::net::UdpSocket;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    ///
    /// let registry = poll.registry().try_clone()?;
    /// let helper = thread::spawn(move || {
    ///     let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    ///     registry.register(&mut socket, Token(3), Interest::WRITABLE).unwrap();
    ///     socket
    /// });
    ///
    /// poll.poll(&mut events, None)?;
    /// assert_eq!(events.iter().next().unwrap().token(), Token(3));
    /// helper.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn try_clone(&self) -> io::Result<Registry> {
        Ok(Registry {
            queue: Arc::clone(&self.queue),
        })
    }
}

/// A line for the program's log, if it keeps one.
#[inline]
#[cfg_attr(not(feature = "log"), allow(unused_variables))]
fn trace(what: &'static str, wanted: Option<(Token, Interest)>) {
    #[cfg(feature = "log")]
    if log::max_level() == log::LevelFilter::Trace {
        // Out of the way of those who keep none.
        #[cold]
        fn write(what: &'static str, wanted: Option<(Token, Interest)>) {
            match wanted {
                Some((token, interests)) => log::trace!("{what}: {token:?}, {interests:?}"),
                None => log::trace!("{what}"),
            }
        }
        write(what, wanted);
    }
}

/// The queue's own descriptor: see [`Poll`](crate::Poll#nesting).
#[cfg(unix)]
impl AsFd for Registry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// The queue's own descriptor: see [`Poll`](crate::Poll#nesting).
#[cfg(unix)]
impl AsRawFd for Registry {
    fn as_raw_fd(&self) -> RawFd {
        self.queue.as_fd().as_raw_fd()
    }
}
