//! Event ports, the event queue of Solaris and illumos:
//! [port_create(3C)](https://illumos.org/man/3C/port_create).
//!
//! A descriptor is *associated* with the port until its next event is retrieved.
//! How it keeps the contract:
//!
//! - **Edges** are made of that by [`Edges`](super::rearm::Edges): a descriptor is
//!   associated again, for what it has not been reported ready for, when its event
//!   has been retrieved, and when its I/O would block.
//! - **Who is registered** stands in a table here, and the kernel is asked for what
//!   it takes; files are always ready.
//! - **Deregistering** dissociates, which takes an event that waits in the port
//!   along. What a thread has been given at the same time is told by the table.
//! - **Threads**: the port is changed while a thread waits on it, and hears of that
//!   at once. What it says of a descriptor that was changed meanwhile may be of
//!   before: it is asked again.
//! - **Fairness**: the port is a queue, and what was retrieved is associated anew
//!   behind the others.
//! - **Memory**: the table, which grows with the registrations, and a buffer beside
//!   the program's `Events`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use libc::{c_int, c_short, c_ushort, c_void};

use super::error::cvt;
use super::platform::kernel_event::KernelEvent;
use super::platform::port_names::{self as names, port_event};
use super::rearmed::{Kernel, Rearmed};
use super::selector::{EventBuffer, UserEvent};
use super::table::{from_poll, EventOwner, State};
use super::timeout::timespec;
use super::wake_fd::UnreadSignals;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::Token;

pub(crate) type EventPorts = Rearmed<Port>;

/// The kernel, which keeps the armed set.
#[derive(Debug)]
pub(crate) struct Port {
    port: OwnedFd,
}

/// The wakers' events. One that was sent cannot be taken back, so it is told by its
/// number whether its waker is still there.
#[derive(Debug, Default)]
pub(crate) struct UserEvents {
    all: Vec<Sendable>,
    /// Any of them is `unsent`.
    has_unsent: bool,
}

#[derive(Debug, Default)]
struct Sendable {
    /// Counts those that had the place one after the other.
    generation: u16,
    is_open: bool,
    /// It is in the port: one is enough.
    is_sent: bool,
    /// The port was full: its token, to be reported all the same.
    unsent: Option<Token>,
}

/// User events carry a number, to which other programs give small ones, if any. Ours
/// have this bit, and below it a generation and a place in `UserEvents`.
const OURS: c_int = 1 << 30;
const PLACE_BITS: u32 = 16;
const GENERATIONS: u16 = 1 << 14;

/// No event has this source.
const NO_SOURCE: c_ushort = 0;

/// What is in the place of an event before the kernel writes one.
const NOT_WRITTEN: port_event = port_event {
    portev_events: 0,
    portev_source: NO_SOURCE,
    portev_pad: 0,
    portev_object: 0,
    portev_user: ptr::null_mut(),
};

/// Ends a wait. Its place is beyond the last one.
const INTERRUPT: c_int = OURS | MOST as c_int;
const MOST: usize = (1 << PLACE_BITS) - 1;

impl Kernel for Port {
    type Armed = UserEvents;

    const TAKES_CHANGES: bool = true;

    fn open(_: &Arc<UnreadSignals>) -> io::Result<(Port, UserEvents)> {
        // SAFETY: takes nothing; returns a descriptor or -1.
        let port = cvt(unsafe { names::port_create() })?;
        // SAFETY: the descriptor is new, open and nobody else's.
        let port = unsafe { OwnedFd::from_raw_fd(port) };
        // SAFETY: takes numbers.
        cvt(unsafe { libc::fcntl(port.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok((Port { port }, UserEvents::default()))
    }

    fn arm(&self, state: &mut State<UserEvents>, slot: usize) -> io::Result<()> {
        match state.table.entry(slot).wanted() {
            Some((fd, token, events)) => self.associate(fd, token, events),
            None => {
                // A probe may have latched what the port has queued meanwhile.
                let entry = state.table.entry(slot);
                if entry.fd >= 0 && !entry.is_dead {
                    self.disarm(entry.fd);
                }
                Ok(())
            }
        }
    }

    fn disarm(&self, fd: RawFd) {
        let source = names::PORT_SOURCE_FD as c_int;
        // It need not be associated, nor open any more.
        // SAFETY: takes numbers.
        unsafe { names::port_dissociate(self.port.as_raw_fd(), source, fd as usize) };
    }

    fn wait<'a>(
        backend: &'a EventPorts,
        state: MutexGuard<'a, State<UserEvents>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<UserEvents>>, io::Result<bool>) {
        let (mut state, mut timeout) = (state, timeout);
        let mut said_something = false;
        let retrieved = loop {
            let capacity = events.capacity() - events.events().len();
            let retrieved;
            (state, retrieved) = backend.wait_once(state, timeout, events);
            said_something |= matches!(retrieved, Ok(1..));
            // What is no event any more may have taken the capacity of others behind it.
            if !matches!(retrieved, Ok(count) if count == capacity) || events.is_full() {
                break retrieved;
            }
            timeout = Some(Duration::ZERO);
        };
        while let Some(slot) = state.table.repeated.pop() {
            backend.rearm(&mut state, slot as usize);
        }
        (state, retrieved.map(|_| said_something))
    }

    fn interrupt(&self) {
        // If it fails nothing more can be done.
        let _ = self.send(INTERRUPT, Token(0));
    }

    fn open_user_event(backend: &EventPorts, token: Token) -> io::Result<Option<UserEvent>> {
        let mut state = backend.registrations.lock();
        match state.armed.open() {
            Some(number) => Ok(Some(UserEvent {
                ident: number as usize,
                token,
            })),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    fn trigger(backend: &EventPorts, event: UserEvent) -> io::Result<()> {
        let number = event.ident as c_int;
        let mut state = backend.registrations.lock();
        let sendable = state.armed.find(number);
        if let Some(sendable) = sendable.filter(|sendable| !sendable.is_pending()) {
            match backend.kernel.send(number, event.token) {
                Ok(()) => sendable.is_sent = true,
                // It is full of events: nobody waits for long.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sendable.unsent = Some(event.token);
                    state.armed.has_unsent = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn close_user_event(backend: &EventPorts, event: UserEvent) {
        let mut state = backend.registrations.lock();
        if let Some(sendable) = state.armed.find(event.ident as c_int) {
            sendable.is_open = false;
            sendable.unsent = None;
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

impl Port {
    fn associate(&self, fd: RawFd, token: Token, events: c_short) -> io::Result<()> {
        let (source, object) = (names::PORT_SOURCE_FD as c_int, fd as usize);
        let user = token.0 as *mut c_void;
        let port = self.port.as_raw_fd();
        // SAFETY: takes numbers; the pointer is a word that is handed back.
        let done = unsafe { names::port_associate(port, source, object, events.into(), user) };
        match cvt(done) {
            Ok(_) => Ok(()),
            // The other calls' words for it. EAGAIN, that the port has as many as it
            // may have, would be taken for an operation that blocks.
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EBADFD) => io::Error::from_raw_os_error(libc::EBADF),
                Some(libc::EAGAIN) => io::Error::from_raw_os_error(libc::ENOSPC),
                _ => error,
            }),
        }
    }

    fn send(&self, number: c_int, token: Token) -> io::Result<()> {
        let user = token.0 as *mut c_void;
        // SAFETY: takes numbers; the pointer is a word that is handed back.
        cvt(unsafe { names::port_send(self.port.as_raw_fd(), number, user) })?;
        Ok(())
    }

    /// Waits until there is an event, and moves as many as fit into the buffer;
    /// returns how many those are.
    fn retrieve(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<usize> {
        let most = events.capacity() - events.events().len();
        let room = &mut events.kernel.spare_capacity_mut()[..most];
        let mut limit = timeout.map(timespec);
        let limit = limit
            .as_mut()
            .map_or(ptr::null_mut(), |limit| limit as *mut _);
        // Not every library of event loops believes the count where the time is up: the
        // first event tells whether there is any.
        room[0].write(KernelEvent(NOT_WRITTEN));
        let mut count = 1;
        // SAFETY: the kernel writes at most as many events as there is room for, and
        // how many; it reads the limit, if there is one.
        let retrieved = cvt(unsafe {
            names::port_getn(
                self.port.as_raw_fd(),
                room.as_mut_ptr().cast(),
                most as _,
                &mut count,
                limit,
            )
        });
        match retrieved {
            // It says how many there are then, too.
            Err(error) if error.raw_os_error() != Some(libc::ETIME) => return Err(error),
            _ => {}
        }
        // SAFETY: written above, and perhaps by the kernel since.
        let first = unsafe { room[0].assume_init_ref() };
        match first.0.portev_source {
            NO_SOURCE => Ok(0),
            _ => Ok(count as usize),
        }
    }
}

impl Rearmed<Port> {
    /// Returns how much the kernel said.
    fn wait_once<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<UserEvents>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<UserEvents>>, io::Result<usize>) {
        let timeout = match state.armed.has_unsent {
            true => Some(Duration::ZERO),
            false => timeout,
        };
        state.waiting.begin();
        drop(state);

        let retrieved = self.kernel.retrieve(events, timeout);

        let mut state = self.registrations.lock();
        state.waiting.end();
        if let Ok(retrieved) = retrieved {
            for index in 0..retrieved {
                // SAFETY: the kernel has written so many.
                let event = unsafe { events.kernel.spare_capacity_mut()[index].assume_init_read() };
                if let Some(event) = self.event(&mut state, &event.0) {
                    events.push(event);
                }
            }
        }
        state.armed.report_unsent(events);
        while state.table.take_changed().is_some() {}
        (state, retrieved)
    }

    /// What the kernel says, as an event, if it is one.
    fn event(&self, state: &mut State<UserEvents>, event: &port_event) -> Option<Event> {
        let token = Token(event.portev_user as usize);
        if event.portev_source == names::PORT_SOURCE_USER as _ {
            let number = event.portev_events;
            if number & OURS == 0 {
                return Some(Event::new(token, Readiness::IN)); // foreign
            }
            let sendable = state.armed.find(number)?;
            sendable.is_sent = false;
            // Of a waker that was dropped meanwhile it is none.
            let event = Event::new(token, Readiness::IN);
            return sendable.is_open.then_some(event);
        }
        if event.portev_source != names::PORT_SOURCE_FD as _ {
            return Some(Event::new(token, Readiness::NONE)); // foreign
        }
        let fd = event.portev_object as RawFd;
        let answer = event.portev_events as c_short;
        match state.table.owner_of_event(fd) {
            EventOwner::Slot(slot) => self.ready(state, slot, answer),
            EventOwner::Stale(slot) => {
                self.rearm(state, slot);
                None
            }
            EventOwner::Ended => None,
            EventOwner::Foreign => Some(Event::new(token, from_poll(answer))),
        }
    }
}

impl Sendable {
    /// It will be reported already.
    fn is_pending(&self) -> bool {
        self.is_sent || self.unsent.is_some()
    }
}

impl UserEvents {
    /// The number of a new event.
    fn open(&mut self) -> Option<c_int> {
        // A place that has an event in the port is left until that has come.
        let is_free = |sendable: &Sendable| !sendable.is_open && !sendable.is_sent;
        let place = match self.all.iter().position(is_free) {
            Some(place) => place,
            None if self.all.len() < MOST => {
                self.all.push(Sendable::default());
                self.all.len() - 1
            }
            None => return None,
        };
        let sendable = &mut self.all[place];
        sendable.is_open = true;
        sendable.generation = (sendable.generation + 1) % GENERATIONS;
        Some(OURS | c_int::from(sendable.generation) << PLACE_BITS | place as c_int)
    }

    /// Reports those for which there was no room in the port.
    fn report_unsent(&mut self, events: &mut EventBuffer) {
        if !self.has_unsent {
            return;
        }
        self.has_unsent = false;
        for sendable in &mut self.all {
            if events.is_full() {
                self.has_unsent |= sendable.unsent.is_some();
            } else if let Some(token) = sendable.unsent.take() {
                events.push(Event::new(token, Readiness::IN));
            }
        }
    }

    /// That of a number. Until it has come back it is the same one.
    fn find(&mut self, number: c_int) -> Option<&mut Sendable> {
        let place = number as usize & MOST;
        let generation = number >> PLACE_BITS & c_int::from(GENERATIONS - 1);
        let sendable = self.all.get_mut(place)?;
        (c_int::from(sendable.generation) == generation).then_some(sendable)
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::super::selector::{Owner, Selector};
    use super::*;
    use crate::Interest;

    /// Places are seen to run out only after very many wakers.
    #[test]
    fn places_are_reused_when_their_events_have_come_back() {
        let mut events = UserEvents::default();
        let first = events.open().unwrap();
        let second = events.open().unwrap();
        assert_ne!(first, second);

        let sendable = events.find(first).unwrap();
        (sendable.is_open, sendable.is_sent) = (false, true);
        events.open().unwrap();
        assert_eq!(events.all.len(), 3, "the first one's is taken");

        events.find(first).unwrap().is_sent = false;
        let fourth = events.open().unwrap();
        assert_eq!(events.all.len(), 3);
        assert_ne!(fourth, first, "another one in its place");
        assert!(events.find(first).is_none());
        assert!(events.find(fourth).is_some());
    }

    /// A thread that waits has been given an event, and does not have the lock yet when
    /// another one makes changes.
    #[test]
    fn what_was_retrieved_before_a_change_is_not_believed() {
        let port: EventPorts = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let register = |fd, token| {
            let interest = Interest::READABLE;
            Selector::register(&port, fd, token, interest, Owner::Source).unwrap()
        };
        let (one, other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let key = register(fd, Token(1));
        drop(other);

        port.registrations.lock().waiting.begin();
        assert_eq!(port.kernel.retrieve(&mut events, None).unwrap(), 1);
        // SAFETY: the kernel has written one.
        let hang_up = unsafe { events.kernel.spare_capacity_mut()[0].assume_init_read() };
        let event = || port.event(&mut port.registrations.lock(), &hang_up.0);
        Selector::deregister(&port, fd, key).unwrap();
        assert!(event().is_none(), "it is nobody's");

        // In the place of `one`, under the same number.
        let (next, mut peer) = UnixStream::pair().unwrap();
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::dup2(next.as_raw_fd(), fd) }, fd);
        register(fd, Token(2));
        assert!(event().is_none(), "it is not the next one's");

        // The next one's own, which is retrieved at the same time, comes a little later.
        peer.write_all(b"x").unwrap();
        assert_eq!(port.kernel.retrieve(&mut events, None).unwrap(), 1);
        // SAFETY: the kernel has written one.
        let readable = unsafe { events.kernel.spare_capacity_mut()[0].assume_init_read() };
        let mut state = port.registrations.lock();
        assert!(port.event(&mut state, &readable.0).is_none());
        state.waiting.end();
        while state.table.take_changed().is_some() {}
        drop(state);
        let at_once = Some(Duration::ZERO);
        port.select(&mut events, at_once).unwrap();
        let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        assert_eq!(tokens, [Token(2)]);
    }

    /// A false one would make a program close a connection that stands.
    #[test]
    fn a_hang_up_that_is_none_is_not_reported() {
        let port: EventPorts = Selector::open().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let (fd, interest) = (one.as_raw_fd(), Interest::WRITABLE);
        Selector::register(&port, fd, Token(1), interest, Owner::Source).unwrap();
        let mut said = port_event {
            portev_events: (libc::POLLHUP | libc::POLLERR).into(),
            portev_source: names::PORT_SOURCE_FD as _,
            portev_object: fd as usize,
            portev_user: 1 as *mut c_void,
            ..NOT_WRITTEN
        };
        let mut state = port.registrations.lock();
        for events in [
            said.portev_events,
            said.portev_events | c_int::from(libc::POLLOUT),
        ] {
            said.portev_events = events;
            if let Some(event) = port.event(&mut state, &said) {
                assert!(event.is_writable());
                assert!(!event.is_error() && !event.is_write_closed() && !event.is_read_closed());
            }
        }
    }

    #[test]
    fn no_place_is_the_interrupts() {
        let mut events = UserEvents::default();
        let open = || Sendable {
            is_open: true,
            ..Sendable::default()
        };
        events.all.resize_with(MOST - 1, open);
        assert_ne!(events.open().unwrap(), INTERRUPT);
        assert!(events.open().is_none(), "none is left");
        assert!(events.find(INTERRUPT).is_none());
    }
}
