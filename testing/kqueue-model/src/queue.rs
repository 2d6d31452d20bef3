//! One kqueue: its epoll instances, its knotes, and the effects of `kevent`.
//!
//! The program's descriptor is a level-triggered epoll instance, so that it can be watched itself.
//! In it are two edge-triggered ones, for reading and for writing, because epoll reports both
//! together for a descriptor in one instance; and a flag, which is readable while an active knote
//! is in the FIFO.
//!
//! An edge is only a hint: a thread in `kevent` takes the edges, checks the descriptors, and
//! appends the knotes whose condition holds to the FIFO. The condition of a knote is checked again
//! just before it is reported.

use std::env;
use std::ffi::c_int;

use crate::abi::{
    Kevent, EVFILT_AIO, EVFILT_LIO, EVFILT_PROC, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, EV_ADD,
    EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ERROR, EV_ONESHOT,
    EV_RECEIPT, NOTE_EXIT, NOTE_FFAND, NOTE_FFCOPY, NOTE_FFCTRLMASK, NOTE_FFLAGSMASK, NOTE_FFOR,
    NOTE_TRIGGER,
};
use crate::descriptor::{Kind, Look};
use crate::knotes::{Knotes, Slot, Watched};
use crate::model::Model;
use crate::observer::{self, Call};
use crate::os::{self, Errno, Fd, Flag, Result};

/// The list that `kevent` fills: memory of the program, which may overlap with the changes.
pub(crate) struct Events {
    list: *mut Kevent,
    room: usize,
    len: usize,
}

impl Events {
    /// # Safety
    ///
    /// `room` entries can be written to `list` for as long as this lives.
    pub(crate) unsafe fn new(list: *mut Kevent, room: usize) -> Events {
        Events { list, room, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.room
    }

    fn push(&mut self, event: Kevent) {
        assert!(!self.is_full());
        // SAFETY: it is one of the `room` entries, which the creator of this value guarantees.
        unsafe { self.list.add(self.len).write(event) };
        self.len += 1;
    }
}

/// The behaviour of a filter for writing on the reading end of a pipe, when the other end is
/// closed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum WritingToReceivers {
    Silent,
    /// It cannot be registered.
    Refused,
    /// It reports the close.
    Reported,
}

/// The switches in the environment when the kqueue was opened. The crate's documentation explains
/// them.
#[derive(Debug)]
struct Switches {
    noisy: bool,
    nobody_reads: Errno,
    writing_to_receivers: WritingToReceivers,
    without_user: bool,
    max_user: usize,
    fflags: u32,
    netbsd: bool,
    zombies: bool,
}

impl Switches {
    fn from_environment() -> Switches {
        let value = |name: &str| env::var(name).unwrap_or_default();
        Switches {
            noisy: value("KQUEUE_MODEL_NOISY") == "1",
            nobody_reads: match value("KQUEUE_MODEL_NOBODY_READS").as_str() {
                "EBADF" => libc::EBADF,
                _ => libc::EPIPE,
            },
            writing_to_receivers: match value("KQUEUE_MODEL_WRITING_TO_RECEIVERS").as_str() {
                "refused" => WritingToReceivers::Refused,
                "reported" => WritingToReceivers::Reported,
                _ => WritingToReceivers::Silent,
            },
            without_user: value("KQUEUE_MODEL_WITHOUT_USER") == "1",
            max_user: value("KQUEUE_MODEL_MAX_USER").parse().unwrap_or(usize::MAX),
            fflags: value("KQUEUE_MODEL_FFLAGS")
                .parse()
                .unwrap_or(libc::ECONNRESET as u32),
            netbsd: os::is_netbsd(),
            zombies: value("KQUEUE_MODEL_ZOMBIES") == "1",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    /// The descriptors that are known to refer to it. Without any, it is closed.
    pub(crate) numbers: Vec<c_int>,
    /// The number of threads that wait on it.
    pub(crate) waiters: usize,
    readers: Fd,
    writers: Fd,
    flag: Flag,
    knotes: Knotes,
    /// The number of activations of its knotes.
    activations: u64,
    switches: Switches,
}

impl Queue {
    /// A new kqueue, and the program's descriptor of it.
    pub(crate) fn open() -> Result<Queue> {
        let readers = os::epoll_create()?;
        let writers = os::epoll_create()?;
        let flag = Flag::new()?;
        let outer = os::epoll_create_inheritable()?;
        os::watch_epoll(&outer, &readers)?;
        os::watch_epoll(&outer, &writers)?;
        flag.watch_by(&outer)?;
        Ok(Queue {
            numbers: vec![outer.into_number()],
            waiters: 0,
            readers,
            writers,
            flag,
            knotes: Knotes::default(),
            activations: 0,
            switches: Switches::from_environment(),
        })
    }

    /// Succeeds if the descriptor refers to this kqueue.
    pub(crate) fn is_at(&self, number: c_int) -> Result<()> {
        self.flag.is_watched_by(number)
    }

    /// Makes waiting threads return. This lasts until no thread waits any more.
    pub(crate) fn wake_waiters(&mut self) {
        self.flag.set(true);
    }

    /// How much is registered.
    pub(crate) fn registrations(&self) -> usize {
        self.knotes.len()
    }

    // ------------------------------------------------------------------ changes

    /// Makes a change, and writes its result if that is requested. Returns true if the list of
    /// events is too short for the result: then the call is over.
    pub(crate) fn change(
        &mut self,
        mut change: Kevent,
        events: &mut Events,
        others: &mut Model,
    ) -> Result<bool> {
        let call = Call::Change {
            filter: change.filter,
            flags: change.flags,
        };
        let changed = match observer::before(call) {
            0 => self.register(&change, others),
            error => Err(error),
        };
        self.update_flag();
        if changed.is_ok() && change.flags & EV_RECEIPT == 0 {
            return Ok(false);
        }
        if events.is_full() {
            return changed.map(|()| true);
        }
        change.flags = EV_ERROR;
        change.data = changed.err().unwrap_or(0) as isize;
        events.push(change);
        Ok(false)
    }

    fn register(&mut self, change: &Kevent, others: &mut Model) -> Result<()> {
        let of_descriptor = match change.filter {
            EVFILT_READ | EVFILT_WRITE => true,
            EVFILT_USER if !self.switches.without_user => false,
            EVFILT_AIO | EVFILT_LIO => false,
            EVFILT_PROC if change.fflags & !NOTE_EXIT == 0 => false,
            _ => return Err(libc::EINVAL),
        };
        let slot = self.knotes.find(change.ident, change.filter);
        let fd = c_int::try_from(change.ident).unwrap_or(-1);
        if of_descriptor && !os::is_open(fd) {
            if let Some(slot) = slot {
                self.knotes.remove(slot);
            }
            return Err(libc::EBADF);
        }
        let slot = match slot {
            Some(slot) if change.flags & EV_DELETE != 0 => {
                self.remove(slot);
                return Ok(());
            }
            Some(slot) => {
                self.update(slot, change);
                slot
            }
            None if change.flags & EV_ADD == 0 => return Err(libc::ENOENT),
            None if of_descriptor => self.add_descriptor(fd, change, others)?,
            None if change.filter == EVFILT_USER
                && self.knotes.user_events() >= self.switches.max_user =>
            {
                return Err(libc::ENOMEM);
            }
            None if change.filter == EVFILT_USER => {
                // A trap of FreeBSD's: a change that adds a knote does not trigger it.
                let slot = self.knotes.insert(change, Watched::Triggered(false));
                self.knotes.get_mut(slot).kevent.fflags &= NOTE_FFLAGSMASK;
                slot
            }
            None if change.filter == EVFILT_PROC => self.add_process(change)?,
            // The kernel adds these itself, for a `sigevent`.
            None => return Err(libc::EPERM),
        };
        if change.flags & EV_DISABLE != 0 {
            self.knotes.get_mut(slot).disabled = true;
            self.knotes.dequeue(slot);
        } else if change.flags & EV_ENABLE != 0 {
            self.knotes.get_mut(slot).disabled = false;
        }
        // Reports again even what was reported before: `reregister` depends on it.
        if let Ok(now) = self.look(slot, others) {
            self.remember(slot, now);
            if now.holds {
                self.activate(slot);
            }
        }
        Ok(())
    }

    /// The knote of a descriptor, whose condition was not checked yet.
    fn add_descriptor(&mut self, fd: c_int, change: &Kevent, others: &mut Model) -> Result<Slot> {
        let writing = change.filter == EVFILT_WRITE;
        let mut kind = Kind::of(fd)?;
        if kind == Kind::Other && others.find(fd).is_ok() {
            if writing {
                return Err(libc::EPERM);
            }
            kind = Kind::Queue;
        }
        if writing
            && matches!(kind, Kind::Pipe { writes: true, .. })
            && Look::at(fd, kind, change.filter)?.nobody_reads()
        {
            return Err(self.switches.nobody_reads);
        }
        if writing && matches!(kind, Kind::Pipe { writes: false, .. }) {
            match self.switches.writing_to_receivers {
                WritingToReceivers::Silent => {}
                WritingToReceivers::Refused => {
                    if Look::at(fd, kind, change.filter)?.nobody_writes() {
                        return Err(self.switches.nobody_reads);
                    }
                }
                WritingToReceivers::Reported => kind = Kind::WrongEnd,
            }
        }
        if writing && self.switches.netbsd {
            kind = kind.written_on_netbsd(fd);
        }
        let watched = Watched::Descriptor(kind, Look::default());
        let slot = self.knotes.insert(change, watched);
        // The end of a stream is readable as well, so EPOLLRDHUP is not needed.
        let (epoll, bits) = if writing {
            (&self.writers, libc::EPOLLOUT)
        } else {
            (&self.readers, libc::EPOLLIN)
        };
        let cookie = self.knotes.cookie(slot);
        match os::epoll_add(epoll, fd, bits | libc::EPOLLET, cookie) {
            Ok(()) => {}
            Err(libc::EPERM) => {
                let watched = Watched::Descriptor(Kind::File, Look::default());
                self.knotes.get_mut(slot).watched = watched;
            }
            Err(errno) => {
                self.knotes.remove(slot);
                return Err(errno);
            }
        }
        Ok(slot)
    }

    /// The knote of a process that runs, or of one that nobody has waited for.
    fn add_process(&mut self, change: &Kevent) -> Result<Slot> {
        let pid = c_int::try_from(change.ident).map_err(|_| libc::ESRCH)?;
        let process = os::open_process(pid).map_err(|errno| match errno {
            // A thread's number, or 0.
            libc::EINVAL => libc::ESRCH,
            errno => errno,
        })?;
        if os::has_exited(&process) && !self.switches.zombies {
            return Err(libc::ESRCH);
        }
        let slot = self.knotes.insert(change, Watched::Process(process));
        let cookie = self.knotes.cookie(slot);
        let knote = self.knotes.get_mut(slot);
        // As a BSD's kernel has it, whatever the program asks for.
        knote.kevent.flags |= EV_ONESHOT | EV_CLEAR;
        let Watched::Process(process) = &knote.watched else {
            unreachable!("it was just inserted");
        };
        match os::watch_process(&self.readers, process, cookie) {
            Ok(()) => Ok(slot),
            Err(errno) => {
                self.knotes.remove(slot);
                Err(errno)
            }
        }
    }

    /// What EV_ADD changes in an existing knote: not its flags.
    fn update(&mut self, slot: Slot, change: &Kevent) {
        let knote = self.knotes.get_mut(slot);
        knote.kevent.udata = change.udata;
        knote.kevent.data = change.data;
        let Watched::Triggered(triggered) = &mut knote.watched else {
            return;
        };
        *triggered |= change.fflags & NOTE_TRIGGER != 0;
        let own = change.fflags & NOTE_FFLAGSMASK;
        match change.fflags & NOTE_FFCTRLMASK {
            NOTE_FFAND => knote.kevent.fflags &= own,
            NOTE_FFOR => knote.kevent.fflags |= own,
            NOTE_FFCOPY => knote.kevent.fflags = own,
            _ => {}
        }
        // A trap of FreeBSD's: this clears the trigger of the same change.
        if change.flags & EV_CLEAR != 0 {
            *triggered = false;
            self.knotes.dequeue(slot);
        }
    }

    /// Adds the one-shot knote of a completed asynchronous operation.
    pub(crate) fn complete(&mut self, mut event: Kevent) {
        event.flags |= EV_ONESHOT;
        let slot = self.knotes.insert(&event, Watched::Triggered(true));
        self.activate(slot);
        self.update_flag();
    }

    fn remove(&mut self, slot: Slot) {
        let knote = self.knotes.get(slot);
        if let Watched::Descriptor(..) = knote.watched {
            let epoll = match knote.kevent.filter {
                EVFILT_WRITE => &self.writers,
                _ => &self.readers,
            };
            // Fails if epoll does not watch it, or if it was closed without the model seeing it.
            let _ = os::epoll_delete(epoll, knote.kevent.ident as c_int);
        }
        self.knotes.remove(slot);
    }

    /// Removes the knotes of a descriptor that is about to be closed.
    pub(crate) fn remove_descriptor(&mut self, number: c_int) {
        for filter in [EVFILT_READ, EVFILT_WRITE] {
            if let Some(slot) = self.knotes.find(number as usize, filter) {
                self.remove(slot);
            }
        }
        self.update_flag();
    }

    // ------------------------------------------------------------------- events

    /// Reports the active knotes, as many as fit.
    pub(crate) fn retrieve(&mut self, events: &mut Events, others: &mut Model) {
        self.take_edges(others);
        for _ in 0..self.knotes.queued() {
            if events.is_full() {
                break;
            }
            let Some(slot) = self.knotes.pop() else {
                break;
            };
            match self.look(slot, others) {
                Ok(now) if now.holds => events.push(self.report(slot, now)),
                Ok(_) => {}
                Err(_) => self.knotes.remove(slot),
            }
        }
        self.update_flag();
    }

    /// The number of active knotes, and the number of activations so far.
    pub(crate) fn pending(&mut self, others: &mut Model) -> (usize, u64) {
        self.take_edges(others);
        self.update_flag();
        (self.knotes.queued(), self.activations)
    }

    fn take_edges(&mut self, others: &mut Model) {
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        for writing in [false, true] {
            loop {
                let epoll = if writing {
                    &self.writers
                } else {
                    &self.readers
                };
                let taken = os::epoll_take(epoll, &mut room);
                for edge in taken {
                    if let Some(slot) = self.knotes.named(edge.u64) {
                        self.edge(slot, others);
                    }
                }
                if taken.len() < room.len() {
                    break;
                }
            }
        }
        if self.switches.noisy {
            self.make_noise(others);
        }
    }

    /// The descriptor of a knote has an event.
    fn edge(&mut self, slot: Slot, others: &mut Model) {
        let knote = self.knotes.get(slot);
        let (kind, earlier) = match knote.watched {
            Watched::Descriptor(kind, earlier) => (kind, earlier),
            Watched::Process(_) => return self.activate(slot),
            Watched::Triggered(_) => return,
        };
        let writing = knote.kevent.filter == EVFILT_WRITE;
        let Ok(now) = self.look(slot, others) else {
            return self.knotes.remove(slot);
        };
        self.remember(slot, now);
        let told_before = match kind {
            Kind::Queue => now.count == earlier.count,
            Kind::UnixDatagram => true,
            // NetBSD wakes who waits for room before it notes the end. Without room, that is no event.
            Kind::Pipe { .. } => writing && self.switches.netbsd && now.is_full_and_unread(),
            Kind::Stream(_) => writing && !self.switches.noisy && now.only_the_other_end(&earlier),
            _ => false,
        };
        if now.holds && !told_before {
            self.activate(slot);
        }
    }

    /// Reports for writing what some BSD might report: any change, as long as there is capacity.
    fn make_noise(&mut self, others: &mut Model) {
        let mut next = 0;
        while let Some(slot) = self.knotes.writer_from(next) {
            next = slot + 1;
            let Watched::Descriptor(_, earlier) = self.knotes.get(slot).watched else {
                continue;
            };
            match self.look(slot, others) {
                Ok(now) if now != earlier => {
                    self.remember(slot, now);
                    if now.holds {
                        self.activate(slot);
                    }
                }
                Ok(_) => {}
                Err(_) => self.knotes.remove(slot),
            }
        }
    }

    /// Whether the condition of a knote holds. Fails if its descriptor is closed.
    fn look(&self, slot: Slot, others: &mut Model) -> Result<Look> {
        let knote = self.knotes.get(slot);
        match knote.watched {
            Watched::Process(ref process) => Ok(Look {
                holds: os::has_exited(process) && knote.kevent.fflags & NOTE_EXIT != 0,
                eof: true,
                ..Look::default()
            }),
            Watched::Triggered(holds) => Ok(Look {
                holds,
                data: knote.kevent.data,
                ..Look::default()
            }),
            Watched::Descriptor(Kind::Queue, _) => {
                let (pending, activations) = others.pending(knote.kevent.ident as c_int)?;
                Ok(Look {
                    holds: pending > 0,
                    data: pending as isize,
                    count: activations,
                    ..Look::default()
                })
            }
            Watched::Descriptor(kind, _) => {
                Look::at(knote.kevent.ident as c_int, kind, knote.kevent.filter)
            }
        }
    }

    fn remember(&mut self, slot: Slot, now: Look) {
        if let Watched::Descriptor(_, look) = &mut self.knotes.get_mut(slot).watched {
            *look = now;
        }
    }

    fn activate(&mut self, slot: Slot) {
        if !self.knotes.get(slot).disabled && self.knotes.enqueue(slot) {
            self.activations += 1;
        }
    }

    /// The event of a knote that was taken from the FIFO. Also updates or removes the knote.
    fn report(&mut self, slot: Slot, now: Look) -> Kevent {
        let stand_in = self.switches.fflags;
        let knote = self.knotes.get_mut(slot);
        let mut event = knote.kevent;
        event.data = now.data;
        if now.eof {
            event.flags |= EV_EOF;
        }
        if let Watched::Descriptor(..) = knote.watched {
            event.fflags = if now.failed { stand_in } else { 0 };
        }
        if let Watched::Process(_) = knote.watched {
            event.fflags = NOTE_EXIT;
        }
        if event.flags & EV_ONESHOT != 0 {
            self.remove(slot);
            return event;
        }
        if event.flags & EV_DISPATCH != 0 {
            knote.disabled = true;
        }
        if event.flags & EV_CLEAR != 0 {
            if let Watched::Triggered(triggered) = &mut knote.watched {
                *triggered = false;
            }
        } else if !knote.disabled {
            self.knotes.enqueue(slot);
        }
        event
    }

    /// The kqueue is readable while the FIFO has a knote. A closed kqueue always is.
    fn update_flag(&mut self) {
        let closed = self.numbers.is_empty();
        self.flag.set(closed || self.knotes.queued() > 0);
    }
}
