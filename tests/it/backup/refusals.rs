//! Files that are no backups, databases that are not empty, and logins without rights.

use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::{back_up, on, pack, refuses, reseller, succeeds, tables, unpack};
use crate::harness::TestDatabase;
use crate::harness::process::{folder, steward};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_recognized_and_restores_nothing() {
    let (database, folder) = (TestDatabase::new().await, folder());
    reseller(&database, folder.path(), "Acme");
    let file = back_up(&database, folder.path());
    let (bytes, lines) = (std::fs::read(&file).unwrap(), unpack(&file));
    let broken = folder.path().join("broken.gz");
    let name = broken.to_str().unwrap();
    let check = |words: &[&str]| {
        let mut command = steward(folder.path());
        command.args(["restore", "--check", name]);
        refuses(command, words);
    };
    // Cut off anywhere.
    for length in [
        0,
        1,
        9,
        40,
        bytes.len() / 2,
        bytes.len() - 9,
        bytes.len() - 1,
    ] {
        std::fs::write(&broken, &bytes[..length]).unwrap();
        check(&[name]);
    }
    // One bit is wrong.
    for at in (10..bytes.len()).step_by(bytes.len() / 23) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&broken, changed).unwrap();
        check(&[name]);
    }
    // Whole, but with other rows; without its last line; with more lines; no backup at all.
    let end = lines.trim_end().rfind('\n').unwrap() + 1;
    for (lines, words) in [
        (lines.replace("Acme", "Emca"), "checksum"),
        (lines[..end].to_owned(), "ends too early"),
        (format!("{lines}more\n"), "follows its end"),
        (
            lines.replace("\"steward_backup\":1", "\"steward_backup\":2"),
            "format 2",
        ),
        ("{\"a\":1}\n".to_owned(), "is not a backup"),
        (
            "-- PostgreSQL database dump\n".to_owned(),
            "is not a backup",
        ),
    ] {
        pack(&broken, &lines);
        check(&[name, words]);
    }
    // Whole, and something follows in the file: junk, zeros, a second stream.
    let more = folder.path().join("more.gz");
    for more in [&b"junk"[..], &[0; 512], &bytes, &{
        pack(&more, "");
        std::fs::read(&more).unwrap()
    }] {
        std::fs::write(&broken, [&bytes, more].concat()).unwrap();
        check(&[name, "follows its end"]);
    }
    // A line outside of tables that would fill the memory: the header, and a later one.
    let long = "x".repeat(1 << 20);
    for (lines, words) in [
        (
            format!("{{\"steward_backup\":1,\"x\":\"{long}\"}}\n"),
            "too long",
        ),
        (
            format!(
                "{}{{\"sequences\":[],\"x\":\"{long}\"}}\n{}",
                &lines[..end],
                &lines[end..]
            ),
            "too long",
        ),
    ] {
        pack(&broken, &lines);
        check(&[name, words]);
    }
    std::fs::write(&broken, "PGDMP").unwrap();
    check(&[name, "is not a backup"]);

    // A restore notices the same, also at the very end, and nothing remains.
    let empty = TestDatabase::blank().await;
    let nothing = tables(&empty).await;
    for lines in [lines.replace("Acme", "Emca"), lines[..end].to_owned()] {
        pack(&broken, &lines);
        refuses(
            on(&empty, folder.path(), &["restore", name]),
            &[name, "damaged"],
        );
        assert_eq!(tables(&empty).await, nothing);
    }
    let whole = file.to_str().unwrap();
    succeeds(on(&empty, folder.path(), &["restore", whole]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_newer_steward_is_refused_by_name() {
    let (database, folder) = (TestDatabase::new().await, folder());
    let file = back_up(&database, folder.path());
    let lines = unpack(&file);
    let version = env!("CARGO_PKG_VERSION");
    let newer = lines
        .replacen(
            &format!("\"version\":\"{version}\""),
            "\"version\":\"9.8.7\"",
            1,
        )
        .replacen(
            "\"migrations\":[",
            "\"migrations\":[{\"number\":9999,\"checksum\":\"00\"},",
            1,
        );
    let other = folder.path().join("newer.gz");
    let name = other.to_str().unwrap();
    pack(&other, &newer);
    let empty = TestDatabase::blank().await;
    let restore = || on(&empty, folder.path(), &["restore", name]);
    refuses(
        restore(),
        &["Steward 9.8.7", "schema 9999", "does not know"],
    );
    // A migration of the same number with another text.
    let checksum = lines.split("\"checksum\":\"").nth(1).unwrap();
    let checksum = checksum.split('"').next().unwrap();
    pack(&other, &lines.replacen(checksum, "00", 1));
    refuses(
        restore(),
        &["migration 1 of the backup", "is not the one of this build"],
    );
    assert_eq!(tables(&empty).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_tables_and_an_existing_file_stay_as_they_are() {
    let (database, folder) = (TestDatabase::new().await, folder());
    reseller(&database, folder.path(), "Acme");
    let file = back_up(&database, folder.path());
    let name = file.to_str().unwrap();
    refuses(
        on(&database, folder.path(), &["restore", name]),
        &[
            &database.name,
            "DATABASE_URL",
            "empty database",
            "create database",
        ],
    );
    assert_eq!(database.number("select count(*) from reseller").await, 2);

    let before = std::fs::read(&file).unwrap();
    refuses(
        on(&database, folder.path(), &["backup", name]),
        &[name, "--force"],
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
    succeeds(on(&database, folder.path(), &["backup", "--force", name]));
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "a draft was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_backup_names_the_cause_and_leaves_no_file() {
    let (database, folder) = (TestDatabase::new().await, folder());
    reseller(&database, folder.path(), "Acme");
    let file = folder.path().join("backup.gz");
    let name = file.to_str().unwrap();
    // A login that does not exist, a server that does not answer, a database without tables.
    let mut command = steward(folder.path());
    let stranger = database.options().username("stranger").to_url_lossy();
    command
        .env("DATABASE_URL", stranger.to_string())
        .args(["backup", name]);
    refuses(command, &["stranger"]);
    let mut command = steward(folder.path());
    let nobody = "postgres://steward:wrong@127.0.0.1:1/steward";
    command.env("DATABASE_URL", nobody).args(["backup", name]);
    refuses(command, &["the database failed"]);
    let blank = TestDatabase::blank().await;
    refuses(
        on(&blank, folder.path(), &["backup", name]),
        &["no tables of Steward"],
    );
    // A disk that is full: the largest file that this process may write has 512 bytes.
    let mut command = std::process::Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" backup \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_steward"), name]);
    command.env("DATABASE_URL", database.url());
    refuses(command, &[name, "File too large"]);
    // A policy that hides rows from the login of the database URL.
    for damage in [
        "alter policy of_platform on plan using (false)",
        "drop policy of_platform on plan",
        "create policy fewer on plan as restrictive using (false)",
    ] {
        let damaged = TestDatabase::new().await;
        let pool = damaged.superuser().await;
        sqlx::raw_sql(damage).execute(&pool).await.unwrap();
        pool.close().await;
        let words = ["policies of table plan", "steward doctor"];
        refuses(on(&damaged, folder.path(), &["backup", name]), &words);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_take_the_role_gets_the_statements() {
    let (database, folder) = (TestDatabase::new().await, folder());
    let file = back_up(&database, folder.path());
    let empty = TestDatabase::blank().await;
    let login = format!("plain_{}", empty.name);
    let pool = empty.superuser().await;
    let make = format!(
        "create role {login} login nosuperuser nocreaterole; alter database {} owner to {login}",
        empty.name
    );
    sqlx::raw_sql(AssertSqlSafe(make))
        .execute(&pool)
        .await
        .unwrap();
    let restore = || {
        let mut command = steward(folder.path());
        let url = empty.options().username(&login).to_url_lossy();
        command
            .env("DATABASE_URL", url.to_string())
            .args(["restore", file.to_str().unwrap()]);
        command
    };
    let grant = format!("grant steward_service to \"{login}\"");
    refuses(restore(), &["may not", &grant]);
    assert_eq!(tables(&empty).await, 0);
    sqlx::raw_sql(AssertSqlSafe(grant))
        .execute(&pool)
        .await
        .unwrap();
    succeeds(restore());
    let clean = format!(
        "alter database {} owner to current_user; drop owned by {login} cascade; drop role {login}",
        empty.name
    );
    sqlx::raw_sql(AssertSqlSafe(clean))
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}
