//! Windows: sockets watched by the ancillary function driver (AFD), which Winsock
//! itself stands on, and everything queued on an I/O completion port.
//!
//! Each file has one owner of one thing:
//!
//! ```text
//! port.rs         the completion port: what Windows has finished, in order
//! device.rs       handles of the driver, to which polls are submitted
//! socket.rs       one socket: its armed set, and the memory that the driver owns
//! user_events.rs  wakers' events
//! selector.rs     the backend: registrations, and waiting
//! library.rs      functions that not every Windows has
//! named_pipe.rs   pipes: what they have read ahead, what is still to be written, and who takes packets
//! operation.rs    an operation of a pipe, the memory that the kernel owns, and the owner of a packet
//! wait_handle.rs  any handle that can be waited for: which signals were taken, and which were reported
//! noticed.rs      what a pipe or a handle in the selector's ready list has to report
//! timer.rs        waiting for less than a tick, where the system can
//! resume.rs       the end of a sleep of the whole machine
//! status.rs       what a call has returned
//! ```

mod device;
mod library;
#[cfg(feature = "os-ext")]
pub(crate) mod named_pipe;
#[cfg(feature = "os-ext")]
mod noticed;
#[cfg(feature = "os-ext")]
mod operation;
mod port;
mod resume;
mod selector;
mod socket;
mod status;
mod timer;
mod user_events;
#[cfg(feature = "os-ext")]
pub(crate) mod wait_handle;

use std::time::Duration;

pub(crate) use port::KernelEvent;
#[cfg(feature = "os-ext")]
pub(crate) use port::Port;
pub(crate) use selector::Afd;

/// How long to wait for the packets of cancelled operations, with which the kernel gives memory back.
/// What it has not given back by then is leaked.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for a packet, in milliseconds, before checking whether another thread has taken it.
const RETRY: u32 = 10;
