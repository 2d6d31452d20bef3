//! Checks that a test notices each of the deliberate faults in testing/faults.
//!
//! A fault is a patch, testing/faults/BACKEND/NAME.patch, with a header that describes the effect
//! on a program and names the tests that must fail; `faults/header.rs` defines its form. A fault
//! counts as noticed if each of these tests passes without it, and fails on an assertion with it. A
//! test that hangs, dies or does not compile does not count, and neither does a fault whose patch
//! does not apply. `cargo xtask counts` must notice a fault that only costs time.
//!
//! Faults of a backend that has a model are built for the model, and run on it. Those of Windows'
//! backend run under Wine.
//!
//! Everything happens in a copy of the sources below target/faults, which also contains the builds.

mod fault;
mod header;
mod promises;
mod tree;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Result};
use clap::Args as ClapArgs;

use crate::counts::{self, Bench};
use crate::cross::Cross;
use crate::report::Report;
use crate::sh::{Cmd, Ended};
use crate::shard::Shard;
use crate::windows::Program;
use crate::wine::{self, Wine};
use crate::{calls, faulty_kernel, model, target};
pub use fault::{load, names, sorted, Fault};
use header::Target;
pub use tree::Tree;
use verdict::{Outcome, Verdict};

/// The time limit for one run of the tests that one fault names.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// The seconds after which a test gives up waiting for an event that a fault suppresses. Not used
/// without a fault: there it saves no time, and a busy machine could look like a fault.
const PATIENCE: &str = "3";

/// After this time `ci` begins no further fault, and names those that it leaves out.
const CI_BOUND: Duration = Duration::from_secs(5 * 60);

/// So many are tried also if the builds alone have taken that long, as on a busy machine.
const AT_LEAST: usize = 16;

/// The number of faults of each backend that `ci` may come to. What their tests do without a fault is
/// measured for these only.
const MOST_OF_A_BACKEND: usize = 20;

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Only the faults of this backend: a folder of testing/faults
    backend: Option<String>,
    /// Only the fault of this name (may be given several times)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only part K of N of the faults, so that machines share the work
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// Show the faults, and what has to notice them, and run nothing
    #[arg(long)]
    list: bool,
    /// Only check that each patch still applies, and the table of promises in docs/TESTING.md
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args, is_step: fn(&str) -> bool) -> Result<()> {
    if args.check && args.backend.is_none() && args.only.is_empty() {
        return check_all(is_step);
    }
    let mut faults = select(load()?, args)?;
    if let Some(shard) = args.shard {
        faults = shard.of(faults);
    }
    if args.list {
        list(&faults);
        return Ok(());
    }
    if args.check {
        return Report::of(|report| check(report, &faults));
    }
    Report::of(|report| try_all(report, &faults, None))
}

/// What `full` runs.
pub fn part(shard: Shard) -> Result<()> {
    let faults = shard.of(load()?);
    Report::of(|report| try_all(report, &faults, None))
}

/// Checks that every fault still applies, including those for which `ci` has no time, and that the faults
/// and tests exist with which docs/TESTING.md proves the promises.
pub fn check_all(is_step: fn(&str) -> bool) -> Result<()> {
    let faults = load()?;
    Report::of(|report| {
        promises::check(report, &faults, is_step)?;
        check(report, &faults)
    })
}

fn check(report: &mut Report, faults: &[Fault]) -> Result<()> {
    let tree = Tree::copy()?;
    for fault in faults {
        let applied = tree.apply(fault)?.map(|_undone_at_once| ());
        report.one(&fault.to_string(), applied.map_err(|why| anyhow!("{why}")));
    }
    Ok(())
}

/// What `ci` runs: all faults except those for `full` only, of each backend in turn, until the time
/// is up.
pub fn bounded() -> Result<()> {
    let (selected, left_out): (Vec<Fault>, Vec<Fault>) = load()?
        .into_iter()
        .partition(|fault| !fault.header.full_only);
    Report::of(|report| {
        if !left_out.is_empty() {
            println!("left out, for `full` only: {}", names(&left_out));
        }
        let (first, others) = in_turn(selected, MOST_OF_A_BACKEND);
        if !others.is_empty() {
            let names = names(&others);
            println!("left out, after {MOST_OF_A_BACKEND} of a backend: {names}");
        }
        try_all(report, &first, Some(CI_BOUND))
    })
}

/// One fault of each backend, then the next one of each, so that the time limit affects all
/// backends alike; at most so many of each. The second list has the others.
fn in_turn(faults: Vec<Fault>, most: usize) -> (Vec<Fault>, Vec<Fault>) {
    let mut turns = BTreeMap::new();
    let mut faults: Vec<(usize, Fault)> = faults
        .into_iter()
        .map(|fault| {
            let turn = turns.entry(fault.backend.clone()).or_insert(0);
            *turn += 1;
            (*turn, fault)
        })
        .collect();
    // The sort is stable.
    faults.sort_by_key(|(turn, _)| *turn);
    let (first, others): (Vec<_>, Vec<_>) = faults.into_iter().partition(|(turn, _)| *turn <= most);
    let without_turns = |faults: Vec<(usize, Fault)>| faults.into_iter().map(|(_, fault)| fault);
    (
        without_turns(first).collect(),
        without_turns(others).collect(),
    )
}

fn select(mut faults: Vec<Fault>, args: &Args) -> Result<Vec<Fault>> {
    if let Some(backend) = &args.backend {
        faults.retain(|fault| fault.backend == *backend);
        if faults.is_empty() {
            bail!("there are no faults of {backend:?} in testing/faults");
        }
    }
    if let Some(unknown) = args
        .only
        .iter()
        .find(|only| faults.iter().all(|fault| fault.name != **only))
    {
        bail!("there is no fault {unknown:?}; `cargo xtask faults --list` shows them");
    }
    if !args.only.is_empty() {
        faults.retain(|fault| args.only.contains(&fault.name));
    }
    Ok(faults)
}

fn list(faults: &[Fault]) {
    for fault in faults {
        let full_only = if fault.header.full_only {
            " (full only)"
        } else {
            ""
        };
        println!("{fault}{full_only}\n    {}", fault.header.sentence);
        for (target, test) in &fault.header.tests {
            println!("    test: {target} {test}");
        }
        for (name, value) in &fault.header.env {
            println!("    env: {name}={value}");
        }
    }
    println!("{} faults", faults.len());
}

/// Tries each fault, until the time limit is reached.
fn try_all(report: &mut Report, faults: &[Fault], bound: Option<Duration>) -> Result<()> {
    let start = Instant::now();
    let mut runner = Runner {
        tree: Tree::copy()?,
        wine: None,
    };
    let is_for_windows = |build: &Build| {
        matches!(
            build,
            Build::Windows | Build::FaultyWindows | Build::Program(_)
        )
    };
    if by_build(faults).keys().any(is_for_windows) {
        runner.wine = Some(Wine::start()?);
    }
    let sound = without_faults(&runner, faults)?;
    for (index, fault) in faults.iter().enumerate() {
        let is_over = bound.is_some_and(|bound| start.elapsed() > bound);
        if is_over && index >= AT_LEAST {
            println!(
                "left out, after {} s: {}",
                start.elapsed().as_secs(),
                names(&faults[index..])
            );
            break;
        }
        let fault_start = Instant::now();
        let verdict = match unsound(&sound, fault) {
            Some(why) => Verdict::NoMeasure(why),
            None => try_one(&runner, fault)?,
        };
        let took = fault_start.elapsed().as_secs_f64();
        println!("{fault}: {verdict} ({took:.1} s)");
        let outcome = match verdict {
            Verdict::Noticed(_) => Ok(()),
            other => Err(anyhow!("{other}")),
        };
        report.one(&fault.to_string(), outcome);
    }
    Ok(())
}

/// A build of the tests that must notice a fault.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Build {
    Plain,
    /// For the model of this name.
    Model(&'static str),
    /// To be run under Wine.
    Windows,
    /// The same, of a program that is not a harness.
    Program(Program),
    Loom,
    /// The build that `cargo xtask counts` runs.
    Counts(Bench),
    /// The program whose calls are compared, for the model of this name or for Linux.
    Calls(Option<&'static str>),
    /// The program that has calls fail, for the model of this name or for Linux.
    FaultyKernel(Option<&'static str>),
    /// The program that has calls fail on Windows.
    FaultyWindows,
}

impl Build {
    fn of(fault: &Fault, target: &Target) -> Build {
        match target {
            Target::Loom => Build::Loom,
            Target::Counts(bench) => Build::Counts(*bench),
            Target::FaultyKernel if wine::BACKENDS.contains(&fault.backend.as_str()) => {
                Build::FaultyWindows
            }
            Target::Calls => Build::Calls(model::of_backend(&fault.backend)),
            Target::FaultyKernel => Build::FaultyKernel(model::of_backend(&fault.backend)),
            Target::Windows(program) => Build::Program(*program),
            _ if wine::BACKENDS.contains(&fault.backend.as_str()) => Build::Windows,
            _ => Build::of_backend(&fault.backend),
        }
    }

    /// The build with a backend that this machine, or a model, can run.
    pub fn of_backend(backend: &str) -> Build {
        model::of_backend(backend).map_or(Build::Plain, Build::Model)
    }

    fn cargo(self) -> Result<Cmd> {
        Ok(self.configure(match self {
            Build::Windows => Cross::new(wine::TARGET)?
                .building("test")
                .args(["--no-run", "--all-features"]),
            Build::Program(program) => program.cargo(&Cross::new(wine::TARGET)?),
            Build::Counts(_) => counts::cargo()?,
            Build::Calls(None) => Cmd::cargo("build").args(["--release", "-p", "calls"]),
            Build::Calls(Some(_)) => Cmd::cargo("build").args(["-p", "calls"]),
            Build::FaultyKernel(_) => faulty_kernel::cargo(),
            Build::FaultyWindows => faulty_kernel::windows_cargo(&Cross::new(wine::TARGET)?),
            Build::Loom => Cmd::cargo("test").args(["--no-run", "--release"]),
            Build::Plain | Build::Model(_) => {
                Cmd::cargo("test").args(["--no-run", "--all-features"])
            }
        }))
    }

    /// Sets cargo's flags and target directory. Each build has its own directory, so that none
    /// discards the files of another.
    pub fn configure(self, cargo: Cmd) -> Cmd {
        let cfg = match self {
            Build::Plain
            | Build::Windows
            | Build::Program(_)
            | Build::Calls(None)
            | Build::FaultyKernel(None)
            | Build::FaultyWindows => String::new(),
            Build::Model(name) | Build::Calls(Some(name)) | Build::FaultyKernel(Some(name)) => {
                model::cfg(name)
            }
            Build::Loom => "--cfg mio_loom".to_owned(),
            Build::Counts(bench) => bench.cfg().to_owned(),
        };
        let cargo = match self {
            // They count instructions, and the compiler would generate different ones.
            Build::Counts(_) => cargo,
            // A build then takes a third of the time. The caches are those of two packages.
            _ => cargo.env("CARGO_INCREMENTAL", "1"),
        };
        cargo
            .env("RUSTFLAGS", format!("-D warnings {cfg}"))
            .target_dir(target("faults").join(match self {
                // What they share is built once.
                Build::Program(_) => Build::Windows.to_string(),
                Build::Calls(Some(model)) => Build::Model(model).to_string(),
                other => other.to_string(),
            }))
    }

    /// The folder of the build.
    fn workspace(self, sources: &Path) -> PathBuf {
        match self {
            Build::Counts(_) => counts::workspace(sources),
            _ => sources.to_owned(),
        }
    }

    /// The program that is not built from a file of tests/.
    fn main(self) -> Target {
        match self {
            Build::Loom => Target::Loom,
            Build::Counts(bench) => Target::Counts(bench),
            Build::Calls(_) => Target::Calls,
            Build::FaultyKernel(_) | Build::FaultyWindows => Target::FaultyKernel,
            Build::Program(program) => Target::Windows(program),
            _ => Target::Lib,
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Build::Plain => "plain",
            Build::Model(name) => name,
            Build::Windows => "windows",
            Build::Program(program) => program.name(),
            Build::Loom => "loom",
            Build::Counts(Bench::Plain) => "counts",
            Build::Counts(Bench::ForcedPoll) => "counts-poll",
            Build::Calls(None) => "calls",
            Build::Calls(Some(model)) => return write!(f, "calls-{model}"),
            Build::FaultyKernel(None) => "faulty-kernel",
            Build::FaultyWindows => "faulty-windows",
            Build::FaultyKernel(Some(model)) => return write!(f, "faulty-kernel-{model}"),
        })
    }
}

/// Tests, by the target that they are in.
type Tests = BTreeMap<Target, BTreeSet<String>>;

fn by_build<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> BTreeMap<Build, Tests> {
    let mut all: BTreeMap<Build, Tests> = BTreeMap::new();
    for fault in faults {
        for (target, test) in &fault.header.tests {
            let tests = all.entry(Build::of(fault, target)).or_default();
            tests
                .entry(target.clone())
                .or_default()
                .insert(test.clone());
        }
    }
    all
}

pub type Env = BTreeMap<String, String>;

/// The results of all tests without a fault, in each build and environment.
type Sound = BTreeMap<(Build, Env, Target, String), Outcome>;

/// Runs every test that a fault names once, on unchanged sources: a test that fails there as well
/// notices nothing.
fn without_faults(runner: &Runner, faults: &[Fault]) -> Result<Sound> {
    let mut sound = Sound::new();
    for (build, tests) in by_build(faults) {
        let Some(programs) = runner.build(build, tests.keys())? else {
            bail!("{build}: does not compile, without any fault");
        };
        let envs: BTreeSet<&Env> = faults.iter().map(|fault| &fault.header.env).collect();
        for env in envs {
            let with_env = faults.iter().filter(|fault| fault.header.env == *env);
            for (target, tests) in by_build(with_env).remove(&build).unwrap_or_default() {
                let outcomes = runner.sound_outcomes(&target, &programs[&target], &tests, env)?;
                println!("without faults: {build}, {target}, {} tests", tests.len());
                for (test, outcome) in outcomes {
                    sound.insert((build, env.clone(), target.clone(), test), outcome);
                }
            }
        }
    }
    Ok(sound)
}

/// Why a fault cannot be judged: one of its tests does not pass without it.
fn unsound(sound: &Sound, fault: &Fault) -> Option<String> {
    fault.header.tests.iter().find_map(|(target, name)| {
        let build = Build::of(fault, target);
        let run = (
            build,
            fault.header.env.clone(),
            target.clone(),
            name.clone(),
        );
        match sound.get(&run) {
            Some(Outcome::Passed) => None,
            Some(other) => Some(format!("without the fault, {target} {name} {other}")),
            None => Some(format!("{target} {name} was not run without the fault")),
        }
    })
}

fn try_one(runner: &Runner, fault: &Fault) -> Result<Verdict> {
    let _undone_in_the_end = match runner.tree.apply(fault)? {
        Ok(undo) => undo,
        Err(why) => return Ok(Verdict::DoesNotApply(why)),
    };
    let mut noticed = Vec::new();
    for (build, tests) in by_build([fault]) {
        let Some(programs) = runner.build(build, tests.keys())? else {
            return Ok(Verdict::DoesNotCompile);
        };
        for (target, tests) in tests {
            let outcomes =
                runner.outcomes(&target, &programs[&target], &tests, &fault.header.env)?;
            for (test, outcome) in outcomes {
                match verdict::of(outcome, &target, &test, fault.header.may_be_killed) {
                    Verdict::Noticed(by) => noticed.push(by),
                    other => return Ok(other),
                }
            }
        }
    }
    Ok(Verdict::Noticed(noticed.join("; ")))
}

/// Builds the tests in the copy of the sources, and runs them.
struct Runner {
    tree: Tree,
    /// Started if a fault is in code for Windows.
    wine: Option<Wine>,
}

impl Runner {
    /// The test programs of targets, if they compile without a warning.
    fn build<'a>(
        &self,
        build: Build,
        targets: impl Iterator<Item = &'a Target> + Clone,
    ) -> Result<Option<BTreeMap<Target, PathBuf>>> {
        let mut cargo = build
            .cargo()?
            .arg("--quiet")
            .arg("--message-format=json-render-diagnostics")
            .dir(build.workspace(&self.tree.sources));
        for target in targets.clone() {
            cargo = match target {
                Target::Tests(file) => cargo.args(["--test", file]),
                Target::Lib | Target::Loom => cargo.arg("--lib"),
                // There is only one.
                Target::Counts(_) | Target::Calls | Target::FaultyKernel | Target::Windows(_) => {
                    cargo
                }
            };
        }
        let ended = cargo.quiet()?;
        if ended.timed_out.is_some() {
            ended.success()?;
        }
        if !ended.status.success() {
            return Ok(None);
        }
        let programs = verdict::test_programs(&ended.stdout, &build.main());
        for target in targets {
            if !programs.contains_key(target) {
                bail!("cargo has built no program of {target}");
            }
        }
        Ok(Some(programs))
    }

    /// Runs tests that are expected to pass.
    fn sound_outcomes(
        &self,
        target: &Target,
        program: &Path,
        tests: &BTreeSet<String>,
        env: &Env,
    ) -> Result<Vec<(String, Outcome)>> {
        if target.tells_itself() {
            return self.printed(target, program, tests, env);
        }
        let limit = TEST_LIMIT * tests.len() as u32;
        let ended = self.run(program, || self.harness(program, tests, env).limit(limit))?;
        Ok(of_each(tests, |test| verdict::outcome(&ended, test)))
    }

    /// Runs tests that are expected to fail.
    fn outcomes(
        &self,
        target: &Target,
        program: &Path,
        tests: &BTreeSet<String>,
        env: &Env,
    ) -> Result<Vec<(String, Outcome)>> {
        if target.tells_itself() {
            return self.printed(target, program, tests, env);
        }
        if *target != Target::Loom {
            let ended = self.run(program, || {
                self.harness(program, tests, env)
                    .env("MIO_TEST_PATIENCE", PATIENCE)
                    .limit(TEST_LIMIT)
            })?;
            return Ok(of_each(tests, |test| verdict::outcome(&ended, test)));
        }
        // Each test runs in its own process: one may abort, and its output must still be known.
        let mut outcomes = Vec::new();
        for test in tests {
            let ended = Cmd::all_output_of(program)
                .args([test, "--exact", "--nocapture"])
                .dir(&self.tree.sources)
                .env("RUST_BACKTRACE", "0")
                .limit(TEST_LIMIT)
                .quiet()?;
            outcomes.push((test.clone(), verdict::outcome_alone(&ended)));
        }
        Ok(outcomes)
    }

    /// Runs what is no harness.
    fn printed(
        &self,
        target: &Target,
        program: &Path,
        tests: &BTreeSet<String>,
        env: &Env,
    ) -> Result<Vec<(String, Outcome)>> {
        match target {
            Target::Calls => Ok(self.compared(program, tests)),
            Target::FaultyKernel => self.with_failures(program, tests, env),
            Target::Windows(which) => self.on_windows(*which, program, tests, env),
            _ => Ok(self.counted(program, tests)),
        }
    }

    /// Runs tests of a program for Windows.
    fn on_windows(
        &self,
        which: Program,
        program: &Path,
        tests: &BTreeSet<String>,
        env: &Env,
    ) -> Result<Vec<(String, Outcome)>> {
        let Some(wine) = &self.wine else {
            bail!("{} needs Wine", which.name());
        };
        let mut outcomes = Vec::new();
        for test in tests {
            let cmd = wine
                .command(program)
                .args(which.one(&self.tree.sources, test))
                .dir(&self.tree.sources)
                .limit(TEST_LIMIT);
            let cmd = env
                .iter()
                .fold(cmd, |cmd, (name, value)| cmd.env(name, value));
            let outcome = verdict::outcome_of_failures(&cmd.quiet()?, test);
            outcomes.push((test.clone(), outcome));
        }
        Ok(outcomes)
    }

    /// Counts the costs of operations with `cargo xtask counts`, and compares them with the copy's
    /// table.
    fn counted(&self, program: &Path, operations: &BTreeSet<String>) -> Vec<(String, Outcome)> {
        let only: Vec<String> = operations.iter().cloned().collect();
        let outcomes = counts::check(&self.tree.sources, program, &only);
        of_each(operations, |operation| {
            verdict::outcome_counted(&outcomes, operation)
        })
    }

    /// Compares the calls of operations with the copy's table.
    fn compared(&self, program: &Path, operations: &BTreeSet<String>) -> Vec<(String, Outcome)> {
        let outcomes = calls::check(&self.tree.sources, program, operations);
        of_each(operations, |operation| {
            verdict::outcome_counted(&outcomes, operation)
        })
    }

    /// Makes the system calls of operations fail. Each is a backend and a name.
    fn with_failures(
        &self,
        program: &Path,
        operations: &BTreeSet<String>,
        env: &Env,
    ) -> Result<Vec<(String, Outcome)>> {
        let mut outcomes = Vec::new();
        for backend_and_name in operations {
            let (backend, name) = backend_and_name.split_once(' ').unwrap_or_default();
            let command = || {
                let cmd = match self.wine_for(program) {
                    Some(wine) => wine.command(program),
                    None => Cmd::new(program),
                };
                let cmd = cmd
                    .args([backend, "--exact", name])
                    .dir(&self.tree.sources)
                    .env("MIO_TEST_PATIENCE", PATIENCE)
                    .limit(TEST_LIMIT);
                env.iter()
                    .fold(cmd, |cmd, (name, value)| cmd.env(name, value))
            };
            let ended = self.run(program, command)?;
            let outcome = verdict::outcome_of_failures(&ended, name);
            outcomes.push((backend_and_name.clone(), outcome));
        }
        Ok(outcomes)
    }

    fn run(&self, program: &Path, harness: impl Fn() -> Cmd) -> Result<Ended> {
        match self.wine_for(program) {
            Some(wine) => wine.run(harness),
            None => harness().quiet(),
        }
    }

    fn harness(&self, program: &Path, tests: &BTreeSet<String>, env: &Env) -> Cmd {
        let harness = match self.wine_for(program) {
            Some(wine) => wine.command(program),
            None => Cmd::new(program),
        };
        let harness = harness
            .args(tests)
            .arg("--exact")
            .dir(&self.tree.sources)
            // Otherwise the outputs of failing tests cannot be told apart.
            .env("RUST_TEST_NOCAPTURE", "0")
            .env("RUST_BACKTRACE", "0");
        env.iter()
            .fold(harness, |harness, (name, value)| harness.env(name, value))
    }

    /// The program that runs a test program, if it is for Windows.
    fn wine_for(&self, program: &Path) -> Option<&Wine> {
        let is_for_windows = program
            .extension()
            .is_some_and(|extension| extension == "exe");
        self.wine.as_ref().filter(|_| is_for_windows)
    }
}

fn of_each(tests: &BTreeSet<String>, outcome: impl Fn(&str) -> Outcome) -> Vec<(String, Outcome)> {
    let outcome = |test: &String| (test.clone(), outcome(test));
    tests.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(backend: &str, name: &str) -> Fault {
        Fault::noticed_by(backend, name, "test: lib a::b")
    }

    fn selected(backend: Option<&str>, only: &[&str]) -> Result<String> {
        let faults = vec![fault("epoll", "a"), fault("epoll", "b"), fault("poll", "c")];
        let args = Args {
            backend: backend.map(str::to_owned),
            only: only.iter().map(|name| name.to_string()).collect(),
            list: false,
            shard: None,
            check: false,
        };
        Ok(names(&select(faults, &args)?))
    }

    #[test]
    fn faults_are_selected_by_backend_and_name() {
        assert_eq!(selected(None, &[]).unwrap(), "epoll/a, epoll/b, poll/c");
        assert_eq!(selected(Some("poll"), &[]).unwrap(), "poll/c");
        assert_eq!(selected(None, &["c", "a"]).unwrap(), "epoll/a, poll/c");
        assert_eq!(selected(Some("epoll"), &["b"]).unwrap(), "epoll/b");
        assert!(selected(Some("kqueue"), &[]).is_err());
        assert!(selected(Some("epoll"), &["c"]).is_err());
    }

    #[test]
    fn each_backend_has_its_turn() {
        let faults = [
            ("epoll", "a"),
            ("epoll", "b"),
            ("epoll", "c"),
            ("kqueue", "a"),
            ("poll", "a"),
            ("poll", "b"),
        ];
        let faults = faults.map(|(backend, name)| fault(backend, name));
        let (first, others) = in_turn(faults.into(), 2);
        assert_eq!(names(&first), "epoll/a, kqueue/a, poll/a, epoll/b, poll/b");
        assert_eq!(names(&others), "epoll/c");
    }

    #[test]
    fn faults_are_built_for_the_model_of_their_backend() {
        let of = |backend, target| Build::of(&fault(backend, "a"), &target);
        assert_eq!(of("epoll", Target::Lib), Build::Plain);
        assert_eq!(of("kqueue", Target::Lib), Build::Model("kqueue"));
        let tests = Target::Tests("waker".to_owned());
        assert_eq!(of("event-ports", tests), Build::Model("event-ports"));
        assert_eq!(of("event-ports", Target::Loom), Build::Loom);
        assert_eq!(of("afd", Target::Lib), Build::Windows);
        assert_eq!(of("named-pipe", Target::Lib), Build::Windows);
        let failing = |model| Build::FaultyKernel(model);
        assert_eq!(of("poll", Target::FaultyKernel), failing(None));
        assert_eq!(of("afd", Target::FaultyKernel), Build::FaultyWindows);
        let of_model = failing(Some("kqueue"));
        assert_eq!(of("kqueue", Target::FaultyKernel), of_model);
        let counts = Target::Counts(Bench::ForcedPoll);
        assert_eq!(of("cost", counts), Build::Counts(Bench::ForcedPoll));
    }

    #[test]
    fn the_faults_that_are_there_have_headers() {
        let faults = load().unwrap();
        assert!(!faults.is_empty());
        let mut names = BTreeSet::new();
        for fault in &faults {
            assert!(names.insert(fault.to_string()), "{fault} appears twice");
        }
    }

    #[test]
    fn a_test_that_fails_anyway_is_no_measure() {
        let fault = fault("epoll", "a");
        let of = |outcome| {
            let test = (Build::Plain, Env::new(), Target::Lib, "a::b".to_owned());
            unsound(&Sound::from([(test, outcome)]), &fault)
        };
        assert_eq!(of(Outcome::Passed), None);
        let why = of(Outcome::NotRun).unwrap();
        assert!(why.starts_with("without the fault, lib a::b "), "{why}");
        assert!(unsound(&Sound::new(), &fault).is_some());
    }
}
