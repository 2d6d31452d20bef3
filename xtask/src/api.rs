//! The public API against that of mio 1.2.5, item by item, over rustdoc's JSON:
//! `testing/api/parity.sh`.

use std::path::PathBuf;

use anyhow::{bail, Result};
use clap::Args as ClapArgs;

use crate::sh::Cmd;
use crate::{target, tools};

/// The listings in testing/api of the host: Linux, and sets of features there. The others are
/// compared by [`targets`](crate::targets).
pub const LISTINGS: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-gnu-force-poll",
    "linux-none",
    "linux-os-poll",
    "linux-os-ext",
    "linux-net",
    "linux-os-poll+net",
];

#[derive(ClapArgs, Default)]
pub struct Args {
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
    if !failed.is_empty() {
        bail!(
            "the API differs, or could not be compared: {}",
            failed.join(", ")
        );
    }
    Ok(())
}

/// What the checker is told to build with, and where.
pub struct Checker {
    /// The name of one of rustup's, or of none: it then looks for another.
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

/// Without what is only new.
fn shown(output: &str, verbose: bool) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter(move |line| verbose || !line.starts_with('+'))
}

/// The checker names its toolchain: `stable`, or else whatever is in use.
pub fn toolchain() -> Result<String> {
    if tools::toolchain("stable").is_some() {
        return Ok("stable".to_owned());
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
    fn only_what_is_missing_is_shown() {
        let output = "- pub fn mio::a()\n+ pub fn mio::b()\n~ lost: Send";
        assert_eq!(
            shown(output, false).collect::<Vec<_>>(),
            ["- pub fn mio::a()", "~ lost: Send"]
        );
        assert_eq!(shown(output, true).count(), 3);
    }
}
