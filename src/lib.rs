//! Metal I/O: readiness of sockets and pipes from the operating system's own
//! event queue, with as little as possible in between.
//!
//! A [`Poll`] watches any number of event sources ([`net`], `unix::pipe`,
//! any descriptor through `unix::SourceFd` or [`IoSource`]) and reports into
//! [`Events`] which of them became ready for what. A [`Waker`] ends a wait from
//! another thread. All I/O is non-blocking and done by the program itself.
//!
//! No event is lost, nothing is reported once [`Registry::deregister`] has
//! returned, and after set-up nothing is allocated. Timers, files, threads and
//! futures are not here: they are built on top.
//!
//! Start with the [`guide`]; if a program misbehaves, with
//! [troubleshooting](guide::troubleshooting). [Migrating](guide::migrating) is for programs
//! that use an older version or `polling`; [`features`] lists what can be left out.
//!
//! ```
//! use std::io::{self, Read, Write};
//!
//! use mio::net::{TcpListener, TcpStream};
//! use mio::{Events, Interest, Poll, Token};
//!
//! const SERVER: Token = Token(0);
//! const CLIENT: Token = Token(1);
//!
//! /// The outcome of an operation, or `None` when it would block.
//! fn ready<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
//!     match outcome {
//!         Ok(value) => Ok(Some(value)),
//!         Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
//!         Err(error) => Err(error),
//!     }
//! }
//!
//! # fn main() -> io::Result<()> {
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(128);
//!
//! let mut server = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//! poll.registry().register(&mut server, SERVER, Interest::READABLE)?;
//!
//! let mut client = TcpStream::connect(server.local_addr()?)?;
//! poll.registry().register(&mut client, CLIENT, Interest::READABLE)?;
//!
//! let (mut greeting, mut buffer) = (Vec::new(), [0; 64]);
//! 'wait: loop {
//!     poll.poll_until(&mut events, None)?;
//!     for event in &events {
//!         match event.token() {
//!             // Several connections may wait behind one event.
//!             SERVER => while let Some(mut stream) = ready(server.accept())?.map(|(s, _)| s) {
//!                 stream.write_all(b"hello")?;
//!             },
//!             // What a stream sends may come in pieces.
//!             CLIENT => while let Some(length) = ready(client.read(&mut buffer))? {
//!                 greeting.extend_from_slice(&buffer[..length]);
//!                 if greeting == b"hello" {
//!                     break 'wait;
//!                 }
//!             },
//!             _ => unreachable!(),
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Platforms
//!
//! | system | [backends](Backend), the default first |
//! |---|---|
//! | Linux, Android | epoll, poll(2) |
//! | Apple's systems, FreeBSD, NetBSD, OpenBSD, DragonFly BSD | kqueue, poll(2) |
//! | illumos | epoll, event ports, poll(2) |
//! | Solaris | event ports, poll(2) |
//! | other Unix | poll(2) |
//! | Windows | AFD |
//!
//! Of these, epoll and poll(2) are tested on Linux, kqueue and event ports on models of their
//! kernels, and AFD under Wine. None of these three has run on its real kernel. `docs/PLATFORMS.md`
//! has the details. Where a behaviour differs, the item's documentation says so; the test suite
//! runs on every backend.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without `os-poll` the types exist, but there is no event queue behind them, so much of the code
// that serves a queue is never called.
#![cfg_attr(not(feature = "os-poll"), allow(dead_code))]

// Links the model of the kernel.
#[cfg(all(test, mio_model = "event-ports"))]
extern crate event_ports_model as _;
#[cfg(all(test, mio_model = "kqueue"))]
extern crate kqueue_model as _;

mod backend;
pub mod event;
pub mod features;
#[cfg(any(doc, doctest))]
pub mod guide;
mod interest;
mod io_source;
#[macro_use]
mod macros;
#[cfg(feature = "net")]
#[cfg_attr(docsrs, doc(cfg(feature = "net")))]
pub mod net;
mod pending;
mod poll;
mod registry;
mod stats;
mod sys;
mod token;
#[cfg(all(unix, feature = "os-ext"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "os-ext"))))]
pub mod unix;
mod waker;
#[cfg(all(windows, feature = "os-ext"))]
#[cfg_attr(docsrs, doc(cfg(all(windows, feature = "os-ext"))))]
pub mod windows;

pub use backend::Backend;
pub use event::Events;
pub use interest::Interest;
pub use io_source::IoSource;
pub use poll::Poll;
pub use registry::Registry;
#[cfg(feature = "stats")]
pub use stats::Stats;
pub use token::Token;
pub use waker::Waker;
