//! A TCP server that sends back what it receives, for any number of clients.
//!
//! ```text
//! cargo run --example tcp_server [ADDRESS]      (127.0.0.1:9000 if not given)
//! ```
//!
//! and in another terminal, for example, `nc 127.0.0.1 9000`. Shows how to
//! accept, also when descriptors have run out, and in `common/echo.rs` how to
//! serve connections: half-closed ones, and those that do not take what they
//! asked for.

use std::env;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

#[path = "common/echo.rs"]
mod echo;

const LISTENER: Token = Token(0);
const FIRST_CLIENT: Token = Token(1);

/// When to try again after accepting failed.
const RETRY: Duration = Duration::from_millis(200);

fn main() -> io::Result<()> {
    let address: SocketAddr = match env::args().nth(1) {
        Some(argument) => argument
            .parse()
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?,
        None => SocketAddr::from(([127, 0, 0, 1], 9000)),
    };

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(address)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients = echo::Connections::new(FIRST_CLIENT);
    println!("echoing on {}", listener.local_addr()?);

    let mut retry_at: Option<Instant> = None;
    loop {
        poll.poll_until(&mut events, retry_at)?;

        let mut accept = retry_at.is_some_and(|at| at <= Instant::now());
        for event in &events {
            match event.token() {
                LISTENER => accept = true,
                client => {
                    // One client's failure is not the server's.
                    if let Err(error) = clients.advance(poll.registry(), client) {
                        eprintln!("lost a client: {error}");
                    }
                }
            }
        }
        if accept {
            retry_at = accept_all(&listener, poll.registry(), &mut clients);
        }
    }
}

/// Accepts all that wait: an event tells of the first one only. Returns when to
/// try again, if that cannot be left to the next event.
fn accept_all(
    listener: &TcpListener,
    registry: &Registry,
    clients: &mut echo::Connections<TcpStream>,
) -> Option<Instant> {
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true); // nice to have: short echoes come at once
                if let Err(error) = clients.add(registry, stream) {
                    eprintln!("cannot serve {peer}: {error}");
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return None,
                // A client changed its mind, or a signal came.
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                // Most often no descriptor is left. The connection goes on waiting,
                // but there is no further event for it: try again later.
                _ => {
                    eprintln!("cannot accept beside {} clients: {error}", clients.len());
                    return Some(Instant::now() + RETRY);
                }
            },
        }
    }
}
