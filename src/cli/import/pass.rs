//! One pass over the file: what becomes of each row, with or without writing.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::blocked::Blocked;
use super::convert::{Converter, of_field};
use super::input::Input;
use super::reading::{self, ReadBatch};
use super::report::Report;
use super::rows::{Refused, Row};
use super::{keep, report};
use crate::cli::output;
use crate::domain::{AccountId, Error, ImportedAccount, ResellerId};
use crate::service::{Context, ImportBatch, ImportOutcome, OnExisting, Service};

/// Carries out passes over one file.
pub(super) struct Pass {
    pub(super) service: Arc<Service>,
    pub(super) context: Context,
    pub(super) converter: Arc<Converter>,
    pub(super) reseller: ResellerId,
    pub(super) on_existing: OnExisting,
    pub(super) batch: usize,
    pub(super) ignore_unknown: bool,
    pub(super) interrupted: Arc<AtomicBool>,
    /// The numbers in the rows of the file that have been read.
    pub(super) numbers: Arc<HashSet<AccountId>>,
    /// The first refused rows.
    pub(super) refused: Vec<Refused>,
    /// The columns that were left out.
    pub(super) ignored: Vec<String>,
}

/// Why a pass ended before the end of the file.
pub(super) enum Stop {
    /// A row is refused, and the rows after it are not to be imported without it.
    Row(Box<Refused>),
    /// The database failed. Whether the rows between these lines were imported is not known.
    Failed {
        error: Error,
        first_line: u64,
        last_line: u64,
    },
    /// All rows are in, but not all blocks were lifted.
    Lift(String),
    /// The file cannot be read, or the report cannot be written.
    File(String),
    Interrupted,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(refused) => f.write_str(&report::text(refused)),
            Self::Failed { error, .. } => error.fmt(f),
            Self::Lift(problem) | Self::File(problem) => f.write_str(problem),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// What became of the rows.
#[derive(Default)]
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) already_there: u64,
    pub(super) skipped: u64,
    pub(super) refused: u64,
    /// How many freezes and suspensions were lifted.
    pub(super) lifted: u64,
    /// The accounts that are blocked here and not in the file.
    pub(super) blocked: Blocked,
    /// The line on which the first row begins.
    first_line: Option<u64>,
    /// The line on which the last of these rows begins.
    pub(super) last_line: Option<u64>,
    pub(super) stop: Option<Stop>,
}

impl Done {
    /// The counts, for people.
    pub(super) fn counts(&self) -> String {
        let parts = [
            (self.updated, "updated"),
            (self.already_there, "already there"),
            (self.skipped, "skipped"),
            (self.lifted, "lifted"),
            (self.refused, "refused"),
        ];
        let others = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!(", {count} {what}"));
        let others: String = others.collect();
        format!("{} rows, {} created{others}", self.rows, self.created)
    }

    /// Which lines are done.
    pub(super) fn progress(&self) -> String {
        match (self.first_line, self.last_line) {
            (Some(first), Some(last)) => {
                format!("Lines {first} to {last} are done: {}", self.counts())
            }
            _ => "No row was imported".to_owned(),
        }
    }

    fn count(&mut self, line: u64, outcome: Option<ImportOutcome>) {
        self.rows += 1;
        self.first_line.get_or_insert(line);
        self.last_line = Some(line);
        *match outcome {
            Some(ImportOutcome::Created(_)) => &mut self.created,
            Some(ImportOutcome::Updated(..)) => &mut self.updated,
            Some(ImportOutcome::AlreadyThere(..)) => &mut self.already_there,
            Some(ImportOutcome::Skipped(..)) => &mut self.skipped,
            None => &mut self.refused,
        } += 1;
    }
}

impl Pass {
    /// Reads the file from its beginning. `stops` ends the pass at the first refused row; the rows
    /// before it are imported.
    pub(super) async fn run(
        &mut self,
        input: &mut Input,
        report: &mut Option<Report>,
        is_writing: bool,
        stops: bool,
    ) -> Done {
        let mut done = Done::default();
        let bar = bar(
            input.size,
            if is_writing { "importing" } else { "checking" },
        );
        let file = match input.read() {
            Ok(file) => file,
            Err(error) => {
                done.stop = Some(Stop::File(error.to_string()));
                return done;
            }
        };
        let mut batches = reading::start(
            file,
            input.format,
            self.ignore_unknown,
            Arc::clone(&self.converter),
            self.batch,
        );
        while let Some(read) = batches.recv().await {
            let stopped = match read {
                _ if self.interrupted.load(Ordering::Relaxed) => Err(Stop::Interrupted),
                Ok(batch) => {
                    bar.set_position(batch.bytes);
                    self.ignored.clone_from(&batch.ignored);
                    if !is_writing {
                        self.add_numbers(&batch);
                    }
                    self.import(batch, &mut done, report, is_writing, stops)
                        .await
                }
                Err(problem) => Err(Stop::File(problem)),
            };
            if let Err(stop) = stopped {
                done.stop = Some(stop);
                break;
            }
        }
        bar.finish_and_clear();
        done
    }

    /// Reads the numbers that the rows bring along, so that rows without one get others. Faults are
    /// left to the pass that imports.
    pub(super) async fn read_numbers(&mut self, input: &mut Input) {
        let Ok(file) = input.read() else {
            return;
        };
        let mut batches = reading::start(
            file,
            input.format,
            self.ignore_unknown,
            Arc::clone(&self.converter),
            self.batch,
        );
        while let Some(Ok(batch)) = batches.recv().await {
            self.add_numbers(&batch);
            if self.interrupted.load(Ordering::Relaxed) {
                break;
            }
        }
    }

    fn add_numbers(&mut self, batch: &ReadBatch) {
        let accounts = batch.rows.iter().filter_map(|row| row.as_ref().ok());
        Arc::make_mut(&mut self.numbers).extend(accounts.filter_map(|(_, account)| account.number));
    }

    async fn import(
        &mut self,
        batch: ReadBatch,
        done: &mut Done,
        report: &mut Option<Report>,
        is_writing: bool,
        stops: bool,
    ) -> Result<(), Stop> {
        let mut rows = batch.rows;
        // Rows after the first refused one are not imported.
        let end = rows.iter().position(|row| stops && row.is_err());
        rows.truncate(end.map_or(rows.len(), |at| at + 1));
        let accounts: Vec<ImportedAccount> = rows
            .iter()
            .filter_map(|row| row.as_ref().ok())
            .map(|(_, account)| account.clone())
            .collect();
        let lines = || {
            rows.iter()
                .filter_map(|row| row.as_ref().ok())
                .map(|(row, _)| row.line)
        };
        let outcomes = if accounts.is_empty() {
            Vec::new()
        } else {
            let batch = ImportBatch {
                reseller: self.reseller,
                rows: accounts.into(),
                on_existing: self.on_existing,
                reserved: Arc::clone(&self.numbers),
                stops_at_problem: stops,
                planned: if is_writing {
                    0
                } else {
                    i64::try_from(done.created).unwrap_or(i64::MAX)
                },
                is_writing,
            };
            self.service
                .import_accounts(&self.context, batch)
                .await
                .map_err(|error| Stop::Failed {
                    error,
                    first_line: lines().next().unwrap_or_default(),
                    last_line: lines().next_back().unwrap_or_default(),
                })?
        };
        let mut outcomes = outcomes.into_iter();
        let (mut all_refused, mut stopped_at) = (Vec::new(), None);
        for row in rows {
            let refused = match row {
                Err(refused) => refused,
                Ok((row, _)) => match outcomes.next() {
                    Some(Ok(outcome)) => {
                        done.count(row.line, Some(outcome));
                        done.blocked.see(&row, outcome);
                        continue;
                    }
                    Some(Err(problem)) => refusal(&row, problem.column, problem.problem),
                    // The batch stopped at the row before.
                    None => break,
                },
            };
            all_refused.push(refused.clone());
            if stops {
                stopped_at = Some(Stop::Row(Box::new(refused)));
                break;
            }
            done.count(refused.line, None);
        }
        // After all rows are counted: they are in, whatever becomes of the report.
        for refused in all_refused {
            keep(refused, &mut self.refused, report).map_err(Stop::File)?;
        }
        stopped_at.map_or(Ok(()), Err)
    }
}

fn refusal(row: &Row, column: Option<&'static str>, problem: String) -> Refused {
    match column {
        Some(column) => of_field(row, column, problem),
        None => Refused::row(row.line, problem, ""),
    }
}

/// A bar on a terminal, and nothing elsewhere.
fn bar(size: Option<u64>, what: &'static str) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{msg} {bar:40} {percent}%, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{msg} {spinner} {bytes}"),
    };
    let bar = output::show_bar(bar);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
