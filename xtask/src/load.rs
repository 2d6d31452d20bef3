//! Thousands of connections under many threads for minutes: the program `load` of testing/load, on
//! each backend of this machine. `cargo xtask load --faults` checks that it is not blind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use clap::Args as ClapArgs;

use crate::faults::{self, Fault, Tree};
use crate::report::Report;
use crate::sh::Cmd;
use crate::table::named;
use crate::{root, target};

const BACKENDS: [&str; 2] = ["epoll", "poll"];

/// Faults that the program has to find.
const FAULTS: [&str; 4] = [
    "epoll/deregister-leaves-the-registration",
    "epoll/pending-wakes-never-cleared",
    "poll/slot-handed-out-twice",
    "poll/would-block-does-not-arm",
];

/// The seconds for each fault. A lost event shows after ten seconds.
const FAULTS_SECONDS: u64 = 60;

#[derive(ClapArgs)]
pub struct Args {
    /// Backends, instead of both: `epoll`, `poll`
    backends: Vec<String>,
    /// The minutes that each backend takes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Check that the program finds faults of testing/faults, in a copy of the sources
    #[arg(long)]
    faults: bool,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            backends: Vec::new(),
            minutes: 5,
            faults: false,
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let backends = named(&BACKENDS, |backend| backend, &args.backends, |_| true)?;
    if args.faults {
        return find_faults(&backends);
    }
    Report::of(|report| {
        build(root(), &target("load"))?;
        for backend in backends {
            let run = load(&target("load"), backend, args.minutes * 60);
            report.one(backend, run.run());
        }
        Ok(())
    })
}

/// What `full` runs.
pub fn all() -> Result<()> {
    run(&Args::default())
}

/// The second step of `full`.
pub fn all_faults() -> Result<()> {
    find_faults(&BACKENDS.iter().collect::<Vec<_>>())
}

fn find_faults(backends: &[&&str]) -> Result<()> {
    let known = faults::load()?;
    Report::of(|report| {
        let tree = Tree::copy()?;
        for name in FAULTS {
            let fault = known.iter().find(|fault| fault.to_string() == name);
            let fault = fault.with_context(|| format!("there is no fault {name}"))?;
            if backends.iter().any(|backend| **backend == fault.backend) {
                report.one(name, find(&tree, fault));
            }
        }
        Ok(())
    })
}

/// Fails unless the program finds the fault.
fn find(tree: &Tree, fault: &Fault) -> Result<()> {
    let _undone_in_the_end = tree.apply(fault)?.map_err(|why| anyhow!(why))?;
    let folder = target("faults").join("load");
    build(&tree.sources, &folder)?;
    let start = Instant::now();
    let ended = load(&folder, &fault.backend, FAULTS_SECONDS).quiet()?;
    let found = ended.stdout.lines().find(|line| line.starts_with("FOUND "));
    match found {
        Some(found) if ended.status.code() == Some(1) => {
            println!("{fault}: after {} s, {found}", start.elapsed().as_secs());
            Ok(())
        }
        _ => bail!("not found, and it ended with {}", ended.status),
    }
}

fn build(sources: &Path, target_dir: &Path) -> Result<()> {
    Cmd::cargo("build")
        .args(["--quiet", "--release", "-p", "load"])
        .dir(sources)
        .target_dir(target_dir)
        .run()
}

fn load(target_dir: &Path, backend: &str, seconds: u64) -> Cmd {
    Cmd::new(target_dir.join("release/load"))
        .args(["--backend", backend, "--seconds", &seconds.to_string()])
        // On a busy machine its two first waves take minutes each, and so does the last one.
        .limit(Duration::from_secs(seconds + 20 * 60))
}
