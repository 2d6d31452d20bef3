//! A program that is told of each call, and may have it fail: see [`observe`].

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(not(kqueue_library))]
use crate::os;

/// A call of the model, or one change of a call.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// kqueue(2).
    Kqueue,
    /// kevent(2) without changes: it waits for events.
    Wait,
    /// kevent(2) with changes.
    Changes,
    /// One of the changes of a `Changes`, which is about to be made.
    Change {
        /// `EVFILT_READ` and the like.
        filter: i16,
        /// `EV_ADD` and the like.
        flags: u16,
    },
    /// close(2).
    Close,
}

/// Who is told of each call, in the thread that makes it.
#[derive(Debug)]
pub struct Observer {
    /// Returns the error number that the call is to fail with, or 0.
    ///
    /// It is called under the model's lock where it is about a `Change`, and must not call the model.
    ///
    /// What fails is not made, with two exceptions. `Close` closes. `Changes` that fails with `EINTR`
    /// has made its changes: the manual pages of FreeBSD and NetBSD say so.
    pub before: fn(Call) -> c_int,
    /// The call is over. Not called for a `Change`, which is part of a call.
    pub after: fn(Call),
}

static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(ptr::null_mut());

/// From now on this observer is told of each call. False if another library replaces the model: it tells
/// nobody.
pub fn observe(observer: &'static Observer) -> bool {
    // Release: its fields are written before; `observer` acquires.
    OBSERVER.store(ptr::from_ref(observer).cast_mut(), Ordering::Release);
    cfg!(not(kqueue_library))
}

#[cfg(not(kqueue_library))]
fn observer() -> Option<&'static Observer> {
    // SAFETY: null, or from a `&'static Observer`, which nobody changes.
    unsafe { OBSERVER.load(Ordering::Acquire).as_ref() }
}

/// The error that a change fails with, or 0.
#[cfg(not(kqueue_library))]
pub(crate) fn before(change: Call) -> c_int {
    observer().map_or(0, |observer| (observer.before)(change))
}

/// Makes a call, or fails, as the observer says.
#[cfg(not(kqueue_library))]
pub(crate) fn observed(call: Call, make: impl FnOnce() -> c_int) -> c_int {
    let Some(observer) = observer() else {
        return make();
    };
    let injected = (observer.before)(call);
    let result = match injected {
        0 => make(),
        _ => {
            if call == Call::Close || (call == Call::Changes && injected == libc::EINTR) {
                make();
            }
            -1
        }
    };
    let error = match injected {
        0 => os::errno(),
        injected => injected,
    };
    (observer.after)(call);
    os::set_errno(error);
    result
}
