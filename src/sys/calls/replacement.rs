//! An epoll on the functions that replace the C library's: see `replaced.rs`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, epoll_event};

use super::{libc_epoll, libc_epoll_wait, replaced};
use crate::event::Event;
use crate::sys::epoll::{Calls, Epoll};
use crate::sys::error::cvt;
use crate::sys::refused::unless_refused;
use crate::sys::timeout::{timespec, whole_millis};

/// The calls on an epoll by the functions that replace the C library's. Used if `is_replaced`.
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

    /// Rounds the timeout up to milliseconds if `epoll_pwait2` is not replaced, or refused.
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

/// Waits by `epoll_pwait2`. `None` if it is not replaced, or refused.
#[inline(never)]
fn wait_nanos(
    epoll: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<Event>],
    timeout: Duration,
) -> Option<io::Result<usize>> {
    let epoll_pwait2 = replaced::epoll_pwait2()?;
    // Fits into an `int`: `Events::with_capacity` clamps it.
    let most = buffer.len() as c_int;
    let (events, timeout) = (buffer.as_mut_ptr().cast(), timespec(timeout));
    // SAFETY: the function writes at most `most` events, which is the length of `buffer`, and `Event`
    // has their layout. It only reads the timeout, and the mask is null.
    let ready = unsafe { epoll_pwait2(epoll.as_raw_fd(), events, most, &timeout, ptr::null()) };
    match cvt(ready) {
        Ok(ready) => return Some(Ok(ready as usize)),
        Err(error) => {
            if let Err(error) = unless_refused(error) {
                return Some(Err(error));
            }
        }
    }
    replaced::never_call_epoll_pwait2();
    None
}
