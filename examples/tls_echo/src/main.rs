//! A TLS server that sends back what it receives: rustls over non-blocking streams.
//!
//! `cargo run -p tls_echo -- cert.pem key.pem`; a pair of files for tests comes from
//! `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem`.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

const LISTENER: Token = Token(0);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// How often a connection reads before the others have their turn.
const READS_PER_TURN: usize = 4;
/// When to accept again after an error.
const RETRY: Duration = Duration::from_millis(200);

struct Connection {
    /// Registered once, for both directions: TLS writes in order to read, and reads in
    /// order to write.
    stream: TcpStream,
    tls: ServerConnection,
    /// The peer sends no more.
    read_ended: bool,
}

/// The next step of a connection.
enum Next {
    /// The operation that it needs returned `WouldBlock`: an event will come.
    Wait,
    /// There may be more to do, for which no event comes by itself.
    Again,
    Close,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (certificate, key, address) = match &arguments[..] {
        [_, certificate, key] => (certificate, key, "127.0.0.1:9443"),
        [_, certificate, key, address] => (certificate, key, &address[..]),
        _ => return Err("usage: tls_echo CERTIFICATE KEY [ADDRESS]".into()),
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let config = Arc::new(config);

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(address.parse()?)?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("echoing on {}", listener.local_addr()?);

    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut next = LISTENER.0 + 1; // No token is used twice.
    let mut retry_at = None;
    loop {
        poll.poll_until(&mut events, retry_at)?;
        let mut accept = retry_at.is_some_and(|at| at <= Instant::now());
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                accept = true;
                continue;
            }
            let Some(connection) = connections.get_mut(&token) else {
                continue; // closed earlier in this turn
            };
            let outcome = connection.advance().and_then(|next| {
                if let Next::Again = next {
                    // The next poll reports it again, behind the others that are ready.
                    let registry = poll.registry();
                    registry.reregister(&mut connection.stream, token, BOTH)?;
                }
                Ok(next)
            });
            match outcome {
                Ok(Next::Wait | Next::Again) => {}
                Ok(Next::Close) => drop(connections.remove(&token)),
                Err(error) => {
                    eprintln!("lost a client: {error}");
                    connections.remove(&token);
                }
            }
        }
        while accept {
            retry_at = None;
            match listener.accept() {
                Ok((mut stream, _peer)) => {
                    let token = Token(next);
                    next += 1;
                    let tls = ServerConnection::new(Arc::clone(&config))?;
                    match poll.registry().register(&mut stream, token, BOTH) {
                        Ok(()) => drop(connections.insert(token, Connection::new(stream, tls))),
                        Err(error) => eprintln!("cannot serve a client: {error}"),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => accept = false,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!("cannot accept: {error}");
                    retry_at = Some(Instant::now() + RETRY);
                    accept = false;
                }
            }
        }
    }
}

impl Connection {
    fn new(stream: TcpStream, mut tls: ServerConnection) -> Connection {
        // `advance` has its own limit: it reads only if there is nothing to write.
        tls.set_buffer_limit(None);
        Connection {
            stream,
            tls,
            read_ended: false,
        }
    }

    /// Continues after an event, whatever its contents.
    fn advance(&mut self) -> io::Result<Next> {
        for _ in 0..READS_PER_TURN {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    // Do not read from a peer that does not read: it has to wait as well.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.read_ended {
                self.stream.shutdown(Shutdown::Write)?;
                return Ok(Next::Close);
            }
            match self.tls.read_tls(&mut self.stream) {
                // Cut off: an orderly end has a `close_notify` before it.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.answer()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Again)
    }

    /// Decrypts the received bytes, and encrypts the answer.
    fn answer(&mut self) -> io::Result<()> {
        let state = match self.tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                let _ = self.tls.write_tls(&mut self.stream); // tells the peer why
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        };
        let mut text = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut text)?;
        self.tls.writer().write_all(&text)?;
        if state.peer_has_closed() {
            self.tls.send_close_notify();
            self.read_ended = true;
        }
        Ok(())
    }
}
