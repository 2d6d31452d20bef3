//! Any calls of the model of event ports, with any arguments: it does not panic, writes no more than there
//! is room for, and leaves no descriptor.

#![no_main]

use std::ffi::c_void;
use std::os::raw::{c_int, c_uint};

use event_ports_model::{
    port_alert, port_associate, port_create, port_dissociate, port_event, port_get, port_getn,
    port_send, port_sendn, PORT_SOURCE_ALERT, PORT_SOURCE_FD, PORT_SOURCE_USER,
};
use fuzz::{Descriptors, Kind, Number, Timeout};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Source {
    Descriptor,
    Any(c_int),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Port(u8),
    Open(u8, Kind),
    Close(u8),
    Replace {
        old: u8,
        new: u8,
    },
    Write(u8),
    Read(u8),
    Associate {
        port: u8,
        source: Source,
        object: Number,
        events: c_int,
    },
    Dissociate {
        port: u8,
        source: Source,
        object: Number,
    },
    Send {
        port: u8,
        events: c_int,
    },
    SendToAll {
        ports: Vec<u8>,
        events: c_int,
    },
    Alert {
        port: u8,
        flags: c_int,
        events: c_int,
    },
    Get {
        port: u8,
        timeout: Timeout,
        null: bool,
    },
    GetSeveral {
        port: u8,
        max: u8,
        wanted: c_uint,
        timeout: Timeout,
        null: bool,
    },
}

#[derive(Arbitrary, Debug)]
struct Program {
    order: u8,
    one_bit: bool,
    no_rdhup: bool,
    zero_is_etime: bool,
    late_is_kept: bool,
    time_is_set: bool,
    limited: bool,
    ops: Vec<Op>,
}

/// What no call writes.
const GUARD: port_event = port_event {
    portev_events: 0x5e5e_5e5e,
    portev_source: 0x5e5e,
    portev_pad: 0x5e5e,
    portev_object: 0x5e5e_5e5e,
    portev_user: std::ptr::null_mut(),
};
const USER: *mut c_void = std::ptr::null_mut();

fuzz_target!(|program: Program| {
    fuzz::ignore_sigpipe();
    let switch =
        |name: &str, value: &str| std::env::set_var(format!("EVENT_PORTS_MODEL_{name}"), value);
    let either = |is_on, on, off| if is_on { on } else { off };
    switch(
        "ORDER",
        ["fifo", "lifo", "random"][usize::from(program.order) % 3],
    );
    switch("BITS", either(program.one_bit, "one", "all"));
    switch("RDHUP", either(program.no_rdhup, "0", "1"));
    switch("ZERO_TIMEOUT", either(program.zero_is_etime, "etime", "ok"));
    switch("LATE_NGET", either(program.late_is_kept, "kept", "told"));
    switch("TIME", either(program.time_is_set, "set", "steady"));
    switch("MAX_EVENTS", either(program.limited, "2", "65536"));

    let before = fuzz::open_descriptors();
    let mut descriptors = Descriptors::new(|fd| event_ports_model::close(fd));
    for op in program.ops.into_iter().take(64) {
        run(&mut descriptors, op);
    }
    drop(descriptors);
    assert_eq!(fuzz::open_descriptors(), before, "descriptors are left");
});

fn number(source: Source) -> c_int {
    match source {
        Source::Descriptor => PORT_SOURCE_FD.into(),
        Source::Any(source) => source,
    }
}

fn check(event: &port_event) {
    let source = event.portev_source;
    let is_known = [PORT_SOURCE_FD, PORT_SOURCE_USER, PORT_SOURCE_ALERT].contains(&source);
    assert!(is_known, "{event:?}");
}

fn run(descriptors: &mut Descriptors, op: Op) {
    match op {
        Op::Port(slot) => {
            let port = port_create();
            assert!(port >= 0);
            descriptors.put(slot, port);
        }
        Op::Open(slot, kind) => descriptors.open(slot, kind),
        Op::Close(slot) => descriptors.close(slot),
        Op::Replace { old, new } => {
            event_ports_model::dup2(descriptors.get(old), descriptors.get(new));
        }
        Op::Write(slot) => descriptors.transfer(slot, true),
        Op::Read(slot) => descriptors.transfer(slot, false),
        Op::Associate {
            port,
            source,
            object,
            events,
        } => {
            let object = descriptors.number(object);
            let source = number(source);
            port_associate(descriptors.get(port), source, object, events, USER);
        }
        Op::Dissociate {
            port,
            source,
            object,
        } => {
            let object = descriptors.number(object);
            port_dissociate(descriptors.get(port), number(source), object);
        }
        Op::Send { port, events } => {
            port_send(descriptors.get(port), events, USER);
        }
        Op::SendToAll { ports, events } => {
            let ports: Vec<c_int> = ports
                .into_iter()
                .take(8)
                .collect::<Vec<_>>()
                .iter()
                .map(|&port| descriptors.get(port))
                .collect();
            let mut errors = vec![0x5e5e; ports.len() + 1];
            // SAFETY: both lists have as many numbers.
            let sent = unsafe {
                port_sendn(
                    ports.as_ptr(),
                    errors.as_mut_ptr(),
                    ports.len() as c_uint,
                    events,
                    USER,
                )
            };
            assert!((-1..=ports.len() as c_int).contains(&sent));
            assert_eq!(errors.last(), Some(&0x5e5e));
        }
        Op::Alert {
            port,
            flags,
            events,
        } => {
            port_alert(descriptors.get(port), flags, events, USER);
        }
        Op::Get {
            port,
            timeout,
            null,
        } => {
            let mut list = [GUARD; 2];
            let timeout = timeout.timespec();
            let to = match null {
                true => std::ptr::null_mut(),
                false => list.as_mut_ptr(),
            };
            // SAFETY: there is room for one event, or the pointer is null.
            let got = unsafe { port_get(descriptors.get(port), to, &timeout) };
            assert!(got == 0 || got == -1);
            assert_eq!(list[1], GUARD);
            // Without waiting there may be none, and no error.
            let is_written = list[0] != GUARD;
            assert!(!is_written || (got == 0 && !null));
            if is_written {
                check(&list[0]);
            }
        }
        Op::GetSeveral {
            port,
            max,
            wanted,
            timeout,
            null,
        } => {
            let max = c_uint::from(max % 8);
            let mut list = vec![GUARD; max as usize + 2];
            let mut count = match wanted % 4 {
                0 => wanted,
                _ => wanted % (max + 1),
            };
            let timeout = timeout.timespec();
            let to = match null {
                true => std::ptr::null_mut(),
                false => list.as_mut_ptr(),
            };
            // SAFETY: there is room for `max` events, or the pointer is null; the other pointers are valid.
            let got = unsafe { port_getn(descriptors.get(port), to, max, &mut count, &timeout) };
            assert!(got == 0 || got == -1);
            assert!(list[max as usize..].iter().all(|entry| *entry == GUARD));
            let written = list.iter().take_while(|entry| **entry != GUARD).count();
            assert!(written <= max as usize);
            list[..written].iter().for_each(check);
            if got == 0 && max > 0 && !null {
                assert!(
                    written <= count as usize || count == 0,
                    "{written} of {count}"
                );
            }
        }
    }
}
