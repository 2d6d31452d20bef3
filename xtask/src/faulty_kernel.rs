//! Makes each call of each operation fail once, with each error of its manual page: runs the program of
//! testing/faulty-kernel on epoll, on poll(2), on the models of kqueue and of event ports, and on AFD under
//! Wine.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail, Result};
use clap::Args as ClapArgs;

use crate::cross::Cross;
use crate::model::{self, Kernel};
use crate::report::Report;
use crate::sh::{Cmd, Ended};
use crate::table::named;
use crate::target;
use crate::wine::{self, Wine};

/// The last one is not in `ci`'s step: it runs under Wine.
const BACKENDS: &[&str] = &["epoll", "poll", "kqueue", "event-ports", AFD];

const AFD: &str = "afd";

const LEFT_OUT: [&str; 3] = [
    "calls of the allocator and of the threads (brk, mmap, mprotect, futex, clone and the like): they are \
     not the crate's",
    "on AFD, the calls that the system's libraries make of the kernel, and functions looked up by name, except \
     those of timers",
    "debug builds: the standard library makes calls of its own there",
];

/// The exit code of the program if system calls cannot be stopped.
const NOT_RUN: i32 = 77;

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Backends, instead of all but the last: `epoll`, `poll`, `kqueue`, `event-ports`, `afd`
    backends: Vec<String>,
    /// Only operations whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// A backend on one of the variants of its kernel.
struct Run {
    backend: &'static str,
    kernel: Kernel,
    program: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let backends = named(BACKENDS, |name| name, &args.backends, |name| *name != AFD)?;
    Report::of(|report| {
        let mut runs = Vec::new();
        let mut injected = 0;
        for &backend in backends {
            if backend == AFD {
                injected += on_wine(report, &args.only)?;
                continue;
            }
            let program = build(backend)?;
            runs.extend(model::kernels(backend).iter().map(|&kernel| Run {
                backend,
                kernel,
                program: program.clone(),
            }));
        }
        // Most of their time they wait for events that must not come.
        let ended: Vec<Result<Ended>> = thread::scope(|scope| {
            let threads: Vec<_> = runs
                .iter()
                .map(|run| scope.spawn(|| run.cmd(&args.only).quiet()))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|ended| ended.expect("it ends")).collect()
        });
        for (run, ended) in runs.iter().zip(ended) {
            let name = run.name();
            let ended = ended?;
            println!("--- {name}");
            print!("{}", ended.stdout);
            injected += read(report, &name, &ended)?;
        }
        for what in LEFT_OUT {
            println!("left out: {what}");
        }
        println!("{injected} failures injected");
        Ok(())
    })
}

/// Runs it on AFD only.
pub fn on_windows() -> Result<()> {
    run(&Args {
        backends: vec![AFD.to_owned()],
        ..Args::default()
    })
}

impl Run {
    fn cmd(&self, only: &str) -> Cmd {
        let cmd = Cmd::new(&self.program).args([self.backend, only]);
        let switches = self.kernel.iter();
        switches.fold(cmd, |cmd, (switch, value)| cmd.env(switch, value))
    }

    fn name(&self) -> String {
        let switches = self.kernel.iter();
        let switches = switches.map(|(switch, value)| format!(", {switch}={value}"));
        self.backend.to_owned() + &switches.collect::<String>()
    }
}

/// Builds the program for Windows, runs it, and returns how many failures were injected.
fn on_wine(report: &mut Report, only: &str) -> Result<usize> {
    let cross = Cross::new(wine::TARGET)?;
    windows_cargo(&cross).run()?;
    let program = cross.programs().join("faulty-kernel.exe");
    let wine = Wine::start()?;
    let ended = wine.run(|| {
        // Shorter than that of the tests, which make many connections.
        let cmd = wine.command(&program).env("MIO_TEST_PATIENCE", "10");
        cmd.args([AFD, only]).limit(LIMIT)
    })?;
    println!("--- {AFD}");
    print!("{}", ended.stdout);
    read(report, AFD, &ended)
}

/// The command that builds the program for Windows.
pub fn windows_cargo(cross: &Cross) -> Cmd {
    cross.building("build").args(["-p", "faulty-kernel"])
}

/// The time limit for a run under Wine.
const LIMIT: Duration = Duration::from_secs(600);

/// Builds the program with this backend. Returns where it is.
fn build(backend: &str) -> Result<PathBuf> {
    let cargo = cargo();
    let (cargo, folder) = match model::of_backend(backend) {
        Some(name) => {
            let folder = target("model").join(name);
            let cargo = cargo.env("RUSTFLAGS", model::cfg(name));
            (cargo.target_dir(&folder), folder)
        }
        None => (cargo, crate::root().join("target")),
    };
    cargo.run()?;
    Ok(folder.join("release/faulty-kernel"))
}

/// The command that builds the program.
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
