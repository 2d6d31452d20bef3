//! Pipes: [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html), whose
//! second system call, [ioctl(2)] with `FIONBIO`, std keeps to itself.
//!
//! [ioctl(2)]: https://man7.org/linux/man-pages/man2/ioctl.2.html

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::c_int;

use super::cvt;

/// The receiving and the sending end of a new pipe, both non-blocking and
/// closed on exec, by one call.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: both are new, open and nobody else's.
    let [receiver, sender] = ends.map(|end| File::from(unsafe { OwnedFd::from_raw_fd(end) }));
    Ok((receiver, sender))
}

#[cfg(feature = "os-ext")]
pub(crate) fn set_nonblocking(end: &File, nonblocking: bool) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let mut nonblocking = c_int::from(nonblocking);
    // SAFETY: the kernel reads one int.
    cvt(unsafe { libc::ioctl(end.as_raw_fd(), libc::FIONBIO, &mut nonblocking) })?;
    Ok(())
}
