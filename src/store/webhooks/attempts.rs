//! The log of attempts to deliver.

use uuid::Uuid;

use super::DeliveryKey;
use crate::domain::{Error, ResellerId, Time};
use crate::store::columns::Columns;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// One attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its identity; grows with time.
    pub id: Uuid,
    /// To which endpoint.
    pub endpoint_id: Uuid,
    /// What.
    pub key: DeliveryKey,
    /// When that happened.
    pub event_at: Time,
    /// 1 is the first.
    pub number: i32,
    /// When it began.
    pub at: Time,
    /// Whether the endpoint took it.
    pub succeeded: bool,
    /// The HTTP status; none: no answer arrived.
    pub status: Option<i16>,
    /// What went wrong, for people.
    pub problem: Option<String>,
    /// How the answer begins.
    pub answer: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
}

impl Tx {
    pub(in crate::store) async fn insert_attempts(
        &mut self,
        reseller: ResellerId,
        attempts: &[Attempt],
    ) -> Result<(), Error> {
        if attempts.is_empty() {
            return Ok(());
        }
        let column = Columns(attempts);
        sqlx::query!(
            "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded, status, problem, answer,
               duration_ms)
             select $1, n.* from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::integer[], $7::timestamptz[], $8::integer[],
               $9::timestamptz[], $10::boolean[], $11::smallint[], $12::text[], $13::text[], $14::integer[]) as n",
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

    /// Attempts, newest first, older than `before`; to one endpoint, or to all of the reseller.
    pub async fn list_attempts(
        &mut self,
        reseller: ResellerId,
        endpoint: Option<Uuid>,
        succeeded: Option<bool>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Attempt>, Error> {
        let rows = sqlx::query!(
            "select endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded, status, problem, answer, duration_ms from webhook_attempt
             where reseller_id = $1 and ($2::uuid is null or endpoint_id = $2) and ($3::boolean is null or succeeded = $3) and ($4::uuid is null or id < $4)
             order by id desc limit $5",
            reseller.0,
            endpoint,
            succeeded,
            before,
            limit
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

    /// One attempt.
    pub async fn fetch_attempt(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<(ResellerId, Uuid, DeliveryKey, Time)>, Error> {
        let row = sqlx::query!(
            "select reseller_id, endpoint_id, event_id, event, account_id, event_at from webhook_attempt
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

    /// Forgets attempts made before an instant, at most `limit` of them; says how many.
    pub async fn delete_attempts(&mut self, before: Time, limit: i64) -> Result<u64, Error> {
        sqlx::query!(
            "delete from webhook_attempt where ctid = any (array(select ctid from webhook_attempt where at < $1 order by at limit $2))",
            before,
            limit
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected())
        .or_domain()
    }
}
