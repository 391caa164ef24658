//! The journal: every command on an account, who gave it, and its outcome.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::columns::account_id;
use super::errors::OrDomain as _;
use super::slice::{READ_AT_ONCE, Slice};
use super::transaction::Tx;
use crate::domain::{
    AccountId, Authority, Dialect, Error, Event, Fact, FieldChange, Outcome, ResellerId, Time,
    TokenId,
};

/// The most entries of an account that one statement looks at. It computes the sizes of all of them,
/// also of those that it then leaves out.
const STATEMENT: i64 = 100;

/// A journal entry to write.
#[derive(Debug, Clone)]
pub struct NewJournalEntry {
    /// The reseller of the account.
    pub reseller: ResellerId,
    /// The account.
    pub account: AccountId,
    /// When the command was decided.
    pub at: Time,
    /// The account's new version; `None` if nothing changed.
    pub sequence: Option<i64>,
    /// The command, as a verb.
    pub action: &'static str,
    /// Whether the command was applied, changed nothing, or was refused.
    pub outcome: Outcome,
    /// Why the command was refused, as a text for people; `None` if it was not.
    pub refusal: Option<String>,
    /// The events that webhooks deliver.
    pub events: Vec<Event>,
    /// The authority that the actor used.
    pub authority: Authority,
    /// The name of the actor, for people.
    pub actor: String,
    /// The credential of the request; `None` if the command came without one.
    pub token: Option<TokenId>,
    /// The API that the command came through.
    pub dialect: Dialect,
    /// The id of the request.
    pub request_id: String,
    /// The changed fields, before and after.
    pub fields: Vec<FieldChange>,
}

/// A journal entry that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalEntry {
    /// Its position in the journal. Later entries of a reseller have greater ids.
    pub id: i64,
    /// When the command was decided.
    pub at: Time,
    /// The account's new version; `None` if nothing changed.
    pub sequence: Option<i64>,
    /// The command, as a verb.
    pub action: String,
    /// `applied`, `unchanged` or `refused`.
    pub outcome: String,
    /// Why the command was refused, as a text for people; `None` if it was not.
    pub refusal: Option<String>,
    /// The events that webhooks deliver.
    pub events: Vec<String>,
    /// The authority that the actor used.
    pub authority: String,
    /// The name of the actor, for people.
    pub actor: String,
    /// The credential of the request; `None` if the command came without one.
    pub token: Option<TokenId>,
    /// The name of that credential. `None` if it has none, or if the transaction cannot see it.
    pub token_name: Option<String>,
    /// The API that the command came through.
    pub dialect: String,
    /// The id of the request.
    pub request_id: String,
    /// An object with the old values of the changed fields.
    pub before: Value,
    /// An object with the new values of the same fields.
    pub after: Value,
}

impl JournalEntry {
    /// Removes when and by whom the holds were opened, and their revisions. The journal has them only
    /// to restore an account at an earlier instant.
    fn leave_out_openings(&mut self) {
        for side in [&mut self.before, &mut self.after] {
            let members = side.as_object_mut().into_iter().flatten();
            let holds = members.filter(|(name, _)| name.contains(':'));
            for hold in holds.filter_map(|(_, hold)| hold.as_object_mut()) {
                for name in ["opened_at", "opened_by", "revision"] {
                    hold.remove(name);
                }
            }
        }
    }

    /// Removes the internal reasons of holds that somebody other than the reseller placed.
    pub fn hide_reasons_of_others(&mut self) {
        for side in [&mut self.before, &mut self.after] {
            let members = side.as_object_mut().into_iter().flatten();
            for hold in members
                .filter(|(name, _)| name.contains(':') && !name.ends_with(":reseller"))
                .filter_map(|(_, hold)| hold.as_object_mut())
            {
                hold.remove("reason");
            }
        }
    }
}

/// Restricts which applied entries are listed.
#[derive(Debug, Clone)]
pub struct ChangeFilter {
    /// Only entries with this id or a greater one.
    pub from: i64,
    /// Only entries with smaller ids.
    pub before: i64,
    /// Only entries whose command or actor contains this text, in any case.
    pub text: Option<String>,
}

/// A journal entry with its account.
struct EventRow {
    account_id: i32,
    id: i64,
    at: Time,
    sequence: Option<i64>,
    action: String,
    outcome: String,
    refusal: Option<String>,
    events: Vec<String>,
    authority: String,
    actor: String,
    token_id: Option<i64>,
    token_name: Option<String>,
    dialect: String,
    request_id: String,
    before: Value,
    after: Value,
    /// About how many bytes the row has, where the statement counts them; else 0.
    size: i64,
}

/// How many rows there are, and their sizes together.
fn sizes(rows: &[EventRow]) -> (i64, i64) {
    let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    (found, rows.iter().map(|row| row.size).sum())
}

/// The rows that one statement found. More may follow if they are as many, or as large, as it may
/// find.
fn page(rows: Vec<EventRow>, limit: i64) -> Result<Slice<(AccountId, JournalEntry)>, Error> {
    let (found, sizes) = sizes(&rows);
    Ok(Slice {
        has_more: found == limit || sizes >= READ_AT_ONCE,
        rows: rows
            .into_iter()
            .map(TryFrom::try_from)
            .collect::<Result<_, _>>()?,
    })
}

impl TryFrom<EventRow> for (AccountId, JournalEntry) {
    type Error = Error;

    fn try_from(row: EventRow) -> Result<Self, Error> {
        let mut entry = JournalEntry {
            id: row.id,
            at: row.at,
            sequence: row.sequence,
            action: row.action,
            outcome: row.outcome,
            refusal: row.refusal,
            events: row.events,
            authority: row.authority,
            actor: row.actor,
            token: row.token_id.map(TokenId),
            token_name: row.token_name,
            dialect: row.dialect,
            request_id: row.request_id,
            before: row.before,
            after: row.after,
        };
        entry.leave_out_openings();
        Ok((account_id(row.account_id)?, entry))
    }
}

impl Tx {
    /// The entries of an account, newest first, with ids below `before`; `None` begins with the
    /// newest.
    pub async fn list_journal(
        &mut self,
        reseller: ResellerId,
        account: AccountId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Slice<JournalEntry>, Error> {
        let (mut entries, mut before) = (Vec::new(), before.unwrap_or(i64::MAX));
        let (mut left, mut budget) = (limit, READ_AT_ONCE);
        loop {
            let wanted = left.min(STATEMENT);
            let rows = sqlx::query_file_as!(
                EventRow,
                "src/store/sql/list_journal.sql",
                reseller.0,
                account.as_i32(),
                before,
                wanted,
                budget
            )
            .fetch_all(self.connection())
            .await
            .or_domain()?;
            let (found, sizes) = sizes(&rows);
            (left, budget) = (left - found, budget - sizes);
            before = rows.last().map_or(before, |row| row.id);
            for row in rows {
                entries.push(<(AccountId, JournalEntry)>::try_from(row)?.1);
            }
            if found < wanted || left <= 0 || budget <= 0 {
                return Ok(Slice {
                    rows: entries,
                    has_more: left <= 0 || budget <= 0,
                });
            }
        }
    }

    /// How many applied entries of a reseller a filter admits. Counting stops at `most`.
    pub async fn count_changes(
        &mut self,
        reseller: ResellerId,
        filter: &ChangeFilter,
        most: i64,
    ) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from (select from journal
             where reseller_id = $1 and outcome = 'applied' and id >= $2 and id < $3
               and ($4::text is null
                 or position(lower($4) in lower(concat_ws(' ', action, actor))) > 0)
             limit $5) as found"#,
            reseller.0,
            filter.from,
            filter.before,
            filter.text,
            most
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The id of a reseller's applied entry that has `newer` newer ones. `None` if there are fewer.
    pub async fn change_with_newer(
        &mut self,
        reseller: ResellerId,
        newer: i64,
    ) -> Result<Option<i64>, Error> {
        sqlx::query_scalar!(
            "select id from journal where reseller_id = $1 and outcome = 'applied'
             order by id desc limit 1 offset $2",
            reseller.0,
            newer
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()
    }

    /// The applied entries of a reseller that a filter admits, newest first.
    pub async fn list_changes(
        &mut self,
        reseller: ResellerId,
        filter: &ChangeFilter,
        skip: i64,
        limit: i64,
    ) -> Result<Slice<(AccountId, JournalEntry)>, Error> {
        let rows = sqlx::query_file_as!(
            EventRow,
            "src/store/sql/list_changes.sql",
            reseller.0,
            filter.from,
            filter.before,
            filter.text,
            limit,
            skip,
            READ_AT_ONCE
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        page(rows, limit)
    }

    /// The UUIDs of accounts of a reseller, also of purged ones, and when they were created.
    pub async fn fetch_account_names(
        &mut self,
        reseller: ResellerId,
        accounts: &[AccountId],
    ) -> Result<HashMap<AccountId, (Uuid, Time)>, Error> {
        let ids: Vec<i32> = accounts.iter().map(|id| id.as_i32()).collect();
        let rows = sqlx::query!(
            r#"select id as "id!", uid as "uid!", created_at as "created_at!" from account
               where reseller_id = $1 and id = any($2)
             union all select account_id, uid, created_at from tombstone
               where reseller_id = $1 and account_id = any($2)"#,
            reseller.0,
            &ids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| Ok((account_id(row.id)?, (row.uid, row.created_at))))
            .collect()
    }

    /// The applied entries of a reseller after an entry, in order.
    pub async fn list_events(
        &mut self,
        reseller: ResellerId,
        after: i64,
        limit: i64,
    ) -> Result<Slice<(AccountId, JournalEntry)>, Error> {
        let rows = sqlx::query_file_as!(
            EventRow,
            "src/store/sql/list_events.sql",
            reseller.0,
            after,
            limit,
            READ_AT_ONCE
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        page(rows, limit)
    }

    /// The entries of a reseller with these accounts, ids and times, in order.
    pub async fn fetch_events(
        &mut self,
        reseller: ResellerId,
        accounts: &[i32],
        ids: &[i64],
        times: &[Time],
    ) -> Result<Vec<(AccountId, JournalEntry)>, Error> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"select j.account_id, j.id, j.at, j.sequence, j.action, j.outcome, j.refusal, j.events,
               j.authority, j.actor, j.token_id, (
                 select t.name from api_token t
                 where t.id = j.token_id and (t.reseller_id = $1 or t.reseller_id = 0)) as token_name,
               j.dialect, j.request_id, j.before, j.after, 0::bigint as "size!"
             from unnest($2::integer[], $3::bigint[], $4::timestamptz[]) as w(account_id, id, at)
             cross join lateral (select * from journal where reseller_id = $1
               and account_id = w.account_id and id = w.id and at = w.at) as j
             order by j.id"#,
            reseller.0,
            accounts,
            ids,
            times
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    /// The id of the latest applied entry of a reseller; 0 if there is none.
    pub async fn latest_event(&mut self, reseller: ResellerId) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select coalesce(max(id), 0) as "id!" from journal
               where reseller_id = $1 and outcome = 'applied'"#,
            reseller.0
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Drops the partitions of the days before `before`, oldest first, and stops at the first one
    /// with events that are not delivered. Returns how many it dropped.
    ///
    /// # Errors
    /// [`Error::Unavailable`] also if other transactions keep the partition locked for too long.
    pub async fn drop_journal(&mut self, before: NaiveDate) -> Result<i32, Error> {
        sqlx::query_scalar!(r#"select drop_journal($1) as "dropped!""#, before)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }

    /// Creates the missing partitions for `days` days from `first` on. Returns how many it created.
    pub async fn prepare_journal(&mut self, first: NaiveDate, days: i32) -> Result<i32, Error> {
        sqlx::query_scalar!(r#"select prepare_journal($1, $2) as "made!""#, first, days)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }
}

/// One side of the changed fields as a JSON object. A field occurs twice if a hold had lapsed and a
/// new one took its place; null then does not overwrite the hold.
pub(super) fn json_of(fields: &[FieldChange], side: fn(&FieldChange) -> &Fact) -> Value {
    let mut members = Map::new();
    for change in fields {
        let value = value_of(side(change));
        let erases = members
            .get(change.field.as_ref())
            .is_some_and(|known: &Value| !known.is_null())
            && value.is_null();
        if !erases {
            members.insert(change.field.clone().into_owned(), value);
        }
    }
    Value::Object(members)
}

fn value_of(fact: &Fact) -> Value {
    match fact {
        Fact::Null => Value::Null,
        Fact::Bool(on) => Value::Bool(*on),
        Fact::Number(number) => Value::from(*number),
        Fact::Text(text) => Value::String(text.clone()),
        Fact::Time(time) => {
            Value::String(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        }
        Fact::Texts(texts) => Value::Object(
            texts
                .iter()
                .map(|(name, text)| (name.clone(), Value::String(text.clone())))
                .collect(),
        ),
        Fact::Object(facts) => Value::Object(
            facts
                .iter()
                .map(|(name, fact)| ((*name).to_owned(), value_of(fact)))
                .collect(),
        ),
    }
}
