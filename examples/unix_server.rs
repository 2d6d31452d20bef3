//! A server on a Unix socket that sends back what it receives, for any number
//! of clients.
//!
//! ```text
//! cargo run --example unix_server [PATH]        (in the folder for temporary
//!                                                files if not given)
//! ```
//!
//! As `tcp_server`, and how to deal with the socket file that a server leaves
//! behind when it ends: bind would fail on it for ever.

#[cfg(unix)]
#[path = "common/echo.rs"]
mod echo;

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    unix::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this system has no Unix sockets");
}

#[cfg(unix)]
mod unix {
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::FileTypeExt;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};
    use std::{env, fs};

    use mio::net::{UnixListener, UnixStream};
    use mio::{Events, Interest, Poll, Registry, Token};

    use crate::echo;

    const LISTENER: Token = Token(0);
    const FIRST_CLIENT: Token = Token(1);

    /// When to try again after accepting failed.
    const RETRY: Duration = Duration::from_millis(200);

    pub fn main() -> io::Result<()> {
        let path = match env::args_os().nth(1) {
            Some(argument) => PathBuf::from(argument),
            None => env::temp_dir().join("mio-echo.sock"),
        };

        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut listener = listen(&path)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut clients = echo::Connections::new(FIRST_CLIENT);
        println!("echoing on {}", path.display());

        let mut retry_at: Option<Instant> = None;
        loop {
            poll.poll_until(&mut events, retry_at)?;

            let mut accept = retry_at.is_some_and(|at| at <= Instant::now());
            for event in &events {
                match event.token() {
                    LISTENER => accept = true,
                    client => {
                        // One client's failure is not the server's.
                        if let Err(error) = clients.advance(poll.registry(), client) {
                            eprintln!("lost a client: {error}");
                        }
                    }
                }
            }
            if accept {
                retry_at = accept_all(&listener, poll.registry(), &mut clients);
            }
        }
    }

    /// Listens on the path, in place of a server that is no more.
    fn listen(path: &Path) -> io::Result<UnixListener> {
        match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            outcome => outcome,
        }
    }

    /// Whether the path is a socket that nobody listens on. Every other file is
    /// somebody's, even though connecting to it is refused just the same.
    fn is_stale(path: &Path) -> bool {
        let is_socket =
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        is_socket
            && UnixStream::connect(path)
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }

    /// Accepts all that wait: an event tells of the first one only. Returns when
    /// to try again, if that cannot be left to the next event.
    fn accept_all(
        listener: &UnixListener,
        registry: &Registry,
        clients: &mut echo::Connections<UnixStream>,
    ) -> Option<Instant> {
        loop {
            match listener.accept() {
                Ok((stream, _unnamed)) => {
                    if let Err(error) = clients.add(registry, stream) {
                        eprintln!("cannot serve a client: {error}");
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return None,
                    // A client changed its mind, or a signal came.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    // Most often no descriptor is left. The connection goes on waiting,
                    // but there is no further event for it: try again later.
                    _ => {
                        eprintln!("cannot accept beside {} clients: {error}", clients.len());
                        return Some(Instant::now() + RETRY);
                    }
                },
            }
        }
    }
}
