//! The stored form of the command of a bulk job.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    Command, Error, HoldId, HoldKind, HoldPatch, Level, Owner, Patch, PaymentUrl, Status, Time,
};
use crate::store::errors::internal;

/// The stored form of a command.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredCommand {
    Place {
        kind: String,
        #[serde(default)]
        owner: Option<String>,
        details: Box<StoredHoldDetails>,
    },
    Lift {
        kind: String,
        #[serde(default)]
        owner: Option<String>,
    },
    Status {
        status: String,
    },
    Expiry {
        at: Option<Time>,
    },
    Exemption {
        until: Option<Time>,
    },
    Delete {
        purge_after_seconds: u64,
    },
    Restore,
}

/// The stored form of a change to one detail of a hold.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPatch {
    Keep,
    Clear,
    Set(String),
}

/// The stored form of the details of a hold.
#[derive(Serialize, Deserialize)]
struct StoredHoldDetails {
    reason_code: StoredPatch,
    reason: StoredPatch,
    public_message: StoredPatch,
    payment_url: StoredPatch,
    starts_at: StoredPatch,
    ends_at: StoredPatch,
    #[serde(default)]
    level: Option<String>,
}

fn store_patch<T>(patch: &Patch<T>, write: impl Fn(&T) -> String) -> StoredPatch {
    match patch {
        Patch::Keep => StoredPatch::Keep,
        Patch::Clear => StoredPatch::Clear,
        Patch::Set(value) => StoredPatch::Set(write(value)),
    }
}

fn load_patch<T>(patch: StoredPatch, read: impl Fn(String) -> Option<T>) -> Option<Patch<T>> {
    Some(match patch {
        StoredPatch::Keep => Patch::Keep,
        StoredPatch::Clear => Patch::Clear,
        StoredPatch::Set(text) => Patch::Set(read(text)?),
    })
}

/// A command as JSON; `None` for the commands that no bulk job carries out.
pub(super) fn to_json(command: &Command) -> Option<String> {
    let stored = match command {
        Command::Place {
            kind,
            owner,
            details,
            ..
        } => {
            let text = |text: &String| text.clone();
            let time = |at: &Time| at.to_rfc3339();
            let details = StoredHoldDetails {
                reason_code: store_patch(&details.reason_code, text),
                reason: store_patch(&details.reason, text),
                public_message: store_patch(&details.public_message, text),
                payment_url: store_patch(&details.payment_url, |url| url.as_str().to_owned()),
                starts_at: store_patch(&details.starts_at, time),
                ends_at: store_patch(&details.ends_at, time),
                level: Some(details.level.as_str().to_owned()),
            };
            StoredCommand::Place {
                kind: kind.as_str().to_owned(),
                owner: owner.as_ref().map(Owner::to_string),
                details: Box::new(details),
            }
        }
        Command::Lift {
            kind,
            owner,
            only: None,
        } => StoredCommand::Lift {
            kind: kind.as_str().to_owned(),
            owner: owner.as_ref().map(Owner::to_string),
        },
        Command::SetStatus(status) => StoredCommand::Status {
            status: status.as_str().to_owned(),
        },
        Command::SetExpiry(at) => StoredCommand::Expiry { at: *at },
        Command::SetExemption(until) => StoredCommand::Exemption { until: *until },
        Command::Delete { purge_after } => StoredCommand::Delete {
            purge_after_seconds: purge_after.as_secs(),
        },
        Command::Restore => StoredCommand::Restore,
        Command::Lift { .. }
        | Command::Redeem { .. }
        | Command::Revise(_)
        | Command::Announce
        | Command::PlanPurge(_)
        | Command::Purge(_) => return None,
    };
    serde_json::to_string(&stored).ok()
}

/// The command of a stored job.
pub(super) fn from_json(json: &str) -> Result<Command, Error> {
    let command = || {
        Some(match serde_json::from_str(json).ok()? {
            StoredCommand::Place {
                kind,
                owner,
                details,
            } => {
                let time = |text: String| text.parse().ok();
                let details = HoldPatch {
                    reason_code: load_patch(details.reason_code, Some)?,
                    reason: load_patch(details.reason, Some)?,
                    public_message: load_patch(details.public_message, Some)?,
                    payment_url: load_patch(details.payment_url, |url| {
                        Some(PaymentUrl::stored(url))
                    })?,
                    starts_at: load_patch(details.starts_at, time)?,
                    ends_at: load_patch(details.ends_at, time)?,
                    level: match details.level {
                        Some(level) => Level::parse(&level)?,
                        None => Level::Block,
                    },
                };
                Command::Place {
                    kind: HoldKind::parse(&kind)?,
                    owner: owner.map(Owner::stored),
                    fresh: HoldId(Uuid::nil()),
                    details,
                }
            }
            StoredCommand::Lift { kind, owner } => Command::Lift {
                kind: HoldKind::parse(&kind)?,
                owner: owner.map(Owner::stored),
                only: None,
            },
            StoredCommand::Status { status } => Command::SetStatus(Status::parse(&status)?),
            StoredCommand::Expiry { at } => Command::SetExpiry(at),
            StoredCommand::Exemption { until } => Command::SetExemption(until),
            StoredCommand::Delete {
                purge_after_seconds,
            } => Command::Delete {
                purge_after: Duration::from_secs(purge_after_seconds),
            },
            StoredCommand::Restore => Command::Restore,
        })
    };
    command().ok_or_else(|| internal("bulk_job has an unreadable command"))
}
