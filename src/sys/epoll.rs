//! epoll, the event queue of Linux, which illumos has adopted:
//! [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html).
//!
//! How it keeps the contract:
//!
//! - **Edges**: the kernel reports edges (`EPOLLET`) for every registration.
//! - **Registrations**: the kernel stores them. `register` of a registered
//!   descriptor fails with `AlreadyExists` (EEXIST), `reregister` and `deregister`
//!   of an unregistered one with `NotFound` (ENOENT). A closed descriptor is EBADF;
//!   files and directories, which are always ready, are EPERM.
//! - **Deregistering** removes the registration's event from the kernel's queue. This
//!   file keeps no events.
//! - **Fairness**: the kernel moves events that did not fit to the front of its
//!   queue.
//! - **Memory**: the kernel writes into the program's `Events`. There is no other
//!   buffer.
//! - **A preloaded network stack** may replace the kernel's functions: see
//!   `calls/replacement.rs`.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, epoll_event};

use super::error::Mistake;
use super::platform;
use super::selector::{EventBuffer, Key, Outcome, Owner, Selector};
use crate::event::Event;
use crate::{Interest, Token};

pub(crate) struct Epoll<C = Kernel> {
    epoll: OwnedFd,
    calls: PhantomData<C>,
}

/// The calls on an epoll: the kernel's, or those of a preloaded network stack.
pub(crate) trait Calls {
    /// Opens an epoll that is closed on exec.
    fn create() -> io::Result<OwnedFd>;

    /// Adds, modifies or deletes a registration. Fails if a descriptor is not open.
    fn control(
        epoll: BorrowedFd<'_>,
        operation: c_int,
        fd: RawFd,
        event: Option<&epoll_event>,
    ) -> io::Result<()>;

    /// Waits for events or until `timeout` ends, and returns how many events it wrote to the start
    /// of `buffer`.
    fn wait(
        epoll: BorrowedFd<'_>,
        buffer: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize>;
}

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
        buffer: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        platform::epoll_wait::wait(epoll, buffer, timeout)
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
        let buffer = events.spare_capacity_mut();
        let ready = match C::wait(self.epoll.as_fd(), buffer, timeout) {
            Ok(ready) => ready,
            // With capacity 0 the kernel answers EINVAL because of the buffer.
            Err(error) if events.capacity() > 0 => return Err(not_an_epoll(error)),
            Err(error) => return Err(error),
        };
        // SAFETY: `ready` is at most the capacity, and the call has initialised the first
        // `ready` events. Any bits are a valid `Event`.
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
        // Every signal of a waker is an edge, so its descriptor need not be drained.
        if interest.is_exclusive() {
            self.register_exclusive(fd, token, interest)?;
        } else {
            self.control(libc::EPOLL_CTL_ADD, fd, token, interest)?;
        }
        Ok(Key::NONE)
    }

    #[inline]
    fn reregister(&self, fd: RawFd, _: Key, token: Token, interest: Interest) -> io::Result<Key> {
        let modified = self.control(libc::EPOLL_CTL_MOD, fd, token, interest);
        if cfg!(debug_assertions) {
            // In release builds it would cost each call a dozen instructions.
            modified.map_err(not_modified)?;
        } else {
            modified?;
        }
        Ok(Key::NONE)
    }

    #[inline]
    fn deregister(&self, fd: RawFd, _: Key) -> io::Result<()> {
        C::control(self.epoll.as_fd(), libc::EPOLL_CTL_DEL, fd, None)
    }

    /// Nothing to do: the kernel reports edges.
    fn after_io(&self, _: Key, _: Outcome) {}

    /// Nothing to do: closing the descriptor deregisters it.
    fn release(&self, _: Key) {}

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

    #[cold]
    fn register_exclusive(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
            .map_err(not_exclusive)
    }
}

/// The kernel does not register everything exclusively.
#[cold]
fn not_exclusive(error: io::Error) -> io::Error {
    Mistake::NotExclusive.in_place_of(libc::EINVAL, error)
}

/// The kernel modifies no exclusive registration, and none into one.
#[cold]
fn not_modified(error: io::Error) -> io::Error {
    Mistake::Exclusive.in_place_of(libc::EINVAL, error)
}

/// The kernel answers EINVAL for a descriptor that is not an epoll. Like EBADF, it means that the program
/// has closed the epoll; another object has its descriptor now.
#[cold]
fn not_an_epoll(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::EBADF),
        _ => error,
    }
}

/// The kernel's flags for an interest. The kernel reports errors and hang-ups without a flag.
#[inline]
fn event_mask(interest: Interest) -> u32 {
    EVENT_MASKS[interest.bits() as usize]
}

/// By the bits of an interest: a mode costs nothing where there is none. The compiler interprets what makes the
/// table, which is slow: no function is called for each element.
static EVENT_MASKS: [u32; 256] = {
    let mut masks = [libc::EPOLLET as u32; 256];
    let mut bit = 1;
    while bit < masks.len() {
        let (set, cleared) = flags_of(Interest::from_bits(bit as u8));
        let mut lower_bits = 0;
        while lower_bits < bit {
            masks[bit + lower_bits] = masks[lower_bits] & !cleared | set;
            lower_bits += 1;
        }
        bit <<= 1;
    }
    masks
};

/// The flags that one bit of an interest sets, and those of lower bits (or of no bit) that it clears.
const fn flags_of(bit: Interest) -> (u32, u32) {
    let (set, cleared) = if bit.is_readable() {
        (libc::EPOLLIN | libc::EPOLLRDHUP, 0)
    } else if bit.is_writable() {
        (libc::EPOLLOUT, 0)
    } else if bit.is_priority() {
        (libc::EPOLLPRI, 0)
    } else if bit.is_level() {
        (0, libc::EPOLLET)
    } else if bit.is_oneshot() {
        (libc::EPOLLONESHOT, 0)
    } else if bit.is_exclusive() {
        // The kernel refuses EPOLLRDHUP in an exclusive registration.
        (libc::EPOLLEXCLUSIVE, libc::EPOLLRDHUP)
    } else {
        (0, 0)
    };
    (set as u32, cleared as u32)
}

// `select` lets the kernel write `epoll_event`s into a buffer of `Event`s: both types must
// have the same layout, and their bits the same meaning.
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
