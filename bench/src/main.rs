//! Compares this crate with its peers, in one process, in turns. `cargo xtask bench` runs it.

mod allocator;
mod clock;
mod counts;
mod idle;
mod os;
mod plot;
mod report;
mod results;
mod rounds;
mod rows;
mod subject;
mod subjects;
mod wake_ups;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use hdrhistogram::Histogram;

use crate::results::{Class, Comparison, Results};
use crate::rounds::{percentile, Contender, Plan};
use crate::rows::{Figure, Row};
use crate::subjects::ON_POLL;

#[derive(Parser)]
#[command(about = "mio beside its peers", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the workloads
    List,
    /// Measures time, and writes ratios
    Time {
        /// Only workloads whose names begin with this (may be given several times)
        #[arg(long, value_name = "PREFIX")]
        only: Vec<String>,
        /// Rounds of a workload that one thread runs
        #[arg(long, default_value_t = 400)]
        rounds: usize,
        /// Rounds of a workload that involves the scheduler
        #[arg(long, default_value_t = 60)]
        scheduled_rounds: usize,
        /// A file for the ratios; otherwise they are only shown
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Counts what repeats exactly, for `cargo xtask counts`
    Counts(counts::Args),
    /// Measures the cost of idle sources, and prints a table
    Idle {
        /// The seconds for which each is measured
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
    },
    /// Counts the wake-ups of several threads that wait for one listener, and prints a table
    WakeUps {
        /// The connections that each is counted for
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
        connections: u64,
    },
    /// Combines the results of several runs, and writes the report
    Report {
        /// Files that `time --out` has written
        runs: Vec<PathBuf>,
        /// Keeps existing results of workloads whose names begin with this, unless a run has them
        #[arg(long, value_name = "PREFIX")]
        keep: Option<String>,
        /// Facts above the report (may be given several times)
        #[arg(long, value_name = "NAME: VALUE")]
        fact: Vec<String>,
        #[arg(long)]
        out: PathBuf,
    },
    /// Shows the differences between two reports
    Compare { old: PathBuf, new: PathBuf },
}

fn main() -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    match Cli::parse().command {
        Command::List => {
            for row in rows::all() {
                println!("{}", row.name);
            }
            Ok(())
        }
        Command::Time {
            only,
            rounds,
            scheduled_rounds,
            out,
        } => time(&only, [rounds, scheduled_rounds], out),
        Command::Counts(args) => counts::run(&args),
        Command::Idle { seconds } => idle::run(seconds),
        Command::WakeUps { connections } => wake_ups::run(connections as usize),
        Command::Report {
            runs,
            keep,
            fact,
            out,
        } => write_report(&runs, keep.as_deref(), &fact, &out),
        Command::Compare { old, new } => {
            let read = |path: &PathBuf| Results::from_text(&fs::read_to_string(path)?);
            let differences = report::compare(&read(&old)?, &read(&new)?);
            print!("{}", report::differences(&differences));
            Ok(())
        }
    }
}

fn time(only: &[String], rounds: [usize; 2], out: Option<PathBuf>) -> Result<()> {
    let rows: Vec<Row> = rows::all()
        .into_iter()
        .filter(|row| only.is_empty() || only.iter().any(|prefix| row.name.starts_with(prefix)))
        .collect();
    let mut results = Results::default();
    let mut has_threads = false;
    for row in rows {
        if row.with_threads && !has_threads {
            // A thread that only exists.
            thread::spawn(|| loop {
                thread::park();
            });
            has_threads = true;
        }
        for comparison in measure(&row, rounds) {
            let [q1, median, q3] = comparison.quartiles;
            println!(
                "{:32} {:10} {:.4}  {q1:.4} {median:.4} {q3:.4}",
                comparison.workload, comparison.other, comparison.p10
            );
            results.comparisons.push(comparison);
        }
    }
    match out {
        Some(path) => Ok(fs::write(path, results.to_text())?),
        None => Ok(()),
    }
}

fn measure(row: &Row, [rounds, scheduled_rounds]: [usize; 2]) -> Vec<Comparison> {
    let mut contenders = (row.contenders)();
    match row.figure {
        Figure::Cost { batch } => {
            let rounds = match row.class {
                Class::Single => rounds,
                Class::Scheduled => scheduled_rounds,
            };
            let plan = Plan { rounds, batch };
            let times = rounds::measure(&mut contenders, plan);
            let figures: Vec<Figures> = times.into_iter().map(Figures::of_times).collect();
            compare(row, &row.name, &contenders, &figures)
        }
        Figure::Delays { operations } => {
            let delays = rounds::measure_delays(&mut contenders, rounds, operations);
            let compared = PERCENTILES.map(|(name, share)| {
                let figures = delays
                    .iter()
                    .map(|delays| Figures::of_delays(delays, share));
                let name = format!("{}/{name}", row.name);
                compare(row, &name, &contenders, &figures.collect::<Vec<_>>())
            });
            compared.concat()
        }
    }
}

/// Those that are reported of delays.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// A round that has fewer delays has no percentiles of its own.
const FEWEST_DELAYS: u64 = 10;

/// What was measured of a contender.
struct Figures {
    /// Which the results are compared by.
    result: f64,
    of_rounds: Vec<f64>,
}

impl Figures {
    fn of_times(of_rounds: Vec<f64>) -> Figures {
        Figures {
            result: percentile(&of_rounds, 0.1),
            of_rounds,
        }
    }

    fn of_delays(delays: &[Histogram<u64>], share: f64) -> Figures {
        let mut all = Histogram::new(3).expect("three digits are possible");
        for delays in delays {
            all.add(delays).expect("it grows");
        }
        let at = |delays: &Histogram<u64>| match delays.len() {
            0..FEWEST_DELAYS => f64::NAN,
            _ => delays.value_at_quantile(share) as f64,
        };
        Figures {
            result: all.value_at_quantile(share) as f64,
            of_rounds: delays.iter().map(at).collect(),
        }
    }
}

/// Compares the first contender with the others.
fn compare(
    row: &Row,
    workload: &str,
    contenders: &[Contender],
    figures: &[Figures],
) -> Vec<Comparison> {
    let (ours, others) = figures.split_first().expect("there is somebody");
    others
        .iter()
        .zip(&contenders[1..])
        .map(|(theirs, contender)| {
            let rounds = ours.of_rounds.iter().zip(&theirs.of_rounds);
            let mut ratios: Vec<f64> = rounds.map(|(a, b)| a / b).collect();
            ratios.retain(|ratio| !ratio.is_nan());
            if ratios.is_empty() {
                ratios.push(f64::NAN);
            }
            let target = row
                .targets
                .iter()
                .find(|(name, _)| *name == contender.name)
                .map(|(_, most)| *most)
                // Of the percentiles, it is the median's.
                .filter(|_| workload == row.name || workload.ends_with("/p50"));
            Comparison {
                workload: workload.to_owned(),
                class: row.class,
                backend: if ON_POLL { "poll(2)" } else { "epoll" }.to_owned(),
                other: contender.name.to_owned(),
                p10: ours.result / theirs.result,
                quartiles: [0.25, 0.5, 0.75].map(|share| percentile(&ratios, share)),
                target,
            }
        })
        .collect()
}

/// The results of several processes: the median of each number, because the addresses of a process'
/// code and data change its speed.
fn together(runs: &[Results]) -> Results {
    let mut results = Results::default();
    for comparison in runs.iter().flat_map(|run| &run.comparisons) {
        let is_same = |other: &Comparison| {
            (&other.workload, &other.backend, &other.other)
                == (&comparison.workload, &comparison.backend, &comparison.other)
        };
        if results.comparisons.iter().any(is_same) {
            continue;
        }
        let of_all: Vec<&Comparison> = runs
            .iter()
            .flat_map(|run| &run.comparisons)
            .filter(|other| is_same(other))
            .collect();
        let median = |figure: &dyn Fn(&Comparison) -> f64| {
            let figures: Vec<f64> = of_all.iter().map(|row| figure(row)).collect();
            percentile(&figures, 0.5)
        };
        results.comparisons.push(Comparison {
            p10: median(&|row| row.p10),
            quartiles: [0, 1, 2].map(|index| median(&|row| row.quartiles[index])),
            ..comparison.clone()
        });
    }
    results
}

fn write_report(runs: &[PathBuf], keep: Option<&str>, facts: &[String], out: &Path) -> Result<()> {
    let read = |path: &Path| Results::from_text(&fs::read_to_string(path)?);
    let runs = runs
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>>>()?;
    let mut results = together(&runs);
    let there = out.join("results.tsv");
    if let (Some(prefix), true) = (keep, there.exists()) {
        results = kept(read(&there)?, prefix, results);
    }
    if !facts.is_empty() {
        results.facts.clear();
        for fact in facts {
            let (name, value) = fact.split_once(": ").context("a fact is `NAME: VALUE`")?;
            results.facts.push((name.to_owned(), value.to_owned()));
        }
        results.facts.extend(subjects::versions());
    }
    fs::create_dir_all(out)?;
    fs::write(&there, results.to_text())?;
    fs::write(out.join("README.md"), report::markdown(&results))?;
    plot::all(&results, out)
}

/// The new results, and those old results that the new ones lack, for workloads whose names begin
/// with this.
fn kept(old: Results, prefix: &str, new: Results) -> Results {
    let mut all = old;
    all.comparisons.retain(|comparison| {
        let is_measured = |other: &Comparison| other.workload == comparison.workload;
        comparison.workload.starts_with(prefix) && !new.comparisons.iter().any(is_measured)
    });
    all.comparisons.extend(new.comparisons);
    // It has a table of its own, which is the last one in any case.
    all.comparisons
        .sort_by_key(|comparison| comparison.workload.starts_with("http/"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(workload: &str, p10: f64) -> Results {
        Results {
            facts: Vec::new(),
            comparisons: vec![Comparison {
                workload: workload.to_owned(),
                class: Class::Single,
                backend: "epoll".to_owned(),
                other: "raw".to_owned(),
                p10,
                quartiles: [p10, p10 + 1.0, p10 + 2.0],
                target: None,
            }],
        }
    }

    #[test]
    fn percentiles_of_delays_are_those_of_all_rounds() {
        let round = |delays: std::ops::RangeInclusive<u64>| {
            let mut histogram = Histogram::new(3).unwrap();
            delays.for_each(|delay| histogram.record(delay).unwrap());
            histogram
        };
        let rounds = [round(1..=50), round(51..=99), round(100..=100)];
        let [p50, _, _, max] = PERCENTILES.map(|(_, share)| Figures::of_delays(&rounds, share));
        assert_eq!([p50.result, max.result], [50.0, 100.0]);
        assert_eq!(p50.of_rounds[..2], [25.0, 75.0]);
        // One is too few.
        assert!(p50.of_rounds[2].is_nan());
    }

    #[test]
    fn new_results_replace_old_ones() {
        let names = |results: &Results| -> Vec<String> {
            let name = |row: &Comparison| format!("{} {}", row.workload, row.p10);
            results.comparisons.iter().map(name).collect()
        };
        let old = || together(&[results("turn/1", 1.0), results("http/1", 2.0)]);
        let all = kept(old(), "", results("http/1", 3.0));
        assert_eq!(names(&all), ["turn/1 1", "http/1 3"]);
        let all = kept(old(), "http/", results("turn/64", 4.0));
        assert_eq!(names(&all), ["turn/64 4", "http/1 2"]);
    }

    #[test]
    fn runs_are_put_together_by_their_medians() {
        let run = |p10| results("turn/1", p10);
        let results = together(&[run(1.0), run(5.0), run(2.0)]);
        assert_eq!(results.comparisons.len(), 1);
        assert_eq!(results.comparisons[0].p10, 2.0);
        assert_eq!(results.comparisons[0].quartiles, [2.0, 3.0, 4.0]);
    }
}
