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

/// One non-blocking end of a [named
/// pipe](https://learn.microsoft.com/en-us/windows/win32/ipc/named-pipes).
///
/// A server creates its end with [`new`](NamedPipe::new), registers it, and calls
/// [`connect`](NamedPipe::connect). An end serves one client at a time, so a server has several
/// ends of the same name, which it creates with [`NamedPipeOptions`]. A client opens the name as a
/// file, with `FILE_FLAG_OVERLAPPED`, and passes the handle to
/// [`from_raw_handle`](NamedPipe::from_raw_handle).
///
/// # Readiness
///
/// Windows completes operations on pipes. It does not report when an operation could be tried. So a
/// registered pipe reads ahead, up to 64 KiB, and is readable when data has arrived. A write copies
/// its data, which goes out in the background, and the pipe is writable when it has gone out.
/// Hence:
///
/// - Before the pipe is registered, reading, writing and connecting fail with
///   [`NotFound`](io::ErrorKind::NotFound).
/// - A poll reports at most one event for a pipe, which names everything that is new.
/// - The pipe begins to read ahead when it is registered for reading, or read. If it is registered
///   for writing only, it is not reported readable.
/// - A pipe has no priority data. [`PRIORITY`](Interest::PRIORITY) is accepted, as it is for a Unix pipe, and
///   changes nothing.
/// - A write that has returned `Ok` may still fail: the next write returns the error, and the pipe
///   is reported writable.
/// - A write takes up to 64 KiB, or a whole message. Until that has gone out, the next write fails
///   with [`WouldBlock`](io::ErrorKind::WouldBlock).
/// - A pipe stays with the poll that it was first registered with. It can be deregistered, and
///   registered there again.
/// - When that poll and its registries are gone, reading and writing continue, without events.
/// - A server's end on which `connect` was not called reports its client only by a read or write
///   that succeeds.
/// - Operations that other code, or another process, starts on a duplicate of the handle are not
///   reported, and data that they read is gone.
/// - Each operation has to end with a completion packet: a handle that skips the packet on success
///   (`FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`) transfers no data.
/// - A full pipe in the mode `PIPE_NOWAIT` takes no data: the data written is lost, and the next
///   write fails with [`WriteZero`](io::ErrorKind::WriteZero).
/// - A write that other code cancels (`CancelIoEx`; `PurgeComm` on a serial port) may have gone out
///   in part. It is not sent again: the next write fails with `ERROR_OPERATION_ABORTED`. A read or
///   connect that other code cancels is started again.
///
/// A pipe whose peer has closed its end is readable: reads return the data that had arrived, and
/// then 0. No event is [closed](crate::event::Event::is_read_closed) or an
/// [error](crate::event::Event::is_error), because another client may connect. Only a pipe that was
/// registered for reading learns of an end without writing.
///
/// # Messages
///
/// On a message pipe (`PIPE_TYPE_MESSAGE`) each write is one message, even an empty write. A
/// server's end that only writes (`PIPE_ACCESS_OUTBOUND`) may not query the type of its pipe, so
/// each of its writes is passed on whole. On a handle that reads messages
/// (`PIPE_READMODE_MESSAGE`), a read returns one message, or as much of it as fits into the buffer;
/// the next read returns the rest.
///
/// # Serial ports
///
/// The handle of a serial port (`\\.\COM3`, opened with `FILE_FLAG_OVERLAPPED`) works as well, and
/// so does any other object with overlapped reads and writes that need no offset. An object that is
/// no pipe is read ahead 4 KiB at a time, because a port's read may return only when its buffer is
/// full or the device pauses, as set by
/// [`COMMTIMEOUTS`](https://learn.microsoft.com/en-us/windows/win32/api/winbase/ns-winbase-commtimeouts).
/// Set them, and the speed, before registering.
///
/// # Dropping
///
/// After the pipe was dropped, the written data still goes out in the background, and then the peer
/// reads the end. The poll completes this whenever it polls. If the poll is gone, a thread does,
/// and lasts until all data has gone out. If a library (cdylib) has started that thread, it stays
/// in memory even after it was unloaded.
///
/// # Cost
///
/// A pipe has 128 KiB of buffers, from its first registration on. After that it allocates only for
/// longer messages. A read or write is a system call, and another packet on the poll's port.
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
/// // A client that blocks, so that the example is short.
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
    /// Creates the first end of a server, for a pipe with this name, such as `\\.\pipe\name`. The
    /// pipe transfers bytes, both ways. Child processes do not inherit the end.
    ///
    /// A server with several clients creates its further ends with [`NamedPipeOptions`].
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if a pipe of this name exists already:
    /// another program may have created it so that this program's clients connect to it. Otherwise
    /// those of
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

    /// Waits for a client of a server's end. Success means that a client has connected.
    ///
    /// If there is no client yet, this fails with [`WouldBlock`](io::ErrorKind::WouldBlock). The
    /// pipe is reported writable, whatever its interests, when a client has connected or the wait
    /// has failed; see [`take_error`](NamedPipe::take_error).
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the pipe was never registered; otherwise those of
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
    /// poll.poll_until(&mut events, None)?; // writable: a client has connected
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self) -> io::Result<()> {
        self.inner.connect()
    }

    /// Disconnects the client of a server's end. Data that was not read yet, on either side, is
    /// lost: the next client, after another [`connect`](NamedPipe::connect), does not get it.
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
    /// // One client after another.
    /// for _ in 0..2 {
    ///     let connecting = server.connect().unwrap_err();
    ///     assert_eq!(connecting.kind(), io::ErrorKind::WouldBlock);
    ///     let _client = File::options().read(true).write(true).open(&name)?;
    ///     poll.poll_until(&mut events, None)?; // writable: a client has connected
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

    /// Takes the error with which the wait for a client has failed, if it has failed.
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

/// Options for creating a server's end of a named pipe, which transfers bytes, both ways. Child
/// processes do not inherit it.
///
/// # Examples
///
/// A server with capacity for two clients, on the same machine only:
///
/// ```
/// use mio::windows::NamedPipeOptions;
///
/// # fn main() -> std::io::Result<()> {
/// let name = format!(r"\\.\pipe\mio-options-{}", std::process::id());
/// let mut options = NamedPipeOptions::new();
/// options.reject_remote_clients(true);
/// let first = options.create(&name)?;
/// // The first end has taken the name.
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
    /// The options of [`NamedPipe::new`]: the first instance, and remote clients are not rejected.
    pub fn new() -> NamedPipeOptions {
        NamedPipeOptions {
            inner: named_pipe::Options {
                first_instance: true,
                reject_remote_clients: false,
            },
        }
    }

    /// Whether to fail if a pipe of this name exists already (`FILE_FLAG_FIRST_PIPE_INSTANCE`). The
    /// default is true.
    ///
    /// Set it to false only for a server's further ends. Otherwise the server may join a pipe that
    /// another program has created, to which some of the server's clients then connect.
    pub fn first_instance(&mut self, first_instance: bool) -> &mut NamedPipeOptions {
        self.inner.first_instance = first_instance;
        self
    }

    /// Whether clients on other machines are rejected (`PIPE_REJECT_REMOTE_CLIENTS`). The default
    /// is false.
    pub fn reject_remote_clients(&mut self, reject: bool) -> &mut NamedPipeOptions {
        self.inner.reject_remote_clients = reject;
        self
    }

    /// Creates a server's end of a pipe with this name, such as `\\.\pipe\name`.
    ///
    /// # Errors
    ///
    /// Those of [`NamedPipe::new`].
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

    /// Does nothing: the next event reports when the data has gone out.
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
    /// Takes over either end of a pipe. It must have been opened with `FILE_FLAG_OVERLAPPED`:
    /// otherwise registering fails.
    ///
    /// # Safety
    ///
    /// The handle must be open, and nothing else may own it.
    unsafe fn from_raw_handle(handle: RawHandle) -> NamedPipe {
        // SAFETY: the caller guarantees that the handle is open and that nothing else owns it.
        NamedPipe::from(unsafe { OwnedHandle::from_raw_handle(handle) })
    }
}

impl From<OwnedHandle> for NamedPipe {
    /// Like [`from_raw_handle`](NamedPipe::from_raw_handle).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_those_that_were_set_last() {
        let mut options = NamedPipeOptions::new();
        let set = |options: &NamedPipeOptions| {
            let its = options.inner;
            (its.first_instance, its.reject_remote_clients)
        };
        assert_eq!(set(&options), (true, false));
        options.first_instance(false).reject_remote_clients(true);
        assert_eq!(set(&options), (false, true));
        options.reject_remote_clients(false).first_instance(true);
        assert_eq!(set(&options), (true, false));
    }

    #[test]
    fn the_error_of_a_failed_connect_is_taken_once() {
        let name = format!(r"\\.\pipe\mio-unit-test-taken-{}", std::process::id());
        let server = NamedPipe::new(name).unwrap();
        let failure = io::ErrorKind::PermissionDenied;
        server.inner.fail_to_connect(failure.into());
        let error = server.take_error().unwrap();
        assert_eq!(error.map(|error| error.kind()), Some(failure));
        assert!(server.take_error().unwrap().is_none());
    }
}
