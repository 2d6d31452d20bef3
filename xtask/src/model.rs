//! Runs the backends of other systems on Linux: the suite and the examples, on a model of their
//! kernel, in several variants.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;

use crate::programs::{self, C10K, CHILDREN};
use crate::report::Report;
use crate::sh::Cmd;
use crate::table::named;
use crate::target;

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Models, instead of all: `kqueue`, `event-ports`
    models: Vec<String>,
    /// Only the suite on kqueue, with this shared library in place of the model, such as libkqueue's
    #[arg(long, value_name = "FILE", conflicts_with = "models")]
    library: Option<PathBuf>,
}

struct Model {
    name: &'static str,
    /// The folder below testing/. The model has tests of its own.
    package: &'static str,
    /// Switches of the model. The suite runs once for each: there is one for each difference
    /// between kernels, or one for several differences that do not affect each other.
    kernels: &'static [Kernel],
}

/// A variant of a kernel: the model's switches, each an environment variable with its value.
pub type Kernel = &'static [(&'static str, &'static str)];

const MODELS: &[Model] = &[
    Model {
        name: "kqueue",
        package: "kqueue-model",
        kernels: &[
            &[],
            &[
                ("KQUEUE_MODEL_NOISY", "1"),
                ("KQUEUE_MODEL_ZOMBIES", "1"),
                ("KQUEUE_MODEL_NOBODY_READS", "EBADF"),
                ("KQUEUE_MODEL_WRITING_TO_RECEIVERS", "refused"),
            ],
            &[
                ("KQUEUE_MODEL_WITHOUT_USER", "1"),
                ("KQUEUE_MODEL_WRITING_TO_RECEIVERS", "reported"),
            ],
            &[
                ("KQUEUE_MODEL_NETBSD", "1"),
                ("KQUEUE_MODEL_NOBODY_READS", "EBADF"),
                ("KQUEUE_MODEL_WRITING_TO_RECEIVERS", "refused"),
            ],
        ],
    },
    Model {
        name: "event-ports",
        package: "event-ports-model",
        kernels: &[
            &[],
            &[
                ("EVENT_PORTS_MODEL_ORDER", "random"),
                ("EVENT_PORTS_MODEL_BITS", "one"),
                ("EVENT_PORTS_MODEL_ZERO_TIMEOUT", "etime"),
                ("EVENT_PORTS_MODEL_LATE_NGET", "kept"),
            ],
            &[
                ("EVENT_PORTS_MODEL_RDHUP", "0"),
                ("EVENT_PORTS_MODEL_TIME", "set"),
                ("EVENT_PORTS_MODEL_SEND", "eagain"),
            ],
        ],
    },
];

/// Tests of Linux's own calls, or of features that the modelled systems lack.
const LEFT_OUT: &str = "left out: tests/timeout_fallback.rs, tests/waker_pipe.rs (Linux's calls), \
                        on kqueue abstract_names and an_unnamed_address_binds_as_in_std of \
                        tests/unix_sockets.rs (no such names)";

pub fn run(args: &Args) -> Result<()> {
    if let Some(library) = &args.library {
        return with_library(library);
    }
    let models = named(MODELS, |model| model.name, &args.models, |_| true)?;
    println!("{LEFT_OUT}");
    Report::of(|report| {
        for model in &models {
            model.run(report)?;
        }
        Ok(())
    })
}

pub fn all() -> Result<()> {
    run(&Args::default())
}

/// The suite on the model as a shared library: another one could take its place.
pub fn as_library() -> Result<()> {
    let folder = target("kqueue-library");
    Cmd::cargo("rustc")
        .args(["-p", "kqueue-model", "--lib", "--crate-type", "cdylib"])
        .target_dir(&folder)
        .run()?;
    with_library(&folder.join("debug/libkqueue_model.so"))
}

fn with_library(library: &Path) -> Result<()> {
    let library = library
        .canonicalize()
        .with_context(|| library.display().to_string())?;
    let folder = library.parent().context("a file is in a folder")?;
    println!("left out: tests that the model completes or observes calls for");
    Report::of(|report| {
        report.libtest(
            cargo("kqueue", "test")
                .args(["--lib", "--tests", "--no-fail-fast"])
                .env("MIO_KQUEUE_LIBRARY", &library)
                .env("LD_LIBRARY_PATH", folder)
                .target_dir(target("model").join("kqueue-library")),
        );
        Ok(())
    })
}

/// The model of this backend's kernel, if there is one.
pub fn of_backend(backend: &str) -> Option<&'static str> {
    let mut names = MODELS.iter().map(|model| model.name);
    names.find(|name| *name == backend)
}

/// The variants of this backend's kernel: those of its model, or Linux itself, which has no
/// switches.
pub fn kernels(backend: &str) -> &'static [Kernel] {
    let model = MODELS.iter().find(|model| model.name == backend);
    model.map_or(&[&[]], |model| model.kernels)
}

/// The flag with which the compiler builds mio's backend for a model.
pub fn cfg(model: &str) -> String {
    format!("--cfg mio_model={model:?}")
}

impl Model {
    fn run(&self, report: &mut Report) -> Result<()> {
        report.libtest(Cmd::cargo("test").args(["-p", self.package]));
        for kernel in self.kernels {
            // With the features that are off by default.
            let mut suite = cargo(self.name, "test").args(["--lib", "--tests", "--all-features"]);
            println!("--- the suite on {}, switched by {kernel:?}", self.name);
            for (switch, value) in *kernel {
                suite = suite.env(switch, value);
            }
            report.libtest(suite);
        }
        // It need not be the default backend of the modelled system.
        let many = ["--backend", self.name, "--connections"];
        for (program, args) in [
            (C10K, [&many[..], &["500"]].concat()),
            (C10K, [&many[..], &["200", "--slow", "50"]].concat()),
        ] {
            cargo(self.name, "build").args(program).run()?;
            let run = cargo(self.name, "run")
                .args(program)
                .arg("--")
                .args(args)
                .limit(Duration::from_secs(120));
            report.one(program[1], run.run());
        }
        cargo(self.name, "build").args(CHILDREN).run()?;
        programs::children(report, cargo(self.name, "run").args(CHILDREN));
        Ok(())
    }
}

/// Cargo, for mio with its backend for a model.
pub fn cargo(model: &str, what: &str) -> Cmd {
    Cmd::cargo(what)
        .env("RUSTFLAGS", cfg(model))
        .target_dir(target("model").join(model))
}
