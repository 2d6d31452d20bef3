//! Waiting for a timeout.

use std::time::{Duration, Instant};

use super::Run;
use crate::os;
use crate::subject::{Source, Subject, Want};

/// One operation is a wait in which no event arrives.
pub fn timeout<S: Subject>(timeout: Duration) -> Run {
    let mut silent = S::Bare::from(os::eventfd());
    let mut subject = S::new(1024);
    silent.register(&mut subject, 0, Want::Read);
    // The subject is dropped first.
    let mut watched = (subject, silent);
    Box::new(move |clock, operations| {
        let (subject, _silent) = &mut watched;
        for _ in 0..operations {
            let start = Instant::now();
            // On subjects that document it, a wait may end early. The timeout must have passed
            // anyway.
            clock.measure(|| {
                while start.elapsed() < timeout {
                    subject.wait(Some(timeout), |_| {});
                }
            });
        }
    })
}
