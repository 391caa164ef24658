//! A text in a log is looked for in its newest entries alone: a log grows without end.

use serde_json::json;
use steward::domain::{Dialect, ResellerId};
use steward::service::{AttemptFilter, Context, EventLogQuery, LogPage, MAX_LOGGED, Principal};

use crate::harness::App;
use crate::harness::v3::V3;

/// A reseller with one entry in each log, whose text is `needle`, and the statements that add newer
/// ones after it, with their number as `$1`.
async fn world() -> (App, V3, [&'static str; 2]) {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    for name in ["first", "second"] {
        let body = json!({"name": name, "url": "https://example.com/"});
        v3.call("POST", "/v3/webhooks", &body).await;
    }
    v3.call("POST", "/v3/accounts", &json!({})).await;
    let superuser = app.database.superuser().await;
    for statement in [
        "update journal set action = 'needle'",
        "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id,
           event_at, number, at, succeeded, duration_ms)
         select reseller_id, id, '00000000-0000-4000-8000-000000000000', 1, 'needle', 1,
           created_at, 1, created_at, true, 1 from webhook_endpoint where display_name = 'first'",
    ] {
        sqlx::query(statement).execute(&superuser).await.unwrap();
    }
    let more = [
        "insert into journal (reseller_id, account_id, at, sequence, action, outcome, events,
           authority, actor, dialect, request_id, before, after)
         select reseller_id, account_id, at, 1, 'straw', outcome, events, authority, actor, dialect,
           request_id, before, after
         from (select * from journal order by id limit 1) as first, generate_series(1, $1)",
        "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id,
           event_at, number, at, succeeded, duration_ms)
         select reseller_id, id, ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 1,
           'straw', 1, created_at, 1, created_at, false, 1
         from webhook_endpoint, generate_series(1, $1) as n where display_name = 'second'",
    ];
    (app, v3, more)
}

#[tokio::test]
async fn a_text_is_looked_for_in_the_newest_entries_of_a_log() {
    let (app, _v3, more) = world().await;
    let superuser = app.database.superuser().await;
    for statement in more {
        sqlx::query(statement)
            .bind(3_i64)
            .execute(&superuser)
            .await
            .unwrap();
    }
    let context = Context {
        principal: Principal::of_reseller(ResellerId(1)),
        dialect: Dialect::V3,
        request_id: "test".to_owned(),
    };
    let page = |searched, is_ascending| LogPage {
        skip: 0,
        limit: 10,
        is_ascending,
        is_counted: true,
        searched,
    };
    // How many entries each log has with a text, as counted and as read.
    let found = async |text: Option<&str>, page: LogPage, filter: AttemptFilter| {
        let text = text.map(str::to_owned);
        let query = EventLogQuery {
            text: text.clone(),
            ..EventLogQuery::default()
        };
        let (changes, counted) = app.service.event_logs(&context, query, page).await.unwrap();
        let filter = AttemptFilter { text, ..filter };
        let attempts = app.service.delivery_attempts(&context, None, filter, page);
        let (attempts, attempts_counted) = attempts.await.unwrap();
        [
            (changes.rows.len(), counted.unwrap()),
            (attempts.len(), attempts_counted.unwrap()),
        ]
    };
    let all = AttemptFilter::default;
    for is_ascending in [false, true] {
        let page = |searched| page(searched, is_ascending);
        assert_eq!(found(Some("NEEDLE"), page(3), all()).await, [(0, 0); 2]);
        assert_eq!(found(Some("NEEDLE"), page(4), all()).await, [(1, 1); 2]);
        assert_eq!(found(Some("NEEDLE"), page(5), all()).await, [(1, 1); 2]);
        assert_eq!(found(Some("straw"), page(1), all()).await, [(1, 1); 2]);
        assert_eq!(found(Some("straw"), page(2), all()).await, [(2, 2); 2]);
        assert_eq!(found(None, page(1), all()).await, [(4, 4); 2]);
    }
    // The newest attempts are those of all endpoints, whatever else is asked for.
    let succeeded = || AttemptFilter {
        succeeded: Some(true),
        ..all()
    };
    let attempts = async |searched| {
        let found = found(Some("needle"), page(searched, false), succeeded()).await;
        found[1]
    };
    assert_eq!(attempts(3).await, (0, 0));
    assert_eq!(attempts(4).await, (1, 1));
}

#[tokio::test]
async fn a_text_is_looked_for_in_as_many_entries_as_the_documents_say() {
    let (app, v3, more) = world().await;
    let superuser = app.database.superuser().await;
    let counts = async || {
        let mut counts = Vec::new();
        for path in ["/v3/event-logs", "/v3/webhook-event-logs"] {
            let answer = v3.get(&format!("{path}?query=needle")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            counts.push(answer.header("pagination-count").to_owned());
        }
        counts
    };
    for statement in more {
        sqlx::query(statement)
            .bind(MAX_LOGGED)
            .execute(&superuser)
            .await
            .unwrap();
    }
    assert_eq!(counts().await, ["0", "0"]);
    for statement in [
        "delete from journal where id = (select max(id) from journal)",
        "delete from webhook_attempt where id = (select id from webhook_attempt order by id desc limit 1)",
    ] {
        sqlx::query(statement).execute(&superuser).await.unwrap();
    }
    assert_eq!(counts().await, ["1", "1"]);
    let oldest = v3
        .get("/v3/event-logs?query=straw&sort=createdAt&limit=1")
        .await;
    assert_eq!(oldest.status, 200, "{}", oldest.body);
}
