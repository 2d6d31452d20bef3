//! Placeholders for backends that a system or build lacks. A row of `platform/` names its backends, which
//! take precedence over these.

use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::selector::{EventBuffer, Key, Outcome, Owner, RawSource, Selector};
use crate::{Backend, Interest, Token};

macro_rules! absent {
    ($($Backend:ident)*) => {
        $(
            #[allow(dead_code)] // where the system has it
            pub(super) type $Backend = Absent;
        )*
    };
}

absent!(Epoll ReplacedEpoll Kqueue EventPorts Afd Poll);

/// The backends of the system, the best one first.
#[allow(dead_code)] // on a system that has any
pub(super) const BEST_FIRST: [Backend; 0] = [];

/// A backend that is absent. The type has no values, so its methods are never called.
// Unused on a system that has every backend.
#[allow(dead_code)]
pub(crate) enum Absent {}

impl Selector for Absent {
    fn open() -> io::Result<Absent> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn select(&self, _: &mut EventBuffer, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }

    fn register(&self, _: RawSource, _: Token, _: Interest, _: Owner) -> io::Result<Key> {
        match *self {}
    }

    fn reregister(&self, _: RawSource, _: Key, _: Token, _: Interest) -> io::Result<Key> {
        match *self {}
    }

    fn deregister(&self, _: RawSource, _: Key) -> io::Result<()> {
        match *self {}
    }

    fn after_io(&self, _: Key, _: Outcome) {
        match *self {}
    }

    fn release(&self, _: Key) {
        match *self {}
    }

    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
