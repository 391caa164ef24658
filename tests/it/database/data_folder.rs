//! A mistyped data folder or database URL is not silently a new, empty database.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use steward::store::embedded::{Cluster, Search, Settings};

use crate::harness::TestDatabase;
use crate::harness::process::{Served, folder, steward, succeed};

/// The commands that may make a new database.
const MAKERS: [&str; 4] = ["serve", "demo", "migrate", "restore"];
/// The commands that use no database.
const WITHOUT: [&str; 7] = [
    "config",
    "completions",
    "man",
    "openapi",
    "wsdl",
    "listen",
    "help",
];
/// The other commands, as they are called.
const READERS: [&[&str]; 10] = [
    &["worker"],
    &["backup", "backup.gz"],
    &["reseller", "list"],
    &["token", "list"],
    &["account", "show", "1"],
    &["bulk", "operations.jsonl"],
    &["purge", "plan"],
    &["doctor"],
    // These flags say that the database exists.
    &["serve", "--no-migrate"],
    &["demo", "--print-env"],
];

/// The subcommands that `steward --help` lists.
fn subcommands(data: &Path) -> BTreeSet<String> {
    let help = succeed(data, &["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands = commands.split("\n\n").next().unwrap();
    commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn refused(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{command:?}: no {word} in {text}");
    }
}

fn command(data: &Path, work: &Path, arguments: &[&str]) -> Command {
    std::fs::write(work.join("operations.jsonl"), "").unwrap();
    let mut command = steward(data);
    command.current_dir(work).args(arguments);
    command
}

#[test]
fn every_command_is_known_to_make_a_database_or_to_refuse_an_empty_folder() {
    let folder = folder();
    let mut known: BTreeSet<String> = [&MAKERS[..], &WITHOUT]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    known.extend(READERS.iter().map(|arguments| arguments[0].to_owned()));
    let listed = subcommands(folder.path());
    let unknown: Vec<_> = listed.difference(&known).collect();
    assert!(unknown.is_empty(), "add {unknown:?} to a list of this test");
}

#[test]
fn a_missing_or_empty_data_folder_is_named_and_stays_as_it_is() {
    let folder = folder();
    let (missing, empty) = (folder.path().join("mistyped"), folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    for data in [&missing, &empty] {
        for arguments in READERS {
            let command = command(data, folder.path(), arguments);
            let words = [data.to_str().unwrap(), "database.data_dir", "there is no"];
            refused(command, &words);
        }
    }
    assert!(!missing.exists());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_tables_is_no_database() {
    // A first start that was killed before the migrations leaves this.
    let folder = folder();
    let settings = Settings {
        data_dir: folder.path().to_owned(),
        search: Search::usual(None),
        fetch: true,
        durable: true,
        max_connections: 20,
    };
    Cluster::start(&settings).await.unwrap().stop().await;
    let words = [
        folder.path().to_str().unwrap(),
        "database.data_dir",
        "there is no",
    ];
    for arguments in &READERS[..9] {
        refused(command(folder.path(), folder.path(), arguments), &words);
    }
    assert!(succeed(folder.path(), &["migrate"]).starts_with("applied"));
    succeed(folder.path(), &["reseller", "list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_url_without_our_tables_is_named() {
    let database = TestDatabase::blank().await;
    let folder = folder();
    for arguments in &READERS[..9] {
        let mut command = command(folder.path(), folder.path(), arguments);
        command.env("DATABASE_URL", database.url());
        let words = ["has no tables", "DATABASE_URL", "steward migrate"];
        refused(command, &words);
    }
    let tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(database.number(tables).await, 0);
}

#[test]
fn the_first_start_logs_no_notices_of_the_database() {
    let folder = folder();
    let served = Served::start(folder.path());
    let log = served.log();
    assert!(
        !log.contains("does not exist") && !log.contains("sqlx"),
        "{log}"
    );
    assert!(served.stop().success());
}
