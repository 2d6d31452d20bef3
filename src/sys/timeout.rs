//! Conversions of timeouts to those of system calls.

use std::time::Duration;

#[cfg(all(unix, feature = "os-poll"))]
use super::error::was_interrupted;

const NANOS_PER_MILLI: u32 = 1_000_000;

/// The timeout in milliseconds, if it is a whole number of milliseconds and in the range of
/// a call with a timeout in milliseconds (24 days).
#[inline]
#[allow(dead_code)] // if no call is more precise
pub(crate) fn whole_millis(timeout: Duration) -> Option<i32> {
    const MAX_SECONDS: u64 = i32::MAX as u64 / 1000 - 1;

    let nanos = timeout.subsec_nanos();
    if nanos % NANOS_PER_MILLI == 0 && timeout.as_secs() <= MAX_SECONDS {
        Some(timeout.as_secs() as i32 * 1000 + (nanos / NANOS_PER_MILLI) as i32)
    } else {
        None
    }
}

/// The maximum of seconds that every kernel accepts. Longer timeouts are clamped to it.
#[cfg(unix)]
const MAX_SECONDS: u64 = 100_000_000;

/// The timeout as a `timespec`, clamped.
#[cfg(unix)]
#[allow(dead_code)] // where every call counts milliseconds
pub(crate) fn timespec(timeout: Duration) -> libc::timespec {
    let timeout = timeout.min(Duration::from_secs(MAX_SECONDS));
    // SAFETY: `timespec` consists of integers, for which all zeros are valid. (It has padding on some
    // systems.)
    let mut converted: libc::timespec = unsafe { std::mem::zeroed() };
    converted.tv_sec = timeout.as_secs() as _;
    converted.tv_nsec = timeout.subsec_nanos() as _;
    converted
}

/// The timeout in milliseconds, rounded up, and clamped to the maximum that a call
/// accepts.
#[cold]
#[allow(dead_code)] // where every backend can do better
pub(crate) fn millis_rounded_up(timeout: Duration) -> i32 {
    let per_milli = u128::from(NANOS_PER_MILLI);
    let millis = (timeout.as_nanos() + per_milli - 1) / per_milli;
    i32::try_from(millis).unwrap_or(i32::MAX)
}

/// Makes a call with a timeout in milliseconds. An interrupted call with timeout zero is made again: it
/// does not wait, but Linux lets a signal interrupt poll(2) all the same. (Linux does not interrupt epoll
/// with timeout zero, nor do the kernels of kqueue and event ports interrupt theirs.)
#[cfg(all(unix, feature = "os-poll"))]
#[inline]
pub(crate) fn with_timeout(millis: i32, mut call: impl FnMut(i32) -> i32) -> i32 {
    loop {
        let result = call(millis);
        if result >= 0 || millis != 0 || !was_interrupted() {
            return result;
        }
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn whole_milliseconds_are_recognised() {
        assert_eq!(whole_millis(Duration::ZERO), Some(0));
        assert_eq!(whole_millis(MILLI), Some(1));
        assert_eq!(whole_millis(Duration::from_millis(61_234)), Some(61_234));
        assert_eq!(whole_millis(NANO), None);
        assert_eq!(whole_millis(MILLI + NANO), None);
        assert_eq!(whole_millis(MILLI - NANO), None);
        let longest = Duration::from_secs(i32::MAX as u64 / 1000 - 1);
        assert_eq!(whole_millis(longest), Some(2_147_482_000));
        assert_eq!(whole_millis(longest + Duration::from_secs(1)), None);
        assert_eq!(whole_millis(Duration::MAX), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_timeout_that_does_not_fit_is_clamped() {
        let converted = timespec(Duration::new(3, 4));
        assert_eq!((converted.tv_sec, converted.tv_nsec), (3, 4));
        let converted = timespec(Duration::MAX);
        assert_eq!((converted.tv_sec, converted.tv_nsec), (100_000_000, 0));
    }

    #[test]
    fn milliseconds_are_rounded_up_never_down() {
        assert_eq!(millis_rounded_up(Duration::ZERO), 0);
        assert_eq!(millis_rounded_up(NANO), 1);
        assert_eq!(millis_rounded_up(MILLI - NANO), 1);
        assert_eq!(millis_rounded_up(MILLI), 1);
        assert_eq!(millis_rounded_up(MILLI + NANO), 2);
        assert_eq!(millis_rounded_up(Duration::MAX), i32::MAX);
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        assert_eq!(millis_rounded_up(month), i32::MAX);
    }
}
