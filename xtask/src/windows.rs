//! The programs of testing/ that are built for Windows and run under Wine: the table of calls, and the
//! oracle for Windows. Each prints a line for each of its tests, and their number.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::cross::Cross;
use crate::report::Report;
use crate::root;
use crate::sh::{Cmd, Ended};

/// The table of the calls of each operation.
const TABLE: &str = "testing/windows-calls/expected.txt";
/// The folder of the oracle's saved programs.
const PROGRAMS: &str = "testing/windows-oracle/programs";

/// The seconds for random programs: in `ci`, and to find a fault.
const SECONDS: u64 = 15;
const SECONDS_FOR_A_FAULT: u64 = 25;

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Calls,
    Oracle,
}

impl Program {
    pub const ALL: [Program; 2] = [Program::Calls, Program::Oracle];

    /// The name of the program and of its package.
    pub fn name(self) -> &'static str {
        match self {
            Program::Calls => "windows-calls",
            Program::Oracle => "windows-oracle",
        }
    }

    pub fn named(name: &str) -> Option<Program> {
        Program::ALL
            .into_iter()
            .find(|program| program.name() == name)
    }

    /// The command that runs one of its tests, in these sources.
    pub fn one(self, sources: &Path, test: &str) -> Vec<String> {
        match self {
            Program::Calls => vec![path(sources, TABLE), "--exact".to_owned(), test.to_owned()],
            Program::Oracle => {
                let seconds = SECONDS_FOR_A_FAULT.to_string();
                let programs = path(sources, PROGRAMS);
                let args = ["--programs", &programs, "--exact", test];
                let search = ["--stop-at-first", "--seconds", &seconds];
                args.into_iter().chain(search).map(str::to_owned).collect()
            }
        }
    }

    /// The command that builds it.
    pub fn cargo(self, cross: &Cross) -> Cmd {
        cross.building("build").args(["-p", self.name()])
    }

    /// Builds it.
    fn built(self, cross: &Cross) -> Result<PathBuf> {
        self.cargo(cross).run()?;
        Ok(cross.programs().join(format!("{}.exe", self.name())))
    }
}

fn path(sources: &Path, file: &str) -> String {
    sources.join(file).display().to_string()
}

/// The time limit for a run of the table of calls.
const LIMIT: Duration = Duration::from_secs(120);

/// Compares the calls of each operation with the table.
pub fn calls(report: &mut Report, cross: &Cross, run: impl Fn(&Path) -> Cmd) -> Result<()> {
    let program = Program::Calls.built(cross)?;
    let ended = run(&program).arg(path(root(), TABLE)).limit(LIMIT).tee()?;
    count(report, &ended)
}

/// Writes the table.
pub fn bless(report: &mut Report, cross: &Cross, run: impl Fn(&Path) -> Cmd) -> Result<()> {
    let program = Program::Calls.built(cross)?;
    let ended = run(&program).arg("--print").limit(LIMIT).quiet()?;
    fs::write(root().join(TABLE), ended.successful_stdout()?)?;
    println!("{TABLE} is written");
    report.one(TABLE, Ok(()));
    Ok(())
}

/// How the oracle generates its programs.
#[derive(ClapArgs, Default)]
pub struct Search {
    /// The seconds that the oracle takes for random programs
    #[arg(long, value_name = "N", requires = "oracle")]
    seconds: Option<u64>,
    /// The seed of the oracle's programs
    #[arg(long, requires = "oracle")]
    seed: Option<String>,
}

/// Runs the oracle: the saved programs, and random ones.
pub fn oracle(
    report: &mut Report,
    cross: &Cross,
    search: &Search,
    run: impl Fn(&Path) -> Cmd,
) -> Result<()> {
    let program = Program::Oracle.built(cross)?;
    let seconds = search.seconds.unwrap_or(SECONDS);
    let run = run(&program)
        .args(["--programs", &path(root(), PROGRAMS), "--thresholds"])
        .args(["--seconds", &seconds.to_string()]);
    let run = match &search.seed {
        Some(seed) => run.args(["--seed", seed]),
        None => run,
    };
    // The oracle shrinks a failure before it prints it.
    let ended = run.limit(LIMIT * 2 + Duration::from_secs(seconds)).tee()?;
    count(report, &ended)
}

/// Counts the tests that the program printed.
fn count(report: &mut Report, ended: &Ended) -> Result<()> {
    let mut failed = 0;
    for line in ended.stdout.lines() {
        if let Some(test) = line.strip_prefix("FAILED: ") {
            report.problem(test.to_owned());
            failed += 1;
        } else if line.starts_with("ok: ") {
            report.one(line, Ok(()));
        }
    }
    match ended.success() {
        Err(error) if failed == 0 => Err(error).context("it did not come to its end"),
        Ok(()) if failed > 0 => bail!("it printed failures, and its exit status is success"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_name() {
        for program in Program::ALL {
            assert_eq!(Program::named(program.name()), Some(program));
        }
        assert_eq!(Program::named("windows"), None);
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        let outcome = |script: &str| {
            let ended = Cmd::new("sh").args(["-c", script]).quiet().unwrap();
            Report::of(|report| count(report, &ended))
        };
        outcome("echo 'ok: a: -'").unwrap();
        let why = |script: &str| outcome(script).unwrap_err().to_string();
        assert_eq!(why("echo 'ok: a: -'; echo 'FAILED: b: c'; exit 1"), "b: c");
        assert!(why("echo 'ok: a: -'; exit 3").contains("to its end"));
        assert_eq!(why("echo 'FAILED: a: b'"), "a: b");
    }
}
