//! Unix pipes: bytes in one direction, between threads or processes.
//!
//! # Closing
//!
//! Reading returns 0 when every [`Sender`] is closed and all data is read; the receiver's event is
//! then read-closed. Writing fails with [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) when every
//! [`Receiver`] is closed; the sender's event is then write-closed, and except on kqueue also an
//! error. Both are reported whatever the interests are; on kqueue they are reported only if the
//! interests include that direction.
//!
//! # Examples
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use mio::unix::pipe;
//! use mio::{Events, Interest, Poll, Token};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(8);
//!
//! let (mut sender, mut receiver) = pipe::new()?;
//! poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
//!
//! sender.write_all(b"through")?;
//! poll.poll(&mut events, None)?;
//! let mut buffer = [0; 16];
//! assert_eq!(receiver.read(&mut buffer)?, 7);
//!
//! drop(sender);
//! poll.poll(&mut events, None)?;
//! assert!(events.iter().next().unwrap().is_read_closed());
//! assert_eq!(receiver.read(&mut buffer)?, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Reading the output of a child process:
//!
//! ```
//! use std::io::{self, Read};
//! use std::process::{Command, Stdio};
//!
//! use mio::unix::pipe::Receiver;
//! use mio::{Events, Interest, Poll, Token};
//!
//! # fn main() -> io::Result<()> {
//! let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
//! let mut receiver = Receiver::from(child.stdout.take().unwrap());
//! receiver.set_nonblocking(true)?;
//!
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(8);
//! poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
//!
//! let mut output = Vec::new();
//! loop {
//!     match receiver.read_to_end(&mut output) {
//!         Ok(_) => break,
//!         Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
//!             poll.poll(&mut events, None)?;
//!         }
//!         Err(error) => return Err(error),
//!     }
//! }
//! assert_eq!(output, b"hello\n");
//! child.wait()?;
//! # Ok(())
//! # }
//! ```

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys;
use crate::IoSource;

/// Opens a pipe. Both ends are non-blocking and closed on exec.
///
/// # Errors
///
/// Those of [pipe2(2)](https://man7.org/linux/man-pages/man2/pipe.2.html), if no descriptor is
/// left.
///
/// # Cost
///
/// One system call; on Apple's systems and Haiku, which have no `pipe2`, five.
///
/// ```
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut sender, mut receiver) = mio::unix::pipe::new()?;
/// sender.write_all(b"through")?;
/// receiver.read_exact(&mut [0; 7])?;
/// # Ok(())
/// # }
/// ```
pub fn new() -> io::Result<(Sender, Receiver)> {
    let (receiver, sender) = sys::pipe::pipe()?;
    Ok((
        Sender {
            inner: IoSource::new(sender),
        },
        Receiver {
            inner: IoSource::new(receiver),
        },
    ))
}

/// The writing end of a pipe; see the [module](self).
///
/// ```
/// use std::io::Write;
/// use std::process::{Command, Stdio};
///
/// use mio::unix::pipe::Sender;
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
/// let mut sender = Sender::from(child.stdin.take().unwrap());
/// sender.set_nonblocking(true)?;
/// sender.write_all(b"few enough bytes to fit at once")?;
/// drop(sender); // ends the child's input
/// child.wait()?;
/// # Ok(())
/// # }
/// ```
pub struct Sender {
    inner: IoSource<File>,
}

impl Sender {
    /// Sets whether writing to a full pipe fails with [`WouldBlock`](io::ErrorKind::WouldBlock), as
    /// it must for a source, or waits. The ends of a [`new`] pipe are non-blocking. Those of a
    /// child process are blocking until this is called.
    ///
    /// If another process shares this end, it sees the change as well. This makes two system calls
    /// of [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), and returns their errors.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (sender, _receiver) = mio::unix::pipe::new()?;
    /// sender.set_nonblocking(false)?; // for a child process to write to
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        sys::pipe::set_nonblocking(&self.inner, nonblocking)
    }

    try_io_methods!();
}

impl_source!(Sender);
impl_write!(Sender, &Sender);
impl_descriptor!(Sender, File);

impl From<ChildStdin> for Sender {
    /// The pipe to a child process. It is still blocking: see
    /// [`set_nonblocking`](Sender::set_nonblocking).
    fn from(stdin: ChildStdin) -> Sender {
        OwnedFd::from(stdin).into()
    }
}

/// The reading end of a pipe; see the [module](self).
///
/// ```
/// use std::process::{Command, Stdio};
///
/// use mio::unix::pipe::Receiver;
/// use mio::{Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let poll = Poll::new()?;
/// let mut child = Command::new("echo").stdout(Stdio::piped()).spawn()?;
/// let mut receiver = Receiver::from(child.stdout.take().unwrap());
/// receiver.set_nonblocking(true)?;
/// poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
/// child.wait()?;
/// # Ok(())
/// # }
/// ```
pub struct Receiver {
    inner: IoSource<File>,
}

impl Receiver {
    /// Sets whether reading from an empty pipe fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), as it must for a source, or waits. The ends of a
    /// [`new`] pipe are non-blocking. Those of a child process are blocking until this is called.
    ///
    /// If another process shares this end, it sees the change as well. This makes two system calls
    /// of [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), and returns their errors.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (_sender, receiver) = mio::unix::pipe::new()?;
    /// receiver.set_nonblocking(false)?; // for a child process to read from
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        sys::pipe::set_nonblocking(&self.inner, nonblocking)
    }

    try_io_methods!();
}

impl_source!(Receiver);
// The end is not the last one: a named pipe can get a new writer.
impl_read!(end_is_last: false, Receiver, &Receiver);
impl_descriptor!(Receiver, File);

impl From<ChildStdout> for Receiver {
    /// The pipe from a child process. It is still blocking: see
    /// [`set_nonblocking`](Receiver::set_nonblocking).
    fn from(stdout: ChildStdout) -> Receiver {
        OwnedFd::from(stdout).into()
    }
}

impl From<ChildStderr> for Receiver {
    /// The pipe from a child process. It is still blocking: see
    /// [`set_nonblocking`](Receiver::set_nonblocking).
    fn from(stderr: ChildStderr) -> Receiver {
        OwnedFd::from(stderr).into()
    }
}
