//! What a poll counts, and [`Stats`], by which a program reads it. Without the feature `stats` a
//! [`Counter`] takes neither memory nor time.

#[cfg(feature = "stats")]
use std::env::consts;
#[cfg(feature = "stats")]
use std::fmt;
use std::io;
#[cfg(feature = "stats")]
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "stats")]
use crate::Backend;

/// What a poll has done since it was opened, for metrics and bug reports.
///
/// [`Poll::stats`](crate::Poll::stats) and [`Registry::stats`](crate::Registry::stats) return it, on
/// any thread and at any time, also during a poll. `Display` writes a few short lines, which also
/// name the backend, the version of this crate and the system: paste them into a bug report.
///
/// A number that a backend does not have is `None`. Each number is exact, but while other threads
/// use the poll, two numbers may be of slightly different moments. On 32-bit systems they wrap
/// around at 2<sup>32</sup>.
///
/// # Cost
///
/// Without the feature `stats`, which is off by default, nothing is counted. With it, each poll
/// costs two additions to an atomic number, and each wake, registration, probe and interrupt one. On
/// epoll and kqueue each source also stores its poll, as it does in debug builds, so that dropping
/// the source is counted.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use mio::{Events, Poll, Token, Waker};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let waker = Waker::new(poll.registry(), Token(0))?;
/// for _ in 0..3 {
///     waker.wake()?;
/// }
/// poll.poll(&mut events, None)?;
///
/// let stats = poll.stats();
/// assert_eq!((stats.polls, stats.events), (1, 1));
/// assert_eq!((stats.wakes_sent, stats.wakes_coalesced), (1, 2));
/// println!("{stats}");
/// # Ok(())
/// # }
/// ```
///
/// On Linux this prints, for example:
///
/// ```text
/// mio 1.3.0, epoll, linux x86_64
/// polls: 1, interrupted: 0, events: 1
/// wakes: 1 sent, 2 coalesced
/// registrations: 1
/// ```
#[cfg(feature = "stats")]
#[cfg_attr(docsrs, doc(cfg(feature = "stats")))]
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The backend of the poll.
    pub backend: Backend,
    /// The calls of [`Poll::poll`](crate::Poll::poll) that have returned. One
    /// [`poll_until`](crate::Poll::poll_until) may be several.
    pub polls: u64,
    /// How many of them have returned [`Interrupted`](std::io::ErrorKind::Interrupted), because a
    /// signal handler ran.
    pub interrupted_polls: u64,
    /// The events that polls have returned.
    pub events: u64,
    /// The wakes that have signalled the poll. If a signal has failed, its wake is not among them.
    pub wakes_sent: u64,
    /// The wakes that had nothing to do, because an earlier wake of the same
    /// [`Waker`](crate::Waker) was pending. Each call of `wake` that returned `Ok` is either sent
    /// or coalesced.
    pub wakes_coalesced: u64,
    /// The registrations that exist now, of sources and of wakers.
    ///
    /// A registration ends by `deregister`, or when its source or waker is dropped or turned into
    /// another type. Not every end is known:
    ///
    /// - A `SourceFd` counts until it is deregistered. If its descriptor is closed instead, and
    ///   perhaps registered again, the registration stays counted.
    /// - On epoll and kqueue a duplicate of its descriptor may keep a source registered after the
    ///   source was dropped; it no longer counts. A source that is registered with two polls at once
    ///   stays counted by the first one when it is dropped.
    /// - What the program adds to the queue's own descriptor (`as_raw_fd`) does not count.
    pub registrations: u64,
    /// How often the backend has probed a registration: checked, beside the wait for events, whether
    /// it is ready. That happens after an event of a `SourceFd`, after operations that failed, and
    /// while an error or a hang-up lasts (see [`IoSource`](crate::IoSource)). `None` on epoll and
    /// kqueue, whose kernels report edges.
    pub probes: Option<u64>,
    /// How often a thread has ended the wait of the polling thread, so that it takes over a change of
    /// a registration. `None` on epoll and kqueue, which never interrupt a wait.
    pub interrupts: Option<u64>,
}

#[cfg(feature = "stats")]
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, backend) = (env!("CARGO_PKG_VERSION"), self.backend);
        let (system, processor) = (consts::OS, consts::ARCH);
        writeln!(f, "mio {version}, {backend}, {system} {processor}")?;
        let (polls, interrupted, events) = (self.polls, self.interrupted_polls, self.events);
        writeln!(
            f,
            "polls: {polls}, interrupted: {interrupted}, events: {events}"
        )?;
        let (sent, coalesced) = (self.wakes_sent, self.wakes_coalesced);
        writeln!(f, "wakes: {sent} sent, {coalesced} coalesced")?;
        write!(f, "registrations: {}", self.registrations)?;
        if let (Some(probes), Some(interrupts)) = (self.probes, self.interrupts) {
            write!(f, "\nprobes: {probes}, interrupts: {interrupts}")?;
        }
        Ok(())
    }
}

/// A number that any thread changes and reads; nothing without the feature `stats`.
//
// Relaxed everywhere: a number orders nothing, and nothing but the number itself is read through it. A
// thread that has synchronised with another one in some way, as a poll has with the wake that ended it,
// sees what that thread had counted before.
#[derive(Default)]
pub(crate) struct Counter {
    #[cfg(feature = "stats")]
    count: AtomicUsize,
}

impl Counter {
    #[inline]
    #[cfg_attr(not(feature = "stats"), allow(unused_variables))]
    pub(crate) fn add(&self, number: usize) {
        #[cfg(feature = "stats")]
        self.count.fetch_add(number, Ordering::Relaxed);
    }

    /// Counts one down, not below zero: what ends may have begun uncounted.
    #[inline]
    pub(crate) fn subtract_one(&self) {
        #[cfg(feature = "stats")]
        let _ = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                count.checked_sub(1)
            });
    }

    #[cfg(feature = "stats")]
    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed) as u64
    }
}

/// What a queue counts itself, whatever its backend.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) polls: Counter,
    pub(crate) interrupted_polls: Counter,
    pub(crate) events: Counter,
    pub(crate) registrations: Counter,
}

impl Counters {
    /// Counts a poll and its events.
    #[inline]
    pub(crate) fn polled(&self, events: usize) {
        self.polls.add(1);
        self.events.add(events);
    }

    /// Counts a poll that has returned this error.
    pub(crate) fn poll_failed(&self, error: &io::Error) {
        self.polled(0);
        if error.kind() == io::ErrorKind::Interrupted {
            self.interrupted_polls.add(1);
        }
    }
}

/// What a re-arming backend counts.
#[derive(Default)]
pub(crate) struct RearmCounters {
    pub(crate) probes: Counter,
    pub(crate) interrupts: Counter,
}
