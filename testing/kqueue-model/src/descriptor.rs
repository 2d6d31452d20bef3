//! The filters for reading and writing: whether the condition holds for a descriptor.
//!
//! Nothing here changes the descriptor. In particular, `SO_ERROR` is never read, because reading it
//! clears the error, and a BSD's filter does not clear it.

use std::ffi::c_int;

use crate::abi::EVFILT_WRITE;
use crate::os::{self, Result};

/// The kinds of open objects that the filters distinguish.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A socket with connections.
    Stream(Family),
    Datagram,
    /// One end of a pipe or FIFO, or both.
    Pipe {
        reads: bool,
        writes: bool,
    },
    /// A FIFO with a name that is written to, on NetBSD: always at its end.
    Fifo,
    /// A Unix datagram socket that is written to, on NetBSD: there is always room.
    UnixDatagram,
    /// The reading end of a pipe, watched for writing, where that reports the pipe's end.
    WrongEnd,
    /// An object that epoll does not watch: a file, a directory, `/dev/null`. It is always ready.
    /// The end of a file is seen; the growth of a file is not.
    File,
    /// A kqueue of the model.
    Queue,
    /// Any other object that epoll watches: a terminal, an eventfd, a timerfd...
    Other,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Internet,
    Unix,
    /// Linux has no means to tell whether the write side is shut down.
    Other,
}

/// The state of a descriptor, as one of the two filters sees it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// The condition holds.
    pub(crate) holds: bool,
    pub(crate) eof: bool,
    pub(crate) failed: bool,
    pub(crate) data: isize,
    /// poll(2)'s bits.
    pub(crate) bits: i16,
    /// The amount that was written to it. For a TCP socket it grows with every write; for others it
    /// is the amount that the peer has not read yet. For a kqueue it is the number of activations
    /// of its knotes.
    pub(crate) count: u64,
}

impl Kind {
    pub(crate) fn of(fd: c_int) -> Result<Kind> {
        let mode = os::stat(fd)?.st_mode & libc::S_IFMT;
        Ok(match mode {
            libc::S_IFSOCK => match os::socket_option(fd, libc::SO_TYPE)? {
                libc::SOCK_STREAM => Kind::Stream(match os::socket_option(fd, libc::SO_DOMAIN)? {
                    libc::AF_INET | libc::AF_INET6 => Family::Internet,
                    libc::AF_UNIX => Family::Unix,
                    _ => Family::Other,
                }),
                libc::SOCK_SEQPACKET => Kind::Stream(Family::Other),
                _ => Kind::Datagram,
            },
            libc::S_IFIFO => {
                let (reads, writes) = os::access(fd)?;
                Kind::Pipe { reads, writes }
            }
            libc::S_IFREG | libc::S_IFDIR => Kind::File,
            _ => Kind::Other,
        })
    }

    /// What NetBSD treats differently when it is written to.
    pub(crate) fn written_on_netbsd(self, fd: c_int) -> Kind {
        match self {
            Kind::Pipe { writes: true, .. } if os::has_a_name(fd) => Kind::Fifo,
            Kind::Datagram if os::is_unix(fd) => Kind::UnixDatagram,
            other => other,
        }
    }
}

impl Look {
    /// Fails with EBADF if the descriptor is not open. Not for kqueues.
    pub(crate) fn at(fd: c_int, kind: Kind, filter: i16) -> Result<Look> {
        let bits = os::poll_bits(fd)?;
        let look = Look {
            bits,
            ..Look::default()
        };
        Ok(match (kind, filter == EVFILT_WRITE) {
            (Kind::Stream(family), writing) => look.at_stream(fd, family, writing),
            (Kind::Datagram, false) => look.readable(fd, bits & libc::POLLERR != 0, HANG_UP),
            (Kind::Datagram, true) => look.writable(fd, bits & libc::POLLERR != 0, libc::POLLHUP),
            (Kind::Pipe { .. }, false) => {
                let end = libc::POLLHUP | libc::POLLERR;
                look.readable(fd, false, end)
            }
            (Kind::Pipe { writes: true, .. }, true) => Look {
                // The bytes that one end can read are in flight at the other.
                count: os::bytes_to_read(fd).into(),
                ..look.writable(fd, false, libc::POLLERR)
            },
            // Accepted, but without events.
            (Kind::Pipe { writes: false, .. }, true) => look,
            (Kind::Fifo, _) => Look {
                count: os::bytes_to_read(fd).into(),
                eof: true,
                ..look.writable(fd, false, libc::POLLERR)
            },
            (Kind::UnixDatagram, _) => Look {
                holds: true,
                data: ROOM,
                ..look
            },
            (Kind::WrongEnd, _) => Look {
                holds: look.nobody_writes(),
                eof: look.nobody_writes(),
                ..look
            },
            (Kind::File, false) => match os::bytes_to_end(fd) {
                Ok(rest) if os::stat(fd)?.st_mode & libc::S_IFMT == libc::S_IFREG => Look {
                    holds: rest != 0,
                    data: rest as isize,
                    ..look
                },
                _ => Look {
                    holds: true,
                    ..look
                },
            },
            (Kind::File, true) => Look {
                holds: true,
                data: ROOM,
                ..look
            },
            (Kind::Other | Kind::Queue, false) => look.readable(fd, false, HANG_UP | libc::POLLERR),
            (Kind::Other | Kind::Queue, true) => {
                look.writable(fd, false, libc::POLLHUP | libc::POLLERR)
            }
        })
    }

    fn at_stream(self, fd: c_int, family: Family, writing: bool) -> Look {
        if os::socket_option(fd, libc::SO_ACCEPTCONN) == Ok(1) {
            return self.at_listener(fd, writing);
        }
        let failed = self.bits & libc::POLLERR != 0;
        // Linux also reports POLLHUP for a socket that was never connected. For a BSD such a socket
        // is neither readable nor writable, nor at its end.
        let unconnected = self.bits & (libc::POLLHUP | libc::POLLRDHUP) == libc::POLLHUP;
        if unconnected && !failed {
            return self;
        }
        let look = Look { failed, ..self };
        if !writing {
            return look.readable(fd, failed, HANG_UP | libc::POLLERR);
        }
        let (shut, acked) = match family {
            // After an error it cannot be queried, and need not be.
            _ if failed => (true, 0),
            Family::Internet => os::tcp_info(fd).map_or((false, 0), |info| {
                (TCP_WRITE_SHUT.contains(&info.state), info.bytes_acked)
            }),
            Family::Unix => (os::refuses_to_write(fd), 0),
            Family::Other => (false, 0),
        };
        let mut look = look.writable(fd, shut, libc::POLLHUP | libc::POLLERR);
        look.eof |= shut;
        look.count += acked;
        look
    }

    fn at_listener(self, fd: c_int, writing: bool) -> Look {
        if writing || self.bits & libc::POLLIN == 0 {
            return self;
        }
        Look {
            holds: true,
            // This is not known for a Unix listener.
            data: os::tcp_info(fd).map_or(1, |info| info.unacked as isize),
            ..self
        }
    }

    fn readable(self, fd: c_int, anyway: bool, end: i16) -> Look {
        let eof = self.bits & end != 0;
        Look {
            holds: anyway || eof || self.bits & libc::POLLIN != 0,
            eof,
            data: os::bytes_to_read(fd) as isize,
            ..self
        }
    }

    fn writable(self, fd: c_int, anyway: bool, end: i16) -> Look {
        let eof = self.bits & end != 0;
        let room = self.bits & libc::POLLOUT != 0;
        Look {
            holds: anyway || eof || room,
            eof,
            data: if room && !eof { ROOM } else { 0 },
            count: os::bytes_in_flight(fd).into(),
            ..self
        }
    }

    /// Whether the only change since `earlier`, to a stream that was and is writable, is that the
    /// other direction has ended. On Linux this wakes threads that wait to write, and on a BSD it
    /// does not.
    ///
    /// If data may have been written in between, the stream may have been full in between, and then
    /// it is not the only change.
    pub(crate) fn only_the_other_end(&self, earlier: &Look) -> bool {
        let changed = (self.bits ^ earlier.bits) & !(libc::POLLIN | libc::POLLPRI);
        earlier.holds
            && changed == libc::POLLRDHUP
            && self.eof == earlier.eof
            && self.count == earlier.count
    }

    /// The last writer of this pipe has closed.
    pub(crate) fn nobody_writes(&self) -> bool {
        self.bits & libc::POLLHUP != 0
    }

    /// The reader of this pipe is gone, and there was no room.
    pub(crate) fn is_full_and_unread(&self) -> bool {
        self.nobody_reads() && self.bits & libc::POLLOUT == 0
    }

    /// The reader of this pipe has closed.
    pub(crate) fn nobody_reads(&self) -> bool {
        self.bits & libc::POLLERR != 0
    }
}

/// The peer, or both sides, will write no more.
const HANG_UP: i16 = libc::POLLRDHUP | libc::POLLHUP;

/// The capacity that is reported, if there is any: the real number is not modelled.
const ROOM: isize = libc::PIPE_BUF as isize;

/// The states of a TCP connection whose write side is shut down: FIN_WAIT1, FIN_WAIT2, TIME_WAIT,
/// LAST_ACK and CLOSING, with Linux's numbers.
const TCP_WRITE_SHUT: [u8; 5] = [4, 5, 6, 9, 11];
