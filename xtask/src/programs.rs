//! Runs examples; their exit status decides.

use std::time::Duration;

use anyhow::Result;

use crate::report::Report;
use crate::sh::Cmd;

/// The arguments with which cargo selects a program.
pub type Program = [&'static str; 2];

pub const C10K: Program = ["--package", "c10k"];

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
