//! The results of measurements, as lines of text that a later run can be compared with.

use std::fmt::Write as _;

use anyhow::{bail, Context, Result};

/// The tolerance for a later run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// One thread: within 5 %.
    Single,
    /// The scheduler is involved: within 20 %.
    Scheduled,
}

/// This crate compared with another subject, in one workload. The numbers are ratios of the cost of
/// an operation: below 1 this crate is cheaper.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// `turn/1/none`: the group, and its variant.
    pub workload: String,
    pub class: Class,
    /// The backend of this crate: `epoll` or `poll(2)`.
    pub backend: String,
    /// The name of the other subject.
    pub other: String,
    /// The ratio of the 10th percentiles.
    pub p10: f64,
    /// The quartiles of the ratios of the rounds: the first, the median, the third.
    pub quartiles: [f64; 3],
    /// The target for `p10`: at most this.
    pub target: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The versions and the machine: `("kernel", "6.1")`, in the order in which they are printed.
    pub facts: Vec<(String, String)>,
    pub comparisons: Vec<Comparison>,
}

const COLUMNS: &str = "workload\tclass\tbackend\tother\tp10\tq1\tmedian\tq3\ttarget";

impl Results {
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            writeln!(text, "# {name}: {value}").expect("to memory");
        }
        writeln!(text, "{COLUMNS}").expect("to memory");
        for row in &self.comparisons {
            let class = match row.class {
                Class::Single => "single",
                Class::Scheduled => "scheduled",
            };
            let [q1, median, q3] = row.quartiles;
            let target = row.target.map_or("-".to_owned(), |most| most.to_string());
            writeln!(
                text,
                "{}\t{class}\t{}\t{}\t{:.4}\t{q1:.4}\t{median:.4}\t{q3:.4}\t{target}",
                row.workload, row.backend, row.other, row.p10
            )
            .expect("to memory");
        }
        text
    }

    pub fn from_text(text: &str) -> Result<Results> {
        let mut results = Results::default();
        for line in text.lines().filter(|line| *line != COLUMNS) {
            if let Some(fact) = line.strip_prefix("# ") {
                let (name, value) = fact.split_once(": ").context("no fact")?;
                results.facts.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let row = Comparison::from_line(line).with_context(|| line.to_owned())?;
            results.comparisons.push(row);
        }
        Ok(results)
    }
}

impl Comparison {
    fn from_line(line: &str) -> Result<Comparison> {
        let cells: Vec<&str> = line.split('\t').collect();
        let [workload, class, backend, other, p10, q1, median, q3, target] = cells[..] else {
            bail!("{} columns", cells.len());
        };
        Ok(Comparison {
            workload: workload.to_owned(),
            class: match class {
                "single" => Class::Single,
                "scheduled" => Class::Scheduled,
                _ => bail!("no class {class}"),
            },
            backend: backend.to_owned(),
            other: other.to_owned(),
            p10: p10.parse()?,
            quartiles: [q1.parse()?, median.parse()?, q3.parse()?],
            target: match target {
                "-" => None,
                most => Some(most.parse()?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_they_were_written() {
        let comparison = |target| Comparison {
            workload: "turn/1/none".to_owned(),
            class: Class::Single,
            backend: "epoll".to_owned(),
            other: "mio 1.2.5".to_owned(),
            p10: 0.975,
            quartiles: [0.95, 0.98, 1.0125],
            target,
        };
        let results = Results {
            facts: vec![("kernel".to_owned(), "6.1: a good one".to_owned())],
            comparisons: vec![comparison(None), comparison(Some(0.97))],
        };
        assert_eq!(Results::from_text(&results.to_text()).unwrap(), results);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        assert!(Results::from_text("turn\tsingle\tepoll\tmio").is_err());
    }
}
