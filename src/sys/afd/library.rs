//! Functions of the system's libraries that not every Windows has.

use std::ptr;

use windows_sys::Win32::System::LibraryLoader::{
    GetModuleHandleExW, GetProcAddress, LoadLibraryExW, GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
    GET_MODULE_HANDLE_EX_FLAG_PIN, LOAD_LIBRARY_SEARCH_SYSTEM32,
};

/// A function whose type is not known yet.
pub(super) type Function = unsafe extern "system" fn() -> isize;

/// The function of this name in one of the system's own libraries, which stays loaded
/// from now on.
pub(super) fn find(library: &str, function: &str) -> Option<Function> {
    let library: Vec<u16> = library.encode_utf16().chain([0]).collect();
    let function: Vec<u8> = function.bytes().chain([0]).collect();
    // SAFETY: the call reads `library` up to its zero, which `chain` has put at its end. It may run the
    // library's code: that is one of the system's own, because the flag allows its folder only.
    let library = unsafe {
        LoadLibraryExW(
            library.as_ptr(),
            ptr::null_mut(),
            LOAD_LIBRARY_SEARCH_SYSTEM32,
        )
    };
    if library.is_null() {
        return None;
    }
    // SAFETY: the call reads `function` up to its zero, which `chain` has put at its end. `library` is loaded,
    // and never freed.
    unsafe { GetProcAddress(library, function.as_ptr()) }
}

/// Keeps this code in memory from now on, and returns whether that has succeeded. Otherwise unloading a
/// library (`FreeLibrary`) removes code that the system, or a thread, is about to call.
pub(super) fn stay_loaded() -> bool {
    let mut module = ptr::null_mut();
    // An address in this very code.
    let inside = stay_loaded as *const () as *const u16;
    // SAFETY: with this flag the call takes the second argument as an address in a module, which it does not
    // dereference, and not as a name. It writes one handle to `module`.
    let pinned = unsafe {
        GetModuleHandleExW(
            GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
            inside,
            &mut module,
        )
    };
    pinned != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_code_can_be_kept_in_memory() {
        assert!(stay_loaded());
        assert!(stay_loaded(), "again");
    }

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_not() {
        assert!(find("ntdll.dll", "NtCreateFile").is_some());
        assert!(find("ntdll.dll", "NtCreateNothing").is_none());
        assert!(find("no-such-library.dll", "NtCreateFile").is_none());
    }
}
