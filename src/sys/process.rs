//! Which process this is: the one that opened a queue, or a forked child, which has a copy of what the
//! queue was and must leave the kernel's part of it alone.
//!
//! A process id does not tell alone. A process that a container starts in a namespace of its own has
//! the id 1, like the container's first one that forked it; and an id goes to another process when its
//! own has ended. So the forks are counted as well, in the child. That counts those of the C library,
//! `fork` above all; the id tells of a process that was made by a system call of the program's own.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How often it was forked on the way to this process, since the first `Process::this`.
static FORKS: AtomicU32 = AtomicU32::new(0);

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    forks: u32,
    id: u32,
}

impl Process {
    /// The process that opens a queue.
    pub(super) fn this() -> Process {
        count_forks();
        Process::now()
    }

    /// Whether it is still that process.
    pub(super) fn is_this(self) -> bool {
        // The id is a system call.
        self.forks == FORKS.load(Ordering::Relaxed) && self == Process::now()
    }

    fn now() -> Process {
        Process {
            // Relaxed: a child begins with the one thread that counts.
            forks: FORKS.load(Ordering::Relaxed),
            id: std::process::id(),
        }
    }
}

fn count_forks() {
    static ARE_COUNTED: AtomicBool = AtomicBool::new(false);
    // Without a lock, which another thread could hold while this one forks: two threads may have each
    // fork counted twice. Relaxed: nothing else is told.
    if !ARE_COUNTED.load(Ordering::Relaxed) {
        // SAFETY: the function may be called in a child at any time: it adds to an atomic number. It
        // is there for as long as the process is.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        // There was no memory: the next one tries again.
        ARE_COUNTED.store(failed == 0, Ordering::Relaxed);
    }
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
