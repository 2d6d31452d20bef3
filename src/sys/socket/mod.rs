//! Sockets made and accepted in non-blocking mode, with the fewest calls that
//! the system allows; all else about sockets is left to std and socket2.

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub(crate) use windows::*;
