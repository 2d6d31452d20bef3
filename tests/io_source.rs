//! `IoSource` around objects that the crate has no type for.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", unix))]

mod util;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use mio::{Backend, Interest, IoSource, Token};
use util::Loop;

on_each_backend![do_io_in_each_direction, an_object_that_is_shared];

const T: Token = Token(1);

fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

fn do_io_in_each_direction(backend: Backend) {
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
    let mut received = Vec::new();
    assert!(other.read_to_end(&mut received).is_err());
    assert_eq!(received.len(), sent);
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

fn an_object_that_is_shared(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair();
    let shared = Arc::new(one);
    let mut source = IoSource::new(Arc::clone(&shared));
    assert_eq!(source.as_fd().as_raw_fd(), shared.as_raw_fd());
    assert_eq!(source.as_raw_fd(), shared.as_raw_fd());
    looper
        .registry()
        .register(&mut source, T, Interest::READABLE)
        .unwrap();
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    // Its methods can be reached.
    assert!(source.peer_addr().unwrap().is_unnamed());
    assert!(format!("{source:?}").contains("UnixStream"));
    looper
        .registry()
        .reregister(&mut source, Token(2), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(2));
    looper.registry().deregister(&mut source).unwrap();
}

#[test]
fn the_outcome_is_the_closures() {
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
