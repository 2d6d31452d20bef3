//! `Debug`: a poll and a source show what is known of them, and no lock is held while the program's
//! writer runs.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::fmt::{self, Write};
use std::sync::mpsc;
use std::thread;

use mio::net::UdpSocket;
use mio::{Backend, Interest, IoSource, Token, Waker};
use util::{any_port, patience, Differences, Loop};

on_each_backend![
    a_poll_and_a_registry_show_backend_and_descriptor,
    a_source_that_is_not_registered_is_shown_like_its_object,
    a_registered_source_shows_its_registration_as_far_as_it_is_known,
    a_source_shows_its_mode,
    a_one_shot_source_that_was_reported_shows_its_mode_alone,
    a_source_whose_poll_is_gone_shows_no_registration,
    the_writer_may_use_the_poll,
];

const TOKEN: Token = Token(4711);

fn udp_socket() -> UdpSocket {
    UdpSocket::bind(any_port()).unwrap()
}

/// Whether the source stores its poll, so that the backend is known.
fn is_stored(backend: Backend) -> bool {
    backend.keeps_a_table() || cfg!(any(debug_assertions, feature = "stats"))
}

fn a_poll_and_a_registry_show_backend_and_descriptor(backend: Backend) {
    let looper = Loop::new(backend);
    #[cfg(unix)]
    let contents = {
        use std::os::fd::AsRawFd;
        format!("backend: {backend:?}, fd: {}", looper.poll.as_raw_fd())
    };
    #[cfg(windows)]
    let contents = format!("backend: {backend:?}");
    assert_eq!(
        format!("{:?}", looper.poll),
        format!("Poll {{ {contents} }}")
    );
    let registry = looper.registry().try_clone().unwrap();
    assert_eq!(
        format!("{registry:?}"),
        format!("Registry {{ {contents} }}")
    );
}

fn a_source_that_is_not_registered_is_shown_like_its_object(backend: Backend) {
    let looper = Loop::new(backend);
    let mut socket = udp_socket();
    let before = format!("{socket:?}");
    assert!(before.starts_with("UdpSocket { addr: "), "{before}");
    #[cfg(unix)]
    assert!(
        before.contains(&format!("fd: {}", util::raw(&socket))),
        "{before}"
    );
    looper
        .registry()
        .register(&mut socket, TOKEN, Interest::READABLE)
        .unwrap();
    looper.registry().deregister(&mut socket).unwrap();
    assert_eq!(format!("{socket:?}"), before);
}

fn a_registered_source_shows_its_registration_as_far_as_it_is_known(backend: Backend) {
    let looper = Loop::new(backend);
    let mut socket = udp_socket();
    let inner = format!("{socket:?}");
    looper
        .registry()
        .register(&mut socket, TOKEN, Interest::READABLE)
        .unwrap();
    let registration = match backend.keeps_a_table() {
        true => format!("backend: {backend:?}, token: Token(4711), interests: READABLE"),
        false => format!("backend: {backend:?}"),
    };
    let expected = match is_stored(backend) {
        true => format!(
            "UdpSocket {{ inner: {inner}, registration: Registration {{ {registration} }} }}"
        ),
        false => inner,
    };
    assert_eq!(format!("{socket:?}"), expected);

    let object = std::net::UdpSocket::bind(any_port()).unwrap();
    object.set_nonblocking(true).unwrap();
    let mut source = IoSource::new(object);
    let both = Interest::READABLE | Interest::WRITABLE;
    looper
        .registry()
        .register(&mut source, TOKEN, both)
        .unwrap();
    let printed = format!("{source:?}");
    assert!(printed.starts_with("IoSource {"), "{printed}");
    assert_eq!(
        printed.contains(&format!("{TOKEN:?}")),
        backend.keeps_a_table()
    );
    assert_eq!(
        printed.contains(&format!("{both:?}")),
        backend.keeps_a_table()
    );
}

fn a_source_shows_its_mode(backend: Backend) {
    let looper = Loop::new(backend);
    let mut socket = udp_socket();
    let both = Interest::READABLE | Interest::WRITABLE;
    looper
        .registry()
        .register(&mut socket, TOKEN, Interest::READABLE)
        .unwrap();
    for interests in [Interest::WRITABLE.level(), both.oneshot(), both] {
        looper
            .registry()
            .reregister(&mut socket, TOKEN, interests)
            .unwrap();
        let printed = format!("{socket:?}");
        let expected = format!("interests: {interests:?} }}");
        assert_eq!(
            printed.contains(&expected),
            backend.keeps_a_table(),
            "{printed}"
        );
    }
}

fn a_one_shot_source_that_was_reported_shows_its_mode_alone(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut socket = udp_socket();
    let interests = Interest::WRITABLE.oneshot();
    looper
        .registry()
        .register(&mut socket, TOKEN, interests)
        .unwrap();
    looper.until_writable(TOKEN);
    let printed = format!("{socket:?}");
    let shows = printed.contains("interests: ONESHOT }");
    assert_eq!(shows, backend.keeps_a_table(), "{printed}");
}

fn a_source_whose_poll_is_gone_shows_no_registration(backend: Backend) {
    let looper = Loop::new(backend);
    let mut socket = udp_socket();
    let before = format!("{socket:?}");
    looper
        .registry()
        .register(&mut socket, TOKEN, Interest::READABLE)
        .unwrap();
    drop(looper);
    assert_eq!(format!("{socket:?}"), before);
}

/// A writer that uses a poll for everything that it writes.
struct Using<'a> {
    looper: &'a Loop,
    socket: UdpSocket,
    writes: usize,
}

impl Write for Using<'_> {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        let registry = self.looper.registry();
        let readable = Interest::READABLE;
        registry
            .register(&mut self.socket, Token(1), readable)
            .unwrap();
        self.socket.recv(&mut [0; 8]).unwrap_err();
        let _ = format!("{:?}", self.socket);
        registry.deregister(&mut self.socket).unwrap();
        self.writes += 1;
        Ok(())
    }
}

fn the_writer_may_use_the_poll(backend: Backend) {
    let (done, is_done) = mpsc::channel();
    // On a thread of its own, which would wait for a lock for ever.
    thread::spawn(move || {
        let looper = Loop::new(backend);
        let mut socket = udp_socket();
        looper
            .registry()
            .register(&mut socket, TOKEN, Interest::READABLE)
            .unwrap();
        let waker = Waker::new(looper.registry(), Token(2)).unwrap();
        let mut writer = Using {
            looper: &looper,
            socket: udp_socket(),
            writes: 0,
        };
        let shown: [&dyn fmt::Debug; 5] = [
            &socket,
            &waker,
            &looper.poll,
            looper.registry(),
            &looper.events,
        ];
        for one in shown {
            let before = writer.writes;
            write!(writer, "{one:?}").unwrap();
            assert!(writer.writes > before);
        }
        done.send(()).unwrap();
    });
    is_done
        .recv_timeout(patience())
        .expect("no lock is held while the writer runs");
}

/// A named pipe has a registration of its own kind.
#[cfg(windows)]
#[test]
fn a_named_pipe_shows_its_registration() {
    use mio::windows::NamedPipe;

    let looper = Loop::new(Backend::Afd);
    let name = format!(r"\\.\pipe\mio-debug-{}", std::process::id());
    let mut pipe = NamedPipe::new(name).unwrap();
    let interests = Interest::READABLE.level();
    let shows = |pipe: &NamedPipe| {
        let printed = format!("{pipe:?}");
        printed.contains("token: Token(4711), interests: READABLE | LEVEL")
    };
    assert!(!shows(&pipe));
    looper
        .registry()
        .register(&mut pipe, TOKEN, interests)
        .unwrap();
    assert!(shows(&pipe));
    looper.registry().deregister(&mut pipe).unwrap();
    assert!(!shows(&pipe));
}

/// And so has a handle that can be waited for.
#[cfg(windows)]
#[test]
fn a_wait_handle_shows_its_registration() {
    use std::os::windows::io::OwnedHandle;

    use mio::windows::WaitHandle;

    let looper = Loop::new(Backend::Afd);
    let mut handle = WaitHandle::new(OwnedHandle::from(thread::spawn(|| {})));
    let shows = |handle: &WaitHandle| {
        let printed = format!("{handle:?}");
        printed.contains("token: Token(4711), interests: READABLE")
    };
    assert!(!shows(&handle));
    looper
        .registry()
        .register(&mut handle, TOKEN, Interest::READABLE)
        .unwrap();
    assert!(shows(&handle));
    looper.registry().deregister(&mut handle).unwrap();
    assert!(!shows(&handle));
}
