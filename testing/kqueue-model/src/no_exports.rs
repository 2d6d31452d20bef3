//! What is left of the model where another library replaces it.

use std::ffi::{c_int, c_void};

/// A function of the model, which the other library lacks: fails with ENOSYS.
///
/// # Safety
///
/// It has no memory-safety preconditions. It is `unsafe` as a C function.
#[no_mangle]
pub unsafe extern "C" fn kqueue_model_complete(
    _kq: c_int,
    _ident: usize,
    _filter: i16,
    _flags: u16,
    _data: isize,
    _udata: *mut c_void,
) -> c_int {
    // SAFETY: the address is that of this thread's `errno`, which is always valid.
    unsafe { *libc::__errno_location() = libc::ENOSYS };
    -1
}

/// How much is registered: the other library does not count.
pub fn registrations(_kq: c_int) -> Option<usize> {
    None
}
