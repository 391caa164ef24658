//! What a bulk job did to accounts, read from the journal.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{
    AccountId, Error, HoldId, HoldKind, Owner, ResellerId, Revertible, Status, Time,
};
use crate::store::accounts::{details_of, hold_name};
use crate::store::columns::account_id;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// What a job did to an account.
#[derive(Debug, Clone)]
pub struct AppliedChange {
    /// The account.
    pub account: AccountId,
    /// The id of the journal entry.
    entry: i64,
    /// The fact or hold that the job changed, as the journal names it, with the value before and
    /// after. `None` if no bulk job makes such a change.
    pub change: Option<(String, Revertible)>,
}

/// The first change of a fact or hold that came after the change of a job.
#[derive(Debug, Clone)]
pub struct LaterChange {
    /// The account.
    pub account: AccountId,
    /// The command, as a verb.
    pub action: String,
    /// The name of the actor, for people.
    pub actor: String,
    /// When the command was decided.
    pub at: Time,
}

impl Tx {
    /// The changes that a request made to accounts, read from the journal, in order.
    pub async fn fetch_revertible(
        &mut self,
        reseller: ResellerId,
        accounts: &[i32],
        request_id: &str,
    ) -> Result<Vec<AppliedChange>, Error> {
        let rows = sqlx::query!(
            r#"select j.account_id, j.id, j.before, j.after, j.authority
               from unnest($2::integer[]) as w(id)
               join journal j on j.reseller_id = $1 and j.account_id = w.id
               where j.request_id = $3 and j.outcome = 'applied' order by j.id"#,
            reseller.0,
            accounts,
            request_id
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok(AppliedChange {
                    account: account_id(row.account_id)?,
                    entry: row.id,
                    change: revertible_of(&row.before, &row.after, &row.authority),
                })
            })
            .collect()
    }

    /// The first applied entry after each change that touched the same fact, or a hold of the same
    /// kind, authority and owner. An account without such an entry is left out. The announcement
    /// that a hold has begun or lapsed does not count, because no command caused it.
    pub async fn fetch_later_changes(
        &mut self,
        reseller: ResellerId,
        changes: &[AppliedChange],
    ) -> Result<Vec<LaterChange>, Error> {
        let (mut accounts, mut entries, mut facts) = (Vec::new(), Vec::new(), Vec::new());
        for applied in changes {
            if let Some((fact, _)) = &applied.change {
                accounts.push(applied.account.as_i32());
                entries.push(applied.entry);
                facts.push(fact.clone());
            }
        }
        let rows = sqlx::query!(
            "select later.account_id, later.action, later.actor, later.at
             from unnest($2::integer[], $3::bigint[], $4::text[]) as w(account_id, entry, fact)
             cross join lateral (
               select j.account_id, j.action, j.actor, j.at from journal j
               where j.reseller_id = $1 and j.account_id = w.account_id and j.id > w.entry
                 and j.outcome = 'applied' and j.action <> 'announce'
                 and (j.before ? w.fact or j.after ? w.fact)
               order by j.id limit 1) as later",
            reseller.0,
            &accounts,
            &entries,
            &facts
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok(LaterChange {
                    account: account_id(row.account_id)?,
                    action: row.action,
                    actor: row.actor,
                    at: row.at,
                })
            })
            .collect()
    }
}

/// The change that a journal entry describes, with the name of the fact or hold; `None` if no bulk
/// job makes such a change. Ignores holds of any authority other than `authority`.
fn revertible_of(before: &Value, after: &Value, authority: &str) -> Option<(String, Revertible)> {
    let names = before.as_object()?.keys().chain(after.as_object()?.keys());
    let own = |name: &'_ String| {
        let (kind, by, owner) = hold_name(name)?;
        (by.as_str() == authority).then(|| (name.clone(), kind, owner))
    };
    if let Some((name, kind, owner)) = names.clone().find_map(own) {
        let side = |side: &Value| side.get(&name).filter(|hold| !hold.is_null()).cloned();
        let change = hold_change(kind, owner, side(before), side(after));
        return change.map(|change| (name, change));
    }
    let time = |side: &Value, name: &str| {
        side.get(name)
            .and_then(Value::as_str)
            .map(str::parse)
            .transpose()
            .ok()
    };
    let status = |side: &Value| {
        side.get("status")
            .and_then(Value::as_str)
            .and_then(Status::parse)
    };
    let facts = ["status", "deleted_at", "expires_at", "exempt_until"];
    let fact = facts
        .into_iter()
        .find(|fact| names.clone().any(|known| known == fact))?;
    let change = match fact {
        "status" => Revertible::Status(status(before)?, status(after)?),
        "deleted_at" if time(after, fact)?.is_some() => Revertible::Deleted,
        "deleted_at" => Revertible::Restored,
        "expires_at" => Revertible::Expiry(time(before, fact)?, time(after, fact)?),
        _ => Revertible::Exemption(time(before, fact)?, time(after, fact)?),
    };
    Some((fact.to_owned(), change))
}

/// The change of a hold that has these journal values before and after.
fn hold_change(
    kind: HoldKind,
    owner: Option<Owner>,
    before: Option<Value>,
    after: Option<Value>,
) -> Option<Revertible> {
    let id = |hold: &Value| {
        hold.get("id")
            .and_then(Value::as_str)
            .and_then(|id| Uuid::parse_str(id).ok())
            .map(HoldId)
    };
    match (before, after) {
        (Some(was), Some(is)) if id(&was) == id(&is) => Some(Revertible::Revised(
            kind,
            owner,
            id(&is)?,
            Box::new(details_of(&was).ok()?),
        )),
        (_, Some(opened)) => Some(Revertible::Opened(kind, owner, id(&opened)?)),
        (Some(was), None) => Some(Revertible::Closed(
            kind,
            owner,
            Box::new(details_of(&was).ok()?),
        )),
        (None, None) => None,
    }
}
