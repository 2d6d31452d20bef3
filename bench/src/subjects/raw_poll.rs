//! A loop that calls poll(2) through the C library, and does nothing else: the array for the
//! kernel, readiness as long as it lasts, one thread, and no wake-ups from other threads.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libc::{c_int, c_short, pollfd};

use crate::subject::{Ready, Source, Subject, Wake, Want};

pub struct RawPoll {
    asked: Vec<pollfd>,
    tokens: Vec<usize>,
    /// The position of each descriptor in the array.
    places: Vec<usize>,
}

impl Subject for RawPoll {
    const NAME: &'static str = "raw poll(2)";
    const EDGES: bool = false;

    type Tcp = std::net::TcpStream;
    type Unix = UnixStream;
    type Listener = std::net::TcpListener;
    type Bare = OwnedFd;
    type Waker = Nobody;

    fn new(_: usize) -> RawPoll {
        RawPoll {
            asked: Vec::new(),
            tokens: Vec::new(),
            places: Vec::new(),
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) {
        let millis = match timeout {
            None => -1,
            Some(timeout) => timeout.as_nanos().div_ceil(1_000_000) as c_int,
        };
        let count = self.asked.len() as libc::nfds_t;
        // SAFETY: the count is the length of the array.
        let answers = unsafe { libc::poll(self.asked.as_mut_ptr(), count, millis) };
        let mut left = usize::try_from(answers).expect("no signals");
        for (asked, token) in self.asked.iter().zip(&self.tokens) {
            if left == 0 {
                break;
            }
            if asked.revents != 0 {
                left -= 1;
                each(Ready {
                    token: *token,
                    readable: asked.revents & libc::POLLIN != 0,
                });
            }
        }
    }

    fn waker(&mut self) -> Nobody {
        panic!("one thread has nobody to wake")
    }
}

fn bits(want: Want) -> c_short {
    let mut events = 0;
    if want.reads() {
        events |= libc::POLLIN | libc::POLLRDHUP;
    }
    if want.writes() {
        events |= libc::POLLOUT;
    }
    events
}

impl<T: AsFd> Source<RawPoll> for T {
    #[inline(always)]
    fn register(&mut self, subject: &mut RawPoll, token: usize, want: Want) {
        let fd = self.as_fd().as_raw_fd();
        let number = fd as usize;
        if subject.places.len() <= number {
            subject.places.resize(number + 1, 0);
        }
        subject.places[number] = subject.asked.len();
        subject.asked.push(pollfd {
            fd,
            events: bits(want),
            revents: 0,
        });
        subject.tokens.push(token);
    }

    #[inline(always)]
    fn reregister(&mut self, subject: &mut RawPoll, token: usize, want: Want) {
        let place = subject.places[self.as_fd().as_raw_fd() as usize];
        subject.asked[place].events = bits(want);
        subject.tokens[place] = token;
    }

    #[inline(always)]
    fn deregister(&mut self, subject: &mut RawPoll) {
        let place = subject.places[self.as_fd().as_raw_fd() as usize];
        subject.asked.swap_remove(place);
        subject.tokens.swap_remove(place);
        if let Some(moved) = subject.asked.get(place) {
            subject.places[moved.fd as usize] = place;
        }
    }
}

/// This subject is in no workload with wake-ups.
pub enum Nobody {}

impl Wake for Nobody {
    fn wake(&self) {
        match *self {}
    }
}
