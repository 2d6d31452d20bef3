//! `kevent`: first the changes, then the events, waiting for them without the lock.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use crate::abi::Kevent;
use crate::model;
use crate::os::{self, Result};
use crate::queue::Events;

/// The end of a call's wait.
enum Deadline {
    Never,
    At(Instant),
}

impl Deadline {
    fn after(timeout: Option<&libc::timespec>) -> Result<Deadline> {
        let Some(timeout) = timeout else {
            return Ok(Deadline::Never);
        };
        let (Ok(seconds), Ok(nanos @ 0..=999_999_999)) = (
            u64::try_from(timeout.tv_sec),
            u32::try_from(timeout.tv_nsec),
        ) else {
            return Err(libc::EINVAL);
        };
        let end = Instant::now().checked_add(Duration::new(seconds, nanos));
        Ok(end.map_or(Deadline::Never, Deadline::At))
    }

    fn left(&self) -> Option<Duration> {
        match self {
            Deadline::Never => None,
            Deadline::At(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }
}

/// `timeout` is checked only if the call has to wait.
pub(crate) fn kevent(
    kq: c_int,
    changes: impl Iterator<Item = Kevent>,
    mut events: Events,
    timeout: Option<&libc::timespec>,
) -> Result<usize> {
    let mut model = model::lock();
    let index = model.find(kq)?;
    for change in changes {
        let is_over = model.with(index, |queue, others| {
            queue.change(change, &mut events, others)
        })?;
        if is_over {
            // The kernels return this although there are entries.
            return Ok(0);
        }
    }
    if events.len() > 0 || events.is_full() {
        return Ok(events.len());
    }

    let deadline = Deadline::after(timeout)?;
    loop {
        model.with(index, |queue, others| queue.retrieve(&mut events, others));
        let left = deadline.left();
        if events.len() > 0 || left == Some(Duration::ZERO) {
            return Ok(events.len());
        }
        model.begin_wait(index);
        drop(model);
        let waited = os::epoll_wait(kq, left);
        model = model::lock();
        model.end_wait(index)?;
        waited?;
    }
}
