//! Handles of the ancillary function driver, to which polls of sockets are submitted.
//!
//! The driver has no documentation; the names are those of the `afd.h` in old versions of the Windows
//! Driver Kit.

use std::io;
use std::mem;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawSocket};
use std::ptr;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{NtCancelIoFileEx, NtCreateFile, FILE_OPEN};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{
    HANDLE, NTSTATUS, STATUS_NOT_FOUND, STATUS_PENDING, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    SetFileCompletionNotificationModes, FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE,
};
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_SET_EVENT_ON_HANDLE;
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0};

use super::port::{Kind, Port};
use super::status::{bool_result, check, succeeded};

/// What a socket can become ready for, as bits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct AfdEvents(pub(super) u32);

impl AfdEvents {
    pub(super) const RECEIVE: AfdEvents = AfdEvents(0x0001);
    pub(super) const RECEIVE_EXPEDITED: AfdEvents = AfdEvents(0x0002);
    pub(super) const SEND: AfdEvents = AfdEvents(0x0004);
    /// The peer has shut down its writing half.
    pub(super) const DISCONNECT: AfdEvents = AfdEvents(0x0008);
    /// The connection was reset.
    pub(super) const ABORT: AfdEvents = AfdEvents(0x0010);
    /// The handle that the poll names was closed.
    pub(super) const LOCAL_CLOSE: AfdEvents = AfdEvents(0x0020);
    pub(super) const ACCEPT: AfdEvents = AfdEvents(0x0080);
    pub(super) const CONNECT_FAIL: AfdEvents = AfdEvents(0x0100);

    pub(super) const fn or(self, other: AfdEvents) -> AfdEvents {
        AfdEvents(self.0 | other.0)
    }

    pub(super) const fn without(self, other: AfdEvents) -> AfdEvents {
        AfdEvents(self.0 & !other.0)
    }

    pub(super) const fn intersects(self, other: AfdEvents) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn contains(self, other: AfdEvents) -> bool {
        self.0 & other.0 == other.0
    }
}

/// `IOCTL_AFD_POLL`.
const IOCTL_POLL: u32 = 0x0001_2024;

/// The memory that the driver owns while a poll is in flight: `AFD_POLL_INFO` with one socket. The
/// driver reads it when the poll begins, and writes it, with the status, when the poll ends.
#[repr(C)]
pub(super) struct Poll {
    status: IO_STATUS_BLOCK,
    info: PollInfo,
}

#[repr(C)]
struct PollInfo {
    /// In units of 100 ns.
    timeout: i64,
    /// The length of `handles`; when the poll ends, how many of them are ready.
    count: u32,
    /// Whether it ends other polls of the same handle.
    exclusive: u32,
    handles: [PollHandle; 1],
}

#[repr(C)]
struct PollHandle {
    handle: HANDLE,
    events: u32,
    status: NTSTATUS,
}

/// The bytes of a ready set of one socket. (Padding may follow.)
const READY_SET: usize =
    mem::size_of::<i64>() + 2 * mem::size_of::<u32>() + mem::size_of::<PollHandle>();

impl Poll {
    pub(super) fn new() -> Poll {
        Poll {
            status: IO_STATUS_BLOCK {
                Anonymous: IO_STATUS_BLOCK_0 {
                    Status: STATUS_PENDING,
                },
                Information: 0,
            },
            info: PollInfo {
                timeout: i64::MAX,
                count: 1,
                exclusive: 0,
                handles: [PollHandle {
                    handle: ptr::null_mut(),
                    events: 0,
                    status: 0,
                }],
            },
        }
    }

    /// The ready set of the socket, after the poll has succeeded and written `length` bytes.
    pub(super) fn ready_set(&self, length: u32) -> AfdEvents {
        match self.info.count {
            1.. if length as usize >= READY_SET => AfdEvents(self.info.handles[0].events),
            _ => AfdEvents(0),
        }
    }
}

/// One handle of the driver.
#[derive(Debug)]
pub(super) struct Device {
    handle: OwnedHandle,
}

impl Device {
    /// A handle whose polls end on the port.
    pub(super) fn open(port: &Port) -> io::Result<Device> {
        // Behind the driver's own name any name may follow.
        const NAME: &str = "\\Device\\Afd\\Mio";
        let mut name: Vec<u16> = NAME.encode_utf16().collect();
        let length = mem::size_of_val(&name[..]) as u16;
        let name = UNICODE_STRING {
            Length: length,
            MaximumLength: length,
            Buffer: name.as_mut_ptr(),
        };
        let attributes = OBJECT_ATTRIBUTES {
            Length: mem::size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: ptr::null_mut(),
            ObjectName: &name,
            // Not inherited by child processes.
            Attributes: 0,
            SecurityDescriptor: ptr::null(),
            SecurityQualityOfService: ptr::null(),
        };
        let mut handle = ptr::null_mut();
        let mut status = Poll::new().status;
        // SAFETY: the kernel reads `attributes`, `name` in it and the name's buffer, whose length is right, and
        // writes one handle to `handle` and one block to `status`. All of them outlive the call, and opening is
        // synchronous: nothing is accessed later. The other pointers are null with length 0.
        check(unsafe {
            NtCreateFile(
                &mut handle,
                SYNCHRONIZE,
                &attributes,
                &mut status,
                ptr::null(),
                0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_OPEN,
                0,
                ptr::null(),
                0,
            )
        })?;
        // SAFETY: the call has just opened this handle, and nothing else owns it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        port.associate(handle.as_handle(), Kind::Poll)?;
        // Nobody waits for the handle itself.
        // SAFETY: the call accesses no memory of the process. The handle is open, because it is owned here.
        bool_result(unsafe {
            SetFileCompletionNotificationModes(
                handle.as_raw_handle(),
                FILE_SKIP_SET_EVENT_ON_HANDLE as u8,
            )
        })?;
        Ok(Device { handle })
    }

    /// Submits a poll of a socket. It ends when the socket is ready for one of the events, and then
    /// queues a packet with the word, which is not 0. If submitting fails, it queues no packet, and the
    /// caller owns the memory as before.
    ///
    /// # Safety
    ///
    /// `poll` must be valid, and not be the kernel's. If this succeeds the kernel owns it from now on, and
    /// until its packet was taken off the port: it must stay where it is, and nobody may access it.
    pub(super) unsafe fn poll(
        &self,
        poll: *mut Poll,
        socket: RawSocket,
        events: AfdEvents,
        word: usize,
    ) -> Result<(), NTSTATUS> {
        // SAFETY: the caller guarantees that `poll` is valid, and that the kernel does not have it.
        unsafe { poll.write(Poll::new()) };
        let handle = PollHandle {
            handle: socket as usize as HANDLE,
            events: events.0,
            status: 0,
        };
        // SAFETY: `poll` is valid and not the kernel's, as above. Until the poll ends the kernel reads and writes
        // `info`, whose size it is given as that of both buffers, and writes `status`. Both lie in `poll`, which
        // the caller leaves alone until then. There is no event and no routine to be called.
        succeeded(unsafe {
            (*poll).info.handles = [handle];
            let info: *mut PollInfo = ptr::addr_of_mut!((*poll).info);
            NtDeviceIoControlFile(
                self.handle.as_raw_handle(),
                ptr::null_mut(),
                None,
                word as *const _,
                ptr::addr_of_mut!((*poll).status),
                IOCTL_POLL,
                info.cast(),
                mem::size_of::<PollInfo>() as u32,
                info.cast(),
                mem::size_of::<PollInfo>() as u32,
            )
        })
    }

    /// Cancels a poll. Its packet comes all the same, also if it has ended already.
    pub(super) fn cancel(&self, poll: *mut Poll) -> Result<(), NTSTATUS> {
        let mut status = Poll::new().status;
        // The first field, by which the kernel knows the poll.
        let block: *mut IO_STATUS_BLOCK = poll.cast();
        // SAFETY: the kernel compares `block` with the addresses of polls in flight, and does not access what is
        // there. It writes one block to `status`, before the call returns.
        let cancelled =
            unsafe { NtCancelIoFileEx(self.handle.as_raw_handle(), block, &mut status) };
        match cancelled {
            // It has ended, and its packet is on its way.
            STATUS_NOT_FOUND => Ok(()),
            other => succeeded(other),
        }
    }
}

#[cfg(test)]
impl Device {
    /// One that refuses polls.
    pub(super) fn broken() -> Device {
        Device {
            handle: std::fs::File::open("NUL").unwrap().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_set_ends_with_the_status_of_its_socket() {
        let poll = Poll::new();
        let status = ptr::addr_of!(poll.info.handles[0].status);
        let begins = ptr::addr_of!(poll.info) as usize;
        let ends = status as usize + mem::size_of_val(&poll.info.handles[0].status);
        assert_eq!(READY_SET, ends - begins);
    }

    #[test]
    fn sets_of_events_are_combined_and_compared() {
        let (one, other) = (AfdEvents::SEND, AfdEvents::RECEIVE);
        let both = one.or(other);
        assert_eq!(both.or(one), both);
        assert_eq!(both.without(one), other);
        assert_eq!(other.without(one), other);
        assert!(both.contains(one) && both.contains(both) && !one.contains(both));
        assert!(both.intersects(one) && !one.intersects(other));
    }

    #[test]
    fn a_ready_set_that_is_too_short_is_empty() {
        let mut poll = Poll::new();
        poll.info.handles[0].events = AfdEvents::SEND.0;
        assert_eq!(poll.ready_set(READY_SET as u32), AfdEvents::SEND);
        assert_eq!(poll.ready_set(READY_SET as u32 - 1), AfdEvents(0));
        poll.info.count = 0;
        assert_eq!(poll.ready_set(READY_SET as u32), AfdEvents(0));
    }
}
