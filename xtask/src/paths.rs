//! The project's paths.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask/ lies in the repository")
}

/// A target directory of its own, below the ordinary one. Builds with other flags get one each, so
/// that none discards the files of another.
pub fn target(name: &str) -> PathBuf {
    root().join("target").join(name)
}
