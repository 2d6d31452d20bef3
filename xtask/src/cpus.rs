//! The tests on Linux for other processors: other byte orders, widths and layouts. The code runs on
//! this machine's kernel, under qemu-user if the processor cannot run it itself.

use std::path::Path;

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::cross::{setting, Cross};
use crate::report::Report;
use crate::sh::Cmd;
use crate::table::named;
use crate::tools;

struct Cpu {
    name: &'static str,
    target: &'static str,
    /// Debian's name for it: the compiler is `PREFIX-gcc`, and the libraries are in `/usr/PREFIX`.
    prefix: &'static str,
    libc: &'static str,
    /// `None` if this machine's processor runs its programs.
    emulator: Option<&'static str>,
    in_ci: bool,
}

/// `ci` runs the one with the other byte order, and the one with other layouts that needs no
/// emulator.
const CPUS: [Cpu; 4] = [
    Cpu {
        name: "s390x",
        target: "s390x-unknown-linux-gnu",
        prefix: "s390x-linux-gnu",
        libc: "libc6-dev-s390x-cross",
        emulator: Some("qemu-s390x"),
        in_ci: true,
    },
    Cpu {
        name: "i686",
        target: "i686-unknown-linux-gnu",
        prefix: "i686-linux-gnu",
        libc: "libc6-dev-i386-cross",
        emulator: None,
        in_ci: true,
    },
    Cpu {
        name: "aarch64",
        target: "aarch64-unknown-linux-gnu",
        prefix: "aarch64-linux-gnu",
        libc: "libc6-dev-arm64-cross",
        emulator: Some("qemu-aarch64"),
        in_ci: false,
    },
    Cpu {
        name: "armv7",
        target: "armv7-unknown-linux-gnueabihf",
        prefix: "arm-linux-gnueabihf",
        libc: "libc6-dev-armhf-cross",
        emulator: Some("qemu-arm"),
        in_ci: false,
    },
];

/// The tests that are left out under an emulator, by file. They make the kernel refuse system calls
/// (`util::refuse`) with seccomp, which qemu-user does not support.
const NOT_EMULATED: [(&str, &[&str]); 4] = [
    (
        "descriptors",
        &["no_descriptor_is_leaked_when_the_system_refuses_a_step"],
    ),
    (
        "timeout_fallback",
        &[
            "refused_as_old_kernels_do",
            "refused_as_sandboxes_do",
            "refused_as_other_sandboxes_do",
            "killed_at_the_second_try",
        ],
    ),
    (
        "waker_pipe",
        &[
            "wakers_work_where_eventfd_is_unknown",
            "wakers_work_where_eventfd_is_refused",
            "wakers_work_where_eventfd_is_forbidden",
            "another_error_is_not_a_refusal",
        ],
    ),
    (
        "child_exit",
        &["a_sandbox_that_refuses_leaves_the_child_alone"],
    ),
];

/// How much slower an emulated test is: the tests multiply their time bounds by this.
const SLOWER: &str = "5";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Processors to run the tests on, instead of all that `--list` shows
    cpus: Vec<String>,
    /// Only show the processors
    #[arg(long)]
    list: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for cpu in &CPUS {
            let by = cpu.emulator.unwrap_or("by itself");
            println!("{}: {}, run {by}", cpu.name, cpu.target);
        }
        return Ok(());
    }
    test_on(&named(&CPUS, |cpu| cpu.name, &args.cpus, |_| true)?)
}

/// What `ci` runs.
pub fn bounded() -> Result<()> {
    test_on(&named(&CPUS, |cpu| cpu.name, &[], |cpu| cpu.in_ci)?)
}

fn test_on(cpus: &[&Cpu]) -> Result<()> {
    Report::of(|report| {
        for cpu in cpus {
            println!("--- {}", cpu.name);
            match cpu.tests() {
                Ok(tests) => report.libtest(tests),
                Err(error) => report.problem(format!("{}: {error:#}", cpu.name)),
            }
        }
        Ok(())
    })
}

impl Cpu {
    fn tests(&self) -> Result<Cmd> {
        let gcc = format!("{}-gcc", self.prefix);
        tools::need(&gcc, &[&format!("gcc-{}", self.prefix), self.libc])?;
        let libraries = Path::new("/usr").join(self.prefix);
        tools::need(
            &libraries.join("lib/libc.so.6").to_string_lossy(),
            &[self.libc],
        )?;

        let tests = Cross::new(self.target)?
            .building("test")
            .args(["--lib", "--tests", "--all-features", "--no-fail-fast"])
            .env(&setting(self.target, "LINKER"), &gcc)
            // For tests that compile the library that they preload.
            .env("MIO_TEST_CC", &gcc);
        let Some(emulator) = self.emulator else {
            // The programs find the C library themselves, so that they can start themselves as
            // well.
            let lib = libraries.join("lib").display().to_string();
            let loader = format!("{lib}/ld-linux.so.2");
            return Ok(tests.env(
                &setting(self.target, "RUSTFLAGS"),
                format!("-Clink-arg=-Wl,--dynamic-linker={loader} -Clink-arg=-Wl,-rpath,{lib}"),
            ));
        };
        tools::need(emulator, &["qemu-user"])?;
        let runner = format!("{emulator} -L {}", libraries.display());
        let mut tests = tests
            .env(&setting(self.target, "RUNNER"), &runner)
            // For tests that start themselves.
            .env("MIO_TEST_RUNNER", &runner)
            .env("MIO_TEST_SLOW", SLOWER)
            .arg("--");
        for (file, names) in NOT_EMULATED {
            for name in names {
                println!("left out under {emulator}, which has no seccomp: tests/{file}.rs {name}");
                tests = tests.args(["--skip", name]);
            }
        }
        Ok(tests)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root;

    #[test]
    fn what_is_left_out_is_there_and_takes_no_other_test_along() {
        let mut sources = String::new();
        for entry in fs::read_dir(root().join("tests")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
        for (file, names) in NOT_EMULATED {
            let text = fs::read_to_string(root().join(format!("tests/{file}.rs"))).unwrap();
            for name in names {
                assert!(text.contains(&format!("fn {name}(")), "{file}: {name}");
                // `--skip` matches parts of names.
                let taken = sources
                    .lines()
                    .filter_map(|line| line.trim_start().strip_prefix("fn "))
                    .filter(|function| function.contains(name));
                assert_eq!(taken.count(), 1, "{name}");
            }
        }
    }

    #[test]
    fn only_known_processors_are_taken() {
        let args = Args {
            cpus: vec!["s390".to_owned()],
            list: false,
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("s390"), "{error}");
    }
}
