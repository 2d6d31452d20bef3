//! libuv: a loop with a poll handle for every descriptor, which reports readiness as long as it
//! lasts. A table has the handles by descriptor, and their `data` is the token. A closed handle
//! belongs to the loop until the loop runs the next time; then its memory is reused. The timeout of
//! a wait is a timer, and the waker is an async handle.

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::io;
use std::mem::{size_of, MaybeUninit};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::{Arc, Once};
use std::time::Duration;

use crate::allocator;
use crate::subject::{Ready, Source, Subject, Wake, Want, WAKER};

pub struct Libuv {
    shared: Arc<Shared>,
    /// By descriptor; null if there is none.
    polls: Vec<*mut Poll>,
    /// Closed handles that the loop has released.
    idle: Vec<Memory>,
}

/// The memory of a handle. It must stay at its address, and not move with a vector.
type Memory = Box<MaybeUninit<Poll>>;

/// The library's version, such as "1.44.2".
pub fn version() -> String {
    // SAFETY: it is a static string that ends with NUL.
    let version = unsafe { CStr::from_ptr(uv_version_string()) };
    version.to_string_lossy().into_owned()
}

impl Subject for Libuv {
    const NAME: &'static str = "libuv";
    const EDGES: bool = false;

    type Tcp = TcpStream;
    type Unix = UnixStream;
    type Listener = TcpListener;
    type Bare = OwnedFd;
    type Waker = LibuvWaker;

    fn new(_capacity: usize) -> Libuv {
        Libuv {
            shared: Arc::new(Shared::new()),
            polls: Vec::new(),
            idle: Vec::new(),
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) {
        let core = self.shared.core;
        let mut told = Told {
            each: &mut each,
            count: 0,
            expired: false,
            idle: &mut self.idle,
        };
        // The loop does not wait while a handle is being closed, so it may have to run twice.
        match timeout {
            // SAFETY: `core` lives as long as `self.shared`. The only `Libuv` has it, and `&mut
            // self` excludes every other use of the loop.
            Some(Duration::ZERO) => unsafe { run(core, UV_RUN_NOWAIT, &mut told) },
            None => {
                while told.count == 0 {
                    // SAFETY: as above.
                    unsafe { run(core, UV_RUN_ONCE, &mut told) };
                }
            }
            Some(timeout) => {
                // SAFETY: as above; the timer belongs to this loop. The loop's time is that of its
                // last run, from which the timer must not count.
                let code = unsafe {
                    uv_update_time(&raw mut (*core).uv_loop);
                    let timer = &raw mut (*core).timer;
                    uv_timer_start(timer, on_timer, milliseconds(timeout), 0)
                };
                check("uv_timer_start", code);
                while told.count == 0 && !told.expired {
                    // SAFETY: as above.
                    unsafe { run(core, UV_RUN_ONCE, &mut told) };
                }
                // SAFETY: as above.
                check("uv_timer_stop", unsafe {
                    uv_timer_stop(&raw mut (*core).timer)
                });
            }
        }
    }

    fn waker(&mut self) -> LibuvWaker {
        LibuvWaker(self.shared.clone())
    }
}

impl Libuv {
    #[inline(always)]
    fn register(&mut self, fd: RawFd, token: usize, want: Want) {
        let index = fd as usize;
        if self.polls.len() <= index {
            self.polls.resize(index + 1, ptr::null_mut());
        }
        assert!(self.polls[index].is_null(), "{fd} is registered already");
        let memory = self.idle.pop().unwrap_or_else(Box::new_uninit);
        let poll: *mut Poll = Box::into_raw(memory).cast();
        // SAFETY: the memory is large enough, which `Shared::new` has checked, and contains no
        // other handle. The loop is initialised, and nothing else uses it during `&mut self`.
        let code = unsafe { uv_poll_init(&raw mut (*self.shared.core).uv_loop, poll, fd) };
        check("uv_poll_init", code);
        self.polls[index] = poll;
        // SAFETY: the handle is in the table now.
        unsafe { start(poll, token, want) };
    }

    #[inline(always)]
    fn reregister(&mut self, fd: RawFd, token: usize, want: Want) {
        let poll = self.polls[fd as usize];
        assert!(!poll.is_null(), "{fd} is not registered");
        // SAFETY: the handle is in the table.
        unsafe { start(poll, token, want) };
    }

    #[inline(always)]
    fn deregister(&mut self, fd: RawFd) {
        let poll = std::mem::replace(&mut self.polls[fd as usize], ptr::null_mut());
        assert!(!poll.is_null(), "{fd} is not registered");
        // SAFETY: the handle was in the table, whose entry is null now.
        unsafe { close(poll) };
    }
}

/// # Safety
///
/// `poll` is in the table of a subject to which the caller has exclusive access.
#[inline(always)]
unsafe fn start(poll: *mut Poll, token: usize, want: Want) {
    let events = match want {
        Want::Read => UV_READABLE,
        Want::Write => UV_WRITABLE,
    };
    // SAFETY: the caller guarantees it: handles in the table are initialised and not closed, and
    // the loop does not run.
    let code = unsafe {
        (*poll).data = ptr::without_provenance_mut(token);
        uv_poll_start(poll, events, on_poll)
    };
    check("uv_poll_start", code);
}

/// The descriptor is released at once, the memory later.
///
/// # Safety
///
/// `poll` was in the table of a subject to which the caller has exclusive access, and is no longer
/// there.
#[inline(always)]
unsafe fn close(poll: *mut Poll) {
    // SAFETY: the caller guarantees it: the handle is initialised, and not closed, because nothing
    // else closes one. Outside of the table, nothing uses it before `on_closed` gets it. It need
    // not be stopped first: closing stops it.
    unsafe { uv_close(poll.cast(), Some(on_closed)) };
}

impl Drop for Libuv {
    fn drop(&mut self) {
        for poll in self.polls.drain(..).filter(|poll| !poll.is_null()) {
            // SAFETY: the handle was in the table, which is empty after this loop.
            unsafe { close(poll) };
        }
        // `Shared` runs the loop to its end.
    }
}

impl<T: AsFd> Source<Libuv> for T {
    #[inline(always)]
    fn register(&mut self, subject: &mut Libuv, token: usize, want: Want) {
        subject.register(self.as_fd().as_raw_fd(), token, want);
    }

    #[inline(always)]
    fn reregister(&mut self, subject: &mut Libuv, token: usize, want: Want) {
        subject.reregister(self.as_fd().as_raw_fd(), token, want);
    }

    #[inline(always)]
    fn deregister(&mut self, subject: &mut Libuv) {
        subject.deregister(self.as_fd().as_raw_fd());
    }
}

pub struct LibuvWaker(Arc<Shared>);

impl Wake for LibuvWaker {
    #[inline(always)]
    fn wake(&self) {
        // SAFETY: only the drop of `Shared` closes the handle. Before that, libuv allows every
        // thread to call this at any time.
        let code = unsafe { uv_async_send(&raw mut (*self.0.core).wake) };
        check("uv_async_send", code);
    }
}

/// Shared by `Libuv` and its waker. The last one closes the loop.
struct Shared {
    core: *mut Core,
}

// SAFETY: libuv ties a loop to no thread, but requires that one thread at a time uses it.
// Everything is used through the only `Libuv`, or when the last owner drops it, except for `wake`,
// which other threads may use. No reference to the data behind the pointer is ever created.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

struct Core {
    uv_loop: Loop,
    timer: Timer,
    /// Always there, because a loop without a handle does not wait.
    wake: Async,
}

impl Shared {
    fn new() -> Shared {
        set_allocator();
        // SAFETY: these read constants.
        unsafe {
            assert!(uv_loop_size() <= size_of::<Loop>());
            assert!(uv_handle_size(UV_POLL) <= size_of::<Poll>());
            assert!(uv_handle_size(UV_TIMER) <= size_of::<Timer>());
            assert!(uv_handle_size(UV_ASYNC) <= size_of::<Async>());
        }
        let core: *mut Core = Box::into_raw(Box::<Core>::new_uninit()).cast();
        // SAFETY: the memory is large enough, nothing else uses it, and it stays at its address.
        // The loop is initialised before its handles.
        unsafe {
            let uv_loop = &raw mut (*core).uv_loop;
            check("uv_loop_init", uv_loop_init(uv_loop));
            let timer = &raw mut (*core).timer;
            check("uv_timer_init", uv_timer_init(uv_loop, timer));
            let wake = &raw mut (*core).wake;
            check("uv_async_init", uv_async_init(uv_loop, wake, on_wake));
        }
        Shared { core }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let core = self.core;
        let mut idle = Vec::new();
        let mut told = Told {
            each: &mut |_| {},
            count: 0,
            expired: false,
            idle: &mut idle,
        };
        // SAFETY: `Libuv` and the waker are gone, so nothing else uses any of this. The poll
        // handles are being closed since `Libuv` was dropped, and with these two all handles are.
        // When closing the loop succeeds, none is left, and libuv no longer uses the memory. It is
        // a box from `new`, without drop glue that would need it to be initialised.
        unsafe {
            uv_close((&raw mut (*core).timer).cast(), None);
            uv_close((&raw mut (*core).wake).cast(), None);
            while uv_loop_close(&raw mut (*core).uv_loop) != 0 {
                run(core, UV_RUN_ONCE, &mut told);
            }
            drop(Box::from_raw(core.cast::<MaybeUninit<Core>>()));
        }
    }
}

/// The data for the callbacks: the loop's `data` while it runs.
struct Told<'a> {
    each: &'a mut dyn FnMut(Ready),
    count: usize,
    expired: bool,
    idle: &'a mut Vec<Memory>,
}

/// # Safety
///
/// The loop of `core` is initialised, does not run, and nothing else uses it.
#[inline(always)]
unsafe fn run(core: *mut Core, mode: c_int, told: &mut Told<'_>) {
    // SAFETY: the caller guarantees it. The callbacks, which may be called until this returns, get
    // a `data` that is valid all the time.
    unsafe {
        (*core).uv_loop.data = ptr::from_mut(told).cast();
        uv_run(&raw mut (*core).uv_loop, mode);
    }
}

// A panic in a callback ends the process, because it cannot unwind through C.

/// # Safety
///
/// Must be called once in a callback, for its handle, with a lifetime that ends with the callback.
#[inline(always)]
unsafe fn told<'a, const WORDS: usize>(handle: *mut Handle<WORDS>) -> &'a mut Told<'a> {
    // SAFETY: libuv calls back with an initialised handle, and only in `uv_run`, which only `run`
    // calls. `run` has stored a pointer to the data that it borrows for that time, and does not use
    // the data meanwhile. Callbacks do not nest, so this is the only reference created from the
    // pointer.
    unsafe { &mut *(*(*handle).uv_loop).data.cast() }
}

unsafe extern "C" fn on_poll(poll: *mut Poll, status: c_int, events: c_int) {
    // SAFETY: libuv calls this, which calls it once; the token is the `data` of all poll handles.
    let (told, token) = unsafe { (told(poll), (*poll).data.addr()) };
    // After an error no readiness is reported: a read or write returns the error.
    told.count += 1;
    (told.each)(Ready {
        token,
        readable: events & UV_READABLE != 0 || status < 0,
    });
}

unsafe extern "C" fn on_wake(wake: *mut Async) {
    // SAFETY: libuv calls this, which calls it once.
    let told = unsafe { told(wake) };
    told.count += 1;
    (told.each)(Ready {
        token: WAKER,
        readable: true,
    });
}

unsafe extern "C" fn on_timer(timer: *mut Timer) {
    // SAFETY: libuv calls this, which calls it once.
    unsafe { told(timer) }.expired = true;
    // A timer that expires before the loop waits does not keep it from waiting, for ever.
    // SAFETY: the timer is initialised, and its loop runs, which this ends.
    unsafe { uv_stop(uv_handle_get_loop(timer.cast())) };
}

unsafe extern "C" fn on_closed(handle: *mut Bare) {
    let poll: *mut Poll = handle.cast();
    // SAFETY: libuv calls this once, for a handle from `close`. Such handles are boxes that
    // `register` has leaked, and libuv uses the pointer for the last time.
    unsafe { told(poll).idle.push(Box::from_raw(poll.cast())) };
}

#[inline(always)]
fn milliseconds(timeout: Duration) -> u64 {
    let whole = timeout.as_secs().saturating_mul(1000);
    whole.saturating_add(timeout.subsec_nanos().div_ceil(1_000_000).into())
}

#[inline(always)]
fn check(what: &str, code: c_int) {
    if code < 0 {
        panic!("{what}: {}", io::Error::from_raw_os_error(-code));
    }
}

fn set_allocator() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: nothing of libuv was used before, and the functions have the required types.
        let code = unsafe { uv_replace_allocator(malloc, realloc, calloc, libc::free) };
        check("uv_replace_allocator", code);
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

unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    allocator::add_one();
    // SAFETY: the call has no memory-safety preconditions.
    unsafe { libc::calloc(count, size) }
}

// The beginning of `uv_loop_t` and of all handles is public. Of the rest only the size matters,
// which `Shared::new` checks.

#[repr(C)]
struct Loop {
    data: *mut c_void,
    _rest: [MaybeUninit<u64>; 127],
}

#[repr(C)]
struct Handle<const WORDS: usize> {
    data: *mut c_void,
    uv_loop: *mut Loop,
    _rest: [MaybeUninit<u64>; WORDS],
}

type Bare = Handle<0>;
type Poll = Handle<18>;
type Timer = Handle<17>;
type Async = Handle<14>;

const UV_ASYNC: c_uint = 1;
const UV_POLL: c_uint = 8;
const UV_TIMER: c_uint = 13;

const UV_RUN_ONCE: c_int = 1;
const UV_RUN_NOWAIT: c_int = 2;

const UV_READABLE: c_int = 1;
const UV_WRITABLE: c_int = 2;

extern "C" {
    fn uv_replace_allocator(
        malloc: unsafe extern "C" fn(usize) -> *mut c_void,
        realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
        calloc: unsafe extern "C" fn(usize, usize) -> *mut c_void,
        free: unsafe extern "C" fn(*mut c_void),
    ) -> c_int;
    fn uv_version_string() -> *const c_char;
    fn uv_loop_size() -> usize;
    fn uv_handle_size(kind: c_uint) -> usize;

    fn uv_loop_init(uv_loop: *mut Loop) -> c_int;
    fn uv_loop_close(uv_loop: *mut Loop) -> c_int;
    fn uv_run(uv_loop: *mut Loop, mode: c_int) -> c_int;
    fn uv_stop(uv_loop: *mut Loop);
    fn uv_update_time(uv_loop: *mut Loop);
    fn uv_handle_get_loop(handle: *const Bare) -> *mut Loop;
    fn uv_close(handle: *mut Bare, done: Option<unsafe extern "C" fn(*mut Bare)>);

    fn uv_poll_init(uv_loop: *mut Loop, poll: *mut Poll, fd: c_int) -> c_int;
    fn uv_poll_start(
        poll: *mut Poll,
        events: c_int,
        each: unsafe extern "C" fn(*mut Poll, c_int, c_int),
    ) -> c_int;

    fn uv_timer_init(uv_loop: *mut Loop, timer: *mut Timer) -> c_int;
    fn uv_timer_start(
        timer: *mut Timer,
        due: unsafe extern "C" fn(*mut Timer),
        timeout: u64,
        repeat: u64,
    ) -> c_int;
    fn uv_timer_stop(timer: *mut Timer) -> c_int;

    fn uv_async_init(
        uv_loop: *mut Loop,
        wake: *mut Async,
        woken: unsafe extern "C" fn(*mut Async),
    ) -> c_int;
    fn uv_async_send(wake: *mut Async) -> c_int;
}
