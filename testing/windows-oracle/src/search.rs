//! Generates programs, runs them, confirms failures, and shrinks the programs that fail.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Parser;

use crate::judge::Failure;
use crate::program::{Kind, Mode, Program, Random};
use crate::world::{self, Judged};

#[derive(Parser)]
#[command(about = "Random programs on mio for Windows, judged by a specification of its events")]
struct Cli {
    /// The seconds for random programs
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[arg(long, value_parser = number, default_value = "0x5eed")]
    seed: u64,
    /// End with the first program that fails, and do not shrink it. A program of the folder need not fail again
    #[arg(long)]
    stop_at_first: bool,
    /// Fail if too few events were judged
    #[arg(long)]
    thresholds: bool,
    /// A folder with saved programs, which run first
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Run only this: `random programs`, or a program of the folder
    #[arg(long, value_name = "NAME")]
    exact: Option<String>,
    /// Print the program of this seed, and run it
    #[arg(long, value_parser = number)]
    show: Option<u64>,
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

const RANDOM: &str = "random programs";

/// The minimum number of judged events of each kind, and of each mode, for each random program.
const LEAST_JUDGED: f64 = 0.02;
/// The minimum number of random programs in a second, on a loaded machine.
const LEAST_PROGRAMS: f64 = 0.2;

/// The time within which a due event comes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same for a program that is known to fail.
const IMPATIENCE: Duration = Duration::from_millis(800);

/// The time limit for shrinking a program.
const SHRINKING: Duration = Duration::from_secs(60);

pub fn main() -> ExitCode {
    // A panic is reported as a failure of the program.
    panic::set_hook(Box::new(|_| {}));
    match dispatch(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether no failure was found.
fn dispatch(cli: &Cli) -> Result<bool> {
    if let Some(seed) = cli.show {
        let program = Program::of(seed);
        println!("{}", program.to_text());
        return tell(
            "the program",
            run(&program, PATIENCE).0.map(|()| String::new()),
        );
    }
    let mut is_good = true;
    let mut ran = 0;
    let is_asked = |name: &str| cli.exact.as_ref().is_none_or(|exact| exact == name);
    for (name, program) in kept(cli.programs.as_deref())? {
        if is_asked(&name) {
            let outcome = run(&program, PATIENCE).0;
            let outcome = outcome.or_else(|failure| match cli.stop_at_first {
                true => Err(failure),
                false => confirm(&program, failure),
            });
            is_good &= tell(&name, outcome.map(|()| String::new()))?;
            ran += 1;
        }
    }
    if is_asked(RANDOM) {
        is_good &= tell(RANDOM, random(cli))?;
        ran += 1;
    }
    if ran == 0 {
        bail!("there is no {:?}", cli.exact);
    }
    Ok(is_good)
}

fn tell(name: &str, outcome: Result<String, Failure>) -> Result<bool> {
    match outcome {
        Ok(what) => println!("ok: {name}: {what}"),
        Err(failure) => {
            println!("FAILED: {name}: {failure}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn kept(folder: Option<&Path>) -> Result<BTreeMap<String, Program>> {
    let mut all = BTreeMap::new();
    let Some(folder) = folder else {
        return Ok(all);
    };
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ron") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(&path)?;
            let program = Program::from_text(&text).with_context(|| name.clone().into_owned())?;
            all.insert(name.into_owned(), program);
        }
    }
    Ok(all)
}

/// Runs a program. A panic is a failure of it.
fn run(program: &Program, patience: Duration) -> (Result<(), Failure>, Judged) {
    match panic::catch_unwind(AssertUnwindSafe(|| world::run(program, patience))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            let failure = Failure::new("panic", text.unwrap_or_default());
            (Err(failure), Judged::default())
        }
    }
}

/// A failure counts if two of three further runs fail in the same way.
fn confirm(program: &Program, failure: Failure) -> Result<(), Failure> {
    let fails = |_: &i32| fails(program, failure.class, PATIENCE);
    let again = (0..3).filter(fails).count();
    match again {
        0 | 1 => Ok(()),
        _ => Err(failure),
    }
}

fn fails(program: &Program, class: &str, patience: Duration) -> bool {
    matches!(run(program, patience).0, Err(failure) if failure.class == class)
}

/// Runs the programs of one seed for the given seconds.
fn random(cli: &Cli) -> Result<String, Failure> {
    let mut seeds = Random::new(cli.seed);
    let start = Instant::now();
    let time = Duration::from_secs(cli.seconds);
    let mut judged = Judged::default();
    let (mut programs, mut unconfirmed) = (0_u32, 0);
    while start.elapsed() < time {
        let seed = seeds.next();
        let program = Program::of(seed);
        let (outcome, its) = run(&program, PATIENCE);
        programs += 1;
        judged.add(its);
        let Err(failure) = outcome else { continue };
        match confirm(&program, failure.clone()) {
            Ok(()) => {
                println!("not confirmed: seed {seed:#x}: {failure}");
                unconfirmed += 1;
            }
            Err(mut failure) => {
                failure.text = format!("seed {seed:#x}, program {programs}: {}", failure.text);
                if !cli.stop_at_first {
                    let smaller = shrink(program, failure.class);
                    println!("{}", smaller.to_text());
                }
                return Err(failure);
            }
        }
    }
    let took = start.elapsed().as_secs_f64();
    if cli.thresholds {
        if f64::from(programs) < LEAST_PROGRAMS * took {
            let text = format!("{programs} programs in {took:.0} s");
            return Err(Failure::new("too little was judged", text));
        }
        let by_kind = Kind::ALL.map(|kind| (format!("{kind:?}"), judged.by_kind.get(&kind)));
        let by_mode = Mode::ALL.map(|mode| (format!("{mode:?}"), judged.by_mode.get(&mode)));
        for (name, count) in by_kind.into_iter().chain(by_mode) {
            let count = count.copied().unwrap_or_default();
            if count < (LEAST_JUDGED * f64::from(programs)) as usize {
                let text = format!("{count} events of {name} in {programs} programs");
                return Err(Failure::new("too little was judged", text));
            }
        }
    }
    Ok(format!(
        "{programs} programs, {unconfirmed} unconfirmed failures; events judged: {judged:?}"
    ))
}

/// Removes the parts of a program that the failure does not need.
fn shrink(mut program: Program, class: &str) -> Program {
    let deadline = Instant::now() + SHRINKING;
    let still_fails = |program: &Program| {
        let fails = || fails(program, class, IMPATIENCE);
        Instant::now() < deadline && fails() && fails()
    };
    loop {
        let mut smaller = None;
        for source in (0..program.sources.len()).rev() {
            let candidate = program.without_source(source);
            if !candidate.sources.is_empty() && still_fails(&candidate) {
                smaller = Some(candidate);
                break;
            }
        }
        for step in (0..program.steps.len()).rev() {
            if smaller.is_some() {
                break;
            }
            smaller = program.without_step(step).into_iter().find(&still_fails);
        }
        match smaller {
            Some(smaller) => program = smaller,
            None => return program,
        }
    }
}
