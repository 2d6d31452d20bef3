//! The command line of `cargo xtask`.

use clap::{Parser, Subcommand};

use crate::shard::Shard;
use crate::{
    api, bench, calls, counts, coverage, cpus, faults, faulty_kernel, fuzz, kernels, link, load,
    miri, model, mutants, oracle, targets, wine,
};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "mio's developers' chores",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Install what a step lacks (with apt-get, rustup, pip, cargo). If CI is set, all steps do so
    #[arg(long, global = true)]
    pub install: bool,
    #[command(subcommand)]
    pub chore: Chore,
}

#[derive(Subcommand)]
pub enum Chore {
    /// fmt, clippy, test and doc of the workspace: run it while working on a change
    Quick,
    /// Every step that decides whether a change may go in, each even if an earlier one failed
    Ci,
    /// `ci`, and what takes too long for it: to be run before a release
    Full {
        /// Only part K of N, so that machines share the work: some steps, and a part of each of the longest
        /// ones
        #[arg(long, value_name = "K/N", default_value = "1/1")]
        shard: Shard,
        /// Only the steps that have not passed yet, by the file of results of an earlier run on the same commit
        #[arg(long)]
        resume: bool,
    },
    /// The sources are formatted
    Fmt,
    /// The minimum supported Rust version builds the crate and passes its tests
    Msrv,
    /// All dependencies may be distributed under MIT, and none has two versions
    Licences,
    /// No source files use each other in a circle, and no layer uses one above it
    Layers,
    /// The platform table names the operating systems, and other sources name no more of them than
    /// before
    OsNames,
    /// Building the crate and a client takes at most 2.55 times the processor time that mio 1.2.5 takes (part
    /// of `full`). The aim is 2.2 times
    BuildCost,
    /// clippy has no warning
    Clippy,
    /// The tests of these chores
    XtaskTest,
    /// The tests, as in the README: `cargo test`
    Test,
    /// The documentation builds without a warning, that of private items as well
    Doc,
    /// The library builds with every set of features
    Features,
    /// No item of the API of mio 1.2.5 is missing, and none of our own
    Api(api::Args),
    /// The crate builds from its own package
    Package,
    /// The commands and programs in README.md, CONTRIBUTING.md and docs/ work
    Readme,
    /// The programs in examples/ work with real clients, some of which read slowly
    Examples,
    /// Each operation makes exactly the system calls in testing/calls/expected.txt
    Calls(calls::Args),
    /// Measures this crate and its peers: writes bench/results (some minutes)
    Bench(bench::Args),
    /// The benchmarks' own tests, and a few rounds of each
    BenchTest,
    /// No operation costs more than in bench/counts.txt
    Counts(counts::Args),
    /// Each system call of each operation fails once, and nothing is lost or leaked
    FaultyKernel(faulty_kernel::Args),
    /// The tests with poll(2) as the default and wakers on pipes, which programs can select
    Forced,
    /// The tests and examples on models of other systems' kernels
    Model(model::Args),
    /// Random programs, compared with a specification of the events, on each backend and each model
    Oracle(oracle::Args),
    /// `oracle` with new programs, for as long as you like
    Soak(oracle::SoakArgs),
    /// The lock-free code under loom, which tries the interleavings of threads
    Loom,
    /// A test notices each fault of testing/faults
    Faults(faults::Args),
    /// The tests under the address and the leak sanitizer
    Asan,
    /// The tests under the thread sanitizer, with an instrumented std (nightly Rust, from rustup)
    Tsan,
    /// The tests under Miri: undefined behaviour, data races (nightly Rust, from rustup; part of `full`)
    Miri(miri::Args),
    /// A test notices each change that cargo-mutants makes to the library, in one place at a time (part of
    /// `full`)
    Mutants(mutants::Args),
    /// Bytes of peers, packets of other code and calls of the models, as libFuzzer makes them (part of
    /// `full`)
    Fuzz(fuzz::Args),
    /// Each line of src/ is reached by a test, on some backend, or listed with the reason (part of `full`)
    Coverage(coverage::Args),
    /// The tests under valgrind: memory errors, leaks, descriptors left open
    Valgrind,
    /// The program c10k: many connections, also slow ones
    C10k,
    /// Other crates work on top of this one
    Interop,
    /// clippy and the API, on the other systems and processors that the crate supports
    Targets(targets::Args),
    /// On Android the library calls only the functions of testing/android/functions.txt
    Android,
    /// The test programs link for other systems
    Link(link::Args),
    /// The tests on other processors, under qemu-user
    Cpus(cpus::Args),
    /// The tests on Debian's kernels, old and new, and on other processors' (part of `full`)
    Kernels(kernels::Args),
    /// Thousands of connections under many threads, for minutes (part of `full`)
    Load(load::Args),
    /// The tests and examples built for Windows and run under Wine
    Wine(wine::Args),
    /// c10k under valgrind (part of `full`)
    ValgrindC10k,
}
