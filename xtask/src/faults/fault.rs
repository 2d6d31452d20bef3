//! A deliberate fault, and the list of all.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::faults::header::Header;
use crate::root;

pub struct Fault {
    pub backend: String,
    pub name: String,
    pub patch: PathBuf,
    pub header: Header,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.name)
    }
}

pub fn names(faults: &[Fault]) -> String {
    let names: Vec<String> = faults.iter().map(Fault::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
impl Fault {
    /// A fault that these tests must notice, for the unit tests of the selection.
    pub fn noticed_by(backend: &str, name: &str, tests: &str) -> Fault {
        let diff = "\n\n--- a/src/x.rs\n+++ b/src/x.rs\n@@ -1 +1 @@\n";
        Fault {
            backend: backend.to_owned(),
            name: name.to_owned(),
            patch: PathBuf::new(),
            header: Header::parse(&["Suffers.\n\n", tests, diff].concat()).unwrap(),
        }
    }
}

/// All faults, by name.
pub fn load() -> Result<Vec<Fault>> {
    let folder = root().join("testing/faults");
    let mut faults = Vec::new();
    for backend in sorted(&folder)? {
        if !backend.is_dir() {
            continue;
        }
        for patch in sorted(&backend)? {
            if patch
                .extension()
                .is_none_or(|extension| extension != "patch")
            {
                bail!("{} is no patch", patch.display());
            }
            let header = fs::read_to_string(&patch)
                .map_err(anyhow::Error::from)
                .and_then(|text| Header::parse(&text))
                .with_context(|| patch.display().to_string())?;
            let stem = |path: &Path| {
                let stem = path.file_stem().unwrap_or_default();
                stem.to_string_lossy().into_owned()
            };
            faults.push(Fault {
                backend: stem(&backend),
                name: stem(&patch),
                patch,
                header,
            });
        }
    }
    Ok(faults)
}

pub fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}
