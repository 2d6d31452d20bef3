//! poll(2) as NetBSD answers it: with `KQUEUE_MODEL_NETBSD` alone, and otherwise Linux's.
//!
//! What differs, "measured" by mio's own tests on the kernel of `netbsd-suite.txt`, or read in the
//! "sources" of NetBSD 7 (`sys_pipe.c`, `uipc_socket.c`, `fifo_vnops.c`):
//!
//! | descriptor | Linux | NetBSD | |
//! |---|---|---|---|
//! | socket with an error, or at its end | `IN OUT` with `ERR` or `HUP` | `IN OUT` | measured |
//! | stream socket that never was connected | `OUT HUP` | nothing | sources |
//! | Unix datagram socket whose peer is full | nothing | `OUT` | measured |
//! | pipe without senders | `HUP`, and `IN` with data | `IN HUP`, and `OUT` if it is asked for | measured |
//! | pipe without receivers | `ERR`, and `OUT` with room | `OUT HUP` | measured |
//! | FIFO in a folder without senders | as a pipe | `IN` | sources |
//! | FIFO in a folder without receivers | as a pipe | `OUT` | sources |
//!
//! Only what was asked for is among `IN` and `OUT`. The same sources answer for a terminal, a file and a
//! closed descriptor as Linux does.
//!
//! What FreeBSD's sources have is in between: for sockets `HUP` if both directions have ended, and never
//! `ERR`. NetBSD's later pipes (from 10 on, in the sources) answer as Linux's do.

use std::ffi::c_int;
use std::slice;
use std::time::{Duration, Instant};

use libc::pollfd;

use crate::descriptor::Kind;
use crate::os::{self, Result};

/// The pause between two looks at what Linux reports and NetBSD does not.
const PAUSE: Duration = Duration::from_millis(1);

/// poll(2), in the place of the C library's.
///
/// # Safety
///
/// As for poll(2): `count` entries can be read and written.
#[no_mangle]
pub unsafe extern "C" fn poll(entries: *mut pollfd, count: libc::nfds_t, millis: c_int) -> c_int {
    let entries = match count {
        0 => &mut [],
        // SAFETY: the caller guarantees the entries, which nothing else uses during the call.
        count => unsafe { slice::from_raw_parts_mut(entries, count as usize) },
    };
    let timeout = u64::try_from(millis).ok().map(Duration::from_millis);
    os::answer(match os::is_netbsd() {
        true => poll_on_netbsd(entries, timeout),
        false => os::poll(entries, timeout),
    })
}

fn poll_on_netbsd(entries: &mut [pollfd], timeout: Option<Duration>) -> Result<c_int> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // At first it only looks: Linux would not end a wait for what only NetBSD reports.
    let mut wait = Some(Duration::ZERO);
    loop {
        let on_linux = os::poll(entries, wait)?;
        let mut ready = 0;
        for entry in &mut *entries {
            entry.revents = answer(entry);
            ready += c_int::from(entry.revents != 0);
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if ready > 0 || left == Some(Duration::ZERO) {
            return Ok(ready);
        }
        if on_linux > 0 {
            os::poll(&mut [], Some(PAUSE))?;
        }
        wait = left;
    }
}

/// What NetBSD answers for an entry that Linux has answered.
fn answer(entry: &pollfd) -> i16 {
    let linux = entry.revents;
    if entry.fd < 0 || linux & libc::POLLNVAL != 0 {
        return linux;
    }
    let has_ended = linux & (libc::POLLERR | libc::POLLHUP) != 0;
    let ready = linux & !(libc::POLLERR | libc::POLLHUP);
    let both = entry.events & (libc::POLLIN | libc::POLLOUT);
    match Kind::of(entry.fd) {
        Ok(Kind::Stream(_)) if has_ended && never_was_connected(entry.fd) => 0,
        Ok(Kind::Datagram) if os::is_unix(entry.fd) && !has_ended => ready | both & libc::POLLOUT,
        Ok(Kind::Stream(_) | Kind::Datagram) if has_ended => ready | both,
        Ok(Kind::Pipe { .. }) if has_ended && os::has_a_name(entry.fd) => ready | both,
        Ok(Kind::Pipe { .. }) if has_ended => ready | both | libc::POLLHUP,
        _ => linux,
    }
}

/// Linux then reports the end of both directions at once, and not that of reading.
fn never_was_connected(fd: c_int) -> bool {
    let ends = libc::POLLHUP | libc::POLLRDHUP | libc::POLLERR;
    os::poll_bits(fd).is_ok_and(|bits| bits & ends == libc::POLLHUP)
}
