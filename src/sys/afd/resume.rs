//! The end of a sleep of the whole machine.
//!
//! A timeout of the port does not count the time that the machine sleeps, but deadlines do. So the
//! polling thread is interrupted when the machine has woken up, and computes its timeout again:
//! [PowerRegisterSuspendResumeNotification](https://learn.microsoft.com/en-us/windows/win32/api/powerbase/nf-powerbase-powerregistersuspendresumenotification),
//! which Windows has from 8 on.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use windows_sys::Win32::Foundation::HANDLE;

use super::library::{find, stay_loaded, Function};
use super::port::{Kind, Port};

/// All ports that are open, and some that were.
static PORTS: Mutex<Vec<Weak<Port>>> = Mutex::new(Vec::new());

/// From now on a port gets a nudge when the machine has slept.
pub(super) fn watch(port: &Arc<Port>) {
    static ONCE: Once = Once::new();
    // Without that function timeouts are late after a sleep.
    ONCE.call_once(|| {
        if let Some(register) = register_of_system() {
            subscribe(register, stay_loaded);
        }
    });
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    ports.retain(|port| port.strong_count() > 0);
    ports.push(Arc::downgrade(port));
}

/// `DEVICE_NOTIFY_SUBSCRIBE_PARAMETERS`.
#[repr(C)]
struct Subscription {
    callback: unsafe extern "system" fn(*const c_void, u32, *const c_void) -> u32,
    /// The callback's first argument.
    context: usize,
}

/// The documentation does not say for how long the system reads it.
static SUBSCRIPTION: Subscription = Subscription {
    callback: resumed,
    context: 0,
};

const DEVICE_NOTIFY_CALLBACK: u32 = 2;

/// The machine runs again; and a user is there.
const PBT_APMRESUMEAUTOMATIC: u32 = 18;
const PBT_APMRESUMESUSPEND: u32 = 7;

type Register = unsafe extern "system" fn(u32, *const Subscription, *mut HANDLE) -> u32;

fn register_of_system() -> Option<Register> {
    let register = find("powrprof.dll", "PowerRegisterSuspendResumeNotification")?;
    // SAFETY: a call needs the function's own type. This is the type that Microsoft's page documents for the
    // name.
    Some(unsafe { mem::transmute::<Function, Register>(register) })
}

/// Subscribes for as long as the process lives, and returns whether that has succeeded.
fn subscribe(register: Register, stay_loaded: impl Fn() -> bool) -> bool {
    // The system goes on calling `resumed` when a library (cdylib) with this code in it is unloaded. To
    // unsubscribe in time is not possible: nothing says when the last call is over.
    if !stay_loaded() {
        return false;
    }
    let mut registration = ptr::null_mut();
    // SAFETY: the call writes one handle to `registration` before it returns. The system may read `SUBSCRIPTION`
    // and call `resumed`, on any thread, as long as the process lives: both stay in memory, because
    // `stay_loaded` has succeeded. `resumed` dereferences none of its arguments.
    let status = unsafe { register(DEVICE_NOTIFY_CALLBACK, &SUBSCRIPTION, &mut registration) };
    status == 0
}

/// Called on a thread of the system's.
unsafe extern "system" fn resumed(_: *const c_void, what: u32, _: *const c_void) -> u32 {
    if matches!(what, PBT_APMRESUMEAUTOMATIC | PBT_APMRESUMESUSPEND) {
        let ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports.iter().filter_map(Weak::upgrade) {
            // If it fails, that timeout is late.
            let _ = port.post(Kind::Nudge, 0, 0);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        #[allow(clippy::missing_const_for_thread_local)] // a block that `msrv` takes for one of Rust 1.79
        static REGISTERED: Cell<u32> = Cell::new(0);
    }

    /// A double: Wine's own function does nothing.
    unsafe extern "system" fn register(
        how: u32,
        what: *const Subscription,
        registration: *mut HANDLE,
    ) -> u32 {
        assert_eq!(how, DEVICE_NOTIFY_CALLBACK);
        assert!(ptr::eq(what, &SUBSCRIPTION));
        assert!(!registration.is_null());
        REGISTERED.with(|count| count.set(count.get() + 1));
        0
    }

    #[test]
    fn no_callback_is_registered_that_could_be_unloaded() {
        let count = || REGISTERED.with(Cell::get);
        assert!(!subscribe(register, || false));
        assert_eq!(count(), 0);
        let is_loaded_before = || count() == 0;
        assert!(subscribe(register, is_loaded_before));
        assert_eq!(count(), 1);
    }

    #[test]
    fn this_system_has_the_function() {
        assert!(register_of_system().is_some());
    }

    #[test]
    fn each_port_gets_a_nudge_when_the_machine_has_slept() {
        const PBT_APMSUSPEND: u32 = 4;

        let gone = Arc::new(Port::open().unwrap());
        watch(&gone);
        drop(gone);
        let ports = [(); 2].map(|()| Arc::new(Port::open().unwrap()));
        ports.iter().for_each(watch);
        let mut packets = Vec::with_capacity(8);
        for (what, nudges) in [
            (PBT_APMSUSPEND, 0),
            (PBT_APMRESUMEAUTOMATIC, 1),
            (PBT_APMRESUMESUSPEND, 1),
        ] {
            // SAFETY: `resumed` dereferences neither of the null pointers.
            unsafe { resumed(ptr::null(), what, ptr::null()) };
            for port in &ports {
                port.dequeue(&mut packets, 8, 0).unwrap();
                assert_eq!(packets.len(), nudges, "{what}");
                assert!(packets
                    .iter()
                    .all(|packet| packet.kind() == Some(Kind::Nudge)));
            }
        }
    }

    #[test]
    fn a_port_that_was_dropped_is_removed_from_the_list() {
        for _ in 0..100 {
            watch(&Arc::new(Port::open().unwrap()));
        }
        // Those of other tests are there as well.
        let gone = |ports: &Vec<Weak<Port>>| {
            let gone = ports.iter().filter(|port| port.strong_count() == 0);
            gone.count()
        };
        assert!(gone(&PORTS.lock().unwrap()) < 50);
    }
}
