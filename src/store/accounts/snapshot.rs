//! All accounts of a reseller, for a consumer that follows the events from then on.

use sqlx::{Postgres, QueryBuilder};

use super::list::{KEYS, push_order};
use crate::domain::{Account, Error, ResellerId};
use crate::store::slice::Slice;
use crate::store::transaction::Tx;

impl Tx {
    /// The accounts of a reseller, deleted ones included, by id after `after`: at most `limit`, and
    /// no more than about `budget` bytes of them, but at least one.
    pub async fn list_for_snapshot(
        &mut self,
        reseller: ResellerId,
        after: i32,
        limit: i64,
        budget: i64,
    ) -> Result<Slice<Account>, Error> {
        let mut statement = snapshot_statement(reseller, after, limit);
        let found = self.fetch_sized(&mut statement).await?;
        let keys = Slice::up_to(budget, found, |(_, size)| *size, limit);
        let wanted: Vec<_> = keys.rows.iter().map(|(key, _)| *key).collect();
        Ok(Slice {
            rows: self.fetch_in_order(&wanted).await?,
            has_more: keys.has_more,
        })
    }
}

/// The statement that finds the keys of a page of [`Tx::list_for_snapshot`]. Public so that a test
/// can read its plan.
#[must_use]
pub fn snapshot_statement(reseller: ResellerId, after: i32, limit: i64) -> QueryBuilder<Postgres> {
    let mut statement = QueryBuilder::new(KEYS);
    statement
        .push("account a where a.reseller_id = ")
        .push_bind(reseller.0)
        .push(" and a.id > ")
        .push_bind(after);
    push_order(&mut statement, limit);
    statement
}
