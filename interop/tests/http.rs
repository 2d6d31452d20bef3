//! hyper on tokio on this crate: HTTP/1 and HTTP/2, both ends.

#![cfg(unix)]

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{client, server, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use interop::{one_thread, pattern, run, several_threads, want_descriptors};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 100;
const REQUESTS: usize = 20;
const LARGE: usize = 16 << 20;

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

#[test]
fn many_connections_of_http_1_have_many_requests_each() {
    want_descriptors(2 * CONNECTIONS as u64 + 200);
    for runtime in [several_threads(), one_thread()] {
        run(runtime, async {
            let address = start(Version::One).await;
            let mut connections = JoinSet::new();
            for connection in 0..CONNECTIONS {
                connections.spawn(async move {
                    let mut client = http_1(address).await;
                    for n in 0..REQUESTS {
                        client.ready().await.unwrap();
                        let exchange = Exchange::new(connection * REQUESTS + n, n * 1_000);
                        let response = client.send_request(exchange.request()).await;
                        exchange.check(response.unwrap()).await;
                    }
                });
            }
            connections.join_all().await;
        });
    }
}

#[test]
fn a_connection_of_http_2_has_many_requests_at_once() {
    for runtime in [several_threads(), one_thread()] {
        run(runtime, async {
            let address = start(Version::Two).await;
            let mut exchanges = JoinSet::new();
            for connection in 0..4 {
                let client = http_2(address).await;
                for n in 0..150 {
                    let mut client = client.clone();
                    exchanges.spawn(async move {
                        client.ready().await.unwrap();
                        let exchange = Exchange::new(connection * 1_000 + n, n * 300);
                        let response = client.send_request(exchange.request()).await;
                        exchange.check(response.unwrap()).await;
                    });
                }
            }
            exchanges.join_all().await;
        });
    }
}

#[test]
fn large_bodies_go_there_and_back() {
    for runtime in [several_threads(), one_thread()] {
        run(runtime, async {
            let exchange = Exchange::new(1, LARGE);
            let mut client = http_1(start(Version::One).await).await;
            let response = client.send_request(exchange.request()).await;
            exchange.check(response.unwrap()).await;

            let exchange = Exchange::new(2, LARGE);
            let mut client = http_2(start(Version::Two).await).await;
            let response = client.send_request(exchange.request()).await;
            exchange.check(response.unwrap()).await;
        });
    }
}

/// A server that sends a body back while it is still receiving it.
async fn start(version: Version) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = TokioIo::new(stream);
            let echo = service_fn(echo);
            // The client reports the errors of a connection.
            match version {
                Version::One => {
                    let serving = server::conn::http1::Builder::new();
                    tokio::spawn(serving.serve_connection(stream, echo));
                }
                Version::Two => {
                    let serving = server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(serving.serve_connection(stream, echo));
                }
            }
        }
    });
    address
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    let path = request.uri().path().to_owned();
    let response = Response::builder().header("path", path);
    Ok(response.body(request.into_body()).unwrap())
}

async fn http_1(server: SocketAddr) -> client::conn::http1::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(server).await.unwrap());
    let (client, connection) = client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn http_2(server: SocketAddr) -> client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(server).await.unwrap());
    let handshake = client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    client
}

/// A request, and its expected response.
struct Exchange {
    path: String,
    body: Bytes,
}

impl Exchange {
    fn new(number: usize, len: usize) -> Exchange {
        Exchange {
            path: format!("/{number}"),
            body: pattern(number, len).into(),
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::post(&self.path)
            .header("host", "localhost")
            .body(Full::new(self.body.clone()))
            .unwrap()
    }

    async fn check(&self, response: Response<Incoming>) {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["path"], self.path);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == self.body, "{}: another body came back", self.path);
    }
}
