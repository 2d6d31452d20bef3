//! The C functions.

use std::ffi::{c_int, c_void};

use crate::abi::Kevent;
use crate::descriptor::Kind;
use crate::model;
use crate::observer::{observed, Call};
use crate::os::{self, answer};
use crate::queue::Events;
use crate::wait;

/// Opens a kqueue. Like FreeBSD's, it is not closed on exec.
///
/// # Safety
///
/// It has no memory-safety preconditions. It is `unsafe` as a C function.
#[no_mangle]
pub unsafe extern "C" fn kqueue() -> c_int {
    observed(Call::Kqueue, || answer(model::lock().open()))
}

/// Makes changes, then waits for events: kqueue(2).
///
/// # Safety
///
/// `nchanges` entries can be read from `changelist`, and `nevents` written to `eventlist`. The two
/// may overlap. `timeout` is null or points to a `timespec`.
#[no_mangle]
pub unsafe extern "C" fn kevent(
    kq: c_int,
    changelist: *const Kevent,
    nchanges: c_int,
    eventlist: *mut Kevent,
    nevents: c_int,
    timeout: *const libc::timespec,
) -> c_int {
    let call = match nchanges {
        0 => Call::Wait,
        _ => Call::Changes,
    };
    let (Ok(nchanges), Ok(nevents)) = (usize::try_from(nchanges), usize::try_from(nevents)) else {
        return answer(Err(libc::EINVAL));
    };
    // SAFETY: the caller guarantees `nchanges` entries. Each is read before the entry at its index
    // is written to `eventlist`.
    let changes = (0..nchanges).map(|i| unsafe { changelist.add(i).read() });
    // SAFETY: the caller guarantees it.
    let events = unsafe { Events::new(eventlist, nevents) };
    // SAFETY: as above.
    let timeout = unsafe { timeout.as_ref() };
    observed(call, || {
        answer(wait::kevent(kq, changes, events, timeout).map(|len| len as c_int))
    })
}

/// The model's own: how much is registered with a kqueue, by descriptors and by the program's own
/// events. `None` where the descriptor is no kqueue.
pub fn registrations(kq: c_int) -> Option<usize> {
    let mut model = model::lock();
    let index = model.find(kq).ok()?;
    Some(model.with(index, |queue, _| queue.registrations()))
}

/// A function of the model: reports that an asynchronous operation is complete whose `sigevent`
/// named the kqueue.
///
/// Queues the one-shot event that a BSD's kernel would queue, with `filter` `EVFILT_AIO` or
/// `EVFILT_LIO`, and `EV_ONESHOT` added to `flags`. Returns 0; or -1 with EBADF, or with EINVAL for
/// another filter.
///
/// # Safety
///
/// It has no memory-safety preconditions. It is `unsafe` as a C function.
#[no_mangle]
pub unsafe extern "C" fn kqueue_model_complete(
    kq: c_int,
    ident: usize,
    filter: i16,
    flags: u16,
    data: isize,
    udata: *mut c_void,
) -> c_int {
    use crate::abi::{EVFILT_AIO, EVFILT_LIO};

    if filter != EVFILT_AIO && filter != EVFILT_LIO {
        return answer(Err(libc::EINVAL));
    }
    let event = Kevent {
        ident,
        filter,
        flags,
        fflags: 0,
        data,
        udata,
    };
    let mut model = model::lock();
    let completed = model
        .find(kq)
        .map(|index| model.with(index, |queue, _| queue.complete(event)));
    answer(completed.map(|()| 0))
}

/// close(2), replacing the C library's: removes the knotes of the descriptor as well.
///
/// # Safety
///
/// That of close(2): the caller owns the descriptor.
#[no_mangle]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    observed(Call::Close, || close_and_forget(fd))
}

fn close_and_forget(fd: c_int) -> c_int {
    let Some(mut model) = model::lock_if_used() else {
        return os::close(fd);
    };
    if !model.closing(fd) {
        // It may take long (SO_LINGER).
        drop(model);
        return os::close(fd);
    }
    let result = os::close(fd);
    let errno = os::errno();
    model.closed(fd);
    drop(model);
    os::set_errno(errno);
    result
}

/// dup2(2), replacing the C library's: closes the descriptor `new`.
///
/// # Safety
///
/// That of dup2(2): the caller owns the descriptor `new`.
#[no_mangle]
pub unsafe extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if old == new {
        return if os::is_open(old) { new } else { -1 };
    }
    replace(old, new, 0)
}

/// dup3(2), replacing the C library's: closes the descriptor `new`.
///
/// # Safety
///
/// That of dup3(2): the caller owns the descriptor `new`.
#[no_mangle]
pub unsafe extern "C" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    replace(old, new, flags)
}

/// write(2), in the place of the C library's: a Unix datagram socket whose peer is full has another
/// error on NetBSD.
///
/// # Safety
///
/// As for write(2).
#[no_mangle]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    // SAFETY: the caller answers for it.
    let sent = unsafe { libc::syscall(libc::SYS_write, fd, bytes, count) };
    full_peer(fd, sent as isize)
}

/// sendto(2), in the place of the C library's, as `write`.
///
/// # Safety
///
/// As for sendto(2).
#[no_mangle]
pub unsafe extern "C" fn sendto(
    fd: c_int,
    bytes: *const c_void,
    count: usize,
    flags: c_int,
    to: *const libc::sockaddr,
    to_len: libc::socklen_t,
) -> isize {
    // SAFETY: the caller answers for it.
    let sent = unsafe { libc::syscall(libc::SYS_sendto, fd, bytes, count, flags, to, to_len) };
    full_peer(fd, sent as isize)
}

/// NetBSD has ENOBUFS where Linux has EAGAIN.
fn full_peer(fd: c_int, sent: isize) -> isize {
    if sent < 0 && os::errno() == libc::EAGAIN && os::is_netbsd() {
        let is_unix_datagram = Kind::of(fd) == Ok(Kind::Datagram) && os::is_unix(fd);
        os::set_errno(match is_unix_datagram {
            true => libc::ENOBUFS,
            false => libc::EAGAIN,
        });
    }
    sent
}

fn replace(old: c_int, new: c_int, flags: c_int) -> c_int {
    let model = model::lock_if_used().filter(|_| old != new && os::is_open(old));
    let Some(mut model) = model else {
        return os::dup3(old, new, flags);
    };
    let was_queue = model.closing(new);
    let result = os::dup3(old, new, flags);
    let errno = os::errno();
    if was_queue {
        model.closed(new);
    }
    drop(model);
    os::set_errno(errno);
    result
}
