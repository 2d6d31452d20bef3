//! Counts the bytes of standard input, whatever that is, in a loop with other sources.
//!
//! Run `cargo run -p unix --bin stdin`: at a terminal, behind a pipe, with a file.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const STDIN: Token = Token(0);

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);

    // `io::stdin()` reads more than was requested, and keeps the rest in a buffer, for
    // which no event comes. A `File` makes one read(2) for each `read`.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let fd = input.as_raw_fd();
    let registered = poll
        .registry()
        .register(&mut SourceFd(&fd), STDIN, Interest::READABLE);
    let is_watched = match registered {
        Ok(()) => true,
        // On epoll: a file, or /dev/null. Reading it never waits.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => return Err(error),
    };

    let mut total = 0;
    loop {
        // A file that cannot be registered is always ready, so the poll does not wait.
        poll.poll_until(&mut events, (!is_watched).then(Instant::now))?;
        // The program's other sources have their turn here.
        if is_watched && !events.iter().any(|event| event.token() == STDIN) {
            continue;
        }
        // One read for each event. A second one could wait: the descriptor is in blocking
        // mode, and changing that would change it for other programs as well.
        match input.read(&mut [0; 4096]) {
            Ok(0) => break,
            Ok(length) => total += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if is_watched {
            // There may be more: the next poll reports it.
            poll.registry()
                .reregister(&mut SourceFd(&fd), STDIN, Interest::READABLE)?;
        }
    }
    if is_watched {
        // Its registration would outlive `input`, which is a duplicate.
        poll.registry().deregister(&mut SourceFd(&fd))?;
    }
    println!("{total} bytes");
    Ok(())
}
