//! The knotes of a kqueue, and the FIFO of the active ones.
//!
//! One vector has all knotes, and links the FIFO. So memory is allocated only if there are more
//! knotes than ever before.

use crate::abi::{Kevent, EVFILT_READ, EVFILT_USER, EVFILT_WRITE};
use crate::descriptor::{Kind, Look};
use crate::os::Fd;

/// The entry of an `(ident, filter)`.
#[derive(Debug)]
pub(crate) struct Knote {
    /// The change that added it. Its flags do not change; udata, data and fflags may.
    pub(crate) kevent: Kevent,
    pub(crate) disabled: bool,
    pub(crate) watched: Watched,
}

/// The source of a knote's condition.
#[derive(Debug)]
pub(crate) enum Watched {
    /// Triggered by the program, or complete: active while true.
    Triggered(bool),
    /// A descriptor, with its state when it was registered or last woke a thread.
    Descriptor(Kind, Look),
    /// A process, by a descriptor of it.
    Process(Fd),
}

/// The slot of a knote. It is reused after the knote was removed.
pub(crate) type Slot = u32;

const NONE: Slot = Slot::MAX;

#[derive(Debug, Default)]
pub(crate) struct Knotes {
    places: Vec<Place>,
    /// The first free slot; `next` links them.
    free: Option<Slot>,
    /// By descriptor: the knotes for reading and writing.
    descriptors: Vec<[Slot; 2]>,
    /// The knotes of all other filters: a few.
    others: Vec<Slot>,
    head: Option<Slot>,
    tail: Option<Slot>,
    queued: usize,
}

#[derive(Debug)]
struct Place {
    knote: Option<Knote>,
    /// How many knotes this slot has had: an event of epoll for one of them must not apply to the
    /// next.
    generation: u32,
    is_queued: bool,
    previous: Option<Slot>,
    next: Option<Slot>,
}

impl Knotes {
    pub(crate) fn find(&self, ident: usize, filter: i16) -> Option<Slot> {
        match side(filter) {
            Some(side) => self
                .descriptors
                .get(ident)
                .map(|slots| slots[side])
                .filter(|slot| *slot != NONE),
            None => self.others.iter().copied().find(|slot| {
                let kevent = &self.get(*slot).kevent;
                kevent.ident == ident && kevent.filter == filter
            }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        let places = self.places.iter();
        places.filter(|place| place.knote.is_some()).count()
    }

    /// The number of the program's user events.
    pub(crate) fn user_events(&self) -> usize {
        let filters = self.others.iter().map(|&slot| self.get(slot).kevent.filter);
        filters.filter(|&filter| filter == EVFILT_USER).count()
    }

    /// The name of a knote, which no other knote ever gets.
    pub(crate) fn cookie(&self, slot: Slot) -> u64 {
        u64::from(self.places[slot as usize].generation) << 32 | u64::from(slot)
    }

    /// The knote with that name, unless it was removed.
    pub(crate) fn named(&self, cookie: u64) -> Option<Slot> {
        let slot = cookie as Slot;
        let place = self.places.get(slot as usize)?;
        (place.knote.is_some() && self.cookie(slot) == cookie).then_some(slot)
    }

    pub(crate) fn get(&self, slot: Slot) -> &Knote {
        self.places[slot as usize].knote.as_ref().expect("removed")
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Knote {
        self.places[slot as usize].knote.as_mut().expect("removed")
    }

    /// The first knote for writing in the slots from `start` on.
    pub(crate) fn writer_from(&self, start: Slot) -> Option<Slot> {
        let writer =
            |place: &Place| matches!(&place.knote, Some(k) if k.kevent.filter == EVFILT_WRITE);
        let places = self.places.get(start as usize..)?;
        let offset = places.iter().position(writer)?;
        Some(start + offset as Slot)
    }

    /// For filters that do not use it, the same `(ident, filter)` may exist already.
    pub(crate) fn insert(&mut self, change: &Kevent, watched: Watched) -> Slot {
        let knote = Knote {
            kevent: *change,
            disabled: false,
            watched,
        };
        let slot = match self.free {
            Some(slot) => {
                let place = &mut self.places[slot as usize];
                self.free = place.next.take();
                place.knote = Some(knote);
                slot
            }
            None => {
                self.places.push(Place {
                    knote: Some(knote),
                    generation: 0,
                    is_queued: false,
                    previous: None,
                    next: None,
                });
                (self.places.len() - 1) as Slot
            }
        };
        match side(change.filter) {
            Some(side) => {
                if self.descriptors.len() <= change.ident {
                    self.descriptors.resize(change.ident + 1, [NONE; 2]);
                }
                self.descriptors[change.ident][side] = slot;
            }
            None => self.others.push(slot),
        }
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.dequeue(slot);
        let place = &mut self.places[slot as usize];
        let knote = place.knote.take().expect("removed twice");
        place.generation = place.generation.wrapping_add(1);
        place.next = self.free.replace(slot);
        match side(knote.kevent.filter) {
            Some(side) => self.descriptors[knote.kevent.ident][side] = NONE,
            None => self.others.retain(|other| *other != slot),
        }
    }

    /// The number of knotes in the FIFO.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Appends it to the FIFO. Returns false if it is already there.
    pub(crate) fn enqueue(&mut self, slot: Slot) -> bool {
        let tail = self.tail;
        let place = &mut self.places[slot as usize];
        if place.is_queued {
            return false;
        }
        place.is_queued = true;
        place.previous = tail;
        place.next = None;
        match tail {
            Some(tail) => self.places[tail as usize].next = Some(slot),
            None => self.head = Some(slot),
        }
        self.tail = Some(slot);
        self.queued += 1;
        true
    }

    /// Removes it from the FIFO, at any position.
    pub(crate) fn dequeue(&mut self, slot: Slot) {
        let place = &mut self.places[slot as usize];
        if !place.is_queued {
            return;
        }
        place.is_queued = false;
        let (previous, next) = (place.previous.take(), place.next.take());
        match previous {
            Some(previous) => self.places[previous as usize].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => self.places[next as usize].previous = previous,
            None => self.tail = previous,
        }
        self.queued -= 1;
    }

    /// Removes and returns the head of the FIFO.
    pub(crate) fn pop(&mut self) -> Option<Slot> {
        let slot = self.head?;
        self.dequeue(slot);
        Some(slot)
    }
}

/// Which of a descriptor's two knotes a filter uses.
fn side(filter: i16) -> Option<usize> {
    match filter {
        EVFILT_READ => Some(0),
        EVFILT_WRITE => Some(1),
        _ => None,
    }
}
