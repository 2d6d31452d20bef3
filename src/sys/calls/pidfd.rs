//! A descriptor of a process, which is readable after the process has exited:
//! [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::pid_t;

use crate::sys::error::cvt;

/// Opens a descriptor of the process, which is closed on exec. Fails with ESRCH if there is no such
/// process, and with ENOSYS if the kernel is older than 5.3.
#[inline]
pub(crate) fn open(pid: pid_t) -> io::Result<Option<OwnedFd>> {
    // SAFETY: `pidfd_open` takes a number and flags, and has no memory-safety preconditions.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the call has just opened this descriptor, and nothing else owns it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }))
}
