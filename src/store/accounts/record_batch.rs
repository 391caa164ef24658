//! Writes a group commit: the lifecycle of existing accounts, their holds and the journal. One
//! statement does it, because a round trip costs as much as writing several rows.
//!
//! The accounts come first, because the other two parts read how many accounts were written:
//!
//! 1. Accounts. Their row locks keep other transactions out until the commit.
//! 2. Holds. Existing ones are upserted like new ones, because `on conflict` always uses the
//!    primary key. A join may scan the table if the table was small when the statement was planned.
//! 3. The journal. One advisory lock per reseller is taken before the first journal id is drawn,
//!    and is kept until the commit. So the entries of a reseller become visible in the order of
//!    their ids, and a reader that continues from the last id it read skips none. A suspension of a
//!    reseller takes the same lock. So `require_unsuspended`, which looks after the lock is taken,
//!    sees every suspension that was committed before this batch.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use std::collections::BTreeSet;

use super::holds::{HoldWrites, Touched};
use crate::domain::{Account, AccountKey, Error, HoldDetails, Owner, PaymentUrl, Time};
use crate::store::columns::Columns;
use crate::store::errors::{OrDomain as _, is_stale};
use crate::store::journal::{NewJournalEntry, json_of};
use crate::store::transaction::Tx;

/// The changes of one batch.
#[derive(Debug)]
pub struct Changes<'a> {
    /// Resellers that must not be suspended at the commit. All are among those of the journal.
    pub unsuspended: &'a [i64],
    /// Accounts that were read for a decision but are not written, in the order of their keys, each
    /// with the version that was read. They are locked first, so the decision still holds at the
    /// commit.
    pub seen: &'a [(AccountKey, i64)],
    /// Accounts whose lifecycle changed, in the order of their keys, each with the version that the
    /// change is based on.
    pub accounts: &'a [(&'a Account, i64)],
    /// New, changed and closed holds.
    pub holds: &'a HoldWrites,
    /// Journal entries, in order.
    pub journal: &'a [NewJournalEntry],
}

impl Tx {
    /// Writes a batch. Returns `false` if an account has another version, or if one of the resellers
    /// in `unsuspended` is suspended. The statement has then failed and wrote nothing, and an open transaction must be rolled back.
    #[expect(
        clippy::too_many_lines,
        reason = "one statement, a line for each of its columns"
    )]
    pub async fn record_changes(&mut self, changes: &Changes<'_>) -> Result<bool, Error> {
        let (seen, accounts) = (Columns(changes.seen), Columns(changes.accounts));
        // Existing holds come first: one that closes frees its place for one that opens.
        let (opened, existing): (Vec<&Touched>, Vec<&Touched>) = changes
            .holds
            .touched
            .values()
            .partition(|touched| touched.is_new);
        let holds: Vec<&Touched> = existing.into_iter().chain(opened).collect();
        let (holds, replaced) = (Columns(&holds), Columns(&changes.holds.replaced));
        let journal = Columns(changes.journal);
        let resellers: BTreeSet<i64> = changes
            .journal
            .iter()
            .map(|entry| entry.reseller.0)
            .collect();
        let resellers: Vec<i64> = resellers.into_iter().collect();
        // PostgreSQL has no arrays of arrays of different lengths, so the events of an entry travel
        // as one text.
        let events = journal.of(|it| {
            it.events
                .iter()
                .map(|event| event.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        });
        // Runs the statement in a file, with these arguments and those given.
        macro_rules! record {
            ($file:literal, $($argument:expr),* $(,)?) => {
                sqlx::query_file_scalar!(
                    $file,
                    &accounts.of(|(it, _)| it.reseller_id.0),
                    &accounts.of(|(it, _)| it.id.as_i32()),
                    &accounts.of(|(it, _)| it.status.as_str()) as &[&str],
                    &accounts.of(|(it, _)| it.status_set_at),
                    &accounts.of(|(it, _)| it.expires_at) as &[Option<Time>],
                    &accounts.of(|(it, _)| it.expiry_set_at) as &[Option<Time>],
                    &accounts.of(|(it, _)| it.deleted_at) as &[Option<Time>],
                    &accounts.of(|(it, _)| it.purge_at) as &[Option<Time>],
                    &accounts.of(|(it, _)| it.operator_released_at) as &[Option<Time>],
                    &accounts.of(|(it, _)| it.version),
                    &accounts.of(|(it, _)| it.updated_at),
                    &accounts.of(|(_, was)| *was),
                    &holds.of(|it| it.key.0.0),
                    &holds.of(|it| it.key.1.as_i32()),
                    &holds.of(|it| it.hold.id.0),
                    &holds.of(|it| it.hold.kind.as_str()) as &[&str],
                    &holds.of(|it| it.hold.authority.as_str()) as &[&str],
                    &holds.of(|it| it.hold.details.reason_code.as_deref()) as &[Option<&str>],
                    &holds.of(|it| it.hold.details.reason.as_deref()) as &[Option<&str>],
                    &holds.of(|it| it.hold.details.public_message.as_deref()) as &[Option<&str>],
                    &holds.of(|it| url(&it.hold.details)) as &[Option<&str>],
                    &holds.of(|it| it.hold.details.starts_at) as &[Option<Time>],
                    &holds.of(|it| it.hold.details.ends_at) as &[Option<Time>],
                    &holds.of(|it| it.hold.revision),
                    &holds.of(|it| it.hold.opened_at),
                    &holds.of(|it| it.hold.opened_by.as_str()) as &[&str],
                    &holds.of(|it| it.closed.as_ref().map(|closing| closing.at)) as &[Option<Time>],
                    &holds.of(|it| it.closed.as_ref().map(|closing| closing.by.as_str())) as &[Option<&str>],
                    &holds.of(|it| it.closed.as_ref().map(|closing| closing.reason)) as &[Option<&str>],
                    &holds.of(|it| it.hold.owner.as_ref().map(Owner::as_str)) as &[Option<&str>],
                    &holds.of(|it| it.hold.details.level.as_str()) as &[&str],
                    &holds.of(|it| it.hold.has_begun),
                    &journal.of(|it| it.reseller.0),
                    &journal.of(|it| it.account.as_i32()),
                    &journal.of(|it| it.at),
                    &journal.of(|it| it.sequence) as &[Option<i64>],
                    &journal.of(|it| it.action) as &[&str],
                    &journal.of(|it| it.outcome.as_str()) as &[&str],
                    &journal.of(|it| it.refusal.as_deref()) as &[Option<&str>],
                    &events,
                    &journal.of(|it| it.authority.as_str()) as &[&str],
                    &journal.of(|it| it.actor.as_str()) as &[&str],
                    &journal.of(|it| it.token.map(|token| token.0)) as &[Option<i64>],
                    &journal.of(|it| it.dialect.as_str()) as &[&str],
                    &journal.of(|it| it.request_id.as_str()) as &[&str],
                    &journal.of(|it| json_of(&it.fields, |change| &change.before)),
                    &journal.of(|it| json_of(&it.fields, |change| &change.after)),
                    &resellers,
                    i64::try_from(changes.seen.len() + changes.accounts.len()).unwrap_or(i64::MAX),
                    $($argument),*
                )
                .fetch_one(self.connection())
                .await
            };
        }
        // Most batches write every account that they read, and replace no details of holds. They
        // use the shorter statement, because even an empty part costs as much as a row.
        let written = if changes.seen.is_empty() && changes.holds.replaced.is_empty() {
            record!(
                "src/store/accounts/sql/record_batch.sql",
                changes.unsuspended,
            )
        } else {
            record!(
                "src/store/accounts/sql/record_batch_full.sql",
                &seen.of(|(key, _)| key.0.0),
                &seen.of(|(key, _)| key.1.as_i32()),
                &seen.of(|(_, was)| *was),
                &replaced.of(|it| it.key.0.0),
                &replaced.of(|it| it.key.1.as_i32()),
                &replaced.of(|it| it.hold.0),
                &replaced.of(|it| it.revision),
                &replaced.of(|it| it.at),
                &replaced.of(|it| it.by.as_str()) as &[&str],
                &replaced.of(|it| it.details.reason_code.as_deref()) as &[Option<&str>],
                &replaced.of(|it| it.details.reason.as_deref()) as &[Option<&str>],
                &replaced.of(|it| it.details.public_message.as_deref()) as &[Option<&str>],
                &replaced.of(|it| url(&it.details)) as &[Option<&str>],
                &replaced.of(|it| it.details.starts_at) as &[Option<Time>],
                &replaced.of(|it| it.details.ends_at) as &[Option<Time>],
                &replaced.of(|it| it.details.level.as_str()) as &[&str],
                changes.unsuspended,
            )
        };
        match written {
            Ok(_) => Ok(true),
            Err(error) if is_stale(&error) => Ok(false),
            Err(error) => Err(error).or_domain(),
        }
    }
}

fn url(details: &HoldDetails) -> Option<&str> {
    details.payment_url.as_ref().map(PaymentUrl::as_str)
}
