//! Detects that the system lacks a call, or that a sandbox forbids it, so that a fallback is used.

use std::io;

/// Whether a call failed because this process cannot make it, whatever its arguments.
///
/// A kernel without the call answers ENOSYS. A sandbox answers what its filter contains:
/// ENOSYS, EPERM or EACCES. Use it only for calls that do not return these errors for
/// other reasons.
pub(super) fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES)
    )
}

/// `Ok` if the call was refused, and otherwise its error.
#[inline(never)]
pub(super) fn unless_refused(error: io::Error) -> io::Result<()> {
    match is_refused(&error) {
        true => Ok(()),
        false => Err(error),
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn lack_of_descriptors_or_memory_is_not_a_refusal() {
        let refused = |number| is_refused(&io::Error::from_raw_os_error(number));
        assert!([libc::ENOSYS, libc::EPERM, libc::EACCES]
            .into_iter()
            .all(refused));
        assert!(![libc::EMFILE, libc::ENOMEM, libc::EINTR]
            .into_iter()
            .any(refused));
    }

    #[test]
    fn what_is_no_refusal_stays_an_error() {
        let outcome = |number| unless_refused(io::Error::from_raw_os_error(number));
        assert!(outcome(libc::ENOSYS).is_ok());
        let error = outcome(libc::EMFILE).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}
