//! Compares the system calls of each operation, as strace prints them, with the table in
//! testing/calls/expected.txt.
//!
//! The program in testing/calls runs one operation after another. It marks the begin and the end of
//! each by writing `>NAME` and `<NAME` to a descriptor that does not exist. Each operation runs
//! several times, and must make the same calls every time.

pub mod strace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{anyhow, bail, Context, Result};
use clap::Args as ClapArgs;

use crate::report::Report;
use crate::root;
use crate::sh::Cmd;

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
        println!(
            "{} operations written to testing/calls/expected.txt",
            seen.len()
        );
        return Ok(());
    }
    Report::of(|report| {
        let table = fs::read_to_string(table_path()).context("testing/calls/expected.txt")?;
        let expected = read_table(&table)?;
        for (operation, outcome) in compare(&expected, &watch()?) {
            report.one(&operation, outcome);
        }
        Ok(())
    })
}

fn table_path() -> PathBuf {
    root().join("testing/calls/expected.txt")
}

/// The operations in the order in which they ran, each with its calls in every run.
fn watch() -> Result<Vec<strace::Section>> {
    // Optimised: std checks descriptors with calls of its own in a debug build.
    Cmd::cargo("build")
        .args(["--release", "-p", "calls"])
        .run()?;
    strace::watch(&root().join("target/release/calls"), &[])
}

/// Each operation of either table, and whether it is in both and makes the same calls.
fn compare(
    expected: &BTreeMap<String, String>,
    seen: &[strace::Section],
) -> Vec<(String, Result<()>)> {
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

const HEADING: &str = "\
# The system calls of each operation on Linux, in order; `-` for none. epoll_pwait without a mask,
# which is what epoll_wait is on the newer architectures, counts as epoll_wait. `cargo xtask calls`
# compares with what strace sees, `cargo xtask calls --bless` writes this file; the operations are
# in testing/calls/src/main.rs.

";

fn write_table(seen: &[strace::Section]) -> Result<String> {
    let mut table = HEADING.to_owned();
    for section in seen {
        table += &format!(
            "{}: {}\n",
            section.name,
            section.calls().with_context(|| section.name.clone())?
        );
    }
    Ok(table)
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

    fn section(name: &str, runs: &[&[&str]]) -> strace::Section {
        let runs = runs
            .iter()
            .map(|run| run.iter().map(|call| call.to_string()).collect())
            .collect();
        strace::Section {
            name: name.to_owned(),
            runs,
        }
    }

    #[test]
    fn the_table_is_read_as_it_was_written() {
        let seen = [
            section("Poll::new", &[&["epoll_create1"], &["epoll_create1"]]),
            section("Waker::wake: pending", &[&[]]),
        ];
        let text = write_table(&seen).unwrap();
        assert!(text.ends_with("\n\nPoll::new: epoll_create1\nWaker::wake: pending: -\n"));
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
