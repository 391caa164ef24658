//! What a row can bring along.

use serde_json::{Value, json};
use steward::domain::Time;
use steward::service::Clock;

use super::Place;

pub(super) const ALL: &str = "\
number,uid,email,name,title,company,status,expires_at,created_at,plan,timezone,metadata.crm_id,freeze_reason,freeze_payment_url,freeze_since,suspend_reason,suspend_message,suspend_since
71,3f2c8a4e-0b1d-4c6f-9e7a-5d2b1c0f9e8d,jo@example.com,jo,Jo's shop,Acme GmbH,inactive,2030-01-31,2019-05-31,12,Europe/Berlin,K-4711,unpaid,https://pay.example.com/71,2025-02-01,,,
72,,ann@example.com,,,,,,2020-02-29T10:00:00Z,Gold,,,,,,abuse,Write to us.,2025-03-01T12:00:00+01:00
";

#[tokio::test]
async fn a_customer_moves_with_number_dates_plan_metadata_and_holds() {
    let place = Place::new().await;
    let plan = json!({"number": 12, "name": "Gold"});
    let plan = place.v3.call("POST", "/v3/plans", &plan).await.json();
    place
        .app
        .service
        .revise_reseller(
            &steward::service::Principal::command_line(),
            steward::domain::ResellerId(1),
            steward::service::ResellerPatch {
                timezone: Some("Europe/Berlin".to_owned()),
                ..Default::default()
            },
            None,
        )
        .await
        .unwrap();
    let file = place.file("all.csv", ALL);
    place.import(&[&file]).ok("2 rows, 2 created");

    let jo = place.account(71).await;
    let hold = &jo["holds"][0];
    assert_eq!(
        json!([
            jo["id"],
            jo["email"],
            jo["company"],
            jo["status"],
            jo["expiresAt"],
            jo["createdAt"],
            jo["plan"]["id"],
            jo["metadata"],
            jo["effectiveStatus"],
            jo["blockedBy"],
            hold["kind"],
            hold["authority"],
            hold["reasonCode"],
            hold["paymentUrl"],
            hold["since"],
        ]),
        json!([
            "3f2c8a4e-0b1d-4c6f-9e7a-5d2b1c0f9e8d", "jo@example.com", "Acme GmbH", "inactive",
            // The last second of the day, and the first ones, in the reseller's time zone.
            "2030-01-31T22:59:59Z", "2019-05-30T22:00:00Z", plan["id"], {"crm_id": "K-4711"},
            "inactive", ["inactive", "frozen"], "freeze", "reseller", "unpaid",
            "https://pay.example.com/71", "2025-01-31T23:00:00Z",
        ])
    );
    let seen = place.client.get(71).await;
    assert_eq!(
        json!([
            seen["name"],
            seen["title"],
            seen["timezone"],
            seen["tariff_id"],
            seen["version"]
        ]),
        json!(["jo", "Jo's shop", "Europe/Berlin", 12, 1])
    );
    let ann = place.account(72).await;
    let hold = &ann["holds"][0];
    assert_eq!(
        json!([
            ann["createdAt"],
            ann["plan"]["id"],
            ann["status"],
            ann["metadata"],
            hold["kind"],
            hold["publicMessage"],
            hold["since"],
            hold["reasonCode"],
        ]),
        json!([
            "2020-02-29T10:00:00Z",
            plan["id"],
            "active",
            {},
            "suspend",
            "Write to us.",
            "2025-03-01T11:00:00Z",
            "abuse",
        ])
    );

    // The holds are the reseller's own, which lifts them.
    let lifted = place
        .v3
        .call("POST", "/v3/accounts/72/unsuspend", &json!({}))
        .await;
    assert_eq!(lifted.ok()["effectiveStatus"], "active");

    let history = place.v3.get("/v3/accounts/71/history").await.ok();
    let entry = &history.as_array().unwrap()[0];
    assert_eq!(
        json!([
            entry["action"],
            entry["outcome"],
            entry["actor"]["name"],
            entry["dialect"],
            entry["events"]
        ]),
        json!([
            "import",
            "applied",
            "reseller 1, command line",
            "cli",
            ["account.created", "account.frozen"],
        ])
    );
    let events = place.v3.get("/v3/events").await.ok();
    let created: Vec<&Value> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["data"]["id"])
        .collect();
    assert_eq!(created[0], "3f2c8a4e-0b1d-4c6f-9e7a-5d2b1c0f9e8d");
}

#[tokio::test]
async fn new_accounts_pass_over_imported_numbers_now_and_later() {
    let place = Place::new().await;
    let file = place.file(
        "numbers.csv",
        "number,name\n2,b\n3,c\n5,e\n2147483647,last\n",
    );
    place.import(&[&file]).ok("4 created");
    let other = place.app.new_reseller("Other").await;
    let mut drawn = Vec::new();
    for n in 0..2 {
        drawn.push(place.client.account(&format!("x{n}")).await);
        drawn.push(other.account(&format!("y{n}")).await);
    }
    // Fewer numbers are left out than the file has.
    assert_eq!(drawn, [6, 7, 8, 9]);
    // Rows without a number too, wherever the rows with one are.
    let file = place.file(
        "more.csv",
        "number,email\n11,i@example.com\n,h@example.com\n,j@example.com\n,l@example.com\n13,k@example.com\n",
    );
    place.import(&[&file, "--batch", "2"]).ok("5 created");
    let file = place.file(
        "rest.csv",
        "number,email\n,m@example.com\n18,n@example.com\n,bad\n",
    );
    place
        .import(&[&file, "--batch", "1", "--skip-invalid"])
        .ok("2 created, 1 refused");
    let by_email = |email: &str| format!("/v3/accounts?email={email}");
    for (email, number) in [
        ("h@example.com", 12),
        ("j@example.com", 14),
        ("l@example.com", 15),
        ("m@example.com", 16),
    ] {
        let found = place.v3.get(&by_email(email)).await.ok();
        let same = place.account(number).await;
        assert_eq!(found[0]["id"], same["id"], "{email}");
    }
}

#[tokio::test]
async fn an_imported_account_was_not_here_before_its_import() {
    let place = Place::new().await;
    place.client.account("older").await;
    let now = || Clock::System.now();
    let write = |at: Time| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let before = write(now());
    let file = place.file("old.csv", "number,created_at\n50,2019-01-01\n");
    place.import(&[&file]).ok("1 created");
    let clock = &place.app.clock;
    clock.advance(now() - clock.now());
    let list = |at: String| {
        let v3 = &place.v3;
        async move { v3.get(&format!("/v3/accounts?asOf={at}")).await.ok() }
    };
    assert_eq!(list(before.clone()).await.as_array().unwrap().len(), 1);
    let present = write(clock.now());
    assert_eq!(list(present).await.as_array().unwrap().len(), 2);
    let past = place
        .v3
        .get(&format!("/v3/accounts/50?asOf={before}"))
        .await;
    assert_eq!(past.status, 404, "{}", past.body);
}

#[tokio::test]
async fn rows_without_a_number_pass_over_those_that_later_rows_bring() {
    let place = Place::new().await;
    let numbers: Vec<String> = (1..=3_000).map(|number| format!("{number},")).collect();
    let numbers = numbers.join("\n");
    let file = format!("number,email\n,first@example.com\n{numbers}\n,last@example.com\n");
    let file = place.file("dense.csv", file);
    place.import(&[&file, "--skip-invalid"]).ok("3002 created");
    let first = place
        .v3
        .get("/v3/accounts?email=first@example.com")
        .await
        .ok();
    assert_eq!(first[0]["id"], place.account(3_001).await["id"]);
    assert_eq!(place.client.account("next").await, 3_003);
}

#[tokio::test]
async fn a_customer_moves_with_the_fields_that_only_one_of_the_systems_has() {
    let place = Place::new().await;
    let cryptlex = r#"{"uid":"3f2c8a4e-0b1d-4c6f-9e7a-5d2b1c0f9e8d","companyId":"acme","website":"https://acme.example","logoUrl":"https://acme.example/l.png","faviconUrl":"https://acme.example/f.ico","adminPortalDomain":"admin.acme.example","customerPortalDomain":"portal.acme.example","resellerPortalDomain":"resell.acme.example","googleClientId":"g-1","accountAlias":"acme-1","region":"eu","paymentMethod":"card","psp":"paddle","trialExpiresAt":"2031-02-03T04:05:06Z","totalTrialExtensions":2,"createdAt":"2020-11-03T09:15:00Z"}"#;
    let altcraft = r#"{"number":9,"pixels_enabled":true,"pushes_enabled":true,"is_smart":true,"is_subscribers_suspend_all":true,"is_tariff_exceed":true,"reports_day":5,"reports_hour":22}"#;
    let file = place.file("all.jsonl", format!("{cryptlex}\n{altcraft}\n"));
    place.import(&[&file]).ok("2 rows, 2 created");
    place.import(&[&file]).ok("2 already there");

    let sent: Value = serde_json::from_str(cryptlex).unwrap();
    let uid = sent["uid"].as_str().unwrap();
    let account = place.v3.get(&format!("/v3/accounts/{uid}")).await.ok();
    for (member, value) in sent.as_object().unwrap() {
        let member = if member == "uid" { "id" } else { member };
        assert_eq!(&account[member], value, "{member}: {account}");
    }
    let sent: Value = serde_json::from_str(altcraft).unwrap();
    let account = place.client.get(9).await;
    for (member, value) in sent.as_object().unwrap().iter().skip(1) {
        if member != "number" {
            assert_eq!(&account[member], value, "{member}: {account}");
        }
    }

    let csv = "number,is_smart,reports_day,website\n9,false,,\n";
    let csv = place.file("less.csv", csv);
    place
        .import(&[&csv, "--on-existing", "update"])
        .ok("1 updated");
    let account = place.client.get(9).await;
    assert_eq!(
        json!([account["is_smart"], account["is_tariff_exceed"]]),
        json!([false, true])
    );
    for (line, expected) in [
        (
            r#"{"number":1,"is_smart":"yes"}"#,
            r#"is_smart "yes": is neither true nor false"#,
        ),
        (
            r#"{"number":1,"reports_day":32}"#,
            "accepted: a whole number from 0 to 31",
        ),
        (
            r#"{"number":1,"reports_hour":"x"}"#,
            "is not a whole number",
        ),
        (
            r#"{"id":1}"#,
            "number is the column of account numbers, uid that of UUIDs",
        ),
        (r#"{"number":1,"tz":"UTC"}"#, "did you mean timezone?"),
        (r#"{"number":1,"tariff_id":3}"#, "did you mean plan?"),
        (r#"{"number":1,"is_active":true}"#, "did you mean status?"),
        (
            r#"{"number":1,"companyName":"x"}"#,
            r#"companyName "x": is not a column; did you mean company?"#,
        ),
        (
            r#"{"number":1,"companyId":"a","company_id":"b"}"#,
            "stands there twice",
        ),
    ] {
        place
            .import(&[&place.file("one.jsonl", line)])
            .fails(&[expected]);
    }
}
