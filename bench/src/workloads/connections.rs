//! Connections that live for one request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use super::Run;
use crate::os;
use crate::subject::{Accept, Source, Subject, Want};

const LISTENER: usize = 0;
const CONNECTION: usize = 1;
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.0 204 No Content\r\n\r\n";

/// The server's first step for an accepted connection.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum First {
    /// Waits until it is readable.
    Register,
    /// Tries to read, and registers it only if that would block.
    Read,
}

/// A listener on a subject, and a client of it.
struct Server<S: Subject> {
    subject: S,
    listener: S::Listener,
    address: std::net::SocketAddr,
}

impl<S: Subject> Server<S> {
    fn new() -> Server<S> {
        let listener = os::tcp_listener();
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket");
        let mut subject = S::new(1024);
        let mut listener = S::Listener::from(OwnedFd::from(listener));
        listener.register(&mut subject, LISTENER, Want::Read);
        Server {
            subject,
            listener,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("it listens")
    }

    /// Waits for this token.
    #[inline(always)]
    fn wait_for(&mut self, token: usize) {
        let mut came = false;
        while !came {
            self.subject
                .wait(None, |event| came |= event.token == token);
        }
    }

    #[inline(always)]
    fn serve(&mut self, first: First) {
        self.wait_for(LISTENER);
        let mut connection = self.listener.accept().expect("there is one");
        if S::EDGES {
            assert!(self.listener.accept().is_none());
        }
        let mut request = [0; 256];
        if first == First::Register {
            connection.register(&mut self.subject, CONNECTION, Want::Read);
            self.wait_for(CONNECTION);
        }
        let length = connection.read(&mut request).expect("it has come");
        assert_eq!(length, REQUEST.len());
        let sent = connection.write(RESPONSE).expect("there is room");
        assert_eq!(sent, RESPONSE.len());
        if first == First::Register && !S::CLOSING_DEREGISTERS {
            connection.deregister(&mut self.subject);
        }
    }
}

/// One operation is a connection with one request. Only the server's part is measured.
pub fn short_lived<S: Subject>(first: First) -> Run {
    let mut server = Server::<S>::new();
    Box::new(move |clock, operations| {
        for _ in 0..operations {
            let mut client = server.connect();
            client.write_all(REQUEST).expect("it is connected");
            clock.measure(|| server.serve(first));
            let mut response = [0; 256];
            let length = client.read(&mut response).expect("it is sent");
            assert_eq!(&response[..length], RESPONSE);
        }
    })
}

/// One operation accepts a connection.
pub fn accept<S: Subject>() -> Run {
    let mut server = Server::<S>::new();
    Box::new(move |clock, operations| {
        for _ in 0..operations {
            let client = server.connect();
            let connection = clock.measure(|| server.listener.accept());
            assert!(connection.is_some());
            drop((connection, client));
        }
    })
}

/// One operation reads a message from a TCP connection and sends it back, without waiting.
pub fn read_and_write<S: Subject>() -> Run {
    let (mut client, server) = os::tcp_pair(&os::tcp_listener());
    let mut server = S::Tcp::from(server);
    Box::new(move |clock, operations| {
        let mut buffer = [0; 256];
        for _ in 0..operations {
            client.write_all(REQUEST).expect("it is connected");
            let length = clock.measure(|| {
                let length = server.read(&mut buffer).expect("it has come");
                server.write(&buffer[..length]).expect("there is room")
            });
            assert_eq!(length, REQUEST.len());
            client
                .read_exact(&mut buffer[..length])
                .expect("it is sent");
        }
    })
}
