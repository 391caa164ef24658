//! The `v3` dialect: REST under `/v3`, JSON and XML, a bearer token, `ETag` and `If-Match`.
//!
//! The table [`OPERATIONS`] is the dialect: routes, rights, the OpenAPI document and the tests' access matrix are read off it.

mod accounts;
mod bulk;
mod bulk_jobs;
mod call;
mod codes;
mod cursor;
mod events;
mod openapi;
mod page;
mod plans;
mod purge;
mod resellers;
mod tokens;
mod webhooks;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};

use super::schemas::{Describe, describe};
use super::{Mishap, RequestId};
use crate::domain::Scope;
use crate::service::Service;
use accounts::documents::{
    AccessDocument, AccountDocument, EntryDocument, ExplanationDocument, HoldDocument,
    TimelineDocument,
};
use accounts::requests::{
    Account as AccountRequest, AssignPlan, Lift, Operations, Place, SetExemption, SetExpiry,
    SetStatus,
};
use bulk::{BulkDocument, SimulationDocument};
use bulk_jobs::{BulkItemDocument, BulkJobDocument, BulkJobRequest};
use codes::Failure;
use events::EventDocument;
use plans::{NewPlanSchema, NumberedPlan, TermsSchema};
use purge::{ApprovalDocument, PlannedDocument};
use resellers::{ResellerDocument, ResellerRequest};
use tokens::{NewToken, RotateToken, TokenDocument};
use webhooks::{
    LogDocument, NewWebhookSchema, Queued, Redeliver, RotateSecret, WebhookDocument, WebhookRequest,
};

pub use bulk::operation;
pub use events::{message, test_message};
pub(super) use openapi::openapi;

/// Where accounts are.
pub const ACCOUNTS: &str = "/v3/accounts";
/// Everything below this is this dialect's to answer.
pub const ROOT: &str = "/v3";

/// Where a release ticket is redeemed: the one call without a token.
const REDEEM: &str = "/v3/release-tickets/redeem";

/// How the dialect behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest body, in bytes.
    pub max_body: usize,
    /// The service's address as callers see it; the request's `Host` if absent.
    pub public_url: Option<String>,
}

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The service.
    pub service: Arc<Service>,
    /// The settings.
    pub settings: Arc<Settings>,
}

/// The name of the operation behind a route.
pub(super) fn operation_name(method: &Method, route: &str) -> Option<&'static str> {
    static NAMES: LazyLock<HashMap<(Method, &'static str), &'static str>> = LazyLock::new(|| {
        let method =
            |operation: &Operation| operation.method.to_uppercase().parse().unwrap_or_default();
        OPERATIONS
            .iter()
            .map(|operation| ((method(operation), operation.path), operation.name))
            .collect()
    });
    let names: &HashMap<(Method, &str), &'static str> = &NAMES;
    names.get(&(method.clone(), route)).copied()
}

/// What reads the bodies of all operations.
#[cfg(fuzzing)]
pub(super) fn readers() -> Vec<super::fuzzing::Reader> {
    fn read<T: serde::de::DeserializeOwned>(codec: crate::wire::Codec, body: &[u8]) {
        drop(crate::wire::decode::<T>(codec, body));
    }
    vec![
        read::<AccountRequest>,
        read::<SetStatus>,
        read::<SetExpiry>,
        read::<AssignPlan>,
        read::<Place>,
        read::<Lift>,
        read::<SetExemption>,
        read::<Operations>,
        read::<BulkJobRequest>,
        read::<NewToken>,
        read::<RotateToken>,
        read::<ResellerRequest>,
        read::<WebhookRequest>,
        read::<RotateSecret>,
        read::<Redeliver>,
    ]
}

/// Reads a cursor.
#[cfg(fuzzing)]
pub(super) fn read_cursor(text: &str) {
    if let Ok(cursor) = cursor::Cursor::read(text) {
        let home = crate::domain::ResellerId(1);
        let _refused = (
            cursor.account_of(home).is_ok(),
            cursor.event_of(home).is_ok(),
        );
        assert!(
            cursor::Cursor::read(&cursor.written()).is_ok(),
            "what is written can be read"
        );
    }
}

/// One operation.
pub struct Operation {
    /// `GET`, `PUT` and so on, in lower case.
    pub method: &'static str,
    /// Its path; `{id}` stands for a number or a UUID.
    pub path: &'static str,
    /// Its name, unique among all.
    pub name: &'static str,
    /// The right that it takes.
    pub scope: Scope,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The status of a success.
    pub success: u16,
    /// A body that is right; empty where none is needed.
    pub example: &'static str,
    request: Option<Describe>,
    answer: Answer,
    route: fn() -> MethodRouter<Api>,
}

/// What a success answers.
enum Answer {
    Nothing,
    One(Describe),
    Many(Describe),
}

macro_rules! request {
    () => {
        None
    };
    ($type:ty) => {
        Some(describe::<$type>)
    };
}

macro_rules! answer {
    (()) => {
        Answer::Nothing
    };
    ([$type:ty]) => {
        Answer::Many(describe::<$type>)
    };
    ($type:ty) => {
        Answer::One(describe::<$type>)
    };
}

macro_rules! operations {
    ($($method:ident $path:literal $room:ident::$handler:ident $scope:ident ($($request:ty)?) => $status:literal $answer:tt $summary:literal $example:literal;)*) => {
        /// Every operation.
        pub const OPERATIONS: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            name: concat!(stringify!($room), "_", stringify!($handler)),
            scope: Scope::$scope,
            summary: $summary,
            success: $status,
            example: $example,
            request: request!($($request)?),
            answer: answer!($answer),
            route: || $method($room::$handler),
        },)*];
    };
}

operations! {
    get "/v3/accounts" accounts::list AccountRead () => 200 [AccountDocument] "List accounts: by page, or by cursor at any depth" "";
    post "/v3/accounts" accounts::create AccountWrite (AccountRequest) => 201 AccountDocument "Create an account" r#"{"email":"new@example.com","company":"Acme"}"#;
    get "/v3/accounts/{id}" accounts::get AccountRead () => 200 AccountDocument "Read an account" "";
    patch "/v3/accounts/{id}" accounts::patch AccountWrite (AccountRequest) => 200 AccountDocument "Change an account; what is absent stays" r#"{"company":"Acme"}"#;
    put "/v3/accounts/{id}/status" accounts::status AccountWrite (SetStatus) => 200 AccountDocument "Set the account's switch" r#"{"status":"active"}"#;
    put "/v3/accounts/{id}/expires-at" accounts::expires_at AccountWrite (SetExpiry) => 200 AccountDocument "Move the expiry date; null for never" r#"{"expiresAt":"2027-12-31T23:59:59Z"}"#;
    put "/v3/accounts/{id}/plan" accounts::plan AccountWrite (AssignPlan) => 200 AccountDocument "Assign a plan; null for none" r#"{"planId":null}"#;
    post "/v3/accounts/{id}/freeze" accounts::freeze AccountWrite (Place) => 200 AccountDocument "Freeze an account: payment is due" r#"{"paymentUrl":"https://example.com"}"#;
    post "/v3/accounts/{id}/unfreeze" accounts::unfreeze AccountWrite (Lift) => 200 AccountDocument "Lift the caller's freeze" "";
    post "/v3/accounts/{id}/suspend" accounts::suspend AccountWrite (Place) => 200 AccountDocument "Suspend an account" r#"{"reasonCode":"abuse"}"#;
    post "/v3/accounts/{id}/unsuspend" accounts::unsuspend AccountWrite (Lift) => 200 AccountDocument "Lift the caller's suspension" "";
    post "/v3/accounts/{id}/retain" accounts::retain AccountWrite (Place) => 200 AccountDocument "Forbid deletion and purge of an account, without blocking its use" r#"{"reasonCode":"legal"}"#;
    post "/v3/accounts/{id}/release" accounts::release AccountWrite (Lift) => 200 AccountDocument "Lift the caller's retention" "";
    put "/v3/accounts/{id}/exempt-until" accounts::exempt_until AccountWrite (SetExemption) => 200 AccountDocument "Have automation leave an account alone until then; null for no longer" r#"{"exemptUntil":null}"#;
    post "/v3/accounts/{id}/simulate" bulk::simulate AccountRead (Operations) => 200 SimulationDocument "Say what operations would do to an account; nothing is written" r#"{"operations":[{"operation":"freeze","paymentUrl":"https://example.com"},{"operation":"status","status":"inactive"}]}"#;
    post "/v3/bulk" bulk::bulk AccountWrite (Operations) => 200 BulkDocument "Carry out up to 1,000 operations, each for itself" r#"{"operations":[{"operation":"status","status":"active","account":"7"}]}"#;
    post "/v3/bulk-jobs" bulk_jobs::create AccountWrite (BulkJobRequest) => 201 BulkJobDocument "Plan one operation at every account that a selector finds; nothing is done yet" r#"{"selector":{"state":"active"},"operation":{"operation":"status","status":"active"}}"#;
    get "/v3/bulk-jobs/{id}" bulk_jobs::get AccountRead () => 200 BulkJobDocument "Read how far a bulk job is" "";
    get "/v3/bulk-jobs/{id}/items" bulk_jobs::items AccountRead () => 200 [BulkItemDocument] "List the accounts of a bulk job, and what became of each" "";
    post "/v3/bulk-jobs/{id}/apply" bulk_jobs::apply AccountWrite () => 202 BulkJobDocument "Have a bulk job applied, in the background" "";
    post "/v3/bulk-jobs/{id}/revert" bulk_jobs::revert AccountWrite () => 202 BulkJobDocument "Have a bulk job reverted, as far as nobody changed the same since" "";
    get "/v3/accounts/{id}/timeline" accounts::timeline AccountRead () => 200 TimelineDocument "Read what happened to an account, and what will happen by itself" "";
    get "/v3/purge-plan" purge::plan AccountRead () => 200 [PlannedDocument] "List the accounts that are going to be purged, and what stops it" "";
    post "/v3/resellers/{id}/approve-purge" purge::approve ResellerWrite () => 200 ApprovalDocument "Approve that everything that is due now is purged, although it is more than the limit" "";
    get "/v3/accounts/{id}/holds" accounts::holds AccountRead () => 200 [HoldDocument] "List the holds that are open" "";
    get "/v3/accounts/{id}/history" accounts::history AccountRead () => 200 [EntryDocument] "Read the newest hundred entries of the journal" "";
    get "/v3/accounts/{id}/explain" accounts::explain AccountRead () => 200 ExplanationDocument "Say why an account is blocked, and which call lifts what" "";
    get "/v3/accounts/{id}/access" accounts::access AccountRead () => 200 AccessDocument "Say whether an account may be used now, and whether paying helps" "";
    delete "/v3/accounts/{id}" accounts::delete AccountWrite () => 204 () "Delete an account; it can be restored until it is purged" "";
    post "/v3/accounts/{id}/restore" accounts::restore AccountWrite () => 200 AccountDocument "Take a deletion back" "";
    get "/v3/plans" plans::list AccountRead () => 200 [NumberedPlan] "List plans by number" "";
    post "/v3/plans" plans::create AccountWrite (NewPlanSchema) => 201 NumberedPlan "Create a plan" r#"{"name":"pro","displayName":"Pro","tier":2,"interval":"month","amount":"49.00","allowedUsers":25,"allowSso":true}"#;
    get "/v3/plans/{id}" plans::get AccountRead () => 200 NumberedPlan "Read a plan" "";
    patch "/v3/plans/{id}" plans::patch AccountWrite (TermsSchema) => 200 NumberedPlan "Change a plan; what is absent stays" r#"{"deprecated":true}"#;
    get "/v3/tokens" tokens::list TokenWrite () => 200 [TokenDocument] "List tokens, without their secrets" "";
    post "/v3/tokens" tokens::create TokenWrite (NewToken) => 201 TokenDocument "Create a token; the answer is the only one that has the secret" r#"{"name":"reporting","scopes":["token:write"],"expiresIn":7776000}"#;
    get "/v3/tokens/{id}" tokens::get TokenWrite () => 200 TokenDocument "Read about a token" "";
    post "/v3/tokens/{id}/rotate" tokens::rotate TokenWrite (RotateToken) => 201 TokenDocument "Create a token in place of another, which stays valid for a while" r#"{"graceSeconds":604800}"#;
    delete "/v3/tokens/{id}" tokens::delete TokenWrite () => 204 () "Revoke a token, at once" "";
    get "/v3/resellers" resellers::list AccountRead () => 200 [ResellerDocument] "List resellers: an operator's token sees all, a reseller's itself" "";
    post "/v3/resellers" resellers::create ResellerWrite (ResellerRequest) => 201 ResellerDocument "Create a reseller" r#"{"name":"Acme Hosting","timezone":"Europe/Berlin"}"#;
    get "/v3/resellers/{id}" resellers::get AccountRead () => 200 ResellerDocument "Read a reseller" "";
    patch "/v3/resellers/{id}" resellers::patch ResellerWrite (ResellerRequest) => 200 ResellerDocument "Change a reseller; what is absent stays" r#"{"accountLimit":1000}"#;
    post "/v3/resellers/{id}/suspend" resellers::suspend ResellerWrite () => 200 ResellerDocument "Suspend a reseller as a whole, without touching its accounts" "";
    get "/v3/webhooks" webhooks::list WebhookRead () => 200 [WebhookDocument] "List webhook endpoints, oldest first" "";
    post "/v3/webhooks" webhooks::create WebhookWrite (NewWebhookSchema) => 201 WebhookDocument "Create a webhook endpoint; the answer is the only one that has the secret" r#"{"url":"https://example.com/hooks","events":["account.updated"]}"#;
    get "/v3/webhooks/{id}" webhooks::get WebhookRead () => 200 WebhookDocument "Read a webhook endpoint and its health" "";
    patch "/v3/webhooks/{id}" webhooks::patch WebhookWrite (WebhookRequest) => 200 WebhookDocument "Change a webhook endpoint; what is absent stays" r#"{"enabled":true}"#;
    post "/v3/webhooks/{id}/test" webhooks::test WebhookWrite () => 202 Queued "Have a test delivered; the log has what became of it" "";
    post "/v3/webhooks/{id}/rotate-secret" webhooks::rotate_secret WebhookWrite (RotateSecret) => 200 WebhookDocument "Make a new secret; the old one signs too for a while" r#"{"graceSeconds":86400}"#;
    post "/v3/webhooks/{id}/redeliver" webhooks::redeliver WebhookWrite (Redeliver) => 202 Queued "Have everything since a time delivered once more" r#"{"since":"2026-01-01T00:00:00Z"}"#;
    get "/v3/webhook-event-logs" webhooks::logs WebhookRead () => 200 [LogDocument] "List attempts to deliver, newest first" "";
    post "/v3/webhook-event-logs/{id}/redeliver" webhooks::redeliver_one WebhookWrite () => 202 Queued "Have one thing delivered once more" "";
    delete "/v3/webhooks/{id}" webhooks::delete WebhookWrite () => 204 () "Remove a webhook endpoint" "";
    get "/v3/events" events::list WebhookRead () => 200 [EventDocument] "Read events behind a cursor; with `Accept: text/event-stream`, follow them" "";
    post "/v3/resellers/{id}/unsuspend" resellers::unsuspend ResellerWrite () => 200 ResellerDocument "Lift that suspension: every account is exactly as before" "";
}

/// The routes.
pub fn routes(api: Api) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&str> = OPERATIONS.iter().map(|operation| operation.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let operations: Vec<_> = OPERATIONS
            .iter()
            .filter(|operation| operation.path == path)
            .collect();
        let methods = operations
            .iter()
            .fold(MethodRouter::new(), |methods, operation| {
                methods.merge((operation.route)())
            });
        let mut allowed: Vec<_> = operations
            .iter()
            .map(|operation| operation.method.to_uppercase())
            .collect();
        if allowed.iter().any(|method| method == "GET") {
            allowed.push("HEAD".to_owned());
        }
        allowed.push("OPTIONS".to_owned());
        let allow =
            HeaderValue::from_str(&allowed.join(", ")).unwrap_or(HeaderValue::from_static(""));
        let refuse =
            move |method: Method, headers: HeaderMap, id: Option<axum::Extension<RequestId>>| {
                let allow = allow.clone();
                async move {
                    let mut response = if method == Method::OPTIONS {
                        call::respond(StatusCode::NO_CONTENT, None, Vec::new())
                    } else {
                        answer(&Failure::MethodNotAllowed, &headers, id.map(|id| id.0))
                    };
                    response.headers_mut().insert(header::ALLOW, allow);
                    response
                }
            };
        router = router.route(path, methods.fallback(refuse));
    }
    router.route(REDEEM, post(accounts::redeem)).with_state(api)
}

fn answer(failure: &Failure, headers: &HeaderMap, id: Option<RequestId>) -> Response {
    call::answer_failure(failure, call::accepted(headers), &id.unwrap_or_default())
}

/// The answer of this dialect to what went wrong outside its handlers.
#[must_use]
pub fn answer_mishap(mishap: Mishap, headers: &HeaderMap, id: &RequestId) -> Response {
    let failure = match mishap {
        Mishap::NoSuchCall => Failure::NoSuchRoute,
        Mishap::TimedOut => Failure::TimedOut,
        Mishap::Crashed => Failure::Crashed,
        Mishap::RateLimited { retry_after } => Failure::RateLimited { retry_after },
    };
    answer(&failure, headers, Some(id.clone()))
}

/// Whether a path is this dialect's.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path == ROOT
        || path
            .strip_prefix(ROOT)
            .is_some_and(|rest| rest.starts_with('/'))
}
