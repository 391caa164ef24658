//! Holds: the open ones are read with their accounts, the changes of a batch are written together.

use std::collections::BTreeMap;

use super::errors::{domain_error, internal};
use super::tx::Tx;
use crate::domain::{AccountId, Authority, Error, Hold, HoldChange, HoldDetails, HoldId, HoldKind, PaymentUrl, ResellerId, Time};

/// An account's place: whose, and which.
pub(super) type Key = (ResellerId, AccountId);

struct Row {
    reseller_id: i64,
    account_id: i32,
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

impl TryFrom<Row> for (Key, Hold) {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let details = HoldDetails {
            reason_code: row.reason_code,
            reason: row.reason,
            public_message: row.public_message,
            payment_url: row.payment_url.map(|url| PaymentUrl::parse(&url)).transpose().map_err(|_| internal("hold has an unusable payment_url"))?,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
        };
        let hold = Hold {
            id: HoldId(row.id),
            kind: HoldKind::parse(&row.kind).ok_or_else(|| internal("hold has an unknown kind"))?,
            authority: Authority::parse(&row.authority).ok_or_else(|| internal("hold has an unknown authority"))?,
            details,
            opened_at: row.opened_at,
            opened_by: row.opened_by,
            revision: row.revision,
        };
        Ok(((ResellerId(row.reseller_id), AccountId::new(i64::from(row.account_id))?), hold))
    }
}

/// What the commands of one transaction did to holds, folded to one write per hold: a hold that is opened, revised
/// and closed in the same batch is inserted once, closed.
#[derive(Debug, Default)]
pub struct HoldWrites {
    touched: BTreeMap<HoldId, Touched>,
    replaced: Vec<Replaced>,
}

#[derive(Debug)]
struct Touched {
    key: Key,
    hold: Hold,
    is_new: bool,
    closed: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    at: Time,
    by: String,
    reason: &'static str,
}

#[derive(Debug)]
struct Replaced {
    key: Key,
    hold: HoldId,
    revision: i32,
    at: Time,
    by: String,
    details: HoldDetails,
}

impl HoldWrites {
    /// Adds what one command did to the holds of one account, in the order of the commands.
    pub fn add(&mut self, reseller: ResellerId, account: AccountId, changes: &[HoldChange], by: &str, now: Time) {
        let key = (reseller, account);
        for change in changes {
            match change {
                HoldChange::Opened(hold) => {
                    self.touched.insert(hold.id, Touched { key, hold: hold.clone(), is_new: true, closed: None });
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
                    let (by, reason) = if *lapsed { ("system", "lapsed") } else { (by, "lifted") };
                    self.touch(key, hold).closed = Some(Closing { at: *at, by: by.to_owned(), reason });
                }
            }
        }
    }

    fn touch(&mut self, key: Key, hold: &Hold) -> &mut Touched {
        self.touched.entry(hold.id).or_insert_with(|| Touched { key, hold: hold.clone(), is_new: false, closed: None })
    }
}

impl Tx {
    /// The open holds of these accounts.
    pub(super) async fn fetch_open_holds(&mut self, keys: &[Key]) -> Result<Vec<(Key, Hold)>, Error> {
        let resellers: Vec<_> = keys.iter().map(|(reseller, _)| reseller.0).collect();
        let accounts: Vec<_> = keys.iter().map(|(_, account)| account.as_i32()).collect();
        let rows = sqlx::query_as!(
            Row,
            "select h.reseller_id, h.account_id, h.id, h.kind, h.authority, h.reason_code, h.reason, h.public_message, h.payment_url,
               h.starts_at, h.ends_at, h.revision, h.opened_at, h.opened_by
             from hold h join unnest($1::bigint[], $2::integer[]) as wanted(reseller_id, account_id) using (reseller_id, account_id)
             where h.closed_at is null
             order by h.reseller_id, h.account_id, h.kind, h.authority",
            &resellers,
            &accounts
        )
        .fetch_all(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    /// Writes what happened to holds: closes and revises first, so that a new hold finds its place free.
    ///
    /// # Errors
    /// As every statement.
    pub async fn record_holds(&mut self, writes: &HoldWrites) -> Result<(), Error> {
        let (new, known): (Vec<_>, Vec<_>) = writes.touched.values().partition(|touched| touched.is_new);
        if !known.is_empty() {
            self.update_holds(&known).await?;
        }
        if !new.is_empty() {
            self.insert_holds(&new).await?;
        }
        if writes.replaced.is_empty() { Ok(()) } else { self.insert_revisions(&writes.replaced).await }
    }

    async fn update_holds(&mut self, holds: &[&Touched]) -> Result<(), Error> {
        let column = Columns(holds);
        sqlx::query!(
            "update hold h set reason_code = n.reason_code, reason = n.reason, public_message = n.public_message, payment_url = n.payment_url,
               starts_at = n.starts_at, ends_at = n.ends_at, revision = n.revision, closed_at = n.closed_at, closed_by = n.closed_by, close_reason = n.close_reason
             from unnest($1::bigint[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[],
               $10::integer[], $11::timestamptz[], $12::text[], $13::text[])
               as n(reseller_id, account_id, id, reason_code, reason, public_message, payment_url, starts_at, ends_at, revision, closed_at, closed_by, close_reason)
             where h.reseller_id = n.reseller_id and h.account_id = n.account_id and h.id = n.id",
            &column.of(|it| it.key.0.0),
            &column.of(|it| it.key.1.as_i32()),
            &column.of(|it| it.hold.id.0),
            &column.of(|it| it.hold.details.reason_code.clone()) as &[Option<String>],
            &column.of(|it| it.hold.details.reason.clone()) as &[Option<String>],
            &column.of(|it| it.hold.details.public_message.clone()) as &[Option<String>],
            &column.of(|it| url(&it.hold.details)) as &[Option<String>],
            &column.of(|it| it.hold.details.starts_at) as &[Option<Time>],
            &column.of(|it| it.hold.details.ends_at) as &[Option<Time>],
            &column.of(|it| it.hold.revision),
            &column.of(|it| it.closed.as_ref().map(|closing| closing.at)) as &[Option<Time>],
            &column.of(|it| it.closed.as_ref().map(|closing| closing.by.clone())) as &[Option<String>],
            &column.of(|it| it.closed.as_ref().map(|closing| closing.reason.to_owned())) as &[Option<String>],
        )
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(|error| domain_error(&error))
    }

    async fn insert_holds(&mut self, holds: &[&Touched]) -> Result<(), Error> {
        let column = Columns(holds);
        sqlx::query!(
            "insert into hold (reseller_id, account_id, id, kind, authority, reason_code, reason, public_message, payment_url, starts_at, ends_at,
               revision, opened_at, opened_by, closed_at, closed_by, close_reason)
             select * from unnest($1::bigint[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
               $10::timestamptz[], $11::timestamptz[], $12::integer[], $13::timestamptz[], $14::text[], $15::timestamptz[], $16::text[], $17::text[])",
            &column.of(|it| it.key.0.0),
            &column.of(|it| it.key.1.as_i32()),
            &column.of(|it| it.hold.id.0),
            &column.of(|it| it.hold.kind.as_str().to_owned()),
            &column.of(|it| it.hold.authority.as_str().to_owned()),
            &column.of(|it| it.hold.details.reason_code.clone()) as &[Option<String>],
            &column.of(|it| it.hold.details.reason.clone()) as &[Option<String>],
            &column.of(|it| it.hold.details.public_message.clone()) as &[Option<String>],
            &column.of(|it| url(&it.hold.details)) as &[Option<String>],
            &column.of(|it| it.hold.details.starts_at) as &[Option<Time>],
            &column.of(|it| it.hold.details.ends_at) as &[Option<Time>],
            &column.of(|it| it.hold.revision),
            &column.of(|it| it.hold.opened_at),
            &column.of(|it| it.hold.opened_by.clone()),
            &column.of(|it| it.closed.as_ref().map(|closing| closing.at)) as &[Option<Time>],
            &column.of(|it| it.closed.as_ref().map(|closing| closing.by.clone())) as &[Option<String>],
            &column.of(|it| it.closed.as_ref().map(|closing| closing.reason.to_owned())) as &[Option<String>],
        )
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(|error| domain_error(&error))
    }

    async fn insert_revisions(&mut self, replaced: &[Replaced]) -> Result<(), Error> {
        let column = Columns(replaced);
        sqlx::query!(
            "insert into hold_revision (reseller_id, account_id, hold_id, revision, replaced_at, replaced_by, reason_code, reason, public_message,
               payment_url, starts_at, ends_at)
             select * from unnest($1::bigint[], $2::integer[], $3::uuid[], $4::integer[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
               $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[])",
            &column.of(|it| it.key.0.0),
            &column.of(|it| it.key.1.as_i32()),
            &column.of(|it| it.hold.0),
            &column.of(|it| it.revision),
            &column.of(|it| it.at),
            &column.of(|it| it.by.clone()),
            &column.of(|it| it.details.reason_code.clone()) as &[Option<String>],
            &column.of(|it| it.details.reason.clone()) as &[Option<String>],
            &column.of(|it| it.details.public_message.clone()) as &[Option<String>],
            &column.of(|it| url(&it.details)) as &[Option<String>],
            &column.of(|it| it.details.starts_at) as &[Option<Time>],
            &column.of(|it| it.details.ends_at) as &[Option<Time>],
        )
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(|error| domain_error(&error))
    }
}

/// Rows, to be read column by column for `unnest`.
pub(super) struct Columns<'a, T>(pub(super) &'a [T]);

impl<T> Columns<'_, T> {
    pub(super) fn of<C>(&self, column: impl Fn(&T) -> C) -> Vec<C> {
        self.0.iter().map(column).collect()
    }
}

fn url(details: &HoldDetails) -> Option<String> {
    details.payment_url.as_ref().map(|url| url.as_str().to_owned())
}
