//! `steward account import`
//!
//! 1. `input.rs` opens the file, or keeps a pipe in a temporary one. `rows.rs` and `csv_rows.rs`
//!    read rows with their lines, `convert.rs` makes accounts of them. A thread does that while the
//!    database works (`reading.rs`).
//! 2. The first pass (`pass.rs`) finds out what would become of every row and writes nothing. If a
//!    row is refused, so is the file. With `--skip-invalid` it only reads the numbers that the rows
//!    bring along, which no row without a number may get.
//! 3. The second pass imports the rows, a batch in one transaction. A batch is in or it is not, so
//!    the command knows up to which line the rows are in. When it is run again, rows that are in
//!    are found by their number, UUID or address.

mod blocked;
mod columns;
mod convert;
mod csv_rows;
mod descriptive;
mod input;
mod pass;
mod reading;
mod report;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use uuid::Uuid;

use super::{CommandError, find_reseller, output};
use crate::domain::{Dialect, Plan, ResellerId};
use crate::service::{Context, OnExisting, Principal, Service};
use convert::Converter;
use input::Input;
use pass::{Done, Pass, Stop};
use report::Report;
use rows::{Format, Refused};

/// How many refused rows are printed. The report has all.
const PRINTED: usize = 20;
/// How many plans are read at a time.
const PLANS: i64 = 100;

#[expect(
    clippy::struct_excessive_bools,
    reason = "they are flags of the command"
)]
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file, ending in .csv or .jsonl; - means standard input.
    file: PathBuf,
    /// The reseller that gets the accounts, by number or name.
    #[arg(long, value_name = "ID_OR_NAME")]
    reseller: String,
    /// The format, if the name of the file does not tell it.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What becomes of a row whose number, uid or email an account has, and which differs from it.
    #[arg(long, value_enum, default_value = "fail")]
    on_existing: Existing,
    /// Lift the reseller's freeze or suspension of accounts whose row has none, if the file has such columns.
    #[arg(long)]
    lift: bool,
    /// Import the other rows if some are refused; without it, one refused row refuses the file.
    #[arg(long)]
    skip_invalid: bool,
    /// Leave out columns that Steward does not know.
    #[arg(long)]
    ignore_unknown: bool,
    /// Write nothing; show what would become of the rows.
    #[arg(long)]
    dry_run: bool,
    /// Write a line for each refused row to this file, ending in .csv or .jsonl.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many rows one transaction imports.
    #[arg(long, value_name = "ROWS", default_value_t = 1000,
          value_parser = clap::value_parser!(u16).range(1..=5000))]
    batch: u16,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// See [`OnExisting`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Existing {
    /// Refuse the row.
    Fail,
    /// Leave the account as it is.
    Skip,
    /// Change the account; columns that the file does not have stay.
    Update,
}

impl From<Existing> for OnExisting {
    fn from(existing: Existing) -> Self {
        match existing {
            Existing::Fail => Self::Fail,
            Existing::Skip => Self::Skip,
            Existing::Update => Self::Update,
        }
    }
}

impl Import {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        if self.lift && self.on_existing != Existing::Update {
            return Err(CommandError::Other(
                "--lift changes accounts: it needs --on-existing update".to_owned(),
            ));
        }
        let reseller = find_reseller(&service, &self.reseller).await?;
        let context = Context {
            principal: Principal::of_reseller(reseller),
            dialect: Dialect::Cli,
            request_id: Uuid::new_v4().to_string(),
        };
        let converter = Arc::new(converter(&service, &context, reseller).await?);
        let is_checked_first = !self.skip_invalid && !self.dry_run;
        let mut input =
            Input::open(&self.file, self.format, !self.dry_run).map_err(CommandError::Other)?;
        let mut report = match &self.report {
            Some(path) => Some(Report::create(path, &self.file).map_err(CommandError::Other)?),
            None => None,
        };
        let mut pass = Pass {
            service,
            context,
            converter,
            reseller,
            on_existing: self.on_existing.into(),
            batch: usize::from(self.batch),
            ignore_unknown: self.ignore_unknown,
            interrupted: interruption()?,
            numbers: Arc::default(),
            refused: Vec::new(),
            ignored: Vec::new(),
        };
        let mut checked = None;
        if is_checked_first || self.dry_run {
            let done = pass.run(&mut input, &mut report, false, false).await;
            if self.dry_run || done.stop.is_some() || done.refused > 0 {
                checked = Some(done);
            }
        }
        if self.skip_invalid && !self.dry_run {
            pass.read_numbers(&mut input).await;
        }
        let was_written = checked.is_none();
        let mut done = match checked {
            Some(done) => done,
            None => {
                pass.run(&mut input, &mut report, true, !self.skip_invalid)
                    .await
            }
        };
        if self.lift && was_written && done.stop.is_none() {
            let lifted = done.blocked.lift(&pass.service, &pass.context).await;
            match lifted {
                Ok(lifted) => done.lifted = lifted,
                Err(problem) => done.stop = Some(Stop::Lift(problem)),
            }
        }
        let finished = report.as_mut().map_or(Ok(()), Report::finish);
        match (self.show(&pass, &done, was_written), finished) {
            (Ok(()), finished) => finished.map_err(CommandError::Other),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(problem)) => {
                output::note(&problem);
                Err(error)
            }
        }
    }

    /// Prints the result. It is an error if not everything was imported that should have been.
    fn show(&self, pass: &Pass, done: &Done, was_written: bool) -> Result<(), CommandError> {
        for refused in pass.refused.iter().take(PRINTED) {
            output::note(&report::text(refused));
        }
        let more = done
            .refused
            .saturating_sub(u64::try_from(PRINTED).unwrap_or_default());
        if more > 0 {
            let where_all = self.report.as_ref().map_or_else(
                || "--report FILE lists all".to_owned(),
                |path| format!("{} lists all", path.display()),
            );
            output::note(&format!("{more} more rows are refused; {where_all}"));
        }
        if !pass.ignored.is_empty() {
            let ignored = pass.ignored.join(", ");
            output::note(&format!("left out as unknown: {ignored}"));
        }
        let staying = if self.lift {
            Vec::new()
        } else {
            done.blocked.texts()
        };
        for text in staying {
            output::note(&text);
        }
        let outcome = self.outcome(done, was_written);
        if self.json {
            output::json(&self.summary(pass, done, was_written, outcome.is_ok()));
        }
        match outcome {
            Ok(text) if !self.json => output::line(&text),
            Ok(_) => {}
            Err(problem) => return Err(CommandError::Other(problem)),
        }
        Ok(())
    }

    fn outcome(&self, done: &Done, was_written: bool) -> Result<String, String> {
        let again = "Run the same command again: rows that are in count as already there";
        let counts = done.counts();
        match (&done.stop, was_written) {
            (Some(stop), false) => Err(format!("{stop}. Nothing was imported")),
            (Some(stop), true) => {
                let unknown = if let Stop::Failed {
                    first_line,
                    last_line,
                    ..
                } = stop
                {
                    format!(
                        " Whether the rows of lines {first_line} to {last_line} are in is not \
                         known."
                    )
                } else {
                    String::new()
                };
                let later = if done.last_line.is_some() {
                    " No later row is in."
                } else {
                    ""
                };
                Err(format!(
                    "{stop}. {}.{unknown}{later} {again}",
                    done.progress()
                ))
            }
            (None, false) if !self.dry_run => Err(format!(
                "nothing was imported: {} of {} rows are refused. Correct them, or import the \
                 others with --skip-invalid",
                done.refused, done.rows
            )),
            (None, false) if done.refused > 0 && !self.skip_invalid => Err(format!(
                "dry run, nothing was written: {} of {} rows would be refused, and the file with \
                 them. --skip-invalid would import the others: {counts}",
                done.refused, done.rows
            )),
            (None, false) if self.lift => Ok(format!(
                "dry run, nothing was written: {counts}, {} to lift",
                done.blocked.count()
            )),
            (None, false) => Ok(format!("dry run, nothing was written: {counts}")),
            (None, true) => Ok(format!("imported {}: {counts}", self.file.display())),
        }
    }

    fn summary(
        &self,
        pass: &Pass,
        done: &Done,
        was_written: bool,
        is_complete: bool,
    ) -> serde_json::Value {
        let refused: Vec<_> = pass.refused.iter().map(report::document).collect();
        json!({
            "complete": is_complete,
            "dry_run": self.dry_run,
            "written": was_written,
            "rows": done.rows,
            "created": done.created,
            "updated": done.updated,
            "already_there": done.already_there,
            "skipped": done.skipped,
            "refused": done.refused,
            "lifted": done.lifted,
            "blocked_only_here": done.blocked.document(),
            "last_line": done.last_line,
            "problems": refused,
            "ignored_columns": pass.ignored,
            "report": self.report.as_ref().map(|path| path.display().to_string()),
        })
    }
}

/// Keeps a refused row for the report and for printing.
fn keep(
    refused: Refused,
    kept: &mut Vec<Refused>,
    report: &mut Option<Report>,
) -> Result<(), String> {
    if let Some(report) = report {
        report.add(&refused)?;
    }
    if kept.len() < PRINTED {
        kept.push(refused);
    }
    Ok(())
}

/// A switch that turns on when the command is interrupted, by Ctrl-C or SIGTERM. The batch under way
/// is finished first.
fn interruption() -> Result<Arc<AtomicBool>, CommandError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // It is set in the signal's handler, so the batch under way is the last one.
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| CommandError::Other(error.to_string()))?;
    }
    Ok(interrupted)
}

async fn converter(
    service: &Service,
    context: &Context,
    reseller: ResellerId,
) -> Result<Converter, CommandError> {
    let zone = service
        .reseller(&Principal::command_line(), reseller)
        .await?
        .timezone
        .parse()
        .unwrap_or_default();
    let mut plans: Vec<Arc<Plan>> = Vec::new();
    loop {
        let after = plans.last().map_or(0, |plan| i64::from(plan.number));
        let page = service.plans(context, Some(reseller), after, PLANS).await?;
        let is_last = page.is_empty();
        plans.extend(page);
        if is_last {
            break;
        }
    }
    Ok(Converter {
        reseller,
        zone,
        plans,
        now: service.now(),
    })
}
