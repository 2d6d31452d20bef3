//! The backend of Windows: registrations, and waiting.
//!
//! How it keeps the contract:
//!
//! - **Edges** are made of one-shot polls by [`Edges`](super::super::rearm::Edges),
//!   one direction at a time. A change is submitted by the next `select`, so that several changes cost
//!   one poll; while a thread polls, it is submitted at once.
//! - **Back-off**: a failed operation that has consumed nothing leaves the socket ready. So its directions
//!   back off: the next `select` probes them, and then `select` does so after pauses, which are timeouts
//!   of the port.
//! - **Registrations** are in a table here, by the handle that the driver knows. A handle that was closed
//!   without being deregistered is reported once, as failed, readable and writable.
//! - **Deregistering** ends a registration under the lock under which packets become events, so that a
//!   later packet is stale.
//! - **Threads**: no thread holds the lock while it waits for the port, and under the lock no call waits.
//! - **Fairness**: the port is a queue, and a reported socket is polled again behind the others. What needs
//!   no packet is in the ready list; if that has filled the buffer, the port goes first the next time.
//! - **Memory**: a table, which grows with the registrations, and one allocation for each slot, which the
//!   driver writes to.
//! - **Errors** of one socket are that socket's event, once; it is armed again when an operation would have
//!   blocked.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::windows::io::RawSocket;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::super::rearm::{Tick, Waiting};
use super::super::{
    millis_rounded_up, EventBuffer, Key, Mistake, Outcome, Owner, Selector, UserEvent,
};
use super::device::{AfdEvents, Device};
#[cfg(feature = "os-ext")]
use super::named_pipe::{Pipe, Pipes};
#[cfg(feature = "os-ext")]
use super::noticed::Noticed;
use super::port::{KernelEvent, Kind, Port};
use super::resume;
use super::socket::{are_same, base_handle, Completion, Failed, Socket};
use super::timer::{Calls, Timer};
use super::user_events::UserEvents;
#[cfg(feature = "os-ext")]
use super::wait_handle::{self, Wait};
use super::{PATIENCE, RETRY};
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::stats::{Counter, RearmCounters};
use crate::{Interest, Token};

pub(crate) struct Afd {
    port: Arc<Port>,
    #[cfg(feature = "os-ext")]
    pipes: Arc<Pipes>,
    state: Mutex<State>,
    /// The functions for exact timeouts, if the system has them.
    timer_calls: Option<Calls>,
    /// Opened by the first wait with a timeout.
    timer: OnceLock<Option<Timer>>,
    /// Apart, so that a wake does not wait for a change of the table.
    user_events: Mutex<UserEvents>,
    /// The time that ticks are relative to.
    start: Instant,
    counters: RearmCounters,
}

#[derive(Default)]
struct State {
    /// By slot. None is dropped while its poll is in flight.
    sockets: Vec<Socket>,
    /// Each for `SOCKETS_OF_A_DEVICE` consecutive slots.
    devices: Vec<Device>,
    /// The slot of each handle that the driver knows: of the registered ones, and of those that are gone
    /// and have a poll in flight.
    by_handle: HashMap<RawSocket, u32>,
    free: Vec<u32>,
    /// Slots whose armed set has changed, each once.
    changed: Vec<u32>,
    /// Slots that back off, each once.
    backed_off: Vec<u32>,
    /// Slots whose probe was submitted, and whose packet was not taken yet.
    probed: Vec<u32>,
    /// What has something to report without a packet.
    ready_list: VecDeque<Ready>,
    /// How many handles that can be waited for are registered.
    #[cfg(feature = "os-ext")]
    waits: usize,
    /// Counts the calls of `select`.
    select: u32,
    /// The ready list took the whole buffer.
    is_ports_turn: bool,
    waiting: Waiting,
}

enum Ready {
    /// A socket that could not be polled.
    Failure(u32),
    #[cfg(feature = "os-ext")]
    Pipe(Arc<Pipe>),
    /// A handle that can be waited for, and the number of its registration.
    #[cfg(feature = "os-ext")]
    Wait(Arc<Wait>, u32),
}

/// How many polls a handle of the driver has in flight at most: it searches them one by one to cancel
/// one.
const SOCKETS_OF_A_DEVICE: usize = 32;

/// How many packets that are no events `select` takes when its timeout is over, besides two for each
/// socket: those of a cancelled poll, and of the poll that replaced it. An event may be behind them; but if
/// other code posts them without a pause, there is no end of them.
const STALE_AT_THE_END: usize = 256;

/// The interval of the system's clock ticks, at which a timeout of the port can end.
const TICK: Duration = Duration::from_millis(16);

impl Selector for Afd {
    fn open() -> io::Result<Afd> {
        let port = Arc::new(Port::open()?);
        // Fails now if the system has no such driver.
        let device = Device::open(&port)?;
        resume::watch(&port);
        Ok(Afd {
            #[cfg(feature = "os-ext")]
            pipes: Pipes::new(&port),
            port,
            state: Mutex::new(State {
                devices: vec![device],
                ..State::default()
            }),
            timer_calls: Calls::of_system(),
            timer: OnceLock::new(),
            user_events: Mutex::default(),
            start: Instant::now(),
            counters: RearmCounters::default(),
        })
    }

    fn select(&self, events: &mut EventBuffer, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        if events.capacity() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A deadline beyond the clock is none.
        let deadline = match timeout {
            None | Some(Duration::ZERO) => None,
            Some(timeout) => Instant::now().checked_add(timeout),
        };
        let mut left = timeout.filter(|timeout| deadline.is_some() || timeout.is_zero());
        let mut stale = 0;
        let mut state = self.lock();
        state.select = state.select.wrapping_add(1);
        drop(state);
        loop {
            let mut state = self.lock();
            let next_probe = state.begin_probes(self.tick(), &self.counters.probes);
            state.update_all();
            if !std::mem::take(&mut state.is_ports_turn) {
                state.report_ready(events);
                if events.is_full() {
                    state.is_ports_turn = true;
                    return Ok(());
                }
            }
            // With something to report, this does not wait. Nor for a probe: its packet is on the port at
            // once, or nothing is ready.
            let has_some = !events.events().is_empty() || !state.ready_list.is_empty();
            let patience = match has_some || !state.probed.is_empty() {
                true => Some(Duration::ZERO),
                false => earlier(left, next_probe),
            };
            if patience != Some(Duration::ZERO) {
                state.waiting.begin();
            }
            drop(state);

            let mut limit = events.capacity() - events.events().len();
            let mut dequeued = self.wait(&mut events.kernel, limit, patience);

            let mut state = self.lock();
            state.waiting.end();
            let now = self.tick();
            let most_stale = STALE_AT_THE_END + 2 * state.sockets.len();
            let mut packets = 0;
            loop {
                let taken = events.kernel.len();
                packets += taken;
                for index in 0..taken {
                    let packet = events.kernel[index];
                    if let Some(event) = self.event_of(&mut state, packet, now) {
                        events.push(event);
                    }
                }
                if dequeued.is_ok() && taken < limit {
                    state.end_probes(now);
                    break;
                }
                // Events that fit may be behind packets that were none. (If there is nothing to report yet, the
                // next turn of the outer loop takes them.)
                let has_some = !events.events().is_empty() || !state.ready_list.is_empty();
                let is_enough = events.is_full() || packets >= events.capacity() + most_stale;
                if !has_some || is_enough || dequeued.is_err() {
                    break;
                }
                drop(state);
                limit = events.capacity() - events.events().len();
                dequeued = self.port.dequeue(&mut events.kernel, limit, 0);
                state = self.lock();
            }
            state.report_ready(events);
            drop(state);
            if !events.events().is_empty() {
                // They come before an error.
                return Ok(());
            }
            dequeued?;
            // The port's timeout may be early, and a packet that was no event may have changed an armed set.
            if let Some(deadline) = deadline {
                left = Some(deadline.saturating_duration_since(Instant::now()));
            }
            if left == Some(Duration::ZERO) {
                stale += packets;
                if packets == 0 || stale >= most_stale {
                    return Ok(());
                }
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
        if let Err(error) = self.change(state, slot) {
            self.release(key);
            return Err(error);
        }
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
            // It was closed, and the number may be another socket's by now.
            drop(state);
            let handle = base_handle(socket)?;
            state = self.lock();
            slot = state.slot(key)?;
            state.take_over(slot, handle)?;
        }
        state.sockets[slot as usize].reregister(token, interest);
        self.change(state, slot)?;
        Ok(key)
    }

    fn deregister(&self, _: RawSocket, key: Key) -> io::Result<()> {
        let mut state = self.lock();
        let slot = state.slot(key)?;
        state.sockets[slot as usize].end();
        if !state.free_if_gone(slot) {
            // At once, and not by the next `select`: the source may be registered with another poll next,
            // and the driver is known to mix up two polls of one socket.
            state.update(slot);
            let _ = self.nudge(state);
        }
        Ok(())
    }

    fn after_io(&self, key: Key, outcome: Outcome) {
        let mut state = self.lock();
        let Ok(slot) = state.slot(key) else {
            return;
        };
        let socket = &mut state.sockets[slot as usize];
        let is_consumed = match outcome {
            Outcome::Failed(failure) => socket.is_consumed_by(failure),
            _ => false,
        };
        let Some(edges) = socket.edges() else {
            return;
        };
        let before = edges.armed_set();
        match outcome {
            Outcome::WouldBlock(Some(direction)) => {
                edges.would_block(direction);
                edges.unlatch();
            }
            Outcome::WouldBlock(None) => {
                edges.would_block_in_unknown_direction(self.tick());
                edges.unlatch();
            }
            // There may be more behind what it has consumed.
            Outcome::Failed(failure) if is_consumed => {
                if let Some(direction) = failure.direction {
                    edges.would_block(direction);
                }
            }
            Outcome::Failed(_) | Outcome::NothingDrained => edges.may_have_drained(),
            Outcome::ErrorTaken { .. } => {}
        }
        let is_changed = edges.armed_set() != before;
        // The next `select` finds it in the list; a waiting one is interrupted.
        let is_due = edges.is_due_at_once();
        state.list_backed_off(slot);
        if is_due && state.sockets[slot as usize].is_probed() {
            state.mark_changed(slot);
            let _ = self.interrupt(state);
        } else if is_changed {
            let _ = self.change(state, slot);
        }
    }

    fn release(&self, key: Key) {
        // It was registered a moment ago, and nothing else has its key.
        let _ = self.deregister(0, key);
    }

    fn registered(&self, key: Key) -> Option<(Token, Interest)> {
        let state = self.lock();
        let slot = state.slot(key).ok()?;
        state.sockets[slot as usize].registered()
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

    #[cfg(feature = "stats")]
    fn rearm_counters(&self) -> Option<&RearmCounters> {
        Some(&self.counters)
    }
}

impl Afd {
    /// Waits for packets, for as long as `left` says, or less.
    fn wait(
        &self,
        packets: &mut Vec<KernelEvent>,
        limit: usize,
        left: Option<Duration>,
    ) -> io::Result<()> {
        let left = match left {
            None => return self.port.dequeue(packets, limit, u32::MAX),
            Some(left) => left,
        };
        let millis = millis_rounded_up(left) as u32;
        let timer = self
            .timer
            .get_or_init(|| Timer::open(self.timer_calls?).ok());
        match timer {
            Some(timer) if millis > 0 => {
                if left > TICK * 2 {
                    // The rest is waited for exactly.
                    return self.port.dequeue(packets, limit, port_millis(left - TICK));
                }
                // A packet that is on the port makes the timer needless.
                self.port.dequeue(packets, limit, 0)?;
                if !packets.is_empty() {
                    return Ok(());
                }
                let millis = match timer.start(&self.port, left) {
                    Err(_) => return self.port.dequeue(packets, limit, millis),
                    // Its packet is on the port.
                    Ok(true) => 0,
                    // If the timer fails, the port's timeout ends the wait.
                    Ok(false) => millis + 100,
                };
                let ended = self.port.dequeue(packets, limit, millis);
                if !packets
                    .iter()
                    .any(|packet| packet.kind() == Some(Kind::Timer))
                {
                    timer.stop();
                }
                ended
            }
            _ => self.port.dequeue(packets, limit, millis),
        }
    }

    fn tick(&self) -> Tick {
        Tick::since(self.start, Instant::now())
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

    /// Submits a change of a socket: at once if a thread polls; otherwise the next `select` submits all
    /// changes.
    ///
    /// An error: submitting has failed, and the polling thread cannot be interrupted to report that.
    fn change(&self, mut state: MutexGuard<'_, State>, slot: u32) -> io::Result<()> {
        if !state.waiting.is_waiting() {
            state.mark_changed(slot);
            return Ok(());
        }
        let has_failed = state.update(slot);
        let interrupted = self.nudge(state);
        match has_failed {
            true => interrupted,
            false => Ok(()),
        }
    }

    /// Interrupts the polling thread, if the ready list has something for it.
    fn nudge(&self, state: MutexGuard<'_, State>) -> io::Result<()> {
        match state.ready_list.is_empty() {
            true => Ok(()),
            false => self.interrupt(state),
        }
    }

    /// Interrupts the polling thread, if there is one.
    fn interrupt(&self, mut state: MutexGuard<'_, State>) -> io::Result<()> {
        if !state.waiting.is_waiting() || !state.waiting.interrupt() {
            return Ok(());
        }
        drop(state);
        // Before the nudge, so that the poll which it ends finds it counted.
        self.counters.interrupts.add(1);
        self.port.post(Kind::Nudge, 0, 0).map_err(|error| {
            self.counters.interrupts.subtract_one();
            // The next one tries again.
            self.lock().waiting.not_interrupted();
            error
        })
    }

    /// A slot for a socket with this handle, which is not registered.
    fn slot_for(&self, state: &mut State, handle: RawSocket) -> io::Result<u32> {
        if let Some(&slot) = state.by_handle.get(&handle) {
            return match state.sockets[slot as usize].is_registered() {
                true => Err(Mistake::AlreadyRegistered.into()),
                // It is gone, and its poll is in flight.
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
    fn event_of(&self, state: &mut State, packet: KernelEvent, now: Tick) -> Option<Event> {
        match packet.kind()? {
            Kind::Poll => state.completed(packet, now),
            Kind::UserEvent => {
                let ident = packet.number() as usize;
                let is_open = self.lock_user_events().take(ident);
                is_open.then(|| Event::new(Token(packet.word()), Readiness::IN))
            }
            Kind::Nudge | Kind::Timer => None,
            #[cfg(feature = "os-ext")]
            Kind::Pipe => {
                let pipe = self.pipes.completed(packet)?;
                state.ready_list.push_back(Ready::Pipe(pipe));
                None
            }
            #[cfg(feature = "os-ext")]
            Kind::Signal => {
                let wait = wait_handle::of_packet(packet)?;
                state.notice_now(Ready::Wait(wait, packet.number()))
            }
        }
    }
}

impl State {
    /// The slot of a live registration.
    fn slot(&self, key: Key) -> io::Result<u32> {
        key.slot()
            .filter(|&slot| self.sockets[slot as usize].is_registered())
            .ok_or_else(|| Mistake::NotRegistered.into())
    }

    fn push(&mut self, socket: Socket) {
        self.sockets.push(socket);
        // So that nothing grows while events are collected.
        let all = self.sockets.len();
        for slots in [
            &mut self.free,
            &mut self.changed,
            &mut self.backed_off,
            &mut self.probed,
        ] {
            slots.reserve(all);
        }
        self.ready_list.reserve(all);
    }

    /// A registration whose handle was closed goes on with another one.
    fn take_over(&mut self, slot: u32, handle: RawSocket) -> io::Result<()> {
        if self.by_handle.contains_key(&handle) {
            return Err(Mistake::AlreadyRegistered.into());
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

    /// Lists a socket for probes, if it is backed off.
    fn list_backed_off(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot as usize];
        if socket.is_probed() && !std::mem::replace(&mut socket.is_listed, true) {
            self.backed_off.push(slot);
        }
    }

    /// Marks those changed that are to be probed now. Returns how long it is until the next one is.
    fn begin_probes(&mut self, now: Tick, probes: &Counter) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut index = 0;
        while let Some(&slot) = self.backed_off.get(index) {
            let socket = &mut self.sockets[slot as usize];
            if !socket.is_probed() {
                socket.is_listed = false;
                self.backed_off.swap_remove(index);
                continue;
            }
            index += 1;
            match socket.next_probe(now).map(|at| at.after(now)) {
                Some(Duration::ZERO) => {
                    socket.begin_probe();
                    probes.add(1);
                    self.mark_changed(slot);
                }
                at => next = earlier(next, at),
            }
        }
        next
    }

    /// All packets were taken: a probe whose packet was not among them has found nothing.
    fn end_probes(&mut self, now: Tick) {
        while let Some(slot) = self.probed.pop() {
            self.sockets[slot as usize].probe_found_nothing(now);
        }
    }

    fn update_all(&mut self) {
        while let Some(slot) = self.changed.pop() {
            self.sockets[slot as usize].is_changed = false;
            self.update(slot);
        }
    }

    /// Submits its change. Returns whether that has failed, which is in the ready list then.
    fn update(&mut self, slot: u32) -> bool {
        let device = &self.devices[slot as usize / SOCKETS_OF_A_DEVICE];
        let socket = &mut self.sockets[slot as usize];
        let was_submitted = socket.awaits_probe();
        let failed = socket.update(device, word_of(slot));
        if socket.awaits_probe() && !was_submitted {
            self.probed.push(slot);
        }
        let has_failed = failed.is_some();
        if let Some(failed) = failed {
            self.failed(slot, failed);
        }
        has_failed
    }

    fn failed(&mut self, slot: u32, failed: Failed) {
        self.release_handle(failed.gone);
        self.ready_list.push_back(Ready::Failure(slot));
    }

    /// Reports the ready list, as far as the capacity goes.
    fn report_ready(&mut self, events: &mut EventBuffer) {
        let mut left = self.ready_list.len();
        while left > 0 && !events.is_full() {
            left -= 1;
            let Some(ready) = self.ready_list.pop_front() else {
                return;
            };
            let event = self.notice_now(ready);
            if let Some(event) = event {
                events.push(event);
            }
        }
    }

    /// The event of something in the ready list.
    fn notice_now(&mut self, ready: Ready) -> Option<Event> {
        match ready {
            // It may have been deregistered since, or reregistered.
            Ready::Failure(slot) => self.sockets[slot as usize].take_failure(),
            #[cfg(feature = "os-ext")]
            Ready::Pipe(ref pipe) => {
                let noticed = pipe.noticed(self.select);
                self.event_or_later(ready, noticed)
            }
            #[cfg(feature = "os-ext")]
            Ready::Wait(ref wait, registration) => {
                let noticed = wait.noticed(registration, self.select);
                self.event_or_later(ready, noticed)
            }
        }
    }

    #[cfg(feature = "os-ext")]
    fn event_or_later(&mut self, ready: Ready, noticed: Noticed) -> Option<Event> {
        let (event, is_listed_again) = match noticed {
            Noticed::Event(event) => (Some(event), false),
            Noticed::LevelEvent(event) => (Some(event), true),
            Noticed::Nothing => (None, false),
            Noticed::Later => (None, true),
        };
        if is_listed_again {
            self.ready_list.push_back(ready);
        }
        event
    }

    /// The packet of a socket's poll was taken off the port.
    fn completed(&mut self, packet: KernelEvent, now: Tick) -> Option<Event> {
        let slot = slot_of(packet.word())?;
        let socket = self.sockets.get_mut(slot as usize)?;
        let completion = socket.completed(packet, now)?;
        if let Some(foreign) = socket.take_foreign() {
            self.restart_others(slot, foreign);
        }
        if self.free_if_gone(slot) {
            return None;
        }
        self.list_backed_off(slot);
        match completion {
            Completion::Nothing => {
                self.mark_changed(slot);
                None
            }
            Completion::Event(event) => {
                self.mark_changed(slot);
                Some(event)
            }
            Completion::Failed(failed) => {
                self.failed(slot, failed);
                None
            }
        }
    }

    /// The ready set of this slot has events that were not armed: those of another handle of the same
    /// socket, whose poll is restarted.
    fn restart_others(&mut self, slot: u32, events: AfdEvents) {
        let is_other = |state: &State, other: u32| {
            let (one, its) = (
                &state.sockets[slot as usize],
                &state.sockets[other as usize],
            );
            let handles = one.handle().zip(its.handle());
            other != slot
                && its.is_armed_for(events)
                // Where the system does not say, it may be.
                && handles.map_or(true, |(one, other)| are_same(one, other) != Some(false))
        };
        // The one that it was the last time.
        let twin = self.sockets[slot as usize].twin;
        if let Some(twin) = twin.filter(|&twin| is_other(self, twin)) {
            self.restart(twin);
            return;
        }
        for other in 0..self.sockets.len() as u32 {
            if is_other(self, other) {
                self.sockets[slot as usize].twin = Some(other);
                self.sockets[other as usize].twin = Some(slot);
                self.restart(other);
            }
        }
    }

    /// Cancels a poll, so that another one replaces it.
    fn restart(&mut self, slot: u32) {
        // If it fails, it is in flight as before.
        let device = &self.devices[slot as usize / SOCKETS_OF_A_DEVICE];
        let _ = self.sockets[slot as usize].cancel(device);
    }

    fn release_handle(&mut self, handle: Option<RawSocket>) {
        if let Some(handle) = handle {
            self.by_handle.remove(&handle);
        }
    }

    /// Frees the slot of a socket that is not registered any more, if nothing of it is in flight.
    fn free_if_gone(&mut self, slot: u32) -> bool {
        let socket = &mut self.sockets[slot as usize];
        let is_gone = !socket.is_registered() && !socket.is_in_flight();
        if is_gone {
            let handle = socket.take_handle();
            self.release_handle(handle);
            self.free.push(slot);
        }
        is_gone
    }
}

/// The word of the packets of a slot's polls, which is not 0.
fn word_of(slot: u32) -> usize {
    slot as usize + 1
}

fn slot_of(word: usize) -> Option<u32> {
    u32::try_from(word.checked_sub(1)?).ok()
}

/// The shorter of two timeouts, of which `None` does not end.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A timeout of the port, whose greatest number stands for none.
fn port_millis(timeout: Duration) -> u32 {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    millis.min(u32::MAX - 1)
}

#[cfg(feature = "os-ext")]
impl Afd {
    pub(crate) fn pipes(&self) -> &Arc<Pipes> {
        &self.pipes
    }

    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// A pipe was registered.
    pub(crate) fn reserve_ready_list(&self) {
        self.reserve(&mut self.lock());
    }

    /// Reserves capacity, so that nothing grows while events are collected: a pipe or a handle is in the list
    /// once.
    fn reserve(&self, state: &mut State) {
        let all = state.sockets.len() + self.pipes.count() + state.waits;
        let more = all.saturating_sub(state.ready_list.len());
        state.ready_list.reserve(more);
    }

    /// A pipe has something to report.
    pub(crate) fn notice(&self, pipe: &Arc<Pipe>) {
        let mut state = self.lock();
        state.ready_list.push_back(Ready::Pipe(Arc::clone(pipe)));
        let _ = self.nudge(state);
    }

    /// A handle that can be waited for was registered.
    pub(crate) fn begin_wait(&self) {
        let mut state = self.lock();
        state.waits += 1;
        self.reserve(&mut state);
    }

    /// A handle that can be waited for is signalled.
    pub(crate) fn notice_wait(&self, wait: &Arc<Wait>, registration: u32) {
        let mut state = self.lock();
        let ready = Ready::Wait(Arc::clone(wait), registration);
        state.ready_list.push_back(ready);
        let _ = self.nudge(state);
    }

    /// A handle that can be waited for was deregistered.
    pub(crate) fn end_wait(&self, wait: &Arc<Wait>, is_listed: bool) {
        let mut state = self.lock();
        state.waits -= 1;
        if is_listed {
            let is_other =
                |ready: &Ready| !matches!(ready, Ready::Wait(its, _) if Arc::ptr_eq(its, wait));
            state.ready_list.retain(is_other);
        }
    }
}

#[cfg(test)]
impl Afd {
    /// With a test double of the functions for exact timeouts.
    fn open_with(calls: Calls) -> io::Result<Afd> {
        let mut afd = Afd::open()?;
        afd.timer_calls = Some(calls);
        Ok(afd)
    }
}

impl Drop for Afd {
    /// Takes back the memory that the kernel owns. What it does not give back in time is leaked: by
    /// `Socket`, and by the operations of pipes.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (slot, socket) in state.sockets.iter_mut().enumerate() {
            socket.end();
            // If it fails, its packet is awaited all the same, though not for ever.
            let _ = socket.cancel(&state.devices[slot / SOCKETS_OF_A_DEVICE]);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut packets = Vec::with_capacity(64);
        loop {
            let mut is_awaited = state.sockets.iter().any(Socket::is_in_flight);
            #[cfg(feature = "os-ext")]
            if !is_awaited {
                // From now on pipes take their packets themselves. This takes those that are on the port
                // by now, and those of pipes that were dropped before.
                self.pipes.abandon();
                is_awaited = self.pipes.are_awaited();
            }
            is_awaited &= Instant::now() < deadline;
            let millis = match is_awaited {
                true => RETRY,
                false => 0,
            };
            let dequeued = self.port.dequeue(&mut packets, 64, millis);
            if dequeued.is_err() || (packets.is_empty() && !is_awaited) {
                break;
            }
            for &packet in &packets {
                match packet.kind() {
                    Some(Kind::Poll) => {
                        state.completed(packet, Tick::since(self.start, Instant::now()));
                    }
                    #[cfg(feature = "os-ext")]
                    Some(Kind::Pipe) => {
                        self.pipes.completed(packet);
                    }
                    _ => {}
                }
            }
        }
        #[cfg(feature = "os-ext")]
        {
            self.pipes.abandon();
            // What pipes that were dropped before have written may still be in flight.
            if self.pipes.are_left() {
                self.pipes.take_what_is_left();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
    #[cfg(feature = "os-ext")]
    use std::os::windows::io::AsHandle;
    use std::os::windows::io::AsRawSocket;
    use std::sync::atomic::Ordering;
    #[cfg(feature = "os-ext")]
    use std::thread;

    #[cfg(feature = "os-ext")]
    use super::super::super::{Queue, Registration};
    use windows_sys::Win32::Foundation::STATUS_CANCELLED;
    use windows_sys::Win32::Networking::WinSock::{
        WSAECONNABORTED, WSAECONNRESET, WSAEMFILE, WSAEMSGSIZE, WSAENETRESET,
    };

    #[cfg(feature = "os-ext")]
    use super::super::named_pipe::{NamedPipe, Options};
    use super::super::timer::double;
    #[cfg(feature = "os-ext")]
    use super::super::wait_handle::WaitHandle;
    use super::*;
    #[cfg(feature = "os-ext")]
    use crate::Backend;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    /// A socket that is registered as the only one.
    fn registered(interest: Interest) -> (Afd, UdpSocket, Key) {
        let afd = Afd::open().unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        let key = afd.register(raw, Token(1), interest, Owner::Source);
        (afd, socket, key.unwrap())
    }

    /// The tokens of the events that a wait returns, which ends early.
    fn tokens(afd: &Afd, events: &mut EventBuffer) -> Vec<usize> {
        let start = Instant::now();
        afd.select(events, Some(PATIENCE)).unwrap();
        assert!(start.elapsed() < PATIENCE, "it has waited with events");
        let events = events.events().iter();
        events.map(|event| event.token().0).collect()
    }

    #[test]
    fn what_may_be_drained_is_probed_and_armed_if_it_is() {
        let (afd, socket, key) = registered(Interest::READABLE);
        let mut events = EventBuffer::with_capacity(8);
        let to = socket.local_addr().unwrap();
        for _ in 0..3 {
            socket.send_to(b"x", to).unwrap();
            assert_eq!(tokens(&afd, &mut events), [1]);
            assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
            for _ in 0..3 {
                afd.after_io(key, Outcome::NothingDrained);
            }
            assert_eq!(afd.lock().backed_off, [0]);
            afd.select(&mut events, AT_ONCE).unwrap();
            assert!(events.events().is_empty());
            {
                let state = afd.lock();
                let socket = &state.sockets[0];
                assert!(socket.is_armed_for(AfdEvents::RECEIVE));
                assert!(!socket.is_probed() && !socket.awaits_probe());
                assert!(state.probed.is_empty());
            }
            afd.select(&mut events, AT_ONCE).unwrap();
            assert!(afd.lock().backed_off.is_empty());
        }
        #[cfg(feature = "stats")]
        assert_eq!(afd.counters.probes.get(), 3);
    }

    #[test]
    fn what_is_not_drained_is_reported_at_once_and_then_after_pauses() {
        let (afd, _socket, key) = registered(Interest::WRITABLE);
        let mut events = EventBuffer::with_capacity(8);
        assert_eq!(tokens(&afd, &mut events), [1]);
        afd.after_io(key, Outcome::NothingDrained);
        let start = Instant::now();
        for pauses in [0, 1, 3, 7, 15] {
            assert_eq!(tokens(&afd, &mut events), [1]);
            let pauses = Duration::from_millis(pauses);
            assert!(start.elapsed() >= pauses, "{pauses:?} are not over");
        }
    }

    #[test]
    fn a_probe_whose_packet_is_behind_others_has_found_something() {
        let (afd, _socket, key) = registered(Interest::WRITABLE);
        let mut events = EventBuffer::with_capacity(1);
        assert_eq!(tokens(&afd, &mut events), [1]);
        let waker = afd.open_user_event(Token(2)).unwrap().unwrap();
        afd.trigger(waker).unwrap();
        afd.after_io(key, Outcome::NothingDrained);
        assert_eq!(tokens(&afd, &mut events), [2]);
        assert!(afd.lock().sockets[0].awaits_probe());
        assert_eq!(tokens(&afd, &mut events), [1]);
        assert!(!afd.lock().sockets[0].awaits_probe());
    }

    #[test]
    fn a_waiting_thread_is_interrupted_for_a_probe_that_is_due_and_for_no_other() {
        let (afd, _socket, key) = registered(Interest::READABLE | Interest::WRITABLE);
        let mut events = EventBuffer::with_capacity(8);
        assert_eq!(tokens(&afd, &mut events), [1]);
        let interrupts = |outcome| {
            afd.lock().waiting.begin();
            afd.after_io(key, outcome);
            let mut state = afd.lock();
            state.waiting.end();
            !state.waiting.interrupt()
        };
        assert!(interrupts(Outcome::NothingDrained));
        assert_eq!(tokens(&afd, &mut events), [1]);
        // The next probe is due at once, too, and finds it as ready as before.
        while !events.events().is_empty() {
            afd.select(&mut events, AT_ONCE).unwrap();
        }
        let would_block = Outcome::WouldBlock(Some(Interest::READABLE));
        assert!(!interrupts(would_block), "the pause of the other runs");
    }

    #[cfg(feature = "stats")]
    #[test]
    fn a_wait_is_interrupted_once() {
        let afd = Afd::open().unwrap();
        let interrupted = || {
            afd.interrupt(afd.lock()).unwrap();
            afd.counters.interrupts.get()
        };
        assert_eq!(interrupted(), 0, "nobody waits");
        afd.lock().waiting.begin();
        assert_eq!([interrupted(), interrupted()], [1, 1]);
    }

    #[test]
    fn the_ready_list_and_the_port_share_a_small_buffer() {
        let (afd, _socket, key) = registered(Interest::WRITABLE);
        let fails = || afd.after_io(key, Outcome::WouldBlock(Some(Interest::WRITABLE)));
        afd.lock().devices[0] = Device::broken();
        for token in 2..=5 {
            let waker = afd.open_user_event(Token(token)).unwrap().unwrap();
            afd.trigger(waker).unwrap();
        }
        // It takes turns.
        let mut events = EventBuffer::with_capacity(1);
        assert_eq!(tokens(&afd, &mut events), [1]);
        fails();
        assert_eq!(tokens(&afd, &mut events), [2]);
        assert_eq!(tokens(&afd, &mut events), [1]);
        fails();
        assert_eq!(tokens(&afd, &mut events), [3]);
        // Or both are in the buffer, which is never too small.
        let mut events = EventBuffer::with_capacity(2);
        assert_eq!(tokens(&afd, &mut events), [1, 4]);
        assert_eq!(tokens(&afd, &mut events), [5]);
        // Nothing else is waited for.
        fails();
        assert_eq!(tokens(&afd, &mut events), [1]);
    }

    #[test]
    fn a_waker_that_was_closed_has_no_event() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let [closed, open] = [1, 2].map(|token| {
            let waker = afd.open_user_event(Token(token)).unwrap().unwrap();
            afd.trigger(waker).unwrap();
            waker
        });
        afd.close_user_event(closed);
        assert_eq!(tokens(&afd, &mut events), [2]);
        afd.trigger(closed).unwrap();
        afd.trigger(open).unwrap();
        assert_eq!(tokens(&afd, &mut events), [2]);
    }

    #[test]
    fn an_event_that_fits_is_reported_although_packets_of_none_are_before_it() {
        let afd = Afd::open().unwrap();
        let trigger = |token| {
            let waker = afd.open_user_event(Token(token)).unwrap().unwrap();
            afd.trigger(waker).unwrap();
        };
        let nudge = |times| (0..times).for_each(|_| afd.port.post(Kind::Nudge, 0, 0).unwrap());
        let mut events = EventBuffer::with_capacity(4);
        trigger(1);
        nudge(3);
        (2..=6).for_each(trigger);
        assert_eq!(tokens(&afd, &mut events), [1, 2, 3, 4]);
        assert_eq!(tokens(&afd, &mut events), [5, 6]);
        // But not for ever.
        trigger(7);
        nudge(900);
        trigger(8);
        assert_eq!(tokens(&afd, &mut events), [7]);
        assert_eq!(tokens(&afd, &mut events), [8]);
    }

    #[test]
    fn a_device_is_opened_for_each_32_sockets() {
        let afd = Afd::open().unwrap();
        let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sockets: Vec<UdpSocket> = (0..2 * SOCKETS_OF_A_DEVICE + 1).map(bind).collect();
        for (index, socket) in sockets.iter().enumerate() {
            let raw = socket.as_raw_socket();
            afd.register(raw, Token(index), Interest::READABLE, Owner::Source)
                .unwrap();
            let devices = afd.lock().devices.len();
            assert_eq!(devices, index / SOCKETS_OF_A_DEVICE + 1, "{index}");
        }
        // And each polls its own.
        let mut events = EventBuffer::with_capacity(8);
        afd.select(&mut events, AT_ONCE).unwrap();
        let state = afd.lock();
        assert!(state.sockets.iter().all(Socket::is_in_flight));
    }

    #[test]
    fn a_poll_that_is_armed_for_enough_goes_on() {
        let (afd, _socket, _) = registered(Interest::READABLE);
        let mut events = EventBuffer::with_capacity(8);
        afd.select(&mut events, AT_ONCE).unwrap();
        let mut state = afd.lock();
        state.mark_changed(0);
        state.update_all();
        assert!(state.sockets[0].is_armed_for(AfdEvents::RECEIVE));
        assert!(state.probed.is_empty(), "it is no probe");
    }

    #[test]
    fn a_registration_whose_handle_was_closed_goes_on_with_another() {
        let (afd, socket, key) = registered(Interest::READABLE);
        let mut events = EventBuffer::with_capacity(8);
        drop(socket);
        assert_eq!(tokens(&afd, &mut events), [1]);
        assert!(events.events()[0].is_error());
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        afd.reregister(raw, key, Token(2), Interest::READABLE)
            .unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert_eq!(tokens(&afd, &mut events), [2]);
        assert!(!events.events()[0].is_error());
    }

    #[test]
    fn dropping_takes_the_packets_of_polls_in_flight() {
        let (afd, _socket, _) = registered(Interest::READABLE);
        let mut events = EventBuffer::with_capacity(8);
        afd.select(&mut events, AT_ONCE).unwrap();
        assert!(afd.lock().sockets[0].is_in_flight());
        let start = Instant::now();
        drop(afd);
        assert!(start.elapsed() < PATIENCE, "it did not find it");
    }

    /// A cancelled poll and the one that replaced it have two packets.
    #[test]
    fn an_event_behind_two_packets_of_each_socket_is_found() {
        let mut events = EventBuffer::with_capacity(1);
        for (sockets, packets) in [(0, 200), (100, 440)] {
            let afd = Afd::open().unwrap();
            let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let sockets: Vec<UdpSocket> = (0..sockets).map(bind).collect();
            for socket in &sockets {
                let raw = socket.as_raw_socket();
                afd.register(raw, Token(1), Interest::READABLE, Owner::Source)
                    .unwrap();
            }
            for _ in 0..packets {
                afd.port.post(Kind::Nudge, 0, 0).unwrap();
            }
            let waker = afd.open_user_event(Token(2)).unwrap().unwrap();
            afd.trigger(waker).unwrap();
            afd.select(&mut events, AT_ONCE).unwrap();
            assert_eq!(events.events()[0].token(), Token(2));
        }
    }

    #[cfg(feature = "os-ext")]
    #[test]
    fn every_pipe_has_capacity_in_the_ready_list() {
        const EACH: usize = 20;

        let queue = Arc::new(Queue::open(Backend::Afd).unwrap());
        let capacity = || queue.afd().unwrap().lock().ready_list.capacity();
        let options = Options {
            first_instance: true,
            reject_remote_clients: true,
        };
        let pipes: Vec<NamedPipe> = (0..EACH)
            .map(|n| {
                let name = format!(r"\\.\pipe\mio-unit-test-list-{n}-{}", std::process::id());
                NamedPipe::new(name.as_ref(), options).unwrap()
            })
            .collect();
        for pipe in &pipes {
            pipe.register(&queue, Token(1), Interest::READABLE).unwrap();
        }
        assert!(capacity() >= EACH);
    }

    #[cfg(feature = "os-ext")]
    #[test]
    fn a_pipe_is_in_the_ready_list_once() {
        let queue = Arc::new(Queue::open(Backend::Afd).unwrap());
        let listed = || queue.afd().unwrap().lock().ready_list.len();
        let options = Options {
            first_instance: true,
            reject_remote_clients: true,
        };
        let name = format!(r"\\.\pipe\mio-unit-test-once-{}", std::process::id());
        let server = NamedPipe::new(name.as_ref(), options).unwrap();
        let _client = std::fs::File::options().write(true).open(name).unwrap();
        server
            .register(&queue, Token(1), Interest::WRITABLE)
            .unwrap();
        for _ in 0..3 {
            assert_eq!(listed(), 1);
            server
                .reregister(&queue, Token(1), Interest::WRITABLE)
                .unwrap();
        }
    }

    /// With a test double of the timer, a thread.
    #[test]
    fn a_wait_with_a_timer_is_over_at_its_deadline_or_with_an_event() {
        let afd = Afd::open_with(double::CALLS).unwrap();
        let mut events = EventBuffer::with_capacity(8);
        // Relaxed: this thread's own.
        let started = || double::STARTED.load(Ordering::Relaxed);

        // Shorter than two ticks, and longer, where only the rest is the timer's.
        for millis in [1, 20, 60] {
            let timeout = Duration::from_micros(millis * 1000 + 100);
            // On a busy machine a wait may end when there is no rest for the timer.
            let deadline = Instant::now() + PATIENCE;
            let before = started();
            while started() == before {
                assert!(Instant::now() < deadline, "never by the timer");
                let start = Instant::now();
                afd.select(&mut events, Some(timeout)).unwrap();
                assert!(start.elapsed() >= timeout, "too early by the clock");
                assert!(events.events().is_empty());
            }
        }

        // Its packet ends a wait, and not the port's timeout, which is longer.
        let mut packets = Vec::with_capacity(8);
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "never with its packet");
            let start = Instant::now();
            afd.wait(&mut packets, 8, Some(TICK)).unwrap();
            let mut kinds = packets.iter().map(KernelEvent::kind);
            if kinds.any(|kind| kind == Some(Kind::Timer)) {
                // The clocks of timers and of instants may differ a little.
                break assert!(start.elapsed() >= TICK / 2);
            }
        }

        // A timeout of zero needs none, and neither does the first wait of a long one, or one that an event ends.
        let before = started();
        afd.wait(&mut packets, 8, Some(TICK * 3)).unwrap();
        afd.select(&mut events, AT_ONCE).unwrap();
        let hour = Some(Duration::from_secs(3600));
        let event = afd.open_user_event(Token(7)).unwrap().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !afd.lock().waiting.is_waiting() {
                    std::thread::yield_now();
                }
                afd.trigger(event).unwrap();
            });
            afd.select(&mut events, hour).unwrap();
        });
        assert_eq!(events.events()[0].token(), Token(7));
        assert_eq!(started(), before);

        // A packet on the port makes the timer needless, and one that comes meanwhile stops it.
        afd.trigger(event).unwrap();
        afd.select(&mut events, hour).unwrap();
        assert_eq!(events.events()[0].token(), Token(7));
        let soon = Some(Duration::from_millis(30));
        afd.trigger(event).unwrap();
        afd.select(&mut events, soon).unwrap();
        assert_eq!(events.events()[0].token(), Token(7));
        assert_eq!(started(), before);
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(
                Instant::now() < deadline,
                "never before the timer has ended"
            );
            let (start, before) = (Instant::now(), started());
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
            if start.elapsed() < TICK {
                break assert_eq!(double::waiting(), 0, "it was not stopped");
            }
            // On a busy machine it comes when the timeout is over.
            while events.events().is_empty() {
                afd.select(&mut events, None).unwrap();
            }
        }
        // A timer that was not stopped would end this one.
        let start = Instant::now();
        let timeout = Duration::from_millis(100);
        afd.select(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn a_timer_that_has_ended_already_is_not_waited_for() {
        let afd = Afd::open_with(double::ALREADY_SIGNALLED).unwrap();
        let mut packets = Vec::with_capacity(8);
        // One that is waited for has a timeout behind it that is longer by 100 ms.
        let shortest = (0..10).map(|_| {
            let start = Instant::now();
            afd.wait(&mut packets, 8, Some(TICK)).unwrap();
            start.elapsed()
        });
        assert!(shortest.min().unwrap() < Duration::from_millis(100));
    }

    #[test]
    fn a_timer_that_does_not_end_is_waited_for_a_little_longer() {
        let afd = Afd::open_with(double::NEVER_SIGNALLED).unwrap();
        let mut packets = Vec::with_capacity(8);
        let timeout = Duration::from_millis(30);
        let waits = (0..3).map(|_| {
            let start = Instant::now();
            afd.wait(&mut packets, 8, Some(timeout)).unwrap();
            start.elapsed()
        });
        let shortest = waits.min().unwrap();
        assert!(shortest < Duration::from_millis(1500), "{shortest:?}");
    }

    #[test]
    fn a_timer_that_cannot_be_had_leaves_the_ports_own_timeouts() {
        for calls in [double::NO_PACKETS, double::NO_ASSOCIATIONS] {
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
                assert!(state.sockets[0].is_in_flight());
            }
        }
        afd.select(&mut events, None).unwrap();
        assert_eq!(events.events()[0].token(), Token(2));
        drop(ManuallyDrop::into_inner(afd));
    }

    /// The driver ends the poll of one handle with the ready set of the other one's, which it does not
    /// end. (Wine's does not do that: here the ready set is made up.)
    #[test]
    fn a_ready_set_of_another_handle_restarts_its_poll() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let duplicate = socket.try_clone().unwrap();
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for (token, raw) in [&socket, &duplicate, &stranger].into_iter().enumerate() {
            let raw = raw.as_raw_socket();
            afd.register(raw, Token(token), Interest::READABLE, Owner::Source)
                .unwrap();
        }
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        let is_polling = |slot: usize| {
            let state = afd.lock();
            state.sockets[slot].is_armed_for(AfdEvents::RECEIVE)
        };
        for _ in 0..3 {
            assert!((0..3).all(is_polling));
            afd.lock().restart_others(0, AfdEvents::SEND);
            assert!((0..3).all(is_polling), "none is armed for it");
            afd.lock().restart_others(0, AfdEvents::RECEIVE);
            assert!(is_polling(0) && !is_polling(1));
            // Where the system does not say whose it is, all that are armed for it are restarted.
            let tells = are_same(socket.as_raw_socket(), stranger.as_raw_socket()).is_some();
            assert_eq!(is_polling(2), tells);
            for _ in 0..3 {
                afd.select(&mut events, Some(Duration::from_millis(1)))
                    .unwrap();
                assert!(events.events().is_empty());
            }
        }
        // And what was restarted reports.
        let to = socket.local_addr().unwrap();
        stranger.send_to(b"x", to).unwrap();
        let mut seen = [false; 3];
        let deadline = Instant::now() + PATIENCE;
        while !(seen[0] && seen[1]) {
            assert!(Instant::now() < deadline, "{seen:?}");
            afd.select(&mut events, Some(Duration::from_millis(100)))
                .unwrap();
            for event in events.events() {
                seen[event.token().0] = true;
            }
        }
        assert!(!seen[2]);
    }

    /// The source may be registered with another poll next, whose request would be the second one.
    #[test]
    fn deregistering_ends_a_poll_at_once() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        let key = afd
            .register(raw, Token(1), Interest::READABLE, Owner::Source)
            .unwrap();
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(afd.lock().sockets[0].is_armed_for(AfdEvents::RECEIVE));
        afd.deregister(raw, key).unwrap();
        let mut packets = Vec::with_capacity(8);
        while !packets
            .iter()
            .any(|packet: &KernelEvent| packet.kind() == Some(Kind::Poll))
        {
            afd.port.dequeue(&mut packets, 8, 10_000).unwrap();
            assert!(!packets.is_empty(), "it goes on");
        }
        let now = afd.tick();
        for &packet in &packets {
            afd.lock().completed(packet, now);
        }
        let mut statuses = packets.iter().map(KernelEvent::status);
        assert!(statuses.any(|status| status == STATUS_CANCELLED));
        assert_eq!(afd.lock().free, [0]);
    }

    #[test]
    fn a_ready_set_of_the_registration_before_is_stale() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        let register = |token| afd.register(raw, token, Interest::READABLE, Owner::Source);
        let key = register(Token(1)).unwrap();
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        let to = socket.local_addr().unwrap();
        socket.send_to(b"x", to).unwrap();
        let mut packets = Vec::with_capacity(1);
        let answer = loop {
            afd.port.dequeue(&mut packets, 1, 10_000).unwrap();
            // A test of resume.rs posts nudges.
            if packets[0].kind() == Some(Kind::Poll) {
                break packets[0];
            }
        };
        afd.deregister(raw, key).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
        register(Token(2)).unwrap();
        let now = afd.tick();
        assert!(afd.lock().completed(answer, now).is_none());
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.events().is_empty());
        socket.send_to(b"x", to).unwrap();
        afd.select(&mut events, None).unwrap();
        assert_eq!(events.events()[0].token(), Token(2));
    }

    /// Of two polls of one socket the driver may end one only.
    #[test]
    fn a_socket_that_is_registered_again_has_one_poll_in_flight() {
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
                assert!(state.sockets[0].is_in_flight());
            }
            afd.deregister(raw, key).unwrap();
        }
        assert_eq!(afd.lock().by_handle.len(), 1);
        // The packet of the cancelled one comes in the end, and the slot is free.
        while !afd.lock().by_handle.is_empty() {
            afd.select(&mut events, Some(Duration::from_millis(1)))
                .unwrap();
        }
        assert_eq!(afd.lock().free, [0]);
    }

    /// As if they came faster than they are taken.
    #[test]
    fn packets_that_are_no_events_do_not_hold_up_the_end_of_a_wait() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        for _ in 0..10_000 {
            afd.port.post(Kind::Nudge, 0, 0).unwrap();
        }
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.events().is_empty());
        let mut packets = Vec::with_capacity(10_000);
        afd.port.dequeue(&mut packets, 9_500, 0).unwrap();
        assert_eq!(packets.len(), 9_500, "it went on taking them");
        // Behind some of them an event is found.
        let event = afd.open_user_event(Token(7)).unwrap().unwrap();
        afd.trigger(event).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while events.events().is_empty() {
            assert!(Instant::now() < deadline);
            afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        }
    }

    #[cfg(feature = "os-ext")]
    #[test]
    fn a_deregistered_handle_leaves_the_ready_list() {
        let queue = Arc::new(Queue::open(Backend::Afd).unwrap());
        let afd = queue.afd().unwrap();
        for interest in [Interest::READABLE, Interest::READABLE.level()] {
            let thread = thread::spawn(|| ());
            let its = thread.as_handle().try_clone_to_owned().unwrap();
            // From now on it is signalled.
            thread.join().unwrap();
            let mut handle = WaitHandle::new(its);
            for _ in 0..3 {
                handle.register(&queue, Token(1), interest).unwrap();
                assert_eq!(afd.lock().ready_list.len(), 1);
                assert_eq!(afd.lock().waits, 1);
                handle.deregister(&queue).unwrap();
                assert!(afd.lock().ready_list.is_empty());
                assert_eq!(afd.lock().waits, 0);
            }
            handle.register(&queue, Token(1), interest).unwrap();
            drop(handle);
            assert!(afd.lock().ready_list.is_empty());
            assert_eq!(afd.lock().waits, 0);
        }
    }

    #[test]
    fn a_timeout_of_the_ports_is_never_the_one_that_does_not_end() {
        let millis = |millis| port_millis(Duration::from_millis(millis));
        let most = u32::MAX - 1;
        assert_eq!(millis(7), 7);
        for longer in [0, 1, 2, 1 << 32] {
            assert_eq!(millis(u64::from(most) + longer), most);
        }
    }

    /// As if the kernel had no memory.
    #[test]
    fn a_failure_to_arm_is_reported_once_and_armed_again() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let mut poll = || {
            afd.select(&mut events, Some(Duration::ZERO)).unwrap();
            let seen = events.events().iter().map(|event| {
                let (token, report) = (event.token().0, event.is_error());
                (token, report)
            });
            seen.collect::<Vec<_>>()
        };
        let swap = |device: Device| std::mem::replace(&mut afd.lock().devices[0], device);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        let writable = Interest::WRITABLE;

        let sound = swap(Device::broken());
        let key = afd
            .register(raw, Token(1), writable, Owner::Source)
            .unwrap();
        assert_eq!(poll(), [(1, true)]);
        assert_eq!(poll(), [], "it was reported");
        afd.after_io(key, Outcome::WouldBlock(Some(writable)));
        assert_eq!(poll(), [(1, true)], "it was armed again");

        // While a thread polls, it is armed at once; what is reported is of the newest registration.
        afd.lock().waiting.begin();
        for token in [2, 3] {
            afd.reregister(raw, key, Token(token), writable).unwrap();
        }
        afd.lock().waiting.end();
        assert_eq!(poll(), [(3, true)]);
        afd.lock().waiting.begin();
        afd.reregister(raw, key, Token(4), writable).unwrap();
        afd.lock().waiting.end();
        afd.deregister(raw, key).unwrap();
        assert_eq!(poll(), [], "it is gone");

        let key = afd
            .register(raw, Token(5), writable, Owner::Source)
            .unwrap();
        assert_eq!(poll(), [(5, true)]);
        swap(sound);
        afd.after_io(key, Outcome::WouldBlock(Some(writable)));
        assert_eq!(poll(), [(5, false)]);
    }

    /// There may be more behind what a failed operation has consumed. Otherwise the socket is as ready as
    /// before.
    #[test]
    fn a_failure_arms_its_direction_only_if_it_has_consumed_something() {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_accepted, _) = listener.accept().unwrap();
        let sources = [
            udp.as_raw_socket(),
            listener.as_raw_socket(),
            stream.as_raw_socket(),
        ];
        for (code, consumes) in [
            (WSAEMSGSIZE, [true, false, false]),
            (WSAENETRESET, [true, false, false]),
            (WSAECONNRESET, [true, true, false]),
            (WSAECONNABORTED, [false, true, false]),
            (WSAEMFILE, [false, false, false]),
        ] {
            for (raw, consumes) in sources.into_iter().zip(consumes) {
                let afd = Afd::open().unwrap();
                let readable = Interest::READABLE;
                let key = afd.register(raw, Token(1), readable, Owner::Source);
                let key = key.unwrap();
                let is_armed = |outcome| {
                    let mut state = afd.lock();
                    let edges = state.sockets[0].edges().unwrap();
                    edges.fired(Readiness::IN);
                    drop(state);
                    afd.after_io(key, outcome);
                    let mut state = afd.lock();
                    let armed = state.sockets[0].edges().unwrap().armed_set().unwrap();
                    armed.intersects(Readiness::IN)
                };
                let failed = |direction| {
                    let code = Some(code);
                    Outcome::Failed(crate::sys::Failure { direction, code })
                };
                assert!(
                    !is_armed(failed(Some(Interest::WRITABLE))),
                    "a send: {code}"
                );
                assert_eq!(is_armed(failed(Some(readable))), consumes, "{raw}: {code}");
            }
        }
    }

    /// Its slot is free for others.
    #[test]
    #[cfg(feature = "os-ext")]
    fn a_registration_that_died_ends_when_its_source_is_registered_again() {
        let queue = Arc::new(Queue::open(Backend::Afd).unwrap());
        let mut events = EventBuffer::with_capacity(8);
        let mut registration = Registration::none();
        for n in 1..=3 {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let (raw, owner) = (socket.as_raw_socket(), Owner::Source);
            registration
                .register(&queue, raw, Token(n), Interest::READABLE, owner)
                .unwrap();
            let state = queue.afd().unwrap().lock();
            let registered = state.sockets.iter().filter(|socket| socket.is_registered());
            assert_eq!(registered.count(), 1);
            drop(state);
            drop(socket);
            queue.select(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.events()[0].token(), Token(n));
            assert!(events.events()[0].is_error());
        }
    }

    #[test]
    fn a_nudge_that_cannot_be_posted_leaves_it_to_the_next_one() {
        let mut afd = Afd::open().unwrap();
        let port = std::mem::replace(&mut afd.port, Arc::new(Port::broken()));
        afd.lock().waiting.begin();
        let nudge = |afd: &Afd| {
            let mut state = afd.lock();
            state.ready_list.push_back(Ready::Failure(0));
            let _ = afd.nudge(state);
        };
        nudge(&afd);
        afd.port = port;
        nudge(&afd);
        let mut packets = Vec::with_capacity(8);
        afd.port.dequeue(&mut packets, 8, 0).unwrap();
        // A test of resume.rs nudges all ports.
        let mut kinds = packets.iter().map(KernelEvent::kind);
        assert!(kinds.any(|kind| kind == Some(Kind::Nudge)));
    }

    /// A socket with a poll in flight, a waker, and a pipe's packets from other code: any words and numbers.
    /// Keys that are none of ours have also the word of the poll in flight.
    #[test]
    fn no_foreign_packet_is_an_event_or_ends_a_poll_in_flight() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let key = afd
            .register(
                socket.as_raw_socket(),
                Token(1),
                Interest::READABLE,
                Owner::Source,
            )
            .unwrap();
        let slot = afd.lock().slot(key).unwrap();
        let waker = afd.open_user_event(Token(2)).unwrap().unwrap();
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(afd.lock().sockets[slot as usize].is_in_flight());

        // Knuth's generator, whose high bits are good.
        let mut state = 0x5eed_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        for _ in 0..200 {
            for _ in 0..8 {
                // Small words are slots, large ones addresses.
                let word = random() >> (random() % 32);
                let number = random() as u32;
                let is_ours = |key: usize| (1..=Kind::ALL.len()).contains(&key);
                match random() % 5 {
                    #[cfg(feature = "os-ext")]
                    0 => afd.port.post_foreign(Kind::Pipe as usize, number, word),
                    1 => afd.port.post_foreign(Kind::Poll as usize, number, word + 2),
                    // The waker's packet was not posted.
                    2 => afd.port.post_foreign(Kind::UserEvent as usize, number, 2),
                    _ => {
                        let key = random() >> (random() % 32);
                        let key = if is_ours(key) { 0 } else { key };
                        afd.port.post_foreign(key, number, word_of(slot));
                    }
                }
            }
            afd.select(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.events().is_empty(), "{:?}", events.events());
            assert!(afd.lock().sockets[slot as usize].is_in_flight());
        }

        // Nothing was lost.
        let mut wait_for = |token| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                afd.select(&mut events, Some(left)).unwrap();
                if let Some(event) = events.events().first() {
                    break assert_eq!(event.token(), token);
                }
                assert!(Instant::now() < deadline, "no event of {token:?}");
            }
        };
        socket.send_to(&[1], socket.local_addr().unwrap()).unwrap();
        wait_for(Token(1));
        afd.trigger(waker).unwrap();
        wait_for(Token(2));
    }

    #[test]
    fn a_packet_of_a_poll_that_is_not_in_flight_is_stale() {
        let afd = Afd::open().unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = socket.as_raw_socket();
        let key = afd
            .register(raw, Token(1), Interest::READABLE, Owner::Source)
            .unwrap();
        afd.deregister(raw, key).unwrap();
        assert_eq!(afd.lock().free, [0]);
        for word in [0, 1, 2, usize::MAX] {
            afd.port.post(Kind::Poll, 1000, word).unwrap();
        }
        afd.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.events().is_empty());
        assert_eq!(afd.lock().free, [0]);
    }
}
