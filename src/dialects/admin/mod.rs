//! The `admin` dialect, modelled on Altcraft's API: `POST /api/v1.1/admin/accounts/...`, JSON or
//! XML by content type, answers with `error` and `error_text`. Altcraft's answers are reproduced
//! byte for byte. Our additions are extra members, or appear only if the request asks for them.
//!
//! The table [`OPERATIONS`] describes every call once. The dispatcher in `dispatch.rs` enforces its
//! rows. The OpenAPI document, the access matrix of the tests, the isolation doctor and the
//! metrics' labels are generated from the same rows.

mod call;
mod codes;
mod dispatch;
mod documented;
mod envelope;
mod explain;
mod handlers;
mod openapi;
mod operation;
mod operations;
mod replies;
mod requests;
mod save;
mod simulate;

use std::sync::Arc;

use axum::response::Response;

use super::exchange::{Handled, RequestOutcome};
use super::failure::Failure;
use crate::service::Service;
use crate::wire::Codec;

pub(super) use call::preferred_format;
pub(super) use openapi::openapi;
pub use operation::Operation;
pub use operations::{OPERATIONS, routes};

/// The path of every call, up to its name.
pub const PREFIX: &str = "/api/v1.1/admin/accounts/";

/// The settings of the dialect.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether errors are answered with HTTP 200, for clients that read only the `error` member.
    pub always_200: bool,
    /// Whether the token may stand in the query, as `?token=`.
    pub token_in_query: bool,
    /// The largest accepted body, in bytes.
    pub max_body: usize,
    /// The service's base URL as callers see it. `None` means the request's `Host` header decides.
    pub public_url: Option<String>,
}

/// The state that the handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The service that executes commands and reads.
    pub service: Arc<Service>,
    /// The settings of the dialect.
    pub settings: Arc<Settings>,
}

/// The name of the call at a route.
pub(super) fn operation_name(route: &str) -> Option<&'static str> {
    let name = route.strip_prefix(PREFIX)?.trim_end_matches('/');
    OPERATIONS
        .iter()
        .map(|operation| operation.name)
        .find(|known| *known == name)
}

/// Answers a failure that occurred outside the dispatcher: an unknown path, a timeout or a panic.
pub(super) fn respond_to(failure: &Failure, format: Codec, settings: &Settings) -> Response {
    let response = call::respond_with_failure(failure, format, settings.always_200);
    Handled::outside(
        response,
        RequestOutcome::of_status(codes::code(failure).error),
    )
}

/// The decoders of all calls' bodies, for the fuzzers.
#[cfg(fuzzing)]
pub(super) fn readers() -> Vec<super::schemas::Reader> {
    let common: super::schemas::Reader =
        |codec, body| drop(crate::wire::decode::<requests::Common>(codec, body));
    OPERATIONS
        .iter()
        .map(|operation| operation.read)
        .chain([common])
        .collect()
}
