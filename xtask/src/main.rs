//! The developers' chores. `cargo xtask ci` runs every step that decides whether a change may go
//! in, one after another. Each can also be run alone.
//!
//! A step is a function that prints its progress, and returns an error if it finds a mistake. The
//! steps share these modules: [`sh`] runs other programs, [`tools`] checks for them and installs
//! them, [`report`] counts tests, [`ci`] is the list of steps, [`cli`] is the command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

mod android;
mod api;
mod bench;
mod budget;
mod build_cost;
mod calls;
mod ci;
mod cli;
mod counts;
mod coverage;
mod cpus;
mod cross;
mod debian;
mod examples;
mod faults;
mod faulty_kernel;
mod fuzz;
mod harness;
mod interop;
mod kernels;
mod layers;
mod left_out;
mod licences;
mod link;
mod lint;
mod load;
mod miri;
mod model;
mod msrv;
mod mutants;
mod newer_wine;
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
mod windows;
mod wine;

use cli::{Chore, Cli};
use paths::{root, target};

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
        Chore::Full { shard, resume } => ci::full(shard, resume),
        Chore::Fmt => lint::fmt(),
        Chore::Msrv => msrv::run(),
        Chore::Licences => licences::run(),
        Chore::BuildCost => build_cost::run(),
        Chore::Layers => layers::run(),
        Chore::OsNames => os_names::run(),
        Chore::Clippy => lint::clippy(),
        Chore::XtaskTest => testing::xtask(),
        Chore::Test => testing::plain(),
        Chore::Doc => lint::doc(),
        Chore::Features => lint::features(),
        Chore::Api(args) => api::run(&args),
        Chore::Package => package::run(),
        Chore::Readme => readme::run(ci::runs),
        Chore::Examples => examples::run(),
        Chore::Calls(args) => calls::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::BenchTest => bench::tried(),
        Chore::Counts(args) => counts::run(&args),
        Chore::FaultyKernel(args) => faulty_kernel::run(&args),
        Chore::Forced => testing::forced(),
        Chore::Model(args) => model::run(&args),
        Chore::Oracle(args) => oracle::run(&args),
        Chore::Soak(args) => oracle::soak(&args),
        Chore::Loom => testing::loom(),
        Chore::Faults(args) => faults::run(&args, ci::runs),
        Chore::Asan => testing::sanitizers(),
        Chore::Coverage(args) => coverage::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Miri(args) => miri::run(&args),
        Chore::Mutants(args) => mutants::run(&args),
        Chore::Tsan => testing::threads(),
        Chore::Valgrind => valgrind::tests(),
        Chore::C10k => programs::c10k(),
        Chore::Interop => interop::run(),
        Chore::Targets(args) => targets::run(&args),
        Chore::Android => android::run(),
        Chore::Link(args) => link::run(&args),
        Chore::Cpus(args) => cpus::run(&args),
        Chore::Kernels(args) => kernels::run(&args),
        Chore::Load(args) => load::run(&args),
        Chore::Wine(args) => wine::run(&args),
        Chore::ValgrindC10k => valgrind::c10k(),
    }
}
