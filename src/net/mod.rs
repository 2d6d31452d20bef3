//! TCP, UDP and Unix sockets, non-blocking.
//!
//! They are the standard library's sockets as event sources: whatever does I/O
//! here returns [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead of
//! waiting. What they have no method for can be done on the socket itself,
//! through its descriptor (`AsFd`) and, for I/O, `try_io`.
//!
//! A new socket is made non-blocking and closed on exec by the call that makes
//! it. A socket taken over (`from_std`, `From<OwnedFd>`, `FromRawFd`) is left
//! as it is.

mod tcp_listener;
mod tcp_stream;
mod udp_socket;
#[cfg(unix)]
mod unix_datagram;
#[cfg(unix)]
mod unix_listener;
#[cfg(unix)]
mod unix_stream;

pub use tcp_listener::TcpListener;
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
#[cfg(unix)]
pub use unix_datagram::UnixDatagram;
#[cfg(unix)]
pub use unix_listener::UnixListener;
#[cfg(unix)]
pub use unix_stream::UnixStream;
