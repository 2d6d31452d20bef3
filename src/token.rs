//! The number that a program gives to a registration.

/// A program's name for a registration. The program chooses it when it registers an event source,
/// and gets it back with each of the source's events.
///
/// The number has no meaning to this crate. It passes through the operating
/// system bit for bit (as `epoll_event.u64` on epoll). No value is reserved,
/// and two registrations may have the same token. Programs
/// commonly use an index into a table of connections, or an address.
///
/// # Examples
///
/// A token finds the connection that an event belongs to:
///
/// ```
/// use std::collections::HashMap;
/// use std::io::Write;
///
/// use mio::net::{TcpListener, TcpStream};
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(16);
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///
/// let mut clients = HashMap::new();
/// for n in 0..3 {
///     let mut stream = TcpStream::connect(listener.local_addr()?)?;
///     poll.registry().register(&mut stream, Token(n), Interest::WRITABLE)?;
///     clients.insert(Token(n), stream);
/// }
///
/// let mut greeted = 0;
/// while greeted < 3 {
///     poll.poll(&mut events, None)?;
///     for event in &events {
///         // Events may be spurious, so a token that is no longer in the table is no error.
///         if let Some(mut stream) = clients.remove(&event.token()) {
///             stream.write_all(b"hello")?;
///             greeted += 1;
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub usize);

impl From<Token> for usize {
    #[inline]
    fn from(token: Token) -> usize {
        token.0
    }
}
