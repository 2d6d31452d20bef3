//! The kinds of readiness in which a registration is interested.

use std::fmt;
use std::num::NonZeroU8;
use std::ops::{BitOr, BitOrAssign};

/// The kinds of readiness in which a registration is interested: at least one.
///
/// Combine interests with [`add`](Interest::add) in constants and with `|` elsewhere.
/// An event may report more than the interests: errors and hang-ups are
/// always reported.
///
/// # Examples
///
/// ```
/// use mio::Interest;
///
/// const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
///
/// assert_eq!(BOTH, Interest::READABLE | Interest::WRITABLE);
/// assert!(BOTH.is_readable() && BOTH.is_writable());
/// assert_eq!(BOTH.remove(Interest::WRITABLE), Some(Interest::READABLE));
/// assert_eq!(format!("{BOTH:?}"), "READABLE | WRITABLE");
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest(NonZeroU8);

const READABLE: u8 = 1 << 0;
const WRITABLE: u8 = 1 << 1;
const AIO: u8 = 1 << 2;
const LIO: u8 = 1 << 3;
const PRIORITY: u8 = 1 << 4;

/// The names that `Debug` writes, in the order of the bits.
const NAMES: [(u8, &str); 5] = [
    (READABLE, "READABLE"),
    (WRITABLE, "WRITABLE"),
    (PRIORITY, "PRIORITY"),
    (AIO, "AIO"),
    (LIO, "LIO"),
];

/// An interest of known bits; used in constants only, so a zero fails to compile.
const fn interest(bits: u8) -> Interest {
    match NonZeroU8::new(bits) {
        Some(bits) => Interest(bits),
        None => panic!("an interest has at least one bit"),
    }
}

impl Interest {
    /// Interest in reading: data or a connection has arrived, or the peer has closed
    /// its side.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    /// # Ok(())
    /// # }
    /// ```
    pub const READABLE: Interest = interest(READABLE);

    /// Interest in writing: data can be written, or a connect attempt has
    /// finished.
    ///
    /// ```
    /// use mio::net::UdpSocket;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poll = Poll::new()?;
    /// let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// poll.registry().register(&mut socket, Token(0), Interest::WRITABLE)?;
    /// # Ok(())
    /// # }
    /// ```
    pub const WRITABLE: Interest = interest(WRITABLE);

    /// Interest in priority (out-of-band) data, `EPOLLPRI` of
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
    ///
    /// Exists on systems whose event queue distinguishes priority data.
    ///
    /// ```
    /// use mio::net::TcpStream;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// let poll = Poll::new()?;
    /// let interests = Interest::READABLE | Interest::PRIORITY;
    /// poll.registry().register(&mut stream, Token(0), interests)?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[cfg_attr(docsrs, doc(cfg(any(target_os = "linux", target_os = "android"))))]
    pub const PRIORITY: Interest = interest(PRIORITY);

    /// Completions of POSIX asynchronous I/O: see
    /// [`Event::is_aio`](crate::event::Event::is_aio).
    ///
    /// By itself this interest asks the kernel for nothing: the operation names the queue and the
    /// token in its `sigevent`, as [aio(4)](https://man.freebsd.org/cgi/man.cgi?aio) describes. If
    /// a descriptor is registered for nothing else, `deregister` returns `NotFound`.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// let interests = Interest::READABLE | Interest::AIO;
    /// assert!(interests.is_aio());
    /// ```
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        mio_model = "kqueue"
    ))]
    #[cfg_attr(
        docsrs,
        doc(cfg(any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "dragonfly"
        )))
    )]
    pub const AIO: Interest = interest(AIO);

    /// Completions of lists of POSIX asynchronous I/O: see
    /// [`Event::is_lio`](crate::event::Event::is_lio). [`AIO`](Interest::AIO) describes how to ask
    /// for them; the call is [lio_listio(2)](https://man.freebsd.org/cgi/man.cgi?lio_listio).
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// let interests = Interest::READABLE | Interest::LIO;
    /// assert!(interests.is_lio());
    /// ```
    #[cfg(any(target_os = "freebsd", mio_model = "kqueue"))]
    #[cfg_attr(docsrs, doc(cfg(target_os = "freebsd")))]
    pub const LIO: Interest = interest(LIO);

    /// Both interests together. `|` does the same, but not in constants.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    /// assert!(BOTH.is_readable() && BOTH.is_writable());
    /// ```
    // The established API has this name. An impl of `Add` would look like arithmetic.
    #[allow(clippy::should_implement_trait)]
    #[must_use = "returns the sum and leaves `self` as it was"]
    #[inline]
    pub const fn add(self, other: Interest) -> Interest {
        interest(self.0.get() | other.0.get())
    }

    /// The interests of `self` that are not in `other`. `None` if there are none, because
    /// an interest is never empty.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// let both = Interest::READABLE | Interest::WRITABLE;
    /// assert_eq!(both.remove(Interest::READABLE), Some(Interest::WRITABLE));
    /// assert_eq!(both.remove(both), None);
    /// ```
    #[must_use = "returns the difference and leaves `self` as it was"]
    #[inline]
    pub fn remove(self, other: Interest) -> Option<Interest> {
        NonZeroU8::new(self.0.get() & !other.0.get()).map(Interest)
    }

    /// Whether the interest includes reading.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!((Interest::READABLE | Interest::WRITABLE).is_readable());
    /// assert!(!Interest::WRITABLE.is_readable());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.0.get() & READABLE != 0
    }

    /// Whether the interest includes writing.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!((Interest::READABLE | Interest::WRITABLE).is_writable());
    /// assert!(!Interest::READABLE.is_writable());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.0.get() & WRITABLE != 0
    }

    /// Whether the interest includes completions of POSIX asynchronous I/O. Always false on systems
    /// without `Interest::AIO`.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!(!(Interest::READABLE | Interest::WRITABLE).is_aio());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_aio(self) -> bool {
        self.0.get() & AIO != 0
    }

    /// Whether the interest includes completions of POSIX list I/O. Always false on systems without
    /// `Interest::LIO`.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!(!(Interest::READABLE | Interest::WRITABLE).is_lio());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_lio(self) -> bool {
        self.0.get() & LIO != 0
    }

    /// Whether the interest includes priority data.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!(!(Interest::READABLE | Interest::WRITABLE).is_priority());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_priority(self) -> bool {
        self.0.get() & PRIORITY != 0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    #[inline]
    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    #[inline]
    fn bitor_assign(&mut self, other: Interest) {
        *self = self.add(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in NAMES {
            if self.0.get() & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = " | ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits for which this system has no constant are printed as well.
    #[test]
    fn debug_names_every_bit() {
        let all = interest(READABLE | WRITABLE | AIO | LIO | PRIORITY);
        assert_eq!(
            format!("{all:?}"),
            "READABLE | WRITABLE | PRIORITY | AIO | LIO"
        );
        assert_eq!(format!("{:?}", interest(PRIORITY)), "PRIORITY");
        assert!(all.is_aio() && all.is_lio());
    }
}
