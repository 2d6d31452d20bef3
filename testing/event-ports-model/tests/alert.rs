//! Alert mode, by the rows of `semantics.md`.

mod support;

use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;

use event_ports_model as model;
use support::*;

/// The event that is available at once, with its source and word.
fn now(port: &Port) -> Vec<(u16, usize)> {
    let events = port.now();
    events
        .iter()
        .map(|event| (event.portev_source, user(event)))
        .collect()
}

/// Starts threads, each of which waits without a timeout for this many events, and calls `f` when
/// all of them wait.
fn while_all_wait(port: &Port, wanted: &[u32], f: impl FnOnce()) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .iter()
            .map(|&wanted| {
                let (sender, receiver) = channel();
                let waiting = scope.spawn(move || {
                    sender.send(thread_id()).unwrap();
                    port.getn(9, wanted, LONG)
                });
                until_waiting(receiver.recv().unwrap());
                waiting
            })
            .collect();
        f();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect()
    })
}

#[test]
fn every_call_in_alert_mode_returns_with_the_alert_alone() {
    let (port, (_a, b)) = (Port::new(), pair());
    port.send(0, 1).unwrap();
    port.alert(PORT_ALERT_SET, 5, usize::MAX).unwrap();
    // An event that comes meanwhile is queued, and cannot be retrieved.
    port.associate(&b, libc::POLLOUT, 2).unwrap();
    for _ in 0..3 {
        let answer = port.getn(9, 2, None);
        assert_eq!((answer.result, answer.nget), (Ok(()), 1));
        let event = &answer.list[0];
        assert_eq!(event.portev_source, PORT_SOURCE_ALERT);
        assert_eq!((event.portev_events, event.portev_object), (5, 0));
        assert_eq!(user(event), usize::MAX);
    }
    let one = port.get(None).unwrap();
    assert_eq!(one.portev_source, PORT_SOURCE_ALERT);

    port.alert(0, 0, 0).unwrap();
    assert_eq!(now(&port), [(PORT_SOURCE_USER, 1), (PORT_SOURCE_FD, 2)]);
    assert_eq!(now(&port), []);
}

#[test]
fn an_alert_takes_no_room() {
    let variables = [("EVENT_PORTS_MODEL_MAX_EVENTS", "1")];
    alone("an_alert_takes_no_room", &variables, || {
        let (port, (_a, b)) = (Port::new(), pair());
        port.associate(&b, libc::POLLIN, 1).unwrap();
        assert_eq!(port.send(0, 2), Err(libc::EAGAIN));
        port.alert(PORT_ALERT_SET, 1, 3).unwrap();
        assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 3)]);
    });
}

#[test]
fn nothing_can_be_sent_where_that_is_switched_off() {
    let variables = [("EVENT_PORTS_MODEL_SEND", "eagain")];
    let name = "nothing_can_be_sent_where_that_is_switched_off";
    alone(name, &variables, || {
        let port = Port::new();
        assert_eq!(port.send(0, 1), Err(libc::EAGAIN));
        assert_eq!(now(&port), []);
    });
}

#[test]
fn an_alert_ends_all_waits() {
    let port = Port::new();
    let answers = while_all_wait(&port, &[1, 1, 5], || {
        port.alert(PORT_ALERT_SET, 1, 7).unwrap();
    });
    for answer in answers {
        assert_eq!((answer.result, answer.nget), (Ok(()), 1));
        assert_eq!(answer.list[0].portev_source, PORT_SOURCE_ALERT);
    }
}

#[test]
fn a_thread_that_waited_returns_with_an_alert_that_is_over() {
    let port = Port::new();
    let answers = while_all_wait(&port, &[1, 1], || {
        port.alert(PORT_ALERT_SET, 1, 7).unwrap();
        port.alert(0, 0, 0).unwrap();
    });
    for answer in answers {
        assert_eq!(answer.list[0].portev_source, PORT_SOURCE_ALERT);
    }
    assert_eq!(now(&port), []);
}

#[test]
fn set_replaces_an_alert_and_update_does_not() {
    let port = Port::new();
    port.alert(PORT_ALERT_UPDATE, 1, 1).unwrap();
    assert_eq!(port.alert(PORT_ALERT_UPDATE, 1, 2), Err(libc::EBUSY));
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 1)]);
    port.alert(PORT_ALERT_SET, 1, 3).unwrap();
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 3)]);
    // No flag has the effect of the first one.
    port.alert(0, 1, 4).unwrap();
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 4)]);

    let both = PORT_ALERT_SET | PORT_ALERT_UPDATE;
    assert_eq!(port.alert(both, 1, 5), Err(libc::EINVAL));
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 4)]);
    port.alert(both, 0, 0).unwrap();
    assert_eq!(now(&port), []);
    port.alert(PORT_ALERT_UPDATE, 1, 6).unwrap();
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 6)]);
}

#[test]
fn an_alert_comes_before_what_is_wrong_with_a_timeout() {
    let port = Port::new();
    port.alert(PORT_ALERT_SET, 1, 1).unwrap();
    let invalid = libc::timespec {
        tv_sec: -1,
        tv_nsec: 0,
    };
    assert_eq!(port.getn_raw(9, 1, Some(invalid)).result, Ok(()));
    // But these retrieve nothing.
    assert_eq!(port.getn(0, 1, None).nget, 0);
    assert_eq!(port.getn(9, 0, None).nget, 0);
}

#[test]
fn poll_does_not_see_alert_mode() {
    let port = Port::new();
    port.alert(PORT_ALERT_SET, 1, 1).unwrap();
    assert!(!port.is_readable());
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 1)]);
    port.send(0, 2).unwrap();
    assert!(port.is_readable());
    assert_eq!(now(&port), [(PORT_SOURCE_ALERT, 1)]);
    assert!(port.is_readable());
}

#[test]
fn a_descriptor_of_the_port_that_is_closed_ends_alert_mode() {
    let port = Port::new();
    let other = Port(duplicate(&port));
    port.alert(PORT_ALERT_SET, 1, 1).unwrap();
    assert_eq!(now(&other), [(PORT_SOURCE_ALERT, 1)]);
    drop(port);
    assert_eq!(now(&other), []);
}

#[test]
fn errors_of_an_alert_say_what_is_wrong() {
    let (_a, b) = pair();
    let alert = |fd| model::port_alert(fd, PORT_ALERT_SET, 1, std::ptr::null_mut());
    assert_eq!((alert(b.as_raw_fd()), errno()), (-1, libc::EBADFD));
    assert_eq!((alert(-1), errno()), (-1, libc::EBADF));
}
