//! Sockets on Unix.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net as uds;

use libc::c_int;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::error::{ok, unless_number};
use crate::sys::platform::abstract_names::{as_name, from_name};
use crate::sys::platform::accept::{accept, pair, socket as new_socket};

/// The maximum number of connections that wait to be accepted: as many as the system allows, which
/// an administrator can set. (The standard library passes the same for Unix sockets on Linux, and
/// 128 for TCP, which a burst of connections fills.)
const BACKLOG: c_int = c_int::MAX;

#[inline(never)]
fn start_connect(socket: Socket, address: &SockAddr) -> io::Result<OwnedFd> {
    if let Err(error) = socket.connect(address) {
        unless_number(libc::EINPROGRESS, error)?;
    }
    Ok(socket.into())
}

fn listen(socket: Socket, address: &SockAddr) -> io::Result<OwnedFd> {
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind(socket: Socket, address: &SockAddr) -> io::Result<OwnedFd> {
    socket.bind(address)?;
    Ok(socket.into())
}

#[inline(never)]
pub(crate) fn tcp_connect(address: net::SocketAddr) -> io::Result<net::TcpStream> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    Ok(start_connect(socket, &address.into())?.into())
}

#[inline(never)]
pub(crate) fn tcp_listen(address: net::SocketAddr) -> io::Result<net::TcpListener> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    socket.set_reuse_address(true)?;
    Ok(listen(socket, &address.into())?.into())
}

#[inline]
pub(crate) fn tcp_accept(
    listener: &net::TcpListener,
) -> io::Result<(net::TcpStream, net::SocketAddr)> {
    let (stream, address) = accept(listener.as_fd())?;
    match address.as_socket() {
        Some(address) => Ok((stream.into(), address)),
        None => Err(wrong_family(
            "the listener's addresses are neither IPv4 nor IPv6",
        )),
    }
}

/// The error of a listener that was made from another kind of socket.
fn wrong_family(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[inline(never)]
pub(crate) fn udp_bind(address: net::SocketAddr) -> io::Result<net::UdpSocket> {
    let socket = new_socket(Domain::for_address(address), Type::DGRAM)?;
    Ok(bind(socket, &address.into())?.into())
}

#[inline(never)]
pub(crate) fn unix_connect(address: &uds::SocketAddr) -> io::Result<uds::UnixStream> {
    let socket = new_socket(Domain::UNIX, Type::STREAM)?;
    Ok(start_connect(socket, &unix_address(address)?)?.into())
}

#[inline(never)]
pub(crate) fn unix_listen(address: &uds::SocketAddr) -> io::Result<uds::UnixListener> {
    let socket = new_socket(Domain::UNIX, Type::STREAM)?;
    Ok(listen(socket, &unix_address(address)?)?.into())
}

#[inline(never)]
pub(crate) fn unix_stream_pair() -> io::Result<(uds::UnixStream, uds::UnixStream)> {
    let (one, other) = pair(Type::STREAM)?;
    Ok((OwnedFd::from(one).into(), OwnedFd::from(other).into()))
}

pub(crate) fn unix_accept(
    listener: &uds::UnixListener,
) -> io::Result<(uds::UnixStream, uds::SocketAddr)> {
    let (stream, address) = accept(listener.as_fd())?;
    let stream = uds::UnixStream::from(stream);
    let Some((address, length)) = as_unix(&address) else {
        return Err(wrong_family(
            "the listener's addresses are not Unix addresses",
        ));
    };
    let address = match std_unix_address(address, length) {
        Some(address) => address,
        // Only std can make this address. It makes another system call for it.
        None => stream.peer_addr()?,
    };
    Ok((stream, address))
}

#[inline(never)]
pub(crate) fn unix_datagram_unbound() -> io::Result<uds::UnixDatagram> {
    let socket = new_socket(Domain::UNIX, Type::DGRAM)?;
    Ok(OwnedFd::from(socket).into())
}

#[inline(never)]
pub(crate) fn unix_datagram_bind(address: &uds::SocketAddr) -> io::Result<uds::UnixDatagram> {
    let socket = new_socket(Domain::UNIX, Type::DGRAM)?;
    Ok(bind(socket, &unix_address(address)?)?.into())
}

#[inline(never)]
pub(crate) fn unix_datagram_pair() -> io::Result<(uds::UnixDatagram, uds::UnixDatagram)> {
    let (one, other) = pair(Type::DGRAM)?;
    Ok((OwnedFd::from(one).into(), OwnedFd::from(other).into()))
}

/// Converts an address of the standard library, which hides its bytes, to socket2's. It has a path, an
/// abstract name, or neither. Like the other direction, it is visible to testing/fuzz, which includes this
/// file.
#[inline(never)] // its callers are small
pub(crate) fn unix_address(address: &uds::SocketAddr) -> io::Result<SockAddr> {
    let mut bytes = [0; mem::size_of::<libc::sockaddr_un>()];
    let path = if let Some(path) = address.as_pathname() {
        path.as_os_str()
    } else if let Some(name) = as_name(address) {
        // An abstract name is a path that begins with NUL, as long as a path
        // at most.
        bytes[1..=name.len()].copy_from_slice(name);
        OsStr::from_bytes(&bytes[..=name.len()])
    } else {
        OsStr::new("")
    };
    SockAddr::unix(path)
}

// `as_unix` reads a `SockAddr` as one.
const _: () = {
    use mem::{align_of, size_of};
    assert!(size_of::<libc::sockaddr_un>() <= size_of::<libc::sockaddr_storage>());
    assert!(align_of::<libc::sockaddr_un>() <= align_of::<libc::sockaddr_storage>());
};

/// A peer's address and its length, if it is a Unix address. Some systems write nothing
/// for an unnamed peer.
fn as_unix(address: &SockAddr) -> Option<(&libc::sockaddr_un, usize)> {
    let is_unix = address.len() == 0 || address.is_unix();
    // SAFETY: a `SockAddr` holds a `sockaddr_storage`, which is large enough for a `sockaddr_un` and aligned for
    // it (asserted above). socket2 initialises it as a whole, and any bits are a valid `sockaddr_un`. The
    // reference borrows from `address`.
    is_unix.then(|| (unsafe { &*address.as_ptr().cast() }, address.len() as usize))
}

/// Converts a peer's address to the standard library's. `None` if its constructors cannot make the
/// address (a path of the full length, without a final NUL).
pub(crate) fn std_unix_address(
    address: &libc::sockaddr_un,
    length: usize,
) -> Option<uds::SocketAddr> {
    let start = address.sun_path.as_ptr() as usize - address as *const _ as usize;
    let path_length = length.saturating_sub(start).min(address.sun_path.len());
    let mut path = [0; mem::size_of::<libc::sockaddr_un>()];
    for (index, &byte) in address.sun_path.iter().enumerate() {
        // `c_char` is signed on some systems only.
        #[allow(clippy::unnecessary_cast)]
        {
            path[index] = byte as u8;
        }
    }
    match &path[..path_length] {
        [0, name @ ..] => ok(from_name(name)),
        path => {
            // The kernel's length includes a final NUL, if there is one.
            let end = path.iter().position(|&byte| byte == 0);
            let path = &path[..end.unwrap_or(path.len())];
            ok(uds::SocketAddr::from_pathname(OsStr::from_bytes(path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(address: &uds::SocketAddr) -> uds::SocketAddr {
        let raw = unix_address(address).unwrap();
        // SAFETY: `unix_address` makes a `sockaddr_un`, in the aligned storage of `raw`.
        let sockaddr = unsafe { &*raw.as_ptr().cast::<libc::sockaddr_un>() };
        std_unix_address(sockaddr, raw.len() as usize).unwrap()
    }

    fn zeroed() -> libc::sockaddr_un {
        // SAFETY: `sockaddr_un` consists of integers, for which all zeros are valid.
        unsafe { mem::zeroed() }
    }

    #[test]
    fn unix_addresses_survive_a_round_trip_through_the_kernel() {
        let most = zeroed().sun_path.len() - 1;
        let longest = "p".repeat(most);
        for path in ["/", "/run/socket", "relative", &longest] {
            let address = uds::SocketAddr::from_pathname(path).unwrap();
            assert_eq!(
                round_trip(&address).as_pathname(),
                Some(std::path::Path::new(path))
            );
        }
        let unnamed = uds::SocketAddr::from_pathname("").unwrap();
        assert!(unnamed.is_unnamed() && round_trip(&unnamed).is_unnamed());
        assert!(unix_address(&unnamed).unwrap().is_unnamed());
    }

    #[test]
    fn abstract_names_survive_where_the_system_has_them() {
        let longest = vec![b'n'; zeroed().sun_path.len() - 1];
        for name in [&b"x"[..], b"", b"a\0b\0", &longest] {
            let address = from_name(name).unwrap();
            let survived = round_trip(&address);
            assert_eq!(as_name(&survived), as_name(&address));
            assert!(as_name(&address) == Some(name) || address.is_unnamed());
        }
    }

    #[test]
    fn a_path_without_final_nul_is_left_to_std() {
        let mut address = zeroed();
        address.sun_path.fill(b'p' as libc::c_char);
        let length = mem::size_of_val(&address);
        assert!(std_unix_address(&address, length).is_none());
        // A shorter one, bound without its final NUL, is whole.
        let path = std_unix_address(&address, length - 8).unwrap();
        let path = path.as_pathname().unwrap().as_os_str();
        assert_eq!(path.len(), address.sun_path.len() - 8);
    }

    #[test]
    fn an_address_of_no_length_is_unnamed() {
        assert!(std_unix_address(&zeroed(), 0).unwrap().is_unnamed());
    }
}
