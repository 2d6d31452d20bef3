//! The virtual machines, and how programs are built for them.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cross::{setting, Cross};
use crate::sh::Cmd;
use crate::tools;

pub struct Machine {
    /// Debian's name for the processor.
    pub architecture: &'static str,
    qemu: &'static str,
    qemu_package: &'static str,
    qemu_args: &'static [&'static str],
    console: &'static str,
    /// The path of the dynamic loader, which the programs name.
    pub loader: &'static str,
    /// `None` if the host's own programs run there.
    cross: Option<Foreign>,
    /// The time limit for a guest, in seconds.
    pub limit: u64,
}

/// How programs are built for another processor.
struct Foreign {
    target: &'static str,
    /// Its compiler is `PREFIX-gcc`.
    prefix: &'static str,
    libc: &'static str,
}

/// A program and its name.
pub type Program = (String, PathBuf);

pub const X86_64: Machine = Machine {
    architecture: "amd64",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    qemu_args: &[],
    console: "ttyS0",
    loader: "lib64/ld-linux-x86-64.so.2",
    cross: None,
    limit: 15 * 60,
};

pub const S390X: Machine = Machine {
    architecture: "s390x",
    qemu: "qemu-system-s390x",
    qemu_package: "qemu-system-misc",
    qemu_args: &[],
    console: "ttysclp0",
    loader: "lib/ld64.so.1",
    cross: Some(Foreign {
        target: "s390x-unknown-linux-gnu",
        prefix: "s390x-linux-gnu",
        libc: "libc6-dev-s390x-cross",
    }),
    limit: 30 * 60,
};

pub const ARM64: Machine = Machine {
    architecture: "arm64",
    qemu: "qemu-system-aarch64",
    qemu_package: "qemu-system-arm",
    qemu_args: &["-machine", "virt", "-cpu", "cortex-a72"],
    console: "ttyAMA0",
    loader: "lib/ld-linux-aarch64.so.1",
    cross: Some(Foreign {
        target: "aarch64-unknown-linux-gnu",
        prefix: "aarch64-linux-gnu",
        libc: "libc6-dev-arm64-cross",
    }),
    limit: 30 * 60,
};

/// Unit tests of instructions that other processors do not have.
const X86_64_ONLY: &str = "sys::platform::syscall::tests::";

/// The libraries that the programs load, without the loader.
pub const LIBRARIES: [&str; 3] = ["libc.so.6", "libgcc_s.so.1", "libm.so.6"];

impl Machine {
    /// The command of a machine that starts this kernel with this file system. Its standard output is the
    /// guest's console.
    pub fn boot(&self, kernel: &Path, initramfs: &Path) -> Result<Cmd> {
        tools::need(self.qemu, &[self.qemu_package])?;
        // A kernel that panics restarts the machine, and a restart ends qemu.
        let line = format!("console={} loglevel=1 panic=-1", self.console);
        Ok(Cmd::new(self.qemu)
            .args(self.qemu_args)
            .args([
                Path::new("-kernel"),
                kernel,
                Path::new("-initrd"),
                initramfs,
            ])
            .args(["-m", "1500", "-smp", "2", "-nographic", "-no-reboot"])
            .args(["-net", "none", "-append", &line]))
    }

    /// Builds the test programs.
    pub fn tests(&self) -> Result<Vec<Program>> {
        let build = self.cargo("test")?;
        let build = build.args(["--no-run", "--lib", "--tests", "--all-features"]);
        built(build, true)
    }

    /// Builds c10k and the oracle.
    pub fn programs(&self) -> Result<Vec<Program>> {
        let build = self.cargo("build")?;
        built(build.args(["-p", "c10k", "-p", "oracle", "--bins"]), false)
    }

    fn cargo(&self, subcommand: &str) -> Result<Cmd> {
        let cargo = match &self.cross {
            None => Cmd::cargo(subcommand),
            Some(foreign) => {
                let compiler = self.compiler()?;
                Cross::new(foreign.target)?
                    .building(subcommand)
                    .env(&setting(foreign.target, "LINKER"), compiler)
            }
        };
        Ok(cargo.args(["--quiet", "--message-format=json-render-diagnostics"]))
    }

    /// Whether its programs have this test of the host's programs.
    pub fn has(&self, test: &str) -> bool {
        self.cross.is_none() || !test.starts_with(X86_64_ONLY)
    }

    /// Its C compiler.
    pub fn compiler(&self) -> Result<String> {
        let Some(foreign) = &self.cross else {
            tools::need("cc", &["gcc"])?;
            return Ok("cc".to_owned());
        };
        let compiler = format!("{}-gcc", foreign.prefix);
        tools::need(
            &compiler,
            &[&format!("gcc-{}", foreign.prefix), foreign.libc],
        )?;
        Ok(compiler)
    }

    /// The path at which the C compiler finds a library, or the loader.
    pub fn library(&self, name: &str) -> Result<PathBuf> {
        let asked = Cmd::new(self.compiler()?).arg(format!("-print-file-name={name}"));
        let path = asked.quiet()?.successful_stdout()?;
        let path = PathBuf::from(path.trim());
        if !path.is_absolute() {
            bail!("the C compiler does not know where {name} is");
        }
        Ok(path)
    }

    /// Copies a program without its debug information.
    pub fn strip(&self, program: &Path, to: &Path) -> Result<()> {
        let strip = match &self.cross {
            None => "strip".to_owned(),
            Some(foreign) => format!("{}-strip", foreign.prefix),
        };
        let strip = Cmd::new(strip).arg("-o").args([to, program]);
        strip.quiet()?.success()
    }
}

/// The programs that cargo has built.
fn built(cargo: Cmd, tests: bool) -> Result<Vec<Program>> {
    println!("$ {cargo}");
    let programs = executables(&cargo.quiet()?.successful_stdout()?, tests);
    if programs.is_empty() {
        bail!("cargo built no program");
    }
    Ok(programs)
}

/// The programs among cargo's messages.
fn executables(messages: &str, tests: bool) -> Vec<Program> {
    let programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let executable = PathBuf::from(message["executable"].as_str()?);
        let name = message["target"]["name"].as_str()?.to_owned();
        (message["profile"]["test"] == tests).then_some((name, executable))
    });
    programs.collect()
}

/// The tests of one of the host's programs.
pub fn list(program: &Path, skipped: &[String]) -> Result<Vec<String>> {
    let list = Cmd::new(program).args(["--list", "--format", "terse"]);
    let list = list.args(skipped).quiet()?.successful_stdout();
    let list = list.with_context(|| program.display().to_string())?;
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_others() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"mio"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"name":"mio"},"profile":{"test":true},"executable":"/t/mio-1"}
{"reason":"compiler-artifact","target":{"name":"c10k"},"profile":{"test":false},"executable":"/t/c10k"}
{"reason":"build-finished","success":true}
"#;
        let one = |name: &str, path: &str| vec![(name.to_owned(), PathBuf::from(path))];
        assert_eq!(executables(messages, true), one("mio", "/t/mio-1"));
        assert_eq!(executables(messages, false), one("c10k", "/t/c10k"));
    }
}
