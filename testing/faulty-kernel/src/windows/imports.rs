//! The import table of this program, through which it calls the functions of the system's libraries.

use std::ffi::CStr;
use std::mem;
use std::ptr;

use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;
use windows_sys::Win32::System::Memory::{VirtualProtect, PAGE_READWRITE};

/// Where the loader has written the address of an imported function.
pub struct Entry(*mut usize);

impl Entry {
    pub fn function(&self) -> usize {
        // SAFETY: it is an entry of this program's import table.
        unsafe { self.0.read() }
    }

    /// From now on the program calls this in the place of the function.
    ///
    /// # Safety
    ///
    /// It is a function of the same type, and no other thread runs.
    pub unsafe fn replace(&self, function: usize) {
        let size = mem::size_of::<usize>();
        let mut before = 0;
        // SAFETY: as above, and no other thread uses it; the page is made writable first, and is as it
        // was in the end.
        unsafe {
            let writable = VirtualProtect(self.0.cast(), size, PAGE_READWRITE, &mut before);
            assert_ne!(writable, 0, "the import table stays as it is");
            self.0.write(function);
            VirtualProtect(self.0.cast(), size, before, &mut before);
        }
    }
}

/// The functions that this program imports, by their names.
pub fn all() -> Vec<(String, Entry)> {
    /// Where a program's first header has the place of the next one.
    const HEADERS: usize = 0x3c;
    /// Where that one has the place of the import table, in a program of 64 bits.
    const IMPORTS: usize = 24 + 112 + 8;
    const BY_NUMBER: u64 = 1 << 63;

    /// Of one library: places relative to the program's base.
    #[repr(C)]
    #[derive(Copy, Clone)]
    struct Library {
        names: u32,
        _unused: [u32; 2],
        name: u32,
        entries: u32,
    }

    // SAFETY: null stands for this program.
    let base = unsafe { GetModuleHandleW(ptr::null()) }.cast::<u8>();
    let mut found = Vec::new();
    // SAFETY: the loader has laid this program out like this: lists that end with zeros, and names that
    // end with a zero.
    unsafe {
        let number = |at: usize| base.add(at).cast::<u32>().read_unaligned() as usize;
        let mut at = number(number(HEADERS) + IMPORTS);
        loop {
            let library = base.add(at).cast::<Library>().read_unaligned();
            if library.name == 0 {
                return found;
            }
            at += mem::size_of::<Library>();
            for index in 0.. {
                let word = index * mem::size_of::<u64>();
                let names = base.add(library.names as usize + word);
                let name = names.cast::<u64>().read_unaligned();
                if name == 0 {
                    break;
                }
                if name & BY_NUMBER == 0 {
                    // Behind a hint of two bytes.
                    let name = CStr::from_ptr(base.add(name as usize + 2).cast());
                    let entry = base.add(library.entries as usize + word);
                    let name = name.to_string_lossy().into_owned();
                    found.push((name, Entry(entry.cast())));
                }
            }
        }
    }
}
