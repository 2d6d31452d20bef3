//! The ports of the process.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::lock::{Guard, ProcessLock};
use crate::port::Port;
use crate::port_event;
use crate::sys::{self, RawFd, Result};

static PORTS: ProcessLock<Ports> = ProcessLock::new(Ports::NONE, || Ports::NONE);

/// The process that has ports, or 0: `close` reads it first.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// How often a thread that waits for several events, and has some, checks whether other threads
/// have added more.
const LOOK: Duration = Duration::from_millis(1);

pub struct Ports {
    ports: Vec<Port>,
    next_id: u64,
}

impl Ports {
    const NONE: Ports = Ports {
        ports: Vec::new(),
        next_id: 0,
    };

    fn by_id(&mut self, id: u64) -> &mut Port {
        let port = self.ports.iter_mut().find(|port| port.id == id);
        port.expect("a port lives while a thread waits on it")
    }

    /// The port of a descriptor, which may be a duplicate.
    fn by_descriptor(&mut self, fd: RawFd) -> Result<&mut Port> {
        let mut open = self.ports.iter().enumerate().filter(|(_, p)| !p.closed);
        let found = open
            .clone()
            .find(|(_, port)| port.descriptor == fd)
            .or_else(|| open.find(|(_, port)| port.is(fd)))
            .map(|(index, _)| index);
        match found {
            Some(index) => Ok(&mut self.ports[index]),
            None if sys::is_open(fd) => Err(libc::EBADFD),
            None => Err(libc::EBADF),
        }
    }

    /// Frees a port if it is closed and no thread waits on it any more.
    fn free_if_unused(&mut self, id: u64) {
        let unused = |port: &Port| port.id == id && port.closed && port.waiting.is_empty();
        if let Some(index) = self.ports.iter().position(unused) {
            self.ports.swap_remove(index).free();
        }
        if self.ports.is_empty() {
            OWNER.store(0, Ordering::Relaxed);
        }
    }
}

pub fn create() -> Result<RawFd> {
    let mut ports = PORTS.lock();
    let port = Port::open(ports.next_id)?;
    let descriptor = port.descriptor;
    ports.next_id += 1;
    ports.ports.push(port);
    OWNER.store(sys::process(), Ordering::Relaxed);
    Ok(descriptor)
}

/// Calls a method of the port with this descriptor.
pub fn with<T>(fd: RawFd, f: impl FnOnce(&mut Port) -> Result<T>) -> Result<T> {
    f(PORTS.lock().by_descriptor(fd)?)
}

/// To be called before a descriptor is closed.
pub fn closing(fd: RawFd) {
    let owner = OWNER.load(Ordering::Relaxed);
    // A forked child has no associations of its parent to end. Parent and child share the epoll
    // instance, so removing an entry would remove the parent's.
    if owner == 0 || owner != sys::process() || fd < 0 {
        return;
    }
    let mut ports = PORTS.lock();
    let mut closed = None;
    for port in &mut ports.ports {
        port.remove(fd as usize);
        if port.descriptor == fd && !port.closed {
            let own = port.epoll;
            let mut other = None;
            sys::any_descriptor(|number| {
                let found = number != fd && number != own && port.is(number);
                other = found.then_some(number);
                found
            });
            match other {
                // As in the kernel, the process' associations end anyway.
                Some(other) => {
                    port.remove_all();
                    port.end_alert();
                    port.descriptor = other;
                }
                None => {
                    port.closed = true;
                    port.wake();
                    closed = Some(port.id);
                }
            }
        }
    }
    if let Some(id) = closed {
        ports.free_if_unused(id);
    }
}

/// Retrieves events: at most `list.len()`, and `wanted` before the timeout has passed.
///
/// Returns the number of events to report, and whether the timeout has passed.
pub fn get(
    fd: RawFd,
    list: &mut [MaybeUninit<port_event>],
    wanted: usize,
    timeout: Option<libc::timespec>,
) -> Result<(usize, bool)> {
    let mut ports = PORTS.lock();
    let port = ports.by_descriptor(fd)?;
    let available = port.available();
    if list.is_empty() {
        return Ok((available, false));
    }
    if wanted == 0 {
        return Ok((0, false));
    }
    if let Some(event) = port.alert_event() {
        list[0].write(event);
        return Ok((1, false));
    }
    if available >= wanted {
        return Ok((port.take(list), false));
    }
    // The timeout is checked only now, as in the kernel.
    let timeout = timeout.map(duration).transpose()?;
    if timeout == Some(Duration::ZERO) {
        let late = port.options.zero_is_etime;
        return Ok((take(port, list, wanted, late), late));
    }
    let passes = match port.options.time_is_set {
        true => timeout.map(|timeout| timeout / 2),
        false => timeout,
    };
    // A timeout beyond the clock's range never ends.
    let deadline = passes.and_then(|timeout| Instant::now().checked_add(timeout));

    let id = port.id;
    let waiter = port.begin_wait();
    let (mut ports, outcome) = wait(ports, id, waiter, wanted, deadline);
    let port = ports.by_id(id);
    port.end_wait(waiter);
    let result = outcome.map(|ended| match ended {
        Ended::Alerted(event) => {
            list[0].write(event);
            (1, false)
        }
        Ended::Enough => (take(port, list, wanted, false), false),
        Ended::Late => (take(port, list, wanted, true), true),
    });
    ports.free_if_unused(id);
    result
}

/// Takes events. Returns the number of events to report.
fn take(port: &mut Port, list: &mut [MaybeUninit<port_event>], wanted: usize, late: bool) -> usize {
    let taken = port.take(list);
    match late && taken == 0 && port.options.late_nget_is_kept {
        true => wanted,
        false => taken,
    }
}

/// How a wait has ended.
enum Ended {
    /// There are enough events.
    Enough,
    /// The timeout has passed.
    Late,
    /// The port was in alert mode meanwhile, with this event.
    Alerted(port_event),
}

/// Waits until a port has enough events, or is in alert mode, or the timeout has passed.
fn wait(
    mut ports: Guard<'static, Ports>,
    id: u64,
    waiter: u64,
    wanted: usize,
    deadline: Option<Instant>,
) -> (Guard<'static, Ports>, Result<Ended>) {
    loop {
        let port = ports.by_id(id);
        if port.closed {
            // The descriptor that the thread passed is closed.
            return (ports, Err(libc::EBADF));
        }
        if let Some(event) = port.alert_of(waiter) {
            return (ports, Ok(Ended::Alerted(event)));
        }
        let available = port.available();
        if available >= wanted {
            return (ports, Ok(Ended::Enough));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return (ports, Ok(Ended::Late));
        }
        let [epoll, alarm] = port.waited_for();
        drop(ports);
        // The port is readable from its first event on: a thread that waits for more has to check
        // repeatedly.
        let waited = if available == 0 {
            sys::wait(&[epoll, alarm], left)
        } else {
            sys::wait(&[alarm], Some(left.map_or(LOOK, |left| left.min(LOOK))))
        };
        ports = PORTS.lock();
        if let Err(error) = waited {
            // As in the kernel, even if events have come.
            return (ports, Err(error));
        }
    }
}

fn duration(timeout: libc::timespec) -> Result<Duration> {
    let nanos = u32::try_from(timeout.tv_nsec).map_err(|_| libc::EINVAL)?;
    let seconds = u64::try_from(timeout.tv_sec).map_err(|_| libc::EINVAL)?;
    if nanos >= 1_000_000_000 {
        return Err(libc::EINVAL);
    }
    Ok(Duration::new(seconds, nanos))
}

/// Turns a result into that of a C function.
pub fn answer(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|error| {
        sys::set_errno(error);
        -1
    })
}
