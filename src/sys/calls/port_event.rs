//! What an event port writes.

use super::port_names::port_event;

#[repr(transparent)]
pub(crate) struct KernelEvent(pub(crate) port_event);

// SAFETY: the pointer in it is a word, the token, and is not followed.
unsafe impl Send for KernelEvent {}
// SAFETY: as above.
unsafe impl Sync for KernelEvent {}
