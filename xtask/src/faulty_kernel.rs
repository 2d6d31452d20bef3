//! Makes each system call of each operation fail once, with each error of its manual page: runs the
//! program of testing/faulty-kernel, on epoll and on poll(2).

use anyhow::{anyhow, bail, Result};
use clap::Args as ClapArgs;

use crate::report::Report;
use crate::root;
use crate::sh::{Cmd, Ended};

const BACKENDS: &[&str] = &["epoll", "poll"];

const LEFT_OUT: [&str; 3] = [
    "calls of the allocator and of the threads (brk, mmap, mprotect, futex, clone and the like): they are \
     not the crate's",
    "kqueue, event ports and AFD: this kernel has none",
    "debug builds: the standard library makes calls of its own there",
];

/// The exit code of the program if system calls cannot be stopped.
const NOT_RUN: i32 = 77;

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Backends, instead of both: `epoll`, `poll`
    backends: Vec<String>,
    /// Only operations whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

pub fn run(args: &Args) -> Result<()> {
    let backends = match args.backends.is_empty() {
        true => BACKENDS.to_vec(),
        false => args.backends.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = backends.iter().find(|name| !BACKENDS.contains(name)) {
        bail!("no backend {unknown:?}: there are {}", BACKENDS.join(", "));
    }
    Report::of(|report| {
        cargo().run()?;
        let mut injected = 0;
        for backend in backends {
            let program = root().join("target/release/faulty-kernel");
            let ended = Cmd::new(program).args([backend, &args.only]).tee()?;
            injected += read(report, backend, &ended)?;
        }
        for what in LEFT_OUT {
            println!("left out: {what}");
        }
        println!("{injected} failures injected");
        Ok(())
    })
}

/// Builds the program.
pub fn cargo() -> Cmd {
    // Optimised: std checks descriptors with calls of its own in a debug build.
    Cmd::cargo("build").args(["--release", "-p", "faulty-kernel"])
}

/// Reports the operations, and returns how many failures were injected.
fn read(report: &mut Report, backend: &str, ended: &Ended) -> Result<usize> {
    if ended.status.code() == Some(NOT_RUN) {
        bail!("{backend}: not run: {}", ended.stdout.trim());
    }
    let mut injected = 0;
    let mut has_failed = false;
    for line in ended.stdout.lines() {
        if let Some(operation) = line.strip_prefix("ok: ") {
            let count = operation.strip_suffix(" failures");
            let count = count.and_then(|rest| rest.rsplit_once(": "));
            let Some(count) = count.and_then(|(_, count)| count.parse::<usize>().ok()) else {
                bail!("{backend}: no number of failures: {line:?}");
            };
            injected += count;
            report.one(operation, Ok(()));
        } else if let Some(problem) = line.strip_prefix("FAILED: ") {
            has_failed = true;
            report.one(backend, Err(anyhow!("{problem}")));
        }
    }
    match has_failed {
        true => Ok(injected),
        false => ended.success().map(|()| injected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(script: &str) -> (Report, Result<usize>) {
        let mut report = Report::default();
        let ended = Cmd::new("sh").arg("-c").arg(script).quiet().unwrap();
        let read = read(&mut report, "epoll", &ended);
        (report, read)
    }

    #[test]
    fn failures_are_summed() {
        let lines = "echo 'ok: a: b: 12 failures'; echo 'left out: a'; echo 'ok: c: 0 failures'";
        let (report, injected) = read_of(lines);
        assert_eq!(injected.unwrap(), 12);
        assert_ne!(report, Report::default());
    }

    #[test]
    fn what_was_not_run_is_no_success() {
        let (_, read) = read_of("echo 'not run: forbidden'; exit 77");
        assert!(read.unwrap_err().to_string().contains("forbidden"));
        // The program died.
        assert!(read_of("echo 'ok: a: 1 failures'; kill -9 $$").1.is_err());
        assert!(read_of("echo 'ok: a: many failures'").1.is_err());
    }
}
