//! Starts a hundred children, reads what each of them writes, and reports how each ends: on every
//! system, in one thread.
//!
//! Run `cargo run --example children`.

// Links the model of the kernel.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use std::env;
use std::io::{self, ErrorKind, Read};
use std::process::{self, Child, Command, ExitStatus};

use mio::{Events, Interest, Poll, Registry, Token};

const CHILDREN: usize = 100;

/// A child has two sources, and each has a token of its own.
const SOURCES: usize = 2;
const OUTPUT: usize = 0;
const EXIT: usize = 1;

struct Running {
    child: Child,
    /// `None` when the output has ended.
    output: Option<system::Output>,
    text: Vec<u8>,
    /// `None` where the system cannot watch a child.
    exit: Option<system::Exit>,
    status: Option<ExitStatus>,
}

fn main() -> io::Result<()> {
    // This program is its own child.
    if let Some(number) = env::args().nth(1) {
        let number = number.parse().expect("the argument is a number");
        be_a_child(number);
    }

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let mut children = (0..CHILDREN)
        .map(|number| Running::start(number, poll.registry()))
        .collect::<io::Result<Vec<_>>>()?;
    let mut running = children.len();
    while running > 0 {
        poll.poll_until(&mut events, None)?;
        for event in &events {
            let (number, source) = (event.token().0 / SOURCES, event.token().0 % SOURCES);
            let child = &mut children[number];
            if child.has_ended() {
                continue;
            }
            match source {
                OUTPUT => child.read()?,
                _ => child.status = child.child.try_wait()?,
            }
            if child.has_ended() {
                child.report(number);
                running -= 1;
            }
        }
    }
    println!("{CHILDREN} children have ended");
    Ok(())
}

/// Writes some lines, and exits with a code of its own.
fn be_a_child(number: usize) -> ! {
    for line in 0..=number % 4 {
        println!("line {line} of child {number}");
    }
    process::exit(number as i32 % 5)
}

impl Running {
    fn start(number: usize, registry: &Registry) -> io::Result<Running> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(number.to_string());
        let (child, mut output) = system::start(command)?;
        let token = |source| Token(number * SOURCES + source);
        registry.register(&mut output, token(OUTPUT), Interest::READABLE)?;

        let registered = system::exit_of(&child).and_then(|mut exit| {
            registry.register(&mut exit, token(EXIT), Interest::READABLE)?;
            Ok(exit)
        });
        let exit = match registered {
            Ok(exit) => Some(exit),
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            Err(error) => return Err(error),
        };
        Ok(Running {
            child,
            output: Some(output),
            text: Vec::new(),
            exit,
            status: None,
        })
    }

    /// The output may end before the child does, or after it: another process may have inherited it.
    fn has_ended(&self) -> bool {
        self.output.is_none() && self.status.is_some()
    }

    fn read(&mut self) -> io::Result<()> {
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        // After an error `text` still has the bytes that were read.
        match output.read_to_end(&mut self.text) {
            Ok(_) => self.output = None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.exit.is_none() {
            // There is no event for the exit. These children exit when they close their output.
            self.status = Some(self.child.wait()?);
        }
        Ok(())
    }

    fn report(&self, number: usize) {
        let lines = String::from_utf8_lossy(&self.text).lines().count();
        let code = self.status.and_then(|status| status.code());
        println!("child {number}: {lines} lines, exit code {code:?}");
    }
}

#[cfg(unix)]
mod system {
    use std::io;
    use std::process::{Child, Command, Stdio};

    use mio::unix::{pipe::Receiver, ChildExit};

    pub type Output = Receiver;
    pub type Exit = ChildExit;

    pub fn start(mut command: Command) -> io::Result<(Child, Receiver)> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = Receiver::from(child.stdout.take().expect("is piped"));
        output.set_nonblocking(true)?;
        Ok((child, output))
    }

    pub fn exit_of(child: &Child) -> io::Result<ChildExit> {
        ChildExit::new(child)
    }
}

#[cfg(windows)]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::windows::io::AsHandle;
    use std::process::{self, Child, Command};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mio::windows::{NamedPipe, NamedPipeOptions, WaitHandle};

    pub type Output = NamedPipe;
    pub type Exit = WaitHandle;

    /// The child has the client's end of a named pipe. It blocks, as a child expects.
    pub fn start(mut command: Command) -> io::Result<(Child, NamedPipe)> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(r"\\.\pipe\mio-children-{}-{number}", process::id());
        let output = NamedPipeOptions::new()
            .reject_remote_clients(true)
            .create(&name)?;
        let end_of_child = File::options().write(true).open(&name)?;
        let child = command.stdout(end_of_child).spawn()?;
        // `command` has this process's copy of that end, and is dropped here: the output ends with the child.
        Ok((child, output))
    }

    /// A child's exit is its process handle.
    pub fn exit_of(child: &Child) -> io::Result<WaitHandle> {
        Ok(WaitHandle::new(child.as_handle().try_clone_to_owned()?))
    }
}
