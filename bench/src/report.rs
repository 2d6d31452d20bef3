//! Results for readers: as Markdown, and compared with an earlier run.

use std::fmt::Write as _;

use crate::results::{Class, Comparison, Results};

/// The text of an empty cell.
const NONE: &str = "—";

/// The workloads of one kind: their names are equal up to the first `/`.
pub struct Group<'a> {
    pub name: &'a str,
    pub rows: Vec<Row<'a>>,
}

/// A workload on one backend, compared with each of the others.
pub struct Row<'a> {
    /// The workload's name without the group's.
    pub label: &'a str,
    pub backend: &'a str,
    pub comparisons: Vec<&'a Comparison>,
}

impl Group<'_> {
    /// Whether rows differ in their backends.
    pub fn has_backends(&self) -> bool {
        let mut backends = self.rows.iter().map(|row| row.backend);
        let first = backends.next();
        backends.any(|backend| Some(backend) != first)
    }
}

/// Groups and rows stay in the order in which they were measured first.
pub fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for comparison in &results.comparisons {
        let workload = comparison.workload.as_str();
        // A group may have one workload, whose name is the group's.
        let (name, label) = workload.split_once('/').unwrap_or((workload, workload));
        let backend = comparison.backend.as_str();

        let group = find_or_push(
            &mut groups,
            |group| group.name == name,
            || Group {
                name,
                rows: Vec::new(),
            },
        );
        let row = find_or_push(
            &mut group.rows,
            |row| row.label == label && row.backend == backend,
            || Row {
                label,
                backend,
                comparisons: Vec::new(),
            },
        );
        row.comparisons.push(comparison);
    }
    groups
}

fn find_or_push<T>(
    items: &mut Vec<T>,
    wanted: impl FnMut(&T) -> bool,
    new: impl FnOnce() -> T,
) -> &mut T {
    let found = items.iter().position(wanted);
    let index = found.unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    });
    &mut items[index]
}

/// The subjects that this crate is compared with, in the order of the first comparison with each.
pub fn others(results: &Results) -> Vec<&str> {
    let mut others = Vec::new();
    for comparison in &results.comparisons {
        if !others.contains(&comparison.other.as_str()) {
            others.push(comparison.other.as_str());
        }
    }
    others
}

/// All results as a document.
pub fn markdown(results: &Results) -> String {
    let mut text = String::from(
        "# This crate compared with its peers\n\
         \n\
         Every number is a ratio: the cost of an operation with this crate, divided by its cost \
         with the other. Below 1 this crate is cheaper. Both are measured in one process, in \
         rounds that take turns. The ratio is that of their 10th percentiles, which other work on \
         the machine disturbs least. The numbers in parentheses are the first and the third \
         quartile of the ratios of the rounds. In `latency`, the number is the ratio of the \
         percentiles of all delays. There are no times here: they differ from machine \
         to machine, and the ratios differ much less. `cargo xtask bench` writes this document; \
         [the page above](../README.md) describes the workloads, and explains missed targets.\n",
    );
    if !results.facts.is_empty() {
        text.push('\n');
    }
    for (name, value) in &results.facts {
        writeln!(text, "- {name}: {value}").expect("to memory");
    }

    targets(&mut text, results);
    let others = others(results);
    for group in groups(results) {
        section(&mut text, &group, &others);
    }
    text
}

/// The comparisons that have a target, and whether each target is met.
fn targets(text: &mut String, results: &Results) {
    let with_target: Vec<(&Comparison, f64)> = results
        .comparisons
        .iter()
        .filter_map(|comparison| Some((comparison, comparison.target?)))
        .collect();
    if with_target.is_empty() {
        return;
    }
    let is_met = |&(comparison, most): &(&Comparison, f64)| comparison.p10 <= most;
    let met = with_target.iter().filter(|one| is_met(one)).count();

    write!(
        text,
        "\n## Targets\n\nMet: {met} of {}.\n\n",
        with_target.len()
    )
    .expect("to memory");
    table_head(
        text,
        &["workload", "backend", "other"],
        &["target (≤)", "measured", "met?"],
    );
    for one in &with_target {
        let (comparison, most) = one;
        let answer = if is_met(one) { "yes" } else { "**no**" };
        table_row(
            text,
            [
                code(&comparison.workload),
                cell(&comparison.backend),
                cell(&comparison.other),
                ratio(*most),
                measured(comparison.p10, *most),
                answer.to_owned(),
            ],
        );
    }
}

/// The table of a group.
fn section(text: &mut String, group: &Group, others: &[&str]) {
    write!(text, "\n## {}\n\n", group.name).expect("to memory");
    let takes_part = |other: &&&str| {
        let mut all = group.rows.iter().flat_map(|row| &row.comparisons);
        all.any(|comparison| comparison.other == **other)
    };
    let others: Vec<&str> = others.iter().filter(takes_part).copied().collect();
    let has_backends = group.has_backends();
    let mut names = vec!["workload"];
    names.extend(has_backends.then_some("backend"));
    table_head(text, &names, &others);

    for row in &group.rows {
        let mut cells = vec![code(row.label)];
        cells.extend(has_backends.then(|| cell(row.backend)));
        cells.extend(others.iter().map(|other| {
            let mut comparisons = row.comparisons.iter();
            let comparison = comparisons.find(|comparison| comparison.other == *other);
            comparison.map_or(NONE.to_owned(), |comparison| with_quartiles(comparison))
        }));
        table_row(text, cells);
    }
}

/// The first line of a table and the one below it. Names are aligned left, numbers right.
fn table_head(text: &mut String, names: &[&str], numbers: &[&str]) {
    table_row(text, names.iter().chain(numbers).map(|title| cell(title)));
    text.push('|');
    text.push_str(&"---|".repeat(names.len()));
    text.push_str(&"---:|".repeat(numbers.len()));
    text.push('\n');
}

fn table_row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    text.push('|');
    for cell in cells {
        write!(text, " {cell} |").expect("to memory");
    }
    text.push('\n');
}

/// Text in which no character ends a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

fn with_quartiles(comparison: &Comparison) -> String {
    let [first, _median, third] = comparison.quartiles;
    let p10 = ratio(comparison.p10);
    format!("{p10} ({}–{})", ratio(first), ratio(third))
}

/// Two decimals, or three significant digits if two decimals would say little.
fn ratio(ratio: f64) -> String {
    // After rounding: 0.09996 is 0.10.
    let rounded = format!("{ratio:.2e}");
    let exponent = rounded.rsplit_once('e').and_then(|(_, e)| e.parse().ok());
    match exponent {
        Some(exponent @ ..=-2) => {
            let decimals = 2 + usize::try_from(-exponent).expect("it is negative");
            format!("{ratio:.decimals$}")
        }
        // Not a number: the divisor was zero.
        _ => format!("{ratio:.2}"),
    }
}

/// A ratio, printed beside its target: one that just misses it must not look like one that meets
/// it.
fn measured(p10: f64, most: f64) -> String {
    let usual = ratio(p10);
    let looks_reached = usual.parse().is_ok_and(|read: f64| read <= most);
    if p10 > most && looks_reached {
        format!("{p10:.4}")
    } else {
        usual
    }
}

/// The change of a comparison from one run to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub workload: String,
    pub backend: String,
    pub other: String,
    /// The tolerance, as a part of the old ratio.
    pub limit: f64,
    pub outcome: Outcome,
}

/// The ratios, in the runs that have the comparison.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Outcome {
    Both { old: f64, new: f64 },
    OnlyOld,
    OnlyNew,
}

impl Difference {
    /// The increase, as a part of the old ratio. `None` if one run does not have the comparison.
    pub fn relative(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Both { old, new } => Some((new - old) / old),
            Outcome::OnlyOld | Outcome::OnlyNew => None,
        }
    }

    /// `None` if there is no old ratio to compare with.
    pub fn is_within(&self) -> Option<bool> {
        // A difference of exactly 5 % is within 5 %, whatever its binary representation.
        const ROUNDING: f64 = 1e-9;
        let relative = self.relative()?;
        Some(relative.abs() <= self.limit + ROUNDING)
    }

    /// The difference in multiples of the limit.
    fn limits(&self) -> f64 {
        self.relative().unwrap_or(0.0).abs() / self.limit
    }
}

/// The comparisons of both runs: those of the new run in its order, then those that only the old
/// one has.
pub fn compare(old: &Results, new: &Results) -> Vec<Difference> {
    let mut differences = Vec::new();
    for row in &new.comparisons {
        let outcome = find(old, row).map_or(Outcome::OnlyNew, |old| Outcome::Both {
            old: old.p10,
            new: row.p10,
        });
        differences.push(difference(row, outcome));
    }
    for row in &old.comparisons {
        if find(new, row).is_none() {
            differences.push(difference(row, Outcome::OnlyOld));
        }
    }
    differences
}

fn difference(row: &Comparison, outcome: Outcome) -> Difference {
    Difference {
        workload: row.workload.clone(),
        backend: row.backend.clone(),
        other: row.other.clone(),
        limit: match row.class {
            Class::Single => 0.05,
            Class::Scheduled => 0.20,
        },
        outcome,
    }
}

/// Whether both compare the same things.
fn find<'a>(results: &'a Results, row: &Comparison) -> Option<&'a Comparison> {
    results.comparisons.iter().find(|comparison| {
        comparison.workload == row.workload
            && comparison.backend == row.backend
            && comparison.other == row.other
    })
}

/// Those beyond their limits, the farthest first, and the number of the others.
pub fn differences(differences: &[Difference]) -> String {
    let mut beyond: Vec<&Difference> = Vec::new();
    let (mut within, mut in_one) = (0, 0);
    for difference in differences {
        match difference.is_within() {
            Some(true) => within += 1,
            Some(false) => beyond.push(difference),
            None => in_one += 1,
        }
    }
    // In multiples of the limit, because 10 % is much for a single thread and little for the
    // scheduler.
    beyond.sort_by(|a, b| b.limits().total_cmp(&a.limits()));

    let width = |name: fn(&Difference) -> &str| {
        let names = beyond.iter().map(|difference| name(difference));
        names.map(|name| name.chars().count()).max().unwrap_or(0)
    };
    let workload = width(|difference| &difference.workload);
    let backend = width(|difference| &difference.backend);
    let other = width(|difference| &difference.other);

    let mut text = String::new();
    for difference in &beyond {
        let Outcome::Both { old, new } = difference.outcome else {
            continue;
        };
        writeln!(
            text,
            "{:workload$}  {:backend$}  {:other$}  {:>6} → {:>6}  {:+7.1} % (limit {:.0} %)",
            difference.workload,
            difference.backend,
            difference.other,
            ratio(old),
            ratio(new),
            100.0 * difference.relative().unwrap_or(0.0),
            100.0 * difference.limit,
        )
        .expect("to memory");
    }
    writeln!(
        text,
        "{within} rows within their limits, {} beyond, {in_one} in one run only",
        beyond.len()
    )
    .expect("to memory");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(workload: &str, backend: &str, other: &str, p10: f64) -> Comparison {
        Comparison {
            workload: workload.to_owned(),
            class: Class::Single,
            backend: backend.to_owned(),
            other: other.to_owned(),
            p10,
            quartiles: [p10 - 0.02, p10, p10 + 0.02],
            target: None,
        }
    }

    fn results(comparisons: Vec<Comparison>) -> Results {
        Results {
            facts: vec![("kernel".to_owned(), "6.1".to_owned())],
            comparisons,
        }
    }

    #[test]
    fn a_ratio_has_two_decimals_or_three_digits() {
        assert_eq!(ratio(12.345), "12.35");
        assert_eq!(ratio(0.974), "0.97");
        assert_eq!(ratio(0.1), "0.10");
        assert_eq!(ratio(0.09996), "0.10");
        assert_eq!(ratio(0.0999), "0.0999");
        assert_eq!(ratio(0.02134), "0.0213");
        assert_eq!(ratio(0.009999), "0.0100");
        assert_eq!(ratio(0.0), "0.00");
        assert_eq!(ratio(f64::NAN), "NaN");
        assert_eq!(ratio(f64::INFINITY), "inf");
    }

    #[test]
    fn a_cell_has_the_ratio_and_its_quartiles() {
        let cell = with_quartiles(&comparison("turn/1", "epoll", "polling", 0.97));
        assert_eq!(cell, "0.97 (0.95–0.99)");
    }

    #[test]
    fn nothing_in_a_name_ends_a_cell() {
        assert_eq!(code("a|b"), "`a\\|b`");
    }

    #[test]
    fn a_group_is_a_table_with_a_column_for_each_that_takes_part() {
        let text = markdown(&results(vec![
            comparison("turn/1", "epoll", "mio 1.2.5", 0.97),
            comparison("wake/pending", "epoll", "mio 1.2.5", 0.5),
            comparison("turn/64", "epoll", "libuv", 0.08),
        ]));
        let turn = "## turn\n\
                    \n\
                    | workload | mio 1.2.5 | libuv |\n\
                    |---|---:|---:|\n\
                    | `1` | 0.97 (0.95–0.99) | — |\n\
                    | `64` | — | 0.0800 (0.0600–0.10) |\n";
        let wake = "## wake\n\
                    \n\
                    | workload | mio 1.2.5 |\n\
                    |---|---:|\n\
                    | `pending` | 0.50 (0.48–0.52) |\n";
        assert!(text.ends_with(&format!("\n{turn}\n{wake}")), "{text}");
        assert!(text.contains("\n\n- kernel: 6.1\n\n"), "{text}");
        assert!(!text.contains("Targets"), "{text}");
    }

    #[test]
    fn backends_are_named_if_a_group_has_several() {
        let text = markdown(&results(vec![
            comparison("turn/1", "epoll", "polling", 0.97),
            comparison("wake/pending", "poll(2)", "polling", 0.5),
            comparison("turn/1", "poll(2)", "polling", 1.25),
        ]));
        let turn = "| workload | backend | polling |\n\
                    |---|---|---:|\n\
                    | `1` | epoll | 0.97 (0.95–0.99) |\n\
                    | `1` | poll(2) | 1.25 (1.23–1.27) |\n";
        assert!(text.contains(turn), "{text}");
        assert!(text.contains("| workload | polling |\n"), "{text}");
    }

    #[test]
    fn a_workload_without_a_slash_is_a_group_of_its_own() {
        let results = results(vec![comparison("idle", "epoll", "polling", 1.0)]);
        let groups = groups(&results);
        assert_eq!((groups[0].name, groups[0].rows[0].label), ("idle", "idle"));
    }

    #[test]
    fn targets_come_first() {
        let mut rows = vec![
            comparison("turn/1", "epoll", "polling", 0.9),
            comparison("turn/2", "epoll", "polling", 0.97),
            comparison("turn/3", "epoll", "polling", 1.2),
            comparison("turn/4", "epoll", "polling", 0.9703),
        ];
        for row in &mut rows[1..] {
            row.target = Some(0.97);
        }
        let text = markdown(&results(rows));
        let asked = "- kernel: 6.1\n\
                     \n\
                     ## Targets\n\
                     \n\
                     Met: 1 of 3.\n\
                     \n\
                     | workload | backend | other | target (≤) | measured | met? |\n\
                     |---|---|---|---:|---:|---:|\n\
                     | `turn/2` | epoll | polling | 0.97 | 0.97 | yes |\n\
                     | `turn/3` | epoll | polling | 0.97 | 1.20 | **no** |\n\
                     | `turn/4` | epoll | polling | 0.97 | 0.9703 | **no** |\n\
                     \n\
                     ## turn\n";
        assert!(text.contains(asked), "{text}");
    }

    #[test]
    fn a_ratio_that_is_no_number_misses_its_target() {
        let mut row = comparison("turn/1", "epoll", "polling", f64::NAN);
        row.target = Some(1.0);
        let text = markdown(&results(vec![row]));
        assert!(text.contains("| 1.00 | NaN | **no** |"), "{text}");
    }

    #[test]
    fn each_class_has_its_limit() {
        let scheduled = |p10| Comparison {
            class: Class::Scheduled,
            ..comparison("wake", "epoll", "polling", p10)
        };
        let old = results(vec![
            comparison("a", "epoll", "polling", 1.0),
            comparison("b", "epoll", "polling", 1.0),
            scheduled(1.0),
        ]);
        let new = results(vec![
            comparison("a", "epoll", "polling", 1.05),
            comparison("b", "epoll", "polling", 0.94),
            scheduled(1.2),
        ]);
        let differences = compare(&old, &new);
        let within: Vec<_> = differences.iter().map(Difference::is_within).collect();
        assert_eq!(within, [Some(true), Some(false), Some(true)]);
        let relative = differences[1].relative().unwrap();
        assert!((relative + 0.06).abs() < 1e-9, "{relative}");
    }

    #[test]
    fn a_row_is_compared_with_that_of_the_same_backend_and_other() {
        let old = results(vec![
            comparison("a", "epoll", "polling", 1.0),
            comparison("a", "epoll", "libuv", 2.0),
            comparison("a", "poll(2)", "polling", 3.0),
        ]);
        let new = results(vec![
            comparison("a", "poll(2)", "polling", 3.0),
            comparison("a", "poll(2)", "libuv", 4.0),
            comparison("a", "epoll", "polling", 1.0),
        ]);
        let outcomes: Vec<_> = compare(&old, &new)
            .iter()
            .map(|difference| difference.outcome)
            .collect();
        let same = |p10| Outcome::Both { old: p10, new: p10 };
        assert_eq!(
            outcomes,
            [same(3.0), Outcome::OnlyNew, same(1.0), Outcome::OnlyOld]
        );
    }

    #[test]
    fn the_farthest_beyond_its_limit_is_printed_first() {
        let scheduled = |p10| Comparison {
            class: Class::Scheduled,
            ..comparison("wake", "epoll", "mio 1.2.5", p10)
        };
        let old = results(vec![
            comparison("quiet", "epoll", "polling", 1.0),
            scheduled(1.0),
            comparison("turn/1", "poll(2)", "polling", 0.05),
            comparison("gone", "epoll", "polling", 1.0),
        ]);
        let new = results(vec![
            comparison("quiet", "epoll", "polling", 1.01),
            scheduled(1.3),
            comparison("turn/1", "poll(2)", "polling", 0.04),
            comparison("come", "epoll", "polling", 1.0),
        ]);
        assert_eq!(
            differences(&compare(&old, &new)),
            "turn/1  poll(2)  polling    0.0500 → 0.0400    -20.0 % (limit 5 %)\n\
             wake    epoll    mio 1.2.5    1.00 →   1.30    +30.0 % (limit 20 %)\n\
             1 rows within their limits, 2 beyond, 2 in one run only\n"
        );
    }
}
