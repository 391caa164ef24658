//! Accounts as they were at an earlier instant.
//!
//! A journal entry has the values before it of the facts that it changed. So a fact had the value
//! at an instant that the first later entry with this fact has, or the present value if there is
//! none. The statements look through the later entries and return one row for each such fact: an
//! account has about 50 facts, however many entries it has.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::profile::extra_of;
use crate::domain::{
    Account, AccountKey, Authority, Error, Fact, Hold, HoldDetails, HoldId, HoldKind, Level, Owner,
    PaymentUrl, ResellerId, Status, Time,
};
use crate::store::columns::{Columns, account_key};
use crate::store::errors::{OrDomain as _, internal};
use crate::store::transaction::Tx;

/// A fact that changed after the instant: where the journal has its value at the instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastFact {
    /// The account.
    pub account: AccountKey,
    /// The name that the journal has for the fact.
    pub fact: String,
    /// The first journal entry after the instant that changed the fact.
    entry: i64,
    /// The length of the value, in bytes.
    size: i64,
}

/// Accounts as they were at an instant: a page of them, by id.
#[derive(Debug)]
pub struct Past {
    /// The accounts, deleted ones included, each with its size in memory, about, in bytes.
    pub accounts: Vec<(Account, i64)>,
    /// The id from which the next page begins. `None` if there are no more accounts.
    pub next: Option<i32>,
}

/// When a hold was opened, by whom, and its revision.
type Opening = (Time, String, i32);

impl Tx {
    /// One account as it was at an instant. `None` if it was created later.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `as_of` if the journal does not reach back that far.
    pub async fn rewind(&mut self, account: Account, to: Time) -> Result<Option<Account>, Error> {
        if account.created_at > to {
            return Ok(None);
        }
        let facts = self
            .past_facts(&[(account.reseller_id, account.id)], to)
            .await?;
        let mut past = self.rewind_all(vec![account], &facts, to).await?;
        Ok(past.pop())
    }

    /// A page of the accounts that existed at an instant, as they were then, by id from `from` on.
    /// Without a reseller it looks at all resellers of the transaction. The page has at most
    /// `limit` accounts, and ends with the account that reaches `budget` bytes.
    ///
    /// # Errors
    /// As [`Tx::rewind`].
    pub async fn list_past(
        &mut self,
        reseller: Option<ResellerId>,
        from: i32,
        limit: i64,
        budget: i64,
        to: Time,
    ) -> Result<Past, Error> {
        let keys = self.list_with_deleted(reseller, from, limit, to).await?;
        let following = |id: i32| id.checked_add(1);
        let mut next = keys
            .rows
            .last()
            .filter(|_| keys.has_more)
            .and_then(|((_, last), _)| following(last.as_i32()));
        let mut sizes: HashMap<AccountKey, i64> = keys.rows.into_iter().collect();
        let wanted: Vec<AccountKey> = sizes.keys().copied().collect();
        let facts = self.past_facts(&wanted, to).await?;
        for fact in &facts {
            *sizes.entry(fact.account).or_default() += fact.size;
        }
        let mut accounts = self.fetch_accounts(&wanted).await?;
        accounts.sort_by_key(|account| account.id);
        let size = |account: &Account| {
            let key = (account.reseller_id, account.id);
            sizes.get(&key).copied().unwrap_or_default()
        };
        let mut left = budget;
        let fitting = accounts.iter().take_while(|account| {
            let fits = left > 0;
            left -= size(account);
            fits
        });
        let fitting = fitting.count();
        if let Some(first) = accounts.get(fitting) {
            next = Some(first.id.as_i32());
        }
        accounts.truncate(fitting);
        let past = self.rewind_all(accounts, &facts, to).await?;
        Ok(Past {
            accounts: past
                .into_iter()
                .map(|account| {
                    let size = size(&account);
                    (account, size)
                })
                .collect(),
            next,
        })
    }

    /// Accounts as they were at an instant. `facts` are those that changed since.
    async fn rewind_all(
        &mut self,
        accounts: Vec<Account>,
        facts: &[PastFact],
        to: Time,
    ) -> Result<Vec<Account>, Error> {
        let keys: Vec<AccountKey> = accounts
            .iter()
            .map(|account| (account.reseller_id, account.id))
            .collect();
        let mut values = self.past_values(&keys, facts).await?;
        let openings = self.openings(&values).await?;
        let versions = self.versions(&keys, to).await?;
        let resellers: BTreeSet<i64> = keys.iter().map(|(reseller, _)| reseller.0).collect();
        let resellers: Vec<i64> = resellers.into_iter().collect();
        let suspensions = self.suspensions_at(&resellers, to).await?;
        let mut past = Vec::with_capacity(accounts.len());
        for mut account in accounts {
            let key = (account.reseller_id, account.id);
            let values = values.remove(&key).unwrap_or_default();
            // An imported account may have been created, in another system, before the instant, and
            // imported after it.
            if values.iter().any(|(fact, _)| fact == "created_at") {
                continue;
            }
            for (fact, value) in values {
                set(&mut account, &fact, &value, &openings)?;
            }
            let version = versions.get(&key);
            // The journal must have the last entry up to the instant, and every later one.
            let Some(version) = version
                .filter(|it| it.number == it.next_sequence.unwrap_or(account.version + 1) - 1)
            else {
                return Err(Error::invalid(
                    "as_of",
                    "is earlier than the journal of this account reaches back",
                ));
            };
            account.version = version.number;
            account.updated_at = version.updated_at;
            account.status_set_at = version.status_set_at.unwrap_or(account.created_at);
            account.expiry_set_at = account
                .expires_at
                .and(version.expiry_set_at.or(Some(account.created_at)));
            // An earlier version records no history, only that the reseller is suspended now.
            let suspended_since = account.reseller_suspended_at.filter(|at| *at <= to);
            let suspended_at = suspensions.get(&account.reseller_id).copied();
            account.reseller_suspended_at = suspended_at.or(suspended_since);
            // The order in which the statements return holds.
            account
                .holds
                .sort_by_key(|hold| (hold.kind.as_str(), hold.authority.as_str()));
            // The journal has only the id of an earlier plan. So the account shows its plan as it
            // is now, or no plan if it had another one.
            let plan_id = account.profile.plan_id;
            account.plan = account.plan.filter(|plan| Some(plan.id) == plan_id);
            past.push(account);
        }
        Ok(past)
    }

    /// The facts of these accounts that changed after an instant, one row each.
    pub async fn past_facts(
        &mut self,
        accounts: &[AccountKey],
        to: Time,
    ) -> Result<Vec<PastFact>, Error> {
        let column = Columns(accounts);
        let rows = sqlx::query_file!(
            "src/store/accounts/sql/past_facts.sql",
            &column.of(|it| it.0.0),
            &column.of(|it| it.1.as_i32()),
            to
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok(PastFact {
                    account: account_key(row.reseller_id, row.account_id)?,
                    fact: row.fact,
                    entry: row.entry,
                    size: row.size,
                })
            })
            .collect()
    }

    /// The values of the facts of these accounts.
    async fn past_values(
        &mut self,
        accounts: &[AccountKey],
        facts: &[PastFact],
    ) -> Result<HashMap<AccountKey, Vec<(String, Value)>>, Error> {
        let wanted: Vec<&PastFact> = facts
            .iter()
            .filter(|fact| accounts.contains(&fact.account))
            .collect();
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let column = Columns(&wanted);
        let rows = sqlx::query!(
            r#"select j.reseller_id, j.account_id, w.fact as "fact!", j.before -> w.fact as "value!"
               from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[])
                 as w(reseller_id, account_id, id, fact)
               join journal j using (reseller_id, account_id, id)"#,
            &column.of(|it| it.account.0.0),
            &column.of(|it| it.account.1.as_i32()),
            &column.of(|it| it.entry),
            &column.of(|it| it.fact.clone()),
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let mut values: HashMap<AccountKey, Vec<(String, Value)>> = HashMap::new();
        for row in rows {
            let key = account_key(row.reseller_id, row.account_id)?;
            values.entry(key).or_default().push((row.fact, row.value));
        }
        Ok(values)
    }

    /// The openings of the holds among these values that the journal does not name, because an
    /// earlier version wrote it, by hold id.
    async fn openings(
        &mut self,
        values: &HashMap<AccountKey, Vec<(String, Value)>>,
    ) -> Result<HashMap<Uuid, Opening>, Error> {
        let holds: Vec<(AccountKey, Uuid)> = values
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |(_, value)| (*key, value)))
            .filter(|(_, value)| opening_of(value).is_none())
            .filter_map(|(key, value)| Some((key, hold_id(value)?)))
            .collect();
        if holds.is_empty() {
            return Ok(HashMap::new());
        }
        let column = Columns(&holds);
        let rows = sqlx::query!(
            "select h.id, h.opened_at, h.opened_by, h.revision
             from unnest($1::bigint[], $2::integer[], $3::uuid[]) as w(reseller_id, account_id, id)
             join earlier_hold h using (reseller_id, account_id, id)",
            &column.of(|((reseller, _), _)| reseller.0),
            &column.of(|((_, account), _)| account.as_i32()),
            &column.of(|(_, id)| *id),
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (row.id, (row.opened_at, row.opened_by, row.revision)))
            .collect())
    }

    /// The versions of these accounts at an instant.
    async fn versions(
        &mut self,
        accounts: &[AccountKey],
        to: Time,
    ) -> Result<HashMap<AccountKey, Version>, Error> {
        let column = Columns(accounts);
        let rows = sqlx::query_file!(
            "src/store/accounts/sql/past_versions.sql",
            &column.of(|it| it.0.0),
            &column.of(|it| it.1.as_i32()),
            to
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                let key = account_key(row.reseller_id, row.account_id)?;
                let version = Version {
                    number: row.version,
                    updated_at: row.updated_at,
                    status_set_at: row.status_set_at,
                    expiry_set_at: row.expiry_set_at,
                    next_sequence: row.next_sequence,
                };
                Ok((key, version))
            })
            .collect()
    }
}

/// The last changes of an account up to an instant.
#[derive(Debug, Clone, Copy)]
struct Version {
    /// The account's version at the instant.
    number: i64,
    updated_at: Time,
    status_set_at: Option<Time>,
    expiry_set_at: Option<Time>,
    /// The version after the first later change. `None` if there is none.
    next_sequence: Option<i64>,
}

/// Sets a fact to a value of the journal.
fn set(
    account: &mut Account,
    fact: &str,
    value: &Value,
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
    match fact {
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
        "created_at" | "purged_at" | "id" | "uid" | "days_to_expiry" | "days_to_purge"
        | "effective_at" => {}
        hold if hold.contains(':') => {
            let (kind, authority, owner) = hold_name(hold).ok_or_else(unreadable)?;
            account
                .holds
                .retain(|hold| hold.kind != kind || !hold.is_of(authority, owner.as_ref()));
            if !value.is_null() {
                let hold = hold_of(kind, authority, owner, value, openings)?;
                account.holds.push(hold);
            }
        }
        field => {
            let fact = match value {
                Value::Null => Fact::Null,
                Value::Bool(on) => Fact::Bool(*on),
                Value::Number(number) => Fact::Number(number.as_i64().ok_or_else(unreadable)?),
                Value::String(text) => Fact::Text(text.clone()),
                Value::Object(members) => Fact::Texts(
                    members
                        .iter()
                        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                        .collect::<Option<_>>()
                        .ok_or_else(unreadable)?,
                ),
                Value::Array(_) => return Err(unreadable()),
            };
            if !std::sync::Arc::make_mut(&mut account.profile).restore(field, &fact) {
                return Err(unreadable());
            }
        }
    }
    Ok(())
}

/// The kind, the authority and the owner in the journal's name of a hold, such as
/// `suspend:reseller:abuse-desk`. `None` if it is no such name.
pub(in crate::store) fn hold_name(name: &str) -> Option<(HoldKind, Authority, Option<Owner>)> {
    let (kind, holder) = name.split_once(':')?;
    let (authority, owner) = match holder.split_once(':') {
        Some((authority, owner)) => (authority, Some(Owner::stored(owner.to_owned()))),
        None => (holder, None),
    };
    Some((HoldKind::parse(kind)?, Authority::parse(authority)?, owner))
}

/// The id of a hold in the object that the journal has of it. `None` if the value is not a hold.
fn hold_id(value: &Value) -> Option<Uuid> {
    let id = value.get("id")?.as_str()?;
    Uuid::parse_str(id).ok()
}

/// The opening of a hold in the object that the journal has of it. `None` if an earlier version wrote
/// the object, or if the value is not a hold.
fn opening_of(value: &Value) -> Option<Opening> {
    let at = value.get("opened_at")?.as_str()?.parse().ok()?;
    let by = value.get("opened_by")?.as_str()?.to_owned();
    let revision = i32::try_from(value.get("revision")?.as_i64()?).ok()?;
    Some((at, by, revision))
}

/// A hold from the object that the journal has of it.
fn hold_of(
    kind: HoldKind,
    authority: Authority,
    owner: Option<Owner>,
    value: &Value,
    openings: &HashMap<Uuid, Opening>,
) -> Result<Hold, Error> {
    let unreadable = || internal("the journal has an unreadable hold");
    let id = hold_id(value).ok_or_else(unreadable)?;
    let opening = opening_of(value).or_else(|| openings.get(&id).cloned());
    let (opened_at, opened_by, revision) = opening.ok_or_else(unreadable)?;
    Ok(Hold {
        id: HoldId(id),
        kind,
        authority,
        owner,
        details: details_of(value)?,
        opened_at,
        opened_by,
        revision,
        has_begun: value.get("scheduled").is_none(),
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
        level: text("level")
            .map_or(Some(Level::Block), Level::parse)
            .ok_or_else(unreadable)?,
    })
}
