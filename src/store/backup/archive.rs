//! The file of a backup: gzip over lines of text, in UTF-8.
//!
//! ```text
//! {"steward_backup":1,"version":"1.2.3","created_at":"...","migrations":[...],...}
//! {"table":"reseller","columns":["id","name"]}
//! 1<tab>Acme
//! \.
//! {"sequences":[{"name":"account_id_seq","last":7}]}
//! {"end":{"rows":{"reseller":1},"sha256":"..."}}
//! ```
//!
//! The rows are in the text format of PostgreSQL's `copy`: one row a line, tabs between the values,
//! and a backslash before what would be mistaken for either. So `zcat` shows a backup, and the line
//! `\.` can only be the end of a table. The checksum is over all lines before the last.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::Failure;
use crate::domain::Time;

/// The version of the format.
const FORMAT: u32 = 1;
/// The size at which rows are handed on, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;
/// The longest row, in bytes. PostgreSQL has no longer one, and a damaged file must not fill the
/// memory.
const MAX_ROW: u64 = 1 << 30;
/// The longest line outside of tables, in bytes. It is read as JSON, and names tables, columns,
/// migrations, sequences or days.
const MAX_LINE: u64 = 1 << 20;
/// The line that ends a table.
const END_OF_TABLE: &[u8] = b"\\.\n";

/// What a backup was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    steward_backup: u32,
    /// The version of Steward that made the backup.
    pub version: String,
    /// When its snapshot was taken.
    pub created_at: Time,
    /// The migrations of the database, in order.
    pub migrations: Vec<AppliedMigration>,
    /// The days for which the journal had a partition, as `YYYYMMDD`.
    pub journal_days: Vec<String>,
}

/// A migration that was applied to the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedMigration {
    /// Its number.
    pub number: i64,
    /// The checksum of its text, in hexadecimal.
    pub checksum: String,
}

impl Header {
    pub(super) fn new(
        version: &str,
        created_at: Time,
        migrations: Vec<AppliedMigration>,
        journal_days: Vec<String>,
    ) -> Self {
        Self {
            steward_backup: FORMAT,
            version: version.to_owned(),
            created_at,
            migrations,
            journal_days,
        }
    }

    /// The number of the newest migration.
    #[must_use]
    pub fn schema(&self) -> i64 {
        let numbers = self.migrations.iter().map(|migration| migration.number);
        numbers.max().unwrap_or_default()
    }
}

/// A table and the columns whose values follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableStart {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
}

/// The state of a sequence. `None` means that it has given no number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequence {
    pub(super) name: String,
    pub(super) last: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sequences {
    sequences: Vec<Sequence>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Last {
    end: End,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: BTreeMap<String, u64>,
    sha256: String,
}

/// A part of a backup, on its way from the database to the file.
#[derive(Debug)]
pub enum Part {
    /// Lines.
    Lines(Vec<u8>),
    /// The end, with the number of rows of each table.
    End(BTreeMap<String, u64>),
}

/// The line of a JSON value.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

pub(super) fn sequences(sequences: Vec<Sequence>) -> Vec<u8> {
    line(&Sequences { sequences })
}

/// Compresses the parts and writes them. Blocks the thread.
///
/// # Errors
/// That of the file, or [`io::ErrorKind::UnexpectedEof`] if the parts end without [`Part::End`].
pub fn write<W: Write>(file: W, mut parts: mpsc::Receiver<Part>) -> io::Result<W> {
    let mut encoder = GzEncoder::new(file, Compression::fast());
    let mut hash = Sha256::new();
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Lines(bytes) => {
                hash.update(&bytes);
                encoder.write_all(&bytes)?;
            }
            Part::End(rows) => {
                let sha256 = data_encoding::HEXLOWER.encode(&hash.finalize());
                let end = End { rows, sha256 };
                encoder.write_all(&line(&Last { end }))?;
                return encoder.finish();
            }
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// A part of a backup that is read.
#[derive(Debug)]
pub enum Record {
    /// A table begins.
    Table {
        /// Its name.
        name: String,
        /// Its columns.
        columns: Vec<String>,
    },
    /// Some rows of the table, whole lines.
    Rows(Vec<u8>),
    /// The table ends.
    TableEnd {
        /// How many rows it had.
        rows: u64,
    },
    /// The last numbers that the sequences gave.
    Sequences(Vec<(String, Option<i64>)>),
    /// The backup is complete, and its checksum is right.
    End {
        /// The number of rows of each table.
        rows: BTreeMap<String, u64>,
    },
}

/// Reads a backup from its beginning to its end.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<GzDecoder<BufReader<Box<dyn Read + Send>>>>,
    hash: Sha256,
    header: Header,
    /// The table whose rows are read, and how many have been read.
    table: Option<(String, u64)>,
    /// Whether the end of that table was read together with its last rows.
    is_table_over: bool,
    rows: BTreeMap<String, u64>,
    line: Vec<u8>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads the header. `path` is for messages.
    ///
    /// # Errors
    /// [`Failure::File`], [`Failure::Foreign`], [`Failure::Damaged`].
    pub fn open(path: &Path, file: Box<dyn Read + Send>) -> Result<Self, Failure> {
        let mut reader = Self {
            path: path.to_owned(),
            lines: BufReader::with_capacity(CHUNK, GzDecoder::new(BufReader::new(file))),
            hash: Sha256::new(),
            header: Header::new("", Time::default(), Vec::new(), Vec::new()),
            table: None,
            is_table_over: false,
            rows: BTreeMap::new(),
            line: Vec::new(),
        };
        let foreign = |problem: String| Failure::Foreign {
            path: path.to_owned(),
            problem,
        };
        if let Err(failure) = reader.next_line(MAX_LINE) {
            return Err(if let Failure::Damaged { problem, .. } = failure {
                foreign(problem)
            } else {
                failure
            });
        }
        let value: serde_json::Value = serde_json::from_slice(&reader.line)
            .map_err(|_| foreign("it has no header".to_owned()))?;
        match value
            .get("steward_backup")
            .and_then(serde_json::Value::as_u64)
        {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                return Err(foreign(format!(
                    "it has format {format}, and this build knows only format {FORMAT}: restore it \
                     with a newer Steward"
                )));
            }
            None => return Err(foreign("it has no header".to_owned())),
        }
        reader.header =
            serde_json::from_value(value).map_err(|error| reader.damaged(error.to_string()))?;
        Ok(reader)
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next record. Blocks the thread. Nothing follows [`Record::End`].
    ///
    /// # Errors
    /// [`Failure::File`], [`Failure::Damaged`].
    pub fn next_record(&mut self) -> Result<Record, Failure> {
        if self.table.is_some() {
            return self.next_rows();
        }
        let before = self.hash.clone();
        self.next_line(MAX_LINE)?;
        if let Ok(start) = serde_json::from_slice::<TableStart>(&self.line) {
            self.table = Some((start.table.clone(), 0));
            return Ok(Record::Table {
                name: start.table,
                columns: start.columns,
            });
        }
        if let Ok(found) = serde_json::from_slice::<Sequences>(&self.line) {
            let sequences = found.sequences.into_iter();
            return Ok(Record::Sequences(
                sequences.map(|it| (it.name, it.last)).collect(),
            ));
        }
        match serde_json::from_slice::<Last>(&self.line) {
            Ok(last) => self.end(last.end, before),
            Err(_) => Err(self.damaged("it has a line of no known kind")),
        }
    }

    /// Reads rows up to the size of a chunk, or to the end of the table.
    fn next_rows(&mut self) -> Result<Record, Failure> {
        let mut chunk = Vec::with_capacity(CHUNK);
        while !self.is_table_over && chunk.len() < CHUNK {
            self.next_line(MAX_ROW)?;
            if self.line == END_OF_TABLE {
                self.is_table_over = true;
            } else {
                if let Some((_, rows)) = &mut self.table {
                    *rows += 1;
                }
                chunk.append(&mut self.line);
            }
        }
        if !chunk.is_empty() {
            return Ok(Record::Rows(chunk));
        }
        self.is_table_over = false;
        let (name, rows) = self.table.take().unwrap_or_default();
        self.rows.insert(name, rows);
        Ok(Record::TableEnd { rows })
    }

    /// Checks the last line. `hash` is that of the lines before it.
    fn end(&mut self, end: End, hash: Sha256) -> Result<Record, Failure> {
        if end.sha256 != data_encoding::HEXLOWER.encode(&hash.finalize()) {
            return Err(self.damaged("its checksum is wrong"));
        }
        if end.rows != self.rows {
            return Err(self.damaged("it does not have the rows that it lists at its end"));
        }
        // At the end of the stream, the decoder compares the checksum of gzip.
        let mut rest = [0; 1];
        let more = self.lines.read(&mut rest).and_then(|read| {
            // The decoder ends with the first stream. What follows it in the file is no part of the
            // backup either.
            Ok(read > 0 || !self.lines.get_mut().get_mut().fill_buf()?.is_empty())
        });
        match more {
            Ok(false) => Ok(Record::End { rows: end.rows }),
            Ok(true) => Err(self.damaged("something follows its end")),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// Reads a line of at most `max` bytes, with its end, into `self.line`.
    fn next_line(&mut self, max: u64) -> Result<(), Failure> {
        self.line.clear();
        let read = (&mut self.lines)
            .take(max)
            .read_until(b'\n', &mut self.line);
        match read {
            Err(error) => return Err(self.unreadable(error)),
            Ok(0) => return Err(self.damaged("it ends too early")),
            Ok(_) => {}
        }
        if !self.line.ends_with(b"\n") {
            return Err(self.damaged("it ends too early, or has a line that is too long"));
        }
        self.hash.update(&self.line);
        Ok(())
    }

    /// The failure of a read: of the file, or of the decoder because the content is wrong.
    fn unreadable(&self, error: io::Error) -> Failure {
        let kind = error.kind();
        if kind == io::ErrorKind::UnexpectedEof {
            return self.damaged("it ends too early");
        }
        if kind == io::ErrorKind::InvalidInput || kind == io::ErrorKind::InvalidData {
            return self.damaged("its compressed content is wrong");
        }
        Failure::File {
            path: self.path.clone(),
            source: error,
        }
    }

    pub(super) fn damaged(&self, problem: impl Into<String>) -> Failure {
        Failure::Damaged {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }
}
