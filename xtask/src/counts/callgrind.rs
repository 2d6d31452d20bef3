//! Runs mio-bench under callgrind, and reads the output of both.
//!
//! The program runs each operation with each subject twice, and the second time with twice as many
//! repetitions, so that the difference is the cost of the repetitions alone. Callgrind counts
//! inside `measured_section`. Whenever `counted_boundary` is called, which is before the first run
//! and after each, it writes down its count and begins again.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

use super::figures::tenths;
use crate::sh::Cmd;
use crate::valgrind;

/// The cost of one operation with one subject, without its system calls.
#[derive(Debug, PartialEq)]
pub struct Counted {
    pub operation: String,
    pub subject: String,
    pub instructions: f64,
    pub allocations: f64,
}

pub fn count(program: &Path, args: &[&str]) -> Result<Vec<Counted>> {
    valgrind::need()?;
    let dir = tempfile::tempdir()?;
    let dumps = dir.path().join("dumps");
    let cmd = Cmd::new("valgrind")
        .args(["-q", "--tool=callgrind", "--combine-dumps=yes"])
        // One mangling puts the module before the name; the other also adds types after it.
        .arg("--toggle-collect=*measured_section*")
        .arg("--dump-before=*counted_boundary*")
        .arg(format!("--callgrind-out-file={}", dumps.display()))
        .arg(program)
        .args(args);
    println!("$ {cmd}");
    let stdout = cmd.quiet()?.successful_stdout()?;
    let dumps = fs::read_to_string(&dumps).context("callgrind has written nothing")?;
    costs(&runs(&stdout)?, &totals(&dumps)?)
}

/// The program's output for one run.
#[derive(Debug, PartialEq)]
struct Run {
    operation: String,
    subject: String,
    /// The number of operations in the run.
    operations: u64,
    /// The allocations of all of them.
    allocations: u64,
}

impl Run {
    fn is_first_of(&self, second: &Run) -> bool {
        self.operation == second.operation
            && self.subject == second.subject
            && self.operations > 0
            && self.operations * 2 == second.operations
    }
}

/// The lines `run OPERATION SUBJECT OPERATIONS ALLOCATIONS`, with tabs between them.
fn runs(stdout: &str) -> Result<Vec<Run>> {
    let lines = stdout.lines().filter_map(|line| line.strip_prefix("run\t"));
    let run = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [operation, subject, operations, allocations] = cells[..] else {
            bail!("{} columns", cells.len());
        };
        Ok(Run {
            operation: operation.to_owned(),
            subject: subject.to_owned(),
            operations: operations.parse()?,
            allocations: allocations.parse()?,
        })
    };
    lines
        .map(|line| run(line).with_context(|| format!("no run: {line:?}")))
        .collect()
}

/// The instructions of each dump that was caused by a call of `counted_boundary`.
fn totals(dumps: &str) -> Result<Vec<u64>> {
    let mut totals = Vec::new();
    let mut at_boundary = false;
    for line in dumps.lines() {
        if let Some(cause) = line.strip_prefix("desc: Trigger: ") {
            at_boundary = cause.starts_with("--dump-before=");
        } else if let Some(total) = line.strip_prefix("totals: ") {
            if at_boundary {
                totals.push(total.trim().parse().with_context(|| line.to_owned())?);
            }
        }
    }
    Ok(totals)
}

/// The costs of the operations alone.
fn costs(runs: &[Run], totals: &[u64]) -> Result<Vec<Counted>> {
    let Some((_before_all, totals)) = totals.split_first() else {
        bail!("callgrind has seen no call of counted_boundary");
    };
    ensure!(
        runs.len() == totals.len(),
        "{} runs, but callgrind has seen {}",
        runs.len(),
        totals.len()
    );
    let pairs = runs.chunks(2).zip(totals.chunks(2));
    pairs
        .map(|(runs, totals)| {
            let ([first, second], &[before, after]) = (runs, totals) else {
                bail!("{}: it was run only once", runs[0].operation);
            };
            ensure!(
                first.is_first_of(second),
                "{second:?} is not twice what {first:?} is"
            );
            // A count of zero is a mistake of the measurement.
            ensure!(before > 0, "callgrind has counted nothing in {first:?}");
            let per_operation = |before: u64, after: u64| {
                let difference = after as f64 - before as f64;
                tenths(difference / first.operations as f64)
            };
            Ok(Counted {
                operation: first.operation.clone(),
                subject: first.subject.clone(),
                instructions: per_operation(before, after),
                allocations: per_operation(first.allocations, second.allocations),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDOUT: &str = "\
counting
run\tturn/1/none\tmio\t10\t3
run\tturn/1/none\tmio\t20\t3
run\tregister/add\traw epoll\t10\t10
run\tregister/add\traw epoll\t20\t21
";

    const DUMPS: &str = "\
# callgrind format
part: 1
desc: Trigger: --dump-before=mio_bench::clock::counted_boundary
events: Ir
summary: 7
fn=(814) main
totals: 7
part: 2
desc: Trigger: --dump-before=mio_bench::clock::counted_boundary
totals: 1000
part: 3
desc: Trigger: --dump-before=mio_bench::clock::counted_boundary
totals: 1954
part: 4
desc: Trigger: --dump-before=mio_bench::clock::counted_boundary
totals: 50
part: 5
desc: Trigger: --dump-before=mio_bench::clock::counted_boundary
totals: 100
part: 6
desc: Trigger: Program termination
totals: 9
";

    fn read(stdout: &str, dumps: &str) -> Result<Vec<Counted>> {
        costs(&runs(stdout)?, &totals(dumps)?)
    }

    #[test]
    fn costs_are_the_difference_of_two_runs() {
        let counted = |operation: &str, subject: &str, instructions, allocations| Counted {
            operation: operation.to_owned(),
            subject: subject.to_owned(),
            instructions,
            allocations,
        };
        assert_eq!(
            read(STDOUT, DUMPS).unwrap(),
            [
                counted("turn/1/none", "mio", 95.4, 0.0),
                counted("register/add", "raw epoll", 5.0, 1.1),
            ]
        );
    }

    #[test]
    fn what_does_not_match_is_an_error() {
        let without_one = STDOUT.rsplit_once("run").unwrap().0;
        let last = DUMPS.rsplit_once("part: 5").unwrap().0;
        for (stdout, dumps, why) in [
            (STDOUT.replace("\t3\n", "\n"), DUMPS, "no run"),
            (STDOUT.replace("\t20\t3", "\t30\t3"), DUMPS, "not twice"),
            (STDOUT.replacen("mio", "other", 1), DUMPS, "not twice"),
            (without_one.to_owned(), DUMPS, "3 runs, but"),
            (without_one.to_owned(), last, "run only once"),
            (STDOUT.to_owned(), "", "no call of counted_boundary"),
            (STDOUT.to_owned(), &DUMPS.replace("1000", "0"), "nothing"),
        ] {
            let error = format!("{:#}", read(&stdout, dumps).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
