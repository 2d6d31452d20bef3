//! epoll, Linux's event queue:
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

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::{c_int, c_long};

use super::{cvt, whole_millis, EventBuffer, Key, Outcome, Owner, Selector, NANOS_PER_MILLI};
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(crate) struct Epoll {
    epoll: OwnedFd,
}

impl Selector for Epoll {
    fn open() -> io::Result<Epoll> {
        // SAFETY: takes a number; returns a descriptor or -1.
        let epoll = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Epoll {
            // SAFETY: the descriptor is new, open and nobody else's.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
        })
    }

    #[inline]
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        let events = &mut events.events;
        events.clear();
        let ready = self.wait(events.spare_capacity_mut(), timeout)?;
        // SAFETY: the kernel has written the first `ready` events, which is no
        // more than the room that it was given. Any bits are a valid `Event`.
        unsafe { events.set_len(ready) };
        Ok(())
    }

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

    fn reregister(&self, fd: RawFd, _: Key, token: Token, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn deregister(&self, fd: RawFd, _: Key) -> io::Result<()> {
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: takes numbers; the event, which this operation has no use
        // for, may be null. A wrong descriptor gives an error.
        cvt(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) })?;
        Ok(())
    }

    /// The kernel sees for itself.
    fn after_io(&self, _: Key, _: Outcome) {}

    /// Closing the descriptor does it.
    fn forget(&self, _: Key) {}

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Epoll {
    fn control(
        &self,
        operation: c_int,
        fd: RawFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: event_mask(interest),
            u64: token.0 as u64,
        };
        // SAFETY: `event` is valid for reading during the call. A wrong
        // descriptor gives an error.
        cvt(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) })?;
        Ok(())
    }

    /// Waits with the precision that the timeout needs: whole milliseconds are
    /// left to `epoll_wait`, which costs less than `epoll_pwait2`.
    #[inline]
    fn wait(
        &self,
        room: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let Some(timeout) = timeout else {
            return self.wait_millis(room, -1);
        };
        match whole_millis(timeout) {
            Some(millis) => self.wait_millis(room, millis),
            None => self.wait_nanos(room, timeout),
        }
    }

    /// `epoll_wait`: -1 waits for ever.
    //
    // Through `syscall`, as all waiting here: glibc's own functions are
    // cancellation points, which costs two atomic operations in a process with
    // threads and buys nothing, since Rust's threads cannot be cancelled.
    #[inline]
    fn wait_millis(&self, room: &mut [MaybeUninit<Event>], millis: c_int) -> io::Result<usize> {
        let epoll = c_long::from(self.epoll.as_raw_fd());
        // `Events::with_capacity` keeps it far below where it would not fit.
        let most = room.len() as c_long;
        let events = room.as_mut_ptr();
        let millis = c_long::from(millis);
        #[cfg(any(
            target_arch = "arm",
            target_arch = "m68k",
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6",
            target_arch = "powerpc",
            target_arch = "powerpc64",
            target_arch = "s390x",
            target_arch = "sparc",
            target_arch = "sparc64",
            target_arch = "x86",
            target_arch = "x86_64"
        ))]
        // SAFETY: the kernel writes at most `most` events, as many as there is
        // room for.
        let ready =
            cvt(unsafe { libc::syscall(libc::SYS_epoll_wait, epoll, events, most, millis) })?;
        // Newer architectures have the call with a signal mask only; none is set.
        #[cfg(not(any(
            target_arch = "arm",
            target_arch = "m68k",
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6",
            target_arch = "powerpc",
            target_arch = "powerpc64",
            target_arch = "s390x",
            target_arch = "sparc",
            target_arch = "sparc64",
            target_arch = "x86",
            target_arch = "x86_64"
        )))]
        // SAFETY: the kernel writes at most `most` events, as many as there is
        // room for, and reads no mask, since it is null.
        let ready = cvt(unsafe {
            let (no_mask, mask_size) = (ptr::null::<libc::sigset_t>(), c_long::from(0));
            let call = libc::SYS_epoll_pwait;
            libc::syscall(call, epoll, events, most, millis, no_mask, mask_size)
        })?;
        Ok(ready as usize)
    }

    /// `epoll_pwait2`, where the kernel has it and lets this process call it;
    /// otherwise `epoll_wait` with the timeout rounded up.
    #[cold]
    fn wait_nanos(&self, room: &mut [MaybeUninit<Event>], timeout: Duration) -> io::Result<usize> {
        /// Set once the call was refused, and then never tried again: by the
        /// whole process, even where only one thread's filter refused it.
        static REFUSED: AtomicBool = AtomicBool::new(false);

        // Relaxed, as the store: a thread that sees it late finds out itself.
        if !REFUSED.load(Ordering::Relaxed) {
            let epoll = c_long::from(self.epoll.as_raw_fd());
            let most = room.len() as c_long;
            let events = room.as_mut_ptr();
            let limit = KernelTimespec::at_most(timeout);
            let (no_mask, mask_size) = (ptr::null::<libc::sigset_t>(), c_long::from(0));
            let call = libc::SYS_epoll_pwait2;
            // SAFETY: the kernel writes at most `most` events, as many as there
            // is room for, reads a timespec in its own layout and no mask, since
            // it is null.
            let ready = cvt(unsafe {
                libc::syscall(call, epoll, events, most, &limit, no_mask, mask_size)
            });
            match ready {
                Ok(ready) => return Ok(ready as usize),
                // Before Linux 5.11 it does not exist; some sandboxes refuse
                // what they do not know with EPERM, which the call itself never
                // returns.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    REFUSED.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        self.wait_millis(room, millis_rounded_up(timeout))
    }
}

/// What the kernel takes for a timespec, on 32-bit machines too, where
/// `libc::timespec` can be half the size.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl KernelTimespec {
    fn at_most(timeout: Duration) -> KernelTimespec {
        KernelTimespec {
            // The kernel takes what lies beyond its clock for no limit at all.
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        }
    }
}

/// The timeout in milliseconds, never less than it is but for the longest that
/// `epoll_wait` can take.
fn millis_rounded_up(timeout: Duration) -> c_int {
    let per_milli = u128::from(NANOS_PER_MILLI);
    let millis = (timeout.as_nanos() + per_milli - 1) / per_milli;
    c_int::try_from(millis).unwrap_or(c_int::MAX)
}

/// The kernel's flags for an interest. Errors and hang-ups need no asking.
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

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn whole_milliseconds_are_left_to_epoll_wait() {
        assert_eq!(whole_millis(Duration::ZERO), Some(0));
        assert_eq!(whole_millis(MILLI), Some(1));
        assert_eq!(whole_millis(Duration::from_millis(61_234)), Some(61_234));
        assert_eq!(whole_millis(NANO), None);
        assert_eq!(whole_millis(MILLI + NANO), None);
        assert_eq!(whole_millis(MILLI - NANO), None);
        let longest = Duration::from_secs(c_int::MAX as u64 / 1000 - 1);
        assert_eq!(whole_millis(longest), Some(2_147_482_000));
        assert_eq!(whole_millis(longest + Duration::from_secs(1)), None);
        assert_eq!(whole_millis(Duration::MAX), None);
    }

    #[test]
    fn milliseconds_are_rounded_up_never_down() {
        assert_eq!(millis_rounded_up(NANO), 1);
        assert_eq!(millis_rounded_up(MILLI - NANO), 1);
        assert_eq!(millis_rounded_up(MILLI), 1);
        assert_eq!(millis_rounded_up(MILLI + NANO), 2);
        assert_eq!(millis_rounded_up(Duration::MAX), c_int::MAX);
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        assert_eq!(millis_rounded_up(month), c_int::MAX);
    }

    #[test]
    fn seconds_beyond_the_kernels_are_clamped() {
        let limit = KernelTimespec::at_most(Duration::MAX);
        assert_eq!((limit.seconds, limit.nanoseconds), (i64::MAX, 999_999_999));
    }
}
