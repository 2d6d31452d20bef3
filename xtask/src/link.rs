//! Links the test programs for other systems. This finds functions that a system lacks, or spells
//! differently: a compiler does not check declarations of foreign functions.
//!
//! Zig has the descriptions of the systems' C libraries that a linker needs. It comes from PyPI,
//! and is installed into a virtual environment below target/.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::cross::{setting, Cross};
use crate::harness;
use crate::report::Report;
use crate::sh::Cmd;
use crate::table::named;
use crate::{target, tools};

struct System {
    target: &'static str,
    /// Zig's name for it.
    zig: &'static str,
    /// Files of libraries that std names and Zig does not have. Empty ones suffice, because nothing
    /// in them is used.
    empty: &'static [&'static str],
    in_ci: bool,
}

const SYSTEMS: [System; 4] = [
    System {
        target: "aarch64-apple-darwin",
        zig: "aarch64-macos",
        empty: &["libiconv.dylib"],
        in_ci: true,
    },
    System {
        target: "x86_64-unknown-netbsd",
        zig: "x86_64-netbsd",
        empty: &[],
        in_ci: true,
    },
    System {
        target: "x86_64-apple-darwin",
        zig: "x86_64-macos",
        empty: &["libiconv.dylib"],
        in_ci: false,
    },
    System {
        target: "x86_64-unknown-freebsd",
        zig: "x86_64-freebsd",
        empty: &[
            "libkvm.so",
            "libmemstat.so",
            "libprocstat.so",
            "libdevstat.so",
        ],
        in_ci: false,
    },
];

/// The version on PyPI.
const ZIG: &str = "ziglang==0.17.1";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Targets to link for, instead of all that `--list` shows
    targets: Vec<String>,
    /// Only show the targets
    #[arg(long)]
    list: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for system in &SYSTEMS {
            println!("{}", system.target);
        }
        return Ok(());
    }
    link(&named(
        &SYSTEMS,
        |system| system.target,
        &args.targets,
        |_| true,
    )?)
}

/// What `ci` links.
pub fn bounded() -> Result<()> {
    link(&named(
        &SYSTEMS,
        |system| system.target,
        &[],
        |system| system.in_ci,
    )?)
}

fn link(systems: &[&System]) -> Result<()> {
    Report::of(|report| {
        let python = python_with_zig()?;
        for system in systems {
            report.one(system.target, system.link(&python));
        }
        Ok(())
    })
}

impl System {
    fn link(&self, python: &Path) -> Result<()> {
        let cross = Cross::new(self.target)?;
        let dir = target("link").join(self.target);
        let linker = self.linker(python, &dir)?;
        let build = cross
            .building("test")
            .args(["--lib", "--tests", "--all-features"])
            .env(&setting(self.target, "LINKER"), linker)
            // Otherwise rustc looks for Apple's own linker, and warns that there is none.
            .env("SDKROOT", &dir);
        let programs = harness::built(build)?.len();
        println!("{programs} programs linked for {}", self.target);
        Ok(())
    }

    /// Writes a program that links, into `dir`, which also contains the empty libraries.
    fn linker(&self, python: &Path, dir: &Path) -> Result<PathBuf> {
        fs::create_dir_all(dir)?;
        let nothing = dir.join("nothing.c");
        fs::write(&nothing, "")?;
        for library in self.empty {
            let library = dir.join(library);
            if !library.exists() {
                Cmd::new(python)
                    .args(["-m", "ziglang", "cc", "-target", self.zig, "-shared", "-o"])
                    .args([&library, &nothing])
                    .run()?;
            }
        }
        let linker = dir.join("linker");
        fs::write(&linker, self.script(python, dir))?;
        fs::set_permissions(&linker, fs::Permissions::from_mode(0o755))?;
        Ok(linker)
    }

    fn script(&self, python: &Path, dir: &Path) -> String {
        format!(
            "#!/bin/sh\nexec '{}' -m ziglang cc -target {} '-L{}' \"$@\"\n",
            python.display(),
            self.zig,
            dir.display()
        )
    }
}

/// A Python that has the module `ziglang`.
fn python_with_zig() -> Result<PathBuf> {
    let venv = target("link").join("venv");
    let python = venv.join("bin/python");
    let has_zig = || {
        Cmd::new(&python)
            .args(["-m", "ziglang", "version"])
            .run()
            .is_ok()
    };
    if python.exists() && has_zig() {
        return Ok(python);
    }
    tools::need("python3", &["python3"])?;
    tools::ask_before("Zig", &format!("pip install {ZIG}, in target/link/venv"))?;
    // The module that creates an environment. Debian's python3 lacks it.
    tools::need_python_module("ensurepip", &["python3-venv"])?;
    Cmd::new("python3")
        .args(["-m", "venv"])
        .arg(&venv)
        .run()
        .context("no virtual environment could be made")?;
    Cmd::new(&python)
        .args(["-m", "pip", "install", "--quiet", ZIG])
        .run()
        .context("Zig could not be fetched from PyPI")?;
    if !has_zig() {
        bail!("{ZIG} does not run");
    }
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_finds_the_empty_libraries() {
        let script = SYSTEMS[0].script(Path::new("/v/bin/python"), Path::new("/with space"));
        assert_eq!(
            script,
            "#!/bin/sh\nexec '/v/bin/python' -m ziglang cc -target aarch64-macos \
             '-L/with space' \"$@\"\n"
        );
    }

    #[test]
    fn only_known_targets_are_taken() {
        let args = Args {
            targets: vec!["x86_64-unknown-openbsd".to_owned()],
            list: false,
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("openbsd"), "{error}");
    }
}
