//! A polling thread: it sends back what it reads, on the connections of its poll.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use socket2::SockRef;

use crate::clock::NotRun;
use crate::world::{Connection, Count, Phase, Random, State, World, BUFFER, LISTENER, WAKER};

const TIMEOUTS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
];

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

pub fn run(world: &World, queue: usize, mut poll: Poll) {
    let mut random = Random::new(100 + queue);
    let not_run = NotRun::of_this_thread();
    let mut events = Events::with_capacity(256);
    // A failed `accept` need not be reported again: it is tried again when a descriptor may be free.
    let mut accepts_again = false;
    while world.phase() != Phase::Over {
        let timeout = TIMEOUTS[random.below(TIMEOUTS.len())];
        let began = world.now();
        let before = not_run.get();
        let start = Instant::now();
        let polled = poll.poll(&mut events, Some(timeout));
        let end = Instant::now();
        let while_polling = not_run.get().saturating_sub(before);
        world.polled(queue);
        if let Some(late) = world.clock.judge((start, end), while_polling, timeout) {
            world.problem(late);
        }
        match polled {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                world.problem(format!("polling fails: {error}"));
                return;
            }
            Ok(()) if events.is_empty() && end - start < timeout => {
                let took = end - start;
                world.problem(format!(
                    "a poll of {timeout:?} returned nothing after {took:?}"
                ));
            }
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => accepts_again = !accept(world),
                WAKER => world.woken(queue),
                token => serve(world, queue, token, began),
            }
        }
        if accepts_again {
            accepts_again = !accept(world);
        }
    }
}

/// Accepts all connections that are there. False where no descriptor was left for one.
fn accept(world: &World) -> bool {
    loop {
        match world.listener.accept() {
            Ok((stream, peer)) => {
                // Small, so that it fills up.
                let _ = SockRef::from(&stream).set_send_buffer_size(BUFFER);
                world.add(stream, peer);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error)
                if [Some(libc::EMFILE), Some(libc::ENFILE)].contains(&error.raw_os_error()) =>
            {
                world.count(Count::FailedAccepts, 1);
                return false;
            }
            Err(error) => {
                world.problem(format!("accepting fails: {error}"));
                return true;
            }
        }
    }
}

fn serve(world: &World, queue: usize, token: Token, began: u64) {
    let Some(connection) = world.find(token) else {
        return world.judge_stale(token, began);
    };
    let mut state = connection.state.lock().unwrap();
    if state.stream.is_none() {
        drop(state);
        return world.judge_stale(token, began);
    }
    if state.queue != queue {
        // It has moved since, or was reported by a poll that it had left.
        if state.since < began {
            world.problem(format!(
                "{token:?} was reported by the poll that it had left"
            ));
        }
        return;
    }
    state.turns += 1;
    match echo(world, &mut state) {
        Echoed::Waits if !state.pending.is_empty() && !state.interest.is_writable() => {
            world.reregister(token, &mut state, BOTH);
        }
        Echoed::Waits => {}
        Echoed::Ended => close(world, &connection, &mut state),
    }
}

enum Echoed {
    /// For an event.
    Waits,
    Ended,
}

/// Sends back what there is, until reading or writing would block.
fn echo(world: &World, state: &mut State) -> Echoed {
    let State {
        stream: Some(stream),
        pending,
        has_ended,
        ..
    } = state
    else {
        return Echoed::Waits;
    };
    let mut buffer = [0; 4096];
    loop {
        while !pending.is_empty() {
            match stream.write(pending) {
                Ok(sent) => {
                    pending.drain(..sent);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    world.count(Count::BlockedWrites, 1);
                    return Echoed::Waits;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return failed(world, &error),
            }
        }
        if pending.capacity() > 0 {
            // Thousands of empty buffers would be memory in use.
            *pending = Vec::new();
        }
        if *has_ended {
            return Echoed::Ended;
        }
        match stream.read(&mut buffer) {
            Ok(0) => *has_ended = true,
            Ok(read) => pending.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Echoed::Waits,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return failed(world, &error),
        }
    }
}

/// A client that resets ends its connection; nothing else does.
fn failed(world: &World, error: &io::Error) -> Echoed {
    let is_reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind());
    if !is_reset {
        world.problem(format!("the server's end fails: {error}"));
    }
    Echoed::Ended
}

fn close(world: &World, connection: &Connection, state: &mut State) {
    world.close(connection, state, connection.token.0 & 2 == 0);
}
