//! The request and the answer of `simulate`, which computes the effect of calls without executing
//! them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::codes;
use super::envelope::SUCCESS;
use super::replies;
use super::requests::FrozenDetails;
use crate::dialects::dates::Role;
use crate::dialects::patches::{
    Reading, level, only_hold, owner, parsed, place_hold, plain, required_time, time,
};
use crate::dialects::views::blocked_by;
use crate::domain::{
    Account, AccountId, Command, Error, HoldKind, HoldPatch, Outcome, PaymentUrl, Status, Time,
};
use crate::service::Rehearsed;
use crate::wire::Field;

/// The largest number of calls in one request.
const MAX_CALLS: usize = 1_000;
/// The names of the calls that can be simulated.
const CALLS: &str = "freeze, unfreeze, suspend, unsuspend, retain, release, activate, deactivate, status, expiry_date, exempt, delete, restore";

/// Simulates calls on an account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Simulate {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    id: i64,
    /// The calls in order, 1 to 1000.
    #[schema(min_items = 1, max_items = 1000)]
    operations: Vec<SimulatedCall>,
}

/// One call, with its members other than `id`. Members that the call does not take are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SimulatedCall {
    /// The name of the call.
    #[schema(
        pattern = "^(freeze|unfreeze|suspend|unsuspend|retain|release|activate|deactivate|status|expiry_date|exempt|delete|restore)$"
    )]
    call: String,
    #[serde(default)]
    frozen_details: Option<FrozenDetails>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    public_message: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(block|limit|warn)$")]
    level: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    hold_id: Field<String>,
    status: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    expiry_date: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    exempt_until: Field<String>,
}

/// The name of a call, with its command or the reason why the call is invalid.
pub(super) type Step = (String, Result<Command, Error>);

impl Simulate {
    pub(super) fn account(&self) -> Result<AccountId, Error> {
        AccountId::new(self.id)
    }

    pub(super) fn steps(self, read: Reading, deletion: &Command) -> Result<Vec<Step>, Error> {
        if !(1..=MAX_CALLS).contains(&self.operations.len()) {
            let count = self.operations.len();
            let problem = format!("must have 1 to {MAX_CALLS} entries, not {count}");
            return Err(Error::invalid("operations", problem));
        }
        Ok(self
            .operations
            .into_iter()
            .map(|call| (call.call.clone(), call.command(read, deletion)))
            .collect())
    }
}

impl SimulatedCall {
    fn command(self, read: Reading, deletion: &Command) -> Result<Command, Error> {
        match self.call.as_str() {
            "freeze" => self.place(HoldKind::Freeze, read),
            "suspend" => self.place(HoldKind::Suspend, read),
            "retain" => self.place(HoldKind::Retention, read),
            "unfreeze" => self.lift(HoldKind::Freeze, read),
            "unsuspend" => self.lift(HoldKind::Suspend, read),
            "release" => self.lift(HoldKind::Retention, read),
            "activate" => Ok(Command::SetStatus(Status::Active)),
            "deactivate" => Ok(Command::SetStatus(Status::Inactive)),
            "status" => {
                let word = self.status.unwrap_or_default();
                Status::parse(&word)
                    .map(Command::SetStatus)
                    .ok_or_else(|| Error::must_be("status", "active or inactive", &word))
            }
            "expiry_date" => {
                required_time("expires_at", self.expiry_date, read, "never").map(Command::SetExpiry)
            }
            "exempt" => required_time("exempt_until", self.exempt_until, read, "no longer")
                .map(Command::SetExemption),
            "delete" => Ok(deletion.clone()),
            "restore" => Ok(Command::Restore),
            _ => Err(Error::must_be(
                "call",
                &format!("one of {CALLS}"),
                &self.call,
            )),
        }
    }

    fn lift(self, kind: HoldKind, read: Reading) -> Result<Command, Error> {
        Ok(Command::Lift {
            kind,
            owner: owner(self.owner, read)?,
            only: only_hold(self.hold_id, read)?,
        })
    }

    fn place(self, kind: HoldKind, read: Reading) -> Result<Command, Error> {
        let url = self.frozen_details.unwrap_or_default().payment_url;
        let details = HoldPatch {
            level: level(self.level, read)?,
            reason_code: plain(self.reason_code),
            reason: plain(self.reason),
            public_message: plain(self.public_message),
            payment_url: parsed(url, read, |url| PaymentUrl::parse(&url))?,
            starts_at: time("starts_at", Role::Begin, self.starts_at, read)?,
            ends_at: time("ends_at", Role::End, self.ends_at, read)?,
        };
        Ok(place_hold(kind, owner(self.owner, read)?, details))
    }
}

/// The simulated effect of one call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSimulated)]
pub(super) struct SimulatedItem {
    /// What would block the account after the call.
    blocked_by: Vec<&'static str>,
    call: String,
    /// Whether the call would change the account.
    changed: bool,
    /// The computed state after the call.
    effective_status: &'static str,
    /// The `error` that the call would answer: 0, or an HTTP status.
    error: u16,
    error_text: String,
    events: Vec<&'static str>,
}

/// One result per step. Invalid steps were not simulated; they leave the account as it is.
pub(super) fn results(
    steps: Vec<Step>,
    mut account: Account,
    rehearsed: Vec<Result<Rehearsed, Error>>,
    now: Time,
) -> Vec<Value> {
    let mut rehearsed = rehearsed.into_iter();
    let item = |(call, command): Step| {
        let result = match command {
            Ok(_) => rehearsed.next()?,
            Err(error) => Err(error),
        };
        if let Ok(after) = &result {
            account.clone_from(&after.account);
        }
        let state = account.state(now);
        let refused = result
            .as_ref()
            .err()
            .map(|error| codes::code(&error.clone().into()));
        let item = SimulatedItem {
            blocked_by: blocked_by(&state),
            call,
            changed: result
                .as_ref()
                .is_ok_and(|it| it.outcome == Outcome::Applied),
            effective_status: state.effective_status(),
            error: refused.as_ref().map_or(0, |code| code.error),
            error_text: refused.map_or_else(|| SUCCESS.to_owned(), |code| code.error_text),
            events: result
                .iter()
                .flat_map(|it| &it.events)
                .map(|event| event.as_str())
                .collect(),
        };
        Some(Value::Object(replies::object(&item)))
    };
    steps.into_iter().filter_map(item).collect()
}
