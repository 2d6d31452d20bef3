//! The subjects: event queues behind one trait, which costs nothing.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// An event queue.
pub trait Subject: Sized + 'static {
    const NAME: &'static str;

    /// Whether readiness is reported when it begins. Otherwise it is reported as long as it lasts,
    /// and a ready source has to be drained before the next wait.
    const EDGES: bool;

    /// Whether closing a descriptor ends its registration, as programs on this subject rely on.
    const CLOSING_DEREGISTERS: bool = false;

    /// A connected stream socket.
    type Tcp: Source<Self> + Read + Write + From<OwnedFd>;
    type Unix: Source<Self> + Read + Write + From<OwnedFd>;
    /// A TCP listener, and the streams that it accepts.
    type Listener: Source<Self> + Accept<Self::Tcp> + From<OwnedFd>;
    /// Any descriptor.
    type Bare: Source<Self> + From<OwnedFd>;

    type Waker: Wake;

    /// `capacity`: the maximum number of events of a wait, if the subject has a setting for it.
    fn new(capacity: usize) -> Self;

    /// Waits, and calls `each` for every event.
    fn wait(&mut self, timeout: Option<Duration>, each: impl FnMut(Ready));

    /// Creates a waker. It may be called only once.
    fn waker(&mut self) -> Self::Waker;
}

/// The sources that can be watched.
pub trait Source<S> {
    fn register(&mut self, subject: &mut S, token: usize, want: Want);
    fn reregister(&mut self, subject: &mut S, token: usize, want: Want);
    fn deregister(&mut self, subject: &mut S);
}

pub trait Accept<Stream> {
    /// `None` if it would block.
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

/// An event. For a waker's event only the token matters.
#[derive(Copy, Clone, Debug)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
}

/// The token of a waker's event.
pub const WAKER: usize = usize::MAX - 1;
