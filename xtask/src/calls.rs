//! Compares the system calls of each operation, as strace prints them, and the calls of the models of
//! kqueue and of event ports, with the table in testing/calls/expected.txt.
//!
//! The program in testing/calls runs one operation after another. It marks the begin and the end of
//! each by writing `>NAME` and `<NAME` to a descriptor that does not exist. Each operation runs
//! several times, and must make the same calls every time.
//!
//! Built for a model of another system's kernel, the program runs the operations of a queue alone, and
//! prints the calls of the model.

pub mod section;
pub mod strace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use clap::Args as ClapArgs;

use self::section::{Line, Section};
use crate::model;
use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, target};

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Write the observed calls into the table, to be reviewed
    #[arg(long)]
    bless: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.bless {
        let seen = watch()?;
        fs::write(table_path(), write_table(&seen)?)?;
        println!("{} operations written to {TABLE}", seen.len());
        return Ok(());
    }
    Report::of(|report| {
        let table = fs::read_to_string(table_path()).context(TABLE)?;
        let expected = read_table(&table)?;
        for (operation, outcome) in compare(&expected, &watch()?) {
            report.one(&operation, outcome);
        }
        Ok(())
    })
}

const TABLE: &str = "testing/calls/expected.txt";

fn table_path() -> PathBuf {
    root().join(TABLE)
}

/// The operations in the order in which they ran, each with its calls in every run.
fn watch() -> Result<Vec<Section>> {
    // Optimised: std checks descriptors with calls of its own in a debug build.
    Cmd::cargo("build")
        .args(["--release", "-p", "calls"])
        .run()?;
    let mut seen = strace::watch(&root().join("target/release/calls"), &[])?;
    for (model, _) in MODELS {
        // The step that runs the suite there shares the build of mio.
        model::cargo(model, "build").args(["-p", "calls"]).run()?;
        let program = target("model").join(model).join("debug/calls");
        seen.extend(watch_model(model, &program)?);
    }
    Ok(seen)
}

/// Whether each of `operations`, all of which are Linux's or those of one model, makes the calls in the
/// table of these sources. The program is built for it.
pub fn check(
    sources: &Path,
    program: &Path,
    operations: &BTreeSet<String>,
) -> Result<Vec<(String, Result<()>)>> {
    let expected = read_table(&fs::read_to_string(sources.join(TABLE))?)?;
    let mut models = MODELS.iter().map(|(model, _)| model);
    let of = |model: &&&str| operations.iter().all(|name| is_of_model(name, model));
    let seen = match models.find(of) {
        Some(model) => watch_model(model, program)?,
        None => strace::watch(program, &[])?,
    };
    Ok(compare(&expected, &seen))
}

/// The operations on a model, with its name before theirs.
fn watch_model(model: &str, program: &Path) -> Result<Vec<Section>> {
    let said = Cmd::new(program).quiet()?.successful_stdout()?;
    let lines = said.lines().map(|line| match line.split_at_checked(1) {
        Some((">", name)) => Line::Begin(name),
        Some(("<", name)) => Line::End(name),
        _ => Line::Call(line),
    });
    let mut sections = section::sections(lines)?;
    for section in &mut sections {
        section.name = format!("{model}: {}", section.name);
    }
    Ok(sections)
}

/// Each operation of either table, and whether it is in both and makes the same calls.
fn compare(expected: &BTreeMap<String, String>, seen: &[Section]) -> Vec<(String, Result<()>)> {
    let mut outcomes = Vec::new();
    for section in seen {
        let outcome = section
            .calls()
            .and_then(|calls| match expected.get(&section.name) {
                Some(wanted) if *wanted == calls => Ok(()),
                Some(wanted) => Err(anyhow!("expected `{wanted}`, saw `{calls}`")),
                None => Err(anyhow!("not in the table, saw `{calls}`")),
            });
        outcomes.push((section.name.clone(), outcome));
    }
    let seen: BTreeSet<&String> = seen.iter().map(|section| &section.name).collect();
    for operation in expected
        .keys()
        .filter(|operation| !seen.contains(operation))
    {
        outcomes.push((
            operation.clone(),
            Err(anyhow!("in the table, but did not run")),
        ));
    }
    outcomes
}

/// The models, and what stands above their calls in the table.
const MODELS: &[(&str, &str)] = &[
    (
        "kqueue",
        "
# The calls of kqueue's interface, as its model sees them. `kevent` alone waits; after the colon are its
# changes: `+` adds a filter, `-` deletes one, `!` triggers one.

",
    ),
    (
        "event-ports",
        "
# The calls of event ports' interface, as the model sees them, and poll(2).

",
    ),
];

const HEADING: &str = "\
# The system calls of each operation on Linux, in order; `-` for none. epoll_pwait without a mask,
# which is what epoll_wait is on the newer architectures, counts as epoll_wait. `cargo xtask calls`
# compares with what strace sees, `cargo xtask calls --bless` writes this file; the operations are
# in testing/calls/src/main.rs.

";

fn write_table(seen: &[Section]) -> Result<String> {
    let mut table = HEADING.to_owned();
    let mut headings = MODELS.iter().peekable();
    for section in seen {
        let begins = |&&(model, _): &&(&str, &str)| is_of_model(&section.name, model);
        if let Some((_, heading)) = headings.next_if(begins) {
            table += heading;
        }
        table += &format!(
            "{}: {}\n",
            section.name,
            section.calls().with_context(|| section.name.clone())?
        );
    }
    Ok(table)
}

fn is_of_model(operation: &str, model: &str) -> bool {
    let rest = operation.strip_prefix(model);
    rest.is_some_and(|rest| rest.starts_with(": "))
}

fn read_table(text: &str) -> Result<BTreeMap<String, String>> {
    let mut table = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (operation, calls) = line
            .rsplit_once(": ")
            .with_context(|| format!("no `operation: calls`: {line:?}"))?;
        if table
            .insert(operation.to_owned(), calls.to_owned())
            .is_some()
        {
            bail!("{operation} appears twice");
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, runs: &[&[&str]]) -> Section {
        let runs = runs
            .iter()
            .map(|run| run.iter().map(|call| call.to_string()).collect())
            .collect();
        Section {
            name: name.to_owned(),
            runs,
        }
    }

    #[test]
    fn the_table_is_read_as_it_was_written() {
        let seen = [
            section("Poll::new", &[&["epoll_create1"], &["epoll_create1"]]),
            section("Waker::wake: pending", &[&[]]),
            section("kqueue: Poll::new", &[&["kqueue"]]),
            section("kqueue: register", &[&["kevent:+read-write"]]),
        ];
        let text = write_table(&seen).unwrap();
        assert!(text.contains("\n\nPoll::new: epoll_create1\nWaker::wake: pending: -\n\n# "));
        assert!(
            text.ends_with("\n\nkqueue: Poll::new: kqueue\nkqueue: register: kevent:+read-write\n")
        );
        let table = read_table(&text).unwrap();
        assert!(compare(&table, &seen)
            .iter()
            .all(|(_, outcome)| outcome.is_ok()));
    }

    #[test]
    fn every_difference_is_reported() {
        let table = read_table("a: read\nb: -\nc: write\n").unwrap();
        let seen = [
            section("a", &[&["read", "read"]]),
            section("b", &[&[], &["brk"]]),
            section("d", &[&[]]),
        ];
        let outcomes = compare(&table, &seen);
        let printed: Vec<String> = outcomes
            .into_iter()
            .map(|(name, outcome)| format!("{name}: {}", outcome.unwrap_err()))
            .collect();
        assert_eq!(
            printed,
            [
                "a: expected `read`, saw `read read`",
                "b: not the same every time: `-`, then `brk`",
                "d: not in the table, saw `-`",
                "c: in the table, but did not run",
            ]
        );
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        assert!(read_table("a read\n").is_err());
        assert!(read_table("a: read\na: -\n").is_err());
    }
}
