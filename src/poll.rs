//! Waiting for events.

use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use crate::sys::kind;
#[cfg(feature = "os-poll")]
use crate::sys::Queue;
#[cfg(feature = "stats")]
use crate::Stats;
use crate::{Backend, Events, Registry};

/// The event queue of the operating system, which waits until sources become ready.
///
/// Sources are registered through [`registry`](Poll::registry), with a
/// [`Token`](crate::Token) and an [`Interest`](crate::Interest);
/// [`poll`](Poll::poll) waits and fills [`Events`]. One thread polls, because
/// polling takes `&mut`; any thread may register.
///
/// # Readiness, not completion
///
/// An event means that an operation is worth trying. Do the I/O until it returns
/// [`WouldBlock`](io::ErrorKind::WouldBlock): only then is the next event certain. An event may be
/// spurious, so even the first operation may return `WouldBlock`. The [`guide`](crate::guide) shows
/// the patterns.
///
/// # Nesting
///
/// Another event loop may watch the queue's descriptor (`as_raw_fd`), which is readable while
/// events wait. Only `poll` may take the events: code that takes them from
/// the descriptor itself disables the poll's wakers, whose wake-ups stay pending until the next
/// `poll`. A poll on poll(2) cannot be nested: its descriptor is readable only when the poll
/// itself is interrupted. A poll on event ports can be nested if nothing is registered as a
/// `SourceFd` or level-triggered, which only `poll` probes, and if fewer sources are registered than
/// `process.max-port-events` allows: only `poll` sees the wakes of a full port. On Windows a poll has
/// no handle to nest. The guide has
/// [an example](crate::guide::runtimes#a-poll-in-another-loop).
///
/// # Forking
///
/// A forked child must not use a poll, registry or waker that it inherited, nor a source that is
/// registered on poll(2) or event ports. It would take the parent's events, or wait for a lock that
/// no thread releases, or, because a kqueue is not inherited, use an unrelated descriptor. It may
/// drop them, which does not affect the parent.
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
pub struct Poll {
    registry: Registry,
}

impl Poll {
    /// Opens an empty event queue on the best backend of this system.
    ///
    /// # Errors
    ///
    /// Those of the system, if no descriptor is left: of
    /// [epoll_create1(2)](https://man7.org/linux/man-pages/man2/epoll_create1.2.html),
    /// [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?kqueue),
    /// [port_create(3C)](https://illumos.org/man/3C/port_create) or
    /// [CreateIoCompletionPort](https://learn.microsoft.com/en-us/windows/win32/fileio/createiocompletionport).
    ///
    /// # Cost
    ///
    /// On epoll one system call, on kqueue, event ports and poll(2) two. A poll has one descriptor,
    /// which is closed on exec (two on poll(2) if there is no eventfd). On Windows it has two
    /// handles, and another one for every 32 sockets; none of them is inherited.
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

    /// Opens an empty event queue on the given backend.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported), with the backend's name,
    /// if this system does not have it; otherwise as for [`new`](Poll::new).
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

    /// The backend of this event queue.
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

    /// What this poll has done so far.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mio::{Events, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// poll.poll(&mut events, Some(Duration::ZERO))?;
    /// assert_eq!(poll.stats().polls, 1);
    /// println!("{}", poll.stats());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "stats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stats")))]
    pub fn stats(&self) -> Stats {
        self.registry.stats()
    }

    /// The registry, with which sources are registered.
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

    /// Waits for an event, or until `timeout` has passed, and replaces the
    /// contents of `events`, which are empty if the timeout has passed.
    ///
    /// `None` waits for ever, and zero does not wait. A wait without an event lasts at least as
    /// long as its timeout, which is rounded up to the system's unit, and the system may add to it.
    /// Longer timeouts are clamped to the system's maximum, at least 24 days.
    ///
    /// | system | unit | adds |
    /// |---|---|---|
    /// | Linux from 5.11 on | nanoseconds | 0.1 % of the timeout, at least 50 µs (`PR_SET_TIMERSLACK`) and at most 100 ms |
    /// | Linux before, sandboxes that refuse `epoll_pwait2`, Android | milliseconds | the same |
    /// | the BSDs | nanoseconds | on NetBSD up to two ticks of its clock, of 10 ms each |
    /// | Apple's systems | microseconds; poll(2) milliseconds | |
    /// | illumos, Solaris | event ports nanoseconds; epoll and poll(2) milliseconds | on illumos up to a tick of its clock |
    /// | Windows 10 from 1803 on | 100 ns | |
    /// | Windows before | milliseconds | up to a tick of 15.6 ms |
    ///
    /// On Windows, the time during which the machine sleeps counts.
    ///
    /// At most [`events.capacity()`](Events::capacity) events are reported;
    /// the next calls report the others.
    ///
    /// # Errors
    ///
    /// - [`Interrupted`](io::ErrorKind::Interrupted): a signal handler ran during the wait. A
    ///   program without signal handlers can get it as well: Linux interrupts a wait on epoll when
    ///   the process was stopped and continued (SIGSTOP and SIGCONT, a debugger), and when an
    ///   io_uring that this thread has used is closed. [`poll_until`](Poll::poll_until) continues
    ///   instead. A poll with timeout zero is never interrupted.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the capacity of `events` is 0.
    /// - EBADF: the program has closed the descriptors of the poll, like a daemon that closes all
    ///   open descriptors. Sockets that reuse these descriptors are not read.
    ///
    /// There are no other errors. `events` is empty after an error.
    ///
    /// # Cost
    ///
    /// On epoll one system call, which writes into `events` directly: `epoll_wait` on x86-64, and
    /// its equivalent `epoll_pwait` on other processors; or `epoll_pwait2`, which costs more, if
    /// the timeout is not a whole number of milliseconds. On kqueue one. On event ports one, and
    /// one for each event of a descriptor, which has to be armed again. On poll(2) one, another one
    /// before it if probes are due (`SourceFd`), and one for each waker that is reported. On AFD
    /// one, and one for each socket that has to be armed again; on Windows 10 from 1803 on, up to
    /// four more for the timer of a timeout, unless an event has already arrived.
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

    /// Waits for an event, or until the deadline has passed. Signals do not end the
    /// wait.
    ///
    /// This is [`poll`](Poll::poll) with the time left until `deadline`, called again when it is
    /// interrupted. It never returns without events before the deadline. Without a deadline
    /// (`None`) it never returns without events at all. If the deadline has passed, it returns the
    /// ready events without waiting, so a busy loop has to compare the clock with its deadline
    /// itself.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the capacity of `events` is 0.
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
                Err(error) if kind(&error) == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            // The system may have clamped a long timeout.
            let in_time = deadline.map_or(true, |deadline| Instant::now() < deadline);
            if !events.is_empty() || !in_time {
                return Ok(());
            }
        }
    }
}

/// The backend and, on Unix, the queue's own descriptor.
impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.fmt_as("Poll", f)
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
