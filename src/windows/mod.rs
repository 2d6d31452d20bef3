//! Sources that only Windows has: named pipes, and handles that can be waited for.
//!
//! Any socket of any crate is a source in an [`IoSource`](crate::IoSource). This example uses a
//! Unix socket, which Windows has since 10 (1803). The example is compiled and not run, because
//! Wine has no Unix sockets:
//!
//! ```no_run
//! use std::io::{self, Read};
//!
//! use mio::{Events, Interest, IoSource, Poll, Token};
//! use socket2::{Domain, SockAddr, Socket, Type};
//!
//! # fn main() -> io::Result<()> {
//! let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
//! socket.connect(&SockAddr::unix(r"C:\Temp\service.sock")?)?;
//! socket.set_nonblocking(true)?;
//!
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(8);
//! let mut source = IoSource::new(socket);
//! poll.registry().register(&mut source, Token(0), Interest::READABLE)?;
//! let mut buffer = [0; 1024];
//! let length = loop {
//!     poll.poll(&mut events, None)?;
//!     match source.do_io(Interest::READABLE, |mut socket| socket.read(&mut buffer)) {
//!         Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
//!         outcome => break outcome?,
//!     }
//! };
//! println!("{length} bytes");
//! # Ok(())
//! # }
//! ```

mod named_pipe;
mod wait_handle;

pub use named_pipe::{NamedPipe, NamedPipeOptions};
pub use wait_handle::WaitHandle;
