//! The trait of everything that can be registered.

use std::io;

use crate::{Interest, Registry, Token};

/// Something whose readiness a [`Poll`](crate::Poll) can watch.
///
/// Programs do not call these methods; they pass a source to
/// [`Registry::register`], [`Registry::reregister`] and
/// [`Registry::deregister`], which call them.
///
/// A source that shares its descriptor with others (a `dup`, a child process)
/// must be deregistered *before* it is dropped, because the operating system
/// goes on reporting it while any copy of the descriptor is open.
///
/// # Implementing it
///
/// Hand each method on to a source inside: a socket of [`net`](crate::net), an
/// [`IoSource`](crate::IoSource), or a `SourceFd`
/// around a raw descriptor. One with several sources inside registers all or none: the
/// [guide](crate::guide::sources) has one. There is nothing else to be
/// told: where a backend has to learn that a source was drained, the source inside does
/// that.
///
/// ```
/// use std::io;
///
/// use mio::event::Source;
/// use mio::net::UdpSocket;
/// use mio::{Interest, Registry, Token};
///
/// pub struct Heartbeat {
///     socket: UdpSocket,
///     missed: u32,
/// }
///
/// impl Source for Heartbeat {
///     fn register(
///         &mut self,
///         registry: &Registry,
///         token: Token,
///         interests: Interest,
///     ) -> io::Result<()> {
///         self.socket.register(registry, token, interests)
///     }
///
///     fn reregister(
///         &mut self,
///         registry: &Registry,
///         token: Token,
///         interests: Interest,
///     ) -> io::Result<()> {
///         self.socket.reregister(registry, token, interests)
///     }
///
///     fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
///         self.socket.deregister(registry)
///     }
/// }
/// ```
pub trait Source {
    /// Begins to report `interests` of this source to the registry's poll,
    /// under `token`. See [`Registry::register`] for what it promises.
    ///
    /// ```
    /// use mio::event::Source;
    /// use mio::net::UdpSocket;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let registry = poll.registry();
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// // `registry.register(&mut socket, …)` calls this.
    /// socket.register(registry, Token(0), Interest::READABLE)?;
    /// # Ok(())
    /// # }
    /// ```
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Replaces token and interests of the registration. See
    /// [`Registry::reregister`] for what it promises.
    ///
    /// ```
    /// use mio::event::Source;
    /// use mio::net::UdpSocket;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let registry = poll.registry();
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// socket.register(registry, Token(0), Interest::READABLE)?;
    /// // `registry.reregister(&mut socket, …)` calls this.
    /// socket.reregister(registry, Token(1), Interest::READABLE | Interest::WRITABLE)?;
    /// # Ok(())
    /// # }
    /// ```
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Ends the registration. See [`Registry::deregister`] for what it
    /// promises.
    ///
    /// ```
    /// use mio::event::Source;
    /// use mio::net::UdpSocket;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let registry = poll.registry();
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// socket.register(registry, Token(0), Interest::READABLE)?;
    /// // `registry.deregister(&mut socket)` calls this.
    /// socket.deregister(registry)?;
    /// # Ok(())
    /// # }
    /// ```
    fn deregister(&mut self, registry: &Registry) -> io::Result<()>;
}

impl<T> Source for Box<T>
where
    T: Source + ?Sized,
{
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        (**self).deregister(registry)
    }
}
