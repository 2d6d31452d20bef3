//! The interface: `struct kevent`, and FreeBSD's numbers.

use std::ffi::c_void;
use std::ptr;

/// `struct kevent` as in macOS and libkqueue, and in FreeBSD before version 12.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Kevent {
    /// What the filter watches: for most filters a descriptor.
    pub ident: usize,
    /// `EVFILT_...`.
    pub filter: i16,
    /// `EV_...`.
    pub flags: u16,
    /// Flags whose meaning depends on the filter: `NOTE_...`, or the error of a socket.
    pub fflags: u32,
    /// A value whose meaning depends on the filter; the error, where `flags` has `EV_ERROR`.
    pub data: isize,
    /// The program's own word, passed through.
    pub udata: *mut c_void,
}

// SAFETY: the pointer is a word that is passed through, and nothing dereferences it.
unsafe impl Send for Kevent {}
// SAFETY: as above.
unsafe impl Sync for Kevent {}

impl Kevent {
    /// An empty entry, for `kevent` to fill in.
    pub const EMPTY: Kevent = Kevent {
        ident: 0,
        filter: 0,
        flags: 0,
        fflags: 0,
        data: 0,
        udata: ptr::null_mut(),
    };
}

/// A descriptor is readable.
pub const EVFILT_READ: i16 = -1;
/// A descriptor is writable.
pub const EVFILT_WRITE: i16 = -2;
/// An asynchronous operation (such as `aio_read`) is complete.
pub const EVFILT_AIO: i16 = -3;
/// A process exits: `ident` is its number.
pub const EVFILT_PROC: i16 = -5;
/// A list of asynchronous operations (`lio_listio`) is complete.
pub const EVFILT_LIO: i16 = -10;
/// The program triggers it.
pub const EVFILT_USER: i16 = -11;

/// Adds a knote, or changes the existing one.
pub const EV_ADD: u16 = 0x0001;
/// Removes a knote.
pub const EV_DELETE: u16 = 0x0002;
/// Ends the effect of `EV_DISABLE`.
pub const EV_ENABLE: u16 = 0x0004;
/// The knote stays, and reports nothing.
pub const EV_DISABLE: u16 = 0x0008;
/// The knote is removed after it was reported.
pub const EV_ONESHOT: u16 = 0x0010;
/// The state is reset after it was reported: edges instead of levels.
pub const EV_CLEAR: u16 = 0x0020;
/// The result of the change is reported, even if it is a success.
pub const EV_RECEIPT: u16 = 0x0040;
/// The knote is disabled after it was reported.
pub const EV_DISPATCH: u16 = 0x0080;
/// In an entry about a change: `data` is its error, or 0.
pub const EV_ERROR: u16 = 0x4000;
/// In an event: the end of the file or of the connection.
pub const EV_EOF: u16 = 0x8000;

/// A process has exited, for `EVFILT_PROC`.
pub const NOTE_EXIT: u32 = 0x8000_0000;
/// Triggers an `EVFILT_USER` knote.
pub const NOTE_TRIGGER: u32 = 0x0100_0000;
/// The saved flags of an `EVFILT_USER` knote do not change.
pub const NOTE_FFNOP: u32 = 0x0000_0000;
/// They are and-ed with the new flags.
pub const NOTE_FFAND: u32 = 0x4000_0000;
/// They are or-ed with the new flags.
pub const NOTE_FFOR: u32 = 0x8000_0000;
/// The new flags replace them.
pub const NOTE_FFCOPY: u32 = 0xc000_0000;
/// The bits that select one of the four.
pub const NOTE_FFCTRLMASK: u32 = 0xc000_0000;
/// The bits that the program may use.
pub const NOTE_FFLAGSMASK: u32 = 0x00ff_ffff;
