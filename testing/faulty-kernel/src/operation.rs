//! An operation, and a run of it in which a call fails.

use std::io;

use libc::c_int;
use mio::Backend;

use crate::errors;
use crate::model::number;
use crate::supervisor::{self, watched, Failure};
use crate::world::World;

type Prepare<S> = Box<dyn Fn(&mut World) -> S + Send + Sync>;
type Operate<S, T> = Box<dyn Fn(&mut World, &mut S) -> io::Result<T> + Send + Sync>;
type Check<S, T> = Box<dyn Fn(&mut World, &mut S, T) + Send + Sync>;
/// Runs all of it, and panics if something is wrong.
type Run = dyn Fn(Backend, &[Failure], Expected) + Send + Sync;
/// The answer to a failed call, if it is not that error.
type Answer = Box<dyn Fn(Failure) -> Option<Expected> + Send + Sync>;
type AfterFailure<S> = Box<dyn Fn(&mut World, &mut S, c_int) + Send + Sync>;

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
    others_register: bool,
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
        gone: &[],
        gone_value: None,
        registers: false,
        others_register: false,
        answer: Box::new(|_| None),
    }
}

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
    pub fn answers(
        mut self,
        answer: impl Fn(Failure) -> Option<Expected> + Send + Sync + 'static,
    ) -> Self {
        self.answer = Box::new(answer);
        self
    }

    /// It changes registrations itself, and returns what the kernel answers.
    pub fn registers(mut self) -> Self {
        self.registers = true;
        self
    }

    /// Other threads change registrations meanwhile, or it does, to report what they are ready for. How
    /// many calls it makes depends on the time.
    pub fn others_register(mut self) -> Self {
        self.others_register = true;
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
        let mut world = World::new(backend);
        let registrations_of_world = world.registrations();
        let mut state = (self.prepare)(&mut world);
        world.begin(!self.is_quiet);
        let registrations = world.registrations();
        let outcome = watched(|| (self.operate)(&mut world, &mut state));
        let injected = supervisor::injected();
        let expected = match injected < plan.len() {
            // It need not make as many calls each time.
            true if self.others_register => Expected::Success,
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
                    None if self.others_register => {}
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
        match failure.call {
            // A pipe, and the older call.
            libc::SYS_eventfd2 | libc::SYS_epoll_pwait2 if errors::is_refusal(error) => {
                Expected::Success
            }
            // A drop cannot return an error.
            libc::SYS_close => Expected::Success,
            number::PORT_ASSOCIATE if !self.registers => match error {
                libc::EBADF | libc::EBADFD => IS_OPEN,
                // Probes take the port's place.
                _ => Expected::Success,
            },
            number::PORT_DISSOCIATE if !self.registers => Expected::Success,
            number::PORT_GETN_COUNT if !self.registers => match error {
                libc::EBADF | libc::EBADFD => IS_OPEN,
                _ => Expected::Success,
            },
            _ => of_model(failure),
        }
    }
}

pub const IS_OPEN: Expected = Expected::LeftOut("that says that an open descriptor is closed");

/// What comes of a model's call that failed.
fn of_model(failure: Failure) -> Expected {
    match (failure.call, failure.error) {
        // Its changes have been made: they are made again.
        (number::KEVENT_CHANGES, libc::EINTR) => Expected::Success,
        // A waker's event: its descriptor takes its place.
        (number::ADD_USER, libc::EINVAL | libc::ENOMEM) => Expected::Success,
        // What is not there need not be deleted, and where it is the program has deleted it.
        (number::DELETE_READ | number::DELETE_WRITE, libc::ENOENT) => Expected::Success,
        (number::DELETE_USER, _) => Expected::Success,
        // One that would block is told apart from one that is full.
        (number::PORT_ASSOCIATE, libc::EAGAIN) => Expected::Error(libc::ENOSPC),
        // The port, or the descriptor, is closed.
        (
            number::PORT_ASSOCIATE
            | number::PORT_ALERT
            | number::PORT_GETN
            | number::PORT_GETN_COUNT,
            libc::EBADFD,
        ) => Expected::Error(libc::EBADF),
        // It waits on.
        (number::PORT_GETN, libc::ETIME) => Expected::Success,
        // Alert mode takes its place.
        (number::PORT_SEND, _) => Expected::Success,
        // The port is asked whether it is closed.
        (number::PORT_DISSOCIATE, libc::ENOENT | libc::EBADF | libc::EBADFD) => Expected::Success,
        (_, error) => Expected::Error(error),
    }
}
