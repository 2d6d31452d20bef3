//! Mutation testing: cargo-mutants changes the library in one place at a time, and a test must fail.
//!
//! `testing/mutants/files.txt` names, for each file, the build that compiles it and the tests that must
//! notice its mutants. `testing/mutants/survivors.txt` lists the mutants that no program can observe, each
//! with its reason. Everything happens in a copy of the sources below target/mutants, which also contains
//! the builds.

mod list;
mod row;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};
use clap::Args as ClapArgs;

use crate::cross::{setting, Cross};
use crate::faults::Tree;
use crate::report::Report;
use crate::sh::Cmd;
use crate::shard::Shard;
use crate::tools::{self, NotRun};
use crate::wine::{self, Wine};
use crate::{model, target};
use list::{parse_names, Mutant};
use settings::{Build, Files, Group, Run, Survivors};

/// For all mutants of a group.
const LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// The seconds after which a test gives up waiting for an event that a mutant suppresses.
const PATIENCE: &str = "3";

/// Set for a harness, it takes options such as `--fail-fast`.
const UNSTABLE: &str = "RUSTC_BOOTSTRAP=1";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Only the mutants of these files, such as `src/pending.rs`
    files: Vec<String>,
    /// Only part K of N of the mutants, so that machines share the work
    #[arg(long, value_name = "K/N", conflicts_with = "list")]
    shard: Option<Shard>,
    /// Show the files, their tests and the number of their mutants, and check both lists, but run nothing
    #[arg(long)]
    list: bool,
}

/// What `full` runs.
pub fn part(shard: Shard) -> Result<()> {
    run(&Args {
        shard: Some(shard),
        ..Args::default()
    })
}

pub fn run(args: &Args) -> Result<()> {
    need_cargo_mutants()?;
    let files = Files::read()?;
    if let Some(unknown) = args.files.iter().find(|file| !files.has(file)) {
        bail!("{unknown:?} is none of the files that testing/mutants/files.txt has run");
    }
    let survivors = Survivors::read()?;
    Report::of(|report| {
        let groups = files.groups(&args.files);
        let mut runs = groups.iter().flat_map(|group| &group.runs);
        let needs_wine = runs.any(|run| run.build == Build::Windows);
        let copy = Copy {
            tree: Tree::copy_to("mutants")?,
            wine: match needs_wine && !args.list {
                true => Some(wine()?),
                false => None,
            },
            host: tools::host()?,
        };
        let mutants = copy.mutants()?;
        for problem in files.problems(&mutants) {
            report.problem(problem);
        }
        for problem in survivors.stale(&mutants, &files) {
            report.problem(problem);
        }
        for group in &groups {
            let of_group: Vec<&Mutant> = mutants.iter().filter(|one| group.has(one)).collect();
            println!("{group}: {} mutants", of_group.len());
            if args.list {
                report.passed(1);
            } else {
                copy.test(group, &of_group, args.shard, &survivors, report)?;
            }
        }
        for (file, why) in files.not_run() {
            let count = mutants.iter().filter(|one| one.file == file).count();
            println!("not run: {file}, {count} mutants: {why}");
        }
        Ok(())
    })
}

/// The first version whose reports this reads.
const OLDEST: u32 = 27;

fn need_cargo_mutants() -> Result<()> {
    let is_there = || {
        let version = Cmd::cargo("mutants").arg("--version").quiet();
        version.is_ok_and(|ended| major(&ended.stdout).is_some_and(|major| major >= OLDEST))
    };
    if is_there() {
        return Ok(());
    }
    let build = tempfile::tempdir()?;
    let install = Cmd::cargo("install")
        .args(["--locked", "cargo-mutants", "--version"])
        .arg(format!("^{OLDEST}"))
        .target_dir(build.path());
    tools::ask_before(&format!("cargo-mutants {OLDEST}"), &install.to_string())?;
    match install.run() {
        Err(error) => bail!(NotRun(format!(
            "cargo cannot install cargo-mutants: {error}"
        ))),
        Ok(()) if is_there() => Ok(()),
        Ok(()) => bail!("cargo has installed cargo-mutants, and does not find it"),
    }
}

/// `cargo-mutants 27.1.0`: 27.
fn major(version: &str) -> Option<u32> {
    let number = version.trim().strip_prefix("cargo-mutants ")?;
    number.split('.').next()?.parse().ok()
}

/// Wine, if rustup has the standard library that the tests need: the cargo of cargo-mutants builds none.
fn wine() -> Result<Wine> {
    if !Cross::new(wine::TARGET)?.has_std_of_rustup() {
        bail!(NotRun(format!(
            "rustup has no standard library for {}",
            wine::TARGET
        )));
    }
    Wine::start()
}

/// The copy of the sources, which cargo-mutants changes.
struct Copy {
    tree: Tree,
    /// Started if a group is built for Windows. It runs between the mutants, too.
    wine: Option<Wine>,
    /// The target of what runs here.
    host: String,
}

impl Copy {
    /// cargo-mutants, in the copy. Its settings are in `.cargo/mutants.toml`.
    fn cargo_mutants(&self) -> Cmd {
        Cmd::cargo("mutants").dir(&self.tree.sources)
    }

    /// All mutants, each once, although each row of `src/sys/platform/` names some files.
    fn mutants(&self) -> Result<Vec<Mutant>> {
        let names = self.cargo_mutants().args(["--list", "--colors", "never"]);
        let mutants = parse_names(&names.quiet()?.successful_stdout()?)?;
        if mutants.is_empty() {
            bail!("cargo-mutants lists no mutant");
        }
        Ok(mutants)
    }

    /// Tries the mutants of a group, or a part of them.
    fn test(
        &self,
        group: &Group,
        mutants: &[&Mutant],
        shard: Option<Shard>,
        survivors: &Survivors,
        report: &mut Report,
    ) -> Result<()> {
        let mut outcomes = Outcomes::default();
        for (index, run) in group.runs.iter().enumerate() {
            let (of_run, tried) = match index {
                0 => (self.try_in(run, mutants, Which::All(shard))?, mutants.len()),
                _ if outcomes.missed.is_empty() => break,
                _ => {
                    let missed = &outcomes.missed;
                    (self.try_in(run, missed, Which::Named)?, missed.len())
                }
            };
            if of_run.count() != tried && (index > 0 || shard.is_none()) {
                report.problem(format!("{run}: {} of {tried} were tried", of_run.count()));
            }
            outcomes.add(of_run);
        }
        outcomes.judge(group, survivors, report);
        Ok(())
    }

    fn try_in<'a>(&self, run: &Run, mutants: &[&'a Mutant], which: Which) -> Result<Outcomes<'a>> {
        self.keep_row(run.build)?;
        let ended = self.command(run, mutants, which).tee()?;
        // 2: a mutant survived. 3: the tests of one took too long.
        if ended.timed_out.is_some() || !matches!(ended.status.code(), Some(0 | 2 | 3)) {
            ended.success()?;
            bail!("{run}: cargo-mutants ended with {}", ended.status);
        }
        Outcomes::read(&output(), mutants)
    }

    fn command(&self, run: &Run, mutants: &[&Mutant], which: Which) -> Cmd {
        let paths: BTreeSet<&str> = mutants.iter().map(|one| &*one.path).collect();
        let mut cmd = self
            .cargo_mutants()
            .args(["--in-place", "--colors", "never", "--output"])
            .arg(output().parent().expect("it lies in a folder"));
        for path in paths {
            cmd = cmd.args(["--file", path]);
        }
        match which {
            Which::All(None) => {}
            Which::All(Some(shard)) => {
                let (part, parts) = shard.zero_based();
                cmd = cmd
                    .args(["--sharding", "round-robin", "--shard"])
                    .arg(format!("{part}/{parts}"));
            }
            Which::Named => {
                for mutant in mutants {
                    cmd = cmd.arg("--re").arg(mutant.pattern());
                }
            }
        }
        // For the build as well, which would otherwise be of all tests.
        for test in &run.tests {
            cmd = match test.as_str() {
                "lib" => cmd.arg("--cargo-arg=--lib"),
                file => cmd.arg(format!("--cargo-arg=--test={file}")),
            };
        }
        if let Some(model) = run.build.model() {
            cmd = cmd.env("RUSTFLAGS", model::cfg(model));
        }
        for (name, value) in &run.variables {
            cmd = cmd.env(name, value);
        }
        cmd = match self.wine.as_ref().filter(|_| run.build == Build::Windows) {
            Some(wine) => {
                let target = format!("--cargo-arg=--target={}", wine::TARGET);
                // It is not debugged, and this halves the time.
                let cargo = cmd.arg(target).env("CARGO_PROFILE_DEV_DEBUG", "0");
                // One test at a time: Wine's own locks were seen to hang a harness with several.
                wine.running_what_is_built(cargo, &[UNSTABLE, "RUST_TEST_THREADS=1"])
            }
            None => cmd.env(&setting(&self.host, "RUNNER"), format!("env {UNSTABLE}")),
        };
        // Many a test waits for an event that a mutant suppresses, so no test begins after the first failure.
        cmd = cmd.args(["--", "--", "-Zunstable-options", "--fail-fast"]);
        // A mutant is one change away from the one before: a build then takes a third of the time.
        cmd.env("CARGO_INCREMENTAL", "1")
            .env("MIO_TEST_PATIENCE", PATIENCE)
            .target_dir(target("mutants").join(run.build.to_string()))
            .limit(LIMIT)
    }

    /// Leaves only this build's row of `src/sys/platform/`, because cargo-mutants would otherwise try the
    /// mutants of a file once for each row that names it.
    fn keep_row(&self, build: Build) -> Result<()> {
        let path = "src/sys/mod.rs";
        let all = fs::read_to_string(crate::root().join(path)).context(path)?;
        let kept = row::keep(&all, build.row()).with_context(|| path.to_owned())?;
        fs::write(self.tree.sources.join(path), kept)?;
        Ok(())
    }
}

/// Which mutants of the files a run tries.
#[derive(Copy, Clone)]
enum Which {
    /// All, or a part of them.
    All(Option<Shard>),
    /// Those of the list.
    Named,
}

/// Where cargo-mutants writes what came of it.
fn output() -> PathBuf {
    target("mutants").join("mutants.out")
}

/// What came of the mutants that were tried.
#[derive(Default)]
struct Outcomes<'a> {
    missed: Vec<&'a Mutant>,
    caught: Vec<&'a Mutant>,
    /// Those that do not compile.
    unviable: Vec<&'a Mutant>,
}

impl<'a> Outcomes<'a> {
    fn read(folder: &std::path::Path, mutants: &[&'a Mutant]) -> Result<Outcomes<'a>> {
        let of = |names: &[&str]| -> Result<Vec<&'a Mutant>> {
            let mut found = BTreeSet::new();
            for name in names {
                let path = folder.join(name);
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                for one in parse_names(&text)? {
                    let index = mutants.iter().position(|known| known.is_at(&one));
                    let index = index.ok_or_else(|| anyhow!("{} is not in the list", one.name))?;
                    found.insert(index);
                }
            }
            Ok(found.into_iter().map(|index| mutants[index]).collect())
        };
        Ok(Outcomes {
            missed: of(&["missed.txt"])?,
            // A mutant that hangs has been noticed.
            caught: of(&["caught.txt", "timeout.txt"])?,
            unviable: of(&["unviable.txt"])?,
        })
    }

    /// Adds what came of the mutants that these have missed.
    fn add(&mut self, later: Outcomes<'a>) {
        self.missed = later.missed;
        self.caught.extend(later.caught);
        self.unviable.extend(later.unviable);
    }

    fn count(&self) -> usize {
        self.missed.len() + self.caught.len() + self.unviable.len()
    }

    /// Counts what was noticed. A survivor must be in the list, and nothing else.
    fn judge(&self, group: &Group, survivors: &Survivors, report: &mut Report) {
        for mutant in &self.missed {
            let outcome = match survivors.reason(&mutant.name) {
                Some(_) => Ok(()),
                None => Err(anyhow!("no test notices it, of {group}")),
            };
            report.one(&mutant.name, outcome);
        }
        for mutant in &self.caught {
            let outcome = match survivors.reason(&mutant.name) {
                Some(_) => Err(anyhow!("survivors.txt lists it, but a test notices it")),
                None => Ok(()),
            };
            report.one(&mutant.name, outcome);
        }
        for mutant in &self.unviable {
            if survivors.reason(&mutant.name).is_some() {
                report.problem(format!(
                    "{}: survivors.txt lists it, but it does not compile",
                    mutant.name
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_before_the_first_dot() {
        assert_eq!(major("cargo-mutants 27.1.0\n"), Some(27));
        assert_eq!(major("cargo-mutants"), None);
        assert_eq!(major("error: no such command"), None);
    }

    #[test]
    fn what_one_build_misses_another_one_may_notice() {
        let mutants = parse_names("a.rs:1:1: a\na.rs:2:1: b\na.rs:3:1: c\na.rs:4:1: d\n").unwrap();
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| &mutants[index]);
        let mut outcomes = Outcomes::default();
        outcomes.add(Outcomes {
            missed: vec![a, b, c],
            caught: vec![d],
            unviable: vec![],
        });
        outcomes.add(Outcomes {
            missed: vec![a],
            caught: vec![b],
            unviable: vec![c],
        });
        assert_eq!(outcomes.missed, [a]);
        assert_eq!(outcomes.caught, [d, b]);
        assert_eq!(outcomes.unviable, [c]);
    }

    #[test]
    fn a_survivor_must_be_listed_and_nothing_else() {
        let all = "src/a.rs:1:1: a\nsrc/a.rs:2:1: b\nsrc/a.rs:3:1: c\nsrc/a.rs:4:1: d\n";
        let mutants = parse_names(all).unwrap();
        let mutants: Vec<&Mutant> = mutants.iter().collect();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("missed.txt", "src/a.rs:1:1: a\n"),
            ("caught.txt", "src/a.rs:2:1: b\n"),
            ("timeout.txt", "src/a.rs:3:1: c\n"),
            ("unviable.txt", "src/a.rs:4:1: d\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let outcomes = Outcomes::read(folder.path(), &mutants).unwrap();
        assert_eq!(outcomes.count(), 4);
        let files = Files::parse("linux: lib\n    src/a.rs\n").unwrap();
        let group = &files.groups(&[])[0];
        let judged = |survivors: &str| {
            let survivors = Survivors::parse(survivors).unwrap();
            Report::of(|report| {
                outcomes.judge(group, &survivors, report);
                Ok(())
            })
        };
        assert!(judged("src/a.rs: a -- why\n").is_ok());
        assert!(judged("").is_err());
        for too_many in ["b", "c", "d"] {
            let list = format!("src/a.rs: a -- why\nsrc/a.rs: {too_many} -- why\n");
            assert!(judged(&list).is_err(), "{too_many}");
        }
    }
}
