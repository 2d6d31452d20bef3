//! What the filters for reading and writing ask of a descriptor: does the condition hold?
//!
//! Nothing here changes what it looks at. Above all, `SO_ERROR` is never asked for, since asking
//! takes the error: a BSD's filter only looks at it.

use std::ffi::c_int;

use crate::abi::EVFILT_WRITE;
use crate::os::{self, Result};

/// What is open under a number, as far as the filters treat it differently.
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
    /// The end of a pipe that is read from, watched for writing where that tells of its end.
    WrongEnd,
    /// What epoll does not watch: a file, a directory, `/dev/null`. It is ready whenever it is
    /// looked at; the end of a file is seen, but not that the file grows.
    File,
    /// A kqueue of the model.
    Queue,
    /// Anything else that epoll watches: a terminal, an eventfd, a timerfd...
    Other,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Internet,
    Unix,
    /// There is no way to tell whether the write side is shut.
    Other,
}

/// A look at a descriptor through one of the two filters.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// There is something to report.
    pub(crate) holds: bool,
    pub(crate) eof: bool,
    pub(crate) failed: bool,
    pub(crate) data: isize,
    /// poll(2)'s bits.
    pub(crate) bits: i16,
    /// How much was written to it: grows with everything that is written to a TCP socket; for
    /// others it is what has not been read yet by the peer. To a kqueue: how often one of its
    /// knotes was activated.
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
}

impl Look {
    /// Fails with EBADF where nothing is open there. Not for kqueues.
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
                // What can be read at the one end is in flight at the other.
                count: os::bytes_to_read(fd).into(),
                ..look.writable(fd, false, libc::POLLERR)
            },
            // Accepted, but silent.
            (Kind::Pipe { writes: false, .. }, true) => look,
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
        // Linux has POLLHUP for a socket that has never been connected as well. To a BSD that
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
            // After an error there is no asking, and no need to.
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
            // Nobody knows this of a Unix listener.
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

    /// Whether all that has happened since `earlier`, to a stream that could be written to and
    /// still can, is that the other direction came to its end. This wakes those who wait for
    /// room on Linux, but not on a BSD.
    ///
    /// Where something may have been written in between, there may have been no room in between:
    /// it is not all then.
    pub(crate) fn only_the_other_end(&self, earlier: &Look) -> bool {
        let changed = (self.bits ^ earlier.bits) & !(libc::POLLIN | libc::POLLPRI);
        earlier.holds
            && changed == libc::POLLRDHUP
            && self.eof == earlier.eof
            && self.count == earlier.count
    }

    /// The last writer of this pipe is gone.
    pub(crate) fn nobody_writes(&self) -> bool {
        self.bits & libc::POLLHUP != 0
    }

    /// The reader of this pipe is gone.
    pub(crate) fn nobody_reads(&self) -> bool {
        self.bits & libc::POLLERR != 0
    }
}

/// The peer, or both sides, will write no more.
const HANG_UP: i16 = libc::POLLRDHUP | libc::POLLHUP;

/// How much room there is at least, where there is any: the real figure is not modelled.
const ROOM: isize = libc::PIPE_BUF as isize;

/// The states of a TCP connection whose write side is shut: FIN_WAIT1, FIN_WAIT2, TIME_WAIT,
/// LAST_ACK and CLOSING, in the numbers of Linux.
const TCP_WRITE_SHUT: [u8; 5] = [4, 5, 6, 9, 11];
