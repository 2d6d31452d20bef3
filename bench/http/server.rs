//! Says hello by HTTP: hyper on tokio, on one thread, and below them the mio that the manifest
//! beside `ours` or `registry` names. Prints its address.

use std::convert::Infallible;
use std::error::Error;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::Response;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let hello = service_fn(|_request| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), hello);
            // That a client goes away in the middle is its own affair.
            let _ = connection.await;
        });
    }
}
