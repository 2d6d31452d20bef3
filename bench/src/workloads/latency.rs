//! How long an event waits while thousands of other sources are active.

use std::hint;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Run;
use crate::clock::ticks;
use crate::os;
use crate::subject::{Source, Subject, Want};

const STAMP: usize = std::mem::size_of::<u64>();

/// The pauses between two bytes that are measured. They differ, so that they do not follow the polling
/// thread's turns.
const PAUSES: [Duration; 4] = [
    Duration::from_micros(11),
    Duration::from_micros(29),
    Duration::from_micros(47),
    Duration::from_micros(61),
];

/// What the polling thread and the measuring thread share.
struct Shared {
    /// The other ends of the sources.
    peers: Vec<UnixStream>,
    /// Whether the polling thread passes bytes on; otherwise it takes them away.
    is_active: AtomicBool,
    /// How many it has taken away.
    taken: AtomicUsize,
    measured: Mutex<Measured>,
}

#[derive(Default)]
struct Measured {
    delays: Vec<u64>,
    /// How many bytes were not counted.
    disturbed: usize,
    /// How often the polling thread had lost its processor when it handled the last byte.
    preempted: i64,
}

impl Shared {
    /// The polling thread. It ends when the peer of `measured` closes.
    fn poll<S: Subject>(&self, sources: Vec<OwnedFd>, measured: OwnedFd) {
        let mut subject = S::new(1024);
        let mut register = |token, fd| {
            let mut source = S::Unix::from(fd);
            source.register(&mut subject, token, Want::Read);
            source
        };
        let count = sources.len();
        let sources = sources.into_iter().enumerate();
        let mut sources: Vec<S::Unix> = sources.map(|(token, fd)| register(token, fd)).collect();
        let mut measured = register(count, measured);
        let (mut next, mut is_over) = (0, false);
        while !is_over {
            subject.wait(None, |event| match sources.get_mut(event.token) {
                None => is_over = !self.measure::<S>(&mut measured),
                Some(source) => {
                    let came = drain::<S>(source, |_| {});
                    let is_active = self.is_active.load(Ordering::Relaxed);
                    match came {
                        Some(came) if is_active => {
                            for _ in 0..came {
                                // Not the neighbour: each source is active once in a while.
                                next = (next + 701) % count;
                                self.pass(next);
                            }
                        }
                        came => {
                            let came = came.expect("its peer lives");
                            self.taken.fetch_add(came, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    }

    /// Makes a source ready.
    fn pass(&self, source: usize) {
        let mut peer = &self.peers[source];
        peer.write_all(&[1]).expect("there is room");
    }

    /// Handles the event of the measured source. Returns false if that is at its end.
    ///
    /// A delay in which the polling thread has lost its processor is that of the scheduler, and is not
    /// counted.
    fn measure<S: Subject>(&self, source: &mut S::Unix) -> bool {
        let mut measured = self.measured.lock().expect("nobody panics");
        let Measured {
            delays,
            disturbed,
            preempted,
        } = &mut *measured;
        let before = delays.len();
        let came = drain::<S>(source, |bytes| {
            let now = ticks();
            for stamp in bytes.chunks(STAMP) {
                let stamp = u64::from_ne_bytes(stamp.try_into().expect("all of one"));
                delays.push(now.saturating_sub(stamp));
            }
        });
        let now_preempted = os::preempted();
        if *preempted != now_preempted {
            *preempted = now_preempted;
            *disturbed += delays.len() - before;
            delays.truncate(before);
        }
        came.is_some()
    }
}

/// Reads what there is, as the subject needs it: how much that was. None at the end.
#[inline(always)]
fn drain<S: Subject>(source: &mut S::Unix, mut each: impl FnMut(&[u8])) -> Option<usize> {
    // A multiple of all that is sent.
    let (mut buffer, mut came) = ([0; 64 * STAMP], 0);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return None,
            Ok(length) => {
                each(&buffer[..length]);
                came += length;
                if !S::EDGES {
                    return Some(came);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(came),
            Err(error) => panic!("{error}"),
        }
    }
}

/// One operation is a byte that this thread writes: its delay is the time until the polling thread
/// handles its event. Meanwhile `active` bytes go round among `sources` other sources: the polling
/// thread reads each, and writes it to another source. So its turns are as long as the subject makes
/// them, and it never sleeps.
pub fn latency<S: Subject>(sources: usize, active: usize) -> Run {
    let processor = os::OneProcessor::first();
    let (peers, fds): (Vec<UnixStream>, Vec<OwnedFd>) =
        (0..sources).map(|_| os::unix_pair()).unzip();
    let (sender, measured) = os::unix_pair();
    let shared = Arc::new(Shared {
        peers,
        is_active: AtomicBool::new(false),
        taken: AtomicUsize::new(0),
        measured: Mutex::default(),
    });
    let thread = thread::spawn({
        let shared = Arc::clone(&shared);
        move || shared.poll::<S>(fds, measured)
    });
    drop(processor);
    let mut sender = Sender {
        sender: Some(sender),
        thread: Some(thread),
    };
    Box::new(move |clock, operations| {
        let _processor = os::OneProcessor::last();
        let sender = sender.sender.as_mut().expect("until it is dropped");
        shared.taken.store(0, Ordering::Relaxed);
        shared.is_active.store(true, Ordering::Relaxed);
        (0..active).for_each(|index| shared.pass(index * 97 % sources));
        for pause in PAUSES.iter().cycle().take(operations) {
            // The kernel would let it sleep much longer.
            let start = Instant::now();
            while start.elapsed() < *pause {
                hint::spin_loop();
            }
            sender
                .write_all(&ticks().to_ne_bytes())
                .expect("there is room");
        }
        let delays = loop {
            let mut measured = shared.measured.lock().expect("nobody panics");
            if measured.delays.len() + measured.disturbed == operations {
                measured.disturbed = 0;
                break std::mem::take(&mut measured.delays);
            }
            drop(measured);
            thread::sleep(Duration::from_micros(100));
        };
        shared.is_active.store(false, Ordering::Relaxed);
        while shared.taken.load(Ordering::Relaxed) < active {
            thread::sleep(Duration::from_micros(100));
        }
        clock.delayed(&delays);
    })
}

/// Ends the polling thread.
struct Sender {
    sender: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}
