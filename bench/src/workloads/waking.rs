//! Waking a thread that waits, or that will wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{iter, thread};

use super::Run;
use crate::os;
use crate::subject::{Subject, Wake};

/// One operation is a wake while another one is pending.
pub fn pending<S: Subject>() -> Run {
    let mut subject = S::new(8);
    let waker = subject.waker();
    Box::new(move |clock, operations| {
        waker.wake();
        clock.measure(|| {
            for _ in 0..operations {
                waker.wake();
            }
        });
        subject.wait(Some(Duration::ZERO), |_| {});
    })
}

/// One operation is a wake while none is pending and no thread waits.
pub fn first<S: Subject>() -> Run {
    let mut subject = S::new(8);
    let waker = subject.waker();
    Box::new(move |clock, operations| {
        for _ in 0..operations {
            clock.measure(|| waker.wake());
            subject.wait(Some(Duration::ZERO), |_| {});
        }
    })
}

/// One operation is a wake, and the wait that it ends.
pub fn and_wait<S: Subject>() -> Run {
    let mut subject = S::new(8);
    let waker = subject.waker();
    Box::new(move |clock, operations| {
        clock.measure(|| {
            for _ in 0..operations {
                waker.wake();
                subject.wait(None, |_| {});
            }
        });
    })
}

/// One operation wakes a thread that waits; that thread then wakes the first one, which waits
/// meanwhile. Both run on one processor.
pub fn idle_thread<S: Subject>() -> Run {
    let processor = os::OneProcessor::first();
    let mut subject = S::new(8);
    let waker = subject.waker();
    let (asked, answered) = (counter(), counter());
    let (is_over, wakers) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
    let thread = thread::spawn({
        let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
        let is_over = Arc::clone(&is_over);
        let own_waker = wakers.0;
        move || {
            let mut subject = S::new(8);
            own_waker
                .send(Arc::new(subject.waker()))
                .expect("waited for");
            let mut done = 0;
            while !is_over.load(Ordering::Acquire) {
                subject.wait(None, |_| {});
                let wanted = asked.load(Ordering::Acquire);
                if wanted > done {
                    done = wanted;
                    answered.store(done, Ordering::Release);
                    waker.wake();
                }
            }
        }
    });
    let other = wakers.1.recv().expect("it starts with that");
    let threads = Threads {
        threads: vec![thread],
        end: {
            let other = Arc::clone(&other);
            Box::new(move || {
                is_over.store(true, Ordering::Release);
                other.wake();
            })
        },
    };
    Box::new(move |clock, operations| {
        let _ = (&processor, &threads);
        clock.measure(|| {
            for _ in 0..operations {
                let number = asked.fetch_add(1, Ordering::AcqRel) + 1;
                other.wake();
                while answered.load(Ordering::Acquire) < number {
                    subject.wait(None, |_| {});
                }
            }
        });
    })
}

/// One operation is a message. Its sender wakes the receiving thread for each message. The senders
/// share a processor, and the receiver has another one.
pub fn messages<S: Subject>(senders: usize) -> Run {
    let of_senders = os::OneProcessor::last();
    let mut subject = S::new(8);
    let waker = Arc::new(subject.waker());
    let sent = counter();
    let (share, is_over) = (counter(), Arc::new(AtomicBool::new(false)));
    let start = Arc::new(Barrier::new(senders + 1));
    let send = || {
        let (waker, sent, share) = (Arc::clone(&waker), Arc::clone(&sent), Arc::clone(&share));
        let (start, is_over) = (Arc::clone(&start), Arc::clone(&is_over));
        thread::spawn(move || loop {
            start.wait();
            if is_over.load(Ordering::Acquire) {
                break;
            }
            for _ in 0..share.load(Ordering::Acquire) {
                sent.fetch_add(1, Ordering::AcqRel);
                waker.wake();
            }
        })
    };
    let threads = Threads {
        threads: iter::repeat_with(send).take(senders).collect(),
        end: {
            let start = Arc::clone(&start);
            Box::new(move || {
                is_over.store(true, Ordering::Release);
                start.wait();
            })
        },
    };
    drop(of_senders);
    let processor = os::OneProcessor::first();
    Box::new(move |clock, operations| {
        let _ = (&threads, &waker, &processor);
        let each = operations.div_ceil(senders);
        share.store(each, Ordering::Release);
        sent.store(0, Ordering::Release);
        clock.measure(|| {
            start.wait();
            while sent.load(Ordering::Acquire) < each * senders {
                subject.wait(None, |_| {});
            }
        });
    })
}

fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

/// Ends threads, and waits until they have ended.
struct Threads {
    threads: Vec<JoinHandle<()>>,
    end: Box<dyn Fn()>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        (self.end)();
        for thread in self.threads.drain(..) {
            thread.join().expect("it does not panic");
        }
    }
}
