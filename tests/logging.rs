//! With the feature `log`, the crate logs registrations.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    feature = "log"
))]

// Links the model of the kernel.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use std::sync::Mutex;

use mio::net::UdpSocket;
use mio::{Interest, Poll, Token};

struct Collect(Mutex<Vec<String>>);

impl log::Log for Collect {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.level(), log::Level::Trace);
        assert!(record.target().starts_with("mio"), "{}", record.target());
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

static LOGGED: Collect = Collect(Mutex::new(Vec::new()));

#[test]
fn registrations_are_traced() {
    log::set_logger(&LOGGED).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let poll = Poll::new().unwrap();
    let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let registry = poll.registry();
    registry
        .register(&mut socket, Token(1), Interest::READABLE)
        .unwrap();
    registry
        .reregister(&mut socket, Token(2), Interest::WRITABLE)
        .unwrap();
    registry.deregister(&mut socket).unwrap();

    let logged = LOGGED.0.lock().unwrap();
    assert_eq!(
        *logged,
        [
            "register: Token(1), READABLE",
            "reregister: Token(2), WRITABLE",
            "deregister"
        ]
    );
}
