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

use std::mem::MaybeUninit;
use std::sync::atomic::AtomicBool;
use std::sync::OnceLock;

use libc::{c_int, c_void, epoll_event, sigset_t};

/// The functions of the replacement that the C library may lack.
pub(super) struct Functions {
    /// `None` if it is not replaced: the C library's function does not know a replaced epoll.
    pub(super) epoll_pwait2: Option<EpollPwait2>,
    /// Set when `epoll_pwait2` was refused. It is then never called again.
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
        // On 32-bit machines the size of its timespec is not known.
        .filter(|_| cfg!(target_pointer_width = "64"))
        .map(|function| {
            // SAFETY: the C library documents this signature for the name, and a replacement is called
            // by programs that rely on it. The pointer is not null.
            unsafe { std::mem::transmute::<*mut c_void, EpollPwait2>(function) }
        });
    Some(Functions {
        epoll_pwait2,
        refuses: AtomicBool::new(false),
    })
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
