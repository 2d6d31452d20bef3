//! Handles of Windows that can be waited for, as sources.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", windows))]

mod util;

use std::io::ErrorKind;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle,
};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mio::windows::WaitHandle;
use mio::{Backend, Interest, Token, Waker};
use util::{patience, Loop, Polling, Seen};
use windows_sys::Win32::Foundation::{
    DuplicateHandle, ERROR_NOT_OWNER, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateMutexW, CreateSemaphoreW, CreateWaitableTimerExW, GetCurrentProcess,
    ReleaseMutex, ReleaseSemaphore, ResetEvent, SetEvent, SetWaitableTimer, WaitForSingleObject,
    CREATE_WAITABLE_TIMER_MANUAL_RESET, EVENT_MODIFY_STATE, TIMER_ALL_ACCESS,
};

const ONE: Token = Token(1);
const OTHER: Token = Token(2);
const POLLS: usize = 5;
const NOW: Option<Duration> = Some(Duration::ZERO);

/// The kinds of objects that can be waited for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// An event that lasts until it is reset.
    Event,
    /// An event that a wait resets.
    AutoEvent,
    /// Of 3 counts when it is signalled.
    Semaphore,
    Timer,
    AutoTimer,
    Process,
    Thread,
}

const KINDS: [Kind; 7] = [
    Kind::Event,
    Kind::AutoEvent,
    Kind::Semaphore,
    Kind::Timer,
    Kind::AutoTimer,
    Kind::Process,
    Kind::Thread,
];

impl Kind {
    /// How many waits a signal ends; `None` for any number.
    fn waits(self) -> Option<usize> {
        match self {
            Kind::Event | Kind::Timer | Kind::Process | Kind::Thread => None,
            Kind::AutoEvent | Kind::AutoTimer => Some(1),
            Kind::Semaphore => Some(3),
        }
    }

    fn subject(self) -> Subject {
        match self {
            Kind::Event | Kind::AutoEvent => {
                let event = event(self == Kind::Event);
                let its = duplicate(event.as_handle());
                Subject::new(event, move || set(its.as_handle()))
            }
            Kind::Semaphore => {
                let semaphore = semaphore();
                let its = duplicate(semaphore.as_handle());
                Subject::new(semaphore, move || release(its.as_handle(), 3))
            }
            Kind::Timer | Kind::AutoTimer => {
                let timer = timer(self == Kind::Timer);
                let its = duplicate(timer.as_handle());
                Subject::new(timer, move || due_soon(its.as_handle()))
            }
            Kind::Process => {
                let mut child = Command::new("cmd")
                    .arg("/q")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
                // It ends when its input ends.
                let handle = duplicate(child.as_handle());
                Subject::new(handle, move || {
                    drop(child.stdin.take());
                })
            }
            Kind::Thread => {
                let (end, ended) = mpsc::channel::<()>();
                let thread = thread::spawn(move || ended.recv());
                let mut end = Some(end);
                Subject::new(duplicate(thread.as_handle()), move || drop(end.take()))
            }
        }
    }
}

struct Subject {
    handle: WaitHandle,
    signal: Box<dyn FnMut()>,
}

impl Subject {
    fn new(handle: OwnedHandle, signal: impl FnMut() + 'static) -> Subject {
        Subject {
            handle: WaitHandle::new(handle),
            signal: Box::new(signal),
        }
    }

    fn signal(&mut self) {
        (self.signal)();
    }
}

/// A handle that a call has just returned.
fn owned(handle: HANDLE) -> OwnedHandle {
    assert!(!handle.is_null(), "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just opened it, and nothing else owns it.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

fn event(lasts: bool) -> OwnedHandle {
    // SAFETY: attributes and name are null, which stands for none.
    owned(unsafe { CreateEventW(ptr::null(), lasts.into(), 0, ptr::null()) })
}

fn set(event: BorrowedHandle<'_>) {
    // SAFETY: the handle is open, because it is borrowed.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

fn reset(event: BorrowedHandle<'_>) {
    // SAFETY: the handle is open, because it is borrowed.
    assert_ne!(unsafe { ResetEvent(event.as_raw_handle()) }, 0);
}

fn semaphore() -> OwnedHandle {
    // SAFETY: attributes and name are null, which stands for none.
    owned(unsafe { CreateSemaphoreW(ptr::null(), 0, i32::MAX, ptr::null()) })
}

fn release(semaphore: BorrowedHandle<'_>, count: i32) {
    // SAFETY: the handle is open, because it is borrowed; the count before is not asked for.
    let released = unsafe { ReleaseSemaphore(semaphore.as_raw_handle(), count, ptr::null_mut()) };
    assert_ne!(released, 0);
}

fn timer(lasts: bool) -> OwnedHandle {
    let flags = match lasts {
        true => CREATE_WAITABLE_TIMER_MANUAL_RESET,
        false => 0,
    };
    // SAFETY: attributes and name are null, which stands for none.
    owned(unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), flags, TIMER_ALL_ACCESS) })
}

fn due_soon(timer: BorrowedHandle<'_>) {
    // In units of 100 ns; negative: from now on.
    let due = -10_000_i64;
    // SAFETY: the call reads `due` before it returns; there is no routine to be called.
    let started = unsafe { SetWaitableTimer(timer.as_raw_handle(), &due, 0, None, ptr::null(), 0) };
    assert_ne!(started, 0);
}

fn duplicate(handle: BorrowedHandle<'_>) -> OwnedHandle {
    handle.try_clone_to_owned().unwrap()
}

/// Waits for a signal, and takes it. Returns whether there was one.
fn takes_signal(handle: BorrowedHandle<'_>, timeout: Duration) -> bool {
    // SAFETY: the handle is open, because it is borrowed.
    match unsafe { WaitForSingleObject(handle.as_raw_handle(), timeout.as_millis() as u32) } {
        WAIT_OBJECT_0 => true,
        WAIT_TIMEOUT => false,
        other => panic!("a wait ended with {other}"),
    }
}

/// Waits until an object is signalled that stays so.
fn until_signalled(handle: BorrowedHandle<'_>) {
    assert!(takes_signal(handle, patience()), "it is never signalled");
}

/// Signals an event that resets itself until somebody else has taken the signal.
fn signal_until_taken(event: BorrowedHandle<'_>) {
    let deadline = Instant::now() + patience();
    loop {
        set(event);
        thread::sleep(Duration::from_millis(1));
        if !takes_signal(event, Duration::ZERO) {
            return;
        }
        assert!(Instant::now() < deadline, "nobody takes it");
    }
}

/// How many events one poll without waiting has; all of this token.
#[track_caller]
fn poll_once(looper: &mut Loop, token: Token) -> usize {
    looper.poll.poll(&mut looper.events, NOW).unwrap();
    for event in &looper.events {
        assert_eq!(event.token(), token);
        assert_eq!(Seen::of(event), Seen::named("readable"));
    }
    looper.events.iter().count()
}

#[test]
fn each_kind_of_object_is_reported_once_when_it_is_signalled() {
    for kind in KINDS {
        let mut looper = Loop::new(Backend::Afd);
        let mut subject = kind.subject();
        looper.register(&mut subject.handle, ONE, Interest::READABLE);
        looper.assert_quiet();
        subject.signal();
        looper.until(&format!("{kind:?}"), |event| {
            assert_eq!(event.token(), ONE);
            assert_eq!(Seen::of(event), Seen::named("readable"));
            true
        });
        assert_eq!(looper.events.iter().count(), 1, "{kind:?}");
        looper.assert_quiet();
        looper.registry().deregister(&mut subject.handle).unwrap();
    }
}

#[test]
fn each_kind_of_object_that_is_signalled_when_it_is_registered_is_reported_at_once() {
    for kind in KINDS {
        let mut looper = Loop::new(Backend::Afd);
        let mut subject = kind.subject();
        subject.signal();
        match kind {
            Kind::Event | Kind::AutoEvent | Kind::Semaphore => {}
            // A wait would take the signal.
            Kind::AutoTimer => thread::sleep(Duration::from_millis(100)),
            Kind::Timer | Kind::Process | Kind::Thread => {
                until_signalled(subject.handle.as_handle());
            }
        }
        looper.register(&mut subject.handle, ONE, Interest::READABLE);
        // A timer is late on a busy machine.
        if kind == Kind::AutoTimer {
            looper.until_readable(ONE);
        } else {
            assert_eq!(poll_once(&mut looper, ONE), 1, "{kind:?}");
        }
        looper.assert_quiet();
    }
}

#[test]
fn reregister_reports_what_is_signalled_again() {
    for kind in KINDS {
        let mut looper = Loop::new(Backend::Afd);
        let mut subject = kind.subject();
        let registry = looper.registry().try_clone().unwrap();
        registry
            .register(&mut subject.handle, ONE, Interest::READABLE)
            .unwrap();
        // The token that it gets while nothing has happened is the one that is reported.
        registry
            .reregister(&mut subject.handle, OTHER, Interest::READABLE)
            .unwrap();
        subject.signal();
        looper.until(&format!("{kind:?}"), |event| {
            assert_eq!(event.token(), OTHER);
            true
        });
        let mut left = kind.waits().map(|waits| waits - 1);
        for token in [ONE, OTHER, ONE, OTHER] {
            registry
                .reregister(&mut subject.handle, token, Interest::READABLE)
                .unwrap();
            let expected = usize::from(left != Some(0));
            left = left.map(|left: usize| left.saturating_sub(1));
            assert_eq!(poll_once(&mut looper, token), expected, "{kind:?}");
        }
        if kind == Kind::AutoEvent {
            subject.signal();
            looper.until_readable(OTHER);
        }
    }
}

/// A signal that is on its way to the poll is reported with the token of `reregister`.
#[test]
fn a_signal_that_was_taken_is_reported_with_the_token_of_reregister() {
    let mut looper = Loop::new(Backend::Afd);
    let event = event(false);
    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
    looper.register(&mut handle, ONE, Interest::READABLE);
    signal_until_taken(event.as_handle());
    looper.reregister(&mut handle, OTHER, Interest::READABLE);
    looper.until("the signal", |event| {
        assert_eq!(event.token(), OTHER);
        true
    });
    looper.assert_quiet();
}

#[test]
fn modes_say_how_often_a_handle_is_reported() {
    for kind in KINDS {
        for (mode, is_level) in [
            (Interest::READABLE, false),
            (Interest::READABLE.oneshot(), false),
            (Interest::READABLE.level().oneshot(), false),
            (Interest::READABLE.level(), true),
        ] {
            let mut looper = Loop::new(Backend::Afd);
            let mut subject = kind.subject();
            looper.register(&mut subject.handle, ONE, mode);
            subject.signal();
            looper.until_readable(ONE);
            assert_eq!(looper.events.iter().count(), 1);
            let seen: usize = (1..POLLS).map(|_| poll_once(&mut looper, ONE)).sum();
            let expected = match is_level {
                true => kind.waits().unwrap_or(POLLS).min(POLLS),
                false => 1,
            };
            assert_eq!(1 + seen, expected, "{kind:?}, {mode:?}");
            // After another signal.
            if kind == Kind::AutoEvent {
                subject.signal();
                match is_level {
                    true => looper.until_readable(ONE),
                    false => looper.assert_quiet(),
                }
            }
        }
    }
}

#[test]
fn a_level_triggered_handle_is_reported_for_as_long_as_it_is_signalled() {
    let mut looper = Loop::new(Backend::Afd);
    let event = event(true);
    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
    let level = Interest::READABLE.level();
    looper.register(&mut handle, ONE, level);
    for _ in 0..3 {
        looper.assert_quiet();
        set(event.as_handle());
        looper.until_readable(ONE);
        for _ in 0..POLLS {
            looper.assert_some_ready();
        }
        reset(event.as_handle());
    }
    set(event.as_handle());
    looper.until_readable(ONE);
    // Edges from now on.
    looper.reregister(&mut handle, OTHER, Interest::READABLE);
    assert_eq!(poll_once(&mut looper, OTHER), 1);
    looper.assert_quiet();
    looper.reregister(&mut handle, ONE, level);
    assert_eq!(poll_once(&mut looper, ONE), 1);
    assert_eq!(poll_once(&mut looper, ONE), 1);
    looper.registry().deregister(&mut handle).unwrap();
    looper.assert_quiet();
}

#[test]
fn level_triggered_handles_take_turns_in_a_small_buffer() {
    let mut looper = Loop::with_capacity(Backend::Afd, 2);
    let mut handles: Vec<_> = (0..5)
        .map(|_| {
            let event = event(true);
            set(event.as_handle());
            WaitHandle::new(event)
        })
        .collect();
    for (n, handle) in handles.iter_mut().enumerate() {
        looper
            .registry()
            .register(handle, Token(n), Interest::READABLE.level())
            .unwrap();
    }
    let waker = Waker::new(looper.registry(), Token(5)).unwrap();
    waker.wake().unwrap();
    let mut seen = [0; 6];
    for _ in 0..18 {
        looper.poll.poll(&mut looper.events, NOW).unwrap();
        assert!(looper.events.iter().count() <= 2);
        for event in &looper.events {
            seen[event.token().0] += 1;
        }
    }
    assert_eq!(seen[5], 1, "{seen:?}");
    assert!(seen[..5].iter().all(|count| *count >= 5), "{seen:?}");
}

#[test]
fn a_signal_after_deregister_is_not_reported() {
    for kind in KINDS {
        let mut looper = Loop::new(Backend::Afd);
        let mut subject = kind.subject();
        let registry = looper.registry();
        registry
            .register(&mut subject.handle, ONE, Interest::READABLE)
            .unwrap();
        registry.deregister(&mut subject.handle).unwrap();
        subject.signal();
        looper.assert_quiet();
        // Nor was it lost.
        let registry = looper.registry();
        registry
            .register(&mut subject.handle, OTHER, Interest::READABLE)
            .unwrap();
        looper.until_readable(OTHER);
    }
}

/// A thread of the pool may be slow to see that it is not to wait any more, and not each time.
#[test]
fn a_deregistered_handle_leaves_signals_to_others() {
    const ROUNDS: usize = 40;

    let mut looper = Loop::new(Backend::Afd);
    let event = event(false);
    let mut left = 0;
    for _ in 0..ROUNDS {
        let mut handle = WaitHandle::new(duplicate(event.as_handle()));
        let registry = looper.registry();
        registry
            .register(&mut handle, ONE, Interest::READABLE)
            .unwrap();
        registry.deregister(&mut handle).unwrap();
        looper.assert_quiet();
        set(event.as_handle());
        left += usize::from(takes_signal(event.as_handle(), Duration::ZERO));
    }
    assert!(left > ROUNDS / 2, "{left} of {ROUNDS}");
}

#[test]
fn a_signal_before_deregister_is_not_reported_after_it() {
    for lasts in [true, false] {
        for is_registered_first in [true, false] {
            let mut looper = Loop::new(Backend::Afd);
            let event = event(lasts);
            let mut handle = WaitHandle::new(duplicate(event.as_handle()));
            if !is_registered_first {
                set(event.as_handle());
            }
            let registry = looper.registry();
            registry
                .register(&mut handle, ONE, Interest::READABLE.level())
                .unwrap();
            match (is_registered_first, lasts) {
                (true, true) => set(event.as_handle()),
                (true, false) => signal_until_taken(event.as_handle()),
                (false, _) => {}
            }
            registry.deregister(&mut handle).unwrap();
            looper.assert_quiet();
        }
    }
}

/// Whether the wait has consumed it, and whichever way it was about to be reported.
#[test]
fn a_signal_that_was_taken_and_not_reported_belongs_to_the_next_registration() {
    for is_signalled_first in [true, false] {
        let mut first = Loop::new(Backend::Afd);
        let mut second = Loop::new(Backend::Afd);
        let event = event(false);
        let mut handle = WaitHandle::new(duplicate(event.as_handle()));
        if is_signalled_first {
            set(event.as_handle());
        }
        let registry = first.registry();
        registry
            .register(&mut handle, ONE, Interest::READABLE)
            .unwrap();
        if !is_signalled_first {
            signal_until_taken(event.as_handle());
        }
        registry.deregister(&mut handle).unwrap();
        assert!(!takes_signal(event.as_handle(), Duration::ZERO));
        second
            .registry()
            .register(&mut handle, OTHER, Interest::READABLE)
            .unwrap();
        second.until_readable(OTHER);
        second.assert_quiet();
        first.assert_quiet();
    }
}

#[test]
fn a_dropped_handle_is_not_reported() {
    for is_signalled_first in [true, false] {
        let mut looper = Loop::new(Backend::Afd);
        let event = event(true);
        if is_signalled_first {
            set(event.as_handle());
        }
        let mut handle = WaitHandle::new(duplicate(event.as_handle()));
        looper.register(&mut handle, ONE, Interest::READABLE.level());
        drop(handle);
        set(event.as_handle());
        looper.assert_quiet();
    }
}

#[test]
fn registering_follows_the_rules() {
    let looper = Loop::new(Backend::Afd);
    let other = Loop::new(Backend::Afd);
    let event = event(true);
    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    let registry = looper.registry();
    let readable = Interest::READABLE;
    assert_eq!(kind(registry.deregister(&mut handle)), ErrorKind::NotFound);
    assert_eq!(
        kind(registry.reregister(&mut handle, ONE, readable)),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(registry.register(&mut handle, ONE, Interest::WRITABLE)),
        ErrorKind::InvalidInput
    );
    assert_eq!(kind(registry.deregister(&mut handle)), ErrorKind::NotFound);

    let both = readable | Interest::WRITABLE;
    registry.register(&mut handle, ONE, both).unwrap();
    for registry in [registry, other.registry()] {
        assert_eq!(
            kind(registry.register(&mut handle, ONE, readable)),
            ErrorKind::AlreadyExists
        );
    }
    assert_eq!(
        kind(registry.reregister(&mut handle, ONE, Interest::WRITABLE)),
        ErrorKind::InvalidInput
    );
    let other = other.registry();
    assert_eq!(
        kind(other.reregister(&mut handle, ONE, readable)),
        ErrorKind::NotFound
    );
    assert_eq!(kind(other.deregister(&mut handle)), ErrorKind::NotFound);
    registry.deregister(&mut handle).unwrap();
    assert_eq!(kind(registry.deregister(&mut handle)), ErrorKind::NotFound);
    registry.register(&mut handle, ONE, readable).unwrap();
}

#[test]
fn a_handle_goes_from_one_poll_to_another() {
    let event = event(false);
    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
    let mut polls = [Loop::new(Backend::Afd), Loop::new(Backend::Afd)];
    for round in 0..20 {
        let (one, two) = polls.split_at_mut(1);
        let (here, there) = match round % 2 {
            0 => (&mut one[0], &mut two[0]),
            _ => (&mut two[0], &mut one[0]),
        };
        let registry = here.registry();
        registry
            .register(&mut handle, Token(round), Interest::READABLE)
            .unwrap();
        set(event.as_handle());
        if round % 3 > 0 {
            here.until_readable(Token(round));
            there.assert_nothing_ready();
        }
        // Otherwise it is left to the next one.
        here.registry().deregister(&mut handle).unwrap();
        here.assert_nothing_ready();
        if round % 3 == 0 {
            there
                .registry()
                .register(&mut handle, OTHER, Interest::READABLE)
                .unwrap();
            // The pool of Wine 10 may take the signal of a wait that is being disarmed, and not call back.
            let may_lose = util::wine_version() >= Some(10);
            let limit = match may_lose {
                true => Duration::from_secs(1),
                false => patience(),
            };
            let polled = there.poll.poll(&mut there.events, Some(limit));
            polled.unwrap();
            if !there.events.iter().any(|event| event.token() == OTHER) {
                assert!(may_lose, "the signal is lost");
                set(event.as_handle());
                there.until_readable(OTHER);
            }
            there.registry().deregister(&mut handle).unwrap();
        }
    }
}

#[test]
fn a_handle_whose_poll_is_gone_can_be_registered_with_another() {
    for is_signalled in [false, true] {
        let event = event(false);
        let mut handle = WaitHandle::new(duplicate(event.as_handle()));
        let first = Loop::new(Backend::Afd);
        first
            .registry()
            .register(&mut handle, ONE, Interest::READABLE)
            .unwrap();
        if is_signalled {
            signal_until_taken(event.as_handle());
        }
        drop(first);
        let mut second = Loop::new(Backend::Afd);
        second
            .registry()
            .register(&mut handle, OTHER, Interest::READABLE)
            .unwrap();
        if !is_signalled {
            second.assert_quiet();
            set(event.as_handle());
        }
        second.until_readable(OTHER);
    }
}

#[test]
fn a_handle_that_another_thread_registers_wakes_a_waiting_poll() {
    let looper = Loop::new(Backend::Afd);
    let seen = Arc::new(AtomicUsize::new(0));
    let registry = looper.registry().try_clone().unwrap();
    let its = Arc::clone(&seen);
    let (done, is_done) = mpsc::channel();
    let polling = thread::spawn(move || {
        let mut looper = looper;
        for expected in [ONE, OTHER, ONE] {
            looper.until_readable(expected);
            // Relaxed: the channel orders it.
            its.fetch_add(1, Ordering::Relaxed);
            done.send(()).unwrap();
        }
    });
    let event = event(true);
    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
    registry
        .register(&mut handle, ONE, Interest::READABLE)
        .unwrap();
    set(event.as_handle());
    is_done.recv_timeout(patience()).unwrap();
    registry
        .reregister(&mut handle, OTHER, Interest::READABLE)
        .unwrap();
    is_done.recv_timeout(patience()).unwrap();
    registry.deregister(&mut handle).unwrap();
    registry
        .register(&mut handle, ONE, Interest::READABLE)
        .unwrap();
    is_done.recv_timeout(patience()).unwrap();
    polling.join().unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

/// More than one thread of the pool can wait for.
#[test]
fn many_handles_are_each_reported_once() {
    const MANY: usize = 300;

    let mut looper = Loop::new(Backend::Afd);
    let events: Vec<_> = (0..MANY).map(|n| event(n % 2 == 0)).collect();
    let mut handles: Vec<_> = events
        .iter()
        .map(|event| WaitHandle::new(duplicate(event.as_handle())))
        .collect();
    for (n, handle) in handles.iter_mut().enumerate() {
        looper
            .registry()
            .register(handle, Token(n), Interest::READABLE)
            .unwrap();
    }
    looper.assert_quiet();
    thread::scope(|scope| {
        scope.spawn(|| {
            for event in &events {
                set(event.as_handle());
            }
        });
        let mut seen = vec![0; MANY];
        looper.until("all of them", |event| {
            seen[event.token().0] += 1;
            assert_eq!(seen[event.token().0], 1);
            seen.iter().sum::<usize>() == MANY
        });
    });
    looper.assert_quiet();
}

/// Each event of a semaphore has taken one from its count, however often it is registered meanwhile.
#[test]
fn no_count_of_a_semaphore_is_lost_or_reported_twice() {
    const ALL: usize = 3000;

    let semaphore = semaphore();
    let mut handle = WaitHandle::new(duplicate(semaphore.as_handle()));
    let mut polls = [Loop::new(Backend::Afd), Loop::new(Backend::Afd)];
    // The pool of Wine 10 may take the signal of a wait that is being disarmed, and not call back. A few are
    // released again.
    let mut may_lose = match util::wine_version() >= Some(10) {
        true => ALL / 100,
        false => 0,
    };
    let mut seen = 0;
    let mut seed = 1_u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    thread::scope(|scope| {
        let releasing = scope.spawn(|| {
            for _ in 0..ALL {
                release(semaphore.as_handle(), 1);
                thread::yield_now();
            }
        });
        let deadline = Instant::now() + patience() * 3;
        let mut last = Instant::now();
        while seen < ALL && Instant::now() < deadline {
            let before = seen;
            let looper = &mut polls[random(2) as usize];
            let mode = match random(3) {
                0 => Interest::READABLE.level(),
                1 => Interest::READABLE.oneshot(),
                _ => Interest::READABLE,
            };
            let registry = looper.registry().try_clone().unwrap();
            registry.register(&mut handle, ONE, mode).unwrap();
            for _ in 0..random(4) {
                let timeout = Duration::from_millis(random(2).into());
                looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
                seen += looper.events.iter().count();
                if random(2) == 0 {
                    registry
                        .reregister(&mut handle, OTHER, Interest::READABLE)
                        .unwrap();
                }
            }
            registry.deregister(&mut handle).unwrap();
            looper.assert_nothing_ready();
            if seen > before || !releasing.is_finished() {
                last = Instant::now();
            } else if may_lose > 0 && last.elapsed() > Duration::from_secs(5) {
                let lost = ALL - seen;
                assert!(lost <= may_lose, "{lost} are lost");
                may_lose -= lost;
                release(semaphore.as_handle(), lost as i32);
                last = Instant::now();
            }
        }
    });
    assert_eq!(seen, ALL);
    assert!(!takes_signal(semaphore.as_handle(), Duration::ZERO));
}

/// The pool calls back at any time.
#[test]
fn handles_are_dropped_and_deregistered_while_other_threads_signal() {
    const ROUNDS: usize = 500;

    util::without_leaking(
        "handles_are_dropped_and_deregistered_while_other_threads_signal",
        || {
            let mut looper = Loop::new(Backend::Afd);
            let current: Mutex<Option<Arc<OwnedHandle>>> = Mutex::new(None);
            let is_over = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        // Relaxed: nothing else depends on it.
                        while !is_over.load(Ordering::Relaxed) {
                            let event = current.lock().unwrap().clone();
                            if let Some(event) = event {
                                set(event.as_handle());
                            }
                            thread::yield_now();
                        }
                    });
                }
                for round in 0..ROUNDS {
                    let event = event(round % 2 == 0);
                    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
                    *current.lock().unwrap() = Some(Arc::new(event));
                    let token = Token(round);
                    let mode = match round % 3 {
                        0 => Interest::READABLE.level(),
                        _ => Interest::READABLE,
                    };
                    for _ in 0..2 {
                        looper.register(&mut handle, token, mode);
                        for _ in 0..round % 4 {
                            poll_once(&mut looper, token);
                            looper.reregister(&mut handle, token, mode);
                        }
                        if round % 5 > 0 {
                            looper.registry().deregister(&mut handle).unwrap();
                            assert_eq!(poll_once(&mut looper, token), 0);
                        } else {
                            break;
                        }
                    }
                    match round % 2 {
                        0 => drop(handle),
                        _ => drop(handle.into_inner()),
                    }
                    assert_eq!(poll_once(&mut looper, token), 0);
                }
                is_over.store(true, Ordering::Relaxed);
            });
        },
    );
}

/// A poll in another thread, and handles that come and go.
#[test]
fn no_event_of_a_deregistered_handle_follows_a_poll_in_another_thread() {
    let polling = Polling::begin(Loop::new(Backend::Afd));
    let registry = polling.registry();
    let mut handles: Vec<_> = (0..20)
        .map(|_| {
            let event = event(true);
            set(event.as_handle());
            WaitHandle::new(event)
        })
        .collect();
    for _ in 0..50 {
        for (n, handle) in handles.iter_mut().enumerate() {
            registry
                .register(handle, Token(n), Interest::READABLE.level())
                .unwrap();
        }
        for handle in &mut handles {
            registry.deregister(handle).unwrap();
        }
    }
    let mut looper = polling.end();
    looper.assert_quiet();
}

#[test]
fn a_mutex_is_refused_and_stays_free() {
    let looper = Loop::new(Backend::Afd);
    // SAFETY: attributes and name are null, which stands for none.
    let mutex = owned(unsafe { CreateMutexW(ptr::null(), 0, ptr::null()) });
    let mut handle = WaitHandle::from(mutex);
    for _ in 0..2 {
        let refused = looper
            .registry()
            .register(&mut handle, ONE, Interest::READABLE);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let not_registered = looper.registry().deregister(&mut handle).unwrap_err();
    assert_eq!(not_registered.kind(), ErrorKind::NotFound);
    let mutex = OwnedHandle::from(handle);
    // SAFETY: the handle is open.
    assert_eq!(unsafe { ReleaseMutex(mutex.as_raw_handle()) }, 0);
    let error = std::io::Error::last_os_error().raw_os_error();
    assert_eq!(error, Some(ERROR_NOT_OWNER as i32));
    thread::scope(|scope| {
        let takes = scope.spawn(|| takes_signal(mutex.as_handle(), Duration::ZERO));
        assert!(takes.join().unwrap(), "another thread owns it");
    });
}

#[test]
fn a_handle_that_may_not_be_waited_for_is_refused() {
    let mut looper = Loop::new(Backend::Afd);
    let event = event(true);
    let mut may_set = ptr::null_mut();
    // SAFETY: the call writes one handle to `may_set`. The others are open.
    let duplicated = unsafe {
        let process = GetCurrentProcess();
        DuplicateHandle(
            process,
            event.as_raw_handle(),
            process,
            &mut may_set,
            EVENT_MODIFY_STATE,
            0,
            0,
        )
    };
    assert_ne!(duplicated, 0);
    let mut handle = WaitHandle::new(owned(may_set));
    set(event.as_handle());
    let refused = looper
        .registry()
        .register(&mut handle, ONE, Interest::READABLE);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let not_registered = looper.registry().deregister(&mut handle).unwrap_err();
    assert_eq!(not_registered.kind(), ErrorKind::NotFound);
    looper.assert_quiet();
}

#[test]
fn the_handle_is_the_one_that_it_was_made_of() {
    let event = event(true);
    let raw: RawHandle = event.as_raw_handle();
    let handle = WaitHandle::from(event);
    assert_eq!(handle.as_raw_handle(), raw);
    assert_eq!(handle.as_handle().as_raw_handle(), raw);
    assert!(format!("{handle:?}").starts_with("WaitHandle"));
    let event = handle.into_inner();
    assert_eq!(event.as_raw_handle(), raw);
    set(event.as_handle());
    until_signalled(event.as_handle());
}

#[test]
fn an_object_whose_handle_was_unwrapped_can_be_waited_for() {
    let mut looper = Loop::new(Backend::Afd);
    let event = event(false);
    let mut handle = WaitHandle::new(duplicate(event.as_handle()));
    looper.register(&mut handle, ONE, Interest::READABLE);
    let inner = handle.into_inner();
    looper.assert_quiet();
    for _ in 0..10 {
        set(event.as_handle());
        assert!(takes_signal(inner.as_handle(), Duration::ZERO));
    }
}
