//! The trait of everything that can be registered.

use std::io;

use crate::{Interest, Registry, Token};

/// Something whose readiness a [`Poll`](crate::Poll) can watch.
///
/// Programs do not call these methods; they pass a source to
/// [`Registry::register`], [`Registry::reregister`] and
/// [`Registry::deregister`], which call them.
///
/// If a source shares its descriptor with others (a `dup`, a child process), deregister it *before*
/// it is dropped: the operating system continues to report it while any copy of the descriptor is
/// open.
///
/// # Implementing it
///
/// Forward each method to an inner source: a socket of [`net`](crate::net), an
/// [`IoSource`](crate::IoSource), or a `SourceFd` around a raw descriptor. A source with several
/// inner sources registers all or none: the [guide](crate::guide::sources) has an example. Nothing
/// else is needed: the inner source reports to the backend that it was drained. Pass `interests` on as they
/// are: a constant in their place would drop their [modes](Interest#modes).
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
    /// Registers this source with the registry's poll, for `interests` and with `token`. See
    /// [`Registry::register`] for its guarantees.
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

    /// Replaces the token and the interests of the registration. See [`Registry::reregister`] for
    /// its guarantees.
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

    /// Ends the registration. See [`Registry::deregister`] for its guarantees.
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
