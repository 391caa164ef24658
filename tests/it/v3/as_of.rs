//! Accounts as of an earlier instant.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use steward::domain::AccountId;
use steward::store::{Store, Tenancy};

use crate::harness::App;
use crate::harness::app::pool_settings;
use crate::harness::v3::{V3, refused};

/// One or more changes of every kind: method, path below the account, body.
fn changes() -> Vec<(&'static str, &'static str, Value)> {
    let account = "";
    vec![
        (
            "POST",
            "/freeze",
            json!({"paymentUrl": "https://pay.example/1", "reason": "late", "publicMessage": "Pay."}),
        ),
        (
            "POST",
            "/freeze",
            json!({"paymentUrl": "https://pay.example/2", "endsAt": "2027-01-01T00:00:00Z"}),
        ),
        ("PUT", "/status", json!({"status": "inactive"})),
        (
            "PATCH",
            account,
            json!({"company": "Acme Ltd", "totalTrialExtensions": 3, "trialExpiresAt": "2026-05-01T00:00:00Z", "email": "new@example.com"}),
        ),
        (
            "POST",
            "/suspend",
            json!({"startsAt": "2026-03-01T15:30:00Z"}),
        ),
        ("POST", "/unfreeze", json!({})),
        (
            "PUT",
            "/expires-at",
            json!({"expiresAt": "2026-03-01T20:00:00Z"}),
        ),
        (
            "PUT",
            "/exempt-until",
            json!({"exemptUntil": "2026-03-01T22:00:00Z"}),
        ),
        ("POST", "/retain", json!({"reasonCode": "legal"})),
        ("PATCH", account, json!({"company": null, "region": "eu"})),
        ("POST", "/release", json!({})),
        ("PUT", "/status", json!({"status": "active"})),
        ("POST", "/freeze", json!({"reasonCode": "again"})),
        ("POST", "/unsuspend", json!({})),
        ("PUT", "/expires-at", json!({"expiresAt": null})),
    ]
}

#[tokio::test]
async fn an_account_can_be_read_as_of_any_instant() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let (id, other) = (client.account("a").await, client.account("b").await);
    let (path, holds) = (
        format!("/v3/accounts/{id}"),
        format!("/v3/accounts/{id}/holds"),
    );
    let mut seen = Vec::new();
    for (method, tail, body) in changes() {
        app.clock.advance(TimeDelta::minutes(50));
        assert_eq!(
            v3.call(method, &format!("{path}{tail}"), &body)
                .await
                .status,
            200,
            "{tail}"
        );
        app.clock.advance(TimeDelta::minutes(10));
        let at = app
            .service
            .now()
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        seen.push((
            at,
            v3.get(&path).await.ok(),
            v3.get(&holds).await.ok(),
            client.get(id).await,
        ));
    }
    app.clock.advance(TimeDelta::minutes(1));
    client.call("delete", json!({"id": id})).await.ok();
    for (at, account, holds_then, item) in &seen {
        assert_eq!(
            v3.get(&format!("{path}?asOf={at}")).await.ok(),
            *account,
            "at {at}"
        );
        assert_eq!(
            v3.get(&format!("{holds}?asOf={at}")).await.ok(),
            *holds_then,
            "at {at}"
        );
        assert_eq!(
            client
                .call("get", json!({"id": id, "as_of": at}))
                .await
                .ok()["data"],
            *item,
            "at {at}"
        );
        let listed = client.call("list", json!({"as_of": at})).await.ok();
        let listed = listed["data"].as_array().unwrap();
        let mut expected = item.clone();
        expected.as_object_mut().unwrap().remove("holds");
        assert_eq!((&listed[0], listed.len()), (&expected, 2), "at {at}");
    }
    // The account was deleted since, so the current list lacks it. The list of then has the same
    // pages.
    app.clock.advance(TimeDelta::hours(1));
    let listed = async |members: Value| {
        client.call("list", members).await.ok()["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(json!({})).await, [other]);
    assert_eq!(listed(json!({"as_of": app.service.now()})).await, [other]);
    assert_eq!(listed(json!({"as_of": seen[3].0, "limit": 1})).await, [id]);
    assert_eq!(
        listed(json!({"as_of": seen[3].0, "limit": 1, "from_id": id + 1})).await,
        [other]
    );

    let page = v3
        .get(&format!("/v3/accounts?asOf={}&limit=1", seen[3].0))
        .await;
    assert_eq!(page.json(), json!([seen[3].1]));
    let next = page
        .header("link")
        .split(['<', '>'])
        .nth(1)
        .unwrap()
        .to_owned();
    assert_eq!(v3.get(&next).await.ok()[0]["email"], "b@example.com");
    refused(
        &v3.get(&format!("/v3/accounts?asOf={}&page=1", seen[3].0))
            .await,
        400,
        "INVALID_REQUEST",
        "asOf: can be combined",
    );

    // Before its creation the account is not found. Invalid instants are refused.
    refused(
        &v3.get(&format!("{path}?asOf=2026-02-01T00:00:00Z")).await,
        404,
        "ACCOUNT_NOT_FOUND",
        "",
    );
    refused(
        &v3.get(&format!("{path}?asOf=2030-02-01T00:00:00Z")).await,
        400,
        "INVALID_REQUEST",
        "asOf: must not be in the future",
    );
    refused(
        &v3.get(&format!("{path}?asOf=yesterday")).await,
        400,
        "INVALID_REQUEST",
        "asOf: must be a date",
    );
    client
        .call("list", json!({"as_of": seen[0].0, "state": "frozen"}))
        .await
        .is_error(400, "Incorrect request: as_of: cannot be combined");

    // An instant before the oldest entry that the journal still has is refused.
    let superuser = app.database.superuser().await;
    sqlx::query("delete from journal where account_id = $1 and sequence <= 5")
        .bind(i32::try_from(id).unwrap())
        .execute(&superuser)
        .await
        .unwrap();
    assert_eq!(
        v3.get(&format!("{path}?asOf={}", seen[6].0)).await.ok(),
        seen[6].1
    );
    for (at, ..) in &seen[..3] {
        refused(
            &v3.get(&format!("{path}?asOf={at}")).await,
            400,
            "INVALID_REQUEST",
            "asOf: is earlier than the journal",
        );
    }
}

/// Adds journal entries to an account, as many changes would. Each has the fact of the entry before
/// it, so the first one has the values at the beginning.
async fn add_entries(app: &App, account: i64, count: i64) {
    let statement = format!(
        "with it as (select * from account where id = {account})
         insert into journal (reseller_id, account_id, at, sequence, action, outcome, events,
           authority, actor, dialect, request_id, before, after)
         select it.reseller_id, it.id, it.updated_at + n * interval '1 ms', it.version + n, 'save',
           'applied', array['account.updated'], 'reseller', 'test', 'admin', 'test',
           jsonb_build_object('company', 'company ' || n, 'region', 'region ' || n),
           jsonb_build_object('company', 'company ' || n + 1, 'region', 'region ' || n + 1)
         from it, generate_series(1, {count}) as n"
    );
    let version = format!(
        "update account set version = version + {count},
           profile = (profile::jsonb || '{{\"company\": \"now\", \"region\": \"now\"}}')::json where id = {account}"
    );
    let superuser = app.database.superuser().await;
    for statement in [statement, version] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&superuser)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn as_of_reads_as_many_rows_as_facts_changed_however_many_entries_there_are() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let store = Store::new(app.database.options(), &pool_settings());
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let mut rows = Vec::new();
    for count in [1, 20_000] {
        let id = client.account(&format!("a{count}")).await;
        let then = app.service.now();
        let at = then.to_rfc3339_opts(SecondsFormat::Micros, true);
        add_entries(&app, id, count).await;
        let account = AccountId::new(id).unwrap();
        let mut tx = store.begin_reading(&Tenancy::of(reseller)).await.unwrap();
        let mut facts: Vec<String> = tx
            .past_facts(&[(reseller, account)], then)
            .await
            .unwrap()
            .into_iter()
            .map(|fact| fact.fact)
            .collect();
        tx.rollback().await;
        facts.sort();
        rows.push(facts);
        app.clock.advance(TimeDelta::minutes(5));
        let account = v3.get(&format!("/v3/accounts/{id}?asOf={at}")).await.ok();
        assert_eq!(
            (&account["company"], &account["region"], &account["version"]),
            (&json!("company 1"), &json!("region 1"), &json!(1))
        );
    }
    assert_eq!(rows[0], ["company", "region"]);
    assert_eq!(rows[0], rows[1]);
}
