//! Sockets of Unix. Where the flags can be given with the call that makes the
//! descriptor, they are: that saves a call, and no forked child can inherit it.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net as uds;

use libc::{c_int, sockaddr, socklen_t};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::cvt;

/// How many connections may wait to be accepted: as many as the system lets,
/// `net.core.somaxconn`, which an administrator can set. (The standard library
/// asks for that with Unix sockets, and for 128 with TCP, which a burst fills.)
const BACKLOG: c_int = -1;

fn new_socket(domain: Domain, kind: Type) -> io::Result<Socket> {
    // socket2 adds SOCK_CLOEXEC.
    Socket::new(domain, kind.nonblocking(), None)
}

fn start_connect(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    match socket.connect(address) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}

pub(crate) fn tcp_connect(address: net::SocketAddr) -> io::Result<net::TcpStream> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    start_connect(&socket, &address.into())?;
    Ok(socket.into())
}

pub(crate) fn tcp_listen(address: net::SocketAddr) -> io::Result<net::TcpListener> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn tcp_accept(
    listener: &net::TcpListener,
) -> io::Result<(net::TcpStream, net::SocketAddr)> {
    // SAFETY: the call, if it succeeds, has initialised as much of the storage
    // as it says in the length, and is given both as it needs them.
    let (stream, address) = unsafe {
        SockAddr::try_init(|storage, length| accept(listener.as_fd(), storage.cast(), length))
    }?;
    match address.as_socket() {
        Some(address) => Ok((stream.into(), address)),
        None => Err(wrong_family(
            "the listener's addresses are neither IPv4 nor IPv6",
        )),
    }
}

/// A listener that was made of another kind of socket.
fn wrong_family(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

pub(crate) fn udp_bind(address: net::SocketAddr) -> io::Result<net::UdpSocket> {
    let socket = new_socket(Domain::for_address(address), Type::DGRAM)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

pub(crate) fn unix_connect(address: &uds::SocketAddr) -> io::Result<uds::UnixStream> {
    let socket = new_socket(Domain::UNIX, Type::STREAM)?;
    start_connect(&socket, &unix_address(address)?)?;
    Ok(OwnedFd::from(socket).into())
}

pub(crate) fn unix_listen(address: &uds::SocketAddr) -> io::Result<uds::UnixListener> {
    let socket = new_socket(Domain::UNIX, Type::STREAM)?;
    socket.bind(&unix_address(address)?)?;
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}

pub(crate) fn unix_stream_pair() -> io::Result<(uds::UnixStream, uds::UnixStream)> {
    let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    Ok((OwnedFd::from(one).into(), OwnedFd::from(other).into()))
}

pub(crate) fn unix_accept(
    listener: &uds::UnixListener,
) -> io::Result<(uds::UnixStream, uds::SocketAddr)> {
    // SAFETY: all zeros are a valid `sockaddr_un`, of the unspecified family.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&address) as socklen_t;
    let storage: *mut libc::sockaddr_un = &mut address;
    // SAFETY: `storage` is valid for writing the `length` bytes of its type.
    let stream = unsafe { accept(listener.as_fd(), storage.cast(), &mut length) }?;
    let stream = uds::UnixStream::from(stream);
    if c_int::from(address.sun_family) != libc::AF_UNIX {
        return Err(wrong_family(
            "the listener's addresses are not Unix addresses",
        ));
    }
    let address = match std_unix_address(&address, length) {
        Some(address) => address,
        // One that std makes for itself only: it has to ask once more.
        None => stream.peer_addr()?,
    };
    Ok((stream, address))
}

pub(crate) fn unix_datagram_unbound() -> io::Result<uds::UnixDatagram> {
    let socket = new_socket(Domain::UNIX, Type::DGRAM)?;
    Ok(OwnedFd::from(socket).into())
}

pub(crate) fn unix_datagram_bind(address: &uds::SocketAddr) -> io::Result<uds::UnixDatagram> {
    let socket = new_socket(Domain::UNIX, Type::DGRAM)?;
    socket.bind(&unix_address(address)?)?;
    Ok(OwnedFd::from(socket).into())
}

pub(crate) fn unix_datagram_pair() -> io::Result<(uds::UnixDatagram, uds::UnixDatagram)> {
    let (one, other) = Socket::pair(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
    Ok((OwnedFd::from(one).into(), OwnedFd::from(other).into()))
}

/// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html): the new
/// descriptor is non-blocking and closed on exec from the start.
///
/// # Safety
///
/// `length` must be valid for reading and writing, and `address` for writing as
/// many bytes as it says.
unsafe fn accept(
    listener: BorrowedFd<'_>,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the kernel writes at most `length` bytes of the address, and the
    // length, for which there is room as the caller promises.
    let accepted = cvt(unsafe { libc::accept4(listener.as_raw_fd(), address, length, flags) })?;
    // SAFETY: the descriptor is new, open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

/// The address as socket2 has it, of which the standard library's hides its
/// bytes: with a path, abstract, or unnamed.
fn unix_address(address: &uds::SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        SockAddr::unix(path)
    } else if let Some(name) = address.as_abstract_name() {
        // An abstract name is a path that begins with NUL, as long as a path
        // at most.
        let mut path = [0; MAX_PATH];
        path[1..=name.len()].copy_from_slice(name);
        SockAddr::unix(OsStr::from_bytes(&path[..=name.len()]))
    } else {
        SockAddr::unix("")
    }
}

/// The address of a peer as the standard library has it; `None` for what its
/// constructors do not make (a path of the full length, without a final NUL).
fn std_unix_address(address: &libc::sockaddr_un, length: socklen_t) -> Option<uds::SocketAddr> {
    let header = mem::size_of_val(address) - MAX_PATH;
    let path_length = (length as usize).saturating_sub(header).min(MAX_PATH);
    let path = address.sun_path.map(|byte| byte as u8);
    match &path[..path_length] {
        [] => uds::SocketAddr::from_pathname("").ok(),
        [0, name @ ..] => uds::SocketAddr::from_abstract_name(name).ok(),
        path => {
            // The kernel counts a final NUL in the length, where there is one.
            let path = path.split(|&byte| byte == 0).next()?;
            uds::SocketAddr::from_pathname(OsStr::from_bytes(path)).ok()
        }
    }
}

/// The bytes of `sockaddr_un::sun_path`.
const MAX_PATH: usize = {
    let header = mem::size_of::<libc::sa_family_t>();
    mem::size_of::<libc::sockaddr_un>() - header
};

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(address: &uds::SocketAddr) -> uds::SocketAddr {
        let raw = unix_address(address).unwrap();
        // SAFETY: `unix_address` makes addresses of this type.
        let sockaddr = unsafe { &*raw.as_ptr().cast::<libc::sockaddr_un>() };
        std_unix_address(sockaddr, raw.len()).unwrap()
    }

    #[test]
    fn unix_addresses_survive_the_way_to_the_kernel_and_back() {
        let longest = "p".repeat(MAX_PATH - 1);
        for path in ["/", "/run/socket", "relative", &longest] {
            let address = uds::SocketAddr::from_pathname(path).unwrap();
            assert_eq!(
                round_trip(&address).as_pathname(),
                Some(std::path::Path::new(path))
            );
        }
        let longest = [b'n'; MAX_PATH - 1];
        for name in [&b"x"[..], b"", b"a\0b\0", &longest] {
            let address = uds::SocketAddr::from_abstract_name(name).unwrap();
            assert_eq!(round_trip(&address).as_abstract_name(), Some(name));
        }
        let unnamed = uds::SocketAddr::from_pathname("").unwrap();
        assert!(unnamed.is_unnamed() && round_trip(&unnamed).is_unnamed());
    }

    #[test]
    fn a_path_without_final_nul_is_left_to_std() {
        // SAFETY: all zeros are a valid `sockaddr_un`.
        let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
        address.sun_path = [b'p' as libc::c_char; MAX_PATH];
        let length = mem::size_of_val(&address) as socklen_t;
        assert!(std_unix_address(&address, length).is_none());
        // A shorter one, bound without its final NUL, is whole.
        let address = std_unix_address(&address, length - 8).unwrap();
        assert_eq!(
            address.as_pathname().unwrap().as_os_str().len(),
            MAX_PATH - 8
        );
    }
}
