//! kqueue as the BSDs have it, modelled on Linux, so that mio's kqueue selector can run in tests
//! where there is no BSD.
//!
//! The crate exports the C symbols `kqueue` and `kevent`, with the `struct kevent` that macOS has
//! (see [`abi`]), so that a program which declares them itself needs only be linked with it:
//!
//! ```
//! extern crate kqueue_model as _;
//! ```
//!
//! It also exports `close`, `dup2` and `dup3`, in the place of the C library's, because a BSD's
//! kernel forgets what was registered for a number when the number is closed. The standard
//! library's descriptors are closed through them. With no kqueue open they do nothing more than
//! the C library's.
//!
//! # What it is modelled on
//!
//! `netbsd.txt` has the answers that a NetBSD kernel gave to some 70 questions; `tests/questions.rs`
//! puts the same ones to the model. Numbers of filters and flags are FreeBSD's, and so is what
//! NetBSD's kernel of that time had not: `EVFILT_USER`, and the repair of `EV_DISPATCH`.
//!
//! Two traps of `EVFILT_USER` are FreeBSD's, by its source: a change that adds a knote does not
//! trigger it, and one with `EV_CLEAR` takes the trigger back.
//!
//! There are the filters for reading, writing and the program's own events. Those for asynchronous
//! operations (`EVFILT_AIO`, `EVFILT_LIO`) report what `kqueue_model_complete`, an addition of this
//! crate, says is complete. All others are refused with `EINVAL`.
//!
//! A forked child has no kqueue: the numbers are closed there, as on a BSD.
//!
//! # What it can and cannot show
//!
//! It shows whether a program asks for the right things, copes with all that a kernel may answer,
//! and loses no edge. It cannot show
//!
//! - which error number a real kernel has in `fflags`: `SO_ERROR` is never taken to find out, so
//!   there is a stand-in;
//! - how the sockets of a BSD behave: these are Linux's. What `accept` hands down, what is lost by
//!   shutting a side, when there is room again, is not what it is there;
//! - how a real kernel schedules; and what is fast;
//! - all the events that a BSD has. Linux does not tell that a connection was accepted, that the
//!   end of a pipe was reached, or that something was read of what never filled up. Nor does it
//!   tell of a file that grows: a file is looked at when it is registered;
//! - how much room there is for writing: `data` is a constant.
//!
//! Events that a BSD does not have, but may have: one for writing after each datagram that was
//! sent, and one for writing beside the peer's end of a TCP connection, when something was written
//! since the last event for writing.
//!
//! One event may be missing: where the peer of a Unix stream reads all of what filled the socket,
//! *and then* shuts its write side, both since the last call of `kevent`, it looks like the latter
//! alone, which is no event for writing. (`KQUEUE_MODEL_NOISY` makes it one.)
//!
//! Closing is not seen where it does not pass through the three functions: `close_range`, `fclose`,
//! a raw system call. Nor is a fork that is a raw system call.
//!
//! # Switches
//!
//! Variables of the environment, read by each call of `kqueue`. (Noise wakes nobody: it is made when
//! `kevent` is called, or woken by something else.)
//!
//! | variable | meaning |
//! |---|---|
//! | `KQUEUE_MODEL_NOISY=1` | events for writing also when the other side does something, or has read, while there is room: as FreeBSD and macOS have, and NetBSD for pipes |
//! | `KQUEUE_MODEL_NOBODY_READS=EBADF` | the error for registering a pipe without a reader, as on NetBSD, in place of `EPIPE` |
//! | `KQUEUE_MODEL_WRITING_TO_RECEIVERS=refused` | registering the receiving end of a pipe for writing fails like that when no sender is left: older XNU (10.14), by its source, and NetBSD, by its source. Nobody has asked; with a sender it is silent (Q44), where older XNU has events while there is room |
//! | `KQUEUE_MODEL_WRITING_TO_RECEIVERS=reported` | it has an event with `EV_EOF` when the last sender goes: newer XNU (from 10.15 on), by its source |
//! | `KQUEUE_MODEL_MAX_USER=n` | `ENOMEM` for another `EVFILT_USER` when a kqueue has so many, as OpenBSD has it, by its source, for all kqueues of a process |
//! | `KQUEUE_MODEL_WITHOUT_USER=1` | no `EVFILT_USER`, as on old NetBSD and OpenBSD |
//! | `KQUEUE_MODEL_FFLAGS=n` | the stand-in for a socket's error in `fflags`, in place of `ECONNRESET` |
//!
//! # Another library in its place
//!
//! When the crate is built with `MIO_KQUEUE_LIBRARY` set to the path of a shared library, such as
//! libkqueue's, it exports nothing, and links that. Where the library is outside of the loader's
//! folders, `LD_LIBRARY_PATH` has to name its folder when tests run.
//!
//! # How it works
//!
//! `queue.rs` begins with it: two edge-triggered epoll instances in a level-triggered one, which is
//! the kqueue's descriptor. `knotes.rs` is the table, `descriptor.rs` the conditions, `wait.rs` the
//! call, `model.rs` all kqueues of the process, the lock, and forks.

pub mod abi;

#[cfg(not(kqueue_library))]
mod descriptor;
#[cfg(not(kqueue_library))]
mod exports;
#[cfg(not(kqueue_library))]
mod knotes;
#[cfg(not(kqueue_library))]
mod model;
#[cfg(not(kqueue_library))]
mod os;
#[cfg(not(kqueue_library))]
mod queue;
#[cfg(not(kqueue_library))]
mod wait;

#[cfg(not(kqueue_library))]
pub use exports::{kevent, kqueue, kqueue_model_complete};
