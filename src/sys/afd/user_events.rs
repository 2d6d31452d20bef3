//! Wakers' events, which are packets that a waker posts.

use super::super::UserEvent;
use crate::Token;

/// Which wakers there are, and which of them have a packet on the port.
#[derive(Debug, Default)]
pub(super) struct UserEvents {
    all: Vec<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// Counts those that had the place one after the other.
    generation: u16,
    is_open: bool,
    /// Its packet is on the port: one is enough.
    is_posted: bool,
}

/// A packet carries a generation, and below it a place.
const PLACE_BITS: u32 = 16;
const MOST: usize = 1 << PLACE_BITS;

impl UserEvents {
    /// `None` where there are as many as there can be.
    pub(super) fn open(&mut self, token: Token) -> Option<UserEvent> {
        // A place whose packet is still on the port only if there is no other one: after as many generations
        // as are counted that packet would be taken for the new waker's.
        let is_free = |place: &Place| !place.is_open && !place.is_posted;
        let index = match self.all.iter().position(is_free) {
            Some(index) => index,
            None if self.all.len() < MOST => {
                self.all.push(Place::default());
                self.all.len() - 1
            }
            None => self.all.iter().position(|place| !place.is_open)?,
        };
        let place = &mut self.all[index];
        // What was posted before is of another generation.
        place.generation = place.generation.wrapping_add(1);
        place.is_open = true;
        place.is_posted = false;
        let ident = usize::from(place.generation) << PLACE_BITS | index;
        Some(UserEvent { ident, token })
    }

    /// Whether to post its packet.
    pub(super) fn trigger(&mut self, event: UserEvent) -> bool {
        match self.find(event.ident) {
            Some(place) => !std::mem::replace(&mut place.is_posted, true),
            None => false,
        }
    }

    /// Its packet has come, or could not be posted. Whether its waker is still
    /// there.
    pub(super) fn take(&mut self, ident: usize) -> bool {
        match self.place(ident) {
            Some(place) => std::mem::replace(&mut place.is_posted, false) && place.is_open,
            None => false,
        }
    }

    pub(super) fn close(&mut self, event: UserEvent) {
        if let Some(place) = self.find(event.ident) {
            place.is_open = false;
        }
    }

    /// The place of a waker that is there.
    fn find(&mut self, ident: usize) -> Option<&mut Place> {
        self.place(ident).filter(|place| place.is_open)
    }

    /// The place of a waker, which may have been closed.
    fn place(&mut self, ident: usize) -> Option<&mut Place> {
        let place = self.all.get_mut(ident % MOST)?;
        let generation = ident >> PLACE_BITS;
        (usize::from(place.generation) == generation).then_some(place)
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
    fn what_a_closed_one_has_posted_is_nobodys() {
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
    fn a_waker_is_made_although_no_packet_of_any_place_was_taken() {
        let mut events = UserEvents::default();
        events.all.resize_with(MOST, || Place {
            is_posted: true,
            ..Place::default()
        });
        assert!(events.open(Token(1)).is_some());
    }
}
