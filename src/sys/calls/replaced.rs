//! Detects functions in this process that replace the C library's functions on epoll.
//!
//! A preloaded network stack (`LD_PRELOAD`) implements sockets itself, and replaces the C library's
//! functions on sockets and epoll. The crate opens sockets through the C library, so they are the
//! stack's sockets, and the kernel's epoll cannot watch them. If the functions on epoll are
//! replaced, all calls on an epoll, and the writes that wake it, therefore use the replacement. A
//! thread or memory sanitizer replaces them as well.
//!
//! The detection runs once in a process, when it opens its first queue. To take the C library's own
//! functions for a replacement costs some instructions; the opposite mistake loses all events.

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use libc::{c_int, c_void, epoll_event, sigset_t};

/// What was detected: one of the constants below.
static DETECTED: AtomicU8 = AtomicU8::new(NOTHING_YET);

const NOTHING_YET: u8 = 0;
const REPLACED: u8 = 1;
const NOT_REPLACED: u8 = 2;

/// The replacement's `epoll_pwait2`. Null if it is not replaced, because the C library's function does not
/// know a replaced epoll, or if it was refused.
static EPOLL_PWAIT2: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

pub(super) type EpollPwait2 = unsafe extern "C" fn(
    c_int,
    *mut epoll_event,
    c_int,
    *const libc::timespec,
    *const sigset_t,
) -> c_int;

/// The replacement's `epoll_pwait2`, if there is one that is to be called. To be called if `is_replaced`.
pub(super) fn epoll_pwait2() -> Option<EpollPwait2> {
    // Relaxed: a function's code is memory of the program, which no thread of it has written.
    let function = EPOLL_PWAIT2.load(Ordering::Relaxed);
    // SAFETY: the C library documents this signature for the name, and a replacement is called by programs
    // that rely on it. The pointer is not null.
    (!function.is_null()).then(|| unsafe { mem::transmute::<*mut c_void, EpollPwait2>(function) })
}

/// To be called when `epoll_pwait2` was refused.
pub(super) fn never_call_epoll_pwait2() {
    // Relaxed: a thread that sees it late is refused itself.
    EPOLL_PWAIT2.store(ptr::null_mut(), Ordering::Relaxed);
}

#[inline(never)]
pub(crate) fn is_replaced() -> bool {
    // Two threads may detect it at the same time, with the same result. Acquire: pairs with the store, so
    // that `EPOLL_PWAIT2` has its value.
    let mut detected = DETECTED.load(Ordering::Acquire);
    if detected == NOTHING_YET {
        detected = match detect() {
            true => REPLACED,
            false => NOT_REPLACED,
        };
        DETECTED.store(detected, Ordering::Release);
    }
    detected == REPLACED
}

/// Whether the functions on epoll are replaced. Notes the replacement's `epoll_pwait2`.
fn detect() -> bool {
    let Some(libc) = object_containing(address_of(b"gnu_get_libc_version\0")) else {
        return false;
    };
    let replaced = |name: &'static [u8]| {
        let function = address_of(name);
        (object_containing(function)? != libc).then_some(function)
    };
    // Not `write`, which address sanitizers replace.
    let any = replaced(b"epoll_create1\0")
        .or(replaced(b"epoll_ctl\0"))
        .or(replaced(b"epoll_wait\0"));
    if any.is_none() {
        return false;
    }
    // On 32-bit machines the size of its timespec is not known.
    if cfg!(target_pointer_width = "64") {
        if let Some(function) = replaced(b"epoll_pwait2\0") {
            // Relaxed: see `is_replaced`.
            EPOLL_PWAIT2.store(function, Ordering::Relaxed);
        }
    }
    true
}

/// The address that a reference to this name resolves to, or null. The name ends with a NUL.
fn address_of(name: &'static [u8]) -> *mut c_void {
    debug_assert_eq!(name.last(), Some(&0));
    // SAFETY: `name` is a valid C string, because it ends with a NUL.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr().cast()) }
}

/// The base address of the program or library that contains an address.
fn object_containing(address: *mut c_void) -> Option<*mut c_void> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` does not dereference the address, and writes one `Dl_info` to `info`.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: `info` was zeroed, which is a valid `Dl_info` of null pointers, and `dladdr` writes
    // valid ones.
    let info = unsafe { info.assume_init() };
    (found != 0).then_some(info.dli_fbase)
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_c_librarys_own_functions_are_no_replacement() {
        assert!(!detect());
    }

    #[test]
    fn an_object_is_identified_by_its_functions() {
        let libc = object_containing(address_of(b"gnu_get_libc_version\0")).unwrap();
        assert_eq!(object_containing(address_of(b"epoll_ctl\0")), Some(libc));
        assert_ne!(object_containing(detect as *mut c_void), Some(libc));
        assert_eq!(
            object_containing(address_of(b"mio_has_no_such_function\0")),
            None
        );
    }
}
