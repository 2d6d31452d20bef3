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

/// The one of them beside which our own API is listed. [`targets`](crate::targets) has the others.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The features that are off by default. Our own API includes theirs.
const MORE_FEATURES: &str = "stats";

/// The line above the differences from our own listing.
const OWN_DIFFERENCES: &str = "== the second listing";

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Write the present public items into the listings of our own API, to be reviewed: of every system,
    /// or of those that are named
    #[arg(long)]
    bless: bool,
    /// Listings to compare with, instead of all that `--list` shows; with `--bless` the systems
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
    if args.bless {
        let targets = match &args.listings[..] {
            [] => targets()?,
            some => some.to_vec(),
        };
        return targets.iter().try_for_each(|target| write_own(target));
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
    if args.listings.is_empty() {
        if let Err(error) = compare_own(HOST, &checker) {
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

fn compare(listing: &str, checker: &Checker, verbose: bool) -> Result<()> {
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

/// Checks that a target lacks no public item of mio 1.2.5, and that our own API is as it is listed: none is
/// gone, and every new one is in the listing. Otherwise a later change could remove it unnoticed.
pub fn compare_own(target: &str, checker: &Checker) -> Result<()> {
    tools::need("python3", &["python3"])?;
    let ended = checker
        .apilist("parity", target)
        .quiet()
        .with_context(|| format!("testing/api/own/{target}.txt"))?;
    let (theirs, own) = match ended.stdout.split_once(OWN_DIFFERENCES) {
        Some(both) => both,
        None => (&ended.stdout[..], ""),
    };
    for line in shown(theirs, false) {
        println!("{line}");
    }
    let differences: Vec<&str> = differing(own).collect();
    if !differences.is_empty() {
        bail!(
            "{}\nnot as in testing/api/own/{target}.txt; what is only new goes there by `cargo xtask api \
             --bless`",
            differences.join("\n")
        );
    }
    ended.success()
}

/// The systems whose API is listed.
fn targets() -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(root().join("testing/api"))? {
        let name = entry?.file_name().into_string();
        let name = name
            .ok()
            .and_then(|name| Some(name.strip_suffix(".txt")?.to_owned()));
        let listed = name.filter(|name| name == HOST || !LISTINGS.contains(&&name[..]));
        targets.extend(listed.filter(|name| !name.ends_with(".auto")));
    }
    targets.sort();
    Ok(targets)
}

fn write_own(target: &str) -> Result<()> {
    let model = root().join(format!("testing/api/{target}.txt"));
    let model = fs::read_to_string(&model).with_context(|| model.display().to_string())?;
    // The target, the features and the flags.
    let head: Vec<String> = model
        .lines()
        .take(3)
        .map(|line| match line.starts_with("# features: ") {
            true => format!("{line},{MORE_FEATURES}\n"),
            false => format!("{line}\n"),
        })
        .collect();
    let listing = own_listing(target);
    // The checker reads how to build it.
    fs::write(&listing, head.concat())?;
    let checker = checker(&Cross::new(target)?)?;
    let list = checker
        .apilist("list", target)
        .quiet()?
        .successful_stdout()?;
    fs::write(&listing, head.concat() + &list)?;
    println!(
        "{target}: {} items written to testing/api/own",
        list.lines().count()
    );
    Ok(())
}

/// The listing of our own API. mio 1.2.5's of the same name is in the folder above.
pub fn own_listing(target: &str) -> PathBuf {
    root().join(format!("testing/api/own/{target}.txt"))
}

impl Checker {
    /// One build, for both listings of a target.
    fn apilist(&self, subcommand: &str, target: &str) -> Cmd {
        Cmd::new("python3")
            .args(["testing/api/apilist.py", subcommand, ".", target])
            .arg(own_listing(target))
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
