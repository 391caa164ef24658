//! Writes a group commit: the lifecycle of existing accounts, their holds and the journal. One
//! statement does it, because a round trip costs as much as writing several rows.
//!
//! The accounts come first, because the other parts read how many accounts were written:
//!
//! 1. Accounts. Their row locks keep other transactions out until the commit.
//! 2. The rows of `held`, by which lists find the holds.
//! 3. The journal. One advisory lock per reseller is taken before the first journal id is drawn,
//!    and is kept until the commit. So the entries of a reseller become visible in the order of
//!    their ids, and a reader that continues from the last id it read skips none. A suspension of a
//!    reseller takes the same lock. So `require_unsuspended`, which looks after the lock is taken,
//!    sees every suspension that was committed before this batch.
//!
//! There are three statements: for one account, for many, and for many of which some were only read.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use std::collections::BTreeSet;

use super::holds::{HeldRows, json_of_holds};
use crate::domain::{Account, AccountKey, Error, Time};
use crate::store::columns::{Columns, composite_type};
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
    /// The rows by which lists find the holds, also those of new accounts.
    pub held: HeldRows<'a>,
    /// Journal entries, in order.
    pub journal: &'a [NewJournalEntry],
}

/// The new values of an account's row.
#[derive(sqlx::Encode)]
struct AccountChange<'a> {
    reseller_id: i64,
    id: i32,
    was: i64,
    version: i64,
    updated_at: Time,
    status: &'a str,
    status_set_at: Time,
    expires_at: Option<Time>,
    expiry_set_at: Option<Time>,
    deleted_at: Option<Time>,
    purge_at: Option<Time>,
    operator_released_at: Option<Time>,
    holds: Option<String>,
}

impl<'a> AccountChange<'a> {
    fn new(account: &'a Account, was: i64) -> Result<Self, Error> {
        Ok(Self {
            reseller_id: account.reseller_id.0,
            id: account.id.as_i32(),
            was,
            version: account.version,
            updated_at: account.updated_at,
            status: account.status.as_str(),
            status_set_at: account.status_set_at,
            expires_at: account.expires_at,
            expiry_set_at: account.expiry_set_at,
            deleted_at: account.deleted_at,
            purge_at: account.purge_at,
            operator_released_at: account.operator_released_at,
            holds: json_of_holds(account)?,
        })
    }
}

/// A new row of the journal.
#[derive(sqlx::Encode)]
struct JournalRow<'a> {
    reseller_id: i64,
    account_id: i32,
    at: Time,
    sequence: Option<i64>,
    action: &'a str,
    outcome: &'a str,
    refusal: Option<&'a str>,
    events: Vec<&'static str>,
    authority: &'a str,
    actor: &'a str,
    token_id: Option<i64>,
    dialect: &'a str,
    request_id: &'a str,
    before: String,
    after: String,
}

impl<'a> From<&'a NewJournalEntry> for JournalRow<'a> {
    fn from(entry: &'a NewJournalEntry) -> Self {
        Self {
            reseller_id: entry.reseller.0,
            account_id: entry.account.as_i32(),
            at: entry.at,
            sequence: entry.sequence,
            action: entry.action,
            outcome: entry.outcome.as_str(),
            refusal: entry.refusal.as_deref(),
            events: entry.events.iter().map(|event| event.as_str()).collect(),
            authority: entry.authority.as_str(),
            actor: &entry.actor,
            token_id: entry.token.map(|token| token.0),
            dialect: entry.dialect.as_str(),
            request_id: &entry.request_id,
            before: json_of(&entry.fields, |change| &change.before).to_string(),
            after: json_of(&entry.fields, |change| &change.after).to_string(),
        }
    }
}

composite_type!(AccountChange, "account_change");
composite_type!(JournalRow, "journal_entry");

impl Tx {
    /// Writes a batch. Returns `false` if an account has another version, or if one of the resellers
    /// in `unsuspended` is suspended. The statement has then failed and wrote nothing, and an open transaction must be rolled back.
    pub async fn record_changes(&mut self, changes: &Changes<'_>) -> Result<bool, Error> {
        let accounts: Vec<AccountChange<'_>> = changes
            .accounts
            .iter()
            .map(|(account, was)| AccountChange::new(account, *was))
            .collect::<Result<_, _>>()?;
        let journal: Vec<JournalRow<'_>> = changes.journal.iter().map(JournalRow::from).collect();
        let is_small = changes.held.placed.len() <= 1 && changes.held.lifted.len() <= 1;
        let written = match (accounts.as_slice(), journal.as_slice()) {
            ([account], [entry]) if is_small && changes.seen.is_empty() => {
                self.record_one(changes, account, entry).await
            }
            _ => self.record_many(changes, &accounts, &journal).await,
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if is_stale(&error) => Ok(false),
            Err(error) => Err(error).or_domain(),
        }
    }

    async fn record_one(
        &mut self,
        changes: &Changes<'_>,
        account: &AccountChange<'_>,
        entry: &JournalRow<'_>,
    ) -> Result<(), sqlx::Error> {
        let placed = changes.held.placed.first();
        let lifted = changes.held.lifted.first();
        sqlx::query_file_scalar!(
            "src/store/accounts/sql/record_one.sql",
            account.reseller_id,
            account.id,
            account.was,
            account.version,
            account.updated_at,
            account.status,
            account.status_set_at,
            account.expires_at,
            account.expiry_set_at,
            account.deleted_at,
            account.purge_at,
            account.operator_released_at,
            account.holds.as_deref(),
            placed.map(|it| it.kind),
            placed.map(|it| it.authority),
            placed.map(|it| it.owner),
            placed.and_then(|it| it.level),
            placed.and_then(|it| it.starts_at),
            placed.and_then(|it| it.ends_at),
            placed.and_then(|it| it.has_begun),
            lifted.map(|it| it.kind),
            lifted.map(|it| it.authority),
            lifted.map(|it| it.owner),
            entry.at,
            entry.sequence,
            entry.action,
            entry.outcome,
            entry.refusal,
            &entry.events as &[&str],
            entry.authority,
            entry.actor,
            entry.token_id,
            entry.dialect,
            entry.request_id,
            entry.before,
            entry.after,
            changes.unsuspended,
        )
        .fetch_one(self.connection())
        .await
        .map(drop)
    }

    async fn record_many(
        &mut self,
        changes: &Changes<'_>,
        accounts: &[AccountChange<'_>],
        journal: &[JournalRow<'_>],
    ) -> Result<(), sqlx::Error> {
        let resellers: BTreeSet<i64> = journal.iter().map(|entry| entry.reseller_id).collect();
        let resellers: Vec<i64> = resellers.into_iter().collect();
        let expected = changes.seen.len() + changes.accounts.len();
        let expected = i64::try_from(expected).unwrap_or(i64::MAX);
        // Most batches write every account that they read. They use the shorter statement, because
        // even an empty part costs as much as a row.
        if changes.seen.is_empty() {
            return sqlx::query_file_scalar!(
                "src/store/accounts/sql/record_batch.sql",
                accounts as _,
                &changes.held.placed as _,
                &changes.held.lifted as _,
                journal as _,
                &resellers,
                changes.unsuspended,
                expected,
            )
            .fetch_one(self.connection())
            .await
            .map(drop);
        }
        let seen = Columns(changes.seen);
        sqlx::query_file_scalar!(
            "src/store/accounts/sql/record_batch_seen.sql",
            accounts as _,
            &changes.held.placed as _,
            &changes.held.lifted as _,
            journal as _,
            &resellers,
            changes.unsuspended,
            expected,
            &seen.of(|(key, _)| key.0.0),
            &seen.of(|(key, _)| key.1.as_i32()),
            &seen.of(|(_, was)| *was),
        )
        .fetch_one(self.connection())
        .await
        .map(drop)
    }
}
