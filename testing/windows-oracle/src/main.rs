//! Random programs on mio for Windows, judged by an executable specification of its events. `cargo xtask
//! wine` runs it. README.md says what it judges, and what it cannot find.

#[cfg(windows)]
mod handle;
#[cfg(windows)]
mod judge;
#[cfg(windows)]
mod peer;
#[cfg(windows)]
mod program;
#[cfg(windows)]
mod search;
#[cfg(windows)]
mod world;

#[cfg(windows)]
fn main() -> std::process::ExitCode {
    search::main()
}

#[cfg(not(windows))]
fn main() {
    panic!("it is a program for Windows: `cargo xtask wine --oracle`");
}
