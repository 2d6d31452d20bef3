//! The workloads: each is a function that prepares it for a subject, and returns a closure that
//! runs a given number of operations.

pub mod connections;
pub mod echo;
pub mod floors;
pub mod latency;
pub mod pool;
pub mod rearming;
pub mod registering;
pub mod timeouts;
pub mod turn;
pub mod waking;

use crate::clock::Clock;

/// Runs this many operations, and measures the subject's part of them.
pub type Run = Box<dyn FnMut(&mut Clock, usize)>;

/// Calls `work` with the number of operations that are left, but at most `most` at a time.
fn in_chunks(operations: usize, most: usize, mut work: impl FnMut(usize)) {
    let mut left = operations;
    while left > 0 {
        let chunk = left.min(most);
        work(chunk);
        left -= chunk;
    }
}
