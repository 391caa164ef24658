//! `steward account list`, `show`, `explain`, and the commands that change an existing account.

mod explain;
mod list;
mod show;
mod target;
mod upcoming;

use std::sync::Arc;

use chrono_tz::Tz;
use clap::{Args, Subcommand};

use super::{CommandError, context, output};
use crate::dialects::dates::{self, Role};
use crate::domain::{
    Account, Authority, Block, Command, Error, HoldId, HoldKind, HoldPatch, Level, Outcome, Owner,
    Patch, PaymentUrl, Status, Time, quoted,
};
use crate::service::Service;
use target::{Target, label};

#[derive(Debug, Subcommand)]
pub(super) enum Manage {
    /// List accounts.
    #[command(after_help = "\
Examples:
  steward account list
  steward account list --reseller \"Acme Hosting\" --state frozen
  steward account list --text example.com --limit 0 --json")]
    List(list::List),
    /// Show an account.
    #[command(after_help = "\
Examples:
  steward account show 7
  steward account show jo@example.com --json")]
    Show(Target),
    /// List what time will do to accounts: holds that begin and lapse, expiries, purges.
    #[command(after_help = "\
Examples:
  steward account upcoming
  steward account upcoming --reseller \"Acme Hosting\" --until 2027-01-31 --limit 0 --json")]
    Upcoming(upcoming::Upcoming),
    /// Explain why an account is blocked, who may lift each block, and by which command.
    #[command(after_help = "\
Examples:
  steward account explain 7
  steward account explain jo@example.com --reseller \"Acme Hosting\"")]
    Explain(Target),
    /// Freeze an account because a payment is due.
    #[command(after_help = "\
The freeze is the operator's: only the operator lifts it. If it is in force already, its details are \
changed.

Examples:
  steward account freeze 7 --payment-url https://pay.example/7
  steward account freeze jo@example.com --reason \"invoice 4711\" --ends-at 2027-01-31")]
    Freeze(Place),
    /// Lift the operator's freeze of an account.
    #[command(after_help = "\
Example:
  steward account unfreeze 7")]
    Unfreeze(Lift),
    /// Suspend an account.
    #[command(after_help = "\
The suspension is the operator's: only the operator lifts it. If it is in force already, its details \
are changed.

Examples:
  steward account suspend 7 --reason-code abuse --public-message \"Please contact us.\"
  steward account suspend 7 --starts-at 2027-01-01 --ends-at 2027-01-31")]
    Suspend(Place),
    /// Lift the operator's suspension of an account.
    #[command(after_help = "\
Example:
  steward account unsuspend 7")]
    Unsuspend(Lift),
    /// Set the status of an account to active.
    #[command(after_help = "\
Example:
  steward account activate 7")]
    Activate(Target),
    /// Set the status of an account to inactive.
    #[command(after_help = "\
Example:
  steward account deactivate 7")]
    Deactivate(Target),
    /// Set the expiry date of an account.
    #[command(after_help = "\
Examples:
  steward account expiry 7 2027-12-31
  steward account expiry 7 never")]
    Expiry {
        #[command(flatten)]
        target: Target,
        /// A date (its end, in the reseller's time zone), a date and time, or the word never.
        #[arg(value_name = "TIME")]
        expires_at: String,
    },
    /// Delete an account; it can be restored until it is purged.
    #[command(after_help = "\
Example:
  steward account delete 7")]
    Delete(Target),
    /// Restore a deleted account.
    #[command(after_help = "\
Example:
  steward account restore 7")]
    Restore(Target),
}

/// What `freeze` and `suspend` take.
#[derive(Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    target: Target,
    /// A code for programs, such as abuse.
    #[arg(long, value_name = "CODE")]
    reason_code: Option<String>,
    /// The reason, for the staff. The user of the account does not see it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The text for the user of the account.
    #[arg(long, value_name = "TEXT")]
    public_message: Option<String>,
    /// Where the user pays.
    #[arg(long, value_name = "URL")]
    payment_url: Option<String>,
    /// The owner of the hold, such as billing: holds of different owners stand side by side.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// How far it restricts the account: block, limit or warn.
    #[arg(long, value_name = "LEVEL", default_value = "block")]
    level: String,
    /// When it begins: a date (its begin), or a date and time; now if absent.
    #[arg(long, value_name = "TIME")]
    starts_at: Option<String>,
    /// When it ends: a date (its end), or a date and time; when it is lifted if absent.
    #[arg(long, value_name = "TIME")]
    ends_at: Option<String>,
}

/// What `unfreeze` and `unsuspend` take.
#[derive(Debug, Args)]
pub(super) struct Lift {
    #[command(flatten)]
    target: Target,
    /// Lift only the hold with this UUID; a newer one is left alone.
    #[arg(long, value_name = "UUID")]
    hold_id: Option<uuid::Uuid>,
    /// Lift the hold of this owner, such as billing.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

impl Manage {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        let service = &service;
        match self {
            Self::List(list) => list.run(service).await,
            Self::Upcoming(upcoming) => upcoming.run(service).await,
            Self::Show(target) => {
                let account = target.find(service).await?;
                show::run(service, &account, target.json).await
            }
            Self::Explain(target) => {
                let account = target.find(service).await?;
                explain::run(service, &account, target.json).await
            }
            Self::Freeze(place) => place.run(service, HoldKind::Freeze).await,
            Self::Suspend(place) => place.run(service, HoldKind::Suspend).await,
            Self::Unfreeze(lift) => lift.run(service, HoldKind::Freeze).await,
            Self::Unsuspend(lift) => lift.run(service, HoldKind::Suspend).await,
            Self::Activate(target) => {
                let command = Command::SetStatus(Status::Active);
                let verb = Verb::new(
                    "is now active",
                    "the status of account {} was active already",
                );
                change(service, &target, &verb, |_| Ok(command)).await
            }
            Self::Deactivate(target) => {
                let command = Command::SetStatus(Status::Inactive);
                let verb = Verb::new(
                    "is now inactive",
                    "the status of account {} was inactive already",
                );
                change(service, &target, &verb, |_| Ok(command)).await
            }
            Self::Expiry { target, expires_at } => {
                let verb = Verb::new(
                    "has a new expiry date",
                    "account {} had this expiry date already",
                );
                change(service, &target, &verb, |zone| {
                    let at = (expires_at != "never").then_some(expires_at);
                    let at = time("TIME", Role::End, at, zone).map_err(|error| {
                        CommandError::Other(format!("{error}, or the word never"))
                    })?;
                    Ok(Command::SetExpiry(at))
                })
                .await
            }
            Self::Delete(target) => {
                let deletion = service.deletion();
                let verb = Verb::new("is now deleted", "account {} was deleted already");
                change(service, &target, &verb, |_| Ok(deletion)).await
            }
            Self::Restore(target) => {
                let verb = Verb::new("is restored", "account {} was not deleted");
                change(service, &target, &verb, |_| Ok(Command::Restore)).await
            }
        }
    }
}

impl Place {
    async fn run(self, service: &Service, kind: HoldKind) -> Result<(), CommandError> {
        let verb = match kind {
            HoldKind::Freeze => {
                Verb::new("is now frozen", "account {} was frozen like this already")
            }
            HoldKind::Suspend | HoldKind::Retention => Verb::new(
                "is now suspended",
                "account {} was suspended like this already",
            ),
        };
        let text = |text: Option<String>| text.map_or(Patch::Keep, Patch::Set);
        let at = |time: Option<Time>| time.map_or(Patch::Keep, Patch::Set);
        let given = [
            ("reason_code", self.reason_code.clone()),
            ("reason", self.reason.clone()),
            ("public_message", self.public_message.clone()),
            ("payment_url", self.payment_url.clone()),
            ("starts_at", self.starts_at.clone()),
            ("ends_at", self.ends_at.clone()),
            ("owner", self.owner.clone()),
            ("level", Some(self.level.clone())),
        ];
        let verb = Verb {
            given: given.to_vec(),
            ..verb
        };
        let payment_url = self.payment_url.as_deref().map(PaymentUrl::parse);
        let payment_url = payment_url
            .transpose()
            .map_err(|error| of_flag(error, &verb.given))?;
        let owner = owner(self.owner.as_deref()).map_err(|error| of_flag(error, &verb.given))?;
        let level = Level::parse(&self.level)
            .ok_or_else(|| Error::must_be("level", "block, limit or warn", &self.level))
            .map_err(|error| of_flag(error, &verb.given))?;
        change(service, &self.target, &verb, |zone| {
            let details = HoldPatch {
                level,
                reason_code: text(self.reason_code),
                reason: text(self.reason),
                public_message: text(self.public_message),
                payment_url: payment_url.map_or(Patch::Keep, Patch::Set),
                starts_at: at(time("--starts-at", Role::Begin, self.starts_at, zone)?),
                ends_at: at(time("--ends-at", Role::End, self.ends_at, zone)?),
            };
            Ok(Command::Place {
                kind,
                owner,
                fresh: HoldId(uuid::Uuid::now_v7()),
                details,
            })
        })
        .await
    }
}

impl Lift {
    async fn run(self, service: &Service, kind: HoldKind) -> Result<(), CommandError> {
        let verb = match kind {
            HoldKind::Freeze => Verb::new(
                "is no longer frozen by the operator",
                "account {} was not frozen by the operator",
            ),
            HoldKind::Suspend | HoldKind::Retention => Verb::new(
                "is no longer suspended by the operator",
                "account {} was not suspended by the operator",
            ),
        };
        let only = self.hold_id.map(HoldId);
        let verb = Verb {
            given: vec![("owner", self.owner.clone())],
            ..verb
        };
        let owner = owner(self.owner.as_deref()).map_err(|error| of_flag(error, &verb.given))?;
        change(service, &self.target, &verb, |_| {
            Ok(Command::Lift { kind, owner, only })
        })
        .await
    }
}

/// The owner that a flag names.
fn owner(flag: Option<&str>) -> Result<Option<Owner>, Error> {
    flag.map(|name| Owner::parse("owner", name)).transpose()
}

/// How a command reports its result.
struct Verb {
    /// Behind "account 7".
    done: &'static str,
    /// The sentence if nothing changed; `{}` stands for the account.
    unchanged: String,
    /// The fields that flags set, with their values.
    given: Vec<(&'static str, Option<String>)>,
}

impl Verb {
    fn new(done: &'static str, unchanged: &str) -> Self {
        Self {
            done,
            unchanged: unchanged.to_owned(),
            given: Vec::new(),
        }
    }
}

/// A refusal of a value of a flag, with the flag and the value.
fn of_flag(error: Error, given: &[(&'static str, Option<String>)]) -> CommandError {
    let Error::InvalidField { field, problem } = error else {
        return error.into();
    };
    let named = given.iter().find(|(name, _)| *name == field);
    let Some((_, Some(value))) = named else {
        return Error::InvalidField { field, problem }.into();
    };
    let flag = field.replace('_', "-");
    let value = quoted(value);
    let not = if problem.contains(&value) {
        String::new()
    } else {
        format!(", not {value}")
    };
    CommandError::Other(format!("--{flag}: {problem}{not}"))
}

/// Reads a time of the command line.
fn time(
    flag: &'static str,
    role: Role,
    text: Option<String>,
    zone: Tz,
) -> Result<Option<Time>, CommandError> {
    let read = |text: String| {
        dates::parse(&text, role, zone)
            .map_err(|problem| CommandError::Other(format!("{flag}: {problem}")))
    };
    text.map(read).transpose()
}

/// Carries out a command on an account as the operator, and reports what it did and what blocks
/// the account now. `command` gets the time zone of the account's reseller.
async fn change(
    service: &Service,
    target: &Target,
    verb: &Verb,
    command: impl FnOnce(Tz) -> Result<Command, CommandError>,
) -> Result<(), CommandError> {
    let found = target.find(service).await?;
    let zone = service
        .zone_of_reseller(&context(), Some(found.reseller_id))
        .await?;
    let command = command(zone)?;
    let answered = service
        .execute(&context(), found.id, command.clone(), None)
        .await;
    let done = match answered {
        Ok(completion) => completion.done()?,
        Err(Error::AccountDeleted) => {
            return Err(CommandError::Other(format!(
                "account {} is deleted; `steward account restore {}` restores it",
                label(&found),
                found.id
            )));
        }
        Err(Error::InvalidField { field, problem })
            if verb.given.iter().any(|(name, _)| *name == field) =>
        {
            let error = Error::InvalidField { field, problem };
            return Err(of_flag(error, &verb.given));
        }
        Err(error) => {
            return Err(CommandError::Other(format!(
                "account {}: {error}",
                label(&found)
            )));
        }
    };
    let (account, now) = (&done.account, done.at);
    if target.json {
        output::json(&output::account(account, now));
        return Ok(());
    }
    output::line(&if done.outcome == Outcome::Applied {
        format!(
            "account {} {}{}",
            label(account),
            verb.done,
            detail(&command, account)
        )
    } else {
        let unchanged = verb.unchanged.replace("{}", &label(account));
        format!("{unchanged}; nothing changed")
    });
    report_state(account, now);
    Ok(())
}

/// What a command has set, where its report does not show it.
fn detail(command: &Command, account: &Account) -> String {
    if let Command::SetExpiry(_) = command {
        format!(
            ": {}",
            account.expires_at.map_or_else(|| "never".to_owned(), human)
        )
    } else {
        String::new()
    }
}

/// Prints what blocks the account, and the command that explains it.
fn report_state(account: &Account, now: Time) {
    let state = account.state(now);
    output::line(&match state.blocked_by() {
        [] => "it may be used".to_owned(),
        blocks => format!(
            "it is blocked: {}. `steward account explain {}` shows who may lift what",
            blocks_in_words(blocks),
            account.id
        ),
    });
}

fn blocks_in_words(blocks: &[Block]) -> String {
    let blocks: Vec<_> = blocks.iter().map(|block| in_words(*block)).collect();
    blocks.join(", ")
}

/// A block as a person would say it.
fn in_words(block: Block) -> &'static str {
    match block {
        Block::Deleted => "deleted",
        Block::SuspendedByOperator => "suspended by the operator",
        Block::ResellerSuspended => "its reseller is suspended",
        Block::SuspendedByReseller => "suspended by its reseller",
        Block::Inactive => "inactive",
        Block::Frozen => "frozen",
        Block::Expired => "expired",
    }
}

/// An authority as a person would say it.
fn authority_in_words(authority: Authority) -> &'static str {
    match authority {
        Authority::Operator => "the operator",
        Authority::Reseller => "the reseller",
        Authority::System => "Steward itself",
    }
}

/// A time that people read: in UTC, to the second.
fn human(time: Time) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
