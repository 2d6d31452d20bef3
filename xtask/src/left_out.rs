//! Lists of what a step leaves out, each line with its reason. Every line must match something.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{bail, Context, Result};

use crate::root;

pub struct List {
    path: String,
    lines: Vec<Line>,
    /// The indices of the lines that matched something.
    used: BTreeSet<usize>,
}

#[derive(Debug, PartialEq)]
struct Line {
    /// A name, in which `*` matches any text.
    pattern: String,
    why: String,
}

impl List {
    /// Reads a file of the repository.
    pub fn read(path: &str) -> Result<List> {
        let text = fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
        List::parse(path, &text)
    }

    /// Lines `NAME -- REASON`. Empty lines, and lines that begin with `#`, are ignored.
    pub fn parse(path: &str, text: &str) -> Result<List> {
        let lines = text.lines().map(str::trim);
        let lines = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| match line.split_once(" -- ") {
                Some((pattern, why)) => Ok(Line {
                    pattern: pattern.trim().to_owned(),
                    why: why.trim().to_owned(),
                }),
                None => bail!("{path}: {line:?} has no reason"),
            });
        Ok(List {
            path: path.to_owned(),
            lines: lines.collect::<Result<_>>()?,
            used: BTreeSet::new(),
        })
    }

    /// The reason why this is left out, from the first line that matches it. `None` if no line does.
    pub fn reason_for(&mut self, name: &str) -> Option<&str> {
        let index = self.lines.iter().position(|line| line.is_of(name))?;
        self.used.insert(index);
        Some(&self.lines[index].why)
    }

    /// A problem for each line that matched nothing.
    pub fn stale(&self) -> Vec<String> {
        self.unused()
            .map(|(pattern, _)| format!("{}: nothing is left out by {pattern:?}", self.path))
            .collect()
    }

    /// The lines that nothing was found for, with their reasons.
    pub fn unused(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.lines.iter().enumerate();
        lines
            .filter(|(index, _)| !self.used.contains(index))
            .map(|(_, line)| (line.pattern.as_str(), line.why.as_str()))
    }

    /// The lines that have this reason.
    pub fn with_reason<'a>(&'a self, why: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter();
        lines
            .filter(move |line| line.why == why)
            .map(|line| line.pattern.as_str())
    }
}

impl Line {
    fn is_of(&self, name: &str) -> bool {
        matches(&self.pattern, name)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((beginning, rest)) => name.strip_prefix(beginning).is_some_and(|name| {
            let ends = name.char_indices().map(|(end, _)| end).chain([name.len()]);
            let mut ends = ends.map(|end| &name[end..]);
            ends.any(|name| matches(rest, name))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_names_nothing_is_stale() {
        let text = "# a comment\n\nf: a -- no a\ng: x::* -- no x\nf: z -- no z\n";
        let mut list = List::parse("list", text).unwrap();
        assert_eq!(list.stale().len(), 3);
        assert_eq!(list.reason_for("f: a"), Some("no a"));
        assert_eq!(list.reason_for("f: ab"), None);
        assert_eq!(list.reason_for("g: x::c"), Some("no x"));
        assert_eq!(list.stale(), ["list: nothing is left out by \"f: z\""]);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in [
            ("f: *", "f: a"),
            ("*: poll::*", "waker: poll::a"),
            ("*", ""),
            ("f: *::a", "f: x::a"),
        ] {
            assert!(matches(pattern, name), "{pattern}, {name}");
        }
        for (pattern, name) in [
            ("f: *", "g: a"),
            ("*: poll::*", "waker: epoll::a"),
            ("*b", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern}, {name}");
        }
    }

    #[test]
    fn a_line_without_a_reason_is_an_error() {
        assert!(List::parse("list", "f: a").is_err());
    }
}
