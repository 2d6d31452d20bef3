//! An epoll by the functions that replace the C library's: see `replaced.rs`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{c_int, epoll_event};

use super::replaced::functions;
use super::{libc_epoll, libc_epoll_wait};
use crate::event::Event;
use crate::sys::epoll::{Calls, Epoll};
use crate::sys::error::cvt;
use crate::sys::refused::is_refused;
use crate::sys::timeout::{timespec, whole_millis};

/// What replaces the C library's functions on epoll, where `is_replaced`.
#[derive(Debug)]
pub(crate) enum Replacement {}

pub(crate) type ReplacedEpoll = Epoll<Replacement>;

impl Calls for Replacement {
    #[cold]
    fn create() -> io::Result<OwnedFd> {
        libc_epoll::create()
    }

    #[cold]
    fn control(
        epoll: BorrowedFd<'_>,
        operation: c_int,
        fd: RawFd,
        event: Option<&epoll_event>,
    ) -> io::Result<()> {
        libc_epoll::control(epoll, operation, fd, event)
    }

    /// Rounded up to milliseconds where `epoll_pwait2` is not replaced, or refused.
    #[cold]
    fn wait(
        epoll: BorrowedFd<'_>,
        buffer: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if let Some(timeout) = timeout.filter(|&timeout| whole_millis(timeout).is_none()) {
            if let Some(waited) = wait_nanos(epoll, buffer, timeout) {
                return waited;
            }
        }
        libc_epoll_wait::wait(epoll, buffer, timeout)
    }
}

/// `None` where there is no such function, or it is refused.
fn wait_nanos(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Duration,
) -> Option<io::Result<usize>> {
    let replacement = functions()?;
    let epoll_pwait2 = replacement.epoll_pwait2?;
    // Relaxed, as the store: a thread that sees it late finds out itself.
    if replacement.refuses.load(Ordering::Relaxed) {
        return None;
    }
    // `Events::with_capacity` keeps it far below where it would not fit.
    let most = buffer.len() as c_int;
    let (events, timeout) = (buffer.as_mut_ptr().cast(), timespec(timeout));
    // SAFETY: at most `most` events are written, as many as there is room for, and `Event` has
    // their layout. The limit is only read, and there is no mask.
    match cvt(unsafe { epoll_pwait2(epoll.as_raw_fd(), events, most, &timeout, ptr::null()) }) {
        Err(error) if is_refused(&error) => {
            replacement.refuses.store(true, Ordering::Relaxed);
            None
        }
        waited => Some(waited.map(|ready| ready as usize)),
    }
}
