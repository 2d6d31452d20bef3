//! The parts of Markdown that this step needs: fenced blocks with the marker before them, and
//! links.

use anyhow::{bail, Result};

/// A fenced block of a document.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// The first line of its text, counted from 1.
    pub line: usize,
    pub language: String,
    pub text: String,
    pub marker: Marker,
}

/// An HTML comment on the line before a block.
#[derive(Debug, PartialEq)]
pub enum Marker {
    None,
    /// `<!-- not run: WHY -->`
    NotRun(String),
    /// `<!-- run in: a program that depends on mio -->`
    InProgram,
    /// `<!-- part of: FILE -->`: the file must contain the block word by word
    PartOf(String),
}

/// A line `$ COMMAND` of a console block, and the lines of its output.
#[derive(Debug, PartialEq)]
pub struct Command {
    pub text: String,
    pub output: Vec<String>,
}

/// All fenced blocks. An error if a marker is not one of those above, or has no block.
pub fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut marker = Marker::None;
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if marker != Marker::None {
                bail!("line {number}: the marker before it has no block");
            }
            marker = parse_marker(line).map_err(|why| why.context(format!("line {number}")))?;
            continue;
        };
        let mut text = String::new();
        loop {
            match lines.next() {
                Some((line, _)) if line.trim() == "```" => break,
                Some((line, _)) => text.extend([line, "\n"]),
                None => bail!("line {number}: the block has no end"),
            }
        }
        blocks.push(Block {
            line: number + 1,
            language: language.trim().to_owned(),
            text,
            marker: std::mem::replace(&mut marker, Marker::None),
        });
    }
    Ok(blocks)
}

fn parse_marker(line: &str) -> Result<Marker> {
    let comment = line.trim().strip_prefix("<!--");
    let Some(comment) = comment.and_then(|rest| rest.strip_suffix("-->")) else {
        return Ok(Marker::None);
    };
    match comment.trim().split_once(':') {
        Some(("not run", why)) if !why.trim().is_empty() => {
            Ok(Marker::NotRun(why.trim().to_owned()))
        }
        Some(("run in", place)) if place.trim() == "a program that depends on mio" => {
            Ok(Marker::InProgram)
        }
        Some(("part of", file)) => Ok(Marker::PartOf(file.trim().to_owned())),
        _ => bail!(
            "none of `part of: FILE`, `not run: WHY` and `run in: a program that depends on mio`"
        ),
    }
}

impl Block {
    /// The commands of a console block. A `\` at the end of a line continues it.
    pub fn commands(&self) -> Result<Vec<Command>> {
        let mut commands: Vec<Command> = Vec::new();
        let mut continued = false;
        for line in self.text.lines() {
            let last = commands.last_mut();
            if let Some(text) = line.strip_prefix("$ ") {
                commands.push(Command {
                    text: text.to_owned(),
                    output: Vec::new(),
                });
            } else if let Some(last) = last {
                if continued {
                    last.text.extend(["\n", line]);
                } else {
                    last.output.push(line.to_owned());
                }
            } else {
                bail!("the block does not begin with `$ `");
            }
            continued = line.ends_with('\\') && (continued || line.starts_with("$ "));
        }
        if commands.is_empty() {
            bail!("there is no command in it");
        }
        Ok(commands)
    }
}

/// The words of a command, split as by a shell, up to a comment. It supports quotes, but no
/// substitutions.
pub fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => word.get_or_insert_with(String::new).push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_with(String::new);
            }
            (None, '#') if word.is_none() => break,
            (None, '\\') => {}
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether the output of a command contains these lines, in this order. `…` stands for any text.
pub fn is_in(expected: &[String], printed: &str) -> bool {
    let mut printed = printed.lines();
    expected
        .iter()
        .all(|line| printed.any(|is| is_like(line.trim_end(), is.trim_end())))
}

fn is_like(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    for (index, part) in pattern.split('…').enumerate() {
        let found = match index {
            0 => rest.strip_prefix(part),
            _ => rest.find(part).map(|at| &rest[at + part.len()..]),
        };
        match found {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('…')
}

/// The targets of a document's links, outside of its blocks, except for links to other sites.
pub fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let link = &rest[..rest.find(')').unwrap_or(rest.len())];
            if !link.contains("://") {
                links.push(link.to_owned());
            }
        }
    }
    links
}

/// The anchors of a document's headings.
pub fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_language_text_and_marker() {
        let text = "# t\n\n<!-- not run: it takes an hour -->\n```console\n$ a  # b\nout\n```\n\
                    ```rust\nfn main() {}\n```\n<!-- run in: a program that depends on mio -->\n\
                    ```console\n$ c\n```\n";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks.len(), 3);
        let why = "it takes an hour".to_owned();
        assert_eq!(blocks[0].marker, Marker::NotRun(why));
        assert_eq!((blocks[0].line, blocks[1].line), (5, 9));
        assert_eq!(blocks[1].language, "rust");
        assert_eq!(blocks[1].text, "fn main() {}\n");
        assert_eq!(blocks[1].marker, Marker::None);
        assert_eq!(blocks[2].marker, Marker::InProgram);
        let part = super::blocks("<!-- part of: src/a.rs -->\n```rust\n```\n").unwrap();
        assert_eq!(part[0].marker, Marker::PartOf("src/a.rs".to_owned()));
    }

    #[test]
    fn a_marker_without_a_reason_or_a_block_is_an_error() {
        for text in [
            "<!-- not run -->\n```console\n$ a\n```\n",
            "<!-- not run: -->\n```console\n$ a\n```\n",
            "<!-- run in: the kitchen -->\n```console\n$ a\n```\n",
            "<!-- not run: why -->\n\n```console\n$ a\n```\n",
            "```console\n$ a\n",
        ] {
            assert!(blocks(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_command_goes_on_behind_a_backslash_and_is_followed_by_its_output() {
        let text = "```console\n$ a \\\n  b\n$ c\nout\n```\n";
        let commands = blocks(text).unwrap()[0].commands().unwrap();
        assert_eq!(commands[0].text, "a \\\n  b");
        assert_eq!(words(&commands[0].text), ["a", "b"]);
        assert_eq!(commands[1].output, ["out"]);
        assert!(blocks("```console\nout\n```\n").unwrap()[0]
            .commands()
            .is_err());
    }

    #[test]
    fn words_are_split_as_by_a_shell() {
        let is = |command: &str, words: &[&str]| assert_eq!(super::words(command), words);
        is("cargo test  # all", &["cargo", "test"]);
        is("A='b c' d\"e\"#f", &["A=b c", "de#f"]);
        is("x ''", &["x", ""]);
        is("  # nothing", &[]);
    }

    #[test]
    fn output_is_compared_in_order_with_gaps() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(is_in(&[], "anything"));
        assert!(is_in(&lines("mio v1 (/…)\nb"), "x\nmio v1 (/a/b)\ny\nb\n"));
        assert!(!is_in(&lines("mio v1 (/…)"), "mio v1\n"));
        assert!(!is_in(&lines("b\na"), "a\nb\n"));
        assert!(!is_in(&lines("a"), "ab\n"));
        assert!(is_in(&lines("a…"), "ab\n"));
    }

    #[test]
    fn links_to_files_are_found_and_headings_are_their_anchors() {
        let text = "[a](b.md#c) and [d](https://e) ![f](g.svg)\n```console\n[h](i)\n```\n";
        assert_eq!(links(text), ["b.md#c", "g.svg"]);
        assert_eq!(anchors("## Beyond mio 1.2\n"), ["beyond-mio-12"]);
    }
}
