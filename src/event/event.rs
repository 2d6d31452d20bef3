//! An event: a token and the readiness of its source.

use std::fmt;

use crate::event::readiness::Readiness;
use crate::Token;

/// Readiness of one registered source, as [`Poll::poll`] reports it.
///
/// An event is a hint: the source's state may change before the program handles the
/// event, so an operation may still return
/// [`WouldBlock`]. For everything else, such as which error a source
/// has, query the source itself.
///
/// The methods test bits; none of them makes a system call.
///
/// # What is reported when
///
/// The table is for Linux (epoll), and a source that is registered for reading and writing. An
/// event reports everything that is ready at the time, not only what is new. So nearly every event
/// of a stream that is not full is writable as well: `(yes)`. A source that is registered for one
/// direction only is not reported ready for the other. Errors and hang-ups are always reported.
///
/// | happening | readable | writable | read closed | write closed | error |
/// |---|---|---|---|---|---|
/// | data has arrived | yes | (yes) | | | |
/// | a connection to accept has arrived | yes | | | | |
/// | data can be written again; a connect succeeded | | yes | | | |
/// | a connect was refused | yes | yes | yes | yes | yes |
/// | the peer shut down its writing half, or closed a TCP connection cleanly | yes | (yes) | yes | | |
/// | both halves of a TCP stream are shut down | yes | yes | yes | yes | |
/// | the peer reset a TCP connection | yes | yes | yes | yes | yes |
/// | the peer of a Unix stream was closed | yes | yes | yes | yes | with unread data |
/// | a datagram was refused by its destination (UDP) | | yes | | yes | yes |
/// | the last sender of a pipe was closed | with unread data | | yes | yes | |
/// | the last receiver of a pipe was closed | | if not full | | yes | yes |
///
/// **On poll(2) and event ports** the closed and error columns are the same, and so
/// are the others in rows with write closed or error. In the other rows an
/// event reports only armed directions: for example, a stream that was reported writable and has not
/// been full since is not reported writable again. New data on a
/// source that was reported readable, and not read since, is not a new event; its end is
/// one. Event ports may report in several events what happened at once. Where poll(2)
/// does not report the end of a peer's data (`POLLRDHUP` is missing on Apple's systems,
/// NetBSD, OpenBSD, DragonFly and Solaris), a source whose peer shut down its writing half is
/// readable, and reading finds the end.
///
/// **On kqueue** reading and writing have separate events, in any order. An event reports only its own
/// direction, and only if that is among the interests. In addition, these rows differ:
///
/// | happening | readable | writable | read closed | write closed | error |
/// |---|---|---|---|---|---|
/// | the peer of a Unix stream was closed | yes | yes | yes | yes | |
/// | a datagram was refused by its destination (UDP) | yes | | | | |
/// | the last sender of a pipe was closed | yes | | yes | | |
/// | the last receiver of a pipe was closed | if requested | yes | if requested | yes | |
/// | this side shut down its own writing half | | yes | | yes | |
///
/// A stream that was never connected, which other backends report closed, is not
/// reported. There may be a writable event whenever a peer receives data.
///
/// **On AFD** (Windows) an event reports only armed directions, as on poll(2). For a
/// TCP stream the table holds with two exceptions: a stream whose halves are both shut
/// down is readable and read closed, like one whose peer shut down its writing half;
/// and a stream that was never connected is not reported. A datagram that was refused
/// by its destination makes the socket readable, and reading fails with
/// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset). A named
/// pipe is never reported closed or with an error.
///
/// The [guide](crate::guide::closing#what-each-way-of-closing-reports) has the ways of closing on
/// all backends side by side, with (W) for `(yes)`, and says where that is known from.
///
/// # Examples
///
/// ```
/// use std::net::Shutdown;
///
/// use mio::net::TcpStream;
/// use mio::{Events, Interest, Poll, Token};
///
/// # fn main() -> std::io::Result<()> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
/// # stream.set_nonblocking(true)?;
/// # let mut stream = TcpStream::from_std(stream);
/// # let (peer, _) = listener.accept()?;
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// poll.registry().register(&mut stream, Token(5), Interest::READABLE)?;
///
/// peer.shutdown(Shutdown::Write)?;
/// poll.poll_until(&mut events, None)?;
/// for event in &events {
///     assert_eq!(event.token(), Token(5));
///     assert!(event.is_readable(), "reading finds the end");
///     assert!(!event.is_write_closed() && !event.is_error(), "writing goes on");
/// }
/// # Ok(())
/// # }
/// ```
///
/// [`Poll::poll`]: crate::Poll::poll
/// [`WouldBlock`]: std::io::ErrorKind::WouldBlock
#[derive(Clone)]
#[cfg_attr(target_arch = "x86_64", repr(C, packed(4)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
// The layout is `epoll_event`'s, which the kernel packs on x86-64 only, so that
// epoll writes straight into an array of these; `sys/epoll.rs` checks it.
pub struct Event {
    readiness: Readiness,
    token: u64,
}

impl Event {
    #[inline]
    pub(crate) fn new(token: Token, readiness: Readiness) -> Event {
        Event {
            readiness,
            token: token.0 as u64,
        }
    }

    /// The event with more readiness.
    #[allow(dead_code)] // where no kernel has several events for a registration
    pub(crate) fn with(&self, readiness: Readiness) -> Event {
        Event {
            readiness: Readiness(self.readiness.0).or(readiness),
            token: self.token,
        }
    }

    /// Whether the event consists of these; for checking the layout.
    #[allow(dead_code)] // where no kernel has this layout
    pub(crate) const fn has_parts(&self, readiness: Readiness, token: u64) -> bool {
        self.readiness.0 == readiness.0 && self.token == token
    }

    /// The token that the source was registered with.
    ///
    /// ```
    /// use mio::{Events, Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let waker = Waker::new(poll.registry(), Token(7))?;
    /// waker.wake()?;
    /// poll.poll(&mut events, None)?;
    /// assert!(events.iter().all(|event| event.token() == Token(7)));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn token(&self) -> Token {
        // A token has the width of a pointer, so this restores what was widened for the kernel.
        Token(self.token as usize)
    }

    /// The source can be read from: there is data, priority data, a connection
    /// to accept or the end of the stream.
    ///
    /// An error alone may not make a source readable: see
    /// [`is_error`](Event::is_error).
    ///
    /// ```
    /// use std::io::{self, ErrorKind, Read};
    ///
    /// use mio::event::Event;
    /// use mio::net::TcpStream;
    ///
    /// fn on_event(event: &Event, stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    ///     if event.is_readable() {
    ///         match stream.read_to_end(buffer) {
    ///             Ok(_) => println!("the peer has sent {} bytes in all", buffer.len()),
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {} // more may come
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.bits().intersects(Readiness::IN.or(Readiness::PRI))
    }

    /// The source can be written to, or a connect attempt has finished; see
    /// [`TcpStream::connect`](crate::net::TcpStream::connect) for how to check its result. For a
    /// named pipe on Windows: the data written has gone out.
    ///
    /// ```
    /// use std::io::{self, ErrorKind, Write};
    ///
    /// use mio::event::Event;
    /// use mio::net::TcpStream;
    ///
    /// fn on_event(event: &Event, stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<()> {
    ///     while event.is_writable() && !waiting.is_empty() {
    ///         match stream.write(waiting) {
    ///             Ok(length) => drop(waiting.drain(..length)),
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.bits().intersects(Readiness::OUT)
    }

    /// The source has an error; [`take_error`] or the next operation returns
    /// it. The source may be neither readable nor writable.
    ///
    /// [`take_error`]: crate::net::TcpStream::take_error
    ///
    /// ```
    /// use std::io;
    ///
    /// use mio::event::Event;
    /// use mio::net::TcpStream;
    ///
    /// fn on_event(event: &Event, stream: &TcpStream) -> io::Result<()> {
    ///     if event.is_error() {
    ///         if let Some(error) = stream.take_error()? {
    ///             return Err(error);
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[inline]
    pub fn is_error(&self) -> bool {
        self.bits().intersects(Readiness::ERR)
    }

    /// The peer sends no more data after what has already arrived.
    ///
    /// Not every system reports it for a half-closed connection; a read that
    /// returns 0 is the portable sign.
    ///
    /// ```
    /// use mio::event::Event;
    ///
    /// /// Whether a read that returns less than its buffer holds may be followed by the end.
    /// fn reads_on(event: &Event) -> bool {
    ///     event.is_read_closed()
    /// }
    /// ```
    #[inline]
    pub fn is_read_closed(&self) -> bool {
        let bits = self.bits();
        bits.intersects(Readiness::HUP) || bits.contains(Readiness::IN.or(Readiness::RDHUP))
    }

    /// Nothing more can be written: the connection is closed in both directions,
    /// or a pipe's last receiver is closed.
    ///
    /// For a UDP socket it only means that an error is pending, after
    /// which the socket still works. A TCP stream that was never
    /// connected is closed in both directions. On kqueue it may mean that this side
    /// has shut down its writing half.
    ///
    /// ```
    /// use mio::event::Event;
    ///
    /// struct Connection {
    ///     /// Reading has returned 0.
    ///     read_ended: bool,
    ///     /// Kept, because the event may come before the read of 0, and not again.
    ///     write_closed: bool,
    /// }
    ///
    /// impl Connection {
    ///     /// Returns whether the connection stays open.
    ///     fn on_event(&mut self, event: &Event) -> bool {
    ///         self.write_closed |= event.is_write_closed();
    ///         // … read and write …
    ///         !(self.read_ended && self.write_closed)
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn is_write_closed(&self) -> bool {
        let bits = self.bits();
        bits.intersects(Readiness::HUP.or(Readiness::WRHUP))
            || bits.contains(Readiness::OUT.or(Readiness::ERR))
            || bits == Readiness::ERR
    }

    /// The source has priority (out-of-band) data. The event is also
    /// readable, although an ordinary read may find nothing. Reported for the interest
    /// [`Interest::PRIORITY`](crate::Interest::PRIORITY); on kqueue always false.
    ///
    /// ```
    /// use mio::event::Event;
    ///
    /// fn on_event(event: &Event) {
    ///     if event.is_priority() {
    ///         println!("out-of-band data: {:?}", event.token());
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn is_priority(&self) -> bool {
        self.bits().intersects(Readiness::PRI)
    }

    /// A POSIX asynchronous I/O operation is complete: on kqueue, to which the
    /// operation's `sigevent` names the queue and the token
    /// ([aio(4)](https://man.freebsd.org/cgi/man.cgi?aio)). Elsewhere always false.
    ///
    /// ```
    /// use mio::event::Event;
    ///
    /// fn on_event(event: &Event) {
    ///     if event.is_aio() {
    ///         println!("an operation is complete: {:?}", event.token());
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn is_aio(&self) -> bool {
        self.bits().intersects(Readiness::AIO)
    }

    /// A list of POSIX asynchronous I/O operations is complete: on FreeBSD's kqueue,
    /// as above. Elsewhere always false.
    ///
    /// ```
    /// use mio::event::Event;
    ///
    /// fn on_event(event: &Event) {
    ///     if event.is_lio() {
    ///         println!("a list of operations is complete: {:?}", event.token());
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn is_lio(&self) -> bool {
        self.bits().intersects(Readiness::LIO)
    }

    /// A copy: fields of a packed struct cannot be borrowed.
    #[inline]
    fn bits(&self) -> Readiness {
        self.readiness
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("error", &self.is_error())
            .field("read_closed", &self.is_read_closed())
            .field("write_closed", &self.is_write_closed())
            .field("priority", &self.is_priority())
            .field("aio", &self.is_aio())
            .field("lio", &self.is_lio())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: u32 = Readiness::IN.0;
    const PRI: u32 = Readiness::PRI.0;
    const OUT: u32 = Readiness::OUT.0;
    const ERR: u32 = Readiness::ERR.0;
    const HUP: u32 = Readiness::HUP.0;
    const RDHUP: u32 = Readiness::RDHUP.0;
    const AIO: u32 = Readiness::AIO.0;
    const LIO: u32 = Readiness::LIO.0;
    const WRHUP: u32 = Readiness::WRHUP.0;

    /// Compares every combination of bits with the definition of each method, which is written out
    /// here independently of how the methods test the bits.
    #[test]
    fn each_method_tests_its_bits() {
        let bits = [IN, PRI, OUT, ERR, HUP, RDHUP, AIO, LIO, WRHUP];
        for choice in 0..1u32 << bits.len() {
            let word = (0..bits.len())
                .filter(|i| choice >> i & 1 == 1)
                .fold(0, |word, i| word | bits[i]);
            let has = |bit| word & bit != 0;
            let event = Event::new(Token(7), Readiness(word));
            let all = format!("{event:?}");
            assert_eq!(event.token(), Token(7));
            assert_eq!(event.is_readable(), has(IN) || has(PRI), "{all}");
            assert_eq!(event.is_writable(), has(OUT), "{all}");
            assert_eq!(event.is_error(), has(ERR), "{all}");
            assert_eq!(
                event.is_read_closed(),
                has(HUP) || (has(IN) && has(RDHUP)),
                "{all}"
            );
            assert_eq!(
                event.is_write_closed(),
                has(HUP) || has(WRHUP) || (has(OUT) && has(ERR)) || word == ERR,
                "{all}"
            );
            assert_eq!(event.is_priority(), has(PRI), "{all}");
            assert_eq!(event.is_aio(), has(AIO), "{all}");
            assert_eq!(event.is_lio(), has(LIO), "{all}");
        }
    }

    #[test]
    fn a_token_keeps_all_its_bits() {
        let event = Event::new(Token(usize::MAX), Readiness::IN);
        assert_eq!(event.token(), Token(usize::MAX));
    }
}
