//! Two layers keep resellers apart: the statements name the reseller, and the policies of row level
//! security hide the other resellers' rows. Each layer hides the absence of the other, so each is
//! tested without the other.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use steward::dialects::operation::Access;
use steward::dialects::{admin, v3};
use steward::domain::ResellerId;
use steward::store::SERVICE_ROLE;

use crate::harness::process::{folder, steward};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

pub(super) async fn run(superuser: &PgPool, statement: impl Into<String>) {
    let statement = statement.into();
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(superuser)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Runs `steward doctor isolation` against the router of a test.
async fn doctor_isolation(app: &App) -> (bool, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let operator = app.token(None, None).await;
    let router = app.router.clone();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let output = tokio::task::spawn_blocking(move || {
        steward(folder().path())
            .args(["doctor", "isolation", "--no-timing", "--against", &url])
            .env("OPERATOR_TOKEN", operator)
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    serving.abort();
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statements_alone_keep_resellers_apart() {
    let app = App::new().await;
    let superuser = app.database.superuser().await;
    open_all_policies(&superuser).await;
    let (is_sound, text) = doctor_isolation(&app).await;
    assert!(is_sound && text.contains(", 0 failed"), "{text}");
}

/// The tenant tables and the column that names the reseller.
pub(super) async fn tenant_tables(superuser: &PgPool) -> Vec<(String, &'static str)> {
    let names: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace
           and relkind in ('r', 'p') and not relispartition and relforcerowsecurity order by relname",
    )
    .fetch_all(superuser)
    .await
    .unwrap();
    let column = |name: &str| {
        if name == "reseller" {
            "id"
        } else {
            "reseller_id"
        }
    };
    names
        .into_iter()
        .map(|name| (name.clone(), column(&name)))
        .collect()
}

/// A reseller with a row in every table, and the ids in the paths of its things.
struct Everything {
    client: Client,
    v3: V3,
    account: String,
    plan: String,
    webhook: String,
    job: String,
}

impl Everything {
    fn path(&self, operation: &v3::Operation) -> String {
        let id = match operation.id {
            v3::Id::None => "",
            v3::Id::Account => &self.account,
            v3::Id::Plan => &self.plan,
            // The log has one attempt, with the id of the endpoint.
            v3::Id::Webhook | v3::Id::EventLog => &self.webhook,
            v3::Id::BulkJob => &self.job,
            v3::Id::Token | v3::Id::Reseller | v3::Id::Entry => "1",
        };
        operation.path.replace("{id}", id)
    }
}

/// Makes reseller 1, with a row in every table.
async fn with_everything(app: &App, superuser: &PgPool) -> Everything {
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let (first, second) = (client.account("a").await, client.account("b").await);
    for reason in ["x", "y"] {
        let freeze = json!({"id": first, "reason": reason});
        client.call_once("freeze", reason, freeze).await.ok();
    }
    let metadata = json!({"id": first, "metadata": {"x": "x"}});
    client.call("save", metadata).await.ok();
    for suspend in [true, false] {
        app.suspend_reseller(ResellerId(1), suspend).await;
    }
    let made = async |path: &str, body: Value| {
        let made = v3.call("POST", path, &body).await;
        assert_eq!(made.status.as_u16(), 201, "{}", made.body);
        made.json()["id"].as_str().unwrap_or_default().to_owned()
    };
    let plan = made("/v3/plans", json!({"name": "x", "displayName": "x"})).await;
    made("/v3/tokens", json!({"name": "x"})).await;
    let hook = made("/v3/webhooks", json!({"url": "https://example.com/x"})).await;
    let test = format!("/v3/webhooks/{hook}/test");
    let test = v3.call("POST", &test, &Value::Null).await;
    assert!(test.status.is_success(), "{}", test.body);
    let job = json!({"selector": {"all": true}, "operation": {"operation": "status", "status": "inactive"}});
    let job = made("/v3/bulk-jobs", job).await;
    let path = format!("/v3/bulk-jobs/{job}");
    v3.call("POST", &format!("{path}/apply"), &Value::Null)
        .await;
    crate::harness::process::until("the job is applied", async || {
        (v3.get(&path).await.ok()["state"] == "applied").then_some(())
    })
    .await;
    for by_hand in [
        "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded, duration_ms)
         select reseller_id, id, id, 1, 'account.updated', 1, created_at, 1, created_at, true, 1 from webhook_endpoint",
        "insert into tombstone (reseller_id, account_id, uid, created_at, purge_due_at, purged_at)
         select reseller_id, id, uid, created_at, created_at, created_at from account",
        "insert into earlier_hold (reseller_id, account_id, id, kind, authority, revision, opened_at, opened_by)
         select reseller_id, id, uid, 'freeze', 'reseller', 2, created_at, 'test' from account",
        "insert into earlier_hold_revision (reseller_id, account_id, hold_id, revision, replaced_at, replaced_by)
         select reseller_id, id, uid, 1, created_at, 'test' from account",
        "insert into signing_key (reseller_id, id, secret, created_at) select id, 'x', sha256('x'), created_at from reseller where id = 1",
        "insert into restoration (reseller_id, first_event, last_event, backed_up_at, restored_at)
         select id, 1000000000, 999999999, created_at, created_at from reseller where id = 1",
    ] {
        run(superuser, by_hand).await;
    }
    run(
        superuser,
        format!("update account set purge_due_at = created_at where id = {second}"),
    )
    .await;
    app.service.keep_totals(ResellerId(1)).await.unwrap();
    Everything {
        account: client.get(first).await["uid"].as_str().unwrap().to_owned(),
        client,
        v3,
        plan,
        webhook: hook,
        job,
    }
}

/// Makes reseller 2, whose rows are copies of those of reseller 1, with the same ids. Only the
/// credentials differ. Foreign keys are not checked meanwhile.
async fn copy_everything(app: &App, superuser: &PgPool) {
    let other = app.reseller("Other").await;
    assert_eq!(other, ResellerId(2));
    // The copies have the numbers and UUIDs of the originals, which no two accounts can have.
    run(superuser, "drop index account_number_uq, account_uuid_uq").await;
    let mut copying = superuser.begin().await.unwrap();
    for (table, column) in tenant_tables(superuser).await {
        if table == "reseller" {
            continue;
        }
        let more = if table == "api_token" {
            ", 'hash', sha256(hash)"
        } else {
            ""
        };
        let copy = format!(
            "insert into {table} select (jsonb_populate_record(t, jsonb_build_object('{column}', 2{more}))).* from {table} t where {column} = 1"
        );
        let statement = format!("set local session_replication_role = replica; {copy}");
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut *copying)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    copying.commit().await.unwrap();
    // And accounts with ids of their own.
    run(
        superuser,
        "insert into account select (jsonb_populate_record(t, jsonb_build_object('id', id + 1000, 'uid', gen_random_uuid(),
           'profile', json_build_object('name', 'foreign', 'email', 'x' || email_key), 'email_key', 'x' || email_key))).* from account t where reseller_id = 2",
    )
    .await;
    for (table, count, _) in rows_of_the_other(superuser).await {
        assert!(
            count > 0,
            "a row in the new table {table} belongs into this test"
        );
    }
}

/// Lets every policy admit every row.
async fn open_all_policies(superuser: &PgPool) {
    let open: Vec<String> = sqlx::query_scalar(
        "select format('alter policy %I on %I using (true)', polname, polrelid::regclass) from pg_policy",
    )
    .fetch_all(superuser)
    .await
    .unwrap();
    assert!(open.len() > 30, "{open:?}");
    for statement in open {
        run(superuser, statement).await;
    }
}

/// A digest of the rows of reseller 2 in each table.
async fn rows_of_the_other(superuser: &PgPool) -> Vec<(String, i64, String)> {
    let mut rows = Vec::new();
    for (table, column) in tenant_tables(superuser).await {
        let digest = format!(
            "select count(*), coalesce(string_agg(t::text, chr(10) order by t::text), '') from {table} t where {column} = 2"
        );
        let (count, text) = sqlx::query_as::<_, (i64, String)>(AssertSqlSafe(digest))
            .fetch_one(superuser)
            .await
            .unwrap();
        rows.push((table, count, text));
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statements_alone_find_and_change_only_rows_of_the_caller() {
    let app = App::new().await;
    let superuser = app.database.superuser().await;
    let mine = with_everything(&app, &superuser).await;
    open_all_policies(&superuser).await;
    let is_mine = |row: &&v3::Operation| matches!(row.access, Access::Scope(_));
    let reads = async || {
        let mut answers = Vec::new();
        for operation in v3::OPERATIONS.iter().filter(is_mine) {
            if operation.method == "GET" {
                let answer = mine.v3.get(&mine.path(operation)).await;
                assert_eq!(
                    answer.status.as_u16(),
                    200,
                    "{}: {}",
                    operation.name,
                    answer.body
                );
                answers.push((operation.name, answer.body));
            }
        }
        for path in [
            "/v3/accounts?email=b@example.com",
            "/v3/accounts?asOf=2026-03-01T12:00:00Z",
        ] {
            let answer = mine.v3.get(path).await;
            assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.body);
            answers.push((path, answer.body));
        }
        for (call, members) in [
            ("list", json!({"from_id": 1, "limit": 1000})),
            (
                "list",
                json!({"from_id": 1, "limit": 1000, "state": "frozen"}),
            ),
            ("get", json!({"id": 1})),
            ("history", json!({"id": 1})),
        ] {
            answers.push((call, mine.client.call(call, members).await.ok().to_string()));
        }
        answers
    };
    let before = reads().await;
    copy_everything(&app, &superuser).await;
    for (before, after) in before.iter().zip(reads().await) {
        assert_eq!(before, &after, "with another reseller's rows in the tables");
    }
    let theirs = rows_of_the_other(&superuser).await;
    let unchanged = async |name: &str| {
        for (before, after) in theirs.iter().zip(rows_of_the_other(&superuser).await) {
            assert_eq!(before, &after, "{name} touched rows of another reseller");
        }
    };
    // One statement writes a hold. Another one writes a hold whose details are replaced.
    for (call, id) in [("suspend", 2), ("freeze", 1)] {
        let members = json!({"id": id, "reason": "z"});
        let answer = mine.client.call(call, members).await;
        unchanged(call).await;
        answer.ok();
    }
    for operation in v3::OPERATIONS.iter().filter(is_mine) {
        // The credential of the requests stays valid: the last token is rotated and deleted.
        let path = if matches!(operation.id, v3::Id::Token) {
            operation.path.replace("{id}", "2")
        } else {
            mine.path(operation)
        };
        if operation.method != "GET" {
            let (method, body) = (operation.method, operation.example);
            let answer = mine.v3.send(method, &path, &[], body).await;
            assert!(
                answer.status.as_u16() < 500,
                "{}: {}",
                operation.name,
                answer.body
            );
            unchanged(operation.name).await;
        }
    }
    for operation in admin::OPERATIONS {
        let members: Value = serde_json::from_str(operation.example).unwrap();
        let mut members = members;
        if members["id"] == json!(7) {
            members["id"] = json!(2);
        }
        let answer = mine.client.call(operation.name, members).await;
        assert!(
            answer.status.as_u16() < 500,
            "{}: {}",
            operation.name,
            answer.body
        );
        unchanged(operation.name).await;
    }
}

/// What a transaction of reseller 1 can do with rows of reseller 2, or cannot do with its own, when
/// its statements ask for just that.
async fn holes(superuser: &PgPool) -> Vec<String> {
    let mut holes = Vec::new();
    let mut connection = superuser.acquire().await.unwrap();
    for (table, column) in tenant_tables(superuser).await {
        let privileges = sqlx::query(
            "select has_table_privilege($1, $2, 'insert') as creates, has_table_privilege($1, $2, 'update') as changes, has_table_privilege($1, $2, 'delete') as deletes",
        )
        .bind(SERVICE_ROLE)
        .bind(&table)
        .fetch_one(superuser)
        .await
        .unwrap();
        let may = |what: &str| privileges.get::<bool, _>(what);
        let columns: String = sqlx::query_scalar(
            "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
             where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attname <> $2",
        )
        .bind(&table)
        .bind(column)
        .fetch_one(superuser)
        .await
        .unwrap();
        let count = format!("select count(*) from {table} where {column} = ");
        for (setting, reseller, sees) in [
            ("", 1, false),
            ("'steward.resellers', ''", 1, false),
            ("'steward.resellers', '1'", 1, true),
            ("'steward.resellers', '1'", 2, false),
            ("'steward.resellers', '1,2'", 2, true),
            ("'steward.scope', 'platform'", 2, true),
            ("'steward.scope', 'reseller'", 2, false),
            ("'steward.token_hash', ''", 2, false),
        ] {
            let seen = within(&mut connection, setting, &format!("{count}{reseller}")).await;
            if seen.as_ref().is_ok_and(|rows| (*rows > 0) == sees) {
                continue;
            }
            holes.push(format!(
                "{table}: with [{setting}] {seen:?} rows of {reseller} are seen"
            ));
        }
        let own = "'steward.resellers', '1'";
        let mut tries = Vec::new();
        if may("changes") {
            tries.push(format!("with t as (update {table} set {column} = {column} where {column} = 2 returning 1) select count(*) from t"));
            // The first own row is moved to the other reseller.
            tries.push(format!("with t as (update {table} set {column} = 3 where {column} = 1 returning 1) select count(*) from t"));
        }
        if may("deletes") {
            tries.push(format!("with t as (delete from {table} where {column} = 2 returning 1) select count(*) from t"));
        }
        if may("creates") {
            tries.push(format!("with t as (insert into {table} ({column}, {columns}) select 3, {columns} from {table} where {column} = 1 limit 1 returning 1) select count(*) from t"));
        }
        for statement in tries {
            let done = within(&mut connection, own, &statement).await;
            let is_refused = match &done {
                Ok(rows) => *rows == 0,
                Err(problem) => problem.contains("row-level security"),
            };
            if !is_refused {
                holes.push(format!("{table}: {statement}: {done:?}"));
            }
        }
    }
    holes
}

/// The number that a statement returns in a transaction of the service's role with a setting.
async fn within(
    connection: &mut sqlx::PgConnection,
    setting: &str,
    statement: &str,
) -> Result<i64, String> {
    let set = if setting.is_empty() {
        String::new()
    } else {
        format!("; select set_config({setting}, true)")
    };
    let begin = format!("begin; set local role {SERVICE_ROLE}{set}");
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut *connection)
        .await
        .unwrap();
    let number = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| error.to_string());
    sqlx::raw_sql("rollback").execute(connection).await.unwrap();
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policies_alone_keep_resellers_apart() {
    let app = App::new().await;
    let superuser = app.database.superuser().await;
    with_everything(&app, &superuser).await;
    copy_everything(&app, &superuser).await;
    assert_eq!(holes(&superuser).await, Vec::<String>::new());
    // Each policy counts: without it, or with one that admits every row, there is a hole.
    let policies = sqlx::query(
        "select polrelid::regclass::text as table, polname::text as name, pg_get_expr(polqual, polrelid) as condition from pg_policy order by 1, 2",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    for policy in policies {
        let [table, name, condition]: [String; 3] =
            ["table", "name", "condition"].map(|column| policy.get(column));
        run(
            &superuser,
            format!("alter policy {name} on {table} using (true)"),
        )
        .await;
        let found = holes(&superuser).await;
        assert!(
            !found.is_empty()
                && found
                    .iter()
                    .all(|hole| hole.starts_with(&format!("{table}: "))),
            "{name} on {table} admits every row: {found:?}"
        );
        run(
            &superuser,
            format!("alter policy {name} on {table} using ({condition})"),
        )
        .await;
    }
    assert_eq!(holes(&superuser).await, Vec::<String>::new());
}
