//! The tests on other kernels of Linux: Debian's, old and new, which qemu boots in a virtual machine. A guest has no disk: a file system in memory with the test programs, c10k, the oracle and
//! busybox. `testing/kernels/init.sh` is its first process.

mod console;
mod cpio;
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};
use clap::Args as ClapArgs;

use crate::debian::Suite;
use crate::report::{self, Report};
use crate::sh::Cmd;
use crate::shard::Shard;
use crate::table::named;
use crate::{root, target};
use cpio::Archive;
use machine::{Machine, Program, ARM64, LIBRARIES, S390X, X86_64};

struct Kernel {
    name: &'static str,
    /// Debian's release, and the package that depends on its newest kernel.
    release: &'static str,
    package: &'static str,
    /// The beginning of its `uname -r`.
    version: &'static str,
    machine: &'static Machine,
}

const KERNELS: [Kernel; 6] = [
    Kernel {
        name: "5.10",
        release: "bullseye",
        package: "linux-image-cloud-amd64",
        version: "5.10.",
        machine: &X86_64,
    },
    Kernel {
        name: "6.1",
        release: "bookworm",
        package: "linux-image-cloud-amd64",
        version: "6.1.",
        machine: &X86_64,
    },
    Kernel {
        name: "6.12",
        release: "trixie",
        package: "linux-image-cloud-amd64",
        version: "6.12.",
        machine: &X86_64,
    },
    Kernel {
        name: "newest",
        release: "sid",
        package: "linux-image-cloud-amd64",
        version: "",
        machine: &X86_64,
    },
    Kernel {
        name: "s390x",
        release: "bookworm",
        package: "linux-image-s390x",
        version: "6.1.",
        machine: &S390X,
    },
    Kernel {
        name: "arm64",
        release: "bookworm",
        package: "linux-image-cloud-arm64",
        version: "6.1.",
        machine: &ARM64,
    },
];

/// Tests that are left out, with the reasons.
const LEFT_OUT: [(&str, &str); 1] = [(
    "sys::table::tests::a_thread_that_waits_for_the_lock_gets_it",
    "it compares how fast this machine's own kernel wakes a thread with how fast it yields to one",
)];

/// The factor by which the tests multiply their time bounds, because emulation is slow.
const SLOWER: &str = "5";

/// The oracle's seconds for each of the two backends.
const ORACLE_SECONDS: u32 = 30;

/// The compiler with which tests/preloaded.rs compiles its library.
const STACKS: [&str; 2] = ["", "-DWITH_EPOLL_PWAIT2"];

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Kernels to boot, instead of all that `--list` shows
    kernels: Vec<String>,
    /// Only show the kernels
    #[arg(long)]
    list: bool,
    /// Only every N-th kernel, starting at the K-th
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
}

pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for kernel in &KERNELS {
            let (name, release) = (kernel.name, kernel.release);
            println!("{name}: {} of {release}", kernel.package);
        }
        return Ok(());
    }
    let mut kernels = named(&KERNELS, |kernel| kernel.name, &args.kernels, |_| true)?;
    if let Some(shard) = args.shard {
        kernels = shard.of(kernels);
    }
    for (test, reason) in LEFT_OUT {
        println!("left out: {test}, because {reason}");
    }
    Report::of(|report| {
        let expected = on_this_kernel()?;
        for kernel in kernels {
            println!("--- {}", kernel.name);
            match kernel.run() {
                Ok(console) => kernel.judge(report, &console, &expected),
                Err(error) => report.problem(format!("{}: {error:#}", kernel.name)),
            }
        }
        Ok(())
    })
}

pub fn all() -> Result<()> {
    run(&Args::default())
}

fn skipped() -> Vec<String> {
    let skips = LEFT_OUT.iter().flat_map(|(test, _)| ["--skip", test]);
    skips.map(str::to_owned).collect()
}

/// The tests that each program has on this machine.
type Tests = BTreeMap<String, Vec<String>>;

fn on_this_kernel() -> Result<Tests> {
    let skipped = skipped();
    let tests = X86_64.tests()?.into_iter();
    let listed = tests.map(|(name, path)| Ok((name, machine::list(&path, &skipped)?)));
    listed.collect()
}

impl Kernel {
    /// Boots it, and returns what it wrote to its console.
    fn run(&self) -> Result<String> {
        let folder = target("kernels").join(self.name);
        if folder.is_dir() {
            fs::remove_dir_all(&folder)?;
        }
        let suite = Suite::fetch(&folder, self.release, self.machine.architecture)?;
        let kernel = self.image(&suite, &folder)?;
        let busybox = folder.join("busybox");
        suite.extract("busybox-static", &busybox)?;
        let busybox = file(&busybox, |path| path.ends_with("bin/busybox")).context("no busybox")?;
        let initramfs = folder.join("initramfs");
        self.file_system(&busybox, &initramfs)?;
        let ended = self
            .machine
            .boot(&kernel, &initramfs)?
            .limit(Duration::from_secs(self.machine.limit))
            .tee()?;
        // The console of a guest that hangs says more than the error of its machine.
        if let Err(error) = ended.success() {
            println!("{error:#}");
        }
        Ok(ended.stdout)
    }

    /// The file of the kernel, from the package or from a package that it depends on.
    fn image(&self, suite: &Suite, folder: &Path) -> Result<PathBuf> {
        let extracted = folder.join("kernel");
        let mut package = self.package.to_owned();
        for _ in 0..3 {
            suite.extract(&package, &extracted)?;
            if let Some(image) = file(&extracted, is_kernel) {
                return Ok(image);
            }
            let depends = suite.depends(&package)?;
            package = depends
                .into_iter()
                .find(|name| {
                    ["linux-image-", "linux-binary-"]
                        .iter()
                        .any(|start| name.starts_with(start))
                })
                .with_context(|| format!("{package} has no kernel"))?;
        }
        bail!("no kernel in {package}");
    }

    fn file_system(&self, busybox: &Path, to: &Path) -> Result<()> {
        let machine = self.machine;
        let mut archive = Archive::default();
        for name in [
            "bin", "dev", "lib", "lib64", "programs", "proc", "sys", "tests", "tmp",
        ] {
            archive.folder(name);
        }
        let ours = root().join("testing/kernels");
        archive.copy("init", &ours.join("init.sh"))?;
        archive.copy("bin/cc", &ours.join("cc.sh"))?;
        archive.copy("bin/busybox", busybox)?;
        let settings = format!(
            "export MIO_TEST_SLOW={SLOWER}\nORACLE_SECONDS={ORACLE_SECONDS}\nSKIP='{}'\n",
            skipped().join(" ")
        );
        archive.file("settings", settings.as_bytes());

        let loader = Path::new(machine.loader);
        let name = loader.file_name().and_then(|name| name.to_str());
        let found = machine.library(name.context("a loader has a name")?)?;
        archive.copy(machine.loader, &found)?;
        for name in LIBRARIES {
            archive.copy(&format!("lib/{name}"), &machine.library(name)?)?;
        }
        let work = tempfile::tempdir()?;
        for flag in STACKS {
            let library = work.path().join("stack.so");
            let source = root().join("tests/preloaded/stack.c");
            let compile = Cmd::new(machine.compiler()?)
                .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
                .args([&library, &source])
                .args((!flag.is_empty()).then_some(flag));
            compile.quiet()?.success()?;
            archive.copy(&format!("lib/stack{flag}.so"), &library)?;
        }
        let mut add = |folder: &str, programs: Vec<Program>| -> Result<()> {
            for (name, program) in programs {
                let stripped = work.path().join("program");
                machine.strip(&program, &stripped)?;
                archive.copy(&format!("{folder}/{name}"), &stripped)?;
            }
            Ok(())
        };
        add("tests", machine.tests()?)?;
        add("programs", machine.programs()?)?;
        archive.write(to)
    }

    fn judge(&self, report: &mut Report, console: &str, expected: &Tests) {
        let Some((release, machine)) = console::guest(console) else {
            report.problem(format!("{}: the guest did not start", self.name));
            return;
        };
        println!("{}: uname says {release} {machine}", self.name);
        if !release.starts_with(self.version) {
            report.problem(format!("{}: it runs {release}", self.name));
        }
        let programs = console::programs(console);
        let (mut tests, mut all) = (0, 0);
        for (name, expected) in expected {
            let expected = expected
                .iter()
                .filter(|test| self.machine.has(test))
                .count();
            all += expected;
            let passed = programs
                .get(name.as_str())
                .map(|ran| (ran.status, report::passed(ran.output)));
            match passed {
                Some((Some(0), passed)) if passed == expected => {
                    tests += passed;
                    report.passed(passed);
                }
                Some((status, passed)) => report.problem(format!(
                    "{}: {name}: {passed} tests of {expected} passed, and it ended with {status:?}",
                    self.name
                )),
                None => report.problem(format!("{}: {name} was not run", self.name)),
            }
        }
        let known: BTreeSet<&str> = expected.keys().map(String::as_str).collect();
        let others = programs.iter().filter(|(name, _)| !known.contains(*name));
        let mut ran = BTreeSet::new();
        for (name, program) in others {
            ran.insert(*name);
            let outcome = match program.status {
                Some(0) => Ok(()),
                status => Err(anyhow!("it ended with {status:?}")),
            };
            report.one(&format!("{}: {name}", self.name), outcome);
        }
        for name in ["c10k", "c10k-slow", "oracle-epoll", "oracle-poll"] {
            if !ran.contains(name) {
                report.problem(format!("{}: {name} was not run", self.name));
            }
        }
        println!(
            "{}: {tests} tests passed of {all} that this machine's kernel has",
            self.name
        );
    }
}

fn is_kernel(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("vmlinuz"))
}

/// The first file in a folder, or below it, that `is_wanted` accepts.
fn file(folder: &Path, is_wanted: fn(&Path) -> bool) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let (kind, path) = (entry.file_type().ok()?, entry.path());
        if kind.is_dir() {
            if let Some(found) = file(&path, is_wanted) {
                return Some(found);
            }
        } else if kind.is_file() && is_wanted(&path) {
            return Some(path);
        }
    }
    None
}
