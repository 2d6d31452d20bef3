//! Tests that need another process: they run their own program again, in another role.

use std::env;
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::process::{self, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::PATIENCE;

const PART: &str = "INTEROP_PART";

/// Separates the lines of the role from those of its test harness.
const MARK: &str = "said: ";

/// The role that this process was started for, if any.
pub fn part() -> Option<String> {
    env::var(PART).ok()
}

/// Starts this program, with a role in a test of this name.
pub fn command(test: &str, part: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a name"));
    command
        .args([test, "--exact", "--nocapture"])
        .env(PART, part);
    command
}

/// Sends a line to the process that started this one.
pub fn say(line: impl Display) {
    println!("\n{MARK}{line}");
}

/// A process with a role, which is ended when this is dropped.
pub struct Child {
    process: process::Child,
    lines: mpsc::Receiver<String>,
}

impl Child {
    pub fn start(mut command: Command) -> Child {
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("this program runs once more");
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix(MARK) {
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        Child { process, lines }
    }

    /// The next line from it.
    pub fn says(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        line.expect("the other process says something")
    }

    /// Waits for its end, which must be a success. The process has its own time limit.
    pub fn ends_well(mut self) {
        let status = self.process.wait().expect("it is waited for");
        assert!(status.success(), "the other process ended with {status}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
