//! The program's side of a source: who owns its descriptor, and the doors that operations on it go
//! through.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{pipe, ChildExit};
use mio::{Interest, IoSource, Registry, Token};
use rlimit::Resource;

use crate::program::{By, Door, Half, Kind, Op, Owner};

pub enum Handle {
    Tcp(TcpStream),
    TcpListener(TcpListener),
    Udp(UdpSocket),
    UnixStream(UnixStream),
    UnixListener(UnixListener),
    UnixDatagram(UnixDatagram),
    Receiver(pipe::Receiver),
    Sender(pipe::Sender),
    Child(Exit),
    IoSource(IoSource<OwnedFd>),
    Raw(OwnedFd),
}

/// The exit of a child, and a descriptor of the child for the oracle's own observations.
pub struct Exit {
    exit: ChildExit,
    fd: OwnedFd,
}

impl Exit {
    pub fn new(exit: ChildExit, fd: OwnedFd) -> Exit {
        Exit { exit, fd }
    }
}

impl AsRawFd for Exit {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Source for Exit {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.exit.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.exit.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.exit.deregister(registry)
    }
}

/// The same for each typed source.
macro_rules! typed {
    ($handle:expr, $source:ident => $typed:expr, io $io:ident => $other:expr, raw $raw:ident => $bare:expr) => {
        match $handle {
            Handle::Tcp($source) => $typed,
            Handle::TcpListener($source) => $typed,
            Handle::Udp($source) => $typed,
            Handle::UnixStream($source) => $typed,
            Handle::UnixListener($source) => $typed,
            Handle::UnixDatagram($source) => $typed,
            Handle::Receiver($source) => $typed,
            Handle::Sender($source) => $typed,
            Handle::Child($source) => $typed,
            Handle::IoSource($io) => $other,
            Handle::Raw($raw) => $bare,
        }
    };
}

/// What a single call came to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did all that it was asked for.
    Succeeded,
    /// A stream's method transferred less than it was asked for.
    Short,
    ShortPeek,
    /// The stream has ended.
    Ended,
    WouldBlock,
    /// It failed; the error is shown, and says nothing to the judge.
    Failed(i32),
    /// `take_error` has returned one.
    TookError(i32),
    /// A method failed that does no I/O, so that it says nothing of readiness.
    NotIo(i32),
}

/// What a direction is to an operation.
pub fn direction(op: Op) -> Interest {
    match op {
        Op::Write(_)
        | Op::WriteVectored(_)
        | Op::Fill
        | Op::Connect(_)
        | Op::Disconnect
        | Op::Shutdown(_) => Interest::WRITABLE,
        #[cfg(not(mio_model = "kqueue"))]
        Op::Urgent => Interest::PRIORITY,
        _ => Interest::READABLE,
    }
}

impl Handle {
    pub fn new(kind: Kind, owner: Owner, fd: OwnedFd) -> Handle {
        match owner {
            Owner::Raw => Handle::Raw(fd),
            Owner::IoSource => Handle::IoSource(IoSource::new(fd)),
            Owner::Typed => match kind {
                Kind::Tcp | Kind::TcpUnconnected => {
                    Handle::Tcp(TcpStream::from_std(std::net::TcpStream::from(fd)))
                }
                Kind::TcpListener => {
                    Handle::TcpListener(TcpListener::from_std(std::net::TcpListener::from(fd)))
                }
                Kind::Udp | Kind::UdpRefused | Kind::UdpErrorQueue | Kind::UdpTimestamps => {
                    Handle::Udp(UdpSocket::from_std(std::net::UdpSocket::from(fd)))
                }
                Kind::UnixStream => Handle::UnixStream(UnixStream::from_std(fd.into())),
                Kind::UnixListener => Handle::UnixListener(UnixListener::from_std(fd.into())),
                Kind::UnixDatagram => Handle::UnixDatagram(UnixDatagram::from_std(fd.into())),
                Kind::Receiver | Kind::Fifo => Handle::Receiver(pipe::Receiver::from(fd)),
                Kind::Sender | Kind::FifoWriter => Handle::Sender(pipe::Sender::from(fd)),
                _ => Handle::IoSource(IoSource::new(fd)),
            },
        }
    }

    pub fn fd(&self) -> RawFd {
        typed!(self, source => source.as_raw_fd(), io io => io.as_raw_fd(), raw fd => fd.as_raw_fd())
    }

    /// Whether the crate is not told of I/O on it.
    pub fn is_raw(&self) -> bool {
        matches!(self, Handle::Raw(_))
    }

    /// How it can be registered, where the program wants to do so by `by`.
    pub fn way(&self, by: By) -> By {
        match self {
            Handle::Raw(_) => By::Fd,
            Handle::Child(_) => By::Source,
            _ => by,
        }
    }

    pub fn source(&mut self) -> Option<&mut dyn Source> {
        Some(typed!(self, source => source, io io => io, raw _fd => return None))
    }

    /// Whether there is no door but the methods.
    pub fn has_only_methods(&self) -> bool {
        matches!(
            self,
            Handle::TcpListener(_) | Handle::UnixListener(_) | Handle::Child(_)
        )
    }

    /// Calls `io` through a door.
    pub fn through<T>(
        &self,
        door: Door,
        direction: Interest,
        io: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        macro_rules! door {
            ($source:ident) => {
                match door {
                    Door::Unknown => $source.try_io(io),
                    _ => $source.try_io_with(direction, io),
                }
            };
        }
        match self {
            Handle::Tcp(source) => door!(source),
            Handle::Udp(source) => door!(source),
            Handle::UnixStream(source) => door!(source),
            Handle::UnixDatagram(source) => door!(source),
            Handle::Receiver(source) => door!(source),
            Handle::Sender(source) => door!(source),
            Handle::IoSource(source) if door == Door::Unknown => source.try_io(|_| io()),
            Handle::IoSource(source) => source.do_io(direction, |_| io()),
            Handle::TcpListener(_)
            | Handle::UnixListener(_)
            | Handle::Child(_)
            | Handle::Raw(_) => io(),
        }
    }

    /// One operation by the method that the type has for it, if it has one.
    pub fn method(&self, op: Op) -> Option<Outcome> {
        let outcome = match (self, op) {
            (Handle::Tcp(s), Op::Read(n)) => stream_read(s, n),
            (Handle::UnixStream(s), Op::Read(n)) => stream_read(s, n),
            (Handle::Receiver(s), Op::Read(n)) => stream_read(s, n),
            (Handle::Tcp(s), Op::ReadVectored(n)) => stream_read_vectored(s, n),
            (Handle::UnixStream(s), Op::ReadVectored(n)) => stream_read_vectored(s, n),
            (Handle::Receiver(s), Op::ReadVectored(n)) => stream_read_vectored(s, n),
            (Handle::Tcp(s), Op::Write(n)) => stream_write(s, n),
            (Handle::UnixStream(s), Op::Write(n)) => stream_write(s, n),
            (Handle::Sender(s), Op::Write(n)) => stream_write(s, n),
            (Handle::Tcp(s), Op::WriteVectored(n)) => stream_write_vectored(s, n),
            (Handle::UnixStream(s), Op::WriteVectored(n)) => stream_write_vectored(s, n),
            (Handle::Sender(s), Op::WriteVectored(n)) => stream_write_vectored(s, n),
            (Handle::Tcp(s), Op::Peek(n)) => match s.peek(&mut vec![0; n]) {
                Ok(got) if (1..n).contains(&got) => Outcome::ShortPeek,
                other => of(other),
            },
            (Handle::Udp(s), Op::Read(n)) => of(s.recv(&mut vec![0; n])),
            (Handle::Udp(s), Op::Peek(n)) => of(s.peek(&mut vec![0; n])),
            (Handle::Udp(s), Op::Write(n)) => of(s.send(&vec![0; n])),
            (Handle::UnixDatagram(s), Op::Read(n)) => of(s.recv(&mut vec![0; n])),
            (Handle::UnixDatagram(s), Op::Write(n)) => of(s.send(&vec![0; n])),
            (Handle::TcpListener(s), Op::Read(_)) => of(s.accept()),
            (Handle::UnixListener(s), Op::Read(_)) => of(s.accept()),
            (Handle::TcpListener(s), Op::AcceptWithoutDescriptors) => {
                of(raw::without_descriptors(|| s.accept()))
            }
            (Handle::UnixListener(s), Op::AcceptWithoutDescriptors) => {
                of(raw::without_descriptors(|| s.accept()))
            }
            (Handle::Tcp(s), Op::TakeError) => of_taken(s.take_error()),
            (Handle::TcpListener(s), Op::TakeError) => of_taken(s.take_error()),
            (Handle::Udp(s), Op::TakeError) => of_taken(s.take_error()),
            (Handle::UnixStream(s), Op::TakeError) => of_taken(s.take_error()),
            (Handle::UnixListener(s), Op::TakeError) => of_taken(s.take_error()),
            (Handle::UnixDatagram(s), Op::TakeError) => of_taken(s.take_error()),
            (Handle::Tcp(s), Op::Shutdown(half)) => of_shutdown(s.shutdown(std_half(half))),
            (Handle::UnixStream(s), Op::Shutdown(half)) => of_shutdown(s.shutdown(std_half(half))),
            (Handle::UnixDatagram(s), Op::Shutdown(half)) => {
                of_shutdown(s.shutdown(std_half(half)))
            }
            _ => return None,
        };
        Some(outcome)
    }
}

fn std_half(half: Half) -> Shutdown {
    match half {
        Half::Read => Shutdown::Read,
        Half::Write => Shutdown::Write,
        Half::Both => Shutdown::Both,
    }
}

fn of_shutdown(result: io::Result<()>) -> Outcome {
    match of(result) {
        Outcome::Failed(error) => Outcome::NotIo(error),
        other => other,
    }
}

fn of_taken(taken: io::Result<Option<io::Error>>) -> Outcome {
    match taken {
        Ok(Some(error)) => Outcome::TookError(error.raw_os_error().unwrap_or(-1)),
        other => of(other),
    }
}

pub fn of<T>(result: io::Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Succeeded,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::WouldBlock,
        Err(error) => Outcome::Failed(error.raw_os_error().unwrap_or(-1)),
    }
}

fn of_transfer(result: io::Result<usize>, wanted: usize) -> Outcome {
    match result {
        Ok(0) => Outcome::Ended,
        Ok(done) if done < wanted => Outcome::Short,
        other => of(other),
    }
}

fn stream_read<S>(stream: &S, n: usize) -> Outcome
where
    for<'a> &'a S: Read,
{
    let mut stream = stream;
    of_transfer(stream.read(&mut vec![0; n]), n)
}

fn stream_read_vectored<S>(stream: &S, n: usize) -> Outcome
where
    for<'a> &'a S: Read,
{
    let (mut stream, mut one, mut two) = (stream, vec![0; n], [0]);
    let mut both = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    of_transfer(stream.read_vectored(&mut both), n + 1)
}

fn stream_write<S>(stream: &S, n: usize) -> Outcome
where
    for<'a> &'a S: Write,
{
    let mut stream = stream;
    of_transfer(stream.write(&vec![0; n]), n)
}

fn stream_write_vectored<S>(stream: &S, n: usize) -> Outcome
where
    for<'a> &'a S: Write,
{
    let (mut stream, one) = (stream, vec![0; n]);
    let both = [IoSlice::new(&one), IoSlice::new(&[0])];
    of_transfer(stream.write_vectored(&both), n + 1)
}

/// The system calls, as a program makes them that knows nothing of this crate's types.
pub mod raw {
    use super::*;

    fn check(result: isize) -> io::Result<usize> {
        match result {
            -1 => Err(io::Error::last_os_error()),
            done => Ok(done as usize),
        }
    }

    pub fn read(fd: RawFd, n: usize) -> io::Result<usize> {
        let mut buffer = vec![0u8; n];
        // SAFETY: the kernel writes at most `n` bytes, and the buffer has them.
        check(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), n) })
    }

    pub fn write(fd: RawFd, n: usize) -> io::Result<usize> {
        let buffer = vec![0u8; n];
        // SAFETY: the kernel reads `n` bytes, and the buffer has them.
        check(unsafe { libc::write(fd, buffer.as_ptr().cast(), n) })
    }

    pub fn write_u64(fd: RawFd, count: u64) -> io::Result<usize> {
        // SAFETY: the kernel reads the eight bytes that there are.
        check(unsafe { libc::write(fd, (&raw const count).cast(), 8) })
    }

    pub fn recv(fd: RawFd, n: usize, flags: libc::c_int) -> io::Result<usize> {
        let mut buffer = vec![0u8; n];
        // SAFETY: the kernel writes at most `n` bytes, and the buffer has them.
        check(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), n, flags) })
    }

    pub fn send(fd: RawFd, n: usize, flags: libc::c_int) -> io::Result<usize> {
        let buffer = vec![0u8; n];
        // SAFETY: the kernel reads `n` bytes, and the buffer has them.
        check(unsafe { libc::send(fd, buffer.as_ptr().cast(), n, flags | libc::MSG_NOSIGNAL) })
    }

    /// One entry of a socket's error queue.
    pub fn error_queue(fd: RawFd) -> io::Result<usize> {
        let (mut data, mut control) = ([0u8; 64], [0u64; 64]);
        let mut part = libc::iovec {
            iov_base: data.as_mut_ptr().cast(),
            iov_len: data.len(),
        };
        // SAFETY: all of a `msghdr` may be zero.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&control) as _;
        // SAFETY: the message points to buffers of the lengths that it says, which outlive the call.
        check(unsafe { libc::recvmsg(fd, &mut message, libc::MSG_ERRQUEUE) })
    }

    /// How much can be read at once.
    pub fn readable_bytes(fd: RawFd) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the kernel writes an int.
        unsafe { libc::ioctl(fd, libc::FIONREAD, &mut count) };
        count as usize
    }

    pub fn accept(fd: RawFd) -> io::Result<OwnedFd> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel writes no address where there are null pointers.
        let done = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        // SAFETY: the descriptor is new, and nobody else's.
        check(done as isize).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }

    pub fn shutdown(fd: RawFd, half: Half) -> io::Result<usize> {
        let how = match half {
            Half::Read => libc::SHUT_RD,
            Half::Write => libc::SHUT_WR,
            Half::Both => libc::SHUT_RDWR,
        };
        // SAFETY: it takes integers only.
        check(unsafe { libc::shutdown(fd, how) } as isize)
    }

    /// The pending error, as an error.
    pub fn take_error(fd: RawFd) -> io::Result<()> {
        let mut error: libc::c_int = 0;
        let mut length = mem::size_of_val(&error) as libc::socklen_t;
        // SAFETY: the kernel writes an int and its length, to places of these types.
        check(unsafe {
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &mut length,
            )
        } as isize)?;
        match error {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    pub fn connect(fd: RawFd, address: &socket2::SockAddr) -> io::Result<usize> {
        // SAFETY: the address is as long as it says, and outlives the call.
        check(unsafe { libc::connect(fd, address.as_ptr().cast(), address.len()) } as isize)
    }

    /// Ends a connection.
    pub fn disconnect(fd: RawFd) -> io::Result<usize> {
        // SAFETY: all of a `sockaddr` may be zero.
        let mut address: libc::sockaddr = unsafe { mem::zeroed() };
        address.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
        let length = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is as long as it says, and outlives the call.
        check(unsafe { libc::connect(fd, &address, length) } as isize)
    }

    pub fn dup(fd: RawFd) -> OwnedFd {
        // SAFETY: it takes integers only.
        let new = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        assert!(new >= 0, "dup: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else's.
        unsafe { OwnedFd::from_raw_fd(new) }
    }

    /// Runs `io` while the process may open no descriptor.
    pub fn without_descriptors<T>(io: impl FnOnce() -> T) -> T {
        let (soft, hard) = Resource::NOFILE.get().expect("there is a limit");
        Resource::NOFILE.set(0, hard).expect("it can be lowered");
        let done = io();
        Resource::NOFILE
            .set(soft, hard)
            .expect("it can be raised again");
        done
    }
}
