//! The subjects.

mod libevent;
mod libuv;
mod mio;
mod polling;
mod raw;
mod raw_poll;

pub use self::libevent::Libevent;
pub use self::libuv::Libuv;
pub use self::mio::{Exclusive, Level, Mio, OneShot, Registries, Upstream, WouldBlock};
pub use self::polling::Polling;
pub use self::raw::Raw;
pub use self::raw_poll::RawPoll;

/// Whether the Rust crates with such an option were built to use poll(2).
pub const ON_POLL: bool = cfg!(mio_unsupported_force_poll_poll);

/// The versions of the subjects that can be queried for theirs.
pub fn versions() -> Vec<(String, String)> {
    [
        ("libuv", libuv::version()),
        ("libevent", libevent::version()),
    ]
    .map(|(name, version)| (name.to_owned(), version))
    .into()
}
