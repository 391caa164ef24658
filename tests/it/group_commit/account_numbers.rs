//! Account numbers are drawn after the decision, and their end is foreseen.

use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use steward::domain::{Dialect, Email, Error, Patch, ProfilePatch, Revision};
use steward::service::{Completion, Context, ResellerPatch};
use steward::store::{ACCOUNT_NUMBERS, Store};

use crate::harness::app::pool_settings;
use crate::harness::process::until;
use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

const DRAWN: &str = "select coalesce(pg_sequence_last_value('account_id_seq'), 0)";

fn named(email: &str) -> Revision {
    Revision {
        profile: ProfilePatch {
            email: Patch::Set(Email::parse(email).unwrap()),
            ..ProfilePatch::default()
        },
        ..Revision::default()
    }
}

async fn context(app: &App, client: &Client) -> Context {
    let token = SecretString::from(client.token.clone());
    Context {
        principal: app.service.authenticate(&token).await.unwrap(),
        dialect: Dialect::V3,
        request_id: "test".to_owned(),
    }
}

#[tokio::test]
async fn refused_creations_draw_no_account_number() {
    let app = App::new().await;
    let full = app
        .reseller_with(
            "Full",
            ResellerPatch {
                account_limit: Patch::Set(1),
                ..ResellerPatch::default()
            },
        )
        .await;
    let full = app.client(&app.token(Some(full), None).await);
    let acme = app.new_reseller("Acme").await;
    full.account("one").await;
    acme.account("used").await;
    let (full, acme) = (context(&app, &full).await, context(&app, &acme).await);
    assert_eq!(app.database.number(DRAWN).await, 2);

    // 3,000 creations: a full quota, an address in use, a plan that does not exist.
    let with_plan = |email: &str| {
        let mut revision = named(email);
        revision.profile.plan_id = Patch::Set(uuid::Uuid::nil());
        revision
    };
    let creations = (0..1_000).flat_map(|number| {
        let email = format!("n{number}@example.com");
        [
            app.service.create(&full, None, named(&email), None),
            app.service
                .create(&acme, None, named("used@example.com"), None),
            app.service.create(&acme, None, with_plan(&email), None),
        ]
    });
    let outcomes = join_all(creations).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert!(outcomes.contains_error(&Error::QuotaReached));
    assert_eq!(app.database.number(DRAWN).await, 2, "none was drawn");

    // In one batch, accepted creations get consecutive numbers whatever is refused between them.
    let mixed = (0..100).map(|number| {
        let email = if number % 2 == 0 {
            format!("m{number}@example.com")
        } else {
            "used@example.com".to_owned()
        };
        app.service.create(&acme, None, named(&email), None)
    });
    let mut numbers: Vec<i32> = join_all(mixed)
        .await
        .into_iter()
        .filter_map(|outcome| Some(outcome.and_then(Completion::done).ok()?.account.id.as_i32()))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (3..53).collect::<Vec<_>>());
    assert_eq!(app.database.number(DRAWN).await, 52);
}

trait ContainsError {
    fn contains_error(&self, wanted: &Error) -> bool;
}

impl ContainsError for Vec<Result<Completion, Error>> {
    fn contains_error(&self, wanted: &Error) -> bool {
        self.iter()
            .any(|outcome| outcome.as_ref().err() == Some(wanted))
    }
}

#[tokio::test]
async fn the_end_of_the_account_numbers_is_foreseen_and_has_an_error_of_its_own() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    let first = client.account("first").await;
    let superuser = app.database.superuser().await;
    let findings = async || {
        let store = Store::new(app.database.options(), &pool_settings());
        let report = store.examine(|| app.clock.now()).await.unwrap();
        let about = |problem: &str| problem.contains("account numbers");
        report
            .server_findings
            .iter()
            .filter(|finding| about(&finding.problem))
            .count()
    };
    app.service.observe_account_numbers().await.unwrap();
    let metrics = app.service.render_metrics();
    assert!(
        metrics.contains("steward_account_numbers_used 1\n"),
        "{metrics}"
    );
    assert_eq!(findings().await, 0);

    // Past the half, an operator is warned and everything works.
    sqlx::raw_sql("select setval('account_id_seq', 1073741823)")
        .execute(&superuser)
        .await
        .unwrap();
    assert_eq!(client.account("half").await, 1_073_741_824);
    app.service.observe_account_numbers().await.unwrap();
    assert!(
        app.service
            .render_metrics()
            .contains("steward_account_numbers_used 1073741824\n")
    );
    assert_eq!(findings().await, 1);

    // The last two numbers are given away; then creating is refused, and nothing else is.
    sqlx::raw_sql("select setval('account_id_seq', 2147483645)")
        .execute(&superuser)
        .await
        .unwrap();
    let caller = context(&app, &client).await;
    let (create, freeze) = (
        |name: &'static str| {
            app.service
                .create(&caller, None, named(&format!("{name}@example.com")), None)
        },
        client.call("freeze", json!({"id": first})),
    );
    let (one, two, three, frozen) =
        tokio::join!(create("one"), create("two"), create("three"), freeze);
    let mut outcomes = vec![one, two, three];
    assert!(outcomes.contains_error(&Error::AccountNumbersExhausted));
    outcomes.retain(Result::is_ok);
    assert_eq!(outcomes.len(), 2);
    frozen.ok();
    assert_eq!(app.database.number(DRAWN).await, ACCOUNT_NUMBERS);
    let message = "No account number is left";
    refused(
        &v3.call(
            "POST",
            "/v3/accounts",
            &json!({"email": "four@example.com"}),
        )
        .await,
        507,
        "ACCOUNT_NUMBERS_EXHAUSTED",
        message,
    );
    let members = json!({"name": "f", "title": "f", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "email": "five@example.com"});
    client.call("save", members).await.is_error(507, message);
    let (code, text, _) = soap
        .call(
            "CreateAccount",
            "<name>Six</name><email>six@example.com</email><password>secret</password><planID>0</planID><sendEmail>false</sendEmail>",
        )
        .await;
    assert_eq!(code, "GeneralError");
    assert!(text.starts_with(message), "{text}");
    client.call("unfreeze", json!({"id": first})).await.ok();
}

/// Inserts an account with a number, as an import does.
fn imported(reseller: i64, number: &str) -> String {
    format!(
        "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at)
         select {reseller}, n, gen_random_uuid(), 'active', '2026-03-01', 1, '2026-03-01', '2026-03-01'
         from {number} as n"
    )
}

async fn run(connection: &mut PgConnection, statements: String) {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_long_row_of_imported_numbers_is_passed_at_once() {
    let app = App::new().await;
    app.new_reseller("Acme").await;
    let mut connection = PgConnection::connect_with(&app.database.superuser_options())
        .await
        .unwrap();
    // A row of 30,000 numbers, one of which an account had that was purged, and a few more.
    run(&mut connection, imported(1, "generate_series(1, 30000)")).await;
    run(
        &mut connection,
        imported(1, "unnest('{30002,30005,2000000000}'::integer[])"),
    )
    .await;
    let purged = "insert into tombstone (reseller_id, account_id, uid, created_at, purge_due_at, purged_at)
          select reseller_id, id, uid, created_at, created_at, created_at from account where id = 17000;
        delete from account where id = 17000";
    run(&mut connection, purged.to_owned()).await;
    let mut tx = connection.begin().await.unwrap();
    let drawn: Vec<i32> = sqlx::query_scalar("select draw_account_numbers(3)")
        .fetch_all(&mut *tx)
        .await
        .unwrap();
    assert_eq!(drawn, [30_001, 30_003, 30_004]);
    let scans: i64 = sqlx::query_scalar(
        "select sum(idx_scan)::bigint from pg_stat_xact_user_tables
         where relname in ('account', 'tombstone')",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert!(scans < 100, "{scans} look-ups");
}

const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'";

#[tokio::test]
async fn no_two_accounts_get_the_same_number() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    app.new_reseller("Other").await;
    let mut other = PgConnection::connect_with(&app.database.superuser_options())
        .await
        .unwrap();
    // An import into another reseller has written the next number, and is not committed.
    run(
        &mut other,
        format!("begin; {}", imported(2, "generate_series(1, 1)")),
    )
    .await;
    let context = context(&app, &acme).await;
    let creation = app
        .service
        .create(&context, None, named("a@example.com"), None);
    let commit = async {
        until("the creation waits for the import", async || {
            (app.database.number(WAITING).await == 1).then_some(())
        })
        .await;
        run(&mut other, "commit".to_owned()).await;
    };
    let (created, ()) = tokio::join!(creation, commit);
    let created = created.unwrap().done().unwrap().account;
    assert_eq!(created.id.as_i32(), 2);
    // Nor the same UUID.
    let repeated = imported(2, "generate_series(9, 9)")
        .replace("gen_random_uuid()", &format!("'{}'", created.uid));
    let refused = sqlx::raw_sql(AssertSqlSafe(repeated))
        .execute(&mut other)
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("account_uuid_uq"), "{refused}");
}
