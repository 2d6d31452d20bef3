//! The errors of each system call, from its manual page.

use libc::{c_int, c_long};

use super::model::number;

/// The errors with which sandboxes and old kernels refuse an unknown call.
const REFUSED: &[c_int] = &[libc::ENOSYS, libc::EPERM, libc::EACCES];

struct Call {
    number: c_long,
    name: &'static str,
    /// In the list of errors of its manual page.
    errors: &'static [c_int],
    /// The call is so new that a sandbox may not know it.
    is_new: bool,
}

macro_rules! calls {
    ($module:ident $($(#[$attribute:meta])* $number:ident $name:literal $(($new:ident))? [$($error:ident)*];)*) => {
        &[$($(#[$attribute])* Call {
            number: $module::$number,
            name: $name,
            errors: &[$(libc::$error),*],
            is_new: calls!(@$($new)?),
        }),*]
    };
    (@new) => { true };
    (@) => { false };
}

/// From section 2 of the manual. For `accept4`, with the errors of the network that accept(2)
/// mentions.
#[rustfmt::skip]
const CALLS: &[Call] = calls! { libc
    SYS_epoll_create1 "epoll_create1" (new) [EINVAL EMFILE ENFILE ENOMEM];
    SYS_epoll_ctl "epoll_ctl" [EBADF EEXIST EINVAL ELOOP ENOENT ENOMEM ENOSPC EPERM];
    // Newer processors have only the variants with a signal mask.
    #[cfg(target_arch = "x86_64")]
    SYS_epoll_wait "epoll_wait" [EBADF EFAULT EINTR EINVAL];
    SYS_epoll_pwait "epoll_pwait" [EBADF EFAULT EINTR EINVAL];
    SYS_epoll_pwait2 "epoll_pwait2" (new) [EBADF EFAULT EINTR EINVAL];
    SYS_eventfd2 "eventfd2" (new) [EINVAL EMFILE ENFILE ENODEV ENOMEM];
    #[cfg(target_arch = "x86_64")]
    SYS_pipe "pipe" [EFAULT EMFILE ENFILE];
    SYS_pipe2 "pipe2" (new) [EFAULT EINVAL EMFILE ENFILE ENOPKG];
    #[cfg(target_arch = "x86_64")]
    SYS_poll "poll" [EFAULT EINTR EINVAL ENOMEM];
    SYS_ppoll "ppoll" [EFAULT EINTR EINVAL ENOMEM];
    SYS_socket "socket" [EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT];
    SYS_socketpair "socketpair" [EAFNOSUPPORT EFAULT EMFILE ENFILE EOPNOTSUPP EPROTONOSUPPORT];
    SYS_bind "bind" [EACCES EADDRINUSE EBADF EINVAL ENOTSOCK EADDRNOTAVAIL EFAULT ELOOP ENAMETOOLONG ENOENT ENOMEM
        ENOTDIR EROFS];
    SYS_listen "listen" [EADDRINUSE EBADF ENOTSOCK EOPNOTSUPP];
    SYS_accept4 "accept4" (new) [EAGAIN EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE ENOBUFS ENOMEM ENOTSOCK
        EOPNOTSUPP EPROTO ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH ENETUNREACH];
    SYS_accept "accept" [EAGAIN EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE ENOBUFS ENOMEM ENOTSOCK
        EOPNOTSUPP EPROTO];
    SYS_connect "connect" [EACCES EPERM EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF ECONNREFUSED EFAULT
        EINPROGRESS EINTR EISCONN ENETUNREACH ENOTSOCK EPROTOTYPE ETIMEDOUT];
    SYS_setsockopt "setsockopt" [EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK];
    SYS_getsockopt "getsockopt" [EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK];
    SYS_getsockname "getsockname" [EBADF EFAULT EINVAL ENOBUFS ENOTSOCK];
    SYS_getpeername "getpeername" [EBADF EFAULT EINVAL ENOBUFS ENOTCONN ENOTSOCK];
    SYS_shutdown "shutdown" [EBADF EINVAL ENOTCONN ENOTSOCK];
    SYS_read "read" [EAGAIN EBADF EFAULT EINTR EINVAL EIO EISDIR];
    SYS_readv "readv" [EAGAIN EBADF EFAULT EINTR EINVAL EIO EISDIR];
    SYS_write "write" [EAGAIN EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINTR EINVAL EIO ENOSPC EPERM EPIPE];
    SYS_writev "writev" [EAGAIN EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINTR EINVAL EIO ENOSPC EPERM EPIPE];
    SYS_recvfrom "recvfrom" [EAGAIN EBADF ECONNREFUSED EFAULT EINTR EINVAL ENOMEM ENOTCONN ENOTSOCK];
    SYS_sendto "sendto" [EACCES EAGAIN EALREADY EBADF ECONNRESET EDESTADDRREQ EFAULT EINTR EINVAL EISCONN EMSGSIZE
        ENOBUFS ENOMEM ENOTCONN ENOTSOCK EOPNOTSUPP EPIPE];
    SYS_fcntl "fcntl" [EACCES EAGAIN EBADF EINVAL EPERM];
    SYS_ioctl "ioctl" [EBADF EFAULT EINVAL ENOTTY];
    SYS_close "close" [EBADF EINTR EIO ENOSPC EDQUOT];
    SYS_prlimit64 "prlimit64" [EFAULT EINVAL EPERM ESRCH];
    // It cannot fail.
    SYS_getpid "getpid" [];
};

/// Of kqueue(2) of FreeBSD, NetBSD, OpenBSD and macOS, and of section 3C of illumos' manual. What the
/// latter names for files alone (`PORT_SOURCE_FILE`) is left out. EPERM and ENODEV of a filter are those
/// of files and devices that have none, and EPIPE is that of a pipe without its other end, by the
/// kernels' sources.
#[rustfmt::skip]
const MODEL_CALLS: &[Call] = calls! { number
    KQUEUE "kqueue" [EMFILE ENFILE ENOMEM];
    KEVENT_WAIT "kevent, waiting" [EACCES EBADF EFAULT EINTR EINVAL ENOENT ENOMEM ESRCH];
    KEVENT_CHANGES "kevent, with changes" [EACCES EBADF EFAULT EINTR EINVAL ENOENT ENOMEM ESRCH];
    ADD_READ "EV_ADD of EVFILT_READ" [EACCES EBADF EINVAL ENODEV ENOENT ENOMEM EOPNOTSUPP EPERM ESRCH];
    ADD_WRITE "EV_ADD of EVFILT_WRITE" [EACCES EBADF EINVAL ENODEV ENOENT ENOMEM EOPNOTSUPP EPERM EPIPE ESRCH];
    ADD_USER "EV_ADD of EVFILT_USER" [EACCES EINVAL ENOMEM EOPNOTSUPP];
    DELETE_READ "EV_DELETE of EVFILT_READ" [EBADF EINVAL ENODEV ENOENT ENOMEM EOPNOTSUPP EPERM];
    DELETE_WRITE "EV_DELETE of EVFILT_WRITE" [EBADF EINVAL ENODEV ENOENT ENOMEM EOPNOTSUPP EPERM];
    DELETE_USER "EV_DELETE of EVFILT_USER" [EINVAL ENOENT ENOMEM];
    TRIGGER_USER "NOTE_TRIGGER of EVFILT_USER" [EINVAL ENOENT ENOMEM];
    PORT_CREATE "port_create" [EAGAIN EMFILE];
    PORT_ASSOCIATE "port_associate" [EAGAIN EBADF EBADFD EINVAL ENOMEM];
    PORT_DISSOCIATE "port_dissociate" [EACCES EBADF EBADFD EINVAL ENOENT];
    PORT_SEND "port_send" [EAGAIN EBADF EBADFD ENOMEM];
    PORT_ALERT "port_alert" [EBADF EBADFD EBUSY EINVAL];
    PORT_GETN "port_getn" [EBADF EBADFD EFAULT EINTR EINVAL ETIME];
    PORT_GETN_COUNT "port_getn, counting" [EBADF EBADFD EFAULT EINTR EINVAL];
};

fn find(call: c_long) -> Option<&'static Call> {
    let mut all = CALLS.iter().chain(MODEL_CALLS);
    all.find(|known| known.number == call)
}

/// The errors with which the call is made to fail, each once. None for an unknown call.
pub fn of(call: c_long) -> Option<Vec<c_int>> {
    let call = find(call)?;
    let mut errors = call.errors.to_vec();
    if call.is_new {
        let refused = REFUSED.iter();
        errors.extend(refused.filter(|error| !call.errors.contains(error)));
    }
    Some(errors)
}

pub fn name_of(call: c_long) -> String {
    match find(call) {
        Some(call) => call.name.to_owned(),
        None => format!("the system call {call}"),
    }
}

/// Whether the call waits for events, or probes for them.
pub fn waits(call: c_long) -> bool {
    let names = ["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"];
    match call {
        number::KEVENT_WAIT | number::PORT_GETN => true,
        _ => find(call).is_some_and(|call| names.contains(&call.name)),
    }
}

/// Whether it is a part of the call before it.
pub fn is_part(call: c_long) -> bool {
    (number::TRIGGER_USER..=number::ADD_READ).contains(&call)
}

/// Whether the call does its work even if it returns this error, and so is made before it fails.
pub fn happens_although_it_fails(call: c_long, error: c_int) -> bool {
    match call {
        // On Linux close(2) closes the descriptor even if it returns an error.
        libc::SYS_close => true,
        // The connect attempt continues.
        libc::SYS_connect => [libc::EINPROGRESS, libc::EINTR].contains(&error),
        _ => false,
    }
}

/// Whether the error means that the process may not make the call, so that a fallback may be used.
pub fn is_refusal(error: c_int) -> bool {
    REFUSED.contains(&error)
}

pub fn name_of_error(error: c_int) -> String {
    let text = std::io::Error::from_raw_os_error(error).to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
