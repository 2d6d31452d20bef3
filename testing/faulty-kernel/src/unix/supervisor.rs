//! Lets one thread's system calls pass one by one, and makes some of them fail.
//!
//! The watched thread, and those that it starts, run under a seccomp filter. The filter stops each
//! call until the supervisor, a thread outside of the filter, answers: either the kernel makes the
//! call, or the call returns an error and is not made. Only the calls that the watched thread makes
//! within [`watched`](record::watched) are counted. All other calls pass.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;

use libc::{c_int, c_long, c_ulong, seccomp_notif, seccomp_notif_resp};

use super::{errors, this_thread};
use crate::record;

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

/// How deep the watched thread is in calls of a model, whose system calls are not counted. Sequentially
/// consistent, like those of `record`.
static IN_MODEL: AtomicUsize = AtomicUsize::new(0);
/// Runs `work` in a thread whose calls are stopped, and supervises it from this thread, until it
/// and all threads that it started have ended.
pub fn supervise<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<thread::Result<R>> {
    IN_MODEL.store(0, Ordering::SeqCst);
    /// The listener's descriptor; 0 until it exists, or an error number, negated.
    static LISTENER: AtomicI32 = AtomicI32::new(0);
    LISTENER.store(0, Ordering::SeqCst);
    let main = thread::current();
    let worker = thread::spawn(move || {
        let listener = stop_calls();
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
    answer_until_all_have_ended(&listener)?;
    let outcome = worker.join();
    Ok(outcome.map(|result| result.expect("there is a listener")))
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

fn answer_until_all_have_ended(listener: &OwnedFd) -> io::Result<()> {
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
        let error = answer(&stopped);
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
fn answer(stopped: &seccomp_notif) -> c_int {
    let call = c_long::from(stopped.data.nr);
    let thread = stopped.pid;
    if !record::is_watched_thread(thread) {
        if errors::waits(call) {
            record::count_wait_of_another();
        }
        return 0;
    }
    if !record::counts(thread) || IN_MODEL.load(Ordering::SeqCst) > 0 {
        return 0;
    }
    let error = record::count(call).unwrap_or(0);
    if error != 0 && errors::happens_although_it_fails(call, error) {
        let [a, b, c, ..] = stopped.data.args.map(|argument| argument as c_ulong);
        // SAFETY: the arguments are those of the stopped thread, in the same process, which waits
        // for this one. So its pointers are valid, and a descriptor may be closed.
        unsafe { libc::syscall(call, a, b, c) };
    }
    error
}

/// This thread begins a call of a model. Returns the error that it is to fail with, or 0.
#[cfg_attr(
    not(any(mio_model = "kqueue", mio_model = "event-ports")),
    allow(dead_code)
)] // without a model
pub fn begin_call(call: c_long) -> c_int {
    let is_counted = record::counts(this_thread()) && IN_MODEL.load(Ordering::SeqCst) == 0;
    if record::is_watched_thread(this_thread()) {
        IN_MODEL.fetch_add(1, Ordering::SeqCst);
    }
    match is_counted {
        true => record::count(call).unwrap_or(0),
        false => 0,
    }
}

/// The call of a model that this thread makes has parts, which may fail on their own.
#[cfg_attr(not(mio_model = "kqueue"), allow(dead_code))] // only this model's calls have any
pub fn part_of_call(call: c_long) -> c_int {
    match record::counts(this_thread()) {
        true => record::count(call).unwrap_or(0),
        false => 0,
    }
}

/// This thread's call of a model is over.
#[cfg_attr(
    not(any(mio_model = "kqueue", mio_model = "event-ports")),
    allow(dead_code)
)] // without a model
pub fn end_call() {
    if record::is_watched_thread(this_thread()) {
        IN_MODEL.fetch_sub(1, Ordering::SeqCst);
    }
}
