//! Objects that queue a packet when a timer ends, for a Wine that lacks them: a thread of the pool waits for the timer,
//! and posts the packet.

use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;

use windows_sys::Win32::Foundation::{HANDLE, NTSTATUS, STATUS_NO_MEMORY, STATUS_SUCCESS};
use windows_sys::Win32::System::Threading::{
    CreateEventW, RegisterWaitForSingleObject, UnregisterWaitEx, INFINITE, WT_EXECUTEONLYONCE,
};
use windows_sys::Win32::System::IO::PostQueuedCompletionStatus;

/// What is posted, and where.
struct Packet {
    port: usize,
    key: usize,
    word: usize,
    number: u32,
}

/// A wait for a timer.
struct Wait {
    /// The handle of an event, which stands for the object.
    object: usize,
    handle: usize,
    packet: Box<Packet>,
}

static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

pub unsafe extern "system" fn create(object: *mut HANDLE, _: u32, _: usize) -> NTSTATUS {
    // SAFETY: without attributes and without a name the call reads nothing.
    let event = unsafe { CreateEventW(ptr::null(), 0, 0, ptr::null()) };
    if event.is_null() {
        return STATUS_NO_MEMORY;
    }
    // SAFETY: the caller guarantees that a handle can be written there.
    unsafe { object.write(event) };
    STATUS_SUCCESS
}

#[allow(clippy::too_many_arguments)] // those of the function that it stands for
pub unsafe extern "system" fn associate(
    object: usize,
    port: usize,
    timer: usize,
    key: usize,
    word: usize,
    _: NTSTATUS,
    number: usize,
    _: *mut u8,
) -> NTSTATUS {
    end(object);
    let packet = Box::new(Packet {
        port,
        key,
        word,
        number: number as u32,
    });
    let mut wait = ptr::null_mut();
    // SAFETY: the call writes one handle to `wait`. `ended` runs at most once, with the address of the packet, which
    // is freed when the wait was ended (`end`).
    let registered = unsafe {
        RegisterWaitForSingleObject(
            &mut wait,
            timer as HANDLE,
            Some(ended),
            ptr::from_ref::<Packet>(&packet).cast(),
            INFINITE,
            WT_EXECUTEONLYONCE,
        )
    };
    if registered == 0 {
        return STATUS_NO_MEMORY;
    }
    let mut waits = WAITS.lock().unwrap();
    waits.push(Wait {
        object,
        handle: wait as usize,
        packet,
    });
    STATUS_SUCCESS
}

pub unsafe extern "system" fn cancel(object: usize, _: u8) -> NTSTATUS {
    end(object);
    STATUS_SUCCESS
}

unsafe extern "system" fn ended(packet: *mut c_void, _: bool) {
    // SAFETY: it is the address of the packet that `associate` has passed.
    let packet = unsafe { &*packet.cast::<Packet>() };
    // SAFETY: the call accesses no memory of the process: the port returns the key and the word as they are. It fails
    // if the port was closed.
    unsafe {
        PostQueuedCompletionStatus(
            packet.port as HANDLE,
            packet.number,
            packet.key,
            packet.word as *const _,
        )
    };
}

/// Ends the wait of the object, if there is one.
pub fn end(object: usize) {
    let mut waits = WAITS.lock().unwrap();
    let Some(index) = waits.iter().position(|wait| wait.object == object) else {
        return;
    };
    let wait = waits.swap_remove(index);
    if waits.is_empty() {
        // So that the list has no memory between two runs.
        *waits = Vec::new();
    }
    drop(waits);
    const AND_WAIT_FOR_ITS_FUNCTION: isize = -1;
    // SAFETY: the wait is registered, since it was in the list, and is ended once. When the call returns its function
    // has returned, or will never run.
    unsafe { UnregisterWaitEx(wait.handle as HANDLE, AND_WAIT_FOR_ITS_FUNCTION as HANDLE) };
    drop(wait.packet);
}
