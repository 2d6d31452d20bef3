//! `cargo test`, without flags and with several.

use anyhow::Result;

use crate::harness;
use crate::report::Report;
use crate::sh::Cmd;
use crate::{target, tools};

/// The command of the README.
pub fn plain() -> Result<()> {
    run([Cmd::cargo("test")])
}

pub fn xtask() -> Result<()> {
    // git applies the patches.
    tools::need("git", &["git"])?;
    run([Cmd::cargo("test").args(["-p", "xtask"])])
}

/// Under `cfg(mio_loom)` loom's types replace the atomics, and nothing but these tests works.
/// Optimised, because the number of interleavings determines the time.
pub fn loom() -> Result<()> {
    run([Cmd::cargo("test")
        .args(["--release", "--lib", "loom"])
        .env("RUSTFLAGS", "--cfg mio_loom")
        .target_dir(target("loom"))])
}

pub const FORCED: &str =
    "--cfg mio_unsupported_force_poll_poll --cfg mio_unsupported_force_waker_pipe";

/// The options that a program can set when it is built: poll(2) as the default, and wakers on
/// pipes; and the features that are off by default.
pub fn forced() -> Result<()> {
    run([Cmd::cargo("test")
        .args(["--lib", "--tests", "--all-features"])
        .env("RUSTFLAGS", FORCED)
        .target_dir(target("forced"))])
}

pub fn sanitizers() -> Result<()> {
    let host = tools::host()?;
    run(
        [("address", "asan"), ("leak", "lsan")].map(|(sanitizer, dir)| {
            Cmd::cargo("test")
                .args(["--lib", "--tests", "--no-fail-fast", "--target", &host])
                .env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"))
                // Allows `-Z` on a stable compiler. std is not instrumented, and need not be.
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
