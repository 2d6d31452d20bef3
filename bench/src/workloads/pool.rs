//! A pool of threads that share the sources of one queue. One thread waits for events and passes the
//! tokens on; whichever worker takes a token serves that source.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::Run;
use crate::os;
use crate::subject::{Source, Wake, Want, WAKER};
use crate::subjects::Registries;

const WORKERS: usize = 4;
const CONNECTIONS: usize = 64;
const MESSAGE: [u8; 64] = [7; 64];

/// What ends the turn of a worker with a source, so that there is another event of it.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Ends {
    /// A read that would block. Meanwhile another worker can have an event of the same source, and
    /// waits for its lock.
    WouldBlock,
    /// A new registration, after a short read. Until then no other worker has an event of the source.
    Reregistering,
}

/// What the threads share.
struct Shared<S: Registries> {
    registry: S::Registry,
    connections: Vec<Mutex<S::Unix>>,
    tokens: Mutex<Tokens>,
    not_empty: Condvar,
}

#[derive(Default)]
struct Tokens {
    waiting: VecDeque<usize>,
    is_over: bool,
}

impl<S: Registries> Shared<S> {
    /// The polling thread.
    fn poll(&self, mut subject: S) {
        let mut ready = Vec::new();
        loop {
            subject.wait(None, |event| ready.push(event.token));
            let mut tokens = self.tokens.lock().expect("nobody panics");
            tokens.is_over = ready.contains(&WAKER);
            let count = ready.len();
            tokens.waiting.extend(ready.drain(..));
            if tokens.is_over {
                return self.not_empty.notify_all();
            }
            drop(tokens);
            (0..count.min(WORKERS)).for_each(|_| self.not_empty.notify_one());
        }
    }

    fn work(&self, ends: Ends) {
        while let Some(token) = self.next() {
            let mut connection = self.connections[token].lock().expect("nobody panics");
            echo(&mut *connection, ends);
            if ends == Ends::Reregistering {
                S::rearm(&self.registry, &mut connection, token);
            }
        }
    }

    fn next(&self) -> Option<usize> {
        let mut tokens = self.tokens.lock().expect("nobody panics");
        loop {
            match tokens.waiting.pop_front() {
                _ if tokens.is_over => return None,
                Some(token) => return Some(token),
                None => tokens = self.not_empty.wait(tokens).expect("nobody panics"),
            }
        }
    }
}

/// Sends back what there is.
fn echo(connection: &mut (impl Read + Write), ends: Ends) {
    let mut buffer = [0; 4096];
    loop {
        match connection.read(&mut buffer) {
            Ok(length) => {
                let sent = connection.write(&buffer[..length]).expect("there is room");
                assert_eq!(sent, length);
                if ends == Ends::Reregistering && length < buffer.len() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The threads, which end when this is dropped, and before their clients.
struct Threads<W: Wake> {
    threads: Vec<JoinHandle<()>>,
    waker: W,
    clients: Vec<UnixStream>,
}

impl<W: Wake> Drop for Threads<W> {
    fn drop(&mut self) {
        self.waker.wake();
        for thread in self.threads.drain(..) {
            thread.join().expect("it does not panic");
        }
    }
}

/// One operation sends so many messages on each of the connections, and receives them back.
pub fn pool<S: Registries + Send>(messages: usize, ends: Ends) -> Run
where
    S::Unix: Send,
{
    let (clients, streams): (Vec<UnixStream>, Vec<OwnedFd>) =
        (0..CONNECTIONS).map(|_| os::unix_pair()).unzip();
    let mut subject = S::new(1024);
    let register = |(token, stream)| {
        let mut stream = S::Unix::from(stream);
        stream.register(&mut subject, token, Want::Read);
        Mutex::new(stream)
    };
    let connections = streams.into_iter().enumerate().map(register).collect();
    let waker = subject.waker();
    let shared = Arc::new(Shared::<S> {
        registry: subject.registry(),
        connections,
        tokens: Mutex::default(),
        not_empty: Condvar::new(),
    });
    let worker = |_| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || shared.work(ends))
    };
    let mut threads: Vec<_> = (0..WORKERS).map(worker).collect();
    threads.push(thread::spawn(move || shared.poll(subject)));
    let mut threads = Threads {
        threads,
        waker,
        clients,
    };
    Box::new(move |clock, operations| {
        let threads = &mut threads; // all of it
        let clients = &mut threads.clients;
        let mut answer = vec![0; MESSAGE.len() * messages];
        clock.measure(|| {
            for _ in 0..operations {
                for _ in 0..messages {
                    for client in &mut *clients {
                        client.write_all(&MESSAGE).expect("there is room");
                    }
                }
                for client in &mut *clients {
                    client.read_exact(&mut answer).expect("it is sent back");
                }
            }
        });
    })
}
