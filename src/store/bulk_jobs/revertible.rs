//! What a bulk job did to accounts, read from the journal.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{AccountId, Error, HoldId, HoldKind, ResellerId, Revertible, Status};
use crate::store::accounts::details_of;
use crate::store::columns::account_id;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

impl Tx {
    /// The changes that a request made to accounts, read from the journal, in order. `None` stands
    /// for a change that cannot be reverted.
    pub async fn fetch_revertible(
        &mut self,
        reseller: ResellerId,
        accounts: &[i32],
        request_id: &str,
    ) -> Result<Vec<(AccountId, Option<Revertible>)>, Error> {
        let rows = sqlx::query!(
            r#"select j.account_id, j.before, j.after, j.authority
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
                Ok((
                    account_id(row.account_id)?,
                    revertible_of(&row.before, &row.after, &row.authority),
                ))
            })
            .collect()
    }
}

/// The change that a journal entry describes; `None` if no bulk job makes such a change. Ignores
/// holds of any authority other than `authority`.
fn revertible_of(before: &Value, after: &Value, authority: &str) -> Option<Revertible> {
    let names = before.as_object()?.keys().chain(after.as_object()?.keys());
    let is_hold = |name: &&String| name.split_once(':').is_some_and(|(_, by)| by == authority);
    let time = |side: &Value, name: &str| {
        side.get(name)
            .and_then(Value::as_str)
            .map(str::parse)
            .transpose()
            .ok()
    };
    let id = |hold: &Value| {
        hold.get("id")
            .and_then(Value::as_str)
            .and_then(|id| Uuid::parse_str(id).ok())
            .map(HoldId)
    };
    if let Some(name) = names.clone().find(is_hold) {
        let kind = HoldKind::parse(name.split_once(':')?.0)?;
        let side = |side: &Value| side.get(name).filter(|hold| !hold.is_null()).cloned();
        return match (side(before), side(after)) {
            (Some(was), Some(is)) if id(&was) == id(&is) => Some(Revertible::Revised(
                kind,
                id(&is)?,
                Box::new(details_of(&was).ok()?),
            )),
            (_, Some(opened)) => Some(Revertible::Opened(kind, id(&opened)?)),
            (Some(was), None) => Some(Revertible::Closed(kind, Box::new(details_of(&was).ok()?))),
            (None, None) => None,
        };
    }
    let has = |name: &str| names.clone().any(|known| known == name);
    let status = |side: &Value| {
        side.get("status")
            .and_then(Value::as_str)
            .and_then(Status::parse)
    };
    if has("status") {
        return Some(Revertible::Status(status(before)?, status(after)?));
    }
    if has("deleted_at") {
        return Some(if time(after, "deleted_at")?.is_some() {
            Revertible::Deleted
        } else {
            Revertible::Restored
        });
    }
    if has("expires_at") {
        return Some(Revertible::Expiry(
            time(before, "expires_at")?,
            time(after, "expires_at")?,
        ));
    }
    has("exempt_until").then(|| {
        Some(Revertible::Exemption(
            time(before, "exempt_until")?,
            time(after, "exempt_until")?,
        ))
    })?
}
