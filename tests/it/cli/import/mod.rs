//! `steward account import`

mod columns;
mod existing;
mod files;
mod interrupted;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use steward::domain::ResellerId;
use steward::service::Clock;
use tempfile::TempDir;

use crate::harness::process::{folder, steward};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// A service, a reseller with the number 1, and a folder for files.
pub(super) struct Place {
    pub(super) app: App,
    pub(super) client: Client,
    pub(super) v3: V3,
    folder: TempDir,
}

impl Place {
    pub(super) async fn new() -> Self {
        let app = App::new().await;
        // The command uses the clock of the system.
        app.clock.advance(Clock::System.now() - app.clock.now());
        let reseller = app.reseller("Acme").await;
        assert_eq!(reseller, ResellerId(1));
        let client = app.client(&app.token(Some(reseller), None).await);
        Self {
            v3: V3::of(&client),
            client,
            app,
            folder: folder(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `steward account import` for the reseller.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = steward(self.folder.path());
        command
            .env("DATABASE_URL", self.app.database.url())
            .args(["account", "import", "--reseller", "1"])
            .args(arguments);
        command
    }

    pub(super) fn import(&self, arguments: &[&str]) -> Imported {
        Imported::from(self.command(arguments).output().unwrap())
    }

    /// Imports what comes through a pipe.
    pub(super) fn import_piped(&self, content: &[u8], arguments: &[&str]) -> Imported {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(content).unwrap();
        drop(stdin);
        Imported::from(child.wait_with_output().unwrap())
    }

    pub(super) async fn account(&self, id: i64) -> Value {
        self.v3.get(&format!("/v3/accounts/{id}")).await.ok()
    }

    pub(super) async fn accounts(&self) -> i64 {
        self.app
            .database
            .number("select count(*) from account")
            .await
    }
}

/// What the command answered.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl From<Output> for Imported {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Imported {
    #[track_caller]
    pub(super) fn ok(&self, expected: &str) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert!(self.stdout.contains(expected), "{expected}: {self:#?}");
    }

    #[track_caller]
    pub(super) fn fails(self, expected: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        for text in expected {
            assert!(self.stderr.contains(text), "{text}: {self:#?}");
        }
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self:#?}"))
    }
}

/// A file with every column, and no plan that must exist.
pub(super) fn columns_without_plan() -> String {
    columns::ALL.replace(",Gold,", ",13,")
}

/// A file with this many addresses, `u1@example.com` first.
pub(super) fn addresses(count: usize) -> String {
    let rows = (1..=count).map(|n| format!("u{n}@example.com"));
    let all: Vec<String> = std::iter::once("email".to_owned()).chain(rows).collect();
    all.join("\n")
}
