//! The tests under Miri, an interpreter that notices undefined behaviour: accesses to invalid memory,
//! violated aliasing rules, data races. Miri implements a part of the system calls;
//! testing/miri/left-out.txt lists the tests that need more, or take too long.

use std::fs;
use std::time::Duration;

use anyhow::{bail, Result};
use clap::Args as ClapArgs;

use crate::harness::{all_but, tests_of};
use crate::left_out::List;
use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, target, tools};

const LEFT_OUT: &str = "testing/miri/left-out.txt";

/// The time limit for the tests of a file. Some tests take a minute.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The time limit for one test that is left out, and may hang.
const LIMIT_OF_ONE: Duration = Duration::from_secs(120);

/// The factor by which the tests multiply their time bounds under Miri.
const SLOWER: &str = "20";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Only the tests of these files: `waker` for tests/waker.rs, `mio` for the library's own
    files: Vec<String>,
    /// Only the tests that are left out, each by itself: those that pass need not be left out
    #[arg(long)]
    left_out: bool,
}

pub fn all() -> Result<()> {
    run(&Args::default())
}

pub fn run(args: &Args) -> Result<()> {
    let miri = Miri {
        toolchain: tools::need_toolchain("nightly", &["miri", "rust-src"])?,
    };
    Report::of(|report| {
        let files = files()?;
        if let Some(unknown) = args.files.iter().find(|file| !files.contains(file)) {
            bail!("{unknown:?} is none of {}", files.join(", "));
        }
        let is_wanted = |file: &&String| args.files.is_empty() || args.files.contains(file);
        let mut left_out = List::read(LEFT_OUT)?;
        let mut skipped = Vec::new();
        for file in files.iter().filter(is_wanted) {
            let tests = tests_of(miri.harness(file).arg("--list").quiet()?)?;
            if args.left_out {
                miri.try_left_out(file, &tests, &mut left_out, report);
                continue;
            }
            let before = skipped.len();
            let harness = miri.harness(file);
            let harness = all_but(harness, file, &tests, &mut left_out, &mut skipped);
            if skipped.len() - before < tests.len() {
                report.libtest(harness);
            }
        }
        for line in &skipped {
            println!("left out: {line}");
        }
        if args.files.is_empty() {
            for problem in left_out.stale() {
                report.problem(problem);
            }
        }
        println!("{} left out", skipped.len());
        Ok(())
    })
}

/// The library, and the files of tests/.
fn files() -> Result<Vec<String>> {
    let mut files = vec!["mio".to_owned()];
    for entry in fs::read_dir(root().join("tests"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    files[1..].sort();
    Ok(files)
}

struct Miri {
    toolchain: String,
}

impl Miri {
    /// The harness of a file, which takes arguments.
    fn harness(&self, file: &str) -> Cmd {
        let target_args = match file {
            "mio" => vec!["--lib"],
            file => vec!["--test", file],
        };
        Cmd::rustup_cargo(&self.toolchain, "miri")
            .arg("test")
            .arg("--all-features")
            .args(target_args)
            // Files, sockets and clocks are this machine's.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env("MIO_TEST_SLOW", SLOWER)
            .target_dir(target("miri"))
            .limit(LIMIT)
            .arg("--")
    }

    /// Fails if a test that is left out passes.
    fn try_left_out(&self, file: &str, tests: &[String], left_out: &mut List, report: &mut Report) {
        for test in tests {
            let name = format!("{file}: {test}");
            if left_out.reason_for(&name).is_none() {
                continue;
            }
            let one = self
                .harness(file)
                .args(["--exact", test])
                .limit(LIMIT_OF_ONE);
            let outcome = one.quiet().and_then(|ended| match ended.success() {
                Ok(()) => bail!("it passes"),
                Err(_) => Ok(()),
            });
            report.one(&name, outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_comes_first_and_each_file_of_tests_by_its_name() {
        let files = files().unwrap();
        assert_eq!(files[0], "mio");
        assert!(files.contains(&"waker".to_owned()));
        assert!(!files.contains(&"util".to_owned()));
        assert!(files[1..].windows(2).all(|pair| pair[0] < pair[1]));
    }
}
