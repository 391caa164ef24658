//! `steward account`

use std::cell::Cell;
use std::future::ready;
use std::sync::Arc;

use chrono_tz::Tz;
use clap::{Args, Subcommand};
use futures_util::stream::{self, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};

use super::import::Import;
use super::manage::Manage;
use super::{CommandError, context, find_reseller, output};
use crate::dialects::dates::{self, Role};
use crate::domain::{Conflict, Email, Error, Patch, ProfilePatch, ResellerId, Revision, Time};
use crate::service::{AccountRef, CommandOutcome, Completion, Context, Principal, Service};

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
The columns of a CSV file, or the members of each line of JSON, are
  number, uid, email, name, title, company, status, expires_at, created_at, plan, timezone,
  metadata.KEY, freeze_reason, freeze_payment_url, freeze_since, suspend_reason, suspend_message,
  suspend_since, is_smart, is_subscribers_suspend_all, is_tariff_exceed, pixels_enabled,
  pushes_enabled, reports_day, reports_hour, company_id, website, logo_url, favicon_url,
  admin_portal_domain, customer_portal_domain, reseller_portal_domain, google_client_id,
  account_alias, region, payment_method, psp, trial_expires_at, total_trial_extensions
Each row needs a number, a uid or an email. By these an account is found when the file is imported
again, so an import that was interrupted is run again with the same command. An empty value means
none.
If a row is refused, nothing is imported; --skip-invalid imports the others.

Examples:
  steward account import accounts.csv --reseller \"Acme Hosting\" --dry-run --report refused.csv
  steward account import accounts.csv --reseller \"Acme Hosting\"
  steward account import accounts.jsonl --reseller 1 --on-existing update --skip-invalid
  steward account import accounts.csv --reseller 1 --on-existing update --lift
  zcat accounts.csv.gz | steward account import - --format csv --reseller 1")]
    Import(Import),
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

impl Account {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run(service).await,
            Self::Manage(command) => command.run(service).await,
            Self::Import(import) => import.run(service).await,
        }
    }
}

impl Create {
    async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        let reseller = find_reseller(&service, &self.reseller).await?;
        let emails: Vec<String> = match self.count {
            None => vec![self.email.clone()],
            Some(count) => (1..=count)
                .map(|number| numbered(&self.email, number))
                .collect(),
        };
        let zone = service.zone_of_reseller(&context(), Some(reseller)).await?;
        let revisions = emails
            .into_iter()
            .map(|email| self.revision(&email, zone))
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

    /// Dates without a zone are in `zone`.
    fn revision(&self, email: &str, zone: Tz) -> Result<Revision, Error> {
        let patch = |text: &Option<String>| {
            let text = text.clone().filter(|text| !text.is_empty());
            text.map_or(Patch::Keep, Patch::Set)
        };
        let date = |text: &String| -> Result<Time, Error> {
            dates::parse(text, Role::End, zone)
                .map_err(|problem| Error::invalid("expires_at", problem))
        };
        let profile = ProfilePatch {
            email: Patch::Set(Email::parse(email)?),
            name: patch(&self.name),
            company: patch(&self.company),
            ..ProfilePatch::default()
        };
        let expires_at = self.expires_at.as_ref().filter(|text| !text.is_empty());
        Ok(Revision {
            profile,
            status: None,
            expires_at: expires_at.map(date).transpose()?.map(Some),
        })
    }
}

fn numbered(email: &str, number: u32) -> String {
    email.split_once('@').map_or_else(
        || email.to_owned(),
        |(local, domain)| format!("{local}{number}@{domain}"),
    )
}

/// Creates accounts in order, many at a time, so that they are committed together. After a failure
/// no further one is begun. Those that were under way then are waited for, so that the count in the
/// error is true.
async fn create_all(
    service: &Arc<Service>,
    reseller: ResellerId,
    revisions: Vec<Revision>,
    show: &impl Fn(&CommandOutcome),
) -> Result<u64, CommandError> {
    let total = u64::try_from(revisions.len()).unwrap_or_default();
    let bar = if total > 1_000 {
        output::show_bar(ProgressBar::new(total))
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
    let create = |revision: Revision| {
        let service = Arc::clone(service);
        async move {
            let email = revision.profile.email.value().cloned();
            let created = service
                .create(&context(), Some(reseller), revision, None)
                .await;
            created.map_err(|error| (email, error))
        }
    };
    let has_failed = Cell::new(false);
    let begun = stream::iter(revisions).take_while(|_| ready(!has_failed.get()));
    let mut answers = std::pin::pin!(begun.map(create).buffered(IN_FLIGHT));
    let (mut made, mut failure) = (0, None);
    while let Some(answered) = answers.next().await {
        match answered {
            Ok(Completion::Fresh(done)) => {
                show(&done);
                made += 1;
            }
            Ok(Completion::Replayed(_)) => {}
            Err(failed) => {
                has_failed.set(true);
                failure.get_or_insert(failed);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Some((email, error)) = failure else {
        return Ok(made);
    };
    let mut owner = String::new();
    if let (Error::Conflict(Conflict::EmailInUse), Some(email)) = (&error, &email) {
        let context = Context {
            principal: Principal::of_reseller(reseller),
            ..context()
        };
        // It may have been freed again.
        if let Ok(id) = service
            .find(&context, AccountRef::Email(email.clone()))
            .await
        {
            owner = format!(": account {id}, which `steward account show {id}` shows");
        }
    }
    let email = email.map_or_else(String::new, |email| email.as_str().to_owned());
    if total == 1 && !owner.is_empty() {
        return Err(CommandError::Other(format!("{email}: {error}{owner}")));
    }
    if total == 1 {
        return Err(error.into());
    }
    let made = match made {
        0 => "none of the accounts was created".to_owned(),
        1 => format!("1 of the {total} accounts was created"),
        made => format!("{made} of the {total} accounts were created"),
    };
    let unknown = if error == Error::Unavailable {
        ", and perhaps some more"
    } else {
        ""
    };
    Err(CommandError::Other(format!(
        "{email}: {error}{owner}; {made}{unknown}"
    )))
}
