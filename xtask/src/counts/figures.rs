//! The costs of each operation, and the table of them.

use anyhow::{anyhow, bail, Context, Result};

#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// In tenths, like the allocations: both are averages of exact numbers.
    pub instructions: f64,
    pub allocations: f64,
    /// As `folded` writes them. An error describes calls that were not the same in every run.
    pub calls: Result<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub operation: String,
    /// This crate, another crate, or a loop without any.
    pub subject: String,
    pub cost: Cost,
}

impl Row {
    pub fn name(&self) -> String {
        format!("{} | {}", self.operation, self.subject)
    }

    /// A line of the table.
    fn to_line(&self) -> Result<String> {
        let name = self.name();
        let Cost {
            instructions,
            allocations,
            calls,
        } = &self.cost;
        let calls = calls
            .as_ref()
            .map_err(|differ| anyhow!("{name}: {differ}"))?;
        Ok(format!(
            "{name} | {instructions:.1} | {allocations} | {calls}\n"
        ))
    }

    fn from_line(line: &str) -> Result<Row> {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [operation, subject, instructions, allocations, calls] = cells[..] else {
            bail!("{} columns", cells.len());
        };
        Ok(Row {
            operation: operation.to_owned(),
            subject: subject.to_owned(),
            cost: Cost {
                instructions: instructions.parse()?,
                allocations: allocations.parse()?,
                calls: Ok(calls.to_owned()),
            },
        })
    }
}

/// Rows in the order in which they ran, each with a different name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(Vec<Row>);

const HEADING: &str = "\
# What each operation costs: OPERATION | SUBJECT | INSTRUCTIONS | ALLOCATIONS | CALLS. Instructions
# are the program's own, not the kernel's, as callgrind counts them; system calls are in order, `-`
# for none, `3x(read)` for three in a row. `cargo xtask counts` compares: the instructions of `mio`
# beside those of the other subjects, so that another compiler or libc need not change this file; the
# rest exactly. `cargo xtask counts --bless` writes this file; the operations are in bench/src.

";

impl Figures {
    pub fn from_text(text: &str) -> Result<Figures> {
        let mut figures = Figures::default();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let row = Row::from_line(line).with_context(|| format!("no row: {line:?}"))?;
            figures.push(row)?;
        }
        Ok(figures)
    }

    /// Fails if an operation's calls were not the same in every run.
    pub fn to_text(&self) -> Result<String> {
        let lines = self
            .0
            .iter()
            .map(Row::to_line)
            .collect::<Result<String>>()?;
        Ok([HEADING, &lines].concat())
    }

    pub fn push(&mut self, row: Row) -> Result<()> {
        if self.get(&row.operation, &row.subject).is_some() {
            bail!("{} appears twice", row.name());
        }
        self.0.push(row);
        Ok(())
    }

    /// Adds the rows of other operations.
    pub fn append(&mut self, mut other: Figures) {
        self.0.append(&mut other.0);
    }

    /// Removes all other operations.
    pub fn retain(&mut self, operations: &[String]) {
        self.0.retain(|row| operations.contains(&row.operation));
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    pub fn get(&self, operation: &str, subject: &str) -> Option<&Cost> {
        let is_it = |row: &&Row| row.operation == operation && row.subject == subject;
        self.0.iter().find(is_it).map(|row| &row.cost)
    }

    pub fn has(&self, operation: &str) -> bool {
        self.0.iter().any(|row| row.operation == operation)
    }

    pub fn operations(&self) -> Vec<&str> {
        let mut operations = Vec::new();
        for row in &self.0 {
            if !operations.contains(&row.operation.as_str()) {
                operations.push(row.operation.as_str());
            }
        }
        operations
    }

    /// The subjects that an operation ran with.
    pub fn subjects(&self, operation: &str) -> Vec<&str> {
        let rows = self.0.iter().filter(|row| row.operation == operation);
        rows.map(|row| row.subject.as_str()).collect()
    }
}

/// A number with one decimal, as in the table. It is rounded to an integer first, so that zero has
/// no minus sign.
pub fn tenths(number: f64) -> f64 {
    (number * 10.0).round() as i64 as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
turn/1/none | mio | 71.0 | 0 | epoll_wait
turn/1/none | raw epoll | 62.3 | 0.5 | epoll_wait
poll(2): register | mio | 140.0 | 1 | -
";

    #[test]
    fn the_table_is_read_as_it_was_written() {
        let figures = Figures::from_text(LINES).unwrap();
        assert_eq!(figures.to_text().unwrap(), [HEADING, LINES].concat());
        assert_eq!(
            Figures::from_text(&figures.to_text().unwrap()).unwrap(),
            figures
        );
        let raw = Cost {
            instructions: 62.3,
            allocations: 0.5,
            calls: Ok("epoll_wait".to_owned()),
        };
        assert_eq!(figures.get("turn/1/none", "raw epoll"), Some(&raw));
        assert_eq!(figures.get("poll(2): register", "raw epoll"), None);
    }

    #[test]
    fn operations_are_selected_and_listed() {
        let mut figures = Figures::from_text(LINES).unwrap();
        assert_eq!(figures.operations(), ["turn/1/none", "poll(2): register"]);
        assert_eq!(figures.subjects("turn/1/none"), ["mio", "raw epoll"]);
        figures.retain(&["poll(2): register".to_owned()]);
        assert_eq!(figures.operations(), ["poll(2): register"]);
        assert!(figures.has("poll(2): register") && !figures.has("turn/1/none"));
    }

    #[test]
    fn one_decimal_is_kept() {
        assert_eq!(tenths(95.449), 95.4);
        assert_eq!(tenths(-0.26), -0.3);
        assert_eq!(tenths(-0.04).to_string(), "0");
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        for (line, why) in [
            ("turn | mio | 71.0 | 0", "4 columns"),
            ("turn | mio | many | 0 | -", "no row"),
            ("turn/1/none | mio | 71.0 | 0 | -", "appears twice"),
        ] {
            let error = Figures::from_text(&[LINES, line, "\n"].concat()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn calls_that_differ_are_not_written() {
        let mut figures = Figures::from_text(LINES).unwrap();
        figures.0[0].cost.calls = Err("once `-`, once `read`".to_owned());
        let error = figures.to_text().unwrap_err().to_string();
        assert_eq!(error, "turn/1/none | mio: once `-`, once `read`");
    }
}
