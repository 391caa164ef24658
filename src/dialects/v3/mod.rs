//! The `v3` dialect, modelled on Cryptlex's API: REST under `/v3`, JSON and XML, bearer tokens,
//! `ETag` and `If-Match`.
//!
//! The table [`OPERATIONS`] describes every operation once. The dispatcher in `dispatch.rs`
//! enforces its rows. The OpenAPI document, the access matrix of the tests, the isolation doctor
//! and the metrics' labels are generated from the same rows.

mod accounts;
mod bulk;
mod bulk_jobs;
mod call;
mod codes;
mod conditions;
mod cursor;
mod dispatch;
mod event_document;
mod event_logs;
mod event_stream;
mod events;
mod ignored_members;
mod journal_names;
mod log_page;
mod numbered_page;
mod openapi;
mod operation;
mod operation_request;
mod operations;
mod page;
mod path_id;
mod personal_access_tokens;
mod plans;
mod purge;
mod release_tickets;
mod resellers;
mod respond;
mod snapshot;
mod tokens;
mod upcoming;
mod users;
mod webhook_logs;
mod webhooks;
mod whole_list;

use std::sync::Arc;

use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;

use super::exchange::{Exchange, RequestId};
use super::failure::Failure;
use crate::domain::Error;
use crate::service::Service;

pub use bulk::BulkOperation;
pub(crate) use cursor::{end_of_events, is_cursor_of_events};
pub use event_document::{message, test_message};
pub(super) use openapi::openapi;
pub use operation::Operation;
pub use operations::{OPERATIONS, routes};
pub use page::Paging;
pub use path_id::Id;
pub use respond::FailureFormat;
pub(super) use respond::accepted_for_failures;
pub(crate) use webhooks::unknown_event;

/// The path of the accounts.
pub const ACCOUNTS: &str = "/v3/accounts";
/// The path below which every path belongs to this dialect.
pub(crate) const ROOT: &str = "/v3";

/// The settings of the dialect.
#[derive(Debug, Clone)]
pub struct Settings {
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

/// The name of the operation at a method and a route.
pub(super) fn operation_name(method: &Method, route: &str) -> Option<&'static str> {
    operations::find(method, route).map(|operation| operation.name)
}

/// Answers a request that matches no operation. It counts against the rate of its credential, if it
/// has one, like any other.
pub(crate) async fn respond_unmatched(
    api: &Api,
    parts: &Parts,
    respond: impl FnOnce(&dyn Fn(&Failure) -> Response) -> Response,
) -> Response {
    let mut exchange = Exchange::begin(parts);
    let counted = match call::credential(&parts.headers) {
        Ok(token) => exchange.authenticate(&api.service, &token).await.map(drop),
        Err(_) => Ok(()),
    };
    let format = accepted_for_failures(&parts.headers);
    let failure = |failure: &Failure| respond::failure(failure, format, &exchange.request_id);
    let response = match counted {
        Err(error @ Error::RateLimited { .. }) => failure(&error.into()),
        _ => respond(&failure),
    };
    exchange.finish_unmatched(response)
}

/// Answers a failure that occurred outside the dispatcher: an unknown path, a timeout or a panic.
pub(super) fn respond_to(failure: &Failure, format: FailureFormat, id: &RequestId) -> Response {
    respond::failure(failure, format, id)
}

/// The decoders of all operations' bodies, for the fuzzers.
#[cfg(fuzzing)]
pub(super) fn readers() -> Vec<super::schemas::Reader> {
    OPERATIONS
        .iter()
        .filter_map(|operation| operation.read)
        .collect()
}

/// Reads a cursor, for the fuzzers.
#[cfg(fuzzing)]
pub(super) fn read_cursor(text: &str) {
    if let Ok(cursor) = cursor::Cursor::decode(text) {
        let reseller = crate::domain::ResellerId(1);
        let _refused = (
            cursor.account_of(reseller).is_ok(),
            cursor.event_of(reseller).is_ok(),
        );
        assert!(
            cursor::Cursor::decode(&cursor.encode()).is_ok(),
            "a written cursor can be read"
        );
    }
}
