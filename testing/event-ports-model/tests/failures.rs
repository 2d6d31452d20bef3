//! Calls fail as an observer says. One test: the observer is the whole process's.

mod support;

use std::ffi::c_int;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use event_ports_model as model;
use model::{associations, observe, Call, Observer};
use support::*;

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

/// Calls `f` with this call, the only one, failing.
fn failing<R>(call: Call, error: c_int, f: impl FnOnce() -> R) -> R {
    SEEN.lock().unwrap().clear();
    *PLAN.lock().unwrap() = (Some(call), error);
    let result = f();
    assert_eq!(*SEEN.lock().unwrap(), [(call, false), (call, true)]);
    result
}

#[test]
fn calls_fail_as_the_observer_says() {
    observe(&OBSERVER);
    let failed = failing(Call::Create, libc::EMFILE, || model::port_create());
    let error = std::io::Error::last_os_error().raw_os_error();
    assert_eq!((failed, error), (-1, Some(libc::EMFILE)));

    let port = Port::new();
    let (a, b) = pair();
    let associate = || port.associate(&a, libc::POLLIN, 1);
    let failed = failing(Call::Associate, libc::ENOMEM, associate);
    assert_eq!(failed, Err(libc::ENOMEM));
    assert_eq!(associations(port.0), Some(0));
    associate().unwrap();
    assert_eq!(associations(port.0), Some(1));
    let failed = failing(Call::Dissociate, libc::EACCES, || port.dissociate(&a));
    assert_eq!(failed, Err(libc::EACCES));
    assert_eq!(associations(port.0), Some(1));

    (&b).write_all(b"x").unwrap();
    let retrieve = || port.getn(4, 1, None);
    let failed = failing(Call::Retrieve, libc::EINTR, retrieve);
    assert_eq!((failed.result, failed.nget), (Err(libc::EINTR), 1));
    assert_eq!(retrieve().events().len(), 1, "it is still there");
    let counted = failing(Call::Count, libc::EBADF, || port.getn(0, 0, None));
    assert_eq!(counted.result, Err(libc::EBADF));

    let failed = failing(Call::Send, libc::EAGAIN, || port.send(1, 1));
    assert_eq!(failed, Err(libc::EAGAIN));
    let alert = || port.alert(model::PORT_ALERT_SET, 1, 1);
    let failed = failing(Call::Alert, libc::EBUSY, alert);
    assert_eq!(failed, Err(libc::EBUSY));
    assert!(port.now().is_empty());

    // It is closed all the same.
    let number = a.as_raw_fd();
    failing(Call::Close, libc::EIO, || drop(a));
    assert_eq!(port.dissociate(&number), Err(libc::EBADFD));
}
