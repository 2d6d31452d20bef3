//! Completions of asynchronous I/O, which the kernel puts into the queue that the operation names.
//! They run on a model of kqueue, which a test can tell to complete an operation: Linux's own
//! asynchronous I/O does not use kqueue.
#![cfg(all(
    feature = "os-poll",
    feature = "os-ext",
    feature = "net",
    mio_model = "kqueue"
))]

mod util;

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;

use mio::{Backend, Interest, Token};
use util::Loop;

extern "C" {
    /// A function of the model: completes an operation.
    fn kqueue_model_complete(
        kqueue: c_int,
        ident: usize,
        filter: i16,
        flags: u16,
        data: isize,
        udata: *mut c_void,
    ) -> c_int;
}

const EVFILT_AIO: i16 = -3;
const EVFILT_LIO: i16 = -10;

const EV_DISPATCH: u16 = 0x80;

/// False if another library replaces the model: it completes none.
fn complete(looper: &Loop, filter: i16, token: Token) -> bool {
    complete_with(looper, 0x1000, filter, 0, token)
}

fn complete_with(looper: &Loop, ident: usize, filter: i16, flags: u16, token: Token) -> bool {
    let udata = token.0 as *mut c_void;
    // SAFETY: the pointer is a word that the kqueue returns and nothing dereferences; the other arguments
    // are integers.
    let done =
        unsafe { kqueue_model_complete(looper.poll.as_raw_fd(), ident, filter, flags, 0, udata) };
    let is_not_there = std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS);
    assert!(done == 0 || is_not_there);
    done == 0
}

#[test]
fn a_completion_is_reported_with_its_token_and_nothing_else() {
    let mut looper = Loop::new(Backend::Kqueue);
    for filter in [EVFILT_AIO, EVFILT_LIO] {
        if !complete(&looper, filter, Token(usize::MAX - 1)) {
            return;
        }
        looper.until("the completion", |event| {
            assert_eq!(event.token(), Token(usize::MAX - 1));
            assert_eq!(event.is_aio(), filter == EVFILT_AIO);
            assert_eq!(event.is_lio(), filter == EVFILT_LIO);
            assert_eq!(util::Seen::of(event), util::Seen::default());
            true
        });
        looper.assert_quiet();
    }
}

/// The program may have asked for completions with any flags and identities, such as those of a source.
#[test]
fn a_completion_is_no_event_of_a_one_shot_source() {
    const SOURCE: Token = Token(1);
    const COMPLETION: Token = Token(2);
    let mut looper = Loop::new(Backend::Kqueue);
    let (mut stream, _peer) = util::stream_pair();
    looper.register(&mut stream, SOURCE, Interest::WRITABLE.oneshot());
    for ident in [stream.as_raw_fd() as usize, 0x1000] {
        if !complete_with(&looper, ident, EVFILT_AIO, EV_DISPATCH, COMPLETION) {
            return;
        }
        looper.until("the completion", |event| {
            event.token() == COMPLETION && event.is_aio()
        });
    }
    looper.assert_quiet();
    looper.reregister(&mut stream, SOURCE, Interest::WRITABLE.oneshot());
    complete_with(
        &looper,
        stream.as_raw_fd() as usize,
        EVFILT_AIO,
        EV_DISPATCH,
        COMPLETION,
    );
    let mut seen = Vec::new();
    looper.until("both", |event| {
        seen.push((event.token(), event.is_aio(), event.is_writable()));
        seen.len() == 2
    });
    seen.sort();
    let expected = [(SOURCE, false, true), (COMPLETION, true, false)];
    assert_eq!(seen, expected);
}

#[test]
fn aio_and_lio_are_interests_of_their_own() {
    let both = Interest::AIO | Interest::LIO;
    assert!(both.is_aio() && both.is_lio() && !both.is_readable() && !both.is_writable());
    assert_eq!(format!("{both:?}"), "AIO | LIO");
}
