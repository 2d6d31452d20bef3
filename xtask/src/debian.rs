//! Packages of another release of Debian, or for another processor, in a folder of their own. The machine's
//! own sources, lists and packages do not change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh::Cmd;
use crate::tools;

/// One suite for one architecture, with its own lists, cache and status.
pub struct Suite {
    folder: PathBuf,
    architecture: &'static str,
}

impl Suite {
    /// Fetches the lists of `release` into `folder`, from the archive that this machine's own
    /// packages come from.
    pub fn fetch(folder: &Path, release: &str, architecture: &'static str) -> Result<Suite> {
        for (program, package) in [("apt-get", "apt"), ("dpkg", "dpkg")] {
            tools::need(program, &[package])?;
        }
        let suite = Suite {
            folder: folder.to_owned(),
            architecture,
        };
        fs::create_dir_all(suite.archives().join("partial"))?;
        fs::create_dir_all(folder.join("lists/partial"))?;
        let source = format!("deb {} {release} main\n", archive()?);
        fs::write(folder.join("sources.list"), source)?;
        suite.apt("apt-get").arg("update").run()?;
        Ok(suite)
    }

    /// Where `apt-get install --download-only` leaves packages.
    pub fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// One of apt's programs, which uses this suite only.
    pub fn apt(&self, program: &str) -> Cmd {
        let in_folder = |name| self.folder.join(name);
        let options = [
            ("Dir::Etc::sourcelist", in_folder("sources.list")),
            ("Dir::Etc::sourceparts", PathBuf::from("-")),
            ("Dir::State::lists", in_folder("lists")),
            ("Dir::State::status", PathBuf::from("/dev/null")),
            ("Dir::Cache", in_folder("cache")),
            ("APT::Architecture", PathBuf::from(self.architecture)),
            ("APT::Architectures", PathBuf::from(self.architecture)),
            ("APT::Sandbox::User", PathBuf::from("root")),
        ];
        options
            .into_iter()
            .fold(Cmd::new(program), |cmd, (name, value)| {
                cmd.arg("-o").arg(format!("{name}={}", value.display()))
            })
    }

    /// Fetches one package, without its dependencies, and extracts it into `root`.
    pub fn extract(&self, package: &str, root: &Path) -> Result<()> {
        let fetched = tempfile::tempdir_in(&self.folder)?;
        self.apt("apt-get")
            .args(["download", package])
            .dir(fetched.path())
            .run()?;
        extract_all(fetched.path(), root)
    }

    /// The direct dependencies of a package.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let asked = self.apt("apt-cache").args(["depends", package]);
        let printed = asked.quiet()?.successful_stdout()?;
        let names = printed.lines().filter_map(|line| {
            line.trim_start_matches([' ', '|'])
                .strip_prefix("Depends: ")
        });
        Ok(names.map(str::to_owned).collect())
    }
}

/// Extracts each package of a folder into `root`.
pub fn extract_all(folder: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let extract = Cmd::new("dpkg").arg("-x").arg(&path).arg(root);
            extract.quiet()?.success()?;
        }
    }
    Ok(())
}

/// The archive that this machine's own packages come from.
fn archive() -> Result<String> {
    let targets = Cmd::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .args(["Created-By: Packages", "Label: Debian"]);
    let targets = targets.quiet()?.successful_stdout()?;
    let first = targets.lines().next().map(str::to_owned);
    first.context("apt knows no archive of Debian")
}
