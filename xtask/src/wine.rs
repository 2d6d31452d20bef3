//! The tests and examples, built for Windows and run under Wine.
//!
//! Each test has a process and a time limit of its own. Tests that Windows does not have, or Wine
//! does not support, are left out by name: testing/wine/not-on-windows.txt has the reasons.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{symlink, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use clap::Args as ClapArgs;
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt, PtyMaster};
use nix::sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg};

use crate::cross::{setting, Cross};
use crate::harness::{self, file_of, list, tests_of};
use crate::left_out::List;
use crate::report::Report;
use crate::sh::{Cmd, Ended};
use crate::{newer_wine, programs, root, target, tools, windows};

pub const TARGET: &str = "x86_64-pc-windows-gnu";

/// Folders of testing/faults whose faults are in code for Windows.
pub const BACKENDS: [&str; 2] = ["afd", "named-pipe"];

/// The time limit for one test. The longest ones usually take a second.
const TEST_LIMIT: Duration = Duration::from_secs(180);

/// The seconds after which a test gives up waiting for an event that does not come. On a machine
/// with other work, Wine takes long to make and register connections: 10 s for 200 of them.
const PATIENCE: &str = "60";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Only tests whose name contains one of these
    filters: Vec<String>,
    /// Only the tests of this file: `waker` for tests/waker.rs, `mio` for the library's own
    #[arg(long, value_name = "NAME")]
    file: Vec<String>,
    /// The version of Wine, instead of the installed one: 10, which is downloaded from a newer
    /// Debian
    #[arg(long, value_name = "VERSION")]
    wine: Option<u32>,
    /// Only show the tests
    #[arg(long)]
    list: bool,
    /// Only the calls of each operation, against testing/windows-calls/expected.txt
    #[arg(long, conflicts_with_all = ["filters", "file", "list"])]
    calls: bool,
    /// Write the calls that are seen into the table, to be reviewed
    #[arg(long, requires = "calls")]
    bless: bool,
    /// Only random programs, judged by a specification: testing/windows-oracle
    #[arg(long, conflicts_with_all = ["filters", "file", "list", "calls"])]
    oracle: bool,
    #[command(flatten)]
    search: windows::Search,
    /// Show what the tests print
    #[arg(long)]
    show: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let is_whole = args.filters.is_empty() && args.file.is_empty();
    Report::of(|report| {
        let wine = match args.wine {
            None => Wine::start()?,
            Some(10) => Wine::start_newer()?,
            Some(other) => bail!("there is no Wine {other} here, but 10"),
        };
        let cross = Cross::new(TARGET)?;
        let command = |program: &Path| wine.command(program);
        if args.bless {
            return windows::bless(report, &cross, command);
        }
        if args.calls {
            return windows::calls(report, &cross, command);
        }
        if args.oracle {
            return windows::oracle(report, &cross, &args.search, command);
        }
        let mut left_out = LeftOut::read()?;
        let mut skipped = Vec::new();
        for program in programs(&cross)? {
            let file = file_of(&program);
            if !args.file.is_empty() && !args.file.contains(&file) {
                continue;
            }
            let tests = tests_of(wine.run(|| list(wine.command(&program)))?)?;
            left_out.forget_present(&file, &tests);
            for test in tests {
                let name = format!("{file}: {test}");
                if !args.filters.is_empty() && !args.filters.iter().any(|f| name.contains(f)) {
                    continue;
                }
                if args.list {
                    println!("{name}");
                    continue;
                }
                let start = Instant::now();
                let outcome = one(&wine, &program, &test, args.show)?;
                let took = start.elapsed().as_secs_f64();
                println!("{name} ... {} ({took:.2} s)", outcome.word());
                match outcome {
                    Outcome::Passed => report.one(&name, Ok(())),
                    Outcome::Failed(why) => report.problem(format!("{name}: {why}")),
                    Outcome::Skipped(why) => skipped.push(format!("{name}: {why}")),
                }
            }
        }
        if args.list {
            // Otherwise it would be a failure to run no test.
            report.one("listed", Ok(()));
            return Ok(());
        }
        if is_whole {
            for problem in left_out.rest(&mut skipped) {
                report.problem(problem);
            }
            report.libtest(wine.doc_tests(&cross));
            examples(&wine, &cross, report)?;
            tokio(&wine, &cross, report)?;
            windows::oracle(report, &cross, &args.search, command)?;
            match args.wine {
                None => windows::calls(report, &cross, command)?,
                // The table belongs to the installed version.
                Some(_) => println!("left out: the calls of each operation"),
            }
        }
        for line in &skipped {
            println!("skipped: {line}");
        }
        println!("{} skipped", skipped.len());
        Ok(())
    })
}

pub fn all() -> Result<()> {
    run(&Args::default())
}

/// Runs on the Wine of a newer Debian.
pub fn on_newer() -> Result<()> {
    run(&Args {
        wine: Some(10),
        ..Args::default()
    })
}

/// The result of one test.
#[derive(Debug, PartialEq)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "ok",
            Outcome::Failed(_) => "FAILED",
            Outcome::Skipped(_) => "skipped",
        }
    }

    /// The result of a harness that was to run this test only.
    fn of(test: &str, ended: &Ended) -> Outcome {
        let line = format!("test {test} ... ");
        let printed = ended.stdout.lines().find_map(|l| l.strip_prefix(&line));
        if let Some(limit) = ended.timed_out {
            return Outcome::Failed(format!("it took longer than {} s", limit.as_secs()));
        }
        match (printed, ended.status.success()) {
            (Some("ok"), true) if ended.stdout.contains("test result: ok. 1 passed;") => {
                Outcome::Passed
            }
            (Some(ignored), true) if ignored.starts_with("ignored") => {
                let why = ignored
                    .strip_prefix("ignored, ")
                    .unwrap_or("no reason given");
                Outcome::Skipped(why.to_owned())
            }
            (Some("FAILED"), _) => Outcome::Failed("it failed".to_owned()),
            _ => Outcome::Failed(format!("its program ended with {}", ended.status)),
        }
    }
}

fn one(wine: &Wine, program: &Path, test: &str, shows: bool) -> Result<Outcome> {
    let ended = wine.run(|| {
        let harness = wine.command(program).args([test, "--exact"]);
        let harness = match shows {
            true => harness.arg("--show-output"),
            false => harness,
        };
        harness.limit(TEST_LIMIT)
    })?;
    let outcome = Outcome::of(test, &ended);
    if shows || matches!(outcome, Outcome::Failed(_)) {
        println!("{}", ended.stdout);
    }
    Ok(outcome)
}

/// Wine with a prefix of its own, and a program that runs in it all the time. So Wine's services
/// start only once, and hold no files of programs that run later.
pub struct Wine {
    place: Place,
    keeper: Child,
    serial: Serial,
    /// Held until this is dropped, which ends every process in the prefix.
    _lock: fs::File,
}

impl Wine {
    /// Installs what is missing.
    pub fn start() -> Result<Wine> {
        tools::need("wine", &["wine", "wine64"])?;
        Wine::start_in(&target("wine"), None)
    }

    /// The Wine of a newer Debian.
    pub fn start_newer() -> Result<Wine> {
        let root = newer_wine::extracted()?;
        Wine::start_in(&target("wine10"), Some(root))
    }

    fn start_in(folder: &Path, root: Option<PathBuf>) -> Result<Wine> {
        tools::need("x86_64-w64-mingw32-gcc", &["gcc-mingw-w64-x86-64"])?;
        fs::create_dir_all(folder)?;
        let lock = fs::File::create(folder.join("lock"))?;
        lock.try_lock()
            .map_err(|error| anyhow!("another run holds {}: {error}", folder.display()))?;
        let place = Place {
            prefix: folder.join("prefix"),
            root,
        };
        let prefix = &place.prefix;
        let version = place.command("wine").arg("--version").quiet()?;
        let version = version.successful_stdout()?;
        // Files that a killed run has left.
        place.end_all();
        // The version that prepared it, written at the end of the preparation.
        let prepared_by = folder.join("prefix-is-of");
        if fs::read_to_string(&prepared_by).ok().as_ref() != Some(&version) {
            if prefix.is_dir() {
                fs::remove_dir_all(prefix)?;
            }
            prepare(&place, &version)?;
            fs::write(&prepared_by, &version)?;
        }
        let words = place.words("wine");
        let mut keeper = Command::new(&words[0]);
        keeper.args(&words[1..]).envs(place.environment());
        // Its output is discarded: the services inherit it, and outlive the program.
        let keeper = keeper
            .args(["cmd", "/q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start Wine")?;
        let wine = Wine {
            serial: Serial::open()?,
            place,
            keeper,
            _lock: lock,
        };
        // The services are running by then.
        wine.wine(&["cmd", "/c", "ver"])
            .limit(Duration::from_secs(120))
            .quiet()?
            .success()?;
        // Not earlier: the services remove files that they do not know.
        wine.serial.attach(&wine.place.prefix)?;
        Ok(wine)
    }

    /// A program for Windows.
    pub fn command(&self, program: &Path) -> Cmd {
        self.wine::<&str>(&[]).arg(program)
    }

    /// Cargo, with the tests in the documentation.
    fn doc_tests(&self, cross: &Cross) -> Cmd {
        let cargo = cross.building("test").args(["--doc", "--all-features"]);
        self.running_what_is_built(cargo, &[])
    }

    /// Cargo, whose programs for Windows run here, with these variables of their own.
    pub fn running_what_is_built(&self, cargo: Cmd, variables: &[&str]) -> Cmd {
        let mut runner = vec![once_more()];
        runner.extend(self.place.words("wine"));
        if !variables.is_empty() {
            let env = ["env"].iter().chain(variables);
            runner.splice(..0, env.map(|word| word.to_string()));
        }
        let cargo = cargo
            .env(&setting(TARGET, "RUNNER"), runner.join(" "))
            .env("MIO_TEST_SERIAL", Serial::PORT);
        self.place
            .environment()
            .into_iter()
            .fold(cargo, |cargo, (name, value)| cargo.env(name, value))
    }

    /// Runs a test harness. Once in some thousand runs Wine itself fails before the program has
    /// begun; then the harness is started again.
    pub fn run(&self, harness: impl Fn() -> Cmd) -> Result<Ended> {
        let ended = harness().quiet()?;
        if has_begun(&ended.stdout) || ended.timed_out.is_some() {
            return Ok(ended);
        }
        print!("{}", ended.stdout);
        println!("it did not start ({}): once more", ended.status);
        harness().quiet()
    }

    fn wine<A: AsRef<str>>(&self, args: &[A]) -> Cmd {
        self.place
            .command("wine")
            .env("RUST_BACKTRACE", "0")
            .env("MIO_TEST_SERIAL", Serial::PORT)
            .env("MIO_TEST_PATIENCE", PATIENCE)
            .args(args.iter().map(AsRef::as_ref))
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // It ends when its input ends.
        drop(self.keeper.stdin.take());
        self.place.end_all();
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A serial port: Wine opens a terminal of Linux for it, and a thread here is the device at the
/// other end. After each byte that it receives, the device sends data for a while, without a gap.
struct Serial {
    terminal: PathBuf,
    /// Open, so that the device can be read before a program opens the port, and after it has
    /// closed the port.
    _held: fs::File,
}

impl Serial {
    const PORT: &'static str = "COM33";

    fn open() -> Result<Serial> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = PathBuf::from(ptsname_r(&master)?);
        let held = fs::File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(&terminal)?;
        // Bytes, neither echoed nor converted.
        let mut settings = tcgetattr(&held)?;
        cfmakeraw(&mut settings);
        tcsetattr(&held, SetArg::TCSANOW, &settings)?;
        // The thread ends with this process.
        thread::spawn(move || Serial::device(master));
        Ok(Serial {
            terminal,
            _held: held,
        })
    }

    fn device(mut port: PtyMaster) {
        /// Almost as fast as a port with 115,200 baud.
        const PIECE: [u8; 100] = [b'x'; 100];
        const PAUSE: Duration = Duration::from_millis(10);
        const PIECES: usize = 150;

        while port.read_exact(&mut [0]).is_ok() {
            for _ in 0..PIECES {
                if port.write_all(&PIECE).is_err() {
                    return;
                }
                thread::sleep(PAUSE);
            }
        }
    }

    /// Gives the port its name in a prefix.
    fn attach(&self, prefix: &Path) -> Result<()> {
        let name = prefix.join("dosdevices").join(Serial::PORT.to_lowercase());
        if name.symlink_metadata().is_ok() {
            fs::remove_file(&name)?;
        }
        symlink(&self.terminal, &name)?;
        Ok(())
    }
}

/// The script through which cargo starts Wine: it starts Wine again where Wine itself fails before the program has
/// begun. It knows that from Wine's message: a documentation test has no first line by which `has_begun` could tell.
fn once_more() -> String {
    root()
        .join("testing/wine/once-more.sh")
        .display()
        .to_string()
}

/// Whether a harness has printed its first line: how many tests it runs, or which ones it has.
fn has_begun(stdout: &str) -> bool {
    let begins = |line: &str| line.starts_with("running ") || line.ends_with(" benchmarks");
    stdout.lines().any(begins)
}

/// The folder of a Wine's files.
struct Place {
    prefix: PathBuf,
    /// The root of its system, if that is not this one.
    root: Option<PathBuf>,
}

impl Place {
    /// The command that runs a program under it.
    fn words(&self, program: &str) -> Vec<String> {
        match &self.root {
            None => vec![program.to_owned()],
            Some(root) => newer_wine::words(root, program),
        }
    }

    fn command(&self, program: &str) -> Cmd {
        let words = self.words(program);
        // It prints there why a program was aborted.
        let cmd = Cmd::all_output_of(&words[0]).args(&words[1..]);
        self.environment()
            .into_iter()
            .fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("WINEPREFIX", self.prefix.display().to_string()),
            // No messages of Wine itself, such as that its 32-bit part is missing.
            ("WINEDEBUG", "-all".to_owned()),
            // The components that it would offer to install.
            ("WINEDLLOVERRIDES", "mscoree=;mshtml=".to_owned()),
            ("DISPLAY", String::new()),
        ];
        if self.root.is_some() {
            all.push(("WINELOADER", newer_wine::LOADER.to_owned()));
        }
        all
    }

    /// Ends every process in the prefix, if the prefix exists.
    fn end_all(&self) {
        if !self.prefix.is_dir() {
            return;
        }
        let end = self.command("wineserver").arg("-k");
        // The status reports it if no process runs there.
        if let Err(error) = end.limit(Duration::from_secs(30)).quiet() {
            println!("{error:#}");
        }
    }
}

/// Creates a prefix, with the libraries that Rust's standard library needs.
fn prepare(place: &Place, version: &str) -> Result<()> {
    let prefix = &place.prefix;
    println!("making {}", prefix.display());
    let system = prefix.join("drive_c/windows/system32");
    if let Some(root) = &place.root {
        fs::create_dir_all(&system)?;
        fs::copy(root.join(newer_wine::ZLIB), system.join("zlib1.dll"))?;
    }
    // It has a session of its own, and its output is discarded, because the services that it starts
    // outlive it, and keep what they inherit open. The prefix is complete when they have ended:
    // only then is its registry written.
    let script = "setsid --wait \"$@\" wineboot -i >/dev/null 2>&1";
    let boot = Cmd::new("sh")
        .args(["-c", script, "sh"])
        .args(place.words("wine"))
        .limit(Duration::from_secs(300));
    let boot = place
        .environment()
        .into_iter()
        .fold(boot, |cmd, (name, value)| cmd.env(name, value));
    let ends = place.command("wineserver").arg("-w");
    let made = boot
        .quiet()
        .and_then(|ended| ended.success())
        .and_then(|()| ends.limit(Duration::from_secs(300)).quiet()?.success());
    if made.is_err() {
        place.end_all();
    }
    made?;
    if !has_random_numbers(version)? {
        let library = system.join("bcryptprimitives.dll");
        Cmd::new("x86_64-w64-mingw32-gcc")
            .args(["-Wall", "-Werror", "-O2", "-shared", "-o"])
            .arg(&library)
            .args(["testing/wine/bcryptprimitives.c", "-ladvapi32"])
            .run()?;
    }
    Ok(())
}

/// Whether a Wine of this version has `bcryptprimitives.dll`: from 10 on.
fn has_random_numbers(version: &str) -> Result<bool> {
    let major = version
        .strip_prefix("wine-")
        .and_then(|version| version.split(['.', ' ', '-']).next())
        .with_context(|| format!("{version:?} is no version of Wine"))?;
    Ok(major.trim().parse::<u32>()? >= 10)
}

/// The library's unit tests and those of tests/.
fn programs(cross: &Cross) -> Result<Vec<PathBuf>> {
    harness::built(
        cross
            .building("test")
            .args(["--all-features", "--lib", "--tests"]),
    )
}

/// The tests that run on the host and not on Windows, with the reasons.
struct LeftOut {
    /// `file: test`, without the backend's module.
    tests: BTreeSet<String>,
    list: List,
}

impl LeftOut {
    /// All tests of the host.
    fn read() -> Result<LeftOut> {
        let mut tests = BTreeSet::new();
        for program in
            harness::built(Cmd::cargo("test").args(["--all-features", "--lib", "--tests"]))?
        {
            let file = file_of(&program);
            for test in tests_of(list(Cmd::new(&program)).quiet()?)? {
                tests.insert(format!("{file}: {}", without_backend(&test)));
            }
        }
        Ok(LeftOut {
            tests,
            list: List::read("testing/wine/not-on-windows.txt")?,
        })
    }

    fn forget_present(&mut self, file: &str, tests: &[String]) {
        for test in tests {
            self.tests
                .remove(&format!("{file}: {}", without_backend(test)));
        }
    }

    /// Prints the tests that are left out, and returns the problems of the list.
    fn rest(&mut self, skipped: &mut Vec<String>) -> Vec<String> {
        let mut problems = Vec::new();
        for test in &self.tests {
            match self.list.reason_for(test) {
                Some(why) => skipped.push(format!("{test}: {why}")),
                None => problems.push(format!(
                    "{test} does not exist on Windows, and testing/wine/not-on-windows.txt has no reason"
                )),
            }
        }
        problems.extend(self.list.stale());
        problems
    }
}

/// A test's name without the module of its backend, because Windows has another backend.
fn without_backend(test: &str) -> &str {
    ["afd::", "epoll::", "poll::"]
        .iter()
        .find_map(|backend| test.strip_prefix(backend))
        .unwrap_or(test)
}

/// The examples that end by themselves.
fn examples(wine: &Wine, cross: &Cross, report: &mut Report) -> Result<()> {
    cross
        .building("build")
        .args(["-p", "mio", "-p", "c10k", "--examples", "--bins"])
        .run()?;
    for (name, program, args) in [
        ("quickstart", "examples/quickstart.exe", &[][..]),
        (
            "c10k",
            "c10k.exe",
            &["--connections", "500", "--messages", "20"],
        ),
    ] {
        let example = wine
            .command(&cross.programs().join(program))
            .args(args)
            .limit(Duration::from_secs(180));
        report.one(name, example.run());
    }
    let children = cross.programs().join("examples/children.exe");
    programs::children(report, wine.command(&children));
    Ok(())
}

/// tokio on this crate, with the features that Windows has.
fn tokio(wine: &Wine, cross: &Cross, report: &mut Report) -> Result<()> {
    let interop = root().join("interop");
    for program in harness::built(cross.building("test").dir(interop).arg("--all-features"))? {
        report.libtest(wine.command(&program).limit(Duration::from_secs(180)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_versions_of_wine_differ() {
        assert!(!has_random_numbers("wine-8.0 (Debian 8.0~repack-4)\n").unwrap());
        assert!(!has_random_numbers("wine-9.22\n").unwrap());
        assert!(has_random_numbers("wine-10.0\n").unwrap());
        assert!(has_random_numbers("wine-11-rc1\n").unwrap());
        assert!(has_random_numbers("something").is_err());
    }

    #[test]
    fn what_became_of_a_test_is_read_from_its_line_and_how_its_program_ended() {
        let run = |script: &str, limit| {
            let cmd = Cmd::new("sh").arg("-c").arg(script).limit(limit);
            Outcome::of("a::b", &cmd.quiet().unwrap())
        };
        let printed = |line: &str, result: &str, status: i32| {
            let script = format!(
                "echo 'test a::b ... {line}'; echo 'test result: {result};'; exit {status}"
            );
            run(&script, TEST_LIMIT)
        };
        let failed = |why: &str| Outcome::Failed(why.to_owned());
        let (ok, none) = ("ok. 1 passed", "ok. 0 passed; 0 failed; 1 ignored");
        assert_eq!(printed("ok", ok, 0), Outcome::Passed);
        let why = Outcome::Skipped("because".to_owned());
        assert_eq!(printed("ignored, because", none, 0), why);
        assert_eq!(
            printed("FAILED", "FAILED. 0 passed", 1),
            failed("it failed")
        );
        let status = |status: i32| failed(&format!("its program ended with exit status: {status}"));
        assert_eq!(printed("ok", none, 0), status(0));
        assert_eq!(printed("ok", ok, 1), status(1));
        assert_eq!(run("echo running 1 test; exit 3", TEST_LIMIT), status(3));
        assert_eq!(
            run("sleep 60", Duration::from_millis(200)),
            failed("it took longer than 0 s")
        );
    }

    #[test]
    fn only_a_failure_of_wine_itself_is_tried_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = folder.path().join("temporary");
        fs::create_dir(&temporary).unwrap();
        let runs = |script: &str| {
            let log = folder.path().join("log");
            fs::write(&log, "").unwrap();
            let cmd = Cmd::all_output_of(once_more()).args(["sh", "-c", script]);
            let cmd = cmd.arg(&log).env("TMPDIR", &temporary);
            let ended = cmd.quiet().unwrap();
            let runs = fs::read_to_string(&log).unwrap().lines().count();
            (runs, ended.status.code().unwrap(), ended.stdout)
        };
        let begin = "echo >> $0; [ $(wc -l < $0) = 2 ] && exit 0;";
        let message = "wine client error:0: write: Bad file descriptor";
        let fails =
            |text: &str, status: i32| runs(&format!("{begin} echo '{text}' >&2; exit {status}"));

        let (count, status, output) = fails(message, 1);
        assert_eq!((count, status), (2, 0));
        assert_eq!(
            output,
            format!("{message}\nit did not start (1): once more\n")
        );
        assert_eq!(
            fails("assertion failed", 101),
            (1, 101, "assertion failed\n".to_owned())
        );
        assert_eq!(fails(message, 0).0, 1);
        let (count, status, _) = runs(&format!("echo >> $0; echo '{message}' >&2; exit 3"));
        assert_eq!((count, status), (2, 3));
        // What is killed leaves no file.
        assert_eq!(runs("ls $TMPDIR"), (0, 0, String::new()));
    }

    #[test]
    fn a_harness_that_has_said_something_has_begun() {
        assert!(has_begun("\nrunning 1 test\n"));
        assert!(has_begun("a::b: test\n\n1 test, 0 benchmarks\n"));
        assert!(!has_begun(""));
        assert!(!has_begun(
            "wine client error:0: write: Bad file descriptor\n"
        ));
    }

    #[test]
    fn what_is_not_there_needs_a_reason_and_a_reason_something_that_is_not_there() {
        let mut left_out = LeftOut {
            tests: ["f: a", "f: b", "g: x::c", "g: d"]
                .map(str::to_owned)
                .into(),
            list: List::parse("list", "f: a -- no a\ng: x::* -- no x\nf: z -- no z\n").unwrap(),
        };
        left_out.forget_present("f", &["afd::b".to_owned()]);
        let mut skipped = Vec::new();
        let problems = left_out.rest(&mut skipped);
        assert_eq!(skipped, ["f: a: no a", "g: x::c: no x"]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("g: d") && problems[1].contains("f: z"));
    }
}
