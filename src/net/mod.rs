//! TCP, UDP and Unix sockets, non-blocking.
//!
//! They are the standard library's sockets as event sources: whatever does I/O
//! here returns [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead of
//! waiting. What they have no method for can be done on the socket itself,
//! through its descriptor (`AsFd`) and, for I/O, `try_io`.
//!
//! A new socket is non-blocking and closed on exec (on Windows: not inherited). On
//! Linux, the BSDs and illumos the call that makes it says so; on Apple's systems
//! further calls follow, so that a child process which another thread starts in
//! between inherits it. A socket taken over (`from_std`, `From<OwnedFd>`,
//! `FromRawFd`, `FromRawSocket`) is left as it is, and must be non-blocking.
//!
//! # Cost
//!
//! Each read, write, accept, send, receive or peek is one system call on Linux
//! (`cargo xtask calls` holds that), and so is each method that asks for or sets an
//! option, an address or an error. None of them allocates. Closing is one more;
//! dropping makes no call beside it on epoll and kqueue.
//!
//! # Sharing
//!
//! A source can be shared between threads by reference or in an `Arc`: all I/O takes
//! `&self`, and of the streams `&TcpStream` and `&UnixStream` are `Read` and `Write`.
//! Registering takes `&mut`, so it comes first.

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
#[cfg_attr(docsrs, doc(cfg(unix)))]
pub use unix_datagram::UnixDatagram;
#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
pub use unix_listener::UnixListener;
#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
pub use unix_stream::UnixStream;
