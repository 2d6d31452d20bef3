//! What a backend may do although the contract says otherwise, each with the kernel's reason. A new
//! row is a commit of its own.

use std::collections::BTreeMap;

use mio::Backend;

use crate::bits::Bits;
use crate::handle::Outcome;
use crate::judge::Answered;
use crate::program::Kind;

/// A row of the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exemption {
    TwoEventsOnKqueue,
    DatagramSender,
    ClosedPipeOnKqueue,
    SpaceBehindAnEndOnTheModel,
    BlocksAlthoughReady,
    ReaderOfAPipeOnKqueue,
    EndOfAFullPipeOnNetBsd,
    RoomForADatagramOnNetBsd,
}

impl Exemption {
    pub const ALL: [Exemption; 8] = [
        Exemption::TwoEventsOnKqueue,
        Exemption::DatagramSender,
        Exemption::ClosedPipeOnKqueue,
        Exemption::SpaceBehindAnEndOnTheModel,
        Exemption::BlocksAlthoughReady,
        Exemption::ReaderOfAPipeOnKqueue,
        Exemption::EndOfAFullPipeOnNetBsd,
        Exemption::RoomForADatagramOnNetBsd,
    ];

    /// Backend, source, what it does, and why.
    pub fn row(self) -> [&'static str; 4] {
        match self {
            Exemption::TwoEventsOnKqueue => [
                "kqueue",
                "all",
                "two events of one registration from one poll",
                "reading and writing are two filters, each with events of its own",
            ],
            Exemption::DatagramSender => [
                "all",
                "UnixDatagram",
                "more than 30 events a second where each is answered by a send that fails or would block",
                "Linux wakes a sender whose peer is full or absent at each attempt",
            ],
            Exemption::ClosedPipeOnKqueue => [
                "kqueue",
                "Sender, FifoWriter, raw",
                "an event of a pipe without readers that was closed and not deregistered",
                "its kernels refuse to watch such a pipe, so that it has a user event, which closing does not take back",
            ],
            Exemption::BlocksAlthoughReady => [
                "poll, event-ports",
                "Eventfd; UdpErrorQueue and UdpTimestamps, shut down for reading; Tcp with priority data",
                "more than 30 events a second where each is answered by an operation that would block",
                "the kernel says that they are ready: a counter takes one more and no larger number, the socket has an end and no datagram, and Linux that is short of memory for TCP calls the byte of priority data readable",
            ],
            Exemption::ReaderOfAPipeOnKqueue => [
                "kqueue",
                "FifoWriter",
                "no event for writing where a named pipe had no reader when it was registered, got one and lost it",
                "its kernels refuse to watch a pipe without readers, so that it has a user event and no filter",
            ],
            Exemption::EndOfAFullPipeOnNetBsd => [
                "kqueue of NetBSD",
                "Sender",
                "no event for writing where the last reader of a full pipe has closed",
                "it wakes who waits for room before it notes the end, and without room that is no event",
            ],
            Exemption::RoomForADatagramOnNetBsd => [
                "kqueue of NetBSD",
                "UnixDatagram",
                "no event for writing where a full peer has read",
                "to it there is always room to send a datagram, so that there is none again",
            ],
            Exemption::SpaceBehindAnEndOnTheModel => [
                "kqueue",
                "UnixStream, Seqpacket",
                "no event for writing where the peer has read all and then sends nothing more",
                "the model cannot tell this from the end alone; kernels can",
            ],
        }
    }
}

/// How often each row was needed.
#[derive(Clone, Debug, Default)]
pub struct Exemptions {
    counts: BTreeMap<Exemption, u64>,
    /// Directions that had to be reported, by the kind of source.
    pub directions: BTreeMap<Kind, u64>,
}

impl Exemptions {
    pub fn count(&mut self, exemption: Exemption) {
        *self.counts.entry(exemption).or_default() += 1;
    }

    /// Instead of a direction that had to be reported.
    pub fn count_direction(&mut self, exemption: Exemption, kind: Kind) {
        self.count(exemption);
        *self.directions.entry(kind).or_default() += 1;
    }

    pub fn add(&mut self, other: &Exemptions) {
        for (exemption, count) in &other.counts {
            *self.counts.entry(*exemption).or_default() += count;
        }
        for (kind, count) in &other.directions {
            *self.directions.entry(*kind).or_default() += count;
        }
    }

    pub fn of(&self, exemption: Exemption) -> u64 {
        self.counts.get(&exemption).copied().unwrap_or(0)
    }
}

/// Whether a direction need not be reported of a source that is ready for `ready`.
pub fn direction(backend: Backend, kind: Kind, direction: Bits, ready: Bits) -> Option<Exemption> {
    if backend != Backend::Kqueue || direction.is_empty() {
        return None;
    }
    let writes = (Bits::WRITE | Bits::WRITE_END).contains(direction);
    if is_netbsd() && writes {
        match kind {
            Kind::Sender if (direction | ready).contains(Bits::WRITE_END) => {
                return Some(Exemption::EndOfAFullPipeOnNetBsd);
            }
            Kind::UnixDatagram => return Some(Exemption::RoomForADatagramOnNetBsd),
            _ => {}
        }
    }
    let ends = matches!(kind, Kind::UnixStream | Kind::Seqpacket) && ready.contains(Bits::END);
    if ends && direction == Bits::WRITE {
        return Some(Exemption::SpaceBehindAnEndOnTheModel);
    }
    (kind == Kind::FifoWriter && writes).then_some(Exemption::ReaderOfAPipeOnKqueue)
}

/// Whether what is registered by its descriptor stays registered when that is closed. A kqueue that
/// refuses to watch a pipe has a user event in its place: for writing that of a pipe without readers,
/// and on some kernels that of the end to read from, of a pipe without writers. The event goes when the
/// number is deregistered or registered again, whoever has it by then.
pub fn outlives_its_descriptor(backend: Backend, kind: Kind, writes_only: bool) -> bool {
    let refuses_receivers = std::env::var_os("KQUEUE_MODEL_WRITING_TO_RECEIVERS")
        .is_some_and(|value| value == "refused");
    let may_be_refused = match kind {
        Kind::Sender | Kind::FifoWriter => true,
        Kind::Receiver | Kind::Fifo => writes_only && refuses_receivers,
        _ => false,
    };
    backend == Backend::Kqueue && may_be_refused
}

/// Whether the model plays NetBSD's kernel.
fn is_netbsd() -> bool {
    std::env::var_os("KQUEUE_MODEL_NETBSD").is_some_and(|value| value == "1")
}

/// What an event may name of a kind although it is not ready for that: to NetBSD a named pipe is always
/// at its end for writing, and a socket for datagrams always has room.
pub fn always_named(backend: Backend, kind: Kind) -> Bits {
    match kind {
        _ if backend != Backend::Kqueue || !is_netbsd() => Bits::empty(),
        Kind::FifoWriter => Bits::WRITE | Bits::WRITE_END | Bits::END,
        Kind::UnixDatagram => Bits::WRITE,
        _ => Bits::empty(),
    }
}

pub fn two_events(backend: Backend) -> Option<Exemption> {
    match backend {
        Backend::Kqueue => Some(Exemption::TwoEventsOnKqueue),
        _ => None,
    }
}

/// Whether a source may have more events than the back-off allows.
pub fn rate(backend: Backend, kind: Kind, last: Bits, answered: &Answered) -> Option<Exemption> {
    let rearms = matches!(backend, Backend::Poll | Backend::EventPorts);
    let would_block = rearms && answered.last == Some(Outcome::WouldBlock);
    match kind {
        Kind::Eventfd if would_block => Some(Exemption::BlocksAlthoughReady),
        Kind::UdpErrorQueue | Kind::UdpTimestamps if would_block && last.contains(Bits::END) => {
            Some(Exemption::BlocksAlthoughReady)
        }
        Kind::Tcp | Kind::TcpUnconnected
            if would_block && last.contains(Bits::READ | Bits::PRIORITY) =>
        {
            Some(Exemption::BlocksAlthoughReady)
        }
        Kind::UnixDatagram if answered.sends => Some(Exemption::DatagramSender),
        _ => None,
    }
}

/// How many polls in a row may leave out what is ready, the last of which has reported `named` of it:
/// none, but where the kernel announces one thing at a time, and then another.
pub fn polls_allowed(backend: Backend, named: Bits) -> usize {
    match backend {
        Backend::EventPorts if !named.is_empty() => 2,
        _ => 0,
    }
}
