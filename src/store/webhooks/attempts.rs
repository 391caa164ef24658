//! The log of delivery attempts.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use uuid::Uuid;

use super::DeliveryKey;
use crate::domain::{Error, ResellerId, Time};
use crate::store::columns::Columns;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// One delivery attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id, a UUID that grows with time.
    pub id: Uuid,
    /// The endpoint.
    pub endpoint_id: Uuid,
    /// The delivery.
    pub key: DeliveryKey,
    /// When the event happened.
    pub event_at: Time,
    /// Which attempt of this delivery, from 1 on.
    pub number: i32,
    /// When the attempt began.
    pub at: Time,
    /// Whether the endpoint accepted the delivery.
    pub succeeded: bool,
    /// The HTTP status; `None` if no answer arrived.
    pub status: Option<i16>,
    /// Why the attempt failed, as a text for people.
    pub problem: Option<String>,
    /// The beginning of the answer's body.
    pub answer: Option<String>,
    /// The duration of the attempt, in milliseconds.
    pub duration_ms: i32,
}

/// Restricts which attempts are listed.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    /// Only attempts to this endpoint. `None` means all endpoints.
    pub endpoint: Option<Uuid>,
    /// Only attempts that succeeded, or only those that failed. `None` means both.
    pub succeeded: Option<bool>,
    /// Only this attempt and newer ones.
    pub from: Option<Uuid>,
    /// Only attempts that are older than this one.
    pub before: Option<Uuid>,
    /// Only attempts whose event or problem contains this text, in any case.
    pub text: Option<String>,
}

impl Tx {
    pub(super) async fn insert_attempts(
        &mut self,
        reseller: ResellerId,
        attempts: &[Attempt],
    ) -> Result<(), Error> {
        if attempts.is_empty() {
            return Ok(());
        }
        let column = Columns(attempts);
        sqlx::query!(
            "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id,
               event_at, number, at, succeeded, status, problem, answer,
               duration_ms)
             select $1, n.* from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::text[],
               $6::integer[], $7::timestamptz[], $8::integer[],
               $9::timestamptz[], $10::boolean[], $11::smallint[], $12::text[], $13::text[],
                 $14::integer[]) as n",
            reseller.0,
            &column.of(|it| it.endpoint_id),
            &column.of(|it| it.id),
            &column.of(|it| it.key.event_id),
            &column.of(|it| it.key.event.clone()),
            &column.of(|it| it.key.account),
            &column.of(|it| it.event_at),
            &column.of(|it| it.number),
            &column.of(|it| it.at),
            &column.of(|it| it.succeeded),
            &column.of(|it| it.status) as &[Option<i16>],
            &column.of(|it| it.problem.clone()) as &[Option<String>],
            &column.of(|it| it.answer.clone()) as &[Option<String>],
            &column.of(|it| it.duration_ms)
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// How many attempts of a reseller a filter admits. Counting stops at `most`.
    pub async fn count_attempts(
        &mut self,
        reseller: ResellerId,
        filter: &AttemptFilter,
        most: i64,
    ) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from (select from webhook_attempt
             where reseller_id = $1 and ($2::uuid is null or endpoint_id = $2)
               and ($3::boolean is null or succeeded = $3) and ($4::uuid is null or id < $4)
               and ($5::uuid is null or id >= $5) and ($6::text is null
                 or position(lower($6) in lower(concat_ws(' ', event, problem))) > 0)
             limit $7) as found"#,
            reseller.0,
            filter.endpoint,
            filter.succeeded,
            filter.before,
            filter.from,
            filter.text,
            most
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The id of a reseller's attempt that has `newer` newer ones. `None` if there are fewer.
    pub async fn attempt_with_newer(
        &mut self,
        reseller: ResellerId,
        newer: i64,
    ) -> Result<Option<Uuid>, Error> {
        sqlx::query_scalar!(
            "select id from webhook_attempt where reseller_id = $1
             order by id desc limit 1 offset $2",
            reseller.0,
            newer
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()
    }

    /// The attempts of a reseller that a filter admits, newest first.
    pub async fn list_attempts(
        &mut self,
        reseller: ResellerId,
        filter: &AttemptFilter,
        skip: i64,
        limit: i64,
    ) -> Result<Vec<Attempt>, Error> {
        let rows = sqlx::query!(
            "select endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded,
               status, problem, answer, duration_ms from webhook_attempt
             where reseller_id = $1 and ($2::uuid is null or endpoint_id = $2)
               and ($3::boolean is null or succeeded = $3) and ($4::uuid is null or id < $4)
               and ($5::uuid is null or id >= $5) and ($6::text is null
                 or position(lower($6) in lower(concat_ws(' ', event, problem))) > 0)
             order by id desc limit $7 offset $8",
            reseller.0,
            filter.endpoint,
            filter.succeeded,
            filter.before,
            filter.from,
            filter.text,
            limit,
            skip
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let attempts = rows.into_iter().map(|row| Attempt {
            id: row.id,
            endpoint_id: row.endpoint_id,
            key: DeliveryKey {
                account: row.account_id,
                event_id: row.event_id,
                event: row.event,
            },
            event_at: row.event_at,
            number: row.number,
            at: row.at,
            succeeded: row.succeeded,
            status: row.status,
            problem: row.problem,
            answer: row.answer,
            duration_ms: row.duration_ms,
        });
        Ok(attempts.collect())
    }

    /// The reseller, endpoint, delivery and event time of an attempt. Without a reseller it looks
    /// at all resellers of the transaction.
    pub async fn fetch_attempt(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<(ResellerId, Uuid, DeliveryKey, Time)>, Error> {
        let row = sqlx::query!(
            "select reseller_id, endpoint_id, event_id, event, account_id, event_at
             from webhook_attempt
             where ($1::bigint is null or reseller_id = $1) and id = $2",
            reseller.map(|it| it.0),
            id
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        Ok(row.map(|row| {
            let key = DeliveryKey {
                account: row.account_id,
                event_id: row.event_id,
                event: row.event,
            };
            (
                ResellerId(row.reseller_id),
                row.endpoint_id,
                key,
                row.event_at,
            )
        }))
    }

    /// Deletes attempts made before an instant, at most `limit`. Returns how many it deleted.
    pub async fn delete_attempts(&mut self, before: Time, limit: i64) -> Result<u64, Error> {
        sqlx::query!(
            "delete from webhook_attempt where ctid = any (array(select ctid from webhook_attempt
             where at < $1 order by at limit $2))",
            before,
            limit
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected())
        .or_domain()
    }
}
