//! The backend of Windows: registrations, and waiting.
//!
//! How it keeps the contract:
//!
//! - **Edges** are made of one-shot polls by [`Edges`](super::super::rearm::Edges),
//!   one direction at a time. A change is put down until the next `select`, so that
//!   several cost one poll; while a thread waits it is made at once.
//! - **Who is registered** stands in a table here, by the handle that the driver
//!   knows. Of a handle that was closed without being deregistered the next `select`
//!   tells once, as failed, readable and writable.
//! - **Deregistering** ends a registration under the lock under which packets are
//!   made into events, so that a packet which comes later is nobody's.
//! - **Threads**: nobody holds the lock while it waits for the port, and whoever
//!   holds it makes calls only that do not wait.
//! - **Fairness**: the port is a queue, and who was reported is polled again behind
//!   the others.
//! - **Memory**: a table, which grows with the registrations, and for each of its
//!   places one allocation, which the driver writes to.
//! - **Errors** of one socket are that socket's event.

use std::collections::HashMap;
use std::io;
use std::os::windows::io::RawSocket;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::super::rearm::Waiting;
use super::super::{millis_rounded_up, EventBuffer, Key, Outcome, Owner, Selector, UserEvent};
use super::device::Device;
#[cfg(feature = "os-ext")]
use super::named_pipe::{self, Pipe};
use super::port::{KernelEvent, Kind, Port};
use super::resume;
use super::socket::{base_handle, Came, Socket};
use super::timer::{Calls, Timer};
use super::user_events::UserEvents;
use super::PATIENCE;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::{Interest, Token};

#[derive(Debug)]
pub(crate) struct Afd {
    port: Arc<Port>,
    state: Mutex<State>,
    /// Those of this system, if it has them.
    timer_calls: Option<Calls>,
    /// Opened by the first wait that ends some time.
    timer: OnceLock<Option<Timer>>,
    /// Apart, so that a wake does not wait for a change of the table.
    user_events: Mutex<UserEvents>,
}

#[derive(Debug, Default)]
struct State {
    /// By slot. None goes before its packet has come.
    sockets: Vec<Socket>,
    /// Each for `SOCKETS_OF_A_DEVICE` slots one after the other.
    devices: Vec<Device>,
    /// The slot of each handle that the driver knows: of the registered ones, and of
    /// those that are gone and have a poll under way.
    by_handle: HashMap<RawSocket, u32>,
    free: Vec<u32>,
    /// Slots to bring up to date, each once.
    changed: Vec<u32>,
    /// Events of sockets that turned out to be closed, with their keys.
    died: Vec<(Key, Event)>,
    /// Pipes that have something to say without a packet.
    #[cfg(feature = "os-ext")]
    noticed: Vec<Arc<Pipe>>,
    waiting: Waiting,
}

/// As many polls as a handle of the driver should have under way: it searches them
/// one by one to cancel one.
const SOCKETS_OF_A_DEVICE: usize = 32;

/// How often the system's clock ticks, which is when a timeout of the port's can
/// end.
const TICK: Duration = Duration::from_millis(16);

impl Selector for Afd {
    fn open() -> io::Result<Afd> {
        let port = Arc::new(Port::open()?);
        // Whether there is such a driver shows now.
        let device = Device::open(&port)?;
        resume::watch(&port);
        Ok(Afd {
            port,
            state: Mutex::new(State {
                devices: vec![device],
                ..State::default()
            }),
            timer_calls: Calls::of_system(),
            timer: OnceLock::new(),
            user_events: Mutex::default(),
        })
    }

    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        if events.capacity() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // One that lies beyond the clock is none.
        let deadline = match timeout {
            None | Some(Duration::ZERO) => None,
            Some(timeout) => Instant::now().checked_add(timeout),
        };
        let mut left = timeout.filter(|timeout| deadline.is_some() || timeout.is_zero());
        loop {
            let mut state = self.lock();
            state.update_all();
            state.report_dead(events);
            #[cfg(feature = "os-ext")]
            state.report_noticed(events);
            if events.is_full() {
                return Ok(());
            }
            if !events.events().is_empty() {
                // In hand already: a glance at whether there are others.
                left = Some(Duration::ZERO);
            }
            if left != Some(Duration::ZERO) {
                state.waiting.begin();
            }
            drop(state);

            let room = events.capacity() - events.events().len();
            let dequeued = self.wait(&mut events.kernel, room, left);

            let mut state = self.lock();
            state.waiting.end();
            if let Err(error) = dequeued {
                drop(state);
                return match events.events().is_empty() {
                    true => Err(error),
                    // The events in hand come first.
                    false => Ok(()),
                };
            }
            let packets = events.kernel.len();
            for index in 0..packets {
                let packet = events.kernel[index];
                if let Some(event) = self.event_of(&mut state, packet) {
                    events.push(event);
                }
            }
            drop(state);
            if !events.events().is_empty() {
                return Ok(());
            }
            // The port may give up too early, and a packet that was no event may be the
            // way to one.
            if let Some(deadline) = deadline {
                left = Some(deadline.saturating_duration_since(Instant::now()));
            }
            if packets == 0 && left == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    fn register(
        &self,
        socket: RawSocket,
        token: Token,
        interest: Interest,
        _: Owner,
    ) -> io::Result<Key> {
        let handle = base_handle(socket)?;
        let mut state = self.lock();
        let slot = self.slot_for(&mut state, handle)?;
        let key = state.sockets[slot as usize].begin(slot, handle, token, interest);
        self.change(state, slot);
        Ok(key)
    }

    fn reregister(
        &self,
        socket: RawSocket,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<Key> {
        let mut state = self.lock();
        let mut slot = state.slot(key)?;
        if state.sockets[slot as usize].handle().is_none() {
            // It was closed, and what has its place may be another one.
            drop(state);
            let handle = base_handle(socket)?;
            state = self.lock();
            slot = state.slot(key)?;
            state.take_over(slot, handle)?;
        }
        state.sockets[slot as usize].begin_anew(token, interest);
        self.change(state, slot);
        Ok(key)
    }

    fn deregister(&self, _: RawSocket, key: Key) -> io::Result<()> {
        let mut state = self.lock();
        let slot = state.slot(key)?;
        state.sockets[slot as usize].end();
        if state.free_if_gone(slot) {
            return Ok(());
        }
        self.change(state, slot);
        Ok(())
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        let mut state = self.lock();
        let Ok(slot) = state.slot(key) else {
            return;
        };
        let Some(edges) = state.sockets[slot as usize].edges() else {
            return;
        };
        let before = edges.wanted();
        match outcome {
            Outcome::WouldBlock(direction) => {
                edges.would_block(direction);
                edges.let_go();
            }
            Outcome::Failed(direction) => {
                edges.failed();
                // A datagram that did not fit, or was refused, is followed by others.
                edges.would_block(direction);
            }
            Outcome::ErrorTaken => edges.failed(),
        }
        if edges.wanted() != before {
            self.change(state, slot);
        }
    }

    fn forget(&self, key: Key) {
        // It was there a moment ago, and nobody else has its key.
        let _ = self.deregister(0, key);
    }

    fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        match self.lock_user_events().open(token) {
            Some(event) => Ok(Some(event)),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    fn trigger(&self, event: UserEvent) -> io::Result<()> {
        let mut events = self.lock_user_events();
        if !events.trigger(event) {
            return Ok(());
        }
        let number = event.ident as u32; // it has no more bits
        let posted = self.port.post(Kind::UserEvent, number, event.token.0);
        if posted.is_err() {
            events.take(event.ident);
        }
        posted
    }

    fn close_user_event(&self, event: UserEvent) {
        self.lock_user_events().close(event);
    }
}

impl Afd {
    /// Waits for packets, for as long as `left` says, or less.
    fn wait(
        &self,
        packets: &mut Vec<KernelEvent>,
        room: usize,
        left: Option<Duration>,
    ) -> io::Result<()> {
        let left = match left {
            None => return self.port.dequeue(packets, room, u32::MAX),
            Some(left) => left,
        };
        let millis = millis_rounded_up(left) as u32;
        let timer = self
            .timer
            .get_or_init(|| Timer::open(self.timer_calls?).ok());
        match timer {
            Some(timer) if millis > 0 => {
                if left > TICK * 2 {
                    // The last bit is waited for exactly.
                    let most = (left - TICK).as_millis();
                    let most = u32::try_from(most).unwrap_or(u32::MAX - 1);
                    return self.port.dequeue(packets, room, most);
                }
                // What has come already spares the timer.
                self.port.dequeue(packets, room, 0)?;
                if !packets.is_empty() {
                    return Ok(());
                }
                if timer.start(&self.port, left).is_err() {
                    return self.port.dequeue(packets, room, millis);
                }
                // If the timer fails there is still a timeout.
                let ended = self.port.dequeue(packets, room, millis + 100);
                if !packets
                    .iter()
                    .any(|packet| packet.kind() == Some(Kind::Timer))
                {
                    timer.stop();
                }
                ended
            }
            _ => self.port.dequeue(packets, room, millis),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_user_events(&self) -> MutexGuard<'_, UserEvents> {
        self.user_events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts into effect what has changed of a socket: now, where a thread waits;
    /// otherwise with all else, before one does.
    fn change(&self, mut state: MutexGuard<'_, State>, slot: u32) {
        if !state.waiting.is_waiting() {
            state.mark_changed(slot);
            return;
        }
        state.update(slot);
        if !state.died.is_empty() && state.waiting.interrupt() {
            drop(state);
            // If it fails nothing more can be done.
            let _ = self.port.post(Kind::Nudge, 0, 0);
        }
    }

    /// A place for a socket with this handle, which is not registered.
    fn slot_for(&self, state: &mut State, handle: RawSocket) -> io::Result<u32> {
        if let Some(&slot) = state.by_handle.get(&handle) {
            return match state.sockets[slot as usize].is_registered() {
                true => Err(io::ErrorKind::AlreadyExists.into()),
                // It is gone, and its poll not yet.
                false => Ok(slot),
            };
        }
        let slot = match state.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = state.sockets.len();
                if slot >= Key::SLOTS {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                if slot / SOCKETS_OF_A_DEVICE >= state.devices.len() {
                    state.devices.push(Device::open(&self.port)?);
                }
                state.push(Socket::new());
                slot as u32
            }
        };
        state.by_handle.insert(handle, slot);
        Ok(slot)
    }

    /// What a packet says, if it is an event.
    fn event_of(&self, state: &mut State, packet: KernelEvent) -> Option<Event> {
        match packet.kind()? {
            Kind::Poll => {
                let slot = (packet.word() - 1) as u32;
                state.packet_came(slot, packet)
            }
            Kind::UserEvent => {
                let ident = packet.number() as usize;
                let is_open = self.lock_user_events().take(ident);
                is_open.then(|| Event::new(Token(packet.word()), Readiness::IN))
            }
            Kind::Nudge | Kind::Timer => None,
            #[cfg(feature = "os-ext")]
            // SAFETY: it is one of a pipe, and was taken off the port just now.
            Kind::Pipe => unsafe { named_pipe::packet_came(packet) },
        }
    }
}

impl State {
    /// The slot of a live registration.
    fn slot(&self, key: Key) -> io::Result<u32> {
        match key.parts() {
            Some((slot, generation))
                if self.sockets[slot as usize].is_registered_as(generation) =>
            {
                Ok(slot)
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn push(&mut self, socket: Socket) {
        self.sockets.push(socket);
        // So that nothing has to grow while events are taken.
        let all = self.sockets.len();
        self.free.reserve(all - self.free.len());
        self.changed.reserve(all - self.changed.len());
        self.died.reserve(all - self.died.len());
    }

    /// A registration whose handle was closed goes on with another one.
    fn take_over(&mut self, slot: u32, handle: RawSocket) -> io::Result<()> {
        if self.by_handle.contains_key(&handle) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.by_handle.insert(handle, slot);
        self.sockets[slot as usize].set_handle(handle);
        Ok(())
    }

    fn mark_changed(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.sockets[slot as usize].is_changed, true) {
            self.changed.push(slot);
        }
    }

    fn update_all(&mut self) {
        while let Some(slot) = self.changed.pop() {
            self.sockets[slot as usize].is_changed = false;
            self.update(slot);
        }
    }

    fn update(&mut self, slot: u32) {
        let device = &self.devices[slot as usize / SOCKETS_OF_A_DEVICE];
        let socket = &mut self.sockets[slot as usize];
        if let Some(died) = socket.update(device, slot as usize + 1) {
            self.died.push((socket.key(slot), died.event));
            self.forget_handle(died.handle);
        }
    }

    /// Reports the sockets that turned out to be closed when a poll was asked for.
    fn report_dead(&mut self, events: &mut EventBuffer) {
        while !events.is_full() {
            let Some((key, event)) = self.died.pop() else {
                return;
            };
            // It may have been deregistered since, or registered anew.
            if self
                .slot(key)
                .is_ok_and(|slot| self.sockets[slot as usize].handle().is_none())
            {
                events.push(event);
            }
        }
    }

    /// The packet of a socket's poll has come.
    fn packet_came(&mut self, slot: u32, packet: KernelEvent) -> Option<Event> {
        let came = self.sockets[slot as usize].packet_came(packet.status());
        if self.free_if_gone(slot) {
            return None;
        }
        match came {
            Came::Nothing => {
                self.mark_changed(slot);
                None
            }
            Came::Event(event) => {
                self.mark_changed(slot);
                Some(event)
            }
            Came::Dead(dead) => {
                self.forget_handle(dead.handle);
                Some(dead.event)
            }
        }
    }

    #[cfg(feature = "os-ext")]
    fn report_noticed(&mut self, events: &mut EventBuffer) {
        while !events.is_full() {
            match self.noticed.pop() {
                Some(pipe) => pipe.noticed().map_or((), |event| events.push(event)),
                None => return,
            }
        }
    }

    fn forget_handle(&mut self, handle: Option<RawSocket>) {
        if let Some(handle) = handle {
            self.by_handle.remove(&handle);
        }
    }

    /// Frees the place of a socket that is not registered any more, if the kernel
    /// has nothing of it.
    fn free_if_gone(&mut self, slot: u32) -> bool {
        let socket = &mut self.sockets[slot as usize];
        let is_gone = !socket.is_registered() && !socket.is_under_way();
        if is_gone {
            let handle = socket.take_handle();
            self.forget_handle(handle);
            self.free.push(slot);
        }
        is_gone
    }
}

#[cfg(feature = "os-ext")]
impl Afd {
    pub(super) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// A pipe has something to say.
    pub(super) fn notice(&self, pipe: &Arc<Pipe>) {
        let mut state = self.lock();
        state.noticed.push(Arc::clone(pipe));
        if state.waiting.is_waiting() && state.waiting.interrupt() {
            drop(state);
            // If it fails nothing more can be done.
            let _ = self.port.post(Kind::Nudge, 0, 0);
        }
    }
}

#[cfg(test)]
impl Afd {
    /// With functions for exact timeouts in the place of the system's.
    fn open_with(calls: Calls) -> io::Result<Afd> {
        let mut afd = Afd::open()?;
        afd.timer_calls = Some(calls);
        Ok(afd)
    }
}

impl Drop for Afd {
    /// Takes back the memory that the kernel has.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut under_way = 0;
        for (slot, socket) in state.sockets.iter_mut().enumerate() {
            socket.end();
            under_way += usize::from(socket.is_under_way());
            // Where that fails its packet is awaited all the same, though not for ever.
            let _ = socket.cancel(&state.devices[slot / SOCKETS_OF_A_DEVICE]);
        }
        let mut packets = Vec::with_capacity(64);
        loop {
            // From now on pipes take their packets themselves; what is there by now is taken here.
            let millis = match under_way {
                0 => {
                    self.port.abandon();
                    0
                }
                _ => PATIENCE.as_millis() as u32,
            };
            let dequeued = self.port.dequeue(&mut packets, 64, millis);
            if dequeued.is_err() || packets.is_empty() {
                // What the kernel still has is leaked, by `Socket`.
                break;
            }
            for &packet in &packets {
                match packet.kind() {
                    Some(Kind::Poll) => {
                        state.sockets[packet.word() - 1].packet_came(packet.status());
                        under_way -= 1;
                    }
                    #[cfg(feature = "os-ext")]
                    Some(Kind::Pipe) => {
                        // SAFETY: it is one of a pipe, and was taken off the port just now.
                        let _ = unsafe { named_pipe::packet_came(packet) };
                    }
                    _ => {}
                }
            }
        }
        self.port.abandon();
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::windows::io::AsRawSocket;
    use std::sync::atomic::Ordering;

    use super::super::timer::stand_in;
    use super::*;

    /// With the timer in the place of which a thread stands.
    #[test]
    fn a_wait_with_a_timer_is_over_at_its_deadline_or_with_an_event() {
        let afd = Afd::open_with(stand_in::CALLS).unwrap();
        let mut events = EventBuffer::with_capacity(8);
        // Relaxed: this thread's own.
        let started = || stand_in::STARTED.load(Ordering::Relaxed);

        // Shorter than two ticks, and longer, where only the rest is the timer's.
        for millis in [1, 20, 60] {
            let timeout = Duration::from_micros(millis * 1000 + 100);
            let (before, start) = (started(), Instant::now());
            afd.select(&mut events, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout, "too early by the clock");
            assert!(events.events().is_empty());
            assert!(started() > before, "not by the timer");
        }

        // What has come already needs no timer, and what comes meanwhile stops it.
        let event = afd.open_user_event(Token(7)).unwrap().unwrap();
        afd.trigger(event).unwrap();
        let before = started();
        let hour = Some(Duration::from_secs(3600));
        afd.select(&mut events, hour).unwrap();
        assert_eq!(events.events()[0].token(), Token(7));
        let soon = Some(Duration::from_millis(30));
        afd.trigger(event).unwrap();
        afd.select(&mut events, soon).unwrap();
        assert_eq!(events.events()[0].token(), Token(7));
        assert_eq!(started(), before);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while started() == before {
                    std::thread::yield_now();
                }
                afd.trigger(event).unwrap();
            });
            afd.select(&mut events, Some(Duration::from_millis(31)))
                .unwrap();
        });
        // A timer that was not stopped would end this one.
        let start = Instant::now();
        let timeout = Duration::from_millis(100);
        afd.select(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn a_timer_that_cannot_be_had_leaves_the_ports_own_timeouts() {
        for calls in [stand_in::NO_PACKETS, stand_in::NO_ASSOCIATIONS] {
            let afd = Afd::open_with(calls).unwrap();
            let mut events = EventBuffer::with_capacity(8);
            let (start, timeout) = (Instant::now(), Duration::from_micros(1500));
            afd.select(&mut events, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout);
        }
    }

    #[test]
    fn a_poll_that_is_cancelled_is_awaited_before_the_next_one() {
        // Not dropped if it does not know what the kernel has.
        let afd = ManuallyDrop::new(Afd::open().unwrap());
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        let both = Interest::READABLE | Interest::WRITABLE;
        let key = afd
            .register(raw, Token(1), Interest::READABLE, Owner::Source)
            .unwrap();
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        afd.reregister(raw, key, Token(2), both).unwrap();
        {
            let mut state = afd.lock();
            for _ in 0..3 {
                // The kernel has the memory of the first one until its packet has come.
                state.update_all();
                state.mark_changed(0);
                assert!(state.sockets[0].is_under_way());
            }
        }
        afd.select(&mut events, None).unwrap();
        assert_eq!(events.events()[0].token(), Token(2));
        drop(ManuallyDrop::into_inner(afd));
    }

    /// A driver that is asked about one socket by two polls may tell one of them only.
    #[test]
    fn a_socket_that_comes_back_has_one_poll_under_way() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        for n in 0..100 {
            let key = afd
                .register(raw, Token(n), Interest::READABLE, Owner::Source)
                .unwrap();
            afd.select(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.events().is_empty());
            {
                let state = afd.lock();
                assert_eq!(state.sockets.len(), 1);
                assert!(state.sockets[0].is_under_way());
            }
            afd.deregister(raw, key).unwrap();
        }
        assert_eq!(afd.lock().by_handle.len(), 1);
        // What was cancelled comes in the end, and the place is free.
        while !afd.lock().by_handle.is_empty() {
            afd.select(&mut events, Some(Duration::from_millis(1)))
                .unwrap();
        }
        assert_eq!(afd.lock().free, [0]);
    }
}
