//! The mutants, and their names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

#[derive(Clone, Debug, PartialEq)]
pub struct Mutant {
    /// The file as cargo-mutants names it, perhaps with `..` in it.
    pub path: String,
    pub file: String,
    line: u32,
    column: u32,
    /// `FILE: WHAT`, and ` #2` for the second of the same name. It contains no line number, so that it
    /// remains when other lines change.
    pub name: String,
}

impl Mutant {
    fn parse(line: &str) -> Option<Mutant> {
        let (place, what) = line.split_once(": ")?;
        let mut place = place.rsplitn(3, ':');
        let column = place.next()?.parse().ok()?;
        let line = place.next()?.parse().ok()?;
        let path = place.next()?;
        let file = without_parents(path);
        Some(Mutant {
            path: path.to_owned(),
            name: format!("{file}: {}", what.trim()),
            file,
            line,
            column,
        })
    }

    fn place(&self) -> (&str, u32, u32) {
        (&self.file, self.line, self.column)
    }

    /// A regular expression that matches this mutant's line of the list alone.
    pub fn pattern(&self) -> String {
        let what = &unnumbered(&self.name)[self.file.len()..];
        let line = format!("{}:{}:{}{what}", self.path, self.line, self.column);
        let mut pattern = "^".to_owned();
        for letter in line.chars() {
            if r"\.+*?()|[]{}^$".contains(letter) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + "$"
    }

    /// Whether this is `other`, which is perhaps from a list without some of the mutants before it.
    pub fn is_at(&self, other: &Mutant) -> bool {
        self.place() == other.place() && unnumbered(&self.name) == unnumbered(&other.name)
    }
}

/// `src/sys/platform/../calls/epoll.rs`: `src/sys/calls/epoll.rs`.
fn without_parents(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn unnumbered(name: &str) -> &str {
    match name.rsplit_once(" #") {
        Some((name, number)) if number.parse::<u32>().is_ok() => name,
        _ => name,
    }
}

/// The mutants of lines `FILE:LINE:COLUMN: WHAT`, each once, in their order in the files.
pub fn parse_names(text: &str) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mutant = Mutant::parse(line).with_context(|| format!("no mutant's name: {line}"))?;
        if !mutants.iter().any(|known: &Mutant| known.is_at(&mutant)) {
            mutants.push(mutant);
        }
    }
    mutants.sort_by(|a, b| a.place().cmp(&b.place()));
    let mut before = BTreeMap::new();
    for mutant in &mut mutants {
        let number = before.entry(mutant.name.clone()).or_insert(0);
        *number += 1;
        if *number > 1 {
            mutant.name += &format!(" #{number}");
        }
    }
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_named_by_what_they_change_and_numbered_in_their_order() {
        let list = "src/a.rs:30:9: replace < with <= in f\n\
                    src/a.rs:4:15: replace < with <= in f\n\
                    src/b/c/../d.rs:7:5: replace g -> X with X::y(\": \")\n\
                    src/b/c/../d.rs:7:5: replace g -> X with X::y(\": \")\n\
                    src/a.rs:4:15: replace < with > in f\n";
        let mutants = parse_names(list).unwrap();
        let names: Vec<&str> = mutants.iter().map(|one| &*one.name).collect();
        assert_eq!(
            names,
            [
                "src/a.rs: replace < with <= in f",
                "src/a.rs: replace < with > in f",
                "src/a.rs: replace < with <= in f #2",
                "src/b/d.rs: replace g -> X with X::y(\": \")",
            ]
        );
        assert_eq!(mutants[3].path, "src/b/c/../d.rs");
    }

    #[test]
    fn a_mutant_is_found_in_a_shorter_list() {
        let all = parse_names("a.rs:1:1: x\na.rs:2:1: x\n").unwrap();
        let some = parse_names("a.rs:2:1: x\n").unwrap();
        assert_eq!(all[1].name, "a.rs: x #2");
        assert!(all[1].is_at(&some[0]) && !all[0].is_at(&some[0]));
    }

    #[test]
    fn the_pattern_of_a_mutant_is_its_line_with_what_has_a_meaning_escaped() {
        let list =
            "a/../b.rs:1:5: replace f -> X with [()]\na/../b.rs:2:5: replace f -> X with [()]\n";
        let mutants = parse_names(list).unwrap();
        assert_eq!(
            mutants[1].pattern(),
            r"^a/\.\./b\.rs:2:5: replace f -> X with \[\(\)\]$"
        );
    }

    #[test]
    fn other_text_is_no_mutant() {
        for text in ["src/a.rs: x", "src/a.rs:1: x", "src/a.rs:1:b: x", "x"] {
            assert!(parse_names(text).is_err(), "{text}");
        }
    }
}
