//! The event that a kqueue writes.

use super::kqueue_names::kevent;

#[repr(transparent)]
pub(crate) struct KernelEvent(pub(crate) kevent);

// SAFETY: the pointer in it is a word, the token, and is not followed.
unsafe impl Send for KernelEvent {}
// SAFETY: as above.
unsafe impl Sync for KernelEvent {}
