//! libevent: a base with an edge-triggered, persistent event for every descriptor, on epoll. A
//! table has the events by descriptor, and keeps their memory for reuse. The timeout of a wait is a
//! timer event, and the waker is an event that is never added, but made active from any thread.

use std::ffi::{c_char, c_int, c_short, c_void, CStr};
use std::io;
use std::mem::{size_of, MaybeUninit};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::{Arc, Once};
use std::time::Duration;

use libc::timeval;

use crate::allocator;
use crate::subject::{Ready, Source, Subject, Wake, Want, WAKER};

pub struct Libevent {
    shared: Arc<Shared>,
    /// By descriptor; null if there never was one.
    watches: Vec<*mut Watch>,
}

/// An event, and the data for its callback.
struct Watch {
    event: Event,
    token: usize,
    core: *const Core,
    /// Whether libevent has the event.
    added: bool,
}

/// The library's version, such as "2.1.12-stable".
pub fn version() -> String {
    // SAFETY: it is a static string that ends with NUL.
    let version = unsafe { CStr::from_ptr(event_get_version()) };
    version.to_string_lossy().into_owned()
}

impl Subject for Libevent {
    const NAME: &'static str = "libevent";
    const EDGES: bool = true;

    type Tcp = TcpStream;
    type Unix = UnixStream;
    type Listener = TcpListener;
    type Bare = OwnedFd;
    type Waker = LibeventWaker;

    fn new(_capacity: usize) -> Libevent {
        Libevent {
            shared: Arc::new(Shared::new()),
            watches: Vec::new(),
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) {
        let core = self.shared.core;
        let mut told = Told {
            each: &mut each,
            count: 0,
        };
        // Without `EVLOOP_ONCE` it would poll again after it has reported the first events.
        match timeout {
            // SAFETY: `core` lives as long as `self.shared`. The only `Libevent` has it, and `&mut
            // self` excludes every other use of the base but the waker's.
            Some(Duration::ZERO) => unsafe { run(core, EVLOOP_ONCE | EVLOOP_NONBLOCK, &mut told) },
            // SAFETY: as above.
            None => unsafe { run(core, EVLOOP_ONCE, &mut told) },
            Some(timeout) => {
                let timeout = microseconds(timeout);
                // SAFETY: as above; the timer is initialised, and is not added before or
                // afterwards.
                unsafe {
                    let timer = &raw mut (*core).timer;
                    check("event_add", event_add(timer, &timeout));
                    run(core, EVLOOP_ONCE, &mut told);
                    check("event_del", event_del(timer));
                }
            }
        }
    }

    fn waker(&mut self) -> LibeventWaker {
        LibeventWaker(self.shared.clone())
    }
}

impl Libevent {
    #[inline(always)]
    fn register(&mut self, fd: RawFd, token: usize, want: Want) {
        let index = fd as usize;
        if self.watches.len() <= index {
            self.watches.resize(index + 1, ptr::null_mut());
        }
        if self.watches[index].is_null() {
            self.watches[index] = Box::into_raw(Box::new(Watch::new(self.shared.core)));
        }
        let watch = self.watches[index];
        // SAFETY: the table's entry is a leaked box, which only `drop` frees. libevent uses only
        // its `event`, and nothing else uses the entry during `&mut self`.
        unsafe {
            assert!(!(*watch).added, "{fd} is registered already");
            add(watch, fd, token, want);
        }
    }

    #[inline(always)]
    fn reregister(&mut self, fd: RawFd, token: usize, want: Want) {
        let watch = self.added(fd);
        // SAFETY: the entry is in the table, and its event is added until now.
        unsafe {
            check("event_del", event_del(&raw mut (*watch).event));
            add(watch, fd, token, want);
        }
    }

    #[inline(always)]
    fn deregister(&mut self, fd: RawFd) {
        let watch = self.added(fd);
        // SAFETY: the entry is in the table, and its event is added until now.
        unsafe {
            check("event_del", event_del(&raw mut (*watch).event));
            (*watch).added = false;
        }
    }

    /// The table's entry for a registered descriptor.
    #[inline(always)]
    fn added(&self, fd: RawFd) -> *mut Watch {
        let watch = self.watches[fd as usize];
        // SAFETY: null, or as in `register`.
        let added = !watch.is_null() && unsafe { (*watch).added };
        assert!(added, "{fd} is not registered");
        watch
    }
}

/// # Safety
///
/// `watch` is in the table of a subject to which the caller has exclusive access, and its event is
/// not added.
#[inline(always)]
unsafe fn add(watch: *mut Watch, fd: RawFd, token: usize, want: Want) {
    let events = match want {
        Want::Read => EV_READ,
        Want::Write => EV_WRITE,
    };
    // SAFETY: the caller guarantees it, so the event may be initialised again. It stays at its
    // address until it is deleted, and so does the watch, a pointer to which the callback gets. The
    // base lives as long as the subject.
    unsafe {
        let event = &raw mut (*watch).event;
        let base = (*(*watch).core).base;
        let events = events | EV_PERSIST | EV_ET;
        let code = event_assign(event, base, fd, events, on_event, watch.cast());
        check("event_assign", code);
        check("event_add", event_add(event, ptr::null()));
        (*watch).token = token;
        (*watch).added = true;
    }
}

impl Drop for Libevent {
    fn drop(&mut self) {
        for watch in self.watches.drain(..).filter(|watch| !watch.is_null()) {
            // SAFETY: the table's entries are leaked boxes, to which nothing else refers once
            // libevent does not have the event.
            unsafe {
                if (*watch).added {
                    check("event_del", event_del(&raw mut (*watch).event));
                }
                drop(Box::from_raw(watch));
            }
        }
    }
}

impl<T: AsFd> Source<Libevent> for T {
    #[inline(always)]
    fn register(&mut self, subject: &mut Libevent, token: usize, want: Want) {
        subject.register(self.as_fd().as_raw_fd(), token, want);
    }

    #[inline(always)]
    fn reregister(&mut self, subject: &mut Libevent, token: usize, want: Want) {
        subject.reregister(self.as_fd().as_raw_fd(), token, want);
    }

    #[inline(always)]
    fn deregister(&mut self, subject: &mut Libevent) {
        subject.deregister(self.as_fd().as_raw_fd());
    }
}

pub struct LibeventWaker(Arc<Shared>);

impl Wake for LibeventWaker {
    #[inline(always)]
    fn wake(&self) {
        // SAFETY: the event is initialised, and only the drop of `Shared` frees it. The base has a
        // lock, because threads were enabled before it was created, and this changes it under that
        // lock.
        unsafe { event_active(&raw mut (*self.0.core).wake.event, EV_READ.into(), 0) };
    }
}

/// Shared by `Libevent` and its waker. The last one frees the base.
struct Shared {
    core: *mut Core,
}

// SAFETY: a base is not tied to a thread. Everything is used through the only `Libevent`, or when
// the last owner drops it, except for `wake.event`, which is used under the base's lock. No
// reference to the data behind the pointer is ever created.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

struct Core {
    base: *mut Base,
    /// A pointer to a `Told`, while the loop runs.
    told: *mut c_void,
    timer: Event,
    wake: Watch,
}

impl Shared {
    fn new() -> Shared {
        set_up();
        // SAFETY: it reads a constant.
        assert!(unsafe { event_get_struct_event_size() } <= size_of::<Event>());
        // SAFETY: its requirements are set up, and its failure is checked before it is used.
        let base = unsafe {
            let base = event_base_new();
            assert!(!base.is_null(), "event_base_new");
            // A static string that ends with NUL.
            let method = CStr::from_ptr(event_base_get_method(base));
            assert_eq!(method, c"epoll", "edges need it");
            base
        };
        let core = Box::into_raw(Box::new(Core {
            base,
            told: ptr::null_mut(),
            timer: Event::UNINIT,
            wake: Watch::new(ptr::null()),
        }));
        // SAFETY: the memory is large enough, nothing else uses it, and it stays at its address.
        unsafe {
            let timer = &raw mut (*core).timer;
            let code = event_assign(timer, base, -1, 0, on_timer, ptr::null_mut());
            check("event_assign", code);
            let wake = &raw mut (*core).wake;
            (*wake).core = core;
            (*wake).token = WAKER;
            let event = &raw mut (*wake).event;
            // Persistent, so that it is not deleted after each event, which is not needed.
            let code = event_assign(event, base, -1, EV_PERSIST, on_event, wake.cast());
            check("event_assign", code);
        }
        Shared { core }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let core = self.core;
        // SAFETY: `Libevent` and the waker are gone, so nothing else uses any of this. When the
        // waker's event, which may still be active, is deleted, the base has no event of this
        // subject: the subject has deleted its own, and the timer is added only during a wait. Then
        // nothing uses the base, nor the box from `new`.
        unsafe {
            check("event_del", event_del(&raw mut (*core).wake.event));
            event_base_free((*core).base);
            drop(Box::from_raw(core));
        }
    }
}

impl Watch {
    fn new(core: *const Core) -> Watch {
        Watch {
            event: Event::UNINIT,
            token: 0,
            core,
            added: false,
        }
    }
}

/// The data for the callbacks.
struct Told<'a> {
    each: &'a mut dyn FnMut(Ready),
    count: usize,
}

/// # Safety
///
/// `core` is that of a base whose loop does not run, and to which the caller has exclusive access,
/// except for the waker.
#[inline(always)]
unsafe fn run(core: *mut Core, flags: c_int, told: &mut Told<'_>) {
    // SAFETY: the caller guarantees it. The callbacks, which may be called until this returns, get
    // a `told` that is valid all the time.
    let code = unsafe {
        (*core).told = ptr::from_mut(told).cast();
        // It waits even if only the waker could end the wait.
        event_base_loop((*core).base, flags | EVLOOP_NO_EXIT_ON_EMPTY)
    };
    check("event_base_loop", code);
}

// A panic in a callback ends the process, because it cannot unwind through C.

unsafe extern "C" fn on_event(_fd: c_int, events: c_short, watch: *mut c_void) {
    let watch: *mut Watch = watch.cast();
    // SAFETY: `add` and `Shared::new` have passed the watch of the event to libevent, and keep it
    // as long as libevent may call for it. It is called only in `event_base_loop`, which only `run`
    // calls. `run` has stored a pointer to the data that it borrows for that time, and does not use
    // the data meanwhile. Callbacks do not nest, so this is the only reference created from the
    // pointer.
    let (told, token) = unsafe {
        let told: *mut Told<'_> = (*(*watch).core).told.cast();
        (&mut *told, (*watch).token)
    };
    told.count += 1;
    (told.each)(Ready {
        token,
        readable: events & EV_READ != 0,
    });
}

/// The call itself ends the wait.
unsafe extern "C" fn on_timer(_fd: c_int, _events: c_short, _nothing: *mut c_void) {}

#[inline(always)]
fn microseconds(timeout: Duration) -> timeval {
    let micros = timeout.subsec_nanos().div_ceil(1000);
    let more = u64::from(micros / 1_000_000);
    // libevent adds it to the time, which must not overflow.
    let seconds = timeout.as_secs().saturating_add(more).min(i32::MAX as u64);
    timeval {
        tv_sec: seconds as libc::time_t,
        tv_usec: (micros % 1_000_000) as libc::suseconds_t,
    }
}

#[inline(always)]
fn check(what: &str, code: c_int) {
    if code != 0 {
        panic!("{what}: {code}, {}", io::Error::last_os_error());
    }
}

fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: nothing of libevent was used before, and the functions have the required types.
        let code = unsafe {
            event_set_mem_functions(malloc, realloc, libc::free);
            evthread_use_pthreads()
        };
        check("evthread_use_pthreads", code);
    });
}

unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    allocator::add_one();
    // SAFETY: the call has no memory-safety preconditions.
    unsafe { libc::malloc(size) }
}

unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    allocator::add_one();
    // SAFETY: the caller guarantees that the pointer comes from one of these functions.
    unsafe { libc::realloc(pointer, size) }
}

#[repr(C)]
struct Base {
    _nothing: [u8; 0],
}

/// Only its size matters, which `Shared::new` checks.
#[repr(C)]
struct Event {
    _words: [MaybeUninit<u64>; 16],
}

impl Event {
    const UNINIT: Event = Event {
        _words: [MaybeUninit::uninit(); 16],
    };
}

type Callback = unsafe extern "C" fn(c_int, c_short, *mut c_void);

const EV_READ: c_short = 0x02;
const EV_WRITE: c_short = 0x04;
const EV_PERSIST: c_short = 0x10;
const EV_ET: c_short = 0x20;

const EVLOOP_ONCE: c_int = 0x01;
const EVLOOP_NONBLOCK: c_int = 0x02;
const EVLOOP_NO_EXIT_ON_EMPTY: c_int = 0x04;

extern "C" {
    fn event_set_mem_functions(
        malloc: unsafe extern "C" fn(usize) -> *mut c_void,
        realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
        free: unsafe extern "C" fn(*mut c_void),
    );
    fn evthread_use_pthreads() -> c_int;
    fn event_get_version() -> *const c_char;
    fn event_get_struct_event_size() -> usize;

    fn event_base_new() -> *mut Base;
    fn event_base_free(base: *mut Base);
    fn event_base_get_method(base: *const Base) -> *const c_char;
    fn event_base_loop(base: *mut Base, flags: c_int) -> c_int;

    fn event_assign(
        event: *mut Event,
        base: *mut Base,
        fd: c_int,
        events: c_short,
        each: Callback,
        argument: *mut c_void,
    ) -> c_int;
    fn event_add(event: *mut Event, timeout: *const timeval) -> c_int;
    fn event_del(event: *mut Event) -> c_int;
    fn event_active(event: *mut Event, events: c_int, calls: c_short);
}
