//! Checks the oracle itself: each fault of testing/faults that is about events is applied to a copy
//! of the sources. The oracle, built there, must find it, by the saved programs, by the table of
//! docs/EVENTS.md, or by random programs from each of three fixed seeds. A finding counts only if the
//! same program finds nothing without the fault right after it, because a busy machine is no fault.
//!
//! Two kinds of faults are left out: those that only loom, a count or a faulty kernel can notice,
//! and those that testing/oracle/not-found.txt lists.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};

use super::not_found::{self, NotFound};
use super::program::{
    build, found, kept_programs, limit, program_of_find, variant, Args, BACKENDS, PROGRAMS,
};
use crate::faults::{self, names, Build, Env, Fault, Tree};
use crate::report::Report;
use crate::sh::{Cmd, Ended};
use crate::shard::Shard;
use crate::target;

const SEEDS: [u64; 3] = [1, 2, 3];

/// The maximum of seconds of one run with a fault. On a busy machine half of the runs found it within 3 s, and one needed
/// 87 s (44 runs of `cargo xtask oracle --faults`).
const SECONDS: u64 = 300;

/// The seconds of the saved programs or of the table, including the confirmation of what they find.
const SHORT_SECONDS: u64 = 20;

/// The seconds of the run without a fault, which comes first.
const SOUND_SECONDS: u64 = 20;

pub fn run(args: &Args, backends: &[&str]) -> Result<()> {
    let faults = of_backends(faults::load()?, BACKENDS);
    let listed = NotFound::read(&faults)?;
    let wanted = Wanted {
        backends,
        only: &args.only,
        all: args.all,
        shard: args.shard,
    };
    let selected = wanted.select(faults, &listed)?;
    let seconds = args.seconds.unwrap_or(SECONDS);
    Report::of(|report| {
        selected.print_left_out();
        let tree = Tree::copy()?;
        let sound = without_faults(&tree, &selected.tried)?;
        for fault in &selected.tried {
            let outcome = try_one(&tree, &sound, fault, seconds)?;
            print_outcome(fault, &outcome, listed.reason(fault));
            report.one(&fault.to_string(), judge(outcome, listed.reason(fault)));
        }
        Ok(())
    })
}

/// The faults that the command line selects.
struct Wanted<'a> {
    backends: &'a [&'a str],
    only: &'a [String],
    /// The listed faults as well.
    all: bool,
    shard: Option<Shard>,
}

#[derive(Default)]
struct Selected {
    tried: Vec<Fault>,
    /// Only tests under loom, or counts, must notice them.
    not_about_events: Vec<Fault>,
    listed: Vec<Fault>,
}

impl Wanted<'_> {
    fn select(&self, faults: Vec<Fault>, listed: &NotFound) -> Result<Selected> {
        let mut selected = Selected::default();
        let faults = of_backends(faults, self.backends);
        if let Some(unknown) = self
            .only
            .iter()
            .find(|only| faults.iter().all(|fault| !is_called(fault, only)))
        {
            bail!("there is no fault {unknown:?}; `cargo xtask faults --list` shows them");
        }
        for fault in faults {
            if !self.only.is_empty() && !self.only.iter().any(|only| is_called(&fault, only)) {
                continue;
            }
            if fault.header.is_not_about_events() {
                selected.not_about_events.push(fault);
            } else if listed.reason(&fault).is_some() && !self.all {
                selected.listed.push(fault);
            } else {
                selected.tried.push(fault);
            }
        }
        if let Some(shard) = self.shard {
            selected.tried = shard.of(selected.tried);
        }
        Ok(selected)
    }
}

impl Selected {
    fn print_left_out(&self) {
        for (faults, why) in [
            (&self.not_about_events, "for loom or counts only"),
            (&self.listed, "without `--all`, listed in not-found.txt"),
        ] {
            if !faults.is_empty() {
                println!("left out, {why}: {}", names(faults));
            }
        }
        println!("{} faults to find", self.tried.len());
    }
}

fn of_backends(mut faults: Vec<Fault>, backends: &[&str]) -> Vec<Fault> {
    faults.retain(|fault| backends.contains(&fault.backend.as_str()));
    faults
}

/// Whether a fault has this name, or this `BACKEND/NAME`.
fn is_called(fault: &Fault, name: &str) -> bool {
    fault.name == name || fault.to_string() == name
}

/// Runs the oracle on unchanged sources, for each backend and environment. If it finds something
/// there, it would find every fault. Returns the oracle without faults, by backend.
fn without_faults<'a>(tree: &Tree, faults: &'a [Fault]) -> Result<BTreeMap<&'a str, PathBuf>> {
    let mut sound = BTreeMap::new();
    let runs: BTreeSet<(&str, &Env)> = faults
        .iter()
        .map(|fault| (fault.backend.as_str(), &fault.header.env))
        .collect();
    for (backend, env) in runs {
        let built = build_for(tree, backend).context("without faults")?;
        // Builds with a fault replace it.
        let kept = target("faults").join(format!("oracle-{backend}"));
        fs::copy(&built, &kept).with_context(|| kept.display().to_string())?;
        sound.insert(backend, kept.clone());
        let oracle = Oracle {
            tree,
            program: kept,
            backend,
            env,
        };
        let variant = variant(backend, env);
        for means in [Means::Programs, Means::Table, Means::Seed(SEEDS[0])] {
            let run = oracle.run(means, SOUND_SECONDS)?;
            println!("without faults, {variant}: {run}");
            if run.outcome != Outcome::NotFound {
                bail!("without faults, {variant}: {}", run.outcome);
            }
        }
    }
    Ok(sound)
}

/// Runs the oracle with a fault in the sources: the short means first, and then each seed. Returns
/// the reason if it can't be run with this fault.
fn try_one(
    tree: &Tree,
    sound: &BTreeMap<&str, PathBuf>,
    fault: &Fault,
    seconds: u64,
) -> Result<Result<Vec<Run>, String>> {
    let _undone_in_the_end = match tree.apply(fault)? {
        Ok(undo) => undo,
        Err(why) => return Ok(Err(format!("the patch does not apply: {why}"))),
    };
    let program = match build_for(tree, &fault.backend) {
        Ok(program) => program,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let oracle = Oracle {
        tree,
        program,
        backend: &fault.backend,
        env: &fault.header.env,
    };
    let sound = Oracle {
        program: sound[fault.backend.as_str()].clone(),
        ..oracle
    };
    let mut runs = Vec::new();
    for means in [Means::Programs, Means::Table] {
        let run = oracle.run_beside(&sound, means, seconds)?;
        let has_found = run.has_found();
        runs.push(run);
        if has_found {
            return Ok(Ok(runs));
        }
    }
    for seed in SEEDS {
        let run = oracle.run_beside(&sound, Means::Seed(seed), seconds)?;
        // One seed that does not find it decides.
        let decides = !run.has_found();
        runs.push(run);
        if decides {
            break;
        }
    }
    Ok(Ok(runs))
}

/// The folder in which the tests that must notice the backend's faults are built as well.
fn build_for(tree: &Tree, backend: &str) -> Result<PathBuf> {
    let cargo = Build::of_backend(backend).configure(Cmd::cargo("build"));
    build(cargo.dir(&tree.sources))
}

/// A means by which the oracle looks for a fault.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Means {
    /// The saved programs.
    Programs,
    /// The table of docs/EVENTS.md.
    Table,
    /// The random programs of a master seed.
    Seed(u64),
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Means::Programs => f.write_str("the kept programs"),
            Means::Table => f.write_str("the table"),
            Means::Seed(seed) => write!(f, "seed {seed}"),
        }
    }
}

/// The oracle of some sources, on a backend.
struct Oracle<'a> {
    tree: &'a Tree,
    program: PathBuf,
    backend: &'a str,
    env: &'a Env,
}

impl Oracle<'_> {
    /// Runs it until it finds something. `seconds` is the time for the programs of a seed.
    fn run(&self, means: Means, seconds: u64) -> Result<Run> {
        let mut args: Vec<OsString> = Vec::new();
        match means {
            Means::Programs => {
                // The copy of the sources contains them as well.
                let kept = kept_programs(&self.tree.sources.join(PROGRAMS))?;
                args.extend(["file", "--stop-at-first"].map(OsString::from));
                args.extend(kept.into_iter().map(OsString::from));
            }
            Means::Table => args.push("rates".into()),
            Means::Seed(seed) => {
                let (seconds, seed) = (seconds.to_string(), seed.to_string());
                let run = [
                    "run",
                    "--stop-at-first",
                    "--seconds",
                    &seconds,
                    "--seed",
                    &seed,
                ];
                args.extend(run.map(OsString::from));
            }
        }
        let limit = limit(match means {
            Means::Programs | Means::Table => SHORT_SECONDS,
            Means::Seed(_) => seconds,
        });
        let start = Instant::now();
        let ended = self.command(args).limit(limit).quiet()?;
        Ok(Run {
            means,
            took: start.elapsed(),
            outcome: Outcome::of(&ended),
            program: program_of_find(&ended.stdout).map(str::to_owned),
        })
    }

    /// Runs the oracle with a fault. A finding counts only if the oracle without the fault (`sound`) finds
    /// nothing by the same program, or by the same means if the program is not known.
    fn run_beside(&self, sound: &Oracle, means: Means, seconds: u64) -> Result<Run> {
        let mut run = self.run(means, seconds)?;
        if !run.has_found() {
            return Ok(run);
        }
        let again = match (means, &run.program) {
            (Means::Programs, Some(file)) => Some(vec!["file", file]),
            (Means::Seed(_), Some(seed)) => {
                let seed = seed.trim_start_matches("seed ");
                Some(vec!["show", "--seed", seed])
            }
            _ => None,
        };
        let is_sound = match again {
            // One run without a finding is enough: a report may be late on a busy machine.
            Some(args) => (0..3).any(|_| {
                let command = sound.command(&args).limit(limit(SHORT_SECONDS));
                let ended = command.quiet();
                ended.is_ok_and(|ended| Outcome::of(&ended) == Outcome::NotFound)
            }),
            None => sound.run(means, run.took.as_secs() + 1)?.outcome == Outcome::NotFound,
        };
        if !is_sound {
            run.outcome = Outcome::Failed("finds something without the fault, too".to_owned());
        }
        Ok(run)
    }

    fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        let run = Cmd::all_output_of(&self.program)
            .args(args)
            .args(["--backend", self.backend])
            .dir(&self.tree.sources)
            .env("RUST_BACKTRACE", "0");
        let env = self.env.iter();
        env.fold(run, |run, (name, value)| run.env(name, value))
    }
}

/// The result of the oracle with one means.
struct Run {
    means: Means,
    took: Duration,
    outcome: Outcome,
    /// The file of the program that found something, or `seed S`.
    program: Option<String>,
}

impl Run {
    fn has_found(&self) -> bool {
        matches!(self.outcome, Outcome::Found(_))
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// It found a failure of this kind.
    Found(String),
    NotFound,
    /// The oracle itself failed, for this reason. It has found nothing.
    Failed(String),
}

impl Outcome {
    fn of(ended: &Ended) -> Outcome {
        if let Some(limit) = ended.timed_out {
            return Outcome::Failed(format!("took longer than {} s", limit.as_secs()));
        }
        match (ended.status.code(), found(&ended.stdout)) {
            (Some(0), _) => Outcome::NotFound,
            (Some(1), Some(kind)) => Outcome::Found(kind.to_owned()),
            _ => {
                let last = ended.stdout.lines().last().unwrap_or("no output");
                Outcome::Failed(format!("ended with {}: {last}", ended.status))
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Found(kind) => write!(f, "found: {kind}"),
            Outcome::NotFound => f.write_str("not found"),
            Outcome::Failed(why) => write!(f, "the oracle {why}"),
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.took.as_secs_f64();
        write!(f, "{}, {took:.1} s, {}", self.means, self.outcome)?;
        let file = self.program.as_deref().map(Path::new);
        match file.and_then(Path::file_name).filter(|_| self.has_found()) {
            Some(name) => write!(f, " ({})", name.to_string_lossy()),
            None => Ok(()),
        }
    }
}

/// The means that found a fault: one of the short means, or all seeds. `None` if it was not found.
fn found_by(runs: &[Run]) -> Option<String> {
    let last = runs.last().filter(|last| last.has_found())?;
    Some(match last.means {
        Means::Seed(_) => {
            let means = runs.iter().filter(|run| run.has_found());
            let seeds: Vec<String> = means.map(|run| run.means.to_string()).collect();
            seeds.join(", ")
        }
        short => short.to_string(),
    })
}

fn print_outcome(fault: &Fault, outcome: &Result<Vec<Run>, String>, reason: Option<&str>) {
    match outcome {
        Err(why) => println!("{fault}: {why}"),
        Ok(runs) => {
            match (found_by(runs), reason) {
                (Some(by), None) => println!("{fault}: found by {by}"),
                (Some(by), Some(_)) => println!("{fault}: listed, but found by {by}"),
                (None, None) => println!("{fault}: not found"),
                (None, Some(reason)) => println!("{fault}: not found, as listed: {reason}"),
            }
            for run in runs {
                println!("    {run}");
            }
        }
    }
}

/// An error if a fault that is not listed was not found or could not be tried.
fn judge(outcome: Result<Vec<Run>, String>, reason: Option<&str>) -> Result<()> {
    let runs = outcome.map_err(|why| anyhow!("{why}"))?;
    if reason.is_some() || found_by(&runs).is_some() {
        return Ok(());
    }
    let last = runs.last().map(|run| run.means.to_string());
    bail!(
        "not found by {}; what the oracle can't find is listed in {}",
        last.unwrap_or_default(),
        not_found::PATH
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh::ended_after_output;

    fn selected(
        backends: &[&str],
        only: &[&str],
        all: bool,
        shard: Option<&str>,
    ) -> Result<String> {
        let fault = |backend, name| Fault::noticed_by(backend, name, "test: waker a::b");
        let faults = vec![
            fault("epoll", "a"),
            fault("epoll", "listed"),
            Fault::noticed_by("epoll", "loom", "test: loom c::d"),
            Fault::noticed_by("epoll", "loom-too", "test: lib a::b\ntest: loom c::d"),
            Fault::noticed_by("epoll", "counts", "test: counts turn/1/none"),
            fault("poll", "a"),
            fault("poll", "b"),
        ];
        let listed = NotFound::parse("epoll/listed: fork", &faults).unwrap();
        let only: Vec<String> = only.iter().map(|name| name.to_string()).collect();
        let wanted = Wanted {
            backends,
            only: &only,
            all,
            shard: shard.map(|shard| shard.parse().unwrap()),
        };
        Ok(names(&wanted.select(faults, &listed)?.tried))
    }

    #[test]
    fn faults_for_loom_or_counts_only_and_listed_faults_are_left_out() {
        let both = ["epoll", "poll"];
        assert_eq!(
            selected(&both, &[], false, None).unwrap(),
            "epoll/a, epoll/loom-too, poll/a, poll/b"
        );
        assert_eq!(
            selected(&["poll"], &[], false, None).unwrap(),
            "poll/a, poll/b"
        );
        let with_listed = selected(&both, &[], true, None).unwrap();
        assert_eq!(
            with_listed,
            "epoll/a, epoll/listed, epoll/loom-too, poll/a, poll/b"
        );
    }

    #[test]
    fn a_fault_is_selected_by_its_name_with_or_without_its_backend() {
        let only = |only: &str| selected(&["epoll", "poll"], &[only], false, None);
        assert_eq!(only("a").unwrap(), "epoll/a, poll/a");
        assert_eq!(only("poll/a").unwrap(), "poll/a");
        assert_eq!(only("listed").unwrap(), "");
        assert!(only("c").is_err());
        assert!(selected(&["poll"], &["epoll/a"], false, None).is_err());
    }

    #[test]
    fn a_shard_is_a_part_of_the_faults_that_are_tried() {
        let shard = |shard| selected(&["epoll", "poll"], &[], false, Some(shard)).unwrap();
        assert_eq!(shard("1/2"), "epoll/a, poll/a");
        assert_eq!(shard("2/2"), "epoll/loom-too, poll/b");
    }

    #[test]
    fn a_finding_needs_its_line_and_its_exit_status() {
        let of = |script: &str| Outcome::of(&Cmd::new("sh").args(["-c", script]).quiet().unwrap());
        let found = Outcome::Found("lost event, seed 7".to_owned());
        assert_eq!(of("echo FOUND lost event, seed 7; exit 1"), found);
        assert_eq!(of("echo 5 passed, 0 failed"), Outcome::NotFound);
        assert_eq!(of("exit 0"), Outcome::NotFound);
        for script in [
            "echo usage; exit 1",
            "echo FOUND lost event, seed 7; exit 2",
            "echo FOUND lost event, seed 7; kill -9 $$",
        ] {
            let outcome = of(script);
            assert!(matches!(outcome, Outcome::Failed(_)), "{script}: {outcome}");
        }
        let script = "echo FOUND lost event, seed 7; sleep 1000";
        let hangs = ended_after_output(|| Cmd::new("sh").args(["-c", script]));
        let outcome = Outcome::of(&hangs);
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome}");
    }

    fn runs(of: &[(Means, bool)]) -> Vec<Run> {
        let run = |&(means, found)| Run {
            means,
            took: Duration::ZERO,
            outcome: match found {
                true => Outcome::Found("lost event".to_owned()),
                false => Outcome::NotFound,
            },
            program: None,
        };
        of.iter().map(run).collect()
    }

    #[test]
    fn a_short_means_finds_a_fault_alone_and_of_the_seeds_all() {
        let (programs, table) = (Means::Programs, Means::Table);
        let seed = Means::Seed;
        let short = [(programs, false), (table, false)];
        let by = |of: &[(Means, bool)]| found_by(&runs(of));
        assert_eq!(by(&[(programs, true)]).unwrap(), "the kept programs");
        assert_eq!(
            by(&[(programs, false), (table, true)]).unwrap(),
            "the table"
        );
        let all = [short.to_vec(), SEEDS.map(|s| (seed(s), true)).to_vec()].concat();
        assert_eq!(by(&all).unwrap(), "seed 1, seed 2, seed 3");
        let not_by_2 = [short.to_vec(), vec![(seed(1), true), (seed(2), false)]].concat();
        assert_eq!(by(&not_by_2), None);
        assert_eq!(by(&short), None);
    }

    #[test]
    fn a_fault_that_is_not_listed_has_to_be_found() {
        let outcome = |found| Ok(runs(&[(Means::Seed(2), found)]));
        assert!(judge(outcome(true), None).is_ok());
        let error = judge(outcome(false), None).unwrap_err().to_string();
        assert!(error.starts_with("not found by seed 2;"), "{error}");
        assert!(judge(outcome(false), Some("fork")).is_ok());
        let unfit = || Err("the patch does not apply: there is no src/x.rs".to_owned());
        assert!(judge(unfit(), None).is_err());
        assert!(judge(unfit(), Some("fork")).is_err());
    }
}
