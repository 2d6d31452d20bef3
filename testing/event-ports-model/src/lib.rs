//! A model of event ports, of Solaris and illumos, on Linux.
//!
//! It exports the C functions of `<port.h>`, so that code for event ports can be linked with it and
//! run in tests. `semantics.md`, beside this crate's manifest, lists their behaviour, with the
//! evidence.
//!
//! **What it can show:** that a program uses the interface as the manual pages and the published
//! source of the illumos kernel describe it, with the threads, signals and descriptors of a real
//! process, and that the program does not rely on behaviour that they leave open (see the variables
//! below). **What it can't show:** anything about a real kernel. It was modelled from manual pages
//! and never compared with a kernel. Its speed is not worth measuring either.
//!
//! Numbers (`errno`, the POLL bits) are Linux's. `portev_source` and the layout of `port_event` are
//! those of illumos for 64 bits.
//!
//! # Linking
//!
//! A test declares `extern crate event_ports_model as _;`. The model also defines `close` and
//! `dup2`, because closing a descriptor ends its association, even if a duplicate stays open. While
//! the process has no port, they add one load to the system call. The model does not see closes by
//! `close_range`, `fclose` or exec.
//!
//! # Variables
//!
//! `port_create` reads them from the environment, for the port that it opens:
//!
//! | variable | values, the usual one first |
//! |---|---|
//! | `EVENT_PORTS_MODEL_ORDER` | `fifo`; `lifo`; `random`: the order in which events are retrieved |
//! | `EVENT_PORTS_MODEL_BITS` | `all`; `one`: an event that fires after the association has one bit only |
//! | `EVENT_PORTS_MODEL_RDHUP` | `1`; `0`: POLLRDHUP is ignored, as on Solaris |
//! | `EVENT_PORTS_MODEL_ZERO_TIMEOUT` | `ok`; `etime`: the result of a call with timeout zero that finds too few events |
//! | `EVENT_PORTS_MODEL_LATE_NGET` | `told`; `kept`: with `kept`, `nget` does not change if no event came in time |
//! | `EVENT_PORTS_MODEL_TIME` | `steady`; `set`: with `set`, a wait ends before its timeout, as after the system's clock was set |
//! | `EVENT_PORTS_MODEL_MAX_EVENTS` | `65536`: `process.max-port-events` |
//! | `EVENT_PORTS_MODEL_SEND` | `ok`; `eagain`: with `eagain`, nothing can be sent, as to a full port |

use std::ffi::{c_int, c_uint, c_ushort, c_void};
use std::mem::MaybeUninit;

mod lock;
mod options;
mod port;
mod ports;
mod sys;

/// `port_event_t` of `<port.h>`.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)] // The C library's name.
pub struct port_event {
    /// The condition: poll(2)'s bits, or the number that was sent.
    pub portev_events: c_int,
    /// `PORT_SOURCE_FD`, `PORT_SOURCE_USER` or `PORT_SOURCE_ALERT`.
    pub portev_source: c_ushort,
    /// Padding.
    pub portev_pad: c_ushort,
    /// The descriptor.
    pub portev_object: usize,
    /// The word that was passed when associating or sending.
    pub portev_user: *mut c_void,
}

// SAFETY: the pointer is a word that the model never dereferences.
unsafe impl Send for port_event {}

/// Events of `port_send`.
pub const PORT_SOURCE_USER: c_ushort = 3;
/// Events of file descriptors.
pub const PORT_SOURCE_FD: c_ushort = 4;
/// The source in alert mode.
pub const PORT_SOURCE_ALERT: c_ushort = 5;

/// Begins alert mode, or continues it with another event.
pub const PORT_ALERT_SET: c_int = 1;
/// Begins alert mode, unless the port is in it.
pub const PORT_ALERT_UPDATE: c_int = 2;

/// Opens a port. Returns its descriptor, which is not closed on exec.
#[no_mangle]
pub extern "C" fn port_create() -> c_int {
    ports::answer(ports::create())
}

/// Associates a descriptor with a port until its next event is retrieved.
#[no_mangle]
pub extern "C" fn port_associate(
    port: c_int,
    source: c_int,
    object: usize,
    events: c_int,
    user: *mut c_void,
) -> c_int {
    let user = user as usize;
    ports::answer(ports::with(port, |port| {
        is_descriptor(source)?;
        port.associate(object, events, user).map(|()| 0)
    }))
}

/// Ends the association of a descriptor.
#[no_mangle]
pub extern "C" fn port_dissociate(port: c_int, source: c_int, object: usize) -> c_int {
    ports::answer(ports::with(port, |port| {
        is_descriptor(source)?;
        port.dissociate(object).map(|()| 0)
    }))
}

/// Sends an event of the program to a port.
#[no_mangle]
pub extern "C" fn port_send(port: c_int, events: c_int, user: *mut c_void) -> c_int {
    let event = port_event {
        portev_events: events,
        portev_source: PORT_SOURCE_USER,
        portev_pad: 0,
        portev_object: 0,
        portev_user: user,
    };
    ports::answer(ports::with(port, |port| port.send(event).map(|()| 0)))
}

/// Sends an event to several ports. Returns to how many.
///
/// # Safety
///
/// `ports` and `errors` are valid for `count` numbers.
#[no_mangle]
pub unsafe extern "C" fn port_sendn(
    ports: *const c_int,
    errors: *mut c_int,
    count: c_uint,
    events: c_int,
    user: *mut c_void,
) -> c_int {
    if count == 0 {
        return ports::answer(Err(libc::EINVAL));
    }
    let mut sent = 0;
    for index in 0..count as usize {
        // SAFETY: the caller guarantees `count` numbers there.
        let port = unsafe { *ports.add(index) };
        let error = if port_send(port, events, user) == 0 {
            sent += 1;
            0
        } else {
            sys::errno()
        };
        // SAFETY: the caller guarantees capacity for `count` numbers there.
        unsafe { *errors.add(index) = error };
    }
    sent
}

/// Begins the alert mode of a port, or ends it if `events` is 0.
#[no_mangle]
pub extern "C" fn port_alert(port: c_int, flags: c_int, events: c_int, user: *mut c_void) -> c_int {
    let user = user as usize;
    ports::answer(ports::with(port, |port| {
        port.alert(flags, events, user).map(|()| 0)
    }))
}

/// Retrieves one event.
///
/// # Safety
///
/// `event` is valid for one event, or null; `timeout` is null or valid.
#[no_mangle]
pub unsafe extern "C" fn port_get(
    port: c_int,
    event: *mut port_event,
    timeout: *const libc::timespec,
) -> c_int {
    if event.is_null() {
        return ports::answer(ports::with(port, |_| Err(libc::EFAULT)));
    }
    // SAFETY: the caller guarantees capacity for one event there.
    let list = unsafe { std::slice::from_raw_parts_mut(event.cast::<MaybeUninit<_>>(), 1) };
    // SAFETY: the caller guarantees that `timeout` is null or valid.
    let timeout = unsafe { timeout.as_ref() };
    ports::answer(match ports::get(port, list, 1, timeout.copied()) {
        Ok((_, true)) => Err(libc::ETIME),
        Ok((_, false)) => Ok(0),
        Err(error) => Err(error),
    })
}

/// Retrieves several events.
///
/// # Safety
///
/// `list` is valid for `max` events, or null; `nget` and `timeout` are null or valid.
#[no_mangle]
pub unsafe extern "C" fn port_getn(
    port: c_int,
    list: *mut port_event,
    max: c_uint,
    nget: *mut c_uint,
    timeout: *const libc::timespec,
) -> c_int {
    // SAFETY: the caller guarantees that `nget` is null or valid.
    let Some(nget) = (unsafe { nget.as_mut() }) else {
        return ports::answer(Err(libc::EINVAL));
    };
    if *nget > max && max > 0 {
        return ports::answer(ports::with(port, |_| Err(libc::EINVAL)));
    }
    if list.is_null() && max > 0 {
        return ports::answer(ports::with(port, |_| Err(libc::EFAULT)));
    }
    let list: &mut [MaybeUninit<port_event>] = if max == 0 {
        &mut []
    } else {
        // SAFETY: the caller guarantees capacity for `max` events there.
        unsafe { std::slice::from_raw_parts_mut(list.cast(), max as usize) }
    };
    // SAFETY: the caller guarantees that `timeout` is null or valid.
    let timeout = unsafe { timeout.as_ref() };
    // If it fails with an error other than ETIME, `nget` does not change.
    ports::answer(
        ports::get(port, list, *nget as usize, timeout.copied()).and_then(|(count, late)| {
            *nget = count as c_uint;
            if late {
                Err(libc::ETIME)
            } else {
                Ok(0)
            }
        }),
    )
}

/// Closes a descriptor, and ends its associations.
#[no_mangle]
pub extern "C" fn close(fd: c_int) -> c_int {
    ports::closing(fd);
    sys::close(fd)
}

/// Duplicates a descriptor to a given number, which is closed first.
#[no_mangle]
pub extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if old != new && sys::is_open(old) {
        ports::closing(new);
    }
    sys::dup2(old, new)
}

fn is_descriptor(source: c_int) -> sys::Result<()> {
    if source == c_int::from(PORT_SOURCE_FD) {
        Ok(())
    } else {
        Err(libc::EINVAL)
    }
}
