//! A copy of the sources below target/, in which a step changes them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};

use crate::faults::fault::{sorted, Fault};
use crate::sh::Cmd;
use crate::{root, target, tools};

pub struct Tree {
    pub sources: PathBuf,
    /// Held until this is dropped: two runs must not change the same copy.
    _lock: fs::File,
}

impl Tree {
    /// Copies the sources as they are, committed or not. Unchanged files are kept, so that only
    /// changes are built again.
    pub fn copy() -> Result<Tree> {
        Tree::copy_to("faults")
    }

    /// The same, below a folder of target/.
    pub fn copy_to(folder: &str) -> Result<Tree> {
        let sources = target(folder).join("sources");
        fs::create_dir_all(&sources)?;
        let lock = fs::File::create(target(folder).join("lock"))?;
        lock.try_lock()
            .map_err(|error| anyhow!("another run holds target/{folder}: {error}"))?;

        tools::need("git", &["git"])?;
        let list = Cmd::new("git")
            .args(["ls-files", "-z", "--cached", "--others"])
            .arg("--exclude-standard")
            .quiet()?
            .successful_stdout()?;
        let mut wanted = BTreeSet::new();
        for file in list.split_terminator('\0') {
            // The file was deleted, and the deletion is not committed yet.
            let from = root().join(file);
            if !from.is_file() {
                continue;
            }
            let to = sources.join(file);
            let contents = fs::read(&from).with_context(|| file.to_owned())?;
            if fs::read(&to).ok().as_ref() != Some(&contents) {
                fs::create_dir_all(to.parent().expect("it lies in the copy"))?;
                fs::write(&to, contents).with_context(|| file.to_owned())?;
            }
            wanted.insert(to);
        }
        remove_others(&sources, &wanted)?;
        Ok(Tree {
            sources,
            _lock: lock,
        })
    }

    /// Applies a fault, until the returned value is dropped. If the patch does not fit exactly,
    /// returns the reason.
    pub fn apply(&self, fault: &Fault) -> Result<Result<Undo, String>> {
        self.apply_patch(&fault.patch, &fault.header.files)
    }

    /// The same of a patch that changes these files.
    pub fn apply_patch(&self, patch: &Path, files: &[String]) -> Result<Result<Undo, String>> {
        let mut undo = Undo::default();
        for file in files {
            let path = self.sources.join(file);
            match fs::read(&path) {
                Ok(contents) => undo.files.push((path, contents)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Err(format!("there is no {file}")));
                }
                Err(error) => return Err(error).with_context(|| file.clone()),
            }
        }
        let applied = Cmd::all_output_of("git")
            .arg("apply")
            .arg(patch)
            .dir(&self.sources)
            // The copy is no part of the repository around it.
            .env("GIT_CEILING_DIRECTORIES", target("faults"))
            .quiet()?;
        if applied.status.success() {
            return Ok(Ok(undo));
        }
        let why = applied.stdout.lines().next().unwrap_or_default();
        Ok(Err(why.trim_start_matches("error: ").to_owned()))
    }
}

/// Deletes files of the copy that are no longer in the sources.
fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for path in sorted(folder)? {
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The contents of files before a fault. They are written back when this is dropped.
#[derive(Default)]
pub struct Undo {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        for (path, contents) in &self.files {
            // If it fails, the next patch does not fit, and the next run copies again.
            if let Err(error) = fs::write(path, contents) {
                println!("{}: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_put_in_and_undone_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("src/x.rs");
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(&file, "before\nsound\nafter\n").unwrap();
        let tree = Tree {
            sources: folder.path().to_owned(),
            _lock: tempfile::tempfile().unwrap(),
        };
        let with = |hunk: &str| {
            let head = "Suffers.\n\ntest: lib a::b\n\n--- a/src/x.rs\n+++ b/src/x.rs\n";
            let patch = folder.path().join("fault.patch");
            fs::write(&patch, [head, hunk].concat()).unwrap();
            Fault {
                patch,
                ..Fault::noticed_by("epoll", "a", "test: lib a::b")
            }
        };
        let read = || fs::read_to_string(&file).unwrap();

        let undo = tree.apply(&with("@@ -1,3 +1,3 @@\n before\n-sound\n+broken\n after\n"));
        assert_eq!(read(), "before\nbroken\nafter\n");
        drop(undo);
        assert_eq!(read(), "before\nsound\nafter\n");

        // One line of its context has changed since.
        let old = with("@@ -1,3 +1,3 @@\n earlier\n-sound\n+broken\n after\n");
        let why = tree.apply(&old).unwrap().err().unwrap();
        assert!(why.contains("src/x.rs"), "{why}");
        assert_eq!(read(), "before\nsound\nafter\n");

        fs::remove_file(&file).unwrap();
        let why = tree.apply(&old).unwrap().err().unwrap();
        assert_eq!(why, "there is no src/x.rs");
    }

    #[test]
    fn what_is_gone_from_the_sources_goes_from_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, gone) = (folder.path().join("a/kept"), folder.path().join("a/gone"));
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(&kept, "").unwrap();
        fs::write(&gone, "").unwrap();
        remove_others(folder.path(), &BTreeSet::from([kept.clone()])).unwrap();
        assert!(kept.exists() && !gone.exists());
    }
}
