//! The cost of idle sources: how often the process wakes, and how much of a processor it uses, on
//! each backend. `cargo xtask bench --idle` prints the table of docs/EVENTS.md.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::event::Source;
use mio::net::UnixStream;
use mio::unix::{pipe, SourceFd};
use mio::{Backend, Events, Interest, Poll, Token};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The time before anything is measured, in which the pauses of probes reach their longest.
const SETTLING: Duration = Duration::from_secs(2);

/// A program's sources, and its response to their events.
trait Sources {
    fn register(&mut self, poll: &Poll) -> io::Result<()>;

    fn answer(&mut self, _: Token) {}
}

struct Nothing;

impl Sources for Nothing {
    fn register(&mut self, _: &Poll) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe at its end that the program keeps, and reads at each event, which returns 0.
struct EndedPipe(pipe::Receiver);

impl Sources for EndedPipe {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        let registry = poll.registry();
        registry.register(&mut self.0, Token(0), Interest::READABLE)
    }

    fn answer(&mut self, _: Token) {
        assert_eq!(self.0.read(&mut [0; 8]).expect("the end"), 0);
    }
}

/// Streams that the program reads at each event until that would block.
struct Streams(Vec<(UnixStream, StdStream)>);

impl Sources for Streams {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        for (index, (stream, _)) in self.0.iter_mut().enumerate() {
            stream.register(poll.registry(), Token(index), BOTH)?;
        }
        Ok(())
    }

    fn answer(&mut self, token: Token) {
        let error = self.0[token.0].0.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

/// The same as raw descriptors.
struct RawStreams(Streams, Interest);

impl Sources for RawStreams {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        for (index, (stream, _)) in self.0 .0.iter().enumerate() {
            let fd = stream.as_raw_fd();
            SourceFd(&fd).register(poll.registry(), Token(index), self.1)?;
        }
        Ok(())
    }

    fn answer(&mut self, token: Token) {
        self.0.answer(token);
    }
}

fn streams(count: usize) -> io::Result<Streams> {
    let pair = |_| {
        let (stream, peer) = StdStream::pair()?;
        stream.set_nonblocking(true)?;
        Ok((UnixStream::from_std(stream), peer))
    };
    Ok(Streams((0..count).map(pair).collect::<io::Result<_>>()?))
}

type Open = fn() -> io::Result<Box<dyn Sources>>;

const ROWS: &[(&str, Open)] = &[
    ("none", || Ok(Box::new(Nothing))),
    ("a pipe kept open after the end of file", || {
        let (sender, receiver) = pipe::new()?;
        drop(sender);
        Ok(Box::new(EndedPipe(receiver)))
    }),
    ("2,000 `UnixStream`s, both interests", || {
        Ok(Box::new(streams(2000)?))
    }),
    ("2,000 `SourceFd`s, reading only", || {
        Ok(Box::new(RawStreams(streams(2000)?, Interest::READABLE)))
    }),
    ("one `SourceFd`, both interests", || {
        Ok(Box::new(RawStreams(streams(1)?, BOTH)))
    }),
    ("2,000 `SourceFd`s, both interests", || {
        Ok(Box::new(RawStreams(streams(2000)?, BOTH)))
    }),
];

/// Prints the table.
pub fn run(seconds: u64) -> Result<()> {
    println!("| idle sources | backend | wake-ups a second | events a second | of a processor |");
    println!("|---|---|---:|---:|---:|");
    for (name, open) in ROWS {
        for &backend in Backend::available() {
            let time = Duration::from_secs(seconds);
            let cost = measure(backend, &mut *open()?, [SETTLING, time])?;
            let [wakes, events] = [cost.wakes, cost.events].map(|n| n as f64 / seconds as f64);
            let share = cost.processor.as_secs_f64() / seconds as f64 * 100.0;
            println!("| {name} | {backend} | {wakes:.1} | {events:.1} | {share:.2} % |");
        }
    }
    Ok(())
}

struct Cost {
    wakes: u64,
    events: u64,
    processor: Duration,
}

fn measure(
    backend: Backend,
    sources: &mut dyn Sources,
    [settling, time]: [Duration; 2],
) -> Result<Cost> {
    let mut poll = Poll::with_backend(backend)?;
    sources.register(&poll)?;
    let mut events = Events::with_capacity(1024);
    let mut run = |time| -> io::Result<u64> {
        let end = Instant::now() + time;
        let mut count = 0;
        while Instant::now() < end {
            poll.poll_until(&mut events, Some(end))?;
            for event in &events {
                count += 1;
                sources.answer(event.token());
            }
        }
        Ok(count)
    };
    run(settling)?;
    let before = Usage::of_this_thread();
    let events = run(time)?;
    let after = Usage::of_this_thread();
    Ok(Cost {
        wakes: after.sleeps - before.sleeps,
        events,
        processor: after.processor - before.processor,
    })
}

struct Usage {
    /// Each wait ends with a wake-up.
    sleeps: u64,
    processor: Duration,
}

impl Usage {
    fn of_this_thread() -> Usage {
        // SAFETY: all zeros are a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `rusage`.
        let got = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
        assert_eq!(got, 0);
        // SAFETY: all zeros are a valid `timespec`.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `timespec`.
        let got = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(got, 0);
        Usage {
            sleeps: usage.ru_nvcsw as u64,
            processor: Duration::new(time.tv_sec as u64, time.tv_nsec as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_measured_on_every_backend() {
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let time = Duration::from_millis(20);
        for (name, open) in ROWS {
            for &backend in Backend::available() {
                let mut sources = open().unwrap();
                let cost = measure(backend, &mut *sources, [time, time]).unwrap();
                assert!(cost.processor > Duration::ZERO, "{name}, {backend}");
            }
        }
    }
}
