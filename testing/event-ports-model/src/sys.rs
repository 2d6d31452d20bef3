//! The system calls that the model is made of, each in a safe wrapper.
//!
//! Errors are the `errno`.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::Duration;

pub type RawFd = c_int;
pub type Result<T> = std::result::Result<T, c_int>;

pub fn errno() -> c_int {
    // SAFETY: the address is that of this thread's errno, always valid.
    unsafe { *libc::__errno_location() }
}

pub fn set_errno(errno: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = errno };
}

fn cvt(result: c_int) -> Result<c_int> {
    if result < 0 {
        Err(errno())
    } else {
        Ok(result)
    }
}

pub fn process() -> libc::pid_t {
    // SAFETY: no arguments, always successful.
    unsafe { libc::getpid() }
}

/// Blocks all signals for this thread, and returns which ones were blocked before.
pub fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` writes the whole of `all`, and `pthread_sigmask`, whose
    // arguments are valid, the whole of `before`.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

pub fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set is valid; the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// Closes a descriptor, without the model's own `close`.
pub fn close(fd: RawFd) -> c_int {
    // SAFETY: closing a number is memory-safe; whose it is, callers know.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// Duplicates a descriptor under a given number, without the model's own `dup2`.
pub fn dup2(old: RawFd, new: RawFd) -> c_int {
    if old == new {
        return if is_open(old) { new } else { -1 };
    }
    // SAFETY: replacing a number is memory-safe; whose it is, callers know.
    unsafe { libc::syscall(libc::SYS_dup3, old, new, 0) as c_int }
}

/// A duplicate that is closed on exec.
pub fn duplicate(fd: RawFd) -> Result<RawFd> {
    // SAFETY: plain numbers.
    cvt(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
}

pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// An epoll instance that is *not* closed on exec: what a program has of a port
/// isn't either.
pub fn epoll() -> Result<RawFd> {
    // SAFETY: a plain number.
    cvt(unsafe { libc::epoll_create1(0) })
}

pub fn epoll_ctl(epoll: RawFd, operation: c_int, fd: RawFd, events: u32, data: u64) -> Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the event is valid for the call.
    cvt(unsafe { libc::epoll_ctl(epoll, operation, fd, &mut event) }).map(drop)
}

/// Takes what is ready, without waiting.
pub fn epoll_take(epoll: RawFd, events: &mut [libc::epoll_event]) -> usize {
    // SAFETY: the pointer is valid for as many events as are said.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as c_int, 0) };
    // It fails for arguments only, which are right.
    count.max(0) as usize
}

pub fn eventfd() -> Result<RawFd> {
    // SAFETY: plain numbers.
    cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Makes an eventfd readable, or ends that.
pub fn set_readable(eventfd: RawFd, readable: bool) {
    let mut count = 1u64;
    let count: *mut u64 = &mut count;
    // SAFETY: the pointer is valid for eight bytes. Neither call blocks, and both
    // are allowed to change nothing.
    unsafe {
        if readable {
            libc::write(eventfd, count.cast(), 8);
        } else {
            libc::read(eventfd, count.cast(), 8);
        }
    }
}

/// What of `events`, or of what is always told, is true of a descriptor now.
pub fn readiness(fd: RawFd, events: u16) -> u16 {
    let mut asked = libc::pollfd {
        fd,
        events: events as i16,
        revents: 0,
    };
    // SAFETY: the pointer is valid for one entry. With all signals blocked and
    // nothing to wait for it does not fail.
    unsafe { libc::poll(&mut asked, 1, 0) };
    asked.revents as u16
}

/// Waits until one of two descriptors at most is readable. `None` is for ever. The only
/// error is EINTR.
pub fn wait(fds: &[RawFd], timeout: Option<Duration>) -> Result<()> {
    let mut asked = [libc::pollfd {
        fd: -1,
        events: libc::POLLIN,
        revents: 0,
    }; 2];
    for (entry, &fd) in asked.iter_mut().zip(fds) {
        entry.fd = fd;
    }
    let timeout = timeout.map(|timeout| libc::timespec {
        // A wait that ends early, after 68 years, is begun again.
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), |timeout| timeout);
    // SAFETY: the pointers are valid for the call, that of the entries for two; a null
    // signal mask leaves the thread's as it is.
    cvt(unsafe { libc::ppoll(asked.as_mut_ptr(), 2, timeout, std::ptr::null()) }).map(drop)
}

/// Calls `f` for each open descriptor of the process until it returns true.
pub fn any_descriptor(mut f: impl FnMut(RawFd) -> bool) -> bool {
    /// Offset of the record's length, and of its name, in a `linux_dirent64`.
    const LENGTH: usize = 16;
    const NAME: usize = 19;

    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let Ok(folder) = cvt(unsafe { libc::open(c"/proc/self/fd".as_ptr(), flags) }) else {
        return false;
    };
    let mut buffer = [0u8; 4096];
    let mut found = false;
    'read: while !found {
        // SAFETY: the pointer is valid for as many bytes as are said.
        let read = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                folder,
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        if read <= 0 {
            break;
        }
        let mut records = &buffer[..read as usize];
        while !records.is_empty() {
            let length = u16::from_ne_bytes([records[LENGTH], records[LENGTH + 1]]);
            let (record, rest) = records.split_at(length as usize);
            let name = record[NAME..].split(|&byte| byte == 0).next();
            let number = name.and_then(|name| std::str::from_utf8(name).ok()?.parse().ok());
            if number.is_some_and(|number| number != folder && f(number)) {
                found = true;
                break 'read;
            }
            records = rest;
        }
    }
    close(folder);
    found
}
