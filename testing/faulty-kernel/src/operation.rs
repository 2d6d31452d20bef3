//! An operation, and a run of it in which a call fails.

use std::io;

use mio::Backend;

use crate::record::{self, Failure};
use crate::system;
use crate::world::World;

type Prepare<S> = Box<dyn Fn(&mut World) -> S + Send + Sync>;
type Operate<S, T> = Box<dyn Fn(&mut World, &mut S) -> io::Result<T> + Send + Sync>;
type Check<S, T> = Box<dyn Fn(&mut World, &mut S, T) + Send + Sync>;
/// Runs all of it, and panics if something is wrong.
type Run = dyn Fn(Backend, &[Failure], Expected) + Send + Sync;
/// The answer to a failed call, if it is not that error.
type Answer = Box<dyn Fn(Failure) -> Option<Expected> + Send + Sync>;
type AfterFailure<S> = Box<dyn Fn(&mut World, &mut S, i32) + Send + Sync>;

/// `S` is the state that it works on, and `T` its result.
pub struct Steps<S, T> {
    name: String,
    prepare: Prepare<S>,
    operate: Operate<S, T>,
    check: Check<S, T>,
    after_failure: Option<AfterFailure<S>>,
    is_quiet: bool,
    /// Backends on which a registration is gone after it failed, and what it returns then.
    gone: &'static [Backend],
    gone_value: Option<fn() -> T>,
    registers: bool,
    calls_vary: bool,
    answer: Answer,
}

pub struct Operation {
    pub name: String,
    registers: bool,
    answer: Answer,
    pub run: Box<Run>,
}

/// What an operation may do if one of its calls fails.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It fails with that error, or with an error of the same number.
    Error(i32),
    Success,
    /// Either, depending on when the call was made.
    Any(i32),
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
        gone: &[],
        gone_value: None,
        registers: false,
        calls_vary: false,
        answer: Box::new(|_| None),
    }
}

// Windows cannot tell how much is registered.
#[cfg(unix)]
impl<S: 'static> Steps<S, ()> {
    /// On these backends a registration may be gone after it failed: tried again, it does not find it.
    pub fn gone_on(mut self, backends: &'static [Backend]) -> Self {
        self.gone = backends;
        self.gone_value = Some(|| ());
        self
    }
}

impl<S: 'static, T: 'static> Steps<S, T> {
    /// The condition that must hold after it failed with an error, before it is tried again.
    pub fn after_failure(
        mut self,
        check: impl Fn(&mut World, &mut S, i32) + Send + Sync + 'static,
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
    pub fn answers(
        mut self,
        answer: impl Fn(Failure) -> Option<Expected> + Send + Sync + 'static,
    ) -> Self {
        self.answer = Box::new(answer);
        self
    }

    /// It changes registrations itself, and returns what the kernel answers.
    #[cfg(unix)]
    pub fn registers(mut self) -> Self {
        self.registers = true;
        self
    }

    /// How many calls it makes depends on the time: other threads change registrations meanwhile, it does, to report
    /// what they are ready for, or a timer ends.
    pub fn calls_vary(mut self) -> Self {
        self.calls_vary = true;
        self
    }

    pub fn build(mut self) -> Operation {
        let answer = std::mem::replace(&mut self.answer, Box::new(|_| None));
        Operation {
            name: self.name.clone(),
            registers: self.registers,
            answer,
            run: Box::new(move |backend, plan, expected| self.run(backend, plan, expected)),
        }
    }

    fn run(&self, backend: Backend, plan: &[Failure], expected: Expected) {
        record::begin(plan);
        let mut world = World::new(backend);
        let registrations_of_world = world.registrations();
        let mut state = (self.prepare)(&mut world);
        world.begin(!self.is_quiet);
        let registrations = world.registrations();
        let outcome = record::watched(|| (self.operate)(&mut world, &mut state));
        let injected = record::injected();
        let expected = match injected < plan.len() {
            // It need not make as many calls each time.
            true if self.calls_vary => Expected::Success,
            _ => {
                assert_eq!(injected, plan.len(), "calls that failed");
                expected
            }
        };
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
                let gone = self.gone_value.filter(|_| self.gone.contains(&backend));
                match gone {
                    Some(_) => assert!(world.registrations() <= registrations),
                    None if self.calls_vary => {}
                    None => assert_eq!(
                        world.registrations(),
                        registrations,
                        "registrations after the failure, before on the right"
                    ),
                }
                if let Some(check) = &self.after_failure {
                    check(&mut world, &mut state, number);
                }
                match ((self.operate)(&mut world, &mut state), gone) {
                    (Ok(value), _) => value,
                    (Err(error), Some(gone)) if error.kind() == io::ErrorKind::NotFound => gone(),
                    (Err(error), _) => panic!("it fails when it is tried again: {error}"),
                }
            }
        };
        (self.check)(&mut world, &mut state, value);
        drop(state);
        world.assert_sound();
        assert_eq!(
            world.registrations(),
            registrations_of_world,
            "registrations in the end, before on the right"
        );
    }
}

impl Operation {
    /// The expected answer.
    pub fn expected(&self, failure: Failure) -> Expected {
        let answer = (self.answer)(failure);
        answer.unwrap_or_else(|| system::expected(failure, self.registers))
    }
}
