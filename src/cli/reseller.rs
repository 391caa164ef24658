//! `steward reseller`

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, find_reseller, output};
use crate::dialects::dates;
use crate::domain::Patch;
use crate::service::{NewReseller, Principal, ResellerPatch, Service, Suspension};

#[derive(Debug, Subcommand)]
pub(super) enum Reseller {
    /// Create a reseller.
    #[command(after_help = "\
Examples:
  steward reseller create --name \"Acme Hosting\"
  steward reseller create --name Small --account-limit 100 --json")]
    Create {
        /// The name; unique, ignoring case.
        #[arg(long)]
        name: String,
        /// The maximum number of accounts; unlimited if absent.
        #[arg(long, value_name = "N")]
        account_limit: Option<i32>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all resellers.
    #[command(after_help = "\
Example:
  steward reseller list --json")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change a reseller's preferences and purge settings.
    #[command(after_help = "\
Examples:
  steward reseller update 3 --timezone Europe/Berlin
  steward reseller update 3 --account-limit 500
  steward reseller update \"Acme Hosting\" --soap-codes number
  steward reseller update 3 --purges on --purge-grace-days 60")]
    Update {
        /// The reseller's number or name.
        #[arg(value_name = "ID_OR_NAME")]
        reseller: String,
        /// The time zone for dates without one, such as Europe/Berlin.
        #[arg(long, value_name = "ZONE")]
        timezone: Option<String>,
        /// Whether result codes of the SOAP API are words or numbers.
        #[arg(long, value_name = "KIND", value_parser = ["word", "number"])]
        soap_codes: Option<String>,
        /// Whether deleted and expired accounts are purged.
        #[arg(long, value_name = "SWITCH", value_parser = ["on", "off"])]
        purges: Option<String>,
        /// The maximum number of accounts, or none.
        #[arg(long, value_name = "N", value_parser = account_limit)]
        account_limit: Option<Patch<i32>>,
        /// How many days after its expiry an account may be purged.
        #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
        purge_grace_days: Option<i32>,
        /// How many accounts one run may purge; if more are due, none is purged until an operator
        /// approves.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        purge_limit: Option<i32>,
    },
    /// Suspend a reseller: block all its accounts without changing them.
    #[command(after_help = "\
Example:
  steward reseller suspend \"Acme Hosting\"")]
    Suspend {
        /// The reseller's number or name.
        #[arg(value_name = "ID_OR_NAME")]
        reseller: String,
    },
    /// Lift the suspension of a reseller; each account is as it was before.
    #[command(after_help = "\
Example:
  steward reseller unsuspend 3")]
    Unsuspend {
        /// The reseller's number or name.
        #[arg(value_name = "ID_OR_NAME")]
        reseller: String,
    },
    /// List the suspensions of a reseller, past and present, newest first.
    #[command(after_help = "\
Examples:
  steward reseller suspensions \"Acme Hosting\"
  steward reseller suspensions 3 --json")]
    Suspensions {
        /// The reseller's number or name.
        #[arg(value_name = "ID_OR_NAME")]
        reseller: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Reads the value of `--account-limit`.
fn account_limit(text: &str) -> Result<Patch<i32>, String> {
    if text == "none" {
        return Ok(Patch::Clear);
    }
    let limit = text.parse::<i32>().ok().filter(|limit| *limit >= 0);
    limit
        .map(Patch::Set)
        .ok_or_else(|| "must be a number from 0 on, or none".to_owned())
}

impl Reseller {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        let operator = Principal::command_line();
        match self {
            Self::Create {
                name,
                account_limit,
                json,
            } => {
                let patch = ResellerPatch {
                    account_limit: account_limit.map_or(Patch::Keep, Patch::Set),
                    ..ResellerPatch::default()
                };
                let reseller = service
                    .create_reseller(&operator, NewReseller { name, patch }, None)
                    .await?
                    .done()?;
                if json {
                    output::json(&json!({ "id": reseller.id.0, "name": reseller.name }));
                } else {
                    output::line(&format!(
                        "created reseller {} ({})",
                        reseller.id, reseller.name
                    ));
                }
            }
            Self::List { json } => list(&service.resellers(&operator, 0, i64::MAX).await?, json),
            Self::Update {
                reseller,
                timezone,
                soap_codes,
                purges,
                account_limit,
                purge_grace_days,
                purge_limit,
            } => {
                let id = find_reseller(&service, &reseller).await?;
                let patch = ResellerPatch {
                    timezone,
                    soap_numbers: soap_codes.map(|kind| kind == "number"),
                    account_limit: account_limit.unwrap_or_default(),
                    purges: purges.map(|switch| switch == "on"),
                    purge_grace_days,
                    purge_limit,
                    ..ResellerPatch::default()
                };
                let changed = service
                    .revise_reseller(&operator, id, patch, None)
                    .await?
                    .done()?
                    .value;
                let codes = if changed.soap_numbers {
                    "numbers"
                } else {
                    "words"
                };
                let purge = changed.purge;
                let accounts = if purge.is_on {
                    format!(
                        "purged after {} days, at most {} at once",
                        purge.grace_days, purge.limit
                    )
                } else {
                    "never purged".to_owned()
                };
                let limit = changed.account_limit.map_or_else(
                    || "any number of accounts".to_owned(),
                    |limit| format!("at most {limit} accounts"),
                );
                output::line(&format!(
                    "reseller {id}: time zone {}, SOAP codes as {codes}, {limit}, accounts {accounts}",
                    changed.timezone
                ));
            }
            Self::Suspend { reseller } => suspend(&service, &reseller, true).await?,
            Self::Unsuspend { reseller } => suspend(&service, &reseller, false).await?,
            Self::Suspensions { reseller, json } => {
                let id = find_reseller(&service, &reseller).await?;
                let all = service.suspensions(&operator, id, None, i64::MAX).await?;
                list_suspensions(&all, json);
            }
        }
        Ok(())
    }
}

fn list(resellers: &[crate::service::Reseller], json: bool) {
    if json {
        let items = resellers.iter().map(|reseller| {
            json!({
                "id": reseller.id.0,
                "name": reseller.name,
                "suspended_at": reseller.suspended_at.map(dates::write),
            })
        });
        output::json(&items.collect());
    } else {
        let suspended = |reseller: &crate::service::Reseller| {
            reseller
                .suspended_at
                .map_or_else(String::new, |at| format!("since {}", dates::write(at)))
        };
        let rows: Vec<_> = resellers
            .iter()
            .map(|reseller| {
                vec![
                    reseller.id.to_string(),
                    reseller.name.clone(),
                    suspended(reseller),
                ]
            })
            .collect();
        output::table(&["ID", "NAME", "SUSPENDED"], &rows);
    }
}

fn list_suspensions(suspensions: &[Suspension], json: bool) {
    if json {
        let items = suspensions.iter().map(|it| {
            json!({
                "suspended_at": dates::write(it.suspended_at),
                "suspended_by": it.suspended_by,
                "lifted_at": it.lifted_at.map(dates::write),
                "lifted_by": it.lifted_by,
            })
        });
        output::json(&items.collect());
        return;
    }
    let unknown = |name: &Option<String>| name.clone().unwrap_or_else(|| "unknown".to_owned());
    let row = |it: &Suspension| {
        let lifted = it
            .lifted_at
            .map(|at| (dates::write(at), unknown(&it.lifted_by)));
        let (lifted_at, lifted_by) = lifted.unwrap_or_default();
        vec![
            dates::write(it.suspended_at),
            unknown(&it.suspended_by),
            lifted_at,
            lifted_by,
        ]
    };
    let rows: Vec<_> = suspensions.iter().map(row).collect();
    output::table(&["SUSPENDED", "BY", "LIFTED", "BY"], &rows);
}

async fn suspend(service: &Service, reseller: &str, suspend: bool) -> Result<(), CommandError> {
    let id = find_reseller(service, reseller).await?;
    let operator = Principal::command_line();
    let written = service
        .suspend_reseller(&operator, id, suspend, None)
        .await?
        .done()?;
    let state = if suspend { "suspended" } else { "active" };
    output::line(&if written.is_changed {
        format!("reseller {id} is now {state}")
    } else {
        format!("reseller {id} is already {state}")
    });
    Ok(())
}
