//! The vocabulary of programs, and how programs are generated from a seed.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The capacity of `Events`.
    pub capacity: usize,
    pub sources: Vec<Kind>,
    pub steps: Vec<Step>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A stream that is connected.
    Tcp,
    /// A stream that is connecting to a listener.
    Connecting,
    /// A stream that is connecting to an address without a listener.
    Refused,
    Listener,
    Udp,
    /// A server's end of a pipe that has a client.
    Pipe,
    /// A server's end of a pipe without a client.
    Server,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Tcp,
        Kind::Connecting,
        Kind::Refused,
        Kind::Listener,
        Kind::Udp,
        Kind::Pipe,
        Kind::Server,
    ];

    pub fn is_pipe(self) -> bool {
        matches!(self, Kind::Pipe | Kind::Server)
    }

    pub fn is_stream(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Connecting | Kind::Refused)
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    Read,
    Write,
    Both,
}

/// A source is named by its index in the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Register(usize, Interest),
    Reregister(usize, Interest),
    Deregister(usize),
    /// Drops the source and opens another one of its kind, which is not registered.
    Open(usize),
    Do(usize, Op),
    Peer(usize, Act),
    Wake(usize),
    /// Drops a waker and makes another one.
    NewWaker(usize),
    /// Polls until no event is due.
    Poll,
    /// Polls with a timeout when no event is due.
    Wait,
    /// Runs these steps while another thread waits in a poll.
    Behind(Vec<Step>),
    /// For a second, answers each event of a source with the source's operation, which changes little.
    Rate(Vec<Option<Op>>),
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Reads, receives or accepts once.
    Read(usize),
    /// Reads, receives or accepts until it would block, ends or fails.
    Drain,
    Peek(usize),
    /// Reads a byte through `try_io`, which does not know the direction.
    TryRead,
    Write(usize),
    /// Writes until it would block or fails.
    Fill,
    /// Shuts down the writing half.
    Shutdown,
    /// Begins to wait for a client of a pipe.
    Connect,
    /// Disconnects the client of a pipe.
    Disconnect,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Sends so many bytes, or connects to a listener.
    Send(usize),
    /// Reads all that was written.
    Drain,
    /// Shuts down its writing half.
    End,
    /// Closes.
    Leave,
    /// Resets the connection.
    Reset,
    /// Connects to a pipe again.
    Return,
}

pub const WAKERS: usize = 2;
const MOST_SOURCES: usize = 4;

impl Step {
    pub fn source(&self) -> Option<usize> {
        match self {
            Step::Register(source, _)
            | Step::Reregister(source, _)
            | Step::Deregister(source)
            | Step::Open(source)
            | Step::Do(source, _)
            | Step::Peer(source, _) => Some(*source),
            _ => None,
        }
    }

    fn set_source(&mut self, new: impl Fn(usize) -> usize + Copy) {
        match self {
            Step::Register(source, _)
            | Step::Reregister(source, _)
            | Step::Deregister(source)
            | Step::Open(source)
            | Step::Do(source, _)
            | Step::Peer(source, _) => *source = new(*source),
            Step::Behind(steps) => {
                for step in steps {
                    step.set_source(new);
                }
            }
            _ => {}
        }
    }
}

impl Program {
    pub fn of(seed: u64) -> Program {
        let mut random = Random(seed);
        let count = 1 + random.below(MOST_SOURCES);
        let sources: Vec<Kind> = (0..count)
            .map(|_| Kind::ALL[random.below(Kind::ALL.len())])
            .collect();
        // Most faults need registered sources.
        let mut steps: Vec<Step> = (0..count)
            .map(|source| Step::Register(source, random.interest()))
            .collect();
        for _ in 0..3 + random.below(14) {
            let source = random.below(count);
            // One step, or several of one source.
            let length = match random.below(10) {
                0..=5 => 1,
                _ => 2 + random.below(5),
            };
            for _ in 0..length {
                let step = random.step(source, &sources, true);
                steps.push(step);
            }
        }
        Program {
            capacity: [16, 16, 16, 1, 2][random.below(5)],
            sources,
            steps,
        }
    }

    /// The same program without one of its sources.
    pub fn without_source(&self, gone: usize) -> Program {
        let mut program = self.clone();
        program.sources.remove(gone);
        program.steps.retain(|step| step.source() != Some(gone));
        for step in &mut program.steps {
            match step {
                Step::Behind(steps) => steps.retain(|step| step.source() != Some(gone)),
                Step::Rate(answers) if gone < answers.len() => {
                    answers.remove(gone);
                }
                _ => {}
            }
            step.set_source(|source| source - usize::from(source > gone));
        }
        program
    }

    pub fn to_text(&self) -> String {
        let pretty = ron::ser::PrettyConfig::new().depth_limit(2).new_line("\n");
        ron::ser::to_string_pretty(self, pretty).expect("a program can be written down")
    }

    pub fn from_text(text: &str) -> anyhow::Result<Program> {
        Ok(ron::from_str(text)?)
    }
}

/// The generator SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn interest(&mut self) -> Interest {
        [
            Interest::Read,
            Interest::Read,
            Interest::Write,
            Interest::Both,
            Interest::Both,
        ][self.below(5)]
    }

    /// A step of one of these sources. `may_poll`: no other thread polls.
    fn step(&mut self, source: usize, kinds: &[Kind], may_poll: bool) -> Step {
        let kind = kinds[source];
        match self.below(if may_poll { 100 } else { 66 }) {
            0..=4 => Step::Register(source, self.interest()),
            5..=8 => Step::Reregister(source, self.interest()),
            9..=10 => Step::Deregister(source),
            11..=12 => Step::Open(source),
            13..=15 => Step::Wake(self.below(WAKERS)),
            16..=39 => Step::Do(source, self.op(kind)),
            40..=65 => Step::Peer(source, self.act(kind)),
            66..=90 => Step::Poll,
            91..=93 => Step::Wait,
            94 => Step::NewWaker(self.below(WAKERS)),
            // Rare, because it takes a second.
            95 if self.below(4) == 0 => {
                let answers = kinds.iter().map(|&kind| match self.below(6) {
                    0 => None,
                    _ => Some(self.op(kind)),
                });
                Step::Rate(answers.collect())
            }
            _ => {
                let count = 1 + self.below(4);
                // Most of them of the same source.
                let steps = (0..count).map(|_| {
                    let other = self.below(kinds.len());
                    let its = if self.below(3) == 0 { other } else { source };
                    self.step(its, kinds, false)
                });
                Step::Behind(steps.collect())
            }
        }
    }

    fn length(&mut self) -> usize {
        [1, 8, 5000][self.below(3)]
    }

    fn op(&mut self, kind: Kind) -> Op {
        let length = self.length();
        let reading = match self.below(8) {
            0..=2 => Op::Read(length),
            _ => Op::Drain,
        };
        let writing = match self.below(5) {
            0..=1 => Op::Write(length),
            _ => Op::Fill,
        };
        match (kind, self.below(12)) {
            (Kind::Listener, _) => reading,
            (Kind::Server | Kind::Pipe, way) => match way {
                0..=4 if kind == Kind::Server || way == 0 => Op::Connect,
                5 => Op::Disconnect,
                6..=8 => writing,
                _ => reading,
            },
            (_, 0..=1) => Op::Peek(length),
            (_, 2) => Op::TryRead,
            (_, 3) if kind.is_stream() => Op::Shutdown,
            (_, 4..=6) => writing,
            _ => reading,
        }
    }

    fn act(&mut self, kind: Kind) -> Act {
        let length = self.length();
        match (kind, self.below(20)) {
            (Kind::Server, 0..=7) | (Kind::Pipe, 0..=2) => Act::Return,
            (_, 8..=14) | (Kind::Udp | Kind::Listener, _) => Act::Send(length),
            (_, 15) => Act::Leave,
            (Kind::Tcp | Kind::Connecting, 0) => Act::Reset,
            (Kind::Tcp | Kind::Connecting, 1..=2) => Act::End,
            (_, 3..=7) => Act::Drain,
            _ => Act::Send(length),
        }
    }
}
