//! Accounts as they were: what the journal says has happened since is taken back, the newest first.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::row::extra_of;
use crate::domain::AccountKey;
use crate::domain::{
    Account, AccountId, Authority, Error, Fact, Hold, HoldDetails, HoldId, HoldKind, PaymentUrl,
    ResellerId, Status, Time,
};
use crate::store::columns::Columns;
use crate::store::errors::{OrDomain as _, internal};
use crate::store::transaction::Tx;

/// What the journal says of an account since an instant.
struct Entry {
    at: Time,
    sequence: i64,
    before: Value,
}

/// When a hold was opened, and by whom.
type Opening = (Time, String, i32);

impl Tx {
    /// Accounts as they were at an instant; those that were not there yet are left out.
    ///
    /// Whether its reseller was suspended then is known of the suspension that stands now only.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `as_of` where the journal does not reach back that far, and as every statement.
    pub async fn rewind(
        &mut self,
        accounts: Vec<Account>,
        to: Time,
    ) -> Result<Vec<Account>, Error> {
        let known: Vec<Account> = accounts
            .into_iter()
            .filter(|account| account.created_at <= to)
            .collect();
        let column = Columns(&known);
        let (resellers, ids) = (
            column.of(|it| it.reseller_id.0),
            column.of(|it| it.id.as_i32()),
        );
        let mut since = self.entries_since(&resellers, &ids, to).await?;
        let openings = if since.is_empty() {
            HashMap::new()
        } else {
            self.openings(&resellers, &ids).await?
        };
        let marks = self.marks(&resellers, &ids, to).await?;
        let mut past = Vec::with_capacity(known.len());
        for mut account in known {
            let key = (account.reseller_id, account.id);
            for entry in since.remove(&key).unwrap_or_default() {
                take_back(&mut account, &entry, &openings)?;
            }
            let Some(mark) = marks
                .get(&key)
                .filter(|mark| mark.version == account.version)
            else {
                return Err(Error::invalid(
                    "as_of",
                    "is earlier than the journal of this account reaches back",
                ));
            };
            // In the order in which holds are read.
            account
                .holds
                .sort_by_key(|hold| (hold.kind.as_str(), hold.authority.as_str()));
            account.updated_at = mark.updated_at;
            account.status_set_at = mark.status_set_at.unwrap_or(account.created_at);
            account.expiry_set_at = account
                .expires_at
                .and(mark.expiry_set_at.or(Some(account.created_at)));
            account.reseller_suspended_at = account.reseller_suspended_at.filter(|at| *at <= to);
            past.push(account);
        }
        Ok(past)
    }

    /// A page of the accounts by identity, deleted ones included.
    pub async fn list_with_deleted(
        &mut self,
        reseller: Option<ResellerId>,
        from: i32,
        limit: i64,
        created_by: Time,
    ) -> Result<Vec<AccountKey>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from account where ($1::bigint is null or reseller_id = $1) and id >= $2 and created_at <= $3 order by id limit $4",
            reseller.map(|it| it.0),
            from,
            created_by,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    async fn entries_since(
        &mut self,
        resellers: &[i64],
        ids: &[i32],
        to: Time,
    ) -> Result<HashMap<AccountKey, Vec<Entry>>, Error> {
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
        let mut entries: HashMap<AccountKey, Vec<Entry>> = HashMap::new();
        for row in rows {
            let key = (
                ResellerId(row.reseller_id),
                AccountId::new(i64::from(row.account_id))?,
            );
            entries.entry(key).or_default().push(Entry {
                at: row.at,
                sequence: row.sequence,
                before: row.before,
            });
        }
        Ok(entries)
    }

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

    /// What the last entries up to an instant say.
    async fn marks(
        &mut self,
        resellers: &[i64],
        ids: &[i32],
        to: Time,
    ) -> Result<HashMap<AccountKey, Mark>, Error> {
        let rows = sqlx::query!(
            r#"select j.reseller_id, j.account_id, max(j.sequence) as "version!", max(j.at) as "updated_at!",
                 max(j.at) filter (where j.after ? 'status') as status_set_at, max(j.at) filter (where j.after ? 'expires_at') as expiry_set_at
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
                let key = (
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.account_id))?,
                );
                let mark = Mark {
                    version: row.version,
                    updated_at: row.updated_at,
                    status_set_at: row.status_set_at,
                    expiry_set_at: row.expiry_set_at,
                };
                Ok((key, mark))
            })
            .collect()
    }
}

/// What the journal says of an account up to an instant.
#[derive(Debug, Clone, Copy)]
struct Mark {
    version: i64,
    updated_at: Time,
    status_set_at: Option<Time>,
    expiry_set_at: Option<Time>,
}

fn take_back(
    account: &mut Account,
    entry: &Entry,
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
            // What is told and is no fact.
            "created_at" | "purged_at" | "id" | "uid" | "days_to_expiry" | "days_to_purge" => {}
            held if held.contains(':') => {
                let (kind, authority) = held.split_once(':').ok_or_else(unreadable)?;
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
    // The plan it was sold is shown as it is now, or not at all.
    if account
        .plan
        .as_ref()
        .is_some_and(|plan| Some(plan.id) != account.profile.plan_id)
    {
        account.plan = None;
    }
    Ok(())
}

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

/// The details of a hold, as the journal kept them.
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
        payment_url: text("payment_url").map(|url| PaymentUrl::kept(url.to_owned())),
        starts_at: time("starts_at")?,
        ends_at: time("ends_at")?,
    })
}
