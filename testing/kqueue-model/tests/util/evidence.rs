//! The experiments, and the answers of a NetBSD kernel: the file `netbsd.txt`.
//!
//! A test repeats them on the model, in the order of the file. Every line must be repeated, so that
//! none is left out. The answer must be the same, unless the test gives the model's answer and the
//! reason.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kqueue_model::abi::*;

use super::{read, write, Kevent, Kq, ADD, LONG, SHORT};

const EVIDENCE: &str = include_str!("../../netbsd.txt");

/// A test in which the numbers of descriptors matter runs alone in the process.
static NUMBERS: RwLock<()> = RwLock::new(());

pub enum Company {
    Others(#[allow(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Nobody(#[allow(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

pub fn beside_others() -> Company {
    Company::Others(NUMBERS.read().unwrap_or_else(|poison| poison.into_inner()))
}

pub fn alone() -> Company {
    Company::Nobody(NUMBERS.write().unwrap_or_else(|poison| poison.into_inner()))
}

pub struct Question {
    pub kq: Kq,
    lines: std::vec::IntoIter<(&'static str, &'static str)>,
    _company: Company,
}

impl Question {
    pub fn new(number: u32) -> Question {
        Question::among(number, beside_others())
    }

    /// A test during which no other test opens descriptors.
    pub fn alone(number: u32) -> Question {
        Question::among(number, alone())
    }

    fn among(number: u32, company: Company) -> Question {
        let title = format!("Q{number:02} ");
        let lines: Vec<_> = EVIDENCE
            .lines()
            .skip_while(|line| !line.starts_with(&title))
            .skip(1)
            .take_while(|line| line.starts_with(' '))
            .map(|line| line.split_once("=>").unwrap_or(("", line)))
            .map(|(label, answer)| (label.trim(), answer.trim()))
            .collect();
        assert!(!lines.is_empty(), "question {number} was not asked");
        Question {
            kq: Kq::new(),
            lines: lines.into_iter(),
            _company: company,
        }
    }

    /// NetBSD's next answer.
    fn next(&mut self, label: &str) -> &'static str {
        let (expected, answer) = self.lines.next().expect("no more lines");
        assert_eq!(label, expected, "asked out of order");
        answer
    }

    /// Checks that the model answers the same.
    #[track_caller]
    pub fn answer(&mut self, label: &str, answer: &str) {
        assert_eq!(answer, self.next(label), "{label}");
    }

    /// Makes changes, with as many entries for results.
    #[track_caller]
    pub fn change(&mut self, label: &str, changes: &[Kevent]) {
        self.change_with_room(label, changes, changes.len());
    }

    #[track_caller]
    pub fn change_with_room(&mut self, label: &str, changes: &[Kevent], room: usize) {
        let result = super::kevent(self.kq.fd(), changes, room, Some(Duration::ZERO));
        let expected = self.next(label);
        assert_eq!(
            without_room(&outcome(result)),
            without_room(expected),
            "{label}"
        );
    }

    /// Registers a descriptor for both filters.
    #[track_caller]
    pub fn both(&mut self, fd: &impl AsRawFd, udata: usize) {
        let changes = [write(fd, ADD, udata), read(fd, ADD, udata)];
        self.change("ADD W, ADD R (CLEAR|RECEIPT)", &changes);
    }

    /// Checks that the events are NetBSD's.
    #[track_caller]
    pub fn poll(&mut self, label: &str) {
        let expected = self.next(label);
        expect(&self.kq, label, expected, 16);
    }

    #[track_caller]
    pub fn poll_on(&mut self, kq: &Kq, label: &str, room: usize) {
        let expected = self.next(label);
        expect(kq, label, expected, room);
    }

    /// Checks events that differ from NetBSD's: the test gives the reason.
    #[track_caller]
    pub fn poll_but(&mut self, label: &str, expected: &str) {
        let theirs = self.next(label);
        assert_ne!(comparable(theirs), comparable(expected), "no difference");
        expect(&self.kq, label, expected, 16);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.lines.next(), None, "not asked");
        }
    }
}

/// Events may arrive in several calls, and those of one descriptor in any order.
#[track_caller]
fn expect(kq: &Kq, label: &str, expected: &str, room: usize) {
    let wanted = comparable(expected);
    let deadline = Instant::now() + LONG;
    let mut events = Vec::new();
    loop {
        let timeout = if wanted.is_empty() { SHORT } else { LONG };
        let more = super::kevent(kq.fd(), &[], room, Some(timeout)).unwrap();
        let none = more.is_empty();
        events.extend(more.iter().map(show));
        let got = comparable(&events.join(" "));
        if got == wanted {
            return;
        }
        let is_over = none || got.len() >= wanted.len() || Instant::now() > deadline;
        assert!(!is_over, "{label}: {got:?}, not {wanted:?}");
    }
}

/// The events of an answer, sorted, without two values that do not matter: the capacity for
/// writing, and the error number.
fn comparable(answer: &str) -> Vec<String> {
    let mut events: Vec<_> = answer
        .split(['[', ']'])
        .filter(|event| !event.trim().is_empty() && *event != "none")
        .map(|event| {
            let is_write = event.starts_with('W');
            event
                .split(' ')
                .filter(|word| !(is_write && word.starts_with("data=")))
                .map(|word| match word.split_once('=') {
                    Some(("fflags", _)) => "fflags",
                    _ => word,
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    events.sort();
    events
}

/// The result of a change may be followed by an event for writing.
fn without_room(answer: &str) -> String {
    let mut words: Vec<_> = answer.split(' ').collect();
    if let Some(i) = words.iter().position(|word| *word == "[W") {
        words.retain({
            let mut at = 0;
            move |word| {
                at += 1;
                at <= i || !word.starts_with("data=")
            }
        });
    }
    words.join(" ")
}

pub fn outcome(result: io::Result<Vec<Kevent>>) -> String {
    match result {
        Ok(entries) => {
            let entries: Vec<_> = entries.iter().map(show).collect();
            format!("ret {} {}", entries.len(), entries.join(" "))
                .trim()
                .to_owned()
        }
        Err(error) => format!(
            "ret -1 {}",
            error_name(error.raw_os_error().unwrap() as isize)
        ),
    }
}

fn show(entry: &Kevent) -> String {
    let filter = match entry.filter {
        EVFILT_READ => "R",
        EVFILT_WRITE => "W",
        EVFILT_USER => "U",
        _ => "?",
    };
    let mut words = vec![filter.to_owned()];
    if entry.flags & EV_ERROR != 0 {
        words.push(format!("ERROR({})", error_name(entry.data)));
    } else {
        if entry.flags & EV_EOF != 0 {
            words.push("EOF".to_owned());
        }
        if entry.fflags != 0 {
            words.push(format!("fflags={}", error_name(entry.fflags as isize)));
        }
        words.push(format!("data={}", entry.data));
    }
    words.push(format!("u={}", entry.udata.addr()));
    format!("[{}]", words.join(" "))
}

pub fn error_name(number: isize) -> String {
    match number as i32 {
        0 => "0",
        libc::ENOENT => "ENOENT",
        libc::EBADF => "EBADF",
        libc::EINVAL => "EINVAL",
        libc::EPIPE => "EPIPE",
        libc::ECONNRESET => "ECONNRESET",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EINPROGRESS => "EINPROGRESS",
        other => return other.to_string(),
    }
    .to_owned()
}
