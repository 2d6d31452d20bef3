//! One port: its associations, and its queue of events.
//!
//! The port is an epoll instance. In it are the descriptors whose association
//! waits for something, one-shot, and an eventfd, readable while the queue has an
//! event; so the port's descriptor is readable while there is an event to be had,
//! whoever looks. What epoll has to say is moved to the queue by every call, and
//! stays there, as in the real thing, also if it is no longer true.
//!
//! All methods are called under the lock, and none waits.

use std::collections::VecDeque;
use std::ffi::c_int;

use crate::options::{Options, Order};
use crate::sys::{self, RawFd, Result};
use crate::{port_event, PORT_ALERT_SET, PORT_ALERT_UPDATE, PORT_SOURCE_ALERT, PORT_SOURCE_FD};

/// What epoll says of the eventfd; no descriptor has this number.
const SIGNAL: u64 = u64::MAX;
const ALWAYS_TOLD: u16 = (libc::POLLERR | libc::POLLHUP) as u16;

pub struct Port {
    /// The name of this port for as long as the process lives.
    pub id: u64,
    /// A descriptor that the program has of it.
    pub descriptor: RawFd,
    /// The model's own descriptor of the same epoll instance: it stays when the
    /// program closes its own one while a thread waits.
    pub epoll: RawFd,
    /// The eventfd in it, and whether it is readable.
    signal: RawFd,
    signalled: bool,
    /// Not in the epoll instance, for poll(2) does not see alert mode: readable while a
    /// thread that waits has to return with the alert.
    alarm: RawFd,
    /// The event of alert mode, while the port is in it.
    alert: Option<port_event>,
    /// Threads that wait and have not returned with an alert that there was since.
    alerted: Vec<(u64, port_event)>,
    /// By descriptor number.
    objects: Vec<Object>,
    queue: VecDeque<port_event>,
    /// How many objects are known, and user events queued: what the limit is on.
    allocated: usize,
    pub options: Options,
    /// Threads in `port_getn` that wait.
    pub waiting: Vec<u64>,
    /// What the next one is called.
    next_waiter: u64,
    pub closed: bool,
}

/// A descriptor, as a port sees it.
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
    /// Its event was retrieved: no association, but still counted.
    Retrieved,
    /// Associated, and nothing has happened.
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

    /// The model's own descriptors of a port: that of the epoll instance, and two
    /// eventfds.
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

    /// Closes what the model has of it, which ends it.
    pub fn free(self) {
        sys::close(self.epoll);
        sys::close(self.signal);
        sys::close(self.alarm);
    }

    /// Whether a descriptor is one of this port: it is if the eventfd, which no
    /// other epoll instance has, is in there.
    pub fn is(&self, fd: RawFd) -> bool {
        let events = libc::EPOLLIN as u32;
        sys::epoll_ctl(fd, libc::EPOLL_CTL_MOD, self.signal, events, SIGNAL).is_ok()
    }

    /// Associates a descriptor, anew if it is already.
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
            self.arm(object).inspect_err(|_| self.forget(object))?;
        } else {
            self.leave_epoll(object);
            self.fire(object, ready);
        }
        self.signal();
        Ok(())
    }

    pub fn dissociate(&mut self, object: usize) -> Result<()> {
        // As in the kernel: a port that never had a descriptor does not look at it.
        if RawFd::try_from(object).is_ok() && self.objects.is_empty() {
            return Err(libc::ENOENT);
        }
        let _ = descriptor(object)?;
        self.harvest();
        let state = self.objects.get(object).map(|entry| entry.state);
        self.forget(object);
        match state {
            Some(State::Armed | State::Queued) => Ok(()),
            _ => Err(libc::ENOENT),
        }
    }

    /// Ends what the port knows of a descriptor, which is to be closed or was
    /// dissociated.
    pub fn forget(&mut self, object: usize) {
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

    /// Ends what the port knows of all descriptors.
    pub fn forget_all(&mut self) {
        for object in 0..self.objects.len() {
            self.forget(object);
        }
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

    /// Begins alert mode, or ends it. It takes no room.
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

    /// Ends alert mode. A thread that was waiting when it began returns with it all the
    /// same.
    pub fn end_alert(&mut self) {
        self.alert = None;
    }

    /// What every call returns with in alert mode.
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

    /// The alert that there was while the thread waited.
    pub fn alert_of(&self, waiter: u64) -> Option<port_event> {
        let mut alerted = self.alerted.iter();
        alerted.find(|one| one.0 == waiter).map(|one| one.1)
    }

    /// A thread waits no more.
    pub fn end_wait(&mut self, waiter: u64) {
        self.waiting.retain(|&one| one != waiter);
        self.alerted.retain(|one| one.0 != waiter);
        self.sound();
    }

    /// Has the other eventfd say whether a thread that waits has to return.
    fn sound(&self) {
        sys::set_readable(self.alarm, !self.alerted.is_empty());
    }

    /// What threads wait for: the events, and alerts.
    pub fn waited_for(&self) -> [RawFd; 2] {
        [self.epoll, self.alarm]
    }

    /// How many events are to be had.
    pub fn available(&mut self) -> usize {
        self.harvest();
        self.signal();
        self.queue.len()
    }

    /// Takes events out of the queue, and returns how many.
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

    /// Wakes all who wait, for them to see that the port is closed.
    pub fn wake(&self) {
        sys::set_readable(self.signal, true);
    }

    /// Moves to the queue what epoll has to say.
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

    /// Takes a descriptor's event out of the queue, if it is there.
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
        // The number may have been closed behind the model's back.
        let armed = ctl(first).or_else(|error| {
            if error == stranger {
                ctl(second)
            } else {
                Err(error)
            }
        });
        match armed {
            Ok(()) => entry.in_epoll = true,
            // Of a file nothing but what poll(2) said will ever be told.
            Err(libc::EPERM) => entry.in_epoll = false,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn leave_epoll(&mut self, object: usize) {
        let entry = &mut self.objects[object];
        if std::mem::replace(&mut entry.in_epoll, false) {
            // It may be gone, where it was closed behind the model's back.
            let _ = sys::epoll_ctl(self.epoll, libc::EPOLL_CTL_DEL, object as RawFd, 0, 0);
        }
    }

    /// Has the eventfd say whether there is something in the queue.
    fn signal(&mut self) {
        let wanted = !self.queue.is_empty();
        if self.signalled != wanted {
            sys::set_readable(self.signal, wanted);
            self.signalled = wanted;
        }
    }
}

/// The object as a descriptor that is open.
fn descriptor(object: usize) -> Result<RawFd> {
    RawFd::try_from(object)
        .ok()
        .filter(|&fd| sys::is_open(fd))
        .ok_or(libc::EBADFD)
}
