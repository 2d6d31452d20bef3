//! A loop that calls epoll through the C library, and does nothing else.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use std::{net, ptr};

use libc::{c_int, epoll_event};

use crate::subject::{Accept, Ready, Source, Subject, Wake, Want, WAKER};

pub struct Raw {
    epoll: OwnedFd,
    events: Vec<epoll_event>,
    waker: Option<Arc<OwnedFd>>,
}

impl Subject for Raw {
    const NAME: &'static str = "raw epoll";
    const EDGES: bool = true;
    const CLOSING_DEREGISTERS: bool = true;

    type Tcp = net::TcpStream;
    type Unix = UnixStream;
    type Listener = net::TcpListener;
    type Bare = OwnedFd;
    type Waker = RawWaker;

    fn new(capacity: usize) -> Raw {
        // SAFETY: `epoll_create1` has no memory-safety preconditions.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0);
        Raw {
            // SAFETY: the call has just opened this descriptor, and nothing else owns it.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            events: Vec::with_capacity(capacity),
            waker: None,
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) {
        let millis = match timeout {
            None => -1,
            Some(timeout) => timeout.as_nanos().div_ceil(1_000_000) as c_int,
        };
        let room = self.events.capacity() as c_int;
        // SAFETY: the kernel writes at most as many events as the buffer has capacity for.
        let ready = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                room,
                millis,
            )
        };
        assert!(ready >= 0);
        // SAFETY: the kernel has written this many events.
        unsafe { self.events.set_len(ready as usize) };
        for event in &self.events {
            let bits = event.events;
            each(Ready {
                token: event.u64 as usize,
                readable: bits & (libc::EPOLLIN | libc::EPOLLPRI) as u32 != 0,
            });
        }
    }

    fn waker(&mut self) -> RawWaker {
        // SAFETY: `eventfd` has no memory-safety preconditions.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        assert!(fd >= 0);
        // SAFETY: the call has just opened this descriptor, and nothing else owns it.
        let fd = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        self.control(libc::EPOLL_CTL_ADD, &fd, WAKER, Want::Read);
        self.waker = Some(Arc::clone(&fd));
        RawWaker(fd)
    }
}

impl Raw {
    #[inline(always)]
    fn control(&mut self, operation: c_int, fd: &impl AsFd, token: usize, want: Want) {
        let mut events = libc::EPOLLET;
        if want.reads() {
            events |= libc::EPOLLIN | libc::EPOLLRDHUP;
        }
        if want.writes() {
            events |= libc::EPOLLOUT;
        }
        let mut event = epoll_event {
            events: events as u32,
            u64: token as u64,
        };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: `event` outlives the call, and the kernel only reads it.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        assert_eq!(done, 0);
    }
}

impl<T: AsFd> Source<Raw> for T {
    #[inline(always)]
    fn register(&mut self, subject: &mut Raw, token: usize, want: Want) {
        subject.control(libc::EPOLL_CTL_ADD, self, token, want);
    }

    #[inline(always)]
    fn reregister(&mut self, subject: &mut Raw, token: usize, want: Want) {
        subject.control(libc::EPOLL_CTL_MOD, self, token, want);
    }

    #[inline(always)]
    fn deregister(&mut self, subject: &mut Raw) {
        let (epoll, fd) = (subject.epoll.as_raw_fd(), self.as_fd().as_raw_fd());
        // SAFETY: `epoll_ctl` ignores the event, which may be null, when it deletes.
        let done = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) };
        assert_eq!(done, 0);
    }
}

/// An eventfd. Each write to it is an edge.
pub struct RawWaker(Arc<OwnedFd>);

impl Wake for RawWaker {
    #[inline(always)]
    fn wake(&self) {
        let one = 1u64;
        // SAFETY: the kernel reads the 8 bytes of `one`.
        let written = unsafe { libc::write(self.0.as_raw_fd(), (&one as *const u64).cast(), 8) };
        assert_eq!(written, 8);
    }
}

/// Used by the other subjects that watch the standard library's sockets as well.
impl Accept<net::TcpStream> for net::TcpListener {
    #[inline(always)]
    fn accept(&mut self) -> Option<net::TcpStream> {
        // Requests the peer's address, like the others.
        // SAFETY: all zeros are a valid `sockaddr_storage`.
        let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length = std::mem::size_of_val(&address) as libc::socklen_t;
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel writes at most `length` bytes of the address, and the length.
        let fd = unsafe {
            libc::accept4(
                self.as_raw_fd(),
                (&mut address as *mut libc::sockaddr_storage).cast(),
                &mut length,
                flags,
            )
        };
        if fd < 0 {
            let error = std::io::Error::last_os_error();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            return None;
        }
        std::hint::black_box(&address);
        // SAFETY: the call has just opened this descriptor, and nothing else owns it.
        Some(unsafe { net::TcpStream::from_raw_fd(fd) })
    }
}
