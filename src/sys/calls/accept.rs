//! Sockets whose flags are set by further calls. socket2 sets close-on-exec, and, on systems where it
//! is a socket option, that a write raises no SIGPIPE.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

pub(crate) fn socket(domain: Domain, kind: Type) -> io::Result<Socket> {
    let opened = Socket::new(domain, kind, None)?;
    opened.set_nonblocking(true)?;
    Ok(opened)
}

pub(crate) fn pair(kind: Type) -> io::Result<(Socket, Socket)> {
    let (one, other) = Socket::pair(Domain::UNIX, kind, None)?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    Ok((one, other))
}

/// [accept(2)](https://man.freebsd.org/cgi/man.cgi?accept)
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    // socket2's `accept` would call `accept4` if the C library has it.
    let (accepted, address) = SockRef::from(&listener).accept_raw()?;
    accepted.set_cloexec(true)?;
    accepted.set_nonblocking(true)?;
    Ok((accepted.into(), address))
}
