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
    /// An event that each wait resets.
    Auto,
    /// An event that stays signalled until it is reset.
    Manual,
    Semaphore,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Tcp,
        Kind::Connecting,
        Kind::Refused,
        Kind::Listener,
        Kind::Udp,
        Kind::Pipe,
        Kind::Server,
        Kind::Auto,
        Kind::Manual,
        Kind::Semaphore,
    ];

    pub fn is_pipe(self) -> bool {
        matches!(self, Kind::Pipe | Kind::Server)
    }

    /// A handle that can be waited for.
    pub fn is_handle(self) -> bool {
        matches!(self, Kind::Auto | Kind::Manual | Kind::Semaphore)
    }

    pub fn is_stream(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Connecting | Kind::Refused)
    }
}

/// The directions, and the mode. Without a mode readiness is reported by edges.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    Read,
    Write,
    Both,
    Level(Directions),
    OneShot(Directions),
    /// Level-triggered and one-shot, which is one-shot.
    LevelOneShot(Directions),
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Directions {
    Read,
    Write,
    Both,
}

/// How events of a registration are judged.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Edge,
    Level,
    OneShot,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Edge, Mode::Level, Mode::OneShot];
}

impl Interest {
    pub fn directions(self) -> Directions {
        match self {
            Interest::Read => Directions::Read,
            Interest::Write => Directions::Write,
            Interest::Both => Directions::Both,
            Interest::Level(directions)
            | Interest::OneShot(directions)
            | Interest::LevelOneShot(directions) => directions,
        }
    }

    pub fn mode(self) -> Mode {
        match self {
            Interest::Read | Interest::Write | Interest::Both => Mode::Edge,
            Interest::Level(_) => Mode::Level,
            Interest::OneShot(_) | Interest::LevelOneShot(_) => Mode::OneShot,
        }
    }
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
    /// Runs these steps of the source, which is a handle, while another thread signals it so many times.
    Signalling(usize, usize, Vec<Step>),
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
    /// Waits for a handle, with timeout zero, which may take a signal.
    Take,
    /// Unwraps a handle, and makes another source of it.
    Unwrap,
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
    /// Signals a handle so many times.
    Signal(usize),
    /// Resets an event.
    Unsignal,
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
            | Step::Peer(source, _)
            | Step::Signalling(source, ..) => Some(*source),
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
            Step::Signalling(source, _, steps) => {
                *source = new(*source);
                for step in steps {
                    step.set_source(new);
                }
            }
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
        let mut random = Random {
            word: seed,
            has_modes: false,
        };
        random.has_modes = random.below(2) == 0;
        let count = 1 + random.below(MOST_SOURCES);
        let sources: Vec<Kind> = (0..count)
            .map(|_| {
                // Most steps do nothing to a pipe that waits for its client.
                let all = [&Kind::ALL[..], &[Kind::Server]].concat();
                all[random.below(all.len())]
            })
            .collect();
        // Most faults need registered sources.
        let mut steps: Vec<Step> = (0..count)
            .map(|source| Step::Register(source, random.interest(sources[source])))
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

    /// The same program without a step, and without one of the steps inside that one.
    pub fn without_step(&self, index: usize) -> Vec<Program> {
        let mut all = Vec::new();
        let mut program = self.clone();
        program.steps.remove(index);
        all.push(program);
        if let Step::Behind(steps) | Step::Signalling(_, _, steps) = &self.steps[index] {
            for inner in 0..steps.len() {
                let mut program = self.clone();
                if let Step::Behind(steps) | Step::Signalling(_, _, steps) =
                    &mut program.steps[index]
                {
                    steps.remove(inner);
                }
                all.push(program);
            }
        }
        all
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
pub struct Random {
    word: u64,
    /// Registrations have modes.
    has_modes: bool,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random {
            word: seed,
            has_modes: false,
        }
    }

    pub fn next(&mut self) -> u64 {
        self.word = self.word.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.word;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn interest(&mut self, kind: Kind) -> Interest {
        use Directions::{Both, Read, Write};

        let directions = match kind.is_handle() {
            // Without reading it is a mistake.
            true => [Read, Read, Read, Read, Read, Both, Both, Write][self.below(8)],
            false => [Read, Read, Write, Both, Both][self.below(5)],
        };
        let plain = match directions {
            Read => Interest::Read,
            Write => Interest::Write,
            Both => Interest::Both,
        };
        match self.below(8) {
            _ if !self.has_modes => plain,
            0..=2 => Interest::Level(directions),
            3..=4 => Interest::OneShot(directions),
            5 => Interest::LevelOneShot(directions),
            _ => plain,
        }
    }

    /// A step of one of these sources. `may_poll`: no other thread polls.
    fn step(&mut self, source: usize, kinds: &[Kind], may_poll: bool) -> Step {
        let kind = kinds[source];
        // One-shot registrations, and those of handles, are of use again only after that.
        let reregister = match self.has_modes || kind.is_handle() {
            true => 16,
            false => 9,
        };
        match self.below(if may_poll { 100 } else { 66 }) {
            0..=4 => Step::Register(source, self.interest(kind)),
            way if (5..reregister).contains(&way) => Step::Reregister(source, self.interest(kind)),
            way if way < reregister + 2 => Step::Deregister(source),
            way if way < reregister + 4 => Step::Open(source),
            way if way < reregister + 7 => Step::Wake(self.below(WAKERS)),
            35..=39 if kind.is_handle() && may_poll => {
                let count = 1 + self.below(4);
                let steps = (0..count).map(|_| self.step_beside_signals(source, kind));
                let steps = steps.collect();
                Step::Signalling(source, [1, 3, 30][self.below(3)], steps)
            }
            36..=65 if kind.is_handle() => Step::Peer(source, self.act(kind)),
            way if way < 40 => Step::Do(source, self.op(kind)),
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

    /// A step of a handle that another thread signals.
    fn step_beside_signals(&mut self, source: usize, kind: Kind) -> Step {
        match self.below(12) {
            0 => Step::Register(source, self.interest(kind)),
            1..=3 => Step::Reregister(source, self.interest(kind)),
            4..=5 => Step::Deregister(source),
            6 => Step::Open(source),
            7 => Step::Do(source, self.op(kind)),
            8 => Step::Peer(source, Act::Unsignal),
            _ => Step::Poll,
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
            (Kind::Auto | Kind::Manual | Kind::Semaphore, 0..=2) => Op::Unwrap,
            (Kind::Auto | Kind::Manual | Kind::Semaphore, _) => Op::Take,
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
            (Kind::Auto | Kind::Manual, 0..=4) => Act::Unsignal,
            (Kind::Auto | Kind::Manual | Kind::Semaphore, _) => {
                Act::Signal([1, 1, 2][self.below(3)])
            }
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
