//! Edges that a backend has to make itself out of levels: no event is lost, there is no busy loop,
//! each direction is armed alone, and raw descriptors are probed. A test that is meaningful there
//! also runs on the backends whose kernels make edges.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

#[cfg(unix)]
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use mio::net::{UnixDatagram, UnixListener, UnixStream};
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Backend, Interest, IoSource, Token, Waker};
use util::{any_port, patience, pipe, stream_pair, Differences, Loop, Stream};

on_each_backend![
    a_read_that_would_block_does_not_rearm_writing,
    a_write_that_would_block_does_not_rearm_reading,
    try_io_that_would_block_rearms_every_fired_direction,
    every_reading_call_rearms,
    every_writing_call_rearms,
    accepting_rearms,
    #[cfg(unix)]
    accepting_of_unix_rearms,
    a_short_write_brings_the_next_edge,
    a_short_read_brings_the_next_edge,
    a_full_read_or_peek_brings_no_event,
    an_empty_read_brings_no_event,
    a_read_of_the_end_brings_no_event,
    an_interrupted_operation_brings_no_event,
    another_thread_drains_while_the_poll_waits,
    a_read_that_fails_while_another_thread_polls_rearms,
    #[cfg(unix)]
    a_raw_descriptor_is_reported_again,
    #[cfg(unix)]
    a_raw_descriptor_drained_during_a_wait_is_armed_again,
    #[cfg(unix)]
    a_probed_registration_has_one_event_a_poll,
    #[cfg(unix)]
    a_raw_descriptor_drained_and_filled_between_polls_is_reported,
    #[cfg(unix)]
    a_raw_descriptor_that_is_always_ready_does_not_spin,
    #[cfg(unix)]
    draining_a_raw_descriptor_resets_its_pause,
    #[cfg(unix)]
    registering_a_raw_descriptor_again_replaces_its_registration,
    #[cfg(unix)]
    a_closed_raw_descriptor_is_reported_once,
    #[cfg(unix)]
    collected_events_are_returned_before_an_error,
    #[cfg(unix)]
    files_are_always_ready_where_they_can_be_registered,
    a_hang_up_does_not_spin,
    #[cfg_attr(windows, ignore = "Wine reports a refused datagram as an end as well")]
    an_error_does_not_spin,
    after_a_hang_up_a_source_can_be_changed_and_deregistered,
    #[cfg_attr(windows, ignore = "Wine reports a refused datagram as an end as well")]
    a_second_error_is_reported,
    #[cfg(unix)]
    a_named_pipe_is_reported_when_a_new_writer_comes,
    #[cfg(unix)]
    a_named_pipe_is_reported_when_a_new_writer_comes_between_polls,
    a_socket_connected_after_registering_is_reported_writable,
    #[cfg(unix)]
    a_read_that_would_block_after_a_hang_up_rearms,
    an_end_behind_unread_data_is_reported,
    #[cfg(unix)]
    a_small_buffer_is_shared_with_raw_descriptors,
    #[cfg(unix)]
    polling_works_below_a_lowered_descriptor_limit,
    #[cfg(unix)]
    polling_works_beyond_a_lowered_descriptor_limit,
    #[cfg(unix)]
    probing_works_beyond_a_lowered_descriptor_limit,
    a_poll_with_timeout_zero_ends_while_other_threads_register,
    waiting_with_latched_sources_takes_no_processor_time,
    #[cfg(unix)]
    dropping_in_a_forked_child_does_not_hang,
    the_timeout_does_not_start_over_when_sources_are_registered,
    a_poll_interrupted_by_registering_continues_to_wait,
    dropping_a_source_while_the_poll_waits_closes_it,
    a_free_slot_goes_to_one_source,
    tokens_of_deregistered_sources_never_come,
    registering_many_while_the_poll_waits,
    #[cfg(unix)]
    a_source_does_not_act_on_the_next_holder_of_its_slot,
    #[cfg(unix)]
    a_named_pipe_is_writable_when_a_new_reader_comes,
    #[cfg(unix)]
    a_read_that_would_block_after_a_hang_up_rearms_during_a_wait,
    #[cfg(unix)]
    no_more_events_than_capacity_with_raw_descriptors,
    a_source_whose_descriptor_was_closed_is_reported,
    #[cfg(unix)]
    a_probe_that_finds_readiness_ends_the_wait,
    stale_readiness_is_not_reported_of_the_next_source,
];

const T: Token = Token(1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn pair(looper: &Loop, interest: Interest) -> (Stream, Stream) {
    let (mut one, other) = stream_pair();
    looper.registry().register(&mut one, T, interest).unwrap();
    (one, other)
}

#[track_caller]
fn would_block<R: std::fmt::Debug>(result: std::io::Result<R>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Reads, or sends, until it would block.
fn drain(mut stream: impl Read) -> usize {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => all.len(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            all.len()
        }
    }
}

fn fill(mut stream: impl Write) -> usize {
    let mut sent = 0;
    loop {
        match stream.write(&[7; 4096]) {
            Ok(length) => sent += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
}

/// Otherwise a program that reads until it would block gets a writable event in return, reads
/// again, and never rests.
fn a_read_that_would_block_does_not_rearm_writing(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, BOTH);
    looper.until_writable(T);
    for _ in 0..3 {
        would_block((&one).read(&mut [0; 8]));
        looper.assert_nothing_ready();
    }
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
}

fn a_write_that_would_block_does_not_rearm_reading(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, BOTH);
    other.write_all(b"not read").unwrap();
    looper.until_readable(T);
    fill(&one);
    looper.assert_quiet();
    drain(&other);
    looper.until_writable(T);
}

fn try_io_that_would_block_rearms_every_fired_direction(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, BOTH);
    looper.until_writable(T);
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    let mut buffer = [0; 1];
    one.try_io(|| (&one).read(&mut buffer)).unwrap();
    would_block(one.try_io(|| {
        // By a call of its own, which nothing reports.
        Err::<(), _>(ErrorKind::WouldBlock.into())
    }));
    other.write_all(b"y").unwrap();
    looper.until_readable(T);
}

fn every_reading_call_rearms(backend: Backend) {
    type Call<S> = fn(&S, &mut [u8]) -> std::io::Result<usize>;
    let mut buffer = [0; 16];

    let streams: [Call<Stream>; 4] = [
        |stream, buffer| (&*stream).read(buffer),
        |stream, buffer| {
            let parts = &mut [std::io::IoSliceMut::new(buffer)];
            (&*stream).read_vectored(parts)
        },
        |stream, buffer| stream.try_io(|| (&*stream).read(buffer)),
        |stream, buffer| stream.try_io_with(Interest::READABLE, || (&*stream).read(buffer)),
    ];
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    for call in streams {
        other.write_all(b"x").unwrap();
        looper.until_readable(T);
        assert_eq!(call(&one, &mut buffer).unwrap(), 1);
        would_block(call(&one, &mut buffer));
    }

    #[cfg(unix)]
    {
        let datagrams: [Call<UnixDatagram>; 2] = [
            |socket, buffer| socket.recv(buffer),
            |socket, buffer| socket.recv_from(buffer).map(|(length, _)| length),
        ];
        let mut looper = Loop::new(backend);
        let (mut one, other) = UnixDatagram::pair().unwrap();
        looper
            .registry()
            .register(&mut one, T, Interest::READABLE)
            .unwrap();
        for call in datagrams {
            other.send(b"x").unwrap();
            looper.until_readable(T);
            assert_eq!(call(&one, &mut buffer).unwrap(), 1);
            would_block(call(&one, &mut buffer));
        }
    }

    let mut looper = Loop::new(backend);
    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    for _ in 0..3 {
        sender.write_all(b"x").unwrap();
        looper.until_readable(T);
        assert_eq!(receiver.read(&mut buffer).unwrap(), 1);
        would_block(receiver.read(&mut buffer));
    }
    // `tcp.rs` and `udp.rs` test TCP's `peek` and UDP's four methods.
}

fn every_writing_call_rearms(backend: Backend) {
    type Call<S> = fn(&S) -> std::io::Result<usize>;
    let streams: [Call<Stream>; 3] = [
        |stream| (&*stream).write(&[1; 4096]),
        |stream| (&*stream).write_vectored(&[std::io::IoSlice::new(&[1; 4096])]),
        |stream| stream.try_io_with(Interest::WRITABLE, || (&*stream).write(&[1; 4096])),
    ];
    let mut looper = Loop::new(backend);
    let (one, other) = pair(&looper, Interest::WRITABLE);
    for call in streams {
        looper.until_writable(T);
        while call(&one).is_ok() {}
        would_block(call(&one));
        drain(&other);
    }
    looper.until_writable(T);

    #[cfg(unix)]
    if util::full_datagram_peer() == libc::EAGAIN {
        let mut looper = Loop::new(backend);
        let (mut one, other) = UnixDatagram::pair().unwrap();
        looper
            .registry()
            .register(&mut one, T, Interest::WRITABLE)
            .unwrap();
        for _ in 0..3 {
            looper.until_writable(T);
            while one.send(&[1; 512]).is_ok() {}
            would_block(one.send(&[1; 512]));
            while other.recv(&mut [0; 512]).is_ok() {}
        }
        looper.until_writable(T);
    }
}

fn accepting_rearms(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut tcp = TcpListener::bind(any_port()).unwrap();
    looper
        .registry()
        .register(&mut tcp, Token(1), Interest::READABLE)
        .unwrap();
    for _ in 0..3 {
        let _client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        looper.until_readable(Token(1));
        tcp.accept().unwrap();
        would_block(tcp.accept());
    }
}

#[cfg(unix)]
fn accepting_of_unix_rearms(backend: Backend) {
    let mut looper = Loop::new(backend);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut unix = UnixListener::bind(&path).unwrap();
    looper
        .registry()
        .register(&mut unix, Token(2), Interest::READABLE)
        .unwrap();
    for _ in 0..3 {
        let _client = UnixStream::connect(&path).unwrap();
        looper.until_readable(Token(2));
        unix.accept().unwrap();
        would_block(unix.accept());
    }
}

/// Runtimes take a short write for a sign that there is no capacity, and wait.
fn a_short_write_brings_the_next_edge(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, other) = pair(&looper, Interest::WRITABLE);
    looper.until_writable(T);
    let large = vec![1; 16 << 20];
    let written = (&one).write(&large).unwrap();
    // Windows takes all data, whatever its size, or none.
    let is_short = written < large.len();
    assert!(is_short || cfg!(windows), "the write was meant to be short");
    if !is_short {
        would_block((&one).write(b"x"));
    }
    let deadline = Instant::now() + util::patience();
    let mut received = 0;
    while received < written {
        assert!(Instant::now() < deadline, "{received} of {written}");
        received += drain(&other);
    }
    assert_eq!(received, written);
    looper.until_writable(T);
}

fn a_short_read_brings_the_next_edge(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    for _ in 0..3 {
        other.write_all(b"short").unwrap();
        looper.until_readable(T);
        assert_eq!((&one).read(&mut [0; 64]).unwrap(), 5);
    }
}

/// The program goes on reading. An event for what it has not read yet would be in vain.
fn a_full_read_or_peek_brings_no_event(backend: Backend) {
    let mut looper = Loop::new(backend);
    let listener = std::net::TcpListener::bind(any_port()).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    looper.register(&mut stream, T, Interest::READABLE);
    peer.write_all(b"12345678").unwrap();
    // Until all have arrived, which is perhaps not at once.
    let mut buffer = [0; 8];
    let deadline = Instant::now() + patience();
    while !matches!(stream.peek(&mut buffer), Ok(8)) {
        assert!(Instant::now() < deadline, "not all of them arrive");
    }
    looper.reregister(&mut stream, T, Interest::READABLE);
    looper.until_readable(T);
    assert_eq!(stream.peek(&mut buffer[..4]).unwrap(), 4);
    looper.assert_quiet();
    assert_eq!(stream.read(&mut buffer[..4]).unwrap(), 4);
    looper.assert_quiet();
    // With nothing behind it.
    assert_eq!(stream.peek(&mut buffer[..4]).unwrap(), 4);
    looper.assert_quiet();
}

fn an_empty_read_brings_no_event(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    assert_eq!((&one).read(&mut []).unwrap(), 0);
    looper.assert_quiet();

    let (mut sender, mut receiver) = pipe::new().unwrap();
    looper.register(&mut receiver, T, Interest::READABLE);
    sender.write_all(b"x").unwrap();
    looper.until_readable(T);
    assert_eq!(receiver.read(&mut []).unwrap(), 0);
    looper.assert_quiet();
}

/// It was reported, and it lasts.
fn a_read_of_the_end_brings_no_event(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, other) = pair(&looper, Interest::READABLE);
    other.shutdown(std::net::Shutdown::Write).unwrap();
    // All of it: it may come in parts.
    let end = match backend.reports_half_close() {
        true => "readable read_closed",
        false => "readable",
    };
    looper.until_reported(T, util::Seen::named(end));
    for _ in 0..3 {
        assert_eq!((&one).read(&mut [0; 8]).unwrap(), 0);
        looper.assert_quiet();
    }
}

/// The program repeats it.
fn an_interrupted_operation_brings_no_event(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = stream_pair();
    let mut source = IoSource::new(one);
    looper.register(&mut source, T, Interest::READABLE);
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    let interrupted = source.do_io(Interest::READABLE, |_| -> std::io::Result<()> {
        Err(ErrorKind::Interrupted.into())
    });
    assert_eq!(interrupted.unwrap_err().kind(), ErrorKind::Interrupted);
    looper.assert_quiet();
}

fn another_thread_drains_while_the_poll_waits(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let rounds = if util::slowness() > 1 { 20 } else { 500 };
    other.write_all(b"x").unwrap();
    let (readable, is_readable) = std::sync::mpsc::channel();
    let draining = thread::spawn(move || {
        for () in is_readable {
            drain(&one);
            // The poll has to learn that the stream was drained, wherever the stream was moved to.
            other.write_all(b"x").unwrap();
        }
        (one, other, waker)
    });
    for _ in 0..rounds {
        looper.until_readable(T);
        readable.send(()).unwrap();
    }
    drop(readable);
    draining.join().unwrap();
}

/// The read may have drained the stream, and does not report it.
fn a_read_that_fails_while_another_thread_polls_rearms(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    other.write_all(b"x").unwrap();
    looper.until_readable(T);

    let (about_to_wait, waits) = std::sync::mpsc::channel();
    let polling = thread::spawn(move || {
        about_to_wait.send(util::this_thread()).unwrap();
        looper.until("the second byte", |event| {
            assert_eq!(event.token(), T, "an event of another source");
            event.is_readable()
        });
    });
    util::until_asleep(waits.recv().unwrap());
    let failed = one.try_io(|| {
        (&one).read_exact(&mut [0; 1])?;
        Err::<(), _>(ErrorKind::Other.into())
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Other);
    other.write_all(b"y").unwrap();
    polling.join().unwrap();
}

/// A descriptor whose I/O nothing reports.
#[cfg(unix)]
fn raw_pair(looper: &Loop, interest: Interest) -> (File, File) {
    let (one, other) = stream_pair();
    let (one, other) = (
        File::from(OwnedFd::from(one)),
        File::from(OwnedFd::from(other)),
    );
    looper
        .registry()
        .register(&mut SourceFd(&one.as_raw_fd()), T, interest)
        .unwrap();
    (one, other)
}

#[cfg(unix)]
fn a_raw_descriptor_is_reported_again(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = raw_pair(&looper, Interest::READABLE);
    for _ in 0..20 {
        other.write_all(b"x").unwrap();
        looper.until_readable(T);
        drain(&one);
    }
}

#[cfg(unix)]
fn a_raw_descriptor_drained_during_a_wait_is_armed_again(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = raw_pair(&looper, Interest::READABLE);
    let rounds = if util::slowness() > 1 { 5 } else { 30 };
    other.write_all(b"x").unwrap();
    let (readable, is_readable) = std::sync::mpsc::channel();
    let draining = thread::spawn(move || {
        for () in is_readable {
            drain(&one);
            other.write_all(b"x").unwrap();
        }
        (one, other)
    });
    for _ in 0..rounds {
        looper.until_readable(T);
        readable.send(()).unwrap();
    }
    drop(readable);
    draining.join().unwrap();
}

/// The kernel does not report again what a probe has seen: a program may stop at the first of the
/// events.
#[cfg(unix)]
fn a_probed_registration_has_one_event_a_poll(backend: Backend) {
    for _ in 0..20 {
        let mut looper = Loop::new(backend);
        let (one, mut other) = raw_pair(&looper, Interest::READABLE);
        other.write_all(b"x").unwrap();
        looper.until_readable(T);
        drain(&one);
        drop(other);
        looper
            .poll
            .poll_until(&mut looper.events, Some(Instant::now() + util::patience()))
            .unwrap();
        assert_eq!(looper.events.iter().count(), 1, "{:?}", looper.events);
    }
}

#[cfg(unix)]
fn a_raw_descriptor_drained_and_filled_between_polls_is_reported(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = raw_pair(&looper, Interest::READABLE);
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    for _ in 0..20 {
        drain(&one);
        other.write_all(b"x").unwrap();
        looper.until_readable(T);
    }
}

/// About 16 events a second, once it has been ready for a while, and no polls in between.
#[cfg(unix)]
fn a_raw_descriptor_that_is_always_ready_does_not_spin(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (_one, _other) = raw_pair(&looper, BOTH);
    let mut events = 0;
    let mut polls = 0;
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        events += looper.events.iter().count();
        polls += 1;
    }
    // 8 while the pauses grow to 64 ms, and one every 64 ms after that.
    assert!((1..=20).contains(&events), "{events} events");
    assert!(polls <= 22, "{polls} polls");
}

/// The pauses start again after it was drained: a stream that is drained every 5 ms stays fast.
#[cfg(unix)]
fn draining_a_raw_descriptor_resets_its_pause(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = raw_pair(&looper, Interest::READABLE);
    // A burst that is not drained, so that the pauses grow.
    other.write_all(b"burst").unwrap();
    let end = Instant::now() + Duration::from_millis(150);
    while Instant::now() < end {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
    }
    drain(&one);
    let mut delays: Vec<Duration> = (0..15)
        .map(|_| {
            let waiting = Instant::now() + Duration::from_millis(5);
            looper
                .poll
                .poll_until(&mut looper.events, Some(waiting))
                .unwrap();
            let start = Instant::now();
            other.write_all(b"x").unwrap();
            looper.until_readable(T);
            let delay = start.elapsed();
            drain(&one);
            delay
        })
        .collect();
    delays.sort();
    let median = delays[delays.len() / 2];
    assert!(
        median < Duration::from_millis(10) * util::slowness(),
        "{delays:?}"
    );
}

/// To a table, a descriptor that was closed and reused looks like one that is registered twice.
/// epoll can tell them apart.
#[cfg(unix)]
fn registering_a_raw_descriptor_again_replaces_its_registration(backend: Backend) {
    if !backend.keeps_a_table() {
        return;
    }
    let mut looper = Loop::new(backend);
    let (one, _other) = raw_pair(&looper, Interest::READABLE);
    looper
        .registry()
        .register(&mut SourceFd(&one.as_raw_fd()), Token(2), BOTH)
        .unwrap();
    looper.until("the new token", |event| {
        assert_eq!(event.token(), Token(2));
        event.is_writable()
    });
    looper
        .registry()
        .deregister(&mut SourceFd(&one.as_raw_fd()))
        .unwrap();
    looper.assert_quiet();

    // But it does not replace the registration of a source, which is known to be registered.
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let fd = socket.as_raw_fd();
    looper
        .registry()
        .register(&mut socket, Token(3), BOTH)
        .unwrap();
    let error = looper
        .registry()
        .register(&mut SourceFd(&fd), Token(4), BOTH)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[cfg(unix)]
fn a_closed_raw_descriptor_is_reported_once(backend: Backend) {
    if !backend.takes_everything() {
        return; // see `files_and_closed_descriptors_are_refused` in `registering.rs`
    }
    let looper = Loop::new(backend);
    let error = looper
        .registry()
        .register(&mut SourceFd(&-1), T, BOTH)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));

    // One is closed when it is registered, and no call looks up the other.
    const DEAD: [i32; 2] = [100_000, 1_000_000_000];
    for dead in DEAD {
        let mut looper = Loop::new(backend);
        let mut source = SourceFd(&dead);
        let registry = looper.registry();
        registry
            .register(&mut source, T, Interest::READABLE)
            .unwrap();
        let expected = util::Seen::named("readable writable error");
        looper.until_reported(T, expected);
        looper.assert_quiet();
        // Until it is registered again.
        looper.registry().reregister(&mut source, T, BOTH).unwrap();
        looper.until_reported(T, expected);
        looper.assert_quiet();
        looper.registry().deregister(&mut source).unwrap();
        let error = looper.registry().deregister(&mut source).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

/// A descriptor was found closed, and then probing others fails.
#[cfg(unix)]
fn collected_events_are_returned_before_an_error(backend: Backend) {
    let finds_out_early = backend.keeps_a_table() && !backend.takes_everything();
    // On a real system of this kind no call can be refused.
    if !finds_out_early || !util::ON_A_MODEL {
        return;
    }
    if !util::in_child(backend, "collected_events_are_returned_before_an_error") {
        return;
    }
    let mut looper = Loop::new(backend);
    let file = tempfile::tempfile().unwrap();
    let raw = Token(2);
    looper
        .registry()
        .register(&mut SourceFd(&file.as_raw_fd()), raw, Interest::READABLE)
        .unwrap();
    looper.until_readable(raw);

    let (mut sender, receiver) = pipe::new().unwrap();
    // SAFETY: closing it while it is in use is what this tests. The process opens nothing
    // afterwards, so the descriptor is not reused.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(receiver.as_raw_fd()) };
    let mut source = IoSource::new(borrowed);
    looper
        .registry()
        .register(&mut source, T, Interest::READABLE)
        .unwrap();
    sender.write_all(b"x").unwrap();
    looper.until_readable(T);
    drop(receiver);
    let blocked = source.do_io(Interest::READABLE, |_| {
        Err::<(), _>(ErrorKind::WouldBlock.into())
    });
    would_block(blocked);

    #[cfg(mio_model = "event-ports")]
    util::refuse(libc::SYS_poll, Some(libc::ENOMEM));
    let at_once = Some(Duration::ZERO);
    looper.poll.poll(&mut looper.events, at_once).unwrap();
    assert!(looper.events.iter().any(|event| event.token() == T));
    let error = looper.poll.poll(&mut looper.events, at_once).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    assert!(looper.events.is_empty());
}

#[cfg(unix)]
fn files_are_always_ready_where_they_can_be_registered(backend: Backend) {
    if !backend.keeps_a_table() {
        return;
    }
    let mut looper = Loop::new(backend);
    let mut file = IoSource::new(tempfile::tempfile().unwrap());
    looper.registry().register(&mut file, T, BOTH).unwrap();
    looper.until_reported(T, util::Seen::named("readable writable"));
    looper.assert_quiet();
}

/// The number of events in the time, for a source that the program does not touch.
fn events_in(looper: &mut Loop, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut polls = 0;
    let mut events = 0;
    while Instant::now() < end {
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        events += looper.events.iter().count();
        polls += 1;
        assert!(polls < 100, "a busy loop");
    }
    events
}

fn a_hang_up_does_not_spin(backend: Backend) {
    for interest in [BOTH, Interest::READABLE, Interest::WRITABLE] {
        let mut looper = Loop::new(backend);
        let (_one, other) = pair(&looper, interest);
        if interest.is_writable() {
            looper.until_writable(T);
        }
        util::hang_up(other);
        let events = events_in(&mut looper, util::A_WHILE);
        let in_parts = backend.reports_in_parts() && events == 2;
        // It was writable before.
        let is_new = backend.reports_ends_of_sockets() || interest.is_readable();
        assert!(events == usize::from(is_new) || in_parts, "{events} events");
    }
    // There is nothing to read, so reading is still armed.
    let mut looper = Loop::new(backend);
    let (sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    drop(sender);
    assert_eq!(events_in(&mut looper, 3 * util::A_WHILE), 1);
}

fn an_error_does_not_spin(backend: Backend) {
    let mut looper = Loop::new(backend);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    socket.connect(util::unused_address()).unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    socket.send(b"anybody?").unwrap();
    looper.until("the error", |event| util::is_refusal(backend, event));
    assert_eq!(events_in(&mut looper, 3 * util::A_WHILE), 0);
    // Reading is armed again after the error was picked up, although no read would have blocked.
    match cfg!(unix) {
        true => assert!(socket.take_error().unwrap().is_some()),
        false => assert!(socket.recv(&mut [0; 8]).is_err()),
    }
    let peer = UdpSocket::bind(any_port()).unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    peer.send_to(b"I am", socket.local_addr().unwrap()).unwrap();
    looper.until_readable(T);
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
}

fn after_a_hang_up_a_source_can_be_changed_and_deregistered(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut one, other) = pair(&looper, BOTH);
    util::hang_up(other);
    let is_reported = backend.reports_ends_of_sockets();
    looper.until("the hang-up", |event| match is_reported {
        true => event.is_write_closed(),
        false => event.is_readable(),
    });
    looper
        .registry()
        .reregister(&mut one, Token(2), BOTH)
        .unwrap();
    let all = util::Seen::named(match is_reported {
        true => "readable writable read_closed write_closed",
        false => "readable writable",
    });
    looper.until_reported(Token(2), all);
    looper.registry().deregister(&mut one).unwrap();
    looper.assert_quiet();
}

/// A named pipe hangs up when its last writer leaves, and works again with the next one. In between
/// a read returns 0, and never `WouldBlock`.
#[cfg(unix)]
fn a_named_pipe_is_reported_when_a_new_writer_comes(backend: Backend) {
    let (mut receiver, path, _folder) = util::named_pipe();
    let mut looper = Loop::new(backend);
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    let writer = || File::options().write(true).open(&path).unwrap();
    for round in 0..3 {
        writer().write_all(b"x").unwrap();
        looper.until_readable(T);
        let mut buffer = [0; 1];
        assert_eq!(receiver.read(&mut buffer).unwrap(), 1, "round {round}");
        assert_eq!(receiver.read(&mut buffer).unwrap(), 0, "round {round}");
        // The hang-up may have an event of its own.
        events_in(&mut looper, util::A_WHILE);
    }
}

/// A call that fails picks the first one up, and no call would block.
fn a_second_error_is_reported(backend: Backend) {
    // `take_error` takes it on Unix only.
    let takes: &[bool] = match cfg!(unix) {
        true => &[false, true],
        false => &[false],
    };
    for &take in takes {
        let mut looper = Loop::new(backend);
        let mut socket = UdpSocket::bind(any_port()).unwrap();
        socket.connect(util::unused_address()).unwrap();
        looper
            .registry()
            .register(&mut socket, T, Interest::READABLE)
            .unwrap();
        for _ in 0..3 {
            socket.send(b"anybody?").unwrap();
            looper.until("the error", |event| util::is_refusal(backend, event));
            let error = match take {
                true => socket.take_error().unwrap().unwrap(),
                false => socket.recv(&mut [0; 8]).unwrap_err(),
            };
            assert_eq!(error.kind(), util::REFUSED_DATAGRAM);
        }
    }
}

/// Before the poll has seen anything of the end.
#[cfg(unix)]
fn a_named_pipe_is_reported_when_a_new_writer_comes_between_polls(backend: Backend) {
    for keep in [false, true] {
        let (mut receiver, path, _folder) = util::named_pipe();
        let mut looper = Loop::new(backend);
        looper
            .registry()
            .register(&mut receiver, T, Interest::READABLE)
            .unwrap();
        let writer = || File::options().write(true).open(&path).unwrap();
        writer().write_all(b"x").unwrap();
        let mut buffer = [0; 1];
        for _ in 0..3 {
            looper.until_readable(T);
            assert_eq!(receiver.read(&mut buffer).unwrap(), 1);
            assert_eq!(receiver.read(&mut buffer).unwrap(), 0);
            let mut next = writer();
            next.write_all(b"y").unwrap();
            let kept = keep.then_some(next);
            looper.until_readable(T);
            assert_eq!(receiver.read(&mut buffer).unwrap(), 1);
            drop(kept);
            assert_eq!(receiver.read(&mut buffer).unwrap(), 0);
            writer().write_all(b"z").unwrap();
        }
    }
}

fn a_socket_connected_after_registering_is_reported_writable(backend: Backend) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(socket.into());
    let mut looper = Loop::new(backend);
    looper.registry().register(&mut stream, T, BOTH).unwrap();
    if backend.reports_unconnected() {
        looper.until("the hang-up", |event| event.is_write_closed());
    }
    events_in(&mut looper, util::A_WHILE);
    let connecting =
        socket2::SockRef::from(&stream).connect(&listener.local_addr().unwrap().into());
    #[cfg(unix)]
    let in_progress = libc::EINPROGRESS;
    #[cfg(windows)]
    let in_progress = windows_sys::Win32::Networking::WinSock::WSAEWOULDBLOCK;
    assert_eq!(connecting.unwrap_err().raw_os_error(), Some(in_progress));
    looper.until("the connection", |event| {
        event.is_writable() && !event.is_write_closed()
    });
    assert!(stream.peer_addr().is_ok());
}

/// A registered socket that was reported as hung up and still receives, as on Linux.
#[cfg(unix)]
fn hung_up(backend: Backend) -> (Loop, UdpSocket, UdpSocket) {
    let mut looper = Loop::new(backend);
    let mut socket = UdpSocket::bind(any_port()).unwrap();
    let peer = UdpSocket::bind(any_port()).unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    looper
        .registry()
        .register(&mut socket, T, Interest::READABLE)
        .unwrap();
    socket2::SockRef::from(&socket)
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
    looper.until("the hang-up", |event| event.is_read_closed());
    (looper, socket, peer)
}

#[cfg(unix)]
fn a_read_that_would_block_after_a_hang_up_rearms(backend: Backend) {
    if !util::shut_down_sockets_receive(backend) {
        return;
    }
    let (mut looper, socket, peer) = hung_up(backend);
    // On Linux a UDP socket that was shut down still receives.
    would_block(socket.recv(&mut [0; 8]));
    peer.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    looper.until_readable(T);
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
}

/// Otherwise a program that stops reading for a while, because it has enough, does not learn that
/// its peer has gone.
fn an_end_behind_unread_data_is_reported(backend: Backend) {
    if !backend.reports_half_close() {
        return; // reading the data finds it
    }
    let mut looper = Loop::new(backend);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    other.write_all(b"not read").unwrap();
    looper.until_readable(T);
    looper.assert_quiet();
    if util::under_wine() {
        // Wine's driver reports the end only after all data was read.
        drain(&one);
    }
    other.shutdown(std::net::Shutdown::Write).unwrap();
    looper.until("the end", |event| {
        event.is_readable() && event.is_read_closed()
    });
    looper.assert_quiet();
}

/// The program takes longer over each event than the longest pause, so the raw descriptors are due
/// each time.
#[cfg(unix)]
fn a_small_buffer_is_shared_with_raw_descriptors(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 1);
    let raw: Vec<_> = (0..3)
        .map(|n| {
            let (one, other) = stream_pair();
            let one = File::from(OwnedFd::from(one));
            let fd = one.as_raw_fd();
            looper
                .registry()
                .register(&mut SourceFd(&fd), Token(10 + n), Interest::WRITABLE)
                .unwrap();
            (one, other)
        })
        .collect();
    // Probed descriptors have another turn.
    let turns = if backend.keeps_a_table() { 2 } else { 1 };
    let mut waiting = vec![Token(0), Token(1)];
    waiting.extend([Token(10), Token(11), Token(12)].repeat(turns));
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let (_one, mut other) = pair(&looper, Interest::READABLE);
    for turn in 0..40 {
        if turn == 5 {
            waker.wake().unwrap();
            other.write_all(b"x").unwrap();
        }
        let end = Instant::now() + Duration::from_millis(10);
        looper
            .poll
            .poll_until(&mut looper.events, Some(end))
            .unwrap();
        for event in &looper.events {
            let first = waiting.iter().position(|&token| token == event.token());
            first.map(|index| waiting.remove(index));
        }
        if waiting.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(70));
    }
    drop(raw);
    assert_eq!(waiting, [], "were starved");
}

/// The token of the `n`th receiver is `n`.
#[cfg(unix)]
fn registered_pipes(looper: &Loop, count: usize) -> Vec<(pipe::Sender, pipe::Receiver)> {
    let register = |n| {
        let (sender, mut receiver) = pipe::new().unwrap();
        looper
            .registry()
            .register(&mut receiver, Token(n), Interest::READABLE)
            .unwrap();
        (sender, receiver)
    };
    (0..count).map(register).collect()
}

/// poll(2) takes no more descriptors than the process may open.
#[cfg(unix)]
fn polling_works_below_a_lowered_descriptor_limit(backend: Backend) {
    if !util::in_child(backend, "polling_works_below_a_lowered_descriptor_limit") {
        return;
    }
    let mut looper = Loop::new(backend);
    let mut pipes = registered_pipes(&looper, 100);
    pipes.truncate(5);
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(40, hard).unwrap();
    looper.assert_quiet();
    pipes[4].0.write_all(b"x").unwrap();
    looper.until_readable(Token(4));
}

/// They were registered before the limit was lowered, and each of them is still reported.
#[cfg(unix)]
fn polling_works_beyond_a_lowered_descriptor_limit(backend: Backend) {
    if !util::in_child(backend, "polling_works_beyond_a_lowered_descriptor_limit") {
        return;
    }
    let mut looper = Loop::new(backend);
    let mut pipes = registered_pipes(&looper, 50);
    let waker = Arc::new(Waker::new(looper.registry(), Token(99)).unwrap());
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(7, hard).unwrap();

    for (n, (sender, receiver)) in pipes.iter_mut().enumerate() {
        sender.write_all(b"x").unwrap();
        looper.until_readable(Token(n));
        drain(receiver);
    }
    for _ in 0..3 {
        let other = Arc::clone(&waker);
        let thread = thread::spawn(move || other.wake());
        looper.until_readable(Token(99));
        thread.join().unwrap().unwrap();
    }
    // It waits for its timeout, without repeated system calls.
    let (start, spent) = (Instant::now(), util::processor_time());
    let timeout = Duration::from_millis(300);
    looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
    let took = start.elapsed();
    assert!(looper.events.is_empty());
    assert!(took >= timeout, "{took:?}");
    let spent = util::processor_time() - spent;
    assert!(spent * 4 < took * util::slowness(), "{spent:?} of {took:?}");
}

/// Raw descriptors, which are reported again while they are ready.
#[cfg(unix)]
fn probing_works_beyond_a_lowered_descriptor_limit(backend: Backend) {
    if !util::in_child(backend, "probing_works_beyond_a_lowered_descriptor_limit") {
        return;
    }
    let mut looper = Loop::new(backend);
    let pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
    for (n, (one, _)) in pairs.iter().enumerate() {
        let fd = one.as_raw_fd();
        looper
            .registry()
            .register(&mut SourceFd(&fd), Token(n), Interest::WRITABLE)
            .unwrap();
    }
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(7, hard).unwrap();
    // Kernels that report edges report them once.
    let rounds = match backend {
        Backend::Poll | Backend::EventPorts => 3,
        _ => 1,
    };
    for _ in 0..rounds {
        let mut writable = 0;
        looper.until("all of them once more", |event| {
            assert!(event.is_writable());
            writable += 1;
            writable == pairs.len()
        });
    }
}

fn a_poll_with_timeout_zero_ends_while_other_threads_register(backend: Backend) {
    let mut looper = Loop::new(backend);
    let done = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let registry = looper.registry().try_clone().unwrap();
            let done = Arc::clone(&done);
            thread::spawn(move || {
                let (_sender, mut receiver) = pipe::new().unwrap();
                while !done.load(Ordering::Acquire) {
                    registry
                        .register(&mut receiver, T, Interest::READABLE)
                        .unwrap();
                    registry.deregister(&mut receiver).unwrap();
                }
            })
        })
        .collect();
    for _ in 0..200 {
        looper.assert_nothing_ready();
    }
    done.store(true, Ordering::Release);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// There is no loop inside a wait either: a second of it takes next to no processor time.
fn waiting_with_latched_sources_takes_no_processor_time(backend: Backend) {
    // A pipe or stream that hung up, an error that is not picked up, a raw descriptor that is
    // always ready.
    let (sender, mut hung_up) = pipe::new().unwrap();
    drop(sender);
    let mut failed = UdpSocket::bind(any_port()).unwrap();
    failed.connect(util::unused_address()).unwrap();
    failed.send(b"anybody?").unwrap();
    let mut looper = Loop::new(backend);
    let registry = looper.registry();
    registry
        .register(&mut hung_up, Token(2), Interest::READABLE)
        .unwrap();
    registry
        .register(&mut failed, Token(3), Interest::READABLE)
        .unwrap();
    #[cfg(unix)]
    let _ready = raw_pair(&looper, BOTH);

    let before = util::processor_time();
    events_in(&mut looper, Duration::from_millis(400));
    let spent = util::processor_time() - before;
    assert!(
        spent < Duration::from_millis(80) * util::slowness(),
        "{spent:?} of 400 ms"
    );
}

/// The child has inherited the locks of the parent's threads in whatever state they were.
#[cfg(unix)]
fn dropping_in_a_forked_child_does_not_hang(backend: Backend) {
    if !util::in_child(backend, "dropping_in_a_forked_child_does_not_hang") {
        return;
    }
    let looper = Loop::new(backend);
    let (_sender, mut receiver) = pipe::new().unwrap();
    looper
        .registry()
        .register(&mut receiver, T, Interest::READABLE)
        .unwrap();
    let mut receiver = Some(receiver);
    let registry = looper.registry().try_clone().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let registering = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let (_sender, mut receiver) = pipe::new().unwrap();
            while !done.load(Ordering::Acquire) {
                registry
                    .register(&mut receiver, T, Interest::READABLE)
                    .unwrap();
                registry.deregister(&mut receiver).unwrap();
            }
        }
    });
    for _ in 0..100 {
        // SAFETY: the child closes a descriptor, clears a little memory of its own,
        // and leaves by `_exit`; `alarm` ends it if it hangs.
        let child = unsafe { libc::fork() };
        assert_ne!(child, -1);
        if child == 0 {
            // SAFETY: `alarm` has no memory-safety preconditions.
            unsafe { libc::alarm(10) };
            drop(receiver.take());
            // SAFETY: `_exit` ends the process, and runs no code of it.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child hung");
    }
    done.store(true, Ordering::Release);
    registering.join().unwrap();
}

fn the_timeout_does_not_start_over_when_sources_are_registered(backend: Backend) {
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let registering = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let (_sender, mut receiver) = pipe::new().unwrap();
            // With a limit, in case a wait that starts again never ends.
            let end = Instant::now() + Duration::from_secs(2) * util::slowness();
            while !done.load(Ordering::Acquire) && Instant::now() < end {
                registry
                    .register(&mut receiver, T, Interest::READABLE)
                    .unwrap();
                thread::sleep(Duration::from_millis(1));
                registry.deregister(&mut receiver).unwrap();
            }
        }
    });
    // Long enough for the other thread to run in between, even on a busy machine.
    let timeout = Duration::from_millis(200);
    let start = Instant::now();
    looper.poll.poll(&mut looper.events, Some(timeout)).unwrap();
    let waited = start.elapsed();
    done.store(true, Ordering::Release);
    registering.join().unwrap();
    assert!(looper.events.is_empty());
    assert!(waited >= timeout);
    let most = Duration::from_secs(1) * util::slowness();
    assert!(waited < most, "{waited:?}");
}

/// The kernel keeps a descriptor alive that it is polling. The peer must learn of the end anyway.
fn dropping_a_source_while_the_poll_waits_closes_it(backend: Backend) {
    let mut looper = Loop::new(backend);
    let waker = Arc::new(Waker::new(looper.registry(), Token(0)).unwrap());
    let registry = looper.registry().try_clone().unwrap();
    let waiting = thread::spawn(move || {
        looper.until_readable(Token(0));
    });
    // Time for the kernel to be polling by then. If it is not, the test tests nothing, and does not
    // fail.
    let until_asked = || thread::sleep(util::A_WHILE);
    until_asked();
    for deregister in [true, false] {
        let (mut one, other) = stream_pair();
        registry.register(&mut one, T, Interest::READABLE).unwrap();
        until_asked();
        if deregister {
            registry.deregister(&mut one).unwrap();
        }
        drop(one);
        // A blocking read with a timeout, instead of an event of the same poll.
        let peer = util::into_std(other);
        peer.set_nonblocking(false).unwrap();
        peer.set_read_timeout(Some(patience())).unwrap();
        assert_eq!((&peer).read(&mut [0; 8]).unwrap(), 0);
    }
    waker.wake().unwrap();
    waiting.join().unwrap();
}

/// One thread polls, and another registers and deregisters. A poll that begins after a token was
/// deregistered must not report it.
fn tokens_of_deregistered_sources_never_come(backend: Backend) {
    use std::sync::atomic::AtomicUsize;

    let rounds = if util::slowness() > 1 { 100 } else { 3000 };
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let gone = Arc::new(AtomicUsize::new(0));
    let polling = thread::spawn({
        let gone = Arc::clone(&gone);
        move || loop {
            let gone_before = gone.load(Ordering::SeqCst);
            let end = Instant::now() + patience();
            looper
                .poll
                .poll_until(&mut looper.events, Some(end))
                .unwrap();
            assert!(!looper.events.is_empty(), "waited in vain");
            for event in &looper.events {
                let token = event.token().0;
                assert!(token > gone_before, "{token} is gone, {gone_before} known");
                if token > rounds {
                    return;
                }
            }
        }
    });
    for round in 1..=rounds {
        // A new descriptor each time, which usually has the number of the last one.
        let (mut sender, mut receiver) = pipe::new().unwrap();
        sender.write_all(b"x").unwrap();
        #[cfg(unix)]
        if round % 2 != 0 {
            let fd = receiver.as_raw_fd();
            let mut source = SourceFd(&fd);
            registry
                .register(&mut source, Token(round), Interest::READABLE)
                .unwrap();
            registry.deregister(&mut source).unwrap();
            gone.store(round, Ordering::SeqCst);
            continue;
        }
        registry
            .register(&mut receiver, Token(round), Interest::READABLE)
            .unwrap();
        registry.deregister(&mut receiver).unwrap();
        gone.store(round, Ordering::SeqCst);
    }
    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    registry
        .register(&mut receiver, Token(rounds + 1), Interest::READABLE)
        .unwrap();
    polling.join().unwrap();
}

/// The table grows while the kernel uses it.
fn registering_many_while_the_poll_waits(backend: Backend) {
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let polling = thread::spawn(move || {
        let mut seen = [false; 200];
        looper.until("all of them", |event| {
            seen[event.token().0] = true;
            seen.iter().all(|&seen| seen)
        });
    });
    let pipes: Vec<_> = (0..200)
        .map(|n| {
            let (mut sender, mut receiver) = pipe::new().unwrap();
            registry
                .register(&mut receiver, Token(n), Interest::READABLE)
                .unwrap();
            sender.write_all(b"x").unwrap();
            (sender, receiver)
        })
        .collect();
    polling.join().unwrap();
    drop(pipes);
}

/// After an interruption a poll continues to wait, and does not spin.
fn a_poll_interrupted_by_registering_continues_to_wait(backend: Backend) {
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let (mut one, _other) = stream_pair();
    let long = 10 * util::A_WHILE;
    let polling = thread::spawn(move || {
        let before = util::processor_time();
        looper.until_readable(Token(0));
        let spent = util::processor_time() - before;
        let most = long / 4 * util::slowness();
        assert!(spent < most, "{spent:?} of {long:?}");
    });
    // Usually long enough for the poll to wait. The test does not depend on it.
    thread::sleep(util::A_WHILE);
    registry.register(&mut one, T, Interest::READABLE).unwrap();
    thread::sleep(long);
    waker.wake().unwrap();
    polling.join().unwrap();
}

/// A slot that has become free gets one source only.
fn a_free_slot_goes_to_one_source(backend: Backend) {
    let mut looper = Loop::new(backend);
    let register = |token| {
        let (mut one, mut other) = stream_pair();
        looper
            .registry()
            .register(&mut one, Token(token), Interest::READABLE)
            .unwrap();
        other.write_all(b"x").unwrap();
        (one, other)
    };
    for token in 0..3 {
        let (mut one, _other) = register(token);
        looper.registry().deregister(&mut one).unwrap();
    }
    let both = [register(0), register(1), register(2)];
    for (mut one, _) in both.into_iter().rev() {
        looper.registry().deregister(&mut one).unwrap();
    }
    let _all = [10, 11, 12, 13, 14].map(register);
    let mut seen = [false; 5];
    looper.until("each of them", |event| {
        seen[event.token().0 - 10] = true;
        seen.iter().all(|&seen| seen)
    });
}

/// The remains of one source affect no other source: neither its later reports, nor its late drop.
#[cfg(unix)]
fn a_source_does_not_act_on_the_next_holder_of_its_slot(backend: Backend) {
    let mut looper = Loop::new(backend);
    let (mut old, _old_peer) = stream_pair();
    looper.registry().register(&mut old, T, BOTH).unwrap();
    looper.until_writable(T);
    // Without the source learning of it.
    let fd = old.as_raw_fd();
    looper.registry().deregister(&mut SourceFd(&fd)).unwrap();

    let (mut new, mut new_peer) = stream_pair();
    let registry = looper.registry();
    // However many were registered since.
    for _ in 0..4095 {
        registry
            .register(&mut new, Token(2), Interest::READABLE)
            .unwrap();
        registry.deregister(&mut new).unwrap();
    }
    registry
        .register(&mut new, Token(2), Interest::READABLE)
        .unwrap();
    new_peer.write_all(b"x").unwrap();
    looper.until_readable(Token(2));
    would_block((&old).read(&mut [0; 8]));
    looper.assert_nothing_ready();
    drop(old);
    drain(&new);
    new_peer.write_all(b"y").unwrap();
    looper.until_readable(Token(2));
}

/// That it had no reader before is no longer reported.
#[cfg(unix)]
fn a_named_pipe_is_writable_when_a_new_reader_comes(backend: Backend) {
    use std::os::unix::fs::OpenOptionsExt;

    if !backend.takes_a_pipe_without_receivers() {
        return;
    }
    let (receiver, path, _folder) = util::named_pipe();
    let sender = File::options()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let mut sender = pipe::Sender::from(OwnedFd::from(sender));
    drop(receiver);
    let mut looper = Loop::new(backend);
    let registry = looper.registry();
    registry
        .register(&mut sender, T, Interest::WRITABLE)
        .unwrap();
    let _receiver = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    registry
        .reregister(&mut sender, Token(2), Interest::WRITABLE)
        .unwrap();
    let writable = util::Seen::named(match backend.tells_whether_a_named_pipe_has_receivers() {
        true => "writable",
        false => "writable write_closed",
    });
    assert_eq!(looper.until_reported(Token(2), writable), writable);
    looper.assert_quiet();
}

/// Like `a_read_that_would_block_after_a_hang_up_rearms`, but the poll is waiting already.
#[cfg(unix)]
fn a_read_that_would_block_after_a_hang_up_rearms_during_a_wait(backend: Backend) {
    if !util::shut_down_sockets_receive(backend) {
        return;
    }
    let (mut looper, socket, peer) = hung_up(backend);
    let (about_to_wait, waits) = std::sync::mpsc::channel();
    let polling = thread::spawn(move || {
        about_to_wait.send(util::this_thread()).unwrap();
        looper.until("the datagram", |event| {
            assert_eq!(event.token(), T, "a stale or foreign token");
            event.is_readable()
        });
    });
    util::until_asleep(waits.recv().unwrap());
    would_block(socket.recv(&mut [0; 8]));
    peer.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    polling.join().unwrap();
}

/// Probed descriptors take part of the buffer.
#[cfg(unix)]
fn no_more_events_than_capacity_with_raw_descriptors(backend: Backend) {
    let mut looper = Loop::with_capacity(backend, 3);
    let raw = [raw_pair(&looper, BOTH), raw_pair(&looper, BOTH)];
    looper.until_writable(T);
    let ready = [0; 5].map(|_| {
        let (one, mut other) = pair(&looper, Interest::READABLE);
        other.write_all(b"x").unwrap();
        (one, other)
    });
    for _ in 0..5 {
        // Longer than the longest pause, so that the raw ones are due.
        thread::sleep(Duration::from_millis(70));
        looper
            .poll
            .poll(&mut looper.events, Some(Duration::ZERO))
            .unwrap();
        let count = looper.events.iter().count();
        assert!(count <= 3, "{count} events");
    }
    drop((raw, ready));
}

/// A program that continues to read from it is still informed, if only by an error.
fn a_source_whose_descriptor_was_closed_is_reported(backend: Backend) {
    if !backend.keeps_a_table() {
        return; // its registration has ended
    }
    // In a process of its own, where no other test reuses the descriptor.
    if !util::in_child(backend, "a_source_whose_descriptor_was_closed_is_reported") {
        return;
    }
    for is_reported in [true, false] {
        closed_behind_its_source(backend, is_reported);
    }
}

/// The closed descriptor was either reported (`is_reported`) or deregistered before.
fn closed_behind_its_source(backend: Backend, is_reported: bool) {
    let mut looper = Loop::new(backend);
    let (one, mut other) = stream_pair();
    let fd = util::raw(&one);
    // SAFETY: closing it while it is in use is what this tests. The process opens nothing
    // afterwards, so the descriptor is not reused.
    let borrowed = unsafe { util::borrow(fd) };
    let mut source = IoSource::new(borrowed);
    looper
        .registry()
        .register(&mut source, T, Interest::READABLE)
        .unwrap();
    other.write_all(b"x").unwrap();
    looper.until_readable(T);
    drop(one);
    let blocked = source.do_io(Interest::READABLE, |_| {
        Err::<(), _>(ErrorKind::WouldBlock.into())
    });
    would_block(blocked);
    if is_reported {
        looper.until_reported(T, util::Seen::named("readable writable error"));
        looper.assert_quiet();
    }
    looper.registry().deregister(&mut source).unwrap();
    looper.assert_quiet();
}

/// A poll that has already collected an event does not wait for others.
#[cfg(unix)]
fn a_probe_that_finds_readiness_ends_the_wait(backend: Backend) {
    if !backend.keeps_a_table() {
        return;
    }
    let mut looper = Loop::new(backend);
    let _ready = raw_pair(&looper, BOTH);
    // Until its pauses are 64 ms.
    events_in(&mut looper, Duration::from_millis(150));
    let delays = (0..5).map(|_| {
        // So that it is due.
        thread::sleep(Duration::from_millis(70));
        let start = Instant::now();
        looper.until_writable(T);
        start.elapsed()
    });
    let best = delays.min().unwrap();
    assert!(best < Duration::from_millis(32), "at best {best:?}");
}

/// A waiting poll learns that a stream has hung up, which is closed by then. Another stream has
/// taken its place, usually with the same descriptor, and that one has not hung up.
fn stale_readiness_is_not_reported_of_the_next_source(backend: Backend) {
    const DOOMED: Token = Token(1);
    const STANDING: Token = Token(2);
    let rounds = match util::slowness() == 1 && util::KNOWS_WHO_SLEEPS {
        true => 1500,
        false => 30,
    };
    let mut looper = Loop::new(backend);
    let registry = looper.registry().try_clone().unwrap();
    let waker = Waker::new(looper.registry(), Token(0)).unwrap();
    let (about_to_poll, polls) = std::sync::mpsc::channel();
    let polling = thread::spawn(move || {
        about_to_poll.send(util::this_thread()).unwrap();
        looper.until("the end of the test", |event| {
            let is_closed = event.is_read_closed() || event.is_write_closed();
            assert!(!(event.token() == STANDING && is_closed), "it stands");
            event.token() == Token(0)
        });
    });
    let poller = polls.recv().unwrap();
    let open = |token| {
        let (mut one, other) = stream_pair();
        registry
            .register(&mut one, token, Interest::READABLE)
            .unwrap();
        (one, other)
    };
    // The other thread polls no longer than this test is patient.
    let end = Instant::now() + util::patience() / 2;
    for _ in 0..rounds {
        if polling.is_finished() || Instant::now() > end {
            break;
        }
        let (one, other) = open(DOOMED);
        util::until_asleep(poller);
        drop(other);
        drop(one);
        let (one, other) = open(STANDING);
        util::until_asleep(poller);
        drop(one);
        drop(other);
    }
    waker.wake().unwrap();
    polling.join().unwrap();
}

/// A source that gives its descriptor up gives its registration up as well.
#[cfg(unix)]
#[test]
fn into_raw_fd_ends_the_registration_in_a_table() {
    let mut looper = Loop::new(Backend::Poll);
    let (one, mut other) = pair(&looper, Interest::READABLE);
    let fd = one.into_raw_fd();
    other.write_all(b"x").unwrap();
    looper.assert_quiet();
    looper
        .registry()
        .register(&mut SourceFd(&fd), Token(2), Interest::READABLE)
        .unwrap();
    looper.until_readable(Token(2));
    // SAFETY: the descriptor was just given up, so nothing else owns it.
    drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
}
