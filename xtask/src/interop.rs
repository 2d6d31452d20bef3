//! Runtimes of other people on top of this mio: the workspace in interop/, where it takes the place
//! of the one on crates.io.

use anyhow::{bail, Context, Result};
use serde_json::Value;

use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, target};

pub fn run() -> Result<()> {
    Report::of(|report| {
        patched()?;
        report.libtest(cargo("test").arg("--locked"));
        // The same with poll(2) as the default backend.
        report.libtest(
            cargo("test")
                .arg("--locked")
                .env("RUSTFLAGS", "--cfg mio_unsupported_force_poll_poll")
                .target_dir(target("interop-poll")),
        );
        Ok(())
    })
}

/// That the patch is in use. Were it not, cargo would only warn, and the tests would pass with the
/// mio they always had.
fn patched() -> Result<()> {
    let metadata = cargo("metadata")
        .args(["--format-version", "1", "--locked"])
        .quiet()?
        .successful_stdout()?;
    only_mio_is_ours(&serde_json::from_str(&metadata)?, &version()?)?;
    cargo("tree").args(["--locked", "-i", "mio"]).run()
}

fn only_mio_is_ours(metadata: &Value, version: &str) -> Result<()> {
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
        let ours = json!({"name": "mio", "version": "1.3.0", "source": null});
        let theirs = json!({"name": "mio", "version": "1.3.0", "source": "registry+x"});
        let older = json!({"name": "mio", "version": "1.2.5", "source": null});
        let check =
            |packages: &[&Value]| only_mio_is_ours(&json!({ "packages": packages }), "1.3.0");
        assert!(check(&[&ours]).is_ok());
        assert!(check(&[&theirs]).is_err());
        assert!(check(&[&older]).is_err());
        assert!(check(&[&ours, &theirs]).is_err());
        assert!(check(&[]).is_err());
    }
}
