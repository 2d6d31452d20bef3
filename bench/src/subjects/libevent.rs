//! libevent: a base with an edge-triggered, persistent event for every descriptor, on epoll. The
//! events are in a table by descriptor, where their memory stays to be used again. A wait's timeout
//! is a timer event, and the waker an event that is never added but made active, from any thread.

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
    /// By descriptor; null where there never was one.
    watches: Vec<*mut Watch>,
}

/// An event, and what its callback needs.
struct Watch {
    event: Event,
    token: usize,
    core: *const Core,
    /// Whether libevent has the event.
    added: bool,
}

/// The library's, such as "2.1.12-stable".
pub fn version() -> String {
    // SAFETY: it is a lasting string with an end.
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
        // Without `EVLOOP_ONCE` it would ask again after it has told what there was.
        match timeout {
            // SAFETY: `core` lives as long as `self.shared`, and the `&mut self` of the one
            // `Libevent` that has it keeps all others from the base, but for the waker.
            Some(Duration::ZERO) => unsafe { run(core, EVLOOP_ONCE | EVLOOP_NONBLOCK, &mut told) },
            // SAFETY: as above.
            None => unsafe { run(core, EVLOOP_ONCE, &mut told) },
            Some(timeout) => {
                let timeout = microseconds(timeout);
                // SAFETY: as above; the timer is initialized, and not added before or afterwards.
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
        // SAFETY: what the table has is a box made into a pointer, freed by `drop` only. Of it,
        // libevent uses `event` alone, and nobody else anything during `&mut self`.
        unsafe {
            assert!(!(*watch).added, "{fd} is registered already");
            add(watch, fd, token, want);
        }
    }

    #[inline(always)]
    fn reregister(&mut self, fd: RawFd, token: usize, want: Want) {
        let watch = self.added(fd);
        // SAFETY: it is in the table, and its event is added, until now.
        unsafe {
            check("event_del", event_del(&raw mut (*watch).event));
            add(watch, fd, token, want);
        }
    }

    #[inline(always)]
    fn deregister(&mut self, fd: RawFd) {
        let watch = self.added(fd);
        // SAFETY: it is in the table, and its event is added, until now.
        unsafe {
            check("event_del", event_del(&raw mut (*watch).event));
            (*watch).added = false;
        }
    }

    /// What is in the table for a descriptor that is registered.
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
/// `watch` is in the table of a subject that the caller has to itself, and its event is not added.
#[inline(always)]
unsafe fn add(watch: *mut Watch, fd: RawFd, token: usize, want: Want) {
    let events = match want {
        Want::Read => EV_READ,
        Want::Write => EV_WRITE,
    };
    // SAFETY: as the caller promises, so that the event may be initialized anew. It stays in its
    // place until it is deleted, as does the watch, which is told to the callback. The base lives
    // as long as the subject.
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
            // SAFETY: what the table had are boxes made into pointers, which nobody else has once
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
        // SAFETY: the event is initialized, and gone with the drop of `Shared` only. The base has
        // a lock, since threads were set up before it was made, under which this changes things.
        unsafe { event_active(&raw mut (*self.0.core).wake.event, EV_READ.into(), 0) };
    }
}

/// What `Libevent` and its waker have in common; whichever goes last frees the base.
struct Shared {
    core: *mut Core,
}

// SAFETY: a base is tied to no thread. All is used through the one `Libevent`, or when the last of
// those that share it drops it, except for `wake.event`, which is used under the base's lock. No
// reference to what is behind the pointer is ever made.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

struct Core {
    base: *mut Base,
    /// A `Told`, while the loop runs.
    told: *mut c_void,
    timer: Event,
    wake: Watch,
}

impl Shared {
    fn new() -> Shared {
        set_up();
        // SAFETY: reads a constant.
        assert!(unsafe { event_get_struct_event_size() } <= size_of::<Event>());
        // SAFETY: what it needs is set up; that it has failed is asked before its use.
        let base = unsafe {
            let base = event_base_new();
            assert!(!base.is_null(), "event_base_new");
            // A lasting string with an end.
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
        // SAFETY: the memory is large enough, is used by nobody else, and stays where it is.
        unsafe {
            let timer = &raw mut (*core).timer;
            let code = event_assign(timer, base, -1, 0, on_timer, ptr::null_mut());
            check("event_assign", code);
            let wake = &raw mut (*core).wake;
            (*wake).core = core;
            (*wake).token = WAKER;
            let event = &raw mut (*wake).event;
            // Persistent, so that it is not deleted, which it need not be, each time.
            let code = event_assign(event, base, -1, EV_PERSIST, on_event, wake.cast());
            check("event_assign", code);
        }
        Shared { core }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let core = self.core;
        // SAFETY: `Libevent` and the waker are gone, so that nobody else uses any of this. Once the
        // waker's event, which may be active still, is deleted, the base has none of ours: the
        // subject has deleted its own, and the timer is added during a wait only. Then the base,
        // and the box from `new`, are used by nobody.
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

/// What the callbacks have to do with.
struct Told<'a> {
    each: &'a mut dyn FnMut(Ready),
    count: usize,
}

/// # Safety
///
/// `core` is that of a base whose loop does not run, and which the caller has to itself, but for
/// the waker.
#[inline(always)]
unsafe fn run(core: *mut Core, flags: c_int, told: &mut Told<'_>) {
    // SAFETY: as the caller promises; the callbacks, which may be called from now till this
    // returns, get a `told` that is valid all the while.
    let code = unsafe {
        (*core).told = ptr::from_mut(told).cast();
        // It waits although there may be nothing to wait for but the waker.
        event_base_loop((*core).base, flags | EVLOOP_NO_EXIT_ON_EMPTY)
    };
    check("event_base_loop", code);
}

// A callback that panics ends the process, since it cannot unwind through C.

unsafe extern "C" fn on_event(_fd: c_int, events: c_short, watch: *mut c_void) {
    let watch: *mut Watch = watch.cast();
    // SAFETY: `add` and `Shared::new` have given libevent the watch in which the event is, and keep
    // it as long as it may be called for. It is in `event_base_loop` only, which `run` alone calls.
    // That has put a pointer to what it has borrowed for as long, and does not use meanwhile.
    // Callbacks do not nest, so that this is the only reference made from it.
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

/// That it is called is enough to end the wait.
unsafe extern "C" fn on_timer(_fd: c_int, _events: c_short, _nothing: *mut c_void) {}

#[inline(always)]
fn microseconds(timeout: Duration) -> timeval {
    let micros = timeout.subsec_nanos().div_ceil(1000);
    let more = u64::from(micros / 1_000_000);
    // Libevent adds it to the time, which must not overflow.
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
        // SAFETY: nothing of libevent was used before; the functions are what they are taken for.
        let code = unsafe {
            event_set_mem_functions(malloc, realloc, libc::free);
            evthread_use_pthreads()
        };
        check("evthread_use_pthreads", code);
    });
}

unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    allocator::add_one();
    // SAFETY: needs nothing.
    unsafe { libc::malloc(size) }
}

unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    allocator::add_one();
    // SAFETY: as the caller promises: it has the pointer from one of these.
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
