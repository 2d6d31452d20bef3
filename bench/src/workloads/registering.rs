//! Registering, changing and ending registrations.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::{in_chunks, Run};
use crate::os;
use crate::subject::{Source, Subject, Want};
use crate::subjects::Registries;

/// The number of sockets that take turns.
const SOCKETS: usize = 64;

struct Sockets<S: Subject> {
    subject: S,
    sockets: Vec<S::Unix>,
    _peers: Vec<UnixStream>,
}

impl<S: Subject> Sockets<S> {
    fn new() -> Sockets<S> {
        let (peers, sockets): (Vec<UnixStream>, Vec<OwnedFd>) =
            (0..SOCKETS).map(|_| os::unix_pair()).unzip();
        Sockets {
            subject: S::new(1024),
            sockets: sockets.into_iter().map(S::Unix::from).collect(),
            _peers: peers,
        }
    }

    #[inline(always)]
    fn add(&mut self, count: usize) {
        for (token, socket) in self.sockets[..count].iter_mut().enumerate() {
            socket.register(&mut self.subject, token, Want::Read);
        }
    }

    #[inline(always)]
    fn modify(&mut self, count: usize) {
        for (token, socket) in self.sockets[..count].iter_mut().enumerate() {
            socket.reregister(&mut self.subject, token, Want::Read);
        }
    }

    #[inline(always)]
    fn remove(&mut self, count: usize) {
        for socket in &mut self.sockets[..count] {
            socket.deregister(&mut self.subject);
        }
    }

    /// A loop does this from time to time, so that a subject does what it has deferred.
    fn settle(&mut self) {
        self.subject.wait(Some(std::time::Duration::ZERO), |_| {});
    }
}

/// One operation registers a socket.
pub fn add<S: Subject>() -> Run {
    let mut sockets = Sockets::<S>::new();
    Box::new(move |clock, operations| {
        in_chunks(operations, SOCKETS, |count| {
            clock.measure(|| sockets.add(count));
            sockets.remove(count);
            sockets.settle();
        });
    })
}

/// One operation changes a registration.
pub fn modify<S: Subject>() -> Run {
    let mut sockets = Sockets::<S>::new();
    sockets.add(SOCKETS);
    Box::new(move |clock, operations| {
        in_chunks(operations, SOCKETS, |count| {
            clock.measure(|| sockets.modify(count));
            sockets.settle();
        });
    })
}

/// One operation ends a registration.
pub fn remove<S: Subject>() -> Run {
    let mut sockets = Sockets::<S>::new();
    Box::new(move |clock, operations| {
        in_chunks(operations, SOCKETS, |count| {
            sockets.add(count);
            clock.measure(|| sockets.remove(count));
            sockets.settle();
        });
    })
}

/// One operation is all three, while no thread waits.
pub fn all<S: Subject>() -> Run {
    let mut sockets = Sockets::<S>::new();
    Box::new(move |clock, operations| {
        in_chunks(operations, SOCKETS, |count| {
            clock.measure(|| {
                sockets.add(count);
                sockets.modify(count);
                sockets.remove(count);
            });
            sockets.settle();
        });
    })
}

/// One operation registers a socket, changes the registration and ends it, with a wait after each
/// of the three for all sockets: a subject that defers changes has to make them then.
pub fn all_with_waits<S: Subject>() -> Run {
    let mut sockets = Sockets::<S>::new();
    Box::new(move |clock, operations| {
        in_chunks(operations, SOCKETS, |count| {
            clock.measure(|| {
                sockets.add(count);
                sockets.settle();
                sockets.modify(count);
                sockets.settle();
                sockets.remove(count);
                sockets.settle();
            });
        });
    })
}

/// One operation clones a registry and drops it.
pub fn clone_registry<S: Registries>() -> Run {
    let subject = S::new(8);
    Box::new(move |clock, operations| {
        clock.measure(|| {
            for _ in 0..operations {
                drop(subject.registry());
            }
        });
    })
}
