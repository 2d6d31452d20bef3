//! The lock around the whole state of the model.
//!
//! It differs from a `Mutex` in two ways. While it is held, no signal is delivered to the thread,
//! so a handler that closes a descriptor can't wait for the thread that it interrupted. And it
//! knows which process holds it: a forked child, in which the holding thread does not exist, takes
//! it over and starts with an empty state.
//!
//! It is never held while a thread waits for events, so it spins.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::sys;

/// A value that belongs to one process.
pub struct ProcessLock<T> {
    /// The process that holds the lock, or 0.
    holder: AtomicI32,
    /// The process to which the value belongs, and the value.
    value: UnsafeCell<(libc::pid_t, T)>,
    new: fn() -> T,
}

// SAFETY: the value is accessed only through a guard, of which there is one at a time. `holder`
// excludes the threads of a process from each other, and different processes have different copies.
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
            // Acquire: the writes of the previous holder must be visible.
            let taken =
                self.holder
                    .compare_exchange(0, process, Ordering::Acquire, Ordering::Relaxed);
            match taken {
                Ok(_) => break,
                Err(holder) if holder == process => std::thread::yield_now(),
                // A thread of the parent, at the time of the fork. Another thread may notice this
                // at the same time.
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
        // SAFETY: the lock is held, and its guard does not exist yet.
        let value = unsafe { &mut *self.value.get() };
        if value.0 != process {
            // The previous value is the parent's, and may be half changed. It is leaked, not
            // dropped.
            // SAFETY: the pointer is valid, and nothing else refers to the value.
            unsafe { std::ptr::write(value, (process, (self.new)())) };
        }
        Guard {
            lock: self,
            signals,
        }
    }
}

/// The right to use the value.
pub struct Guard<'a, T> {
    lock: &'a ProcessLock<T>,
    signals: libc::sigset_t,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this is the only guard.
        unsafe { &(*self.lock.value.get()).1 }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only guard, and it is borrowed mutably.
        unsafe { &mut (*self.lock.value.get()).1 }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // Release: the next holder must see the writes of this one.
        self.lock.holder.store(0, Ordering::Release);
        sys::restore_signals(&self.signals);
    }
}
