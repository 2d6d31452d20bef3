//! The wakers of a poll that have a wake-up pending: one word of atomic bits.
//!
//! A wake-up costs a system call only if no wake-up of the same waker is pending:
//!
//! ```text
//! wake:  set the waker's bit      was it clear?  signal the poll
//! poll:  wait, take the events    then, before returning, clear all bits
//! ```
//!
//! Why no wake-up is lost: a wake that finds its bit set skips the signal, and
//! relies on the wake that set the bit. There are three cases. If that wake has not
//! signalled yet, a later poll reports its signal. If it has signalled and no poll has
//! taken the signal, a later poll takes it. If a poll has taken the signal, that poll
//! had not cleared the bit when the skipping wake saw it set. It
//! clears the bit with a read-modify-write, so everything that the skipping wake's thread
//! had done before is visible when the poll returns with the event.
//!
//! At worst a wake-up is reported twice: a poll clears the bit after one wake has set
//! it and before that wake signals, a second wake signals as well, and another poll
//! returns between the two signals. A thread that is delayed between bit and signal
//! delays the wakes that rely on it. If its signal then *fails*, those wakes are lost,
//! although they returned `Ok`. No other wake signals for them, because a
//! kernel that refused one signal would refuse the next.
//!
//! This module knows no operating system: the caller passes in how to signal.

#[cfg(all(test, mio_loom))]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(all(test, mio_loom)))]
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stats::Counter;

/// The pending wake-ups of one poll, shared by it and its wakers.
//
// On cache lines of its own (two: processors fetch them in pairs): wakers on
// other threads write here while the poll reads what lies around it.
#[repr(align(128))]
pub(crate) struct PendingWakes {
    /// The bits of the wakers that woke since a poll last took them.
    pending: AtomicUsize,
    /// The bits that existing wakers own.
    claimed: AtomicUsize,
    /// The wakes that have signalled.
    pub(crate) sent: Counter,
    /// The wakes that relied on a pending one.
    pub(crate) coalesced: Counter,
}

/// One waker's bit in the word, as its index.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bit(u32);

impl Bit {
    #[inline]
    fn mask(self) -> usize {
        // The index is in range, and `wrapping` avoids a check. The compiler turns this form into
        // a single instruction that sets and tests the bit.
        1usize.wrapping_shl(self.0)
    }
}

impl PendingWakes {
    pub(crate) fn new() -> PendingWakes {
        PendingWakes {
            pending: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            sent: Counter::default(),
            coalesced: Counter::default(),
        }
    }

    /// Claims a bit that no other waker owns. `None` if no bit is left; without a bit every wake
    /// signals.
    pub(crate) fn claim(&self) -> Option<Bit> {
        // Acquire: what the bit's last owner did, above all clearing its pending bit, happens before what the
        // new owner does. Relaxed: the first load, and those of failed attempts, claim nothing.
        let claim = self
            .claimed
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |claimed| {
                (claimed != usize::MAX).then(|| claimed | (claimed + 1))
            });
        // The lowest clear bit follows the trailing ones.
        claim.ok().map(|before| Bit(before.trailing_ones()))
    }

    /// Releases a bit, and drops its wake-up if one is pending.
    pub(crate) fn release(&self, bit: Bit) {
        // Relaxed: only the bit's next owner has to see it, and acquires `claimed`.
        self.pending.fetch_and(!bit.mask(), Ordering::Relaxed);
        // Release: pairs with `claim`.
        self.claimed.fetch_and(!bit.mask(), Ordering::Release);
    }

    /// Wakes the poll. Calls `signal`, which sends the waker's signal, unless a wake-up of the
    /// same waker is pending. If `signal` fails, the bit is cleared: otherwise no wake would
    /// ever signal again.
    #[inline]
    pub(crate) fn wake<E>(
        &self,
        bit: Option<Bit>,
        signal: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        match bit {
            Some(bit) if !self.raise(bit) => {
                self.coalesced.add(1);
                Ok(())
            }
            _ => {
                // Before the signal, so that the poll which it ends finds it counted.
                self.sent.add(1);
                signal().map_err(|error| {
                    self.sent.subtract_one();
                    self.lower(bit);
                    error
                })
            }
        }
    }

    /// Sets a waker's bit. Returns whether it was clear, which means that a signal has to be sent.
    #[inline]
    fn raise(&self, bit: Bit) -> bool {
        // A read-modify-write even if the bit turns out to be set: it orders
        // this wake before the poll that clears the bit. Release: that poll
        // sees what the caller did before. No Acquire: a signal that follows because a
        // poll cleared the bit comes after that poll's draining of the descriptor all the same. Both hold the
        // kernel's lock. If the signal held it first, this would happen before the clearing, and could not
        // see it.
        self.pending.fetch_or(bit.mask(), Ordering::Release) & bit.mask() == 0
    }

    /// Clears a bit whose signal failed.
    #[cold]
    fn lower(&self, bit: Option<Bit>) {
        if let Some(bit) = bit {
            // Relaxed: this publishes nothing but the bit. What other threads published by setting
            // the bit stays published, because a read-modify-write continues their release
            // sequence.
            self.pending.fetch_and(!bit.mask(), Ordering::Relaxed);
        }
    }

    /// Clears the pending wake-ups and returns them. Every poll calls it after it took the
    /// events and before it returns.
    #[inline]
    pub(crate) fn take(&self) -> usize {
        // This load sees the bits of all signals that this poll has taken: the kernel's locks
        // order the setting of a bit before it. If the poll took no signal, a later poll loads
        // again. Acquire: a waker whose own signal failed may have cleared a bit whose signal
        // was taken. What the wakes that relied on the bit had done must be visible all the
        // same.
        if self.pending.load(Ordering::Acquire) == 0 {
            return 0;
        }
        // Acquire: pairs with the Release of `raise`. Nobody acquires what a poll did.
        self.pending.swap(0, Ordering::Acquire)
    }
}

#[cfg(all(test, not(mio_loom)))]
mod tests {
    use super::*;

    /// Wakes. Returns whether that signalled.
    fn signals(wakes: &PendingWakes, bit: Bit) -> bool {
        let mut signalled = false;
        let woken: Result<(), ()> = wakes.wake(Some(bit), || {
            signalled = true;
            Ok(())
        });
        assert_eq!(woken, Ok(()));
        signalled
    }

    #[test]
    fn only_the_first_of_several_wakes_signals() {
        let wakes = PendingWakes::new();
        let bit = wakes.claim().unwrap();
        assert!(signals(&wakes, bit));
        assert!(!signals(&wakes, bit));
        assert!(!signals(&wakes, bit));
        assert_eq!(wakes.take(), bit.mask());
        assert_eq!(wakes.take(), 0);
        assert!(signals(&wakes, bit));
    }

    #[test]
    fn a_waker_without_a_bit_signals_each_time() {
        let wakes = PendingWakes::new();
        let mut count = 0;
        for _ in 0..3 {
            let woken: Result<(), ()> = wakes.wake(None, || {
                count += 1;
                Ok(())
            });
            assert_eq!(woken, Ok(()));
        }
        assert_eq!((count, wakes.take()), (3, 0));
        assert_eq!(wakes.wake(None, || Err("refused")), Err("refused"));
    }

    #[test]
    fn a_failed_signal_leaves_only_the_other_wakers_pending() {
        let wakes = PendingWakes::new();
        let (bit, other) = (wakes.claim().unwrap(), wakes.claim().unwrap());
        assert!(signals(&wakes, other));
        assert_eq!(wakes.wake(Some(bit), || Err("refused")), Err("refused"));
        assert!(signals(&wakes, bit), "the wake after a failed one");
        assert_eq!(wakes.take(), bit.mask() | other.mask());
    }

    #[cfg(feature = "stats")]
    #[test]
    fn a_failed_signal_is_not_counted_as_sent() {
        let wakes = PendingWakes::new();
        let bit = wakes.claim().unwrap();
        for bit in [Some(bit), None] {
            assert_eq!(wakes.wake(bit, || Err("refused")), Err("refused"));
            assert_eq!((wakes.sent.get(), wakes.coalesced.get()), (0, 0));
        }
        assert!(signals(&wakes, bit));
        assert_eq!((wakes.sent.get(), wakes.coalesced.get()), (1, 0));
    }

    #[test]
    fn bits_are_distinct_until_none_is_left() {
        let wakes = PendingWakes::new();
        let bits: Vec<Bit> = (0..usize::BITS).map_while(|_| wakes.claim()).collect();
        assert_eq!(bits.len(), usize::BITS as usize);
        let all = bits.iter().fold(0, |all, bit| {
            assert_eq!(all & bit.mask(), 0);
            all | bit.mask()
        });
        assert_eq!(all, usize::MAX);
        assert_eq!(wakes.claim(), None);
        assert_eq!(wakes.claim(), None);
        for bit in [bits[5], bits[0], bits[usize::BITS as usize - 1]] {
            wakes.release(bit);
            assert_eq!(wakes.claim(), Some(bit));
            assert_eq!(wakes.claim(), None);
        }
    }

    #[test]
    fn a_released_bit_is_no_longer_pending() {
        let wakes = PendingWakes::new();
        let bit = wakes.claim().unwrap();
        assert!(signals(&wakes, bit));
        wakes.release(bit);
        assert_eq!(wakes.claim(), Some(bit));
        assert!(signals(&wakes, bit), "the next owner's first wake");
    }
}

/// Checks the protocol under every interleaving. The kernel's part is modelled: a signal sets an edge,
/// and a wait takes it. A lost wake-up shows as a deadlock.
#[cfg(all(test, mio_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    struct Model {
        wakes: PendingWakes,
        edge: Mutex<bool>,
        signalled: Condvar,
        /// The wakers' messages: read after a poll, without any ordering of their own.
        messages: [AtomicUsize; 2],
    }

    impl Model {
        fn new() -> Arc<Model> {
            Arc::new(Model {
                wakes: PendingWakes::new(),
                edge: Mutex::new(false),
                signalled: Condvar::new(),
                messages: [AtomicUsize::new(0), AtomicUsize::new(0)],
            })
        }

        fn signal(&self) {
            *self.edge.lock().unwrap() = true;
            self.signalled.notify_one();
        }

        /// Wakes with a signal that arrives.
        fn send(&self, bit: Bit, message: usize) {
            self.messages[message].store(1, Ordering::Relaxed);
            let woken: Result<(), ()> = self.wakes.wake(Some(bit), || {
                self.signal();
                Ok(())
            });
            woken.unwrap();
        }

        /// Wakes with a signal that is lost. Returns whether it signalled.
        fn send_lost(&self, bit: Bit) -> bool {
            let mut signalled = false;
            let woken: Result<(), ()> = self.wakes.wake(Some(bit), || {
                signalled = true;
                Ok(())
            });
            woken.unwrap();
            signalled
        }

        /// A poll that waits for an edge.
        fn poll(&self) {
            let mut edge = self.edge.lock().unwrap();
            while !*edge {
                edge = self.signalled.wait(edge).unwrap();
            }
            *edge = false;
            drop(edge);
            self.wakes.take();
        }

        /// A poll with timeout zero. Returns whether there was an edge.
        fn probe(&self) -> bool {
            let taken = std::mem::take(&mut *self.edge.lock().unwrap());
            self.wakes.take();
            taken
        }

        fn received(&self) -> usize {
            self.messages
                .iter()
                .map(|message| message.load(Ordering::Relaxed))
                .sum()
        }
    }

    fn two_senders(same_waker: bool, probe_first: bool) {
        let mut builder = loom::model::Builder::new();
        if probe_first {
            // The whole space takes minutes. A fault that needs more than three preemptions
            // is improbable.
            builder.preemption_bound = Some(3);
        }
        builder.check(move || {
            let model = Model::new();
            let bits = if same_waker {
                let bit = model.wakes.claim().unwrap();
                [bit, bit]
            } else {
                [model.wakes.claim().unwrap(), model.wakes.claim().unwrap()]
            };
            let senders: Vec<_> = (0..2)
                .map(|n| {
                    let model = model.clone();
                    thread::spawn(move || model.send(bits[n], n))
                })
                .collect();
            // A program that reads its messages only when it is woken.
            let mut received = 0;
            if probe_first && model.probe() {
                received = model.received();
            }
            while received < 2 {
                model.poll();
                received = model.received();
            }
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }

    #[test]
    fn loom_two_threads_share_a_waker() {
        two_senders(true, false);
    }

    #[test]
    fn loom_a_poll_that_times_out_loses_no_wake() {
        two_senders(true, true);
    }

    #[test]
    fn loom_two_wakers_on_one_poll() {
        two_senders(false, false);
    }

    /// After a failed signal the next wake must reach the poll, whatever else
    /// the poll does meanwhile.
    #[test]
    fn loom_a_wake_after_a_failed_one_arrives() {
        loom::model(|| {
            let model = Model::new();
            let bit = model.wakes.claim().unwrap();
            let sender = {
                let model = model.clone();
                thread::spawn(move || {
                    assert!(model.wakes.wake(Some(bit), || Err(())).is_err());
                    model.send(bit, 0);
                })
            };
            let mut received = if model.probe() { model.received() } else { 0 };
            while received < 1 {
                model.poll();
                received = model.received();
            }
            sender.join().unwrap();
        });
    }

    /// A signal fails late, after a poll has ended that wake-up and another wake
    /// has set the bit again. Clearing the bit then hides no message from the
    /// poll, neither of the wake that signalled nor of one that relied on it.
    #[test]
    fn loom_a_late_failure_hides_no_other_wake() {
        loom::model(|| {
            let model = Model::new();
            let bit = model.wakes.claim().unwrap();
            let failing = {
                let model = model.clone();
                thread::spawn(move || {
                    let mut sender = None;
                    let woken = model.wakes.wake(Some(bit), || {
                        assert_eq!(model.wakes.take(), bit.mask());
                        let model = model.clone();
                        sender = Some(thread::spawn(move || {
                            model.send(bit, 0);
                            model.send(bit, 1);
                        }));
                        Err(())
                    });
                    assert!(woken.is_err());
                    sender.unwrap()
                })
            };
            let mut received = 0;
            while received < 2 {
                model.poll();
                received = model.received();
            }
            failing.join().unwrap().join().unwrap();
        });
    }

    /// A waker is dropped with a wake-up pending during a probe, and its bit goes to another
    /// waker, whose wake must arrive.
    #[test]
    fn loom_a_reused_bit_starts_clear() {
        loom::model(|| {
            let model = Model::new();
            let first = model.wakes.claim().unwrap();
            let sender = {
                let model = model.clone();
                thread::spawn(move || {
                    // Its signal goes to a descriptor that is closed with it.
                    assert!(model.send_lost(first));
                    model.wakes.release(first);
                    let second = model.wakes.claim().unwrap();
                    assert_eq!(second, first);
                    model.send(second, 0);
                })
            };
            let mut received = if model.probe() { model.received() } else { 0 };
            while received < 1 {
                model.poll();
                received = model.received();
            }
            sender.join().unwrap();
        });
    }

    /// A bit goes from a waker that is dropped on one thread to a waker that is made on
    /// another: what the first did happens before what the second does.
    #[test]
    fn loom_a_bit_that_changes_hands_starts_clear() {
        loom::model(|| {
            let model = Model::new();
            let first = model.wakes.claim().unwrap();
            assert!(model.send_lost(first));
            let dropping = {
                let model = model.clone();
                thread::spawn(move || {
                    model.messages[0].store(1, Ordering::Relaxed);
                    model.wakes.release(first);
                })
            };
            let second = model.wakes.claim().unwrap();
            if second == first {
                assert_eq!(model.messages[0].load(Ordering::Relaxed), 1);
                assert!(model.send_lost(second), "its first wake must signal");
            }
            dropping.join().unwrap();
        });
    }

    /// Two threads that claim at once get different bits.
    #[test]
    fn loom_claims_do_not_collide() {
        loom::model(|| {
            let wakes = Arc::new(PendingWakes::new());
            let other = {
                let wakes = wakes.clone();
                thread::spawn(move || wakes.claim().unwrap())
            };
            let mine = wakes.claim().unwrap();
            assert_ne!(mine, other.join().unwrap());
        });
    }
}
