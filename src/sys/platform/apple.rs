//! Apple's systems.

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
pub(super) mod kqueue_names {
    pub(crate) use libc::{
        kevent, kqueue, EVFILT_AIO, EVFILT_PROC, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, EV_ADD,
        EV_CLEAR, EV_DELETE, EV_DISPATCH, EV_EOF, EV_ERROR, EV_RECEIPT, NOTE_EXIT, NOTE_TRIGGER,
    };

    /// The systems have no filter for LIO.
    pub(crate) use libc::EVFILT_AIO as EVFILT_LIO;

    /// The kernel's resolution of timeouts: it truncates to a multiple of this.
    pub(crate) const NANOS_OF_TIMEOUT: u32 = 1_000;
}

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
