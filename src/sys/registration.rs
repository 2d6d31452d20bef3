//! The registration that a source stores inline.

use std::fmt;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Weak};

use super::error::{kind, Mistake};
use super::queue::Queue;
use super::selector::{Failure, Key, Outcome, Owner, RawSource};
use crate::{Interest, Token};

/// The part of a source that knows where it is registered.
///
/// A re-arming backend returns a key. With it the source reports that I/O would block,
/// and that it is dropped. A backend whose kernel stores the registrations returns a key
/// only if closing the descriptor would leave something behind. Without a key nothing is
/// stored, except in debug builds, which store the queue to report mistakes that the kernel
/// does not see, and with the feature `stats`, by which the drop of a registered source is counted.
///
/// A queue that was dropped counts as none. If nothing is stored, the backend alone
/// decides, because the program may have registered the same descriptor by other means.
pub(crate) struct Registration {
    known: Known,
}

/// Packed, so that it and a descriptor fit into 16 bytes.
#[derive(Copy, Clone)]
#[repr(C, packed(4))]
struct Known {
    /// A `Weak` as returned by `Weak::into_raw`. `Registration` owns its count.
    queue: Option<NonNull<Queue>>,
    key: Key,
}

/// The queue is stored even if there is no key.
const STORES_QUEUES: bool = cfg!(any(debug_assertions, feature = "stats"));

const UNKNOWN: Known = Known {
    queue: None,
    key: Key::NONE,
};

// SAFETY: it consists of an owned `Weak<Queue>`, which is `Send` here, and an integer.
unsafe impl Send for Registration where Weak<Queue>: Send {}
// SAFETY: it consists of an owned `Weak<Queue>`, which is `Sync` here, and an integer.
unsafe impl Sync for Registration where Weak<Queue>: Sync {}

impl Registration {
    /// The registration of a source that is not registered.
    pub(crate) fn none() -> Registration {
        Registration { known: UNKNOWN }
    }

    /// The registration of a waker's descriptor.
    #[cfg(unix)]
    #[inline(never)]
    pub(super) fn of_waker(
        queue: &Arc<Queue>,
        fd: RawSource,
        token: Token,
    ) -> io::Result<Registration> {
        let mut registration = Registration::none();
        registration.register(queue, fd, token, Interest::READABLE, Owner::Waker)?;
        Ok(registration)
    }

    // If nothing is stored, as in release builds if the kernel stores the registrations, each of these
    // is the backend's call and nothing else.

    /// Fails with `AlreadyExists` if the source is known to be registered with another
    /// queue.
    #[inline]
    pub(crate) fn register(
        &mut self,
        queue: &Arc<Queue>,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<()> {
        if self.is_known() {
            return self.register_known(queue, source, token, interest, owner);
        }
        let key = queue.register(source, token, interest, owner)?;
        queue.counters().registrations.add(1);
        self.remember(queue, key);
        Ok(())
    }

    #[inline(never)]
    fn register_known(
        &mut self,
        queue: &Arc<Queue>,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<()> {
        let mistake = Mistake::AlreadyRegistered;
        let before = self.key_at(queue, mistake)?;
        let key = queue
            .register(source, token, interest, owner)
            .map_err(|error| mistake.explain(error))?;
        if before != Key::NONE && before != key {
            // It belongs to a descriptor that has been closed.
            queue.release(before);
        }
        if !self.is_of(queue) {
            queue.counters().registrations.add(1);
        }
        self.clear();
        self.remember(queue, key);
        Ok(())
    }

    /// Fails with `NotFound` if the source is known to be registered with another
    /// queue.
    #[inline]
    pub(crate) fn reregister(
        &mut self,
        queue: &Arc<Queue>,
        source: RawSource,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if self.is_known() {
            return self.reregister_known(queue, source, token, interest);
        }
        let key = queue
            .reregister(source, Key::NONE, token, interest)
            .map_err(|error| Mistake::NotRegistered.explain(error))?;
        self.remember(queue, key);
        Ok(())
    }

    #[inline(never)]
    fn reregister_known(
        &mut self,
        queue: &Arc<Queue>,
        source: RawSource,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let before = self.key_at(queue, Mistake::NotRegistered)?;
        let key = queue.reregister(source, before, token, interest)?;
        if key != before {
            self.clear();
            self.remember(queue, key);
        }
        Ok(())
    }

    /// Fails with `NotFound` if the source is known to be registered with another
    /// queue. Otherwise clears the registration, even if the backend fails.
    #[inline]
    pub(crate) fn deregister(&mut self, queue: &Arc<Queue>, source: RawSource) -> io::Result<()> {
        if self.is_known() {
            return self.deregister_known(queue, source);
        }
        queue
            .deregister(source, Key::NONE)
            .map_err(|error| Mistake::NotRegistered.explain(error))?;
        queue.counters().registrations.subtract_one();
        Ok(())
    }

    #[inline(never)]
    fn deregister_known(&mut self, queue: &Arc<Queue>, source: RawSource) -> io::Result<()> {
        let key = self.key_at(queue, Mistake::NotRegistered)?;
        let is_counted = self.is_of(queue);
        self.clear();
        let deregistered = queue.deregister(source, key);
        if is_counted || deregistered.is_ok() {
            queue.counters().registrations.subtract_one();
        }
        deregistered
    }

    /// Whether the backend takes outcomes of I/O. If not, the following methods need not be
    /// called.
    #[inline]
    pub(crate) fn takes_outcomes(&self) -> bool {
        self.known.key != Key::NONE
    }

    /// Takes the outcome of every I/O call on the source, and its direction if it is
    /// known.
    #[inline(never)]
    pub(crate) fn after_io<R>(
        &self,
        direction: Option<Interest>,
        outcome: io::Result<R>,
    ) -> io::Result<R> {
        outcome.map_err(|error| self.after_error(direction, error))
    }

    fn after_error(&self, direction: Option<Interest>, error: io::Error) -> io::Error {
        match kind(&error) {
            io::ErrorKind::WouldBlock => self.report(Outcome::WouldBlock(direction)),
            io::ErrorKind::Interrupted => {}
            _ => self.report(Outcome::Failed(Failure {
                direction,
                code: error.raw_os_error(),
            })),
        }
        error
    }

    /// Takes the outcome of asking for the pending error.
    #[cfg(feature = "net")]
    #[inline(never)]
    pub(crate) fn after_taking_error(
        &self,
        outcome: io::Result<Option<io::Error>>,
    ) -> io::Result<Option<io::Error>> {
        let found = matches!(outcome, Ok(Some(_)));
        self.report(Outcome::ErrorTaken { found });
        outcome
    }

    /// Takes the outcome of every read or write of `wanted` bytes on a stream. A short
    /// transfer has drained or filled the stream like one that would block. A read of the
    /// end drains nothing, but more may follow, unless `end_is_last`.
    #[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
    #[inline(never)]
    pub(crate) fn after_stream_io(
        &self,
        direction: Interest,
        wanted: usize,
        end_is_last: bool,
        outcome: io::Result<usize>,
    ) -> io::Result<usize> {
        match outcome {
            Ok(length) if length < wanted && length > 0 => {
                self.report(Outcome::WouldBlock(Some(direction)));
                outcome
            }
            Ok(0) if wanted > 0 && !end_is_last => {
                self.report(Outcome::NothingDrained);
                outcome
            }
            _ => self.after_io(Some(direction), outcome),
        }
    }

    /// Takes the outcome of every peek at a stream for `wanted` bytes. A short peek drains nothing, but a
    /// program that waits for more bytes has seen all that have arrived.
    #[cfg(feature = "net")]
    #[inline(never)]
    pub(crate) fn after_stream_peek(
        &self,
        wanted: usize,
        outcome: io::Result<usize>,
    ) -> io::Result<usize> {
        match outcome {
            Ok(length) if (1..wanted).contains(&length) => {
                self.report(Outcome::NothingDrained);
                outcome
            }
            _ => self.after_io(Some(Interest::READABLE), outcome),
        }
    }

    fn report(&self, outcome: Outcome) {
        if let Some(queue) = self.queue().and_then(|queue| queue.upgrade()) {
            queue.after_io(self.known.key, outcome);
        }
    }

    /// Counts the end of a registration that is dropped.
    fn count_end(&self) {
        if let Some(queue) = self.queue().and_then(|queue| queue.upgrade()) {
            queue.counters().registrations.subtract_one();
        }
    }

    #[inline(never)]
    fn release(&self) {
        if let Some(queue) = self.queue().and_then(|queue| queue.upgrade()) {
            queue.release(self.known.key);
        }
    }

    /// Whether anything is stored: a queue and a key, or in debug builds a queue.
    #[inline]
    fn is_known(&self) -> bool {
        let queue = self.known.queue;
        queue.is_some()
    }

    /// Whether a queue that still exists is stored, for `Debug`.
    #[cfg(any(feature = "net", all(unix, feature = "os-ext")))]
    #[inline(never)]
    pub(crate) fn is_live(&self) -> bool {
        self.queue().is_some_and(|queue| queue.strong_count() > 0)
    }

    /// The source's key at this queue. Fails with `mistake` if the source is known to be registered
    /// with another queue that still exists.
    #[inline]
    fn key_at(&self, queue: &Arc<Queue>, mistake: Mistake) -> io::Result<Key> {
        if self.is_of(queue) {
            return Ok(self.known.key);
        }
        // In release builds the feature `stats` makes no difference.
        let is_checked = cfg!(debug_assertions) || self.takes_outcomes();
        match self.queue() {
            Some(known) if is_checked && known.strong_count() > 0 => Err(mistake.into()),
            _ => Ok(Key::NONE),
        }
    }

    /// Whether the source is known to be registered with this queue.
    #[inline]
    fn is_of(&self, queue: &Arc<Queue>) -> bool {
        let known = self.known.queue;
        // The allocator does not reuse the address while this `Weak` exists.
        known.is_some_and(|known| ptr::eq(known.as_ptr(), Arc::as_ptr(queue)))
    }

    fn queue(&self) -> Option<ManuallyDrop<Weak<Queue>>> {
        let queue = self.known.queue?;
        // SAFETY: the pointer comes from `Weak::into_raw`, and `self` owns its count. It keeps the
        // count, because `ManuallyDrop` never drops this `Weak`.
        Some(ManuallyDrop::new(unsafe { Weak::from_raw(queue.as_ptr()) }))
    }

    /// To be called while nothing is stored.
    #[inline]
    fn remember(&mut self, queue: &Arc<Queue>, key: Key) {
        if key != Key::NONE || STORES_QUEUES {
            self.store(queue, key);
        }
    }

    #[inline(never)]
    fn store(&mut self, queue: &Arc<Queue>, key: Key) {
        let weak = Weak::into_raw(Arc::downgrade(queue));
        self.known = Known {
            queue: NonNull::new(weak.cast_mut()),
            key,
        };
    }

    #[inline]
    fn clear(&mut self) {
        if self.is_known() {
            self.clear_known();
        }
    }

    #[inline(never)]
    fn clear_known(&mut self) {
        let known = mem::replace(&mut self.known, UNKNOWN);
        if let Some(queue) = known.queue {
            // SAFETY: the pointer comes from `Weak::into_raw`. `self` owned its count, and has just
            // given the pointer up, so the count is released once.
            drop(unsafe { Weak::from_raw(queue.as_ptr()) });
        }
    }
}

impl Drop for Registration {
    /// Releases the key, which ends the registration. Without a key, closing the descriptor ends
    /// it.
    #[inline]
    fn drop(&mut self) {
        if self.takes_outcomes() {
            self.release();
        }
        if cfg!(feature = "stats") {
            self.count_end();
        }
        self.clear();
    }
}

/// The backend, if it is known, and token and interests, if the backend has them.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Registration");
        if let Some(queue) = self.queue().and_then(|queue| queue.upgrade()) {
            shown.field("backend", &queue.backend());
            let registered = match self.known.key {
                Key::NONE => None,
                // Copied: the writer may use a source of the same queue, and the queue has a lock.
                key => queue.registered(key),
            };
            if let Some((token, interests)) = registered {
                shown.field("token", &token).field("interests", &interests);
            }
        }
        shown.finish()
    }
}
