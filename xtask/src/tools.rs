//! Other programs that the steps need. A missing one is installed if that is allowed; otherwise the
//! error names it.

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use anyhow::{bail, Result};

use crate::sh::Cmd;

static INSTALL: AtomicBool = AtomicBool::new(false);

/// Allows steps to install what they lack: `--install`.
pub fn allow_installing() {
    // Relaxed: it publishes no other memory, and this thread reads it.
    INSTALL.store(true, Ordering::Relaxed);
}

/// Whether a step may install what it lacks: because of `--install`, or because this is a CI
/// machine.
pub fn may_install() -> bool {
    INSTALL.load(Ordering::Relaxed) || is_ci(env::var("CI").ok().as_deref())
}

/// Whether the variable CI is set.
fn is_ci(variable: Option<&str>) -> bool {
    !matches!(variable, None | Some("" | "0" | "false"))
}

/// An error that describes how to install something, unless the step may install it.
pub fn ask_before(what: &str, how: &str) -> Result<()> {
    if !may_install() {
        bail!("{what} is missing: {how}, or repeat the step with --install");
    }
    Ok(())
}

/// Makes sure that `program` exists, which Debian has in `packages`.
pub fn need(program: &str, packages: &[&str]) -> Result<()> {
    need_so_that(|| find(program).is_some(), program, packages)
}

/// Makes sure that pkg-config finds `library`, which Debian has in `packages`.
pub fn need_library(library: &str, packages: &[&str]) -> Result<()> {
    need("pkg-config", &["pkg-config"])?;
    need_so_that(|| is_known(library), library, packages)
}

/// Makes sure that the installed `python3` has a module.
pub fn need_python_module(module: &str, packages: &[&str]) -> Result<()> {
    let is_there = || {
        let import = Cmd::new("python3").args(["-c", &format!("import {module}")]);
        import.quiet().is_ok_and(|ended| ended.status.success())
    };
    need_so_that(is_there, module, packages)
}

/// Installs `packages` unless `is_there` returns true.
fn need_so_that(is_there: impl Fn() -> bool, what: &str, packages: &[&str]) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let how = format!("apt-get install {} (Debian)", packages.join(" "));
    ask_before(what, &how)?;
    let missing = format!("{what} is missing: {how}");
    if !nix::unistd::geteuid().is_root() || find("apt-get").is_none() {
        bail!("{missing}");
    }
    println!("{missing}; installing it now");
    // The lists are fetched once for all that is missing. If that fails, the package may still be
    // available.
    static UPDATED: OnceLock<()> = OnceLock::new();
    UPDATED.get_or_init(|| {
        if let Err(error) = apt_get().arg("update").run() {
            println!("{error}");
        }
    });
    let installed = apt_get()
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
        .run();
    match (is_there(), installed) {
        (true, _) => Ok(()),
        (false, Ok(())) => bail!("{missing}, and still is after installing it"),
        (false, Err(error)) => bail!("{missing}, and could not be installed: {error}"),
    }
}

/// Whether a program exists.
pub fn is_there(program: &str) -> bool {
    find(program).is_some()
}

/// The full name of a toolchain of rustup's whose name starts with `name`, if there is one.
pub fn toolchain(name: &str) -> Option<String> {
    let list = Cmd::new("rustup")
        .args(["toolchain", "list"])
        .quiet()
        .ok()?
        .successful_stdout()
        .ok()?;
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|have| have.starts_with(name))
        .map(str::to_owned)
}

/// The target triple of the compiler's host.
pub fn host() -> Result<String> {
    let version = Cmd::new("rustc").arg("-vV").quiet()?.successful_stdout()?;
    match version.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc -vV prints no host"),
    }
}

fn apt_get() -> Cmd {
    Cmd::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive")
}

fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Whether pkg-config finds a library, and what a build with it needs.
fn is_known(library: &str) -> bool {
    let asked = Cmd::new("pkg-config").args(["--exists", library]).quiet();
    asked.is_ok_and(|ended| ended.success().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_nowhere_is_not_known() {
        assert!(!is_known("no-such-library-anywhere"));
    }

    #[test]
    fn ci_is_what_sets_its_variable() {
        assert!(is_ci(Some("true")) && is_ci(Some("1")));
        for no in [None, Some(""), Some("0"), Some("false")] {
            assert!(!is_ci(no), "{no:?}");
        }
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }

    #[test]
    fn the_compiler_says_its_host() {
        assert!(host().unwrap().contains('-'));
    }
}
