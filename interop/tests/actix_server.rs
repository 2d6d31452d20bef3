//! actix-server on this crate: a thread waits with a `Poll` for connections, and for a worker with
//! capacity for them.

#![cfg(unix)]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use actix_server::{Server, ServerHandle};
use actix_service::fn_service;
use interop::{run, several_threads, A_WHILE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LIMIT: usize = 4;

/// Connections that are served at the same time, at most.
#[derive(Default)]
struct Served {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[test]
fn clients_beyond_the_limit_wait_until_others_have_gone() {
    run(several_threads(), async {
        let (address, server, served) = start();
        let mut clients = Vec::new();
        for _ in 0..5 * LIMIT {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_u8(7).await.unwrap();
            clients.push(client);
        }
        for first in &mut clients[..LIMIT] {
            assert_eq!(first.read_u8().await.unwrap(), 7);
        }
        // They were accepted in order. A worker that becomes free accepts one more.
        for next in LIMIT..clients.len() {
            let early = timeout(A_WHILE, clients[next].read_u8()).await;
            assert!(early.is_err(), "client {next} was served: {early:?}");
            assert_eq!(served.now.load(Ordering::Relaxed), LIMIT);
            clients[next - LIMIT].shutdown().await.unwrap();
            assert_eq!(clients[next].read_u8().await.unwrap(), 7);
        }
        drop(clients);
        server.stop().await;
        assert_eq!(served.most.load(Ordering::Relaxed), LIMIT);
    });
}

#[test]
fn clients_that_all_go_at_once_make_room_for_as_many() {
    run(several_threads(), async {
        let (address, server, served) = start();
        for _ in 0..50 {
            let mut clients = Vec::new();
            for _ in 0..2 * LIMIT {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_u8(7).await.unwrap();
                clients.push(client);
            }
            let others = clients.split_off(LIMIT);
            for mut client in clients {
                assert_eq!(client.read_u8().await.unwrap(), 7);
            }
            for mut client in others {
                assert_eq!(client.read_u8().await.unwrap(), 7);
            }
        }
        server.stop().await;
        assert!(served.most.load(Ordering::Relaxed) <= LIMIT);
    });
}

#[test]
fn clients_of_a_paused_server_wait_until_it_resumes() {
    run(several_threads(), async {
        let (address, server, _) = start();
        for _ in 0..5 {
            server.handle.pause().await;
            // This only requests the end: the server may still accept a few connections.
            let mut waiting = loop {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_u8(7).await.unwrap();
                if timeout(A_WHILE, client.read_u8()).await.is_err() {
                    break client;
                }
            };
            server.handle.resume().await;
            assert_eq!(waiting.read_u8().await.unwrap(), 7);
        }
        server.stop().await;
    });
}

struct Running {
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn stop(self) {
        self.handle.stop(true).await;
        self.ended.await.unwrap().unwrap();
    }
}

/// A server with one worker, which sends its input back.
fn start() -> (SocketAddr, Running, Arc<Served>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(Served::default());
    let service = {
        let served = served.clone();
        move || {
            let served = served.clone();
            fn_service(move |stream: TcpStream| echo(stream, served.clone()))
        }
    };
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(LIMIT)
        .disable_signals()
        .listen("echo", listener, service)
        .unwrap()
        .run();
    let handle = server.handle();
    let ended = tokio::spawn(server);
    (address, Running { handle, ended }, served)
}

async fn echo(mut stream: TcpStream, served: Arc<Served>) -> io::Result<u64> {
    let now = served.now.fetch_add(1, Ordering::Relaxed) + 1;
    served.most.fetch_max(now, Ordering::Relaxed);
    let (mut reader, mut writer) = stream.split();
    let result = tokio::io::copy(&mut reader, &mut writer).await;
    served.now.fetch_sub(1, Ordering::Relaxed);
    result
}
