//! Finds operations that cost more than in the table.

use std::collections::BTreeSet;

use anyhow::{anyhow, Result};

use super::figures::{tenths, Cost, Figures};
use super::folded::count;

/// The subject that is judged. The other subjects are references.
const JUDGED: &str = "mio";

/// The judgement of one operation.
pub struct Judged {
    pub operation: String,
    pub outcome: Result<()>,
    /// A difference that is no failure, but may be of interest.
    pub notes: Vec<String>,
}

/// Each operation of either table, and whether it is in both and costs no more.
pub fn compare(committed: &Figures, now: &Figures) -> Vec<Judged> {
    operations(committed, now)
        .into_iter()
        .map(|operation| {
            let mut problems = Vec::new();
            let mut notes = Vec::new();
            match (committed.has(operation), now.has(operation)) {
                (true, true) => {
                    let with_each = with_each(operation, committed, now, &mut problems);
                    judge(&with_each, &mut problems, &mut notes);
                }
                (true, false) => problems.push("in the table, but did not run".to_owned()),
                (false, _) => problems.push("not in the table".to_owned()),
            }
            Judged {
                operation: operation.to_owned(),
                outcome: if problems.is_empty() {
                    Ok(())
                } else {
                    Err(anyhow!("{}", problems.join("; ")))
                },
                notes,
            }
        })
        .collect()
}

/// The tolerance for instructions: 2 %, or 3 instructions if that is more.
fn margin(instructions: f64) -> f64 {
    (instructions * 0.02).max(3.0)
}

/// The costs of one operation with one subject, in the table and now.
#[derive(Copy, Clone)]
struct Both<'a> {
    subject: &'a str,
    then: &'a Cost,
    now: &'a Cost,
}

/// The subjects that both tables have. A subject that only one of them has is a problem.
fn with_each<'a>(
    operation: &str,
    committed: &'a Figures,
    now: &'a Figures,
    problems: &mut Vec<String>,
) -> Vec<Both<'a>> {
    let costs = |subject| {
        (
            committed.get(operation, subject),
            now.get(operation, subject),
        )
    };
    let mut with_each = Vec::new();
    for subject in union(committed.subjects(operation), now.subjects(operation)) {
        match costs(subject) {
            (Some(then), Some(now)) => with_each.push(Both { subject, then, now }),
            (Some(_), None) => {
                problems.push(format!(
                    "in the table with {subject}, but did not run with it"
                ));
            }
            (None, _) => problems.push(format!("not in the table with {subject}")),
        }
    }
    with_each
}

fn judge(with_each: &[Both<'_>], problems: &mut Vec<String>, notes: &mut Vec<String>) {
    const FEWER: &str = ": fewer, to be blessed in a commit of its own, which says why";

    let (judged, references): (Vec<Both<'_>>, _) =
        with_each.iter().partition(|both| both.subject == JUDGED);
    if judged.is_empty() {
        problems.push(format!("no cost with {JUDGED}"));
    }
    for mio in judged {
        let measure = Measure::of(mio, &references);
        problems.extend(measure.too_many(mio));
        notes.extend(measure.far_fewer(mio));
        problems.extend(mio.changes(FEWER));
    }
    for reference in references {
        let changes = reference.changes("");
        notes.extend(changes.map(|change| format!("{}: {change}", reference.subject)));
    }
}

impl<'a> Both<'a> {
    /// The differences in allocations and calls. `fewer` is appended if there are fewer now.
    fn changes(self, fewer: &'a str) -> impl Iterator<Item = String> + 'a {
        let if_so = move |is_fewer| if is_fewer { fewer } else { "" };
        let Both { then, now, .. } = self;
        let allocations = (then.allocations != now.allocations).then(|| {
            let (then, now) = (then.allocations, now.allocations);
            format!("{now} allocations, expected {then}{}", if_so(now < then))
        });
        let calls = match (&then.calls, &now.calls) {
            (Ok(then), Ok(now)) if then != now => {
                let fewer = if_so(count(now) < count(then));
                Some(format!("calls `{now}`, expected `{then}`{fewer}"))
            }
            (_, Err(differ)) => Some(format!("calls {differ}")),
            _ => None,
        };
        allocations.into_iter().chain(calls)
    }
}

/// The number of instructions that is expected now, and why.
struct Measure {
    expected: f64,
    why: String,
}

impl Measure {
    /// Scales the table by the references: this compiler and this C library change the instructions
    /// of a reference as they change those of mio. The reference that allows the least counts.
    /// Without a reference, the table alone counts.
    fn of(mio: Both<'_>, references: &[Both<'_>]) -> Measure {
        let then = mio.then.instructions;
        references
            .iter()
            // A reference without instructions cannot scale the others.
            .filter(|reference| reference.then.instructions > 0.0)
            .map(|reference| {
                let (before, now) = (reference.then.instructions, reference.now.instructions);
                Measure {
                    expected: tenths(then / before * now),
                    why: format!(
                        "the table has {then:.1} beside the {before:.1} of {}, which are {now:.1} now",
                        reference.subject
                    ),
                }
            })
            .min_by(|a, b| a.expected.total_cmp(&b.expected))
            .unwrap_or_else(|| Measure {
                expected: then,
                why: format!("the table has {then:.1}"),
            })
    }

    fn too_many(&self, mio: Both<'_>) -> Option<String> {
        let now = mio.now.instructions;
        let most = tenths(self.expected + margin(self.expected));
        (now > most).then(|| {
            format!(
                "{now:.1} instructions, at most {most:.1} allowed: {}",
                self.why
            )
        })
    }

    fn far_fewer(&self, mio: Both<'_>) -> Option<String> {
        let now = mio.now.instructions;
        let least = tenths(self.expected - margin(self.expected));
        (now < least).then(|| {
            format!(
                "{now:.1} instructions, {:.1} fewer than expected: {}",
                self.expected - now,
                self.why
            )
        })
    }
}

/// A line for each row, of any subject, whose instructions differ from the table.
pub fn differences(committed: &Figures, now: &Figures) -> String {
    /// Smaller differences are not shown.
    const LEAST: f64 = 0.5;

    let mut lines = vec![["operation", "table", "now", "difference"].map(str::to_owned)];
    for row in now.rows() {
        let Some(then) = committed.get(&row.operation, &row.subject) else {
            continue;
        };
        let (then, now) = (then.instructions, row.cost.instructions);
        let difference = now - then;
        if difference.abs() < LEAST {
            continue;
        }
        let percent = if then > 0.0 {
            format!(" ({:+.1} %)", difference / then * 100.0)
        } else {
            String::new()
        };
        lines.push([
            row.name(),
            format!("{then:.1}"),
            format!("{now:.1}"),
            format!("{difference:+.1}{percent}"),
        ]);
    }
    if lines.len() == 1 {
        return "the instructions are those of the table\n".to_owned();
    }
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let [name, then, now, difference] = [0, 1, 2, 3].map(width);
    lines
        .iter()
        .map(|[a, b, c, d]| format!("{a:name$}  {b:>then$}  {c:>now$}  {d:>difference$}\n"))
        .collect()
}

/// Rows that ran, in their order, and then rows that are only in the table.
fn operations<'a>(committed: &'a Figures, now: &'a Figures) -> Vec<&'a str> {
    union(now.operations(), committed.operations())
}

fn union<'a>(mut first: Vec<&'a str>, second: Vec<&'a str>) -> Vec<&'a str> {
    let known: BTreeSet<&str> = first.iter().copied().collect();
    first.extend(second.into_iter().filter(|name| !known.contains(name)));
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
turn | mio | 100.0 | 0 | epoll_wait
turn | mio 1.2.5 | 200.0 | 0 | epoll_wait
turn | raw epoll | 50.0 | 0 | epoll_wait
long | mio | 1000.0 | 2 | read write
only | mio | 10.0 | 0 | -
";

    fn table() -> Figures {
        Figures::from_text(TABLE).unwrap()
    }

    /// The table with one line replaced: the one that begins like the given line.
    fn with(line: &str) -> Figures {
        let (name, _) = line.split_at(line.match_indices(" | ").nth(1).unwrap().0);
        let lines = TABLE.lines().map(|old| {
            if old.starts_with(&[name, " | "].concat()) {
                line
            } else {
                old
            }
        });
        Figures::from_text(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    }

    /// The problem and the notes of this operation. The other operations have none.
    fn judged_by(now: &Figures, operation: &str) -> (String, String) {
        let mut found = (String::new(), String::new());
        for judged in compare(&table(), now) {
            let problem = judged.outcome.err().map(|error| error.to_string());
            let those = (problem.unwrap_or_default(), judged.notes.join("; "));
            if judged.operation == operation {
                found = those;
            } else {
                assert_eq!(those, Default::default(), "{}", judged.operation);
            }
        }
        found
    }

    fn problem(line: &str) -> String {
        let (problem, notes) = judged_by(&with(line), line.split(" | ").next().unwrap());
        assert_eq!(notes, "");
        problem
    }

    fn note(line: &str) -> String {
        let (problem, notes) = judged_by(&with(line), line.split(" | ").next().unwrap());
        assert_eq!(problem, "");
        notes
    }

    #[test]
    fn the_table_itself_passes() {
        let judged = compare(&table(), &table());
        let operations: Vec<&str> = judged.iter().map(|it| it.operation.as_str()).collect();
        assert_eq!(operations, ["turn", "long", "only"]);
        assert!(judged.iter().all(|it| it.outcome.is_ok()));
        assert!(judged.iter().all(|it| it.notes.is_empty()));
    }

    #[test]
    fn more_instructions_than_the_margin_are_a_failure() {
        assert_eq!(problem("only | mio | 13.0 | 0 | -"), "");
        assert_eq!(
            problem("only | mio | 13.1 | 0 | -"),
            "13.1 instructions, at most 13.0 allowed: the table has 10.0"
        );
        assert_eq!(problem("long | mio | 1020.0 | 2 | read write"), "");
        assert_ne!(problem("long | mio | 1020.1 | 2 | read write"), "");
        assert_eq!(problem("turn | mio | 103.0 | 0 | epoll_wait"), "");
        assert_eq!(
            problem("turn | mio | 103.1 | 0 | epoll_wait"),
            "103.1 instructions, at most 103.0 allowed: \
             the table has 100.0 beside the 200.0 of mio 1.2.5, which are 200.0 now"
        );
    }

    #[test]
    fn what_the_compiler_does_to_all_is_no_failure() {
        let all = |factor: f64| {
            let row = |subject: &str, instructions: f64| {
                let now = instructions * factor;
                format!("turn | {subject} | {now:.1} | 0 | epoll_wait\n")
            };
            let rows = [
                row("mio", 100.0),
                row("mio 1.2.5", 200.0),
                row("raw epoll", 50.0),
            ];
            let mut now = Figures::from_text(&rows.concat()).unwrap();
            let mut others = table();
            others.retain(&["long".to_owned(), "only".to_owned()]);
            now.append(others);
            judged_by(&now, "turn")
        };
        assert_eq!(all(1.5), Default::default());
        assert_eq!(all(0.5), Default::default());
    }

    #[test]
    fn the_reference_that_allows_the_least_is_the_measure() {
        let (problem, notes) =
            judged_by(&with("turn | mio 1.2.5 | 180.0 | 0 | epoll_wait"), "turn");
        assert_eq!(
            problem,
            "100.0 instructions, at most 93.0 allowed: \
             the table has 100.0 beside the 200.0 of mio 1.2.5, which are 180.0 now"
        );
        assert_eq!(notes, "");
        let dearer = note("turn | raw epoll | 60.0 | 0 | epoll_wait");
        assert_eq!(dearer, "", "by the other one nothing is cheaper");
    }

    #[test]
    fn a_reference_that_takes_nothing_is_no_measure() {
        let table = |mio: &str| {
            let rows = [mio, "a | raw epoll | 0.0 | 0 | -\n"].concat();
            Figures::from_text(&rows).unwrap()
        };
        let committed = table("a | mio | 10.0 | 0 | -\n");
        let mut now = compare(&committed, &table("a | mio | 14.0 | 0 | -\n"));
        let problem = now.remove(0).outcome.unwrap_err().to_string();
        assert_eq!(
            problem,
            "14.0 instructions, at most 13.0 allowed: the table has 10.0"
        );
    }

    #[test]
    fn fewer_instructions_are_reported() {
        assert_eq!(note("only | mio | 7.0 | 0 | -"), "");
        assert_eq!(
            note("only | mio | 6.5 | 0 | -"),
            "6.5 instructions, 3.5 fewer than expected: the table has 10.0"
        );
    }

    #[test]
    fn allocations_and_calls_must_be_exact() {
        let fewer = "fewer, to be blessed in a commit of its own, which says why";
        assert_eq!(
            problem("turn | mio | 100.0 | 1 | epoll_wait"),
            "1 allocations, expected 0"
        );
        assert_eq!(
            problem("long | mio | 1000.0 | 1.9 | read write"),
            format!("1.9 allocations, expected 2: {fewer}")
        );
        assert_eq!(
            problem("turn | mio | 100.0 | 0 | getpid epoll_wait"),
            "calls `getpid epoll_wait`, expected `epoll_wait`"
        );
        assert_eq!(
            problem("only | mio | 10.0 | 0 | write"),
            "calls `write`, expected `-`"
        );
        assert_eq!(
            problem("long | mio | 1000.0 | 2 | write read"),
            "calls `write read`, expected `read write`"
        );
        assert_eq!(
            problem("turn | mio | 100.0 | 0 | -"),
            format!("calls `-`, expected `epoll_wait`: {fewer}")
        );
        assert_eq!(
            problem("long | mio | 1030.0 | 3 | -"),
            format!(
                "1030.0 instructions, at most 1020.0 allowed: the table has 1000.0; \
                 3 allocations, expected 2; calls `-`, expected `read write`: {fewer}"
            )
        );
    }

    #[test]
    fn calls_that_differ_from_time_to_time_are_a_failure() {
        let mut now = Figures::default();
        for row in table().rows() {
            let mut row = row.clone();
            if row.operation == "only" {
                row.cost.calls = Err("not the same every time".to_owned());
            }
            now.push(row).unwrap();
        }
        assert_eq!(judged_by(&now, "only").0, "calls not the same every time");
    }

    #[test]
    fn changes_of_a_reference_are_reported() {
        assert_eq!(
            note("turn | raw epoll | 50.0 | 1 | read"),
            "raw epoll: 1 allocations, expected 0; raw epoll: calls `read`, expected `epoll_wait`"
        );
    }

    #[test]
    fn what_only_one_has_is_a_failure() {
        let without = |name: &str| {
            let lines = TABLE.lines().filter(|line| !line.starts_with(name));
            Figures::from_text(&lines.collect::<Vec<_>>().join("\n")).unwrap()
        };
        let problem = |committed: &Figures, now: &Figures| {
            let outcomes = compare(committed, now).into_iter().filter_map(|judged| {
                let error = judged.outcome.err()?;
                Some(format!("{}: {error}", judged.operation))
            });
            outcomes.collect::<Vec<_>>().join("; ")
        };
        let (less, all) = (without("only"), table());
        assert_eq!(problem(&all, &less), "only: in the table, but did not run");
        assert_eq!(problem(&less, &all), "only: not in the table");
        let (less, all) = (without("turn | raw"), table());
        assert_eq!(
            problem(&all, &less),
            "turn: in the table with raw epoll, but did not run with it"
        );
        let none = without("turn | mio |");
        assert_eq!(problem(&none, &none), "turn: no cost with mio");
        assert_eq!(
            problem(&less, &all),
            "turn: not in the table with raw epoll"
        );
    }

    #[test]
    fn the_differences_are_shown_of_all() {
        let now = Figures::from_text(
            "turn | mio | 104.0 | 0 | epoll_wait\n\
             turn | mio 1.2.5 | 200.4 | 0 | epoll_wait\n\
             turn | raw epoll | 49.5 | 0 | epoll_wait\n\
             new | mio | 7.0 | 0 | -\n",
        );
        assert_eq!(
            differences(&table(), &now.unwrap()),
            "operation         table    now     difference\n\
             turn | mio        100.0  104.0  +4.0 (+4.0 %)\n\
             turn | raw epoll   50.0   49.5  -0.5 (-1.0 %)\n"
        );
        assert_eq!(
            differences(&table(), &table()),
            "the instructions are those of the table\n"
        );
    }
}
