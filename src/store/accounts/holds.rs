//! Holds: the open ones are read with their accounts, the changes of a batch are written together.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{
    AccountId, AccountKey, Authority, Error, Hold, HoldChange, HoldDetails, HoldId, HoldKind,
    PaymentUrl, ResellerId, Time,
};
use crate::store::errors::internal;

/// An open hold as the database writes it into JSON.
#[derive(Deserialize)]
struct Open {
    id: uuid::Uuid,
    kind: String,
    authority: String,
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

impl TryFrom<Open> for Hold {
    type Error = Error;

    fn try_from(open: Open) -> Result<Self, Error> {
        let details = HoldDetails {
            reason_code: open.reason_code,
            reason: open.reason,
            public_message: open.public_message,
            payment_url: open.payment_url.map(PaymentUrl::stored),
            starts_at: open.starts_at,
            ends_at: open.ends_at,
        };
        Ok(Self {
            id: HoldId(open.id),
            kind: HoldKind::parse(&open.kind)
                .ok_or_else(|| internal("hold has an unknown kind"))?,
            authority: Authority::parse(&open.authority)
                .ok_or_else(|| internal("hold has an unknown authority"))?,
            details,
            opened_at: open.opened_at,
            opened_by: open.opened_by,
            revision: open.revision,
        })
    }
}

/// The open holds of an account, from the JSON that its row brings along, in the order of their kinds and authorities: to sort
/// a few here costs nothing, and on the server more than to find them.
pub(in crate::store) fn open_holds(json: &str) -> Result<Vec<Hold>, Error> {
    let mut open: Vec<Open> =
        serde_json::from_str(json).map_err(|_| internal("account has unreadable holds"))?;
    open.sort_by(|one, other| (&one.kind, &one.authority).cmp(&(&other.kind, &other.authority)));
    open.into_iter().map(TryFrom::try_from).collect()
}

/// What the commands of one transaction did to holds, folded to one write per hold: a hold that is opened, revised
/// and closed in the same batch is inserted once, closed.
#[derive(Debug, Default)]
pub struct HoldWrites {
    pub(in crate::store) touched: BTreeMap<HoldId, Touched>,
    pub(in crate::store) replaced: Vec<Replaced>,
}

/// A hold as it is to be written.
#[derive(Debug)]
pub(in crate::store) struct Touched {
    pub(in crate::store) key: AccountKey,
    pub(in crate::store) hold: Hold,
    pub(in crate::store) is_new: bool,
    pub(in crate::store) closed: Option<Closing>,
}

/// How a hold ended.
#[derive(Debug)]
pub(in crate::store) struct Closing {
    pub(in crate::store) at: Time,
    pub(in crate::store) by: String,
    pub(in crate::store) reason: &'static str,
}

/// Details that a revision replaced.
#[derive(Debug)]
pub(in crate::store) struct Replaced {
    pub(in crate::store) key: AccountKey,
    pub(in crate::store) hold: HoldId,
    pub(in crate::store) revision: i32,
    pub(in crate::store) at: Time,
    pub(in crate::store) by: String,
    pub(in crate::store) details: HoldDetails,
}

impl HoldWrites {
    /// Adds what one command did to the holds of one account, in the order of the commands.
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
                        details: replaced.clone(),
                    });
                    self.touch(key, hold).hold = hold.clone();
                }
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
