//! Other programs that the steps need. A missing one is installed if that is allowed; otherwise the
//! error names it.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{bail, Result};

use crate::sh::Cmd;

/// The error of a step that was not run, because this machine cannot provide something that it needs. `ci` names the step and the reason, and goes on.
#[derive(Debug)]
pub struct NotRun(pub String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not run: {}", self.0)
    }
}

impl std::error::Error for NotRun {}

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

/// The full name of rustup's toolchain whose name is, or starts with, `name`. rustup fetches the toolchain
/// and `components` if they are missing; if it cannot, the error is `NotRun`.
pub fn need_toolchain(name: &str, components: &[&str]) -> Result<String> {
    if !is_there("rustup") {
        bail!(NotRun(format!("there is no rustup to fetch Rust {name}")));
    }
    let fetch = match toolchain(name) {
        Some(toolchain) => {
            let list = rustup([
                "component",
                "list",
                "--installed",
                "--toolchain",
                &toolchain,
            ])
            .quiet()?
            .successful_stdout()?;
            let missing = missing(&list, components);
            if missing.is_empty() {
                return Ok(toolchain);
            }
            rustup(["component", "add", "--toolchain", &toolchain]).args(missing)
        }
        None => rustup(["toolchain", "install", name, "--profile", "minimal"])
            .args(components.iter().flat_map(|name| ["--component", name])),
    };
    let what = [&[name], components].concat().join(" with ");
    ask_before(&format!("Rust {what}"), &fetch.to_string())?;
    let fetched = fetch.env("RUSTUP_MAX_RETRIES", "0").run();
    match (toolchain(name), fetched) {
        (Some(toolchain), Ok(())) => Ok(toolchain),
        (None, Ok(())) => bail!("rustup has fetched Rust {name}, and does not have it"),
        (_, Err(error)) => bail!(NotRun(format!("rustup cannot fetch Rust {what}: {error}"))),
    }
}

/// The folder of these tools of LLVM, of the release that the compiler has: rustup's, or Debian's. Has
/// either fetch them. `NotRun` where neither can.
pub fn need_llvm(tools: &[&str]) -> Result<PathBuf> {
    let has_all = |folder: &Path| tools.iter().all(|tool| folder.join(tool).is_file());
    let sysroot = Cmd::new("rustc").args(["--print", "sysroot"]);
    let sysroot = PathBuf::from(sysroot.quiet()?.successful_stdout()?.trim());
    let rustups = sysroot.join("lib/rustlib").join(host()?).join("bin");
    let major = rustc_says("LLVM version: ")?;
    let major = major.split('.').next().unwrap_or_default();
    let package = format!("llvm-{major}");
    let debians = PathBuf::from(format!("/usr/lib/{package}/bin"));
    let found = || [&rustups, &debians].into_iter().find(|one| has_all(one));
    if let Some(folder) = found() {
        return Ok(folder.clone());
    }
    let fetch = rustup(["component", "add", "llvm-tools"]);
    ask_before(&tools.join(", "), &fetch.to_string())?;
    if !is_there("rustup") || fetch.env("RUSTUP_MAX_RETRIES", "0").run().is_err() {
        need_so_that(|| has_all(&debians), &package, &[&package])
            .map_err(|error| NotRun(error.to_string()))?;
    }
    match found() {
        Some(folder) => Ok(folder.clone()),
        None => bail!("{} are missing, and were fetched", tools.join(", ")),
    }
}

/// Those of `components` that are not in rustup's list, in which the target follows some names.
fn missing<'a>(list: &str, components: &[&'a str]) -> Vec<&'a str> {
    let is_in_list = |component: &str| {
        list.lines().any(|line| {
            let rest = line.trim().strip_prefix(component);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let all = components.iter().copied();
    all.filter(|component| !is_in_list(component)).collect()
}

/// The full name of rustup's toolchain whose name is, or starts with, `name`.
pub fn toolchain(name: &str) -> Option<String> {
    let list = rustup(["toolchain", "list"]).quiet().ok()?;
    in_list(&list.successful_stdout().ok()?, name)
}

fn in_list(list: &str, name: &str) -> Option<String> {
    let mut names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let is_it = |have: &&str| {
        let rest = have.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    names.find(is_it).map(str::to_owned)
}

fn rustup<const N: usize>(args: [&str; N]) -> Cmd {
    Cmd::new("rustup")
        .args(args)
        .limit(Duration::from_secs(300))
}

/// The target triple of the compiler's host.
pub fn host() -> Result<String> {
    rustc_says("host: ")
}

/// What follows this in the compiler's description of itself.
fn rustc_says(what: &str) -> Result<String> {
    let version = Cmd::new("rustc").arg("-vV").quiet()?.successful_stdout()?;
    match version.lines().find_map(|line| line.strip_prefix(what)) {
        Some(said) => Ok(said.to_owned()),
        None => bail!("rustc -vV prints no {what:?}"),
    }
}

/// It waits while another process installs packages: for instance, another part of `full`.
fn apt_get() -> Cmd {
    Cmd::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .env("DEBIAN_FRONTEND", "noninteractive")
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
    fn a_toolchain_is_found_by_the_beginning_of_its_name() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\n\
                    nightly-2026-01-01-x86_64-unknown-linux-gnu\n\
                    1.71.0-x86_64-unknown-linux-gnu\nmine\n";
        let found = |name| in_list(list, name);
        assert_eq!(found("stable").unwrap(), "stable-x86_64-unknown-linux-gnu");
        assert_eq!(
            found("nightly").unwrap(),
            "nightly-2026-01-01-x86_64-unknown-linux-gnu"
        );
        assert_eq!(found("mine").unwrap(), "mine");
        assert_eq!(found("1.71"), None);
        assert_eq!(found("beta"), None);
    }

    #[test]
    fn components_that_are_not_in_the_list_are_missing() {
        let list = "cargo-x86_64-unknown-linux-gnu\nrust-src\nrust-std-x86_64-unknown-linux-gnu\n";
        assert!(missing(list, &["rust-src", "rust-std", "cargo"]).is_empty());
        assert_eq!(missing(list, &["miri", "rust-src"]), ["miri"]);
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
