//! Linux as a model of Apple's systems: a test library provides kqueue.

#[cfg(feature = "os-poll")]
pub(super) mod queues {
    pub(crate) use crate::sys::kqueue::Kqueue;
    pub(crate) use crate::sys::none::*;
    pub(crate) use crate::sys::poll::Poll;
    use crate::Backend;

    pub(crate) const BEST_FIRST: [Backend; 2] = [Backend::Kqueue, Backend::Poll];
}

#[cfg(feature = "os-poll")]
#[path = "../calls/kevent.rs"]
pub(super) mod kernel_event;

#[cfg(feature = "os-poll")]
#[path = "../calls/kqueue_model.rs"]
pub(super) mod kqueue_names;

#[cfg(feature = "net")]
#[path = "../calls/accept.rs"]
pub(super) mod accept;

#[cfg(feature = "net")]
#[path = "../calls/no_abstract_names.rs"]
pub(super) mod abstract_names;

#[path = "../calls/no_eventfd.rs"]
pub(super) mod eventfd;

#[cfg(feature = "os-ext")]
#[path = "../calls/exit_filter.rs"]
pub(super) mod exit_fd;

#[path = "../calls/pipe.rs"]
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
pub(super) const POLLRDHUP: libc::c_short = 0;

pub(super) const EVERY_WRITE_IS_AN_EDGE: bool = false;
