//! One port: its associations, and its queue of events.
//!
//! The port is an epoll instance. It contains the descriptors whose association waits for a
//! condition, one-shot, and an eventfd, which is readable while the queue has an event. So the
//! port's descriptor is readable while an event can be retrieved, whoever checks it. Every call
//! moves epoll's events to the queue. They stay there, as in a real port, even if they are no
//! longer true.
//!
//! All methods are called under the lock, and none of them waits.

use std::collections::VecDeque;
use std::ffi::c_int;

use crate::options::{Options, Order};
use crate::sys::{self, RawFd, Result};
use crate::{port_event, PORT_ALERT_SET, PORT_ALERT_UPDATE, PORT_SOURCE_ALERT, PORT_SOURCE_FD};

/// The eventfd's word in epoll's events. No descriptor has this number.
const SIGNAL: u64 = u64::MAX;
const ALWAYS_TOLD: u16 = (libc::POLLERR | libc::POLLHUP) as u16;

pub struct Port {
    /// The name of this port, which no other port of the process ever gets.
    pub id: u64,
    /// The program's descriptor of it.
    pub descriptor: RawFd,
    /// The model's own descriptor of the same epoll instance. It stays open when the program closes
    /// its descriptor while a thread waits.
    pub epoll: RawFd,
    /// The eventfd in it, and whether it is readable.
    signal: RawFd,
    signalled: bool,
    /// Not in the epoll instance, because poll(2) does not report alert mode. It is readable while
    /// a waiting thread has to return with the alert.
    alarm: RawFd,
    /// The event of alert mode, while the port is in it.
    alert: Option<port_event>,
    /// Threads that wait, and have not returned yet with an alert that began meanwhile.
    alerted: Vec<(u64, port_event)>,
    /// By descriptor.
    objects: Vec<Object>,
    queue: VecDeque<port_event>,
    /// The number of known objects and queued user events, to which the limit applies.
    allocated: usize,
    pub options: Options,
    /// The number of threads that wait in `port_getn`.
    pub waiting: Vec<u64>,
    /// The name of the next port.
    next_waiter: u64,
    pub closed: bool,
}

/// A descriptor's state in a port.
#[derive(Copy, Clone)]
struct Object {
    state: State,
    events: u16,
    user: usize,
    /// epoll has it, perhaps disarmed.
    in_epoll: bool,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum State {
    /// Never associated, dissociated, or closed.
    Unknown,
    /// Its event was retrieved: it is not associated, but still counts.
    Retrieved,
    /// Associated, without an event yet.
    Armed,
    /// Associated, and its event is in the queue.
    Queued,
}

const UNKNOWN: Object = Object {
    state: State::Unknown,
    events: 0,
    user: 0,
    in_epoll: false,
};

impl Port {
    pub fn open(id: u64) -> Result<Port> {
        let descriptor = sys::epoll()?;
        let (epoll, signal, alarm) = Self::inside(descriptor).inspect_err(|_| {
            sys::close(descriptor);
        })?;
        Ok(Port {
            id,
            descriptor,
            epoll,
            signal,
            signalled: false,
            alarm,
            alert: None,
            alerted: Vec::with_capacity(64),
            objects: Vec::new(),
            queue: VecDeque::with_capacity(64),
            allocated: 0,
            options: Options::from_environment(),
            waiting: Vec::with_capacity(64),
            next_waiter: 0,
            closed: false,
        })
    }

    /// The model's own descriptors of a port: that of the epoll instance, and two eventfds.
    fn inside(descriptor: RawFd) -> Result<(RawFd, RawFd, RawFd)> {
        let epoll = sys::duplicate(descriptor)?;
        let signal = sys::eventfd().inspect_err(|_| {
            sys::close(epoll);
        })?;
        let alarm = sys::eventfd().inspect_err(|_| {
            sys::close(signal);
            sys::close(epoll);
        })?;
        let events = libc::EPOLLIN as u32;
        match sys::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, signal, events, SIGNAL) {
            Ok(()) => Ok((epoll, signal, alarm)),
            Err(error) => {
                sys::close(alarm);
                sys::close(signal);
                sys::close(epoll);
                Err(error)
            }
        }
    }

    /// Closes the model's descriptors of it, which ends it.
    pub fn free(self) {
        sys::close(self.epoll);
        sys::close(self.signal);
        sys::close(self.alarm);
    }

    /// Whether a descriptor belongs to this port: it does if the eventfd, which no other epoll
    /// instance has, is in it.
    pub fn is(&self, fd: RawFd) -> bool {
        let events = libc::EPOLLIN as u32;
        sys::epoll_ctl(fd, libc::EPOLL_CTL_MOD, self.signal, events, SIGNAL).is_ok()
    }

    /// Associates a descriptor, or associates it again.
    pub fn associate(&mut self, object: usize, events: c_int, user: usize) -> Result<()> {
        let fd = descriptor(object)?;
        self.harvest();
        if object >= self.objects.len() {
            self.objects.resize(object + 1, UNKNOWN);
        }
        self.unqueue(object);
        if self.objects[object].state == State::Unknown {
            if self.allocated >= self.options.max_events {
                return Err(libc::EAGAIN);
            }
            self.allocated += 1;
        }

        let mut events = events as u16;
        if !self.options.rdhup {
            events &= !(libc::POLLRDHUP as u16);
        }
        let entry = &mut self.objects[object];
        entry.events = events;
        entry.user = user;
        entry.state = State::Armed;
        let ready = sys::readiness(fd, events);
        if ready == 0 {
            self.arm(object).inspect_err(|_| self.remove(object))?;
        } else {
            self.leave_epoll(object);
            self.fire(object, ready);
        }
        self.signal();
        Ok(())
    }

    pub fn dissociate(&mut self, object: usize) -> Result<()> {
        // As in the kernel: a port that never had the descriptor does not check it.
        if RawFd::try_from(object).is_ok() && self.objects.is_empty() {
            return Err(libc::ENOENT);
        }
        let _ = descriptor(object)?;
        self.harvest();
        let state = self.objects.get(object).map(|entry| entry.state);
        self.remove(object);
        match state {
            Some(State::Armed | State::Queued) => Ok(()),
            _ => Err(libc::ENOENT),
        }
    }

    /// Removes a descriptor, which is about to be closed or was dissociated.
    pub fn remove(&mut self, object: usize) {
        match self.objects.get(object) {
            None => return,
            Some(entry) if entry.state == State::Unknown => return,
            Some(_) => {}
        }
        self.unqueue(object);
        self.leave_epoll(object);
        self.objects[object] = UNKNOWN;
        self.allocated -= 1;
        self.signal();
    }

    /// Removes all descriptors.
    pub fn remove_all(&mut self) {
        for object in 0..self.objects.len() {
            self.remove(object);
        }
    }

    /// How many descriptors are associated.
    pub fn associations(&self) -> usize {
        let states = self.objects.iter().map(|entry| entry.state);
        let is_associated = |state: &State| matches!(state, State::Armed | State::Queued);
        states.filter(is_associated).count()
    }

    pub fn send(&mut self, event: port_event) -> Result<()> {
        if self.allocated >= self.options.max_events || self.options.refuses_to_send {
            return Err(libc::EAGAIN);
        }
        self.allocated += 1;
        self.harvest();
        self.queue.push_back(event);
        self.signal();
        Ok(())
    }

    /// Begins alert mode, or ends it. This needs no capacity.
    pub fn alert(&mut self, flags: c_int, events: c_int, user: usize) -> Result<()> {
        if events == 0 {
            self.end_alert();
            return Ok(());
        }
        let both = PORT_ALERT_SET | PORT_ALERT_UPDATE;
        if flags & both == both {
            return Err(libc::EINVAL);
        }
        if flags == PORT_ALERT_UPDATE && self.alert.is_some() {
            return Err(libc::EBUSY);
        }
        let event = port_event {
            portev_events: events,
            portev_source: PORT_SOURCE_ALERT,
            portev_pad: 0,
            portev_object: 0,
            portev_user: user as _,
        };
        self.alert = Some(event);
        for &waiter in &self.waiting {
            if !self.alerted.iter().any(|&(alerted, _)| alerted == waiter) {
                self.alerted.push((waiter, event));
            }
        }
        self.sound();
        Ok(())
    }

    /// Ends alert mode. A thread that was waiting when it began returns with the alert anyway.
    pub fn end_alert(&mut self) {
        self.alert = None;
    }

    /// The result of every call in alert mode.
    pub fn alert_event(&self) -> Option<port_event> {
        self.alert
    }

    /// A thread begins to wait.
    pub fn begin_wait(&mut self) -> u64 {
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        self.waiting.push(waiter);
        waiter
    }

    /// The alert that occurred while the thread waited.
    pub fn alert_of(&self, waiter: u64) -> Option<port_event> {
        let mut alerted = self.alerted.iter();
        alerted.find(|one| one.0 == waiter).map(|one| one.1)
    }

    /// A thread ends its wait.
    pub fn end_wait(&mut self, waiter: u64) {
        self.waiting.retain(|&one| one != waiter);
        self.alerted.retain(|one| one.0 != waiter);
        self.sound();
    }

    /// Makes the other eventfd readable if a waiting thread has to return.
    fn sound(&self) {
        sys::set_readable(self.alarm, !self.alerted.is_empty());
    }

    /// The descriptors on which threads wait: for events, and for alerts.
    pub fn waited_for(&self) -> [RawFd; 2] {
        [self.epoll, self.alarm]
    }

    /// The number of events that can be retrieved.
    pub fn available(&mut self) -> usize {
        self.harvest();
        self.signal();
        self.queue.len()
    }

    /// Takes events from the queue. Returns how many.
    pub fn take(&mut self, list: &mut [std::mem::MaybeUninit<port_event>]) -> usize {
        let mut taken = 0;
        for place in list {
            let event = match &mut self.options.order {
                Order::Fifo => self.queue.pop_front(),
                Order::Lifo => self.queue.pop_back(),
                Order::Random(state) => {
                    // Knuth's generator, whose high bits are good.
                    *state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let length = self.queue.len().max(1);
                    self.queue
                        .swap_remove_back((*state >> 33) as usize % length)
                }
            };
            let Some(event) = event else { break };
            if event.portev_source == PORT_SOURCE_FD {
                self.objects[event.portev_object].state = State::Retrieved;
            } else {
                self.allocated -= 1;
            }
            place.write(event);
            taken += 1;
        }
        self.signal();
        taken
    }

    /// Wakes all waiting threads, so that they notice that the port is closed.
    pub fn wake(&self) {
        sys::set_readable(self.signal, true);
    }

    /// Moves epoll's events to the queue.
    fn harvest(&mut self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        loop {
            let count = sys::epoll_take(self.epoll, &mut events);
            for event in &events[..count] {
                let object = event.u64;
                if object == SIGNAL {
                    continue;
                }
                let ready = event.events as u16;
                let lowest = ready & ready.wrapping_neg();
                let told = if self.options.one_bit { lowest } else { ready };
                self.fire(object as usize, told);
            }
            if count < events.len() {
                break;
            }
        }
        // Another thread may wait for these, whatever the caller does, or fails to do.
        self.signal();
    }

    /// Queues the event of an armed descriptor.
    fn fire(&mut self, object: usize, ready: u16) {
        let entry = &mut self.objects[object];
        if entry.state != State::Armed {
            return;
        }
        entry.state = State::Queued;
        let told = ready & (entry.events | ALWAYS_TOLD);
        self.queue.push_back(port_event {
            portev_events: c_int::from(told),
            portev_source: PORT_SOURCE_FD,
            portev_pad: 0,
            portev_object: object,
            portev_user: entry.user as _,
        });
    }

    /// Removes a descriptor's event from the queue, if it is there.
    fn unqueue(&mut self, object: usize) {
        if self.objects[object].state == State::Queued {
            self.queue.retain(|event| {
                event.portev_source != PORT_SOURCE_FD || event.portev_object != object
            });
            self.objects[object].state = State::Retrieved;
        }
    }

    fn arm(&mut self, object: usize) -> Result<()> {
        let entry = &mut self.objects[object];
        let (first, second, stranger) = if entry.in_epoll {
            (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD, libc::ENOENT)
        } else {
            (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EEXIST)
        };
        let events = u32::from(entry.events) | libc::EPOLLONESHOT as u32;
        let ctl = |operation| {
            sys::epoll_ctl(
                self.epoll,
                operation,
                object as RawFd,
                events,
                object as u64,
            )
        };
        // The descriptor may have been closed without the model seeing it.
        let armed = ctl(first).or_else(|error| {
            if error == stranger {
                ctl(second)
            } else {
                Err(error)
            }
        });
        match armed {
            Ok(()) => entry.in_epoll = true,
            // A file never has other events than those of poll(2).
            Err(libc::EPERM) => entry.in_epoll = false,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn leave_epoll(&mut self, object: usize) {
        let entry = &mut self.objects[object];
        if std::mem::replace(&mut entry.in_epoll, false) {
            // It may be gone, if it was closed without the model seeing it.
            let _ = sys::epoll_ctl(self.epoll, libc::EPOLL_CTL_DEL, object as RawFd, 0, 0);
        }
    }

    /// Makes the eventfd readable while the queue has an event.
    fn signal(&mut self) {
        let wanted = !self.queue.is_empty();
        if self.signalled != wanted {
            sys::set_readable(self.signal, wanted);
            self.signalled = wanted;
        }
    }
}

/// The object as an open descriptor.
fn descriptor(object: usize) -> Result<RawFd> {
    RawFd::try_from(object)
        .ok()
        .filter(|&fd| sys::is_open(fd))
        .ok_or(libc::EBADFD)
}
