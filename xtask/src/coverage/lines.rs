//! The lines of a source file: which function each is of, and which are of unit tests.

use std::fs;

use anyhow::{Context, Result};

use crate::root;

pub struct Source {
    lines: Vec<String>,
    /// The number of lines before the unit tests, which are at the end of a file.
    before_tests: usize,
}

impl Source {
    /// Reads a file of the repository.
    pub fn read(path: &str) -> Result<Source> {
        let text = fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
        Ok(Source::parse(&text))
    }

    fn parse(text: &str) -> Source {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let before_tests = lines.iter().position(|line| {
            // The attribute before it is counted in, and has no code.
            line.starts_with("mod ") && line.ends_with("tests {")
        });
        Source {
            before_tests: before_tests.unwrap_or(lines.len()),
            lines,
        }
    }

    /// Whether a line, counted from one, is of unit tests.
    pub fn is_test(&self, line: usize) -> bool {
        line > self.before_tests
    }

    /// Whether there is a function.
    pub fn has_code(&self) -> bool {
        let lines = self.lines[..self.before_tests].iter();
        lines.map(|line| line.as_str()).any(is_function)
    }

    /// A name for a line, counted from one, that survives changes elsewhere: its function, and its text.
    pub fn name(&self, line: usize) -> String {
        let text = self.lines[line - 1].as_str();
        let is_its = |other: &&String| match text.trim_start().starts_with('}') || is_function(text)
        {
            true => indent(other) <= indent(text),
            false => indent(other) < indent(text),
        };
        let before = self.lines[..line].iter().rev();
        let function = before.filter(is_its).find_map(|line| function(line));
        format!("{}: {}", function.unwrap_or("-"), text.trim())
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_function(line: &str) -> bool {
    function(line).is_some()
}

/// The name of the function that a line declares.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let words = line.split_once("fn ")?;
    let is_declared = words.0.split_whitespace().all(|word| {
        let word = word.trim_matches('"');
        ["pub", "const", "unsafe", "extern", "C"].contains(&word)
            || word.starts_with("pub(")
            || word.ends_with(')')
    });
    let end = words
        .1
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(words.1.len());
    (is_declared && end > 0).then(|| &words.1[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
impl A {
    pub(crate) const fn one(&self) -> u8 {
        let f = |x| {
            x
        };
        f(1)
    }

    fn two() {
        // fn three()
        one()
    }
}

#[cfg(test)]
mod tests {
    fn four() {}
}
";

    #[test]
    fn a_line_is_named_by_its_function_and_text() {
        let source = Source::parse(TEXT);
        for (line, name) in [
            (2, "one: pub(crate) const fn one(&self) -> u8 {"),
            (4, "one: x"),
            (5, "one: };"),
            (7, "one: }"),
            (9, "two: fn two() {"),
            (11, "two: one()"),
            (12, "two: }"),
        ] {
            assert_eq!(source.name(line), name);
        }
    }

    #[test]
    fn unit_tests_are_at_the_end() {
        let source = Source::parse(TEXT);
        assert!(!source.is_test(13));
        assert!(source.is_test(17));
        assert!(source.has_code());
        assert!(!Source::parse("pub use a::b;\n// fn no()\n").has_code());
    }

    #[test]
    fn only_declarations_are_functions() {
        assert_eq!(function("extern \"C\" fn f<T>() {"), Some("f"));
        assert_eq!(function("    pub(in crate) unsafe fn g("), Some("g"));
        assert_eq!(function("let x: fn (u8) = f;"), None);
        assert_eq!(function("call(fn_name);"), None);
    }
}
