//! [write(2)](https://man7.org/linux/man-pages/man2/write.2.html), called without
//! the C library, whose function costs more: see `syscall_x86_64.rs`.

use std::io;
use std::os::fd::RawFd;

use libc::c_long;

use super::syscall::syscall;

#[inline]
pub(crate) fn write_word(fd: RawFd, word: &'static u64) -> io::Result<()> {
    let bytes: *const u64 = word;
    let arguments = [c_long::from(fd), bytes as c_long, 8, 0, 0, 0];
    // SAFETY: the kernel reads 8 bytes at `bytes`, which is a `&'static u64`.
    // It takes all 8 or none, because a pipe accepts as many atomically.
    unsafe { syscall(libc::SYS_write, arguments) }?;
    Ok(())
}
