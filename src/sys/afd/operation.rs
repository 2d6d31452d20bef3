//! One operation of a pipe, the memory that the kernel owns of it, and the owner of a packet.
//!
//! **Memory.** What the kernel owns of an operation lies inside its pipe's `Arc`, and outside of what the
//! pipe's lock guards. While the operation is in flight, its [`Stage`] has a strong count of that `Arc`
//! for the kernel. So the memory lives until the operation has ended, whatever is dropped, on any thread.
//!
//! **The owner of a packet.** The port is associated with a file, and not with a handle. So operations
//! that other code starts on a duplicate of the handle, in this process or another one, also end on the
//! port, and their packets have any word. A word is never followed: it is looked up among the
//! [`Operations`]. And since another process may have an operation of its own at the same address, a
//! packet only says that an operation may have ended: it has ended when the kernel has written its status.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::io;
use std::os::windows::io::RawHandle;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use windows_sys::Win32::Foundation::{NTSTATUS, STATUS_PENDING};
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};

use super::status::check;

/// The memory of an operation, which the kernel owns while it is in flight.
pub(super) struct Operation(UnsafeCell<OVERLAPPED>);

// SAFETY: an `OVERLAPPED` is integers and a null event. The system ties it to no thread.
unsafe impl Send for Operation {}
// SAFETY: the methods that access the cell are `prepare` and `outcome`. They are unsafe, and demand that the
// pipe's lock is held, so that one thread at a time is in them. The kernel accesses it only between a
// `prepare` and its own writing of the status, which `outcome` reads atomically. `word` and `cancel` take the
// address only.
unsafe impl Sync for Operation {}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Connect,
    Read,
    Write,
}

/// Whether an operation of a pipe is in flight.
#[derive(Debug)]
pub(super) enum Stage<P> {
    Idle,
    InFlight {
        /// The pipe's epoch when it was submitted.
        epoch: u32,
        /// The kernel's count of its pipe.
        #[allow(dead_code)] // it keeps the memory alive
        pipe: Arc<P>,
    },
}

impl<P> Stage<P> {
    pub(super) fn in_flight(epoch: u32, pipe: &Arc<P>) -> Stage<P> {
        let pipe = Arc::clone(pipe);
        Stage::InFlight { epoch, pipe }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Stage::Idle)
    }

    pub(super) fn is_of_before(&self, epoch: u32) -> bool {
        match self {
            Stage::Idle => true,
            Stage::InFlight { epoch: its, .. } => *its != epoch,
        }
    }
}

impl Operation {
    pub(super) fn new() -> Operation {
        Operation(UnsafeCell::new(OVERLAPPED::default()))
    }

    /// The word that its packets have.
    pub(super) fn word(&self) -> usize {
        self.0.get() as usize
    }

    /// What to submit: it has not ended yet.
    ///
    /// # Safety
    ///
    /// It is not in flight, and its pipe's lock is held.
    pub(super) unsafe fn prepare(&self) -> *mut OVERLAPPED {
        let overlapped = self.0.get();
        let pending = OVERLAPPED {
            Internal: STATUS_PENDING as usize,
            ..OVERLAPPED::default()
        };
        // SAFETY: a cell's pointer is valid and aligned. The caller guarantees that the kernel does not have the
        // memory, and that no other thread is in `prepare` or `outcome`.
        unsafe { overlapped.write(pending) };
        overlapped
    }

    /// How it has ended; `None` while it is in flight.
    ///
    /// # Safety
    ///
    /// It was submitted, and its pipe's lock is held.
    pub(super) unsafe fn outcome(&self) -> Option<io::Result<usize>> {
        let overlapped = self.0.get();
        // SAFETY: a cell's pointer is valid, and `Internal` is a `usize`, whose size and alignment `AtomicUsize`
        // has. The kernel may write it at any time, which a shared reference to an atomic allows. Nothing else
        // writes it meanwhile: `prepare` needs the lock, which the caller holds.
        let status = unsafe { &*ptr::addr_of!((*overlapped).Internal).cast::<AtomicUsize>() };
        // Acquire: if the packet was foreign, nothing else makes visible what the kernel has written
        // before the status. The low half is the status.
        let status = status.load(Ordering::Acquire) as NTSTATUS;
        if status == STATUS_PENDING {
            return None;
        }
        // SAFETY: a cell's pointer is valid. The kernel writes the length before the status, and nothing after
        // it, and the load above has acquired the status. Nothing else writes it: the caller holds the lock.
        let length = unsafe { (*overlapped).InternalHigh };
        Some(check(status).map(|()| length))
    }

    /// Cancels it; its packet comes all the same. Does nothing if it is not in flight.
    pub(super) fn cancel(&self, handle: RawHandle) {
        // SAFETY: the call compares the address with those of operations in flight, and does not dereference
        // it. If the handle is not open, or the operation is not in flight, the call fails.
        unsafe { CancelIoEx(handle, self.0.get()) };
    }
}

/// The operations that end on a port, by the words that their packets have.
pub(super) struct Operations<P>(Mutex<HashMap<usize, (Weak<P>, Which)>>);

impl<P> Operations<P> {
    /// None yet.
    pub(super) fn new() -> Operations<P> {
        Operations(Mutex::default())
    }

    /// Adds those of a pipe that is now associated with the port; `remove` takes them out.
    pub(super) fn insert<'a>(
        &self,
        pipe: &Arc<P>,
        operations: impl Iterator<Item = (Which, &'a Operation)>,
    ) {
        let mut all = self.lock();
        for (which, operation) in operations {
            all.insert(operation.word(), (Arc::downgrade(pipe), which));
        }
    }

    /// Removes those of a pipe that is about to be freed: until then no other one has their addresses.
    pub(super) fn remove<'a>(&self, operations: impl Iterator<Item = (Which, &'a Operation)>) {
        let mut all = self.lock();
        for (_, operation) in operations {
            all.remove(&operation.word());
        }
    }

    /// The possible owner of a packet, by its word.
    pub(super) fn find(&self, word: usize) -> Option<(Arc<P>, Which)> {
        let all = self.lock();
        let (pipe, which) = all.get(&word)?;
        Some((pipe.upgrade()?, *which))
    }

    /// Whether any of the pipes is one of these.
    pub(super) fn any_pipe(&self, is_one: impl Fn(&P) -> bool) -> bool {
        // Dropping the last count of a pipe locks this, so that it is not held here.
        let pipes: Vec<Arc<P>> = {
            let all = self.lock();
            all.values()
                .filter_map(|(pipe, _)| pipe.upgrade())
                .collect()
        };
        pipes.iter().any(|pipe| is_one(pipe))
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, (Weak<P>, Which)>> {
        // No panic leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl<P> Operations<P> {
    pub(super) fn has(&self, word: usize) -> bool {
        self.lock().contains_key(&word)
    }
}
