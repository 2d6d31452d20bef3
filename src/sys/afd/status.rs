//! What a call has returned, and what an operation has ended with.

use std::io;

use windows_sys::core::BOOL;
use windows_sys::Win32::Foundation::{RtlNtStatusToDosError, NTSTATUS};

/// Turns the FALSE of a failed call into the error that it left behind.
pub(super) fn bool_result(result: BOOL) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether a call or an operation has succeeded. A call that has failed has started no operation; one
/// that warns has succeeded.
pub(super) fn succeeded(status: NTSTATUS) -> Result<(), NTSTATUS> {
    // The upper two bits: success (as is pending), information, warning, error.
    match status as u32 >= 0xC000_0000 {
        true => Err(status),
        false => Ok(()),
    }
}

/// The same, with an error of Rust's.
pub(super) fn check(status: NTSTATUS) -> io::Result<()> {
    succeeded(status).map_err(|status| {
        // SAFETY: the call converts a number, and has no memory-safety preconditions.
        let code = unsafe { RtlNtStatusToDosError(status) };
        io::Error::from_raw_os_error(code as i32)
    })
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::{
        SetLastError, ERROR_INVALID_HANDLE, STATUS_BUFFER_OVERFLOW, STATUS_INVALID_HANDLE,
        STATUS_PENDING, STATUS_SUCCESS,
    };

    use super::*;

    #[test]
    fn what_warns_has_not_failed() {
        for well in [STATUS_SUCCESS, STATUS_PENDING, STATUS_BUFFER_OVERFLOW] {
            assert_eq!(succeeded(well), Ok(()));
        }
        let failure = STATUS_INVALID_HANDLE;
        assert_eq!(succeeded(failure), Err(failure));
    }

    #[test]
    fn a_failure_has_the_number_of_windows() {
        check(STATUS_SUCCESS).unwrap();
        let error = check(STATUS_INVALID_HANDLE).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_INVALID_HANDLE as i32));
    }

    #[test]
    fn false_is_the_error_that_the_call_left_behind() {
        bool_result(1).unwrap();
        // SAFETY: the call sets a number of this thread, and has no preconditions.
        unsafe { SetLastError(ERROR_INVALID_HANDLE) };
        let error = bool_result(0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_INVALID_HANDLE as i32));
    }
}
