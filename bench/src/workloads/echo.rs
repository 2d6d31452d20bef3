//! Messages that are sent back.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::{net, thread};

use super::Run;
use crate::os;
use crate::subject::{Source, Subject, Want};

const MESSAGE: [u8; 64] = [7; 64];

/// When the server stops reading a connection.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Until {
    /// After a read would have blocked, as edges require.
    Blocked,
    /// After a short read, which suffices for a stream.
    Short,
}

/// One kind of stream, for the client and for the server.
pub trait Kind<S: Subject>: 'static {
    type Client: Read + Write;
    type Server: Source<S> + Read + Write + From<OwnedFd>;

    fn pairs(count: usize) -> Vec<(Self::Client, OwnedFd)>;
}

pub struct Tcp;
pub struct Unix;

impl<S: Subject> Kind<S> for Tcp {
    type Client = net::TcpStream;
    type Server = S::Tcp;

    fn pairs(count: usize) -> Vec<(net::TcpStream, OwnedFd)> {
        let listener = os::tcp_listener();
        (0..count).map(|_| os::tcp_pair(&listener)).collect()
    }
}

impl<S: Subject> Kind<S> for Unix {
    type Client = UnixStream;
    type Server = S::Unix;

    fn pairs(count: usize) -> Vec<(UnixStream, OwnedFd)> {
        (0..count).map(|_| os::unix_pair()).collect()
    }
}

/// The server's side.
struct Server<S: Subject, K: Kind<S>> {
    subject: S,
    connections: Vec<K::Server>,
    until: Until,
    ended: usize,
}

impl<S: Subject, K: Kind<S>> Server<S, K> {
    fn new(streams: Vec<OwnedFd>, until: Until) -> Server<S, K> {
        let mut subject = S::new(1024);
        let mut connections: Vec<K::Server> = streams.into_iter().map(K::Server::from).collect();
        for (token, connection) in connections.iter_mut().enumerate() {
            connection.register(&mut subject, token, Want::Read);
        }
        Server {
            subject,
            connections,
            // If readiness is reported as long as it lasts, one read suffices.
            until: if S::EDGES { until } else { Until::Short },
            ended: 0,
        }
    }

    /// One turn. Returns how many messages were sent back.
    #[inline(always)]
    fn serve(&mut self) -> usize {
        let mut served = 0;
        self.subject.wait(None, |event| {
            let Some(connection) = self.connections.get_mut(event.token) else {
                return;
            };
            let mut buffer = [0; 4096];
            loop {
                match connection.read(&mut buffer) {
                    Ok(0) => {
                        self.ended += 1;
                        break;
                    }
                    Ok(length) => {
                        let sent = connection.write(&buffer[..length]).expect("there is room");
                        assert_eq!(sent, length);
                        served += length / MESSAGE.len();
                        if self.until == Until::Short && length < buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        served
    }
}

/// One operation is a message on each of `connections`. Only the server's part is measured.
pub fn echo<S: Subject, K: Kind<S>>(connections: usize, until: Until) -> Run {
    let (mut clients, streams): (Vec<K::Client>, Vec<OwnedFd>) =
        K::pairs(connections).into_iter().unzip();
    let mut server = Server::<S, K>::new(streams, until);
    Box::new(move |clock, operations| {
        for _ in 0..operations {
            send(&mut clients);
            clock.measure(|| {
                let mut served = 0;
                while served < connections {
                    served += server.serve();
                }
            });
            receive(&mut clients);
        }
    })
}

/// One operation is a message on each of `connections`, to a server on a thread of its own and
/// back, on one processor.
pub fn between_threads<S: Subject, K: Kind<S>>(connections: usize) -> Run {
    let processor = os::OneProcessor::first();
    let (clients, streams): (Vec<K::Client>, Vec<OwnedFd>) =
        K::pairs(connections).into_iter().unzip();
    let thread = thread::spawn(move || {
        let mut server = Server::<S, K>::new(streams, Until::Blocked);
        while server.ended < connections {
            server.serve();
            if !S::EDGES && server.ended > 0 {
                // Otherwise it would report the ended ones for ever.
                break;
            }
        }
    });
    let mut clients = Clients {
        clients,
        thread: Some(thread),
    };
    Box::new(move |clock, operations| {
        let _ = &processor;
        let clients = &mut clients; // all of it
        clock.measure(|| {
            for _ in 0..operations {
                send(&mut clients.clients);
                receive(&mut clients.clients);
            }
        });
    })
}

fn send(clients: &mut [impl Write]) {
    for client in clients {
        client.write_all(&MESSAGE).expect("it is connected");
    }
}

fn receive(clients: &mut [impl Read]) {
    let mut answer = [0; MESSAGE.len()];
    for client in clients {
        client.read_exact(&mut answer).expect("it is sent back");
        assert_eq!(answer, MESSAGE);
    }
}

/// Ends the server by closing all connections.
struct Clients<C> {
    clients: Vec<C>,
    thread: Option<JoinHandle<()>>,
}

impl<C> Drop for Clients<C> {
    fn drop(&mut self) {
        self.clients.clear();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}
