//! The `v3` dialect: REST under `/v3`, JSON and XML, a bearer token, `ETag` and `If-Match`.
//!
//! Accounts only, so far. The table [`OPERATIONS`] is the dialect: routes and the tests' access matrix are read off it.

mod call;
mod codes;
mod handlers;
mod list;
mod replies;
mod requests;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};

use super::{Mishap, RequestId};
use crate::domain::Scope;
use crate::service::Service;
use codes::Failure;

/// Where accounts are.
pub const ACCOUNTS: &str = "/v3/accounts";
/// Everything below this is this dialect's to answer.
pub const ROOT: &str = "/v3";

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

/// One operation.
pub struct Operation {
    /// `GET`, `PUT` and so on.
    pub method: &'static str,
    /// Its path; `{id}` stands for an account's number or UUID.
    pub path: &'static str,
    /// The right that it takes.
    pub scope: Scope,
    /// A body that is right.
    pub example: &'static str,
    route: fn() -> MethodRouter<Api>,
}

macro_rules! operations {
    ($($method:ident $path:literal $handler:ident $scope:ident $example:literal;)*) => {
        /// Every operation.
        pub const OPERATIONS: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            scope: Scope::$scope,
            example: $example,
            route: || $method(handlers::$handler),
        },)*];
    };
}

operations! {
    get "/v3/accounts" list AccountRead "";
    post "/v3/accounts" create AccountWrite r#"{"email":"new@example.com","company":"Acme"}"#;
    get "/v3/accounts/{id}" get AccountRead "";
    patch "/v3/accounts/{id}" patch AccountWrite r#"{"company":"Acme"}"#;
    put "/v3/accounts/{id}/status" status AccountWrite r#"{"status":"active"}"#;
    put "/v3/accounts/{id}/expires-at" expires_at AccountWrite r#"{"expiresAt":"2027-12-31T23:59:59Z"}"#;
    post "/v3/accounts/{id}/freeze" freeze AccountWrite r#"{"paymentUrl":"https://example.com"}"#;
    post "/v3/accounts/{id}/unfreeze" unfreeze AccountWrite "";
    post "/v3/accounts/{id}/suspend" suspend AccountWrite r#"{"reasonCode":"abuse"}"#;
    post "/v3/accounts/{id}/unsuspend" unsuspend AccountWrite "";
    get "/v3/accounts/{id}/holds" holds AccountRead "";
    get "/v3/accounts/{id}/history" history AccountRead "";
    get "/v3/accounts/{id}/explain" explain AccountRead "";
    get "/v3/accounts/{id}/access" access AccountRead "";
    delete "/v3/accounts/{id}" delete AccountWrite "";
    post "/v3/accounts/{id}/restore" restore AccountWrite "";
}

/// The routes.
pub fn routes(api: Api) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&str> = OPERATIONS.iter().map(|operation| operation.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let operations: Vec<_> = OPERATIONS.iter().filter(|operation| operation.path == path).collect();
        let methods = operations.iter().fold(MethodRouter::new(), |methods, operation| methods.merge((operation.route)()));
        let mut allowed: Vec<_> = operations.iter().map(|operation| operation.method.to_uppercase()).collect();
        if allowed.iter().any(|method| method == "GET") {
            allowed.push("HEAD".to_owned());
        }
        let allow = HeaderValue::from_str(&allowed.join(", ")).unwrap_or(HeaderValue::from_static(""));
        let refuse = move |headers: HeaderMap, id: Option<axum::Extension<RequestId>>| {
            let allow = allow.clone();
            async move {
                let mut response = answer(&Failure::MethodNotAllowed, &headers, id.map(|id| id.0));
                response.headers_mut().insert(header::ALLOW, allow);
                response
            }
        };
        router = router.route(path, methods.fallback(refuse));
    }
    router.with_state(api)
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
    };
    answer(&failure, headers, Some(id.clone()))
}

/// Whether a path is this dialect's.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path == ROOT || path.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/'))
}
