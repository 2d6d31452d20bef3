//! Has each system call of each operation of mio fail once, with each error that its manual page
//! names, and checks what comes of it: `cargo xtask faulty-kernel`.
//!
//! An operation is run once to see its calls. Then, for each call and each of its errors, it is run
//! again with that call failing, in a process of its own. Where it succeeds all the same, because
//! something else takes the place of the call, each call after it is made to fail as well.
//!
//! Each run prepares a poll with a source that is ready, makes the operation fail, and asks:
//!
//! - did it return the injected error, or do what is documented instead?
//! - does it work when it is tried again?
//! - is what was ready before reported, and do the waker and a second thread reach the poll?
//! - are the same descriptors open, and is as much memory in use, as before?

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

/// With what this ends where the kernel or a sandbox does not allow it to stop calls.
const NOT_RUN: u8 = 77;

/// After so many problems an operation is given up, since each may take its time; of one that is
/// run alone the first tells enough.
const MOST_PROBLEMS: usize = 5;

/// How many calls of one run may fail.
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
    /// How many times a call was made to fail.
    injected: usize,
    problems: Vec<String>,
    most_problems: usize,
    left_out: BTreeSet<String>,
}

impl OfOperation<'_> {
    /// Runs it by the plan, and then with each call behind the plan's failing, too.
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

    /// One line of what came of it, or more of what is wrong.
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
