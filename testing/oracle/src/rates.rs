//! The published table of docs/EVENTS.md: how many events a source has to which nothing happens, by
//! what the program answers each with; and how late new data is reported to a thread that waits.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Backend, Events};

use crate::judge::most_events;
use crate::program::{Act, Answer, By, Door, Interest, Kind, Mode, Op, Owner, Spec, Step};
use crate::world::{World, STOP};

/// A source, what happens to it first, and how each of its events is answered.
struct Row {
    what: &'static str,
    source: &'static str,
    spec: Spec,
    interest: Interest,
    before: &'static [Act],
    answer: Answer,
}

const fn of(kind: Kind, owner: Owner) -> Spec {
    Spec { kind, owner }
}

const ROWS: &[Row] = &[
    Row {
        what: "nothing",
        source: "`SourceFd` of a stream, writable",
        spec: of(Kind::UnixStream, Owner::Raw),
        interest: Interest::Both,
        before: &[],
        answer: Answer::Nothing,
    },
    Row {
        what: "nothing",
        source: "`UnixStream`, writable",
        spec: of(Kind::UnixStream, Owner::Typed),
        interest: Interest::Both,
        before: &[],
        answer: Answer::Nothing,
    },
    Row {
        what: "a write that fails",
        source: "`pipe::Sender` without a reader",
        spec: of(Kind::Sender, Owner::Typed),
        interest: Interest::Write,
        before: &[Act::Leave],
        answer: Answer::Do(Op::Write(8), Door::Method),
    },
    Row {
        what: "a write that fails",
        source: "`UnixStream` whose peer has closed",
        spec: of(Kind::UnixStream, Owner::Typed),
        interest: Interest::Both,
        before: &[Act::Leave],
        answer: Answer::Do(Op::Write(8), Door::Method),
    },
    Row {
        what: "a short `peek`",
        source: "`TcpStream` with a byte to read",
        spec: of(Kind::Tcp, Owner::Typed),
        interest: Interest::Read,
        before: &[Act::Send(1)],
        answer: Answer::Do(Op::Peek(8), Door::Method),
    },
    Row {
        what: "`try_io` of a read that would block",
        source: "`UnixStream`, writable",
        spec: of(Kind::UnixStream, Owner::Typed),
        interest: Interest::Both,
        before: &[],
        answer: Answer::Do(Op::Read(8), Door::Unknown),
    },
    Row {
        what: "a read that picks up an error",
        source: "`UdpSocket` whose datagram was refused",
        spec: of(Kind::UdpRefused, Owner::Typed),
        interest: Interest::Both,
        before: &[],
        answer: Answer::Do(Op::Read(8), Door::Method),
    },
    Row {
        what: "`accept` without descriptors",
        source: "`TcpListener` with a client",
        spec: of(Kind::TcpListener, Owner::Typed),
        interest: Interest::Read,
        before: &[Act::Send(1)],
        answer: Answer::Do(Op::AcceptWithoutDescriptors, Door::Method),
    },
];

/// What is more or later than documented.
pub struct Problem {
    pub row: String,
    pub text: String,
}

/// Measures, prints the rows of one backend, and returns what is more or later than documented.
pub fn measure(backend: Backend) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (alone, together): (Vec<&Row>, Vec<&Row>) = ROWS
        .iter()
        .partition(|row| row.answer == Answer::Do(Op::AcceptWithoutDescriptors, Door::Method));
    // That one takes away the whole process' descriptors for a moment.
    let (mut counts, delays): (Vec<(&Row, [usize; 2])>, Vec<Duration>) = thread::scope(|scope| {
        let rows: Vec<_> = together
            .iter()
            .map(|row| scope.spawn(|| (*row, count(backend, row))))
            .collect();
        let delays: Vec<_> = DELAYS
            .iter()
            .map(|(_, most, delay)| scope.spawn(|| median_of_nine(*most, || delay(backend))))
            .collect();
        let counts = rows.into_iter().map(|row| row.join().expect("it counts"));
        let counts = counts.collect();
        let delays = delays.into_iter().map(|row| row.join().expect("it waits"));
        (counts, delays.collect())
    });
    counts.extend(alone.iter().map(|row| (*row, count(backend, row))));
    for (row, [first, later]) in counts {
        println!("| {} | {} | {first} | {later} |", row.what, row.source);
        let most = [most_events(Duration::ZERO), 17];
        if first > most[0] || later > most[1] {
            let (what, source) = (row.what, row.source);
            problems.push(Problem {
                row: format!("{what}, {source}"),
                text: format!("{first}, then {later} events a second"),
            });
        }
    }
    for ((what, bound, _), median) in DELAYS.iter().zip(delays) {
        println!("| {what} | {:.2} ms |", median.as_secs_f64() * 1e3);
        if median > *bound {
            problems.push(Problem {
                row: (*what).to_owned(),
                text: format!("{median:?}, at most {bound:?}"),
            });
        }
    }
    problems
}

/// Ends when five are too long: then the median is, too.
fn median_of_nine(most: Duration, delay: impl Fn() -> Duration) -> Duration {
    let mut delays = Vec::new();
    while delays.len() < 9 && delays.iter().filter(|delay| **delay > most).count() < 5 {
        delays.push(delay());
    }
    delays.sort();
    delays[delays.len() - 5]
}

/// Events in the first second after the first one, and in the second one.
fn count(backend: Backend, row: &Row) -> [usize; 2] {
    let (world, mut poll) = World::new(backend, &[row.spec], false).expect("opens a poll");
    let source = 0;
    for &act in row.before {
        world.perform(&Step::Peer { source, act });
    }
    let (by, interest) = (By::Source, row.interest);
    world.perform(&Step::Register {
        source,
        by,
        interest,
        mode: Mode::Edge,
    });
    if row.spec.kind == Kind::UdpRefused {
        world.operate(source, Op::Write(1), Door::Method);
    }
    let mut events = Events::with_capacity(16);
    let mut counts = [0; 2];
    let mut start = None;
    loop {
        let timeout = Duration::from_millis(20);
        poll.poll(&mut events, Some(timeout)).expect("polls");
        let now = *start.get_or_insert_with(Instant::now);
        let second = now.elapsed().as_secs() as usize;
        if second >= counts.len() || counts[second.min(1)] > 1_000_000 {
            return counts;
        }
        for _ in &events {
            counts[second] += 1;
            if let Answer::Do(op, door) = row.answer {
                world.operate(source, op, door);
            }
        }
    }
}

type Delay = (&'static str, Duration, fn(Backend) -> Duration);

/// At once, on a machine with other work; and within the back-off.
const AT_ONCE: Duration = Duration::from_millis(20);
const BACK_OFF: Duration = Duration::from_millis(100);

const DELAYS: &[Delay] = &[
    (
        "a `UnixStream`, read until it would block while a thread waits",
        AT_ONCE,
        |backend| delay(backend, of(Kind::UnixStream, Owner::Typed), Door::Method),
    ),
    ("the same, read through `try_io`", AT_ONCE, |backend| {
        delay(backend, of(Kind::UnixStream, Owner::Typed), Door::Unknown)
    }),
    (
        "a `UdpSocket` whose error was picked up while a thread waits",
        AT_ONCE,
        |backend| delay(backend, of(Kind::UdpRefused, Owner::Typed), Door::Method),
    ),
    (
        "a `SourceFd` of a stream, read while a thread waits",
        BACK_OFF,
        |backend| delay(backend, of(Kind::UnixStream, Owner::Raw), Door::Method),
    ),
];

/// After this it is lost.
const LOST: Duration = Duration::from_secs(2);

/// How long after new data was sent a thread that waits has it reported: the source was ready for a
/// while, so that its pauses have grown, and was read until it would block by another thread.
fn delay(backend: Backend, spec: Spec, door: Door) -> Duration {
    let (world, mut poll) = World::new(backend, &[spec], true).expect("opens a poll");
    let (sender, reports) = mpsc::channel();
    let stop = mio::Waker::new(world.registry(), mio::Token(STOP)).expect("a waker");
    let (source, by, interest) = (0, By::Source, Interest::Read);
    world.perform(&Step::Register {
        source,
        by,
        interest,
        mode: Mode::Edge,
    });
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut events = Events::with_capacity(16);
            loop {
                poll.poll(&mut events, None).expect("polls");
                let now = Instant::now();
                for event in &events {
                    if event.token().0 == STOP {
                        return;
                    }
                    sender.send(now).expect("somebody measures");
                }
            }
        });
        match spec.kind {
            Kind::UdpRefused => {
                world.operate(source, Op::Write(1), Door::Method);
            }
            _ => world.perform(&Step::Peer {
                source,
                act: Act::Send(1),
            }),
        }
        thread::sleep(Duration::from_millis(150));
        if spec.kind == Kind::UdpRefused {
            world.perform(&Step::Peer {
                source,
                act: Act::Return,
            });
            world.operate(source, Op::Drain, door);
        }
        world.operate(source, Op::Drain, door);
        while reports.try_recv().is_ok() {}
        let sent = Instant::now();
        world.perform(&Step::Peer {
            source,
            act: Act::Send(1),
        });
        let reported = reports.recv_timeout(LOST);
        stop.wake().expect("wakes");
        reported.map_or(LOST, |at| at.saturating_duration_since(sent))
    })
}
