//! How to use this crate (documentation only).
//!
//! - [The model](#the-model)
//! - [A loop](#a-loop)
//! - [Accepting](#accepting)
//! - [Reading](#reading)
//! - [Writing](#writing), and [to many at once](#writing-to-many-at-once)
//! - [Connecting](#connecting)
//! - [Closing](#closing), [keeping a half-closed connection](#keeping-a-half-closed-connection),
//!   [ending a server](#ending-a-server), and
//!   [what each way of closing reports](#what-each-way-of-closing-reports)
//! - [Waking from other threads](#waking-from-other-threads)
//! - [Deadlines](#deadlines)
//! - [A source of one's own](#a-source-of-ones-own), and
//!   [two kinds of stream in one collection](#two-kinds-of-stream-in-one-collection)
//! - [Under an async runtime](#under-an-async-runtime)
//! - [A poll in another loop](#a-poll-in-another-loop)
//! - [Speed](#speed)
//! - [When a program hangs](#when-a-program-hangs)
//! - [Moving from other crates](#moving-from-other-crates)
//!
//! # The model
//!
//! A [`Poll`] does no I/O. It reports *readiness*: an operation on a source is worth
//! trying. The program tries it, on a socket that never blocks. It goes on until the
//! operation fails with [`WouldBlock`]. Then the source is drained.
//!
//! ```text
//!   register ──► Poll::poll waits ──► Event ──► read, read, … ──► WouldBlock ─┐
//!                     ▲                                                       │
//!                     └───────────────────────────────────────────────────────┘
//! ```
//!
//! Readiness is reported when it *begins* (an edge), not while it lasts (a level).
//! After an event there may be no other one until the program has drained the source,
//! or filled it. A program that stops in the middle and waits for another event may
//! wait for ever.
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
//! The same holds for writing. After an event a program writes until `WouldBlock`;
//! only then is the next writable event certain.
//!
//! So after each event the program *owes an attempt*, until `WouldBlock`. It may put the
//! attempt off to the end of its turn, but it must not forget it.
//!
//! Registering and [`reregister`](crate::Registry::reregister) begin anew: the next poll
//! reports what the source is ready for at that moment.
//!
//! Events can be *spurious*: an operation after one may fail with `WouldBlock` at once.
//! That is no error. An event is a hint of what to try. What the operation returns is
//! the truth.
//!
//! An event names its source by the [`Token`] it was registered with. The program
//! chooses the token. One event may say several things at once (readable, writable,
//! closed), or each of them comes in an event of its own: that depends on the system. A
//! program that looks at each method by itself, and not at the combination, need not
//! care.
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
//! One event may stand for many connections, so accept until `WouldBlock`.
//!
//! A server should survive every other error. Most are of one connection: accept(2) also
//! passes on what was wrong with its network. Others pass after a while: no descriptor
//! (EMFILE, ENFILE) or no memory (ENOBUFS, ENOMEM) is left. The connections then wait on,
//! *without a further event*. So the safe default, for every error that the program does
//! not know: report it, and try again later. Try again when the program has closed some
//! connections, and in any case after a while (a deadline). Connections that are kept
//! although their peers have ended may be the ones that use the descriptors up.
//!
//! ```
//! use std::io::{self, ErrorKind};
//! use std::time::{Duration, Instant};
//!
//! use mio::net::{TcpListener, TcpStream};
//! use mio::{Events, Interest, Poll, Token};
//!
//! const LISTENER: Token = Token(0);
//!
//! /// Accepts what waits. Returns when to try again, where no event will tell.
//! fn accept_all(listener: &TcpListener, connections: &mut Vec<TcpStream>) -> Option<Instant> {
//!     loop {
//!         match listener.accept() {
//!             Ok((stream, _address)) => connections.push(stream),
//!             Err(error) => match error.kind() {
//!                 ErrorKind::WouldBlock => return None,
//!                 // A signal, or a client that has gone already.
//!                 ErrorKind::Interrupted
//!                 | ErrorKind::ConnectionAborted
//!                 | ErrorKind::ConnectionReset => {}
//!                 _ => {
//!                     eprintln!("cannot accept: {error}");
//!                     return Some(Instant::now() + Duration::from_millis(200));
//!                 }
//!             },
//!         }
//!     }
//! }
//!
//! # fn main() -> io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(128);
//! let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//! poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
//!
//! let mut connections = Vec::new();
//! let mut retry_at = None;
//! # let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # for turn in 0.. {
//! #     if turn == 1 {
//! #         retry_at = Some(Instant::now()); // as after an error
//! #     }
//! #     if turn == 2 {
//! #         break;
//! #     }
//! // Each turn:
//! poll.poll_until(&mut events, retry_at)?;
//! let mut accept = retry_at.is_some_and(|at| at <= Instant::now());
//! for event in &events {
//!     match event.token() {
//!         LISTENER => accept = true,
//!         _ => {} // A connection's. If that closes it: accept |= retry_at.is_some()
//!     }
//! }
//! if accept {
//!     retry_at = accept_all(&listener, &mut connections);
//! }
//! # }
//! # assert!(connections.len() == 1 && retry_at.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! The same holds for a Unix listener. `examples/echo.rs` in the repository is a
//! whole server.
//!
//! # Reading
//!
//! Read until `WouldBlock`. But a connection that always has more would keep the others
//! from their turn. So read a few times only. Where there is more, `reregister` the
//! connection: the next poll reports it again, behind the others that wait.
//!
//! ```
//! use std::io::{self, Read};
//!
//! use mio::net::TcpStream;
//! use mio::{Interest, Registry, Token};
//!
//! enum Progress {
//!     /// The next event is certain.
//!     Drained,
//!     /// There may be more, for which no event comes by itself.
//!     More,
//!     /// The peer sends no more.
//!     Ended,
//! }
//!
//! fn read_some(mut stream: impl Read, received: &mut Vec<u8>) -> io::Result<Progress> {
//!     let mut buffer = [0; 16 * 1024];
//!     for _ in 0..4 {
//!         match stream.read(&mut buffer) {
//!             Ok(0) => return Ok(Progress::Ended),
//!             Ok(length) => received.extend_from_slice(&buffer[..length]),
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
//!                 return Ok(Progress::Drained);
//!             }
//!             Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
//!             Err(error) => return Err(error),
//!         }
//!     }
//!     Ok(Progress::More)
//! }
//!
//! /// To be called after a readable event. Returns whether the connection goes on.
//! fn advance(
//!     stream: &mut TcpStream,
//!     token: Token,
//!     received: &mut Vec<u8>,
//!     registry: &Registry,
//! ) -> io::Result<bool> {
//!     match read_some(&*stream, received)? {
//!         Progress::Drained => {}
//!         Progress::More => registry.reregister(stream, token, Interest::READABLE)?,
//!         Progress::Ended => return Ok(false),
//!     }
//!     Ok(true)
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # use std::io::Write;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let one = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # one.set_nonblocking(true)?;
//! # let mut one = TcpStream::from_std(one);
//! # let (mut other, _) = listener.accept()?;
//! # let writer = std::thread::spawn(move || other.write_all(&[7; 1 << 20]));
//! # let mut poll = mio::Poll::new()?;
//! # let mut events = mio::Events::with_capacity(4);
//! # poll.registry().register(&mut one, Token(0), Interest::READABLE)?;
//! # let mut received = Vec::new();
//! # while advance(&mut one, Token(0), &mut received, poll.registry())? {
//! #     poll.poll_until(&mut events, None)?;
//! # }
//! # writer.join().unwrap()?;
//! # assert_eq!(received.len(), 1 << 20);
//! # Ok(())
//! # }
//! ```
//!
//! Reading needs no `&mut` of the stream: `(&stream).read(&mut buffer)` reads through a
//! shared reference, such as an `Arc` gives. The same goes for writing.
//!
//! A peer that sends faster than the program works would fill `received` without end.
//! Stop reading before that, and *remember that the source may still be readable*. When
//! there is room again, read on without waiting for an event, or `reregister`.
//! `examples/echo.rs` in the repository does both.
//!
//! # Writing
//!
//! A source can be written to most of the time. So write first, and wait only when there
//! was no room. Keep the rest, and go on when the source is reported writable.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::io::{self, Write};
//!
//! /// Writes what is waiting. Returns whether all of it went.
//! fn write_waiting(mut stream: impl Write, waiting: &mut VecDeque<u8>) -> io::Result<bool> {
//!     while !waiting.is_empty() {
//!         match stream.write(waiting.as_slices().0) {
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
//! # let one = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # one.set_nonblocking(true)?;
//! # let one = mio::net::TcpStream::from_std(one);
//! # let (other, _) = listener.accept()?;
//! # let mut waiting = VecDeque::from(vec![1; 10]);
//! # while !write_waiting(&one, &mut waiting)? {}
//! # assert!(waiting.is_empty());
//! # one.shutdown(std::net::Shutdown::Write)?;
//! # waiting.push_back(1);
//! # assert!(write_waiting(&one, &mut waiting).is_err());
//! # drop(other);
//! # Ok(())
//! # }
//! ```
//!
//! (Not a `Vec`: after each write in part, its `drain` moves all the rest to the front. A
//! `Vec` with an offset does as well.)
//!
//! A TCP stream is registered once for `READABLE | WRITABLE`. It reports each edge, and
//! nothing while it stays writable. A Unix stream reports writable whenever its peer has
//! read, and a UDP socket after each datagram that has left. Register those for writing
//! only while something waits to be written. This code does so. It serves Unix streams
//! and TCP, which would not need it:
//!
//! ```
//! use std::collections::VecDeque;
//! use std::io::{self, Write};
//!
//! use mio::event::Source;
//! use mio::{Interest, Registry, Token};
//! # fn write_waiting(mut stream: impl Write, waiting: &mut VecDeque<u8>) -> io::Result<bool> {
//! #     while !waiting.is_empty() {
//! #         match stream.write(waiting.as_slices().0) {
//! #             Ok(length) => drop(waiting.drain(..length)),
//! #             Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
//! #             Err(error) => return Err(error),
//! #         }
//! #     }
//! #     Ok(true)
//! # }
//!
//! /// `S` is a `UnixStream` or a `TcpStream`.
//! struct Connection<S> {
//!     stream: S,
//!     token: Token,
//!     interest: Interest,
//!     waiting: VecDeque<u8>,
//! }
//!
//! impl<S: Write + Source> Connection<S> {
//!     fn send(&mut self, registry: &Registry, bytes: &[u8]) -> io::Result<()> {
//!         let is_first = self.waiting.is_empty();
//!         self.waiting.extend(bytes);
//!         match is_first {
//!             true => self.advance(registry),
//!             false => Ok(()), // behind what waits for room already
//!         }
//!     }
//!
//!     /// Also to be called after a writable event.
//!     fn advance(&mut self, registry: &Registry) -> io::Result<()> {
//!         let interest = match write_waiting(&mut self.stream, &mut self.waiting)? {
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
//! # fn run<S: Write + Source>(stream: S, mut peer: impl io::Read + Send + 'static) -> io::Result<()> {
//! #     let mut poll = mio::Poll::new()?;
//! #     let mut events = mio::Events::with_capacity(4);
//! #     let mut connection = Connection {
//! #         stream,
//! #         token: Token(0),
//! #         interest: Interest::READABLE,
//! #         waiting: VecDeque::new(),
//! #     };
//! #     poll.registry().register(&mut connection.stream, Token(0), Interest::READABLE)?;
//! #     let reader = std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()).unwrap());
//! #     for _ in 0..8 {
//! #         connection.send(poll.registry(), &[7; 1 << 20])?;
//! #     }
//! #     while !connection.waiting.is_empty() {
//! #         poll.poll_until(&mut events, None)?;
//! #         connection.advance(poll.registry())?;
//! #     }
//! #     assert_eq!(connection.interest, Interest::READABLE);
//! #     drop(connection);
//! #     assert_eq!(reader.join().unwrap(), 8 << 20);
//! #     Ok(())
//! # }
//! #
//! # fn main() -> io::Result<()> {
//! #     let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! #     let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! #     stream.set_nonblocking(true)?;
//! #     run(mio::net::TcpStream::from_std(stream), listener.accept()?.0)?;
//! #     #[cfg(unix)]
//! #     {
//! #         let (stream, peer) = std::os::unix::net::UnixStream::pair()?;
//! #         stream.set_nonblocking(true)?;
//! #         run(mio::net::UnixStream::from_std(stream), peer)?;
//! #     }
//! #     Ok(())
//! # }
//! ```
//!
//! A queue without a limit is memory that a slow peer decides about. Where the peer's own
//! requests fill the queue, stop reading from it while more than a certain amount waits.
//! Where others fill it, drop the peer. Try to write before you count: what there is room
//! for does not wait.
//!
//! ## Writing to many at once
//!
//! A message to many peers, such as a line of a chat: append it to each queue now, and
//! flush the queues once, at the end of the turn. Several messages of a turn then cost
//! one write for each peer.
//!
//! Each peer has a flag that says that an attempt is owed. Only two things *set* it:
//! sending, and a writable event. Only the flush *clears* it. A flag that each event
//! overwrites (`dirty = event.is_writable()`) forgets attempts.
//!
//! ```
//! use std::collections::{HashMap, VecDeque};
//! use std::io::{self, Write};
//! use std::mem;
//!
//! use mio::net::TcpStream;
//! use mio::Token;
//! # fn write_waiting(mut stream: impl Write, waiting: &mut VecDeque<u8>) -> io::Result<bool> {
//! #     while !waiting.is_empty() {
//! #         match stream.write(waiting.as_slices().0) {
//! #             Ok(length) => drop(waiting.drain(..length)),
//! #             Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
//! #             Err(error) => return Err(error),
//! #         }
//! #     }
//! #     Ok(true)
//! # }
//!
//! const LIMIT: usize = 1 << 20;
//!
//! struct Peer {
//!     /// Registered for `READABLE | WRITABLE`.
//!     stream: TcpStream,
//!     waiting: VecDeque<u8>,
//!     dirty: bool,
//!     /// It takes no more. What it has sent before may still be there to be read.
//!     is_deaf: bool,
//! }
//!
//! fn send_to_all(peers: &mut HashMap<Token, Peer>, message: &[u8]) {
//!     for peer in peers.values_mut().filter(|peer| !peer.is_deaf) {
//!         peer.waiting.extend(message);
//!         peer.dirty = true;
//!     }
//! }
//!
//! /// After a writable event.
//! fn is_writable(peers: &mut HashMap<Token, Peer>, token: Token) {
//!     if let Some(peer) = peers.get_mut(&token) {
//!         peer.dirty = true;
//!     }
//! }
//!
//! /// Once a turn, behind the loop over the events.
//! fn flush(peers: &mut HashMap<Token, Peer>) {
//!     peers.retain(|_, peer| {
//!         if !mem::take(&mut peer.dirty) {
//!             return true;
//!         }
//!         // On `WouldBlock` a writable event will come.
//!         if write_waiting(&peer.stream, &mut peer.waiting).is_err() {
//!             // Drop it when reading has returned 0 or an error, and not before.
//!             peer.is_deaf = true;
//!             peer.waiting.clear();
//!         }
//!         peer.waiting.len() <= LIMIT
//!     });
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # use mio::{Events, Interest, Poll};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut poll = Poll::new()?;
//! # let mut events = Events::with_capacity(8);
//! # let mut peers = HashMap::new();
//! # let mut readers = Vec::new();
//! # for n in 0..3 {
//! #     let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! #     stream.set_nonblocking(true)?;
//! #     let mut stream = TcpStream::from_std(stream);
//! #     let both = Interest::READABLE | Interest::WRITABLE;
//! #     poll.registry().register(&mut stream, Token(n), both)?;
//! #     peers.insert(Token(n), Peer { stream, waiting: VecDeque::new(), dirty: false, is_deaf: false });
//! #     let (mut other, _) = listener.accept()?;
//! #     readers.push(std::thread::spawn(move || {
//! #         io::copy(&mut other, &mut io::sink()).unwrap()
//! #     }));
//! # }
//! # for _ in 0..100 {
//! #     send_to_all(&mut peers, &[7; 10_000]);
//! # }
//! # flush(&mut peers);
//! # assert_eq!(peers.len(), 3);
//! # while peers.values().any(|peer| !peer.waiting.is_empty()) {
//! #     poll.poll_until(&mut events, None)?;
//! #     for event in &events {
//! #         if event.is_writable() {
//! #             is_writable(&mut peers, event.token());
//! #         }
//! #     }
//! #     flush(&mut peers);
//! # }
//! # drop(peers);
//! # for reader in readers {
//! #     assert_eq!(reader.join().unwrap(), 1_000_000);
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! An error of writing does not mean that all was read: a peer that says something and
//! closes has both. So it ends the writing, and reading ends the connection.
//!
//! `LIMIT` is more than what one turn can append to one queue. Else a peer that does
//! read is dropped, too.
//!
//! For Unix streams, change the interest in `flush`, as above: `write_waiting` says
//! whether all of it went.
//!
//! # Connecting
//!
//! [`TcpStream::connect`](crate::net::TcpStream::connect) starts an attempt. Its end,
//! good or bad, is a writable event.
//! [`take_error`](crate::net::TcpStream::take_error) and
//! [`peer_addr`](crate::net::TcpStream::peer_addr) tell which it was:
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
//! Reading returns 0 when the peer has ended its side. That is the certain sign on every
//! system. [`is_read_closed`](crate::event::Event::is_read_closed) and
//! [`is_write_closed`](crate::event::Event::is_write_closed) can come earlier, while
//! data is still to be read. So do not drop a stream because of an event: read to the
//! end first.
//!
//! After the peer's end the other direction may go on (a half-closed connection). A
//! server answers first, and drops then. A client that has asked all it wants to ends
//! its own direction, and reads on:
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
//! Dropping a socket ends its registration once no copy of its descriptor is open.
//! What shares its descriptor with something else (`SourceFd`, a duplicate) must be
//! deregistered first. A child process that is being started holds copies of all
//! descriptors until its exec. So a program whose tokens are addresses always
//! deregisters before it frees.
//!
//! Events that were taken before may still name a source that the program has dropped
//! meanwhile. Look the token up, and pass over what is gone. A program that gives tokens
//! anew does so after it has gone through the events.
//!
//! ## Keeping a half-closed connection
//!
//! A program that goes on writing after the peer's end:
//!
//! - After a read of 0, read no more. Further reads return 0 again, and never
//!   `WouldBlock`. Later events may say readable and read closed again: pass over that.
//! - An error of writing (but `WouldBlock` and `Interrupted`) ends the connection. So does
//!   an event that says
//!   [`is_write_closed`](crate::event::Event::is_write_closed) or
//!   [`is_error`](crate::event::Event::is_error). The rule against dropping because of
//!   an event concerns unread data only, and after a read of 0 there is none. Such an
//!   event may come before the read of 0, and not again: keep it in a flag, and drop the
//!   connection when both have come.
//! - Keep the interest `WRITABLE`, for a Unix stream too, whether something waits or
//!   not: on kqueue, write closed comes to that interest alone. After the read of 0 it
//!   may be the only one.
//! - A TCP peer that *closed* looks like a half-closed one until something is written to
//!   it. That first write succeeds, and a reset answers it. So a server that has nothing
//!   to write needs a deadline, or probes: messages of its protocol, or `SO_KEEPALIVE`,
//!   which the crate `socket2` sets. A Unix stream that is closed is reported as write
//!   closed at once.
//!
//! ## Ending a server
//!
//! Stop accepting: take the connections that wait already, who would be reset otherwise,
//! and drop the listener. Append the farewell to each queue. Poll with a deadline until
//! the queues are empty, or time is up.
//!
//! Then do not just drop. Input that was not read turns the close into a reset, and a
//! reset may destroy what is still on its way to the peer. So first end this side's
//! direction (`shutdown`), and throw away what comes until the peer has ended, too:
//!
//! ```
//! use std::collections::VecDeque;
//! use std::io::{self, Read, Write};
//! use std::net::Shutdown;
//! use std::time::Instant;
//!
//! use mio::net::TcpStream;
//! use mio::{Events, Poll};
//! # fn write_waiting(mut stream: impl Write, waiting: &mut VecDeque<u8>) -> io::Result<bool> {
//! #     while !waiting.is_empty() {
//! #         match stream.write(waiting.as_slices().0) {
//! #             Ok(length) => drop(waiting.drain(..length)),
//! #             Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
//! #             Err(error) => return Err(error),
//! #         }
//! #     }
//! #     Ok(true)
//! # }
//! # enum Progress { Drained, More, Ended }
//! # fn read_some(mut stream: impl Read, received: &mut Vec<u8>) -> io::Result<Progress> {
//! #     let mut buffer = [0; 16 * 1024];
//! #     for _ in 0..4 {
//! #         match stream.read(&mut buffer) {
//! #             Ok(0) => return Ok(Progress::Ended),
//! #             Ok(length) => received.extend_from_slice(&buffer[..length]),
//! #             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
//! #                 return Ok(Progress::Drained);
//! #             }
//! #             Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
//! #             Err(error) => return Err(error),
//! #         }
//! #     }
//! #     Ok(Progress::More)
//! # }
//!
//! struct Connection {
//!     /// Registered for `READABLE | WRITABLE`.
//!     stream: TcpStream,
//!     waiting: VecDeque<u8>,
//!     has_ended: bool,
//! }
//!
//! impl Connection {
//!     /// Writes what is left, ends, and throws away what comes.
//!     fn end(&mut self) -> io::Result<Progress> {
//!         if !self.has_ended && write_waiting(&self.stream, &mut self.waiting)? {
//!             self.stream.shutdown(Shutdown::Write)?;
//!             self.has_ended = true;
//!         }
//!         match read_some(&self.stream, &mut Vec::new())? {
//!             // The peer sends no more, but may still take the farewell.
//!             Progress::Ended if !self.has_ended => Ok(Progress::Drained),
//!             progress => Ok(progress),
//!         }
//!     }
//! }
//!
//! /// Drops all connections, at the deadline if not before.
//! fn end_all(
//!     poll: &mut Poll,
//!     events: &mut Events,
//!     mut connections: Vec<Connection>,
//!     deadline: Instant,
//! ) -> io::Result<()> {
//!     loop {
//!         let mut is_busy = false;
//!         // Tries all, whoever had an event: it is the end.
//!         connections.retain_mut(|connection| match connection.end() {
//!             Ok(Progress::Ended) | Err(_) => false,
//!             Ok(Progress::More) => {
//!                 is_busy = true;
//!                 true
//!             }
//!             Ok(Progress::Drained) => true,
//!         });
//!         let now = Instant::now();
//!         if connections.is_empty() || now >= deadline {
//!             return Ok(());
//!         }
//!         let until = if is_busy { now } else { deadline };
//!         poll.poll_until(events, Some(until))?;
//!     }
//! }
//! #
//! # fn main() -> io::Result<()> {
//! # use mio::{Interest, Token};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut poll = Poll::new()?;
//! # let mut events = Events::with_capacity(8);
//! # let mut connections = Vec::new();
//! # let mut clients = Vec::new();
//! # for n in 0..3 {
//! #     let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! #     stream.set_nonblocking(true)?;
//! #     let mut stream = TcpStream::from_std(stream);
//! #     let both = Interest::READABLE | Interest::WRITABLE;
//! #     poll.registry().register(&mut stream, Token(n), both)?;
//! #     let waiting = VecDeque::from(vec![7; 1 << 20]);
//! #     connections.push(Connection { stream, waiting, has_ended: false });
//! #     let (mut client, _) = listener.accept()?;
//! #     client.write_all(b"not read yet")?;
//! #     clients.push(std::thread::spawn(move || {
//! #         let mut farewell = Vec::new();
//! #         client.read_to_end(&mut farewell).map(|_| farewell.len())
//! #     }));
//! # }
//! # let deadline = Instant::now() + std::time::Duration::from_secs(60);
//! # end_all(&mut poll, &mut events, connections, deadline)?;
//! # for client in clients {
//! #     assert_eq!(client.join().unwrap()?, 1 << 20);
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! A client that just stays costs the whole deadline. To leave sooner, give the time
//! after the last queue was emptied a limit of its own.
//!
//! # What each way of closing reports
//!
//! What is portable:
//!
//! - To learn of the peer's end, *read until 0 or an error*.
//! - To learn that nobody reads, write: the error is
//!   [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) or
//!   [`ConnectionReset`](std::io::ErrorKind::ConnectionReset), on Windows also
//!   [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted).
//! - To learn what failed, call [`take_error`](crate::net::TcpStream::take_error).
//! - An event of any kind says when to look.
//!
//! The table says what each backend reports of a source that was registered for
//! `READABLE | WRITABLE`, has been reported writable, and has room.
//!
//! - **R** readable, **W** writable, **rc** read closed, **wc** write closed, **E** error
//! - (W): still writable, which is nothing new: an event of epoll says all that holds
//! - –: no event
//! - empty: the system has no such thing
//! - °: seen in the same way as the others, but no test holds it
//! - ¹ … ⁶: the notes below the table
//!
//! | what happens | epoll | poll(2), event ports | kqueue | AFD |
//! |---|---|---|---|---|
//! | **TCP** | | | | |
//! | the peer shuts down its writing half, or closes | R (W) rc | R rc ¹ | R rc | R rc |
//! | the same, with data before it that was not read yet | R (W) rc | R rc ¹ | R rc | R rc ² |
//! | the peer shuts down its reading half ° | – | – | – | – |
//! | the peer resets the connection | R W rc wc E | R W rc wc E | R W rc wc E | R W rc wc E |
//! | the peer has closed, and this side writes: a reset answers ° | R W rc wc E | R W rc wc E | R W rc wc E | R W rc wc E |
//! | this side shuts down its writing half | (W) | – | W wc | – |
//! | this side shuts down its reading half ° | R (W) rc | R rc ¹ | R rc | – |
//! | this side shuts down both ° | R W rc wc | R W rc wc | R W rc wc | – |
//! | both sides have shut down their writing halves | R W rc wc | R W rc wc | R W rc wc | R rc |
//! | a connect is refused | R W rc wc E | R W rc wc E | R W rc wc E | R W rc wc E |
//! | it never was connected | W rc wc | W rc wc | – | – |
//! | **Unix streams** | | | | |
//! | the peer shuts down its writing half | R (W) rc | R rc ¹ | R rc | |
//! | the peer shuts down its reading half ° | (W) | – | – ³ | |
//! | the peer closes | R W rc wc | R W rc wc | R W rc wc | |
//! | the peer closes, and has not read all | R W rc wc E | R W rc wc E | R W rc wc ³ | |
//! | this side shuts down its writing half ° | (W) | – | W wc | |
//! | this side shuts down its reading half ° | R (W) rc | R rc ¹ | R rc | |
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
//! **One interest.** A source that was registered for one direction is not reported
//! ready for the other. Rows with wc or E come all the same, without the R or W that was
//! not asked for. rc alone comes to `READABLE` only. On kqueue each direction has an
//! event of its own, in any order, for who asked for it: R rc (E) comes to `READABLE`,
//! W wc (E) to `WRITABLE`.
//!
//! **What is not repeated.** On epoll an event tells all that holds. Elsewhere what was
//! reported before does not come again, except together with wc.
//!
//! **Where this is known from.** epoll and poll(2) are Linux's. Event ports have been run
//! on a model only, which was made from documents. kqueue has been run on a model that
//! answers as a NetBSD kernel did, with Linux's sockets under it. AFD has been run under
//! Wine. `tests/closing.rs` in the repository holds the rows without °.
//!
//! # Waking from other threads
//!
//! A [`Waker`] is made once and shared, by reference or in an `Arc`. Put the message
//! where the loop finds it, *then* wake. In the loop, take all messages there are
//! whenever the waker's event comes.
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
//! One event stands for any number of wake-ups, and one may come when there is nothing
//! to take. Waking while a wake-up is pending is one atomic operation, so there is no
//! need to avoid it. Keep the waker until its last wake-up has been reported: one that
//! is dropped before is forgotten. Nobody is woken when the channel's other end is
//! dropped: say `Stop`, and wake.
//!
//! To take some messages only, wake yourself for the rest. The polling thread may wake
//! its own poll:
//!
//! ```
//! # use std::sync::mpsc;
//! # use mio::{Events, Poll, Token, Waker};
//! const AT_ONCE: usize = 64;
//!
//! # fn main() -> std::io::Result<()> {
//! # let mut poll = Poll::new()?;
//! # let mut events = Events::with_capacity(8);
//! # let waker = Waker::new(poll.registry(), Token(0))?;
//! # let (sender, messages) = mpsc::channel();
//! # for n in 0..1000 {
//! #     sender.send(n).unwrap();
//! # }
//! # waker.wake()?;
//! # let mut all = 0;
//! # while all < 1000 {
//! # poll.poll_until(&mut events, None)?;
//! // After the waker's event:
//! let taken = messages.try_iter().take(AT_ONCE).count(); // and do something with them
//! if taken == AT_ONCE {
//!     waker.wake()?; // There may be more: the next poll returns at once.
//! }
//! # all += taken;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! A bounded channel (`sync_channel`) is safe if each send is followed by a wake, also with
//! the bound that is taken at once here. A
//! sender that waits for room relies on the wakes of the messages before its own. So the
//! bound must not be 0, where a send waits until its message is taken. And the polling
//! thread itself must not wait for room.
//!
//! # Deadlines
//!
//! This crate has no timers. Hand the nearest deadline to [`Poll::poll_until`], which
//! never returns empty-handed before it. Where there are few, choose the earliest:
//!
//! ```
//! # use std::time::{Duration, Instant};
//! #
//! # use mio::{Events, Poll};
//! #
//! # fn main() -> std::io::Result<()> {
//! # let mut poll = Poll::new()?;
//! # let mut events = Events::with_capacity(128);
//! # let (mut retries, mut beats) = (0, 0);
//! let mut retry_at: Option<Instant> = None; // when to accept again, perhaps
//! let mut beat_at = Some(Instant::now() + Duration::from_millis(1));
//! # retry_at = beat_at.map(|at| at + Duration::from_millis(1));
//!
//! # while retries + beats < 2 {
//! // Each turn:
//! let nearest = match (retry_at, beat_at) {
//!     (Some(a), Some(b)) => Some(a.min(b)),
//!     (a, b) => a.or(b), // (`retry_at.min(beat_at)` would choose `None`.)
//! };
//! poll.poll_until(&mut events, nearest)?;
//! for _event in &events {
//!     // …
//! }
//! // With or without events: a busy loop is never told that time ran out.
//! let now = Instant::now();
//! if retry_at.is_some_and(|at| at <= now) {
//!     retry_at = None;
//!     // …
//! #     retries += 1;
//! }
//! if beat_at.is_some_and(|at| at <= now) {
//!     beat_at = None; // or the next one
//!     // …
//! #     beats += 1;
//! }
//! # }
//! # assert_eq!((retries, beats), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! Where there are many, keep them in a heap:
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
//! A deadline may no longer count, because the answer came in time. It can stay in the
//! heap: when it comes, look whether it still counts.
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
//! Both have the same token here. An event says that one of them is ready, and the
//! program tries both. Where that is too little, the program registers the two sources
//! each for itself, with two tokens.
//!
//! ## Two kinds of stream in one collection
//!
//! An enum, with a method that returns what both are. A `&mut dyn Source` can be
//! registered like any source:
//!
//! ```
//! use std::io::{self, Read};
//!
//! use mio::event::Source;
//! use mio::net::TcpStream;
//! #[cfg(unix)]
//! use mio::net::UnixStream;
//! use mio::{Interest, Poll, Token};
//!
//! enum Stream {
//!     Tcp(TcpStream),
//!     #[cfg(unix)]
//!     Unix(UnixStream),
//! }
//!
//! impl Stream {
//!     fn source(&mut self) -> &mut dyn Source {
//!         match self {
//!             Stream::Tcp(stream) => stream,
//!             #[cfg(unix)]
//!             Stream::Unix(stream) => stream,
//!         }
//!     }
//! }
//!
//! // `Write` likewise.
//! impl Read for Stream {
//!     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
//!         match self {
//!             Stream::Tcp(stream) => stream.read(buffer),
//!             #[cfg(unix)]
//!             Stream::Unix(stream) => stream.read(buffer),
//!         }
//!     }
//! }
//!
//! # fn main() -> io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # stream.set_nonblocking(true)?;
//! # let mut streams = vec![Stream::Tcp(TcpStream::from_std(stream))];
//! # #[cfg(unix)]
//! # let (stream, _peer) = UnixStream::pair()?;
//! # #[cfg(unix)]
//! # streams.push(Stream::Unix(stream));
//! let poll = Poll::new()?;
//! for (n, stream) in streams.iter_mut().enumerate() {
//!     poll.registry().register(stream.source(), Token(n), Interest::READABLE)?;
//! }
//! # for mut stream in streams {
//! #     let error = stream.read(&mut [0; 8]).unwrap_err();
//! #     assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
//! #     poll.registry().deregister(stream.source())?;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Under an async runtime
//!
//! A runtime has one thread in `poll` at a time ([`Poll::poll`](crate::Poll::poll)
//! takes `&mut`). So the events of a source are seen in one order, each by one thread.
//! All other threads register, deregister and do I/O as they like: a
//! [`Registry`](crate::Registry) and every source can be shared. The polling thread
//! answers an event by waking the task that waits for it. The task tries its operation;
//! when that would block, it waits again. A [`Waker`] ends the wait for what is no I/O: a
//! task that another thread woke, or a deadline that is nearer than the one the poll
//! waits for.
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
//! A program on tokio needs none of this: the runtime has a poll, registers what it is
//! given and does the waking. A descriptor of another kind goes into its `AsyncFd`. The
//! program then needs no [`IoSource`] and no token, and deregisters nothing. The
//! descriptor has to be non-blocking, and a readiness that has ended must be cleared: the
//! guard of an `AsyncFd` has a `try_io` for that. An `AsyncFd` registers the bare
//! descriptor, for both directions unless told otherwise, and does not tell this crate of
//! the I/O. epoll and kqueue see the I/O for themselves, so nothing is missing there. On
//! event ports, and where a program has forced poll(2), such a descriptor is probed with
//! back-off, and may be reported late:
//!
//! | on poll(2) and event ports | is reported at the latest |
//! |---|---|
//! | a source of this crate, or an [`IoSource`], after `WouldBlock` in a known direction | at once |
//! | the same after another failure, a short `peek`, or `WouldBlock` in `try_io` | after 64 ms |
//! | the same while an error or a hang-up lasts | after 64 ms; after one second where both halves have hung up |
//! | a raw descriptor (`SourceFd`, `AsyncFd`) that was reported before | after 64 ms |
//! | anything new: a direction that was not reported yet, an error, the end | at once |
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
//! This works on epoll and kqueue, and on event ports as long as nothing is registered
//! there as a `SourceFd` and the port is not full. It does not work on poll(2), whose
//! descriptor says nothing of its sources, nor on Windows, where a poll has no
//! descriptor. Whoever takes events off the descriptor without `poll` takes them from the
//! poll's wakers: [`Poll`](crate::Poll#nesting) has the limits. The outer loop waits, so
//! it also keeps the deadlines of the inner one.
//!
//! # Speed
//!
//! What the program does matters more than what this crate can do. The time of a turn is
//! mostly that of its system calls. `testing/calls/expected.txt` in the repository lists
//! those of every operation.
//!
//! Fewer calls:
//!
//! - Try before waiting. Read from a connection that was just accepted, write an
//!   answer at once, and register only what then blocks. A short connection may then
//!   need no registration.
//! - Register a TCP stream once for both directions, instead of changing
//!   interests.
//! - Give [`Events`](crate::Events) room for as many as usually come at once, and use
//!   the same ones again. A poll is one system call, for one event or for a thousand.
//! - Write a head and a body by one `write_vectored`.
//! - A read that returns less than its buffer holds has drained a TCP or Unix stream or
//!   a pipe of Unix. The next bytes, or the end, come with a new event. Stopping there
//!   spares the read that would block. But read on until 0 where the event was
//!   [`is_read_closed`](crate::event::Event::is_read_closed). For an [`IoSource`] only
//!   `WouldBlock` counts, and a datagram says nothing of the next one. (Out-of-band data
//!   ends a read early, too.)
//! - Take all messages of a queue at each wake-up. A turn that is busy lets more of them
//!   come together.
//!
//! Cheaper calls:
//!
//! - Timeouts of whole milliseconds use the cheaper call of Linux. Others cost some 10 %
//!   of a turn more, and so does [`Poll::poll_until`] with a deadline that has not passed.
//!   A loop that does not need its deadlines exactly rounds up the time that is left, and
//!   calls `poll`.
//! - A wait with a timeout reads the clock. One without (`None`, or zero) does not, so
//!   give none where there is no deadline. A look with a timeout of zero before each wait
//!   spares the clock when something is ready, and costs a call when nothing is.
//! - The first wake-up is a system call. Waking while it is pending is an atomic
//!   operation, so messages that come together cost one call.
//! - Linux adds at least 50 µs to a wait, so that timers expire together. Where that is
//!   too much, a thread asks for less: `prctl(PR_SET_TIMERSLACK, 1)`.
//! - On poll(2) every wait costs time in proportion to the registrations, most of it in the
//!   kernel: it is for where nothing else is allowed.
//!
//! Memory and processors:
//!
//! - One buffer for reading serves all connections of a thread. Use up what was read, or
//!   copy it to where it waits, before the next one reads. Idle connections then hold no
//!   memory.
//! - After set-up this crate allocates nothing. What a turn allocates is the program's.
//! - To use several processors, give each thread a poll, and each connection to one of
//!   them. Two polls of one socket wake two threads for each event, and Windows is known
//!   to mix them up.
//!
//! # When a program hangs
//!
//! | symptom | likely cause |
//! |---|---|
//! | the first event comes, no other | the source was not drained until `WouldBlock` |
//! | one connection stops, others go on | its event was taken and the operation put off, and then forgotten (a flag overwritten, a list cleared): after an event the program owes an attempt, until `WouldBlock` |
//! | it worked until the load grew | more connections or messages behind one event than were taken; reading stopped when a buffer was full, and nothing read on later |
//! | a server stops accepting, and goes on when a client comes | accepting failed because no descriptor was left, and nothing tried again: no event comes for the connections that wait |
//! | no writable event | there was room all along: write first, wait after `WouldBlock` |
//! | a connect never ends | the stream is registered for reading alone: the end of an attempt is a writable event |
//! | a Unix socket's connect, or a datagram to another socket (`send_to`), is never possible again | its `WouldBlock` is about the queue of another socket, and no event of this one tells of that: try again after a while |
//! | nothing at all | the socket was taken over (`from_std`, `From<OwnedFd>`) and is in blocking mode, so that a call blocks the thread; or the source, or the waker, was registered with another poll |
//! | it hangs on Windows, event ports or poll(2) only | I/O went past the source (on its descriptor, by another crate): do it in `try_io`, or in `do_io` of an [`IoSource`]; or the closure did not return the kernel's `WouldBlock` as it is (but an `Ok(None)`) |
//! | it is late by up to 64 ms on event ports or poll(2) | a raw descriptor (`SourceFd`): use an [`IoSource`]; or `try_io` where `try_io_with` would know the direction |
//! | a Unix datagram socket spins on every backend | it sends at each writable event to a peer that is full or gone: Linux wakes the sender at each attempt. Wait a little before the next attempt |
//! | a processor is busy | a source was added to the poll's raw descriptor without `EPOLLET`, and its event is not answered; or the loop polls with a zero timeout while there is nothing to do; or it reads on after a read of 0, which never becomes `WouldBlock` |
//! | wake-ups get lost | the waker was dropped; or only some messages are taken, and nothing wakes for the rest; or the message was put into its place after the wake-up |
//! | `poll` fails with `Interrupted`, and the program handles no signal | the process was stopped and continued (Ctrl-Z and `fg`, a debugger), or an io_uring was closed: call again, or use [`Poll::poll_until`] |
//! | a deadline passes unseen | the loop looks at the clock only when there are no events |
//! | events of a connection that is gone | a duplicate of its descriptor is open (a child process): deregister before dropping |
//! | events name the wrong connection | its token was given anew while events that had been taken before were still to be handled |
//! | `AlreadyExists` or `NotFound` in debug builds alone, with a text that names the mistake | the source is registered with another poll, or twice, or not at all; release builds leave that to the kernel (epoll, kqueue), and return its own error |
//! | a child process hangs, or its parent misses events | the child uses a poll or waker from before the fork: it may only drop them |
//! | a signal handler hangs | it woke a [`Waker`] on event ports, where that takes a lock |
//!
//! To see what happens: the feature `log` tells each registration at level trace;
//! `strace -f -e trace=epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2` the calls of Linux;
//! `{event:?}` all that an event says.
//!
//! ## Preloaded network stacks
//!
//! A network stack outside of the kernel (Onload, libvma) is preloaded, and replaces the C
//! library's functions on sockets and epoll. On Linux this crate calls the kernel's epoll
//! without the C library. But where `epoll_create1`, `epoll_ctl` or `epoll_wait` is replaced,
//! every call on an epoll uses the replacement, and so does a [`Waker`]. This crate looks for
//! a replacement once, when the first [`Poll`] of the process opens, without a system call.
//!
//! - Programs that are linked dynamically with glibc do this. With musl, or linked
//!   statically, a program does not see the events of such sockets on epoll. Try
//!   [`Backend::Poll`](crate::Backend::Poll), which calls the C library.
//! - Preload the stack (`LD_PRELOAD`). A library that the program loads later replaces nothing.
//! - Timeouts are rounded up to milliseconds, unless the stack replaces `epoll_pwait2` as well.
//! - This crate registers with `EPOLLET` and relies on edges: see what the stack's manual says
//!   about them.
//! - The thread and memory sanitizers replace these functions, too, and so they see the calls.
//!
//! To see whose function a program uses:
//! `LD_DEBUG=bindings PROGRAM 2>&1 | grep 'symbol .epoll_'`.
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
