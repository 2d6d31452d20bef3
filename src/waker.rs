//! Ending a wait from another thread.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::pending::{Bit, PendingWakes};
use crate::sys::Wake;
use crate::{Registry, Token};

/// Wakes a thread that waits in [`Poll::poll`](crate::Poll::poll), from any
/// thread.
///
/// [`wake`](Waker::wake) makes the poll report a readable event with the
/// waker's token. If no thread waits yet, the next poll returns at
/// once. Wake-ups coalesce: several before the poll returns give one event.
/// A poll may have any number of wakers, each with its own token.
///
/// What the waking thread did before `wake` (a message put into a queue) is
/// visible to the poll that reports it. A wake-up may be reported twice, so the
/// woken thread has to check whether there is something to do.
///
/// The polling thread may wake its own poll, whose next call then returns at once. For example, a
/// thread that has taken only some of its messages wakes itself for the rest.
///
/// **The waker must outlive its last wake-up**: dropping it discards a wake-up that no poll has
/// reported yet. If a thread owns a waker, wakes and ends, that wake-up may be lost. So share the
/// waker in an `Arc`, and keep a clone of the `Arc` with the poll. Waking after the *poll* was
/// dropped does nothing, and is not an error.
///
/// # Cost
///
/// On epoll and poll(2) a waker has a descriptor of its own: an eventfd, or the two of a pipe where
/// the system has no eventfd or refuses it. It stays open while the waker lives. `Waker::new` makes
/// two system calls on epoll and one on poll(2). On kqueue a waker is a user event, which one call
/// creates and another deletes. It is a pipe if the kernel has no user events, or cannot create
/// another one. On event ports and Windows it is only a number.
///
/// # Limits
///
/// - A thread that is suspended in the middle of `wake` delays the wake-ups of other threads that
///   coalesce with it. If its `wake` then fails, their wake-ups are lost, although their `wake` has
///   returned `Ok`.
/// - Only the first 64 wakers of a poll (32 on 32-bit systems) coalesce. Each wake of a further one
///   calls the kernel.
/// - While other code takes events from the poll's raw descriptor, and does not call `Poll::poll`,
///   `wake` may do nothing.
/// - On event ports and Windows `wake` takes a lock, which the thread that a signal handler
///   interrupted may hold, so do not wake from a signal handler there. On kqueue, do not wake from
///   one while the poll may be dropped: the handler could release the last reference to the queue,
///   and free memory.
/// - A forked child must not use a waker that it inherited. It may drop it.
///
/// # Examples
///
/// ```
/// use std::sync::{mpsc, Arc};
/// use std::thread;
///
/// use mio::{Events, Poll, Token, Waker};
///
/// const WAKE: Token = Token(10);
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
/// let (sender, messages) = mpsc::channel();
///
/// let worker = thread::spawn({
///     let waker = Arc::clone(&waker);
///     move || {
///         for n in 0..100 {
///             sender.send(n).unwrap();
///             waker.wake().expect("can wake");
///         }
///     }
/// });
///
/// let mut received = 0;
/// while received < 100 {
///     poll.poll(&mut events, None)?;
///     for event in &events {
///         assert_eq!(event.token(), WAKE);
///         // All the messages: one event stands for any number of wake-ups.
///         received += messages.try_iter().count();
///     }
/// }
/// worker.join().unwrap();
/// # Ok(())
/// # }
/// ```
pub struct Waker {
    wakes: Arc<PendingWakes>,
    /// This waker's bit in `wakes`, if one was left.
    bit: Option<Bit>,
    wake: Wake,
}

impl Waker {
    /// A waker of the registry's poll.
    ///
    /// # Errors
    ///
    /// Those of the system, if no descriptor is left or a limit is reached. On Linux they are those
    /// of [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html) and
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html). On event ports there
    /// are none.
    ///
    /// ```
    /// use mio::{Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let waker = Waker::new(poll.registry(), Token(0))?;
    /// let another = Waker::new(poll.registry(), Token(1))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(registry: &Registry, token: Token) -> io::Result<Waker> {
        let queue = registry.queue();
        let wake = Wake::new(queue, token)?;
        let wakes = Arc::clone(queue.wakes());
        let bit = wakes.claim();
        Ok(Waker { wakes, bit, wake })
    }

    /// Makes the poll that waits now, or else the next one, report an event
    /// with this waker's token, for which
    /// [`is_readable`](crate::event::Event::is_readable) holds.
    ///
    /// # Errors
    ///
    /// None on Linux, because [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
    /// takes every write. On Windows those of
    /// [PostQueuedCompletionStatus](https://learn.microsoft.com/en-us/windows/win32/fileio/postqueuedcompletionstatus),
    /// if the kernel is out of memory. Elsewhere EBADF, but only if the program has closed the
    /// descriptors of the waker or, on kqueue and event ports, of the poll. No limit of a kernel
    /// stops a wake-up, not even a full event port. After an error nothing was woken, and the next
    /// `wake` tries again.
    ///
    /// # Cost
    ///
    /// One atomic operation while a wake-up of this waker is pending. Otherwise one system call,
    /// which event ports and Windows make under a lock that is held no longer than that. `wake`
    /// never allocates, and blocks for no other reason.
    ///
    /// ```
    /// use mio::{Events, Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let waker = Waker::new(poll.registry(), Token(0))?;
    /// waker.wake()?;
    /// poll.poll(&mut events, None)?; // returns at once
    /// assert!(events.iter().any(|event| event.token() == Token(0) && event.is_readable()));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn wake(&self) -> io::Result<()> {
        self.wakes.wake(self.bit, || self.signal())
    }

    // Not inlined, so that a wake that has nothing to do stays short.
    #[cold]
    #[inline(never)]
    fn signal(&self) -> io::Result<()> {
        self.wake.send()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker")
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        if let Some(bit) = self.bit {
            self.wakes.release(bit);
        }
    }
}

#[cfg(all(test, feature = "os-poll", not(mio_loom)))]
mod tests {
    use super::*;
    use crate::Poll;

    /// Wakers that come and go pass their bits on to later ones.
    #[test]
    fn a_dropped_waker_gives_its_bit_back() {
        let poll = Poll::new().unwrap();
        let first = Waker::new(poll.registry(), Token(0)).unwrap();
        for n in 1..1000 {
            let waker = Waker::new(poll.registry(), Token(n)).unwrap();
            waker.wake().unwrap();
            assert!(waker.bit.is_some());
            assert_ne!(waker.bit, first.bit);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_wake_that_failed_is_tried_again() {
        use std::os::fd::AsRawFd;

        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let written_to = match &waker.wake {
            Wake::Descriptor { fd, .. } => fd.written_fd(),
            Wake::UserEvent { .. } => poll.as_raw_fd(),
        };
        // Replaces it by a descriptor that cannot be written to.
        let read_only = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: `dup2` has no memory-safety preconditions. The waker stays the owner of the descriptor,
        // which refers to another file.
        let replaced = unsafe { libc::dup2(read_only.as_raw_fd(), written_to) };
        assert_ne!(replaced, -1);
        for _ in 0..3 {
            // EBADF, or a similar error.
            waker.wake().unwrap_err();
        }
    }
}
