//! The tests' common parts: a poll with a deadline for every wait, and a macro that runs each test
//! once for every backend of the machine.

// Every test file is a crate of its own and uses part of this.
#![allow(dead_code)]

#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, RawSocket};
use std::process::Command;
#[cfg(unix)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU8, Ordering};
#[cfg(unix)]
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// Links the model of the kernel.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use mio::event::{Event, Source};
use mio::{Backend, Events, Interest, Poll, Registry, Token, Waker};

/// Makes a `#[test]` of each function for each backend: `epoll::name`. Every function takes the
/// backend. The compiler warns of dead code for a function that is not listed. A test for some
/// systems only has a `#[cfg(…)]` before its name.
///
/// `every_backend_is_tested`, in `tests/backends.rs`, compares the list here with
/// `Backend::available`. Nowhere else in the tests is it written which system has which backend.
#[macro_export]
macro_rules! on_each_backend {
    ($($(#[$attribute:meta])* $test:ident),+ $(,)?) => {
        #[cfg(any(
            all(
                any(target_os = "linux", target_os = "android"),
                not(mio_model = "kqueue")
            ),
            target_os = "illumos"
        ))]
        mod epoll {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    super::$test(mio::Backend::Epoll)
                }
            )+
        }

        #[cfg(any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
            mio_model = "kqueue"
        ))]
        mod kqueue {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    super::$test(mio::Backend::Kqueue)
                }
            )+
        }

        #[cfg(any(
            target_os = "illumos",
            target_os = "solaris",
            mio_model = "event-ports"
        ))]
        mod event_ports {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    super::$test(mio::Backend::EventPorts)
                }
            )+
        }

        #[cfg(unix)]
        mod poll {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    super::$test(mio::Backend::Poll)
                }
            )+
        }

        #[cfg(windows)]
        mod afd {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    super::$test(mio::Backend::Afd)
                }
            )+
        }
    };
}

/// The module that `on_each_backend` creates for a backend.
pub fn module(backend: Backend) -> String {
    backend.to_string().replace('-', "_")
}

/// The differences between backends, by name.
pub trait Differences {
    /// A table of the crate stores the registrations, not the kernel. Dropping a source ends its
    /// registration, and so does turning it into another type.
    fn keeps_a_table(self) -> bool;

    /// An event reports everything that the source is ready for, not only the armed directions.
    fn reports_all_readiness(self) -> bool;

    /// Reading and writing have separate events, each of which says nothing about the other.
    fn has_events_for_each_direction(self) -> bool;

    /// Registering a registered source replaces its registration. Reregistering does the same, even
    /// for a source that is not registered.
    fn register_replaces(self) -> bool;

    /// A registration belongs to the descriptor, and not to the object that its duplicates share.
    fn goes_by_number(self) -> bool;

    /// Registering makes no system call, so no kernel can refuse it.
    fn takes_everything(self) -> bool;

    /// Files and directories, which are always ready, are refused.
    fn refuses_files(self) -> bool;

    /// A stream that was never connected counts as hung up.
    fn reports_unconnected(self) -> bool;

    /// A socket's error, and the end of both its directions, are reported as such. (Elsewhere they only make
    /// it readable and writable, which is not new to a socket that was. The next operation finds them.)
    fn reports_ends_of_sockets(self) -> bool;

    /// The end of a pipe is a hang-up of both directions, of which each is ready.
    fn ends_pipes_in_both_directions(self) -> bool;

    /// A refused datagram is an error. On other backends it makes the socket readable.
    fn reports_refused_datagrams(self) -> bool;

    /// The end of a peer's data is reported as such, not only as data.
    fn reports_half_close(self) -> bool;

    /// A pipe without receivers can be registered for writing, and is then reported.
    fn takes_a_pipe_without_receivers(self) -> bool;

    /// That the last receiver of a full pipe closes is an event. (Where it is not, sending fails, and
    /// registering again reports it.)
    fn reports_the_end_of_a_full_pipe(self) -> bool;

    /// A pipe with a name is reported write-closed only while it has no receiver.
    fn tells_whether_a_named_pipe_has_receivers(self) -> bool;

    /// If both halves of a stream are shut down, this is reported differently from the peer's half
    /// alone.
    fn reports_both_halves(self) -> bool;

    /// Closing a Unix socket with unread data resets its peer. (For a kqueue system this is not
    /// known: NetBSD does not.)
    fn resets_unix_peers(self) -> bool;

    /// Several events may report conditions that begin at the same time.
    fn reports_in_parts(self) -> bool;

    /// Timeouts are more precise than a millisecond.
    fn waits_for_fractions(self) -> bool;

    /// The poll's descriptor can be watched by another event loop. (That of an event port without
    /// any capacity left does not show wakes.)
    fn can_be_nested(self) -> bool;

    /// Polls that watch each other are refused.
    fn refuses_circles(self) -> bool;

    /// A waker has a descriptor, and not a user event of the queue.
    fn wakes_by_descriptor(self) -> bool;

    /// The exit of a child process can be watched.
    fn watches_children(self) -> bool;
}

impl Differences for Backend {
    fn keeps_a_table(self) -> bool {
        matches!(self, Backend::Poll | Backend::EventPorts | Backend::Afd)
    }

    fn reports_all_readiness(self) -> bool {
        self == Backend::Epoll
    }

    fn has_events_for_each_direction(self) -> bool {
        self == Backend::Kqueue
    }

    fn register_replaces(self) -> bool {
        self == Backend::Kqueue
    }

    fn goes_by_number(self) -> bool {
        self != Backend::Epoll
    }

    fn takes_everything(self) -> bool {
        self == Backend::Poll
    }

    fn refuses_files(self) -> bool {
        self == Backend::Epoll
    }

    fn reports_unconnected(self) -> bool {
        !matches!(self, Backend::Kqueue | Backend::Afd) && !has_poll_of_netbsd(self)
    }

    fn reports_ends_of_sockets(self) -> bool {
        !has_poll_of_netbsd(self)
    }

    fn ends_pipes_in_both_directions(self) -> bool {
        has_poll_of_netbsd(self)
    }

    fn reports_refused_datagrams(self) -> bool {
        !matches!(self, Backend::Kqueue | Backend::Afd) && !has_poll_of_netbsd(self)
    }

    fn reports_half_close(self) -> bool {
        // Not where poll(2) has no POLLRDHUP.
        let reports = !cfg!(any(
            target_vendor = "apple",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
            target_os = "solaris",
            mio_model = "kqueue"
        ));
        match self {
            Backend::Poll => reports,
            Backend::EventPorts => reports && !switched("EVENT_PORTS_MODEL_RDHUP", "0"),
            _ => true,
        }
    }

    fn takes_a_pipe_without_receivers(self) -> bool {
        !(self == Backend::Kqueue && switched("KQUEUE_MODEL_WITHOUT_USER", "1"))
    }

    fn reports_the_end_of_a_full_pipe(self) -> bool {
        !(self == Backend::Kqueue && netbsd())
    }

    fn tells_whether_a_named_pipe_has_receivers(self) -> bool {
        !(self == Backend::Kqueue && netbsd())
    }

    fn reports_both_halves(self) -> bool {
        self != Backend::Afd && !has_poll_of_netbsd(self)
    }

    fn resets_unix_peers(self) -> bool {
        self != Backend::Kqueue
    }

    fn reports_in_parts(self) -> bool {
        matches!(self, Backend::Kqueue | Backend::EventPorts | Backend::Afd)
    }

    fn waits_for_fractions(self) -> bool {
        match self {
            // With `epoll_pwait2`, which not every C library has.
            Backend::Epoll => cfg!(target_os = "linux") && !ON_A_MODEL,
            // With `ppoll`.
            Backend::Poll => {
                let lacks = cfg!(any(
                    target_vendor = "apple",
                    target_os = "illumos",
                    target_os = "solaris"
                ));
                !lacks && !ON_A_MODEL
            }
            // With a timer that only the newest releases have.
            Backend::Afd => false,
            Backend::Kqueue => !netbsd(),
            _ => true,
        }
    }

    fn can_be_nested(self) -> bool {
        let is_full = switched("EVENT_PORTS_MODEL_SEND", "eagain");
        match self {
            Backend::Poll | Backend::Afd => false,
            Backend::EventPorts => !is_full,
            _ => true,
        }
    }

    fn refuses_circles(self) -> bool {
        self == Backend::Epoll
    }

    fn wakes_by_descriptor(self) -> bool {
        matches!(self, Backend::Epoll | Backend::Poll)
    }

    fn watches_children(self) -> bool {
        match self {
            Backend::Kqueue => true,
            Backend::Epoll | Backend::Poll => !ON_A_MODEL && has_pidfds(),
            _ => false,
        }
    }
}

/// Whether the kernel has descriptors of processes. (valgrind's has not.)
#[cfg(target_os = "linux")]
fn has_pidfds() -> bool {
    use std::os::fd::{FromRawFd, OwnedFd};

    // SAFETY: the call has no memory-safety preconditions, and nothing else owns the new descriptor.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
        if fd >= 0 {
            drop(OwnedFd::from_raw_fd(fd as RawFd));
        }
        fd >= 0
    }
}

#[cfg(not(target_os = "linux"))]
fn has_pidfds() -> bool {
    false
}

/// Whether data that a Unix socket loses, unread, is an error of the socket that sent it.
pub const LOST_DATA_IS_AN_ERROR: bool = cfg!(target_os = "linux");

/// The interest with the exclusive mode, where the system has it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn exclusive(interest: mio::Interest) -> Option<mio::Interest> {
    Some(interest.exclusive())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn exclusive(_: mio::Interest) -> Option<mio::Interest> {
    None
}

/// What the kernel does not register exclusively: empty where nothing can be exclusive.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn not_exclusive() -> Vec<mio::Interest> {
    let exclusive = mio::Interest::READABLE.exclusive();
    vec![exclusive.oneshot(), exclusive | mio::Interest::PRIORITY]
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn not_exclusive() -> Vec<mio::Interest> {
    Vec::new()
}

/// Whether the kernel is NetBSD's, or a model of it.
pub fn netbsd() -> bool {
    cfg!(target_os = "netbsd") || switched("KQUEUE_MODEL_NETBSD", "1")
}

/// Whether the backend waits with NetBSD's poll(2).
fn has_poll_of_netbsd(backend: Backend) -> bool {
    backend == Backend::Poll && netbsd()
}

/// The error of a Unix datagram socket whose peer is full. (Where it is not `WouldBlock`, there is no
/// event when there is room again.)
#[cfg(unix)]
pub fn full_datagram_peer() -> i32 {
    match netbsd() {
        true => libc::ENOBUFS,
        false => libc::EAGAIN,
    }
}

/// Whether a UDP socket that was shut down goes on receiving; NetBSD's is at its end for good. (The
/// models' sockets are Linux's, but with NetBSD's poll(2) they are readable for good.)
pub fn shut_down_sockets_receive(backend: Backend) -> bool {
    !cfg!(target_os = "netbsd") && !has_poll_of_netbsd(backend)
}

/// Whether a model is switched to a kernel that lacks something.
fn switched(switch: &str, value: &str) -> bool {
    ON_A_MODEL && std::env::var(switch).is_ok_and(|set| set == value)
}

/// Whether a model replaces the kernel, so that its own resources count as well.
pub const ON_A_MODEL: bool = cfg!(any(mio_model = "kqueue", mio_model = "event-ports"));

/// How much slower than usual everything may be. The tests also run under instrumentation, which
/// sets `MIO_TEST_SLOW`.
pub fn slowness() -> u32 {
    match std::env::var("MIO_TEST_SLOW") {
        Ok(factor) => factor.parse().expect("MIO_TEST_SLOW is a whole number"),
        Err(_) => 1,
    }
}

/// How long to wait for an event that must come: a failing test may take that long, and a passing
/// test never does. Ten seconds, or `MIO_TEST_PATIENCE` seconds, which is set for tests that are
/// known to fail.
pub fn patience() -> Duration {
    let seconds = match std::env::var("MIO_TEST_PATIENCE") {
        Ok(seconds) => seconds
            .parse()
            .expect("MIO_TEST_PATIENCE is a whole number"),
        Err(_) => 10,
    };
    Duration::from_secs(seconds) * slowness()
}

/// How long to check that no event comes.
pub const A_WHILE: Duration = Duration::from_millis(20);

/// An object whose descriptor the program exchanges for another one.
#[cfg(unix)]
pub struct Exchanged<'a>(pub std::cell::Cell<BorrowedFd<'a>>);

#[cfg(unix)]
impl AsFd for Exchanged<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get()
    }
}

/// A poll and a buffer, with waits that give up.
pub struct Loop {
    pub poll: Poll,
    pub events: Events,
}

impl Loop {
    pub fn new(backend: Backend) -> Loop {
        Loop::with_capacity(backend, 64)
    }

    pub fn with_capacity(backend: Backend, capacity: usize) -> Loop {
        Loop {
            poll: Poll::with_backend(backend).expect("opens the backend"),
            events: Events::with_capacity(capacity),
        }
    }

    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    #[track_caller]
    pub fn register(&self, source: &mut impl Source, token: Token, interests: Interest) {
        let registered = self.registry().register(source, token, interests);
        registered.expect("it can be registered");
    }

    #[track_caller]
    pub fn reregister(&self, source: &mut impl Source, token: Token, interests: Interest) {
        let reregistered = self.registry().reregister(source, token, interests);
        reregistered.expect("it can be reregistered");
    }

    /// Polls until `done` returns true for an event. It is called for every event.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Event) -> bool) {
        let deadline = Instant::now() + patience();
        loop {
            self.poll
                .poll_until(&mut self.events, Some(deadline))
                .expect("polls");
            assert!(!self.events.is_empty(), "waited in vain for {what}");
            // It sees all of them, including those behind the one that ends the wait.
            let mut found = false;
            for event in &self.events {
                found |= done(event);
            }
            // An event after the deadline has not ended the wait.
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            if found {
                return;
            }
        }
    }

    /// Polls until the token was reported readable.
    #[track_caller]
    pub fn until_readable(&mut self, token: Token) {
        self.until(&format!("{token:?} to be readable"), |event| {
            event.token() == token && event.is_readable()
        });
    }

    /// Polls until the token was reported writable.
    #[track_caller]
    pub fn until_writable(&mut self, token: Token) {
        self.until(&format!("{token:?} to be writable"), |event| {
            event.token() == token && event.is_writable()
        });
    }

    /// Polls until everything that `wanted` names was reported for the token, by one event or
    /// several. Returns everything that was.
    #[track_caller]
    pub fn until_reported(&mut self, token: Token, wanted: Seen) -> Seen {
        let mut seen = Seen::default();
        self.until(&format!("{token:?} to be {wanted:?}"), |event| {
            assert_eq!(event.token(), token, "an event of another source");
            seen = seen.and(Seen::of(event));
            seen.and(wanted) == seen
        });
        seen
    }

    /// Polls for a little while, and fails if there is any event.
    #[track_caller]
    pub fn assert_quiet(&mut self) {
        self.poll
            .poll_until(&mut self.events, Some(Instant::now() + A_WHILE))
            .expect("polls");
        assert!(self.events.is_empty(), "unexpected: {:?}", self.events);
    }

    /// Polls for a little while, and fails if an event is anything but writable.
    #[track_caller]
    pub fn assert_quiet_but_writable(&mut self) {
        self.poll
            .poll_until(&mut self.events, Some(Instant::now() + A_WHILE / 4))
            .expect("polls");
        for event in &self.events {
            let seen = Seen::of(event);
            assert_eq!(seen, Seen::named("writable"), "unexpected: {event:?}");
        }
    }

    /// Polls once, and fails if there is no event.
    #[track_caller]
    pub fn assert_some_ready(&mut self) {
        self.poll
            .poll_until(&mut self.events, Some(Instant::now() + patience()))
            .expect("polls");
        assert!(!self.events.is_empty(), "waited in vain");
    }

    /// Polls without waiting, and fails if there is any event.
    #[track_caller]
    pub fn assert_nothing_ready(&mut self) {
        self.poll
            .poll(&mut self.events, Some(Duration::ZERO))
            .expect("polls");
        assert!(self.events.is_empty(), "unexpected: {:?}", self.events);
    }
}

/// A thread that polls while others make changes.
pub struct Polling {
    registry: Registry,
    waker: Waker,
    thread: thread::JoinHandle<Loop>,
}

impl Polling {
    /// Nothing else has this token.
    const DONE: Token = Token(usize::MAX);

    pub fn begin(mut looper: Loop) -> Polling {
        Polling {
            registry: looper.registry().try_clone().unwrap(),
            waker: Waker::new(looper.registry(), Polling::DONE).unwrap(),
            // Until the event itself was reported, so that no later poll gets it.
            thread: thread::spawn(move || loop {
                looper.assert_some_ready();
                let mut events = looper.events.iter();
                if events.any(|event| event.token() == Polling::DONE) {
                    return looper;
                }
            }),
        }
    }

    pub fn registry(&self) -> Registry {
        self.registry.try_clone().unwrap()
    }

    pub fn end(self) -> Loop {
        self.waker.wake().unwrap();
        self.thread.join().unwrap()
    }
}

/// The contents of events, without the token.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub readable: bool,
    pub writable: bool,
    pub read_closed: bool,
    pub write_closed: bool,
    pub error: bool,
    pub priority: bool,
}

impl Seen {
    pub fn of(event: &Event) -> Seen {
        Seen {
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
            priority: event.is_priority(),
        }
    }

    /// Parses `"readable read_closed"`.
    pub fn named(names: &str) -> Seen {
        let mut seen = Seen::default();
        for name in names.split_whitespace() {
            *match name {
                "readable" => &mut seen.readable,
                "writable" => &mut seen.writable,
                "read_closed" => &mut seen.read_closed,
                "write_closed" => &mut seen.write_closed,
                "error" => &mut seen.error,
                "priority" => &mut seen.priority,
                other => panic!("no event is {other:?}"),
            } = true;
        }
        seen
    }

    pub fn and(self, other: Seen) -> Seen {
        Seen {
            readable: self.readable | other.readable,
            writable: self.writable | other.writable,
            read_closed: self.read_closed | other.read_closed,
            write_closed: self.write_closed | other.write_closed,
            error: self.error | other.error,
            priority: self.priority | other.priority,
        }
    }
}

/// This thread, for `until_asleep`.
#[cfg(target_os = "linux")]
pub fn this_thread() -> libc::c_long {
    // SAFETY: `gettid` has no arguments and no memory-safety preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// Waits until a thread of this process sleeps, which it then does in the kernel.
#[cfg(target_os = "linux")]
#[track_caller]
pub fn until_asleep(thread: libc::c_long) {
    let deadline = Instant::now() + patience();
    loop {
        let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        // Begins after the name, which may contain any character.
        let (_, state) = status.rsplit_once(") ").expect("it has a name");
        if state.starts_with('S') {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain for it to sleep");
        thread::yield_now();
    }
}

/// Whether the wait takes no longer than the thread needs.
pub const KNOWS_WHO_SLEEPS: bool = cfg!(target_os = "linux");

/// Without a way to tell whether a thread sleeps, this waits for a while. So the tested behaviour
/// must also hold for a thread that does not sleep yet.
#[cfg(not(target_os = "linux"))]
pub fn this_thread() -> thread::ThreadId {
    thread::current().id()
}

#[cfg(not(target_os = "linux"))]
pub fn until_asleep(_: thread::ThreadId) {
    thread::sleep(A_WHILE);
}

/// Names that the libc crate lacks on some systems. Their numbers' types differ between systems.
#[cfg(unix)]
pub const ITIMER_REAL: u8 = 0;
#[cfg(any(target_os = "illumos", target_os = "solaris"))]
extern "C" {
    pub fn setitimer(
        which: libc::c_int,
        value: *const libc::itimerval,
        before: *mut libc::itimerval,
    ) -> libc::c_int;
}
#[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
#[allow(unused_imports)] // most tests have no timer
pub use libc::setitimer;

/// Whether the kernel is known to keep timeouts exactly: it has `epoll_pwait2`. A kernel without
/// the call does not complain of the wrong descriptor.
#[cfg(target_os = "linux")]
pub fn exact_timeouts() -> bool {
    // SAFETY: the descriptor is wrong, so nothing is read or written.
    let result = unsafe {
        let null = std::ptr::null_mut::<u8>();
        let (wrong, one, zero): (libc::c_long, libc::c_long, libc::c_long) = (-1, 1, 0);
        libc::syscall(libc::SYS_epoll_pwait2, wrong, null, one, null, null, zero)
    };
    assert_eq!(result, -1);
    std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
}

#[cfg(not(target_os = "linux"))]
pub fn exact_timeouts() -> bool {
    false
}

#[cfg(any(windows, miri))]
pub use mio::net::TcpStream as Stream;
/// Two streams that are connected to each other: of Unix, or of TCP where there are none. (Miri's of Unix cannot
/// be written to.)
#[cfg(not(any(windows, miri)))]
pub use mio::net::UnixStream as Stream;

#[cfg(any(windows, miri))]
pub use std::net::TcpStream as StdStream;
/// Likewise of the standard library; they block.
#[cfg(not(any(windows, miri)))]
pub use std::os::unix::net::UnixStream as StdStream;

pub fn stream_pair() -> (Stream, Stream) {
    let (one, other) = std_stream_pair();
    for stream in [&one, &other] {
        stream.set_nonblocking(true).unwrap();
    }
    (Stream::from_std(one), Stream::from_std(other))
}

#[cfg(not(any(windows, miri)))]
pub fn std_stream_pair() -> (StdStream, StdStream) {
    StdStream::pair().unwrap()
}

#[cfg(any(windows, miri))]
pub fn std_stream_pair() -> (StdStream, StdStream) {
    let listener = std::net::TcpListener::bind(any_port()).unwrap();
    let one = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    // Small writes are sent at once.
    for stream in [&one, &other] {
        stream.set_nodelay(true).unwrap();
    }
    (one, other)
}

/// A writing and a reading end: a pipe, or streams on a system without pipes that can be
/// registered.
#[cfg(unix)]
#[allow(unused_imports)] // not every test file uses it
pub use mio::unix::pipe;

#[cfg(windows)]
pub mod pipe {
    pub type Sender = super::Stream;
    pub type Receiver = super::Stream;

    pub fn new() -> std::io::Result<(Sender, Receiver)> {
        Ok(super::stream_pair())
    }
}

/// The system's name for a source.
#[cfg(unix)]
pub type RawSource = RawFd;
#[cfg(windows)]
pub type RawSource = RawSocket;

#[cfg(unix)]
pub fn raw(source: &impl AsRawFd) -> RawSource {
    source.as_raw_fd()
}

#[cfg(windows)]
pub fn raw(source: &impl AsRawSocket) -> RawSource {
    source.as_raw_socket()
}

/// # Safety
///
/// That of the standard library's `borrow_raw`.
#[cfg(unix)]
pub unsafe fn borrow<'a>(source: RawSource) -> std::os::fd::BorrowedFd<'a> {
    // SAFETY: the caller guarantees the requirements of `borrow_raw`.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(source) }
}

/// # Safety
///
/// That of the standard library's `borrow_raw`.
#[cfg(windows)]
pub unsafe fn borrow<'a>(source: RawSource) -> std::os::windows::io::BorrowedSocket<'a> {
    // SAFETY: the caller guarantees the requirements of `borrow_raw`.
    unsafe { std::os::windows::io::BorrowedSocket::borrow_raw(source) }
}

/// Ends a stream so that its peer has hung up in both directions: a closed TCP stream could be half
/// open.
pub fn hang_up(stream: Stream) {
    #[cfg(windows)]
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

#[cfg(unix)]
pub fn into_std(stream: Stream) -> StdStream {
    StdStream::from(std::os::fd::OwnedFd::from(stream))
}

#[cfg(windows)]
pub fn into_std(stream: Stream) -> StdStream {
    StdStream::from(stream)
}

/// The processor time that this thread has used so far.
#[cfg(unix)]
pub fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    let got = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(got, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(windows)]
pub fn processor_time() -> Duration {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::{GetCurrentThread, GetThreadTimes};

    let mut times = [FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: the call writes four times, and the handle is this thread's.
    let got = unsafe { GetThreadTimes(GetCurrentThread(), created, ended, kernel, user) };
    assert_ne!(got, 0);
    let units =
        |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos(100 * (units(times[2]) + units(times[3])))
}

/// Adds a descriptor to an epoll, which reports it as readable, with this word.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "illumos"))]
pub fn add_to_epoll(epoll: RawFd, fd: RawFd, word: u64) {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: word,
    };
    // SAFETY: `event` is valid during the call.
    let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
    assert_eq!(added, 0);
}

#[cfg(all(
    unix,
    not(any(target_os = "linux", target_os = "android", target_os = "illumos"))
))]
pub fn add_to_epoll(_: RawFd, _: RawFd, _: u64) {
    unreachable!("there is no epoll here");
}

/// An address of loopback with a port that the system chooses.
pub fn any_port() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A loopback address at which no socket receives datagrams, or ever will: no other call returns a
/// port of the same host.
pub fn unused_address() -> std::net::SocketAddr {
    static HOST: AtomicU8 = AtomicU8::new(1);
    let host = [127, 45, 67, HOST.fetch_add(1, Ordering::Relaxed)];
    let gone = std::net::UdpSocket::bind((std::net::Ipv4Addr::from(host), 0)).unwrap();
    gone.local_addr().unwrap()
}

/// Whether Windows is implemented by Wine. Tests then skip what Wine's driver does not report.
/// Everything else is required of both.
pub fn under_wine() -> bool {
    wine_version().is_some()
}

/// The version of Wine without what follows a dot.
#[cfg(windows)]
pub fn wine_version() -> Option<u32> {
    use std::ffi::{c_char, CStr};
    use windows_sys::core::{s, w};
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};

    type Function = unsafe extern "system" fn() -> isize;
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: both names end with a zero, and every process has loaded the library.
    let function =
        unsafe { GetProcAddress(GetModuleHandleW(w!("ntdll.dll")), s!("wine_get_version")) }?;
    // SAFETY: Wine's function of this name has this type, and returns a string that lasts.
    let version = unsafe { CStr::from_ptr(std::mem::transmute::<Function, Version>(function)()) };
    let version = version.to_str().expect("digits and dots");
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    Some(major.unwrap_or_else(|| panic!("Wine {version:?}")))
}

#[cfg(unix)]
pub fn wine_version() -> Option<u32> {
    None
}

/// The result of receiving after a datagram was refused.
pub const REFUSED_DATAGRAM: std::io::ErrorKind = match cfg!(windows) {
    true => std::io::ErrorKind::ConnectionReset,
    false => std::io::ErrorKind::ConnectionRefused,
};

/// The event after a datagram was refused.
pub fn is_refusal(backend: Backend, event: &Event) -> bool {
    match backend.reports_refused_datagrams() {
        true => event.is_error(),
        false => event.is_readable(),
    }
}

/// The receiving end of a new named pipe, and its path. The folder exists as long as the third value.
#[cfg(all(unix, feature = "os-ext"))]
pub fn named_pipe() -> (
    mio::unix::pipe::Receiver,
    std::path::PathBuf,
    tempfile::TempDir,
) {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::OpenOptionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the kernel reads a string that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let reader = std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let receiver = mio::unix::pipe::Receiver::from(std::os::fd::OwnedFd::from(reader));
    (receiver, path, folder)
}

/// A value that is never dropped and that does not count as leaked: a static refers to it.
#[cfg(unix)]
pub fn kept<T: 'static>(value: T) -> &'static mut T {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let kept = Box::leak(Box::new(value));
    KEPT.lock().unwrap().push(kept as *mut T as usize);
    kept
}

/// Runs a test's scenario in a child process of its own, because it would disturb concurrent tests.
/// `test` is the function's name. In the child this returns true, and the test then does its work.
/// The parent waits for the child, and fails if the child has failed.
pub fn in_child(backend: Backend, test: &str) -> bool {
    in_child_test(&format!("{}::{test}", module(backend)))
}

/// The environment variables of a child process.
const CHILD: &str = "MIO_TEST_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Like `in_child`, for a test that is not repeated for each backend.
pub fn in_child_test(name: &str) -> bool {
    in_child_with(name, &[])
}

/// Like `in_child_test`, with these variables in its environment.
pub fn in_child_with(name: &str, variables: &[(&str, &std::ffi::OsStr)]) -> bool {
    if is_child() {
        return true;
    }
    let child = itself()
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .output()
        .expect("starts itself");
    let output = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{name} failed in its child process: {}\n{output}",
        child.status
    );
    false
}

/// The number of handles that this process has open.
#[cfg(windows)]
pub fn handles() -> u32 {
    use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE};
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};

    let mut count = 0;
    // SAFETY: the call writes one number; the handle is this process.
    let got = unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) };
    assert_ne!(got, 0);
    if count > 0 {
        return count;
    }
    // Wine does not count them. Handles are multiples of four, and the lowest free one is used
    // first.
    assert!(under_wine());
    let is_open = |&handle: &usize| {
        let mut flags = 0;
        // SAFETY: the call writes one number, if the handle exists.
        unsafe { GetHandleInformation(handle as HANDLE, &mut flags) != 0 }
    };
    let open = (4..1 << 14).step_by(4).filter(is_open).count();
    assert!((1..4000).contains(&open), "{open} handles");
    open as u32
}

/// Runs work after which no handle may be left open, in a process of its own: concurrent tests open
/// and close others.
#[cfg(windows)]
#[track_caller]
pub fn without_leaking(test: &str, mut work: impl FnMut()) {
    if !in_child_test(test) {
        return;
    }
    // The first run loads libraries and starts threads.
    work();
    let before = handles();
    for _ in 0..3 {
        work();
    }
    // The handles of a thread that has ended may be closed a little later.
    let deadline = Instant::now() + patience();
    while handles() > before {
        assert!(
            Instant::now() < deadline,
            "{before} handles, then {}",
            handles()
        );
        thread::yield_now();
    }
}

/// The command that runs this program: the program itself, or the emulator in `MIO_TEST_RUNNER`,
/// with its arguments, if the kernel cannot run the program.
pub fn itself() -> Command {
    let program = std::env::current_exe().unwrap();
    let Ok(runner) = std::env::var("MIO_TEST_RUNNER") else {
        return Command::new(program);
    };
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().expect("MIO_TEST_RUNNER names a program"));
    command.args(words).arg(program);
    command
}

/// From now on, `call` fails with an error in this thread and those that it starts. Without an
/// error, `call` kills the process. Sandboxes do the same.
#[cfg(target_os = "linux")]
pub fn refuse(call: libc::c_long, error: Option<i32>) {
    let action = match error {
        Some(error) => libc::SECCOMP_RET_ERRNO | error as u32,
        None => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let load = |offset| filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let skip_unless =
        |value, count| filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, count, value);
    let end = |action| filter(libc::BPF_RET | libc::BPF_K, 0, 0, action);
    // In the data of a filter, offset 0 is the number of the call.
    let mut instructions = vec![load(0), skip_unless(call as u32, 1), end(action)];
    #[cfg(any(target_arch = "x86", target_arch = "s390x"))]
    if let Some(number) = socketcall(call) {
        // The first argument has eight bytes from offset 16 on; this is its low half.
        let low_half = if cfg!(target_endian = "big") { 20 } else { 16 };
        let through = libc::SYS_socketcall as u32;
        instructions.extend([skip_unless(through, 3), load(low_half)]);
        instructions.extend([skip_unless(number, 1), end(action)]);
    }
    instructions.push(end(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_ptr() as *mut libc::sock_filter,
    };
    // SAFETY: the kernel reads the program, which is valid during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &program as *const libc::sock_fprog,
        );
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Refuses one more of the calls that ask for a process, as `refuse` does. False if all are refused, or
/// none can be.
#[cfg(target_os = "linux")]
pub fn refuse_next_call_on_processes() -> bool {
    use std::sync::atomic::AtomicUsize;

    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    let calls = [libc::SYS_pidfd_open, libc::SYS_waitid];
    // On a model the first one is the kernel's own means.
    let calls = if ON_A_MODEL { &calls[1..] } else { &calls };
    let next = calls.get(REFUSED.fetch_add(1, Ordering::Relaxed));
    if let Some(&call) = next {
        refuse(call, Some(libc::EPERM));
    }
    next.is_some()
}

#[cfg(not(target_os = "linux"))]
pub fn refuse_next_call_on_processes() -> bool {
    false
}

/// The number by which `socketcall` makes a call on sockets. The C library uses it on 32-bit x86 and on
/// s390x.
#[cfg(all(target_os = "linux", any(target_arch = "x86", target_arch = "s390x")))]
fn socketcall(call: libc::c_long) -> Option<u32> {
    match call {
        libc::SYS_socket => Some(1),
        libc::SYS_bind => Some(2),
        libc::SYS_connect => Some(3),
        libc::SYS_listen => Some(4),
        libc::SYS_socketpair => Some(8),
        libc::SYS_setsockopt => Some(14),
        libc::SYS_accept4 => Some(18),
        _ => None,
    }
}

#[cfg(target_os = "linux")]
fn filter(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// A thread that sends signals to the thread that created it, until it is dropped or two seconds
/// have passed. The signals only interrupt.
#[cfg(unix)]
pub struct Signals {
    done: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

#[cfg(unix)]
impl Signals {
    pub fn to_this_thread() -> Signals {
        extern "C" fn nothing(_: libc::c_int) {}
        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: the handler does nothing; a zeroed `sigaction` has no flags,
        // so that calls are not restarted, and an empty mask.
        let this = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            let set = libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
            assert_eq!(set, 0);
            libc::pthread_self()
        };
        let done = Arc::new(AtomicBool::new(false));
        let sender = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                // With a limit, in case a wait that starts again never ends.
                let end = Instant::now() + Duration::from_secs(2) * slowness();
                while !done.load(Ordering::SeqCst) && Instant::now() < end {
                    // SAFETY: the thread joins this one before it ends.
                    unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
                    thread::sleep(Duration::from_micros(100));
                }
            }
        });
        Signals {
            done,
            sender: Some(sender),
        }
    }
}

#[cfg(unix)]
impl Drop for Signals {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        self.sender.take().unwrap().join().unwrap();
    }
}

/// Whether process ids can be those of a namespace.
pub const HAS_PROCESS_NAMESPACES: bool = cfg!(target_os = "linux");

/// Runs a function in the first process of a namespace, whose id is 1. Returns whether it
/// succeeded.
#[cfg(target_os = "linux")]
pub fn as_first_process(work: impl FnOnce() -> bool) -> bool {
    // A process in between, because a new namespace applies to a process' children.
    as_child(|| {
        // SAFETY: `unshare` has no memory-safety preconditions with these flags.
        let is_away = [libc::CLONE_NEWPID, libc::CLONE_NEWPID | libc::CLONE_NEWUSER]
            .into_iter()
            .any(|away| unsafe { libc::unshare(away) } == 0);
        assert!(
            is_away,
            "this test has to run as root, or where users may have namespaces"
        );
        as_child(|| {
            assert_eq!(std::process::id(), 1);
            work()
        })
    })
}

#[cfg(target_os = "linux")]
fn as_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: this process was started for this test, and no other thread of it holds a lock. The
    // child leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        let work = std::panic::AssertUnwindSafe(work);
        let is_well = std::panic::catch_unwind(work).unwrap_or(false);
        // SAFETY: `_exit` ends the process, and runs no code of it.
        unsafe { libc::_exit(i32::from(!is_well)) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status == 0
}

#[cfg(not(target_os = "linux"))]
pub fn as_first_process(_: impl FnOnce() -> bool) -> bool {
    unreachable!("there are no such namespaces")
}
