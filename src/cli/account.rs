//! `steward account`

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use clap::{Args, Subcommand};
use futures_util::stream::{self, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::manage::Manage;
use super::{CommandError, context, find_reseller, output};
use crate::dialects::dates::{self, Role};
use crate::domain::{Email, Error, Patch, ProfilePatch, ResellerId, Revision, Time};
use crate::service::{CommandOutcome, Completion, Service};

/// How many accounts are created at once: enough to fill batches.
const IN_FLIGHT: usize = 512;

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    #[command(flatten)]
    Manage(Manage),
    /// Create an account, or many accounts for tests.
    #[command(after_help = "\
Examples:
  steward account create --reseller 1 --email jo@example.com --expires-at 2027-12-31
  steward account create --reseller 1 --email load@example.com --count 10000")]
    Create(Create),
    /// Import accounts from a .csv or .jsonl file.
    #[command(after_help = "\
The columns of a CSV file, or the members of each line of JSON, are email (required), name, company \
and expires_at.
A file with an invalid line is refused as a whole.

Example:
  steward account import accounts.csv --reseller \"Acme Hosting\"")]
    Import {
        /// The file, ending in .csv or .jsonl.
        file: PathBuf,
        /// The reseller that gets the accounts, by number or name.
        #[arg(long, value_name = "ID_OR_NAME")]
        reseller: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The reseller that gets the account, by number or name.
    #[arg(long, value_name = "ID_OR_NAME")]
    reseller: String,
    /// The e-mail address; with --count, each account gets a number before the @.
    #[arg(long)]
    email: String,
    /// The name of the account.
    #[arg(long)]
    name: Option<String>,
    /// The name of the company.
    #[arg(long)]
    company: Option<String>,
    /// When the account expires: a date (its end, in the reseller's time zone) or a date and time; never if absent.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// How many accounts to create.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Print the account as JSON; with --count, one account per line.
    #[arg(long)]
    json: bool,
}

/// A row of an import file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    email: String,
    name: Option<String>,
    company: Option<String>,
    expires_at: Option<String>,
}

impl Account {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run(service).await,
            Self::Manage(command) => command.run(service).await,
            Self::Import { file, reseller } => {
                let reseller = find_reseller(&service, &reseller).await?;
                let zone = service.zone_of_reseller(&context(), Some(reseller)).await?;
                let revisions = read(&file, zone)?;
                let made = create_all(&service, reseller, revisions, &|_| ()).await?;
                output::line(&format!("imported {made} accounts"));
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        let reseller = find_reseller(&service, &self.reseller).await?;
        let line = |email: String| Line {
            email,
            name: self.name.clone(),
            company: self.company.clone(),
            expires_at: self.expires_at.clone(),
        };
        let emails: Vec<String> = match self.count {
            None => vec![self.email.clone()],
            Some(count) => (1..=count)
                .map(|number| numbered(&self.email, number))
                .collect(),
        };
        let zone = service.zone_of_reseller(&context(), Some(reseller)).await?;
        let revisions = emails
            .into_iter()
            .map(|email| revision(line(email), zone))
            .collect::<Result<Vec<_>, _>>()?;
        let (json, many) = (self.json, self.count.is_some());
        let show = |done: &CommandOutcome| match (json, many) {
            (true, false) => output::json(&output::account(&done.account, done.at)),
            (true, true) => output::line(&output::account(&done.account, done.at).to_string()),
            (false, false) => output::line(&format!(
                "created account {} ({})",
                done.account.id, done.account.uid
            )),
            (false, true) => {}
        };
        let made = create_all(&service, reseller, revisions, &show).await?;
        if many && !json {
            output::line(&format!("created {made} accounts"));
        }
        Ok(())
    }
}

fn numbered(email: &str, number: u32) -> String {
    email.split_once('@').map_or_else(
        || email.to_owned(),
        |(local, domain)| format!("{local}{number}@{domain}"),
    )
}

/// Dates without a zone are in `zone`.
fn revision(line: Line, zone: Tz) -> Result<Revision, Error> {
    let patch = |text: Option<String>| {
        text.filter(|text| !text.is_empty())
            .map_or(Patch::Keep, Patch::Set)
    };
    let date = |text: String| -> Result<Time, Error> {
        dates::parse(&text, Role::End, zone)
            .map_err(|problem| Error::invalid("expires_at", problem))
    };
    let profile = ProfilePatch {
        email: Patch::Set(Email::parse(&line.email)?),
        name: patch(line.name),
        company: patch(line.company),
        ..ProfilePatch::default()
    };
    let expires_at = line
        .expires_at
        .filter(|text| !text.is_empty())
        .map(date)
        .transpose()?;
    Ok(Revision {
        profile,
        status: None,
        expires_at: expires_at.map(Some),
    })
}

/// Creates accounts in order, many at a time, so that they are committed together. Stops at the
/// first failure; the accounts before it stay.
async fn create_all(
    service: &Arc<Service>,
    reseller: ResellerId,
    revisions: Vec<Revision>,
    show: &impl Fn(&CommandOutcome),
) -> Result<u64, CommandError> {
    let total = u64::try_from(revisions.len()).unwrap_or_default();
    let bar = if total > 1_000 {
        ProgressBar::new(total)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} accounts, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    // One task polls the futures in order, so they reach the lane in order. Account numbers follow
    // the order of the input.
    let create = |revision| {
        let service = Arc::clone(service);
        async move {
            service
                .create(&context(), Some(reseller), revision, None)
                .await
        }
    };
    let mut answers = std::pin::pin!(stream::iter(revisions).map(create).buffered(IN_FLIGHT));
    let mut made = 0;
    while let Some(answered) = answers.next().await {
        match answered {
            Ok(Completion::Fresh(done)) => show(&done),
            Ok(Completion::Replayed(_)) => {}
            Err(error) => {
                return Err(CommandError::Other(format!(
                    "account {} of {total}: {error}; created the {made} before it",
                    made + 1
                )));
            }
        }
        made += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(made)
}

/// Reads the rows of a file. An invalid row is an error with its line number, and nothing is
/// imported.
fn read(file: &Path, zone: Tz) -> Result<Vec<Revision>, CommandError> {
    let fail = |problem: String| CommandError::Other(format!("{}: {problem}", file.display()));
    let open = File::open(file).map_err(|error| fail(error.to_string()))?;
    let lines: Vec<(usize, Line)> = match file.extension().and_then(|extension| extension.to_str())
    {
        Some("csv") => {
            let mut reader = csv::Reader::from_reader(open);
            let rows = reader
                .deserialize()
                .enumerate()
                .map(|(at, row)| row.map(|line| (at + 2, line)));
            rows.collect::<Result<_, _>>()
                .map_err(|error| fail(error.to_string()))?
        }
        Some("jsonl") => {
            let rows = BufReader::new(open)
                .lines()
                .enumerate()
                .map(|(at, row)| (at + 1, row))
                .filter(|(_, row)| row.as_ref().is_ok_and(|row| !row.trim().is_empty()));
            let parse = |(at, row): (usize, std::io::Result<String>)| {
                let row = row.map_err(|error| fail(format!("line {at}: {error}")))?;
                serde_json::from_str(&row)
                    .map(|line| (at, line))
                    .map_err(|error| fail(format!("line {at}: {error}")))
            };
            rows.map(parse).collect::<Result<_, _>>()?
        }
        _ => return Err(fail("must end in .csv or .jsonl".to_owned())),
    };
    lines
        .into_iter()
        .map(|(at, line)| revision(line, zone).map_err(|error| fail(format!("line {at}: {error}"))))
        .collect()
}
