//! Waiting for time to pass.

use std::time::{Duration, Instant};

use super::Run;
use crate::os;
use crate::subject::{Source, Subject, Want};

/// An operation is a wait in which nothing comes.
pub fn timeout<S: Subject>(timeout: Duration) -> Run {
    let mut silent = S::Bare::from(os::eventfd());
    let mut subject = S::new(1024);
    silent.register(&mut subject, 0, Want::Read);
    // The subject goes first.
    let mut watched = (subject, silent);
    Box::new(move |clock, operations| {
        let (subject, _silent) = &mut watched;
        for _ in 0..operations {
            let start = Instant::now();
            // A wait may end early in those that say so; what is wanted is that the time is over.
            clock.measure(|| {
                while start.elapsed() < timeout {
                    subject.wait(Some(timeout), |_| {});
                }
            });
        }
    })
}
