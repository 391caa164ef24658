//! Backups: made while the service writes, restored whole or not at all.

mod contents;
mod fixture;
mod ids;
mod interruptions;
mod refusals;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::TestDatabase;
use crate::harness::process::{Served, request, steward};

/// A command on a database.
pub(super) fn on(database: &TestDatabase, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = steward(folder);
    command.env("DATABASE_URL", database.url()).args(arguments);
    command
}

pub(super) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command that must succeed. Answers its output.
#[track_caller]
pub(super) fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    text(&output)
}

/// Runs a command that must fail with these words.
#[track_caller]
pub(super) fn refuses(mut command: Command, words: &[&str]) -> String {
    let output = command.output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{command:?}: no {word:?} in {text}");
    }
    text
}

/// Makes a backup in the folder.
#[track_caller]
pub(super) fn back_up(database: &TestDatabase, folder: &Path) -> PathBuf {
    let file = folder.join(format!("{}.gz", database.name));
    let made = succeeds(on(database, folder, &["backup", file.to_str().unwrap()]));
    assert!(made.contains("wrote "), "{made}");
    file
}

/// Restores a backup into a new database.
pub(super) async fn restore(file: &Path, folder: &Path) -> TestDatabase {
    let database = TestDatabase::blank().await;
    let restored = succeeds(on(&database, folder, &["restore", file.to_str().unwrap()]));
    assert!(restored.contains("restored "), "{restored}");
    database
}

pub(super) fn serve(database: &TestDatabase, folder: &Path) -> Served {
    Served::start_with(folder, |command| {
        command.env("DATABASE_URL", database.url());
    })
}

/// A new reseller and its token.
#[track_caller]
pub(super) fn reseller(database: &TestDatabase, folder: &Path, name: &str) -> String {
    succeeds(on(
        database,
        folder,
        &["reseller", "create", "--name", name],
    ));
    let arguments = ["token", "create", "--reseller", name, "--json"];
    let issued = on(database, folder, &arguments).output().unwrap();
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap();
    issued["token"].as_str().unwrap().to_owned()
}

/// A call of `v3`.
pub(super) fn v3(
    served: &Served,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let (status, body) = request(served.listen, method, path, &headers, body);
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    (status, body)
}

/// The lines of a backup.
pub(super) fn unpack(file: &Path) -> String {
    let mut lines = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())
        .read_to_string(&mut lines)
        .unwrap();
    lines
}

/// Writes lines as a backup.
pub(super) fn pack(file: &Path, lines: &str) {
    let out = std::fs::File::create(file).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(lines.as_bytes()).unwrap();
    encoder.finish().unwrap();
}

/// How many tables a database has.
pub(super) async fn tables(database: &TestDatabase) -> i64 {
    let query = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    database.number(query).await
}
