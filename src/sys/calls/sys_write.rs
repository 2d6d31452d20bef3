//! [write(2)](https://man7.org/linux/man-pages/man2/write.2.html), past the C
//! library, whose function is a cancellation point: two atomic operations in a
//! process with threads, which buy nothing, since Rust's cannot be cancelled.

use std::io;
use std::os::fd::RawFd;

use libc::c_long;

use crate::sys::cvt;

/// Writes all 8 bytes, or none.
#[inline]
pub(crate) fn write_word(fd: RawFd, word: &'static u64) -> io::Result<()> {
    let bytes: *const u64 = word;
    let size = 8 as c_long;
    // SAFETY: the kernel reads the 8 bytes of `word`. It takes all or none: it is
    // less than a pipe takes at once.
    cvt(unsafe { libc::syscall(libc::SYS_write, c_long::from(fd), bytes, size) })?;
    Ok(())
}
