//! The list of steps, and how they are run together.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::budget::{self, Budget, Cost};
use crate::tools::NotRun;
use crate::{
    android, api, bench, calls, counts, cpus, examples, faults, faulty_kernel, interop, layers,
    licences, link, lint, model, msrv, oracle, os_names, package, programs, readme, targets,
    testing, valgrind, wine,
};

type Step = (&'static str, fn() -> Result<()>);

/// Cheap ones first: most mistakes show within a minute.
const CI: &[Step] = &[
    ("fmt", lint::fmt),
    ("msrv", msrv::run),
    ("licences", licences::run),
    ("layers", layers::run),
    ("os-names", os_names::run),
    ("faults-check", faults::check_all),
    ("clippy", lint::clippy),
    ("xtask-test", testing::xtask),
    ("test", testing::plain),
    ("doc", lint::doc),
    ("features", lint::features),
    ("api", || api::run(&api::Args::default())),
    ("package", package::run),
    ("examples", examples::run),
    ("readme", || readme::run(runs)),
    ("calls", || calls::run(&calls::Args::default())),
    ("faulty-kernel", || {
        faulty_kernel::run(&faulty_kernel::Args::default())
    }),
    ("counts", || counts::run(&counts::Args::default())),
    ("bench-test", bench::tried),
    ("forced", testing::forced),
    ("model", model::all),
    ("oracle", oracle::all),
    ("loom", testing::loom),
    ("asan", testing::sanitizers),
    ("tsan", testing::threads),
    ("c10k", programs::c10k),
    ("interop", interop::run),
    ("wine", wine::all),
    ("valgrind", valgrind::tests),
    ("android", android::run),
];

/// What most mistakes show in, with Rust and a C compiler alone.
const QUICK: &[Step] = &[
    ("fmt", lint::fmt),
    ("clippy", lint::quick_clippy),
    ("test", testing::plain),
    ("doc", lint::doc),
];

/// What `full` has in a longer form.
const ONLY_CI: &[Step] = &[
    ("targets", targets::bounded),
    ("link", link::bounded),
    ("cpus", cpus::bounded),
    ("faults", faults::bounded),
];

/// What `full` adds.
const ONLY_FULL: &[Step] = &[
    ("targets", || targets::run(&targets::Args::default())),
    ("link", || link::run(&link::Args::default())),
    ("cpus", || cpus::run(&cpus::Args::default())),
    ("faults", faults::all),
    ("oracle-faults", oracle::all_faults),
    ("valgrind-c10k", valgrind::c10k),
    ("wine-10", wine::on_newer),
];

/// Whether a chore of this name is a step of `ci` or `full`, or a list of steps.
pub fn runs(chore: &str) -> bool {
    let steps = [CI, ONLY_CI, ONLY_FULL].concat();
    ["quick", "ci", "full"].contains(&chore) || steps.iter().any(|(name, _)| *name == chore)
}

/// What to run while working on a change.
pub fn quick() -> Result<()> {
    run(QUICK, |_, _| Ok(None))
}

/// All that decides whether a change may go in.
pub fn ci() -> Result<()> {
    build_small();
    let budget = budget()?;
    run(&[CI, ONLY_CI].concat(), |name, cost| {
        budget.judge(name, cost)
    })
}

/// The same, and what takes longer.
pub fn full() -> Result<()> {
    build_small();
    let budget = budget()?;
    run(&[CI, ONLY_FULL].concat(), |name, cost| {
        // The budget is for what `ci` does.
        let longer = ONLY_FULL.iter().any(|(other, _)| *other == name);
        if longer {
            Ok(None)
        } else {
            budget.judge(name, cost)
        }
    })
}

/// Has the steps' builds take less of the disk: nothing here is built twice or looked at with a
/// debugger, and backtraces need lines only.
fn build_small() {
    for (name, value) in [
        ("CARGO_INCREMENTAL", "0"),
        ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
    ] {
        if env::var_os(name).is_none() {
            env::set_var(name, value);
        }
    }
}

fn budget() -> Result<Budget> {
    let steps = CI.iter().chain(ONLY_CI);
    Budget::read(&steps.map(|(name, _)| *name).collect::<Vec<_>>())
}

/// How a step came out.
struct Ended {
    name: &'static str,
    outcome: Outcome,
    cost: Cost,
}

#[derive(Copy, Clone, PartialEq)]
enum Outcome {
    Ok,
    Failed,
    NotRun,
}

impl Outcome {
    fn of(result: &Result<Option<String>>) -> Outcome {
        match result {
            Ok(_) => Outcome::Ok,
            Err(error) if error.is::<NotRun>() => Outcome::NotRun,
            Err(_) => Outcome::Failed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "NOT RUN",
        }
    }
}

/// Runs all of `steps`, whatever becomes of each, and fails if any of them did, or `judge` says that
/// it has cost too much. What could not be run is named at the end.
fn run(steps: &[Step], judge: impl Fn(&str, Cost) -> Result<Option<String>>) -> Result<()> {
    let start = Instant::now();
    let cpu_start = budget::cpu_of_children()?;
    let mut results = Vec::new();
    for (name, step) in steps {
        println!("\n=== {name}");
        let step_start = Instant::now();
        let cpu_before = budget::cpu_of_children()?;
        let outcome = step();
        let cost = Cost {
            wall: step_start.elapsed(),
            cpu: budget::cpu_of_children()? - cpu_before,
        };
        let result = outcome.and_then(|()| judge(name, cost));
        let outcome = Outcome::of(&result);
        match &result {
            Ok(told) => {
                println!("=== {name}: ok, {}", seconds(cost.wall));
                if let Some(told) = told {
                    println!("WARNING: {name}: {told}");
                }
            }
            Err(error) => {
                let (word, wall) = (outcome.word(), seconds(cost.wall));
                println!("=== {name}: {word}, {wall}: {error:#}");
            }
        }
        results.push(Ended {
            name,
            outcome,
            cost,
        });
    }
    let total = Cost {
        wall: start.elapsed(),
        cpu: budget::cpu_of_children()? - cpu_start,
    };
    print!("\n{}", table(&results, total));
    let count = |outcome| {
        results
            .iter()
            .filter(|step| step.outcome == outcome)
            .count()
    };
    let (failed, not_run) = (count(Outcome::Failed), count(Outcome::NotRun));
    if not_run > 0 {
        println!("{not_run} steps were NOT RUN");
    }
    if failed > 0 {
        bail!("{failed} of {} steps failed", results.len());
    }
    Ok(())
}

/// A line for each step: its seconds, then its CPU seconds.
fn table(results: &[Ended], total: Cost) -> String {
    let names = results.iter().map(|step| step.name.len());
    let width = names.max().unwrap_or(0);
    let line = |name: &str, outcome: &str, cost: Cost| {
        let [wall, cpu] = [cost.wall, cost.cpu].map(seconds);
        format!("{name:width$}  {outcome:7}  {wall:>8}  {cpu:>8} CPU\n")
    };
    let mut table = String::new();
    for step in results {
        table += &line(step.name, step.outcome.word(), step.cost);
    }
    table + &line("total", "", total)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn cost(wall: u64, cpu: u64) -> Cost {
        Cost {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
        }
    }

    #[test]
    fn the_table_names_what_failed() {
        let ended = |name, outcome, cost| Ended {
            name,
            outcome,
            cost,
        };
        let results = [
            ended("fmt", Outcome::Ok, cost(1260, 900)),
            ended("clippy", Outcome::Failed, cost(100_000, 150_000)),
            ended("tsan", Outcome::NotRun, cost(100, 100)),
        ];
        assert_eq!(
            table(&results, cost(102_000, 151_000)),
            "fmt     ok          1.3 s     0.9 s CPU\n\
             clippy  FAILED    100.0 s   150.0 s CPU\n\
             tsan    NOT RUN     0.1 s     0.1 s CPU\n\
             total             102.0 s   151.0 s CPU\n"
        );
    }

    #[test]
    fn a_failing_step_fails_the_whole_but_does_not_stop_it() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static RAN: AtomicBool = AtomicBool::new(false);
        let later = || {
            RAN.store(true, Ordering::Relaxed);
            Ok(())
        };
        let cheap = |_: &str, _| Ok(None);
        assert!(run(&[("bad", || bail!("on purpose")), ("good", later)], cheap).is_err());
        assert!(RAN.load(Ordering::Relaxed));
        assert!(run(&[("good", || Ok(()))], cheap).is_ok());
    }

    #[test]
    fn a_step_that_cannot_be_run_is_no_failure() {
        fn not_run() -> Result<()> {
            bail!(NotRun("on purpose".to_owned()))
        }
        assert!(Outcome::of(&not_run().map(|()| None).context("why")) == Outcome::NotRun);
        assert!(run(&[("absent", not_run)], |_, _| Ok(None)).is_ok());
    }

    #[test]
    fn a_step_that_costs_too_much_has_failed() {
        let expensive = |_: &str, _| bail!("on purpose");
        assert!(run(&[("good", || Ok(()))], expensive).is_err());
    }

    #[test]
    fn every_step_has_its_budget() {
        budget().unwrap();
    }
}
