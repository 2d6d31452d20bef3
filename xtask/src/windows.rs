//! The programs of testing/ that are built for Windows, and run under Wine: the table of calls, and the
//! oracle for Windows. Each prints a line for each of its tests, and how many there were.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::cross::Cross;
use crate::report::Report;
use crate::root;
use crate::sh::{Cmd, Ended};

/// What each operation calls.
const TABLE: &str = "testing/windows-calls/expected.txt";

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Calls,
}

impl Program {
    pub const ALL: [Program; 1] = [Program::Calls];

    /// Of its package, too.
    pub fn name(self) -> &'static str {
        match self {
            Program::Calls => "windows-calls",
        }
    }

    pub fn named(name: &str) -> Option<Program> {
        Program::ALL
            .into_iter()
            .find(|program| program.name() == name)
    }

    /// What runs one of its tests, in these sources.
    pub fn one(self, sources: &Path, test: &str) -> Vec<String> {
        match self {
            Program::Calls => vec![table(sources), "--exact".to_owned(), test.to_owned()],
        }
    }

    /// Cargo, to build it.
    pub fn cargo(self, cross: &Cross) -> Cmd {
        cross.building("build").args(["-p", self.name()])
    }

    /// Builds it.
    fn built(self, cross: &Cross) -> Result<PathBuf> {
        self.cargo(cross).run()?;
        Ok(cross.programs().join(format!("{}.exe", self.name())))
    }
}

fn table(sources: &Path) -> String {
    sources.join(TABLE).display().to_string()
}

/// For a run of the table of calls.
const LIMIT: Duration = Duration::from_secs(120);

/// Compares what each operation calls with the table.
pub fn calls(report: &mut Report, cross: &Cross, run: impl Fn(&Path) -> Cmd) -> Result<()> {
    let program = Program::Calls.built(cross)?;
    let ended = run(&program).arg(table(root())).limit(LIMIT).tee()?;
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

/// Counts the tests of which the program told.
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
        Ok(()) if failed > 0 => bail!("it has told of failures, and ended well"),
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
