//! Runs a program that marks its operations under strace, and reads the trace.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};

use super::section::{self, Line, Section};
use crate::sh::Cmd;
use crate::tools;

/// Runs a program, and returns its marked sections.
pub fn watch(program: &Path, args: &[&str]) -> Result<Vec<Section>> {
    tools::need("strace", &["strace"])?;
    let dir = tempfile::tempdir()?;
    let trace = dir.path().join("trace");
    Cmd::new("strace")
        .args(["-f", "-s", "128", "-o"])
        .arg(&trace)
        .arg(program)
        .args(args)
        .run()
        .context("the program failed, or strace may not trace here")?;
    let sections = sections(&fs::read_to_string(&trace)?)?;
    if sections.is_empty() {
        bail!("strace has seen no operation");
    }
    Ok(sections)
}

/// The marked sections of a trace, in the order of their first runs.
fn sections(trace: &str) -> Result<Vec<Section>> {
    section::sections(trace.lines().filter_map(call).map(|call| match mark(call) {
        Some(mark) => mark,
        None => Line::Call(name(call)),
    }))
}

/// `write(-1, ">Poll::new", 10) = -1 EBADF (Bad file descriptor)`
fn mark(call: &str) -> Option<Line<'_>> {
    let (text, _) = call.strip_prefix("write(-1, \"")?.split_once('"')?;
    match text.split_at_checked(1)? {
        (">", name) => Some(Line::Begin(name)),
        ("<", name) => Some(Line::End(name)),
        _ => None,
    }
}

/// A line without the process id. `None` for a line that is no call: a signal, an exit, or the
/// second half of a call that was interrupted by another thread's.
fn call(line: &str) -> Option<&str> {
    let line = line
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    let starts_call = line.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    (starts_call && line.contains('(')).then_some(line)
}

/// The name of the call. Newer architectures have no epoll_wait: the C library calls epoll_pwait
/// without a mask instead.
fn name(call: &str) -> &str {
    let (name, args) = call.split_once('(').unwrap_or((call, ""));
    if name == "epoll_pwait" && args.contains(", NULL, ") {
        return "epoll_wait";
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"
100   execve("target/release/calls", ["calls"], 0x7ffe /* 20 vars */) = 0
100   write(-1, ">poll: ready", 12)   = -1 EBADF (Bad file descriptor)
100   epoll_pwait(3, [{events=EPOLLIN, data={u32=1, u64=1}}], 8, 100, NULL, 8) = 1
100   write(-1, "<poll: ready", 12)   = -1 EBADF (Bad file descriptor)
100   brk(NULL) = 0x55
100   write(-1, ">none", 5) = -1 EBADF (Bad file descriptor)
100   --- SIGCHLD {si_signo=SIGCHLD} ---
100   write(-1, "<none", 5) = -1 EBADF (Bad file descriptor)
100   write(-1, ">poll: ready", 12)   = -1 EBADF (Bad file descriptor)
100   epoll_wait(3,  <unfinished ...>
101   <... read resumed>"", 1) = 0
100   <... epoll_wait resumed>[], 8, 0) = 0
100   write(-1, "<poll: ready", 12)   = -1 EBADF (Bad file descriptor)
100   +++ exited with 0 +++
"#;

    #[test]
    fn calls_are_found_between_the_marks() {
        let sections = sections(TRACE).unwrap();
        let lines: Vec<String> = sections
            .iter()
            .map(|section| {
                format!(
                    "{} x{}: {}",
                    section.name,
                    section.runs.len(),
                    section.calls().unwrap()
                )
            })
            .collect();
        assert_eq!(lines, ["poll: ready x2: epoll_wait", "none x1: -"]);
    }

    #[test]
    fn only_a_maskless_epoll_pwait_is_an_epoll_wait() {
        assert_eq!(
            name("epoll_pwait(3, [], 8, 0, [USR1], 8) = 0"),
            "epoll_pwait"
        );
        assert_eq!(
            name("epoll_pwait2(3, [], 8, {tv_sec=0, tv_nsec=1500000}, NULL, 8) = 0"),
            "epoll_pwait2"
        );
    }

    #[test]
    fn marks_that_do_not_match_are_an_error() {
        let begin = "1 write(-1, \">a\", 2) = -1 EBADF (Bad file descriptor)\n";
        let end = "1 write(-1, \"<a\", 2) = -1 EBADF (Bad file descriptor)\n";
        assert!(sections(&[begin, end].concat()).is_ok());
        assert!(sections(begin).is_err());
        assert!(sections(end).is_err());
        assert!(sections(&[begin, begin, end].concat()).is_err());
        assert!(sections(&[begin, &end.replace("<a", "<b")].concat()).is_err());
    }
}
