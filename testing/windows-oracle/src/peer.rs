//! The peers of sources: objects of the standard library. No operation blocks for long.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawHandle, RawSocket};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use windows_sys::Win32::Networking::WinSock::{
    recv, WSAPoll, POLLERR, POLLHUP, POLLNVAL, POLLRDNORM, POLLWRNORM, SOCKET, SOCKET_ERROR,
    WSAPOLLFD,
};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

/// The time after which data on the loopback interface has arrived.
pub const SOON: Duration = Duration::from_secs(5);

/// The size of a socket's buffers: small, so that a sender is soon full.
const BUFFER: usize = 16 * 1024;

pub fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Waits for a condition that becomes true by itself. Returns whether it did.
pub fn until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// The readiness of a socket, as Winsock's `WSAPoll` returns it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub read: bool,
    pub write: bool,
    pub has_failed: bool,
}

impl Ready {
    pub fn of(socket: RawSocket) -> Ready {
        let mut poll = WSAPOLLFD {
            fd: socket as SOCKET,
            events: POLLRDNORM | POLLWRNORM,
            revents: 0,
        };
        // SAFETY: `poll` is one valid structure, the count is 1, and the call does not use it after it returns.
        if unsafe { WSAPoll(&mut poll, 1, 0) } != 1 {
            return Ready::default();
        }
        let is = |bits: i16| poll.revents & bits != 0;
        let has_failed = is(POLLERR | POLLHUP | POLLNVAL);
        Ready {
            read: is(POLLRDNORM) || has_failed,
            write: is(POLLWRNORM) || is(POLLERR | POLLNVAL),
            has_failed,
        }
    }
}

/// Receives a byte without mio.
pub fn receive_one(socket: RawSocket) -> io::Result<usize> {
    let mut byte = [0u8];
    // SAFETY: the buffer is valid for one byte, and the caller's socket is open.
    let received = unsafe { recv(socket as SOCKET, byte.as_mut_ptr(), 1, 0) };
    match received {
        SOCKET_ERROR => Err(io::Error::last_os_error()),
        count => Ok(count as usize),
    }
}

pub enum Peer {
    /// No peer, or a peer that has closed.
    Gone,
    Stream(TcpStream),
    /// A listener that has not accepted yet.
    Listening(TcpListener),
    /// The clients of a listener.
    Clients(SocketAddr, Vec<TcpStream>),
    Udp(UdpSocket, SocketAddr),
    Pipe(File),
}

pub fn small_buffer(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_send_buffer_size(BUFFER)
}

/// A stream and its peer.
pub fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(any_port())?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    small_buffer(&stream)?;
    small_buffer(&peer)?;
    peer.set_nonblocking(true)?;
    peer.set_nodelay(true)?;
    Ok((stream, peer))
}

impl Peer {
    /// Accepts the connection, if the peer still is a listener.
    fn accepted(&mut self) -> io::Result<()> {
        if let Peer::Listening(listener) = self {
            let (peer, _) = listener.accept()?;
            small_buffer(&peer)?;
            peer.set_nonblocking(true)?;
            *self = Peer::Stream(peer);
        }
        Ok(())
    }

    /// Sends `length` bytes of this value, or connects. Returns the number of bytes sent.
    pub fn send(&mut self, length: usize, value: u8) -> io::Result<usize> {
        self.accepted()?;
        let bytes = vec![value; length];
        match self {
            Peer::Stream(stream) => would_block_is_zero(stream.write(&bytes)),
            Peer::Clients(address, clients) => {
                clients.push(TcpStream::connect(*address)?);
                Ok(1)
            }
            Peer::Udp(socket, to) => socket.send_to(&bytes[..length.min(1000)], *to),
            Peer::Pipe(pipe) => {
                pipe.write_all(&bytes)?;
                Ok(length)
            }
            Peer::Gone | Peer::Listening(_) => Ok(0),
        }
    }

    /// Reads everything: `expected` bytes of a stream. Returns the number of bytes read.
    pub fn drain(&mut self, expected: usize) -> io::Result<usize> {
        self.accepted()?;
        let mut taken = 0;
        let mut buffer = vec![0; 64 * 1024];
        match self {
            Peer::Stream(stream) => {
                let mut outcome = Ok(());
                until(|| {
                    match would_block_is_zero(stream.read(&mut buffer)) {
                        Ok(length) => taken += length,
                        Err(error) => outcome = Err(error),
                    }
                    taken >= expected || outcome.is_err()
                });
                outcome.map(|()| taken)
            }
            Peer::Udp(socket, _) => {
                while would_block_is_zero(socket.recv(&mut buffer))? > 0 {
                    taken += 1;
                }
                Ok(taken)
            }
            Peer::Pipe(pipe) => {
                let mut outcome = Ok(());
                until(|| {
                    match read_available(pipe, &mut buffer) {
                        Ok(length) => taken += length,
                        Err(error) => outcome = Err(error),
                    }
                    taken >= expected || outcome.is_err()
                });
                outcome.map(|()| taken)
            }
            Peer::Clients(..) | Peer::Gone | Peer::Listening(_) => Ok(0),
        }
    }
}

fn would_block_is_zero(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}

/// Reads what is available, without waiting.
fn read_available(pipe: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut available = 0;
    // SAFETY: the handle is open. The call writes one number to `available`; the other pointers are null.
    let peeked = unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            &mut available,
            ptr::null_mut(),
        )
    };
    if peeked == 0 {
        return Err(io::Error::last_os_error());
    }
    let length = buffer.len().min(available as usize);
    match length {
        0 => Ok(0),
        length => pipe.read(&mut buffer[..length]),
    }
}
