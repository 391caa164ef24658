//! A backup that was made when migration 15 was the newest: every later version restores it.
//!
//! It is of a demo that had run for a moment (`steward backup golden/backup.gz`), beside the demo's
//! own file with its tokens.

use std::path::Path;

use serde_json::json;

use super::{on, restore, text, v3};
use crate::harness::process::{Served, folder};

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/backup/golden")
        .join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_is_restored_migrated_and_served() {
    let folder = folder();
    let tokens = std::fs::read_to_string(golden("demo.json")).unwrap();
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let token = tokens["reseller_tokens"][0].as_str().unwrap();
    let restored = restore(&golden("backup.gz"), folder.path()).await;
    let doctor = on(&restored, folder.path(), &["doctor"]).output().unwrap();
    let doctor = text(&doctor);
    for check in ["ok     schema", "ok     policies"] {
        assert!(doctor.contains(check), "{doctor}");
    }
    // Without workers: the backup has a webhook endpoint.
    let served = Served::start_with(folder.path(), |command| {
        command.env("DATABASE_URL", restored.url());
        command.arg("--no-workers");
    });
    let (status, listed) = served.post("list/", &json!({ "token": token }));
    assert!(
        status == 200 && listed.contains("\"total_count\":8"),
        "{listed}"
    );
    let (status, explained) = served.post("explain", &json!({"token": token, "id": 6}));
    assert!(
        status == 200 && explained.contains("frozen") && explained.contains("suspended:reseller"),
        "{explained}"
    );
    let (status, events) = v3(&served, token, "GET", "/v3/events?limit=3", "");
    assert_eq!(status, 200);
    assert_eq!(events[0]["events"], json!(["account.created"]));
    let (status, changed) = served.post("suspend", &json!({"token": token, "id": 7}));
    assert_eq!(status, 200, "{changed}");
    assert!(served.stop().success());
}
