//! The crate `polling`, with edges.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use super::ON_POLL;
use crate::subject::{Ready, Source, Subject, Wake, Want};

pub struct Polling {
    poller: Arc<Poller>,
    events: Events,
}

/// Its poll(2) has no edges.
const MODE: PollMode = if ON_POLL {
    PollMode::Level
} else {
    PollMode::Edge
};

impl Subject for Polling {
    const NAME: &'static str = "polling";
    const EDGES: bool = !ON_POLL;

    type Tcp = std::net::TcpStream;
    type Unix = UnixStream;
    type Listener = std::net::TcpListener;
    type Bare = OwnedFd;
    type Waker = PollingWaker;

    fn new(capacity: usize) -> Polling {
        let capacity = NonZeroUsize::new(capacity).expect("room for events");
        Polling {
            poller: Arc::new(Poller::new().expect("descriptors")),
            events: Events::with_capacity(capacity),
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) {
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout) {
            Ok(_) => {}
            // Its poll(2) reports this if wake-ups coincide.
            Err(error) if ON_POLL && error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        for event in self.events.iter() {
            each(Ready {
                token: event.key,
                readable: event.readable,
            });
        }
    }

    fn waker(&mut self) -> PollingWaker {
        PollingWaker(Arc::clone(&self.poller))
    }
}

#[inline(always)]
fn event(token: usize, want: Want) -> Event {
    Event::new(token, want.reads(), want.writes())
}

impl<T: AsFd> Source<Polling> for T {
    #[inline(always)]
    fn register(&mut self, subject: &mut Polling, token: usize, want: Want) {
        use std::os::fd::AsRawFd;
        let fd = self.as_fd().as_raw_fd();
        // SAFETY: the workloads deregister sources before they drop them, or drop the poller first.
        unsafe { subject.poller.add_with_mode(fd, event(token, want), MODE) }
            .expect("can be watched");
    }

    #[inline(always)]
    fn reregister(&mut self, subject: &mut Polling, token: usize, want: Want) {
        subject
            .poller
            .modify_with_mode(self.as_fd(), event(token, want), MODE)
            .expect("is watched");
    }

    #[inline(always)]
    fn deregister(&mut self, subject: &mut Polling) {
        subject.poller.delete(self.as_fd()).expect("is watched");
    }
}

/// Its wake-ups have no event.
pub struct PollingWaker(Arc<Poller>);

impl Wake for PollingWaker {
    #[inline(always)]
    fn wake(&self) {
        self.0.notify().expect("can wake");
    }
}
