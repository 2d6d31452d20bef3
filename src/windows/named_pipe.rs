//! A named pipe.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle,
};

use crate::event::Source;
use crate::sys::afd::named_pipe;
use crate::{Interest, Registry, Token};

/// One end of a [named pipe](https://learn.microsoft.com/en-us/windows/win32/ipc/named-pipes),
/// non-blocking.
///
/// A server's end is made by [`new`](NamedPipe::new), registered, and told to
/// [`connect`](NamedPipe::connect); it serves one client at a time, so that a server has several, of
/// the same name, made by [`NamedPipeOptions`]. A client opens the name as a file, with `FILE_FLAG_OVERLAPPED`, and hands the
/// handle to [`from_raw_handle`](NamedPipe::from_raw_handle).
///
/// # Readiness
///
/// Windows completes operations on pipes, and does not tell when one could be tried. So a registered
/// pipe reads ahead, 64 KiB at most, and is readable when something has come; what is written is
/// copied and goes out in the background, and the pipe is writable when that is done. Hence:
///
/// - Before it was registered nothing can be read, written or connected:
///   [`NotFound`](io::ErrorKind::NotFound).
/// - A poll has at most one event for a pipe, which says all that is new.
/// - Reading ahead begins when the pipe is registered for reading, or read: one that is registered for
///   writing only is not reported readable.
/// - That a write returned does not mean that it went well: an error comes with the next one, and
///   makes the pipe writable.
/// - A write takes 64 KiB at most, or a whole message, and the next one fails with
///   [`WouldBlock`](io::ErrorKind::WouldBlock) until it has gone out.
/// - A pipe stays with the poll that it was first registered with. It can be deregistered and
///   registered there again.
/// - When that poll and its registries are gone, reading and writing go on, without events.
/// - A server's end that is not told to connect learns of its client by a read or write that succeeds.
/// - What other code, or another process, starts on a duplicate of the handle is its own: it is not
///   reported, and what it reads is gone.
/// - Each operation has to end with a packet: a handle that skips them on success
///   (`FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`) delivers nothing.
/// - A pipe in the mode `PIPE_NOWAIT` takes nothing when it is full: what was to be written is lost, and
///   the next write fails with [`WriteZero`](io::ErrorKind::WriteZero).
/// - A write that other code cancels (`CancelIoEx`; on a serial port `PurgeComm`) may have gone out in
///   part. It is not sent again: the next write fails with `ERROR_OPERATION_ABORTED`. A read or
///   connect that other code cancels is begun again.
///
/// A pipe whose peer has closed its end is readable: what came before is still read, and then reading
/// returns 0. No event says [closed](crate::event::Event::is_read_closed) or
/// [error](crate::event::Event::is_error), for the next client may come. Only a pipe that was
/// registered for reading learns of an end without writing.
///
/// # Messages
///
/// On a pipe of messages (`PIPE_TYPE_MESSAGE`) each write is one message, also an empty one. A server's
/// end that only writes (`PIPE_ACCESS_OUTBOUND`) may not ask the system what kind of pipe it is, and
/// each of its writes is passed on whole. Of a handle that reads
/// messages (`PIPE_READMODE_MESSAGE`) a read returns one message, or the part of it that there was
/// room for; the next read returns the rest.
///
/// # Serial ports
///
/// A handle of a serial port (`\\.\COM3`, opened with `FILE_FLAG_OVERLAPPED`) works as well, and so does
/// whatever else has overlapped reads and writes without an offset. From what is no pipe 4 KiB are read
/// ahead at a time, because a port's read may return only when its buffer is full or the device pauses:
/// [`COMMTIMEOUTS`](https://learn.microsoft.com/en-us/windows/win32/api/winbase/ns-winbase-commtimeouts)
/// says when. Set them, and the speed, before registering.
///
/// # Dropping
///
/// What was written goes out first, in the background; then the peer reads the end. The poll sees to
/// that, whenever it polls. If it is gone, a thread does, which lasts until everything has gone out. A
/// library (cdylib) that has started it stays in memory even if it is unloaded.
///
/// # Cost
///
/// A pipe has 128 KiB of buffers, from its first registration on. After that nothing is allocated, but
/// for messages that are longer. A read or write is a system call, and another packet on the poll's port.
///
/// # Examples
///
/// ```
/// use std::fs::File;
/// use std::io::{self, Read, Write};
///
/// use mio::windows::NamedPipe;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
///
/// let name = format!(r"\\.\pipe\mio-example-{}", std::process::id());
/// let mut server = NamedPipe::new(&name)?;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// poll.registry().register(&mut server, Token(0), both)?;
/// assert_eq!(server.connect().unwrap_err().kind(), io::ErrorKind::WouldBlock);
///
/// // A client that blocks, to keep it short.
/// let mut client = File::options().read(true).write(true).open(&name)?;
/// client.write_all(b"hello")?;
///
/// let mut received = [0; 8];
/// let length = loop {
///     poll.poll(&mut events, None)?;
///     match server.read(&mut received) {
///         Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
///         outcome => break outcome?,
///     }
/// };
/// assert_eq!(&received[..length], b"hello");
/// # Ok(())
/// # }
/// ```
pub struct NamedPipe {
    inner: named_pipe::NamedPipe,
}

impl NamedPipe {
    /// The first server's end of a pipe with this name, such as `\\.\pipe\name`: of bytes, both ways. It
    /// is not inherited by child processes.
    ///
    /// A server that serves several clients makes its further ends by [`NamedPipeOptions`].
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) where there is a pipe of this name already,
    /// which somebody else may have made to be talked to by this program's clients; otherwise those of
    /// [CreateNamedPipeW](https://learn.microsoft.com/en-us/windows/win32/api/winbase/nf-winbase-createnamedpipew).
    ///
    /// ```
    /// use mio::windows::NamedPipe;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let name = format!(r"\\.\pipe\mio-new-{}", std::process::id());
    /// let server = NamedPipe::new(&name)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<A: AsRef<OsStr>>(addr: A) -> io::Result<NamedPipe> {
        NamedPipeOptions::new().create(addr)
    }

    /// Waits for a client, of a server's end: success says that there is one.
    ///
    /// When there is none yet the call fails with [`WouldBlock`](io::ErrorKind::WouldBlock). When one has
    /// come, or waiting has failed, which [`take_error`](NamedPipe::take_error) tells, the pipe is
    /// reported writable, whatever its interest.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) where the pipe was never registered; otherwise those of
    /// [ConnectNamedPipe](https://learn.microsoft.com/en-us/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe).
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::ErrorKind;
    ///
    /// use mio::windows::NamedPipe;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let name = format!(r"\\.\pipe\mio-connect-{}", std::process::id());
    /// let mut server = NamedPipe::new(&name)?;
    /// poll.registry().register(&mut server, Token(0), Interest::WRITABLE)?;
    /// assert_eq!(server.connect().unwrap_err().kind(), ErrorKind::WouldBlock);
    ///
    /// let _client = File::options().read(true).write(true).open(&name)?;
    /// poll.poll_until(&mut events, None)?; // writable: the client has come
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self) -> io::Result<()> {
        self.inner.connect()
    }

    /// Sends the client away, of a server's end. What was not read yet, on either side, is lost; the
    /// next client, after another [`connect`](NamedPipe::connect), sees nothing of it.
    ///
    /// # Errors
    ///
    /// Those of
    /// [DisconnectNamedPipe](https://learn.microsoft.com/en-us/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe).
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io;
    ///
    /// use mio::windows::NamedPipe;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let name = format!(r"\\.\pipe\mio-disconnect-{}", std::process::id());
    /// let mut server = NamedPipe::new(&name)?;
    /// poll.registry().register(&mut server, Token(0), Interest::WRITABLE)?;
    ///
    /// // One client after the other.
    /// for _ in 0..2 {
    ///     let connecting = server.connect().unwrap_err();
    ///     assert_eq!(connecting.kind(), io::ErrorKind::WouldBlock);
    ///     let _client = File::options().read(true).write(true).open(&name)?;
    ///     poll.poll_until(&mut events, None)?; // writable: the client has come
    ///     if let Some(error) = server.take_error()? {
    ///         return Err(error);
    ///     }
    ///     server.disconnect()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn disconnect(&self) -> io::Result<()> {
        self.inner.disconnect()
    }

    /// Takes the error with which waiting for a client has failed, if it has.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// ```
    /// use mio::windows::NamedPipe;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let name = format!(r"\\.\pipe\mio-take-error-{}", std::process::id());
    /// let server = NamedPipe::new(&name)?;
    /// assert!(server.take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.inner.take_error())
    }
}

/// How to make a server's end of a named pipe: of bytes, both ways, and not inherited by child processes.
///
/// # Examples
///
/// A server with room for two clients, of the same machine only:
///
/// ```
/// use mio::windows::NamedPipeOptions;
///
/// # fn main() -> std::io::Result<()> {
/// let name = format!(r"\\.\pipe\mio-options-{}", std::process::id());
/// let mut options = NamedPipeOptions::new();
/// options.reject_remote_clients(true);
/// let first = options.create(&name)?;
/// // Of the same name, which the first one has by now.
/// let second = options.first_instance(false).create(&name)?;
/// # drop((first, second));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NamedPipeOptions {
    inner: named_pipe::Options,
}

impl NamedPipeOptions {
    /// Those of [`NamedPipe::new`]: the first instance, and remote clients are not rejected.
    pub fn new() -> NamedPipeOptions {
        NamedPipeOptions {
            inner: named_pipe::Options {
                first_instance: true,
                reject_remote_clients: false,
            },
        }
    }

    /// Whether there must be no pipe of this name yet (`FILE_FLAG_FIRST_PIPE_INSTANCE`): true unless set.
    ///
    /// A server sets it to false for its further ends only. Otherwise it may join a pipe that another
    /// program has made, to which some of its clients then talk.
    pub fn first_instance(&mut self, first_instance: bool) -> &mut NamedPipeOptions {
        self.inner.first_instance = first_instance;
        self
    }

    /// Whether clients of other machines are refused (`PIPE_REJECT_REMOTE_CLIENTS`): false unless set.
    pub fn reject_remote_clients(&mut self, reject: bool) -> &mut NamedPipeOptions {
        self.inner.reject_remote_clients = reject;
        self
    }

    /// Makes a server's end of a pipe with this name, such as `\\.\pipe\name`.
    ///
    /// # Errors
    ///
    /// As of [`NamedPipe::new`].
    pub fn create<A: AsRef<OsStr>>(&self, addr: A) -> io::Result<NamedPipe> {
        named_pipe::NamedPipe::new(addr.as_ref(), self.inner).map(|inner| NamedPipe { inner })
    }
}

impl Default for NamedPipeOptions {
    fn default() -> NamedPipeOptions {
        NamedPipeOptions::new()
    }
}

impl Read for &NamedPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.inner.read(buffers)
    }
}

impl Write for &NamedPipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.inner.write(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write(buffers)
    }

    /// Does nothing: whether it has gone out is told by the next event.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for NamedPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for NamedPipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Source for NamedPipe {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.inner.register(registry.queue(), token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.inner.reregister(registry.queue(), token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.inner.deregister(registry.queue())
    }
}

impl AsRawHandle for NamedPipe {
    fn as_raw_handle(&self) -> RawHandle {
        self.inner.raw_handle()
    }
}

impl AsHandle for NamedPipe {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        // SAFETY: the handle must be open as long as the borrow lasts. It is closed when this `NamedPipe` is
        // dropped, or later, and the borrow ends before.
        unsafe { BorrowedHandle::borrow_raw(self.inner.raw_handle()) }
    }
}

impl FromRawHandle for NamedPipe {
    /// Takes over either end of a pipe, which must have been opened with `FILE_FLAG_OVERLAPPED`: else
    /// registering it fails.
    ///
    /// # Safety
    ///
    /// The handle must be open, and owned by nobody else.
    unsafe fn from_raw_handle(handle: RawHandle) -> NamedPipe {
        // SAFETY: the caller guarantees that the handle is open, and that nothing else owns it.
        NamedPipe::from(unsafe { OwnedHandle::from_raw_handle(handle) })
    }
}

impl From<OwnedHandle> for NamedPipe {
    /// As [`from_raw_handle`](NamedPipe::from_raw_handle).
    fn from(handle: OwnedHandle) -> NamedPipe {
        NamedPipe {
            inner: named_pipe::NamedPipe::from_handle(handle),
        }
    }
}

impl fmt::Debug for NamedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
