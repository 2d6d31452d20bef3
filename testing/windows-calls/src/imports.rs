//! Records which functions of the system's libraries the main thread of this program calls.
//!
//! A program calls the functions of libraries through its import table. Each entry of a library of
//! the system is replaced by a few instructions that record the function and jump to it. They change only
//! registers that no function receives arguments in.
//!
//! All atomics are relaxed: only the main thread uses them. (They are atomics because the instructions
//! write to them as well.)

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use windows_sys::core::BOOL;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;
use windows_sys::Win32::System::Memory::{
    VirtualAlloc, VirtualProtect, MEM_COMMIT, MEM_RESERVE, PAGE_EXECUTE_READWRITE, PAGE_READWRITE,
};
use windows_sys::Win32::System::Threading::GetCurrentThreadId;
use windows_sys::Win32::System::IO::OVERLAPPED_ENTRY;

/// The libraries whose functions make system calls. (The functions of the C library that are used here make
/// none.)
const LIBRARIES: [&str; 5] = [
    "kernel32.dll",
    "kernelbase.dll",
    "ntdll.dll",
    "ws2_32.dll",
    "advapi32.dll",
];

/// Functions that make no system call, because they use memory of the process only; and those of locks, which
/// make one if another thread, such as one of the pool, holds the lock at that moment.
const WITHIN_THE_PROCESS: &[&str] = &[
    "AcquireSRWLockExclusive",
    "AcquireSRWLockShared",
    "EnterCriticalSection",
    "GetCurrentProcess",
    "GetCurrentProcessId",
    "GetCurrentThread",
    "GetCurrentThreadId",
    "GetLastError",
    "GetModuleHandleA",
    "GetModuleHandleW",
    "GetProcAddress",
    "GetProcessHeap",
    "HeapAlloc",
    "HeapFree",
    "HeapReAlloc",
    "InitOnceBeginInitialize",
    "InitOnceComplete",
    "LeaveCriticalSection",
    "QueryPerformanceCounter",
    "QueryPerformanceFrequency",
    "ReleaseSRWLockExclusive",
    "ReleaseSRWLockShared",
    "RtlNtStatusToDosError",
    "SetLastError",
    "TlsAlloc",
    "TlsGetValue",
    "TlsSetValue",
    "WSAGetLastError",
    "WaitOnAddress",
    "WakeByAddressAll",
    "WakeByAddressSingle",
];

/// The maximum number of recorded calls.
const MOST: usize = 4096;

#[repr(C)]
struct Noted {
    /// The number of recorded calls. If it is above `MOST`, some are missing.
    count: AtomicU32,
    _unused: u32,
    functions: UnsafeCell<[u16; MOST]>,
}

// SAFETY: only the main thread writes and reads it.
unsafe impl Sync for Noted {}

static NOTED: Noted = Noted {
    count: AtomicU32::new(0),
    _unused: 0,
    functions: UnsafeCell::new([0; MOST]),
};

/// The address of the system's function that takes packets off a port.
static DEQUEUE: AtomicUsize = AtomicUsize::new(0);
/// The number of packets that its calls took, by the index of the recorded call.
static PACKETS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];

const DEQUEUE_NAME: &str = "GetQueuedCompletionStatusEx";

/// The names of the functions that are recorded, by their index.
pub struct Imports {
    names: Vec<String>,
}

impl Imports {
    /// From now on the calls of this thread are recorded.
    ///
    /// # Safety
    ///
    /// No other thread runs.
    pub unsafe fn watch() -> Imports {
        // SAFETY: the functions have no preconditions; null stands for this program.
        let (thread, base) = unsafe { (GetCurrentThreadId(), GetModuleHandleW(ptr::null())) };
        let mut names = Vec::new();
        let mut code = Code::new();
        // SAFETY: the loader has put this program at that address.
        for (name, entry) in unsafe { entries(base.cast()) } {
            let index = u16::try_from(names.len()).expect("so many functions");
            // SAFETY: it is an entry of this program's import table.
            let mut function = unsafe { entry.read() };
            if name == DEQUEUE_NAME {
                DEQUEUE.store(function, Ordering::Relaxed);
                function = dequeue as *const () as usize;
            }
            let replacement = code.add(&note_and_jump(thread, index, function));
            names.push(name);
            // SAFETY: as above. No other thread runs, so none calls the function. The page is writable
            // during the write, and gets its protection back afterwards.
            unsafe {
                let mut before = 0;
                let size = mem::size_of::<usize>();
                let writable = VirtualProtect(entry.cast(), size, PAGE_READWRITE, &mut before);
                assert_ne!(writable, 0, "the import table stays as it is");
                entry.write(replacement);
                VirtualProtect(entry.cast(), size, before, &mut before);
            }
        }
        assert!(names.iter().any(|name| name == DEQUEUE_NAME), "{names:?}");
        Imports { names }
    }

    /// The calls that `work` makes, in order.
    pub fn of<R>(&self, work: impl FnOnce() -> R) -> (R, Vec<String>) {
        NOTED.count.store(0, Ordering::Relaxed);
        let result = work();
        let count = NOTED.count.load(Ordering::Relaxed) as usize;
        assert!(count <= MOST, "more calls than there is room for");
        // SAFETY: only this thread writes to it, and it does not while this reference exists.
        let functions = unsafe { &*NOTED.functions.get() };
        let noted = functions[..count].iter().enumerate();
        let calls = noted.map(|(at, &function)| {
            let name = &self.names[usize::from(function)];
            match name.as_str() {
                DEQUEUE_NAME => format!("{name}({})", PACKETS[at].load(Ordering::Relaxed)),
                name => name.to_owned(),
            }
        });
        (result, calls.collect())
    }
}

/// Replaces the function that takes packets off a port, and records how many it took.
unsafe extern "system" fn dequeue(
    port: HANDLE,
    entries: *mut OVERLAPPED_ENTRY,
    room: u32,
    count: *mut u32,
    millis: u32,
    alertable: BOOL,
) -> BOOL {
    type Dequeue =
        unsafe extern "system" fn(HANDLE, *mut OVERLAPPED_ENTRY, u32, *mut u32, u32, BOOL) -> BOOL;
    // Its call was recorded last.
    let at = (NOTED.count.load(Ordering::Relaxed) as usize).saturating_sub(1);
    // SAFETY: the import table had this address under the name of the function, so it has this type. The
    // arguments are the caller's.
    let (done, packets) = unsafe {
        let dequeue = mem::transmute::<usize, Dequeue>(DEQUEUE.load(Ordering::Relaxed));
        let done = dequeue(port, entries, room, count, millis, alertable);
        (done, if done == 0 { 0 } else { *count })
    };
    if let Some(place) = PACKETS.get(at) {
        place.store(packets as usize, Ordering::Relaxed);
    }
    done
}

/// The functions that a program imports from the system and that may make system calls, each with its entry
/// in the import table.
///
/// # Safety
///
/// `base` must be the address at which the loader has put a 64-bit program for Windows.
unsafe fn entries(base: *const u8) -> Vec<(String, *mut usize)> {
    /// The offset of the headers, in `IMAGE_DOS_HEADER`.
    const HEADERS: usize = 0x3c;
    /// The offset of the second `IMAGE_DATA_DIRECTORY` from the headers.
    const IMPORTS: usize = 24 + 112 + 8;
    const BY_NUMBER: u64 = 1 << 63;

    /// The structure `IMAGE_IMPORT_DESCRIPTOR`.
    #[repr(C)]
    #[derive(Copy, Clone)]
    struct Library {
        names: u32,
        _date: u32,
        _forwards: u32,
        name: u32,
        entries: u32,
    }

    /// # Safety
    ///
    /// A `T` must be at the offset `at` from `base`.
    unsafe fn read<T: Copy>(base: *const u8, at: usize) -> T {
        // SAFETY: the caller guarantees it.
        unsafe { base.add(at).cast::<T>().read_unaligned() }
    }

    /// # Safety
    ///
    /// A string that ends with a zero must be at the offset `at` from `base`.
    unsafe fn text(base: *const u8, at: usize) -> String {
        // SAFETY: the caller guarantees it.
        let text = unsafe { CStr::from_ptr(base.add(at).cast()) };
        text.to_string_lossy().into_owned()
    }

    let mut found = Vec::new();
    // SAFETY: the loader lays a program out like this: lists that end with zeros, of addresses that are
    // relative to the base.
    unsafe {
        let headers = read::<u32>(base, HEADERS) as usize;
        let mut at = read::<u32>(base, headers + IMPORTS) as usize;
        loop {
            let library: Library = read(base, at);
            at += mem::size_of::<Library>();
            if library.name == 0 {
                return found;
            }
            let name = text(base, library.name as usize).to_lowercase();
            let is_of_system =
                LIBRARIES.contains(&name.as_str()) || name.starts_with("api-ms-win-");
            if !is_of_system {
                continue;
            }
            for index in 0.. {
                let word = index * mem::size_of::<u64>();
                let its_name: u64 = read(base, library.names as usize + word);
                if its_name == 0 {
                    break;
                }
                let function = match its_name & BY_NUMBER {
                    // After a hint of two bytes.
                    0 => text(base, its_name as usize + 2),
                    _ => format!("{name}#{}", its_name & !BY_NUMBER),
                };
                if !WITHIN_THE_PROCESS.contains(&function.as_str()) {
                    let entry = base.add(library.entries as usize + word);
                    found.push((function, entry.cast_mut().cast()));
                }
            }
        }
    }
}

/// Memory for instructions, for as long as the process lives.
struct Code {
    next: *mut u8,
    left: usize,
}

impl Code {
    const SIZE: usize = 1 << 16;

    fn new() -> Code {
        // SAFETY: the call allocates new memory at any address.
        let next = unsafe {
            VirtualAlloc(
                ptr::null(),
                Code::SIZE,
                MEM_RESERVE | MEM_COMMIT,
                PAGE_EXECUTE_READWRITE,
            )
        };
        assert!(!next.is_null(), "no memory for code");
        Code {
            next: next.cast(),
            left: Code::SIZE,
        }
    }

    /// Copies the instructions, and returns the address of the copy.
    fn add(&mut self, instructions: &[u8]) -> usize {
        assert!(instructions.len() <= self.left, "too many functions");
        let start = self.next;
        // SAFETY: the memory has that many bytes left, and no other code uses them.
        unsafe {
            ptr::copy_nonoverlapping(instructions.as_ptr(), start, instructions.len());
            self.next = start.add(instructions.len());
        }
        self.left -= instructions.len();
        start as usize
    }
}

/// The instructions that record a function, if this thread calls it, and jump to it. At the beginning of a
/// function `r10` and `r11` hold no values that it or its caller uses.
fn note_and_jump(thread: u32, function: u16, target: usize) -> Vec<u8> {
    let note = [
        // mov r10, NOTED
        &[0x49, 0xBA],
        &(ptr::addr_of!(NOTED) as u64).to_le_bytes()[..],
        // mov r11d, 1
        &[0x41, 0xBB, 1, 0, 0, 0],
        // lock xadd [r10], r11d
        &[0xF0, 0x45, 0x0F, 0xC1, 0x1A],
        // cmp r11d, MOST
        &[0x41, 0x81, 0xFB],
        &(MOST as u32).to_le_bytes(),
        // jae after the next instruction
        &[0x73, 8],
        // mov word [r10 + 2 * r11 + 8], function
        &[0x66, 0x43, 0xC7, 0x44, 0x5A, 8],
        &function.to_le_bytes(),
    ]
    .concat();
    [
        // mov r11d, gs:[0x48], the id of this thread
        &[0x65, 0x44, 0x8B, 0x1C, 0x25, 0x48, 0, 0, 0][..],
        // cmp r11d, thread
        &[0x41, 0x81, 0xFB],
        &thread.to_le_bytes(),
        // jne after the recording
        &[0x75, note.len() as u8],
        &note,
        // mov r10, target
        &[0x49, 0xBA],
        &(target as u64).to_le_bytes(),
        // jmp r10
        &[0x41, 0xFF, 0xE2],
    ]
    .concat()
}
