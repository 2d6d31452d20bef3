//! testing/oracle/not-found.txt: the faults that random programs cannot find, each with the reason.
//!
//! A line is `BACKEND/NAME: REASON`. Empty lines, and lines that begin with `#`, are ignored.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use anyhow::{bail, Context, Result};

use crate::faults::Fault;
use crate::root;

pub const PATH: &str = "testing/oracle/not-found.txt";

/// The reasons, by fault.
#[derive(Debug, Default)]
pub struct NotFound(BTreeMap<String, String>);

impl NotFound {
    /// Without the file, nothing is listed. Each line must name one of `faults`.
    pub fn read(faults: &[Fault]) -> Result<NotFound> {
        let text = match fs::read_to_string(root().join(PATH)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context(PATH),
        };
        NotFound::parse(&text, faults).context(PATH)
    }

    pub fn parse(text: &str, faults: &[Fault]) -> Result<NotFound> {
        let mut reasons = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault_and_reason = line.split_once(':');
            let Some((fault, reason)) = fault_and_reason
                .map(|(fault, reason)| (fault.trim(), reason.trim()))
                .filter(|(fault, reason)| fault.contains('/') && !reason.is_empty())
            else {
                bail!("{line:?} is not BACKEND/NAME: REASON");
            };
            if faults.iter().all(|known| known.to_string() != fault) {
                bail!("testing/faults has no {fault}");
            }
            if reasons
                .insert(fault.to_owned(), reason.to_owned())
                .is_some()
            {
                bail!("{fault} appears twice");
            }
        }
        Ok(NotFound(reasons))
    }

    /// Why the oracle need not find a fault, if the fault is listed.
    pub fn reason(&self, fault: &Fault) -> Option<&str> {
        self.0.get(&fault.to_string()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults;

    fn parse(text: &str) -> Result<NotFound> {
        let fault = |name| Fault::noticed_by("epoll", name, "test: lib a::b");
        NotFound::parse(text, &[fault("a"), fault("b")])
    }

    #[test]
    fn a_line_gives_the_reason_of_a_fault() {
        let list = parse("# fork\n\n  epoll/a: needs exec: none here \n#epoll/b: no\n").unwrap();
        let reason = |name| {
            list.reason(&Fault::noticed_by("epoll", name, "test: lib a::b"))
                .map(str::to_owned)
        };
        assert_eq!(reason("a").unwrap(), "needs exec: none here");
        assert_eq!(reason("b"), None);
        assert!(parse("").unwrap().0.is_empty());
    }

    #[test]
    fn a_line_that_lacks_something_is_refused() {
        for (text, why) in [
            ("epoll/a", "is not BACKEND/NAME: REASON"),
            ("epoll/a:", "is not BACKEND/NAME: REASON"),
            ("epoll/a: ", "is not BACKEND/NAME: REASON"),
            ("a: fork", "is not BACKEND/NAME: REASON"),
            ("epoll/a: fork\nepoll/a: exec", "twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_line_about_a_fault_that_does_not_exist_is_refused() {
        for text in ["epoll/c: fork", "poll/a: fork"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("testing/faults has no "), "{error}");
        }
    }

    #[test]
    fn the_list_that_is_there_names_faults_that_exist() {
        NotFound::read(&faults::load().unwrap()).unwrap();
    }
}
