//! Runs examples; their exit status decides.

use std::time::Duration;

use anyhow::{ensure, Result};

use crate::report::Report;
use crate::sh::Cmd;

/// The arguments with which cargo selects a program.
pub type Program = [&'static str; 2];

pub const C10K: Program = ["--package", "c10k"];
pub const CHILDREN: Program = ["--example", "children"];

/// Runs the example of child processes, and checks that it has reported each of them.
pub fn children(report: &mut Report, program: Cmd) {
    let reported = || {
        let output = program.limit(Duration::from_secs(180)).tee()?;
        all_children_reported(&output.successful_stdout()?)
    };
    report.one("children", reported());
}

fn all_children_reported(output: &str) -> Result<()> {
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..100)
        .map(|n| format!("child {n}: {} lines, exit code Some({})", n % 4 + 1, n % 5))
        .chain(["100 children have ended".to_owned()])
        .collect();
    expected.sort_unstable();
    ensure!(lines == expected, "it does not report each child once");
    Ok(())
}

pub fn c10k() -> Result<()> {
    Report::of(|report| {
        report.libtest(Cmd::cargo("test").args(["--release"]).args(C10K));
        run(
            report,
            C10K,
            &[
                &[],
                &["--slow", "50", "--connections", "200"],
                &["--backend", "poll"],
                &["--backend", "poll", "--slow", "50", "--connections", "200"],
            ],
            Duration::from_secs(5 * 60),
        )
    })
}

/// Runs a program once for each list of arguments. Each run is a test.
fn run(report: &mut Report, program: Program, runs: &[&[&str]], limit: Duration) -> Result<()> {
    // The limit is for the program, not for the compiler.
    Cmd::cargo("build").arg("--release").args(program).run()?;
    for args in runs {
        let run = Cmd::cargo("run")
            .arg("--release")
            .args(program)
            .arg("--")
            .args(*args)
            .limit(limit);
        report.one(program[1], run.run());
    }
    Ok(())
}
