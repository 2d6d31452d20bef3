//! Where the kernel writes `Event`s.

pub(crate) type KernelEvent = ();
