//! What a source remembers of its registration, inline.

use std::fmt;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Weak};

use super::error::Mistake;
use super::queue::Queue;
use super::selector::{Failure, Key, Outcome, Owner, RawSource};
use crate::{Interest, Token};

/// The part of a source that knows where it is registered.
///
/// A backend that makes edges itself gives out a key, by which this tells it that
/// I/O would block, and that the source is gone. One whose kernel keeps the
/// registrations gives none, but where closing the descriptor would leave something
/// behind; and then nothing is remembered. In debug builds the queue is, to report
/// a program's mistakes that the kernel would not see.
///
/// A queue that is gone counts as none, and where nothing is remembered the
/// backend answers alone, because the same descriptor may have been registered by
/// other means.
pub(crate) struct Registration {
    known: Known,
}

/// Packed, so that it and a descriptor fit into 16 bytes.
#[derive(Copy, Clone)]
#[repr(C, packed(4))]
struct Known {
    /// A `Weak`, by `Weak::into_raw`. `Registration` owns it.
    queue: Option<NonNull<Queue>>,
    key: Key,
}

const UNKNOWN: Known = Known {
    queue: None,
    key: Key::NONE,
};

// SAFETY: what is in it is a `Weak<Queue>` and a number, which can be sent.
unsafe impl Send for Registration where Weak<Queue>: Send {}
// SAFETY: what is in it is a `Weak<Queue>` and a number, which can be shared.
unsafe impl Sync for Registration where Weak<Queue>: Sync {}

impl Registration {
    /// That of a source which is not registered.
    pub(crate) fn none() -> Registration {
        Registration { known: UNKNOWN }
    }

    // Where nothing is known, which is always so where the kernel keeps the
    // registrations, each of these is the backend's call and nothing else.

    /// Fails with `AlreadyExists` where the source is known to be registered with
    /// another queue.
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
            // It was of a descriptor that is closed by now.
            queue.release(before);
        }
        self.clear();
        self.remember(queue, key);
        Ok(())
    }

    /// Fails with `NotFound` where the source is known to be registered with
    /// another queue.
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

    /// Fails with `NotFound` where the source is known to be registered with
    /// another queue; in every other case forgets the registration.
    #[inline]
    pub(crate) fn deregister(&mut self, queue: &Arc<Queue>, source: RawSource) -> io::Result<()> {
        if self.is_known() {
            return self.deregister_known(queue, source);
        }
        queue
            .deregister(source, Key::NONE)
            .map_err(|error| Mistake::NotRegistered.explain(error))
    }

    #[inline(never)]
    fn deregister_known(&mut self, queue: &Arc<Queue>, source: RawSource) -> io::Result<()> {
        let key = self.key_at(queue, Mistake::NotRegistered)?;
        self.clear();
        queue.deregister(source, key)
    }

    /// Whether the backend has to be told of I/O: where not, none of the following
    /// needs to be called.
    #[inline]
    pub(crate) fn takes_outcomes(&self) -> bool {
        self.known.key != Key::NONE
    }

    /// To be told of the outcome of every I/O call on the source, and of the
    /// direction where it is known.
    #[inline(never)]
    pub(crate) fn after_io<R>(
        &self,
        direction: Option<Interest>,
        outcome: io::Result<R>,
    ) -> io::Result<R> {
        outcome.map_err(|error| {
            match error.kind() {
                io::ErrorKind::WouldBlock => self.report(Outcome::WouldBlock(direction)),
                io::ErrorKind::Interrupted => {}
                _ => self.report(Outcome::Failed(Failure {
                    direction,
                    code: error.raw_os_error(),
                })),
            }
            error
        })
    }

    /// To be told when the pending error was asked for.
    #[cfg(feature = "net")]
    #[inline(never)]
    pub(crate) fn after_taking_error(&self) {
        self.report(Outcome::ErrorTaken);
    }

    /// To be told of every read from a stream or write to one, of `wanted` bytes.
    /// One that came out short has drained the stream, or filled it, as much as
    /// one that would block; and so has one that read the end, where the end need
    /// not be the last one.
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
            Ok(length) if length < wanted && (length > 0 || !end_is_last) => {
                self.report(Outcome::WouldBlock(Some(direction)));
                outcome
            }
            _ => self.after_io(Some(direction), outcome),
        }
    }

    /// To be told of every peek at a stream, for `wanted` bytes: one that comes up short leaves the
    /// stream as it is, but a program that waits for more has seen all that there is.
    #[cfg(feature = "net")]
    #[inline(never)]
    pub(crate) fn after_stream_peek(
        &self,
        wanted: usize,
        outcome: io::Result<usize>,
    ) -> io::Result<usize> {
        match outcome {
            Ok(length) if (1..wanted).contains(&length) => {
                self.report(Outcome::ShortPeek);
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

    #[inline(never)]
    fn release(&self) {
        if let Some(queue) = self.queue().and_then(|queue| queue.upgrade()) {
            queue.release(self.known.key);
        }
    }

    /// Whether anything is known: a key, or in debug builds where it is registered.
    #[inline]
    fn is_known(&self) -> bool {
        let queue = self.known.queue;
        queue.is_some()
    }

    /// The key that it has at this queue; the mistake where it is known to be
    /// registered with another one that still exists.
    #[inline]
    fn key_at(&self, queue: &Arc<Queue>, mistake: Mistake) -> io::Result<Key> {
        let known = self.known.queue;
        // The address is not reused while this `Weak` stands.
        if known.is_some_and(|known| ptr::eq(known.as_ptr(), Arc::as_ptr(queue))) {
            return Ok(self.known.key);
        }
        match self.queue() {
            Some(known) if known.strong_count() > 0 => Err(mistake.into()),
            _ => Ok(Key::NONE),
        }
    }

    fn queue(&self) -> Option<ManuallyDrop<Weak<Queue>>> {
        let queue = self.known.queue?;
        // SAFETY: the pointer is of `Weak::into_raw`, whose count is still owned by
        // `self`; since this `Weak` is never dropped, it stays so.
        Some(ManuallyDrop::new(unsafe { Weak::from_raw(queue.as_ptr()) }))
    }

    /// To be called when nothing is known.
    #[inline]
    fn remember(&mut self, queue: &Arc<Queue>, key: Key) {
        if key != Key::NONE || cfg!(debug_assertions) {
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
            // SAFETY: the pointer is of `Weak::into_raw`, and its count, which was
            // owned by `self`, is taken over: `self` has forgotten it.
            drop(unsafe { Weak::from_raw(queue.as_ptr()) });
        }
    }
}

impl Drop for Registration {
    /// Ends the registration where the backend has given a key. On the others it
    /// ends when the descriptor is closed.
    #[inline]
    fn drop(&mut self) {
        if self.takes_outcomes() {
            self.release();
        }
        self.clear();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &{ self.known.key })
            .finish_non_exhaustive()
    }
}
