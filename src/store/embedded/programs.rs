//! The server's programs of one version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The server's programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// The folder that has them.
    pub(super) bin: PathBuf,
    /// The major version.
    pub(super) major: u32,
}

impl Programs {
    /// The programs of a folder, if they are there and run. Links are followed: PostgreSQL finds its other files
    /// from where its program really is.
    pub(super) fn in_folder(folder: &Path) -> Option<Self> {
        let bin = fs::canonicalize(folder.join("initdb"))
            .ok()?
            .parent()?
            .to_owned();
        let output = Command::new(bin.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = said
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let major = version
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()?;
        Some(Self { bin, major })
    }
}
