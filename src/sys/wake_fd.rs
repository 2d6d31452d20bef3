//! A waker's descriptor: an eventfd, or a pipe if the system has no eventfd.
//!
//! [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html) is cheaper
//! than a pipe, and needs one descriptor instead of two. Some sandboxes refuse it.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(not(all(test, mio_loom)))]
use std::sync::atomic::{fence, AtomicUsize, Ordering};
use std::sync::Arc;

#[cfg(all(test, mio_loom))]
use loom::sync::atomic::{fence, AtomicUsize, Ordering};

use super::error::{cvt, kind, ok, unless};
use super::platform::{eventfd, libc_write, replaced, write, EVERY_WRITE_IS_AN_EDGE};
use super::refused::unless_refused;

/// A descriptor that becomes readable when it is signalled.
#[derive(Debug)]
pub(crate) struct WakeFd {
    /// The descriptor that the queue watches.
    watched: OwnedFd,
    sender: Sender,
    /// Set if the queue reads the descriptor.
    unread: Option<Arc<UnreadSignals>>,
}

/// How a signal is sent.
#[derive(Debug)]
enum Sender {
    /// A write to the watched eventfd by a system call. The queue does not read it.
    Kernel,
    /// A write to the watched eventfd by the C library: the queue reads it, or the queue uses a replacement
    /// of the C library's functions, which may have replaced eventfds as well.
    CLibrary,
    /// A write to the other end of the pipe.
    Pipe(OwnedFd),
}

/// The number of signals sent to the descriptors of a queue that reads them, and not read yet. If a
/// descriptor is readable while the number is 0, it no longer belongs to the queue: the program has
/// closed it, and another object reuses it.
#[derive(Debug, Default)]
pub(crate) struct UnreadSignals(AtomicUsize);

impl UnreadSignals {
    /// Counts a signal that is about to be sent.
    fn sent(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        // The count goes up before the descriptor is readable, on every processor. The kernel's locks alone
        // do not order that: Linux reads an eventfd's counter and a pipe's length in poll(2) without a lock,
        // if the timeout is zero. Pairs with the fence in `read_by`.
        fence(Ordering::Release);
    }

    #[cold]
    fn not_sent(&self) {
        self.subtract(1);
    }

    /// Drains one of the queue's descriptors, which is readable. Returns whether it still belongs to the
    /// queue. Must not be called by two threads at once.
    #[inline(never)]
    pub(super) fn read(&self, fd: RawFd) -> bool {
        self.read_by(|| drain(fd))
    }

    #[inline]
    fn read_by(&self, drain: impl FnOnce() -> io::Result<u64>) -> bool {
        // Pairs with the fence in `sent`: the load sees the signal that has made the descriptor readable.
        fence(Ordering::Acquire);
        let unread = self.0.load(Ordering::Relaxed);
        if unread == 0 {
            return false;
        }
        match ok(drain()) {
            // Relaxed: each of them was counted before it was sent, and the kernel's lock orders its being
            // sent before its being read. The count publishes no other memory.
            Some(signals) if signals <= unread as u64 => {
                self.0.fetch_sub(signals as usize, Ordering::Relaxed);
            }
            // Others have been sent since the load.
            Some(signals) => self.subtract(signals),
            None => return false,
        }
        true
    }

    /// Subtracts signals, but not below 0: a forked child with the descriptor may have sent signals that were
    /// not counted here.
    #[cold]
    fn subtract(&self, signals: u64) {
        let signals = usize::try_from(signals).unwrap_or(usize::MAX);
        // Relaxed: as in `read_by`.
        let subtract = |unread: usize| Some(unread.saturating_sub(signals));
        let subtracted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract);
        debug_assert!(subtracted.is_ok(), "the update never refuses");
    }
}

/// The value that a signal adds to an eventfd, or the 8 bytes that it writes to a pipe. It is a
/// static, so that a wake does not copy it to the stack.
static ONE: u64 = 1;

impl WakeFd {
    /// Pass the queue's `unread` if the queue reads the descriptor.
    #[inline(never)]
    pub(crate) fn new(unread: Option<&Arc<UnreadSignals>>) -> io::Result<WakeFd> {
        if cfg!(mio_unsupported_force_waker_pipe) {
            return WakeFd::pipe(unread);
        }
        match WakeFd::eventfd(unread) {
            Err(error) => unless_refused(error)?,
            Ok(made) => return Ok(made),
        }
        WakeFd::pipe(unread)
    }

    fn eventfd(unread: Option<&Arc<UnreadSignals>>) -> io::Result<WakeFd> {
        Ok(WakeFd {
            watched: eventfd::eventfd()?,
            sender: match unread.is_some() || replaced::is_replaced() {
                true => Sender::CLibrary,
                false => Sender::Kernel,
            },
            unread: unread.cloned(),
        })
    }

    fn pipe(unread: Option<&Arc<UnreadSignals>>) -> io::Result<WakeFd> {
        let (watched, sender) = super::pipe::pipe()?;
        Ok(WakeFd {
            watched: watched.into(),
            sender: Sender::Pipe(sender.into()),
            unread: unread.cloned(),
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    /// Makes the descriptor readable. Every call is an edge.
    #[inline]
    pub(crate) fn signal(&self) -> io::Result<()> {
        if !matches!(self.sender, Sender::Kernel) {
            return self.signal_unusual();
        }
        if !EVERY_WRITE_IS_AN_EDGE {
            self.drain()?;
        }
        match write::write_word(self.raw_fd(), &ONE) {
            Ok(()) => Ok(()),
            Err(error) => self.signal_full_counter(error),
        }
    }

    /// Empties the full counter and signals again. A counter that is not read is full after
    /// 2^64 - 2 signals, or if other code has written to it.
    #[cold]
    #[inline(never)]
    fn signal_full_counter(&self, mut error: io::Error) -> io::Result<()> {
        loop {
            unless(io::ErrorKind::WouldBlock, error)?;
            self.drain()?;
            match write::write_word(self.raw_fd(), &ONE) {
                // Another thread filled it again.
                Err(again) => error = again,
                Ok(()) => return Ok(()),
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn signal_unusual(&self) -> io::Result<()> {
        let Some(unread) = &self.unread else {
            return self.drain_and_signal();
        };
        unread.sent();
        let sent = libc_write::write_word(self.written_fd(), &ONE);
        if let Err(error) = sent {
            unread.not_sent();
            // It is full, and therefore readable.
            unless(io::ErrorKind::WouldBlock, error)?;
        }
        Ok(())
    }

    /// Drains the descriptor before it signals: a pipe that is not read fills up, and on some
    /// kernels and replacements a write to a readable descriptor is not an edge.
    fn drain_and_signal(&self) -> io::Result<()> {
        loop {
            self.drain()?;
            match libc_write::write_word(self.written_fd(), &ONE) {
                // Other threads have filled it since.
                Err(error) => unless(io::ErrorKind::WouldBlock, error)?,
                Ok(()) => return Ok(()),
            }
        }
    }

    pub(crate) fn written_fd(&self) -> RawFd {
        match &self.sender {
            Sender::Kernel | Sender::CLibrary => self.raw_fd(),
            Sender::Pipe(sender) => sender.as_raw_fd(),
        }
    }

    /// Reads all signals, after which the descriptor is not readable.
    fn drain(&self) -> io::Result<()> {
        drain(self.raw_fd())?;
        Ok(())
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// Reads an eventfd or a pipe until it is empty. Returns the number of signals read.
fn drain(fd: RawFd) -> io::Result<u64> {
    let mut words = [0u64; 16];
    let mut signals = 0u64;
    loop {
        // SAFETY: the kernel writes at most `size_of_val(&words)` bytes to `words`.
        match cvt(unsafe { libc::read(fd, words.as_mut_ptr().cast(), size_of_val(&words)) }) {
            Ok(length) => {
                // An eventfd returns one word, the sum. A pipe returns each word that was written, `ONE`.
                let count = length as usize / size_of_val(&ONE);
                if count == 1 {
                    return Ok(signals.saturating_add(words[0]));
                }
                signals = signals.saturating_add(count as u64);
                if count < words.len() {
                    return Ok(signals);
                }
            }
            // It was empty, or another thread was faster.
            Err(error) if kind(&error) == io::ErrorKind::WouldBlock => return Ok(signals),
            Err(error) => unless(io::ErrorKind::Interrupted, error)?,
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
        // SAFETY: the kernel reads and writes one entry, `entry`.
        cvt(unsafe { libc::poll(&mut entry, 1, 0) }).unwrap() == 1
    }

    #[test]
    fn a_signal_makes_it_readable_until_it_is_drained() {
        for wake in WakeFd::eventfd(None).into_iter().chain(WakeFd::pipe(None)) {
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

    /// Signals of either kind of descriptor are counted if the queue reads them.
    #[test]
    fn signals_are_counted_until_they_are_read() {
        let unread = Arc::new(UnreadSignals::default());
        let some = Some(&unread);
        for wake in WakeFd::eventfd(some).into_iter().chain(WakeFd::pipe(some)) {
            for signals in [1, 2, 100] {
                for _ in 0..signals {
                    wake.signal().unwrap();
                }
                assert_eq!(unread.0.load(Ordering::Relaxed), signals);
                assert!(unread.read(wake.raw_fd()));
                assert!(!is_readable(&wake));
                assert_eq!(unread.0.load(Ordering::Relaxed), 0);
            }
            assert!(!unread.read(wake.raw_fd()), "there was none");

            // A signal that does not fit is not counted.
            static MOST: u64 = u64::MAX - 1;
            while write::write_word(wake.written_fd(), &MOST).is_ok() {}
            wake.signal().unwrap();
            assert_eq!(unread.0.load(Ordering::Relaxed), 0);
            wake.drain().unwrap();
        }
    }

    /// Otherwise the count never falls to 0 again, and another object that reuses the descriptor is read.
    #[test]
    fn a_signal_sent_between_the_count_and_the_reading_is_counted_as_read() {
        let unread = Arc::new(UnreadSignals::default());
        let some = Some(&unread);
        for wake in WakeFd::eventfd(some).into_iter().chain(WakeFd::pipe(some)) {
            wake.signal().unwrap();
            let is_own = unread.read_by(|| {
                wake.signal().unwrap();
                drain(wake.raw_fd())
            });
            assert!(is_own && !is_readable(&wake));
            assert_eq!(unread.0.load(Ordering::Relaxed), 0);
            assert!(!unread.read(wake.raw_fd()), "there was none");
        }
    }

    #[test]
    fn signals_that_were_never_counted_leave_the_count_at_zero() {
        let unread = Arc::new(UnreadSignals::default());
        let wake = WakeFd::new(Some(&unread)).unwrap();
        wake.signal().unwrap();
        // As a forked child does.
        write::write_word(wake.written_fd(), &ONE).unwrap();
        assert!(unread.read(wake.raw_fd()));
        assert_eq!(unread.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_descriptor_that_cannot_be_read_is_not_the_queues() {
        let unread = Arc::new(UnreadSignals::default());
        let wake = WakeFd::new(Some(&unread)).unwrap();
        wake.signal().unwrap();
        assert!(!unread.read(-1));
        let file = std::fs::File::open("/dev/null").unwrap();
        let read_only = WakeFd {
            watched: wake.watched,
            sender: Sender::Pipe(file.into()),
            unread: Some(unread.clone()),
        };
        let refused = read_only.signal().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
        assert_eq!(unread.0.load(Ordering::Relaxed), 1, "the first one");
    }

    #[test]
    fn a_full_counter_starts_over() {
        let Ok(wake) = WakeFd::eventfd(None) else {
            return; // this system has no eventfd
        };
        let full = u64::MAX - 1;
        // SAFETY: the kernel reads 8 bytes at the address of `full`, a `u64`.
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
        let wake = WakeFd::pipe(None).unwrap();
        let sender = wake.written_fd();
        while write::write_word(sender, &ONE).is_ok() {}
        wake.signal().unwrap();
        assert!(is_readable(&wake));
        wake.drain().unwrap();
        assert!(!is_readable(&wake));
    }

    #[test]
    fn an_error_of_another_kind_is_returned() {
        let wake = WakeFd::new(None).unwrap();
        let error = wake.signal_full_counter(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_error_of_a_pipe_is_returned() {
        let mut wake = WakeFd::pipe(None).unwrap();
        let not_writable = std::fs::File::open("/dev/null").unwrap();
        wake.sender = Sender::Pipe(not_writable.into());
        let error = wake.signal().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}

/// Two threads signal a descriptor that a third one polls and reads. The kernel's part is modelled: its
/// counter changes under a lock, and poll(2) reads it without the lock.
#[cfg(all(test, mio_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    #[derive(Default)]
    struct Model {
        unread: UnreadSignals,
        lock: Mutex<()>,
        counter: AtomicUsize,
    }

    impl Model {
        fn signal(&self) {
            self.unread.sent();
            let _lock = self.lock.lock().unwrap();
            // One access: loom overlooks interleavings with a load that a store of the same thread follows.
            self.counter.fetch_add(1, Ordering::Relaxed);
        }

        /// A poll(2) with timeout zero.
        fn is_readable(&self) -> bool {
            self.counter.load(Ordering::Relaxed) > 0
        }

        fn drain(&self) -> u64 {
            let _lock = self.lock.lock().unwrap();
            self.counter.swap(0, Ordering::Relaxed) as u64
        }

        /// Polls once. A readable descriptor belongs to the queue: no code has closed it.
        fn poll(&self) {
            if self.is_readable() {
                assert!(self.unread.read_by(|| Ok(self.drain())));
            }
        }
    }

    #[test]
    fn loom_a_readable_descriptor_is_the_queues_until_it_is_drained() {
        loom::model(|| {
            let model = Arc::new(Model::default());
            let senders = [(); 2].map(|()| {
                let model = model.clone();
                thread::spawn(move || model.signal())
            });
            model.poll();
            for sender in senders {
                sender.join().unwrap();
            }
            model.poll();
            assert!(!model.is_readable());
            let unread = model.unread.0.load(Ordering::Relaxed);
            assert_eq!(unread, 0, "what is readable now is another object");
        });
    }
}
