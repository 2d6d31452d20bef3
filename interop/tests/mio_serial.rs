//! mio-serial on this crate: a serial port is a source. A pseudo-terminal replaces the port.

#![cfg(unix)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use interop::pty::Pty;
use interop::{bounded, pattern, A_WHILE, PATIENCE};
use mio::{Events, Interest, Poll, Token};
use mio_serial::{SerialPort, SerialStream};

const PORT: Token = Token(3);

#[test]
fn a_port_is_readable_each_time_that_its_device_has_sent() {
    bounded(|| {
        let (pty, mut port) = port();
        let mut device = pty.keyboard();
        let mut poll = Poll::new().unwrap();
        poll.registry()
            .register(&mut port, PORT, Interest::READABLE)
            .unwrap();
        assert!(!is_ready(&mut poll, A_WHILE), "ready before anything came");
        for n in 0..50 {
            let sent = pattern(n, 1 + n);
            device.write_all(&sent).unwrap();
            let mut received = Vec::new();
            while received.len() < sent.len() {
                assert!(is_ready(&mut poll, PATIENCE), "{received:?} of {sent:?}");
                read_all(&mut port, &mut received);
            }
            assert_eq!(received, sent);
        }
        poll.registry().deregister(&mut port).unwrap();
        device.write_all(b"unseen").unwrap();
        assert!(!is_ready(&mut poll, A_WHILE), "ready after deregistering");
        // Registering reports the bytes that have arrived meanwhile.
        poll.registry()
            .register(&mut port, PORT, Interest::READABLE)
            .unwrap();
        assert!(is_ready(&mut poll, PATIENCE));
    });
}

#[test]
fn more_than_a_port_takes_at_once_goes_through_both_ways() {
    bounded(|| {
        let (pty, mut port) = port();
        let sent = pattern(5, 1 << 18);
        let device = pty.keyboard();
        let echoing = thread::spawn({
            let len = sent.len();
            move || echo(device, len)
        });
        let mut poll = Poll::new().unwrap();
        poll.registry()
            .register(&mut port, PORT, Interest::READABLE | Interest::WRITABLE)
            .unwrap();
        let (mut written, mut received) = (0, Vec::new());
        let mut waits_to_write = 0;
        while received.len() < sent.len() {
            assert!(
                is_ready(&mut poll, PATIENCE),
                "{written} bytes written, {} received",
                received.len()
            );
            while written < sent.len() {
                match port.write(&sent[written..]) {
                    Ok(len) => written += len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        waits_to_write += 1;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            read_all(&mut port, &mut received);
        }
        assert!(received == sent, "other bytes came back");
        assert!(waits_to_write > 0, "it never had to wait");
        echoing.join().unwrap();
    });
}

fn port() -> (Pty, SerialStream) {
    let pty = Pty::open();
    let settings = mio_serial::new(pty.path().to_str().unwrap(), 115_200);
    let port = SerialStream::open(&settings).unwrap();
    assert_eq!(port.baud_rate().unwrap(), 115_200);
    (pty, port)
}

/// A device that sends back as many bytes.
fn echo(mut device: File, len: usize) {
    let mut buffer = [0; 512];
    let mut echoed = 0;
    while echoed < len {
        let some = device.read(&mut buffer).unwrap();
        device.write_all(&buffer[..some]).unwrap();
        echoed += some;
    }
}

/// Reads until it would block.
fn read_all(port: &mut SerialStream, received: &mut Vec<u8>) {
    match port.read_to_end(received) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        other => panic!("a port has no end: {other:?}"),
    }
}

fn is_ready(poll: &mut Poll, limit: Duration) -> bool {
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(limit)).unwrap();
    assert!(events.iter().all(|event| event.token() == PORT));
    !events.is_empty()
}
