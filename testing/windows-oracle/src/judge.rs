//! The specification: what a program may expect of the events of a source.
//!
//! A registration has two directions. Each is in one state:
//!
//! ```text
//! Armed     an event is due when the direction is ready
//! Fired     it was reported: no event is due
//! Suspect   it was reported, and since then an operation failed or peeked: an event is due if it is ready
//! Repeated  it was reported as suspect: no event is due, and more may come
//!
//! register, reregister                                  Armed
//! an event names it                                     Fired; Suspect becomes Repeated
//! WouldBlock in it, or a short transfer of a stream     Armed
//! a failure that consumes a datagram or a client        Armed
//! any other failure, a short peek; WouldBlock in an
//! unknown direction                                     Fired and Repeated become Suspect
//! ```
//!
//! That is without a mode. In modes:
//!
//! ```text
//! level     a direction is Armed after each operation and each act of the peer; when it is Fired, each poll names
//!           it while it is ready, unless the buffer is full; and an event names only what is ready
//! one-shot  Armed until one event, which names all that was ready since it was registered; then none
//! ```
//!
//! - **An event that is due comes**: from the next polls, and from a poll that waits already.
//! - The end of a peer's data is due once if the interest has reading, even if reading is `Fired`.
//! - After an event that reports the connection as broken, no event is due.
//! - When a client connects to a pipe that waits for one, a writable event is due, whatever the interest.
//! - **An event must not come** if its token is not registered; if it names a direction that is not in the
//!   interest, unless the connection has failed; if it reports an end or an error of a peer that has neither,
//!   or of a pipe; if it is the second event of a pipe in one poll; if it names only what is `Fired`, and the
//!   source was not touched since; if it is the second event of a one-shot registration; or if it is a wake and
//!   no waker woke.
//! - **Handles** that can be waited for: `handle.rs` counts the signals. Each event has one, and none is lost, except
//!   with the source. Each registration reports one, unless it is level-triggered. A handle that is signalled when
//!   it is registered is reported by the next poll. Another thread reports a later signal, so that not every poll
//!   reports the first one of a level-triggered handle.
//! - **The number of events** is limited: see `MOST_IN_A_SECOND`.
//! - Operations and registrations return what is documented: a pipe's bytes are those of its client, and
//!   registering a source twice, or changing a source that is not registered, fails with the documented kind.

use std::fmt;
use std::io;

use mio::event::Event;
use mio::Token;
use windows_sys::Win32::Networking::WinSock::{
    WSAECONNABORTED, WSAECONNRESET, WSAEMSGSIZE, WSAENETRESET,
};

use crate::handle::{Signals, Watched};
use crate::peer::Ready;
use crate::program::{Directions, Interest, Kind, Mode};

/// The maximum number of events of a source to which nothing happens, in the second after the first event,
/// whatever the program answers them with.
pub const MOST_IN_A_SECOND: usize = 30;

/// A violation of the specification: its class in two words, and all details.
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
    /// An operation was made, or the peer acted, since the last event.
    pub is_touched: bool,
    /// The end of the peer's data was reported.
    pub has_reported_end: bool,
    /// It was reported that the connection is broken, which is final.
    pub is_over: bool,
    /// It is one-shot, and was reported.
    pub is_spent: bool,
    /// The readiness when it was registered, until something is done.
    pub at_first: Option<Ready>,
    /// How many polls with a full buffer have not named it, one after the other, although they had to.
    pub passed_over: usize,
}

impl Watch {
    pub fn new(token: Token, interest: Interest, ready: Ready) -> Watch {
        Watch {
            token,
            interest,
            states: [State::Armed; 2],
            is_touched: true,
            has_reported_end: false,
            is_over: false,
            is_spent: false,
            at_first: Some(ready),
            passed_over: 0,
        }
    }

    /// An operation was made, or the peer has acted.
    pub fn touch(&mut self) {
        self.is_touched = true;
        self.at_first = None;
        if self.is_level() {
            self.states = [State::Armed; 2];
            self.has_reported_end = false;
        }
    }

    pub fn is_level(&self) -> bool {
        self.interest.mode() == Mode::Level
    }

    /// Whether the registration of a handle waits for it.
    pub fn waits(&self) -> Watched {
        match self.states[READING] {
            State::Fired if !self.is_level() => Watched::Reported,
            _ => Watched::Waits,
        }
    }

    fn asks(&self, direction: usize) -> bool {
        match self.interest.directions() {
            Directions::Read => direction == READING,
            Directions::Write => direction == WRITING,
            Directions::Both => true,
        }
    }
}

/// What the peer and the program have done to the connection.
#[derive(Copy, Clone, Debug, Default)]
pub struct Connection {
    /// The peer has shut down its writing half, and has not closed the connection.
    pub has_peer_ended: bool,
    /// The peer has closed or reset it, or has never accepted it.
    pub is_broken: bool,
    /// The program has shut down its own half.
    pub is_shut_down: bool,
    /// The number of bytes that the peer has sent and the program has not read.
    pub unread: usize,
    /// A client has connected to a pipe that waited for one, and was not reported.
    pub has_new_client: bool,
}

/// The readiness that an event reports.
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

/// A reason why an event is due.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Reading,
    Writing,
    End,
    Client,
}

impl Due {
    /// Whether this event is the one that is due.
    pub fn is_in(self, seen: &Seen) -> bool {
        match self {
            Due::Reading => seen.readable,
            Due::Writing | Due::Client => seen.writable,
            Due::End => seen.read_closed,
        }
    }
}

/// The events that are due of a source with this readiness.
pub fn due_of(watch: &Watch, connection: &Connection, ready: Ready) -> Vec<Due> {
    let is_due = |due: &Due| match due {
        Due::Reading => matches!(watch.states[READING], State::Armed | State::Suspect),
        Due::Writing => matches!(watch.states[WRITING], State::Armed | State::Suspect),
        Due::End => !watch.has_reported_end,
        Due::Client => true,
    };
    let mut all = reasons(watch, connection, ready);
    all.retain(is_due);
    all
}

/// The events that the next poll must have, of a level-triggered source with this readiness: those of before.
pub fn due_again(watch: &Watch, connection: &Connection, ready: Ready) -> Vec<Due> {
    if !watch.is_level() {
        return Vec::new();
    }
    // What has come since may be on its way.
    let is_due = |due: &Due| match due {
        Due::Reading => watch.states[READING] == State::Fired,
        Due::Writing => watch.states[WRITING] == State::Fired,
        Due::End => watch.has_reported_end,
        Due::Client => false,
    };
    let mut all = reasons(watch, connection, ready);
    all.retain(is_due);
    all
}

/// What a registration that was never reported would report.
fn reasons(watch: &Watch, connection: &Connection, ready: Ready) -> Vec<Due> {
    let mut all = Vec::new();
    if watch.is_over || watch.is_spent {
        return all;
    }
    if watch.asks(READING) && ready.read {
        all.push(Due::Reading);
    }
    if watch.asks(WRITING) && ready.write {
        all.push(Due::Writing);
    }
    // Wine sees the end only when no data is before it.
    let is_at_end = connection.has_peer_ended && connection.unread == 0;
    let has_end = is_at_end && !connection.is_broken && !connection.is_shut_down;
    if watch.asks(READING) && has_end {
        all.push(Due::End);
    }
    if connection.has_new_client {
        all.push(Due::Client);
    }
    all
}

/// Checks that an event may come, and changes the states. `may_be`: what the source may be ready for.
/// `is_concurrent`: the program did something at the same time.
pub fn judge(
    kind: Kind,
    watch: &mut Watch,
    connection: &mut Connection,
    seen: Seen,
    may_be: Ready,
    is_concurrent: bool,
) -> Result<(), Failure> {
    let fail = |class, text: &str| Err(Failure::new(class, format!("{kind:?}: {text}: {seen:?}")));
    if watch.is_spent {
        return fail("again", "it is one-shot, and was reported");
    }
    let is_final = seen.error || seen.read_closed || seen.write_closed;
    if kind.is_pipe() && is_final {
        return fail("false end", "a pipe never ends for good");
    }
    let has_reason = connection.has_peer_ended || connection.is_broken || connection.is_shut_down;
    if is_final && !has_reason && !is_concurrent {
        return fail("false end", "its peer has not ended or failed");
    }
    let may_be_unasked = is_final || connection.has_new_client || is_concurrent;
    if (seen.readable && !watch.asks(READING) && !may_be_unasked)
        || (seen.writable && !watch.asks(WRITING) && !may_be_unasked)
    {
        return fail("unasked", "the interest does not have this direction");
    }
    match watch.interest.mode() {
        Mode::Edge => {
            if is_repeated(watch, seen) && !is_concurrent {
                return fail(
                    "repeated",
                    "nothing has happened to it since it was reported",
                );
            }
        }
        Mode::Level => {
            let is_false = (seen.readable && !may_be.read) || (seen.writable && !may_be.write);
            if is_false && !is_final && !watch.is_touched && !is_concurrent {
                return fail("not ready", "it is level-triggered, and is not ready");
            }
        }
        Mode::OneShot => {
            watch.is_spent = true;
            if let (Some(ready), false) = (watch.at_first, is_concurrent) {
                let misses = (ready.read && watch.asks(READING) && !seen.readable)
                    || (ready.write && watch.asks(WRITING) && !seen.writable);
                if misses {
                    return fail("incomplete", "it was ready when it was registered");
                }
            }
        }
    }
    for (direction, is_named) in [seen.readable, seen.writable].into_iter().enumerate() {
        if is_named {
            watch.states[direction] = match watch.states[direction] {
                State::Armed | State::Fired => State::Fired,
                State::Suspect | State::Repeated => State::Repeated,
            };
        }
    }
    watch.is_touched = false;
    watch.has_reported_end |= seen.read_closed;
    let is_over = connection.is_broken && (seen.error || seen.write_closed);
    watch.is_over |= is_over && !watch.is_level();
    if seen.writable {
        connection.has_new_client = false;
    }
    Ok(())
}

/// Whether an event names only what was reported, of a source that was not touched since.
fn is_repeated(watch: &Watch, seen: Seen) -> bool {
    let named = [seen.readable, seen.writable];
    let is_old = |direction: usize| !named[direction] || watch.states[direction] == State::Fired;
    let is_new_end = seen.read_closed && !watch.has_reported_end;
    let is_final = seen.error || seen.read_closed || seen.write_closed;
    !watch.is_touched && is_old(READING) && is_old(WRITING) && !is_new_end && !is_final
}

/// The same for a handle.
pub fn judge_handle(
    watch: &mut Watch,
    signals: &mut Signals,
    seen: Seen,
    is_concurrent: bool,
) -> Result<(), Failure> {
    let fail = |class, text: &str| Err(Failure::new(class, format!("{text}: {seen:?}")));
    if !seen.readable || seen.writable || seen.read_closed || seen.write_closed || seen.error {
        return fail("unasked", "a handle is readable, and nothing else");
    }
    if watch.waits() == Watched::Reported {
        return fail("again", "a handle that was reported, and not reregistered");
    }
    signals.reported(is_concurrent)?;
    // A thread of the pool may still have some of its signals.
    watch.states[READING] = match watch.is_level() && signals.has_more() {
        true => State::Armed,
        false => State::Fired,
    };
    watch.is_touched = false;
    watch.at_first = None;
    Ok(())
}

/// Changes the states after an operation in a direction. `wanted`: the length of a stream's buffer.
pub fn after(
    kind: Kind,
    watch: &mut Watch,
    direction: usize,
    outcome: &io::Result<usize>,
    wanted: Option<usize>,
) {
    watch.touch();
    if watch.interest.mode() != Mode::Edge {
        return;
    }
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

/// Whether an operation that fails with this error has consumed a datagram or a client, so that the next one
/// may be there.
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

/// The readiness that was reported may have changed, and no operation has shown it.
pub fn suspect(kind: Kind, watch: &mut Watch) {
    watch.touch();
    // The crate knows the readiness of a pipe without asking the system.
    if kind.is_pipe() || watch.interest.mode() != Mode::Edge {
        return;
    }
    for state in &mut watch.states {
        if matches!(*state, State::Fired | State::Repeated) {
            *state = State::Suspect;
        }
    }
}
