//! `steward purge`

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, context, output};
use crate::dialects::dates;
use crate::domain::{PurgeRule, PurgeStop};
use crate::service::{PlannedPurge, Principal, Service};

/// How many accounts are read at once.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Purge {
    /// List the accounts that are going to be purged, and what stops it.
    #[command(
        after_help = "Examples:\n  steward purge plan\n  steward purge plan --reseller \"Acme Hosting\" --json"
    )]
    Plan {
        /// Whose accounts: the reseller's number or name; all resellers' if absent.
        #[arg(long, value_name = "ID_OR_NAME")]
        reseller: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Approve that everything of a reseller that is due now is purged in the next run, although it is more than its limit.
    #[command(after_help = "Example:\n  steward purge approve \"Acme Hosting\"")]
    Approve {
        /// The reseller's number or name.
        #[arg(value_name = "ID_OR_NAME")]
        reseller: String,
    },
}

impl Purge {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        match self {
            Self::Plan { reseller, json } => plan(&service, reseller, json).await,
            Self::Approve { reseller } => {
                let id = service.find_reseller(&reseller).await?;
                let approved = service
                    .approve_purge(&Principal::command_line(), id)
                    .await?;
                let said = if approved {
                    "what is due is purged in the next run, within a minute"
                } else {
                    "nothing is held back; nothing was approved"
                };
                output::line(&format!("reseller {id}: {said}"));
                Ok(())
            }
        }
    }
}

async fn plan(service: &Service, reseller: Option<String>, json: bool) -> Result<(), CommandError> {
    let of = match reseller {
        Some(name) => Some(service.find_reseller(&name).await?),
        None => None,
    };
    let (mut planned, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let (page, _) = service.purge_plan(&context(), of, from, PAGE).await?;
        after = page.last().map(|last| last.account.id.as_i32());
        planned.extend(page);
    }
    planned.sort_by_key(|one| one.account.purge_due_at);
    if json {
        let item = |one: &PlannedPurge| {
            let account = &one.account;
            json!({
                "reseller_id": account.reseller_id.0, "id": account.id.as_i32(), "uid": account.uid, "due_at": account.purge_due_at.map(dates::write),
                "rule": rule(one), "stopped_by": one.stop.map(stopped_by),
            })
        };
        output::json(&planned.iter().map(item).collect());
    } else if planned.is_empty() {
        output::line("nothing is going to be purged");
    } else {
        let row = |one: &PlannedPurge| {
            let account = &one.account;
            let due = account.purge_due_at.map(dates::write).unwrap_or_default();
            vec![
                account.reseller_id.to_string(),
                account.id.to_string(),
                due,
                rule(one).to_owned(),
                one.stop.map_or("", stopped_by).to_owned(),
            ]
        };
        output::table(
            &["RESELLER", "ACCOUNT", "DUE", "BECAUSE", "STOPPED BY"],
            &planned.iter().map(row).collect::<Vec<_>>(),
        );
    }
    Ok(())
}

fn rule(one: &PlannedPurge) -> &'static str {
    one.account
        .purge_due_at
        .and_then(|at| one.account.purge_rule(at))
        .map_or("", PurgeRule::as_str)
}

fn stopped_by(stop: PurgeStop) -> &'static str {
    match stop {
        PurgeStop::Off => "the purge is off",
        PurgeStop::InUse => "it is in use",
        PurgeStop::Retention => "a retention hold",
        PurgeStop::Exempt => "an exemption",
        PurgeStop::Operator => "a block of the operator's",
        PurgeStop::TooEarly { .. } => "its time",
    }
}
