//! What a NetBSD kernel answered to mio's own tests, and other kernels do not (`netbsd-suite.txt`):
//! `KQUEUE_MODEL_NETBSD`.

#![cfg(not(kqueue_library))]

mod util;

use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Once;
use std::time::{Duration, Instant};

use kqueue_model::abi::*;

use util::{fill, pipe, write, Kq, ADD};

/// The model reads the variable once.
fn netbsd() -> Kq {
    static SET: Once = Once::new();
    SET.call_once(|| std::env::set_var("KQUEUE_MODEL_NETBSD", "1"));
    Kq::new()
}

#[test]
fn timeouts_are_ticks_and_one_more() {
    let kq = netbsd();
    for (micros, millis) in [(1, 20), (10_000, 20), (11_000, 30), (20_000, 30)] {
        let start = Instant::now();
        assert!(kq.poll(Duration::from_micros(micros)).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(millis), "{micros}");
    }
}

#[test]
fn a_full_pipe_whose_last_reader_closes_is_reported_when_it_is_added_again() {
    let kq = netbsd();
    let (reader, mut writer) = pipe();
    fill(&mut writer);
    kq.apply(&[write(&writer, ADD, 1)]);
    kq.nothing();
    drop(reader);
    kq.nothing();
    kq.apply(&[write(&writer, ADD, 2)]);
    let event = kq.event();
    assert_eq!((event.filter, event.flags & EV_EOF), (EVFILT_WRITE, EV_EOF));
}

#[test]
fn a_pipe_with_room_whose_last_reader_closes_is_reported() {
    let kq = netbsd();
    let (reader, writer) = pipe();
    kq.apply(&[write(&writer, ADD, 1)]);
    assert_eq!(kq.event().flags & EV_EOF, 0);
    drop(reader);
    assert_eq!(kq.event().flags & EV_EOF, EV_EOF);
}

#[test]
fn a_fifo_with_a_name_is_always_at_its_end() {
    let kq = netbsd();
    let folder = std::env::temp_dir().join(format!("kqueue-model-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("fifo");
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let both = |options: &mut std::fs::OpenOptions| -> File {
        options.custom_flags(libc::O_NONBLOCK).open(&path).unwrap()
    };
    let _reader = both(File::options().read(true));
    let writer = both(File::options().write(true));
    kq.apply(&[write(&writer, ADD, 1)]);
    let event = kq.event();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(event.flags & EV_EOF, EV_EOF);
}

#[test]
fn a_full_unix_datagram_peer_has_no_buffers_and_no_event_later() {
    let kq = netbsd();
    let (one, other) = UnixDatagram::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    kq.apply(&[write(&one, ADD, 1)]);
    assert_eq!(kq.event().filter, EVFILT_WRITE);
    let error = loop {
        if let Err(error) = one.send(b"x") {
            break error;
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
    while other.recv(&mut [0; 8]).is_ok() {}
    kq.nothing();
    one.send(b"x").unwrap();
}

#[test]
fn a_full_pipe_would_block() {
    let _kq = netbsd();
    let (_reader, mut writer) = pipe();
    fill(&mut writer);
    let error = writer.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
