//! The state of deliveries: leases, positions, and pending deliveries.
//!
//! The deliveries of one account are made in order, so only the first pending one of an account has
//! a time for its next attempt. [`Tx::schedule_heads`] restores that rule after each change.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::{DeliveryKey, Pending, Progress};
use crate::domain::{Error, ResellerId, SuspendedBy, Time};
use crate::store::columns::Columns;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

impl Tx {
    /// How many endpoints that are not suspended each reseller has. Resellers without one are left
    /// out.
    pub async fn count_endpoints(&mut self) -> Result<HashMap<ResellerId, usize>, Error> {
        let rows = sqlx::query!(
            r#"select reseller_id, count(*) as "count!" from webhook_endpoint
               where suspended_by is null group by reseller_id"#
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| {
                (
                    ResellerId(row.reseller_id),
                    usize::try_from(row.count).unwrap_or(usize::MAX),
                )
            })
            .collect())
    }

    /// Endpoints with events to deliver, of these resellers or of all, without those in `running`
    /// and those that another owner has leased. An endpoint that `owner` itself has leased is found
    /// too: its runner failed.
    ///
    /// First comes the endpoint of each reseller that is furthest behind, then the second of each,
    /// and so on.
    pub async fn find_work(
        &mut self,
        resellers: Option<&[ResellerId]>,
        owner: Uuid,
        running: &[Uuid],
        now: Time,
        limit: i64,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let resellers: Option<Vec<i64>> =
            resellers.map(|them| them.iter().map(|reseller| reseller.0).collect());
        let rows = sqlx::query!(
            "select reseller_id, id from (
               select e.reseller_id, e.id, e.position,
                 row_number() over (partition by e.reseller_id order by e.position, e.id) as turn
               from webhook_endpoint e
               where e.suspended_by is null
                 and (e.lease_until is null or e.lease_until <= $2 or e.lease_owner = $3)
                 and ($1::bigint[] is null or e.reseller_id = any ($1)) and e.id <> all ($4)
                 and (exists (select from journal j where j.reseller_id = e.reseller_id
                   and j.id > e.position and j.outcome = 'applied')
                   or exists (select from webhook_pending p where p.reseller_id = e.reseller_id
                     and p.endpoint_id = e.id and p.next_attempt_at <= $2))) as found
             order by turn, position limit $5",
            resellers.as_deref(),
            now,
            owner,
            running,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id))
            .collect())
    }

    /// Takes the lease of an endpoint, or extends that of the same owner. Returns `false` if another
    /// process holds it, or the endpoint is suspended.
    pub async fn lease_endpoint(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        owner: Uuid,
        now: Time,
        until: Time,
    ) -> Result<bool, Error> {
        sqlx::query!(
            "update webhook_endpoint set lease_owner = $3, lease_until = $5
             where reseller_id = $1 and id = $2 and suspended_by is null
               and (lease_until is null or lease_until <= $4 or lease_owner = $3)",
            reseller.0,
            id,
            owner,
            now,
            until
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected() > 0)
        .or_domain()
    }

    /// Writes progress if `owner` still holds the lease. Returns the endpoint's revision and
    /// whether it is suspended; `None` if the lease is lost.
    pub async fn record_progress(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        owner: Uuid,
        progress: &Progress,
    ) -> Result<Option<(i64, bool)>, Error> {
        let row = sqlx::query!(
            r#"update webhook_endpoint set position = greatest(position, $4), failing_since = $5,
                 last_success_at = coalesce($6, last_success_at),
                 suspended_by = coalesce(suspended_by, $7), lease_until = $8,
                 lease_owner = case when $8::timestamptz is null then null else lease_owner end
               where reseller_id = $1 and id = $2 and lease_owner = $3
               returning revision, suspended_by is not null as "is_suspended!""#,
            reseller.0,
            id,
            owner,
            progress.position,
            progress.failing_since,
            progress.last_success_at,
            progress.suspended_by.map(SuspendedBy::as_str),
            progress.lease_until
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        let Some(row) = row else { return Ok(None) };
        self.delete_pending(reseller, id, &progress.settled).await?;
        self.upsert_pending(reseller, id, &progress.parked).await?;
        let touched: BTreeSet<i32> = progress
            .settled
            .iter()
            .chain(progress.parked.iter().map(|pending| &pending.key))
            .map(|key| key.account)
            .collect();
        self.schedule_heads(
            reseller,
            id,
            &touched.into_iter().collect::<Vec<_>>(),
            progress.at,
        )
        .await?;
        self.insert_attempts(reseller, &progress.attempts).await?;
        Ok(Some((row.revision, row.is_suspended)))
    }

    /// Deletes pending deliveries.
    async fn delete_pending(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        keys: &[DeliveryKey],
    ) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let column = Columns(keys);
        sqlx::query!(
            "delete from webhook_pending where ctid = any (array(
               select p.ctid
               from unnest($3::integer[], $4::bigint[], $5::text[]) as d(account_id, event_id, event)
               cross join lateral (
                 select ctid from webhook_pending
                 where reseller_id = $1 and endpoint_id = $2 and account_id = d.account_id
                   and event_id = d.event_id and event = d.event) as p))",
            reseller.0,
            endpoint,
            &column.of(|it| it.account),
            &column.of(|it| it.event_id),
            &column.of(|it| it.event.clone())
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Inserts pending deliveries, or updates their attempts and times.
    async fn upsert_pending(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        pending: &[Pending],
    ) -> Result<(), Error> {
        if pending.is_empty() {
            return Ok(());
        }
        let column = Columns(pending);
        sqlx::query!(
            "insert into webhook_pending (reseller_id, endpoint_id, account_id, event_id, event, at,
               attempts, next_attempt_at)
             select $1, $2, n.* from unnest($3::integer[], $4::bigint[], $5::text[],
               $6::timestamptz[], $7::integer[], $8::timestamptz[]) as n
             on conflict on constraint webhook_pending_pkey do update set
               attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at",
            reseller.0,
            endpoint,
            &column.of(|it| it.key.account),
            &column.of(|it| it.key.event_id),
            &column.of(|it| it.key.event.clone()),
            &column.of(|it| it.at),
            &column.of(|it| it.attempts),
            &column.of(|it| it.next_attempt_at) as &[Option<Time>]
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Makes the first pending delivery of an account due now, unless a delivery of the account has
    /// a time already.
    async fn schedule_heads(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        accounts: &[i32],
        now: Time,
    ) -> Result<(), Error> {
        if accounts.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "update webhook_pending set next_attempt_at = $4 where ctid = any (array(
               select h.ctid from unnest($3::integer[]) as a(id)
               cross join lateral (select ctid from webhook_pending where reseller_id = $1
                 and endpoint_id = $2 and account_id = a.id
                 order by event_id, event limit 1) as h
               where (select next_attempt_at from webhook_pending where reseller_id = $1
                 and endpoint_id = $2 and account_id = a.id
                 and next_attempt_at is not null order by event_id, event limit 1) is null))",
            reseller.0,
            endpoint,
            accounts,
            now
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Makes the first pending delivery of each account due now, whatever time it had.
    async fn schedule_now(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        accounts: &[i32],
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update webhook_pending set next_attempt_at = null
             where reseller_id = $1 and endpoint_id = $2 and account_id = any($3)
               and next_attempt_at is not null",
            reseller.0,
            endpoint,
            accounts
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        self.schedule_heads(reseller, endpoint, accounts, now).await
    }

    /// The accounts with a pending delivery to an endpoint.
    pub async fn list_blocked(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
    ) -> Result<Vec<i32>, Error> {
        sqlx::query_scalar!(
            "select distinct account_id from webhook_pending
             where reseller_id = $1 and endpoint_id = $2",
            reseller.0,
            endpoint
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// The accounts with a due delivery to an endpoint, the longest due first, without those in
    /// `busy`.
    pub async fn list_due(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        busy: &[i32],
        now: Time,
        limit: i64,
    ) -> Result<Vec<i32>, Error> {
        sqlx::query_scalar!(
            "select account_id from webhook_pending
             where reseller_id = $1 and endpoint_id = $2 and next_attempt_at <= $3
               and account_id <> all($4)
             group by account_id order by min(next_attempt_at) limit $5",
            reseller.0,
            endpoint,
            now,
            busy,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// When the next delivery to an endpoint is due, without the accounts in `busy`. `None` if
    /// nothing is pending.
    pub async fn next_due(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        busy: &[i32],
    ) -> Result<Option<Time>, Error> {
        sqlx::query_scalar!(
            "select min(next_attempt_at) from webhook_pending
             where reseller_id = $1 and endpoint_id = $2 and next_attempt_at is not null
               and account_id <> all($3)",
            reseller.0,
            endpoint,
            busy
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The pending deliveries of these accounts in their order, at most `depth` of each account.
    pub async fn list_pending(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        accounts: &[i32],
        depth: i64,
    ) -> Result<Vec<Pending>, Error> {
        let rows = sqlx::query!(
            r#"select a.id as "account_id!", p.event_id, p.event, p.at, p.attempts,
                 p.next_attempt_at
               from unnest($3::integer[]) with ordinality as a(id, place)
               cross join lateral (select * from webhook_pending where reseller_id = $1
                 and endpoint_id = $2 and account_id = a.id
                 order by event_id, event limit $4) as p
               order by a.place, p.event_id, p.event"#,
            reseller.0,
            endpoint,
            accounts,
            depth
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let pending = rows.into_iter().map(|row| Pending {
            key: DeliveryKey {
                account: row.account_id,
                event_id: row.event_id,
                event: row.event,
            },
            at: row.at,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
        });
        Ok(pending.collect())
    }

    /// Makes one delivery pending and due at `now`: a test event, or a redelivery.
    pub async fn enqueue_delivery(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        key: DeliveryKey,
        at: Time,
        now: Time,
    ) -> Result<(), Error> {
        let account = key.account;
        self.upsert_pending(
            reseller,
            endpoint,
            &[Pending {
                key,
                at,
                attempts: 0,
                next_attempt_at: None,
            }],
        )
        .await?;
        self.schedule_now(reseller, endpoint, &[account], now).await
    }

    /// Makes all deliveries of events since an instant pending again, up to the endpoint's
    /// position. Returns how many are now pending.
    pub async fn redeliver_since(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        since: Time,
        now: Time,
    ) -> Result<u64, Error> {
        let accounts = sqlx::query_scalar!(
            "insert into webhook_pending (reseller_id, endpoint_id, account_id, event_id, event, at,
               attempts, next_attempt_at)
             select j.reseller_id, e.id, j.account_id, j.id, name, j.at, 0, null
             from webhook_endpoint e join journal j on j.reseller_id = e.reseller_id
               and j.id <= e.position and j.outcome = 'applied' and j.at >= $3
               cross join unnest(e.events) as name
             where e.reseller_id = $1 and e.id = $2
               and (name = 'account.updated' or name = any(j.events))
             on conflict on constraint webhook_pending_pkey do nothing returning account_id",
            reseller.0,
            endpoint,
            since
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let count = u64::try_from(accounts.len()).unwrap_or(u64::MAX);
        let accounts: BTreeSet<i32> = accounts.into_iter().collect();
        self.schedule_now(
            reseller,
            endpoint,
            &accounts.into_iter().collect::<Vec<_>>(),
            now,
        )
        .await?;
        Ok(count)
    }

    /// Of these accounts, the ones without a pending delivery to the endpoint.
    pub async fn list_clear(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        accounts: &[i32],
    ) -> Result<Vec<i32>, Error> {
        sqlx::query_scalar!(
            r#"select a.id as "id!" from unnest($3::integer[]) as a(id)
               where not exists (select from webhook_pending p where p.reseller_id = $1
                 and p.endpoint_id = $2 and p.account_id = a.id)"#,
            reseller.0,
            endpoint,
            accounts
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }
}
