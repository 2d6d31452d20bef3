//! Windows.

#[cfg(feature = "os-poll")]
pub(super) mod queues {
    pub(crate) use crate::sys::afd::Afd;
    pub(crate) use crate::sys::none::*;
    use crate::Backend;

    pub(crate) const BEST_FIRST: [Backend; 1] = [Backend::Afd];
}

#[cfg(feature = "os-poll")]
pub(super) use crate::sys::afd as kernel_event;
