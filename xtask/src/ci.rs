//! The list of steps, and how they are run together.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::budget::{self, Budget, Cost};
use crate::sh::Cmd;
use crate::shard::Shard;
use crate::tools::NotRun;
use crate::{
    android, api, bench, build_cost, calls, counts, coverage, cpus, examples, faults,
    faulty_kernel, fuzz, interop, kernels, layers, licences, link, lint, load, miri, model, msrv,
    mutants, oracle, os_names, package, programs, readme, target, targets, testing, valgrind, wine,
};

type Step = (&'static str, fn() -> Result<()>);

/// A step of which `full` runs a part.
type SharedStep = (&'static str, fn(Shard) -> Result<()>);

/// Cheap steps come first: most mistakes show within a minute.
const CI: &[Step] = &[
    ("fmt", lint::fmt),
    ("msrv", msrv::run),
    ("licences", licences::run),
    ("layers", layers::run),
    ("os-names", os_names::run),
    ("faults-check", || faults::check_all(runs)),
    ("clippy", lint::clippy),
    ("xtask-test", testing::xtask),
    ("test", testing::plain),
    ("doc", lint::doc),
    ("features", lint::features),
    ("api", || api::run(&api::Args::default())),
    ("package", package::run),
    ("examples", examples::run),
    ("readme", || readme::run(runs)),
    ("calls", || calls::run(&calls::Args::default())),
    ("faulty-kernel", || {
        faulty_kernel::run(&faulty_kernel::Args::default())
    }),
    ("counts", || counts::run(&counts::Args::default())),
    ("bench-test", bench::tried),
    ("forced", testing::forced),
    ("model", model::all),
    ("oracle", oracle::all),
    ("loom", testing::loom),
    ("asan", testing::sanitizers),
    ("tsan", testing::threads),
    ("c10k", programs::c10k),
    ("interop", interop::run),
    ("wine", wine::all),
    ("valgrind", valgrind::tests),
    ("android", android::run),
];

/// The steps that find most mistakes, and need only Rust and a C compiler.
const QUICK: &[Step] = &[
    ("fmt", lint::fmt),
    ("clippy", lint::quick_clippy),
    ("test", testing::plain),
    ("doc", lint::doc),
];

/// The steps that `full` runs in a longer form.
const ONLY_CI: &[Step] = &[
    ("targets", targets::bounded),
    ("link", link::bounded),
    ("cpus", cpus::bounded),
    ("faults", faults::bounded),
];

/// The steps that `full` adds, with about the seconds that each takes.
const ONLY_FULL: &[(Step, u64)] = &[
    (("targets", || targets::run(&targets::Args::default())), 700),
    (("link", || link::run(&link::Args::default())), 200),
    (("cpus", || cpus::run(&cpus::Args::default())), 500),
    (("kernels", kernels::all), 1500),
    (("load", load::all), 660),
    (("load-faults", load::all_faults), 200),
    (("kqueue-library", model::as_library), 90),
    (("build-cost", build_cost::run), 60),
    (("valgrind-c10k", valgrind::c10k), 60),
    (("wine-10", wine::on_newer), 200),
    (("faulty-windows", faulty_kernel::on_windows), 300),
    (("miri", miri::all), 900),
    (("coverage", coverage::all), 500),
    (("fuzz", fuzz::all), 120),
    (("fuzz-faults", fuzz::all_faults), 300),
];

/// The steps that `full` adds, and divides: each part of `full` runs a part of each of them.
const SHARED: &[SharedStep] = &[
    ("faults", faults::part),
    ("oracle-faults", oracle::part_of_faults),
    ("mutants", mutants::part),
];

/// Whether a chore of this name is a step of `ci` or `full`, or a list of steps.
pub fn runs(chore: &str) -> bool {
    let steps = CI.iter().chain(ONLY_CI).map(|(name, _)| *name);
    let of_full = ONLY_FULL.iter().map(|((name, _), _)| *name);
    let shared = SHARED.iter().map(|(name, _)| *name);
    let lists = ["quick", "ci", "full"].into_iter();
    lists
        .chain(steps)
        .chain(of_full)
        .chain(shared)
        .any(|name| name == chore)
}

/// The steps to run while working on a change.
pub fn quick() -> Result<()> {
    conclude(&run(whole(QUICK), |_| Ok(()))?)
}

/// Every step that decides whether a change may go in.
pub fn ci() -> Result<()> {
    build_small();
    let budget = budget()?;
    let steps = whole(CI).chain(whole(ONLY_CI));
    let mut results = run(steps, |_| Ok(()))?;
    results.judge(&budget, |_| true);
    conclude(&results)
}

/// The steps of `ci`, and those that take longer; or a part of them. The results are also written to a file
/// in target/full, after each step: what is interrupted has the results of the steps before, and `resume` keeps
/// those that have passed on the same commit.
pub fn full(shard: Shard, resume: bool) -> Result<()> {
    build_small();
    let budget = budget()?;
    // Read before a step can change it.
    let mut revision = revision()?;
    let seconds = |name: &str| budget.seconds(name);
    let steps = CI.iter().map(|step| (*step, seconds(step.0)));
    let steps: Vec<(Step, u64)> = steps.chain(ONLY_FULL.iter().copied()).collect();
    let steps: Vec<Step> = part(&steps, shard);
    let shared = SHARED.iter().map(|(name, step)| -> Task {
        let step = *step;
        (name, Box::new(move || step(shard)))
    });
    let mut tasks: Vec<Task> = whole(&steps).chain(shared).collect();
    let path = target("full").join(shard.file_name());
    fs::create_dir_all(target("full"))?;
    let mut before = Results::default();
    if resume {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let names: Vec<&'static str> = tasks.iter().map(|(name, _)| *name).collect();
        (revision, before) =
            kept(&text, &revision, &names).with_context(|| path.display().to_string())?;
        tasks.retain(|(name, _)| !before.has(name));
    }
    let kept = before.steps.iter().map(|step| step.name);
    let names: Vec<&str> = kept.chain(tasks.iter().map(|(name, _)| *name)).collect();
    let record = |results: &Results| -> Result<()> {
        fs::write(&path, recorded(&revision, results, &names))?;
        Ok(())
    };
    let mut results = run_after(before, tasks.into_iter(), record)?;
    if shard.is_whole() {
        // The budget is that of `ci`, where a step finds what the steps before it have built.
        results.judge(&budget, |step| CI.iter().any(|(name, _)| *name == step));
        record(&results)?;
    }
    println!("{}", path.display());
    if results.total().wall > PART_OF_FULL {
        println!("WARNING: more than an hour: divide it into more parts");
    }
    conclude(&results)
}

/// The file of results: of which commit, and which of the steps `names` are left.
fn recorded(revision: &str, results: &Results, names: &[&str]) -> String {
    let table = results.table();
    match &names[results.steps.len()..] {
        [] => format!("{revision}\n{table}"),
        left => format!("{revision}\n{table}not run yet: {}\n", left.join(", ")),
    }
}

/// What a file of results keeps for another run on the same commit: the revisions of all runs, and the steps of
/// `names` that have passed.
fn kept(text: &str, revision: &str, names: &[&'static str]) -> Result<(String, Results)> {
    let (commit, run) = revision.split_once('\n').context("no commit")?;
    let (runs, table) = text.split_once("\n\n").context("no table of results")?;
    let commit_before = runs.lines().next().unwrap_or_default();
    if commit_before != commit || commit.contains(CHANGED) {
        bail!("its results are those of {commit_before}, and this is {commit}");
    }
    let steps = table.lines().filter_map(|line| passed(line, names));
    let results = Results {
        steps: steps.collect(),
    };
    Ok((format!("{runs}\n{run}"), results))
}

/// The step of a line of the table, if it has passed.
fn passed(line: &str, names: &[&'static str]) -> Option<Ended> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, "ok", wall, "s", cpu, "s", "CPU"] = words[..] else {
        return None;
    };
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    Some(Ended {
        name: names.iter().find(|known| **known == name)?,
        outcome: Outcome::Ok,
        cost: Cost {
            wall: seconds(wall)?,
            cpu: seconds(cpu)?,
        },
        why: None,
    })
}

/// The maximum time for a part of `full`.
const PART_OF_FULL: Duration = Duration::from_secs(60 * 60);

/// The steps of this part: each goes to the part that has the least to do, the longest ones first.
fn part(steps: &[(Step, u64)], shard: Shard) -> Vec<Step> {
    let (part, parts) = shard.zero_based();
    let mut longest_first: Vec<usize> = (0..steps.len()).collect();
    longest_first.sort_by_key(|&step| std::cmp::Reverse(steps[step].1));
    let mut seconds = vec![0; parts];
    let mut mine = Vec::new();
    for step in longest_first {
        let least = seconds.iter().min().copied().unwrap_or(0);
        let of = seconds.iter().position(|&seconds| seconds == least);
        let of = of.expect("there is a part");
        seconds[of] += steps[step].1;
        if of == part {
            mine.push(step);
        }
    }
    mine.sort_unstable();
    mine.into_iter().map(|step| steps[step].0).collect()
}

/// Follows the commit's name.
const CHANGED: &str = ", with changes that are not committed";

/// What the results belong to: commit, compiler, kernel and date.
fn revision() -> Result<String> {
    let of = |program: &str, args: &[&str]| -> Result<String> {
        let text = Cmd::new(program).args(args).quiet()?.successful_stdout()?;
        Ok(text.trim().to_owned())
    };
    let commit = of("git", &["rev-parse", "HEAD"])?;
    let changes = match of("git", &["status", "--porcelain"])?.is_empty() {
        true => "",
        false => CHANGED,
    };
    let (rustc, kernel) = (of("rustc", &["--version"])?, of("uname", &["-sr"])?);
    let date = of("date", &["-u", "+%Y-%m-%d %H:%M"])?;
    Ok(format!(
        "commit {commit}{changes}\n{rustc}, {kernel}, {date}\n"
    ))
}

/// Makes the steps' builds smaller on the disk: nothing here is built again after a change, or
/// debugged, and backtraces need only line numbers.
fn build_small() {
    for (name, value) in [
        ("CARGO_INCREMENTAL", "0"),
        ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
    ] {
        if env::var_os(name).is_none() {
            env::set_var(name, value);
        }
    }
}

fn budget() -> Result<Budget> {
    let steps = CI.iter().chain(ONLY_CI);
    Budget::read(&steps.map(|(name, _)| *name).collect::<Vec<_>>())
}

/// The result of a step.
struct Ended {
    name: &'static str,
    outcome: Outcome,
    cost: Cost,
    /// Why it failed, or could not be run.
    why: Option<String>,
}

#[derive(Copy, Clone, PartialEq)]
enum Outcome {
    Ok,
    Failed,
    NotRun,
}

impl Outcome {
    fn of(result: &Result<()>) -> Outcome {
        match result {
            Ok(_) => Outcome::Ok,
            Err(error) if error.is::<NotRun>() => Outcome::NotRun,
            Err(_) => Outcome::Failed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "NOT RUN",
        }
    }
}

/// A step, and how it is run.
type Task = (&'static str, Box<dyn Fn() -> Result<()>>);

fn whole(steps: &[Step]) -> impl Iterator<Item = Task> + '_ {
    steps
        .iter()
        .map(|(name, step)| -> Task { (name, Box::new(*step)) })
}

/// The results of the steps that have ended.
#[derive(Default)]
struct Results {
    steps: Vec<Ended>,
}

impl Results {
    fn count(&self, outcome: Outcome) -> usize {
        let steps = self.steps.iter();
        steps.filter(|step| step.outcome == outcome).count()
    }

    /// Fails those of the steps with a budget that have cost too much, compared with each other.
    fn judge(&mut self, budget: &Budget, has_budget: impl Fn(&str) -> bool) {
        let judged = || self.steps.iter().filter(|step| has_budget(step.name));
        let slowness = budget.slowness(judged().map(|step| (step.name, step.cost)));
        println!("this machine needs {slowness:.1} times the CPU seconds of CONTRIBUTING.md");
        for step in self.steps.iter_mut().filter(|step| has_budget(step.name)) {
            match budget.judge(step.name, step.cost, slowness) {
                Ok(None) => {}
                Ok(Some(warning)) => println!("WARNING: {}: {warning}", step.name),
                Err(error) if step.outcome == Outcome::Ok => {
                    step.outcome = Outcome::Failed;
                    step.why = Some(format!("{error:#}"));
                }
                Err(_) => {}
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.name == name)
    }

    /// What the steps have cost together.
    fn total(&self) -> Cost {
        let costs = || self.steps.iter().map(|step| step.cost);
        Cost {
            wall: costs().map(|cost| cost.wall).sum(),
            cpu: costs().map(|cost| cost.cpu).sum(),
        }
    }

    fn table(&self) -> String {
        table(&self.steps, self.total())
    }
}

/// Runs all of `steps`, even after one has failed. `record` is called before the first step and after each one.
fn run(
    steps: impl Iterator<Item = Task>,
    record: impl Fn(&Results) -> Result<()>,
) -> Result<Results> {
    run_after(Results::default(), steps, record)
}

/// Adds the results of `steps` to those of steps that were run before.
fn run_after(
    mut results: Results,
    steps: impl Iterator<Item = Task>,
    record: impl Fn(&Results) -> Result<()>,
) -> Result<Results> {
    // What else an earlier run has left is not a result of this one.
    record(&results)?;
    for (name, step) in steps {
        println!("\n=== {name}");
        let step_start = Instant::now();
        let cpu_before = budget::cpu_of_children()?;
        let result = step();
        let cost = Cost {
            wall: step_start.elapsed(),
            cpu: budget::cpu_of_children()? - cpu_before,
        };
        let outcome = Outcome::of(&result);
        let (word, wall) = (outcome.word(), seconds(cost.wall));
        let why = result.err().map(|error| format!("{error:#}"));
        match &why {
            None => println!("=== {name}: {word}, {wall}"),
            Some(why) => println!("=== {name}: {word}, {wall}: {why}"),
        }
        results.steps.push(Ended {
            name,
            outcome,
            cost,
            why,
        });
        record(&results)?;
    }
    Ok(results)
}

/// Prints the table, and below it again why steps failed or could not be run, for readers who have only the end of
/// a log. Fails if a step has failed.
fn conclude(results: &Results) -> Result<()> {
    print!("\n{}", results.table());
    print!("{}", reasons(&results.steps));
    let not_run = results.count(Outcome::NotRun);
    if not_run > 0 {
        println!("{not_run} steps were NOT RUN");
    }
    let failed = results.count(Outcome::Failed);
    if failed > 0 {
        bail!("{failed} of {} steps failed", results.steps.len());
    }
    Ok(())
}

/// Why steps failed or could not be run.
fn reasons(results: &[Ended]) -> String {
    let reason = |step: &Ended| {
        let why = step.why.as_ref()?;
        Some(format!("{}: {}: {why}\n", step.outcome.word(), step.name))
    };
    results.iter().filter_map(reason).collect()
}

/// A line for each step: its seconds, then its CPU seconds.
fn table(results: &[Ended], total: Cost) -> String {
    let names = results.iter().map(|step| step.name.len());
    let width = names.max().unwrap_or(0);
    let line = |name: &str, outcome: &str, cost: Cost| {
        let [wall, cpu] = [cost.wall, cost.cpu].map(seconds);
        format!("{name:width$}  {outcome:7}  {wall:>8}  {cpu:>8} CPU\n")
    };
    let mut table = String::new();
    for step in results {
        table += &line(step.name, step.outcome.word(), step.cost);
    }
    table + &line("total", "", total)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(wall: u64, cpu: u64) -> Cost {
        Cost {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
        }
    }

    #[test]
    fn the_table_names_what_failed() {
        let ended = |name, outcome, cost| Ended {
            name,
            outcome,
            cost,
            why: None,
        };
        let results = [
            ended("fmt", Outcome::Ok, cost(1260, 900)),
            ended("clippy", Outcome::Failed, cost(100_000, 150_000)),
            ended("tsan", Outcome::NotRun, cost(100, 100)),
        ];
        assert_eq!(
            table(&results, cost(102_000, 151_000)),
            "fmt     ok          1.3 s     0.9 s CPU\n\
             clippy  FAILED    100.0 s   150.0 s CPU\n\
             tsan    NOT RUN     0.1 s     0.1 s CPU\n\
             total             102.0 s   151.0 s CPU\n"
        );
    }

    #[test]
    fn a_failing_step_fails_the_whole_but_does_not_stop_it() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static RAN: AtomicBool = AtomicBool::new(false);
        let later = || {
            RAN.store(true, Ordering::Relaxed);
            Ok(())
        };
        let ended = |steps: &[Step]| conclude(&run(whole(steps), |_| Ok(())).unwrap());
        assert!(ended(&[("bad", || bail!("on purpose")), ("good", later)]).is_err());
        assert!(RAN.load(Ordering::Relaxed));
        let results = run(whole(&[("bad", || bail!("on purpose"))]), |_| Ok(())).unwrap();
        assert_eq!(reasons(&results.steps), "FAILED: bad: on purpose\n");
        assert!(ended(&[("good", || Ok(()))]).is_ok());
    }

    #[test]
    fn a_step_that_cannot_be_run_is_no_failure() {
        fn not_run() -> Result<()> {
            bail!(NotRun("on purpose".to_owned()))
        }
        assert!(Outcome::of(&not_run().context("why")) == Outcome::NotRun);
        let results = run(whole(&[("absent", not_run)]), |_| Ok(())).unwrap();
        assert!(conclude(&results).is_ok());
        assert_eq!(results.count(Outcome::NotRun), 1);
        assert_eq!(
            reasons(&results.steps),
            "NOT RUN: absent: not run: on purpose\n"
        );
    }

    #[test]
    fn results_are_recorded_after_each_step_with_the_steps_that_are_left() {
        let names = ["good", "bad"];
        let steps: [Step; 2] = [("good", || Ok(())), ("bad", || bail!("on purpose"))];
        let records = std::cell::RefCell::new(Vec::new());
        let record = |results: &Results| {
            records
                .borrow_mut()
                .push(recorded("commit 1\n", results, &names));
            Ok(())
        };
        run(whole(&steps), record).unwrap();
        let records = records.into_inner();
        // The first two words of each line, without those of the revision and of the total.
        let brief = |record: &String| -> Vec<String> {
            let lines = record.lines().skip(2);
            let lines = lines.filter(|line| !line.starts_with("total"));
            let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
            words
                .map(|words| match words[..] {
                    ["not", ..] => words.join(" "),
                    _ => words[..2].join(" "),
                })
                .collect()
        };
        assert!(records
            .iter()
            .all(|record| record.starts_with("commit 1\n\n")));
        let records: Vec<_> = records.iter().map(brief).collect();
        assert_eq!(
            records,
            [
                vec!["not run yet: good, bad"],
                vec!["good ok", "not run yet: bad"],
                vec!["good ok", "bad FAILED"],
            ]
        );
    }

    #[test]
    fn what_has_passed_on_the_same_commit_is_kept() {
        let ran = |commit: &str| {
            let steps: [Step; 2] = [("good", || Ok(())), ("bad", || bail!("on purpose"))];
            let mut results = run(whole(&steps), |_| Ok(())).unwrap();
            results.steps[0].cost = cost(1500, 2500);
            let names = ["good", "bad", "left"];
            recorded(&format!("commit {commit}\nMonday\n"), &results, &names)
        };
        let text = ran("1");
        let names = ["left", "good", "bad"];
        let (revision, before) = kept(&text, "commit 1\nTuesday\n", &names).unwrap();
        assert_eq!(revision, "commit 1\nMonday\nTuesday\n");
        let lines: Vec<_> = before
            .steps
            .iter()
            .map(|step| (step.name, step.cost))
            .collect();
        assert_eq!(lines, [("good", cost(1500, 2500))]);
        assert_eq!(names.map(|name| before.has(name)), [false, true, false]);
        assert_eq!(
            recorded(&revision, &before, &["good", "left", "bad"]),
            "commit 1\nMonday\nTuesday\n\n\
             good  ok          1.5 s     2.5 s CPU\n\
             total              1.5 s     2.5 s CPU\n\
             not run yet: left, bad\n"
        );
        // A third run finds what the first two have left.
        let third = recorded(&revision, &before, &["good", "left", "bad"]);
        let (revision, before) = kept(&third, "commit 1\nFriday\n", &names).unwrap();
        assert_eq!(revision, "commit 1\nMonday\nTuesday\nFriday\n");
        assert_eq!(before.steps.len(), 1);

        assert!(kept(&text, "commit 2\nTuesday\n", &names).is_err());
        let changed = format!("1{CHANGED}");
        let revision = format!("commit {changed}\nTuesday\n");
        assert!(kept(&ran(&changed), &revision, &names).is_err());
        assert!(kept("commit 1\n", "commit 1\nTuesday\n", &names).is_err());
    }

    #[test]
    fn a_step_that_costs_too_much_beside_the_others_has_failed() {
        let table = "| `a` | | 10 | 10 |\n| `b` | | 10 | 10 |\n| `c` | | 10 | 10 |";
        let budget = Budget::parse(table).unwrap();
        let judged = |cpu: [u64; 4]| {
            let step = |(name, cpu)| Ended {
                name,
                outcome: Outcome::Ok,
                cost: cost(10_000, cpu),
                why: None,
            };
            let mut results = Results {
                steps: ["a", "b", "c", "d"]
                    .into_iter()
                    .zip(cpu)
                    .map(step)
                    .collect(),
            };
            results.judge(&budget, |name| name != "d");
            let why = results.steps[2].why.clone().unwrap_or_default();
            (conclude(&results).is_ok(), why)
        };
        // The last has no budget.
        assert!(judged([20_000, 20_000, 60_000, 900_000]).0);
        let (ok, why) = judged([20_000, 20_000, 61_000, 0]);
        assert!(!ok && why.starts_with("61 CPU seconds"), "{why}");
    }

    #[test]
    fn each_step_is_in_one_part_and_the_parts_take_about_as_long() {
        let nothing: fn() -> Result<()> = || Ok(());
        let steps = [("a", 10), ("b", 30), ("c", 15), ("d", 5), ("e", 1)];
        let steps = steps.map(|(name, seconds)| ((name, nothing), seconds));
        let names = |shard: &str| -> Vec<&str> {
            let part = part(&steps, shard.parse().unwrap());
            part.iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(names("1/1"), ["a", "b", "c", "d", "e"]);
        assert_eq!(names("1/2"), ["b", "e"]);
        assert_eq!(names("2/2"), ["a", "c", "d"]);
        assert!(names("6/6").is_empty());
    }

    #[test]
    fn the_results_name_the_commit() {
        let revision = revision().unwrap();
        let commit = revision.strip_prefix("commit ").unwrap();
        assert!(commit.chars().take(40).all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn every_step_has_its_budget() {
        budget().unwrap();
    }
}
