//! The table *Promises and their tests* of docs/TESTING.md: each published promise has a test that
//! notices if it is broken, and a fault with which that test was seen to fail.
//!
//! A cell names tests as in the header of a fault, but without the module: `FILE NAME`; and steps
//! as `cargo xtask STEP`. Each test must exist, and a fault of its row must name it. Each fault
//! must exist, and name a test of its row. A row that has only steps has no faults.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};

use super::fault::sorted;
use super::Fault;
use crate::report::Report;
use crate::root;

const PAGE: &str = "docs/TESTING.md";
const HEADING: &str = "## Promises and their tests";
const STEP: &str = "cargo xtask ";

/// Checks each row of the table. `is_step` tells whether a chore is a step of ci.
pub fn check(report: &mut Report, faults: &[Fault], is_step: fn(&str) -> bool) -> Result<()> {
    let page = fs::read_to_string(root().join(PAGE)).context(PAGE)?;
    for row in rows(&page)? {
        let holds = row.check(faults, is_step, &has_function);
        let name = format!("{PAGE}: {}", row.promise);
        report.one(&name, holds.map_err(|why| anyhow!("{why}")));
    }
    Ok(())
}

/// Whether the sources of a target have a function of this name.
fn has_function(target: &str, name: &str) -> Result<bool> {
    let (path, is_file) = match target {
        "lib" | "loom" => (root().join("src"), false),
        file => (root().join("tests").join(format!("{file}.rs")), true),
    };
    if is_file && !path.is_file() {
        return Ok(false);
    }
    let declares = |path: &Path| -> Result<bool> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(text.contains(&format!("fn {name}(")))
    };
    let mut left = vec![path];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(sorted(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && declares(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    promise: String,
    steps: Vec<String>,
    /// Target and name.
    tests: Vec<(String, String)>,
    /// `BACKEND/NAME`
    faults: Vec<String>,
}

fn rows(page: &str) -> Result<Vec<Row>> {
    let table = page
        .lines()
        .skip_while(|line| *line != HEADING)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    // The names of the columns, and the line below them.
    let rows: Vec<Row> = table.skip(2).map(Row::parse).collect::<Result<_>>()?;
    if rows.is_empty() {
        bail!("{PAGE} has no table below {HEADING:?}");
    }
    Ok(rows)
}

impl Row {
    fn parse(line: &str) -> Result<Row> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [promise, tests, faults] = cells[..] else {
            bail!("{line:?} has not three cells");
        };
        let mut row = Row {
            promise: promise.to_owned(),
            steps: Vec::new(),
            tests: Vec::new(),
            faults: code(faults),
        };
        for entry in code(tests) {
            if let Some(step) = entry.strip_prefix(STEP) {
                row.steps.push(step.to_owned());
            } else if let Some((target, name)) = entry.split_once(' ') {
                row.tests.push((target.to_owned(), name.to_owned()));
            } else {
                bail!("{entry:?} is not a target and a test's name");
            }
        }
        Ok(row)
    }

    fn check(
        &self,
        faults: &[Fault],
        is_step: fn(&str) -> bool,
        has_function: &dyn Fn(&str, &str) -> Result<bool>,
    ) -> Result<()> {
        if let Some(step) = self.steps.iter().find(|step| !is_step(step)) {
            bail!("there is no step {step:?}");
        }
        if self.tests.is_empty() && self.steps.is_empty() {
            bail!("nothing would notice that it is broken");
        }
        let mut named = BTreeSet::new();
        for fault in &self.faults {
            let Some(fault) = faults.iter().find(|one| one.to_string() == *fault) else {
                bail!("there is no fault {fault}");
            };
            let its = self.tests.iter().filter(|test| names(fault, test));
            let before = named.len();
            named.extend(its.clone());
            if before == named.len() && its.count() == 0 {
                bail!("{fault} names none of its tests");
            }
        }
        for test in &self.tests {
            let (target, name) = test;
            // The operation of such a target is no function. The run of its fault finds it.
            let is_function = !["counts", "calls", "faulty-kernel"].contains(&target.as_str());
            if is_function && !has_function(target, name)? {
                bail!("there is no test {target} {name}");
            }
            if !named.contains(test) {
                bail!("{target} {name} was seen to fail with none of its faults");
            }
        }
        Ok(())
    }
}

/// Whether the header of a fault names a test.
fn names(fault: &Fault, (target, name): &(String, String)) -> bool {
    fault.header.tests.iter().any(|(its, full)| {
        let ends = full.strip_suffix(name.as_str());
        its.to_string() == *target
            && ends.is_some_and(|path| path.is_empty() || path.ends_with("::"))
    })
}

/// The text between backticks.
fn code(cell: &str) -> Vec<String> {
    let parts = cell.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tests: &str, faults: &str) -> Row {
        let page = format!(
            "# A\n| a |\n{HEADING}\n\nSome words.\n\n| promise | test | fault |\n|---|---|---|\n\
             | Waits | {tests} | {faults} |\n\n| b |\n"
        );
        let mut rows = rows(&page).unwrap();
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    fn check(tests: &str, faults: &str) -> Result<()> {
        let all = [
            Fault::noticed_by(
                "epoll",
                "never",
                "test: waker epoll::waits\ntest: lib a::tests::b",
            ),
            Fault::noticed_by("cost", "longer", "test: counts wake/first, 2"),
        ];
        let has_function = |target: &str, name: &str| {
            Ok([("waker", "waits"), ("waker", "runs"), ("lib", "b")].contains(&(target, name)))
        };
        row(tests, faults).check(&all, |step| step == "api", &has_function)
    }

    #[test]
    fn a_row_names_tests_steps_and_faults() {
        let row = row("`cargo xtask api`, `waker waits`; `lib b`", "`epoll/never`");
        let test = |target: &str, name: &str| (target.to_owned(), name.to_owned());
        assert_eq!(row.promise, "Waits");
        assert_eq!(row.steps, ["api"]);
        assert_eq!(row.tests, [test("waker", "waits"), test("lib", "b")]);
        assert_eq!(row.faults, ["epoll/never"]);
    }

    #[test]
    fn a_row_holds_whose_tests_and_faults_name_each_other() {
        check("`cargo xtask api`", "").unwrap();
        check("`waker waits`", "`epoll/never`").unwrap();
        check("`waker waits` `lib b`", "`epoll/never`").unwrap();
        check(
            "`waker waits` `counts wake/first, 2`",
            "`epoll/never`, `cost/longer`",
        )
        .unwrap();
    }

    #[test]
    fn a_row_that_names_what_is_not_there_is_an_error() {
        for (tests, faults, why) in [
            ("", "", "nothing would notice"),
            ("`cargo xtask api2`", "", "no step \"api2\""),
            ("`waker waits`", "", "was seen to fail with none"),
            ("`waker waits`", "`epoll/ever`", "no fault epoll/ever"),
            (
                "`waker waits`",
                "`epoll/never`, `cost/longer`",
                "names none of its tests",
            ),
            ("`waker runs`", "`epoll/never`", "names none of its tests"),
            (
                "`waker waits`, `waker runs`",
                "`epoll/never`",
                "runs was seen to fail with none",
            ),
            (
                "`lib b`, `waker sleeps`",
                "`epoll/never`",
                "no test waker sleeps",
            ),
            ("`lib ests::b`", "`epoll/never`", "names none of its tests"),
        ] {
            let error = check(tests, faults).unwrap_err().to_string();
            assert!(error.contains(why), "{tests} {faults}: {error}");
        }
    }

    #[test]
    fn a_page_without_the_table_is_an_error() {
        assert!(rows("# A\n| a | b | c |\n|---|---|---|\n| `a` | b | c |\n").is_err());
        assert!(rows(&format!("{HEADING}\n\n| a |\n|---|\n| b |\n")).is_err());
    }

    #[test]
    fn functions_are_found_by_target() {
        assert!(has_function("waker", "wakes_coalesce").unwrap());
        assert!(!has_function("waker", "wakes_coal").unwrap());
        assert!(!has_function("no_such_file", "wakes_coalesce").unwrap());
        assert!(has_function("lib", "ticks_wrap_around").unwrap());
        assert!(!has_function("lib", "wakes_coalesce").unwrap());
    }
}
