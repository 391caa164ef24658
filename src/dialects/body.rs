//! What every dialect does with a body and with the header that makes a retry safe.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::service::StoredAnswer;
use crate::wire;

/// The header that makes a retry safe whatever it retries.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The whole body, unless it is larger than `max` bytes.
pub(super) async fn read(body: Body, max: usize) -> Result<Vec<u8>, wire::Error> {
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(wire::Error::TooLarge),
        Err(_) => Err(wire::Error::Malformed {
            field: String::new(),
            problem: "the body ended early".to_owned(),
        }),
    }
}

/// The key, if there is one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("appears more than once");
    }
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err("must be 1 to 255 visible characters"),
    }
}

/// The stored answer to a repeat.
pub(super) fn replay(stored: StoredAnswer) -> Response {
    let mut response = Response::new(Body::from(stored.body));
    *response.status_mut() =
        StatusCode::from_u16(stored.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(content_type) = HeaderValue::from_str(&stored.content_type) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
    }
    response
        .headers_mut()
        .insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
