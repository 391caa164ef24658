//! `steward purge`

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, context, find_reseller, output};
use crate::dialects::dates;
use crate::domain::{PurgeRule, PurgeStop};
use crate::service::{PlannedPurge, Principal, Service};

/// How many accounts one query reads.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Purge {
    /// List the accounts that will be purged, when, and what stops a purge.
    #[command(after_help = "\
Examples:
  steward purge plan
  steward purge plan --reseller \"Acme Hosting\" --json")]
    Plan {
        /// List only the accounts of this reseller, by number or name.
        #[arg(long, value_name = "ID_OR_NAME")]
        reseller: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let the next run purge all accounts of a reseller that are due, even above its limit.
    #[command(after_help = "\
Example:
  steward purge approve \"Acme Hosting\"")]
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
                let id = find_reseller(&service, &reseller).await?;
                let approved = service
                    .approve_purge(&Principal::command_line(), id, None)
                    .await?
                    .done()?;
                let result = if approved {
                    "approved; the next run purges the accounts that are due, within a minute"
                } else {
                    "no purge is waiting for approval; nothing changed"
                };
                output::line(&format!("reseller {id}: {result}"));
                Ok(())
            }
        }
    }
}

async fn plan(service: &Service, reseller: Option<String>, json: bool) -> Result<(), CommandError> {
    let reseller = match reseller {
        Some(name) => Some(find_reseller(service, &name).await?),
        None => None,
    };
    let (mut plan, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let (page, _) = service.purge_plan(&context(), reseller, from, PAGE).await?;
        next = page.rows.last().map(|last| last.account.id.as_i32());
        plan.extend(page.rows);
    }
    plan.sort_by_key(|planned| planned.account.purge_due_at);
    if json {
        let item = |planned: &PlannedPurge| {
            let account = &planned.account;
            json!({
                "reseller_id": account.reseller_id.0,
                "id": account.id.as_i32(),
                "uid": account.uid,
                "due_at": account.purge_due_at.map(dates::write),
                "rule": rule(planned),
                "stopped_by": planned.stop.map(stopped_by),
            })
        };
        output::json(&plan.iter().map(item).collect());
    } else if plan.is_empty() {
        output::line("no account will be purged");
    } else {
        let row = |planned: &PlannedPurge| {
            let account = &planned.account;
            let due = account.purge_due_at.map(dates::write).unwrap_or_default();
            vec![
                account.reseller_id.to_string(),
                account.id.to_string(),
                due,
                rule(planned).to_owned(),
                planned.stop.map_or("", stopped_by).to_owned(),
            ]
        };
        output::table(
            &["RESELLER", "ACCOUNT", "DUE", "REASON", "STOPPED BY"],
            &plan.iter().map(row).collect::<Vec<_>>(),
        );
    }
    Ok(())
}

fn rule(planned: &PlannedPurge) -> &'static str {
    planned
        .account
        .purge_due_at
        .and_then(|at| planned.account.purge_rule(at))
        .map_or("", PurgeRule::as_str)
}

fn stopped_by(stop: PurgeStop) -> &'static str {
    match stop {
        PurgeStop::Off => "purging is off",
        PurgeStop::InUse => "account in use",
        PurgeStop::Retention => "retention hold",
        PurgeStop::Exempt => "exemption",
        PurgeStop::Operator => "operator's block",
        PurgeStop::TooEarly { .. } => "not due yet",
    }
}
