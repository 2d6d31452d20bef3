//! The calls of a model of another system's kernel, which are counted among the system calls, and the
//! registrations with that kernel.
//!
//! A model makes system calls of its own, which pass. The calls of the modelled kernel are counted instead,
//! and each change of a `kevent` as well.

use std::os::fd::RawFd;

use mio::Backend;

/// The numbers of a model's calls. They are negative: no system call has them.
pub mod number {
    use libc::c_long;

    pub const KQUEUE: c_long = -1;
    pub const KEVENT_WAIT: c_long = -2;
    pub const KEVENT_CHANGES: c_long = -3;
    pub const ADD_READ: c_long = -4;
    pub const ADD_WRITE: c_long = -5;
    pub const ADD_USER: c_long = -6;
    pub const DELETE_READ: c_long = -7;
    pub const DELETE_WRITE: c_long = -8;
    pub const DELETE_USER: c_long = -9;
    pub const TRIGGER_USER: c_long = -10;
    pub const PORT_CREATE: c_long = -11;
    pub const PORT_ASSOCIATE: c_long = -12;
    pub const PORT_DISSOCIATE: c_long = -13;
    pub const PORT_SEND: c_long = -14;
    pub const PORT_ALERT: c_long = -15;
    pub const PORT_GETN: c_long = -16;
    pub const PORT_GETN_COUNT: c_long = -17;
}

/// From now on the calls of the model, if this program has one, are counted.
pub fn observe() {
    kernel::observe();
}

/// The number of registrations with the kernel of this queue; `None` if it is not a model.
pub fn registrations(backend: Backend, queue: RawFd) -> Option<usize> {
    kernel::registrations(backend, queue)
}

/// Whether the modelled kernel has user events.
pub fn has_user_events() -> bool {
    !std::env::var("KQUEUE_MODEL_WITHOUT_USER").is_ok_and(|value| value == "1")
}

#[cfg(mio_model = "kqueue")]
mod kernel {
    use std::os::fd::RawFd;

    use kqueue_model::abi::{EVFILT_READ, EVFILT_WRITE, EV_ADD, EV_DELETE};
    use kqueue_model::{Call, Observer};
    use libc::c_long;
    use mio::Backend;

    use super::super::supervisor;
    use super::number;

    static OBSERVER: Observer = Observer {
        before: |call| match call {
            Call::Change { .. } => supervisor::part_of_call(number_of(call)),
            _ => supervisor::begin_call(number_of(call)),
        },
        after: |_| supervisor::end_call(),
    };

    pub fn observe() {
        kqueue_model::observe(&OBSERVER);
    }

    pub fn registrations(backend: Backend, queue: RawFd) -> Option<usize> {
        match backend {
            Backend::Kqueue => kqueue_model::registrations(queue),
            _ => None,
        }
    }

    fn number_of(call: Call) -> c_long {
        match call {
            Call::Kqueue => number::KQUEUE,
            Call::Wait => number::KEVENT_WAIT,
            Call::Changes => number::KEVENT_CHANGES,
            Call::Change { filter, flags } => {
                let [add, delete, other] = match filter {
                    EVFILT_READ => [number::ADD_READ, number::DELETE_READ, 0],
                    EVFILT_WRITE => [number::ADD_WRITE, number::DELETE_WRITE, 0],
                    _ => [number::ADD_USER, number::DELETE_USER, number::TRIGGER_USER],
                };
                match () {
                    _ if flags & EV_ADD != 0 => add,
                    _ if flags & EV_DELETE != 0 => delete,
                    _ => other,
                }
            }
            Call::Close => libc::SYS_close,
        }
    }
}

#[cfg(mio_model = "event-ports")]
mod kernel {
    use std::os::fd::RawFd;

    use event_ports_model::{Call, Observer};
    use libc::c_long;
    use mio::Backend;

    use super::super::supervisor;
    use super::number;

    static OBSERVER: Observer = Observer {
        before: |call| supervisor::begin_call(number_of(call)),
        after: |_| supervisor::end_call(),
    };

    pub fn observe() {
        event_ports_model::observe(&OBSERVER);
    }

    pub fn registrations(backend: Backend, queue: RawFd) -> Option<usize> {
        match backend {
            Backend::EventPorts => event_ports_model::associations(queue),
            _ => None,
        }
    }

    fn number_of(call: Call) -> c_long {
        match call {
            Call::Create => number::PORT_CREATE,
            Call::Associate => number::PORT_ASSOCIATE,
            Call::Dissociate => number::PORT_DISSOCIATE,
            Call::Send => number::PORT_SEND,
            Call::Alert => number::PORT_ALERT,
            Call::Retrieve => number::PORT_GETN,
            Call::Count => number::PORT_GETN_COUNT,
            Call::Close => libc::SYS_close,
        }
    }
}

#[cfg(not(any(mio_model = "kqueue", mio_model = "event-ports")))]
mod kernel {
    use std::os::fd::RawFd;

    use mio::Backend;

    pub fn observe() {}

    pub fn registrations(_: Backend, _: RawFd) -> Option<usize> {
        None
    }
}
