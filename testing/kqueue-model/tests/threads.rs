//! Any number of threads in `kevent`, while others change the registrations.

#![cfg(not(kqueue_library))]

mod util;

use std::io::Write;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kqueue_model::abi::*;

use util::{kevent, pair, pipe, read, token, user, write, Kq, ADD, DELETE, LONG, SHORT};

/// Waits until the thread with that id waits in `kevent`.
fn wait_until_asleep(thread: &AtomicUsize) {
    let calls = [libc::SYS_epoll_pwait2, libc::SYS_epoll_pwait].map(|call| call.to_string());
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        let id = thread.load(Ordering::SeqCst);
        if let Ok(call) = std::fs::read_to_string(format!("/proc/self/task/{id}/syscall")) {
            if calls
                .iter()
                .any(|number| call.split(' ').next() == Some(number))
            {
                return;
            }
        }
        thread::yield_now();
    }
    panic!("the thread does not wait");
}

fn thread_id() -> usize {
    // SAFETY: the call has no memory-safety preconditions.
    unsafe { libc::gettid() as usize }
}

/// Each signal is used by one test.
fn handle(number: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handlers of these tests make only system calls, or calls that are system calls on
    // a BSD.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(number, &action, std::ptr::null_mut()), 0);
    }
}

/// Sends a signal to a thread of this process that has not ended.
fn signal(thread: usize, number: libc::c_int) {
    // SAFETY: the call has no memory-safety preconditions, and the signal has a handler.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, number) };
}

/// The result of a thread that waits on a kqueue while another thread does something.
fn waits_while(kq: &Kq, act: impl FnOnce()) -> std::io::Result<Vec<Kevent>> {
    let id = AtomicUsize::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            id.store(thread_id(), Ordering::SeqCst);
            kevent(kq.fd(), &[], 16, Some(LONG))
        });
        wait_until_asleep(&id);
        act();
        let start = Instant::now();
        let result = waiter.join().unwrap();
        // Not only when its timeout had passed.
        assert!(start.elapsed() < LONG / 2);
        result
    })
}

#[test]
fn data_a_change_and_a_trigger_wake_who_waits() {
    let kq = Kq::new();
    let (a, mut b) = pair();
    kq.apply(&[read(&a, ADD, 1), user(0, ADD, 0, 2)]);
    let events = waits_while(&kq, || b.write_all(b"x").unwrap()).unwrap();
    assert_eq!(events[0].udata, token(1));
    let again = [read(&a, ADD, 3)];
    let events = waits_while(&kq, || kq.apply(&again)).unwrap();
    assert_eq!(events[0].udata, token(3));
    let trigger = [user(0, EV_ADD | EV_RECEIPT, NOTE_TRIGGER, 4)];
    let events = waits_while(&kq, || kq.apply(&trigger)).unwrap();
    assert_eq!(events[0].udata, token(4));
}

#[test]
fn a_descriptor_that_is_closed_and_its_number_wake_nobody() {
    let kq = Kq::new();
    let (a, mut b) = pair();
    let (c, mut d) = pair();
    kq.apply(&[read(&a, ADD, 1), read(&c, ADD, 2)]);
    let duplicate = a.try_clone().unwrap();
    let events = waits_while(&kq, || {
        drop(a);
        b.write_all(b"x").unwrap();
        d.write_all(b"x").unwrap();
    })
    .unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].udata, token(2));
    drop(duplicate);
}

#[test]
fn every_waiter_is_woken_when_there_is_an_event_for_each() {
    let kq = Kq::new();
    let mut pairs: Vec<_> = (0..4).map(|_| pair()).collect();
    for (i, (a, _)) in pairs.iter().enumerate() {
        kq.apply(&[read(a, ADD, i)]);
    }
    let mut seen = thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| kevent(kq.fd(), &[], 1, Some(LONG)).unwrap()))
            .collect();
        for (_, b) in &mut pairs {
            b.write_all(b"x").unwrap();
        }
        let events = waiters
            .into_iter()
            .flat_map(|waiter| waiter.join().unwrap());
        events.map(|event| event.udata.addr()).collect::<Vec<_>>()
    });
    seen.sort();
    assert_eq!(seen, [0, 1, 2, 3]);
    kq.nothing();
}

#[test]
fn closing_the_kqueue_ends_the_wait() {
    let mut kq = Kq::new();
    let (a, mut b) = pair();
    kq.apply(&[read(&a, ADD, 1)]);
    // Closing the first of two descriptors does not affect a thread that waits on the other.
    let duplicate = kq.duplicate();
    drop(mem::replace(&mut kq, duplicate));
    let events = waits_while(&kq, || b.write_all(b"x").unwrap()).unwrap();
    assert_eq!(events.len(), 1);

    let id = AtomicUsize::new(0);
    let fd = kq.fd();
    let error = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            id.store(thread_id(), Ordering::SeqCst);
            kevent(fd, &[], 16, Some(LONG))
        });
        wait_until_asleep(&id);
        drop(kq);
        let start = Instant::now();
        let result = waiter.join().unwrap();
        assert!(start.elapsed() < LONG / 2);
        result.unwrap_err()
    });
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_signal_interrupts_the_wait() {
    extern "C" fn ignore(_: libc::c_int) {}
    handle(libc::SIGUSR1, ignore);
    let kq = Kq::new();
    let id = AtomicUsize::new(0);
    let result = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            id.store(thread_id(), Ordering::SeqCst);
            kevent(kq.fd(), &[], 1, Some(LONG))
        });
        wait_until_asleep(&id);
        signal(id.load(Ordering::SeqCst), libc::SIGUSR1);
        waiter.join().unwrap()
    });
    let error = result.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINTR));
}

#[test]
fn a_signal_handler_can_do_all_of_it() {
    static KQ: AtomicI32 = AtomicI32::new(-1);
    static HANDLED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn trigger_and_close(_: libc::c_int) {
        let change = user(0, EV_ADD, NOTE_TRIGGER, 1);
        // SAFETY: the lists have one change and no event, and the handler owns the duplicate.
        unsafe {
            let errno = *libc::__errno_location();
            let kq = KQ.load(Ordering::SeqCst);
            let none = std::ptr::null_mut();
            let result = kqueue_model::kevent(kq, &change, 1, none, 0, std::ptr::null());
            if result == 0 && libc::close(libc::dup(kq)) == 0 {
                HANDLED.fetch_add(1, Ordering::SeqCst);
            }
            *libc::__errno_location() = errno;
        }
    }
    handle(libc::SIGUSR2, trigger_and_close);

    let kq = Kq::new();
    KQ.store(kq.fd(), Ordering::SeqCst);
    let (id, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        scope.spawn(|| {
            id.store(thread_id(), Ordering::SeqCst);
            while !over.load(Ordering::SeqCst) {
                let (a, _b) = pair();
                kq.apply(&[read(&a, ADD, 1), user(0, ADD, 0, 1)]);
            }
        });
        let end = Instant::now() + Duration::from_millis(300);
        let mut sent = 0;
        while Instant::now() < end {
            let before = HANDLED.load(Ordering::SeqCst);
            let id = id.load(Ordering::SeqCst);
            if id != 0 && before == sent {
                signal(id, libc::SIGUSR2);
                sent += 1;
            }
        }
        let deadline = Instant::now() + LONG;
        while HANDLED.load(Ordering::SeqCst) < sent && Instant::now() < deadline {
            thread::yield_now();
        }
        over.store(true, Ordering::SeqCst);
        sent
    });
    assert!(sent > 0);
    assert_eq!(HANDLED.load(Ordering::SeqCst), sent);
}

#[test]
fn a_wait_is_not_shorter_than_asked() {
    let kq = Kq::new();
    for micros in [1, 999, 1_500, 20_001] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        assert_eq!(kq.poll(timeout), []);
        assert!(start.elapsed() >= timeout);
    }
}

#[test]
fn a_wait_goes_on_after_what_is_no_event() {
    let kq = Kq::new();
    let (a, mut b) = pair();
    // It is disabled: the model still sees its edges, and does not report them.
    kq.apply(&[read(&a, ADD | EV_DISABLE, 1)]);
    let start = Instant::now();
    let timeout = Duration::from_millis(100);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| kq.poll(timeout));
        while !waiter.is_finished() {
            b.write_all(b"x").unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(waiter.join().unwrap(), []);
    });
    assert!(start.elapsed() >= timeout);
    kq.apply(&[read(&a, EV_ENABLE | EV_RECEIPT, 1)]);
    kq.event();
}

/// Pairs and pipes come and go, with and without EV_DELETE, and every event reaches one of the two
/// threads.
#[test]
fn no_event_is_lost_while_descriptors_come_and_go() {
    const WORKERS: usize = 3;
    let kq = Kq::new();
    let seen: [AtomicBool; WORKERS] = Default::default();
    let over = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    let end = Instant::now() + Duration::from_millis(1000);

    let work = |id: usize| {
        let wait_for_event = || {
            let deadline = Instant::now() + LONG;
            while !seen[id].swap(false, Ordering::SeqCst) {
                assert!(Instant::now() < deadline, "an event is lost");
                thread::yield_now();
            }
        };
        for round in 0.. {
            if Instant::now() > end {
                break;
            }
            if round % 3 == 0 {
                let (reader, mut writer) = pipe();
                kq.apply(&[write(&writer, ADD, 99), read(&reader, ADD, id)]);
                writer.write_all(b"x").unwrap();
                wait_for_event();
            } else {
                let (a, mut b) = pair();
                kq.apply(&[write(&a, ADD, 99), read(&a, ADD, id)]);
                b.write_all(b"x").unwrap();
                wait_for_event();
                if round % 3 == 1 {
                    kq.apply(&[write(&a, DELETE, 0), read(&a, DELETE, 0)]);
                }
            }
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    let wait = || {
        while !over.load(Ordering::SeqCst) {
            for event in kq.poll(SHORT) {
                if event.filter == EVFILT_READ {
                    assert_eq!(event.flags & EV_ERROR, 0);
                    seen[event.udata.addr()].store(true, Ordering::SeqCst);
                }
            }
        }
    };
    thread::scope(|scope| {
        let waiters = [scope.spawn(wait), scope.spawn(wait)];
        let work = &work;
        let workers: Vec<_> = (0..WORKERS)
            .map(|id| scope.spawn(move || work(id)))
            .collect();
        let worked: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        over.store(true, Ordering::SeqCst);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(worked.iter().all(Result::is_ok));
    });
    assert!(rounds.load(Ordering::Relaxed) > WORKERS);
}
