//! Pipes, as files.

use std::fs::File;
use std::io;

/// Opens a pipe: its receiving and its sending end, both non-blocking and closed on exec.
#[inline(never)]
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let [receiver, sender] = super::platform::pipe::pipe()?;
    Ok((receiver.into(), sender.into()))
}

/// Uses fcntl(2): unlike a socket's, a pipe's mode cannot be set by ioctl(2) on every system.
#[cfg(feature = "os-ext")]
#[inline(never)]
pub(crate) fn set_nonblocking(end: &File, nonblocking: bool) -> io::Result<()> {
    use super::error::cvt;
    use std::os::fd::AsRawFd;

    let fd = end.as_raw_fd();
    // SAFETY: `fcntl` with F_GETFL has no memory-safety preconditions; `end` is open.
    let flags = cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let flags = match nonblocking {
        true => flags | libc::O_NONBLOCK,
        false => flags & !libc::O_NONBLOCK,
    };
    // SAFETY: as above, with F_SETFL.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) })?;
    Ok(())
}
