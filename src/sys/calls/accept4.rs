//! Sockets whose flags are set by the call that makes them. This saves calls, and leaves no moment in
//! which a child process could inherit them.

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

// socket2's `nonblocking` does not exist on every system that has the flag.
fn nonblocking(kind: Type) -> Type {
    Type::from(libc::c_int::from(kind) | libc::SOCK_NONBLOCK)
}

/// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html)
#[inline]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the kernel writes at most `*length` bytes of address, which is the storage's size, and
    // the length. Both are initialised when the call succeeds.
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
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(accepted) }, address))
}
