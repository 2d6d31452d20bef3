//! A turn of an event loop: a wait with something ready, and a look at each event.

use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Run;
use crate::os;
use crate::subject::{Source, Subject, Want};

/// Descriptors that are watched. The subject goes before them.
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

    /// Registers as many copies of a descriptor as are wanted, each with the number that it has.
    fn copies_of(&mut self, fd: &OwnedFd, count: usize) {
        for _ in 0..count {
            let mut source = S::Bare::from(fd.try_clone().expect("a descriptor"));
            source.register(&mut self.subject, self.sources.len(), Want::Read);
            self.sources.push(source);
        }
    }

    /// Registers so many descriptors that do not become ready, and more than a process may have.
    ///
    /// epoll knows them by number and open file, and keeps them while the file is open under any
    /// number: each is closed at once. Returns the files.
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

/// An operation is a turn with `ready` descriptors ready, and `idle` ones not.
///
/// They are copies of one eventfd, so that one write, which is not measured, makes all ready.
pub fn turn<S: Subject>(ready: usize, idle: usize, timeout: Option<Duration>) -> Run {
    let signalled = os::eventfd();
    let mut watched = Watched::<S>::new(ready.max(1024));
    watched.copies_of(&signalled, ready);
    let silent = watched.silent(idle);
    // The sum of the tokens, and one for each that is readable.
    let all = ready * (ready + 1) / 2;
    Box::new(move |clock, operations| {
        let _ = &silent;
        let watched = &mut watched; // all of it
        for _ in 0..operations {
            os::signal(&signalled);
            let mut seen = 0;
            let mut is_drained = false;
            clock.measure(|| {
                // One wait, but for those whose room grows with what was told.
                while seen < all {
                    watched.subject.wait(timeout, |event| {
                        seen += event.token + usize::from(event.readable);
                        if !S::EDGES && !is_drained {
                            // All of them, or it would be told of the others again.
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

/// An operation is a wait without events or time.
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
