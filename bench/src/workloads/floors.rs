//! Minimum costs: workloads of no subject, for comparison with theirs.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::Run;

/// One operation is one read-modify-write of an atomic that no other thread uses.
pub fn atomic() -> Run {
    let word = AtomicUsize::new(1);
    Box::new(move |clock, operations| {
        clock.measure(|| {
            for _ in 0..operations {
                black_box(word.fetch_or(black_box(1), Ordering::AcqRel));
            }
        });
    })
}

/// One operation takes and releases an uncontended lock, this many times, and increments and
/// decrements a reference count.
fn locks(times: usize) -> Run {
    let lock = Arc::new(Mutex::new(0));
    Box::new(move |clock, operations| {
        clock.measure(|| {
            for _ in 0..operations {
                let counted = Arc::downgrade(&lock);
                for _ in 0..times {
                    *lock.lock().expect("nobody panics") += 1;
                }
                drop(black_box(counted));
            }
        });
    })
}

pub fn one_lock() -> Run {
    locks(1)
}

pub fn three_locks() -> Run {
    locks(3)
}
