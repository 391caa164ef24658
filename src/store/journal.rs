//! The journal: what was asked of an account, by whom, and what became of it.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::errors::OrDomain as _;
use super::transaction::Tx;
use crate::domain::{
    AccountId, Authority, Dialect, Error, Event, Fact, FieldChange, Outcome, ResellerId, Time,
    TokenId,
};

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewJournalEntry {
    /// Whose account.
    pub reseller: ResellerId,
    /// Which account.
    pub account: AccountId,
    /// When.
    pub at: Time,
    /// The account's version after it, where anything changed.
    pub sequence: Option<i64>,
    /// The verb.
    pub action: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was refused, for people.
    pub refusal: Option<String>,
    /// What happened, for subscribers.
    pub events: Vec<Event>,
    /// On whose authority.
    pub authority: Authority,
    /// Who, for people.
    pub actor: String,
    /// By which credential.
    pub token: Option<TokenId>,
    /// Through which door.
    pub dialect: Dialect,
    /// In which request.
    pub request_id: String,
    /// The facts that differ.
    pub fields: Vec<FieldChange>,
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalEntry {
    /// Its place in the journal; grows with time.
    pub id: i64,
    /// When.
    pub at: Time,
    /// The account's version after it, where anything changed.
    pub sequence: Option<i64>,
    /// The verb.
    pub action: String,
    /// `applied`, `unchanged` or `refused`.
    pub outcome: String,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The finer events.
    pub events: Vec<String>,
    /// On whose authority.
    pub authority: String,
    /// Who.
    pub actor: String,
    /// Through which door.
    pub dialect: String,
    /// In which request.
    pub request_id: String,
    /// The facts that differ, before ...
    pub before: Value,
    /// ... and after.
    pub after: Value,
}

impl JournalEntry {
    /// Takes the internal reasons out of holds that are not the reseller's own.
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

/// An event with its account, of a row that has all columns.
macro_rules! event_of {
    ($row:ident) => {{
        let entry = JournalEntry {
            id: $row.id,
            at: $row.at,
            sequence: $row.sequence,
            action: $row.action,
            outcome: $row.outcome,
            refusal: $row.refusal,
            events: $row.events,
            authority: $row.authority,
            actor: $row.actor,
            dialect: $row.dialect,
            request_id: $row.request_id,
            before: $row.before,
            after: $row.after,
        };
        AccountId::new(i64::from($row.account_id)).map(|account| (account, entry))
    }};
}

impl Tx {
    /// The entries of an account, newest first, older than `before` where it is given.
    pub async fn list_journal(
        &mut self,
        reseller: ResellerId,
        account: AccountId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<JournalEntry>, Error> {
        sqlx::query_as!(
            JournalEntry,
            "select id, at, sequence, action, outcome, refusal, events, authority, actor, dialect, request_id, before, after
             from journal where reseller_id = $1 and account_id = $2 and id < $3 order by id desc limit $4",
            reseller.0,
            account.as_i32(),
            before.unwrap_or(i64::MAX),
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// The events of a reseller behind an entry, in order.
    pub async fn list_events(
        &mut self,
        reseller: ResellerId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(AccountId, JournalEntry)>, Error> {
        let rows = sqlx::query!(
            "select account_id, id, at, sequence, action, outcome, refusal, events, authority, actor, dialect, request_id, before, after
             from journal where reseller_id = $1 and id > $2 and outcome = 'applied' order by id limit $3",
            reseller.0,
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter().map(|row| event_of!(row)).collect()
    }

    /// The events of a reseller with these ids and times, in order.
    pub async fn fetch_events(
        &mut self,
        reseller: ResellerId,
        accounts: &[i32],
        ids: &[i64],
        times: &[Time],
    ) -> Result<Vec<(AccountId, JournalEntry)>, Error> {
        let rows = sqlx::query!(
            "select j.account_id, j.id, j.at, j.sequence, j.action, j.outcome, j.refusal, j.events, j.authority, j.actor, j.dialect, j.request_id, j.before, j.after
             from unnest($2::integer[], $3::bigint[], $4::timestamptz[]) as w(account_id, id, at)
             cross join lateral (select * from journal where reseller_id = $1 and account_id = w.account_id and id = w.id and at = w.at) as j
             order by j.id",
            reseller.0,
            accounts,
            ids,
            times
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter().map(|row| event_of!(row)).collect()
    }

    /// The id of the latest event of a reseller; 0 if there is none.
    pub async fn latest_event(&mut self, reseller: ResellerId) -> Result<i64, Error> {
        sqlx::query_scalar!(r#"select coalesce(max(id), 0) as "id!" from journal where reseller_id = $1 and outcome = 'applied'"#, reseller.0)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }

    /// Drops the days of the journal before one, as far as everything in them was delivered; says how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`] also when the journal was in use for too long.
    pub async fn drop_journal(&mut self, before: NaiveDate) -> Result<i32, Error> {
        sqlx::query_scalar!(r#"select drop_journal($1) as "dropped!""#, before)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }

    /// Makes the partitions of `days` days from `first` on, where they are missing; says how many were made.
    pub async fn prepare_journal(&mut self, first: NaiveDate, days: i32) -> Result<i32, Error> {
        sqlx::query_scalar!(r#"select prepare_journal($1, $2) as "made!""#, first, days)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }
}

/// The facts of one side. Where a field stands twice (a lapsed hold that was replaced), the earlier "before" and the
/// later "after" are kept.
pub(super) fn json_of(fields: &[FieldChange], side: fn(&FieldChange) -> &Fact) -> Value {
    let mut members = Map::new();
    for change in fields {
        let value = value_of(side(change));
        let keep = members
            .get(change.field)
            .is_some_and(|known: &Value| !known.is_null())
            && value.is_null();
        if !keep {
            members.insert(change.field.to_owned(), value);
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
        Fact::Object(facts) => Value::Object(
            facts
                .iter()
                .map(|(name, fact)| ((*name).to_owned(), value_of(fact)))
                .collect(),
        ),
    }
}
