//! Sockets whose flags are given with the call that makes them: that saves a call,
//! and no child can inherit them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::error::cvt;

pub(crate) fn socket(domain: Domain, kind: Type) -> io::Result<Socket> {
    // socket2 adds SOCK_CLOEXEC.
    Socket::new(domain, nonblocking(kind), None)
}

pub(crate) fn pair(kind: Type) -> io::Result<(Socket, Socket)> {
    Socket::pair(Domain::UNIX, nonblocking(kind), None)
}

// socket2's own `nonblocking` does not exist everywhere that has the flag.
fn nonblocking(kind: Type) -> Type {
    Type::from(libc::c_int::from(kind) | libc::SOCK_NONBLOCK)
}

/// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html)
#[inline]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the kernel writes at most `length` bytes of the address, for which
    // there is room, and the length, so that both are initialised when it succeeds.
    let (accepted, address) = unsafe {
        SockAddr::try_init(|storage, length| {
            cvt(super::accept4(
                listener.as_raw_fd(),
                storage.cast(),
                length,
                flags,
            ))
        })
    }?;
    // SAFETY: the descriptor is new, open and nobody else's.
    Ok((unsafe { OwnedFd::from_raw_fd(accepted) }, address))
}
