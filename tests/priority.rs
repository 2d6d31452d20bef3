//! Priority (out-of-band) data, on systems that have an interest in it.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    any(target_os = "linux", target_os = "android"),
    not(mio_model = "kqueue")
))]

mod util;

use std::os::fd::AsRawFd;

use mio::net::TcpStream;
use mio::{Backend, Interest, Token};
use util::Loop;

on_each_backend![priority_data_is_reported];

fn priority_data_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    looper
        .registry()
        .register(&mut client, Token(1), Interest::PRIORITY)
        .unwrap();
    looper.assert_quiet();
    let urgent = b"!";
    // SAFETY: the kernel reads one byte.
    let sent = unsafe {
        libc::send(
            server.as_raw_fd(),
            urgent.as_ptr().cast(),
            urgent.len(),
            libc::MSG_OOB,
        )
    };
    assert_eq!(sent, 1);
    looper.until("priority data", |event| {
        assert!(event.is_readable() && !event.is_writable());
        event.is_priority()
    });
}

#[test]
fn priority_is_an_interest_and_prints() {
    assert!(Interest::PRIORITY.is_priority());
    assert_eq!(format!("{:?}", Interest::PRIORITY), "PRIORITY");
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    assert_eq!(format!("{all:?}"), "READABLE | WRITABLE | PRIORITY");
}
