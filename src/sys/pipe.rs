//! Pipes, as files.

use std::fs::File;
use std::io;

/// The receiving and the sending end of a new pipe, both non-blocking and closed
/// on exec.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let [receiver, sender] = super::platform::pipe::pipe()?;
    Ok((receiver.into(), sender.into()))
}

/// By fcntl(2): not every system can do it by one ioctl(2), as with a socket.
#[cfg(feature = "os-ext")]
pub(crate) fn set_nonblocking(end: &File, nonblocking: bool) -> io::Result<()> {
    use super::error::cvt;
    use std::os::fd::AsRawFd;

    let fd = end.as_raw_fd();
    // SAFETY: takes and returns numbers.
    let flags = cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let flags = match nonblocking {
        true => flags | libc::O_NONBLOCK,
        false => flags & !libc::O_NONBLOCK,
    };
    // SAFETY: as above.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) })?;
    Ok(())
}
