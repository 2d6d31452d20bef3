//! A raw descriptor as a source.

use std::io;
use std::os::fd::RawFd;

use crate::event::Source;
use crate::sys::selector::{Key, Owner};
use crate::{Interest, Registry, Token};

/// Registers a raw descriptor that other code owns.
///
/// A `SourceFd` is made for one call of [`Registry`] and stores nothing. The owner of the
/// descriptor sets it to non-blocking. If copies of the descriptor (`dup`, a forked child) stay
/// open, the owner deregisters it before closing it: on epoll the registration belongs to the
/// object behind the descriptor, and lasts as long as that object. (On kqueue, a pipe without
/// receivers that is closed before the next poll, and not deregistered, is still reported.)
///
/// # poll(2) and event ports
///
/// These backends cannot see that a raw descriptor was drained, so they report it with back-off:
/// once, again by the next poll if it is still ready, and then after pauses that double from 1 ms
/// to 64 ms, until a probe finds it drained. No event is lost, and anything new (another direction,
/// an error, the end) is reported at once. But:
///
/// - Readiness that begins after the descriptor was drained *while* a poll waits, or was drained
///   and filled again before the next poll, is reported up to 64 ms late.
/// - A descriptor that hung up in both directions is probed once a second, so a new connection on
///   the same descriptor is reported up to one second late.
/// - A descriptor that is always ready causes at most 30 events in the first second and 17 in each
///   later second, whatever the program does in response.
///
/// So a writable descriptor that is registered for writing wakes an idle process on poll(2) some 15
/// times a second, and 2,000 of them take 4.8 % of a processor. Descriptors that are registered for
/// reading only cost nothing measurable. (`cargo xtask bench --idle` measures this;
/// `docs/EVENTS.md` has the table.) Register for writing only while data waits to be written.
///
/// An [`IoSource`](crate::IoSource) has none of these delays, if all I/O on it goes through
/// [`do_io`](crate::IoSource::do_io).
///
/// Registering a descriptor again replaces its registration, because the descriptor may have been
/// closed and reused in between.
///
/// # Errors
///
/// EBADF if the descriptor is not open (on poll(2) an event reports that instead). On epoll, EPERM
/// ([`PermissionDenied`](io::ErrorKind::PermissionDenied)) for files and directories, which are
/// always ready. [`Registry::register`] lists all errors.
///
/// # Examples
///
/// ```
/// use std::net::TcpListener;
/// use std::os::fd::AsRawFd;
///
/// use mio::unix::SourceFd;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// listener.set_nonblocking(true)?;
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let fd = listener.as_raw_fd();
/// poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE)?;
///
/// let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().token(), Token(0));
/// listener.accept()?;
///
/// poll.registry().deregister(&mut SourceFd(&fd))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SourceFd<'a>(pub &'a RawFd);

impl Source for SourceFd<'_> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let queue = registry.queue();
        queue.register(*self.0, token, interests, Owner::RawFd)?;
        queue.counters().registrations.add(1);
        Ok(())
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let queue = registry.queue();
        queue.reregister_raw(*self.0, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        let queue = registry.queue();
        queue.deregister(*self.0, Key::NONE)?;
        queue.counters().registrations.subtract_one();
        Ok(())
    }
}
