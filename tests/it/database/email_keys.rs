//! The keys of e-mail addresses that an earlier version stored.

use serde_json::json;
use sqlx::AssertSqlSafe;
use steward::store::Store;

use crate::harness::App;
use crate::harness::app::{pool_settings, start_of_time};
use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};

/// Stores an address as the earlier version did: as it was written, with its lower case as the key.
async fn store_as_before(app: &App, account: i32, email: &str) {
    let superuser = app.database.superuser().await;
    sqlx::query("update account set profile = jsonb_set(profile::jsonb, '{email}', to_jsonb($1))::json, email_key = $2 where id = $3")
        .bind(email)
        .bind(email.to_lowercase())
        .bind(account)
        .execute(&superuser)
        .await
        .unwrap();
}

async fn keys(app: &App) -> Vec<(i32, String)> {
    let superuser = app.database.superuser().await;
    let keys = "select id, email_key from account where email_key is not null order by id";
    sqlx::query_as(AssertSqlSafe(keys.to_owned()))
        .fetch_all(&superuser)
        .await
        .unwrap()
}

async fn problems(app: &App) -> Vec<String> {
    let store = Store::new(app.database.options(), &pool_settings());
    let report = store.examine(start_of_time).await.unwrap();
    let problems = report.email_findings.into_iter();
    problems.map(|finding| finding.problem).collect()
}

#[tokio::test]
async fn keys_of_before_are_made_anew_by_migrate_and_clashes_are_left_and_reported() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    let mut accounts = Vec::new();
    for number in 0..6 {
        let id = client.account(&format!("n{number}")).await;
        accounts.push(i32::try_from(id).unwrap());
    }
    for (account, email) in accounts.iter().zip([
        "Jo@Example.com",
        // Decomposed, and nobody else's.
        "Jose\u{301}@example.com",
        // The same by the present rule: the ligature keeps its key.
        "fin@example.com",
        "\u{fb01}n@example.com",
        // Two that were outdated both: the first one gets the key.
        "\u{ff4b}im@example.com",
        "K\u{ff49}m@example.com",
    ]) {
        store_as_before(&app, *account, email).await;
    }
    let before = problems(&app).await;
    assert_eq!(before.len(), 4, "{before:?}");

    let expected = vec![
        (accounts[0], "jo@example.com".to_owned()),
        (accounts[1], "jos\u{e9}@example.com".to_owned()),
        (accounts[2], "fin@example.com".to_owned()),
        (accounts[3], "\u{fb01}n@example.com".to_owned()),
        (accounts[4], "kim@example.com".to_owned()),
        (accounts[5], "k\u{ff49}m@example.com".to_owned()),
    ];
    // It may be interrupted and run again; a second run finds nothing to do.
    for _ in 0..2 {
        Store::migrate(&app.database.options()).await.unwrap();
        assert_eq!(keys(&app).await, expected);
    }
    let found = problems(&app).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains(&format!("accounts {} and {}", accounts[2], accounts[3])),
        "{found:?}"
    );

    // Each address still names its own account, in whatever form it is written.
    for (written, index) in [
        ("JOSE\u{301}@example.com", 1),
        ("JOS\u{c9}@EXAMPLE.com", 1),
        ("fin@example.com", 2),
        ("\u{fb01}n@example.com", 3),
        ("\u{ff46}in@example.com", 2),
        ("kim@example.com", 4),
        ("K\u{ff49}m@example.com", 5),
    ] {
        let children = format!("<email>{written}</email>");
        let (code, info, _) = soap.call("GetAccountInfo", &children).await;
        assert_eq!(code, "Success", "{written}: {info}");
        assert!(
            info.contains(&format!("&quot;AccountID&quot;:{},", accounts[index])),
            "{written}: {info}"
        );
    }

    // An account in a clash can be worked with, and its key stays.
    let path = format!("/v3/accounts/{}", accounts[3]);
    let frozen = v3.call("POST", &format!("{path}/freeze"), &json!({})).await;
    assert_eq!(frozen.status.as_u16(), 200, "{}", frozen.body);
    let read = v3.get(&path).await.ok();
    let back = v3
        .call("PATCH", &path, &json!({"email": read["email"]}))
        .await
        .ok();
    assert_eq!(back["version"], read["version"]);
    let renamed = v3.call("PATCH", &path, &json!({"company": "Other"})).await;
    assert_eq!(renamed.status.as_u16(), 200, "{}", renamed.body);
    assert_eq!(keys(&app).await, expected);
    // What was decomposed is read composed, and can be sent back.
    let path = format!("/v3/accounts/{}", accounts[1]);
    let read = v3.get(&path).await.ok();
    assert_eq!(read["email"], "Jos\u{e9}@example.com");
    let back = v3
        .call("PATCH", &path, &json!({"email": read["email"]}))
        .await
        .ok();
    assert_eq!(back["version"], read["version"]);

    // No third one gets the address, and the clash ends with another address.
    for taken in [
        "FIN@example.com",
        "\u{fb01}n@example.com",
        "KIM@example.com",
    ] {
        let again = v3
            .call("POST", "/v3/accounts", &json!({"email": taken}))
            .await;
        refused(&again, 409, "CONFLICT", "email_in_use");
    }
    for index in [3, 5] {
        let path = format!("/v3/accounts/{}", accounts[index]);
        let body = json!({"email": format!("m{index}@example.com")});
        let moved = v3.call("PATCH", &path, &body).await;
        assert_eq!(moved.status.as_u16(), 200, "{}", moved.body);
    }
    assert_eq!(problems(&app).await, Vec::<String>::new());
}

#[tokio::test]
async fn more_addresses_than_a_page_are_made_anew_also_of_deleted_accounts() {
    let app = App::new().await;
    app.new_reseller("Acme").await;
    let superuser = app.database.superuser().await;
    let fill = "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at, \
          profile, email_key, deleted_at, purge_at)
        select 1, n, gen_random_uuid(), 'active', 'epoch', 1, 'epoch', 'epoch', \
          json_build_object('email', 'n' || n || U&'e\\0301@example.com'), 'n' || n || U&'e\\0301@example.com', \
          case when n % 2 = 0 then 'epoch'::timestamptz end, case when n % 2 = 0 then 'epoch'::timestamptz end
        from generate_series(1, 2500) as n";
    sqlx::raw_sql(AssertSqlSafe(fill.to_owned()))
        .execute(&superuser)
        .await
        .unwrap();
    Store::migrate(&app.database.options()).await.unwrap();
    let keys = keys(&app).await;
    assert_eq!(keys.len(), 2_500);
    for (account, key) in keys {
        assert_eq!(key, format!("n{account}\u{e9}@example.com"));
    }
    assert_eq!(problems(&app).await, Vec::<String>::new());
}

/// The key by the rule of the version before: the lower case of normalization form KC. The addresses
/// of this test are in that form.
#[tokio::test]
async fn keys_in_lower_case_are_made_anew_by_case_folding_and_by_the_names_of_domains() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let soap = Soap::of(&client);
    let before = [
        ("stra\u{df}e@x.de", "strasse@x.de"),
        ("STRASSE@y.de", "strasse@y.de"),
        ("stra\u{df}e@y.de", "stra\u{df}e@y.de"),
        ("\u{391}\u{3a3}@x.gr", "\u{3b1}\u{3c3}@x.gr"),
        ("jo@xn--bcher-kva.example", "jo@xn--bcher-kva.example"),
        ("jo@b\u{fc}cher.example", "jo@b\u{fc}cher.example"),
        ("ann@b\u{fc}cher.example", "ann@xn--bcher-kva.example"),
        ("Ann@XN--Bcher-KVA.org", "ann@xn--bcher-kva.org"),
    ];
    let mut expected = Vec::new();
    for (number, (email, key)) in before.iter().enumerate() {
        let id = client.account(&format!("n{number}")).await;
        let id = i32::try_from(id).unwrap();
        store_as_before(&app, id, email).await;
        expected.push((id, (*key).to_owned()));
    }
    // Each address names its account before it is made anew too.
    let finds_all = async || {
        for ((email, _), (id, _)) in before.iter().zip(&expected) {
            let children = format!("<email>{email}</email>");
            let (code, info, _) = soap.call("GetAccountInfo", &children).await;
            assert_eq!(code, "Success", "{email}: {info}");
            assert!(
                info.contains(&format!("&quot;AccountID&quot;:{id},")),
                "{email}: {info}"
            );
        }
    };
    finds_all().await;
    for _ in 0..2 {
        Store::migrate(&app.database.options()).await.unwrap();
        assert_eq!(keys(&app).await, expected);
        finds_all().await;
    }
    // The two clashes are reported, and left as they are.
    let found = problems(&app).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for (problem, [one, other]) in found.iter().zip([[1, 2], [4, 5]]) {
        let (one, other) = (expected[one].0, expected[other].0);
        assert!(
            problem.contains(&format!("accounts {one} and {other}")),
            "{found:?}"
        );
    }
}
