//! The server's connections: each peer gets its bytes back.

// For tests on a model of another system's kernel.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::event::Source;
use mio::{Interest, Registry, Token};

/// The maximum number of unsent bytes of a connection. The server reads no more from a peer that
/// has not received them, so a peer that only sends is stopped by its own full socket, and needs no
/// further memory.
pub const CAPACITY: usize = 64 * 1024;

/// How many times a connection may read before the others have their turn.
pub const READS_PER_TURN: usize = 4;

/// The open connections of a server.
pub struct Connections<S> {
    open: HashMap<Token, Connection<S>>,
    /// Counted up, so that no token is used twice: an event that a poll has returned before its
    /// connection was closed then finds nothing, and not another connection. (64 bits do not run
    /// out. A table of slots that are reused must free them only after the loop over the events.)
    next: usize,
    /// The bytes of the last read. One buffer suffices for all: see `Connection::owed`.
    buffer: Vec<u8>,
}

struct Connection<S> {
    stream: S,
    /// Bytes that were read and not written yet; at most `CAPACITY`.
    owed: Vec<u8>,
    /// The present interest: reading, or writing while bytes are owed. Both all the time would work
    /// as well. But a Unix socket is then reported writable whenever its peer reads, which is one
    /// more event for each echo.
    interest: Interest,
}

/// Why a connection has stopped for now.
pub enum Pause {
    /// It would block: reading, or writing if bytes are owed. An event will come.
    WouldBlock,
    /// Its turn is over. There may be more to do, for which no event comes.
    EndOfTurn,
    /// The peer sends no more, and everything was echoed.
    Done,
}

impl<S: Read + Write + Source> Connections<S> {
    /// A server without connections, which will have the tokens from `first` on.
    pub fn new(first: Token) -> Connections<S> {
        Connections {
            open: HashMap::new(),
            next: first.0,
            buffer: vec![0; CAPACITY],
        }
    }

    /// The number of open connections.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a connection over; its stream must be non-blocking.
    pub fn add(&mut self, registry: &Registry, mut stream: S) -> io::Result<()> {
        let token = Token(self.next);
        let interest = Interest::READABLE;
        registry.register(&mut stream, token, interest)?;
        self.next += 1;
        let connection = Connection {
            stream,
            owed: Vec::new(),
            interest,
        };
        self.open.insert(token, connection);
        Ok(())
    }

    /// Continues with the connection that had an event, and closes it at its end. Returns how many
    /// bytes are still owed. An error concerns this connection only, which is then closed as well.
    pub fn advance(&mut self, registry: &Registry, token: Token) -> io::Result<usize> {
        let Some(connection) = self.open.get_mut(&token) else {
            return Ok(0); // an event from before it was closed
        };
        let pause = connection.advance(&mut self.buffer);
        let interest = match connection.owed.is_empty() {
            true => Interest::READABLE,
            false => Interest::WRITABLE,
        };
        let outcome = match pause {
            Ok(Pause::WouldBlock) if interest == connection.interest => {
                return Ok(connection.owed.len())
            }
            // Registering again checks the readiness: if there is any, the next poll reports it,
            // behind the others that wait.
            Ok(Pause::WouldBlock | Pause::EndOfTurn) => {
                connection.interest = interest;
                match registry.reregister(&mut connection.stream, token, interest) {
                    Ok(()) => return Ok(connection.owed.len()),
                    Err(error) => Err(error),
                }
            }
            Ok(Pause::Done) => Ok(0),
            Err(error) => Err(error),
        };
        self.open.remove(&token); // which closes it, and so ends its registration
        outcome
    }
}

impl<S: Read + Write> Connection<S> {
    /// Echoes until one direction would block. The kind of event does not matter: only trying
    /// shows, and only an attempt that would block makes the next event certain.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<Pause> {
        for _ in 0..READS_PER_TURN {
            let written = write_some(&mut self.stream, &self.owed)?;
            if written < self.owed.len() {
                self.owed.drain(..written);
                return Ok(Pause::WouldBlock); // until it is writable
            }
            self.owed = Vec::new(); // idle connections hold no memory

            let length = match self.stream.read(buffer) {
                Ok(0) => return Ok(Pause::Done),
                Ok(length) => length,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(Pause::WouldBlock),
                    ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            };
            let written = write_some(&mut self.stream, &buffer[..length])?;
            self.owed.extend_from_slice(&buffer[written..length]);
        }
        Ok(Pause::EndOfTurn)
    }
}

/// Writes until it would block, or all is written. Returns the number of bytes written.
fn write_some(stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => written += length,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => break,
                ErrorKind::Interrupted => continue,
                _ => return Err(error),
            },
        }
    }
    Ok(written)
}
