//! [`Event`], the [`Events`] that a poll fills, and the [`Source`] trait of everything that can be
//! registered.

#[allow(clippy::module_inception)] // the type has a file of its own, named after it
mod event;
mod events;
pub(crate) mod readiness;
mod source;

pub use event::Event;
pub use events::{Events, Iter};
pub use source::Source;
