//! The runs of each operation: first to see its calls, then with each of them failing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{self, AssertUnwindSafe};
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::calls::{self, Call, Failure, MOST_FAILURES};
use crate::operation::{Expected, Operation};
use crate::operations;

/// After so many problems an operation is given up; of one that is run alone the first tells enough.
const MOST_PROBLEMS: usize = 5;

pub fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// How long what must come is waited for.
pub fn patience() -> Duration {
    let seconds = std::env::var("MIO_TEST_PATIENCE").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// What the last panic said.
static SAID: Mutex<String> = Mutex::new(String::new());

pub fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe { calls::replace() };
    panic::set_hook(Box::new(|panic| {
        calls::stop_failing();
        let mut said = SAID.lock().unwrap();
        if said.is_empty() {
            *said = panic.to_string().replace('\n', " ");
        }
    }));
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let exact = arguments.next().filter(|_| filter == "--exact");
    let is_wanted = |name: &str| match &exact {
        Some(exact) => name == exact,
        None => name.contains(&filter),
    };
    println!("running the operations");
    let watchdog = watchdog();
    let mut has_failed = false;
    for operation in operations::all() {
        if !is_wanted(&operation.name) {
            continue;
        }
        let mut run = OfOperation {
            operation: &operation,
            watchdog: &watchdog,
            injected: 0,
            problems: Vec::new(),
            most_problems: match exact {
                Some(_) => 1,
                None => MOST_PROBLEMS,
            },
            left_out: BTreeMap::new(),
        };
        run.explore(&[], Expected::Success);
        has_failed |= !run.problems.is_empty();
        run.print();
    }
    match has_failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Ends the process when a run takes too long. It is sent the name of each run.
fn watchdog() -> Sender<String> {
    let (sender, receiver) = mpsc::channel::<String>();
    thread::spawn(move || {
        let mut current = String::new();
        loop {
            match receiver.recv_timeout(patience() * 4) {
                Ok(next) => current = next,
                Err(RecvTimeoutError::Timeout) => {
                    println!("FAILED: {current}it hangs");
                    process::exit(1);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    sender
}

struct OfOperation<'a> {
    operation: &'a Operation,
    watchdog: &'a Sender<String>,
    /// How many times a call was made to fail.
    injected: usize,
    problems: Vec<String>,
    most_problems: usize,
    /// Calls with the reason, and which of their errors.
    left_out: BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>,
}

impl OfOperation<'_> {
    /// Runs it by the plan, and then with each call behind the plan's failing, too.
    fn explore(&mut self, plan: &[Failure], expected: Expected) {
        if self.problems.len() >= self.most_problems {
            return;
        }
        let seen = match self.run(plan, expected) {
            Ok(calls) => calls,
            Err(problem) => {
                self.problems.push(described(plan) + &problem);
                return;
            }
        };
        self.injected += usize::from(!plan.is_empty());
        if expected != Expected::Success || plan.len() == MOST_FAILURES {
            return;
        }
        let done = plan.last().map_or(0, |failure| failure.number);
        for (index, &call) in seen.iter().enumerate().skip(done) {
            for &(error, name) in call.errors() {
                let number = index + 1;
                let failure = Failure {
                    number,
                    call,
                    error,
                };
                let plan = [plan, &[failure]].concat();
                match self.operation.expected(failure) {
                    Expected::LeftOut(reason) => {
                        let errors = self.left_out.entry((call.name(), reason)).or_default();
                        errors.insert(name);
                    }
                    expected => self.explore(&plan, expected),
                }
            }
        }
    }

    /// Returns the calls that it made.
    fn run(&self, plan: &[Failure], expected: Expected) -> Result<Vec<Call>, String> {
        let name = format!("{}: {}", self.operation.name, described(plan));
        let _ = self.watchdog.send(name);
        SAID.lock().unwrap().clear();
        let run = |plan: &[Failure], expected| {
            let run = AssertUnwindSafe(|| (self.operation.run)(plan, expected));
            panic::catch_unwind(run).map_err(|_| SAID.lock().unwrap().clone())
        };
        if plan.is_empty() {
            // The first time, things are made that are kept.
            run(&[], Expected::Success)?;
        }
        let before = calls::handles();
        run(plan, expected)?;
        let made = calls::made();
        match calls::handles() {
            after if after > before => Err(format!("{after} handles, and {before} before")),
            _ => Ok(made),
        }
    }

    /// One line of what came of it, or more of what is wrong.
    fn print(&self) {
        let (name, injected) = (&self.operation.name, self.injected);
        for ((call, reason), errors) in &self.left_out {
            let errors: Vec<&str> = errors.iter().copied().collect();
            let errors = errors.join(", ");
            println!("left out: {name}: {call} ({errors}): {reason}");
        }
        if self.problems.is_empty() {
            println!("ok: {name}: {injected} failures");
        }
        for problem in &self.problems {
            println!("FAILED: {name}: {problem}");
        }
    }
}

fn described(plan: &[Failure]) -> String {
    let failures = plan.iter().map(|failure| {
        let errors = failure.call.errors().iter();
        let mut names = errors.filter(|(error, _)| *error == failure.error);
        let name = names.next().map_or("?", |(_, name)| name);
        let call = failure.call.name();
        format!("call {} ({call}) fails, {name}: ", failure.number)
    });
    failures.collect()
}
