//! What is measured: each workload is a function that prepares it for a subject, and returns what
//! runs it, as many operations as are asked for.

pub mod connections;
pub mod echo;
pub mod floors;
pub mod rearming;
pub mod registering;
pub mod timeouts;
pub mod turn;
pub mod waking;

use crate::clock::Clock;

/// Runs so many operations, and measures what is the subject's in them.
pub type Run = Box<dyn FnMut(&mut Clock, usize)>;

/// Calls `work` with as many as are left, but no more than `most` at a time.
fn in_chunks(operations: usize, most: usize, mut work: impl FnMut(usize)) {
    let mut left = operations;
    while left > 0 {
        let chunk = left.min(most);
        work(chunk);
        left -= chunk;
    }
}
