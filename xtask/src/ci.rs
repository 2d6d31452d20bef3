//! The list of steps, and how they are run together.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::{
    api, calls, cpus, faults, interop, lint, msrv, os_names, package, programs, testing, valgrind,
};

type Step = (&'static str, fn() -> Result<()>);

/// Cheap ones first: most mistakes show within a minute.
pub const CI: &[Step] = &[
    ("fmt", lint::fmt),
    ("msrv", msrv::run),
    ("os-names", os_names::run),
    ("clippy", lint::clippy),
    ("xtask-test", testing::xtask),
    ("test", testing::plain),
    ("doc", lint::doc),
    ("features", lint::features),
    ("api", || api::run(&api::Args::default())),
    ("package", package::run),
    ("examples", programs::quickstart),
    ("calls", || calls::run(&calls::Args::default())),
    ("forced", testing::forced),
    ("loom", testing::loom),
    ("asan", testing::sanitizers),
    ("c10k", programs::c10k),
    ("interop", interop::run),
    ("valgrind", valgrind::tests),
];

/// What `full` has in a longer form.
pub const ONLY_CI: &[Step] = &[("cpus", cpus::bounded), ("faults", faults::bounded)];

/// What `full` adds.
pub const ONLY_FULL: &[Step] = &[
    ("cpus", || cpus::run(&cpus::Args::default())),
    ("faults", faults::all),
    ("valgrind-c10k", valgrind::c10k),
];

/// Runs all of `steps`, whatever becomes of each, and fails if any of them did.
pub fn run(steps: &[Step]) -> Result<()> {
    let start = Instant::now();
    let mut results = Vec::new();
    for (name, step) in steps {
        println!("\n=== {name}");
        let step_start = Instant::now();
        let outcome = step();
        let took = step_start.elapsed();
        match &outcome {
            Ok(()) => println!("=== {name}: ok, {}", seconds(took)),
            Err(error) => println!("=== {name}: FAILED, {}: {error:#}", seconds(took)),
        }
        results.push((*name, outcome.is_ok(), took));
    }
    print!("\n{}", table(&results, start.elapsed()));
    let failed = results.iter().filter(|(_, ok, _)| !ok).count();
    if failed > 0 {
        bail!("{failed} of {} steps failed", results.len());
    }
    Ok(())
}

fn table(results: &[(&str, bool, Duration)], total: Duration) -> String {
    let width = results
        .iter()
        .map(|(name, ..)| name.len())
        .max()
        .unwrap_or(0);
    let mut table = String::new();
    for (name, ok, took) in results {
        let outcome = if *ok { "ok" } else { "FAILED" };
        table += &format!("{name:width$}  {outcome:6}  {:>8}\n", seconds(*took));
    }
    table + &format!("{:width$}  {:6}  {:>8}\n", "total", "", seconds(total))
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_failed() {
        let table = table(
            &[
                ("fmt", true, Duration::from_millis(1260)),
                ("clippy", false, Duration::from_secs(100)),
            ],
            Duration::from_secs(102),
        );
        assert_eq!(
            table,
            "fmt     ok         1.3 s\nclippy  FAILED   100.0 s\ntotal            102.0 s\n"
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
        assert!(run(&[("bad", || bail!("on purpose")), ("good", later)]).is_err());
        assert!(RAN.load(Ordering::Relaxed));
        assert!(run(&[("good", || Ok(()))]).is_ok());
    }
}
