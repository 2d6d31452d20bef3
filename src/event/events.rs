//! The buffer that a poll fills, and its iterator.

use std::fmt;
use std::slice;

use crate::event::Event;
use crate::sys::EventBuffer;

/// The maximum number of events that one poll can report.
const MAX_CAPACITY: usize = 1 << 20;

/// The events of one [`Poll::poll`](crate::Poll::poll).
///
/// [`with_capacity`](Events::with_capacity) allocates all memory, once.
/// Each poll replaces the events of the previous one. If more sources are ready
/// than fit, the next polls report the others, each source in its turn,
/// so a small buffer costs system calls but loses no event.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use mio::{Events, Poll};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(1024);
/// assert_eq!(events.capacity(), 1024);
///
/// poll.poll(&mut events, Some(Duration::ZERO))?;
/// for event in &events {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Events {
    buffer: EventBuffer,
}

impl Events {
    /// Allocates a buffer for `capacity` events of a poll, 12 or 16 bytes each. On systems with
    /// kqueue, event ports or AFD, a second buffer holds what the kernel writes, some
    /// 32 bytes for each event.
    ///
    /// A capacity above 2<sup>20</sup> is clamped to that, and
    /// [`capacity`](Events::capacity) returns the clamped value. With a capacity of 0 every
    /// poll returns [`InvalidInput`](std::io::ErrorKind::InvalidInput).
    ///
    /// ```
    /// let events = mio::Events::with_capacity(usize::MAX);
    /// assert_eq!(events.capacity(), 1 << 20);
    /// ```
    pub fn with_capacity(capacity: usize) -> Events {
        Events {
            buffer: EventBuffer::with_capacity(capacity.min(MAX_CAPACITY)),
        }
    }

    /// The maximum number of events that one poll reports.
    ///
    /// ```
    /// let events = mio::Events::with_capacity(128);
    /// assert_eq!(events.capacity(), 128);
    /// ```
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for `additional` more events, so that the next polls may report
    /// [`capacity`](Events::capacity) + `additional` each. The events in it stay.
    ///
    /// The sum is clamped to 2<sup>20</sup>. A poll that fills the buffer loses nothing, because the next
    /// one reports the rest. But each poll is a system call, so a program may start with a small
    /// buffer and let it grow.
    ///
    /// # Cost
    ///
    /// Allocates, and copies the events in it. This is the only method by which a buffer grows.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Events, Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(1);
    /// let waker = Waker::new(poll.registry(), Token(0))?;
    /// waker.wake()?;
    /// poll.poll(&mut events, None)?;
    /// if events.iter().len() == events.capacity() {
    ///     // The poll has filled it: there may be more.
    ///     events.reserve(events.capacity());
    /// }
    /// assert_eq!(events.capacity(), 2);
    /// assert_eq!(events.iter().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        let capacity = self.capacity().saturating_add(additional);
        self.buffer.grow(capacity.min(MAX_CAPACITY));
    }

    /// Whether the last poll reported no event: its timeout has passed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mio::{Events, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// poll.poll(&mut events, Some(Duration::from_millis(1)))?;
    /// assert!(events.is_empty()); // nothing is registered
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buffer.events().is_empty()
    }

    /// The events of the last poll, in the order in which the operating system reported them.
    ///
    /// ```
    /// use mio::{Events, Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let waker = Waker::new(poll.registry(), Token(3))?;
    /// waker.wake()?;
    /// poll.poll(&mut events, None)?;
    /// assert!(events.iter().any(|event| event.token() == Token(3)));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            events: self.buffer.events().iter(),
        }
    }

    /// Removes all events. There is no need to call it before a poll.
    ///
    /// ```
    /// use mio::{Events, Poll, Token, Waker};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut poll = Poll::new()?;
    /// let mut events = Events::with_capacity(8);
    /// let waker = Waker::new(poll.registry(), Token(0))?;
    /// waker.wake()?;
    /// poll.poll(&mut events, None)?;
    /// assert!(!events.is_empty());
    /// events.clear();
    /// assert!(events.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut EventBuffer {
        &mut self.buffer
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = Iter<'a>;

    #[inline]
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over [`Events`].
///
/// ```
/// use std::time::Duration;
///
/// use mio::{Events, Poll, Token, Waker};
///
/// # fn main() -> std::io::Result<()> {
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let waker = Waker::new(poll.registry(), Token(3))?;
/// waker.wake()?;
/// poll.poll(&mut events, None)?;
///
/// let tokens: Vec<Token> = events.iter().map(|event| event.token()).collect();
/// assert_eq!(tokens, [Token(3)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    events: slice::Iter<'a, Event>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Event;

    #[inline]
    fn next(&mut self) -> Option<&'a Event> {
        self.events.next()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }

    #[inline]
    fn count(self) -> usize {
        self.events.count()
    }
}

impl ExactSizeIterator for Iter<'_> {}
