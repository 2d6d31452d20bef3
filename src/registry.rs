//! Registering, reregistering and deregistering sources.

use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use crate::event::Source;
use crate::sys::Queue;
#[cfg(feature = "stats")]
use crate::Stats;
use crate::{Interest, Token};

/// Registers sources with a [`Poll`](crate::Poll).
///
/// It can be used while the poll waits on another thread, either by reference
/// ([`Poll::registry`](crate::Poll::registry)) or as a separate value
/// ([`try_clone`](Registry::try_clone)). Changes take effect at once.
///
/// The event queue lives as long as its poll or one of its registries.
/// A forked child must not use an inherited registry, but may drop it: the child
/// shares the queue with its parent.
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

    /// Registers a source: from now on polls report readiness for its `interests`, and
    /// its errors and hang-ups, with this token.
    ///
    /// `S` may be `dyn Source`, for sources of several kinds in one collection: the
    /// [guide](crate::guide::sources#two-kinds-of-stream-in-one-collection) has an example.
    ///
    /// # Edges
    ///
    /// A poll reports an event when readiness begins, and when the source is ready at the time it
    /// is registered. After an event you may get no further event until an operation has
    /// returned [`WouldBlock`](io::ErrorKind::WouldBlock). So read or write until it does.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): the source is already
    ///   registered here. On kqueue this is not an error: the new token and
    ///   interests replace the old ones. The error also means that the source is registered
    ///   with another poll that still exists. poll(2), event ports and AFD always report that;
    ///   epoll and kqueue allow it, and report it in debug builds only. The text of the error names
    ///   the mistake, except in release builds on epoll and kqueue, where it is the
    ///   kernel's error (EEXIST).
    /// - On epoll, EBADF if the descriptor is not open, EPERM
    ///   ([`PermissionDenied`](io::ErrorKind::PermissionDenied)) for objects that
    ///   cannot be watched, such as files and directories, EINVAL for the
    ///   poll itself, ELOOP if polls would watch each other in a cycle, and
    ///   ENOSPC or ENOMEM if a limit is reached.
    /// - On every backend but poll(2), EBADF if the program has closed the poll's own descriptor.
    /// - On kqueue, EBADF if the descriptor is not open, and other errors of the
    ///   kernel if it cannot watch the source in any direction of the interests.
    ///   Files can be registered, and are readable while there is more to read. A pipe without
    ///   receivers can be registered for writing, and is reported closed; if the kernel has
    ///   no user events (NetBSD before 10), or cannot create another one, the error is
    ///   [`BrokenPipe`](io::ErrorKind::BrokenPipe).
    /// - On event ports, EBADF if the descriptor is not open, and ENOSPC if the
    ///   port has as many sources as `process.max-port-events` allows, 65,536 by default.
    ///   Files can be registered, and are always ready.
    /// - poll(2) makes no system call here. Files can be registered, and are always ready. The next
    ///   poll reports a descriptor that is not open once, with an error. (A negative descriptor is
    ///   EBADF.)
    /// - On AFD, WSAENOTSOCK if the handle is not an open socket, and errors of a
    ///   layered provider that hides its socket.
    ///
    /// If it fails, nothing is registered.
    ///
    /// # Two handles of one socket on Windows
    ///
    /// Register only one handle of a socket. If two handles of it (`try_clone`) are registered, in
    /// one poll or in two, the driver may report to one of them the readiness that the other waits
    /// for. If both are in one poll and wait for different directions, AFD notices this and arms
    /// them again. If both wait for the same direction, or are registered with two polls, one of
    /// them may get no event.
    ///
    /// # Cost
    ///
    /// On epoll and kqueue one system call, and no allocation. On event ports one system call, and
    /// an entry in a table, which grows with the number of sources. On poll(2) the entry, and a
    /// system call if a thread is waiting. On AFD an entry, and for each new entry an allocation, a
    /// call of Winsock, and a system call, which the next poll makes if no thread is waiting.
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
    /// // Sending would succeed, and there is nothing to receive.
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
    /// The next poll reports readiness again: what the source is ready for, and whether it is
    /// closed or has an error that was not taken. (If there are more events than the buffer has
    /// capacity for, a later poll reports it.)
    ///
    /// That event queues behind the events that already wait, so that a program which
    /// reregisters a busy source gives the others their turn. (poll(2) has no queue: it
    /// scans all registrations in turn, which is as fair. A source whose event already waits
    /// may keep its position.)
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the source is not registered here (on kqueue this
    /// registers it), and those of [`register`](Registry::register). If it fails, the registration
    /// stays as it was, except if the descriptor is closed, and except on kqueue: there the
    /// registration may have ended.
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

    /// Ends a registration. No poll that begins after this call has returned reports it, so you may
    /// free what its token stands for.
    ///
    /// (A poll that waits on another thread *during* this call may still return an event that it
    /// has retrieved before.)
    ///
    /// Dropping a source ends its registration too. On poll(2), event ports and AFD that happens at
    /// once. On kqueue it happens because the descriptor is closed. On epoll it happens when *no
    /// copy* of the descriptor is open any more. A duplicate is a copy. While the program starts a
    /// child process, on whatever thread, the child holds copies of all descriptors until it calls
    /// exec. So if your tokens are addresses of things that you free, always deregister.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the source is not registered here. On epoll and
    /// kqueue, EBADF if the descriptor is not open. On every backend but poll(2), EBADF if the
    /// program has closed the poll's own descriptor.
    ///
    /// # Cost
    ///
    /// On epoll, kqueue and event ports one system call, and no allocation. On AFD one, which the
    /// next poll makes if no thread is waiting.
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
    // Always: what each backend does here makes the function look long.
    #[inline(always)]
    pub fn deregister<S>(&self, source: &mut S) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        trace("deregister", None);
        source.deregister(self)
    }

    /// What the poll has done so far: as [`Poll::stats`](crate::Poll::stats), for a thread that
    /// does not poll, such as one that collects metrics.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// use mio::{Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let waker = Waker::new(poll.registry(), Token(0))?;
    /// let registry = poll.registry().try_clone()?;
    /// let metrics = thread::spawn(move || registry.stats().registrations);
    /// assert_eq!(metrics.join().unwrap(), 1);
    /// # drop(waker);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "stats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stats")))]
    pub fn stats(&self) -> Stats {
        self.queue.stats()
    }

    /// Another registry of the same poll.
    ///
    /// It returns a `Result` for compatibility, and does not fail. It increments a reference count:
    /// it makes no system call, opens no descriptor and allocates nothing.
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

impl Registry {
    /// Formats the queue, of which this is a `name`.
    pub(crate) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(name);
        shown.field("backend", &self.queue.backend());
        #[cfg(unix)]
        shown.field("fd", &self.as_raw_fd());
        shown.finish()
    }
}

/// The backend and, on Unix, the queue's own descriptor.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("Registry", f)
    }
}

/// Writes a line to the program's log, if the program has a logger.
#[inline]
#[cfg_attr(not(feature = "log"), allow(unused_variables))]
fn trace(what: &'static str, wanted: Option<(Token, Interest)>) {
    #[cfg(feature = "log")]
    if log::max_level() == log::LevelFilter::Trace {
        // Not inlined, for programs without a logger.
        #[cold]
        fn write(what: &'static str, wanted: Option<(Token, Interest)>) {
            let line = |text: fmt::Arguments<'_>| log::trace!("{text}");
            match wanted {
                Some((token, interests)) => line(format_args!("{what}: {token:?}, {interests:?}")),
                None => line(format_args!("{what}")),
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
