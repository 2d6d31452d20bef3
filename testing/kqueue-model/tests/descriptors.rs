//! Descriptors: the kqueue's own, the model's, and kinds that are not in `netbsd.txt`.

#![cfg(not(kqueue_library))]

mod util;

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use kqueue_model::abi::*;

use util::evidence::{alone, beside_others};
use util::{entry, kevent, pair, read, tcp, token, user, write, Kq, ADD, DELETE, LONG, SHORT};

fn is_close_on_exec(fd: RawFd) -> bool {
    // SAFETY: the call has no memory-safety preconditions.
    unsafe { libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

fn open_descriptors() -> Vec<RawFd> {
    let folder = fs::read_dir("/proc/self/fd").unwrap();
    let number = |entry: fs::DirEntry| entry.file_name().to_str().unwrap().parse().unwrap();
    let mut numbers: Vec<RawFd> = folder.map(|entry| number(entry.unwrap())).collect();
    // One was that of the folder.
    // SAFETY: the call has no memory-safety preconditions.
    numbers.retain(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0);
    numbers
}

#[test]
fn nothing_is_left_of_a_kqueue_that_is_closed() {
    let _company = alone();
    let before = open_descriptors();
    for round in 0..300 {
        let kq = Kq::new();
        let (a, _b) = pair();
        kq.apply(&[read(&a, ADD, 1), write(&a, ADD, 2), user(0, ADD, 0, 3)]);
        kq.poll(LONG);
        // All ways in which the last descriptor may disappear.
        let duplicate = kq.duplicate();
        match round % 4 {
            0 => drop((kq, duplicate)),
            1 => drop((duplicate, kq)),
            2 => {
                kevent(duplicate.fd(), &[], 1, Some(SHORT / 20)).unwrap();
                drop((kq, duplicate));
            }
            _ => {
                drop(duplicate);
                // SAFETY: this test owns both, and they stay open.
                let fd = unsafe { libc::dup2(a.as_raw_fd(), kq.fd()) };
                assert_eq!(fd, kq.fd());
                let error = kevent(kq.fd(), &[], 1, None).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
            }
        }
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
fn what_a_kqueue_watches_is_not_kept_open() {
    let _company = beside_others();
    let kq = Kq::new();
    let (a, mut b) = pair();
    kq.apply(&[read(&a, ADD, 1), write(&a, ADD, 2)]);
    drop(a);
    assert_eq!(b.read(&mut [0]).unwrap(), 0);
}

#[test]
fn only_the_kqueue_itself_is_open_in_another_program() {
    let _company = alone();
    let before = open_descriptors();
    let kq = Kq::new();
    let mut new = open_descriptors();
    new.retain(|fd| !before.contains(fd));
    assert!(new.len() <= 4, "{new:?}");
    new.retain(|fd| !is_close_on_exec(*fd));
    assert_eq!(new, [kq.fd()]);
}

/// The exit status of a forked child: 0 if all is well.
fn in_child(act: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child calls nothing that another thread may have been using, except for the
    // allocator, which the C library keeps usable.
    match unsafe { libc::fork() } {
        0 => {
            let answer = act();
            // SAFETY: `_exit` ends the process, and runs no code of it.
            unsafe { libc::_exit(answer) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the child is this test's.
            let waited = unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(waited, child);
            assert!(libc::WIFEXITED(status), "{status}");
            libc::WEXITSTATUS(status)
        }
    }
}

#[test]
fn a_forked_child_has_no_kqueue_and_does_no_harm() {
    let _company = alone();
    let kq = Kq::new();
    let (a, mut b) = pair();
    kq.apply(&[read(&a, ADD, 1), user(0, ADD, 0, 2)]);
    let fd = kq.fd();
    let watched = a.as_raw_fd();
    let answer = in_child(|| {
        let mut room = [Kevent::EMPTY; 1];
        let no_time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the list has one element, and the descriptors are not used any more.
        unsafe {
            let answer =
                kqueue_model::kevent(fd, std::ptr::null(), 0, room.as_mut_ptr(), 1, &no_time);
            if answer != -1 || *libc::__errno_location() != libc::EBADF {
                return 1;
            }
            if libc::close(fd) != -1 {
                return 2;
            }
            if libc::close(watched) != 0 {
                return 3;
            }
        }
        0
    });
    assert_eq!(answer, 0);
    b.write_all(b"x").unwrap();
    assert_eq!(kq.event().udata, token(1));
    kq.apply(&[user(0, EV_ADD | EV_RECEIPT, NOTE_TRIGGER, 2)]);
    assert_eq!(kq.event().udata, token(2));
}

#[test]
fn a_forked_child_can_have_kqueues_of_its_own() {
    let _company = alone();
    let _kq = Kq::new();
    let answer = in_child(|| {
        let before = open_descriptors().len();
        let kq = Kq::new();
        let (a, mut b) = pair();
        kq.apply(&[read(&a, ADD, 1)]);
        b.write_all(b"x").unwrap();
        kq.event();
        drop((kq, a, b));
        i32::from(open_descriptors().len() != before)
    });
    assert_eq!(answer, 0);
}

#[test]
fn a_kqueue_can_be_polled() {
    let _company = beside_others();
    let kq = Kq::new();
    let is_readable = || {
        let mut entry = libc::pollfd {
            fd: kq.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the pointer refers to one entry.
        assert!(unsafe { libc::poll(&mut entry, 1, 0) } >= 0);
        entry.revents == libc::POLLIN
    };
    let (a, mut b) = pair();
    kq.apply(&[read(&a, ADD, 1), user(0, ADD, 0, 2)]);
    assert!(!is_readable());
    // No thread is in `kevent` when it happens.
    b.write_all(b"x").unwrap();
    assert!(is_readable());
    assert_eq!(kq.event().udata, token(1));
    assert!(!is_readable());
    kq.apply(&[user(0, EV_ADD | EV_RECEIPT, NOTE_TRIGGER, 2)]);
    assert!(is_readable());
    kq.event();
    assert!(!is_readable());
    // As long as anything is registered.
    kq.apply(&[read(&a, ADD, 1), write(&a, ADD, 2)]);
    assert_eq!(kevent(kq.fd(), &[], 1, None).unwrap().len(), 1);
    assert!(is_readable());
    // A descriptor that is not registered any more has no effect on it.
    kq.apply(&[read(&a, DELETE, 0), write(&a, DELETE, 0)]);
    assert!(!is_readable());
    b.write_all(b"x").unwrap();
    assert!(!is_readable());
}

#[test]
fn kqueues_can_be_nested_in_kqueues_and_in_epoll() {
    let _company = beside_others();
    let (a, mut b) = pair();
    let (inner, outer) = (Kq::new(), Kq::new());
    inner.apply(&[read(&a, ADD, 1)]);
    outer.apply(&[read(&inner.0, ADD, 2)]);
    // SAFETY: the call has no memory-safety preconditions, and has just opened this descriptor,
    // which nothing else owns.
    let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 7,
    };
    // SAFETY: `event` outlives the call.
    let result = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            outer.fd(),
            &mut event,
        )
    };
    assert_eq!(result, 0);
    b.write_all(b"x").unwrap();
    // SAFETY: the list has one element.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 10_000) };
    assert_eq!((count, event.u64), (1, 7));
    let event = outer.event();
    assert_eq!((event.udata, event.data), (token(2), 1));
    inner.event();
    outer.nothing();
}

#[test]
fn an_edge_of_a_registration_that_is_gone_is_not_the_next_ones() {
    let _company = alone();
    let kq = Kq::new();
    let (a, mut b) = pair();
    let _duplicate = a.try_clone().unwrap();
    kq.apply(&[read(&a, ADD, 1)]);
    // The model does not see this, so epoll continues to watch the duplicate.
    // SAFETY: the descriptor is closed once, because `a` is not dropped.
    unsafe { libc::syscall(libc::SYS_close, a.as_raw_fd()) };
    mem::forget(a);
    b.write_all(b"x").unwrap();
    kq.nothing();
    let (c, mut d) = pair();
    kq.apply(&[read(&c, ADD, 2)]);
    d.write_all(b"x").unwrap();
    assert_eq!(kq.event().udata, token(2));
    b.write_all(b"x").unwrap();
    kq.nothing();
}

/// A path of this test only, removed at the end.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Path {
        let name = format!("kqueue-model-{}-{name}", std::process::id());
        Path(std::env::temp_dir().join(name))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn writers_of_a_fifo_come_and_go() {
    let _company = beside_others();
    let path = Path::new("fifo");
    let name = CString::new(path.0.to_str().unwrap()).unwrap();
    // SAFETY: the name ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let open = |options: &mut OpenOptions| {
        let options = options.custom_flags(libc::O_NONBLOCK);
        options.open(&path.0).unwrap()
    };
    let kq = Kq::new();
    let mut reader = open(OpenOptions::new().read(true));
    kq.apply(&[read(&reader, ADD, 1)]);
    kq.nothing();
    for _ in 0..2 {
        let mut writer = open(OpenOptions::new().write(true));
        kq.nothing();
        writer.write_all(b"x").unwrap();
        let event = kq.event();
        assert_eq!((event.flags & EV_EOF, event.data), (0, 1));
        reader.read_exact(&mut [0]).unwrap();
        drop(writer);
        let event = kq.event();
        assert_eq!((event.flags & EV_EOF, event.data), (EV_EOF, 0));
        kq.nothing();
    }
}

#[test]
fn a_file_is_readable_when_not_at_its_end() {
    let _company = beside_others();
    let path = Path::new("file");
    fs::write(&path.0, b"abc").unwrap();
    let mut file = File::open(&path.0).unwrap();
    let kq = Kq::new();
    kq.apply(&[read(&file, ADD, 1)]);
    assert_eq!(kq.event().data, 3);
    kq.nothing();
    file.seek(SeekFrom::End(0)).unwrap();
    kq.apply(&[read(&file, ADD, 1)]);
    kq.nothing();
    kq.apply(&[write(&file, ADD, 1)]);
    assert_eq!(kq.event().filter, EVFILT_WRITE);
    drop(file);
    let null = OpenOptions::new().read(true).open("/dev/null").unwrap();
    kq.apply(&[read(&null, ADD, 1), write(&null, ADD, 1)]);
    assert_eq!(kq.poll(LONG).len(), 2);
}

#[test]
fn an_eventfd_is_readable_while_it_counts() {
    let _company = beside_others();
    let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
    // SAFETY: the call has no memory-safety preconditions, and has just opened this descriptor,
    // which nothing else owns.
    let mut eventfd = unsafe { File::from_raw_fd(libc::eventfd(0, flags)) };
    let kq = Kq::new();
    kq.apply(&[read(&eventfd, ADD, 1)]);
    kq.nothing();
    for _ in 0..2 {
        eventfd.write_all(&1_u64.to_ne_bytes()).unwrap();
        kq.event();
        kq.nothing();
    }
}

#[test]
fn unix_listeners_and_datagrams_are_readable() {
    let _company = beside_others();
    let path = Path::new("socket");
    let listener = UnixListener::bind(&path.0).unwrap();
    let kq = Kq::new();
    kq.apply(&[read(&listener, ADD, 1), write(&listener, ADD, 1)]);
    kq.nothing();
    let _client = std::os::unix::net::UnixStream::connect(&path.0).unwrap();
    assert_eq!(kq.event().filter, EVFILT_READ);

    let (a, b) = UnixDatagram::pair().unwrap();
    kq.apply(&[read(&a, ADD, 2)]);
    kq.nothing();
    b.send(b"abc").unwrap();
    assert_eq!(kq.event().data, 3);
}

#[test]
fn nothing_but_descriptors_can_be_watched() {
    let _company = beside_others();
    let kq = Kq::new();
    for ident in [usize::MAX, i32::MAX as usize + 1, 1 << 30] {
        let change = Kevent {
            ident,
            ..read(&0, ADD, 1)
        };
        let receipts = kq.change(&[change]).unwrap();
        assert_eq!(receipts[0].data, libc::EBADF as isize);
    }
    // EVFILT_VNODE, which is not modelled.
    let (a, _b) = tcp();
    let receipts = kq.change(&[entry(&a, -4, ADD, 1)]).unwrap();
    assert_eq!(receipts[0].data, libc::EINVAL as isize);
}
