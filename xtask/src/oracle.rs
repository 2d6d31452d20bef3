//! Random programs, run against an executable specification of the crate's event contract: the
//! program `oracle` of testing/oracle, on each backend. A backend of another system runs on a model
//! of its kernel, once for each variant of the kernel.
//!
//! `cargo xtask oracle` runs the same programs every time, and `cargo xtask soak` new ones. `cargo
//! xtask oracle --faults` checks that the oracle finds deliberate faults: see `oracle/faults.rs`.

mod faults;
mod not_found;
mod program;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::model::{self, Kernel};
use crate::report::Report;
use crate::root;
use crate::sh::{Cmd, Ended};
use crate::shard::Shard;
use crate::table::named;
pub use program::Args;
use program::{build, found, kept_programs, limit, variant, BACKENDS, PROGRAMS};

/// The time limit for one run.
const SECONDS: u64 = 26;

#[derive(ClapArgs)]
pub struct SoakArgs {
    /// Backends, instead of all: `epoll`, `poll`, `kqueue`, `event-ports`
    backends: Vec<String>,
    /// The minutes that each run takes; each backend has a run of its own, and so has each variant
    /// of a model's kernel (nine runs in all)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

pub fn run(args: &Args) -> Result<()> {
    let backends = select(&args.backends)?;
    if args.faults {
        return faults::run(args, &backends);
    }
    match (&args.seed, &args.file) {
        (Some(seed), _) if args.show => show(&backends, seed),
        (_, Some(file)) => {
            // The oracle runs in the root of the repository.
            let file = fs::canonicalize(file).with_context(|| file.display().to_string())?;
            run_files(&backends, &[file])
        }
        _ => run_seeds(&backends, args),
    }
}

/// What `ci` runs.
pub fn all() -> Result<()> {
    run(&Args::default())
}

/// What `full` adds.
pub fn part_of_faults(shard: Shard) -> Result<()> {
    run(&Args {
        faults: true,
        shard: Some(shard),
        ..Args::default()
    })
}

/// Runs the programs of new seeds.
pub fn soak(args: &SoakArgs) -> Result<()> {
    let backends = select(&args.backends)?;
    let minutes = args.minutes.to_string();
    let search = ["--minutes", &minutes, "--fresh", "--thresholds"];
    Report::of(|report| {
        on_each(report, &backends, |report, backend| {
            backend.run_kernels(report, &search, args.minutes * 60);
        });
        Ok(())
    })
}

fn select(names: &[String]) -> Result<Vec<&'static str>> {
    let backends = named(BACKENDS, |backend| backend, names, |_| true)?;
    Ok(backends.into_iter().copied().collect())
}

/// Runs the programs of one master seed, and the saved programs.
fn run_seeds(backends: &[&'static str], args: &Args) -> Result<()> {
    let seconds = args.seconds.unwrap_or(SECONDS);
    let seconds_arg = seconds.to_string();
    let mut search = vec!["--seconds", &seconds_arg];
    if let Some(seed) = &args.seed {
        search.extend(["--seed", seed]);
    }
    search.push("--thresholds");
    Report::of(|report| {
        report.libtest(Cmd::cargo("test").args(["-p", "oracle"]));
        let kept = kept_programs(&root().join(PROGRAMS))?;
        on_each(report, backends, |report, backend| {
            if !kept.is_empty() {
                backend.run_files(report, &kept);
            }
            backend.run_rates(report);
            backend.run_kernels(report, &search, seconds);
        });
        Ok(())
    })
}

fn run_files(backends: &[&'static str], files: &[PathBuf]) -> Result<()> {
    Report::of(|report| {
        on_each(report, backends, |report, backend| {
            backend.run_files(report, files);
        });
        Ok(())
    })
}

fn show(backends: &[&'static str], seed: &str) -> Result<()> {
    let [backend] = backends else {
        bail!("--show needs the name of one backend");
    };
    let backend = Backend::build(backend)?;
    backend.oracle(["show", "--seed", seed]).run()
}

/// Builds the oracle for each backend in turn, and passes it to a function. A backend that does not
/// build is a failure; the other backends still follow.
fn on_each(report: &mut Report, backends: &[&'static str], with: impl Fn(&mut Report, &Backend)) {
    for name in backends {
        match Backend::build(name) {
            Ok(backend) => with(report, &backend),
            Err(error) => report.problem(format!("{name}: {error:#}")),
        }
    }
}

/// A backend, and the oracle that is built for it.
struct Backend {
    name: &'static str,
    oracle: PathBuf,
}

impl Backend {
    /// Two backends of one build share it: the second time cargo has nothing to do.
    fn build(name: &'static str) -> Result<Backend> {
        let cargo = match model::of_backend(name) {
            Some(model) => model::cargo(model, "build"),
            None => Cmd::cargo("build"),
        };
        Ok(Backend {
            name,
            oracle: build(cargo)?,
        })
    }

    /// The oracle, with these arguments, on this backend.
    fn oracle(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        let oracle = Cmd::new(&self.oracle).args(args);
        oracle.args(["--backend", self.name])
    }

    /// Searches in each variant of the kernel. Each counts as a test.
    fn run_kernels(&self, report: &mut Report, search: &[&str], seconds: u64) {
        for kernel in model::kernels(self.name) {
            let args = ["run"].iter().chain(search);
            let run = self.in_kernel(args, kernel).limit(limit(seconds));
            let outcome = run.tee().and_then(|ended| outcome(&ended));
            report.one(&variant(self.name, kernel.iter().copied()), outcome);
        }
    }

    /// Measures the rows of docs/EVENTS.md. All count as one test.
    fn run_rates(&self, report: &mut Report) {
        let outcome = self.oracle(["rates"]).tee();
        let outcome = outcome.and_then(|ended| self::outcome(&ended));
        report.one(&format!("{}, docs/EVENTS.md", self.name), outcome);
    }

    /// Runs programs from files, in each variant of the kernel. All count as one test there.
    fn run_files(&self, report: &mut Report, files: &[PathBuf]) {
        let args = [Path::new("file")].into_iter();
        let args: Vec<&Path> = args.chain(files.iter().map(PathBuf::as_path)).collect();
        for kernel in model::kernels(self.name) {
            let outcome = self.in_kernel(&args, kernel).tee();
            let outcome = outcome.and_then(|ended| self::outcome(&ended));
            let variant = variant(self.name, kernel.iter().copied());
            report.one(&format!("{variant}, programs in files"), outcome);
        }
    }

    /// The oracle in a variant of the kernel.
    fn in_kernel(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>, kernel: Kernel) -> Cmd {
        let switches = kernel.iter();
        switches.fold(self.oracle(args), |run, (switch, value)| {
            run.env(switch, value)
        })
    }
}

/// An error unless the oracle ended by itself and with success. If the oracle found something, the
/// error begins with that.
fn outcome(ended: &Ended) -> Result<()> {
    match found(&ended.stdout) {
        Some(found) => ended.success().with_context(|| found.to_owned()),
        None => ended.success(),
    }
}

#[cfg(test)]
mod tests {
    use super::program::{executable, program_of_find};
    use super::*;

    #[test]
    fn a_finding_is_a_line_that_begins_with_found() {
        assert_eq!(
            found("a\nFOUND lost event, seed 7\nFOUND b\n"),
            Some("lost event, seed 7")
        );
        assert_eq!(found("not FOUND here\nFOUNDATION\n"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn a_find_names_its_program_in_the_line_after_it() {
        for (stdout, program) in [
            (
                "      a, b\nFOUND x\n      seed 0x2a, 2 of 3 runs\n",
                Some("seed 0x2a"),
            ),
            (
                "FOUND x\n      /t/a.ron, 2 of 2 runs\nFOUND y\n",
                Some("/t/a.ron"),
            ),
            ("FOUND Hangs: a poll\n", None),
            ("FOUND x\nFOUND y\n      seed 1, 2 of 3 runs\n", None),
        ] {
            assert_eq!(program_of_find(stdout), program);
        }
    }

    #[test]
    fn a_failed_run_names_the_finding_and_the_command() {
        let ended = |script: &str| Cmd::new("sh").args(["-c", script]).quiet().unwrap();
        let error = outcome(&ended("echo FOUND lost event, seed 7; exit 1")).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("lost event, seed 7: `sh -c "), "{error}");
        assert!(error.ends_with("exit status: 1"), "{error}");
        assert!(outcome(&ended("exit 1")).is_err());
        assert!(outcome(&ended("exit 0")).is_ok());
    }

    #[test]
    fn a_variant_is_named_by_its_switches() {
        assert_eq!(variant("epoll", [] as [(&str, &str); 0]), "epoll");
        assert_eq!(
            variant("kqueue", [("A", "1"), ("B", "x")]),
            "kqueue, A=1 B=x"
        );
    }

    #[test]
    fn a_backend_without_a_model_runs_on_one_kernel() {
        assert_eq!(model::kernels("epoll"), [&[] as model::Kernel]);
        assert!(model::kernels("kqueue").len() > 1);
        for backend in BACKENDS {
            assert!(model::kernels(backend)[0].is_empty(), "{backend}");
        }
    }

    #[test]
    fn kept_programs_are_the_ron_files_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.ron", "a.ron", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let programs = kept_programs(folder.path()).unwrap();
        let names: Vec<_> = programs
            .iter()
            .filter_map(|path| path.file_name())
            .collect();
        assert_eq!(names, ["a.ron", "b.ron"]);
        assert!(kept_programs(&folder.path().join("none"))
            .unwrap()
            .is_empty());
    }

    #[test]
    fn the_oracle_is_found_among_the_programs_that_cargo_built() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"mio"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"oracle"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"oracle"},"executable":"/t/debug/oracle"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/oracle")));
        assert_eq!(executable("{}"), None);
    }
}
