//! The checks of the compiler and its companions, which run nothing.

use anyhow::Result;

use crate::sh::{run_all, Cmd};
use crate::{counts, model, root, target};

pub fn fmt() -> Result<()> {
    run_all([
        Cmd::cargo("fmt").args(["--all", "--check"]),
        Cmd::cargo("fmt").arg("--check").dir(root().join("interop")),
        Cmd::cargo("fmt").arg("--check").dir(root().join("bench")),
        Cmd::cargo("fmt")
            .arg("--check")
            .dir(root().join("bench/http/ours")),
        Cmd::cargo("fmt")
            .arg("--check")
            .dir(root().join("testing/fuzz")),
    ])
}

const DENY: [&str; 3] = ["--", "-D", "warnings"];

/// The workspace, for this system.
pub fn quick_clippy() -> Result<()> {
    run_all(of_workspace())
}

fn of_workspace() -> [Cmd; 2] {
    [
        Cmd::cargo("clippy")
            .args(["--workspace", "--all-targets", "--all-features"])
            .args(DENY),
        Cmd::cargo("clippy")
            .args(["--lib", "--no-default-features"])
            .args(DENY),
    ]
}

pub fn clippy() -> Result<()> {
    counts::need_libraries()?;
    let others = [
        Cmd::cargo("clippy")
            .arg("--all-targets")
            .args(DENY)
            .dir(root().join("interop"))
            .target_dir(target("interop")),
        Cmd::cargo("clippy")
            .args(["--release", "--all-targets"])
            .args(DENY)
            .dir(counts::workspace(root()))
            .target_dir(target("bench")),
        model::cargo("kqueue", "clippy")
            .args([
                "-p",
                "mio",
                "-p",
                "oracle",
                "-p",
                "c10k",
                "-p",
                "faulty-kernel",
                "-p",
                "calls",
                "--all-targets",
            ])
            .args(DENY),
        model::cargo("event-ports", "clippy")
            .args([
                "-p",
                "mio",
                "-p",
                "oracle",
                "-p",
                "c10k",
                "-p",
                "faulty-kernel",
                "-p",
                "calls",
                "--all-targets",
            ])
            .args(DENY),
    ];
    run_all(of_workspace().into_iter().chain(others))
}

pub fn doc() -> Result<()> {
    let doc = || {
        Cmd::cargo("doc")
            .args(["--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings")
    };
    // The users' documentation is built last, so that it stays in target/doc.
    run_all([doc().arg("--document-private-items"), doc()])
}

pub fn features() -> Result<()> {
    run_all(feature_sets().into_iter().map(|features| {
        Cmd::cargo("check")
            .args(["--lib", "--no-default-features", "--features", &features])
            .env("RUSTFLAGS", "-D warnings")
            .target_dir(target("features"))
    }))
}

/// Every set of features that differs from the others (`os-ext` contains `os-poll`), then the old
/// names of `net`.
fn feature_sets() -> Vec<String> {
    let mut sets = Vec::new();
    for poll in ["", "os-poll", "os-ext"] {
        for net in ["", "net"] {
            for log in ["", "log"] {
                for stats in ["", "stats"] {
                    let set: Vec<&str> = [poll, net, log, stats]
                        .into_iter()
                        .filter(|name| !name.is_empty())
                        .collect();
                    sets.push(set.join(","));
                }
            }
        }
    }
    sets.extend(["tcp", "udp", "uds"].map(String::from));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_24_sets_of_features_and_three_old_names() {
        let mut sets = feature_sets();
        assert_eq!(sets.len(), 27);
        for set in ["", "os-poll", "net", "os-ext,net,log", "net,stats", "uds"] {
            assert!(sets.contains(&set.to_owned()), "{set:?}");
        }
        sets.sort();
        sets.dedup();
        assert_eq!(sets.len(), 27);
    }
}
