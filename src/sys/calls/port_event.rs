//! The event that an event port writes.

use super::port_names::port_event;

#[repr(transparent)]
pub(crate) struct KernelEvent(pub(crate) port_event);

// SAFETY: its only pointer is `portev_user`, a word that holds the token; it is never dereferenced.
unsafe impl Send for KernelEvent {}
// SAFETY: as above.
unsafe impl Sync for KernelEvent {}
