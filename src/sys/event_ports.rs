//! Event ports: to come in the next change.

pub(crate) type KernelEvent = ();
pub(crate) use super::none::Absent as EventPorts;
