//! A UDP server that sends every datagram back to where it came from.
//!
//! ```text
//! cargo run --example udp_echo [ADDRESS]      (127.0.0.1:9001 if not given)
//! ```
//!
//! and in another terminal, for example, `nc -u 127.0.0.1 9001`. Shows
//! back-pressure: while sending would block, nothing is received. Further datagrams
//! wait in the kernel, which drops those that it has no capacity for, as UDP may.

use std::env;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

const TOKEN: Token = Token(0);

/// The longest datagram of UDP: none is truncated.
const LONGEST: usize = 65_535;

fn main() -> io::Result<()> {
    let address: SocketAddr = match env::args().nth(1) {
        Some(argument) => argument
            .parse()
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?,
        None => SocketAddr::from(([127, 0, 0, 1], 9001)),
    };

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    let mut socket = UdpSocket::bind(address)?;
    // A UDP socket is reported writable after each datagram that it has sent, so
    // register for writing only while sending would block.
    let mut interest = Interest::READABLE;
    poll.registry().register(&mut socket, TOKEN, interest)?;
    println!("echoing on {}", socket.local_addr()?);

    let mut buffer = vec![0; LONGEST];
    let mut owed: Option<(usize, SocketAddr)> = None; // length and receiver of the datagram in `buffer`
    loop {
        // There is one source, and any event is a reason to continue.
        poll.poll_until(&mut events, None)?;
        echo(&socket, &mut buffer, &mut owed)?;

        let wanted = match owed {
            None => Interest::READABLE,
            Some(_) => Interest::WRITABLE,
        };
        if wanted != interest {
            interest = wanted;
            // If the socket is ready for it by now, the next poll reports it.
            poll.registry().reregister(&mut socket, TOKEN, interest)?;
        }
    }
}

/// Echoes until receiving would block, or until sending would, with a datagram owed.
fn echo(
    socket: &UdpSocket,
    buffer: &mut [u8],
    owed: &mut Option<(usize, SocketAddr)>,
) -> io::Result<()> {
    loop {
        if let Some((length, peer)) = *owed {
            match socket.send_to(&buffer[..length], peer) {
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => continue,
                    // This datagram cannot be sent to this peer; others can.
                    _ => eprintln!("cannot echo {length} bytes to {peer}: {error}"),
                },
            }
            *owed = None;
        }
        match socket.recv_from(buffer) {
            Ok(received) => *owed = Some(received),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(()),
                ErrorKind::Interrupted => {}
                // Windows reports here that an earlier echo was refused.
                ErrorKind::ConnectionReset => {}
                _ => return Err(error),
            },
        }
    }
}
