//! A model of the BSDs' kqueue on Linux, so that tests can run mio's kqueue backend without a BSD.
//!
//! The crate exports the C symbols `kqueue` and `kevent`, with macOS' `struct kevent` (see
//! [`abi`]). A program that declares them only needs to be linked with it:
//!
//! ```
//! extern crate kqueue_model as _;
//! ```
//!
//! It also exports `close`, `dup2` and `dup3`, which replace the C library's functions: a BSD's
//! kernel removes the registrations of a descriptor when it is closed. The standard library closes
//! its descriptors through them. While no kqueue is open, they do nothing more than the C
//! library's. For one switch (`KQUEUE_MODEL_NETBSD`) it replaces `write`, `sendto` and `poll` as well.
//!
//! # What it is modelled on
//!
//! `netbsd.txt` has the answers of a NetBSD kernel in some 70 experiments. `tests/questions.rs`
//! repeats them on the model. The numbers of filters and flags are FreeBSD's. So are the features
//! which NetBSD lacked at that time: `EVFILT_USER`, and the repair of `EV_DISPATCH`.
//!
//! Two traps of `EVFILT_USER` are FreeBSD's, from its source: a change that adds a knote does not
//! trigger it, and a change with `EV_CLEAR` clears the trigger.
//!
//! There are filters for reading, writing and user events, and the one for processes (`EVFILT_PROC`) with
//! `NOTE_EXIT` alone, modelled on the manual pages and not on answers of a kernel. Its event is one-shot, with
//! `EV_EOF`; `data`, the status, is not modelled. Those for asynchronous operations
//! (`EVFILT_AIO`, `EVFILT_LIO`) report the operations that are completed by
//! `kqueue_model_complete`, an addition of this crate. All other filters are refused with `EINVAL`.
//!
//! A forked child has no kqueue: its descriptors are closed there, as on a BSD.
//!
//! # What it can and cannot show
//!
//! It shows whether a program makes the right calls, handles everything that a kernel may answer,
//! and loses no edge. It cannot show:
//!
//! - which error number a real kernel has in `fflags`: `SO_ERROR` is never read, so the number is a
//!   constant;
//! - how the sockets of a BSD behave: these are Linux's. They differ in what `accept` passes on, in
//!   what a shutdown discards, and in when there is capacity again;
//! - how a real kernel schedules, or what is fast;
//! - all events of a BSD. Linux does not report that a connection was accepted, that the end of a
//!   pipe was reached, or that a buffer that was never full was read. Nor does it report the growth
//!   of a file: a file is checked when it is registered;
//! - the capacity for writing: `data` is a constant.
//!
//! It may report two events that a BSD does not report: one for writing after each datagram that
//! was sent, and one for writing together with the end of a TCP peer, if data was written since the
//! last event for writing.
//!
//! One event may be missing: if the peer of a Unix stream reads everything that filled the socket,
//! *and then* shuts down its write side, both since the last call of `kevent`, this looks like the
//! shutdown alone, which is no event for writing. (`KQUEUE_MODEL_NOISY` makes it one.)
//!
//! The model does not see a close that bypasses the three functions: `close_range`, `fclose`, a raw
//! system call. Nor does it see a fork by a raw system call.
//!
//! # Switches
//!
//! Environment variables, which each call of `kqueue` reads. (The additional events of
//! `KQUEUE_MODEL_NOISY` wake no thread: they appear when `kevent` is called, or woken by something
//! else.)
//!
//! | variable | meaning |
//! |---|---|
//! | `KQUEUE_MODEL_NOISY=1` | events for writing also after any action or read of the other side, while there is capacity, as on FreeBSD and macOS, and on NetBSD for pipes |
//! | `KQUEUE_MODEL_NOBODY_READS=EBADF` | the error for registering a pipe without a reader is that of NetBSD, instead of `EPIPE` |
//! | `KQUEUE_MODEL_WRITING_TO_RECEIVERS=refused` | registering the receiving end of a pipe for writing fails in the same way when no sender is left, according to the sources of older XNU (10.14) and NetBSD. This was not tried on a kernel. With a sender it has no events (Q44), where older XNU has events while there is capacity |
//! | `KQUEUE_MODEL_WRITING_TO_RECEIVERS=reported` | it has an event with `EV_EOF` when the last sender closes, according to the source of newer XNU (from 10.15 on) |
//! | `KQUEUE_MODEL_MAX_USER=n` | `ENOMEM` for another `EVFILT_USER` when a kqueue has this many. According to OpenBSD's source, its limit is for all kqueues of a process |
//! | `KQUEUE_MODEL_WITHOUT_USER=1` | no `EVFILT_USER`, as on old NetBSD and OpenBSD |
//! | `KQUEUE_MODEL_NETBSD=1` | what a NetBSD kernel answered to mio's own tests: timeouts are ticks of 10 ms, rounded up, and one more; a full pipe whose last reader closes has no event, until it is registered again; a FIFO with a name always has `EV_EOF` for writing; a Unix datagram socket whose peer is full fails to send with `ENOBUFS`, and has no event when there is room again; poll(2) reports no error or hang-up of a socket, and others of a pipe (`poll.rs` has the table). Read once, by the first of these calls |
//! | `KQUEUE_MODEL_ZOMBIES=1` | a process that has exited and was not waited for can be watched, and is reported at once, as on FreeBSD; otherwise it is `ESRCH`, as on macOS |
//! | `KQUEUE_MODEL_FFLAGS=n` | the constant for a socket's error in `fflags`, instead of `ECONNRESET` |
//!
//! # Failures
//!
//! [`observe`] names a function that is told of each call, and of each change of a call, and may have it
//! fail with any error. [`registrations`] counts what is registered, to see that a failure leaves nothing.
//!
//! # Another library in its place
//!
//! If the crate is built with `MIO_KQUEUE_LIBRARY` set to the path of a shared library, such as
//! libkqueue's, it links that library. It then exports `kqueue_model_complete` alone, which fails with
//! `ENOSYS`. If the library is outside of the loader's folders, `LD_LIBRARY_PATH` must contain its folder
//! when tests run.
//!
//! # How it works
//!
//! The first comment of `queue.rs` explains it: two edge-triggered epoll instances in a
//! level-triggered one, which is the kqueue's descriptor. `knotes.rs` is the table, `descriptor.rs`
//! has the conditions, `wait.rs` the call, and `model.rs` all kqueues of the process, the lock, and
//! forks.

pub mod abi;

#[cfg(not(kqueue_library))]
mod descriptor;
#[cfg(not(kqueue_library))]
mod exports;
#[cfg(not(kqueue_library))]
mod knotes;
#[cfg(not(kqueue_library))]
mod model;
#[cfg(kqueue_library)]
mod no_exports;
mod observer;
#[cfg(not(kqueue_library))]
mod os;
#[cfg(not(kqueue_library))]
mod poll;
#[cfg(not(kqueue_library))]
mod queue;
#[cfg(not(kqueue_library))]
mod wait;

#[cfg(not(kqueue_library))]
pub use exports::{kevent, kqueue, kqueue_model_complete, registrations};
#[cfg(kqueue_library)]
pub use no_exports::{kqueue_model_complete, registrations};
pub use observer::{observe, Call, Observer};
#[cfg(not(kqueue_library))]
pub use poll::poll;
