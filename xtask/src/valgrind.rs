//! The tests under valgrind's memcheck: memory errors, leaked memory, and descriptors left open.
//!
//! This reads valgrind's logs, one for each process. A process that forks without exec stays under
//! valgrind, and writes a log of its own, in which only errors count: it has inherited descriptors
//! and memory from its parent, and the stacks of the parent's other threads are gone, so memory to
//! which only they pointed looks leaked.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::harness;
use crate::report::Report;
use crate::root;
use crate::sh::{Cmd, Ended};
use crate::tools;

/// The factor by which the tests multiply their time bounds under valgrind.
const SLOWER: &str = "20";

const OPTIONS: [&str; 6] = [
    "--leak-check=full",
    "--show-leak-kinds=definite,indirect",
    "--errors-for-leak-kinds=definite,indirect",
    "--track-fds=yes",
    "--trace-children=no",
    // Valgrind runs one thread at a time. A thread that spins to wait for another must not keep it
    // from running.
    "--fair-sched=try",
];

pub fn tests() -> Result<()> {
    Report::of(|report| {
        need()?;
        for program in harness::built(Cmd::cargo("test").args(["--lib", "--tests"]))? {
            let run = Run::new(&program, &["--test-threads=2"])?;
            report.libtest_ended(&run.ended);
            for problem in run.problems()? {
                report.problem(problem);
            }
        }
        Ok(())
    })
}

/// `c10k` with few connections: valgrind is some twenty times slower.
pub fn c10k() -> Result<()> {
    Report::of(|report| {
        need()?;
        Cmd::cargo("build")
            .args(["--release", "-p", "c10k"])
            .run()?;
        let program = root().join("target/release/c10k");
        let args = "--connections 100 --messages 10 --slow 5 --seconds 600".split(' ');
        let run = Run::new(&program, &args.collect::<Vec<_>>())?;
        report.one("c10k", run.ended.success());
        for problem in run.problems()? {
            report.problem(problem);
        }
        Ok(())
    })
}

pub fn need() -> Result<()> {
    // It needs the symbols of the dynamic linker.
    tools::need("valgrind", &["valgrind", "libc6-dbg"])
}

/// A program that was run under valgrind.
struct Run {
    name: String,
    ended: Ended,
    logs: tempfile::TempDir,
}

impl Run {
    fn new(program: &Path, args: &[&str]) -> Result<Run> {
        let logs = tempfile::tempdir()?;
        let ended = Cmd::new("valgrind")
            .args(OPTIONS)
            .arg(format!("--log-file={}/%p", logs.path().display()))
            .arg(program)
            .args(args)
            .env("MIO_TEST_SLOW", SLOWER)
            .limit(Duration::from_secs(10 * 60))
            .tee()?;
        let name = program
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Run { name, ended, logs })
    }

    /// A summary of the problems in the logs. Logs with problems are printed.
    fn problems(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let mut main_seen = false;
        for entry in fs::read_dir(self.logs.path())? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            let is_main = path
                .file_name()
                .is_some_and(|name| *name == *self.ended.pid.to_string());
            main_seen |= is_main;
            let log = Log::parse(&text);
            let wrong = if is_main {
                log.wrong_in_main()
            } else {
                log.wrong_in_fork()
            };
            if !wrong.is_empty() {
                println!("{text}");
            }
            problems.extend(
                wrong
                    .into_iter()
                    .map(|wrong| format!("{}: {wrong}", self.name)),
            );
        }
        if !main_seen {
            problems.push(format!("{}: valgrind left no log", self.name));
        }
        Ok(problems)
    }
}

/// The contents of a log.
#[derive(Debug, Default, PartialEq)]
struct Log {
    /// Errors of all kinds, from the summary. There is no summary if the process was killed, or
    /// executed another program.
    errors: Option<usize>,
    /// How many of the errors are leaked memory.
    lost: usize,
    /// Whether the log has a stack trace, which belongs to an error, before the process' end.
    traces: bool,
    /// Descriptors that the program itself opened and left open.
    open: Vec<String>,
}

impl Log {
    fn parse(text: &str) -> Log {
        let mut log = Log::default();
        let mut at_end = false;
        let mut lines = text.lines().map(without_pid).peekable();
        while let Some(line) = lines.next() {
            at_end |= line.starts_with("FILE DESCRIPTORS:") || line.starts_with("HEAP SUMMARY:");
            if line.starts_with("Open ") && at_end {
                // The next line says where it was opened.
                let inherited = lines
                    .peek()
                    .is_some_and(|next| next.contains("<inherited from parent>"));
                if !inherited {
                    log.open.push(line.to_owned());
                }
            } else if line.contains(" in loss record ") {
                log.lost += 1;
            } else if let Some(rest) = line.strip_prefix("ERROR SUMMARY: ") {
                log.errors = rest
                    .split(' ')
                    .next()
                    .and_then(|errors| errors.replace(',', "").parse().ok());
            } else if line.starts_with("   at 0x") && !at_end {
                log.traces = true;
            }
        }
        log
    }

    fn wrong_in_main(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        match self.errors {
            Some(0) => {}
            Some(errors) => wrong.push(format!(
                "{errors} errors by valgrind, {} of them memory lost",
                self.lost
            )),
            None => wrong.push("valgrind's log has no end".to_owned()),
        }
        if !self.open.is_empty() {
            wrong.push(format!("left open: {}", self.open.join(", ")));
        }
        wrong
    }

    fn wrong_in_fork(&self) -> Vec<String> {
        match self.errors {
            Some(errors) if errors > self.lost => vec![format!(
                "{} errors by valgrind in a forked process",
                errors - self.lost
            )],
            None if self.traces => vec!["errors by valgrind in a forked process".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// A line of a log without `==PID== `.
fn without_pid(line: &str) -> &str {
    match line
        .strip_prefix("==")
        .and_then(|line| line.split_once("=="))
    {
        Some((_, line)) => line.strip_prefix(' ').unwrap_or(line),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "
==2310== Memcheck, a memory error detector
==2310== Command: ./a
==2310== Parent PID: 2288
==2310== 
==2310== 
==2310== FILE DESCRIPTORS: 11 open (3 std) at exit.
==2310== Open AF_INET socket 8: 127.0.0.1:45363 <-> unbound
==2310==    at 0x4985DC7: socket (syscall-template.S:120)
==2310==    by 0x1207BC: a::main (in /a)
==2310== 
==2310== Open file descriptor 4: /etc/passwd
==2310==    at 0x4973011: open (open64.c:41)
==2310== 
==2310== Open file descriptor 251:
==2310==    <inherited from parent>
==2310== 
==2310== Open file descriptor 10: /dev/null
==2310==    <inherited from parent>
==2310== 
==2310== 
==2310== HEAP SUMMARY:
==2310==     in use at exit: 621 bytes in 2 blocks
==2310== 
==2310== 77 bytes in 1 blocks are definitely lost in loss record 1 of 2
==2310==    at 0x48407B4: malloc (vg_replace_malloc.c:381)
==2310== 
==2310== LEAK SUMMARY:
==2310==    definitely lost: 77 bytes in 1 blocks
==2310== 
==2310== ERROR SUMMARY: 1 errors from 1 contexts (suppressed: 0 from 0)
";

    #[test]
    fn descriptors_and_memory_left_by_the_program_are_found() {
        let log = Log::parse(LOG);
        assert_eq!(log.errors, Some(1));
        assert_eq!(log.lost, 1);
        assert_eq!(
            log.open,
            [
                "Open AF_INET socket 8: 127.0.0.1:45363 <-> unbound",
                "Open file descriptor 4: /etc/passwd"
            ]
        );
        assert_eq!(log.wrong_in_main().len(), 2);
    }

    #[test]
    fn in_a_forked_process_only_errors_count() {
        assert!(Log::parse(LOG).wrong_in_fork().is_empty());
        let invalid = LOG.replace("SUMMARY: 1 errors", "SUMMARY: 2 errors");
        assert_eq!(Log::parse(&invalid).wrong_in_fork().len(), 1);
    }

    #[test]
    fn a_clean_log_is_clean() {
        let log = Log::parse(
            "==1== FILE DESCRIPTORS: 3 open (3 std) at exit.\n\
             ==1== \n\
             ==1== ERROR SUMMARY: 0 errors from 0 contexts\n",
        );
        assert!(log.wrong_in_main().is_empty());
    }

    #[test]
    fn a_log_without_an_end_is_wrong_unless_of_a_fork_that_became_another_program() {
        let started =
            Log::parse("==1== Memcheck, a memory error detector\n==1== Parent PID: 2\n==1== \n");
        assert_eq!(started.wrong_in_main().len(), 1);
        assert!(started.wrong_in_fork().is_empty());
        let invalid = Log::parse("==1== Invalid read of size 1\n==1==    at 0x12: f (a.rs:1)\n");
        assert_eq!(invalid.wrong_in_fork().len(), 1);
    }
}
