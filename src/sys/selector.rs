//! The contract of a backend, the trait [`Selector`], and the types that it uses.

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
use crate::event::readiness::Readiness;
use crate::event::Event;
#[cfg(feature = "stats")]
use crate::stats::RearmCounters;
use crate::{Interest, Token};

/// What a backend does. `Poll` and `Registry` add nothing to it.
///
/// **Edges.** A backend reports an event when readiness *begins* after
/// `register`, `reregister` or an I/O call that would have blocked. It reports a
/// source that is ready when it is registered. It may report spurious events; it
/// misses none.
///
/// **Deregistering** is final: a `select` that begins after `deregister` has
/// returned does not report the registration.
///
/// **Threads.** Every method may be called while another thread is in `select`,
/// and takes effect at once.
///
/// **Errors.** A `register` that fails registers nothing.
///
/// **Dropping** closes the backend's descriptors and makes no other call, so a
/// forked child that drops an inherited queue does not harm its parent.
///
/// **Memory.** After `open`, a backend allocates nothing except for the amortised
/// growth of a table.
pub(crate) trait Selector: Sized {
    /// Opens a new, empty queue. Its descriptors are closed on exec.
    fn open() -> io::Result<Self>;

    /// Waits for an event, or until the timeout ends, and replaces the contents of
    /// `events`. The timeout is rounded up to the system's resolution; `None` waits
    /// for ever.
    ///
    /// At most `events.capacity()` events are returned; later calls return the
    /// others, so that no source starves. Fails with `InvalidInput` if the capacity
    /// is 0, and with `Interrupted` if a signal ends the wait (never with timeout
    /// zero). While the queue's descriptor is valid there is no other error. After
    /// an error `events` is empty.
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()>;

    /// Registers a source. Each backend documents what it does with a source that is
    /// already registered, and which sources it refuses.
    ///
    /// A backend that stores the registration itself, and therefore needs to know when
    /// it ends and when I/O would block, returns its key.
    fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key>;

    /// Replaces token and interest, and reports again what is ready. Fails with
    /// `NotFound` if the source is not registered. The key selects the registration;
    /// if the key is `NONE`, the descriptor does, and the source takes over a raw
    /// descriptor's registration. Returns the registration's key from now on.
    fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<Key>;

    /// Like `reregister`, but for a raw descriptor, which has no key.
    #[cfg(all(unix, feature = "os-ext"))]
    #[inline]
    fn reregister_raw(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.reregister(fd, Key::NONE, token, interest)?;
        Ok(())
    }

    /// Deregisters a source. Fails with `NotFound` if it is not registered. The key
    /// selects the registration; if the key is `NONE`, the descriptor does.
    fn deregister(&self, source: RawSource, key: Key) -> io::Result<()>;

    /// Takes the outcome of an operation on the source with this key, if the outcome
    /// can matter to a backend. Never called with `Key::NONE`.
    fn after_io(&self, key: Key, outcome: Outcome);

    /// Releases the key of a source that is dropped, and ends its registration.
    /// Never called with `Key::NONE`.
    fn release(&self, key: Key);

    /// The token and the interests of a registration, if the backend stores them. Returns copies, and
    /// holds no lock afterwards. Never called with `Key::NONE`.
    fn registered(&self, _key: Key) -> Option<(Token, Interest)> {
        None
    }

    /// Opens a user event, which wakes without a descriptor, if the queue has such
    /// events. However often it is triggered between two polls, it is reported once,
    /// as readable.
    fn open_user_event(&self, _token: Token) -> io::Result<Option<UserEvent>> {
        Ok(None)
    }

    /// Triggers a user event. Never called on a queue without user events.
    fn trigger(&self, _event: UserEvent) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Closes a user event. If it was triggered and not reported, it is never reported.
    fn close_user_event(&self, _event: UserEvent) {}

    /// Watches for the exit of a process, which is then reported once, as readable. Replaces an
    /// earlier watch of the same number. Fails with ESRCH if the process has exited, and with `Unsupported`
    /// if the kernel's queue does not watch processes.
    #[cfg(all(unix, feature = "os-ext"))]
    fn watch_exit(&self, _pid: libc::pid_t, _token: Token) -> io::Result<ExitWatch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends a watch, unless another one has replaced it. Never called on a queue that does not watch
    /// processes.
    #[cfg(all(unix, feature = "os-ext"))]
    fn end_exit_watch(&self, _pid: libc::pid_t, _watch: ExitWatch) {}

    /// The count of unread signals, if the queue reads its wakers' descriptors.
    #[cfg(unix)]
    fn unread_signals(&self) -> Option<&Arc<UnreadSignals>> {
        None
    }

    /// What the backend counts, if it probes registrations and interrupts waits.
    #[cfg(feature = "stats")]
    fn rearm_counters(&self) -> Option<&RearmCounters> {
        None
    }

    /// The queue's own descriptor, for nesting the queue in another queue.
    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// For a backend whose kernel has no exclusive registrations.
#[allow(dead_code)] // where no such backend has sources that ask for it
pub(super) fn refuse_exclusive(interest: Interest) -> io::Result<()> {
    match interest.is_exclusive() {
        true => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this backend has no exclusive registrations",
        )),
        false => Ok(()),
    }
}

/// What an operating system calls a source.
#[cfg(unix)]
pub(crate) type RawSource = RawFd;
#[cfg(windows)]
pub(crate) type RawSource = RawSocket;

/// What owns a registration, and does the I/O on its descriptor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(dead_code)] // Windows has neither raw descriptors nor wakers' descriptors
pub(crate) enum Owner {
    /// An `IoSource`, which reports `WouldBlock`, and deregisters when it is dropped.
    Source,
    /// A raw descriptor: nothing reports its I/O.
    RawFd,
    /// A waker. A backend that has to drain the descriptor does so when it reports the
    /// event.
    Waker,
}

/// The outcome of an operation, for a backend that re-arms.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It would have blocked, or a stream transfer came up short. `None` stands for an unknown
    /// direction.
    WouldBlock(Option<Interest>),
    /// It failed.
    Failed(Failure),
    /// A peek at a stream returned fewer bytes than the buffer holds, or a read found the end of a pipe,
    /// which may get another sender. The kernel may go on to report both.
    #[cfg_attr(not(any(feature = "net", feature = "os-ext")), allow(dead_code))]
    NothingDrained,
    /// The program asked for the pending error. `found` if there was one.
    #[cfg_attr(not(feature = "net"), allow(dead_code))] // only sockets have one
    ErrorTaken {
        #[cfg_attr(windows, allow(dead_code))] // there an error has no readiness of its own
        found: bool,
    },
}

/// A failed operation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `None` stands for an unknown direction.
    #[cfg_attr(unix, allow(dead_code))] // there a probe finds out which direction is ready
    pub(super) direction: Option<Interest>,
    /// The system's error code, where the error has one.
    #[cfg_attr(unix, allow(dead_code))] // as above
    pub(super) code: Option<i32>,
}

/// The slot of a registration in a backend that stores registrations itself. One source has the key,
/// and gives it back by [`release`](Selector::release) or `deregister`. Until then the slot is not
/// reused, even if the registration has ended in another way.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(super) u32);

impl Key {
    /// No key: the kernel stores the registration, or there is no registration.
    pub(crate) const NONE: Key = Key(0);

    /// The maximum number of slots.
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

/// A user event: see `Selector::open_user_event`.
#[derive(Copy, Clone, Debug)]
#[allow(dead_code)] // where no backend has user events
pub(crate) struct UserEvent {
    pub(super) ident: usize,
    pub(super) token: Token,
}

/// The number of a watch for the exit of a process. No other watch of the queue has it.
#[cfg(all(unix, feature = "os-ext"))]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExitWatch(pub(super) u64);

/// The events of a poll, as the kernel writes them and as the program reads them,
/// allocated once.
///
/// A kernel whose event has the layout of `Event` writes into `events` directly.
/// Other kernels write into `kernel`. If no backend of the system needs `kernel`,
/// `KernelEvent` is `()`, which takes no memory.
pub(crate) struct EventBuffer {
    pub(super) events: Vec<Event>,
    /// Always empty: only its capacity is used.
    #[allow(dead_code)] // where no backend needs it
    pub(super) kernel: Vec<KernelEvent>,
}

impl EventBuffer {
    #[inline(never)]
    pub(crate) fn with_capacity(capacity: usize) -> EventBuffer {
        EventBuffer {
            events: Vec::with_capacity(capacity),
            kernel: Vec::with_capacity(capacity),
        }
    }

    /// Grows to at least this capacity. The events stay.
    #[inline]
    pub(crate) fn grow(&mut self, capacity: usize) {
        if capacity > self.capacity() {
            // What the kernel wrote has been read.
            let mut grown = EventBuffer::with_capacity(capacity);
            grown.events.append(&mut self.events);
            *self = grown;
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

    /// Adds readiness to an event that is in the buffer.
    #[allow(dead_code)] // on a system whose kernels have one event for a registration
    pub(super) fn merge(&mut self, index: usize, ready: Readiness) {
        let event = &mut self.events[index];
        *event = event.with(ready);
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.events.len() == self.events.capacity()
    }

    /// Must not be called on a full buffer.
    #[inline]
    pub(super) fn push(&mut self, event: Event) {
        debug_assert!(!self.is_full());
        self.events.push(event);
    }
}
