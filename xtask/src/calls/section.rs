//! The calls of each operation, between the marks of a program.

use anyhow::{bail, Result};

/// The calls between the marks of one operation.
#[derive(Debug, PartialEq)]
pub struct Section {
    pub name: String,
    /// The calls in order, for each run of the operation.
    pub runs: Vec<Vec<String>>,
}

impl Section {
    /// The calls as a line of the table, if every run made the same.
    pub fn calls(&self) -> Result<String> {
        let mut lines = self.runs.iter().map(|run| {
            if run.is_empty() {
                "-".to_owned()
            } else {
                run.join(" ")
            }
        });
        let first = lines.next().unwrap_or_default();
        if let Some(other) = lines.find(|line| *line != first) {
            bail!("not the same every time: `{first}`, then `{other}`");
        }
        Ok(first)
    }
}

/// A line of what is said of a program.
pub enum Line<'a> {
    Begin(&'a str),
    End(&'a str),
    Call(&'a str),
}

/// The marked sections, in the order of their first runs.
pub fn sections<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Option<(&str, Vec<String>)> = None;
    for line in lines {
        match (line, &mut open) {
            (Line::Begin(name), None) => open = Some((name, Vec::new())),
            (Line::End(name), Some((begun, _))) if name == *begun => {
                let (name, run) = open.take().expect("matched above");
                match sections.iter_mut().find(|section| section.name == name) {
                    Some(section) => section.runs.push(run),
                    None => sections.push(Section {
                        name: name.to_owned(),
                        runs: vec![run],
                    }),
                }
            }
            (Line::Begin(name) | Line::End(name), _) => bail!("the marks do not match at {name:?}"),
            (Line::Call(call), Some((_, run))) => run.push(call.to_owned()),
            (Line::Call(_), None) => {}
        }
    }
    match open {
        Some((name, _)) => bail!("it ends inside of {name}"),
        None => Ok(sections),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_differ_are_an_error() {
        let section = Section {
            name: "a".to_owned(),
            runs: vec![vec!["read".to_owned()], vec![]],
        };
        assert_eq!(
            section.calls().unwrap_err().to_string(),
            "not the same every time: `read`, then `-`"
        );
    }
}
