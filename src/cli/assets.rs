//! `steward completions` and `steward man`: the files that packages install beside the program.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::{CommandError, output};

pub(super) fn completions(shell: Shell, mut command: Command) {
    clap_complete::generate(shell, &mut command, "steward", &mut io::stdout());
}

/// Writes a page for the program and one for each command.
pub(super) fn manual(folder: &Path, command: Command) -> Result<(), CommandError> {
    let failed = |error: io::Error| CommandError::Other(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    output::note(&format!("wrote the manual pages to {}", folder.display()));
    Ok(())
}
