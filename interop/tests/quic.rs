//! quinn on tokio on this crate: QUIC, both ends, each on one UDP socket.

#![cfg(unix)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use interop::{one_thread, pattern, run, several_threads};
use quinn::rustls::RootCertStore;
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use tokio::task::JoinSet;

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[test]
fn many_streams_of_several_connections_echo_with_several_threads() {
    run(several_threads(), echo_streams());
}

#[test]
fn many_streams_of_several_connections_echo_with_one_thread() {
    run(one_thread(), echo_streams());
}

#[test]
fn a_large_stream_echoes() {
    for runtime in [several_threads(), one_thread()] {
        run(runtime, async {
            let (server, client, address) = endpoints();
            tokio::spawn(serve(server));
            let connection = client.connect(address, "localhost").unwrap();
            let connection = connection.await.unwrap();
            echo(&connection, pattern(3, 4 << 20)).await;
            connection.close(0_u8.into(), b"");
            client.wait_idle().await;
        });
    }
}

async fn echo_streams() {
    let (server, client, address) = endpoints();
    tokio::spawn(serve(server));
    let mut connections = JoinSet::new();
    for connection in 0..10 {
        let connecting = client.connect(address, "localhost").unwrap();
        connections.spawn(async move {
            let opened = connecting.await.unwrap();
            let mut streams = JoinSet::new();
            for stream in 0..50 {
                let opened = opened.clone();
                let sent = pattern(connection * 50 + stream, stream * 400);
                streams.spawn(async move { echo(&opened, sent).await });
            }
            streams.join_all().await;
            opened.close(0_u8.into(), b"");
        });
    }
    connections.join_all().await;
    client.wait_idle().await;
}

/// A server, a client that trusts it, and the server's address.
fn endpoints() -> (Endpoint, Endpoint, SocketAddr) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let config =
        ServerConfig::with_single_cert(vec![certificate.clone()], made.signing_key.into()).unwrap();
    let server = Endpoint::server(config, ANY_PORT.into()).unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate).unwrap();
    let mut client = Endpoint::client(ANY_PORT.into()).unwrap();
    client.set_default_client_config(
        ClientConfig::with_root_certificates(Arc::new(trusted)).unwrap(),
    );
    let address = server.local_addr().unwrap();
    (server, client, address)
}

/// Sends the bytes of each stream back, until the other end closes its connection.
async fn serve(server: Endpoint) {
    while let Some(connecting) = server.accept().await {
        tokio::spawn(async move {
            let connection = connecting.await.unwrap();
            while let Ok((mut sender, mut receiver)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    tokio::io::copy(&mut receiver, &mut sender).await.unwrap();
                    sender.finish().unwrap();
                });
            }
        });
    }
}

/// Echoes on a stream of its own.
async fn echo(connection: &Connection, sent: Vec<u8>) {
    let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        sender.write_all(&sent).await.unwrap();
        sender.finish().unwrap();
    });
    let received = receiver.read_to_end(expected.len()).await.unwrap();
    assert!(received == expected, "other bytes came back");
    sending.await.unwrap();
}
