//! In the place of a backend that a system or build does not have.

use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::{EventBuffer, RawSource, Selector, WakeHandle};
use crate::{Interest, Token};

/// A selector, or a wake handle, that there is none of: no value of this type
/// can be made, so its methods are never called.
#[derive(Debug)]
// On a system that has everything it stands for nothing.
#[allow(dead_code)]
pub(crate) enum Absent {}

impl Selector for Absent {
    fn open() -> io::Result<Absent> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn select(&self, _: &mut EventBuffer, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }

    fn register(&self, _: RawSource, _: Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    fn reregister(&self, _: RawSource, _: Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    fn deregister(&self, _: RawSource) -> io::Result<()> {
        match *self {}
    }

    fn wake_handle(&self, _: Token) -> io::Result<WakeHandle> {
        match *self {}
    }

    #[cfg(unix)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

#[cfg(not(feature = "os-poll"))]
impl Absent {
    pub(crate) fn signal(&self) -> io::Result<()> {
        match *self {}
    }
}
