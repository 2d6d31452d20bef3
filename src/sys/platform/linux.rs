//! Linux. Its calls on epolls and for wake-ups do not pass through the C library, unless the C library's
//! functions are replaced: see `calls/replacement.rs`.

#[cfg(feature = "os-poll")]
pub(super) mod queues {
    pub(crate) use crate::sys::epoll::Epoll;
    pub(crate) use crate::sys::none::*;
    pub(crate) use crate::sys::poll::Poll;
    use crate::Backend;

    #[cfg(all(target_env = "gnu", not(target_feature = "crt-static"), not(miri)))]
    pub(crate) use crate::sys::platform::replacement::ReplacedEpoll;

    pub(crate) const BEST_FIRST: [Backend; 2] = [Backend::Epoll, Backend::Poll];
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
#[path = "../calls/abstract_names.rs"]
pub(super) mod abstract_names;

#[cfg(all(feature = "os-poll", not(miri)))]
#[path = "../calls/sys_epoll.rs"]
pub(super) mod epoll;
#[cfg(all(feature = "os-poll", miri))]
#[path = "../calls/epoll.rs"]
pub(super) mod epoll;

#[cfg(all(feature = "os-poll", not(miri)))]
#[path = "../calls/epoll_pwait2.rs"]
pub(super) mod epoll_wait;
#[cfg(all(feature = "os-poll", miri))]
#[path = "../calls/epoll_wait.rs"]
pub(super) mod epoll_wait;

#[path = "../calls/eventfd.rs"]
pub(super) mod eventfd;

#[cfg(feature = "os-ext")]
#[path = "../calls/pidfd.rs"]
pub(super) mod exit_fd;

#[path = "../calls/pipe2.rs"]
pub(super) mod pipe;

#[cfg(feature = "os-poll")]
#[path = "../calls/ppoll.rs"]
pub(super) mod poll;

#[cfg(not(miri))]
#[path = "../calls/sys_write.rs"]
pub(super) mod write;
#[cfg(miri)]
pub(super) use libc_write as write;

#[path = "../calls/write.rs"]
pub(super) mod libc_write;

// Calls for which the C library has no cheap function.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
#[path = "../calls/syscall_x86_64.rs"]
mod syscall;
#[cfg(not(any(all(target_arch = "x86_64", target_pointer_width = "64"), miri)))]
#[path = "../calls/syscall.rs"]
mod syscall;

// Replacements are detected where there is a dynamic linker. (musl has no symbol to recognise its library by.)
#[cfg(all(
    feature = "os-poll",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
))]
#[path = "../calls/epoll.rs"]
mod libc_epoll;
#[cfg(all(
    feature = "os-poll",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
))]
#[path = "../calls/epoll_wait.rs"]
mod libc_epoll_wait;
#[cfg(all(
    feature = "os-poll",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
))]
#[path = "../calls/replaced.rs"]
pub(super) mod replaced;
#[cfg(not(all(
    feature = "os-poll",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
)))]
#[path = "../calls/not_replaced.rs"]
pub(super) mod replaced;
#[cfg(all(
    feature = "os-poll",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
))]
#[path = "../calls/replacement.rs"]
pub(super) mod replacement;

#[cfg(feature = "os-poll")]
pub(super) const POLLRDHUP: libc::c_short = libc::POLLRDHUP;

pub(super) const EVERY_WRITE_IS_AN_EDGE: bool = true;
