//! Counts tests. A step that runs tests ends with `N passed, N failed`. A step that runs none has
//! failed: a filter that matches nothing looks too much like success.

use anyhow::{bail, Result};

use crate::sh::{Cmd, Ended};

#[derive(Debug, Default, PartialEq)]
pub struct Report {
    passed: usize,
    failed: usize,
    ignored: usize,
    problems: Vec<String>,
}

impl Report {
    /// Runs a step that runs tests, and prints its last line in any case.
    pub fn of(step: impl FnOnce(&mut Report) -> Result<()>) -> Result<()> {
        let mut report = Report::default();
        if let Err(error) = step(&mut report) {
            report.problem(format!("{error:#}"));
        }
        report.close()
    }

    /// Runs a program that prints libtest's result lines, and counts them.
    pub fn libtest(&mut self, cmd: Cmd) {
        match cmd.tee() {
            Ok(ended) => self.libtest_ended(&ended),
            Err(error) => self.problem(format!("{error:#}")),
        }
    }

    /// Counts libtest's result lines in the output of a program.
    pub fn libtest_ended(&mut self, ended: &Ended) {
        let before = self.failed;
        self.libtest_output(&ended.stdout);
        if let Err(error) = ended.success() {
            let is_counted = self.failed > before;
            let failures = failures(&ended.stdout).join("\n");
            self.problems
                .push(format!("{error:#}\n{failures}").trim_end().to_owned());
            // It was not built, or did not run to its end.
            self.failed += usize::from(!is_counted);
        }
    }

    /// Counts one test, which is a program or a comparison.
    pub fn one(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => self.problem(format!("{name}: {error:#}")),
        }
    }

    /// Tests that passed elsewhere.
    pub fn passed(&mut self, tests: usize) {
        self.passed += tests;
    }

    /// Adds a problem that no test has reported.
    pub fn problem(&mut self, problem: String) {
        self.failed += 1;
        self.problems.push(problem);
    }

    /// Prints the last line, and fails if the step has failed.
    fn close(mut self) -> Result<()> {
        if self.passed + self.failed == 0 {
            self.problems.push("no test was run".to_owned());
        }
        for problem in &self.problems {
            println!("FAILED: {problem}");
        }
        if self.ignored > 0 {
            println!("{} ignored", self.ignored);
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 || !self.problems.is_empty() {
            bail!(
                "{}",
                self.problems.first().map_or("tests failed", String::as_str)
            );
        }
        Ok(())
    }

    fn libtest_output(&mut self, stdout: &str) {
        // A test may run its own program again, whose lines then come in between. Tests of that run
        // do not count. So the programs that have begun and not ended form a stack, each with its
        // number of tests.
        let mut running: Vec<usize> = Vec::new();
        let mut within = Vec::new();
        for line in stdout.lines() {
            if let Some(tests) = start(line) {
                running.push(tests);
            }
            if let Some(counts @ [passed, failed, ignored]) = result(line) {
                // Their parents have ended the programs above it.
                let tests = passed + failed + ignored;
                let begun = running.iter().rposition(|running| *running == tests);
                running.truncate(begun.unwrap_or(0));
                if running.is_empty() {
                    within.clear();
                    self.add(counts);
                } else {
                    within.push(counts);
                }
            }
        }
        if let Some(tests) = running.first() {
            // It died, so the other programs ran after it, not within it.
            self.problem(format!("a program of {tests} tests ended without a result"));
            for counts in within {
                self.add(counts);
            }
        }
    }

    fn add(&mut self, [passed, failed, ignored]: [usize; 3]) {
        self.passed += passed;
        self.failed += failed;
        self.ignored += ignored;
    }
}

/// How many tests passed, by libtest's result lines.
pub fn passed(stdout: &str) -> usize {
    stdout
        .lines()
        .filter_map(result)
        .map(|[passed, ..]| passed)
        .sum()
}

/// What libtest shows again at the end of a program: the names of failed tests, and their output. The beginning of
/// each is enough to see what has failed where only the end of a log is at hand.
fn failures(stdout: &str) -> Vec<&str> {
    const MOST_OF_EACH: usize = 12;
    let mut shown = Vec::new();
    let mut left = 0;
    for line in stdout.lines() {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            left = MOST_OF_EACH;
        } else if line == "failures:" || result(line).is_some() {
            left = 0;
        }
        if left > 0 && !line.is_empty() {
            shown.push(line);
            left -= 1;
        }
    }
    shown
}

/// `running 12 tests`: how many.
fn start(line: &str) -> Option<usize> {
    let count = line.strip_prefix("running ")?;
    let count = count
        .strip_suffix(" tests")
        .or(count.strip_suffix(" test"))?;
    count.parse().ok()
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in
/// 0.01s`: passed, failed, ignored. Output of a test may precede it on the line.
fn result(line: &str) -> Option<[usize; 3]> {
    let (_, rest) = line.split_once("test result: ")?;
    let (_, counts) = rest.split_once(". ")?;
    let mut counts = counts.split("; ").map(|count| count.split_once(' '));
    let mut next = |what: &str| match counts.next()?? {
        (n, name) if name == what => n.parse().ok(),
        _ => None,
    };
    Some([next("passed")?, next("failed")?, next("ignored")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_PROGRAMS: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... ignored

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
noise from a testtest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out
";

    #[test]
    fn result_lines_are_summed() {
        let mut report = Report::default();
        report.libtest_output(TWO_PROGRAMS);
        assert_eq!(
            report,
            Report {
                passed: 2,
                failed: 1,
                ignored: 1,
                problems: vec![]
            }
        );
        assert!(report.close().is_err());
    }

    #[test]
    fn text_that_looks_like_a_result_is_ignored() {
        for line in [
            "test result",
            "test result: ok",
            "test result: ok. many passed; 0 failed; 0 ignored",
            "2 passed, 0 failed",
        ] {
            assert_eq!(result(line), None, "{line}");
        }
        assert_eq!(start("running 12 tests"), Some(12));
        assert_eq!(start("running the tests"), None);
    }

    #[test]
    fn a_program_that_died_counts_as_a_failure() {
        let mut report = Report::default();
        report.libtest_output("running 3 tests\ntest a ... ok\n");
        assert_eq!((report.passed, report.failed), (0, 1));
        assert!(report.close().is_err());
    }

    #[test]
    fn a_program_that_died_among_others_counts_as_a_failure() {
        let mut report = Report::default();
        report.libtest_output(&["running 7 tests\n", TWO_PROGRAMS].concat());
        assert_eq!((report.passed, report.failed), (2, 2));
    }

    #[test]
    fn what_failed_tests_have_printed_is_shown_at_the_end() {
        let numbers: String = (0..20).map(|number| format!("{number}\n")).collect();
        let stdout = format!(
            "
running 3 tests
test a ... FAILED
test b ... FAILED
test c ... ok

failures:

---- a stdout ----
one
{numbers}
---- b stdout ----

two

failures:
    a
    b

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out
"
        );
        let shown = failures(&stdout);
        assert_eq!(shown[..3], ["---- a stdout ----", "one", "0"]);
        assert_eq!(shown[11..], ["9", "---- b stdout ----", "two"]);

        let script = "printf '%s\n' '---- a stdout ----' \"$0\"; exit 101";
        let ended = Cmd::new("sh").args(["-c", script, "three"]);
        let mut report = Report::default();
        report.libtest_ended(&ended.quiet().unwrap());
        let [problem] = &report.problems[..] else {
            panic!("{:?}", report.problems);
        };
        assert!(problem.ends_with("exit status: 101\n---- a stdout ----\nthree"));
    }

    #[test]
    fn what_a_test_runs_itself_is_not_counted() {
        let nested = "
running 2 tests

running 1 test
test b ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s

running 1 test
test a ... ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let mut report = Report::default();
        report.libtest_output(nested);
        assert_eq!((report.passed, report.failed), (2, 0));
    }

    #[test]
    fn no_test_at_all_is_a_failure() {
        assert!(Report::default().close().is_err());
        let mut report = Report::default();
        report.libtest_output(
            "running 0 tests\n\n\
             test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n",
        );
        assert!(report.close().is_err());
    }

    #[test]
    fn a_program_that_fails_without_a_word_is_a_failure() {
        // Not shown: otherwise the step that runs this test would count it.
        let script = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; exit 1";
        let ended = Cmd::new("sh").arg("-c").arg(script).quiet().unwrap();
        let mut report = Report::default();
        report.libtest_ended(&ended);
        assert_eq!((report.passed, report.failed), (1, 1));
        assert!(report.close().is_err());
    }
}
