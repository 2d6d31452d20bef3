//! Waiting on a port more exactly than its own timeouts, which end with the clock's ticks (every 15.6 ms,
//! unless a program raises that): a timer of high resolution, which queues a packet on the port.
//!
//! Windows has such timers from 10 (1803) on, and objects that queue a packet when
//! something is signalled from 8 on:
//! [NtAssociateWaitCompletionPacket](https://learn.microsoft.com/en-us/windows/win32/devnotes/ntassociatewaitcompletionpacket).
//! Where one of them is missing, timeouts are kept to whole milliseconds and ticks.

use std::ffi::c_void;
use std::io;
use std::mem;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Win32::Foundation::{HANDLE, NTSTATUS};
use windows_sys::Win32::System::Threading::{
    CreateWaitableTimerExW, SetWaitableTimer, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
    TIMER_ALL_ACCESS,
};

use super::library::{find, Function};
use super::port::{Kind, Port};
use super::status::{bool_result, check};

/// The functions of the system that not every Windows has.
#[derive(Copy, Clone, Debug)]
pub(super) struct Calls {
    create_packet: CreatePacket,
    associate: Associate,
    cancel: Cancel,
    /// The flags of a timer.
    timer_flags: u32,
}

type CreatePacket =
    unsafe extern "system" fn(*mut HANDLE, u32, *const OBJECT_ATTRIBUTES) -> NTSTATUS;
type Associate = unsafe extern "system" fn(
    packet: HANDLE,
    port: HANDLE,
    signalled: HANDLE,
    key: *const c_void,
    word: *const c_void,
    status: NTSTATUS,
    number: usize,
    was_signalled: *mut u8,
) -> NTSTATUS;
type Cancel = unsafe extern "system" fn(packet: HANDLE, remove: u8) -> NTSTATUS;

impl Calls {
    /// Those of this system, looked up once.
    pub(super) fn of_system() -> Option<Calls> {
        static CALLS: OnceLock<Option<Calls>> = OnceLock::new();
        *CALLS.get_or_init(|| {
            let create_packet = find("ntdll.dll", "NtCreateWaitCompletionPacket")?;
            let associate = find("ntdll.dll", "NtAssociateWaitCompletionPacket")?;
            let cancel = find("ntdll.dll", "NtCancelWaitCompletionPacket")?;
            // SAFETY: a call needs the function's own type. These are the types that Microsoft's pages document
            // for the three names.
            unsafe {
                Some(Calls {
                    create_packet: mem::transmute::<Function, CreatePacket>(create_packet),
                    associate: mem::transmute::<Function, Associate>(associate),
                    cancel: mem::transmute::<Function, Cancel>(cancel),
                    timer_flags: CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
                })
            }
        })
    }
}

/// A timer that ends with a packet.
#[derive(Debug)]
pub(super) struct Timer {
    calls: Calls,
    timer: OwnedHandle,
    packet: OwnedHandle,
}

impl Timer {
    pub(super) fn open(calls: Calls) -> io::Result<Timer> {
        // All rights that this process may have.
        const MAXIMUM_ALLOWED: u32 = 0x0200_0000;

        // SAFETY: the call reads attributes and a name through its pointers. Both are null, which stands for
        // none.
        let timer = unsafe {
            CreateWaitableTimerExW(
                ptr::null(),
                ptr::null(),
                calls.timer_flags,
                TIMER_ALL_ACCESS,
            )
        };
        if timer.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened this handle, and nothing else owns it.
        let timer = unsafe { OwnedHandle::from_raw_handle(timer) };

        let mut packet = ptr::null_mut();
        // SAFETY: the call writes one handle to `packet`, before it returns. The attributes are null, which
        // stands for none.
        check(unsafe { (calls.create_packet)(&mut packet, MAXIMUM_ALLOWED, ptr::null()) })?;
        // SAFETY: the call has just opened this handle, and nothing else owns it.
        let packet = unsafe { OwnedHandle::from_raw_handle(packet) };
        Ok(Timer {
            calls,
            timer,
            packet,
        })
    }

    /// Queues a packet after this time, rounded up to 100 ns. None of this timer is in flight. Returns
    /// whether the time has passed already, so that the packet is on the port.
    pub(super) fn start(&self, port: &Port, after: Duration) -> io::Result<bool> {
        // Negative: relative to now.
        let due = -units(after);
        // SAFETY: the call reads one `i64`, `due`, before it returns. There is no completion routine, so that
        // nothing is called later, and the reason is null.
        bool_result(unsafe {
            SetWaitableTimer(self.timer.as_raw_handle(), &due, 0, None, ptr::null(), 0)
        })?;
        let mut was_signalled = 0;
        // SAFETY: the call writes one byte to `was_signalled` before it returns. The port returns the key and
        // the word as they are, and nothing dereferences them. The kernel keeps the timer and the port alive
        // as long as it needs them.
        check(unsafe {
            (self.calls.associate)(
                self.packet.as_raw_handle(),
                port.as_raw_handle(),
                self.timer.as_raw_handle(),
                Kind::Timer as usize as *const c_void,
                ptr::null(),
                0,
                0,
                &mut was_signalled,
            )
        })?;
        Ok(was_signalled != 0)
    }

    /// Removes its packet, also if it is on the port already.
    pub(super) fn stop(&self) {
        // Where it fails the packet has been taken off the port, or is about to be
        // queued: it then comes with a wait that it does not belong to, which goes on.
        // SAFETY: the call accesses no memory of the process. The handle is open, because `self` owns it.
        let _ = unsafe { (self.calls.cancel)(self.packet.as_raw_handle(), 1) };
    }
}

/// A time in the units of a timer, 100 ns, rounded up.
fn units(time: Duration) -> i64 {
    let units = (time.as_nanos() + 99) / 100;
    i64::try_from(units).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_to_units() {
        let all = [(0, 0), (1, 1), (100, 1), (101, 2), (16_000_000, 160_000)];
        for (nanos, expected) in all {
            assert_eq!(units(Duration::from_nanos(nanos)), expected, "{nanos} ns");
        }
        assert_eq!(units(Duration::MAX), i64::MAX);
    }
}

#[cfg(test)]
pub(super) mod double {
    //! A test double of the system's functions, where it has none: a thread waits for the timer and posts
    //! the packet.

    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Mutex;
    use std::thread::{self, JoinHandle};

    use windows_sys::Win32::Foundation::{STATUS_NOT_IMPLEMENTED, STATUS_SUCCESS, WAIT_OBJECT_0};
    use windows_sys::Win32::System::Threading::{
        CreateEventW, SetEvent, WaitForMultipleObjects, INFINITE,
    };
    use windows_sys::Win32::System::IO::PostQueuedCompletionStatus;

    use super::*;

    pub(in super::super) const CALLS: Calls = Calls {
        create_packet,
        associate,
        cancel,
        timer_flags: 0,
    };

    /// With a timer that has ended whenever it is started, and whose packet another thread takes.
    pub(in super::super) const ALREADY_SIGNALLED: Calls = Calls {
        associate: associate_signalled,
        ..CALLS
    };

    /// With a timer that never ends.
    pub(in super::super) const NEVER_SIGNALLED: Calls = Calls {
        associate: associate_never,
        ..CALLS
    };

    /// Functions that fail.
    pub(in super::super) const NO_PACKETS: Calls = Calls {
        create_packet: refuse_packet,
        ..CALLS
    };
    pub(in super::super) const NO_ASSOCIATIONS: Calls = Calls {
        associate: refuse_association,
        ..CALLS
    };

    /// How often a timer was started.
    pub(in super::super) static STARTED: AtomicUsize = AtomicUsize::new(0);

    /// The threads that wait, by their packets, which are events that end them.
    static WAITING: Mutex<Option<HashMap<usize, JoinHandle<()>>>> = Mutex::new(None);

    /// How many timers were started and not stopped.
    pub(in super::super) fn waiting() -> usize {
        let waiting = WAITING.lock().unwrap();
        waiting.as_ref().map_or(0, HashMap::len)
    }

    unsafe extern "system" fn create_packet(
        packet: *mut HANDLE,
        _: u32,
        _: *const OBJECT_ATTRIBUTES,
    ) -> NTSTATUS {
        // SAFETY: `packet` is `Timer::open`'s, a valid place for a handle. Attributes and name are null, which
        // stands for none.
        unsafe { *packet = CreateEventW(ptr::null(), 0, 0, ptr::null()) };
        STATUS_SUCCESS
    }

    unsafe extern "system" fn refuse_packet(
        _: *mut HANDLE,
        _: u32,
        _: *const OBJECT_ATTRIBUTES,
    ) -> NTSTATUS {
        STATUS_NOT_IMPLEMENTED
    }

    unsafe extern "system" fn refuse_association(
        _: HANDLE,
        _: HANDLE,
        _: HANDLE,
        _: *const c_void,
        _: *const c_void,
        _: NTSTATUS,
        _: usize,
        _: *mut u8,
    ) -> NTSTATUS {
        STATUS_NOT_IMPLEMENTED
    }

    unsafe extern "system" fn associate_signalled(
        _: HANDLE,
        _: HANDLE,
        _: HANDLE,
        _: *const c_void,
        _: *const c_void,
        _: NTSTATUS,
        _: usize,
        was_signalled: *mut u8,
    ) -> NTSTATUS {
        // SAFETY: `was_signalled` is `Timer::start`'s, a valid place for a byte.
        unsafe { *was_signalled = 1 };
        STATUS_SUCCESS
    }

    unsafe extern "system" fn associate_never(
        _: HANDLE,
        _: HANDLE,
        _: HANDLE,
        _: *const c_void,
        _: *const c_void,
        _: NTSTATUS,
        _: usize,
        _: *mut u8,
    ) -> NTSTATUS {
        STATUS_SUCCESS
    }

    unsafe extern "system" fn associate(
        packet: HANDLE,
        port: HANDLE,
        signalled: HANDLE,
        key: *const c_void,
        word: *const c_void,
        _: NTSTATUS,
        number: usize,
        _: *mut u8,
    ) -> NTSTATUS {
        // Relaxed: it is only counted.
        STARTED.fetch_add(1, Ordering::Relaxed);
        let [packet, port, signalled, key, word] = [
            packet as usize,
            port as usize,
            signalled as usize,
            key as usize,
            word as usize,
        ];
        let waits = thread::spawn(move || {
            let handles = [packet as HANDLE, signalled as HANDLE];
            // SAFETY: the call reads two handles, and `handles` has two elements. They are open until this
            // thread has ended, which `cancel` and the next `associate` await.
            let ended = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
            if ended == WAIT_OBJECT_0 + 1 {
                // SAFETY: the call accesses no memory of the process: the port returns the key and the word as
                // they are.
                unsafe {
                    PostQueuedCompletionStatus(port as HANDLE, number as u32, key, word as *const _)
                };
            }
        });
        let mut waiting = WAITING.lock().unwrap();
        let before = waiting
            .get_or_insert_with(HashMap::new)
            .insert(packet, waits);
        drop(waiting);
        if let Some(before) = before {
            before.join().unwrap();
        }
        STATUS_SUCCESS
    }

    unsafe extern "system" fn cancel(packet: HANDLE, _: u8) -> NTSTATUS {
        // SAFETY: the call accesses no memory of the process. `packet` is an event that `create_packet` opened.
        unsafe { SetEvent(packet) };
        let waits = WAITING
            .lock()
            .unwrap()
            .as_mut()
            .and_then(|waiting| waiting.remove(&(packet as usize)));
        if let Some(waits) = waits {
            waits.join().unwrap();
        }
        STATUS_SUCCESS
    }
}
