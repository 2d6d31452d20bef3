//! The queue of a poll: one of the system's backends, chosen when the queue is opened, and the dispatch to
//! it.

use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

#[cfg(all(windows, feature = "os-ext"))]
use super::afd::named_pipe::{Pipe, PipeQueue, Pipes};
#[cfg(all(windows, feature = "os-ext"))]
use super::afd::wait_handle::{Wait, WaitQueue};
#[cfg(all(windows, feature = "os-ext"))]
use super::afd::{Afd, Port};
#[cfg(unix)]
use super::platform::replaced;
use super::queues;
#[cfg(all(unix, feature = "os-ext"))]
use super::selector::ExitWatch;
use super::selector::{EventBuffer, Key, Outcome, Owner, RawSource, Selector, UserEvent};
#[cfg(unix)]
use super::wake_fd::UnreadSignals;
use crate::pending::PendingWakes;
#[cfg(all(windows, feature = "os-ext"))]
use crate::stats::Counter;
use crate::stats::Counters;
#[cfg(feature = "stats")]
use crate::stats::Stats;
use crate::{Backend, Interest, Token};

impl Backend {
    /// The backends of this system, the best first; empty without the feature
    /// `os-poll`.
    ///
    /// The process may not be allowed to use every backend in the list: if a sandbox
    /// forbids a backend's system calls,
    /// [`Poll::with_backend`](crate::Poll::with_backend) returns the error.
    ///
    /// ```
    /// use mio::Backend;
    ///
    /// println!("the best first: {:?}", Backend::available());
    /// assert_eq!(Backend::available()[0], Backend::default());
    /// ```
    pub fn available() -> &'static [Backend] {
        BACKENDS
    }
}

/// The best backend of this system, which [`Poll::new`](crate::Poll::new) opens. (On Unix it is poll(2)
/// if the crate is built with `--cfg mio_unsupported_force_poll_poll`.)
#[cfg(feature = "os-poll")]
#[cfg_attr(docsrs, doc(cfg(feature = "os-poll")))]
impl Default for Backend {
    fn default() -> Backend {
        BACKENDS[0]
    }
}

/// The backends of this system, the default one first.
const BACKENDS: &[Backend] = &match cfg!(mio_unsupported_force_poll_poll) {
    true => with_poll_first(queues::BEST_FIRST),
    false => queues::BEST_FIRST,
};

/// Moves the last one, which is poll(2) on Unix, to the front.
const fn with_poll_first<const N: usize>(best_first: [Backend; N]) -> [Backend; N] {
    let mut order = best_first;
    let mut index = 1;
    while index < N {
        order[index] = best_first[index - 1];
        order[0] = best_first[index];
        index += 1;
    }
    order
}

/// An event queue: a backend, and the wake-ups that are pending on it. A `Poll` and
/// the clones of its `Registry` share one.
pub(crate) struct Queue {
    backend: AnySelector,
    wakes: Arc<PendingWakes>,
    counters: Counters,
}

#[repr(u8)] // a separate tag: one comparison finds the backend
#[allow(clippy::large_enum_variant)] // a queue lies in an `Arc`, and a program has few
enum AnySelector {
    Epoll(queues::Epoll),
    #[cfg_attr(windows, allow(dead_code))] // nothing opens one
    ReplacedEpoll(queues::ReplacedEpoll),
    Kqueue(queues::Kqueue),
    EventPorts(queues::EventPorts),
    Afd(queues::Afd),
    Poll(queues::Poll),
}

/// Calls a method of a queue's backend.
macro_rules! dispatch {
    ($queue:expr, $method:ident($($argument:expr),*)) => {
        match &$queue.backend {
            AnySelector::Epoll(selector) => selector.$method($($argument),*),
            AnySelector::ReplacedEpoll(selector) => selector.$method($($argument),*),
            AnySelector::Kqueue(selector) => selector.$method($($argument),*),
            AnySelector::EventPorts(selector) => selector.$method($($argument),*),
            AnySelector::Afd(selector) => selector.$method($($argument),*),
            AnySelector::Poll(selector) => selector.$method($($argument),*),
        }
    };
}

impl Queue {
    pub(crate) fn open(backend: Backend) -> io::Result<Queue> {
        if !BACKENDS.contains(&backend) {
            return Err(unsupported(backend));
        }
        // Before the backend, which takes much code to drop if a later step fails.
        let wakes = Arc::new(PendingWakes::new());
        let opened = match backend {
            #[cfg(unix)]
            Backend::Epoll if replaced::is_replaced() => {
                AnySelector::ReplacedEpoll(Selector::open()?)
            }
            Backend::Epoll => AnySelector::Epoll(Selector::open()?),
            Backend::Kqueue => AnySelector::Kqueue(Selector::open()?),
            Backend::EventPorts => AnySelector::EventPorts(Selector::open()?),
            Backend::Afd => AnySelector::Afd(Selector::open()?),
            Backend::Poll => AnySelector::Poll(Selector::open()?),
        };
        Ok(Queue {
            backend: opened,
            wakes,
            counters: Counters::default(),
        })
    }

    pub(crate) fn backend(&self) -> Backend {
        match &self.backend {
            AnySelector::Epoll(_) | AnySelector::ReplacedEpoll(_) => Backend::Epoll,
            AnySelector::Kqueue(_) => Backend::Kqueue,
            AnySelector::EventPorts(_) => Backend::EventPorts,
            AnySelector::Afd(_) => Backend::Afd,
            AnySelector::Poll(_) => Backend::Poll,
        }
    }

    // Always: the arm for epoll is short, but the other arms make the function look long.
    #[inline(always)]
    pub(crate) fn select(
        &self,
        events: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if let Err(error) = dispatch!(self, select(events, timeout)) {
            return Err(self.select_failed(error));
        }
        // A wake from now on belongs to the next call.
        self.wakes.take();
        self.counters.polled(events.events().len());
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn select_failed(&self, error: io::Error) -> io::Error {
        // Whatever the failed call has retrieved, a wake from now on sends its signal.
        self.wakes.take();
        self.counters.poll_failed(&error);
        error
    }

    #[inline]
    pub(crate) fn register(
        &self,
        source: RawSource,
        token: Token,
        interest: Interest,
        owner: Owner,
    ) -> io::Result<Key> {
        dispatch!(self, register(source, token, interest, owner))
    }

    #[inline]
    pub(crate) fn reregister(
        &self,
        source: RawSource,
        key: Key,
        token: Token,
        interest: Interest,
    ) -> io::Result<Key> {
        dispatch!(self, reregister(source, key, token, interest))
    }

    #[cfg(all(unix, feature = "os-ext"))]
    #[inline]
    pub(crate) fn reregister_raw(
        &self,
        fd: RawSource,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        dispatch!(self, reregister_raw(fd, token, interest))
    }

    #[inline]
    pub(crate) fn deregister(&self, source: RawSource, key: Key) -> io::Result<()> {
        dispatch!(self, deregister(source, key))
    }

    pub(super) fn open_user_event(&self, token: Token) -> io::Result<Option<UserEvent>> {
        let event = dispatch!(self, open_user_event(token))?;
        if event.is_some() {
            self.counters.registrations.add(1);
        }
        Ok(event)
    }

    pub(super) fn trigger(&self, event: UserEvent) -> io::Result<()> {
        dispatch!(self, trigger(event))
    }

    pub(super) fn close_user_event(&self, event: UserEvent) {
        self.counters.registrations.subtract_one();
        dispatch!(self, close_user_event(event))
    }

    #[cfg(all(unix, feature = "os-ext"))]
    pub(crate) fn watch_exit(&self, pid: libc::pid_t, token: Token) -> io::Result<ExitWatch> {
        dispatch!(self, watch_exit(pid, token))
    }

    #[cfg(all(unix, feature = "os-ext"))]
    pub(crate) fn end_exit_watch(&self, pid: libc::pid_t, watch: ExitWatch) {
        dispatch!(self, end_exit_watch(pid, watch))
    }

    pub(super) fn after_io(&self, key: Key, outcome: Outcome) {
        dispatch!(self, after_io(key, outcome))
    }

    pub(super) fn release(&self, key: Key) {
        dispatch!(self, release(key))
    }

    pub(super) fn registered(&self, key: Key) -> Option<(Token, Interest)> {
        dispatch!(self, registered(key))
    }

    #[cfg(all(windows, feature = "os-ext"))]
    pub(super) fn afd(&self) -> Option<&Afd> {
        match &self.backend {
            AnySelector::Afd(selector) => Some(selector),
            _ => None,
        }
    }

    /// The wake-ups pending on this queue. Wakers share them, and may outlive the
    /// queue; they then wake no thread.
    pub(crate) fn wakes(&self) -> &Arc<PendingWakes> {
        &self.wakes
    }

    /// What this queue counts. A source counts its own registrations.
    #[inline]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    #[cfg(feature = "stats")]
    pub(crate) fn stats(&self) -> Stats {
        let rearming = dispatch!(self, rearm_counters());
        Stats {
            backend: self.backend(),
            polls: self.counters.polls.get(),
            interrupted_polls: self.counters.interrupted_polls.get(),
            events: self.counters.events.get(),
            wakes_sent: self.wakes.sent.get(),
            wakes_coalesced: self.wakes.coalesced.get(),
            registrations: self.counters.registrations.get(),
            probes: rearming.map(|counters| counters.probes.get()),
            interrupts: rearming.map(|counters| counters.interrupts.get()),
        }
    }

    #[cfg(unix)]
    pub(super) fn unread_signals(&self) -> Option<&Arc<UnreadSignals>> {
        dispatch!(self, unread_signals())
    }

    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        dispatch!(self, as_fd())
    }
}

#[cfg(all(windows, feature = "os-ext"))]
impl PipeQueue for Queue {
    fn pipes(&self) -> Option<&Arc<Pipes>> {
        self.afd().map(Afd::pipes)
    }

    fn reserve_ready_list(&self) {
        if let Some(afd) = self.afd() {
            afd.reserve_ready_list();
        }
    }

    fn notice(&self, pipe: &Arc<Pipe>) {
        if let Some(afd) = self.afd() {
            afd.notice(pipe);
        }
    }

    fn registrations(&self) -> &Counter {
        &self.counters.registrations
    }
}

#[cfg(all(windows, feature = "os-ext"))]
impl WaitQueue for Queue {
    fn port(&self) -> Option<&Arc<Port>> {
        self.afd().map(Afd::port)
    }

    fn begin_wait(&self) {
        self.counters.registrations.add(1);
        if let Some(afd) = self.afd() {
            afd.begin_wait();
        }
    }

    fn notice(&self, wait: &Arc<Wait>, registration: u32) {
        if let Some(afd) = self.afd() {
            afd.notice_wait(wait, registration);
        }
    }

    fn end_wait(&self, wait: &Arc<Wait>, is_listed: bool) {
        self.counters.registrations.subtract_one();
        if let Some(afd) = self.afd() {
            afd.end_wait(wait, is_listed);
        }
    }
}

fn unsupported(backend: Backend) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the {backend} backend is not available on this system"),
    )
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    /// What `--cfg mio_unsupported_force_poll_poll` makes of the backends.
    #[test]
    fn poll2_is_moved_to_the_front_and_the_others_keep_their_order() {
        use Backend::{Afd, Epoll, EventPorts, Poll};

        let moved = with_poll_first([Epoll, EventPorts, Poll]);
        assert_eq!(moved, [Poll, Epoll, EventPorts]);
        assert_eq!(with_poll_first([Epoll, Poll]), [Poll, Epoll]);
        assert_eq!(with_poll_first([Poll]), [Poll]);
        assert_eq!(with_poll_first([]), []);
        // Windows has no poll(2).
        assert_eq!(with_poll_first([Afd]), [Afd]);
    }
}
