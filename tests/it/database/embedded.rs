//! The embedded PostgreSQL: start, stop, crashes, and the search for its programs. Tests of
//! processes run the real program; the others call the library.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _};
use steward::store::embedded::{Cluster, Failure, Search, Settings};

use crate::harness::process::{Served, eventually, folder, postmaster, run, steward, succeed};

fn settings(data_dir: &Path) -> Settings {
    Settings {
        data_dir: data_dir.to_owned(),
        search: Search::usual(None),
        fetch: true,
        durable: false,
        max_connections: 20,
    }
}

/// Creates a reseller with one account, and answers its token.
fn with_account(served: &Served) -> String {
    succeed(&served.data_dir, &["reseller", "create", "--name", "Acme"]);
    let issued: Value = serde_json::from_str(&succeed(
        &served.data_dir,
        &["token", "create", "--reseller", "Acme", "--json"],
    ))
    .unwrap();
    succeed(
        &served.data_dir,
        &[
            "account",
            "create",
            "--reseller",
            "Acme",
            "--email",
            "a@example.com",
        ],
    );
    issued["token"].as_str().unwrap().to_owned()
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

/// Reads account 1 as soon as the service can answer.
fn get_eventually(served: &Served, token: &str) -> Value {
    eventually("an answer", || {
        let (status, body) = served.post("get", &json!({"token": token, "id": 1}));
        assert!(status == 200 || status == 503, "{status}: {body}");
        (status == 200).then(|| serde_json::from_str::<Value>(&body).unwrap()["data"].clone())
    })
}

#[test]
fn after_kill_9_of_the_service_postgres_stops_and_the_next_start_has_all_data() {
    let folder = folder();
    let served = Served::start(folder.path());
    let token = with_account(&served);
    assert_eq!(
        served.post("freeze", &json!({"token": token, "id": 1})).0,
        200
    );
    let postgres = served.postmaster().unwrap();
    served.kill();
    eventually("the end of the server", || {
        (!is_alive(postgres)).then_some(())
    });
    let served = Served::start(folder.path());
    assert_eq!(get_eventually(&served, &token)["is_frozen"], json!(true));
    assert!(served.stop().success());
}

#[test]
fn after_kill_9_of_postgres_the_service_starts_it_again() {
    let folder = folder();
    let served = Served::start(folder.path());
    let token = with_account(&served);
    assert_eq!(
        served.post("freeze", &json!({"token": token, "id": 1})).0,
        200
    );
    let postgres = served.postmaster().unwrap();
    kill(postgres, Signal::SIGKILL).unwrap();
    eventually("another server", || {
        served.postmaster().filter(|pid| *pid != postgres)
    });
    assert_eq!(get_eventually(&served, &token)["is_frozen"], json!(true));
    assert!(served.log().contains("starting it again"));
    assert!(served.stop().success());
}

#[test]
fn after_kill_9_of_both_the_next_start_recovers() {
    let folder = folder();
    let served = Served::start(folder.path());
    let token = with_account(&served);
    assert_eq!(
        served.post("freeze", &json!({"token": token, "id": 1})).0,
        200
    );
    served.signal(Signal::SIGSTOP);
    kill(served.postmaster().unwrap(), Signal::SIGKILL).unwrap();
    served.kill();
    let served = Served::start(folder.path());
    assert_eq!(get_eventually(&served, &token)["is_frozen"], json!(true));
    assert!(served.stop().success());
}

#[test]
fn after_kill_9_during_initdb_the_next_start_is_clean() {
    let folder = folder();
    let mut starting = steward(folder.path())
        .args(["migrate"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("an initdb at work", || {
        folder
            .path()
            .join("postgres/data.new/base")
            .exists()
            .then_some(())
    });
    starting.kill().unwrap();
    starting.wait().unwrap();
    assert!(
        !folder.path().join("postgres/data").exists(),
        "the kill came too late"
    );
    let served = Served::start(folder.path());
    with_account(&served);
    assert!(!folder.path().join("postgres/data.new").exists());
    assert!(served.stop().success());
}

#[test]
fn a_second_service_shares_the_running_postgres_and_leaves_it_running() {
    let folder = folder();
    let first = Served::start(folder.path());
    let token = with_account(&first);
    let server = first.postmaster().unwrap();
    let second = Served::start(folder.path());
    assert_eq!(
        second.post("freeze", &json!({"token": token, "id": 1})).0,
        200
    );
    assert!(second.stop().success());
    assert!(is_alive(server), "the first one's server goes on");
    assert_eq!(get_eventually(&first, &token)["is_frozen"], json!(true));
    assert_eq!(first.postmaster(), Some(server));
    assert!(first.stop().success());
    assert!(!is_alive(server));
    assert_eq!(postmaster(folder.path()), None);
}

#[test]
fn two_services_can_start_on_one_empty_folder_at_once() {
    let folder = folder();
    let path = folder.path().to_owned();
    let other = std::thread::spawn(move || Served::start(&path));
    let one = Served::start(folder.path());
    let other = other.join().unwrap();
    let token = with_account(&one);
    assert_eq!(other.post("get", &json!({"token": token, "id": 1})).0, 200);
    // The service that started PostgreSQL stops last.
    let (owner, guest) = if one.log().contains("started the embedded") {
        (one, other)
    } else {
        (other, one)
    };
    assert!(guest.stop().success());
    assert!(owner.stop().success());
}

#[test]
fn durability_is_on_and_no_port_is_open() {
    let folder = folder();
    let served = Served::start(folder.path());
    let socket = folder.path().join("postgres/run");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .socket(&socket)
            .port(5432)
            .username("steward")
            .database("steward");
        let mut connection = options.connect().await.unwrap();
        for (name, value) in [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("listen_addresses", ""),
            ("data_checksums", "on"),
        ] {
            let found: String = sqlx::query_scalar("select current_setting($1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(found, value, "{name}");
        }
        connection.close().await.unwrap();
    });
    assert!(served.stop().success());
}

#[test]
fn postgres_runs_as_another_user_only_under_root() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = folder();
    let served = Served::start(folder.path());
    let postgres = served.postmaster().unwrap();
    let owner = fs::metadata(folder.path().join("postgres/data"))
        .unwrap()
        .uid();
    if Uid::effective().is_root() {
        assert_ne!(owner, 0);
    } else {
        assert_eq!(owner, Uid::effective().as_raw());
    }
    if let Ok(process) = fs::metadata(format!("/proc/{postgres}")) {
        assert_eq!(process.uid(), owner);
    }
    assert!(served.stop().success());
}

#[tokio::test]
async fn a_folder_that_the_servers_user_cannot_enter_is_named() {
    let folder = folder();
    let closed = folder.path().join("closed");
    fs::create_dir_all(closed.join("data")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let failure = Cluster::start(&settings(&closed.join("data")))
        .await
        .unwrap_err();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    if Uid::effective().is_root() {
        assert!(
            matches!(&failure, Failure::NotEnterable { path, mode: 0o600, .. } if path.ends_with("closed")),
            "{failure}"
        );
        assert!(
            failure.to_string().contains("cannot enter")
                && failure.to_string().contains("STEWARD_DATABASE__DATA_DIR")
        );
    } else {
        assert!(matches!(failure, Failure::Io { .. }), "{failure}");
    }
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_and_not_touched() {
    let folder = folder();
    let data = folder.path().join("postgres/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "14\n").unwrap();
    let failure = Cluster::start(&settings(folder.path())).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::OtherMajor { made_by: 14, .. }),
        "{failure}"
    );
    assert!(
        failure
            .to_string()
            .contains("was made by PostgreSQL 14; found only ["),
        "{failure}"
    );
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
}

#[tokio::test]
async fn without_postgres_programs_the_error_lists_three_remedies() {
    let folder = folder();
    let nowhere = Settings {
        search: Search::default(),
        fetch: false,
        ..settings(folder.path())
    };
    let failure = Cluster::start(&nowhere).await.unwrap_err().to_string();
    assert!(failure.contains("fetching it is turned off"), "{failure}");
    for line in [
        "  set DATABASE_URL",
        "  install PostgreSQL",
        "  install pip",
    ] {
        assert!(failure.contains(line), "{failure}");
    }
    let empty = Settings {
        search: Search::usual(Some(folder.path().to_owned())),
        ..settings(folder.path())
    };
    let failure = Cluster::start(&empty).await.unwrap_err().to_string();
    assert!(failure.starts_with("database.pg_bin_dir: "), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_programs_the_pinned_version_is_downloaded_once() {
    let folder = folder();
    let nowhere = Settings {
        search: Search::default(),
        fetch: true,
        ..settings(folder.path())
    };
    for attempt in ["fetched", "cached"] {
        let wanted = Settings {
            fetch: attempt == "fetched",
            ..nowhere.clone()
        };
        let cluster = Cluster::start(&wanted)
            .await
            .unwrap_or_else(|failure| panic!("{attempt}: {failure}"));
        cluster.ensure_database("steward").await.unwrap();
        let options = cluster.options("steward");
        steward::store::Store::migrate(&options).await.unwrap();
        let mut connection = options.connect().await.unwrap();
        let version: String = sqlx::query_scalar("select current_setting('server_version')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(version.starts_with("18."), "{version}");
        connection.close().await.unwrap();
        cluster.stop().await;
    }
    assert!(!folder.path().join("cache/download").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_with_a_long_path_gets_a_short_socket_path() {
    let folder = folder();
    let deep = folder
        .path()
        .join("a-rather-long-name-for-a-folder/".repeat(4));
    fs::create_dir_all(&deep).unwrap();
    let cluster = Cluster::start(&settings(&deep)).await.unwrap();
    cluster.ensure_database("steward").await.unwrap();
    cluster.ensure_database("steward").await.unwrap();
    let socket = cluster.options("steward").get_socket().cloned().unwrap();
    assert!(socket.as_os_str().len() < 60, "{}", socket.display());
    cluster.stop().await;
    fs::remove_dir_all(socket).unwrap();
}

#[test]
fn the_error_of_a_postgres_that_cannot_start_has_its_log() {
    let folder = folder();
    succeed(folder.path(), &["migrate"]);
    fs::write(
        folder.path().join("postgres/data/postgresql.auto.conf"),
        "no_such_setting = 1\n",
    )
    .unwrap();
    let output = run(folder.path(), ["migrate"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("no_such_setting"), "{stderr}");
}
