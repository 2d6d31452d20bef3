//! Examples that are run; their exit status decides.

use std::time::Duration;

use anyhow::Result;

use crate::report::Report;
use crate::sh::Cmd;

pub fn quickstart() -> Result<()> {
    examples("quickstart", &[&[]], Duration::from_secs(60))
}

pub fn c10k() -> Result<()> {
    examples(
        "c10k",
        &[
            &[],
            &["--slow", "50", "--connections", "200"],
            &["--backend", "poll"],
            &["--backend", "poll", "--slow", "50", "--connections", "200"],
        ],
        Duration::from_secs(5 * 60),
    )
}

/// Runs an example once for each list of arguments. Each run is a test.
fn examples(name: &str, runs: &[&[&str]], limit: Duration) -> Result<()> {
    Report::of(|report| {
        // The limit is for the example, not for the compiler.
        Cmd::cargo("build")
            .args(["--release", "--example", name])
            .run()?;
        for args in runs {
            let run = Cmd::cargo("run")
                .args(["--release", "--example", name, "--"])
                .args(*args)
                .limit(limit);
            report.one(name, run.run());
        }
        Ok(())
    })
}
