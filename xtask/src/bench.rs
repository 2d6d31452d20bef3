//! This crate's speed, compared with its peers: runs mio-bench, and writes bench/results.
//!
//! Each build runs several times, because the addresses of a process' code and data change its
//! speed. The medians of all runs count.

mod http;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Result};
use clap::Args as ClapArgs;

use crate::counts::{self, Bench};
use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, target};

/// The folder of the results, relative to the root of the repository.
const RESULTS: &str = "bench/results";

/// The time limit for one run of one build.
const LIMIT: Duration = Duration::from_secs(10 * 60);

#[derive(ClapArgs)]
pub struct Args {
    /// How often each build is run
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Only workloads whose names begin with this (may be given several times); does not change the
    /// results
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Only compare an HTTP server with one on mio 1.2.5, under wrk; does not change the other
    /// results
    #[arg(long, conflicts_with_all = ["only", "compare"])]
    http: bool,
    /// Only measure idle sources: prints the table of docs/EVENTS.md
    #[arg(long, conflicts_with_all = ["only", "compare", "http"])]
    idle: bool,
    /// Only count the wake-ups of threads that wait for one listener: prints a table
    #[arg(long, conflicts_with_all = ["only", "compare", "http", "idle"])]
    wake_ups: bool,
    /// Show how new results differ from the committed ones, and do not change those
    #[arg(long)]
    compare: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let results = root().join(RESULTS);
    if args.http {
        return run_http(&results);
    }
    if args.idle {
        return Cmd::new(Bench::Plain.build()?).arg("idle").run();
    }
    if args.wake_ups {
        return Cmd::new(Bench::Plain.build()?).arg("wake-ups").run();
    }
    let is_kept = args.compare || !args.only.is_empty();
    let out = match is_kept {
        true => target("bench").join("results"),
        false => results.clone(),
    };
    let program = measure(args.passes, &args.only, &out)?;
    if args.compare {
        let compare = Cmd::new(&program).arg("compare");
        compare
            .args([results.join("results.tsv"), out.join("results.tsv")])
            .run()?;
    }
    println!("written to {}", out.display());
    Ok(())
}

fn run_http(results: &Path) -> Result<()> {
    let program = Bench::Plain.build()?;
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("http.tsv");
    http::measure(&run)?;
    let report = Cmd::new(program).arg("report").arg("--out").arg(results);
    let report = report.args(["--keep", ""]).arg(&run);
    report.run()
}

/// What `ci` runs: mio-bench's own tests, and a few rounds of every workload, which show only that
/// it works.
pub fn tried() -> Result<()> {
    Report::of(|report| {
        report.libtest(
            Cmd::cargo("test")
                .args(["--release", "--locked"])
                .dir(counts::workspace(root()))
                .target_dir(target("bench")),
        );
        for bench in Bench::ALL {
            let program = bench.build()?;
            let few = ["time", "--rounds", "3", "--scheduled-rounds", "1"];
            let run = Cmd::new(program).args(few).limit(LIMIT).run();
            report.one("a few rounds of every workload", run);
        }
        Ok(())
    })
}

/// Writes the results into a folder. Returns the program that has measured them.
fn measure(passes: usize, only: &[String], out: &Path) -> Result<PathBuf> {
    // Builds everything before it measures anything.
    let mut programs = Vec::new();
    for bench in Bench::ALL {
        programs.push(bench.build()?);
    }
    let folder = tempfile::tempdir()?;
    let mut load = load()?;
    let mut runs = Vec::new();
    for pass in 0..passes {
        for (build, program) in programs.iter().enumerate() {
            let run = folder.path().join(format!("{pass}-{build}.tsv"));
            let only = only.iter().flat_map(|prefix| ["--only", prefix]);
            let time = Cmd::new(program).arg("time").args(only);
            time.arg("--out").arg(&run).limit(LIMIT).run()?;
            runs.push(run);
        }
    }
    let program = programs.swap_remove(0);
    let mut report = Cmd::new(&program).arg("report").arg("--out").arg(out);
    report = report.args(["--keep", "http/"]);
    load = format!(
        "{load} processes at the beginning, {} at the end",
        self::load()?
    );
    for (name, value) in facts(passes, load)? {
        report = report.args(["--fact", &format!("{name}: {value}")]);
    }
    report.args(runs).run()?;
    Ok(program)
}

/// The versions and the machine of a measurement.
fn facts(passes: usize, load: String) -> Result<Vec<(&'static str, String)>> {
    let said = |program: &str, args: &[&str]| -> Result<String> {
        let output = Cmd::new(program).args(args).quiet()?.successful_stdout()?;
        Ok(output.trim().to_owned())
    };
    let processors = std::thread::available_parallelism()?;
    let mut commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    if !said("git", &["status", "--porcelain", "--", "src", "bench/src"])?.is_empty() {
        commit += ", with changes";
    }
    Ok(vec![
        ("processor", format!("{}, {processors} of it", processor()?)),
        ("kernel", said("uname", &["-srm"])?),
        ("compiler", said("rustc", &["--version"])?),
        ("mio", format!("commit {commit}")),
        ("mio 1.2.5", locked("mio-upstream", "mio", "1.2.5")?),
        ("polling", locked("polling", "polling", "")?),
        ("runs of each build", passes.to_string()),
        ("load of the machine", load),
    ])
}

/// The load average of a minute.
fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split(' ').next();
    Ok(first.unwrap_or("unknown").to_owned())
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(model.map_or("unknown", |(_, name)| name).to_owned())
}

/// The version of the package in bench/Cargo.lock whose version begins with this.
fn locked(what: &str, package: &str, version: &str) -> Result<String> {
    let lock = fs::read_to_string(counts::workspace(root()).join("Cargo.lock"))?;
    let found = versions(&lock, package)
        .into_iter()
        .find(|found| found.starts_with(version));
    match found {
        Some(version) => Ok(version.to_owned()),
        None => bail!("{what} is not in bench/Cargo.lock"),
    }
}

/// All versions of a package in a lock file.
fn versions<'a>(lock: &'a str, package: &str) -> Vec<&'a str> {
    let name = format!("name = \"{package}\"");
    let lines: Vec<&str> = lock.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == name)
        .filter_map(|pair| pair[1].strip_prefix("version = \"")?.strip_suffix('"'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_a_lock_file() {
        let lock = "[[package]]\nname = \"mio\"\nversion = \"1.3.0\"\n\n\
                    [[package]]\nname = \"mio\"\nversion = \"1.2.5\"\n\n\
                    [[package]]\nname = \"mio-bench\"\nversion = \"0.0.0\"\n";
        assert_eq!(versions(lock, "mio"), ["1.3.0", "1.2.5"]);
        assert!(versions(lock, "polling").is_empty());
    }

    #[test]
    fn what_is_compared_with_is_locked() {
        assert_eq!(locked("mio-upstream", "mio", "1.2.5").unwrap(), "1.2.5");
        assert!(locked("polling", "polling", "").is_ok());
    }
}
