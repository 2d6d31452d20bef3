//! Runs other programs: their output goes straight to the terminal, each has a time limit, and none
//! is left running.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read as _, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

use crate::root;

/// Generous: it only ends programs that hang, and says nothing about speed.
const DEFAULT_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The interval at which a running program is checked.
const TICK: Duration = Duration::from_millis(20);

/// At least the capacity of a pipe.
const MOST_IN_A_PIPE: usize = 1 << 20;

/// The process group of the running program, or 0.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// A command to run, in the root of the repository by default.
pub struct Cmd {
    command: Command,
    limit: Duration,
    /// The command as it is shown: the environment first, as one would type it.
    envs: Vec<String>,
}

/// A program that has ended, with or without success.
pub struct Ended {
    pub status: ExitStatus,
    pub pid: u32,
    pub stdout: String,
    /// The time limit that ended it.
    pub timed_out: Option<Duration>,
    shown: String,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        let mut command = Command::new(program);
        command.current_dir(root()).stdin(Stdio::null());
        Cmd {
            command,
            limit: DEFAULT_LIMIT,
            envs: Vec::new(),
        }
    }

    /// A shell script. Like `cargo`, it ignores the flags of the environment.
    pub fn shell(line: &str) -> Cmd {
        let mut cmd = Cmd::new("sh")
            .arg("-c")
            .arg(line)
            .without(influences_builds);
        cmd.command.env("CARGO_TARGET_DIR", root().join("target"));
        cmd
    }

    /// A program whose standard error goes where its standard output goes.
    pub fn all_output_of(program: impl AsRef<OsStr>) -> Cmd {
        Cmd::new("sh")
            .args(["-c", "exec \"$@\" 2>&1", "sh"])
            .arg(program)
    }

    /// `cargo`, found through `PATH`. It ignores flags that the environment sets, so that a step
    /// does the same everywhere.
    pub fn cargo(subcommand: &str) -> Cmd {
        Cmd::of_cargo("cargo", subcommand)
    }

    /// Debian's cargo. It also ignores what rustup, and the cargo that runs this program, have set
    /// for their children. It accepts unstable options, which is what it is for.
    pub fn debian_cargo(subcommand: &str) -> Cmd {
        // Otherwise cargo would first look in its home, which contains rustup's.
        let program = match subcommand {
            "clippy" => "/usr/bin/cargo-clippy",
            _ => "/usr/bin/cargo",
        };
        Cmd::of_cargo(program, subcommand)
            .without(names_a_toolchain)
            .env("PATH", "/usr/bin:/bin")
            .env("RUSTC_BOOTSTRAP", "1")
    }

    /// The cargo of one of rustup's toolchains. It ignores what the cargo that runs this program has set for
    /// its children.
    pub fn rustup_cargo(toolchain: &str, subcommand: &str) -> Cmd {
        let cmd = Cmd::of_cargo("rustup", "run").without(|name| name == "CARGO");
        cmd.args([toolchain, "cargo", subcommand])
    }

    fn of_cargo(program: &str, subcommand: &str) -> Cmd {
        let mut cmd = Cmd::new(program).arg(subcommand).without(influences_builds);
        // Even if a configuration file of the user sets something else.
        cmd.command.env("CARGO_TARGET_DIR", root().join("target"));
        cmd
    }

    /// Removes variables with these names from the environment.
    fn without(mut self, named: impl Fn(&str) -> bool) -> Cmd {
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(&named) {
                self.command.env_remove(name);
            }
        }
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.envs.push(format!("{name}={}", quoted(value.as_ref())));
        self.command.env(name, value);
        self
    }

    pub fn dir(mut self, dir: impl AsRef<Path>) -> Cmd {
        self.command.current_dir(dir);
        self
    }

    pub fn target_dir(self, dir: impl AsRef<Path>) -> Cmd {
        self.env("CARGO_TARGET_DIR", dir.as_ref())
    }

    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// Runs it with its output to the terminal, and fails if it fails.
    pub fn run(self) -> Result<()> {
        println!("$ {self}");
        self.end(Output::Shown)?.success()
    }

    /// Runs it with its output to the terminal, and also returns its standard output.
    pub fn tee(self) -> Result<Ended> {
        println!("$ {self}");
        self.end(Output::ShownAndKept)
    }

    /// Runs it without showing what it writes to its standard output.
    pub fn quiet(self) -> Result<Ended> {
        self.end(Output::Kept)
    }

    fn end(mut self, output: Output) -> Result<Ended> {
        io::stdout().flush()?;
        let shown = self.to_string();
        if output != Output::Shown {
            self.command.stdout(Stdio::piped());
        }
        // A group of its own, so that the children of a test program are ended with it.
        self.command.process_group(0);
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        let mut kept = Vec::new();
        let mut keep = |chunk: &[u8]| {
            if output == Output::ShownAndKept {
                let mut stdout = io::stdout();
                let _ = stdout.write_all(chunk).and_then(|()| stdout.flush());
            }
            kept.extend(chunk);
        };
        let (status, timed_out) = watch(&mut child, self.limit, &mut keep)?;
        let stdout = String::from_utf8_lossy(&kept).into_owned();
        Ok(Ended {
            status,
            pid: child.id(),
            stdout,
            timed_out,
            shown,
        })
    }
}

/// Waits for the end of a program, which leads a group, and passes on its output. Returns the time limit if that has
/// ended it.
fn watch(
    child: &mut Child,
    limit: Duration,
    keep: &mut impl FnMut(&[u8]),
) -> Result<(ExitStatus, Option<Duration>)> {
    let start = Instant::now();
    let group = Group::new(child.id());
    let mut pipe = child.stdout.take();
    if let Some(pipe) = &pipe {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut timed_out = None;
    let status = loop {
        match &mut pipe {
            Some(open) => {
                await_output(open)?;
                if read_once(open, keep)? == Read::End {
                    pipe = None;
                }
            }
            None => thread::sleep(TICK),
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            timed_out = Some(limit);
            group.kill();
            break child.wait()?;
        }
    };
    drop(group);
    // The pipe holds the rest of what the program has written. It may never end: a process that has left the group
    // (setsid) may keep it open, and go on writing.
    if let Some(open) = &mut pipe {
        let mut left = MOST_IN_A_PIPE;
        while let Read::Bytes(length @ 1..) = read_once(open, keep)? {
            left = match left.checked_sub(length) {
                Some(left) => left,
                None => break,
            };
        }
    }
    Ok((status, timed_out))
}

/// Waits for output, for the end of the output, or for a while.
fn await_output(pipe: &ChildStdout) -> Result<()> {
    let mut entries = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut entries, PollTimeout::try_from(TICK)?) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What one read of a pipe has found.
#[derive(PartialEq)]
enum Read {
    /// 0 if the pipe is empty.
    Bytes(usize),
    End,
}

fn read_once(pipe: &mut ChildStdout, keep: &mut impl FnMut(&[u8])) -> Result<Read> {
    let mut buffer = [0; 1 << 16];
    match pipe.read(&mut buffer) {
        Ok(0) => Ok(Read::End),
        Ok(length) => {
            keep(&buffer[..length]);
            Ok(Read::Bytes(length))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Bytes(0)),
        Err(error) => Err(error.into()),
    }
}

/// Runs all of them, even after one has failed, and fails if one has failed.
pub fn run_all(commands: impl IntoIterator<Item = Cmd>) -> Result<()> {
    let mut failed = Vec::new();
    for cmd in commands {
        if let Err(error) = cmd.run() {
            println!("{error:#}");
            failed.push(error.to_string());
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join(", "));
    }
    Ok(())
}

#[derive(PartialEq)]
enum Output {
    Shown,
    Kept,
    ShownAndKept,
}

impl Ended {
    /// An error unless the program ended by itself and with success.
    pub fn success(&self) -> Result<()> {
        if let Some(limit) = self.timed_out {
            bail!(
                "`{}` was ended after its time limit of {} s",
                self.shown,
                limit.as_secs()
            );
        }
        if !self.status.success() {
            bail!("`{}` ended with {}", self.shown, self.status);
        }
        Ok(())
    }

    pub fn successful_stdout(self) -> Result<String> {
        self.success()?;
        Ok(self.stdout)
    }
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for env in &self.envs {
            write!(f, "{env} ")?;
        }
        write!(f, "{}", quoted(self.command.get_program()))?;
        for arg in self.command.get_args() {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

/// As one would type it in a shell, without the root of the repository.
fn quoted(word: &OsStr) -> String {
    let word = word
        .to_string_lossy()
        .replace(&format!("{}/", root().display()), "");
    if !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_alphanumeric() || "-_=./,:+%@".contains(c))
    {
        word
    } else {
        format!("'{word}'")
    }
}

/// Whether an environment variable changes what cargo builds, or where. `cargo run` has set
/// `CARGO_PKG_…` and similar variables for this program, and not for its children.
fn influences_builds(name: &str) -> bool {
    name.ends_with("RUSTFLAGS")
        || name.ends_with("RUSTDOCFLAGS")
        || [
            "RUSTC_BOOTSTRAP",
            "CARGO_BUILD_TARGET",
            "CARGO_BUILD_TARGET_DIR",
            "CARGO_TARGET_DIR",
            "MIO_KQUEUE_LIBRARY",
        ]
        .contains(&name)
        || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Whether an environment variable selects a compiler, or the folder of its libraries.
fn names_a_toolchain(name: &str) -> bool {
    name.starts_with("RUSTUP_")
        || name.starts_with("CARGO_BUILD_")
        || [
            "CARGO",
            "LD_LIBRARY_PATH",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTDOC",
        ]
        .contains(&name)
}

/// A process group, which is killed as a whole when this is dropped.
struct Group(Pid);

impl Group {
    fn new(leader: u32) -> Group {
        let leader = i32::try_from(leader).expect("process ids are positive");
        RUNNING.store(leader, Ordering::SeqCst);
        Group(Pid::from_raw(leader))
    }

    fn kill(&self) {
        // Usually no process of it is left.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        RUNNING.store(0, Ordering::SeqCst);
        self.kill();
    }
}

/// Children are in groups of their own, so neither Ctrl-C nor a CI system's SIGTERM reaches them.
pub fn end_children_when_interrupted() -> Result<()> {
    ctrlc::set_handler(|| {
        let group = RUNNING.load(Ordering::SeqCst);
        if group != 0 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        std::process::exit(130);
    })?;
    Ok(())
}

/// How a command ends at its time limit that prints something and then hangs. The limit is doubled until it has printed
/// that, so that the machine may be slow.
#[cfg(test)]
pub fn ended_after_output(cmd: impl Fn() -> Cmd) -> Ended {
    let mut limit = Duration::from_millis(200);
    loop {
        let ended = cmd().limit(limit).quiet().unwrap();
        if !ended.stdout.is_empty() || limit > DEFAULT_LIMIT {
            return ended;
        }
        limit *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh").arg("-c").arg(script)
    }

    #[test]
    fn output_and_failure_are_returned() {
        let ended = sh("echo out; exit 3").quiet().unwrap();
        assert_eq!(ended.stdout, "out\n");
        assert!(ended
            .success()
            .unwrap_err()
            .to_string()
            .ends_with("ended with exit status: 3"));
        assert!(sh("true").quiet().unwrap().success().is_ok());
    }

    #[test]
    fn all_output_is_kept_even_if_a_process_that_left_keeps_the_pipe_open() {
        let leave = "exec 3>&1; echo $(setsid sh -c 'sleep 1000 >&3 3>&- & echo $!')";
        let ended = sh(&format!("{leave}; seq 100000; exit 4")).quiet().unwrap();
        assert_eq!(ended.status.code(), Some(4));
        let (sleeper, numbers) = ended.stdout.split_once('\n').unwrap();
        let sleeper = Pid::from_raw(sleeper.parse().unwrap());
        nix::sys::signal::kill(sleeper, Signal::SIGKILL).unwrap();
        assert_eq!(numbers.lines().count(), 100_000);
        assert!(numbers.ends_with("\n100000\n"));
    }

    #[test]
    fn what_a_program_has_written_before_its_end_was_noticed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let go_on = folder.path().join("go on");
        let script = "echo one; until [ -e \"$0\" ]; do :; done; echo two";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&go_on);
        command.process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();

        let mut kept = Vec::<u8>::new();
        let stat = format!("/proc/{}/stat", child.id());
        let keep = &mut |chunk: &[u8]| {
            kept.extend(chunk);
            if chunk == b"one\n" {
                // It writes the rest, and ends, before this returns.
                std::fs::write(&go_on, "").unwrap();
                while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
                    thread::sleep(TICK);
                }
            }
        };
        let (status, _) = watch(&mut child, DEFAULT_LIMIT, keep).unwrap();
        assert!(status.success());
        assert_eq!(kept, b"one\ntwo\n");
    }

    #[test]
    fn a_program_that_writes_for_ever_reaches_its_time_limit() {
        let limit = Duration::from_millis(200);
        let ended = sh("yes").limit(limit).quiet().unwrap();
        assert_eq!(ended.timed_out, Some(limit));
    }

    #[test]
    fn what_hangs_is_ended_with_its_children() {
        let ended = ended_after_output(|| sh("sleep 1000 & echo $!; wait"));
        assert!(ended.timed_out.is_some());
        assert!(ended
            .success()
            .unwrap_err()
            .to_string()
            .contains("time limit"));
        let sleeper = Pid::from_raw(ended.stdout.trim().parse().unwrap());
        let gone = Instant::now() + Duration::from_secs(10);
        // Signal 0 only checks. A zombie that init has not reaped yet still exists.
        while nix::sys::signal::kill(sleeper, None).is_ok() {
            assert!(Instant::now() < gone, "the sleeper still runs");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn flags_of_the_environment_are_ignored() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "CARGO_PKG_NAME",
        ] {
            assert!(influences_builds(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "PATH",
            "CARGO_TERM_COLOR",
        ] {
            assert!(!influences_builds(name), "{name}");
        }
    }

    #[test]
    fn debians_cargo_ignores_other_toolchains() {
        for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "LD_LIBRARY_PATH"] {
            assert!(names_a_toolchain(name), "{name}");
        }
        for name in ["CARGO_HOME", "PATH", "HOME"] {
            assert!(!names_a_toolchain(name), "{name}");
        }
    }

    #[test]
    fn commands_are_shown_as_typed() {
        let cmd = Cmd::cargo("test")
            .arg("--lib")
            .env("RUSTFLAGS", "--cfg mio_loom")
            .target_dir(crate::target("loom"));
        assert_eq!(
            cmd.to_string(),
            "RUSTFLAGS='--cfg mio_loom' CARGO_TARGET_DIR=target/loom cargo test --lib"
        );
    }
}
