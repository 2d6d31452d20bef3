//! The kinds of readiness in which a registration is interested.

use std::fmt;
use std::num::NonZeroU8;
use std::ops::{BitOr, BitOrAssign};

/// The kinds of readiness in which a registration is interested, at least one, and how they are reported.
///
/// Combine interests with [`add`](Interest::add) in constants and with `|` elsewhere.
/// An event may report more than the interests: errors and hang-ups are
/// always reported.
///
/// # Modes
///
/// Readiness is reported by *edges*: after an event, the next one is certain only after an operation
/// would have blocked, or after `reregister`. Modes change that for one registration:
///
/// - [`level`](Interest::level): every poll reports the source for as long as it is ready.
/// - [`oneshot`](Interest::oneshot): one event, and then none until `reregister`.
/// - [`exclusive`](Interest::exclusive): of several polls, not all are woken. Linux and Android only.
///
/// Modes combine like interests. Level and one-shot together are one-shot.
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
const LEVEL: u8 = 1 << 5;
const ONESHOT: u8 = 1 << 6;
const EXCLUSIVE: u8 = 1 << 7;

/// The lowest bit of a mode.
const MODE_SHIFT: u32 = LEVEL.trailing_zeros();

/// The bits that ask for readiness. The others are modes.
const DIRECTIONS: u8 = READABLE | WRITABLE | AIO | LIO | PRIORITY;

/// The names that `Debug` writes, in this order.
const NAMES: [(u8, &str); 8] = [
    (READABLE, "READABLE"),
    (WRITABLE, "WRITABLE"),
    (PRIORITY, "PRIORITY"),
    (AIO, "AIO"),
    (LIO, "LIO"),
    (LEVEL, "LEVEL"),
    (ONESHOT, "ONESHOT"),
    (EXCLUSIVE, "EXCLUSIVE"),
];

/// An interest of known bits, of which at least one is set.
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

    /// Interest in priority (out-of-band) data: [`is_priority`](crate::event::Event::is_priority).
    ///
    /// TCP has one byte of it at a time, which a program sends and receives with `MSG_OOB`. Receive it
    /// in `try_io_with(Interest::PRIORITY, …)`. Other descriptors of Linux use it for conditions of
    /// their own, such as `/proc/self/mountinfo` for a change of the mounts.
    ///
    /// Pipes, named pipes and datagrams have no priority data. Where the backend has the interest, they can be
    /// registered for it, and never report it.
    ///
    /// # Platform differences
    ///
    /// | backend | how |
    /// |---|---|
    /// | epoll | `EPOLLPRI` of [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html) |
    /// | poll(2), event ports | `POLLPRI`. No operation tells them that it was received, so they probe, with back-off: priority data that the program leaves is reported again |
    /// | AFD | `AFD_POLL_RECEIVE_EXPEDITED`, with back-off as well. With `SO_OOBINLINE` Windows reports it as ordinary data: readable, and not priority |
    /// | kqueue | none: `register` and `reregister` fail with [`Unsupported`](std::io::ErrorKind::Unsupported). Apple's systems, OpenBSD and DragonFly BSD have a filter for it, which this crate does not use; FreeBSD and NetBSD have none. Use poll(2) ([`Poll::with_backend`](crate::Poll::with_backend)) there |
    ///
    /// ```
    /// use mio::net::TcpStream;
    /// use mio::{Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// let poll = Poll::new()?;
    /// # if poll.backend() == mio::Backend::Kqueue {
    /// #     return Ok(());
    /// # }
    /// let interests = Interest::READABLE | Interest::PRIORITY;
    /// poll.registry().register(&mut stream, Token(0), interests)?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// The interests and modes of `self` that are not in `other`. `None` if no interest is left, because
    /// a mode alone asks for nothing.
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
        let bits = self.0.get() & !other.0.get();
        match bits & DIRECTIONS {
            0 => None,
            _ => Some(interest(bits)),
        }
    }

    /// Level-triggered: every poll that begins while the source is ready for this interest reports it.
    ///
    /// The program need not read until `WouldBlock`: what it leaves is reported by the next poll. An end
    /// of file is readable, and an error an error, for ever: deregister the source, or the poll returns
    /// at once each time. The same is true of a writable source, so ask for writing only while something
    /// is to be written.
    ///
    /// # Platform differences
    ///
    /// All backends have it. A source that stays ready costs two system calls for each poll on event ports
    /// and one on AFD. On both a poll that is nested in another event loop does not show such a source to that
    /// loop before the next `poll`. A source that the kernel reports late with edges
    /// ([`SourceFd`](crate::unix::SourceFd) on poll(2)) is not late with levels. Wakers are not changed by
    /// modes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use mio::net::TcpStream;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut receiver = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut sender, _) = listener.accept()?;
    /// poll.registry().register(&mut receiver, Token(0), Interest::READABLE.level())?;
    ///
    /// sender.write_all(b"metal")?;
    /// let mut byte = [0];
    /// for _ in 0..5 {
    ///     // One byte for each event. With edges the second poll would wait for ever.
    ///     poll.poll(&mut events, None)?;
    ///     assert_eq!(receiver.read(&mut byte)?, 1);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "returns the interest and leaves `self` as it was"]
    #[inline]
    pub const fn level(self) -> Interest {
        interest(self.0.get() | LEVEL)
    }

    /// One-shot: after one event the source is not reported, not even its errors and hang-ups, until
    /// [`reregister`](crate::Registry::reregister).
    ///
    /// The event carries all that the source is ready for at that time (on AFD, all that it was ready for
    /// when the kernel noticed). The source stays
    /// registered: `deregister` is needed as ever, and `reregister` reports at once what is ready then.
    /// It suits a pool of threads that take events of one poll: of a source only one thread has an event.
    ///
    /// # Platform differences
    ///
    /// All backends have it. On kqueue, which reports reading and writing separately, the event carries both
    /// if there is room for both in [`Events`](crate::Events).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::Duration;
    ///
    /// use mio::net::TcpStream;
    /// use mio::{Events, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut receiver = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut sender, _) = listener.accept()?;
    /// let once = Interest::READABLE.oneshot();
    /// poll.registry().register(&mut receiver, Token(0), once)?;
    ///
    /// sender.write_all(b"one")?;
    /// poll.poll(&mut events, None)?;
    /// assert!(!events.is_empty());
    ///
    /// sender.write_all(b"two")?;
    /// poll.poll(&mut events, Some(Duration::from_millis(20)))?;
    /// assert!(events.is_empty());
    ///
    /// poll.registry().reregister(&mut receiver, Token(0), once)?;
    /// poll.poll(&mut events, None)?;
    /// assert!(!events.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "returns the interest and leaves `self` as it was"]
    #[inline]
    pub const fn oneshot(self) -> Interest {
        interest(self.0.get() | ONESHOT)
    }

    /// Exclusive: if several polls watch one descriptor, at least one of them is woken, and not
    /// necessarily all of them.
    ///
    /// It spares the wake-ups of threads that wait for one listener, each with a poll of its own:
    /// `EPOLLEXCLUSIVE` of
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html). It combines with `level`. The
    /// event does not tell that the peer will send no more
    /// ([`is_read_closed`](crate::event::Event::is_read_closed)).
    ///
    /// The kernel modifies no such registration, so `reregister` is refused: deregister the source, and register
    /// it. Kernels before 4.5 ignore the mode.
    ///
    /// # Errors
    ///
    /// `register` and `reregister` fail with
    ///
    /// - [`Unsupported`](std::io::ErrorKind::Unsupported) on other backends than epoll, also on poll(2);
    /// - [`InvalidInput`](std::io::ErrorKind::InvalidInput) together with `oneshot` or `PRIORITY`, if the source
    ///   is another epoll, and for `reregister` with this mode or of a registration that has it. The error says
    ///   which; that of `reregister` does so in debug builds, and is the kernel's EINVAL in release builds.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::net::TcpListener;
    /// use mio::{Backend, Interest, Poll, Token};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// let poll = Poll::new()?;
    /// let interests = Interest::READABLE.exclusive();
    /// # if poll.backend() != Backend::Epoll {
    /// #     return Ok(());
    /// # }
    /// poll.registry().register(&mut listener, Token(0), interests)?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[cfg_attr(docsrs, doc(cfg(any(target_os = "linux", target_os = "android"))))]
    #[must_use = "returns the interest and leaves `self` as it was"]
    #[inline]
    pub const fn exclusive(self) -> Interest {
        interest(self.0.get() | EXCLUSIVE)
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

    /// Whether the mode is [`level`](Interest::level).
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!(Interest::READABLE.level().is_level());
    /// assert!(!Interest::READABLE.is_level());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_level(self) -> bool {
        self.0.get() & LEVEL != 0
    }

    /// Whether the mode is [`oneshot`](Interest::oneshot).
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!((Interest::READABLE.oneshot() | Interest::WRITABLE).is_oneshot());
    /// assert!(!Interest::READABLE.is_oneshot());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_oneshot(self) -> bool {
        self.0.get() & ONESHOT != 0
    }

    /// Whether the mode is exclusive (`Interest::exclusive`, on Linux and Android). False on other systems.
    ///
    /// ```
    /// use mio::Interest;
    ///
    /// assert!(!Interest::READABLE.is_exclusive());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_exclusive(self) -> bool {
        self.0.get() & EXCLUSIVE != 0
    }

    /// The interest alone. It has a direction, as every registration has.
    #[allow(dead_code)] // where no queue watches processes
    pub(crate) const fn without_modes(self) -> Interest {
        interest(self.0.get() & DIRECTIONS)
    }

    /// An interest in reading, writing and priority data, with its mode; `None` without any of them.
    #[allow(dead_code)] // where no backend stores interests
    pub(crate) fn with(directions: [bool; 3], level: bool, oneshot: bool) -> Option<Interest> {
        let [readable, writable, priority] = directions;
        let bit_if = |is_set: bool, bit: u8| u8::from(is_set) * bit;
        let bits = bit_if(readable, READABLE)
            | bit_if(writable, WRITABLE)
            | bit_if(priority, PRIORITY)
            | bit_if(level, LEVEL)
            | bit_if(oneshot, ONESHOT);
        NonZeroU8::new(bits).map(Interest)
    }

    /// The interest of these bits, of which at least one is set. For a table indexed by them.
    #[allow(dead_code)] // where no backend has such a table
    pub(crate) const fn from_bits(bits: u8) -> Interest {
        interest(bits)
    }

    /// The bits, for a table indexed by them.
    #[allow(dead_code)] // likewise
    #[inline]
    pub(crate) const fn bits(self) -> u8 {
        self.0.get()
    }

    /// The modes alone, below 8, for a table indexed by them.
    #[allow(dead_code)] // likewise
    #[inline]
    pub(crate) const fn mode(self) -> u8 {
        self.0.get() >> MODE_SHIFT
    }

    /// The interest with these modes.
    #[allow(dead_code)] // likewise
    pub(crate) const fn with_mode(self, mode: u8) -> Interest {
        interest(self.0.get() & DIRECTIONS | mode << MODE_SHIFT)
    }

    /// Whether it has any mode.
    #[allow(dead_code)] // where no backend does something else then
    #[inline]
    pub(crate) const fn has_mode(self) -> bool {
        self.0.get() & !DIRECTIONS != 0
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
        for (bit, name) in &NAMES {
            if self.0.get() & bit != 0 {
                f.write_str(separator)?;
                f.write_str(name)?;
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
        let all = interest(u8::MAX);
        assert_eq!(
            format!("{all:?}"),
            "READABLE | WRITABLE | PRIORITY | AIO | LIO | LEVEL | ONESHOT | EXCLUSIVE"
        );
        assert_eq!(format!("{:?}", interest(PRIORITY)), "PRIORITY");
        assert!(all.is_aio() && all.is_lio());
    }

    /// Every set of directions and modes, of which the lowest five bits are directions.
    fn all() -> impl Iterator<Item = Interest> {
        (1..=u8::MAX).map(Interest::from_bits)
    }

    #[test]
    fn each_direction_and_each_mode_is_a_bit_of_its_own() {
        type Has = fn(Interest) -> bool;
        let bits: [(u8, Has); 8] = [
            (1, Interest::is_readable),
            (2, Interest::is_writable),
            (4, Interest::is_aio),
            (8, Interest::is_lio),
            (16, Interest::is_priority),
            (32, Interest::is_level),
            (64, Interest::is_oneshot),
            (128, Interest::is_exclusive),
        ];
        for one in all() {
            for (bit, has) in bits {
                assert_eq!(has(one), one.bits() / bit % 2 == 1, "{one:?}, {bit}");
            }
        }
        assert_eq!(Interest::READABLE.bits(), 1);
        assert_eq!(Interest::WRITABLE.bits(), 2);
        assert_eq!(Interest::READABLE.level().bits(), 1 + 32);
        assert_eq!(Interest::READABLE.oneshot().bits(), 1 + 64);
    }

    #[test]
    fn interests_are_added_and_removed_as_sets() {
        let has = |interest: Interest, bit: u8| interest.bits() & bit != 0;
        let bits = || (0..8).map(|bit| Interest::from_bits(1 << bit));
        for (one, other) in all().flat_map(|one| bits().map(move |other| (one, other))) {
            let (sum, rest) = (one.add(other), one.remove(other));
            for bit in (0..8).map(|bit| 1 << bit) {
                assert_eq!(has(sum, bit), has(one, bit) || has(other, bit));
                if let Some(rest) = rest {
                    assert_eq!(has(rest, bit), has(one, bit) && !has(other, bit));
                }
            }
            // A mode alone is no interest.
            let remains = (0..5).any(|bit| has(one, 1 << bit) && !has(other, 1 << bit));
            assert_eq!(rest.is_some(), remains, "{one:?} without {other:?}");
        }
    }

    #[test]
    fn the_modes_are_the_three_highest_bits() {
        for one in all() {
            assert_eq!(one.mode(), one.bits() / 32);
            assert_eq!(one.has_mode(), one.bits() >= 32);
            for mode in 0..8 {
                let directions = one.bits() % 32;
                if directions != 0 {
                    assert_eq!(one.with_mode(mode).bits(), directions + 32 * mode);
                    assert_eq!(one.without_modes().bits(), directions);
                }
            }
        }
    }

    #[test]
    fn an_interest_is_made_of_its_directions_and_modes() {
        let bits = |directions, level, oneshot| {
            let interest = Interest::with(directions, level, oneshot);
            interest.map(Interest::bits)
        };
        assert_eq!(bits([true, false, false], false, false), Some(1));
        assert_eq!(bits([true, true, false], true, false), Some(1 + 2 + 32));
        assert_eq!(bits([false, false, true], false, true), Some(16 + 64));
        assert_eq!(bits([false; 3], false, false), None);
    }
}
