//! Runs other crates on top of this one: the workspace in interop/, in which this crate replaces
//! the one on crates.io.

use anyhow::{bail, Context, Result};
use serde_json::Value;

use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, target, tools};

/// Crates that depend on mio themselves, each with a file of tests in interop/tests. Crates that
/// use it through tokio need no list: they have no other mio.
const DIRECT_USERS: [&str; 7] = [
    "actix-server",
    "crossterm",
    "ipc-channel",
    "mdns-sd",
    "mio-serial",
    "notify",
    "signal-hook-mio",
];

pub fn run() -> Result<()> {
    Report::of(|report| {
        patched()?;
        report.libtest(tests());
        // The same with poll(2) as the default backend.
        report.libtest(
            tests()
                .env("RUSTFLAGS", "--cfg mio_unsupported_force_poll_poll")
                .target_dir(target("interop-poll")),
        );
        Ok(())
    })
}

fn tests() -> Cmd {
    cargo("test").args(["--locked", "--no-fail-fast"])
}

/// Checks that the patch is in use. If it were not, cargo would only warn, and the tests would pass
/// with the mio of crates.io.
fn patched() -> Result<()> {
    let host = tools::host()?;
    let metadata = cargo("metadata")
        .args(["--format-version", "1", "--locked"])
        .args(["--filter-platform", &host])
        .quiet()?
        .successful_stdout()?;
    let metadata = serde_json::from_str(&metadata)?;
    let version = version()?;
    let mio = only_mio_is_ours(&metadata, &version)?;
    let users = users(&metadata, mio)?;
    println!("mio {version} from here is used by {}", users.join(", "));
    all_use_it(&users, &DIRECT_USERS)
}

/// The id of the only mio in the graph.
fn only_mio_is_ours<'a>(metadata: &'a Value, version: &str) -> Result<&'a str> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mios: Vec<&Value> = packages
        .iter()
        .filter(|package| package["name"] == "mio")
        .collect();
    let [mio] = mios[..] else {
        bail!("there are {} packages called mio", mios.len())
    };
    if !mio["source"].is_null() || mio["version"] != version {
        bail!(
            "mio is version {} from {}, not {version} from here",
            mio["version"],
            mio["source"]
        );
    }
    mio["id"].as_str().context("mio has no id")
}

/// The names of the packages that directly depend on `mio` (an id).
fn users<'a>(metadata: &'a Value, mio: &str) -> Result<Vec<&'a str>> {
    let nodes = metadata["resolve"]["nodes"].as_array();
    let uses_it = |node: &&Value| {
        let deps = node["deps"].as_array();
        deps.is_some_and(|deps| deps.iter().any(|dep| dep["pkg"] == mio))
    };
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut names = Vec::new();
    for node in nodes.context("nothing is resolved")?.iter().filter(uses_it) {
        let package = packages.iter().find(|package| package["id"] == node["id"]);
        let name = package.and_then(|package| package["name"].as_str());
        names.push(name.context("a package without a name")?);
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn all_use_it(users: &[&str], wanted: &[&str]) -> Result<()> {
    let others: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| !users.contains(name))
        .collect();
    if !others.is_empty() {
        bail!("mio is not used by {}", others.join(", "));
    }
    Ok(())
}

/// The version in the root's Cargo.toml.
fn version() -> Result<String> {
    let metadata = Cmd::cargo("metadata")
        .args(["--format-version", "1", "--no-deps"])
        .quiet()?
        .successful_stdout()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mio = packages
        .iter()
        .find(|package| package["name"] == "mio")
        .context("mio is not in its own workspace")?;
    Ok(mio["version"]
        .as_str()
        .context("mio has no version")?
        .to_owned())
}

fn cargo(subcommand: &str) -> Cmd {
    Cmd::cargo(subcommand)
        .dir(root().join("interop"))
        .target_dir(target("interop"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_single_mio_from_here_will_do() {
        let ours = json!({"name": "mio", "version": "1.3.0", "source": null, "id": "ours"});
        let theirs = json!({"name": "mio", "version": "1.3.0", "source": "registry+x"});
        let older = json!({"name": "mio", "version": "1.2.5", "source": null});
        let check = |packages: &[&Value]| {
            let metadata = json!({ "packages": packages });
            only_mio_is_ours(&metadata, "1.3.0").map(str::to_owned)
        };
        assert_eq!(check(&[&ours]).unwrap(), "ours");
        assert!(check(&[&theirs]).is_err());
        assert!(check(&[&older]).is_err());
        assert!(check(&[&ours, &theirs]).is_err());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn each_direct_user_has_its_file_of_tests() {
        for name in DIRECT_USERS {
            let file = format!("interop/tests/{}.rs", name.replace('-', "_"));
            assert!(root().join(&file).is_file(), "{file} is missing");
        }
    }

    #[test]
    fn a_user_is_what_depends_on_it_itself() {
        let package = |name: &str| json!({"name": name, "id": format!("{name} 1")});
        let node = |name: &str, on: &str| json!({"id": format!("{name} 1"), "deps": [{"pkg": on}]});
        let metadata = json!({
            "packages": [package("tokio"), package("notify"), package("hyper")],
            "resolve": {"nodes": [
                node("tokio", "mio 1"),
                node("notify", "mio 1"),
                node("hyper", "tokio 1"),
            ]},
        });
        let users = users(&metadata, "mio 1").unwrap();
        assert_eq!(users, ["notify", "tokio"]);
        assert!(all_use_it(&users, &["notify"]).is_ok());
        let error = all_use_it(&users, &["hyper", "notify", "other"]).unwrap_err();
        assert_eq!(error.to_string(), "mio is not used by hyper, other");
    }
}
