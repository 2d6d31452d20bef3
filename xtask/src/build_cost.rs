//! The cost of building this crate, compared with mio 1.2.5: the processor time for the crate and a
//! small client that calls every operation, so that code that is inlined into clients counts as
//! well. The dependencies of both are built before, and not counted.
//!
//! The two builds take turns, so that other load on the machine slows both down. The ratio of the
//! medians counts.

use std::time::Duration;

use anyhow::{bail, Result};

use crate::budget::cpu_of_children;
use crate::sh::Cmd;
use crate::{root, target};

/// The maximum ratio to the processor time of mio 1.2.5. The aim is 2.2. `cargo xtask build-cost` measures 2.23 to
/// 2.24, and cachegrind 2.23 for the compiler's instructions. Two thirds of these are LLVM's, and most of LLVM's go into
/// what mio 1.2.5 lacks, the registrations of poll(2) and their states (`rearmed.rs`, `table.rs`, `rearm.rs`).
const MOST: f64 = 2.35;

const ROUNDS: usize = 7;

const CLIENTS: [&str; 2] = ["ours", "upstream"];

pub fn run() -> Result<()> {
    for client in CLIENTS {
        // The first build compiles all dependencies.
        build(client).run()?;
    }
    let mut rounds = CLIENTS.map(|_| Vec::new());
    for round in 1..=ROUNDS {
        for (client, times) in CLIENTS.iter().zip(&mut rounds) {
            in_its_folder(client, "clean")
                .args([
                    "--quiet",
                    "--release",
                    "--package",
                    "mio",
                    "--package",
                    "client",
                ])
                .run()?;
            let before = cpu_of_children()?;
            build(client).run()?;
            times.push(cpu_of_children()? - before);
        }
        let shown: Vec<String> = CLIENTS
            .iter()
            .zip(&rounds)
            .map(|(client, times)| format!("{client} {:.2} s CPU", times[round - 1].as_secs_f64()))
            .collect();
        println!("round {round}: {}", shown.join(", "));
    }
    let [ours, upstream] = rounds.map(|times| median(times).as_secs_f64());
    let ratio = ours / upstream;
    println!("{ours:.2} s beside {upstream:.2} s: {ratio:.2} times mio 1.2.5, at most {MOST}");
    if ratio > MOST {
        bail!(
            "the crate takes {ratio:.2} times the processor time of mio 1.2.5, over {MOST} times"
        );
    }
    Ok(())
}

fn in_its_folder(client: &str, subcommand: &str) -> Cmd {
    Cmd::cargo(subcommand)
        .dir(root().join("testing/build-cost").join(client))
        .target_dir(target("build-cost").join(client))
}

fn build(client: &str) -> Cmd {
    in_its_folder(client, "build")
        // With one job, so that jobs that wait for each other cost nothing.
        .args(["--quiet", "--locked", "--release", "--jobs", "1"])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
