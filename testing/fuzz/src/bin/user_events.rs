//! Packets of wakers on a completion port, in any order, of any generation, and those that other code makes
//! up: one is believed if and only if its waker is open and was triggered since its last packet.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Token(pub usize);

/// As much of the crate as the included file uses, and what uses that file.
#[path = "../../../../src/sys"]
mod sys {
    use super::Token;

    #[derive(Copy, Clone, Debug, PartialEq, Eq)]
    pub(crate) struct UserEvent {
        pub(super) ident: usize,
        #[allow(dead_code)] // a packet's word
        pub(super) token: Token,
    }

    #[path = "afd"]
    pub mod afd {
        mod user_events;

        use std::collections::HashMap;

        use libfuzzer_sys::arbitrary::{self, Arbitrary};

        use super::UserEvent;
        use crate::Token;
        use user_events::UserEvents;

        #[derive(Arbitrary, Debug)]
        pub enum Op {
            Open,
            /// Of the wakers that there ever were.
            Trigger(u8),
            /// The packet of one of them.
            Take(u8),
            /// A packet that other code has posted.
            TakeAny(usize),
            Close(u8),
        }

        /// Wakers that were opened, and what is so of them.
        #[derive(Default)]
        pub struct Wakers {
            events: UserEvents,
            all: Vec<UserEvent>,
            /// By `ident`, of open ones: whether its packet is on the port.
            open: HashMap<usize, bool>,
        }

        impl Wakers {
            pub fn run(&mut self, op: Op) {
                let at = |index: u8| {
                    let count = self.all.len().max(1);
                    self.all.get(usize::from(index) % count).copied()
                };
                match op {
                    Op::Open => {
                        let event = self.events.open(Token(self.all.len()));
                        let event = event.expect("there are few");
                        assert!(self.all.iter().all(|old| old.ident != event.ident));
                        self.open.insert(event.ident, false);
                        self.all.push(event);
                    }
                    Op::Trigger(index) => {
                        let Some(waker) = at(index) else { return };
                        let posts = match self.open.get_mut(&waker.ident) {
                            Some(is_posted) => !std::mem::replace(is_posted, true),
                            None => false,
                        };
                        assert_eq!(self.events.trigger(waker), posts);
                    }
                    Op::Take(index) => {
                        let Some(waker) = at(index) else { return };
                        self.take(waker.ident);
                    }
                    Op::TakeAny(ident) => self.take(ident),
                    Op::Close(index) => {
                        let Some(waker) = at(index) else { return };
                        self.events.close(waker);
                        self.open.remove(&waker.ident);
                    }
                }
            }

            fn take(&mut self, ident: usize) {
                let is_believed = match self.open.get_mut(&ident) {
                    Some(is_posted) => std::mem::replace(is_posted, false),
                    None => false,
                };
                assert_eq!(self.events.take(ident), is_believed);
            }
        }
    }
}

fuzz_target!(|ops: Vec<sys::afd::Op>| {
    let mut wakers = sys::afd::Wakers::default();
    for op in ops {
        wakers.run(op);
    }
});
