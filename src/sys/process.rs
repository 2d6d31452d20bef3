//! Distinguishes the process that opened a queue from a forked child. The child has a copy of the queue,
//! and must not change the kernel's part of it.
//!
//! The process id alone does not suffice. A process that a container starts in a new namespace has
//! the id 1, like the container's first process that forked it; and the system reuses the id of a process
//! that has ended. So each child counts its forks as well. The count covers the C library's functions,
//! `fork` above all; the id covers a process that the program made by a system call of its own.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The number of forks that led to this process since the first `Process::this`.
static FORKS: AtomicU32 = AtomicU32::new(0);

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    forks: u32,
    id: u32,
}

impl Process {
    /// The calling process, which opens a queue.
    pub(super) fn this() -> Process {
        count_forks();
        Process::now()
    }

    /// Whether the calling process is that process.
    pub(super) fn is_this(self) -> bool {
        // The count first: the id takes a system call. Relaxed: see `now`.
        self.forks == FORKS.load(Ordering::Relaxed) && self == Process::now()
    }

    /// A process that is not this one.
    #[cfg(test)]
    #[cfg(not(mio_loom))]
    pub(super) fn another() -> Process {
        let this = Process::this();
        Process {
            forks: this.forks + 1,
            ..this
        }
    }

    fn now() -> Process {
        Process {
            // Relaxed: a child starts with one thread, which has done the counting.
            forks: FORKS.load(Ordering::Relaxed),
            id: std::process::id(),
        }
    }
}

fn count_forks() {
    static ARE_COUNTED: AtomicBool = AtomicBool::new(false);
    // Without a lock, which another thread could hold while this one forks. Two threads may register the
    // function twice, and each fork then counts twice. Relaxed: the flag publishes no other memory. A thread
    // that sees it set, and forks, takes the C library's lock after the one that has registered.
    if !ARE_COUNTED.load(Ordering::Relaxed) {
        // SAFETY: `in_child` runs in each child, also one of a process with threads, where only
        // async-signal-safe code may run: it adds to an atomic. The function must be in memory when it is
        // called. In a program it always is; with a library (cdylib) that is unloaded glibc drops it, and
        // musl unloads none.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        // It fails for lack of memory, and the next call tries again.
        ARE_COUNTED.store(failed == 0, Ordering::Relaxed);
    }
}

extern "C" fn in_child() {
    // Relaxed: see `now`.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_an_id_and_a_number_of_forks() {
        let this = Process::this();
        assert!(this.is_this());
        let (id, forks) = (this.id + 1, this.forks + 1);
        assert!(!Process { id, ..this }.is_this());
        assert!(!Process { forks, ..this }.is_this());
    }

    #[cfg(not(miri))] // which cannot fork
    #[test]
    fn a_forked_child_has_one_more_fork_than_its_parent() {
        let before = Process::this().forks;
        // SAFETY: the child, of a process with threads, loads an atomic and exits without cleaning up.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let forks = FORKS.load(Ordering::Relaxed);
            // SAFETY: `_exit` has no memory-safety preconditions.
            unsafe { libc::_exit(i32::from(forks <= before)) };
        }
        assert!(child > 0);
        let mut status = -1;
        // SAFETY: the kernel writes one `int` to `status`.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
