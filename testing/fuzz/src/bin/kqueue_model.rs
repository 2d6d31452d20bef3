//! Any calls of the model of kqueue, with any arguments: it does not panic, writes no more than there is
//! room for, and leaves no descriptor.

#![no_main]

use std::ffi::c_void;
use std::os::raw::c_int;

use fuzz::{Descriptors, Kind, Number, Timeout};
use kqueue_model::abi::{
    Kevent, EVFILT_AIO, EVFILT_LIO, EVFILT_PROC, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, EV_ADD,
    EV_ERROR,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

// The model's functions, as a program declares them.
extern "C" {
    fn kqueue() -> c_int;
    fn kevent(
        kq: c_int,
        changelist: *const Kevent,
        nchanges: c_int,
        eventlist: *mut Kevent,
        nevents: c_int,
        timeout: *const libc::timespec,
    ) -> c_int;
    fn kqueue_model_complete(
        kq: c_int,
        ident: usize,
        filter: i16,
        flags: u16,
        data: isize,
        udata: *mut c_void,
    ) -> c_int;
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Filter {
    Read,
    Write,
    User,
    Process,
    Aio,
    Lio,
    Any(i16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Change {
    ident: Number,
    filter: Filter,
    adds: bool,
    flags: u16,
    fflags: u32,
    data: isize,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Queue(u8),
    Open(u8, Kind),
    Close(u8),
    Replace {
        old: u8,
        new: u8,
    },
    Write(u8),
    Read(u8),
    Call {
        /// `None`: the first one.
        queue: Option<u8>,
        changes: Vec<Change>,
        room: u8,
        /// The changes are where the events go.
        overlaps: bool,
        timeout: Timeout,
    },
    Negative {
        queue: u8,
        changes: i8,
        room: i8,
    },
    Complete {
        queue: u8,
        change: Change,
    },
}

#[derive(Arbitrary, Debug)]
struct Program {
    noisy: bool,
    zombies: bool,
    without_user: bool,
    limited: bool,
    writing_to_receivers: u8,
    /// What is there at first, beside a kqueue.
    kinds: [Kind; 2],
    ops: Vec<Op>,
}

/// What no call writes.
const GUARD: Kevent = Kevent {
    ident: 0x5e5e_5e5e,
    filter: 0x5e5e,
    flags: 0x5e5e,
    fflags: 0x5e5e_5e5e,
    data: 0x5e5e_5e5e,
    udata: std::ptr::null_mut(),
};

fuzz_target!(|program: Program| {
    fuzz::ignore_sigpipe();
    let switch = |name: &str, value: &str| std::env::set_var(format!("KQUEUE_MODEL_{name}"), value);
    let on = |is_on| if is_on { "1" } else { "0" };
    switch("NOISY", on(program.noisy));
    switch("ZOMBIES", on(program.zombies));
    switch("WITHOUT_USER", on(program.without_user));
    switch("MAX_USER", if program.limited { "2" } else { "" });
    let what = ["", "refused", "reported"][usize::from(program.writing_to_receivers) % 3];
    switch("WRITING_TO_RECEIVERS", what);

    let before = fuzz::open_descriptors();
    // SAFETY: the program owns what it closes.
    let mut descriptors = Descriptors::new(|fd| unsafe { libc::close(fd) });
    run(&mut descriptors, Op::Queue(0));
    descriptors.open(1, program.kinds[0]);
    descriptors.open(3, program.kinds[1]);
    for op in program.ops.into_iter().take(64) {
        run(&mut descriptors, op);
    }
    drop(descriptors);
    assert_eq!(fuzz::open_descriptors(), before, "descriptors are left");
});

fn change(descriptors: &Descriptors, change: Change) -> Kevent {
    Kevent {
        ident: descriptors.number(change.ident),
        filter: match change.filter {
            Filter::Read => EVFILT_READ,
            Filter::Write => EVFILT_WRITE,
            Filter::User => EVFILT_USER,
            Filter::Process => EVFILT_PROC,
            Filter::Aio => EVFILT_AIO,
            Filter::Lio => EVFILT_LIO,
            Filter::Any(filter) => filter,
        },
        flags: change.flags | if change.adds { EV_ADD } else { 0 },
        fflags: change.fflags,
        data: change.data,
        udata: std::ptr::null_mut(),
    }
}

fn run(descriptors: &mut Descriptors, op: Op) {
    match op {
        Op::Queue(slot) => {
            // SAFETY: it has no memory-safety preconditions.
            let queue = unsafe { kqueue() };
            assert!(queue >= 0);
            descriptors.put(slot, queue);
        }
        Op::Open(slot, kind) => descriptors.open(slot, kind),
        Op::Close(slot) => descriptors.close(slot),
        Op::Replace { old, new } => {
            let (old, new) = (descriptors.get(old), descriptors.get(new));
            // SAFETY: both are the program's.
            unsafe { libc::dup2(old, new) };
        }
        Op::Write(slot) => descriptors.transfer(slot, true),
        Op::Read(slot) => descriptors.transfer(slot, false),
        Op::Call {
            queue,
            changes,
            room,
            overlaps,
            timeout,
        } => {
            let room = usize::from(room % 8);
            let changes = changes.into_iter().take(8);
            let changes: Vec<Kevent> = changes.map(|one| change(descriptors, one)).collect();
            let mut list = vec![GUARD; room.max(changes.len()) + 2];
            let timeout = timeout.timespec();
            let from = match overlaps {
                true => {
                    list[..changes.len()].copy_from_slice(&changes);
                    list.as_ptr()
                }
                false => changes.as_ptr(),
            };
            // SAFETY: there are as many changes, and room for as many events, in lists that may overlap. The
            // timeout is valid.
            let count = unsafe {
                kevent(
                    descriptors.get(queue.unwrap_or(0)),
                    from,
                    changes.len() as c_int,
                    list.as_mut_ptr(),
                    room as c_int,
                    &timeout,
                )
            };
            assert!((-1..=room as c_int).contains(&count), "{count} of {room}");
            let untouched = match overlaps {
                true => room.max(changes.len()),
                false => room,
            };
            assert!(list[untouched..].iter().all(|entry| *entry == GUARD));
            for event in &list[..count.max(0) as usize] {
                let is_known = [
                    EVFILT_READ,
                    EVFILT_WRITE,
                    EVFILT_USER,
                    EVFILT_PROC,
                    EVFILT_AIO,
                    EVFILT_LIO,
                ]
                .contains(&event.filter);
                assert!(is_known || event.flags & EV_ERROR != 0, "{event:?}");
            }
        }
        Op::Negative {
            queue,
            changes,
            room,
        } => {
            let (changes, room) = (changes.min(0), room.min(0));
            if (changes, room) == (0, 0) {
                return;
            }
            let (queue, null) = (descriptors.get(queue), std::ptr::null_mut());
            let timeout = Timeout::Zero.timespec();
            // SAFETY: no entry is read or written, for there is none.
            let refused =
                unsafe { kevent(queue, null, changes.into(), null, room.into(), &timeout) };
            assert_eq!(refused, -1);
        }
        Op::Complete { queue, change: one } => {
            let event = change(descriptors, one);
            // SAFETY: it has no memory-safety preconditions.
            unsafe {
                kqueue_model_complete(
                    descriptors.get(queue),
                    event.ident,
                    event.filter,
                    event.flags,
                    event.data,
                    event.udata,
                )
            };
        }
    }
}
