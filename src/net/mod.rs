//! Non-blocking TCP, UDP and Unix sockets.
//!
//! These are the standard library's sockets as event sources. I/O that would block returns
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead of waiting. For an operation without a
//! method here, use the socket itself, through its descriptor (`AsFd`), and do the I/O through
//! `try_io`.
//!
//! A new socket is non-blocking and closed on exec (on Windows, not inherited). On Linux, the BSDs
//! and illumos the call that creates the socket sets both. On Apple's systems further calls set
//! them: a child process that another thread starts in between inherits the socket. A socket that
//! is taken over (`from_std`, `From<OwnedFd>`, `FromRawFd`, `FromRawSocket`) is not changed, and
//! must be non-blocking already.
//!
//! # Cost
//!
//! On Linux, each read, write, accept, send, receive or peek is one system call, and so is each
//! method that gets or sets an option, an address or an error (`cargo xtask calls` checks this).
//! None of them allocates. Closing is one system call. On epoll and kqueue, dropping makes no other
//! call.
//!
//! # Sharing
//!
//! Threads can share a source by reference or in an `Arc`: all I/O takes `&self`, and `&TcpStream`
//! and `&UnixStream` implement `Read` and `Write`. Registering takes `&mut`, so register before you
//! share.

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
