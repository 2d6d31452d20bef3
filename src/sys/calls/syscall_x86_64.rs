//! System calls by the processor's instruction, on x86-64. The manual page
//! [syscall(2)](https://man7.org/linux/man-pages/man2/syscall.2.html) lists the
//! registers.
//!
//! A call of the C library's `syscall` goes through a table, passes one argument on the stack,
//! moves each of the others by one register, and stores its error in a thread-local
//! variable. This costs nine instructions more for a wake, for which `cargo xtask counts` counts
//! some forty in all. The C library's functions for single calls are cancellation points: in a process
//! with threads they execute two atomic operations, which are useless because Rust's threads
//! cannot be cancelled.

use std::arch::asm;
use std::io;

use libc::c_long;

/// Waits on epoll, with a timeout in milliseconds.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;

/// # Safety
///
/// The call must be sound with these arguments: every pointer among them must be valid for what
/// the kernel reads and writes. The kernel ignores arguments beyond the call's own.
#[inline(always)]
pub(crate) unsafe fn syscall(number: c_long, arguments: [c_long; 6]) -> io::Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: c_long;
    // SAFETY: the instruction changes `rax`, `rcx` and `r11`, which are declared as outputs, and the
    // memory that the call writes, whose validity the caller guarantees. The kernel does not use
    // this stack.
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
    // The kernel returns an error as its negated number, 1 to 4095. None of the calls
    // made through this function returns another negative value.
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
        // SAFETY: the length is 0, and the descriptor is invalid, so the kernel accesses no memory.
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
            // SAFETY: a new mapping at an address that the kernel chooses changes no memory in use.
            unsafe { syscall(libc::SYS_mmap, arguments) }
        };
        let address = map(&file).unwrap() as *const u8;
        // SAFETY: a readable page is mapped at `address`.
        assert_eq!(unsafe { ptr::read(address.cast::<[u8; 6]>()) }, *b"second");
        // SAFETY: nothing refers to the mapping any more.
        let unmapped = unsafe { libc::munmap(address.cast_mut().cast(), page as usize) };
        assert_eq!(unmapped, 0);
    }
}
