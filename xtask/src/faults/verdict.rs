//! The result of a test, from the harness' output, and the verdict on a fault.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::faults::header::Target;
use crate::sh::Ended;

/// The result of one test.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Passed,
    /// It failed. This is its output, as the harness has captured it.
    Failed(String),
    /// The harness reached its time limit before it printed this test's result.
    TimedOut(Duration),
    Signal(i32),
    /// The harness ended without a result: a test has ended its process.
    Exited(i32),
    /// The program that runs the test failed, so the test has no result.
    Broken(String),
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => f.write_str("passes"),
            Outcome::Failed(output) => match panics(output).first() {
                Some(panic) => write!(f, "fails: {panic}"),
                None => write!(f, "fails: {}", output.lines().next().unwrap_or("silently")),
            },
            Outcome::TimedOut(limit) => write!(f, "takes longer than {} s", limit.as_secs()),
            Outcome::Signal(signal) => write!(f, "dies by signal {signal}"),
            Outcome::Exited(status) => write!(f, "ends its process with status {status}"),
            Outcome::Broken(why) => write!(f, "has no result: {why}"),
            Outcome::NotRun => f.write_str("does not exist"),
        }
    }
}

/// The verdict on a fault.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// These assertions noticed it.
    Noticed(String),
    Survived(String),
    DoesNotApply(String),
    DoesNotCompile,
    TimedOut(Duration),
    Signal(i32),
    Exited(i32),
    /// A test failed, but not on an assertion of its own.
    NotItsOwn(String),
    /// The tests cannot judge this fault.
    NoMeasure(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Noticed(by) => write!(f, "noticed: {by}"),
            Verdict::Survived(test) => write!(f, "SURVIVED: {test} passes"),
            Verdict::DoesNotApply(why) => write!(f, "does not apply: {why}"),
            Verdict::DoesNotCompile => f.write_str("does not compile"),
            Verdict::TimedOut(limit) => write!(f, "timed out, after {} s", limit.as_secs()),
            Verdict::Signal(signal) => write!(f, "ended by a signal, {signal}"),
            Verdict::Exited(status) => write!(f, "the process ended, with status {status}"),
            Verdict::NotItsOwn(what) => write!(f, "not by an assertion of the test: {what}"),
            Verdict::NoMeasure(why) => write!(f, "cannot be judged: {why}"),
        }
    }
}

/// The result of one test, from a harness that ran to its end.
pub fn outcome(ended: &Ended, test: &str) -> Outcome {
    let printed = printed_outcome(&ended.stdout, test);
    let has_result = ended.stdout.contains("test result: ");
    match (printed, ended.timed_out, ended.status.signal()) {
        (Some(Outcome::Passed), ..) => Outcome::Passed,
        // The output of failed tests comes at the end.
        (_, Some(limit), _) => Outcome::TimedOut(limit),
        (_, None, Some(signal)) => Outcome::Signal(signal),
        (Some(failed), None, None) => failed,
        (None, None, None) if has_result => Outcome::NotRun,
        // On Windows, which has no signals, every death looks like this.
        (None, None, None) => Outcome::Exited(ended.status.code().unwrap_or_default()),
    }
}

/// The same for a harness that ran one test alone and captured no output.
pub fn outcome_alone(ended: &Ended) -> Outcome {
    /// libtest's exit status if a test has failed.
    const FAILED: i32 = 101;

    let said = &ended.stdout;
    match (ended.timed_out, ended.status.code(), ended.status.signal()) {
        (Some(limit), ..) => Outcome::TimedOut(limit),
        _ if said.contains("test result: ok. 1 passed; 0 failed; ") => Outcome::Passed,
        (None, Some(FAILED), _) => Outcome::Failed(said.clone()),
        // Loom aborts if it panics again during the clean-up after a panic.
        (None, _, Some(signal)) if signal == Signal::SIGABRT as i32 => {
            Outcome::Failed(said.clone())
        }
        (None, _, Some(signal)) => Outcome::Signal(signal),
        _ => Outcome::NotRun,
    }
}

/// The harness' output for a test: the line with its result, and its captured output below.
fn printed_outcome(stdout: &str, test: &str) -> Option<Outcome> {
    let line = format!("test {test} ... ");
    let result = stdout.lines().find_map(|l| l.strip_prefix(&line))?;
    match result {
        "ok" => Some(Outcome::Passed),
        "FAILED" => {
            let heading = format!("---- {test} stdout ----");
            let kept = stdout
                .lines()
                .skip_while(|line| *line != heading)
                .skip(1)
                .take_while(|line| !(line.starts_with("---- ") && line.ends_with(" stdout ----")));
            Some(Outcome::Failed(kept.collect::<Vec<_>>().join("\n")))
        }
        _ => None,
    }
}

/// Whether a test has noticed a fault. With `may_be_killed`, a signal may kill a child process of
/// the test.
pub fn of(outcome: Outcome, target: &Target, test: &str, may_be_killed: bool) -> Verdict {
    let output = match outcome {
        Outcome::Passed => return Verdict::Survived(format!("{target} {test}")),
        Outcome::TimedOut(limit) => return Verdict::TimedOut(limit),
        Outcome::Signal(signal) => return Verdict::Signal(signal),
        Outcome::Exited(status) => return Verdict::Exited(status),
        Outcome::Broken(why) => return Verdict::NotItsOwn(why),
        Outcome::NotRun => return Verdict::NoMeasure(format!("{target} {test} does not exist")),
        // Its output says what is wrong, and contains no output of other tests.
        Outcome::Failed(why) if target.tells_itself() => return Verdict::Noticed(why),
        Outcome::Failed(output) => output,
    };
    let panics = panics(&output);
    // A test that runs in a child process reports how the child ended, and then the child's output.
    let child = panics.first().and_then(|panic| {
        let (_, how) = panic.message.split_once(" failed in its child process: ")?;
        Some(how)
    });
    let candidates = match child {
        Some(how) => match how.strip_prefix("signal: ") {
            Some(_) if may_be_killed => &panics[..],
            Some(signal) => {
                let number = signal.split(' ').next().and_then(|n| n.parse().ok());
                return Verdict::Signal(number.unwrap_or(0));
            }
            None => &panics[1..],
        },
        // Later panics may come from loom's clean-up.
        None if *target == Target::Loom => &panics[..panics.len().min(1)],
        None => &panics[..],
    };
    match candidates.iter().find(|panic| panic.is_of(target)) {
        Some(own) => Verdict::Noticed(own.to_string()),
        None => Verdict::NotItsOwn(match panics.first() {
            Some(panic) => panic.to_string(),
            None => "no output".to_owned(),
        }),
    }
}

#[derive(Debug, PartialEq)]
struct Panic {
    /// File and line.
    place: String,
    /// The first line of its message.
    message: String,
}

impl Panic {
    /// Whether it is an assertion in this target's tests, not in the code that they test.
    fn is_of(&self, target: &Target) -> bool {
        match target {
            Target::Tests(_) => self.place.starts_with("tests/"),
            Target::Lib => self.place.starts_with("src/"),
            // Loom panics with a deadlock if a wake-up is lost. (It also panics if a model is too
            // large, which means nothing.)
            Target::Loom => {
                self.place.starts_with("src/")
                    || self.place.contains("/loom-") && self.message.starts_with("deadlock")
            }
            // They do not panic.
            Target::Counts(_) | Target::Calls | Target::FaultyKernel | Target::Windows(_) => false,
        }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 120;
        let message: String = self.message.chars().take(MOST).collect();
        let place = match self.place.split_once("/loom-") {
            Some((_, place)) => format!("loom-{place}"),
            None => self.place.clone(),
        };
        let more = if message.len() < self.message.len() {
            "…"
        } else {
            ""
        };
        write!(f, "{place}: {message}{more}")
    }
}

/// The panics in a test's output: `thread 'name' (id) panicked at FILE:LINE:COLUMN:`, and the
/// message on the next lines.
fn panics(output: &str) -> Vec<Panic> {
    let mut lines = output.lines();
    let mut panics = Vec::new();
    while let Some(line) = lines.next() {
        let Some((_, place)) = line.split_once(" panicked at ") else {
            continue;
        };
        // Without the column and the last colon.
        let Some((place, _column)) = place.trim_end_matches(':').rsplit_once(':') else {
            continue;
        };
        panics.push(Panic {
            place: place.to_owned(),
            message: lines.next().unwrap_or_default().to_owned(),
        });
    }
    panics
}

/// The result of `cargo xtask counts`, or `calls`, for one operation.
pub fn outcome_counted(outcomes: &Result<Vec<(String, Result<()>)>>, operation: &str) -> Outcome {
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => return Outcome::Broken(format!("{error:#}")),
    };
    match outcomes.iter().find(|(name, _)| name == operation) {
        Some((_, Ok(()))) => Outcome::Passed,
        Some((_, Err(error))) => Outcome::Failed(format!("{error:#}")),
        None => Outcome::NotRun,
    }
}

/// The result of testing/faulty-kernel, or of a program for Windows, for one operation.
pub fn outcome_of_failures(ended: &Ended, operation: &str) -> Outcome {
    let failed = format!("FAILED: {operation}: ");
    let passed = format!("ok: {operation}: ");
    let mut lines = ended.stdout.lines();
    match lines.find(|line| line.starts_with(&failed) || line.starts_with(&passed)) {
        Some(line) if line.starts_with(&passed) => Outcome::Passed,
        Some(line) => Outcome::Failed(line[failed.len()..].to_owned()),
        None => match (ended.timed_out, ended.status.code()) {
            (Some(limit), _) => Outcome::TimedOut(limit),
            (None, Some(0)) => Outcome::NotRun,
            (None, _) => Outcome::Broken(ended.stdout.trim().to_owned()),
        },
    }
}

/// The test programs, from cargo's messages with `--message-format=json`. `main` is the name of the
/// program that is not built from a file of tests/.
pub fn test_programs(messages: &str, main: &Target) -> BTreeMap<Target, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let built = &message["target"];
            let is_test = message["profile"]["test"] == true;
            let target = match (built["kind"][0].as_str()?, is_test) {
                ("test", true) => Target::Tests(built["name"].as_str()?.to_owned()),
                ("lib", true) | ("bin", false) => main.clone(),
                _ => return None,
            };
            Some((target, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::counts::Bench;
    use crate::sh::{ended_after_output, Cmd};

    const OUTPUT: &str = "
running 3 tests
test epoll::a ... ok
test epoll::b ... FAILED
test epoll::c ... FAILED

failures:

---- epoll::b stdout ----

thread 'epoll::b' (1234) panicked at tests/registering.rs:93:5:
unexpected: [Event]
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

---- epoll::c stdout ----

thread '<unnamed>' panicked at src/pending.rs:70:9:
attempt to shift left with overflow


failures:
    epoll::b
    epoll::c

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 30 filtered out
";

    fn tests() -> Target {
        Target::Tests("registering".to_owned())
    }

    fn verdict(output: &str, target: &Target, may_be_killed: bool) -> Verdict {
        let outcome = Outcome::Failed(output.to_owned());
        of(outcome, target, "a test", may_be_killed)
    }

    #[test]
    fn an_operation_whose_calls_fail_says_what_is_wrong() {
        let of = |script: &str| {
            let ended = Cmd::new("sh").arg("-c").arg(script).quiet().unwrap();
            outcome_of_failures(&ended, "Poll: drop")
        };
        assert_eq!(of("echo 'ok: Poll: drop: 5 failures'"), Outcome::Passed);
        let failed = Outcome::Failed("call 1".to_owned());
        assert_eq!(of("echo 'FAILED: Poll: drop: call 1'; exit 1"), failed);
        assert_eq!(of("true"), Outcome::NotRun);
        let not_run = Outcome::Broken("not run: why".to_owned());
        assert_eq!(of("echo 'not run: why'; exit 77"), not_run);
    }

    #[test]
    fn each_tests_result_is_found() {
        assert_eq!(printed_outcome(OUTPUT, "epoll::a"), Some(Outcome::Passed));
        assert_eq!(printed_outcome(OUTPUT, "epoll"), None);
        assert_eq!(printed_outcome(OUTPUT, "epoll::d"), None);
        let Some(Outcome::Failed(b)) = printed_outcome(OUTPUT, "epoll::b") else {
            panic!("it failed");
        };
        assert!(b.contains("unexpected") && !b.contains("overflow"), "{b}");
    }

    #[test]
    fn a_test_notices_by_its_own_assertion() {
        let of = |test| {
            of(
                printed_outcome(OUTPUT, test).unwrap(),
                &tests(),
                test,
                false,
            )
        };
        let own = "tests/registering.rs:93: unexpected: [Event]".to_owned();
        assert_eq!(of("epoll::b"), Verdict::Noticed(own));
        assert!(matches!(of("epoll::c"), Verdict::NotItsOwn(_)));
        let survived = Verdict::Survived("registering epoll::a".to_owned());
        assert_eq!(of("epoll::a"), survived);
        let nothing = Verdict::NotItsOwn("no output".to_owned());
        assert_eq!(verdict("", &tests(), false), nothing);
        let unit = "thread 'a' panicked at src/pending.rs:1:2:\nassertion failed";
        assert!(matches!(
            verdict(unit, &Target::Lib, false),
            Verdict::Noticed(_)
        ));
    }

    #[test]
    fn a_child_processs_assertion_counts_and_its_death_does_not() {
        let parent = |how: &str| {
            format!(
                "thread 'a' panicked at tests/util/mod.rs:1:2:\n\
                 epoll::a failed in its child process: {how}\n"
            )
        };
        let own = "thread 'a' panicked at tests/processes.rs:3:4:\nwaited in vain\n";
        let foreign = "thread 'a' panicked at src/poll.rs:3:4:\nno\n";
        let exit = parent("exit status: 101");
        let noticed = Verdict::Noticed("tests/processes.rs:3: waited in vain".to_owned());
        assert_eq!(
            verdict(&[&exit, own].concat(), &tests(), false),
            noticed,
            "what the child said"
        );
        let foreign = verdict(&[&exit, foreign].concat(), &tests(), false);
        assert!(matches!(foreign, Verdict::NotItsOwn(_)));
        let killed = parent("signal: 31 (SIGSYS) (core dumped)");
        assert_eq!(verdict(&killed, &tests(), false), Verdict::Signal(31));
        let intended = verdict(&killed, &tests(), true);
        assert!(matches!(intended, Verdict::Noticed(_)));
    }

    #[test]
    fn of_looms_own_panics_a_deadlock_counts() {
        let loom = |message: &str| {
            let place = "/registry/loom-0.7.2/src/rt/execution.rs:216:13:";
            let output = format!("thread 'a' panicked at {place}\n{message}\n");
            verdict(&output, &Target::Loom, false)
        };
        let deadlock = "loom-0.7.2/src/rt/execution.rs:216: deadlock; threads = []".to_owned();
        assert_eq!(loom("deadlock; threads = []"), Verdict::Noticed(deadlock));
        let too_large = loom("Model exceeded maximum number of branches.");
        assert!(matches!(too_large, Verdict::NotItsOwn(_)));
    }

    #[test]
    fn looms_abort_after_a_deadlock_is_none() {
        let run = |script: &str| {
            let cmd = crate::sh::Cmd::new("sh").arg("-c").arg(script);
            outcome_alone(&cmd.quiet().unwrap())
        };
        let said = Outcome::Failed("a deadlock\n".to_owned());
        assert_eq!(run("echo a deadlock; kill -ABRT $$"), said);
        assert_eq!(run("echo a deadlock; exit 101"), said);
        assert_eq!(run("kill -SEGV $$"), Outcome::Signal(11));
        assert_eq!(run("exit 1"), Outcome::NotRun);
        let passed = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
        assert_eq!(run(passed), Outcome::Passed);
        let twice = "thread 'a' panicked at /x/loom-0.7.2/src/rt/thread.rs:276:39:\nNone\n\
                     thread 'a' panicked at /x/loom-0.7.2/src/rt/execution.rs:216:13:\ndeadlock\n";
        let foreign = verdict(twice, &Target::Loom, false);
        assert!(matches!(foreign, Verdict::NotItsOwn(_)));
    }

    #[test]
    fn a_harness_that_does_not_finish_is_recognised() {
        let run = |script: &str, limit| {
            let cmd = Cmd::new("sh").arg("-c").arg(script).limit(limit);
            outcome(&cmd.quiet().unwrap(), "a")
        };
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(200));
        assert_eq!(run("kill -SEGV $$", long), Outcome::Signal(11));
        assert_eq!(run("sleep 60", short), Outcome::TimedOut(short));
        let another = "echo 'test b ... ok'; echo 'test result: ok. 1 passed'";
        assert_eq!(run(another, long), Outcome::NotRun);
        let exited = run("echo 'test b ... ok'; exit 5", long);
        assert_eq!(exited, Outcome::Exited(5));
        let hangs = |word: &str| {
            let script = format!("echo 'test a ... {word}'; sleep 1000");
            let ended = ended_after_output(|| Cmd::new("sh").arg("-c").arg(&script));
            (outcome(&ended, "a"), ended.timed_out.unwrap())
        };
        assert_eq!(hangs("ok").0, Outcome::Passed);
        let (failed, limit) = hangs("FAILED");
        assert_eq!(failed, Outcome::TimedOut(limit));
    }

    #[test]
    fn the_guards_word_on_an_operation_is_its_own() {
        let target = Target::Counts(Bench::Plain);
        let verdict = |outcomes: &Result<Vec<(String, Result<()>)>>| {
            of(outcome_counted(outcomes, "a b"), &target, "a b", false)
        };
        let one = |outcome| Ok(vec![("a b".to_owned(), outcome)]);
        let noticed = Verdict::Noticed("too many".to_owned());
        assert_eq!(verdict(&one(Err(anyhow!("too many")))), noticed);
        let survived = Verdict::Survived("counts a b".to_owned());
        assert_eq!(verdict(&one(Ok(()))), survived);
        let broken = Verdict::NotItsOwn("no strace".to_owned());
        assert_eq!(verdict(&Err(anyhow!("no strace"))), broken);
        let not_there = Verdict::NoMeasure("counts a b does not exist".to_owned());
        assert_eq!(verdict(&Ok(vec![])), not_there);
    }

    #[test]
    fn the_test_programs_are_found() {
        let artifact = |kind: &str, name: &str, is_test: bool, program: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"#
            ) + &format!(r#""profile":{{"test":{is_test}}},"executable":{program}}}"#)
                + "\n"
        };
        let messages = [
            artifact("lib", "mio", false, "null"),
            artifact("lib", "mio", true, r#""/lib""#),
            "not JSON\n".to_owned(),
            artifact("test", "registering", true, r#""/registering""#),
            artifact("test", "other", true, "null"),
            "{\"reason\":\"build-finished\",\"success\":true}\n".to_owned(),
        ]
        .concat();
        let found = test_programs(&messages, &Target::Loom);
        let expected = [
            (tests(), PathBuf::from("/registering")),
            (Target::Loom, PathBuf::from("/lib")),
        ];
        assert_eq!(found, BTreeMap::from(expected));
        assert!(test_programs("", &Target::Lib).is_empty());
        let bench = Target::Counts(Bench::Plain);
        let messages = [
            artifact("lib", "mio", false, "null"),
            artifact("bin", "mio-bench", false, r#""/mio-bench""#),
        ]
        .concat();
        let found = test_programs(&messages, &bench);
        assert_eq!(found, BTreeMap::from([(bench, "/mio-bench".into())]));
    }
}
