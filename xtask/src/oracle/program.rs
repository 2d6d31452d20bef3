//! The program `oracle`: how it is built and called, and what it prints.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;

use crate::sh::Cmd;
use crate::shard::Shard;

/// The backends. The folders of the same names in testing/faults contain their faults.
pub const BACKENDS: &[&str] = &["epoll", "poll", "kqueue", "event-ports"];

/// Programs that found something once, and are saved.
pub const PROGRAMS: &str = "testing/oracle/programs";

/// For each failure, a run prints a line that begins with this: the kind of failure, and the seed
/// of the program.
pub const FOUND: &str = "FOUND ";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Backends, instead of all: `epoll`, `poll`, `kqueue`, `event-ports`
    pub backends: Vec<String>,
    /// The seconds that a run takes: 26 if not given, and at most 300 with `--faults`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// The master seed, instead of the fixed one
    #[arg(long, value_name = "S")]
    pub seed: Option<String>,
    /// Print the program of the seed, run it on one backend and print its log. Set a model's
    /// switches in the environment
    #[arg(long, requires = "seed", conflicts_with = "seconds")]
    pub show: bool,
    /// Run the program in this file only, once on each backend
    #[arg(long, value_name = "PATH", conflicts_with_all = ["seconds", "seed", "show"])]
    pub file: Option<PathBuf>,
    /// Check that the oracle finds each fault of testing/faults that is about events
    #[arg(long, conflicts_with_all = ["seed", "show", "file"])]
    pub faults: bool,
    /// Only the faults of this name, NAME or BACKEND/NAME (may be given several times)
    #[arg(long, value_name = "NAME", requires = "faults")]
    pub only: Vec<String>,
    /// Only every N-th fault, starting at the K-th
    #[arg(long, value_name = "K/N", requires = "faults")]
    pub shard: Option<Shard>,
    /// Also try the faults that testing/oracle/not-found.txt lists
    #[arg(long, requires = "faults")]
    pub all: bool,
}

/// The files of a folder that hold programs, by name. There may be none.
pub fn kept_programs(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ron") {
            programs.push(path);
        }
    }
    programs.sort();
    Ok(programs)
}

/// Builds the oracle, and returns its path.
pub fn build(cargo: Cmd) -> Result<PathBuf> {
    let cargo = cargo
        .args(["--quiet", "-p", "oracle", "--bin", "oracle"])
        .arg("--message-format=json-render-diagnostics");
    let messages = cargo.quiet()?.successful_stdout()?;
    executable(&messages).context("cargo built no program `oracle`")
}

/// The path of the program `oracle`, from cargo's messages.
pub fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "oracle")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// The time limit of a run. When the seconds are over, the running program is still completed,
/// which takes long on a busy machine.
pub fn limit(seconds: u64) -> Duration {
    Duration::from_secs(seconds * 3 + 120)
}

/// A backend, and the environment of a run: the switches of its model.
pub fn variant(
    backend: &str,
    env: impl IntoIterator<Item = (impl Display, impl Display)>,
) -> String {
    let mut variant = backend.to_owned();
    for (index, (name, value)) in env.into_iter().enumerate() {
        let separator = if index == 0 { ", " } else { " " };
        variant += &format!("{separator}{name}={value}");
    }
    variant
}

/// The first failure that the oracle found.
pub fn found(stdout: &str) -> Option<&str> {
    let mut found = stdout.lines().filter_map(|line| line.strip_prefix(FOUND));
    found.next().map(str::trim)
}

/// The program of the first finding: its file, or `seed S`. The line after the finding begins with
/// it, unless the oracle had to end the program.
pub fn program_of_find(stdout: &str) -> Option<&str> {
    let mut lines = stdout.lines().skip_while(|line| !line.starts_with(FOUND));
    let after = lines.nth(1)?.strip_prefix("      ")?;
    let (program, _) = after.split_once(", ")?;
    Some(program)
}
