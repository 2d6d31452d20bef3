//! How many threads a connection wakes, if several wait for one listener, each with a queue of its own.
//! `cargo xtask bench --wake-ups` prints the table of bench/README.md.
//!
//! These are counts, which other load on the machine does not change: the next connections come when all
//! threads sleep again.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::os;
use crate::subject::{Accept, Source, Subject, Wake, Want};
use crate::subjects::{Exclusive, Libuv, Mio, Raw, Upstream};

const THREADS: usize = 4;
const LISTENER: usize = 0;

/// What the threads have done.
#[derive(Default)]
struct Totals {
    accepted: AtomicUsize,
    /// Waits that reported the listener.
    events: AtomicUsize,
    is_over: AtomicBool,
}

/// What a thread needs, to be waited for and to be ended.
struct Waiting<S: Subject> {
    /// Its files in `/proc`.
    stat: File,
    status: File,
    waker: S::Waker,
}

/// For each connection.
struct Count {
    /// Sleeps of a thread that have ended, whether or not a wait has returned.
    wake_ups: f64,
    events: f64,
}

/// Prints the table.
pub fn run(connections: usize) -> Result<()> {
    println!("| registration | connections at a time | wake-ups | events |");
    println!("|---|---:|---:|---:|");
    for at_a_time in [1, 8] {
        for (name, count) in ROWS {
            let count = count(connections, at_a_time)?;
            let Count { wake_ups, events } = count;
            println!("| {name} | {at_a_time} | {wake_ups:.2} | {events:.2} |");
        }
    }
    Ok(())
}

type Row = (&'static str, fn(usize, usize) -> Result<Count>);

const ROWS: [Row; 5] = [
    (Exclusive::NAME, count::<Exclusive>),
    (Mio::NAME, count::<Mio>),
    (Upstream::NAME, count::<Upstream>),
    (Raw::NAME, count::<Raw>),
    (Libuv::NAME, count::<Libuv>),
];

fn count<S: Subject>(connections: usize, at_a_time: usize) -> Result<Count> {
    let listener = os::tcp_listener();
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let totals = Totals::default();
    // Until the threads have ended: a waker that is dropped takes its wake-up with it.
    let mut threads: Vec<Waiting<S>> = Vec::new();
    thread::scope(|scope| {
        let (sender, started) = mpsc::channel();
        for _ in 0..THREADS {
            let (listener, sender, totals) = (&listener, sender.clone(), &totals);
            scope.spawn(move || wait_and_accept::<S>(listener, totals, sender));
        }
        drop(sender);
        threads.extend(started.iter().take(THREADS));
        // Warms up: afterwards every thread has waited.
        let counted = connect(address, at_a_time, &totals, &threads)
            .and_then(|()| count_of(address, [connections, at_a_time], &totals, &threads));
        totals.is_over.store(true, Ordering::Release);
        threads.iter().for_each(|thread| thread.waker.wake());
        counted
    })
}

fn count_of<S: Subject>(
    address: SocketAddr,
    [connections, at_a_time]: [usize; 2],
    totals: &Totals,
    threads: &[Waiting<S>],
) -> Result<Count> {
    let sleeps = || threads.iter().map(Waiting::sleeps).sum::<Result<u64>>();
    let (before, events) = (sleeps()?, totals.events.load(Ordering::Acquire));
    let rounds = connections.div_ceil(at_a_time);
    for _ in 0..rounds {
        connect(address, at_a_time, totals, threads)?;
    }
    let each = |count: u64| count as f64 / (rounds * at_a_time) as f64;
    Ok(Count {
        wake_ups: each(sleeps()? - before),
        events: each((totals.events.load(Ordering::Acquire) - events) as u64),
    })
}

/// Connects so often, and waits until all is accepted and all threads sleep.
fn connect<S: Subject>(
    address: SocketAddr,
    count: usize,
    totals: &Totals,
    threads: &[Waiting<S>],
) -> Result<()> {
    let accepted = totals.accepted.load(Ordering::Acquire);
    let clients = (0..count).map(|_| TcpStream::connect(address));
    let clients = clients.collect::<std::io::Result<Vec<_>>>()?;
    while totals.accepted.load(Ordering::Acquire) < accepted + count || !all_sleep(threads)? {
        thread::sleep(Duration::from_micros(20));
    }
    drop(clients);
    Ok(())
}

fn all_sleep<S: Subject>(threads: &[Waiting<S>]) -> Result<bool> {
    for thread in threads {
        if !thread.is_asleep()? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<S: Subject> Waiting<S> {
    fn of_this_thread(waker: S::Waker) -> Result<Waiting<S>> {
        Ok(Waiting {
            stat: File::open("/proc/thread-self/stat")?,
            status: File::open("/proc/thread-self/status")?,
            waker,
        })
    }

    fn is_asleep(&self) -> Result<bool> {
        let stat = read(&self.stat)?;
        // The name before it may have any characters.
        let (_, state) = stat.rsplit_once(") ").context("no state")?;
        Ok(state.starts_with('S'))
    }

    /// How often it went to sleep.
    fn sleeps(&self) -> Result<u64> {
        let status = read(&self.status)?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(count.context("no count of sleeps")?.trim().parse()?)
    }
}

fn read(file: &File) -> Result<String> {
    let mut text = [0; 4096];
    let length = file.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

fn wait_and_accept<S: Subject>(
    listener: &TcpListener,
    totals: &Totals,
    sender: Sender<Waiting<S>>,
) {
    let mut subject = S::new(8);
    let copy = listener.try_clone().expect("a descriptor");
    let mut listener = S::Listener::from(OwnedFd::from(copy));
    listener.register(&mut subject, LISTENER, Want::Read);
    let waiting = Waiting::of_this_thread(subject.waker()).expect("files in /proc");
    sender.send(waiting).expect("it is waited for");
    drop(sender);
    while !totals.is_over.load(Ordering::Acquire) {
        let mut came = false;
        subject.wait(None, |event| came |= event.token == LISTENER);
        if came {
            totals.events.fetch_add(1, Ordering::AcqRel);
            while listener.accept().is_some() {
                totals.accepted.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
    if !S::CLOSING_DEREGISTERS {
        listener.deregister(&mut subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registration_is_counted() {
        for (name, count) in ROWS {
            let count = count(16, 8).expect(name);
            assert!(count.events > 0.0 && count.wake_ups > 0.0, "{name}");
        }
    }

    #[test]
    fn an_exclusive_registration_wakes_fewer_threads() {
        let exclusive = count::<Exclusive>(50, 1).unwrap().wake_ups;
        let all = count::<Mio>(50, 1).unwrap().wake_ups;
        assert!(exclusive * 2.0 < all, "{exclusive} and {all}");
    }
}
