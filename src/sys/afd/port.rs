//! The completion port: what Windows has finished, in order, and what was posted:
//! [I/O completion ports](https://learn.microsoft.com/en-us/windows/win32/fileio/i-o-completion-ports).

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, NTSTATUS, WAIT_TIMEOUT};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, PostQueuedCompletionStatus, OVERLAPPED,
    OVERLAPPED_ENTRY,
};

use super::status::bool_result;

/// Shared by all whose I/O ends on it, so that they can always take packets, with which the kernel gives
/// memory back.
#[derive(Debug)]
pub(crate) struct Port {
    handle: OwnedHandle,
}

/// The source of a packet: the port's completion keys.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A poll of a socket has ended. The word is the slot of the socket.
    Poll = 1,
    /// A waker has posted it. The word is its token.
    UserEvent = 2,
    /// The polling thread is interrupted.
    Nudge = 3,
    /// A timer has ended.
    Timer = 4,
    /// An operation on a pipe has ended. The word is its address, in this process or another one that has
    /// a duplicate of the handle.
    #[cfg(feature = "os-ext")]
    Pipe = 5,
    /// A handle that a registration waits for was signalled. The word is the number of its pool wait, and
    /// the packet's number that of the registration.
    #[cfg(feature = "os-ext")]
    Signal = 6,
}

impl Kind {
    pub(super) const ALL: &'static [Kind] = &[
        Kind::Poll,
        Kind::UserEvent,
        Kind::Nudge,
        Kind::Timer,
        #[cfg(feature = "os-ext")]
        Kind::Pipe,
        #[cfg(feature = "os-ext")]
        Kind::Signal,
    ];
}

/// A packet, as the kernel writes it.
#[derive(Copy, Clone)]
#[repr(transparent)]
pub(crate) struct KernelEvent(OVERLAPPED_ENTRY);

// SAFETY: its only pointer is `lpOverlapped`, which is used as a word (`word`) and never dereferenced.
unsafe impl Send for KernelEvent {}
// SAFETY: as above.
unsafe impl Sync for KernelEvent {}

impl KernelEvent {
    /// `None`: foreign.
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::ALL
            .iter()
            .copied()
            .find(|&kind| kind as usize == self.0.lpCompletionKey)
    }

    /// The word that the operation was submitted with, or the packet posted with.
    pub(super) fn word(&self) -> usize {
        self.0.lpOverlapped as usize
    }

    /// The number that was posted, or that of the bytes which were transferred.
    pub(super) fn number(&self) -> u32 {
        self.0.dwNumberOfBytesTransferred
    }

    /// How the operation ended.
    pub(super) fn status(&self) -> NTSTATUS {
        // The low half; the rest has no meaning.
        self.0.Internal as NTSTATUS
    }
}

impl AsRawHandle for Port {
    fn as_raw_handle(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }
}

impl Port {
    /// An empty port, which child processes do not inherit.
    pub(super) fn open() -> io::Result<Port> {
        // With a limit, a packet waits while that many threads which have taken packets off the port
        // before are busy with something else.
        const ANY_NUMBER_OF_THREADS: u32 = i32::MAX as u32;

        // SAFETY: the call accesses no memory of the process. With an invalid file handle and a null port it
        // opens a new port.
        let handle = unsafe {
            CreateIoCompletionPort(
                INVALID_HANDLE_VALUE,
                ptr::null_mut(),
                0,
                ANY_NUMBER_OF_THREADS,
            )
        };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened this handle, and nothing else owns it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(Port { handle })
    }

    /// From now on all operations on the handle's file end on this port.
    pub(super) fn associate(&self, handle: BorrowedHandle<'_>, kind: Kind) -> io::Result<()> {
        let (handle, port) = (handle.as_raw_handle(), self.handle.as_raw_handle());
        // SAFETY: the call accesses no memory of the process. Both handles are open: one is borrowed, and `self`
        // owns the other. What then completes on the file makes packets, whose words are not dereferenced.
        let same = unsafe { CreateIoCompletionPort(handle, port, kind as usize, 0) };
        match same.is_null() {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }

    /// Queues a packet.
    #[inline]
    pub(super) fn post(&self, kind: Kind, number: u32, word: usize) -> io::Result<()> {
        // SAFETY: the call dereferences no pointer: the port returns the word as it is, and so do the receivers
        // of the packet treat it. The handle is open, because `self` owns it.
        bool_result(unsafe {
            PostQueuedCompletionStatus(
                self.handle.as_raw_handle(),
                number,
                kind as usize,
                word as *const OVERLAPPED,
            )
        })
    }

    /// Waits for a packet, with a timeout in milliseconds; `u32::MAX` is none. Replaces the contents of
    /// `packets` by at most `limit` of them, as far as its capacity goes; by none at the timeout.
    pub(super) fn dequeue(
        &self,
        packets: &mut Vec<KernelEvent>,
        limit: usize,
        millis: u32,
    ) -> io::Result<()> {
        packets.clear();
        let limit = limit.min(packets.capacity());
        let mut count = 0;
        // SAFETY: the call writes at most `limit` entries to `packets`, and their number to `count`, before it
        // returns. `limit` is at most the capacity, and `KernelEvent` is transparent over an entry.
        let dequeued = bool_result(unsafe {
            GetQueuedCompletionStatusEx(
                self.handle.as_raw_handle(),
                packets.as_mut_ptr().cast(),
                limit as u32,
                &mut count,
                millis,
                0,
            )
        });
        match dequeued {
            Ok(()) => {
                debug_assert!(count as usize <= limit);
                // SAFETY: `count` is at most `limit`, and so at most the capacity; the kernel has initialised the
                // first `count` entries.
                unsafe { packets.set_len(count as usize) };
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(WAIT_TIMEOUT as i32) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
impl Port {
    /// Queues a packet with any key, as other code would that has the port.
    pub(super) fn post_foreign(&self, key: usize, number: u32, word: usize) {
        let port = self.handle.as_raw_handle();
        // SAFETY: as in `post`.
        let posted = bool_result(unsafe {
            PostQueuedCompletionStatus(port, number, key, word as *const OVERLAPPED)
        });
        posted.unwrap();
    }

    /// One that refuses packets, and has none.
    pub(super) fn broken() -> Port {
        Port {
            handle: std::fs::File::open("NUL").unwrap().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_no_packet_and_a_failure_is_an_error() {
        let mut packets = Vec::with_capacity(8);
        Port::open().unwrap().dequeue(&mut packets, 8, 1).unwrap();
        assert!(packets.is_empty());
        Port::broken().dequeue(&mut packets, 8, 1).unwrap_err();
    }
}
