//! Checks the crate for every system and processor that it supports, without running it: clippy
//! with all features and with none, and the public API. [`TARGETS`] is the table of the checks.

use anyhow::{bail, Result};
use clap::Args as ClapArgs;

use crate::api;
use crate::cross::Cross;
use crate::sh::Cmd;
use crate::table::named;
use crate::windows::Program;
use crate::wine;

struct Target {
    name: &'static str,
    sources: Sources,
    api: Api,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sources {
    Lib,
    /// The tests and the examples as well.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    /// The name of the listing in testing/api.
    Listed,
    NotListed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// In `ci`, and in `full`.
    Ci,
    Full,
}

use Api::{Listed, NotListed};
use Sources::{All, Lib};
use When::{Ci, Full};

/// `ci` has one target of each kind: the three that differ most of kqueue's systems, both with
/// event ports, Android, which is not quite Linux, and Windows with both of its linkers.
const TARGETS: &[Target] = &[
    row("aarch64-apple-darwin", All, Listed, Ci),
    row("x86_64-apple-darwin", All, NotListed, Full),
    row("aarch64-apple-ios", All, Listed, Full),
    row("aarch64-apple-tvos", Lib, NotListed, Full),
    row("aarch64-apple-visionos", Lib, NotListed, Full),
    row("aarch64-apple-watchos", Lib, NotListed, Full),
    row("x86_64-unknown-freebsd", All, Listed, Ci),
    row("x86_64-unknown-netbsd", All, Listed, Ci),
    row("x86_64-unknown-openbsd", All, Listed, Full),
    row("x86_64-unknown-dragonfly", All, Listed, Full),
    row("x86_64-unknown-illumos", All, Listed, Ci),
    row("x86_64-pc-solaris", All, Listed, Ci),
    row("aarch64-linux-android", All, Listed, Ci),
    row("x86_64-linux-android", All, NotListed, Full),
    row("i686-linux-android", All, NotListed, Full),
    row("i686-unknown-linux-gnu", All, NotListed, Full),
    row("armv5te-unknown-linux-gnueabi", Lib, NotListed, Full),
    row("x86_64-unknown-haiku", Lib, NotListed, Full),
    row("x86_64-pc-windows-gnu", All, Listed, Ci),
    row("x86_64-pc-windows-msvc", All, Listed, Ci),
    row("i686-pc-windows-msvc", Lib, NotListed, Full),
];

const fn row(name: &'static str, sources: Sources, api: Api, when: When) -> Target {
    Target {
        name,
        sources,
        api,
        when,
    }
}

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Targets to check, instead of all that `--list` shows
    targets: Vec<String>,
    /// Only show the targets
    #[arg(long)]
    list: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for target in TARGETS {
            println!("{}", target.describe());
        }
        return Ok(());
    }
    look_at(&named(
        TARGETS,
        |target| target.name,
        &args.targets,
        |_| true,
    )?)
}

/// What `ci` checks.
pub fn bounded() -> Result<()> {
    look_at(&named(
        TARGETS,
        |target| target.name,
        &[],
        |target| target.when == Ci,
    )?)
}

fn look_at(targets: &[&Target]) -> Result<()> {
    let mut failed = Vec::new();
    for target in targets {
        println!("--- {}", target.describe());
        if let Err(error) = target.look() {
            println!("{error:#}");
            failed.push(target.name);
        }
    }
    if !failed.is_empty() {
        bail!("not right for {}", failed.join(", "));
    }
    Ok(())
}

impl Target {
    /// Runs all checks, even after one has failed.
    fn look(&self) -> Result<()> {
        let cross = Cross::new(self.name)?;
        let mut sources = match self.sources {
            Lib => vec!["--lib"],
            All => vec!["-p", "mio", "-p", "c10k", "--all-targets"],
        };
        if self.name == wine::TARGET {
            let programs = Program::ALL.into_iter().map(Program::name);
            sources.extend(programs.flat_map(|name| ["-p", name]));
        }
        let clippy = |what: &[&str], features: &str| -> Cmd {
            cross
                .checking("clippy")
                .arg("--keep-going")
                .args(what)
                .args([features, "--", "-D", "warnings"])
        };
        let mut failed = Vec::new();
        for (what, outcome) in [
            ("all features", clippy(&sources, "--all-features").run()),
            (
                "no feature",
                clippy(&["--lib"], "--no-default-features").run(),
            ),
            ("the API", self.compare(&cross)),
        ] {
            if let Err(error) = outcome {
                println!("{error:#}");
                failed.push(what);
            }
        }
        if !failed.is_empty() {
            bail!("{}: failed: {}", self.name, failed.join(", "));
        }
        Ok(())
    }

    fn compare(&self, cross: &Cross) -> Result<()> {
        match self.api {
            Listed => api::compare_own(self.name, &api::checker(cross)?),
            NotListed => Ok(()),
        }
    }

    fn describe(&self) -> String {
        let sources = match self.sources {
            Lib => "library",
            All => "library, tests, examples",
        };
        let api = match self.api {
            Listed => ", API",
            NotListed => "",
        };
        let when = match self.when {
            Ci => "",
            Full => " (full only)",
        };
        format!("{}: {sources}{api}{when}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root;

    #[test]
    fn each_listing_of_a_target_is_compared() {
        for target in TARGETS {
            let listing = root().join(format!("testing/api/{}.txt", target.name));
            assert_eq!(listing.is_file(), target.api == Listed, "{}", target.name);
            let own = api::own_listing(target.name);
            assert_eq!(own.is_file(), target.api == Listed, "{}", target.name);
        }
        for entry in fs::read_dir(root().join("testing/api")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(name) = name.strip_suffix(".txt") else {
                continue;
            };
            let known = name.ends_with(".auto")
                || api::LISTINGS.contains(&name)
                || TARGETS.iter().any(|target| target.name == name);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn no_target_is_there_twice() {
        let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TARGETS.len());
    }

    #[test]
    fn only_known_targets_are_taken() {
        let args = Args {
            targets: vec!["x86_64-unknown-nowhere".to_owned()],
            list: false,
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }

    #[test]
    fn a_target_lists_its_checks() {
        let target = row("t", All, Listed, Full);
        assert_eq!(
            target.describe(),
            "t: library, tests, examples, API (full only)"
        );
    }
}
