//! Sees which functions of the system's libraries the main thread of this program calls.
//!
//! A program calls the functions of libraries through its import table. Each entry of a library of
//! the system is replaced by a few instructions that note the function and jump to it. They change
//! registers only that no function gets anything in.
//!
//! All atomics are relaxed: only the main thread uses them. (They are atomics because the instructions
//! write, too.)

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

/// The libraries whose functions ask something of the system. (That of the C language does not, as far
/// as it is used here.)
const LIBRARIES: [&str; 5] = [
    "kernel32.dll",
    "kernelbase.dll",
    "ntdll.dll",
    "ws2_32.dll",
    "advapi32.dll",
];

/// Functions that ask nothing of anybody: what they need lies in the process.
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
];

/// What is noted is the index of a function.
const MOST: usize = 4096;

#[repr(C)]
struct Noted {
    /// How many there are, or more than there is room for.
    count: AtomicU32,
    _unused: u32,
    functions: UnsafeCell<[u16; MOST]>,
}

// SAFETY: only the main thread notes, and reads, what is in it.
unsafe impl Sync for Noted {}

static NOTED: Noted = Noted {
    count: AtomicU32::new(0),
    _unused: 0,
    functions: UnsafeCell::new([0; MOST]),
};

/// What the import table led to for the function that takes packets.
static DEQUEUE: AtomicUsize = AtomicUsize::new(0);
/// How many packets its last call took.
static PACKETS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];

const DEQUEUE_NAME: &str = "GetQueuedCompletionStatusEx";

/// The functions that are noted, by their index.
pub struct Imports {
    names: Vec<String>,
}

impl Imports {
    /// From now on the calls of this thread are noted.
    ///
    /// # Safety
    ///
    /// No other thread runs.
    pub unsafe fn watch() -> Imports {
        // SAFETY: takes nothing; null stands for this program.
        let (thread, base) = unsafe { (GetCurrentThreadId(), GetModuleHandleW(ptr::null())) };
        let mut names = Vec::new();
        let mut code = Code::new();
        // SAFETY: the loader has put this program there.
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
            // SAFETY: as above, and no other thread calls it; the page is made writable first, and is
            // as it was in the end.
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

    /// What is called meanwhile, in order.
    pub fn of<R>(&self, work: impl FnOnce() -> R) -> (R, Vec<String>) {
        NOTED.count.store(0, Ordering::Relaxed);
        let result = work();
        let count = NOTED.count.load(Ordering::Relaxed) as usize;
        assert!(count <= MOST, "more calls than there is room for");
        // SAFETY: this thread, which alone writes to it, is here.
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

/// Stands for the function that takes packets off a port, and notes how many it took.
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
    // It was noted last.
    let at = (NOTED.count.load(Ordering::Relaxed) as usize).saturating_sub(1);
    // SAFETY: the import table led to it, under the name of the function of this type; and its
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

/// The functions that a program imports from the system and that are worth noting, each with its entry
/// in the import table.
///
/// # Safety
///
/// A program for Windows of 64 bits lies there, as the loader has put it.
unsafe fn entries(base: *const u8) -> Vec<(String, *mut usize)> {
    /// Of `IMAGE_DOS_HEADER`.
    const HEADERS: usize = 0x3c;
    /// Of the second of `IMAGE_DATA_DIRECTORY`, from the headers on.
    const IMPORTS: usize = 24 + 112 + 8;
    const BY_NUMBER: u64 = 1 << 63;

    /// `IMAGE_IMPORT_DESCRIPTOR`.
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
    /// A `T` lies there, as far behind the base.
    unsafe fn read<T: Copy>(base: *const u8, at: usize) -> T {
        // SAFETY: as the caller says.
        unsafe { base.add(at).cast::<T>().read_unaligned() }
    }

    /// # Safety
    ///
    /// A string that ends with a zero lies there, as far behind the base.
    unsafe fn text(base: *const u8, at: usize) -> String {
        // SAFETY: as the caller says.
        let text = unsafe { CStr::from_ptr(base.add(at).cast()) };
        text.to_string_lossy().into_owned()
    }

    let mut found = Vec::new();
    // SAFETY: this is how the loader lays such a program out: lists that end with zeros, of addresses
    // that are relative to the base.
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
                    // Behind a hint of two bytes.
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
        // SAFETY: new memory, wherever there is some.
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

    /// The address of a copy.
    fn add(&mut self, instructions: &[u8]) -> usize {
        assert!(instructions.len() <= self.left, "too many functions");
        let start = self.next;
        // SAFETY: there is room for as many bytes, and nobody uses them yet.
        unsafe {
            ptr::copy_nonoverlapping(instructions.as_ptr(), start, instructions.len());
            self.next = start.add(instructions.len());
        }
        self.left -= instructions.len();
        start as usize
    }
}

/// The instructions that note a function, if this thread calls it, and jump to it. `r10` and `r11` are
/// nobody's at the beginning of a function.
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
        // jae behind the next one
        &[0x73, 8],
        // mov word [r10 + 2 * r11 + 8], function
        &[0x66, 0x43, 0xC7, 0x44, 0x5A, 8],
        &function.to_le_bytes(),
    ]
    .concat();
    [
        // mov r11d, gs:[0x48], the number of this thread
        &[0x65, 0x44, 0x8B, 0x1C, 0x25, 0x48, 0, 0, 0][..],
        // cmp r11d, thread
        &[0x41, 0x81, 0xFB],
        &thread.to_le_bytes(),
        // jne behind the note
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
