//! The two lists of testing/mutants: which file is run with which tests, and which mutants survive.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use anyhow::{anyhow, bail, Context, Result};

use crate::mutants::list::Mutant;
use crate::root;

const FILES: &str = "testing/mutants/files.txt";
const SURVIVORS: &str = "testing/mutants/survivors.txt";

/// How the library is built, which decides which files are compiled.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Build {
    Linux,
    Kqueue,
    EventPorts,
    /// Run under Wine.
    Windows,
}

impl Build {
    pub const ALL: [Build; 4] = [
        Build::Linux,
        Build::Kqueue,
        Build::EventPorts,
        Build::Windows,
    ];

    /// The model of a kernel.
    pub fn model(self) -> Option<&'static str> {
        match self {
            Build::Linux | Build::Windows => None,
            Build::Kqueue => Some("kqueue"),
            Build::EventPorts => Some("event-ports"),
        }
    }

    /// The file of `src/sys/platform/`, without its extension.
    pub fn row(self) -> &'static str {
        match self {
            Build::Linux => "linux",
            Build::Kqueue => "kqueue_model",
            Build::EventPorts => "event_ports_model",
            Build::Windows => "windows",
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model().unwrap_or(self.row()))
    }
}

/// Tests in one build.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub build: Build,
    /// Variables of the environment, which select a variant of the model.
    pub variables: Vec<(String, String)>,
    /// `lib`, and files of tests/ without their extension.
    pub tests: Vec<String>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.build)?;
        for (name, value) in &self.variables {
            write!(f, " {name}={value}")?;
        }
        write!(f, ": {}", self.tests.join(" "))
    }
}

/// Files whose mutants the same tests must notice.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// A mutant must be noticed in one of them. Each tries only what those before it have missed.
    pub runs: Vec<Run>,
    pub files: Vec<String>,
}

impl Group {
    pub fn has(&self, mutant: &Mutant) -> bool {
        self.files.contains(&mutant.file)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: Vec<String> = self.runs.iter().map(Run::to_string).collect();
        write!(f, "{} ({})", self.files.join(" "), runs.join("; "))
    }
}

/// testing/mutants/files.txt: a line `BUILD NAME=VALUE: TESTS`, or several, or `not run: REASON`, and below it its files,
/// indented.
#[derive(Debug, Default)]
pub struct Files {
    groups: Vec<Group>,
    not_run: Vec<(String, String)>,
}

impl Files {
    pub fn read() -> Result<Files> {
        let text = fs::read_to_string(root().join(FILES)).context(FILES)?;
        Files::parse(&text).context(FILES)
    }

    pub fn parse(text: &str) -> Result<Files> {
        let mut files = Files::default();
        // Why the files that follow are not run, if they are not.
        let mut why = None;
        for line in text.lines() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(file) = line.strip_prefix("    ") {
                let file = file.trim().to_owned();
                match (&why, files.groups.last_mut()) {
                    (Some(why), _) => files.not_run.push((file, String::clone(why))),
                    (None, Some(group)) => group.files.push(file),
                    (None, None) => bail!("{line:?} comes before the first heading"),
                }
                continue;
            }
            let (build, rest) = line
                .split_once(':')
                .ok_or_else(|| anyhow!("{line:?} is no heading"))?;
            let rest = rest.trim().to_owned();
            if rest.is_empty() {
                bail!("{line:?} says nothing");
            }
            if build == "not run" {
                why = Some(rest);
                continue;
            }
            why = None;
            let mut words = build.split_whitespace();
            let build = words
                .next()
                .and_then(|build| Build::ALL.into_iter().find(|one| one.to_string() == build));
            let variables = words.map(|word| {
                let (name, value) = word
                    .split_once('=')
                    .ok_or_else(|| anyhow!("{word:?} in {line:?} is no variable"))?;
                Ok((name.to_owned(), value.to_owned()))
            });
            let run = Run {
                build: build.ok_or_else(|| anyhow!("{line:?} names no build"))?,
                variables: variables.collect::<Result<_>>()?,
                tests: rest.split_whitespace().map(str::to_owned).collect(),
            };
            match files.groups.last_mut() {
                // Two headings in succession share the files below them.
                Some(group) if group.files.is_empty() => group.runs.push(run),
                _ => files.groups.push(Group {
                    runs: vec![run],
                    files: Vec::new(),
                }),
            }
        }
        let mut all: Vec<&str> = files.all().collect();
        all.sort_unstable();
        if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("{} appears twice", twice[0]);
        }
        Ok(files)
    }

    fn run(&self) -> impl Iterator<Item = &str> {
        let files = self.groups.iter().flat_map(|group| &group.files);
        files.map(String::as_str)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.run().chain(self.not_run().map(|(file, _)| file))
    }

    /// Whether the mutants of this file are run.
    pub fn has(&self, file: &str) -> bool {
        self.run().any(|one| one == file)
    }

    /// The groups, with these files only, or with all.
    pub fn groups(&self, wanted: &[String]) -> Vec<Group> {
        let mut groups = self.groups.clone();
        if !wanted.is_empty() {
            for group in &mut groups {
                group.files.retain(|file| wanted.contains(file));
            }
        }
        groups.retain(|group| !group.files.is_empty());
        groups
    }

    /// The files that are not run, and why.
    pub fn not_run(&self) -> impl Iterator<Item = (&str, &str)> {
        self.not_run.iter().map(|(file, why)| (&**file, &**why))
    }

    /// A file with mutants that this does not name, and one that it names and that has none.
    pub fn problems(&self, mutants: &[Mutant]) -> Vec<String> {
        let mut files: Vec<&str> = mutants.iter().map(|one| &*one.file).collect();
        files.dedup();
        let unnamed = files
            .iter()
            .filter(|file| self.all().all(|one| one != **file))
            .map(|file| format!("{FILES} does not name {file}"));
        let stale = self
            .all()
            .filter(|file| !files.contains(file))
            .map(|file| format!("{FILES} names {file}, which has no mutant"));
        unnamed.chain(stale).collect()
    }
}

/// testing/mutants/survivors.txt: lines `NAME -- REASON`.
#[derive(Debug)]
pub struct Survivors(BTreeMap<String, String>);

impl Survivors {
    pub fn read() -> Result<Survivors> {
        let text = fs::read_to_string(root().join(SURVIVORS)).context(SURVIVORS)?;
        Survivors::parse(&text).context(SURVIVORS)
    }

    pub fn parse(text: &str) -> Result<Survivors> {
        let mut survivors = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, why) = line
                .split_once(" -- ")
                .ok_or_else(|| anyhow!("{line:?} has no reason"))?;
            if survivors.insert(name.to_owned(), why.to_owned()).is_some() {
                bail!("{name:?} appears twice");
            }
        }
        Ok(Survivors(survivors))
    }

    /// Why a mutant changes nothing that can be observed.
    pub fn reason(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Lines that are no mutant's, or of a file that is not run.
    pub fn stale(&self, mutants: &[Mutant], files: &Files) -> Vec<String> {
        let names = self.0.keys();
        names
            .filter_map(|name| match mutants.iter().find(|one| one.name == *name) {
                None => Some(format!("{SURVIVORS}: there is no mutant {name:?}")),
                Some(one) if !files.has(&one.file) => {
                    Some(format!("{SURVIVORS}: {} is not run", one.file))
                }
                Some(_) => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::list::parse_names;

    const LIST: &str = "# comment\nlinux: lib waker\n    src/a.rs\n    src/b.rs\n\n\
                        kqueue: lib\n    src/k.rs\n\nnot run: Windows\n    src/w.rs\n";

    #[test]
    fn headings_in_succession_share_the_files_below_them() {
        let files = Files::parse("linux: lib\nkqueue: waker\n    a\nkqueue: lib\n    b\n").unwrap();
        let groups: Vec<String> = files.groups(&[]).iter().map(Group::to_string).collect();
        assert_eq!(groups, ["a (linux: lib; kqueue: waker)", "b (kqueue: lib)"]);
    }

    #[test]
    fn a_build_may_have_a_variant_of_the_model() {
        let files = Files::parse("kqueue A=1 B=x: lib\n    a\n").unwrap();
        let run = &files.groups(&[])[0].runs[0];
        let [a, b] = [("A", "1"), ("B", "x")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(run.variables, [a, b]);
        assert_eq!(run.to_string(), "kqueue A=1 B=x: lib");
    }

    #[test]
    fn a_group_is_a_build_its_tests_and_its_files() {
        let files = Files::parse(LIST).unwrap();
        let groups = files.groups(&[]);
        assert_eq!(groups.len(), 2);
        assert_eq!(
            groups[0].to_string(),
            "src/a.rs src/b.rs (linux: lib waker)"
        );
        assert_eq!(groups[1].to_string(), "src/k.rs (kqueue: lib)");
        assert_eq!(
            files.not_run().collect::<Vec<_>>(),
            [("src/w.rs", "Windows")]
        );
        assert!(files.has("src/k.rs") && !files.has("src/w.rs"));
    }

    #[test]
    fn files_are_selected_by_their_names() {
        let files = Files::parse(LIST).unwrap();
        let groups = files.groups(&["src/b.rs".to_owned()]);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].files, ["src/b.rs"]);
    }

    #[test]
    fn what_is_no_list_of_files_is_refused() {
        for (text, why) in [
            ("    src/a.rs\n", "before the first heading"),
            ("linux lib\n", "no heading"),
            ("linux:\n", "says nothing"),
            ("hurd: lib\n", "no build"),
            ("kqueue A: lib\n", "no variable"),
            ("linux: lib\n    a\n    a\n", "appears twice"),
        ] {
            let error = Files::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_with_mutants_is_named_and_one_without_is_not() {
        let files = Files::parse("linux: lib\n    src/a.rs\n    src/b.rs\n").unwrap();
        let mutants = parse_names("src/a.rs:1:1: x\nsrc/c.rs:1:1: x\n").unwrap();
        assert_eq!(
            files.problems(&mutants),
            [
                format!("{FILES} does not name src/c.rs"),
                format!("{FILES} names src/b.rs, which has no mutant"),
            ]
        );
    }

    #[test]
    fn a_survivor_that_is_no_mutant_or_not_run_is_stale() {
        let files = Files::parse(LIST).unwrap();
        let mutants = parse_names("src/a.rs:1:1: x\nsrc/w.rs:1:1: x\n").unwrap();
        let lines = "src/a.rs: x -- why\nsrc/a.rs: y -- why\nsrc/w.rs: x -- why\n";
        let survivors = Survivors::parse(lines).unwrap();
        assert_eq!(survivors.stale(&mutants, &files).len(), 2);
        assert_eq!(survivors.reason("src/a.rs: x"), Some("why"));
        assert_eq!(survivors.reason("src/a.rs: z"), None);
    }

    #[test]
    fn a_survivor_without_a_reason_or_twice_is_refused() {
        assert!(Survivors::parse("src/a.rs: x\n").is_err());
        assert!(Survivors::parse("src/a.rs: x -- a\nsrc/a.rs: x -- b\n").is_err());
    }

    #[test]
    fn the_lists_name_tests_and_files_that_exist() {
        let files = Files::read().unwrap();
        for file in files.all() {
            assert!(root().join(file).is_file(), "{file}");
        }
        for group in files.groups(&[]) {
            let tests = group.runs.iter().flat_map(|run| &run.tests);
            for test in tests.filter(|test| *test != "lib") {
                let path = root().join("tests").join(format!("{test}.rs"));
                assert!(path.is_file(), "{test}");
            }
        }
        Survivors::read().unwrap();
    }
}
