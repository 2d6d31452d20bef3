//! crossterm on this crate: a program on a terminal waits with a `Poll` for keys, and for the
//! signal of a new size.

#![cfg(unix)]

use std::io::Write;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode};
use crossterm::terminal;
use interop::child::{self, say, Child};
use interop::pty::Pty;
use interop::{bounded, MIO_MAKES_EDGES, PATIENCE};

const KEYS: [(&str, &str); 8] = [
    ("a", "Char('a')"),
    ("Z", "Char('Z')"),
    ("\r", "Enter"),
    ("\x7f", "Backspace"),
    ("\x1b[A", "Up"),
    ("\x1b[3~", "Delete"),
    ("\x1bOP", "F(1)"),
    ("ß", "Char('ß')"),
];

#[test]
fn a_key_is_an_event_as_soon_as_it_is_typed() {
    on_a_terminal(
        "a_key_is_an_event_as_soon_as_it_is_typed",
        |pty, program| {
            let mut keyboard = pty.keyboard();
            for _ in 0..5 {
                for (typed, event) in KEYS {
                    keyboard.write_all(typed.as_bytes()).unwrap();
                    assert_eq!(program.says(), event);
                }
            }
        },
    );
}

#[test]
fn keys_that_come_together_are_events_one_by_one() {
    on_a_terminal(
        "keys_that_come_together_are_events_one_by_one",
        |pty, program| {
            let mut keyboard = pty.keyboard();
            // Less than crossterm reads at once: it does not read the rest without another event.
            for _ in 0..20 {
                let all = KEYS.map(|(typed, _)| typed).concat().repeat(20);
                keyboard.write_all(all.as_bytes()).unwrap();
                for (_, event) in KEYS.repeat(20) {
                    assert_eq!(program.says(), event);
                }
            }
        },
    );
}

#[test]
fn another_size_is_an_event_among_the_keys() {
    on_a_terminal("another_size_is_an_event_among_the_keys", |pty, program| {
        let mut keyboard = pty.keyboard();
        // Its signals come from signal-hook-mio.
        let sizes = if MIO_MAKES_EDGES { 1 } else { 20 };
        for columns in 81..81 + sizes {
            pty.resize(columns, 25);
            assert_eq!(program.says(), format!("Resize({columns}, 25)"));
            keyboard.write_all(b"k").unwrap();
            assert_eq!(program.says(), "Char('k')");
        }
    });
}

/// Runs a test next to a program that prints its terminal's events, until the test ends the
/// program.
fn on_a_terminal(name: &'static str, test: fn(&Pty, &Child)) {
    bounded(move || {
        if child::part().is_some() {
            return program();
        }
        let pty = Pty::open();
        pty.resize(80, 25);
        let mut command = child::command(name, "program");
        pty.control(&mut command);
        let program = Child::start(command);
        assert_eq!(program.says(), "ready");
        test(&pty, &program);
        pty.keyboard().write_all(b"q").unwrap();
        assert_eq!(program.says(), "Char('q')");
        program.ends_well();
    });
}

fn program() {
    terminal::enable_raw_mode().unwrap();
    // This registers the terminal.
    assert!(!event::poll(Duration::ZERO).unwrap());
    say("ready");
    loop {
        assert!(event::poll(PATIENCE).unwrap(), "nothing was typed");
        match event::read().unwrap() {
            Event::Key(key) => {
                say(format!("{:?}", key.code));
                if key.code == KeyCode::Char('q') {
                    break;
                }
            }
            other => say(format!("{other:?}")),
        }
    }
    terminal::disable_raw_mode().unwrap();
}
