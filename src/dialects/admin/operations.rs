//! The table of calls, and the routes generated from it.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;

use super::call::ignored_members;
use super::dispatch::dispatch;
use super::explain::{ExplanationItem, TimelineItem};
use super::operation::{Data, Operation, Run, run};
use super::replies::{EntryItem, Item, SavedItem};
use super::requests::{
    Freeze, Get, History, Lift, List, SetExemption, SetExpiry, SetStatus, Suspend, Target,
};
use super::save::Save;
use super::simulate::{Simulate, SimulatedItem};
use super::{Api, PREFIX, handlers, preferred_format, respond_to, save};
use crate::dialects::failure::Failure;
use crate::dialects::operation::Access;
use crate::dialects::schemas::describe;
use crate::domain::Scope::{AccountRead, AccountWrite};

const READ: Access = Access::Scope(AccountRead);
const WRITE: Access = Access::Scope(AccountWrite);
const BY_ID: &str = r#"{"id":7}"#;

/// All calls.
pub const OPERATIONS: &[Operation] = &[
    Operation::new("freeze", WRITE, "Freeze an account because a payment is due", run!(freeze, Freeze))
        .secret()
        .example(r#"{"id":7,"frozen_details":{"payment_url":"https://example.com"}}"#),
    Operation::new("unfreeze", WRITE, "Lift the caller's freeze", run!(unfreeze, Lift))
        .example(BY_ID),
    Operation::new("suspend", WRITE, "Suspend an account", run!(suspend, Suspend))
        .example(r#"{"id":7,"reason_code":"abuse","public_message":"Please contact us."}"#),
    Operation::new("unsuspend", WRITE, "Lift the caller's suspension", run!(unsuspend, Lift))
        .example(BY_ID),
    Operation::new("activate", WRITE, "Activate an account", run!(activate, Target)).example(BY_ID),
    Operation::new("deactivate", WRITE, "Deactivate an account", run!(deactivate, Target))
        .example(BY_ID),
    Operation::new("status", WRITE, "Activate or deactivate an account", run!(status, SetStatus))
        .example(r#"{"id":7,"status":"inactive"}"#),
    Operation::new("expiry_date", WRITE, "Change the expiry date", run!(expiry_date, SetExpiry))
        .example(r#"{"id":7,"expiry_date":"2027-12-31T23:59:59Z"}"#),
    Operation::new("list", READ, "List accounts by number", run!(list, List))
        .data(Data::Many(describe::<Item>))
        .heavy()
        .example(r#"{"from_id":1,"limit":10,"state":"frozen"}"#),
    Operation::new("get", READ, "Read one account with its holds", run!(get, Get))
        .data(Data::One(describe::<Item>))
        .example(BY_ID),
    Operation::new("save", WRITE, "Create or change an account", run!(save, Save, save::is_computed))
        .data(Data::One(describe::<SavedItem>))
        .example(
            r#"{"name":"acme","title":"Acme","tz":"Europe/Berlin","tariff":1,"reports_day":1,"reports_hour":9,"email":"admin@acme.example"}"#,
        ),
    Operation::new(
        "delete",
        WRITE,
        "Delete an account; it can be restored until it is purged",
        run!(delete, Target),
    )
    .example(BY_ID),
    Operation::new("restore", WRITE, "Restore a deleted account", run!(restore, Target)).example(BY_ID),
    Operation::new(
        "retain",
        WRITE,
        "Forbid deletion and purge of an account, without blocking its use",
        run!(retain, Suspend),
    )
    .example(r#"{"id":7,"reason_code":"legal"}"#),
    Operation::new("release", WRITE, "Lift the caller's retention", run!(release, Lift))
        .example(BY_ID),
    Operation::new(
        "exempt",
        WRITE,
        "Exempt an account from automation until an instant; null ends the exemption",
        run!(exempt, SetExemption),
    )
    .example(r#"{"id":7,"exempt_until":null}"#),
    Operation::new(
        "simulate",
        READ,
        "Compute what calls would do to an account, without executing them",
        run!(simulate, Simulate),
    )
    .data(Data::Many(describe::<SimulatedItem>))
    .heavy()
    .example(
        r#"{"id":7,"operations":[{"call":"freeze","frozen_details":{"payment_url":"https://example.com"}},{"call":"status","status":"inactive"}]}"#,
    ),
    Operation::new(
        "timeline",
        READ,
        "Read the past and scheduled changes of an account",
        run!(timeline, Target),
    )
    .data(Data::One(describe::<TimelineItem>))
    .example(BY_ID),
    Operation::new(
        "history",
        READ,
        "Read the journal of an account, newest entry first",
        run!(history, History),
    )
    .data(Data::Many(describe::<EntryItem>))
    .example(r#"{"id":7,"limit":20}"#),
    Operation::new(
        "explain",
        READ,
        "Explain why an account is blocked, and what lifts each block",
        run!(explain, Target),
    )
    .data(Data::One(describe::<ExplanationItem>))
    .example(BY_ID),
];

/// The routes of all calls.
pub fn routes(api: Api) -> Router {
    let mut router = Router::new();
    for operation in OPERATIONS {
        let route = || post(|state, request: Request| dispatch(state, operation, request));
        let path = format!("{PREFIX}{}", operation.name);
        router = router
            .route(&path, route())
            .route(&format!("{path}/"), route());
    }
    let settings = api.settings.clone();
    let refuse = async move |headers: HeaderMap, uri: Uri| {
        let format = preferred_format(&headers, &uri);
        respond_to(
            &Failure::MethodNotAllowed("POST".to_owned()),
            format,
            &settings,
        )
    };
    router.method_not_allowed_fallback(refuse).with_state(api)
}
