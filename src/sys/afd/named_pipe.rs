//! Named pipes, whose operations complete, and which have no readiness:
//! [Named Pipes](https://learn.microsoft.com/en-us/windows/win32/ipc/named-pipes).
//!
//! So a pipe reads ahead into a buffer of its own, is readable when there is something in
//! it, takes what is written into another one, and is writable when that is free. At most one
//! read, one write and one connect are in flight. The life of each of these operations:
//!
//! ```text
//! idle ── submit ──► in flight ── its packet ──► idle
//! ```
//!
//! A pipe that is about to be reported takes the outcome of what has ended before its packet, so that its event names
//! everything. The packet is stale then.
//!
//! **Memory.** What the kernel owns lies inside the pipe's `Arc`, of which it has a count meanwhile, and so
//! do the buffers: `operation.rs` begins with how.
//!
//! **Epochs.** Each `disconnect` begins another epoch, and the completion of an operation that was submitted
//! in an earlier one is stale.
//!
//! **Packets.** The queue whose port the pipe is associated with takes them, for life; when that queue is
//! gone, the pipe's own calls do; and when the pipe is gone as well, a thread, as long as a write is in
//! flight.
//!
//! **Locks.** The selector's, then the pipe's, then that of the port's [`Operations`]. So a pipe notifies its
//! queue only when it has released its own.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_PIPE, ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_MORE_DATA,
    ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_CONNECTED, ERROR_PIPE_LISTENING,
    ERROR_PIPE_NOT_CONNECTED, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    GetFileType, ReadFile, WriteFile, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED,
    FILE_TYPE_PIPE, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeInfo, PeekNamedPipe,
    PIPE_REJECT_REMOTE_CLIENTS, PIPE_SERVER_END, PIPE_TYPE_BYTE, PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES,
};

use super::super::Mistake;
use super::noticed::Noticed;
use super::operation::{Operation, Operations, Stage, Which};
use super::port::{KernelEvent, Kind, Port};
use super::status::bool_result;
use crate::event::readiness::Readiness;
use crate::event::Event;
use crate::stats::Counter;
use crate::{Interest, Token};

/// How much is read ahead, and how much of a stream one write takes: the system's default capacity.
const BUFFER: usize = 64 * 1024;

/// How much is read ahead from what is no pipe. A pipe's read returns what is there. A serial port's may
/// return only when the buffer is full, or after a pause: from a device that sends without a pause a program
/// would get nothing before a larger buffer is full.
const DEVICE_BUFFER: usize = 4 * 1024;

/// What a pipe needs of the queue that it is registered with.
pub(crate) trait PipeQueue: Send + Sync {
    /// The pipes that are associated with its port; `None` where the backend has no port.
    fn pipes(&self) -> Option<&Arc<Pipes>>;
    /// Reserves capacity for an event of each pipe.
    fn reserve_ready_list(&self);
    /// The pipe has something to report.
    fn notice(&self, pipe: &Arc<Pipe>);
    /// The number of registrations.
    fn registrations(&self) -> &Counter;
}

/// The pipes that are associated with one port. They share it with their queue, and outlive that.
pub(crate) struct Pipes {
    port: Arc<Port>,
    operations: Operations<Pipe>,
    /// The queue that took the packets is gone.
    is_orphaned: AtomicBool,
    /// A thread takes the packets of pipes that are gone: see `take_what_is_left`.
    has_taker: Mutex<bool>,
}

/// What a program holds of a pipe.
pub(crate) struct NamedPipe {
    pipe: Arc<Pipe>,
}

/// What the operations in flight share as well.
pub(crate) struct Pipe {
    /// The one in `state`.
    handle: Handle,
    state: Mutex<State>,
    connecting: Operation,
    reading: Operation,
    writing: Operation,
}

/// A handle, to be used only while it is open.
#[derive(Copy, Clone, Debug)]
struct Handle(RawHandle);

// SAFETY: the pointer is the number of a handle, which nothing dereferences, and every thread of the
// process may use a handle.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

struct State {
    /// Open until the pipe is dropped and no write is in flight.
    handle: Option<OwnedHandle>,
    is_dropped: bool,
    /// What the handle is associated with.
    home: Option<Home>,
    registration: Option<Registration>,
    /// What is still to be reported.
    unreported: Readiness,
    /// It is in the selector's ready list.
    is_noticed: bool,
    /// The `select` that has reported it last.
    reported_by: Option<u32>,
    is_connected: bool,
    /// A connect has completed, which is still to be reported, whatever the interest.
    has_ended_connect: bool,
    /// Each write is a message, or may be one: not to be cut.
    has_messages: bool,
    /// Counts the clients.
    epoch: u32,
    connect: Stage<Pipe>,
    /// To be connected when the connect of an earlier epoch has completed.
    connects_again: bool,
    read: Stage<Pipe>,
    /// What has been read: the part of `read_buffer` that is still to be taken.
    data: Option<(usize, usize)>,
    /// There is nothing more to read.
    read_end: Option<End>,
    read_buffer: Vec<u8>,
    write: Stage<Pipe>,
    write_buffer: Vec<u8>,
    written: usize,
    write_error: Option<io::Error>,
    /// Why connecting failed.
    error: Option<io::Error>,
}

struct Home {
    pipes: Arc<Pipes>,
    queue: Weak<dyn PipeQueue>,
}

#[derive(Copy, Clone)]
struct Registration {
    token: Token,
    interest: Interest,
    /// It is one-shot, and was reported.
    is_spent: bool,
}

enum End {
    /// The peer has closed its end.
    Peer,
    Failed(io::Error),
}

/// The directions of a pipe.
const READS: Readiness = Readiness::IN;
const WRITES: Readiness = Readiness::OUT;

/// How a server's end is made.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Options {
    pub(crate) first_instance: bool,
    pub(crate) reject_remote_clients: bool,
}

impl Options {
    /// Those of [`CreateNamedPipeW`] that are for the handle, and those for the pipe.
    fn modes(self) -> (u32, u32) {
        let mut open_mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
        if self.first_instance {
            open_mode |= FILE_FLAG_FIRST_PIPE_INSTANCE;
        }
        let mut pipe_mode = PIPE_TYPE_BYTE;
        if self.reject_remote_clients {
            pipe_mode |= PIPE_REJECT_REMOTE_CLIENTS;
        }
        (open_mode, pipe_mode)
    }
}

impl NamedPipe {
    /// A server's end, which takes bytes, both ways.
    pub(crate) fn new(name: &OsStr, options: Options) -> io::Result<NamedPipe> {
        let (open_mode, pipe_mode) = options.modes();
        let name: Vec<u16> = name.encode_wide().chain([0]).collect();
        // SAFETY: the call reads `name` up to its zero, which `chain` has put at its end. The attributes are
        // null, which stands for none: the handle is not inherited.
        let handle = unsafe {
            CreateNamedPipeW(
                name.as_ptr(),
                open_mode,
                pipe_mode,
                PIPE_UNLIMITED_INSTANCES,
                BUFFER as u32,
                BUFFER as u32,
                0,
                ptr::null(),
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened this handle, and nothing else owns it.
        Ok(NamedPipe::from_handle(unsafe {
            OwnedHandle::from_raw_handle(handle)
        }))
    }

    pub(crate) fn from_handle(handle: OwnedHandle) -> NamedPipe {
        NamedPipe {
            pipe: Arc::new(Pipe {
                handle: Handle(handle.as_raw_handle()),
                state: Mutex::new(State {
                    handle: Some(handle),
                    is_dropped: false,
                    home: None,
                    registration: None,
                    unreported: Readiness::NONE,
                    is_noticed: false,
                    reported_by: None,
                    is_connected: false,
                    has_ended_connect: false,
                    has_messages: false,
                    epoch: 0,
                    connect: Stage::Idle,
                    connects_again: false,
                    read: Stage::Idle,
                    data: None,
                    read_end: None,
                    read_buffer: Vec::new(),
                    write: Stage::Idle,
                    write_buffer: Vec::new(),
                    written: 0,
                    write_error: None,
                    error: None,
                }),
                connecting: Operation::new(),
                reading: Operation::new(),
                writing: Operation::new(),
            }),
        }
    }

    pub(crate) fn raw_handle(&self) -> RawHandle {
        self.pipe.raw()
    }

    /// Begins to wait for a client; `WouldBlock` until there is one.
    pub(crate) fn connect(&self) -> io::Result<()> {
        self.with(|pipe, state| {
            if state.home.is_none() {
                return (Err(never_registered()), Readiness::NONE);
            }
            if !state.connect.is_idle() {
                state.connects_again = state.connect.is_of_before(state.epoch);
                return (Err(io::ErrorKind::WouldBlock.into()), Readiness::NONE);
            }
            match pipe.submit_connect(state) {
                // One that was connected already is as ready as before.
                Ok(true) => {
                    let ready = pipe.is_used(state);
                    (Ok(()), ready)
                }
                Ok(false) => (Err(io::ErrorKind::WouldBlock.into()), Readiness::NONE),
                Err(error) => (Err(error), Readiness::NONE),
            }
        })
    }

    /// Disconnects the client. What it has not read is lost, and what it wrote is dropped.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        self.with(|pipe, state| {
            // SAFETY: the call accesses no memory of the process. The handle is open as long as its `NamedPipe`
            // exists, which is `self`.
            let disconnected = bool_result(unsafe { DisconnectNamedPipe(pipe.raw()) });
            if disconnected.is_ok() {
                // What is in flight ends with an error, which is stale for the next client.
                state.epoch = state.epoch.wrapping_add(1);
                state.is_connected = false;
                state.connects_again = false;
                state.data = None;
                state.read_end = None;
                state.write_error = None;
                state.error = None;
                state.has_ended_connect = false;
            }
            (disconnected, Readiness::NONE)
        })
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.with(|_, state| (state.error.take(), Readiness::NONE))
    }

    pub(crate) fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        self.with(|pipe, state| {
            if state.home.is_none() {
                return (Err(never_registered()), Readiness::NONE);
            }
            if state.data.is_none() && state.read_end.is_none() && state.read.is_idle() {
                if let Err(error) = pipe.submit_read(state) {
                    return (Err(error), Readiness::NONE);
                }
            }
            if let Some((start, end)) = state.data.take() {
                let taken = scatter(&state.read_buffer[start..end], buffers);
                if start + taken < end {
                    state.data = Some((start + taken, end));
                    return (Ok(taken), Readiness::NONE);
                }
                let ready = pipe.read_ahead(state);
                return (Ok(taken), ready);
            }
            let outcome = match &state.read_end {
                Some(End::Peer) => Ok(0),
                Some(End::Failed(_)) => match state.read_end.take() {
                    Some(End::Failed(error)) => Err(error),
                    _ => Ok(0),
                },
                None => Err(io::ErrorKind::WouldBlock.into()),
            };
            (outcome, Readiness::NONE)
        })
    }

    pub(crate) fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|pipe, state| {
            if let Some(error) = state.write_error.take() {
                return (Err(error), Readiness::NONE);
            }
            if state.home.is_none() {
                return (Err(never_registered()), Readiness::NONE);
            }
            if !state.write.is_idle() {
                return (Err(io::ErrorKind::WouldBlock.into()), Readiness::NONE);
            }
            let most = match state.has_messages {
                true => usize::MAX,
                false => BUFFER,
            };
            state.write_buffer.clear();
            for buffer in buffers {
                let room = most - state.write_buffer.len();
                let part = &buffer[..buffer.len().min(room)];
                state.write_buffer.extend_from_slice(part);
            }
            state.written = 0;
            let length = state.write_buffer.len();
            if length == 0 && !state.has_messages {
                return (Ok(0), Readiness::NONE);
            }
            match pipe.submit_write(state) {
                Ok(()) => (Ok(length), Readiness::NONE),
                // There is no client yet.
                Err(error) if is(&error, ERROR_PIPE_LISTENING) => {
                    (Err(io::ErrorKind::WouldBlock.into()), Readiness::NONE)
                }
                Err(error) => (Err(error), Readiness::NONE),
            }
        })
    }

    pub(crate) fn register<Q: PipeQueue + 'static>(
        &self,
        queue: &Arc<Q>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.with(|pipe, state| {
            if state.registration.is_some() && state.home_is_there() {
                return (Err(Mistake::AlreadyRegistered.into()), Readiness::NONE);
            }
            if let Err(error) = pipe.make_home(state, queue) {
                return (Err(error), Readiness::NONE);
            }
            let ready = pipe.begin(state, token, interest);
            (Ok(()), ready)
        })?;
        queue.registrations().add(1);
        queue.reserve_ready_list();
        Ok(())
    }

    pub(crate) fn reregister<Q: PipeQueue>(
        &self,
        queue: &Arc<Q>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.with(|pipe, state| {
            if state.registration.is_none() || !state.is_home(queue) {
                return (Err(Mistake::NotRegistered.into()), Readiness::NONE);
            }
            let ready = pipe.begin(state, token, interest);
            (Ok(()), ready)
        })
    }

    pub(crate) fn deregister<Q: PipeQueue>(&self, queue: &Arc<Q>) -> io::Result<()> {
        self.with(|_, state| {
            if !state.is_home(queue) || state.registration.take().is_none() {
                return (Err(Mistake::NotRegistered.into()), Readiness::NONE);
            }
            state.unreported = Readiness::NONE;
            queue.registrations().subtract_one();
            (Ok(()), Readiness::NONE)
        })
    }

    /// Calls `work` under the lock. If it returns that a direction is ready, the queue is notified after.
    fn with<R>(&self, work: impl FnOnce(&Arc<Pipe>, &mut State) -> (R, Readiness)) -> R {
        self.pipe.take_orphaned_packets();
        let (outcome, queue) = {
            let mut state = self.pipe.lock();
            let (outcome, ready) = work(&self.pipe, &mut state);
            let queue = match state.is_to_be_noticed(ready) {
                true => state.home.as_ref().and_then(|home| home.queue.upgrade()),
                false => None,
            };
            state.is_noticed |= queue.is_some();
            (outcome, queue)
        };
        if let Some(queue) = queue {
            queue.notice(&self.pipe);
        }
        outcome
    }
}

impl Drop for NamedPipe {
    /// What was written goes out first; everything else ends.
    fn drop(&mut self) {
        let queue = {
            let mut state = self.pipe.lock();
            state.is_dropped = true;
            let was_registered = state.registration.take().is_some();
            for which in [Which::Connect, Which::Read] {
                if !state.stage(which).is_idle() {
                    self.pipe.operation(which).cancel(self.pipe.raw());
                }
            }
            if state.write.is_idle() {
                // Its peer reads the end.
                drop(state.handle.take());
            }
            match was_registered && cfg!(feature = "stats") {
                true => state.home.as_ref().and_then(|home| home.queue.upgrade()),
                false => None,
            }
        };
        // Without the lock: this may be the last owner of the queue.
        if let Some(queue) = queue {
            queue.registrations().subtract_one();
        }
        self.pipe.await_orphaned_packets();
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raw(&self) -> RawHandle {
        self.handle.0
    }

    fn operation(&self, which: Which) -> &Operation {
        match which {
            Which::Connect => &self.connecting,
            Which::Read => &self.reading,
            Which::Write => &self.writing,
        }
    }

    fn operations(&self) -> impl Iterator<Item = (Which, &Operation)> {
        [Which::Connect, Which::Read, Which::Write]
            .into_iter()
            .map(|which| (which, self.operation(which)))
    }

    /// Associates the pipe with the queue's port, with which it then stays.
    fn make_home<Q: PipeQueue + 'static>(
        self: &Arc<Self>,
        state: &mut State,
        queue: &Arc<Q>,
    ) -> io::Result<()> {
        if let Some(home) = &state.home {
            return match home.is_of(queue) {
                true => Ok(()),
                false => Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a named pipe stays with the first poll that it was registered with",
                )),
            };
        }
        let Some(pipes) = queue.pipes() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let Some(handle) = &state.handle else {
            return Err(io::ErrorKind::NotFound.into());
        };
        pipes.port.associate(handle.as_handle(), Kind::Pipe)?;
        pipes.operations.insert(self, self.operations());
        // SAFETY: the call accesses no memory of the process. The handle is open, because `state` owns it.
        let is_pipe = unsafe { GetFileType(self.raw()) } == FILE_TYPE_PIPE;
        let flags = self.flags();
        // Where the kind is unknown, a message must not be cut.
        state.has_messages = is_pipe && flags.map_or(true, |flags| flags & PIPE_TYPE_MESSAGE != 0);
        let is_client = flags.is_some_and(|flags| flags & PIPE_SERVER_END == 0);
        state.is_connected = self.has_peer(is_client);
        state.read_buffer = match is_pipe {
            true => vec![0; BUFFER],
            false => vec![0; DEVICE_BUFFER],
        };
        state.write_buffer = Vec::with_capacity(BUFFER);
        let queue: Weak<Q> = Arc::downgrade(queue);
        state.home = Some(Home {
            pipes: Arc::clone(pipes),
            queue,
        });
        Ok(())
    }

    /// The kind of pipe. A handle that only writes may not get it: it lacks the right to read attributes,
    /// which `CreateNamedPipeW` gives together with reading.
    fn flags(&self) -> Option<u32> {
        let mut flags = 0;
        // SAFETY: the call writes one `u32` to `flags`. The other pointers are null, and it then writes nothing
        // there. The handle is open, because the caller's `state` owns it.
        let got = bool_result(unsafe {
            GetNamedPipeInfo(
                self.raw(),
                &mut flags,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        });
        got.is_ok().then_some(flags)
    }

    /// Whether the other end has a peer, or had one.
    fn has_peer(&self, is_client: bool) -> bool {
        // SAFETY: the buffer has length 0, and the other pointers are null, so that the call writes nothing. The
        // handle is open, because the caller's `state` owns it.
        let peeked = bool_result(unsafe {
            PeekNamedPipe(
                self.raw(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        });
        match peeked {
            Ok(()) => true,
            // A handle that only writes may not peek. A client has a server; whether a server has a client,
            // connecting or writing will show.
            Err(error) if is(&error, ERROR_ACCESS_DENIED) => is_client,
            Err(error) => ![
                ERROR_PIPE_LISTENING,
                ERROR_PIPE_NOT_CONNECTED,
                ERROR_BAD_PIPE,
            ]
            .iter()
            .any(|&code| is(&error, code)),
        }
    }

    /// Registers or reregisters it: what it is ready for is reported.
    fn begin(self: &Arc<Self>, state: &mut State, token: Token, interest: Interest) -> Readiness {
        state.registration = Some(Registration {
            token,
            interest,
            is_spent: false,
        });
        state.unreported = Readiness::NONE;
        if interest.is_readable() {
            let _ = self.read_ahead(state);
        }
        READS.or(WRITES)
    }

    /// There is a client.
    fn connected(self: &Arc<Self>, state: &mut State) -> Readiness {
        state.is_connected = true;
        if let Some(registration) = state.registration {
            if registration.interest.is_readable() {
                let _ = self.read_ahead(state);
            }
        }
        // A read may have found data or the end before the connection was known.
        READS.or(WRITES)
    }

    /// Begins to read ahead, if the buffer is empty. Returns what it may have become ready for.
    fn read_ahead(self: &Arc<Self>, state: &mut State) -> Readiness {
        let is_wanted = state.data.is_none() && state.read_end.is_none() && state.read.is_idle();
        if !is_wanted || !state.is_connected || state.is_dropped {
            return Readiness::NONE;
        }
        if let Err(error) = self.submit_read(state) {
            if error.kind() != io::ErrorKind::WouldBlock {
                state.read_end = Some(End::Failed(error));
            }
        }
        READS
    }

    /// Whether it has succeeded at once; otherwise it is in flight.
    fn submit_connect(self: &Arc<Self>, state: &mut State) -> io::Result<bool> {
        // SAFETY: `state.connect` is idle, as both callers have checked, so no connect is in flight; and the
        // caller holds the lock that guards `state`.
        let overlapped = unsafe { self.connecting.prepare() };
        // SAFETY: the handle is open, because `state` owns it. `overlapped` must be valid, at the same address
        // and accessed by the kernel alone, until the connect has ended. It lies in the `Arc` `self`; if the
        // connect is in flight after the call, `state.connect` has a count of it, which only `completed`
        // drops, when the kernel has written that the connect has ended. Until then `prepare` is not called.
        let submitted = bool_result(unsafe { ConnectNamedPipe(self.raw(), overlapped) });
        match submitted {
            // Its packet comes all the same.
            Ok(()) => {}
            Err(error) if is(&error, ERROR_IO_PENDING) => {}
            // It was not submitted.
            Err(error) => {
                // A client was faster, and may have left already.
                let is_there = is(&error, ERROR_PIPE_CONNECTED) || is(&error, ERROR_NO_DATA);
                return is_there.then_some(true).ok_or(error);
            }
        }
        state.connect = Stage::in_flight(state.epoch, self);
        Ok(false)
    }

    /// Submits a read, or finds the end; `WouldBlock` where there is no client.
    fn submit_read(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        // SAFETY: `state.read` is idle, as both callers have checked, so no read is in flight; and the caller
        // holds the lock that guards `state`.
        let overlapped = unsafe { self.reading.prepare() };
        let buffer = &mut state.read_buffer;
        // SAFETY: `overlapped` as in `submit_connect`. The kernel writes at most `buffer.len()` bytes to `buffer`,
        // until the read has ended. The buffer lives in the same `Arc`, and is never moved, resized or freed
        // after `make_home`. Nothing reads it unless `state.data` is some, which it becomes when a read has
        // ended; and no read begins while it is some.
        let submitted = bool_result(unsafe {
            ReadFile(
                self.raw(),
                buffer.as_mut_ptr(),
                buffer.len() as u32,
                ptr::null_mut(),
                overlapped,
            )
        });
        match submitted {
            Ok(()) => {}
            // The rest of a message is there as well, and comes with the next one.
            Err(error) if is(&error, ERROR_IO_PENDING) || is(&error, ERROR_MORE_DATA) => {}
            // It was not submitted.
            Err(error) if is(&error, ERROR_BROKEN_PIPE) => {
                state.read_end = Some(End::Peer);
                return Ok(());
            }
            Err(error) if is(&error, ERROR_PIPE_LISTENING) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(error) => return Err(error),
        }
        state.read = Stage::in_flight(state.epoch, self);
        Ok(())
    }

    /// Submits what is in the buffer and not written yet.
    fn submit_write(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        // SAFETY: `state.write` is idle, as both callers have checked, so no write is in flight; and the caller
        // holds the lock that guards `state`.
        let overlapped = unsafe { self.writing.prepare() };
        let rest = &state.write_buffer[state.written..];
        // SAFETY: `overlapped` as in `submit_connect`. The kernel reads at most `rest.len()` bytes of `rest`, until
        // the write has ended. The buffer lives in the same `Arc`; `write` and `shrink_write_buffer`, which
        // change it, do so only while `state.write` is idle.
        let submitted = bool_result(unsafe {
            WriteFile(
                self.raw(),
                rest.as_ptr(),
                u32::try_from(rest.len()).unwrap_or(u32::MAX),
                ptr::null_mut(),
                overlapped,
            )
        });
        match submitted {
            Ok(()) => {}
            Err(error) if is(&error, ERROR_IO_PENDING) => {}
            // It was not submitted.
            Err(error) => return Err(error),
        }
        state.write = Stage::in_flight(state.epoch, self);
        Ok(())
    }

    /// A packet with the word of an operation was taken off the port. Returns whether to put the pipe into
    /// the ready list.
    fn completed(self: &Arc<Self>, which: Which) -> bool {
        let mut state = self.lock();
        let ready = self.take_outcome(&mut state, which);
        let is_noticed = state.is_to_be_noticed(ready);
        state.is_noticed |= is_noticed;
        is_noticed
    }

    /// Completes an operation that has ended, if it has. Returns what the pipe has become ready for.
    fn take_outcome(self: &Arc<Self>, state: &mut State, which: Which) -> Readiness {
        if state.stage(which).is_idle() {
            return Readiness::NONE;
        }
        // SAFETY: its stage is not idle, so that it was submitted; and the caller holds the lock that guards
        // `state`.
        let Some(outcome) = (unsafe { self.operation(which).outcome() }) else {
            return Readiness::NONE;
        };
        // The count was the kernel's; the caller has another one.
        let ended = mem::replace(state.stage(which), Stage::Idle);
        let is_of_before = ended.is_of_before(state.epoch);
        let ready = match which {
            Which::Connect => self.connect_completed(state, is_of_before, outcome.map(drop)),
            Which::Read => self.read_completed(state, is_of_before, outcome),
            Which::Write => self.write_completed(state, is_of_before, outcome),
        };
        if state.is_dropped && state.write.is_idle() {
            drop(state.handle.take());
        }
        ready
    }

    fn connect_completed(
        self: &Arc<Self>,
        state: &mut State,
        is_of_before: bool,
        outcome: io::Result<()>,
    ) -> Readiness {
        let is_again = mem::take(&mut state.connects_again);
        if state.is_dropped || (is_of_before && !is_again) {
            return Readiness::NONE;
        }
        let outcome = match outcome {
            Ok(()) if !is_of_before => Ok(true),
            Err(error) if !is_of_before && !is(&error, ERROR_OPERATION_ABORTED) => Err(error),
            // Other code has cancelled it.
            _ => self.submit_connect(state),
        };
        match outcome {
            Ok(true) => {
                state.has_ended_connect = true;
                self.connected(state)
            }
            Ok(false) => Readiness::NONE,
            Err(error) => {
                state.has_ended_connect = true;
                state.error = Some(error);
                WRITES
            }
        }
    }

    fn read_completed(
        self: &Arc<Self>,
        state: &mut State,
        is_of_before: bool,
        outcome: io::Result<usize>,
    ) -> Readiness {
        if is_of_before {
            return self.read_ahead(state);
        }
        match outcome {
            Ok(length) => {
                state.data = Some((0, length));
                return self.is_used(state).or(READS);
            }
            Err(error) if is(&error, ERROR_BROKEN_PIPE) => state.read_end = Some(End::Peer),
            // Other code has cancelled it.
            Err(error) if is(&error, ERROR_OPERATION_ABORTED) => return self.read_ahead(state),
            Err(error) => state.read_end = Some(End::Failed(error)),
        }
        READS
    }

    fn write_completed(
        self: &Arc<Self>,
        state: &mut State,
        is_of_before: bool,
        outcome: io::Result<usize>,
    ) -> Readiness {
        if is_of_before {
            // It ended with its client.
            state.shrink_write_buffer();
            return WRITES;
        }
        let mut used = Readiness::NONE;
        // One that other code has cancelled may have gone out in part, and nothing says how much: to send it
        // again would send that part twice.
        let outcome = outcome.and_then(|length| {
            state.written += length;
            used = self.is_used(state);
            match state.written < state.write_buffer.len() {
                // A full pipe that does not wait (`PIPE_NOWAIT`) takes nothing, and would again.
                true if length == 0 => Err(io::ErrorKind::WriteZero.into()),
                true => self.submit_write(state),
                false => Ok(()),
            }
        });
        if outcome.is_ok() && !state.write.is_idle() {
            return used;
        }
        state.write_error = outcome.err();
        state.shrink_write_buffer();
        used.or(WRITES)
    }

    /// A read or write has succeeded: the pipe has a peer, also if no connect has said so.
    fn is_used(self: &Arc<Self>, state: &mut State) -> Readiness {
        match state.is_connected {
            true => Readiness::NONE,
            false => self.connected(state),
        }
    }

    /// What a pipe in the ready list has to report: one event for each `select`, since runtimes and programs
    /// take the first one of their token.
    pub(super) fn noticed(self: &Arc<Self>, select: u32) -> Noticed {
        let mut state = self.lock();
        if state.reported_by == Some(select) {
            return Noticed::Later;
        }
        if state.registration.is_some() {
            // The event names it as well, if an operation has ended whose packet was not taken yet. That will find the
            // stage idle, or another operation in flight.
            for which in [Which::Connect, Which::Read, Which::Write] {
                let ready = self.take_outcome(&mut state, which);
                state.is_to_be_noticed(ready);
            }
        }
        state.is_noticed = false;
        let ready = mem::replace(&mut state.unreported, Readiness::NONE);
        let Some(event) = state.event(ready) else {
            return Noticed::Nothing;
        };
        state.reported_by = Some(select);
        if event.is_writable() {
            state.has_ended_connect = false;
        }
        let Some(registration) = &mut state.registration else {
            return Noticed::Event(event);
        };
        let interest = registration.interest;
        registration.is_spent = interest.is_oneshot();
        if interest.is_level() && !interest.is_oneshot() {
            // All that is ready then is reported again.
            state.unreported = READS.or(WRITES);
            state.is_noticed = true;
            return Noticed::LevelEvent(event);
        }
        Noticed::Event(event)
    }

    /// Takes the packets on the port, if its queue is gone.
    fn take_orphaned_packets(&self) {
        if let Some(pipes) = self.orphaned() {
            pipes.take_packets(0);
        }
    }

    /// After it was dropped: takes the packets that have to come, so that nothing is leaked. A write in
    /// flight keeps the pipe until it has gone out.
    fn await_orphaned_packets(&self) {
        let Some(pipes) = self.orphaned() else {
            return;
        };
        let deadline = Instant::now() + super::PATIENCE;
        pipes.take_packets(0);
        while self.is_awaited() && Instant::now() < deadline {
            pipes.take_packets(super::RETRY);
        }
        if self.is_left() {
            pipes.take_what_is_left();
        }
    }

    /// It was dropped, and something of it is in flight.
    fn is_left(&self) -> bool {
        let state = self.lock();
        let is_idle = state.connect.is_idle() && state.read.is_idle() && state.write.is_idle();
        state.is_dropped && !is_idle
    }

    /// It was dropped, and what was cancelled then has not ended yet.
    fn is_awaited(&self) -> bool {
        let state = self.lock();
        state.is_dropped && !(state.connect.is_idle() && state.read.is_idle())
    }

    /// Those of its port, if no queue takes their packets any more.
    fn orphaned(&self) -> Option<Arc<Pipes>> {
        let state = self.lock();
        match &state.home {
            Some(home) if home.pipes.is_orphaned() => Some(Arc::clone(&home.pipes)),
            _ => None,
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let home = self.lock().home.take();
        if let Some(home) = home {
            home.pipes.operations.remove(self.operations());
        }
    }
}

impl State {
    fn stage(&mut self, which: Which) -> &mut Stage<Pipe> {
        match which {
            Which::Connect => &mut self.connect,
            Which::Read => &mut self.read,
            Which::Write => &mut self.write,
        }
    }

    /// Frees the memory of a long message when it is out.
    fn shrink_write_buffer(&mut self) {
        self.write_buffer.clear();
        self.written = 0;
        // Nothing is freed of one that has this capacity.
        self.write_buffer.shrink_to(BUFFER);
    }

    fn is_home<Q: PipeQueue>(&self, queue: &Arc<Q>) -> bool {
        self.home.as_ref().is_some_and(|home| home.is_of(queue))
    }

    fn home_is_there(&self) -> bool {
        let home = self.home.as_ref();
        home.is_some_and(|home| home.queue.strong_count() > 0)
    }

    /// It has become ready. Returns whether to put it into the ready list.
    fn is_to_be_noticed(&mut self, ready: Readiness) -> bool {
        if self.event(ready).is_none() {
            return false;
        }
        self.unreported = self.unreported.or(ready);
        !self.is_noticed
    }

    /// The event for what has become ready: never that anything is closed, for the next client may come.
    /// (Runtimes take that for final.)
    fn event(&self, ready: Readiness) -> Option<Event> {
        let Registration {
            token, interest, ..
        } = self.registration.filter(|its| !its.is_spent)?;
        let is_readable = self.data.is_some() || self.read_end.is_some();
        let is_free = self.is_connected && self.write.is_idle();
        let is_writable = is_free || self.error.is_some() || self.write_error.is_some();
        // A program that waits for a client need not be interested in writing.
        let asks_to_write = interest.is_writable() || self.has_ended_connect;
        let mut report = Readiness::NONE;
        for (bits, is_of_interest, is_ready) in [
            (READS, interest.is_readable(), is_readable),
            (WRITES, asks_to_write, is_writable),
        ] {
            if ready.intersects(bits) && is_of_interest && is_ready {
                report = report.or(bits);
            }
        }
        (report != Readiness::NONE).then(|| Event::new(token, report))
    }
}

impl Home {
    fn is_of<Q: PipeQueue>(&self, queue: &Arc<Q>) -> bool {
        let its: *const dyn PipeQueue = self.queue.as_ptr();
        ptr::eq(its.cast(), Arc::as_ptr(queue))
    }
}

impl Pipes {
    /// None yet.
    pub(super) fn new(port: &Arc<Port>) -> Arc<Pipes> {
        Arc::new(Pipes {
            port: Arc::clone(port),
            operations: Operations::new(),
            is_orphaned: AtomicBool::new(false),
            has_taker: Mutex::new(false),
        })
    }

    /// A packet of [`Kind::Pipe`] was taken off the port. Returns the pipe if it is to be put into the ready
    /// list.
    pub(super) fn completed(&self, packet: KernelEvent) -> Option<Arc<Pipe>> {
        let (pipe, which) = self.operations.find(packet.word())?;
        pipe.completed(which).then_some(pipe)
    }

    /// How many operations they have, in flight or not.
    pub(super) fn count(&self) -> usize {
        self.operations.count()
    }

    /// Whether a pipe that was dropped has cancelled an operation that has not ended yet.
    pub(super) fn are_awaited(&self) -> bool {
        self.operations.any_pipe(Pipe::is_awaited)
    }

    /// Whether anything of a pipe that was dropped is in flight.
    pub(super) fn are_left(&self) -> bool {
        self.operations.any_pipe(Pipe::is_left)
    }

    /// The queue that took the packets is gone.
    pub(super) fn abandon(&self) {
        // Relaxed: the pipe's lock orders it. A pipe that is dropped notes that under its lock, and then asks,
        // under its lock again. The queue calls this, and then looks under each pipe's lock whether it was
        // dropped. So one of the two learns of the other, and takes the packets.
        self.is_orphaned.store(true, Ordering::Relaxed);
    }

    /// To be called under a pipe's lock.
    fn is_orphaned(&self) -> bool {
        // Relaxed: see `abandon`.
        self.is_orphaned.load(Ordering::Relaxed)
    }

    /// Takes packets off a port whose queue is gone.
    fn take_packets(&self, millis: u32) {
        let mut packets = Vec::with_capacity(16);
        // If it fails, there are none.
        let _ = self.port.dequeue(&mut packets, 16, millis);
        for &packet in &packets {
            if packet.kind() == Some(Kind::Pipe) {
                self.completed(packet);
            }
        }
    }

    /// Both the queue and a pipe are gone, and a write is in flight, for as long as the peer likes: a thread
    /// takes the packets until none is left.
    pub(super) fn take_what_is_left(self: &Arc<Self>) {
        let mut has_taker = self.lock_taker();
        if *has_taker || !super::library::stay_loaded() {
            return;
        }
        let its = Arc::clone(self);
        let thread = thread::Builder::new().name("mio-named-pipe".to_owned());
        // Without a thread the pipe stays open for as long as the process lives.
        let spawned = thread.spawn(move || {
            loop {
                let mut has_taker = its.lock_taker();
                // Under the lock, so that dropping another pipe sees whether this thread goes on.
                if !its.are_left() {
                    *has_taker = false;
                    break;
                }
                drop(has_taker);
                // Another pipe's call may take the last one.
                its.take_packets(1000);
            }
        });
        *has_taker = spawned.is_ok();
    }

    fn lock_taker(&self) -> MutexGuard<'_, bool> {
        self.has_taker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies as much as fits.
fn scatter(mut data: &[u8], buffers: &mut [IoSliceMut<'_>]) -> usize {
    let all = data.len();
    for buffer in buffers {
        let (part, rest) = data.split_at(data.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(part);
        data = rest;
    }
    all - data.len()
}

/// Nothing can be in flight before that, and no event would say when to try again.
#[cold]
fn never_registered() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "a named pipe is registered before it connects, reads or writes",
    )
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code as i32)
}

impl fmt::Debug for NamedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is free again when the program's code writes what is formatted.
        let (is_connected, registration) = {
            let state = self.pipe.lock();
            let registration = state.registration.filter(|_| state.home_is_there());
            (state.is_connected, registration)
        };
        let mut shown = f.debug_struct("NamedPipe");
        shown
            .field("handle", &self.pipe.raw())
            .field("is_connected", &is_connected);
        if let Some(registration) = registration {
            shown
                .field("token", &registration.token)
                .field("interests", &registration.interest);
        }
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
impl NamedPipe {
    /// As if the wait for a client had failed.
    pub(crate) fn fail_to_connect(&self, error: io::Error) {
        self.pipe.lock().error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::windows::fs::OpenOptionsExt;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::super::super::{EventBuffer, Queue};
    use super::*;
    use crate::Backend;

    /// A server's end, registered for reading, and its client.
    fn pair(test: &str) -> (Arc<Queue>, NamedPipe, File) {
        let queue = Arc::new(Queue::open(Backend::Afd).unwrap());
        let (server, client) = pair_of(&queue, test);
        (queue, server, client)
    }

    fn pair_of(queue: &Arc<Queue>, test: &str) -> (NamedPipe, File) {
        let name = format!(r"\\.\pipe\mio-unit-test-{test}-{}", std::process::id());
        let options = Options {
            first_instance: true,
            reject_remote_clients: true,
        };
        let server = NamedPipe::new(name.as_ref(), options).unwrap();
        let client = File::options().read(true).write(true).open(name).unwrap();
        server
            .register(queue, Token(1), Interest::READABLE)
            .unwrap();
        assert!(!server.pipe.lock().read.is_idle());
        (server, client)
    }

    fn port(queue: &Queue) -> &Arc<Port> {
        &queue.pipes().unwrap().port
    }

    /// Takes the next packet of a pipe off the port, and returns its word.
    fn held_back(port: &Port) -> usize {
        let mut packets = Vec::with_capacity(1);
        loop {
            port.dequeue(&mut packets, 1, 10_000).unwrap();
            // A test of resume.rs posts nudges.
            if packets[0].kind() == Some(Kind::Pipe) {
                return packets[0].word();
            }
        }
    }

    /// Checks that `work` ends only after a packet of this word is on the port.
    #[track_caller]
    fn ends_after_the_packet(port: &Port, word: usize, work: impl FnOnce() + Send + 'static) {
        const A_WHILE: Duration = Duration::from_millis(100);

        let (begun, begins) = mpsc::channel();
        let working = thread::spawn(move || {
            begun.send(()).unwrap();
            work();
        });
        begins.recv().unwrap();
        let soon = Instant::now() + A_WHILE;
        while Instant::now() < soon {
            assert!(!working.is_finished());
            thread::yield_now();
        }
        port.post(Kind::Pipe, 0, word).unwrap();
        working.join().unwrap();
    }

    /// Writes until a write is in flight, as long as the client does not read. Returns how much that is.
    fn fill(queue: &Queue, server: &NamedPipe) -> usize {
        let mut events = EventBuffer::with_capacity(8);
        let mut written = 0;
        for _ in 0..10 {
            if server.pipe.lock().write.is_idle() {
                written += server.write(&[IoSlice::new(&[1; BUFFER])]).unwrap();
            }
            let soon = Some(Duration::from_millis(10));
            queue.select(&mut events, soon).unwrap();
        }
        let state = server.pipe.lock();
        assert!(!state.write.is_idle() && !state.read.is_idle());
        written
    }

    /// Another process may start operations on the file, with any addresses of its own.
    #[test]
    fn a_packet_with_the_address_of_an_operation_in_flight_is_foreign() {
        let (queue, server, mut client) = pair("address");
        let mut events = EventBuffer::with_capacity(8);
        let operations = server.pipe.operations();
        let words = operations.map(|(_, operation)| operation.word());
        for word in words.chain([0, 8, usize::MAX]) {
            port(&queue).post(Kind::Pipe, 5, word).unwrap();
        }
        queue.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.events().is_empty(), "{:?}", events.events());

        client.write_all(b"hello").unwrap();
        queue.select(&mut events, None).unwrap();
        let mut buffer = [0; 8];
        let read = server.read(&mut [IoSliceMut::new(&mut buffer)]);
        assert_eq!(&buffer[..read.unwrap()], b"hello");
    }

    #[test]
    fn what_it_is_ready_for_when_it_is_registered_is_reported() {
        let (queue, server, _client) = pair("ready");
        let mut events = EventBuffer::with_capacity(8);
        server
            .reregister(&queue, Token(2), Interest::WRITABLE)
            .unwrap();
        queue.select(&mut events, Some(Duration::ZERO)).unwrap();
        let [event] = events.events() else {
            panic!("{:?}", events.events());
        };
        assert!(event.token() == Token(2) && event.is_writable());
    }

    #[test]
    fn a_failure_is_returned_once() {
        let (_queue, server, _client) = pair("failure");
        let failure = || io::Error::from(io::ErrorKind::PermissionDenied);
        let kind = |error: io::Error| error.kind();
        server.pipe.lock().error = Some(failure());
        assert_eq!(server.take_error().map(kind), Some(failure().kind()));
        assert!(server.take_error().is_none());
        server.pipe.lock().read_end = Some(End::Failed(failure()));
        let read = || server.read(&mut [IoSliceMut::new(&mut [0; 8])]);
        assert_eq!(read().unwrap_err().kind(), failure().kind());
        assert_eq!(read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// `write` then returns the error, instead of leaving the program to wait for the client.
    #[test]
    fn a_failed_write_is_ready_for_writing_whether_or_not_a_client_is_known_to_have_come() {
        let (queue, server, _client) = pair("failed-write");
        server
            .reregister(&queue, Token(1), Interest::WRITABLE)
            .unwrap();
        let mut state = server.pipe.lock();
        state.is_connected = false;
        assert!(state.event(WRITES).is_none());
        state.write_error = Some(io::ErrorKind::BrokenPipe.into());
        assert!(state.event(WRITES).is_some());
    }

    #[test]
    fn one_write_takes_a_buffer_of_a_stream() {
        let (_queue, server, _client) = pair("stream");
        let part = [1; 48 << 10];
        let parts = [IoSlice::new(&part), IoSlice::new(&part)];
        assert_eq!(server.write(&parts).unwrap(), 64 << 10);
    }

    /// A file, whose reads need an offset, but this is the first one.
    #[test]
    fn one_read_of_what_is_no_pipe_is_4_kib() {
        let queue = Arc::new(Queue::open(Backend::Afd).unwrap());
        let file = File::options()
            .read(true)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            .open(std::env::current_exe().unwrap())
            .unwrap();
        let device = NamedPipe::from_handle(file.into());
        device
            .register(&queue, Token(1), Interest::WRITABLE)
            .unwrap();
        let mut events = EventBuffer::with_capacity(8);
        let mut buffer = vec![0; 64 << 10];
        let deadline = Instant::now() + super::super::PATIENCE;
        let length = loop {
            match device.read(&mut [IoSliceMut::new(&mut buffer)]) {
                Ok(length) => break length,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline);
            let soon = Some(Duration::from_millis(10));
            queue.select(&mut events, soon).unwrap();
        };
        assert_eq!(length, 4 << 10);
    }

    #[test]
    fn operations_that_others_cancel_are_submitted_again() {
        let (queue, server, mut client) = pair("others");
        let mut events = EventBuffer::with_capacity(8);
        server.pipe.reading.cancel(server.raw_handle());
        queue.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.events().is_empty());
        client.write_all(b"x").unwrap();
        queue
            .select(&mut events, Some(super::super::PATIENCE))
            .unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut [IoSliceMut::new(&mut buffer)]).unwrap(), 1);

        server.disconnect().unwrap();
        drop(client);
        let error = server.connect().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        for _ in 0..3 {
            server.pipe.connecting.cancel(server.raw_handle());
            queue.select(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.events().is_empty());
            assert!(!server.pipe.lock().connect.is_idle());
        }
        let name = format!(r"\\.\pipe\mio-unit-test-others-{}", std::process::id());
        let _client = File::options().read(true).write(true).open(name).unwrap();
        queue
            .select(&mut events, Some(super::super::PATIENCE))
            .unwrap();
        assert!(events.events().iter().any(|event| event.is_writable()));
        assert!(server.take_error().is_none());
    }

    #[test]
    fn a_connect_that_a_disconnect_has_overtaken_is_begun_anew_if_that_is_asked_for() {
        let (queue, server, client) = pair("overtaken");
        let mut events = EventBuffer::with_capacity(8);
        let name = format!(r"\\.\pipe\mio-unit-test-overtaken-{}", std::process::id());
        let open = || File::options().read(true).write(true).open(&name).unwrap();
        drop(client);
        server.disconnect().unwrap();
        for is_again in [false, true] {
            server.connect().unwrap_err();
            // Its packet is on the port.
            let client = open();
            server.disconnect().unwrap();
            drop(client);
            if is_again {
                server.connect().unwrap_err();
            }
            queue.select(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.events().is_empty(), "{:?}", events.events());
            let state = server.pipe.lock();
            assert_eq!(!state.connect.is_idle(), is_again);
            assert!(!state.is_connected);
        }
        let _client = open();
        queue
            .select(&mut events, Some(super::super::PATIENCE))
            .unwrap();
        assert!(events.events().iter().any(|event| event.is_writable()));
    }

    /// Other code has disconnected the client before a poll has taken the packet.
    #[test]
    fn a_client_that_came_is_reported_although_it_is_gone() {
        let (queue, server, client) = pair("came");
        drop(client);
        server.disconnect().unwrap();
        server.connect().unwrap_err();
        let name = format!(r"\\.\pipe\mio-unit-test-came-{}", std::process::id());
        let _client = File::options().read(true).write(true).open(name).unwrap();
        // SAFETY: the call accesses no memory of the process. The handle is open: `server` owns it.
        bool_result(unsafe { DisconnectNamedPipe(server.raw_handle()) }).unwrap();
        let mut events = EventBuffer::with_capacity(8);
        queue.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.events().iter().any(|event| event.is_writable()));
        assert!(server.take_error().is_none());
    }

    /// A serial port ends a write early when its timeout is over.
    #[test]
    fn the_rest_of_a_write_that_has_ended_early_is_written() {
        let (_queue, server, mut client) = pair("rest");
        let pipe = &server.pipe;
        {
            let mut state = pipe.lock();
            state.write_buffer.extend_from_slice(b"hello");
            let ready = pipe.write_completed(&mut state, false, Ok(2));
            assert_eq!(ready, Readiness::NONE);
            assert!(!state.write.is_idle());
        }
        let mut rest = [0; 3];
        client.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"llo");
    }

    #[test]
    fn a_connect_or_read_that_fails_is_an_error_of_its_own_client_only() {
        let (_queue, server, _client) = pair("fails");
        let failure = || io::Error::from(io::ErrorKind::PermissionDenied);
        let pipe = &server.pipe;
        let mut state = pipe.lock();
        state.connects_again = true;
        // There is a client.
        assert_ne!(
            pipe.connect_completed(&mut state, true, Err(failure())),
            WRITES
        );
        assert!(state.error.is_none());
        assert_eq!(
            pipe.connect_completed(&mut state, false, Err(failure())),
            WRITES
        );
        assert!(state.error.is_some());
        assert_eq!(
            pipe.read_completed(&mut state, true, Err(failure())),
            Readiness::NONE
        );
        assert!(state.read_end.is_none());
        assert_eq!(
            pipe.read_completed(&mut state, false, Err(failure())),
            READS
        );
        assert!(matches!(state.read_end, Some(End::Failed(_))));
    }

    #[test]
    fn an_event_behind_the_packet_of_a_pipe_is_in_the_same_poll() {
        let (queue, _server, mut client) = pair("behind");
        client.write_all(b"x").unwrap();
        port(&queue).post(Kind::Nudge, 0, 0).unwrap();
        let waker = queue.open_user_event(Token(2)).unwrap().unwrap();
        queue.trigger(waker).unwrap();
        let mut events = EventBuffer::with_capacity(2);
        queue.select(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.events().len(), 2, "{:?}", events.events());
    }

    #[test]
    fn two_operations_that_end_list_a_pipe_once() {
        let (queue, server, mut client) = pair("two");
        let both = Interest::READABLE | Interest::WRITABLE;
        server.reregister(&queue, Token(1), both).unwrap();
        let mut events = EventBuffer::with_capacity(8);
        queue.select(&mut events, Some(Duration::ZERO)).unwrap();
        server.write(&[IoSlice::new(b"x")]).unwrap();
        client.write_all(b"x").unwrap();
        let (mut packets, mut ended, mut listed) = (Vec::with_capacity(1), 0, 0);
        while ended < 2 {
            port(&queue).dequeue(&mut packets, 1, 10_000).unwrap();
            // A test of resume.rs posts nudges.
            if packets[0].kind() == Some(Kind::Pipe) {
                ended += 1;
                listed += usize::from(queue.pipes().unwrap().completed(packets[0]).is_some());
            }
        }
        assert_eq!(listed, 1);
    }

    #[test]
    fn a_level_triggered_pipe_is_reported_as_long_as_it_is_ready() {
        let (queue, server, mut client) = pair("level");
        let mut events = EventBuffer::with_capacity(8);
        let level = Interest::READABLE.level();
        for (interest, times) in [(level, 3), (level.oneshot(), 1)] {
            server.reregister(&queue, Token(1), interest).unwrap();
            client.write_all(b"x").unwrap();
            queue
                .select(&mut events, Some(super::super::PATIENCE))
                .unwrap();
            assert_eq!(events.events().len(), 1);
            for time in 1..4 {
                queue.select(&mut events, Some(Duration::ZERO)).unwrap();
                assert_eq!(events.events().len(), usize::from(time < times), "{time}");
                if time == 2 {
                    let read = server.read(&mut [IoSliceMut::new(&mut [0; 8])]);
                    assert_eq!(read.unwrap(), 1);
                }
            }
        }
    }

    #[cfg(feature = "stats")]
    #[test]
    fn a_pipe_that_is_not_registered_is_not_counted_when_it_is_dropped() {
        let (queue, server, _client) = pair("counted");
        let registrations = || PipeQueue::registrations(&*queue).get();
        assert_eq!(registrations(), 1);
        let name = format!(r"\\.\pipe\mio-unit-test-counted-2-{}", std::process::id());
        let options = Options {
            first_instance: true,
            reject_remote_clients: true,
        };
        let other = NamedPipe::new(name.as_ref(), options).unwrap();
        other
            .register(&queue, Token(2), Interest::READABLE)
            .unwrap();
        assert_eq!(registrations(), 2);
        other.deregister(&queue).unwrap();
        drop(other);
        assert_eq!(registrations(), 1);
        drop(server);
        assert_eq!(registrations(), 0);
    }

    /// The write keeps the handle open, and so the read would go on.
    #[test]
    fn dropping_a_pipe_whose_write_is_in_flight_cancels_its_read() {
        let (queue, server, mut client) = pair("cancels");
        let written = fill(&queue, &server);
        drop(queue);
        let start = Instant::now();
        drop(server);
        assert!(start.elapsed() < super::super::PATIENCE);
        client.read_exact(&mut vec![0; written]).unwrap();
    }

    #[test]
    fn a_poll_that_is_dropped_awaits_what_a_dropped_pipe_has_cancelled() {
        let (queue, server, _client) = pair("awaits");
        let pipe = Arc::downgrade(&server.pipe);
        let port = Arc::clone(port(&queue));
        drop(server);
        let word = held_back(&port);
        ends_after_the_packet(&port, word, move || drop(queue));
        assert_eq!(pipe.strong_count(), 0, "it is freed");
    }

    #[test]
    fn a_pipe_that_is_dropped_after_its_poll_awaits_what_it_has_cancelled() {
        let (queue, server, _client) = pair("late");
        let pipe = Arc::downgrade(&server.pipe);
        let port = Arc::clone(port(&queue));
        drop(queue);
        server.pipe.reading.cancel(server.raw_handle());
        let word = held_back(&port);
        ends_after_the_packet(&port, word, move || drop(server));
        assert_eq!(pipe.strong_count(), 0, "it is freed");
    }

    /// They take their packets themselves.
    #[test]
    fn no_thread_is_started_for_pipes_that_were_not_dropped() {
        let (queue, _server, _client) = pair("themselves");
        let pipes = Arc::clone(queue.pipes().unwrap());
        drop(queue);
        assert!(!*pipes.lock_taker());
    }

    #[test]
    fn one_thread_takes_the_packets_of_all_pipes_that_were_dropped() {
        let (queue, server, client) = pair("thread");
        let (other, others_client) = pair_of(&queue, "thread-2");
        fill(&queue, &server);
        fill(&queue, &other);
        let pipes = Arc::clone(queue.pipes().unwrap());
        drop(queue);
        drop(server);
        assert!(*pipes.lock_taker());
        // Each thread has one. The pipe keeps its own: a write is in flight.
        let owners = Arc::strong_count(&pipes);
        drop(other);
        assert_eq!(Arc::strong_count(&pipes), owners);
        // The writes fail, and the thread ends.
        drop((client, others_client));
        let deadline = Instant::now() + super::super::PATIENCE;
        while *pipes.lock_taker() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    /// There are no remote clients under Wine.
    #[test]
    fn the_options_are_passed_on() {
        let modes = |first_instance, reject_remote_clients| {
            let options = Options {
                first_instance,
                reject_remote_clients,
            };
            let (open_mode, pipe_mode) = options.modes();
            let is_first = open_mode & FILE_FLAG_FIRST_PIPE_INSTANCE != 0;
            let rejects = pipe_mode & PIPE_REJECT_REMOTE_CLIENTS != 0;
            (is_first, rejects)
        };
        for options in [(false, false), (true, false), (false, true), (true, true)] {
            assert_eq!(modes(options.0, options.1), options);
        }
    }

    #[test]
    fn the_buffer_of_a_long_message_is_given_back_when_it_is_out() {
        let (queue, server, mut client) = pair("long");
        server.pipe.lock().has_messages = true;
        let capacity = || server.pipe.lock().write_buffer.capacity();
        assert_eq!(capacity(), BUFFER);
        let long = vec![1; 10 * BUFFER];
        assert_eq!(server.write(&[IoSlice::new(&long)]).unwrap(), long.len());
        assert!(capacity() >= long.len());
        let reading = thread::spawn(move || client.read_exact(&mut vec![0; 10 * BUFFER]));
        let mut events = EventBuffer::with_capacity(8);
        let deadline = Instant::now() + super::super::PATIENCE;
        while !server.pipe.lock().write.is_idle() {
            assert!(Instant::now() < deadline);
            let soon = Some(Duration::from_millis(10));
            queue.select(&mut events, soon).unwrap();
        }
        reading.join().unwrap().unwrap();
        assert_eq!(capacity(), BUFFER);
    }

    #[test]
    fn a_pipe_that_was_dropped_has_no_operations() {
        let (queue, server, _client) = pair("gone");
        let words: Vec<usize> = {
            let operations = server.pipe.operations();
            operations.map(|(_, operation)| operation.word()).collect()
        };
        let pipes = Arc::clone(queue.pipes().unwrap());
        assert!(words.iter().all(|&word| pipes.operations.has(word)));
        drop((queue, server));
        assert!(words.iter().all(|&word| !pipes.operations.has(word)));
    }
}
