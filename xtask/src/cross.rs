//! Cargo for targets other than the host's.
//!
//! A target other than the host's needs its standard library. If rustup has it for the target, it
//! comes from rustup, and may be downloaded. Otherwise, and if nothing may be downloaded, it is
//! built: Debian has a compiler together with the sources of its std (`rustc-web` and its
//! companions).

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::sh::Cmd;
use crate::{target, tools};

/// If it is set, std is built even if rustup has it, to test this way and measure its cost.
const BUILD_STD: &str = "MIO_BUILD_STD";

/// Debian's compiler and sources of std, and their packages.
const DEBIAN: [(&str, &str); 4] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/bin/cargo-clippy", "rust-web-clippy"),
    (
        "/usr/lib/rustlib/src/rust/library/std/Cargo.toml",
        "rust-web-src",
    ),
];

/// A target, and where its standard library comes from.
pub struct Cross {
    pub target: String,
    std: Std,
}

#[derive(Copy, Clone, Debug, PartialEq)]
enum Std {
    Rustup,
    Built,
}

impl Cross {
    /// Downloads or installs what is missing, and fails if it can't.
    pub fn new(target: &str) -> Result<Cross> {
        let std = if env::var_os(BUILD_STD).is_none() && rustup_has(target) {
            Std::Rustup
        } else {
            need_debian()
                .with_context(|| format!("nothing here has or builds std for {target}"))?;
            Std::Built
        };
        Ok(Cross {
            target: target.to_owned(),
            std,
        })
    }

    /// Cargo, for checking the sources only. All targets share a directory.
    pub fn checking(&self, subcommand: &str) -> Cmd {
        let cmd = self.cargo(subcommand).target_dir(self.std.dir("other"));
        match self.std {
            Std::Rustup => cmd,
            // The checker of the API builds std with this flag as well, so both use the same std.
            // Both need metadata only.
            Std::Built => cmd
                .env("RUSTFLAGS", "-Zno-codegen")
                .arg("-Zbuild-std=std,panic_abort"),
        }
    }

    /// Cargo, for building programs that can be run or linked.
    pub fn building(&self, subcommand: &str) -> Cmd {
        let cmd = self
            .cargo(subcommand)
            .target_dir(self.std.dir("cross"))
            // It is not debugged, and this halves the time.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Otherwise std's debug information is stripped as well, for Apple's systems by a
            // program that Debian lacks.
            .env("CARGO_PROFILE_DEV_STRIP", "none");
        match self.std {
            Std::Rustup => cmd,
            Std::Built => cmd.arg("-Zbuild-std"),
        }
    }

    /// The folder of the programs that `building` builds.
    pub fn programs(&self) -> PathBuf {
        self.std.dir("cross").join(&self.target).join("debug")
    }

    pub fn has_std_of_rustup(&self) -> bool {
        matches!(self.std, Std::Rustup)
    }

    fn cargo(&self, subcommand: &str) -> Cmd {
        let cmd = match self.std {
            Std::Rustup => Cmd::cargo(subcommand),
            Std::Built => Cmd::debian_cargo(subcommand),
        };
        cmd.args(["--locked", "--target", &self.target])
    }
}

impl Std {
    /// A folder for each toolchain. The names are those that the checker of the API uses.
    fn dir(self, name: &str) -> PathBuf {
        target(name).join(match self {
            Std::Rustup => "rustup",
            Std::Built => "debian",
        })
    }
}

/// Installs Debian's toolchain, with the sources of std, if it is missing.
pub fn need_debian() -> Result<()> {
    for (file, package) in DEBIAN {
        tools::need(file, &[package])?;
    }
    Ok(())
}

/// The checker's name for Debian's toolchain. No toolchain of rustup has it.
pub const DEBIANS: &str = "debian";

/// Whether rustup has the target's std for the toolchain in use, or can fetch it.
fn rustup_has(target: &str) -> bool {
    // The list contains those that rustup could download.
    let list = Cmd::new("rustup")
        .args(["target", "list"])
        .quiet()
        .and_then(|ended| ended.successful_stdout());
    let Ok(list) = list else { return false };
    match in_list(&list, target) {
        Some(Listed::Installed) => true,
        None => false,
        Some(Listed::Known) if !tools::may_install() => {
            println!("rustup has std for {target}: rustup target add {target}, or --install");
            false
        }
        Some(Listed::Known) => {
            let add = Cmd::new("rustup")
                .args(["target", "add", target])
                .env("RUSTUP_MAX_RETRIES", "0")
                .env("RUST_BACKTRACE", "0")
                .limit(Duration::from_secs(120));
            match add.run() {
                Ok(()) => true,
                Err(error) => {
                    println!("{error:#}: std is built");
                    false
                }
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Listed {
    Known,
    Installed,
}

/// The entry for a target in the output of `rustup target list`.
fn in_list(list: &str, target: &str) -> Option<Listed> {
    list.lines().find_map(|line| {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match rest {
            _ if name != target => None,
            "(installed)" => Some(Listed::Installed),
            _ => Some(Listed::Known),
        }
    })
}

/// The name of the environment variable of a cargo setting for a target.
pub fn setting(target: &str, name: &str) -> String {
    format!(
        "CARGO_TARGET_{}_{name}",
        target.to_uppercase().replace(['-', '.'], "_")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_targets_differ_from_available_ones() {
        let list = "aarch64-apple-darwin\ni686-unknown-linux-gnu (installed)\n";
        assert_eq!(in_list(list, "aarch64-apple-darwin"), Some(Listed::Known));
        assert_eq!(
            in_list(list, "i686-unknown-linux-gnu"),
            Some(Listed::Installed)
        );
        assert_eq!(in_list(list, "x86_64-unknown-openbsd"), None);
        assert_eq!(in_list(list, "aarch64-apple"), None);
    }

    #[test]
    fn settings_of_a_target_are_named_as_cargo_wants_them() {
        assert_eq!(
            setting("thumbv8m.main-none-eabi", "LINKER"),
            "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABI_LINKER"
        );
    }

    #[test]
    fn a_built_std_is_built_with_the_same_flags_for_all() {
        let cross = |std| Cross {
            target: "t".to_owned(),
            std,
        };
        assert_eq!(
            cross(Std::Rustup).checking("clippy").to_string(),
            "CARGO_TARGET_DIR=target/other/rustup cargo clippy --locked --target t"
        );
        assert_eq!(
            cross(Std::Built).checking("clippy").to_string(),
            "PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/other/debian \
             RUSTFLAGS=-Zno-codegen /usr/bin/cargo-clippy clippy --locked --target t \
             -Zbuild-std=std,panic_abort"
        );
        assert_eq!(
            cross(Std::Built).building("test").to_string(),
            "PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/cross/debian \
             CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=none \
             /usr/bin/cargo test --locked --target t -Zbuild-std"
        );
    }
}
