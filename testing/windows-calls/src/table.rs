//! The table, and the differences from it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use clap::Parser;

use crate::imports::Imports;
use crate::operations;

#[derive(Parser)]
#[command(about = "Compares what mio's operations call on Windows with a table")]
struct Cli {
    /// The table
    file: Option<PathBuf>,
    /// Only this operation of the table
    #[arg(long, value_name = "NAME")]
    exact: Option<String>,
    /// Print a table of the recorded calls
    #[arg(long)]
    print: bool,
}

/// An operation, with the calls of each run.
pub struct Operation {
    pub name: String,
    pub runs: Vec<Vec<String>>,
}

pub fn main() -> ExitCode {
    // SAFETY: this is the only thread.
    let imports = unsafe { Imports::watch() };
    match run(&imports, &Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether all calls are those of the table.
fn run(imports: &Imports, cli: &Cli) -> Result<bool> {
    let seen = operations::run(imports);
    if cli.print {
        print!("{HEADING}");
        for operation in &seen {
            println!("{}: {}", operation.name, calls(operation)?);
        }
        return Ok(true);
    }
    let file = cli.file.as_ref().context("no table to compare with")?;
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut expected = read(&text)?;
    let mut outcomes = Vec::new();
    for operation in &seen {
        let wanted = expected.remove(&operation.name);
        outcomes.push((operation.name.clone(), compare(operation, wanted)));
    }
    for (name, _) in expected {
        outcomes.push((name, Err("in the table, but was not run".to_owned())));
    }
    if let Some(exact) = &cli.exact {
        outcomes.retain(|(name, _)| name == exact);
        if outcomes.is_empty() {
            bail!("{exact} is no operation");
        }
    }
    let mut failed = 0;
    for (name, outcome) in &outcomes {
        match outcome {
            Ok(calls) => println!("ok: {name}: {calls}"),
            Err(why) => {
                println!("FAILED: {name}: {why}");
                failed += 1;
            }
        }
    }
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(failed == 0)
}

fn compare(operation: &Operation, wanted: Option<String>) -> Result<String, String> {
    let calls = calls(operation).map_err(|error| error.to_string())?;
    match wanted {
        Some(wanted) if wanted == calls => Ok(calls),
        Some(wanted) => Err(format!("expected `{wanted}`, saw `{calls}`")),
        None => Err(format!("not in the table, saw `{calls}`")),
    }
}

/// The calls as in a line of the table, if they were the same in every run.
fn calls(operation: &Operation) -> Result<String> {
    let mut lines = operation.runs.iter().map(|run| match run.is_empty() {
        true => "-".to_owned(),
        false => run.join(" "),
    });
    let first = lines.next().unwrap_or_default();
    match lines.find(|line| *line != first) {
        Some(other) => bail!("not the same every time: `{first}`, then `{other}`"),
        None => Ok(first),
    }
}

const HEADING: &str = "\
# What each operation calls of Windows' libraries, in order; `-` for nothing. Functions that ask nothing of
# the system (the heap, the clock, errors of a thread) are left out. A call that takes packets off the port
# has their number behind it. NtDeviceIoControlFile submits a poll of a socket, and NtCancelIoFileEx
# cancels one. `cargo xtask wine --calls` compares with what is seen under Wine, `cargo xtask wine --calls
# --bless` writes this file; the operations are in testing/windows-calls/src/operations.rs.

";

fn read(text: &str) -> Result<BTreeMap<String, String>> {
    let mut table = BTreeMap::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (operation, calls) = line
            .rsplit_once(": ")
            .with_context(|| format!("no `operation: calls`: {line:?}"))?;
        let before = table.insert(operation.to_owned(), calls.to_owned());
        if before.is_some() {
            bail!("{operation} is there twice");
        }
    }
    Ok(table)
}
