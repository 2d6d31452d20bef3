//! The header above the diff of a fault:
//!
//! ```text
//! One sentence on what a program would suffer, which may go on
//! on the next line.
//!
//! test: registering epoll::an_edge_is_reported_once
//! test: lib pending::tests::a_released_bit_is_no_longer_pending
//! test: loom pending::loom_tests::loom_two_wakers_on_one_poll
//! test: counts turn/1/none
//!
//! --- a/src/…
//! ```
//!
//! The target is a file of tests/, or `lib` for the unit tests, or `loom` for those under loom. The
//! test's name is the one that the harness prints. With `counts` it is an operation of
//! bench/counts.txt, whose cost the fault increases; with `calls` one of testing/calls/expected.txt, with
//! the model's name before it; with `faulty-kernel` it is a backend and an
//! operation of testing/faulty-kernel; with `windows-calls` an operation of that program's table; with
//! `windows-oracle` a program that is kept, or `random programs`. Each of them must fail.
//!
//! There may be further lines among those. `env: NAME=VALUE` sets an environment variable for the
//! tests, such as a switch of a model. `full only: REASON` excludes a fault from `ci`. `killed:
//! REASON` says that a signal kills a child process of the test, as the test intends.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{anyhow, bail, Result};

use crate::counts::Bench;
use crate::windows::Program;

#[derive(Debug)]
pub struct Header {
    pub sentence: String,
    pub tests: Vec<(Target, String)>,
    /// The environment variables of the tests.
    pub env: BTreeMap<String, String>,
    pub full_only: bool,
    pub may_be_killed: bool,
    /// The files that the patch changes.
    pub files: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A file of tests/.
    Tests(String),
    Lib,
    Loom,
    /// `cargo xtask counts`, on one of its builds.
    Counts(Bench),
    /// `cargo xtask calls`.
    Calls,
    /// The program that makes system calls fail.
    FaultyKernel,
    /// A program for Windows.
    Windows(Program),
}

impl Target {
    /// Whether it is a program that tells of its tests in its own way, and not a harness.
    pub fn tells_itself(&self) -> bool {
        matches!(
            self,
            Target::Counts(_) | Target::Calls | Target::FaultyKernel | Target::Windows(_)
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Tests(file) => file,
            Target::Lib => "lib",
            Target::Loom => "loom",
            Target::Counts(_) => "counts",
            Target::Calls => "calls",
            Target::FaultyKernel => "faulty-kernel",
            Target::Windows(program) => program.name(),
        })
    }
}

impl Header {
    pub fn parse(patch: &str) -> Result<Header> {
        let lines: Vec<&str> = patch.lines().collect();
        let diff = lines
            .iter()
            .position(|line| line.starts_with("--- ") || line.starts_with("diff "))
            .ok_or_else(|| anyhow!("there is no diff"))?;
        let (head, diff) = lines.split_at(diff);

        let mut paragraphs = head.splitn(2, |line| line.trim().is_empty());
        let sentence = paragraphs.next().unwrap_or_default().join(" ");
        if !sentence.ends_with('.') || is_key(&sentence) {
            bail!("it does not begin with a sentence");
        }
        let mut header = Header {
            sentence,
            tests: Vec::new(),
            env: BTreeMap::new(),
            full_only: false,
            may_be_killed: false,
            files: changed(diff)?,
        };
        for line in paragraphs.next().unwrap_or_default() {
            if line.trim().is_empty() {
                continue;
            }
            match line.split_once(": ") {
                Some(("test", test)) => header.add_test(test)?,
                Some(("env", variable)) => header.add_variable(variable)?,
                Some(("full only", _)) => header.full_only = true,
                Some(("killed", _)) => header.may_be_killed = true,
                _ => bail!("{line:?} is no line of a header"),
            }
        }
        if header.tests.is_empty() {
            bail!("it names no test");
        }
        let counts = |target: &Target| matches!(target, Target::Counts(_) | Target::Calls);
        if !header.env.is_empty() && header.tests.iter().any(|(target, _)| counts(target)) {
            bail!("an operation is counted without variables");
        }
        Ok(header)
    }

    /// Whether each of its tests explores interleavings under loom, counts the cost of an
    /// operation, or makes calls fail, so that none tests events of an unchanged kernel.
    pub fn is_not_about_events(&self) -> bool {
        let is = |target: &Target| {
            matches!(
                target,
                Target::Loom
                    | Target::Counts(_)
                    | Target::Calls
                    | Target::FaultyKernel
                    | Target::Windows(Program::Calls)
            )
        };
        self.tests.iter().all(|(target, _)| is(target))
    }

    fn add_test(&mut self, test: &str) -> Result<()> {
        let target_and_name = test.trim().split_once(char::is_whitespace);
        let Some((target, name)) = target_and_name
            .map(|(target, name)| (target, name.trim()))
            // An operation's name may contain blanks.
            .filter(|(target, name)| {
                ["counts", "calls", "faulty-kernel"].contains(target)
                    || Program::named(target).is_some()
                    || !name.contains(char::is_whitespace)
            })
        else {
            bail!("{test:?} is not a target and a test's name");
        };
        let target = match target {
            "lib" => Target::Lib,
            "loom" => Target::Loom,
            "counts" => Target::Counts(Bench::of(name)),
            "calls" => Target::Calls,
            "faulty-kernel" => Target::FaultyKernel,
            other => match Program::named(other) {
                Some(program) => Target::Windows(program),
                None => Target::Tests(other.to_owned()),
            },
        };
        let test = (target, name.to_owned());
        if self.tests.contains(&test) {
            bail!("{name} appears twice");
        }
        self.tests.push(test);
        Ok(())
    }

    fn add_variable(&mut self, variable: &str) -> Result<()> {
        let Some((name, value)) = variable.split_once('=').filter(|(name, _)| is_name(name)) else {
            bail!("{variable:?} is not NAME=VALUE");
        };
        if self.env.insert(name.to_owned(), value.to_owned()).is_some() {
            bail!("{name} appears twice");
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && name.chars().all(is_part)
}

fn is_key(line: &str) -> bool {
    ["test: ", "env: ", "full only: ", "killed: "]
        .iter()
        .any(|key| line.starts_with(key))
}

/// The files that a diff changes. Only existing files below src/ are allowed, because a fault is in
/// the crate and not in its tests.
fn changed(diff: &[&str]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for pair in diff.windows(2) {
        let (Some(old), Some(new)) = (pair[0].strip_prefix("--- "), pair[1].strip_prefix("+++ "))
        else {
            continue;
        };
        match (old.strip_prefix("a/"), new.strip_prefix("b/")) {
            (Some(old), Some(new)) if old == new && old.starts_with("src/") => {
                files.push(old.to_owned());
            }
            _ => bail!("{old} is changed into {new}, and not a file of src/"),
        }
    }
    if files.is_empty() {
        bail!("the diff changes nothing");
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "--- a/src/sys/epoll.rs
+++ b/src/sys/epoll.rs
@@ -1,3 +1,3 @@
 a
-b
+c
 d
--- a/src/pending.rs
+++ b/src/pending.rs
@@ -1 +1 @@
-a
+b
";

    fn parse(head: &str) -> Result<Header> {
        Header::parse(&[head, DIFF].concat())
    }

    #[test]
    fn a_header_is_read() {
        let header = parse(
            "A program waits\nfor ever.\n\ntest: waker epoll::wakes_coalesce\n\
             test: lib a::b\ntest: loom c::d\n\n",
        )
        .unwrap();
        assert_eq!(header.sentence, "A program waits for ever.");
        assert_eq!(
            header.tests,
            [
                (
                    Target::Tests("waker".to_owned()),
                    "epoll::wakes_coalesce".to_owned()
                ),
                (Target::Lib, "a::b".to_owned()),
                (Target::Loom, "c::d".to_owned()),
            ]
        );
        assert_eq!(header.files, ["src/sys/epoll.rs", "src/pending.rs"]);
        assert!(!header.full_only && !header.may_be_killed);
    }

    #[test]
    fn an_operation_has_the_rest_of_the_line() {
        let header = parse(
            "Waits.\n\ntest: counts wake/first, 2 wakers\n\
             test: counts poll(2): turn/1/none\ntest: faulty-kernel poll Poll: drop\ntest: lib a::b\n\
             test: windows-calls Poll: drop\n",
        )
        .unwrap();
        let first = "wake/first, 2 wakers".to_owned();
        let second = "poll(2): turn/1/none".to_owned();
        assert_eq!(
            header.tests,
            [
                (Target::Counts(Bench::Plain), first),
                (Target::Counts(Bench::ForcedPoll), second),
                (Target::FaultyKernel, "poll Poll: drop".to_owned()),
                (Target::Lib, "a::b".to_owned()),
                (Target::Windows(Program::Calls), "Poll: drop".to_owned()),
            ]
        );
    }

    #[test]
    fn there_may_be_more_in_it() {
        let header =
            parse("Suffers.\n\ntest: lib a\nfull only: takes long\nkilled: as it should\n")
                .unwrap();
        assert!(header.full_only && header.may_be_killed);
        assert!(header.env.is_empty());
        let header = parse("Suffers.\n\ntest: lib a\nenv: A_1=b=c\nenv: B=\n").unwrap();
        let env: Vec<(&str, &str)> = header
            .env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(env, [("A_1", "b=c"), ("B", "")]);
        let git = "Suffers.\n\ntest: lib a\n\ndiff --git a/src/pending.rs b/src/pending.rs\n";
        assert_eq!(parse(git).unwrap().files.len(), 2);
    }

    #[test]
    fn a_header_that_lacks_something_is_refused() {
        for (head, why) in [
            ("", "sentence"),
            ("test: lib a\n", "sentence"),
            ("test: lib a.\n", "sentence"),
            ("No sentence\n\ntest: lib a\n", "sentence"),
            ("Suffers.\n", "names no test"),
            ("Suffers.\n\nfull only: slow\n", "names no test"),
            ("Suffers.\n\ntest: lib\n", "not a target and a test"),
            ("Suffers.\n\ntest: lib a b\n", "not a target and a test"),
            ("Suffers.\n\ntest: counts \n", "not a target and a test"),
            (
                "Suffers.\n\ntest: counts a\nenv: A=1\n",
                "without variables",
            ),
            ("Suffers.\n\ntest: lib a\ntest: lib a\n", "twice"),
            ("Suffers.\n\ntest: lib a\nenv: A=1\nenv: A=2\n", "twice"),
            ("Suffers.\n\ntest: lib a\nenv: A\n", "is not NAME=VALUE"),
            ("Suffers.\n\ntest: lib a\nenv: a=1\n", "is not NAME=VALUE"),
            (
                "Suffers.\n\ntest: lib a\nfull only\n",
                "no line of a header",
            ),
            (
                "Suffers.\n\ntest: lib a\nTests: lib b\n",
                "no line of a header",
            ),
        ] {
            let error = parse(head).unwrap_err().to_string();
            assert!(error.contains(why), "{head:?}: {error}");
        }
    }

    #[test]
    fn only_the_crates_own_files_are_changed() {
        let head = "Suffers.\n\ntest: lib a\n\n";
        for (diff, why) in [
            ("", "no diff"),
            ("--- a/src/lib.rs\n", "changes nothing"),
            (
                "--- a/tests/tcp.rs\n+++ b/tests/tcp.rs\n",
                "not a file of src/",
            ),
            ("--- a/src/lib.rs\n+++ /dev/null\n", "not a file of src/"),
            ("--- a/src/a.rs\n+++ b/src/b.rs\n", "not a file of src/"),
        ] {
            let error = Header::parse(&[head, diff].concat()).unwrap_err();
            assert!(error.to_string().contains(why), "{diff:?}: {error}");
        }
    }
}
