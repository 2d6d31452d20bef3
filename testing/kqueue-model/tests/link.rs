//! Checks that the C symbols exist, whether the model exports them or the library in
//! `MIO_KQUEUE_LIBRARY`.

use std::ffi::c_int;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use kqueue_model::abi::{Kevent, EVFILT_READ, EV_ADD, EV_CLEAR};

// Declared as in mio: by no name of this crate.
extern "C" {
    fn kqueue() -> c_int;
    fn kevent(
        kq: c_int,
        changelist: *const Kevent,
        nchanges: c_int,
        eventlist: *mut Kevent,
        nevents: c_int,
        timeout: *const libc::timespec,
    ) -> c_int;
}

#[test]
fn what_is_readable_is_reported() {
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    let change = Kevent {
        ident: a.as_raw_fd() as usize,
        filter: EVFILT_READ,
        flags: EV_ADD | EV_CLEAR,
        udata: ptr::without_provenance_mut(7),
        ..Kevent::EMPTY
    };
    let mut event = Kevent::EMPTY;
    // SAFETY: the lists have one change and one event.
    let (kq, count) = unsafe {
        let kq = kqueue();
        (kq, kevent(kq, &change, 1, &mut event, 1, ptr::null()))
    };
    assert_eq!((count, event.ident), (1, a.as_raw_fd() as usize));
    assert_eq!((event.filter, event.data), (EVFILT_READ, 1));
    assert_eq!(event.udata.addr(), 7);
    // SAFETY: this test owns the kqueue, and does not use it any more.
    assert_eq!(unsafe { libc::close(kq) }, 0);
}
