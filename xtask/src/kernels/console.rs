//! What a guest wrote to its console.

use std::collections::BTreeMap;

/// A program that the guest ran.
#[derive(Debug, PartialEq)]
pub struct Ran<'a> {
    /// Its exit status; `None` if it did not end.
    pub status: Option<i32>,
    pub output: &'a str,
}

/// `uname -r` and `uname -m`.
pub fn guest(console: &str) -> Option<(&str, &str)> {
    let mut lines = console.lines();
    let printed = lines.find_map(|line| line.strip_prefix("guest: "))?;
    printed.trim_end().split_once(' ')
}

/// The programs that ran, by name.
pub fn programs(console: &str) -> BTreeMap<&str, Ran<'_>> {
    let mut programs = BTreeMap::new();
    let mut begun: Option<(&str, usize)> = None;
    let mut position = 0;
    for line in console.split_inclusive('\n') {
        let start = position;
        position += line.len();
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix("--- ").filter(|_| begun.is_none()) {
            begun = Some((name, position));
        } else if let Some((name, from)) = begun {
            if let Some(status) = end(line, name) {
                let output = &console[from..start];
                let status = Some(status);
                programs.insert(name, Ran { status, output });
                begun = None;
            }
        }
    }
    if let Some((name, from)) = begun {
        let output = &console[from..];
        let status = None;
        programs.insert(name, Ran { status, output });
    }
    programs
}

/// `=== NAME: STATUS, …`.
fn end(line: &str, name: &str) -> Option<i32> {
    let printed = line
        .strip_prefix("=== ")?
        .strip_prefix(name)?
        .strip_prefix(": ")?;
    printed.split_once(',')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "noise\r\nguest: 5.10.0-32-cloud-amd64 x86_64\r\n\r\n--- poll\r\n\
                           running 1 test\r\n--- not one\r\n=== other: 0, 1 s\r\n=== poll: 0, 3.1 s after\r\n\
                           --- tcp\r\nhangs";

    #[test]
    fn a_program_is_what_stands_between_its_marks() {
        assert_eq!(guest(CONSOLE), Some(("5.10.0-32-cloud-amd64", "x86_64")));
        let programs = programs(CONSOLE);
        assert_eq!(programs.len(), 2);
        let poll = &programs["poll"];
        assert_eq!(poll.status, Some(0));
        assert!(poll.output.starts_with("running 1 test\r\n"));
        assert!(poll.output.ends_with("=== other: 0, 1 s\r\n"));
    }

    #[test]
    fn a_program_that_did_not_end_has_no_status() {
        let programs = programs(CONSOLE);
        assert_eq!(
            programs["tcp"],
            Ran {
                status: None,
                output: "hangs"
            }
        );
        assert!(super::programs("").is_empty());
        assert_eq!(guest("no\n"), None);
    }
}
