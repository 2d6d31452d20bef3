//! The names of the event queues that operating systems have.

use std::fmt;
use std::io;
use std::str::FromStr;

/// A kind of event queue that a [`Poll`](crate::Poll) can use.
///
/// Every variant exists on every system; [`available`](Backend::available)
/// lists the backends of this system and build.
///
/// `Display` writes and `FromStr` parses `epoll`, `kqueue`,
/// `event-ports`, `afd` and `poll`.
///
/// ```
/// use mio::{Backend, Poll};
///
/// # fn main() -> std::io::Result<()> {
/// for &backend in Backend::available() {
///     let poll = Poll::with_backend(backend)?;
///     assert_eq!(poll.backend(), backend);
/// }
/// assert_eq!("epoll".parse::<Backend>()?, Backend::Epoll);
/// # Ok(())
/// # }
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html) of Linux,
    /// Android and [illumos](https://illumos.org/man/7/epoll).
    Epoll,
    /// [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?kqueue) of the BSDs and
    /// Apple's systems. Reading and writing are registered and reported
    /// separately: see [`Event`](crate::event::Event).
    Kqueue,
    /// [Event ports](https://illumos.org/man/3C/port_create) of Solaris and, by
    /// choice, illumos. A port reports a descriptor once, and the descriptor has to be armed again.
    /// So a system call follows each event, and another one each read or write that would
    /// block. Otherwise the differences of poll(2) apply, except for the time in proportion to
    /// the registrations.
    EventPorts,
    /// Windows' ancillary function driver, on which Winsock itself stands, and an
    /// [I/O completion port](https://learn.microsoft.com/en-us/windows/win32/fileio/i-o-completion-ports).
    /// The driver reports a socket once, so after an event, or a read
    /// or write that would block, the next poll makes a system call to arm the socket again.
    /// The events are those of Windows' own sockets and of providers layered over
    /// them. Register a socket with *one* poll at a time: Windows is known to mix up the
    /// events of two polls of one socket.
    Afd,
    /// [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html)
    /// of every Unix: the fallback where the better backends are forbidden. A poll
    /// takes time in proportion to the registrations, and a waker's event, and
    /// registering while another thread waits, cost system calls. If the limit of
    /// descriptors (`RLIMIT_NOFILE`) is lowered below the number of registrations,
    /// several calls poll a part each, and events may be up to 64 ms late. A pipe that
    /// is kept open and registered after the end of file wakes an idle process some
    /// 15 times a second (`cargo xtask bench --idle`): deregister it. For other
    /// differences see [`Registry::register`](crate::Registry::register),
    /// `SourceFd` and [`Event`](crate::event::Event).
    Poll,
}

const ALL: [Backend; 5] = [
    Backend::Epoll,
    Backend::Kqueue,
    Backend::EventPorts,
    Backend::Afd,
    Backend::Poll,
];

impl Backend {
    #[inline]
    fn name(self) -> &'static str {
        match self {
            Backend::Epoll => "epoll",
            Backend::Kqueue => "kqueue",
            Backend::EventPorts => "event-ports",
            Backend::Afd => "afd",
            Backend::Poll => "poll",
        }
    }
}

impl fmt::Display for Backend {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = io::Error;

    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) if the text is not a
    /// backend's name.
    #[inline]
    fn from_str(name: &str) -> io::Result<Backend> {
        for &backend in &ALL {
            if backend.name() == name {
                return Ok(backend);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("no backend is called {name:?}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for backend in ALL {
            assert_eq!(backend.to_string().parse::<Backend>().unwrap(), backend);
        }
        let error = "select".parse::<Backend>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("select"));
    }
}
