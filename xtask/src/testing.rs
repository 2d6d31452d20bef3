//! `cargo test`, plain and with other flags.

use anyhow::Result;

use crate::harness;
use crate::report::Report;
use crate::sh::Cmd;
use crate::{target, tools};

/// What the README says.
pub fn plain() -> Result<()> {
    run([Cmd::cargo("test")])
}

pub fn xtask() -> Result<()> {
    // What applies patches.
    tools::need("git", &["git"])?;
    run([Cmd::cargo("test").args(["-p", "xtask"])])
}

/// loom's types stand in for the atomics under `cfg(mio_loom)`, with which nothing but these tests
/// works. Optimised, because the number of interleavings is what takes the time.
pub fn loom() -> Result<()> {
    run([Cmd::cargo("test")
        .args(["--release", "--lib", "loom"])
        .env("RUSTFLAGS", "--cfg mio_loom")
        .target_dir(target("loom"))])
}

/// The ways that a program can choose when it is built: poll(2) by default, woken through a pipe.
pub fn forced() -> Result<()> {
    run([Cmd::cargo("test")
        .args(["--lib", "--tests"])
        .env(
            "RUSTFLAGS",
            "--cfg mio_unsupported_force_poll_poll --cfg mio_unsupported_force_waker_pipe",
        )
        .target_dir(target("forced"))])
}

pub fn sanitizers() -> Result<()> {
    let host = tools::host()?;
    run(
        [("address", "asan"), ("leak", "lsan")].map(|(sanitizer, dir)| {
            Cmd::cargo("test")
                .args(["--lib", "--tests", "--no-fail-fast", "--target", &host])
                .env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"))
                // `-Z` on a stable compiler. Their std is not instrumented, and need not be.
                .env("RUSTC_BOOTSTRAP", "1")
                .target_dir(target(dir))
        }),
    )
}

/// The thread sanitizer, with an instrumented std. It also replaces the C library's functions on epoll,
/// which the library then calls instead of the kernel.
pub fn threads() -> Result<()> {
    let toolchain = tools::need_toolchain("nightly", &["rust-src"])?;
    Report::of(|report| {
        let tests = Cmd::rustup_cargo(&toolchain, "test")
            .args(["--lib", "--tests", "-Zbuild-std", "--target"])
            .arg(tools::host()?)
            .env("RUSTFLAGS", "-Zsanitizer=thread")
            .target_dir(target("tsan"));
        let programs = harness::built(tests)?;
        harness::run_all_but(report, &programs, "testing/tsan/left-out.txt", |program| {
            Cmd::new(program).env("MIO_TEST_SLOW", SLOWER_WITH_THREADS)
        })
    })
}

/// How much longer the tests' own bounds on time are under the thread sanitizer.
const SLOWER_WITH_THREADS: &str = "5";

fn run(commands: impl IntoIterator<Item = Cmd>) -> Result<()> {
    Report::of(|report| {
        for cmd in commands {
            report.libtest(cmd);
        }
        Ok(())
    })
}
