//! The programs of one version of PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of one version of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// The folder of the programs.
    pub(super) bin: PathBuf,
    /// The major version.
    pub(super) major: u32,
}

impl Programs {
    /// The programs in a folder; `None` if there are none, or they do not run. Follows symbolic
    /// links, because PostgreSQL finds its other files relative to the real place of a program.
    pub(super) fn in_folder(folder: &Path) -> Option<Self> {
        let bin = fs::canonicalize(folder.join("initdb"))
            .ok()?
            .parent()?
            .to_owned();
        let output = Command::new(bin.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text
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
