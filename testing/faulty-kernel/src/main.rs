//! Makes each system call of each operation of mio fail once, with each error of its manual page,
//! and checks the effects: `cargo xtask faulty-kernel`.
//!
//! An operation first runs once to record its calls. Then, for each call and each of its errors, it
//! runs again in a process of its own, and that call fails. If the operation succeeds, because a
//! fallback replaces the call, each later call is made to fail as well.
//!
//! Each run prepares a poll with a ready source, makes the operation fail, and checks:
//!
//! - Does it return the injected error, or do instead what its documentation says?
//! - Does it work when it is tried again?
//! - Are the sources that were ready reported, and do the waker and a second thread reach the poll?
//! - Are the same descriptors open, and is the same amount of memory in use, as before?

mod errors;
mod memory;
mod operation;
mod operations;
mod process;
mod supervisor;
mod world;

use std::collections::BTreeSet;
use std::process::ExitCode;

use mio::Backend;

use operation::{Expected, Operation};
use supervisor::{patience, Failure};

/// The exit code if the kernel or a sandbox does not allow this program to stop calls.
const NOT_RUN: u8 = 77;

/// The number of problems after which an operation is given up, because each may take long. If only
/// one operation is selected, the first problem is enough.
const MOST_PROBLEMS: usize = 5;

/// The maximum number of failed calls in one run.
const MOST_FAILURES: usize = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(backend) = arguments.next() else {
        eprintln!("usage: faulty-kernel epoll|poll [PART OF A NAME | --exact NAME]");
        return ExitCode::FAILURE;
    };
    let backend = match backend.as_str() {
        "epoll" => Backend::Epoll,
        "poll" => Backend::Poll,
        other => {
            eprintln!("no backend {other:?}");
            return ExitCode::FAILURE;
        }
    };
    let filter = arguments.next().unwrap_or_default();
    let exact = arguments.next().filter(|_| filter == "--exact");
    let is_wanted = |name: &str| match &exact {
        Some(exact) => name == exact,
        None => name.contains(&filter),
    };
    if let Err(error) = supervisor::supervise(&[], || ()) {
        println!("not run: seccomp's user notifications are not to be had: {error}");
        return ExitCode::from(NOT_RUN);
    }
    let mut has_failed = false;
    for operation in operations::all(backend) {
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
            left_out: BTreeSet::new(),
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
    left_out: BTreeSet<String>,
}

impl OfOperation<'_> {
    /// Runs the operation with the plan, and then with each later call failing as well.
    fn explore(&mut self, plan: &[Failure], expected: Expected) {
        if self.problems.len() >= self.most_problems {
            return;
        }
        let seen = match process::run(self.backend, self.operation, plan, expected) {
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
            let Some(errors) = errors::of(call) else {
                let name = errors::name_of(call);
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
                        let call = errors::name_of(call);
                        let error = errors::name_of_error(error);
                        self.left_out.insert(format!("{call}, {error}: {reason}"));
                    }
                    expected => self.explore(&plan, expected),
                }
            }
        }
    }

    /// Prints one line with the result, or more with the problems.
    fn print(&self) {
        let (name, injected) = (&self.operation.name, self.injected);
        for what in &self.left_out {
            println!("left out: {name}: {what}");
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
        let name = errors::name_of(failure.call);
        let error = errors::name_of_error(failure.error);
        format!("call {} ({name}) fails, {error}: ", failure.number)
    });
    failures.collect()
}
