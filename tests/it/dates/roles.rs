//! A date alone as an end, a begin, an instant in the past, and in filters.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use steward::service::ResellerPatch;

use crate::harness::App;
use crate::harness::app::Client;
use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};

/// A client of a reseller in Berlin. Tests begin at 2026-03-01T12:00:00Z, one o'clock there.
async fn in_berlin(app: &App) -> Client {
    let patch = ResellerPatch {
        timezone: Some("Europe/Berlin".to_owned()),
        ..ResellerPatch::default()
    };
    let reseller = app.reseller_with("Berlin", patch).await;
    app.client(&app.token(Some(reseller), None).await)
}

#[tokio::test]
async fn a_day_begins_with_its_first_second_and_ends_with_its_last() {
    let app = App::new().await;
    let client = in_berlin(&app).await;
    let (v3, id) = (V3::of(&client), client.account("jo").await);
    let path = format!("/v3/accounts/{id}");
    let body = json!({"startsAt": "2026-03-01", "endsAt": "2026-03-02"});
    let account = v3
        .call("POST", &format!("{path}/suspend"), &body)
        .await
        .ok();
    let hold = &account["holds"][0];
    assert_eq!(
        (&hold["startsAt"], &hold["endsAt"]),
        (
            &json!("2026-02-28T23:00:00Z"),
            &json!("2026-03-02T22:59:59Z")
        )
    );
    assert_eq!(
        account["effectiveStatus"], "suspended:reseller",
        "it began today"
    );

    let body = json!({"expiresAt": "2026-03-29", "trialExpiresAt": "2026-03-28"});
    let account = v3.call("PATCH", &path, &body).await.ok();
    assert_eq!(
        (&account["expiresAt"], &account["trialExpiresAt"]),
        (
            &json!("2026-03-29T21:59:59Z"),
            &json!("2026-03-28T22:59:59Z")
        )
    );
    let body = json!({"exemptUntil": "2026-03-01"});
    let account = v3.call("PUT", &format!("{path}/exempt-until"), &body).await;
    assert_eq!(account.ok()["exemptUntil"], "2026-03-01T22:59:59Z");
    for (written, kept) in [
        ("2026-12-31T24:00:00", "2026-12-31T23:00:00Z"),
        ("2026-12-31Z", "2026-12-31T23:59:59Z"),
        ("2026-12-31-05:00", "2027-01-01T04:59:59Z"),
        ("2026-12-31T24:00:00+00:00", "2027-01-01T00:00:00Z"),
    ] {
        let body = json!({ "expiresAt": written });
        let answer = v3.call("PUT", &format!("{path}/expires-at"), &body).await;
        assert_eq!(answer.ok()["expiresAt"], kept, "{written}");
        let children = format!("<accountID>{id}</accountID><expiryDate>{written}</expiryDate>");
        let soap = Soap::of(&client);
        let (code, _, _) = soap
            .call("ChangeAccountExpiryDateUsingAccountID", &children)
            .await;
        assert_eq!(code, "Success", "{written}");
        assert_eq!(client.get(id).await["expires_at"], kept, "{written}");
    }
}

#[tokio::test]
async fn as_of_today_is_now_and_as_of_a_past_day_is_its_end() {
    let app = App::new().await;
    let client = in_berlin(&app).await;
    let (v3, id) = (V3::of(&client), client.account("jo").await);
    let path = format!("/v3/accounts/{id}");
    for day in ["first", "second"] {
        app.clock.advance(chrono::TimeDelta::hours(5));
        let body = json!({ "company": day });
        v3.call("PATCH", &path, &body).await.ok();
        app.clock.advance(chrono::TimeDelta::hours(19));
    }
    // It is 13:00 on 3 March in Berlin.
    // Where there is none, `v3` answers an empty text, and `admin` null.
    let company = |account: Value| account["company"].as_str().unwrap_or_default().to_owned();
    for (as_of, expected) in [
        ("2026-03-03", "second"),
        ("2026-03-02", "second"),
        ("2026-03-01", "first"),
        ("2026-03-01T17:59:59", ""),
        ("2026-03-01T18:00:00", "first"),
    ] {
        let one = v3.get(&format!("{path}?asOf={as_of}")).await.ok();
        let list = v3.get(&format!("/v3/accounts?asOf={as_of}")).await.ok();
        let admin = client
            .call("get", json!({"id": id, "as_of": as_of}))
            .await
            .ok();
        let admin_list = client.call("list", json!({ "as_of": as_of })).await.ok();
        for account in [
            one,
            list[0].clone(),
            admin["data"].clone(),
            admin_list["data"][0].clone(),
        ] {
            assert_eq!(company(account), expected, "{as_of}");
        }
    }
    let tomorrow = v3.get(&format!("{path}?asOf=2026-03-04")).await;
    refused(
        &tomorrow,
        400,
        "INVALID_REQUEST",
        "must not be in the future",
    );
}

/// Six accounts that expire around 5 March in Berlin, and one that does not expire.
#[tokio::test]
async fn filters_take_a_date_alone_as_the_whole_day() {
    let app = App::new().await;
    let client = in_berlin(&app).await;
    let v3 = V3::of(&client);
    let mut ids = Vec::new();
    for (number, at) in [
        json!("2026-03-04T22:59:59.999999Z"),
        json!("2026-03-04T23:00:00Z"),
        json!("2026-03-05T12:00:00Z"),
        json!("2026-03-05T22:59:59.999999Z"),
        json!("2026-03-05T23:00:00Z"),
        json!("2026-03-07T12:00:00Z"),
        Value::Null,
    ]
    .iter()
    .enumerate()
    {
        let id = client.account(&format!("n{number}")).await;
        let path = format!("/v3/accounts/{id}/expires-at");
        v3.call("PUT", &path, &json!({ "expiresAt": at }))
            .await
            .ok();
        ids.push(id);
    }
    let numbers = |found: BTreeSet<i64>| -> Vec<usize> {
        (0..ids.len())
            .filter(|index| found.contains(&ids[*index]))
            .collect()
    };
    for (filter, expected) in [
        ("expiresAt=2026-03-05", vec![1, 2, 3]),
        ("expiresAt[eq]=2026-03-05", vec![1, 2, 3]),
        ("expiresAt[ne]=2026-03-05", vec![0, 4, 5, 6]),
        ("expiresAt[gt]=2026-03-05", vec![4, 5]),
        ("expiresAt[gte]=2026-03-05", vec![1, 2, 3, 4, 5]),
        ("expiresAt[lt]=2026-03-05", vec![0]),
        ("expiresAt[lte]=2026-03-05", vec![0, 1, 2, 3]),
        ("expiresAt[in]=2026-03-05,2026-03-07", vec![1, 2, 3, 5]),
        (
            "expiresAt[gte]=2026-03-05&expiresAt[lte]=2026-03-06",
            vec![1, 2, 3, 4],
        ),
        // With a zone, it is the day there.
        ("expiresAt=2026-03-05Z", vec![2, 3, 4]),
        // An instant is an instant.
        ("expiresAt=2026-03-05T12:00:00Z", vec![2]),
        ("expiresAt[ne]=2026-03-05T12:00:00Z", vec![0, 1, 3, 4, 5, 6]),
        ("expiresAt[gt]=2026-03-05T12:00:00Z", vec![3, 4, 5]),
        ("expiresAt[lte]=2026-03-05T13:00:00", vec![0, 1, 2]),
    ] {
        let query = filter.replace('[', "%5B").replace(']', "%5D");
        let found = v3.get(&format!("/v3/accounts?limit=100&{query}")).await;
        let mut found_ids = BTreeSet::new();
        for account in found.ok().as_array().unwrap() {
            let uid = account["id"].as_str().unwrap();
            let place = ids.iter().position(|id| {
                account["email"]
                    == format!(
                        "n{}@example.com",
                        ids.iter().position(|it| it == id).unwrap()
                    )
            });
            found_ids.insert(ids[place.unwrap_or_else(|| panic!("{uid}"))]);
        }
        assert_eq!(numbers(found_ids), expected, "{filter}");
        assert_eq!(
            found.header("pagination-count"),
            expected.len().to_string(),
            "{filter}"
        );
    }
    for (members, expected) in [
        (json!({"expires_after": "2026-03-05"}), vec![1, 2, 3, 4, 5]),
        (json!({"expires_before": "2026-03-05"}), vec![0]),
        (
            json!({"expires_after": "2026-03-05", "expires_before": "2026-03-06"}),
            vec![1, 2, 3],
        ),
    ] {
        let listed = client.call("list", members.clone()).await.ok();
        let found = listed["data"].as_array().unwrap().iter();
        let found = found
            .map(|account| account["id"].as_i64().unwrap())
            .collect();
        assert_eq!(numbers(found), expected, "{members}");
        let selector: Value = [
            ("expires_after", "expiresAfter"),
            ("expires_before", "expiresBefore"),
        ]
        .into_iter()
        .filter_map(|(ours, theirs)| Some((theirs.to_owned(), members.get(ours)?.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into();
        let job = json!({"selector": selector, "operation": {"operation": "suspend"}});
        let job = v3.call("POST", "/v3/bulk-jobs", &job).await.json();
        assert_eq!(job["total"], expected.len(), "{job}");
    }
    let created = v3.get("/v3/accounts?createdAt=2026-03-01").await;
    assert_eq!(created.header("pagination-count"), "7", "created today");
    let updated = v3.get("/v3/accounts?updatedAt%5Bgt%5D=2026-03-01").await;
    assert_eq!(updated.header("pagination-count"), "0", "none after today");
}

#[tokio::test]
async fn events_since_today_are_delivered_again() {
    let app = App::new().await;
    let client = in_berlin(&app).await;
    let v3 = V3::of(&client);
    let endpoint = json!({"url": "https://hooks.example.com/steward"});
    let made = v3.call("POST", "/v3/webhooks", &endpoint).await.json();
    let id = client.account("jo").await;
    v3.call("POST", &format!("/v3/accounts/{id}/suspend"), &json!({}))
        .await
        .ok();
    // Both events have been delivered: only such are delivered again.
    let superuser = app.database.superuser().await;
    sqlx::query("update webhook_endpoint set position = (select max(id) from journal)")
        .execute(&superuser)
        .await
        .unwrap();
    let path = format!("/v3/webhooks/{}/redeliver", made["id"].as_str().unwrap());
    for (since, queued) in [("2026-03-01", 2), ("2026-03-02", 0)] {
        let answer = v3.call("POST", &path, &json!({ "since": since })).await;
        assert_eq!(answer.json()["queued"], queued, "{}", answer.body);
    }
}

#[tokio::test]
async fn what_is_no_date_is_refused_with_its_name_its_value_and_the_forms() {
    let app = App::new().await;
    let client = in_berlin(&app).await;
    let (v3, id) = (V3::of(&client), client.account("jo").await);
    let path = format!("/v3/accounts/{id}");
    let forms = "2026-12-31T23:59:59+02:00";
    let mut answers = Vec::new();
    for (method, path, body, name) in [
        (
            "PUT",
            "/expires-at",
            json!({"expiresAt": "soon"}),
            "expiresAt",
        ),
        (
            "PUT",
            "/exempt-until",
            json!({"exemptUntil": "soon"}),
            "exemptUntil",
        ),
        ("POST", "/suspend", json!({"startsAt": "soon"}), "startsAt"),
        ("POST", "/freeze", json!({"endsAt": "soon"}), "endsAt"),
        (
            "PATCH",
            "",
            json!({"trialExpiresAt": "soon"}),
            "trialExpiresAt",
        ),
    ] {
        let full = format!("/v3/accounts/{id}{path}");
        answers.push((v3.call(method, &full, &body).await, name));
    }
    for (query, name) in [
        (format!("{path}?asOf=soon"), "asOf"),
        ("/v3/accounts?asOf=soon".to_owned(), "asOf"),
        (
            "/v3/accounts?expiresAt%5Bgt%5D=soon".to_owned(),
            "expiresAt[gt]",
        ),
    ] {
        answers.push((v3.get(&query).await, name));
    }
    for (answer, name) in answers {
        refused(
            &answer,
            400,
            "INVALID_REQUEST",
            &format!("{name}: must be a date"),
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains(forms) && message.contains("not \"soon\""),
            "{message}"
        );
    }
    for (call, members, name) in [
        (
            "expiry_date",
            json!({"id": id, "expiry_date": "soon"}),
            "expiry_date",
        ),
        ("list", json!({"expires_before": "soon"}), "expires_before"),
        ("get", json!({"id": id, "as_of": "soon"}), "as_of"),
    ] {
        let answer = client.call(call, members).await;
        answer.is_error(400, &format!("Incorrect request: {name}: must be a date"));
        assert!(
            answer.body.contains(forms) && answer.body.contains("soon"),
            "{}",
            answer.body
        );
    }
}
