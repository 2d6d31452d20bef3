//! The names of kqueue on Linux. A test library has the functions: any library with the interface
//! of macOS and libkqueue, and FreeBSD's numbers.

use libc::{c_int, c_void, intptr_t, timespec, uintptr_t};

#[repr(C)]
#[derive(Copy, Clone)]
#[allow(non_camel_case_types)]
pub(crate) struct kevent {
    pub(crate) ident: uintptr_t,
    pub(crate) filter: i16,
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: intptr_t,
    pub(crate) udata: *mut c_void,
}

extern "C" {
    pub(crate) fn kqueue() -> c_int;
    pub(crate) fn kevent(
        queue: c_int,
        changes: *const kevent,
        change_count: c_int,
        events: *mut kevent,
        event_count: c_int,
        timeout: *const timespec,
    ) -> c_int;
}

pub(crate) const EVFILT_READ: i16 = -1;
pub(crate) const EVFILT_WRITE: i16 = -2;
pub(crate) const EVFILT_AIO: i16 = -3;
pub(crate) const EVFILT_PROC: i16 = -5;
pub(crate) const EVFILT_LIO: i16 = -10;
pub(crate) const EVFILT_USER: i16 = -11;

pub(crate) const EV_ADD: u16 = 0x0001;
pub(crate) const EV_DELETE: u16 = 0x0002;
pub(crate) const EV_CLEAR: u16 = 0x0020;
pub(crate) const EV_RECEIPT: u16 = 0x0040;
pub(crate) const EV_DISPATCH: u16 = 0x0080;
pub(crate) const EV_ERROR: u16 = 0x4000;
pub(crate) const EV_EOF: u16 = 0x8000;

pub(crate) const NOTE_EXIT: u32 = 0x8000_0000;
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;

pub(crate) const NANOS_OF_TIMEOUT: u32 = 1;
