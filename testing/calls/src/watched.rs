//! Marks for what watches the operations: strace on Linux; and on a model of another system's kernel its
//! own observer, for a model is made of system calls that are not the crate's.

/// What the operations begin and end with.
pub use by::{begin, end, watch};

#[cfg(not(any(mio_model = "kqueue", mio_model = "event-ports")))]
mod by {
    pub fn watch() {}

    pub fn begin(operation: &str) {
        mark(&format!(">{operation}"));
    }

    pub fn end(operation: &str) {
        mark(&format!("<{operation}"));
    }

    /// The mark that strace prints: a call that does nothing.
    fn mark(text: &str) {
        // SAFETY: the pointer and the length are those of `text`, and there is no descriptor -1.
        let written = unsafe { libc::write(-1, text.as_ptr().cast(), text.len()) };
        assert_eq!(written, -1);
    }
}

/// Prints each operation as a line `>NAME`, a line for each call, and a line `<NAME`.
#[cfg(any(mio_model = "kqueue", mio_model = "event-ports"))]
mod by {
    use std::mem;
    use std::sync::Mutex;

    pub use super::model::watch;

    /// The calls of the operation that runs, if one does.
    static CALLS: Mutex<Option<Vec<String>>> = Mutex::new(None);

    pub fn begin(_: &str) {
        *CALLS.lock().unwrap() = Some(Vec::new());
    }

    pub fn end(operation: &str) {
        let calls = mem::take(&mut *CALLS.lock().unwrap());
        println!(">{operation}");
        for call in calls.expect("an operation runs") {
            println!("{call}");
        }
        println!("<{operation}");
    }

    pub fn called(call: &str) {
        if let Some(calls) = &mut *CALLS.lock().unwrap() {
            calls.push(call.to_owned());
        }
    }

    /// Adds to the last call.
    #[cfg(mio_model = "kqueue")]
    pub fn called_with(part: &str) {
        if let Some(last) = CALLS
            .lock()
            .unwrap()
            .as_mut()
            .and_then(|calls| calls.last_mut())
        {
            last.push_str(part);
        }
    }
}

#[cfg(mio_model = "kqueue")]
mod model {
    use kqueue_model::abi::{EVFILT_READ, EVFILT_WRITE, EV_ADD, EV_DELETE};
    use kqueue_model::{Call, Observer};

    use super::by::{called, called_with};

    static OBSERVER: Observer = Observer {
        before: |call| {
            match call {
                Call::Kqueue => called("kqueue"),
                Call::Wait => called("kevent"),
                Call::Changes => called("kevent:"),
                Call::Change { filter, flags } => called_with(&change(filter, flags)),
                Call::Close => called("close"),
            }
            0
        },
        after: |_| {},
    };

    pub fn watch() {
        kqueue_model::observe(&OBSERVER);
    }

    /// `+read` for a filter that is added, `-read` for one that is deleted, `!user` for one that is
    /// triggered.
    fn change(filter: i16, flags: u16) -> String {
        let sign = match () {
            _ if flags & EV_ADD != 0 => '+',
            _ if flags & EV_DELETE != 0 => '-',
            _ => '!',
        };
        let filter = match filter {
            EVFILT_READ => "read",
            EVFILT_WRITE => "write",
            _ => "user",
        };
        format!("{sign}{filter}")
    }
}

#[cfg(mio_model = "event-ports")]
mod model {
    use std::ffi::c_int;

    use event_ports_model::{Call, Observer};

    use super::by::called;

    static OBSERVER: Observer = Observer {
        before: |call| {
            called(match call {
                Call::Create => "port_create",
                Call::Associate => "port_associate",
                Call::Dissociate => "port_dissociate",
                Call::Send => "port_send",
                Call::Alert => "port_alert",
                Call::Retrieve => "port_getn",
                Call::Count => "port_getn:count",
                Call::Close => "close",
            });
            0
        },
        after: |_| {},
    };

    pub fn watch() {
        event_ports_model::observe(&OBSERVER);
    }

    /// poll(2), in the place of the C library's: the backend probes with it.
    ///
    /// # Safety
    ///
    /// That of poll(2): there are `count` entries.
    #[no_mangle]
    unsafe extern "C" fn poll(
        entries: *mut libc::pollfd,
        count: libc::nfds_t,
        millis: c_int,
    ) -> c_int {
        called("poll");
        let spec = libc::timespec {
            tv_sec: libc::time_t::from(millis.max(0) / 1000),
            tv_nsec: libc::c_long::from(millis.max(0) % 1000) * 1_000_000,
        };
        let timeout = match millis {
            0.. => &spec,
            _ => std::ptr::null(),
        };
        // SAFETY: the caller guarantees the entries; `timeout` is null or outlives the call, and the mask
        // is null.
        unsafe { libc::ppoll(entries, count, timeout, std::ptr::null()) }
    }
}
