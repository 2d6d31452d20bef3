//! Runs the programs of examples/: those that end by themselves, and servers with real clients,
//! whose scenarios are in testing/examples/clients.py.

use std::fs;
use std::time::Duration;

use anyhow::{bail, Result};

use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, tools};

/// The packages in examples/ that have scenarios.
const PACKAGES: [&str; 4] = ["mio", "proxy", "tls_echo", "unix"];

/// The time limit of one scenario; a few seconds are usual.
const LIMIT: Duration = Duration::from_secs(60);

const CLIENTS: &str = "testing/examples/clients.py";

pub fn run() -> Result<()> {
    for (program, package) in [
        ("socat", "socat"),
        ("curl", "curl"),
        ("openssl", "openssl"),
        ("prlimit", "util-linux"),
        ("python3", "python3"),
    ] {
        tools::need(program, &[package])?;
    }
    Report::of(|report| {
        let packages = PACKAGES.iter().flat_map(|name| ["-p", name]);
        Cmd::cargo("build")
            .args(["--examples", "--bins"])
            .args(packages)
            .run()?;
        let folder = root().join("target/debug");
        let quickstart = Cmd::new(folder.join("examples/quickstart"));
        report.one("quickstart", quickstart.limit(LIMIT).run());
        for scenario in scenarios(&fs::read_to_string(root().join(CLIENTS))?)? {
            let run = Cmd::new("python3")
                .arg(CLIENTS)
                .arg(&folder)
                .arg(&scenario)
                .limit(LIMIT);
            report.one(&scenario, run.run());
        }
        Ok(())
    })
}

/// The names in the list `SCENARIOS`.
fn scenarios(clients: &str) -> Result<Vec<String>> {
    let list = clients.split_once("\nSCENARIOS = [\n");
    let Some((list, _)) = list.and_then(|(_, rest)| rest.split_once("\n]")) else {
        bail!("{CLIENTS} has no list of scenarios");
    };
    Ok(list
        .lines()
        .map(|line| line.trim().trim_end_matches(',').to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> String {
        fs::read_to_string(root().join(file)).unwrap()
    }

    #[test]
    fn scenarios_are_read_from_their_list() {
        let clients = "x = [\n    no,\n]\n\nSCENARIOS = [\n    one,\n    two,\n]\n";
        assert_eq!(scenarios(clients).unwrap(), ["one", "two"]);
        assert!(scenarios("").is_err());
        for name in scenarios(&read(CLIENTS)).unwrap() {
            assert!(read(CLIENTS).contains(&format!("\ndef {name}():\n")));
        }
    }

    /// Each program and each page of the guide that shows it.
    const SHOWN: [(&str, &str); 8] = [
        ("examples/echo.rs", "src/guide/guide.md"),
        ("examples/chat.rs", "src/guide/broadcast.md"),
        ("examples/proxy/src/main.rs", "src/guide/proxy.md"),
        ("examples/tls_echo/src/main.rs", "src/guide/tls.md"),
        ("examples/unix/src/bin/signals.rs", "src/guide/signals.md"),
        ("examples/children.rs", "src/guide/children.md"),
        ("examples/unix/src/bin/sigchld.rs", "src/guide/children.md"),
        ("examples/unix/src/bin/stdin.rs", "src/guide/stdin.md"),
    ];

    /// What a program of this project needs, and no other.
    const OF_MODELS: &str = "// Links the model of the kernel.\n\
                             #[cfg(mio_model = \"event-ports\")]\n\
                             extern crate event_ports_model as _;\n\
                             #[cfg(mio_model = \"kqueue\")]\n\
                             extern crate kqueue_model as _;\n\n";

    #[test]
    fn the_guide_shows_the_programs_as_they_are() {
        for (program, page) in SHOWN {
            let shown = format!("\n{}```\n", read(program).replace(OF_MODELS, ""));
            assert!(
                read(page).contains(&shown),
                "{page} does not show {program} as it is"
            );
        }
    }

    #[test]
    fn the_guide_shows_what_the_programs_depend_on() {
        for (package, page) in [
            ("examples/proxy/Cargo.toml", "src/guide/proxy.md"),
            ("examples/tls_echo/Cargo.toml", "src/guide/tls.md"),
            ("examples/unix/Cargo.toml", "src/guide/signals.md"),
            ("examples/unix/Cargo.toml", "src/guide/children.md"),
        ] {
            let manifest = read(package);
            let start = manifest.find("[dependencies]").unwrap();
            let shown = format!("```toml\n{}```\n", &manifest[start..]);
            assert!(read(page).contains(&shown), "{page}: not as in {package}");
        }
    }

    #[test]
    fn an_example_can_be_read_in_one_go() {
        for (program, _) in SHOWN {
            assert!(read(program).lines().count() < 200, "{program} is too long");
        }
    }
}
