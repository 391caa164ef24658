//! Journal entries in the words of this dialect: the members of the account document, and the actor
//! as an object. The journal itself has the domain's names, so entries of any age read the same.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::codes::member;
use crate::dialects::dates;
use crate::domain::Time;
use crate::service::JournalEntry;

/// The facts that are texts of Cryptlex's account. One that is not known is empty there.
const TEXTS: &[&str] = &[
    "company",
    "email",
    "admin_portal_domain",
    "customer_portal_domain",
    "reseller_portal_domain",
    "website",
    "logo_url",
    "favicon_url",
    "google_client_id",
    "company_id",
    "account_alias",
    "region",
    "payment_method",
    "psp",
];

/// Who made a change.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Actor)]
pub(super) struct ActorDocument {
    /// `token`, `subject` (of a JSON Web Token), `command_line`, `bulk_job`, `release_ticket`,
    /// `system` (background jobs) or `other`.
    kind: &'static str,
    /// The authority that the actor used: `operator`, `reseller` or `system`.
    authority: String,
    /// The text for people, such as `reseller 1, token 2`.
    name: String,
    /// The number of the token. Null if the actor used none.
    token_id: Option<i64>,
    /// The name of the token. Null if it has none, or if the caller cannot see it.
    token_name: Option<String>,
    /// The subject of the JSON Web Token. Null if the actor used none.
    subject: Option<String>,
}

/// The actor of an entry.
pub(super) fn actor(entry: &JournalEntry) -> ActorDocument {
    let name = entry.actor.as_str();
    // `reseller 1, token 2`, `operator, subject jo`, `reseller 1, token 2, bulk job ...`
    let (who, is_bulk) = match name.rsplit_once(", bulk job ") {
        // Otherwise the words are part of a subject, which stands in quotes.
        Some((who, job)) if !job.contains('"') => (who, true),
        _ => (name, false),
    };
    let with = who.split_once(", ").map_or("", |(_, with)| with);
    let token_id = entry
        .token
        .map(|token| token.0)
        .or_else(|| with.strip_prefix("token ")?.parse().ok());
    let subject = with.strip_prefix("subject ").filter(|_| token_id.is_none());
    // One with a comma stands in quotes.
    let subject = subject.map(|text| {
        let quoted = Some(text).filter(|text| text.contains(','));
        let unquoted = quoted.and_then(|text| serde_json::from_str(text).ok());
        unquoted.unwrap_or_else(|| text.to_owned())
    });
    let kind = if is_bulk {
        "bulk_job"
    } else if token_id.is_some() {
        "token"
    } else if subject.is_some() {
        "subject"
    } else if with.starts_with("command line") {
        "command_line"
    } else if name.starts_with("release ticket") {
        "release_ticket"
    } else if entry.authority == "system" {
        "system"
    } else {
        "other"
    };
    ActorDocument {
        kind,
        authority: entry.authority.clone(),
        name: name.to_owned(),
        token_id,
        token_name: entry.token_name.clone(),
        subject,
    }
}

/// One side of an entry: its facts as members of the account document, with the same values for what
/// is not known. The holds that it changed are in `holds`. `created_at` is when the account was
/// created.
pub(super) fn facts(side: &Value, created_at: Time) -> Map<String, Value> {
    let (mut facts, mut holds) = (Map::new(), None);
    for (name, value) in side.as_object().into_iter().flatten() {
        if let Some((kind, holder)) = name.split_once(':') {
            let holds: &mut Vec<Value> = holds.get_or_insert_default();
            holds.extend(value.as_object().map(|details| hold(kind, holder, details)));
        } else if name != "effective_at" {
            // That is no member of the account; events have it as a member of their own.
            let known = Some(value.clone()).filter(|value| !value.is_null());
            let value = known.unwrap_or_else(|| unknown(name, created_at));
            facts.insert(fact_name(name), value);
        }
    }
    if let Some(holds) = holds {
        facts.insert("holds".to_owned(), Value::Array(holds));
    }
    facts
}

/// The value of a member of the account document whose fact is null.
fn unknown(fact: &str, created_at: Time) -> Value {
    match fact {
        "total_trial_extensions" => Value::from(0),
        "created_at" | "trial_expires_at" => Value::from(dates::write(created_at)),
        text if TEXTS.contains(&text) => Value::from(""),
        _ => Value::Null,
    }
}

/// A hold as the account document names its members. `holder` is the authority, and behind a colon
/// the owner if there is one. The journal leaves out the level of a block, and names as scheduled a
/// hold that has not begun.
fn hold(kind: &str, holder: &str, details: &Map<String, Value>) -> Value {
    let (authority, owner) = match holder.split_once(':') {
        Some((authority, owner)) => (authority, Value::from(owner)),
        None => (holder, Value::Null),
    };
    let level = details.get("level").cloned();
    let known = [
        ("kind", Value::from(kind)),
        ("authority", Value::from(authority)),
        ("owner", owner),
        ("level", level.unwrap_or_else(|| Value::from("block"))),
    ];
    let known = known.map(|(name, value)| (name.to_owned(), value));
    let details =
        details
            .iter()
            .filter(|(name, _)| *name != "level")
            .map(|(name, value)| match name.as_str() {
                "scheduled" => ("inForce".to_owned(), Value::Bool(false)),
                name => (member(name), value.clone()),
            });
    let (id, rest): (Vec<_>, Vec<_>) = details.partition(|(name, _)| name == "id");
    Value::Object(id.into_iter().chain(known).chain(rest).collect())
}

/// The member of the account document that shows a fact of the journal.
fn fact_name(fact: &str) -> String {
    match fact {
        "uid" => "id".to_owned(),
        "id" => "number".to_owned(),
        other => member(other),
    }
}

/// The changed members, each with its old and new value, those that have no old one last.
/// `created_at` is when the account was created.
pub(super) fn sides(
    entry: &JournalEntry,
    created_at: Time,
) -> impl Iterator<Item = (String, Value, Value)> {
    let mut before = facts(&entry.before, created_at);
    let mut after = facts(&entry.after, created_at);
    let mut names: Vec<String> = before.keys().cloned().collect();
    names.extend(
        after
            .keys()
            .filter(|name| !before.contains_key(*name))
            .cloned(),
    );
    names.into_iter().map(move |name| {
        let old = before.remove(&name).unwrap_or_default();
        let new = after.remove(&name).unwrap_or_default();
        (name, old, new)
    })
}

/// The changed members as an object, each with its `old` and `new` value.
pub(super) fn changes(entry: &JournalEntry, created_at: Time) -> Value {
    let change = |(name, old, new)| (name, json!({ "old": old, "new": new }));
    Value::Object(sides(entry, created_at).map(change).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenId;

    fn entry(actor: &str, authority: &str, token: Option<i64>) -> JournalEntry {
        JournalEntry {
            id: 1,
            at: chrono::DateTime::default(),
            sequence: Some(1),
            action: "freeze".to_owned(),
            outcome: "applied".to_owned(),
            refusal: None,
            events: Vec::new(),
            authority: authority.to_owned(),
            actor: actor.to_owned(),
            token: token.map(TokenId),
            token_name: None,
            dialect: "v3".to_owned(),
            request_id: "r".to_owned(),
            before: json!({"freeze:reseller": null, "purge_due_at": null}),
            after: json!({
                "freeze:reseller": {"reason_code": "r", "id": "x", "payment_url": "https://a.example"},
                "purge_due_at": "2026-01-01T00:00:00Z",
            }),
        }
    }

    #[test]
    fn actors_of_every_kind_are_read_also_from_old_entries() {
        let read = |name, authority, token| {
            let actor = actor(&entry(name, authority, token));
            assert_eq!(
                (actor.name.as_str(), actor.authority.as_str()),
                (name, authority)
            );
            (actor.kind, actor.token_id, actor.subject)
        };
        let subject = Some("backend, token 7".to_owned());
        for (name, authority, token, expected) in [
            (
                "reseller 1, token 2",
                "reseller",
                Some(2),
                ("token", Some(2), None),
            ),
            (
                "operator, token 3",
                "operator",
                None,
                ("token", Some(3), None),
            ),
            (
                "reseller 1, subject backend, token 7",
                "reseller",
                None,
                ("subject", None, subject),
            ),
            (
                "operator, command line",
                "operator",
                None,
                ("command_line", None, None),
            ),
            (
                "reseller 1, token 2, bulk job 0-1",
                "reseller",
                None,
                ("bulk_job", Some(2), None),
            ),
            (
                "release ticket of hold 0-1",
                "reseller",
                None,
                ("release_ticket", None, None),
            ),
            ("steward", "system", None, ("system", None, None)),
            ("somebody", "reseller", None, ("other", None, None)),
        ] {
            assert_eq!(read(name, authority, token), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_has_the_value_that_the_account_document_shows() {
        let side = json!({"company": null, "trial_expires_at": null,
            "total_trial_extensions": null, "expires_at": null, "email": "jo@example.com"});
        let expected = json!({"company": "", "trialExpiresAt": "1970-01-01T00:00:00Z",
            "totalTrialExtensions": 0, "expiresAt": null, "email": "jo@example.com"});
        let facts = facts(&side, chrono::DateTime::default());
        assert_eq!(Value::Object(facts), expected);
    }

    #[test]
    fn changes_have_the_names_of_the_account_document() {
        let hold = json!({
            "id": "x", "kind": "freeze", "authority": "reseller", "owner": null, "level": "block",
            "reasonCode": "r",
            "paymentUrl": "https://a.example",
        });
        let expected = json!({
            "holds": {"old": [], "new": [hold]},
            "purgeDueAt": {"old": null, "new": "2026-01-01T00:00:00Z"},
        });
        let created_at = chrono::DateTime::default();
        let changes = changes(&entry("steward", "system", None), created_at);
        assert_eq!(changes, expected);
    }
}
