//! System calls by the processor's own instruction, on x86-64:
//! [syscall(2)](https://man7.org/linux/man-pages/man2/syscall.2.html) has the
//! registers.
//!
//! The C library's `syscall` is called through a table, gets an argument over the
//! stack, moves the others by one register each and leaves its error in a variable of
//! the thread's: nine instructions more for a wake, of which `cargo xtask counts` counts
//! some forty in all. Its functions for single calls are cancellation points, with two
//! atomic operations in a process with threads, which buy nothing, since Rust's threads
//! cannot be cancelled.

use std::arch::asm;
use std::io;

use libc::c_long;

/// Waits on epoll, with a timeout in milliseconds.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;

/// # Safety
///
/// What the call does with these arguments must be sound. Arguments that it does not
/// have are passed over.
#[inline(always)]
pub(crate) unsafe fn syscall(number: c_long, arguments: [c_long; 6]) -> io::Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: c_long;
    // SAFETY: the instruction changes `rax`, `rcx`, `r11` and what the call itself
    // writes to, for which the caller answers. The kernel does not use this stack.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // The kernel's errors are the negated numbers from 1 to 4095; none of the calls
    // that this is used for returns another negative value.
    if result < 0 {
        return Err(error(result));
    }
    Ok(result as usize)
}

#[cold]
fn error(result: c_long) -> io::Error {
    io::Error::from_raw_os_error(-result as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_kernels_number() {
        // SAFETY: the kernel looks at no memory, since the descriptor is none.
        let outcome = unsafe { syscall(libc::SYS_write, [-1, 0, 0, 0, 0, 0]) };
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn each_argument_reaches_its_register() {
        use std::fs::File;
        use std::os::fd::AsRawFd;
        use std::ptr;

        let page = 4096;
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * page).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"second", page).unwrap();
        // Six arguments, of which each matters.
        let map = |file: &File| {
            let arguments = [
                0,
                page as c_long,
                c_long::from(libc::PROT_READ),
                c_long::from(libc::MAP_PRIVATE),
                c_long::from(file.as_raw_fd()),
                page as c_long,
            ];
            // SAFETY: a new mapping, where the kernel wants it.
            unsafe { syscall(libc::SYS_mmap, arguments) }
        };
        let address = map(&file).unwrap() as *const u8;
        // SAFETY: a page was mapped there.
        assert_eq!(unsafe { ptr::read(address.cast::<[u8; 6]>()) }, *b"second");
        // SAFETY: nobody uses the mapping any more.
        let unmapped = unsafe { libc::munmap(address.cast_mut().cast(), page as usize) };
        assert_eq!(unmapped, 0);
    }
}
