//! Faults that are known and not repaired yet, each with its number in the tracker's list: a run
//! counts them and goes on. Everything else that is found fails it.

use mio::Backend;

use crate::bits::Bits;
use crate::judge::{Check, Failure};
use crate::program::{Kind, Owner};

/// A kind of fault.
pub struct Known {
    pub number: u32,
    pub text: &'static str,
    matches: fn(&Failure) -> bool,
}

pub const KNOWN: &[Known] = &[
    Known {
        number: 1,
        text: "an error that was picked up and is there again before the next poll is not reported",
        matches: |failure| {
            failure.check == Check::Lost
                && failure.bits.contains(Bits::ERROR)
                && !is_of(failure, &[Kind::Mounts])
                && (failure.facts.error_gone || failure.facts.failed)
        },
    },
    Known {
        number: 2,
        text:
            "after an error or WouldBlock on one thread, another that waits hears of new data late",
        matches: |failure| failure.check == Check::Late,
    },
    Known {
        number: 3,
        text: "a program that answers each event with an operation that fails is in a busy loop",
        matches: |failure| failure.check == Check::Rate,
    },
    Known {
        number: 4,
        text: "readiness that a poll(2) takes away is not reported",
        matches: |failure| failure.check == Check::Lost && is_of(failure, &[Kind::Mounts]),
    },
    Known {
        number: 5,
        text: "a poll that reports a raw descriptor again leaves out what else is ready",
        matches: |failure| {
            let of_raw = failure.source.is_some_and(|(_, owner)| owner == Owner::Raw);
            failure.check == Check::Lost
                && failure.facts.raw_was_reported
                && (of_raw || !failure.facts.failed && !failure.facts.short_peek)
        },
    },
    Known {
        number: 6,
        text: "after a failure or a short peek, what is still ready is not reported again",
        matches: |failure| {
            matches!(failure.check, Check::Lost | Check::Starved)
                && (failure.facts.failed || failure.facts.short_peek)
        },
    },
    Known {
        number: 7,
        text: "an error or a hang-up does not name all that is ready, or hides what comes after it",
        matches: |failure| {
            failure.check == Check::Incomplete
                || failure.check == Check::Lost && failure.facts.was_latched
        },
    },
];

fn is_of(failure: &Failure, kinds: &[Kind]) -> bool {
    failure
        .source
        .is_some_and(|(kind, _)| kinds.contains(&kind))
}

/// The known fault that a failure is one of.
pub fn known(failure: &Failure) -> Option<&'static Known> {
    let rearms = matches!(failure.backend, Backend::Poll | Backend::EventPorts);
    KNOWN
        .iter()
        .find(|known| rearms && (known.matches)(failure))
}
