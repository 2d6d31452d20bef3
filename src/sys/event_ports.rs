//! Event ports, the event queue of Solaris and illumos:
//! [port_create(3C)](https://illumos.org/man/3C/port_create).
//!
//! A descriptor stays *associated* with the port until its next event is retrieved.
//! How this backend keeps the contract:
//!
//! - **Edges**: [`Edges`](super::rearm::Edges) makes edges of one-shot events. It
//!   associates a descriptor again, for the directions that it has not reported, when
//!   the descriptor's event has been retrieved and when its I/O would block.
//! - **Registrations**: a table here stores them. The kernel decides which descriptors
//!   it accepts; files are always ready.
//! - **Deregistering** dissociates the descriptor, which removes its event from the
//!   port. The table recognises an event that a thread retrieved at the same time.
//! - **Threads**: another thread may change the port during a wait, and the change takes
//!   effect at once. An event of a descriptor that was changed meanwhile may be stale, so
//!   the descriptor is associated again instead. Each event costs a system call under the
//!   lock, so other threads get the lock in between.
//! - **Wake-ups**: a list here holds them, and the port holds at most one signal that the list is not
//!   empty. The signal is an event, which a poll that nests this one sees. If the port is full, the signal
//!   is its alert mode ([port_alert(3C)](https://illumos.org/man/3C/port_alert)), which needs no slot. Alert
//!   mode hides all events, so the thread that sees it first ends it, and then reads the list and retrieves
//!   the events. It holds the lock under which other threads add to the list, so it misses no wake-up.
//! - **Fairness**: the port is a queue, and a descriptor that is associated again joins its end.
//! - **Memory**: the table, which grows with the registrations, and a buffer beside
//!   the program's `Events`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use libc::{c_int, c_short, c_ushort, c_void};

use super::error::cvt;
use super::platform::kernel_event::KernelEvent;
use super::platform::port_names::{self as names, port_event};
use super::poll_bits::from_poll;
use super::rearmed::{Kernel, Rearmed};
use super::selector::{EventBuffer, UserEvent};
use super::table::{EventOwner, State, Table};
use super::timeout::timespec;
use super::wake_fd::UnreadSignals;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::Token;

pub(crate) type EventPorts = Rearmed<Port>;

/// The port. The kernel stores the armed set.
pub(crate) struct Port {
    port: OwnedFd,
}

/// The wakers' events, and the signal that ends a wait for them. They are stored here because the port
/// may have no slot for each.
#[derive(Default)]
pub(crate) struct UserEvents {
    /// Indexed by identity. The identity of a closed event is reused.
    all: Vec<UserEventState>,
    /// The events that were triggered and not reported, in order. While the lock is free this is empty
    /// unless `is_signalled`.
    triggered: VecDeque<UserEvent>,
    /// Wakers' events alone filled the last buffer, so that nothing was retrieved from the kernel.
    filled_buffer: bool,
    /// The port holds the signal: as an event, or because it is in alert mode.
    is_signalled: bool,
}

#[derive(Default)]
struct UserEventState {
    is_open: bool,
    is_triggered: bool,
    /// The call of `select` that reported it last.
    reported_by: u32,
}

/// The event that is sent as the signal. Programs that send events of their own use small numbers.
const SIGNAL: c_int = 0x4000_0000;

/// Begins alert mode. Any number except for 0, which ends it.
const ALERTED: c_int = 1;

/// The number of events that are processed before other threads get the lock. Each costs a system call.
const MAX_BATCH: usize = 64;

/// A source that no event has.
const NO_SOURCE: c_ushort = 0;

/// The buffer's first element before the kernel writes an event.
const NOT_WRITTEN: port_event = port_event {
    portev_events: 0,
    portev_source: NO_SOURCE,
    portev_pad: 0,
    portev_object: 0,
    portev_user: ptr::null_mut(),
};

impl Kernel for Port {
    type Armed = UserEvents;

    const TAKES_CHANGES: bool = true;

    fn open(_: &Arc<UnreadSignals>) -> io::Result<(Port, UserEvents)> {
        // SAFETY: `port_create` has no arguments and no memory-safety preconditions.
        let port = cvt(unsafe { names::port_create() })?;
        // SAFETY: the call has just opened this descriptor, and nothing else owns it.
        let port = unsafe { OwnedFd::from_raw_fd(port) };
        // SAFETY: `fcntl` with F_SETFD has no memory-safety preconditions; `port` is open.
        cvt(unsafe { libc::fcntl(port.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok((Port { port }, UserEvents::default()))
    }

    fn arm(&self, state: &mut State<UserEvents>, slot: usize) -> io::Result<()> {
        match state.table.entry(slot).to_arm() {
            Some((fd, token, events)) => self.associate(fd, token, events),
            None => {
                // A probe may have latched a condition whose event the port has queued meanwhile.
                let entry = state.table.entry(slot);
                if entry.is_watched() {
                    self.disarm(entry.fd)?;
                }
                Ok(())
            }
        }
    }

    fn disarm(&self, fd: RawFd) -> io::Result<()> {
        let source = names::PORT_SOURCE_FD as c_int;
        // SAFETY: `port_dissociate` accesses no memory of the process: `fd` is an integer to it.
        let done =
            cvt(unsafe { names::port_dissociate(self.port.as_raw_fd(), source, fd as usize) });
        let Err(error) = done else {
            return Ok(());
        };
        match error.raw_os_error() {
            // The descriptor may not be associated.
            Some(libc::ENOENT) => Ok(()),
            // One of the two descriptors is not open, or another object has the port's.
            Some(libc::EBADF | libc::EBADFD) => self.check_open(),
            _ => Err(error),
        }
    }

    fn wait<'a>(
        backend: &'a EventPorts,
        state: MutexGuard<'a, State<UserEvents>>,
        mut timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<UserEvents>>, io::Result<bool>) {
        let mut state = backend.rearm_all(state, |table| &mut table.level);
        let select = state.table.select;
        // Where wakers alone filled the last buffer, the kernel's events come first.
        if !std::mem::take(&mut state.armed.filled_buffer) {
            state.armed.report(events, select);
            if events.is_full() {
                state.armed.filled_buffer = true;
                return (state, Ok(true));
            }
        }
        // If wakes were reported above, or are still to be, the port holds the signal, so this does not wait.
        let mut has_retrieved = false;
        let waited = loop {
            let retrieved;
            (state, retrieved) = backend.wait_once(state, timeout, events);
            has_retrieved |= matches!(retrieved, Ok(Retrieved { count: 1.., .. }));
            match retrieved {
                Ok(retrieved) if retrieved.may_hide_events && !events.is_full() => {}
                _ => break retrieved.map(|_| has_retrieved),
            }
            timeout = Some(Duration::ZERO);
        };
        state = backend.rearm_all(state, |table| &mut table.repeated);
        state.armed.report(events, select);
        if !state.armed.triggered.is_empty() {
            // For a poll that nests this one. If it fails, the next `select` fails as well.
            let _ = backend.kernel.signal(&mut state.armed);
        }
        if is_closed(&waited) {
            // The port is gone, so the collected events are dropped.
            events.clear();
        }
        (state, waited)
    }

    /// It only fails if the port is closed, which ends the wait.
    fn interrupt(
        backend: &EventPorts,
        mut state: MutexGuard<'_, State<UserEvents>>,
    ) -> io::Result<()> {
        backend.kernel.signal(&mut state.armed)
    }

    fn open_user_event(backend: &EventPorts, token: Token) -> io::Result<Option<UserEvent>> {
        let ident = backend.registrations.lock().armed.open();
        Ok(Some(UserEvent { ident, token }))
    }

    fn trigger(backend: &EventPorts, event: UserEvent) -> io::Result<()> {
        let mut state = backend.registrations.lock();
        if state.armed.trigger(event) {
            backend.kernel.signal(&mut state.armed).map_err(|error| {
                state.armed.untrigger(event);
                error
            })?;
        }
        Ok(())
    }

    fn close_user_event(backend: &EventPorts, event: UserEvent) {
        let mut state = backend.registrations.lock();
        state.armed.untrigger(event);
        state.armed.all[event.ident].is_open = false;
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
        // SAFETY: `user` is a word that the port returns and nothing dereferences; the other arguments
        // are integers.
        let done = unsafe { names::port_associate(port, source, object, events.into(), user) };
        cvt(done).map(drop).map_err(|error| {
            let error = closed_as_ebadf(error);
            match error.raw_os_error() {
                // The port has reached its limit. EAGAIN would look like an operation that would block.
                Some(libc::EAGAIN) => io::Error::from_raw_os_error(libc::ENOSPC),
                _ => error,
            }
        })
    }

    /// Ends a thread's wait, or makes the next one return at once. It works without a slot in the port
    /// and without memory of the kernel.
    fn signal(&self, armed: &mut UserEvents) -> io::Result<()> {
        if !armed.is_signalled {
            // An event if possible: it makes the port's own descriptor readable.
            self.send(SIGNAL).or_else(|_| self.alert(ALERTED))?;
            armed.is_signalled = true;
        }
        Ok(())
    }

    /// Fails with EBADF if the port is closed.
    #[cold]
    fn check_open(&self) -> io::Result<()> {
        let (port, mut count) = (self.port.as_raw_fd(), 0);
        // SAFETY: with a length of 0 `port_getn` writes no event and does not wait. It writes `count`,
        // and the null timeout is not read.
        let counted =
            unsafe { names::port_getn(port, ptr::null_mut(), 0, &mut count, ptr::null_mut()) };
        cvt(counted).map(drop).map_err(closed_as_ebadf)
    }

    fn send(&self, number: c_int) -> io::Result<()> {
        // SAFETY: the null pointer is a word that the port returns and nothing dereferences; the other
        // arguments are integers.
        cvt(unsafe { names::port_send(self.port.as_raw_fd(), number, ptr::null_mut()) })?;
        Ok(())
    }

    /// Begins alert mode, or ends it if `number` is 0. In alert mode every wait returns at once, and
    /// retrieves the alert alone.
    fn alert(&self, number: c_int) -> io::Result<()> {
        let (port, flags) = (self.port.as_raw_fd(), names::PORT_ALERT_SET);
        // SAFETY: the null pointer is a word that the port returns and nothing dereferences; the other
        // arguments are integers.
        let done = unsafe { names::port_alert(port, flags, number, ptr::null_mut()) };
        cvt(done).map(drop).map_err(closed_as_ebadf)
    }

    /// Waits for an event, and retrieves as many as fit into the buffer.
    fn retrieve(
        &self,
        events: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<Retrieved> {
        let most = events.capacity() - events.events().len();
        let buffer = &mut events.kernel.spare_capacity_mut()[..most];
        let mut timeout = timeout.map(timespec);
        let timeout = timeout
            .as_mut()
            .map_or(ptr::null_mut(), |timeout| timeout as *mut _);
        // Some event loops do not rely on the count after ETIME. Nor does this one: the first
        // event shows whether there is any.
        buffer[0].write(KernelEvent(NOT_WRITTEN));
        let mut count = 1;
        // SAFETY: the kernel writes at most `most` events, which is the length of `buffer`, and
        // `count`. `timeout` is null or points to a `timespec` that outlives the call.
        let retrieved = cvt(unsafe {
            names::port_getn(
                self.port.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                most as _,
                &mut count,
                timeout,
            )
        });
        match retrieved {
            // With ETIME the kernel sets the count as well.
            Err(error) if error.raw_os_error() != Some(libc::ETIME) => {
                return Err(closed_as_ebadf(error))
            }
            _ => {}
        }
        // SAFETY: `NOT_WRITTEN` was written above, and perhaps an event by the kernel since.
        let first = unsafe { buffer[0].assume_init_ref() };
        let source = first.0.portev_source;
        let count = match source {
            NO_SOURCE => 0,
            _ => count as usize,
        };
        Ok(Retrieved {
            count,
            may_hide_events: count == most || source == names::PORT_SOURCE_ALERT as _,
        })
    }
}

/// The result of one retrieval.
#[derive(Copy, Clone, Debug)]
struct Retrieved {
    count: usize,
    /// The port may have more events: the buffer was full, perhaps of entries that are not reported, or
    /// the port was in alert mode.
    may_hide_events: bool,
}

fn is_closed<T>(outcome: &io::Result<T>) -> bool {
    let error = outcome.as_ref().err();
    error.and_then(|error| error.raw_os_error()) == Some(libc::EBADF)
}

/// Turns EBADFD, which ports answer if another object has the port's descriptor, into EBADF.
fn closed_as_ebadf(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EBADFD) => io::Error::from_raw_os_error(libc::EBADF),
        _ => error,
    }
}

impl Rearmed<Port> {
    /// Associates the descriptors on a list again, and empties the list.
    fn rearm_all<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<UserEvents>>,
        list: impl Fn(&mut Table) -> &mut Vec<u32>,
    ) -> MutexGuard<'a, State<UserEvents>> {
        for count in 1.. {
            let Some(slot) = list(&mut state.table).pop() else {
                break;
            };
            self.rearm(&mut state, slot as usize);
            if count % MAX_BATCH == 0 {
                state = self.registrations.yield_lock(state);
            }
        }
        state
    }

    fn wait_once<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<UserEvents>>,
        timeout: Option<Duration>,
        events: &mut EventBuffer,
    ) -> (MutexGuard<'a, State<UserEvents>>, io::Result<Retrieved>) {
        state.waiting.begin();
        drop(state);

        let retrieved = self.kernel.retrieve(events, timeout);

        let mut state = self.registrations.lock();
        // The wait is over, but changes are still noted while there are events to process.
        state.waiting.interrupt();
        if is_closed(&retrieved) {
            state.armed.is_signalled = false; // no thread will retrieve it
        }
        if let Ok(Retrieved { count, .. }) = retrieved {
            for index in 0..count {
                if index > 0 && index % MAX_BATCH == 0 {
                    state = self.registrations.yield_lock(state);
                }
                // SAFETY: `index` is below the number of events that the kernel has written.
                let event = unsafe { events.kernel.spare_capacity_mut()[index].assume_init_read() };
                if let Some(event) = self.event(&mut state, &event.0) {
                    events.push(event);
                }
            }
        }
        state.waiting.end();
        while state.table.take_changed().is_some() {}
        (state, retrieved)
    }

    /// Turns a retrieved event into the program's, if there is anything to report.
    fn event(&self, state: &mut State<UserEvents>, event: &port_event) -> Option<Event> {
        let token = Token(event.portev_user as usize);
        let source = c_int::from(event.portev_source);
        if source == names::PORT_SOURCE_ALERT {
            // It only fails if the port is closed, which the next call reports.
            let _ = self.kernel.alert(0);
            state.armed.is_signalled = false;
            return None;
        }
        if source == names::PORT_SOURCE_USER && event.portev_events == SIGNAL {
            state.armed.is_signalled = false;
            return None;
        }
        if source == names::PORT_SOURCE_USER {
            return Some(Event::new(token, Readiness::IN)); // foreign
        }
        if source != names::PORT_SOURCE_FD {
            return Some(Event::new(token, Readiness::NONE)); // foreign
        }
        let fd = event.portev_object as RawFd;
        let revents = event.portev_events as c_short;
        match state.table.owner_of_event(fd) {
            EventOwner::Slot(slot) => self.ready(state, slot, revents),
            EventOwner::Stale(slot) => {
                self.rearm(state, slot);
                None
            }
            EventOwner::Ended => None,
            EventOwner::Foreign => Some(Event::new(token, from_poll(revents))),
        }
    }
}

impl UserEvents {
    /// Opens an event, and returns its identity.
    fn open(&mut self) -> usize {
        let free = self.all.iter().position(|one| !one.is_open);
        let ident = free.unwrap_or_else(|| {
            self.all.push(UserEventState::default());
            // Triggering then allocates nothing.
            self.triggered.reserve(self.all.len());
            self.all.len() - 1
        });
        self.all[ident].is_open = true;
        ident
    }

    /// Queues the event for reporting. Returns whether it was not queued already.
    fn trigger(&mut self, event: UserEvent) -> bool {
        let was_triggered = std::mem::replace(&mut self.all[event.ident].is_triggered, true);
        if !was_triggered {
            self.triggered.push_back(event);
        }
        !was_triggered
    }

    /// Removes the event from the queue.
    fn untrigger(&mut self, event: UserEvent) {
        if std::mem::take(&mut self.all[event.ident].is_triggered) {
            self.triggered.retain(|one| one.ident != event.ident);
        }
    }

    /// Reports as many as fit, each at most once in one `select`.
    fn report(&mut self, events: &mut EventBuffer, select: u32) {
        for _ in 0..self.triggered.len() {
            if events.is_full() {
                return;
            }
            let Some(event) = self.triggered.pop_front() else {
                return;
            };
            let one = &mut self.all[event.ident];
            if one.reported_by == select {
                // It was triggered again since then, which the next `select` reports.
                self.triggered.push_back(event);
                continue;
            }
            one.is_triggered = false;
            one.reported_by = select;
            events.push(Event::new(event.token, Readiness::IN));
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;

    use super::super::selector::{Key, Owner, Selector};
    use super::*;
    use crate::Interest;

    /// Longer than any wait here that ends well.
    const IN_TIME: Option<Duration> = Some(Duration::from_secs(10));

    /// A program that makes and drops wakers for ever uses as much memory as the most at a time need.
    #[test]
    fn the_number_of_a_closed_event_is_used_again() {
        let port: EventPorts = Selector::open().unwrap();
        let open = |token| port.open_user_event(token).unwrap().unwrap();
        let (first, second) = (open(Token(1)), open(Token(2)));
        assert_ne!(first.ident, second.ident);
        port.trigger(first).unwrap();
        port.close_user_event(first);
        let third = open(Token(3));
        assert_eq!(third.ident, first.ident);
        port.trigger(third).unwrap();
        let mut events = EventBuffer::with_capacity(8);
        port.select(&mut events, IN_TIME).unwrap();
        let tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        assert_eq!(tokens, [Token(3)]);
    }

    /// A waker may wake again while a poll collects events.
    #[test]
    fn a_user_event_is_reported_once_in_a_select() {
        let port: EventPorts = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let event = port.open_user_event(Token(1)).unwrap().unwrap();
        for (select, count) in [(1, 1), (1, 1), (2, 2)] {
            port.trigger(event).unwrap();
            port.registrations.lock().armed.report(&mut events, select);
            assert_eq!(events.events().len(), count);
        }
    }

    /// A poll whose timeout has passed looks for events once more if there was anything.
    #[test]
    fn a_wait_says_whether_the_port_has_reported_anything() {
        let port: EventPorts = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let mut has_reported = |timeout| {
            let state = port.registrations.lock();
            let (_state, reported) = Port::wait(&port, state, timeout, &mut events);
            reported.unwrap()
        };
        assert!(!has_reported(Some(Duration::ZERO)));
        // The signal alone, which is no event of the program's.
        port.kernel
            .signal(&mut port.registrations.lock().armed)
            .unwrap();
        assert!(has_reported(IN_TIME));
        assert!(!has_reported(Some(Duration::ZERO)));
    }

    /// Otherwise a thread whose I/O would block waits for as many system calls as there are events.
    #[test]
    fn other_threads_get_the_lock_while_many_events_are_processed() {
        const COUNT: usize = 3 * 64 + 1;

        let port: EventPorts = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(COUNT);
        let pairs: Vec<_> = (0..COUNT).map(|_| UnixStream::pair().unwrap()).collect();
        for (n, (one, _)) in pairs.iter().enumerate() {
            let (fd, interest) = (one.as_raw_fd(), Interest::WRITABLE);
            Selector::register(&port, fd, Token(n), interest, Owner::Source).unwrap();
        }
        port.select(&mut events, IN_TIME).unwrap();
        assert_eq!(events.events().len(), COUNT);
        let times = || port.registrations.times_yielded.load(Ordering::Relaxed);
        assert_eq!(times(), 3);

        // Level-triggered ones are all associated again by the next call.
        for (n, (one, _)) in pairs.iter().enumerate() {
            let (fd, interest) = (one.as_raw_fd(), Interest::WRITABLE.level());
            Selector::reregister(&port, fd, Key::NONE, Token(n), interest).unwrap();
        }
        port.select(&mut events, IN_TIME).unwrap();
        let before = times();
        port.select(&mut events, IN_TIME).unwrap();
        assert_eq!(events.events().len(), COUNT);
        assert_eq!(times() - before, 6);
    }

    /// The program has the port's descriptor, and may use it itself.
    #[test]
    fn what_the_program_sent_or_associated_itself_is_reported_with_its_word() {
        let port: EventPorts = Selector::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let (stream, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        let own = Selector::as_fd(&port).as_raw_fd();
        let (source, object) = (names::PORT_SOURCE_FD as c_int, stream.as_raw_fd() as usize);
        // SAFETY: the words are not dereferenced.
        let (associated, sent) = unsafe {
            let wanted = libc::POLLIN.into();
            let associated = names::port_associate(own, source, object, wanted, 11 as *mut _);
            (associated, names::port_send(own, SIGNAL + 1, 12 as *mut _))
        };
        cvt(associated).unwrap();
        // One variant of the model has no capacity for it.
        let mut expected = vec![Token(11)];
        expected.extend((sent == 0).then_some(Token(12)));
        port.select(&mut events, IN_TIME).unwrap();
        let mut tokens: Vec<Token> = events.events().iter().map(Event::token).collect();
        tokens.sort();
        assert_eq!(tokens, expected);
        assert!(events.events().iter().all(Event::is_readable));
    }

    /// The polling thread has retrieved an event, and does not hold the lock yet, when
    /// another thread makes changes.
    #[test]
    fn an_event_retrieved_before_a_change_is_stale() {
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
        assert_eq!(port.kernel.retrieve(&mut events, IN_TIME).unwrap().count, 1);
        // SAFETY: the count was 1, so the kernel has written the first event.
        let hang_up = unsafe { events.kernel.spare_capacity_mut()[0].assume_init_read() };
        let event = || port.event(&mut port.registrations.lock(), &hang_up.0);
        Selector::deregister(&port, fd, key).unwrap();
        assert!(event().is_none(), "it is stale");

        // It reuses the descriptor of `one`.
        let (next, mut peer) = UnixStream::pair().unwrap();
        // SAFETY: `dup2` has no memory-safety preconditions. It closes the descriptor of `one`, which
        // is not used afterwards.
        assert_eq!(unsafe { libc::dup2(next.as_raw_fd(), fd) }, fd);
        register(fd, Token(2));
        assert!(event().is_none(), "it is not the next one's");

        // The next one's own, which is retrieved at the same time, comes a little later.
        peer.write_all(b"x").unwrap();
        assert_eq!(port.kernel.retrieve(&mut events, IN_TIME).unwrap().count, 1);
        // SAFETY: the count was 1, so the kernel has written the first event.
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

    /// Otherwise a program closes a connection that is open.
    #[test]
    fn a_hang_up_that_poll2_does_not_confirm_is_not_reported() {
        let port: EventPorts = Selector::open().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let (fd, interest) = (one.as_raw_fd(), Interest::WRITABLE);
        Selector::register(&port, fd, Token(1), interest, Owner::Source).unwrap();
        let mut retrieved = port_event {
            portev_events: (libc::POLLHUP | libc::POLLERR).into(),
            portev_source: names::PORT_SOURCE_FD as _,
            portev_object: fd as usize,
            portev_user: 1 as *mut c_void,
            ..NOT_WRITTEN
        };
        let mut state = port.registrations.lock();
        for events in [
            retrieved.portev_events,
            retrieved.portev_events | c_int::from(libc::POLLOUT),
        ] {
            retrieved.portev_events = events;
            if let Some(event) = port.event(&mut state, &retrieved) {
                assert!(event.is_writable());
                assert!(!event.is_error() && !event.is_write_closed() && !event.is_read_closed());
            }
        }
    }
}
