//! What the operating system does for this crate: the contract that every
//! backend keeps, the table of which system has which, and the queue that
//! stands on one of them. Start here.
//!
//! All `unsafe` is under this folder, in small safe wrappers around one call.

use std::io;
#[cfg(unix)]
use std::os::fd::{BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::RawSocket;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::pending::PendingWakes;
use crate::{Backend, Interest, Token};

mod none;
#[cfg(unix)]
pub(crate) mod pipe;
#[cfg(unix)]
mod refused;
mod registration;
#[cfg(feature = "net")]
pub(crate) mod socket;
mod wake;
#[cfg(unix)]
mod wake_fd;

pub(crate) use registration::Registration;
pub(crate) use wake::Wake;

// ---------------------------------------------------------------- THE CONTRACT

/// The contract: what a backend has to do. `Poll` and `Registry` add nothing.
///
/// **Edges.** An event is reported when readiness *begins* after a call of
/// `register` or `reregister`, or after an I/O call that would have blocked; a
/// source that is ready when it is registered is reported. Further events may
/// be spurious; none may be missing.
///
/// **Deregistering** is final: a `select` that begins after `deregister` has
/// returned does not report the registration.
///
/// **Threads.** All methods may be called while another thread is in `select`,
/// and take effect at once.
///
/// **Errors.** A `register` that fails has registered nothing.
///
/// **Dropping** closes the backend's descriptors and makes no other call: a
/// forked child that drops what it inherited does not harm its parent.
///
/// **Memory.** After `open`, nothing is allocated but the amortised growth of
/// a table.
pub(crate) trait Selector: Sized {
    /// A new, empty queue; its descriptors are closed on exec.
    fn open() -> io::Result<Self>;

    /// Waits until there is an event, or for as long as `timeout` says (rounded
    /// up to what the system can; `None` is for ever), and replaces the
    /// contents of `events`.
    ///
    /// At most `events.capacity()` events are taken; the others come with the
    /// next calls, so that no source starves. Fails with `InvalidInput` where
    /// the capacity is 0, with `Interrupted` when a signal ended the wait, and
    /// with nothing else while the descriptor is sound; `events` is then empty.
    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()>;

    /// Begins to watch. What happens to a source that is watched already, and
    /// which ones cannot be, is each backend's to say.
    ///
    /// A backend that keeps something of the registration itself, and has to know when
    /// it ends and when I/O would block, returns its key.
    fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key>;

    /// Replaces token and interest; `NotFound` where the source is not watched.
    /// What is ready is reported anew. The registration is the one with the key,
    /// or, where that is `NONE`, the one of the descriptor. Returns the key that it
    /// has from now on.
    fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<Key>;

    /// Ends watching; `NotFound` where the source is not watched. The
    /// registration is the one with the key, or, where that is `NONE`, the one of
    /// the descriptor.
    fn deregister(&self, source: RawSource, key: Key) -> io::Result<()>;

    /// To be told of how an operation on the source with this key came out, where
    /// that matters. Never called without a key.
    fn after_io(&self, key: Key, outcome: Outcome);

    /// Ends the registration of a source that is dropped. Never called without a
    /// key.
    fn forget(&self, key: Key);

    /// An event that is not a descriptor's, for waking, where the queue has such.
    /// Reported once for any number of times that it was triggered, as readable.
    fn open_user_event(&self, _token: Token) -> io::Result<Option<UserEvent>> {
        Ok(None)
    }

    /// Never called where there are none.
    fn trigger(&self, _event: UserEvent) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends it; one that was triggered and not reported is not any more.
    fn close_user_event(&self, _event: UserEvent) {}

    /// Where the queue reads the descriptors of its wakers.
    #[cfg(unix)]
    fn unread_signals(&self) -> Option<&Arc<wake_fd::UnreadSignals>> {
        None
    }

    /// The queue's own descriptor, for nesting it in another one.
    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_>;
}

// ------------------------------------------------------------------- THE TABLE
//
// The only place that names operating systems, but for public items that some of
// them lack. First the systems and their backends, then the calls that they lack.
//
// A backend that a system lacks is `none::Absent`, a type without values, so that
// what matches on it costs nothing. With `mio_model` Linux takes the part of
// another system, whose queue a library of the tests has: of Apple's with kqueue, of
// illumos with event ports, down to the calls that they lack.

/// Linux and Android.
#[cfg(all(
    feature = "os-poll",
    any(target_os = "linux", target_os = "android"),
    not(any(mio_model = "kqueue", mio_model = "event-ports"))
))]
mod system {
    pub(crate) use super::epoll::Epoll;
    pub(crate) use super::none::{Absent as Afd, Absent as EventPorts, Absent as Kqueue};
    pub(crate) use super::poll::Poll;
    use crate::Backend;

    pub(super) type KernelEvent = ();

    pub(super) const BEST_FIRST: [Backend; 2] = [Backend::Epoll, Backend::Poll];
}

/// Apple's systems and the BSDs.
#[cfg(all(
    feature = "os-poll",
    any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        mio_model = "kqueue"
    )
))]
mod system {
    pub(crate) use super::kqueue::Kqueue;
    pub(crate) use super::none::{Absent as Afd, Absent as Epoll, Absent as EventPorts};
    pub(crate) use super::poll::Poll;
    use crate::Backend;

    pub(super) type KernelEvent = super::kqueue::KernelEvent;

    pub(super) const BEST_FIRST: [Backend; 2] = [Backend::Kqueue, Backend::Poll];
}

/// illumos.
#[cfg(all(
    feature = "os-poll",
    any(target_os = "illumos", mio_model = "event-ports")
))]
mod system {
    pub(crate) use super::epoll::Epoll;
    pub(crate) use super::event_ports::EventPorts;
    pub(crate) use super::none::{Absent as Afd, Absent as Kqueue};
    pub(crate) use super::poll::Poll;
    use crate::Backend;

    pub(super) type KernelEvent = super::event_ports::KernelEvent;

    pub(super) const BEST_FIRST: [Backend; 3] =
        [Backend::Epoll, Backend::EventPorts, Backend::Poll];
}

/// Solaris.
#[cfg(all(feature = "os-poll", target_os = "solaris"))]
mod system {
    pub(crate) use super::event_ports::EventPorts;
    pub(crate) use super::none::{Absent as Afd, Absent as Epoll, Absent as Kqueue};
    pub(crate) use super::poll::Poll;
    use crate::Backend;

    pub(super) type KernelEvent = super::event_ports::KernelEvent;

    pub(super) const BEST_FIRST: [Backend; 2] = [Backend::EventPorts, Backend::Poll];
}

/// Every other Unix.
#[cfg(all(
    feature = "os-poll",
    unix,
    not(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        target_os = "illumos",
        target_os = "solaris"
    ))
))]
mod system {
    pub(crate) use super::none::{
        Absent as Afd, Absent as Epoll, Absent as EventPorts, Absent as Kqueue,
    };
    pub(crate) use super::poll::Poll;
    use crate::Backend;

    pub(super) type KernelEvent = ();

    pub(super) const BEST_FIRST: [Backend; 1] = [Backend::Poll];
}

/// Windows.
#[cfg(all(feature = "os-poll", windows))]
mod system {
    pub(crate) use super::afd::Afd;
    pub(crate) use super::none::{
        Absent as Epoll, Absent as EventPorts, Absent as Kqueue, Absent as Poll,
    };
    use crate::Backend;

    pub(super) type KernelEvent = super::afd::KernelEvent;

    pub(super) const BEST_FIRST: [Backend; 1] = [Backend::Afd];
}

/// Without `os-poll` no system has anything.
#[cfg(not(feature = "os-poll"))]
mod system {
    pub(crate) use super::none::{
        Absent as Afd, Absent as Epoll, Absent as EventPorts, Absent as Kqueue, Absent as Poll,
    };

    pub(super) type KernelEvent = ();
    pub(super) const BEST_FIRST: [crate::Backend; 0] = [];
}

#[cfg(not(any(unix, windows)))]
compile_error!("mio has backends for Unix and Windows only");

#[cfg(all(feature = "os-poll", windows))]
pub(crate) mod afd;
#[cfg(all(feature = "os-poll", unix))]
mod chunks;
#[cfg(all(
    feature = "os-poll",
    any(target_os = "linux", target_os = "android", target_os = "illumos"),
    not(mio_model = "kqueue")
))]
mod epoll;
#[cfg(all(
    feature = "os-poll",
    any(
        target_os = "illumos",
        target_os = "solaris",
        mio_model = "event-ports"
    )
))]
mod event_ports;
#[cfg(all(
    feature = "os-poll",
    any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        mio_model = "kqueue"
    )
))]
mod kqueue;
#[cfg(all(feature = "os-poll", unix))]
mod poll;
#[cfg(feature = "os-poll")]
mod rearm;
#[cfg(all(feature = "os-poll", unix))]
mod rearmed;
#[cfg(all(feature = "os-poll", unix))]
mod table;

/// The names of kqueue: the C library's, or those of a library of the tests.
#[cfg(all(
    feature = "os-poll",
    any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    )
))]
mod kqueue_names {
    pub(super) use libc::{
        kevent, kqueue, EVFILT_AIO, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, EV_ADD, EV_CLEAR,
        EV_DELETE, EV_EOF, EV_ERROR, EV_RECEIPT, NOTE_TRIGGER,
    };

    /// The same filter as for AIO where there is none for LIO.
    #[cfg(not(target_os = "freebsd"))]
    pub(super) use libc::EVFILT_AIO as EVFILT_LIO;
    #[cfg(target_os = "freebsd")]
    pub(super) use libc::EVFILT_LIO;

    /// To what the kernel cuts timeouts off.
    pub(super) const NANOS_OF_TIMEOUT: u32 = if cfg!(target_vendor = "apple") {
        1_000
    } else {
        1
    };
}
#[cfg(all(feature = "os-poll", mio_model = "kqueue"))]
#[path = "calls/kqueue_model.rs"]
mod kqueue_names;

/// The names of event ports, likewise.
#[cfg(all(feature = "os-poll", any(target_os = "illumos", target_os = "solaris")))]
mod port_names {
    pub(super) use libc::{
        port_associate, port_create, port_dissociate, port_event, port_getn, port_send,
        PORT_SOURCE_FD, PORT_SOURCE_USER,
    };
}
#[cfg(all(feature = "os-poll", mio_model = "event-ports"))]
#[path = "calls/event_ports_model.rs"]
mod port_names;

/// Calls that not every Unix has. Of each pair of files, one has the call, and the
/// other does what can be done without.
#[cfg(unix)]
mod calls {
    /// Sockets that are non-blocking from the start. (On x86 Android's sandbox ends
    /// a process that calls `accept4`.)
    #[cfg(all(
        feature = "net",
        not(any(
            target_vendor = "apple",
            all(target_os = "android", target_arch = "x86"),
            mio_model = "kqueue"
        ))
    ))]
    #[path = "accept4.rs"]
    pub(crate) mod accept;
    #[cfg(all(
        feature = "net",
        any(
            target_vendor = "apple",
            all(target_os = "android", target_arch = "x86"),
            mio_model = "kqueue"
        )
    ))]
    #[path = "accept.rs"]
    pub(crate) mod accept;

    #[cfg(all(
        feature = "net",
        not(any(target_vendor = "apple", target_os = "android", mio_model = "kqueue"))
    ))]
    use libc::accept4;
    // The C library's own: what the libc crate calls so on Android is a raw system
    // call, for releases before 5.0, which nothing here runs on.
    #[cfg(all(feature = "net", target_os = "android", not(target_arch = "x86")))]
    extern "C" {
        fn accept4(
            listener: libc::c_int,
            address: *mut libc::sockaddr,
            length: *mut libc::socklen_t,
            flags: libc::c_int,
        ) -> libc::c_int;
    }

    /// Unix addresses that are names instead of paths.
    #[cfg(all(
        feature = "net",
        any(target_os = "linux", target_os = "android"),
        not(mio_model = "kqueue")
    ))]
    #[path = "abstract_names.rs"]
    pub(crate) mod abstract_names;
    #[cfg(all(
        feature = "net",
        any(
            not(any(target_os = "linux", target_os = "android")),
            mio_model = "kqueue"
        )
    ))]
    #[path = "no_abstract_names.rs"]
    pub(crate) mod abstract_names;

    /// Making an epoll, and changing what it watches. On Linux nothing of it passes
    /// through the C library, unless its functions are replaced (`replacement`).
    #[cfg(all(
        feature = "os-poll",
        target_os = "linux",
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "sys_epoll.rs"]
    pub(super) mod epoll;
    #[cfg(all(
        feature = "os-poll",
        any(
            target_os = "android",
            target_os = "illumos",
            mio_model = "event-ports"
        )
    ))]
    #[path = "epoll.rs"]
    pub(super) mod epoll;

    /// What epoll waits with. (Android's sandbox knows the C library's calls only.)
    #[cfg(all(
        feature = "os-poll",
        target_os = "linux",
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "epoll_pwait2.rs"]
    pub(super) mod epoll_wait;
    #[cfg(all(
        feature = "os-poll",
        any(
            target_os = "android",
            target_os = "illumos",
            mio_model = "event-ports"
        )
    ))]
    #[path = "epoll_wait.rs"]
    pub(super) mod epoll_wait;

    #[cfg(all(
        feature = "os-poll",
        target_os = "linux",
        target_env = "gnu",
        not(target_feature = "crt-static"),
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "epoll.rs"]
    mod libc_epoll;
    #[cfg(all(
        feature = "os-poll",
        target_os = "linux",
        target_env = "gnu",
        not(target_feature = "crt-static"),
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "epoll_wait.rs"]
    mod libc_epoll_wait;
    /// What replaces the C library's functions on epoll: looked for where the kernel is
    /// called past them, and where there is a dynamic linker to ask. (musl has no name to
    /// know its library by.)
    #[cfg(all(
        feature = "os-poll",
        target_os = "linux",
        target_env = "gnu",
        not(target_feature = "crt-static"),
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "replacement.rs"]
    pub(super) mod replacement;
    #[cfg(any(
        not(feature = "os-poll"),
        not(target_os = "linux"),
        not(target_env = "gnu"),
        target_feature = "crt-static",
        mio_model = "kqueue",
        mio_model = "event-ports"
    ))]
    #[path = "no_replacement.rs"]
    pub(super) mod replacement;

    /// eventfd(2). FreeBSD and NetBSD have it in their newest releases only.
    #[cfg(all(
        any(target_os = "linux", target_os = "android", target_os = "illumos"),
        not(mio_model = "kqueue")
    ))]
    #[path = "eventfd.rs"]
    pub(super) mod eventfd;
    #[cfg(any(
        not(any(target_os = "linux", target_os = "android", target_os = "illumos")),
        mio_model = "kqueue"
    ))]
    #[path = "no_eventfd.rs"]
    pub(super) mod eventfd;

    /// Pipes that are non-blocking from the start.
    #[cfg(not(any(target_vendor = "apple", target_os = "haiku", mio_model = "kqueue")))]
    #[path = "pipe2.rs"]
    pub(super) mod pipe;
    #[cfg(any(target_vendor = "apple", target_os = "haiku", mio_model = "kqueue"))]
    #[path = "pipe.rs"]
    pub(super) mod pipe;

    /// poll(2) for less than a millisecond.
    #[cfg(all(
        feature = "os-poll",
        any(
            target_os = "linux",
            target_os = "android",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly"
        ),
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "ppoll.rs"]
    pub(super) mod poll;
    #[cfg(all(
        feature = "os-poll",
        any(
            not(any(
                target_os = "linux",
                target_os = "android",
                target_os = "freebsd",
                target_os = "netbsd",
                target_os = "openbsd",
                target_os = "dragonfly"
            )),
            mio_model = "kqueue",
            mio_model = "event-ports"
        )
    ))]
    #[path = "poll.rs"]
    pub(super) mod poll;

    /// What the C library has no cheap function for.
    #[cfg(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_pointer_width = "64",
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "syscall_x86_64.rs"]
    mod syscall;
    #[cfg(all(
        target_os = "linux",
        not(all(target_arch = "x86_64", target_pointer_width = "64")),
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "syscall.rs"]
    mod syscall;

    /// Writing without a cancellation point, which the C library's call is.
    #[cfg(all(
        target_os = "linux",
        not(any(mio_model = "kqueue", mio_model = "event-ports"))
    ))]
    #[path = "sys_write.rs"]
    pub(super) mod write;
    #[cfg(any(
        not(target_os = "linux"),
        mio_model = "kqueue",
        mio_model = "event-ports"
    ))]
    pub(super) use libc_write as write;
    /// Writing by the C library, everywhere.
    #[path = "write.rs"]
    pub(super) mod libc_write;
}

/// What tells that a peer has shut down its writing half; 0 where poll(2) and event
/// ports do not tell.
#[cfg(all(
    feature = "os-poll",
    any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "illumos"
    ),
    not(mio_model = "kqueue")
))]
const POLLRDHUP: libc::c_short = libc::POLLRDHUP;
#[cfg(all(
    feature = "os-poll",
    unix,
    any(
        not(any(
            target_os = "linux",
            target_os = "android",
            target_os = "freebsd",
            target_os = "illumos"
        )),
        mio_model = "kqueue"
    )
))]
const POLLRDHUP: libc::c_short = 0;

/// Whether epoll makes an edge of a write to an eventfd or pipe that was readable
/// already.
#[cfg(unix)]
const EVERY_WRITE_IS_AN_EDGE: bool = cfg!(all(
    any(target_os = "linux", target_os = "android"),
    not(mio_model = "event-ports")
));

// ------------------------------------------------------- what stands on a row

/// What an operating system calls a source.
#[cfg(unix)]
pub(crate) type RawSource = RawFd;
#[cfg(windows)]
pub(crate) type RawSource = RawSocket;

/// The backends of this system, the default one first.
pub(crate) const BACKENDS: &[Backend] = &default_first(system::BEST_FIRST);

const fn default_first<const N: usize>(best_first: [Backend; N]) -> [Backend; N] {
    let mut order = best_first;
    if cfg!(mio_unsupported_force_poll_poll) && N > 0 {
        order[0] = Backend::Poll;
        let mut index = 1;
        while index < N {
            order[index] = best_first[index - 1];
            index += 1;
        }
    }
    order
}

/// Who does the I/O on what is registered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(dead_code)] // on Windows there are neither bare descriptors nor wakers' own
pub(crate) enum Owner {
    /// An `IoSource`, which tells when I/O would block, and deregisters when it is
    /// dropped.
    Source,
    /// Nobody that is known: a bare descriptor.
    Nobody,
    /// A waker. Whoever reports its event reads what made it readable, where that
    /// is needed to end it.
    Waker,
}

/// The outcome of an operation, to a backend that re-arms.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It would have blocked, or a stream's transfer came up short; in an unknown direction where
    /// `None`.
    WouldBlock(Option<Interest>),
    /// It failed; likewise.
    Failed(Option<Interest>),
    /// A peek at a stream came up short.
    #[cfg_attr(not(feature = "net"), allow(dead_code))] // only sockets can be peeked at
    ShortPeek,
    /// The error that was pending has been asked for.
    #[cfg_attr(not(feature = "net"), allow(dead_code))] // only sockets have one
    ErrorTaken,
}

/// A program's mistake.
#[derive(Copy, Clone)]
pub(crate) enum Mistake {
    AlreadyRegistered,
    NotRegistered,
}

impl Mistake {
    fn kind(self) -> io::ErrorKind {
        match self {
            Mistake::AlreadyRegistered => io::ErrorKind::AlreadyExists,
            Mistake::NotRegistered => io::ErrorKind::NotFound,
        }
    }

    /// What a kernel said of it is passed on as it is, but in debug builds, for somebody who looks for
    /// the mistake.
    #[inline]
    fn explain(self, error: io::Error) -> io::Error {
        match cfg!(debug_assertions) && error.kind() == self.kind() {
            true => self.into(),
            false => error,
        }
    }
}

impl From<Mistake> for io::Error {
    #[cold]
    fn from(mistake: Mistake) -> io::Error {
        let text = match mistake {
            Mistake::AlreadyRegistered => "I/O source already registered with a `Registry`",
            Mistake::NotRegistered => "I/O source not registered with this `Registry`",
        };
        io::Error::new(mistake.kind(), text)
    }
}

/// What a backend calls a registration, where it keeps registrations itself: its slot. One source has
/// it, and gives it back by [`forget`](Selector::forget) or `deregister`; until then the slot is not
/// used again, even if the registration has ended in another way.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    /// That of a registration which the kernel keeps, or of none.
    pub(crate) const NONE: Key = Key(0);

    /// How many slots there may be.
    const SLOTS: usize = (1 << 31) - 1;

    #[inline]
    fn of_slot(slot: u32) -> Key {
        Key(slot + 1)
    }

    #[inline]
    fn slot(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// An event of a queue's own: see `Selector::open_user_event`.
#[derive(Copy, Clone, Debug)]
#[allow(dead_code)] // where no backend has such
pub(crate) struct UserEvent {
    ident: usize,
    token: Token,
}

/// Events as the kernel and the program see them, allocated once.
///
/// A kernel whose format is `Event`'s writes them directly; for another there is
/// room beside. `()`, where no backend of the system needs that, takes none.
pub(crate) struct EventBuffer {
    events: Vec<Event>,
    /// Always empty: room only.
    #[allow(dead_code)] // where no backend needs it
    kernel: Vec<system::KernelEvent>,
}

impl EventBuffer {
    pub(crate) fn with_capacity(capacity: usize) -> EventBuffer {
        EventBuffer {
            events: Vec::with_capacity(capacity),
            kernel: Vec::with_capacity(capacity),
        }
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    #[inline]
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.events.len() == self.events.capacity()
    }

    /// To be called when it is not full.
    #[inline]
    fn push(&mut self, event: Event) {
        debug_assert!(!self.is_full());
        self.events.push(event);
    }
}

/// One event queue: a backend, chosen when it is opened, and the wake-ups that
/// are pending on it. Shared by a `Poll` and the clones of its `Registry`.
#[derive(Debug)]
pub(crate) struct Queue {
    backend: AnySelector,
    wakes: Arc<PendingWakes>,
}

/// An epoll of what replaces the C library's functions, where that can be.
#[cfg(all(
    feature = "os-poll",
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(any(mio_model = "kqueue", mio_model = "event-ports"))
))]
type ReplacedEpoll = epoll::Epoll<calls::replacement::Replacement>;
#[cfg(any(
    not(feature = "os-poll"),
    not(target_os = "linux"),
    not(target_env = "gnu"),
    target_feature = "crt-static",
    mio_model = "kqueue",
    mio_model = "event-ports"
))]
type ReplacedEpoll = none::Absent;

#[derive(Debug)]
#[repr(u8)] // a tag of its own, which is compared with one number
#[allow(clippy::large_enum_variant)] // a queue lies in an `Arc`, and there are few
enum AnySelector {
    Epoll(system::Epoll),
    #[cfg_attr(windows, allow(dead_code))] // nothing opens one
    ReplacedEpoll(ReplacedEpoll),
    Kqueue(system::Kqueue),
    EventPorts(system::EventPorts),
    Afd(system::Afd),
    Poll(system::Poll),
}

/// Calls a method of the backend that a queue stands on.
macro_rules! dispatch {
    ($queue:expr, $method:ident($($argument:expr),*)) => {
        match &$queue.backend {
            AnySelector::Epoll(selector) => selector.$method($($argument),*),
            AnySelector::ReplacedEpoll(selector) => selector.$method($($argument),*),
            AnySelector::Kqueue(selector) => selector.$method($($argument),*),
            AnySelector::EventPorts(selector) => selector.$method($($argument),*),
            AnySelector::Afd(selector) => selector.$method($($argument),*),
            AnySelector::Poll(selector) => selector.$method($($argument),*),
        }
    };
}

impl Queue {
    pub(crate) fn open(backend: Backend) -> io::Result<Queue> {
        if !BACKENDS.contains(&backend) {
            return Err(unsupported(backend));
        }
        let opened = match backend {
            #[cfg(unix)]
            Backend::Epoll if calls::replacement::is_there() => {
                AnySelector::ReplacedEpoll(Selector::open()?)
            }
            Backend::Epoll => AnySelector::Epoll(Selector::open()?),
            Backend::Kqueue => AnySelector::Kqueue(Selector::open()?),
            Backend::EventPorts => AnySelector::EventPorts(Selector::open()?),
            Backend::Afd => AnySelector::Afd(Selector::open()?),
            Backend::Poll => AnySelector::Poll(Selector::open()?),
        };
        Ok(Queue {
            backend: opened,
            wakes: Arc::new(PendingWakes::new()),
        })
    }

    pub(crate) fn backend(&self) -> Backend {
        match &self.backend {
            AnySelector::Epoll(_) | AnySelector::ReplacedEpoll(_) => Backend::Epoll,
            AnySelector::Kqueue(_) => Backend::Kqueue,
            AnySelector::EventPorts(_) => Backend::EventPorts,
            AnySelector::Afd(_) => Backend::Afd,
            AnySelector::Poll(_) => Backend::Poll,
        }
    }

    // Always: one arm is short, and the others make it look long.
    #[inline(always)]
    pub(crate) fn select(
        &self,
        events: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let selected = dispatch!(self, select(events, timeout));
        // Whatever came of it: a wake from now on belongs to the next call.
        self.wakes.take();
        selected
    }

    #[inline]
    pub(crate) fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key> {
        dispatch!(self, register(source, token, interest, owner))
    }

    #[inline]
    pub(crate) fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<Key> {
        dispatch!(self, reregister(source, key, token, interest))
    }

    #[inline]
    pub(crate) fn deregister(&self, source: RawSource, key: Key) -> io::Result<()> {
        dispatch!(self, deregister(source, key))
    }

    fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        dispatch!(self, open_user_event(token))
    }

    fn trigger(&self, event: UserEvent) -> io::Result<()> {
        dispatch!(self, trigger(event))
    }

    fn close_user_event(&self, event: UserEvent) {
        dispatch!(self, close_user_event(event))
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        dispatch!(self, after_io(key, outcome))
    }

    fn forget(&self, key: Key) {
        dispatch!(self, forget(key))
    }

    #[cfg(all(windows, feature = "os-ext"))]
    fn afd(&self) -> Option<&afd::Afd> {
        match &self.backend {
            AnySelector::Afd(selector) => Some(selector),
            _ => None,
        }
    }

    /// The wake-ups pending on this queue. They outlive it where wakers do, and
    /// the wakers then wake nobody.
    pub(crate) fn wakes(&self) -> &Arc<PendingWakes> {
        &self.wakes
    }

    #[cfg(unix)]
    fn unread_signals(&self) -> Option<&Arc<wake_fd::UnreadSignals>> {
        dispatch!(self, unread_signals())
    }

    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        dispatch!(self, as_fd())
    }
}

fn unsupported(backend: Backend) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the {backend} backend is not available on this system"),
    )
}

/// Turns the -1 of a failed call into the error that it left in `errno`.
#[cfg(unix)]
fn cvt<T: PartialOrd + From<i8>>(result: T) -> io::Result<T> {
    // Of the calls that this is used for, none returns another negative value.
    if result < T::from(0) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Turns the FALSE of a failed call into the error that it left behind.
#[cfg(all(windows, feature = "os-poll"))]
fn bool_result(result: windows_sys::core::BOOL) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

const NANOS_PER_MILLI: u32 = 1_000_000;

/// The timeout in milliseconds where it is a whole number of them, and one that a
/// call with such a timeout can take (24 days).
#[inline]
#[allow(dead_code)] // where no call is more precise
fn whole_millis(timeout: Duration) -> Option<i32> {
    const MAX_SECONDS: u64 = i32::MAX as u64 / 1000 - 1;

    let nanos = timeout.subsec_nanos();
    if nanos % NANOS_PER_MILLI == 0 && timeout.as_secs() <= MAX_SECONDS {
        Some(timeout.as_secs() as i32 * 1000 + (nanos / NANOS_PER_MILLI) as i32)
    } else {
        None
    }
}

/// The most seconds that every kernel takes; what is longer ends early.
#[cfg(unix)]
const MAX_SECONDS: u64 = 100_000_000;

/// The timeout as a kernel takes it.
#[cfg(unix)]
#[allow(dead_code)] // where every call counts milliseconds
fn timespec(timeout: Duration) -> libc::timespec {
    let timeout = timeout.min(Duration::from_secs(MAX_SECONDS));
    // SAFETY: all zeros are a valid `timespec`, which has padding on some systems.
    let mut limit: libc::timespec = unsafe { std::mem::zeroed() };
    limit.tv_sec = timeout.as_secs() as _;
    limit.tv_nsec = timeout.subsec_nanos() as _;
    limit
}

/// The timeout in milliseconds, never less than it is but for the longest that a
/// call can take.
#[cold]
#[allow(dead_code)] // where every backend can do better
fn millis_rounded_up(timeout: Duration) -> i32 {
    let per_milli = u128::from(NANOS_PER_MILLI);
    let millis = (timeout.as_nanos() + per_milli - 1) / per_milli;
    i32::try_from(millis).unwrap_or(i32::MAX)
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn whole_milliseconds_are_told_apart() {
        assert_eq!(whole_millis(Duration::ZERO), Some(0));
        assert_eq!(whole_millis(MILLI), Some(1));
        assert_eq!(whole_millis(Duration::from_millis(61_234)), Some(61_234));
        assert_eq!(whole_millis(NANO), None);
        assert_eq!(whole_millis(MILLI + NANO), None);
        assert_eq!(whole_millis(MILLI - NANO), None);
        let longest = Duration::from_secs(i32::MAX as u64 / 1000 - 1);
        assert_eq!(whole_millis(longest), Some(2_147_482_000));
        assert_eq!(whole_millis(longest + Duration::from_secs(1)), None);
        assert_eq!(whole_millis(Duration::MAX), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_timeout_that_does_not_fit_is_clamped() {
        let limit = timespec(Duration::new(3, 4));
        assert_eq!((limit.tv_sec, limit.tv_nsec), (3, 4));
        let limit = timespec(Duration::MAX);
        assert_eq!((limit.tv_sec, limit.tv_nsec), (100_000_000, 0));
    }

    #[test]
    fn milliseconds_are_rounded_up_never_down() {
        assert_eq!(millis_rounded_up(Duration::ZERO), 0);
        assert_eq!(millis_rounded_up(NANO), 1);
        assert_eq!(millis_rounded_up(MILLI - NANO), 1);
        assert_eq!(millis_rounded_up(MILLI), 1);
        assert_eq!(millis_rounded_up(MILLI + NANO), 2);
        assert_eq!(millis_rounded_up(Duration::MAX), i32::MAX);
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        assert_eq!(millis_rounded_up(month), i32::MAX);
    }
}
