//! Random programs on mio, judged by an executable specification of its events.
//!
//! `judge.rs` is the specification. `program.rs` has the vocabulary that programs are drawn from,
//! `object.rs` and `handle.rs` what its words do, `world.rs` and `run.rs` run them; `search.rs` draws
//! them and makes those that fail smaller.

// The kernel of the programs.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{bail, Context, Result};
use clap::{Parser, Subcommand};
use mio::Backend;

mod bits;
mod exemptions;
mod handle;
mod judge;
mod object;
mod program;
mod rates;
mod run;
mod search;
mod world;

use program::Program;
use search::{Limits, Search, Summary};
use world::Entry;

#[derive(Parser)]
#[command(about = "Random programs on mio, judged by an executable specification of its events")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs programs that are drawn from a seed
    Run {
        #[arg(long, value_parser = backend)]
        backend: Backend,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        #[arg(long, conflicts_with = "seconds")]
        minutes: Option<u64>,
        #[arg(long, value_parser = number, default_value = "0x5eed", conflicts_with = "fresh")]
        seed: u64,
        /// Takes a seed from the clock
        #[arg(long)]
        fresh: bool,
        /// Ends after so many failures that are not known
        #[arg(long, default_value_t = 5)]
        most: usize,
        /// Leaves programs that fail as they are, and does not make them smaller
        #[arg(long)]
        as_found: bool,
        /// The same as `--most 1 --as-found`
        #[arg(long)]
        stop_at_first: bool,
        /// Fails where too little was judged
        #[arg(long)]
        thresholds: bool,
    },
    /// Shows the program of a seed and runs it
    Show {
        #[arg(long, value_parser = backend)]
        backend: Backend,
        #[arg(long, value_parser = number)]
        seed: u64,
        /// So often; counts the runs that fail
        #[arg(long, default_value_t = 1)]
        runs: usize,
    },
    /// Measures the rows of docs/EVENTS.md, and fails where they are more or later than it says
    Rates {
        #[arg(long, value_parser = backend)]
        backend: Backend,
    },
    /// Runs programs from files
    File {
        #[arg(long, value_parser = backend)]
        backend: Backend,
        files: Vec<PathBuf>,
        /// Ends with the first one that fails
        #[arg(long)]
        stop_at_first: bool,
    },
}

fn backend(name: &str) -> Result<Backend, String> {
    let all = Backend::available();
    let found = all.iter().find(|backend| backend.to_string() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(Backend::to_string).collect();
        format!("not one of {}", names.join(", "))
    })
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn main() -> ExitCode {
    match dispatch() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found.
fn dispatch() -> Result<bool> {
    let cli = Cli::parse();
    run::watch();
    let can_mount = object::own_mounts();
    if !can_mount {
        println!(
            "not allowed to mount: {:?} is left out",
            program::Kind::Mounts
        );
    }
    match cli.what {
        What::Run {
            backend,
            seconds,
            minutes,
            seed,
            fresh,
            most,
            as_found,
            stop_at_first,
            thresholds,
        } => {
            let seed = match fresh {
                true => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
                false => seed,
            };
            println!("{backend}, seed {seed:#x}");
            let limits = Limits {
                time: Duration::from_secs(minutes.map_or(seconds, |minutes| minutes * 60)),
                most_found: if stop_at_first { 1 } else { most },
                shrinks: !as_found && !stop_at_first,
            };
            let search = Search { backend, can_mount };
            let summary = search.search(seed, &limits);
            summary.print();
            let mut failed = summary.found.len() as u64;
            if thresholds && failed == 0 {
                for problem in too_little(&summary, &search) {
                    println!("too little was judged: {problem}");
                    failed += 1;
                }
            }
            println!(
                "{} passed, {failed} failed",
                summary.programs - summary.found.len() as u64
            );
            Ok(failed == 0)
        }
        What::Show {
            backend,
            seed,
            runs,
        } => {
            let search = Search { backend, can_mount };
            let program = search.program(seed);
            println!("{}", program.to_text());
            let mut failed = 0;
            for run in 0..runs {
                let ran = search.run(&program);
                failed += usize::from(!ran.failures.is_empty());
                if run == 0 {
                    show(&ran.log);
                }
                for failure in &ran.failures {
                    println!("{failure}");
                }
            }
            println!("{} passed, {failed} failed", runs - failed);
            Ok(failed == 0)
        }
        What::Rates { backend } => {
            let mut problems = rates::measure(backend);
            if !problems.is_empty() {
                // A busy machine has none twice.
                let again = rates::measure(backend);
                problems.retain(|first| again.iter().any(|again| again.row == first.row));
            }
            for problem in &problems {
                println!("FOUND {}: {}", problem.row, problem.text);
            }
            let failed = problems.len();
            println!("{} passed, {failed} failed", usize::from(failed == 0));
            Ok(failed == 0)
        }
        What::File {
            backend,
            files,
            stop_at_first,
        } => {
            let search = Search { backend, can_mount };
            let (mut passed, mut failed) = (0, 0);
            for file in &files {
                let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
                let program =
                    Program::from_text(&text).with_context(|| file.display().to_string())?;
                let kinds = search::kinds(backend, can_mount);
                let strange = program
                    .sources
                    .iter()
                    .find(|spec| !kinds.contains(&spec.kind));
                if let Some(spec) = strange {
                    println!(
                        "{}: left out, {backend} has no {:?}",
                        file.display(),
                        spec.kind
                    );
                    continue;
                }
                let ran = search.run(&program);
                let mut is_bad = false;
                if let Some(failure) = ran.failures.first() {
                    let again = search.confirm(&program, failure);
                    is_bad = again.is_some();
                    let name = file.display();
                    match again {
                        Some((again, runs)) => {
                            println!("FOUND {failure}\n      {name}, {again} of {runs} runs");
                            show(&ran.log);
                        }
                        None => println!("once only, {name}: {failure}"),
                    }
                }
                failed += usize::from(is_bad);
                passed += usize::from(!is_bad);
                if is_bad && stop_at_first {
                    break;
                }
            }
            if files.is_empty() {
                bail!("no files");
            }
            println!("{passed} passed, {failed} failed");
            Ok(failed == 0)
        }
    }
}

fn show(log: &[Entry]) {
    for entry in log {
        let (Entry::Operation(text) | Entry::Events(text)) = entry;
        println!("  {text}");
    }
}

/// What a run of its length should have judged, and has not.
fn too_little(summary: &Summary, search: &Search) -> Vec<String> {
    /// The rarest kind is judged once in 16 programs.
    const PROGRAMS: u64 = 40;
    /// Two idle cores run 160, and two with much other work 60.
    const A_SECOND: u64 = 5;

    let wanted = summary.programs / PROGRAMS;
    let tally = &summary.tally;
    let mut problems = Vec::new();
    let least = summary.time.as_secs() * A_SECOND;
    if summary.programs < least {
        problems.push(format!("{} programs, not {least}", summary.programs));
    }
    for kind in search::kinds(search.backend, search.can_mount) {
        let count = |counts: &BTreeMap<_, u64>| counts.get(&kind).copied().unwrap_or(0);
        let judged = count(&tally.judged);
        // A duplicate counts as what it is a duplicate of.
        if kind != program::Kind::Duplicate && judged < wanted {
            problems.push(format!("{kind:?}: {judged} of {wanted}"));
        }
        let exempted = count(&tally.exempted.directions);
        if exempted * 10 > judged + exempted {
            problems.push(format!("{kind:?}: {exempted} exempted beside {judged}"));
        }
    }
    for mode in search::Summary::modes(search.backend) {
        let judged = tally.by_mode.get(&mode).copied().unwrap_or(0);
        if judged < wanted {
            problems.push(format!("{mode:?}: {judged} of {wanted}"));
        }
    }
    if let Some([mine, kernel]) = summary.median_delays() {
        // Below a millisecond it is the locks of these programs that are measured.
        if mine > 4 * kernel && mine > Duration::from_millis(1) {
            problems.push(format!(
                "the median delay is {mine:?}, that of an epoll {kernel:?}"
            ));
        }
    }
    problems
}
