//! Directions that have fired and are drained, which has a cost on a backend that makes edges
//! itself.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Run;
use crate::os;
use crate::subject::{Source, Subject, Want};
use crate::subjects::WouldBlock;

/// Registered sockets, the first of which get messages.
struct Sockets<S: Subject> {
    subject: S,
    sockets: Vec<S::Unix>,
    peers: Vec<UnixStream>,
    _idle: (UnixStream, Vec<S::Unix>),
}

impl<S: Subject> Sockets<S> {
    fn new(ready: usize, idle: usize) -> Sockets<S> {
        let mut subject = S::new(1024);
        let mut register = |fd: OwnedFd, token| {
            let mut socket = S::Unix::from(fd);
            socket.register(&mut subject, token, Want::Read);
            socket
        };
        let (peers, sockets): (Vec<UnixStream>, Vec<OwnedFd>) =
            (0..ready).map(|_| os::unix_pair()).unzip();
        let (silent, copied) = os::unix_pair();
        let idle = (0..idle)
            .map(|index| register(copied.try_clone().expect("a descriptor"), ready + index))
            .collect();
        let sockets = sockets
            .into_iter()
            .enumerate()
            .map(|(token, fd)| register(fd, token))
            .collect();
        Sockets {
            subject,
            sockets,
            peers,
            _idle: (silent, idle),
        }
    }

    fn send(&mut self) {
        for peer in &mut self.peers {
            peer.write_all(&[1]).expect("there is room");
        }
    }
}

/// One operation is a read that would block; the cost of the read itself is not measured.
pub fn rearm<S: Subject>() -> Run
where
    S::Unix: WouldBlock,
{
    const SOCKETS: usize = 64;
    let mut sockets = Sockets::<S>::new(SOCKETS, 0);
    Box::new(move |clock, operations| {
        let sockets = &mut sockets; // all of it
        super::in_chunks(operations, SOCKETS, |count| {
            sockets.send();
            let mut told = 0;
            while told < SOCKETS {
                sockets.subject.wait(Some(Duration::ZERO), |_| told += 1);
            }
            for socket in &mut sockets.sockets {
                // Not a short read, which would be as good as one that blocks.
                assert_eq!(socket.read(&mut [0; 1]).expect("it has come"), 1);
            }
            let (measured, others) = sockets.sockets.split_at_mut(count);
            clock.measure(|| {
                for socket in measured {
                    socket.would_block();
                }
            });
            for socket in others {
                socket.would_block();
            }
        });
    })
}

/// One operation is a turn with `ready` sockets ready, which are drained, and `idle` idle ones.
pub fn turn<S: Subject>(ready: usize, idle: usize) -> Run {
    let mut sockets = Sockets::<S>::new(ready, idle);
    Box::new(move |clock, operations| {
        let sockets = &mut sockets; // all of it
        for _ in 0..operations {
            sockets.send();
            clock.measure(|| {
                let mut drained = 0;
                while drained < ready {
                    sockets.subject.wait(None, |event| {
                        drained += 1;
                        let socket = &mut sockets.sockets[event.token];
                        let mut buffer = [0; 8];
                        while let Some(length) = read(socket, &mut buffer) {
                            assert_eq!(length, 1);
                            if !S::EDGES {
                                break;
                            }
                        }
                    });
                }
            });
        }
    })
}

#[inline(always)]
fn read(socket: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    match socket.read(buffer) {
        Ok(length) => Some(length),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            None
        }
    }
}
