//! The exit of a child process as a source.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Weak};

use crate::event::Source;

use crate::sys::selector::ExitWatch;
use crate::sys::{child, pipe, Mistake, Queue};
use crate::{Backend, Interest, IoSource, Registry, Token};

/// The exit of a child process. It becomes readable when the child has exited.
///
/// It only watches: it does not reap the child, sends no signal and installs no signal handler. After
/// its event, [`Child::try_wait`] returns the child's status, and reaps it.
///
/// Register it for [`READABLE`](Interest::READABLE). The event is readable, and may be read-closed as
/// well. The exit is reported at least once after each `register` and `reregister`, also if the child had
/// exited before; a later event is possible, for example when the child is reaped.
///
/// # Platform differences
///
/// - Linux from 5.3 on, with epoll and poll(2):
///   [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html).
/// - The BSDs and Apple's systems, with kqueue: `EVFILT_PROC` of
///   [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?kqueue). Of several `ChildExit`s of one child in
///   one poll, the one that was registered last is reported. [Modes](Interest#modes) change nothing there: it
///   is reported once for each `register` and `reregister`.
/// - Not on illumos, Solaris and Android, nor on poll(2) where there is kqueue. The
///   [guide](crate::guide::children) shows the way by the signal SIGCHLD.
///
/// On Windows a child's handle can be waited for, with `windows::WaitHandle`.
///
/// # Errors
///
/// [`new`](ChildExit::new) has its own. `register` and `reregister` fail with
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if the interests do not contain `READABLE`, with
/// [`Unsupported`](io::ErrorKind::Unsupported) if the poll's backend cannot watch processes, and like those
/// of every other source.
///
/// # Cost
///
/// On Linux a descriptor and two system calls for `new`, and the calls of any other source. On kqueue one
/// call for `new`, one for `register` and one for `deregister` or dropping; a child that exits before it is
/// registered takes a descriptor.
///
/// # Examples
///
/// ```
/// use std::process::Command;
///
/// use mio::unix::ChildExit;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
///
/// let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn()?;
/// # if matches!(ChildExit::new(&child), Err(error) if error.kind() == std::io::ErrorKind::Unsupported) {
/// #     return Ok(());
/// # }
/// let mut exit = ChildExit::new(&child)?;
/// # let registered = poll.registry().register(&mut exit, Token(0), Interest::READABLE);
/// # if matches!(registered, Err(error) if error.kind() == std::io::ErrorKind::Unsupported) {
/// #     return Ok(());
/// # }
/// # poll.registry().deregister(&mut exit)?;
/// poll.registry().register(&mut exit, Token(0), Interest::READABLE)?;
///
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().token(), Token(0));
/// let status = child.try_wait()?.expect("the child has exited");
/// assert_eq!(status.code(), Some(7));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChildExit {
    pid: libc::pid_t,
    /// What is registered in place of the process: a descriptor of it, or a pipe without senders, which is
    /// readable like a process that has exited.
    stand_in: Option<IoSource<OwnedFd>>,
    /// The registration of the process itself.
    watch: Option<(Weak<Queue>, ExitWatch)>,
}

impl ChildExit {
    /// Watches for the exit of `child`, which may have exited already.
    ///
    /// The number of a child that was waited for may belong to another child of this process by now. If it
    /// does, that one is watched.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): the child was waited for; or the process ignores
    ///   SIGCHLD, so that the system reaps its children.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the system cannot watch a process, or a sandbox
    ///   refuses it. The child is left alone.
    /// - On Linux those of `pidfd_open`, when no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::process::Command;
    ///
    /// use mio::unix::ChildExit;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut child = Command::new("true").spawn()?;
    /// child.wait()?;
    /// let error = ChildExit::new(&child).unwrap_err();
    /// # if error.kind() == ErrorKind::Unsupported {
    /// #     return Ok(());
    /// # }
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn new(child: &Child) -> io::Result<ChildExit> {
        let pid = child.id() as libc::pid_t;
        child::exists(pid)?;
        Ok(ChildExit {
            pid,
            stand_in: child::exit_fd(pid)?.map(IoSource::new),
            watch: None,
        })
    }

    /// Begins a watch of the process itself, or replaces it. If the process has exited, something that is
    /// readable stands in for it from now on, and has to be registered.
    #[inline]
    fn watch(&mut self, queue: &Arc<Queue>, token: Token) -> io::Result<()> {
        match queue.watch_exit(self.pid, token) {
            Ok(watch) => {
                if !self.is_watched_by(queue) {
                    queue.counters().registrations.add(1);
                }
                self.watch = Some((Arc::downgrade(queue), watch));
            }
            // Not every kernel watches a process that has exited.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                if self.is_watched_by(queue) {
                    queue.counters().registrations.subtract_one();
                }
                self.watch = None;
                self.stand_in = Some(exited(self.pid)?);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    #[inline]
    fn is_watched_by(&self, queue: &Arc<Queue>) -> bool {
        let known = self.watch.as_ref();
        known.is_some_and(|(known, _)| known.as_ptr() == Arc::as_ptr(queue))
    }

    #[inline]
    fn is_watched(&self) -> bool {
        let known = self.watch.as_ref();
        known.is_some_and(|(known, _)| known.strong_count() > 0)
    }

    #[inline]
    fn end_watch(&mut self) {
        if let Some((queue, watch)) = self.watch.take() {
            if let Some(queue) = queue.upgrade() {
                queue.counters().registrations.subtract_one();
                queue.end_exit_watch(self.pid, watch);
            }
        }
    }
}

/// The end of a pipe without senders: readable, like a process that has exited. Waits until the process
/// can be waited for, because the kernel may forget it a moment earlier.
#[cold]
#[inline]
fn exited(pid: libc::pid_t) -> io::Result<IoSource<OwnedFd>> {
    child::until_exit(pid)?;
    let (receiver, _) = pipe::pipe()?;
    Ok(IoSource::new(receiver.into()))
}

/// The interests without those that a process never fulfils. A kqueue reports a process once, so without
/// modes what stands in for it is reported once, too.
#[inline]
fn readable(registry: &Registry, interests: Interest) -> io::Result<Interest> {
    let readable = interests.remove(Interest::WRITABLE);
    let Some(readable) = readable.filter(|readable| readable.is_readable()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok(match registry.queue().backend() {
        Backend::Kqueue => readable.without_modes(),
        _ => readable,
    })
}

impl Source for ChildExit {
    #[inline]
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let interests = readable(registry, interests)?;
        if self.is_watched() {
            return Err(Mistake::AlreadyRegistered.into());
        }
        if self.stand_in.is_none() {
            self.watch(registry.queue(), token)?;
        }
        match &mut self.stand_in {
            Some(stand_in) => stand_in.register(registry, token, interests),
            None => Ok(()),
        }
    }

    #[inline]
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let interests = readable(registry, interests)?;
        if let Some(stand_in) = &mut self.stand_in {
            return stand_in.reregister(registry, token, interests);
        }
        if !self.is_watched_by(registry.queue()) {
            return Err(Mistake::NotRegistered.into());
        }
        self.watch(registry.queue(), token)?;
        match &mut self.stand_in {
            // It exited in the meantime.
            Some(stand_in) => stand_in.register(registry, token, interests),
            None => Ok(()),
        }
    }

    #[inline]
    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        if let Some(stand_in) = &mut self.stand_in {
            return stand_in.deregister(registry);
        }
        if !self.is_watched_by(registry.queue()) {
            return Err(Mistake::NotRegistered.into());
        }
        self.end_watch();
        Ok(())
    }
}

impl Drop for ChildExit {
    #[inline]
    fn drop(&mut self) {
        self.end_watch();
    }
}
