//! The vocabulary of programs, how they are drawn, and how they are written down.
//!
//! A program is a list of sources and a list of steps. A step names its source by index, modulo the
//! number of sources, so that any step fits any program; a step that means nothing for its source
//! (accepting from a pipe) does nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bits::Bits;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub polling: Polling,
    /// Of `Events`.
    pub capacity: usize,
    pub sources: Vec<Spec>,
    pub steps: Vec<Step>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Polling {
    /// One thread does everything; `Poll` is a step like any other.
    InTurn,
    /// A thread polls all the time, while others do the steps; `Poll` waits until it has seen what
    /// is due.
    InAThread,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub kind: Kind,
    pub owner: Owner,
}

/// What a source is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Tcp,
    /// A TCP socket that is registered before it is connected.
    TcpUnconnected,
    TcpListener,
    /// A UDP socket that is connected to its peer.
    Udp,
    /// The same, whose peer has left: what is sent is refused, until the peer returns.
    UdpRefused,
    /// A UDP socket with an error queue (IP_RECVERR).
    UdpErrorQueue,
    /// The same, with time stamps of what it sends in its error queue (SO_TIMESTAMPING).
    UdpTimestamps,
    UnixStream,
    UnixListener,
    UnixDatagram,
    Seqpacket,
    /// The end of a pipe that is read from.
    Receiver,
    /// The end of a pipe that is written to.
    Sender,
    /// The reading end of a named pipe, whose writers come and go.
    Fifo,
    /// The writing end of a named pipe, whose readers come and go.
    FifoWriter,
    /// The master of a pseudo-terminal.
    Pty,
    Eventfd,
    Timerfd,
    Inotify,
    Pidfd,
    /// A `ChildExit`.
    ChildExit,
    /// The same, of a child that has exited before.
    ZombieExit,
    /// `/proc/thread-self/mountinfo`.
    Mounts,
    /// A duplicate of the source before it.
    Duplicate,
}

impl Kind {
    pub const ALL: [Kind; 24] = [
        Kind::Tcp,
        Kind::TcpUnconnected,
        Kind::TcpListener,
        Kind::Udp,
        Kind::UdpRefused,
        Kind::UdpErrorQueue,
        Kind::UdpTimestamps,
        Kind::UnixStream,
        Kind::UnixListener,
        Kind::UnixDatagram,
        Kind::Seqpacket,
        Kind::Receiver,
        Kind::Sender,
        Kind::Fifo,
        Kind::FifoWriter,
        Kind::Pty,
        Kind::Eventfd,
        Kind::Timerfd,
        Kind::Inotify,
        Kind::Pidfd,
        Kind::ChildExit,
        Kind::ZombieExit,
        Kind::Mounts,
        Kind::Duplicate,
    ];
}

/// Whether it is a `ChildExit`, which has no operations.
pub fn is_exit(kind: Kind) -> bool {
    matches!(kind, Kind::ChildExit | Kind::ZombieExit)
}

/// Who owns the descriptor.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// The type of `mio::net` or `mio::unix`; where there is none, an `IoSource`.
    Typed,
    IoSource,
    /// The program, which registers it through `SourceFd`.
    Raw,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Polls with this timeout in milliseconds.
    Poll(u16),
    /// Polls with this timeout in microseconds, which is no whole number of milliseconds.
    PollMicros(u32),
    /// One of two wakers wakes from another thread while a poll waits, with a timeout that is far
    /// beyond, and then once more.
    WakeDuring {
        waker: usize,
        far: Far,
    },
    /// Polls until all that is due has been reported.
    Settle,
    /// Does nothing for so many milliseconds. Where a thread polls, the pauses of the back-off grow.
    Idle(u16),
    /// Polls until nothing comes any more, at most for so many milliseconds, and counts events.
    Rest(u16),
    /// Polls, after a pause of so many milliseconds, as often as it takes until each source has had
    /// its turn, however small the buffer is. The program drains what is reported, and its peer sends
    /// again.
    Turns(u16),
    /// For so many milliseconds registers something idle, and deregisters it, again and again, while a
    /// thread polls with a timeout that is shorter.
    Interrupt(u16),
    Register {
        source: usize,
        by: By,
        interest: Interest,
        #[serde(default, skip_serializing_if = "Mode::is_default")]
        mode: Mode,
    },
    Reregister {
        source: usize,
        by: By,
        interest: Interest,
        #[serde(default, skip_serializing_if = "Mode::is_default")]
        mode: Mode,
    },
    Deregister {
        source: usize,
        by: By,
    },
    /// Drops the source; one that is raw is closed without being deregistered.
    Drop(usize),
    /// Opens a source that was dropped again. It may get the same descriptor.
    Open(usize),
    /// For so many milliseconds, while a thread polls: a stream hangs up, is deregistered, and another
    /// one that stands is registered under its number, again and again.
    Replace(u16),
    /// Closes the descriptor of a source behind it, which a read then tells it, and polls; or
    /// deregisters it before. Then the descriptor is what it was.
    Dead {
        source: usize,
        deregister: bool,
    },
    /// Registers a descriptor that is closed.
    RegisterClosed,
    /// Registers a source with another poll: by mistake, or moving it from one to the next, of which
    /// one is gone before.
    OtherPoll(usize),
    /// Wakes by one of two wakers.
    Wake(usize),
    /// Drops one of the two, and makes another one.
    NewWaker(usize),
    /// The program does I/O on a source.
    Do {
        source: usize,
        op: Op,
        door: Door,
    },
    /// What happens at the other end of a source.
    Peer {
        source: usize,
        act: Act,
    },
    /// All of these at once, each in a thread of its own.
    Together(Vec<Step>),
    /// Registers everything anew, then for so many milliseconds answers every event with an
    /// operation, and counts events. The sources take the answers in turn.
    Rate {
        ms: u16,
        #[serde(default = "both")]
        interest: Interest,
        answers: Vec<Answer>,
    },
}

fn both() -> Interest {
    Interest::Both
}

/// A timeout that no program lives to see the end of.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Far {
    /// Of more milliseconds than 32 bits can count, and little more.
    Months,
    /// The longest that there is.
    Forever,
    /// A deadline, by `poll_until`.
    Deadline,
}

/// What a program does at each event of a source.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Nothing,
    Do(Op, Door),
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    Source,
    /// Through a `SourceFd` of its descriptor, whoever owns it.
    Fd,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    Read,
    Write,
    Both,
    ReadPriority,
}

impl Interest {
    /// What can be reported of a registration with this interest.
    pub fn bits(self) -> Bits {
        let asked = match self {
            Interest::Read => Bits::READ | Bits::END,
            Interest::Write => Bits::WRITE | Bits::WRITE_END,
            Interest::Both => Bits::READ | Bits::END | Bits::WRITE | Bits::WRITE_END,
            Interest::ReadPriority => Bits::READ | Bits::END | Bits::PRIORITY,
        };
        asked | crate::bits::UNMASKED
    }
}

/// The modes of a registration, alone and together.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    #[default]
    Edge,
    Level,
    OneShot,
    /// Which is one-shot.
    LevelOneShot,
    Exclusive,
    ExclusiveLevel,
    /// Which is refused.
    ExclusiveOneShot,
}

impl Mode {
    fn is_default(&self) -> bool {
        *self == Mode::Edge
    }

    pub fn is_level(self) -> bool {
        matches!(self, Mode::Level | Mode::ExclusiveLevel)
    }

    pub fn is_one_shot(self) -> bool {
        matches!(
            self,
            Mode::OneShot | Mode::LevelOneShot | Mode::ExclusiveOneShot
        )
    }

    pub fn is_exclusive(self) -> bool {
        matches!(
            self,
            Mode::Exclusive | Mode::ExclusiveLevel | Mode::ExclusiveOneShot
        )
    }

    pub fn without_exclusive(self) -> Mode {
        match self {
            Mode::Exclusive => Mode::Edge,
            Mode::ExclusiveLevel => Mode::Level,
            Mode::ExclusiveOneShot => Mode::OneShot,
            other => other,
        }
    }
}

/// What a registration asks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub interest: Interest,
    pub mode: Mode,
}

impl From<Interest> for Wanted {
    /// By edges.
    fn from(interest: Interest) -> Wanted {
        let mode = Mode::Edge;
        Wanted { interest, mode }
    }
}

/// Which way an operation goes to its descriptor.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// The method of the type; where it has none, as `Known`.
    Method,
    /// `do_io` or `try_io_with`, with the direction.
    Known,
    /// `try_io`, which does not know the direction.
    Unknown,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Reads or accepts once, with a buffer of so many bytes.
    Read(usize),
    ReadVectored(usize),
    Peek(usize),
    Write(usize),
    WriteVectored(usize),
    /// Reads or accepts until it would block, ends or fails.
    Drain,
    /// Writes until it would block or fails.
    Fill,
    /// Accepts while the process may not open another descriptor.
    AcceptWithoutDescriptors,
    TakeError,
    /// Takes one entry of the error queue.
    ErrorQueue,
    /// Reads urgent data.
    Urgent,
    Shutdown(Half),
    Connect(To),
    /// Connects to nowhere (AF_UNSPEC), which ends a connection.
    Disconnect,
}

impl Op {
    /// Whether it makes something else of the source, whatever it returns: Linux reports a state
    /// that changes even where a shutdown fails.
    pub fn changes_the_source(self) -> bool {
        matches!(self, Op::Shutdown(_) | Op::Connect(_) | Op::Disconnect)
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Half {
    Read,
    Write,
    Both,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    Listening,
    Refused,
}

/// What a peer does. Each means something for most kinds: see `object.rs`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Send(usize),
    Drain,
    End,
    Leave,
    Reset,
    Return,
    Urgent,
}

impl Step {
    /// Names its source anew.
    fn map_source(mut self, new: &impl Fn(usize) -> usize) -> Step {
        match &mut self {
            Step::Register { source, .. }
            | Step::Reregister { source, .. }
            | Step::Deregister { source, .. }
            | Step::Drop(source)
            | Step::Open(source)
            | Step::Dead { source, .. }
            | Step::OtherPoll(source)
            | Step::Do { source, .. }
            | Step::Peer { source, .. } => *source = new(*source),
            Step::Together(steps) => {
                *steps = steps
                    .iter()
                    .map(|step| step.clone().map_source(new))
                    .collect();
            }
            Step::Poll(_)
            | Step::PollMicros(_)
            | Step::WakeDuring { .. }
            | Step::Settle
            | Step::Idle(_)
            | Step::Rest(_)
            | Step::Turns(_)
            | Step::Interrupt(_)
            | Step::Replace(_)
            | Step::RegisterClosed
            | Step::Wake(_)
            | Step::NewWaker(_)
            | Step::Rate { .. } => {}
        }
        self
    }

    /// The source that it names, if it names one.
    fn source(&self) -> Option<usize> {
        match self {
            Step::Register { source, .. }
            | Step::Reregister { source, .. }
            | Step::Deregister { source, .. }
            | Step::Drop(source)
            | Step::Open(source)
            | Step::Dead { source, .. }
            | Step::OtherPoll(source)
            | Step::Do { source, .. }
            | Step::Peer { source, .. } => Some(*source),
            Step::Poll(_)
            | Step::PollMicros(_)
            | Step::WakeDuring { .. }
            | Step::Settle
            | Step::Idle(_)
            | Step::Rest(_)
            | Step::Turns(_)
            | Step::Interrupt(_)
            | Step::Replace(_)
            | Step::RegisterClosed
            | Step::Wake(_)
            | Step::NewWaker(_)
            | Step::Rate { .. }
            | Step::Together(_) => None,
        }
    }
}

impl Program {
    /// The same without one of its sources, and without the steps that name it.
    pub fn without_source(&self, gone: usize) -> Program {
        let mut program = self.clone();
        program.sources.remove(gone);
        program.steps.retain(|step| step.source() != Some(gone));
        for step in &mut program.steps {
            if let Step::Together(steps) = step {
                steps.retain(|step| step.source() != Some(gone));
            }
        }
        let new = |source| if source > gone { source - 1 } else { source };
        program.steps = program
            .steps
            .into_iter()
            .map(|step| step.map_source(&new))
            .collect();
        program
    }

    /// As written down: a step a line.
    pub fn to_text(&self) -> String {
        let pretty = ron::ser::PrettyConfig::new().depth_limit(2).new_line("\n");
        ron::ser::to_string_pretty(self, pretty).expect("a program can be written down")
    }

    pub fn from_text(text: &str) -> anyhow::Result<Program> {
        Ok(ron::from_str(text)?)
    }
}

const MOST_SOURCES: usize = 4;

/// What modes a program's registrations have.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Modes {
    Edges,
    /// All of them, the exclusive ones rarely unless the backend `has_exclusive`.
    All {
        has_exclusive: bool,
    },
}

/// Programs for a backend that can watch these kinds.
pub fn programs(kinds: &[Kind], polling: Polling, modes: Modes) -> impl Strategy<Value = Program> {
    let capacity = prop_oneof![6 => Just(16usize), 1 => Just(1), 1 => Just(2)];
    let sources = vec(spec(kinds), 1..=MOST_SOURCES);
    let steps = vec(
        prop_oneof![
            24 => step(polling, modes).prop_map(|step| vec![step]),
            8 => burst(modes),
            1 => lives(modes),
            1 => wakers(),
        ],
        3..20,
    );
    let first = vec(mode(modes), MOST_SOURCES);
    (capacity, sources, steps, first).prop_map(move |(capacity, sources, steps, modes)| {
        let count = sources.len();
        // All are registered to begin with: most of what is worth finding needs it.
        let first = (0..count).map(|source| Step::Register {
            source,
            by: By::Source,
            interest: Interest::Both,
            mode: modes[source],
        });
        let steps = steps
            .into_iter()
            .flatten()
            .map(|step| step.map_source(&|source| source % count));
        Program {
            polling,
            capacity,
            steps: first.chain(steps).collect(),
            sources,
        }
    })
}

fn spec(kinds: &[Kind]) -> impl Strategy<Value = Spec> {
    let owner =
        prop_oneof![2 => Just(Owner::Typed), 1 => Just(Owner::IoSource), 2 => Just(Owner::Raw)];
    let weighted: Vec<Kind> = kinds
        .iter()
        .flat_map(|&kind| std::iter::repeat_n(kind, weight(kind)))
        .collect();
    (proptest::sample::select(weighted), owner).prop_map(|(kind, owner)| Spec {
        kind,
        // It has no descriptor to be seen.
        owner: if is_exit(kind) { Owner::Typed } else { owner },
    })
}

/// More where fewer acts and operations mean something.
fn weight(kind: Kind) -> usize {
    match kind {
        Kind::UdpErrorQueue | Kind::UdpRefused | Kind::Pty => 2,
        Kind::Eventfd | Kind::Sender | Kind::FifoWriter => 2,
        Kind::TcpListener | Kind::UnixListener | Kind::Receiver | Kind::Fifo => 3,
        // They spend much of their time unconnected, or ready for good.
        Kind::TcpUnconnected | Kind::Pidfd | Kind::Inotify | Kind::ZombieExit => 3,
        Kind::Timerfd => 4,
        Kind::ChildExit => 5,
        _ => 1,
    }
}

fn step(polling: Polling, modes: Modes) -> BoxedStrategy<Step> {
    let s = 0..MOST_SOURCES;
    let ms = prop_oneof![99 => Just(60u16), 1 => Just(2200)];
    let answer = prop_oneof![
        1 => Just(Answer::Nothing),
        9 => (op(), door()).prop_map(|(op, door)| Answer::Do(op, door)),
    ];
    let rate_interest = prop_oneof![3 => Just(Interest::Both), 1 => Just(Interest::ReadPriority)];
    let rate =
        (ms, rate_interest, vec(answer, MOST_SOURCES)).prop_map(|(ms, interest, answers)| {
            Step::Rate {
                ms,
                interest,
                answers,
            }
        });
    let dead = (s.clone(), any::<bool>())
        .prop_map(|(source, deregister)| Step::Dead { source, deregister });
    let common = prop_oneof![
        12 => registry_step(modes),
        2 => s.clone().prop_map(Step::Drop),
        4 => s.clone().prop_map(Step::Open),
        3 => (0..2usize).prop_map(Step::Wake),
        1 => (0..2usize).prop_map(Step::NewWaker),
        60 => io_step(),
    ];
    match polling {
        Polling::InTurn => prop_oneof![
            800 => common,
            280 => prop_oneof![40 => Just(0u16), 2 => Just(1), 1 => Just(3)].prop_map(Step::Poll),
            3 => Just(Step::PollMicros(300)),
            1 => Just(Step::PollMicros(1500)),
            3 => (0..2usize, prop_oneof![Just(Far::Months), Just(Far::Forever), Just(Far::Deadline)])
                .prop_map(|(waker, far)| Step::WakeDuring { waker, far }),
            3 => Just(Step::Settle),
            3 => rate,
            3 => Just(Step::Rest(200)),
            6 => Just(Step::Turns(0)),
            4 => dead,
            1 => Just(Step::RegisterClosed),
            3 => s.prop_map(Step::OtherPoll),
        ]
        .boxed(),
        Polling::InAThread => prop_oneof![
            600 => common,
            400 => Just(Step::Poll(0)),
            100 => vec(io_step(), 2..4).prop_map(Step::Together),
            6 => Just(Step::Idle(70)),
            2 => Just(Step::Interrupt(800)),
            3 => Just(Step::Replace(30)),
        ]
        .boxed(),
    }
}

/// Several operations, acts and polls on the same source: what goes wrong needs a few steps of one
/// more often than steps of many.
fn burst(modes: Modes) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        14 => io_step(),
        3 => registry_step(modes),
        6 => Just(Step::Poll(0)),
    ];
    (0..MOST_SOURCES, vec(step, 3..8)).prop_map(|(source, steps)| {
        let of_source = |step: Step| step.map_source(&|_| source);
        steps.into_iter().map(of_source).collect()
    })
}

/// Sources come and go, and so do their peers: registrations end while something is still to be said
/// of them, and others take their slots.
fn lives(modes: Modes) -> impl Strategy<Value = Vec<Step>> {
    let s = || 0..MOST_SOURCES;
    let by = || prop_oneof![2 => Just(By::Source), 1 => Just(By::Fd)];
    let peer = |act: Act| s().prop_map(move |source| Step::Peer { source, act });
    let step = prop_oneof![
        4 => (s(), by(), interest(), mode(modes)).prop_map(|(source, by, interest, mode)| {
            Step::Register { source, by, interest, mode }
        }),
        1 => (s(), by(), interest(), mode(modes)).prop_map(|(source, by, interest, mode)| {
            Step::Reregister { source, by, interest, mode }
        }),
        3 => (s(), by()).prop_map(|(source, by)| Step::Deregister { source, by }),
        1 => s().prop_map(Step::Drop),
        2 => s().prop_map(Step::Open),
        2 => peer(Act::Leave),
        1 => peer(Act::Return),
        2 => peer(Act::Send(1)),
        1 => (s(), door()).prop_map(|(source, door)| Step::Do { source, op: Op::Drain, door }),
        3 => Just(Step::Poll(0)),
    ];
    // Mostly of one source, or of two.
    (s(), s(), vec((step, 0..4u8), 4..12)).prop_map(|(one, other, steps)| {
        let step = |(step, which): (Step, u8)| {
            step.map_source(&|source| match which {
                0 | 1 => one,
                2 => other,
                _ => source,
            })
        };
        steps.into_iter().map(step).collect()
    })
}

/// Wakers that come and go, beside a source that is ready.
fn wakers() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2usize).prop_map(Step::Wake),
        3 => (0..2usize).prop_map(Step::NewWaker),
        1 => (0..MOST_SOURCES).prop_map(|source| Step::Peer { source, act: Act::Send(1) }),
        3 => Just(Step::Poll(0)),
    ];
    vec(step, 4..10)
}

fn registry_step(modes: Modes) -> impl Strategy<Value = Step> {
    let s = 0..MOST_SOURCES;
    let by = || prop_oneof![9 => Just(By::Source), 1 => Just(By::Fd)];
    prop_oneof![
        6 => (s.clone(), by(), interest(), mode(modes)).prop_map(|(source, by, interest, mode)| {
            Step::Register { source, by, interest, mode }
        }),
        4 => (s.clone(), by(), interest(), mode(modes)).prop_map(|(source, by, interest, mode)| {
            Step::Reregister { source, by, interest, mode }
        }),
        2 => (s.clone(), by()).prop_map(|(source, by)| Step::Deregister { source, by }),
        1 => s.clone().prop_map(Step::Drop),
        2 => s.prop_map(Step::Open),
    ]
}

fn io_step() -> impl Strategy<Value = Step> {
    let s = 0..MOST_SOURCES;
    prop_oneof![
        4 => (s.clone(), op(), door()).prop_map(|(source, op, door)| Step::Do { source, op, door }),
        5 => (s, act()).prop_map(|(source, act)| Step::Peer { source, act }),
    ]
}

fn interest() -> impl Strategy<Value = Interest> {
    prop_oneof![
        3 => Just(Interest::Read),
        2 => Just(Interest::Write),
        4 => Just(Interest::Both),
        1 => Just(Interest::ReadPriority),
    ]
}

fn mode(modes: Modes) -> BoxedStrategy<Mode> {
    match modes {
        Modes::Edges => Just(Mode::Edge).boxed(),
        Modes::All { has_exclusive } => {
            let exclusive = if has_exclusive { 4 } else { 1 };
            prop_oneof![
                6 => Just(Mode::Edge),
                6 => Just(Mode::Level),
                6 => Just(Mode::OneShot),
                1 => Just(Mode::LevelOneShot),
                exclusive => prop_oneof![
                    2 => Just(Mode::Exclusive),
                    2 => Just(Mode::ExclusiveLevel),
                    1 => Just(Mode::ExclusiveOneShot),
                ],
            ]
            .boxed()
        }
    }
}

fn door() -> impl Strategy<Value = Door> {
    prop_oneof![3 => Just(Door::Method), 1 => Just(Door::Known), 2 => Just(Door::Unknown)]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(1usize), 2 => Just(8), 2 => Just(5000)]
}

fn op() -> impl Strategy<Value = Op> {
    let half = prop_oneof![Just(Half::Read), Just(Half::Write), Just(Half::Both)];
    let to = prop_oneof![2 => Just(To::Listening), 1 => Just(To::Refused)];
    prop_oneof![
        6 => len().prop_map(Op::Read),
        2 => len().prop_map(Op::ReadVectored),
        3 => len().prop_map(Op::Peek),
        6 => len().prop_map(Op::Write),
        2 => len().prop_map(Op::WriteVectored),
        14 => Just(Op::Drain),
        8 => Just(Op::Fill),
        2 => Just(Op::AcceptWithoutDescriptors),
        2 => Just(Op::TakeError),
        3 => Just(Op::ErrorQueue),
        2 => Just(Op::Urgent),
        1 => half.prop_map(Op::Shutdown),
        4 => to.prop_map(Op::Connect),
        2 => Just(Op::Disconnect),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let send = prop_oneof![3 => Just(1usize), 2 => Just(8), 1 => Just(5000)];
    prop_oneof![
        16 => send.prop_map(Act::Send),
        8 => Just(Act::Drain),
        1 => Just(Act::End),
        2 => Just(Act::Leave),
        1 => Just(Act::Reset),
        4 => Just(Act::Return),
        2 => Just(Act::Urgent),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_written_down_is_the_same_when_read() {
        let program = Program {
            polling: Polling::InTurn,
            capacity: 2,
            sources: vec![Spec {
                kind: Kind::Udp,
                owner: Owner::Raw,
            }],
            steps: vec![
                Step::Poll(0),
                Step::Reregister {
                    source: 0,
                    by: By::Fd,
                    interest: Interest::ReadPriority,
                    mode: Mode::LevelOneShot,
                },
                Step::Do {
                    source: 0,
                    op: Op::Read(8),
                    door: Door::Known,
                },
                Step::Together(vec![Step::Peer {
                    source: 0,
                    act: Act::Send(1),
                }]),
                Step::Rate {
                    ms: 5,
                    interest: Interest::Read,
                    answers: vec![Answer::Nothing, Answer::Do(Op::Drain, Door::Method)],
                },
            ],
        };
        let text = program.to_text();
        assert_eq!(Program::from_text(&text).unwrap(), program);
        assert!(text.lines().any(|line| line.trim() == "Poll(0),"), "{text}");
    }
}
