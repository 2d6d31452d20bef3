//! A descriptor to wake through: an eventfd, or a pipe where there is none.
//!
//! [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html) is cheaper
//! than a pipe, and takes one descriptor instead of two. Some sandboxes refuse it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::calls::{libc_write, replacement, write};
use super::refused::is_refused;
use super::{cvt, EVERY_WRITE_IS_AN_EDGE};

/// A descriptor that becomes readable when it is signalled.
#[derive(Debug)]
pub(crate) struct WakeFd {
    /// Watched by the one who waits.
    watched: OwnedFd,
    sender: Sender,
}

/// What is written to.
#[derive(Debug)]
enum Sender {
    /// The eventfd that is watched, in the kernel.
    Kernel,
    /// The eventfd that is watched, by means of the C library, since what watches it is a
    /// replacement of that, which may have replaced the eventfd as well.
    CLibrary,
    /// The other end of the pipe.
    Pipe(OwnedFd),
}

/// What a signal adds to an eventfd, and 8 bytes in a pipe. A static, so that a
/// wake need not put it on the stack.
static ONE: u64 = 1;

impl WakeFd {
    pub(crate) fn new() -> io::Result<WakeFd> {
        if cfg!(mio_unsupported_force_waker_pipe) {
            return WakeFd::pipe();
        }
        match WakeFd::eventfd() {
            Err(error) if is_refused(&error) => WakeFd::pipe(),
            made => made,
        }
    }

    fn eventfd() -> io::Result<WakeFd> {
        Ok(WakeFd {
            watched: super::calls::eventfd::eventfd()?,
            sender: match replacement::is_there() {
                true => Sender::CLibrary,
                false => Sender::Kernel,
            },
        })
    }

    fn pipe() -> io::Result<WakeFd> {
        let (watched, sender) = super::pipe::pipe()?;
        Ok(WakeFd {
            watched: watched.into(),
            sender: Sender::Pipe(sender.into()),
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    /// Makes the descriptor readable, with an edge for every call.
    #[inline]
    pub(crate) fn signal(&self) -> io::Result<()> {
        if !matches!(self.sender, Sender::Kernel) {
            return self.signal_drained();
        }
        if !EVERY_WRITE_IS_AN_EDGE {
            self.drain()?;
        }
        match write::write_word(self.raw_fd(), &ONE) {
            Ok(()) => Ok(()),
            Err(error) => self.signal_full(error),
        }
    }

    /// Where nobody reads the counter, it is full after 2^64 - 2 signals, or when
    /// somebody else wrote to it: it starts over.
    #[cold]
    fn signal_full(&self, mut error: io::Error) -> io::Result<()> {
        while error.kind() == io::ErrorKind::WouldBlock {
            self.drain()?;
            match write::write_word(self.raw_fd(), &ONE) {
                Ok(()) => return Ok(()),
                // Another thread filled it again.
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    /// A pipe fills up where nobody reads it, and neither every kernel nor every replacement
    /// makes an edge of a write to what is readable: it is emptied first.
    #[cold]
    fn signal_drained(&self) -> io::Result<()> {
        loop {
            self.drain()?;
            match libc_write::write_word(self.written_to(), &ONE) {
                // Other threads filled it since.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn written_to(&self) -> RawFd {
        match &self.sender {
            Sender::Kernel | Sender::CLibrary => self.raw_fd(),
            Sender::Pipe(sender) => sender.as_raw_fd(),
        }
    }

    /// Makes the descriptor unreadable.
    pub(super) fn drain(&self) -> io::Result<()> {
        drain(self.raw_fd())
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// Reads an eventfd or a pipe until it is empty.
pub(super) fn drain(fd: RawFd) -> io::Result<()> {
    let mut buffer = [0u8; 128];
    loop {
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
        match cvt(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) }) {
            Ok(length) if length as usize == buffer.len() => {}
            Ok(_) => return Ok(()),
            // It was empty, or another thread was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    fn is_readable(fd: &WakeFd) -> bool {
        let mut entry = libc::pollfd {
            fd: fd.raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, as said.
        cvt(unsafe { libc::poll(&mut entry, 1, 0) }).unwrap() == 1
    }

    #[test]
    fn a_signal_makes_it_readable_until_it_is_drained() {
        for wake in WakeFd::eventfd().into_iter().chain(WakeFd::pipe()) {
            for signals in [1, 2, 100] {
                assert!(!is_readable(&wake));
                for _ in 0..signals {
                    wake.signal().unwrap();
                }
                assert!(is_readable(&wake));
                wake.drain().unwrap();
            }
            wake.drain().unwrap();
            assert!(!is_readable(&wake));
        }
    }

    #[test]
    fn a_full_counter_starts_over() {
        let Ok(wake) = WakeFd::eventfd() else {
            return; // there is none on this system
        };
        let full = u64::MAX - 1;
        // SAFETY: the kernel reads the 8 bytes of `full`.
        let written = unsafe { libc::write(wake.raw_fd(), (&full as *const u64).cast(), 8) };
        assert_eq!(written, 8);
        let error = write::write_word(wake.raw_fd(), &ONE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        wake.signal().unwrap();
        wake.signal().unwrap();
        assert!(is_readable(&wake));
    }

    #[test]
    fn a_full_pipe_takes_signals() {
        let wake = WakeFd::pipe().unwrap();
        let sender = wake.written_to();
        while write::write_word(sender, &ONE).is_ok() {}
        wake.signal().unwrap();
        assert!(is_readable(&wake));
        wake.drain().unwrap();
        assert!(!is_readable(&wake));
    }

    #[test]
    fn an_error_of_another_kind_is_returned() {
        let wake = WakeFd::new().unwrap();
        let error = wake.signal_full(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
