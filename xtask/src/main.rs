//! The developers' chores. `cargo xtask ci` runs all that decide whether a change may go in, one
//! after the other; each can also be run alone.
//!
//! A step is a function that prints as it goes and returns an error when something is wrong. What
//! they share: [`sh`] runs other programs, [`tools`] sees to it that they are there, [`report`]
//! counts tests, [`ci`] is the list of steps.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod android;
mod api;
mod bench;
mod budget;
mod calls;
mod ci;
mod counts;
mod cpus;
mod cross;
mod faults;
mod interop;
mod layers;
mod licences;
mod link;
mod lint;
mod model;
mod msrv;
mod oracle;
mod os_names;
mod package;
mod paths;
mod programs;
mod readme;
mod report;
mod sh;
mod shard;
mod table;
mod targets;
mod testing;
mod tools;
mod valgrind;
mod wine;

use paths::{root, target};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "mio's developers' chores",
    disable_help_subcommand = true
)]
struct Cli {
    /// Install what a step lacks (with apt-get, rustup, pip). So do all steps where CI is set
    #[arg(long, global = true)]
    install: bool,
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// fmt, clippy, test and doc of the workspace: what to run while working on a change
    Quick,
    /// Every step that decides whether a change may go in, each even if an earlier one failed
    Ci,
    /// `ci`, and what takes too long for it: to be run before a release
    Full,
    /// The sources are formatted
    Fmt,
    /// The minimum supported Rust version holds, as far as that can be told without it
    Msrv,
    /// What the library is built with may be passed on under MIT, and is there once
    Licences,
    /// No source files use one another in a circle, and no layer an upper one
    Layers,
    /// Operating systems are named in the platform table, and elsewhere no more than they were
    OsNames,
    /// clippy has nothing to say
    Clippy,
    /// The tests of these chores
    XtaskTest,
    /// The tests, as in the README: `cargo test`
    Test,
    /// The documentation builds without a warning, the private items' too
    Doc,
    /// The library builds with every set of features
    Features,
    /// Nothing of the API of mio 1.2.5 is missing, nor of our own
    Api(api::Args),
    /// The crate builds from its own package
    Package,
    /// The commands and programs in README.md, CONTRIBUTING.md and docs/ work
    Readme,
    /// The quickstart runs to its end
    Examples,
    /// Each operation makes exactly the system calls in testing/calls/expected.txt
    Calls(calls::Args),
    /// This crate beside its peers, in time: writes bench/results (some minutes)
    Bench(bench::Args),
    /// The benchmarks' own tests, and a few rounds of each
    BenchTest,
    /// No operation costs more than bench/counts.txt says
    Counts(counts::Args),
    /// The tests with poll(2) by default and wakers on pipes, as programs can choose
    Forced,
    /// The tests and examples on models of other systems' kernels
    Model(model::Args),
    /// Random programs against a specification of the events, on each backend and each model
    Oracle(oracle::Args),
    /// `oracle` with new programs, for as long as you like
    Soak(oracle::SoakArgs),
    /// The lock-free parts under loom, which tries the threads' interleavings
    Loom,
    /// The faults of testing/faults, each of which a test has to notice
    Faults(faults::Args),
    /// The tests under the address and the leak sanitizer
    Asan,
    /// The tests under valgrind: memory errors, leaks, descriptors left open
    Valgrind,
    /// The program c10k: many connections, also slow ones
    C10k,
    /// Other people's crates on top of this mio
    Interop,
    /// clippy and the API on the other systems and processors that the crate is for
    Targets(targets::Args),
    /// The library calls nothing on Android but functions of testing/android/functions.txt
    Android,
    /// The test programs linked for other systems
    Link(link::Args),
    /// The tests on other processors, under qemu-user
    Cpus(cpus::Args),
    /// The tests and examples built for Windows and run under Wine
    Wine(wine::Args),
    /// c10k under valgrind (part of `full`)
    ValgrindC10k,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    sh::end_children_when_interrupted()?;
    let cli = Cli::parse();
    if cli.install {
        tools::allow_installing();
    }
    match cli.chore {
        Chore::Quick => ci::quick(),
        Chore::Ci => ci::ci(),
        Chore::Full => ci::full(),
        Chore::Fmt => lint::fmt(),
        Chore::Msrv => msrv::run(),
        Chore::Licences => licences::run(),
        Chore::Layers => layers::run(),
        Chore::OsNames => os_names::run(),
        Chore::Clippy => lint::clippy(),
        Chore::XtaskTest => testing::xtask(),
        Chore::Test => testing::plain(),
        Chore::Doc => lint::doc(),
        Chore::Features => lint::features(),
        Chore::Api(args) => api::run(&args),
        Chore::Package => package::run(),
        Chore::Readme => readme::run(),
        Chore::Examples => programs::quickstart(),
        Chore::Calls(args) => calls::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::BenchTest => bench::tried(),
        Chore::Counts(args) => counts::run(&args),
        Chore::Forced => testing::forced(),
        Chore::Model(args) => model::run(&args),
        Chore::Oracle(args) => oracle::run(&args),
        Chore::Soak(args) => oracle::soak(&args),
        Chore::Loom => testing::loom(),
        Chore::Faults(args) => faults::run(&args),
        Chore::Asan => testing::sanitizers(),
        Chore::Valgrind => valgrind::tests(),
        Chore::C10k => programs::c10k(),
        Chore::Interop => interop::run(),
        Chore::Targets(args) => targets::run(&args),
        Chore::Android => android::run(),
        Chore::Link(args) => link::run(&args),
        Chore::Cpus(args) => cpus::run(&args),
        Chore::Wine(args) => wine::run(&args),
        Chore::ValgrindC10k => valgrind::c10k(),
    }
}
