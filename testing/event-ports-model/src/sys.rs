//! The system calls that the model uses, each in a safe wrapper.
//!
//! Errors are values of `errno`.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::Duration;

pub type RawFd = c_int;
pub type Result<T> = std::result::Result<T, c_int>;

pub fn errno() -> c_int {
    // SAFETY: the address is that of this thread's `errno`, which is always valid.
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
    // SAFETY: `getpid` has no arguments and no memory-safety preconditions.
    unsafe { libc::getpid() }
}

/// Blocks all signals in this thread. Returns which ones were blocked before.
pub fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` writes the whole of `all`. The arguments of `pthread_sigmask` are valid,
    // and it writes the whole of `before`.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

pub fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set is valid, and the pointer for the old one is null.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// Closes a descriptor by the system call, and not by the model's `close`.
pub fn close(fd: RawFd) -> c_int {
    // SAFETY: `close` has no memory-safety preconditions. The callers own the descriptor.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// Duplicates a descriptor to a given number by the system call, and not by the model's `dup2`.
pub fn dup2(old: RawFd, new: RawFd) -> c_int {
    if old == new {
        return if is_open(old) { new } else { -1 };
    }
    // SAFETY: `dup3` has no memory-safety preconditions. The callers own the descriptor that it
    // replaces.
    unsafe { libc::syscall(libc::SYS_dup3, old, new, 0) as c_int }
}

/// A duplicate that is closed on exec.
pub fn duplicate(fd: RawFd) -> Result<RawFd> {
    // SAFETY: `fcntl` has no memory-safety preconditions with these arguments.
    cvt(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
}

pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: `fcntl` has no memory-safety preconditions with these arguments.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// An epoll instance that is *not* closed on exec, like a program's descriptor of a port.
pub fn epoll() -> Result<RawFd> {
    // SAFETY: `epoll_create1` has no memory-safety preconditions.
    cvt(unsafe { libc::epoll_create1(0) })
}

pub fn epoll_ctl(epoll: RawFd, operation: c_int, fd: RawFd, events: u32, data: u64) -> Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the event outlives the call.
    cvt(unsafe { libc::epoll_ctl(epoll, operation, fd, &mut event) }).map(drop)
}

/// Takes what is ready, without waiting.
pub fn epoll_take(epoll: RawFd, events: &mut [libc::epoll_event]) -> usize {
    // SAFETY: the kernel writes at most as many events as the buffer has.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as c_int, 0) };
    // It fails only for wrong arguments.
    count.max(0) as usize
}

pub fn eventfd() -> Result<RawFd> {
    // SAFETY: `eventfd` has no memory-safety preconditions.
    cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Makes an eventfd readable, or not readable.
pub fn set_readable(eventfd: RawFd, readable: bool) {
    let mut count = 1u64;
    let count: *mut u64 = &mut count;
    // SAFETY: the pointer is valid for eight bytes. Neither call blocks, and either may have no
    // effect.
    unsafe {
        if readable {
            libc::write(eventfd, count.cast(), 8);
        } else {
            libc::read(eventfd, count.cast(), 8);
        }
    }
}

/// Those of `events`, and of the bits that are always reported, that a descriptor has now.
pub fn readiness(fd: RawFd, events: u16) -> u16 {
    let mut asked = libc::pollfd {
        fd,
        events: events as i16,
        revents: 0,
    };
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both pointers outlive the call, that of the entries is valid for one, and a null mask
    // changes nothing. The call does not fail: all signals are blocked, and it does not wait. (Not by
    // poll(2), whose symbol a program may replace.)
    unsafe { libc::ppoll(&mut asked, 1, &at_once, std::ptr::null()) };
    asked.revents as u16
}

/// Waits until one of at most two descriptors is readable. `None` waits for ever. The only error is
/// EINTR.
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
        // A wait that ends early, after 68 years, is started again.
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), |timeout| timeout);
    // SAFETY: the pointers outlive the call, and that of the entries is valid for two. A null
    // signal mask does not change the thread's.
    cvt(unsafe { libc::ppoll(asked.as_mut_ptr(), 2, timeout, std::ptr::null()) }).map(drop)
}

/// Calls `f` for each open descriptor of the process, until it returns true.
pub fn any_descriptor(mut f: impl FnMut(RawFd) -> bool) -> bool {
    /// The offsets of the record's length and of its name in a `linux_dirent64`.
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
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
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
