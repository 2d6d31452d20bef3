//! The tests' common parts.

use std::future::Future;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

#[cfg(unix)]
pub mod child;
#[cfg(unix)]
pub mod pty;

/// The time limit of a test: a passing test ends far sooner, and a failing one may wait for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether mio makes the edges itself, as on poll(2). Then it has to see the I/O on its sources: if
/// a crate reads one by its descriptor, it gets a single event until it registers the source again.
/// (The same is true of mio 1.2.5.)
pub const MIO_MAKES_EDGES: bool = cfg!(mio_unsupported_force_poll_poll);

/// How long to wait before a test concludes that nothing happens.
pub const A_WHILE: Duration = Duration::from_millis(50);

/// Runs a blocking test, and ends it if an event never comes.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (sender, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = sender.send(());
    });
    // A panic closes the channel.
    if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        panic!("not at its end after {PATIENCE:?}");
    }
    if let Err(why) = thread.join() {
        panic::resume_unwind(why);
    }
}

/// The same for a test that is a future.
pub fn run(runtime: Runtime, test: impl Future<Output = ()> + Send + 'static) {
    bounded(move || runtime.block_on(test));
}

pub fn several_threads() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
}

pub fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Raises the limit of descriptors to the hard limit, which must be at least `needed`. The limit is
/// that of the whole process: concurrent tests share it.
#[cfg(unix)]
pub fn want_descriptors(needed: u64) {
    let have = rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be read");
    assert!(
        have >= needed,
        "the hard limit is {have} descriptors, the tests need {needed}"
    );
}

/// Windows has no such limit.
#[cfg(windows)]
pub fn want_descriptors(_: u64) {}

/// Bytes that differ between connections, and between positions in a connection.
pub fn pattern(connection: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (connection * 31 + at * 7 + at / 251) as u8)
        .collect()
}
