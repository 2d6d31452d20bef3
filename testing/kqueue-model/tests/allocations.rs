//! `kevent` allocates nothing after the tables have grown.

#![cfg(not(kqueue_library))]

mod util;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::ptr;

use kqueue_model::abi::*;

use util::{pair, read, user, write, Kq, ADD, DELETE};

struct Counting;

thread_local! {
    /// The allocations of this thread: the test harness has a thread of its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every method passes its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller guarantees the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_allocated_by_changes_and_events() {
    let kq = Kq::new();
    let (mut a, mut b) = pair();
    let changes = [
        write(&a, ADD, 1),
        read(&a, ADD, 2),
        user(0, ADD, 0, 3),
        user(0, EV_ADD | EV_RECEIPT, NOTE_TRIGGER, 3),
    ];
    let deletes = [
        write(&a, DELETE, 1),
        read(&a, DELETE, 2),
        user(0, DELETE, 0, 3),
    ];
    let mut room = [Kevent::EMPTY; 8];
    let call = |changes: &[Kevent], room: &mut [Kevent]| {
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1,
        };
        // SAFETY: the pointers and lengths are those of slices.
        unsafe {
            kqueue_model::kevent(
                kq.fd(),
                changes.as_ptr(),
                changes.len() as i32,
                room.as_mut_ptr(),
                room.len() as i32,
                ptr::from_ref(&now),
            )
        }
    };
    let mut counts = Vec::with_capacity(3);
    for _ in 0..3 {
        let before = ALLOCATIONS.get();
        for _ in 0..10 {
            b.write_all(b"x").unwrap();
            assert_eq!(call(&changes, &mut room), 4);
            assert_eq!(call(&[], &mut room), 3);
            assert_eq!(call(&[], &mut room), 0);
            a.read_exact(&mut [0]).unwrap();
            assert_eq!(call(&deletes, &mut room), 3);
        }
        counts.push(ALLOCATIONS.get() - before);
    }
    // The first round makes the tables grow.
    assert!(counts[0] > 0);
    assert_eq!(counts[1..], [0, 0]);
}
