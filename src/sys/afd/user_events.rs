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
        let free = self.all.iter().position(|place| !place.is_open);
        let index = match free {
            Some(index) => index,
            None if self.all.len() < MOST => {
                self.all.push(Place::default());
                self.all.len() - 1
            }
            None => return None,
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
        match self.find(ident) {
            Some(place) => std::mem::replace(&mut place.is_posted, false),
            None => false,
        }
    }

    pub(super) fn close(&mut self, event: UserEvent) {
        if let Some(place) = self.find(event.ident) {
            place.is_open = false;
        }
    }

    fn find(&mut self, ident: usize) -> Option<&mut Place> {
        let place = self.all.get_mut(ident % MOST)?;
        let generation = ident >> PLACE_BITS;
        (place.is_open && usize::from(place.generation) == generation).then_some(place)
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
        assert_ne!(second.ident, first.ident, "in the same place");
        assert!(!events.take(first.ident));
        assert!(events.trigger(second), "its own was never posted");
        assert!(!events.trigger(first));
    }
}
