//! Every other Unix.

#[cfg(feature = "os-poll")]
pub(super) mod queues {
    pub(crate) use crate::sys::none::*;
    pub(crate) use crate::sys::poll::Poll;
    use crate::Backend;

    pub(crate) const BEST_FIRST: [Backend; 1] = [Backend::Poll];
}

#[cfg(feature = "os-poll")]
#[path = "../calls/no_kernel_event.rs"]
pub(super) mod kernel_event;

#[cfg(feature = "net")]
#[path = "../calls/accept4.rs"]
pub(super) mod accept;
#[cfg(feature = "net")]
use libc::accept4;

#[cfg(feature = "net")]
#[path = "../calls/no_abstract_names.rs"]
pub(super) mod abstract_names;

#[path = "../calls/no_eventfd.rs"]
pub(super) mod eventfd;

#[cfg(feature = "os-ext")]
#[path = "../calls/no_exit_fd.rs"]
pub(super) mod exit_fd;

#[cfg(not(target_os = "haiku"))]
#[path = "../calls/pipe2.rs"]
pub(super) mod pipe;
#[cfg(target_os = "haiku")]
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
