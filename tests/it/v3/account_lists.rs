//! Lists of accounts: pages, filters, orders, cursors.

use serde_json::{Value, json};
use steward::service::ResellerPatch;

use crate::harness::App;
use crate::harness::app::Answer;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn accounts_are_listed_with_pages_filters_order_and_cursors() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let v3 = V3::of(&client);
    for number in 0..25 {
        let body = json!({"email": format!("n{number:02}@example.com"), "company": if number % 5 == 0 { json!("Five") } else { Value::Null }});
        assert_eq!(
            v3.call("POST", "/v3/accounts", &body).await.status.as_u16(),
            201
        );
        app.clock.advance(chrono::TimeDelta::minutes(1));
    }
    other.account("hidden").await;
    let emails = |answer: &Answer| {
        answer
            .ok()
            .as_array()
            .unwrap()
            .iter()
            .map(|account| account["email"].as_str().unwrap()[..3].to_owned())
            .collect::<Vec<_>>()
    };
    let first = v3.get("/v3/accounts").await;
    assert_eq!(
        (emails(&first)[0].as_str(), emails(&first).len()),
        ("n24", 10),
        "newest first, ten of them"
    );
    assert_eq!(
        (
            first.header("pagination-count"),
            first.header("pagination-page"),
            first.header("pagination-limit")
        ),
        ("25", "1", "10")
    );
    let third = v3.get("/v3/accounts?page=3&limit=10&sort=createdAt").await;
    assert_eq!(emails(&third), ["n20", "n21", "n22", "n23", "n24"]);
    for (query, expected) in [
        (
            "company=Five&sort=email",
            vec!["n00", "n05", "n10", "n15", "n20"],
        ),
        (
            "company[ne]=Five&email[lt]=n03&sort=email",
            vec!["n01", "n02"],
        ),
        (
            "email[in]=n01@example.com,N02@EXAMPLE.COM,none&sort=-email",
            vec!["n02", "n01"],
        ),
        (
            "createdAt[gte]=2026-03-01T12:23:00Z&sort=createdAt",
            vec!["n23", "n24"],
        ),
        (
            "createdAt[gt]=2026-03-01T12:05:00Z&createdAt[lte]=2026-03-01T12:07:00Z&sort=createdAt",
            vec!["n06", "n07"],
        ),
        ("expiresAt[lt]=2030-01-01", vec![]),
        ("status=inactive", vec![]),
    ] {
        assert_eq!(
            emails(&v3.get(&format!("/v3/accounts?{query}")).await),
            expected,
            "{query}"
        );
    }
    let mut path = "/v3/accounts?after=&limit=7&status=active".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = v3.get(&path).await;
        assert_eq!(
            page.header("pagination-count"),
            "",
            "a cursor's page is not counted"
        );
        seen.extend(emails(&page));
        let Some(next) = page
            .header("link")
            .strip_prefix('<')
            .and_then(|rest| rest.split_once(">; rel=\"next\""))
        else {
            break;
        };
        path = next.0.to_owned();
    }
    assert_eq!(
        seen,
        (0..25)
            .map(|number| format!("n{number:02}"))
            .collect::<Vec<_>>()
    );
    for (query, expected) in [
        ("page=0", "page: must be a number from 1 on"),
        ("page=-1", "page: "),
        ("page=99999999999999999999", "page: "),
        ("page=900000&limit=100", "page: is too deep"),
        ("page=1&page=2", "page: appears more than once"),
        ("limit=101", "limit: must be between 1 and 100"),
        ("limit=x", "limit: "),
        ("sort=password", "sort: must be one of"),
        ("password=x", "password: is no parameter and no field"),
        ("email[like]=x", "email[like]: must be compared with"),
        ("createdAt[gt]=soon", "createdAt[gt]: must be a date"),
        ("after=%21%21", "after: must be a cursor"),
        ("after=AAAA", "after: must be a cursor"),
        ("after=&page=2", "after: cannot be combined"),
        ("email=%00", "email: "),
    ] {
        refused(
            &v3.get(&format!("/v3/accounts?{query}")).await,
            400,
            "INVALID_REQUEST",
            expected,
        );
    }
    let xml = v3
        .send(
            "GET",
            "/v3/accounts?limit=2",
            &[("accept", "application/xml")],
            "",
        )
        .await;
    assert_eq!(xml.body.matches("<item><id>").count(), 2, "{}", xml.body);
}

#[tokio::test]
async fn a_list_has_at_most_20_conditions_and_many_dates_in_many_time_zones_are_answered() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let created = v3.call("POST", "/v3/accounts", &json!({})).await.json();
    let of = |count: usize| "createdAt[gte]=2020-01-01&".repeat(count);
    let listed = v3.get(&format!("/v3/accounts?{}", of(20))).await.ok();
    assert_eq!(listed[0]["id"], created["id"]);
    let many = v3.get(&format!("/v3/accounts?{}", of(21))).await;
    refused(
        &many,
        400,
        "INVALID_REQUEST",
        "at most 20 conditions on fields",
    );
    // 100 dates without a zone for each of 40 zones, in 20 conditions.
    for (number, zone) in chrono_tz::TZ_VARIANTS.iter().enumerate().take(40) {
        let patch = ResellerPatch {
            timezone: Some(zone.name().to_owned()),
            ..ResellerPatch::default()
        };
        app.reseller_with(&format!("r{number}"), patch).await;
    }
    let operator = V3::of(&app.operator().await);
    let days: Vec<String> = (0..100)
        .map(|n| format!("2026-{:02}-{:02}", n % 12 + 1, n % 28 + 1))
        .collect();
    let dates = format!("createdAt[in]={}&", days.join(",")).repeat(20);
    let all = operator.get(&format!("/v3/accounts?{dates}after=")).await;
    assert_eq!(all.status, 200, "{}", all.body);
}

#[tokio::test]
async fn accounts_are_listed_by_the_level_and_the_owner_of_their_holds() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let hold = |level: &str, owner: &str| json!({"level": level, "owner": owner});
    let mut ids = Vec::new();
    for holds in [
        vec![],
        vec![("freeze", hold("warn", "billing"))],
        vec![("freeze", hold("limit", "billing"))],
        vec![
            ("freeze", hold("limit", "billing")),
            ("suspend", hold("warn", "billing")),
        ],
        vec![
            ("freeze", hold("limit", "billing")),
            ("suspend", hold("block", "abuse-desk")),
        ],
        vec![("suspend", json!({}))],
        vec![(
            "suspend",
            json!({"level": "limit", "endsAt": "2026-03-02T12:00:00Z"}),
        )],
        vec![("retain", json!({"owner": "legal"}))],
        vec![(
            "suspend",
            json!({"startsAt": "2026-04-01", "owner": "billing"}),
        )],
    ] {
        let id = client.account(&format!("n{}", ids.len())).await;
        for (what, body) in holds {
            let path = format!("/v3/accounts/{id}/{what}");
            v3.call("POST", &path, &body).await.ok();
        }
        ids.push(id);
    }
    let foreign = other.account("foreign").await;
    let path = format!("/v3/accounts/{foreign}/suspend");
    V3::of(&other)
        .call("POST", &path, &hold("block", "abuse-desk"))
        .await
        .ok();
    let names = async |v3: &V3, query: &str| -> Vec<String> {
        let (mut next, mut found) = (Some(format!("/v3/accounts?{query}")), Vec::new());
        while let Some(path) = next {
            let page = v3.get(&path).await;
            for account in page.ok().as_array().unwrap() {
                let email = account["email"].as_str().unwrap();
                found.push(email.split('@').next().unwrap().to_owned());
            }
            let link = page.header("link").split(['<', '>']).nth(1);
            next = link.map(str::to_owned);
        }
        found
    };
    for (filter, expected) in [
        ("level=warn", vec!["n1"]),
        ("level=limit", vec!["n2", "n3", "n6"]),
        ("level=block", vec!["n4", "n5"]),
        ("owner=billing", vec!["n1", "n2", "n3", "n4"]),
        ("owner=abuse-desk", vec!["n4"]),
        ("owner=legal", vec![]),
        // Of the holds of the owner alone.
        ("owner=billing&level=limit", vec!["n2", "n3", "n4"]),
        ("owner=billing&level=block", vec![]),
        ("owner=billing&level=limit&email=n3@example.com", vec!["n3"]),
    ] {
        assert_eq!(
            names(&v3, &format!("sort=email&{filter}")).await,
            expected,
            "{filter}"
        );
        assert_eq!(
            names(&v3, &format!("after=&limit=1&{filter}")).await,
            expected,
            "{filter}"
        );
        let by_number = v3.get(&format!("/v3/accounts?page=1&{filter}")).await;
        assert_eq!(
            by_number.header("pagination-count"),
            expected.len().to_string(),
            "{filter}"
        );
        let admin = filter.split('&').map(|part| part.split_once('=').unwrap());
        let admin: serde_json::Map<String, Value> = admin
            .filter(|(name, _)| *name != "email")
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        if !filter.contains("email") {
            let list = client.call("list", Value::Object(admin)).await.ok();
            assert_eq!(list["total_count"], expected.len(), "{filter}");
        }
    }
    assert_eq!(
        names(&operator, "after=&owner=abuse-desk").await,
        ["n4", "foreign"]
    );
    app.clock.advance(chrono::TimeDelta::days(1));
    assert_eq!(names(&v3, "after=&level=limit").await, ["n2", "n3"]);
    app.clock.advance(chrono::TimeDelta::days(31));
    assert_eq!(names(&v3, "after=&level=block").await, ["n4", "n5", "n8"]);
    for (query, problem) in [
        (
            "level=none",
            "level: must be block, limit or warn, not \"none\"",
        ),
        ("level=", "level: must be block, limit or warn"),
        ("owner=Billing", "owner: must be 1 to 40 lower-case letters"),
        ("owner=a&owner=b", "owner: appears more than once"),
        (
            "level=warn&asOf=2026-03-01",
            "asOf: can be combined with after and limit only",
        ),
    ] {
        let answer = v3.get(&format!("/v3/accounts?{query}")).await;
        refused(&answer, 400, "INVALID_REQUEST", problem);
    }
}
