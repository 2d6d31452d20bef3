//! The specification: what a program may expect of the events of a source.
//!
//! A registration has two directions. Each is in one state:
//!
//! ```text
//! Armed     an event is owed when it is ready
//! Fired     it was reported: nothing is owed
//! Suspect   it was reported, and an operation failed since, or looked only: one is owed if it is ready
//! Repeated  it was reported as suspect: nothing is owed, and more may come
//!
//! register, reregister                                  Armed
//! an event names it                                     Fired; Suspect becomes Repeated
//! WouldBlock in it, or a stream's transfer comes short  Armed
//! a failure that takes a datagram or a client away      Armed
//! any other failure, a short peek; WouldBlock in an
//! unknown direction                                     Fired and Repeated become Suspect
//! ```
//!
//! - **An event that is owed comes**: to the polls that follow, and to one that waits already.
//! - The end of a peer's data is owed once to whoever reads, whether or not reading is `Fired`.
//! - Behind an event that says that the connection is broken nothing is owed.
//! - A client of a pipe that was waited for is owed as writable, whatever the interest.
//! - **What may not come**: an event of a token that is not registered; a direction that was not asked
//!   for, unless the connection has failed; an end or an error of a peer that is well; of a pipe an end or
//!   an error, or two events in one poll; of a source that nobody has touched since, an event that names
//!   only what is `Fired`; a wake that nobody made.
//! - **How many may come**: see `MOST_IN_A_SECOND`.
//! - Operations and registrations return what is documented: a pipe's bytes are those of its client, and a
//!   source that is registered twice, or not at all, is a mistake of this kind or that.

use std::fmt;
use std::io;

use mio::event::Event;
use mio::Token;
use windows_sys::Win32::Networking::WinSock::{
    WSAECONNABORTED, WSAECONNRESET, WSAEMSGSIZE, WSAENETRESET,
};

use crate::peer::Ready;
use crate::program::{Interest, Kind};

/// Of a source to which nothing happens, in the second after the first event, whatever the program
/// does about them.
pub const MOST_IN_A_SECOND: usize = 30;

/// What is wrong, in two words, and the whole of it.
#[derive(Clone, Debug)]
pub struct Failure {
    pub class: &'static str,
    pub text: String,
}

impl Failure {
    pub fn new(class: &'static str, text: impl Into<String>) -> Failure {
        Failure {
            class,
            text: text.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.text)
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum State {
    Armed,
    Fired,
    Suspect,
    Repeated,
}

pub const READING: usize = 0;
pub const WRITING: usize = 1;

#[derive(Copy, Clone, Debug)]
pub struct Watch {
    pub token: Token,
    pub interest: Interest,
    pub states: [State; 2],
    /// Something was done to the source since its last event.
    pub is_touched: bool,
    /// The end of the peer's data was reported.
    pub has_reported_end: bool,
    /// That the connection is broken was reported, which is for good.
    pub is_over: bool,
}

impl Watch {
    pub fn new(token: Token, interest: Interest) -> Watch {
        Watch {
            token,
            interest,
            states: [State::Armed; 2],
            is_touched: true,
            has_reported_end: false,
            is_over: false,
        }
    }

    fn asks(&self, direction: usize) -> bool {
        match self.interest {
            Interest::Read => direction == READING,
            Interest::Write => direction == WRITING,
            Interest::Both => true,
        }
    }
}

/// What the peer, and the program, have done to the connection.
#[derive(Copy, Clone, Debug, Default)]
pub struct Connection {
    /// The peer has ended its writing half, and is there.
    pub has_peer_ended: bool,
    /// The peer has closed or reset it, or was never there.
    pub is_broken: bool,
    /// The program has ended its own half.
    pub is_shut_down: bool,
    /// What the peer has sent, and the program has not read.
    pub unread: usize,
    /// A client of the pipe was waited for, has come, and was not reported.
    pub is_connected_news: bool,
}

/// What an event says.
#[derive(Copy, Clone, Debug)]
pub struct Seen {
    pub token: Token,
    pub readable: bool,
    pub writable: bool,
    pub read_closed: bool,
    pub write_closed: bool,
    pub error: bool,
}

impl Seen {
    pub fn of(event: &Event) -> Seen {
        Seen {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        }
    }
}

/// An event that is owed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    Reading,
    Writing,
    End,
    Client,
}

/// What is owed of a source that is ready for this.
pub fn owed(watch: &Watch, connection: &Connection, ready: Ready) -> Vec<Owed> {
    let mut all = Vec::new();
    if watch.is_over {
        return all;
    }
    let is = |direction: usize| {
        let is_owed = matches!(watch.states[direction], State::Armed | State::Suspect);
        watch.asks(direction) && is_owed
    };
    if is(READING) && ready.read {
        all.push(Owed::Reading);
    }
    if is(WRITING) && ready.write {
        all.push(Owed::Writing);
    }
    // Wine sees the end only when nothing is in front of it.
    let is_at_end = connection.has_peer_ended && connection.unread == 0;
    let has_end = is_at_end && !connection.is_broken && !connection.is_shut_down;
    if watch.asks(READING) && has_end && !watch.has_reported_end {
        all.push(Owed::End);
    }
    if connection.is_connected_news {
        all.push(Owed::Client);
    }
    all
}

/// Whether an event may come, and what follows from it. `is_concurrent`: the program did something at
/// the same time.
pub fn judge(
    kind: Kind,
    watch: &mut Watch,
    connection: &mut Connection,
    seen: Seen,
    is_concurrent: bool,
) -> Result<(), Failure> {
    let fail = |class, text: &str| Err(Failure::new(class, format!("{kind:?}: {text}: {seen:?}")));
    let is_final = seen.error || seen.read_closed || seen.write_closed;
    if kind.is_pipe() && is_final {
        return fail("false end", "a pipe never ends for good");
    }
    let has_reason = connection.has_peer_ended || connection.is_broken || connection.is_shut_down;
    if is_final && !has_reason && !is_concurrent {
        return fail("false end", "its peer is well");
    }
    let may_be_unasked = is_final || connection.is_connected_news || is_concurrent;
    if (seen.readable && !watch.asks(READING) && !may_be_unasked)
        || (seen.writable && !watch.asks(WRITING) && !may_be_unasked)
    {
        return fail("unasked", "nobody is interested in that");
    }
    let named = [seen.readable, seen.writable];
    let is_old = |direction: usize| !named[direction] || watch.states[direction] == State::Fired;
    let is_new_end = seen.read_closed && !watch.has_reported_end;
    if !watch.is_touched
        && !is_concurrent
        && is_old(READING)
        && is_old(WRITING)
        && !is_new_end
        && !is_final
    {
        return fail(
            "repeated",
            "nothing has happened to it since it was reported",
        );
    }
    for (direction, is_named) in named.into_iter().enumerate() {
        if is_named {
            watch.states[direction] = match watch.states[direction] {
                State::Armed | State::Fired => State::Fired,
                State::Suspect | State::Repeated => State::Repeated,
            };
        }
    }
    watch.is_touched = false;
    watch.has_reported_end |= seen.read_closed;
    watch.is_over |= connection.is_broken && (seen.error || seen.write_closed);
    if seen.writable {
        connection.is_connected_news = false;
    }
    Ok(())
}

/// What follows from an operation in a direction. `wanted`: the bytes that a stream was asked for.
pub fn after(
    kind: Kind,
    watch: &mut Watch,
    direction: usize,
    outcome: &io::Result<usize>,
    wanted: Option<usize>,
) {
    watch.is_touched = true;
    match outcome {
        Ok(length) => {
            if kind.is_stream() && *length > 0 && wanted.is_some_and(|wanted| *length < wanted) {
                watch.states[direction] = State::Armed;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            watch.states[direction] = State::Armed;
        }
        Err(error) if direction == READING && takes_something(kind, error) => {
            watch.states[direction] = State::Armed;
        }
        Err(_) => suspect(kind, watch),
    }
}

/// Whether what fails in this way has taken something away, behind which there may be more.
fn takes_something(kind: Kind, error: &io::Error) -> bool {
    let codes: &[i32] = match kind {
        Kind::Udp => &[WSAEMSGSIZE, WSAENETRESET, WSAECONNRESET],
        Kind::Listener => &[WSAECONNRESET, WSAECONNABORTED],
        _ => &[],
    };
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// What was reported may be so no longer, and nobody knows.
pub fn suspect(kind: Kind, watch: &mut Watch) {
    watch.is_touched = true;
    // What a pipe is ready for is known without asking.
    if kind.is_pipe() {
        return;
    }
    for state in &mut watch.states {
        if matches!(*state, State::Fired | State::Repeated) {
            *state = State::Suspect;
        }
    }
}
