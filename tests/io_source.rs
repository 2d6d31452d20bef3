//! `IoSource` around objects for which the crate has no type.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket};
use std::sync::Arc;

use mio::{Backend, Interest, IoSource, Token};
use util::{std_stream_pair, Loop, StdStream};

on_each_backend![
    do_io_works_in_each_direction,
    a_shared_object_can_be_a_source
];

const T: Token = Token(1);

fn pair() -> (StdStream, StdStream) {
    let (one, other) = std_stream_pair();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

fn do_io_works_in_each_direction(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair();
    let mut source = IoSource::new(one);
    looper
        .registry()
        .register(&mut source, T, Interest::READABLE | Interest::WRITABLE)
        .unwrap();
    looper.until_writable(T);
    let mut sent = 0;
    let error = loop {
        match source.do_io(Interest::WRITABLE, |mut stream| stream.write(&[1; 10_000])) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // A stream across a network may arrive in parts.
    let mut received = Vec::new();
    while received.len() < sent {
        assert!(other.read_to_end(&mut received).is_err());
    }
    looper.until_writable(T);

    let mut buffer = [0; 8];
    for _ in 0..3 {
        other.write_all(b"x").unwrap();
        looper.until_readable(T);
        let mut read = || source.do_io(Interest::READABLE, |mut stream| stream.read(&mut buffer));
        assert_eq!(read().unwrap(), 1);
        assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
        other.write_all(b"y").unwrap();
        looper.until_readable(T);
        let mut read = || source.try_io(|mut stream| stream.read(&mut buffer));
        assert_eq!(read().unwrap(), 1);
        assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    looper.registry().deregister(&mut source).unwrap();
    let stream = source.into_inner();
    drop(other);
    looper.assert_quiet();
    drop(stream);
}

fn a_shared_object_can_be_a_source(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair();
    let shared = Arc::new(one);
    let mut source = IoSource::new(Arc::clone(&shared));
    #[cfg(unix)]
    assert_eq!(source.as_fd().as_raw_fd(), shared.as_raw_fd());
    #[cfg(unix)]
    assert_eq!(source.as_raw_fd(), shared.as_raw_fd());
    #[cfg(windows)]
    assert_eq!(source.as_socket().as_raw_socket(), shared.as_raw_socket());
    looper
        .registry()
        .register(&mut source, T, Interest::READABLE)
        .unwrap();
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    // The object's methods can be called.
    let peer = format!("{:?}", source.peer_addr().unwrap());
    assert_eq!(peer, format!("{:?}", other.local_addr().unwrap()));
    let kind = std::any::type_name::<StdStream>();
    let kind = kind.rsplit("::").next().unwrap();
    assert!(format!("{source:?}").contains(kind));
    looper
        .registry()
        .reregister(&mut source, Token(2), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(2));
    looper.registry().deregister(&mut source).unwrap();
}

#[test]
fn do_io_returns_what_the_closure_does() {
    let source = IoSource::new(pair().0);
    let fails = |kind: ErrorKind| source.do_io(Interest::READABLE, |_| Err::<(), _>(kind.into()));
    for kind in [
        ErrorKind::WouldBlock,
        ErrorKind::Interrupted,
        ErrorKind::Other,
    ] {
        assert_eq!(fails(kind).unwrap_err().kind(), kind);
    }
    let value: io::Result<&str> = source.do_io(Interest::WRITABLE, |_| Ok("value"));
    assert_eq!(value.unwrap(), "value");
}
