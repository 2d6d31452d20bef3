//! Handles that can be waited for, and how many signals of one are still to be reported.
//!
//! A wait takes a signal of some objects, and a registration waits when it likes. So the log alone does not say
//! how many signals there are:
//!
//! - Each signal of a semaphore counts.
//! - An event that each wait resets has one signal at most. To signal it again is another signal only if a wait has
//!   taken the first one. The system says whether the event is signalled, without a wait.
//! - An event that stays signalled is reported again and again. What a registration has seen may be reported after
//!   the event was reset.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateSemaphoreW, ReleaseSemaphore, ResetEvent, SetEvent, WaitForSingleObject,
};

use crate::judge::Failure;
use crate::program::Kind;

/// A duplicate of a handle, and what is known of its object.
pub struct Signals {
    kind: Kind,
    object: OwnedHandle,
    /// The signals that are certainly still to be reported. (Not of an event that stays signalled.) While another
    /// thread signals a semaphore, those of its signals that were reported are subtracted.
    least: isize,
    /// The maximum number of events that may come, besides those of an event that is signalled.
    most: usize,
    /// The signals that nobody may take, because no registration waits.
    untaken: usize,
    /// The signals that another thread still sends.
    to_be_sent: usize,
    /// Nothing has taken or reported a signal, since another thread began to signal it.
    is_untouched: bool,
}

/// What the object is to its registration.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    No,
    /// Registered, and reported: it does not wait.
    Reported,
    Waits,
}

impl Signals {
    /// Not signalled. Returns the program's handle as well.
    pub fn new(kind: Kind) -> io::Result<(Signals, OwnedHandle)> {
        // SAFETY: attributes and name are null, which stands for none.
        let handle = unsafe {
            match kind {
                Kind::Semaphore => CreateSemaphoreW(ptr::null(), 0, i32::MAX, ptr::null()),
                _ => CreateEventW(ptr::null(), (kind == Kind::Manual).into(), 0, ptr::null()),
            }
        };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened it, and nothing else owns it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        let signals = Signals {
            kind,
            object: handle.try_clone()?,
            least: 0,
            most: 0,
            untaken: 0,
            to_be_sent: 0,
            is_untouched: false,
        };
        Ok((signals, handle))
    }

    /// How many waits the object would end now.
    pub fn count(&self) -> usize {
        let mut information = [0u32; 2];
        let query = match self.kind {
            Kind::Semaphore => NtQuerySemaphore,
            _ => NtQueryEvent,
        };
        // SAFETY: class 0 of both calls is a structure of two numbers of 32 bits, which is the size of `information`.
        // The handle is open, and the returned length is not asked for.
        let status = unsafe {
            query(
                self.object.as_raw_handle(),
                0,
                information.as_mut_ptr().cast(),
                8,
                ptr::null_mut(),
            )
        };
        assert!(status >= 0, "{status:#x}");
        // The count of a semaphore, and then its maximum; the type of an event, and then whether it is signalled.
        match self.kind {
            Kind::Semaphore => information[0] as usize,
            _ => information[1] as usize,
        }
    }

    /// An event is due of a registration that waits.
    pub fn is_due(&self) -> bool {
        match self.kind {
            Kind::Manual => self.count() > 0,
            _ => self.least > 0,
        }
    }

    /// An event has come, and another one is due for another signal.
    pub fn has_more(&self) -> bool {
        self.kind != Kind::Manual && self.least > 0
    }

    /// It is signalled, and stays so: a registration finds that, and no thread of the pool has to say so.
    pub fn is_signalled(&self) -> bool {
        self.count() > 0 && self.to_be_sent == 0
    }

    pub fn signal(&mut self, times: usize, watched: Watched) {
        for _ in 0..times {
            let before = self.count();
            signal(self.kind, self.object.as_raw_handle());
            self.untaken = match (watched, self.kind) {
                (Watched::Waits, _) => 0,
                (_, Kind::Semaphore) => before + 1,
                _ => 1,
            };
            match self.kind {
                Kind::Semaphore => self.add(1),
                Kind::Auto if before == 0 => self.add(1),
                // A wait may see it, and report it when it is reset; or it has taken the one before in the
                // meantime.
                _ if watched == Watched::Waits => self.most += 1,
                _ => {}
            }
        }
    }

    fn add(&mut self, count: usize) {
        self.least += count as isize;
        self.most += count;
    }

    /// Resets an event.
    pub fn unsignal(&mut self, watched: Watched) {
        let before = self.count();
        // SAFETY: the handle is open. The call fails if it is a semaphore.
        let is_reset = unsafe { ResetEvent(self.object.as_raw_handle()) } != 0;
        if !is_reset {
            return;
        }
        self.untaken = 0;
        self.is_untouched = false;
        if self.kind == Kind::Auto && before > 0 {
            self.subtract_one();
            // Otherwise the registration may have taken it.
            if watched != Watched::Waits {
                self.most = self.most.saturating_sub(1);
            }
        }
    }

    /// The program waits for it. Returns whether it was signalled.
    pub fn take(&mut self) -> Result<bool, Failure> {
        // SAFETY: the handle is open.
        let is_taken = match unsafe { WaitForSingleObject(self.object.as_raw_handle(), 0) } {
            WAIT_OBJECT_0 => true,
            WAIT_TIMEOUT => false,
            other => return Err(Failure::new("failed call", format!("a wait: {other:#x}"))),
        };
        if is_taken && self.kind != Kind::Manual {
            self.is_untouched = false;
            self.untaken = self.untaken.saturating_sub(1);
            self.subtract_one();
            if self.most == 0 {
                return Err(self.failure("more signals than were sent"));
            }
            self.most -= 1;
        } else if !is_taken && self.untaken > 0 {
            return Err(self.failure("no registration waits, and a signal is gone"));
        }
        Ok(is_taken)
    }

    /// A registration begins, or is armed again.
    pub fn begin(&mut self) -> Result<(), Failure> {
        if self.count() < self.untaken {
            return Err(self.failure("no registration waits, and a signal is gone"));
        }
        self.untaken = 0;
        if self.kind == Kind::Manual {
            self.most += self.count();
        }
        Ok(())
    }

    /// The source was unwrapped: it loses the signals that were taken and not reported.
    pub fn unwrapped(&mut self) {
        let count = self.count();
        self.untaken = count;
        match self.kind {
            Kind::Manual => self.most = self.to_be_sent,
            _ => {
                self.least = count as isize;
                self.most = count + self.to_be_sent;
            }
        }
    }

    /// An event has come of it. `is_concurrent`: the program did something at the same time.
    pub fn reported(&mut self, is_concurrent: bool) -> Result<(), Failure> {
        self.is_untouched = false;
        // It may have been reset meanwhile.
        let was_signalled = self.kind == Kind::Manual && (is_concurrent || self.count() > 0);
        if self.most == 0 && !was_signalled {
            return Err(self.failure("an event without a signal"));
        }
        self.subtract_one();
        self.most = self.most.saturating_sub(1);
        Ok(())
    }

    /// A signal was taken or reported. It may not be one of the least.
    fn subtract_one(&mut self) {
        self.least -= match self.kind {
            Kind::Semaphore => 1,
            _ => self.least.min(1),
        };
    }

    /// Another thread begins to signal it so many times.
    pub fn begin_signalling(&mut self, times: usize) -> io::Result<JoinHandle<()>> {
        let object = self.object.try_clone()?;
        let kind = self.kind;
        self.most += times;
        self.to_be_sent += times;
        self.untaken = 0;
        self.is_untouched = true;
        Ok(thread::spawn(move || {
            for time in 0..times {
                signal(kind, object.as_raw_handle());
                match time % 4 {
                    0 => thread::sleep(Duration::from_millis(1)),
                    _ => thread::yield_now(),
                }
            }
        }))
    }

    /// The other thread has signalled it so many times.
    pub fn end_signalling(&mut self, times: usize, was_unwrapped: bool) {
        self.to_be_sent -= times;
        self.least = match self.kind {
            Kind::Semaphore if !was_unwrapped => self.least + times as isize,
            // Some were lost, and those that are there were not.
            Kind::Semaphore => self.count() as isize,
            _ => {
                let at_least = isize::from(self.is_untouched && !was_unwrapped);
                self.least.max(self.count() as isize).max(at_least)
            }
        };
        self.is_untouched = false;
    }

    fn failure(&self, text: &str) -> Failure {
        Failure::new("signals", format!("{:?}: {text}: {self}", self.kind))
    }
}

impl fmt::Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.least, self.most);
        write!(
            f,
            "{least} to {most} signals, and the object has {}",
            self.count()
        )
    }
}

fn signal(kind: Kind, object: RawHandle) {
    // SAFETY: the caller's handle is open; the count before is not asked for.
    let signalled = unsafe {
        match kind {
            Kind::Semaphore => ReleaseSemaphore(object, 1, ptr::null_mut()),
            _ => SetEvent(object),
        }
    };
    assert_ne!(signalled, 0, "{}", io::Error::last_os_error());
}

#[link(name = "ntdll")]
extern "system" {
    fn NtQueryEvent(
        event: RawHandle,
        class: i32,
        information: *mut c_void,
        length: u32,
        returned: *mut u32,
    ) -> i32;
    fn NtQuerySemaphore(
        semaphore: RawHandle,
        class: i32,
        information: *mut c_void,
        length: u32,
        returned: *mut u32,
    ) -> i32;
}
