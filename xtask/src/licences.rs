//! Checks the library's dependencies, on every system: their licences allow distribution under MIT,
//! and no crate has two versions.
//!
//! The dependencies of tests and build scripts are not distributed, and not checked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use anyhow::{bail, Context, Result};
use serde_json::Value;

use crate::sh::Cmd;

/// By their names in SPDX's list. They require only that their text is kept.
const COMPATIBLE: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Zlib",
];

pub fn run() -> Result<()> {
    // Covers all systems, because no platform is given.
    let metadata = Cmd::cargo("metadata")
        .args(["--format-version", "1", "--all-features", "--locked"])
        .quiet()?
        .successful_stdout()?;
    let packages = passed_on(&serde_json::from_str(&metadata)?)?;
    for package in &packages {
        let licence = package.licence.as_deref().unwrap_or("none given");
        println!("{} {}: {licence}", package.name, package.version);
    }
    let problems = problems(&packages);
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} problems with the dependencies of mio", problems.len());
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

/// mio and all its normal dependencies, by name.
fn passed_on(metadata: &Value) -> Result<Vec<Package>> {
    let packages = by_id(&metadata["packages"]);
    let nodes = by_id(&metadata["resolve"]["nodes"]);
    let mio = packages
        .values()
        .find(|package| package["name"] == "mio" && package["source"].is_null())
        .context("mio is not in its own workspace")?;
    let mio = mio["id"].as_str().context("mio has no id")?;

    let mut found = Vec::new();
    let mut seen = HashSet::from([mio]);
    let mut next = vec![mio];
    while let Some(id) = next.pop() {
        let (package, node) = match (packages.get(id), nodes.get(id)) {
            (Some(package), Some(node)) => (package, node),
            _ => bail!("{id} is not resolved"),
        };
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        found.push(Package {
            name: text("name").context("a package without a name")?,
            version: text("version").context("a package without a version")?,
            licence: text("license"),
        });
        for dependency in node["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"]
                .as_array()
                .context("cargo is too old to tell kinds of dependencies")?;
            let id = dependency["pkg"].as_str().context("no package id")?;
            // null stands for a normal dependency.
            if kinds.iter().any(|kind| kind["kind"].is_null()) && seen.insert(id) {
                next.push(id);
            }
        }
    }
    if found.len() == 1 {
        bail!("no dependency of mio was found at all");
    }
    found.sort();
    Ok(found)
}

fn by_id(list: &Value) -> HashMap<&str, &Value> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|entry| Some((entry["id"].as_str()?, entry)))
        .collect()
}

fn problems(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, .. } = package;
        versions.entry(name).or_default().insert(version);
        match package.licence.as_deref().map(is_compatible) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => {
                let licence = package.licence.as_deref().unwrap_or_default();
                problems.push(format!(
                    "{name} {version}: {licence:?} does not allow distribution under MIT"
                ));
            }
            Some(Err(error)) => problems.push(format!("{name} {version}: {error:#}")),
            None => problems.push(format!("{name} {version} names no licence")),
        }
    }
    for (name, versions) in versions {
        if versions.len() > 1 {
            let versions: Vec<&str> = versions.into_iter().collect();
            problems.push(format!(
                "{name} has the versions {}",
                versions.join(" and ")
            ));
        }
    }
    problems
}

/// Whether an SPDX expression allows distribution under MIT: of licences joined by `OR`, one has
/// to; of those joined by `AND`, each has to. `A/B` is an older spelling of `A OR B`.
fn is_compatible(expression: &str) -> Result<bool> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = Words(spaced.split_whitespace().collect());
    let outcome = words.alternatives();
    match outcome {
        Some(outcome) if words.0.is_empty() => Ok(outcome),
        _ => bail!("{expression:?} is no licence expression"),
    }
}

/// The rest of an expression. `None` if it is no expression.
struct Words<'a>(VecDeque<&'a str>);

impl<'a> Words<'a> {
    /// `AND` binds more tightly.
    fn alternatives(&mut self) -> Option<bool> {
        let mut any = self.all()?;
        while self.take("OR") {
            any |= self.all()?;
        }
        Some(any)
    }

    fn all(&mut self) -> Option<bool> {
        let mut all = self.one()?;
        while self.take("AND") {
            all &= self.one()?;
        }
        Some(all)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.alternatives()?;
            return self.take(")").then_some(inner);
        }
        let licence = self.name()?;
        // An exception permits more.
        if self.take("WITH") {
            self.name()?;
        }
        Some(COMPATIBLE.contains(&licence))
    }

    fn name(&mut self) -> Option<&'a str> {
        let word = self.0.pop_front()?;
        let is_name = !["OR", "AND", "WITH", "(", ")"].contains(&word);
        is_name.then_some(word)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.0.front() == Some(&word);
        if is_next {
            self.0.pop_front();
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_of_several_licences_will_do() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "Unlicense OR MIT",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only",
            "GPL-3.0-only AND MIT OR ISC",
            "((Zlib))",
        ] {
            assert!(is_compatible(good).unwrap(), "{good}");
        }
        for bad in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR ISC) AND MPL-2.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "mit",
        ] {
            assert!(!is_compatible(bad).unwrap(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for none in [
            "", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "AND",
        ] {
            let error = is_compatible(none).unwrap_err().to_string();
            assert!(error.contains("no licence expression"), "{none}");
        }
    }

    fn package(name: &str, version: &str, licence: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.map(str::to_owned),
        }
    }

    #[test]
    fn every_problem_is_reported() {
        let packages = [
            package("a", "1.0.0", Some("MIT")),
            package("b", "1.0.0", Some("GPL-3.0-only")),
            package("c", "1.0.0", None),
            package("d", "1.0.0", Some("MIT")),
            package("d", "2.0.0", Some("MIT OR")),
        ];
        assert_eq!(
            problems(&packages),
            [
                "b 1.0.0: \"GPL-3.0-only\" does not allow distribution under MIT",
                "c 1.0.0 names no licence",
                "d 2.0.0: \"MIT OR\" is no licence expression",
                "d has the versions 1.0.0 and 2.0.0",
            ]
        );
        assert!(problems(&packages[..1]).is_empty());
    }

    #[test]
    fn what_is_only_for_tests_and_builds_is_not_passed_on() {
        let known = |name: &str, id: &str, version: &str| json!({"id": id, "name": name, "version": version, "source": null, "license": "MIT"});
        let on = |id: &str, kinds: &[Option<&str>]| {
            let kinds: Vec<Value> = kinds.iter().map(|kind| json!({ "kind": kind })).collect();
            json!({"pkg": id, "dep_kinds": kinds})
        };
        let metadata = json!({
            "packages": [
                known("mio", "mio", "1.3.0"),
                known("a", "a1", "1.0.0"),
                known("a", "a2", "2.0.0"),
                known("tests", "tests", "1.0.0"),
                known("build", "build", "1.0.0"),
            ],
            "resolve": {"nodes": [
                {"id": "mio", "deps": [
                    on("a1", &[Some("dev"), None]),
                    on("tests", &[Some("dev")]),
                ]},
                {"id": "a1", "deps": [on("a2", &[None]), on("build", &[Some("build")])]},
                {"id": "a2", "deps": [on("a1", &[None])]},
                {"id": "tests", "deps": []},
                {"id": "build", "deps": []},
            ]},
        });
        let mit = Some("MIT");
        assert_eq!(
            passed_on(&metadata).unwrap(),
            [
                package("a", "1.0.0", mit),
                package("a", "2.0.0", mit),
                package("mio", "1.3.0", mit),
            ]
        );
    }

    #[test]
    fn to_find_nothing_is_an_error() {
        let alone = json!({
            "packages": [{"id": "mio", "name": "mio", "version": "1.3.0", "source": null}],
            "resolve": {"nodes": [{"id": "mio", "deps": []}]},
        });
        assert!(passed_on(&alone).is_err());
        assert!(passed_on(&json!({})).is_err());
    }
}
