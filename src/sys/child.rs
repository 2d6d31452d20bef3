//! Child processes: whether one has exited, without reaping it.

use std::io;
use std::os::fd::OwnedFd;

use libc::pid_t;

use super::error::{cvt, uninterrupted};
use super::platform;
use super::refused::is_refused;

/// Fails with `NotFound` if the number is not that of a child of this process, which runs or was not
/// waited for, and with `Unsupported` if a sandbox refuses the question. Leaves the child as it is.
#[inline]
pub(crate) fn exists(pid: pid_t) -> io::Result<()> {
    wait(pid, libc::WNOHANG)
}

/// Waits until a child has exited, and leaves it as it is: it can be waited for. Fails like `exists`.
#[cold]
#[inline]
pub(crate) fn until_exit(pid: pid_t) -> io::Result<()> {
    uninterrupted(|| wait(pid, 0))
}

#[inline]
fn wait(pid: pid_t, options: libc::c_int) -> io::Result<()> {
    // SAFETY: `siginfo_t` consists of integers and pointers, for which all zeros are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT | options;
    // SAFETY: the kernel writes one `siginfo_t`, and `info` outlives the call.
    cvt(unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, options) })
        .map_err(not_found_or_unsupported)?;
    Ok(())
}

/// Opens a descriptor that is readable after the process has exited. `None` if the queue watches
/// processes instead. Fails like `exists`, and with `Unsupported` if the system has neither.
#[inline]
pub(crate) fn exit_fd(pid: pid_t) -> io::Result<Option<OwnedFd>> {
    platform::exit_fd::open(pid).map_err(not_found_or_unsupported)
}

/// The error of a call that asks for a process.
#[cold]
#[inline]
fn not_found_or_unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ECHILD | libc::ESRCH) => io::Error::new(
            io::ErrorKind::NotFound,
            "the process is not a child of this process, or was waited for",
        ),
        _ if is_refused(&error) => io::ErrorKind::Unsupported.into(),
        _ => error,
    }
}
