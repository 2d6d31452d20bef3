//! The Wine of a newer Debian, in a folder of its own below target. Nothing is installed on the
//! machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::sh::Cmd;
use crate::{target, tools};

/// The release of Debian that has Wine 10.
const RELEASE: &str = "trixie";

/// Wine, the package that makes it available by name, and a package that Debian takes for granted.
const PACKAGES: [&str; 3] = ["wine64", "wine", "dash"];

/// The command that starts a program under that Wine.
pub const LOADER: &str = "/usr/lib/wine/wine64";

/// A library that its own libraries need in the prefix. An installation would link it there.
pub const ZLIB: &str = "usr/x86_64-w64-mingw32/lib/zlib1.dll";

/// The folder that it is extracted into.
pub fn extracted() -> Result<PathBuf> {
    let folder = target("wine10");
    let root = folder.join("root");
    let complete = folder.join("complete");
    if complete.is_file() {
        return Ok(root);
    }
    for (program, package) in [
        ("apt-get", "apt"),
        ("dpkg", "dpkg"),
        ("unshare", "util-linux"),
    ] {
        tools::need(program, &[package])?;
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("a mount namespace with another root needs root's rights");
    }
    if root.is_dir() {
        fs::remove_dir_all(&root)?;
    }
    let archives = folder.join("cache/archives");
    fs::create_dir_all(archives.join("partial"))?;
    fs::create_dir_all(folder.join("lists/partial"))?;
    fs::create_dir_all(&root)?;
    let sources = folder.join("sources.list");
    let archive = archive()?;
    fs::write(&sources, format!("deb {archive} {RELEASE} main\n"))?;
    apt(&folder).arg("update").run()?;
    apt(&folder)
        .args([
            "install",
            "-y",
            "--download-only",
            "--no-install-recommends",
        ])
        .args(PACKAGES)
        .run()?;
    // Debian's installation creates these links.
    for name in ["bin", "lib", "lib64", "sbin"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    for name in ["proc", "dev", "sys", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    println!("extracting into {}", root.display());
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let extract = Cmd::new("dpkg").arg("-x").arg(&path).arg(&root);
            extract.quiet()?.success()?;
        }
    }
    fs::remove_dir_all(folder.join("cache"))?;
    fs::write(&complete, "")?;
    Ok(root)
}

/// The command that runs a program under that Wine.
pub fn words(root: &Path, program: &str) -> Vec<String> {
    let script = crate::root().join("testing/wine/in-root.sh");
    let program = match program {
        "wine" => LOADER,
        "wineserver" => "/usr/lib/wine/wineserver",
        other => other,
    };
    ["unshare", "--mount"]
        .map(str::to_owned)
        .into_iter()
        .chain([&script, root, crate::root()].map(|path| path.display().to_string()))
        .chain([program.to_owned()])
        .collect()
}

/// The archive from which this machine's own packages come.
fn archive() -> Result<String> {
    let targets = Cmd::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .args(["Created-By: Packages", "Label: Debian"]);
    let targets = targets.quiet()?.successful_stdout()?;
    let first = targets.lines().next().map(str::to_owned);
    first.context("apt knows no archive of Debian")
}

/// apt with lists, packages and a status of its own.
fn apt(folder: &Path) -> Cmd {
    let options = [
        ("Dir::Etc::sourcelist", folder.join("sources.list")),
        ("Dir::Etc::sourceparts", PathBuf::from("-")),
        ("Dir::State::lists", folder.join("lists")),
        ("Dir::State::status", PathBuf::from("/dev/null")),
        ("Dir::Cache", folder.join("cache")),
        ("APT::Architecture", PathBuf::from("amd64")),
        ("APT::Sandbox::User", PathBuf::from("root")),
    ];
    options
        .into_iter()
        .fold(Cmd::new("apt-get"), |cmd, (name, value)| {
            cmd.arg("-o").arg(format!("{name}={}", value.display()))
        })
}
