//! The Linux calls that the model stands on, each in a safe wrapper.

use std::ffi::c_int;
use std::mem;
use std::ptr;
use std::time::Duration;

/// An error number.
pub(crate) type Errno = c_int;
pub(crate) type Result<T> = std::result::Result<T, Errno>;

pub(crate) fn errno() -> Errno {
    // SAFETY: the address is that of this thread's `errno`, always valid.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn set_errno(errno: Errno) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno }
}

fn cvt(result: c_int) -> Result<c_int> {
    if result < 0 {
        Err(errno())
    } else {
        Ok(result)
    }
}

/// Blocks all signals in this thread, and tells which ones were.
pub(crate) fn block_signals() -> libc::sigset_t {
    // SAFETY: all zeroes is a valid value of this array of integers, and both live for the calls.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

pub(crate) fn restore_signals(blocked: &libc::sigset_t) {
    // SAFETY: the set lives for the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, blocked, ptr::null_mut()) };
}

/// A descriptor of the model's own, close-on-exec.
#[derive(Debug)]
pub(crate) struct Fd(c_int);

impl Fd {
    /// The number, which the caller has to close from now on.
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
    // SAFETY: closing takes no memory. That `fd` is the caller's to close is for the callers
    // to know: the model closes its own, or does what the program asked for.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// dup3(2) itself.
pub(crate) fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    // SAFETY: as for `close`, for what was open under the number `new`.
    unsafe { libc::syscall(libc::SYS_dup3, old, new, flags) as c_int }
}

pub(crate) fn is_open(fd: c_int) -> bool {
    // SAFETY: reads the flags of a descriptor; no memory is involved.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Whether what is open there can be read, and written.
pub(crate) fn access(fd: c_int) -> Result<(bool, bool)> {
    // SAFETY: reads the flags of an open file; no memory is involved.
    let flags = cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let mode = flags & libc::O_ACCMODE;
    Ok((mode != libc::O_WRONLY, mode != libc::O_RDONLY))
}

pub(crate) fn epoll_create() -> Result<Fd> {
    // SAFETY: no memory is involved, and the new descriptor is nobody else's.
    cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Fd)
}

/// An epoll instance as the program's own descriptor: without close-on-exec.
pub(crate) fn epoll_create_inheritable() -> Result<Fd> {
    // SAFETY: as above.
    cvt(unsafe { libc::epoll_create1(0) }).map(Fd)
}

pub(crate) fn epoll_add(epoll: &Fd, fd: c_int, events: c_int, data: u64) -> Result<()> {
    match epoll_ctl(epoll.0, libc::EPOLL_CTL_ADD, fd, events, data) {
        // What was there is of a number that was closed behind the model's back.
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
    // SAFETY: `event` lives for the call.
    cvt(unsafe { libc::epoll_ctl(epoll, op, fd, &mut event) }).map(drop)
}

/// What is ready now; at most as much as there is room for.
pub(crate) fn epoll_take<'a>(
    epoll: &Fd,
    room: &'a mut [libc::epoll_event],
) -> &'a [libc::epoll_event] {
    // SAFETY: pointer and length are those of `room`, which lives for the call.
    let taken = unsafe { libc::epoll_wait(epoll.0, room.as_mut_ptr(), room.len() as c_int, 0) };
    // Without a wait there is no EINTR, and nothing else can be wrong with a descriptor
    // of our own.
    &room[..taken.max(0) as usize]
}

/// Waits until something in `epoll` is ready or the time has passed, and takes nothing.
/// May return early, for no reason.
pub(crate) fn epoll_wait(epoll: c_int, timeout: Option<Duration>) -> Result<()> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    let spec = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let spec = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `event` and `spec` live for the call; the last two arguments are no signal
    // mask and its size.
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
            // SAFETY: `event` lives for the call.
            cvt(unsafe { libc::epoll_pwait(epoll, &mut event, 1, millis, ptr::null()) }).map(drop)
        }
        Err(errno) => Err(errno),
    }
}

/// Something that can be made readable, and watched by a kqueue's epoll instance.
#[derive(Debug)]
pub(crate) struct Flag {
    eventfd: Fd,
    raised: bool,
}

impl Flag {
    pub(crate) fn new() -> Result<Flag> {
        // SAFETY: no memory is involved, and the new descriptor is nobody else's.
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
        // SAFETY: `count` has the eight bytes that an eventfd reads and writes.
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

    /// Whether `fd` is an epoll instance that watches this: the error says which sort of
    /// descriptor it is instead. Changes nothing but that it may wake who waits there.
    pub(crate) fn is_watched_by(&self, fd: c_int) -> Result<()> {
        epoll_ctl(fd, libc::EPOLL_CTL_MOD, self.eventfd.0, libc::EPOLLIN, 0)
    }
}

pub(crate) fn watch_epoll(outer: &Fd, inner: &Fd) -> Result<()> {
    epoll_add(outer, inner.0, libc::EPOLLIN, 0)
}

/// poll(2)'s bits, or EBADF.
pub(crate) fn poll_bits(fd: c_int) -> Result<i16> {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: `entry` is one entry, and lives for the call.
    cvt(unsafe { libc::poll(&mut entry, 1, 0) })?;
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(libc::EBADF);
    }
    Ok(entry.revents)
}

pub(crate) fn stat(fd: c_int) -> Result<libc::stat> {
    // SAFETY: all zeroes is a valid value of this struct of integers.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `stat` lives for the call.
    cvt(unsafe { libc::fstat(fd, &mut stat) })?;
    Ok(stat)
}

/// How far the offset of a file is from its end.
pub(crate) fn bytes_to_end(fd: c_int) -> Result<i64> {
    // SAFETY: reads the offset; no memory is involved.
    let offset = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    Ok(stat(fd)?.st_size - offset.max(0))
}

/// How many bytes can be read: FIONREAD.
pub(crate) fn bytes_to_read(fd: c_int) -> u32 {
    count(fd, libc::FIONREAD)
}

/// How many bytes of what was written are still on this side: SIOCOUTQ.
pub(crate) fn bytes_in_flight(fd: c_int) -> u32 {
    count(fd, libc::TIOCOUTQ)
}

fn count(fd: c_int, request: libc::Ioctl) -> u32 {
    let mut bytes: c_int = 0;
    // SAFETY: both requests write an int, and `bytes` lives for the call.
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
    // SAFETY: `value` and its length live for the call.
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

/// The beginning of Linux's `struct tcp_info`: more than the oldest libc crate has.
#[repr(C)]
pub(crate) struct TcpInfo {
    pub(crate) state: u8,
    skipped: [u8; 23],
    /// For a listener, how many connections wait to be accepted.
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
    // SAFETY: the kernel writes `length` bytes at most, all of them integers.
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

/// Whether a Unix stream socket refuses to write because its write side is shut: asked by
/// writing nothing. (Of a TCP socket this would take the pending error.)
pub(crate) fn refuses_to_write(fd: c_int) -> bool {
    // SAFETY: of an empty buffer nothing is read.
    let sent = unsafe { libc::send(fd, ptr::null(), 0, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    cvt(sent as c_int) == Err(libc::EPIPE)
}
