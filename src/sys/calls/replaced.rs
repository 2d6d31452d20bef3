//! Functions in this process that replace the C library's.
//!
//! A network stack that is preloaded (`LD_PRELOAD`) serves sockets itself and replaces the
//! C library's functions on sockets and epoll. Sockets pass through the C library, so they are
//! the stack's; the kernel's epoll knows nothing of them. Where the functions on epoll are
//! replaced, all calls on an epoll therefore use the replacement, and so does waking. A thread or
//! memory sanitizer is such a replacement, too.
//!
//! It is looked for once in a process, when the first queue is opened. Taking the C library's own
//! functions for a replacement costs some instructions; the opposite mistake loses all events.

use std::mem::MaybeUninit;
use std::sync::atomic::AtomicBool;
use std::sync::OnceLock;

use libc::{c_int, c_void, epoll_event, sigset_t};

/// What replaces the C library's functions.
pub(super) struct Functions {
    /// `None` where it is not replaced: the C library's own would not know a replaced epoll.
    pub(super) epoll_pwait2: Option<EpollPwait2>,
    /// Set once `epoll_pwait2` was refused, and then it is never tried again.
    pub(super) refuses: AtomicBool,
}

pub(super) type EpollPwait2 = unsafe extern "C" fn(
    c_int,
    *mut epoll_event,
    c_int,
    *const libc::timespec,
    *const sigset_t,
) -> c_int;

pub(super) fn functions() -> Option<&'static Functions> {
    static FOUND: OnceLock<Option<Functions>> = OnceLock::new();

    FOUND.get_or_init(detect).as_ref()
}

pub(crate) fn is_replaced() -> bool {
    functions().is_some()
}

fn detect() -> Option<Functions> {
    let libc = object_containing(address_of(b"gnu_get_libc_version\0"))?;
    let replaced = |name| {
        let function = address_of(name);
        (object_containing(function)? != libc).then_some(function)
    };
    // Not `write`, which address sanitizers replace.
    let names: [&'static [u8]; 3] = [b"epoll_create1\0", b"epoll_ctl\0", b"epoll_wait\0"];
    if names.into_iter().all(|name| replaced(name).is_none()) {
        return None;
    }
    let epoll_pwait2 = replaced(b"epoll_pwait2\0")
        // On 32-bit machines its timespec has one of two sizes.
        .filter(|_| cfg!(target_pointer_width = "64"))
        .map(|function| {
            // SAFETY: a function of this name has this signature, which the C library documents.
            unsafe { std::mem::transmute::<*mut c_void, EpollPwait2>(function) }
        });
    Some(Functions {
        epoll_pwait2,
        refuses: AtomicBool::new(false),
    })
}

/// Where a program that refers to this name, which ends with a NUL, would find it; null where
/// nothing has it.
fn address_of(name: &'static [u8]) -> *mut c_void {
    debug_assert_eq!(name.last(), Some(&0));
    // SAFETY: the name ends with a NUL.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr().cast()) }
}

/// The program or library that an address lies in, by where it is loaded.
fn object_containing(address: *mut c_void) -> Option<*mut c_void> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is only compared, and `info` has room for what is written.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: all zeros are a valid `Dl_info`, and so is what was written.
    let info = unsafe { info.assume_init() };
    (found != 0).then_some(info.dli_fbase)
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_c_librarys_own_functions_are_no_replacement() {
        assert!(detect().is_none());
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
