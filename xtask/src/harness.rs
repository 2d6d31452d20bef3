//! Programs of tests: those that cargo builds, what tests they have, and which of them a step leaves
//! out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Result};
use serde_json::Value;

use crate::left_out::List;
use crate::report::Report;
use crate::sh::{Cmd, Ended};

/// The programs that `cargo test` of these targets would run, by name.
pub fn built(cargo: Cmd) -> Result<Vec<PathBuf>> {
    let cargo = cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    println!("$ {cargo}");
    let mut programs = executables(&cargo.quiet()?.successful_stdout()?);
    if programs.is_empty() {
        bail!("cargo built no test program");
    }
    programs.sort();
    Ok(programs)
}

/// The test programs that cargo's messages name.
fn executables(messages: &str) -> Vec<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["profile"]["test"] == true
        })
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .collect()
}

/// The file of tests that a program is of: its name without cargo's hash.
pub fn file_of(program: &Path) -> String {
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    match stem.rsplit_once('-') {
        Some((file, _)) => file.to_owned(),
        None => stem.into_owned(),
    }
}

/// A harness that is to list its tests, and closes with how many there are.
pub fn list(harness: Cmd) -> Cmd {
    harness.arg("--list").limit(Duration::from_secs(120))
}

pub fn tests_of(list: Ended) -> Result<Vec<String>> {
    let list = list.successful_stdout()?;
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

/// Runs each program by the command that `command` makes of it, without the tests that the list of
/// this path names. They are printed with their reasons.
pub fn run_all_but(
    report: &mut Report,
    programs: &[PathBuf],
    left_out: &str,
    command: impl Fn(&Path) -> Cmd,
) -> Result<()> {
    let mut left_out = List::read(left_out)?;
    let mut skipped = Vec::new();
    for program in programs {
        let file = file_of(program);
        let tests = tests_of(list(command(program)).quiet()?)?;
        let run = all_but(command(program), &file, &tests, &mut left_out, &mut skipped);
        report.libtest(run);
    }
    for line in &skipped {
        println!("left out: {line}");
    }
    for problem in left_out.stale() {
        report.problem(problem);
    }
    println!("{} left out", skipped.len());
    Ok(())
}

/// The harness of a file, which has these tests, without those of the list.
pub fn all_but(
    harness: Cmd,
    file: &str,
    tests: &[String],
    left_out: &mut List,
    skipped: &mut Vec<String>,
) -> Cmd {
    let mut harness = harness.arg("--exact");
    for test in tests {
        let name = format!("{file}: {test}");
        if let Some(why) = left_out.reason_for(&name) {
            skipped.push(format!("{name}: {why}"));
            harness = harness.args(["--skip", test]);
        }
    }
    harness
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken() {
        let messages = r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/t/build-script"}
{"reason":"compiler-artifact","profile":{"test":true},"executable":"/t/poll-1"}
{"reason":"compiler-artifact","profile":{"test":true},"executable":null}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), [PathBuf::from("/t/poll-1")]);
    }

    #[test]
    fn a_program_is_named_after_its_file() {
        assert_eq!(
            file_of(Path::new("/t/deps/waker_pipe-0a1b.exe")),
            "waker_pipe"
        );
    }

    #[test]
    fn the_tests_of_the_list_are_skipped_by_their_whole_names() {
        let mut list = List::parse("list", "f: b -- it fails\nf: x::* -- they hang\n").unwrap();
        let tests = ["a", "b", "bb", "x::c"].map(str::to_owned);
        let mut skipped = Vec::new();
        let harness = all_but(Cmd::new("f"), "f", &tests, &mut list, &mut skipped);
        assert_eq!(harness.to_string(), "f --exact --skip b --skip x::c");
        assert_eq!(skipped, ["f: b: it fails", "f: x::c: they hang"]);
        assert!(list.stale().is_empty());
    }

    #[test]
    fn the_tests_of_a_harness_are_listed() {
        let list = Cmd::new("printf").arg("a: test\nx::b: test\nd: benchmark\n\n2 tests\n");
        assert_eq!(tests_of(list.quiet().unwrap()).unwrap(), ["a", "x::b"]);
    }
}
