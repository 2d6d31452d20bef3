//! Errors: of failed system calls, and of a program's mistakes.

use std::io;

/// Turns the -1 of a failed call into the error that it left in `errno`.
#[cfg(unix)]
pub(crate) fn cvt<T: PartialOrd + From<i8>>(result: T) -> io::Result<T> {
    // None of the calls that this is used for returns another negative value.
    if result < T::from(0) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The kind of an error. The one instance of a long function with many callers.
#[inline(never)]
pub(crate) fn kind(error: &io::Error) -> io::ErrorKind {
    error.kind()
}

// The next three take errors by value. Dropping an error takes much code, which is compiled here once.

/// `Ok` if the error is of this kind, and otherwise the error.
#[cfg(unix)]
#[inline(never)]
pub(crate) fn unless(expected: io::ErrorKind, error: io::Error) -> io::Result<()> {
    match kind(&error) == expected {
        true => Ok(()),
        false => Err(error),
    }
}

/// `Ok` if the error has this number, and otherwise the error.
#[cfg(unix)]
#[inline(never)]
pub(crate) fn unless_number(number: i32, error: io::Error) -> io::Result<()> {
    match error.raw_os_error() == Some(number) {
        true => Ok(()),
        false => Err(error),
    }
}

/// The value of a call that has succeeded.
#[cfg(unix)]
#[inline(never)]
pub(crate) fn ok<T>(outcome: io::Result<T>) -> Option<T> {
    outcome.ok()
}

/// Makes a call until no signal interrupts it.
#[cfg(unix)]
#[allow(dead_code)] // if no feature needs it
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) => unless(io::ErrorKind::Interrupted, error)?,
            Ok(done) => return Ok(done),
        }
    }
}

/// Whether a signal has interrupted the call that has just failed.
#[cfg(all(unix, feature = "os-poll"))]
#[cold]
pub(crate) fn was_interrupted() -> bool {
    kind(&io::Error::last_os_error()) == io::ErrorKind::Interrupted
}

/// A mistake of the program in registering.
#[derive(Copy, Clone)]
pub(crate) enum Mistake {
    AlreadyRegistered,
    NotRegistered,
    /// What the kernel refuses to register exclusively.
    #[allow(dead_code)] // where there is no epoll
    NotExclusive,
    /// The kernel does not modify an exclusive registration.
    #[allow(dead_code)] // likewise
    Exclusive,
}

impl Mistake {
    fn kind(self) -> io::ErrorKind {
        match self {
            Mistake::AlreadyRegistered => io::ErrorKind::AlreadyExists,
            Mistake::NotRegistered => io::ErrorKind::NotFound,
            Mistake::NotExclusive | Mistake::Exclusive => io::ErrorKind::InvalidInput,
        }
    }

    /// Returns the kernel's error unchanged, except for the one with this number, by which the kernel names
    /// the mistake.
    #[cfg(unix)]
    #[allow(dead_code)] // where there is no epoll
    #[cold]
    #[inline(never)]
    pub(super) fn in_place_of(self, number: i32, error: io::Error) -> io::Error {
        match error.raw_os_error() == Some(number) {
            true => self.into(),
            false => error,
        }
    }

    /// Returns the kernel's error unchanged, except in debug builds, which return an error that names
    /// the mistake.
    #[inline]
    pub(super) fn explain(self, error: io::Error) -> io::Error {
        match cfg!(debug_assertions) && error.kind() == self.kind() {
            true => self.into(),
            false => error,
        }
    }
}

impl From<Mistake> for io::Error {
    #[inline(never)]
    #[cold]
    fn from(mistake: Mistake) -> io::Error {
        let text = match mistake {
            Mistake::AlreadyRegistered => "I/O source already registered with a `Registry`",
            Mistake::NotRegistered => "I/O source not registered with this `Registry`",
            Mistake::Exclusive => {
                "an exclusive registration is not reregistered: deregister the source, and register it"
            }
            Mistake::NotExclusive => {
                "an exclusive registration cannot be one-shot, ask for priority data, or watch another poll"
            }
        };
        io::Error::new(mistake.kind(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, feature = "os-poll"))]
    #[test]
    fn a_call_that_failed_by_itself_was_not_interrupted() {
        // Its last call has found that there is no such file.
        std::fs::metadata("/no such file").unwrap_err();
        assert!(!was_interrupted());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_error_with_the_number_of_the_mistake_is_replaced() {
        let replaced = |number| {
            let error = io::Error::from_raw_os_error(number);
            Mistake::Exclusive.in_place_of(libc::EINVAL, error)
        };
        assert_eq!(replaced(libc::EINVAL).raw_os_error(), None);
        assert_eq!(replaced(libc::EINVAL).kind(), io::ErrorKind::InvalidInput);
        assert_eq!(replaced(libc::ENOMEM).raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn only_the_error_of_the_mistake_itself_is_explained() {
        for mistake in [Mistake::AlreadyRegistered, Mistake::NotRegistered] {
            // Bad file descriptor, and on Windows an invalid block of memory.
            let other = mistake.explain(io::Error::from_raw_os_error(9));
            assert_eq!(other.raw_os_error(), Some(9));
            let explained = mistake.explain(mistake.kind().into());
            assert_eq!(explained.kind(), mistake.kind());
            let names_it = explained.to_string().contains("registered with");
            assert_eq!(names_it, cfg!(debug_assertions), "{explained}");
        }
    }
}
