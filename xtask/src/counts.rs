//! Compares the cost of each operation of mio-bench with the table in bench/counts.txt.
//!
//! Time depends on the machine, and on its other load. These counts do not: the instructions of an
//! operation, as callgrind counts them, its allocations, and its system calls, as strace prints
//! them. The instructions depend on the compiler and the C library as well. So each operation also
//! runs with crates other than this one, built by the same compiler, and the ratio is compared.

mod callgrind;
mod compare;
mod figures;
mod folded;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::calls::section::Section;
use crate::calls::strace;
use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, target, tools};
use compare::{compare, differences};
use figures::{Cost, Figures, Row};

/// The table, relative to the root of the sources.
const TABLE: &str = "bench/counts.txt";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Write the counts into the table, to be reviewed
    #[arg(long, conflicts_with = "only")]
    bless: bool,
    /// Only this operation (may be given several times)
    #[arg(long, value_name = "OPERATION")]
    only: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    if args.bless {
        let now = count_all(&[])?;
        fs::write(root().join(TABLE), now.to_text()?)?;
        println!("{} operations written to {TABLE}", now.operations().len());
        return Ok(());
    }
    Report::of(|report| {
        let committed = read_table(root(), &args.only)?;
        let now = count_all(&args.only)?;
        for operation in &args.only {
            if !committed.has(operation) && !now.has(operation) {
                bail!("there is no operation {operation:?}");
            }
        }
        print!("{}", differences(&committed, &now));
        for judged in compare(&committed, &now) {
            for note in judged.notes {
                println!("note: {}: {note}", judged.operation);
            }
            report.one(&judged.operation, judged.outcome);
        }
        Ok(())
    })
}

/// Whether each of `operations` costs no more than in the table of these sources. Operations that
/// are neither in the table nor in the program have no result.
pub fn check(
    sources: &Path,
    program: &Path,
    operations: &[String],
) -> Result<Vec<(String, Result<()>)>> {
    let committed = read_table(sources, operations)?;
    let judged = compare(&committed, &count(program, operations)?);
    let outcomes = judged
        .into_iter()
        .map(|judged| (judged.operation, judged.outcome));
    Ok(outcomes.collect())
}

/// A build of mio-bench. Each build has operations of its own.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bench {
    Plain,
    /// With poll(2) as the backend, in the other crates as well.
    ForcedPoll,
}

impl Bench {
    pub const ALL: [Bench; 2] = [Bench::Plain, Bench::ForcedPoll];

    /// The build that has an operation.
    pub fn of(operation: &str) -> Bench {
        if operation.starts_with("poll(2): ") {
            Bench::ForcedPoll
        } else {
            Bench::Plain
        }
    }

    /// The compiler's flags.
    pub fn cfg(self) -> &'static str {
        match self {
            Bench::Plain => "",
            Bench::ForcedPoll => {
                "--cfg mio_unsupported_force_poll_poll --cfg polling_test_poll_backend"
            }
        }
    }

    fn target_dir(self) -> PathBuf {
        target(match self {
            Bench::Plain => "bench",
            Bench::ForcedPoll => "bench-poll",
        })
    }

    /// Builds the program.
    pub fn build(self) -> Result<PathBuf> {
        let cargo = cargo()?
            .dir(workspace(root()))
            .target_dir(self.target_dir());
        let cargo = match self.cfg() {
            "" => cargo,
            cfg => cargo.env("RUSTFLAGS", cfg),
        };
        cargo.run()?;
        Ok(self.target_dir().join("release/mio-bench"))
    }
}

/// The folder of mio-bench, which is a workspace of its own.
pub fn workspace(sources: &Path) -> PathBuf {
    sources.join("bench")
}

/// The command that builds mio-bench.
pub fn cargo() -> Result<Cmd> {
    need_libraries()?;
    Ok(Cmd::cargo("build").args(["--release", "--locked"]))
}

/// Installs the libraries that mio-bench is linked with, if they are missing.
pub fn need_libraries() -> Result<()> {
    tools::need_library("libuv", &["libuv1-dev"])?;
    for library in ["libevent_core", "libevent_pthreads"] {
        tools::need_library(library, &["libevent-dev"])?;
    }
    Ok(())
}

/// The rows of the table of these sources, for `only` or for all operations.
fn read_table(sources: &Path, only: &[String]) -> Result<Figures> {
    let text = fs::read_to_string(sources.join(TABLE)).context(TABLE)?;
    let mut figures = Figures::from_text(&text).context(TABLE)?;
    if !only.is_empty() {
        figures.retain(only);
    }
    Ok(figures)
}

/// The costs of `only`, or of all operations, in both builds.
fn count_all(only: &[String]) -> Result<Figures> {
    let mut all = Figures::default();
    for bench in Bench::ALL {
        let mut its = only.to_vec();
        its.retain(|operation| Bench::of(operation) == bench);
        if its.is_empty() && !only.is_empty() {
            continue;
        }
        let figures = count(&bench.build()?, &its)?;
        let mut operations = figures.operations().into_iter();
        if let Some(foreign) = operations.find(|operation| Bench::of(operation) != bench) {
            bail!("{foreign}: the name is that of an operation of the other build");
        }
        all.append(figures);
    }
    Ok(all)
}

/// The costs of `only`, or of all operations, in one build.
fn count(program: &Path, only: &[String]) -> Result<Figures> {
    let mut args = vec!["counts"];
    args.extend(only.iter().flat_map(|operation| ["--only", operation]));
    let counted = callgrind::count(program, &args)?;
    args.push("--marks");
    join(counted, &strace::watch(program, &args)?)
}

/// Combines the counts of callgrind and of strace.
fn join(counted: Vec<callgrind::Counted>, seen: &[Section]) -> Result<Figures> {
    let mut figures = Figures::default();
    for counted in counted {
        let name = format!("{} | {}", counted.operation, counted.subject);
        let section = seen.iter().find(|section| section.name == name);
        let section = section.with_context(|| format!("strace has not seen {name}"))?;
        let row = Row {
            operation: counted.operation,
            subject: counted.subject,
            cost: Cost {
                instructions: counted.instructions,
                allocations: counted.allocations,
                calls: match section.calls() {
                    Ok(calls) => Ok(folded::fold(&calls)),
                    Err(differ) => Err(differ.to_string()),
                },
            },
        };
        figures.push(row)?;
    }
    let counted = |name: &str| figures.rows().any(|row| row.name() == name);
    if let Some(section) = seen.iter().find(|section| !counted(&section.name)) {
        bail!("strace has seen {}, which was not counted", section.name);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(operation: &str, subject: &str) -> callgrind::Counted {
        callgrind::Counted {
            operation: operation.to_owned(),
            subject: subject.to_owned(),
            instructions: 10.5,
            allocations: 1.0,
        }
    }

    fn section(name: &str, runs: &[&[&str]]) -> Section {
        let run = |calls: &&[&str]| calls.iter().map(|call| call.to_string()).collect();
        Section {
            name: name.to_owned(),
            runs: runs.iter().map(run).collect(),
        }
    }

    #[test]
    fn what_was_counted_and_what_was_seen_are_joined() {
        let seen = [
            section("a | raw epoll", &[&["read"], &["read"]]),
            section("a | mio", &[&[], &["read"]]),
        ];
        let both = vec![counted("a", "mio"), counted("a", "raw epoll")];
        let figures = join(both, &seen).unwrap();
        let calls: Vec<_> = figures.rows().map(|row| row.cost.calls.clone()).collect();
        let differ = "not the same every time: `-`, then `read`".to_owned();
        assert_eq!(calls, [Err(differ), Ok("read".to_owned())]);
    }

    #[test]
    fn what_only_one_of_the_two_has_is_an_error() {
        let a = [section("a | mio", &[&[]])];
        let error = |counted, seen| join(counted, seen).unwrap_err().to_string();
        assert_eq!(
            error(vec![counted("a", "mio"), counted("b", "mio")], &a),
            "strace has not seen b | mio"
        );
        assert_eq!(
            error(vec![], &a),
            "strace has seen a | mio, which was not counted"
        );
    }

    #[test]
    fn an_operation_says_which_build_it_is_of() {
        assert_eq!(Bench::of("turn/1/none"), Bench::Plain);
        assert_eq!(Bench::of("poll(2): turn/1/none"), Bench::ForcedPoll);
    }
}
