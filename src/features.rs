//! The crate's features (documentation only).
//!
//! All but `stats` are on by default. (`cargo add mio` fetches a different crate; `README.md` shows
//! how to depend on this one.) A library selects what it needs, and leaves the rest to the program:
//!
//! ```toml
//! [dependencies]
//! mio = { version = "1.3", default-features = false, features = ["os-poll", "net"] }
//! ```
//!
//! | feature | what it brings |
//! |---|---|
//! | `os-poll` | an event queue behind [`Poll`](crate::Poll): `Poll::new`, `Poll::with_backend` and `Backend::default`. Without it the types exist, so that a library can implement [`Source`](crate::event::Source) for its own types, but no `Poll` can be opened |
//! | `os-ext` | sources that only some systems have: `unix::SourceFd`, `unix::pipe` and `unix::ChildExit`, on Windows `windows::NamedPipe` and `windows::WaitHandle`. Turns on `os-poll` |
//! | `net` | TCP, UDP and Unix sockets in `net`; brings the `socket2` crate |
//! | `log` | registrations are logged through the `log` crate, at level trace |
//! | `stats` | what a poll has done is counted: `Stats`, which [`Poll`](crate::Poll) and [`Registry`](crate::Registry) return. **Off by default**, because counting takes time |
//! | `tcp`, `udp`, `uds` | other names for `net` |
//!
//! Every combination compiles. [`IoSource`](crate::IoSource), [`Events`](crate::Events),
//! [`Waker`](crate::Waker) and the vocabulary types always exist.
