//! Holds: open ones are read together with their account, changes are written together with their
//! batch.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{
    AccountId, AccountKey, Authority, Error, Hold, HoldChange, HoldDetails, HoldId, HoldKind,
    Level, Owner, PaymentUrl, ResellerId, Time,
};
use crate::store::errors::internal;

/// An open hold in the JSON array of an account's row.
#[derive(Deserialize)]
struct OpenHold {
    id: uuid::Uuid,
    kind: String,
    authority: String,
    owner: Option<String>,
    level: String,
    has_begun: bool,
    reason_code: Option<String>,
    reason: Option<String>,
    public_message: Option<String>,
    payment_url: Option<String>,
    starts_at: Option<Time>,
    ends_at: Option<Time>,
    revision: i32,
    opened_at: Time,
    opened_by: String,
}

impl TryFrom<OpenHold> for Hold {
    type Error = Error;

    fn try_from(open: OpenHold) -> Result<Self, Error> {
        let details = HoldDetails {
            reason_code: open.reason_code,
            reason: open.reason,
            public_message: open.public_message,
            payment_url: open.payment_url.map(PaymentUrl::stored),
            starts_at: open.starts_at,
            ends_at: open.ends_at,
            level: Level::parse(&open.level)
                .ok_or_else(|| internal("hold has an unknown level"))?,
        };
        Ok(Self {
            id: HoldId(open.id),
            kind: HoldKind::parse(&open.kind)
                .ok_or_else(|| internal("hold has an unknown kind"))?,
            authority: Authority::parse(&open.authority)
                .ok_or_else(|| internal("hold has an unknown authority"))?,
            owner: open.owner.map(Owner::stored),
            details,
            opened_at: open.opened_at,
            opened_by: open.opened_by,
            revision: open.revision,
            has_begun: open.has_begun,
        })
    }
}

/// The open holds in the JSON array of an account's row, by kind, authority and owner. They are few, and
/// sorting them on the server would take longer than finding them.
pub(super) fn open_holds(json: &str) -> Result<Vec<Hold>, Error> {
    let mut open: Vec<OpenHold> =
        serde_json::from_str(json).map_err(|_| internal("account has unreadable holds"))?;
    open.sort_by(|a, b| {
        let name = |it: &OpenHold| (it.kind.clone(), it.authority.clone(), it.owner.clone());
        name(a).cmp(&name(b))
    });
    open.into_iter().map(TryFrom::try_from).collect()
}

/// The changes of one transaction to holds, with one write for each hold: a hold that is opened,
/// revised and closed in the same batch is inserted once, already closed.
#[derive(Debug, Clone, Default)]
pub struct HoldWrites {
    pub(super) touched: BTreeMap<HoldId, Touched>,
    pub(super) replaced: Vec<Replaced>,
}

/// A hold to write.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    pub(super) key: AccountKey,
    pub(super) hold: Hold,
    pub(super) is_new: bool,
    pub(super) closed: Option<Closing>,
}

/// When a hold was closed, by whom and why.
#[derive(Debug, Clone)]
pub(super) struct Closing {
    pub(super) at: Time,
    pub(super) by: String,
    pub(super) reason: &'static str,
}

/// The details that a revision of a hold replaced.
#[derive(Debug, Clone)]
pub(super) struct Replaced {
    pub(super) key: AccountKey,
    pub(super) hold: HoldId,
    pub(super) revision: i32,
    pub(super) at: Time,
    pub(super) by: String,
    pub(super) details: HoldDetails,
}

impl HoldWrites {
    /// Adds the changes of one command to the holds of one account. Call it in the order of the
    /// commands.
    pub fn add(
        &mut self,
        reseller: ResellerId,
        account: AccountId,
        changes: &[HoldChange],
        by: &str,
        now: Time,
    ) {
        let key = (reseller, account);
        for change in changes {
            match change {
                HoldChange::Opened(hold) => {
                    self.touched.insert(
                        hold.id,
                        Touched {
                            key,
                            hold: hold.clone(),
                            is_new: true,
                            closed: None,
                        },
                    );
                }
                HoldChange::Revised { hold, replaced } => {
                    self.replaced.push(Replaced {
                        key,
                        hold: hold.id,
                        revision: hold.revision - 1,
                        at: now,
                        by: by.to_owned(),
                        details: replaced.details.clone(),
                    });
                    self.touch(key, hold).hold = hold.clone();
                }
                HoldChange::Begun(hold) => self.touch(key, hold).hold = hold.clone(),
                HoldChange::Closed { hold, at, lapsed } => {
                    let (by, reason) = if *lapsed {
                        ("system", "lapsed")
                    } else {
                        (by, "lifted")
                    };
                    self.touch(key, hold).closed = Some(Closing {
                        at: *at,
                        by: by.to_owned(),
                        reason,
                    });
                }
            }
        }
    }

    fn touch(&mut self, key: AccountKey, hold: &Hold) -> &mut Touched {
        self.touched.entry(hold.id).or_insert_with(|| Touched {
            key,
            hold: hold.clone(),
            is_new: false,
            closed: None,
        })
    }
}
