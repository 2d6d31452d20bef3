//! [pipe(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/pipe.html)

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys::error::cvt;

/// The receiving and the sending end of a new pipe, both non-blocking and closed
/// on exec.
pub(crate) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends: [libc::c_int; 2] = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    cvt(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: both are new, open and nobody else's.
    let ends = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    for end in &ends {
        // SAFETY: sets flags of a descriptor that has no others.
        cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: as above.
        cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    }
    Ok(ends)
}
