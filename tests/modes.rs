//! Level-triggered, one-shot and exclusive registrations: how many events there are, of every kind of
//! source.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::{self, ErrorKind, Read, Write};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Backend, Events, Interest, Registry, Token};
use util::{any_port, Loop, Seen};

on_each_backend![
    what_was_ready_before_is_reported_as_often_as_the_mode_says,
    what_becomes_ready_is_reported_as_often_as_the_mode_says,
    reregister_changes_each_mode_into_each,
    after_its_event_a_one_shot_source_is_deregistered_like_any_other,
    a_one_shot_source_is_reported_once_for_each_reregister,
    a_one_shot_event_disarms_both_directions,
    a_one_shot_event_carries_what_became_ready_since_it_fired,
    a_one_shot_event_carries_what_reregister_has_added,
    a_one_shot_event_carries_what_has_come_before_reregister,
    after_its_event_a_one_shot_source_does_not_report_that_the_peer_has_closed,
    a_one_shot_event_after_operations_stays_the_only_one,
    a_level_source_is_quiet_when_it_was_drained,
    a_level_event_names_what_is_ready_at_its_poll,
    a_level_source_reports_both_directions_each_time,
    a_level_source_reports_a_hang_up_each_time,
    #[cfg(unix)]
    a_level_fifo_that_gets_a_reader_is_closed_no_more,
    level_sources_take_turns_in_a_small_buffer,
    a_changed_mode_takes_effect_during_a_wait,
    one_shot_sources_are_shared_by_threads,
    exclusive_is_refused_where_there_is_none,
];

const SOURCE: Token = Token(1);
const OTHER: Token = Token(2);
const POLLS: usize = 5;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Mode {
    Edge,
    Level,
    OneShot,
    LevelOneShot,
}

const MODES: [Mode; 4] = [Mode::Edge, Mode::Level, Mode::OneShot, Mode::LevelOneShot];

impl Mode {
    fn of(self, interests: Interest) -> Interest {
        match self {
            Mode::Edge => interests,
            Mode::Level => interests.level(),
            Mode::OneShot => interests.oneshot(),
            Mode::LevelOneShot => interests.level().oneshot(),
        }
    }

    /// How many of five polls report a source that is ready and is left alone.
    fn reports(self) -> usize {
        match self {
            Mode::Level => POLLS,
            _ => 1,
        }
    }
}

/// A source that can be made readable.
trait Subject: Source {
    fn name(&self) -> &'static str;
    fn make_readable(&mut self);
    /// Reads until it would block.
    fn drain(&mut self);
    /// Whether its I/O does not pass through the crate, so that its edges may be reported again.
    fn is_raw(&self) -> bool {
        false
    }
}

macro_rules! source_by {
    ($Subject:ty, $subject:ident => $source:expr) => {
        impl Source for $Subject {
            fn register(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                let $subject = self;
                $source.register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                let $subject = self;
                $source.reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                let $subject = self;
                $source.deregister(registry)
            }
        }
    };
}

fn read_until_it_would_block(mut source: impl Read) {
    let mut buffer = [0; 64];
    loop {
        match source.read(&mut buffer) {
            Ok(length) => assert_ne!(length, 0, "nobody has closed it"),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

struct Tcp {
    stream: TcpStream,
    peer: std::net::TcpStream,
}

source_by!(Tcp, tcp => tcp.stream);

fn tcp() -> Tcp {
    let listener = std::net::TcpListener::bind(any_port()).unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    Tcp {
        stream: TcpStream::from_std(stream),
        peer,
    }
}

impl Subject for Tcp {
    fn name(&self) -> &'static str {
        "a TCP stream"
    }

    fn make_readable(&mut self) {
        self.peer.write_all(b"x").unwrap();
    }

    fn drain(&mut self) {
        read_until_it_would_block(&self.stream);
    }
}

struct Udp {
    socket: UdpSocket,
    peer: std::net::UdpSocket,
}

source_by!(Udp, udp => udp.socket);

impl Subject for Udp {
    fn name(&self) -> &'static str {
        "a UDP socket"
    }

    fn make_readable(&mut self) {
        let address = self.socket.local_addr().unwrap();
        self.peer.send_to(b"x", address).unwrap();
    }

    fn drain(&mut self) {
        let mut buffer = [0; 64];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok(_) => {}
                Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

struct Listener {
    listener: TcpListener,
    clients: Vec<std::net::TcpStream>,
}

source_by!(Listener, listener => listener.listener);

impl Subject for Listener {
    fn name(&self) -> &'static str {
        "a listener"
    }

    fn make_readable(&mut self) {
        let address = self.listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        self.clients.push(client);
    }

    fn drain(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(_) => {}
                Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::os::fd::AsRawFd;
    use std::os::unix::net as std_net;

    use mio::net::{UnixDatagram, UnixStream};
    use mio::unix::pipe::{self, Receiver, Sender};
    use mio::unix::SourceFd;

    use super::*;

    struct Stream {
        stream: UnixStream,
        peer: UnixStream,
    }

    source_by!(Stream, stream => stream.stream);

    impl Subject for Stream {
        fn name(&self) -> &'static str {
            "a Unix stream"
        }

        fn make_readable(&mut self) {
            self.peer.write_all(b"x").unwrap();
        }

        fn drain(&mut self) {
            read_until_it_would_block(&self.stream);
        }
    }

    struct Datagram {
        socket: UnixDatagram,
        peer: UnixDatagram,
    }

    source_by!(Datagram, datagram => datagram.socket);

    impl Subject for Datagram {
        fn name(&self) -> &'static str {
            "a Unix datagram socket"
        }

        fn make_readable(&mut self) {
            self.peer.send(b"x").unwrap();
        }

        fn drain(&mut self) {
            let mut buffer = [0; 64];
            while self.socket.recv(&mut buffer).is_ok() {}
        }
    }

    struct Pipe {
        receiver: Receiver,
        sender: Sender,
    }

    source_by!(Pipe, pipe => pipe.receiver);

    impl Subject for Pipe {
        fn name(&self) -> &'static str {
            "a pipe"
        }

        fn make_readable(&mut self) {
            self.sender.write_all(b"x").unwrap();
        }

        fn drain(&mut self) {
            read_until_it_would_block(&self.receiver);
        }
    }

    struct Raw {
        stream: std_net::UnixStream,
        peer: std_net::UnixStream,
    }

    source_by!(Raw, raw => SourceFd(&raw.stream.as_raw_fd()));

    impl Subject for Raw {
        fn name(&self) -> &'static str {
            "a raw descriptor"
        }

        fn make_readable(&mut self) {
            self.peer.write_all(b"x").unwrap();
        }

        fn drain(&mut self) {
            read_until_it_would_block(&self.stream);
        }

        fn is_raw(&self) -> bool {
            true
        }
    }

    pub fn subjects() -> Vec<Box<dyn Subject>> {
        let (stream, peer) = UnixStream::pair().unwrap();
        let stream = Stream { stream, peer };
        let (socket, peer) = UnixDatagram::pair().unwrap();
        let datagram = Datagram { socket, peer };
        let (sender, receiver) = pipe::new().unwrap();
        let pipe = Pipe { receiver, sender };
        let (stream_of_raw, peer) = std_net::UnixStream::pair().unwrap();
        stream_of_raw.set_nonblocking(true).unwrap();
        let raw = Raw {
            stream: stream_of_raw,
            peer,
        };
        vec![
            Box::new(stream),
            Box::new(datagram),
            Box::new(pipe),
            Box::new(raw),
        ]
    }
}

#[cfg(windows)]
mod windows {
    use std::fs::{File, OpenOptions};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mio::windows::NamedPipe;

    use super::*;

    struct Pipe {
        server: NamedPipe,
        client: File,
    }

    source_by!(Pipe, pipe => pipe.server);

    impl Subject for Pipe {
        fn name(&self) -> &'static str {
            "a named pipe"
        }

        fn make_readable(&mut self) {
            self.client.write_all(b"x").unwrap();
        }

        fn drain(&mut self) {
            read_until_it_would_block(&self.server);
        }
    }

    pub fn subjects() -> Vec<Box<dyn Subject>> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!(r"\\.\pipe\mio-modes-{}-{number}", std::process::id());
        let server = NamedPipe::new(&name).unwrap();
        let client = OpenOptions::new().read(true).write(true).open(&name);
        let client = client.unwrap();
        vec![Box::new(Pipe { server, client })]
    }
}

/// One of each kind, which is not ready.
fn subjects() -> Vec<Box<dyn Subject>> {
    let address = any_port();
    let udp = Udp {
        socket: UdpSocket::bind(address).unwrap(),
        peer: std::net::UdpSocket::bind(address).unwrap(),
    };
    let listener = Listener {
        listener: TcpListener::bind(address).unwrap(),
        clients: Vec::new(),
    };
    let mut all: Vec<Box<dyn Subject>> = vec![Box::new(tcp()), Box::new(udp), Box::new(listener)];
    #[cfg(unix)]
    all.extend(unix::subjects());
    #[cfg(windows)]
    all.extend(windows::subjects());
    all
}

/// Whether edges of this source are reported once. A table probes raw descriptors, and reports them again.
fn keeps_edges(backend: Backend, subject: &dyn Subject) -> bool {
    use util::Differences;

    !(subject.is_raw() && backend.keeps_a_table())
}

/// Waits for what has to be reported.
#[track_caller]
fn assert_reported(looper: &mut Loop, token: Token, what: &str) -> Seen {
    looper.assert_some_ready();
    let mut seen = Seen::default();
    for event in &looper.events {
        assert_eq!(event.token(), token, "{what}");
        seen = seen.and(Seen::of(event));
    }
    seen
}

/// Checks how many of five polls report the source: as many as the mode says, and these come first.
#[track_caller]
fn assert_reports(looper: &mut Loop, token: Token, subject: &dyn Subject, mode: Mode, how: &str) {
    let what = format!("{} {how}, {mode:?}", subject.name());
    for poll in 0..mode.reports() {
        let seen = assert_reported(looper, token, &what);
        assert!(seen.readable, "{what}, at poll {poll}: {seen:?}");
    }
    if mode == Mode::Edge && !keeps_edges(looper.poll.backend(), subject) {
        return;
    }
    for _ in mode.reports()..POLLS {
        let timeout = util::A_WHILE / 5;
        looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
        assert!(looper.events.is_empty(), "{what}: {:?}", looper.events);
    }
}

fn what_was_ready_before_is_reported_as_often_as_the_mode_says(backend: Backend) {
    for mode in MODES {
        for mut subject in subjects() {
            let mut looper = Loop::new(backend);
            subject.make_readable();
            looper.register(&mut subject, SOURCE, mode.of(Interest::READABLE));
            assert_reports(&mut looper, SOURCE, &*subject, mode, "that was ready");
        }
    }
}

fn what_becomes_ready_is_reported_as_often_as_the_mode_says(backend: Backend) {
    for mode in MODES {
        for mut subject in subjects() {
            let mut looper = Loop::new(backend);
            looper.register(&mut subject, SOURCE, mode.of(Interest::READABLE));
            looper.assert_nothing_ready();
            subject.make_readable();
            assert_reports(&mut looper, SOURCE, &*subject, mode, "that becomes ready");
        }
    }
}

fn reregister_changes_each_mode_into_each(backend: Backend) {
    for before in MODES {
        for after in MODES {
            for mut subject in subjects() {
                let mut looper = Loop::new(backend);
                subject.make_readable();
                looper.register(&mut subject, OTHER, before.of(Interest::READABLE));
                assert_reported(&mut looper, OTHER, subject.name());
                looper.reregister(&mut subject, SOURCE, after.of(Interest::READABLE));
                let how = format!("that was {before:?}");
                assert_reports(&mut looper, SOURCE, &*subject, after, &how);
            }
        }
    }
}

fn after_its_event_a_one_shot_source_is_deregistered_like_any_other(backend: Backend) {
    for mode in MODES {
        for mut subject in subjects() {
            let mut looper = Loop::new(backend);
            subject.make_readable();
            let interests = mode.of(Interest::READABLE);
            for _ in 0..2 {
                looper.register(&mut subject, SOURCE, interests);
                assert_reported(&mut looper, SOURCE, subject.name());
                looper.registry().deregister(&mut subject).unwrap();
                looper.assert_nothing_ready();
                let absent = looper.registry().deregister(&mut subject).unwrap_err();
                assert_eq!(absent.kind(), ErrorKind::NotFound, "{}", subject.name());
            }
        }
    }
}

fn a_one_shot_source_is_reported_once_for_each_reregister(backend: Backend) {
    for mut subject in subjects() {
        let mut looper = Loop::new(backend);
        let interests = Interest::READABLE.oneshot();
        looper.register(&mut subject, SOURCE, interests);
        for _ in 0..3 {
            subject.make_readable();
            assert_reports(&mut looper, SOURCE, &*subject, Mode::OneShot, "in turn");
            subject.drain();
            subject.make_readable();
            looper.assert_nothing_ready();
            looper.reregister(&mut subject, SOURCE, interests);
            assert_reports(&mut looper, SOURCE, &*subject, Mode::OneShot, "again");
            subject.drain();
            looper.reregister(&mut subject, SOURCE, interests);
            looper.assert_nothing_ready();
        }
    }
}

/// Waits until the data has arrived, without a poll.
fn until_arrived(stream: &TcpStream) {
    let deadline = std::time::Instant::now() + util::patience();
    while stream.peek(&mut [0; 8]).is_err() {
        assert!(std::time::Instant::now() < deadline, "it never arrives");
        std::thread::yield_now();
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn a_one_shot_event_disarms_both_directions(backend: Backend) {
    // Ready for both.
    let mut looper = Loop::new(backend);
    let mut subject = tcp();
    subject.make_readable();
    until_arrived(&subject.stream);
    for round in 0..2 {
        let registry = looper.registry();
        match round {
            0 => registry.register(&mut subject, SOURCE, BOTH.oneshot()),
            _ => registry.reregister(&mut subject, SOURCE, BOTH.oneshot()),
        }
        .unwrap();
        looper.assert_some_ready();
        assert_eq!(looper.events.iter().count(), 1, "{:?}", looper.events);
        let seen = Seen::of(looper.events.iter().next().unwrap());
        assert_eq!(seen, Seen::named("readable writable"));
        looper.assert_quiet();
    }

    // Ready for writing only, and then for reading.
    subject.drain();
    looper.reregister(&mut subject, SOURCE, BOTH.oneshot());
    let seen = assert_reported(&mut looper, SOURCE, "writable");
    assert_eq!(seen, Seen::named("writable"));
    subject.make_readable();
    until_arrived(&subject.stream);
    looper.assert_quiet();
    looper.reregister(&mut subject, SOURCE, BOTH.oneshot());
    assert_reported(&mut looper, SOURCE, "both");
    looper.registry().deregister(&mut subject).unwrap();
}

/// The kernel has seen it writable, and then it becomes readable as well.
fn a_one_shot_event_carries_what_became_ready_since_it_fired(backend: Backend) {
    if backend == Backend::Afd {
        return; // it reports what it saw first
    }
    let mut looper = Loop::new(backend);
    let (mut stream, mut peer) = util::stream_pair();
    let mut sent = 0;
    loop {
        match stream.write(&[0; 4096]) {
            Ok(length) => sent += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    looper.register(&mut stream, SOURCE, BOTH.oneshot());
    looper.assert_nothing_ready();
    let mut buffer = vec![0; sent];
    peer.read_exact(&mut buffer).unwrap();
    peer.write_all(b"x").unwrap();
    let seen = assert_reported(&mut looper, SOURCE, "both");
    assert_eq!(seen, Seen::named("readable writable"));
    looper.assert_quiet();
}

fn after_its_event_a_one_shot_source_does_not_report_that_the_peer_has_closed(backend: Backend) {
    for interests in [Interest::READABLE, Interest::WRITABLE, BOTH] {
        let mut looper = Loop::new(backend);
        let Tcp {
            mut stream,
            mut peer,
        } = tcp();
        peer.write_all(b"x").unwrap();
        until_arrived(&stream);
        // With this unread, closing resets the connection: an error and a hang-up.
        (&stream).write_all(b"x").unwrap();
        peer.peek(&mut [0]).unwrap();
        looper.register(&mut stream, SOURCE, interests.oneshot());
        assert_reported(&mut looper, SOURCE, "open");
        drop(peer);
        looper.assert_quiet();
        looper.reregister(&mut stream, SOURCE, Interest::READABLE.oneshot());
        let seen = assert_reported(&mut looper, SOURCE, "closed");
        assert!(seen.readable, "{seen:?}");
        looper.assert_quiet();
    }
}

/// Operations that would block or fail arm an edge, but not a one-shot registration that has fired.
fn a_one_shot_event_after_operations_stays_the_only_one(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut subject = tcp();
    subject.make_readable();
    looper.register(&mut subject, SOURCE, Interest::READABLE.oneshot());
    assert_reported(&mut looper, SOURCE, "data");
    subject.drain();
    let error = subject
        .stream
        .try_io(|| Err::<(), _>(ErrorKind::WouldBlock.into()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::WouldBlock);
    let error = subject
        .stream
        .try_io(|| Err::<(), _>(io::Error::from(ErrorKind::Other)));
    assert!(error.is_err());
    assert!(subject.stream.take_error().unwrap().is_none());
    subject.make_readable();
    until_arrived(&subject.stream);
    looper.assert_quiet();
}

/// A backend may have asked the kernel for reading alone, and have its answer already.
fn a_one_shot_event_carries_what_reregister_has_added(backend: Backend) {
    for mode in [Interest::READABLE, Interest::READABLE.level()] {
        let mut looper = Loop::new(backend);
        let mut subject = tcp();
        looper.register(&mut subject, OTHER, mode);
        looper.assert_quiet();
        subject.make_readable();
        until_arrived(&subject.stream);
        looper.reregister(&mut subject, SOURCE, BOTH.oneshot());
        let seen = assert_reported(&mut looper, SOURCE, "data");
        assert!(seen.readable && seen.writable, "{seen:?}");
        looper.assert_quiet();
    }
}

/// A buffer for one event, so that the kernel may have found one source writable already, and have nowhere to put it.
fn a_one_shot_event_carries_what_has_come_before_reregister(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let mut subjects = [tcp(), tcp()];
    for (subject, token) in subjects.iter_mut().zip([SOURCE, OTHER]) {
        looper.register(subject, token, BOTH.level());
    }
    for _ in 0..2 {
        looper.assert_some_ready();
    }
    for (subject, token) in subjects.iter_mut().zip([SOURCE, OTHER]) {
        subject.make_readable();
        until_arrived(&subject.stream);
        looper.reregister(subject, token, BOTH.oneshot());
    }
    // Room for whatever the kernel has of each source.
    looper.events = Events::with_capacity(8);
    let mut missing = vec![SOURCE, OTHER];
    while !missing.is_empty() {
        looper.assert_some_ready();
        for event in &looper.events {
            assert!(event.is_readable() && event.is_writable(), "{event:?}");
            missing.retain(|token| *token != event.token());
        }
    }
    looper.assert_quiet();
}

fn a_level_source_is_quiet_when_it_was_drained(backend: Backend) {
    for mut subject in subjects() {
        let mut looper = Loop::new(backend);
        looper.register(&mut subject, SOURCE, Interest::READABLE.level());
        for _ in 0..3 {
            subject.make_readable();
            for _ in 0..2 {
                assert_reported(&mut looper, SOURCE, subject.name());
            }
            subject.drain();
            looper.assert_nothing_ready();
        }
    }
}

/// Also if the source had become ready, or was, when nobody polled.
fn a_level_event_names_what_is_ready_at_its_poll(backend: Backend) {
    if backend == Backend::Afd {
        return; // it reports what it saw first
    }
    let mut looper = Loop::new(backend);
    let mut subject = tcp();
    looper
        .registry()
        .register(&mut subject, SOURCE, BOTH.level())
        .unwrap();
    subject.make_readable();
    until_arrived(&subject.stream);
    let seen = assert_reported(&mut looper, SOURCE, "both");
    assert_eq!(seen, Seen::named("readable writable"));
    subject.drain();
    let seen = assert_reported(&mut looper, SOURCE, "drained");
    assert_eq!(seen, Seen::named("writable"));
    looper
        .registry()
        .reregister(&mut subject, SOURCE, Interest::READABLE.level())
        .unwrap();
    subject.make_readable();
    until_arrived(&subject.stream);
    subject.drain();
    looper.assert_quiet();
    subject.make_readable();
    looper.until_readable(SOURCE);
}

fn a_level_source_reports_both_directions_each_time(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut subject = tcp();
    looper.register(&mut subject, SOURCE, BOTH.level());
    for _ in 0..POLLS {
        let seen = assert_reported(&mut looper, SOURCE, "writable");
        assert_eq!(seen, Seen::named("writable"));
    }
    subject.make_readable();
    until_arrived(&subject.stream);
    for _ in 0..POLLS {
        let seen = assert_reported(&mut looper, SOURCE, "both");
        assert_eq!(seen, Seen::named("readable writable"));
    }
    looper.reregister(&mut subject, SOURCE, Interest::READABLE.level());
    let seen = assert_reported(&mut looper, SOURCE, "readable");
    assert!(seen.readable);
    subject.drain();
    looper.assert_quiet();
}

fn a_level_source_reports_a_hang_up_each_time(backend: Backend) {
    let mut looper = Loop::new(backend);
    let Tcp { mut stream, peer } = tcp();
    looper.register(&mut stream, SOURCE, BOTH.level());
    assert_reported(&mut looper, SOURCE, "writable");
    drop(peer);
    looper.until_readable(SOURCE);
    for _ in 0..POLLS {
        let seen = assert_reported(&mut looper, SOURCE, "closed");
        assert!(seen.readable, "{seen:?}");
        let _ = (&stream).read(&mut [0; 8]);
    }
}

/// Without a reader each poll reports it as closed. With one it is writable until it is full.
#[cfg(unix)]
fn a_level_fifo_that_gets_a_reader_is_closed_no_more(backend: Backend) {
    use util::Differences;

    if !backend.takes_a_pipe_without_receivers() {
        return;
    }
    use std::os::unix::fs::OpenOptionsExt;

    let mut looper = Loop::new(backend);
    let (reader, path, _folder) = util::named_pipe();
    let open = |options: &mut std::fs::OpenOptions| {
        let file = options.custom_flags(libc::O_NONBLOCK).open(&path);
        std::os::fd::OwnedFd::from(file.unwrap())
    };
    let sender = open(std::fs::File::options().write(true));
    let mut sender = mio::unix::pipe::Sender::from(sender);
    drop(reader);
    looper.register(&mut sender, SOURCE, Interest::WRITABLE.level());
    for _ in 0..POLLS {
        let seen = assert_reported(&mut looper, SOURCE, "without a reader");
        assert!(seen.writable, "{seen:?}");
        assert!(seen.write_closed || util::netbsd(), "{seen:?}");
    }
    let reader = open(std::fs::File::options().read(true));
    let mut reader = mio::unix::pipe::Receiver::from(reader);
    for _ in 0..POLLS {
        let seen = assert_reported(&mut looper, SOURCE, "with a reader");
        assert!(seen.writable, "{seen:?}");
        // NetBSD's kqueue reports a named pipe as closed even then.
        assert!(!seen.write_closed || util::netbsd(), "{seen:?}");
    }
    while sender.write(&[0; 4096]).is_ok() {}
    looper.assert_quiet();
    read_until_it_would_block(&mut reader);
    let seen = assert_reported(&mut looper, SOURCE, "read");
    assert!(seen.writable, "{seen:?}");
    // The event in its place is gone as well.
    looper.registry().deregister(&mut sender).unwrap();
    drop(reader);
    looper.assert_quiet();
}

fn level_sources_take_turns_in_a_small_buffer(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 2);
    let mut subjects: Vec<_> = (0..5).map(|_| tcp()).collect();
    for (n, subject) in subjects.iter_mut().enumerate() {
        subject.make_readable();
        until_arrived(&subject.stream);
        looper.register(subject, Token(n), Interest::READABLE.level());
    }
    for _ in 0..3 {
        let mut missing: Vec<_> = (0..subjects.len()).collect();
        // Not every kernel's queue is in order.
        for _ in 0..20 * subjects.len() {
            if missing.is_empty() {
                break;
            }
            looper.assert_some_ready();
            for event in &looper.events {
                missing.retain(|&n| Token(n) != event.token());
            }
        }
        assert!(missing.is_empty(), "left out: {missing:?}");
    }
}

fn a_changed_mode_takes_effect_during_a_wait(backend: Backend) {
    let mut subject = tcp();
    let mut other = tcp();
    let mut looper = Loop::new(backend);
    subject.make_readable();
    until_arrived(&subject.stream);
    let registry = looper.registry().try_clone().unwrap();
    registry
        .register(&mut subject, SOURCE, Interest::READABLE.oneshot())
        .unwrap();
    assert_reported(&mut looper, SOURCE, "the first time");
    for round in 0..20 {
        let thread = std::thread::spawn(move || {
            looper.assert_some_ready();
            looper
        });
        let (token, interests) = match round % 2 {
            0 => (OTHER, BOTH.oneshot()),
            _ => (SOURCE, Interest::READABLE.oneshot()),
        };
        registry.reregister(&mut subject, token, interests).unwrap();
        looper = thread.join().unwrap();
        for event in &looper.events {
            assert_eq!(event.token(), token);
        }
        looper.assert_nothing_ready();
    }
    // The queue is as it was.
    registry
        .register(&mut other, SOURCE, Interest::READABLE)
        .unwrap();
    other.make_readable();
    looper.until_readable(SOURCE);
}

/// Each event is handled by one of several threads, and no two threads handle one source at the same time.
fn one_shot_sources_are_shared_by_threads(backend: Backend) {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{mpsc, Arc, Mutex};

    const SOURCES: usize = 4;
    let rounds = 100 / util::slowness() as usize;
    let mut looper = Loop::new(backend);
    let registry = Arc::new(looper.registry().try_clone().unwrap());
    let interests = BOTH.remove(Interest::WRITABLE).unwrap().oneshot();
    let sources: Arc<Vec<_>> = Arc::new(
        (0..SOURCES)
            .map(|n| {
                let mut subject = tcp();
                registry
                    .register(&mut subject, Token(n), interests)
                    .unwrap();
                let peer = subject.peer.try_clone().unwrap();
                (
                    Mutex::new(subject),
                    AtomicBool::new(false),
                    Mutex::new(peer),
                )
            })
            .collect(),
    );
    let (sender, tokens) = mpsc::channel::<Token>();
    let tokens = Arc::new(Mutex::new(tokens));
    let read = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (tokens, sources) = (Arc::clone(&tokens), Arc::clone(&sources));
            let (registry, read) = (Arc::clone(&registry), Arc::clone(&read));
            std::thread::spawn(move || loop {
                let token = tokens.lock().unwrap().recv();
                let Ok(Token(n)) = token else {
                    return;
                };
                let (subject, is_handled, peer) = &sources[n];
                assert!(!is_handled.swap(true, Ordering::SeqCst), "two have it");
                let mut subject = subject.lock().unwrap();
                let mut buffer = [0; 16];
                let mut total = 0;
                while let Ok(length) = (&subject.stream).read(&mut buffer) {
                    total += length;
                }
                read.fetch_add(total, Ordering::SeqCst);
                // Data that is left, or arrives from now on, belongs to the next event.
                peer.lock().unwrap().write_all(b"x").unwrap();
                assert!(is_handled.swap(false, Ordering::SeqCst));
                registry
                    .reregister(&mut *subject, Token(n), interests)
                    .unwrap();
            })
        })
        .collect();
    for (_, _, peer) in sources.iter() {
        peer.lock().unwrap().write_all(b"x").unwrap();
    }
    while read.load(Ordering::SeqCst) < rounds * SOURCES {
        looper.assert_some_ready();
        for event in &looper.events {
            sender.send(event.token()).unwrap();
        }
    }
    drop(sender);
    for worker in workers {
        worker.join().unwrap();
    }
}

fn exclusive_is_refused_where_there_is_none(backend: Backend) {
    let looper = Loop::new(backend);
    let Some(exclusive) = util::exclusive(Interest::READABLE).filter(|_| backend != Backend::Epoll)
    else {
        return;
    };
    let mut subject = tcp();
    let registry = looper.registry();
    let refused = registry.register(&mut subject, SOURCE, exclusive);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    // Nothing is registered.
    assert_eq!(
        registry.deregister(&mut subject).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    registry
        .register(&mut subject, SOURCE, Interest::READABLE)
        .unwrap();
    let refused = registry.reregister(&mut subject, SOURCE, exclusive);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    registry.deregister(&mut subject).unwrap();
}

#[test]
fn a_mode_that_is_set_twice_stays_set() {
    let modes: [fn(Interest) -> Option<Interest>; 3] = [
        |interest| Some(interest.level()),
        |interest| Some(interest.oneshot()),
        util::exclusive,
    ];
    for mode in modes {
        if let Some(once) = mode(Interest::READABLE) {
            assert_eq!(mode(once), Some(once));
        }
    }
}

#[cfg(unix)]
mod exclusive {
    use super::*;

    fn exclusive(interest: Interest) -> Option<Interest> {
        let has_epoll = Backend::available().contains(&Backend::Epoll);
        util::exclusive(interest).filter(|_| has_epoll)
    }

    #[test]
    fn it_is_reported_and_not_reregistered() {
        for mode in [Mode::Edge, Mode::Level] {
            let Some(exclusive) = exclusive(mode.of(Interest::READABLE)) else {
                return;
            };
            let mut looper = Loop::new(Backend::Epoll);
            let mut subject = tcp();
            let registry = looper.registry();
            let is_refused = |subject: &mut Tcp, interests| {
                let error = registry.reregister(subject, OTHER, interests).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                let is_explained = error.to_string().contains("exclusive");
                assert!(is_explained || !cfg!(debug_assertions), "{error}");
            };
            registry
                .register(&mut subject, OTHER, Interest::READABLE)
                .unwrap();
            is_refused(&mut subject, exclusive);
            registry.deregister(&mut subject).unwrap();
            registry.register(&mut subject, SOURCE, exclusive).unwrap();
            is_refused(&mut subject, exclusive);
            is_refused(&mut subject, Interest::READABLE);
            // It is as it was.
            looper.assert_nothing_ready();
            subject.make_readable();
            assert_reports(&mut looper, SOURCE, &subject, mode, "exclusive");
            looper.registry().deregister(&mut subject).unwrap();
        }
    }

    /// The other errors of registering are the kernel's.
    #[cfg(unix)]
    #[test]
    fn registering_a_raw_descriptor_twice_already_exists() {
        use std::os::fd::AsRawFd;

        let Some(exclusive) = exclusive(Interest::READABLE) else {
            return;
        };
        let looper = Loop::new(Backend::Epoll);
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        for expected in [None, Some(ErrorKind::AlreadyExists)] {
            let mut source = mio::unix::SourceFd(&fd);
            let registered = looper.registry().register(&mut source, SOURCE, exclusive);
            assert_eq!(registered.err().map(|error| error.kind()), expected);
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_explained() {
        let Some(exclusive) = exclusive(Interest::READABLE) else {
            return;
        };
        let looper = Loop::new(Backend::Epoll);
        let registry = looper.registry();
        let mut subject = tcp();
        for refused in util::not_exclusive() {
            let error = registry
                .register(&mut subject, SOURCE, refused)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("exclusive"), "{error}");
        }
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            let inner = Loop::new(Backend::Epoll);
            let fd = inner.poll.as_raw_fd();
            let mut inner = mio::unix::SourceFd(&fd);
            let error = registry
                .register(&mut inner, SOURCE, exclusive)
                .unwrap_err();
            assert!(error.to_string().contains("exclusive"), "{error}");
        }
    }

    /// Of several polls that wait for one listener, each client wakes one, and not all.
    #[test]
    fn a_client_does_not_wake_all_polls() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        use std::sync::Arc;

        const POLLS: usize = 4;
        const CLIENTS: usize = 50;
        let Some(exclusive) = exclusive(Interest::READABLE) else {
            return;
        };
        let mut woken = [0, 0];
        for (is_exclusive, woken) in [false, true].into_iter().zip(&mut woken) {
            let mut listener = Listener {
                listener: TcpListener::bind(any_port()).unwrap(),
                clients: Vec::new(),
            };
            let count = Arc::new(AtomicUsize::new(0));
            let mut stop = Vec::new();
            let mut threads = Vec::new();
            let mut asleep = Vec::new();
            for _ in 0..POLLS {
                let mut looper = Loop::new(Backend::Epoll);
                let interests = match is_exclusive {
                    true => exclusive,
                    false => Interest::READABLE,
                };
                looper
                    .registry()
                    .register(
                        &mut mio::unix::SourceFd(&std::os::fd::AsRawFd::as_raw_fd(
                            &listener.listener,
                        )),
                        SOURCE,
                        interests,
                    )
                    .unwrap();
                stop.push(mio::Waker::new(looper.registry(), OTHER).unwrap());
                let count = Arc::clone(&count);
                let (sender, thread) = std::sync::mpsc::channel();
                threads.push(std::thread::spawn(move || {
                    sender.send(util::this_thread()).unwrap();
                    loop {
                        // It may be woken by the waker only.
                        looper.poll.poll_until(&mut looper.events, None).unwrap();
                        for event in &looper.events {
                            if event.token() == OTHER {
                                return;
                            }
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }));
                asleep.push(thread.recv().unwrap());
            }
            for &thread in &asleep {
                util::until_asleep(thread);
            }
            for client in 1..=CLIENTS {
                listener.make_readable();
                // Without the mode each poll has an event, if the client waits until then.
                let expected = match is_exclusive {
                    true => client,
                    false => client * POLLS,
                };
                let deadline = std::time::Instant::now() + util::patience();
                while count.load(Ordering::SeqCst) < expected {
                    assert!(std::time::Instant::now() < deadline, "a poll is not woken");
                    std::thread::yield_now();
                }
                // Each poll that the client has woken finds it.
                for &thread in &asleep {
                    util::until_asleep(thread);
                }
                listener.drain();
            }
            for waker in &stop {
                waker.wake().unwrap();
            }
            for thread in threads {
                thread.join().unwrap();
            }
            *woken = count.load(Ordering::SeqCst);
        }
        let [all, some] = woken;
        assert!(some >= CLIENTS, "{some}");
        assert!(some * 2 < all, "{some} with exclusive, {all} without");
    }
}

/// A mode is no readiness.
#[test]
fn modes_combine_with_interests() {
    let level = Interest::READABLE.level();
    assert_eq!(level.remove(Interest::READABLE), None);
    assert_eq!(
        (level | Interest::WRITABLE).remove(Interest::READABLE),
        Some(Interest::WRITABLE.level())
    );
    assert_eq!(
        format!("{:?}", BOTH.oneshot()),
        "READABLE | WRITABLE | ONESHOT"
    );
    assert!(level.is_readable() && !level.is_writable() && level.is_level());
    assert!((level | Interest::WRITABLE.oneshot()).is_oneshot());
    assert!(!BOTH.is_level() && !BOTH.is_oneshot() && !BOTH.is_exclusive());
    assert_eq!(level, Interest::READABLE.add(level));
    assert_ne!(level, Interest::READABLE);
}
