//! A preloaded network stack replaces the C library's functions on sockets and epoll. Its epoll
//! then watches its sockets, and wakers wake that epoll. `preloaded/stack.c` is such a stack.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    unix,
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(any(mio_model = "kqueue", mio_model = "event-ports"))
))]

mod util;

use std::env;
use std::ffi::CString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_uint};
use mio::unix::SourceFd;
use mio::{Backend, Interest, Token, Waker};
use util::Loop;

/// Runs the test in a process that preloads the stack, as `util::in_child_test` does.
fn with_the_stack(test: &str, flags: &[&str]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libstack.so");
    if !util::is_child() {
        compile(&library, flags);
    }
    util::in_child_with(test, &[("LD_PRELOAD", library.as_os_str())])
}

/// Compiled by the compiler in `MIO_TEST_CC`, if the tests are for another processor.
fn compile(library: &Path, flags: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preloaded/stack.c");
    let compiler = env::var_os("MIO_TEST_CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread"])
        .args(flags)
        .arg("-o")
        .args([library, &source])
        .status()
        .expect("a C compiler");
    assert!(compiled.success());
}

/// The stack's function or variable of this name.
fn symbol<T: Copy>(name: &str) -> T {
    let terminated = CString::new(name).unwrap();
    // SAFETY: the name ends with a NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, terminated.as_ptr()) };
    assert!(!found.is_null(), "{name} is preloaded");
    assert_eq!(std::mem::size_of::<T>(), std::mem::size_of_val(&found));
    // SAFETY: the callers request the type that the stack has under each name, which is a pointer.
    unsafe { std::mem::transmute_copy(&found) }
}

fn get(variable: &str) -> c_int {
    let variable: *const c_int = symbol(variable);
    // SAFETY: the variable exists, and no other thread uses it.
    unsafe { variable.read() }
}

fn set(variable: &str, value: c_int) {
    let variable: *mut c_int = symbol(variable);
    // SAFETY: as above.
    unsafe { variable.write(value) };
}

/// A socket of the stack.
fn socket() -> c_int {
    let socket: extern "C" fn() -> c_int = symbol("stack_socket");
    socket()
}

fn deliver(fd: c_int, bytes: usize) {
    let deliver: extern "C" fn(c_int, c_uint) = symbol("stack_deliver");
    deliver(fd, bytes as c_uint);
}

fn receive(fd: c_int) -> isize {
    let mut buffer = [0u8; 64];
    // SAFETY: the function writes at most `buffer.len()` bytes into `buffer`.
    unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) }
}

fn close(fd: c_int) {
    // SAFETY: the function accesses no memory of the test, and nothing uses the descriptor any
    // more.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

fn open_objects() -> c_int {
    let open: extern "C" fn() -> c_int = symbol("stack_open");
    open()
}

#[test]
fn sockets_of_a_preloaded_stack_are_reported() {
    if !with_the_stack("sockets_of_a_preloaded_stack_are_reported", &[]) {
        return;
    }
    let mut looper = Loop::new(Backend::Epoll);
    assert_eq!(looper.poll.backend(), Backend::Epoll);
    let fd = socket();
    let registry = looper.registry();
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry
        .register(&mut SourceFd(&fd), Token(1), interest)
        .unwrap();
    let again = registry.register(&mut SourceFd(&fd), Token(1), interest);
    assert_eq!(again.unwrap_err().raw_os_error(), Some(libc::EEXIST));
    looper.assert_quiet();

    let sender = thread::spawn(move || deliver(fd, 3));
    looper.until_readable(Token(1));
    sender.join().unwrap();
    looper.assert_quiet();
    assert_eq!(receive(fd), 3);
    assert_eq!(receive(fd), -1);
    deliver(fd, 2);
    looper.until_readable(Token(1));

    let registry = looper.registry();
    registry
        .reregister(&mut SourceFd(&fd), Token(2), interest)
        .unwrap();
    looper.until_readable(Token(2));
    looper.registry().deregister(&mut SourceFd(&fd)).unwrap();
    assert_eq!(receive(fd), 2);
    deliver(fd, 1);
    looper.assert_quiet();

    drop(looper);
    close(fd);
    assert_eq!(open_objects(), 0);
}

#[test]
fn wakers_wake_a_preloaded_stack() {
    if cfg!(mio_unsupported_force_waker_pipe) {
        return; // this stack has no pipes
    }
    if !with_the_stack("wakers_wake_a_preloaded_stack", &[]) {
        return;
    }
    let mut looper = Loop::new(Backend::Epoll);
    let waker = Arc::new(Waker::new(looper.registry(), Token(1)).unwrap());
    for _ in 0..3 {
        waker.wake().unwrap();
        waker.wake().unwrap();
        looper.until_readable(Token(1));
        looper.assert_quiet();
    }

    // Beyond the wakers that coalesce, where every wake writes.
    let many: Vec<_> = (0..usize::BITS + 1)
        .map(|_| Waker::new(looper.registry(), Token(2)).unwrap())
        .collect();
    for _ in 0..3 {
        many.last().unwrap().wake().unwrap();
        looper.until_readable(Token(2));
    }

    let sent = Arc::new(AtomicUsize::new(0));
    let messages = 2_000;
    let sender = thread::spawn({
        let (sent, waker) = (Arc::clone(&sent), Arc::clone(&waker));
        move || {
            for _ in 0..messages {
                sent.fetch_add(1, Ordering::Relaxed);
                waker.wake().unwrap();
            }
        }
    });
    while sent.load(Ordering::Relaxed) < messages {
        looper.until_readable(Token(1));
    }
    sender.join().unwrap();

    drop((looper, waker, many));
    assert_eq!(open_objects(), 0);
}

/// Polls for that long. Returns how many times the stack waited, with timeouts in milliseconds and
/// in nanoseconds.
fn waits_for(looper: &mut Loop, timeout: Duration) -> [c_int; 2] {
    set("stack_waits_of_millis", 0);
    set("stack_waits_of_nanos", 0);
    let start = Instant::now();
    looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
    let waited = start.elapsed();
    assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
    assert!(looper.events.is_empty());
    [get("stack_waits_of_millis"), get("stack_waits_of_nanos")]
}

const FRACTIONS: [Duration; 3] = [
    Duration::from_nanos(1),
    Duration::from_micros(999),
    Duration::from_micros(1500),
];

#[test]
fn a_preloaded_stack_that_counts_milliseconds_waits_once_and_long_enough() {
    let test = "a_preloaded_stack_that_counts_milliseconds_waits_once_and_long_enough";
    if !with_the_stack(test, &[]) {
        return;
    }
    let mut looper = Loop::new(Backend::Epoll);
    let whole = Duration::from_millis(2);
    for (timeout, millis) in FRACTIONS.into_iter().chain([whole]).zip([1, 1, 2, 2]) {
        assert_eq!(waits_for(&mut looper, timeout), [1, 0]);
        assert_eq!(get("stack_last_millis"), millis);
    }
    assert_eq!(waits_for(&mut looper, Duration::ZERO), [1, 0]);
}

#[test]
fn a_preloaded_stack_does_not_interrupt_a_poll_with_timeout_zero() {
    let test = "a_preloaded_stack_does_not_interrupt_a_poll_with_timeout_zero";
    if !with_the_stack(test, &[]) {
        return;
    }
    let mut looper = Loop::new(Backend::Epoll);
    set("stack_interrupts", 3);
    assert_eq!(waits_for(&mut looper, Duration::ZERO), [4, 0]);
    set("stack_interrupts", 1);
    let timeout = Some(Duration::from_millis(1));
    let error = looper.poll.poll(&mut looper.events, timeout).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

/// On 32-bit machines the size of the stack's timespec is not known.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_preloaded_stack_with_epoll_pwait2_waits_fractions_of_a_millisecond() {
    let test = "a_preloaded_stack_with_epoll_pwait2_waits_fractions_of_a_millisecond";
    if !with_the_stack(test, &["-DWITH_EPOLL_PWAIT2"]) {
        return;
    }
    let mut looper = Loop::new(Backend::Epoll);
    for timeout in FRACTIONS {
        assert_eq!(waits_for(&mut looper, timeout), [0, 1]);
    }
    assert_eq!(waits_for(&mut looper, Duration::from_millis(1)), [1, 0]);

    // Another failure is the poll's, and no refusal.
    set("stack_interrupts", 1);
    let interrupted = looper.poll.poll(&mut looper.events, Some(FRACTIONS[1]));
    assert_eq!(interrupted.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(waits_for(&mut looper, FRACTIONS[1]), [0, 1]);

    set("stack_refuses_nanos", 1);
    assert_eq!(waits_for(&mut looper, FRACTIONS[1]), [1, 1]);
    assert_eq!(waits_for(&mut looper, FRACTIONS[1]), [1, 0], "not again");
}
