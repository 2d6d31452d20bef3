//! Behaviour of Windows only: AFD watches the sockets, on a completion port.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net", windows))]

mod util;

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{
    Ipv4Addr, Shutdown, TcpListener as StdListener, TcpStream as StdStream, UdpSocket as StdUdp,
};
use std::os::windows::io::{AsRawSocket, FromRawSocket, IntoRawSocket, OwnedSocket, RawSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Backend, Events, Interest, IoSource, Poll, Token, Waker};
use util::{any_port, patience, stream_pair, Loop, Seen};
use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT};
use windows_sys::Win32::Networking::WinSock::{WSAEMSGSIZE, WSAENOTSOCK};

const AFD: Backend = Backend::Afd;
const T: Token = Token(1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[test]
fn no_handle_is_left_of_a_poll_with_polls_under_way() {
    util::without_leaking("no_handle_is_left_of_a_poll_with_polls_under_way", || {
        for polls_first in [false, true] {
            let mut looper = Loop::new(AFD);
            let waker = Waker::new(looper.registry(), Token(9999)).unwrap();
            let mut sockets: Vec<_> = (0..100)
                .map(|_| UdpSocket::bind(any_port()).unwrap())
                .collect();
            for (n, socket) in sockets.iter_mut().enumerate() {
                looper
                    .registry()
                    .register(socket, Token(n), Interest::READABLE)
                    .unwrap();
            }
            if polls_first {
                looper.assert_nothing_ready();
            }
            waker.wake().unwrap();
            // The sockets outlive the poll, which has 100 polls in flight.
            drop(looper);
            drop(sockets);
        }
    });
}

#[test]
fn no_handle_is_left_of_sockets_that_come_and_go() {
    util::without_leaking("no_handle_is_left_of_sockets_that_come_and_go", || {
        let mut looper = Loop::new(AFD);
        for round in 0..20 {
            let mut pairs: Vec<_> = (0..40).map(|_| stream_pair()).collect();
            for (n, (one, _)) in pairs.iter_mut().enumerate() {
                looper.registry().register(one, Token(n), BOTH).unwrap();
            }
            looper.assert_some_ready();
            for (one, _) in pairs.iter_mut().step_by(1 + round % 3) {
                looper.registry().deregister(one).unwrap();
            }
        }
    });
}

/// Each handle of the driver is for 32 sockets, and is used again.
#[test]
fn many_sockets_share_handles_of_the_driver() {
    if !util::in_child_test("many_sockets_share_handles_of_the_driver") {
        return;
    }
    let mut looper = Loop::with_capacity(AFD, 256);
    let mut sockets: Vec<_> = (0..200)
        .map(|_| UdpSocket::bind(any_port()).unwrap())
        .collect();
    for _ in 0..3 {
        let before = util::handles();
        for (n, socket) in sockets.iter_mut().enumerate() {
            looper
                .registry()
                .register(socket, Token(n), Interest::WRITABLE)
                .unwrap();
        }
        let mut seen = [false; 200];
        looper.until("all of them", |event| {
            seen[event.token().0] = true;
            seen.iter().all(|&seen| seen)
        });
        assert!(
            util::handles() <= before + 8,
            "{before}, then {}",
            util::handles()
        );
        for socket in &mut sockets {
            looper.registry().deregister(socket).unwrap();
        }
        looper.assert_quiet();
    }
}

#[test]
fn what_is_no_socket_is_refused() {
    let mut looper = Loop::new(AFD);
    // SAFETY: no socket has this number, which the system never assigns, and nothing closes it.
    let mut source = IoSource::new(unsafe { util::borrow(0x7fff_fff0) });
    match looper.registry().register(&mut source, T, BOTH) {
        Err(error) => assert_eq!(error.raw_os_error(), Some(WSAENOTSOCK)),
        // Wine accepts any number as a socket until it is queried.
        Ok(()) => {
            assert!(util::under_wine());
            looper.until("an error", |event| event.is_error());
        }
    }
    looper.assert_quiet();
}

/// The handle is closed and reused while the driver still has the poll of the old socket.
#[test]
fn a_handle_that_is_handed_out_again_is_another_socket() {
    let mut looper = Loop::new(AFD);
    let mut reused = 0;
    let mut duplicates = Vec::new();
    for round in 0..300 {
        let mut old = UdpSocket::bind(any_port()).unwrap();
        looper
            .registry()
            .register(&mut old, Token(1000 + round), Interest::READABLE)
            .unwrap();
        looper.assert_nothing_ready();
        if round % 2 == 0 {
            // So that the poll of the old socket does not end when its handle is closed.
            duplicates.push(socket2::SockRef::from(&old).try_clone().unwrap());
        }
        let number = old.as_raw_socket();
        match round % 3 {
            0 => drop(old),
            1 => {
                looper.registry().deregister(&mut old).unwrap();
                drop(old);
            }
            // SAFETY: the socket was just given up, so nothing else owns it.
            _ => drop(unsafe { OwnedSocket::from_raw_socket(old.into_raw_socket()) }),
        }
        let mut new = UdpSocket::bind(any_port()).unwrap();
        reused += usize::from(new.as_raw_socket() == number);
        looper
            .registry()
            .register(&mut new, Token(round), Interest::READABLE)
            .unwrap();
        let sender = StdUdp::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", new.local_addr().unwrap()).unwrap();
        looper.until(&format!("round {round}"), |event| {
            assert_eq!(event.token(), Token(round), "of the old one");
            assert!(!event.is_error(), "of the old one");
            event.is_readable()
        });
    }
    assert!(reused > 0, "the numbers were never the same");
}

/// Between these there is no poll, or one that waits on another thread. In neither case may two
/// polls of the socket be in flight.
#[test]
fn a_socket_comes_back_while_another_thread_waits() {
    let rounds = 500;
    let mut looper = Loop::new(AFD);
    let registry = looper.registry().try_clone().unwrap();
    let (mut one, mut other) = stream_pair();
    let at = Arc::new(AtomicUsize::new(0));
    let waiting = thread::spawn({
        let at = Arc::clone(&at);
        move || {
            for round in 1..=rounds {
                looper.until(&format!("round {round}"), |event| {
                    event.token().0 == round && event.is_readable()
                });
                at.store(round, Ordering::SeqCst);
            }
        }
    });
    other.write_all(b"stays").unwrap();
    for round in 1..=rounds {
        registry
            .register(&mut one, Token(round), Interest::READABLE)
            .unwrap();
        let deadline = Instant::now() + patience();
        while at.load(Ordering::SeqCst) < round {
            assert!(Instant::now() < deadline, "round {round}");
            thread::yield_now();
        }
        registry.deregister(&mut one).unwrap();
        // And once without a reason.
        registry
            .register(&mut one, Token(usize::MAX), Interest::READABLE)
            .unwrap();
        registry.deregister(&mut one).unwrap();
    }
    waiting.join().unwrap();
}

/// A socket that other code has closed, among others that still work.
#[test]
fn a_socket_that_was_closed_behind_its_source_does_not_stop_the_others() {
    if !util::in_child_test("a_socket_that_was_closed_behind_its_source_does_not_stop_the_others") {
        return;
    }
    for polled in [false, true] {
        let mut looper = Loop::new(AFD);
        let victim = StdUdp::bind("127.0.0.1:0").unwrap();
        // SAFETY: closing it while it is in use is what this tests. Nothing is opened afterwards.
        let mut source = IoSource::new(unsafe { util::borrow(victim.as_raw_socket()) });
        let mut others: Vec<_> = (0..5)
            .map(|_| UdpSocket::bind(any_port()).unwrap())
            .collect();
        looper
            .registry()
            .register(&mut source, T, Interest::READABLE)
            .unwrap();
        if polled {
            looper.assert_nothing_ready();
        }
        drop(victim);
        for (n, socket) in others.iter_mut().enumerate() {
            looper
                .registry()
                .register(socket, Token(10 + n), Interest::WRITABLE)
                .unwrap();
        }
        let (mut dead, mut seen) = (0, 0);
        let start = Instant::now();
        while (dead == 0 || seen < 5) && start.elapsed() < patience() {
            looper
                .poll
                .poll(&mut looper.events, Some(Duration::from_millis(10)))
                .unwrap();
            for event in &looper.events {
                if event.token() == T {
                    let failed = Seen::named("readable writable write_closed error");
                    assert_eq!(Seen::of(event), failed);
                    dead += 1;
                } else {
                    seen += 1;
                }
            }
        }
        assert_eq!((dead, seen), (1, 5));
        looper.assert_quiet();
        looper.registry().deregister(&mut source).unwrap();
    }
}

/// Threads register, change and drop a waker and sockets while another thread polls.
#[test]
fn sources_come_and_go_while_another_thread_polls() {
    let polling = util::Polling::begin(Loop::new(AFD));
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let registry = polling.registry();
            thread::spawn(move || {
                for round in 0..1000 {
                    let (mut one, mut other) = stream_pair();
                    registry.register(&mut one, Token(n + 1), BOTH).unwrap();
                    other.write_all(b"x").unwrap();
                    if round % 2 == 0 {
                        registry
                            .reregister(&mut one, Token(n + 1), Interest::READABLE)
                            .unwrap();
                        let _ = one.read(&mut [0; 8]);
                        let _ = one.read(&mut [0; 8]);
                    }
                    if round % 3 == 0 {
                        registry.deregister(&mut one).unwrap();
                    }
                    drop(other);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // All are gone.
    polling.end().assert_quiet();
}

/// A datagram that is too long is an error, and the next one is reported although no call would
/// have blocked.
#[test]
fn a_datagram_that_does_not_fit_leaves_the_socket_armed() {
    let mut looper = Loop::new(AFD);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let to = socket.local_addr().unwrap();
    let sender = StdUdp::bind("127.0.0.1:0").unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    for _ in 0..3 {
        sender.send_to(b"too long", to).unwrap();
        looper.until_readable(T);
        let error = socket.recv_from(&mut [0; 4]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(WSAEMSGSIZE));
    }
}

/// Counts the events in the second that begins with the first one, and in the next second, if the
/// program responds to each in the same way.
#[track_caller]
fn assert_few(looper: &mut Loop, what: &str, mut answer: impl FnMut()) {
    looper.until("the first one", |_| true);
    answer();
    let [first, second] = [1, 0].map(|before| {
        let end = Instant::now() + Duration::from_secs(1);
        let mut count = before;
        while Instant::now() < end && count < 1000 {
            looper
                .poll
                .poll_until(&mut looper.events, Some(end))
                .unwrap();
            for _ in &looper.events {
                count += 1;
                answer();
            }
        }
        count
    });
    println!("{what}: {first}, {second}");
    assert!((2..=30).contains(&first), "{what}: {first}, {second}");
    assert!((1..=17).contains(&second), "{what}: {first}, {second}");
}

/// The median of nine delays, from the time when a peer sends until the event. Another thread has
/// drained the stream while the poll waits.
fn delay_after(what: &str, drain: impl Fn(&TcpStream)) -> Duration {
    let mut looper = Loop::new(AFD);
    let (mut stream, mut peer) = stream_pair();
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    let (came, comes) = std::sync::mpsc::channel();
    let polling = thread::spawn(move || {
        for _ in 0..10 {
            looper.until_readable(T);
            came.send(Instant::now()).unwrap();
        }
    });
    peer.write_all(b"x").unwrap();
    comes.recv().unwrap();
    let mut delays: Vec<_> = (0..9)
        .map(|_| {
            drain(&stream);
            // Time for the poll to wait again.
            thread::sleep(util::A_WHILE);
            let start = Instant::now();
            peer.write_all(b"x").unwrap();
            comes.recv().unwrap().saturating_duration_since(start)
        })
        .collect();
    polling.join().unwrap();
    delays.sort();
    println!("{what}: {:.2} ms", delays[4].as_secs_f64() * 1000.0);
    delays[4]
}

#[test]
fn data_behind_what_another_thread_has_drained_is_reported_without_delay() {
    let read = delay_after("read until it would block", |stream| {
        let mut buffer = [0; 8];
        while (&mut &*stream).read(&mut buffer).is_ok() {}
    });
    let tried = delay_after("the same, through try_io", |stream| {
        let mut buffer = [MaybeUninit::uninit(); 8];
        let socket = socket2::SockRef::from(stream);
        while stream.try_io(|| socket.recv(&mut buffer)).is_ok() {}
    });
    let bound = Duration::from_millis(40) * util::slowness();
    assert!(read < bound && tried < bound, "{read:?}, {tried:?}");
}

#[test]
fn a_source_to_which_nothing_happens_has_one_event() {
    let mut looper = Loop::new(AFD);
    let (mut stream, _peer) = stream_pair();
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    looper.until_writable(T);
    looper.assert_quiet();
}

#[test]
fn writing_to_a_peer_that_was_reset_at_each_event_is_no_busy_loop() {
    let mut looper = Loop::new(AFD);
    let (mut stream, peer) = stream_pair();
    util::hang_up(peer);
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    looper.until("a hang-up", |event| event.is_write_closed());
    let end = Instant::now() + Duration::from_secs(1);
    let mut count = 1;
    while Instant::now() < end && count < 1000 {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        for _ in &looper.events {
            count += 1;
            let _ = stream.write(b"x");
        }
    }
    println!("a write to a peer that was reset: {count}");
    assert!(count <= 30, "{count}");
}

/// As without handles: nothing disappears.
#[test]
fn accepting_that_fails_at_each_event_is_no_busy_loop() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut listener = IoSource::new(listener);
    let mut looper = Loop::new(AFD);
    looper
        .registry()
        .register(&mut listener, T, Interest::READABLE)
        .unwrap();
    assert_few(&mut looper, "accept", || {
        let failure = listener.do_io(Interest::READABLE, |_| {
            std::io::Result::<()>::Err(ErrorKind::Other.into())
        });
        failure.unwrap_err();
    });
}

#[test]
fn a_short_peek_at_each_event_is_no_busy_loop() {
    let mut looper = Loop::new(AFD);
    let (mut stream, mut peer) = stream_pair();
    peer.write_all(b"x").unwrap();
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    looper.until_readable(T);
    looper.registry().reregister(&mut stream, T, BOTH).unwrap();
    assert_few(&mut looper, "a short peek", || {
        assert_eq!(stream.peek(&mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn writing_after_shutdown_at_each_event_is_no_busy_loop() {
    let mut looper = Loop::new(AFD);
    let (mut stream, _peer) = stream_pair();
    stream.shutdown(Shutdown::Write).unwrap();
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    assert_few(&mut looper, "a write after shutdown", || {
        assert!(stream.write(b"x").is_err());
    });
}

#[test]
fn sending_a_datagram_that_is_too_large_at_each_event_is_no_busy_loop() {
    let mut looper = Loop::new(AFD);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let to = socket.local_addr().unwrap();
    looper.registry().register(&mut socket, T, BOTH).unwrap();
    assert_few(&mut looper, "a datagram that is too large", || {
        let error = socket.send_to(&[0; 70_000], to).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(WSAEMSGSIZE));
    });
}

/// The backend does not know the direction of the call: it may have been a write.
#[test]
fn try_io_at_each_event_of_an_idle_socket_is_no_busy_loop() {
    let mut looper = Loop::new(AFD);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    looper.registry().register(&mut socket, T, BOTH).unwrap();
    assert_few(&mut looper, "try_io that would block", || {
        let mut buffer = [MaybeUninit::uninit(); 8];
        let outcome = socket.try_io(|| socket2::SockRef::from(&socket).recv(&mut buffer));
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// By code that does not report it.
#[test]
fn what_was_drained_before_a_failure_is_armed_again_without_a_pause() {
    let mut looper = Loop::new(AFD);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let to = socket.local_addr().unwrap();
    let sender = StdUdp::bind("127.0.0.1:0").unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    let drain = |socket: &UdpSocket| {
        let mut buffer = [MaybeUninit::uninit(); 8];
        while socket2::SockRef::from(socket).recv(&mut buffer).is_ok() {}
    };
    let mut delays = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        sender.send_to(b"x", to).unwrap();
        looper.until_readable(T);
        delays.push(start.elapsed());
        drain(&socket);
        let failure = socket.try_io(|| std::io::Result::<()>::Err(ErrorKind::Other.into()));
        failure.unwrap_err();
        looper.assert_nothing_ready();
    }
    delays.sort();
    // If the pauses continued, they would be of 64 ms.
    assert!(delays[10] < Duration::from_millis(30), "{delays:?}");
}

/// An operation of another thread fails while this one waits, which must then probe.
#[test]
fn a_failure_while_another_thread_waits_is_followed_by_a_probe() {
    let mut looper = Loop::new(AFD);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let to = socket.local_addr().unwrap();
    let sender = StdUdp::bind("127.0.0.1:0").unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    sender.send_to(b"x", to).unwrap();
    looper.until_readable(T);
    let (about_to_wait, waits) = std::sync::mpsc::channel();
    let polling = thread::spawn(move || {
        looper.assert_nothing_ready();
        about_to_wait.send(util::this_thread()).unwrap();
        looper.until_readable(T);
    });
    util::until_asleep(waits.recv().unwrap());
    let failure = socket.try_io(|| std::io::Result::<()>::Err(ErrorKind::Other.into()));
    failure.unwrap_err();
    let start = Instant::now();
    polling.join().unwrap();
    assert!(start.elapsed() < patience() / 2, "when its wait was over");
}

#[test]
fn sockets_are_not_inherited_and_do_not_block() {
    let listener = TcpListener::bind(any_port()).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let deadline = Instant::now() + patience();
    let accepted = loop {
        match listener.accept() {
            Ok((accepted, _)) => break accepted,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < deadline);
    };
    let udp = UdpSocket::bind(any_port()).unwrap();
    let is_inherited = |socket: RawSocket| {
        let mut flags = 0;
        // SAFETY: the call writes one number, and the socket is open.
        let got = unsafe { GetHandleInformation(socket as usize as HANDLE, &mut flags) };
        assert_ne!(got, 0);
        flags & HANDLE_FLAG_INHERIT != 0
    };
    for socket in [
        listener.as_raw_socket(),
        stream.as_raw_socket(),
        accepted.as_raw_socket(),
        udp.as_raw_socket(),
    ] {
        assert!(!is_inherited(socket));
    }
    for result in [
        (&accepted).read(&mut [0; 8]),
        (&stream).read(&mut [0; 8]),
        udp.recv(&mut [0; 8]),
        listener.accept().map(|_| 0),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// Any socket works: this one is of another crate.
#[test]
fn a_socket_of_another_crate_is_a_source() {
    use socket2::{Domain, Socket, Type};

    let mut looper = Loop::new(AFD);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let any: std::net::SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into()).unwrap();
    let to = socket.local_addr().unwrap().as_socket().unwrap();
    let mut source = IoSource::new(socket);
    looper
        .registry()
        .register(&mut source, T, Interest::READABLE)
        .unwrap();
    let sender = StdUdp::bind("127.0.0.1:0").unwrap();
    let receive = || source.do_io(Interest::READABLE, |mut socket| socket.read(&mut [0; 8]));
    for _ in 0..3 {
        sender.send_to(b"x", to).unwrap();
        looper.until_readable(T);
        assert_eq!(receive().unwrap(), 1);
        assert_eq!(receive().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// Windows' clock ticks every 15.6 ms, and a port's timeouts end at its ticks.
#[test]
fn a_timeout_is_never_early_by_a_tick() {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    for millis in (1..=30).chain([31, 47, 63]) {
        let timeout = Duration::from_micros(millis * 1000 - 100);
        let start = Instant::now();
        poll.poll(&mut events, Some(timeout)).unwrap();
        let waited = start.elapsed();
        assert!(waited >= timeout, "{waited:?} for {timeout:?}");
    }
}

/// A refused connection, and an established one, in the same poll.
#[test]
fn a_refused_connection_does_not_disturb_another() {
    let mut looper = Loop::new(AFD);
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let gone = StdListener::bind("127.0.0.1:0").unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let mut refused = TcpStream::connect(nobody).unwrap();
    let mut taken = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let registry = looper.registry();
    registry
        .register(&mut refused, T, Interest::WRITABLE)
        .unwrap();
    registry
        .register(&mut taken, Token(2), Interest::WRITABLE)
        .unwrap();
    let mut seen = [None; 3];
    looper.until("both", |event| {
        seen[event.token().0] = Some(Seen::of(event));
        seen[1].is_some() && seen[2].is_some()
    });
    let refusal = Seen::named("writable error read_closed write_closed");
    assert_eq!(seen[1], Some(refusal));
    assert_eq!(seen[2], Some(Seen::named("writable")));
    let error = refused.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(taken.peer_addr().is_ok());
}
