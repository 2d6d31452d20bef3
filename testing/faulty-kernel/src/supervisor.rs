//! Lets one thread's system calls pass one by one, and makes some of them fail.
//!
//! The watched thread, and those that it starts, run under a seccomp filter. The filter stops each
//! call until the supervisor, a thread outside of the filter, answers: either the kernel makes the
//! call, or the call returns an error and is not made. Only the calls that the watched thread makes
//! within [`watched`] are counted. All other calls pass.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_long, c_ulong, seccomp_notif, seccomp_notif_resp};

/// The N-th call of an operation, counted from one, and its error.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Failure {
    pub number: usize,
    pub call: c_long,
    pub error: c_int,
}

/// Calls that are not stopped: those of the allocator and of threads. The crate does not make them,
/// and if they fail the process ends.
#[rustfmt::skip]
const PASSED_OVER: &[c_long] = &[
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    libc::SYS_futex, libc::SYS_sched_yield, libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime,
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigaction, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_clone, libc::SYS_clone3, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_prctl, libc::SYS_gettid,
    libc::SYS_sched_getaffinity, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_getrandom,
];

/// The maximum number of calls of one operation.
const MOST_CALLS: usize = 64;

/// All of them are sequentially consistent: they are few, and the calls between them are slow.
static WATCHED_THREAD: AtomicI32 = AtomicI32::new(0);
static IS_WATCHED: AtomicBool = AtomicBool::new(false);
static MADE: AtomicUsize = AtomicUsize::new(0);
static CALLS: [AtomicI64; MOST_CALLS] = [const { AtomicI64::new(0) }; MOST_CALLS];
static INJECTED: AtomicUsize = AtomicUsize::new(0);
/// The number of waits that threads other than the watched one have begun.
static WAITS_OF_OTHERS: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` in a thread whose calls are stopped, and supervises it from this thread, until it
/// and all threads that it started have ended. `plan` lists the calls within [`watched`] that fail.
pub fn supervise<R: Send + 'static>(
    plan: &[Failure],
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<thread::Result<R>> {
    MADE.store(0, Ordering::SeqCst);
    INJECTED.store(0, Ordering::SeqCst);
    WAITS_OF_OTHERS.store(0, Ordering::SeqCst);
    /// The listener's descriptor; 0 until it exists, or an error number, negated.
    static LISTENER: AtomicI32 = AtomicI32::new(0);
    LISTENER.store(0, Ordering::SeqCst);
    let main = thread::current();
    let worker = thread::spawn(move || {
        let listener = stop_calls();
        // SAFETY: `gettid` has no arguments and no memory-safety preconditions.
        WATCHED_THREAD.store(unsafe { libc::gettid() }, Ordering::SeqCst);
        let answer = match &listener {
            Ok(listener) => *listener,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
        LISTENER.store(answer, Ordering::SeqCst);
        main.unpark();
        listener.is_ok().then(work)
    });
    let listener = loop {
        match LISTENER.load(Ordering::SeqCst) {
            0 => thread::park(),
            error if error < 0 => {
                let _ = worker.join();
                return Err(io::Error::from_raw_os_error(-error));
            }
            // SAFETY: the descriptor is new and open, and nothing else owns it.
            listener => break unsafe { OwnedFd::from_raw_fd(listener) },
        }
    };
    answer_until_all_have_ended(&listener, plan)?;
    let outcome = worker.join();
    Ok(outcome.map(|result| result.expect("there is a listener")))
}

/// Runs one operation of the watched thread, and counts its calls.
pub fn watched<R>(operation: impl FnOnce() -> R) -> R {
    IS_WATCHED.store(true, Ordering::SeqCst);
    let result = operation();
    IS_WATCHED.store(false, Ordering::SeqCst);
    result
}

/// The calls that were made within `watched`, in order.
pub fn calls() -> Vec<c_long> {
    let made = MADE.load(Ordering::SeqCst);
    assert!(made <= MOST_CALLS, "{made} calls");
    let calls = CALLS[..made].iter();
    calls.map(|call| call.load(Ordering::SeqCst)).collect()
}

/// The number of calls that were made to fail.
pub fn injected() -> usize {
    INJECTED.load(Ordering::SeqCst)
}

/// From now on every call passes.
pub fn stop_failing() {
    IS_WATCHED.store(false, Ordering::SeqCst);
}

/// Returns when the watched thread has made, or is making, its first call within `watched`.
pub fn first_call_has_begun() {
    wait_until("the first call", || MADE.load(Ordering::SeqCst) > 0);
}

/// Returns when a thread other than the watched one waits for events, or is about to.
pub fn another_thread_waits() {
    wait_until("a wait", || WAITS_OF_OTHERS.load(Ordering::SeqCst) > 0);
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + crate::patience();
    while !condition() {
        assert!(Instant::now() < deadline, "{what} has not begun");
        thread::yield_now();
    }
}

/// Makes the kernel stop the calls of this thread. Returns the descriptor through which they are
/// answered.
fn stop_calls() -> io::Result<c_int> {
    let instruction = |code: u32, jt, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let end = |action| instruction(libc::BPF_RET | libc::BPF_K, 0, action);
    // In the data of a filter, offset 0 is the number of the call.
    let mut program = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
    )];
    let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    for (index, call) in PASSED_OVER.iter().enumerate() {
        let to_the_end = PASSED_OVER.len() - index;
        program.push(instruction(compare, to_the_end as u8, *call as u32));
    }
    program.push(end(libc::SECCOMP_RET_USER_NOTIF));
    program.push(end(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the program, which is valid during the call.
    let listener = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program as *const libc::sock_fprog,
        )
    };
    match listener {
        -1 => Err(io::Error::last_os_error()),
        listener => Ok(listener as c_int),
    }
}

fn answer_until_all_have_ended(listener: &OwnedFd, plan: &[Failure]) -> io::Result<()> {
    let fd = listener.as_raw_fd();
    loop {
        let mut entry = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `entry` is one valid `pollfd`, and the count is 1.
        if unsafe { libc::poll(&mut entry, 1, -1) } != 1 {
            return Err(io::Error::last_os_error());
        }
        if entry.revents & libc::POLLIN == 0 {
            // No thread is left under the filter.
            return Ok(());
        }
        // SAFETY: all zeros are valid, and the kernel requires them.
        let mut stopped: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `seccomp_notif`.
        if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut stopped) } != 0 {
            // The thread was killed, or a signal has ended the call.
            continue;
        }
        let error = answer(&stopped, plan);
        let response = seccomp_notif_resp {
            id: stopped.id,
            val: 0,
            error: -error,
            flags: match error {
                0 => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
                _ => 0,
            },
        };
        // SAFETY: the kernel reads one `seccomp_notif_resp`. If the thread is gone, the call fails,
        // and nothing needs to be done.
        unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &response) };
    }
}

/// The error with which the call must fail, or 0.
fn answer(stopped: &seccomp_notif, plan: &[Failure]) -> c_int {
    let call = c_long::from(stopped.data.nr);
    if stopped.pid as i32 != WATCHED_THREAD.load(Ordering::SeqCst) {
        if crate::errors::waits(call) {
            WAITS_OF_OTHERS.fetch_add(1, Ordering::SeqCst);
        }
        return 0;
    }
    if !IS_WATCHED.load(Ordering::SeqCst) {
        return 0;
    }
    let made = MADE.fetch_add(1, Ordering::SeqCst);
    if let Some(slot) = CALLS.get(made) {
        slot.store(call, Ordering::SeqCst);
    }
    let Some(failure) = plan.iter().find(|failure| failure.number == made + 1) else {
        return 0;
    };
    INJECTED.fetch_add(1, Ordering::SeqCst);
    if crate::errors::happens_although_it_fails(call, failure.error) {
        let [a, b, c, ..] = stopped.data.args.map(|argument| argument as c_ulong);
        // SAFETY: the arguments are those of the stopped thread, in the same process, which waits
        // for this one. So its pointers are valid, and a descriptor may be closed.
        unsafe { libc::syscall(call, a, b, c) };
    }
    failure.error
}

/// The time limit for an event that must come.
pub fn patience() -> Duration {
    let seconds = |name| std::env::var(name).ok()?.parse().ok();
    let slowness = seconds("MIO_TEST_SLOW").unwrap_or(1);
    Duration::from_secs(seconds("MIO_TEST_PATIENCE").unwrap_or(5)) * slowness as u32
}
