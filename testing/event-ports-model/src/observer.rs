//! A program that is told of each call, and may have it fail: see [`observe`].

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::sys;

/// A call of the model.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `port_create`.
    Create,
    /// `port_associate`.
    Associate,
    /// `port_dissociate`.
    Dissociate,
    /// `port_send`.
    Send,
    /// `port_alert`.
    Alert,
    /// `port_get` and `port_getn` that retrieve events.
    Retrieve,
    /// `port_getn` with room for none, which counts the events.
    Count,
    /// close(2).
    Close,
}

/// Who is told of each call, in the thread that makes it.
#[derive(Debug)]
pub struct Observer {
    /// Returns the error number that the call is to fail with, or 0. What fails is not made, but for
    /// `Close`, which closes all the same.
    pub before: fn(Call) -> c_int,
    /// The call is over.
    pub after: fn(Call),
}

static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(ptr::null_mut());

/// From now on this observer is told of each call.
pub fn observe(observer: &'static Observer) {
    // Release: its fields are written before; `observer` acquires.
    OBSERVER.store(ptr::from_ref(observer).cast_mut(), Ordering::Release);
}

fn observer() -> Option<&'static Observer> {
    // SAFETY: null, or from a `&'static Observer`, which nobody changes.
    unsafe { OBSERVER.load(Ordering::Acquire).as_ref() }
}

/// Makes a call, or fails, as the observer says.
pub(crate) fn observed(call: Call, make: impl FnOnce() -> c_int) -> c_int {
    let Some(observer) = observer() else {
        return make();
    };
    let injected = (observer.before)(call);
    let result = match injected {
        0 => make(),
        _ => {
            if call == Call::Close {
                make();
            }
            -1
        }
    };
    let error = match injected {
        0 => sys::errno(),
        injected => injected,
    };
    (observer.after)(call);
    sys::set_errno(error);
    result
}
