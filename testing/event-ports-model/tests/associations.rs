//! Associations of descriptors, by the rows of `semantics.md`.

mod support;

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use support::*;

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;

#[test]
fn what_is_ready_is_told_at_once() {
    let (port, (mut a, b)) = (Port::new(), pair());
    a.write_all(b"x").unwrap();
    port.associate(&b, IN | OUT, 7).unwrap();
    let events = port.now();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].portev_events, (IN | OUT).into());
    assert_eq!(events[0].portev_source, PORT_SOURCE_FD);
    assert_eq!(events[0].portev_object, b.as_raw_fd() as usize);
    assert_eq!(user(&events[0]), 7);
}

#[test]
fn what_is_not_ready_is_told_when_it_becomes_so() {
    let (port, (mut a, b)) = (Port::new(), pair());
    port.associate(&b, IN, 7).unwrap();
    assert_eq!(port.users(), []);
    a.write_all(b"x").unwrap();
    let event = port.get(LONG).unwrap();
    assert_eq!((event.portev_events, user(&event)), (IN.into(), 7));
}

#[test]
fn only_what_was_asked_for_is_told() {
    let (port, (mut a, b)) = (Port::new(), pair());
    a.write_all(b"x").unwrap();
    port.associate(&b, OUT, 7).unwrap();
    assert_eq!(port.now()[0].portev_events, OUT.into());
}

#[test]
fn retrieving_an_event_ends_the_association() {
    let (port, (mut a, b)) = (Port::new(), pair());
    port.associate(&b, IN, 7).unwrap();
    a.write_all(b"x").unwrap();
    assert_eq!(port.users(), [7]);
    a.write_all(b"y").unwrap();
    assert_eq!(port.users(), []);
    assert_eq!(port.dissociate(&b), Err(libc::ENOENT));
    port.associate(&b, IN, 8).unwrap();
    assert_eq!(port.users(), [8]);
}

#[test]
fn associating_again_replaces_events_and_user() {
    let (port, (mut a, b)) = (Port::new(), pair());
    port.associate(&b, IN, 7).unwrap();
    port.associate(&b, OUT, 8).unwrap();
    a.write_all(b"x").unwrap();
    let events = port.now();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].portev_events, user(&events[0])), (OUT.into(), 8));
    // The interest of the first association ended with it.
    assert_eq!(port.users(), []);
    (&b).read_exact(&mut [0]).unwrap();
    port.associate(&b, IN, 7).unwrap();
    port.associate(&b, OUT, 8).unwrap();
    assert_eq!(port.users(), [8]);
    a.write_all(b"x").unwrap();
    assert!(!port.is_readable());

    port.associate(&b, libc::POLLPRI, 9).unwrap();
    port.associate(&b, IN, 10).unwrap();
    assert_eq!(port.users(), [10]);
}

#[test]
fn associating_again_takes_back_a_queued_event() {
    let (port, (mut a, b)) = (Port::new(), pair());
    a.write_all(b"x").unwrap();
    port.associate(&b, IN, 7).unwrap();
    assert!(port.is_readable());
    port.associate(&b, libc::POLLPRI, 8).unwrap();
    assert!(!port.is_readable());
    assert_eq!(port.users(), []);
}

#[test]
fn a_queued_event_outlives_the_readiness() {
    let (port, (mut a, mut b)) = (Port::new(), pair());
    a.write_all(b"x").unwrap();
    port.associate(&b, IN, 7).unwrap();
    b.read_exact(&mut [0]).unwrap();
    assert!(port.is_readable());
    assert_eq!(port.users(), [7]);
}

#[test]
fn what_became_ready_is_queued_by_the_next_call() {
    let (port, (mut a, mut b), (c, _d)) = (Port::new(), pair(), pair());
    port.associate(&b, IN, 7).unwrap();
    a.write_all(b"x").unwrap();
    port.associate(&c, IN, 8).unwrap();
    b.read_exact(&mut [0]).unwrap();
    assert_eq!(port.users(), [7]);
}

#[test]
fn a_queued_event_gets_no_more_bits() {
    let (port, (mut a, b)) = (Port::new(), pair());
    port.associate(&b, IN | OUT, 7).unwrap();
    a.write_all(b"x").unwrap();
    drop(a);
    assert_eq!(port.now()[0].portev_events, OUT.into());
    // They are reported when the descriptor is associated again.
    port.associate(&b, IN, 7).unwrap();
    let told = port.now()[0].portev_events;
    assert_eq!(told, (IN | libc::POLLHUP).into());
}

#[test]
fn hang_up_and_error_are_told_unasked() {
    let (port, (a, b)) = (Port::new(), pair());
    port.associate(&b, 0, 7).unwrap();
    assert_eq!(port.users(), []);
    drop(a);
    let event = port.get(LONG).unwrap();
    assert_eq!(event.portev_events, libc::POLLHUP.into());

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    port.associate(&writer, 0, 8).unwrap();
    assert_eq!(port.now()[0].portev_events, libc::POLLERR.into());
}

#[test]
fn the_user_word_comes_back_bit_for_bit() {
    let (port, (_a, b)) = (Port::new(), pair());
    for word in [0, 1, usize::MAX, 1 << 63, 0xdead_beef_0bad_cafe] {
        port.associate(&b, OUT, word).unwrap();
        assert_eq!(port.users(), [word]);
    }
}

#[test]
fn a_descriptor_is_told_by_each_of_its_ports() {
    let (one, other, (mut a, b)) = (Port::new(), Port::new(), pair());
    one.associate(&b, IN, 1).unwrap();
    other.associate(&b, IN, 2).unwrap();
    a.write_all(b"x").unwrap();
    assert_eq!(one.users(), [1]);
    assert_eq!(other.users(), [2]);
    assert_eq!(one.users(), []);
}

#[test]
fn duplicates_are_associated_each_for_itself() {
    let (port, (mut a, b)) = (Port::new(), pair());
    let other = b.try_clone().unwrap();
    port.associate(&b, IN, 1).unwrap();
    port.associate(&other, IN, 2).unwrap();
    a.write_all(b"x").unwrap();
    let mut users = port.users();
    users.sort();
    assert_eq!(users, [1, 2]);
    port.associate(&b, libc::POLLPRI, 3).unwrap();
    assert_eq!(port.dissociate(&other), Err(libc::ENOENT));
    assert_eq!(port.dissociate(&b), Ok(()));
}

#[test]
fn a_regular_file_is_always_ready() {
    let (port, file) = (Port::new(), std::fs::File::open("/proc/self/exe").unwrap());
    port.associate(&file, IN, 7).unwrap();
    assert_eq!(port.now()[0].portev_events, IN.into());
    port.associate(&file, libc::POLLPRI, 7).unwrap();
    assert_eq!(port.users(), []);
    port.dissociate(&file).unwrap();
}

#[test]
fn a_dissociated_descriptor_is_not_told() {
    let (port, (mut a, b)) = (Port::new(), pair());
    port.associate(&b, IN, 7).unwrap();
    port.dissociate(&b).unwrap();
    a.write_all(b"x").unwrap();
    assert_eq!(port.users(), []);

    // Neither is its event, if it is queued already.
    port.associate(&b, IN, 8).unwrap();
    assert!(port.is_readable());
    port.dissociate(&b).unwrap();
    assert!(!port.is_readable());
    assert_eq!(port.users(), []);
}

#[test]
fn dissociating_what_is_not_associated_is_enoent() {
    let (port, (_a, b)) = (Port::new(), pair());
    assert_eq!(port.dissociate(&b), Err(libc::ENOENT));
    port.associate(&b, IN, 7).unwrap();
    assert_eq!(port.dissociate(&b), Ok(()));
    assert_eq!(port.dissociate(&b), Err(libc::ENOENT));
}

/// A thread that waits would not hear of it.
#[test]
fn what_is_ready_is_told_though_another_one_was_not_associated() {
    let (port, (mut a, b), (_c, d)) = (Port::new(), pair(), pair());
    port.associate(&b, IN, 7).unwrap();
    a.write_all(b"x").unwrap();
    assert_eq!(port.dissociate(&d), Err(libc::ENOENT));
    assert!(port.is_readable());
    assert_eq!(port.users(), [7]);
}

#[test]
fn errors_say_what_is_wrong() {
    // Alone: no other test may get the closed descriptor.
    alone("errors_say_what_is_wrong", &[], || {
        let (port, (_a, b)) = (Port::new(), pair());
        let object = b.as_raw_fd() as usize;
        let closed = duplicate(&b);
        event_ports_model::close(closed);

        // The first descriptor of the port: see the next test.
        port.associate(&b, IN, 0).unwrap();
        for object in [closed as usize, i32::MAX as usize + 1, usize::MAX] {
            let events = IN.into();
            assert_eq!(associate(port.0, FD, object, events, 0), Err(libc::EBADFD));
            assert_eq!(dissociate(port.0, FD, object), Err(libc::EBADFD));
        }
        for (not_port, error) in [(closed, libc::EBADF), (b.as_raw_fd(), libc::EBADFD)] {
            // Must not be closed when the test ends.
            let not_port = std::mem::ManuallyDrop::new(Port(not_port));
            assert_eq!(not_port.associate(&b, IN, 0), Err(error));
            assert_eq!(not_port.dissociate(&b), Err(error));
            assert_eq!(not_port.send(0, 0), Err(error));
            assert_eq!(not_port.get(ZERO), Err(error));
            assert_eq!(not_port.getn(1, 1, ZERO).result, Err(error));
        }
        for source in [0, 1, 2, 3, 5, 6, 100] {
            assert_eq!(associate(port.0, source, object, 0, 0), Err(libc::EINVAL));
            assert_eq!(dissociate(port.0, source, object), Err(libc::EINVAL));
        }
    });
}

#[test]
fn a_port_that_never_had_a_descriptor_looks_at_none_when_dissociating() {
    let name = "a_port_that_never_had_a_descriptor_looks_at_none_when_dissociating";
    // Alone: no other test may get the closed descriptor.
    alone(name, &[], || {
        let (port, (_a, b)) = (Port::new(), pair());
        let closed = duplicate(&b);
        event_ports_model::close(closed);
        assert_eq!(dissociate(port.0, FD, closed as usize), Err(libc::ENOENT));
        assert_eq!(dissociate(port.0, FD, usize::MAX), Err(libc::EBADFD));
        port.associate(&b, IN, 0).unwrap();
        assert_eq!(dissociate(port.0, FD, closed as usize), Err(libc::EBADFD));
    });
}

#[test]
fn closing_a_number_ends_its_association_while_a_duplicate_is_open() {
    let (port, (mut a, b)) = (Port::new(), pair());
    let duplicate = b.try_clone().unwrap();
    port.associate(&b, IN, 7).unwrap();
    drop(b);
    a.write_all(b"x").unwrap();
    assert!(!port.is_readable());
    assert_eq!(port.users(), []);
    port.associate(&duplicate, IN, 8).unwrap();
    assert_eq!(port.users(), [8]);
}

#[test]
fn closing_a_number_takes_back_its_queued_event() {
    let (port, (mut a, b)) = (Port::new(), pair());
    a.write_all(b"x").unwrap();
    port.associate(&b, IN, 7).unwrap();
    assert!(port.is_readable());
    drop(b);
    assert!(!port.is_readable());
    assert_eq!(port.users(), []);
}

#[test]
fn a_number_that_was_closed_can_be_associated_anew() {
    alone(
        "a_number_that_was_closed_can_be_associated_anew",
        &[],
        || {
            let (port, (mut a, b)) = (Port::new(), pair());
            let (mut c, d) = pair();
            // Keeps the first one's file open.
            let duplicate = b.try_clone().unwrap();
            let number = b.as_raw_fd();
            port.associate(&b, IN, 7).unwrap();
            drop(b);
            // SAFETY: the descriptor is not open, and becomes this stream's.
            let b = unsafe {
                assert_eq!(libc::fcntl(d.as_raw_fd(), libc::F_DUPFD, number), number);
                UnixStream::from(OwnedFd::from_raw_fd(number))
            };
            assert_eq!(port.dissociate(&b), Err(libc::ENOENT));
            port.associate(&b, IN, 8).unwrap();
            a.write_all(b"x").unwrap();
            assert_eq!(port.users(), []);
            c.write_all(b"x").unwrap();
            assert_eq!(port.users(), [8]);
            drop(duplicate);
        },
    );
}

#[test]
fn a_number_closed_behind_the_models_back_can_be_associated_anew() {
    let (port, (_a, b)) = (Port::new(), pair());
    let (mut c, d) = pair();
    port.associate(&b, IN, 7).unwrap();
    replace_behind_the_models_back(&b, &d);
    port.associate(&b, IN, 8).unwrap();
    c.write_all(b"x").unwrap();
    assert_eq!(port.users(), [8]);
}

#[test]
fn a_number_closed_behind_the_models_back_tells_nothing_when_dissociated() {
    let (port, (mut a, b)) = (Port::new(), pair());
    let (_c, d) = pair();
    // Keeps the first one's file open.
    let _duplicate = b.try_clone().unwrap();
    port.associate(&b, IN, 7).unwrap();
    replace_behind_the_models_back(&b, &d);
    port.dissociate(&b).unwrap();
    a.write_all(b"x").unwrap();
    assert_eq!(port.users(), []);
}

/// Makes the descriptor of the first one refer to another file, by a call that the model does not
/// see, because the model has its own `dup2`.
fn replace_behind_the_models_back(number: &impl AsRawFd, file: &impl AsRawFd) {
    let (file, number) = (file.as_raw_fd(), number.as_raw_fd());
    // SAFETY: both descriptors are open. The second one refers to another file afterwards.
    assert_eq!(unsafe { libc::dup3(file, number, libc::O_CLOEXEC) }, number);
}

#[test]
fn more_than_the_limit_is_eagain() {
    let variables = [("EVENT_PORTS_MODEL_MAX_EVENTS", "2")];
    alone("more_than_the_limit_is_eagain", &variables, || {
        let (port, (a, b)) = (Port::new(), pair());
        let c = b.try_clone().unwrap();
        port.associate(&a, OUT, 1).unwrap();
        port.send(0, 2).unwrap();
        assert_eq!(port.associate(&b, OUT, 3), Err(libc::EAGAIN));
        assert_eq!(port.send(0, 4), Err(libc::EAGAIN));
        // An existing association can be changed.
        port.associate(&a, OUT, 5).unwrap();
        assert_eq!(port.users(), [2, 5]);
        // The event that was sent does not count any more. The descriptor counts until it is
        // dissociated or closed.
        port.associate(&b, OUT, 6).unwrap();
        assert_eq!(port.associate(&c, OUT, 7), Err(libc::EAGAIN));
        assert_eq!(port.dissociate(&a), Err(libc::ENOENT));
        port.associate(&c, OUT, 8).unwrap();
        drop(b);
        port.send(0, 9).unwrap();
        assert_eq!(port.users(), [8, 9]);
    });
}

#[test]
fn pollrdhup_is_told_where_it_was_asked_for() {
    let (port, (a, b)) = (Port::new(), pair());
    port.associate(&b, libc::POLLRDHUP, 7).unwrap();
    a.shutdown(std::net::Shutdown::Write).unwrap();
    let event = port.get(LONG).unwrap();
    assert_eq!(event.portev_events, libc::POLLRDHUP.into());
}

#[test]
fn pollrdhup_is_ignored_as_on_solaris() {
    let variables = [("EVENT_PORTS_MODEL_RDHUP", "0")];
    alone("pollrdhup_is_ignored_as_on_solaris", &variables, || {
        let (port, (a, b)) = (Port::new(), pair());
        port.associate(&b, libc::POLLRDHUP | IN, 7).unwrap();
        a.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(port.now()[0].portev_events, IN.into());
        port.associate(&b, libc::POLLRDHUP, 7).unwrap();
        assert_eq!(port.users(), []);
    });
}

#[test]
fn what_fires_later_may_have_one_bit_only() {
    let variables = [("EVENT_PORTS_MODEL_BITS", "one")];
    alone("what_fires_later_may_have_one_bit_only", &variables, || {
        let (port, (a, b)) = (Port::new(), pair());
        port.associate(&b, IN, 7).unwrap();
        drop(a);
        assert_eq!(port.get(LONG).unwrap().portev_events, IN.into());
        // A descriptor that is ready when it is associated has all bits.
        port.associate(&b, IN, 7).unwrap();
        let told = port.get(LONG).unwrap().portev_events;
        assert_eq!(told, (IN | libc::POLLHUP).into());
    });
}
