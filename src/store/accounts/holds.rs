//! Holds: the open ones of an account are a JSON array in its row. Each also has a row in `held`, by
//! which lists and jobs find it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::{
    Account, AccountKey, Authority, Error, Hold, HoldChange, HoldDetails, HoldId, HoldKind, Level,
    Owner, PaymentUrl, Time,
};
use crate::store::columns::composite_type;
use crate::store::errors::internal;

/// An open hold in the array. What is usual is left out: a hold that has begun, and the level of a
/// block.
#[derive(Serialize, Deserialize)]
struct OpenHold<'a> {
    id: uuid::Uuid,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    authority: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    level: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled: Option<bool>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reason_code: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    public_message: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    payment_url: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    starts_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    revision: i32,
    opened_at: Time,
    #[serde(borrow)]
    opened_by: Cow<'a, str>,
}

impl<'a> From<&'a Hold> for OpenHold<'a> {
    fn from(hold: &'a Hold) -> Self {
        let details = &hold.details;
        let text = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        let level = Some(details.level).filter(|level| *level != Level::Block);
        Self {
            id: hold.id.0,
            kind: Cow::Borrowed(hold.kind.as_str()),
            authority: Cow::Borrowed(hold.authority.as_str()),
            owner: hold.owner.as_ref().map(|it| Cow::Borrowed(it.as_str())),
            level: level.map(|level| Cow::Borrowed(level.as_str())),
            scheduled: (!hold.has_begun).then_some(true),
            reason_code: text(&details.reason_code),
            reason: text(&details.reason),
            public_message: text(&details.public_message),
            payment_url: details
                .payment_url
                .as_ref()
                .map(|url| Cow::Borrowed(url.as_str())),
            starts_at: details.starts_at,
            ends_at: details.ends_at,
            revision: hold.revision,
            opened_at: hold.opened_at,
            opened_by: Cow::Borrowed(&hold.opened_by),
        }
    }
}

impl TryFrom<OpenHold<'_>> for Hold {
    type Error = Error;

    fn try_from(open: OpenHold<'_>) -> Result<Self, Error> {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let level = open.level.as_deref();
        let details = HoldDetails {
            reason_code: owned(open.reason_code),
            reason: owned(open.reason),
            public_message: owned(open.public_message),
            payment_url: owned(open.payment_url).map(PaymentUrl::stored),
            starts_at: open.starts_at,
            ends_at: open.ends_at,
            level: level
                .map_or(Some(Level::Block), Level::parse)
                .ok_or_else(|| internal("hold has an unknown level"))?,
        };
        Ok(Self {
            id: HoldId(open.id),
            kind: HoldKind::parse(&open.kind)
                .ok_or_else(|| internal("hold has an unknown kind"))?,
            authority: Authority::parse(&open.authority)
                .ok_or_else(|| internal("hold has an unknown authority"))?,
            owner: owned(open.owner).map(Owner::stored),
            details,
            opened_at: open.opened_at,
            opened_by: open.opened_by.into_owned(),
            revision: open.revision,
            has_begun: open.scheduled.is_none(),
        })
    }
}

/// The open holds in the JSON array of an account's row, by kind, authority and owner.
pub(super) fn holds_of(json: &str) -> Result<Vec<Hold>, Error> {
    let open: Vec<OpenHold<'_>> =
        serde_json::from_str(json).map_err(|_| internal("account has unreadable holds"))?;
    let mut holds: Vec<Hold> = open
        .into_iter()
        .map(TryFrom::try_from)
        .collect::<Result<_, _>>()?;
    holds.sort_by(|one, other| {
        let name = |hold: &Hold| {
            (
                hold.kind.as_str(),
                hold.authority.as_str(),
                hold.owner.clone(),
            )
        };
        name(one).cmp(&name(other))
    });
    Ok(holds)
}

/// The JSON array of an account's row. `None` if it has no open hold.
pub(super) fn json_of_holds(account: &Account) -> Result<Option<String>, Error> {
    if account.holds.is_empty() {
        return Ok(None);
    }
    let open: Vec<OpenHold<'_>> = account.holds.iter().map(OpenHold::from).collect();
    serde_json::to_string(&open)
        .map(Some)
        .map_err(|_| internal("holds cannot be written as JSON"))
}

/// The holds of which a batch changes the rows in `held`.
#[derive(Debug, Clone, Default)]
pub struct HeldChanges(BTreeSet<(AccountKey, HoldKind, Authority, Option<Owner>)>);

/// The rows of `held` that a batch writes and deletes.
#[derive(Debug, Default)]
pub struct HeldRows<'a> {
    /// Open holds; a row of before is overwritten.
    pub(super) placed: Vec<HeldRow<'a>>,
    /// Holds that are no longer open.
    pub(super) lifted: Vec<HeldRow<'a>>,
}

impl HeldChanges {
    /// Notes the changes of a command to the holds of an account. A revision that lists and jobs do
    /// not see changes no row.
    pub fn note(&mut self, key: AccountKey, changes: &[HoldChange]) {
        for change in changes {
            let hold = match change {
                HoldChange::Opened(hold)
                | HoldChange::Begun(hold)
                | HoldChange::Closed { hold, .. } => hold,
                HoldChange::Revised { hold, replaced } => {
                    let seen = |hold: &Hold| {
                        let details = &hold.details;
                        (
                            details.level,
                            details.starts_at,
                            details.ends_at,
                            hold.has_begun,
                        )
                    };
                    if seen(hold) == seen(replaced) {
                        continue;
                    }
                    hold
                }
            };
            self.0
                .insert((key, hold.kind, hold.authority, hold.owner.clone()));
        }
    }

    /// The rows to write and to delete, by the holds that the accounts have at the end of the batch.
    pub fn rows<'a>(
        &'a self,
        account: impl Fn(&AccountKey) -> Option<&'a Account>,
    ) -> HeldRows<'a> {
        let mut rows = HeldRows::default();
        for (key, kind, authority, owner) in &self.0 {
            let holds = account(key).map(|account| account.holds.as_slice());
            let is_it = |hold: &&Hold| hold.kind == *kind && hold.is_of(*authority, owner.as_ref());
            let open = holds.unwrap_or_default().iter().find(is_it);
            let row = HeldRow {
                reseller_id: key.0.0,
                account_id: key.1.as_i32(),
                kind: kind.as_str(),
                authority: authority.as_str(),
                owner: owner.as_ref().map(Owner::as_str).unwrap_or_default(),
                level: open.map(|hold| hold.details.level.as_str()),
                starts_at: open.and_then(|hold| hold.details.starts_at),
                ends_at: open.and_then(|hold| hold.details.ends_at),
                has_begun: open.map(|hold| hold.has_begun),
            };
            if open.is_some() {
                rows.placed.push(row);
            } else {
                rows.lifted.push(row);
            }
        }
        rows
    }
}

/// A row of `held`, as the type of that table has it. To delete it, its key is enough.
#[derive(Debug, sqlx::Encode)]
pub(super) struct HeldRow<'a> {
    pub(super) reseller_id: i64,
    pub(super) account_id: i32,
    pub(super) kind: &'a str,
    pub(super) authority: &'a str,
    pub(super) owner: &'a str,
    pub(super) level: Option<&'a str>,
    pub(super) starts_at: Option<Time>,
    pub(super) ends_at: Option<Time>,
    pub(super) has_begun: Option<bool>,
}

composite_type!(HeldRow, "held");
