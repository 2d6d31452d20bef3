//! Calls fail as an observer says. One test: the observer is the whole process's.

#![cfg(not(kqueue_library))]

mod util;

use std::ffi::c_int;
use std::sync::Mutex;

use kqueue_model::abi::*;
use kqueue_model::{observe, registrations, Call, Observer};

use util::{pair, read, write, Kq, ADD};

/// What fails next, and what was seen since.
static PLAN: Mutex<(Option<Call>, c_int)> = Mutex::new((None, 0));
static SEEN: Mutex<Vec<(Call, bool)>> = Mutex::new(Vec::new());

static OBSERVER: Observer = Observer {
    before: |call| {
        SEEN.lock().unwrap().push((call, false));
        let mut plan = PLAN.lock().unwrap();
        match plan.0 == Some(call) {
            true => {
                plan.0 = None;
                plan.1
            }
            false => 0,
        }
    },
    after: |call| SEEN.lock().unwrap().push((call, true)),
};

/// Calls `f` with this call failing, and returns what the observer saw.
fn failing<R>(call: Call, error: c_int, f: impl FnOnce() -> R) -> (R, Vec<(Call, bool)>) {
    SEEN.lock().unwrap().clear();
    *PLAN.lock().unwrap() = (Some(call), error);
    let result = f();
    assert_eq!(PLAN.lock().unwrap().0, None, "{call:?} was made");
    (result, std::mem::take(&mut *SEEN.lock().unwrap()))
}

#[test]
fn calls_and_changes_fail_as_the_observer_says() {
    observe(&OBSERVER);
    let (failed, seen) = failing(Call::Kqueue, libc::EMFILE, || {
        // SAFETY: needs nothing.
        unsafe { kqueue_model::kqueue() }
    });
    assert_eq!(failed, -1);
    let error = std::io::Error::last_os_error();
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    assert_eq!(seen, [(Call::Kqueue, false), (Call::Kqueue, true)]);

    let kq = Kq::new();
    let (a, _b) = pair();
    let changes = [write(&a, ADD, 1), read(&a, ADD, 1)];
    let [first, second] = changes.map(|change| Call::Change {
        filter: change.filter,
        flags: change.flags,
    });
    let (failed, seen) = failing(Call::Changes, libc::ENOMEM, || kq.change(&changes));
    assert_eq!(failed.unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    assert_eq!(seen, [(Call::Changes, false), (Call::Changes, true)]);
    assert_eq!(registrations(kq.fd()), Some(0));

    // One change fails, and the next is made.
    let (receipts, seen) = failing(first, libc::ENOMEM, || kq.change(&changes).unwrap());
    let answers = receipts.iter().map(|receipt| (receipt.flags, receipt.data));
    let answers: Vec<_> = answers.collect();
    let no_memory = (EV_ERROR, libc::ENOMEM as isize);
    assert_eq!(answers, [no_memory, (EV_ERROR, 0)]);
    let call = Call::Changes;
    let whole = [(call, false), (first, false), (second, false), (call, true)];
    assert_eq!(seen, whole);
    assert_eq!(registrations(kq.fd()), Some(1));

    // What is interrupted has made its changes.
    let (failed, _) = failing(call, libc::EINTR, || kq.change(&changes));
    assert_eq!(failed.unwrap_err().raw_os_error(), Some(libc::EINTR));
    assert_eq!(registrations(kq.fd()), Some(2));

    let (failed, _) = failing(Call::Wait, libc::EINTR, || {
        let mut event = Kevent::EMPTY;
        let nothing = std::ptr::null();
        // SAFETY: there is room for one event.
        unsafe { kqueue_model::kevent(kq.fd(), nothing, 0, &mut event, 1, std::ptr::null()) }
    });
    assert_eq!(failed, -1);
    assert_eq!(kq.event().filter, EVFILT_WRITE, "it is still there");

    // It is closed all the same.
    let number = kq.fd();
    failing(Call::Close, libc::EIO, || drop(kq));
    assert_eq!(registrations(number), None);
}
