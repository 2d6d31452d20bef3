//! What a waker wakes with: a user event of the queue, if the queue has user events, and otherwise a
//! descriptor.

use std::io;
use std::sync::{Arc, Weak};

use super::queue::Queue;
#[cfg(unix)]
use super::registration::Registration;
use super::selector::UserEvent;
#[cfg(unix)]
use super::wake_fd::WakeFd;
use crate::Token;

/// One waker's means of waking.
#[derive(Debug)]
pub(crate) enum Wake {
    #[cfg(unix)]
    Descriptor {
        /// The registration of `fd`, dropped before it is closed.
        _registration: Registration,
        fd: WakeFd,
    },
    /// A user event. The queue may be dropped before its wakers.
    UserEvent {
        queue: Weak<Queue>,
        event: UserEvent,
    },
}

impl Wake {
    #[inline(never)]
    pub(crate) fn new(queue: &Arc<Queue>, token: Token) -> io::Result<Wake> {
        if !cfg!(mio_unsupported_force_waker_pipe) || cfg!(windows) {
            if let Some(event) = queue.open_user_event(token)? {
                return Ok(Wake::UserEvent {
                    queue: Arc::downgrade(queue),
                    event,
                });
            }
        }
        #[cfg(unix)]
        let wake = Wake::descriptor(queue, token);
        // Never reached: the queues of Windows have user events.
        #[cfg(windows)]
        let wake = Err(io::ErrorKind::Unsupported.into());
        wake
    }

    #[cfg(unix)]
    fn descriptor(queue: &Arc<Queue>, token: Token) -> io::Result<Wake> {
        let fd = WakeFd::new(queue.unread_signals())?;
        Ok(Wake::Descriptor {
            _registration: Registration::of_waker(queue, fd.raw_fd(), token)?,
            fd,
        })
    }

    /// Makes the queue report the waker's event.
    #[inline]
    pub(crate) fn send(&self) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Wake::Descriptor { fd, .. } => fd.signal(),
            Wake::UserEvent { queue, event } => trigger(queue, *event),
        }
    }
}

// Kept out of the path of a descriptor.
#[inline(never)]
fn trigger(queue: &Weak<Queue>, event: UserEvent) -> io::Result<()> {
    match queue.upgrade() {
        Some(queue) => queue.trigger(event),
        None => Ok(()),
    }
}

impl Drop for Wake {
    #[inline(never)]
    fn drop(&mut self) {
        // A descriptor is deregistered and closed by dropping its fields.
        #[allow(irrefutable_let_patterns)] // on Windows
        if let Wake::UserEvent { queue, event } = self {
            if let Some(queue) = queue.upgrade() {
                queue.close_user_event(*event);
            }
        }
    }
}
