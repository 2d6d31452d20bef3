//! The lock around everything that the model keeps.
//!
//! It differs from a `Mutex` in two ways. While it is held no signal is
//! delivered to the thread, so that a handler which closes a descriptor can't
//! wait for the thread that it interrupted. And it knows which process holds it:
//! a forked child, in which the thread that held it does not exist, takes it over
//! and starts with nothing.
//!
//! It is never held while a thread waits for events, so it spins.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::sys;

/// A value that belongs to one process.
pub struct ProcessLock<T> {
    /// The process that a holder belongs to, or 0.
    holder: AtomicI32,
    /// The process whose value this is, and the value.
    value: UnsafeCell<(libc::pid_t, T)>,
    new: fn() -> T,
}

// SAFETY: the value is reached through a guard only, of which there is one at a
// time: the threads of a process exclude each other with `holder`, and those of
// different processes have different copies.
unsafe impl<T: Send> Sync for ProcessLock<T> {}

impl<T> ProcessLock<T> {
    pub const fn new(empty: T, new: fn() -> T) -> ProcessLock<T> {
        ProcessLock {
            holder: AtomicI32::new(0),
            value: UnsafeCell::new((0, empty)),
            new,
        }
    }

    pub fn lock(&self) -> Guard<'_, T> {
        let signals = sys::block_signals();
        let process = sys::process();
        loop {
            // Acquire: what the holder before wrote is to be seen.
            let taken =
                self.holder
                    .compare_exchange(0, process, Ordering::Acquire, Ordering::Relaxed);
            match taken {
                Ok(_) => break,
                Err(holder) if holder == process => std::thread::yield_now(),
                // A thread of the parent, as it was when it forked. Another thread may
                // find out at the same time.
                Err(parent) => {
                    let _ = self.holder.compare_exchange(
                        parent,
                        0,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
            }
        }
        // SAFETY: the lock is held, and the guard is not made yet.
        let value = unsafe { &mut *self.value.get() };
        if value.0 != process {
            // The value before is the parent's, and may be half changed: it is
            // forgotten, not dropped.
            // SAFETY: the place is valid, and nobody else refers to it.
            unsafe { std::ptr::write(value, (process, (self.new)())) };
        }
        Guard {
            lock: self,
            signals,
        }
    }
}

/// The right to the value.
pub struct Guard<'a, T> {
    lock: &'a ProcessLock<T>,
    signals: libc::sigset_t,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard is the only one.
        unsafe { &(*self.lock.value.get()).1 }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only one, and borrowed mutably.
        unsafe { &mut (*self.lock.value.get()).1 }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // Release: the next holder is to see what this one wrote.
        self.lock.holder.store(0, Ordering::Release);
        sys::restore_signals(&self.signals);
    }
}
