//! `steward bulk`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{CommandError, context, output};
use crate::dialects::v3::BulkOperation;
use crate::domain::Outcome;
use crate::service::{AccountRef, Completion, Item, MAX_OPERATIONS, Service};

/// How many mistakes are printed.
const PRINTED: usize = 20;

/// The operations of a file and the mistakes in it, with their line numbers.
type Read = (Vec<(usize, BulkOperation)>, Vec<(usize, String)>);

#[derive(Debug, Args)]
pub(super) struct Bulk {
    /// The file, with one JSON operation per line.
    file: PathBuf,
    /// Check the file, and look up its accounts, without changing anything.
    #[arg(long)]
    dry_run: bool,
}

impl Bulk {
    /// Reads the whole file first. If a line is invalid, no operation runs. An operation that fails
    /// does not stop the others, and the file may be run again: repeated operations change nothing.
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        let items = self.items(&service).await?;
        if self.dry_run {
            self.look_up(&service, &items).await?;
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, name, _) in &items {
            *counts.entry(name.as_str()).or_default() += 1;
        }
        let totals: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if self.dry_run {
            output::line(&format!(
                "{} valid operations: {}",
                items.len(),
                totals.join(", ")
            ));
            return Ok(());
        }
        let bar = ProgressBar::new(u64::try_from(items.len()).unwrap_or_default());
        let bar = output::show_bar(bar);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {pos}/{len} operations, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        let (mut changed, mut unchanged, mut failed) = (0_u64, 0_u64, 0_u64);
        for chunk in items.chunks(MAX_OPERATIONS) {
            let outcomes = service
                .bulk(
                    &context(),
                    chunk.iter().map(|(.., item)| item.clone()).collect(),
                )
                .await?;
            for ((line, name, _), outcome) in chunk.iter().zip(outcomes) {
                match outcome.and_then(Completion::done) {
                    Ok(done) if done.outcome == Outcome::Applied => changed += 1,
                    Ok(_) => unchanged += 1,
                    Err(error) => {
                        failed += 1;
                        output::error(&format!("line {line}: {name}: {error}"));
                    }
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        output::line(&format!(
            "{changed} changed, {unchanged} unchanged, {failed} failed"
        ));
        if failed > 0 {
            Err(CommandError::Other(format!(
                "{failed} of {} operations failed",
                items.len()
            )))
        } else {
            Ok(())
        }
    }

    /// The operations, each with its line number and its name. Dates without a zone are in that of
    /// each account's reseller.
    async fn items(&self, service: &Service) -> Result<Vec<(usize, String, Item)>, CommandError> {
        let (operations, mut mistakes) = self.read()?;
        let mut items = Vec::with_capacity(operations.len());
        for chunk in operations.chunks(MAX_OPERATIONS) {
            let accounts = chunk
                .iter()
                .filter_map(|(_, operation)| operation.account());
            let zones = service.zones_of(&context(), accounts.collect()).await?;
            for (line, operation) in chunk {
                let zone = operation.account().and_then(|it| zones.get(&it).copied());
                let name = operation.name().to_owned();
                let item = operation.clone();
                match item.item(zone.unwrap_or_default(), service.deletion()) {
                    Ok(item) => items.push((*line, name, item)),
                    Err(problem) => mistakes.push((*line, problem)),
                }
            }
        }
        mistakes.sort();
        self.refuse(&mistakes, "operations are invalid, so none was carried out")?;
        Ok(items)
    }

    /// Prints the mistakes by line, and refuses the file if there are any.
    fn refuse(&self, mistakes: &[(usize, String)], what: &str) -> Result<(), CommandError> {
        for (line, problem) in mistakes.iter().take(PRINTED) {
            output::note(&format!("line {line}: {problem}"));
        }
        if mistakes.len() > PRINTED {
            output::note(&format!("{} more mistakes", mistakes.len() - PRINTED));
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(self.fail(&format!("{} {what}", mistakes.len())))
        }
    }

    /// Refuses operations on accounts that are not there. A run does that one by one.
    async fn look_up(
        &self,
        service: &Service,
        items: &[(usize, String, Item)],
    ) -> Result<(), CommandError> {
        let mut missing = Vec::new();
        for chunk in items.chunks(MAX_OPERATIONS) {
            let accounts = chunk
                .iter()
                .map(|(.., item)| item.account.clone())
                .collect();
            let found = service.resolve_all(&context(), accounts).await?;
            for (line, name, item) in chunk {
                if let Some(Err(error)) = found.get(&item.account) {
                    missing.push((*line, format!("{name}: {}: {error}", named(&item.account))));
                }
            }
        }
        self.refuse(&missing, "operations would fail; the others are valid")
    }

    fn fail(&self, problem: &str) -> CommandError {
        CommandError::Other(format!("{}: {problem}", self.file.display()))
    }

    /// Reads the operations and the mistakes, each with its line number.
    fn read(&self) -> Result<Read, CommandError> {
        let fail = |problem: String| self.fail(&problem);
        let file = File::open(&self.file).map_err(|error| fail(error.to_string()))?;
        let (mut operations, mut mistakes) = (Vec::new(), Vec::new());
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|error| fail(format!("line {}: {error}", index + 1)))?;
            if !line.trim().is_empty() {
                match BulkOperation::parse(&line) {
                    Ok(operation) => operations.push((index + 1, operation)),
                    Err(problem) => mistakes.push((index + 1, problem)),
                }
            }
        }
        Ok((operations, mistakes))
    }
}

/// An account as the file names it.
fn named(account: &AccountRef) -> String {
    match account {
        AccountRef::Id(id) => format!("account {id}"),
        AccountRef::Uid(uid) => format!("account {uid}"),
        AccountRef::Email(email) => format!("account {}", email.as_str()),
    }
}
