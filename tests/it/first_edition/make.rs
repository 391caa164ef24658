//! Makes the fixture: `tests/fixtures/first_edition/README.md` says how.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use chrono::TimeDelta;
use steward::domain::{
    AccountId, Command, Dialect, Email, HoldId, HoldKind, HoldPatch, ImportedAccount, ImportedHold,
    Patch, PaymentUrl, ProfilePatch, ResellerId, Revision,
};
use steward::service::{Context, ImportBatch, OnExisting, Principal};
use steward::store::MIGRATOR;
use uuid::Uuid;

use super::deliveries::deliver_all;
use super::exchange::{Recorded, serve};
use super::fixture::{NEWEST, dump, path, restore};
use super::script::Script;
use crate::harness::App;
use crate::harness::TestDatabase;
use crate::harness::app::start_of_time;

/// Plays the story on a new database. With `MAKE_FIRST_EDITION` set, writes the fixture.
#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_the_fixture_can_be_played() {
    let story = std::fs::read_to_string(path("story.txt")).unwrap();
    let app = serve(
        TestDatabase::new().await,
        start_of_time() - TimeDelta::days(10),
    )
    .await;
    let operator = app.token(None, None).await;
    let credentials = BTreeMap::from([("operator".to_owned(), operator)]);
    let mut script = Script::new(app, credentials, true);
    script.play(&story).await;
    if std::env::var_os("MAKE_FIRST_EDITION").is_some() {
        make(script).await;
    }
}

/// Writes the rows, and asks every question of the restored rows.
async fn make(story: Script) {
    let newest = MIGRATOR.iter().map(|it| it.version).max();
    assert_eq!(newest, Some(NEWEST), "make it with the first edition");
    story.app.service.stop().await;
    dump(&story.app.database).await;
    let instant = story.app.clock.now();
    let app = serve(restore().await, instant).await;
    let mut exchanges = Vec::new();
    for mut exchange in story.stored {
        let again = exchange.send(&app.router, &story.credentials).await;
        let differences = exchange.differences(&again);
        assert_eq!(differences, None, "{}", exchange.path);
        let is_replayed = again.headers.contains_key("idempotent-replayed");
        assert!(is_replayed, "{} {}", exchange.path, again.body);
        exchange.answer = again;
        exchanges.push(exchange);
    }
    let questions = std::fs::read_to_string(path("questions.txt")).unwrap();
    let mut script = Script::new(app, story.credentials, false);
    script.play(&questions).await;
    exchanges.append(&mut script.exchanges);
    let deliveries = {
        let app = serve(restore().await, instant).await;
        deliver_all(&app, &script.credentials).await
    };
    let counts: Vec<usize> = deliveries.values().map(Vec::len).collect();
    assert!(counts.len() >= 3 && !counts.contains(&0), "{counts:?}");
    Recorded {
        instant,
        credentials: script.credentials,
        exchanges,
        deliveries,
    }
    .save();
}

/// Places a hold of the platform's own automation, as no request of the first edition does.
pub(super) async fn hold_by_system(app: &App, account: i64) {
    let context = Context {
        principal: Principal::automation(ResellerId(1)),
        dialect: Dialect::Job,
        request_id: "job".to_owned(),
    };
    for kind in [HoldKind::Suspend, HoldKind::Retention] {
        let command = Command::Place {
            kind,
            owner: None,
            fresh: HoldId(Uuid::now_v7()),
            details: HoldPatch::default(),
        };
        let account = AccountId::new(account).unwrap();
        let done = app.service.execute(&context, account, command, None).await;
        assert!(done.is_ok(), "{kind:?}");
    }
}

/// Imports a few accounts for a reseller as the command does, with their own numbers and dates.
pub(super) async fn import(app: &App, reseller: i64) {
    let date = |text: &str| text.parse().unwrap();
    let hold = |details| ImportedHold {
        fresh: HoldId(Uuid::now_v7()),
        owner: None,
        details,
    };
    let row = |number: Option<i64>, email: &str| ImportedAccount {
        number: number.map(|it| AccountId::new(it).unwrap()),
        revision: Revision {
            profile: ProfilePatch {
                email: Patch::Set(Email::parse(email).unwrap()),
                name: Patch::Set(email.to_owned()),
                ..ProfilePatch::default()
            },
            ..Revision::default()
        },
        ..ImportedAccount::default()
    };
    let frozen = HoldPatch {
        payment_url: Patch::Set(PaymentUrl::parse("https://pay.example/4711").unwrap()),
        reason_code: Patch::Set("unpaid".to_owned()),
        starts_at: Patch::Set(date("2025-02-01T00:00:00Z")),
        ..HoldPatch::default()
    };
    let suspended = HoldPatch {
        public_message: Patch::Set("Write to us.".to_owned()),
        ..HoldPatch::default()
    };
    let rows = vec![
        ImportedAccount {
            uid: Some(Uuid::from_u128(0x3f2c_8a4e_0b1d_4c6f_9e7a_5d2b_1c0f_9e8d)),
            created_at: Some(date("2019-05-31T10:00:00Z")),
            freeze: Some(hold(frozen)),
            ..row(Some(4711), "jo@imported.example")
        },
        ImportedAccount {
            created_at: Some(date("2020-02-29T10:00:00Z")),
            suspension: Some(hold(suspended)),
            ..row(Some(4712), "ann@imported.example")
        },
        row(Some(4713), "new@imported.example"),
    ];
    let context = Context {
        principal: Principal::command_line(),
        dialect: Dialect::Cli,
        request_id: "import".to_owned(),
    };
    let batch = ImportBatch {
        reseller: ResellerId(reseller),
        rows: rows.into(),
        on_existing: OnExisting::Fail,
        stops_at_problem: true,
        reserved: Arc::new(HashSet::new()),
        planned: 0,
        is_writing: true,
    };
    let outcomes = app.service.import_accounts(&context, batch).await.unwrap();
    for outcome in &*outcomes {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}
