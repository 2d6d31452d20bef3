//! What would be published builds by itself.

use anyhow::{bail, Result};

use crate::sh::Cmd;
use crate::target;

/// Without these a package is not fit to be published, though it builds.
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
    // Not committed yet is no obstacle: this is for looking before a commit, too.
    Cmd::cargo("package")
        .args(["-p", "mio", "--allow-dirty"])
        .target_dir(target("package"))
}
