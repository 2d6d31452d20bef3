//! A borrowed descriptor as a source.

use std::io;
use std::os::fd::RawFd;

use crate::event::Source;
use crate::sys::{Key, Owner};
use crate::{Interest, Registry, Token};

/// Registers a raw descriptor that somebody else owns.
///
/// It is made for one call of [`Registry`] and remembers nothing. Whoever owns
/// the descriptor sets it to non-blocking, and deregisters it before closing it
/// where copies of it (`dup`, a forked child) stay open: on epoll the registration
/// belongs to what the descriptor refers to, and lives as long as that. (On kqueue a
/// pipe without receivers, closed before the next poll and not deregistered, is still
/// reported.)
///
/// # poll(2) and event ports
///
/// These backends cannot see that a descriptor was drained, and nobody tells them.
/// They report one that is still ready again, by the next poll, and then after
/// pauses that double from 1 ms to 64 ms, until it is seen drained. So nothing is
/// lost: what comes after the descriptor was drained *while* a poll waits, or was
/// drained and filled again before the next poll, is reported up to 64 ms late; and
/// one that is always ready causes about 16 events a second. A program that wants
/// exact edges there uses an [`IoSource`](crate::IoSource).
///
/// A descriptor that is registered again replaces the old registration, since its
/// number may have been closed and handed out again in between.
///
/// # Errors
///
/// EBADF where the descriptor is not open (not on poll(2), which reports that by an
/// event), and on epoll EPERM
/// ([`PermissionDenied`](io::ErrorKind::PermissionDenied)) for files and
/// directories, which are always ready. [`Registry::register`] has them all.
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
        queue.register(*self.0, token, interests, Owner::Nobody)?;
        Ok(())
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let queue = registry.queue();
        queue.reregister(*self.0, Key::NONE, token, interests)?;
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.queue().deregister(*self.0, Key::NONE)
    }
}
