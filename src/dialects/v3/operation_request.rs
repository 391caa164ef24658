//! One of several operations in a request: in `bulk`, bulk jobs and `simulate`.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::accounts::requests::{Lift, Place, SetExemption, SetExpiry, SetStatus};
use super::path_id::account_ref;
use crate::dialects::patches::{Reading, place_hold};
use crate::domain::{Command, Error, HoldKind};
use crate::service::{AccountRef, MAX_OPERATIONS};
use crate::wire::{Field, number_or_text};

/// One operation with its members. A member that the operation does not take is refused.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OperationRequest)]
pub(super) struct OperationRequest {
    /// The last part of the operation's own path, or `delete`.
    #[schema(
        pattern = "^(freeze|unfreeze|suspend|unsuspend|retain|release|status|expires-at|exempt-until|delete|restore)$"
    )]
    pub(super) operation: String,
    /// The account, by number or UUID. Required in `bulk`, refused elsewhere.
    #[schema(value_type = Option<String>)]
    pub(super) account: Option<AccountName>,
    status: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    expires_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    exempt_until: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    payment_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
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
}

/// An account as the caller wrote it: a number or a UUID.
#[derive(Debug, Clone)]
pub(super) struct AccountName(String);

impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer).map(Self)
    }
}

impl AccountName {
    /// Reads the number or UUID.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`] if the text is neither.
    pub(super) fn account_ref(&self) -> Result<AccountRef, Error> {
        account_ref(&self.0)
    }

    /// The text as the caller wrote it.
    pub(super) fn text(&self) -> String {
        self.0.clone()
    }
}

impl OperationRequest {
    /// The account that it is for. `None` if it names none.
    pub(super) fn account_ref(&self) -> Option<AccountRef> {
        self.account.as_ref()?.account_ref().ok()
    }

    /// Refuses the account, in a request that names its accounts elsewhere. `where_named` says
    /// where.
    pub(super) fn refuse_account(&self, where_named: &str) -> Result<(), Error> {
        match &self.account {
            None => Ok(()),
            Some(_) => Err(Error::invalid(
                "account",
                format!("is no member here: {where_named}"),
            )),
        }
    }

    /// Refuses a member that the operation does not take.
    fn refuse_others(&self) -> Result<(), Error> {
        const HOLD: &[&str] = &[
            "payment_url",
            "reason_code",
            "reason",
            "public_message",
            "owner",
            "level",
            "starts_at",
            "ends_at",
        ];
        let takes = match self.operation.as_str() {
            "freeze" | "suspend" | "retain" => HOLD,
            "unfreeze" | "unsuspend" | "release" => &["hold_id", "owner"],
            "status" => &["status"],
            "expires-at" => &["expires_at"],
            "exempt-until" => &["exempt_until"],
            "delete" | "restore" => &[],
            _ => return Ok(()),
        };
        let given = |field: &Field<String>| matches!(field, Field::Value(_));
        let members = [
            ("status", self.status.is_some()),
            ("expires_at", given(&self.expires_at)),
            ("exempt_until", given(&self.exempt_until)),
            ("payment_url", given(&self.payment_url)),
            ("reason_code", given(&self.reason_code)),
            ("reason", given(&self.reason)),
            ("public_message", given(&self.public_message)),
            ("owner", given(&self.owner)),
            ("level", given(&self.level)),
            ("starts_at", given(&self.starts_at)),
            ("ends_at", given(&self.ends_at)),
            ("hold_id", given(&self.hold_id)),
        ];
        let other = members
            .into_iter()
            .find(|(name, is_given)| *is_given && !takes.contains(name));
        match other {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(
                name,
                format!("is no member of the operation {}", self.operation),
            )),
        }
    }

    /// The command of the operation. `deletion` is the command that `delete` stands for.
    pub(super) fn command(self, read: Reading, deletion: Command) -> Result<Command, Error> {
        self.refuse_others()?;
        let kind = match self.operation.as_str() {
            "freeze" | "unfreeze" => HoldKind::Freeze,
            "suspend" | "unsuspend" => HoldKind::Suspend,
            _ => HoldKind::Retention,
        };
        if matches!(
            self.operation.as_str(),
            "unfreeze" | "unsuspend" | "release"
        ) {
            let lift = Lift {
                hold_id: self.hold_id,
                owner: self.owner,
            };
            return lift.command(kind, read);
        }
        let place = Place {
            owner: self.owner,
            level: self.level,
            payment_url: self.payment_url,
            reason_code: self.reason_code,
            reason: self.reason,
            public_message: self.public_message,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            release_ticket: false,
        };
        match self.operation.as_str() {
            "freeze" | "suspend" | "retain" => {
                let (owner, details) = place.details(read)?;
                Ok(place_hold(kind, owner, details))
            }
            "status" => {
                let status = self
                    .status
                    .ok_or_else(|| Error::invalid("status", "is required"))?;
                Ok(Command::SetStatus(SetStatus { status }.status()?))
            }
            "expires-at" => Ok(Command::SetExpiry(
                SetExpiry {
                    expires_at: self.expires_at,
                }
                .expires_at(read)?,
            )),
            "exempt-until" => Ok(Command::SetExemption(
                SetExemption {
                    exempt_until: self.exempt_until,
                }
                .exempt_until(read)?,
            )),
            "delete" => Ok(deletion),
            "restore" => Ok(Command::Restore),
            _ => Err(Error::must_be(
                "operation",
                &format!("one of {OPERATIONS}"),
                &self.operation,
            )),
        }
    }
}

/// The values of [`OperationRequest::operation`].
const OPERATIONS: &str = "freeze, unfreeze, suspend, unsuspend, retain, release, status, expires-at, exempt-until, delete, restore";

/// The body of `POST .../simulate` and `POST /v3/bulk`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OperationsRequest)]
pub(super) struct Operations {
    /// The operations in order, 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    operations: Vec<OperationRequest>,
}

impl Operations {
    pub(super) fn checked(self) -> Result<Vec<OperationRequest>, Error> {
        let count = self.operations.len();
        if (1..=MAX_OPERATIONS).contains(&count) {
            Ok(self.operations)
        } else {
            let problem = format!("must have 1 to {MAX_OPERATIONS} entries, not {count}");
            Err(Error::invalid("operations", problem))
        }
    }
}
