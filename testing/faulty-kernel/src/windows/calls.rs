//! The functions of the system that fail, each with its errors, and the functions that replace them.
//!
//! The errors are those that the functions' pages name (NTSTATUS for those of ntdll), and those of a kernel
//! that lacks resources.

use std::ffi::{c_char, CStr};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use windows_sys::Win32::Foundation::{SetLastError, *};
use windows_sys::Win32::Networking::WinSock::{WSASetLastError, *};

use super::{imports, this_thread, timer_packets};
use crate::record;

/// Counts a call. Returns the error that it is to fail with.
fn next(call: Call) -> Option<i32> {
    let thread = this_thread();
    if !record::is_watched_thread(thread) && call == Call::GetQueuedCompletionStatusEx {
        record::count_wait_of_another();
    }
    match record::counts(thread) {
        true => record::count(call),
        false => None,
    }
}

/// How a function returns a failure: as an NTSTATUS; as 0 or all bits (of 32 or of 64), with the thread's
/// last error; as -1 or all bits, with Winsock's last error.
macro_rules! failing {
    (status, $error:ident) => {
        $error
    };
    (zero, $error:ident) => {{
        // SAFETY: the function has no preconditions.
        unsafe { SetLastError($error as u32) };
        0
    }};
    (failed, $error:ident) => {{
        // SAFETY: the function has no preconditions.
        unsafe { SetLastError($error as u32) };
        u32::MAX
    }};
    (invalid, $error:ident) => {{
        // SAFETY: the function has no preconditions.
        unsafe { SetLastError($error as u32) };
        usize::MAX
    }};
    (socket, $error:ident) => {{
        // SAFETY: the function has no preconditions.
        unsafe { WSASetLastError($error) };
        -1
    }};
    (no_socket, $error:ident) => {{
        // SAFETY: the function has no preconditions.
        unsafe { WSASetLastError($error) };
        usize::MAX
    }};
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, $fails:ident, [$($error:ident)*];)*) => {
        #[derive(Debug, Copy, Clone, PartialEq, Eq)]
        #[allow(non_camel_case_types)] // the system's names
        pub enum Call { $($name),* }

        impl Call {
            pub const ALL: &'static [Call] = &[$(Call::$name),*];

            pub fn name(self) -> &'static str {
                match self { $(Call::$name => stringify!($name)),* }
            }

            /// Each with its name.
            pub fn errors(self) -> &'static [(i32, &'static str)] {
                match self { $(Call::$name => &[$(($error as i32, stringify!($error))),*]),* }
            }

            /// Whether its errors are NTSTATUS.
            pub fn has_status(self) -> bool {
                match self { $(Call::$name => stringify!($fails) == "status"),* }
            }

            fn replacement(self) -> usize {
                match self { $(Call::$name => replacements::$name as *const () as usize),* }
            }
        }

        /// The functions to which the import table led.
        static ORIGINALS: [AtomicUsize; Call::ALL.len()] =
            [const { AtomicUsize::new(0) }; Call::ALL.len()];

        #[allow(non_snake_case)]
        mod replacements {
            use super::*;

            $(pub unsafe extern "system" fn $name($($argument: $type),*) -> $result {
                type Function = unsafe extern "system" fn($($type),*) -> $result;
                let error = next(Call::$name);
                let happens = error.is_none_or(|_| Call::$name.happens_although_it_fails());
                let mut result = Default::default();
                if happens {
                    let original = ORIGINALS[Call::$name as usize].load(Ordering::SeqCst);
                    // SAFETY: the import table led to it, under the name of the function of this type;
                    // and its arguments are the caller's.
                    result = unsafe { mem::transmute::<usize, Function>(original)($($argument),*) };
                    let first = [$($argument as usize),*][0];
                    Call::$name.note_handle(first, result as isize);
                }
                match error {
                    None => result,
                    Some(error) => failing!($fails, error),
                }
            })*
        }
    };
}

calls! {
    CreateIoCompletionPort(file: usize, port: usize, key: usize, threads: u32) -> usize, zero,
        [ERROR_INVALID_PARAMETER ERROR_NOT_ENOUGH_MEMORY ERROR_NO_SYSTEM_RESOURCES];
    NtCreateFile(handle: usize, access: u32, attributes: usize, status: usize, size: usize, flags: u32, share: u32,
        disposition: u32, options: u32, ea: usize, ea_length: u32) -> i32, status,
        [STATUS_ACCESS_DENIED STATUS_INSUFFICIENT_RESOURCES STATUS_OBJECT_NAME_NOT_FOUND
        STATUS_TOO_MANY_OPENED_FILES];
    SetFileCompletionNotificationModes(file: usize, flags: u8) -> i32, zero,
        [ERROR_INVALID_PARAMETER ERROR_NOT_ENOUGH_MEMORY];
    NtDeviceIoControlFile(file: usize, event: usize, apc: usize, context: usize, status: usize, code: u32,
        input: usize, input_length: u32, output: usize, output_length: u32) -> i32, status,
        [STATUS_INSUFFICIENT_RESOURCES STATUS_INVALID_HANDLE STATUS_NO_MEMORY];
    NtCancelIoFileEx(file: usize, which: usize, status: usize) -> i32, status,
        [STATUS_NOT_FOUND STATUS_INSUFFICIENT_RESOURCES];
    GetQueuedCompletionStatusEx(port: usize, entries: usize, room: u32, count: usize, millis: u32, alertable: i32)
        -> i32, zero, [WAIT_TIMEOUT ERROR_INVALID_HANDLE ERROR_NOT_ENOUGH_MEMORY ERROR_ABANDONED_WAIT_0];
    PostQueuedCompletionStatus(port: usize, number: u32, key: usize, word: usize) -> i32, zero,
        [ERROR_INVALID_HANDLE ERROR_NOT_ENOUGH_MEMORY ERROR_NO_SYSTEM_RESOURCES];
    WSAIoctl(socket: usize, code: u32, input: usize, input_length: u32, output: usize, output_length: u32,
        returned: usize, overlapped: usize, routine: usize) -> i32, socket,
        [WSAEFAULT WSAEINVAL WSAENETDOWN WSAENOBUFS WSAENOTSOCK WSAEOPNOTSUPP];
    WSASocketW(family: i32, kind: i32, protocol: i32, info: usize, group: u32, flags: u32) -> usize, no_socket,
        [WSAEAFNOSUPPORT WSAEMFILE WSAENETDOWN WSAENOBUFS];
    ioctlsocket(socket: usize, command: i32, argument: usize) -> i32, socket,
        [WSAEFAULT WSAENETDOWN WSAENOTSOCK];
    bind(socket: usize, name: usize, length: i32) -> i32, socket,
        [WSAEACCES WSAEADDRINUSE WSAEADDRNOTAVAIL WSAENETDOWN WSAENOBUFS];
    listen(socket: usize, backlog: i32) -> i32, socket, [WSAEADDRINUSE WSAEMFILE WSAENETDOWN WSAENOBUFS];
    connect(socket: usize, name: usize, length: i32) -> i32, socket,
        [WSAEADDRINUSE WSAEADDRNOTAVAIL WSAECONNREFUSED WSAENETUNREACH WSAENOBUFS WSAETIMEDOUT WSAEWOULDBLOCK];
    accept(socket: usize, address: usize, length: usize) -> usize, no_socket,
        [WSAECONNRESET WSAEMFILE WSAENETDOWN WSAENOBUFS];
    SetHandleInformation(handle: usize, mask: u32, flags: u32) -> i32, zero, [ERROR_INVALID_HANDLE];
    recv(socket: usize, buffer: usize, length: i32, flags: i32) -> i32, socket,
        [WSAECONNABORTED WSAECONNRESET WSAEFAULT WSAENETDOWN WSAENETRESET WSAENOTCONN WSAETIMEDOUT];
    recvfrom(socket: usize, buffer: usize, length: i32, flags: i32, from: usize, from_length: usize) -> i32, socket,
        [WSAECONNRESET WSAEFAULT WSAENETDOWN WSAENETRESET];
    send(socket: usize, buffer: usize, length: i32, flags: i32) -> i32, socket,
        [WSAECONNABORTED WSAECONNRESET WSAENETDOWN WSAENETRESET WSAENOBUFS WSAENOTCONN];
    sendto(socket: usize, buffer: usize, length: i32, flags: i32, to: usize, to_length: i32) -> i32, socket,
        [WSAEACCES WSAECONNRESET WSAEHOSTUNREACH WSAEMSGSIZE WSAENETDOWN WSAENOBUFS];
    closesocket(socket: usize) -> i32, socket, [WSAENETDOWN];
    CloseHandle(handle: usize) -> i32, zero, [ERROR_INVALID_HANDLE];
    CreateNamedPipeW(name: usize, open: u32, mode: u32, instances: u32, output: u32, input: u32, timeout: u32,
        security: usize) -> usize, invalid, [ERROR_ACCESS_DENIED ERROR_INVALID_PARAMETER ERROR_PIPE_BUSY];
    ConnectNamedPipe(pipe: usize, overlapped: usize) -> i32, zero,
        [ERROR_INVALID_HANDLE ERROR_NOT_ENOUGH_MEMORY ERROR_NO_DATA];
    DisconnectNamedPipe(pipe: usize) -> i32, zero, [ERROR_INVALID_HANDLE];
    ReadFile(file: usize, buffer: usize, length: u32, read: usize, overlapped: usize) -> i32, zero,
        [ERROR_INVALID_USER_BUFFER ERROR_NOT_ENOUGH_MEMORY ERROR_NOT_ENOUGH_QUOTA ERROR_NO_SYSTEM_RESOURCES];
    WriteFile(file: usize, buffer: usize, length: u32, written: usize, overlapped: usize) -> i32, zero,
        [ERROR_INVALID_USER_BUFFER ERROR_NOT_ENOUGH_MEMORY ERROR_NOT_ENOUGH_QUOTA ERROR_NO_SYSTEM_RESOURCES];
    CancelIoEx(file: usize, overlapped: usize) -> i32, zero, [ERROR_NOT_ENOUGH_MEMORY ERROR_NOT_FOUND];
    PeekNamedPipe(pipe: usize, buffer: usize, length: u32, read: usize, available: usize, left: usize) -> i32, zero,
        [ERROR_ACCESS_DENIED ERROR_NOT_ENOUGH_MEMORY];
    GetNamedPipeInfo(pipe: usize, flags: usize, output: usize, input: usize, instances: usize) -> i32, zero,
        [ERROR_ACCESS_DENIED ERROR_NOT_ENOUGH_MEMORY];
    NtQueryObject(object: usize, class: i32, about: usize, length: u32, returned: usize) -> i32, status,
        [STATUS_ACCESS_DENIED STATUS_INSUFFICIENT_RESOURCES STATUS_INVALID_HANDLE];
    CreateThreadpoolWait(callback: usize, context: usize, environment: usize) -> usize, zero,
        [ERROR_NOT_ENOUGH_MEMORY ERROR_NO_SYSTEM_RESOURCES];
    WaitForSingleObject(object: usize, millis: u32) -> u32, failed, [ERROR_ACCESS_DENIED ERROR_INVALID_HANDLE];
    CreateWaitableTimerExW(security: usize, name: usize, flags: u32, access: u32) -> usize, zero,
        [ERROR_INVALID_PARAMETER ERROR_NOT_ENOUGH_MEMORY ERROR_NO_SYSTEM_RESOURCES];
    SetWaitableTimer(timer: usize, due: usize, period: i32, routine: usize, argument: usize, resume: i32) -> i32,
        zero, [ERROR_INVALID_HANDLE ERROR_NOT_ENOUGH_MEMORY];
    NtCreateWaitCompletionPacket(packet: usize, access: u32, attributes: usize) -> i32, status,
        [STATUS_ACCESS_DENIED STATUS_INSUFFICIENT_RESOURCES STATUS_NO_MEMORY];
    NtAssociateWaitCompletionPacket(packet: usize, port: usize, signalled: usize, key: usize, word: usize,
        completion: i32, number: usize, was_signalled: usize) -> i32, status,
        [STATUS_INVALID_HANDLE STATUS_INVALID_PARAMETER_1 STATUS_INSUFFICIENT_RESOURCES];
    NtCancelWaitCompletionPacket(packet: usize, remove: u8) -> i32, status,
        [STATUS_CANCELLED STATUS_INVALID_HANDLE STATUS_PENDING];
}

impl Call {
    fn of_name(name: &str) -> Option<Call> {
        Call::ALL.iter().copied().find(|call| call.name() == name)
    }

    /// Whether the call does its work even if it fails, and so is made before it fails.
    fn happens_although_it_fails(self) -> bool {
        // A handle is closed. A connect attempt continues.
        [Call::CloseHandle, Call::closesocket, Call::connect].contains(&self)
    }
}

/// What the import table led to.
static GET_PROC_ADDRESS: AtomicUsize = AtomicUsize::new(0);

/// `GetProcAddress`: how the crate finds functions that not every Windows has. Instead of those in the list of calls it
/// finds their replacements, also if the system lacks the functions and `timer_packets` has a substitute.
unsafe extern "system" fn get_proc_address(library: usize, name: usize) -> usize {
    type Function = unsafe extern "system" fn(usize, usize) -> usize;
    // A number in place of a name is smaller.
    const SMALLEST_ADDRESS: usize = 0x1_0000;

    let original = GET_PROC_ADDRESS.load(Ordering::SeqCst);
    // SAFETY: the import table led to it, under the name of the function of this type; and its arguments are the
    // caller's.
    let found = unsafe { mem::transmute::<usize, Function>(original)(library, name) };
    if name < SMALLEST_ADDRESS {
        return found;
    }
    // SAFETY: it is no number, so the caller guarantees that it is a string.
    let name = unsafe { CStr::from_ptr(name as *const c_char) };
    let call = name.to_str().ok().and_then(Call::of_name);
    let Some(call) = call else {
        return found;
    };
    let function = match (found, call) {
        (0, Call::NtCreateWaitCompletionPacket) => timer_packets::create as *const () as usize,
        (0, Call::NtAssociateWaitCompletionPacket) => {
            timer_packets::associate as *const () as usize
        }
        (0, Call::NtCancelWaitCompletionPacket) => timer_packets::cancel as *const () as usize,
        (0, _) => return 0,
        (found, _) => found,
    };
    ORIGINALS[call as usize].store(function, Ordering::SeqCst);
    call.replacement()
}

/// The handles that these functions have opened. (Wine does not count a process's handles.)
static OPEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// So that the list's own memory is always the same.
const MOST_HANDLES: usize = 1024;

/// The number of open handles.
pub fn handles() -> usize {
    OPEN.lock().unwrap().len()
}

impl Call {
    /// Notes the handle that it has opened or closed.
    fn note_handle(self, first: usize, result: isize) {
        const NONE: isize = -1;

        let opened = match self {
            // Of a new port. Otherwise the handle is the port's.
            Call::CreateIoCompletionPort if first as isize == NONE && result != 0 => result,
            // SAFETY: it has succeeded, and has written the handle to the address in its first argument.
            Call::NtCreateFile | Call::NtCreateWaitCompletionPacket if result >= 0 => unsafe {
                (first as *const isize).read()
            },
            Call::CreateWaitableTimerExW if result != 0 => result,
            Call::WSASocketW | Call::accept | Call::CreateNamedPipeW => result,
            Call::CloseHandle | Call::closesocket => {
                OPEN.lock().unwrap().retain(|&handle| handle != first);
                // An object that is closed queues nothing.
                timer_packets::end(first);
                return;
            }
            _ => NONE,
        };
        if opened != NONE {
            let mut open = OPEN.lock().unwrap();
            assert!(open.len() < MOST_HANDLES, "handles");
            open.push(opened as usize);
        }
    }
}

/// From now on the program's calls are counted.
///
/// # Safety
///
/// No other thread runs.
pub unsafe fn replace() {
    OPEN.lock().unwrap().reserve(MOST_HANDLES);
    for (name, entry) in imports::all() {
        if name == "GetProcAddress" {
            GET_PROC_ADDRESS.store(entry.function(), Ordering::SeqCst);
            // SAFETY: of the function's type; and no other thread runs.
            unsafe { entry.replace(get_proc_address as *const () as usize) };
        }
        let Some(call) = Call::of_name(&name) else {
            continue;
        };
        ORIGINALS[call as usize].store(entry.function(), Ordering::SeqCst);
        // SAFETY: of the type of the function, by its name; and no other thread runs.
        unsafe { entry.replace(call.replacement()) };
    }
}
