//! One operation of a pipe, and who owns the memory of it.
//!
//! An operation lies inside its pipe's `Arc`. Before it is submitted, the kernel gets a
//! strong count of that, by [`give_away`](Operation::give_away). The count comes back with the
//! packet, by [`take_ended`], or at once, by [`take_back`](Operation::take_back), where none will
//! come because the submission failed. So whatever is dropped, and on whatever thread, the memory is
//! there until then.

use std::cell::UnsafeCell;
use std::mem;
use std::os::windows::io::RawHandle;
use std::ptr;
use std::sync::Arc;

use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};

use super::named_pipe::Pipe;
use super::port::KernelEvent;

/// What the kernel has of an operation.
#[repr(C)]
pub(super) struct Operation {
    /// First: the packet has the address of it, and so of the whole.
    overlapped: UnsafeCell<OVERLAPPED>,
    which: Which,
    /// The pipe that it lies in, of `Arc::into_raw`, while it is under way.
    pipe: UnsafeCell<*const Pipe>,
}

// SAFETY: who submits it touches it under its pipe's lock, and whoever takes its packet does so
// between two submissions; what is in it belongs to no thread.
unsafe impl Send for Operation {}
// SAFETY: as above.
unsafe impl Sync for Operation {}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Connect,
    Read,
    Write,
}

impl Operation {
    pub(super) fn new(which: Which) -> Operation {
        Operation {
            overlapped: UnsafeCell::new(OVERLAPPED::default()),
            which,
            pipe: UnsafeCell::new(ptr::null()),
        }
    }

    /// Gives the kernel a count of the pipe that this lies in, before anything can be under way.
    ///
    /// # Safety
    ///
    /// It lies in this pipe, is not under way, and the pipe's lock is held.
    pub(super) unsafe fn give_away(&self, pipe: &Arc<Pipe>) -> *mut OVERLAPPED {
        // SAFETY: as the caller says, nobody else touches it.
        unsafe {
            debug_assert!((*self.pipe.get()).is_null());
            *self.pipe.get() = Arc::into_raw(Arc::clone(pipe));
            *self.overlapped.get() = OVERLAPPED::default();
        }
        // Of the whole, to which the packet's address will be followed.
        self as *const Operation as *mut OVERLAPPED
    }

    /// Takes the count back.
    ///
    /// # Safety
    ///
    /// It was given away, no packet will come, and the pipe's lock is held.
    pub(super) unsafe fn take_back(&self) {
        // SAFETY: as the caller says, the count is there, and nobody else takes it.
        unsafe {
            let pipe = mem::replace(&mut *self.pipe.get(), ptr::null());
            drop(Arc::from_raw(pipe));
        }
    }

    /// Asks for the end of it, which comes with its packet. Does nothing where it is not under way.
    pub(super) fn cancel(&self, handle: RawHandle) {
        // SAFETY: the address only tells which one is meant. Where the handle is not open, or
        // nothing of it is under way, the call fails.
        unsafe { CancelIoEx(handle, self.overlapped.get()) };
    }
}

/// The operation whose packet this is, and its pipe.
///
/// # Safety
///
/// The packet was taken off a port that pipes are associated with, is one of theirs, and is handed in
/// once.
pub(super) unsafe fn take_ended(packet: &KernelEvent) -> (Arc<Pipe>, Which) {
    let operation = packet.word() as *const Operation;
    // SAFETY: it is the address of an operation that was given away, whose pipe has stayed since, and
    // the kernel has done with it. The count that it was given is taken over.
    unsafe {
        let pipe = mem::replace(&mut *(*operation).pipe.get(), ptr::null());
        (Arc::from_raw(pipe), (*operation).which)
    }
}
