//! For a system whose kernel writes `Event`s, or none: no buffer for kernel events.

pub(crate) type KernelEvent = ();
