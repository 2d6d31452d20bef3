//! What the targets of the models share: descriptors of several kinds, in slots, and a count of those
//! that are open.

use std::os::raw::c_int;

use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// How many descriptors a program has at once.
pub const SLOTS: usize = 6;

/// A descriptor of the program, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Number {
    Slot(u8),
    Any(usize),
}

/// What a descriptor is of.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Kind {
    Receiver,
    Sender,
    ClosedReceiver,
    ClosedSender,
    Stream,
    Datagram,
    EventFd,
    File,
}

/// The timeout of a call. None is long, so that a program ends soon.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Timeout {
    Zero,
    Short,
    Any { seconds: i64, nanos: i64 },
}

impl Timeout {
    /// What is passed. A valid timeout is at most a millisecond.
    pub fn timespec(self) -> libc::timespec {
        let (tv_sec, tv_nsec) = match self {
            Timeout::Zero => (0, 0),
            Timeout::Short => (0, 100_000),
            Timeout::Any { seconds, nanos } => match (seconds, nanos) {
                (0.., 0..=999_999_999) => (0, nanos % 1_000_000),
                invalid => invalid,
            },
        };
        libc::timespec { tv_sec, tv_nsec }
    }
}

/// The descriptors of a program, closed by the function that the model has.
pub struct Descriptors {
    slots: [Option<c_int>; SLOTS],
    close: fn(c_int) -> c_int,
}

impl Descriptors {
    pub fn new(close: fn(c_int) -> c_int) -> Descriptors {
        Descriptors {
            slots: [None; SLOTS],
            close,
        }
    }

    /// The descriptor in a slot; -1 for an empty one.
    pub fn get(&self, slot: u8) -> c_int {
        self.slots[usize::from(slot) % SLOTS].unwrap_or(-1)
    }

    pub fn number(&self, number: Number) -> usize {
        match number {
            Number::Slot(slot) => self.get(slot) as usize,
            Number::Any(number) => number,
        }
    }

    /// Puts a descriptor into a slot, and closes the one that was there.
    pub fn put(&mut self, slot: u8, fd: c_int) {
        self.close(slot);
        if fd >= 0 {
            self.slots[usize::from(slot) % SLOTS] = Some(fd);
        }
    }

    pub fn close(&mut self, slot: u8) {
        if let Some(fd) = self.slots[usize::from(slot) % SLOTS].take() {
            assert_eq!((self.close)(fd), 0, "close: {}", errno());
        }
    }

    /// A descriptor of a kind.
    pub fn open(&mut self, slot: u8, kind: Kind) {
        let mut pair = [-1; 2];
        // SAFETY: `pair` has capacity for the two numbers that the calls write, and the path is a C string.
        let kept = unsafe {
            match kind {
                Kind::Receiver | Kind::ClosedSender | Kind::Sender | Kind::ClosedReceiver => {
                    libc::pipe2(pair.as_mut_ptr(), libc::O_NONBLOCK);
                    usize::from(matches!(kind, Kind::Sender | Kind::ClosedReceiver))
                }
                Kind::Stream | Kind::Datagram => {
                    let of = match kind {
                        Kind::Stream => libc::SOCK_STREAM,
                        _ => libc::SOCK_DGRAM,
                    };
                    let kind = of | libc::SOCK_NONBLOCK;
                    libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr());
                    0
                }
                Kind::EventFd => {
                    pair[0] = libc::eventfd(0, libc::EFD_NONBLOCK);
                    0
                }
                Kind::File => {
                    pair[0] = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                    0
                }
            }
        };
        self.put(slot, pair[kept]);
        let other = pair[1 - kept];
        match kind {
            // The next slot has the other end.
            Kind::Receiver | Kind::Sender | Kind::Stream | Kind::Datagram => {
                self.put(slot.wrapping_add(1), other);
            }
            // Nobody is there.
            _ if other >= 0 => drop((self.close)(other)),
            _ => {}
        }
    }

    /// Writes a byte to it, or reads what is there.
    pub fn transfer(&self, slot: u8, writes: bool) {
        let mut buffer = [1u8; 8];
        let fd = self.get(slot);
        let at = buffer.as_mut_ptr().cast();
        // SAFETY: `buffer` has eight bytes. The program's descriptors do not block; a port's, and a kqueue's,
        // can be neither read nor written.
        unsafe {
            match writes {
                true => libc::send(fd, at, 8, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT),
                false => libc::recv(fd, at, 8, libc::MSG_DONTWAIT),
            };
            if errno() == libc::ENOTSOCK {
                match writes {
                    true => libc::syscall(libc::SYS_write, fd, at, 8),
                    false => libc::syscall(libc::SYS_read, fd, at, 8),
                };
            }
        }
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        for slot in 0..SLOTS as u8 {
            self.close(slot);
        }
    }
}

pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// How many descriptors are open, of the first ones.
pub fn open_descriptors() -> usize {
    // SAFETY: the call has no memory-safety preconditions with these arguments.
    let is_open = |fd: &c_int| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0;
    (0..128).filter(is_open).count()
}

/// Ignores the signal of a pipe without a reader.
pub fn ignore_sigpipe() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
