//! A server on two polls, each with a thread of its own, and eight threads that use it and disturb it.
//!
//! The eight threads have as many connections open as the process may have descriptors. They send,
//! read (some of them slowly), reset, and check every byte that the server sends back. Meanwhile they
//! wake the polls, and reregister, move to the other poll and drop the server's ends.
//!
//! A run is a series of waves. A wave fills up, stays full, asks for more descriptors than there are,
//! so that `accept` fails, and drains. After each wave as many descriptors are open, and as much memory
//! is allocated, as after the first.
//!
//! `world.rs` has what the threads share, `server.rs` the polling threads, `clients.rs` the others,
//! `clock.rs` how late this machine itself is.

mod clients;
mod clock;
mod process;
mod server;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use mio::Backend;

use world::{Count, Phase, World};

#[derive(Parser)]
#[command(about = "Thousands of connections under many threads, checked")]
struct Cli {
    #[arg(long, value_parser = backend, default_value = "epoll")]
    backend: Backend,
    /// How long the run takes: no wave begins that would end later if it took as long as the last one,
    /// except for the two first waves
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many descriptors the process may have: at most what the system allows
    #[arg(long, default_value_t = 16_000)]
    descriptors: u64,
}

fn backend(name: &str) -> Result<Backend, String> {
    let all = Backend::available();
    let found = all.iter().find(|backend| backend.to_string() == name);
    found.copied().ok_or_else(|| "no such backend".to_owned())
}

const WORKERS: usize = 8;

/// The first wave is what the others are compared with.
const FEWEST_WAVES: u32 = 2;

/// For how long a wave fills up and stays full.
const FULL: Duration = Duration::from_secs(15);

/// For how long descriptors stay used up, and for how long a wave is full again afterwards.
const TOO_MANY: Duration = Duration::from_secs(1);
const FULL_AGAIN: Duration = Duration::from_secs(3);

/// Until descriptors run out, another connection begins in less than this.
const CONNECTS: Duration = Duration::from_secs(60);

/// While a wave drains, a connection comes to its end in less than this, on a slow machine as well.
const DRAINS: Duration = Duration::from_secs(60);

/// How much more may be allocated than after the first wave: tables have grown, and the dropped
/// connections are remembered.
const MEMORY: usize = 3 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let limit = process::limit_descriptors(cli.descriptors);
    let clock = clock::start();
    let (world, polls) = World::new(cli.backend, limit, clock);
    let world = Arc::new(world);
    println!(
        "{}: {} connections at a time, {limit} descriptors",
        cli.backend, world.connections_wanted
    );
    let mut threads = Vec::new();
    for (index, poll) in polls.into_iter().enumerate() {
        let world = Arc::clone(&world);
        threads.push(thread::spawn(move || server::run(&world, index, poll)));
    }
    for number in 0..WORKERS {
        let world = Arc::clone(&world);
        threads.push(thread::spawn(move || clients::run(&world, number)));
    }
    let (run, time) = (Instant::now(), Duration::from_secs(cli.seconds));
    let mut last = Duration::ZERO;
    let mut after_first = None;
    for number in 1.. {
        if number > FEWEST_WAVES && run.elapsed() + last > time {
            break;
        }
        let start = Instant::now();
        let phases = wave(&world);
        last = start.elapsed();
        if world.has_problems() {
            break;
        }
        let (open, memory) = (process::open_descriptors(), process::allocated());
        println!(
            "wave {number}, {phases}: {open} descriptors, {} KiB allocated, {} KiB in memory, {}",
            memory >> 10,
            process::resident() >> 10,
            world.tally()
        );
        let (first_open, first_memory) = *after_first.get_or_insert((open, memory));
        if open != first_open {
            world.problem(format!(
                "{open} descriptors after a wave, {first_open} after the first"
            ));
        }
        if memory > first_memory + first_memory / 10 + MEMORY {
            world.problem(format!(
                "{memory} bytes after a wave, {first_memory} after the first"
            ));
        }
    }
    world.set_phase(Phase::Over);
    for thread in threads {
        if thread.join().is_err() {
            world.problem("a thread panicked".to_owned());
        }
    }
    for idle in world.idle() {
        world.problem(format!("there were no {idle}"));
    }
    println!("{}", world.tally());
    let problems = world.problems();
    for problem in problems.iter().take(20) {
        println!("FOUND {problem}");
    }
    println!(
        "{} passed, {} failed",
        usize::from(problems.is_empty()),
        problems.len()
    );
    ExitCode::from(u8::from(!problems.is_empty()))
}

/// Fills up, asks for too much, and drains. Returns how long that took.
fn wave(world: &World) -> String {
    let go_on = |time: Duration| {
        let start = Instant::now();
        while start.elapsed() < time && !world.has_problems() {
            thread::sleep(Duration::from_millis(20));
            world.check_wakes();
        }
    };
    let start = Instant::now();
    world.set_phase(Phase::Full);
    go_on(FULL);
    let full = start.elapsed();

    world.set_phase(Phase::TooMany);
    let failed = world.get(Count::FailedAccepts);
    let begun = Instant::now();
    let (mut connects, mut since) = (0, begun);
    while world.get(Count::FailedAccepts) == failed && since.elapsed() < CONNECTS {
        let now = world.get(Count::Connects);
        if now > connects {
            (connects, since) = (now, Instant::now());
        }
        go_on(Duration::from_millis(20));
        if world.has_problems() {
            break;
        }
    }
    // What waits to be accepted meets no room for a while.
    go_on(TOO_MANY);
    let too_many = begun.elapsed();
    world.set_phase(Phase::Full);
    go_on(FULL_AGAIN);

    world.set_phase(Phase::Draining);
    let begun = Instant::now();
    let (mut fewest, mut since) = (usize::MAX, begun);
    while !world.is_empty() && !world.has_problems() {
        let left = world.ends_left();
        if left < fewest {
            (fewest, since) = (left, Instant::now());
        }
        if since.elapsed() > DRAINS {
            world.problem(format!("{} have not come to their end", world.left()));
        }
        thread::sleep(Duration::from_millis(20));
        world.check_wakes();
    }
    let [full, too_many, drained] = [full, too_many, begun.elapsed()].map(|time| time.as_secs());
    format!("full {full} s, too many {too_many} s, drained {drained} s")
}
