//! What is compared: event queues behind one face, which costs nothing.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// An event queue.
pub trait Subject: Sized + 'static {
    const NAME: &'static str;

    /// Whether readiness is reported when it begins. Otherwise it is as long as it lasts, and what
    /// is ready has to be drained before the next wait.
    const EDGES: bool;

    /// Whether closing a descriptor ends its registration, as programs that use it rely on.
    const CLOSING_DEREGISTERS: bool = false;

    /// A connected stream socket.
    type Tcp: Source<Self> + Read + Write + From<OwnedFd>;
    type Unix: Source<Self> + Read + Write + From<OwnedFd>;
    /// A TCP listener, and what it accepts.
    type Listener: Source<Self> + Accept<Self::Tcp> + From<OwnedFd>;
    /// Any descriptor.
    type Bare: Source<Self> + From<OwnedFd>;

    type Waker: Wake;

    /// `capacity`: how many events a wait takes at most, where that can be told.
    fn new(capacity: usize) -> Self;

    /// Waits, and calls `each` for every event.
    fn wait(&mut self, timeout: Option<Duration>, each: impl FnMut(Ready));

    /// Something to wake it with. It may be made once only.
    fn waker(&mut self) -> Self::Waker;
}

/// What can be watched.
pub trait Source<S> {
    fn register(&mut self, subject: &mut S, token: usize, want: Want);
    fn reregister(&mut self, subject: &mut S, token: usize, want: Want);
    fn deregister(&mut self, subject: &mut S);
}

pub trait Accept<Stream> {
    /// `None` where it would block.
    fn accept(&mut self) -> Option<Stream>;
}

pub trait Wake: Send + Sync + 'static {
    fn wake(&self);
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Want {
    Read,
    Write,
}

impl Want {
    pub fn reads(self) -> bool {
        self == Want::Read
    }

    pub fn writes(self) -> bool {
        self == Want::Write
    }
}

/// An event, but for a waker's, of which only the number counts.
#[derive(Copy, Clone, Debug)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
}

/// The token that a waker's event has.
pub const WAKER: usize = usize::MAX - 1;
