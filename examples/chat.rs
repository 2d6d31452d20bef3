//! A chat: every line that a client sends goes to all clients.
//!
//! Run `cargo run --example chat`, and `nc 127.0.0.1 9000` in several other terminals.

use std::collections::{HashMap, VecDeque};
use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A longer line is sent in parts.
const LONGEST_LINE: usize = 1000;
/// After this many bytes in a turn, the remaining clients wait for the next one.
const ENOUGH_FOR_A_TURN: usize = 64 * 1024;
/// A client that is further behind is dropped. More than what a turn can add, so that
/// a client that reads promptly is not.
const LIMIT: usize = 1024 * 1024;
/// When to accept again after an error.
const RETRY: Duration = Duration::from_millis(200);

struct Client {
    /// Registered once, for both directions.
    stream: TcpStream,
    /// The beginning of a line.
    line: Vec<u8>,
    /// To be written.
    waiting: VecDeque<u8>,
    /// An attempt to write is owed. Events and new lines set it, only `flush` clears it.
    dirty: bool,
    read_ended: bool,
    /// Writing has failed. Earlier lines of the client may still be unread.
    write_failed: bool,
}

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(address.parse().expect("an address"))?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("chatting on {}", listener.local_addr()?);

    let mut clients: HashMap<Token, Client> = HashMap::new();
    let mut next = LISTENER.0 + 1;
    let mut retry_at = None;
    loop {
        poll.poll_until(&mut events, retry_at)?;
        let mut accept = retry_at.is_some_and(|at| at <= Instant::now());
        let mut said = Vec::new(); // the lines of this turn
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                accept = true;
            } else if let Some(client) = clients.get_mut(&token) {
                client.dirty = true;
                if client.read(token, &mut said) {
                    // There may be more. The next poll reports it again.
                    let registry = poll.registry();
                    registry.reregister(&mut client.stream, token, BOTH)?;
                }
            }
        }
        if accept {
            retry_at = None;
            loop {
                match listener.accept() {
                    Ok((mut stream, _address)) => {
                        let token = Token(next);
                        next += 1; // No token is used twice.
                        let registry = poll.registry();
                        match registry.register(&mut stream, token, BOTH) {
                            Ok(()) => drop(clients.insert(token, Client::new(stream))),
                            Err(error) => eprintln!("cannot serve a client: {error}"),
                        }
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        ErrorKind::Interrupted
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset => {}
                        _ => {
                            eprintln!("cannot accept: {error}");
                            retry_at = Some(Instant::now() + RETRY);
                            break;
                        }
                    },
                }
            }
        }
        // Once a turn: several lines cost each client one write.
        clients.retain(|_, client| client.flush(&said));
    }
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        Client {
            stream,
            line: Vec::new(),
            waiting: VecDeque::new(),
            dirty: false,
            read_ended: false,
            write_failed: false,
        }
    }

    /// Reads lines until `WouldBlock`, or until the turn has enough of them. Returns
    /// whether there may be more.
    fn read(&mut self, token: Token, said: &mut Vec<u8>) -> bool {
        let mut buffer = [0; 4096];
        while !self.read_ended {
            if said.len() >= ENOUGH_FOR_A_TURN {
                return true;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => self.read_ended = true,
                Ok(length) => {
                    for &byte in &buffer[..length] {
                        if byte != b'\n' {
                            self.line.push(byte);
                        }
                        if byte == b'\n' || self.line.len() == LONGEST_LINE {
                            let line = String::from_utf8_lossy(&self.line);
                            let _ = writeln!(said, "{}: {line}", token.0);
                            self.line.clear();
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.read_ended = true;
                    self.write_failed = true;
                }
            }
        }
        false
    }

    /// Writes what is new, and what is owed. Returns whether to keep the client.
    fn flush(&mut self, said: &[u8]) -> bool {
        if !said.is_empty() {
            self.waiting.extend(said);
            self.dirty = true;
        }
        if mem::take(&mut self.dirty) && !self.write_failed {
            while !self.waiting.is_empty() {
                match self.stream.write(self.waiting.as_slices().0) {
                    Ok(length) => drop(self.waiting.drain(..length)),
                    // A writable event will come.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => self.write_failed = true,
                }
                if self.write_failed {
                    break;
                }
            }
        }
        if self.write_failed {
            self.waiting.clear();
        }
        let has_ended = self.read_ended && self.waiting.is_empty();
        !has_ended && self.waiting.len() <= LIMIT
    }
}
