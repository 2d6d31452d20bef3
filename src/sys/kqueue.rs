//! kqueue, the event queue of the BSDs and of Apple's systems:
//! [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?kqueue).
//!
//! A descriptor has a *filter* for each direction. The kernel stores and reports each
//! filter separately. How this backend keeps the contract:
//!
//! - **Edges**: the kernel reports edges (`EV_CLEAR`) for every filter. Adding a
//!   filter that exists replaces its token, and reports the filter again if it is
//!   ready.
//! - **Modes**: a level-triggered filter is one without `EV_CLEAR`, and a one-shot filter has `EV_DISPATCH`.
//!   `one_shots.rs` makes one event of a registration's two filters.
//! - **Priority data** is refused. ARCHITECTURE.md says what it would take.
//! - **Registrations**: the kernel stores them. `register` and `reregister` are the
//!   same operation, and replace; `deregister` of an unregistered descriptor is
//!   `NotFound`. A closed descriptor is EBADF.
//! - **Changes**: one call changes all filters of a descriptor. Each change requests a
//!   receipt, so that the call retrieves no event.
//! - **Deregistering** removes the registration's events from the kernel's queue. This
//!   file keeps no events.
//! - **Fairness**: the kernel's queue is first in, first out.
//! - **Memory**: the kernel writes into a buffer beside the program's `Events`.
//! - **Forks**: a forked child does not inherit a kqueue, and its descriptor may belong to
//!   another object there: the child neither uses nor closes it.

mod one_shots;

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(feature = "os-ext")]
use libc::pid_t;

use self::one_shots::{OneShots, Verdict};
use super::error::cvt;
use super::platform::kqueue_names::{self as names, kevent};
use super::process::Process;
#[cfg(feature = "os-ext")]
use super::selector::ExitWatch;
use super::selector::{refuse_exclusive, EventBuffer, Key, Outcome, Owner, Selector, UserEvent};
use super::timeout::timespec;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

pub(crate) struct Kqueue {
    /// Closed only in the process that opened it.
    kqueue: ManuallyDrop<OwnedFd>,
    process: Process,
    /// The number of user events opened for wakers so far.
    wakers: AtomicUsize,
    /// A registration has had a mode. As long as none has, this file does nothing for them.
    has_modes: AtomicBool,
    one_shots: Mutex<OneShots>,
    #[cfg(feature = "os-ext")]
    exits: Mutex<Exits>,
}

/// The watches for exits of processes. A number may belong to another child after its process was waited
/// for, so a watch must not be ended by a `ChildExit` of the former one.
#[cfg(feature = "os-ext")]
#[derive(Debug, Default)]
struct Exits {
    /// The latest watch of each process, sorted by process. (A tree would allocate whenever it grows, even
    /// to a former size.)
    latest: Vec<(pid_t, ExitWatch)>,
    count: u64,
}

#[cfg(feature = "os-ext")]
impl Exits {
    fn find(&self, pid: pid_t) -> Result<usize, usize> {
        self.latest.binary_search_by_key(&pid, |&(pid, _)| pid)
    }

    fn add(&mut self, pid: pid_t) -> ExitWatch {
        self.count += 1;
        let watch = ExitWatch(self.count);
        match self.find(pid) {
            Ok(index) => self.latest[index].1 = watch,
            Err(index) => self.latest.insert(index, (pid, watch)),
        }
        watch
    }

    fn remove(&mut self, pid: pid_t) {
        if let Ok(index) = self.find(pid) {
            self.latest.remove(index);
        }
    }
}

/// The most changes that one call makes.
const MAX_CHANGES: usize = 5;

/// The identities of user events are separate from those of descriptors. The crate uses the
/// upper half, where a program's own events, often small numbers or addresses, are unlikely.
/// Wakers' events count up from here.
const OWN_EVENTS: usize = 1 << (usize::BITS - 1);

/// The next bit as well, and a descriptor, make the identity of the user event that replaces a write filter
/// which the kernel refuses: that of a pipe whose receivers have closed.
const NO_READER: usize = OWN_EVENTS + OWN_EVENTS / 2;

/// The identity of that event for a descriptor.
fn no_reader_event(fd: RawFd) -> usize {
    NO_READER | fd as usize
}

/// The key of a registration with that event, which holds its descriptor.
fn key_of(fd: RawFd) -> Key {
    Key::of_slot(fd as u32)
}

fn descriptor_of(key: Key) -> RawFd {
    (key.0 - 1) as RawFd
}

impl Selector for Kqueue {
    fn open() -> io::Result<Kqueue> {
        // SAFETY: `kqueue` has no arguments and no memory-safety preconditions.
        let kqueue = cvt(unsafe { names::kqueue() })?;
        // SAFETY: the call has just opened this descriptor, and nothing else owns it.
        let kqueue = unsafe { OwnedFd::from_raw_fd(kqueue) };
        // No fork comes in between, since it would not inherit the descriptor.
        // SAFETY: `fcntl` with F_SETFD has no memory-safety preconditions; `kqueue` is open.
        cvt(unsafe { libc::fcntl(kqueue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(Kqueue {
            kqueue: ManuallyDrop::new(kqueue),
            process: Process::this(),
            wakers: AtomicUsize::new(0),
            has_modes: AtomicBool::new(false),
            one_shots: Mutex::default(),
            #[cfg(feature = "os-ext")]
            exits: Mutex::default(),
        })
    }

    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        if events.capacity() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if !self.has_modes() {
            let retrieved = self.retrieve(events, timeout)?;
            if retrieved == 0 || !events.events().is_empty() {
                return Ok(());
            }
            // The first one-shot registration began during this wait, and its event was dropped.
        }
        self.select_with_modes(events, timeout)
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
        if !self.has_modes() {
            return self.delete_filters(fd);
        }
        let mut one_shots = self.lock_one_shots();
        let has_lost_filters = one_shots.has_lost_filters(fd);
        one_shots.remove(fd);
        match self.delete_filters(fd) {
            Err(error) if has_lost_filters && error.kind() == io::ErrorKind::NotFound => Ok(()),
            deleted => deleted,
        }
    }

    /// Nothing to do: the kernel reports edges.
    fn after_io(&self, _: Key, _: Outcome) {}

    /// Deletes the event that replaces a refused write filter. Closing the descriptor deletes its filters.
    fn release(&self, key: Key) {
        if !self.is_inherited() {
            // Fails if the program has deregistered the raw descriptor.
            let ident = no_reader_event(descriptor_of(key));
            let _ = self.apply(&[Change::delete(Filter::User, ident)]);
        }
    }

    /// `None` if the kernel has no user events, or no memory for another one.
    fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        // Relaxed: the identity alone is shared.
        let number = self.wakers.fetch_add(1, Ordering::Relaxed);
        let ident = OWN_EVENTS + number % (NO_READER - OWN_EVENTS);
        let event = UserEvent { ident, token };
        // Some kernels cannot add and trigger an event by one change.
        let added = self.apply(&[Change::add(Filter::User, ident, token)]);
        if added.is_err() {
            // A call that was interrupted before may have added it.
            self.close_user_event(event);
        }
        match added?[0] {
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
        // It can only fail if the program itself has deleted the event.
        let _ = self.apply(&[Change::delete(Filter::User, event.ident)]);
    }

    #[cfg(feature = "os-ext")]
    fn watch_exit(&self, pid: pid_t, token: Token) -> io::Result<ExitWatch> {
        let mut exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        // Adding to a filter that has fired would not watch a new process of the same number.
        let changes = [
            Change::delete(Filter::Process, pid as usize),
            Change::add_exit(pid, token),
        ];
        let added = self.apply(&changes)?[1];
        if added != 0 {
            exits.remove(pid);
            return Err(io::Error::from_raw_os_error(added));
        }
        Ok(exits.add(pid))
    }

    #[cfg(feature = "os-ext")]
    fn end_exit_watch(&self, pid: pid_t, watch: ExitWatch) {
        if self.is_inherited() {
            return;
        }
        let mut exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = exits.find(pid).map(|index| exits.latest[index].1);
        if latest == Ok(watch) {
            exits.remove(pid);
            // Fails if the exit was reported: the kernel has deleted the filter.
            let _ = self.apply(&[Change::delete(Filter::Process, pid as usize)]);
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

impl Kqueue {
    /// Whether any registration ever had a mode.
    #[inline]
    fn has_modes(&self) -> bool {
        // Relaxed: a thread that deregisters or replaces a registration knows of it from the thread that
        // made it. The polling thread may see it late: then it retrieves no event of a one-shot filter
        // either, or sees it after the event, by which the kernel orders the two.
        self.has_modes.load(Ordering::Relaxed)
    }

    fn lock_one_shots(&self) -> MutexGuard<'_, OneShots> {
        // No code of the program runs under the lock.
        self.one_shots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is an event to report: those of one-shot filters may be dropped.
    #[cold]
    fn select_with_modes(
        &self,
        events: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        // A deadline beyond the clock's range is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout;
        loop {
            self.lock_one_shots().begin_wait();
            let retrieved = self.retrieve(events, left)?;
            if retrieved == 0 || !events.events().is_empty() {
                return Ok(());
            }
            left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits once. Returns how many events the kernel has returned.
    #[inline]
    fn retrieve(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<usize> {
        let capacity = events.capacity();
        let timeout = timeout.map(kernel_timeout);
        let timeout = timeout
            .as_ref()
            .map_or(ptr::null(), |timeout| timeout as *const _);
        let buffer = &mut events.kernel.spare_capacity_mut()[..capacity];
        let (kqueue, most) = (self.kqueue.as_raw_fd(), buffer.len());
        let first = buffer.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most `most` events, which is the length of `buffer`. It
        // reads no changes, and `timeout` is null or points to a `timespec` that outlives the call.
        let ready = unsafe { names::kevent(kqueue, ptr::null(), 0, first, most as _, timeout) };
        let ready = cvt(ready)? as usize;
        for index in 0..ready {
            // SAFETY: `index` is below the number of events that the kernel has written.
            let event = unsafe { events.kernel.spare_capacity_mut()[index].assume_init_read() }.0;
            let ready = match reports_senders_gone(&event) {
                true => Readiness::IN.or(Readiness::RDHUP),
                false => readiness(&event),
            };
            if is_one_shot(&event) && self.has_modes() {
                self.one_shot(events, &event, ready);
            } else if is_substitute(&event) && self.has_modes() {
                self.substitute(events, &event, ready);
            } else {
                events.push(Event::new(Token(event.udata as usize), ready));
            }
        }
        Ok(ready)
    }

    /// Reports the event of a one-shot filter, if it is to be reported.
    #[cold]
    fn one_shot(&self, events: &mut EventBuffer, event: &kevent, ready: Readiness) {
        let token = Token(event.udata as usize);
        let fd = watched_by(event);
        // Until the filters are changed: another thread may be about to register it again.
        let mut one_shots = self.lock_one_shots();
        match one_shots.judge(fd, events.events().len()) {
            Verdict::Report => events.push(Event::new(token, ready)),
            Verdict::Merge(index) => events.merge(index, ready),
            Verdict::Renew(token, interest) => match self.try_watch(fd, token, interest) {
                Ok(_) => one_shots.insert(fd, token, interest),
                Err(error) => {
                    self.not_watched_again(events, &mut one_shots, fd, (token, ready), error);
                }
            },
            Verdict::Drop => {}
        }
    }

    /// Reports the event that replaces a write filter, unless a level-triggered pipe has a receiver by now:
    /// then the kernel takes the filter, which reports from now on.
    #[cold]
    fn substitute(&self, events: &mut EventBuffer, event: &kevent, ready: Readiness) {
        let fd = watched_by(event);
        // Until the filters are changed, as in `one_shot`.
        let mut one_shots = self.lock_one_shots();
        let Some((token, interest)) = one_shots.level(fd) else {
            if event.flags & names::EV_CLEAR != 0 {
                events.push(Event::new(Token(event.udata as usize), ready));
            }
            return; // a level that was deregistered, or has another mode now
        };
        match self.try_watch(fd, token, interest) {
            Ok(Key::NONE) => one_shots.remove(fd),
            Ok(_) => events.push(Event::new(token, ready)),
            Err(error) => self.not_watched_again(events, &mut one_shots, fd, (token, ready), error),
        }
    }

    /// The filters of a registration could not be added again. Unless the descriptor was closed, the event is
    /// reported: without it the program would wait for ever. The program learns of the error when it reregisters
    /// the source. To deregister it is no error.
    #[cold]
    fn not_watched_again(
        &self,
        events: &mut EventBuffer,
        one_shots: &mut OneShots,
        fd: RawFd,
        (token, ready): (Token, Readiness),
        error: io::Error,
    ) {
        if error.raw_os_error() == Some(libc::EBADF) {
            one_shots.remove(fd);
            return;
        }
        let _ = self.delete_filters(fd);
        one_shots.lose_filters(fd, events.events().len());
        events.push(Event::new(token, ready));
    }

    /// Deletes the filters of a descriptor. Fails with `NotFound` if there are none.
    fn delete_filters(&self, fd: RawFd) -> io::Result<()> {
        let ident = fd as usize;
        let filters = [
            Change::delete(Filter::Read, ident),
            Change::delete(Filter::Write, ident),
            Change::delete(Filter::User, no_reader_event(fd)),
        ];
        let [read, write, no_reader, ..] = self.apply(&filters)?;
        // Not every kernel has user events.
        let mut was_watched = no_reader == 0;
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

    /// Adds the filters of the interest, and deletes the others. Returns a key if it has added a
    /// user event, which closing the descriptor does not delete.
    fn watch(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<Key> {
        refuse_exclusive(interest)?;
        refuse_priority(interest)?;
        if interest.has_mode() {
            self.has_modes.store(true, Ordering::Relaxed);
        }
        let mut one_shots = self.has_modes().then(|| self.lock_one_shots());
        let watched = self.try_watch(fd, token, interest);
        if watched.is_err() {
            // Deletes a filter that was added before another one was refused.
            let _ = self.delete_filters(fd);
        }
        if let Some(one_shots) = &mut one_shots {
            // A level that a user event reports lasts until the pipe has a receiver again.
            let is_known = match watched {
                Ok(key) => interest.is_oneshot() || (interest.is_level() && key != Key::NONE),
                Err(_) => false,
            };
            match is_known {
                true => one_shots.insert(fd, token, interest),
                false => one_shots.remove(fd),
            }
        }
        watched
    }

    fn try_watch(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<Key> {
        let ident = fd as usize;
        let wanted = [
            (Filter::Read, interest.is_readable()),
            (Filter::Write, interest.is_writable()),
        ];
        let [read, write] = wanted.map(|(filter, is_wanted)| match is_wanted {
            true => Change::add_in_mode(filter, ident, token, interest),
            false => Change::delete(filter, ident),
        });
        // A previous registration may have left one.
        let no_reader = Change::delete(Filter::User, no_reader_event(fd));
        let receipts = if self.has_modes() {
            // A filter's mode is fixed when it is added.
            let deleted = [Filter::Read, Filter::Write].map(|filter| Change::delete(filter, ident));
            let [_, _, read, write, _] =
                self.apply(&[deleted[0], deleted[1], read, write, no_reader])?;
            [read, write]
        } else {
            let [read, write, ..] = self.apply(&[read, write, no_reader])?;
            [read, write]
        };
        let mut is_watched = false;
        let mut has_no_reader = false;
        let mut is_refused_receiver = false;
        let mut refusal = None;
        for ((filter, is_wanted), receipt) in wanted.into_iter().zip(receipts) {
            match receipt {
                0 => is_watched |= is_wanted,
                libc::ENOENT if !is_wanted => {}
                // Not a closed descriptor: the change of its read filter has failed before.
                libc::EPIPE | libc::EBADF if is_wanted && filter.is_write() => {
                    match is_read_only(fd) {
                        // A receiver lacks this direction, which is no error if it has senders.
                        true => is_refused_receiver = true,
                        false => has_no_reader = true,
                    }
                }
                // The source lacks this direction, and is never ready in it.
                libc::EINVAL | libc::EPERM | libc::ENODEV | libc::EOPNOTSUPP => {
                    refusal = refusal.or(Some(receipt));
                }
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
        if has_no_reader {
            return self.add_substitute(fd, token, interest, true);
        }
        if is_refused_receiver && !is_watched {
            return self.add_substitute(fd, token, interest, false);
        }
        if let Some(error) = refusal.filter(|_| !is_watched) {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Key::NONE)
    }

    /// Adds a user event in place of the filter for writing, which the kernel refuses for a pipe that
    /// has lost its other end (EPIPE, or EBADF on NetBSD). If it `is_reported`, the user event is
    /// triggered, which reports the pipe as closed; otherwise it only counts as the registration.
    fn add_substitute(
        &self,
        fd: RawFd,
        token: Token,
        interest: Interest,
        is_reported: bool,
    ) -> io::Result<Key> {
        let ident = no_reader_event(fd);
        let added = Change::add_in_mode(Filter::User, ident, token, interest);
        let changes = [added, Change::trigger(ident, token)];
        let receipts = self.apply(match is_reported {
            true => &changes,
            false => &changes[..1],
        })?;
        if receipts.iter().any(|&receipt| receipt != 0) {
            // A kernel without user events cannot report it.
            let _ = self.apply(&[Change::delete(Filter::User, ident)]);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(key_of(fd))
    }

    /// Makes up to five changes by one call, and returns the error number of each, 0 for success.
    fn apply(&self, changes: &[Change]) -> io::Result<[i32; MAX_CHANGES]> {
        let mut made = [MaybeUninit::<kevent>::uninit(); MAX_CHANGES];
        let mut receipts = [MaybeUninit::<kevent>::uninit(); MAX_CHANGES];
        for (made, change) in made.iter_mut().zip(changes) {
            made.write(change.to_kernel());
        }
        let no_wait = timespec(Duration::ZERO);
        let mut was_interrupted = false;
        let received = loop {
            // SAFETY: the kernel reads `changes.len()` changes, all written above, and writes at most
            // as many receipts. There are at most `MAX_CHANGES` changes, and both arrays have as many
            // elements.
            // `no_wait` outlives the call.
            let received = cvt(unsafe {
                names::kevent(
                    self.kqueue.as_raw_fd(),
                    made.as_ptr().cast(),
                    changes.len() as _,
                    receipts.as_mut_ptr().cast(),
                    changes.len() as _,
                    &no_wait,
                )
            });
            match received {
                // An interrupted call has made its changes, and has returned no receipts.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => was_interrupted = true,
                received => break received?,
            }
        };
        let mut errors = [0; MAX_CHANGES];
        for (index, receipt) in receipts[..received as usize].iter().enumerate() {
            // SAFETY: `received` is the number of receipts that the kernel has written.
            let receipt = unsafe { receipt.assume_init_ref() };
            errors[index] = match receipt.data as i32 {
                // The interrupted call may have deleted it.
                libc::ENOENT if was_interrupted && changes[index].flags == DELETE => 0,
                error => error,
            };
        }
        Ok(errors)
    }

    fn is_inherited(&self) -> bool {
        !self.process.is_this()
    }
}

impl Drop for Kqueue {
    fn drop(&mut self) {
        // In a forked child another object may have the descriptor.
        if !self.is_inherited() {
            // SAFETY: `drop` runs once, and nothing uses the field afterwards.
            unsafe { ManuallyDrop::drop(&mut self.kqueue) };
        }
    }
}

/// No filter that every kernel has reports priority data, and an interest that is never reported would be
/// a lost event.
fn refuse_priority(interest: Interest) -> io::Result<()> {
    match interest.is_priority() {
        true => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "kqueue does not report priority data: poll(2) does",
        )),
        false => Ok(()),
    }
}

#[derive(Copy, Clone, Debug)]
enum Filter {
    Read,
    Write,
    User,
    /// Its identity is the number of a process.
    #[cfg(feature = "os-ext")]
    Process,
}

impl Filter {
    fn is_write(self) -> bool {
        matches!(self, Filter::Write)
    }
}

/// A change of one filter, for which the kernel returns a receipt.
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
const ADD_LEVEL: u32 = (names::EV_ADD | names::EV_RECEIPT) as u32;
/// Such a filter is disabled when it was reported. (`EV_ONESHOT` deletes it, and deregistering would find
/// nothing.)
#[allow(clippy::unnecessary_cast)]
const ADD_ONE_SHOT: u32 = (names::EV_ADD | names::EV_DISPATCH | names::EV_RECEIPT) as u32;
#[allow(clippy::unnecessary_cast)]
const DELETE: u32 = (names::EV_DELETE | names::EV_RECEIPT) as u32;
#[allow(clippy::unnecessary_cast)]
const TRIGGER: u32 = names::EV_RECEIPT as u32;

impl Change {
    /// Adds a filter. If it exists, this replaces its token and evaluates it again.
    fn add(filter: Filter, ident: usize, token: Token) -> Change {
        Change {
            filter,
            ident,
            token,
            flags: ADD,
            fflags: 0,
        }
    }

    /// Adds a filter for the exit of a process.
    #[cfg(feature = "os-ext")]
    fn add_exit(pid: pid_t, token: Token) -> Change {
        Change {
            fflags: names::NOTE_EXIT,
            ..Change::add(Filter::Process, pid as usize, token)
        }
    }

    /// Adds a filter with the mode of an interest.
    fn add_in_mode(filter: Filter, ident: usize, token: Token, interest: Interest) -> Change {
        let flags = match (interest.is_oneshot(), interest.is_level()) {
            (false, false) => ADD,
            (false, true) => ADD_LEVEL,
            (true, _) => ADD_ONE_SHOT,
        };
        Change {
            flags,
            ..Change::add(filter, ident, token)
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

    /// Triggers an existing user event. It does not add the event again: that works on some
    /// kernels, and makes others report it for ever.
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
        // SAFETY: `kevent` consists of integers and a raw pointer, for which all zeros are valid.
        // (Some systems have more fields than the ones set below.)
        let mut event: kevent = unsafe { std::mem::zeroed() };
        event.ident = self.ident;
        event.filter = match self.filter {
            Filter::Read => names::EVFILT_READ,
            Filter::Write => names::EVFILT_WRITE,
            Filter::User => names::EVFILT_USER,
            #[cfg(feature = "os-ext")]
            Filter::Process => names::EVFILT_PROC,
        };
        event.flags = self.flags as _;
        event.fflags = self.fflags;
        event.udata = self.token.0 as *mut libc::c_void;
        event
    }
}

/// The readiness that a filter's event reports.
///
/// A filter reports its own direction only. `EV_EOF` is the end of that direction,
/// with the socket's error, if any, in `fflags`. For writing it does not distinguish
/// a local shutdown from a peer that has closed.
fn readiness(event: &kevent) -> Readiness {
    let filter = event.filter;
    if filter == names::EVFILT_PROC && event.fflags & names::NOTE_EXIT != 0 {
        // Its flags mean something else: the end is that of the process.
        return Readiness::IN;
    }
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
        match is_substitute(event) {
            true => Readiness::OUT.or(Readiness::WRHUP),
            false => Readiness::IN,
        }
    } else if filter == names::EVFILT_AIO {
        Readiness::AIO
    } else if filter == names::EVFILT_LIO {
        // Unreachable on systems where it equals EVFILT_AIO.
        Readiness::LIO
    } else {
        // A foreign filter: the program has added it itself.
        Readiness::NONE
    };
    let has_error = is_at_end && event.fflags != 0 || event.flags & names::EV_ERROR != 0;
    match has_error {
        true => ready.or(Readiness::ERR),
        false => ready,
    }
}

/// Whether this is the event of a one-shot registration, and not of a filter that the program itself has
/// added.
#[inline]
fn is_one_shot(event: &kevent) -> bool {
    // Comparing a copy: on some systems the structure is packed.
    let filter = event.filter;
    let is_one_shot = event.flags & names::EV_DISPATCH != 0;
    is_one_shot
        && (filter == names::EVFILT_READ || filter == names::EVFILT_WRITE || is_substitute(event))
}

/// Whether this is the event that replaces a write filter.
#[inline]
fn is_substitute(event: &kevent) -> bool {
    let (filter, ident) = (event.filter, event.ident);
    filter == names::EVFILT_USER && ident >= NO_READER
}

/// The descriptor whose registration this event belongs to, if it is none of a foreign filter.
fn watched_by(event: &kevent) -> RawFd {
    (event.ident & !NO_READER) as RawFd
}

/// Whether this is a write filter's event of a pipe's receiving end. Some kernels report by it, as by the
/// read filter, that the last sender has closed.
fn reports_senders_gone(event: &kevent) -> bool {
    let ended = event.filter == names::EVFILT_WRITE && event.flags & names::EV_EOF != 0;
    // Most sockets are writable, and skip the system call.
    ended && event.data == 0 && event.fflags == 0 && is_read_only(event.ident as RawFd)
}

#[cold]
fn is_read_only(fd: RawFd) -> bool {
    // SAFETY: `fcntl` with F_GETFL has no memory-safety preconditions.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // False as well for a descriptor that is closed: the -1 has all bits.
    flags & libc::O_ACCMODE == libc::O_RDONLY
}

/// The timeout, rounded up to the kernel's resolution.
fn kernel_timeout(timeout: Duration) -> libc::timespec {
    timespec(rounded_up(timeout, names::NANOS_OF_TIMEOUT))
}

/// Rounds up to a multiple of `unit` nanoseconds, which divides a second.
fn rounded_up(timeout: Duration, unit: u32) -> Duration {
    let rest = timeout.subsec_nanos() % unit;
    let missing = (unit - rest) % unit;
    timeout.saturating_add(Duration::from_nanos(missing.into()))
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::pipe::pipe;

    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    const IN: Readiness = Readiness::IN;
    const OUT: Readiness = Readiness::OUT;
    /// What a pipe without receivers is ready for.
    const NO_RECEIVER: Readiness = OUT.or(Readiness::WRHUP);
    const NO_WAIT: Option<Duration> = Some(Duration::ZERO);

    fn open() -> Kqueue {
        Selector::open().unwrap()
    }

    fn register(kqueue: &Kqueue, fd: RawFd, token: usize, interest: Interest) -> io::Result<Key> {
        Selector::register(kqueue, fd, Token(token), interest, Owner::Source)
    }

    fn errno<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    /// Fails if it waits again and again.
    #[track_caller]
    fn select(kqueue: &Kqueue, events: &mut EventBuffer, timeout: Option<Duration>) {
        let mut select = || kqueue.select(events, timeout);
        #[cfg(mio_model = "kqueue")]
        let mut select = || on_the_model::with_at_most_waits(100, &mut select);
        select().unwrap();
    }

    /// These events are ready, and no other one.
    #[track_caller]
    fn assert_reports(kqueue: &Kqueue, expected: &[(usize, Readiness)]) {
        let mut buffer = EventBuffer::with_capacity(8);
        select(kqueue, &mut buffer, NO_WAIT);
        let events = buffer.events();
        let are_equal = events.len() == expected.len()
            && (events.iter().zip(expected))
                .all(|(event, &(token, ready))| event.has_parts(ready, token as u64));
        assert!(are_equal, "{events:?}, and not {expected:?}");
    }

    /// An event as the kernel writes it.
    fn event(fill: impl FnOnce(&mut kevent)) -> kevent {
        // SAFETY: `kevent` consists of integers and a raw pointer, for which all zeros are valid.
        let mut event: kevent = unsafe { std::mem::zeroed() };
        fill(&mut event);
        event
    }

    /// Another thread registers the source again after the kernel has returned its event: the event may be
    /// that of the former registration, and the filters are those of the new one.
    #[test]
    fn a_one_shot_registration_that_began_during_the_wait_is_reported_once() {
        let kqueue = open();
        let mut events = EventBuffer::with_capacity(8);
        let (stream, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        let fd = stream.as_raw_fd();
        register(&kqueue, fd, 1, BOTH.oneshot()).unwrap();
        kqueue.lock_one_shots().begins_in_next_wait(fd);
        // It does not return before there is an event, although it drops the first ones.
        select(&kqueue, &mut events, Some(Duration::from_secs(10)));
        let [event] = events.events() else {
            panic!("{:?}", events.events());
        };
        assert_eq!(event.token(), Token(1));
        assert!(event.is_readable() && event.is_writable());
        assert_reports(&kqueue, &[]);
        kqueue.deregister(fd, Key::NONE).unwrap();
    }

    #[test]
    fn the_events_of_both_filters_of_a_one_shot_registration_are_one() {
        let kqueue = open();
        let (stream, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        let fd = stream.as_raw_fd();
        for token in [1, 2] {
            register(&kqueue, fd, token, BOTH.oneshot()).unwrap();
            assert_reports(&kqueue, &[(token, IN.or(OUT))]);
            assert_reports(&kqueue, &[]);
        }
        register(&kqueue, fd, 3, BOTH.oneshot()).unwrap();
        kqueue.deregister(fd, Key::NONE).unwrap();
        assert_reports(&kqueue, &[]);
    }

    /// As long as no registration has had one, this file does nothing for modes.
    #[test]
    fn a_queue_has_modes_from_the_first_one_on() {
        let kqueue = open();
        let (stream, _peer) = UnixStream::pair().unwrap();
        register(&kqueue, stream.as_raw_fd(), 1, BOTH).unwrap();
        assert_reports(&kqueue, &[(1, OUT)]);
        assert!(!kqueue.has_modes());
        register(&kqueue, stream.as_raw_fd(), 1, BOTH.level()).unwrap();
        assert!(kqueue.has_modes());
    }

    #[test]
    fn a_descriptor_that_is_closed_is_not_registered() {
        let kqueue = open();
        for interest in [Interest::READABLE, Interest::WRITABLE, BOTH, BOTH.level()] {
            for fd in [-1, RawFd::MAX] {
                let registered = register(&kqueue, fd, 1, interest);
                assert_eq!(errno(registered), Some(libc::EBADF), "{interest:?}");
                let deregistered = kqueue.deregister(fd, Key::NONE);
                assert_eq!(errno(deregistered), Some(libc::EBADF));
            }
        }
    }

    #[test]
    fn a_wait_needs_capacity_and_lasts_as_long_as_its_timeout() {
        let kqueue = open();
        let error = kqueue.select(&mut EventBuffer::with_capacity(0), NO_WAIT);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let timeout = Duration::from_millis(20);
        for _ in ["without modes", "with modes"] {
            let began = Instant::now();
            let mut events = EventBuffer::with_capacity(1);
            kqueue.select(&mut events, Some(timeout)).unwrap();
            assert!(events.events().is_empty() && began.elapsed() >= timeout);
            kqueue.has_modes.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_timeout_is_rounded_up_to_a_multiple_of_the_kernels_unit() {
        for (timeout, unit, rounded) in [
            ((0, 0), 1_000_000, (0, 0)),
            ((0, 1), 1_000_000, (0, 1_000_000)),
            ((0, 1_000_000), 1_000_000, (0, 1_000_000)),
            ((3, 1_000_001), 1_000_000, (3, 2_000_000)),
            ((3, 999_999_999), 1_000, (4, 0)),
            ((3, 999_999_999), 1, (3, 999_999_999)),
            ((u64::MAX, 999_999_999), 1_000, (u64::MAX, 999_999_999)),
        ] {
            let of = |(seconds, nanos)| Duration::new(seconds, nanos);
            assert_eq!(rounded_up(of(timeout), unit), of(rounded), "{timeout:?}");
        }
    }

    /// The program has the kqueue's descriptor, and may add filters itself.
    #[test]
    fn an_event_of_a_foreign_filter_has_no_readiness_but_an_error() {
        // None of ours on any system.
        let foreign = event(|event| event.filter = 99);
        assert_eq!(readiness(&foreign), Readiness::NONE);
        let failed = event(|event| {
            event.filter = 99;
            event.flags = names::EV_ERROR;
        });
        assert_eq!(readiness(&failed), Readiness::ERR);
    }

    #[test]
    fn a_filter_reports_its_own_direction_with_its_end_and_its_error() {
        for (filter, ready, end) in [
            (names::EVFILT_READ, IN, Readiness::RDHUP),
            (names::EVFILT_WRITE, OUT, Readiness::WRHUP),
        ] {
            let of = |flags, fflags| {
                let of = |event: &mut kevent| {
                    (event.filter, event.flags, event.fflags) = (filter, flags, fflags);
                };
                readiness(&event(of))
            };
            let at_end = ready.or(end);
            assert_eq!(of(0, 0), ready);
            assert_eq!(of(names::EV_CLEAR, 1), ready, "an error comes with the end");
            assert_eq!(of(names::EV_EOF, 0), at_end);
            assert_eq!(of(names::EV_EOF, 1), at_end.or(Readiness::ERR));
            assert_eq!(of(names::EV_ERROR, 0), ready.or(Readiness::ERR));
        }
    }

    #[test]
    fn the_events_of_other_filters_have_the_readiness_of_each() {
        let of = |fill: &dyn Fn(&mut kevent)| readiness(&event(fill));
        let user =
            |ident| of(&move |event| (event.filter, event.ident) = (names::EVFILT_USER, ident));
        assert_eq!(user(0), IN);
        assert_eq!(user(OWN_EVENTS), IN);
        assert_eq!(user(NO_READER - 1), IN);
        assert_eq!(user(no_reader_event(0)), NO_RECEIVER);
        assert_eq!(user(no_reader_event(RawFd::MAX)), NO_RECEIVER);
        let completed = of(&|event| event.filter = names::EVFILT_AIO);
        assert_eq!(completed, Readiness::AIO);
        if names::EVFILT_LIO != names::EVFILT_AIO {
            let completed = of(&|event| event.filter = names::EVFILT_LIO);
            assert_eq!(completed, Readiness::LIO);
        }
        let exited = of(&|event| {
            (event.filter, event.flags) = (names::EVFILT_PROC, names::EV_EOF);
            (event.fflags, event.data) = (names::NOTE_EXIT, 1);
        });
        assert_eq!(exited, IN, "the end is that of the process");
        // The program's own filter, for something else.
        let forked = of(&|event| {
            (event.filter, event.fflags) = (names::EVFILT_PROC, names::NOTE_EXIT >> 1);
        });
        assert_eq!(forked, Readiness::NONE);
    }

    #[test]
    fn an_event_is_one_shot_by_its_flag_and_its_filter() {
        let of = |filter, ident, flags| {
            let of = |event: &mut kevent| {
                (event.filter, event.ident, event.flags) = (filter, ident, flags);
            };
            is_one_shot(&event(of))
        };
        for (filter, ident, is_ours) in [
            (names::EVFILT_READ, 5, true),
            (names::EVFILT_WRITE, 5, true),
            (names::EVFILT_USER, no_reader_event(5), true),
            (names::EVFILT_USER, 5, false),
            (names::EVFILT_USER, OWN_EVENTS, false),
            (names::EVFILT_AIO, 5, false),
            (names::EVFILT_AIO, no_reader_event(5), false),
        ] {
            assert_eq!(of(filter, ident, names::EV_DISPATCH), is_ours);
            assert!(!of(filter, ident, names::EV_CLEAR));
            assert!(!of(filter, ident, 0));
        }
    }

    #[test]
    fn only_a_write_filters_end_at_a_receiver_is_that_of_the_senders() {
        let (receiver, sender) = pipe().unwrap();
        let of = |fd: RawFd, fill: fn(&mut kevent)| {
            reports_senders_gone(&event(|event| {
                (event.filter, event.ident) = (names::EVFILT_WRITE, fd as usize);
                event.flags = names::EV_EOF;
                fill(event);
            }))
        };
        let receiver = receiver.as_raw_fd();
        assert!(of(receiver, |_| {}));
        assert!(!of(receiver, |event| event.filter = names::EVFILT_READ));
        assert!(!of(receiver, |event| event.flags = names::EV_CLEAR));
        assert!(!of(receiver, |event| event.flags = 0));
        assert!(!of(receiver, |event| event.data = 1), "there is capacity");
        assert!(!of(receiver, |event| event.fflags = 1), "an error");
        assert!(!of(sender.as_raw_fd(), |_| {}));
        assert!(!of(RawFd::MAX, |_| {}), "closed");
        let (stream, _peer) = UnixStream::pair().unwrap();
        assert!(!of(stream.as_raw_fd(), |_| {}));
    }

    /// Another thread has ended the level-triggered registration, or changed its mode, after the kernel had
    /// returned the event.
    #[test]
    fn the_event_of_a_level_that_has_ended_is_dropped() {
        let kqueue = open();
        let mut events = EventBuffer::with_capacity(8);
        let mut of = |flags| {
            let event = event(|event| {
                (event.filter, event.ident) = (names::EVFILT_USER, no_reader_event(5));
                event.flags = flags;
            });
            events.clear();
            kqueue.substitute(&mut events, &event, NO_RECEIVER);
            events.events().len()
        };
        assert_eq!(of(0), 0);
        assert_eq!(of(names::EV_CLEAR), 1, "an edge");
    }

    #[cfg(feature = "os-ext")]
    #[test]
    fn only_the_latest_watch_of_a_process_is_known() {
        let mut exits = Exits::default();
        let watches = [5, 3, 7, 5, 4].map(|pid| exits.add(pid));
        let [_, of_3, of_7, of_5, of_4] = watches;
        assert_eq!(exits.latest, [(3, of_3), (4, of_4), (5, of_5), (7, of_7)]);
        for (index, watch) in watches.iter().enumerate() {
            assert!(!watches[..index].contains(watch));
        }
        exits.remove(5);
        exits.remove(5);
        exits.remove(6);
        assert_eq!(exits.latest, [(3, of_3), (4, of_4), (7, of_7)]);
    }

    /// On the model, which counts what is registered, and fails as a test says.
    #[cfg(mio_model = "kqueue")]
    mod on_the_model {
        use std::fs::File;
        use std::sync::atomic::AtomicI32;
        use std::sync::Arc;
        use std::thread::{self, ThreadId};

        use kqueue_model::{observe, registrations, Call, Observer};

        use super::*;

        type Answer = Box<dyn FnMut(Call) -> i32 + Send>;

        /// What answers the calls of these threads: an error, or 0. A thread has several within each other.
        static ANSWERS: Mutex<Vec<(ThreadId, Answer)>> = Mutex::new(Vec::new());
        static OBSERVER: Observer = Observer {
            before: |call| {
                let this = thread::current().id();
                let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
                let of_this = answers.iter_mut().filter(|(thread, _)| *thread == this);
                let answers = of_this.map(|(_, answer)| answer(call));
                answers.fold(0, |error, answer| error.max(answer))
            },
            after: |_| {},
        };

        /// Runs something while this thread's calls have these answers. `None` if another library replaces
        /// the model, and nothing was run.
        fn answering<T>(
            answer: impl FnMut(Call) -> i32 + Send + 'static,
            run: impl FnOnce() -> T,
        ) -> Option<T> {
            if !observe(&OBSERVER) {
                return None;
            }
            let this = thread::current().id();
            let lock = || ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
            lock().push((this, Box::new(answer)));
            let result = run();
            let mut answers = lock();
            let ours = answers.iter().rposition(|&(thread, _)| thread == this);
            drop(answers.remove(ours.expect("it was added above")));
            Some(result)
        }

        /// Waits beyond this number fail.
        pub(super) fn with_at_most_waits<T>(most: u32, mut run: impl FnMut() -> T) -> T {
            let mut waits = 0;
            let answer = move |call| match call {
                Call::Wait => {
                    waits += 1;
                    if waits > most {
                        libc::EBADF
                    } else {
                        0
                    }
                }
                _ => 0,
            };
            answering(answer, &mut run).unwrap_or_else(run)
        }

        /// The kernel refuses to add this filter.
        fn refusing<T>(filter: i16, error: i32, run: impl FnOnce() -> T) -> Option<T> {
            let answer = move |call| match call {
                Call::Change { filter: of, flags }
                    if of == filter && flags & names::EV_ADD != 0 =>
                {
                    error
                }
                _ => 0,
            };
            answering(answer, run)
        }

        /// The first call that makes changes is interrupted when it has made them.
        fn interrupted<T>(run: impl FnOnce() -> T) -> Option<T> {
            let mut is_first = true;
            let answer = move |call| match call {
                Call::Changes if std::mem::take(&mut is_first) => libc::EINTR,
                _ => 0,
            };
            answering(answer, run)
        }

        /// How many calls of this kind something makes.
        fn calls<T>(kind: Call, run: impl FnOnce() -> T) -> Option<i32> {
            let count = Arc::new(AtomicI32::new(0));
            let counted = Arc::clone(&count);
            let answer = move |call| {
                // Relaxed: one thread counts.
                counted.fetch_add((call == kind).into(), Ordering::Relaxed);
                0
            };
            answering(answer, run)?;
            Some(count.load(Ordering::Relaxed))
        }

        #[track_caller]
        fn assert_registered(kqueue: &Kqueue, count: usize) {
            // `None` if another library replaces the model.
            if let Some(registered) = registrations(kqueue.kqueue.as_raw_fd()) {
                assert_eq!(registered, count);
            }
        }

        fn has_user_events() -> bool {
            let is_without = std::env::var("KQUEUE_MODEL_WITHOUT_USER");
            !is_without.is_ok_and(|value| value == "1")
        }

        fn pipe_without_receiver() -> File {
            pipe().unwrap().1
        }

        /// Every test of pipes runs on a queue without modes, and on one with them.
        fn queues() -> [Kqueue; 2] {
            let queues = [open(), open()];
            queues[1].has_modes.store(true, Ordering::Relaxed);
            queues
        }

        /// Real kqueues are on systems where no interest has these.
        #[test]
        fn what_kqueue_does_not_report_is_refused() {
            let kqueue = open();
            let (stream, _peer) = UnixStream::pair().unwrap();
            for refused in [BOTH.add(Interest::PRIORITY), BOTH.exclusive()] {
                let error = register(&kqueue, stream.as_raw_fd(), 1, refused).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{refused:?}");
                assert_registered(&kqueue, 0);
            }
        }

        #[test]
        fn a_registration_that_fails_leaves_nothing() {
            let (stream, _peer) = UnixStream::pair().unwrap();
            for kqueue in queues() {
                for (interest, filter, error) in [
                    (Interest::READABLE, names::EVFILT_READ, libc::ENOENT),
                    (Interest::READABLE, names::EVFILT_READ, libc::EPIPE),
                    (Interest::READABLE, names::EVFILT_READ, libc::EBADF),
                    (Interest::READABLE, names::EVFILT_READ, libc::EINVAL),
                    (Interest::WRITABLE, names::EVFILT_WRITE, libc::ENOENT),
                    (Interest::WRITABLE, names::EVFILT_WRITE, libc::EPERM),
                    (BOTH, names::EVFILT_WRITE, libc::ENOENT),
                    (BOTH, names::EVFILT_WRITE, libc::ENOMEM),
                ] {
                    let registering = || register(&kqueue, stream.as_raw_fd(), 1, interest);
                    let Some(registered) = refusing(filter, error, registering) else {
                        return;
                    };
                    assert_eq!(errno(registered), Some(error), "{interest:?}");
                    assert_registered(&kqueue, 0);
                }
            }
        }

        #[test]
        fn a_direction_that_a_source_lacks_is_left_out() {
            let (stream, mut peer) = UnixStream::pair().unwrap();
            peer.write_all(b"x").unwrap();
            for kqueue in queues() {
                for error in [libc::EINVAL, libc::EPERM, libc::ENODEV, libc::EOPNOTSUPP] {
                    let registering = || register(&kqueue, stream.as_raw_fd(), 1, BOTH);
                    let Some(key) = refusing(names::EVFILT_WRITE, error, registering) else {
                        return;
                    };
                    assert_eq!(key.unwrap(), Key::NONE);
                    assert_registered(&kqueue, 1);
                    assert_reports(&kqueue, &[(1, IN)]);
                }
            }
        }

        #[test]
        fn a_receiver_that_cannot_be_watched_for_writing_is_registered() {
            if !has_user_events() {
                return;
            }
            let (receiver, mut sender) = pipe().unwrap();
            sender.write_all(b"x").unwrap();
            let fd = receiver.as_raw_fd();
            for kqueue in queues() {
                for error in [libc::EPIPE, libc::EBADF] {
                    let with = |interest| {
                        let registering = || register(&kqueue, fd, 1, interest);
                        refusing(names::EVFILT_WRITE, error, registering)
                    };
                    let Some(key) = with(Interest::WRITABLE) else {
                        return;
                    };
                    assert_eq!(key.unwrap(), key_of(fd));
                    assert_reports(&kqueue, &[]);
                    assert_registered(&kqueue, 1);
                    kqueue.deregister(fd, Key::NONE).unwrap();
                    assert_registered(&kqueue, 0);
                    assert_eq!(with(BOTH).unwrap().unwrap(), Key::NONE);
                    assert_registered(&kqueue, 1);
                    assert_reports(&kqueue, &[(1, IN)]);
                    kqueue.deregister(fd, Key::NONE).unwrap();
                }
            }
        }

        #[test]
        fn a_pipe_without_receivers_is_reported_once_for_each_registering() {
            for kqueue in queues() {
                let sender = pipe_without_receiver();
                let fd = sender.as_raw_fd();
                if !has_user_events() {
                    let error = register(&kqueue, fd, 1, Interest::WRITABLE).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
                    continue;
                }
                for interest in [Interest::WRITABLE, Interest::WRITABLE.oneshot()] {
                    for token in [1, 2] {
                        let key = register(&kqueue, fd, token, interest).unwrap();
                        assert_eq!(key, key_of(fd));
                        assert_reports(&kqueue, &[(token, NO_RECEIVER)]);
                        assert_reports(&kqueue, &[]);
                        assert_registered(&kqueue, 1);
                    }
                    register(&kqueue, fd, 3, interest).unwrap();
                    kqueue.deregister(fd, Key::NONE).unwrap();
                    assert_registered(&kqueue, 0);
                    assert_reports(&kqueue, &[]);
                    let again = kqueue.deregister(fd, Key::NONE);
                    assert_eq!(errno(again), Some(libc::ENOENT));
                }
            }
        }

        #[test]
        fn a_level_triggered_pipe_without_receivers_is_reported_until_that_ends() {
            if !has_user_events() {
                return;
            }
            let kqueue = open();
            let sender = pipe_without_receiver();
            let fd = sender.as_raw_fd();
            register(&kqueue, fd, 1, Interest::WRITABLE.level()).unwrap();
            assert_reports(&kqueue, &[(1, NO_RECEIVER)]);
            assert_reports(&kqueue, &[(1, NO_RECEIVER)]);
            register(&kqueue, fd, 2, Interest::WRITABLE).unwrap();
            assert_reports(&kqueue, &[(2, NO_RECEIVER)]);
            assert_reports(&kqueue, &[]);
            register(&kqueue, fd, 3, Interest::WRITABLE.level()).unwrap();
            kqueue.deregister(fd, Key::NONE).unwrap();
            assert_reports(&kqueue, &[]);
            assert_registered(&kqueue, 0);
        }

        /// The kernel refuses the write filter, and takes it at the next poll: a FIFO got a receiver.
        #[test]
        fn a_level_triggered_pipe_that_got_a_receiver_is_writable() {
            if !has_user_events() {
                return;
            }
            let kqueue = open();
            let (_receiver, sender) = pipe().unwrap();
            let fd = sender.as_raw_fd();
            let registering = || register(&kqueue, fd, 1, Interest::WRITABLE.level());
            let Some(key) = refusing(names::EVFILT_WRITE, libc::EPIPE, registering) else {
                return;
            };
            assert_eq!(key.unwrap(), key_of(fd));
            for _ in 0..3 {
                assert_reports(&kqueue, &[(1, OUT)]);
                assert_registered(&kqueue, 1);
            }
            kqueue.deregister(fd, Key::NONE).unwrap();
            assert_reports(&kqueue, &[]);
        }

        /// For lack of memory, the event is reported. If the program has closed the descriptor, it is not.
        #[test]
        fn a_level_triggered_pipe_that_cannot_be_added_again_is_reported() {
            if !has_user_events() {
                return;
            }
            let kqueue = open();
            let sender = pipe_without_receiver();
            let fd = sender.as_raw_fd();
            for (error, events) in [(libc::ENOMEM, &[(1, NO_RECEIVER)][..]), (libc::EBADF, &[])] {
                register(&kqueue, fd, 1, Interest::WRITABLE.level()).unwrap();
                let answer = move |call| match call {
                    Call::Change { filter, .. } if filter == names::EVFILT_READ => error,
                    _ => 0,
                };
                if answering(answer, || assert_reports(&kqueue, events)).is_none() {
                    return;
                }
                assert_registered(&kqueue, 0);
                assert_reports(&kqueue, &[]);
                let deregistered = kqueue.deregister(fd, Key::NONE);
                assert_eq!(deregistered.is_ok(), error != libc::EBADF);
            }
        }

        /// The kernel has no memory for the filters when the registration is added again.
        #[test]
        fn a_one_shot_registration_that_cannot_be_added_again_is_reported() {
            let kqueue = open();
            let (stream, mut peer) = UnixStream::pair().unwrap();
            peer.write_all(b"x").unwrap();
            let (fd, once) = (stream.as_raw_fd(), Interest::READABLE.oneshot());
            for (error, events) in [
                (libc::ENOMEM, &[(1, IN)][..]),
                (libc::EBADF, &[]), // the program has closed the descriptor
            ] {
                register(&kqueue, fd, 1, once).unwrap();
                kqueue.lock_one_shots().begins_in_next_wait(fd);
                let polling = || assert_reports(&kqueue, events);
                if refusing(names::EVFILT_READ, error, polling).is_none() {
                    return;
                }
                register(&kqueue, fd, 2, once).unwrap();
                assert_reports(&kqueue, &[(2, IN)]);
            }
        }

        /// The program knows of a registration and an event, and nothing of the filters.
        #[test]
        fn a_registration_that_cannot_be_added_again_can_be_deregistered() {
            let kqueue = open();
            let (stream, mut peer) = UnixStream::pair().unwrap();
            peer.write_all(b"x").unwrap();
            let fd = stream.as_raw_fd();
            register(&kqueue, fd, 1, BOTH.oneshot()).unwrap();
            kqueue.lock_one_shots().begins_in_next_wait(fd);
            // The events of both filters are in the buffer when the first one is found to be of no use.
            let polling = || assert_reports(&kqueue, &[(1, IN.or(OUT))]);
            if refusing(names::EVFILT_READ, libc::ENOMEM, polling).is_none() {
                return;
            }
            assert_registered(&kqueue, 0);
            assert_reports(&kqueue, &[]);
            let deregistering = || kqueue.deregister(fd, Key::NONE);
            deregistering().unwrap();
            assert_eq!(errno(deregistering()), Some(libc::ENOENT));
        }

        #[test]
        fn an_interrupted_change_is_made_once() {
            let (stream, _peer) = UnixStream::pair().unwrap();
            let fd = stream.as_raw_fd();
            for kqueue in queues() {
                let registering = || register(&kqueue, fd, 1, BOTH);
                let Some(registered) = interrupted(registering) else {
                    return;
                };
                registered.unwrap();
                assert_registered(&kqueue, 2);
                assert_reports(&kqueue, &[(1, OUT)]);
                let deregistering = || kqueue.deregister(fd, Key::NONE);
                interrupted(deregistering).unwrap().unwrap();
                assert_registered(&kqueue, 0);
                assert_eq!(errno(deregistering()), Some(libc::ENOENT));
            }
        }

        /// Once is enough, with modes as well, if no event is dropped.
        #[test]
        fn a_poll_waits_once() {
            let (stream, _peer) = UnixStream::pair().unwrap();
            let fd = stream.as_raw_fd();
            for kqueue in queues() {
                let ready = [(1, OUT)];
                let interest = match kqueue.has_modes() {
                    true => BOTH.oneshot(),
                    false => BOTH,
                };
                register(&kqueue, fd, 1, interest).unwrap();
                for expected in [&ready[..], &[]] {
                    let waits = calls(Call::Wait, || assert_reports(&kqueue, expected));
                    assert!(matches!(waits, None | Some(1)), "{waits:?}");
                }
            }
        }

        #[test]
        fn a_user_event_is_none_of_the_programs_and_none_of_a_pipes() {
            let kqueue = open();
            let opened = [3, 4].map(|token| kqueue.open_user_event(Token(token)).unwrap());
            let [Some(one), Some(other)] = opened else {
                assert!(!has_user_events());
                return;
            };
            assert_ne!(one.ident, other.ident);
            for event in [one, other] {
                assert!(event.ident > usize::MAX / 2 && event.ident < no_reader_event(0));
            }
            kqueue.trigger(other).unwrap();
            kqueue.trigger(other).unwrap();
            assert_reports(&kqueue, &[(4, IN)]);
            if let Some(triggered) = interrupted(|| kqueue.trigger(one)) {
                triggered.unwrap();
                assert_reports(&kqueue, &[(3, IN)]);
            }
            kqueue.trigger(one).unwrap();
            kqueue.close_user_event(one);
            assert_reports(&kqueue, &[]);
            assert_registered(&kqueue, 1);
            assert_eq!(errno(kqueue.trigger(one)), Some(libc::ENOENT));
            if let Some(triggered) = interrupted(|| kqueue.trigger(one)) {
                assert_eq!(errno(triggered), Some(libc::ENOENT));
            }
        }

        #[cfg(feature = "os-ext")]
        #[test]
        fn only_the_latest_watch_of_a_process_ends_its_filter() {
            let kqueue = open();
            let pid = std::process::id() as pid_t;
            if registrations(kqueue.kqueue.as_raw_fd()).is_none() {
                return; // another library replaces the model, and has perhaps no such filter
            }
            let former = kqueue.watch_exit(pid, Token(1)).unwrap();
            let latest = kqueue.watch_exit(pid, Token(2)).unwrap();
            assert_registered(&kqueue, 1);
            kqueue.end_exit_watch(pid, former);
            assert_registered(&kqueue, 1);
            kqueue.end_exit_watch(pid, latest);
            assert_registered(&kqueue, 0);
            assert!(kqueue.exits.lock().unwrap().latest.is_empty());
            kqueue.watch_exit(pid, Token(3)).unwrap();
            let watching = || kqueue.watch_exit(pid, Token(4));
            let Some(failed) = refusing(names::EVFILT_PROC, libc::ESRCH, watching) else {
                return;
            };
            assert_eq!(errno(failed), Some(libc::ESRCH));
            assert!(kqueue.exits.lock().unwrap().latest.is_empty());
            assert_registered(&kqueue, 0);
        }

        #[cfg(feature = "os-ext")]
        #[test]
        fn an_exit_is_reported_as_readable() {
            use std::process::{Command, Stdio};

            let kqueue = open();
            if registrations(kqueue.kqueue.as_raw_fd()).is_none() {
                return; // as above
            }
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            let mut child = command.spawn().unwrap();
            let pid = child.id() as pid_t;
            let watch = kqueue.watch_exit(pid, Token(1)).unwrap();
            assert_reports(&kqueue, &[]);
            drop(child.stdin.take()); // ends it
            let mut events = EventBuffer::with_capacity(8);
            select(&kqueue, &mut events, Some(Duration::from_secs(20)));
            let events = events.events();
            assert!(
                events.len() == 1 && events[0].has_parts(IN, 1),
                "{events:?}"
            );
            kqueue.end_exit_watch(pid, watch);
            child.wait().unwrap();
        }

        #[test]
        fn what_is_dropped_leaves_nothing_unless_a_forked_child_drops_it() {
            let mut kqueue = open();
            let sender = pipe_without_receiver();
            let interest = Interest::WRITABLE;
            let key = register(&kqueue, sender.as_raw_fd(), 1, interest).ok();
            let woken = kqueue.open_user_event(Token(2)).unwrap();
            #[cfg(feature = "os-ext")]
            let pid = std::process::id() as pid_t;
            #[cfg(feature = "os-ext")]
            let watch = kqueue.watch_exit(pid, Token(3));
            let Some(all) = registrations(kqueue.kqueue.as_raw_fd()) else {
                return;
            };
            let parent = kqueue.process;
            for (process, left) in [(Process::another(), all), (parent, 0)] {
                kqueue.process = process;
                if let Some(key) = key {
                    kqueue.release(key);
                }
                if let Some(event) = woken {
                    kqueue.close_user_event(event);
                }
                #[cfg(feature = "os-ext")]
                kqueue.end_exit_watch(pid, *watch.as_ref().unwrap());
                assert_registered(&kqueue, left);
            }
            let fd = kqueue.kqueue.as_raw_fd();
            kqueue.process = Process::another();
            assert_eq!(calls(Call::Close, || drop(kqueue)), Some(0));
            // SAFETY: the drop has left the descriptor open, and nothing else owns it.
            let kqueue = unsafe { OwnedFd::from_raw_fd(fd) };
            assert_eq!(calls(Call::Close, || drop(kqueue)), Some(1));
            let kqueue = open();
            assert_eq!(calls(Call::Close, || drop(kqueue)), Some(1));
        }
    }
}
