//! The operating system's services for the workloads, which use none of the contenders.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

/// The seeds of hash maps, for which std calls this function of the C library. They are always the
/// same, so that the cost of a map is the same in every run.
#[no_mangle]
extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: libc::c_uint) -> isize {
    // SAFETY: the caller guarantees that `buffer` has `length` bytes.
    unsafe { buffer.write_bytes(0x5a, length) };
    length as isize
}

/// A descriptor that becomes readable when it is written to.
pub fn eventfd() -> OwnedFd {
    // SAFETY: `eventfd` has no memory-safety preconditions.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A duplicate with this number, which must be free.
pub fn duplicate(fd: &OwnedFd, number: usize) -> OwnedFd {
    // SAFETY: `fcntl` has no memory-safety preconditions with these arguments.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) };
    assert_eq!(copy as usize, number, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

/// Makes an edge on every duplicate of an eventfd.
pub fn signal(eventfd: &OwnedFd) {
    let one = 1u64;
    // SAFETY: the kernel reads the 8 bytes of `one`.
    let written = unsafe { libc::write(eventfd.as_raw_fd(), (&one as *const u64).cast(), 8) };
    assert_eq!(written, 8);
}

/// Makes the eventfd not readable.
pub fn drain(eventfd: &OwnedFd) {
    let mut count = 0u64;
    // SAFETY: the kernel writes the 8 bytes of `count`.
    let read = unsafe { libc::read(eventfd.as_raw_fd(), (&mut count as *mut u64).cast(), 8) };
    assert_eq!(read, 8);
}

/// Two connected streams: the first blocks, and the second does not.
pub fn unix_pair() -> (UnixStream, OwnedFd) {
    let (client, server) = UnixStream::pair().expect("descriptors");
    server.set_nonblocking(true).expect("a socket");
    (client, server.into())
}

pub fn tcp_pair(listener: &TcpListener) -> (TcpStream, OwnedFd) {
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("it listens");
    let (server, _) = listener.accept().expect("it has connected");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    server.set_nonblocking(true).expect("a socket");
    (client, server.into())
}

pub fn tcp_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

/// How often the kernel has taken the processor away from this thread, for another one.
pub fn preempted() -> i64 {
    // SAFETY: all zeros are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `rusage`.
    let got = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    assert_eq!(got, 0);
    usage.ru_nivcsw
}

/// While this lives, the thread that created it, and threads that it starts, share one processor.
///
/// The delay between two threads that take turns is then the scheduler's. On two processors most of
/// the measured time would be that of an idle processor to start, above all in a virtual machine.
pub struct OneProcessor(());

impl OneProcessor {
    pub fn first() -> OneProcessor {
        OneProcessor::of(processors().next())
    }

    /// A processor other than the first one, if there is one.
    pub fn last() -> OneProcessor {
        OneProcessor::of(processors().last())
    }

    fn of(number: Option<usize>) -> OneProcessor {
        // SAFETY: all zeros are an empty set.
        let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the number comes from another set, so it is in range.
        unsafe { libc::CPU_SET(number.expect("the thread runs somewhere"), &mut one) };
        set_processors(&one);
        OneProcessor(())
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        set_processors(processors_at_start());
    }
}

/// The numbers of the processors that this process may use.
fn processors() -> impl Iterator<Item = usize> {
    let all = processors_at_start();
    (0..libc::CPU_SETSIZE as usize).filter(|&number| {
        // SAFETY: the number is in the range of a set.
        unsafe { libc::CPU_ISSET(number, all) }
    })
}

fn processors_at_start() -> &'static libc::cpu_set_t {
    static AT_START: OnceLock<libc::cpu_set_t> = OnceLock::new();
    AT_START.get_or_init(|| {
        // SAFETY: all zeros are an empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes to `set`, with its size.
        let got = unsafe { libc::sched_getaffinity(0, std::mem::size_of_val(&set), &mut set) };
        assert_eq!(got, 0);
        set
    })
}

fn set_processors(set: &libc::cpu_set_t) {
    // SAFETY: the kernel reads `set`, with its size.
    let done = unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(set), set) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
