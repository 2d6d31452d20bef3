//! An operation, and a run of it in which a call fails.

use std::io;

use libc::c_int;
use mio::Backend;

use crate::errors;
use crate::supervisor::{self, watched, Failure};
use crate::world::World;

type Prepare<S> = Box<dyn Fn(&mut World) -> S + Send + Sync>;
type Operate<S, T> = Box<dyn Fn(&mut World, &mut S) -> io::Result<T> + Send + Sync>;
type Check<S, T> = Box<dyn Fn(&mut World, &mut S, T) + Send + Sync>;
/// Runs all of it, and panics if something is wrong.
type Run = dyn Fn(Backend, &[Failure], Expected) + Send + Sync;
/// The answer to a failed call, if it is not that error.
type Answer = fn(Failure) -> Option<Expected>;
type AfterFailure<S> = Box<dyn Fn(&mut World, &mut S, c_int) + Send + Sync>;

/// `S` is the state that it works on, and `T` its result.
pub struct Steps<S, T> {
    name: String,
    prepare: Prepare<S>,
    operate: Operate<S, T>,
    check: Check<S, T>,
    after_failure: Option<AfterFailure<S>>,
    is_quiet: bool,
    answer: Answer,
}

pub struct Operation {
    pub name: String,
    answer: Answer,
    pub run: Box<Run>,
}

/// What an operation may do if one of its calls fails.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It fails with that error, or with an error of the same number.
    Error(c_int),
    Success,
    /// Either, depending on when the call was made.
    Any(c_int),
    /// It is not tried, for this reason.
    LeftOut(&'static str),
}

pub fn operation<S: 'static, T: 'static>(
    name: impl Into<String>,
    prepare: impl Fn(&mut World) -> S + Send + Sync + 'static,
    operate: impl Fn(&mut World, &mut S) -> io::Result<T> + Send + Sync + 'static,
    check: impl Fn(&mut World, &mut S, T) + Send + Sync + 'static,
) -> Steps<S, T> {
    Steps {
        name: name.into(),
        prepare: Box::new(prepare),
        operate: Box::new(operate),
        check: Box::new(check),
        after_failure: None,
        is_quiet: false,
        answer: |_| None,
    }
}

impl<S: 'static, T: 'static> Steps<S, T> {
    /// The condition that must hold after it failed with an error, before it is tried again.
    pub fn after_failure(
        mut self,
        check: impl Fn(&mut World, &mut S, c_int) + Send + Sync + 'static,
    ) -> Self {
        self.after_failure = Some(Box::new(check));
        self
    }

    /// No source is ready when it begins.
    pub fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// Its answers to some failures, instead of returning their errors.
    pub fn answers(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    pub fn build(self) -> Operation {
        Operation {
            name: self.name.clone(),
            answer: self.answer,
            run: Box::new(move |backend, plan, expected| self.run(backend, plan, expected)),
        }
    }

    fn run(&self, backend: Backend, plan: &[Failure], expected: Expected) {
        let mut world = World::new(backend);
        let mut state = (self.prepare)(&mut world);
        world.begin(!self.is_quiet);
        let outcome = watched(|| (self.operate)(&mut world, &mut state));
        let injected = supervisor::injected();
        assert_eq!(injected, plan.len(), "calls that failed");
        let value = match outcome {
            Ok(value) => {
                let may_succeed = !matches!(expected, Expected::Error(_));
                assert!(may_succeed, "it succeeded, and should be {expected:?}");
                value
            }
            Err(error) => {
                let (Expected::Error(number) | Expected::Any(number)) = expected else {
                    panic!("it failed: {error}");
                };
                // An error with a text of its own has the kind of the kernel's error.
                let kind = io::Error::from_raw_os_error(number).kind();
                assert_eq!(error.kind(), kind, "{error:?}");
                let of_kernel = error.raw_os_error();
                assert!(of_kernel.is_none() || of_kernel == Some(number), "{error}");
                if let Some(check) = &self.after_failure {
                    check(&mut world, &mut state, number);
                }
                (self.operate)(&mut world, &mut state).expect("it works when it is tried again")
            }
        };
        (self.check)(&mut world, &mut state, value);
        drop(state);
        world.assert_sound();
    }
}

impl Operation {
    /// The expected answer.
    pub fn expected(&self, failure: Failure) -> Expected {
        if let Some(expected) = (self.answer)(failure) {
            return expected;
        }
        let error = failure.error;
        let waits_on_epoll =
            errors::waits(failure.call) && errors::name_of(failure.call).starts_with("epoll_");
        if waits_on_epoll && error == libc::EINVAL {
            // It is no epoll any more: the program has closed it, and another object has its
            // descriptor.
            return Expected::Error(libc::EBADF);
        }
        let has_fallback = match failure.call {
            // A pipe, and the older call.
            libc::SYS_eventfd2 | libc::SYS_epoll_pwait2 => errors::is_refusal(error),
            // A drop cannot return an error.
            libc::SYS_close => true,
            _ => false,
        };
        match has_fallback {
            true => Expected::Success,
            false => Expected::Error(error),
        }
    }
}
