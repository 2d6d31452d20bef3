//! Runs a command for each argument, and reports what each prints and how it ends.
//!
//! Run `cargo run -p unix --bin sigchld 'echo one; exit 1' 'sleep 1; echo two'`.

use std::io::{self, ErrorKind, Read};
use std::process::{Child, Command, Stdio};

use mio::unix::pipe::Receiver;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::SIGCHLD;
use signal_hook_mio::v1_0::Signals;

const SIGNALS: Token = Token(usize::MAX);

struct Running {
    child: Child,
    output: Vec<u8>,
    /// `None` when the output has ended.
    pipe: Option<Receiver>,
    has_exited: bool,
}

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    // Before the first child is started, so that no exit is missed.
    let mut signals = Signals::new([SIGCHLD])?;
    let registry = poll.registry();
    registry.register(&mut signals, SIGNALS, Interest::READABLE)?;

    let mut children = Vec::new();
    for (n, command) in std::env::args().skip(1).enumerate() {
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut pipe = Receiver::from(child.stdout.take().expect("is piped"));
        pipe.set_nonblocking(true)?;
        registry.register(&mut pipe, Token(n), Interest::READABLE)?;
        children.push(Running {
            child,
            output: Vec::new(),
            pipe: Some(pipe),
            has_exited: false,
        });
    }

    // The output may end before the child does, or after it: another process may have
    // inherited the pipe.
    while children.iter().any(|c| c.pipe.is_some() || !c.has_exited) {
        poll.poll_until(&mut events, None)?;
        for event in &events {
            match event.token() {
                SIGNALS => {
                    signals.pending().for_each(drop);
                    // One signal may stand for several children: check all of them.
                    for (n, running) in children.iter_mut().enumerate() {
                        if running.has_exited {
                            continue;
                        }
                        if let Some(status) = running.child.try_wait()? {
                            println!("{n}: {status}");
                            running.has_exited = true;
                        }
                    }
                }
                Token(n) => children[n].read(n)?,
            }
        }
    }
    Ok(())
}

impl Running {
    fn read(&mut self, n: usize) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        // After an error `output` still has the bytes that were read.
        match pipe.read_to_end(&mut self.output) {
            Ok(_) => {
                println!("{n}: {:?}", String::from_utf8_lossy(&self.output));
                self.pipe = None;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}
