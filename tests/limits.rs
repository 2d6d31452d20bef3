//! What comes of a kernel's limits.
#![cfg(all(
    feature = "os-poll",
    feature = "net",
    mio_model = "event-ports",
    target_os = "linux"
))]

mod util;

use std::io::ErrorKind;

use mio::net::UnixStream;
use mio::{Backend, Interest, Token};
use util::Loop;

/// A program that waits for readiness would wait for ever.
#[test]
fn too_many_registrations_are_no_operation_that_would_block() {
    // Only for this process, which has no other test.
    std::env::set_var("EVENT_PORTS_MODEL_MAX_EVENTS", "2");
    let mut looper = Loop::new(Backend::EventPorts);
    let (mut first, mut second) = UnixStream::pair().unwrap();
    let (mut third, _peer) = UnixStream::pair().unwrap();
    let register = |looper: &Loop, stream: &mut UnixStream, token| {
        let interest = Interest::WRITABLE;
        looper.registry().register(stream, Token(token), interest)
    };
    register(&looper, &mut first, 1).unwrap();
    register(&looper, &mut second, 2).unwrap();
    let error = register(&looper, &mut third, 3).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));

    // Nothing has come of it, and there is room when another one has left.
    looper.until_writable(Token(1));
    looper.registry().deregister(&mut first).unwrap();
    register(&looper, &mut third, 4).unwrap();
    looper.until_writable(Token(4));
}
