//! An operation, and how it is run with a call failing.

use std::io;

use windows_sys::Win32::Foundation::{
    RtlNtStatusToDosError, STATUS_INVALID_HANDLE, STATUS_NOT_FOUND,
};

use crate::calls::{self, watched, Call, Failure};
use crate::world::World;

type Prepare<S> = Box<dyn Fn(&mut World) -> S>;
type Operate<S, T> = Box<dyn Fn(&mut World, &mut S) -> io::Result<T>>;
type Check<S, T> = Box<dyn Fn(&mut World, &mut S, T)>;
/// What comes of a call that failed with an error, where it is not that error.
type Answer = Box<dyn Fn(Failure) -> Option<Expected>>;
/// Does all of it, and panics where something is wrong.
type Run = dyn Fn(&[Failure], Expected);
type AfterFailure<S> = Box<dyn Fn(&mut World, &mut S, i32)>;

/// `S` is what it works on, `T` what it returns.
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

/// What may come of an operation of which a call failed.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It fails with that error.
    Error(i32),
    Success,
    /// Either.
    Any(i32),
    /// It is not tried, for this reason.
    LeftOut(&'static str),
}

pub fn operation<S: 'static, T: 'static>(
    name: impl Into<String>,
    prepare: impl Fn(&mut World) -> S + 'static,
    operate: impl Fn(&mut World, &mut S) -> io::Result<T> + 'static,
    check: impl Fn(&mut World, &mut S, T) + 'static,
) -> Steps<S, T> {
    Steps {
        name: name.into(),
        prepare: Box::new(prepare),
        operate: Box::new(operate),
        check: Box::new(check),
        after_failure: None,
        is_quiet: false,
        answer: Box::new(|_| None),
    }
}

impl<S: 'static, T: 'static> Steps<S, T> {
    /// What has to be so after it failed with an error, before it is tried again.
    pub fn after_failure(mut self, check: impl Fn(&mut World, &mut S, i32) + 'static) -> Self {
        self.after_failure = Some(Box::new(check));
        self
    }

    /// Nothing is ready when it begins.
    pub fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// What it does about some failures instead of returning their errors.
    pub fn answers(mut self, answer: impl Fn(Failure) -> Option<Expected> + 'static) -> Self {
        self.answer = Box::new(answer);
        self
    }

    pub fn build(mut self) -> Operation {
        let answer = std::mem::replace(&mut self.answer, Box::new(|_| None));
        Operation {
            name: self.name.clone(),
            answer,
            run: Box::new(move |plan, expected| self.run(plan, expected)),
        }
    }

    fn run(&self, plan: &[Failure], expected: Expected) {
        let mut world = World::new();
        let mut state = (self.prepare)(&mut world);
        world.begin(!self.is_quiet);
        calls::begin(plan);
        let outcome = watched(|| (self.operate)(&mut world, &mut state));
        assert_eq!(calls::injected(), plan.len(), "calls that failed");
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
                let of_system = error.raw_os_error();
                assert!(of_system.is_none() || of_system == Some(number), "{error}");
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
    /// What is to come of it.
    pub fn expected(&self, failure: Failure) -> Expected {
        if let Some(expected) = (self.answer)(failure) {
            return expected;
        }
        match failure.call {
            // A drop has nobody to tell.
            Call::CloseHandle | Call::closesocket => Expected::Success,
            Call::NtDeviceIoControlFile if failure.error == STATUS_INVALID_HANDLE => {
                Expected::LeftOut("that says that an open socket is closed")
            }
            // It is the socket's event.
            Call::NtDeviceIoControlFile => Expected::Success,
            // Likewise of a pipe, whose next read returns it.
            Call::ReadFile => Expected::Success,
            // What is asked only to know more.
            Call::GetNamedPipeInfo | Call::PeekNamedPipe => Expected::Success,
            Call::NtCancelIoFileEx if failure.error == STATUS_NOT_FOUND => Expected::LeftOut(
                "that says that a poll has ended which goes on: its packet would be awaited",
            ),
            call if call.has_status() => {
                // SAFETY: takes a number.
                let error = unsafe { RtlNtStatusToDosError(failure.error) };
                Expected::Error(error as i32)
            }
            _ => Expected::Error(failure.error),
        }
    }
}
