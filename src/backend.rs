//! The names of the event queues that operating systems have.

use std::fmt;
use std::io;
use std::str::FromStr;

/// A kind of event queue that a [`Poll`](crate::Poll) can stand on.
///
/// All of them can be named everywhere; [`available`](Backend::available)
/// tells which ones this system and build have.
///
/// Written and parsed (`Display`, `FromStr`) as `epoll`, `kqueue`,
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
    /// Apple's systems. Reading and writing are registered and reported each for
    /// itself: see [`Event`](crate::event::Event).
    Kqueue,
    /// [Event ports](https://illumos.org/man/3C/port_create) of Solaris and, by
    /// choice, illumos. They report once; so what poll(2) costs and does
    /// differently holds for them too, but for the time in proportion to the
    /// registrations: an event costs a system call to ask for the next one, and a
    /// read or write that would block another.
    EventPorts,
    /// Windows' ancillary function driver, on which Winsock itself stands, and an
    /// [I/O completion port](https://learn.microsoft.com/en-us/windows/win32/fileio/i-o-completion-ports).
    /// The driver is asked about a socket once at a time, so that an event, or a read
    /// or write that would block, costs a system call to ask again, made by the next
    /// poll. A socket's events come from Windows' own sockets and what is layered over
    /// them. One socket should be in *one* poll at a time: of two polls of one socket
    /// Windows is known to mix up the answers.
    Afd,
    /// [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html)
    /// of every Unix: the way out where the better ones are forbidden. A poll
    /// costs time in proportion to the registrations, and a waker's event and a
    /// registration that falls into a wait cost system calls. If the limit of
    /// descriptors (`RLIMIT_NOFILE`) is lowered below the number of registrations,
    /// the kernel is asked in parts, and events may be up to 64 ms late. A pipe that
    /// is kept open and registered after the end of file wakes an idle process some
    /// 15 times a second (`cargo xtask bench --idle`): deregister it. What else is
    /// different is said at [`Registry::register`](crate::Registry::register),
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = io::Error;

    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) for what is no
    /// backend's name.
    fn from_str(name: &str) -> io::Result<Backend> {
        ALL.into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("no backend is called {name:?}"),
                )
            })
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
