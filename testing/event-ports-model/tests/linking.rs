//! The model replacing a C library: declared by its symbols only.

extern crate event_ports_model as _;

use std::ffi::{c_int, c_uint, c_void};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// As in the `libc` crate for illumos.
#[repr(C)]
struct PortEvent {
    events: c_int,
    source: u16,
    pad: u16,
    object: usize,
    user: *mut c_void,
}

extern "C" {
    fn port_create() -> c_int;
    fn port_associate(
        port: c_int,
        source: c_int,
        object: usize,
        events: c_int,
        user: *mut c_void,
    ) -> c_int;
    fn port_getn(
        port: c_int,
        list: *mut PortEvent,
        max: c_uint,
        nget: *mut c_uint,
        timeout: *mut libc::timespec,
    ) -> c_int;
}

#[test]
fn the_symbols_are_the_c_librarys_and_close_is_seen() {
    const FD: c_int = 4;

    let (mut a, b) = UnixStream::pair().unwrap();
    let other = b.try_clone().unwrap();
    let mut event = std::mem::MaybeUninit::<PortEvent>::uninit();
    let mut nget = 1;
    // SAFETY: the pointers are valid, and an event was written when one is read.
    let event = unsafe {
        let port = port_create();
        let object = b.as_raw_fd() as usize;
        let word = usize::MAX as *mut c_void;
        assert_eq!(port_associate(port, FD, object, 1, word), 0);
        // A duplicate of it is open. The standard library closes the descriptor.
        drop(b);
        let object = other.as_raw_fd() as usize;
        assert_eq!(port_associate(port, FD, object, 1, word), 0);
        a.write_all(b"x").unwrap();
        let no_time = std::ptr::null_mut();
        assert_eq!(
            port_getn(port, event.as_mut_ptr(), 1, &mut nget, no_time),
            0
        );
        libc::close(port);
        event.assume_init()
    };
    assert_eq!((nget, event.events, event.source), (1, 1, 4));
    assert_eq!(event.object, other.as_raw_fd() as usize);
    assert_eq!((event.user as usize, event.pad), (usize::MAX, 0));
}
