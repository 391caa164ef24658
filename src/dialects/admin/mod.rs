//! The `admin` dialect, modelled on Altcraft's API: `POST /api/v1.1/admin/accounts/...`, JSON or XML by content type, answers with
//! `error` and `error_text`. The original's answers are kept byte for byte; what we add stands beside them, or is asked for.
//!
//! The table [`OPERATIONS`] describes every call once. `call.rs` is the dispatcher that enforces its rows; the OpenAPI document, the
//! access matrix of the tests, the isolation doctor and the metrics' labels are read off the same rows.

mod call;
mod codes;
mod explain;
mod handlers;
mod openapi;
mod operations;
mod replies;
mod requests;
mod save;
mod simulate;

use std::sync::Arc;

use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::failure::Failure;
use crate::service::Service;

pub(super) use openapi::openapi;
pub use operations::{OPERATIONS, Operation, routes};

/// The path of the calls: the name of a call follows.
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

/// A response of this dialect to a request that reached none of its calls, or whose call did not end.
pub(super) fn respond_to(
    failure: &Failure,
    headers: &HeaderMap,
    uri: &Uri,
    settings: &Settings,
) -> Response {
    let format = call::preferred_format(headers, uri);
    call::respond_with_failure(failure, format, settings.always_200)
}

/// What reads the bodies of all calls.
#[cfg(fuzzing)]
pub(super) fn readers() -> Vec<super::fuzzing::Reader> {
    let common: super::fuzzing::Reader =
        |codec, body| drop(crate::wire::decode::<requests::Common>(codec, body));
    OPERATIONS
        .iter()
        .map(|operation| operation.read)
        .chain([common])
        .collect()
}
