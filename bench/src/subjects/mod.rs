//! Who is compared.

mod libevent;
mod libuv;
mod mio;
mod polling;
mod raw;
mod raw_poll;

pub use self::libevent::Libevent;
pub use self::libuv::Libuv;
pub use self::mio::{Mio, Registries, Upstream, WouldBlock};
pub use self::polling::Polling;
pub use self::raw::Raw;
pub use self::raw_poll::RawPoll;

/// Whether the Rust crates that can have been told to stand on poll(2) when they were built.
pub const ON_POLL: bool = cfg!(mio_unsupported_force_poll_poll);

/// Of those that are compared, as far as they can be asked.
pub fn versions() -> Vec<(String, String)> {
    [
        ("libuv", libuv::version()),
        ("libevent", libevent::version()),
    ]
    .map(|(name, version)| (name.to_owned(), version))
    .into()
}
