//! How to use this crate (documentation only).
//!
//! - [The model](#the-model)
//! - [A loop](#a-loop)
//! - [Accepting](#accepting)
//! - [Reading](#reading)
//! - [Writing](#writing)
//! - [Connecting](#connecting)
//! - [Closing](#closing), and [what each way of closing reports](#what-each-way-of-closing-reports)
//! - [Waking from other threads](#waking-from-other-threads)
//! - [Deadlines](#deadlines)
//! - [A source of one's own](#a-source-of-ones-own)
//! - [Under an async runtime](#under-an-async-runtime)
//! - [A poll in another loop](#a-poll-in-another-loop)
//! - [Speed](#speed)
//! - [When a program hangs](#when-a-program-hangs)
//! - [Moving from other crates](#moving-from-other-crates)
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
//! Readiness is reported when it *begins* (an edge), not while it lasts (a level):
//! after an event there may be no other until the program has drained the source,
//! or filled it, as far as it goes. A program that stops in the middle and waits
//! for another event may wait for ever.
//!
//! ```text
//!            3 bytes come       2 more          read 3, read 2,     4 bytes come
//!                 │               │             WouldBlock                │
//!   to read  0 ───┴── 3 ──────────┴── 5 ────────────┴── 0 ────────────────┴── 4 ──►
//!                 │               │                                       │
//!   events        ●               ○                                       ●
//!              certain         may come                         certain: it was drained
//! ```
//!
//! The same holds for writing: after an event a program writes until `WouldBlock`,
//! and only then the next writable event is certain. Registering and
//! [`reregister`](crate::Registry::reregister) begin anew: what the source is ready
//! for at that moment is reported by the next poll.
//!
//! Events can be *spurious*: an operation after one may fail with `WouldBlock` at
//! once, and that is no error. What an event says is a hint of what to try; what the
//! operation returns is the truth.
//!
//! An event names its source by the [`Token`] it was registered with, chosen by
//! the program. One event may say several things at once (readable, writable,
//! closed), or each of them comes in an event of its own: which, depends on the
//! system. A program that looks at each method by itself, and not at the
//! combination, need not care.
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
//! There is no need to change the interest of a TCP stream for that: registered once
//! for `READABLE | WRITABLE`, it reports each edge, and one that stays writable
//! reports nothing by that. A Unix stream reports writable whenever its
//! peer has read, and a UDP socket after each datagram that has left: those are
//! registered for writing only while something waits to be written.
//!
//! ```
//! use std::io;
//!
//! use mio::net::TcpStream;
//! use mio::{Interest, Registry, Token};
//! # use std::io::Write;
//! # fn write_waiting(mut stream: impl Write, waiting: &mut Vec<u8>) -> io::Result<bool> {
//! #     while !waiting.is_empty() {
//! #         match stream.write(waiting) {
//! #             Ok(length) => drop(waiting.drain(..length)),
//! #             Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
//! #             Err(error) => return Err(error),
//! #         }
//! #     }
//! #     Ok(true)
//! # }
//!
//! struct Connection {
//!     stream: TcpStream,
//!     token: Token,
//!     interest: Interest,
//!     waiting: Vec<u8>,
//! }
//!
//! impl Connection {
//!     fn send(&mut self, registry: &Registry, bytes: &[u8]) -> io::Result<()> {
//!         let is_first = self.waiting.is_empty();
//!         self.waiting.extend_from_slice(bytes);
//!         match is_first {
//!             true => self.advance(registry),
//!             false => Ok(()), // behind what waits for room already
//!         }
//!     }
//!
//!     /// Also to be called after a writable event.
//!     fn advance(&mut self, registry: &Registry) -> io::Result<()> {
//!         let interest = match write_waiting(&self.stream, &mut self.waiting)? {
//!             true => Interest::READABLE,
//!             false => Interest::READABLE | Interest::WRITABLE,
//!         };
//!         if interest != self.interest {
//!             registry.reregister(&mut self.stream, self.token, interest)?;
//!             self.interest = interest;
//!         }
//!         Ok(())
//!     }
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # stream.set_nonblocking(true)?;
//! # let (mut peer, _) = listener.accept()?;
//! # let mut poll = mio::Poll::new()?;
//! # let mut events = mio::Events::with_capacity(4);
//! # let mut connection = Connection {
//! #     stream: TcpStream::from_std(stream),
//! #     token: Token(0),
//! #     interest: Interest::READABLE,
//! #     waiting: Vec::new(),
//! # };
//! # poll.registry().register(&mut connection.stream, Token(0), Interest::READABLE)?;
//! # let reader = std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()).unwrap());
//! # for _ in 0..8 {
//! #     connection.send(poll.registry(), &[7; 1 << 20])?;
//! # }
//! # while !connection.waiting.is_empty() {
//! #     poll.poll_until(&mut events, None)?;
//! #     connection.advance(poll.registry())?;
//! # }
//! # assert_eq!(connection.interest, Interest::READABLE);
//! # drop(connection);
//! # assert_eq!(reader.join().unwrap(), 8 << 20);
//! # Ok(())
//! # }
//! ```
//!
//! A queue without a limit is memory that a slow peer decides about: stop reading
//! what is to be answered while more than a certain amount waits.
//!
//! # Connecting
//!
//! [`TcpStream::connect`](crate::net::TcpStream::connect) starts an attempt. A
//! writable event tells of its end, good or bad, which
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
//! with data still to be read: so read to the end, and do not drop a stream because
//! of an event.
//!
//! After the peer's end the other direction may go on (a half-closed connection):
//! a server answers first, and drops then. A client that has asked all it wants to
//! ends its own direction, and reads on:
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::net::Shutdown;
//!
//! use mio::net::TcpStream;
//! use mio::{Events, Interest, Poll, Token};
//!
//! # fn main() -> io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # stream.set_nonblocking(true)?;
//! # let mut stream = TcpStream::from_std(stream);
//! # let (mut peer, _) = listener.accept()?;
//! # let server = std::thread::spawn(move || {
//! #     let mut question = String::new();
//! #     peer.read_to_string(&mut question).unwrap();
//! #     peer.write_all(question.to_uppercase().as_bytes()).unwrap();
//! # });
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(8);
//! poll.registry().register(&mut stream, Token(0), Interest::READABLE)?;
//!
//! stream.write_all(b"question")?; // few enough to fit at once
//! stream.shutdown(Shutdown::Write)?; // the peer reads this as the end
//!
//! let mut answer = Vec::new();
//! loop {
//!     match stream.read_to_end(&mut answer) {
//!         Ok(_) => break, // the peer's end
//!         // What has come so far is in `answer`.
//!         Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
//!             poll.poll_until(&mut events, None)?;
//!         }
//!         Err(error) => return Err(error),
//!     }
//! }
//! assert_eq!(answer, b"QUESTION");
//! # server.join().unwrap();
//! # Ok(())
//! # }
//! ```
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
//! # What each way of closing reports
//!
//! Of a source that was registered for `READABLE | WRITABLE`, has been reported
//! writable, and has room: **R** readable, **W** writable, **rc** read closed,
//! **wc** write closed, **E** error; `–`: no event.
//!
//! | what happens | epoll | poll(2), event ports | kqueue | AFD |
//! |---|---|---|---|---|
//! | **TCP** | | | | |
//! | the peer shuts down its writing half, or closes | R W rc | R rc ¹ | R rc | R rc |
//! | the same, with data before it that was not read yet | R W rc | R rc ¹ | R rc | R rc ² |
//! | the peer shuts down its reading half ° | – | – | – | – |
//! | the peer resets the connection | R W rc wc E | R W rc wc E | R W rc wc E | R W rc wc E |
//! | the peer has closed, and this side writes: a reset answers ° | R W rc wc E | R W rc wc E | R W rc wc E | R W rc wc E |
//! | this side shuts down its writing half | W | – | W wc | – |
//! | this side shuts down its reading half ° | R W rc | R rc ¹ | R rc | – |
//! | this side shuts down both ° | R W rc wc | R W rc wc | R W rc wc | – |
//! | both sides have shut down their writing halves | R W rc wc | R W rc wc | R W rc wc | R rc |
//! | a connect is refused | R W rc wc E | R W rc wc E | R W rc wc E | R W rc wc E |
//! | it never was connected | W rc wc | W rc wc | – | – |
//! | **Unix streams** | | | | |
//! | the peer shuts down its writing half | R W rc | R rc ¹ | R rc | |
//! | the peer shuts down its reading half ° | W | – | – ³ | |
//! | the peer closes | R W rc wc | R W rc wc | R W rc wc | |
//! | the peer closes, and has not read all | R W rc wc E | R W rc wc E | R W rc wc ³ | |
//! | this side shuts down its writing half ° | W | – | W wc | |
//! | this side shuts down its reading half ° | R W rc | R rc ¹ | R rc | |
//! | **Datagrams** | | | | |
//! | one was refused (UDP, connected) | W wc E | W wc E | R | R ⁴ |
//! | the peer of a Unix datagram socket closes ° | – | – | – | |
//! | **Pipes** | | | | |
//! | the last sender closes, all is read | rc wc | rc wc | R rc | |
//! | the last sender closes, with data unread | R rc wc | R rc wc | R rc | |
//! | the last receiver closes | W wc E | W wc E | W wc ⁵ | |
//! | the same, and the pipe is full | wc E ⁶ | wc E ⁶ | W wc ⁵ ⁶ | |
//! | **Named pipes of Windows** | | | | |
//! | the other end closes ° | | | | R |
//!
//! 1. No rc, but R only, where poll(2) does not know the end of what a peer sends
//!    (`POLLRDHUP`: not on Apple's systems, NetBSD, OpenBSD, DragonFly and Solaris).
//! 2. R alone under Wine, which tells of the end when the data before it has been read.
//! 3. So a NetBSD kernel has answered. The model's sockets are Linux's, with W wc in the
//!    first row, and E in the second one.
//! 4. Receiving then fails with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset).
//!    Not run: Wine reports R W rc wc E.
//! 5. And R rc, of a sender that was registered for reading as well, which is of no use.
//! 6. Whether a full pipe without a receiver counts as writable is the kernel's to say.
//!
//! **Where this is known from.** epoll and poll(2) are Linux's. Event ports have been run
//! on a model only, which was made from documents; kqueue on a model, which answers as a
//! NetBSD kernel did, with Linux's sockets under it; AFD under Wine. `tests/closing.rs`
//! holds the rows; those with ° were seen in the same way, and have no test.
//!
//! **One interest.** A source that was registered for one direction is not reported
//! ready for the other. Rows with wc or E come nevertheless, without the R or W that was
//! not asked for; rc alone comes to `READABLE` only. On kqueue each direction is an event
//! of its own, in any order, for who asked for it: R rc (E) to `READABLE`, W wc (E) to
//! `WRITABLE`.
//!
//! **W along with others.** On epoll an event tells all that holds, so that W stands in
//! nearly every row. Elsewhere what was reported is not repeated, but where wc comes.
//!
//! What is portable, then: *read until 0 or an error* to learn of the peer's end; an
//! error of writing ([`BrokenPipe`](std::io::ErrorKind::BrokenPipe),
//! [`ConnectionReset`](std::io::ErrorKind::ConnectionReset)) to learn that nobody
//! reads; [`take_error`](crate::net::TcpStream::take_error) for what failed. An event
//! of any kind says when to look.
//!
//! # Waking from other threads
//!
//! A [`Waker`] is made once and shared, by reference or in an `Arc`. Put the
//! message where the loop finds it, *then* wake; in the loop, take all messages
//! there are whenever the waker's event comes.
//!
//! ```
//! use std::sync::{mpsc, Arc};
//! use std::thread;
//!
//! use mio::{Events, Poll, Token, Waker};
//!
//! const WAKE: Token = Token(usize::MAX); // any token will do
//!
//! enum Message {
//!     Add(u32),
//!     Stop,
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(128);
//! let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
//! let (sender, messages) = mpsc::channel();
//!
//! let worker = thread::spawn({
//!     let waker = Arc::clone(&waker);
//!     move || {
//!         for message in [Message::Add(1), Message::Add(2), Message::Stop] {
//!             sender.send(message).unwrap();
//!             waker.wake().unwrap();
//!         }
//!     }
//! });
//!
//! let mut sum = 0;
//! 'running: loop {
//!     poll.poll_until(&mut events, None)?;
//!     for event in &events {
//!         if event.token() == WAKE {
//!             for message in messages.try_iter() {
//!                 match message {
//!                     Message::Add(number) => sum += number,
//!                     Message::Stop => break 'running,
//!                 }
//!             }
//!         }
//!     }
//! }
//! assert_eq!(sum, 3);
//! worker.join().unwrap();
//! # Ok(())
//! # }
//! ```
//!
//! One event stands for any number of wake-ups, and one may come when there is
//! nothing to take. Waking while a wake-up is pending is one atomic operation, so
//! there is no need to avoid it. Keep the waker until its last wake-up has been
//! reported: one that is dropped before is forgotten. That a channel's other end was
//! dropped wakes nobody: say `Stop`, and wake.
//!
//! # Deadlines
//!
//! This crate has no timers. Keep the deadlines in a heap and hand the nearest
//! one to [`Poll::poll_until`], which never returns empty-handed before it.
//!
//! ```
//! use std::cmp::Reverse;
//! use std::collections::BinaryHeap;
//! use std::time::{Duration, Instant};
//!
//! use mio::{Events, Poll};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(128);
//!
//! let mut deadlines = BinaryHeap::new();
//! let start = Instant::now();
//! for (milliseconds, name) in [(3, "later"), (1, "soon")] {
//!     deadlines.push(Reverse((start + Duration::from_millis(milliseconds), name)));
//! }
//!
//! let mut passed = Vec::new();
//! while !deadlines.is_empty() {
//!     let nearest = deadlines.peek().map(|&Reverse((at, _))| at);
//!     poll.poll_until(&mut events, nearest)?;
//!     for _event in &events {
//!         // …
//!     }
//!     // With or without events: a busy loop is never told that time ran out.
//!     let now = Instant::now();
//!     while let Some(&Reverse((at, name))) = deadlines.peek() {
//!         if at > now {
//!             break;
//!         }
//!         deadlines.pop();
//!         passed.push(name);
//!     }
//! }
//! assert_eq!(passed, ["soon", "later"]);
//! # Ok(())
//! # }
//! ```
//!
//! A deadline that no longer counts (the answer came in time) need not be found in
//! the heap: when it comes, look whether it still does.
//!
//! # A source of one's own
//!
//! - An object with a descriptor, or on Windows a socket: put it into an
//!   [`IoSource`], and do its I/O through [`do_io`](crate::IoSource::do_io).
//! - A struct around a source: implement [`Source`](crate::event::Source) by
//!   handing the calls on.
//! - A descriptor that somebody else owns: `SourceFd`.
//! - Something without a descriptor: a queue, and a [`Waker`] with a token of its own.
//!
//! A struct with two sources inside registers both or none, and deregisters both
//! even if the first one fails:
//!
//! ```
//! use std::io;
//!
//! use mio::event::Source;
//! use mio::net::{TcpStream, UdpSocket};
//! use mio::{Interest, Registry, Token};
//!
//! /// A call: its control connection, and its sound.
//! struct Call {
//!     control: TcpStream,
//!     sound: UdpSocket,
//! }
//!
//! impl Source for Call {
//!     fn register(
//!         &mut self,
//!         registry: &Registry,
//!         token: Token,
//!         interests: Interest,
//!     ) -> io::Result<()> {
//!         self.control.register(registry, token, interests)?;
//!         let outcome = self.sound.register(registry, token, interests);
//!         if outcome.is_err() {
//!             let _ = self.control.deregister(registry);
//!         }
//!         outcome
//!     }
//!
//!     fn reregister(
//!         &mut self,
//!         registry: &Registry,
//!         token: Token,
//!         interests: Interest,
//!     ) -> io::Result<()> {
//!         self.control.reregister(registry, token, interests)?;
//!         self.sound.reregister(registry, token, interests)
//!     }
//!
//!     fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
//!         let outcome = self.control.deregister(registry);
//!         self.sound.deregister(registry).and(outcome)
//!     }
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let control = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # control.set_nonblocking(true)?;
//! # let control = TcpStream::from_std(control);
//! # let sound = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
//! # let mut call = Call { control, sound };
//! # let mut poll = mio::Poll::new()?;
//! # let both = Interest::READABLE | Interest::WRITABLE;
//! # poll.registry().register(&mut call, Token(0), both)?;
//! # poll.registry().reregister(&mut call, Token(1), both)?;
//! # let mut events = mio::Events::with_capacity(4);
//! # poll.poll(&mut events, None)?;
//! # assert!(events.iter().all(|event| event.token() == Token(1)));
//! # poll.registry().deregister(&mut call)?;
//! # let again = poll.registry().deregister(&mut call);
//! # assert_eq!(again.unwrap_err().kind(), io::ErrorKind::NotFound);
//! # Ok(())
//! # }
//! ```
//!
//! Both have the same token here: an event says that one of them is ready, and the
//! program tries both. Where that is too little, the struct needs two tokens, and the
//! program registers the two sources each for itself.
//!
//! # Under an async runtime
//!
//! A runtime has one thread in `poll` at a time ([`Poll::poll`](crate::Poll::poll)
//! takes `&mut`), so that the events of a source are seen in one order, and each by one
//! thread. All others register, deregister and do I/O as they like: a
//! [`Registry`](crate::Registry) and every source can be shared. What the polling
//! thread does with an event is to wake the task that waits for it; the task tries its
//! operation, and when that would block, waits again. A [`Waker`] ends the wait when
//! there is something to do that is no I/O: a task that another thread woke, or a
//! deadline that is nearer than the one it waits for.
//!
//! A task leaves word *before* it tries, so that an event that comes between the
//! attempt and the wait finds it:
//!
//! ```
//! use std::collections::HashMap;
//! use std::future::poll_fn;
//! use std::io;
//! use std::sync::Mutex;
//! use std::task::{self, Poll::Pending, Poll::Ready};
//!
//! use mio::net::UdpSocket;
//! use mio::{Events, Interest, Poll, Token};
//!
//! /// Who waits for which source: one task each.
//! #[derive(Default)]
//! struct Waiting(Mutex<HashMap<Token, task::Waker>>);
//!
//! async fn receive(
//!     socket: &UdpSocket,
//!     token: Token,
//!     waiting: &Waiting,
//!     buffer: &mut [u8],
//! ) -> io::Result<usize> {
//!     poll_fn(|context| {
//!         let waker = context.waker().clone();
//!         waiting.0.lock().unwrap().insert(token, waker);
//!         match socket.recv(buffer) {
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pending,
//!             outcome => Ready(outcome),
//!         }
//!     })
//!     .await
//! }
//!
//! /// What one thread does, again and again.
//! fn turn(poll: &mut Poll, events: &mut Events, waiting: &Waiting) -> io::Result<()> {
//!     poll.poll_until(events, None)?;
//!     for event in &*events {
//!         let waker = waiting.0.lock().unwrap().remove(&event.token());
//!         if let Some(waker) = waker {
//!             waker.wake();
//!         }
//!     }
//!     Ok(())
//! }
//! #
//! # use std::future::Future;
//! # use std::pin::pin;
//! # use std::sync::atomic::{AtomicBool, Ordering};
//! # use std::sync::Arc;
//! #
//! # struct Woken(AtomicBool);
//! #
//! # impl task::Wake for Woken {
//! #     fn wake(self: Arc<Self>) {
//! #         self.0.store(true, Ordering::SeqCst);
//! #     }
//! # }
//! #
//! # fn main() -> io::Result<()> {
//! # let mut poll = Poll::new()?;
//! # let mut events = Events::with_capacity(8);
//! # let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
//! # poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
//! # let waiting = Waiting::default();
//! # let woken = Arc::new(Woken(AtomicBool::new(true)));
//! # let waker = task::Waker::from(Arc::clone(&woken));
//! # let mut context = task::Context::from_waker(&waker);
//! # let mut buffer = [0; 8];
//! # let mut task = pin!(receive(&socket, Token(0), &waiting, &mut buffer));
//! # let mut sent = false;
//! # let length = loop {
//! #     if woken.0.swap(false, Ordering::SeqCst) {
//! #         if let Ready(length) = task.as_mut().poll(&mut context) {
//! #             break length?;
//! #         }
//! #     }
//! #     if !sent {
//! #         sent = true;
//! #         socket.send_to(b"ping", socket.local_addr()?)?;
//! #     }
//! #     turn(&mut poll, &mut events, &waiting)?;
//! # };
//! # assert_eq!(length, 4);
//! # Ok(())
//! # }
//! ```
//!
//! A program that stands on tokio has no need of any of this: the runtime has a poll,
//! registers what it is given and does the waking. A descriptor of another kind goes
//! into its `AsyncFd`, which needs no [`IoSource`], no token and no deregistering by
//! the program; it has to be non-blocking, and a readiness that has ended is to be
//! cleared, for which the guard that it gives has a `try_io`. It registers the bare
//! descriptor, for both directions unless told otherwise, and does not tell this crate of
//! the I/O: on epoll and kqueue, which see that for themselves, nothing is missing; where a
//! program has forced poll(2), or runs on event ports, such a descriptor is looked at now
//! and then, and reported up to 64 ms late (`SourceFd` says when).
//!
//! # A poll in another loop
//!
//! On Unix a poll has a descriptor, which another loop can watch: it is readable while
//! events wait. Take them with a timeout of zero, until there are none:
//!
//! ```
//! # #[cfg(unix)]
//! # fn main() -> std::io::Result<()> {
//! use std::os::fd::AsRawFd;
//! use std::time::Duration;
//!
//! use mio::unix::SourceFd;
//! use mio::{Backend, Events, Interest, Poll, Token, Waker};
//!
//! let mut inner = Poll::new()?;
//! if inner.backend() == Backend::Poll {
//!     return Ok(()); // cannot be nested
//! }
//! let waker = Waker::new(inner.registry(), Token(7))?;
//!
//! // Any other loop would do.
//! let mut outer = Poll::new()?;
//! let descriptor = inner.as_raw_fd();
//! outer.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)?;
//!
//! waker.wake()?;
//! let mut events = Events::with_capacity(8);
//! outer.poll_until(&mut events, None)?;
//! assert!(events.iter().all(|event| event.token() == Token(0)));
//!
//! let mut tokens = Vec::new();
//! loop {
//!     inner.poll(&mut events, Some(Duration::ZERO))?;
//!     if events.is_empty() {
//!         break;
//!     }
//!     tokens.extend(events.iter().map(|event| event.token()));
//! }
//! assert_eq!(tokens, [Token(7)]);
//! # Ok(())
//! # }
//! # #[cfg(not(unix))]
//! # fn main() {}
//! ```
//!
//! It is for epoll and kqueue, and for event ports as long as nothing is registered
//! there as a `SourceFd`; not for poll(2), whose descriptor says nothing of its sources,
//! and not for Windows, where there is none. What is taken off the descriptor by other
//! means than `poll` is lost to the poll's wakers: [`Poll`](crate::Poll#nesting) has the
//! limits. Deadlines of the inner loop are the outer one's to keep: it waits.
//!
//! # Speed
//!
//! What the program does matters more than what this crate can. A turn of a loop is
//! mostly its system calls: `testing/calls/expected.txt` lists those of every operation.
//!
//! Fewer calls:
//!
//! - Try before waiting: read from a connection that was just accepted, write an
//!   answer at once, and register only what then blocks. That can spare a short
//!   connection its registration.
//! - Register a TCP stream once for both directions, instead of changing
//!   interests.
//! - Give [`Events`](crate::Events) room for as many as usually come at once, and use
//!   the same ones again: a poll is a system call, whether it brings one event or a
//!   thousand.
//! - Write a head and a body by one `write_vectored`.
//! - A read that returns less than its buffer holds has drained a TCP or Unix stream or
//!   a pipe of Unix, and the next bytes, or the end, come with a new event. Stopping there
//!   spares the read that would block. Where the event was
//!   [`is_read_closed`](crate::event::Event::is_read_closed), read on until 0
//!   nevertheless; of an [`IoSource`] only `WouldBlock` counts, and a datagram says
//!   nothing of the next one. (Out-of-band data ends a read early, too.)
//! - Take all messages of a queue at each wake-up. A turn that is busy lets more of them
//!   come together.
//!
//! Cheaper calls:
//!
//! - Timeouts of whole milliseconds use the cheaper call of Linux; another one costs some
//!   10 % of a turn more, and so does [`Poll::poll_until`] with a deadline that has
//!   not passed. A loop that does not need its deadlines exactly rounds up the time that
//!   is left, and calls `poll`.
//! - A wait with a timeout reads the clock, one without (`None`, or zero) does not: give
//!   none where there is no deadline. To look with a timeout of zero before each wait
//!   spares that when something is ready, and costs a call when nothing is.
//! - Waking while a wake-up is pending is an atomic operation, the first wake-up a system
//!   call: messages that come together cost one call.
//! - Linux adds at least 50 µs to a wait, so that timers expire together. Where that is
//!   too much, a thread asks for less: `prctl(PR_SET_TIMERSLACK, 1)`.
//! - On poll(2) every wait costs time in proportion to the registrations, most of it in the
//!   kernel: it is for where nothing else is allowed.
//!
//! Memory and processors:
//!
//! - One buffer for reading serves all connections of a thread: what was read is used
//!   up, or copied to where it waits, before the next one reads. Idle connections then
//!   hold no memory.
//! - After set-up this crate allocates nothing: what a program's turn allocates is the
//!   program's.
//! - To use several processors, give each thread a poll, and each connection to one of
//!   them. Two polls of one socket wake two threads for each event, and Windows is known
//!   to mix them up.
//!
//! # When a program hangs
//!
//! | symptom | likely cause |
//! |---|---|
//! | the first event comes, no other | the source was not drained until `WouldBlock` |
//! | it worked until the load grew | more connections or messages behind one event than were taken; reading stopped when a buffer was full, and nothing read on later |
//! | a server stops accepting, and goes on when a client comes | accepting failed for want of a descriptor, and nothing tried again: no event comes for the connections that wait |
//! | no writable event | there was room all along: write first, wait after `WouldBlock` |
//! | a connect never ends | the stream is registered for reading alone: the end of an attempt is a writable event |
//! | a Unix socket's connect, or a datagram to another socket (`send_to`), is never possible again | its `WouldBlock` is about another socket's queue, of which no event of this one tells: try again after a while |
//! | nothing at all | the socket was taken over (`from_std`, `From<OwnedFd>`) and is in blocking mode, so that a call blocks the thread; or the source, or the waker, was registered with another poll |
//! | it hangs on Windows, event ports or poll(2) only | I/O that went past the source (on its descriptor, by another crate): do it in `try_io`, or in `do_io` of an [`IoSource`]; or the closure made something else of the kernel's `WouldBlock` (an `Ok(None)`), which has to be returned as it is |
//! | it is late by up to 64 ms on event ports or poll(2) | a bare descriptor (`SourceFd`): use an [`IoSource`] |
//! | a processor is busy | an event is answered by doing nothing, on a source that was added to the raw descriptor without `EPOLLET`; or a closed connection is kept and polled with a zero timeout |
//! | wake-ups get lost | the waker was dropped; or messages are taken one at a time instead of all; or the message was put into its place after the wake-up |
//! | a deadline passes unseen | the loop looks at the clock only when there are no events |
//! | events of a connection that is gone | a duplicate of its descriptor is open (a child process): deregister before dropping |
//! | events name the wrong connection | its token was given anew while events that had been taken before were still to be handled |
//! | `AlreadyExists` or `NotFound` in debug builds alone | the source is registered with another poll, which release builds leave to the kernel (epoll, kqueue) |
//! | a child process hangs, or its parent misses events | the child uses a poll or waker from before the fork: it may only drop them |
//! | a signal handler hangs | it woke a [`Waker`] on event ports, where that takes a lock |
//!
//! To see what happens: the feature `log` tells each registration at level trace;
//! `strace -f -e trace=epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2` the calls of Linux;
//! `{event:?}` all that an event says.
//!
//! # Moving from other crates
//!
//! ## From mio 1.x
//!
//! A program for mio 1.2 is meant to compile and to work as it is. What can be left out,
//! or is different:
//!
//! | mio 1.x | here |
//! |---|---|
//! | a loop around `poll` that goes on after `Interrupted` | works; or [`Poll::poll_until`] |
//! | one [`Waker`] to a poll | any number, with a token each |
//! | `cfg(mio_unsupported_force_poll_poll)` | works; or [`Backend::Poll`](crate::Backend::Poll), chosen at run time |
//! | `SourceFd` for an object of one's own | works; or [`IoSource`], exact on every backend |
//! | `try_io` | works; or `try_io_with`, which says the direction |
//! | `Events::with_capacity` of any number | 2<sup>20</sup> at most |
//! | WASI, hermit | not here |
//!
//! ## From mio 0.8
//!
//! | mio 0.8 | here |
//! |---|---|
//! | `net::SocketAddr` (of Unix sockets) | `std::os::unix::net::SocketAddr` |
//! | sources through their raw descriptors | `AsFd`, `From<OwnedFd>` and `Into<OwnedFd>` as well |
//!
//! ## From mio 0.7
//!
//! What 0.8 has, and
//!
//! | mio 0.7 | here |
//! |---|---|
//! | features `tcp`, `udp`, `uds` | `net`; the old names are still names for it |
//! | features `os-util`, `pipe` | `os-ext` |
//! | feature `extra-docs` | gone: [`guide`](self) and [`features`](crate::features) are always there |
//! | `net::TcpSocket` | the crate `socket2`, and `from_std` |
//!
//! ## From mio 0.6
//!
//! What 0.7 and 0.8 have, and
//!
//! | mio 0.6 | here |
//! |---|---|
//! | `poll.register(&source, token, Ready::readable(), PollOpt::edge())` | `poll.registry().register(&mut source, token, Interest::READABLE)` |
//! | `PollOpt::level()` | always edges: drain. What has more to do than its turn allows: `reregister`, or a list of one's own and a poll with a timeout of zero while it is not empty |
//! | `PollOpt::oneshot()` | always armed; `deregister` to hear no more, `register` to go on |
//! | `Ready::empty()` | no registration |
//! | `event.readiness().is_readable()` | `event.is_readable()` |
//! | `UnixReady`: `is_hup`, `is_error` | [`is_read_closed`](crate::event::Event::is_read_closed), [`is_write_closed`](crate::event::Event::is_write_closed), [`is_error`](crate::event::Event::is_error) |
//! | `Evented`, with `&self` and a `Poll` | [`Source`](crate::event::Source), with `&mut self` and a [`Registry`](crate::Registry) |
//! | `unix::EventedFd` | `unix::SourceFd`, or [`IoSource`] |
//! | `Registration`, `SetReadiness` | a queue and a [`Waker`], whose event stands for all that is in the queue |
//! | `poll(&self, …)` returns a count | `poll(&mut self, …)` fills the events, and `events.is_empty()` tells |
//! | `poll` goes on after a signal; `poll_interruptible` does not | [`Poll::poll_until`]; [`Poll::poll`](crate::Poll::poll) |
//! | `for event in events.iter()`: by value | by reference |
//! | addresses by reference: `TcpStream::connect(&address)` | by value |
//! | `TcpStream::from_stream`, which sets non-blocking | `from_std`, which sets nothing |
//! | `try_clone` of a socket | share the source: `Read` and `Write` are there for `&TcpStream`, too |
//! | the crate `mio-uds` | `net::UnixStream`, `UnixListener`, `UnixDatagram` |
//! | `mio-extras`: channels, timers | a channel and a [`Waker`]; a heap and [`Poll::poll_until`] |
//!
//! ## From polling 3
//!
//! | `polling` | here |
//! |---|---|
//! | `unsafe { poller.add(&source, Event::readable(key))? }` | `registry.register(&mut source, Token(key), Interest::READABLE)?`; the source is of [`net`](crate::net), or in an [`IoSource`] |
//! | `modify` after each event, to be told of the next (`PollMode::Oneshot`) | nothing: drain until `WouldBlock` |
//! | `PollMode::Level` | as for mio 0.6 |
//! | `modify` to other interests | `reregister` |
//! | `Event::none(key)` | `deregister` |
//! | `delete`, always, before closing | `deregister`; dropping a source is enough where nobody shares its descriptor |
//! | `wait(&self, …)`, `wait_deadline`, which add to the events and go on after a signal | `poll_until(&mut self, …)`, which replaces them, or `poll`, which returns `Interrupted` |
//! | `notify` | a [`Waker`], which has a token, and an event |
//! | `event.key`, `event.readable`, `event.writable` | `event.token()`, `event.is_readable()`, `event.is_writable()` |
//! | key `usize::MAX` is reserved | no token is |
//!
//! [`IoSource`]: crate::IoSource
//! [`Poll`]: crate::Poll
//! [`Poll::poll_until`]: crate::Poll::poll_until
//! [`Token`]: crate::Token
//! [`Waker`]: crate::Waker
//! [`WouldBlock`]: std::io::ErrorKind::WouldBlock
