//! One run, in a process of its own, because it may hang, die, or change the process.

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic;
use std::time::Instant;

use libc::{c_int, c_long};
use mio::Backend;

use super::supervisor;
use crate::memory;
use crate::operation::{Expected, Operation};
use crate::record::{self, patience, Failure};

/// Runs the operation with the plan. Returns the calls that it made.
pub fn run(
    backend: Backend,
    operation: &Operation,
    plan: &[Failure],
    expected: Expected,
) -> Result<Vec<c_long>, String> {
    let (receiver, sender) = std::io::pipe().expect("a pipe");
    // SAFETY: there is one thread, so the child may do whatever this process may do.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        drop(receiver);
        report(sender.into(), backend, operation, plan, expected);
    }
    drop(sender);
    let (said, is_late) = read_until_closed(&receiver.into(), child);
    let mut status: c_int = 0;
    // SAFETY: the call writes one number.
    let ended = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(ended, child);

    let (calls, what) = said.split_once('\n').unwrap_or_default();
    let calls = calls.split_whitespace();
    let calls = calls.map(|call| call.parse().expect("a number"));
    let what = match (is_late, status) {
        (true, _) => format!("it hangs {what}"),
        (false, 0) => return Ok(calls.collect()),
        (false, _) if libc::WIFSIGNALED(status) => {
            format!("it is killed by signal {} {what}", libc::WTERMSIG(status))
        }
        (false, _) => what.to_owned(),
    };
    Err(what.replace('\n', " "))
}

/// The child's output, and whether it was killed because it took too long.
fn read_until_closed(from: &OwnedFd, child: c_int) -> (String, bool) {
    let deadline = Instant::now() + patience() * 4;
    let mut said = Vec::new();
    let mut file = fs::File::from(from.try_clone().expect("a duplicate"));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut entry = libc::pollfd {
            fd: from.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `entry` is one valid `pollfd`, and the count is 1.
        if unsafe { libc::poll(&mut entry, 1, left.as_millis() as c_int) } == 0 {
            // SAFETY: it is a child of this process, which has not waited for it yet.
            unsafe { libc::kill(child, libc::SIGKILL) };
            return (String::from_utf8_lossy(&said).into_owned(), true);
        }
        let mut buffer = [0; 4096];
        match file.read(&mut buffer) {
            Ok(count @ 1..) => said.extend(&buffer[..count]),
            _ => return (String::from_utf8_lossy(&said).into_owned(), false),
        }
    }
}

/// In the child: writes the calls in one line, and then the problems, if there are any.
fn report(
    to: OwnedFd,
    backend: Backend,
    operation: &Operation,
    plan: &[Failure],
    expected: Expected,
) -> ! {
    let to: &'static OwnedFd = Box::leak(Box::new(to));
    // In any thread: the others may wait for ever.
    panic::set_hook(Box::new(move |panic| {
        record::stop_failing();
        end(to, &panic.to_string(), 1);
    }));
    // SAFETY: this process ends in this function, and drops nothing before.
    let operation: &'static Operation = unsafe { &*(operation as *const Operation) };
    let supervised = |plan: &[Failure], expected| {
        let planned = plan.to_vec();
        let work = move || (operation.run)(backend, &planned, expected);
        let supervised = supervisor::supervise(work);
        let ended = supervised.expect("calls can be stopped");
        ended.expect("it does not panic");
    };
    // The first run creates objects that are kept.
    supervised(&[], Expected::Success);
    let descriptors_before = descriptors();
    let bytes_before = memory::in_use();
    supervised(plan, expected);
    let bytes = memory::in_use();
    assert_eq!(
        descriptors(),
        descriptors_before,
        "descriptors, before on the right"
    );
    assert_eq!(bytes, bytes_before, "bytes in use, before on the right");
    end(to, "", 0)
}

/// Ends this process.
fn end(to: &OwnedFd, what: &str, status: c_int) -> ! {
    let calls: Vec<String> = record::calls().iter().map(c_long::to_string).collect();
    let said = calls.join(" ") + "\n" + what;
    // SAFETY: the kernel reads as many bytes as there are. `_exit` ends the process, and runs no
    // code of the parent's a second time.
    unsafe {
        libc::write(to.as_raw_fd(), said.as_ptr().cast(), said.len());
        libc::_exit(status)
    }
}

/// The descriptors of this process, without the one that lists them.
fn descriptors() -> Vec<String> {
    let list = fs::read_dir("/proc/self/fd").expect("/proc");
    let names = list.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
