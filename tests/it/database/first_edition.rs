//! Embedded clusters of builds before this one: their only login was a superuser that owned
//! everything, and the server's user owned every folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use steward::store::embedded::{Cluster, Search, Settings};
use steward::store::{MIGRATOR, Store};

use crate::harness::process::{Served, folder, run, succeed};

fn programs() -> PathBuf {
    let output = Command::new("pg_config").arg("--bindir").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A command as the server's user.
fn as_server(program: &str, home: &Path) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir(home).env("LC_ALL", "C");
    if Uid::effective().is_root() {
        let user = User::from_name("postgres").unwrap().unwrap();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn options(data_dir: &Path, login: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(data_dir.join("postgres/run"))
        .port(5432)
        .username(login)
        .database(database)
}

/// Makes a cluster as an earlier build did, with the migrations up to 9 and one reseller.
async fn make(data_dir: &Path) {
    let home = data_dir.join("postgres");
    folders(data_dir);
    initdb(&home, "steward");
    server(&home, "start");
    let mut connection = options(data_dir, "steward", "postgres")
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("create database steward")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let mut connection = options(data_dir, "steward", "steward")
        .connect()
        .await
        .unwrap();
    MIGRATOR.run_to(9, &mut connection).await.unwrap();
    sqlx::raw_sql(
        "insert into reseller (name, name_key, created_at, updated_at) values ('Acme', 'acme', now(), now());
         select prepare_journal(current_date, 3)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    server(&home, "stop");
}

/// The folders that an earlier build made: they belong to the server's user.
fn folders(data_dir: &Path) {
    let home = data_dir.join("postgres");
    let owner = User::from_name("postgres").unwrap();
    for folder in ["", "log", "run"] {
        let path = home.join(folder);
        fs::create_dir_all(&path).unwrap();
        if Uid::effective().is_root() {
            let owner = owner.as_ref().unwrap();
            chown(&path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(home.join("start.lock"), "").unwrap();
    fs::write(home.join("log/startup.log"), "").unwrap();
}

fn initdb(home: &Path, superuser: &str) {
    let made = as_server("initdb", home)
        .args([
            "-D",
            "data",
            "-U",
            superuser,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn server(home: &Path, what: &str) {
    let run = home.join("run");
    let output = as_server("pg_ctl", home)
        .args(["-D", "data", "-w", "-m", "fast", "-l", "log/old.log", "-o"])
        .arg(format!("-h '' -k {} -F", run.display()))
        .arg(what)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(output.success(), "{what}");
}

async fn number(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(connection)
        .await
        .unwrap()
}

const SUPERUSERS: &str = "select count(*) from pg_roles where rolname = 'steward' and rolsuper";
const OTHERS: &str = "select (select count(*) from pg_class where relnamespace = 'public'::regnamespace and relowner <> 'steward'::regrole)
    + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace and proowner <> 'steward'::regrole)
    + (select count(*) from pg_database where datname = 'steward' and datdba <> 'steward'::regrole)
    + (select count(*) from pg_roles where rolname = 'steward_renamer')";

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_an_earlier_build_gets_a_login_that_is_no_superuser() {
    let folder = folder();
    make(folder.path()).await;
    // Two services at once: one of them converts the cluster.
    let path = folder.path().to_owned();
    let other = std::thread::spawn(move || Served::start(&path));
    let one = Served::start(folder.path());
    let other = other.join().unwrap();
    let token = succeed(folder.path(), &["token", "create", "--reseller", "Acme"]);
    succeed(
        folder.path(),
        &[
            "account",
            "create",
            "--reseller",
            "Acme",
            "--email",
            "a@example.com",
        ],
    );
    for served in [&one, &other] {
        let (status, body) = served.post("freeze", &json!({"token": token.trim(), "id": 1}));
        assert_eq!(status, 200, "{body}");
    }
    let mut connection = options(folder.path(), "steward", "steward")
        .connect()
        .await
        .unwrap();
    assert_eq!(number(&mut connection, SUPERUSERS).await, 0);
    assert_eq!(number(&mut connection, OTHERS).await, 0);
    connection.close().await.unwrap();
    // Partitions can still be made: their function belongs to the new login.
    let doctor = run(folder.path(), ["doctor"]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    for check in ["schema", "login", "policies", "server"] {
        assert!(doctor.contains(&format!("ok     {check} ")), "{doctor}");
    }
    let (owner, guest) = if one.log().contains("started the embedded") {
        (one, other)
    } else {
        (other, one)
    };
    assert!(guest.stop().success());
    assert!(owner.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_that_was_interrupted_is_completed() {
    // After each of these statements a start may have been killed.
    let steps = [
        "create role steward_renamer login superuser",
        "create role steward_renamer login superuser; set role steward_renamer; set session authorization steward_renamer;
         alter role steward rename to steward_admin; create role steward login;
         do $$ begin
           if not exists (select from pg_roles where rolname = 'steward_service') then create role steward_service; end if;
         end $$",
    ];
    for step in steps {
        let folder = folder();
        make(folder.path()).await;
        let home = folder.path().join("postgres");
        server(&home, "start");
        let mut connection = options(folder.path(), "steward", "postgres")
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql(step).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        server(&home, "stop");
        let settings = Settings {
            data_dir: folder.path().to_owned(),
            search: Search::usual(None),
            fetch: true,
            durable: false,
            max_connections: 20,
        };
        let cluster = Cluster::start(&settings).await.unwrap();
        cluster.ensure_database("steward").await.unwrap();
        Store::migrate(&cluster.options("steward")).await.unwrap();
        let mut connection = cluster.options("steward").connect().await.unwrap();
        assert_eq!(number(&mut connection, SUPERUSERS).await, 0);
        assert_eq!(number(&mut connection, OTHERS).await, 0);
        connection.close().await.unwrap();
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_compose_makes_a_login_that_can_migrate_and_is_no_superuser() {
    let folder = folder();
    let home = folder.path().join("postgres");
    folders(folder.path());
    initdb(&home, "postgres");
    server(&home, "start");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/postgres-init");
    let output = Command::new(script)
        .env("PGHOST", home.join("run"))
        .env("PGPORT", "5432")
        .env("STEWARD_PASSWORD", "it's secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let login = options(folder.path(), "steward", "steward");
    let migrated = Store::migrate(&login).await;
    assert_eq!(migrated, Ok(MIGRATOR.iter().count()));
    let store = Store::new(login, &crate::harness::app::pool_settings());
    let report = store.check_schema().await.unwrap();
    assert_eq!(
        (
            report.schema_findings,
            report.access_findings,
            report.login_finding
        ),
        (vec![], vec![], None)
    );
    store.close().await;
    server(&home, "stop");
}
