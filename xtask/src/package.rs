//! Checks that the package to be published builds by itself.

use anyhow::{bail, Result};

use crate::sh::Cmd;
use crate::target;

/// A package without these files builds, but is not fit to be published.
const NEEDED: [&str; 5] = [
    "Cargo.toml",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "src/lib.rs",
];

pub fn run() -> Result<()> {
    let list = package().arg("--list").tee()?.successful_stdout()?;
    for needed in NEEDED {
        if !list.lines().any(|file| file == needed) {
            bail!("{needed} is not in the package");
        }
    }
    // It is unpacked and built there, with no workspace around it.
    package().run()
}

fn package() -> Cmd {
    // Uncommitted changes are allowed: this also checks a change before its commit.
    Cmd::cargo("package")
        .args(["-p", "mio", "--allow-dirty"])
        .target_dir(target("package"))
}
