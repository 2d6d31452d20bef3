//! The budget of each step of `ci`: the table of steps in CONTRIBUTING.md. This reads the table, so
//! the numbers there are those that are checked.
//!
//! Processor time depends on how fast the machine is, which another day or another machine may halve. So
//! the steps of one run are compared with each other: the run is as slow as the median of its steps, and a
//! step that takes three times its share of the processor time fails. Wall time also depends on other load,
//! so a step that takes twice its share is only a warning.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use nix::sys::resource::{getrusage, UsageWho};
use nix::sys::time::TimeVal;

use crate::root;

/// The multiples of a budget from which a step is slow, and from which it is too expensive.
const SLOW: f64 = 2.0;
const TOO_EXPENSIVE: f64 = 3.0;

/// If the steps need more than this, it is not the machine that is slow: something makes every step expensive.
const SLOWEST_MACHINE: f64 = 3.0;

/// The least processor time in the table that says something about the machine.
const LONG: Duration = Duration::from_secs(10);

#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
}

pub struct Budget(BTreeMap<String, Cost>);

impl Budget {
    /// Reads the table of CONTRIBUTING.md. It must have a line for each of `steps`, and for nothing
    /// else, and end with their sum.
    pub fn read(steps: &[&str]) -> Result<Budget> {
        let text = fs::read_to_string(root().join("CONTRIBUTING.md"))?;
        let budget = Budget::parse(&text).context("CONTRIBUTING.md")?;
        if let Some(step) = steps.iter().find(|step| !budget.0.contains_key(**step)) {
            bail!("the table of steps in CONTRIBUTING.md lacks `{step}`");
        }
        if let Some(other) = budget.0.keys().find(|name| !steps.contains(&name.as_str())) {
            bail!("the table of steps in CONTRIBUTING.md has `{other}`, which is no step of `ci`");
        }
        let (wall, cpu) = budget.total();
        let total = format!("| total | | {wall} | {cpu} |");
        if !text.lines().any(|line| line == total) {
            bail!("CONTRIBUTING.md has no line `{total}`");
        }
        let minutes = format!("`ci` takes {} minutes", (wall + 30) / 60);
        if !text.contains(&minutes) {
            bail!("CONTRIBUTING.md does not say that {minutes}");
        }
        Ok(budget)
    }

    /// The seconds of a step, or 0 if it has no line.
    pub fn seconds(&self, step: &str) -> u64 {
        self.0.get(step).map_or(0, |cost| cost.wall.as_secs())
    }

    /// The seconds and CPU seconds of all steps.
    fn total(&self) -> (u64, u64) {
        let sum = |of: fn(&Cost) -> Duration| self.0.values().map(of).sum::<Duration>().as_secs();
        (sum(|cost| cost.wall), sum(|cost| cost.cpu))
    }

    /// The lines that begin with a step's name: "| `NAME` | what it checks | SECONDS | CPU SECONDS
    /// |".
    pub fn parse(text: &str) -> Result<Budget> {
        let mut steps = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let (name, cost) = parse_line(line)
                .with_context(|| format!("no step with its seconds and CPU seconds: {line}"))?;
            if steps.insert(name.to_owned(), cost).is_some() {
                bail!("`{name}` appears twice");
            }
        }
        Ok(Budget(steps))
    }

    /// How many times its budget of processor time a step takes on this machine: the median of the longer
    /// steps, but at least 1, and at most `SLOWEST_MACHINE`.
    pub fn slowness<'a>(&self, steps: impl Iterator<Item = (&'a str, Cost)>) -> f64 {
        let ratio = |(name, cost): (&str, Cost)| {
            let budget = self.0.get(name)?.cpu;
            (budget >= LONG).then(|| cost.cpu.as_secs_f64() / budget.as_secs_f64())
        };
        let mut ratios: Vec<f64> = steps.filter_map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2);
        median.copied().unwrap_or(1.0).clamp(1.0, SLOWEST_MACHINE)
    }

    /// A warning about a step with this cost on a machine of this slowness, if any. An error if it is too
    /// expensive.
    pub fn judge(&self, step: &str, cost: Cost, slowness: f64) -> Result<Option<String>> {
        let budget = self.0.get(step).context("it has no budget")?;
        let limit = |budget: Duration, multiple: f64| budget.mul_f64(multiple * slowness);
        if cost.cpu > limit(budget.cpu, TOO_EXPENSIVE) {
            bail!(
                "{:.0} CPU seconds, over {TOO_EXPENSIVE} times its budget of {:.0}; this machine needs {slowness:.1} times the table's",
                cost.cpu.as_secs_f64(),
                budget.cpu.as_secs_f64()
            );
        }
        Ok((cost.wall > limit(budget.wall, SLOW)).then(|| {
            format!(
                "{:.0} seconds, over {SLOW} times its budget of {:.0}; this machine needs {slowness:.1} times the table's",
                cost.wall.as_secs_f64(),
                budget.wall.as_secs_f64()
            )
        }))
    }
}

fn parse_line(line: &str) -> Option<(&str, Cost)> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _, wall, cpu] = cells[..] else {
        return None;
    };
    let seconds = |cell: &str| Some(Duration::from_secs(cell.parse().ok()?));
    let cost = Cost {
        wall: seconds(wall)?,
        cpu: seconds(cpu)?,
    };
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    (!name.contains('`')).then_some((name, cost))
}

/// The processor time of all children that have ended, and of their children.
pub fn cpu_of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    // Neither is ever negative.
    Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh::Cmd;

    const TABLE: &str = "
| step | what it holds | seconds | CPU seconds |
|---|---|---:|---:|
| `fmt` | formatting | 2 | 1 |
| `c10k` | many connections | 60 | 100 |
";

    fn cost(wall: u64, cpu: u64) -> Cost {
        Cost {
            wall: Duration::from_secs(wall),
            cpu: Duration::from_secs(cpu),
        }
    }

    #[test]
    fn the_table_is_read() {
        let budget = Budget::parse(TABLE).unwrap();
        assert_eq!(budget.0.len(), 2);
        assert_eq!(budget.0["fmt"], cost(2, 1));
        assert_eq!(budget.0["c10k"], cost(60, 100));
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        for wrong in [
            "| `fmt` | formatting |",
            "| `fmt` | formatting | 2 | |",
            "| `fmt` | formatting | 2 | fast |",
            "| `fmt`, `doc` | formatting | 2 | 1 |",
        ] {
            let text = [TABLE, wrong].concat();
            assert!(Budget::parse(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slow_is_a_warning_and_expensive_fails() {
        let budget = Budget::parse(TABLE).unwrap();
        assert_eq!(budget.judge("fmt", cost(4, 3), 1.0).unwrap(), None);
        let slow = budget.judge("fmt", cost(5, 3), 1.0).unwrap().unwrap();
        assert!(slow.starts_with("5 seconds"), "{slow}");
        let expensive = budget.judge("fmt", cost(1, 4), 1.0).unwrap_err();
        assert!(expensive.to_string().starts_with("4 CPU seconds"));
        assert!(budget.judge("doc", cost(0, 0), 1.0).is_err());
    }

    #[test]
    fn a_slow_machine_makes_no_step_too_expensive() {
        let budget = Budget::parse(TABLE).unwrap();
        assert_eq!(budget.judge("fmt", cost(8, 6), 2.0).unwrap(), None);
        assert!(budget.judge("fmt", cost(9, 6), 2.0).unwrap().is_some());
        assert!(budget.judge("fmt", cost(8, 7), 2.0).is_err());
    }

    #[test]
    fn the_machine_is_as_slow_as_the_median_of_the_longer_steps() {
        let more = "| `wine` | | 1 | 10 |\n| `loom` | | 1 | 10 |\n";
        let budget = Budget::parse(&[TABLE, more].concat()).unwrap();
        let slowness = |steps: &[(&str, u64)]| {
            budget.slowness(steps.iter().map(|&(name, cpu)| (name, cost(1, cpu))))
        };
        // One that is too expensive does not make the machine slow, nor does a short one.
        assert_eq!(slowness(&[("wine", 20), ("c10k", 900), ("loom", 15)]), 2.0);
        assert_eq!(slowness(&[("wine", 20), ("fmt", 100)]), 2.0);
        assert_eq!(slowness(&[("wine", 1), ("c10k", 10)]), 1.0);
        assert_eq!(slowness(&[("no step", 100)]), 1.0);
        // What makes all of them expensive is found.
        assert_eq!(slowness(&[("wine", 100), ("loom", 100)]), 3.0);
    }

    #[test]
    fn the_children_of_children_cost_too() {
        let before = cpu_of_children().unwrap();
        Cmd::new("sh")
            .args([
                "-c",
                "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true",
            ])
            .quiet()
            .unwrap()
            .success()
            .unwrap();
        let cost = cpu_of_children().unwrap() - before;
        assert!(cost > Duration::from_millis(20), "{cost:?}");
    }
}
