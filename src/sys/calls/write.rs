//! [write(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/write.html)

use std::io;
use std::os::fd::RawFd;

use crate::sys::error::cvt;

/// Writes all 8 bytes, or none.
pub(crate) fn write_word(fd: RawFd, word: &'static u64) -> io::Result<()> {
    let bytes: *const u64 = word;
    // SAFETY: the kernel reads 8 bytes at `bytes`, which is a `&'static u64`.
    // It takes all 8 or none, because a pipe accepts as many atomically.
    cvt(unsafe { libc::write(fd, bytes.cast(), 8) })?;
    Ok(())
}
