//! Windows: the import table of this program leads to functions of its own, which call those of the
//! system, or fail. So the calls of mio, the standard library and socket2 count, and the calls that the
//! system's libraries make among themselves do not. The crate is the one that ships.
//!
//! All runs are in one process, one after the other.

mod calls;
mod imports;
mod operations;
mod timer_packets;

use std::net;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Backend, Poll};
use windows_sys::Win32::Foundation::{
    RtlNtStatusToDosError, STATUS_INVALID_HANDLE, STATUS_NOT_FOUND,
};
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

use crate::memory;
use crate::operation::{Expected, Operation};
use crate::record::{self, patience, Failure};
use crate::steps::any_port;

pub use calls::Call;
pub use operations::all as operations;

pub type Stream = TcpStream;
pub type Peer = net::TcpStream;

/// The text of the last panic.
static SAID: Mutex<String> = Mutex::new(String::new());

/// What runs now, and since when.
static CURRENT: Mutex<Option<(String, Instant)>> = Mutex::new(None);

/// Whether `watch` runs.
static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

/// Before all runs.
pub fn prepare() -> Result<(), String> {
    // SAFETY: no other thread runs yet.
    unsafe { calls::replace() };
    panic::set_hook(Box::new(|panic| {
        record::stop_failing();
        let mut said = SAID.lock().unwrap();
        if said.is_empty() {
            *said = panic.to_string().replace('\n', " ");
        }
    }));
    let limit = patience() * 4;
    thread::spawn(move || {
        // What its start has allocated is freed by now.
        HAS_BEGUN.store(true, Ordering::SeqCst);
        watch(limit);
    });
    while !HAS_BEGUN.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    println!("running the operations");
    Ok(())
}

/// Ends the process when a run takes longer than this. Until then it allocates nothing and opens no handle, which the
/// runs would count: `thread::sleep` opens a timer each time, and `patience` reads the environment.
fn watch(limit: Duration) {
    loop {
        thread::park_timeout(Duration::from_secs(1));
        if let Some((name, since)) = &*CURRENT.lock().unwrap() {
            if since.elapsed() > limit {
                println!("FAILED: {name}it hangs");
                process::exit(1);
            }
        }
    }
}

/// Runs the operation with the plan. Returns the calls that it made.
pub fn run(
    backend: Backend,
    operation: &Operation,
    plan: &[Failure],
    expected: Expected,
) -> Result<Vec<Call>, String> {
    let name = format!("{}: {}", operation.name, crate::described(plan));
    *CURRENT.lock().unwrap() = Some((name, Instant::now()));
    SAID.lock().unwrap().clear();
    let run = |plan: &[Failure], expected| {
        let run = AssertUnwindSafe(|| (operation.run)(backend, plan, expected));
        panic::catch_unwind(run).map_err(|_| SAID.lock().unwrap().clone())
    };
    if plan.is_empty() {
        // The first run creates objects that are kept.
        run(&[], Expected::Success)?;
    }
    let (handles, bytes) = (calls::handles(), memory::in_use());
    run(plan, expected)?;
    let (handles_after, bytes_after) = (calls::handles(), memory::in_use());
    let made = record::calls();
    if handles_after > handles || bytes_after != bytes {
        let handles = handles_after as isize - handles as isize;
        let bytes = bytes_after - bytes;
        return Err(format!(
            "{handles} handles and {bytes} bytes more are in use"
        ));
    }
    Ok(made)
}

pub fn code_of(call: Call) -> i64 {
    call as i64
}

pub fn call_of(code: i64) -> Call {
    Call::ALL[code as usize]
}

pub fn name_of(call: Call) -> String {
    call.name().to_owned()
}

pub fn errors_of(call: Call) -> Option<Vec<i32>> {
    Some(call.errors().iter().map(|&(error, _)| error).collect())
}

pub fn name_of_error(call: Call, error: i32) -> String {
    let mut errors = call.errors().iter();
    let known = errors.find(|(known, _)| *known == error);
    known.expect("the call has this error").1.to_owned()
}

/// No call is a part of another one.
pub fn is_part(_: Call) -> bool {
    false
}

pub fn this_thread() -> u32 {
    // SAFETY: the function has no preconditions.
    unsafe { GetCurrentThreadId() }
}

pub fn pair() -> (Stream, Peer) {
    let listener = net::TcpListener::bind(any_port()).unwrap();
    let stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream), peer)
}

pub fn has_data(stream: &Stream) -> bool {
    stream.peek(&mut [0]).is_ok()
}

/// The driver does not tell.
pub fn registrations(_: Backend, _: &Poll) -> Option<usize> {
    None
}

/// The answer to a failed call, unless the operation has its own.
pub fn expected(failure: Failure, _registers: bool) -> Expected {
    match failure.call {
        // A drop cannot return an error.
        Call::CloseHandle | Call::closesocket => Expected::Success,
        Call::NtDeviceIoControlFile if failure.error == STATUS_INVALID_HANDLE => {
            Expected::LeftOut("that says that an open socket is closed")
        }
        // It becomes an event of the socket.
        Call::NtDeviceIoControlFile => Expected::Success,
        // It becomes an event of the pipe, and the next read returns it.
        Call::ReadFile => Expected::Success,
        // The port's own timeouts end a wait.
        Call::CreateWaitableTimerExW
        | Call::SetWaitableTimer
        | Call::NtCreateWaitCompletionPacket
        | Call::NtAssociateWaitCompletionPacket
        | Call::NtCancelWaitCompletionPacket => Expected::Success,
        // Without these answers the crate only knows less.
        Call::GetNamedPipeInfo | Call::PeekNamedPipe => Expected::Success,
        Call::NtCancelIoFileEx if failure.error == STATUS_NOT_FOUND => Expected::LeftOut(
            "that says that a poll has ended which goes on: its packet would be awaited",
        ),
        call if call.has_status() => {
            // SAFETY: the function has no preconditions.
            let error = unsafe { RtlNtStatusToDosError(failure.error) };
            Expected::Error(error as i32)
        }
        _ => Expected::Error(failure.error),
    }
}
