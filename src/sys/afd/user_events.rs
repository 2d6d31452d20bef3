//! Wakers' events, which are packets that a waker posts.

use super::super::UserEvent;
use crate::Token;

/// Which wakers there are, and which of them have a packet on the port.
#[derive(Debug, Default)]
pub(super) struct UserEvents {
    all: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Counts the wakers that had the slot one after the other.
    generation: u16,
    is_open: bool,
    /// Its packet is on the port: one is enough.
    is_posted: bool,
}

/// A packet carries a generation, and below it a slot.
const SLOT_BITS: u32 = 16;
const MOST: usize = 1 << SLOT_BITS;

impl UserEvents {
    /// `None` where there are as many as there can be.
    pub(super) fn open(&mut self, token: Token) -> Option<UserEvent> {
        // A slot whose packet is still on the port only if there is no other one: after as many generations
        // as are counted that packet would be taken for the new waker's.
        let is_free = |slot: &Slot| !slot.is_open && !slot.is_posted;
        let index = match self.all.iter().position(is_free) {
            Some(index) => index,
            None if self.all.len() < MOST => {
                self.all.push(Slot::default());
                self.all.len() - 1
            }
            None => self.all.iter().position(|slot| !slot.is_open)?,
        };
        let slot = &mut self.all[index];
        // Packets that were posted before are of another generation.
        slot.generation = slot.generation.wrapping_add(1);
        slot.is_open = true;
        slot.is_posted = false;
        let ident = usize::from(slot.generation) << SLOT_BITS | index;
        Some(UserEvent { ident, token })
    }

    /// Returns whether to post its packet.
    pub(super) fn trigger(&mut self, event: UserEvent) -> bool {
        match self.find(event.ident) {
            Some(slot) => !std::mem::replace(&mut slot.is_posted, true),
            None => false,
        }
    }

    /// Its packet was taken off the port, or could not be posted. Returns whether its waker is open.
    pub(super) fn take(&mut self, ident: usize) -> bool {
        match self.slot(ident) {
            Some(slot) => std::mem::replace(&mut slot.is_posted, false) && slot.is_open,
            None => false,
        }
    }

    pub(super) fn close(&mut self, event: UserEvent) {
        if let Some(slot) = self.find(event.ident) {
            slot.is_open = false;
        }
    }

    /// The slot of a waker that is there.
    fn find(&mut self, ident: usize) -> Option<&mut Slot> {
        self.slot(ident).filter(|slot| slot.is_open)
    }

    /// The slot of a waker, which may have been closed.
    fn slot(&mut self, ident: usize) -> Option<&mut Slot> {
        let slot = self.all.get_mut(ident % MOST)?;
        let generation = ident >> SLOT_BITS;
        (usize::from(slot.generation) == generation).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_packet_stands_for_any_number_of_triggers() {
        let mut events = UserEvents::default();
        let event = events.open(Token(1)).unwrap();
        assert!(events.trigger(event));
        assert!(!events.trigger(event));
        assert!(events.take(event.ident));
        assert!(events.trigger(event));
    }

    #[test]
    fn a_packet_of_a_closed_waker_is_stale() {
        let mut events = UserEvents::default();
        let first = events.open(Token(1)).unwrap();
        assert!(events.trigger(first));
        events.close(first);
        assert!(!events.take(first.ident));

        let second = events.open(Token(2)).unwrap();
        assert_ne!(second.ident, first.ident);
        assert!(!events.take(first.ident));
        assert!(events.trigger(second), "its own was never posted");
        assert!(!events.trigger(first));
    }
    /// A program makes, uses and drops wakers, and does not poll meanwhile.
    #[test]
    fn no_packet_is_taken_for_a_later_wakers_after_any_number_of_generations() {
        let mut events = UserEvents::default();
        let first = events.open(Token(1)).unwrap();
        assert!(events.trigger(first));
        events.close(first);
        for n in 0..=u16::MAX {
            let event = events.open(Token(n.into())).unwrap();
            assert_ne!(event.ident, first.ident);
            events.close(event);
        }
        assert!(!events.take(first.ident));
        let next = events.open(Token(3)).unwrap();
        assert_eq!(next.ident % MOST, first.ident % MOST, "its packet has come");
        assert_ne!(next.ident, first.ident);
    }

    #[test]
    fn wakers_have_events_of_their_own() {
        let mut events = UserEvents::default();
        let wakers = [1, 2, 3].map(|token| events.open(Token(token)).unwrap());
        for _ in 0..2 {
            for waker in wakers {
                assert!(events.trigger(waker));
            }
            for waker in wakers {
                assert!(events.take(waker.ident));
            }
        }
    }

    #[test]
    fn the_slot_of_a_closed_waker_is_used_again() {
        let mut events = UserEvents::default();
        for n in 0..3 {
            let event = events.open(Token(n)).unwrap();
            events.close(event);
        }
        assert_eq!(events.all.len(), 1);
    }

    #[test]
    fn there_are_as_many_wakers_as_slots() {
        let mut events = UserEvents::default();
        events.all.resize_with(MOST - 1, || Slot {
            is_open: true,
            ..Slot::default()
        });
        let last = events.open(Token(1)).unwrap();
        assert!(events.trigger(last));
        assert!(events.open(Token(2)).is_none());
        events.close(last);
        assert!(events.open(Token(2)).is_some());
    }

    #[test]
    fn a_waker_is_made_although_no_packet_of_any_place_was_taken() {
        let mut events = UserEvents::default();
        events.all.resize_with(MOST, || Slot {
            is_posted: true,
            ..Slot::default()
        });
        assert!(events.open(Token(1)).is_some());
    }
}
