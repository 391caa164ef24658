//! Accounts as they were at an earlier instant: undoes the later journal entries, newest first.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::row::extra_of;
use crate::domain::{
    Account, AccountKey, Authority, Error, Fact, Hold, HoldDetails, HoldId, HoldKind, PaymentUrl,
    ResellerId, Status, Time,
};
use crate::store::columns::{Columns, account_key};
use crate::store::errors::{OrDomain as _, internal};
use crate::store::transaction::Tx;

/// A journal entry after the instant.
struct LaterEntry {
    at: Time,
    sequence: i64,
    before: Value,
}

/// When a hold was opened, by whom, and its revision. The journal's copies of a hold lack these.
type Opening = (Time, String, i32);

impl Tx {
    /// Accounts as they were at an instant, without those that were created later.
    ///
    /// Suspensions of resellers have no history: an account counts as suspended with its reseller
    /// if the reseller is suspended now, and already was at the instant.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `as_of` if the journal does not reach back that far.
    pub async fn rewind(
        &mut self,
        accounts: Vec<Account>,
        to: Time,
    ) -> Result<Vec<Account>, Error> {
        let existing: Vec<Account> = accounts
            .into_iter()
            .filter(|account| account.created_at <= to)
            .collect();
        let column = Columns(&existing);
        let (resellers, ids) = (
            column.of(|it| it.reseller_id.0),
            column.of(|it| it.id.as_i32()),
        );
        let mut later = self.entries_after(&resellers, &ids, to).await?;
        let openings = if later.is_empty() {
            HashMap::new()
        } else {
            self.openings(&resellers, &ids).await?
        };
        let last_changes = self.last_changes(&resellers, &ids, to).await?;
        let mut past = Vec::with_capacity(existing.len());
        for mut account in existing {
            let key = (account.reseller_id, account.id);
            for entry in later.remove(&key).unwrap_or_default() {
                undo(&mut account, &entry, &openings)?;
            }
            let Some(last) = last_changes
                .get(&key)
                .filter(|last| last.version == account.version)
            else {
                return Err(Error::invalid(
                    "as_of",
                    "is earlier than the journal of this account reaches back",
                ));
            };
            // The order in which the statements return holds.
            account
                .holds
                .sort_by_key(|hold| (hold.kind.as_str(), hold.authority.as_str()));
            account.updated_at = last.updated_at;
            account.status_set_at = last.status_set_at.unwrap_or(account.created_at);
            account.expiry_set_at = account
                .expires_at
                .and(last.expiry_set_at.or(Some(account.created_at)));
            account.reseller_suspended_at = account.reseller_suspended_at.filter(|at| *at <= to);
            past.push(account);
        }
        Ok(past)
    }

    /// A page of the keys of accounts created by an instant, deleted ones included, by id from
    /// `from` on. Without a reseller it looks at all resellers of the transaction.
    pub async fn list_with_deleted(
        &mut self,
        reseller: Option<ResellerId>,
        from: i32,
        limit: i64,
        created_by: Time,
    ) -> Result<Vec<AccountKey>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from account
             where ($1::bigint is null or reseller_id = $1) and id >= $2 and created_at <= $3
             order by id limit $4",
            reseller.map(|it| it.0),
            from,
            created_by,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| account_key(row.reseller_id, row.id))
            .collect()
    }

    /// The applied journal entries after an instant, newest first.
    async fn entries_after(
        &mut self,
        resellers: &[i64],
        ids: &[i32],
        to: Time,
    ) -> Result<HashMap<AccountKey, Vec<LaterEntry>>, Error> {
        let rows = sqlx::query!(
            r#"select j.reseller_id, j.account_id, j.at, j.sequence as "sequence!", j.before
               from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
               join journal j on j.reseller_id = w.reseller_id and j.account_id = w.id
               where j.at > $3 and j.outcome = 'applied' order by j.id desc"#,
            resellers,
            ids,
            to
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let mut entries: HashMap<AccountKey, Vec<LaterEntry>> = HashMap::new();
        for row in rows {
            let key = account_key(row.reseller_id, row.account_id)?;
            entries.entry(key).or_default().push(LaterEntry {
                at: row.at,
                sequence: row.sequence,
                before: row.before,
            });
        }
        Ok(entries)
    }

    /// The openings of all holds of these accounts, closed ones included, by hold id.
    async fn openings(
        &mut self,
        resellers: &[i64],
        ids: &[i32],
    ) -> Result<HashMap<Uuid, Opening>, Error> {
        let rows = sqlx::query!(
            "select h.id, h.opened_at, h.opened_by, h.revision
             from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
             join hold h on h.reseller_id = w.reseller_id and h.account_id = w.id",
            resellers,
            ids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (row.id, (row.opened_at, row.opened_by, row.revision)))
            .collect())
    }

    /// The last changes of these accounts up to an instant.
    async fn last_changes(
        &mut self,
        resellers: &[i64],
        ids: &[i32],
        to: Time,
    ) -> Result<HashMap<AccountKey, LastChanges>, Error> {
        let rows = sqlx::query!(
            r#"select j.reseller_id, j.account_id, max(j.sequence) as "version!",
                 max(j.at) as "updated_at!",
                 max(j.at) filter (where j.after ? 'status') as status_set_at,
                   max(j.at) filter (where j.after ? 'expires_at') as expiry_set_at
               from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
               join journal j on j.reseller_id = w.reseller_id and j.account_id = w.id
               where j.at <= $3 and j.outcome = 'applied' group by j.reseller_id, j.account_id"#,
            resellers,
            ids,
            to
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                let key = account_key(row.reseller_id, row.account_id)?;
                let last = LastChanges {
                    version: row.version,
                    updated_at: row.updated_at,
                    status_set_at: row.status_set_at,
                    expiry_set_at: row.expiry_set_at,
                };
                Ok((key, last))
            })
            .collect()
    }
}

/// The last changes of an account up to an instant.
#[derive(Debug, Clone, Copy)]
struct LastChanges {
    /// The account's version at the instant.
    version: i64,
    updated_at: Time,
    status_set_at: Option<Time>,
    expiry_set_at: Option<Time>,
}

/// Undoes one journal entry.
fn undo(
    account: &mut Account,
    entry: &LaterEntry,
    openings: &HashMap<Uuid, Opening>,
) -> Result<(), Error> {
    let unreadable = || internal("the journal has an unreadable fact");
    let time = |value: &Value| -> Result<Option<Time>, Error> {
        value
            .as_str()
            .map(|text| {
                text.parse()
                    .map_err(|_| internal("the journal has an unreadable time"))
            })
            .transpose()
    };
    for (name, value) in entry.before.as_object().into_iter().flatten() {
        match name.as_str() {
            "status" => {
                account.status = value
                    .as_str()
                    .and_then(Status::parse)
                    .ok_or_else(unreadable)?;
            }
            "expires_at" => account.expires_at = time(value)?,
            "exempt_until" => account.exempt_until = time(value)?,
            "deleted_at" => account.deleted_at = time(value)?,
            "purge_at" => account.purge_at = time(value)?,
            "purge_due_at" => account.purge_due_at = time(value)?,
            "extra" => {
                std::sync::Arc::make_mut(&mut account.profile).extra =
                    value.as_str().map(extra_of).transpose()?;
            }
            // Members of events that are not fields of the account.
            "created_at" | "purged_at" | "id" | "uid" | "days_to_expiry" | "days_to_purge" => {}
            hold if hold.contains(':') => {
                let (kind, authority) = hold.split_once(':').ok_or_else(unreadable)?;
                let (kind, authority) = (
                    HoldKind::parse(kind).ok_or_else(unreadable)?,
                    Authority::parse(authority).ok_or_else(unreadable)?,
                );
                account
                    .holds
                    .retain(|hold| hold.kind != kind || hold.authority != authority);
                if !value.is_null() {
                    account
                        .holds
                        .push(hold_of(kind, authority, value, openings)?);
                }
            }
            field => {
                let fact = match value {
                    Value::Null => Fact::Null,
                    Value::Bool(on) => Fact::Bool(*on),
                    Value::Number(number) => Fact::Number(number.as_i64().ok_or_else(unreadable)?),
                    Value::String(text) => Fact::Text(text.clone()),
                    Value::Array(_) | Value::Object(_) => return Err(unreadable()),
                };
                if !std::sync::Arc::make_mut(&mut account.profile).restore(field, &fact) {
                    return Err(unreadable());
                }
            }
        }
    }
    account.version = entry.sequence - 1;
    account.updated_at = entry.at;
    // The journal has only the id of an earlier plan. So the account shows its plan as it is now,
    // or no plan if it had another one.
    if account
        .plan
        .as_ref()
        .is_some_and(|plan| Some(plan.id) != account.profile.plan_id)
    {
        account.plan = None;
    }
    Ok(())
}

/// A hold from the object that the journal has of it.
fn hold_of(
    kind: HoldKind,
    authority: Authority,
    value: &Value,
    openings: &HashMap<Uuid, Opening>,
) -> Result<Hold, Error> {
    let unreadable = || internal("the journal has an unreadable hold");
    let id = value
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| Uuid::parse_str(id).ok())
        .ok_or_else(unreadable)?;
    let (opened_at, opened_by, revision) = openings.get(&id).cloned().ok_or_else(unreadable)?;
    Ok(Hold {
        id: HoldId(id),
        kind,
        authority,
        details: details_of(value)?,
        opened_at,
        opened_by,
        revision,
    })
}

/// The details of a hold from the object that the journal has of it.
pub(in crate::store) fn details_of(value: &Value) -> Result<HoldDetails, Error> {
    let unreadable = || internal("the journal has an unreadable hold");
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let owned = |name: &str| text(name).map(str::to_owned);
    let time = |name: &str| {
        text(name)
            .map(str::parse)
            .transpose()
            .map_err(|_| unreadable())
    };
    Ok(HoldDetails {
        reason_code: owned("reason_code"),
        reason: owned("reason"),
        public_message: owned("public_message"),
        payment_url: text("payment_url").map(|url| PaymentUrl::stored(url.to_owned())),
        starts_at: time("starts_at")?,
        ends_at: time("ends_at")?,
    })
}
