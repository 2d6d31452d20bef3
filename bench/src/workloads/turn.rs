//! A turn of an event loop: a wait with events, and a look at each event.

use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Run;
use crate::os;
use crate::subject::{Source, Subject, Want};

/// The watched descriptors. The subject is dropped before them.
struct Watched<S: Subject> {
    subject: S,
    sources: Vec<S::Bare>,
}

impl<S: Subject> Watched<S> {
    fn new(capacity: usize) -> Watched<S> {
        Watched {
            subject: S::new(capacity),
            sources: Vec::new(),
        }
    }

    /// Registers this many duplicates of a descriptor, each with its own number as the token.
    fn copies_of(&mut self, fd: &OwnedFd, count: usize) {
        for _ in 0..count {
            let mut source = S::Bare::from(fd.try_clone().expect("a descriptor"));
            source.register(&mut self.subject, self.sources.len(), Want::Read);
            self.sources.push(source);
        }
    }

    /// Registers this many descriptors that never become ready, more than a process may have.
    ///
    /// epoll knows them by number and open file, and keeps them while the file is open as any
    /// descriptor, so each is closed at once. Returns the files.
    fn silent(&mut self, count: usize) -> Vec<OwnedFd> {
        const NUMBERS: usize = 5_000;
        const FIRST: usize = 10_000;

        let files: Vec<OwnedFd> = (0..count.div_ceil(NUMBERS))
            .map(|_| os::eventfd())
            .collect();
        for index in 0..count {
            let fd = os::duplicate(&files[index / NUMBERS], FIRST + index % NUMBERS);
            S::Bare::from(fd).register(&mut self.subject, index, Want::Read);
        }
        files
    }
}

/// One operation is a turn with `ready` descriptors ready, and `idle` idle ones.
///
/// They are duplicates of one eventfd, so one write, which is not measured, makes all of them
/// ready.
pub fn turn<S: Subject>(ready: usize, idle: usize, timeout: Option<Duration>) -> Run {
    let signalled = os::eventfd();
    let mut watched = Watched::<S>::new(ready.max(1024));
    watched.copies_of(&signalled, ready);
    let silent = watched.silent(idle);
    // The sum of the tokens, plus one for each that is readable.
    let all = ready * (ready + 1) / 2;
    Box::new(move |clock, operations| {
        let _ = &silent;
        let watched = &mut watched; // all of it
        for _ in 0..operations {
            os::signal(&signalled);
            let mut seen = 0;
            let mut is_drained = false;
            clock.measure(|| {
                // One wait; more for subjects whose buffer grows with the number of events.
                while seen < all {
                    watched.subject.wait(timeout, |event| {
                        seen += event.token + usize::from(event.readable);
                        if !S::EDGES && !is_drained {
                            // All of them: otherwise the others would be reported again.
                            os::drain(&signalled);
                            is_drained = true;
                        }
                    });
                }
            });
            assert_eq!(seen, all, "{}", S::NAME);
        }
    })
}

/// One operation is a wait without events or a timeout.
pub fn glance<S: Subject>() -> Run {
    let mut watched = Watched::<S>::new(1024);
    watched.copies_of(&os::eventfd(), 1);
    Box::new(move |clock, operations| {
        let watched = &mut watched; // all of it
        clock.measure(|| {
            for _ in 0..operations {
                watched.subject.wait(Some(Duration::ZERO), |event| {
                    black_box(event);
                });
            }
        });
    })
}
