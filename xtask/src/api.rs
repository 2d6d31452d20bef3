//! Compares the public API, item by item and by rustdoc's JSON, with that of mio 1.2.5
//! (`testing/api/parity.sh`) and with its own earlier state (`testing/api/own`).

use std::fs;
use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use clap::Args as ClapArgs;

use crate::cross::{self, Cross};
use crate::sh::Cmd;
use crate::{root, target, tools};

/// The listings in testing/api that the host can check: Linux, with several sets of features.
/// [`targets`](crate::targets) checks the others.
pub const LISTINGS: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-gnu-force-poll",
    "linux-none",
    "linux-os-poll",
    "linux-os-ext",
    "linux-net",
    "linux-os-poll+net",
];

/// The listing of our own API. It has the same name as that of mio 1.2.5. It does not cover items
/// that are public on other systems only.
const OWN: &str = "x86_64-unknown-linux-gnu";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Write the present public items into the listing of our own API, to be reviewed
    #[arg(long)]
    bless: bool,
    /// Listings to compare with, instead of all that `--list` shows
    listings: Vec<String>,
    /// Only show the names of the listings
    #[arg(long)]
    list: bool,
    /// Also show what mio 1.2.5 does not have
    #[arg(long, short)]
    verbose: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.list {
        println!("{}", LISTINGS.join("\n"));
        return Ok(());
    }
    let checker = Checker {
        toolchain: toolchain()?,
        target_dir: target("api"),
    };
    if args.bless {
        return write_own(&checker);
    }
    let listings = match &args.listings[..] {
        [] => LISTINGS.map(String::from).to_vec(),
        some => some.to_vec(),
    };
    let mut failed = Vec::new();
    for listing in listings {
        if let Err(error) = compare(&listing, &checker, args.verbose) {
            println!("{error:#}");
            failed.push(listing);
        }
    }
    if args.listings.is_empty() {
        if let Err(error) = compare_own(&checker) {
            println!("{error:#}");
            failed.push("our own".to_owned());
        }
    }
    if !failed.is_empty() {
        bail!(
            "the API differs, or could not be compared: {}",
            failed.join(", ")
        );
    }
    Ok(())
}

/// How the checker is called: with which compiler, and where it builds.
pub struct Checker {
    /// The name of a toolchain of rustup's, or a name that rustup does not have: then the checker
    /// looks for another one.
    pub toolchain: String,
    pub target_dir: PathBuf,
}

pub fn compare(listing: &str, checker: &Checker, verbose: bool) -> Result<()> {
    tools::need("python3", &["python3"])?;
    let ended = Cmd::new("bash")
        .args(["testing/api/parity.sh", ".", listing])
        .env("PARITY_TOOLCHAIN", &checker.toolchain)
        .env("PARITY_TARGET_DIR", &checker.target_dir)
        // rustdoc's JSON is an unstable output.
        .env("RUSTC_BOOTSTRAP", "1")
        .quiet()?;
    for line in shown(&ended.stdout, verbose) {
        println!("{line}");
    }
    ended.success()
}

/// Checks that no public item is gone, and that every new one is in the listing: otherwise a later
/// change could remove it unnoticed.
fn compare_own(checker: &Checker) -> Result<()> {
    let ended = checker
        .apilist("parity")
        .arg(own_listing())
        .quiet()
        .context("testing/api/own")?;
    let differences: Vec<&str> = differing(&ended.stdout).collect();
    if !differences.is_empty() {
        bail!(
            "{}\nnot as in testing/api/own; what is only new goes there by `cargo xtask api --bless`",
            differences.join("\n")
        );
    }
    ended.success()
}

fn write_own(checker: &Checker) -> Result<()> {
    let model = fs::read_to_string(root().join(format!("testing/api/{OWN}.txt")))?;
    // The target, the features and the flags.
    let head: Vec<&str> = model.lines().take(3).collect();
    let list = checker.apilist("list").quiet()?.successful_stdout()?;
    fs::write(own_listing(), format!("{}\n{list}", head.join("\n")))?;
    println!("{} items written to testing/api/own", list.lines().count());
    Ok(())
}

fn own_listing() -> PathBuf {
    root().join(format!("testing/api/own/{OWN}.txt"))
}

impl Checker {
    fn apilist(&self, subcommand: &str) -> Cmd {
        Cmd::new("python3")
            .args(["testing/api/apilist.py", subcommand, ".", OWN])
            .env("PARITY_TOOLCHAIN", &self.toolchain)
            .env("PARITY_TARGET_DIR", &self.target_dir)
            // rustdoc's JSON is an unstable output.
            .env("RUSTC_BOOTSTRAP", "1")
    }
}

/// The missing items, and the new ones.
fn differing(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter(|line| line.starts_with('-') || line.starts_with('+'))
}

/// The differences without those that are only new items.
fn shown(output: &str, verbose: bool) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter(move |line| verbose || !line.starts_with('+'))
}

/// Calls the checker in such a way that it shares std with `Cross::checking`.
pub fn checker(cross: &Cross) -> Result<Checker> {
    Ok(Checker {
        toolchain: match cross.has_std_of_rustup() {
            true => toolchain()?,
            false => cross::DEBIANS.to_owned(),
        },
        target_dir: target("other"),
    })
}

/// The name of the checker's toolchain: `stable`, or the one in use; without rustup, Debian's.
fn toolchain() -> Result<String> {
    if tools::toolchain("stable").is_some() {
        return Ok("stable".to_owned());
    }
    if !tools::is_there("rustup") {
        cross::need_debian()?;
        return Ok(cross::DEBIANS.to_owned());
    }
    let active = Cmd::new("rustup")
        .args(["show", "active-toolchain"])
        .quiet()?
        .successful_stdout()?;
    match active.split_whitespace().next() {
        Some(name) => Ok(name.to_owned()),
        None => bail!("rustup has no active toolchain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_come_or_go_unseen() {
        let output = "- pub fn mio::a()\n+ pub fn mio::b()\n~ lost: Send\n";
        assert_eq!(differing(output).count(), 2);
        assert_eq!(differing("").count(), 0);
    }

    #[test]
    fn only_what_is_missing_is_shown() {
        let output = "- pub fn mio::a()\n+ pub fn mio::b()\n~ lost: Send";
        assert_eq!(
            shown(output, false).collect::<Vec<_>>(),
            ["- pub fn mio::a()", "~ lost: Send"]
        );
        assert_eq!(shown(output, true).count(), 3);
    }
}
