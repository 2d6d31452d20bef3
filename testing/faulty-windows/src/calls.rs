//! The functions of the system that fail, each with its errors, and what stands in their place.
//!
//! What is counted, and fails, is what the watched thread calls within [`watched`]; the rest passes. The
//! errors are those that the functions' pages name (NTSTATUS for those of ntdll), and for want of
//! resources those with which the kernel says so.

use std::collections::BTreeSet;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::Mutex;

use windows_sys::Win32::Foundation::{SetLastError, *};
use windows_sys::Win32::Networking::WinSock::{WSASetLastError, *};
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

use crate::imports;

/// The N-th call of an operation, counted from one, and the error that it fails with.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Failure {
    pub number: usize,
    pub call: Call,
    pub error: i32,
}

/// What one operation makes at most.
const MOST_CALLS: usize = 64;

/// How many calls of one run may fail.
pub const MOST_FAILURES: usize = 2;

/// Sequentially consistent, all of them: they are few.
static WATCHED_THREAD: AtomicU32 = AtomicU32::new(0);
static IS_WATCHED: AtomicBool = AtomicBool::new(false);
static MADE: AtomicUsize = AtomicUsize::new(0);
static CALLS: [AtomicUsize; MOST_CALLS] = [const { AtomicUsize::new(0) }; MOST_CALLS];
static INJECTED: AtomicUsize = AtomicUsize::new(0);
/// Numbers, calls and errors; the number 0 is none.
static PLAN: [(AtomicUsize, AtomicUsize, AtomicI32); MOST_FAILURES] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0), AtomicI32::new(0)) }; MOST_FAILURES];
/// Waits for packets that other threads have begun.
static WAITS_OF_OTHERS: AtomicUsize = AtomicUsize::new(0);

/// Begins a run in which these fail.
pub fn begin(plan: &[Failure]) {
    // SAFETY: takes nothing.
    WATCHED_THREAD.store(unsafe { GetCurrentThreadId() }, Ordering::SeqCst);
    MADE.store(0, Ordering::SeqCst);
    INJECTED.store(0, Ordering::SeqCst);
    WAITS_OF_OTHERS.store(0, Ordering::SeqCst);
    for (index, (number, call, error)) in PLAN.iter().enumerate() {
        let failure = plan.get(index);
        number.store(
            failure.map_or(0, |failure| failure.number),
            Ordering::SeqCst,
        );
        call.store(
            failure.map_or(0, |failure| failure.call as usize),
            Ordering::SeqCst,
        );
        error.store(failure.map_or(0, |failure| failure.error), Ordering::SeqCst);
    }
}

/// Runs one operation, whose calls are counted.
pub fn watched<R>(operation: impl FnOnce() -> R) -> R {
    IS_WATCHED.store(true, Ordering::SeqCst);
    let result = operation();
    IS_WATCHED.store(false, Ordering::SeqCst);
    result
}

/// From now on everything passes.
pub fn stop_failing() {
    IS_WATCHED.store(false, Ordering::SeqCst);
}

/// The calls that were made within `watched`, in order.
pub fn made() -> Vec<Call> {
    let made = MADE.load(Ordering::SeqCst);
    assert!(made <= MOST_CALLS, "{made} calls");
    let calls = CALLS[..made].iter();
    calls
        .map(|call| Call::ALL[call.load(Ordering::SeqCst)])
        .collect()
}

/// How many calls were made to fail.
pub fn injected() -> usize {
    INJECTED.load(Ordering::SeqCst)
}

pub fn waits_of_others() -> usize {
    WAITS_OF_OTHERS.load(Ordering::SeqCst)
}

/// The error that this call is to fail with.
fn next(call: Call) -> Option<i32> {
    // SAFETY: takes nothing.
    if unsafe { GetCurrentThreadId() } != WATCHED_THREAD.load(Ordering::SeqCst) {
        if call == Call::GetQueuedCompletionStatusEx {
            WAITS_OF_OTHERS.fetch_add(1, Ordering::SeqCst);
        }
        return None;
    }
    if !IS_WATCHED.load(Ordering::SeqCst) {
        return None;
    }
    let made = MADE.fetch_add(1, Ordering::SeqCst);
    if let Some(slot) = CALLS.get(made) {
        slot.store(call as usize, Ordering::SeqCst);
    }
    let mut plan = PLAN.iter();
    let (.., error) = plan.find(|(number, planned, _)| {
        number.load(Ordering::SeqCst) == made + 1 && planned.load(Ordering::SeqCst) == call as usize
    })?;
    INJECTED.fetch_add(1, Ordering::SeqCst);
    Some(error.load(Ordering::SeqCst))
}

/// How a function says that it has failed: by its NTSTATUS; by 0 or all bits (of 32 or of 64), with the
/// thread's last error; by -1 or all bits, with Winsock's last error.
macro_rules! failing {
    (status, $error:ident) => {
        $error
    };
    (zero, $error:ident) => {{
        // SAFETY: takes a number.
        unsafe { SetLastError($error as u32) };
        0
    }};
    (failed, $error:ident) => {{
        // SAFETY: takes a number.
        unsafe { SetLastError($error as u32) };
        u32::MAX
    }};
    (invalid, $error:ident) => {{
        // SAFETY: takes a number.
        unsafe { SetLastError($error as u32) };
        usize::MAX
    }};
    (socket, $error:ident) => {{
        // SAFETY: takes a number.
        unsafe { WSASetLastError($error) };
        -1
    }};
    (no_socket, $error:ident) => {{
        // SAFETY: takes a number.
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

        /// What the import table led to.
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
}

impl Call {
    /// Whether the call is made all the same where it fails.
    fn happens_although_it_fails(self) -> bool {
        // A handle is closed. A connection is on its way, or its end is.
        [Call::CloseHandle, Call::closesocket, Call::connect].contains(&self)
    }
}

/// The handles that these functions have opened. (Wine does not count a process's handles.)
static OPEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// How many are open.
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
            Call::NtCreateFile if result >= 0 => unsafe { (first as *const isize).read() },
            Call::WSASocketW | Call::accept | Call::CreateNamedPipeW => result,
            Call::CloseHandle | Call::closesocket => {
                OPEN.lock().unwrap().remove(&first);
                return;
            }
            _ => NONE,
        };
        if opened != NONE {
            OPEN.lock().unwrap().insert(opened as usize);
        }
    }
}

/// From now on the program's calls are counted.
///
/// # Safety
///
/// No other thread runs.
pub unsafe fn replace() {
    for (name, entry) in imports::all() {
        let Some(&call) = Call::ALL.iter().find(|call| call.name() == name) else {
            continue;
        };
        ORIGINALS[call as usize].store(entry.function(), Ordering::SeqCst);
        // SAFETY: of the type of the function, by its name; and no other thread runs.
        unsafe { entry.replace(call.replacement()) };
    }
}
