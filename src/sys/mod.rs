//! What the crate needs of the operating system. Read first `selector.rs`, the contract that every
//! backend keeps, and the file of your system in `platform/`: it names the system's backends, and the
//! implementation of each call that not every system has. This file picks the system's file, and says
//! which systems have which backend.
//!
//! All `unsafe` code is in this folder, in small safe wrappers around one call each.

#[cfg(all(feature = "os-ext", unix))]
pub(crate) mod child;
#[cfg(all(feature = "os-poll", unix))]
mod chunks;
mod error;
mod none;
#[cfg(unix)]
pub(crate) mod pipe;
#[cfg(all(feature = "os-poll", unix))]
mod poll_bits;
#[cfg(all(feature = "os-poll", unix))]
mod process;
mod queue;
#[cfg(feature = "os-poll")]
mod rearm;
#[cfg(all(feature = "os-poll", unix))]
mod rearmed;
#[cfg(unix)]
mod refused;
mod registration;
pub(crate) mod selector;
#[cfg(feature = "net")]
pub(crate) mod socket;
#[cfg(all(feature = "os-poll", unix))]
mod table;
mod timeout;
mod wake;
#[cfg(unix)]
mod wake_fd;

pub(crate) use error::kind;
#[cfg(any(all(windows, feature = "os-poll"), all(unix, feature = "os-ext")))]
pub(crate) use error::Mistake;
pub(crate) use queue::Queue;
pub(crate) use registration::Registration;
pub(crate) use selector::{EventBuffer, Owner};
#[cfg(all(windows, feature = "os-poll"))]
use selector::{Failure, Key, Outcome, Selector, UserEvent};
#[cfg(all(windows, feature = "os-poll"))]
use timeout::millis_rounded_up;
pub(crate) use wake::Wake;

// The systems, a row each, with each condition once. A new system needs a file in `platform/` and a row
// here. With `mio_model`, Linux is built like another system, without the calls that the other lacks.

#[cfg(all(
    target_os = "linux",
    not(any(mio_model = "kqueue", mio_model = "event-ports"))
))]
#[path = "platform/linux.rs"]
mod platform;
#[cfg(target_os = "android")]
#[path = "platform/android.rs"]
mod platform;
#[cfg(target_vendor = "apple")]
#[path = "platform/apple.rs"]
mod platform;
#[cfg(any(
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
#[path = "platform/bsd.rs"]
mod platform;
#[cfg(target_os = "illumos")]
#[path = "platform/illumos.rs"]
mod platform;
#[cfg(target_os = "solaris")]
#[path = "platform/solaris.rs"]
mod platform;
#[cfg(windows)]
#[path = "platform/windows.rs"]
mod platform;
#[cfg(mio_model = "kqueue")]
#[path = "platform/kqueue_model.rs"]
mod platform;
#[cfg(mio_model = "event-ports")]
#[path = "platform/event_ports_model.rs"]
mod platform;
#[cfg(all(
    unix,
    not(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        target_os = "illumos",
        target_os = "solaris"
    ))
))]
#[path = "platform/other_unix.rs"]
mod platform;

#[cfg(not(any(unix, windows)))]
compile_error!("mio has backends for Unix and Windows only");

#[cfg(feature = "os-poll")]
use platform::{kernel_event, queues};

#[cfg(not(feature = "os-poll"))]
use none as queues;
#[cfg(not(feature = "os-poll"))]
#[path = "calls/no_kernel_event.rs"]
mod kernel_event;

// The backends, and which systems have them.

#[cfg(all(feature = "os-poll", windows))]
pub(crate) mod afd;
#[cfg(all(
    feature = "os-poll",
    any(target_os = "linux", target_os = "android", target_os = "illumos"),
    not(mio_model = "kqueue")
))]
mod epoll;
#[cfg(all(
    feature = "os-poll",
    any(
        target_os = "illumos",
        target_os = "solaris",
        mio_model = "event-ports"
    )
))]
mod event_ports;
#[cfg(all(
    feature = "os-poll",
    any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        mio_model = "kqueue"
    )
))]
mod kqueue;
#[cfg(all(feature = "os-poll", unix))]
mod poll;
