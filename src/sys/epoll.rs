//! epoll, the event queue of Linux, and of illumos, which followed:
//! [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html).
//!
//! How it keeps the contract:
//!
//! - **Edges** are the kernel's (`EPOLLET`), for every registration.
//! - **Who is registered** the kernel knows: `register` of a descriptor that is
//!   in the queue fails with `AlreadyExists` (EEXIST), `reregister` and
//!   `deregister` of one that is not with `NotFound` (ENOENT). A dead
//!   descriptor is EBADF; files and directories, which are always ready, EPERM.
//! - **Deregistering** takes an event that waits in the kernel's queue along,
//!   and this file keeps none of its own.
//! - **Fairness**: the kernel moves what it could not report to the front.
//! - **Memory**: the kernel writes into the program's `Events`; there is no
//!   other.
//! - **A preloaded network stack** is asked instead of the kernel: see
//!   `calls/replacement.rs`.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, epoll_event};

use super::error::has_number;
use super::platform;
use super::selector::{EventBuffer, Key, Outcome, Owner, Selector};
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(crate) struct Epoll<C = Kernel> {
    epoll: OwnedFd,
    calls: PhantomData<C>,
}

/// Who makes the calls on an epoll.
pub(super) trait Calls {
    /// An epoll that is closed on exec.
    fn create() -> io::Result<OwnedFd>;

    /// A wrong descriptor gives an error.
    fn control(
        epoll: BorrowedFd<'_>,
        operation: c_int,
        fd: RawFd,
        event: Option<&epoll_event>,
    ) -> io::Result<()>;

    /// How many events were written into `room`, after as long as `timeout` says.
    fn wait(
        epoll: BorrowedFd<'_>,
        room: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize>;
}

#[derive(Debug)]
pub(crate) enum Kernel {}

impl Calls for Kernel {
    fn create() -> io::Result<OwnedFd> {
        platform::epoll::create()
    }

    #[inline]
    fn control(
        epoll: BorrowedFd<'_>,
        operation: c_int,
        fd: RawFd,
        event: Option<&epoll_event>,
    ) -> io::Result<()> {
        platform::epoll::control(epoll, operation, fd, event)
    }

    #[inline]
    fn wait(
        epoll: BorrowedFd<'_>,
        room: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        platform::epoll_wait::wait(epoll, room, timeout)
    }
}

impl<C: Calls> Selector for Epoll<C> {
    fn open() -> io::Result<Epoll<C>> {
        Ok(Epoll {
            epoll: C::create()?,
            calls: PhantomData,
        })
    }

    #[inline]
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        let events = &mut events.events;
        events.clear();
        let room = events.spare_capacity_mut();
        let ready = match C::wait(self.epoll.as_fd(), room, timeout) {
            Ok(ready) => ready,
            // It is the error of a buffer without room, too.
            Err(error) if events.capacity() > 0 => return Err(not_an_epoll(error)),
            Err(error) => return Err(error),
        };
        // SAFETY: the first `ready` events were written, no more than there is room
        // for. Any bits are a valid `Event`.
        unsafe { events.set_len(ready) };
        Ok(())
    }

    #[inline]
    fn register(
        &self,
        fd: RawFd,
        token: Token,
        interest: Interest,
        _owner: Owner,
    ) -> io::Result<Key> {
        // With an edge for every signal, a waker's descriptor never has to be read.
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)?;
        Ok(Key::NONE)
    }

    #[inline]
    fn reregister(&self, fd: RawFd, _: Key, token: Token, interest: Interest) -> io::Result<Key> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)?;
        Ok(Key::NONE)
    }

    #[inline]
    fn deregister(&self, fd: RawFd, _: Key) -> io::Result<()> {
        C::control(self.epoll.as_fd(), libc::EPOLL_CTL_DEL, fd, None)
    }

    /// The kernel sees for itself.
    fn after_io(&self, _: Key, _: Outcome) {}

    /// Closing the descriptor does it.
    fn forget(&self, _: Key) {}

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<C: Calls> Epoll<C> {
    #[inline]
    fn control(
        &self,
        operation: c_int,
        fd: RawFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let event = epoll_event {
            events: event_mask(interest),
            u64: token.0 as u64,
        };
        C::control(self.epoll.as_fd(), operation, fd, Some(&event))
    }
}

/// The kernel has another error for what is no epoll than for what is closed. Both come of a program
/// that has closed the descriptor.
#[cold]
#[inline(never)]
fn not_an_epoll(error: io::Error) -> io::Error {
    match has_number(&error, libc::EINVAL) {
        true => io::Error::from_raw_os_error(libc::EBADF),
        false => error,
    }
}

/// The kernel's flags for an interest. Errors and hang-ups need no asking.
#[inline]
fn event_mask(interest: Interest) -> u32 {
    let mut mask = libc::EPOLLET;
    if interest.is_readable() {
        mask |= libc::EPOLLIN | libc::EPOLLRDHUP;
    }
    if interest.is_writable() {
        mask |= libc::EPOLLOUT;
    }
    if interest.is_priority() {
        mask |= libc::EPOLLPRI;
    }
    mask as u32
}

// `select` lets the kernel write `epoll_event`s where `Event`s are: both must
// have the same layout, and the bits the same meaning.
const _: () = {
    use crate::event::readiness::Readiness;

    const EVENTS: u32 = 0x0102_0304;
    const WORD: u64 = 0x0506_0708_090a_0b0c;

    let kernel = libc::epoll_event {
        events: EVENTS,
        u64: WORD,
    };
    // SAFETY: does not compile where the sizes differ; `Event` is a plain
    // struct of integers, any bits of which are valid.
    let event: Event = unsafe { std::mem::transmute(kernel) };
    assert!(event.has_parts(Readiness(EVENTS), WORD));
    assert!(std::mem::align_of::<Event>() >= std::mem::align_of::<libc::epoll_event>());

    assert!(Readiness::IN.0 == libc::EPOLLIN as u32);
    assert!(Readiness::PRI.0 == libc::EPOLLPRI as u32);
    assert!(Readiness::OUT.0 == libc::EPOLLOUT as u32);
    assert!(Readiness::ERR.0 == libc::EPOLLERR as u32);
    assert!(Readiness::HUP.0 == libc::EPOLLHUP as u32);
    assert!(Readiness::RDHUP.0 == libc::EPOLLRDHUP as u32);
};
