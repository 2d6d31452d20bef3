//! The kernel's side of a source, and its peer.
//!
//! | act | sockets | listeners | pipes, named pipes, terminals | eventfd, timerfd, inotify | children | mounts |
//! |---|---|---|---|---|---|---|
//! | `Send` | the peer sends | a client connects | the other end writes | a count, an expiry, a file | the child is told to exit | a mount |
//! | `Drain` | the peer reads all | | the other end reads all | the count is read | a child that has exited is reaped | |
//! | `End` | the peer shuts down writing | | | as `Send` | as `Send` | as `Send` |
//! | `Leave` | the peer closes | a client connects and closes | the other end closes | | the child is killed | |
//! | `Reset` | the peer resets (TCP) | a client connects and resets | | | the child is killed | |
//! | `Return` | the peer of a UDP socket is there again | | another end opens (named pipes, terminals) | as `Send` | | as `Send` |
//! | `Urgent` | urgent data (TCP) | | | as `Send` | | as `Send` |
//!
//! A pidfd's child is not reaped.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::unix::ChildExit;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::bits::{observe, settle, Bits};
use crate::handle::raw;
use crate::program::{is_exit, Act, Kind, To};

/// What a source and its duplicates share.
pub struct Object {
    pub kind: Kind,
    peer: Mutex<Peer>,
    /// What has come about and was not reported yet, where the kernel must not be asked.
    pending: Mutex<Bits>,
}

enum Peer {
    /// A socket, a pipe's other end, an eventfd's duplicate; `None` when it has left.
    Other(Option<OwnedFd>),
    /// A UDP socket, which comes back to its address.
    Udp {
        socket: Option<Socket>,
        address: SockAddr,
    },
    /// Of a socket that is connected later: the listener, and the stream that it accepted.
    Listener {
        listener: Socket,
        refused: Socket,
        stream: Option<OwnedFd>,
    },
    Clients(
        SockAddr,
        #[allow(dead_code, reason = "kept until the listener is gone")] Option<TempDir>,
        Vec<Socket>,
    ),
    Path {
        path: CString,
        end: Option<OwnedFd>,
        _folder: Option<TempDir>,
    },
    Timer(OwnedFd),
    Folder(TempDir, usize),
    Child {
        child: Child,
        is_reaped: bool,
    },
    Mounts {
        folder: TempDir,
        mounted: usize,
    },
}

fn loopback() -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

fn nonblocking(socket: Socket) -> Socket {
    socket.set_nonblocking(true).expect("non-blocking");
    socket
}

fn flags(fd: libc::c_int) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors, for which there is space.
    let made = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    (flags(fds[0]), flags(fds[1]))
}

fn open(path: &CString, how: libc::c_int) -> io::Result<OwnedFd> {
    let how = how | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path ends with a zero and outlives the call.
    match unsafe { libc::open(path.as_ptr(), how) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor is new, and nobody else's.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no zero in it")
}

fn pair(domain: Domain, kind: Type) -> (OwnedFd, Peer) {
    let (one, other) = Socket::pair(domain, kind, None).expect("a pair");
    // Small buffers are full soon.
    let _ = one.set_send_buffer_size(4096);
    let _ = other.set_send_buffer_size(4096);
    (
        nonblocking(one).into(),
        Peer::Other(Some(nonblocking(other).into())),
    )
}

fn tcp_pair() -> (OwnedFd, Peer) {
    let listener = listener(&loopback(), Domain::IPV4);
    let address = listener.local_addr().expect("bound");
    let address = address.as_socket().expect("an address of IP");
    let one = mio::net::TcpStream::connect(address).expect("connects");
    let (other, _) = listener.accept().expect("accepts");
    settle(one.as_raw_fd(), Bits::WRITE);
    // SAFETY: it was the other one's, which gives it up, and is nobody else's.
    let one = unsafe { Socket::from_raw_fd(one.into_raw_fd()) };
    for socket in [&one, &other] {
        // What is sent arrives at once, in a segment of its own.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_send_buffer_size(16384);
        let _ = socket.set_recv_buffer_size(16384);
    }
    (
        nonblocking(one).into(),
        Peer::Other(Some(nonblocking(other).into())),
    )
}

fn listener(address: &SockAddr, domain: Domain) -> Socket {
    let listener = Socket::new(domain, Type::STREAM, None).expect("a socket");
    listener.bind(address).expect("binds");
    listener.listen(64).expect("listens");
    listener
}

/// Has an address that nobody listens at: it is bound, and does not listen.
fn refusing() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&loopback()).expect("binds");
    socket
}

fn udp() -> (Socket, Peer) {
    let new = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        socket.bind(&loopback()).expect("binds");
        nonblocking(socket)
    };
    let (one, other) = (new(), new());
    let address = other.local_addr().expect("bound");
    one.connect(&address).expect("connects");
    other
        .connect(&one.local_addr().expect("bound"))
        .expect("connects");
    (
        one,
        Peer::Udp {
            socket: Some(other),
            address,
        },
    )
}

fn set(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads an int.
    let set = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

impl Object {
    /// Opens a source of a kind: the program's descriptor, and the rest.
    pub fn open(kind: Kind) -> io::Result<(Object, OwnedFd)> {
        let (fd, peer) = match kind {
            Kind::Tcp => tcp_pair(),
            Kind::TcpUnconnected => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                let listener = nonblocking(listener(&loopback(), Domain::IPV4));
                let peer = Peer::Listener {
                    listener,
                    refused: refusing(),
                    stream: None,
                };
                (nonblocking(socket).into(), peer)
            }
            Kind::TcpListener => {
                let listener = nonblocking(listener(&loopback(), Domain::IPV4));
                let address = listener.local_addr()?;
                (listener.into(), Peer::Clients(address, None, Vec::new()))
            }
            Kind::UnixListener => {
                let folder = tempfile::tempdir()?;
                let path = folder.path().join("socket");
                let listener = UnixListener::bind(&path)?;
                listener.set_nonblocking(true)?;
                let address = SockAddr::unix(&path)?;
                (
                    listener.into(),
                    Peer::Clients(address, Some(folder), Vec::new()),
                )
            }
            Kind::Udp | Kind::UdpRefused | Kind::UdpErrorQueue | Kind::UdpTimestamps => {
                let (socket, mut peer) = udp();
                let fd = socket.as_raw_fd();
                match kind {
                    Kind::UdpRefused => {
                        if let Peer::Udp { socket, .. } = &mut peer {
                            *socket = None;
                        }
                    }
                    Kind::UdpErrorQueue => set(fd, libc::SOL_IP, libc::IP_RECVERR, 1),
                    Kind::UdpTimestamps => {
                        let flags = libc::SOF_TIMESTAMPING_SOFTWARE
                            | libc::SOF_TIMESTAMPING_TX_SOFTWARE
                            | libc::SOF_TIMESTAMPING_OPT_TSONLY;
                        set(
                            fd,
                            libc::SOL_SOCKET,
                            libc::SO_TIMESTAMPING,
                            flags as libc::c_int,
                        );
                    }
                    _ => {}
                }
                (socket.into(), peer)
            }
            Kind::UnixStream => pair(Domain::UNIX, Type::STREAM),
            Kind::UnixDatagram => pair(Domain::UNIX, Type::DGRAM),
            Kind::Seqpacket => pair(Domain::UNIX, Type::SEQPACKET),
            Kind::Receiver => {
                let (receiver, sender) = pipe();
                (receiver, Peer::Other(Some(sender)))
            }
            Kind::Sender => {
                let (receiver, sender) = pipe();
                // SAFETY: it takes integers only. A small pipe is full soon.
                unsafe { libc::fcntl(sender.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
                (sender, Peer::Other(Some(receiver)))
            }
            Kind::Fifo | Kind::FifoWriter => {
                let folder = tempfile::tempdir()?;
                let path = c_path(&folder.path().join("fifo"));
                // SAFETY: the path ends with a zero and outlives the call.
                assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
                // The reader first: a writer needs one.
                let reader = open(&path, libc::O_RDONLY)?;
                let writer = open(&path, libc::O_WRONLY)?;
                let (mine, end) = match kind {
                    Kind::Fifo => (reader, writer),
                    _ => (writer, reader),
                };
                let peer = Peer::Path {
                    path,
                    end: Some(end),
                    _folder: Some(folder),
                };
                (mine, peer)
            }
            Kind::Pty => {
                let master = open(&c_path(Path::new("/dev/ptmx")), libc::O_RDWR)?;
                let path = slave_of(&master)?;
                let end = open_terminal(&path)?;
                (
                    master,
                    Peer::Path {
                        path,
                        end: Some(end),
                        _folder: None,
                    },
                )
            }
            Kind::Eventfd => {
                // SAFETY: it takes integers only.
                let fd = flags(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) });
                let other = raw::dup(fd.as_raw_fd());
                (fd, Peer::Other(Some(other)))
            }
            Kind::Timerfd => {
                let how = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
                // SAFETY: it takes integers only.
                let fd = flags(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, how) });
                let other = raw::dup(fd.as_raw_fd());
                (fd, Peer::Timer(other))
            }
            Kind::Inotify => {
                let folder = tempfile::tempdir()?;
                let path = c_path(folder.path());
                // SAFETY: it takes integers only.
                let fd =
                    flags(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) });
                // SAFETY: the path ends with a zero and outlives the call.
                let watch = unsafe {
                    libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_CREATE)
                };
                assert!(watch >= 0, "{}", io::Error::last_os_error());
                (fd, Peer::Folder(folder, 0))
            }
            Kind::Pidfd | Kind::ChildExit | Kind::ZombieExit => {
                // It exits when nobody has the other end of its input any more.
                let mut command = Command::new("/bin/cat");
                let mut child = command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()?;
                has_executed(&child);
                // SAFETY: it takes integers only.
                let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
                let fd = flags(fd as libc::c_int);
                if kind == Kind::ZombieExit {
                    drop(child.stdin.take());
                    until_exited(&fd);
                }
                let is_reaped = false;
                (fd, Peer::Child { child, is_reaped })
            }
            Kind::Mounts => {
                let path = c_path(Path::new("/proc/thread-self/mountinfo"));
                let fd = open(&path, libc::O_RDONLY)?;
                (
                    fd,
                    Peer::Mounts {
                        folder: tempfile::tempdir()?,
                        mounted: 0,
                    },
                )
            }
            Kind::Duplicate => unreachable!("it is made of another source"),
        };
        let (peer, pending) = (Mutex::new(peer), Mutex::new(Bits::empty()));
        Ok((
            Object {
                kind,
                peer,
                pending,
            },
            fd,
        ))
    }

    /// Watches for the exit of the child, if there is one that was not reaped.
    pub fn child_exit(&self) -> Option<ChildExit> {
        match &*self.peer.lock().unwrap() {
            Peer::Child { child, .. } if is_exit(self.kind) => {
                Some(ChildExit::new(child).expect("the child is there"))
            }
            _ => None,
        }
    }

    /// Whether it is a child that was reaped.
    pub fn is_reaped(&self) -> bool {
        let peer = self.peer.lock().unwrap();
        matches!(&*peer, Peer::Child { is_reaped, .. } if *is_reaped)
    }

    /// Whether a poll(2) takes away what it tells, so that the kernel must not be asked.
    pub fn is_consumed_by_observing(&self) -> bool {
        self.kind == Kind::Mounts
    }

    pub fn pending(&self) -> Bits {
        *self.pending.lock().unwrap()
    }

    pub fn set_pending(&self, bits: Bits) {
        *self.pending.lock().unwrap() = bits;
    }

    /// epoll asks about what it registers, and so takes away what asking takes away. Elsewhere a
    /// registration that replaces another one forgets what that one has taken away.
    pub fn asked_by_registering(&self, backend: mio::Backend, is_new: bool) {
        if is_new || backend != mio::Backend::Poll {
            self.set_pending(Bits::empty());
        }
    }

    /// Where a socket of this kind connects to.
    pub fn address(&self, to: To) -> Option<SockAddr> {
        match (&*self.peer.lock().unwrap(), to) {
            (Peer::Listener { listener, .. }, To::Listening) => listener.local_addr().ok(),
            (Peer::Listener { refused, .. }, To::Refused) => refused.local_addr().ok(),
            _ => None,
        }
    }

    /// Lets the other end of a socket that was just connected come about.
    pub fn connected(&self, fd: RawFd) {
        settle(fd, Bits::WRITE | Bits::ERROR | Bits::HUP);
        if let Peer::Listener {
            listener, stream, ..
        } = &mut *self.peer.lock().unwrap()
        {
            while let Ok((accepted, _)) = listener.accept() {
                *stream = Some(nonblocking(accepted).into());
            }
        }
    }

    /// Does what a peer does, and waits until the source's descriptor shows it. Returns whether
    /// the act means anything here and now.
    pub fn act(&self, act: Act, fd: RawFd) -> bool {
        let peer = &mut *self.peer.lock().unwrap();
        match peer {
            Peer::Other(end) => self.act_of_end(end, act, fd),
            Peer::Listener { stream, .. } => self.act_of_end(stream, act, fd),
            Peer::Udp { socket, address } => match act {
                Act::Send(n) => socket.as_ref().is_some_and(|socket| {
                    let sent = socket.send(&vec![0; n]).is_ok();
                    sent && settle(fd, Bits::READ)
                }),
                Act::Drain => socket.as_mut().is_some_and(drain),
                Act::Leave => socket.take().is_some(),
                Act::Return if socket.is_none() => {
                    let again = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
                    // Its number may have gone to somebody else meanwhile.
                    let bound = again.bind(address).is_ok();
                    let mine = local_address(fd).is_some_and(|mine| again.connect(&mine).is_ok());
                    *socket = (bound && mine).then(|| nonblocking(again));
                    socket.is_some()
                }
                _ => false,
            },
            Peer::Clients(address, _, clients) => {
                let domain = address.domain();
                let client = Socket::new(domain, Type::STREAM, None).expect("a socket");
                // Non-blocking, for a queue may be full.
                let client = nonblocking(client);
                match act {
                    Act::Send(_) | Act::Leave | Act::Reset => {
                        let connected = client.connect(address);
                        if connected
                            .is_err_and(|error| error.raw_os_error() != Some(libc::EINPROGRESS))
                        {
                            return false;
                        }
                        settle(fd, Bits::READ);
                        match act {
                            Act::Reset => {
                                let _ = client.set_linger(Some(Duration::ZERO));
                            }
                            Act::Send(_) => clients.push(client),
                            _ => {}
                        }
                        true
                    }
                    _ => false,
                }
            }
            Peer::Path { path, end, .. } => match act {
                Act::Return if end.is_none() => {
                    *end = match self.kind {
                        Kind::Pty => open_terminal(path).ok(),
                        Kind::FifoWriter => open(path, libc::O_RDONLY).ok(),
                        _ => open(path, libc::O_WRONLY).ok(),
                    };
                    end.is_some()
                }
                Act::Send(_) if self.kind == Kind::FifoWriter => false,
                Act::Send(n) => end.as_ref().is_some_and(|end| {
                    // A worker of the kernel's moves what is written to a terminal.
                    let wanted = raw::readable_bytes(fd) + n;
                    let sent = raw::write(end.as_raw_fd(), n).is_ok();
                    sent && settle_until(|| raw::readable_bytes(fd) >= wanted)
                }),
                Act::Drain => end
                    .as_ref()
                    .is_some_and(|end| drain(&mut &File::from(raw::dup(end.as_raw_fd())))),
                Act::Leave => end.take().is_some() && settle(fd, Bits::HUP | Bits::ERROR),
                _ => false,
            },
            Peer::Timer(timer) => match act {
                Act::Send(_) | Act::Urgent | Act::End | Act::Return => {
                    expire(timer);
                    settle(fd, Bits::READ)
                }
                _ => false,
            },
            Peer::Folder(folder, files) => match act {
                Act::Send(_) | Act::Urgent | Act::End | Act::Return => {
                    *files += 1;
                    File::create(folder.path().join(files.to_string())).expect("a file");
                    settle(fd, Bits::READ)
                }
                _ => false,
            },
            Peer::Child { child, is_reaped } => match act {
                Act::Send(_) | Act::End => child.stdin.take().is_some() && until_exited(&fd),
                Act::Leave | Act::Reset => child.kill().is_ok() && until_exited(&fd),
                Act::Drain if self.kind != Kind::Pidfd && !*is_reaped => {
                    let status = child.try_wait().expect("nobody else has reaped it");
                    *is_reaped = status.is_some();
                    if *is_reaped {
                        let again = ChildExit::new(child).map_err(|error| error.kind());
                        let is_gone = again.is_err_and(|kind| kind == io::ErrorKind::NotFound);
                        assert!(is_gone, "a child that was reaped is watched");
                    }
                    *is_reaped
                }
                _ => false,
            },
            Peer::Mounts { folder, mounted } => match act {
                Act::Send(_) | Act::Urgent | Act::End | Act::Return => {
                    mount(folder.path());
                    *mounted += 1;
                    true
                }
                _ => false,
            },
        }
    }

    fn act_of_end(&self, end: &mut Option<OwnedFd>, act: Act, fd: RawFd) -> bool {
        let Some(other) = end.as_ref().map(AsRawFd::as_raw_fd) else {
            return false;
        };
        match (self.kind, act) {
            (Kind::Eventfd, Act::Send(_)) => {
                raw::write_u64(other, 1).is_ok() && settle(fd, Bits::READ)
            }
            (Kind::Eventfd, Act::Drain) => raw::read(other, 8).is_ok(),
            (Kind::Sender, Act::Send(_)) | (Kind::Eventfd, _) => false,
            (Kind::Receiver, Act::Send(n)) => {
                raw::write(other, n).is_ok() && settle(fd, Bits::READ)
            }
            (_, Act::Send(n)) => {
                let sent = raw::send(other, n, 0).is_ok();
                sent && settle(fd, Bits::READ)
            }
            (Kind::Receiver, Act::Drain) => false,
            (_, Act::Drain) => {
                let was_full = !observe(fd).contains(Bits::WRITE);
                // What a full socket still holds back arrives when there is space for it.
                let mut rounds = 0;
                let mut file = File::from(raw::dup(other));
                let mut drained = drain(&mut file);
                while was_full && rounds < 20 && !settle_briefly(fd, Bits::WRITE) {
                    drained |= drain(&mut file);
                    rounds += 1;
                }
                drained
            }
            (Kind::Tcp | Kind::TcpUnconnected | Kind::UnixStream | Kind::Seqpacket, Act::End) => {
                raw::shutdown(other, crate::program::Half::Write).is_ok() && settle(fd, Bits::END)
            }
            (Kind::Tcp | Kind::TcpUnconnected, Act::Urgent) => {
                raw::send(other, 1, libc::MSG_OOB).is_ok() && settle(fd, Bits::PRIORITY)
            }
            (Kind::Tcp | Kind::TcpUnconnected, Act::Reset) => {
                let socket = Socket::from(end.take().expect("it is there"));
                let _ = socket.set_linger(Some(Duration::ZERO));
                drop(socket);
                settle(fd, Bits::ERROR | Bits::HUP);
                true
            }
            (_, Act::Leave) => {
                *end = None;
                if self.kind != Kind::UnixDatagram {
                    settle(fd, Bits::END | Bits::HUP | Bits::ERROR);
                }
                true
            }
            _ => false,
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // Poisoned if a check of the peer has failed, and this is a panic's unwinding.
        let peer = self.peer.get_mut();
        match peer.unwrap_or_else(PoisonError::into_inner) {
            Peer::Child { child, .. } => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Peer::Mounts { folder, mounted } => {
                let path = c_path(folder.path());
                for _ in 0..*mounted {
                    // SAFETY: the path ends with a zero and outlives the call.
                    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
                }
            }
            _ => {}
        }
    }
}

/// Waits until a child has closed what it had of its parent: `spawn` returns a little before that,
/// and until then it has duplicates of all descriptors.
fn has_executed(child: &Child) {
    let name = format!("/proc/{}/comm", child.id());
    while std::fs::read_to_string(&name).is_ok_and(|comm| comm != "cat\n") {
        // Without the processor's time, which a search is measured by.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until the child that the descriptor is of has exited, and the kernel has told those who wait
/// for that. poll(2) sees the exit a little earlier, when epoll has nothing to report yet. waitid(2) does
/// not: it takes the lock that the kernel holds in between.
fn until_exited(pidfd: &impl AsRawFd) -> bool {
    let pidfd = pidfd.as_raw_fd();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !settle_until(|| has_exited(pidfd)) {
        assert!(Instant::now() < deadline, "a child does not exit");
    }
    true
}

/// Asks waitid(2), and leaves the child as it is. One that was waited for has exited, too.
fn has_exited(pidfd: RawFd) -> bool {
    // SAFETY: `siginfo_t` consists of integers and pointers, for which all zeros are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    // SAFETY: the kernel writes one `siginfo_t`, and `info` outlives the call.
    let done = unsafe { libc::waitid(libc::P_PIDFD, pidfd as libc::id_t, &mut info, options) };
    if done != 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD), "{error}");
        return true;
    }
    // SAFETY: waitid(2) sets it: to the child's number, or to zero while the child runs.
    unsafe { info.si_pid() != 0 }
}

fn settle_briefly(fd: RawFd, wanted: Bits) -> bool {
    settle_until(|| observe(fd).intersects(wanted))
}

/// Waits for a millisecond or two.
fn settle_until(is_there: impl Fn() -> bool) -> bool {
    (0..20).any(|_| {
        let there = is_there();
        if !there {
            std::thread::sleep(Duration::from_micros(50));
        }
        there
    })
}

/// Reads until it would block; whether there was anything.
fn drain<R: Read>(from: &mut R) -> bool {
    let mut buffer = vec![0; 1 << 16];
    let mut any = false;
    // A counter can be read for ever by somebody who writes it; so that it ends:
    for _ in 0..10_000 {
        match from.read(&mut buffer) {
            Ok(1..) => any = true,
            _ => break,
        }
    }
    any
}

fn local_address(fd: RawFd) -> Option<SockAddr> {
    let socket = Socket::from(raw::dup(fd));
    socket.local_addr().ok()
}

fn expire(timer: &OwnedFd) {
    // SAFETY: all of an `itimerspec` may be zero.
    let mut when: libc::itimerspec = unsafe { std::mem::zeroed() };
    when.it_value.tv_nsec = 1;
    // SAFETY: the kernel reads the time, and writes nothing to a null pointer.
    let set = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &when, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

fn mount(folder: &Path) {
    let folder = c_path(folder);
    // SAFETY: the strings end with a zero and outlive the call; no data is passed.
    let mounted = unsafe {
        libc::mount(
            c"none".as_ptr(),
            folder.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    assert_eq!(mounted, 0, "mount: {}", io::Error::last_os_error());
}

/// Gives this process a list of mounts of its own. Needs to be root; whether it worked.
pub fn own_mounts() -> bool {
    // SAFETY: it takes integers only.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let how = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the string ends with a zero and outlives the call; nothing else is read.
    unsafe {
        libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            how,
            std::ptr::null(),
        ) == 0
    }
}

fn slave_of(master: &OwnedFd) -> io::Result<CString> {
    let mut name = [0; 64];
    let master = master.as_raw_fd();
    // SAFETY: the first two take an integer; the name is written to a buffer of the length said.
    let done = unsafe {
        libc::grantpt(master) == 0
            && libc::unlockpt(master) == 0
            && libc::ptsname_r(master, name.as_mut_ptr(), name.len()) == 0
    };
    if !done {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = name
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| c as u8)
        .collect();
    Ok(CString::new(bytes)?)
}

/// The other end of a terminal, which changes and echoes nothing.
fn open_terminal(path: &CString) -> io::Result<OwnedFd> {
    let end = open(path, libc::O_RDWR)?;
    // SAFETY: all of a `termios` may be zero; it is written and read by calls for the terminal.
    unsafe {
        let mut how: libc::termios = std::mem::zeroed();
        libc::tcgetattr(end.as_raw_fd(), &mut how);
        libc::cfmakeraw(&mut how);
        libc::tcsetattr(end.as_raw_fd(), libc::TCSANOW, &how);
    }
    Ok(end)
}
