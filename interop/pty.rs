//! Pseudo-terminals.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A terminal, with its keyboard and screen.
pub struct Pty {
    master: OwnedFd,
    path: PathBuf,
}

impl Pty {
    pub fn open() -> Pty {
        // Closed on exec: otherwise a started program would keep it open.
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: the call has no memory-safety preconditions, and has just opened this descriptor,
        // which nothing else owns.
        let master = unsafe {
            let fd = libc::posix_openpt(flags);
            assert_ne!(fd, -1, "{}", io::Error::last_os_error());
            assert_eq!((libc::grantpt(fd), libc::unlockpt(fd)), (0, 0));
            OwnedFd::from_raw_fd(fd)
        };
        let mut name = [0; 64];
        // SAFETY: the kernel writes the name into the buffer, with a NUL at its end.
        let name = unsafe {
            let named = libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len());
            assert_eq!(named, 0);
            CStr::from_ptr(name.as_ptr())
        };
        let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
        Pty { master, path }
    }

    /// Bytes written to it are typed, and bytes read from it were on the screen.
    pub fn keyboard(&self) -> File {
        File::from(self.master.try_clone().unwrap())
    }

    /// The terminal of a program.
    pub fn terminal(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&self.path)
            .unwrap()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program has it as its standard input, and gets its signals.
    pub fn control(&self, command: &mut Command) {
        command.stdin(self.terminal());
        let take = || {
            // SAFETY: the call has no memory-safety preconditions.
            if unsafe { libc::setsid() == -1 || libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 } {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: a forked child may make both calls.
        unsafe { command.pre_exec(take) };
    }

    /// Changes its size, which sends a signal to its programs.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the kernel reads the size.
        let result = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(result, 0);
    }
}
