//! Bytes that a peer chooses, packets of other code, and calls of the models with any arguments: the targets
//! of testing/fuzz, under libFuzzer, with the stable compiler. Inputs that reach something new are kept in
//! testing/fuzz/corpus. `cargo xtask fuzz --faults` checks that the targets are not blind.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::faults::{sorted, Tree};
use crate::report::Report;
use crate::sh::{Cmd, Ended};
use crate::table::named;
use crate::{root, target, tools};

const TARGETS: [&str; 4] = [
    "unix_addresses",
    "user_events",
    "kqueue_model",
    "event_ports_model",
];

/// The package of them, a workspace of its own.
const PACKAGE: &str = "testing/fuzz";

/// Below it, a folder for each target: inputs that are run first.
const CORPUS: &str = "testing/fuzz/corpus";

/// Below it, a folder for each target: patches, each of a mistake that the target must find.
const FAULTS: &str = "testing/fuzz/faults";

/// What cargo-fuzz has nightly's compiler do: counts for libFuzzer of which code an input reaches. Debug
/// assertions also check the arguments of std's unsafe functions.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// The seconds that each fault has to be found in.
const FAULT_SECONDS: u64 = 180;

#[derive(ClapArgs)]
pub struct Args {
    /// Targets, instead of all: `unix_addresses`, `user_events`, `kqueue_model`, `event_ports_model`
    targets: Vec<String>,
    /// The seconds that all of them take together, beside the building
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The inputs that are made; another one each time by default
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Then also keep the inputs that have reached something new in testing/fuzz/corpus, as few as do
    #[arg(long)]
    keep: bool,
    /// Instead, put the faults of testing/fuzz/faults into a copy of the sources, and see them found
    #[arg(long, conflicts_with = "keep")]
    faults: bool,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            targets: Vec::new(),
            seconds: 60,
            seed: None,
            keep: false,
            faults: false,
        }
    }
}

/// What `full` runs.
pub fn all() -> Result<()> {
    run(&Args::default())
}

/// What `full` runs, too.
pub fn all_faults() -> Result<()> {
    run(&Args {
        faults: true,
        ..Args::default()
    })
}

pub fn run(args: &Args) -> Result<()> {
    let targets = named(&TARGETS, |target| target, &args.targets, |_| true)?;
    tools::need("c++", &["g++"])?;
    if args.faults {
        return find_faults(&targets);
    }
    Report::of(|report| {
        let fuzzers = Fuzzers::build(root(), &target("fuzz"))?;
        let seconds = (args.seconds / targets.len() as u64).max(1);
        for name in targets {
            let found = fuzzers.run(name, seconds, args.seed)?;
            let outcome = found.map_or(Ok(()), |found| bail!("{found}"));
            report.one(name, outcome);
            if args.keep {
                fuzzers.keep(name)?;
            }
        }
        Ok(())
    })
}

/// The programs of one build.
struct Fuzzers {
    programs: PathBuf,
    /// New inputs, by target; and those that have failed.
    folder: PathBuf,
}

impl Fuzzers {
    fn build(sources: &Path, folder: &Path) -> Result<Fuzzers> {
        let host = tools::host()?;
        let build = Cmd::cargo("build")
            // With a target named, build scripts are not instrumented.
            .args(["--quiet", "--release", "--bins", "--target", &host])
            .env("RUSTFLAGS", FLAGS)
            .dir(sources.join(PACKAGE))
            .target_dir(folder);
        build.run()?;
        Ok(Fuzzers {
            programs: folder.join(host).join("release"),
            folder: folder.to_owned(),
        })
    }

    /// Runs the inputs of the corpus, and then others that it makes of them.
    fn run(&self, name: &str, seconds: u64, seed: Option<u32>) -> Result<Option<Found>> {
        let failed = self.folder.join("failed").join(name);
        if failed.exists() {
            fs::remove_dir_all(&failed)?;
        }
        fs::create_dir_all(&failed)?;
        let new = self.new_inputs(name);
        fs::create_dir_all(&new)?;
        let mut run = self
            .program(name)
            .arg(&new)
            .arg(corpus(name))
            .arg(format!("-artifact_prefix={}/", failed.display()))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-timeout=20", "-print_final_stats=1", "-verbosity=0"])
            .limit(Duration::from_secs(seconds * 3 + 300));
        if let Some(seed) = seed {
            run = run.arg(format!("-seed={seed}"));
        }
        println!("$ {run}");
        let ended = run.quiet()?;
        print_statistics(name, &ended);
        let Some(input) = sorted(&failed)?.into_iter().next() else {
            // It did not run, or died without a word.
            ended.success()?;
            return Ok(None);
        };
        Ok(Some(Found {
            message: message(&ended.stdout),
            shown: self.shown(name, &input)?,
            input,
        }))
    }

    /// An input as the target reads it.
    fn shown(&self, name: &str, input: &Path) -> Result<String> {
        let to = self.folder.join("failed").join(format!("{name}.txt"));
        let show = self.program(name).arg(input);
        // With this variable it runs nothing.
        let show = show.env("RUST_LIBFUZZER_DEBUG_PATH", &to);
        show.quiet()?.success()?;
        fs::read_to_string(&to).with_context(|| to.display().to_string())
    }

    /// Adds inputs to the corpus: as few as reach all that any has reached.
    fn keep(&self, name: &str) -> Result<()> {
        let merged = self.folder.join("merged").join(name);
        if merged.exists() {
            fs::remove_dir_all(&merged)?;
        }
        fs::create_dir_all(&merged)?;
        let merge = self.program(name).args(["-merge=1", "-verbosity=0"]);
        let merge = merge.arg(&merged).arg(corpus(name));
        merge.arg(self.new_inputs(name)).quiet()?.success()?;
        fs::remove_dir_all(corpus(name))?;
        fs::create_dir_all(corpus(name))?;
        let inputs = sorted(&merged)?;
        for input in &inputs {
            let file = input.file_name().context("it is a file")?;
            fs::copy(input, corpus(name).join(file))?;
        }
        println!("{name}: {} inputs are kept", inputs.len());
        Ok(())
    }

    fn new_inputs(&self, name: &str) -> PathBuf {
        self.folder.join("inputs").join(name)
    }

    fn program(&self, name: &str) -> Cmd {
        // A backtrace opens and closes files, by functions of the model that has just panicked.
        Cmd::all_output_of(self.programs.join(name)).env("RUST_BACKTRACE", "0")
    }
}

/// An input that fails.
struct Found {
    input: PathBuf,
    /// What it is, and what is wrong.
    shown: String,
    message: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = self.input.display();
        write!(f, "{}\n{}\n{input}", self.message, self.shown)
    }
}

/// What a program says before it dies: a panic's two lines, or libFuzzer's.
fn message(stdout: &str) -> String {
    let is_first = |line: &&str| line.contains("panicked at") || line.contains("ERROR: ");
    let lines = stdout.lines().skip_while(|line| !is_first(line));
    lines.take(2).collect::<Vec<_>>().join(" ")
}

fn corpus(name: &str) -> PathBuf {
    root().join(CORPUS).join(name)
}

/// What libFuzzer says in the end.
fn print_statistics(name: &str, ended: &Ended) {
    let value = |what: &str| {
        let mut lines = ended.stdout.lines();
        let value = lines.find_map(|line| line.strip_prefix(what));
        value.map(str::trim).unwrap_or("?").to_owned()
    };
    let runs = value("stat::number_of_executed_units:");
    let new = value("stat::new_units_added:");
    println!("{name}: {runs} inputs, {new} of which reached something new");
}

/// A patch of a mistake, and the files that it changes.
struct Fault {
    target: &'static str,
    patch: PathBuf,
    files: Vec<String>,
}

/// Those of these targets.
fn faults(targets: &[&&'static str]) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for &&target in targets {
        for patch in sorted(&root().join(FAULTS).join(target))? {
            let text = fs::read_to_string(&patch)?;
            let files = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
            faults.push(Fault {
                target,
                files: files.map(str::to_owned).collect(),
                patch,
            });
        }
    }
    Ok(faults)
}

fn find_faults(targets: &[&&'static str]) -> Result<()> {
    Report::of(|report| {
        let tree = Tree::copy()?;
        for fault in faults(targets)? {
            let name = fault.patch.strip_prefix(root().join(FAULTS))?;
            let name = name.with_extension("").display().to_string();
            report.one(&name, find(&tree, &fault));
        }
        Ok(())
    })
}

/// Fails unless the target finds the fault.
fn find(tree: &Tree, fault: &Fault) -> Result<()> {
    let applied = tree.apply_patch(&fault.patch, &fault.files)?;
    let _undone_in_the_end = applied.map_err(anyhow::Error::msg)?;
    let fuzzers = Fuzzers::build(&tree.sources, &target("faults").join("fuzz"))?;
    match fuzzers.run(fault.target, FAULT_SECONDS, Some(1))? {
        Some(found) => println!("found: {found}"),
        None => bail!("not found in {FAULT_SECONDS} s"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_corpus_and_faults_that_name_files() {
        let targets: Vec<&&str> = TARGETS.iter().collect();
        let faults = faults(&targets).unwrap();
        for target in TARGETS {
            assert!(faults.iter().any(|fault| fault.target == target));
            assert!(!sorted(&corpus(target)).unwrap().is_empty());
        }
        for fault in faults {
            assert!(!fault.files.is_empty(), "{}", fault.patch.display());
            let apply = Cmd::new("git").args(["apply", "--check"]);
            let fits = apply.arg(&fault.patch).quiet().unwrap();
            fits.success().unwrap();
        }
    }

    #[test]
    fn a_failure_says_what_is_wrong() {
        let said = "INFO: x\n\nthread 'a' panicked at b.rs:1:2:\nassertion failed\nstack\n";
        let panic = "thread 'a' panicked at b.rs:1:2: assertion failed";
        assert_eq!(message(said), panic);
        assert_eq!(
            message("1: ERROR: libFuzzer: timeout\n"),
            "1: ERROR: libFuzzer: timeout"
        );
    }

    #[test]
    fn every_target_is_a_program_of_the_package() {
        let manifest = fs::read_to_string(root().join(PACKAGE).join("Cargo.toml")).unwrap();
        let names = manifest.lines().skip_while(|line| *line != "[[bin]]");
        let names: Vec<&str> = names
            .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .collect();
        assert_eq!(names, TARGETS);
    }
}
