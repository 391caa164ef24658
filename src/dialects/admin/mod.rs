//! The `admin` dialect: `POST /api/v1.1/admin/accounts/...`, JSON or XML by content type, answers with `error` and
//! `error_text`. The original's answers are kept byte for byte; what we add is asked for, or stands beside.
//!
//! The table [`OPERATIONS`] is the dialect: routes, rights, the OpenAPI document and the tests' access matrix are
//! all read off it.

mod call;
mod codes;
mod explain;
mod handlers;
mod openapi;
mod replies;
mod requests;
mod save;
mod simulate;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, post};

use super::Mishap;
use crate::domain::Scope;
use crate::service::Service;
use crate::wire::{self, Codec};
use codes::Failure;
use requests::{
    Freeze, Get, History, List, SetExemption, SetExpiry, SetStatus, Suspend, Target, Unfreeze,
};
use save::Save;
use simulate::Simulate;

pub(super) use openapi::openapi;

/// Where the calls are.
pub const PREFIX: &str = "/api/v1.1/admin/accounts/";

/// How the dialect behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Answer errors with HTTP 200, for clients that read `error` only.
    pub always_200: bool,
    /// Accept `?token=`.
    pub token_in_query: bool,
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

/// The name of the call behind a route.
pub(super) fn operation_name(route: &str) -> Option<&'static str> {
    let name = route.strip_prefix(PREFIX)?.trim_end_matches('/');
    OPERATIONS
        .iter()
        .map(|operation| operation.name)
        .find(|known| *known == name)
}

/// One call of the dialect.
pub struct Operation {
    /// The last part of its path; every path works with and without a slash behind it.
    pub name: &'static str,
    /// The right that it takes.
    pub scope: Scope,
    /// What it does, in a line.
    pub summary: &'static str,
    route: fn() -> MethodRouter<Api>,
    /// A body that is right.
    pub example: &'static str,
    request: super::schemas::Describe,
    #[cfg(fuzzing)]
    read: super::fuzzing::Reader,
}

/// What reads the bodies of all calls.
#[cfg(fuzzing)]
pub(super) fn readers() -> Vec<super::fuzzing::Reader> {
    let common: super::fuzzing::Reader =
        |codec, body| drop(wire::decode::<requests::Common>(codec, body));
    OPERATIONS
        .iter()
        .map(|operation| operation.read)
        .chain([common])
        .collect()
}

macro_rules! operations {
    ($($handler:ident ($request:ident) $scope:ident $summary:literal $example:literal;)*) => {
        /// Every call.
        pub const OPERATIONS: &[Operation] = &[$(Operation {
            name: stringify!($handler),
            scope: Scope::$scope,
            summary: $summary,
            route: || post(handlers::$handler),
            request: super::schemas::describe::<$request>,
            example: $example,
            #[cfg(fuzzing)]
            read: |codec, body| drop(wire::decode::<$request>(codec, body)),
        },)*];
    };
}

operations! {
    freeze (Freeze) AccountWrite "Freeze an account: payment is due" r#"{"id":7,"frozen_details":{"payment_url":"https://example.com"}}"#;
    unfreeze (Unfreeze) AccountWrite "Lift the caller's freeze" r#"{"id":7}"#;
    suspend (Suspend) AccountWrite "Suspend an account" r#"{"id":7,"reason_code":"abuse","public_message":"Please contact us."}"#;
    unsuspend (Target) AccountWrite "Lift the caller's suspension" r#"{"id":7}"#;
    activate (Target) AccountWrite "Turn the account's switch on" r#"{"id":7}"#;
    deactivate (Target) AccountWrite "Turn the account's switch off" r#"{"id":7}"#;
    status (SetStatus) AccountWrite "Set the account's switch" r#"{"id":7,"status":"inactive"}"#;
    expiry_date (SetExpiry) AccountWrite "Move the expiry date" r#"{"id":7,"expiry_date":"2027-12-31T23:59:59Z"}"#;
    list (List) AccountRead "List accounts by identity" r#"{"from_id":1,"limit":10,"state":"frozen"}"#;
    get (Get) AccountRead "Read one account with its holds" r#"{"id":7}"#;
    save (Save) AccountWrite "Create an account, or change one"
        r#"{"name":"acme","title":"Acme","tz":"Europe/Berlin","tariff":1,"reports_day":1,"reports_hour":9,"email":"admin@acme.example"}"#;
    delete (Target) AccountWrite "Delete an account; it can be restored until it is purged" r#"{"id":7}"#;
    restore (Target) AccountWrite "Take a deletion back" r#"{"id":7}"#;
    retain (Suspend) AccountWrite "Forbid deletion and purge of an account, without blocking its use" r#"{"id":7,"reason_code":"legal"}"#;
    release (Target) AccountWrite "Lift the caller's retention" r#"{"id":7}"#;
    exempt (SetExemption) AccountWrite "Have automation leave an account alone until then; null for no longer" r#"{"id":7,"exempt_until":null}"#;
    simulate (Simulate) AccountRead "Say what calls would do to an account; nothing is written"
        r#"{"id":7,"operations":[{"call":"freeze","frozen_details":{"payment_url":"https://example.com"}},{"call":"status","status":"inactive"}]}"#;
    timeline (Target) AccountRead "Read what happened to an account, and what will happen by itself" r#"{"id":7}"#;
    history (History) AccountRead "Read what was asked of an account, newest first" r#"{"id":7,"limit":20}"#;
    explain (Target) AccountRead "Say why an account is blocked, and what lifts each block" r#"{"id":7}"#;
}

/// The routes.
pub fn routes(api: Api) -> Router {
    let mut router = Router::new();
    for operation in OPERATIONS {
        let path = format!("{PREFIX}{}", operation.name);
        router = router
            .route(&path, (operation.route)())
            .route(&format!("{path}/"), (operation.route)());
    }
    let settings = Arc::clone(&api.settings);
    let not_allowed = move |headers: HeaderMap, uri: Uri| {
        let settings = Arc::clone(&settings);
        async move {
            call::answer_failure(
                &Failure::MethodNotAllowed,
                preferred(&headers, &uri),
                settings.always_200,
            )
        }
    };
    router
        .method_not_allowed_fallback(not_allowed)
        .with_state(api)
}

/// The answer of this dialect to what went wrong outside its handlers.
#[must_use]
pub fn answer_mishap(mishap: Mishap, codec: Codec, settings: &Settings) -> Response {
    let failure = match mishap {
        Mishap::NoSuchCall => Failure::NoSuchCall,
        Mishap::TimedOut => Failure::TimedOut,
        Mishap::Crashed => Failure::Crashed,
        Mishap::RateLimited { retry_after } => Failure::RateLimited { retry_after },
    };
    call::answer_failure(&failure, codec, settings.always_200)
}

/// The format that a caller would like, as far as that can be known without the body.
#[must_use]
pub fn preferred(headers: &HeaderMap, uri: &Uri) -> Codec {
    let own = || {
        headers
            .get("content-type")
            .and_then(|value| wire::codec_of(value.to_str().ok()).ok())
    };
    call::preference(headers, uri)
        .or_else(own)
        .unwrap_or(Codec::Json)
}
