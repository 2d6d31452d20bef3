//! Calls that the system lacks or a sandbox forbids, where something else can take
//! their place.

use std::io;

/// Whether a call failed because this process cannot make it, whatever its arguments.
///
/// A kernel without the call answers ENOSYS. A sandbox answers with whatever its filter
/// says: ENOSYS, EPERM, or EACCES. Only for calls that give none of these a meaning of
/// their own.
pub(super) fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES)
    )
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
}
