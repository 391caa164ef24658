//! Writes small files whole, and safely in folders that other users may write to.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a new file beside the path, with the extension `new`, and renames it. So no reader sees
/// half of it, and no link is followed: one in place of the new file is removed, one in place of the
/// path is replaced. `mode` is reduced by the process's umask.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)?;
    file.write_all(content)?;
    fs::rename(&draft, path)
}
