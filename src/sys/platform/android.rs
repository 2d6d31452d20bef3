//! Android, whose sandbox allows only the system calls that its C library makes.

#[cfg(feature = "os-poll")]
pub(super) mod queues {
    pub(crate) use crate::sys::epoll::Epoll;
    pub(crate) use crate::sys::none::*;
    pub(crate) use crate::sys::poll::Poll;
    use crate::Backend;

    pub(crate) const BEST_FIRST: [Backend; 2] = [Backend::Epoll, Backend::Poll];
}

#[cfg(feature = "os-poll")]
#[path = "../calls/no_kernel_event.rs"]
pub(super) mod kernel_event;

// The sandbox of x86 ends a process that calls `accept4`.
#[cfg(all(feature = "net", not(target_arch = "x86")))]
#[path = "../calls/accept4.rs"]
pub(super) mod accept;
// The C library's function. The libc crate's function of this name is a raw system call, for releases
// before Android 5.0, which this crate does not support.
#[cfg(all(feature = "net", not(target_arch = "x86")))]
extern "C" {
    fn accept4(
        listener: libc::c_int,
        address: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
        flags: libc::c_int,
    ) -> libc::c_int;
}
#[cfg(all(feature = "net", target_arch = "x86"))]
#[path = "../calls/accept.rs"]
pub(super) mod accept;

#[cfg(feature = "net")]
#[path = "../calls/abstract_names.rs"]
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
#[path = "../calls/ppoll.rs"]
pub(super) mod poll;

#[path = "../calls/write.rs"]
pub(super) mod libc_write;
pub(super) use libc_write as write;

#[path = "../calls/not_replaced.rs"]
pub(super) mod replaced;

#[cfg(feature = "os-poll")]
pub(super) const POLLRDHUP: libc::c_short = libc::POLLRDHUP;

pub(super) const EVERY_WRITE_IS_AN_EDGE: bool = true;
