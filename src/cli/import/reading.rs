//! The thread that reads a file and makes accounts of its rows, a batch ahead of the database.

use std::io::Read;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::convert::{Converter, Seen};
use super::rows::{Format, Refused, Row, Rows};
use crate::domain::ImportedAccount;

/// How many batches are read ahead.
const AHEAD: usize = 2;

/// Rows that are imported together.
pub(super) struct ReadBatch {
    pub(super) rows: Vec<Result<(Row, ImportedAccount), Refused>>,
    /// How many bytes of the file were read so far.
    pub(super) bytes: u64,
    /// The columns that were left out so far.
    pub(super) ignored: Vec<String>,
}

/// Batches in the order of the file. The last message may be an error that ends the reading.
pub(super) type Batches = mpsc::Receiver<Result<ReadBatch, String>>;

/// Starts the thread.
pub(super) fn start(
    input: Box<dyn Read + Send>,
    format: Format,
    ignore_unknown: bool,
    converter: Arc<Converter>,
    size: usize,
) -> Batches {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut rows = match Rows::open(input, format, ignore_unknown) {
            Ok(rows) => rows,
            Err(problem) => {
                // Nobody receives it if the pass has ended.
                let _ended = sender.blocking_send(Err(problem));
                return;
            }
        };
        let mut seen = Seen::default();
        let mut is_last = false;
        while !is_last {
            let mut batch = Vec::with_capacity(size);
            let mut failure = None;
            while batch.len() < size {
                match rows.next() {
                    Ok(Some(row)) => batch.push(row.and_then(|row| {
                        // A row that is refused is in the file too.
                        let is_first = seen.check(&row);
                        let account = converter.account(&row)?;
                        is_first?;
                        Ok((row, account))
                    })),
                    Ok(None) => {
                        is_last = true;
                        break;
                    }
                    Err(error) => {
                        failure = Some(format!("the file cannot be read: {error}"));
                        is_last = true;
                        break;
                    }
                }
            }
            let read = ReadBatch {
                rows: batch,
                bytes: rows.bytes(),
                ignored: rows.ignored.clone(),
            };
            if sender.blocking_send(Ok(read)).is_err() {
                return;
            }
            if let Some(failure) = failure {
                let _ended = sender.blocking_send(Err(failure));
            }
        }
    });
    receiver
}
