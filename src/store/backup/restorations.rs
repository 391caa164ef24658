//! Ids of events after a restore.
//!
//! Receivers of webhooks tell repeated deliveries apart by the id of the event, and readers of
//! `/v3/events` continue after the id that they read last. Events that happened after the backup was
//! made are gone, but their ids were given. So the ids after a restore begin at an epoch: the second
//! of the restore, times 2^20. No earlier id reaches that number, unless there were a million
//! events a second on average; and two restores of the same backup begin at different numbers. The
//! ids stay below 2^53 for 200 years, so that they are exact in JavaScript too.
//!
//! The table `restoration` has the gap between the last event of the backup and the epoch. A cursor in it
//! is of an event that no longer exists.

use sqlx::PgConnection;

use crate::domain::{Error, ResellerId, Time};
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// The sequence of the ids of journal entries.
pub(super) const SEQUENCE: &str = "journal_id_seq";
/// How many ids an epoch has for each second until the next one.
const IDS_A_SECOND: i64 = 1 << 20;

/// A restore that a reseller's events went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoration {
    /// The reseller.
    pub reseller: ResellerId,
    /// The id of its last event in the backup. Those after it are gone.
    pub last_event: i64,
    /// The ids of later events are not below this one.
    pub first_event: i64,
    /// When the backup was made.
    pub backed_up_at: Time,
    /// When it was restored.
    pub restored_at: Time,
}

impl Tx {
    /// All restores, of all resellers of the transaction.
    pub async fn list_restorations(&mut self) -> Result<Vec<Restoration>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, last_event, first_event, backed_up_at, restored_at
             from restoration order by reseller_id, first_event"
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| Restoration {
                reseller: ResellerId(row.reseller_id),
                last_event: row.last_event,
                first_event: row.first_event,
                backed_up_at: row.backed_up_at,
                restored_at: row.restored_at,
            })
            .collect())
    }
}

/// Begins a new epoch after the rows of a backup. Returns the first id of it.
pub(super) async fn begin(
    connection: &mut PgConnection,
    backed_up_at: Time,
    now: Time,
) -> Result<i64, sqlx::Error> {
    let last = sqlx::query_scalar!(
        r#"select coalesce((select last_value from pg_sequences
             where schemaname = 'public' and sequencename = $1), 0) as "last!""#,
        SEQUENCE
    )
    .fetch_one(&mut *connection)
    .await?;
    let epoch = now.timestamp().saturating_mul(IDS_A_SECOND);
    // If the clock was set back, the ids still grow.
    let first = epoch.max(last.saturating_add(IDS_A_SECOND));
    // As if the last number before the epoch had been given: then a backup has the place, also if it
    // is made before the next event.
    sqlx::query!(
        "select setval($1::text::regclass, $2)",
        SEQUENCE,
        first.saturating_sub(1)
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query_file!(
        "src/store/backup/sql/insert_restorations.sql",
        first,
        last,
        backed_up_at,
        now
    )
    .execute(connection)
    .await?;
    Ok(first)
}
