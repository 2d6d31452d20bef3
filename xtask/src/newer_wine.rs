//! The Wine of a newer Debian, in a folder of its own below target. Nothing is installed on the
//! machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use crate::debian::{self, Suite};
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
    tools::need("unshare", &["util-linux"])?;
    if !nix::unistd::geteuid().is_root() {
        bail!("a mount namespace with another root needs root's rights");
    }
    if root.is_dir() {
        fs::remove_dir_all(&root)?;
    }
    let suite = Suite::fetch(&folder, RELEASE, "amd64")?;
    fs::create_dir_all(&root)?;
    suite
        .apt("apt-get")
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
    debian::extract_all(&suite.archives(), &root)?;
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
