//! What a source remembers of its registration, inline.

use std::io;
use std::sync::Arc;
#[cfg(debug_assertions)]
use std::sync::Weak;

use super::{Queue, RawSource};
use crate::{Interest, Token};

/// The part of an `IoSource` that knows where the source is registered.
///
/// The backends of this system keep their registrations in the kernel, so there
/// is nothing to know, and in release builds this is empty. In debug builds it
/// remembers the queue, to report a program's mistakes that the kernel would
/// not see. A queue that is gone counts as none, and where nothing is
/// remembered the kernel answers alone, because the same descriptor may have
/// been registered by other means.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    #[cfg(debug_assertions)]
    queue: Option<Weak<Queue>>,
}

impl Registration {
    /// Fails with `AlreadyExists` in debug builds where the source is
    /// registered with another queue.
    pub(crate) fn register(
        &mut self,
        queue: &Arc<Queue>,
        source: RawSource,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        #[cfg(debug_assertions)]
        if self.is_elsewhere(queue) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        queue.register(source, token, interest)?;
        #[cfg(debug_assertions)]
        {
            self.queue = Some(Arc::downgrade(queue));
        }
        Ok(())
    }

    /// Fails with `NotFound` in debug builds where the source is registered
    /// with another queue.
    pub(crate) fn reregister(
        &mut self,
        queue: &Arc<Queue>,
        source: RawSource,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        #[cfg(debug_assertions)]
        if self.is_elsewhere(queue) {
            return Err(io::ErrorKind::NotFound.into());
        }
        queue.reregister(source, token, interest)
    }

    /// Fails with `NotFound` in debug builds where the source is registered
    /// with another queue; in every other case forgets the registration.
    pub(crate) fn deregister(&mut self, queue: &Arc<Queue>, source: RawSource) -> io::Result<()> {
        #[cfg(debug_assertions)]
        {
            if self.is_elsewhere(queue) {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.queue = None;
        }
        queue.deregister(source)
    }

    /// To be told of the outcome of every I/O call on the source, and of the
    /// direction where it is known. A backend that has to ask its kernel again
    /// after each event does so here, when the call would have blocked; those
    /// of this system report edges by themselves.
    #[inline(always)]
    pub(crate) fn after_io<R>(&self, _direction: Option<Interest>, _outcome: &io::Result<R>) {}

    #[cfg(debug_assertions)]
    fn is_elsewhere(&self, queue: &Arc<Queue>) -> bool {
        match &self.queue {
            // The address is not reused while this `Weak` stands.
            Some(known) => known.as_ptr() != Arc::as_ptr(queue) && known.strong_count() > 0,
            None => false,
        }
    }
}
