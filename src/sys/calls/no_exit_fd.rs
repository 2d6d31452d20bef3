//! A system that has neither descriptors of processes nor a queue that watches processes.

use std::io;
use std::os::fd::OwnedFd;

use libc::pid_t;

/// Fails with `Unsupported`.
pub(crate) fn open(_: pid_t) -> io::Result<Option<OwnedFd>> {
    Err(io::ErrorKind::Unsupported.into())
}
