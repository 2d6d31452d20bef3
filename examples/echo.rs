//! A TCP server that sends back what it receives, to any number of clients.
//!
//! Run `cargo run --example echo`, and `nc 127.0.0.1 9000` in another terminal.

use std::collections::{HashMap, VecDeque};
use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A connection reads no more while it has this many bytes to write.
const LIMIT: usize = 64 * 1024;
/// How often a connection reads before the others have their turn.
const READS_PER_TURN: usize = 4;
/// When to accept again after an error.
const RETRY: Duration = Duration::from_millis(200);

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    let listener = TcpListener::bind(address.parse().expect("an address"))?;
    println!("echoing on {}", listener.local_addr()?);
    let mut server = Server::new(Poll::new()?, listener)?;
    let mut events = Events::with_capacity(1024);
    loop {
        server.turn(&mut events)?;
    }
}

pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: HashMap<Token, Connection>,
    /// The token of the next connection. None is used twice, so that an event of a
    /// connection that was closed finds nothing.
    next: usize,
    /// One buffer for all: the bytes of a read are used up, or copied, at once.
    buffer: Vec<u8>,
    retry_at: Option<Instant>,
}

impl Server {
    pub(crate) fn new(poll: Poll, mut listener: TcpListener) -> io::Result<Server> {
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Server {
            poll,
            listener,
            connections: HashMap::new(),
            next: LISTENER.0 + 1,
            buffer: vec![0; 16 * 1024],
            retry_at: None,
        })
    }

    /// Waits for events, and handles them.
    pub(crate) fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.poll.poll_until(events, self.retry_at)?;
        let mut accept = self.retry_at.is_some_and(|at| at <= Instant::now());
        for event in &*events {
            match event.token() {
                LISTENER => accept = true,
                token => {
                    let is_open = self.advance(token);
                    accept |= !is_open && self.retry_at.is_some(); // a descriptor is free
                }
            }
        }
        if accept {
            self.accept_all();
        }
        Ok(())
    }

    /// Accepts until `WouldBlock`: one event may stand for many connections.
    fn accept_all(&mut self) {
        self.retry_at = None;
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if let Err(error) = self.add(stream) {
                        eprintln!("cannot serve {peer}: {error}");
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    // A signal, or a client that has gone already.
                    ErrorKind::Interrupted
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset => {}
                    // Most often no descriptor is left. The clients keep waiting, and
                    // no further event comes for them.
                    _ => {
                        eprintln!("cannot accept: {error}");
                        self.retry_at = Some(Instant::now() + RETRY);
                        return;
                    }
                },
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream) -> io::Result<()> {
        let token = Token(self.next);
        self.poll.registry().register(&mut stream, token, BOTH)?;
        self.next += 1;
        self.connections.insert(token, Connection::new(stream));
        Ok(())
    }

    /// Continues with the connection that had an event. Returns whether it stays open.
    fn advance(&mut self, token: Token) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else {
            return false; // closed earlier in this turn
        };
        let next = connection.advance(&mut self.buffer);
        let is_open = next.and_then(|next| match next {
            Next::Wait => Ok(true),
            // The next poll reports it again, behind the others that are ready.
            Next::Again => {
                let registry = self.poll.registry();
                registry.reregister(&mut connection.stream, token, BOTH)?;
                Ok(true)
            }
            Next::Close => Ok(false),
        });
        let is_open = is_open.unwrap_or_else(|error| {
            eprintln!("lost a client: {error}");
            false
        });
        if !is_open {
            self.connections.remove(&token); // which closes and deregisters it
        }
        is_open
    }
}

/// The next step of a connection.
enum Next {
    /// The operation that it needs returned `WouldBlock`: an event will come.
    Wait,
    /// There may be more to do, for which no event comes by itself.
    Again,
    Close,
}

struct Connection {
    /// Registered once, for both directions.
    stream: TcpStream,
    /// Received, and not sent back yet.
    waiting: VecDeque<u8>,
    /// The peer sends no more. It may still read.
    read_ended: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            waiting: VecDeque::new(),
            read_ended: false,
        }
    }

    /// Writes and reads after an event, whatever its contents: only trying shows.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        for _ in 0..READS_PER_TURN {
            while !self.waiting.is_empty() {
                match self.stream.write(self.waiting.as_slices().0) {
                    Ok(length) => drop(self.waiting.drain(..length)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.read_ended && self.waiting.is_empty() {
                return Ok(Next::Close);
            }
            if self.read_ended || self.waiting.len() >= LIMIT {
                return Ok(Next::Wait); // until it is writable
            }
            match self.stream.read(buffer) {
                Ok(0) => self.read_ended = true,
                Ok(length) => self.waiting.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Again)
    }
}
