//! eventfd, the cheapest thing on Linux to wake a thread through:
//! [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::c_long;

use super::cvt;

/// A counter in the kernel; every write to it is an edge.
#[derive(Debug)]
pub(crate) struct EventFd {
    counter: OwnedFd,
}

/// What a signal adds; a static, so that a wake need not put it on the stack.
static ONE: u64 = 1;

impl EventFd {
    pub(super) fn new() -> io::Result<EventFd> {
        // SAFETY: takes numbers; returns a descriptor or -1.
        let counter = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(EventFd {
            // SAFETY: the descriptor is new, open and nobody else's.
            counter: unsafe { OwnedFd::from_raw_fd(counter) },
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.counter.as_raw_fd()
    }

    /// Adds one, which wakes whoever waits.
    #[inline]
    pub(crate) fn signal(&self) -> io::Result<()> {
        match self.write(&ONE) {
            Ok(()) => Ok(()),
            Err(error) => self.signal_full(error),
        }
    }

    /// Nobody reads the counter, so after 2^64 - 2 signals, or when somebody
    /// else wrote to it, it is full: it starts over.
    #[cold]
    fn signal_full(&self, mut error: io::Error) -> io::Result<()> {
        while error.kind() == io::ErrorKind::WouldBlock {
            self.reset()?;
            match self.write(&ONE) {
                Ok(()) => return Ok(()),
                // Another thread filled it again.
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    // `syscall`, because glibc's `write` is a cancellation point: see
    // `Epoll::wait_millis`.
    #[inline]
    fn write(&self, value: &u64) -> io::Result<()> {
        let counter = c_long::from(self.counter.as_raw_fd());
        let size = std::mem::size_of::<u64>() as c_long;
        // SAFETY: the kernel reads the 8 bytes of `value`. It writes all of
        // them or none.
        cvt(unsafe { libc::syscall(libc::SYS_write, counter, value, size) })?;
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        let mut value = 0u64;
        let size = std::mem::size_of::<u64>();
        let counter = self.counter.as_raw_fd();
        // SAFETY: the kernel writes at most the 8 bytes of `value`.
        match cvt(unsafe { libc::read(counter, (&mut value as *mut u64).cast(), size) }) {
            // Nothing to read: another thread was faster.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_counter_starts_over() {
        let counter = EventFd::new().unwrap();
        counter.write(&(u64::MAX - 1)).unwrap();
        assert_eq!(
            counter.write(&ONE).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        counter.signal().unwrap();
        counter.signal().unwrap();
        // The counter is 2 again, as resetting it and adding shows.
        counter.write(&(u64::MAX - 3)).unwrap();
        assert!(counter.write(&ONE).is_err());
    }

    #[test]
    fn resetting_an_empty_counter_is_no_error() {
        let counter = EventFd::new().unwrap();
        counter.reset().unwrap();
    }

    #[test]
    fn an_error_of_another_kind_is_returned() {
        let counter = EventFd::new().unwrap();
        let error = counter.signal_full(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
