//! The tables of docs/migrating.md: each row is sent to the service, and what happens must be what
//! the row says.

mod place;
mod table;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use steward::dialects::soap;

use crate::harness::App;
use place::{Outcome, Place};
use table::{How, Original, Row, Subject, rows};

type Problem = String;

/// The example bodies of the operations.
type Examples = HashMap<String, String>;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating.md");
    fs::read_to_string(path).unwrap()
}

async fn walk(original: Original) {
    let rows = rows(&document()).unwrap();
    let rows: Vec<Row> = rows
        .into_iter()
        .filter(|row| row.original == original)
        .collect();
    assert!(!rows.is_empty(), "no table for {original:?}");
    let (app, mut examples, mut problems) = (App::new().await, Examples::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        if let Subject::Operation(body) = &row.subject {
            examples.insert(row.operation.clone(), body.clone());
        }
        let place = Place::new(&app, number).await;
        if let Err(problem) = check(&place, row, &examples).await {
            problems.push(format!("{}: {problem}", row.place()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn the_rows_about_altcraft_are_true() {
    walk(Original::Altcraft).await;
}

#[tokio::test]
async fn the_rows_about_zoolz_are_true() {
    walk(Original::Zoolz).await;
}

#[tokio::test]
async fn the_rows_about_cryptlex_are_true() {
    walk(Original::Cryptlex).await;
}

/// Steward's own operations in the style of Zoolz.
const OWN_OF_SOAP: [&str; 3] = [
    "FreezeAccountUsingAccountID",
    "UnfreezeAccountUsingAccountID",
    "UpdateAccountStatusUsingAccountID",
];

/// The calls of Altcraft's documentation on accounts.
const CALLS_OF_ALTCRAFT: [&str; 7] = [
    "freeze",
    "unfreeze",
    "activate",
    "deactivate",
    "list/",
    "save",
    "delete",
];

/// The members of `save` in Altcraft's documentation, without those that all calls have.
const MEMBERS_OF_SAVE: [&str; 17] = [
    "id",
    "name",
    "title",
    "tz",
    "tariff",
    "web_version_policy",
    "account_postgresql",
    "account_cache_clickhouse",
    "external_data_connectors",
    "reports_day",
    "reports_hour",
    "force_2fa_auth",
    "enable_push",
    "custom_push_domain",
    "enable_smart_settings",
    "enable_pixel",
    "enable_track_email_replies",
];

#[test]
fn no_operation_of_an_original_is_left_out() {
    let rows = rows(&document()).unwrap();
    let has = |original, operation: &str, member: Option<&str>| {
        let mut rows = rows.iter().filter(|row| row.original == original);
        rows.any(|row| {
            let is_about_it = match (&row.subject, member) {
                (Subject::Operation(_), None) => true,
                (Subject::Member(name, _), Some(member)) => name == member,
                _ => false,
            };
            row.operation == operation && is_about_it
        })
    };
    for call in CALLS_OF_ALTCRAFT {
        assert!(has(Original::Altcraft, call, None), "{call}");
    }
    for member in MEMBERS_OF_SAVE {
        assert!(has(Original::Altcraft, "save", Some(member)), "{member}");
    }
    let operations = soap::OPERATIONS.iter().map(|operation| operation.name);
    for operation in operations.filter(|name| !OWN_OF_SOAP.contains(name)) {
        assert!(has(Original::Zoolz, operation, None), "{operation}");
    }
}

#[tokio::test]
async fn a_row_that_is_not_true_is_noticed() {
    let document = "## From Altcraft's API\n\n| original | here | how |\n| --- | --- | --- |\n\
        | `save` `{\"id\": {number}}` | | refused 400 |\n\
        | `save` `id = 2000000000` | | refused 400 |\n\
        | `save` `id = 2000000000` | | same |\n\
        | `save` `title = \"x\"` | | ignored |\n\
        | `save` `title = \"x\"` | `name` | mapped |\n\
        | `save` `title = \"x\"` | | mapped |\n\
        | `save` `enable_push = true` | | same |\n\
        | `save` `enable_push = true` | `pushes_enabled = false` | mapped |\n\
        | `save` `total_count = 7` | `-` | same |\n\
        | `save` `answer saved_id = \"x\"` | | same |\n\
        | `save` `answer id = 1` | | same |\n\
        | `save` `answer header ETag` | | same |\n\
        | `nothing` | `nothing/else` | mapped |\n\
        | `freeze` `id = 1` | | same |\n";
    let rows = rows(document).unwrap();
    assert_eq!(rows.len(), 14);
    let (app, mut examples) = (App::new().await, Examples::new());
    for (number, row) in rows.iter().enumerate() {
        if let Subject::Operation(body) = &row.subject {
            examples.insert(row.operation.clone(), body.clone());
        }
        let place = Place::new(&app, number).await;
        let checked = check(&place, row, &examples).await;
        assert!(checked.is_err(), "{}", row.place());
    }
}

/// Sends what the row is about, and compares.
async fn check(place: &Place, row: &Row, examples: &Examples) -> Result<(), Problem> {
    let example = examples.get(&row.operation);
    let example =
        example.ok_or("the row of the operation must stand before those of its members")?;
    let mut body = read(place, if example.is_empty() { "{}" } else { example })?;
    let (mut query, mut header) = (None, None);
    match &row.subject {
        Subject::Member(name, value) => body[name] = read(place, value)?,
        Subject::Query(name, value) => query = Some((name.as_str(), value.as_str())),
        Subject::Header(name, value) => header = Some((name.as_str(), value.as_str())),
        Subject::Answer(..) | Subject::AnswerHeader(_) if row.operation.contains("webhooks") => {
            place.add_endpoint().await;
        }
        Subject::Operation(_) | Subject::Answer(..) | Subject::AnswerHeader(_) => {}
    }
    let outcome = place
        .call(row.original, &row.operation, &body, query, header)
        .await;
    if let How::Refused(code) = &row.how {
        return check_refusal(&outcome, code);
    }
    if row.how == How::Mapped
        && matches!(row.subject, Subject::Operation(_))
        && outcome.refusal.is_some()
    {
        let (other, _) = row.target().ok_or("the row names no operation here")?;
        let outcome = place.call(row.original, other, &body, None, None).await;
        return succeeded(&outcome);
    }
    succeeded(&outcome)?;
    match &row.subject {
        Subject::Member(name, _) => check_member(place, row, name, &body[name], &outcome).await,
        Subject::Answer(path, example) => check_answer(&outcome, path, example),
        Subject::AnswerHeader(name) if outcome.answer.header(name).is_empty() => {
            Err("the answer has no such header".to_owned())
        }
        Subject::Operation(_)
        | Subject::Query(..)
        | Subject::Header(..)
        | Subject::AnswerHeader(_) => Ok(()),
    }
}

/// JSON with its placeholders replaced.
fn read(place: &Place, text: &str) -> Result<Value, Problem> {
    let filled = place.filled(text);
    serde_json::from_str(&filled).map_err(|error| format!("{filled}: {error}"))
}

fn succeeded(outcome: &Outcome) -> Result<(), Problem> {
    match &outcome.refusal {
        None => Ok(()),
        Some(code) => Err(format!("refused with {code}: {}", outcome.answer.body)),
    }
}

fn check_refusal(outcome: &Outcome, expected: &str) -> Result<(), Problem> {
    let answered = outcome.refusal.as_deref().unwrap_or("success");
    if answered.split(' ').any(|code| code == expected) {
        return Ok(());
    }
    Err(format!("{answered}: {}", outcome.answer.body))
}

/// Checks what became of a member of the request.
async fn check_member(
    place: &Place,
    row: &Row,
    name: &str,
    sent: &Value,
    outcome: &Outcome,
) -> Result<(), Problem> {
    let is_named = is_named_as_ignored(outcome, name);
    let account = place.account().await;
    let documents = [&outcome.document, &account[0], &account[1]];
    if row.how == How::Ignored {
        let found = documents.into_iter().find_map(|it| at(it, name));
        let is_read_only = row.operation.starts_with("PATCH ") && found.is_some();
        if found.is_some_and(|found| is_same(found, sent)) {
            return Err(format!("is kept: {found:?}"));
        }
        return if row.original == Original::Zoolz || is_named || is_read_only {
            Ok(())
        } else {
            Err("is not named as ignored".to_owned())
        };
    }
    if is_named {
        return Err("is named as ignored".to_owned());
    }
    if row.is_write_only() {
        return Ok(());
    }
    let (target, value) = match (&row.how, row.target()) {
        (How::Mapped, Some((target, value))) => (target, value),
        (How::Mapped, None) => return Err("the row names no member here".to_owned()),
        _ => (name, None),
    };
    let expected = value.map_or_else(|| Ok(sent.clone()), |value| read(place, value))?;
    let found: Vec<&Value> = documents.iter().filter_map(|it| at(it, target)).collect();
    if found.iter().any(|found| is_same(found, &expected)) {
        Ok(())
    } else {
        Err(format!("{target} is {found:?} instead of {expected}"))
    }
}

fn is_named_as_ignored(outcome: &Outcome, name: &str) -> bool {
    let header = outcome.answer.header("ignored-members");
    let listed = outcome.document["ignored"].as_array();
    header.split(", ").any(|ignored| ignored == name)
        || listed.is_some_and(|all| all.contains(&json!(name)))
}

fn check_answer(outcome: &Outcome, path: &str, example: &Value) -> Result<(), Problem> {
    let Some(found) = at(&outcome.document, path) else {
        return Err(format!("is not in {}", outcome.answer.body));
    };
    if has_type_of(found, example) {
        Ok(())
    } else {
        Err(format!("is {found}"))
    }
}

/// The value at a path such as `plan.name`. Of a list its first element is meant, and of Altcraft's
/// answers also their `data`.
fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let first = |value: &'a Value| match value.as_array() {
        Some(values) => values.first(),
        None => Some(value),
    };
    let below = |value: &'a Value| {
        let mut value = first(value)?;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            value = value.get(name)?;
            if names.peek().is_some() {
                value = first(value)?;
            }
        }
        Some(value)
    };
    below(document).or_else(|| below(document.get("data")?))
}

/// Whether two values are the same: as texts, because XML has nothing else, or as instants.
fn is_same(one: &Value, other: &Value) -> bool {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let (one, other) = (text(one), text(other));
    let instant = |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok();
    one == other || instant(&one).is_some_and(|at| Some(at) == instant(&other))
}

/// Whether a value has the JSON type of an example: in a list its elements, as far as there are any.
fn has_type_of(value: &Value, example: &Value) -> bool {
    match (value, example) {
        (Value::Array(values), Value::Array(examples)) => {
            let example = examples.first();
            example.is_none_or(|example| values.iter().all(|value| has_type_of(value, example)))
        }
        (Value::Number(value), Value::Number(example)) => value.is_i64() == example.is_i64(),
        _ => std::mem::discriminant(value) == std::mem::discriminant(example),
    }
}
