//! The calls of one operation: which it made, and which have to fail.
//!
//! Only the calls that the watched thread makes within [`watched`] are counted. All other calls pass.
//!
//! All atomics are sequentially consistent: they are few, and the calls between them are slow.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::system::{self, Call};

/// The N-th call of an operation, counted from one, and its error.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Failure {
    pub number: usize,
    pub call: Call,
    pub error: i32,
}

/// The maximum number of calls of one operation.
const MOST_CALLS: usize = 64;

/// The maximum number of failed calls in one run.
pub const MOST_FAILURES: usize = 2;

static WATCHED_THREAD: AtomicU32 = AtomicU32::new(0);
static IS_WATCHED: AtomicBool = AtomicBool::new(false);
static MADE: AtomicUsize = AtomicUsize::new(0);
static CALLS: [AtomicI64; MOST_CALLS] = [const { AtomicI64::new(0) }; MOST_CALLS];
static INJECTED: AtomicUsize = AtomicUsize::new(0);
/// What fails within [`watched`]: number, call and error; the number 0 is none.
static PLAN: [(AtomicUsize, AtomicI64, AtomicI32); MOST_FAILURES] =
    [const { (AtomicUsize::new(0), AtomicI64::new(0), AtomicI32::new(0)) }; MOST_FAILURES];
/// The number of waits that threads other than the watched one have begun.
static WAITS_OF_OTHERS: AtomicUsize = AtomicUsize::new(0);

/// Begins a run in which these calls fail. From now on this thread is the watched one.
pub fn begin(plan: &[Failure]) {
    WATCHED_THREAD.store(system::this_thread(), Ordering::SeqCst);
    MADE.store(0, Ordering::SeqCst);
    INJECTED.store(0, Ordering::SeqCst);
    WAITS_OF_OTHERS.store(0, Ordering::SeqCst);
    for (index, (number, call, error)) in PLAN.iter().enumerate() {
        match plan.get(index) {
            Some(failure) => {
                number.store(failure.number, Ordering::SeqCst);
                call.store(system::code_of(failure.call), Ordering::SeqCst);
                error.store(failure.error, Ordering::SeqCst);
            }
            None => number.store(0, Ordering::SeqCst),
        }
    }
}

/// Runs one operation of the watched thread, and counts its calls.
pub fn watched<R>(operation: impl FnOnce() -> R) -> R {
    IS_WATCHED.store(true, Ordering::SeqCst);
    let result = operation();
    IS_WATCHED.store(false, Ordering::SeqCst);
    result
}

/// The calls that were made within `watched`, in order.
pub fn calls() -> Vec<Call> {
    let made = MADE.load(Ordering::SeqCst);
    assert!(made <= MOST_CALLS, "{made} calls");
    let calls = CALLS[..made].iter();
    calls
        .map(|call| system::call_of(call.load(Ordering::SeqCst)))
        .collect()
}

/// The number of calls that were made to fail.
pub fn injected() -> usize {
    INJECTED.load(Ordering::SeqCst)
}

/// From now on every call passes.
pub fn stop_failing() {
    IS_WATCHED.store(false, Ordering::SeqCst);
}

/// Whether the calls of this thread count now.
pub fn counts(thread: u32) -> bool {
    IS_WATCHED.load(Ordering::SeqCst) && is_watched_thread(thread)
}

pub fn is_watched_thread(thread: u32) -> bool {
    thread == WATCHED_THREAD.load(Ordering::SeqCst)
}

/// Counts a call of the watched thread. Returns the error that it is to fail with.
pub fn count(call: Call) -> Option<i32> {
    let code = system::code_of(call);
    let made = MADE.fetch_add(1, Ordering::SeqCst);
    if let Some(slot) = CALLS.get(made) {
        slot.store(code, Ordering::SeqCst);
    }
    let mut plan = PLAN.iter();
    let (.., error) = plan.find(|(number, planned, _)| {
        // If the number of calls depends on the time, this may be another call.
        number.load(Ordering::SeqCst) == made + 1 && planned.load(Ordering::SeqCst) == code
    })?;
    INJECTED.fetch_add(1, Ordering::SeqCst);
    Some(error.load(Ordering::SeqCst))
}

/// A thread other than the watched one begins to wait for events.
pub fn count_wait_of_another() {
    WAITS_OF_OTHERS.fetch_add(1, Ordering::SeqCst);
}

/// Returns when a thread other than the watched one waits for events, or is about to.
pub fn another_thread_waits() {
    wait_until("a wait", || WAITS_OF_OTHERS.load(Ordering::SeqCst) > 0);
}

/// Returns when the watched thread has made, or is making, its first call within `watched`.
#[cfg(unix)]
pub fn first_call_has_begun() {
    wait_until("the first call", || MADE.load(Ordering::SeqCst) > 0);
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < deadline, "{what} has not begun");
        thread::yield_now();
    }
}

/// The time limit for an event that must come.
pub fn patience() -> Duration {
    let seconds = |name| std::env::var(name).ok()?.parse().ok();
    let slowness = seconds("MIO_TEST_SLOW").unwrap_or(1);
    Duration::from_secs(seconds("MIO_TEST_PATIENCE").unwrap_or(5)) * slowness as u32
}
