//! How to use this crate (documentation only).
//!
//! - [The model](#the-model)
//! - [A loop](#a-loop)
//! - [Accepting](#accepting)
//! - [Reading](#reading)
//! - [Writing](#writing)
//! - [Connecting](#connecting)
//! - [Closing](#closing)
//! - [Waking from other threads](#waking-from-other-threads)
//! - [Deadlines](#deadlines)
//! - [A source of one's own](#a-source-of-ones-own)
//! - [Speed](#speed)
//! - [When a program hangs](#when-a-program-hangs)
//!
//! # The model
//!
//! A [`Poll`] does no I/O. It reports *readiness*: that an operation on a source
//! is worth trying. The program tries it, on a socket that never blocks, and
//! goes on until the operation fails with [`WouldBlock`]: the source is drained.
//!
//! ```text
//!   register ──► Poll::poll waits ──► Event ──► read, read, … ──► WouldBlock ─┐
//!                     ▲                                                       │
//!                     └───────────────────────────────────────────────────────┘
//! ```
//!
//! Readiness is reported when it *begins* (an edge), not while it lasts: after an
//! event there may be no other until the program has drained the source, or
//! filled it, as far as it goes. A program that stops in the middle and waits
//! for another event may wait for ever.
//!
//! Events can be *spurious*: an operation after one may fail with `WouldBlock` at
//! once, and that is no error.
//!
//! An event names its source by the [`Token`] it was registered with, chosen by
//! the program.
//!
//! # A loop
//!
//! ```
//! use std::io;
//!
//! use mio::net::UdpSocket;
//! use mio::{Events, Interest, Poll, Token};
//!
//! const SOCKET: Token = Token(0);
//!
//! # fn main() -> io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(128);
//! let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
//! poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
//! # socket.send_to(b"stop", socket.local_addr()?)?;
//!
//! let mut buffer = [0; 1500];
//! 'running: loop {
//!     // Unlike `poll`, it goes on after a signal.
//!     poll.poll_until(&mut events, None)?;
//!     for event in &events {
//!         match event.token() {
//!             SOCKET => loop {
//!                 match socket.recv_from(&mut buffer) {
//!                     Ok((length, _from)) if &buffer[..length] == b"stop" => break 'running,
//!                     Ok(_) => {}
//!                     Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
//!                     Err(error) => return Err(error),
//!                 }
//!             },
//!             _ => {} // Of something that is gone.
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Accepting
//!
//! One event may stand for many connections, so accept until `WouldBlock`. An
//! error of one connection must not end the server; and when there is no
//! descriptor left, the connections wait on *without a further event*, so the
//! program tries again when it has closed some.
//!
//! ```
//! use std::io;
//!
//! use mio::net::{TcpListener, TcpStream};
//!
//! /// Accepts what waits; returns whether there may be more, for which no
//! /// event will come.
//! fn accept_all(listener: &TcpListener, connections: &mut Vec<TcpStream>) -> io::Result<bool> {
//!     loop {
//!         match listener.accept() {
//!             Ok((stream, _address)) => connections.push(stream),
//!             Err(error) => match error.kind() {
//!                 io::ErrorKind::WouldBlock => return Ok(false),
//!                 io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
//!                 _ if out_of_descriptors(&error) => return Ok(true),
//!                 _ => return Err(error),
//!             },
//!         }
//!     }
//! }
//!
//! fn out_of_descriptors(error: &io::Error) -> bool {
//!     // ENFILE and EMFILE; on Windows WSAEMFILE.
//!     matches!(error.raw_os_error(), Some(23 | 24 | 10024))
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//! # assert!(!accept_all(&listener, &mut Vec::new())?);
//! # Ok(())
//! # }
//! ```
//!
//! # Reading
//!
//! ```
//! use std::io::{self, Read};
//!
//! /// Reads what there is; returns whether the peer has ended.
//! fn read_all(mut stream: impl Read, received: &mut Vec<u8>) -> io::Result<bool> {
//!     let mut buffer = [0; 16 * 1024];
//!     loop {
//!         match stream.read(&mut buffer) {
//!             Ok(0) => return Ok(true),
//!             Ok(length) => received.extend_from_slice(&buffer[..length]),
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
//!             Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # use std::io::Write;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let one = mio::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (mut other, _) = listener.accept()?;
//! # let mut received = Vec::new();
//! # other.write_all(b"abc")?;
//! # while received.len() < 3 {
//! #     assert!(!read_all(&one, &mut received)?);
//! # }
//! # drop(other);
//! # while !read_all(&one, &mut received)? {}
//! # assert_eq!(received, b"abc");
//! # Ok(())
//! # }
//! ```
//!
//! A peer that sends faster than the program works would fill `received` without
//! end. Stop before that, *remember that the source may be readable still*, and
//! read on when there is room, without waiting for an event.
//!
//! A connection that always has more would keep the others from their turn. To
//! stop in the middle and go on later, [`reregister`](crate::Registry::reregister)
//! it: what it is ready for is reported anew, behind what waits already.
//! `common/echo.rs` among the examples does both.
//!
//! # Writing
//!
//! A source can be written to most of the time, so write first, and wait only
//! when there was no room: keep the rest, and go on when the source is reported
//! writable.
//!
//! ```
//! use std::io::{self, Write};
//!
//! /// Writes what is waiting; returns whether all of it went.
//! fn write_waiting(mut stream: impl Write, waiting: &mut Vec<u8>) -> io::Result<bool> {
//!     while !waiting.is_empty() {
//!         match stream.write(waiting) {
//!             Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
//!             Ok(length) => drop(waiting.drain(..length)),
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
//!             Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
//!             Err(error) => return Err(error),
//!         }
//!     }
//!     Ok(true)
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let one = mio::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (other, _) = listener.accept()?;
//! # let mut waiting = vec![1; 10];
//! # while !write_waiting(&one, &mut waiting)? {}
//! # assert!(waiting.is_empty());
//! # one.shutdown(std::net::Shutdown::Write)?;
//! # waiting.push(1);
//! # assert!(write_waiting(&one, &mut waiting).is_err());
//! # drop(other);
//! # Ok(())
//! # }
//! ```
//!
//! There is no need to change the interest of a stream for that: registered once
//! for `READABLE | WRITABLE`, it reports each edge, and a TCP stream that stays
//! writable reports nothing by that. (A Unix stream reports writable whenever its
//! peer has read, and a UDP socket after each datagram that has left: register
//! those for writing only after `WouldBlock`.)
//!
//! # Connecting
//!
//! [`TcpStream::connect`](crate::net::TcpStream::connect) starts an attempt. A
//! writable event tells of its end, which
//! [`take_error`](crate::net::TcpStream::take_error) and
//! [`peer_addr`](crate::net::TcpStream::peer_addr) tell apart:
//!
//! ```
//! use std::io;
//!
//! use mio::net::TcpStream;
//!
//! /// To be asked after a writable event: whether the connection stands.
//! fn is_connected(stream: &TcpStream) -> io::Result<bool> {
//!     if let Some(error) = stream.take_error()? {
//!         return Err(error);
//!     }
//!     match stream.peer_addr() {
//!         Ok(_) => Ok(true),
//!         Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
//!         Err(error) => Err(error),
//!     }
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut stream = TcpStream::connect(listener.local_addr()?)?;
//! # let mut poll = mio::Poll::new()?;
//! # let mut events = mio::Events::with_capacity(4);
//! # poll.registry().register(&mut stream, mio::Token(0), mio::Interest::WRITABLE)?;
//! # poll.poll(&mut events, None)?;
//! # assert!(is_connected(&stream)?);
//! # Ok(())
//! # }
//! ```
//!
//! # Closing
//!
//! Reading returns 0 when the peer has ended its side, and everywhere that is
//! the certain sign. [`is_read_closed`](crate::event::Event::is_read_closed) and
//! [`is_write_closed`](crate::event::Event::is_write_closed) can come earlier,
//! with data still to be read; [`Event`](crate::event::Event) has a table. After
//! the peer's end the other direction may go on: answer first, then drop.
//!
//! Dropping a socket ends its registration, once no copy of its descriptor is
//! open. What shares its descriptor with something else
//! (`SourceFd`, a duplicate) must be deregistered
//! first; and because a child process that is being started holds copies of all
//! descriptors until its exec, a program whose tokens are addresses always
//! deregisters before it frees.
//!
//! Events that were taken before may still name a source that the program has
//! dropped meanwhile. Look the token up and pass over what is gone; a program
//! that gives tokens anew does so after it has gone through the events.
//!
//! # Waking from other threads
//!
//! A [`Waker`] is made once and shared, by reference or in an `Arc`. Put the
//! message where the loop finds it, *then* wake; in the loop, take all messages
//! there are whenever the waker's event comes. Waking while a wake-up is pending
//! costs next to nothing, so there is no need to avoid it. The type's page has
//! an example. Keep the waker until its last wake-up has been reported: one that
//! is dropped before is forgotten.
//!
//! # Deadlines
//!
//! This crate has no timers. Keep the deadlines in a heap and hand the nearest
//! one to [`Poll::poll_until`], which never returns empty-handed before it.
//!
//! # A source of one's own
//!
//! - An object with a descriptor: put it into an [`IoSource`], and do its I/O
//!   through [`do_io`](crate::IoSource::do_io).
//! - A struct around a source: implement [`Source`](crate::event::Source) by
//!   handing the calls on.
//! - A descriptor that somebody else owns:
//!   `SourceFd`.
//!
//! # Speed
//!
//! What the program does matters more than what this crate can:
//!
//! - Try before waiting: read from a connection that was just accepted, write an
//!   answer at once, and register only what then blocks. That can spare a short
//!   connection its registration.
//! - Register a TCP stream once for both directions, instead of changing
//!   interests.
//! - Give [`Events`](crate::Events) room for as many as usually come at once;
//!   each poll is a system call.
//! - Timeouts of whole milliseconds use the cheaper call of Linux.
//! - Linux adds at least 50 µs to a wait, so that timers expire together. Where that is
//!   too much, a thread asks for less: `prctl(PR_SET_TIMERSLACK, 1)`.
//! - A read that returns less than its buffer holds has drained a *stream* (on
//!   epoll; not so datagrams, and not when the peer's end may follow). Stopping
//!   there spares the call that would block.
//!
//! # When a program hangs
//!
//! | symptom | likely cause |
//! |---|---|
//! | the first event comes, no other | the source was not drained until `WouldBlock` |
//! | it worked until the load grew | more connections or messages behind one event than were taken; reading stopped when a buffer was full, and nothing read on later |
//! | no writable event | there was room all along: write first, wait after `WouldBlock` |
//! | nothing at all | the socket was taken over (`from_std`) and is in blocking mode, so that a call blocks the thread |
//! | a processor is busy | an event is answered by doing nothing, on a source that was added to the raw descriptor without `EPOLLET`; or a closed connection is kept and polled with a zero timeout |
//! | wake-ups get lost | the waker was dropped; or messages are taken one at a time instead of all |
//! | events of a connection that is gone | a duplicate of its descriptor is open (a child process): deregister before dropping |
//!
//! [`IoSource`]: crate::IoSource
//! [`Poll`]: crate::Poll
//! [`Poll::poll_until`]: crate::Poll::poll_until
//! [`Token`]: crate::Token
//! [`Waker`]: crate::Waker
//! [`WouldBlock`]: std::io::ErrorKind::WouldBlock
