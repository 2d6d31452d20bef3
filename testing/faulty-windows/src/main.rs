//! Has each call of each operation of mio on Windows fail once, with each error that it is known to have,
//! and checks what comes of it: `cargo xtask faulty-kernel afd`.
//!
//! It is testing/faulty-kernel for Windows. Its import table leads through functions of its own, which
//! call those of the system, or fail: what mio, the standard library and socket2 call is seen, and what
//! the system's libraries call among themselves is not. The crate is the one that ships.
//!
//! All runs are in one process, one after the other.

#[cfg(all(windows, target_arch = "x86_64"))]
mod calls;
#[cfg(all(windows, target_arch = "x86_64"))]
mod imports;
#[cfg(all(windows, target_arch = "x86_64"))]
mod operation;
#[cfg(all(windows, target_arch = "x86_64"))]
mod operations;
#[cfg(all(windows, target_arch = "x86_64"))]
mod runs;
#[cfg(all(windows, target_arch = "x86_64"))]
mod world;

#[cfg(all(windows, target_arch = "x86_64"))]
use runs::{any_port, patience};

#[cfg(all(windows, target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    runs::main()
}

#[cfg(not(all(windows, target_arch = "x86_64")))]
fn main() {
    panic!("it is a program for Windows of 64 bits: `cargo xtask faulty-kernel afd`");
}
