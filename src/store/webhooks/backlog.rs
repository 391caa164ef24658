//! What waits for delivery: of one endpoint for its owner, and of all for the metrics.

use crate::domain::{Endpoint, Error, Time};
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// Deliveries that are not made yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: i64,
    /// When the oldest of their events happened; `None` if there is none.
    pub since: Option<Time>,
}

/// Endpoints that are behind with the journal, over all resellers of the transaction.
#[derive(Debug)]
pub struct Backlog {
    /// How many of them no process has leased.
    pub unleased: i64,
    /// How many of them a process has leased.
    pub leased: i64,
    /// When the oldest event behind their positions happened; `None` if none is behind.
    pub since: Option<Time>,
}

impl Tx {
    /// Deliveries to an endpoint that failed, or that wait behind one of the same account that did.
    /// Looks at 10,000 of them at most.
    pub async fn count_pending(&mut self, endpoint: &Endpoint) -> Result<Waiting, Error> {
        sqlx::query_as!(
            Waiting,
            r#"select count(*) as "count!", min(at) as since from (select at from webhook_pending
                 where reseller_id = $1 and endpoint_id = $2 limit 10000) as few"#,
            endpoint.reseller_id.0,
            endpoint.id
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Deliveries of the events behind an endpoint's position. Looks at the next 1,000 events of
    /// the reseller at most.
    pub async fn count_unread(&mut self, endpoint: &Endpoint) -> Result<Waiting, Error> {
        sqlx::query_as!(
            Waiting,
            r#"select count(*) as "count!", min(j.at) as since
               from (select at, events from journal where reseller_id = $1 and id > $2
                 and outcome = 'applied' order by id limit 1000) as j
               cross join unnest($3::text[]) as name
               where name = 'account.updated' or name = any(j.events)"#,
            endpoint.reseller_id.0,
            endpoint.position,
            &endpoint.events
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The endpoints that are not suspended and behind whose position an event happened before
    /// `before`. `now` tells which leases are valid.
    pub async fn fetch_backlog(&mut self, before: Time, now: Time) -> Result<Backlog, Error> {
        sqlx::query_as!(
            Backlog,
            r#"select count(*) filter (where e.lease_until is null
                 or e.lease_until <= $2) as "unleased!",
                 count(*) filter (where e.lease_until > $2) as "leased!", min(next.at) as since
               from webhook_endpoint e
               cross join lateral (select j.at from journal j where j.reseller_id = e.reseller_id
                 and j.id > e.position and j.outcome = 'applied' order by j.id limit 1) as next
               where e.suspended_by is null and next.at < $1"#,
            before,
            now
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }
}
