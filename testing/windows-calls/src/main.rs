//! Runs mio's operations on Windows one by one, and compares the functions of the system that each
//! calls with a table, expected.txt beside this folder. `cargo xtask wine` runs it.
//!
//! `imports.rs` records the calls, because this program's import table leads through it. So the calls that mio,
//! the standard library and socket2 make are recorded, and the calls that the system's libraries make among
//! themselves are not. The crate is the one that ships.

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
