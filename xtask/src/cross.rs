//! Cargo for targets other than the host's.
//!
//! What they need beyond the host's is a standard library. It comes from rustup where rustup has it
//! for the target, and may fetch it. For the others, and where nothing may be fetched, it is built:
//! Debian has a compiler with the sources that fit it (`rustc-web` and its companions).

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::sh::Cmd;
use crate::{target, tools};

/// Set, it has std built even where rustup has it: to see that this way works, and what it costs.
const BUILD_STD: &str = "MIO_BUILD_STD";

/// Where Debian has what std is built with, and the packages it is in.
const DEBIAN: [(&str, &str); 3] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/cargo", "cargo-web"),
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
    /// Fetches or installs what is missing, and fails where it can't.
    pub fn new(target: &str) -> Result<Cross> {
        let std = if env::var_os(BUILD_STD).is_none() && rustup_has(target) {
            Std::Rustup
        } else {
            for (file, package) in DEBIAN {
                tools::need(file, &[package])
                    .with_context(|| format!("nothing here has or builds std for {target}"))?;
            }
            Std::Built
        };
        Ok(Cross {
            target: target.to_owned(),
            std,
        })
    }

    /// Cargo, to build what can be run, or linked.
    pub fn building(&self, subcommand: &str) -> Cmd {
        let cmd = self.cargo(subcommand).target_dir(target("cross"));
        match self.std {
            Std::Rustup => cmd,
            Std::Built => cmd.arg("-Zbuild-std"),
        }
    }

    fn cargo(&self, subcommand: &str) -> Cmd {
        let cmd = match self.std {
            Std::Rustup => Cmd::cargo(subcommand),
            Std::Built => Cmd::debian_cargo(subcommand),
        };
        cmd.args(["--locked", "--target", &self.target])
    }
}

/// Whether rustup has the target's std for the toolchain in use, or can fetch it.
fn rustup_has(target: &str) -> bool {
    // It names those that it could fetch without asking anybody.
    let list = Cmd::new("rustup")
        .args(["target", "list"])
        .quiet()
        .and_then(|ended| ended.successful_stdout());
    let Ok(list) = list else { return false };
    match in_list(&list, target) {
        Some(Listed::Installed) => true,
        None => false,
        Some(Listed::Known) => {
            let add = Cmd::new("rustup")
                .args(["target", "add", target])
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

/// What `rustup target list` says of a target.
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

/// The name of the environment variable by which cargo takes a setting for a target.
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
    fn what_rustup_has_is_told_from_what_it_could_fetch() {
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
    fn a_std_that_rustup_lacks_is_built() {
        let cross = |std| Cross {
            target: "t".to_owned(),
            std,
        };
        assert_eq!(
            cross(Std::Built).building("test").to_string(),
            "PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/cross \
             /usr/bin/cargo test --locked --target t -Zbuild-std"
        );
    }
}
