//! The one-shot registrations of a kqueue, whose filters are one-shot each by itself.
//!
//! A registration for reading and writing has two filters, and one event. So if both filters are in one
//! batch, they become one event, and what a filter reports after that event is dropped: once, because the
//! kernel disables the filter then.
//!
//! This needs to know which registration an event belongs to: another thread may have registered the source
//! again after the kernel returned the event. An event cannot tell. So a registration that began during
//! the wait is added again, which reports it again if it is ready, and the event is dropped.
//!
//! The level-triggered registrations of pipes whose write filter the kernel refuses are here as well: the user
//! event that replaces the filter must end when the pipe has a receiver again.

use std::os::fd::RawFd;

use crate::{Interest, Token};

#[derive(Debug, Default)]
pub(super) struct OneShots {
    /// By descriptor, so that it allocates only when a higher descriptor is registered than ever before.
    all: Vec<Option<OneShot>>,
    /// Counts the waits.
    wait: u64,
}

#[derive(Debug)]
struct OneShot {
    token: Token,
    interest: Interest,
    /// The wait during which it began, or the last one before.
    began: u64,
    /// The wait that reported it, and the index of its event.
    reported: Option<(u64, usize)>,
    /// The kernel has its filters, or a user event in place of one.
    has_filters: bool,
}

/// What becomes of the event of a one-shot filter.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is reported.
    Report,
    /// It belongs to the event at this index.
    Merge(usize),
    /// The registration is added again, and the event is dropped.
    Renew(Token, Interest),
    /// It belongs to a registration that has ended, or was reported.
    Drop,
}

impl OneShots {
    /// To be called before each wait.
    pub(super) fn begin_wait(&mut self) {
        self.wait += 1;
    }

    /// A registration begins, or begins again.
    pub(super) fn insert(&mut self, fd: RawFd, token: Token, interest: Interest) {
        let one_shot = OneShot {
            token,
            interest,
            began: self.wait,
            reported: None,
            has_filters: true,
        };
        let index = fd as usize;
        if index >= self.all.len() {
            self.all.resize_with(index + 1, || None);
        }
        self.all[index] = Some(one_shot);
    }

    /// The descriptor's registration has ended, or is not one-shot any more.
    pub(super) fn remove(&mut self, fd: RawFd) {
        if let Some(one_shot) = self.all.get_mut(fd as usize) {
            *one_shot = None;
        }
    }

    /// The kernel did not add the filters of this registration again, whose event is reported at this index.
    pub(super) fn lose_filters(&mut self, fd: RawFd, index: usize) {
        let wait = self.wait;
        if let Some(Some(one_shot)) = self.all.get_mut(fd as usize) {
            one_shot.has_filters = false;
            one_shot.reported = Some((wait, index));
        }
    }

    /// Whether the descriptor has a registration, and no filters. (Or a descriptor of this number had one when it was
    /// closed, and none was registered since.)
    pub(super) fn has_lost_filters(&self, fd: RawFd) -> bool {
        let known = self.all.get(fd as usize).and_then(Option::as_ref);
        known.is_some_and(|one_shot| !one_shot.has_filters)
    }

    /// As if the registration began while the next wait is under way.
    #[cfg(test)]
    pub(super) fn begins_in_next_wait(&mut self, fd: RawFd) {
        let began = self.wait + 1;
        let one_shot = self.all[fd as usize].as_mut();
        one_shot.expect("is registered").began = began;
    }

    /// The level-triggered registration of this descriptor, if it is here.
    pub(super) fn level(&self, fd: RawFd) -> Option<(Token, Interest)> {
        let known = self.all.get(fd as usize)?.as_ref()?;
        (!known.interest.is_oneshot()).then_some((known.token, known.interest))
    }

    /// Judges an event of the wait that is over. If it is reported, its index will be `index`.
    pub(super) fn judge(&mut self, fd: RawFd, index: usize) -> Verdict {
        let wait = self.wait;
        let Some(Some(one_shot)) = self.all.get_mut(fd as usize) else {
            return Verdict::Drop;
        };
        if !one_shot.interest.is_oneshot() {
            return Verdict::Drop;
        }
        match one_shot.reported {
            Some((reported, index)) if reported == wait => return Verdict::Merge(index),
            Some(_) => return Verdict::Drop,
            None => {}
        }
        if one_shot.began == wait {
            return Verdict::Renew(one_shot.token, one_shot.interest);
        }
        one_shot.reported = Some((wait, index));
        Verdict::Report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE).oneshot();
    const READ: Interest = Interest::READABLE.oneshot();

    #[test]
    fn both_filters_are_one_event_of_one_wait() {
        let mut one_shots = OneShots::default();
        one_shots.insert(5, Token(1), BOTH);
        one_shots.begin_wait();
        assert_eq!(one_shots.judge(5, 3), Verdict::Report);
        assert_eq!(one_shots.judge(5, 4), Verdict::Merge(3));
        one_shots.begin_wait();
        assert_eq!(one_shots.judge(5, 0), Verdict::Drop);
        one_shots.insert(6, Token(1), READ);
        one_shots.begin_wait();
        assert_eq!(one_shots.judge(6, 0), Verdict::Report);
    }

    #[test]
    fn an_event_of_a_registration_that_has_ended_is_dropped() {
        let mut one_shots = OneShots::default();
        assert_eq!(one_shots.judge(5, 0), Verdict::Drop);
        one_shots.insert(5, Token(1), READ);
        one_shots.begin_wait();
        one_shots.remove(5);
        assert_eq!(one_shots.judge(5, 0), Verdict::Drop);
    }

    /// Its event is of the one-shot registration that it was until then.
    #[test]
    fn an_event_of_a_registration_that_has_become_a_level_is_dropped() {
        let mut one_shots = OneShots::default();
        one_shots.insert(5, Token(1), READ);
        one_shots.begin_wait();
        one_shots.insert(5, Token(1), Interest::READABLE.level());
        assert_eq!(one_shots.judge(5, 0), Verdict::Drop);
    }

    /// Whether its event came before or after cannot be known.
    #[test]
    fn a_registration_that_began_during_the_wait_is_added_again() {
        let mut one_shots = OneShots::default();
        one_shots.begin_wait();
        one_shots.insert(5, Token(1), BOTH);
        let renewed = Verdict::Renew(Token(1), BOTH);
        assert_eq!(one_shots.judge(5, 0), renewed);
        one_shots.insert(5, Token(1), BOTH);
        assert_eq!(one_shots.judge(5, 0), renewed, "its other filter");
        one_shots.begin_wait();
        assert_eq!(one_shots.judge(5, 0), Verdict::Report);
    }
}
