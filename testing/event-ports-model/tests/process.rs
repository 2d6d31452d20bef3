//! What ports cost their process and leave behind in it, and their state in a child process, by the
//! rows of `semantics.md`.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use event_ports_model as model;
use support::*;

const IN: i16 = libc::POLLIN;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every method passes its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller guarantees the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The open descriptors of the process.
fn descriptors() -> BTreeSet<RawFd> {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut numbers: BTreeSet<RawFd> = folder
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // Not that of the folder, which is closed now.
    // SAFETY: `fcntl` has no memory-safety preconditions with these arguments.
    numbers.retain(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0);
    numbers
}

#[test]
fn nothing_is_allocated_after_the_first_turn() {
    let name = "nothing_is_allocated_after_the_first_turn";
    alone(name, &[], || {
        let (port, (mut a, mut b)) = (Port::new(), pair());
        let (other, mut list) = (Port::new(), [NO_EVENT; 300]);
        let timeout = timespec(std::time::Duration::from_micros(1));
        let mut turn = || {
            port.associate(&b, IN, 1).unwrap();
            port.associate(&a, IN | libc::POLLOUT, 2).unwrap();
            a.write_all(b"x").unwrap();
            let closed = duplicate(&b);
            associate(port.0, FD, closed as usize, IN.into(), 3).unwrap();
            model::close(closed);
            other.associate(&port, IN, 4).unwrap();
            (0..200).for_each(|user| port.send(0, user).unwrap());
            let mut nget = 1;
            // SAFETY: the pointers are valid, and the list has 300 events.
            unsafe {
                model::port_getn(port.0, list.as_mut_ptr(), 300, &mut nget, &timeout);
                assert_eq!(nget, 202);
                // Waits, by both functions.
                port.send(0, 0).unwrap();
                for wanted in [2, 1] {
                    nget = wanted;
                    model::port_getn(port.0, list.as_mut_ptr(), 300, &mut nget, &timeout);
                }
            }
            let _ = port.dissociate(&b);
            b.read_exact(&mut [0]).unwrap();
            other.dissociate(&port).unwrap();
        };
        turn();
        let before = ALLOCATIONS.get();
        assert!(before > 0, "they are counted");
        (0..100).for_each(|_| turn());
        assert_eq!(ALLOCATIONS.get(), before);
    });
}

#[test]
fn a_closed_port_leaves_no_descriptor() {
    alone("a_closed_port_leaves_no_descriptor", &[], || {
        let (mut a, b) = pair();
        let before = descriptors();
        for _ in 0..50 {
            let ports = [Port::new(), Port::new()];
            ports[0].associate(&b, IN, 0).unwrap();
            ports[0].associate(&ports[1], IN, 0).unwrap();
            ports[1].send(0, 0).unwrap();
        }
        assert_eq!(descriptors(), before);

        // Neither does a port that was closed while a thread waited.
        let port = std::mem::ManuallyDrop::new(Port::new());
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let port = &port;
            scope.spawn(move || {
                sender.send(thread_id()).unwrap();
                port.get(LONG)
            });
            until_waiting(receiver.recv().unwrap());
            model::close(port.0);
        });
        assert_eq!(descriptors(), before);
        // The sockets have not changed.
        a.write_all(b"x").unwrap();
        assert!(readable(b.as_raw_fd()));
    });
}

#[test]
fn a_port_is_kept_on_exec_and_nothing_else_is() {
    alone("a_port_is_kept_on_exec_and_nothing_else_is", &[], || {
        let before = descriptors();
        let port = Port::new();
        for fd in &descriptors() - &before {
            // SAFETY: `fcntl` with F_GETFD has no memory-safety preconditions.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC == 0, fd == port.0);
        }
    });
}

#[test]
fn creating_without_a_free_descriptor_is_emfile() {
    alone("creating_without_a_free_descriptor_is_emfile", &[], || {
        let before = descriptors();
        let first_free = (0..).find(|fd| !before.contains(fd)).unwrap();
        let mut succeeded = false;
        for limit in first_free..first_free + 10 {
            let limits = libc::rlimit {
                rlim_cur: limit as u64,
                rlim_max: 100,
            };
            // SAFETY: the pointer is valid.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) }, 0);
            let port = model::port_create();
            if port < 0 {
                assert_eq!(errno(), libc::EMFILE);
                assert!(!succeeded);
            } else {
                succeeded = true;
                model::close(port);
            }
        }
        assert!(succeeded);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_closed_port_is_none() {
    alone("a_closed_port_is_none", &[], || {
        let port = Port::new();
        let number = port.0;
        drop(port);
        assert_eq!(model::port_send(number, 0, 0 as _), -1);
        assert_eq!(errno(), libc::EBADF);
        // The next one has its descriptor, and none of its state.
        let port = Port::new();
        assert_eq!(port.0, number);
        assert_eq!(port.users(), []);
    });
}

#[test]
fn a_duplicate_of_a_port_is_the_port() {
    alone("a_duplicate_of_a_port_is_the_port", &[], || {
        let before = descriptors();
        let port = Port::new();
        let other = Port(duplicate(&port));
        let (_a, b) = pair();
        other.send(0, 1).unwrap();
        assert_eq!(port.users(), [1]);
        port.send(0, 2).unwrap();
        other.associate(&b, libc::POLLOUT, 3).unwrap();
        // Closing one ends the associations, but neither the port nor the events that were sent.
        drop(port);
        assert_eq!(other.users(), [2]);
        other.associate(&b, libc::POLLOUT, 4).unwrap();
        assert_eq!(other.users(), [4]);
        drop((other, _a, b));
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn close_answers_as_ever() {
    alone("close_answers_as_ever", &[], || {
        for ports in 0..2 {
            let _ports: Vec<_> = (0..ports).map(|_| Port::new()).collect();
            assert_eq!((model::close(-1), errno()), (-1, libc::EBADF));
            assert_eq!((model::close(1000), errno()), (-1, libc::EBADF));
            let (a, _b) = pair();
            assert_eq!(model::close(duplicate(&a)), 0);
        }
    });
}

#[test]
fn a_child_that_closes_what_it_inherited_does_not_harm_its_parent() {
    let name = "a_child_that_closes_what_it_inherited_does_not_harm_its_parent";
    alone(name, &[], || {
        let (port, (mut a, b), (c, d)) = (Port::new(), pair(), pair());
        port.associate(&b, IN, 1).unwrap();
        port.associate(&d, libc::POLLOUT, 2).unwrap();
        in_child(|| {
            let inherited = [b.as_raw_fd(), d.as_raw_fd(), port.0];
            inherited.map(|fd| model::close(fd)) == [0; 3]
        });
        a.write_all(b"x").unwrap();
        assert_eq!(port.users(), [2, 1]);
        port.associate(&b, IN, 3).unwrap();
        assert_eq!(port.users(), [3]);
        drop(c);
    });
}

/// vfork(2) creates such a child, which then executes another program.
#[test]
fn a_child_in_its_parents_memory_does_not_harm_its_parent() {
    extern "C" fn closes(fd: *mut libc::c_void) -> i32 {
        model::close(fd as i32)
    }

    let name = "a_child_in_its_parents_memory_does_not_harm_its_parent";
    alone(name, &[], || {
        let (port, (mut a, b)) = (Port::new(), pair());
        port.associate(&b, IN, 1).unwrap();
        let mut stack = vec![0u128; 1 << 14];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let mut status = -1;
        // SAFETY: the child has a stack and descriptors of its own. This thread continues when the
        // child has ended.
        unsafe {
            let top = stack.as_mut_ptr_range().end.cast();
            let child = libc::clone(closes, top, flags, b.as_raw_fd() as _);
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
        }
        assert_eq!(status, 0);
        a.write_all(b"x").unwrap();
        assert_eq!(port.users(), [1]);
    });
}

#[test]
fn a_child_has_ports_of_its_own() {
    alone("a_child_has_ports_of_its_own", &[], || {
        let (port, (mut a, b)) = (Port::new(), pair());
        port.associate(&b, IN, 1).unwrap();
        in_child(|| {
            // The model's ports are not shared, although real ones are.
            assert_eq!(port.send(0, 0), Err(libc::EBADFD));
            let own = Port::new();
            own.associate(&b, IN, 2).unwrap();
            (&a).write_all(b"x").unwrap();
            let users = own.users();
            own.associate(&b, IN, 3).unwrap();
            drop(own);
            users == [2]
        });
        assert_eq!(port.users(), [1]);
        a.write_all(b"x").unwrap();
        assert_eq!(port.users(), []);
    });
}

#[test]
fn a_child_forked_in_the_middle_of_calls_does_not_hang() {
    let name = "a_child_forked_in_the_middle_of_calls_does_not_hang";
    alone(name, &[], || {
        let (port, done) = (Port::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let (_a, b) = pair();
                    while !done.load(Ordering::SeqCst) {
                        port.associate(&b, libc::POLLOUT, 0).unwrap();
                        let _ = port.dissociate(&b);
                    }
                });
            }
            for _ in 0..100 {
                in_child(|| {
                    model::close(port.0);
                    let own = Port::new();
                    own.send(0, 7).unwrap();
                    own.users() == [7]
                });
            }
            done.store(true, Ordering::SeqCst);
        });
    });
}

#[test]
fn a_started_program_does_not_harm_its_parent() {
    let (port, (mut a, b)) = (Port::new(), pair());
    port.associate(&b, IN, 1).unwrap();
    let status = std::process::Command::new("true").status().unwrap();
    assert!(status.success());
    a.write_all(b"x").unwrap();
    assert_eq!(port.users(), [1]);
}
