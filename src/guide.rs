//! How to use this crate (documentation only).
//!
#![doc = include_str!("guide/guide.md")]

pub mod broadcast {
    //! One message to many peers.
    //!
    #![doc = include_str!("guide/broadcast.md")]
}

pub mod children {
    //! The output and the exit of child processes.
    //!
    #![doc = include_str!("guide/children.md")]
}

pub mod closing {
    //! Ends, resets and half-closed connections.
    //!
    #![doc = include_str!("guide/closing.md")]
}

pub mod migrating {
    //! Moving here from older versions and from polling.
    //!
    #![doc = include_str!("guide/migrating.md")]
}

pub mod modes {
    //! Level-triggered, one-shot and exclusive registrations.
    //!
    #![doc = include_str!("guide/modes.md")]
}

pub mod proxy {
    //! A whole program: linked sockets, idle timeouts, Ctrl-C.
    //!
    #![doc = include_str!("guide/proxy.md")]
}

pub mod runtimes {
    //! Async runtimes, and other event loops.
    //!
    #![doc = include_str!("guide/runtimes.md")]
}

pub mod sharing {
    //! Threads, and several polls.
    //!
    #![doc = include_str!("guide/sharing.md")]
}

pub mod signals {
    //! Ctrl-C and other signals.
    //!
    #![doc = include_str!("guide/signals.md")]
}

pub mod sources {
    //! Sources of your own.
    //!
    #![doc = include_str!("guide/sources.md")]
}

pub mod speed {
    //! What costs time.
    //!
    #![doc = include_str!("guide/speed.md")]
}

pub mod stdin {
    //! Standard input: a terminal, a pipe or a file.
    //!
    #![doc = include_str!("guide/stdin.md")]
}

pub mod tls {
    //! TLS by rustls.
    //!
    #![doc = include_str!("guide/tls.md")]
}

pub mod troubleshooting {
    //! Symptoms, their causes and remedies.
    //!
    #![doc = include_str!("guide/troubleshooting.md")]
}
