//! kqueue as the BSDs have it, modelled on Linux.

pub mod abi;

#[cfg(not(kqueue_library))]
mod descriptor;
#[cfg(not(kqueue_library))]
mod exports;
#[cfg(not(kqueue_library))]
mod knotes;
#[cfg(not(kqueue_library))]
mod model;
#[cfg(not(kqueue_library))]
mod os;
#[cfg(not(kqueue_library))]
mod queue;
#[cfg(not(kqueue_library))]
mod wait;

#[cfg(not(kqueue_library))]
pub use exports::{kevent, kqueue, kqueue_model_complete};
