//! Waiting for events.

use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

#[cfg(feature = "os-poll")]
use crate::sys::Queue;
use crate::{Backend, Events, Registry};

/// Waits until something becomes ready: the event queue of the operating
/// system.
///
/// Sources are registered through [`registry`](Poll::registry), with a
/// [`Token`](crate::Token) and an [`Interest`](crate::Interest);
/// [`poll`](Poll::poll) waits and fills [`Events`]. One thread polls, since
/// that takes `&mut`; any thread may register.
///
/// # Readiness, not completion
///
/// An event says that an operation is worth trying. The program then does the
/// I/O itself until it fails with [`WouldBlock`](io::ErrorKind::WouldBlock):
/// only after that the next event is certain to come. An event may be spurious,
/// so an operation after one may fail so too. The [`guide`](crate::guide)
/// shows the patterns.
///
/// # Nesting
///
/// The queue's descriptor (`as_raw_fd`) may be watched by another event loop,
/// which sees it readable while events wait. They must be taken by `poll`:
/// whoever takes them off the descriptor itself disables the poll's wakers,
/// whose wake-ups stay pending until a `poll`. A poll on poll(2) cannot be nested;
/// its descriptor is readable only when the poll itself is interrupted. One on event
/// ports can, as long as nothing is registered as a `SourceFd`, which is looked at by
/// `poll` only, and fewer sources are registered than `process.max-port-events`
/// allows: in a port that is full, wakes are seen by `poll` only. On Windows there is nothing to nest. The guide has
/// [an example](crate::guide::runtimes#a-poll-in-another-loop).
///
/// # Forking
///
/// A forked child must not use a poll, registry or waker that it inherited, nor a
/// source that is registered on poll(2) or event ports: it would take the parent's
/// events, or wait for a lock that nobody gives back, or, as a kqueue is not inherited,
/// use some other descriptor. It may drop them, which changes nothing for the parent.
///
/// # Examples
///
/// ```
/// use std::io::{self, Read, Write};
///
/// use mio::net::TcpStream;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(64);
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let mut receiver = TcpStream::connect(listener.local_addr()?)?;
/// let (mut sender, _) = listener.accept()?;
/// poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
/// sender.write_all(b"metal")?;
///
/// poll.poll(&mut events, None)?;
/// assert!(events.iter().any(|event| event.is_readable()));
///
/// let mut message = Vec::new();
/// let outcome = receiver.read_to_end(&mut message);
/// assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
/// assert_eq!(message, b"metal");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Poll {
    registry: Registry,
}

impl Poll {
    /// An empty event queue on the best backend of this system.
    ///
    /// # Errors
    ///
    /// Those of the system, when no descriptor is left: of
    /// [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create1.2.html),
    /// [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?kqueue),
    /// [port_create(3C)](https://illumos.org/man/3C/port_create) or
    /// [CreateIoCompletionPort](https://learn.microsoft.com/en-us/windows/win32/fileio/createiocompletionport).
    ///
    /// # Cost
    ///
    /// On epoll one system call, on kqueue, event ports and poll(2) two, and one descriptor,
    /// which is closed on exec (on poll(2) two where there is no eventfd). On Windows two handles, and another one for every 32
    /// sockets, none of which is inherited.
    ///
    /// ```
    /// use mio::{Events, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(128);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "os-poll")]
    #[cfg_attr(docsrs, doc(cfg(feature = "os-poll")))]
    pub fn new() -> io::Result<Poll> {
        Poll::with_backend(Backend::default())
    }

    /// An empty event queue on a backend of choice.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported), with the backend's name,
    /// where this system does not have it; otherwise as for [`new`](Poll::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Backend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let best = Backend::available()[0];
    /// assert_eq!(Poll::with_backend(best)?.backend(), Poll::new()?.backend());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "os-poll")]
    #[cfg_attr(docsrs, doc(cfg(feature = "os-poll")))]
    pub fn with_backend(backend: Backend) -> io::Result<Poll> {
        Ok(Poll {
            registry: Registry::new(Queue::open(backend)?),
        })
    }

    /// The backend that this event queue stands on.
    ///
    /// ```
    /// use mio::{Backend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert_eq!(Poll::new()?.backend(), Backend::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn backend(&self) -> Backend {
        self.registry.queue().backend()
    }

    /// Where sources are registered.
    ///
    /// ```
    /// use mio::net::TcpListener;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until there is an event, or `timeout` has passed, and replaces the
    /// contents of `events`; they stay empty when time ran out.
    ///
    /// `None` waits for ever, zero not at all. A timeout is never cut short: it
    /// is rounded up to what the system counts in, which may add to it. One that is
    /// longer than the system's longest is taken for that, 24 days at the least.
    ///
    /// | system | counts in | adds |
    /// |---|---|---|
    /// | Linux from 5.11 on | nanoseconds | 0.1 % of the timeout, at least 50 µs (`PR_SET_TIMERSLACK`) and at most 100 ms |
    /// | Linux before, sandboxes that refuse `epoll_pwait2`, Android | milliseconds | the same |
    /// | the BSDs | nanoseconds | |
    /// | Apple's systems | microseconds; poll(2) milliseconds | |
    /// | illumos, Solaris | event ports nanoseconds; epoll and poll(2) milliseconds | on illumos up to a tick of its clock |
    /// | Windows 10 from 1803 on | 100 ns | |
    /// | Windows before | milliseconds | up to a tick of 15.6 ms |
    ///
    /// On Windows time for which the machine slept counts.
    ///
    /// At most [`events.capacity()`](Events::capacity) events are reported;
    /// further ones come with the next call.
    ///
    /// # Errors
    ///
    /// - [`Interrupted`](io::ErrorKind::Interrupted): a signal handler ran
    ///   during the wait. Linux interrupts a wait on epoll without a signal
    ///   handler, too: when the process was stopped and continued (SIGSTOP and
    ///   SIGCONT, a debugger), and when an io_uring closes that this thread has
    ///   used. A program that handles no signals is not safe from it.
    ///   [`poll_until`](Poll::poll_until) goes on instead. A poll with timeout
    ///   zero is never interrupted.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `events` has room for
    ///   none.
    ///
    /// - EBADF: the program has closed the descriptors of the poll, as daemons do that close all that
    ///   are open. Sockets that have their numbers since are not read.
    ///
    /// There are no others. `events` is empty after an error.
    ///
    /// # Cost
    ///
    /// On epoll one system call, which writes into `events` directly:
    /// `epoll_wait` (by its other name `epoll_pwait` where the processor is no x86-64), or
    /// `epoll_pwait2` where the timeout is no whole number of milliseconds, which costs
    /// more. On kqueue one; on event ports one, and one for each event of a
    /// descriptor, which has to be armed again. On poll(2) one, another before it where probes are due
    /// (`SourceFd`), and one for each
    /// waker that is reported. On AFD one, and one for each socket that has to be asked
    /// about anew; up to four more for a timeout that such a timer keeps, if nothing comes
    /// before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use mio::{Events, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    ///
    /// let timeout = Duration::from_micros(250);
    /// let start = Instant::now();
    /// poll.poll(&mut events, Some(timeout))?;
    /// assert!(events.is_empty() && start.elapsed() >= timeout);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.registry.queue().select(events.buffer(), timeout)
    }

    /// Waits until there is an event, or the deadline has come; signals do not
    /// end the wait.
    ///
    /// As [`poll`](Poll::poll) with the time that is left until `deadline`,
    /// called again when it was interrupted. It never returns empty-handed
    /// before the deadline, nor ever where there is none (`None`). A deadline
    /// that has passed takes what is ready without waiting; so a loop that is
    /// busy looks at the clock itself to see that its time is over.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): `events` has room for
    /// none.
    ///
    /// # Examples
    ///
    /// A loop with work of its own every 10 milliseconds:
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use mio::{Events, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    ///
    /// let period = Duration::from_millis(10);
    /// let mut next = Instant::now() + period;
    /// let mut beats = 0;
    /// while beats < 3 {
    ///     poll.poll_until(&mut events, Some(next))?;
    ///     for _event in &events {
    ///         // …
    ///     }
    ///     if Instant::now() >= next {
    ///         beats += 1;
    ///         next += period;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_until(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            let remaining =
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.poll(events, remaining) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            // The system may have cut a long timeout down to its longest.
            let in_time = deadline.map_or(true, |deadline| Instant::now() < deadline);
            if !events.is_empty() || !in_time {
                return Ok(());
            }
        }
    }
}

/// The queue's own descriptor: see [nesting](Poll#nesting).
#[cfg(unix)]
impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registry.as_fd()
    }
}

/// The queue's own descriptor: see [nesting](Poll#nesting).
#[cfg(unix)]
impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.registry.as_raw_fd()
    }
}
