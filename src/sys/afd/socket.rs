//! One socket: its armed set, and the memory that the driver owns.
//!
//! The driver has one-shot polls. A socket has at most one in flight, because the driver is known to mix up
//! two polls of one socket. So all registrations that a handle has one after the other have one `Socket`,
//! which outlives the last one until its poll has ended. What is in flight is one thing,
//!
//! ```text
//! Idle        nothing                     submit ─────► Polling
//! Polling     a poll, for some events     cancel ─────► Cancelling
//!                                         its packet ─► Idle
//! Cancelling  a poll that is to end       its packet ─► Idle
//! ```
//!
//! and the registration another:
//!
//! ```text
//! free        no registration, idle       begin ──────► watched
//! watched     a registration              end ────────► free or gone
//! gone        no registration, not idle   begin ──────► watched, of the same handle
//!                                         its packet ─► free
//! ```
//!
//! **Memory.** The kernel owns `operation` from `submit` until its packet is taken
//! ([`Socket::completed`]), whatever becomes of the registration. It is freed with the `Socket`, before
//! which the selector waits for all packets; if one has not come even then, it is leaked.
//!
//! **Probes.** When the pause of a backed-off direction (see [`Edges`]) is over, a poll for the whole
//! interest probes it. Its packet is on the port at once, or nothing is ready: then the poll stays in
//! flight, and all directions are armed.
//!
//! **Two handles of one socket** (duplicates) are two sockets here, and each has its poll. Windows is known
//! to end the poll of one with the ready set of the other one's. Events in a ready set that were not armed
//! show that: the polls of the others that are armed for them are restarted, and find what is ready. One
//! poll for both would need to know beforehand which handles are of one socket, and for that the system has
//! only a comparison of two handles ([`are_same`]): as many calls for each registration as there are
//! registrations.
//!
//! **Stale ready sets.** A poll that ends after `end` may be of the registration before, or of a socket that
//! had the same handle: its ready set is dropped, and the socket armed again. The same goes for a poll in flight
//! when a socket is reregistered as level-triggered or one-shot.
//!
//! **Failures** are reported once, and the socket is armed again when an operation would have blocked, or
//! when it is reregistered. But a handle that the driver does not know was closed, and its number may be
//! another socket's by now: it is released, until the source is reregistered.

use std::io;
use std::mem;
use std::os::windows::io::RawSocket;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::core::BOOL;
use windows_sys::Win32::Foundation::{
    HANDLE, NTSTATUS, STATUS_CANCELLED, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH,
};
use windows_sys::Win32::Networking::WinSock::{
    getsockopt, WSAGetLastError, WSAIoctl, SIO_BASE_HANDLE, SIO_BSP_HANDLE_POLL, SOCKET,
    SOCKET_ERROR, SOCK_DGRAM, SOL_SOCKET, SO_ACCEPTCONN, SO_TYPE, WSAECONNABORTED, WSAECONNRESET,
    WSAEMSGSIZE, WSAENETRESET, WSAENOTSOCK,
};

use super::super::rearm::{Drained, Edges, Tick};
use super::super::Key;
use super::device::{AfdEvents, Device, Poll};
use super::library::{find, Function};
use super::port::KernelEvent;
use super::status::succeeded;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(super) struct Socket {
    /// The handle that the driver knows; `None` for one that is free, and for one that was closed, of which
    /// nothing is in flight.
    handle: Option<RawSocket>,
    registration: Option<Registration>,
    stage: Stage,
    /// The poll in flight is of a registration that has ended, or too old for the event of a level-triggered or
    /// one-shot one: its ready set is dropped.
    is_of_before: bool,
    probe: Probe,
    /// What the last ready set had that was not armed.
    foreign: AfdEvents,
    /// The slot of another handle of the same socket, once a ready set has shown that.
    pub(super) twin: Option<u32>,
    /// The selector lists it as changed.
    pub(super) is_changed: bool,
    /// The selector lists it for probes.
    pub(super) is_listed: bool,
    /// From `Box::into_raw`.
    operation: *mut Poll,
}

// SAFETY: `operation` points to memory that this `Socket` alone owns (or, for it, the kernel). No thread-local
// state belongs to it, and the completion port returns it to whichever thread takes the packet.
unsafe impl Send for Socket {}

#[derive(Debug)]
struct Registration {
    token: Token,
    edges: Edges,
    /// Polling it has failed, which is still to be reported.
    has_failed: bool,
}

/// What is in flight.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Polling(AfdEvents),
    Cancelling(AfdEvents),
}

/// Whether the registration is being probed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// Its poll is to be submitted.
    Due,
    /// Its poll was submitted, and the port was not emptied since.
    Submitted,
}

impl Probe {
    /// There is a poll for the whole interest.
    fn submitted(&mut self) {
        if *self == Probe::Due {
            *self = Probe::Submitted;
        }
    }
}

/// What follows from a packet.
#[derive(Debug)]
pub(super) enum Completion {
    Nothing,
    Event(Event),
    Failed(Failed),
}

/// Why polling it has failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// The driver does not know the handle: it was closed.
    OfHandle,
    /// The handle may be well: the system may lack memory.
    OfAnything,
}

impl Failure {
    fn of(status: NTSTATUS) -> Failure {
        match status {
            STATUS_INVALID_HANDLE | STATUS_OBJECT_TYPE_MISMATCH => Failure::OfHandle,
            _ => Failure::OfAnything,
        }
    }
}

/// Polling it has failed, which is to be reported.
#[derive(Debug)]
pub(super) struct Failed {
    /// The handle, if the driver does not know it any more.
    pub(super) gone: Option<RawSocket>,
}

impl Socket {
    /// A free one.
    pub(super) fn new() -> Socket {
        Socket {
            handle: None,
            registration: None,
            stage: Stage::Idle,
            is_of_before: false,
            probe: Probe::None,
            foreign: AfdEvents(0),
            twin: None,
            is_changed: false,
            is_listed: false,
            operation: Box::into_raw(Box::new(Poll::new())),
        }
    }

    /// Registers a free socket, or one that is gone and had the same handle.
    pub(super) fn begin(
        &mut self,
        slot: u32,
        handle: RawSocket,
        token: Token,
        interest: Interest,
    ) -> Key {
        debug_assert!(self.registration.is_none());
        let mut edges = Edges::new();
        edges.begin(interest, Drained::Reported);
        self.probe = Probe::None;
        self.handle = Some(handle);
        self.registration = Some(Registration {
            token,
            edges,
            has_failed: false,
        });
        Key::of_slot(slot)
    }

    pub(super) fn reregister(&mut self, token: Token, interest: Interest) {
        self.probe = Probe::None;
        if let Some(registration) = &mut self.registration {
            registration.token = token;
            registration.edges.begin(interest, Drained::Reported);
            registration.has_failed = false;
            // The event of these has to name all that is ready. The poll in flight may lack some of it: it was
            // submitted for less, or has ended before now. With edges the rest is another event.
            if registration.edges.is_oneshot() || registration.edges.is_level() {
                self.is_of_before = self.is_in_flight();
            }
        }
    }

    /// Deregisters it. The caller cancels what is in flight.
    pub(super) fn end(&mut self) {
        self.probe = Probe::None;
        self.registration = None;
        self.is_of_before = self.is_in_flight();
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// The token and the interests, for `Debug`.
    pub(super) fn registered(&self) -> Option<(Token, Interest)> {
        let registration = self.registration.as_ref()?;
        Some((registration.token, registration.edges.interests()?))
    }

    /// Whether the kernel owns its memory.
    pub(super) fn is_in_flight(&self) -> bool {
        self.stage != Stage::Idle
    }

    pub(super) fn handle(&self) -> Option<RawSocket> {
        self.handle
    }

    /// What the last ready set had that was not armed, once: it is of another handle's poll.
    pub(super) fn take_foreign(&mut self) -> Option<AfdEvents> {
        let foreign = mem::replace(&mut self.foreign, AfdEvents(0));
        (foreign != AfdEvents(0)).then_some(foreign)
    }

    /// Whether a poll for any of these is in flight, and not cancelled.
    pub(super) fn is_armed_for(&self, events: AfdEvents) -> bool {
        matches!(self.stage, Stage::Polling(armed) if armed.intersects(events))
    }

    /// It goes on with another handle, of which no poll is in flight.
    pub(super) fn set_handle(&mut self, handle: RawSocket) {
        self.handle = Some(handle);
        self.is_of_before = self.is_in_flight();
    }

    pub(super) fn take_handle(&mut self) -> Option<RawSocket> {
        self.handle.take()
    }

    pub(super) fn edges(&mut self) -> Option<&mut Edges> {
        self.registration
            .as_mut()
            .map(|registration| &mut registration.edges)
    }

    /// The set to arm.
    fn wanted(&self) -> Option<AfdEvents> {
        let edges = &self.registration.as_ref()?.edges;
        let armed = edges.armed_set()?;
        Some(to_afd(match self.probe {
            Probe::None => armed,
            Probe::Due | Probe::Submitted => armed.or(edges.interest()),
        }))
    }

    /// Whether a direction is backed off. What is latched lasts, so that it is not probed.
    pub(super) fn is_probed(&self) -> bool {
        let edges = self.registration.as_ref().map(|its| &its.edges);
        edges.is_some_and(|edges| edges.is_probed() && !edges.is_latched())
    }

    /// When to probe it next, if it is probed, and if that is not about to happen.
    pub(super) fn next_probe(&self, now: Tick) -> Option<Tick> {
        let registration = self.registration.as_ref()?;
        match self.probe {
            Probe::None => registration.edges.next_probe(now),
            Probe::Due | Probe::Submitted => None,
        }
    }

    /// The next poll that is submitted is a probe.
    pub(super) fn begin_probe(&mut self) {
        self.probe = Probe::Due;
    }

    /// Whether its probe was submitted, and the port was not emptied since.
    pub(super) fn awaits_probe(&self) -> bool {
        self.probe == Probe::Submitted
    }

    /// The packet of its probe is not on the port: nothing is ready.
    pub(super) fn probe_found_nothing(&mut self, now: Tick) {
        if self.awaits_probe() {
            self.probe = Probe::None;
            if let Some(registration) = &mut self.registration {
                let report = registration.edges.probed(Readiness::NONE, now);
                debug_assert_eq!(report, None);
            }
        }
    }

    /// Whether an operation that fails in this way has consumed what the socket was ready for. Other failures
    /// leave the socket as ready as before.
    pub(super) fn is_consumed_by(&self, failure: super::super::Failure) -> bool {
        let direction = failure.direction;
        let reads = direction.is_some_and(|direction| direction.is_readable());
        let (Some(handle), Some(code), true) = (self.handle, failure.code, reads) else {
            return false;
        };
        match code {
            WSAEMSGSIZE | WSAENETRESET => option(handle, SO_TYPE) == Some(SOCK_DGRAM),
            WSAECONNABORTED => option(handle, SO_ACCEPTCONN) == Some(1),
            WSAECONNRESET => {
                option(handle, SO_TYPE) == Some(SOCK_DGRAM)
                    || option(handle, SO_ACCEPTCONN) == Some(1)
            }
            _ => false,
        }
    }

    /// Submits a poll for the set to arm, or cancels one that lacks some of it.
    pub(super) fn update(&mut self, device: &Device, word: usize) -> Option<Failed> {
        let outcome = match (self.stage, self.wanted(), self.handle) {
            (Stage::Idle, Some(events), Some(handle)) => self.submit(device, handle, events, word),
            // Events beyond the set to arm are dropped when they come. (But a poll that could not be cancelled
            // may be of the socket before, which had the same handle, and which a duplicate keeps open.)
            (Stage::Polling(armed), Some(events), _)
                if armed.contains(events) && !self.is_of_before =>
            {
                self.probe.submitted();
                Ok(())
            }
            (Stage::Polling(_), _, _) => self.cancel(device).map_err(|_| Failure::OfAnything),
            _ => Ok(()),
        };
        match outcome {
            Ok(()) => None,
            Err(failure) => self.failed(failure),
        }
    }

    fn submit(
        &mut self,
        device: &Device,
        handle: RawSocket,
        events: AfdEvents,
        word: usize,
    ) -> Result<(), Failure> {
        // SAFETY: `operation` is valid, and not the kernel's, because the stage is idle (`update` has matched
        // it). After success the stage is not idle until `completed`, which the selector calls for a packet
        // taken off the port. Until then nothing accesses the memory, and `drop` leaks it.
        let submitted = unsafe { device.poll(self.operation, handle, events, word) };
        submitted.map_err(Failure::of)?;
        self.stage = Stage::Polling(events);
        self.is_of_before = false;
        self.probe.submitted();
        Ok(())
    }

    /// Cancels the poll in flight.
    pub(super) fn cancel(&mut self, device: &Device) -> Result<(), NTSTATUS> {
        if let Stage::Polling(armed) = self.stage {
            device.cancel(self.operation)?;
            self.stage = Stage::Cancelling(armed);
        }
        Ok(())
    }

    /// A packet with the word of this socket was taken off the port. It is that of the poll in flight, since
    /// no other code has the driver's handles; `None` if none is in flight.
    pub(super) fn completed(&mut self, packet: KernelEvent, now: Tick) -> Option<Completion> {
        if !self.is_in_flight() {
            return None;
        }
        let armed = match self.stage {
            Stage::Polling(armed) | Stage::Cancelling(armed) => armed,
            Stage::Idle => AfdEvents(0),
        };
        let was_probe = self.awaits_probe();
        if was_probe {
            // Unless this is its ready set.
            self.probe = Probe::Due;
        }
        self.stage = Stage::Idle;
        let is_of_before = mem::take(&mut self.is_of_before);
        if self.registration.is_none() {
            return Some(Completion::Nothing);
        }
        if is_of_before || packet.status() == STATUS_CANCELLED {
            return Some(Completion::Nothing);
        }
        if let Err(status) = succeeded(packet.status()) {
            return self.failed(Failure::of(status)).map(Completion::Failed);
        }
        // SAFETY: `operation` is valid until `drop`. The poll's one packet was taken off the port, so that the
        // kernel has written all it will, and no longer has the memory.
        let ready_set = unsafe { (*self.operation).ready_set(packet.number()) };
        self.succeeded_with(ready_set, armed, was_probe, now)
    }

    /// A poll that was armed for `armed` has succeeded.
    fn succeeded_with(
        &mut self,
        ready_set: AfdEvents,
        armed: AfdEvents,
        was_probe: bool,
        now: Tick,
    ) -> Option<Completion> {
        if ready_set.intersects(AfdEvents::LOCAL_CLOSE) {
            return self.failed(Failure::OfHandle).map(Completion::Failed);
        }
        let registration = self.registration.as_mut()?;
        self.foreign = ready_set.without(armed);
        let ready = from_afd(ready_set.without(self.foreign));
        let report = match was_probe {
            true => {
                self.probe = Probe::None;
                registration.edges.probed(ready, now)
            }
            false => Some(registration.edges.fired(ready)).filter(|&bits| bits != Readiness::NONE),
        };
        Some(match report {
            None => Completion::Nothing,
            Some(report) => Completion::Event(Event::new(registration.token, report)),
        })
    }

    /// Polling it has failed: nothing is armed for now.
    fn failed(&mut self, failure: Failure) -> Option<Failed> {
        self.probe = Probe::None;
        let registration = self.registration.as_mut()?;
        registration.edges.fired(FAILED);
        registration.has_failed = true;
        let gone = match failure {
            Failure::OfHandle => self.handle.take(),
            Failure::OfAnything => None,
        };
        Some(Failed { gone })
    }

    /// What is to be reported of a failure, once.
    pub(super) fn take_failure(&mut self) -> Option<Event> {
        let registration = self.registration.as_mut()?;
        let has_failed = mem::take(&mut registration.has_failed);
        has_failed.then(|| Event::new(registration.token, FAILED))
    }
}

/// An operation then returns the error.
const FAILED: Readiness = Readiness::IN.or(Readiness::OUT).or(Readiness::ERR);

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.is_in_flight() {
            // SAFETY: the pointer comes from `Box::into_raw` in `new`, and is turned back here only. The kernel
            // does not have the memory, because the stage is idle.
            drop(unsafe { Box::from_raw(self.operation) });
        }
        // Otherwise the kernel may still write to it, and it is leaked.
    }
}

/// The events of directions. The end of a connection is always armed.
fn to_afd(wanted: Readiness) -> AfdEvents {
    let mut events = AfdEvents::ABORT
        .or(AfdEvents::CONNECT_FAIL)
        .or(AfdEvents::LOCAL_CLOSE);
    for (ours, theirs) in [
        (
            Readiness::IN,
            AfdEvents::RECEIVE
                .or(AfdEvents::ACCEPT)
                .or(AfdEvents::DISCONNECT),
        ),
        (Readiness::RDHUP, AfdEvents::DISCONNECT),
        (Readiness::OUT, AfdEvents::SEND),
        (Readiness::PRI, AfdEvents::RECEIVE_EXPEDITED),
    ] {
        if wanted.intersects(ours) {
            events = events.or(theirs);
        }
    }
    events
}

/// What epoll would report of the same.
fn from_afd(ready_set: AfdEvents) -> Readiness {
    let ended = Readiness::IN.or(Readiness::RDHUP);
    let broken = ended
        .or(Readiness::OUT)
        .or(Readiness::HUP)
        .or(Readiness::ERR);
    [
        (AfdEvents::RECEIVE, Readiness::IN),
        (AfdEvents::ACCEPT, Readiness::IN),
        (AfdEvents::RECEIVE_EXPEDITED, Readiness::PRI),
        (AfdEvents::SEND, Readiness::OUT),
        (AfdEvents::DISCONNECT, ended),
        (AfdEvents::ABORT, broken),
        (AfdEvents::CONNECT_FAIL, broken),
    ]
    .into_iter()
    .filter(|&(theirs, _)| ready_set.intersects(theirs))
    .fold(Readiness::NONE, |ready, (_, ours)| ready.or(ours))
}

/// The handle below a socket that the driver knows. It is the socket itself, except with a layered provider.
/// Some of those do not pass the first request on; so a second one follows, to which such a provider has to
/// reply itself.
pub(super) fn base_handle(socket: RawSocket) -> io::Result<RawSocket> {
    find_base(socket, ask_handle)
}

/// More layers than exist.
const MOST_LAYERS: usize = 64;

fn find_base(
    socket: RawSocket,
    ask: impl Fn(RawSocket, u32) -> io::Result<RawSocket>,
) -> io::Result<RawSocket> {
    let mut layer = socket;
    for _ in 0..MOST_LAYERS {
        let error = match ask(layer, SIO_BASE_HANDLE) {
            Ok(base) => return Ok(base),
            Err(error) if error.raw_os_error() == Some(WSAENOTSOCK) => return Err(error),
            Err(error) => error,
        };
        // One layer down, if there is one.
        match ask(layer, SIO_BSP_HANDLE_POLL) {
            Ok(below) if below != layer => layer = below,
            _ => return Err(error),
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// An option of a socket that is a number.
fn option(socket: RawSocket, option: i32) -> Option<i32> {
    let mut value = 0i32;
    let mut length = mem::size_of_val(&value) as i32;
    // SAFETY: the call writes at most `length` bytes to `value`, which is its size, and to `length`, before it
    // returns. If the socket is not open the call fails.
    let result = unsafe {
        getsockopt(
            socket as SOCKET,
            SOL_SOCKET,
            option,
            ptr::addr_of_mut!(value).cast(),
            &mut length,
        )
    };
    (result != SOCKET_ERROR).then_some(value)
}

/// Whether two handles are of one socket; `None` where the system does not say (Windows does from 10 on):
/// [CompareObjectHandles](https://learn.microsoft.com/en-us/windows/win32/api/handleapi/nf-handleapi-compareobjecthandles).
pub(super) fn are_same(one: RawSocket, other: RawSocket) -> Option<bool> {
    type Compare = unsafe extern "system" fn(HANDLE, HANDLE) -> BOOL;
    static COMPARE: OnceLock<Option<Compare>> = OnceLock::new();

    let compare = COMPARE.get_or_init(|| {
        let compare = find("kernelbase.dll", "CompareObjectHandles")?;
        // SAFETY: a call needs the function's own type. This is the type that Microsoft's page documents for the
        // name.
        Some(unsafe { mem::transmute::<Function, Compare>(compare) })
    });
    // SAFETY: the call accesses no memory of the process: it looks two numbers up in the process' table of
    // handles. It returns FALSE if one is not open.
    compare.map(|compare| unsafe { compare(one as usize as HANDLE, other as usize as HANDLE) } != 0)
}

fn ask_handle(socket: RawSocket, question: u32) -> io::Result<RawSocket> {
    let mut handle: SOCKET = 0;
    let mut written = 0;
    // SAFETY: the call reads no input, since its length is 0. It writes at most the size of a `SOCKET` to
    // `handle`, and one `u32` to `written`, before it returns: without an overlapped structure it is
    // synchronous. If the socket is not open the call fails.
    let result = unsafe {
        WSAIoctl(
            socket as SOCKET,
            question,
            ptr::null(),
            0,
            ptr::addr_of_mut!(handle).cast(),
            mem::size_of::<SOCKET>() as u32,
            &mut written,
            ptr::null_mut(),
            None,
        )
    };
    match result {
        // SAFETY: `WSAGetLastError` reads a number of this thread, and has no preconditions.
        SOCKET_ERROR => Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() })),
        _ => Ok(handle as RawSocket),
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Networking::WinSock::WSAEOPNOTSUPP;

    use super::super::port::Port;
    use super::*;

    fn error(code: i32) -> io::Result<RawSocket> {
        Err(io::Error::from_raw_os_error(code))
    }

    #[test]
    fn a_socket_that_tells_its_base_is_asked_once() {
        let base = find_base(8, |socket, question| {
            assert_eq!((socket, question), (8, SIO_BASE_HANDLE));
            Ok(4)
        });
        assert_eq!(base.unwrap(), 4);
    }

    /// Layers that do not pass the first request on, above a provider that replies to it.
    #[test]
    fn a_layer_that_hides_its_base_is_asked_for_the_one_below() {
        let base = find_base(12, |socket, question| match (socket, question) {
            (12 | 8, SIO_BASE_HANDLE) => error(WSAEOPNOTSUPP),
            (12, SIO_BSP_HANDLE_POLL) => Ok(8),
            (8, SIO_BSP_HANDLE_POLL) => Ok(4),
            (4, SIO_BASE_HANDLE) => Ok(4),
            other => panic!("{other:?} was asked"),
        });
        assert_eq!(base.unwrap(), 4);
    }

    #[test]
    fn a_layer_that_tells_nothing_is_an_error_and_no_endless_search() {
        let refuses = find_base(8, |_, _| error(WSAEOPNOTSUPP)).unwrap_err();
        assert_eq!(refuses.raw_os_error(), Some(WSAEOPNOTSUPP));
        let itself = find_base(8, |socket, question| match question {
            SIO_BASE_HANDLE => error(WSAEOPNOTSUPP),
            _ => Ok(socket),
        });
        assert_eq!(itself.unwrap_err().raw_os_error(), Some(WSAEOPNOTSUPP));
        let circle = find_base(8, |socket, question| match question {
            SIO_BASE_HANDLE => error(WSAEOPNOTSUPP),
            _ => Ok(socket ^ 4),
        });
        assert_eq!(circle.unwrap_err().kind(), io::ErrorKind::Unsupported);
        let none = find_base(8, |_, question| match question {
            SIO_BASE_HANDLE => error(WSAENOTSOCK),
            _ => panic!("nobody there to ask"),
        });
        assert_eq!(none.unwrap_err().raw_os_error(), Some(WSAENOTSOCK));
    }

    #[test]
    fn handles_of_one_socket_are_told_from_those_of_two() {
        use std::net::UdpSocket;
        use std::os::windows::io::AsRawSocket;

        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let same = one.try_clone().unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let [one, same, other] = [&one, &same, &other].map(|socket| socket.as_raw_socket());
        // Windows 8 does not say.
        if let Some(is_same) = are_same(one, same) {
            assert!(is_same);
            assert_eq!(are_same(one, other), Some(false));
        }
    }

    /// It is of the poll of another handle of the same socket, and the registration waits on.
    #[test]
    fn a_ready_set_that_was_not_armed_is_not_reported_and_shows_another_handle() {
        let mut socket = Socket::new();
        socket.begin(0, 8, Token(1), Interest::WRITABLE);
        let armed = socket.wanted().unwrap();
        let now = Tick::since(std::time::Instant::now(), std::time::Instant::now());
        let (receive, send) = (AfdEvents::RECEIVE, AfdEvents::SEND);
        let completion = socket.succeeded_with(receive, armed, false, now);
        assert!(
            matches!(completion, Some(Completion::Nothing)),
            "{completion:?}"
        );
        assert_eq!(socket.take_foreign(), Some(receive));
        assert_eq!(socket.take_foreign(), None);
        assert_eq!(socket.wanted(), Some(armed));
        let completion = socket.succeeded_with(receive.or(send), armed, false, now);
        let Some(Completion::Event(event)) = completion else {
            panic!("{completion:?}");
        };
        assert!(event.is_writable() && !event.is_readable());
        assert_eq!(socket.take_foreign(), Some(receive));
    }

    /// It was not cancelled when the socket before was deregistered, because that failed. If a duplicate keeps
    /// that socket open, it may never end.
    #[test]
    fn a_poll_of_the_socket_before_is_cancelled_although_it_is_armed_for_enough() {
        let port = Port::open().unwrap();
        let device = Device::open(&port).unwrap();
        let mut socket = Socket::new();
        socket.begin(0, 8, Token(1), Interest::READABLE);
        let armed = socket.wanted().unwrap();
        socket.stage = Stage::Polling(armed);
        assert!(socket.update(&device, 1).is_none());
        assert!(socket.is_armed_for(armed), "its own poll goes on");
        socket.end();
        socket.begin(0, 8, Token(2), Interest::READABLE);
        assert!(socket.update(&device, 1).is_none());
        assert!(!socket.is_armed_for(armed));
        // The kernel never had its memory.
        socket.stage = Stage::Idle;
    }

    /// With edges, what it lacks is another event.
    #[test]
    fn a_poll_from_before_reregister_is_no_event_of_a_mode() {
        let edges = Interest::READABLE;
        let modes = [edges.level(), edges.oneshot(), edges.level().oneshot()];
        for interest in modes.into_iter().chain([edges]) {
            let mut socket = Socket::new();
            socket.begin(0, 8, Token(1), interest);
            socket.stage = Stage::Polling(socket.wanted().unwrap());
            socket.reregister(Token(2), interest);
            assert_eq!(socket.is_of_before, interest != edges, "{interest:?}");
            // The kernel never had its memory.
            socket.stage = Stage::Idle;
        }
    }

    /// The end of a connection is always armed, and each ready set is one that epoll would report.
    #[test]
    fn directions_and_ready_sets_are_translated() {
        let ends = AfdEvents::ABORT
            .or(AfdEvents::CONNECT_FAIL)
            .or(AfdEvents::LOCAL_CLOSE);
        assert_eq!(to_afd(Readiness::NONE), ends);
        assert_eq!(to_afd(Readiness::OUT), ends.or(AfdEvents::SEND));
        assert_eq!(to_afd(Readiness::RDHUP), ends.or(AfdEvents::DISCONNECT));
        assert!(to_afd(Readiness::IN).contains(AfdEvents::RECEIVE.or(AfdEvents::ACCEPT)));
        // Both have the end of the peer.
        let reads = Readiness::IN.or(Readiness::RDHUP);
        assert!(to_afd(reads).contains(AfdEvents::DISCONNECT));

        assert_eq!(from_afd(AfdEvents(0)), Readiness::NONE);
        assert_eq!(from_afd(AfdEvents::RECEIVE), Readiness::IN);
        assert_eq!(from_afd(AfdEvents::ACCEPT), Readiness::IN);
        assert_eq!(
            from_afd(AfdEvents::DISCONNECT),
            Readiness::IN.or(Readiness::RDHUP)
        );
        for broken in [AfdEvents::ABORT, AfdEvents::CONNECT_FAIL] {
            let all = Readiness(0x1 | 0x4 | 0x8 | 0x10 | 0x2000);
            assert_eq!(from_afd(broken), all);
        }
    }
}
