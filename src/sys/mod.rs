//! What the operating system does for this crate: the contract that every
//! backend keeps, the table of which system has which, and the queue that
//! stands on one of them. Start here.
//!
//! All `unsafe` is under this folder, in small safe wrappers around one call.

use std::io;
#[cfg(unix)]
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::pending::PendingWakes;
use crate::{Backend, Interest, Token};

mod none;
#[cfg(unix)]
pub(crate) mod pipe;
mod registration;
#[cfg(feature = "net")]
pub(crate) mod socket;
#[cfg(unix)]
mod wake;

pub(crate) use registration::Registration;
#[cfg(unix)]
pub(crate) use wake::WakeFd;

// ---------------------------------------------------------------- THE CONTRACT

/// The contract: what a backend has to do. `Poll` and `Registry` add nothing.
///
/// **Edges.** An event is reported when readiness *begins* after a call of
/// `register` or `reregister`, or after an I/O call that would have blocked; a
/// source that is ready when it is registered is reported. Further events may
/// be spurious; none may be missing.
///
/// **Deregistering** is final: a `select` that begins after `deregister` has
/// returned does not report the registration.
///
/// **Threads.** All methods may be called while another thread is in `select`,
/// and take effect at once.
///
/// **Errors.** A `register` that fails has registered nothing.
///
/// **Dropping** closes the backend's descriptors and makes no other call: a
/// forked child that drops what it inherited does not harm its parent.
///
/// **Memory.** After `open`, nothing is allocated but the amortised growth of
/// a table.
pub(crate) trait Selector: Sized {
    /// A new, empty queue; its descriptors are closed on exec.
    fn open() -> io::Result<Self>;

    /// Waits until there is an event, or for as long as `timeout` says (rounded
    /// up to what the system can; `None` is for ever), and replaces the
    /// contents of `events`.
    ///
    /// At most `events.capacity()` events are taken; the others come with the
    /// next calls, so that no source starves. Fails with `InvalidInput` where
    /// the capacity is 0, with `Interrupted` when a signal ended the wait, and
    /// with nothing else while the descriptor is sound; `events` is then empty.
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()>;

    /// Begins to watch. What happens to a source that is watched already, and
    /// which ones cannot be, is each backend's to say.
    ///
    /// A backend that keeps the registration itself, and has to know when it ends
    /// and when I/O would block, returns its key.
    fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key>;

    /// Replaces token and interest; `NotFound` where the source is not watched.
    /// What is ready is reported anew. The registration is the one with the key,
    /// or, where that is `NONE`, the one of the descriptor.
    fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<()>;

    /// Ends watching; `NotFound` where the source is not watched. The
    /// registration is the one with the key, or, where that is `NONE`, the one of
    /// the descriptor.
    fn deregister(&self, source: RawSource, key: Key) -> io::Result<()>;

    /// To be told of how an operation on the source with this key came out, where
    /// that matters. Never called without a key.
    fn after_io(&self, key: Key, outcome: Outcome);

    /// Ends the registration of a source that is dropped. Never called without a
    /// key.
    fn forget(&self, key: Key);

    /// The queue's own descriptor, for nesting it in another one.
    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_>;
}

// ------------------------------------------------------------------- THE TABLE
//
// One row an operating system: its backends, the default one first. A backend that
// a system lacks is `none::Absent`, a type without values, so that what matches on
// it costs nothing.

/// Linux: epoll, and poll(2).
#[cfg(all(feature = "os-poll", target_os = "linux"))]
mod system {
    pub(crate) use super::epoll::Epoll;
    pub(crate) use super::poll::Poll;
    use crate::Backend;

    #[cfg(not(mio_unsupported_force_poll_poll))]
    pub(crate) const BACKENDS: &[Backend] = &[Backend::Epoll, Backend::Poll];
    #[cfg(mio_unsupported_force_poll_poll)]
    pub(crate) const BACKENDS: &[Backend] = &[Backend::Poll, Backend::Epoll];
}

/// Without `os-poll` no system has anything.
#[cfg(not(feature = "os-poll"))]
mod system {
    pub(crate) use super::none::{Absent as Epoll, Absent as Poll};

    pub(crate) const BACKENDS: &[crate::Backend] = &[];
}

#[cfg(all(feature = "os-poll", target_os = "linux"))]
mod epoll;
#[cfg(all(feature = "os-poll", target_os = "linux"))]
mod poll;
#[cfg(all(feature = "os-poll", target_os = "linux"))]
mod rearm;

#[cfg(not(target_os = "linux"))]
compile_error!("this version of mio has a backend for Linux only");

// ------------------------------------------------------- what stands on a row

/// What an operating system calls a source.
#[cfg(unix)]
pub(crate) type RawSource = RawFd;

pub(crate) use system::BACKENDS;

/// Who does the I/O on what is registered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An `IoSource`, which tells when I/O would block, and deregisters when it is
    /// dropped.
    Source,
    /// Nobody that is known: a bare descriptor.
    Nobody,
    /// A waker. Whoever reports its event reads what made it readable, where that
    /// is needed to end it.
    Waker,
}

/// How an operation came out, to a backend that makes edges itself.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It would have blocked, or as good as that, in a direction that is not known
    /// where `None`.
    WouldBlock(Option<Interest>),
    /// It failed, or asked for the error that was pending.
    Failed,
}

/// What a backend calls a registration, where it keeps registrations itself.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    /// That of a registration which the kernel keeps, or of none.
    pub(crate) const NONE: Key = Key(0);

    const GENERATION_BITS: u32 = 12;
    /// Generations go from 0 to this, and start over.
    pub(crate) const GENERATIONS: u32 = 1 << Self::GENERATION_BITS;
    /// How many slots there are.
    pub(crate) const SLOTS: usize = (1 << (32 - Self::GENERATION_BITS)) - 1;

    fn new(slot: u32, generation: u32) -> Key {
        Key(((slot + 1) << Self::GENERATION_BITS) | generation)
    }

    /// Slot and generation.
    fn parts(self) -> Option<(u32, u32)> {
        let slot = (self.0 >> Self::GENERATION_BITS).checked_sub(1)?;
        Some((slot, self.0 % Self::GENERATIONS))
    }
}

/// Events as the kernel and the program see them, allocated once.
///
/// Every backend of this system writes `Event`s directly; one whose kernel has
/// another format keeps room for that here too.
pub(crate) struct EventBuffer {
    events: Vec<Event>,
}

impl EventBuffer {
    pub(crate) fn with_capacity(capacity: usize) -> EventBuffer {
        EventBuffer {
            events: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }

    fn is_full(&self) -> bool {
        self.events.len() == self.events.capacity()
    }

    /// To be called when it is not full.
    fn push(&mut self, event: Event) {
        debug_assert!(!self.is_full());
        self.events.push(event);
    }
}

/// One event queue: a backend, chosen when it is opened, and the wake-ups that
/// are pending on it. Shared by a `Poll` and the clones of its `Registry`.
#[derive(Debug)]
pub(crate) struct Queue {
    backend: AnySelector,
    wakes: Arc<PendingWakes>,
}

#[derive(Debug)]
enum AnySelector {
    Epoll(system::Epoll),
    Poll(system::Poll),
}

/// Calls a method of the backend that a queue stands on.
macro_rules! dispatch {
    ($queue:expr, $method:ident($($argument:expr),*)) => {
        match &$queue.backend {
            AnySelector::Epoll(selector) => selector.$method($($argument),*),
            AnySelector::Poll(selector) => selector.$method($($argument),*),
        }
    };
}

impl Queue {
    pub(crate) fn open(backend: Backend) -> io::Result<Queue> {
        let opened = match backend {
            Backend::Epoll => AnySelector::Epoll(Selector::open()?),
            Backend::Poll => AnySelector::Poll(Selector::open()?),
            absent => return Err(unsupported(absent)),
        };
        Ok(Queue {
            backend: opened,
            wakes: Arc::new(PendingWakes::new()),
        })
    }

    pub(crate) fn backend(&self) -> Backend {
        match &self.backend {
            AnySelector::Epoll(_) => Backend::Epoll,
            AnySelector::Poll(_) => Backend::Poll,
        }
    }

    #[inline]
    pub(crate) fn select(
        &self,
        events: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let selected = dispatch!(self, select(events, timeout));
        // Whatever came of it: a wake from now on belongs to the next call.
        self.wakes.take();
        selected
    }

    pub(crate) fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key> {
        dispatch!(self, register(source, token, interest, owner))
    }

    pub(crate) fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        dispatch!(self, reregister(source, key, token, interest))
    }

    pub(crate) fn deregister(&self, source: RawSource, key: Key) -> io::Result<()> {
        dispatch!(self, deregister(source, key))
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        dispatch!(self, after_io(key, outcome))
    }

    fn forget(&self, key: Key) {
        dispatch!(self, forget(key))
    }

    /// The wake-ups pending on this queue. They outlive it where wakers do, and
    /// the wakers then wake nobody.
    pub(crate) fn wakes(&self) -> &Arc<PendingWakes> {
        &self.wakes
    }

    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        dispatch!(self, as_fd())
    }
}

fn unsupported(backend: Backend) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the {backend} backend is not available on this system"),
    )
}

/// Turns the -1 of a failed call into the error that it left in `errno`.
#[cfg(unix)]
fn cvt<T: PartialOrd + From<i8>>(result: T) -> io::Result<T> {
    // Of the calls that this is used for, none returns another negative value.
    if result < T::from(0) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

const NANOS_PER_MILLI: u32 = 1_000_000;

/// The timeout in milliseconds where it is a whole number of them, and one that a
/// call with such a timeout can take (24 days).
#[inline]
fn whole_millis(timeout: Duration) -> Option<i32> {
    const MAX_SECONDS: u64 = i32::MAX as u64 / 1000 - 1;

    let nanos = timeout.subsec_nanos();
    if nanos % NANOS_PER_MILLI == 0 && timeout.as_secs() <= MAX_SECONDS {
        Some(timeout.as_secs() as i32 * 1000 + (nanos / NANOS_PER_MILLI) as i32)
    } else {
        None
    }
}
