//! Opens and accepts sockets in non-blocking mode, with the fewest system calls that the
//! system allows. Everything else about sockets is std's and socket2's.

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub(crate) use windows::*;
