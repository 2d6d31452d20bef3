//! kqueue, the event queue of the BSDs and of Apple's systems:
//! [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?kqueue).
//!
//! A descriptor has a *filter* for each direction, registered and reported on its
//! own. How it keeps the contract:
//!
//! - **Edges** are the kernel's (`EV_CLEAR`), for every filter. Adding a filter that
//!   is there replaces its token, and reports it again where it is ready.
//! - **Who is registered** the kernel knows: `register` and `reregister` are the
//!   same, and replace; `deregister` of what is absent is `NotFound`. A dead
//!   descriptor is EBADF.
//! - **Changes** are made by one call for all filters, with a receipt for each, so
//!   that none of the events that wait is taken by it.
//! - **Deregistering** takes an event that waits in the kernel's queue along, and
//!   this file keeps none of its own.
//! - **Fairness**: the kernel's queue is first in, first out.
//! - **Memory**: the kernel writes into a buffer beside the program's `Events`.
//! - **Forks** do not inherit a kqueue, but its number: the child leaves it alone.

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::error::cvt;
use super::platform::kqueue_names::{self as names, kevent};
use super::process::Process;
use super::selector::{EventBuffer, Key, Outcome, Owner, Selector, UserEvent};
use super::timeout::timespec;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(crate) struct Kqueue {
    /// Not to be closed in another process than the one that opened it.
    kqueue: ManuallyDrop<OwnedFd>,
    process: Process,
    /// How many user events were made for wakers.
    wakers: AtomicUsize,
}

/// User events have a space of identities of their own, of which this half, where
/// neither a number nor an address is likely, is ours: wakers count up from here.
const OURS: usize = 1 << (usize::BITS - 1);

/// With this bit and its descriptor, the user event in the place of a filter that
/// the kernel refuses: for writing to a pipe that has no receiver any more.
const NO_RECEIVER: usize = OURS | 1 << (usize::BITS - 2);

/// The one of the registration with this key, which is of its descriptor.
fn no_receiver_of(key: Key) -> usize {
    NO_RECEIVER | (key.0 - 1) as usize
}

impl Selector for Kqueue {
    fn open() -> io::Result<Kqueue> {
        // SAFETY: takes nothing; returns a descriptor or -1.
        let kqueue = cvt(unsafe { names::kqueue() })?;
        // SAFETY: the descriptor is new, open and nobody else's.
        let kqueue = unsafe { OwnedFd::from_raw_fd(kqueue) };
        // No fork comes in between, since it would not inherit the descriptor.
        // SAFETY: takes numbers.
        cvt(unsafe { libc::fcntl(kqueue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(Kqueue {
            kqueue: ManuallyDrop::new(kqueue),
            process: Process::this(),
            wakers: AtomicUsize::new(0),
        })
    }

    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let capacity = events.capacity();
        if capacity == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let limit = timeout.map(limit);
        let limit = limit
            .as_ref()
            .map_or(ptr::null(), |limit| limit as *const _);
        let room = &mut events.kernel.spare_capacity_mut()[..capacity];
        let (kqueue, most) = (self.kqueue.as_raw_fd(), room.len());
        let first = room.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most `most` events, as many as there is room
        // for, and reads the limit, if there is one.
        let ready = unsafe { names::kevent(kqueue, ptr::null(), 0, first, most as _, limit) };
        for index in 0..cvt(ready)? as usize {
            // SAFETY: the kernel has written so many.
            let event = unsafe { events.kernel.spare_capacity_mut()[index].assume_init_ref() };
            let ready = match tells_of_the_senders(&event.0) {
                true => Readiness::IN.or(Readiness::RDHUP),
                false => readiness(&event.0),
            };
            let event = Event::new(Token(event.0.udata as usize), ready);
            events.push(event);
        }
        Ok(())
    }

    fn register(
        &self,
        fd: RawFd,
        token: Token,
        interest: Interest,
        _owner: Owner,
    ) -> io::Result<Key> {
        self.watch(fd, token, interest)
    }

    fn reregister(&self, fd: RawFd, _: Key, token: Token, interest: Interest) -> io::Result<Key> {
        self.watch(fd, token, interest)
    }

    fn deregister(&self, fd: RawFd, _: Key) -> io::Result<()> {
        let ident = fd as usize;
        let filters = [
            Change::delete(Filter::Read, ident),
            Change::delete(Filter::Write, ident),
            Change::delete(Filter::User, NO_RECEIVER | ident),
        ];
        let [read, write, no_receiver] = self.apply(&filters)?;
        // Not every kernel has user events.
        let mut was_watched = no_receiver == 0;
        for receipt in [read, write] {
            match receipt {
                0 => was_watched = true,
                libc::ENOENT => {}
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
        match was_watched {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    /// The kernel sees for itself.
    fn after_io(&self, _: Key, _: Outcome) {}

    /// Closing the descriptor does the rest.
    fn forget(&self, key: Key) {
        if !self.is_inherited() {
            // It may have been deregistered by its number.
            let _ = self.apply(&[Change::delete(Filter::User, no_receiver_of(key))]);
        }
    }

    /// `None` where the kernel has no such filter, or no room for another one.
    fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        // Relaxed: nothing but the number is shared.
        let ident = OURS | (self.wakers.fetch_add(1, Ordering::Relaxed) % (NO_RECEIVER - OURS));
        let event = UserEvent { ident, token };
        // Some kernels cannot add and trigger in one.
        match self.apply(&[Change::add(Filter::User, ident, token)])?[0] {
            0 => Ok(Some(event)),
            libc::EINVAL | libc::ENOMEM => Ok(None),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn trigger(&self, event: UserEvent) -> io::Result<()> {
        match self.apply(&[Change::trigger(event.ident, event.token)])?[0] {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn close_user_event(&self, event: UserEvent) {
        if self.is_inherited() {
            return;
        }
        // It can only fail where somebody else has deleted it.
        let _ = self.apply(&[Change::delete(Filter::User, event.ident)]);
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

impl Kqueue {
    /// Adds the filters that are asked for, and deletes the others. There is a key
    /// where more than filters was added, which does not go with the descriptor.
    fn watch(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<Key> {
        let watched = self.try_to_watch(fd, token, interest);
        if watched.is_err() {
            // What was added before something was refused.
            let _ = self.deregister(fd, Key::NONE);
        }
        watched
    }

    fn try_to_watch(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<Key> {
        let ident = fd as usize;
        let wanted = [
            (Filter::Read, interest.is_readable()),
            (Filter::Write, interest.is_writable()),
        ];
        let [read, write] = wanted.map(|(filter, is_wanted)| match is_wanted {
            true => Change::add(filter, ident, token),
            false => Change::delete(filter, ident),
        });
        // There may be one of before.
        let no_receiver = Change::delete(Filter::User, NO_RECEIVER | ident);
        let receipts = self.apply(&[read, write, no_receiver])?;
        let mut is_watched = false;
        let mut has_no_receiver = false;
        let mut is_refused_receiver = false;
        let mut lacking = None;
        for ((filter, is_wanted), receipt) in wanted.into_iter().zip(receipts) {
            match receipt {
                0 => is_watched |= is_wanted,
                libc::ENOENT if !is_wanted => {}
                libc::EPIPE | libc::EBADF if is_wanted && filter.is_write() && is_open(fd) => {
                    match is_read_only(fd) {
                        // It lacks the direction, which with senders is no error.
                        true => is_refused_receiver = true,
                        false => has_no_receiver = true,
                    }
                }
                // What has one direction only is never ready in the other.
                libc::EINVAL | libc::EPERM | libc::ENODEV | libc::EOPNOTSUPP => {
                    lacking = lacking.or(Some(receipt));
                }
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
        if has_no_receiver {
            return self.stand_in(fd, token, true);
        }
        if is_refused_receiver && !is_watched {
            return self.stand_in(fd, token, false);
        }
        if let Some(error) = lacking.filter(|_| !is_watched) {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Key::NONE)
    }

    /// Kernels refuse to watch a pipe without receivers for writing (EPIPE, or
    /// EBADF on NetBSD) instead of reporting it. Where it `is_reported` a user event does; otherwise
    /// that only counts as the registration.
    fn stand_in(&self, fd: RawFd, token: Token, is_reported: bool) -> io::Result<Key> {
        let ident = NO_RECEIVER | fd as usize;
        let added = Change::add(Filter::User, ident, token);
        let changes = [added, Change::trigger(ident, token)];
        let receipts = self.apply(match is_reported {
            true => &changes,
            false => &changes[..1],
        })?;
        if receipts.iter().any(|&receipt| receipt != 0) {
            // Without user events it cannot be reported.
            let _ = self.apply(&[Change::delete(Filter::User, ident)]);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(Key(fd as u32 + 1))
    }

    /// Makes all changes, at most three, and returns the error number of each.
    fn apply(&self, changes: &[Change]) -> io::Result<[i32; 3]> {
        let mut made = [MaybeUninit::<kevent>::uninit(); 3];
        let mut receipts = [MaybeUninit::<kevent>::uninit(); 3];
        for (made, change) in made.iter_mut().zip(changes) {
            made.write(change.to_kernel());
        }
        let no_wait = timespec(Duration::ZERO);
        // SAFETY: the kernel reads as many changes as were written above, and writes
        // no more receipts than there are changes, for which there is room.
        let received = cvt(unsafe {
            names::kevent(
                self.kqueue.as_raw_fd(),
                made.as_ptr().cast(),
                changes.len() as _,
                receipts.as_mut_ptr().cast(),
                changes.len() as _,
                &no_wait,
            )
        })?;
        let mut errors = [0; 3];
        for (error, receipt) in errors.iter_mut().zip(&receipts[..received as usize]) {
            // SAFETY: the kernel has written so many.
            let receipt = unsafe { receipt.assume_init_ref() };
            *error = receipt.data as i32;
        }
        Ok(errors)
    }

    fn is_inherited(&self) -> bool {
        !self.process.is_this()
    }
}

impl Drop for Kqueue {
    fn drop(&mut self) {
        // In a forked child the number may be another descriptor's.
        if !self.is_inherited() {
            // SAFETY: it is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.kqueue) };
        }
    }
}

#[derive(Copy, Clone, Debug)]
enum Filter {
    Read,
    Write,
    User,
}

impl Filter {
    fn is_write(self) -> bool {
        matches!(self, Filter::Write)
    }
}

/// A change of what is watched, for which there will be a receipt.
#[derive(Copy, Clone, Debug)]
struct Change {
    filter: Filter,
    ident: usize,
    token: Token,
    flags: u32,
    fflags: u32,
}

// The constants have different widths on different systems.
#[allow(clippy::unnecessary_cast)]
const ADD: u32 = (names::EV_ADD | names::EV_CLEAR | names::EV_RECEIPT) as u32;
#[allow(clippy::unnecessary_cast)]
const DELETE: u32 = (names::EV_DELETE | names::EV_RECEIPT) as u32;
#[allow(clippy::unnecessary_cast)]
const TRIGGER: u32 = names::EV_RECEIPT as u32;

impl Change {
    /// Also where it is there: it then has a new token, and is evaluated anew.
    fn add(filter: Filter, ident: usize, token: Token) -> Change {
        Change {
            filter,
            ident,
            token,
            flags: ADD,
            fflags: 0,
        }
    }

    fn delete(filter: Filter, ident: usize) -> Change {
        Change {
            filter,
            ident,
            token: Token(0),
            flags: DELETE,
            fflags: 0,
        }
    }

    /// Of a user event that is there. To add it once more would do for some
    /// kernels, and make others report it for ever.
    fn trigger(ident: usize, token: Token) -> Change {
        Change {
            filter: Filter::User,
            ident,
            token,
            flags: TRIGGER,
            fflags: names::NOTE_TRIGGER,
        }
    }

    fn to_kernel(self) -> kevent {
        // SAFETY: all zeros are a valid `kevent`, which has more fields on some
        // systems than these.
        let mut event: kevent = unsafe { std::mem::zeroed() };
        event.ident = self.ident;
        event.filter = match self.filter {
            Filter::Read => names::EVFILT_READ,
            Filter::Write => names::EVFILT_WRITE,
            Filter::User => names::EVFILT_USER,
        };
        event.flags = self.flags as _;
        event.fflags = self.fflags;
        event.udata = self.token.0 as *mut libc::c_void;
        event
    }
}

/// What an event of a filter says.
///
/// A filter tells of its own direction only. `EV_EOF` is the end of that direction,
/// with the socket's error, if it has one, in `fflags`; that the writing half was
/// shut down here, it does not tell from the peer's being gone.
fn readiness(event: &kevent) -> Readiness {
    let (filter, ident) = (event.filter, event.ident);
    let is_at_end = event.flags & names::EV_EOF != 0;
    let ready = if filter == names::EVFILT_READ {
        match is_at_end {
            true => Readiness::IN.or(Readiness::RDHUP),
            false => Readiness::IN,
        }
    } else if filter == names::EVFILT_WRITE {
        match is_at_end {
            true => Readiness::OUT.or(Readiness::WRHUP),
            false => Readiness::OUT,
        }
    } else if filter == names::EVFILT_USER {
        match ident & NO_RECEIVER == NO_RECEIVER {
            true => Readiness::OUT.or(Readiness::WRHUP),
            false => Readiness::IN,
        }
    } else if filter == names::EVFILT_AIO {
        Readiness::AIO
    } else if filter == names::EVFILT_LIO {
        // Not come to where it is the same one as above.
        Readiness::LIO
    } else {
        // Somebody else's.
        Readiness::NONE
    };
    let has_error = is_at_end && event.fflags != 0 || event.flags & names::EV_ERROR != 0;
    match has_error {
        true => ready.or(Readiness::ERR),
        false => ready,
    }
}

/// Whether this is of the receiving end of a pipe, of which some kernels say by the filter for writing,
/// too, that the last sender is gone.
fn tells_of_the_senders(event: &kevent) -> bool {
    let ended = event.filter == names::EVFILT_WRITE && event.flags & names::EV_EOF != 0;
    // Most sockets have room, and are not asked about.
    ended && event.data == 0 && event.fflags == 0 && is_read_only(event.ident as RawFd)
}

#[cold]
fn is_read_only(fd: RawFd) -> bool {
    // SAFETY: takes numbers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags != -1 && flags & libc::O_ACCMODE == libc::O_RDONLY
}

/// Whether the number is a descriptor's at all.
#[cold]
fn is_open(fd: RawFd) -> bool {
    // SAFETY: takes numbers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// Rounded up to what the kernel can.
fn limit(timeout: Duration) -> libc::timespec {
    timespec(rounded_up(timeout, names::NANOS_OF_TIMEOUT))
}

/// Up to the next whole unit of so many nanoseconds, of which a second has a whole number.
fn rounded_up(timeout: Duration, unit: u32) -> Duration {
    let rest = timeout.subsec_nanos() % unit;
    let missing = (unit - rest) % unit;
    timeout.saturating_add(Duration::from_nanos(missing.into()))
}
