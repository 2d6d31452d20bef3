//! Makes each system call of each operation of mio fail once, with each error of its manual page,
//! and checks the effects: `cargo xtask faulty-kernel`.
//!
//! An operation first runs once to record its calls. Then, for each call and each of its errors, it
//! runs again, and that call fails. If the operation succeeds, because a fallback replaces the call, each
//! later call is made to fail as well.
//!
//! Each run prepares a poll with a ready source, makes the operation fail, and checks:
//!
//! - Does it return the injected error, or do instead what its documentation says?
//! - Does it work when it is tried again?
//! - Are the sources that were ready reported, and do the waker and a second thread reach the poll?
//! - Are the same descriptors or handles open, and is the same amount of memory in use, as before?
//!
//! `unix/` and `windows/` stop the calls of their systems, and have their operations.

mod memory;
mod operation;
mod record;
mod steps;
#[cfg(unix)]
#[path = "unix/mod.rs"]
mod system;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod system;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use mio::Backend;

use operation::{Expected, Operation};
use record::{Failure, MOST_FAILURES};

/// The exit code if the kernel or a sandbox does not allow this program to stop calls.
const NOT_RUN: u8 = 77;

/// The number of problems after which an operation is given up, because each may take long. If only
/// one operation is selected, the first problem is enough.
const MOST_PROBLEMS: usize = 5;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(backend) = arguments.next() else {
        eprintln!("usage: faulty-kernel BACKEND [PART OF A NAME | --exact NAME]");
        return ExitCode::FAILURE;
    };
    let backend = match backend.as_str() {
        "epoll" => Backend::Epoll,
        "poll" => Backend::Poll,
        "kqueue" => Backend::Kqueue,
        "event-ports" => Backend::EventPorts,
        "afd" => Backend::Afd,
        other => {
            eprintln!("no backend {other:?}");
            return ExitCode::FAILURE;
        }
    };
    if !Backend::available().contains(&backend) {
        eprintln!("this program is not built for {backend:?}");
        return ExitCode::FAILURE;
    }
    let filter = arguments.next().unwrap_or_default();
    let exact = arguments.next().filter(|_| filter == "--exact");
    let is_wanted = |name: &str| match &exact {
        Some(exact) => name == exact,
        None => name.contains(&filter),
    };
    if let Err(reason) = system::prepare() {
        println!("not run: {reason}");
        return ExitCode::from(NOT_RUN);
    }
    world::wait_for_a_channel();
    let mut has_failed = false;
    for operation in system::operations(backend) {
        if !is_wanted(&operation.name) {
            continue;
        }
        let mut run = OfOperation {
            backend,
            operation: &operation,
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

struct OfOperation<'a> {
    backend: Backend,
    operation: &'a Operation,
    /// The number of calls that were made to fail.
    injected: usize,
    problems: Vec<String>,
    most_problems: usize,
    /// Calls with the reason, and which of their errors.
    left_out: BTreeMap<(String, &'static str), BTreeSet<String>>,
}

impl OfOperation<'_> {
    /// Runs the operation with the plan, and then with each later call failing as well.
    fn explore(&mut self, plan: &[Failure], expected: Expected) {
        if self.problems.len() >= self.most_problems {
            return;
        }
        let seen = match system::run(self.backend, self.operation, plan, expected) {
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
        let mut done = plan.last().map_or(0, |failure| failure.number);
        // What a call that failed has done all the same does not fail again.
        while done > 0 && seen.get(done).is_some_and(|&call| system::is_part(call)) {
            done += 1;
        }
        for (index, &call) in seen.iter().enumerate().skip(done) {
            let Some(errors) = system::errors_of(call) else {
                let name = system::name_of(call);
                self.problems
                    .push(format!("the errors of {name} are not listed"));
                continue;
            };
            for error in errors {
                let failure = Failure {
                    number: index + 1,
                    call,
                    error,
                };
                let plan = [plan, &[failure]].concat();
                match self.operation.expected(failure) {
                    Expected::LeftOut(reason) => {
                        let name = system::name_of(call);
                        let errors = self.left_out.entry((name, reason)).or_default();
                        errors.insert(system::name_of_error(call, error));
                    }
                    expected => self.explore(&plan, expected),
                }
            }
        }
    }

    /// Prints one line with the result, or more with the problems.
    fn print(&self) {
        let (name, injected) = (&self.operation.name, self.injected);
        for ((call, reason), errors) in &self.left_out {
            let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
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
        let name = system::name_of(failure.call);
        let error = system::name_of_error(failure.call, failure.error);
        format!("call {} ({name}) fails, {error}: ", failure.number)
    });
    failures.collect()
}
