//! What a batch changes of accounts that are there: their lifecycle, their holds and the journal, in one statement.
//!
//! One statement because every trip to the server costs as much as several rows do. Its parts run in an order that it
//! enforces: accounts first, whose rows lock out whoever wants the same, then holds, then the journal. Holds that were there
//! are written as if they were new, which finds them by their key whatever the planner believes: a join may begin with the
//! table when that was small once.

use std::collections::BTreeSet;

use super::holds::{HoldWrites, Touched};
use crate::domain::{Account, AccountId, Error, HoldDetails, PaymentUrl, ResellerId, Time};
use crate::store::columns::Columns;
use crate::store::errors::{OrDomain as _, is_stale};
use crate::store::journal::{NewJournalEntry, json_of};
use crate::store::transaction::Tx;

/// What is to be written.
#[derive(Debug)]
pub struct Changes<'a> {
    /// Accounts to be locked before anything is written, in the order of their keys, each with the version that it must still
    /// have. Needed where something was decided about an account that is not written: it must be true when it is committed.
    pub seen: &'a [((ResellerId, AccountId), i64)],
    /// Accounts whose lifecycle changed, in the order of their keys, each with the version that it must still have.
    pub accounts: &'a [(&'a Account, i64)],
    /// What happened to holds.
    pub holds: &'a HoldWrites,
    /// Entries of the journal, in order.
    pub journal: &'a [NewJournalEntry],
}

impl Tx {
    /// Writes changes; says whether every account still had its version. If not, nothing was written, and the transaction, if
    /// this is one, must be rolled back.
    ///
    /// Until this transaction ends, no other writes entries of these resellers: so the entries of one reseller become
    /// visible in the order of their ids, and whoever reads them by id skips none. (Ids alone do not give that: one
    /// transaction may draw an id before another and commit after it.) The locks are taken before the first id is drawn,
    /// and after those of the accounts.
    #[expect(
        clippy::too_many_lines,
        reason = "one statement, a line for each of its columns"
    )]
    pub async fn record_changes(&mut self, changes: &Changes<'_>) -> Result<bool, Error> {
        let (seen, accounts) = (Columns(changes.seen), Columns(changes.accounts));
        // Those that were there come first: one that is closed makes room for one that is opened.
        let (opened, known): (Vec<&Touched>, Vec<&Touched>) = changes
            .holds
            .touched
            .values()
            .partition(|touched| touched.is_new);
        let holds: Vec<&Touched> = known.into_iter().chain(opened).collect();
        let (holds, replaced) = (Columns(&holds), Columns(&changes.holds.replaced));
        let journal = Columns(changes.journal);
        let resellers: BTreeSet<i64> = changes
            .journal
            .iter()
            .map(|entry| entry.reseller.0)
            .collect();
        let resellers: Vec<i64> = resellers.into_iter().collect();
        // Arrays of arrays must be rectangular in PostgreSQL, so the events travel as one text each.
        let events = journal.of(|it| {
            it.events
                .iter()
                .map(|event| event.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        });
        // Hardly a batch has accounts that are only read, or replaces details: what is not there is not asked for, because to
        // begin with it costs as much as a row does.
        macro_rules! record {
            ($seen:tt, $behind_seen:tt, $replaced:tt, $and_seen:tt; $($argument:expr),* $(,)?) => {
                sqlx::query_scalar!(
                    "with " + $seen + "written as (
               update account a set status = n.status, status_set_at = n.status_set_at, expires_at = n.expires_at, expiry_set_at = n.expiry_set_at,
                 deleted_at = n.deleted_at, purge_at = n.purge_at, operator_released_at = n.operator_released_at, version = n.version,
                 updated_at = n.updated_at
               from unnest($1::bigint[], $2::integer[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
                 $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::timestamptz[], $12::bigint[])
                 as n(reseller_id, id, status, status_set_at, expires_at, expiry_set_at, deleted_at, purge_at, operator_released_at, version, updated_at,
                   was)
               where a.id = n.id and a.reseller_id is not distinct from n.reseller_id and a.version = n.was" + $behind_seen + "
               returning 1
             ), placed as (
               insert into hold as h (reseller_id, account_id, id, kind, authority, reason_code, reason, public_message, payment_url, starts_at, ends_at,
                 revision, opened_at, opened_by, closed_at, closed_by, close_reason)
               select n.* from unnest($13::bigint[], $14::integer[], $15::uuid[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::timestamptz[], $23::timestamptz[], $24::integer[], $25::timestamptz[], $26::text[], $27::timestamptz[], $28::text[], $29::text[]) as n
               where (select count(*) from written) >= 0
               on conflict on constraint hold_pkey do update set reason_code = excluded.reason_code, reason = excluded.reason,
                 public_message = excluded.public_message, payment_url = excluded.payment_url, starts_at = excluded.starts_at,
                 ends_at = excluded.ends_at, revision = excluded.revision, closed_at = excluded.closed_at, closed_by = excluded.closed_by,
                 close_reason = excluded.close_reason
             ), " + $replaced + "entered as (
               insert into journal (reseller_id, account_id, at, sequence, action, outcome, refusal, events, authority, actor, token_id, dialect,
                 request_id, before, after)
               select n.reseller_id, n.account_id, n.at, n.sequence, n.action, n.outcome, n.refusal, string_to_array(n.events, ' '), n.authority,
                 n.actor, n.token_id, n.dialect, n.request_id, n.before, n.after
               from unnest($30::bigint[], $31::integer[], $32::timestamptz[], $33::bigint[], $34::text[], $35::text[], $36::text[], $37::text[],
                 $38::text[], $39::text[], $40::bigint[], $41::text[], $42::text[], $43::jsonb[], $44::jsonb[])
                 with ordinality as n(reseller_id, account_id, at, sequence, action, outcome, refusal, events, authority, actor, token_id, dialect,
                   request_id, before, after, place)
               cross join (
                 select count(pg_advisory_xact_lock(id)) from (
                   select id from unnest($45::bigint[]) as r(id) where (select count(*) from written) >= 0 order by id) as r) as locked
               order by n.place
             )
             select require_rows(" + $and_seen + "(select count(*) from written), $46) as \"done!\"",
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
        let written = if changes.seen.is_empty() && changes.holds.replaced.is_empty() {
            record!("", "", "", "";)
        } else {
            record!(
                "seen as (
               select from unnest($47::bigint[], $48::integer[], $49::bigint[]) as n(reseller_id, id, was)
               cross join lateral (
                 select from account a where a.id = n.id and a.reseller_id is not distinct from n.reseller_id and a.version = n.was for no key update) as locked
             ), ",
                " and (select count(*) from seen) >= 0",
                "replaced as (
               insert into hold_revision (reseller_id, account_id, hold_id, revision, replaced_at, replaced_by, reason_code, reason, public_message,
                 payment_url, starts_at, ends_at)
               select n.* from unnest($50::bigint[], $51::integer[], $52::uuid[], $53::integer[], $54::timestamptz[], $55::text[], $56::text[],
                 $57::text[], $58::text[], $59::text[], $60::timestamptz[], $61::timestamptz[]) as n
             ), ",
                "(select count(*) from seen) + ";
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
