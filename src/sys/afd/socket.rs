//! One socket: what is asked of the driver about it, and the memory for that.
//!
//! The driver knows one-shot polls. At most one is under way of a socket, because of
//! two of them it is known to mix up the answers. So all registrations that a handle
//! has one after the other have one `Socket`, which outlives the last one until its
//! poll has ended. What the kernel has is one thing,
//!
//! ```text
//! Idle        nothing                     submit ─────► Polling
//! Polling     a poll, for some events     cancel ─────► Cancelling
//!                                         its packet ─► Idle
//! Cancelling  a poll that is to end       its packet ─► Idle
//! ```
//!
//! and who is interested another:
//!
//! ```text
//! free        nobody, and it is idle      begin ──────► watched
//! watched     a registration              end ────────► free or gone
//! gone        nobody, and it is not idle  begin ──────► watched, of the same handle
//!                                         its packet ─► free
//! ```
//!
//! **Who owns the memory.** `operation` is the kernel's from `submit` to its packet
//! ([`Socket::packet_came`]), whatever becomes of the registration. It is freed with
//! the `Socket`, before which the selector waits for all packets; what has not come
//! even then is leaked.
//!
//! **Probes.** A direction that has backed off (see [`Edges`]) is asked about when its pause is over, by a
//! poll for the whole interest. Its packet is on the port at once, or nothing is ready: then the poll
//! stays, for all directions are armed now.
//!
//! **Two handles of one socket** (duplicates) are two sockets here, since nothing says at once that they
//! are one, and each has its poll. Windows is known to answer the poll of one with what that of the other
//! has asked for. An answer nobody asked for shows that: the polls of the others that did ask are begun
//! again, and find what is ready.
//!
//! **Whose an answer is.** What ends after `end` may be of the registration before,
//! or of a socket that had the same handle: it is passed over, and asked again.
//!
//! **What fails** is told once, and asked again when an operation would have blocked, or when the
//! registration begins anew. But a handle that the driver does not know was closed, and may be another
//! socket's by now: it is given up, until the registration begins anew.

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
use super::device::{succeeded, AfdEvents, Device, Poll};
use super::library::{find, Function};
use super::port::KernelEvent;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(super) struct Socket {
    /// The handle that the driver knows; `None` for one that is free, and for one that was
    /// closed, of which nothing is under way.
    handle: Option<RawSocket>,
    registration: Option<Registration>,
    stage: Stage,
    /// The poll under way was begun for a registration that has ended.
    is_of_before: bool,
    probe: Probe,
    /// What the last answer said that nobody had asked for.
    foreign: AfdEvents,
    /// The slot of another handle of the same socket, as far as that has shown.
    pub(super) twin: Option<u32>,
    /// The selector has it among those to bring up to date.
    pub(super) is_changed: bool,
    /// The selector has it among those to be probed.
    pub(super) is_listed: bool,
    /// Of `Box::into_raw`.
    operation: *mut Poll,
}

// SAFETY: `operation` points to memory that this `Socket` alone owns (or, for it, the kernel). No thread-local
// state belongs to it, and the completion port returns it to whichever thread takes the packet.
unsafe impl Send for Socket {}

#[derive(Debug)]
struct Registration {
    token: Token,
    edges: Edges,
    /// Watching it has failed, which is still to be reported.
    has_failed: bool,
}

/// What the kernel has of it.
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
    /// Its poll has been submitted, and its packet was not looked for yet.
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

/// What came of a packet.
#[derive(Debug)]
pub(super) enum Came {
    Nothing,
    Event(Event),
    Failed(Failed),
}

/// Why watching it has failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// The driver does not know the handle: it was closed.
    OfHandle,
    /// That says nothing of the handle: the system may lack memory.
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

/// Watching it has failed, which is to be reported.
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

    /// A registration begins, of a free socket, or of one that is gone and had the
    /// same handle.
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

    pub(super) fn begin_anew(&mut self, token: Token, interest: Interest) {
        self.probe = Probe::None;
        if let Some(registration) = &mut self.registration {
            registration.token = token;
            registration.edges.begin(interest, Drained::Reported);
            registration.has_failed = false;
        }
    }

    /// The registration ends. What is under way is to be cancelled.
    pub(super) fn end(&mut self) {
        self.probe = Probe::None;
        self.registration = None;
        self.is_of_before = self.is_under_way();
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// Whether the kernel has its memory.
    pub(super) fn is_under_way(&self) -> bool {
        self.stage != Stage::Idle
    }

    pub(super) fn handle(&self) -> Option<RawSocket> {
        self.handle
    }

    /// What the last answer said that nobody had asked for, once: it is of another handle's poll.
    pub(super) fn take_foreign(&mut self) -> Option<AfdEvents> {
        let foreign = mem::replace(&mut self.foreign, AfdEvents(0));
        (foreign != AfdEvents(0)).then_some(foreign)
    }

    /// Whether a poll is under way that asks for any of these, and is to be answered.
    pub(super) fn asks_for(&self, events: AfdEvents) -> bool {
        matches!(self.stage, Stage::Polling(asked) if asked.intersects(events))
    }

    /// It goes on with another handle, of which nothing was asked yet.
    pub(super) fn set_handle(&mut self, handle: RawSocket) {
        self.handle = Some(handle);
        self.is_of_before = self.is_under_way();
    }

    pub(super) fn take_handle(&mut self) -> Option<RawSocket> {
        self.handle.take()
    }

    pub(super) fn edges(&mut self) -> Option<&mut Edges> {
        self.registration
            .as_mut()
            .map(|registration| &mut registration.edges)
    }

    /// What is to be asked of the driver.
    fn wanted(&self) -> Option<AfdEvents> {
        let edges = &self.registration.as_ref()?.edges;
        let armed = edges.armed_set()?;
        Some(to_afd(match self.probe {
            Probe::None => armed,
            Probe::Due | Probe::Submitted => armed.or(edges.interest()),
        }))
    }

    /// Whether it is to be probed, now or some time. What is latched stays, so that it is not.
    pub(super) fn is_probed(&self) -> bool {
        let edges = self.registration.as_ref().map(|its| &its.edges);
        edges.is_some_and(|edges| edges.is_probed() && !edges.is_latched())
    }

    /// When to probe it next, if that is not about to happen.
    pub(super) fn next_probe(&self, now: Tick) -> Option<Tick> {
        let registration = self.registration.as_ref()?;
        match self.probe {
            Probe::None if self.is_probed() => registration.edges.next_probe(now),
            _ => None,
        }
    }

    /// It is brought up to date by a probe.
    pub(super) fn begin_probe(&mut self) {
        self.probe = Probe::Due;
    }

    /// Whether its probe was submitted, and has not been looked for.
    pub(super) fn awaits_probe(&self) -> bool {
        self.probe == Probe::Submitted
    }

    /// Its probe is not answered at once: nothing is ready.
    pub(super) fn probe_found_nothing(&mut self, now: Tick) {
        if self.awaits_probe() {
            self.probe = Probe::None;
            if let Some(registration) = &mut self.registration {
                let report = registration.edges.probed(Readiness::NONE, now);
                debug_assert_eq!(report, None);
            }
        }
    }

    /// Whether an operation that has failed so has taken away what the socket was ready for. Other
    /// failures leave it as it is, and so would the next one.
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

    /// Brings the driver up to date with what is wanted.
    pub(super) fn update(&mut self, device: &Device, word: usize) -> Option<Failed> {
        let outcome = match (self.stage, self.wanted(), self.handle) {
            (Stage::Idle, Some(events), Some(handle)) => self.submit(device, handle, events, word),
            // What is asked beyond what is wanted is passed over when it comes. (But what was
            // asked before may be of a socket that had the same handle, and is open still: it
            // has a duplicate.)
            (Stage::Polling(asked), Some(events), _)
                if asked.contains(events) && !self.is_of_before =>
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
        // it). After success the stage is not idle until `packet_came`, which the selector calls for a packet
        // taken off the port. Until then nothing accesses the memory, and `drop` leaks it.
        let submitted = unsafe { device.poll(self.operation, handle, events, word) };
        submitted.map_err(Failure::of)?;
        self.stage = Stage::Polling(events);
        self.is_of_before = false;
        self.probe.submitted();
        Ok(())
    }

    /// Asks for the end of what is under way.
    pub(super) fn cancel(&mut self, device: &Device) -> Result<(), NTSTATUS> {
        if let Stage::Polling(asked) = self.stage {
            device.cancel(self.operation)?;
            self.stage = Stage::Cancelling(asked);
        }
        Ok(())
    }

    /// A packet with the word of this socket has been taken off the port. It is that of the poll
    /// which is under way, since handles of the driver are not given out; `None` where none is.
    pub(super) fn packet_came(&mut self, packet: KernelEvent, now: Tick) -> Option<Came> {
        if !self.is_under_way() {
            return None;
        }
        let asked = match self.stage {
            Stage::Polling(asked) | Stage::Cancelling(asked) => asked,
            Stage::Idle => AfdEvents(0),
        };
        let was_probe = self.awaits_probe();
        if was_probe {
            // Unless this is its answer.
            self.probe = Probe::Due;
        }
        self.stage = Stage::Idle;
        let is_of_before = mem::take(&mut self.is_of_before);
        if self.registration.is_none() {
            return Some(Came::Nothing);
        }
        if is_of_before || packet.status() == STATUS_CANCELLED {
            return Some(Came::Nothing);
        }
        if let Err(status) = succeeded(packet.status()) {
            return self.failed(Failure::of(status)).map(Came::Failed);
        }
        // SAFETY: `operation` is valid until `drop`. The poll's one packet was taken off the port, so that the
        // kernel has written all it will, and no longer has the memory.
        let answer = unsafe { (*self.operation).answer(packet.number()) };
        self.answered(answer, asked, was_probe, now)
    }

    /// The poll under way, which asked for these, has ended well with an answer.
    fn answered(
        &mut self,
        answer: AfdEvents,
        asked: AfdEvents,
        was_probe: bool,
        now: Tick,
    ) -> Option<Came> {
        let registration = self.registration.as_mut()?;
        if answer.intersects(AfdEvents::LOCAL_CLOSE) {
            return self.failed(Failure::OfHandle).map(Came::Failed);
        }
        self.foreign = answer.without(asked);
        let ready = from_afd(answer.without(self.foreign));
        let report = match was_probe {
            true => {
                self.probe = Probe::None;
                registration.edges.probed(ready, now)
            }
            false => Some(registration.edges.fired(ready)).filter(|&bits| bits != Readiness::NONE),
        };
        Some(match report {
            None => Came::Nothing,
            Some(report) => Came::Event(Event::new(registration.token, report)),
        })
    }

    /// Watching it has failed, so nothing more is wanted for now.
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

/// Whoever tries sees what is the matter.
const FAILED: Readiness = Readiness::IN.or(Readiness::OUT).or(Readiness::ERR);

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.is_under_way() {
            // SAFETY: the pointer comes from `Box::into_raw` in `new`, and is turned back here only. The kernel
            // does not have the memory, because the stage is idle.
            drop(unsafe { Box::from_raw(self.operation) });
        }
        // Otherwise the kernel may still write to it, and it is leaked.
    }
}

/// What to ask for a direction. The end of a connection is always asked for.
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

/// What epoll would say of the same.
fn from_afd(answer: AfdEvents) -> Readiness {
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
    .filter(|&(theirs, _)| answer.intersects(theirs))
    .fold(Readiness::NONE, |ready, (_, ours)| ready.or(ours))
}

/// The handle under a socket that the driver knows. It is the socket itself, but for
/// a layered provider's, of which some do not hand on the first question; so another
/// one is asked, which such a provider has to answer for itself.
pub(super) fn base_handle(socket: RawSocket) -> io::Result<RawSocket> {
    find_base(socket, ask_handle)
}

/// More layers than anybody has.
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

/// Whether two handles are of one socket; `None` where the system does not tell, which Windows does from
/// 10 on:
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

    /// Layers that keep the question to themselves, over a provider that answers.
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
        // Windows 8 does not tell.
        if let Some(is_same) = are_same(one, same) {
            assert!(is_same);
            assert_eq!(are_same(one, other), Some(false));
        }
    }

    /// It is of the poll of another handle of the same socket, and the registration waits on.
    #[test]
    fn an_answer_that_nobody_asked_for_is_not_reported_and_shows_another_handle() {
        let mut socket = Socket::new();
        socket.begin(0, 8, Token(1), Interest::WRITABLE);
        let asked = socket.wanted().unwrap();
        let now = Tick::since(std::time::Instant::now(), std::time::Instant::now());
        let (receive, send) = (AfdEvents::RECEIVE, AfdEvents::SEND);
        let came = socket.answered(receive, asked, false, now);
        assert!(matches!(came, Some(Came::Nothing)), "{came:?}");
        assert_eq!(socket.take_foreign(), Some(receive));
        assert_eq!(socket.take_foreign(), None);
        assert_eq!(socket.wanted(), Some(asked));
        let came = socket.answered(receive.or(send), asked, false, now);
        let Some(Came::Event(event)) = came else {
            panic!("{came:?}");
        };
        assert!(event.is_writable() && !event.is_readable());
        assert_eq!(socket.take_foreign(), Some(receive));
    }

    /// The end of a connection is asked for whatever else is wanted, and each answer
    /// is one that epoll would give.
    #[test]
    fn directions_and_answers_are_translated() {
        let ends = AfdEvents::ABORT
            .or(AfdEvents::CONNECT_FAIL)
            .or(AfdEvents::LOCAL_CLOSE);
        assert_eq!(to_afd(Readiness::NONE), ends);
        assert_eq!(to_afd(Readiness::OUT), ends.or(AfdEvents::SEND));
        assert_eq!(to_afd(Readiness::RDHUP), ends.or(AfdEvents::DISCONNECT));
        assert!(to_afd(Readiness::IN).contains(AfdEvents::RECEIVE.or(AfdEvents::ACCEPT)));

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
