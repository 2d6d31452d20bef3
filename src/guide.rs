//! How to use this crate (documentation only).
