//! illumos.

#[cfg(feature = "os-poll")]
pub(super) mod queues {
    pub(crate) use crate::sys::epoll::Epoll;
    pub(crate) use crate::sys::event_ports::EventPorts;
    pub(crate) use crate::sys::none::*;
    pub(crate) use crate::sys::poll::Poll;
    use crate::Backend;

    pub(crate) const BEST_FIRST: [Backend; 3] =
        [Backend::Epoll, Backend::EventPorts, Backend::Poll];
}

#[cfg(feature = "os-poll")]
#[path = "../calls/port_event.rs"]
pub(super) mod kernel_event;

#[cfg(feature = "os-poll")]
pub(super) mod port_names {
    pub(crate) use libc::{
        port_alert, port_associate, port_create, port_dissociate, port_event, port_getn, port_send,
        PORT_ALERT_SET, PORT_SOURCE_ALERT, PORT_SOURCE_FD, PORT_SOURCE_USER,
    };
}

#[cfg(feature = "net")]
#[path = "../calls/accept4.rs"]
pub(super) mod accept;
#[cfg(feature = "net")]
use libc::accept4;

#[cfg(feature = "net")]
#[path = "../calls/no_abstract_names.rs"]
pub(super) mod abstract_names;

#[cfg(feature = "os-poll")]
#[path = "../calls/epoll.rs"]
pub(super) mod epoll;

#[cfg(feature = "os-poll")]
#[path = "../calls/epoll_wait.rs"]
pub(super) mod epoll_wait;

#[path = "../calls/eventfd.rs"]
pub(super) mod eventfd;

#[cfg(feature = "os-ext")]
#[path = "../calls/no_exit_fd.rs"]
pub(super) mod exit_fd;

#[path = "../calls/pipe2.rs"]
pub(super) mod pipe;

#[cfg(feature = "os-poll")]
#[path = "../calls/poll.rs"]
pub(super) mod poll;

#[path = "../calls/write.rs"]
pub(super) mod libc_write;
pub(super) use libc_write as write;

#[path = "../calls/not_replaced.rs"]
pub(super) mod replaced;

#[cfg(feature = "os-poll")]
pub(super) const POLLRDHUP: libc::c_short = libc::POLLRDHUP;

pub(super) const EVERY_WRITE_IS_AN_EDGE: bool = false;
