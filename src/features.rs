//! What can be left out: the crate's features (documentation only).
//!
//! All are on by default. (`cargo add mio` fetches a different crate; `README.md` shows how to
//! depend on this one.) A library selects what it needs, and leaves the rest to the program:
//!
//! ```toml
//! [dependencies]
//! mio = { version = "1.3", default-features = false, features = ["os-poll", "net"] }
//! ```
//!
//! | feature | what it brings |
//! |---|---|
//! | `os-poll` | an event queue behind [`Poll`](crate::Poll): `Poll::new`, `Poll::with_backend` and `Backend::default`. Without it the types exist, so that a library can implement [`Source`](crate::event::Source) for its own, and none of them can be made |
//! | `os-ext` | sources that only some systems have: `unix::SourceFd` and `unix::pipe`, on Windows `windows::NamedPipe`. Turns on `os-poll` |
//! | `net` | TCP, UDP and Unix sockets in `net`; brings the `socket2` crate |
//! | `log` | each registration is told to the `log` crate, at level trace |
//! | `tcp`, `udp`, `uds` | other names for `net` |
//!
//! Every combination compiles. [`IoSource`](crate::IoSource), [`Events`](crate::Events),
//! [`Waker`](crate::Waker) and the words of the crate are always there.
