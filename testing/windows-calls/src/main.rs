//! Runs mio's operations on Windows one by one, and compares the functions of the system that each
//! calls with a table, expected.txt beside this folder. `cargo xtask wine` runs it.
//!
//! `imports.rs` sees the calls: this program's own import table leads through it. So what mio, the
//! standard library and socket2 call is seen, and what the system's libraries call among themselves
//! is not; and the crate is the one that ships.

#[cfg(all(windows, target_arch = "x86_64"))]
mod imports;
#[cfg(all(windows, target_arch = "x86_64"))]
mod operations;
#[cfg(all(windows, target_arch = "x86_64"))]
mod table;

#[cfg(all(windows, target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    table::main()
}

#[cfg(not(all(windows, target_arch = "x86_64")))]
fn main() {
    panic!("it is a program for Windows of 64 bits: `cargo xtask wine --calls`");
}
