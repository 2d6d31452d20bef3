//! The properties of the types that the compiler can check.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

// Links the model of the kernel.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use std::collections::{BTreeSet, HashSet};
use std::mem::size_of;
use std::panic::{RefUnwindSafe, UnwindSafe};

use mio::event::{Event, Iter, Source};
use mio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use mio::net::{UnixDatagram, UnixListener, UnixStream};
#[cfg(unix)]
use mio::unix::pipe::{Receiver, Sender};
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Events, Interest, IoSource, Poll, Registry, Token, Waker};

fn plain<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}
fn source<T: Source + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}

#[test]
fn everything_can_be_sent_and_shared() {
    plain::<Backend>();
    plain::<Event>();
    plain::<Events>();
    plain::<Interest>();
    plain::<Iter<'_>>();
    plain::<Poll>();
    plain::<Registry>();
    plain::<Token>();
    plain::<Waker>();
    source::<IoSource<std::net::TcpStream>>();
    source::<TcpListener>();
    source::<TcpStream>();
    source::<UdpSocket>();
}

#[cfg(windows)]
#[test]
fn windows_types_can_be_sent_and_shared() {
    source::<mio::windows::WaitHandle>();
}

#[cfg(unix)]
#[test]
fn unix_types_can_be_sent_and_shared() {
    source::<IoSource<std::fs::File>>();
    source::<Receiver>();
    source::<Sender>();
    source::<SourceFd<'_>>();
    source::<UnixDatagram>();
    source::<UnixListener>();
    source::<UnixStream>();
}

/// Tables of connections stay small. In release builds, if the kernel stores the registrations, a
/// source is no larger than its descriptor.
#[test]
fn sources_are_small() {
    // Windows' sockets are as wide as a pointer.
    let most = if cfg!(windows) { 24 } else { 16 };
    assert!(size_of::<TcpStream>() <= most);
    if !cfg!(debug_assertions) && Backend::available() == [Backend::Epoll] {
        assert_eq!(size_of::<TcpStream>(), size_of::<std::net::TcpStream>());
    }
}

#[test]
fn tokens_are_numbers() {
    assert_eq!(usize::from(Token(5)), 5);
    assert!(Token(1) < Token(2));
    assert_eq!(format!("{:?}", Token(3)), "Token(3)");
    let hashed: HashSet<_> = [Token(1), Token(1), Token(2)].into();
    assert_eq!(hashed.len(), 2);
    let ordered: BTreeSet<_> = [Token(2), Token(1)].into();
    assert_eq!(ordered.into_iter().next(), Some(Token(1)));
}

#[test]
fn interests_are_sets() {
    let mut both = Interest::READABLE;
    assert!(both.is_readable() && !both.is_writable());
    both |= Interest::WRITABLE;
    assert!(both.is_readable() && both.is_writable());
    assert!(!both.is_aio() && !both.is_lio() && !both.is_priority());
    assert_eq!(both.remove(Interest::READABLE), Some(Interest::WRITABLE));
    assert_eq!(Interest::READABLE.remove(both), None);
    assert_eq!(
        Interest::READABLE.remove(Interest::WRITABLE),
        Some(Interest::READABLE)
    );
    assert!(Interest::READABLE < both);
    assert_eq!(format!("{both:?}"), "READABLE | WRITABLE");
    // An `Option` of it needs no extra memory.
    assert_eq!(size_of::<Option<Interest>>(), size_of::<Interest>());
}
