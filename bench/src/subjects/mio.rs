//! This crate, and the one that it replaces: the same program on both. And this crate in its modes,
//! which are programs of their own.
//!
//! The other one has poll(2) only in a build of its own, in which it has no epoll.

use std::convert::identity;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio as ours;
use mio_upstream as upstream;

use super::ON_POLL;
use crate::subject::{Accept, Ready, Source, Subject, Wake, Want, WAKER};

/// `$mode` makes the interest of a registration from that in reading or writing.
macro_rules! mio_subject {
    ($Type:ident, $mio:ident, $name:literal, edges: $edges:literal, $mode:expr) => {
        pub struct $Type {
            poll: $mio::Poll,
            events: $mio::Events,
        }

        impl Subject for $Type {
            const NAME: &'static str = $name;
            const EDGES: bool = $edges;
            const CLOSING_DEREGISTERS: bool = !ON_POLL;

            type Tcp = $mio::net::TcpStream;
            type Unix = $mio::net::UnixStream;
            type Listener = $mio::net::TcpListener;
            type Bare = Bare<Self>;
            type Waker = $mio::Waker;

            fn new(capacity: usize) -> $Type {
                $Type {
                    poll: $mio::Poll::new().expect("a descriptor"),
                    events: $mio::Events::with_capacity(capacity),
                }
            }

            #[inline(always)]
            fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) {
                self.poll
                    .poll(&mut self.events, timeout)
                    .expect("no signals");
                for event in &self.events {
                    each(Ready {
                        token: event.token().0,
                        readable: event.is_readable(),
                    });
                }
            }

            fn waker(&mut self) -> $mio::Waker {
                $mio::Waker::new(self.poll.registry(), $mio::Token(WAKER)).expect("a descriptor")
            }
        }

        impl Registries for $Type {
            type Registry = $mio::Registry;

            #[inline(always)]
            fn registry(&self) -> $mio::Registry {
                self.poll.registry().try_clone().expect("can be cloned")
            }

            #[inline(always)]
            fn rearm(registry: &$mio::Registry, stream: &mut $mio::net::UnixStream, token: usize) {
                registry
                    .reregister(stream, $mio::Token(token), Self::interest(Want::Read))
                    .expect("is watched");
            }
        }

        impl $Type {
            #[inline(always)]
            fn interest(want: Want) -> $mio::Interest {
                $mode(match want {
                    Want::Read => $mio::Interest::READABLE,
                    Want::Write => $mio::Interest::WRITABLE,
                })
            }
        }

        impl<T: $mio::event::Source> Source<$Type> for T {
            #[inline(always)]
            fn register(&mut self, subject: &mut $Type, token: usize, want: Want) {
                subject
                    .poll
                    .registry()
                    .register(self, $mio::Token(token), $Type::interest(want))
                    .expect("can be watched");
            }

            #[inline(always)]
            fn reregister(&mut self, subject: &mut $Type, token: usize, want: Want) {
                subject
                    .poll
                    .registry()
                    .reregister(self, $mio::Token(token), $Type::interest(want))
                    .expect("is watched");
            }

            #[inline(always)]
            fn deregister(&mut self, subject: &mut $Type) {
                subject
                    .poll
                    .registry()
                    .deregister(self)
                    .expect("is watched");
            }
        }

        impl $mio::event::Source for Bare<$Type> {
            fn register(
                &mut self,
                registry: &$mio::Registry,
                token: $mio::Token,
                interests: $mio::Interest,
            ) -> std::io::Result<()> {
                let fd = &mut $mio::unix::SourceFd(&self.fd.as_raw_fd());
                $mio::event::Source::register(fd, registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &$mio::Registry,
                token: $mio::Token,
                interests: $mio::Interest,
            ) -> std::io::Result<()> {
                let fd = &mut $mio::unix::SourceFd(&self.fd.as_raw_fd());
                $mio::event::Source::reregister(fd, registry, token, interests)
            }

            fn deregister(&mut self, registry: &$mio::Registry) -> std::io::Result<()> {
                let fd = &mut $mio::unix::SourceFd(&self.fd.as_raw_fd());
                $mio::event::Source::deregister(fd, registry)
            }
        }
    };
}

/// What the subjects on one crate share.
macro_rules! mio_crate {
    ($mio:ident) => {
        impl Wake for $mio::Waker {
            #[inline(always)]
            fn wake(&self) {
                $mio::Waker::wake(self).expect("can wake");
            }
        }

        impl Accept<$mio::net::TcpStream> for $mio::net::TcpListener {
            #[inline(always)]
            fn accept(&mut self) -> Option<$mio::net::TcpStream> {
                match $mio::net::TcpListener::accept(self) {
                    Ok((stream, _)) => Some(stream),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
}

/// Methods of these subjects only.
pub trait Registries: Subject {
    type Registry: Send + Sync + 'static;

    /// A clone, which other threads can use.
    fn registry(&self) -> Self::Registry;

    /// Registers a stream for reading again.
    fn rearm(registry: &Self::Registry, stream: &mut Self::Unix, token: usize);
}

pub trait WouldBlock {
    /// The report of a read that would block, without the read.
    fn would_block(&self);
}

/// A descriptor that either of the two can watch.
pub struct Bare<S> {
    fd: OwnedFd,
    of: std::marker::PhantomData<S>,
}

impl<S> From<OwnedFd> for Bare<S> {
    fn from(fd: OwnedFd) -> Bare<S> {
        Bare {
            fd,
            of: std::marker::PhantomData,
        }
    }
}

impl WouldBlock for ours::net::UnixStream {
    #[inline(always)]
    fn would_block(&self) {
        let io = || Err::<(), _>(ErrorKind::WouldBlock.into());
        let outcome = self.try_io_with(ours::Interest::READABLE, io);
        std::hint::black_box(&outcome);
    }
}

impl WouldBlock for upstream::net::UnixStream {
    #[inline(always)]
    fn would_block(&self) {
        // It does not know directions.
        let outcome = self.try_io(|| Err::<(), _>(ErrorKind::WouldBlock.into()));
        std::hint::black_box(&outcome);
    }
}

mio_crate!(ours);
mio_crate!(upstream);

mio_subject!(Mio, ours, "mio", edges: true, identity);
mio_subject!(Upstream, upstream, "mio 1.2.5", edges: true, identity);
mio_subject!(Level, ours, "mio, level", edges: false, ours::Interest::level);
mio_subject!(OneShot, ours, "mio, one-shot", edges: true, ours::Interest::oneshot);
mio_subject!(Exclusive, ours, "mio, exclusive", edges: true, ours::Interest::exclusive);
