//! A handle that can be waited for.

use std::fmt;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};

use crate::event::Source;
use crate::sys::afd::wait_handle;
use crate::{Interest, Registry, Token};

/// Any handle that can be [waited
/// for](https://learn.microsoft.com/en-us/windows/win32/sync/wait-functions). It becomes readable when the
/// handle is signalled.
///
/// A process is signalled when it has exited, a thread when it has ended, an event when it is set, a
/// semaphore when its count is not zero, and a timer when it is due. A change notification, a console's
/// input and a job can be waited for as well.
///
/// Register it for [`READABLE`](Interest::READABLE); it is never writable. Its event is readable and nothing
/// else.
///
/// # How often it is reported
///
/// | mode | events |
/// |---|---|
/// | edges | one after each `register` and `reregister`, when the handle is signalled, or at once if it is |
/// | [one-shot](Interest::oneshot) | the same |
/// | [level](Interest::level) | one in every poll, as long as the handle is signalled; see [Delay](#delay) |
///
/// # Objects that a wait changes
///
/// Waiting consumes the signal of some objects: it resets an auto-reset event or timer, and takes one from the
/// count of a semaphore. A registration waits, so each of its readable events has consumed one signal. Do not wait
/// for the object again after the event. A level-triggered registration reports a semaphore as often as its
/// count says.
///
/// A registration may have consumed one signal that it has not reported yet. After `deregister`, the next
/// registration of the same `WaitHandle` reports that signal, even if the object is no longer signalled.
/// Dropping the `WaitHandle` loses the signal, and so does [`into_inner`](WaitHandle::into_inner).
///
/// A mutex cannot be watched, because the waiting thread would own it.
///
/// # Delay
///
/// If the handle is signalled when it is registered, the next poll reports it, even with timeout zero. A later
/// signal passes through a thread of the system's pool first. So a poll with timeout zero that follows the
/// signal at once may miss it, and a later poll reports it.
///
/// # Errors
///
/// `register` and `reregister` fail with
///
/// - [`InvalidInput`](io::ErrorKind::InvalidInput) if the interests do not contain `READABLE`, or if the object
///   is a mutex;
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the handle lacks the right `SYNCHRONIZE`;
/// - the error of
///   [WaitForSingleObject](https://learn.microsoft.com/en-us/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject)
///   if the object cannot be waited for;
/// - the errors of every other source.
///
/// A `register` that fails registers nothing. The handle stays as it was.
///
/// # Cost
///
/// The first `register` allocates a wait in the system's thread pool, where one thread waits for many handles.
/// After that, `register` and `reregister` make at most one system call if the handle is signalled, and two if
/// not; another one if a thread waits in `poll`. A signal costs a callback on a thread of the pool, and a packet on the poll's port.
///
/// # Examples
///
/// The exit of a child process:
///
/// ```
/// use std::os::windows::io::AsHandle;
/// use std::process::Command;
///
/// use mio::windows::WaitHandle;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
///
/// let mut child = Command::new("cmd").args(["/c", "exit 7"]).spawn()?;
/// // A duplicate: `child` owns the other one.
/// let mut exit = WaitHandle::new(child.as_handle().try_clone_to_owned()?);
/// poll.registry().register(&mut exit, Token(0), Interest::READABLE)?;
///
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().token(), Token(0));
/// let status = child.try_wait()?.expect("the child has exited");
/// assert_eq!(status.code(), Some(7));
/// # Ok(())
/// # }
/// ```
///
/// The end of a thread:
///
/// ```
/// use std::os::windows::io::AsHandle;
/// use std::thread;
///
/// use mio::windows::WaitHandle;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
///
/// let thread = thread::spawn(|| 6 * 7);
/// let mut end = WaitHandle::new(thread.as_handle().try_clone_to_owned()?);
/// poll.registry().register(&mut end, Token(0), Interest::READABLE)?;
/// poll.poll(&mut events, None)?;
/// assert_eq!(thread.join().unwrap(), 42);
/// # Ok(())
/// # }
/// ```
pub struct WaitHandle {
    inner: wait_handle::WaitHandle,
}

impl WaitHandle {
    /// Takes over a handle. Whether it can be watched is known when it is registered.
    ///
    /// ```
    /// use std::os::windows::io::AsHandle;
    ///
    /// use mio::windows::WaitHandle;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let thread = std::thread::spawn(|| ());
    /// let end = WaitHandle::new(thread.as_handle().try_clone_to_owned()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(handle: OwnedHandle) -> WaitHandle {
        WaitHandle {
            inner: wait_handle::WaitHandle::new(handle),
        }
    }

    /// Ends the registration, if there is one, and returns the handle.
    ///
    /// ```
    /// use std::os::windows::io::AsHandle;
    ///
    /// use mio::windows::WaitHandle;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let thread = std::thread::spawn(|| ());
    /// let end = WaitHandle::new(thread.as_handle().try_clone_to_owned()?);
    /// let handle = end.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> OwnedHandle {
        self.inner.into_handle()
    }
}

impl Source for WaitHandle {
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

impl AsHandle for WaitHandle {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.inner.handle()
    }
}

impl AsRawHandle for WaitHandle {
    fn as_raw_handle(&self) -> RawHandle {
        self.inner.handle().as_raw_handle()
    }
}

impl From<OwnedHandle> for WaitHandle {
    /// Like [`new`](WaitHandle::new).
    fn from(handle: OwnedHandle) -> WaitHandle {
        WaitHandle::new(handle)
    }
}

impl From<WaitHandle> for OwnedHandle {
    /// Like [`into_inner`](WaitHandle::into_inner).
    fn from(handle: WaitHandle) -> OwnedHandle {
        handle.into_inner()
    }
}

impl fmt::Debug for WaitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
