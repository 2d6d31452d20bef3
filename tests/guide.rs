//! The guide's server, `examples/echo.rs`, in the situations that it handles.
#![cfg(all(feature = "os-poll", feature = "net"))]

// The program that the guide shows, unchanged.
#[allow(dead_code)]
#[path = "../examples/echo.rs"]
mod echo;
mod util;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Backend, Events, Poll, Token, Waker};
use util::{any_port, patience};

on_each_backend![
    sixteen_megabytes_reach_a_peer_that_reads_late,
    what_a_half_closed_peer_sent_is_sent_back,
    a_half_closed_peer_that_reads_late_gets_everything,
    a_peer_that_only_sends_is_stopped,
    a_reset_ends_its_connection_alone,
    many_clients_at_once_are_served,
];

/// The server of the guide, on a thread of its own.
struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(backend: Backend) -> Running {
        Running::start_after(backend, |_| {})
    }

    fn start_after(backend: Backend, set_up: impl FnOnce(&TcpListener)) -> Running {
        let poll = Poll::with_backend(backend).unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(usize::MAX)).unwrap());
        let listener = TcpListener::bind(any_port()).unwrap();
        set_up(&listener);
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut server = echo::Server::new(poll, listener).unwrap();
                // Fewer than the clients of one of the tests.
                let mut events = Events::with_capacity(4);
                while !stop.load(Ordering::Relaxed) {
                    server.turn(&mut events).unwrap();
                }
            }
        });
        Running {
            address,
            stop,
            waker,
            thread: Some(thread),
        }
    }

    /// A client whose operations fail if they take too long.
    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(patience())).unwrap();
        client.set_write_timeout(Some(patience())).unwrap();
        client
    }

    fn assert_serves(&self) {
        let mut client = self.client();
        client.write_all(b"still there?").unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed); // before the wake-up, so that the thread sees it
        self.waker.wake().unwrap();
        let outcome = self.thread.take().unwrap().join();
        if !thread::panicking() {
            outcome.unwrap();
        }
    }
}

/// Bytes in which no part looks like another.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn sixteen_megabytes_reach_a_peer_that_reads_late(backend: Backend) {
    let server = Running::start(backend);
    let mut client = server.client();
    let sent = bytes(16 << 20);
    let writer = thread::spawn({
        let mut client = client.try_clone().unwrap();
        let sent = sent.clone();
        move || {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
    });
    // The client reads nothing until the server is full, so that the client's writes would block as
    // well.
    wait_until_full(&client);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(
        received == sent,
        "{} of {} bytes",
        received.len(),
        sent.len()
    );
    writer.join().unwrap();
}

/// Waits until data can be read, and its amount has stopped growing.
fn wait_until_full(client: &TcpStream) {
    let mut buffer = vec![0; 16 << 20];
    let mut before = 0;
    loop {
        let now = client.peek(&mut buffer).unwrap();
        if now == before {
            return;
        }
        before = now;
        thread::sleep(Duration::from_millis(50));
    }
}

fn what_a_half_closed_peer_sent_is_sent_back(backend: Backend) {
    let server = Running::start(backend);
    for length in [0, 1, 100, 100_000, 1 << 20] {
        let mut client = server.client();
        let sent = bytes(length);
        let reader = thread::spawn({
            let mut client = client.try_clone().unwrap();
            move || {
                let mut received = Vec::new();
                client.read_to_end(&mut received).unwrap();
                received
            }
        });
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(reader.join().unwrap() == sent, "{length} bytes");
    }
}

/// Each possible number of bytes is still in the server when it reads the end.
fn a_half_closed_peer_that_reads_late_gets_everything(backend: Backend) {
    if util::wine_version() >= Some(10) {
        return; // it loses bytes that a non-blocking send has taken, and whose number the send has returned
    }
    let server = Running::start_after(backend, |listener| {
        // Accepted sockets inherit this size. They fill up soon.
        let listener = socket2::SockRef::from(listener);
        listener.set_send_buffer_size(16 * 1024).unwrap();
    });
    for length in (0..16).map(|n| n * 16 * 1024) {
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let client = client.unwrap();
        client.set_recv_buffer_size(16 * 1024).unwrap();
        client.connect(&server.address.into()).unwrap();
        let mut client = TcpStream::from(client);
        client.set_read_timeout(Some(patience())).unwrap();
        client.set_write_timeout(Some(patience())).unwrap();

        let sent = bytes(length);
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        if length > 0 {
            wait_until_full(&client);
        }
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{length} bytes: {}", received.len());
    }
}

fn a_peer_that_only_sends_is_stopped(backend: Backend) {
    let server = Running::start(backend);
    let client = server.client();
    client.set_nonblocking(true).unwrap();
    // If the server took everything, this would never end.
    let mut total = 0;
    let mut idle = 0;
    while idle < 10 {
        match (&client).write(&[7; 64 * 1024]) {
            Ok(length) => (total, idle) = (total + length, 0),
            Err(_) => {
                thread::sleep(Duration::from_millis(20));
                idle += 1;
            }
        }
        assert!(total < 256 << 20, "the server takes everything");
    }
    // The other clients are not affected.
    server.assert_serves();
}

fn a_reset_ends_its_connection_alone(backend: Backend) {
    let server = Running::start(backend);
    for is_full in [false, true] {
        let mut other = server.client();
        other.write_all(b"before").unwrap();
        other.read_exact(&mut [0; 6]).unwrap();

        let mut client = server.client();
        if is_full {
            client.set_nonblocking(true).unwrap();
            while client.write(&[7; 64 * 1024]).is_ok() {}
        } else {
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        // Closed at once, without a shutdown first.
        socket2::SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);

        other.write_all(b"after").unwrap();
        other.read_exact(&mut [0; 5]).unwrap();
    }
    server.assert_serves();
}

fn many_clients_at_once_are_served(backend: Backend) {
    let server = Running::start(backend);
    let mut clients: Vec<TcpStream> = (0..50).map(|_| server.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&bytes(n * 100)).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let mut received = vec![0; n * 100];
        client.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes(n * 100));
    }
}
