//! Which lines of `src/` no test reaches on any backend that this machine can run: the suite with each
//! backend, on each variant of the models' kernels, and the faulty kernel. Every line that nothing reaches
//! is in testing/coverage/uncovered.txt, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::left_out::List;
use crate::model::{self, Kernel};
use crate::report::Report;
use crate::sh::Cmd;
use crate::{faulty_kernel, harness, root, target, testing, tools};

mod lines;

use lines::Source;

const UNCOVERED: &str = "testing/coverage/uncovered.txt";

/// How the reason of a line begins that is reached by chance.
const SOMETIMES: &str = "sometimes: ";

/// The reason that `--bless` writes, for a person to replace.
const NO_REASON: &str = "?";

/// The name of all lines of a file that none of the builds compiles.
const NOT_COMPILED: &str = "not compiled";

/// The counters are in files that processes share with their forked children, so that a process counts
/// that ends by `_exit`, or is killed.
const FLAGS: &str = "-Cinstrument-coverage -Cllvm-args=-runtime-counter-relocation";

const LEFT_OUT: &str =
    "left out: doc tests, the examples and the oracle, whose runs are not counted";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Write what is found to testing/coverage/uncovered.txt; the reasons of new lines are for you to write
    #[arg(long)]
    bless: bool,
    /// Judge what the last run has left in target/coverage, after a change of the list and nothing else
    #[arg(long)]
    again: bool,
}

/// The crate, compiled with these flags: each line of it is reached if any of the builds reaches it.
struct Build {
    name: &'static str,
    cfg: String,
    kernels: Vec<Kernel>,
    /// Those that the faulty kernel is for.
    faulty: &'static [&'static str],
}

pub fn all() -> Result<()> {
    run(&Args::default())
}

pub fn run(args: &Args) -> Result<()> {
    let llvm = Llvm::new()?;
    println!("{LEFT_OUT}");
    Report::of(|report| {
        let mut reached = Reached::default();
        for build in builds() {
            if !args.again {
                build.run(&llvm, report)?;
            }
            for of in build.profiled() {
                reached.add(&llvm.lines(&of)?)?;
            }
        }
        let files = files()?;
        let mut list = List::read(UNCOVERED)?;
        let mut new = Vec::new();
        for file in &files {
            reached.judge(file, &mut list, &mut new)?.print(report);
        }
        let covered_now: Vec<&str> = list
            .unused()
            .filter(|(_, why)| !why.starts_with(SOMETIMES))
            .map(|(pattern, _)| pattern)
            .collect();
        if args.bless {
            bless(&covered_now, &new)?;
        }
        for pattern in covered_now {
            report.problem(format!(
                "{UNCOVERED}: nothing is left uncovered by {pattern:?}: remove the line (--bless does)"
            ));
        }
        for pattern in list.with_reason(NO_REASON) {
            report.problem(format!("{UNCOVERED}: {pattern:?} has no reason yet"));
        }
        reached.print_total(&files);
        Ok(())
    })
}

fn builds() -> Vec<Build> {
    let on_linux = |name, cfg: &str, faulty| Build {
        name,
        cfg: cfg.to_owned(),
        kernels: vec![&[]],
        faulty,
    };
    let on_model = |name, faulty| Build {
        name,
        cfg: model::cfg(name),
        kernels: model::kernels(name).to_vec(),
        faulty,
    };
    vec![
        on_linux("plain", "", &["epoll", "poll"]),
        on_linux("forced", testing::FORCED, &[]),
        on_model("kqueue", &["kqueue"]),
        on_model("event-ports", &["event-ports"]),
    ]
}

impl Build {
    fn folder(&self) -> PathBuf {
        target("coverage").join(self.name)
    }

    /// The profiles that it has: their paths without what follows a dot.
    fn profiled(&self) -> Vec<PathBuf> {
        let suite = self.folder().join("suite");
        let faulty = self.folder().join("faulty-kernel");
        match self.faulty {
            [] => vec![suite],
            _ => vec![suite, faulty],
        }
    }

    /// Runs the suite and the faulty kernel, and leaves their profiles.
    fn run(&self, llvm: &Llvm, report: &mut Report) -> Result<()> {
        let folder = self.folder();
        let host = tools::host()?;
        let suite = Cmd::cargo("test").args(["--lib", "--tests", "--all-features"]);
        let programs = harness::built(self.building(suite, &folder, &host))?;
        let profiles = Profiles::new(folder.join("suite.profraw"))?;
        for kernel in &self.kernels {
            println!("--- the suite, {}, switched by {kernel:?}", self.name);
            for program in &programs {
                let run = profiles.of(Cmd::new(program), kernel).quiet();
                if let Err(error) = run.and_then(|ended| ended.success()) {
                    report.problem(format!("{error:#}"));
                }
            }
        }
        profiles.merge(llvm, &programs)?;
        if !self.faulty.is_empty() {
            let cargo = self.building(faulty_kernel::cargo(), &folder, &host);
            cargo.run()?;
            let program = folder.join(host).join("release/faulty-kernel");
            let profiles = Profiles::new(folder.join("faulty-kernel.profraw"))?;
            let kernels = |backend| {
                model::kernels(backend)
                    .iter()
                    .map(move |one| (backend, *one))
            };
            let runs = self.faulty.iter().flat_map(|backend| kernels(*backend));
            let runs = runs.map(|(backend, kernel)| {
                let run = profiles.of(Cmd::new(&program).arg(backend), kernel);
                println!("$ {run}");
                run
            });
            // They wait, mostly.
            let runs: Vec<Cmd> = runs.collect();
            let ended: Vec<Result<()>> = thread::scope(|scope| {
                let runs = runs.into_iter();
                let threads: Vec<_> = runs
                    .map(|run| scope.spawn(|| run.quiet()?.success()))
                    .collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined.map(|ended| ended.expect("it ends")).collect()
            });
            for error in ended.into_iter().filter_map(Result::err) {
                report.problem(format!("{error:#}"));
            }
            profiles.merge(llvm, &[program])?;
        }
        Ok(())
    }

    /// With a target named, the flags are not for build scripts, which would leave profiles in their folders.
    fn building(&self, cargo: Cmd, folder: &Path, host: &str) -> Cmd {
        let flags = format!("{FLAGS} {}", self.cfg);
        let cargo = cargo.args(["--target", host]);
        cargo.env("RUSTFLAGS", flags.trim()).target_dir(folder)
    }
}

/// A folder of profiles, one for each process.
struct Profiles(PathBuf);

impl Profiles {
    /// An empty one.
    fn new(folder: PathBuf) -> Result<Profiles> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Profiles(folder))
    }

    /// A program that leaves a profile there, on this kernel.
    fn of(&self, program: Cmd, kernel: Kernel) -> Cmd {
        // `%c`: the counters are in the file all the time; `%p` is the process, `%m` its program.
        let program = program.env("LLVM_PROFILE_FILE", self.0.join("%c%p-%m.profraw"));
        let switches = kernel.iter();
        switches.fold(program, |program, (switch, value)| {
            program.env(switch, value)
        })
    }

    /// Puts all of them into one file, beside a list of their programs. Frees the disk.
    fn merge(self, llvm: &Llvm, programs: &[PathBuf]) -> Result<()> {
        let merge = Cmd::new(llvm.0.join("llvm-profdata"))
            // What a process that was killed has left may be no profile.
            .args(["merge", "--sparse", "--failure-mode=all", "-o"])
            .arg(self.0.with_extension("profdata"))
            .arg(&self.0);
        merge.quiet()?.success()?;
        let programs = programs.iter().map(|path| path.display().to_string());
        let programs: Vec<String> = programs.collect();
        fs::write(self.0.with_extension("programs"), programs.join("\n"))?;
        fs::remove_dir_all(&self.0)?;
        Ok(())
    }
}

/// The folder of LLVM's tools that read what this compiler writes.
struct Llvm(PathBuf);

impl Llvm {
    fn new() -> Result<Llvm> {
        Ok(Llvm(tools::need_llvm(&["llvm-profdata", "llvm-cov"])?))
    }

    /// How often each line ran by this profile, in the format of lcov.
    fn lines(&self, of: &Path) -> Result<String> {
        let profile = of.with_extension("profdata");
        let mut export = Cmd::new(self.0.join("llvm-cov"))
            .args(["export", "--format=lcov"])
            .arg(format!("--instr-profile={}", profile.display()));
        let list = of.with_extension("programs");
        let programs = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
        for (index, program) in programs.lines().enumerate() {
            export = match index {
                0 => export.arg(program),
                _ => export.arg("--object").arg(program),
            };
        }
        export.quiet()?.successful_stdout()
    }
}

/// The lines that some build has code for, by file, and whether one has run them.
#[derive(Default)]
struct Reached(BTreeMap<String, BTreeMap<usize, bool>>);

impl Reached {
    /// Adds what a profile says of `src/`.
    fn add(&mut self, lcov: &str) -> Result<()> {
        let mut file = None;
        let mut elsewhere = BTreeMap::new();
        for line in lcov.lines() {
            if let Some(path) = line.strip_prefix("SF:") {
                file = Some(match in_src(path) {
                    Some(path) => self.0.entry(path).or_default(),
                    None => &mut elsewhere,
                });
            } else if let Some(counts) = line.strip_prefix("DA:") {
                let parsed = counts.split_once(',').and_then(|(line, count)| {
                    Some((line.parse::<usize>().ok()?, count.parse::<u64>().ok()?))
                });
                let (Some((line, count)), Some(file)) = (parsed, &mut file) else {
                    bail!("llvm-cov writes {line:?}");
                };
                *file.entry(line).or_default() |= count > 0;
            }
        }
        Ok(())
    }

    /// Compares a file with the list, and adds the names of lines that are missing there to `new`.
    fn judge(&self, file: &str, list: &mut List, new: &mut Vec<String>) -> Result<Judged> {
        let source = Source::read(file)?;
        let lines = self.of(file, &source);
        let mut judged = Judged {
            file: file.to_owned(),
            lines: lines.len(),
            reached: lines.iter().filter(|(_, is_reached)| *is_reached).count(),
            missing: Vec::new(),
        };
        let mut uncovered: Vec<(usize, String)> = lines
            .into_iter()
            .filter(|(_, is_reached)| !is_reached)
            .map(|(line, _)| (line, source.name(line)))
            .collect();
        if judged.lines == 0 && source.has_code() {
            uncovered.push((1, NOT_COMPILED.to_owned()));
        }
        for (line, name) in uncovered {
            let name = format!("{file}: {name}");
            if list.reason_for(&name).is_none() {
                judged.missing.push(format!("line {line}: {name}"));
                new.push(name);
            }
        }
        Ok(judged)
    }

    /// Those of a file, without its unit tests.
    fn of(&self, file: &str, source: &Source) -> Vec<(usize, bool)> {
        let lines = self.0.get(file).into_iter().flatten();
        lines
            .map(|(line, is_reached)| (*line, *is_reached))
            .filter(|(line, _)| !source.is_test(*line))
            .collect()
    }

    fn print_total(&self, files: &[String]) {
        let all = files.iter().filter_map(|file| {
            let source = Source::read(file).ok()?;
            Some(self.of(file, &source))
        });
        let all: Vec<bool> = all.flatten().map(|(_, is_reached)| is_reached).collect();
        let reached = all.iter().filter(|is_reached| **is_reached).count();
        println!("{}", share("all", reached, all.len()));
    }
}

/// The name of a file below `src/`. A row names its calls by `platform/../calls`.
fn in_src(path: &str) -> Option<String> {
    let mut names = Vec::new();
    for name in Path::new(path).strip_prefix(root()).ok()?.iter() {
        match name.to_str()? {
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    (names.first() == Some(&"src")).then(|| names.join("/"))
}

/// What there is to say of a file.
struct Judged {
    file: String,
    lines: usize,
    reached: usize,
    /// Lines that nothing reaches, and that are not on the list.
    missing: Vec<String>,
}

impl Judged {
    fn print(self, report: &mut Report) {
        if self.reached < self.lines {
            println!("{}", share(&self.file, self.reached, self.lines));
        }
        let outcome = match self.missing[..] {
            [] => Ok(()),
            _ => Err(anyhow::anyhow!(
                "no test reaches\n  {}",
                self.missing.join("\n  ")
            )),
        };
        report.one(&self.file, outcome);
    }
}

fn share(what: &str, reached: usize, lines: usize) -> String {
    let percent = 100.0 * reached as f64 / lines as f64;
    format!("{what}: {reached} of {lines} lines, {percent:.1} %")
}

/// All of `src/`.
fn files() -> Result<Vec<String>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|name| name == "rs") {
                files.insert(path.strip_prefix(root())?.display().to_string());
            }
        }
    }
    Ok(files.into_iter().collect())
}

/// Writes the list without these patterns, and with these names.
fn bless(covered_now: &[&str], new: &[String]) -> Result<()> {
    let path = root().join(UNCOVERED);
    fs::write(
        &path,
        blessed(&fs::read_to_string(&path)?, covered_now, new),
    )?;
    println!("wrote {UNCOVERED}");
    Ok(())
}

fn blessed(text: &str, covered_now: &[&str], new: &[String]) -> String {
    let is_left = |line: &&str| match line.split_once(" -- ") {
        Some((pattern, _)) => !covered_now.contains(&pattern.trim()),
        None => true,
    };
    let old = text.lines().filter(is_left).map(str::to_owned);
    let new: BTreeSet<&String> = new.iter().collect();
    let new = new.iter().map(|name| format!("{name} -- {NO_REASON}"));
    old.chain(new).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lcov(counts: &str) -> String {
        let path = root().join("src/token.rs");
        format!("SF:{}\nFN:1,f\n{counts}\nend_of_record\n", path.display())
    }

    #[test]
    fn a_line_is_reached_if_any_build_reaches_it() {
        let mut reached = Reached::default();
        reached.add(&lcov("DA:1,0\nDA:2,7\nDA:3,0")).unwrap();
        reached.add(&lcov("DA:1,1\nDA:2,0\nDA:4,0")).unwrap();
        let lines: Vec<(usize, bool)> = reached.0["src/token.rs"].clone().into_iter().collect();
        assert_eq!(lines, [(1, true), (2, true), (3, false), (4, false)]);
        assert!(reached.add(&lcov("DA:1")).is_err());
    }

    #[test]
    fn a_line_that_nothing_reaches_fails_its_file_unless_it_is_listed() {
        let source = Source::read("src/token.rs").unwrap();
        let line = (1..).find(|&line| source.name(line).contains("fn from"));
        let line = line.unwrap();
        let mut reached = Reached::default();
        reached.add(&lcov(&format!("DA:{line},0"))).unwrap();
        let judge = |text| {
            let mut new = Vec::new();
            let mut list = List::parse("list", text).unwrap();
            let judged = reached.judge("src/token.rs", &mut list, &mut new);
            assert_eq!(new.len(), judged.unwrap().missing.len());
            new
        };
        assert_eq!(judge("").len(), 1);
        assert!(judge("src/token.rs: from: * -- it is short").is_empty());
    }

    #[test]
    fn only_files_of_the_crate_count_by_one_name() {
        let named = |path: &str| in_src(&root().join(path).display().to_string());
        let path = "src/sys/platform/../calls/pipe.rs";
        assert_eq!(named(path).unwrap(), "src/sys/calls/pipe.rs");
        assert_eq!(named("tests/waker.rs"), None);
        assert_eq!(in_src("/registry/src/lib.rs"), None);
    }

    #[test]
    fn a_file_that_is_not_compiled_is_listed_as_a_whole() {
        let reached = Reached::default();
        let mut new = Vec::new();
        let mut list = List::parse("list", "").unwrap();
        reached.judge("src/token.rs", &mut list, &mut new).unwrap();
        assert_eq!(new, ["src/token.rs: not compiled"]);
    }

    #[test]
    fn blessing_drops_what_is_covered_and_keeps_comments_and_reasons() {
        let text = "# Comment\na: f: x -- why\nb: f: y -- why\n";
        let new = ["c: f: z".to_owned(), "c: f: z".to_owned()];
        assert_eq!(
            blessed(text, &["a: f: x"], &new),
            "# Comment\nb: f: y -- why\nc: f: z -- ?\n"
        );
    }
}
