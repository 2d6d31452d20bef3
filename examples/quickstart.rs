//! A listener and a connection in one event loop: the client sends a greeting,
//! the server prints it, and the program ends.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use std::io::{self, ErrorKind::WouldBlock, Read, Write};
use std::net::Shutdown;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

// A source is registered with a token, and its events have that token.
const LISTENER: Token = Token(0);
const CLIENT: Token = Token(1);
const ACCEPTED: Token = Token(2);

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);

    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;

    // This only starts the connect attempt. The stream is writable when it has finished.
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    poll.registry()
        .register(&mut client, CLIENT, Interest::WRITABLE)?;

    let mut accepted: Option<TcpStream> = None;
    let mut greeting = Vec::new();
    loop {
        // Waits until something is ready; a signal does not end the wait.
        poll.poll_until(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER if accepted.is_none() => match listener.accept() {
                    Ok((mut stream, _address)) => {
                        poll.registry()
                            .register(&mut stream, ACCEPTED, Interest::READABLE)?;
                        accepted = Some(stream);
                    }
                    // An event is a hint: there may be nothing to do after all.
                    Err(error) if error.kind() == WouldBlock => {}
                    Err(error) => return Err(error),
                },
                CLIENT => {
                    if let Some(error) = client.take_error()? {
                        return Err(error); // could not connect
                    }
                    if client.peer_addr().is_ok() {
                        client.write_all(b"hello over mio")?; // few enough to fit at once
                        client.shutdown(Shutdown::Write)?; // nothing more will come
                        poll.registry().deregister(&mut client)?;
                    }
                }
                ACCEPTED => match accepted.as_mut().unwrap().read_to_end(&mut greeting) {
                    Ok(_) => {
                        println!("{}", String::from_utf8_lossy(&greeting));
                        return Ok(());
                    }
                    // `greeting` has the first part; the rest comes with another event.
                    Err(error) if error.kind() == WouldBlock => {}
                    Err(error) => return Err(error),
                },
                _ => {}
            }
        }
    }
}
