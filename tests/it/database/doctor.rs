//! `steward doctor` and `steward doctor isolation`: the tests break a database and expect
//! findings.

use std::process::Output;

use sqlx::ConnectOptions as _;

use crate::harness::TestDatabase;
use crate::harness::process::{Served, folder, steward};

/// Tables whose rows an API returns by id.
const OPENED: [&str; 5] = ["account", "held", "journal", "webhook_endpoint", "bulk_job"];

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

struct Checked {
    database: TestDatabase,
    served: Served,
    operator: String,
    _folder: tempfile::TempDir,
}

impl Checked {
    async fn start() -> Self {
        let database = TestDatabase::new().await;
        let folder = folder();
        let url = database.url();
        let served = Served::start_with(folder.path(), |command| {
            command.env("DATABASE_URL", &url);
        });
        let made = steward(folder.path())
            .args(["token", "create", "--operator"])
            .env("DATABASE_URL", &url)
            .output()
            .unwrap();
        let operator = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        Self {
            database,
            served,
            operator,
            _folder: folder,
        }
    }

    fn isolation(&self) -> Output {
        let url = format!("http://{}", self.served.listen);
        let mut command = steward(&self.served.data_dir);
        command
            .args(["doctor", "isolation", "--no-timing", "--against", &url])
            .env("DATABASE_URL", self.database.url())
            .env("OPERATOR_TOKEN", &self.operator);
        command.output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Output {
        steward(&self.served.data_dir)
            .args(arguments)
            .env("DATABASE_URL", self.database.url())
            .output()
            .unwrap()
    }

    /// The findings, without the one that the tests' server is not durable.
    fn doctor(&self) -> Vec<String> {
        let output = self.command(&["doctor"]);
        let found: Vec<String> = text(&output)
            .lines()
            .filter(|line| line.starts_with("FAIL"))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            output.status.code(),
            Some(i32::from(!found.is_empty())),
            "{}",
            text(&output)
        );
        found
            .into_iter()
            .filter(|line| !line.contains(" is off: a crash of "))
            .collect()
    }

    async fn sql(&self, statement: String) {
        let superuser = self.database.superuser().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&superuser)
            .await
            .unwrap();
    }

    /// The expression of a table's row level security policy.
    async fn policy(&self, table: &str) -> String {
        let superuser = self.database.superuser().await;
        let statement = "select pg_get_expr(polqual, polrelid) from pg_policy where polrelid = $1::text::regclass and polname = 'of_resellers'";
        sqlx::query_scalar(statement)
            .bind(table)
            .fetch_one(&superuser)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn the_doctor_finds_a_broken_isolation_policy() {
    let checked = Checked::start().await;
    let (sound, healthy) = (checked.isolation(), checked.doctor());
    assert!(sound.status.success(), "{}", text(&sound));
    assert!(text(&sound).contains(", 0 failed"), "{}", text(&sound));
    assert_eq!(healthy, Vec::<String>::new());

    // Requests still get their own rows through a policy that admits every row, because every
    // statement also names its reseller. So the isolation test looks at the policies, too.
    for table in OPENED {
        let policy = checked.policy(table).await;
        let named = format!("policy of_resellers of table {table} is not the one");
        checked
            .sql(format!("alter policy of_resellers on {table} using (true)"))
            .await;
        let (found, outside) = (checked.doctor(), checked.isolation());
        assert!(found.len() == 1 && found[0].contains(&named), "{found:?}");
        assert!(
            outside.status.code() == Some(1)
                && text(&outside).contains(&named)
                && text(&outside).contains(", 1 failed"),
            "{table}: {}",
            text(&outside)
        );
        checked
            .sql(format!(
                "alter policy of_resellers on {table} using ({policy})"
            ))
            .await;
    }

    // Without its policy a table shows no rows.
    let policy = checked.policy("account").await;
    checked
        .sql("drop policy of_resellers on account".to_owned())
        .await;
    let (found, outside) = (checked.doctor(), checked.isolation());
    assert_eq!(
        (found.len(), outside.status.code()),
        (1, Some(1)),
        "{found:?}{}",
        text(&outside)
    );
    checked
        .sql(format!(
            "create policy of_resellers on account using ({policy})"
        ))
        .await;
    assert_eq!(checked.doctor(), Vec::<String>::new());
    let sound = checked.isolation();
    assert!(sound.status.success(), "{}", text(&sound));
}

#[tokio::test]
async fn a_superuser_in_the_database_url_is_a_warning_at_the_start_and_red_in_the_doctor() {
    let database = TestDatabase::new().await;
    let folder = folder();
    let superuser = database.superuser_options();
    for (options, is_warned) in [(database.options(), false), (superuser, true)] {
        let url = options.to_url_lossy().to_string();
        let served = Served::start_with(folder.path(), |command| {
            command.env("DATABASE_URL", &url);
        });
        let warning = "the database login has too many rights";
        assert_eq!(
            served.log().contains(warning),
            is_warned,
            "{}",
            served.log()
        );
        assert!(served.stop().success());
        let doctor = steward(folder.path())
            .arg("doctor")
            .env("DATABASE_URL", &url)
            .output()
            .unwrap();
        let doctor = text(&doctor);
        assert_eq!(doctor.contains("ok     login"), !is_warned, "{doctor}");
        assert_eq!(doctor.contains("FAIL   login"), is_warned, "{doctor}");
        assert!(
            !is_warned || doctor.contains("make a login that owns"),
            "{doctor}"
        );
    }
}

#[tokio::test]
async fn every_finding_of_the_doctor_names_a_remedy() {
    let checked = Checked::start().await;
    checked
        .sql("alter table plan disable row level security".to_owned())
        .await;
    let found = text(&checked.command(&["doctor"]));
    assert!(
        found.contains("FAIL   policies       row level security is not forced on table plan"),
        "{found}"
    );
    assert!(found.contains("fix: `alter table"), "{found}");
    checked
        .sql("alter table plan enable row level security".to_owned())
        .await;

    let reseller = checked.command(&["reseller", "create", "--name", "Acme"]);
    assert!(reseller.status.success(), "{}", text(&reseller));
    let endpoint = "insert into webhook_endpoint (reseller_id, id, url, events, signature_style, revision, position, created_at, updated_at)
        select id, gen_random_uuid(), 'https://127.0.0.1:1/hook', '{}', 'standard', 1, 0, now(), now() from reseller where id > 0";
    checked.sql(endpoint.to_owned()).await;
    // A receiver is its owner's to mend.
    let found = text(&checked.command(&["doctor"]));
    assert!(
        found.contains("warn   webhooks       1 of 1 receivers is not allowed")
            && found.contains("its address is not a public one"),
        "{found}"
    );
    let found: serde_json::Value =
        serde_json::from_slice(&checked.command(&["doctor", "--json"]).stdout).unwrap();
    let webhooks = &found["checks"][9];
    assert_eq!(
        (&webhooks["name"], &webhooks["findings"]),
        (&"webhooks".into(), &serde_json::json!([]))
    );
    assert_eq!(webhooks["warnings"].as_array().unwrap().len(), 1);

    let nowhere = steward(&checked.served.data_dir)
        .arg("doctor")
        .env("DATABASE_URL", "postgres://stranger@127.0.0.1:1/nothing")
        .output()
        .unwrap();
    assert!(
        nowhere.status.code() == Some(1) && text(&nowhere).contains("cannot connect"),
        "{}",
        text(&nowhere)
    );
}

#[tokio::test]
async fn the_doctor_finds_holds_that_lists_miss_and_writes_their_rows_anew() {
    let checked = Checked::start().await;
    let reseller = checked.command(&["reseller", "create", "--name", "Acme"]);
    assert!(reseller.status.success(), "{}", text(&reseller));
    // Account 1 is frozen, but has no row. Account 2 has a row, but is not frozen.
    checked
        .sql(
            r#"insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at, holds)
               select r.id, n, gen_random_uuid(), 'active', now(), 1, now(), now(), case when n = 1 then
                 '[{"id":"0191a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b","kind":"freeze","authority":"reseller","owner":"billing",
                    "level":"warn","scheduled":true,"starts_at":"2031-01-01T00:00:00Z","revision":1,
                    "opened_at":"2026-01-01T00:00:00Z","opened_by":"somebody"}]'::json end
               from reseller r, generate_series(1, 2) as n where r.id > 0;
               insert into held select reseller_id, id, 'suspend', 'operator', '', 'block', null, null, true
               from account where id = 2"#
                .to_owned(),
        )
        .await;
    let found = checked.doctor();
    assert_eq!(found.len(), 2, "{found:#?}");
    for (line, account) in found.iter().zip(["account 1 of", "account 2 of"]) {
        assert!(
            line.starts_with("FAIL   holds") && line.contains(account),
            "{line}"
        );
    }
    let renewed = text(&checked.command(&["doctor", "--renew-holds"]));
    assert!(
        renewed.contains("holds          wrote the rows of 2 accounts anew"),
        "{renewed}"
    );
    assert_eq!(checked.doctor(), Vec::<String>::new());
    assert_eq!(checked.database.wrong_held_rows().await, 0);
}
