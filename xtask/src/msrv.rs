//! `rust-version` in Cargo.toml: that version of Rust builds the package and runs its tests. It sees the
//! code of this system only, so two things are checked separately: the versions that the dependencies need, and
//! newer syntax anywhere in src/. (clippy's `incompatible_msrv` finds newer items of std.)

mod syntax;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde_json::Value;

use crate::report::Report;
use crate::sh::Cmd;
use crate::tools::{self, NotRun};
use crate::{root, target};
use syntax::Version;

pub fn run() -> Result<()> {
    let metadata = Cmd::cargo("metadata")
        .args(["--format-version", "1", "--all-features"])
        .quiet()?
        .successful_stdout()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let msrv = rust_version(&metadata)?;
    let (major, minor, patch) = msrv.number;
    let toolchain = tools::need_toolchain(&format!("{major}.{minor}.{patch}"), &[]);

    Report::of(|report| {
        report.one("dependencies", dependencies(&metadata, &msrv));
        report.one("syntax", sources(&msrv));
        match &toolchain {
            Ok(toolchain) => report.libtest(tests(toolchain, &metadata)?),
            // Reported at the end.
            Err(error) if error.is::<NotRun>() => {}
            Err(error) => report.problem(format!("{error:#}")),
        }
        Ok(())
    })?;
    toolchain.map(drop)
}

/// Checks that no dependency needs a newer version.
fn dependencies(metadata: &Value, msrv: &Msrv) -> Result<()> {
    let mut problems = Vec::new();
    for (name, needed) in normal_dependencies(metadata)? {
        println!("{name}: {}", needed.as_deref().unwrap_or("does not say"));
        let needed = needed.as_deref().map(version).transpose()?;
        if needed.is_some_and(|needed| needed > msrv.number) {
            problems.push(format!("{name} is a dependency and needs a newer compiler"));
        }
    }
    none(&problems, msrv)
}

/// Checks that no file of src/ has newer syntax.
fn sources(msrv: &Msrv) -> Result<()> {
    let mut problems = Vec::new();
    for file in rust_files(&root().join("src"))? {
        let shown = file.strip_prefix(root())?.display();
        let newer = syntax::newer(&fs::read_to_string(&file)?, msrv.number)
            .with_context(|| format!("cannot parse {shown}"))?;
        problems.extend(newer.into_iter().map(|found| format!("{shown}:{found}")));
    }
    none(&problems, msrv)
}

fn none(problems: &[String], msrv: &Msrv) -> Result<()> {
    for problem in problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!(
            "{} things need more than Rust {}",
            problems.len(),
            msrv.text
        );
    }
    Ok(())
}

/// Runs the tests of the crate's package, with the newest dependencies that support this version of Rust. The
/// workspace's own dependencies need a newer one.
fn tests(toolchain: &str, metadata: &Value) -> Result<Cmd> {
    let folder = target("msrv").join("package");
    Cmd::cargo("package")
        .args(["-p", "mio", "--allow-dirty", "--no-verify"])
        .target_dir(target("msrv"))
        .run()?;
    let version = mio(metadata)?["version"].as_str().context("no version")?;
    let package = folder.join(format!("mio-{version}"));
    if package.is_dir() {
        fs::remove_dir_all(&package)?;
    }
    Cmd::new("tar")
        .arg("-xzf")
        .arg(package.with_file_name(format!("mio-{version}.crate")))
        .arg("-C")
        .arg(&folder)
        .run()?;
    // It is not a member of the workspace around it.
    let manifest = package.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, text + "\n[workspace]\n")?;
    fs::remove_file(package.join("Cargo.lock"))?;
    Cmd::cargo("generate-lockfile")
        .env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback")
        .dir(&package)
        .run()?;
    Ok(Cmd::rustup_cargo(toolchain, "test")
        .args(["--lib", "--tests"])
        .dir(&package)
        .target_dir(target("msrv").join("built")))
}

struct Msrv {
    text: String,
    number: Version,
}

fn rust_version(metadata: &Value) -> Result<Msrv> {
    let text = mio(metadata)?["rust_version"]
        .as_str()
        .context("mio has no rust-version")?
        .to_owned();
    Ok(Msrv {
        number: version(&text)?,
        text,
    })
}

fn mio(metadata: &Value) -> Result<&Value> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages
        .iter()
        .find(|package| package["name"] == "mio" && package["source"].is_null())
        .context("mio is not in its own workspace")
}

/// The library's dependencies on every platform: name, version and `rust-version` of each.
fn normal_dependencies(metadata: &Value) -> Result<Vec<(String, Option<String>)>> {
    let by_id = |list: &Value| -> HashMap<String, Value> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|entry| Some((entry["id"].as_str()?.to_owned(), entry.clone())))
            .collect()
    };
    let packages = by_id(&metadata["packages"]);
    let nodes = by_id(&metadata["resolve"]["nodes"]);

    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut next = vec![mio(metadata)?["id"].as_str().context("no id")?.to_owned()];
    while let Some(id) = next.pop() {
        let node = nodes
            .get(&id)
            .with_context(|| format!("{id} is not resolved"))?;
        for dependency in node["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"]
                .as_array()
                .context("cargo is too old to tell kinds of dependencies")?;
            // null stands for a normal dependency. A build dependency has to be compiled as well.
            let needed = kinds
                .iter()
                .any(|kind| kind["kind"].is_null() || kind["kind"] == "build");
            let id = dependency["pkg"]
                .as_str()
                .context("no package id")?
                .to_owned();
            if !needed || !seen.insert(id.clone()) {
                continue;
            }
            let package = &packages[&id];
            let name = format!(
                "{} {}",
                package["name"].as_str().unwrap_or("?"),
                package["version"].as_str().unwrap_or("?")
            );
            found.push((name, package["rust_version"].as_str().map(str::to_owned)));
            next.push(id);
        }
    }
    if found.is_empty() {
        bail!("no dependency of mio was found at all");
    }
    found.sort();
    Ok(found)
}

/// `1.71`, `1.71.1`
fn version(text: &str) -> Result<Version> {
    let mut parts = text.split('.').map(|part| part.parse::<u32>());
    let mut next = || {
        parts
            .next()
            .unwrap_or(Ok(0))
            .with_context(|| format!("{text:?} is no Rust version"))
    };
    Ok((next()?, next()?, next()?))
}

/// All files of a folder and its subfolders, by name.
pub fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.71").unwrap() < version("1.71.1").unwrap());
        assert!(version("1.9").unwrap() < version("1.71").unwrap());
        assert_eq!(version("1.71").unwrap(), version("1.71.0").unwrap());
        assert!(version("stable").is_err());
    }

    #[test]
    fn dependencies_are_followed_but_not_those_of_tests() {
        let package = |name: &str, needs: Option<&str>| {
            json!({"id": name, "name": name, "version": "1.0.0", "source": null,
                   "rust_version": needs})
        };
        let on =
            |name: &str, kind: Option<&str>| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("mio", Some("1.71")),
                package("a", Some("1.60")),
                package("b", None),
                package("test-only", Some("1.90")),
            ],
            "resolve": {"nodes": [
                {"id": "mio", "deps": [on("a", None), on("test-only", Some("dev"))]},
                {"id": "a", "deps": [on("b", None)]},
                {"id": "b", "deps": []},
                {"id": "test-only", "deps": []},
            ]},
        });
        assert_eq!(
            normal_dependencies(&metadata).unwrap(),
            [
                ("a 1.0.0".to_owned(), Some("1.60".to_owned())),
                ("b 1.0.0".to_owned(), None)
            ]
        );
        assert_eq!(rust_version(&metadata).unwrap().number, (1, 71, 0));
    }
}
