//! The file to import, which may be a pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use uuid::Uuid;

use super::rows::Format;

/// The name that means standard input.
const STDIN: &str = "-";

/// The file to import. If it has to be read twice and is a pipe, it is kept in a temporary file that
/// has no name, so that nothing of it stays.
#[derive(Debug)]
pub(super) struct Input {
    source: Source,
    /// The size in bytes; `None` if it is not known before the end.
    pub(super) size: Option<u64>,
    pub(super) format: Format,
}

#[derive(Debug)]
enum Source {
    File(File),
    Stdin,
}

impl Input {
    /// Opens the file. `is_read_twice` copies a pipe.
    pub(super) fn open(
        path: &Path,
        format: Option<Format>,
        is_read_twice: bool,
    ) -> Result<Self, String> {
        let fail = |error: io::Error| format!("{}: {error}", path.display());
        let format = format.or_else(|| format_of(path)).ok_or_else(|| {
            format!(
                "{}: the name ends neither in .csv nor in .jsonl; --format csv or --format jsonl \
                 names the format",
                path.display()
            )
        })?;
        let is_stdin = path.as_os_str() == STDIN;
        if is_stdin && !is_read_twice {
            return Ok(Self {
                source: Source::Stdin,
                size: None,
                format,
            });
        }
        let opened = if is_stdin {
            None
        } else {
            Some(File::open(path).map_err(fail)?)
        };
        if let Some(file) = &opened {
            let metadata = file.metadata().map_err(fail)?;
            if metadata.is_dir() {
                return Err(format!("{}: is a folder, not a file", path.display()));
            }
            if metadata.is_file() || !is_read_twice {
                let size = metadata.is_file().then_some(metadata.len());
                return Ok(Self {
                    source: opened.map_or(Source::Stdin, Source::File),
                    size,
                    format,
                });
            }
        }
        let copied = match opened {
            Some(file) => copy(file),
            None => copy(io::stdin().lock()),
        };
        let (file, size) =
            copied.map_err(|error| format!("{}: cannot be kept: {error}", path.display()))?;
        Ok(Self {
            source: Source::File(file),
            size: Some(size),
            format,
        })
    }

    /// Reads the file from its beginning. Standard input can be read once.
    pub(super) fn read(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &mut self.source {
            Source::Stdin => Box::new(io::stdin()),
            Source::File(file) => {
                // A pipe has no beginning to go back to; it is read once.
                let _is_pipe = file.seek(SeekFrom::Start(0));
                Box::new(file.try_clone()?)
            }
        })
    }
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "csv" => Some(Format::Csv),
        "jsonl" => Some(Format::Jsonl),
        _ => None,
    }
}

/// Copies a stream into a file without a name.
fn copy(mut stream: impl Read) -> io::Result<(File, u64)> {
    let path = std::env::temp_dir().join(format!("steward-import-{}", Uuid::new_v4()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    let size = io::copy(&mut stream, &mut file)?;
    Ok((file, size))
}
