//! Unix: each run is a process of its own, whose system calls a supervisor lets pass one by one, and whose
//! calls of a model report themselves.

mod errors;
mod model;
mod operations;
mod process;
mod supervisor;

use std::os::fd::AsRawFd;
use std::os::unix::net;

use libc::c_long;
use mio::net::UnixStream;
use mio::{Backend, Poll};

use crate::operation::Expected;
use crate::record::Failure;
use model::number;

pub use errors::{is_part, name_of, of as errors_of};
pub use operations::all as operations;
pub use process::run;

/// The number of a system call, or of a model's call.
pub type Call = c_long;

pub type Stream = UnixStream;
pub type Peer = net::UnixStream;

/// Before all runs. Fails if the kernel or a sandbox does not allow this program to stop calls.
pub fn prepare() -> Result<(), String> {
    let supervised = supervisor::supervise(|| ());
    if let Err(error) = supervised {
        return Err(format!(
            "seccomp's user notifications are not available: {error}"
        ));
    }
    model::observe();
    Ok(())
}

pub fn code_of(call: Call) -> i64 {
    call
}

pub fn call_of(code: i64) -> Call {
    code
}

pub fn name_of_error(_: Call, error: i32) -> String {
    errors::name_of_error(error)
}

pub fn this_thread() -> u32 {
    // SAFETY: `gettid` has no arguments and no memory-safety preconditions.
    unsafe { libc::gettid() as u32 }
}

pub fn pair() -> (Stream, Peer) {
    let (stream, peer) = Peer::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    (Stream::from_std(stream), peer)
}

/// A Unix socket has the data when the peer's write returns.
pub fn has_data(_: &Stream) -> bool {
    true
}

/// How much is registered with the kernel of this poll, if a model can tell.
pub fn registrations(backend: Backend, poll: &Poll) -> Option<usize> {
    model::registrations(backend, poll.as_raw_fd())
}

pub const IS_OPEN: Expected = Expected::LeftOut("that says that an open descriptor is closed");

/// The answer to a failed call, unless the operation has its own. `registers`: the operation changes
/// registrations itself.
pub fn expected(failure: Failure, registers: bool) -> Expected {
    let error = failure.error;
    let waits_on_epoll =
        errors::waits(failure.call) && errors::name_of(failure.call).starts_with("epoll_");
    if waits_on_epoll && error == libc::EINVAL {
        // The descriptor is no epoll any more: the program has closed it, and another object has it.
        return Expected::Error(libc::EBADF);
    }
    match failure.call {
        // A pipe, and the older call.
        libc::SYS_eventfd2 | libc::SYS_epoll_pwait2 if errors::is_refusal(error) => {
            Expected::Success
        }
        // A drop cannot return an error.
        libc::SYS_close => Expected::Success,
        number::PORT_ASSOCIATE if !registers => match error {
            libc::EBADF | libc::EBADFD => IS_OPEN,
            // Probes replace the port.
            _ => Expected::Success,
        },
        number::PORT_DISSOCIATE if !registers => Expected::Success,
        number::PORT_GETN_COUNT if !registers => match error {
            libc::EBADF | libc::EBADFD => IS_OPEN,
            _ => Expected::Success,
        },
        _ => of_model(failure),
    }
}

/// The answer to a failed call of a model.
fn of_model(failure: Failure) -> Expected {
    match (failure.call, failure.error) {
        // Its changes have been made: they are made again.
        (number::KEVENT_CHANGES, libc::EINTR) => Expected::Success,
        // A waker's event: a descriptor replaces it.
        (number::ADD_USER, libc::EINVAL | libc::ENOMEM) => Expected::Success,
        // A missing filter need not be deleted. An existing one was deleted by the program.
        (number::DELETE_READ | number::DELETE_WRITE, libc::ENOENT) => Expected::Success,
        (number::DELETE_USER, _) => Expected::Success,
        // A port that would block is told apart from a port that is full.
        (number::PORT_ASSOCIATE, libc::EAGAIN) => Expected::Error(libc::ENOSPC),
        // The port, or the descriptor, is closed.
        (
            number::PORT_ASSOCIATE
            | number::PORT_ALERT
            | number::PORT_GETN
            | number::PORT_GETN_COUNT,
            libc::EBADFD,
        ) => Expected::Error(libc::EBADF),
        // The wait continues.
        (number::PORT_GETN, libc::ETIME) => Expected::Success,
        // Alert mode replaces it.
        (number::PORT_SEND, _) => Expected::Success,
        // The port is asked whether it is closed.
        (number::PORT_DISSOCIATE, libc::ENOENT | libc::EBADF | libc::EBADFD) => Expected::Success,
        (_, error) => Expected::Error(error),
    }
}
