//! [pipe(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/pipe.html)

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys::error::cvt;

/// Opens a pipe: its receiving and its sending end, both non-blocking and closed on exec.
pub(crate) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends: [libc::c_int; 2] = [0; 2];
    // SAFETY: the kernel writes two descriptors, and `ends` has two elements.
    cvt(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: the call has just opened both descriptors, and nothing else owns them.
    let ends = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    for end in &ends {
        // SAFETY: `fcntl` with F_SETFD has no memory-safety preconditions; `end` is open.
        cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: as above, with F_SETFL.
        cvt(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    }
    Ok(ends)
}
