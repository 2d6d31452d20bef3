//! The Linux calls that the model uses, each in a safe wrapper.

use std::env;
use std::ffi::c_int;
use std::mem;
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::time::Duration;

/// An error number.
pub(crate) type Errno = c_int;
pub(crate) type Result<T> = std::result::Result<T, Errno>;

pub(crate) fn errno() -> Errno {
    // SAFETY: the address is that of this thread's `errno`, which is always valid.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn set_errno(errno: Errno) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno }
}

/// The result of a C function.
pub(crate) fn answer(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|errno| {
        set_errno(errno);
        -1
    })
}

fn cvt(result: c_int) -> Result<c_int> {
    if result < 0 {
        Err(errno())
    } else {
        Ok(result)
    }
}

/// Blocks all signals in this thread, and returns which ones were blocked.
pub(crate) fn block_signals() -> libc::sigset_t {
    // SAFETY: all zeros are a valid value of this array of integers, and both sets outlive the
    // calls.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

pub(crate) fn restore_signals(blocked: &libc::sigset_t) {
    // SAFETY: the set outlives the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, blocked, ptr::null_mut()) };
}

/// A descriptor of the model itself, closed on exec.
#[derive(Debug)]
pub(crate) struct Fd(c_int);

impl Fd {
    /// The descriptor, which the caller has to close from now on.
    pub(crate) fn into_number(self) -> c_int {
        let number = self.0;
        mem::forget(self);
        number
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// close(2) itself: the C library's symbol is the model's own function.
pub(crate) fn close(fd: c_int) -> c_int {
    // SAFETY: `close` has no memory-safety preconditions. Callers own `fd`: the model closes its
    // own descriptors, or those that the program asked it to close.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// dup3(2) itself.
pub(crate) fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    // SAFETY: as for `close`, for the object of the descriptor `new`.
    unsafe { libc::syscall(libc::SYS_dup3, old, new, flags) as c_int }
}

pub(crate) fn is_open(fd: c_int) -> bool {
    // SAFETY: `fcntl` with F_GETFD has no memory-safety preconditions.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Whether the open object can be read, and whether it can be written.
pub(crate) fn access(fd: c_int) -> Result<(bool, bool)> {
    // SAFETY: `fcntl` with F_GETFL has no memory-safety preconditions.
    let flags = cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let mode = flags & libc::O_ACCMODE;
    Ok((mode != libc::O_WRONLY, mode != libc::O_RDONLY))
}

pub(crate) fn epoll_create() -> Result<Fd> {
    // SAFETY: the call has no memory-safety preconditions, and has just opened this descriptor,
    // which nothing else owns.
    cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Fd)
}

/// An epoll instance for the program itself: not closed on exec.
pub(crate) fn epoll_create_inheritable() -> Result<Fd> {
    // SAFETY: as above.
    cvt(unsafe { libc::epoll_create1(0) }).map(Fd)
}

pub(crate) fn epoll_add(epoll: &Fd, fd: c_int, events: c_int, data: u64) -> Result<()> {
    match epoll_ctl(epoll.0, libc::EPOLL_CTL_ADD, fd, events, data) {
        // The existing entry belongs to a descriptor that was closed without the model seeing it.
        Err(libc::EEXIST) => epoll_ctl(epoll.0, libc::EPOLL_CTL_MOD, fd, events, data),
        result => result,
    }
}

pub(crate) fn epoll_delete(epoll: &Fd, fd: c_int) -> Result<()> {
    epoll_ctl(epoll.0, libc::EPOLL_CTL_DEL, fd, 0, 0)
}

fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, events: c_int, data: u64) -> Result<()> {
    let mut event = libc::epoll_event {
        events: events as u32,
        u64: data,
    };
    // SAFETY: `event` outlives the call.
    cvt(unsafe { libc::epoll_ctl(epoll, op, fd, &mut event) }).map(drop)
}

/// The ready entries, as many as fit.
pub(crate) fn epoll_take<'a>(
    epoll: &Fd,
    room: &'a mut [libc::epoll_event],
) -> &'a [libc::epoll_event] {
    // SAFETY: the pointer and the length are those of `room`, which outlives the call.
    let taken = unsafe { libc::epoll_wait(epoll.0, room.as_mut_ptr(), room.len() as c_int, 0) };
    // A call that does not wait is not interrupted, and nothing else can be wrong with the model's
    // own descriptor.
    &room[..taken.max(0) as usize]
}

/// Waits until something in `epoll` is ready or the timeout has passed, and retrieves nothing. It
/// may return early without a reason.
pub(crate) fn epoll_wait(epoll: c_int, timeout: Option<Duration>) -> Result<()> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    let spec = timeout.map(timespec);
    let spec = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `event` and `spec` outlive the call. The last two arguments are a null signal mask
    // and its size.
    let waited = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll,
            &mut event as *mut libc::epoll_event,
            1,
            spec,
            ptr::null::<libc::sigset_t>(),
            8_usize,
        )
    };
    match cvt(waited as c_int) {
        Ok(_) => Ok(()),
        Err(libc::ENOSYS) => {
            let millis = timeout.map_or(-1, |timeout| {
                let millis = timeout.as_nanos().div_ceil(1_000_000);
                c_int::try_from(millis).unwrap_or(c_int::MAX)
            });
            // SAFETY: `event` outlives the call.
            cvt(unsafe { libc::epoll_pwait(epoll, &mut event, 1, millis, ptr::null()) }).map(drop)
        }
        Err(errno) => Err(errno),
    }
}

fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// A descriptor that can be made readable, and that a kqueue's epoll instance watches.
#[derive(Debug)]
pub(crate) struct Flag {
    eventfd: Fd,
    raised: bool,
}

impl Flag {
    pub(crate) fn new() -> Result<Flag> {
        // SAFETY: the call has no memory-safety preconditions, and has just opened this descriptor,
        // which nothing else owns.
        let fd = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Flag {
            eventfd: Fd(fd),
            raised: false,
        })
    }

    pub(crate) fn set(&mut self, raised: bool) {
        if raised == self.raised {
            return;
        }
        self.raised = raised;
        let mut count = 1_u64;
        // SAFETY: `count` has the eight bytes that the kernel reads or writes for an eventfd.
        unsafe {
            if raised {
                libc::write(self.eventfd.0, (&raw const count).cast(), 8);
            } else {
                libc::read(self.eventfd.0, (&raw mut count).cast(), 8);
            }
        }
    }

    pub(crate) fn watch_by(&self, epoll: &Fd) -> Result<()> {
        epoll_add(epoll, self.eventfd.0, libc::EPOLLIN, 0)
    }

    /// Whether `fd` is an epoll instance that watches this one. The error shows what kind of
    /// descriptor it is instead. This changes nothing, but it may wake a thread that waits there.
    pub(crate) fn is_watched_by(&self, fd: c_int) -> Result<()> {
        epoll_ctl(fd, libc::EPOLL_CTL_MOD, self.eventfd.0, libc::EPOLLIN, 0)
    }
}

pub(crate) fn watch_epoll(outer: &Fd, inner: &Fd) -> Result<()> {
    epoll_add(outer, inner.0, libc::EPOLLIN, 0)
}

/// poll(2) itself: the C library's symbol is the model's own function.
pub(crate) fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> Result<c_int> {
    let (first, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    let spec = timeout.map(timespec);
    let spec = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the pointer and the count are those of `entries`, `spec` outlives the call, and the mask is
    // null.
    cvt(unsafe { libc::ppoll(first, count, spec, ptr::null()) })
}

/// poll(2)'s bits, or EBADF.
pub(crate) fn poll_bits(fd: c_int) -> Result<i16> {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP,
        revents: 0,
    };
    poll(slice::from_mut(&mut entry), Some(Duration::ZERO))?;
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(libc::EBADF);
    }
    Ok(entry.revents)
}

pub(crate) fn stat(fd: c_int) -> Result<libc::stat> {
    // SAFETY: all zeros are a valid value of this struct of integers.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `stat` outlives the call.
    cvt(unsafe { libc::fstat(fd, &mut stat) })?;
    Ok(stat)
}

/// A descriptor of a process, which is readable when it has exited.
pub(crate) fn open_process(pid: c_int) -> Result<Fd> {
    // SAFETY: no memory is involved, and the new descriptor is nobody else's.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) as c_int })?;
    Ok(Fd(fd))
}

/// Whether it has exited. That it is closed behind the model's back looks like it.
pub(crate) fn has_exited(process: &Fd) -> bool {
    poll_bits(process.0).map_or(true, |bits| bits & libc::POLLIN != 0)
}

pub(crate) fn watch_process(epoll: &Fd, process: &Fd, cookie: u64) -> Result<()> {
    epoll_add(epoll, process.0, libc::EPOLLIN | libc::EPOLLET, cookie)
}

/// The distance of a file's offset from its end.
pub(crate) fn bytes_to_end(fd: c_int) -> Result<i64> {
    // SAFETY: `lseek` has no memory-safety preconditions.
    let offset = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    Ok(stat(fd)?.st_size - offset.max(0))
}

/// The number of bytes that can be read: FIONREAD.
pub(crate) fn bytes_to_read(fd: c_int) -> u32 {
    count(fd, libc::FIONREAD)
}

/// The number of written bytes that are still on this side: SIOCOUTQ.
pub(crate) fn bytes_in_flight(fd: c_int) -> u32 {
    count(fd, libc::TIOCOUTQ)
}

fn count(fd: c_int, request: libc::Ioctl) -> u32 {
    let mut bytes: c_int = 0;
    // SAFETY: both requests write one int, and `bytes` outlives the call.
    let result = unsafe { libc::ioctl(fd, request, &mut bytes) };
    if result < 0 {
        0
    } else {
        bytes.max(0) as u32
    }
}

/// A socket option that is an int.
pub(crate) fn socket_option(fd: c_int, option: c_int) -> Result<c_int> {
    let mut value: c_int = 0;
    let mut length = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `value` and its length outlive the call.
    cvt(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &mut length,
        )
    })?;
    Ok(value)
}

/// Whether a socket is a Unix socket.
pub(crate) fn is_unix(fd: c_int) -> bool {
    socket_option(fd, libc::SO_DOMAIN) == Ok(libc::AF_UNIX)
}

/// The beginning of Linux's `struct tcp_info`: the oldest libc crate has less of it.
#[repr(C)]
pub(crate) struct TcpInfo {
    pub(crate) state: u8,
    skipped: [u8; 23],
    /// The number of connections that wait to be accepted, for a listener.
    pub(crate) unacked: u32,
    skipped_too: [u8; 92],
    pub(crate) bytes_acked: u64,
}

const _: () = assert!(mem::offset_of!(TcpInfo, unacked) == 24);
const _: () = assert!(mem::offset_of!(TcpInfo, bytes_acked) == 120);

pub(crate) fn tcp_info(fd: c_int) -> Result<TcpInfo> {
    let mut info = TcpInfo {
        state: 0,
        skipped: [0; 23],
        unacked: 0,
        skipped_too: [0; 92],
        bytes_acked: 0,
    };
    let mut length = mem::size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, all of them integers.
    cvt(unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        )
    })?;
    Ok(info)
}

/// Whether the modelled kernel is NetBSD's.
pub(crate) fn is_netbsd() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| env::var_os("KQUEUE_MODEL_NETBSD").is_some_and(|value| value == "1"))
}

/// Whether a pipe is in a folder.
pub(crate) fn has_a_name(fd: c_int) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.is_absolute())
}

/// Whether a Unix stream socket refuses to write because its write side is shut down: it writes an
/// empty buffer. (On a TCP socket this would take the pending error.)
pub(crate) fn refuses_to_write(fd: c_int) -> bool {
    // SAFETY: the kernel reads nothing from an empty buffer.
    let sent = unsafe { libc::send(fd, ptr::null(), 0, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    cvt(sent as c_int) == Err(libc::EPIPE)
}
