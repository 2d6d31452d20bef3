//! The contract that every backend keeps, and the words in which it is written.

use std::io;
#[cfg(unix)]
use std::os::fd::{BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::RawSocket;
#[cfg(unix)]
use std::sync::Arc;
use std::time::Duration;

use super::kernel_event::KernelEvent;
#[cfg(unix)]
use super::wake_fd::UnreadSignals;
use crate::event::Event;
use crate::{Interest, Token};

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
    /// the capacity is 0, with `Interrupted` when a signal ended the wait (never
    /// where the timeout is zero), and with nothing else while the descriptor is
    /// sound; `events` is then empty.
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()>;

    /// Begins to watch. What happens to a source that is watched already, and
    /// which ones cannot be, is each backend's to say.
    ///
    /// A backend that keeps something of the registration itself, and has to know when
    /// it ends and when I/O would block, returns its key.
    fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key>;

    /// Replaces token and interest; `NotFound` where the source is not watched.
    /// What is ready is reported anew. The registration is the one with the key,
    /// or, where that is `NONE`, the one of the descriptor, which becomes the
    /// source's. Returns the key that it has from now on.
    fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<Key>;

    /// As `reregister`, but by a raw descriptor, which has no key.
    #[cfg(unix)]
    #[inline]
    fn reregister_raw(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.reregister(fd, Key::NONE, token, interest)?;
        Ok(())
    }

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

    /// An event that is not a descriptor's, for waking, where the queue has such.
    /// Reported once for any number of times that it was triggered, as readable.
    fn open_user_event(&self, _token: Token) -> io::Result<Option<UserEvent>> {
        Ok(None)
    }

    /// Never called where there are none.
    fn trigger(&self, _event: UserEvent) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends it; one that was triggered and not reported is not any more.
    fn close_user_event(&self, _event: UserEvent) {}

    /// Where the queue reads the descriptors of its wakers.
    #[cfg(unix)]
    fn unread_signals(&self) -> Option<&Arc<UnreadSignals>> {
        None
    }

    /// The queue's own descriptor, for nesting it in another one.
    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// What an operating system calls a source.
#[cfg(unix)]
pub(crate) type RawSource = RawFd;
#[cfg(windows)]
pub(crate) type RawSource = RawSocket;

/// Who does the I/O on what is registered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(dead_code)] // on Windows there are neither bare descriptors nor wakers' own
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

/// The outcome of an operation, to a backend that re-arms.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It would have blocked, or a stream's transfer came up short; in an unknown direction where
    /// `None`.
    WouldBlock(Option<Interest>),
    /// It failed; likewise.
    Failed(Option<Interest>),
    /// A peek at a stream came up short.
    #[cfg_attr(not(feature = "net"), allow(dead_code))] // only sockets can be peeked at
    ShortPeek,
    /// The error that was pending has been asked for.
    #[cfg_attr(not(feature = "net"), allow(dead_code))] // only sockets have one
    ErrorTaken,
}

/// What a backend calls a registration, where it keeps registrations itself: its slot. One source has
/// it, and gives it back by [`forget`](Selector::forget) or `deregister`; until then the slot is not
/// used again, even if the registration has ended in another way.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(super) u32);

impl Key {
    /// That of a registration which the kernel keeps, or of none.
    pub(crate) const NONE: Key = Key(0);

    /// How many slots there may be.
    pub(super) const SLOTS: usize = (1 << 31) - 1;

    #[inline]
    pub(super) fn of_slot(slot: u32) -> Key {
        Key(slot + 1)
    }

    #[inline]
    pub(super) fn slot(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// An event of a queue's own: see `Selector::open_user_event`.
#[derive(Copy, Clone, Debug)]
#[allow(dead_code)] // where no backend has such
pub(crate) struct UserEvent {
    pub(super) ident: usize,
    pub(super) token: Token,
}

/// Events as the kernel and the program see them, allocated once.
///
/// A kernel whose format is `Event`'s writes them directly; for another there is
/// room beside. `()`, where no backend of the system needs that, takes none.
pub(crate) struct EventBuffer {
    pub(super) events: Vec<Event>,
    /// Always empty: room only.
    #[allow(dead_code)] // where no backend needs it
    pub(super) kernel: Vec<KernelEvent>,
}

impl EventBuffer {
    pub(crate) fn with_capacity(capacity: usize) -> EventBuffer {
        EventBuffer {
            events: Vec::with_capacity(capacity),
            kernel: Vec::with_capacity(capacity),
        }
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    #[inline]
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.events.len() == self.events.capacity()
    }

    /// To be called when it is not full.
    #[inline]
    pub(super) fn push(&mut self, event: Event) {
        debug_assert!(!self.is_full());
        self.events.push(event);
    }
}
